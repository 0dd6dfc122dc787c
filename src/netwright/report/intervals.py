"""95 % intervals for every metric: how much the number could differ on another test set of this size.

Closed forms where there are any; the calibration error draws over its 15 bins, and the metrics of sequences are
resampled over examples, from what each adds to the sums, so that ten thousand examples cost well below a second.
Intervals of a mean over classes combine the classes' own score intervals, so that a perfect score on few examples
still has a width; what the classes have in common widens or narrows them by the ratio of the delta-method variances
with and without the covariances.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from netwright.parts import metrics
from netwright.parts.metrics.verification import crossing, trial_counts
from netwright.randomness import permutation, seed_of

Z = 1.959963984540054  # the normal quantile at 0.975
Limits: TypeAlias = tuple[float, float]
Values: TypeAlias = Float[np.ndarray, "classes"]
RESAMPLES = 2000
SETS = 1000
"""How many resampled sets of examples a bootstrap looks at."""
GROUPS = 4096
"""Beyond so many examples a bootstrap resamples groups of them."""


def wilson(hits: np.ndarray | float, count: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """The score interval of a share (Wilson 1927); [0, 1] where there is nothing to count.

    Formula: (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    """
    empty = np.asarray(count) <= 0
    n = np.where(empty, 1.0, count)
    p, square = np.asarray(hits) / n, Z * Z / n
    half = Z * np.sqrt(np.maximum(p * (1 - p), 0) / n + square / (4 * n))
    low, high = (p + square / 2 - half) / (1 + square), (p + square / 2 + half) / (1 + square)
    return np.where(empty, 0, np.clip(low, 0, p)), np.where(empty, 1, np.clip(high, p, 1))


def mean_limits(values: Float[np.ndarray, "examples"]) -> Limits | None:
    """The t interval of a mean that cannot be negative; None for a single value."""
    from scipy.stats import t

    if len(values) < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        middle = values.mean()
    return (max(0.0, float(middle - half)), float(middle + half)) if np.isfinite(half + middle) else None


def combine(estimates: Values, lows: Values, highs: Values, weights: Values, ratio: float = 1.0) -> Limits:
    """The interval of a weighted mean of scores in [0, 1] from their own score intervals.

    Each score counts as a share among n(k) examples whose Wilson interval is as wide; the interval's midpoint is the
    share drawn towards 1/2, which has a variance even where the score is perfect. The mean is a share among n examples.

    Formula: n = m (1 - m) / (ratio^2 sum(w^2 c (1 - c) / n(k))), c midpoints, m = sum(w c); Wilson(sum(w e), n)
    """
    middle, half = (lows + highs) / 2, np.clip((highs - lows) / 2, 1e-9, 0.4999)
    a, b = 0.25 - half**2, estimates * (1 - estimates) - 2 * half**2  # half(n) solved for z^2 / n, a quadratic
    own = Z * Z * (np.sqrt(b * b + 4 * a * half**2) + b) / (2 * half**2)
    variance = ratio**2 * float(np.sum(weights**2 * middle * (1 - middle) / own))
    center = float(weights @ middle)
    count = center * (1 - center) / variance
    low, high = wilson(float(weights @ estimates) * count, count)
    return float(low), float(high)


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Int[np.ndarray, "truth predicted"]:
    """How often each true class (row) was taken for each class (column)."""
    cells = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def _share(hits: np.ndarray) -> Limits:
    low, high = wilson(hits.sum(), len(hits))
    return float(low), float(high)


def _balanced_accuracy(table: Int[np.ndarray, "truth predicted"]) -> Limits:
    counts = table.sum(axis=1)
    found, hits = counts[counts > 0], np.diag(table)[counts > 0]
    return combine(hits / found, *wilson(hits, found), np.full(len(found), 1 / len(found)))


def _f1_limits(table: Int[np.ndarray, "truth predicted"]) -> tuple[Values, Values, Values]:
    """Each class's F1 and its limits: given u = tp + fp + fn, tp is binomial of share j; F1 = 2 j / (1 + j)."""
    hits = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hits
    low, high = wilson(hits, union)
    j = hits / np.maximum(union, 1)
    return 2 * j / (1 + j), 2 * low / (1 + low), 2 * high / (1 + high)


def _f1_mean(table: Int[np.ndarray, "truth predicted"], weighted: bool) -> Limits:
    """The interval of the mean F1, its classes weighted alike or by their shares of the truth."""
    row, column = table.sum(axis=1), table.sum(axis=0)
    used = row + column > 0
    table, row, column = table[np.ix_(used, used)], row[used], column[used]
    f1, low, high = _f1_limits(table)
    share = row / row.sum()
    weights = share if weighted else np.full(len(f1), 1 / len(f1))
    # What one example of truth i, predicted j adds (the influence on the mean): -w_i F_i/s_i - w_j F_j/s_j, and
    # 2 w_i / s_i more on the diagonal; s = row + column. A weighted mean moves with the shares too.
    pull = weights * f1 / (row + column)
    influence = -(pull[:, None] + pull[None, :]) + np.diag(2 * weights / (row + column))
    if weighted:
        influence += ((f1 - share @ f1) / row.sum())[:, None]
    together = float(np.sum(table * influence**2))
    hits = np.diag(table)
    alone = hits * (2 - 2 * f1) ** 2 + (row + column - 2 * hits) * f1**2
    apart = float(np.sum(weights**2 * alone / (row + column) ** 2))
    return combine(f1, low, high, weights, _ratio(together, apart))


def _ratio(together: float, apart: float) -> float:
    return float(np.sqrt(together / apart)) if apart > 0 and together > 0 else 1.0


def newcombe_auc(areas: Values, positives: np.ndarray, negatives: np.ndarray) -> tuple[Values, Values]:
    """Limits of areas under ROC curves (Newcombe 2006, Statistics in Medicine 25:559, method 5), by bisection.

    Formula: (A - a)^2 = z^2 a (1 - a) (1 + (N - 1) ((1 - a) / (2 - a) + a / (1 + a))) / (m n), N = (m + n) / 2
    """
    middle = (positives + negatives) / 2 - 1

    def outside(a: Values) -> np.ndarray:
        spread = 1 + middle * ((1 - a) / (2 - a) + a / (1 + a))
        return np.asarray((areas - a) ** 2 > Z * Z * a * (1 - a) * spread / (positives * negatives))

    low, high = [np.zeros_like(areas), areas.copy()], [areas.copy(), np.ones_like(areas)]
    for _ in range(50):
        a, b = (low[0] + low[1]) / 2, (high[0] + high[1]) / 2
        low = [np.where(outside(a), a, low[0]), np.where(outside(a), low[1], a)]
        high = [np.where(outside(b), high[0], b), np.where(outside(b), b, high[1])]
    return low[0], high[1]


def _auc(truth: np.ndarray, probabilities: np.ndarray) -> Limits | None:
    classes, areas = metrics.auc_by_class(truth, probabilities)
    if not len(classes):
        return None
    positives = np.array([(truth == k).sum() for k in classes], dtype=np.float64)
    low, high = newcombe_auc(areas, positives, len(truth) - positives)
    together, apart = np.zeros(len(truth)), 0.0
    for k, area in zip(classes, areas, strict=True):
        influence = delong(truth == k, probabilities[:, int(k)], float(area)) / len(classes)
        together += influence
        apart += float(influence @ influence)
    weights = np.full(len(classes), 1 / len(classes))
    return combine(areas, low, high, weights, _ratio(float(together @ together), apart))


def delong(positive: np.ndarray, scores: Float[np.ndarray, "examples"], area: float) -> Float[np.ndarray, "examples"]:
    """What each example adds to the area under the ROC curve (DeLong 1988); its sum of squares is the variance."""
    from scipy.stats import rankdata

    ranks, m = rankdata(scores), int(positive.sum())
    n = len(scores) - m
    influence = np.empty(len(scores))
    influence[positive] = ((ranks[positive] - rankdata(scores[positive])) / n - area) / m
    influence[~positive] = (1 - (ranks[~positive] - rankdata(scores[~positive])) / m - area) / n
    return influence


def _calibration(truth: np.ndarray, probabilities: np.ndarray) -> Limits:
    """Limits of the calibration error from draws of each bin's accuracy, Beta(right + 1/2, wrong + 1/2).

    The error is biased upward on few examples, since chance gaps count as gaps whatever their sign. So a bin whose
    gap is clear (over 3 standard errors) moves it by the signed change of its gap, every other bin by the size of it.
    """
    counts, right, confidence = metrics.calibration_bins(truth, probabilities)
    used = counts > 0
    n, hits, mean = counts[used], right[used], confidence[used] / counts[used]
    share, gap = n / n.sum(), hits / n - mean
    draws = np.random.Generator(np.random.PCG64(seed_of("calibration", len(truth))))
    moved = draws.beta(hits + 0.5, n - hits + 0.5, size=(RESAMPLES, len(n))) - hits / n
    clear = np.abs(gap) > 3 * np.sqrt(mean * (1 - mean) / n + 1e-12)
    down = np.where(clear, -np.sign(gap) * moved, np.abs(moved)) @ share
    up = np.where(clear, np.sign(gap) * moved, np.abs(moved)) @ share
    error = float(np.abs(gap) @ share)
    low, high = error - np.quantile(down, 0.975), error + np.quantile(up, 0.975)
    return max(0.0, min(float(low), error)), min(1.0, max(float(high), error))


def _r2(truth: np.ndarray, predicted: np.ndarray) -> Limits | None:
    """By the delta method on ln(1 - r2) = ln(sum of squared errors) - ln(sum of squares about the mean)."""
    from scipy.stats import t

    a, b = (metrics.rows(np.asarray(x, dtype=np.float64)) for x in (truth, predicted))
    varies = a.min(axis=0) < a.max(axis=0)
    a, b, n = a[:, varies], b[:, varies], len(truth)
    if n < 3:
        return None
    error, spread = (a - b) ** 2, (a - a.mean(axis=0)) ** 2
    left = error.sum(axis=0) / spread.sum(axis=0)  # 1 - r2 of each output
    part = (error / np.maximum(error.sum(axis=0), 1e-300) - spread / spread.sum(axis=0)) * left
    total = float(left.mean())
    if total <= 0:
        return 1.0, 1.0
    half = t.ppf(0.975, n - 1) * float(np.sqrt(np.sum(part.mean(axis=1) ** 2) * n / (n - 1))) / total
    return (1 - total * float(np.exp(half)), 1 - total * float(np.exp(-half))) if half < 100 else None


def resampled(parts: Float[np.ndarray, "examples parts"], value: Callable[[np.ndarray], np.ndarray]) -> Limits | None:
    """The bootstrap interval of a function of sums over examples (Efron 1979); None for a single example.

    Sets of as many examples are drawn with replacement, from a fixed seed. The quantiles lie further out than 2.5 and
    97.5 % by what few examples lack (Hesterberg 2015, arXiv:1411.5279, section 3.5.2).

    Args:
        parts: what each example adds.
        value: the number for sums of parts (last axis); NaN where it does not exist.

    Formula: quantiles Phi(-+ sqrt(n / (n - 1)) t(0.975, n - 1)) of value(sums of the set), n examples
    """
    from scipy.stats import norm, t

    count = len(parts)
    if count < 2:
        return None
    order, size = permutation(count, "bootstrap groups", count), -(-count // GROUPS)
    parts = np.add.reduceat(parts[order].astype(np.float64), np.arange(0, count, size), axis=0)
    found = value(_drawn(len(parts), 1) @ parts)
    found = found[np.isfinite(found)]
    if len(found) < SETS // 2:
        return None
    low = float(norm.cdf(-np.sqrt(count / (count - 1)) * t.ppf(0.975, count - 1)))
    return float(np.quantile(found, low)), float(np.quantile(found, 1 - low))


def in_blocks(values: Float[np.ndarray, "examples"], block: int) -> Limits | None:
    """The interval of a mean over examples in an order, of which `block` neighbours tell nearly the same.

    Runs of neighbours are drawn together, the last joined to the first (Politis and Romano 1992), so that the spread of
    the sets' means holds what neighbours have in common. None for a single example.

    Formula: mean +- t(0.975, n - 1) sqrt(n / (n - 1)) * standard deviation of the sets' means, n = examples / block
    """
    from scipy.stats import t

    count, mean = len(values), float(values.mean())
    if count < 2:
        return None
    size = -(-count // GROUPS)
    sums = np.add.reduceat(values.astype(np.float64), np.arange(0, count, size))
    block = max(1, min(block, count // 2))  # two runs at least
    spread = float((_drawn(len(sums), -(-block // size)) @ sums / count).std())
    few = count / block
    half = float(t.ppf(0.975, few - 1)) * np.sqrt(few / (few - 1)) * spread
    return (max(0.0, mean - half), mean + half) if np.isfinite(half) else None


def _drawn(count: int, block: int) -> Float[np.ndarray, "sets examples"]:
    """How often each of `count` examples was drawn, in runs of `block`, in every set."""
    draws = np.random.Generator(np.random.PCG64(seed_of("bootstrap", count)))
    starts = draws.integers(0, count, (SETS, -(-count // block)))
    times = np.empty((SETS, count))
    for first in range(0, SETS, 100):  # a hundred sets at a time hold the memory down
        taken = ((starts[first : first + 100, :, None] + np.arange(block)) % count).reshape(-1, starts.shape[1] * block)
        cells = taken[:, :count] + count * np.arange(len(taken))[:, None]
        times[first : first + 100] = np.bincount(cells.ravel(), minlength=len(taken) * count).reshape(len(taken), count)
    return times


def clustered(hits: Float[np.ndarray, "examples"], counts: Float[np.ndarray, "examples"]) -> Limits | None:
    """The score interval of a share of things that come in examples, such as tokens in sentences.

    Things of one example are alike, so that they count as fewer: by how much the shares of examples vary more than
    chance explains (Kish 1965, the design effect; never below 1). None for a single example.

    Formula: Wilson(p n, n), n = sum(counts) / max(1, v / (p (1 - p) / sum(counts))), v = N / (N - 1) *
    sum((hits - p counts)^2) / sum(counts)^2
    """
    total = counts.sum()
    if len(counts) < 2 or total <= 0:
        return None
    p = hits.sum() / total
    spread = len(counts) / (len(counts) - 1) * float(np.sum((hits - p * counts) ** 2)) / total
    few = total / max(1.0, spread / (p * (1 - p))) if 0 < p < 1 else total
    low, high = wilson(p * few, few)
    return float(low), float(high)


def _eer(truth: np.ndarray, scores: np.ndarray) -> Limits | None:
    """By redrawing the trials of either kind; beyond 1,024 scores by ranges of them, moved to the true rate."""
    counts = trial_counts(truth, scores)
    if counts is None or min(kind.sum() for kind in counts) < 2:
        return None
    exact, size = float(crossing(*counts)), -(-len(counts[0]) // 1024)
    coarse = [np.add.reduceat(kind, np.arange(0, len(kind), size)) for kind in counts]
    draws = np.random.Generator(np.random.PCG64(seed_of("eer", len(truth))))
    sets = [draws.multinomial(int(kind.sum()), kind / kind.sum(), size=SETS).astype(np.float64) for kind in coarse]
    moved = crossing(*sets) - float(crossing(*coarse))
    low, high = (exact + float(np.quantile(moved, share)) for share in (0.025, 0.975))
    if exact == 0:  # no trial was wrong: what that says about the rarer kind
        high = max(high, float(wilson(0, min(kind.sum() for kind in counts))[1]))
    return max(0.0, low), min(1.0, high)


def _of_sums(name: str, *given: Any) -> Limits | None:
    """Of a metric that is a function of sums: shares by their score, all else by resampling."""
    sums = metrics.SUMS[name]
    parts = sums.parts(*given)
    if name == "token_accuracy":
        return clustered(parts[:, 0], parts[:, 1])
    if name == "entity_f1":
        found = clustered(parts[:, 0], parts.sum(axis=1))
        return None if found is None else (2 * found[0] / (1 + found[0]), 2 * found[1] / (1 + found[1]))
    found = resampled(parts, sums.value)
    if found is not None and name.endswith("_error_rate") and not parts[:, 0].any():
        return 0.0, float(wilson(0, parts[:, 1].sum())[1])
    return found


def _forecast(name: str, truth: np.ndarray, *given: Any) -> Limits | None:
    """Forecasts that start one step apart share all but one of their steps: runs as long as the horizon are drawn."""
    return in_blocks(metrics.PER_EXAMPLE[name](truth, *given), truth.shape[1] if truth.ndim > 1 else 1)


def _rouge(name: str, truth: Any, predictions: Any) -> Limits | None:
    """Resampled; where all examples are perfect or all are hopeless, as the share that they then are."""
    values = metrics.PER_EXAMPLE[name](truth, predictions)
    if len(values) > 1 and values.min() == values.max() and values[0] in (0, 1):
        return _share(values)
    return resampled(values[:, None], lambda sums: sums[..., 0] / len(values))


def limits(name: str, truth: Any, outputs: Any, *more: Any, task: str = "") -> Limits | None:
    """The 95 % interval of a metric, None where it has none (too few examples).

    Args:
        truth, outputs, more: what the metric itself is called with.
        task: `forecast` says that the examples are in the order of time and overlap.
    """
    if name in metrics.SUMS:
        return _of_sums(name, truth, outputs, *more)
    if name in ("rouge1", "rougeL"):
        return _rouge(name, truth, outputs)
    if name == "mase" or (task == "forecast" and name in ("mse", "mae")):
        return _forecast(name, truth, outputs, *more)
    if name in ("log_loss", "mse", "mae"):
        return mean_limits(metrics.PER_EXAMPLE[name](truth, outputs))
    if name == "rmse":
        found = limits("mse", truth, outputs, task=task)
        return None if found is None else (float(np.sqrt(found[0])), float(np.sqrt(found[1])))
    if name in metrics.PER_EXAMPLE:
        return _share(metrics.PER_EXAMPLE[name](truth, outputs))
    direct: dict[str, Callable[[np.ndarray, np.ndarray], Limits | None]] = {
        "auc": _auc,
        "r2": _r2,
        "calibration_error": _calibration,
        "eer": _eer,
    }
    if name in direct:
        return direct[name](truth, outputs)
    table = confusion_matrix(truth, metrics.decide(outputs), outputs.shape[1])
    if name == "balanced_accuracy":
        return _balanced_accuracy(table)
    if name == "f1":
        _, low, high = _f1_limits(table)
        return float(low[1]), float(high[1])
    return _f1_mean(table, weighted=name == "f1_weighted")
