"""Whether more examples would help (A14, P14), and how unequal classes fare (A7)."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from netwright.doctor.gauges.control import Score, Table, folds, score, table_of
from netwright.doctor.gauges.leaks import auc
from netwright.doctor.gauges.learners import LEARNERS, Question, answered
from netwright.doctor.stopwatch import Stopwatch

PARTS = (0.125, 0.25, 0.5, 1.0)
SEEDS = 3
ROWS = 4500
"""At most so many examples are drawn, a third of them held out."""
FEWEST = 60
"""With fewer examples no curve is measured."""
GAIN = 0.1
"""Doubling the examples must take away this share of the error to count."""
WORTH = 0.05
"""An error below this part of the constant answer's is small enough: more examples are no remedy for anything."""


@dataclass(frozen=True)
class Curve:
    """Error (1 - skill: 1 is the best constant answer) of a simple learner after more and more examples."""

    learner: str
    examples: tuple[int, ...]
    errors: tuple[float, ...]
    spread: tuple[float, ...]
    """Standard error over the seeds."""
    slope: float
    """Of log error against log examples; -0.5 halves the error with four times the examples."""
    gain: float
    """Share of the error that the last doubling took away."""
    gain_error: float
    seconds: float

    @property
    def still_gains(self) -> bool:
        """Whether twice the examples would take a tenth off an error worth the name, by the curve and its end."""
        lasting = min(self.gain, 1 - 2**self.slope)
        return lasting >= GAIN and self.gain > 2 * self.gain_error and self.errors[-1] >= WORTH

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def learning_curve(
    x: np.ndarray, y: np.ndarray, *, kind: str, form: str = "auto", seconds: float = 5.0, seed: int = 0
) -> Curve | None:
    """Error on held-out examples after an eighth, a quarter, half and all of the rest; None under 60 examples.

    `x`, `y`, `kind`, `form` as for `control`. The learner is the one that does best with all examples; each of three
    seeds holds out another third and draws other parts.

    Formula: error = 1 - skill; gain = 1 - sum error(all) / sum error(half) over the seeds; its standard error
        by leaving out each seed in turn, or from the scored examples where that is larger
    """
    watch = Stopwatch()
    share = float(np.clip(seconds / 5, 0.1, 2))
    table = table_of(x, y, kind=kind, form=form, most=round(ROWS * share), seed=seed, work=0.2 * share)
    if len(table) < FEWEST:
        return None
    held = folds(table.targets, 3, kind=kind, seed=seed)
    everything = [(np.flatnonzero(held != fold), np.flatnonzero(held == fold)) for fold in range(SEEDS)]
    known = {name: found.skill for name in LEARNERS if (found := _score(name, table, *everything[0])) is not None}
    learner = max(known, key=lambda name: known[name])
    scores = []
    for number, (learnt, asked) in enumerate(everything):
        order = _spread_evenly(table.targets, learnt, table.question, seed + number)
        parts = [order[: max(2, round(part * len(order)))] for part in PARTS]
        scores.append([_score(learner, table, some, asked) or Score(0.0, 1.0) for some in parts])
    errors = np.array([[1 - one.skill for one in row] for row in scores])
    sizes = np.array([max(2, round(part * len(everything[0][0]))) for part in PARTS])
    mean = errors.mean(0)
    slope = float(np.polyfit(np.log(sizes), np.log(np.maximum(mean, 1e-4)), 1)[0])
    gain, gain_error = _gain([row[-2] for row in scores], [row[-1] for row in scores])
    return Curve(
        learner, tuple(sizes.tolist()), tuple(mean.tolist()), tuple((errors.std(0, ddof=1) / SEEDS**0.5).tolist()),
        slope, gain, gain_error, watch.seconds,
    )  # fmt: skip


def _gain(half: list[Score], whole: list[Score]) -> tuple[float, float]:
    """The share of error that the last doubling took away, and its standard error: over seeds, or over examples."""
    count = len(half)
    before, after = (np.array([max(0.0, 1 - one.skill) for one in part]) for part in (half, whole))
    if before.sum() <= 0:
        return 0.0, 1.0
    gain = float(1 - after.sum() / before.sum())
    left = 1 - (after.sum() - after) / np.maximum(before.sum() - before, 1e-9)
    seeds = float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))
    examples = [sum(one.error**2 for one in part) ** 0.5 / max(1e-9, total) for part, total in
                ((half, before.sum()), (whole, after.sum()))]  # fmt: skip
    return gain, float(min(1.0, max(seeds, (1 - gain) * (examples[0] ** 2 + examples[1] ** 2) ** 0.5)))


def _score(name: str, table: Table, learnt: Int[np.ndarray, "some"], asked: Int[np.ndarray, "others"]) -> Score | None:
    said = answered(name, table.examples.at(learnt), table.targets[learnt], table.examples.at(asked), table.question)
    return None if said is None else score(said, table.targets[asked], table.question)


def _spread_evenly(
    targets: np.ndarray, learnt: Int[np.ndarray, "some"], question: Question, seed: int
) -> Int[np.ndarray, "some"]:
    """A random order whose beginnings hold the classes in their shares."""
    order = np.random.default_rng(seed).permutation(learnt)
    if question.kind != "classes":
        return order
    codes = targets[order]
    rank = np.zeros(len(order))
    for name in np.unique(codes):
        places = np.flatnonzero(codes == name)
        rank[places] = (np.arange(len(places)) + 0.5) / len(places)
    return order[np.argsort(rank, kind="stable")]


@dataclass(frozen=True)
class Imbalance:
    """How each class fares."""

    counts: tuple[int, ...]
    ratio: float
    """Most over fewest examples of a class that occurs."""
    recalls: tuple[float | None, ...]
    """Share of each class that is recognised; None for a class without examples."""
    aucs: tuple[float | None, ...]
    """Each class against the others, by its score."""
    accuracy: float
    balanced: float
    """Mean recall."""
    answered: tuple[int, ...]
    """How often each class is answered."""
    is_constant: bool
    """Whether all outputs are the same for all examples."""

    @property
    def mean_auc(self) -> float:
        known = [area for area in self.aucs if area is not None]
        return float(np.mean(known)) if known else 0.5

    @property
    def is_harmed(self) -> bool:
        """Whether a rare class suffers: recall under half that of the commonest, or balanced accuracy 0.15 lower."""
        known = [(count, recall) for count, recall in zip(self.counts, self.recalls, strict=True) if recall is not None]
        if len(known) < 2:
            return False
        most = max(known)[1]
        return min(recall for _, recall in known) < 0.5 * most or self.balanced < self.accuracy - 0.15

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def imbalance(y: Int[np.ndarray, "examples"], outputs: Float[np.ndarray, "examples ..."]) -> Imbalance:
    """Counts, recalls and areas under the curve of each class, from scores (N, K), or (N,) of class 1 against 0.

    Of one score an example, above 0 is class 1, or above 0.5 where all lie in [0, 1]. NaN is the lowest score.
    """
    y = np.asarray(y).reshape(-1).astype(np.int64)
    said = np.nan_to_num(np.asarray(outputs, dtype=np.float64), nan=-np.inf)
    said = said[:, None] if said.ndim == 1 else said
    if said.shape[1] == 1:
        middle = 0.5 if said.size and said.min() >= 0 and said.max() <= 1 else 0.0
        said = np.concatenate([2 * middle - said, said], axis=1)
    count = max(said.shape[1], int(y.max()) + 1 if len(y) else 0)
    counts = np.bincount(y, minlength=count)
    answer = said.argmax(1) if len(y) else y
    right = np.bincount(y[answer == y], minlength=count)
    recalls = [float(right[k] / counts[k]) if counts[k] else None for k in range(count)]
    met = counts[counts > 0]
    known = [recall for recall in recalls if recall is not None]
    return Imbalance(
        tuple(counts.tolist()), float(met.max() / met.min()) if len(met) else 1.0, tuple(recalls),
        tuple(auc(said[:, k], y == k) if k < said.shape[1] else None for k in range(count)),
        float((answer == y).mean()) if len(y) else 0.0, float(np.mean(known)) if known else 0.0,
        tuple(np.bincount(answer, minlength=count).tolist()), bool(len(y) > 1 and (said == said[:1]).all()),
    )  # fmt: skip
