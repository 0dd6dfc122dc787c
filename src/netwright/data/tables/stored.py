"""Large text tables, parsed once: the cells of a file as the cache holds them, each column by its distinct values."""

import hashlib
import json
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from netwright.data.cache.rows import BLOCK, Damaged, Making, in_memory
from netwright.data.cache.store import FORMAT, Store, store
from netwright.data.cache.turns import Turn, turn, unusable
from netwright.data.files.tree import printable
from netwright.data.source import Problem
from netwright.data.tables.columns import FileTable
from netwright.data.tables.files import ending, read_table
from netwright.data.telling import tell
from netwright.language import language, say

LEAST = 2**23
"""Bytes of a file from which on it is kept: smaller ones are parsed in about a second."""
CELLS = 1
"""Goes into every key, and grows when text is parsed to other cells than before."""


def read_stored(name: str, raw: bytes, header: bool | Literal["auto"], encoding: str) -> FileTable:
    """`read_table`, from the cache where it holds this content; the same table either way."""
    cache = store() if len(raw) >= LEAST and ending(name) != ".parquet" else None
    if cache is None:
        return read_table(name, raw, header, encoding)
    facts = json.dumps([FORMAT, CELLS, name, header, encoding, language()])
    key = hashlib.sha256(facts.encode() + hashlib.sha256(raw).digest()).hexdigest()[:48]
    title = printable(name)
    mine = turn(cache, key, title)
    if mine is not None and mine.content is not None:
        try:
            return _recalled(name, mine)
        except (Damaged, OSError, KeyError, ValueError, TypeError, IndexError):
            mine = mine.remake(title)
    try:
        found = read_table(name, raw, header, encoding)
        if mine is not None:
            _keep(cache, mine, title, found)
    finally:
        if mine is not None:
            mine.lock.close()
    return found


def _keep(cache: Store, mine: Turn, title: str, found: FileTable) -> None:
    """Store the cells; where that is impossible, say so and leave nothing behind."""
    payload, columns = _packed(found)
    reason = cache.make_room(len(payload), mine.entry.key)
    if reason:
        tell(say("cache: {name} is not kept ({reason})", name=title, reason=reason))
        mine.entry.remove_held(mine.lock)
        return
    edges = [*range(0, len(payload), BLOCK), len(payload)]
    problems = [[problem.where, problem.what, problem.action] for problem in found.problems]
    content = {
        "kind": "table", "name": title, "examples": len(found.rows), "columns": columns, "typed": found.typed,
        "problems": problems, "looks_headed": found.looks_headed,
    }  # fmt: skip
    making = None
    try:
        making = Making(mine.entry, edges, 1, {})
        for block, (low, high) in enumerate(pairwise(edges)):
            making.note(block, making.write(block, memoryview(payload)[low:high]), {})
        making.finish(content)
    except OSError as error:
        unusable(cache, error)
        mine.entry.remove_held(mine.lock)
    finally:
        if making is not None:
            making.close()


def _packed(found: FileTable) -> tuple[bytes, list[list[Any]]]:
    """All cells as bytes, and for each column its name and the lengths of its values and codes."""
    pieces, columns = [found.rows.astype(np.int64).tobytes()], []
    for name, cells in found.columns.items():
        place: dict[Any, int] = {}
        listed = cells.tolist()
        # 1, 1.0 and True are equal, and so are 0.0 and -0.0: typed cells are told apart by type and spelling.
        keys = [(type(cell), repr(cell)) for cell in listed] if found.typed else listed
        codes = np.fromiter((place.setdefault(key, len(place)) for key in keys), np.int32, len(listed))
        first = np.zeros(len(place), np.int64)
        first[codes[::-1]] = np.arange(len(listed))[::-1]
        values = json.dumps([listed[row] for row in first.tolist()]).encode()
        columns.append([name, len(values)])
        pieces += [values, codes.tobytes()]
    return b"".join(pieces), columns


def _recalled(name: str, mine: Turn) -> FileTable:
    """The table of a finished entry. Errors: Damaged, OSError."""
    content = mine.content or {}
    data = in_memory(mine.entry, content, (), 2).numpy().data
    count = int(content["examples"])
    rows, place = np.frombuffer(data[: 8 * count], np.int64).copy(), 8 * count
    columns = {}
    for column, length in content["columns"]:
        listed = json.loads(bytes(data[place : place + length]))
        values = np.empty(len(listed), object)
        values[:] = listed
        place += length
        columns[column] = values[np.frombuffer(data[place : place + 4 * count], np.int32)]
        place += 4 * count
    problems = [Problem(*problem) for problem in content["problems"]]
    mine.lock.close()
    return FileTable(name, columns, rows, content["typed"], problems, content["looks_headed"])
