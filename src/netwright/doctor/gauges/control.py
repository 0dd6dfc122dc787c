"""The control (P10): what simple learners reach on the same examples, on the scale of `Task.skill`.

A network that trails them has something to gain; where even they find nothing, the data may hold nothing.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from netwright.doctor.gauges.learners import (
    LEARNERS,
    Examples,
    Question,
    answered,
    examples_of,
    form_of,
)
from netwright.doctor.stopwatch import Stopwatch
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

KINDS = ("classes", "numbers", "labels")
FORMS = ("auto", "rows", "pictures", "sequences", "tokens")
ROWS = 4000
"""At most so many examples are learnt at `seconds` 5."""
PICTURES = 2000
"""The same for pictures."""
SCORED = 2000
"""At most so many held-out examples are answered."""
FEW = 30
"""With fewer examples, and none given to be scored on, none are held out."""
FOLDED = 400
"""Fewer than so many examples are scored by folds, each example once; of more, a third is held out."""
NUMBERS = 100_000_000
"""Of wide examples fewer are drawn: so many numbers are held at once."""
SIGNAL = 2.0
"""So many standard errors above the best constant answer count as signal."""


@dataclass(frozen=True)
class Score:
    """Skill (0: the best constant answer, 1: perfect) and its standard error over the scored examples."""

    skill: float
    error: float
    shares: Float[np.ndarray, "asked"] = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    """What each scored example adds: their mean is the skill."""

    def to_json(self) -> dict[str, Any]:
        return {"skill": self.skill, "error": self.error}


@dataclass(frozen=True)
class Control:
    """What each simple learner reached."""

    kind: str
    form: str
    scores: dict[str, Score]
    best: str
    signal: bool
    """Whether the best learner is better than the best constant answer beyond chance."""
    held_out: bool
    """False: so few examples that the learners were scored on what they had learnt."""
    learnt: int
    scored: int
    seconds: float
    left_out: tuple[str, ...] = ()
    asked: Int[np.ndarray, "asked"] = field(default_factory=lambda: np.zeros(0, int), repr=False, compare=False)
    """The places of the scored examples among those of validation; empty where there are none."""

    @property
    def skill(self) -> float:
        return self.scores[self.best].skill

    @property
    def error(self) -> float:
        return self.scores[self.best].error

    @property
    def linear(self) -> float:
        """The skill of the linear learner; NaN where there was none."""
        return self.scores["linear"].skill if "linear" in self.scores else math.nan

    def to_json(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self).items() if name not in ("scores", "asked")}
        return {**found, "scores": {name: score.to_json() for name, score in self.scores.items()}}


@dataclass(frozen=True)
class Table:
    """Examples and targets without the rows that have no target."""

    examples: Examples
    targets: np.ndarray
    question: Question
    form: str
    places: Int[np.ndarray, "rows"]
    """Where the rows stand in what was given."""

    def __len__(self) -> int:
        return len(self.targets)


def control(
    x: np.ndarray,
    y: np.ndarray,
    *,
    kind: str,
    x_validation: np.ndarray | None = None,
    y_validation: np.ndarray | None = None,
    form: str = "auto",
    seconds: float = 5.0,
    seed: int = 0,
) -> Control:
    """What a constant, a linear model, nearest neighbours, boosted trees and a small network reach.

    `x` is rows (N, D), pictures (N, C, H, W), sequences (N, T, F) or tokens (N, T whole numbers); `y` class numbers
    (N,), numbers (N, M) or labels 0 and 1 (N, M). Rows without a finite target are passed over. Without validation
    examples a third is held out, of fewer than 400 examples every fold in turn; of fewer than 30 nothing
    (`held_out` False: then only the linear and the reference learner are asked, and the skill is that on what they
    learnt). `seconds` sets how many examples and updates are spent, by count and not by the clock, so the answer
    depends on the seed alone; no learner starts after twice `seconds`.

    Formula: skill = (accuracy - largest share) / (1 - largest share); numbers 1 - sum (y - o)^2 / sum (y - mean)^2, not
        below -1; labels: the first, mean over columns. Error: of the mean paired difference to the constant answer.

    Raises DataError where examples and targets differ in number, UsageError for an unknown kind or form.
    """
    watch = Stopwatch()
    share = float(np.clip(seconds / 5, 0.05, 4))
    has_validation = x_validation is not None and y_validation is not None and len(y_validation) > 0
    table, other = _tables(x, y, kind, x_validation if has_validation else None, y_validation, form, share, seed)
    plan, held_out = _plan(table, other, seed)
    scores: dict[str, Score] = {"constant": Score(0.0, 0.0)}
    left_out: list[str] = []
    source = table if other is None else other
    for name in LEARNERS if len(table) else ():
        if not held_out and name not in ("linear", "reference"):
            continue
        if watch.seconds > 2 * seconds:
            left_out.append(name)
            continue
        said, places = _said(name, table, source, plan, share / len(plan) ** 0.5)
        if said is None:
            left_out.append(name)
        else:
            scores[name] = score(said, source.targets[places], table.question)
    best = max(scores, key=lambda name: scores[name].skill)
    count = len(np.concatenate([part for _, part in plan])) if plan else 0
    return Control(
        kind, table.form, scores, best, is_signal(scores[best]), held_out,
        len(plan[0][0]) if plan else 0, count, watch.seconds, tuple(left_out),
        source.places if other is not None else np.zeros(0, int),
    )  # fmt: skip


def is_signal(found: Score) -> bool:
    """Whether a score is above the best constant answer beyond chance."""
    return found.skill > max(1e-9, SIGNAL * found.error)


def _said(
    name: str, table: Table, source: Table, plan: list[tuple[np.ndarray, np.ndarray]], work: float
) -> tuple[np.ndarray | None, np.ndarray]:
    """The learner's answers over all folds, and the places they belong to."""
    question = Question(table.question.kind, table.question.count, table.question.seed, work)
    parts = []
    for learnt, asked in plan:
        said = answered(name, table.examples.at(learnt), table.targets[learnt], source.examples.at(asked), question)
        if said is None:
            return None, np.zeros(0, dtype=int)
        parts.append(said)
    return np.concatenate(parts), np.concatenate([asked for _, asked in plan])


def _plan(
    table: Table, other: Table | None, seed: int
) -> tuple[list[tuple[Int[np.ndarray, "learnt"], Int[np.ndarray, "asked"]]], bool]:
    """Which examples are learnt and which are asked, and whether those are held out."""
    everything = np.arange(len(table))
    if not len(table):
        return [], False
    if other is not None:
        return [(everything, np.arange(len(other)))], True
    if len(table) < FEW:
        return [(everything, everything)], False
    count = 10 if len(table) < 2 * FEW else 5 if len(table) < FOLDED else 3
    parts = folds(table.targets, count, kind=table.question.kind, seed=seed)
    plan = [(everything[parts != fold], everything[parts == fold]) for fold in range(count)]
    return plan[:1] if len(table) >= FOLDED else plan, True


def folds(targets: np.ndarray, count: int, *, kind: str, seed: int = 0) -> Int[np.ndarray, "examples"]:
    """The fold of each example, at random; classes are spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(targets))
    if kind == "classes":
        order = order[np.argsort(targets[order], kind="stable")]
    found = np.zeros(len(targets), dtype=int)
    found[order] = np.arange(len(targets)) % count
    return found


def table_of(
    x: np.ndarray, y: np.ndarray, *, kind: str, form: str = "auto", most: int = ROWS, seed: int = 0, work: float = 1.0
) -> Table:
    """Examples and targets ready for learners, at most `most`, drawn by `seed`.

    Classes may be any numbers, also negative ones: they are counted from 0 in their order.
    """
    x, y = _checked(x, y, kind, form)
    form = form_of(x) if form == "auto" else form
    rows = _drawn(y, _affordable(x, most), seed)
    targets, count = _targets(y[rows], kind)
    return Table(examples_of(x[rows], form), targets, Question(kind, count, seed, work), form, rows)


def _tables(
    x: np.ndarray,
    y: np.ndarray,
    kind: str,
    x_validation: np.ndarray | None,
    y_validation: np.ndarray | None,
    form: str,
    share: float,
    seed: int,
) -> tuple[Table, Table | None]:
    """Both splits, read together: tokens and classes mean the same in both."""
    x, y = _checked(x, y, kind, form)
    most = max(FEW, round((PICTURES if x.ndim == 4 else ROWS) * share))
    if x_validation is None or y_validation is None:
        return table_of(x, y, kind=kind, form=form, most=most * 3 // 2, seed=seed, work=share), None
    more, wanted = _checked(x_validation, y_validation, kind, form)
    if more.shape[1:] != x.shape[1:] or wanted.shape[1:] != y.shape[1:]:
        raise DataError(
            say(
                "validation examples of shape {more} do not stand beside training examples of shape {shape}",
                more=(*more.shape[1:], *wanted.shape[1:]),
                shape=(*x.shape[1:], *y.shape[1:]),
            )
        )
    rows = _drawn(y, _affordable(x, most), seed)
    places = _drawn(wanted, _affordable(x, max(FEW, round(SCORED * min(1, share)))), seed + 1)
    form = form_of(x) if form == "auto" else form
    both = examples_of(np.concatenate([x[rows], more[places]]), form)
    targets, count = _targets(np.concatenate([y[rows], wanted[places]]), kind)
    question, cut = Question(kind, count, seed, share), len(rows)
    learnt = Table(both.at(np.arange(cut)), targets[:cut], question, form, rows)
    asked = Table(both.at(np.arange(cut, len(targets))), targets[cut:], question, form, places)
    return learnt, asked if len(asked) else None


def _checked(x: np.ndarray, y: np.ndarray, kind: str, form: str) -> tuple[np.ndarray, np.ndarray]:
    if kind not in KINDS:
        raise UsageError(f"{say('{kind!r} is no kind of target.', kind=kind)} {hint(kind, KINDS)}")
    if form not in FORMS:
        raise UsageError(f"{say('{form!r} is no form of examples.', form=form)} {hint(form, FORMS)}")
    x, y = np.asarray(x), np.asarray(y)
    x = x[:, None] if x.ndim == 1 else x
    if kind == "classes":
        y = y.reshape(-1) if y.ndim != 1 and y.size == len(y) else y
    else:
        y = y.reshape(len(y), -1) if y.size else y.reshape(len(y), 1 if y.ndim < 2 else -1 if len(y) else y.shape[1])
    if y.ndim != (1 if kind == "classes" else 2):
        raise DataError(say("class numbers stand in one row of {count}, not {shape}", count=len(x), shape=y.shape))
    if len(x) != len(y):
        raise DataError(say("{count} examples stand beside {targets} targets", count=len(x), targets=len(y)))
    return x, y


def _affordable(x: np.ndarray, most: int) -> int:
    return min(most, max(2 * FEW, NUMBERS // max(1, math.prod(x.shape[1:]))))


def _drawn(y: np.ndarray, most: int, seed: int) -> Int[np.ndarray, "rows"]:
    """At most `most` places with finite targets, at random, in their order."""
    whole = y.reshape(len(y), -1) if y.size else np.zeros((len(y), 0))
    known = np.flatnonzero(np.isfinite(whole.astype(np.float64)).all(1)) if whole.size else np.zeros(0, dtype=int)
    if len(known) > most:
        known = np.sort(np.random.default_rng(seed).choice(known, most, replace=False))
    return known


def _targets(y: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    if kind == "classes":
        found, numbers = np.unique(y, return_inverse=True)
        return numbers.astype(np.int64), max(1, len(found))
    if kind == "labels":
        high = y.max() if y.size else 1
        low = y.min() if y.size else 0
        return (y > (high + low) / 2 if low < 0 else y > 0.5).astype(np.float64), y.shape[1]
    return y.astype(np.float64), y.shape[1]


def score(said: Float[np.ndarray, "asked outputs"], truth: np.ndarray, question: Question) -> Score:
    """Skill of answers, and the standard error of the mean paired difference to the best constant answer."""
    if not len(truth):
        return Score(0.0, 1.0)
    wrong, base = losses(said, truth, question)
    mean = base.mean(0)
    kept = mean > 0
    if not kept.any():
        return Score(0.0, 0.0)  # one answer is right for all: nothing can be better than constant
    ratio = wrong.mean(0)[kept] / mean[kept]
    skill = float(1 - ratio.mean())
    part = ((wrong[:, kept] - np.maximum(ratio, 0) * base[:, kept]) / mean[kept]).mean(1)
    error = float(part.std() / math.sqrt(len(part) - 1)) if len(part) > 1 else 1.0
    skill, error = skill if math.isfinite(skill) else -1.0, error if math.isfinite(error) else 1.0
    return Score(max(-1.0, skill), min(error, 1.0), 1 - (wrong[:, kept] / mean[kept]).mean(1))


def losses(
    said: Float[np.ndarray, "asked outputs"], truth: np.ndarray, question: Question
) -> tuple[Float[np.ndarray, "asked columns"], Float[np.ndarray, "asked columns"]]:
    """What each example costs: wrong or not, or the squared error; of the answers, and of the best constant answer."""
    if question.kind == "classes":
        common = np.bincount(truth, minlength=question.count).argmax()
        wrong = said.argmax(1) != truth
        return wrong[:, None].astype(float), (truth != common)[:, None].astype(float)
    if question.kind == "labels":
        common = truth.mean(0) > 0.5
        return ((said > 0.5) != (truth > 0.5)).astype(float), ((truth > 0.5) != common).astype(float)
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = ((truth - said) ** 2).sum(1, keepdims=True)
        return wrong, ((truth - truth.mean(0)) ** 2).sum(1, keepdims=True)
