"""Sentence pairs: which two files, or which two columns, belong together as source and target.

Two files pair by name: they are called alike but for one word, a language (`train.en`, `train.de.gz`) or a role
(`src-train.txt`, `valid.title.txt`). Two columns pair by what they hold: texts of their own on both sides.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from netwright.data.files.tree import Tree, hidden
from netwright.data.tables.columns import MAX_BYTES
from netwright.data.tables.text import is_header, parse
from netwright.data.texts.places import HEAD, is_note, peek, read_text, split_of, unpacked
from netwright.errors import DataError

MOST_FILES = 10_000
"""Where there are more, each holds one example, and none is looked into."""
WHOLE = 2**28
"""Bytes of a file that is read whole to recognise it; of a larger one, names have to tell."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LANGUAGES = _words(
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee "
    "el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is "
    "it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms "
    "mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk "
    "sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi "
    "yo za zh zu ara ben bul cat ces chi cmn cze dan deu dut ell eng est eus fas fin fra fre ger gle glg gre heb "
    "hin hrv hun ind isl ita jpn kor lat lav lit mal mar may mkd msa nld nob nor pol por ron rum rus slk slo slv "
    "spa sqi srp swe tam tel tha tur ukr urd vie yue zho"
)
"""ISO 639-1 codes, and the ISO 639-2 and -3 codes of widely spoken languages."""
NAMES = _words(
    "english german french spanish italian portuguese dutch russian chinese japanese korean arabic hindi turkish "
    "polish czech swedish danish finnish greek hebrew vietnamese thai"
)
"""What languages are called in English, as the names of files and columns."""
ROLES = (
    ("source", "target"), ("src", "tgt"), ("src", "trg"), ("src", "dst"), ("src", "ref"), ("input", "output"),
    ("in", "out"), ("article", "title"), ("article", "headline"), ("article", "highlights"), ("article", "abstract"),
    ("document", "summary"), ("text", "summary"), ("dialogue", "summary"), ("question", "answer"),
    ("query", "reply"), ("prompt", "response"), ("prompt", "completion"), ("context", "reply"),
)  # fmt: skip
"""What the two sides are called, the source first."""
SOURCES = frozenset(first for first, _ in ROLES)
RESULTS = frozenset(second for _, second in ROLES)
_CLASSES = _words("pos neg positive negative spam ham true false real fake good bad")
_FORMATS = _words(
    "csv tsv tab json jsonl ndjson yml yaml xml html htm md rst py ipynb parquet arff conll bmes bio iob ann "
    "names data info index npz npy pkl pickle bin zip tar png jpg jpeg gif bmp wav mp3 mid midi abc log toml "
    "cfg ini pdf idx sh c h cpp js css doc docx xls xlsx gz bz2 xz"
)


def is_side(word: str) -> bool:
    """Whether a word says which side of a pair something is: a language (`en`, `zh-cn`, `english`) or a role."""
    first, _, region = word.lower().replace("_", "-").partition("-")
    if region:
        return first in LANGUAGES and len(region) <= 4 and region.isalnum()
    return first in LANGUAGES | NAMES | SOURCES | RESULTS


@dataclass(frozen=True)
class Side:
    """One file of a pair: its name in the tree, what it shares with its partner, and which side it is."""

    name: str
    stem: str
    side: str
    split: str
    known: bool
    """Whether the side is a language or a role, rather than any ending."""
    bare: bool
    """Whether the name says nothing but the side: `en.txt`."""


def side_of(name: str) -> Side | None:
    """What a file's name says of its place in a pair; None where it says nothing."""
    path = PurePosixPath(name)
    bare = re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE)
    plain = re.sub(r"\.txt$", "", bare, flags=re.IGNORECASE)
    if "." in plain and plain.rpartition(".")[2].lower() in _FORMATS:
        return None
    pieces = re.split(r"(\.)", plain)
    places = [place for place in range(0, len(pieces), 2) if is_side(pieces[place])]
    if (not places and plain != bare) or len(pieces) == 1:
        pieces = re.split(r"([._-])", plain)
        places = [place for place in range(0, len(pieces), 2) if is_side(pieces[place])]
    known = bool(places)
    if known:
        place = places[-1]
    elif plain == bare and len(pieces) > 2 and pieces[-2] == "." and pieces[-1] and len(pieces[-1]) <= 12:
        place = len(pieces) - 1
        if pieces[place].lower() in _CLASSES or pieces[place].isdigit():
            return None
    else:
        return None
    rest = [*pieces[: place - 1], *pieces[place + 1 :]] if place else pieces[2:]
    stem = "".join(rest)
    return Side(name, str(path.parent / stem), pieces[place].lower(), split_of(name), known, not stem)


def shown(tree: Tree) -> list[str]:
    """The names of files that may hold data: not hidden, no README or licence beside them."""
    names = [entry.name for entry in tree.entries if not any(map(hidden, entry.name.split("/")))]
    return [name for name in names if not is_note(name)] or names


def paired(names: Iterable[str]) -> dict[str, dict[str, Side]]:
    """The files that pair by name: stem -> side -> file, a `.gz` left out where the plain file stands beside it."""
    found: dict[str, dict[str, Side]] = {}
    for name in sorted(names, key=lambda name: (name.lower().endswith(".gz"), name)):
        side = side_of(name)
        if side is not None:
            found.setdefault(side.stem, {}).setdefault(side.side, side)
    known = {stem: sides for stem, sides in found.items() if sum(side.known for side in sides.values()) > 1}
    return known or {stem: sides for stem, sides in found.items() if len(sides) == 2}


def head_text(tree: Tree, name: str) -> str:
    """The whole lines at the beginning of a text file; nothing where it is no text or cannot be read."""
    size = next((entry.size for entry in tree.entries if entry.name == name), 0)
    if not 0 < size <= MAX_BYTES:
        return ""
    try:
        raw = tree.read(name, MAX_BYTES)
        found = peek(name, unpacked(name, raw, HEAD) if raw[:2] == b"\x1f\x8b" else raw)
    except DataError:
        return ""
    return "" if found.binary else found.text


def sentence_lines(text: str) -> list[str]:
    """The lines of a text, divided at line feeds alone: U+2028, form feeds and the like belong to a sentence.

    A text without any line feed is divided at carriage returns.
    """
    lines = text.split("\n" if "\n" in text else "\r")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def looks_like_pairs(tree: Tree) -> bool:
    """Whether a place holds sentence pairs: two files called alike, or one table of two texts a line."""
    names = shown(tree) if len(tree.entries) <= MOST_FILES else []
    if not names:
        return False
    stems = paired(names)
    if stems:
        files = [side for sides in stems.values() for side in sides.values()]
        if 2 * len(files) < len(names):
            return False
        return all(_certain(sides) or _alike(tree, list(sides.values())) for sides in stems.values())
    if len(names) > 8:
        return False
    tables = [looks_like_table(tree, name) for name in names]
    return all(tables) and (len(names) == 1 or all(map(split_of, names)))


def _certain(sides: dict[str, Side]) -> bool:
    """Whether names alone show a pair; files called just `en.txt` and `de.txt` may be classes as well."""
    named = SOURCES | RESULTS
    return all(side.known and not (side.bare and side.side not in named) for side in sides.values())


def _alike(tree: Tree, sides: Sequence[Side]) -> bool:
    """Whether two files of unknown endings hold as many lines, long where the other is long."""
    if len(sides) != 2:
        return False
    try:
        if any(len(tree.read(side.name, WHOLE)) == 0 for side in sides):
            return False
        texts = [read_text(tree, side.name, "auto")[0] for side in sides]
    except DataError:
        return False
    first, second = ([len(line) for line in sentence_lines(text)] for text in texts)
    if len(first) != len(second) or len(first) < 2:
        return False
    return correlation(first, second) >= 0.3


def correlation(first: Sequence[int], second: Sequence[int]) -> float:
    """Pearson's correlation of two rows of numbers; 1 where both never change, 0 where one does not."""
    count = len(first)
    mean_first, mean_second = sum(first) / count, sum(second) / count
    both = sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True))
    one = sum((a - mean_first) ** 2 for a in first)
    other = sum((b - mean_second) ** 2 for b in second)
    if one == 0 or other == 0:
        return float(one == other)
    return float(both / (one * other) ** 0.5)


def looks_like_table(tree: Tree, name: str) -> bool:
    """Whether one file holds two texts a line, apart by a tab, or by a comma where it ends in .csv."""
    form = os.path.splitext(re.sub(r"\.gz$", "", name.lower()))[1]
    if form not in ("", ".csv", ".tsv", ".tab", ".txt"):
        return False
    text = head_text(tree, name)
    if not text.strip() or (form != ".csv" and "\t" not in text):
        return False
    try:
        rows = parse(text, name) if form == ".csv" else None
    except DataError:
        return False
    cells = rows.cells if rows is not None else [line.split("\t") for line in sentence_lines(text) if line.strip()]
    return _two_texts(cells, form == ".csv")


def header_of(cells: Sequence[Sequence[str]], csv: bool) -> list[str]:
    """The names in the first row; none where it is a pair itself.

    A tab-separated list of pairs usually has none, and its first sentences are distinct like names: there, only words
    that say a side make a header. In a .csv it is any row of plain words.
    """
    first = [cell.strip() for cell in cells[0]]
    if not is_header(first):
        return []
    if len(column_sides(first)) >= 2 or (csv and all(re.fullmatch(r"[A-Za-z_]\w{0,30}", name) for name in first)):
        return first
    return []


def column_sides(names: Sequence[str]) -> list[str]:
    """The columns that names call the two sides: a source and its own result, else all that say a side.

    None where another column holds a class: such a table is there to be classified.
    """
    lowered = {name.lower(): name for name in names}
    roles = next(([lowered[one], lowered[other]] for one, other in ROLES if one in lowered and other in lowered), [])
    sides = roles or [name for name in names if is_column(name)]
    return [] if {"label", "class", "y", "target"} & (lowered.keys() - {side.lower() for side in sides}) else sides


def is_column(name: str) -> bool:
    """Whether a column's name says a side by itself: `en`, `english`, `target_text`; not `title`, nor `id` or `no`."""
    words = [name.lower(), *re.split(r"[\s_.-]", name.lower())]
    sides = LANGUAGES | NAMES | {"source", "src", "target", "tgt", "trg"}
    return any(word in sides for word in words if word not in ("id", "no", "is")) or (is_side(name) and "-" in name)


def _two_texts(cells: Sequence[Sequence[str]], csv: bool) -> bool:
    """Whether exactly two columns hold texts of their own (a third may say where they are from)."""
    names = header_of(cells, csv)
    body = [row for row in cells[1 if names else 0 :] if len(row) == (len(names) or len(cells[0]))]
    rows = len(cells) - bool(names)
    width = len(names) or len(cells[0])
    if not body or len(body) < 0.9 * rows or width < 2:
        return False
    sides = column_sides(names)
    if len(sides) == 2:
        columns = [[row[names.index(name)] for row in body] for name in sides]
        # A third column and single words: a graph's edges (source, target, weight), not sentences.
        return all(_free(column, loose=True) and (width == 2 or _sentences(column)) for column in columns)
    if width > (2 if names else 3):
        return False
    columns = [[row[place] for row in body] for place in range(2)]
    if not all(_free(column) for column in columns) or (csv and not all(map(_sentences, columns))):
        return False
    return width == 2 or not _numbers([row[2] for row in body])


_NUMBER = re.compile(r"\s*[+-]?[\d.,:/eE+-]*\d[\d.,:/%-]*\s*").fullmatch


def _numbers(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers, dates or times."""
    return sum(_NUMBER(cell.strip()) is not None for cell in cells) > 0.5 * len(cells)


def _free(cells: Sequence[str], loose: bool = False) -> bool:
    """Whether cells are texts of their own: few numbers, and not the same few words again and again."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled or _numbers(filled):
        return False
    distinct = len(set(filled))
    if loose:
        return distinct > 20 or distinct >= 0.3 * len(filled)
    return (distinct > 20 and distinct >= 0.2 * len(filled)) or distinct >= 0.6 * len(filled)


_UNSPACED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]{2}")


def _sentences(cells: Sequence[str]) -> bool:
    """Whether most cells hold more than one word, or are written without blanks as Chinese and Japanese are."""
    several = sum(
        " " in cell.strip() or re.search(r"[\u3040-\u30ff\u4e00-\u9fff]{2}", cell) is not None for cell in cells
    )
    return several > 0.5 * len(cells)
