"""A sampled piece of music as files: MIDI to hear it, ABC to read it."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from netwright.data.music.abc import parse
from netwright.data.music.abc_writing import write_abc
from netwright.data.music.chords import steps_of
from netwright.data.music.midi import write_midi
from netwright.data.music.notes import Score, held, parted
from netwright.data.music.tunes import Tune
from netwright.errors import DataError

_BAR_END = re.compile(r"\|[\]|:]*\s*(?:\"[^\"\n]*\"|[^|\n])*\Z")
_TEMPO = re.compile(r"(?:(1)\s*/\s*(\d{1,2})\s*=\s*)?(\d{1,3})")


def written(text: str, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a sampled piece by their ending: `.mid`, and `.abc` as UTF-8.

    `text` is what the network wrote: a tune in ABC, or the tokens of chords; `facts` are those of its data, which say
    which of both and how long a step is. A tune that breaks off within a bar is cut behind its last whole one.
    Errors: DataError where the sample is no music, with the place.
    """
    if facts.get("music") == "abc":
        tune_text = whole_bars(text)
        score = score_of(parse(tune_text))
        return {".mid": write_midi(score), ".abc": tune_text.encode()}
    score = Score(parted(held(steps_of(text), Fraction(str(facts.get("step", "1/4"))))))
    return {".abc": write_abc(score).encode(), ".mid": write_midi(score)}


def whole_bars(text: str) -> str:
    """A tune that parses: `text` itself, or what stands before its last, unfinished bar; else `text` unchanged."""
    if _parses(text):
        return text
    found = _BAR_END.search(text)
    cut = text[: found.start()] + "|]\n" if found else text
    return cut if found and _parses(cut) else text


def score_of(tune: Tune) -> Score:
    """The score of a tune as it is written: repeats are not played out."""
    tempo = _TEMPO.search(tune.fields.get("Q", ""))
    quarters = 120.0
    if tempo:
        beat = Fraction(1, int(tempo[2])) if tempo[1] and int(tempo[2]) else Fraction(1, 4)
        quarters = min(max(float(int(tempo[3]) * beat * 4), 1.0), 1000.0)
    return Score([notes for notes in tune.voices.values() if notes], tune.fields.get("T", ""), tune.metre, quarters)


def _parses(text: str) -> bool:
    try:
        parse(text)
    except DataError:
        return False
    return True
