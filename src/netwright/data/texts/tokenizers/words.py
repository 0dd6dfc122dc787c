"""`WordTokenizer`: words, numbers, signs of punctuation and Chinese characters as tokens."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from itertools import chain, repeat
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64

from netwright.data.texts.tokenizers.joining import joined
from netwright.data.texts.tokenizers.signs import CHARACTERS, marks
from netwright.data.texts.tokenizers.vocabulary import Text, ranked, stored_switch, stored_words, texts_of
from netwright.errors import MissingError
from netwright.language import say
from netwright.parts.sequences import FIRST, UNKNOWN

ELISIONS = "[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|dell|nell|dall|sull|all|un|quest"
"""French and Italian words that lose their last vowel before another: l'homme is l' and homme."""
ENDINGS = "s|t|d|m|ll|re|ve"
"""English endings behind an apostrophe, which stay with their word."""


@dataclass(frozen=True)
class WordTokenizer:
    """A number a word of any script.

    Words keep their apostrophes (don't is one token), French and Italian elisions stand alone (l' homme). Numbers stay
    whole with points, commas and colons inside (1,000.5 and 12:30), and so do U.S. and e.g.; a hyphen parts words.
    Other signs are one token each, repeated ones up to three together. Chinese, Japanese, Thai, Lao, Burmese and Khmer
    characters are one token each, or words of Chinese are found by jieba. An emoji with its modifiers is one token.
    Spaces are no tokens; decoding puts usual ones back. Of a text that is divided already every token counts as it is.
    """

    vocabulary: list[str]
    lowercase: bool = False
    jieba: bool = False
    kind: ClassVar[str] = "word"

    def __len__(self) -> int:
        return len(self.vocabulary) + FIRST

    def split(self, text: Text) -> list[str]:
        """The tokens as they are looked up."""
        if isinstance(text, tuple):
            return [part.lower() for part in text] if self.lowercase else list(text)
        seen = text.lower() if self.lowercase else text
        return _by_jieba(seen) if self.jieba else split_words(seen)

    def encode(self, text: Text) -> list[int]:
        """The number of each token, unknown ones as 1."""
        return list(map(self._numbers.get, self.split(text), repeat(UNKNOWN)))

    def encode_many(self, texts: Sequence[Text]) -> tuple[Int64[np.ndarray, "tokens"], Int64[np.ndarray, "texts"]]:
        """The numbers of all texts end to end, and how many each has."""
        parts = [self.encode(text) for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        return np.fromiter(chain.from_iterable(parts), np.int64, int(lengths.sum())), lengths

    def decode(self, numbers: Iterable[int]) -> str:
        """The words with spaces between them, punctuation put back, Chinese without spaces."""
        return joined(texts_of(numbers, self.vocabulary))

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-able data."""
        switches = {"lowercase": self.lowercase, "jieba": self.jieba}
        return {"kind": self.kind, **switches, "vocabulary": list(self.vocabulary)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "WordTokenizer":
        """The inverse of `.state()`. Errors: KeyError, ValueError when it is damaged; MissingError without jieba."""
        switches = [stored_switch(state, name) for name in ("lowercase", "jieba")]
        if switches[1]:
            _jieba()
        return cls(stored_words(state, "vocabulary"), *switches)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.vocabulary, FIRST)}


def learn_words(
    texts: Sequence[Text],
    *,
    most: int = 0,
    least: int = 1,
    small: int = 0,
    lowercase: bool = False,
    jieba: bool = False,
) -> WordTokenizer:
    """The words of training texts that are worth a number, as `ranked` chooses them."""
    blank = WordTokenizer([], lowercase, jieba)
    counts = Counter(chain.from_iterable(map(blank.split, texts)))
    return WordTokenizer(ranked(counts, most=most, least=least, small=small), lowercase, jieba)


def split_words(text: str) -> list[str]:
    """The words, numbers and signs of a text, in order; spaces are left out."""
    return _pattern().findall(text)


@cache
def _pattern() -> re.Pattern[str]:
    letter, mark = rf"[^\W_{CHARACTERS}]", f"[{marks()}]"
    run = f"{letter}++(?:{mark}++{letter}*+)*+"
    ways = [
        f"[{CHARACTERS}]{mark}*",
        r"\d++(?:[.,:]\d++)++",
        rf"(?:[^\W\d_{CHARACTERS}]\.){{2,}}",
        f"(?i:{ELISIONS})['’](?={letter})(?!(?i:{ENDINGS})\\b)",
        f"{run}(?:['’]{run})*+",
        f"['’](?i:{ENDINGS})\\b",
        *(f"{re.escape(sign)}{{1,3}}" for sign in ".!?-_*=~"),
        "[\U0001f1e6-\U0001f1ff]{2}",
        rf"[^\w\s](?:\u200d[^\w\s]|{mark})*",
    ]
    return re.compile("|".join(ways))


@cache
def _jieba() -> Callable[[str], list[str]]:
    """Chinese to its words, by jieba; its dictionary is read anew, as its cache is a file that anyone may write."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            jieba = import_module("jieba")
        except ImportError:
            text = say("data.words = {words!r} needs the package jieba, which is not installed.", words="jieba")
            raise MissingError(text + "\n" + say("Install it: pip install 'netwright[text]'")) from None
        finder = jieba.Tokenizer()
        finder.FREQ, finder.total = finder.gen_pfdict(finder.get_dict_file())
        finder.initialized = True
    cut: Callable[[str], list[str]] = finder.lcut
    return cut


_HAN = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+)")


def _by_jieba(text: str) -> list[str]:
    """Runs of Chinese by jieba, what stands between them as always."""
    cut = _jieba()
    parts = _HAN.split(text)
    found = [(cut if place % 2 else split_words)(part) for place, part in enumerate(parts)]
    return list(chain.from_iterable(found))
