"""Honest baselines of a forecast: the last value, the last season, and a linear model of the window."""

import numpy as np
from jaxtyping import Float

from netwright.errors import UsageError
from netwright.language import say

Past = Float[np.ndarray, "examples window features"]
Future = Float[np.ndarray, "examples horizon"]
ROWS, CELLS = 20_000, 40_000_000
"""Training windows and numbers at most for the linear model; more of them are taken evenly over time."""
ALPHA = 1.0


def forecast_baselines(
    train_x: Past, train_y: Future, test_x: Past, season: int, target_position: int
) -> dict[str, np.ndarray]:
    """Predictions (examples, horizon) of `last_value`, `seasonal_naive` and `linear_autoregression`, by name.

    Args:
        train_x, test_x: windows in the data's own units, the target's past among the features.
        train_y: the values after each training window.
        season: steps after which the series repeats; below 2, or longer than the window, there is no
            `seasonal_naive`.
    """
    horizon = train_y.shape[1]
    found = {"last_value": last_value(test_x, horizon, target_position)}
    if 2 <= season <= test_x.shape[1]:
        found["seasonal_naive"] = seasonal_naive(test_x, horizon, season, target_position)
    if len(train_x):
        found["linear_autoregression"] = linear_autoregression(train_x, train_y, test_x)
    return found


def last_value(test_x: Past, horizon: int, target_position: int) -> Future:
    """The window's last value of the target for every step to come.

    Formula: y_(t+h) = y_(t-1) for a window that ends at t - 1.
    """
    last = np.asarray(test_x)[:, -1:, target_position].astype(np.float64)
    return np.repeat(last, horizon, axis=1)


def seasonal_naive(test_x: Past, horizon: int, season: int, target_position: int) -> Future:
    """The last season of the window over and over.

    Formula: y_(t+h) = y_(t+h - season k), k the smallest whole number that reaches back into the window. Errors:
    UsageError for a season longer than the window.
    """
    window = test_x.shape[1]
    if not 1 <= season <= window:
        text = say("season {season} does not fit a window of {window} steps", season=season, window=window)
        raise UsageError(text)
    places = window - season + np.arange(horizon) % season
    return np.asarray(test_x)[:, places, target_position].astype(np.float64)


def linear_autoregression(train_x: Past, train_y: Future, test_x: Past) -> Future:
    """Ridge regression of all steps to come on all numbers of the window, standardised by the training windows.

    Formula: y = mean(y) + z w, z = (x - mean(x)) / deviation(x), w minimising |y - mean(y) - z w|^2 + |w|^2.
    Columns that do not vary count nothing. Source: Hoerl and Kennard 1970, "Ridge Regression".
    """
    from sklearn.linear_model import Ridge

    chosen = _chosen(len(train_x), int(np.prod(train_x.shape[1:])))
    flat = np.asarray(train_x)[chosen].reshape(len(chosen), -1).astype(np.float64)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0)
    varies = deviation > 1e-6 * np.maximum(1e-30, np.abs(mean))
    train_y = np.asarray(train_y, dtype=np.float64)[chosen]
    if not varies.any() or not len(test_x):
        return np.repeat(train_y.mean(axis=0, keepdims=True), len(test_x), axis=0)
    z = (flat[:, varies] - mean[varies]) / deviation[varies]
    model = Ridge(alpha=ALPHA, solver="svd" if z.size < 2e6 else "cholesky").fit(z, train_y)
    x = np.asarray(test_x).reshape(len(test_x), -1).astype(np.float64)[:, varies]
    predicted = model.predict((x - mean[varies]) / deviation[varies])
    return np.asarray(predicted).reshape(len(test_x), train_y.shape[1])


def _chosen(rows: int, columns: int) -> np.ndarray:
    """Training windows within the budget, evenly over time."""
    count = min(rows, ROWS, max(1000, CELLS // max(1, columns)))
    return np.linspace(0, rows - 1, count).round().astype(np.int64) if count < rows else np.arange(rows)
