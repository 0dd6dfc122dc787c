"""A note as every music format here gives and takes it, and what a score says beside its notes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, combinations, groupby, islice

from netwright.errors import DataError
from netwright.language import say

QUARTER = Fraction(1, 4)
LOWEST, HIGHEST = 0, 127
MOST_CHOICES = 500
"""Ways to share out notes among voices that are compared."""


@dataclass(frozen=True, order=True)
class Note:
    """One sounding note. Times count in whole notes from the beginning, so a quarter is 1/4."""

    start: Fraction
    duration: Fraction
    pitch: int
    """MIDI number: 60 is the middle C, a semitone is 1."""


@dataclass(frozen=True)
class Score:
    """The notes of a piece by voice, and how it counts."""

    voices: list[list[Note]]
    title: str = ""
    metre: tuple[int, int] = (4, 4)
    tempo: float = 120.0
    """Quarter notes a minute."""
    notes: list[Note] = field(init=False, repr=False, compare=False)
    """All notes in order of start, duration and pitch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", sorted(note for voice in self.voices for note in voice))


def held(steps: Sequence[Iterable[int]], step: Fraction = QUARTER) -> list[Note]:
    """The notes of chords of equal length: a pitch that stands in neighbouring chords is one longer note.

    A piano roll does not say whether a note was struck again; it counts as held.
    """
    found: list[Note] = []
    since: dict[int, int] = {}
    for place, chord in enumerate([*(set(chord) for chord in steps), set()]):
        for pitch in sorted(since.keys() - chord):
            begun = since.pop(pitch)
            found.append(Note(begun * step, (place - begun) * step, pitch))
        for pitch in chord - since.keys():
            since[pitch] = place
    return sorted(found)


def parted(notes: Iterable[Note]) -> list[list[Note]]:
    """The notes in as few voices as sound at once, none of them with two notes at a time, the highest first.

    Notes that begin together go to free voices without crossing, where they move least from what those sounded last.
    """
    waiting = sorted(notes, key=lambda note: (note.start, -note.pitch))
    voices: list[list[Note]] = [[] for _ in range(_most_at_once(waiting))]
    for start, together in groupby(waiting, key=lambda note: note.start):
        new = list(together)
        free = [voice for voice in voices if not voice or voice[-1].start + voice[-1].duration <= start]
        choices = [*islice(combinations(free, len(new)), MOST_CHOICES)]
        moved = [_moved(choice, new) for choice in choices]
        for voice, note in zip(choices[moved.index(min(moved))], new, strict=True):
            voice.append(note)
    return voices


def _most_at_once(notes: Iterable[Note]) -> int:
    """How many notes sound at the fullest time."""
    changes = sorted(change for note in notes for change in ((note.start, 1), (note.start + note.duration, -1)))
    return max(accumulate((by for _, by in changes), initial=0))


def _moved(voices: Sequence[list[Note]], notes: Sequence[Note]) -> int:
    """By how many semitones voices move in all to sound these notes; an empty one moves by an octave."""
    pairs = zip(voices, notes, strict=True)
    return sum(abs(voice[-1].pitch - note.pitch) if voice else 12 for voice, note in pairs)


def checked(notes: Iterable[Note]) -> list[Note]:
    """The notes in order of time. Errors: DataError for a pitch, a start or a duration that cannot be."""
    ordered = sorted(notes)
    for note in ordered:
        if not (LOWEST <= note.pitch <= HIGHEST and note.duration > 0 and note.start >= 0):
            text = say("pitch {pitch} at {start} for {duration}: pitches lie between 0 and 127, durations above 0",
                       pitch=note.pitch, start=note.start, duration=note.duration)  # fmt: skip
            raise DataError(text)
    return ordered
