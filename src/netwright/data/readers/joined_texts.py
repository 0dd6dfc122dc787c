"""Several columns of texts as one text an example, a sign between them; and the rows of any table as texts."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netwright.data.files.tree import Tree, printable
from netwright.data.source import Problem
from netwright.data.tables.cells import typed_text
from netwright.data.tables.columns import MAX_BYTES
from netwright.data.tables.files import JSON_ENDINGS, read_table, strict_json
from netwright.data.tables.text import Rows, parse
from netwright.data.texts.places import Peek, ending, lines_of, read_text
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

SEPARATOR = "==="
"""What stands between the texts of one example: one token among words and pieces of words."""

COUPLES = (
    ("premise", "hypothesis"), ("text", "hypothesis"), ("claim", "evidence"), ("question", "sentence"),
    ("question", "passage"), ("query", "document"), ("query", "passage"), ("query", "title"), ("headline", "body"),
    ("sentence", "paraphrase"), ("前提", "假设"),
)  # fmt: skip
"""What the two texts are called, beside one name that is counted: sentence1 and sentence2, text_a and text_b."""
COUNTED = frozenset({
    "s", "sent", "sentence", "text", "question", "q", "string", "phrase", "utterance", "statement", "argument",
    "passage", "document", "doc", "title", "snippet", "input", "句子", "文本", "问题",
})  # fmt: skip
_FIRST = re.compile(r"#?(?:1|a)[ _-]?(\D+)|(\D+?)[ _-]?(?:1|a)").fullmatch
_SECOND = re.compile(r"#?(?:2|b)[ _-]?(\D+)|(\D+?)[ _-]?(?:2|b)").fullmatch


def joined(texts: Iterable[str]) -> str:
    """Several texts as one."""
    return f" {SEPARATOR} ".join(texts)


def named_columns(source: str, columns: Sequence[str], where: str) -> list[str]:
    """The columns that `data.source` names, several apart by commas. Errors: UsageError for a name that is none."""
    found = [source] if source in columns else [part.strip() for part in source.split(",") if part.strip()]
    for name in found:
        if name not in columns:
            text = say("data.{name}: {where} has no column {value!r}.", name="source", where=where, value=name)
            raise UsageError(f"{text} {hint(name, columns)}")
    if len(set(found)) < len(found):
        raise UsageError(say("data.source names the column {name!r} twice", name=Counter(found).most_common(1)[0][0]))
    return found


def couple(names: Sequence[str]) -> tuple[int, int] | None:
    """The two columns whose names say that they are compared; None where there are none, or more than two."""
    lowered = [name.lower() for name in names]
    for one, other in COUPLES:
        if one in lowered and other in lowered:
            return lowered.index(one), lowered.index(other)
    found: dict[str, dict[str, int]] = {}
    for way, pattern in (("first", _FIRST), ("second", _SECOND)):
        for place, name in enumerate(lowered):
            match = pattern(name)
            word = (match[1] or match[2]).strip(" _-") if match else ""
            if word in COUNTED:
                found.setdefault(word, {})[way] = place
    whole = [places for places in found.values() if len(places) == 2]
    return (whole[0]["first"], whole[0]["second"]) if len(whole) == 1 else None


@dataclass
class Sheet:
    """The rows of one table as texts: cells stripped, an empty one for what is missing."""

    name: str
    rows: list[list[str]]
    lines: list[int]
    headed: bool = False
    """Whether the first row holds names for certain, as keys of JSON do."""
    problems: list[Problem] = field(default_factory=list)

    @property
    def width(self) -> int:
        """The most frequent number of cells."""
        return Counter(map(len, self.rows)).most_common(1)[0][0] if self.rows else 0


def read_sheet(tree: Tree, name: str, encoding: str) -> Sheet:
    """The rows of a table file by its ending: JSON Lines, Parquet, commas, else tabs. Errors: DataError with line."""
    where, form = printable(name), ending(name)
    if form == ".parquet":
        table = read_table(name, tree.read(name, MAX_BYTES), True, encoding)
        cells = zip(*table.columns.values(), strict=True)
        body = [["" if cell is None else typed_text(cell) or "" for cell in row] for row in cells]
        return Sheet(where, [list(table.columns), *body], list(range(len(body) + 1)), True)
    text, problems = read_text(tree, name, encoding)
    if form in JSON_ENDINGS:
        sheet = _objects(where, text)
    elif form == ".csv":
        rows = parse(text, where)
        sheet = Sheet(where, _stripped(rows.cells), rows.lines, problems=rows.problems)
    else:
        rows = _tabbed(text, where)
        sheet = Sheet(where, _stripped(rows.cells), rows.lines, problems=rows.problems)
    sheet.problems = [*problems, *sheet.problems]
    return sheet


def head_sheet(peek: Peek) -> Sheet:
    """The rows at the beginning of a file; none where it is no table, is damaged, or is no text."""
    form = ending(peek.name)
    empty = Sheet(peek.name, [], [])
    if not peek.reads:
        return empty
    if form in JSON_ENDINGS:
        try:
            return _objects(peek.name, "\n".join(peek.lines[:1000]))
        except DataError:
            return empty
    if form == ".csv":
        try:
            cells = [row for row in csv.reader(io.StringIO(peek.text, newline=""), skipinitialspace=True) if any(row)]
        except csv.Error:
            return empty
        if cells and len(cells[0]) < 2:
            cells = _sniffed(peek)
        rows = cells if peek.whole else cells[:-1]
    else:
        rows = [line.split("\t") for line in peek.lines if line.strip()]
    return Sheet(peek.name, _stripped(rows), list(range(1, len(rows) + 1)))


def _sniffed(peek: Peek) -> list[list[str]]:
    """Rows apart by another sign than a comma."""
    try:
        return parse(peek.text, peek.name).cells
    except DataError:
        return []


def _stripped(rows: Iterable[Iterable[str]]) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in rows]


def _tabbed(text: str, where: str) -> Rows:
    """Lines divided at tabs, a quote being a character like any, unless quoting makes the rows more even."""
    lines = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    plain = Rows([line.split("\t") for _, line in lines], [number for number, _ in lines], "\t")
    odd = _uneven(plain.cells)
    if '"' not in text or (not odd and not re.search(r'(^|\t)"[^\t\n]*"(\t|\r?\n|$)', text)):
        return plain
    try:
        quoted = parse(text, where, "\t")
    except DataError:
        return plain
    return quoted if _uneven(quoted.cells) <= odd else plain


def _uneven(cells: list[list[str]]) -> int:
    return len(cells) - max(Counter(map(len, cells)).values(), default=0)


def _objects(where: str, text: str) -> Sheet:
    """JSON Lines: the keys as the first row, a row of cells an object; lists and objects in cells are not read."""
    found: list[dict[str, object]] = []
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \t\r"):
            value = strict_json(line, say("{name} line {line}", name=where, line=number))
            if not isinstance(value, dict):
                text = say("{where}: each line is one object, such as {example}", where=f"{where}:{number}",
                           example='{"x": 1, "y": 2}')  # fmt: skip
                raise DataError(text)
            found.append(value)
            lines.append(number)
    keys = list(dict.fromkeys(key for row in found for key in row))
    rows = [["" if _empty(row.get(key)) else (typed_text(row[key]) or "") for key in keys] for row in found]
    return Sheet(where, [keys, *rows] if rows else [], [0, *lines], True)


def _empty(cell: object) -> bool:
    return cell is None or isinstance(cell, (list, dict))


def texts_of(
    tree: Tree, names: Sequence[str], columns: Sequence[str], encoding: str
) -> tuple[list[str], list[str], list[Problem]]:
    """The texts in named columns of tables, one joined text a row, what to call each, and what was odd.

    Where the first row does not hold the names, all columns of a table of as many columns are meant, or `column1` and
    so on by their numbers. Rows without any text are left out. Errors: DataError where the columns are not there.
    """
    texts, ids, problems = [], [], []
    for name in names:
        sheet = read_sheet(tree, name, encoding)
        problems += sheet.problems
        places, headed = _places(sheet, columns)
        lost = 0
        for number, row in enumerate(sheet.rows[int(headed) :], start=1):
            cells = [row[place] if place < len(row) else "" for place in places]
            if any(cells):
                texts.append(joined(cells))
                ids.append(f"{sheet.name} row {number}" if len(names) > 1 else f"row {number}")
            lost += not any(cells)
        if lost:
            problems.append(Problem(sheet.name, say("{count} rows hold no text", count=lost), say("left out")))
    return texts, ids, problems


def _places(sheet: Sheet, columns: Sequence[str]) -> tuple[list[int], bool]:
    """Which cells of a row are meant, and whether the first row holds names."""
    if not sheet.rows:
        raise DataError(say("{name}: no rows; a table has one row a line", name=sheet.name))
    first = sheet.rows[0]
    if all(name in first for name in columns):
        return [first.index(name) for name in columns], True
    if len(columns) == 2 and (found := couple(first)):  # called otherwise than in training
        return list(found), True
    numbered = [f"column{place}" for place in range(1, sheet.width + 1)]
    if all(name in numbered for name in columns) and not sheet.headed:
        return [numbered.index(name) for name in columns], False
    if sheet.width == len(columns) and not sheet.headed and not set(columns) & set(first):
        return list(range(len(columns))), False
    missing = next(name for name in columns if name not in first)
    text = say("{where}: there is no column {name!r}.", where=sheet.name, name=missing)
    raise DataError(f"{text} {hint(missing, first)}")
