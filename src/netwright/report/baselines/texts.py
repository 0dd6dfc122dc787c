"""What simple methods reach on texts: the score that a network for sequences has to beat.

All of them learn from the training split alone, repeat to the bit, and are cut to some 20 seconds on one core: where
there is more training text than their budget, they learn from a part of it, drawn by a fixed seed.

A word is a run of letters, digits and underscores, an apostrophe within it included; a Chinese character or a Japanese
kana is a word of its own. Words are compared in lower case, punctuation is not counted.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import permutation

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Text = str | tuple[str, ...]
"""A text, or one that the data itself divides into tokens."""

ALONE = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Characters that are words of their own: Chinese ones and kana, written without blanks between words."""
WORD = f"[{ALONE}]|[^\\W{ALONE}]+(?:['\u2019][^\\W{ALONE}]+)*"
"""The pattern of one word."""

CHARACTERS = 8_000_000  # training characters that the word counts look at: about 6 s
NGRAM_CHARACTERS = 1_500_000  # the same where every character begins four n-grams
WORK = 2e9  # (stored cells + 10 x terms) x classes x iterations of the logistic solver: about 10 s
TERMS = 2_000_000  # terms x classes that the solver weighs, the most frequent terms: it keeps 20 copies, 320 MB
PAIRS = 40_000  # training sources that a reply is looked up in
LOOKS = 200_000_000  # training sources x test sources: about 15 s
STRENGTH = 10.0  # C: rows of TF-IDF have length 1, for which C = 1 holds the weights too short

_CLOSING = re.compile(r"\s+([.,!?;:%)\]}\u2019])")


def words(text: Text, *, lower: bool = True, marks: bool = False) -> list[str]:
    """The words of a text in order; with `marks` each mark of punctuation too. A tuple is its tokens as they stand.

    Args:
        lower: whether in lower case.
    """
    if isinstance(text, tuple):
        return [token.lower() for token in text] if lower else list(text)
    found = re.findall(WORD + r"|[^\w\s]" if marks else WORD, text)
    return [word.lower() for word in found] if lower else found


def bag_of_words(
    train_texts: Sequence[Text], train_classes: Int[np.ndarray, "examples"], test_texts: Sequence[Text], classes: int
) -> Float[np.ndarray, "tests classes"]:
    """Class probabilities from the words of a text and their pairs, by TF-IDF and logistic regression.

    Formula: weight of term w in text d = (1 + ln count(w, d)) * (1 + ln((1 + texts) / (1 + texts with w))), each
    text scaled to length 1; then multinomial logistic regression with C = 10. Terms are words and pairs of
    neighbours, so Chinese is counted by 1 and 2 characters.
    """
    return _classified(train_texts, train_classes, test_texts, classes, _words_of, 2, CHARACTERS)


def character_ngrams(
    train_texts: Sequence[Text], train_classes: Int[np.ndarray, "examples"], test_texts: Sequence[Text], classes: int
) -> Float[np.ndarray, "tests classes"]:
    """Class probabilities from runs of 1 to 4 characters, beginning and end marked: for names and other short texts.

    Formula: as `bag_of_words`, with runs of 1 to 4 characters for terms.
    """
    return _classified(train_texts, train_classes, test_texts, classes, _characters_of, 4, NGRAM_CHARACTERS)


def most_frequent_tag(
    train_tokens: Sequence[Sequence[str]], train_tags: Sequence[Sequence[str]], test_tokens: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """For each token the tag that it bore most often in training; an unknown token gets the most frequent tag of all.

    Of tags that are equally frequent the one seen first is taken. Errors: UsageError where tokens and tags of a
    training text differ in number.
    """
    found: dict[str, Counter[str]] = {}
    overall: Counter[str] = Counter()
    for place, (tokens, tags) in enumerate(_paired(train_tokens, train_tags)):
        if len(tokens) != len(tags):
            text = say("text {place}: {tokens} tokens, but {tags} tags", place=place, tokens=len(tokens),
                       tags=len(tags))  # fmt: skip
            raise UsageError(text)
        overall.update(tags)
        for token, tag in zip(tokens, tags, strict=True):
            found.setdefault(token, Counter())[tag] += 1
    if not overall:
        raise UsageError(say("no training token has a tag"))
    best = {token: counts.most_common(1)[0][0] for token, counts in found.items()}
    usual = overall.most_common(1)[0][0]
    return [tuple(best.get(token, usual) for token in tokens) for tokens in test_tokens]


def retrieval(train_pairs: Sequence[tuple[Text, Text]], test_sources: Sequence[Text]) -> list[str]:
    """The reply of the training source most like each test source: cosine of their TF-IDF, as in `bag_of_words`.

    Of equally near sources the first is taken; a source that shares no term with any gets the most frequent reply.
    """
    if not train_pairs:
        raise UsageError(say("there are no training pairs to learn from"))
    most = min(PAIRS, max(1000, LOOKS // max(1, len(test_sources))))
    kept = drawn(_sizes([source for source, _ in train_pairs]), CHARACTERS, most)
    replies = [joined(train_pairs[place][1]) for place in kept]
    usual = Counter(replies).most_common(1)[0][0]
    known, asked = _weighted([train_pairs[place][0] for place in kept], test_sources, _words_of, 2)
    if known is None or asked is None:
        return [usual] * len(test_sources)
    by_term = known.T.tocsr()
    best: list[str] = []
    step = max(1, 20_000_000 // len(kept))  # the likenesses of one block take at most 160 MB
    for start in range(0, len(test_sources), step):
        likeness = np.asarray((asked[start : start + step] @ by_term).todense())
        nearest = likeness.argmax(axis=1)
        best += [
            replies[place] if row[place] > 0 else usual for row, place in zip(likeness, nearest.tolist(), strict=True)
        ]
    return best


def lead(test_sources: Sequence[Text], count: int) -> list[str]:
    """The first `count` words of each source as they stand, with the punctuation between them: for summaries."""
    if count < 0:
        raise UsageError(say("lead: {count} words; at least 0 are needed", count=count))
    return [_first(source, count) for source in test_sources]


def median_words(texts: Sequence[Text]) -> int:
    """The median number of words of texts, at least 1: how long a `lead` for such summaries is."""
    return max(1, int(np.median([len(words(text)) for text in texts]))) if len(texts) else 1


def joined(text: Text) -> str:
    """A text as one string: tokens with blanks between them, none before closing punctuation and between Chinese."""
    if isinstance(text, str):
        return text
    spaced = _CLOSING.sub(r"\1", " ".join(text))
    wide = f"[{ALONE}\u3000-\u303f\uff00-\uffef]"
    return re.sub(f"(?<={wide}) (?={wide})", "", spaced)


def drawn(sizes: Int[np.ndarray, "examples"], budget: int, count: int = 10**9) -> Int[np.ndarray, "kept"]:
    """Positions of as many examples as `budget` and `count` allow, at least one, drawn by a fixed seed; ascending."""
    if sizes.sum() <= budget and len(sizes) <= count:
        return np.arange(len(sizes))
    order = permutation(len(sizes), 0, "baselines")[:count]
    enough = max(1, int(np.searchsorted(np.cumsum(sizes[order]), budget, side="right")))
    return np.sort(order[:enough])


def _sizes(texts: Sequence[Text]) -> np.ndarray:
    """The characters of each text."""
    return np.array([sum(map(len, text)) if isinstance(text, tuple) else len(text) for text in texts], np.int64)


def _first(source: Text, count: int) -> str:
    if isinstance(source, tuple):
        return joined(source[:count])
    end = 0
    for place, match in enumerate(re.finditer(WORD, source)):
        if place == count:
            break
        end = match.end()
    return source[:end].strip()


def _paired(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, Any]]:
    if len(first) != len(second):
        raise UsageError(say("{texts} texts, but targets for {targets}", texts=len(first), targets=len(second)))
    return list(zip(first, second, strict=True))


def _words_of(text: Text) -> list[str]:
    return words(text)


def _characters_of(text: Text) -> list[str]:
    return ["\x02", *("".join(text).lower()), "\x03"]


def _classified(
    train_texts: Sequence[Text], train_classes: np.ndarray, test_texts: Sequence[Text], classes: int,
    analyse: Any, longest: int, characters: int,
) -> np.ndarray:  # fmt: skip
    """Class probabilities of the test texts, by logistic regression on weighted terms of 1 to `longest` words."""
    train_classes = np.asarray(train_classes)
    _paired(train_texts, train_classes.tolist())
    if not len(train_texts):
        raise UsageError(say("there are no training texts to learn from"))
    if train_classes.min() < 0 or train_classes.max() >= classes:
        raise UsageError(say("class numbers lie between 0 and {last}", last=classes - 1))
    shares = np.bincount(train_classes, minlength=classes) / len(train_classes)
    kept = drawn(_sizes(train_texts), characters)
    learnt = train_classes[kept]
    found = np.unique(learnt)
    terms = TERMS // (len(found) if len(found) > 2 else 1)
    known, asked = _weighted([train_texts[place] for place in kept], test_texts, analyse, longest, max(1, terms))
    if known is None or asked is None or len(found) < 2:
        return np.tile(shares, (len(test_texts), 1))
    from sklearn.linear_model import LogisticRegression

    iterations = int(np.clip(WORK / ((known.nnz + 10 * known.shape[1]) * len(found)), 20, 200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # stopped early on purpose; few examples a class
        model = LogisticRegression(C=STRENGTH, max_iter=iterations).fit(known, learnt)
    outputs = np.zeros((len(test_texts), classes))
    outputs[:, found] = model.predict_proba(asked)
    return outputs


def _weighted(
    train: Sequence[Text], test: Sequence[Text], analyse: Any, longest: int, terms: int = TERMS
) -> tuple["csr_matrix | None", "csr_matrix | None"]:
    """TF-IDF of both, learnt on the first; (None, None) where either has no text or the first no term."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not len(test):
        return None, None
    counted = TfidfVectorizer(
        preprocessor=lambda text: text, tokenizer=analyse, token_pattern=None, lowercase=False,
        ngram_range=(1, longest), sublinear_tf=True, max_features=terms,
    )  # fmt: skip
    try:
        known = counted.fit_transform(train)
    except ValueError:  # no text holds a word
        return None, None
    return known, counted.transform(test)
