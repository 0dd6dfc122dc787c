"""Whether two splits were prepared alike (A10): their features' means and spreads side by side."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

SHIFT = 0.5
"""A larger standardised difference of means is unusual between two parts of one set."""
SCALE = 2.0
"""So is a ratio of spreads beyond this, either way."""
CHANCE = 5.0
"""And only differences of more standard errors than this are counted at all."""
NAMED = 50


@dataclass(frozen=True)
class Shift:
    """Differences between training and validation, feature by feature."""

    mean: float
    """Largest |standardised difference of means| that chance does not explain; 0 where there is none."""
    usual_mean: float
    """The median over the features, chance or not: large where all features were prepared otherwise."""
    scale: float
    """The ratio of spreads (validation / training) farthest from 1 that chance does not explain."""
    usual_scale: float
    """The median ratio of spreads."""
    features: tuple[int, ...]
    """Features beyond 0.5 in mean or 2 in scale, by more than chance."""
    share: float
    """Their share of all features that vary."""
    range_train: tuple[float, float]
    range_validation: tuple[float, float]
    dtypes: tuple[str, str]
    target_mean: float
    """Difference of the targets' means in standard deviations, in so far as chance does not explain it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shift(
    train: Float[np.ndarray, "rows features"],
    validation: Float[np.ndarray, "others features"],
    y: np.ndarray | None = None,
    y_validation: np.ndarray | None = None,
    *,
    dtypes: tuple[str, str] = ("", ""),
) -> Shift | None:
    """How far two splits differ; None where one has under two rows or they differ in their number of features.

    Formula: d = (mean_v - mean_t) / sqrt((var_t + var_v) / 2), standard error sqrt(1 / n_t + 1 / n_v + d^2 / 2 n);
        scale = std_v / std_t, standard error of its logarithm from the fourth moment
    """
    if train.ndim != 2 or validation.ndim != 2 or train.shape[1] != validation.shape[1]:
        return None
    if min(len(train), len(validation)) < 2 or not train.shape[1]:
        return None
    (m1, s1, n1, k1), (m2, s2, n2, k2) = _moments(train), _moments(validation)
    enough = (n1 > 1) & (n2 > 1) & ((s1 > 0) | (s2 > 0))
    pooled = np.sqrt((s1**2 + s2**2) / 2)
    pooled = np.where(pooled > 0, pooled, 1.0)
    d = np.where(enough, (m2 - m1) / pooled, 0.0)
    d_error = np.sqrt(1 / np.maximum(1, n1) + 1 / np.maximum(1, n2) + d**2 / (2 * np.maximum(2, n1 + n2)))
    both = enough & (s1 > 0) & (s2 > 0)
    log = np.where(both, np.log(np.where(both, s2, 1.0) / np.where(both, s1, 1.0)), 0.0)
    log_error = np.sqrt(k1 / (4 * np.maximum(1, n1)) + k2 / (4 * np.maximum(1, n2)))
    is_mean, is_scale = np.abs(d) > CHANCE * d_error, np.abs(log) > CHANCE * log_error
    beyond = (is_mean & (np.abs(d) > SHIFT)) | (is_scale & (np.abs(log) > np.log(SCALE)))
    farthest = np.where(is_scale, log, 0.0)
    return Shift(
        float(np.where(is_mean, np.abs(d), 0.0).max()),
        float(np.median(np.abs(d[enough]))) if enough.any() else 0.0,
        float(np.exp(np.clip(farthest[np.abs(farthest).argmax()], -700, 700))),
        float(np.exp(np.median(log[both]))) if both.any() else 1.0,
        tuple(np.flatnonzero(beyond).tolist()[:NAMED]),
        float(beyond.sum() / max(1, enough.sum())),
        _range(train), _range(validation), dtypes, _target_shift(y, y_validation),
    )  # fmt: skip


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, std, count, and kurtosis less one of the finite values of each feature."""
    finite = np.isfinite(x)
    count = finite.sum(0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(finite, x, 0.0).sum(0) / np.maximum(1, count)
        off = np.where(finite, x - mean, 0.0)
        std = np.sqrt((off**2).sum(0) / np.maximum(1, count))
        z = off / np.where(std > 0, std, 1.0)
        fourth = np.maximum(2.0, (z**4).sum(0) / np.maximum(1, count) - 1)
    tiny = std <= 1e-9 * np.maximum(np.abs(mean), 1e-300)
    return mean, np.where(tiny | ~np.isfinite(std), 0.0, std), count, fourth


def _range(x: np.ndarray) -> tuple[float, float]:
    known = x[np.isfinite(x)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _target_shift(y: np.ndarray | None, other: np.ndarray | None) -> float:
    if y is None or other is None:
        return 0.0
    first, second = (np.asarray(part, dtype=np.float64).reshape(-1) for part in (y, other))
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    spread = float(first.std()) if len(first) else 0.0
    if not len(second) or spread == 0:
        return 0.0
    d = abs(float(second.mean() - first.mean())) / spread
    return d if d > CHANCE * (1 / len(first) + 1 / len(second)) ** 0.5 else 0.0
