"""The form of fastText: which lines are read with which class, and what is refused."""

import gzip

import numpy as np
import pytest

import netwright as nw
from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.readers.label_prefixes import prefixed_files
from netwright.data.readers.labelled_text import labelled_text
from netwright.errors import DataError, UsageError

ROWS = [(("sauce", "bread")[k % 2], f"how do I keep {k} jars of it fresh") for k in range(20)]


def lines(rows, mark=" ", end="\n"):
    return "".join(f"__label__{label}{mark}{text}{end}" for label, text in rows)


@pytest.fixture
def place(tmp_path):
    def write(**files):
        for name, content in files.items():
            raw = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(raw)
        return open_tree(tmp_path if len(files) > 1 else tmp_path / next(iter(files)))

    return write


def read(source):
    return list(zip(source.targets.tolist(), source.examples.texts, strict=True))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.txt", lines(ROWS).encode()),
        ("a.train", lines(ROWS).encode()),
        ("a", b"\xef\xbb\xbf" + lines(ROWS, "\t", "\r\n").encode()),
        ("a.txt.gz", gzip.compress(lines(ROWS).encode())),
        ("a.txt", lines(ROWS).encode("utf-16")),
        ("a.txt", "".join(f"{text} __label__{label}\n" for label, text in ROWS).encode()),
        ("a.txt", lines([(f"{label} __label__{label}", text) for label, text in ROWS]).encode()),
    ],
)
def test_a_text_a_line_behind_its_class(place, name, raw):
    tree = place(**{name: raw})
    assert [part.name for part in READERS.values() if part.facts["recognises"](tree)] == ["labelled_text"]
    source = labelled_text(tree)
    assert read(source) == ROWS
    assert source.ids[2].endswith(":3")
    assert source.classes is None


def test_words_of_one_token_are_not_taken_for_tags(place):
    tree = place(**{"a.txt": lines([(k, f"name{place}") for place, k in enumerate(["x", "y"] * 10)])})
    assert [part.name for part in READERS.values() if part.facts["recognises"](tree)] == ["labelled_text"]


def test_windows_1252_is_told(place):
    source = labelled_text(
        place(**{"a.txt": lines([(label, text + " caf\xe9") for label, text in ROWS]).encode("cp1252")})
    )
    assert source.examples.texts[0].endswith("caf\xe9")
    assert [problem.action for problem in source.problems] == ["read as cp1252; data.encoding=NAME decides"]


def test_splits_by_name_and_the_whole_beside_them_left_out(place):
    tree = place(**{"c.train": lines(ROWS[:12]), "c.valid": lines(ROWS[12:]), "c.txt": lines(ROWS), "README": "text"})
    assert prefixed_files(tree) == ("c.train", "c.valid")
    source = labelled_text(tree)
    assert read(source) == ROWS
    assert {name: len(places) for name, places in source.given.items()} == {"train": 12, "validation": 8}
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("c.txt", "its name states no split, others' do")
    ]


def test_a_class_of_the_test_file_alone_is_told(tmp_path):
    (tmp_path / "c.train").write_text(lines(ROWS[:12]), encoding="utf-8")
    (tmp_path / "c.test").write_text(lines([*ROWS[12:], ("rare", "never seen before")]), encoding="utf-8")
    data = nw.read(tmp_path)
    assert data.classes == ["bread", "rare", "sauce"]
    assert any(problem.what == "no training example" and "rare" in problem.where for problem in data.problems)
    assert data.examples["test"] == 9


def test_several_classes_on_a_line_are_refused_with_the_line(place):
    tree = place(**{"a.txt": lines(ROWS) + "__label__sauce __label__cheese grate it\n"})
    with pytest.raises(
        DataError, match=r"a\.txt:21: 2 classes on one line \(sauce, cheese\); a text has one class here"
    ):
        labelled_text(tree)


def test_lines_without_class_or_text_are_left_out(place):
    odd = lines(ROWS) + "__label__ no name\nno mark at all\n__label__sauce\n\n"
    source = labelled_text(place(**{"a.txt": odd}))
    assert read(source) == ROWS
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("a.txt:21", "a row without a label"),
        ("a.txt:22", "a row without a label"),
        ("a.txt:23", "a row without a text"),
    ]


def test_columns_are_refused_and_one_class_or_line_is_too_few(place, tmp_path):
    tree = place(**{"a.txt": lines(ROWS)})
    with pytest.raises(UsageError, match="here marks such as __label__x are the classes"):
        labelled_text(tree, target="label")
    (tmp_path / "one.txt").write_text("__label__a one example\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has one class only \(a\)"):
        nw.read(tmp_path / "one.txt")


def test_a_word_in_running_text_is_no_mark(place):
    text = "fastText marks classes with __label__ before the name.\n" + "It reads __label__x as x.\n" * 2
    assert prefixed_files(place(**{"a.txt": text + "Nothing here is such a line.\n" * 20})) == ()


def test_it_trains_and_predicts(tmp_path):
    (tmp_path / "a.txt").write_text(lines(ROWS * 6), encoding="utf-8")
    run = nw.train(
        tmp_path / "a.txt", {"name": "lstm", "hidden": 8, "embedding": 8}, epochs=1, out=tmp_path / "run", quiet=True
    )
    (tmp_path / "new.txt").write_text(lines(ROWS[:3]), encoding="utf-8")
    (tmp_path / "plain.txt").write_text("".join(text + "\n" for _, text in ROWS[:3]), encoding="utf-8")
    marked, plain = run.predict(tmp_path / "new.txt"), run.predict(tmp_path / "plain.txt")
    np.testing.assert_allclose(
        [row["probabilities"]["sauce"] for row in marked], [row["probabilities"]["sauce"] for row in plain], rtol=1e-6
    )
