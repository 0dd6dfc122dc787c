"""Judges a network's outputs: metrics with 95 % intervals, the confusion matrix, the most confident mistakes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.catalogue import METRICS
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.parts import metrics
from netwright.randomness import permutation
from netwright.report.intervals import confusion_matrix, limits

MISTAKES = 24
MOST_CONFUSED = 1_200
"""A confusion matrix is written for at most so many classes: it grows with their square."""
SCATTER = 400
QUANTILES = (5, 25, 50, 75, 95)
Score = dict[str, float | None]


@dataclass(frozen=True)
class Judgement:
    """What a set of outputs is worth, in plain numbers."""

    task: str
    metrics: dict[str, Score]
    """`{name: {"value", "low", "high"}}`; None where a number does not exist."""
    classes: list[str]
    examples: int
    mistakes: list[dict[str, Any]]
    """Classification: `position truth prediction probability`, the surest first. Regression: `position truth prediction
    error`, the largest first. `position` counts the judged examples from 0."""
    confusion: list[list[int]] | None = None
    """Truth in rows, prediction in columns, in the order of `classes`; None for regression and beyond 1,200 classes."""
    not_finite: int = 0
    """Examples whose output is NaN or infinite: with any of them every metric is None."""
    residuals: dict[str, Any] | None = None
    """Regression: prediction - truth as `mean`, `sd` and `quantiles` (in percent)."""
    scatter: list[list[float]] = field(default_factory=list)
    """Regression: pairs of truth and prediction for a picture, drawn at random where there are many."""

    def json(self) -> dict[str, Any]:
        """The judgement as `evaluate` prints it."""
        found: dict[str, Any] = {
            "metrics": self.metrics,
            "confusion": self.confusion,
            "classes": self.classes,
            "examples": self.examples,
            "mistakes": self.mistakes,
        }
        if self.task == "regress":
            found |= {"residuals": self.residuals, "scatter": self.scatter}
        return found | ({"not_finite": self.not_finite} if self.not_finite else {})


def judge(
    task: str, truth: np.ndarray, outputs: np.ndarray, classes: list[str] | None = None, mistakes: int = MISTAKES
) -> Judgement:
    """Judge `outputs` against `truth`.

    Args:
        task: `classify` (truth: class numbers (N,), outputs: probabilities (N, K)) or
            `regress` (both numbers, (N,) or (N, M)).
        classes: the K names of the classes.
        mistakes: how many of the most confident mistakes to keep.
    """
    if task not in ("classify", "regress"):
        choices = ("classify", "regress")
        raise UsageError(f"{say('task {task!r} cannot be judged.', task=task)} {hint(task, choices)}")
    truth, outputs = np.asarray(truth), np.asarray(outputs)
    if task == "classify":
        return _judge_classes(truth, outputs, classes, mistakes)
    return _judge_numbers(*_same_shape(truth, outputs), mistakes)


def _judge_classes(truth: np.ndarray, outputs: np.ndarray, classes: list[str] | None, mistakes: int) -> Judgement:
    if outputs.ndim != 2:
        raise UsageError(say("probabilities are an array (examples, classes); got shape {shape}", shape=outputs.shape))
    count = outputs.shape[1]
    names = [str(index) for index in range(count)] if classes is None else [str(name) for name in classes]
    if len(names) != count:
        raise UsageError(say("{a} names of classes, but {b} columns of probabilities", a=len(names), b=count))
    scores = _scores("classify", truth, outputs)
    finite = np.isfinite(outputs).all(axis=1)
    rows = np.flatnonzero(finite)
    chosen = metrics.decide(outputs[rows]) if count else np.zeros(0, dtype=int)
    table = confusion_matrix(truth[rows], chosen, count) if count <= MOST_CONFUSED else None
    return Judgement(
        task="classify",
        metrics=scores,
        classes=names,
        examples=len(truth),
        mistakes=_wrong(truth, outputs, rows, chosen, names, mistakes),
        confusion=None if table is None else table.tolist(),
        not_finite=int(len(truth) - len(rows)),
    )


def _wrong(
    truth: np.ndarray, outputs: np.ndarray, rows: np.ndarray, chosen: np.ndarray, names: list[str], count: int
) -> list[dict[str, Any]]:
    wrong = chosen != truth[rows]
    rows, chosen = rows[wrong], chosen[wrong]
    sure = outputs[rows, chosen]
    first = np.argsort(-sure, kind="stable")[:count]
    return [
        {
            "position": int(rows[i]),
            "truth": names[int(truth[rows[i]])],
            "prediction": names[int(chosen[i])],
            "probability": float(sure[i]),
        }
        for i in first
    ]


def _same_shape(truth: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A column (N, 1) counts as a vector (N,)."""
    if truth.ndim != outputs.ndim and truth.size == outputs.size:
        return truth.reshape(-1), outputs.reshape(-1)
    return truth, outputs


def _judge_numbers(truth: np.ndarray, outputs: np.ndarray, mistakes: int) -> Judgement:
    scores = _scores("regress", truth, outputs)
    a, b = (metrics.rows(x.astype(np.float64)) for x in (truth, outputs))
    rows = np.flatnonzero(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    left = b[rows] - a[rows]
    size = np.abs(left).max(axis=1) if left.size else np.zeros(0)
    first = np.argsort(-size, kind="stable")[:mistakes]
    wrong = [
        {
            "position": int(rows[i]),
            "truth": _plain(a[rows[i]]),
            "prediction": _plain(b[rows[i]]),
            "error": _plain(left[i]),
        }
        for i in first
        if size[i] > 0
    ]
    shown = np.sort(permutation(len(rows), "scatter")[:SCATTER])
    pairs = np.stack([a[rows[shown]].ravel(), b[rows[shown]].ravel()], axis=1)[:SCATTER]
    return Judgement(
        task="regress",
        metrics=scores,
        classes=[],
        examples=len(truth),
        mistakes=wrong,
        not_finite=int(len(truth) - len(rows)),
        residuals=_residuals(left),
        scatter=pairs.tolist(),
    )


def _plain(row: np.ndarray) -> float | list[float]:
    return float(row[0]) if len(row) == 1 else [float(value) for value in row]


def _residuals(left: np.ndarray) -> dict[str, Any] | None:
    if not left.size:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        found = [left.mean(), left.std(), *np.percentile(left, QUANTILES)]
    mean, sd, *marks = (float(value) if np.isfinite(value) else None for value in found)
    return {"mean": mean, "sd": sd, "quantiles": {str(q): mark for q, mark in zip(QUANTILES, marks, strict=True)}}


def _scores(task: str, truth: np.ndarray, outputs: np.ndarray) -> dict[str, Score]:
    found = metrics.measure(task, truth, outputs)
    return {
        name: score(value, None if value is None else limits(name, truth, outputs)) for name, value in found.items()
    }


def score(value: float | None, interval: tuple[float, float] | None) -> Score:
    """A value with its interval, which holds it at least; without one where it has none."""
    if value is None or interval is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": min(interval[0], value), "high": max(interval[1], value)}


def better(name: str, first: float, second: float) -> bool:
    """Whether `first` is the better value of that metric."""
    higher = METRICS[name].facts["better"] == "higher"
    return first > second if higher else first < second
