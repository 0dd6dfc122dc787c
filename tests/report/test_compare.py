"""Paired comparisons against closed forms, every swap counted out, and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_rel

from netwright.errors import RunError, UsageError
from netwright.report.compare import compare_outputs, newcombe


def answers(hits: np.ndarray) -> np.ndarray:
    """Probabilities of two classes that are right (truth 0) where `hits` is 1."""
    return np.where(hits[:, None] == 1, [0.9, 0.1], [0.2, 0.8])


def counted(both: int, won: int, lost: int, neither: int) -> dict:
    first = np.repeat([1, 0, 1, 0], [both, won, lost, neither])
    second = np.repeat([1, 1, 0, 0], [both, won, lost, neither])
    return compare_outputs("classify", np.zeros(len(first), int), answers(first), answers(second))


def test_mcnemar_is_the_exact_two_sided_binomial():
    found = counted(50, 12, 3, 10)
    assert found["p_value"] == pytest.approx(2 * binom.cdf(3, 15, 0.5), rel=1e-12)
    assert found["values"] == pytest.approx([53 / 75, 62 / 75])
    assert found["difference"] == pytest.approx(9 / 75)
    assert found["metric"] == "accuracy"
    assert found["verdict"] == "better"
    assert found["low"] > 0
    assert counted(50, 3, 12, 10)["verdict"] == "worse"
    assert counted(50, 8, 3, 10)["verdict"] == "no difference"


def test_newcombe_interval_of_his_paper():
    # Newcombe 1998, Statistics in Medicine 17:2635, table II, method 10: cells e 36, f 12, g 2, h 0
    low, high = newcombe(36, 12, 2, 0)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)


def test_interval_and_verdict_never_disagree():
    for n in (6, 25, 120):
        for won, lost in itertools.product(range(0, min(n, 16)), repeat=2):
            if won + lost <= n:
                found = counted(n - won - lost, won, lost, 0)
                outside = found["low"] > 0 or found["high"] < 0
                assert outside <= (found["verdict"] != "no difference") == (found["p_value"] <= 0.05)
                assert found["low"] <= found["difference"] <= found["high"]
                assert (found["verdict"] == "better") == (found["p_value"] <= 0.05 and won > lost)


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_the_same_outputs_differ_in_nothing(task: str):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 30)
    outputs = answers(rng.integers(0, 2, 30)) if task == "classify" else rng.normal(size=30)
    found = compare_outputs(task, truth, outputs, outputs)
    assert (found["difference"], found["p_value"], found["verdict"]) == (0, 1.0, "no difference")
    assert found["low"] <= 0 <= found["high"]


def test_few_examples_are_swapped_in_every_way():
    rng = np.random.default_rng(4)
    truth, first, second = rng.normal(size=(3, 8))
    found = compare_outputs("regress", truth, first, second)
    difference = (second - truth) ** 2 - (first - truth) ** 2
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product([-1, 1], repeat=8)]
    assert found["p_value"] == pytest.approx(np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12))
    assert found["metric"] == "rmse"
    assert found["values"] == pytest.approx([np.sqrt(((o - truth) ** 2).mean()) for o in (first, second)])


@pytest.mark.parametrize("n", [300, 9000])
def test_many_examples_agree_with_the_paired_t_test(n: int):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=n)
    first, second = truth + rng.normal(size=n), truth + (1 + 0.3 / np.sqrt(n)) * rng.normal(size=n)
    found = compare_outputs("regress", truth, first, second)
    expected = ttest_rel((first - truth) ** 2, (second - truth) ** 2).pvalue
    assert found["p_value"] == pytest.approx(expected, abs=0.03)


def test_a_clear_improvement_is_found_and_its_size_bounded():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=4000)
    noise = rng.normal(size=4000)
    better = compare_outputs("regress", truth, truth + noise, truth + 0.9 * noise)
    assert better["verdict"] == "better"
    assert better["p_value"] <= 0.001
    assert better["low"] < -0.1 < better["high"] < 0
    worse = compare_outputs("regress", truth, truth + 0.9 * noise, truth + noise)
    assert worse["verdict"] == "worse"
    assert worse["low"] == pytest.approx(-better["high"], abs=0.01)


def test_the_regression_test_errs_in_about_5_of_100_cases_without_a_difference():
    rng, wrong, repeats = np.random.default_rng(5), 0, 400
    for _ in range(repeats):
        truth, first, second = rng.normal(size=(3, 12))
        wrong += compare_outputs("regress", truth, first, second)["verdict"] != "no difference"
    assert 4 <= wrong <= 36  # 20 expected


def test_the_same_comparison_twice_is_the_same():
    truth, first, second = np.random.default_rng(0).normal(size=(3, 100))
    assert compare_outputs("regress", truth, first, second) == compare_outputs("regress", truth, first, second)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("task", ["classify", "regress"])
def test_tiny_sets_prove_nothing(task: str, n: int):
    truth = np.zeros(n, dtype=int)
    outputs = (answers(np.zeros(n)), answers(np.ones(n))) if task == "classify" else (np.ones(n), np.full(n, 2.0))
    found = compare_outputs(task, truth, *outputs)
    assert found["verdict"] == "no difference"
    assert found["examples"] == n
    assert found["p_value"] == (None if n == 0 else {1: 1.0, 2: 0.5}[n])
    if n == 0:
        assert found["values"] == [None, None]
        assert found["difference"] is None


def test_several_outputs_columns_and_huge_errors():
    truth = np.zeros((20, 2))
    found = compare_outputs("regress", truth, truth + 1e150, truth + 2e150)
    assert found["verdict"] == "worse"
    assert found["low"] == pytest.approx(1e150, rel=1e-6)
    column = compare_outputs("regress", np.zeros(20), np.ones((20, 1)), np.full((20, 1), 2.0))
    assert column["values"] == [1, 2]
    assert compare_outputs("regress", np.zeros(9), np.full(9, 1e200), np.ones(9))["values"] == [None, 1.0]


def test_wrong_inputs_are_refused():
    truth, p = np.zeros(3, int), answers(np.ones(3))
    with pytest.raises(UsageError, match=r"\(3, 2\), \(2, 2\), \(3,\)"):
        compare_outputs("classify", truth, p, p[:2])
    with pytest.raises(UsageError, match=r"shape \(3,\)"):
        compare_outputs("classify", truth, np.zeros(3), np.zeros(3))
    with pytest.raises(UsageError, match="cannot be compared"):
        compare_outputs("clasify", truth, p, p)
    broken = p.copy()
    broken[1, 0] = math.nan
    with pytest.raises(RunError, match="the second run gives NaN or infinity for 1 examples"):
        compare_outputs("classify", truth, p, broken)
