"""An n-gram language model with modified Kneser-Ney smoothing: what counting alone reaches on a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from netwright.errors import UsageError
from netwright.language import say

TOKENS = 4_000_000
"""Training tokens that are counted at most, the first ones: about 15 s at order 5."""

Documents = np.ndarray | Sequence[np.ndarray] | Sequence[Sequence[int]]
"""Token numbers of one text, or of several."""


@dataclass(frozen=True)
class _Level:
    """The counts of one order: its n-grams, and for each context how much it holds and gives away."""

    keys: Int[np.ndarray, "grams"]
    """Context number * (vocabulary + 1) + token, ascending; the place of a key is the number of its n-gram."""
    amounts: Float[np.ndarray, "grams"]
    """Count less its discount."""
    totals: Float[np.ndarray, "contexts"]
    left: Float[np.ndarray, "contexts"]
    """The share of a context that goes to the order below."""


class NGrams:
    """An interpolated modified Kneser-Ney model over token numbers.

    Formula: p_n(w | c) = max(0, N(c w) - D(N(c w))) / N(c) + left(c) * p_{n-1}(w | c without its first token), and
    p_0 = 1 / vocabulary. N counts occurrences at the highest order and for n-grams that begin a text, below that
    the different tokens seen before the n-gram. With n_k = the n-grams of an order that count k, and
    Y = n_1 / (n_1 + 2 n_2): D(1) = 1 - 2 Y n_2 / n_1, D(2) = 2 - 3 Y n_3 / n_2, D(3 and more) = 3 - 4 Y n_4 / n_3;
    0.5, 1 and 1.5 where these are not between 0 and 1, 2 and 3. left(c) = discounts of c / N(c).

    Source: Chen and Goodman 1999, An empirical study of smoothing techniques, section 3.
    Differs: a text begins with order - 1 start marks, which are never predicted.
    """

    def __init__(self, order: int, vocabulary: int, levels: list[_Level]) -> None:
        self.order = order
        self.vocabulary = vocabulary
        self._levels = levels

    @classmethod
    def fit(cls, train: Documents, order: int, vocabulary: int) -> Self:
        """Count the n-grams of up to `order` tokens; `order` 0 knows nothing but the size of the vocabulary."""
        if order < 0 or vocabulary < 1:
            raise UsageError(
                say("n-grams of order {order} over {vocabulary} tokens cannot be", order=order, vocabulary=vocabulary)
            )
        tokens, real = _stream(train, max(order, 1), vocabulary, TOKENS)
        if order == 0 or not real.any():
            return cls(order, vocabulary, [])
        grams, keys = _numbered(tokens, order, vocabulary)
        levels = [
            _level(keys[n], _counted(grams, keys, real, n, order), grams[n - 1], vocabulary)
            for n in range(1, order + 1)
        ]
        return cls(order, vocabulary, levels)

    def nats(self, test: Documents) -> Float[np.ndarray, "tokens"]:
        """-ln p of every token of the texts, one text after the other."""
        tokens, real = _stream(test, max(self.order, 1), self.vocabulary)
        share = np.full(len(tokens), 1 / self.vocabulary)
        context = np.zeros(len(tokens), np.int64)  # the number of the context before each token; -1 where unseen
        for level in self._levels:
            asked = context * (self.vocabulary + 1) + tokens
            gram = np.minimum(np.searchsorted(level.keys, asked), len(level.keys) - 1)
            gram[(context < 0) | (level.keys[gram] != asked)] = -1
            known = (context >= 0) & (level.totals[context] > 0)
            here = np.where(gram >= 0, level.amounts[gram], 0)[known] / level.totals[context[known]]
            share[known] = here + level.left[context[known]] * share[known]
            context = np.concatenate([[-1], gram])[:-1]
        return np.asarray(-np.log(share[real]))


def ngram_nats(train: Documents, test: Documents, order: int = 5, *, vocabulary: int) -> Float[np.ndarray, "tokens"]:
    """-ln p of every test token under an n-gram model of the training texts; `/ ln 2` gives bits.

    `order` 1 is the unigram reference, 0 the uniform one: ln(vocabulary) for each token. An array is one text; a
    list holds one array or list a text, whose end, where it matters, is a token of its own. Of more than 4,000,000
    training tokens the first are counted.
    Errors: UsageError where a token is not between 0 and vocabulary - 1.
    """
    return NGrams.fit(train, order, vocabulary).nats(test)


def _stream(texts: Documents, order: int, vocabulary: int, most: int = 2**62) -> tuple[np.ndarray, np.ndarray]:
    """All texts end to end, each behind order - 1 start marks (token `vocabulary`), and which tokens are real."""
    single = (isinstance(texts, np.ndarray) and texts.dtype != object) or (len(texts) > 0 and np.ndim(texts[0]) == 0)
    parts = [np.asarray(text, np.int64).reshape(-1) for text in ([texts] if single else texts)]
    marks = np.full(order - 1, vocabulary, np.int64)
    pieces = [piece for part in parts for piece in (marks, part)]
    tokens = np.concatenate(pieces) if pieces else marks[:0]
    real = np.concatenate([np.full(len(piece), k % 2 == 1) for k, piece in enumerate(pieces)] or [marks[:0] > 0])
    wrong = real & ((tokens < 0) | (tokens >= vocabulary))
    if wrong.any():
        text = say("token {token}: tokens lie between 0 and {last}", token=int(tokens[wrong][0]), last=vocabulary - 1)
        raise UsageError(text)
    return tokens[:most], real[:most]


def _numbered(tokens: np.ndarray, order: int, vocabulary: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For n = 0 to `order`: the number of the n-gram that ends at each token (-1: none), and the n-grams' keys."""
    grams, keys = [np.zeros(len(tokens), np.int64)], [np.zeros(1, np.int64)]
    for _ in range(order):
        context = np.concatenate([[-1], grams[-1]])[:-1] if len(grams) > 1 else grams[0]
        whole = context >= 0
        key, number = np.unique(context[whole] * (vocabulary + 1) + tokens[whole], return_inverse=True)
        gram = np.full(len(tokens), -1, np.int64)
        gram[whole] = number
        grams.append(gram)
        keys.append(key)
    return grams, keys


def _counted(
    grams: list[np.ndarray], keys: list[np.ndarray], real: np.ndarray, n: int, order: int
) -> Int[np.ndarray, "grams"]:
    """What each n-gram counts: its occurrences, or below the highest order the different tokens before it."""
    ends = real & (grams[n] >= 0)
    count = np.bincount(grams[n][ends], minlength=len(keys[n]))
    if n == order:
        return count
    longer = real & (grams[n + 1] >= 0)
    _, first = np.unique(grams[n + 1][longer], return_index=True)
    different = np.bincount(grams[n][longer][first], minlength=len(keys[n]))
    starts = np.zeros(len(real), bool)  # whether the n-gram that ends here begins with a start mark
    starts[n - 1 :] = ~real[: len(real) - n + 1]
    begins = np.zeros(len(count), bool)
    begins[grams[n][ends & starts]] = True
    return np.where(begins, count, different)


def _level(keys: np.ndarray, counts: np.ndarray, contexts: np.ndarray, vocabulary: int) -> _Level:
    context = keys // (vocabulary + 1)
    size = int(contexts.max()) + 1
    discounts = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(context, counts, size)
    left = np.bincount(context, discounts, size) / np.maximum(totals, 1)
    return _Level(keys, counts - discounts, totals, left)


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """How much is taken from n-grams that count 1, 2, and 3 or more."""
    one, two, three, four = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(one, two, three) > 0:
        y = one / (one + 2 * two)
        found = 1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three
        if all(0 < discount < k for k, discount in enumerate(found, 1)):
            return found
    return 0.5, 1.0, 1.5
