"""Targets: class names to numbers and back, or numbers on the scale that a network trains well on."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from netwright.data.sequence_targets import (
    NextTokens,
    SequenceTargets,
    SeriesTargets,
    TagTargets,
    TokenTargets,
    fitted_texts,
    sequence_targets_from,
)
from netwright.data.source import Problem, Source, Texts
from netwright.data.tables.cells import is_phrase
from netwright.data.texts.tags import scheme_in
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

FEW = 20
"""Whole-number targets with at most this many distinct values are classes, unless `data.task` says otherwise."""


@dataclass(frozen=True)
class ClassTargets:
    """Class names in their order; a target is the position of its name."""

    classes: list[str]
    task: Literal["classify", "verify"] = "classify"
    facts: dict[str, Any] = field(default_factory=dict)
    """What an example was in the data, as prediction needs it: `example`, a file; `columns`, the columns of texts."""

    @property
    def watched(self) -> tuple[str, ...]:
        """What every epoch's validation measures beside the loss, what decides first."""
        return ("accuracy",) if self.task == "classify" else ("eer",)

    @property
    def outputs(self) -> dict[str, Any]:
        return {"kind": "class", "count": len(self.classes)}

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Tensor:
        """Class numbers, int64 (N,); a name that training never saw is refused."""
        number = {name: index for index, name in enumerate(self.classes)}
        names = [undotted(class_name(value), number) for value in raw]
        unknown = sorted({name for name in names if name not in number})
        if unknown:
            text = say("class {name!r} is not one of the {count} known.", name=unknown[0], count=len(number))
            raise DataError(f"{text} {hint(unknown[0], self.classes)}")
        return torch.tensor([number[name] for name in names], dtype=torch.int64)

    def state(self) -> dict[str, Any]:
        return {"task": self.task, "classes": self.classes, **({"facts": self.facts} if self.facts else {})}


@dataclass(frozen=True)
class NumberTargets:
    """Numbers, standardised by the training split: (y - mean) / scale."""

    mean: float
    scale: float
    task: Literal["regress"] = "regress"
    facts: dict[str, Any] = field(default_factory=dict)
    """As of `ClassTargets`."""

    @property
    def watched(self) -> tuple[str, ...]:
        """What every epoch's validation measures beside the loss, what decides first."""
        return "rmse", "mae", "r2"

    @property
    def outputs(self) -> dict[str, Any]:
        return {"kind": "number", "count": 1}

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Tensor:
        """Standardised numbers, float32 (N, 1)."""
        numbers = torch.tensor([number(value) for value in raw], dtype=torch.float64)
        if not bool(numbers.isfinite().all()):
            where = int((~numbers.isfinite()).nonzero()[0])
            raise DataError(say("target {value!r} (example {where}) is no number", value=raw[where], where=where))
        return ((numbers - self.mean) / self.scale).float()[:, None]

    def decode(self, outputs: Tensor) -> Tensor:
        """Network outputs in the data's own units, float64 (N,)."""
        return outputs.double()[:, 0] * self.scale + self.mean

    def state(self) -> dict[str, Any]:
        found = {"task": self.task, "mean": self.mean, "scale": self.scale}
        return {**found, **({"facts": self.facts} if self.facts else {})}


Targets = ClassTargets | NumberTargets | SequenceTargets


def targets_from(state: dict[str, Any]) -> Targets:
    """The targets that `state` describes (the inverse of `.state()`)."""
    if state["task"] in ("classify", "verify"):
        return ClassTargets(list(state["classes"]), state["task"], dict(state.get("facts", {})))
    if state["task"] == "regress":
        return NumberTargets(state["mean"], state["scale"], facts=dict(state.get("facts", {})))
    return sequence_targets_from(state)


def decide_task(source: Source, wanted: str) -> str:
    """What is to be learnt: what the recipe says, else what the data state, else what the targets look like."""
    possible = possible_tasks(source)
    stated = source.task if wanted == "auto" else wanted
    if source.targets is None and not (stated and possible):
        raise DataError(say("{name} holds no targets to train on", name=source.name))
    if stated in possible:
        return stated
    if stated:
        text = say("data.task = {task!r}; {name} holds data for: {possible}",
                   task=stated, name=source.name, possible=", ".join(possible))  # fmt: skip
        raise UsageError(text)
    assert source.targets is not None
    if source.classes is not None:
        return "classify"
    values = np.array([number(value) for value in source.targets])
    share = float(np.isfinite(values).mean()) if len(values) else 0.0
    if share < 0.95:
        if source.kind != "text" and are_sentences(source.targets):
            return "translate"
        if source.kind == "table":
            _few_names(source, values)
        return "classify"
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    whole = bool((distinct == np.round(distinct)).all())
    counted = (
        source.kind == "image"
        and np.array_equal(distinct, np.arange(len(distinct)))
        and len(values) >= 5 * len(distinct)
    )
    return "classify" if whole and (len(distinct) <= FEW or counted) else "regress"


def are_sentences(targets: np.ndarray) -> bool:
    """Whether targets are texts to write rather than names of classes: most are different and of several words."""
    texts = [value for value in targets if isinstance(value, str) and value]
    phrases = sum(map(is_phrase, texts))
    return len(set(texts)) > max(FEW, len(targets) / 2) and 2 * phrases > len(targets)


def possible_tasks(source: Source) -> list[str]:
    """What can be learnt from these data."""
    targets = source.targets
    first = targets[0] if targets is not None and len(targets) else None
    found = ["generate"] if source.kind == "text" else []
    if isinstance(first, tuple):
        return ["tag", *found]
    if targets is not None and targets.ndim == 2:
        return ["forecast"]
    if targets is not None:
        found += ["classify", "regress"]
    if source.kind != "recording" and isinstance(first, str):
        found.append("translate")
    if source.kind == "recording" and isinstance(first, str):
        found += ["transcribe", "verify"]
    return found


def _few_names(source: Source, numbers: np.ndarray) -> None:
    """Refuse a column as classes that is mostly numbers, or in which every cell is another one."""
    assert source.targets is not None
    names, counts = np.unique([class_name(value) for value in source.targets], return_counts=True)
    finite = np.isfinite(numbers)
    if finite.mean() >= 0.5 and len(np.unique(numbers[finite])) > FEW:
        first = source.targets[int(np.argmin(finite))]
        text = say("{count} of {all} targets of {name} are numbers, others are not ({first!r}, ...).",
                   count=int(finite.sum()), all=len(finite), name=source.name, first=str(first)[:40])  # fmt: skip
        raise DataError(text + " " + say("data.task=regress leaves those out; data.task=classify makes all classes."))
    if len(names) > FEW and counts.max() == 1:
        text = say("every target of {name} is another one ({first!r}, ...): {count} classes for {count} examples.",
                   name=source.name, first=str(names[0])[:40], count=len(names))  # fmt: skip
        raise DataError(text + " " + say("Is another column the target? data.task=classify insists."))


def usable(source: Source, task: str) -> tuple[np.ndarray, list[Problem]]:
    """Positions of the examples whose target can be used for `task`, and what is said of the others."""
    targets = source.targets
    if targets is None or task not in ("classify", "regress", "verify"):
        return np.arange(len(source.examples if targets is None else targets)), []
    if task == "regress":
        good = np.isfinite([number(value) for value in targets])
    else:
        good = np.array([_named(value) for value in targets], bool)
    if good.all():
        return np.arange(len(good)), []
    first = int(good.argmin())
    if not good.any():
        text = say("no target of {name} is a number ({value!r}, ...); data.task=classify?",
                   name=source.name, value=targets[first])  # fmt: skip
        raise DataError(text)
    what = say("{count} targets are missing or no number", count=int((~good).sum()))
    return np.flatnonzero(good), [Problem(source.ids[first], what, say("left out"))]


def fit_targets(source: Source, task: str, train: np.ndarray, settings: dict[str, Any] | None = None) -> Targets:
    """What the targets are made of: class names in order, mean and scale of the training numbers, tags, tokens."""
    if task in ("tag", "translate", "transcribe", "generate", "forecast"):
        return _fit_sequences(source, task, train, settings or {})
    assert source.targets is not None
    if task == "regress":
        numbers = np.array([number(value) for value in source.targets[train]])
        if numbers.min() == numbers.max():  # their standard deviation may be a rounding error above 0
            return NumberTargets(float(numbers[0]), 1.0, facts=_example_facts(source))
        top = float(np.abs(numbers).max())  # squares of numbers near 1e-300 or 1e300 are no numbers
        mean, scale = float((numbers / top).mean() * top), float((numbers / top).std() * top) or 1.0
        return NumberTargets(mean, scale, facts=_example_facts(source))
    trained = {class_name(value) for value in source.targets[train]}
    names = {undotted(class_name(value), trained) for value in source.targets if _named(value)}
    ordered = _ordered(names, source.classes)
    if len(ordered) < 2:
        raise DataError(
            say("{name} has one class only ({classes}); two are needed", name=source.name, classes=", ".join(ordered))
        )
    return ClassTargets(ordered, "verify" if task == "verify" else "classify", _example_facts(source))


def _fit_sequences(source: Source, task: str, train: np.ndarray, settings: dict[str, Any]) -> SequenceTargets:
    if task == "generate":
        facts = _plain_facts(source)
        return NextTokens(fitted_texts(source.examples.take(train), task, settings), facts)
    assert source.targets is not None
    if task == "tag":
        ruled = scheme_in([source.targets[place] for place in train]) in ("BIO", "BIOES")
        return TagTargets(sorted({tag for tags in source.targets for tag in tags}), ruled)
    if task == "forecast":
        numbers = source.targets[train].astype(np.float64)
        facts = _plain_facts(source)
        mean, scale = float(numbers.mean()), float(numbers.std()) or 1.0
        return SeriesTargets(mean, scale, numbers.shape[1], float(facts.get("naive_error", 0.0)), facts)
    given = {**settings, "tokens": "character"} if task == "transcribe" else settings
    return TokenTargets(fitted_texts(Texts([source.targets[place] for place in train]), task, given), task)  # type: ignore[arg-type]


def _plain_facts(source: Source) -> dict[str, Any]:
    """What the data say of themselves, as far as it is plain: arrays of single examples stay behind."""
    return {name: value for name, value in source.facts.items() if not isinstance(value, np.ndarray)}


def _example_facts(source: Source) -> dict[str, Any]:
    """What an example of texts was in the data: a file, or columns of a table."""
    known = ("example", "columns") if source.kind == "text" else ()
    return {name: source.facts[name] for name in known if name in source.facts}


def _ordered(names: set[str], stated: list[str] | None) -> list[str]:
    """Class names in the order that the format states, else by number or by letter."""
    if stated is not None:
        return [name for name in stated if name in names]
    if all(math.isfinite(number(name)) for name in names):
        return sorted(names, key=lambda name: (number(name), name))  # "1" and "01" are two names of one number
    return sorted(names)


def _named(value: Any) -> bool:
    """Whether a target names a class: None, NaN and the empty text are missing."""
    return value is not None and value == value and class_name(value) != ""


def undotted(name: str, known: Container[str]) -> str:
    """A label that is a known one and a full stop (as in the test file of `adult`) is read as that one."""
    bare = name[:-1].rstrip() if name.endswith(".") else name
    return bare if name not in known and bare in known else name


def class_name(value: Any) -> str:
    """A target value as a class name: 3, 3.0 and '3' are one class."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def number(value: Any) -> float:
    """A target value as a number; NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def only_classes(source: Source, positions: np.ndarray, wanted: int | list[str]) -> tuple[Source, np.ndarray]:
    """The source and the positions of some classes alone: the first so many, or those named; 0 keeps all.

    Errors: UsageError for a name that is no class, or fewer than two classes.
    """
    if not wanted:
        return source, positions
    assert source.targets is not None
    labels = np.array([class_name(value) for value in source.targets], dtype=object)
    known = _ordered(set(labels[positions]), source.classes)
    if isinstance(wanted, int):
        chosen = known[:wanted] if 2 <= wanted <= len(known) else []
    else:
        chosen = [name for name in known if name in wanted]
        for name in wanted:
            if name not in known:
                raise UsageError(say("data.classes: there is no class {name!r}.", name=name) + " " + hint(name, known))
    if len(chosen) < 2:
        text = say("data.classes = {wanted}; it keeps 2 to {count} classes: a number of them, or their names",
                   wanted=wanted, count=len(known))  # fmt: skip
        raise UsageError(text)
    return replace(source, classes=list(chosen)), positions[np.isin(labels[positions], chosen)]
