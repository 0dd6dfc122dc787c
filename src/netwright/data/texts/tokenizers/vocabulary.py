"""The numbers that every tokeniser shares, and what all of them can do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Int64

from netwright.errors import DataError
from netwright.language import say
from netwright.parts.sequences import FIRST, UNKNOWN

UNKNOWN_SIGN = "\ufffd"
"""What an unknown token is written as."""

HALF = re.compile("[\ud800-\udfff]").search
"""Half of a UTF-16 pair: no character, and no file of UTF-8 can hold it."""

Text = str | tuple[str, ...]
"""A text, or one that is divided into tokens already."""


class Tokenizer(Protocol):
    """Texts to numbers and back; `len` counts all numbers, padding and marks included."""

    kind: ClassVar[str]

    @property
    def lowercase(self) -> bool: ...

    def __len__(self) -> int: ...

    def split(self, text: Text) -> list[str]:
        """The tokens of a text as they are looked up, one for each number of `encode`."""
        ...

    def encode(self, text: Text) -> list[int]: ...

    def encode_many(self, texts: Sequence[Text]) -> tuple[Int64[np.ndarray, "tokens"], Int64[np.ndarray, "texts"]]:
        """The numbers of all texts end to end, and how many each has."""
        ...

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers; padding, end and start are left out. Errors: DataError for no token's number."""
        ...

    def state(self) -> dict[str, Any]: ...


def ranked(counts: Mapping[str, int], *, most: int, least: int, small: int) -> list[str]:
    """The tokens worth a number, by falling count, equal counts by their text; all numbers together are at most `most`
    (0: any). `least` 0 means 2 where there are more than `small` tokens and one occurs twice, else 1. Errors: DataError
    where none is left.
    """
    total = sum(counts.values())
    fewest = least or (2 if total > small and max(counts.values()) > 1 else 1)
    often = [token for token, count in counts.items() if count >= fewest and not HALF(token)]
    kept = sorted(often, key=lambda token: (-counts[token], token))
    if not kept:
        if not counts:
            raise DataError(say("the training texts hold no token"))
        text = say("no token of the training texts occurs {least} times; the most frequent one does {count} times",
                   least=fewest, count=max(counts.values()))  # fmt: skip
        raise DataError(text)
    return kept[: most - FIRST] if most else kept


def texts_of(numbers: Iterable[int], vocabulary: Sequence[str]) -> list[str]:
    """What numbers stand for, marks left out. Errors: DataError for a number that no token has."""
    found, size = [], len(vocabulary) + FIRST
    for number in numbers:
        if not 0 <= number < size:
            text = say("{number} is no token's number; they lie between 0 and {last}", number=number, last=size - 1)
            raise DataError(text)
        if number >= FIRST:
            found.append(vocabulary[int(number) - FIRST])
        elif number == UNKNOWN:
            found.append(UNKNOWN_SIGN)
    return found


def stored_words(state: Mapping[str, Any], name: str) -> list[str]:
    """A list of different strings out of a stored state. Errors: ValueError, KeyError where it is none."""
    found = state[name]
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found) or len(set(found)) != len(found):
        raise ValueError(name)
    return list(found)


def stored_switch(state: Mapping[str, Any], name: str) -> bool:
    """True or false out of a stored state. Errors: ValueError, KeyError where it is neither."""
    if not isinstance(state[name], bool):
        raise ValueError(name)
    return bool(state[name])
