"""Sentence pairs: which files and columns belong together, what is read of them, and what is refused."""

import csv
import gzip
import io

import numpy as np
import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.pairs import LONGEST, pairs
from netwright.data.splits import split
from netwright.data.texts.pairing import correlation, head_text, looks_like_pairs, sentence_lines, side_of
from netwright.errors import DataError, UsageError


def squeezed(data, level=9):
    """The same bytes whenever it is asked: no time of day among them, which would be in the names of tests."""
    return gzip.compress(data, level, mtime=0)


WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "runs",
    "eats",
    "sees",
    "big",
    "small",
    "red",
    "house",
    "tree",
    "man",
    "woman",
    "child",
    "park",
]
RNG = np.random.default_rng(0)
FIRST = [" ".join(RNG.choice(WORDS, RNG.integers(3, 9))) for _ in range(40)]
SECOND = [text[::-1] for text in FIRST]
OTHERS = [" ".join(RNG.choice(WORDS, RNG.integers(3, 9))) for _ in range(40)]


def lines(texts) -> str:
    return "".join(f"{text}\n" for text in texts)


def table(rows, delimiter=",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


@pytest.fixture
def place(tmp_path):
    """Write files below a folder and open it."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return open_tree(tmp_path)

    return write


def texts(source) -> list[tuple[str, str]]:
    return list(zip(source.examples.texts, source.targets.tolist(), strict=True))


def test_two_files_give_their_lines_in_order(place):
    tree = place(train__en=lines(FIRST), train__de=squeezed(lines(SECOND).encode()))
    assert looks_like_pairs(tree)
    source = pairs(tree, source="en", target="de")
    assert texts(source) == list(zip(FIRST, SECOND, strict=True))
    assert (source.kind, source.task, source.given, source.problems) == ("text", "translate", {}, [])
    assert source.facts == {"source": "en", "target": "de"}
    assert [source.ids[0], source.ids[-1], source.ids[3:5]] == [
        "train.en line 1", "train.en line 40", ["train.en line 4", "train.en line 5"],
    ]  # fmt: skip
    with pytest.raises(IndexError):
        source.ids[40]


def test_the_side_first_in_the_alphabet_is_the_source_unless_a_word_says_so(place, tmp_path):
    assert pairs(place(train__en="a\n", train__de="b\n")).facts == {"source": "de", "target": "en"}
    assert pairs(place(train__en="a\n", train__de="b\n"), source="EN").facts == {"source": "en", "target": "de"}
    assert pairs(place(train__en="a\n", train__de="b\n"), target="de").facts == {"source": "en", "target": "de"}


@pytest.mark.parametrize(("one", "other"), [("src", "tgt"), ("question", "answer"), ("article", "title")])
def test_roles_say_which_is_the_source(place, one, other):
    tree = place(**{f"train.{one}": "a\nb\n", f"train.{other}": "c\nd\n"})
    assert looks_like_pairs(tree)
    assert pairs(tree).facts == {"source": one, "target": other}


def test_names_state_the_splits_and_groups_are_not_used_then(place):
    tree = place(**{
        "train.de": lines(FIRST), "train.en": lines(SECOND), "val.de": lines(FIRST[:3]), "val.en": lines(SECOND[:3]),
        "test_2016_flickr.de": lines(FIRST[:2]), "test_2016_flickr.en": lines(SECOND[:2]), "README.md": "# about",
    })  # fmt: skip
    source = pairs(tree)
    assert {name: positions.tolist() for name, positions in source.given.items()} == {
        "train": list(range(40)), "validation": [40, 41, 42], "test": [43, 44],
    }  # fmt: skip
    assert source.groups is None
    assert source.problems == []
    assert source.ids[43] == "test_2016_flickr.de line 1"


@pytest.mark.parametrize(
    "names",
    [
        ("src-train.txt", "tgt-train.txt"), ("train/a.en", "train/a.fr"), ("x.de-en.de", "x.de-en.en"),
        ("train_en.txt", "train_zh.txt"), ("dev.zh-CN", "dev.en-US"),
        ("valid.article.filter.txt", "valid.title.filter.txt"),
        ("sumdata/a.source", "sumdata/a.target"), ("any.left", "any.right"), ("en.txt", "de.txt"),
        ("english.txt", "german.txt"),
    ],
)  # fmt: skip
def test_names_that_pair(place, names):
    tree = place(**dict(zip(names, (lines(FIRST), lines(SECOND)), strict=True)))
    assert looks_like_pairs(tree)
    assert len(pairs(tree).examples) == 40


@pytest.mark.parametrize(
    "files",
    [
        {"rt.pos": lines(FIRST), "rt.neg": lines(OTHERS)},  # files of classes, as many lines
        {"any.left": lines(FIRST), "any.right": lines(OTHERS)},  # long where the other is short
        {"any.left": lines(FIRST), "any.right": lines(SECOND[:-1])},
        {"en.txt": lines(FIRST), "de.txt": lines(OTHERS)},  # a language to tell, a file each
        {f"data/names/{name}.txt": lines(WORDS) for name in ("English", "German", "Greek")},
        {"input.txt": lines(FIRST)},
        {"q.en.json": "{}", "q.zh.json": "{}"},
        {"sms.tsv": lines(f"{'ham' if k % 3 else 'spam'}\t{text}" for k, text in enumerate(FIRST))},
        {"tags.conll": lines(f"{word}\tO" for word in WORDS)},
        {"scores.tsv": lines(f"{text}\t{k / 7:.2f}" for k, text in enumerate(FIRST))},
        {"sick.txt": table([("id", "sentence_A", "sentence_B", "score"), *((k, a, b, 1.5) for k, (a, b) in
                           enumerate(zip(FIRST, SECOND, strict=True)))], "\t")},
        {"news.csv": table([("article", "title", "label"), *((a, b, k % 2) for k, (a, b) in
                            enumerate(zip(FIRST, SECOND, strict=True)))])},
        {"news.csv": table([("title", "text", "fake"), *((a, b, k % 2) for k, (a, b) in
                            enumerate(zip(FIRST, SECOND, strict=True)))])},
        {"edges.csv": table([("source", "target", "weight"), *((f"n{k}", f"n{k + 1}", k) for k in range(40))])},
        {"names.csv": table([("name", "city"), *((f"n{k}", f"c{k}") for k in range(40))])},
        {"empty.en": "", "empty.txt": ""},
        {"binary.left": b"\0\1\2" * 50, "binary.right": b"\0\1\2" * 50},
    ],
)  # fmt: skip
def test_places_that_are_no_pairs(place, files):
    assert not looks_like_pairs(place(**files))


@pytest.mark.parametrize(
    ("name", "text", "sides"),
    [
        ("p.tsv", lines(map("\t".join, zip(FIRST, SECOND, strict=True))), ("column1", "column2")),
        ("p.txt", lines(f"{a}\t{b}\tCC-BY #{k}" for k, (a, b) in enumerate(zip(FIRST, SECOND, strict=True))),
         ("column1", "column2")),
        ("p.csv", table([("en", "fr"), *zip(FIRST, SECOND, strict=True)]), ("en", "fr")),
        ("p.csv", table([("question", "answer"), *zip(FIRST, SECOND, strict=True)]), ("question", "answer")),
        ("p.csv", table([("id", "source", "target"), *((k, a, b) for k, (a, b) in
                         enumerate(zip(FIRST, SECOND, strict=True)))]), ("source", "target")),
        ("p.csv", table(list(zip(FIRST, SECOND, strict=True))), ("column1", "column2")),
        ("p.tsv", "english\tfrench\n" + lines(map("\t".join, zip(FIRST, SECOND, strict=True))), ("english", "french")),
    ],
)  # fmt: skip
def test_tables_of_two_texts(place, name, text, sides):
    tree = place(**{name: text})
    assert looks_like_pairs(tree)
    source = pairs(tree)
    assert texts(source) == list(zip(FIRST, SECOND, strict=True))
    assert source.facts == dict(zip(("source", "target"), sides, strict=True))


def test_columns_are_chosen_by_name_and_the_header_found_by_it(place):
    rows = [("kind", "deutsch", "platt"), *((str(k), a, b) for k, (a, b) in enumerate(zip(FIRST, SECOND, strict=True)))]
    tree = place(**{"p.tsv": table(rows, "\t")})
    source = pairs(tree, source="platt", target="deutsch")
    assert texts(source) == list(zip(SECOND, FIRST, strict=True))
    assert [problem.what for problem in source.problems] == ["columns beside the two sides: kind"]
    with pytest.raises(UsageError, match=r"data\.source = 'plat' is not in p\.tsv\. Did you mean 'platt'\?"):
        pairs(tree, source="plat", target="deutsch", header=True)
    with pytest.raises(UsageError, match="both 'platt'"):
        pairs(tree, source="platt", target="platt")


def test_the_first_pair_is_no_header(place):
    source = pairs(place(**{"p.tsv": "Hi.\tSalut !\nRun!\tCours !\n"}))
    assert texts(source) == [("Hi.", "Salut !"), ("Run!", "Cours !")]
    assert len(pairs(place(**{"p.tsv": "Hi.\tSalut !\nRun!\tCours !\n"}), header=True).examples) == 1


def test_a_source_never_stands_in_two_splits(place):
    rows = [(f"s{k // 3} of", f"target {k}") for k in range(90)]
    source = pairs(place(**{"p.tsv": lines(map("\t".join, rows))}))
    drawn = split(90, {}, groups=source.groups)
    found = [{source.examples.texts[k] for k in drawn[name]} for name in ("train", "validation", "test")]
    assert all(found)
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


def test_lines_end_at_line_feeds_alone(place):
    odd = ["one\u2028two", "a\x85b", "tab\x0bfeed\x0c", "x\ry", "\u3000wide "]
    tree = place(train__en="".join(f"{text}\r\n" for text in odd), train__de=lines("abcde"))
    source = pairs(tree, source="en")
    assert source.examples.texts == ["one\u2028two", "a\x85b", "tab\x0bfeed", "x\ry", "wide"]
    assert sentence_lines("a\r\nb") == ["a", "b"]
    assert sentence_lines("a\n\n") == ["a", ""]
    assert sentence_lines("a\rb\r") == ["a", "b"]
    assert sentence_lines("") == []


def test_unequal_files_are_refused_with_both_counts(place):
    tree = place(train__en=lines(FIRST), train__de=lines(SECOND[:-1]))
    assert looks_like_pairs(tree)
    with pytest.raises(DataError, match=r"train\.de holds 39 lines, train\.en 40"):
        pairs(tree)


def test_empty_and_endless_sides_are_reported_and_left_out(place):
    tree = place(train__en="a\n\nb\nc\nd\n", train__de="e\nf\n  \ng\n" + "x" * (LONGEST + 1) + "\n")
    source = pairs(tree, source="en")
    assert texts(source) == [("a", "e"), ("c", "g")]
    assert [source.ids[1], *[(problem.what, problem.action) for problem in source.problems]] == [
        "train.en line 4", ("2 pairs with an empty side (the first: line 2)", "left out"),
        ("1 pairs with a side longer than 100,000 characters (the first: line 5)", "left out"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="no pair has text on both sides"):
        pairs(place(train__en="\n\n", train__de="a\nb\n"))


def test_three_sides_ask_for_two(place):
    tree = place(train__en="a\n", train__de="b\n", train__fr="c\n")
    assert looks_like_pairs(tree)
    with pytest.raises(DataError, match=r"holds 3 sides: de, en, fr\.\nName two of them: data\.source=de"):
        pairs(tree)
    assert texts(pairs(tree, source="fr", target="en")) == [("c", "a")]
    with pytest.raises(UsageError, match=r"data\.target = 'it' is not in"):
        pairs(tree, source="fr", target="it")


def test_files_without_partner_or_split_are_told(place):
    tree = place(
        train__en="a\n", train__de="b\n", test__en="c\n", test__de="d\n", x__en="e\n", x__de="f\n", val__en="g\n"
    )
    source = pairs(tree)
    assert texts(source) == [("b", "a"), ("d", "c")]
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("val.en", "no partner called alike"), ("x.de", "its name states no split, others' do"),
    ]  # fmt: skip
    assert sorted(source.given) == ["test", "train"]


def test_rows_of_another_width_are_told_and_most_of_them_refused(place):
    good = list(map("\t".join, zip(FIRST, SECOND, strict=True)))
    source = pairs(place(**{"p.tsv": lines([*good[:3], "no tab here", *good[3:]])}))
    assert len(source.examples) == 40
    assert source.ids[3] == "p.tsv line 5"
    assert [problem.what for problem in source.problems] == ["1 lines do not have 2 cells (the first: line 4)"]
    with pytest.raises(DataError, match="one column; a pair has two texts apart by a tab"):
        pairs(place(**{"p.tsv": lines(FIRST)}))
    with pytest.raises(DataError, match="no line holds a pair"):
        pairs(place(**{"p.tsv": "\n \n"}))


def test_quotes_between_tabs_are_plain_unless_a_spreadsheet_wrote_them(place):
    plain = pairs(place(**{"p.tsv": '"Go!"\t"Va" !\n"He" said\tx\n'}))
    assert texts(plain) == [('"Go!"', '"Va" !'), ('"He" said', "x")]
    quoted = pairs(place(**{"p.tsv": table([('He said "go"', "x y"), ("a b", "c")], "\t")}))
    assert texts(quoted) == [('He said "go"', "x y"), ("a b", "c")]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"a\0b\nc\n", "train.de line 1: a NUL character"),
        (squeezed(b"a\nb\n")[:-6], "train.de: the gzip data ends early"),
        (b"\x1f\x8b" + b"\0" * 30, "train.de: damaged gzip data"),
        (squeezed(b"\n" * 40_000_000), "train.de: unpacks to more than"),
        (bytes(range(128, 256)) * 3, "neither UTF-8 nor surely any other encoding"),
    ],
)
def test_hostile_files_are_refused_by_name(place, raw, told):
    tree = place(train__de=raw, train__en="a\nb\n")
    looks_like_pairs(tree)
    with pytest.raises(DataError, match=told):
        pairs(tree)


def test_other_encodings_are_told(place):
    tree = place(train__de="für\nübel\n".encode("cp1252"), train__en="a\nb\n".encode("utf-16"))
    source = pairs(tree)
    assert texts(source) == [("für", "a"), ("übel", "b")]
    assert [problem.where for problem in source.problems] == ["train.de", "train.en"]
    assert texts(pairs(tree, encoding="auto")) == texts(source)
    with pytest.raises(UsageError, match=r"data\.encoding = 'utf-9'"):
        pairs(tree, encoding="utf-9")


def test_what_a_name_says():
    side = side_of("train/europarl-v7.de-en.DE.gz")
    assert side is not None
    assert (side.stem, side.side, side.split, side.known) == ("train/europarl-v7.de-en", "de", "train", True)
    assert side_of("README.md") is None
    assert side_of("a.pos") is None
    assert side_of("plain") is None


def test_correlation_is_pearsons():
    one, other = RNG.integers(0, 9, 30), RNG.integers(0, 9, 30)
    assert correlation(one.tolist(), other.tolist()) == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-12)
    assert correlation([2, 2], [3, 3]) == 1
    assert correlation([2, 2], [3, 4]) == 0


def test_heads_never_fail(place):
    tree = place(**{"a.txt": b"\xff\xfe\0", "b.gz": b"\x1f\x8bxx", "c": b"", "d": b"x" * 200_000})
    assert [head_text(tree, name) for name in ("b.gz", "c", "none")] == ["", "", ""]
    assert set(head_text(tree, "d")) == {"x"}


@pytest.mark.shared_data
def test_the_real_sets(shared_data):
    multi = pairs(open_tree(shared_data / "multi30k"), source="en", target="de")
    assert {name: len(places) for name, places in multi.given.items()} == {
        "train": 29_000, "validation": 1_014, "test": 1_000,
    }  # fmt: skip
    assert texts(multi)[0] == (
        "Two young, White males are outside near many bushes.",
        "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    )
    chinese = pairs(open_tree(shared_data / "tatoeba-cmn-eng" / "cmn.txt"))
    assert (len(chinese.examples), texts(chinese)[1]) == (20_133, ("Hi.", "你好。"))
    assert len(pairs(open_tree(shared_data / "tatoeba-eng-fra")).examples) == 5_000
    titles = pairs(open_tree(shared_data / "gigaword-sample" / "sample_data.zip"))
    assert {name: len(places) for name, places in titles.given.items()} == {"train": 10_000, "validation": 1_000}
    assert titles.facts == {"source": "article", "target": "title"}


@pytest.mark.shared_data
def test_no_other_real_set_is_pairs(shared_data):
    found = [
        folder.name
        for folder in sorted(shared_data.iterdir())
        if folder.is_dir() and folder.name != "bad-inputs" and looks_like_pairs(open_tree(folder))
    ]
    assert found == ["multi30k", "tatoeba-cmn-eng", "tatoeba-eng-fra"]
