"""What simple methods reach on the same split and features: the score that a network has to beat.

`constant` answers with the class shares or the mean, `linear` is logistic regression (C = 1) or ridge regression
(alpha = 1) on standardised features, `nearest` asks the 5 nearest training examples in standardised features.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Num

from netwright.errors import UsageError
from netwright.language import say
from netwright.parts import metrics
from netwright.randomness import permutation

ROWS = 10_000  # training examples at most
CELLS = 40_000_000  # rows x features at most: 160 MB of float32
WORK = 2e10  # rows x features x classes x iterations of the logistic solver: about 7 s on two cores
NEIGHBOURS = 5

Features = Float[np.ndarray, "examples features"]
Targets = Num[np.ndarray, "examples *outputs"]


@dataclass(frozen=True)
class BaselineResult:
    """One baseline: its metrics on the test examples and its outputs for them (probabilities or numbers)."""

    name: str
    metrics: dict[str, float | None]
    outputs: np.ndarray
    notes: list[str] = field(default_factory=list)
    """What was cut to keep the time bounded."""


def baselines(
    task: str,
    x_train: Features,
    y_train: Targets,
    x_test: Features,
    y_test: Targets,
    classes_count: int = 0,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """`{name of the baseline: {metric: number}}`, with the metrics that `judge` gives."""
    found = run_baselines(task, x_train, y_train, x_test, y_test, classes_count, seed)
    return {result.name: result.metrics for result in found}


def run_baselines(
    task: str,
    x_train: Features,
    y_train: Targets,
    x_test: Features,
    y_test: Targets,
    classes_count: int = 0,
    seed: int = 0,
) -> list[BaselineResult]:
    """The baselines `constant`, `linear` and `nearest` with their outputs; none without training examples.

    Args:
        x_train, x_test: features, already numeric (categories one-hot); values that are not finite count as the mean.
        y_train, y_test: class numbers, or numbers (N,) or (N, M).
        seed: draws the training rows where there are more than 10,000.
    """
    x_train, x_test = (metrics.rows(np.asarray(x, dtype=np.float32)) for x in (x_train, x_test))
    y_train, y_test = np.asarray(y_train), np.asarray(y_test)
    if x_train.shape[1] != x_test.shape[1]:
        a, b = x_train.shape[1], x_test.shape[1]
        raise UsageError(say("{a} training features, but {b} test features", a=a, b=b))
    if len(x_train) != len(y_train) or len(x_test) != len(y_test):
        raise UsageError(say("as many rows of features as targets are needed"))
    if len(x_train) == 0:
        return []
    rows, columns, notes = _chosen(len(x_train), x_train.shape[1], classes_count, seed)
    mean, scale = _scale(x_train[rows][:, columns])
    train, test = _standard(x_train[rows][:, columns], mean, scale), _standard(x_test[:, columns], mean, scale)
    methods: dict[str, Callable[..., np.ndarray]] = {"constant": _constant, "linear": _linear, "nearest": _nearest}
    found = []
    for name, method in methods.items():
        given = y_train if name == "constant" else y_train[rows]
        encoded = np.eye(classes_count)[given.astype(int)] if task == "classify" else given.astype(np.float64)
        outputs = method(train, encoded, test, task)
        value = metrics.measure(task, y_test, outputs)
        found.append(BaselineResult(name, value, outputs, [] if name == "constant" else notes))
    return found


def _chosen(rows: int, columns: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The training rows and columns within the budget, and what to say of those left out."""
    least = 20 * columns * max(classes, 1)  # twenty iterations of the solver
    count = min(rows, ROWS, max(1000, CELLS // max(columns, 1)), max(2000, int(WORK / max(least, 1))))
    kept = np.arange(rows) if count == rows else np.sort(permutation(rows, seed, "baselines")[:count])
    width = min(columns, CELLS // count)
    spread = np.linspace(0, columns - 1, width).round().astype(int) if width < columns else np.arange(columns)
    notes = []
    if count < rows:
        notes.append(say("{count} of {rows} training examples, drawn by the seed", count=count, rows=rows))
    if width < columns:
        notes.append(say("{count} of {columns} features, evenly spaced", count=width, columns=columns))
    return kept, spread, notes


def _scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over its finite values; 1 for a column that does not vary."""
    finite = np.isfinite(x)
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, x, 0).sum(axis=0, dtype=np.float64) / count
    square = np.empty(x.shape[1])
    for start in range(0, x.shape[1], 512):  # in blocks, so that float64 needs little room
        part = slice(start, start + 512)
        apart = np.where(finite[:, part], x[:, part] - mean[part], 0)
        square[part] = np.square(apart, dtype=np.float64).sum(axis=0)
    deviation = np.sqrt(square / count)
    tiny = 10 * np.finfo(np.float32).eps * np.abs(mean)  # rounding alone, as in scikit-learn's StandardScaler
    return mean.astype(np.float32), np.where(deviation > tiny, deviation, 1).astype(np.float32)


def _standard(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        z = (x - mean) / np.where(scale > 0, scale, 1)
    return np.asarray(np.clip(np.nan_to_num(z, copy=False, nan=0, posinf=0, neginf=0), -1e6, 1e6))


def _constant(train: np.ndarray, encoded: np.ndarray, test: np.ndarray, task: str) -> np.ndarray:
    """Class shares, or the mean."""
    return np.repeat(encoded.mean(axis=0, keepdims=True), len(test), axis=0)


def _linear(train: np.ndarray, encoded: np.ndarray, test: np.ndarray, task: str) -> np.ndarray:
    """Logistic regression with C = 1, or ridge regression with alpha = 1."""
    if task == "classify":
        return _logistic(train, encoded.argmax(axis=1), test, encoded.shape[1])
    if not len(test) or not train.shape[1]:
        return _constant(train, encoded, test, task)
    from sklearn.linear_model import Ridge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an ill-conditioned system still gives the ridge solution by SVD
        model = Ridge(alpha=1.0).fit(train.astype(np.float64), encoded)
    return np.asarray(model.predict(test.astype(np.float64))).reshape(len(test), *encoded.shape[1:])


def _logistic(train: np.ndarray, classes: np.ndarray, test: np.ndarray, count: int) -> np.ndarray:
    outputs = np.zeros((len(test), count))
    found = np.unique(classes)
    if len(found) == 1:
        outputs[:, found] = 1
        return outputs
    if not len(test) or not train.shape[1]:
        return _constant(train, np.eye(count)[classes], test, "classify")
    from sklearn.linear_model import LogisticRegression

    iterations = int(np.clip(WORK / (train.size * len(found)), 20, 300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # stopped early on purpose; few examples a class
        model = LogisticRegression(C=1.0, max_iter=iterations).fit(train, classes)
    outputs[:, found] = model.predict_proba(test)
    return outputs


def _nearest(train: np.ndarray, encoded: np.ndarray, test: np.ndarray, task: str) -> np.ndarray:
    """The mean target of the 5 nearest training examples (Euclidean); for classes the shares of their votes."""
    k = min(NEIGHBOURS, len(train))
    if train.size * len(test) < 1e9:
        train, test = train.astype(np.float64), test.astype(np.float64)  # cheap enough to be exact
    square = np.einsum("ij,ij->i", train, train)
    outputs = np.empty((len(test), *encoded.shape[1:]))
    step = max(1, 2_000_000 // len(train))  # its distances and their order take 30 MB
    for start in range(0, len(test), step):
        # |a - b|^2 without |a|^2, which is the same for all neighbours of one example
        distance = square - 2 * (test[start : start + step] @ train.T)
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        outputs[start : start + step] = encoded[near].mean(axis=1)
    return outputs
