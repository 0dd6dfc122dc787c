"""Metrics of texts by their differences: edits, and texts that are the same."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from netwright.catalogue import METRICS
from netwright.parts.metrics.checking import PerExample, Sums, Texts, paired_texts, ratio


def edits(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How many items must be put in, taken out or replaced to turn one sequence into the other (Levenshtein 1966).

    Formula: d(i, j) = min(d(i-1, j) + 1, d(i, j-1) + 1, d(i-1, j-1) + [a(i) != b(j)])

    A column of that table is held as two whole numbers, a bit a row: where it rises and where it falls by 1 (Myers
    1999, J. ACM 46:395, in the form of Hyyro 2003). So ten thousand words against ten thousand take well below a
    second.
    """
    if not first or not second:
        return len(first) or len(second)
    at = _places(first)
    every, top = (1 << len(first)) - 1, 1 << (len(first) - 1)
    rises, falls, distance = every, 0, len(first)
    for item in second:
        same = at.get(item, 0)
        flat = (((same & rises) + rises) ^ rises) | same | falls
        up, down = falls | (every & ~(flat | rises)), rises & flat
        distance += bool(up & top) - bool(down & top)
        up = (up << 1) | 1
        rises = ((down << 1) | ~(flat | up)) & every
        falls = flat & up & every
    return distance


def longest_common(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How many items the longest common subsequence has: in both in that order, with gaps.

    Formula: l(i, j) = l(i-1, j-1) + 1 if a(i) = b(j) else max(l(i-1, j), l(i, j-1))

    A column is one whole number, a zero bit where it rises (Hyyro 2004, Australasian Workshop on Combinatorial
    Algorithms).
    """
    at = _places(first)
    every = level = (1 << len(first)) - 1
    for item in second:
        rising = level & at.get(item, 0)
        level = ((level + rising) | (level - rising)) & every
    return len(first) - level.bit_count()


def _places(items: Sequence[Hashable]) -> dict[Hashable, int]:
    """For every item a number whose bits say where it stands."""
    where: dict[Hashable, list[int]] = {}
    for place, item in enumerate(items):
        where.setdefault(item, []).append(place)
    found = {}
    for item, places in where.items():
        bits = bytearray(places[-1] // 8 + 1)  # `|= 1 << place` would copy the whole number for every item
        for place in places:
            bits[place >> 3] |= 1 << (place & 7)
        found[item] = int.from_bytes(bits, "little")
    return found


def plain(text: str) -> str:
    """A text with one blank wherever white space stands, and none at its ends."""
    return " ".join(text.split())


def _word_errors(truth: Texts, predictions: Texts) -> Float[np.ndarray, "examples 2"]:
    """Each example's edits in words, and its true words."""
    pairs = [(true.split(), said.split()) for true, said in paired_texts(truth, predictions)]
    return _errors(pairs)


def _character_errors(truth: Texts, predictions: Texts) -> Float[np.ndarray, "examples 2"]:
    """Each example's edits in characters, and its true characters."""
    return _errors([(plain(true), plain(said)) for true, said in paired_texts(truth, predictions)])


def _errors(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Float[np.ndarray, "examples 2"]:
    found = [(edits(true, said), len(true)) for true, said in pairs]
    return np.asarray(found, dtype=np.float64).reshape(len(found), 2)


def _rate(sums: Float[np.ndarray, "*sets 2"]) -> Float[np.ndarray, "*sets"]:
    return ratio(sums[..., 0], sums[..., 1])


WORD_ERRORS = Sums(_word_errors, _rate)
CHARACTER_ERRORS = Sums(_character_errors, _rate)


@METRICS.add(
    task="transcribe",
    better="lower",
    interval="bootstrap of examples; without an error the Wilson score of none among the words",
    source="Levenshtein 1966, Soviet Physics Doklady 10:707; NIST sclite",
)
def word_error_rate(truth: Texts, predictions: Texts) -> float | None:
    """How many words were put in, left out or replaced, for every true word; above 1 where much was invented.

    Formula: sum(fewest edits between true and predicted words) / sum(true words)

    Words stand between white space and count as they are written: case and punctuation matter, and a Chinese text
    without blanks is one word (`character_error_rate` suits it). None where no true text has a word.
    """
    return WORD_ERRORS.measure(truth, predictions)


@METRICS.add(
    task="transcribe",
    better="lower",
    interval="bootstrap of examples; without an error the Wilson score of none among the characters",
    source="Levenshtein 1966, Soviet Physics Doklady 10:707",
)
def character_error_rate(truth: Texts, predictions: Texts) -> float | None:
    """How many characters were put in, left out or replaced, for every true character.

    Formula: sum(fewest edits between true and predicted characters) / sum(true characters)

    Characters are Unicode code points; runs of white space count as one blank, at the ends as nothing. None where all
    true texts are empty.
    """
    return CHARACTER_ERRORS.measure(truth, predictions)


def same_texts(truth: Texts, predictions: Texts) -> PerExample:
    """1 for every text that was given exactly, else 0."""
    pairs = paired_texts(truth, predictions)
    return np.array([plain(true) == plain(said) for true, said in pairs], dtype=np.float64)


@METRICS.add(
    task=("translate", "transcribe"),
    better="higher",
    interval="Wilson score",
    source="Fleiss 1981, Statistical Methods for Rates and Proportions",
)
def exact_match(truth: Texts, predictions: Texts) -> float | None:
    """The share of texts that were given exactly.

    Formula: sum(prediction = truth) / n

    Differs: white space is compared as one blank, for tokens do not keep it; case and punctuation count, other than in
    the score of that name for SQuAD.
    """
    found = same_texts(truth, predictions)
    return float(found.mean()) if len(found) else None
