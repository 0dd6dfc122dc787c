"""What a tune in ABC says once it is read, and the error of one that cannot be."""

from dataclasses import dataclass, field
from fractions import Fraction

from netwright.data.music.notes import Note
from netwright.errors import DataError
from netwright.language import say


class AbcError(DataError):
    """What is wrong in a tune, with line and column counted from 1."""

    def __init__(self, line: int, column: int, what: str) -> None:
        super().__init__(say("line {line}, column {column}: {what}", line=line, column=column, what=what))
        self.line, self.column = line, column


@dataclass(frozen=True)
class Bar:
    """One bar as it was written: its length and what the metre asks, in whole notes."""

    line: int
    length: Fraction
    expected: Fraction
    at_edge: bool
    """Whether it opens or closes the tune, a repeat, an ending or a part: there it may be shorter than the metre."""

    @property
    def adds_up(self) -> bool:
        """Whether it is as long as the metre asks; at an edge it may be shorter (an upbeat and what completes it)."""
        return not self.expected or self.length == self.expected or (self.at_edge and self.length < self.expected)


@dataclass
class Tune:
    """What a tune says: its header, notes by voice, and bars."""

    fields: dict[str, str] = field(default_factory=dict)
    """The first value of each header field by its letter."""
    metre: tuple[int, int] = (0, 1)
    """Of the first bar; (0, 1) where it is free."""
    voices: dict[str, list[Note]] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    chords: list[tuple[Fraction, str]] = field(default_factory=list)
    """Chord symbols and annotations with their times."""
    loose_ties: int = 0
    """Ties that lead to no note of the same pitch: they are played as slurs."""

    @property
    def notes(self) -> list[Note]:
        """All notes in order of start, duration and pitch."""
        return sorted(note for notes in self.voices.values() for note in notes)

    @property
    def full_bars(self) -> float:
        """The share of bars that add up; 1 for a tune without bars."""
        return sum(bar.adds_up for bar in self.bars) / len(self.bars) if self.bars else 1.0


@dataclass
class Voice:
    """Where one voice stands."""

    time: Fraction = Fraction(0)
    bar_start: Fraction = Fraction(0)
    opened: bool = True
    """Whether the bar begins at an edge."""
    altered: dict[int, int] = field(default_factory=dict)
    """Accidentals of this bar, by the pitch without any."""
    tied: dict[int, int] = field(default_factory=dict)
    """Notes that go on, by pitch: their places in the list of notes."""
    plain: dict[int, int] = field(default_factory=dict)
    """The pitch without accidentals that each pitch was written as."""
    last: list[int] = field(default_factory=list)
    """Places of the notes of the last note or chord; empty after a rest."""
    last_length: Fraction = Fraction(0)
    factor: Fraction = Fraction(1)
    """What broken rhythm does to the next note; 1 for nothing."""
    tuplet: list[tuple[Fraction, int]] = field(default_factory=list)
    """The running tuplet: its factor and how many notes are left in it."""
    notes: list[Note] = field(default_factory=list)
