"""The one registry: a dict, a decorator, a signature.

A *part* is a function or class in a *family* (losses, optimizers, networks ...). Positional parameters
are given by the data or the caller; keyword-only parameters are chosen by the user and are the part's
*settings*. Validation, the recipe, `--help`, search spaces and documents are all read from that signature,
so nothing is declared twice:

    @LOSSES.add(target="number", link="identity", source="Huber 1964")
    def smooth_l1(outputs, target, *, beta: Annotated[float, Range(1e-6, 1e6)] = 1.0): ...
"""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from importlib import import_module
from pathlib import PurePath
from pkgutil import iter_modules
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from netwright.errors import UsageError, hint, nearest
from netwright.language import say, translated


@dataclass(frozen=True)
class Range:
    """The numbers a setting may take, both ends included."""

    low: float
    high: float = float("inf")

    def __str__(self) -> str:
        if self.high == float("inf"):
            return say("it is at least {low:g}", low=self.low)
        return say("it lies between {low:g} and {high:g}", low=self.low, high=self.high)


@dataclass(frozen=True)
class Setting:
    """One keyword-only parameter: name, type, default and limits."""

    name: str
    kinds: tuple[type, ...]
    default: Any
    range: Range | None = None
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, annotation: Any, default: Any) -> "Setting":
        limits: Range | None = None
        kinds: list[Any] = []
        choices: list[Any] = []
        if get_origin(annotation) is Annotated:
            annotation, *extra = get_args(annotation)
            limits = next((item for item in extra if isinstance(item, Range)), None)
        union = get_origin(annotation) in (Union, types.UnionType)
        for option in get_args(annotation) if union else (annotation,):
            if get_origin(option) is Literal:
                choices.extend(get_args(option))
            else:
                kinds.append(object if option is Any else get_origin(option) or option)
        return cls(name, tuple(kinds), default, limits, tuple(choices))

    def check(self, value: Any, where: str) -> Any:
        """Return `value` as this setting's type, or refuse it with the limits and the place."""
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            value = value.item()  # a NumPy number is as good as Python's
        elif str in self.kinds and isinstance(value, PurePath):
            value = str(value)
        if value in self.choices and type(value) in {type(choice) for choice in self.choices}:
            return value
        if float in self.kinds and type(value) is int:
            value = float(value) if abs(value) < 2**1000 else float("inf")
        if not any(_is(value, kind) for kind in self.kinds):
            best = nearest(str(value), map(str, self.choices)) if self.choices else ""
            near = ". " + say("Did you mean {best!r}?", best=best) if best else ""
            raise UsageError(self._refusal(value, where, self.expected) + near)
        if self.range and not (isinstance(value, str) or self.range.low <= value <= self.range.high):
            raise UsageError(self._refusal(value, where, str(self.range)))
        return list(value) if isinstance(value, tuple) else value

    def _refusal(self, value: Any, where: str, expected: str) -> str:
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        return say("{where}: {name} = {value}; {expected}", where=where, name=self.name, value=shown, expected=expected)

    @property
    def expected(self) -> str:
        words = [_WORDS.get(kind, kind.__name__) for kind in self.kinds]
        words += [repr(choice) for choice in self.choices]
        return say("it is {kinds}", kinds=say(" or ").join(say(word) for word in words))

    def schema(self) -> dict[str, Any]:
        """This setting as JSON Schema."""
        options: list[dict[str, Any]] = [{"type": _JSON[kind]} if kind in _JSON else {} for kind in self.kinds]
        if self.range:
            for option in options:
                if option.get("type") in ("integer", "number"):
                    option["minimum"] = self.range.low
                    if self.range.high != float("inf"):
                        option["maximum"] = self.range.high
        if self.choices:
            options.append({"enum": list(self.choices)})
        found = options[0] if len(options) == 1 else {"anyOf": options}
        default = self.default
        if default is not inspect.Parameter.empty and default != float("inf"):
            found = {**found, "default": list(default) if isinstance(default, tuple) else default}
        return found


_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a word",
    list: "a list",
    dict: "a table",
}
_JSON = {int: "integer", float: "number", bool: "boolean", str: "string", list: "array", tuple: "array", dict: "object"}


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        return type(value) is kind and value == value  # NaN is no setting; True is no number
    return isinstance(value, (list, tuple)) if kind in (list, tuple) else isinstance(value, kind)


def settings_of(build: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a function or class: its keyword-only parameters, in order; without a type the default's."""
    target = build.__init__ if inspect.isclass(build) else build
    hints = get_type_hints(target, include_extras=True)
    parameters = inspect.signature(build).parameters.values()
    chosen = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    untyped = {p.name: Any if p.default in (None, inspect.Parameter.empty) else type(p.default) for p in chosen}
    return {p.name: Setting.of(p.name, hints.get(p.name, untyped[p.name]), p.default) for p in chosen}


def check_settings(known: Mapping[str, Setting], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check `given` against `known`: unknown names and values out of range are refused with a hint."""
    for name in given:
        if name not in known:
            text = say("{where} has no setting {name!r}.", where=where, name=name)
            raise UsageError(f"{text} {hint(name, known)}")
    return {name: known[name].check(value, where) for name, value in given.items()}


@dataclass(frozen=True)
class Part:
    """One entry of the catalogue: a callable with its settings, its card and free facts."""

    family: str
    name: str
    build: Callable[..., Any]
    facts: dict[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Setting] = field(default_factory=dict)
    """Settings that the part takes for whoever uses it, as every network its weights: `build` does not see them."""

    @cached_property
    def settings(self) -> dict[str, Setting]:
        return {**settings_of(self.build), **self.shared}

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check settings against this part's signature; return them in their right types."""
        return check_settings(self.settings, given, f"{SINGULAR[self.family]} {self.name!r}")

    def defaults(self) -> dict[str, Any]:
        """Every setting with its default."""
        return {name: setting.default for name, setting in self.settings.items()}

    def __call__(self, *positional: Any, **given: Any) -> Any:
        own = {name: value for name, value in self.check(given).items() if name not in self.shared}
        return self.build(*positional, **own)

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return (inspect.getdoc(self.build) or "").split("\n")[0]

    @property
    def formula(self) -> str:
        """The docstring's paragraph that begins with `Formula:`."""
        for paragraph in (inspect.getdoc(self.build) or "").split("\n\n"):
            if paragraph.startswith("Formula:"):
                return " ".join(paragraph.removeprefix("Formula:").split())
        return ""

    @property
    def text(self) -> list[str]:
        """The docstring's paragraphs after its first line, of a part whose docstring teaches: a fault."""
        paragraphs = (inspect.getdoc(self.build) or "").split("\n\n")[1:]
        return [" ".join(paragraph.split()) for paragraph in paragraphs if not paragraph.startswith("Formula:")]

    def card(self) -> dict[str, Any]:
        """What `netwright show` prints."""
        kept = {key: value for key, value in self.facts.items() if not callable(value)}  # a reader's test is no data
        facts = {key: value for key, value in kept.items() if key not in ("source", *TAUGHT)}
        if "measured" in self.facts:
            facts |= self.facts["measured"](self)  # a function of the part, asked only when its card is made
        facts |= {key: _translated(facts[key]) for key in PROSE if key in facts}
        settings = {name: setting.schema() for name, setting in self.settings.items()}
        return {
            "family": self.family,
            "name": self.name,
            "summary": translated(self.summary),
            "formula": translated(self.formula),
            "settings": settings,
            "source": self.facts.get("source", ""),
            "facts": facts,
            **self._taught(),
        }

    def _taught(self) -> dict[str, Any]:
        """What the card of a fault has beside: its title, half a page, and a program that shows it."""
        if "demo" not in self.facts:
            return {}
        text = [translated(paragraph) for paragraph in self.text]
        return {"title": translated(self.facts["title"]), "text": text, "demo": self.facts["demo"].strip()}


TAUGHT = ("title", "demo")
"""Facts of a fault that its card shows in full."""


PROSE = ("stage", "error_on", "recipe", "traps", "reads", "given", "bfloat16")
"""Facts that are sentences or words for people, shown in their language."""


def _translated(fact: Any) -> Any:
    return translated(fact) if isinstance(fact, str) else [translated(text) for text in fact]


def variant(build: Callable[..., Any], *leading: Any, summary: str) -> Callable[..., Any]:
    """`build` with its first positional arguments given: one size of a network, under a summary of its own."""

    @wraps(build)
    def made(*positional: Any, **settings: Any) -> Any:
        return build(*leading, *positional, **settings)

    made.__doc__ = summary + "\n" + (build.__doc__ or "").partition("\n")[2]
    return made


class Family(Mapping[str, Part]):
    """All parts of one kind, by name; its modules are imported when it is first asked."""

    def __init__(
        self, name: str, home: str, facts: tuple[str, ...] = (), shared: Mapping[str, Setting] | None = None
    ) -> None:
        self.name, self.home, self.facts, self.shared = name, home, facts, shared or {}
        self._parts: dict[str, Part] = {}
        self._loaded = False

    def add(self, name: str = "", *, also: Any = None, **facts: Any) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: register a function or class under its own name (or `name`, where that is a keyword).

        `also`: a function whose settings the part takes for whoever uses it, as those that the family shares.
        """
        shared = {**self.shared, **(settings_of(also) if also is not None else {})}

        def register(build: Callable[..., Any]) -> Callable[..., Any]:
            key = name or build.__name__
            if not build.__module__.startswith(self.home):
                self._load()  # a part of the user's own must not take a name that comes later
            lacking = [fact for fact in self.facts if fact not in facts]
            if lacking:
                raise ValueError(f"{key!r} of {self.name} lacks {', '.join(lacking)}: @{self.name.upper()}.add(...)")
            if key in self._parts:
                raise ValueError(f"two parts of {self.name} are called {key!r}")
            self._parts[key] = Part(self.name, key, build, facts, shared)
            return build

        return register

    def _load(self) -> dict[str, Part]:
        if not self._loaded:
            self._loaded = True
            module = import_module(self.home)
            for found in iter_modules(getattr(module, "__path__", [])):
                import_module(f"{self.home}.{found.name}")
        return self._parts

    def __getitem__(self, name: str) -> Part:
        parts = self._load()
        if name not in parts:
            text = say("{family} {name!r} is not in the catalogue.", family=SINGULAR[self.name], name=name)
            raise UsageError(f"{text} {hint(name, parts)}")
        return parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


LOSSES = Family("losses", "netwright.parts.losses", ("target", "link"))
ACTIVATIONS = Family("activations", "netwright.parts.activations")
OPTIMIZERS = Family("optimizers", "netwright.parts.optimizers")
SCHEDULES = Family("schedules", "netwright.parts.schedules")
INITIALIZERS = Family("initializers", "netwright.parts.initializers")
NORMS = Family("norms", "netwright.parts.norms")
POOLING = Family("pooling", "netwright.parts.pooling")
CELLS = Family("cells", "netwright.parts.cells")
ATTENTION = Family("attention", "netwright.parts.attention")
AUGMENTATIONS = Family("augmentations", "netwright.parts.augmentations")
METRICS = Family("metrics", "netwright.parts.metrics", ("task", "better"))
NETWORKS = Family("networks", "netwright.networks", shared={"weights": Setting("weights", (str,), "")})
READERS = Family("readers", "netwright.data.readers", ("recognises", "given"))
FAULTS = Family("faults", "netwright.doctor.faults", ("title",))
RECIPES = Family("recipes", "netwright.recipes")

FAMILIES = {
    family.name: family
    for family in (
        LOSSES, ACTIVATIONS, OPTIMIZERS, SCHEDULES, INITIALIZERS, NORMS, POOLING, CELLS, ATTENTION,
        AUGMENTATIONS, METRICS, NETWORKS, READERS, FAULTS, RECIPES,
    )
}  # fmt: skip

SINGULAR = {name: "loss" if name == "losses" else name.removesuffix("s") for name in FAMILIES}


def embedded() -> Mapping[str, Callable[..., Any]]:
    """The embedded data sets by name; their keyword-only parameters are settings of `[data]`."""
    found: dict[str, Callable[..., Any]] = import_module("netwright.data.embedded").EMBEDDED
    return found


def family(name: str) -> Family:
    """The family of that name, singular or plural."""
    key = {singular: plural for plural, singular in SINGULAR.items()}.get(name, name)
    if key not in FAMILIES:
        raise UsageError(f"{say('family {name!r} is not in the catalogue.', name=name)} {hint(name, FAMILIES)}")
    return FAMILIES[key]
