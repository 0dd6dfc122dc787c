"""The reader of labelled text: two columns, a file a class, a folder a class."""

import gzip
from collections import Counter

import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.labelled_text import labelled_text
from netwright.data.texts.labels import Columns, columns_of
from netwright.errors import DataError, UsageError

GOOD = ["a very good film", "what a lovely story", "the best scene of all", "great music, great plot", "funny and warm"]
BAD = ["a terrible film", "what a dull story", "the worst scene of all", "bad music, no plot", "boring and long"]
ROWS = [(label, text) for pair in zip(GOOD, BAD, strict=True) for label, text in zip(("pos", "neg"), pair, strict=True)]


def put(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(path, **settings):
    return labelled_text(open_tree(path), **settings)


def sheet(mark="\t", head="", last=False, quote=False, rows=ROWS):
    wrap = '"{}"' if quote else "{}"
    cells = [(label, wrap.format(text)) for label, text in rows]
    return head + "".join(mark.join(row[::-1] if last else row) + "\n" for row in cells)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("quote", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_two_columns_apart_by_tabs(tmp_path, last, quote, end):
    put(tmp_path, spam=sheet(last=last, quote=quote).replace("\n", end))
    source = read(tmp_path / "spam")
    assert source.kind == "text"
    assert source.task == ""
    assert source.name == "spam"
    assert source.examples.texts == [text for _, text in ROWS]
    assert source.targets.tolist() == [label for label, _ in ROWS]
    assert source.ids[:2] == ["row 1", "row 2"]
    assert source.given == {}
    assert source.classes is None


@pytest.mark.parametrize(("mark", "last"), [(",", False), (",", True), (";", False), ("\t", True), ("|", False)])
def test_a_header_is_found(tmp_path, mark, last):
    head = f"review{mark}label\n" if last else f"label{mark}review\n"
    put(tmp_path, r__csv=sheet(mark, head, last, quote=True))
    source = read(tmp_path / "r.csv")
    assert len(source.examples) == 10
    assert Counter(source.targets) == {"pos": 5, "neg": 5}
    assert source.ids[0] == "row 1"


def test_a_header_of_unknown_words_over_numbers(tmp_path):
    numbered = [("1" if label == "pos" else "0", text) for label, text in ROWS]
    put(tmp_path, r__csv=sheet(",", "stars,said\n", quote=True, rows=numbered))
    assert Counter(read(tmp_path / "r.csv").targets) == {"1": 5, "0": 5}


def test_header_setting_decides(tmp_path):
    put(tmp_path, r__tsv=sheet())
    assert len(read(tmp_path / "r.tsv", header=True).examples) == 9
    put(tmp_path, r__tsv=sheet(head="label\ttext\n"))
    assert len(read(tmp_path / "r.tsv", header=False).examples) == 11


def test_columns_by_name(tmp_path):
    put(tmp_path, r__tsv=sheet(head="kind\ttext\n"))
    for settings in ({"target": "kind"}, {"source": "text"}, {"target": "kind", "source": "text"}):
        assert set(read(tmp_path / "r.tsv", **settings).targets) == {"pos", "neg"}
    turned = read(tmp_path / "r.tsv", target="text")
    assert turned.examples.texts[0] == "pos"
    with pytest.raises(UsageError, match=r"no column 'kinds'.*kind"):
        read(tmp_path / "r.tsv", target="kinds")
    with pytest.raises(UsageError, match="both name"):
        read(tmp_path / "r.tsv", target="kind", source="kind")
    put(tmp_path, r__tsv=sheet())
    assert read(tmp_path / "r.tsv", target="column1").targets[0] == "pos"
    with pytest.raises(UsageError, match=r"data\.header=true"):
        read(tmp_path / "r.tsv", target="label")


def test_quotes_that_wrap_nothing_are_characters(tmp_path):
    text = sheet() + 'pos\the said "well\nneg\t"dull" and long\npos\t"\n'
    put(tmp_path, spam=text)
    source = read(tmp_path / "spam")
    assert source.examples.texts[-3:] == ['he said "well', '"dull" and long', '"']


def test_quoted_cells_may_hold_line_ends_and_quotes(tmp_path):
    more = 'pos,"two lines\nof a ""good"" film"\n'
    put(tmp_path, r__csv=sheet(",", "label,text\n", quote=True) + more)
    assert read(tmp_path / "r.csv").examples.texts[-1] == 'two lines\nof a "good" film'
    put(tmp_path, r__tsv=(sheet(quote=True) + more.replace(",", "\t", 1)))
    assert read(tmp_path / "r.tsv").examples.texts[-1] == 'two lines\nof a "good" film'


def test_rows_that_cannot_be_read_are_reported_with_their_line(tmp_path):
    put(tmp_path, spam=sheet() + "alone\npos\tone\ttwo\n\tno label here\nneg\t\n")
    source = read(tmp_path / "spam")
    assert len(source.examples) == 10
    assert [(p.where, p.action) for p in source.problems] == [(f"spam:{n}", "left out") for n in (11, 12, 13, 14)]
    assert source.problems[2].what == "a row without a label"
    assert source.problems[3].what == "a row without a text"


def test_given_splits_of_tables(tmp_path):
    head = "text\tlabel\n"
    put(tmp_path, train__tsv=sheet(head=head, last=True), test__tsv=sheet(head=head, last=True, rows=ROWS[:6]))
    source = read(tmp_path)
    assert {split: len(places) for split, places in source.given.items()} == {"train": 10, "test": 6}
    assert source.ids[source.given["test"][0]] == "test.tsv row 1"


def test_endings_are_classes(tmp_path):
    put(tmp_path, rt__pos="\n".join(GOOD) + "\n\n", rt__neg="\n".join(BAD))
    source = read(tmp_path)
    assert source.ids == [f"rt.neg:{n}" for n in range(1, 6)] + [f"rt.pos:{n}" for n in range(1, 6)]
    assert source.examples.texts == BAD + GOOD
    assert source.targets.tolist() == ["neg"] * 5 + ["pos"] * 5
    assert source.classes == ["neg", "pos"]


def test_a_file_a_class_below_split_folders(tmp_path):
    for split in ("train", "test"):
        put(tmp_path, **{f"{split}_in_pos__txt": "\n".join(GOOD), f"{split}_in_neg__txt": "\n".join(BAD)})
    source = read(tmp_path)
    assert {split: len(places) for split, places in source.given.items()} == {"train": 10, "test": 10}
    assert source.classes == ["neg", "pos"]
    with pytest.raises(UsageError, match="names a column"):
        read(tmp_path, target="label")


def test_a_folder_a_class_with_a_text_a_file(tmp_path):
    for number, (good, bad) in enumerate(zip(GOOD, BAD, strict=True)):
        put(tmp_path, **{f"a_in_pos_in_{number}__txt": f"{good}\n\n{bad}\n", f"a_in_neg_in_{number}__txt": bad})
    put(
        tmp_path,
        **{"a_in_neg_in_9__txt": ("Привет, как дела?\n" * 9).encode("koi8-r"), "a_in_odd__txt": "a stray text"},
    )
    source = read(tmp_path)
    assert Counter(source.targets) == {"pos": 5, "neg": 5}
    assert source.ids[0] == "a/neg/0.txt"
    assert source.examples.texts[5] == f"{GOOD[0]}\n\n{BAD[0]}"
    assert {problem.where for problem in source.problems} == {"a/neg/9.txt", "a/odd.txt"}


def test_unlabelled_folders_are_left_out(tmp_path):
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            put(tmp_path, **{f"{split}_in_{label}_in_{n}__txt": GOOD[n] for n in range(3)})
    put(tmp_path, **{f"train_in_unsup_in_{n}__txt": BAD[n] for n in range(3)})
    source = read(tmp_path)
    assert source.classes == ["neg", "pos"]
    assert {split: len(places) for split, places in source.given.items()} == {"train": 6, "test": 6}
    assert sum("of no class" in problem.what for problem in source.problems) == 3


def test_packed_and_encoded(tmp_path):
    put(tmp_path, r__tsv__gz=gzip.compress(sheet().encode("utf-16")))
    assert len(read(tmp_path / "r.tsv.gz").examples) == 10
    russian = [("да", "очень хороший фильм " + text) for _, text in ROWS[:5]] + [
        ("нет", "плохой " + t) for _, t in ROWS[5:]
    ]
    put(tmp_path, s__tsv=sheet(rows=russian).encode("cp1251"))
    assert set(read(tmp_path / "s.tsv", encoding="cp1251").targets) == {"да", "нет"}
    put(tmp_path, n__tsv=sheet().replace("dull", "du\0ll"))
    with pytest.raises(DataError, match=r"n\.tsv line 4: a NUL character"):
        read(tmp_path / "n.tsv")


def test_what_is_no_labelled_text_is_refused(tmp_path):
    put(tmp_path, a__txt="Once there was a king.\n")
    with pytest.raises(DataError, match="holds no labelled texts"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS, Columns(0, False)),
        ([row[::-1] for row in ROWS], Columns(1, False)),
        ([("label", "text"), *ROWS], Columns(0, True)),
        ([(str(number), text) for number, (_, text) in enumerate(ROWS)], None),
        ([("1.5", text) for _, text in ROWS], None),
        ([("a", "red"), ("b", "blue")] * 20, None),
        ([(text, text.upper()) for _, text in ROWS], None),
        ([("pos", "a"), ("neg", "b")], None),
        ([], None),
    ],
)
def test_which_column_is_the_label(rows, found):
    assert columns_of(rows) == found


@pytest.mark.shared_data
def test_real_sets(shared_data):
    spam = read(shared_data / "sms-spam")
    assert Counter(spam.targets) == {"ham": 4827, "spam": 747}
    assert spam.examples.texts[0].startswith("Go until jurong point")
    assert Counter(read(shared_data / "waimai_10k").targets) == {"0": 7987, "1": 4000}
    assert Counter(read(shared_data / "rt-polarity").targets) == {"pos": 5331, "neg": 5331}
    names = read(shared_data / "names" / "names.tar.gz")
    assert len(names.examples) == 20_050
    assert len(names.classes) == 18
    assert names.ids[0] == "names/Arabic.txt:1"
