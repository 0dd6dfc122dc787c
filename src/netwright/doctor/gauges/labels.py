"""Wrong labels (A6): how many there may be, and which examples they are most likely.

Every example is judged by learners that have not seen it. A label that contradicts them is wrong, or the example is
hard. The two are told apart by what happens as the learners grow sure: on hard examples the contradictions die out, on
wrong labels they stay.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from netwright.doctor.gauges.control import Table, folds, table_of
from netwright.doctor.gauges.learners import answered
from netwright.doctor.stopwatch import Stopwatch

ROWS = 3000
"""At most so many examples are judged."""
FOLDS = 5
FEWEST = 40
"""With fewer examples nothing is estimated."""
CLASSES = 200
"""Tasks of more classes are passed over."""
NAMED = 300
"""At most so many suspects are named."""
LIKELY = 1.92
"""Half the 95 % point of chi-squared with one degree of freedom: how far a log-likelihood may fall in the interval."""
SHARES = np.concatenate([np.linspace(0, 0.1, 41), np.linspace(0.11, 0.49, 39)])
"""The shares of wrong labels that are tried."""


@dataclass(frozen=True)
class Suspect:
    """An example whose label contradicts learners that have not seen it."""

    index: int
    given: int | float
    likelier: int | float
    confidence: float
    """How much of the learners' belief goes to the given label."""
    other: float
    """How much goes to the likelier one."""


@dataclass(frozen=True)
class LabelErrors:
    """The estimate, its 95 % interval, and the suspects, the most suspicious first."""

    share: float
    low: float
    high: float
    joint: float
    """Share off the diagonal of the confident joint of given and likelier labels: hard examples count too."""
    disagree: float
    """Share of labels that differ from the out-of-fold answer."""
    judged: int
    suspects: tuple[Suspect, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def label_errors(
    x: np.ndarray, y: np.ndarray, *, form: str = "auto", seconds: float = 5.0, seed: int = 0
) -> LabelErrors | None:
    """How many class labels are probably wrong, and which; None with too few examples or only one class.

    `x` as for `control`, `y` class numbers (N,). At most 3,000 examples (1,500 pictures) are judged, each by a linear
    model, nearest neighbours and boosted trees (pictures: the small convolutional network) learnt on the other folds.

    Formula: share = the height at which P(label contradicts answer | margin m) = s + (1 - 2 s) sigmoid(a - b m)
        levels off (profile likelihood: its median and 95 % interval); m the answer's lead over the next class. joint:
        off-diagonal mass of C[i, j] = #{given i, largest p_j >= mean of p_j over given j}, rows scaled to the counts.

    Differs: the share estimated in the paper is `joint`; it counts overlapping classes as wrong labels.
    """
    watch = Stopwatch()
    most = max(FEWEST, round(ROWS * float(np.clip(seconds / 5, 0.1, 2))))
    is_dear = np.ndim(x) == 4  # pictures are judged by a convolutional network, five times over
    most, work = (most // 2, 0.2) if is_dear else (most, 0.4)
    table = table_of(x, y, kind="classes", form=form, most=most, seed=seed, work=work)
    counts = np.bincount(table.targets, minlength=table.question.count)
    if len(table) < FEWEST or (counts > 1).sum() < 2 or table.question.count > CLASSES:
        return None
    given = table.targets
    sound, together = beliefs(table)
    differs = sound.argmax(1) != given
    low, share, high = levelling(margins(sound), differs)
    names = np.unique(np.asarray(y).reshape(-1)[table.places])
    return LabelErrors(
        share, low, high, joint_share(together, given), float(differs.mean()), len(table),
        _suspects(together, given, table.places, names), watch.seconds,
    )  # fmt: skip


def beliefs(table: Table) -> tuple[Float[np.ndarray, "examples classes"], Float[np.ndarray, "examples classes"]]:
    """Out-of-fold shares of the classes for each example: of the learner that fits the labels best, and of all.

    The first tells how sure one may be (on classes that overlap, poor learners in the mean would hide it), the second
    ranks better.

    Formula: linear, nearest, trees (pictures: network) and their geometric mean; best: mean of log p(given label)
    """
    parts = folds(table.targets, FOLDS, kind="classes", seed=table.question.seed)
    question = table.question
    names = ("linear", "nearest", "trees" if table.examples.pictures is None else "reference")
    found: dict[str, np.ndarray] = {name: np.zeros((len(table), question.count)) for name in names}
    for fold in range(FOLDS):
        asked = parts == fold
        learnt, other = table.examples.at(np.flatnonzero(~asked)), table.examples.at(np.flatnonzero(asked))
        for name in list(found):
            said = answered(name, learnt, table.targets[~asked], other, question)
            if said is None:
                del found[name]
            else:
                found[name][asked] = 0.98 * said + 0.02 / question.count
    together = np.exp(np.mean([np.log(said) for said in found.values()], axis=0))
    found["together"] = together / together.sum(1, keepdims=True)
    given = (np.arange(len(table)), table.targets)
    return max(found.values(), key=lambda shares: float(np.log(shares[given]).mean())), found["together"]


def margins(shares: Float[np.ndarray, "examples classes"]) -> Float[np.ndarray, "examples"]:
    """How far the likeliest class leads the next, as a difference of logarithms."""
    top = np.sort(shares, axis=1)[:, -2:]
    lead: np.ndarray = np.log(np.maximum(top[:, 1], 1e-12)) - np.log(np.maximum(top[:, 0], 1e-12))
    return lead


def levelling(margin: Float[np.ndarray, "examples"], differs: np.ndarray) -> tuple[float, float, float]:
    """The share of contradictions that stays however large the margin: lower end, middle, upper end (95 %).

    Formula: sum log P, at the best a and b >= 0, is a log-likelihood of s: its median, and where it falls by 1.92;
        P = s + (1 - 2 s) sigmoid(a - b m) where the label contradicts the answer, 1 - P elsewhere
    """
    from scipy.optimize import minimize

    m = margin / max(1e-9, float(np.median(margin)) or 1.0)
    wrong = differs.astype(bool)

    def cost(at: np.ndarray, share: float) -> tuple[float, np.ndarray]:
        z = np.clip(at[0] - at[1] * m, -40, 40)
        hard = 1 / (1 + np.exp(-z))
        p = np.clip(share + (1 - 2 * share) * hard, 1e-9, 1 - 1e-9)
        slope = (1 - 2 * share) * hard * (1 - hard) * np.where(wrong, -1 / p, 1 / (1 - p))
        return -float(np.log(np.where(wrong, p, 1 - p)).sum()), np.array([slope.sum(), -(slope * m).sum()])

    heights, start = [], np.array([0.0, 2.0])
    for share in SHARES:
        found = minimize(cost, start, args=(share,), jac=True, method="L-BFGS-B", bounds=[(-10, 10), (0, 20)])
        start = found.x
        heights.append(-float(found.fun))
    height = np.array(heights)
    inside = np.flatnonzero(height >= height.max() - LIKELY)
    weight = np.exp(height - height.max()) * np.gradient(SHARES)
    middle = np.searchsorted(weight.cumsum(), weight.sum() / 2)
    share = float(np.clip(SHARES[middle], SHARES[inside[0]], SHARES[inside[-1]]))
    return float(SHARES[inside[0]]), share, float(SHARES[inside[-1]])


def confident_joint(
    shares: Float[np.ndarray, "examples classes"], given: Int[np.ndarray, "examples"]
) -> Float[np.ndarray, "classes classes"]:
    """The joint of given (rows) and likelier labels (columns), as shares (Northcutt and others 2021, section 3.1)."""
    count = shares.shape[1]
    own = shares[np.arange(len(given)), given]
    members = np.bincount(given, minlength=count)
    bar = np.bincount(given, weights=own, minlength=count) / np.maximum(members, 1)
    bar = np.where(members > 0, bar, np.inf)
    over = np.where(shares >= bar, shares, -1.0)
    likely, counted = over.argmax(1), over.max(1) >= 0
    joint = np.zeros((count, count))
    np.add.at(joint, (given[counted], likely[counted]), 1.0)
    for empty in np.flatnonzero(joint.sum(1) == 0):
        joint[empty, empty] = 1.0
    joint *= (members / joint.sum(1))[:, None]
    found: np.ndarray = joint / max(1, len(given))
    return found


def joint_share(shares: Float[np.ndarray, "examples classes"], given: Int[np.ndarray, "examples"]) -> float:
    """The mass off the diagonal of the confident joint."""
    joint = confident_joint(shares, given)
    return max(0.0, float(joint.sum() - np.trace(joint)))


def _suspects(shares: np.ndarray, given: np.ndarray, rows: np.ndarray, names: np.ndarray) -> tuple[Suspect, ...]:
    own = shares[np.arange(len(given)), given]
    likelier = shares.argmax(1)
    order = [i for i in np.argsort(own - shares.max(1), kind="stable")[:NAMED] if likelier[i] != given[i]]
    return tuple(
        Suspect(int(rows[i]), names[given[i]].item(), names[likelier[i]].item(), float(own[i]), float(top))
        for i, top in zip(order, shares.max(1)[order], strict=True)
    )
