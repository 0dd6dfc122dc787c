"""Paired statistics against enumeration, hand numbers, scipy, and simulated cases without any effect."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from netwright.clinic.paired import (
    HARMED,
    HELPED,
    UNPROVEN,
    bootstrap_interval,
    effect_of,
    fewest,
    holm,
    mcnemar,
    sign_flip,
    t_interval,
)
from netwright.errors import UsageError

DRAWS = np.random.default_rng(7)


def by_hand(d):
    """Every pattern of signs, one after the other."""
    seen = abs(sum(d))
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((1, -1), repeat=len(d))]
    return np.mean([total >= seen - 1e-9 for total in sums])


@pytest.mark.parametrize("n", [1, 2, 5, 6, 8, 10])
def test_sign_flip_counts_all_patterns(n):
    for d in (DRAWS.normal(size=n), DRAWS.integers(-3, 4, size=n) / 360, np.abs(DRAWS.normal(size=n))):
        assert sign_flip(d) == pytest.approx(by_hand(d))


def test_sign_flip_hand_numbers():
    assert sign_flip([1, 1, 1, 1, 1, 1]) == 2 / 64
    assert sign_flip([0.01] * 8) == 2 / 256
    assert sign_flip([1, 1, 1, 1, 1]) == 2 / 32  # five pairs cannot reach 0.05
    assert sign_flip([3, 2, -1]) == 0.5  # |s.d| of (+,+): 4, 6 (ties and above: 4 of 8)
    assert sign_flip([0.0, 0.0]) == sign_flip([]) == 1.0
    assert sign_flip([1e300] * 6) == 2 / 64


@pytest.mark.parametrize("n", [6, 8, 13])
def test_sign_flip_is_scipys(n):
    d = DRAWS.normal(0.4, 1, size=n)
    found = stats.permutation_test(
        (d, np.zeros(n)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(d) == pytest.approx(found.pvalue, abs=1e-12)


def test_many_pairs_are_drawn_and_agree_with_counting():
    d = DRAWS.normal(0.5, 1, size=21)
    sums = d[:1]
    for one in d[1:]:
        sums = np.concatenate([sums + one, sums - one])
    exact = np.mean(np.abs(sums) >= abs(d.sum()))
    assert sign_flip(d) == sign_flip(d)
    assert sign_flip(d) == pytest.approx(exact, abs=0.005)


def test_fewest():
    assert [fewest(m) for m in (1, 2, 3, 4, 10)] == [6, 7, 7, 8, 9]
    for m in range(1, 40):
        n = fewest(m)
        assert 2 / 2**n <= 0.05 / m < 2 / 2 ** (n - 1)
    with pytest.raises(UsageError, match="one or more"):
        fewest(0)


def test_intervals():
    d = [0.02, 0.05, 0.01, 0.04, 0.03, 0.06]
    assert t_interval(d) == pytest.approx(stats.ttest_1samp(d, 0).confidence_interval(), rel=1e-12)
    assert t_interval([0.25] * 6) == pytest.approx((0.25, 0.25))
    scipys = stats.bootstrap((np.array(d),), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert bootstrap_interval(d) == pytest.approx(scipys, abs=0.001)
    assert bootstrap_interval(d) == bootstrap_interval(d)
    for interval in (t_interval, bootstrap_interval):
        with pytest.raises(UsageError, match="two pairs"):
            interval([1.0])


def test_mcnemar_and_holm():
    assert mcnemar([False] * 6, [True] * 6) == pytest.approx(2 / 64)
    assert mcnemar([True, False, False], [True, True, False]) == 1.0
    assert mcnemar([True] * 4, [True] * 4) == 1.0
    assert mcnemar([False] * 7 + [True], [True] * 7 + [False]) == pytest.approx(2 * (1 + 8) / 256)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # Holm 1979: 3 x 0.01, 2 x 0.03, then no less
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(UsageError, match="pairs"):
        mcnemar([True], [])
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([1.2])


def judged(before, after, higher=True, smallest=0.01):
    return effect_of(before, after, higher=higher, smallest=smallest)


def test_verdicts():
    low, high = np.full(8, 0.10), np.linspace(0.93, 0.97, 8)
    up = judged(low, high)
    assert (up.verdict, up.improved, up.p_value) == (HELPED, 8, 2 / 256)
    assert up.difference == pytest.approx(0.85)
    assert up.low < 0.85 < up.high
    assert up.worst == pytest.approx(0.83)
    down = judged(high, low)
    assert (down.verdict, down.improved) == (HARMED, 0)
    assert down.high < 0
    assert judged(high, low, higher=False).verdict == HELPED  # an error that falls
    assert judged(high, low, higher=False).difference == pytest.approx(-0.85)
    same = judged(high, high)
    assert (same.verdict, same.difference, same.low, same.high, same.p_value) == (UNPROVEN, 0, 0, 0, 1)


def test_too_small_an_effect_and_a_seed_that_loses():
    before = np.array([0.90, 0.91, 0.90, 0.92, 0.91, 0.90, 0.91, 0.92])
    small = judged(before, before + 0.005)
    assert small.verdict == UNPROVEN
    assert small.low > 0
    assert judged(before, before + 0.0101).verdict == HELPED
    lucky = judged(np.full(10, 0.5), np.r_[np.full(9, 0.9), 0.45])
    assert lucky.p_value <= 0.05
    assert lucky.low > 0
    assert lucky.worst == pytest.approx(-0.05)
    assert lucky.verdict == UNPROVEN  # one seed is worse than by the noise band
    unsure = judged(before, before + np.array([0.1, -0.02, 0.1, -0.02, 0.1, -0.02, 0.1, -0.02]))
    assert unsure.verdict == UNPROVEN
    assert unsure.p_value > 0.05
    assert unsure.low <= 0 <= unsure.high


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(UsageError, match="pairs are wanted"):
        judged([1.0, 2.0], [1.0])
    with pytest.raises(UsageError, match="finite"):
        judged([1.0, 2.0], [1.0, float("nan")])


NULLS = {
    "normal": lambda r, n: r.normal(0.9, 0.02, n),
    "heavy tails": lambda r, n: 0.8 + 0.02 * r.standard_t(1.5, n),
    "a seed lottery": lambda r, n: np.where(r.random(n) < 0.5, 0.1, 0.95),
    "skewed": lambda r, n: 0.95 - 0.05 * r.exponential(1, n),
    "whole examples": lambda r, n: np.round(r.normal(0.9, 0.02, n) * 36) / 36,
}


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("n", [6, 8, 10])
def test_false_verdicts_are_rare_where_nothing_changes(name, n):
    draws = np.random.default_rng([n, len(name)])
    found = [judged(NULLS[name](draws, n), NULLS[name](draws, n)).verdict for _ in range(300)]
    # each side has 2.5 % at most: 300 cases give 7.5, and 16 or more once in 200 times
    assert found.count(HELPED) <= 15
    assert found.count(HARMED) <= 15


def test_a_real_effect_is_seen():
    draws = np.random.default_rng(3)
    found = [judged(draws.normal(0.90, 0.01, 8), draws.normal(0.93, 0.01, 8)).verdict for _ in range(200)]
    assert found.count(HELPED) >= 180
