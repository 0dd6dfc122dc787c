"""The reader of tagged tokens: columns, splits, broken lines, and tags that cannot follow one another."""

import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.conll import conll
from netwright.data.source import Problem
from netwright.data.texts.tags import columns_of, odd_at, parts_of, scheme_in, scheme_of
from netwright.errors import DataError

TWO = "John\tB-PER\nlives\tO\n\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n"


def read(folder, text, name="a.conll", **settings):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return conll(open_tree(folder / name), **settings)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["\t", " ", "  "])
def test_sentences_tokens_and_tags(tmp_path, mark, end):
    source = read(tmp_path, TWO.replace("\t", mark).replace("\n", end))
    assert source.kind == "text"
    assert source.task == "tag"
    assert source.name == "a"
    assert source.examples.texts == [("John", "lives"), ("in", "New", "York")]
    assert source.targets.tolist() == [("B-PER", "O"), ("O", "B-LOC", "I-LOC")]
    assert source.ids == ["a.conll:1", "a.conll:4"]
    assert source.facts == {"scheme": "BIO"}
    assert source.given == {}
    assert source.problems == []


def test_sentences_of_one_length_stay_tuples(tmp_path):
    source = read(tmp_path, "a\tB-X\nb\tO\n\nc\tO\nd\tO\n")
    assert source.targets.shape == (2,)
    assert source.targets[1] == ("O", "O")


def test_bare_quotes_and_odd_tokens_are_tokens(tmp_path):
    tokens = ['"', "'", '""', "#", "-", "\u2028", "\x85x", "\U0001f600", ","]
    source = read(tmp_path, "x\tB-Y\n\n" + "".join(f"{token}\tO\n" for token in tokens if token.strip()))
    assert source.examples.texts[1] == tuple(token for token in tokens if token.strip())


def test_the_last_of_several_columns_is_the_tag_and_documents_are_divided(tmp_path):
    text = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nsays VBZ I-VP O\n-DOCSTART- -X- O O\nPeter NNP I-NP B-PER\n"
    source = read(tmp_path, text, "eng.conll")
    assert source.examples.texts == [("EU", "says"), ("Peter",)]
    assert source.targets.tolist() == [("B-ORG", "O"), ("B-PER",)]
    assert source.ids == ["eng.conll:3", "eng.conll:6"]


def test_conllu_has_words_in_the_second_column_and_tags_in_the_fourth(tmp_path):
    row = "{}\t{}\t_\t{}\t_\t_\t0\t_\t_\t_\n"
    text = "# sent_id = 1\n# text = I don't\n" + row.format(1, "I", "PRON") + row.format("2-3", "don't", "_")
    text += row.format(2, "do", "AUX") + row.format(3, "n't", "PART") + row.format("3.1", "go", "VERB")
    source = read(tmp_path, text, "a.conllu")
    assert source.examples.texts == [("I", "do", "n't")]
    assert source.targets.tolist() == [("PRON", "AUX", "PART")]
    assert source.problems == []


def test_broken_lines_are_reported_with_file_and_line_and_left_out(tmp_path):
    good = "a\tO\nb\tB-X\n\n" * 10
    source = read(tmp_path, good + "c\tO\nlonely\nd\t\n\tO\ne\tf\tO\n")
    assert source.examples.texts[-1] == ("c",)
    assert [(p.where, p.action) for p in source.problems] == [(f"a.conll:{n}", "left out") for n in (32, 33, 34, 35)]
    whats = [problem.what for problem in source.problems]
    assert "without 2 columns: 'lonely'" in whats[0]
    assert "without a tag" in whats[1]
    assert "without a token" in whats[2]


def test_many_broken_lines_are_counted(tmp_path):
    source = read(tmp_path, "a\tO\nb\tB-X\n\n" * 200 + "broken\n" * 50)
    assert len(source.problems) == 21
    assert source.problems[-1] == Problem("30 more", "a line without 2 columns (50 in all)", "left out")


def test_given_splits_come_from_file_names(tmp_path):
    for name, count in (("wnut17train.conll", 5), ("emerging.dev.conll", 2), ("emerging.test.annotated", 3)):
        (tmp_path / name).write_text(TWO * count + "\n")
    (tmp_path / "README").write_text("These are tagged tokens.")
    source = conll(open_tree(tmp_path))
    sizes = {split: len(places) for split, places in source.given.items()}
    assert sum(sizes.values()) == len(source.examples)
    assert sizes["train"] > sizes["test"] > sizes["validation"] > 0
    assert {source.ids[place].split(":")[0] for place in source.given["test"]} == {"emerging.test.annotated"}


def test_a_file_without_a_split_belongs_to_training_and_one_without_tags_is_left_out(tmp_path):
    for name in ("train.txt", "more.txt", "test.txt"):
        (tmp_path / name).write_text(TWO)
    (tmp_path / "tags.txt").write_text("B-PER\nI-PER\nO\n")
    source = conll(open_tree(tmp_path))
    assert {split: len(places) for split, places in source.given.items()} == {"train": 4, "test": 2}
    told = {problem.where: (problem.what, problem.action) for problem in source.problems}
    assert told["more.txt"][1] == "read as training examples"
    assert told["tags.txt"] == ("a file without tags", "left out")


def test_a_lone_test_file_is_no_split(tmp_path):
    assert read(tmp_path, TWO, "test.conll").given == {}


@pytest.mark.parametrize(
    ("tags", "scheme", "odd"),
    [
        ("O B-X I-X O", "BIO", []),
        ("I-X O B-X I-Y", "BIO", [0, 3]),
        ("B-X I-X B-X B-Y I-Y", "BIO", []),
        ("I-X I-X O I-Y", "IO", []),
        ("B-X M-X E-X S-Y O", "BIOES", []),
        ("B-X O M-X E-X B-Y", "BIOES", [1, 2, 5]),
        ("B-X I-X L-X U-Y", "BIOES", []),
        ("B-X S-Y E-X", "BIOES", [1, 2]),
        ("NN VB DT", "", []),
        ("O O", "", []),
    ],
)
def test_schemes_and_tags_that_cannot_follow(tags, scheme, odd):
    listed = tags.split()
    assert scheme_of(listed) == scheme
    assert odd_at(listed, scheme) == odd


def test_the_older_scheme_where_b_only_parts_two_entities():
    older = [["I-X", "I-X", "O", "I-Y"], ["I-X", "B-X", "I-X"]]
    assert scheme_in(older) == "IOB1"
    assert odd_at(older[0], "IOB1") == []
    assert scheme_in([*older, ["O", "B-X"]]) == "BIO"
    assert scheme_in([["B-X", "I-X", "O"]]) == "BIO"
    assert scheme_in([["NN", "VB"]]) == ""


def test_parts_of_a_tag():
    assert parts_of("M-ORG") == ("I", "ORG")
    assert parts_of("B-creative-work") == ("B", "creative-work")
    assert parts_of("O") == ("O", "")
    assert parts_of("NNP") == ("", "NNP")


def test_odd_tags_are_reported_and_kept(tmp_path):
    source = read(tmp_path, "a\tB-X\nb\tI-X\n\nc\tI-X\nd\tO\n")
    assert source.targets[1] == ("I-X", "O")
    (problem,) = source.problems
    assert (problem.where, problem.action) == ("a.conll:4", "kept")
    assert problem.what.endswith("I-X after the beginning, token 1")


def test_encodings(tmp_path):
    raw = "我 B-PER\n们 E-PER\n走 O\n吧 O\n\n".encode("gb18030") * 20
    source = read(tmp_path, raw, encoding="gb18030")
    assert source.examples.texts[0] == ("我", "们", "走", "吧")
    with pytest.raises(DataError, match=r"a\.conll line 1.*no ascii text"):
        read(tmp_path, raw, encoding="ascii")
    with pytest.raises(DataError, match=r"a\.conll line 5: a NUL character"):
        read(tmp_path, TWO.replace("New", "N\0ew"))


def test_a_sentence_without_end_is_refused(tmp_path):
    with pytest.raises(DataError, match="more than 100000 tokens"):
        read(tmp_path, "a\tO\nb\tB-X\n" * 60_000)


def test_no_columns_no_reading(tmp_path):
    with pytest.raises(DataError, match="holds no tokens with tags"):
        read(tmp_path, "just text\nand more text here\n", "a.txt")
    assert columns_of(["a b", "a b c", "a"]) is None


@pytest.mark.shared_data
def test_real_sets(shared_data):
    wnut = conll(open_tree(shared_data / "wnut17"))
    assert {split: len(places) for split, places in wnut.given.items()} == {
        "train": 3394,
        "validation": 1009,
        "test": 1287,
    }
    assert sum(tokens.count('"') for tokens in wnut.examples.take(wnut.given["train"]).texts) == 263
    assert sum(len(tags) for tags in wnut.targets[wnut.given["train"]]) == 62730
    resume = conll(open_tree(shared_data / "resume-ner"))
    assert {split: len(places) for split, places in resume.given.items()} == {
        "train": 3821,
        "validation": 463,
        "test": 477,
    }
    assert resume.facts == {"scheme": "BIOES"}
    assert len({tag for tags in resume.targets for tag in tags if tag != "O"}) == 27
