"""The n-gram model against a plain loop over dictionaries, by enumeration, and on hostile input."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from netwright.errors import UsageError
from netwright.report.baselines import ngrams as module
from netwright.report.baselines.ngrams import NGrams, ngram_nats


def discounts(counts):
    n = [sum(count == k for count in counts) for k in range(5)]
    if n[1] and n[2] and n[3]:
        y = n[1] / (n[1] + 2 * n[2])
        found = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        if all(0 < d < k for k, d in enumerate(found, 1)):
            return found
    return [0.5, 1.0, 1.5]


def plain(train, order, vocabulary):
    """p(token, context) by counting n-grams as tuples, one order after the other, as the paper writes it."""
    grams = [Counter() for _ in range(order + 1)]
    left = [defaultdict(set) for _ in range(order + 1)]
    for text in train:
        padded = ["s"] * (order - 1) + list(text)
        for end in range(order - 1, len(padded)):
            for n in range(1, order + 1):
                gram = tuple(padded[end - n + 1 : end + 1])
                grams[n][gram] += 1
                if n < order:
                    left[n][gram].add(tuple(padded[end - n : end + 1]))
    for n in range(1, order):
        for gram in grams[n]:
            if gram[0] != "s":
                grams[n][gram] = len(left[n][gram])
    taken = [discounts(counts.values()) for counts in grams]

    def probability(token, context):
        share = 1 / vocabulary
        for n in range(1, order + 1):
            end = context[len(context) - n + 1 :]
            followers = {gram[-1]: count for gram, count in grams[n].items() if gram[:-1] == tuple(end)}
            total = sum(followers.values())
            if not total:
                return share
            d = taken[n]
            given = sum(d[min(count, 3) - 1] for count in followers.values()) / total
            count = followers.get(token, 0)
            own = (count - d[min(count, 3) - 1]) / total if count else 0
            share = own + given * share
        return share

    return probability


@pytest.mark.parametrize(("order", "size"), [(1, 4), (2, 4), (3, 4), (5, 3), (4, 12)])
def test_equals_the_plain_model(order, size):
    draw = np.random.default_rng(order)
    train = [draw.integers(0, size, n) ** 2 % size for n in (400, 31, 1)]
    test = [draw.integers(0, size, n) for n in (25, 1, 8)]
    probability = plain([text.tolist() for text in train], order, size)
    expected = []
    for text in test:
        padded = ["s"] * (order - 1) + text.tolist()
        for place in range(len(text)):
            expected.append(-math.log(probability(int(text[place]), padded[place : place + order - 1])))
    np.testing.assert_allclose(ngram_nats(train, test, order, vocabulary=size), expected, rtol=1e-12)


@pytest.mark.parametrize("context", [[], [3], [0, 1, 2, 3, 4], [6, 6, 6, 6, 6], [9]])
def test_probabilities_sum_to_one(context):
    train = np.random.default_rng(0).integers(0, 7, 500)
    model = NGrams.fit(train, 5, 10)  # the tokens 7, 8 and 9 never occur
    found = model.nats([np.array([*context, token]) for token in range(10)]).reshape(10, -1)[:, -1]
    assert np.isfinite(found).all()
    assert np.exp(-found).sum() == pytest.approx(1, abs=1e-12)


def test_uniform_and_unigram_references():
    train, test = np.array([0, 0, 0, 1]), np.array([0, 1, 2])
    np.testing.assert_allclose(ngram_nats(train, test, 0, vocabulary=50), np.full(3, math.log(50)))
    np.testing.assert_allclose(ngram_nats([], test, 5, vocabulary=50), np.full(3, math.log(50)))
    # Counts 3 and 1, discounts 1.5 and 0.5, so 2 of 4 are left for the uniform distribution over 50 tokens.
    expected = [1.5 / 4 + 0.5 / 50, 0.5 / 4 + 0.5 / 50, 0.5 / 50]
    np.testing.assert_allclose(np.exp(-ngram_nats(train, test, 1, vocabulary=50)), expected)


def test_a_higher_order_learns_what_a_lower_one_cannot():
    text = np.tile([0, 1, 0, 2], 200)
    costs = [ngram_nats(text, text[:100], order, vocabulary=3).mean() for order in (1, 2, 3)]
    assert costs[0] > costs[1] + 0.3 > costs[2] + 0.6
    assert costs[2] < 0.05


def test_texts_do_not_run_into_each_other():
    apart = ngram_nats([np.array([0, 1])] * 50, [np.array([0]), np.array([0])], 2, vocabulary=2)
    assert apart[0] == apart[1] < 0.1
    assert ngram_nats(np.tile([0, 1], 50), np.array([0, 0]), 2, vocabulary=2)[1] > 2


def test_lists_and_arrays_are_the_same():
    text = [1, 2, 0, 2, 1, 1]
    given = [text, np.array(text), [text], [np.array(text)]]
    found = [ngram_nats(train, [[0, 1], []], 3, vocabulary=4).tolist() for train in given]
    assert len(found[0]) == 2
    assert all(other == found[0] for other in found)
    assert ngram_nats(text, [], 3, vocabulary=4).shape == (0,)
    assert ngram_nats([[]], [[]], 3, vocabulary=4).shape == (0,)


@pytest.mark.parametrize(("train", "test"), [([5], [0]), ([0], [-1]), ([0], [[0], [7]])])
def test_tokens_outside_the_vocabulary_are_refused(train, test):
    with pytest.raises(UsageError, match="tokens lie between 0 and 4"):
        ngram_nats(train, test, 2, vocabulary=5)


def test_impossible_orders_are_refused():
    for order, vocabulary in ((-1, 5), (2, 0)):
        with pytest.raises(UsageError, match=f"order {order} over {vocabulary} tokens"):
            ngram_nats([0], [0], order, vocabulary=vocabulary)


def test_no_more_training_tokens_than_the_budget(monkeypatch):
    train = np.random.default_rng(0).integers(0, 5, 300)
    cut = ngram_nats(train[:98], train, 3, vocabulary=5)
    monkeypatch.setattr(module, "TOKENS", 100)  # two of them are start marks
    np.testing.assert_allclose(ngram_nats(train, train, 3, vocabulary=5), cut)


@pytest.mark.shared_data
def test_shakespeare_by_characters(shared_data):
    text = (shared_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    names, tokens = np.unique(list(text), return_inverse=True)
    cut = int(len(tokens) * 0.9)
    bits = ngram_nats(tokens[:cut], tokens[cut:], 5, vocabulary=len(names)).mean() / math.log(2)
    assert bits == pytest.approx(2.252, abs=0.002)
