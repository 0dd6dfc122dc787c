"""`BytePairTokenizer`: pieces of words, learnt by merging the pair that occurs most often, again and again."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from heapq import heapify, heappop, heappush
from itertools import chain, pairwise
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64

from netwright.data.texts.tokenizers.characters import count_characters
from netwright.data.texts.tokenizers.signs import CHARACTERS, marks
from netwright.data.texts.tokenizers.vocabulary import Text, ranked, stored_switch, stored_words, texts_of
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.sequences import FIRST, UNKNOWN

LONGEST = 40
"""Characters of a stretch inside which pieces are merged; a longer one is cut, so that no text takes long."""
CACHED = 100_000
"""Stretches whose pieces are remembered."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class BytePairTokenizer:
    """A number a piece of a word.

    Merges never cross a space, which belongs to the piece behind it, so that decoding gives back the text exactly and
    piece by piece. Chinese, Japanese and Thai go by character, digits by three at most. A character that training did
    not see is one unknown token: there are no pieces of single bytes.

    Differs: the merges of Sennrich et al. join characters, not bytes; a tie goes to the pair whose text comes first.
    """

    characters: list[str]
    merges: list[Pair]
    """What is joined, in order."""
    lowercase: bool = False
    kind: ClassVar[str] = "bpe"

    def __len__(self) -> int:
        return len(self._vocabulary) + FIRST

    def split(self, text: Text) -> list[str]:
        """The pieces, whose texts together are the text."""
        return list(chain.from_iterable(self._divided(stretch)[0] for stretch in stretches(self._seen(text))))

    def encode(self, text: Text) -> list[int]:
        """The number of each piece, a character that is unknown as 1."""
        return list(chain.from_iterable(self._divided(stretch)[1] for stretch in stretches(self._seen(text))))

    def encode_many(self, texts: Sequence[Text]) -> tuple[Int64[np.ndarray, "tokens"], Int64[np.ndarray, "texts"]]:
        """The numbers of all texts end to end, and how many each has."""
        parts = [self.encode(text) for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        return np.fromiter(chain.from_iterable(parts), np.int64, int(lengths.sum())), lengths

    def decode(self, numbers: Iterable[int]) -> str:
        """The text, exactly; an unknown character is written as U+FFFD."""
        return "".join(texts_of(numbers, self._vocabulary))

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-able data."""
        merges = [list(pair) for pair in self.merges]
        return {"kind": self.kind, "lowercase": self.lowercase, "characters": list(self.characters), "merges": merges}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "BytePairTokenizer":
        """The inverse of `.state()`. Errors: KeyError, TypeError, ValueError when it is damaged."""
        characters = stored_words(state, "characters")
        known, merges = set(characters), []
        for pair in state["merges"]:
            left, right = pair
            if not isinstance(pair, list) or left not in known or right not in known:
                raise ValueError("merges")
            known.add(left + right)
            merges.append((left, right))
        if any(len(character) != 1 for character in characters) or len(set(merges)) != len(merges):
            raise ValueError("characters")
        return cls(characters, merges, stored_switch(state, "lowercase"))

    def _seen(self, text: Text) -> str:
        if isinstance(text, tuple):
            said = say("data.tokens = {tokens!r}: the data divide these texts into tokens already.", tokens=self.kind)
            raise UsageError(f"{said} {say('It is auto, word or character.')}")
        return text.lower() if self.lowercase else text

    def _divided(self, stretch: str) -> tuple[list[str], list[int]]:
        """The pieces of a stretch and their numbers, out of the cache where they are there."""
        found = self._cache.get(stretch)
        if found is None:
            pieces = merged(stretch, self._ranks)
            found = pieces, [self._numbers.get(piece, UNKNOWN) for piece in pieces]
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[stretch] = found
        return found

    @cached_property
    def _vocabulary(self) -> list[str]:
        """Characters, then each merged piece once."""
        return list(dict.fromkeys((*self.characters, *(left + right for left, right in self.merges))))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self._vocabulary, FIRST)}

    @cached_property
    def _ranks(self) -> dict[Pair, int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @cached_property
    def _cache(self) -> dict[str, tuple[list[str], list[int]]]:
        return {}


def learn_byte_pairs(
    texts: Sequence[Text], *, most: int, least: int = 1, small: int = 0, lowercase: bool = False
) -> BytePairTokenizer:
    """The characters of training texts, as `ranked` chooses them, and the merges that fill up `most` numbers.

    Formula: count every pair of neighbours in all stretches, join the most frequent one, count again; stop at `most`
    numbers or where no pair occurs twice. Counts are kept and corrected only where a merge changed something.
    """
    blank = BytePairTokenizer([], [], lowercase)
    whole = [blank._seen(text) for text in texts]
    characters = ranked(count_characters(whole), most=most, least=least, small=small)
    counts = Counter(chain.from_iterable(map(stretches, whole)))
    known, words = set(characters), Counter[str]()
    for stretch, count in counts.items():
        for word in _known_parts(stretch, known):
            words[word] += count
    room = most - FIRST - len(characters) if most else sys.maxsize
    return BytePairTokenizer(characters, learn_merges(words, room), lowercase)


def learn_merges(words: Mapping[str, int], room: int) -> list[Pair]:
    """The merges over words with their counts, until `room` new pieces are there or no pair occurs twice."""
    symbols, weights = [list(word) for word in words], list(words.values())
    counts, places = Counter[Pair](), defaultdict[Pair, set[int]](set)
    for place, parts in enumerate(symbols):
        for pair in pairwise(parts):
            counts[pair] += weights[place]
            places[pair].add(place)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    merges: dict[Pair, None] = {}
    pieces = {part for parts in symbols for part in parts}
    while room > 0 and heap:
        count, pair = heappop(heap)
        if -count != counts[pair]:  # it shrank since it was pushed: back with its count of now
            if counts[pair] > 0:
                heappush(heap, (-counts[pair], pair))
            continue
        if -count < 2:
            break
        merges[pair] = None  # known already where another merge made the same piece: it keeps its place
        room -= "".join(pair) not in pieces
        pieces.add("".join(pair))
        grown = set[Pair]()
        for place in places.pop(pair):
            grown |= _merge_one(pair, symbols, place, weights[place], counts, places)
        for other in grown:
            heappush(heap, (-counts[other], other))
    return list(merges)


def _merge_one(
    pair: Pair, symbols: list[list[str]], place: int, weight: int, counts: Counter[Pair], places: dict[Pair, set[int]]
) -> set[Pair]:
    """Join `pair` in one word, correct all counts, and return the pairs that are new there."""
    old = symbols[place]
    new = symbols[place] = _joined(old, pair)
    if len(new) == len(old):
        return set()
    for other in pairwise(old):
        counts[other] -= weight
    for other in pairwise(new):
        counts[other] += weight
        places[other].add(place)
    return set(pairwise(new)) - set(pairwise(old))


def _joined(parts: list[str], pair: Pair) -> list[str]:
    """The parts with every `pair` joined, from the left."""
    found, place, last = [], 0, len(parts) - 1
    left, right = pair
    while place <= last:
        if place < last and parts[place] == left and parts[place + 1] == right:
            found.append(left + right)
            place += 2
        else:
            found.append(parts[place])
            place += 1
    return found


def merged(stretch: str, ranks: Mapping[Pair, int]) -> list[str]:
    """The pieces of a stretch: always the earliest merge that applies, everywhere it does, until none is left."""
    parts, none = list(stretch), len(ranks)
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: ranks.get(pair, none))
        if best not in ranks:
            break
        parts = _joined(parts, best)
    return parts


def stretches(text: str) -> list[str]:
    """A text cut where no merge may join: each stretch is a word, a number or signs with the space before it."""
    found = _pattern().findall(text)
    if max(map(len, found), default=0) <= LONGEST:
        return found
    return [part[first : first + LONGEST] for part in found for first in range(0, len(part), LONGEST)]


@cache
def _pattern() -> re.Pattern[str]:
    letter, mark = rf"[^\W\d_{CHARACTERS}]", f"[{marks()}]"
    ways = [
        f" ?{letter}++(?:{mark}++{letter}*+)*+",
        r" ?\d{1,3}",
        f"[{CHARACTERS}]",
        rf" ?(?:(?![{CHARACTERS}])[^\w\s]|_)+",
        r"[\s\S]",
    ]
    return re.compile("|".join(ways))


def _known_parts(stretch: str, known: set[str]) -> list[str]:
    """A stretch without its unknown characters, as the parts between them."""
    return "".join(sign if sign in known else "\0" for sign in stretch).split("\0")
