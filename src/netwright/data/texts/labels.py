"""Labelled text: which of two columns is the label, and which file or folder stands for which class."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netwright.data.tables.cells import is_phrase
from netwright.data.tables.text import sniff
from netwright.data.texts.places import (
    PROSE,
    SHEETS,
    SPLITS,
    Peek,
    Peeks,
    ending,
    is_note,
    lines_of,
    split_of,
    stem,
    without_split,
)

LABEL_NAMES = frozenset({
    "label", "labels", "target", "class", "classes", "y", "sentiment", "category", "polarity", "tag", "intent", "topic",
    "language", "lang", "spam", "v1", "标签", "类别", "情感",
})  # fmt: skip
TEXT_NAMES = frozenset({
    "text", "texts", "review", "reviews", "sentence", "sentences", "message", "messages", "tweet", "comment", "content",
    "document", "body", "title", "headline", "question", "utterance", "query", "sms", "name", "v2",
    "文本", "评论", "内容", "句子",
})  # fmt: skip
_CLASSES = frozenset({
    "pos", "neg", "neu", "positive", "negative", "neutral", "ham", "spam", "good", "bad", "subjective", "objective",
    "quote", "plot", "true", "false", "real", "fake", "happy", "sad", "angry", "joy", "fear", "anger", "love",
    "surprise", "yes", "no", "toxic", "clean", "sports", "sport", "politics", "business", "tech", "technology", "world",
    "science", "entertainment", "health", "male", "female",
})  # fmt: skip
"""Names of files that are certainly classes, whatever the shape of their lines."""
_PARTS = frozenset({
    "one", "two", "three", "first", "second", "third", "last", "part", "doc", "document", "file", "text", "chapter",
    "book", "story", "poem", "page", "intro", "preface", "data", "corpus", "input", "more", "all",
})  # fmt: skip
"""Names of files that are documents rather than classes."""
_UNLABELLED = frozenset({"unsup", "unlabeled", "unlabelled", "unsupervised"})
_SIDES = frozenset({
    "source", "target", "src", "tgt", "trg", "article", "articles", "title", "titles", "summary", "summaries", "input",
    "output",
})  # fmt: skip
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?%?", re.ASCII).fullmatch
LONGEST_LABEL, MOST_LABELS = 40, 500
SAMPLE = 4000
"""Rows from which the roles of the columns are told."""


@dataclass(frozen=True)
class Columns:
    """Which of two columns holds the labels (0 or 1), and whether the first row holds names."""

    label: int
    headed: bool


def delimiter_of(text: str) -> str:
    """What divides most lines of a text into two cells: a tab where it does, else as tables find it."""
    lines = [line for line in lines_of(text[: 1 << 18]) if line.strip()]
    if sum(line.count("\t") == 1 for line in lines) >= 0.8 * len(lines) > 0:
        return "\t"
    return sniff(text)


def rows_of(peek: Peek) -> list[list[str]]:
    """The rows of the beginning of a file, however it quotes; the last is left out where it may be cut."""
    text = peek.text
    delimiter = delimiter_of(text)
    if delimiter == "\t":
        lines = [line for line in peek.lines if line.strip()]
        return [[cell.strip() for cell in line.split("\t")] for line in lines[:SAMPLE]]
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True):
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
            if len(rows) == SAMPLE:
                break
    except csv.Error:
        return []
    return rows if peek.whole else rows[:-1]


def looks_labelled(peek: Peek) -> bool:
    """Whether a file has two columns, one of them a label of few values, the other texts."""
    return peek.reads and columns_of(rows_of(peek)) is not None


def columns_of(rows: Sequence[Sequence[str]]) -> Columns | None:
    """The roles of two columns; None where rows do not have two cells, or neither column is a label beside texts."""
    pairs = [(row[0], row[1]) for row in rows if len(row) == 2]
    if len(pairs) < 3 or len(pairs) < 0.8 * len(rows):
        return None
    named = [place for place in (0, 1) if _named(pairs, place)]
    if named and len(rows[0]) == 2:
        place = named[0]
        if _fits(pairs[1:], place, known=True):
            return Columns(place, True)
    for place in (0, 1):
        if _fits(pairs[1:], place) or _fits(pairs, place):
            return Columns(place, is_headed(pairs, place))
    return None


def _named(pairs: Sequence[tuple[str, str]], place: int) -> bool:
    """Whether the first row calls this column a label, or the other one a text."""
    first = [cell.lower() for cell in pairs[0]]
    return first[0] != first[1] and (
        (first[place] in LABEL_NAMES and first[1 - place] not in LABEL_NAMES and _one_word(first[1 - place]))
        or (first[1 - place] in TEXT_NAMES and first[place] not in TEXT_NAMES and _one_word(first[place]))
    ) and all(row[place].lower() != first[place] for row in pairs[1:])  # fmt: skip


def _one_word(text: str) -> bool:
    return 0 < len(text) <= LONGEST_LABEL and len(text.split()) == 1 and not _NUMBER(text)


def is_headed(pairs: Sequence[tuple[str, str]], place: int) -> bool:
    """Whether the first row names the columns: a label that never comes again over a text of a word or two."""
    label, text = pairs[0][place], pairs[0][1 - place]
    if _named(pairs, place):
        return True
    fresh = all(row[place] != label for row in pairs[1:])
    names = all(cell and len(cell) <= LONGEST_LABEL and not _NUMBER(cell) for cell in (label, text))
    others = [row[1 - place] for row in pairs[1:]]
    short = len(text.split()) <= 2 and not is_phrase(text) and sum(map(len, others)) > 2 * len(text) * len(others)
    return fresh and names and short and text != label


def _fits(pairs: Sequence[tuple[str, str]], place: int, known: bool = False) -> bool:
    labels = [row[place] for row in pairs if row[place]]
    texts = [row[1 - place] for row in pairs if row[1 - place]]
    if len(labels) < 2 or 2 * len(labels) < len(pairs) or 2 * len(texts) < len(pairs):
        return False
    return _are_labels(labels) and _are_texts(texts, len(set(labels)), known)


def _are_labels(cells: list[str]) -> bool:
    """Few distinct short values, no sentences, no numbers with a fraction."""
    counts = Counter(cells)
    most = max(2, len(cells) // 2) if len(cells) < 40 else max(20, len(cells) // 10)
    if len(counts) > min(most, MOST_LABELS) or len(counts) == len(cells):
        return False
    if any(len(value) > LONGEST_LABEL or len(value.split()) > 4 or value[-1] in "!?。！？" for value in counts):
        return False
    numbers = [value for value in counts if _NUMBER(value)]
    return not numbers or (all(value.lstrip("+-").isdigit() for value in numbers) and len(numbers) <= 20)


def _are_texts(cells: list[str], labels: int, known: bool) -> bool:
    """Mostly different from each other, made of letters, and of several words (or a long list of names)."""
    distinct = len(set(cells))
    letters = sum(sum(map(str.isalpha, cell)) for cell in cells)
    if distinct <= labels or letters < 0.4 * sum(len(cell) - cell.count(" ") for cell in cells):
        return False
    length = sum(map(len, cells)) / len(cells)
    phrases = sum(is_phrase(cell) or len(cell) > 30 for cell in cells) / len(cells)
    if phrases >= 0.3:
        return distinct >= 0.3 * len(cells) or length > 60
    names = sum(_is_name(cell) for cell in cells) >= 0.9 * len(cells)
    return names and distinct >= 0.7 * len(cells) and len(cells) >= (20 if known else 50)


def _is_name(cell: str) -> bool:
    return any(map(str.isalpha, cell)) and not any(map(str.isdigit, cell))


@dataclass
class Layout:
    """Which files hold which class."""

    lines: bool
    """Whether each line is an example; else each file is one."""
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name of each file -> (split or an empty string, class)."""
    strays: list[str] = field(default_factory=list)
    """Text files that belong to no class."""
    sure: bool = False
    """Whether names alone say so; else the shape of the lines does."""

    @property
    def classes(self) -> list[str]:
        return sorted({name for _, name in self.files.values()})


def layout(names: Iterable[str], peeks: Peeks) -> Layout | None:
    """Files or folders that stand for classes, below split folders or not; None where there are none."""
    kept = [name for name in names if not is_note(name)]
    paths = [name.split("/") for name in kept]
    depth = 0
    while paths and all(len(path) > depth + 1 and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    inner = {name: name.split("/")[depth:] for name in kept}
    found = _folders(inner, peeks)
    if found is None and all(len(path) == 1 for path in _rests(inner).values()):
        found = _flat(inner, peeks)
    if found is None or len(found.classes) < 2:
        return None
    found.strays = [name for name in kept if name not in found.files]
    return found


def _top_split(path: Sequence[str]) -> str:
    """The split that the first folder of a path is called by, itself or in its last word (`20news-bydate-train`)."""
    if len(path) < 2:
        return ""
    words = re.split(r"[-_. ]+", path[0].lower())
    return SPLITS.get(words[-1], "") or SPLITS.get(words[0], "")


def _rests(inner: dict[str, list[str]]) -> dict[str, list[str]]:
    """The paths below split folders; all of them where there are no such folders."""
    tops = {path[0]: _top_split(path) for path in inner.values() if len(path) > 1}
    if not any(tops.values()) or not any(split == "train" for split in tops.values()):
        return inner
    return {name: path[1:] for name, path in inner.items() if len(path) > 1 and tops[path[0]]}


def _folders(inner: dict[str, list[str]], peeks: Peeks) -> Layout | None:
    """Class folders, each with one text a file, or with one file of a text a line."""
    rests = _rests(inner)
    deep = {name: path for name, path in rests.items() if len(path) > 1 and path[0].lower() not in _UNLABELLED}
    if len({path[0] for path in deep.values()}) < 2 or 2 * len(deep) < len(rests):
        return None
    if {path[0].lower() for path in deep.values()} & _SIDES:
        return None
    readable = {name: path for name, path in deep.items() if ending(name) in PROSE | SHEETS}
    split = {name: _top_split(inner[name]) if rests is not inner else "" for name in readable}
    inside = all(len(path) > 1 and SPLITS.get(stem(path[-1]).lower()) for path in readable.values())
    deeper = all(len(path) > 2 and path[1].lower() in SPLITS for path in readable.values())
    for name, path in readable.items():
        split[name] = split[name] or (SPLITS[stem(path[-1]).lower()] if inside else "")
        split[name] = split[name] or (SPLITS[path[1].lower()] if deeper else "")
    files = {name: (split[name], path[0]) for name, path in readable.items()}
    single = max(Counter(files.values()).values(), default=0) == 1
    lines = single and all(_one_a_line(peeks[name], 5) for name in list(files)[:64])
    sampled = [peeks[name] for name in _sample(files)]
    if not sampled or not all(peek.prose or (lines and peek.reads) for peek in sampled if not peek.odd):
        return None
    return Layout(lines, files, sure=True)


def _sample(files: dict[str, tuple[str, str]], each: int = 2, most: int = 64) -> list[str]:
    """A few files of each class."""
    seen: Counter[tuple[str, str]] = Counter()
    chosen: list[str] = []
    for name, key in files.items():
        seen[key] += 1
        if seen[key] <= each and len(chosen) < most:
            chosen.append(name)
    return chosen


def _flat(inner: dict[str, list[str]], peeks: Peeks) -> Layout | None:
    """One file a class, one example a line: `rt-polarity.pos` beside `rt-polarity.neg`, `names/Greek.txt` ..."""
    rests = _rests(inner)
    names = [name for name in rests if ending(name) not in SHEETS]
    if len(names) < 2 or len(names) > 2000:
        return None
    folder = {name: _top_split(inner[name]) if rests is not inner else "" for name in names}
    own = {name: "" if folder[name] else split_of(name.rpartition("/")[2]) for name in names}
    if any(own.values()) and "train" not in own.values():
        own = dict.fromkeys(names, "")
    titles = {name: without_split(stem(name)) if own[name] else stem(name) for name in names}
    endings = {name: ending(name).lstrip(".") for name in names}
    plain = all(ending(name) in PROSE for name in names)
    if not plain:
        if len(set(titles.values())) > 1 or not all(endings.values()):
            return None
        titles = endings
    else:
        titles = _shortened(titles)
    classes = set(titles.values())
    if len(classes) < 2 or not all(classes) or len({(own[n] or folder[n], titles[n]) for n in names}) < len(names):
        return None
    if {title.lower() for title in classes} & _SIDES:
        return None
    sampled = [peeks[name] for name in names[:64]]
    sure = {title.lower() for title in classes} <= _CLASSES
    if not all(peek.reads for peek in sampled):
        return None
    if not sure and (_numbered(classes) or (not plain and not all(_one_a_line(peek, 3) for peek in sampled))):
        return None
    if not sure and not all(_one_a_line(peek, 8) for peek in sampled):
        return None
    lengths = {len(peek.filled) for peek in sampled if peek.whole}
    unequal = plain and len(classes) > 2 and len(lengths) > 1  # translations of one text have equally many lines
    return Layout(True, {name: (own[name] or folder[name], titles[name]) for name in names}, sure=sure or unequal)


def _shortened(titles: dict[str, str]) -> dict[str, str]:
    """Titles without the words that all of them end in (`quote.tok.gt9` and `plot.tok.gt9` are quote and plot)."""
    values = list(titles.values())
    tails = [value[found.start() :] for value in values if (found := re.search(r"[-_. ].*", value))]
    shared = len(tails) == len(values) and len(set(tails)) == 1
    return {name: value.removesuffix(tails[0]) if shared else value for name, value in titles.items()}


def _numbered(titles: Iterable[str]) -> bool:
    """Whether names count: they differ by their numbers alone, or are single letters, or `one` and `two`."""
    listed = [title.lower() for title in titles]
    if any(len(title) == 1 and title.isascii() for title in listed) or _PARTS.intersection(listed):
        return True
    return len({re.sub(r"\d+", "0", title) for title in listed}) < len(listed) or all(t.isdigit() for t in listed)


_ENDED = re.compile(r"[.!?…。！？\"'”’)\]:;]$").search


def _one_a_line(peek: Peek, least: int) -> bool:
    """Whether each line of a file stands for itself: no blank lines between, no sentence running on to the next."""
    lines = peek.filled
    blank = len(peek.lines) - len(lines) - (not peek.lines[-1].strip())
    words = sorted(len(line.split()) for line in lines)
    if not lines or blank > 0.02 * len(lines) or sum(map(len, lines)) > 400 * len(lines):
        return False
    if peek.tabular or peek.numbered:
        return False
    if words[len(words) // 2] <= 3 and words[-1] <= 12:
        return len(lines) >= min(least, 3)
    if 2 * len(set(lines)) < len(lines):
        return False
    flows = sum(not _ENDED(one) and two[0].islower() for one, two in pairwise(lines))
    starts = sum(line[0].islower() for line in lines)
    return len(lines) >= least and (flows < 0.3 * len(lines) or starts > 0.9 * len(lines))
