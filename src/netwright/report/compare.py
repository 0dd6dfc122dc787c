"""Compares two networks on the same test examples, example by example: a paired test and a paired interval."""

from typing import Any

import numpy as np
from jaxtyping import Float

from netwright.errors import RunError, UsageError, hint
from netwright.language import say
from netwright.parts import metrics
from netwright.randomness import seed_of
from netwright.report.intervals import wilson

LEVEL = 0.05
RESAMPLES = 9_999
UNITS = 2_000  # examples beyond this many are swapped and redrawn in random groups

Examples = Float[np.ndarray, "examples"]


def compare_outputs(task: str, truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Whether the second outputs are better or worse than the first on the same examples.

    Classification: accuracy; the exact McNemar test (two-sided binomial over the examples that only one of them gets
    right) and Newcombe's 1998 interval (method 10) of the paired difference. Regression: rmse; a sign-flip test of the
    squared errors (every swap where there are at most 13 examples, else 9,999 drawn ones) and a paired bootstrap.

    The verdict is `better` or `worse` where p <= 0.05, else `no difference`. Where p > 0.05 the interval is widened
    to 0, so that interval and verdict never disagree.

    Returns: `metric values difference low high p_value verdict examples`; difference = second - first. Without
    examples the numbers are None.
    """
    truth, first, second = np.asarray(truth), np.asarray(first), np.asarray(second)
    if task not in ("classify", "regress"):
        choices = ("classify", "regress")
        raise UsageError(f"{say('task {task!r} cannot be compared.', task=task)} {hint(task, choices)}")
    if first.shape != second.shape or len(first) != len(truth):
        text = say("two sets of outputs for the same examples are needed; got shapes")
        raise UsageError(f"{text} {first.shape}, {second.shape}, {truth.shape}")
    for outputs, which in ((first, say("first")), (second, say("second"))):
        if not np.isfinite(outputs).all():
            rows = int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
            text = say("the {which} run gives NaN or infinity for {rows} examples", which=which, rows=rows)
            raise RunError(f"{text}: {say('nothing can be compared')}")
    if task == "classify":
        if first.ndim != 2:
            raise UsageError(
                say("probabilities are an array (examples, classes); got shape {shape}", shape=first.shape)
            )
        hits = [metrics.PER_EXAMPLE["accuracy"](truth, outputs) for outputs in (first, second)]
        return result("accuracy", *mcnemar(hits[0], hits[1]), len(truth), higher=True)
    if truth.size != first.size:
        raise UsageError(say("true values of shape {a}, predictions of {b}", a=truth.shape, b=first.shape))
    squares = [metrics.PER_EXAMPLE["mse"](truth, outputs.reshape(truth.shape)) for outputs in (first, second)]
    return result("rmse", *_swaps(squares[0], squares[1]), len(truth), higher=False)


Outcome = tuple[list[float | None], float | None, float | None, float | None]
"""Both values, low and high end of the difference, p."""


def result(
    metric: str,
    values: list[float | None],
    low: float | None,
    high: float | None,
    p: float | None,
    examples: int,
    *,
    higher: bool,
) -> dict[str, Any]:
    """What `compare` returns: difference and verdict of two values; `higher`: whether the larger one is better."""
    a, b = values
    difference = None if a is None or b is None else b - a
    verdict = "no difference"
    if difference is not None and low is not None and high is not None and p is not None:
        low, high = min(low, difference), max(high, difference)
        if p > LEVEL:
            low, high = min(low, 0.0), max(high, 0.0)
        elif difference != 0:
            if low <= 0 <= high:  # the two methods may differ by a hair: the test decides, the interval ends at 0
                low, high = (0.0, high) if difference > 0 else (low, 0.0)
            verdict = "better" if (difference > 0) == higher else "worse"
    return {
        "metric": metric,
        "values": values,
        "difference": difference,
        "low": low,
        "high": high,
        "p_value": p,
        "verdict": verdict,
        "examples": examples,
    }


def mcnemar(first: Examples, second: Examples) -> Outcome:
    """Shares of hits, Newcombe's interval of their difference, and the exact binomial p of the examples in dispute."""
    from scipy.stats import binomtest

    n = len(first)
    if n == 0:
        return [None, None], None, None, None
    both, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    lost, won = float(first.sum() - both), float(second.sum() - both)
    p = float(binomtest(int(won), int(won + lost), 0.5).pvalue) if won + lost else 1.0
    low, high = newcombe(both, won, lost, neither)
    return [float(first.mean()), float(second.mean())], low, high, p


def newcombe(both: float, won: float, lost: float, neither: float) -> tuple[float, float]:
    """The 95 % interval of a paired difference of shares, second - first (Newcombe 1998, method 10).

    Formula: d -+ sqrt(x^2 - 2 phi x y + y^2), x and y the distances of the two shares from their Wilson limits and
    phi the correlation of the two, its numerator lessened by n / 2 where it is positive.
    """
    n = both + won + lost + neither
    second, first = (both + won) / n, (both + lost) / n
    low2, high2 = (float(limit) for limit in wilson(both + won, n))
    low1, high1 = (float(limit) for limit in wilson(both + lost, n))
    product = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    top = both * neither - won * lost
    phi = (max(top - n / 2, 0.0) if top > 0 else top) / np.sqrt(product) if product > 0 else 0.0

    def apart(x: float, y: float) -> float:
        return float(np.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0)))

    difference = second - first
    return difference - apart(second - low2, high1 - first), difference + apart(high2 - second, first - low1)


def _swaps(first: Examples, second: Examples) -> Outcome:
    """Root mean squares of both, the bootstrap interval of their difference and the sign-flip p."""
    n = len(first)
    with np.errstate(over="ignore"):
        roots = [np.sqrt(first.mean()), np.sqrt(second.mean())] if n else [np.nan, np.nan]
    if not np.isfinite(roots).all():
        return [float(root) if np.isfinite(root) else None for root in roots], None, None, None
    values: list[float | None] = [float(root) for root in roots]
    if np.array_equal(first, second):
        return values, 0.0, 0.0, 1.0
    draws = np.random.Generator(np.random.PCG64(seed_of("compare", n)))
    top = max(float(first.max()), float(second.max()))  # scaled, so that no square of errors overflows
    a, b, size = _grouped(first / top, second / top, draws)
    p = _sign_flips(b - a, draws)
    if n < 2:
        return values, None, None, p
    low, high = _bootstrap(a, b, size, draws) * np.sqrt(top)
    return values, float(low), float(high), p


def _grouped(
    first: Examples, second: Examples, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over at most 2,000 random groups, and the groups' sizes; flips of whole groups are an exact test too."""
    n = len(first)
    if n <= UNITS:
        return first, second, np.ones(n)
    group = draws.permutation(n) % UNITS
    return np.bincount(group, first), np.bincount(group, second), np.bincount(group).astype(np.float64)


def _sign_flips(difference: np.ndarray, draws: np.random.Generator) -> float:
    """The share of swaps of the two runs, example by example, that give a sum at least as far from 0."""
    n, seen = len(difference), abs(difference.sum())
    if n <= 13:  # 8,192 swaps are all there are
        flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float(np.mean(np.abs((1 - 2 * flips) @ difference) >= seen * (1 - 1e-9)))
    extreme = 0
    for count in chunks(RESAMPLES, n):
        signs = 1 - 2 * draws.integers(0, 2, size=(count, n), dtype=np.int8).astype(np.float64)
        extreme += int(np.sum(np.abs(signs @ difference) >= seen * (1 - 1e-9)))
    return (1 + extreme) / (1 + RESAMPLES)


def _bootstrap(first: np.ndarray, second: np.ndarray, size: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """The 2.5 % and 97.5 % quantiles of the difference of root mean squares over redrawn examples."""
    found = []
    for count in chunks(RESAMPLES, len(first)):
        rows = draws.integers(0, len(first), size=(count, len(first)))
        total = size[rows].sum(axis=1)
        found.append(np.sqrt(second[rows].sum(axis=1) / total) - np.sqrt(first[rows].sum(axis=1) / total))
    return np.asarray(np.quantile(np.concatenate(found), [0.025, 0.975]))


def chunks(total: int, width: int) -> list[int]:
    """`total` split so that a chunk of that width stays within two million numbers."""
    step = max(1, 2_000_000 // width)
    return [min(step, total - start) for start in range(0, total, step)]
