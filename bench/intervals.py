"""Medians with intervals that assume nothing about how times are distributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, nan
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """The median of a few values, and where their true median lies with `confidence`."""

    n: int
    median: float
    low: float
    high: float
    confidence: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def coverage(n: int, k: int) -> float:
    """How sure it is that the true median lies between the k-th lowest and the k-th highest of n values.

    Formula: 1 - 2 * sum over i < k of C(n, i) / 2^n: fewer than k of n values lie below their median by chance
    """
    return 1 - 2 * sum(comb(n, i) for i in range(k)) / 2**n


def spread(values: Sequence[float], confidence: float = CONFIDENCE) -> Spread:
    """The narrowest pair of order statistics that reaches `confidence`.

    Of fewer than six values none reaches 95 %: then it is the lowest and the highest, with the confidence they have.
    """
    if not values:
        return Spread(0, nan, nan, nan, 0.0, nan, nan)
    ordered, n = sorted(values), len(values)
    k = max((k for k in range(1, n // 2 + 1) if coverage(n, k) >= confidence), default=1)
    return Spread(n, median(ordered), ordered[k - 1], ordered[n - k], coverage(n, k), ordered[0], ordered[-1])


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """first / second, a round each; rounds that one of them lacks are left out."""
    return [a / b for a, b in zip(first, second, strict=False)]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else nan
