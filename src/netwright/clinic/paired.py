"""Paired statistics over seeds: did a change help, and can so few trainings tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import seed_of

LEVEL = 0.05
EXACT = 20
"""Up to so many pairs every pattern of signs is counted: 2^20 are a million sums."""
DRAWS = 99_999
"""Patterns of signs drawn where there are too many to count."""
RESAMPLES = 9_999
HELPED, UNPROVEN, HARMED = "helped", "no proven benefit", "harmed"

Pairs = Float[np.ndarray, "pairs"]


def fewest(confirmed: int = 1, alpha: float = LEVEL) -> int:
    """The least number of pairs with which `confirmed` sign-flip tests can reach `alpha` together.

    Formula: the least n with 2 / 2^n <= alpha / m, as the smallest p of n pairs is 2 / 2^n: 6 for one test at 0.05
    """
    if confirmed < 1 or not 0 < alpha <= 1:
        raise UsageError(say("{count} tests at level {alpha}: it takes one or more, at a level above 0 and up to 1",
                             count=confirmed, alpha=alpha))  # fmt: skip
    n = 1
    while 2.0 ** (1 - n) > alpha / confirmed:
        n += 1
    return n


def sign_flip(differences: Sequence[float] | Pairs) -> float:
    """The exact two-sided p of a mean paired difference: the share of sign patterns whose mean lies as far from 0.

    Formula: p = #{s in {-1, 1}^n: |s . d| >= |sum d|} / 2^n

    It supposes that without an effect each difference is as likely as its opposite, and no distribution beyond that.
    Above 20 pairs p = (1 + hits) / (1 + draws) over 99,999 patterns drawn by a fixed seed. Differences that are all 0,
    or none at all, give 1.
    """
    d = _finite(differences)
    if not d.any():
        return 1.0
    d = d / np.abs(d).max()  # differences of 1e300 must not overflow
    least = abs(float(d.sum())) - 1e-9 * float(np.abs(d).sum())  # sums that are equal but for rounding count
    if len(d) <= EXACT:
        sums = d[:1]  # the other half of the patterns are these with all signs turned
        for one in d[1:]:
            sums = np.concatenate([sums + one, sums - one])
        return float(np.mean(np.abs(sums) >= least))
    draws = np.random.Generator(np.random.PCG64(seed_of("sign flips", len(d))))
    step = max(1, 4_000_000 // len(d))
    hits = 0
    for first in range(0, DRAWS, step):
        signs = 2.0 * draws.integers(0, 2, size=(min(step, DRAWS - first), len(d)), dtype=np.int8) - 1
        hits += int(np.sum(np.abs(signs @ d) >= least))
    return (1 + hits) / (1 + DRAWS)


def t_interval(differences: Sequence[float] | Pairs) -> tuple[float, float]:
    """The 95 % interval of the mean difference by Student's t; without width where all differences are equal.

    Formula: mean d -+ t(0.975, n - 1) sd(d) / sqrt(n)

    Errors: UsageError for fewer than two differences.
    """
    from scipy.stats import t

    d = _finite(differences)
    if len(d) < 2:
        raise UsageError(say("an interval takes two pairs or more; got {count}", count=len(d)))
    reach = float(t.ppf(1 - LEVEL / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))
    mean = float(d.mean())
    return mean - reach, mean + reach


def bootstrap_interval(differences: Sequence[float] | Pairs, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean difference over redrawn pairs: the 2.5 % and 97.5 % quantiles of 9,999 means.

    With few pairs it is narrower than the t interval (about sqrt((n - 1) / n), and normal in place of t), so verdicts
    rest on the t interval and this one stands beside it.
    """
    d = _finite(differences)
    if len(d) < 2:
        raise UsageError(say("an interval takes two pairs or more; got {count}", count=len(d)))
    draws = np.random.Generator(np.random.PCG64(seed_of("bootstrap", seed, len(d))))
    rows = draws.integers(0, len(d), size=(RESAMPLES, len(d)))
    low, high = np.quantile(d[rows].mean(axis=1), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """The exact two-sided p of a change in the rate of successes on the same seeds (McNemar 1947).

    Formula: p = min(1, 2 P(X <= min(b, c))), X binomial with b + c trials of 1/2; b and c are the seeds on which only
    one of the two succeeded
    """
    from scipy.stats import binomtest

    if len(before) != len(after):
        raise UsageError(say("{a} outcomes before, {b} after; pairs are wanted", a=len(before), b=len(after)))
    won = sum(bool(b) and not a for a, b in zip(before, after, strict=True))
    lost = sum(bool(a) and not b for a, b in zip(before, after, strict=True))
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979): each at most alpha, all conclusions hold together at alpha.

    Formula: sorted p_1 <= ... <= p_m; corrected p_k = max over j <= k of min(1, (m - j + 1) p_j)
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise UsageError(say("p-values lie between 0 and 1; got {values}", values=list(p_values)))
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    found = np.empty(len(p))
    found[order] = raised
    return [float(value) for value in found]


@dataclass(frozen=True)
class Effect:
    """What paired scores say of a change; `difference low high` are after - before in the metric's own units."""

    difference: float
    low: float
    high: float
    p_value: float
    verdict: str
    """`helped`, `no proven benefit` or `harmed`."""
    improved: int
    """Pairs that got better."""
    worst: float
    """The least favourable of the differences."""
    noise_band: float
    """Two standard deviations of the scores before, at least the smallest effect of interest."""


def effect_of(
    before: Sequence[float] | Pairs,
    after: Sequence[float] | Pairs,
    *,
    higher: bool,
    smallest: float,
    p_value: float = -1.0,
) -> Effect:
    """Judge scores before and after a change, one pair a seed.

    `helped`: p <= 0.05, the t interval leaves out 0, the mean gains at least `smallest`, and no seed loses more than
    the noise band. `harmed`: the same the other way round. Else `no proven benefit`, and where p > 0.05 the interval is
    widened to 0, so that interval and verdict never disagree. `higher`: whether larger scores are better. `p_value`: a
    p corrected for several tests, in place of the pairs' own.
    """
    a, b = _finite(before), _finite(after)
    if len(a) != len(b):
        raise UsageError(say("{a} outcomes before, {b} after; pairs are wanted", a=len(a), b=len(b)))
    sign = 1.0 if higher else -1.0
    gains = sign * (b - a)
    p = sign_flip(gains) if p_value < 0 else p_value
    low, high = t_interval(gains)
    mean = float(gains.mean())
    band = max(2 * float(a.std(ddof=1)), smallest)
    clear = p <= LEVEL and not low <= 0 <= high
    enough = abs(mean) >= smallest * (1 - 1e-9)
    verdict = UNPROVEN
    if clear and enough and mean > 0 and gains.min() >= -band:
        verdict = HELPED
    elif clear and enough and mean < 0 and gains.max() <= band:
        verdict = HARMED
    if p > LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    ends = (low, high) if higher else (-high, -low)
    # 0.0 + turns -0.0 into 0.0
    return Effect(
        0.0 + sign * mean, 0.0 + ends[0], 0.0 + ends[1], p, verdict, int((gains > 0).sum()),
        0.0 + sign * float(gains.min()), band,
    )  # fmt: skip


def _finite(values: Sequence[float] | Pairs) -> Pairs:
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(found).all():
        raise UsageError(say("paired scores are finite numbers; a diverged training counts as the constant answer"))
    return found
