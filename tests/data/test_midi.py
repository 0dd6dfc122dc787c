"""MIDI files: bytes laid out by hand, round trips, and damaged files."""

import struct
from fractions import Fraction as F

import numpy as np
import pytest

from netwright.data.music.midi import read_midi, write_midi
from netwright.data.music.notes import Note, Score, held
from netwright.errors import DataError

SCALE = Score([[Note(F(0), F(1, 4), 60), Note(F(1, 4), F(1, 2), 62)]], "ab", (3, 4), 90)
TRACK = b"\x00\x90\x3c\x50\x83\x60\x80\x3c\x00\x00\x90\x3e\x50\x87\x40\x80\x3e\x00\x00\xff\x2f\x00"
OPENING = b"\x00\xff\x03\x02ab\x00\xff\x58\x04\x03\x02\x18\x08\x00\xff\x51\x03\x0a\x2c\x2b\x00\xff\x2f\x00"


def chunk(body: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(body)) + body


def file(*tracks: bytes, form: int = 1, division: int = 480) -> bytes:
    return b"MThd\0\0\0\x06" + struct.pack(">HHH", form, len(tracks), division) + b"".join(map(chunk, tracks))


def test_bytes_equal_hand_laid_ones():
    assert write_midi(SCALE) == file(OPENING, TRACK)


def test_reading_gives_the_score_back():
    found = read_midi(file(OPENING, TRACK))
    assert found.voices == SCALE.voices
    assert (found.title, found.metre) == ("ab", (3, 4))
    assert found.tempo == pytest.approx(90, rel=1e-5)


def test_running_status_zero_velocity_and_other_events_are_read():
    others, end = b"\x00\xf0\x02\x01\xf7\x00\xc0\x05", b"\x00\xe0\x00\x40\x00\xff\x2f\x00"
    track = others + b"\x00\x90\x3c\x50\x60\x3c\x00\x00\x3e\x01\x60\x3e\x00" + end
    found = read_midi(file(track, form=0, division=96))
    assert found.voices == [[Note(F(0), F(1, 4), 60), Note(F(1, 4), F(1, 4), 62)]]


def test_random_scores_come_back():
    draw = np.random.default_rng(0)
    for _ in range(50):
        voices = []
        for _ in range(int(draw.integers(1, 20))):
            steps = [set(draw.integers(0, 128, draw.integers(0, 4)).tolist()) for _ in range(12)]
            voices.append(held(steps, F(1, int(draw.choice([4, 8, 12, 16])))) or [Note(F(0), F(1), 0)])
        found = read_midi(write_midi(Score(voices)))
        assert found.voices == voices


def test_held_notes_are_one():
    found = held([{60, 64}, {60, 65}, set(), {60}], F(1, 8))
    assert found == [
        Note(F(0), F(1, 8), 64),
        Note(F(0), F(1, 4), 60),
        Note(F(1, 8), F(1, 8), 65),
        Note(F(3, 8), F(1, 8), 60),
    ]
    assert held([]) == held([set(), set()]) == []


def test_overlapping_notes_of_one_pitch_are_cut():
    voice = [Note(F(0), F(1), 60), Note(F(1, 4), F(1, 4), 60), Note(F(1, 2), F(1, 4), 61), Note(F(1, 2), F(1, 2), 61)]
    found = read_midi(write_midi(Score([voice]))).notes
    assert found == [Note(F(0), F(1, 4), 60), Note(F(1, 4), F(1, 4), 60), Note(F(1, 2), F(1, 2), 61)]


def test_times_between_ticks_are_rounded_and_no_note_vanishes():
    found = read_midi(write_midi(Score([[Note(F(1, 7), F(1, 100_000), 60)]]))).notes
    assert found[0].duration == F(1, 1920)
    assert abs(found[0].start - F(1, 7)) <= F(1, 3840)


def test_a_score_without_notes_and_odd_titles():
    assert read_midi(write_midi(Score([[]]))).voices == []
    assert read_midi(write_midi(Score([], "\ud800", (0, 1)))).title == "?"
    assert read_midi(write_midi(Score([], "茉莉花", (7, 8)))).metre == (7, 8)


@pytest.mark.parametrize(
    "note", [Note(F(0), F(1), 128), Note(F(0), F(1), -1), Note(F(0), F(0), 60), Note(F(-1), F(1), 60)]
)
def test_notes_that_cannot_be_are_refused(note):
    with pytest.raises(DataError, match="between 0 and 127"):
        write_midi(Score([[note]]))


def test_times_and_tempos_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="no room"):
        write_midi(Score([[Note(F(10**6), F(1), 60)]]))
    for tempo in (0, 1e9, float("nan")):
        with pytest.raises(DataError, match="between 1 and 6000"):
            write_midi(Score([[]], tempo=tempo))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "begins with"),
        (b"RIFF" + bytes(40), "begins with"),
        (file(TRACK, form=2), "format 2"),
        (file(TRACK, division=0), "division 0"),
        (file(TRACK, division=0xE728), "is not read"),
        (file(TRACK, TRACK, form=0), "2 tracks"),
        (file(OPENING, TRACK)[:-3], "longer than the file"),
        (file(OPENING, TRACK)[:50], "begins with MTrk"),
        (file(OPENING, TRACK) + b"x", "1 bytes behind"),
        (file(TRACK + b"\x00"), "nothing behind"),
        (file(TRACK[:-4]), "end mark"),
        (file(b"\x00\x90\x3c"), "within an event"),
        (file(b"\x00\x3c\x50"), "without its kind"),
        (file(b"\xff\xff\xff\xff\x7f\x90\x3c\x50"), "more than 4 bytes"),
        (file(b"\x00\x90\x3c\xd0\x00\xff\x2f\x00"), "above 127"),
        (file(b"\x00\x90\x3c\x50\x00\xff\x2f\x00"), "never ends"),
        (file(b"\x00\x90\x3c\x50\x01\x90\x3c\x50\x00\xff\x2f\x00"), "while it sounds"),
        (file(b"\x00\x80\x3c\x50\x00\xff\x2f\x00"), "did not sound"),
        (file(b"\x00\xf4\x00\xff\x2f\x00"), "no place"),
        (file(b"\x00\xff\x51\x02\x01\x01\x00\xff\x2f\x00"), "of a length"),
        (file(b"\x00\xff\x51\x03\x00\x00\x00\x00\xff\x2f\x00"), "of a length"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(raw, message):
    with pytest.raises(DataError, match=message):
        read_midi(raw)


def test_every_cut_and_flipped_byte_is_refused_or_read():
    raw = write_midi(SCALE)
    for end in range(len(raw)):
        with pytest.raises(DataError):
            read_midi(raw[:end])
    refused = 0
    for place in range(len(raw)):
        for bit in range(8):
            damaged = bytearray(raw)
            damaged[place] ^= 1 << bit
            try:
                read_midi(bytes(damaged))
            except DataError:
                refused += 1
    assert refused > 200
