"""Wilson's interval for a share: how far k of n may be from what would be seen on endlessly many."""

from math import nan, sqrt

Z95 = 1.959963984540054
"""Of a normal distribution 95 % lie within so many deviations."""


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The lower and the upper end; without any cases nothing is known.

    Formula: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), p = k / n
    Source: E. B. Wilson 1927, Journal of the American Statistical Association 22, 209-212
    """
    if n == 0:
        return nan, nan
    p, square = k / n, z * z
    middle, half = p + square / (2 * n), z * sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(0.0, (middle - half) / (1 + square / n)), min(1.0, (middle + half) / (1 + square / n))


def share(k: int, n: int) -> str:
    """`58 of 60 = 96.7 % [88.6, 99.1]`."""
    low, high = wilson(k, n)
    return f"{k} of {n} = {100 * k / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" if n else "none"
