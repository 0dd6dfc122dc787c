"""Which text form a place holds: told from names and the shape of lines, and by exactly one reader."""

import gzip
import random
from pathlib import Path

import pytest

from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.texts.forms import form_of
from netwright.data.texts.places import ending, peek, split_of, without_split

WORDS = [
    "the", "a", "film", "good", "bad", "terrible", "great", "plot", "actor", "scene", "music", "story", "long", "short",
    "really", "very", "not", "so", "funny",
]  # fmt: skip
READER = {"corpus": "corpus", "labelled": "labelled_text", "tags": "conll", "pairs": "pairs"}


def words(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def sentences(count: int, seed: int = 0) -> str:
    return "".join(f"{' '.join(words(5 + k % 9, 100 * seed + k)).capitalize()}.\n" for k in range(count))


def names(count: int, seed: int = 0) -> str:
    draw = random.Random(seed)
    return "".join("".join(draw.choices("abdeiklmnorst", k=7)).capitalize() + "\n" for _ in range(count))


def prose(seed: int = 0) -> str:
    text = " ".join(words(400, seed))
    return "\n\n".join(
        text[place : place + 70] + "\n" + text[place + 70 : place + 140] for place in range(0, 1400, 140)
    )


def rows(count: int, mark: str = "\t", labels: str = "pos neg", last: bool = False) -> str:
    cells = list(zip((labels.split() * count)[:count], sentences(count).splitlines(), strict=True))
    return "".join(f"{text}{mark}{label}\n" if last else f"{label}{mark}{text}\n" for label, text in cells)


def tagged(count: int, mark: str = "\t", tags: str = "O B-PER I-PER", end: str = "\n") -> str:
    kinds = tags.split()
    return "".join(
        "".join(f"{word}{mark}{kinds[place % len(kinds)]}{end}" for place, word in enumerate(words(6, k))) + end
        for k in range(count)
    )


def categories(first: str, second: str) -> str:
    draw = random.Random(1)
    body = "".join(f"{draw.choice(first.split('/'))},{draw.choice(second.split('/'))}\n" for _ in range(100))
    return "feature,class\n" + body


def chinese() -> str:
    places = ["店家", "外卖", "餐馆", "味道", "米饭", "饺子", "面条", "牛肉", "鸡腿", "青菜"]
    ends = "都很好吃而且送得快", "实在太难吃也太慢了"
    return "label,review\n" + "".join(f"{k % 2},{place}{ends[k % 2]}\n" for k, place in enumerate(places))


def spoken() -> str:
    languages = ("de", "fr", "it")
    return "name,language\n" + "".join(f"{n},{languages[k % 3]}\n" for k, n in enumerate(names(90).split()))


def three_columns() -> str:
    return "id,text,label\n" + "".join(f"{k},{row}" for k, row in enumerate(rows(30, ",", last=True).splitlines(True)))


FOUR = """-DOCSTART- -X- O O

EU NNP I-NP B-ORG
rejects VBZ I-VP O

Peter NNP I-NP B-PER
sleeps VBZ I-VP O
"""
TABLES = {"train.csv": "text,label\n" + rows(40, ",", last=True), "test.csv": "text,label\n" + rows(9, ",", last=True)}
SPLIT, CLASS = ("train", "test"), ("pos", "neg")
PLACES = {
    "a corpus": ("book.txt", prose(), "corpus"),
    "a short corpus": ("book.txt", "Hello world", "corpus"),
    "no ending": ("book", prose(), "corpus"),
    "a packed corpus": ("book.txt.gz", gzip.compress(prose().encode()), "corpus"),
    "UTF-16": ("book.txt", prose().encode("utf-16"), "corpus"),
    "a byte order mark": ("book.txt", b"\xef\xbb\xbf" + prose().encode(), "corpus"),
    "chapters": ("d", {"chapter1.txt": sentences(30), "chapter2.txt": sentences(30, 1)}, "corpus"),
    "documents": ("d", {"emma.txt": prose(), "hamlet.txt": prose(1), "README.md": "text"}, "corpus"),
    "small documents": ("d", {"one.txt": "Once there was a king.\nHe was old.\n", "two.txt": "It rained.\n"}, "corpus"),
    "lettered": ("d", {"a.txt": sentences(30), "b.txt": sentences(30, 1)}, "corpus"),
    "one line again": ("d", {"fox.txt": "the quick brown fox\n" * 50, "dog.txt": "over the lazy dog\n" * 50}, "corpus"),
    "split corpus": ("d", {f"ptb.{s}.txt": sentences(20) for s in ("train", "valid", "test")}, "corpus"),
    "an unknown encoding": ("book.txt", ("Привет мир как дела.\n" * 50).encode("koi8-r"), "corpus"),
    "a tab-separated list": ("spam", rows(50), "labelled"),
    "a tiny list": ("few.txt", rows(6), "labelled"),
    "the label last": ("few.txt", rows(30, last=True), "labelled"),
    "a headed csv": ("r.csv", "label,review\n" + rows(50, ",", "0 1"), "labelled"),
    "a header at the end": ("r.csv", "text;label\n" + rows(50, ";", last=True), "labelled"),
    "GBK": ("r.csv", chinese().encode("gbk"), "labelled"),
    "names with a language": ("n.csv", spoken(), "labelled"),
    "split tables": ("d", TABLES, "labelled"),
    "endings as classes": ("d", {"rt.pos": sentences(20), "rt.neg": sentences(20, 1)}, "labelled"),
    "a file a class": ("d", {"pos.txt": sentences(20), "neg.txt": sentences(20, 1)}, "labelled"),
    "topics": ("d", {"cats.txt": sentences(20), "dogs.txt": sentences(20, 1)}, "labelled"),
    "surnames": ("d", {"Greek.txt": names(30), "Dutch.txt": names(40, 1), "Irish.txt": names(9, 2)}, "labelled"),
    "a folder a class": ("d", {"pos/1.txt": "Good film.", "neg/2.txt": "Bad film."}, "labelled"),
    "news groups": ("d", {f"{c}/{n}": prose(n) for c in ("comp.sys", "sci.space") for n in (1, 2)}, "labelled"),
    "split folders": ("d", {f"{s}/{c}/{n}.txt": prose(n) for s in SPLIT for c in CLASS for n in (1, 2)}, "labelled"),
    "split files": ("d", {f"{s}_{c}.txt": sentences(20) for s in SPLIT for c in CLASS}, "labelled"),
    "tags by tab": ("a.conll", tagged(20), "tags"),
    "tags by blank": ("a.txt", tagged(20, " "), "tags"),
    "parts of speech": ("a.txt", tagged(20, " ", "NN VB DT ."), "tags"),
    "one sentence": ("a.bio", "John B-PER\nlives O\n", "tags"),
    "four columns": ("a.txt", FOUR, "tags"),
    "split tags": ("d", {f"eng.{s}": tagged(9, " ") for s in ("train", "testa", "testb")}, "tags"),
    "tags in tsv": ("a.tsv", tagged(20), "tags"),
    "pairs": ("d", {"train.en": sentences(20), "train.de": sentences(20, 1)}, "pairs"),
    "nothing": ("a.txt", "", ""),
    "blanks": ("a.txt", " \n\t\n\n", ""),
    "bytes": ("a.txt", bytes(range(256)) * 40, ""),
    "numbers": ("a.txt", "1 2 3\n4 5 6\n7 8 9\n" * 20, ""),
    "numbered lines": ("a.txt", "".join(f"{k} Mary went to the garden\n" for k in range(1, 30)), ""),
    "damaged gzip": ("a.txt.gz", b"\x1f\x8b\x08garbage", ""),
    "packed zeros": ("a.txt.gz", gzip.compress(bytes(10**7)), ""),
    "categories": ("a.csv", categories("red/green/blue", "a/b"), ""),
    "categories of two words": ("a.csv", categories("Never married/Divorced now/Married then", "a/b"), ""),
    "numbers and a class": ("a.csv", categories("1.5/2.5/7/8", "a/b"), ""),
    "three columns": ("a.csv", three_columns(), ""),
    "JSON": ("a.json", "{}", ""),
    "a cell of blanks": ("a.csv", "\" \"", ""),
    "an empty folder": ("d", {}, ""),
}  # fmt: skip


def put(folder: Path, name: str, content: str | bytes | dict[str, str]) -> Path:
    place = folder / name
    if isinstance(content, dict):
        place.mkdir()
        for inner, text in content.items():
            (place / inner).parent.mkdir(parents=True, exist_ok=True)
            (place / inner).write_text(text, encoding="utf-8")
        return place
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


@pytest.mark.parametrize("case", PLACES)
def test_a_place_has_one_form_and_one_reader(case: str, tmp_path: Path) -> None:
    name, content, form = PLACES[case]
    tree = open_tree(put(tmp_path, name, content))
    assert form_of(tree) == form
    known = [part.name for part in READERS.values() if part.facts["recognises"](tree)]
    tables = form == "" and name.endswith(".csv")
    assert known == ([READER[form]] if form else ["table"] if tables else [])


def test_a_tree_is_asked_once(tmp_path: Path) -> None:
    tree = open_tree(put(tmp_path, "book.txt", prose()))
    assert form_of(tree) == "corpus"
    (tmp_path / "book.txt").write_bytes(b"\0" * 500)
    assert form_of(tree) == "corpus"
    assert form_of(open_tree(tmp_path / "book.txt")) == ""


def test_pictures_with_captions_are_no_text(tmp_path: Path) -> None:
    tree = open_tree(put(tmp_path, "d", {"a.jpg": "x", "b.jpg": "x", "captions.txt": sentences(20)}))
    assert form_of(tree) == ""


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.char.bmes", "train"), ("emerging.dev.conll", "validation"), ("emerging.test.annotated", "test"),
        ("wnut17train.conll", "train"), ("eng.testa", "validation"), ("eng.testb", "test"),
        ("en-ud-train.conllu.gz", "train"), ("test/pos/1.txt", "test"), ("latest.txt", ""), ("strain.txt", ""),
        ("train_test.txt", ""), ("valid/x.txt", "validation"),
    ],
)  # fmt: skip
def test_the_split_that_a_name_states(name: str, split: str) -> None:
    assert split_of(name) == split


def test_a_name_without_its_split() -> None:
    assert without_split("train_pos") == "pos"
    assert without_split("rt-polarity.train") == "rt-polarity"
    assert without_split("quote.tok.gt9") == "quote.tok.gt9"


def test_a_look_ends_at_a_whole_line_and_character() -> None:
    raw = "好吃，味道足\n".encode("gbk") * 9000
    found = peek("a.csv", raw)
    assert not found.whole
    assert not found.binary
    assert set(found.filled) == {"好吃，味道足"}
    assert peek("a.csv", raw[:1300]).whole
    assert peek("x", b"a\0b" * 5000).binary


@pytest.mark.shared_data
def test_real_sets_have_their_forms(shared_data: Path) -> None:
    forms = {
        "tinyshakespeare": "corpus", "sms-spam": "labelled", "waimai_10k": "labelled", "rt-polarity": "labelled",
        "names/names.tar.gz": "labelled", "wnut17": "tags", "resume-ner": "tags", "multi30k": "pairs", "adult": "",
        "tatoeba-cmn-eng": "pairs", "tatoeba-eng-fra": "pairs", "gigaword-sample/sample_data.zip": "pairs", "iris": "",
        "egret-wenda": "dialogue", "chatterbot-corpus/chatterbot-corpus.tar.gz": "dialogue", "tang-poems": "poems",
        "nottingham/nottingham-abc.tar.gz": "music", "babi/babi-v1-2.tar.gz": "", "ml-100k": "", "sick": "",
        "mutag": "", "planetoid": "", "titanic": "", "ett": "", "bad-inputs/text-encodings.tar.gz": "",
    }  # fmt: skip
    assert {name: form_of(open_tree(shared_data / name)) for name in forms} == forms


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/B.TXT.gz", ".txt"), ("x.tar.gz", ".tar"), ("comp.graphics/38.1", ""), ("a.b/c", ""), ("a.b/.hidden", ""),
        ("x.", ""), ("train.en", ".en"), ("", ""), ("a b. c", ". c"),
    ],
)  # fmt: skip
def test_the_ending_of_a_name(name: str, found: str) -> None:
    assert ending(name) == found
