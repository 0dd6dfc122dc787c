"""Chords over time (a piano roll) as tokens that a language model reads, and back.

A step is written as its pitches from the highest to the lowest (soprano to bass), then the step mark `|`; a step in
which nothing sounds is the mark alone. So a model's probabilities of a step's tokens multiply to the probability of
the whole chord given all chords before it, over all its voices jointly: the sum of their -ln p, the mark's included, is
the NLL of the step; an end mark behind the last step is part of none. Two voices in unison are one pitch. No
transposition is done: neither are pieces moved to one key, nor are moved copies added.
"""

from collections.abc import Iterable, Sequence

from netwright.data.music.notes import HIGHEST, LOWEST
from netwright.errors import DataError
from netwright.language import say

STEP = "|"
"""The token that ends a step."""
SILENT = -1
"""What some files write for a voice that rests."""
MOST_NOTES = 64
"""Notes that a step may hold."""


def tokens_of(steps: Iterable[Iterable[int]]) -> tuple[str, ...]:
    """The tokens of a piece: of each step its pitches, falling, and the step mark."""
    found: list[str] = []
    for step in steps:
        found += [str(pitch) for pitch in sorted(set(step), reverse=True)]
        found.append(STEP)
    return tuple(found)


def steps_of(tokens: str | Sequence[str]) -> list[tuple[int, ...]]:
    """The steps that tokens (or a text of them, with blanks between) tell, each with rising pitches.

    What a sampled piece may hold is taken as it sounds: pitches in any order or twice; an unfinished last step is
    left out. Errors: DataError for a token that is neither a pitch from 0 to 127 nor the mark.
    """
    found: list[tuple[int, ...]] = []
    chord: set[int] = set()
    for place, token in enumerate(tokens.replace(STEP, f" {STEP} ").split() if isinstance(tokens, str) else tokens, 1):
        if token == STEP:
            found.append(tuple(sorted(chord)))
            chord = set()
        elif token.isascii() and token.isdigit() and len(token) <= 3 and LOWEST <= int(token) <= HIGHEST:
            chord.add(int(token))
        else:
            text = say("token {place}: {token!r} is neither a pitch from 0 to 127 nor the step mark {mark!r}",
                       place=place, token=token[:20], mark=STEP)  # fmt: skip
            raise DataError(text)
    return found


def piece(steps: object, where: str) -> list[tuple[int, ...]]:
    """The steps of one piece as a file gives them: lists of pitches, -1 for a voice that rests.

    Errors: DataError with the place of what is no pitch, no step, or too much.
    """
    if not isinstance(steps, list):
        raise DataError(say("{where}: a piece is a list of steps; here is {kind}", where=where, kind=kind_of(steps)))
    found = []
    for number, step in enumerate(steps):
        place = f"{where}[{number}]"
        if not isinstance(step, list):
            raise DataError(
                say("{where}: a step is a list of pitches; here is {kind}", where=place, kind=kind_of(step))
            )
        if len(step) > MOST_NOTES:
            raise DataError(
                say("{where}: a step of {count} notes; at most {most}", where=place, count=len(step), most=MOST_NOTES)
            )
        for pitch in step:
            if type(pitch) is not int or not (LOWEST <= pitch <= HIGHEST or pitch == SILENT):
                shown = repr(pitch)[:20] if isinstance(pitch, (int, float, str)) else kind_of(pitch)
                raise DataError(say("{where}: {pitch} is no pitch from 0 to 127", where=place, pitch=shown))
        found.append(tuple(sorted(set(step) - {SILENT})))
    return found


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: say("an object"), list: say("a list"), str: say("a text"), bool: say("true or false")}
    return say("nothing (null)") if value is None else kinds.get(type(value), say("a number"))
