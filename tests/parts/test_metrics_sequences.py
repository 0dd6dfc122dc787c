"""Likelihoods, forecasts and verification against hand numbers, brute force and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.parts import metrics
from netwright.parts.metrics import Likelihoods


def test_likelihoods_by_hand():
    found = Likelihoods([math.log(8), 3 * math.log(2)], [2, 1], [3, 9])
    got = metrics.measure("generate", None, found)
    assert got["bits_per_character"] == pytest.approx(6 / 12)
    assert got["nll"] == pytest.approx(6 * math.log(2) / 3)
    assert got["perplexity"] == pytest.approx(4.0)
    assert metrics.measure("generate", ["", ""], found) == got
    assert METRICS["nll"](None, found.take([1])) == pytest.approx(3 * math.log(2))


def test_uniform_guesses_have_the_vocabulary_as_perplexity():
    lengths = np.array([5, 1, 30])
    assert METRICS["perplexity"](None, Likelihoods(lengths * math.log(57), lengths, lengths)) == pytest.approx(57)
    assert METRICS["bits_per_character"](None, Likelihoods(lengths * math.log(57), lengths, lengths)) == pytest.approx(
        math.log2(57)
    )


def test_likelihoods_that_give_no_number():
    names = ("bits_per_character", "perplexity", "nll")
    assert set(metrics.measure("generate", [], Likelihoods([], [], [])).values()) == {None}
    assert set(metrics.measure("generate", None, Likelihoods([math.nan, 1], [1, 1], [1, 1])).values()) == {None}
    assert set(metrics.measure("generate", None, Likelihoods([math.inf], [1], [1])).values()) == {None}
    assert [METRICS[name](None, Likelihoods([2.0], [4], [0])) for name in names] == [None, math.exp(0.5), 0.5]
    assert METRICS["perplexity"](None, Likelihoods([1e6], [1], [1])) is None  # beyond float64, and without a warning
    assert [METRICS[name](None, None) for name in names] == [None] * 3
    with pytest.raises(UsageError, match="1 sums of nats, 2 counts of tokens, 3 of characters"):
        Likelihoods([1], [1, 2], [1, 2, 3])
    with pytest.raises(UsageError, match="tokens are counts; got -1"):
        Likelihoods([1], [-1], [1])
    with pytest.raises(UsageError, match="2 true values, but 1 predictions"):
        METRICS["nll"](["", ""], Likelihoods([1], [1], [1]))
    with pytest.raises(UsageError, match="got list"):
        METRICS["nll"](None, ["a"])


def test_a_translation_is_measured_with_and_without_likelihoods():
    texts = ["a b c d", "e f"]
    found = metrics.measure("translate", texts, texts, likelihoods=Likelihoods([2, 1], [4, 2], [7, 3]))
    assert found == {
        "perplexity": pytest.approx(math.exp(0.5)), "exact_match": 1.0, "bleu": pytest.approx(100),
        "chrf": pytest.approx(100), "rouge1": 1.0, "rougeL": 1.0,
    }  # fmt: skip
    assert metrics.measure("translate", texts, texts)["perplexity"] is None


def test_forecasts_by_hand():
    truth, said = np.array([[1.0, 2.0], [4.0, 8.0]]), np.array([[1.0, 4.0], [1.0, 8.0]])
    got = metrics.measure("forecast", truth, said, naive_error=2.5)
    assert got == {
        "mse": pytest.approx(13 / 4), "mae": pytest.approx(5 / 4), "rmse": pytest.approx(math.sqrt(13 / 4)),
        "mase": pytest.approx(0.5),
    }  # fmt: skip
    assert METRICS["mase"](truth, said, np.array([1.0, 3.0])) == pytest.approx((1 / 1 + 1.5 / 3) / 2)
    assert metrics.measure("forecast", truth, said)["mase"] is None
    for nothing in (None, 0.0, math.nan, math.inf, -1.0):
        assert METRICS["mase"](truth, said, nothing) is None
    assert METRICS["mase"](np.zeros((0, 2)), np.zeros((0, 2)), 1.0) is None
    with pytest.raises(UsageError, match="3 naive errors for 2 examples"):
        METRICS["mase"](truth, said, np.ones(3))
    with pytest.raises(UsageError, match=r"\(2, 2\), predictions of \(2,\)"):
        METRICS["mase"](truth, said[:, 0], 1.0)


def sweep(truth: np.ndarray, scores: np.ndarray) -> float:
    """The equal error rate by trying every threshold, lowest first."""
    before = (0.0, 1.0)
    for threshold in [*np.unique(scores), math.inf]:
        now = (np.mean(scores[truth == 1] < threshold), np.mean(scores[truth == 0] >= threshold))
        if now[0] >= now[1]:
            gap, next_gap = before[1] - before[0], now[1] - now[0]
            return before[0] + (now[0] - before[0]) * gap / (gap - next_gap)
        before = now
    raise AssertionError("all are rejected at the end")


@pytest.mark.parametrize("seed", range(12))
def test_eer_equals_a_sweep_of_all_thresholds_and_the_roc_curve(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, rng.integers(6, 90))
    truth[:2] = 0, 1
    scores = np.round(rng.normal(size=len(truth)) + truth, seed % 3)  # many ties, few, none to speak of
    found = METRICS["eer"](truth, scores)
    assert found == pytest.approx(sweep(truth, scores), abs=1e-12)
    alarms, hits, _ = roc_curve(truth, scores, drop_intermediate=False)
    k = int(np.argmax(alarms + hits >= 1))  # from here on alarms reach misses
    share = (1 - hits - alarms)[k - 1] / ((1 - hits - alarms)[k - 1] - (1 - hits - alarms)[k])
    assert found == pytest.approx(alarms[k - 1] + share * (alarms[k] - alarms[k - 1]), abs=1e-12)
    assert METRICS["eer"](truth, 5 * scores - 3) == pytest.approx(found, abs=1e-12)  # only the order counts


def test_eer_by_hand_and_at_its_ends():
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert METRICS["eer"](truth, np.arange(8.0)) == 0.0
    assert METRICS["eer"](truth, -np.arange(8.0)) == 1.0
    assert METRICS["eer"](truth, np.zeros(8)) == 0.5
    assert METRICS["eer"](truth, np.array([1, 2, 3, 6, 4, 5, 7, 8])) == pytest.approx(0.25)
    # miss 1/2 and alarms 1 -> 1/2 at the second score: at 1/2 they meet; one below: 0 and 1
    assert METRICS["eer"](np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0])) == pytest.approx(0.5)
    assert METRICS["eer"](truth, np.arange(8.0)[:, None]) == 0.0


def test_trials_that_cannot_be_measured():
    none = np.zeros(0)
    assert METRICS["eer"](none, none) is None
    assert METRICS["eer"](np.ones(4), np.arange(4.0)) is None
    assert METRICS["eer"](np.array([0, 1]), np.array([0.0, math.nan])) is None
    with pytest.raises(UsageError, match="3 true values, but 2 predictions"):
        METRICS["eer"](np.array([0, 1, 1]), np.array([0.0, 1.0]))
    with pytest.raises(UsageError, match=r"1 \(the same\) or 0; got 2"):
        METRICS["eer"](np.array([0, 2]), np.array([0.0, 1.0]))
    with pytest.raises(UsageError, match=r"got shapes \(2,\) and \(2, 3\)"):
        METRICS["eer"](np.array([0, 1]), np.zeros((2, 3)))
