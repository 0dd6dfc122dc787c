"""Sentence pairs: two files of equal length, or two columns of one table: translation, summaries, answers."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.label_prefixes import prefixed_files
from netwright.data.readers.labelled_pairs import roles_in
from netwright.data.source import Problem, Source, Texts
from netwright.data.tables.text import parse
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import form_of
from netwright.data.texts.pairing import (
    RESULTS,
    SOURCES,
    Side,
    column_sides,
    header_of,
    paired,
    sentence_lines,
    shown,
)
from netwright.data.texts.places import read_text, split_of
from netwright.errors import DataError, UsageError, hint
from netwright.language import say, translated

LONGEST = 100_000
"""Characters of one text; a longer one is no sentence and would fill the memory of any network."""
MOST_PAIRS = 50_000_000
ORDER = ("train", "validation", "test")


@dataclass
class Part:
    """The pairs of one file or two: the lines that hold them, their texts, and the split that the name states."""

    name: str
    split: str
    sources: list[str]
    targets: list[str]
    lines: np.ndarray
    problems: list[Problem] = field(default_factory=list)
    word: str = "line"
    """What `lines` count."""


class Places(Sequence[str]):
    """Names such as `train line 5`, made when asked for."""

    def __init__(self, parts: Sequence[tuple[str, np.ndarray]], form: str = "{name} line {line}") -> None:
        self._names, self._form = [name for name, _ in parts], form
        self._lines = np.concatenate([lines for _, lines in parts]) if parts else np.zeros(0, np.int64)
        self._ends = np.cumsum([len(lines) for _, lines in parts])

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        name = self._names[int(np.searchsorted(self._ends, place, side="right"))]
        return self._form.format(name=name, line=int(self._lines[place]))


def recognises(tree: Tree) -> bool:
    """Two files called alike but for a language or role, or a table of two texts a line."""
    return form_of(tree) == "pairs" and not prefixed_files(tree) and roles_in(tree) is None


@READERS.add(
    recognises=recognises, given="sentence pairs (two files such as train.en and train.de, or two columns)",
    also=fit_texts,
)  # fmt: skip
def pairs(
    tree: Tree, *, source: str = "", target: str = "", header: bool | Literal["auto"] = "auto", encoding: str = "auto"
) -> Source:
    """Pairs of texts: from two files whose lines belong together, or from two columns of a table.

    Args: `source` and `target` name the two sides: a file's ending (`en`, `de`), or a column (`column1` where there is
    no header). Left out: what is called source, question, article or the like is the source, else the side whose name
    is first in the alphabet; of columns without a header the first. `header` says whether the first row of a table
    holds names; `encoding` names the text encoding.

    Files called train, val and test are the given splits; without them, equal source sentences stay in one split.
    Lines end at line feeds alone. Pairs with an empty side are reported and left out. Errors: DataError where two
    files differ in their number of lines (both are named), UsageError for a side that is not there.
    """
    names = shown(tree)
    stems = paired(names)
    if stems:
        parts, sides, problems = _from_files(tree, names, stems, source, target, encoding)
    else:
        parts, sides, problems = _from_tables(tree, names, source, target, header, encoding)
    return pair_source(tree, parts, [*problems, *(problem for part in parts for problem in part.problems)], sides)


def pair_source(
    tree: Tree, parts: list[Part], problems: list[Problem], sides: tuple[str, str], groups: np.ndarray | None = None
) -> Source:
    """All parts as one source; splits that names state are given, else `groups` or equal sources never part."""
    splits = {part.split for part in parts}
    stated = "train" in splits and len(splits - {""}) > 1
    where = printable(str(tree.path))
    if stated:
        for part in parts:
            if not part.split:
                problems.append(Problem(part.name, say("its name states no split, others' do"), say("left out")))
        parts = [part for split in ORDER for part in parts if part.split == split]
        for split, count in Counter(part.split for part in parts).items():
            if count > 1:
                names = ", ".join(part.name for part in parts if part.split == split)
                what = say("{count} files state the split {split}: {names}", count=count, split=split, names=names)
                problems.append(Problem(where, what, say("read as one")))
    sources = [text for part in parts for text in part.sources]
    if not sources:
        raise DataError(say("{path}: no pair has text on both sides", path=where))
    targets = np.array([text for part in parts for text in part.targets], dtype=object)
    given: dict[str, np.ndarray] = {}
    if stated:
        of = np.concatenate([np.full(len(part.sources), part.split, object) for part in parts])
        given = {split: np.flatnonzero(of == split) for split in ORDER if split in splits}
    if stated:
        groups = None
    elif groups is None:
        numbers = {text: number for number, text in enumerate(dict.fromkeys(sources))}
        groups = np.array([numbers[text] for text in sources], np.int64)
    ids = Places([(part.name, part.lines) for part in parts], "{name} " + (parts[0].word if parts else "") + " {line}")
    return Source(
        "text", short_name(tree), Texts(sources), targets, ids, given,
        groups=groups, problems=problems, task="translate", facts={"source": sides[0], "target": sides[1]},
    )  # fmt: skip


def short_name(tree: Tree) -> str:
    """The name of a place without the endings of archives and text files."""
    name = tree.path.absolute().name
    return re.sub(r"(\.(tar|txt|csv|tsv|zip|gz|tgz|tab|jsonl?|ya?ml))+$", "", name, flags=re.IGNORECASE) or name


def _from_files(
    tree: Tree, names: Sequence[str], stems: dict[str, dict[str, Side]], source: str, target: str, encoding: str
) -> tuple[list[Part], tuple[str, str], list[Problem]]:
    """One part for each two files that are called alike."""
    found = sorted({side for sides in stems.values() for side in sides})
    first, second = chosen_sides(printable(str(tree.path)), found, source, target)
    parts, used = [], set()
    for sides in stems.values():
        if first in sides and second in sides:
            here, there = sides[first], sides[second]
            used |= {here.name, there.name}
            parts.append(_two_files(tree, here, there, encoding))
    if not parts:
        text = say("{path}: no {first} file has a {second} file beside it that is called alike",
                   path=printable(str(tree.path)), first=first, second=second)  # fmt: skip
        raise DataError(text)
    other = {side.name for sides in stems.values() for side in sides.values() if side.side not in (first, second)}
    tally = Tally()
    for name in names:
        if name not in used and name not in other:
            tally.add(printable(name), say("no partner called alike"), say("not read"))
    return parts, (first, second), tally.problems()


def _two_files(tree: Tree, here: Side, there: Side, encoding: str) -> Part:
    texts, problems = [], []
    for side in (here, there):
        text, odd = read_text(tree, side.name, encoding)
        texts.append(sentence_lines(text))
        problems += odd
    first, second = texts
    if len(first) != len(second):
        text = say("{first} holds {one:,} lines, {second} {other:,}; line by line they belong together",
                   first=printable(here.name), one=len(first), second=printable(there.name),
                   other=len(second))  # fmt: skip
        raise DataError(text)
    name = printable(here.name)
    return kept(name, here.split, first, second, np.arange(1, len(first) + 1), problems)[0]


def kept(
    name: str, split: str, first: Sequence[str], second: Sequence[str], places: np.ndarray, problems: list[Problem],
    word: str = "line",
) -> tuple[Part, np.ndarray]:  # fmt: skip
    """The pairs with text on both sides, and which they are; the others are counted and left out.

    `places` and `word` say to a person where each pair stands: `line` 5.
    """
    if len(first) > MOST_PAIRS:
        raise DataError(say("{name} holds more than {limit:,} pairs", name=name, limit=MOST_PAIRS))
    one, other = [text.strip() for text in first], [text.strip() for text in second]
    both = list(zip(one, other, strict=True))
    full = np.fromiter((bool(a) and bool(b) for a, b in both), bool, len(both))
    short = np.fromiter((max(len(a), len(b)) <= LONGEST for a, b in both), bool, len(both))
    clean = np.fromiter(("\0" not in a and "\0" not in b for a, b in both), bool, len(both))
    for keep, kind in (
        (full, say("an empty side")),
        (short, say("a side longer than {most:,} characters", most=LONGEST)),
        (clean, say("a NUL character")),
    ):
        if not keep.all():
            text = say("{count:,} pairs with {kind} (the first: {word} {place})", count=int((~keep).sum()), kind=kind,
                       word=translated(word), place=int(places[int(np.argmin(keep))]))  # fmt: skip
            problems.append(Problem(name, text, say("left out")))
    keep = np.flatnonzero(full & short & clean)
    part = Part(name, split, [one[k] for k in keep], [other[k] for k in keep], places[keep], problems, word)
    return part, keep


def chosen_sides(where: str, found: Sequence[str], source: str, target: str, ordered: bool = False) -> tuple[str, str]:
    """Which of the sides is the source, which the target.

    `ordered`: the sides have an order of their own, as columns without a header do. Errors: UsageError for a side that
    is not there, DataError where there are more than two and the settings do not choose.
    """
    named = {"source": source, "target": target}
    lowered = {side.lower(): side for side in found}
    for setting, name in named.items():
        if name and name not in found:
            if name.lower() not in lowered:
                text = say("data.{setting} = {name!r} is not in {path}.", setting=setting, name=name, path=where)
                raise UsageError(f"{text} {hint(name, found)}")
            named[setting] = lowered[name.lower()]
    source, target = named["source"], named["target"]
    if source and source == target:
        raise UsageError(say("data.source and data.target are both {name!r}; they name the two sides", name=source))
    left = [side for side in found if side not in (source, target)]
    if source and target:
        return source, target
    if len(found) != 2:
        text = say("{path} holds {count} sides: {names}.", path=where, count=len(found), names=", ".join(found[:12]))
        raise DataError(text + "\n" + say("Name two of them: data.source={first} data.target={second}",
                                          first=source or left[0], second=target or left[-1]))  # fmt: skip
    if source or target:
        return source or left[0], target or left[0]
    roles = [_role(side) for side in found]
    if sorted(roles) == [-1, 1] or (sorted(roles) in ([-1, 0], [0, 1]) and not ordered):
        return (found[0], found[1]) if roles[0] < roles[1] else (found[1], found[0])
    first, second = found if ordered else sorted(found)
    return first, second


def _role(name: str) -> int:
    """-1 for a name that says source, 1 for one that says target, 0 for neither."""
    words = [name.lower(), *re.split(r"[\s_.-]", name.lower())]
    return any(word in RESULTS for word in words) - any(word in SOURCES for word in words)


def _from_tables(
    tree: Tree, names: Sequence[str], source: str, target: str, header: bool | Literal["auto"], encoding: str
) -> tuple[list[Part], tuple[str, str], list[Problem]]:
    """One part for each table of two columns or more."""
    parts, sides, problems = [], set(), []
    for name in names:
        part, chosen, unused = _one_table(tree, name, source, target, header, encoding)
        parts.append(part)
        sides.add(chosen)
        if unused:
            what = say("columns beside the two sides: {names}", names=", ".join(unused[:8]))
            problems.append(Problem(printable(name), what, say("not read")))
    if len(sides) > 1:
        shown_sides = "; ".join(sorted(" -> ".join(pair) for pair in sides))
        raise DataError(
            say("{path}: its files hold different columns: {sides}", path=printable(str(tree.path)), sides=shown_sides)
        )
    return parts, sides.pop(), problems


def _one_table(
    tree: Tree, name: str, source: str, target: str, header: bool | Literal["auto"], encoding: str
) -> tuple[Part, tuple[str, str], list[str]]:
    where = printable(name)
    text, problems = read_text(tree, name, encoding)
    csv = os.path.splitext(re.sub(r"\.gz$", "", name.lower()))[1] == ".csv"
    cells, lines = _rows(text, where, csv, problems)
    if not cells:
        raise DataError(say("{name}: no line holds a pair; the two texts stand apart by a tab", name=where))
    width = Counter(map(len, cells)).most_common(1)[0][0]
    first = [cell.strip() for cell in cells[0]]
    if header == "auto":
        asked = {name.lower() for name in (source, target) if name}
        headed = bool(header_of(cells, csv)) or (bool(asked) and asked <= {name.lower() for name in first})
    else:
        headed = header
    columns = first if headed else [f"column{place}" for place in range(1, width + 1)]
    if len(set(columns)) != len(columns) or not all(columns):
        raise DataError(say("{name}: the header names a column twice, or not at all: {names}", name=where,
                            names=", ".join(columns[:8])))  # fmt: skip
    if headed:
        cells, lines, width = cells[1:], lines[1:], len(columns)
    if width < 2:
        raise DataError(say("{name}: one column; a pair has two texts apart by a tab", name=where))
    open_ones = column_sides(columns) if headed else columns[:2]
    found = columns if len(open_ones) != 2 or {source, target} - {"", *open_ones} else open_ones
    one, other = chosen_sides(where, found, source, target, ordered=not headed)
    keep = [place for place, row in enumerate(cells) if len(row) == width]
    if len(keep) < len(cells):
        _uneven(where, cells, lines, width, problems)
    here, there = columns.index(one), columns.index(other)
    part, _ = kept(
        where, split_of(name), [cells[k][here] for k in keep], [cells[k][there] for k in keep],
        np.array([lines[k] for k in keep], np.int64), problems,
    )  # fmt: skip
    return part, (one, other), [column for column in columns if column not in (one, other)]


def _uneven(where: str, cells: list[list[str]], lines: list[int], width: int, problems: list[Problem]) -> None:
    bad = [line for row, line in zip(cells, lines, strict=True) if len(row) != width]
    if 2 * len(bad) > len(cells):
        text = say("{name}: {count:,} of {rows:,} lines do not have {width} cells (the first: line {line}): no pairs",
                   name=where, count=len(bad), rows=len(cells), width=width, line=bad[0])  # fmt: skip
        raise DataError(text)
    what = say(
        "{count:,} lines do not have {width} cells (the first: line {line})", count=len(bad), width=width, line=bad[0]
    )
    problems.append(Problem(where, what, say("left out")))


_WRAPPED = re.compile(r'\s*"((?:[^"]|"")*)"\s*').fullmatch


def _rows(text: str, where: str, csv: bool, problems: list[Problem]) -> tuple[list[list[str]], list[int]]:
    """Rows of cells with the line each stands on; blank lines are left out.

    Between tabs a quote is a plain character, as sentences hold them; only where every cell of a table, or every cell
    with a quote in it, is written as a spreadsheet does (wrapped, inner quotes doubled) are they taken off.
    """
    if csv:
        rows = parse(text, where)
        problems += rows.problems
        return rows.cells, rows.lines
    cells, lines = [], []
    for number, line in enumerate(sentence_lines(text), start=1):
        if line.strip():
            cells.append(line.split("\t"))
            lines.append(number)
    quoted = [cell for row in cells for cell in row if '"' in cell]
    wrapped = [found for cell in quoted if (found := _WRAPPED(cell)) is not None]
    if quoted and len(wrapped) == len(quoted):
        doubled = any('""' in found[1] for found in wrapped)
        if doubled or len(quoted) == sum(map(len, cells)):
            cells = [[(m[1].replace('""', '"') if (m := _WRAPPED(cell)) else cell) for cell in row] for row in cells]
    return cells, lines
