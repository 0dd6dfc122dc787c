"""Labelled text: a label and a text a row, marked lines, a file a class (a text a line), a folder a class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.label_prefixes import marked_lines, prefixed_files
from netwright.data.source import Source, Texts
from netwright.data.tables.columns import as_cells
from netwright.data.tables.text import Rows, parse
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import data_files, form_of, labelled_sheets, text_files
from netwright.data.texts.labels import SAMPLE, Columns, Layout, columns_of, delimiter_of, layout
from netwright.data.texts.places import Peeks, given_splits, lines_of, read_text, read_texts, short_name, split_of
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

Header = bool | Literal["auto"]


def recognises(tree: Tree) -> bool:
    """Whether a place holds labelled texts."""
    return bool(prefixed_files(tree)) or form_of(tree) == "labelled"


@dataclass
class Part:
    """Labelled texts of one file, or of the files of one split, and what to call each."""

    name: str
    split: str
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


@READERS.add(
    recognises=recognises,
    given="labelled text (TSV or CSV of a label and a text; a file per class; a folder per class; __label__ lines)",
    also=fit_texts,
)
def labelled_text(
    tree: Tree, *, target: str = "", source: str = "", header: Header = "auto", encoding: str = "auto"
) -> Source:
    """Texts with a class each: two columns of a table, a text file a class, a folder a class, or `__label__x` lines.

    Args: `target` and `source` name the columns of label and text where there is a header (`column1`, `column2` where
    there is none; by themselves: the column of few short values is the label); `header` says whether the first row
    holds names; `encoding` names the text encoding. In a file per class each line is a text, in a folder per class each
    file; files and folders called train, valid, dev or test are the splits. Rows and files that cannot be read are
    reported and left out. Errors: DataError with file and line; UsageError for columns where there are none.
    """
    names = text_files(data_files(tree))
    peeks, tally = Peeks(tree), Tally()
    marked = prefixed_files(tree)
    if marked:
        _no_columns(target, source, say("marks such as __label__x"))
        return _source(tree, [part for part in _marked(tree, marked, encoding, tally) if part.texts], None, tally)
    sheets = labelled_sheets(names, peeks)
    found = None if sheets else layout(names, peeks)
    if sheets:
        parts = [_sheet(tree, name, target, source, header, encoding, tally) for name in sheets]
        parts = _named(parts, tally)
    elif found is None:
        raise DataError(say("{path} holds no labelled texts", path=printable(str(tree.path))))
    else:
        _no_columns(target, source, say("files or folders"))
        for name in found.strays:
            tally.add(printable(name), say("a text of no class"), say("left out"))
        parts = (_lines if found.lines else _documents)(tree, found, encoding, tally)
    return _source(tree, [part for part in parts if part.texts], None if sheets else found, tally)


def _no_columns(target: str, source: str, classes: str) -> None:
    for setting, value in (("target", target), ("source", source)):
        if value:
            text = say("data.{name} = {value!r} names a column; here {what} are the classes", name=setting, value=value,
                       what=classes)  # fmt: skip
            raise UsageError(text)


def _source(tree: Tree, parts: Sequence[Part], found: Layout | None, tally: Tally) -> Source:
    where = printable(str(tree.path))
    if not parts:
        first = next(iter(tally.problems()), None)
        text = say("{path}: none of its labelled texts can be read.", path=where)
        raise DataError(f"{text}\n{first.where}: {first.what}" if first else text)
    labels = [label for part in parts for label in part.labels]
    classes = None
    if found is not None:
        filled = set(labels)
        classes = [name for name in map(printable, found.classes) if name in filled]
        for name in map(printable, found.classes):
            if name not in filled:
                tally.add(name, say("a class without a text that can be read"), say("left out"))
    given = given_splits([(part.name, part.split, len(part.texts)) for part in parts], tally)
    return Source(
        "text", short_name(tree), Texts([text for part in parts for text in part.texts]), as_cells(labels),
        [name for part in parts for name in part.ids], given, classes, problems=tally.problems(),
        facts={"example": "file"} if found is not None and not found.lines else {},
    )  # fmt: skip


def _marked(tree: Tree, names: Sequence[str], encoding: str, tally: Tally) -> list[Part]:
    """A part a file of marked lines."""
    parts = []
    for name in names:
        part = Part(printable(name), split_of(name) if len(names) > 1 else "")
        for number, text, label in marked_lines(tree, name, encoding, tally):
            part.texts.append(text)
            part.labels.append(label)
            part.ids.append(f"{part.name}:{number}")
        parts.append(part)
    stated = any(part.split for part in parts)
    for name in text_files(data_files(tree)):
        if name not in names:
            unsplit = stated and not split_of(name)
            kind = say("its name states no split, others' do") if unsplit else say("a text of no class")
            tally.add(printable(name), kind, say("left out"))
    return parts


def _lines(tree: Tree, found: Layout, encoding: str, tally: Tally) -> list[Part]:
    """A part a file: each line that is not blank is a text of the file's class."""
    parts = []
    for name, (split, label) in found.files.items():
        where = printable(name)
        text, problems = read_text(tree, name, encoding)
        for problem in problems:
            tally.add(problem.where, problem.what, problem.action)
        part = Part(where, split)
        for number, line in enumerate(lines_of(text), start=1):
            if stripped := line.strip():
                part.texts.append(stripped)
                part.ids.append(f"{where}:{number}")
        part.labels = [printable(label)] * len(part.texts)
        if not part.texts:
            tally.add(where, say("a file without text"), say("left out"))
        parts.append(part)
    return parts


def _documents(tree: Tree, found: Layout, encoding: str, tally: Tally) -> list[Part]:
    """A part a split: each file is a text of its folder's class."""
    texts = read_texts(tree, list(found.files), encoding, tally)
    parts: dict[str, Part] = {}
    for name, text in texts.items():
        split, label = found.files[name]
        if not text.strip():
            tally.add(printable(name), say("a file without text"), say("left out"))
            continue
        part = parts.setdefault(split, Part(say("files in no split"), split))
        part.texts.append(text.strip())
        part.labels.append(printable(label))
        part.ids.append(printable(name))
    return list(parts.values())


def _sheet(
    tree: Tree, name: str, target: str, source: str, header: Header, encoding: str, tally: Tally
) -> Part:  # fmt: skip
    """The rows of one file of labels and texts."""
    where = printable(name)
    text, problems = read_text(tree, name, encoding)
    rows = _rows(text, where)
    for problem in [*problems, *rows.problems]:
        tally.add(problem.where, problem.what, problem.action)
    cells = [[cell.strip() for cell in row] for row in rows.cells]
    columns = _columns(where, cells, header)
    label = _chosen(where, cells, columns, target, source)
    part = Part(where, split_of(name))
    uneven = empty = 0
    first = int(columns.headed)
    for number, (row, line) in enumerate(zip(cells[first:], rows.lines[first:], strict=True), start=1):
        if len(row) != 2:
            detail = say("{count} cells", count=len(row))
            tally.add(f"{where}:{line}", say("a row that has not two cells"), say("left out"), detail)
            uneven += 1
        elif not row[0] or not row[1]:
            kind = say("a row without a label") if not row[label] else say("a row without a text")
            tally.add(f"{where}:{line}", kind, say("left out"))
            empty += 1
        else:
            part.texts.append(row[1 - label])
            part.labels.append(row[label])
            part.ids.append(f"row {number}")
    if 2 * uneven > len(cells):
        text = say("{name}: {count} of {rows} rows do not have two cells", name=where, count=uneven, rows=len(cells))
        raise DataError(text)
    return part


def _rows(text: str, where: str) -> Rows:
    """The rows of a file; lines divided at tabs are read without quoting where quoting fails."""
    delimiter = delimiter_of(text)
    if delimiter != "\t":
        return parse(text, where, delimiter)
    lines = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    plain = Rows([line.split("\t") for _, line in lines], [number for number, _ in lines], "\t")
    odd = sum(len(row) != 2 for row in plain.cells)
    if '"' not in text or (odd and not re.search(r'(^|\t|\n)"[^"\t]*\n', text)):
        return plain
    try:
        quoted = parse(text, where, "\t")
    except DataError:
        return plain
    return quoted if sum(len(row) != 2 for row in quoted.cells) <= odd else plain


def _columns(where: str, cells: list[list[str]], header: Header) -> Columns:
    """Which column is the label and whether names stand above; the setting decides about the names."""
    found = columns_of([*cells[:1], *cells[1 :: max(1, len(cells) // SAMPLE)]])
    if found is None:
        raise DataError(say("{name}: neither of two columns holds labels (few short values) beside texts", name=where))
    if header == "auto" or header == found.headed:
        return found
    return Columns(found.label, header)


def _chosen(where: str, cells: list[list[str]], columns: Columns, target: str, source: str) -> int:
    """The column of the labels: as named, else as found."""
    if not target and not source:
        return columns.label
    names = cells[0] if columns.headed else ["column1", "column2"]
    for setting, value in (("target", target), ("source", source)):
        if value and value not in names:
            text = say("data.{name}: {where} has no column {value!r}.", name=setting, where=where, value=value)
            headed = "" if columns.headed else " " + say("Its first row is data; data.header=true reads names.")
            raise UsageError(f"{text} {hint(value, names)}{headed}")
    if target and target == source:
        raise UsageError(say("data.source and data.target both name the column {name!r}", name=target))
    return names.index(target) if target else 1 - names.index(source)


def _named(parts: list[Part], tally: Tally) -> list[Part]:
    """Several files: rows are called by their file too, and labels of all files stand together."""
    if len(parts) == 1:
        parts[0].split = ""
        return parts
    for part in parts:
        part.ids = [f"{part.name} {row}" for row in part.ids]
    known = [set(part.labels) for part in parts]
    for part, own in zip(parts[1:], known[1:], strict=True):
        if own and known[0] and not own & known[0]:
            detail = ", ".join(sorted(own)[:4])
            tally.add(part.name, say("none of its labels stands in the first file"), say("kept"), detail)
    return parts
