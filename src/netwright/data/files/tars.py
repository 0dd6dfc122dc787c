"""Tar archives, plain or gzipped, parsed block by block (rule P5): ustar, GNU long names and POSIX pax headers.

The standard library's reader loops on hostile streams (CVE-2026-11972) and reads extended headers of any size;
this one takes each byte once, so time and memory are bounded by the file.
"""

import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from netwright.data.files.archives import RATIO, RATIO_FREE, SPOOL_LIMIT, Names, damaged, unsafe
from netwright.data.files.tree import READ_LIMIT, RegularFile, Tree, printable
from netwright.errors import DataError
from netwright.language import say


def is_header(block: bytes) -> bool:
    """Whether 512 bytes are a tar header: its checksum, the sum of all bytes with its own field blank, is right."""
    if len(block) != 512 or not block[0]:
        return False
    try:
        stated = _octal(block[148:156])
    except ValueError:
        return False
    blank = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    # Some old systems added signed bytes.
    high = sum(byte > 127 for byte in block[:148] + block[156:]) if stated < blank else 0
    return stated in (blank, blank - 256 * high)


def _octal(field: bytes) -> int:
    text = field.replace(b"\0", b" ").strip()
    if not re.fullmatch(b"[0-7]*", text):
        raise ValueError("no octal number")
    return int(text, 8) if text else 0


def _number(field: bytes) -> int:
    """A size: octal digits, or (GNU) base 256 with the top bit set."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise ValueError("negative")
        return int.from_bytes(field[1:], "big")
    return _octal(field)


class _Flow(Protocol):
    """Bytes one after another, without a way back."""

    position: int

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        ...

    def skip(self, count: int) -> bool:
        """Pass over `count` bytes; False when there are not so many."""
        ...


@dataclass
class _Plain:
    """An archive that is not compressed."""

    file: RegularFile
    position: int = 0

    def take(self, count: int) -> bytes:
        found = self.file.at(self.position, count)
        self.position += len(found)
        return found

    def skip(self, count: int) -> bool:
        self.position += count
        return self.position <= self.file.size


class _Inflated:
    """What a gzip file inflates to, counted against what was read of it."""

    def __init__(self, path: Path, file: RegularFile) -> None:
        self.path, self._file = path, file
        self.position = 0
        self._made = self._read = 0
        self._packed, self._buffer, self._start = b"", b"", 0
        self._stream = zlib.decompressobj(wbits=31)

    def take(self, count: int) -> bytes:
        ready = self._buffer[self._start : self._start + count]
        self._start += len(ready)
        pieces = [ready]
        missing = count - len(ready)
        while missing and self._refill():
            ready = self._buffer[:missing]
            self._start = len(ready)
            missing -= len(ready)
            pieces.append(ready)
        self.position += count - missing
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def skip(self, count: int) -> bool:
        while count:
            passed = len(self.take(min(count, 2**20)))
            if not passed:
                return False
            count -= passed
        return True

    def _refill(self) -> bool:
        """Inflate the next piece (at most 1 MiB); False at the end of the file."""
        self._buffer, self._start = b"", 0
        while not self._buffer:
            if self._stream.eof and not self._next_stream():
                return False
            if not self._packed:
                self._packed = self._more()
                if not self._packed:
                    raise damaged(self.path, say("it is cut off"))
            try:
                self._buffer = self._stream.decompress(self._packed, 2**20)
            except zlib.error as error:
                raise damaged(self.path, say("its gzip data is broken ({reason})", reason=error)) from None
            self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self._made += len(self._buffer)
            self._count()
        return True

    def _next_stream(self) -> bool:
        """gzip files may stand one behind another; zeros may follow the last."""
        while True:
            self._packed = self._packed.lstrip(b"\0")
            if self._packed:
                self._stream = zlib.decompressobj(wbits=31)
                return True
            self._packed = self._more()
            if not self._packed:
                return False

    def _more(self) -> bytes:
        piece = self._file.at(self._read, 2**16)
        self._read += len(piece)
        return piece

    def _count(self) -> None:
        if self._made > RATIO * (self._read - len(self._packed)) + RATIO_FREE:
            raise damaged(self.path, say("it inflates to more than {ratio} times its size", ratio=RATIO))
        if self._made > SPOOL_LIMIT:
            raise damaged(
                self.path, say("it inflates to more than {limit} bytes; unpack it first", limit=f"{SPOOL_LIMIT:,}")
            )


def first_block(path: Path, file: RegularFile) -> bytes:
    """The first 512 bytes that a gzip file inflates to, or none where it is broken."""
    try:
        return _Inflated(path, file).take(512)
    except DataError:
        return b""


_META_LIMIT, _META_CHAIN = 2**20, 16


def tar_members(path: Path, flow: _Flow, names: Names) -> Iterator[tuple[str, int]]:
    """(name, size) of each regular file; the caller passes over exactly `size` bytes of `flow` before the next."""
    meta: dict[str, str] = {}
    chain = 0
    while True:
        block = flow.take(512)
        if len(block) == 512 and not any(block):
            return _check_end(path, flow)
        if len(block) < 512:
            raise damaged(path, say("it is cut off"))
        if not is_header(block):
            raise damaged(path, say("the header at byte {position} is broken", position=f"{flow.position - 512:,}"))
        kind = block[156:157]
        raw = meta.get("path") or _field_name(block)
        try:
            size = int(meta["size"]) if "size" in meta and kind not in b"xgL" else _number(block[124:136])
        except ValueError:
            raise unsafe(path, raw, say("its size is no number")) from None
        if kind in b"xgL":
            chain += 1
            if chain > _META_CHAIN or size > _META_LIMIT:
                raise unsafe(path, raw, say("its extended header is too long"))
            _extend(path, meta, kind, flow.take(size), size)
            flow.skip(-size % 512)
            continue
        _check_kind(path, raw, kind, meta)
        if kind == b"5" or raw.endswith("/"):
            if size:
                raise unsafe(path, raw, say("a folder with content"))
            names.add_folder(raw)
        else:
            yield names.add_file(raw, size), size
            if not flow.skip(-size % 512):
                raise damaged(path, say("it is cut off"))
        meta, chain = {}, 0


def _field_name(block: bytes) -> str:
    name = block[:100].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _check_kind(path: Path, raw: str, kind: bytes, meta: dict[str, str]) -> None:
    if kind in (b"1", b"2", b"K"):
        raise unsafe(path, raw, say("a link"))
    if kind in (b"3", b"4", b"6"):
        raise unsafe(path, raw, say("a device or FIFO"))
    if kind == b"S" or any(key.startswith("GNU.sparse.") for key in meta):
        raise unsafe(path, raw, say("a sparse file"))
    if kind not in (b"0", b"\0", b"5", b"7"):
        raise unsafe(path, raw, say("of an unknown kind"))


def _extend(path: Path, meta: dict[str, str], kind: bytes, content: bytes, size: int) -> None:
    """Read a long name (GNU) or extended header (POSIX pax) for the next member; a global one may only comment."""
    if len(content) < size:
        raise damaged(path, say("it is cut off"))
    if kind == b"L":
        meta["path"] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
        return
    found = {}
    while content.strip(b"\0"):
        match = re.match(rb"([0-9]{1,7}) ([^=\0]+)=", content)
        length = int(match[1]) if match else 0
        if not match or content[length - 1 : length] != b"\n" or length <= match.end():
            raise damaged(path, say("an extended header is broken"))
        key = match[2].decode("utf-8", "replace")
        if key in ("path", "size") or key.startswith("GNU.sparse."):
            found[key] = content[match.end() : length - 1].decode("utf-8", "surrogateescape")
        content = content[length:]
    if "size" in found and not re.fullmatch("[0-9]{1,20}", found["size"]):
        raise damaged(path, say("an extended header is broken"))
    if kind == b"g" and found:
        raise damaged(path, say("a header for all members sets {names}", names=", ".join(sorted(found))))
    meta.update(found)


def _check_end(path: Path, flow: _Flow) -> None:
    """Behind the end mark only zeros may stand; reading on also verifies a gzip stream's checksum."""
    while piece := flow.take(2**16):
        if any(piece):
            raise damaged(path, say("data follows behind its end mark"))


class TarTree(Tree):
    """A .tar read in place."""

    def __init__(self, path: Path, file: RegularFile) -> None:
        super().__init__(path)
        self._places: dict[str, tuple[int, int]] = {}
        self._file = self._bodies(file)

    def _bodies(self, file: RegularFile) -> RegularFile:
        """Fill `entries`, `folders` and the members' places; returns the file that these places count in."""
        names, flow = Names(self.path), _Plain(file)
        for name, size in tar_members(self.path, flow, names):
            self._places[name] = (flow.position, size)
            if not flow.skip(size):
                raise damaged(self.path, say("it is cut off"))
        self.entries, self.folders = names.entries(), names.shown_folders()
        return file

    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        if name not in self._places:
            raise self._missing(name)
        offset, size = self._places[name]
        if size > limit:
            raise self._too_large(name, limit)
        found = self._file.at(offset, size)
        if len(found) < size:
            raise damaged(self.path, say("it became shorter while it was read"))
        return found

    def walk(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of the archive."""
        wanted = list(names)
        for name in sorted(wanted, key=lambda name: self._places.get(name, (0, 0))):
            yield name, self.read(name)

    def close(self) -> None:
        self._file.close()


class SpooledTarTree(TarTree):
    """A .tar.gz: inflated once, its files kept in a private temporary file without a name."""

    def _bodies(self, file: RegularFile) -> RegularFile:
        try:
            descriptor, name = tempfile.mkstemp(prefix="netwright-")
            os.unlink(name)
            spool = RegularFile(Path(name), descriptor)
            self._fill(file, descriptor)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                say(
                    "{path} needs room for its content in {folder}: {reason}; or unpack it first",
                    path=printable(str(self.path)), folder=tempfile.gettempdir(), reason=reason,
                )
            ) from None  # fmt: skip
        file.close()
        return spool

    def _fill(self, file: RegularFile, descriptor: int) -> None:
        names, flow, end = Names(self.path), _Inflated(self.path, file), 0
        with open(descriptor, "wb", closefd=False) as spool:
            for name, size in tar_members(self.path, flow, names):
                self._places[name] = (end, size)
                end += size
                while size:
                    piece = flow.take(min(size, 2**20))
                    if not piece:
                        raise damaged(self.path, say("it is cut off"))
                    spool.write(piece)
                    size -= len(piece)
        self.entries, self.folders = names.entries(), names.shown_folders()
