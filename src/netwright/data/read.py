"""`read`: recognise what is there, read it, divide it, fit the encoder on the training split, and audit it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.catalogue import READERS, Part, Setting, check_settings, settings_of
from netwright.data import audit
from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED, load_embedded
from netwright.data.encoders import (
    Encoder,
    NumberEncoder,
    Piecewise,
    for_augment,
    looks_at,
    no_ten_crops,
    number_encoder,
)
from netwright.data.files.opening import open_tree
from netwright.data.files.tree import Tree
from netwright.data.held_out import with_test_set
from netwright.data.readers.image_folder import flat_pictures
from netwright.data.sequence_targets import NextTokens, SeriesTargets, fitted_texts, own_settings
from netwright.data.sounds.encoder import SoundEncoder, fit_sounds
from netwright.data.source import InMemory, Problem, Source, Table
from netwright.data.splits import split
from netwright.data.tables.encoder import TableEncoder
from netwright.data.targets import class_name, decide_task, fit_targets, only_classes, usable
from netwright.data.texts.encoder import TextEncoder, fit_texts
from netwright.data.texts.pieces import pieces
from netwright.errors import DataError, UsageError, hint
from netwright.language import say
from netwright.randomness import permutation
from netwright.recipe import DATA

STATISTICS_SAMPLE = 4096
"""Pictures that are decoded on demand give mean and deviation from at most this many training examples."""


def read(data: Any = "digits", targets: Any = None, **settings: Any) -> Dataset:
    """Read `data`: an embedded name, a path, arrays or texts with `targets`, or a data frame with `target=`.

    Texts are strings or lists of tokens: with a class or a number each, with a list of tags each, with a text each that
    they are to be turned into, or alone to be continued (`task=` where this leaves a choice). A data frame is a table,
    unless it has two columns, one of labels and one of texts, or `source=` names a column of texts.
    `settings` are those of the recipe's `[data]` table. Errors: DataError where nothing can be read,
    UsageError for a setting that this kind of data does not have.
    """
    general = {name: value for name, value in settings.items() if name in DATA}
    special = {name: value for name, value in settings.items() if name not in DATA}
    checked = check_settings(DATA, general, "data")
    checked = {name: checked.get(name, setting.default) for name, setting in DATA.items()}
    in_memory = not isinstance(data, (str, Path))
    if in_memory:
        source, reader, path = from_memory(data, targets, checked, special), "memory", ""
        own, special = _settings_in_memory(source, special), {}
    elif targets is not None:
        raise UsageError(say("targets go with arrays; {path} holds its own", path=data))
    else:
        source, reader, own = load(data, checked, special)
        path = str(data)
        for name in ("target", "group"):
            if checked[name] and (reader == "embedded" or name not in READERS[reader].settings):
                text = say("data.{name} = {value!r} names a column, and {path} has none to choose ({reader})",
                           name=name, value=checked[name], path=path, reader=reader)  # fmt: skip
                raise UsageError(text)
    if isinstance(checked["test"], str):
        source = with_test_set(source, _test_set(source, reader, checked, special))
    return prepare(source, reader, {**checked, **own, "path": path or source.name}, in_memory)


def load(
    path: str | Path,
    general: Mapping[str, Any],
    special: Mapping[str, Any],
    strict: bool = True,
    tree: Tree | None = None,
) -> tuple[Source, str, dict[str, Any]]:
    """The raw examples at `path`, the reader's name, and the reader's settings filled in.

    `special` settings that the reader does not know are refused, or left out where not `strict`. `tree` is the place
    where it is open already.
    """
    if isinstance(path, str) and path in EMBEDDED:
        known = settings_of(EMBEDDED[path])
        own = {name: setting.default for name, setting in known.items()} | _special(known, special, path)
        source = load_embedded(path, **own)
        if source.kind == "table" and general.get("group"):
            raise UsageError(say("data.group: {name} is an embedded set and has no groups", name=path))
        return source, "embedded", own
    tree = tree or _open(path)
    if len(tree.entries) == 1 and Path(path).expanduser().is_dir():  # a folder around one archive means the archive
        inner = open_tree(Path(path).expanduser() / tree.entries[0].name)
        tree = inner if len(inner.entries) > 1 else tree
    part = _asked(recognise(tree), str(general.get("task", "auto")), special)
    shared = {name: general[name] for name in part.settings if name in general}
    special = special if strict else {name: value for name, value in special.items() if name in part.settings}
    given = _special(part.settings, special, part.name)
    source = part(tree, **{**given, **shared})
    source.problems = [*tree.problems, *source.problems]
    own = {name: given.get(name, setting.default) for name, setting in part.settings.items() if name not in DATA}
    return source, part.name, own


def _asked(found: Part, task: str, special: Mapping[str, Any]) -> Part:
    """The reader that the settings ask for, where a table may be read in more than one way."""
    if found.name == "series" and task in ("classify", "regress"):
        return READERS["table"]
    if found.name == "table" and task == "forecast":
        return READERS["series"]
    if found.name == "table" and "source" in special:  # one column of texts, whatever stands beside it
        return READERS["text_columns"]
    return found


def _special(known: Mapping[str, Setting], given: Mapping[str, Any], reader: str) -> dict[str, Any]:
    """Settings that this kind of data has beside the general ones; others are refused with the nearest of both."""
    for name in given:
        if name not in known:
            text = say("data ({reader}) has no setting {name!r}.", reader=reader, name=name)
            raise UsageError(f"{text} {hint(name, [*known, *DATA])}")
    return check_settings(known, given, f"data ({reader})")


def _open(path: str | Path) -> Tree:
    word = isinstance(path, str) and Path(path).name == path and not Path(path).suffix
    try:
        return open_tree(path, EMBEDDED if word else ())
    except DataError as error:
        if not word or os.path.lexists(path) or not str(error).endswith(say("{path} does not exist.", path="")):
            raise
        raise DataError(f"{error} {say('Embedded sets: {names}.', names=', '.join(EMBEDDED))}") from None


def recognise(tree: Tree) -> Part:
    """The one reader that knows this place; none or several are refused with the reason."""
    known = [part for part in READERS.values() if part.facts["recognises"](tree)]
    if len(known) == 1:
        return known[0]
    if known:
        kinds = ", ".join(str(part.facts["given"]) for part in known)
        raise DataError(
            say("{path} fits several kinds of data ({kinds}); give them a folder each", path=tree.path, kinds=kinds)
        )
    endings = sorted({Path(entry.name).suffix.lower() or say("(no ending)") for entry in tree.entries})
    if not tree.entries:
        raise DataError(say("{path} holds no files", path=tree.path))
    kinds = "; ".join(str(part.facts["given"]) for part in READERS.values())
    pictures = flat_pictures(tree)
    if pictures:
        raise DataError(
            say(
                "{path} holds {count} pictures but no class folders; put each class into its own folder (cats/1.jpg)",
                path=tree.path,
                count=pictures,
            )
        )
    text = say(
        "{path}: {count} files ({endings}) are none of the data this version reads.",
        path=tree.path, count=len(tree.entries), endings=", ".join(endings[:8]),
    )  # fmt: skip
    raise DataError(f"{text}\n{say('It reads: {kinds}.', kinds=kinds)}")


def from_memory(data: Any, targets: Any, general: Mapping[str, Any], special: Mapping[str, Any]) -> Source:
    """Texts, arrays and tensors, or any data frame that narwhals knows."""
    from netwright.data.readers.arrays import from_arrays
    from netwright.data.readers.table import from_frame
    from netwright.data.texts.given import are_texts, from_text_frame, from_texts

    own = {name: value for name, value in special.items() if name not in settings_of(fit_texts)}
    if hasattr(data, "columns"):
        if targets is not None:
            raise UsageError(say("a data frame names its target column: target='price'"))
        if general.get("task") == "forecast":
            return _series_of(data, general, special)
        texts = from_text_frame(data, str(general["target"]), str(own.pop("source", "")), bool(general["group"]))
        if texts is not None and not own:
            return texts
        for name in own if texts is not None else special:
            raise UsageError(f"{say('data has no setting {name!r}.', name=name)} {hint(name, DATA)}")
        return from_frame(data, target=str(general["target"]), group=str(general["group"]))
    worded = are_texts(data)
    for name in ("target", "group"):
        if general[name]:
            text = say("data.{name} = {value!r} names a column, and {path} has none to choose ({reader})",
                       name=name, value=general[name], path="data", reader="texts" if worded else "arrays")  # fmt: skip
            raise UsageError(text)
    if worded:
        given = {name: own.pop(name) for name in ("x_test", "y_test", "name") if name in own}
        _special({**settings_of(fit_texts), **settings_of(from_texts)}, own, "texts")
        return from_texts(data, targets, task=str(general["task"]), **given)
    return from_arrays(data, targets, **_special(settings_of(from_arrays), special, "arrays"))


def _series_of(frame: Any, general: Mapping[str, Any], special: Mapping[str, Any]) -> Source:
    """A data frame over time, to be continued."""
    from netwright.data.readers.series import from_table
    from netwright.data.tables.typed import frame_table

    known = {name: general[name] for name in ("target", "window", "test", "validation")}
    own = _special(settings_of(from_table), special, "series")
    return from_table(Table(frame_table(frame).columns), "frame", **{**known, **own})


def _settings_in_memory(source: Source, special: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the settings beside the general ones; those of texts with their defaults."""
    if source.kind != "text":
        return {name: value for name, value in special.items() if name in READERS["arrays"].settings}
    known = settings_of(fit_texts)
    column = {"source": special["source"]} if "source" in special else {}
    chosen = _special(known, {name: value for name, value in special.items() if name in known}, "texts")
    return {name: setting.default for name, setting in known.items()} | chosen | column


def _test_set(source: Source, reader: str, general: Mapping[str, Any], special: Mapping[str, Any]) -> Source:
    """The examples at the path `data.test`; pictures get the size and colours of `source`."""
    if reader == "image_folder":
        channels, height, width = source.examples.take([0]).shape[1:]
        special = {**special, "size": [height, width], "channels": channels}
    return load(general["test"], general, special)[0]


def prepare(source: Source, reader: str, settings: dict[str, Any], in_memory: bool = False) -> Dataset:
    """Divide, fit on the training split, audit."""
    task = decide_task(source, settings["task"])
    _fits(settings, source, task)
    source = pieces(source, settings) if task == "generate" else source
    positions, problems = usable(source, task)
    if task == "classify":
        source, positions = only_classes(source, positions, settings["classes"])
    elif settings["classes"]:
        raise UsageError(say("data.classes: this task has no classes"))
    marks = audit.digests(source)
    if settings["drop_duplicates"]:
        order = np.concatenate([np.intersect1d(source.given.get("test", positions[:0]), positions), positions])
        repeats = audit.duplicates_of(marks, order)
        if repeats:
            problems.append(
                Problem(source.name, say("{count} examples repeat another", count=len(repeats)), say("left out"))
            )
        positions = np.setdiff1d(positions, np.fromiter(repeats, int, len(repeats)))
    strata = None
    if task in ("classify", "verify"):
        assert source.targets is not None
        strata = np.unique([class_name(value) for value in source.targets], return_inverse=True)[1]
    keep = {name: np.flatnonzero(np.isin(positions, given)) for name, given in source.given.items()}
    test = settings["test"] if isinstance(settings["test"], float) else 0.2
    drawn = split(
        len(positions), keep,
        strata=None if strata is None else strata[positions],
        groups=None if source.groups is None else source.groups[positions],
        test=test, validation=settings["validation"], seed=settings["split_seed"],
    )  # fmt: skip
    splits = {name: positions[chosen] for name, chosen in drawn.items()}
    if settings["limit"]:
        order = permutation(len(splits["train"]), settings["split_seed"], "limit")[: settings["limit"]]
        splits["train"] = np.sort(splits["train"][order])
    targets = fit_targets(source, task, splits["train"], settings)
    encoder = targets.encoder if isinstance(targets, NextTokens) else fit_encoder(source, splits["train"], settings)
    if isinstance(targets, SeriesTargets) and isinstance(encoder, NumberEncoder):
        targets = on_scale_of(targets, encoder)
    problems = [*source.problems, *problems, *_examined(source, splits, marks, targets)]
    settings = {**settings, "task": task}
    return Dataset(
        source, reader, settings, splits, encoder, targets, problems,
        audit.fingerprint(source, marks), audit.fingerprint(source, marks, splits["test"]), in_memory,
    )  # fmt: skip


def _examined(source: Source, splits: dict[str, np.ndarray], marks: list[bytes], targets: Any) -> list[Problem]:
    found = audit.audit(source, splits, marks, targets.task)
    if isinstance(source.examples, Table):
        from netwright.data.tables.audit import audit as audit_table

        found += audit_table(source.examples, source.targets, splits["train"])
    if targets.task == "classify":
        assert source.targets is not None
        trained = {class_name(value) for value in source.targets[splits["train"]]}
        for name in targets.classes:
            if name not in trained:
                found.append(Problem(say("class {name}", name=name), say("no training example"), say("kept")))
    return found


def on_scale_of(targets: SeriesTargets, encoder: NumberEncoder) -> SeriesTargets:
    """Future numbers on the scale of the column they continue, so that a network may add to what it reads."""
    column = int(targets.facts.get("target_position", 0))
    return replace(targets, mean=float(encoder.mean[column]), scale=1 / float(encoder.scale[column]))


def _fits(settings: Mapping[str, Any], source: Source, task: str) -> None:
    """Refuse settings of `[data]` that speak of another kind of data."""
    if settings.get("window") and task not in ("generate", "forecast"):
        text = say("data.window = {window} cuts running text or a series into pieces; {name} is for: {task}",
                   window=settings["window"], name=source.name, task=task)  # fmt: skip
        raise UsageError(text)
    if settings.get("length") and task == "tag":
        raise UsageError(say("data.length cuts texts, and would part tokens from their tags; tags need whole texts"))
    if source.task == "forecast" and (settings["test"] == 0 or settings["validation"] == 0):
        raise UsageError(say("a forecast needs data.test and data.validation above 0: they lie at the series' end"))
    if source.kind in ("text", "recording"):
        foreign = {"augment": "", "test_crops": 1, "test_views": "one"} | (
            {"normalize": "auto"} if source.kind == "text" else {}
        )
        for name, unset in foreign.items():
            if settings.get(name, unset) != unset:
                why = say("these data are no pictures") if name != "normalize" else say("texts hold no numbers")
                raise UsageError(f"data.{name} = {settings[name]!r}: {why}")


def encoder_from(kind: str, state: dict[str, Any]) -> Encoder:
    """The encoder of a kind of data that `state` describes (the inverse of `.state()`)."""
    if kind == "text":
        return TextEncoder.from_state(state)
    if kind == "recording":
        return SoundEncoder.from_state(state)
    return TableEncoder.from_state(state) if kind == "table" else number_encoder(state)


def fit_encoder(source: Source, train: np.ndarray, settings: Mapping[str, Any]) -> Encoder:
    """The encoder of this kind of data, fitted on the training examples alone."""
    if source.kind == "table":
        if settings.get("test_crops", 1) != 1:
            raise UsageError(no_ten_crops())
        looks_at(settings, {})
        return TableEncoder.fit(source.examples.take(train), settings["normalize"])
    if source.kind == "text":
        return fitted_texts(source.examples.take(train), source.task or str(settings.get("task", "")), settings)
    if source.kind == "recording":
        return fit_sounds(source.examples.take(train), **own_settings(fit_sounds, settings))
    if isinstance(source.examples, InMemory):
        examples: Any = source.examples.take(train)
    elif source.kind == "sequence":  # windows of a series, cut on demand
        examples = source.examples.take(train[:: max(1, len(train) // STATISTICS_SAMPLE)])
    else:
        if len(train) > STATISTICS_SAMPLE:
            chosen = permutation(len(train), settings["split_seed"], "statistics")[:STATISTICS_SAMPLE]
            train = train[np.sort(chosen)]
        examples = Piecewise(source.examples, train, source.examples.take(train[:1]).shape[1:])
    return for_augment(NumberEncoder.fit(source.kind, examples, settings["normalize"]), examples, settings)
