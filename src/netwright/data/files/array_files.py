"""Arrays out of `.npy` and `.npz` bytes: numbers and text only, and never more memory than the file's size warrants.

NumPy parses the headers (`allow_pickle` has no part in this: Python objects are refused by their number type). What
a header promises is compared with the bytes that are there before anything is allocated (rules P5 and P6).
"""

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from netwright.errors import DataError
from netwright.language import say

FREE = 64 * 2**20
"""Bytes that any compressed file may inflate to. MNIST's training pictures, were they all black, need 47 million."""
RATIO = 200
"""Beyond `FREE`, bytes out for each byte in. MNIST reaches 5, deflate's limit is 1,032."""

_HEADER = 1024
"""Bytes. NumPy writes 118 for plain numbers; ten thousand brackets would keep its parser busy for seconds."""
_MEMBERS = 1_000
_MAGIC = b"\x93NUMPY"
_UNPARSED = (
    ValueError, TypeError, KeyError, SyntaxError, tokenize.TokenError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip
"""What a hostile header makes NumPy's parser raise; the tokens come from its repair of headers by Python 2."""
_REFUSED = "OVcmM"


@dataclass(frozen=True)
class Header:
    """What the first bytes of a `.npy` file promise."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int
    """The byte at which the numbers begin."""

    @property
    def size(self) -> int:
        """The whole file's size in bytes."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def read_header(head: bytes, where: str) -> Header:
    """The header at the beginning of `.npy` bytes (the first kilobyte is enough); odd number types are refused."""
    if not head.startswith(_MAGIC) or len(head) < 12:
        raise DataError(say("{where} is no .npy file: it begins with {head!r}", where=where, head=head[:6]))
    stream, version = io.BytesIO(head[: _HEADER + 12]), tuple(head[6:8])
    stream.seek(8)
    parsers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in parsers:
        raise DataError(
            say(
                "{where}: .npy version {major}.{minor}; 1.0 and 2.0 are read",
                where=where,
                major=version[0],
                minor=version[1],
            )
        )
    try:
        with warnings.catch_warnings():  # headers written by Python 2 and retired type codes only warn
            warnings.simplefilter("ignore")
            shape, fortran, dtype = parsers[version](stream, max_header_size=_HEADER)
    except _UNPARSED as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(say("{where}: the .npy header is broken ({reason})", where=where, reason=reason)) from None
    if dtype.hasobject or dtype.kind in _REFUSED or (dtype.kind not in "US" and dtype.itemsize > 8):
        raise refused_type(dtype, where)
    if any(size < 0 for size in shape) or len(shape) > 32 or dtype.itemsize == 0:
        raise DataError(say("{where}: the .npy header states shape {shape}", where=where, shape=shape))
    return Header(shape, fortran, dtype, stream.tell())


def refused_type(dtype: np.dtype, where: str) -> DataError:
    """The error for an array whose entries are neither plain numbers nor text."""
    named = {
        "O": say("Python objects (a pickle)"), "V": say("records"), "c": say("complex numbers"),
        "m": say("time spans"), "M": say("dates"),
    }  # fmt: skip
    return DataError(
        say(
            "{where} holds {kind}; arrays of whole numbers, floats up to 64 bits, booleans or text are read",
            where=where,
            kind=named["O"] if dtype.hasobject else named.get(dtype.kind, str(dtype)),
        )
    )


def read_npy(data: bytes | bytearray, where: str) -> np.ndarray:
    """The array in the bytes of one `.npy` file."""
    return _array(read_header(bytes(data[: _HEADER + 12]), where), data, where)


def _array(header: Header, data: bytes | bytearray, where: str) -> np.ndarray:
    if header.size != len(data):
        raise DataError(
            say(
                "{where}: shape {shape} of {dtype} needs {expected:,} bytes; the file has {found:,}",
                where=where,
                shape=header.shape,
                dtype=header.dtype,
                expected=header.size,
                found=len(data),
            )
        )
    flat = (
        np.frombuffer(data, header.dtype, offset=header.start) if math.prod(header.shape) else np.empty(0, header.dtype)
    )
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


class Npz:
    """The members of a `.npz` file (a zip of `.npy` files), each read when it is asked for."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self._budget = max(FREE, RATIO * len(data))
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, EOFError, NotImplementedError) as error:
            raise DataError(say("{where} is no .npz file: {reason}", where=where, reason=str(error)[:120])) from None
        found = self._zip.infolist()
        _check_directory(found, self._zip.start_dir, where)
        self._members = {info.filename.removesuffix(".npy"): info for info in found}

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> np.ndarray:
        """Member `name`. Inflated step by step: first its header, then what the header promises and no more."""
        info, where = self._members[name], f"{self.where}:{name}"
        try:
            with self._zip.open(info) as member:
                data = bytearray(member.read(_HEADER + 12))
                header = read_header(bytes(data), where)
                if header.size != info.file_size:
                    stated = {"shape": header.shape, "dtype": header.dtype, "found": info.file_size}
                    raise DataError(
                        say(
                            "{where}: shape {shape} of {dtype} needs {expected:,} bytes; the archive states {found:,}",
                            where=where,
                            expected=header.size,
                            **stated,
                        )
                    )
                self._budget -= header.size
                if self._budget < 0:
                    sizes = {"size": header.size, "packed": info.compress_size, "ratio": RATIO, "free": FREE}
                    raise DataError(
                        say(
                            "{where} inflates from {packed:,} to {size:,} bytes: over {ratio} to 1 and {free:,} in all",
                            where=where,
                            **sizes,
                        )
                    )
                while len(data) < header.size and (more := member.read(min(2**22, header.size - len(data)))):
                    data += more
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error, OSError, UnicodeError) as error:
            raise DataError(say("{where} is damaged ({reason})", where=where, reason=str(error)[:120])) from None
        return _array(header, data, where)


def _check_directory(found: list[zipfile.ZipInfo], end: int, where: str) -> None:
    """Refuse what `np.savez` never writes: links, folders, encryption, doubled names, overlapping members."""
    if not 0 < len(found) <= _MEMBERS:
        raise DataError(
            say("{where} has {count:,} members; 1 to {most:,} are read", where=where, count=len(found), most=_MEMBERS)
        )
    names = [info.filename for info in found]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise DataError(say("{where} has two members called {name!r}", where=where, name=double[0]))
    starts = [*sorted(info.header_offset for info in found)[1:], end]
    for info, limit in zip(sorted(found, key=lambda info: info.header_offset), starts, strict=True):
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not info.flag_bits & 0x1
        path = PurePosixPath(info.filename)
        if not plain or path.suffix != ".npy" or len(path.parts) != 1 or "\\" in info.filename:
            raise DataError(
                say(
                    "{where}: member {name!r} is no plain .npy file, stored or deflated",
                    where=where,
                    name=info.filename[:80],
                )
            )
        if info.header_offset < 0 or info.header_offset + 30 + info.compress_size > limit:
            raise DataError(
                say("{where}: member {name!r} overlaps its neighbour", where=where, name=info.filename[:80])
            )
