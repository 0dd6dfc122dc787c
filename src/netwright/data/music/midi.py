"""Standard MIDI Files: a writer, and a small strict reader that checks what was written.

A file is a header chunk `MThd` (format 1, number of tracks, ticks a quarter) and track chunks `MTrk`; an event is the
ticks since the last one, as a number of 7-bit digits, and its bytes. Track 0 holds title, metre and tempo, each voice
has a track of its own. Source: Standard MIDI Files 1.0, MIDI Manufacturers Association 1996.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from netwright.data.music.notes import Note, Score, checked
from netwright.errors import DataError
from netwright.language import say

TICKS = 480
"""Ticks a quarter note: thirds, fifths and 32ths of a quarter are whole numbers of them."""
VELOCITY = 80
_LONGEST = 2**28 - 1
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}


def write_midi(score: Score) -> bytes:
    """The bytes of a MIDI file: format 1, note on and note off, no running status.

    Times are rounded to 1/480 of a quarter; a note lasts a tick at least. Where a voice holds the same pitch twice at
    once, the earlier note ends when the later one begins. Errors: DataError for pitches or times that cannot be.
    """
    if not 1 <= score.tempo <= 6000:
        raise DataError(say("a tempo of {tempo} quarters a minute; it lies between 1 and 6000", tempo=score.tempo))
    tracks = [_track(_opening(score)), *(_track(_sounds(voice, number)) for number, voice in enumerate(score.voices))]
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS) + b"".join(tracks)


def _opening(score: Score) -> list[tuple[int, bytes]]:
    """Title, metre and tempo, all at the beginning."""
    beats, beat = score.metre if score.metre[0] else (4, 4)
    title = score.title.encode("utf-8", "replace")[:1000]
    microseconds = round(60_000_000 / score.tempo)
    return [
        (0, b"\xff\x03" + _digits(len(title)) + title),
        (0, bytes([0xFF, 0x58, 4, min(beats, 255), beat.bit_length() - 1, 24, 8])),
        (0, b"\xff\x51\x03" + microseconds.to_bytes(3, "big")),
    ]


def _sounds(voice: Sequence[Note], number: int) -> list[tuple[int, bytes]]:
    """(tick, event) of every note's beginning and end; at one tick ends come first. Drums' channel 10 is left out."""
    channel = number % 15 + (number % 15 >= 9)
    ends: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int, int]] = []
    for note in checked(voice):
        start = round(note.start * 4 * TICKS)
        end = max(start + 1, round((note.start + note.duration) * 4 * TICKS))
        if note.pitch in ends and ends[note.pitch][0] > start:
            place = ends[note.pitch][1]
            if found[place][0] == start:  # the same note twice: the longer one sounds
                found[place] = (start, max(end, found[place][1]), note.pitch)
                ends[note.pitch] = (found[place][1], place)
                continue
            found[place] = (found[place][0], start, note.pitch)
        ends[note.pitch] = (end, len(found))
        found.append((start, end, note.pitch))
    events = [(start, 1, bytes([0x90 | channel, pitch, VELOCITY])) for start, _, pitch in found]
    events += [(end, 0, bytes([0x80 | channel, pitch, 0])) for _, end, pitch in found]
    return [(tick, event) for tick, _, event in sorted(events)]


def _track(events: list[tuple[int, bytes]]) -> bytes:
    parts, now = [], 0
    for tick, event in [*events, (events[-1][0] if events else 0, b"\xff\x2f\x00")]:
        parts += [_digits(tick - now), event]
        now = tick
    body = b"".join(parts)
    return b"MTrk" + struct.pack(">I", len(body)) + body


def _digits(number: int) -> bytes:
    """A number in groups of 7 bits, highest first; all bytes but the last have their top bit set."""
    if number > _LONGEST:
        raise DataError(say("a MIDI file has no room for a time of {ticks} ticks", ticks=number))
    found = [number & 0x7F]
    while number := number >> 7:
        found.append(number & 0x7F | 0x80)
    return bytes(reversed(found))


def read_midi(raw: bytes) -> Score:
    """The notes of a MIDI file of format 0 or 1, a voice for each track with notes.

    Errors: DataError with the byte where a chunk or event is not as the format asks, where a note begins twice or
    ends unbegun, and where one never ends.
    """
    if len(raw) < 14 or raw[:8] != b"MThd\0\0\0\x06":
        raise DataError(say("no MIDI file: it begins with {head!r}, not with MThd", head=raw[:8]))
    form, count, ticks = struct.unpack(">HHH", raw[8:14])
    if form > 1 or not count or not 0 < ticks < 0x8000 or (form == 0 and count != 1):
        raise DataError(
            say("a MIDI file of format {form}, {count} tracks and division {ticks} is not read", form=form, count=count,
                ticks=ticks)
        )  # fmt: skip
    place, state = 14, _State(ticks)
    for _ in range(count):
        if raw[place : place + 4] != b"MTrk" or len(raw) < place + 8:
            raise DataError(say("byte {place}: a track begins with MTrk", place=place))
        end = place + 8 + int.from_bytes(raw[place + 4 : place + 8], "big")
        if end > len(raw):
            raise DataError(say("byte {place}: a track that is longer than the file", place=place))
        state.track(raw[:end], place + 8)
        place = end
    if place != len(raw):
        raise DataError(say("byte {place}: {count} bytes behind the last track", place=place, count=len(raw) - place))
    return Score(state.voices, state.title, state.metre, state.tempo)


@dataclass
class _State:
    """What was found so far, and the place in the bytes."""

    ticks: int
    title: str = ""
    metre: tuple[int, int] = (4, 4)
    tempo: float = 120.0

    def __post_init__(self) -> None:
        self.voices: list[list[Note]] = []
        self.raw, self.place = b"", 0

    def track(self, raw: bytes, place: int) -> None:
        """Read the track that begins at `place` and ends with `raw`."""
        self.raw, self.place = raw, place
        now, status, ended = 0, 0, False
        notes: list[Note] = []
        sounding: dict[tuple[int, int], int] = {}
        while self.place < len(raw) and not ended:
            now += self._number()
            if self._peek() & 0x80:
                status = self._bytes(1)[0]
            elif not 0x80 <= status < 0xF0:
                raise self._wrong(say("an event without its kind"))
            if status == 0xFF:
                ended = self._said()
            elif status in (0xF0, 0xF7):
                self._bytes(self._number())
            elif status >= 0xF0:
                raise self._wrong(say("event {kind} has no place in a file", kind=status))
            else:
                self._event(status, now, sounding, notes)
        if not ended or self.place != len(raw):
            raise self._wrong(say("a track ends with its end mark, and with nothing behind it"))
        if sounding:
            raise self._wrong(say("a note that never ends"))
        if notes:
            self.voices.append(sorted(notes))

    def _event(self, status: int, now: int, sounding: dict[tuple[int, int], int], notes: list[Note]) -> None:
        data = self._bytes(_DATA_BYTES[status >> 4])
        if max(data) > 127:
            raise self._wrong(say("a data byte above 127"))
        key = (status & 15, data[0])
        if status >> 4 == 9 and data[1]:
            if key in sounding:
                raise self._wrong(say("note {pitch} begins while it sounds", pitch=data[0]))
            sounding[key] = now
        elif status >> 4 in (8, 9):
            start = sounding.pop(key, -1)
            if start < 0 or start == now:
                raise self._wrong(say("note {pitch} ends and did not sound", pitch=data[0]))
            whole = 4 * self.ticks
            notes.append(Note(Fraction(start, whole), Fraction(now - start, whole), data[0]))

    def _said(self) -> bool:
        """Take a meta event in; True for the end of the track."""
        kind = self._bytes(1)[0]
        data = self._bytes(self._number())
        if kind == 0x03 and not self.title:
            self.title = data.decode("utf-8", "replace")
        elif kind == 0x51 and len(data) == 3 and any(data):
            self.tempo = 60_000_000 / int.from_bytes(data, "big")
        elif kind == 0x58 and len(data) == 4 and data[0] and data[1] < 8:
            self.metre = (data[0], 2 ** data[1])
        elif kind in (0x51, 0x58) or (kind == 0x2F and data):
            raise self._wrong(say("event {kind} of a length that it does not have", kind=kind))
        return kind == 0x2F

    def _number(self) -> int:
        found = 0
        for _ in range(4):
            byte = self._bytes(1)[0]
            found = found << 7 | byte & 0x7F
            if byte < 0x80:
                return found
        raise self._wrong(say("a number of more than 4 bytes"))

    def _peek(self) -> int:
        return self.raw[self.place] if self.place < len(self.raw) else 0

    def _bytes(self, count: int) -> bytes:
        if self.place + count > len(self.raw):
            raise self._wrong(say("the track ends within an event"))
        self.place += count
        return self.raw[self.place - count : self.place]

    def _wrong(self, what: str) -> DataError:
        return DataError(say("byte {place}: {what}", place=self.place, what=what))
