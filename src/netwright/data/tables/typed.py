"""Typed tables: Parquet files (through pyarrow, an extra) and data frames of any library (through narwhals)."""

import io
import math
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from netwright.data.tables.columns import MAX_RATIO, FileTable, as_cells
from netwright.data.tables.text import MAX_CELLS, MAX_COLUMNS
from netwright.errors import DataError, MissingError, UsageError
from netwright.language import say

MAX_FOOTER = 2**26
"""Bytes of a Parquet footer; ten thousand columns take about four million."""


def read_parquet(name: str, raw: bytes) -> FileTable:
    """Read a Parquet file: lengths are checked first; extension, nested and binary columns are refused by name."""
    _check_frame(name, raw)
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        text = say("{name}: Parquet files need pyarrow, which is not installed.", name=name)
        raise MissingError(text + "\n" + say("Install it: pip install 'netwright[table]'")) from None
    try:
        parts, schema, rows = _batches(arrow, parquet, name, raw)
    except DataError:
        raise
    except (arrow.ArrowException, OSError, OverflowError, ValueError, MemoryError) as error:
        reason = str(error).split("\n")[0][:160]
        raise DataError(say("{name}: a damaged Parquet file ({reason})", name=name, reason=reason)) from None
    if sum(part.num_rows for part in parts) != rows:
        raise DataError(
            say("{name}: the Parquet footer announces {rows} rows, the file holds others", name=name, rows=rows)
        )
    if rows == 0:
        raise DataError(say("{name}: no rows", name=name))
    columns = {}
    for place, column in enumerate(schema.names):
        cells = [cell for part in parts for cell in _listed(arrow, part.column(place))]
        columns[column] = as_cells(_plain(cell, name, column) for cell in cells)
    _check_names(name, schema.names)
    return FileTable(name, columns, np.arange(1, rows + 1), typed=True)


def _batches(arrow: Any, parquet: Any, name: str, raw: bytes) -> tuple[list[Any], Any, int]:
    """The record batches, the schema and the number of rows, once sizes and types are known to be fit."""
    limits = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": 10**6}
    file = parquet.ParquetFile(io.BytesIO(raw), **limits)
    rows, schema = file.metadata.num_rows, file.schema_arrow
    _check_size(name, len(raw), rows, len(schema), file.metadata)
    for field in schema:
        _check_type(arrow, name, field)
    types = arrow.types
    texts = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
    file = parquet.ParquetFile(io.BytesIO(raw), read_dictionary=texts, **limits)  # each text is held once
    return list(file.iter_batches(batch_size=65_536, use_threads=False)), schema, rows


def _check_frame(name: str, raw: bytes) -> None:
    """Magic numbers and footer length against the real size, before anything is allocated (rule P6)."""
    if len(raw) < 12 or raw[:4] != b"PAR1" or raw[-4:] != b"PAR1":
        raise DataError(say("{name}: no Parquet file (it begins and ends with PAR1), or cut short", name=name))
    footer = int.from_bytes(raw[-8:-4], "little")
    if footer > min(len(raw) - 12, MAX_FOOTER):
        raise DataError(
            say("{name}: its Parquet footer claims {footer} bytes of {size}", name=name, footer=footer, size=len(raw))
        )


def _check_size(name: str, size: int, rows: int, columns: int, metadata: Any) -> None:
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    counted = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    allowed = min(MAX_CELLS, max(10**6, MAX_RATIO * size))  # run lengths can announce any number of cells
    if not 0 < columns <= MAX_COLUMNS or not 0 <= rows * columns <= allowed or unpacked > 2**31 or counted != rows:
        text = say("{name}: {rows} rows x {columns} columns, {unpacked} bytes unpacked; at most {cells} cells here.",
                   name=name, rows=rows, columns=columns, unpacked=unpacked, cells=allowed)  # fmt: skip
        raise DataError(text)


def _check_type(arrow: Any, name: str, field: Any) -> None:
    kind, types = field.type, arrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    extension = isinstance(kind, arrow.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {})
    allowed = (
        types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        or types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
        or types.is_date(kind) or types.is_timestamp(kind)
    )  # fmt: skip
    if extension or not allowed:
        raise DataError(
            say("{name}: column {column!r} is of type {kind}; a table holds numbers, text, dates, true and false",
                name=name, column=field.name, kind=str(kind)[:80])
        )  # fmt: skip


def _check_names(name: str, names: list[str]) -> None:
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(say("{name}: two columns are named {names}", name=name, names=", ".join(twice[:8])))


def _listed(arrow: Any, column: Any) -> list[Any]:
    """The cells as Python values; equal texts are one object, times lose their nanoseconds."""
    if arrow.types.is_dictionary(column.type):
        values = [None, *_listed(arrow, column.dictionary)]
        return [values[0 if place is None else place + 1] for place in column.indices.to_pylist()]
    if arrow.types.is_timestamp(column.type):
        column = column.cast(arrow.timestamp("us"), safe=False)
    return list(column.to_pylist())


def _plain(cell: Any, name: str, column: str) -> Any:
    """A cell as None, str, bool, int, float or datetime; anything else is refused by name."""
    kind = type(cell)
    if cell is None or kind is bool or kind is int:
        return cell
    if kind is float:
        return None if math.isnan(cell) else cell
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, datetime):
        if cell != cell:
            return None
        if cell.tzinfo is not None:
            cell = cell.astimezone(UTC)
        return datetime(cell.year, cell.month, cell.day, cell.hour, cell.minute, cell.second, cell.microsecond)
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, Decimal):
        return float(cell) if cell.is_finite() else None
    if isinstance(cell, np.generic):
        return _plain(cell.item(), name, column)
    if type(cell).__name__ in ("NAType", "NaTType"):
        return None
    raise DataError(
        say("{name}: column {column!r} holds {kind}; a table holds numbers, text, dates, true and false", name=name,
            column=column, kind=type(cell).__name__)
    )  # fmt: skip


def frame_table(frame: Any) -> FileTable:
    """The columns of a data frame (pandas, polars, pyarrow, ...). Errors: UsageError when it is none."""
    import narwhals as nw
    from narwhals.exceptions import NarwhalsError

    try:
        table = nw.from_native(frame, eager_only=True)
        names = [str(column) for column in table.columns]
        _check_names("data frame", names)
        lists = [table[:, place].to_list() for place in range(len(names))]
    except DataError:
        raise
    except (NarwhalsError, TypeError, ValueError) as error:
        reason = str(error).split("\n")[0][:160]
        text = say("a data frame was expected (pandas, polars, pyarrow): {reason}", reason=reason)
        raise UsageError(text) from None
    if not names or not lists[0]:
        raise DataError(
            say("the data frame is empty: {rows} rows, {columns} columns", rows=len(frame), columns=len(names))
        )
    columns = {
        column: as_cells(_plain(cell, "data frame", column) for cell in cells)
        for column, cells in zip(names, lists, strict=True)
    }  # fmt: skip
    return FileTable("data frame", columns, np.arange(1, len(lists[0]) + 1), typed=True)
