"""Conversations: chatterbot folders, the Cornell format, and JSON of turns or of question and answer."""

import json

import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.dialogue import dialogue
from netwright.data.splits import split
from netwright.data.texts.dialogues import looks_like_dialogue, talk_in
from netwright.errors import DataError, UsageError


@pytest.fixture
def place(tmp_path):
    """Write files below a folder and open it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return open_tree(tmp_path)

    return write


def yaml(*talks) -> str:
    return "categories:\n- x\nconversations:\n" + "".join(
        "- - " + "\n  - ".join(talk) + "\n" for talk in talks
    )  # fmt: skip


def texts(source) -> list[tuple[str, str]]:
    return list(zip(source.examples.texts, source.targets.tolist(), strict=True))


LINES = """L1 +++$+++ u0 +++$+++ m0 +++$+++ BIANCA +++$+++ They do not!
L2 +++$+++ u2 +++$+++ m0 +++$+++ C +++$+++ They do +++$+++ so
L3 +++$+++ u2 +++$+++ m0 +++$+++ C +++$+++\x20
L9 +++$+++ u2 +++$+++ m0 +++$+++ C +++$+++ Bye.
"""
TALKS = """u0 +++$+++ u2 +++$+++ m0 +++$+++ ['L1', 'L2', 'L9']
u0 +++$+++ u2 +++$+++ m0 +++$+++ ['L2', 'L3']
u0 +++$+++ u2 +++$+++ m0 +++$+++ ['L1', 'L9', 'L7', 'L2', 'L1']
"""


def test_consecutive_turns_make_pairs_and_a_conversation_stays_together(place):
    tree = place({"ai.yml": yaml("abc", "de"), "food.yml": yaml("fghi")})
    assert looks_like_dialogue(tree)
    source = dialogue(tree)
    assert texts(source) == [("a", "b"), ("b", "c"), ("d", "e"), ("f", "g"), ("g", "h"), ("h", "i")]
    assert source.groups.tolist() == [0, 0, 1, 2, 2, 2]
    assert (source.kind, source.task, source.given, source.problems) == ("text", "translate", {}, [])
    assert list(source.ids) == ["ai.yml line 4", "ai.yml line 4", "ai.yml line 7"] + ["food.yml line 4"] * 3


def test_no_conversation_parts_into_two_splits(place):
    source = dialogue(place({"a.yml": yaml(*[[f"{k}a", f"{k}b", f"{k}c", f"{k}d"] for k in range(30)])}))
    drawn = split(90, {}, groups=source.groups)
    found = [set(source.groups[drawn[name]].tolist()) for name in ("train", "validation", "test")]
    assert sum(map(len, found)) == len(set.union(*found)) == 30


def test_english_is_read_of_several_languages_unless_another_is_named(place):
    tree = place({f"c/{name}/ai.yml": yaml([name, "reply"]) for name in ("english", "chinese", "french")})
    source = dialogue(tree)
    assert texts(source) == [("english", "reply")]
    assert source.facts["language"] == "english"
    assert source.problems[0].what == "3 languages: chinese, english, french"
    assert "data.language=NAME" in source.problems[0].action
    chinese = dialogue(tree, language="Chinese")
    assert (texts(chinese), chinese.problems) == ([("chinese", "reply")], [])
    assert len(dialogue(tree, language="all").examples) == 3
    with pytest.raises(UsageError, match=r"data\.language = 'frensh' is not in .*Did you mean 'french'\?"):
        dialogue(tree, language="frensh")


def test_languages_without_english_are_refused_with_their_names(place):
    tree = place({f"{name}/ai.yml": yaml([name, "reply"]) for name in ("german", "chinese")})
    with pytest.raises(DataError, match=r"2 folders: chinese, german\.\nChoose one: data\.language=chinese, or all"):
        dialogue(tree)


def test_odd_conversations_and_files_are_told_and_left_out(place):
    tree = place({"a.yml": yaml("ab", ["only"], ["x", "''"]) + "- no list\n", "b.yml": "conversations: 1\n"})
    source = dialogue(tree)
    assert texts(source) == [("a", "b")]
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("a.yml", "1 conversations of one turn (the first: line 6)"),
        ("a.yml", "1 pairs with an empty side (the first: line 7)"),
        ("a.yml line 9", "no list of turns: one text, or another thing than a list: 'no list'"),
        ("b.yml", "a file that cannot be read: b.yml line 1: a list of conversations is expected below, not '1'"),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"a\.yml line 1"):
        dialogue(place({"a.yml": "conversations: 1\n"}))


def test_cornell_format(place):
    tree = place({"movie_lines.txt": LINES, "movie_conversations.txt": TALKS, "README.txt": "about"})
    assert looks_like_dialogue(tree)
    source = dialogue(tree)
    assert texts(source) == [
        ("They do not!", "They do +++$+++ so"), ("They do +++$+++ so", "Bye."), ("They do not!", "Bye."),
        ("They do +++$+++ so", "They do not!"),
    ]  # fmt: skip
    assert source.groups.tolist() == [0, 0, 2, 3]
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("movie_conversations.txt", "1 pairs with an empty side (the first: line 2)"),
        ("movie_conversations.txt line 3", "a line that is not there: L7"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "missing"), [("a_lines.txt", LINES, "conversations"), ("b.txt", TALKS, "lines")]
)
def test_half_of_a_cornell_corpus_is_refused(place, name, text, missing):
    tree = place({name: text})
    assert looks_like_dialogue(tree)
    with pytest.raises(
        DataError, match=rf"the file of {missing} is missing\. A corpus in this format is a folder of two"
    ):
        dialogue(tree)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps([{"question": "a", "answer": "b"}, {"question": "c", "answer": "d", "id": 3}])),
        ("a.jsonl", '{"question": "a", "answer": "b"}\n\n{"prompt": "c", "response": "d"}\n'),
        ("a.json", json.dumps([["a", "b"], ["c", "d"]])), ("a.jsonl", '["a", "b"]\n["c", "d"]\n'),
        ("a.json", json.dumps({"conversations": [["a", "b"], ["c", "d"]]})),
        ("a.jsonl", json.dumps({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
                                             {"role": "assistant", "content": "b"}]}) + '\n{"turns": ["c", "d"]}\n'),
    ],
)  # fmt: skip
def test_json_of_turns_and_answers(place, name, text):
    tree = place({name: text})
    assert looks_like_dialogue(tree)
    source = dialogue(tree)
    assert texts(source) == [("a", "b"), ("c", "d")]
    assert source.problems == []
    assert source.groups.tolist() == [0, 1]


def test_broken_json_is_told_by_line(place):
    source = dialogue(place({"a.jsonl": '{"question": "a", "answer": "b"}\n{"question": 1}\n{"question": "a"\nNaN\n'}))
    assert texts(source) == [("a", "b")]
    assert [problem.where for problem in source.problems] == ["a.jsonl line 2", "a.jsonl line 3", "a.jsonl line 4"]
    with pytest.raises(DataError, match="nested too deeply"):
        dialogue(place({"a.jsonl": "", "b.json": "[" * 100_000}))


def test_files_called_train_and_test_are_the_splits(place):
    one = '{"question": "a", "answer": "b"}\n'
    source = dialogue(place({"train.jsonl": one * 3, "test.jsonl": one * 2}))
    assert {name: places.tolist() for name, places in source.given.items()} == {"train": [0, 1, 2], "test": [3, 4]}
    assert source.groups is None


@pytest.mark.parametrize(
    "files",
    [
        {"a.yml": "key: value\n"}, {"a.json": '{"data": [{"paragraphs": [{"qas": [{"question": "a"}]}]}]}'},
        {"a.json": "[1, 2]"}, {"a.json": '["a", "b"]'}, {"a.json": "[" * 100_000}, {"a.json": ""},
        {"a.txt": "Hello.\n"},
        {"a.jsonl": '{"x": 1, "y": 2}\n'}, {"a.jsonl": '{"text": "a", "source": "web", "target": "sports"}\n'},
         {"a.json": b"\0\xff"}, {"a.yml": "conversations:\n", "b.txt": "x\n"},
        {"a.json": '[{"paragraphs": ["a", "b"]}]'}, {"a.png": b"\x89PNG"},
    ],
)  # fmt: skip
def test_places_that_are_no_conversations(place, files):
    assert not looks_like_dialogue(place(files))


def test_a_value_that_is_no_talk():
    for value in (
        None,
        1,
        "a",
        [],
        [1],
        [["a"]],
        {},
        {"turns": [1]},
        {"question": "a", "answer": ["b"]},
        {"turns": [["a"], 1]},
    ):
        assert talk_in(value) == []


@pytest.mark.shared_data
def test_the_real_sets(shared_data):
    forum = dialogue(open_tree(shared_data / "egret-wenda"))
    assert len(forum.examples) == 2_908
    assert texts(forum)[1] == ("如何删除子对象", "this.removeChild(this.view)")
    tree = open_tree(shared_data / "chatterbot-corpus" / "chatterbot-corpus.tar.gz")
    assert looks_like_dialogue(tree)
    english = dialogue(tree)
    assert (len(english.examples), len(set(english.groups.tolist()))) == (2_306, 2_025)
    assert len(dialogue(tree, language="chinese").examples) == 552
    assert len(dialogue(tree, language="all").examples) == 11_926
