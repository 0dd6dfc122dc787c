"""Writing notes as an ABC tune that every reader of the notation takes."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from netwright.data.music.keys import ACCIDENTALS
from netwright.data.music.notes import Note, Score, checked
from netwright.errors import DataError
from netwright.language import say

MOST_SLICES = 200_000
_UNIT = Fraction(1, 8)
_SHARP = ("C", "^C", "D", "^D", "E", "F", "^F", "G", "^G", "A", "^A", "B")
_SIGNS = {by: sign for sign, by in ACCIDENTALS.items()}
BARS_A_LINE = 4
_UNSAID = 9
"""In place of an accidental: a note tied over the bar may carry one, so the next note of its letter states its own."""


def write_abc(score: Score, number: int = 1) -> str:
    """A tune in C with explicit accidentals, one voice of the score after the other (`V:`), notes over bars tied.

    Notes that overlap are written as chords, each note tied as long as it sounds: reading the tune gives the same
    notes back. Errors: DataError for pitches or times that cannot be, or a duration that ABC has no number for.
    """
    beats = score.metre if score.metre[0] else (4, 4)
    bar = Fraction(*beats)
    title = " ".join("".join(sign if sign.isprintable() else " " for sign in score.title).split())
    lines = [f"X:{number}", f"T:{title or '-'}", f"M:{beats[0]}/{beats[1]}", "L:1/8"]
    lines += [f"Q:1/4={max(1, round(score.tempo))}", "K:C"]
    voices = [voice for voice in map(checked, score.voices) if voice]
    if not voices:
        raise DataError(say("there is no note to write"))
    for place, voice in enumerate(voices, 1):
        lines += [f"V:{place}"] if len(voices) > 1 else []
        bars = [*_bars(voice, bar)]
        for start in range(0, len(bars), BARS_A_LINE):
            lines.append("|".join(bars[start : start + BARS_A_LINE]) + "|")
        lines[-1] += "]"
    return "\n".join(lines) + "\n"


def _bars(voice: Sequence[Note], bar: Fraction) -> list[str]:
    """The bars of one voice as text."""
    end = max(note.start + note.duration for note in voice)
    edges = {Fraction(0), *(note.start for note in voice), *(note.start + note.duration for note in voice)}
    count = -(-end // bar)
    if count + len(edges) > MOST_SLICES:
        raise DataError(say("a voice of {bars} bars is too long to write", bars=int(count)))
    edges |= {bar * place for place in range(int(count) + 1)}
    times = sorted(time for time in edges if time <= end)
    found, text, altered = [], "", dict[int, int]()
    waiting, sounding = 0, list[Note]()
    for start, stop in pairwise(times):
        sounding = [note for note in sounding if note.start + note.duration > start]
        while waiting < len(voice) and voice[waiting].start == start:
            sounding.append(voice[waiting])
            waiting += 1
        text += _slice(sounding, stop, (stop - start) / _UNIT, altered)
        if stop % bar == 0 or stop == end:
            found.append(text)
            tied = (note.pitch for note in sounding if note.start + note.duration > stop)
            text, altered = "", {_plain(pitch): _UNSAID for pitch in tied if pitch != _plain(pitch)}
    return found


def _slice(sounding: list[Note], stop: Fraction, length: Fraction, altered: dict[int, int]) -> str:
    """What sounds between two edges: a rest, a note or a chord, each note tied that sounds on."""
    number = _number(length)
    if not sounding:
        return f"z{number}"
    lasting: dict[int, bool] = {}
    for note in sounding:
        lasting[note.pitch] = lasting.get(note.pitch, False) or note.start + note.duration > stop
    names = {pitch: _name(pitch, altered) for pitch in sorted(lasting)}
    if len(names) == 1:
        ((pitch, name),) = names.items()
        return f"{name}{number}{'-' if lasting[pitch] else ''}"
    return "[" + "".join(f"{name}{'-' * lasting[pitch]}" for pitch, name in names.items()) + f"]{number}"


def _name(pitch: int, altered: dict[int, int]) -> str:
    """A pitch as a letter: sharps always written, as not every reader carries them on, naturals where needed."""
    octave, step = divmod(pitch, 12)
    letter = _SHARP[step][-1]
    plain = _plain(pitch)
    by = pitch - plain
    sign = _SIGNS[by] if by or altered.get(plain, 0) else ""
    altered[plain] = by
    high = octave - 6  # the octave of C5, written as c
    return sign + (letter.lower() + "'" * high if high >= 0 else letter + "," * (-1 - high))


def _plain(pitch: int) -> int:
    """A pitch without its sharp."""
    return pitch - (len(_SHARP[pitch % 12]) - 1)


def _number(length: Fraction) -> str:
    """A length in units: nothing for 1, `3`, `/2`, `3/2`."""
    under = length.denominator
    while under % 2 == 0:
        under //= 2
    while under % 3 == 0:
        under //= 3
    if under != 1 or length.denominator > 768 or length.numerator > 9999:
        raise DataError(say("a duration of {length} eighths has no number in ABC", length=length))
    above = "" if length.numerator == 1 else str(length.numerator)
    return above if length.denominator == 1 else f"{above}/{length.denominator}"
