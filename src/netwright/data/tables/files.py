"""Table files to named columns: text tables with their header rule, and strict JSON Lines. gzip is read in place."""

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from netwright.data.source import Problem, Table
from netwright.data.tables.columns import MAX_BYTES, MAX_RATIO, FileTable, as_cells
from netwright.data.tables.text import MAX_CELLS, MAX_COLUMNS, Rows, decode, is_header, parse
from netwright.errors import DataError
from netwright.language import say

TEXT_ENDINGS = (".csv", ".tsv", ".tab")
JSON_ENDINGS = (".jsonl", ".ndjson")
ENDINGS = (*TEXT_ENDINGS, *JSON_ENDINGS, ".parquet")


def ending(name: str) -> str:
    """The lower-case ending that says the format, `.gz` apart; empty when it is no table's."""
    low = name.lower().removesuffix(".gz")
    return os.path.splitext(low)[1] if low.endswith(ENDINGS) else ""


def read_table(name: str, raw: bytes, header: bool | Literal["auto"] = "auto", encoding: str = "auto") -> FileTable:
    """Read one table file by its ending. Errors: DataError with file and line."""
    if raw[:2] == b"\x1f\x8b":
        raw = _unzip(name, raw)
    form = ending(name)
    if form == ".parquet":
        from netwright.data.tables.typed import read_parquet

        return read_parquet(name, raw)
    if form in JSON_ENDINGS:
        return read_json_lines(name, raw, encoding)
    text, problems = decode(raw, name, encoding)
    rows = parse(text, name, "\t" if form in (".tsv", ".tab") else "")
    rows.problems = problems + rows.problems
    return _columns(name, rows, header)


def _unzip(name: str, raw: bytes) -> bytes:
    """All members of a gzip file, counted while they unpack."""
    parts: list[bytes] = []
    total, limit = 0, min(MAX_BYTES, max(2**20, MAX_RATIO * len(raw)))
    try:
        while raw:
            member = zlib.decompressobj(wbits=31)
            piece = member.decompress(raw, limit - total + 1)
            total += len(piece)
            if total > limit:
                raise DataError(say("{name}: unpacks to more than {limit} bytes", name=name, limit=limit))
            parts.append(piece)
            if not member.eof:
                raise DataError(say("{name}: the gzip data ends early", name=name))
            raw = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise DataError(say("{name}: damaged gzip data ({reason})", name=name, reason=str(error))) from None
    return b"".join(parts)


def _columns(name: str, rows: Rows, header: bool | Literal["auto"]) -> FileTable:
    """Apply the header rule, leave out rows of another length, and turn rows into columns."""
    cells, lines, problems = rows.cells, rows.lines, list(rows.problems)
    if not cells:
        raise DataError(say("{name}: no rows; a table has one row a line", name=name))
    headed = is_header(cells[0]) if header == "auto" else header
    names = [cell.strip() for cell in cells[0]] if headed else []
    if headed:
        cells, lines = cells[1:], lines[1:]
    if not cells:
        raise DataError(say("{name}: a header ({names}) and no rows", name=name, names=", ".join(names[:8])))
    usual = max(Counter(map(len, cells)).items(), key=lambda item: item[1])[0]
    if headed and usual == len(names) + 1 and not any(len(row) == len(names) for row in cells):
        names, cells = _one_more(name, names, cells, problems)
    width = len(names) if headed else usual
    names = _named(name, names, width)
    keep = np.fromiter((len(row) == width for row in cells), bool, len(cells))
    if 2 * keep.sum() < len(keep):
        bad = int(np.argmin(keep))
        text = say("{name}: {count} of {rows} rows do not have {width} cells (line {line} has {found}): no table.",
                   name=name, count=int((~keep).sum()), rows=len(keep), width=width, line=lines[bad],
                   found=len(cells[bad]))  # fmt: skip
        raise DataError(text)
    if not keep.all():
        problems.append(_ragged(name, cells, lines, np.flatnonzero(~keep), width))
        cells = [row for row, good in zip(cells, keep, strict=True) if good]
    columns = {}
    for column, values in zip(names, zip(*cells, strict=True), strict=True):
        columns[column] = as_cells(stripped or None for stripped in map(str.strip, values))
    near = not headed and header == "auto" and _nearly_header(columns)
    if near:
        what = say("the first row looks like names, but they are not distinct or one is empty")
        problems.append(Problem(name, what, say("read as data; data.header=true reads it as names")))
    return FileTable(name, columns, np.flatnonzero(keep) + 1, False, problems, near)


def _one_more(
    name: str, names: list[str], cells: list[list[str]], problems: list[Problem]
) -> tuple[list[str], list[list[str]]]:
    """Rows with a cell more than the header: a delimiter that ends each row, or row names without a name."""
    what = say("the header has one name less than the rows have cells")
    if all(not row[-1].strip() for row in cells):
        problems.append(Problem(name, what, say("the empty last cell of each row is left out")))
        return names, [row[:-1] for row in cells]
    problems.append(Problem(name, what, say("the first column is named {column}", column="column1")))
    return ["column1", *names], cells


def _named(name: str, names: list[str], width: int) -> list[str]:
    """Names for all columns: `column3` where the header has none; twice the same is refused."""
    named = [given or f"column{place}" for place, given in enumerate(names or [""] * width, start=1)]
    twice = [given for given, count in Counter(named).items() if count > 1]
    if twice:
        text = say("{name}: the header names columns twice: {names}.", name=name, names=", ".join(twice[:8]))
        raise DataError(text + " " + say("Rename them, or leave the header out with data.header=false."))
    return named


def _ragged(name: str, cells: list[list[str]], lines: list[int], bad: np.ndarray, width: int) -> Problem:
    shown = "; ".join(
        say("row {row} (line {line}) has {found}", row=int(row) + 1, line=lines[row], found=len(cells[row]))
        for row in bad[:5]
    )
    more = "; ..." if len(bad) > 5 else ""
    what = say("{count} rows do not have {width} cells: {rows}", count=len(bad), width=width, rows=shown + more)
    return Problem(name, what, say("left out"))


def _nearly_header(columns: Mapping[str, np.ndarray]) -> bool:
    """A first row without numbers over a column whose other cells are all numbers."""
    from netwright.data.tables.cells import Column, numbers

    first = [cells[0] for cells in columns.values()]
    if any(cell is not None and np.isfinite(numbers([cell]))[0] for cell in first) or not any(first):
        return False
    for cells in columns.values():
        rest = Column.of(cells[1:51])
        if cells[0] is not None and rest.present and np.isfinite(numbers(rest.values)).all():
            return True
    return False


class _NotStrict(ValueError):
    """JSON that the standard does not allow or a table cannot hold."""


def _refuse_constant(word: str) -> None:
    raise _NotStrict(say("{word} is no JSON number", word=word))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _NotStrict(say("the key {key!r} stands twice", key=twice))
    return found


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotStrict(say("the number {text} is too large", text=text[:40]))
    return value


def _int(text: str) -> int:
    if len(text) > 300:
        raise _NotStrict(say("the number {text} is too large", text=text[:40] + "..."))
    return int(text)


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_int
)  # fmt: skip


def strict_json(line: str, where: str) -> Any:
    """Parse one JSON value: no NaN, Infinity, duplicate keys, lone surrogates or endless nesting."""
    try:
        value = _STRICT.decode(line)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        reason = say("{reason} at character {place}", reason=error.msg, place=error.pos + 1)
        raise DataError(say("{where}: no JSON ({reason})", where=where, reason=reason)) from None
    except UnicodeEncodeError:
        raise DataError(say("{where}: a lone surrogate (\\uD800 to \\uDFFF) is no character", where=where)) from None
    except RecursionError:
        raise DataError(say("{where}: nested too deeply for a table", where=where)) from None
    except _NotStrict as error:
        raise DataError(say("{where}: {reason}", where=where, reason=str(error))) from None
    return value


def read_json_lines(name: str, raw: bytes, encoding: str = "auto") -> FileTable:
    """One JSON object a line; the columns are all keys in the order they are met, absent keys are missing cells."""
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    text, problems = decode(raw, name, "utf-8" if encoding == "auto" and not marked else encoding)
    found: list[dict[str, Any]] = []
    total = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip(" \t\r"):
            continue
        where = say("{name} line {line}", name=name, line=number)
        value = strict_json(line, where)
        if not isinstance(value, dict):
            raise DataError(
                say("{where}: each line is one object, such as {example}", where=where, example='{"x": 1, "y": 2}')
            )
        refuse_nested(value, where)
        if "" in value:
            raise DataError(say("{where}: a key is empty; a column needs a name", where=where))
        found.append(value)
        total += len(value)
        if total > MAX_CELLS:
            raise DataError(say("{where}: more than {cells} cells", where=where, cells=MAX_CELLS))
    if not found:
        raise DataError(say("{name}: no rows; JSON Lines has one object a line", name=name))
    return FileTable(name, _union(found, name), np.arange(1, len(found) + 1), True, problems)


def refuse_nested(row: Mapping[str, Any], where: str) -> None:
    """Refuse lists and objects as cells, by name."""
    for key, cell in row.items():
        if isinstance(cell, (list, dict)):
            kind = say("a list") if isinstance(cell, list) else say("an object")
            raise DataError(say("{where}: {key!r} is {kind}; a cell is a number, a text, true, false or null",
                                where=where, key=key, kind=kind))  # fmt: skip


def _union(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, np.ndarray]:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not keys:
        raise DataError(say("{name}: its objects are empty", name=name))
    if len(keys) > MAX_COLUMNS or len(keys) * len(rows) > MAX_CELLS:
        raise DataError(
            say("{name}: {keys} different keys in {rows} rows; no table", name=name, keys=len(keys), rows=len(rows))
        )
    return {key: as_cells(_cell(row.get(key)) for row in rows) for key in keys}


def _cell(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


def rows_table(rows: Sequence[Any], columns: Sequence[str]) -> Table:
    """A table for prediction from JSON rows: objects by name, or lists in the order of `columns`.

    Keys that are no column stay in the table: the encoder ignores them, or names them when a column is missing.
    """
    if not rows:
        raise DataError(say("no rows to predict"))
    named: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        where = say("row {row}", row=number)
        if isinstance(row, (list, tuple)):
            if len(row) != len(columns):
                shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
                text = say("{where}: {found} cells; there are {wanted} columns: {names}",
                           where=where, found=len(row), wanted=len(columns), names=shown)  # fmt: skip
                raise DataError(text)
            row = dict(zip(columns, row, strict=True))
        if not isinstance(row, Mapping):
            raise DataError(
                say("{where}: a row is an object or a list of {count} cells", where=where, count=len(columns))
            )
        refuse_nested(row, where)
        named.append(dict(row))
    if not any(column in row for column in columns for row in named):
        raise DataError(say("rows: none of the columns is there: {names}", names=", ".join(columns[:12])))
    known = dict.fromkeys(columns) | dict.fromkeys(key for row in named for key in row)
    found = {
        column: as_cells(_cell(row.get(column)) for row in named)
        for column in known
        if any(column in row for row in named)
    }
    return Table(found)
