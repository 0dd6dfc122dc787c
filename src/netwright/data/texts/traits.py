"""`Traits`: what stands beside a token's number: of words to be tagged what their letters tell, so that something is
known of words that training never saw; of the letters of names their neighbours."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
from jaxtyping import Int32

from netwright.data.texts.tokenizers.vocabulary import HALF, stored_words
from netwright.errors import DataError
from netwright.language import say

LONGEST = 40
"""Letters of a word whose form is told; what stands behind them is left out."""
TWICE = 2
"""A sign of a form stands so many times in a row at most."""


@lru_cache(100_000)
def form(word: str) -> str:
    """The form of a word: X for a capital, x for a small letter, c for one without case, d for a digit, other signs
    as they are; of more than two alike in a row two are left.

    `Netwright` and `Berlin` give `Xxx`, `B-52s` `X-ddx`, `@paulwalk` `@xx`, `12:30` `dd:dd`.
    """
    found: list[str] = []
    for sign in word[:LONGEST]:
        kind = "X" if sign.isupper() or sign.istitle() else "x" if sign.islower() else "c" if sign.isalpha() else sign
        kind = "d" if sign.isdigit() else kind
        if found[-TWICE:] != [kind] * TWICE:
            found.append(kind)
    return "".join(found)


def pairs(letters: Sequence[str]) -> list[str]:
    """Each letter behind the one before it; < stands before the first."""
    return [before + own for before, own in pairwise(["<", *letters])]


def triples(letters: Sequence[str]) -> list[str]:
    """Each letter between its neighbours; > stands behind the last."""
    return [pair + after for pair, after in zip(pairs(letters), [*letters, ">"][1:], strict=True)]


def _each(tell: Callable[[str], str]) -> Callable[[Sequence[str]], list[str]]:
    """What is told of each word by itself."""
    return lambda words: list(map(tell, words))


WORD_TRAITS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "lower case": _each(str.lower),
    "first letter": _each(lambda word: word[:1]),
    "first three": _each(lambda word: word[:3].lower()),
    "last three": _each(lambda word: word[-3:].lower()),
    "last two": _each(lambda word: word[-2:].lower()),
    "form": _each(form),
}
LETTER_TRAITS: dict[str, Callable[[Sequence[str]], list[str]]] = {"pair": pairs, "triple": triples}
TRAITS = WORD_TRAITS | LETTER_TRAITS
"""What is told of the tokens of a text, by name: a run stores the names, and numbers tokens in this order.

Chosen on the development part of WNUT-17 (entity F1, `tagger_crf`, 17 epochs): words by their number alone 0.044, with
these six 0.319 and 0.317 (2 seeds). In a study before it, best and last epoch: these added up 0.347, 0.323; side by
side, 16 numbers each, 0.254, 0.233; in place of them a convolution over letters 0.213, 0.164, an LSTM over letters
0.263, 0.248, hashed runs of 2 to 5 letters 0.245, 0.238; four more prefixes and suffixes 0.337, 0.312.
"""


@dataclass(frozen=True)
class Traits:
    """Tokens to numbers, one for each trait; learnt on the training texts alone.

    Formula: 0 is padding; each trait has numbers of its own: one for what training saw too seldom, then what it saw.

    Words have six: lower case, first letter, first three, last three and last two letters, and form. A word that
    training never saw has its ending, its capitals and its digits all the same; taggers of the time before networks
    looked at these (Ratnaparkhi 1996). The letters of a name have two, the runs of two and three letters they stand in.
    """

    known: dict[str, list[str]]
    """What each trait may be, by falling count."""

    def __len__(self) -> int:
        """How many numbers there are, padding included."""
        return 1 + sum(1 + len(values) for values in self.known.values())

    @property
    def inputs(self) -> dict[str, int]:
        """What a network has to know: how many numbers there are, and how many a word has."""
        return {"count": len(self), "each": len(self.known)}

    def encode(self, texts: Sequence[Sequence[str]]) -> Int32[np.ndarray, "tokens traits"]:
        """The numbers of the tokens of texts, one row each, the texts end to end."""
        rows = np.empty((sum(map(len, texts)), len(self.known)), np.int32)
        for column, (name, numbers) in enumerate(self._numbers.items()):
            told = chain.from_iterable(map(TRAITS[name], texts))
            rows[:, column] = [numbers.get(value, self._unseen[column]) for value in told]
        return rows

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-able data."""
        return {name: list(values) for name, values in self.known.items()}

    @classmethod
    def from_state(cls, state: Any) -> "Traits":
        """The inverse of `.state()`. Errors: DataError when it is damaged."""
        try:
            if not isinstance(state, Mapping) or not state or set(state) - set(TRAITS):
                raise ValueError("traits")
            return cls({name: stored_words(state, name) for name in state})
        except (ValueError, TypeError, KeyError):
            raise DataError(say("the stored text encoder is damaged or of another version")) from None

    @cached_property
    def _unseen(self) -> list[int]:
        """The number of what training saw too seldom, for each trait: those of its values follow."""
        sizes = [1 + len(values) for values in self.known.values()]
        return [1, *(1 + sum(sizes[:place]) for place in range(1, len(sizes)))]

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        return {
            name: {value: number for number, value in enumerate(values, first + 1)}
            for (name, values), first in zip(self.known.items(), self._unseen, strict=True)
        }


def learn_traits(texts: Sequence[Sequence[str]], names: Iterable[str], *, least: int, most: int) -> Traits:
    """These traits of training texts: what occurs `least` times, of each trait at most the `most` frequent ones."""
    known: dict[str, list[str]] = {}
    for name in names:
        counts = Counter(chain.from_iterable(map(TRAITS[name], texts)))
        often = [value for value, count in counts.items() if count >= least and not HALF(value)]
        known[name] = sorted(often, key=lambda value: (-counts[value], value))[:most]
    return Traits(known)
