"""Simple learners, each a function of arrays: examples to learn, examples to answer, one row of outputs an example.

Outputs are shares that sum to one (classes), shares between 0 and 1 (labels) or numbers. Each learner sees standardised
columns without missing values, and can meet one example, one class or a constant column.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn import functional as F

from netwright.doctor.gauges.small_networks import small_network

COLUMNS = 1024
"""At most so many columns reach a learner; of more, those that go most with the target on the examples learnt."""
TREE_COLUMNS = 64
TREE_CLASSES = 20
"""Trees leave out tasks of more classes, and of more than `TREE_OUTPUTS` numbers or labels."""
TREE_OUTPUTS = 4
SIDE = 32
"""Larger pictures are averaged down to this side."""
TOKENS = 2000
"""The commonest tokens are counted, the others not."""
VALUES = 40_000_000
"""At most so many numbers are held at once; wider examples are thinned evenly."""
CLIP = 10.0
"""Standardised values beyond are drawn in, so that one sentinel does not outweigh the rest."""
NEIGHBOURS = 5


@dataclass(frozen=True)
class Examples:
    """Examples as learners read them: rows of numbers, and pictures where they are pictures."""

    rows: Float[np.ndarray, "examples columns"]
    pictures: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Int[np.ndarray, "some"]) -> "Examples":
        return Examples(self.rows[places], None if self.pictures is None else self.pictures[places])


@dataclass(frozen=True)
class Question:
    """What is asked: `classes` (targets (N,), `count` classes), `labels` or `numbers` (targets (N, count))."""

    kind: str
    count: int
    seed: int = 0
    work: float = 1.0
    """How much may be spent; 1 stands for a few seconds on one core."""


def form_of(x: np.ndarray) -> str:
    """`rows`, `pictures` (N, C, H, W), `sequences` (N, T, F) or `tokens` (N, T whole numbers), told by the shape."""
    if x.ndim == 4:
        return "pictures"
    if x.ndim == 3:
        return "sequences"
    whole = np.issubdtype(x.dtype, np.integer) and x.dtype.itemsize > 1
    return "tokens" if x.ndim == 2 and x.shape[1] > 1 and whole else "rows"


def examples_of(x: np.ndarray, form: str = "auto") -> Examples:
    """Examples of any shape as rows of numbers (float32), missing values kept.

    Formula: sequences: the values in order, then mean, spread and last; tokens: how often each of the commonest
        occurs, and where the row is short which stands at each place; pictures: averaged down to a side of 32
    """
    x = np.asarray(x)
    x = x[:, None] if x.ndim == 1 else x
    form = form_of(x) if form == "auto" else form
    if form == "pictures" and x.ndim == 4 and x.size:
        pictures = _smaller(x)
        return Examples(pictures.reshape(len(x), -1), pictures)
    if form == "tokens" and x.size:
        return Examples(_bag(x.reshape(len(x), -1)))
    rows = _thinned(x)
    if form == "sequences" and x.ndim == 3 and x.size:
        with np.errstate(all="ignore"):
            steps = x.astype(np.float32)
            rows = np.concatenate([rows, steps.mean(1), steps.std(1), steps[:, -1]], axis=1)
    return Examples(rows)


def _thinned(x: np.ndarray) -> Float[np.ndarray, "examples columns"]:
    flat = x.reshape(len(x), -1) if x.size else np.zeros((len(x), 1), dtype=np.float32)
    most = max(1, VALUES // max(1, len(x)))
    if flat.shape[1] > most:
        flat = flat[:, np.linspace(0, flat.shape[1] - 1, most).astype(int)]
    with np.errstate(over="ignore", invalid="ignore"):
        return flat.astype(np.float32)


def _smaller(x: np.ndarray) -> Float[np.ndarray, "examples channels height width"]:
    """Averaged down to a side of at most 32, a few hundred examples at a time."""
    size = (min(SIDE, x.shape[2]), min(SIDE, x.shape[3]))
    parts = []
    for first in range(0, len(x), 256):
        with np.errstate(over="ignore", invalid="ignore"):
            part = torch.from_numpy(x[first : first + 256].astype(np.float32))
        parts.append((part if part.shape[2:] == size else F.adaptive_avg_pool2d(part, size)).numpy())
    return np.concatenate(parts)


def _bag(x: np.ndarray) -> Float[np.ndarray, "examples columns"]:
    with np.errstate(invalid="ignore"):
        whole = np.nan_to_num(x.astype(np.float64)).astype(np.int64)
    found, place, counts = np.unique(whole, return_inverse=True, return_counts=True)
    common = np.sort(np.argsort(-counts, kind="stable")[:TOKENS])
    column_of = np.full(len(found), -1)
    column_of[common] = np.arange(len(common))
    column = column_of[place.reshape(-1)].reshape(whole.shape)
    bag = np.zeros((len(x), len(common)), dtype=np.float32)
    row = np.broadcast_to(np.arange(len(x))[:, None], whole.shape)
    known = column >= 0
    np.add.at(bag, (row[known], column[known]), 1.0)
    if len(common) * whole.shape[1] <= COLUMNS // 2:
        spot = np.zeros((len(x), whole.shape[1], len(common)), dtype=np.float32)
        spot[row[known], np.broadcast_to(np.arange(whole.shape[1]), whole.shape)[known], column[known]] = 1
        bag = np.concatenate([bag, spot.reshape(len(x), -1)], axis=1)
    return bag


def _centre(rows: Float[np.ndarray, "examples columns"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of the finite values of each column."""
    finite = np.isfinite(rows)
    count = np.maximum(1, finite.sum(0))
    exact = np.where(finite, rows, 0).astype(np.float64)
    mean = exact.sum(0) / count
    return mean, np.sqrt(np.where(finite, (exact - mean) ** 2, 0).sum(0) / count)


def varying(rows: Float[np.ndarray, "examples columns"]) -> np.ndarray:
    """Which columns hold more than one value, rounding apart."""
    mean, spread = _centre(rows)
    found: np.ndarray = spread > 1e-7 * np.maximum(np.abs(mean), 1e-30)
    return found


def standardised(
    train: Float[np.ndarray, "examples columns"], *others: Float[np.ndarray, "other columns"]
) -> list[Float[np.ndarray, "some kept"]]:
    """Columns at mean 0 and spread 1 by the statistics of `train`; missing values become 0, constant columns go.

    Formula: (x - mean) / std, drawn in to [-10, 10]; mean and std over the finite values
    """
    mean, spread = _centre(train)
    kept = varying(train)
    if not kept.any():
        kept[:1] = True
    scale = np.where(spread > 0, spread, 1.0)
    made = []
    for rows in (train, *others):
        with np.errstate(over="ignore", invalid="ignore"):
            z = (rows[:, kept].astype(np.float64) - mean[kept]) / scale[kept]
        made.append(np.clip(np.nan_to_num(z, nan=0.0), -CLIP, CLIP).astype(np.float32))
    return made


def coded(targets: np.ndarray, question: Question) -> Float[np.ndarray, "examples columns"]:
    """Targets as columns of numbers: one column a class where classes are asked."""
    if question.kind == "classes":
        return np.eye(question.count, dtype=np.float32)[targets]
    return targets.astype(np.float32)


def screened(
    z: Float[np.ndarray, "examples columns"], targets: np.ndarray, question: Question, most: int
) -> Int[np.ndarray, "kept"]:
    """The columns that go most with the target, at most `most`: sum over its columns of the squared correlation."""
    if z.shape[1] <= most:
        return np.arange(z.shape[1])
    wanted = coded(targets, question)[:, :64]
    wanted = wanted - wanted.mean(0)
    wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=0), 1e-12)
    strength = ((z.T @ wanted) ** 2).sum(1) / np.maximum((z**2).sum(0), 1e-12)
    return np.sort(np.argsort(-strength, kind="stable")[:most])


@contextmanager
def _quietly() -> Iterator[None]:
    """A simple learner that stops before the last digit is good enough; its warning is for its own users."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def linear(z: np.ndarray, targets: np.ndarray, asked: np.ndarray, question: Question) -> np.ndarray:
    """Logistic regression (classes), ridge regression (numbers, labels); the penalty of ridge by leaving one out."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if question.kind == "classes":
        cost = z.size * question.count
        most = int(np.clip(1e10 * question.work / cost, 15, 100))
        model = LogisticRegression(C=1.0, max_iter=most, tol=1e-3).fit(z, targets)
        return _spread_out(model.predict_proba(asked), model.classes_, question.count)
    y = targets.astype(np.float64)
    if len(z) < 3:
        return np.broadcast_to(y.mean(0), (len(asked), y.shape[1])).copy()
    found = RidgeCV(alphas=(0.1, 10.0, 1000.0)).fit(z.astype(np.float64), y).predict(asked.astype(np.float64))
    return np.asarray(found).reshape(len(asked), -1)


def nearest(
    z: np.ndarray, targets: np.ndarray, asked: np.ndarray, question: Question, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """The mean of the 5 nearest examples, by the distance between standardised rows."""
    from sklearn.neighbors import NearestNeighbors

    count = min(neighbours, len(z))
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(z).kneighbors(asked, return_distance=False)
    if question.kind == "classes":
        votes = np.zeros((len(asked), question.count))
        np.add.at(votes, (np.arange(len(asked))[:, None], targets[found]), 1 / count)
        return votes
    mean = np.zeros((len(asked), targets.shape[1]))
    for column in range(count):  # one neighbour at a time: all at once would hold five times the targets
        mean += targets[found[:, column]] / count
    return mean


def trees(z: np.ndarray, targets: np.ndarray, asked: np.ndarray, question: Question) -> np.ndarray | None:
    """Gradient-boosted trees of at most 15 leaves on the 64 most telling columns; None where that costs too much."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    classes = question.kind == "classes"
    if question.count > (TREE_CLASSES if classes else TREE_OUTPUTS):
        return None
    columns = screened(z, targets, question, TREE_COLUMNS)
    z, asked = z[:, columns], asked[:, columns]
    rounds = int(np.clip(question.work * (300 / question.count if classes and question.count > 2 else 60), 8, 60))
    settings = {
        "max_iter": rounds, "max_leaf_nodes": 15, "min_samples_leaf": max(1, min(20, len(z) // 10)),
        "early_stopping": False, "random_state": question.seed % 2**31, "learning_rate": 0.15,
    }  # fmt: skip
    if classes:
        model = HistGradientBoostingClassifier(**settings).fit(z, targets)
        return _spread_out(model.predict_proba(asked), model.classes_, question.count)
    said = [_one_column(HistGradientBoostingRegressor(**settings), z, y, asked) for y in targets.T]
    return np.stack(said, axis=1)


def _one_column(model: Any, z: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    found: np.ndarray = model.fit(z, y.astype(np.float64)).predict(asked)
    return found


def network(z: np.ndarray, targets: np.ndarray, asked: np.ndarray, question: Question) -> np.ndarray:
    """The reference network on standardised examples; number targets are standardised for it, its answers put back."""
    wanted, mean, spread = targets, np.zeros(1), np.ones(1)
    if question.kind == "numbers":
        mean, spread = targets.mean(0), targets.std(0)
        spread = np.where(spread > 0, spread, 1.0)
        wanted = (targets - mean) / spread
    work = question.work * (0.25 if z.ndim == 4 else 1.0)
    found = small_network(
        z, wanted, asked, kind=question.kind, outputs=question.count, seed=question.seed % 2**62, work=work
    ).astype(np.float64)
    if question.kind == "numbers":
        return found * spread + mean
    if question.kind == "labels":
        return 1 / (1 + np.exp(-np.clip(found, -500, 500)))
    found = np.exp(found - found.max(1, keepdims=True))
    shares: np.ndarray = found / found.sum(1, keepdims=True)
    return shares


def _spread_out(shares: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Shares of the classes that were met, as columns of all classes."""
    found = np.zeros((len(shares), count))
    found[:, classes] = shares
    return found


LEARNERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Question], np.ndarray | None]] = {
    "linear": linear,
    "nearest": nearest,
    "trees": trees,
    "reference": network,
}


def answered(
    name: str, learnt: Examples, targets: np.ndarray, asked: Examples, question: Question
) -> np.ndarray | None:
    """What the learner `name` says of `asked` after `learnt`: (N, count); None where it leaves such tasks out."""
    if not len(asked):
        return np.zeros((0, question.count))
    if len(learnt) == 0 or (question.kind == "classes" and len(np.unique(targets)) < 2):
        return constant(targets, len(asked), question)
    with _quietly():
        if name == "reference" and learnt.pictures is not None:
            return _on_pictures(learnt.pictures, targets, asked, question)
        if name == "trees" and learnt.pictures is not None:
            return None
        z, other = standardised(learnt.rows, asked.rows)
        columns = screened(z, targets, question, COLUMNS)
        return LEARNERS[name](z[:, columns], targets, other[:, columns], question)


def _on_pictures(pictures: np.ndarray, targets: np.ndarray, asked: Examples, question: Question) -> np.ndarray | None:
    """The convolutional reference; pictures are standardised channel by channel, so that they stay pictures."""
    assert asked.pictures is not None
    everywhere = (0, 2, 3)
    finite = np.where(np.isfinite(pictures), pictures, np.nan).astype(np.float64)
    mean = np.nan_to_num(np.nanmean(finite, axis=everywhere, keepdims=True))
    spread = np.nan_to_num(np.nanstd(finite, axis=everywhere, keepdims=True))
    spread = np.where(spread > 0, spread, 1.0)
    z, other = (
        np.clip(np.nan_to_num((part - mean) / spread), -CLIP, CLIP).astype(np.float32)
        for part in (pictures, asked.pictures)
    )
    return network(z, targets, other, question)


def constant(targets: np.ndarray, count: int, question: Question) -> Float[np.ndarray, "count outputs"]:
    """The best constant answer `count` times: the class shares, or the mean."""
    if not len(targets):
        return np.full((count, question.count), 1 / question.count if question.kind == "classes" else 0.0)
    return np.broadcast_to(coded(targets, question).mean(0, dtype=np.float64), (count, question.count)).copy()
