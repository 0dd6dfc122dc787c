"""The reader of running text: documents, line ends, encodings, splits."""

import gzip

import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.corpus import corpus
from netwright.errors import DataError, UsageError

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"


def test_a_file_is_one_document(tmp_path):
    (tmp_path / "play.txt").write_text(TEXT)
    source = corpus(open_tree(tmp_path / "play.txt"))
    assert source.kind == "text"
    assert source.task == "generate"
    assert source.examples.texts == [TEXT]
    assert source.targets is None
    assert source.ids == ["play.txt"]
    assert source.name == "play"
    assert source.given == {}
    assert source.problems == []


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_and_byte_order_marks_leave_no_trace(tmp_path, end):
    (tmp_path / "play.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", end).encode())
    assert corpus(open_tree(tmp_path / "play.txt")).examples.texts == [TEXT]


def test_other_separators_are_characters(tmp_path):
    text = "one\u2028two\x0bthree\x85four\nfive and some more text\n"
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert corpus(open_tree(tmp_path)).examples.texts == [text, text]
    assert corpus(open_tree(tmp_path / "a.txt")).examples.texts == [text]


def test_files_are_documents_in_order_of_their_names(tmp_path):
    for name in ("b.txt", "a.txt", "c/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"This is {name}, a text.\n\nIt ends here.\n")
    (tmp_path / "README.md").write_text("About the data.")
    (tmp_path / "e.txt").write_text("")
    source = corpus(open_tree(tmp_path))
    assert source.ids == ["a.txt", "b.txt", "c/d.txt"]
    assert [text.split(",")[0] for text in source.examples.texts] == [
        "This is a.txt",
        "This is b.txt",
        "This is c/d.txt",
    ]
    assert source.name == tmp_path.name


def test_a_document_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_bytes(("Привет, как дела? Всё хорошо.\n" * 20).encode("koi8-r"))
    (tmp_path / "c.txt").write_text(TEXT.replace("we", "w\0"))
    source = corpus(open_tree(tmp_path))
    assert source.ids == ["a.txt"]
    assert [(p.where, p.action) for p in source.problems] == [("b.txt", "left out"), ("c.txt", "left out")]
    assert "line 2: a NUL" in source.problems[1].what


def test_splits_from_names(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"wiki.{split}.tokens").write_text(f"the {split} text is here .\n" * 5)
    source = corpus(open_tree(tmp_path))
    assert {split: [source.ids[k] for k in places] for split, places in source.given.items()} == {
        "train": ["wiki.train.tokens"],
        "validation": ["wiki.valid.tokens"],
        "test": ["wiki.test.tokens"],
    }


def test_encodings(tmp_path):
    place = tmp_path / "a.txt"
    place.write_bytes("Мама мыла раму, а папа читал газету.\n".encode("cp1251") * 9)
    with pytest.raises(DataError, match="neither UTF-8 nor surely any other"):
        corpus(open_tree(place))
    assert corpus(open_tree(place), encoding="cp1251").examples.texts[0].startswith("Мама мыла")
    with pytest.raises(UsageError, match=r"'cp1252' is not known|cp-12511"):
        corpus(open_tree(place), encoding="cp-12511")
    place.write_bytes("快来看，这里有一段中文。\n".encode("gbk") * 9)
    source = corpus(open_tree(place))
    assert source.examples.texts[0].startswith("快来看，这里")
    assert source.problems[0].where == "a.txt"
    place.write_bytes(TEXT.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"data\.encoding=utf-16-le"):
        corpus(open_tree(place))
    assert corpus(open_tree(place), encoding="utf-16-le").examples.texts == [TEXT]


def test_packed_text_is_read_in_place(tmp_path):
    place = tmp_path / "a.txt.gz"
    place.write_bytes(gzip.compress(TEXT.encode()) + gzip.compress(b"And more.\n"))
    source = corpus(open_tree(place))
    assert source.examples.texts == [TEXT + "And more.\n"]
    assert source.name == "a"
    place.write_bytes(gzip.compress(TEXT.encode() * 9000)[:-9])
    with pytest.raises(DataError, match="ends early"):
        corpus(open_tree(place))


def test_a_swollen_gzip_is_refused(tmp_path):
    place = tmp_path / "a.txt.gz"
    place.write_bytes(gzip.compress(b"text and more " + b"a" * 2**23))
    with pytest.raises(DataError, match="unpacks to more than"):
        corpus(open_tree(place))


def test_no_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3\n4 5 6\n")
    with pytest.raises(DataError, match="holds no running text"):
        corpus(open_tree(tmp_path))


@pytest.mark.shared_data
def test_tiny_shakespeare(shared_data):
    (text,) = corpus(open_tree(shared_data / "tinyshakespeare")).examples.texts
    assert len(text) == 1_115_394
    assert len(set(text)) == 65
