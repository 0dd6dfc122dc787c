"""`CharacterTokenizer`: every character a token, by looking code points up in one array."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt32

from netwright.data.texts.tokenizers.vocabulary import Text, ranked, stored_switch, stored_words, texts_of
from netwright.parts.sequences import FIRST, UNKNOWN

SURROGATES = slice(0xD800, 0xE000)
"""Halves of UTF-16 pairs, which alone are no characters and so never get a number."""


@dataclass(frozen=True)
class CharacterTokenizer:
    """A number a character (Unicode code point), line ends and blanks included; decoding is exact.

    Of a text that is divided already each token has one number, whatever its length.
    """

    vocabulary: list[str]
    lowercase: bool = False
    kind: ClassVar[str] = "character"

    def __len__(self) -> int:
        return len(self.vocabulary) + FIRST

    def split(self, text: Text) -> list[str]:
        """The characters as they are looked up."""
        if isinstance(text, tuple):
            return [part.lower() for part in text] if self.lowercase else list(text)
        return list(text.lower() if self.lowercase else text)

    def encode(self, text: Text) -> list[int]:
        """The number of each character, unknown ones as 1."""
        return [self._numbers.get(part, UNKNOWN) for part in self.split(text)]

    def encode_many(self, texts: Sequence[Text]) -> tuple[Int64[np.ndarray, "tokens"], Int64[np.ndarray, "texts"]]:
        """The numbers of all texts end to end, and how many each has."""
        whole = [text.lower() if self.lowercase else text for text in texts if isinstance(text, str)]
        if len(whole) < len(texts):
            parts = [self.encode(text) for text in texts]
            lengths = np.fromiter(map(len, parts), np.int64, len(parts))
            return np.fromiter((number for part in parts for number in part), np.int64, int(lengths.sum())), lengths
        lengths = np.fromiter(map(len, whole), np.int64, len(whole))
        places = code_points("".join(whole))
        return self._table[np.minimum(places, len(self._table) - 1)], lengths

    def decode(self, numbers: Iterable[int]) -> str:
        """The text, exactly; an unknown character is written as U+FFFD."""
        return "".join(texts_of(numbers, self.vocabulary))

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-able data."""
        return {"kind": self.kind, "lowercase": self.lowercase, "vocabulary": list(self.vocabulary)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "CharacterTokenizer":
        """The inverse of `.state()`. Errors: KeyError, ValueError when it is damaged."""
        return cls(stored_words(state, "vocabulary"), stored_switch(state, "lowercase"))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary, FIRST)}

    @cached_property
    def _table(self) -> Int64[np.ndarray, "codes"]:
        """The number of each code point, and behind the last known one that of all others."""
        known = {ord(token): number for token, number in self._numbers.items() if len(token) == 1}
        table = np.full(max(known, default=0) + 2, UNKNOWN, np.int64)
        table[list(known)] = list(known.values())
        return table


def learn_characters(
    texts: Sequence[Text], *, most: int = 0, least: int = 1, small: int = 0, lowercase: bool = False
) -> CharacterTokenizer:
    """The characters of training texts that are worth a number, as `ranked` chooses them."""
    whole = [text.lower() if lowercase else text for text in texts if isinstance(text, str)]
    counts = count_characters(whole)
    for text in texts:
        if isinstance(text, tuple):
            counts.update(part.lower() if lowercase else part for part in text)
    return CharacterTokenizer(ranked(counts, most=most, least=least, small=small), lowercase)


def count_characters(texts: Sequence[str]) -> Counter[str]:
    """How often each character occurs, halves of pairs left out."""
    totals = np.zeros(0x110000, np.int64)
    joined = "".join(texts)
    for first in range(0, len(joined), 2**22):
        found = np.bincount(code_points(joined[first : first + 2**22]))
        totals[: len(found)] += found
    totals[SURROGATES] = 0
    return Counter({chr(place): int(totals[place]) for place in np.flatnonzero(totals)})


def code_points(text: str) -> UInt32[np.ndarray, "characters"]:
    """The Unicode number of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
