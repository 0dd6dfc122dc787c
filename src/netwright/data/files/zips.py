"""Zip archives (rule P5): directory and local headers must agree, no two members may share a byte.

Only stored and deflated members are read; each is inflated up to its stated size and not a byte further, then
its length and CRC-32 are checked. A directory may state any size: it buys no more than `RATIO` times the packed bytes.
"""

import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netwright.data.files.archives import RATIO, RATIO_FREE, TOTAL_LIMIT, Names, damaged, unsafe
from netwright.data.files.tree import ENTRY_LIMIT, READ_LIMIT, RegularFile, Tree
from netwright.language import say

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_MEMBER = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_DIRECTORY_LIMIT = 2**29
_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 99: "AES"}
_ENCRYPTED, _STREAMED, _UTF8 = 0x2041, 0x0008, 0x0800  # bits 0, 6, 13: encryption; 3: sizes follow the data; 11


@dataclass(frozen=True)
class _Member:
    """One entry of the central directory."""

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int

    @property
    def name(self) -> str:
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError:
            return self.raw.decode("cp437")  # what the format prescribes without its UTF-8 flag


class ZipTree(Tree):
    """A .zip read in place."""

    def __init__(self, path: Path, file: RegularFile) -> None:
        super().__init__(path)
        self._file = file
        start, length, count = self._directory()
        members = sorted(self._members(start, length, count), key=lambda member: member.offset)
        names = Names(path)
        self._places: dict[str, tuple[int, _Member]] = {}
        end = total = 0
        for member in members:
            _check(path, member)
            if member.offset < end:
                raise unsafe(path, member.name, say("it overlaps another member"))
            body = self._body(member)
            end = body + member.packed
            if end > start:
                raise unsafe(path, member.name, say("it reaches into the directory"))
            total += member.size
            if member.name.endswith("/"):
                names.add_folder(member.name)
            else:
                self._places[names.add_file(member.name, member.size)] = (body, member)
        if total > min(TOTAL_LIMIT, RATIO * file.size + RATIO_FREE):
            raise damaged(path, say("its members are said to hold {size} bytes", size=f"{total:,}"))
        self.entries, self.folders = names.entries(), names.shown_folders()

    def _directory(self) -> tuple[int, int, int]:
        """Start, length and count of the central directory, from the one end record that fits the file's end."""
        size = self._file.size
        base = max(0, size - _END.size - 0xFFFF)
        tail = self._file.at(base, size - base)
        found, place = [], tail.find(b"PK\x05\x06")
        while 0 <= place <= len(tail) - _END.size:
            record = _END.unpack_from(tail, place)
            if place + _END.size + record[7] == len(tail):
                found.append((base + place, record))
            place = tail.find(b"PK\x05\x06", place + 1)
        if len(found) != 1:
            raise damaged(self.path, say("its end is cut off or damaged") if not found else say("it has two ends"))
        place, (_, disk, first, here, count, length, start, _) = found[0]
        if 0xFFFF in (disk, first, here, count) or 0xFFFFFFFF in (length, start):
            place, disk, first, here, count, length, start = self._end64(place)
        if disk or first or here != count:
            raise damaged(self.path, say("it is one part of several"))
        if start + length != place:
            raise damaged(self.path, say("its directory is not where its end says"))
        if count > ENTRY_LIMIT or length > _DIRECTORY_LIMIT:
            raise damaged(self.path, say("it holds more than {limit} members", limit=f"{ENTRY_LIMIT:,}"))
        return start, length, count

    def _end64(self, place: int) -> tuple[int, int, int, int, int, int, int]:
        try:
            magic, _, place64, _ = _LOCATOR.unpack(self._file.at(max(0, place - _LOCATOR.size), _LOCATOR.size))
            end = _END64.unpack(self._file.at(place64, _END64.size)) if magic == b"PK\x06\x07" else ()
        except (struct.error, OverflowError):
            end = ()
        if not end or end[0] != b"PK\x06\x06" or place64 + 12 + end[1] + _LOCATOR.size != place:
            raise damaged(self.path, say("its end is cut off or damaged"))
        return place64, end[4], end[5], end[6], end[7], end[8], end[9]

    def _members(self, start: int, length: int, count: int) -> Iterator[_Member]:
        directory, place = self._file.at(start, length), 0
        for _ in range(count):
            try:
                fields = _MEMBER.unpack_from(directory, place)
            except struct.error:
                raise damaged(self.path, say("its directory is cut off")) from None
            flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
            outer, offset = fields[15], fields[16]
            name_end = place + _MEMBER.size + fields[10]
            extra_end = name_end + fields[11]
            if fields[0] != b"PK\x01\x02" or extra_end + fields[12] > length:
                raise damaged(self.path, say("its directory is broken"))
            raw = directory[place + _MEMBER.size : name_end]
            if 0xFFFFFFFF in (size, packed, offset):
                large = _large(directory[name_end:extra_end], size, packed, offset)
                if large is None:
                    raise damaged(self.path, say("its directory is broken"))
                size, packed, offset = large
            yield _Member(raw, flags, method, crc, packed, size, outer >> 16, offset)
            place = extra_end + fields[12]
        if place != length:
            raise damaged(self.path, say("its directory is longer than its count"))

    def _body(self, member: _Member) -> int:
        """Where the member's data begins. Errors: DataError where its local header says anything else."""
        fixed = self._file.at(member.offset, _LOCAL.size + len(member.raw)) if member.offset < self._file.size else b""
        if len(fixed) < _LOCAL.size + len(member.raw):
            raise unsafe(self.path, member.name, say("its header is missing"))
        magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(fixed)
        if magic != b"PK\x03\x04":
            raise unsafe(self.path, member.name, say("its header is missing"))
        same = name_length == len(member.raw) and fixed[_LOCAL.size :] == member.raw and method == member.method
        same &= (flags ^ member.flags) & (_ENCRYPTED | _STREAMED | _UTF8) == 0
        for local, central in ((crc, member.crc), (packed, member.packed), (size, member.size)):
            later = flags & _STREAMED and local == 0
            same &= bool(later) or local in (central, 0xFFFFFFFF)
        if not same:
            raise unsafe(self.path, member.name, say("its header and the directory differ"))
        return member.offset + _LOCAL.size + int(name_length + extra_length)

    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        if name not in self._places:
            raise self._missing(name)
        body, member = self._places[name]
        if member.size > limit:
            raise self._too_large(name, limit)
        packed = self._file.at(body, member.packed)
        content = packed if member.method == 0 else self._inflate(name, member, packed)
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise unsafe(self.path, name, say("its content is damaged"))
        return content

    def _inflate(self, name: str, member: _Member, packed: bytes) -> bytes:
        most = min(member.size, RATIO * member.packed + RATIO_FREE)
        stream = zlib.decompressobj(wbits=-15)
        try:
            # One byte more than is right shows a size that lies; `max_length` 0 would mean without limit.
            content = stream.decompress(packed, most + 1)
        except zlib.error as error:
            raise unsafe(self.path, name, say("its content is damaged ({reason})", reason=error)) from None
        if len(content) > most:
            raise unsafe(self.path, name, say("it inflates to more than is stated"))
        if not stream.eof or stream.unused_data:
            raise unsafe(self.path, name, say("its content is damaged"))
        return content

    def walk(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """In the order of the archive."""
        wanted = list(names)
        for name in sorted(wanted, key=lambda name: self._places[name][0] if name in self._places else 0):
            yield name, self.read(name)

    def close(self) -> None:
        self._file.close()


def _check(path: Path, member: _Member) -> None:
    """Refuse what is neither a file nor a folder, is encrypted, or is packed in a way that is not read."""
    if member.flags & _UTF8:
        try:
            member.raw.decode("utf-8")
        except UnicodeDecodeError:
            raise unsafe(path, member.name, say("its name is no UTF-8")) from None
    if member.flags & _ENCRYPTED:
        raise unsafe(path, member.name, say("it is encrypted"))
    if stat.S_IFMT(member.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise unsafe(path, member.name, say("a link") if stat.S_ISLNK(member.mode) else say("no regular file"))
    if member.name.endswith("/") and member.size:
        raise unsafe(path, member.name, say("a folder with content"))
    if stat.S_ISDIR(member.mode) and not member.name.endswith("/"):
        raise unsafe(path, member.name, say("it is both a file and a folder"))
    if member.method not in (0, 8):
        method = _METHODS.get(member.method, str(member.method))
        raise unsafe(path, member.name, say("packed by {method}; stored and deflated members are read", method=method))
    if member.method == 0 and member.packed != member.size:
        raise unsafe(path, member.name, say("its two sizes differ"))
    if member.size > RATIO * member.packed + RATIO_FREE:
        raise unsafe(path, member.name, say("it inflates to more than {ratio} times its size", ratio=RATIO))


def _large(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int] | None:
    """Size, packed size and offset where the directory has moved them into a zip64 field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            values = [value for value in (size, packed, offset) if value == 0xFFFFFFFF]
            if length < 8 * len(values) or len(extra) < 4 + 8 * len(values):
                return None
            wide = iter(struct.unpack_from(f"<{len(values)}Q", extra, 4))
            found = [next(wide) if value == 0xFFFFFFFF else value for value in (size, packed, offset)]
            return found[0], found[1], found[2]
        extra = extra[4 + length :]
    return None
