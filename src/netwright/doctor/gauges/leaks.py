"""Leaks between splits and from the answer into the question (A8), and pairings that slipped (A5)."""

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from netwright.doctor.gauges.control import Score, Table, folds, score, table_of
from netwright.doctor.gauges.learners import (
    Examples,
    Question,
    answered,
    examples_of,
    form_of,
    screened,
    standardised,
    varying,
)
from netwright.doctor.stopwatch import Stopwatch

HASHED = 100_000
"""At most so many examples of a split are compared exactly."""
NEAR_ROWS = 8000
"""At most so many training examples are searched for a near one."""
NEAR_ASKED = 1000
"""At most so many examples of each split are asked about."""
NEAR = 0.2
"""Nearer than this part of the usual distance to the nearest example is a near duplicate."""
NEAR_COLUMNS = 512
COLUMNS = 40
"""So many features, those that go most with the target, are tried alone."""
COLUMN_ROWS = 3000
NAMED = 50
LAGS = (-3, -2, -1, 1, 2, 3)
ALIGN_ROWS = 1200
SURE = 4.0
"""A pairing found among several must show signal by so many standard errors."""


@dataclass(frozen=True)
class Duplicates:
    """Examples that occur twice, exactly."""

    within: int
    """Training examples that repeat an earlier one."""
    within_validation: int
    across: int
    """Validation examples that also stand in training."""
    across_share: float
    by_chance: float
    """The share expected where values of a feature coincide by chance, as with few distinct values."""
    torn: int
    """Of the repeated ones within and across, those with another target."""
    pairs: tuple[tuple[int, int], ...]
    """(validation, training) places, the first 50."""
    compared: int
    """Validation examples that were looked up."""

    @property
    def has_excess(self) -> bool:
        """Whether three or more, and more than 0.5 % beyond coincidence, stand in both splits."""
        chance = (self.by_chance * (1 - self.by_chance) / max(1, self.compared)) ** 0.5
        return self.across >= 3 and self.across_share - self.by_chance > max(0.005, 3 * chance)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class NearDuplicates:
    """Validation examples much nearer to a training example than training examples are to one another."""

    share: float
    expected: float
    """The same share for training examples and the rest of training."""
    error: float
    """Standard error of the difference."""
    usual: float
    """The usual distance to the nearest example."""
    pairs: tuple[tuple[int, int], ...]

    @property
    def has_excess(self) -> bool:
        return self.share - self.expected > 3 * self.error

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Column:
    """What one feature alone tells about the target, on examples held out."""

    feature: int
    skill: float
    auc: float
    """Mean over the classes of the area under the curve; numbers: R2."""


@dataclass(frozen=True)
class Leaks:
    """Duplicates, telling features, and what groups and times share."""

    duplicates: Duplicates | None
    near: NearDuplicates | None
    columns: tuple[Column, ...]
    """The most telling features alone, the best first."""
    features: int
    group_share: float = 0.0
    """Share of validation examples whose group stands in training."""
    early_share: float = 0.0
    """Share of validation examples that are not later than the last training example."""
    seconds: float = field(default=0.0, compare=False)

    @property
    def telling(self) -> tuple[Column, ...]:
        """Features that alone give the target away: AUC or R2 of 0.99, and classes nearly always right."""
        return tuple(one for one in self.columns if one.auc >= 0.99 and one.skill >= 0.95)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def leaks(
    x: np.ndarray,
    y: np.ndarray,
    x_validation: np.ndarray | None = None,
    y_validation: np.ndarray | None = None,
    *,
    kind: str,
    form: str = "auto",
    groups: np.ndarray | None = None,
    groups_validation: np.ndarray | None = None,
    times: np.ndarray | None = None,
    times_validation: np.ndarray | None = None,
    seed: int = 0,
) -> Leaks:
    """What validation shares with training, and which single features hold the answer.

    `x`, `y`, `kind`, `form` as for `control`; `groups` and `times` (N,) where they are known.
    """
    watch = Stopwatch()
    x, y = np.asarray(x), np.asarray(y)
    same = near = None
    if x_validation is not None and len(x_validation) and np.shape(x_validation)[1:] == x.shape[1:]:
        other = np.asarray(x_validation)
        same = duplicates(x, y, other, y_validation, seed=seed)
        near = near_duplicates(x, other, form=form, seed=seed)
    columns = telling_columns(x, y, kind=kind, form=form, seed=seed)
    return Leaks(
        same, near, columns, int(np.prod(x.shape[1:])), _shared(groups, groups_validation),
        _early(times, times_validation), watch.seconds,
    )  # fmt: skip


def marks(x: np.ndarray) -> list[bytes]:
    """16 bytes an example; equal examples have equal ones, also 0 and -0, NaN and NaN."""
    x = np.asarray(x)
    x = x.reshape(len(x), -1) if x.size else x.reshape(len(x), 0)
    if np.issubdtype(x.dtype, np.floating):
        x = np.where(np.isnan(x), np.array(np.nan, dtype=x.dtype), x + np.array(0, dtype=x.dtype))
    return [hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest() for row in x]


def duplicates(
    x: np.ndarray, y: np.ndarray | None, other: np.ndarray, y_other: np.ndarray | None, *, seed: int = 0
) -> Duplicates:
    """Exact repetitions within and across two splits (the first 100,000 examples of each).

    `by_chance` counts again after each feature of the validation examples was shuffled within its class.
    """
    x, other = x[:HASHED], other[:HASHED]
    if x.dtype != other.dtype:
        x, other = x.astype(np.float32), other.astype(np.float32)
    here, there = marks(x), marks(other)
    first: dict[bytes, int] = {}
    torn, within = 0, 0
    for place, mark in enumerate(here):
        original = first.setdefault(mark, place)
        if original != place:
            within += 1
            torn += y is not None and not np.array_equal(y[original], y[place])
    pairs = [(place, first[mark]) for place, mark in enumerate(there) if mark in first]
    if y is not None and y_other is not None:
        torn += sum(not np.array_equal(y_other[a], y[b]) for a, b in pairs)
    chance = _coincidences(first, other, y_other, seed) if pairs else 0.0
    return Duplicates(
        within, len(there) - len(set(there)), len(pairs), len(pairs) / max(1, len(there)), chance,
        int(torn), tuple(pairs[:NAMED]), len(there),
    )  # fmt: skip


def _coincidences(first: dict[bytes, int], other: np.ndarray, y: np.ndarray | None, seed: int) -> float:
    """The share found in training after shuffling every feature within its class."""
    rng = np.random.default_rng(seed)
    flat = other.reshape(len(other), -1)
    classes = np.zeros(len(other), dtype=int)
    if y is not None and len(y) == len(other) and np.size(y) == len(y):
        names, codes = np.unique(np.asarray(y).reshape(-1), return_inverse=True)
        classes = codes if len(names) <= len(other) / 5 else classes
    if flat.shape[1] > NEAR_COLUMNS:
        return 0.0  # so many values at once coincide by copying only
    mixed = flat.copy()
    for name in np.unique(classes):
        places = np.flatnonzero(classes == name)
        for column in range(flat.shape[1]):
            mixed[places, column] = flat[rng.permutation(places), column]
    return float(np.mean([mark in first for mark in marks(mixed)]))


def near_duplicates(x: np.ndarray, other: np.ndarray, *, form: str = "auto", seed: int = 0) -> NearDuplicates | None:
    """How many validation examples are nearly a training example; None where there are under 20 of either.

    Formula: near = distance to the nearest training example < 0.2 median of the same for training examples (itself left
        out); Euclidean, of standardised rows; exact copies are not counted

    Differs: two halves of training would tell the same, but leave half of the copies unseen.
    """
    from sklearn.neighbors import NearestNeighbors

    if min(len(x) // 2, len(other)) < 10 or x.shape[1:] != other.shape[1:]:
        return None
    rng = np.random.default_rng(seed)
    known = rng.permutation(len(x))[:NEAR_ROWS]
    places = np.sort(rng.choice(len(other), min(len(other), NEAR_ASKED), replace=False))
    form = form_of(x) if form == "auto" else form
    rows = examples_of(np.concatenate([x[known], other[places]]), form).rows
    z = standardised(rows[: len(known)], rows)[1]
    if z.shape[1] > NEAR_COLUMNS:
        z = z[:, np.sort(rng.choice(z.shape[1], NEAR_COLUMNS, replace=False))]
    model = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(z[: len(known)])
    usual = model.kneighbors(z[: min(len(known), NEAR_ASKED)])[0][:, 1]  # the first is the example itself
    found, nearest = (part[:, 0] for part in model.kneighbors(z[len(known) :]))
    middle = float(np.median(usual))
    if middle <= 0:
        return None
    exact = 1e-4 * middle
    is_near = (found < NEAR * middle) & (found > exact)
    base = (usual < NEAR * middle) & (usual > exact)
    share, expected = float(is_near.mean()), float(base.mean())
    pooled = (is_near.sum() + base.sum() + 1) / (len(is_near) + len(base) + 2)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / len(is_near) + 1 / len(base))))
    pairs = [(int(places[i]), int(known[nearest[i]])) for i in np.flatnonzero(is_near)[:NAMED]]
    return NearDuplicates(share, expected, error, middle, tuple(pairs))


def telling_columns(
    x: np.ndarray, y: np.ndarray, *, kind: str, form: str = "auto", seed: int = 0
) -> tuple[Column, ...]:
    """The features that alone tell most about the target, by a small tree on examples it has not seen.

    Formula: auc = mean over classes of the rank AUC of the tree's share (numbers: R2); two folds
    """
    form = form_of(np.asarray(x)) if form == "auto" else form
    if kind not in ("classes", "numbers") or form in ("pictures", "tokens", "sequences"):
        return ()
    table = table_of(x, y, kind=kind, form=form, most=COLUMN_ROWS, seed=seed)
    question = table.question
    if len(table) < 40 or (kind == "numbers" and question.count > 1) or (kind == "classes" and question.count > 100):
        return ()
    rows = table.examples.rows
    kept = np.flatnonzero(varying(rows))
    if not len(kept):
        return ()
    chosen = kept[screened(standardised(rows[:, kept])[0], table.targets, question, COLUMNS)]
    found = [_alone(int(c), rows[:, c : c + 1], table.targets, question) for c in chosen]
    return tuple(sorted(found, key=lambda one: -one.auc)[:10])


def _alone(feature: int, column: np.ndarray, targets: np.ndarray, question: Question) -> Column:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    parts = folds(targets, 2, kind=question.kind, seed=question.seed)
    said = np.zeros((len(targets), question.count))
    known = np.nan_to_num(column, nan=-1e30, posinf=1e30, neginf=-1e30)
    leaves = min(256, max(16, 2 * question.count)) if question.kind == "classes" else 256
    for fold in range(2):
        learnt, asked = parts != fold, parts == fold
        if question.kind == "classes":
            tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=3, random_state=0)
            tree.fit(known[learnt], targets[learnt])
            said[np.ix_(asked, tree.classes_)] = tree.predict_proba(known[asked])
        else:
            line = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=3, random_state=0)
            said[asked, 0] = line.fit(known[learnt], targets[learnt, 0]).predict(known[asked])
    skill = score(said, targets, question).skill
    if question.kind == "numbers":
        finite = np.isfinite(column[:, 0])
        straight = _squared_correlation(column[finite, 0].astype(np.float64), targets[finite, 0])
        return Column(feature, max(skill, straight), max(skill, straight))
    areas = [auc(said[:, k], targets == k) for k in range(question.count)]
    known_areas = [area for area in areas if area is not None]
    return Column(feature, skill, float(np.mean(known_areas)) if known_areas else 0.5)


def _squared_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return 0.0
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    return float((a * b).mean() ** 2)


def auc(scores: Float[np.ndarray, "examples"], is_class: np.ndarray) -> float | None:
    """How often an example of the class scores above one of the others (a tie counts half); None without both.

    Formula: (sum of ranks of the class - n (n + 1) / 2) / (n m)
    """
    from scipy.stats import rankdata

    positive = int(is_class.sum())
    negative = len(is_class) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(np.nan_to_num(scores, nan=-np.inf))
    return float((ranks[is_class.astype(bool)].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _shared(groups: np.ndarray | None, other: np.ndarray | None) -> float:
    if groups is None or other is None or not len(other):
        return 0.0
    return float(np.isin(np.asarray(other), np.asarray(groups)).mean())


def _early(times: np.ndarray | None, other: np.ndarray | None) -> float:
    if times is None or other is None or not len(other) or not len(times):
        return 0.0
    return float((np.asarray(other) <= np.asarray(times).max()).mean())


@dataclass(frozen=True)
class Alignment:
    """Whether another pairing of examples and targets shows signal where the given one shows none."""

    given: Score
    has_signal: bool
    """Whether the given pairing shows signal; the others are tried only where it does not."""
    found: str
    """`given`, `none`, `reversed`, or the lag: with `lag 1` example i belongs to the target in place i + 1."""
    others: dict[str, Score]

    def to_json(self) -> dict[str, Any]:
        others = {name: score.to_json() for name, score in self.others.items()}
        return {"given": self.given.to_json(), "has_signal": self.has_signal, "found": self.found, "others": others}


def alignment(x: np.ndarray, y: np.ndarray, *, kind: str, form: str = "auto", seed: int = 0) -> Alignment:
    """Try the pairings that slip most easily: the targets up to three places on or back, and in reverse.

    Formula: signal = skill of the best of linear, nearest and (up to 3 classes) trees on held-out examples > 4 standard
        errors (given: 2)
    """
    x, y = np.asarray(x), np.asarray(y)
    given = _paired(x, y, kind, form, seed)
    if given.skill > max(1e-9, 2 * given.error) or len(x) < 40:
        return Alignment(given, given.skill > 2 * given.error, "given" if given.skill > 2 * given.error else "none", {})
    others = {}
    for lag in LAGS:
        first, second = (x[:-lag], y[lag:]) if lag > 0 else (x[-lag:], y[:lag])
        others[f"lag {lag}"] = _paired(first, second, kind, form, seed)
    others["reversed"] = _paired(x, y[::-1], kind, form, seed)
    best = max(others, key=lambda name: others[name].skill)
    found = best if others[best].skill > max(0.05, SURE * others[best].error) else "none"
    return Alignment(given, False, found, others)


def _paired(x: np.ndarray, y: np.ndarray, kind: str, form: str, seed: int) -> Score:
    """The best skill of quick learners over three folds."""
    table = table_of(x, y, kind=kind, form=form, most=ALIGN_ROWS, seed=seed, work=0.2)
    if len(table) < 10:
        return Score(0.0, 1.0)
    plain = replace(table, examples=Examples(table.examples.rows))
    parts = folds(plain.targets, 3, kind=kind, seed=seed)
    names = ("linear", "nearest", "trees") if kind == "numbers" or plain.question.count <= 3 else ("linear", "nearest")
    return max((found for name in names if (found := _folded(name, plain, parts))), key=_skill)


def _skill(found: Score) -> float:
    return found.skill


def _folded(name: str, table: Table, parts: Int[np.ndarray, "examples"]) -> Score | None:
    said = np.zeros((len(table), table.question.count))
    for fold in range(3):
        learnt, asked = np.flatnonzero(parts != fold), np.flatnonzero(parts == fold)
        answer = answered(
            name, table.examples.at(learnt), table.targets[learnt], table.examples.at(asked), table.question
        )
        if answer is None:
            return None
        said[asked] = answer
    return score(said, table.targets, table.question)
