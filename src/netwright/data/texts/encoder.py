"""`TextEncoder`: texts to the token numbers a network reads, its tokens learnt on the training texts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
import torch

from netwright.catalogue import Range, check_settings, settings_of
from netwright.data.source import Problem, Texts
from netwright.data.texts.tokenizers import (
    UNKNOWN_SIGN,
    Text,
    Tokenizer,
    is_unspaced,
    learn_byte_pairs,
    learn_characters,
    learn_words,
    tokenizer_from,
)
from netwright.data.texts.traits import LETTER_TRAITS, WORD_TRAITS, Traits, learn_traits
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.parts.sequences import END, START, UNKNOWN, Ragged, Sequences

Tokens = Literal["auto", "character", "word", "bpe"]

SMALL = 10_000
"""Training tokens up to which a token that occurs once is worth a number of its own."""
SMALL_TAGGED = 1000
"""The same for words to be tagged: only words that occur once teach what to make of an unknown word. Entity F1 on the
development part of WNUT-17 after 400 training sentences: 0.193 and 0.216 (2 seeds); all words known: 0.191, 0.138."""
SHORT = 40
"""Up to so many characters a text is a name."""
JUDGED = ("classify", "regress", "auto", "")
"""Tasks that judge whole texts; what is not decided yet can become no other."""
MANY_WORDS = 100_000
"""Training words from which pairs of texts are worth pieces of words."""
MOST_WORDS, MOST_PIECES = 30_000, 8_000
"""The largest vocabulary that is chosen unasked; characters are all kept."""


@dataclass(frozen=True)
class TextEncoder:
    """Texts to token numbers: 0 padding, 1 unknown, 2 end, 3 start, then the vocabulary.

    Its state is JSON, travels inside the run, and gives any later text the same numbers. Nothing about a text changes
    in silence: no Unicode normalisation; lower case and the longest length are part of the state.
    """

    tokenizer: Tokenizer
    steps: int
    """The longest training text in tokens, after cutting, end and start marks not counted."""
    length: int = 0
    """How many tokens of a text are read, its beginning; 0: all of them."""
    problems: list[Problem] = field(default_factory=list, compare=False)
    traits: Traits | None = None
    """What the letters of words to be tagged tell, and the neighbours of the letters of names."""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the network reads; `vocabulary` counts all numbers, padding and marks included."""
        tokenizer = self.tokenizer
        traits = {} if self.traits is None else {"traits": self.traits.inputs}
        return {"kind": "text", "tokens": tokenizer.kind, "vocabulary": len(tokenizer), "steps": self.steps, **traits}

    def ragged(self, texts: Texts, *, start: bool = False, end: bool = False) -> Ragged:
        """The numbers of all texts end to end, int64; `start` and `end` put that mark around each, beyond `length`.

        A text without a token, and without marks, becomes one unknown token, so that every length is at least 1.
        Words to be tagged, and letters of names, have their traits beside them. Errors: DataError where an example is
        no text.
        """
        found = self._numbered(texts, start, end)
        if self.traits is None or start or end:
            return found
        rows = self.traits.encode([self.tokens(text) for text in texts.texts])
        return Ragged(found.flat, found.starts, torch.from_numpy(rows))

    def _numbered(self, texts: Texts, start: bool, end: bool) -> Ragged:
        """The token numbers alone."""
        flat, lengths = self.tokenizer.encode_many(_checked(texts))
        kept = np.minimum(lengths, self.length) if self.length else lengths
        whole = np.maximum(kept, 1) if not (start or end) else kept + start + end
        starts = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(whole, out=starts[1:])
        if np.array_equal(whole, lengths):
            return Ragged(torch.from_numpy(flat), starts)
        numbers = np.full(starts[-1], UNKNOWN, np.int64)
        came = np.cumsum(lengths) - lengths
        within = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
        numbers[np.repeat(starts[:-1] + start, kept) + within] = flat[np.repeat(came, kept) + within]
        if start:
            numbers[starts[:-1]] = START
        if end:
            numbers[starts[1:] - 1] = END
        return Ragged(torch.from_numpy(numbers), starts)

    def encode(self, texts: Texts) -> Sequences:
        """The same as one padded batch."""
        return self.ragged(texts).padded()

    def tokens(self, text: Text) -> list[str]:
        """What each number of this text stands for, as it stands in the text: for showing."""
        found = self.tokenizer.split(_checked(Texts([text]))[0])
        return (found[: self.length] if self.length else found) or [UNKNOWN_SIGN]

    def remarks(self, texts: Texts) -> list[Problem]:
        """Texts that are longer than what is read, and tokens that training never saw."""
        known = _checked(texts)
        flat, lengths = self.tokenizer.encode_many(known)
        found = _cut(lengths, self.length)
        unknown = flat == UNKNOWN
        if unknown.any():
            place = int(np.searchsorted(np.cumsum(lengths), int(np.argmax(unknown)), side="right"))
            inside = int(np.argmax(unknown)) - int(lengths[:place].sum())
            token, count = self.tokenizer.split(known[place])[inside], int(unknown.sum())
            share = f"{count / len(flat):.1%}"
            what = say("{count} of {total} tokens ({share}) are not in the vocabulary, such as {token!r}",
                       count=f"{count:,}", total=f"{len(flat):,}", share=share, token=token[:40])  # fmt: skip
            found.append(Problem(say("tokens"), what, say("read as the unknown token")))
        return found

    def state(self) -> dict[str, Any]:
        """Everything `ragged` needs, as JSON-able data."""
        traits = {} if self.traits is None else {"traits": self.traits.state()}
        tokenizer = self.tokenizer.state()
        return {"kind": "text", "steps": self.steps, "length": self.length, "tokenizer": tokenizer, **traits}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TextEncoder":
        """The encoder that `state` describes (the inverse of `.state()`). Errors: DataError when it is damaged."""
        try:
            steps, length, tokenizer = state["steps"], state["length"], state["tokenizer"]
        except (KeyError, TypeError, IndexError):
            steps = length = tokenizer = None
        if type(steps) is not int or type(length) is not int or steps < 1 or length < 0 or (length and steps > length):
            raise DataError(say("the stored text encoder is damaged or of another version"))
        traits = Traits.from_state(state["traits"]) if "traits" in state else None
        return cls(tokenizer_from(tokenizer), steps, length, traits=traits)


def fit_texts(
    texts: Texts,
    task: str = "classify",
    *,
    tokens: Tokens = "auto",
    vocabulary: Annotated[int, Range(0, 1_000_000)] = 0,
    lowercase: bool | Literal["auto"] = "auto",
    least: Annotated[int, Range(0, 1_000_000)] = 0,
    length: Annotated[int, Range(0, 10_000_000)] = 0,
    words: Literal["plain", "jieba"] = "plain",
) -> TextEncoder:
    """Learn the tokens of training texts; what is `auto` or 0 is chosen by the texts and the task.

    Formula: tokens are numbered from 4 by falling count, equal counts by their text; merged pieces as learnt.

    texts: the training texts, str or tuple of str; task: as `Source.task` names it, or `classify`.
    tokens: `character`, `word`, `bpe` (pieces of words by byte-pair encoding). Chosen: characters to generate, for
        Chinese, Japanese and Thai, and for names of one word; bpe to translate 100,000 words or more; else words. Texts
        that are divided already keep their own tokens.
    vocabulary: the most numbers, the four special ones included; chosen: all characters, 30,000 words, 8,000 pieces.
    lowercase: chosen: no; the case of a word tells spam from talk, and names from words.
    least: tokens seen fewer times are unknown; for bpe this is about characters. Chosen: 2 where there are more than
        10,000 tokens (1,000 words to be tagged) and nothing is generated, so that the unknown token is trained too;
        else 1.
    length: the most tokens of a text that are read, its beginning; what is cut is reported. Chosen: the longest text,
        or 4 times the length that 99 % of texts keep to where few are far longer (never to generate, tag, transcribe).
    words: how words of Chinese are found: `plain` takes each character for one, `jieba` asks that package.

    Errors: DataError without texts or tokens; UsageError where settings do not fit; MissingError without jieba.
    """
    given = {"tokens": tokens, "vocabulary": vocabulary, "lowercase": lowercase, "least": least, "length": length}
    check_settings(settings_of(fit_texts), {**given, "words": words}, "data")
    known = _checked(texts)
    if not known:
        raise DataError(say("there are no training texts to learn the tokens from"))
    if 0 < vocabulary < 5:
        text = say("data.vocabulary = {count} leaves no token: the first four are padding and marks.", count=vocabulary)
        raise UsageError(f"{text} {say('It is 0 (chosen) or at least 5.')}")
    kind = _kind(known, task, tokens, words)
    lower = lowercase is True
    fewest = least or (1 if task == "generate" else 0)
    tokenizer: Tokenizer
    if kind == "character":
        tokenizer = learn_characters(known, most=vocabulary, least=fewest, small=SMALL, lowercase=lower)
    elif kind == "word":
        most, small = vocabulary or MOST_WORDS, SMALL_TAGGED if task == "tag" else SMALL
        tokenizer = learn_words(known, most=most, least=fewest, small=small, lowercase=lower, jieba=words == "jieba")
    else:
        most = vocabulary or MOST_PIECES
        tokenizer = learn_byte_pairs(known, most=most, least=fewest, small=SMALL, lowercase=lower)
    found = _measured(tokenizer, known, task, int(length))
    return replace(found, traits=_traits(found, known, task, fewest, vocabulary or MOST_WORDS))


def _traits(found: TextEncoder, known: list[Text], task: str, least: int, most: int) -> Traits | None:
    """What is told beside the numbers of words to be tagged and of letters of names; None of all else.

    Traits have to be as frequent as tokens have to be, and are at most as many.
    """
    kind = found.tokenizer.kind
    if task == "tag" and kind == "word":
        names, small = WORD_TRAITS, SMALL_TAGGED
    elif task in JUDGED and kind == "character" and found.steps <= SHORT:
        names, small = LETTER_TRAITS, SMALL
    else:
        return None
    texts = [found.tokens(text) for text in known]
    return learn_traits(texts, names, least=least or (2 if sum(map(len, texts)) > small else 1), most=most)


def _measured(tokenizer: Tokenizer, known: list[Text], task: str, length: int) -> TextEncoder:
    """The encoder with the length that is read, and how many training texts it cuts."""
    lengths = tokenizer.encode_many(known)[1]
    longest = max(1, int(lengths.max()))
    if not length and task not in ("generate", "tag", "transcribe"):
        usual = 4 * int(np.percentile(lengths, 99, method="lower"))
        length = usual if 0 < usual < longest else 0
    return TextEncoder(tokenizer, min(longest, length or longest), length, _cut(lengths, length))


def _kind(known: list[Text], task: str, tokens: str, words: str) -> str:
    """Which tokens suit; refused where the caller's do not fit the texts."""
    divided = not _prose(known)
    if divided and tokens == "bpe":
        text = say("data.tokens = {tokens!r}: the data divide these texts into tokens already.", tokens=tokens)
        raise UsageError(f"{text} {say('It is auto, word or character.')}")
    if words == "jieba" and (divided or tokens not in ("auto", "word")):
        text = say("data.words = {words!r} finds the words of undivided Chinese texts.", words=words)
        other = say("data.tokens = {tokens!r} takes none", tokens=tokens)
        way = say("the data divide these already") if divided else other
        raise UsageError(f"{text} {way}")
    if tokens != "auto":
        return tokens
    if words == "jieba":
        return "word"
    if divided:
        parts = list(chain.from_iterable(text for text in known if isinstance(text, tuple)))
        return "character" if sum(len(part) == 1 for part in parts) > 0.98 * len(parts) else "word"
    return _suiting([text for text in known if isinstance(text, str)], task)


def _suiting(known: list[str], task: str) -> str:
    """Which tokens suit undivided texts."""
    if task == "generate":
        return "character"
    sample = "".join(known[:: max(1, len(known) // 5000)])[:200_000]
    if sum(map(is_unspaced, sample)) > 0.5 * sum(map(str.isalpha, sample)):
        return "character"
    count = sum(len(text.split()) for text in known)
    if task == "translate" and count >= MANY_WORDS:
        return "bpe"
    return "character" if count <= 1.5 * len(known) and task != "tag" else "word"


def _prose(known: Sequence[Text]) -> bool:
    """Whether texts are undivided, most of them at least."""
    return 2 * sum(isinstance(text, str) for text in known) > len(known)


def _cut(lengths: np.ndarray, length: int) -> list[Problem]:
    """How many texts are longer than what is read."""
    count = int((lengths > length).sum()) if length else 0
    if not count:
        return []
    what = say("{count} of {total} texts are longer than {length} tokens, the longest has {longest}",
               count=f"{count:,}", total=f"{len(lengths):,}", length=f"{length:,}",
               longest=f"{int(lengths.max()):,}")  # fmt: skip
    return [Problem(say("texts"), what, say("their beginning is read; data.length=NUMBER decides"))]


def _checked(texts: Texts) -> list[Text]:
    """The texts, each a str or a tuple of str; anything else is refused with its place."""
    for place, text in enumerate(texts.texts):
        if not isinstance(text, str) and not (isinstance(text, tuple) and all(isinstance(part, str) for part in text)):
            raise DataError(
                say("text {place} is {kind}; a text is a string, or a tuple of strings where it is divided already",
                    place=place, kind=type(text).__name__)
            )  # fmt: skip
    return texts.texts
