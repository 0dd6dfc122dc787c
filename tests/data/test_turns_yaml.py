"""The YAML of chatterbot's corpora: what each way of writing a text gives, and what is reported instead."""

import pytest

from netwright.data.files.tree import Tally
from netwright.data.texts.turns_yaml import yaml_conversations
from netwright.errors import DataError


def read(body: str, head: str = "conversations:\n"):
    tally = Tally()
    talks = yaml_conversations(head + body, "a.yml", tally)
    return [(talk.place, talk.turns) for talk in talks], [(p.where, p.what) for p in tally.problems()]


def turn(body: str) -> str:
    """The one turn that `body`, the text behind `- - `, gives."""
    found, problems = read(f"- - {body}")
    assert problems == []
    return found[0][1][0]


def test_conversations_stand_below_their_key_until_the_next():
    text = "categories:\n- AI\n- more\n\nconversations: # all of them\n- - What?\n  - This.\n"
    found, problems = read(text + "# between\n- - a\n  - b\n  - c\nother:\n- - no\n  - turn\n", "")
    assert (found, problems) == ([(6, ["What?", "This."]), (9, ["a", "b", "c"])], [])


@pytest.mark.parametrize(
    "body",
    [
        "- - a\n  - b\n- - c\n  - d\n", "  - - a\n    - b\n  - - c\n    - d\n",
        "-\n  - a\n  - b\n-\n    - c\n    - d\n",
        "-   - a\n    - b\n-   - c\n    - d", "- -  a\n  -   b\n\n- - c\n\n  - d\n\n",
        "- - a\r\n  - b\r\n- - c\r\n  - d\r\n",
    ],
)  # fmt: skip
def test_any_indentation(body):
    found, problems = read(body)
    assert [turns for _, turns in found] == [["a", "b"], ["c", "d"]]
    assert problems == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("plain words  # a comment", "plain words"), ("a#b:c d", "a#b:c d"), ("it's \"so\"", "it's \"so\""),
        ("first\n    second\n\n    third", "first second\nthird"), ("-5 is less", "-5 is less"), ("", ""),
        ("a - b\n    - c", "a - b - c"), ("'it''s: #1'", "it's: #1"), ("'a\n    b\n\n    c'", "a b\nc"),
        ('"tab\\t \\"q\\" \\u4f60 \\x41 \\U0001F600 \\/ \\\\"', 'tab\t "q" 你 A 😀 / \\'), ('"a \\\n    b"', "a b"),
        ('"a\n\n    b"  # c', "a\nb"), ("|\n    if x:\n        y = 1\n\n    # kept\n", "if x:\n    y = 1\n\n# kept"),
        ("|-\n    a\n", "a"), ("|2\n      a\n", "  a"), (">\n    a\n    b\n\n    c\n", "a b\nc"), ("'x\\n'", "x\\n"),
        ("？全角", "？全角"), ("\n    below", "below"),
    ],
)  # fmt: skip
def test_texts(body, text):
    assert turn(body) == text


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("- - key: value\n  - b\n", 2, "a colon and a blank make a mapping"),
        ("- - a\n  - b: \n", 3, "a colon and a blank make a mapping"), ("- - [a, b]\n", 2, "does not begin with '['"),
        ("- - &x a\n", 2, "does not begin with '&'"), ("- - !!python/object x\n", 2, "does not begin with '!'"),
        ("- - *x\n", 2, "does not begin with '*'"), ("- - - deeper\n", 2, "does not begin with '-'"),
        ("- only one text\n", 2, "one text, or another thing than a list"), ("- - 'open\n  - b\n", 2, "never closes"),
        ('- - "open\n', 2, "never closes"), ("- - 'a' b\n", 2, "text behind the closing quote: 'b'"),
        ('- - "\\q"\n', 2, "no escape of YAML: \\q"), ('- - "\\ud800"\n', 2, "no character: \\ud800"),
        ("- - a\n   - b\n  - c\n    x: y\n", 5, "a colon and a blank"),
        ("- - a\n - b\n", 3, "a turn is expected at column 3"),
        ("- - a\n  - cut\noff\n", 4, "a turn is expected at column 3"),
        ("-\n", 2, "it is empty"), ("- - \ta\n", 2, "a tab in the indentation"),
    ],
)  # fmt: skip
def test_all_else_is_reported_with_its_line_and_the_next_conversation_is_read(body, line, reason):
    found, problems = read(f"{body}- - good\n  - one\n")
    assert found[-1][1] == ["good", "one"]
    assert problems[0][0] == f"a.yml line {line}"
    assert reason in problems[0][1]


def test_a_file_without_conversations_is_refused():
    with pytest.raises(DataError, match=r"a\.yml: no `conversations:`"):
        read("- - a\n", "categories:\n")
    with pytest.raises(DataError, match=r"a\.yml line 1: a list of conversations is expected below, not '\[\]'"):
        read("", "conversations: []\n")
    assert read("") == ([], [])


def test_hostile_sizes_take_linear_time():
    bodies = [
        "- " * 20_000, "- - '" + "''" * 20_000, "- - " + " " * 20_000 + "x", "- - a\n" * 5_000 + "   b\n" * 5_000,
        '- - "' + "\\" * 20_001, "- - a\n" + "\n" * 20_000 + "    b", "- - x" + " #" * 20_000,
        "- - a\n" + "    b\n" * 100_000, '- - "a\n' + "    b\n" * 100_000 + '    "', "- - >\n" + "    b\n" * 100_000,
    ]  # fmt: skip
    for body in bodies:
        found, _ = read(body)
        assert len(found) <= 5_001
