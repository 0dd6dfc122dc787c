"""ABC that is written reads back to the same notes, and samples become files."""

from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest

from netwright.data.music.abc import parse
from netwright.data.music.abc_writing import write_abc
from netwright.data.music.chords import tokens_of
from netwright.data.music.midi import read_midi
from netwright.data.music.notes import Note, Score, held, parted
from netwright.data.music.writing import score_of, whole_bars, written
from netwright.errors import DataError

TUNE = "X:1\nT:Two bars\nM:2/4\nL:1/8\nQ:1/8=120\nK:G\nGABc|dF"


def test_a_scale_as_it_should_look():
    notes = [
        Note(F(0), F(1, 4), 60),
        Note(F(1, 4), F(3, 8), 61),
        Note(F(3, 4), F(1, 2), 73),
        Note(F(5, 4), F(1, 16), 47),
    ]
    found = write_abc(Score([notes], "a\nb%c", (3, 4), 90), 7)
    assert found == "X:7\nT:a b%c\nM:3/4\nL:1/8\nQ:1/4=90\nK:C\nC2^C3z|^c4B,,/2|]\n"
    assert parse(found).notes == notes


def test_random_voices_come_back():
    draw = np.random.default_rng(1)
    for _ in range(60):
        voices, lengths = [], [F(1, 4), F(1, 8), F(1, 12), F(3, 16), F(1, 32)]
        for _ in range(int(draw.integers(1, 4))):
            steps = [set(draw.integers(48, 72, draw.integers(0, 5)).tolist()) for _ in range(10)]
            voices.append(held(steps, lengths[int(draw.integers(5))]) or [Note(F(0), F(1), 60)])
        metre = [(4, 4), (3, 4), (6, 8), (5, 8), (0, 1)][int(draw.integers(5))]
        text = write_abc(Score(voices, "", metre))
        found = parse(text)
        assert [*found.voices.values()] == voices
        assert found.full_bars == 1
        assert found.loose_ties == 0


def test_an_accidental_tied_over_the_bar_does_not_touch_its_neighbour():
    notes = [Note(F(0), F(3, 2), 66), Note(F(1), F(1, 4), 65), Note(F(3, 2), F(1, 4), 65)]
    assert parse(write_abc(Score([notes]))).notes == sorted(notes)


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ([], "no note"),
        ([Note(F(0), F(1, 5), 60)], "no number in ABC"),
        ([Note(F(0), F(1), 200)], "between 0 and 127"),
        ([Note(F(10**6), F(1), 60)], "too long"),
    ],
)
def test_what_cannot_be_written_is_refused(notes, message):
    with pytest.raises(DataError, match=message):
        write_abc(Score([notes]))


def test_a_sampled_tune_becomes_both_files():
    found = written(TUNE + "G", {"music": "abc"})
    assert found[".abc"].decode() == TUNE + "G"
    score = read_midi(found[".mid"])
    assert [note.pitch for note in score.notes] == [67, 69, 71, 72, 74, 66, 67]
    assert (score.title, score.metre) == ("Two bars", (2, 4))
    assert score.tempo == pytest.approx(60)


def test_a_tune_that_breaks_off_is_cut_behind_its_last_whole_bar():
    assert whole_bars(TUNE + '"A7') == "X:1\nT:Two bars\nM:2/4\nL:1/8\nQ:1/8=120\nK:G\nGABc|]\n"
    assert whole_bars(TUNE) == TUNE
    assert len(read_midi(written(TUNE + "^", {"music": "abc"})[".mid"]).notes) == 4
    with pytest.raises(DataError, match="line 7, column 1"):
        written(TUNE.replace("GABc", "&"), {"music": "abc"})


def test_sampled_chords_become_both_files():
    text = " ".join(tokens_of([(48, 60), (48, 62), (), (50,)]))
    found = written(text, {"music": "chords", "step_mark": "|", "step": "1/8"})
    expected = [
        Note(F(0), F(1, 8), 60),
        Note(F(0), F(1, 4), 48),
        Note(F(1, 8), F(1, 8), 62),
        Note(F(3, 8), F(1, 8), 50),
    ]
    assert parse(found[".abc"].decode()).notes == expected
    assert read_midi(found[".mid"]).notes == expected
    for wrong in ("60 x |", "200 |", "-1 |", "6٠ |"):
        with pytest.raises(DataError, match="neither a pitch"):
            written(wrong, {"music": "chords"})
    with pytest.raises(DataError, match="no note"):
        written("| |", {"music": "chords"})


@pytest.mark.parametrize(
    ("tempo", "quarters"), [("", 120), ("1/4=90", 90), ("120", 120), ('"fast" 1/8=140', 70), ("x", 120)]
)
def test_tempos(tempo, quarters):
    assert score_of(parse(f"X:1\nQ:{tempo}\nK:C\nC")).tempo == quarters


def test_chords_part_into_voices_without_crossing():
    steps = [(48, 60, 72), (50, 60, 74), (50, 62), (), (47, 59, 71)]
    found = parted(held(steps))
    assert [[note.pitch for note in voice] for voice in found] == [[72, 74, 71], [60, 62, 59], [48, 50, 47]]
    assert parted([]) == []


def test_random_chords_part_into_voices_of_single_notes():
    draw = np.random.default_rng(4)
    for most in (1, 4, 9, 30):
        steps = [set(draw.integers(0, 128, draw.integers(0, most + 1)).tolist()) for _ in range(40)]
        notes = held(steps)
        voices = parted(notes)
        assert len(voices) == max(map(len, steps))
        assert sorted(note for voice in voices for note in voice) == notes
        for voice in voices:
            assert all(a.start + a.duration <= b.start for a, b in pairwise(voice))
