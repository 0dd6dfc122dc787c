"""Whether a table is a series: one column of moments in even steps, and numbers beside it. Cheap: its head decides."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netwright.data.files.tree import Tree, asked_once, hidden
from netwright.data.series.steps import Grid, distinct, find_grid
from netwright.data.series.times import Moments, moments
from netwright.data.tables.cells import Column, decimal_mark, numbers
from netwright.data.tables.columns import MAX_BYTES
from netwright.data.tables.files import ending, read_table
from netwright.data.tables.text import BYTE_ORDER_MARKS
from netwright.errors import DataError

HEAD_BYTES, HEAD_ROWS = 2**19, 2000
LEAST_ROWS = 6
"""Fewer moments are no evidence of a step."""
EVEN, EVEN_OF_FEW, FEW_ROWS = 0.65, 0.9, 20
"""The share of differences between neighbours that are one step; the one wanted of fewer than `FEW_ROWS` rows."""
ONCE = 0.75
"""The share of rows whose moment no earlier row has. Rows at random moments, k of them a step, have a share of
(1 - exp(-k)) / k here and an evenness of 1 - exp(-k): where the first is 0.75 the second is 0.45."""
MOMENTS = 0.9
"""The share of cells in a time column that are moments."""
NUMBERS = 0.95
"""The share of cells in a column of numbers that are numbers."""
MOST_TYPED = 2**26
"""Bytes of a Parquet file that is read whole to recognise it."""
MOST_TABLES = 3
CLASS_NAMES = ("target", "label", "class")
FEW = 20
"""Whole numbers of at most so many kinds are classes."""


@asked_once
def looks_like_series(tree: Tree) -> bool:
    """Whether the tables below `tree` have a column of moments in nearly even steps and a column of numbers.

    A table that merely holds a date (one row a customer, the same date in many rows, uneven dates) is none, nor is
    one whose column `target`, `label` or `class` holds words or a few whole numbers.
    """
    names = [entry.name for entry in tree.entries if ending(entry.name)]
    names = [name for name in names if not any(hidden(part) for part in name.split("/"))]
    if not 1 <= len(names) <= MOST_TABLES:
        return False
    sizes = {entry.name: entry.size for entry in tree.entries}
    return all(_is_series(tree, name, sizes[name]) for name in names)


def _is_series(tree: Tree, name: str, size: int) -> bool:
    if size > MAX_BYTES or (ending(name) == ".parquet" and size > MOST_TYPED):
        return False
    try:
        raw = tree.read(name, MAX_BYTES)
        head, cut = _head(name, raw)
        columns = _columns(name, head)
        if columns is None or _has_classes(columns):
            return False
        time = find_time(columns)
        if time is None and cut and may_be_time(columns):  # in no order: only the whole file tells
            columns = read_table(name, raw).columns
            time = find_time(columns)
    except (DataError, RecursionError, OSError):
        return False
    return time is not None and bool(number_columns(columns, without=time[0]))


def _columns(name: str, head: bytes) -> dict[str, np.ndarray] | None:
    """The columns at the head of a table; None for a table without rows."""
    try:
        return read_table(name, head).columns
    except DataError:
        if head.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)) or ending(name) == ".parquet":
            raise
        return read_table(name, head, encoding="latin-1").columns  # moments and numbers are ASCII in any encoding


def _head(name: str, raw: bytes) -> tuple[bytes, bool]:
    """The first lines of a text table, unpacked, and whether more follow; a Parquet file as it is."""
    if ending(name) == ".parquet":
        return raw, False
    if raw[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(raw, HEAD_BYTES + 1)
        except zlib.error as error:
            raise DataError(str(error)) from None
    else:
        head = raw[: HEAD_BYTES + 1]
    lines = head.split(b"\n", HEAD_ROWS + 1)
    cut = len(head) > HEAD_BYTES or len(lines) > HEAD_ROWS + 1
    if not cut or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head, cut
    return b"\n".join(lines[:-1]) + b"\n", True


def _has_classes(columns: Mapping[str, np.ndarray]) -> bool:
    """Whether a column is called as a target of classes is, and holds words or a few whole numbers."""
    for name, cells in columns.items():
        if name.lower() in CLASS_NAMES:
            values = Column.of(cells).values
            numeric = _is_numeric(cells)
            few = len(values) <= min(FEW, len(cells) // 2)
            if not numeric or (few and bool((np.mod(numbers(values), 1) == 0).all())):
                return True
    return False


def find_time(columns: Mapping[str, np.ndarray]) -> tuple[str, Moments, Grid] | None:
    """The column of moments in even steps, as it is read, and its grid; the first where there are several."""
    for place, (name, cells) in enumerate(columns.items()):
        found, grid = best_reading(moments(cells, name, place == 0))
        if found is None or grid is None or not _mostly_once(found):
            continue
        if grid.even >= (EVEN if len(grid.index) >= FEW_ROWS else EVEN_OF_FEW):
            return name, found, grid
    return None


def may_be_time(columns: Mapping[str, np.ndarray]) -> bool:
    """Whether a column holds moments, in whatever steps, most of them once."""
    ways = (moments(cells, name, place == 0) for place, (name, cells) in enumerate(columns.items()))
    return any(_mostly_once(found[0]) for found in ways if found)


def _mostly_once(found: Moments) -> bool:
    rows, repeated = distinct(found)
    enough = len(rows) >= max(LEAST_ROWS, ONCE * (len(rows) + len(repeated)))
    return enough and found.share >= MOMENTS


def best_reading(ways: Sequence[Moments]) -> tuple[Moments | None, Grid | None]:
    """The way of reading a column that gives the most even steps, and its grid."""
    best: tuple[Moments | None, Grid | None] = (None, None)
    for way in ways:
        rows, _ = distinct(way)
        grid = find_grid(way.ticks[rows], way.form)
        better = best[1] is None or (grid is not None and grid.even > best[1].even)
        if best[0] is None or better:
            best = (way, grid)
    return best


def number_columns(columns: Mapping[str, np.ndarray], without: str = "") -> list[str]:
    """The columns whose cells are numbers (at least 95 % of those that are there), the time column apart."""
    return [name for name, cells in columns.items() if name != without and _is_numeric(cells)]


def _is_numeric(cells: Any) -> bool:
    column = Column.of(cells)
    if not column.present:
        return False
    return column.share(np.isfinite(numbers(column.values, decimal_mark(column.values)))) >= NUMBERS
