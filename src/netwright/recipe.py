"""A recipe: plain TOML data that names parts and their settings. Nothing in it is code.

Six tables (`data network loss optimizer schedule training`) and a `seed`. What is left out is chosen from the
data when training starts and written into the run's own recipe, so that the file repeats the run.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit

from netwright import catalogue
from netwright.catalogue import Range, Setting, check_settings, settings_of
from netwright.errors import DataError, UsageError, beside, hint
from netwright.language import say

Auto = Literal["auto"]
PARTS = {"network": "networks", "loss": "losses", "optimizer": "optimizers", "schedule": "schedules"}
MODULE = "module"
"""The network's name in the recipe of a run that was given a `torch.nn.Module` in Python."""
TABLES = ("data", "network", "loss", "optimizer", "schedule", "training")
MOST_BYTES = 2**24
"""A recipe file is at most so large."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The settings of `[data]` that hold for every kind of data; each reader adds its own."""

    path: str = "digits"
    target: str = ""
    task: Literal["auto", "classify", "regress", "tag", "generate", "translate", "forecast", "transcribe", "verify"] = (
        "auto"
    )
    test: Annotated[float | str, Range(0, 0.9)] = 0.2
    validation: Annotated[float, Range(0, 0.9)] = 0.1
    split_seed: Annotated[int, Range(0, 2**62)] = 0
    group: str = ""
    batch_size: Annotated[int | Literal["auto", "all"], Range(1, 10**9)] = "auto"
    augment: str = ""
    test_crops: Literal[1, 10] = 1
    test_views: Literal["one", "flip", "flip_shift"] = "one"
    normalize: Literal["auto", "standard", "unit", "none"] = "auto"
    limit: Annotated[int, Range(0)] = 0
    drop_duplicates: bool = False
    classes: int | list[str] = 0
    workers: Annotated[int | Auto, Range(0, 1024)] = "auto"
    window: Annotated[int, Range(0, 1_000_000)] = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of `[training]`; they may stand without their table on the command line."""

    epochs: Annotated[int | Auto, Range(1, 10**9)] = "auto"
    until: str = ""
    stop_after: Annotated[int | Auto, Range(0, 10**9)] = "auto"
    clip_norm: Annotated[float, Range(0)] = 0.0
    clip_value: Annotated[float, Range(0)] = 0.0
    l1: Annotated[float, Range(0, 1e6)] = 0.0
    l2: Annotated[float, Range(0, 1e6)] = 0.0
    class_weights: Literal["none", "balanced"] | list[float] = "none"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    freeze: str | list[str] = ""
    device: str = "auto"
    threads: Annotated[int | Auto, Range(1, 4096)] = "auto"
    layout: Literal["auto", "contiguous", "channels_last"] = "auto"
    compile: bool | Auto = "auto"
    allocator: Literal["auto", "default", "keep"] = "auto"
    prefetch: bool | Auto = "auto"
    non_finite: Literal["stop", "skip"] = "stop"
    folds: Annotated[int, Range(0, 1000)] = 0
    members: Annotated[int, Range(0, 1000)] = 0
    log_steps: Annotated[int | Auto, Range(1, 10**9)] = "auto"
    save_steps: Annotated[int, Range(0, 10**12)] = 0
    save_seconds: Annotated[float, Range(0)] = 30.0


DATA = settings_of(DataSettings)
TRAINING = settings_of(TrainingSettings)


def data_settings(path: str = "") -> dict[str, Setting]:
    """All settings of `[data]`: the general ones, and those of the embedded set `path` or of every reader."""
    sets = catalogue.embedded()
    if path in sets:
        return {**settings_of(sets[path]), **DATA}
    found: dict[str, Setting] = {}
    for own in [settings_of(build) for build in sets.values()] + [part.settings for part in catalogue.READERS.values()]:
        found |= {name: _either(found[name], one) if name in found else one for name, one in own.items()}
    return found | DATA


def _either(first: Setting, second: Setting) -> Setting:
    """The second of two settings of one name, with room for the numbers of both."""
    if first.range is None or second.range is None:
        return second
    low, high = min(first.range.low, second.range.low), max(first.range.high, second.range.high)
    return replace(second, range=Range(low, high))


@dataclass(frozen=True)
class Recipe:
    """A seed and six tables of settings. Changing one gives a new recipe."""

    seed: int = 0
    tables: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | str) -> "Recipe":
        """Read a recipe file."""
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
                raise DataError(say("recipe {path} is no regular file, or too large", path=path))
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                say("recipe {path} is not UTF-8 text (byte {place})", path=path, place=error.start)
            ) from None
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            why = getattr(error, "strerror", None) or error
            text = say("recipe {path} cannot be read: {why}", path=path, why=why)
            raise DataError(f"{text}. {beside(path)}".removesuffix(". ")) from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, where: str = "recipe") -> "Recipe":
        """Read a recipe from TOML text; `where` names it in errors."""
        try:
            found = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(say("{where} is not TOML: {why}", where=where, why=error)) from None
        return cls().updated(found, where)

    def updated(self, found: Mapping[str, Any], where: str) -> "Recipe":
        """This recipe with the tables and the seed in `found` laid over it."""
        recipe = self
        for key, value in found.items():
            if key == "seed":
                recipe = recipe.set("seed", value, where)
            elif key not in TABLES:
                text = say("{where}: there is no table {name!r}.", where=where, name=key)
                if key in TRAINING:
                    raise UsageError(f"{text} {say('It belongs below [{table}].', table='training')}")
                raise UsageError(f"{text} {hint(key, [*TABLES, 'seed'])}")
            elif not isinstance(value, Mapping):
                text = say("{where}: {name} = {value!r}; it is a table of settings", where=where, name=key, value=value)
                raise UsageError(text)
            else:
                names = sorted(value, key=lambda name: name != "name")  # a new name clears the old settings
                for name in names:
                    recipe = recipe.set(f"{key}.{name}", _plain(value[name]), where)
        return recipe

    def override(self, words: Iterable[str]) -> "Recipe":
        """This recipe with overrides such as `optimizer.lr=3e-4`, `network=mlp`, `epochs=3`, `seed=1`."""
        recipe = self
        for word in words:
            key, sign, text = word.partition("=")
            key = key.strip()
            if not sign or not key:
                near = hint(word, [*(f"{table}=" for table in PARTS), *(f"{name}=" for name in TRAINING)])
                raise UsageError(say("{word!r} is no override; one looks like epochs=3.", word=word) + " " + near)
            recipe = recipe.set(key, _value(text.strip(), key), say("override {word!r}", word=word))
        return recipe

    def set(self, key: str, value: Any, where: str = "recipe") -> "Recipe":
        """This recipe with one dotted setting changed; unknown names are refused with the nearest right one."""
        if isinstance(value, str) and not value.isascii() and not _is_text(value):
            raise UsageError(say("{where}: {name} = {value!r} is no UTF-8 text", where=where, name=key, value=value))
        if key == "seed":
            seed = Setting("seed", (int,), 0, Range(0, 2**62)).check(value, where)
            return Recipe(seed, self.tables)
        table, dot, name = key.partition(".")
        if not dot:
            if key in PARTS:
                table, name = key, "name"
            elif key in TRAINING:
                table, name = "training", key
            else:
                known = [*PARTS, *TRAINING, "seed", *(f"data.{known}" for known in DATA)]
                text = say("{where}: there is no setting {name!r}.", where=where, name=key)
                raise UsageError(f"{text} {hint(key, known)}")
        if table not in TABLES:
            text = say("{where}: there is no table {name!r}.", where=where, name=table)
            raise UsageError(f"{text} {hint(table, TABLES)}")
        old = self.tables.get(table, {})
        if name == "name" and old.get("name") not in (None, value):
            old = {}  # the settings belonged to another part
        return Recipe(self.seed, {**self.tables, table: {**old, name: value}})

    def table(self, name: str) -> dict[str, Any]:
        """The settings given in one table (without what was left out)."""
        return dict(self.tables.get(name, {}))

    def check(self) -> "Recipe":
        """Check every name and setting against the catalogue; return the recipe with values in their right types."""
        tables: dict[str, dict[str, Any]] = {}
        for name in TABLES:
            given = self.table(name)
            if name == "data":
                tables[name] = check_settings(data_settings(str(given.get("path", ""))), given, "data")
            elif name == "training":
                tables[name] = check_settings(TRAINING, given, "training")
            elif "name" in given:
                label = given.pop("name")
                if not isinstance(label, str):
                    raise UsageError(say("{table}.name = {value!r}; it is a word", table=name, value=label))
                if name == "network" and label == MODULE:
                    tables[name] = {"name": label, **given}
                    continue
                tables[name] = {"name": label, **catalogue.family(PARTS[name])[label].check(given)}
            else:
                tables[name] = given  # settings of a part that is still to be chosen
        return Recipe(self.seed, {name: table for name, table in tables.items() if table})

    def document(self) -> dict[str, Any]:
        """The seed and the tables, as a recipe file holds them."""
        return {"seed": self.seed, **{name: dict(table) for name, table in self.tables.items()}}

    def text(self) -> str:
        """This recipe as TOML."""
        document = tomlkit.document()
        document["seed"] = self.seed
        for name in TABLES:
            if name in self.tables:
                document[name] = tomlkit.item(dict(self.tables[name]))
        return tomlkit.dumps(document)

    def diff(self, other: "Recipe") -> dict[str, list[Any]]:
        """Settings that differ: dotted name -> [here, there]; None where one side leaves it out."""
        mine, theirs = self._flat(), other._flat()
        names = sorted(mine.keys() | theirs.keys())
        return {name: [mine.get(name), theirs.get(name)] for name in names if mine.get(name) != theirs.get(name)}

    def _flat(self) -> dict[str, Any]:
        flat = {f"{table}.{name}": value for table, found in self.tables.items() for name, value in found.items()}
        return {"seed": self.seed, **flat}


def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, read from the signatures in the catalogue."""

    def table(settings: Mapping[str, Setting]) -> dict[str, Any]:
        found = {name: setting.schema() for name, setting in settings.items()}
        return {"type": "object", "properties": found, "additionalProperties": False}

    def part_table(name: str) -> dict[str, Any]:
        options: list[dict[str, Any]] = []
        shared: dict[str, Any] = {}
        for part in catalogue.family(PARTS[name]).values():
            option = table(part.settings)
            shared |= {key: {} for key in option["properties"]}
            option["properties"] = {"name": {"const": part.name}, **option["properties"]}
            option["required"] = ["name"]
            options.append(option)
        unnamed = {"type": "object", "properties": shared, "additionalProperties": False}  # the data choose the part
        return {"oneOf": [*options, unnamed]}

    properties: dict[str, Any] = {"seed": {"type": "integer", "minimum": 0, "default": 0}}
    properties["data"] = table(data_settings())
    properties |= {name: part_table(name) for name in PARTS}
    properties["training"] = table(TRAINING)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Netwright recipe",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _is_text(value: str) -> bool:
    """Whether a file can hold it: names of files may be bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _value(text: str, key: str) -> Any:
    """A value from the command line: TOML where it is, else the bare words themselves."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return float(text) if _NUMBER.fullmatch(text) else text
    value = _plain(found["value"]) if len(found) == 1 else text
    table, _, name = key.rpartition(".")
    setting = DATA.get(name) if table == "data" else TRAINING.get(name) if table in ("", "training") else None
    if setting and str in setting.kinds and not isinstance(value, str) and type(value) not in setting.kinds:
        return text if float not in setting.kinds or type(value) is bool else value  # a column may be called 5
    return value


def _plain(value: Any) -> Any:
    """TOML values, and those that Python code gives, as JSON has them: dates become their text."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
