"""Translation word for word: what a dictionary learnt from the pairs alone reaches, without any order or context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from netwright.errors import UsageError
from netwright.language import say
from netwright.report.baselines.texts import Text, drawn, joined, words

CELLS = 8_000_000
"""Source words times target words, summed over the training pairs, at most: about 15 s of five rounds."""
LONGEST = 100
"""Words of a source and of a target that are looked at."""


@dataclass(frozen=True)
class Dictionary:
    """The most likely target word of each source word (in lower case)."""

    words: dict[str, str]

    @classmethod
    def fit(cls, pairs: Sequence[tuple[Text, Text]], rounds: int = 5) -> Self:
        """IBM model 1 by expectation and maximisation, from equal probabilities on.

        Formula: t(f | e) is proportional to the sum over pairs of t(f | e) / (the sum of t(f | e') over the source
        words e' of the pair and an empty word), times how often e and f stand in the pair. The likelihood never
        falls. Words translate words and marks of punctuation marks: else a full stop, which stands in nearly every
        target, would take the place of each article. Of equally likely words the one seen first is taken.
        Source: Brown et al. 1993, The mathematics of statistical machine translation, section 4.
        """
        sources, source_names = _numbered([["", *words(source, marks=True)[:LONGEST]] for source, _ in pairs])
        targets, target_names = _numbered([words(target, lower=False, marks=True)[:LONGEST] for _, target in pairs])
        source, target, place = _cells(sources, targets)
        alike = _alike(source_names, target_names, source, target)
        source, target, place = source[alike], target[alike], place[alike]
        known, cell = np.unique(source * len(target_names) + target, return_inverse=True)
        of_source, of_target = np.divmod(known, max(1, len(target_names)))
        likely = np.ones(len(known))
        for _ in range(rounds):
            weight = likely[cell]
            weight = weight / np.bincount(place, weight)[place]
            counted = np.bincount(cell, weight, len(known)).astype(np.float64)
            likely = counted / np.bincount(of_source, counted)[of_source]
        order = np.lexsort((of_target, -likely, of_source))
        first = order[np.unique(of_source[order], return_index=True)[1]]
        best = zip(of_source[first].tolist(), of_target[first].tolist(), strict=True)
        return cls({source_names[e]: target_names[f] for e, f in best if source_names[e]})

    def translate(self, source: Text) -> str:
        """Each word by its translation; one that the dictionary lacks stays as it is."""
        given = words(source, lower=False, marks=True)
        return joined(tuple(self.words.get(word.lower(), word) for word in given))


def word_for_word(train_pairs: Sequence[tuple[Text, Text]], test_sources: Sequence[Text]) -> list[str]:
    """Each source word by its most likely target word (IBM model 1, five rounds), in the order of the source.

    A Chinese character counts as a word, punctuation marks too. Where the pairs exceed the budget, it learns from a
    part of them.
    """
    if not train_pairs:
        raise UsageError(say("there are no training pairs to learn from"))
    sizes = [
        (len(words(source, marks=True)[:LONGEST]) + 1) * len(words(target, marks=True)[:LONGEST])
        for source, target in train_pairs
    ]
    kept = drawn(np.array(sizes, np.int64), CELLS)
    dictionary = Dictionary.fit([train_pairs[place] for place in kept])
    return [dictionary.translate(source) for source in test_sources]


def _numbered(texts: list[list[str]]) -> tuple[list[np.ndarray], list[str]]:
    """The words of each text by number, and the words in the order of their numbers: of first appearance."""
    numbers: dict[str, int] = {}
    found = [np.array([numbers.setdefault(word, len(numbers)) for word in text], np.int64) for text in texts]
    return found, list(numbers)


def _cells(sources: list[np.ndarray], targets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every source word beside every target word of its pair: both numbers, and which target word of all it is."""
    source = np.concatenate([np.tile(e, len(f)) for e, f in zip(sources, targets, strict=True)])
    target = np.concatenate([np.repeat(f, len(e)) for e, f in zip(sources, targets, strict=True)])
    lengths = np.repeat([len(e) for e in sources], [len(f) for f in targets])
    return source, target, np.repeat(np.arange(len(lengths)), lengths)


def _alike(source_names: list[str], target_names: list[str], source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which cells hold two words or two marks; the empty word goes with both."""
    kind = np.array([2 if not name else any(map(str.isalnum, name)) for name in source_names], np.int64)[source]
    return (kind == 2) | (kind == np.array([any(map(str.isalnum, name)) for name in target_names], np.int64)[target])
