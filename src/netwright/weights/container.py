"""The two containers in which torch has written checkpoints: a zip archive (since 1.6), and one stream before that.

Both give the same: the value that the pickle describes, and the bytes of each storage, in place (the file is mapped,
never copied). A zip's checksums are verified where torch wrote them.
"""

import io
import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any

from netwright.language import say
from netwright.weights.pickled import BYTES, Refused, Storage, StoredTensor, read

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
LARGEST_PICKLE = 2**26
"""Bytes of a zip's `data.pkl`."""
MOST_MEMBERS = 200_000
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED = 0
_ENCRYPTED = 0x2041
_ZIP_FAULTS = (
    zipfile.BadZipFile, ValueError, struct.error, OSError, EOFError, KeyError, IndexError, NotImplementedError,
)  # fmt: skip
"""What the standard library raises on directories that are broken, or of a version that it does not read."""


@dataclass(frozen=True)
class Contents:
    """A checkpoint in memory-mapped form."""

    value: Any
    places: dict[str, tuple[int, int]]
    """Storage key -> where its bytes begin and end in the file."""
    notes: tuple[str, ...] = ()


def contents(file: IO[bytes], mapped: mmap.mmap) -> Contents:
    """What the checkpoint in `file` holds. Errors: `Refused` for files of another kind, damaged or hostile."""
    head = mapped[:512]
    if head[:4] == b"PK\x03\x04":
        return _zip(file, mapped)
    if head[:2] == b"\x80\x02" or head[:1] in (b"\x80", b"("):
        return _stream(file, mapped)
    if head[257:262] == b"ustar" or head[:9] == b"sys_info\0":
        raise Refused(say("it is a tar checkpoint of torch 0.1; load and save it once with a torch before 2.0"))
    if head[:1] == b"{" or head[8:9] == b"{":
        raise Refused(say("it is a safetensors or text file already, and holds no pickle"))
    raise Refused(say("it is no checkpoint that torch writes"))


def _zip(file: IO[bytes], mapped: mmap.mmap) -> Contents:
    try:
        directory = zipfile.ZipFile(file).infolist()
    except _ZIP_FAULTS as error:
        raise Refused(say("its zip directory is damaged or cut off ({reason})", reason=str(error)[:120])) from None
    if len(directory) > MOST_MEMBERS:
        raise Refused(say("it holds more than {limit:,} members", limit=MOST_MEMBERS))
    members: dict[str, zipfile.ZipInfo] = {}
    for member in directory:
        if member.filename in members:
            raise Refused(say("its member {name!r} stands there twice", name=member.filename[:120]))
        members[member.filename] = member
    places, end = {}, 0
    for member in sorted(directory, key=lambda found: found.header_offset):
        first, last = _place(member, mapped)
        if member.header_offset < end:
            raise Refused(say("its member {name!r} overlaps another", name=member.filename[:120]))
        places[member.filename], end = (first, last), last
    root = _root(members)
    checked = _verify(members, places, mapped)
    if f"{root}constants.pkl" in members or any(name.startswith(f"{root}code/") for name in members):
        raise Refused(say("it is a TorchScript program, not weights: save model.state_dict() instead"))
    _little(bytes(mapped[slice(*places[f"{root}byteorder"])]) if f"{root}byteorder" in places else b"little")
    first, last = places[f"{root}data.pkl"]
    if last - first > LARGEST_PICKLE:
        raise Refused(say("its pickle has {size:,} bytes; at most {limit:,}", size=last - first, limit=LARGEST_PICKLE))
    stream = io.BytesIO(mapped[first:last])
    value = read(stream)
    if stream.tell() != last - first:
        raise Refused(say("{count:,} bytes follow its pickle", count=last - first - stream.tell()))
    data = f"{root}data/"
    found = {name.removeprefix(data): place for name, place in places.items() if name.startswith(data)}
    notes = () if checked else (say("the file holds no checksums: damage to its numbers would go unseen"),)
    return Contents(value, found, notes)


def _root(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that holds data.pkl, with its slash."""
    roots = [name.removesuffix("data.pkl") for name in members if name.rpartition("/")[2] == "data.pkl"]
    roots = [root for root in roots if root.count("/") <= 1]
    if len(roots) != 1:
        raise Refused(say("it is a zip archive without one data.pkl, so no checkpoint that torch writes"))
    return roots[0]


def _place(member: zipfile.ZipInfo, mapped: mmap.mmap) -> tuple[int, int]:
    """Where a member's bytes lie, by its own header, which must agree with the directory."""
    name = member.filename[:120]
    if member.compress_type != _STORED or member.flag_bits & _ENCRYPTED or member.compress_size != member.file_size:
        raise Refused(say("its member {name!r} is packed or encrypted; torch stores members as they are", name=name))
    if not 0 <= member.header_offset <= len(mapped) - _LOCAL.size:
        raise Refused(say("its member {name!r} lies beyond the file", name=name))
    fields = _LOCAL.unpack_from(mapped, member.header_offset)
    first = member.header_offset + _LOCAL.size + fields[9] + fields[10]
    raw = mapped[member.header_offset + _LOCAL.size : member.header_offset + _LOCAL.size + fields[9]]
    agrees = fields[0] == b"PK\x03\x04" and fields[3] == _STORED
    if not agrees or raw.decode("utf-8", "replace") != member.orig_filename:
        raise Refused(say("its member {name!r} has another header than the directory says", name=name))
    if first + member.file_size > len(mapped):
        raise Refused(say("its member {name!r} lies beyond the file", name=name))
    return first, first + member.file_size


def _verify(members: dict[str, zipfile.ZipInfo], places: dict[str, tuple[int, int]], mapped: mmap.mmap) -> bool:
    """Check every member's CRC-32; False where torch was told to write none (all are 0)."""
    if not any(member.CRC for member in members.values()):
        return False
    with memoryview(mapped) as view:
        for name, member in members.items():
            first, last = places[name]
            with view[first:last] as part:
                if zlib.crc32(part) != member.CRC:
                    raise Refused(say("its member {name!r} is damaged (checksum)", name=name[:120]))
    return True


def _little(order: bytes) -> None:
    if order.strip() != b"little":
        raise Refused(say("its numbers are in the byte order of another kind of machine"))


def _stream(file: IO[bytes], mapped: mmap.mmap) -> Contents:
    """The stream of torch before 1.6: magic number, protocol, machine, value, storage keys, then the storages."""
    file.seek(0)
    if read(file) != MAGIC or read(file) != PROTOCOL:
        raise Refused(say("it is a pickle, but no checkpoint that torch writes"))
    machine = read(file)
    _little(b"little" if type(machine) is dict and machine.get("little_endian") is True else b"big")
    value, keys = read(file), read(file)
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys):
        raise Refused(say("its list of storages is broken"))
    kinds = {storage.key: storage for storage in _storages(value)}
    places, place = {}, file.tell()
    for key in keys:
        if key not in kinds:
            raise Refused(say("storage {key!r} belongs to no tensor, so its length is not known", key=key[:40]))
        if place + 8 > len(mapped):
            raise Refused(say("it is cut off: storage {key!r} is missing", key=key[:40]))
        (count,) = struct.unpack_from("<q", mapped, place)
        size = count * BYTES.get(kinds[key].kind, 1)
        if not count >= 0 or place + 8 + size > len(mapped):
            raise Refused(say("it is cut off: storage {key!r} reaches beyond the file", key=key[:40]))
        places[key] = (place + 8, place + 8 + size)
        place += 8 + size
    if place != len(mapped):
        raise Refused(say("{count:,} bytes follow its storages", count=len(mapped) - place))
    return Contents(value, places, (say("the file holds no checksums: damage to its numbers would go unseen"),))


def _storages(value: Any) -> list[Storage]:
    """Every storage that a value refers to; what is seen twice is walked once."""
    found: list[Storage] = []
    seen: set[int] = set()
    pending = [value]
    while pending:
        one = pending.pop()
        if type(one) is StoredTensor:
            found.append(one.storage)
        elif type(one) is Storage:
            found.append(one)
        elif type(one) in (dict, list, tuple) and id(one) not in seen:
            seen.add(id(one))
            pending.extend(one.values() if type(one) is dict else one)
    return found
