"""The music reader: ABC files and piano rolls, what it recognises, what it leaves out, and what it refuses."""

import gzip
import json
import tarfile

import numpy as np
import pytest

from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.files.tree import Tally
from netwright.data.music.chords import STEP, piece, steps_of, tokens_of
from netwright.data.music.reading import chords_of, looks_like_music, step_length, tunes_of
from netwright.errors import DataError

FIRST = "X:1\nT:One\n% a remark\nS:of somebody\nM:4/4\nL:1/8\nK:G\nGABc defg|\nw:la la\nP:B\nz8|]\n"
SECOND = "X:2\nT:Two\nM:3/4\nK:D\nd2e2f2|\n"
ROLL = {"train": [[[60, 64], [60]], [[61]]], "valid": [[[62], [], [63, 50, 71]]], "test": [[[59]]]}


def read(place, **settings):
    with open_tree(place) as tree:
        assert looks_like_music(tree)
        return READERS["music"](tree, **settings)


@pytest.fixture
def abc(tmp_path):
    (tmp_path / "a.abc").write_text(FIRST + "\n" + SECOND, encoding="utf-8")
    return tmp_path


@pytest.fixture
def roll(tmp_path):
    path = tmp_path / "song-16th.json"
    path.write_text(json.dumps(ROLL))
    return path


def test_tunes_are_documents_without_remarks(abc):
    source = read(abc / "a.abc")
    assert source.examples.texts == [
        "X:1\nT:One\nM:4/4\nL:1/8\nK:G\nGABc defg|\nP:B\nz8|]\n",
        "X:2\nT:Two\nM:3/4\nK:D\nd2e2f2|\n",
    ]
    assert source.ids == ["a.abc line 1", "a.abc line 13"]
    assert (source.kind, source.task, source.targets, source.given) == ("text", "generate", None, {})
    assert source.facts["music"] == "abc"
    assert source.problems == []


def test_file_fields_hold_for_all_tunes_and_other_text_is_reported(abc):
    (abc / "a.abc").write_text("%abc\nL:1/4\nR:reel\nhello\n\n" + FIRST + SECOND)
    source = read(abc)
    assert [text.split("\n")[:2] for text in source.examples.texts] == [["X:1", "L:1/4"], ["X:2", "L:1/4"]]
    assert [(p.where, p.what) for p in source.problems] == [("a.abc line 4", "text outside of tunes")]


def test_broken_tunes_are_left_out_with_line_and_column(abc):
    (abc / "a.abc").write_text(SECOND + "\n" + FIRST.replace("GABc", "GA&c") + "\nX:3\nT:no key\n\nX:4\nK:C\nz|\n")
    source = read(abc)
    assert len(source.examples) == 1
    assert [p.where for p in source.problems] == ["a.abc line 7", "a.abc line 19", "a.abc line 22"]
    assert "line 8, column 3: '&' means nothing here" in source.problems[0].what


def test_tunes_of_one_body_stay_together(abc):
    (abc / "b.abc").write_text(SECOND.replace("Two", "Deux").replace("d2e2", "d2 e2") + "\n" + SECOND)
    source = read(abc)
    assert source.groups.tolist() == [0, 1, 1, 1]
    assert [(p.where, p.what) for p in source.problems] == [
        ("b.abc line 1", "the same music as another tune: a.abc line 13")
    ]


def test_splits_that_names_state_are_kept(tmp_path):
    (tmp_path / "train.abc").write_text(FIRST + "\n" + SECOND)
    (tmp_path / "test.abc").write_text(SECOND)
    (tmp_path / "README.md").write_text("tunes")
    given = read(tmp_path).given
    assert {name: places.tolist() for name, places in given.items()} == {"train": [1, 2], "test": [0]}


def test_archives_and_gzip_are_read_in_place(abc, tmp_path):
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(abc / "a.abc", "some/a.abc")
    (tmp_path / "z.abc.gz").write_bytes(gzip.compress((FIRST + "\n" + SECOND).replace("\n", "\r\n").encode()))
    texts = read(abc / "a.abc").examples.texts
    assert read(tmp_path / "all.tar.gz").examples.texts == texts
    assert read(tmp_path / "z.abc.gz").examples.texts == texts


def test_other_encodings_are_read_and_binary_is_not(abc):
    (abc / "a.abc").write_bytes(SECOND.replace("Two", "Für Elise, schön und süß").encode("cp1252"))
    assert "T:Für Elise" in read(abc).examples.texts[0]
    (abc / "b.abc").write_bytes(b"X:1\nK:C\n\0\0\0")
    source = read(abc)
    assert len(source.examples) == 1
    assert any("cannot be read" in problem.what for problem in source.problems)
    (abc / "a.abc").unlink()
    with pytest.raises(DataError, match=r"holds no music that can be read\.\nb\.abc: "):
        read(abc)


@pytest.mark.parametrize("content", ["hello", "T:a\nK:C\nCDE\n", "X:1\n", "%\n", "X:1\nK:C\n"])
def test_no_tune_at_all_is_refused(abc, content):
    (abc / "a.abc").write_text(content)
    with pytest.raises(DataError, match="holds no music"):
        read(abc)


def test_chords_become_tokens_with_the_splits_of_the_file(roll):
    source = read(roll)
    assert source.examples.texts == [
        ("64", "60", "|", "60", "|"), ("61", "|"), ("62", "|", "|", "71", "63", "50", "|"), ("59", "|"),
    ]  # fmt: skip
    assert {name: places.tolist() for name, places in source.given.items()} == {
        "train": [0, 1], "validation": [2], "test": [3],
    }  # fmt: skip
    assert source.ids[2] == "song-16th.json: valid[0]"
    assert source.facts == {"music": "chords", "step_mark": "|", "step": "1/16", "steps": 7}
    assert source.name == "song-16th"


def test_pieces_without_splits_and_resting_voices(tmp_path):
    (tmp_path / "a.json").write_text("[[[74, 70, 65, -1]], [[60, 60, 48], [-1, -1]]]")
    source = read(tmp_path)
    assert source.examples.texts == [("74", "70", "65", "|"), ("60", "48", "|", "|")]
    assert source.given == {}
    assert source.facts["step"] == "1/4"


def test_tokens_and_steps_come_back():
    draw = np.random.default_rng(0)
    steps = [tuple(sorted(set(draw.integers(0, 128, draw.integers(0, 6)).tolist()))) for _ in range(200)]
    tokens = tokens_of(steps)
    assert tokens.count(STEP) == 200
    assert steps_of(tokens) == steps_of(" ".join(tokens)) == steps
    assert steps_of("60 48|62 62 | 70") == [(48, 60), (62,)]
    assert steps_of("") == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[60, "a"]], r"w\[0\]: 'a' is no pitch"),
        ([[60], [128]], r"w\[1\]: 128 is no pitch"),
        ([[-2]], "-2 is no pitch"),
        ([[10**400 + 1]], r"w\[0\]: 1000000"),
        ([[60.0]], "60.0 is no pitch"),
        ([[True]], "True is no pitch"),
        ([[None]], r"nothing \(null\) is no pitch"),
        ([[[60]]], "a list is no pitch"),
        ([60], r"w\[0\]: a step is a list of pitches; here is a number"),
        ([{}], "here is an object"),
        ({"a": 1}, "a piece is a list of steps; here is an object"),
        ("abc", "here is a text"),
        ([list(range(65))], "a step of 65 notes"),
    ],
)
def test_what_is_no_piece_is_refused_with_its_place(value, message):
    with pytest.raises(DataError, match=message):
        piece(value, "w")


def test_broken_pieces_are_left_out(roll):
    broken = {**ROLL, "train": [[[60]], [[600]], [], [[]], 5], "composer": "Bach"}
    roll.write_text(json.dumps(broken))
    source = read(roll)
    assert len(source.examples) == 3
    whats = [problem.what.split(":")[0] for problem in source.problems]
    assert whats == [
        "a piece that cannot be read", "a piece without a note", "a piece without a note",
        "a piece that cannot be read", "a key that names no split (train, valid, test)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": [[[60], [61]', "no JSON"),
        ('{"train": [[[60, NaN]]]}', "NaN"),
        ('{"train": [[[60]]], "train": [[[61]]]}', "train"),
        ('{"train": [[[60]]], "test": 5}', "test: a split is a list of pieces; here is a number"),
        ('{"train": [[[' + "9" * 5000 + "]]]}", "too large"),
        ('{"train": [[[]]]}', "holds no music"),
        ('{"train": [[[60]], ' + "[" * 100_000, "nested|JSON"),
        ('{"train": [[[1e999]]]}', "too large"),
    ],
)
def test_hostile_files_are_refused(roll, text, message):
    roll.write_text(text)
    with pytest.raises(DataError, match=message):
        read(roll)


def test_too_many_steps_are_refused(monkeypatch):
    monkeypatch.setattr("netwright.data.music.reading.MOST_STEPS", 3)
    with pytest.raises(DataError, match="more than 3 steps"):
        list(chords_of("a.json", "[[[60],[61]],[[62],[63]]]", Tally()))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"paragraphs": ["a"]}]'), ("a.json", "[[1, 2], [3, 4]]"), ("a.json", '{"songs": [[[60]]]}'),
        ("a.json", ""), ("a.txt", FIRST), ("a.json", '{"train": "[[[60]]]"}'), ("a.csv", "a,b\n1,2\n"),
    ],
)  # fmt: skip
def test_other_files_are_not_taken_for_music(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert not looks_like_music(open_tree(tmp_path))


def test_few_tunes_among_other_files_are_no_music(abc):
    for name in ("b.csv", "c.csv"):
        (abc / name).write_text("a,b\n1,2\n")
    assert not looks_like_music(open_tree(abc))


def test_step_lengths_by_name():
    names = ("x/jsb-chorales-quarter.json", "Jsb16thSeparated.json", "a-8th.json", "a.json")
    assert [str(step_length(name)) for name in names] == ["1/4", "1/16", "1/8", "1/4"]


def test_tunes_follow_each_other_without_empty_lines():
    found = list(tunes_of("a", SECOND + SECOND.replace("X:2", "X:3") + "K:E\nE6|", Tally()))
    assert [tune.where for tune in found] == ["a line 1", "a line 6"]
    assert found[0].body == "d2e2f2|"
    assert found[1].body == "d2e2f2|\nK:E\nE6|"


@pytest.mark.shared_data
def test_chorales(shared_data):
    source = read(shared_data / "jsb-chorales" / "jsb-chorales-quarter.json")
    assert [len(source.given[name]) for name in ("train", "validation", "test")] == [229, 76, 77]
    assert sum(text.count(STEP) for text in source.examples.texts) == source.facts["steps"] == 23134
    assert source.problems == []


@pytest.mark.shared_data
@pytest.mark.slow
def test_nottingham(shared_data):
    source = read(shared_data / "nottingham" / "nottingham-abc.tar.gz")
    assert len(source.examples) == 1032
    assert len(set(source.groups.tolist())) == 1029
    assert sum("left out" in problem.action for problem in source.problems) == 2
