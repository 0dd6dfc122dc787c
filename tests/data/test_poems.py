"""Poems: lists of objects with their lines, the forms they are written in, and what is left out or refused."""

import json

import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.poems import poems
from netwright.data.texts.poems import form_of_poem, forms, looks_like_poems
from netwright.errors import DataError

QUATRAIN = ["秦時明月漢時關，萬里長征人未還。", "但使龍城飛將在，不教胡馬度陰山。"]
SHORT = ["床前明月光，", "疑是地上霜。", "舉頭望明月，", "低頭思故鄉。"]


@pytest.fixture
def place(tmp_path):
    """Write files below a folder, JSON where they are no text, and open it."""

    def write(files):
        for name, value in files.items():
            raw = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
            (tmp_path / name).write_bytes(raw)
        return open_tree(tmp_path)

    return write


def poem(lines, **more) -> dict:
    return {"author": "王昌齡", "title": "出塞", **more, "paragraphs": lines, "id": "1"}


def test_a_poem_is_one_document(place):
    tree = place({"a.json": [poem(QUATRAIN), poem(SHORT, tags=["x"])], "b.json": [poem(["a ", "", " b"])]})
    assert looks_like_poems(tree)
    assert looks_like_poems(place({"c.json": [{"title": "關雎", "content": ["關關雎鳩，", "在河之洲。"]}]}))
    source = poems(tree)
    assert source.examples.texts == ["\n".join(QUATRAIN), "\n".join(SHORT), "a\nb"]
    assert (source.kind, source.task, source.targets, source.given) == ("text", "generate", None, {})
    assert list(source.ids) == ["a.json poem 1", "a.json poem 2", "b.json poem 1"]
    assert source.facts == {"forms": {"4x5": 1, "4x7": 1}}
    assert (source.groups, source.problems) == (None, [])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("\n".join(QUATRAIN), "4x7"), ("\n".join(SHORT), "4x5"),
        ("春眠不覺曉，處處聞啼鳥；夜來風雨聲！花落知多少？", "4x5"),
        ("山中\n無曆日", "mixed"), ("一二三四五。", "1x5"), ("The old pond;\na frog jumps in", ""),
        ("", ""), ("，。\n", ""),
        ("殘□一字，補之二字。", "2x4"), ("𠀀𠀁，𠀂𠀃。", "2x2"), ("王a八，二二二。", ""),
    ],
)  # fmt: skip
def test_forms_count_verses_and_characters(text, form):
    assert form_of_poem(text) == form


def test_forms_are_counted_the_most_frequent_first():
    assert list(forms(["一二", "一二，三四", "三四", "x"]).items()) == [("1x2", 2), ("2x2", 1)]


def test_odd_entries_and_files_are_told_and_left_out(place):
    entries = [
        poem(SHORT),
        {"title": "none"},
        poem("text"),
        poem([1]),
        poem([" "]),
        "x",
        poem(["a\0b"]),
        poem(["x" * 100_001]),
    ]
    tree = place({"a.json": entries, "b.json": b"[{", "c.json": {"paragraphs": ["a"]}})
    assert looks_like_poems(tree)
    source = poems(tree)
    assert len(source.examples) == 1
    assert [(problem.where, problem.what.partition(":")[0]) for problem in source.problems] == [
        *((f"a.json poem {place}", "no object with a list of lines") for place in (2, 3, 4)),
        ("a.json poem 5", "a poem without words"), ("a.json poem 6", "no object with a list of lines"),
        ("a.json poem 7", "a NUL character"), ("a.json poem 8", "a poem longer than 100,000 characters"),
        ("b.json", "a file that cannot be read"), ("c.json", "a file that cannot be read"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'[{"paragraphs": ["a"]}, NaN]', "NaN is no JSON number"), (b'[{"paragraphs": ["a"]}', "no JSON"),
        (b'[{"paragraphs": ["\\ud800"]}]', "a lone surrogate"), (b"[" * 100_000, "nested too deeply"),
        (b'[{"paragraphs": ["a"], "paragraphs": ["b"]}]', "stands twice"), ({"paragraphs": ["a"]}, "no list of poems"),
        ([{"paragraphs": []}], "holds no poem"), (b"\xff\xfe\xff", "no utf-16 text"), (b"[\0", "a NUL character"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_poems_is_refused(place, value, told):
    with pytest.raises(DataError, match=told):
        poems(place({"a.json": value}))


def test_files_called_train_and_test_are_the_splits(place):
    source = poems(place({"train.json": [poem(SHORT)] * 3, "test.json": [poem(QUATRAIN)]}))
    assert {name: positions.tolist() for name, positions in source.given.items()} == {"train": [1, 2, 3], "test": [0]}


@pytest.mark.parametrize(
    "files",
    [
        {"a.json": {"train": [[[60, 72]]]}}, {"a.json": {"data": [{"title": "x", "paragraphs": [{"context": "y"}]}]}},
        {"a.json": [{"paragraphs": [{"context": "y"}]}]}, {"a.json": [1]}, {"a.json": b""}, {"a.json": b"\0\1"},
        {"a.json": b"[" * 100_000}, {"a.txt": [poem(SHORT)]}, {"a.json": [poem(SHORT)], "b.png": b"x"},
    ],
)  # fmt: skip
def test_places_that_are_no_poems(place, files):
    assert not looks_like_poems(place(files))


@pytest.mark.shared_data
def test_the_real_set(shared_data):
    tree = open_tree(shared_data / "tang-poems")
    assert looks_like_poems(tree)
    source = poems(tree)
    assert (len(source.examples), source.problems) == (3_002, [])
    assert source.facts["forms"]["8x5"] == 619
    assert list(source.facts["forms"])[:3] == ["8x5", "4x7", "4x5"]
    # 173,338 characters by the README's count: without the line ends put between lines
    assert sum(len(text) - text.count("\n") for text in source.examples.texts) == 173_338
