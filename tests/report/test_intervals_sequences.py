"""The intervals of the metrics of sequences: coverage by simulation, closed forms, a width even without an error."""

import time

import numpy as np
import pytest
from scipy.stats import norm

from netwright.catalogue import METRICS
from netwright.parts.metrics import Likelihoods
from netwright.report.intervals import clustered, in_blocks, limits, resampled, wilson

Texts = tuple[list[str], list[str]]


def likelihoods(rng: np.random.Generator, n: int) -> tuple[None, Likelihoods]:
    """Texts whose tokens cost 2 nats in the mean, some texts more than others."""
    tokens = rng.integers(5, 60, n)
    return None, Likelihoods(tokens * rng.gamma(20, 0.1, n), tokens, 4 * tokens)


def trials(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([1, 0], [n // 3, n - n // 3])
    return truth, rng.normal(size=n) + 2 * truth


def tagged(rng: np.random.Generator, n: int) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of which some are harder than others."""
    truth, said = [], []
    for right in rng.beta(8, 1, n):
        tags = np.where(rng.random(rng.integers(1, 12)) < 0.3, "B-A", "O")
        truth.append(tags.tolist())
        said.append(np.where(rng.random(len(tags)) < right, tags, np.where(tags == "O", "B-A", "O")).tolist())
    return truth, said


def texts(rng: np.random.Generator, n: int) -> Texts:
    truth, said = [], []
    for right in rng.beta(4, 2, n):
        words = rng.integers(0, 50, rng.integers(4, 20))
        other = np.where(rng.random(len(words)) < right, words, rng.integers(0, 50, len(words)))
        truth.append(" ".join(f"w{word}" for word in words))
        said.append(" ".join(f"w{word}" for word in other))
    return truth, said


CASES = [
    ("perplexity", likelihoods, 50, np.exp(2.0)),
    ("nll", likelihoods, 50, 2.0),
    ("bits_per_character", likelihoods, 15, 0.5 / np.log(2)),
    ("eer", trials, 150, norm.cdf(-1)),
    ("entity_f1", tagged, 60, None),
    ("token_accuracy", tagged, 60, None),
    ("bleu", texts, 60, None),
    ("chrf", texts, 60, None),
    ("rougeL", texts, 60, None),
    ("word_error_rate", texts, 60, None),
]


@pytest.mark.parametrize(("name", "drawn", "n", "true"), CASES)
def test_the_intervals_hold_the_true_value_in_nearly_95_of_100_cases(name, drawn, n, true):
    rng, held, repeats = np.random.default_rng(11), 0, 50
    true = METRICS[name](*drawn(rng, 2_000)) if true is None else true
    for _ in range(repeats):
        low, high = limits(name, *drawn(rng, n))
        held += low <= true <= high
    assert 0.88 * repeats <= held, held


def test_intervals_are_as_wide_as_they_must_be():
    rng = np.random.default_rng(2)
    values = rng.normal(5, 2, 400)
    low, high = resampled(values[:, None], lambda sums: sums[..., 0] / 400)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.05)
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.1)  # a mean's own formula
    many = rng.normal(5, 2, 50_000)  # beyond 4,096 examples groups of them are drawn
    low, high = resampled(many[:, None], lambda sums: sums[..., 0] / 50_000)
    assert high - low == pytest.approx(2 * 1.96 * 2 / 50_000**0.5, rel=0.1)
    truth, scores = trials(rng, 30_000)  # beyond 1,024 scores ranges of them
    low, high = limits("eer", truth, scores)
    assert low < METRICS["eer"](truth, scores) < high
    rate = norm.cdf(-1)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(rate * (1 - rate) / 4 * (1 / 10_000 + 1 / 20_000)), rel=0.15)


def test_the_same_predictions_have_the_same_interval():
    rng = np.random.default_rng(4)
    for name, drawn, n, _ in CASES:
        given = drawn(rng, n)
        assert limits(name, *given) == limits(name, *given), name


def test_errors_of_overlapping_forecasts_are_not_taken_for_independent():
    rng, held, naive, repeats, horizon = np.random.default_rng(0), 0, 0, 80, 24
    for _ in range(repeats):
        noise = rng.normal(size=400 + horizon - 1)
        windows = np.lib.stride_tricks.sliding_window_view(noise, horizon)
        low, high = limits("mae", np.zeros_like(windows), windows, task="forecast")
        held += low <= np.sqrt(2 / np.pi) <= high
        low, high = limits("mae", np.zeros_like(windows), windows)
        naive += low <= np.sqrt(2 / np.pi) <= high
    assert held >= 0.85 * repeats
    assert naive < 0.6 * repeats  # as many examples as windows: far too narrow
    low, high = limits("mae", np.zeros_like(windows), windows, task="forecast")
    assert limits("mase", np.zeros_like(windows), windows, 2.0) == pytest.approx((low / 2, high / 2))
    low, high = limits("mse", np.zeros_like(windows), windows, task="forecast")
    assert limits("rmse", np.zeros_like(windows), windows, task="forecast") == pytest.approx((low**0.5, high**0.5))


def test_blocks_of_one_give_the_interval_of_a_mean():
    values = np.random.default_rng(1).gamma(2, 3, 300)
    low, high = in_blocks(values, 1)
    half = 1.968 * values.std(ddof=1) / np.sqrt(300)  # t(0.975, 299)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), rel=0.02)
    assert in_blocks(values[:3], 12)[1] > values[:3].mean()
    assert in_blocks(values[:1], 1) is None


def test_a_share_of_tokens_is_wider_where_sentences_differ():
    counts = np.full(50, 20.0)
    even = np.full(50, 16.0)
    assert clustered(even, counts) == pytest.approx(tuple(map(float, wilson(800, 1000))))  # no more spread than chance
    torn = np.repeat([20.0, 0.0], [40, 10])  # each sentence all right or all wrong: 50 examples, not 1,000
    low, high = clustered(torn, counts)
    expected = wilson(40 * 49 / 50, 49)
    assert (low, high) == pytest.approx(tuple(map(float, expected)), abs=1e-9)
    assert clustered(np.array([3.0]), np.array([4.0])) is None


def test_a_perfect_result_still_has_a_width():
    same = ["a b c", "d e f g", "h"]
    tags = [["B-A", "I-A", "O"], ["B-B"]]
    assert limits("word_error_rate", same, same) == pytest.approx((0, float(wilson(0, 8)[1])))
    assert limits("character_error_rate", same, same)[1] == pytest.approx(float(wilson(0, 13)[1]))
    assert limits("exact_match", same, same) == pytest.approx((float(wilson(3, 3)[0]), 1))
    assert limits("rouge1", same, same) == pytest.approx((float(wilson(3, 3)[0]), 1))
    low, high = limits("entity_f1", tags, tags)
    share = float(wilson(2, 2)[0])
    assert (low, high) == pytest.approx((2 * share / (1 + share), 1))
    assert limits("token_accuracy", tags, tags) == pytest.approx((float(wilson(4, 4)[0]), 1))
    low, high = limits("eer", np.array([0, 0, 0, 1, 1]), np.arange(5.0))
    assert (low, high) == pytest.approx((0, float(wilson(0, 2)[1])))


def test_single_examples_have_no_interval():
    one = Likelihoods([2.0], [3], [4])
    assert [limits(name, None, one) for name in ("nll", "perplexity", "bits_per_character")] == [None] * 3
    for name in ("bleu", "chrf", "rouge1", "word_error_rate"):
        assert limits(name, ["a b c d"], ["a b c e"]) is None, name
    assert limits("entity_f1", [["B-A"]], [["B-A"]]) is None
    assert limits("mase", np.ones((1, 3)), np.zeros((1, 3)), 1.0) is None
    assert limits("eer", np.array([0, 1]), np.array([0.0, 1.0])) is None


def test_a_thousand_sentences_are_quick():
    given = texts(np.random.default_rng(3), 1_000)
    limits("bleu", *given)  # scipy is imported once
    started = time.process_time()
    low, high = limits("bleu", *given)
    assert time.process_time() - started < 1
    assert low < METRICS["bleu"](*given) < high
