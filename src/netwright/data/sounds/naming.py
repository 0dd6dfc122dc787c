"""What the names of files say: `7_jackson_32.wav` by the pattern `{label}_{speaker}_{n}`, and choices among them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netwright.errors import DataError, UsageError, hint
from netwright.language import say

SEPARATORS = "_-"
FIELD_LIMIT = 16
ENOUGH = 0.9
"""The share of names that must have one number of fields for a pattern to be seen in them."""
_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Pattern:
    """A pattern of file names and the expression that reads it."""

    text: str
    fields: tuple[str, ...]
    expression: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> "Pattern":
        """`{label}_{speaker}_{n}`: fields in braces with text between them; a field holds nothing of that text's
        first character. With `/` it is held against the whole path, else against the name without its ending.

        Errors: UsageError naming what is wrong.
        """
        parts = _FIELD.split(text)
        fields, between = tuple(parts[1::2]), parts[::2]
        wrong = next((field for field in fields if not field.isidentifier()), None)
        if not fields or len(fields) > FIELD_LIMIT or any("{" in part or "}" in part for part in between):
            raise UsageError(
                say("data.label = {text!r}; a pattern of names such as {example!r} is needed", text=text, example=FSDD)
            )
        if wrong is not None:
            raise UsageError(say("data.label: {name!r} is no name for a field; letters, digits and _ are", name=wrong))
        twice = [field for field, count in Counter(fields).items() if count > 1]
        if twice:
            raise UsageError(say("data.label: the field {name!r} stands there twice", name=twice[0]))
        if "" in between[1:-1]:
            place = between[1:-1].index("")
            text = say("data.label: nothing stands between {first!r} and {second!r}, so they cannot be told apart",
                       first=fields[place], second=fields[place + 1])  # fmt: skip
            raise UsageError(text)
        pieces = [re.escape(between[0])]
        for field, after in zip(fields, between[1:], strict=True):
            # Fields never hold the character that ends them, so a name is read in one pass, however long it is.
            stop = "".join(re.escape(sign) for sign in {after[:1], "/"} if sign)
            pieces += [f"(?P<{field}>[^{stop}]+)", re.escape(after)]
        return cls(text, fields, re.compile("".join(pieces)))

    def read(self, name: str) -> dict[str, str] | None:
        """The fields of a file's name (posix path), or None where it does not fit."""
        stem = name.rpartition(".")[0]
        stem = stem if "/" in self.text else stem.rpartition("/")[2]
        found = self.expression.fullmatch(stem)
        return found.groupdict() if found else None


FSDD = "{label}_{speaker}_{n}"
"""How the names of the Free Spoken Digit Dataset are made: `7_jackson_32.wav`."""


def guessed(names: Sequence[str]) -> Pattern | None:
    """The pattern of names that nearly all have one number of fields, two at least, apart by `_` or by `-`.

    The first is the label. Of three, the last of which is a number everywhere, the second is the speaker and the last
    is `n`; of two the last is `n` where it is a number; others are called `field2`, `field3` ...
    """
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in names]
    for separator in SEPARATORS:
        counts = Counter(stem.count(separator) + 1 for stem in stems if all(stem.split(separator)))
        if not counts:
            continue
        fields, many = counts.most_common(1)[0]
        if not 2 <= fields <= FIELD_LIMIT or many < ENOUGH * len(stems):
            continue
        last = [stem.rpartition(separator)[2] for stem in stems if stem.count(separator) + 1 == fields]
        found = ["label", *(f"field{number}" for number in range(2, fields + 1))]
        if all(word.isdecimal() and word.isascii() for word in last):
            found[-1] = "n"
            if fields == 3:
                found[1] = "speaker"
        return Pattern.of(separator.join(f"{{{field}}}" for field in found))
    return None


def chosen(fields: Mapping[str, Sequence[str]], wanted: str) -> np.ndarray:
    """Which examples a setting such as `n=0-4` or `n=0-4; speaker=theo,lucas` names (bool, one an example).

    `FIELD=VALUES`, several of them apart by `;` must all hold; values stand apart by commas, and `a-b` of whole
    numbers is a range. Errors: UsageError for what is no such choice, DataError where it names nothing.
    """
    holds: np.ndarray | None = None
    for part in wanted.split(";"):
        field, sign, values = (piece.strip() for piece in part.partition("="))
        if not sign or not field or not values:
            raise UsageError(say("data.test_fields = {text!r}; it has the form n=0-4", text=wanted))
        if field not in fields:
            text = say("data.test_fields: the recordings have no field {name!r}.", name=field)
            raise UsageError(f"{text} {hint(field, fields)}")
        words = [word.strip() for word in values.split(",")]
        fits = _tests(words)
        here = np.array([fits(value) for value in fields[field]], bool)
        holds = here if holds is None else holds & here
    assert holds is not None
    if not holds.any() or holds.all():
        text = (
            say("data.test_fields = {text!r} names none of the recordings", text=wanted)
            if not holds.any()
            else say("data.test_fields = {text!r} names all of the recordings; none is left to train on", text=wanted)
        )
        raise DataError(text)
    return holds


class _tests:
    """Whether a value is one of some words, or lies in one of the ranges among them."""

    def __init__(self, words: Sequence[str]) -> None:
        ranges = [re.fullmatch(r"([0-9]{1,18})\s*-\s*([0-9]{1,18})", word) for word in words]
        self.words = {word for word, span in zip(words, ranges, strict=True) if span is None}
        self.ranges = [(int(span[1]), int(span[2])) for span in ranges if span is not None]

    def __call__(self, value: str) -> bool:
        if value in self.words:
            return True
        number = int(value) if value.isdecimal() and value.isascii() and len(value) <= 18 else None
        same = number is not None and any(w.isdecimal() and w.isascii() and int(w) == number for w in self.words)
        return same or (number is not None and any(low <= number <= high for low, high in self.ranges))
