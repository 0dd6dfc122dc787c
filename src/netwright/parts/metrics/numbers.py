"""Metrics of numbers: true and predicted ones, (examples,), (examples, outputs) or (examples, horizon)."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Num

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics.checking import PerExample, finite, rows, usable

Numbers: TypeAlias = Num[np.ndarray, "examples *outputs"]


def _numbers(truth: np.ndarray, predicted: np.ndarray) -> bool:
    if truth.shape != predicted.shape:
        raise UsageError(say("true values of shape {a}, predictions of {b}", a=truth.shape, b=predicted.shape))
    return usable(truth, predicted) and truth.size > 0


@METRICS.add(
    task=("regress", "forecast"), better="lower", interval="mean +- t", source="Gauss 1821, Theoria combinationis"
)
def mse(truth: Numbers, predicted: Numbers) -> float | None:
    """The mean squared error, in the target's unit squared.

    Formula: mean((truth - prediction)^2)
    """
    from sklearn.metrics import mean_squared_error

    return _error(mean_squared_error, truth, predicted)


@METRICS.add(
    task=("regress", "forecast"),
    better="lower",
    interval="mean +- t; forecasts: bootstrap of blocks of examples",
    source="Laplace 1774; Boscovich 1757",
)
def mae(truth: Numbers, predicted: Numbers) -> float | None:
    """The mean absolute error, in the target's unit.

    Formula: mean(|truth - prediction|)
    """
    from sklearn.metrics import mean_absolute_error

    return _error(mean_absolute_error, truth, predicted)


@METRICS.add(
    task=("regress", "forecast"),
    better="lower",
    interval="square root of the interval of mse",
    source="Gauss 1821, Theoria combinationis",
)
def rmse(truth: Numbers, predicted: Numbers) -> float | None:
    """The root of the mean squared error, in the target's unit; over all outputs together where there are several.

    Formula: sqrt(mean((truth - prediction)^2))
    """
    value = mse(truth, predicted)
    return None if value is None else float(np.sqrt(value))


@METRICS.add(
    task="forecast",
    better="lower",
    interval="bootstrap of blocks of examples",
    needs="naive_error",
    source="Hyndman and Koehler 2006, International Journal of Forecasting 22:679, section 3",
)
def mase(truth: Numbers, predicted: Numbers, naive_error: float | np.ndarray | None) -> float | None:
    """The mean absolute error against the one of repeating the last season: below 1 beats that within training.

    Formula: mean(|truth - prediction|) / mean(|y(t) - y(t - season)|, t over the training series)

    Args:
        truth: (examples, horizon), in the data's own units, as are the others.
        naive_error: the divisor; one number, or one an example where there are many series.

    None where the naive error is 0 (a series that repeats itself), not finite or None.
    """
    if naive_error is None or not _numbers(truth, predicted) or not _divides(naive_error, len(truth)):
        return None
    return finite(scaled(truth, predicted, naive_error).mean())


def _divides(naive_error: float | np.ndarray, examples: int) -> bool:
    """Whether a naive error can be divided by; refuses another number of them than 1 or one an example."""
    values = np.asarray(naive_error, dtype=np.float64)
    if values.ndim > 1 or (values.ndim and values.size not in (1, examples)):
        raise UsageError(say("{a} naive errors for {b} examples; mase takes one, or one an example",
                             a=values.size, b=examples))  # fmt: skip
    return bool((np.isfinite(values) & (values > 0)).all())


@METRICS.add(
    task="regress",
    better="higher",
    interval="delta method on ln(1 - r2), t quantile",
    source="Wright 1921, J. Agricultural Research 20",
)
def r2(truth: Numbers, predicted: Numbers) -> float | None:
    """The share of the target's variance that is explained: 1 is perfect, 0 is no better than the mean.

    Formula: 1 - sum((truth - prediction)^2) / sum((truth - mean(truth))^2)

    Several outputs: the mean over those that vary. None where the truth does not vary.
    """
    if not _numbers(truth, predicted):
        return None
    a, b = (rows(np.asarray(x, dtype=np.float64)) for x in (truth, predicted))
    varies = a.min(axis=0) < a.max(axis=0)
    if not varies.any():
        return None
    from sklearn.metrics import r2_score

    with np.errstate(over="ignore", invalid="ignore"):
        return finite(r2_score(a[:, varies], b[:, varies]))


def _error(score: Callable[..., float], truth: np.ndarray, predicted: np.ndarray) -> float | None:
    if not _numbers(truth, predicted):
        return None
    a, b = (rows(np.asarray(x, dtype=np.float64)) for x in (truth, predicted))
    with np.errstate(over="ignore"):
        return finite(score(a, b))


def _errors(truth: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, "examples outputs"]:
    return rows(np.asarray(np.subtract(predicted, truth, dtype=np.float64)))


def squared(truth: Numbers, predicted: Numbers) -> PerExample:
    with np.errstate(over="ignore"):
        return np.asarray(np.mean(_errors(truth, predicted) ** 2, axis=1))


def absolute(truth: Numbers, predicted: Numbers) -> PerExample:
    return np.asarray(np.mean(np.abs(_errors(truth, predicted)), axis=1))


def scaled(truth: Numbers, predicted: Numbers, naive_error: float | np.ndarray) -> PerExample:
    """Each example's mean absolute error in units of the naive error."""
    return np.asarray(absolute(truth, predicted) / np.asarray(naive_error, dtype=np.float64).reshape(-1))
