"""The ABC reader on hand-counted bars, on everything the notation has, and on malformed tunes."""

import random
from fractions import Fraction as F

import pytest

from netwright.data.music.abc import parse
from netwright.data.music.keys import metre, signature, unit
from netwright.data.music.tunes import AbcError, Tune
from netwright.errors import DataError


def tune(body: str, header: str = "M:4/4\nL:1/8\nK:C") -> Tune:
    return parse(f"X:1\nT:t\n{header}\n{body}")


def notes(body: str, header: str = "M:4/4\nL:1/8\nK:C"):
    return [(note.start * 8, note.duration * 8, note.pitch) for note in tune(body, header).notes]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("C2 e/ ^f// z_B,3/2|", [(0, 2, 60), (2, F(1, 2), 76), (F(5, 2), F(1, 4), 78), (F(15, 4), F(3, 2), 58)]),
        ("CDEF GABc|", [(i, 1, p) for i, p in enumerate((60, 62, 64, 65, 67, 69, 71, 72))]),
        ("C,, c'' =c __d ^^f|", [(0, 1, 36), (1, 1, 96), (2, 1, 72), (3, 1, 72), (4, 1, 79)]),
        ("^FFf|F|", [(0, 1, 66), (1, 1, 66), (2, 1, 77), (3, 1, 65)]),
        ("(3CDE F|", [(0, F(2, 3), 60), (F(2, 3), F(2, 3), 62), (F(4, 3), F(2, 3), 64), (2, 1, 65)]),
        ("(3:2:4CDEF G|", [(0, F(2, 3), 60), (F(2, 3), F(2, 3), 62), (F(4, 3), F(2, 3), 64), (2, F(2, 3), 65),
                           (F(8, 3), 1, 67)]),
        ("(3::2CD E|", [(0, F(2, 3), 60), (F(2, 3), F(2, 3), 62), (F(4, 3), 1, 64)]),
        ("C>D E<<F|", [(0, F(3, 2), 60), (F(3, 2), F(1, 2), 62), (2, F(1, 4), 64), (F(9, 4), F(7, 4), 65)]),
        ("[CEG]2 c|", [(0, 2, 60), (0, 2, 64), (0, 2, 67), (2, 1, 72)]),
        ("[C2E]3|", [(0, 6, 60), (0, 6, 64)]),
        ("C4-|C2 D2|", [(0, 6, 60), (6, 2, 62)]),
        ("[CE]4-|[CE]2|", [(0, 6, 60), (0, 6, 64)]),
        ("[C-E]4|[CD]2|", [(0, 4, 64), (0, 6, 60), (4, 2, 62)]),
        ("^F-|F =F|", [(0, 2, 66), (2, 1, 65)]),
        ('"Am7"{g/^f}A!trill!~.B(uc d)|', [(0, 1, 69), (1, 1, 71), (2, 1, 72), (3, 1, 74)]),
        ("C8|Z2|D|", [(0, 8, 60), (24, 1, 62)]),
        ("CD\\\n%remark\nEF|\nw:la la\nG|", [(0, 1, 60), (1, 1, 62), (2, 1, 64), (3, 1, 65), (4, 1, 67)]),
        ("C[K:G]F[L:1/4]F\nL:1/8\nK:F\nB|", [(0, 1, 60), (1, 1, 66), (2, 2, 66), (4, 1, 70)]),
        ("|:C4:|[1D4:|[2E4||F4|1,3 G4::|]", [(0, 4, 60), (4, 4, 62), (8, 4, 64), (12, 4, 65), (16, 4, 67)]),
        ("c:|d y`e % rest", [(0, 1, 72), (1, 1, 74), (2, 1, 76)]),
    ],
)  # fmt: skip
def test_notes_equal_hand_counts(body, expected):
    assert notes(body) == expected


def test_voices_run_side_by_side():
    found = tune("V:1\nCDEF|\nV:2\nC,4|\nV:1\nG4|\n[V:2]z2 D,2|", "M:2/4\nL:1/8\nK:C")
    assert [note.pitch for note in found.voices["1"]] == [60, 62, 64, 65, 67]
    assert [(note.start, note.pitch) for note in found.voices["2"]] == [(0, 48), (F(3, 4), 50)]
    assert found.full_bars == 1


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("C", {}), ("G", {"F": 1}), ("Bb", {"B": -1, "E": -1}), ("F#m", {"F": 1, "C": 1, "G": 1}),
        ("none", {}), ("", {}),
        ("D dor", {}), ("Ddorian", {}), ("E Minor", {"F": 1}), ("Amix", {"F": 1, "C": 1}),
        ("Cb", dict.fromkeys("FCGDAEB", -1)),
        ("C#", dict.fromkeys("FCGDAEB", 1)), ("G lyd", {"F": 1, "C": 1}), ("B loc", {}), ("E phr", {}),
        ("D exp _b^f", {"B": -1, "F": 1}), ("Am ^g", {"G": 1}), ("G =f", {}), ("C clef=bass", {}),
        ("F treble", {"B": -1}),
        ("H", None), ("G#", None), ("Cx", None), ("C dorky clef", None), ("c", None), ("CM", None), ("C clef", None),
    ],
)  # fmt: skip
def test_keys(key, expected):
    assert signature(key) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4/4", (4, 4)), ("C", (4, 4)), ("C|", (2, 2)), ("(2+3)/8", (5, 8)), ("2+2+3/8", (7, 8)), ("none", (0, 1)),
     ("6/8", (6, 8)), ("4", None), ("0/4", None), ("4/3", None),
     ("4/0", None), ("-3/4", None), ("999/4", None), ("3/4x", None)],
)  # fmt: skip
def test_metres(text, expected):
    assert metre(text) == expected


def test_units():
    assert [unit(text) for text in ("1/8", "1", "1/16 ")] == [F(1, 8), 1, F(1, 16)]
    assert [unit(text) for text in ("", "2/8", "1/3", "1/0", "0", "1/1024")] == [None] * 6
    assert notes("C", "M:2/4\nK:C") == [(0, F(1, 2), 60)]
    assert notes("C", "M:3/4\nK:C") == notes("C", "K:C") == [(0, 1, 60)]


def test_bars_add_up_or_not():
    found = tune("C|CDEFGABc|CDEFGAB|CDEFGABcC|C7:|", "M:4/4\nL:1/8\nK:C")
    # An upbeat, a full bar, one too short in the middle, one too long, and the last, which the upbeat completes.
    assert [bar.adds_up for bar in found.bars] == [True, True, False, False, True]
    assert found.full_bars == 0.6
    assert [bar.length * 8 for bar in found.bars] == [1, 8, 7, 9, 7]
    assert tune("CDE|CD|", "M:none\nK:C").full_bars == 1
    assert tune("C8|C9|]").full_bars == 0.5  # an edge may be shorter, never longer


def test_a_metre_behind_the_key_is_the_first_bars():
    assert tune("C3D3|", "M:4/4\nL:1/8\nK:A\nM:6/8").metre == (6, 8)


def test_ties_to_another_pitch_are_counted():
    assert tune("C4-|D4|").loose_ties == 1
    assert tune("C4-|").loose_ties == 1
    assert tune("C4-|C4|").loose_ties == 0


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "an empty text"),
        ("T:a\nX:1\nK:C\nC", 1, 1, "begins with its number"),
        ("C D E", 1, 1, "music before"),
        ("X:one\nK:C\nC", 1, 1, "the tune's number"),
        ("X:\u0661\nK:C\nC", 1, 1, "the tune's number"),
        ("X:1\nX:2\nK:C\nC", 2, 1, "second X:"),
        ("X:1\nT:a\n", 2, 1, "no key"),
        ("X:1\nK:C\n", 2, 1, "no note"),
        ("X:1\nK:C\nz4|", 3, 4, "no note"),
        ("X:1\nK:Q\nC", 2, 1, "K:Q is no key"),
        ("X:1\nM:5\nK:C\nC", 2, 1, "M:5 is no metre"),
        ("X:1\nL:3\nK:C\nC", 2, 1, "L:3 is no length"),
        ("X:1\nK:C\nC\n\nD", 4, 1, "an empty line"),
        ("\nX:1\nK:C\nC", 1, 1, "an empty line"),
        ("X:1\nK:C\nCD&EF", 3, 3, "'&' means nothing"),
        ("X:1\nK:C\nCDh", 3, 3, "'h' means nothing"),
        ("X:1\nK:C\nC\x00", 3, 2, "control character"),
        ("X:1\nK:C\nC0", 3, 2, "no length of a note"),
        ("X:1\nK:C\nC/0", 3, 2, "no length"),
        ("X:1\nK:C\nC/5", 3, 2, "no length"),
        ("X:1\nK:C\nC/1024", 3, 2, "no length"),
        ("X:1\nK:C\nC//3", 3, 2, "no length"),
        ("X:1\nK:C\nC99999", 3, 6, "'9' means nothing"),
        ("X:1\nK:C\nC" + "/" * 50, 3, 2, "no length"),
        ("X:1\nK:C\nC" + "," * 20, 3, 1, "range of pitches"),
        ("X:1\nK:C\nc" + "'" * 20, 3, 1, "range of pitches"),
        ("X:1\nK:C\n^", 3, 1, "'.' means nothing"),
        ("X:1\nK:C\n[CE", 3, 1, "without its end"),
        ("X:1\nK:C\n[]C", 3, 1, "chord of 0 notes"),
        ("X:1\nK:C\n[C(E]", 3, 3, "within a chord"),
        ("X:1\nK:C\n[C[E]]", 3, 3, "within a chord"),
        ("X:1\nK:C\n[" + "C" * 33 + "]", 3, 1, "chord of 33"),
        ("X:1\nK:C\n{CE", 3, 1, "without their end"),
        ("X:1\nK:C\n{C|}D", 3, 3, "among grace notes"),
        ("X:1\nK:C\n{}D", 3, 1, "without a note"),
        ("X:1\nK:C\n(1CD", 3, 1, "2 to 9"),
        ("X:1\nK:C\n(3(3CDE", 3, 3, "within another"),
        ("X:1\nK:C\n(3CD", 3, 5, "within a tuplet"),
        ("X:1\nK:C\n(3::0CD", 3, 1, "no notes"),
        ("X:1\nK:C\n>CD", 3, 1, "between two notes"),
        ("X:1\nK:C\nC>", 3, 3, "broken rhythm"),
        ("X:1\nK:C\nC><D", 3, 3, "between two notes"),
        ("X:1\nK:C\nC>>>>D", 3, 5, "between two notes"),
        ("X:1\nK:C\n-C", 3, 1, "follows a note"),
        ("X:1\nK:C\nz-C", 3, 2, "follows a note"),
        ("X:1\nK:C\nC)", 3, 2, "never began"),
        ("X:1\nK:C\n(C", 3, 3, "within a slur"),
        ("X:1\nM:none\nK:C\nZC", 4, 1, "rests whole bars"),
        ("X:1\nM:4/4\nK:C\nCZ", 4, 2, "rests whole bars"),
        ("X:1\nM:4/4\nK:C\nZ999C", 4, 1, "999 bars"),
        ("X:1\nK:C\n[Q", 3, 2, "within a chord"),
        ("X:1\nK:C\n[T:a]C", 3, 1, "within a line"),
        ("X:1\nK:C\n[K:Z]C", 3, 1, "no key"),
        ("X:1\nK:C\nV:\nC", 3, 1, "name of a voice"),
        ('X:1\nK:C\n"Am C', 3, 1, "means nothing"),
        ("X:1\nK:C\n!trill C", 3, 1, "means nothing"),
        ("X:1\nK:C\nC\u266f", 3, 2, "means nothing"),
    ],
)
def test_malformed_tunes_are_refused_with_the_place(text, line, column, message):
    with pytest.raises(AbcError, match=message) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


def test_a_tune_has_a_size():
    with pytest.raises(DataError, match="200000"):
        parse("X:1\nK:C\n" + "C" * 200_000)
    many = "".join(f"V:{name}\nC\n" for name in range(66))
    with pytest.raises(AbcError, match="at most 64"):
        parse(f"X:1\nK:C\n{many}")


def test_random_text_is_read_or_refused_by_name():
    draw = random.Random(0)
    signs = "ABCcdg^_=,'/23|:[](){}<>-zZ\"!~ \\%\nKMLVw&"
    read = 0
    for _ in range(3000):
        body = "".join(draw.choices(signs, k=draw.randrange(1, 25)))
        try:
            found = tune(body)
        except AbcError:
            continue
        read += 1
        assert all(note.duration > 0 for note in found.notes)
    assert 40 < read < 2900


def test_hostile_repetition_is_quick():
    for sign, count in (*((sign, 49_999) for sign in '|:[^!("'), ("(3", 50_000), ("C>", 4000)):
        with pytest.raises(AbcError):
            tune(sign * count)


@pytest.mark.shared_data
@pytest.mark.slow
def test_nottingham_parses(shared_data):
    import re
    import tarfile

    read = refused = bars = whole = 0
    with tarfile.open(shared_data / "nottingham" / "nottingham-abc.tar.gz") as archive:
        for member in archive:
            text = archive.extractfile(member).read().decode().replace("\r", "")
            for block in re.split(r"\n\s*\n", text):
                if "X:" in block:
                    try:
                        found = parse(block[block.index("X:") :])
                    except AbcError:
                        refused += 1
                        continue
                    read += 1
                    bars += len(found.bars)
                    whole += sum(bar.adds_up for bar in found.bars)
    assert (read, refused) == (1032, 2)
    assert whole / bars > 0.999
