"""Rows of one shape in a cache entry: written block by block, each block with its SHA-256, read back verified.

While an entry is made, `rows.part` takes the blocks in any order and `journal.part` says which are whole, so that a
process that is killed loses the blocks in its hands and nothing else. A line of the journal vouches for itself, and
for its block; what does not verify is made again.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from netwright import storage
from netwright.data.cache.locks import Lock
from netwright.data.cache.store import Entry
from netwright.rundir import sha256, to_json

ROWS, PART, JOURNAL = "rows.bin", "rows.part", "journal.part"
BLOCK = 2**22
"""Bytes of a block at most, unless a single row is larger."""


class Damaged(Exception):
    """Bytes of an entry are not those that were written."""


def block_edges(count: int, row_bytes: int, rows: int = 256) -> list[int]:
    """Where blocks of at most `rows` rows and about 4 MiB begin, and the end."""
    step = max(1, min(rows, BLOCK // max(1, row_bytes)))
    return [*range(0, count, step), count] if count else [0]


class Making:
    """An entry on its way: the caller holds its lock alone."""

    def __init__(self, entry: Entry, edges: Sequence[int], row_bytes: int, about: dict[str, Any]) -> None:
        self.entry, self.edges, self.row_bytes = entry, edges, row_bytes
        self.head = {"edges": list(edges), "row_bytes": row_bytes, **about}
        self.done: dict[int, dict[str, Any]] = {}
        """Block -> what its line in the journal says."""
        if (entry.path / ROWS).exists() and not (entry.path / PART).exists():  # killed between its last two steps
            storage.rename(entry.path / ROWS, entry.path / PART)
        self._handle = os.open(entry.path / PART, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._resume()

    def _resume(self) -> None:
        """Take over the blocks of an earlier start that are whole; begin anew where the plan was another."""
        lines = _journal(self.entry.path / JOURNAL)
        if lines and lines[0] == self.head:
            whole = [line for line in lines[1:] if self._is_whole(line)]
            self.done = {line["block"]: line for line in whole}
        else:
            os.ftruncate(self._handle, 0)
        pieces = [_line(self.head), *(_line(line) for line in self.done.values())]
        storage.write_bytes(self.entry.path / JOURNAL, b"".join(pieces))

    def _is_whole(self, line: dict[str, Any]) -> bool:
        block = line.get("block")
        if not isinstance(block, int) or not 0 <= block < len(self.edges) - 1:
            return False
        return sha256(self.read(block)) == line.get("sha256")

    def read(self, block: int) -> bytes:
        """The bytes of a block that is done."""
        low, high = self.edges[block], self.edges[block + 1]
        return os.pread(self._handle, (high - low) * self.row_bytes, low * self.row_bytes)

    def write(self, block: int, data: memoryview) -> str:
        """Put a block in its place, from any thread; returns its SHA-256. Errors: OSError."""
        place, left = self.edges[block] * self.row_bytes, data
        while len(left):
            written = os.pwrite(self._handle, left, place)
            left, place = left[written:], place + written
        return hashlib.sha256(data).hexdigest()

    def note(self, block: int, digest: str, facts: dict[str, Any]) -> None:
        """Say in the journal that a block is whole. Errors: OSError."""
        line = {"block": block, "sha256": digest, **facts}
        text = _line(line)
        if storage.append_bytes(self.entry.path / JOURNAL, text) < len(text):
            raise OSError(28, os.strerror(28), str(self.entry.path / JOURNAL))
        self.done[block] = line

    def finish(self, content: dict[str, Any]) -> None:
        """Make everything durable and the entry a finished one. Errors: OSError."""
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1
        storage.rename(self.entry.path / PART, self.entry.path / ROWS)
        blocks = [self.done[block]["sha256"] for block in range(len(self.edges) - 1)]
        length = self.edges[-1] * self.row_bytes
        rows = {"edges": list(self.edges), "row_bytes": self.row_bytes, "blocks": blocks}
        self.entry.commit({**content, "rows": rows}, {ROWS: length})
        storage.remove(self.entry.path / JOURNAL)

    def close(self) -> None:
        """Let go of the file; what is done stays for the next start."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _line(content: dict[str, Any]) -> bytes:
    text = to_json(content)
    return f"{sha256(text.encode())} {text}\n".encode()


def _journal(path: Path) -> list[dict[str, Any]]:
    """The lines that are as they were written; the first that is not ends the reading."""
    found: list[dict[str, Any]] = []
    try:
        data = path.read_bytes()
    except OSError:
        return found
    for line in data.split(b"\n"):
        digest, _, text = line.partition(b" ")
        if sha256(text).encode() != digest:
            break
        found.append(json.loads(text))
    return found


def check_blocks(
    handle: int, rows: dict[str, Any], threads: int, put: Callable[[int, int], memoryview] | None = None
) -> None:
    """Read all blocks through and compare their SHA-256, a few threads at a time; `put` gives the memory for them.

    Errors: Damaged at the first block that is not as it was written.
    """
    spans = list(pairwise(rows["edges"]))

    def check(blocks: Iterable[int]) -> None:
        own = bytearray()
        for block in blocks:
            low, high = spans[block]
            size = (high - low) * rows["row_bytes"]
            if put is None:
                own = own if len(own) == size else bytearray(size)
            room = memoryview(own) if put is None else put(low, high)
            if _filled(handle, room, low * rows["row_bytes"]) < size:
                raise Damaged
            if hashlib.sha256(room).hexdigest() != rows["blocks"][block]:
                raise Damaged

    count = len(spans)
    if len(rows["blocks"]) != count:
        raise Damaged
    threads = max(1, min(threads, count))
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        for each in [pool.submit(check, range(first, count, threads)) for first in range(threads)]:
            each.result()


def _filled(handle: int, room: memoryview, place: int) -> int:
    done = 0
    while done < len(room):
        found = os.preadv(handle, [room[done:]], place + done)
        if not found:
            break
        done += found
    return done


def sound(entry: Entry, content: dict[str, Any]) -> bool:
    """Whether every byte of a finished entry is as it was written."""
    try:
        handle = os.open(entry.path / ROWS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        check_blocks(handle, content["rows"], 2)
    except (Damaged, OSError, KeyError, TypeError):
        return False
    finally:
        os.close(handle)
    return True


def in_memory(entry: Entry, content: dict[str, Any], shape: Sequence[int], threads: int) -> UInt8[Tensor, "rows ..."]:
    """All rows in a tensor of their own, verified. Errors: Damaged, OSError."""
    rows = content["rows"]
    found = torch.empty((rows["edges"][-1], *shape), dtype=torch.uint8)
    flat = found.numpy().reshape(-1).data if found.numel() else memoryview(b"")
    size = rows["row_bytes"]
    handle = os.open(entry.path / ROWS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        check_blocks(handle, rows, threads, lambda low, high: flat[low * size : high * size])
    finally:
        os.close(handle)
    return found


class Mapped:
    """Rows that stay in the file of their entry: taken through a memory map, never all in memory at once."""

    def __init__(
        self, entry: Entry, content: dict[str, Any], shape: Sequence[int], dtype: torch.dtype, threads: int,
        lock: Lock, keep: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Opens and verifies; the lock is held as long as this object lives. Errors: Damaged, OSError."""
        handle = os.open(entry.path / ROWS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            check_blocks(handle, content["rows"], threads)
            length = os.fstat(handle).st_size
            # Private and writable, so that torch takes it without a warning; nobody writes.
            flags, rights = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0), mmap.PROT_READ | mmap.PROT_WRITE
            self.map = mmap.mmap(handle, length, flags=flags, prot=rights)
        finally:
            os.close(handle)
        self.rows = torch.frombuffer(self.map, dtype=dtype).reshape(-1, *shape)
        self.lock, self.keep = lock, keep
        self.marks: list[bytes] | None = None
        """Digests of the rows, as `audit.digests` makes them, where they are known."""

    def __len__(self) -> int:
        return len(self.rows) if self.keep is None else len(self.keep)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The rows at `positions`, in that order, copied out of the file."""
        index = np.asarray(positions, dtype=np.int64)
        found = torch.from_numpy(index if self.keep is None else self.keep[index])
        return self.rows.index_select(0, found)
