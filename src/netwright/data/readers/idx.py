"""IDX files: MNIST and everything written like it (Fashion-MNIST, EMNIST, KMNIST), gzip or not.

An IDX file is a four-byte magic number (0, 0, type, number of axes), one big-endian 32-bit size an axis, and the
numbers themselves, the last axis changing fastest. Source: yann.lecun.com/exdb/mnist, "The IDX file format".
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.array_files import FREE, RATIO
from netwright.data.files.tree import Tree, printable
from netwright.data.readers.arrays import Numbered, channels_first, not_finite, numbers, pixels
from netwright.data.source import InMemory, Problem, Source
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_ENDING = r"[-_.]idx(?P<axes>\d)[-_.](?:ubyte|byte|short|int|float|double)"
_MNIST = re.compile(
    r"(?:(?P<subset>.+?)[-_.])??(?:(?P<split>train|t10k|test|validation|valid|val)[-_.])?(?P<what>images|labels)"
    rf"(?:{_ENDING})?(?:\.gz)?",
    re.IGNORECASE,
)
_OTHER = re.compile(rf"(?P<subset>.+?){_ENDING}(?:\.gz)?", re.IGNORECASE)
_SPLITS = {"train": "train", "t10k": "test", "test": "test", "validation": "validation", "valid": "validation"}
_STEP = 2**14
"""Bytes given to zlib at once: what comes out stays below 17 million however well they are packed."""
_MEMBERS = 100_000


@dataclass(frozen=True)
class _File:
    """What the name of an IDX file says."""

    name: str
    subset: str
    split: str
    what: str

    @classmethod
    def of(cls, name: str) -> "_File | None":
        last = name.rpartition("/")[2]
        if not (_MNIST.fullmatch(last) or _OTHER.fullmatch(last)):
            return None  # the answer for nearly all of the names of a large set
        path = PurePosixPath(name)
        folder = path.parent
        if folder.name and folder.name.replace(".", "-") == path.name.replace(".", "-"):
            folder = folder.parent  # some unpackers put every file into a folder of its own name
        if (found := _MNIST.fullmatch(path.name)) and (found["axes"] or found["split"]):
            split, what = (found["split"] or "").lower(), found["what"].lower()
        elif found := _OTHER.fullmatch(path.name):
            split, what = "", "labels" if found["axes"] == "1" else "images"
        else:
            return None
        subset = "/".join(part for part in (*folder.parts, found["subset"]) if part)
        return cls(name, subset, _SPLITS.get(split, "validation" if split else ""), what)

    @property
    def where(self) -> str:
        """The name as messages show it."""
        return printable(self.name)

    @property
    def title(self) -> str:
        """The name for ids: without folder and `.gz`."""
        return printable(PurePosixPath(self.name).name.removesuffix(".gz"))


def recognises(tree: Tree) -> bool:
    """Files named as MNIST's are: `train-images-idx3-ubyte.gz`, `t10k-labels.idx1-ubyte`, `any.idx3-float`."""
    return any(_File.of(entry.name) for entry in tree.entries)


@READERS.add(recognises=recognises, given="MNIST-style IDX files, gzip or not")
def idx(tree: Tree, *, subset: str = "", transpose: bool = False) -> Source:
    """Pictures or vectors with labels from MNIST-style IDX files, gzip or not.

    A pair of images and labels, images alone, or `train-` with `t10k-` (or `test-`) as the given splits. Pictures
    become uint8 (N, C, H, W); two axes are vectors (N, F). Whole-number labels are classes in numeric order.
    `subset` chooses where a folder holds several sets (`emnist-letters`); `transpose` turns EMNIST's pictures
    upright, which are stored with columns first. Errors: DataError naming the file and the numbers.
    """
    files, problems = _chosen(tree, subset)
    splits = _paired(files, tree)
    arrays: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    given: dict[str, np.ndarray] = {}
    for split in splits:
        file = files[split, "images"]
        images = parse(tree.read(file.name), file.where)
        start = sum(map(len, arrays))
        _check_images(images, file.where, arrays[0] if arrays else None)
        problems += not_finite(images, file.where)
        if (split, "labels") in files:
            beside = files[split, "labels"]
            found = parse(tree.read(beside.name), beside.where)
            labels.append(_checked_labels(found, beside.where, len(images), file.where))
        arrays.append(images)
        given[split] = np.arange(start, start + len(images))
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    targets, classes = _targets(labels)
    ids = Numbered([(files[split, "images"].title, len(part)) for split, part in zip(splits, arrays, strict=True)])
    name = subset.replace("/", "-") or tree.path.name.split(".")[0]
    given = given if len(given) > 1 else {}
    if joined.ndim == 2:
        return Source("vector", name, InMemory(numbers(joined)), targets, ids, given, classes, problems=problems)
    pictures = channels_first(joined, files[splits[0], "images"].where)
    pictures = pictures.swapaxes(2, 3) if transpose else pictures
    return Source("image", name, InMemory(pixels(pictures)), targets, ids, given, classes, problems=problems)


Files = dict[tuple[str, str], _File]
"""The files of one set by (split, images or labels)."""


def _chosen(tree: Tree, subset: str) -> tuple[Files, list[Problem]]:
    """The files of the one set there is, or of the one that `subset` names."""
    sets: dict[str, list[_File]] = {}
    for entry in tree.entries:
        if file := _File.of(entry.name):
            sets.setdefault(file.subset, []).append(file)
    if sum(map(len, sets.values())) == 2 and not subset:
        sets = {"": [file for files in sets.values() for file in files]}  # one pair, whatever its names
    if subset and subset not in sets:
        raise UsageError(f"{say('data.subset = {subset!r} is not here.', subset=subset)} {hint(subset, sets)}")
    if not subset and len(sets) > 1:
        names = ", ".join(sorted(map(repr, sets))[:8])
        raise DataError(
            say(
                "{path} holds several sets ({names}); choose one: data.subset=",
                path=printable(str(tree.path)),
                names=names,
            )
        )
    found: Files = {}
    problems = []
    for file in sorted(
        sets[subset or next(iter(sets))], key=lambda file: (file.name.endswith(".gz"), file.name.count("/"))
    ):
        if first := found.get((file.split, file.what)):
            what = say("the same {what} as {first}, by its name", what=file.title, first=first.where)
            problems.append(Problem(file.where, what, say("not read")))
        else:
            found[file.split, file.what] = file
    return found, problems


def _paired(files: Files, tree: Tree) -> list[str]:
    """The splits in order, every one with pictures, and all of them or none with labels."""
    splits = [split for split in ("train", "validation", "test", "") if (split, "images") in files]
    labelled = [split for split in ("train", "validation", "test", "") if (split, "labels") in files]
    for file in files.values():
        other = "labels" if file.what == "images" else "images"
        if (file.split, other) not in files and labelled and (splits != labelled or not splits):
            raise DataError(
                say(
                    "{path}: {file} is here without its {other}",
                    path=printable(str(tree.path)),
                    file=file.where,
                    other=other,
                )
            )
    if len(splits) > 1 and ("" in splits or "train" not in splits):
        names = ", ".join(files[split, "images"].where for split in splits)
        raise DataError(
            say(
                "{path} holds {names}; expected train-images and t10k-images",
                path=printable(str(tree.path)),
                names=names,
            )
        )
    return splits


def _check_images(images: np.ndarray, where: str, first: np.ndarray | None) -> None:
    if images.ndim not in (2, 3, 4):
        raise DataError(
            say("{where}: shape {shape}; pictures have 3 or 4 axes, vectors 2", where=where, shape=images.shape)
        )
    if first is not None and (images.shape[1:] != first.shape[1:] or images.dtype != first.dtype):
        raise DataError(
            say(
                "{where}: pictures of {shape} {type}; those for training are {expected} {other}",
                where=where, shape=images.shape[1:], type=images.dtype, expected=first.shape[1:], other=first.dtype,
            )
        )  # fmt: skip


def _checked_labels(labels: np.ndarray, where: str, count: int, images: str) -> np.ndarray:
    if labels.ndim != 1:
        raise DataError(say("{where}: shape {shape}; labels have one axis", where=where, shape=labels.shape))
    if len(labels) != count:
        raise DataError(
            say(
                "{where} holds {labels:,} labels, {images} {count:,} pictures",
                where=where, labels=len(labels), images=images, count=count,
            )
        )  # fmt: skip
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(say("{where} holds labels that are NaN or infinite", where=where))
    return labels


def _targets(labels: list[np.ndarray]) -> tuple[np.ndarray | None, list[str] | None]:
    """Class names in numeric order for whole numbers; plain numbers for floats."""
    if not labels:
        return None, None
    joined = np.concatenate(labels)
    if joined.dtype.kind == "f":
        return joined.astype(np.float64), None
    values, codes = np.unique(joined, return_inverse=True)
    classes = [str(value) for value in values.tolist()]
    return np.array(classes, dtype=object)[codes], classes


def parse(data: bytes, where: str) -> np.ndarray:
    """The array in the bytes of one IDX file, gzip or not: what its header promises must be there, no more, no less."""
    if data[:2] != b"\x1f\x8b":
        dtype, shape, start = _header(data, where)
        _check_size(shape, dtype, start, len(data), where)
        return np.frombuffer(data, dtype, offset=start).reshape(shape)
    budget, inflated, promised = max(FREE, RATIO * len(data)), bytearray(), None
    for piece in _gunzip(data, where):
        inflated += piece
        if promised is None and len(inflated) >= 4 and len(inflated) >= 4 + 4 * inflated[3]:
            dtype, shape, start = _header(inflated, where)
            promised = start + math.prod(shape) * dtype.itemsize
            if promised > budget:
                raise DataError(
                    say(
                        "{where}: shape {shape} needs {size:,} bytes, over {ratio} times the {packed:,} of the file",
                        where=where, shape=shape, size=promised, ratio=RATIO, packed=len(data),
                    )
                )  # fmt: skip
        if promised is not None and len(inflated) > promised:
            raise DataError(
                say("{where}: more than the {size:,} bytes of shape {shape}", where=where, size=promised, shape=shape)
            )
    dtype, shape, start = _header(inflated, where)
    _check_size(shape, dtype, start, len(inflated), where)
    return np.frombuffer(inflated, dtype, offset=start).reshape(shape)


def _header(data: bytes | bytearray, where: str) -> tuple[np.dtype, tuple[int, ...], int]:
    """Number type, shape and the byte at which the numbers begin."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or not 1 <= data[3] <= 4:
        raise DataError(
            say(
                "{where} is no IDX file: it begins with {found}; expected 00 00, a type of 08 to 0e, 1 to 4 axes",
                where=where, found=bytes(data[:4]).hex(" ") or say("nothing"),
            )
        )  # fmt: skip
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(say("{where} ends within its header, after {size} bytes", where=where, size=len(data)))
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if 0 in shape:
        raise DataError(say("{where}: shape {shape} holds nothing", where=where, shape=shape))
    return np.dtype(_TYPES[data[2]]), shape, start


def _check_size(shape: tuple[int, ...], dtype: np.dtype, start: int, found: int, where: str) -> None:
    expected = start + math.prod(shape) * dtype.itemsize
    if expected != found:
        raise DataError(
            say(
                "{where}: shape {shape} needs {expected:,} bytes; the file has {found:,}",
                where=where, shape=shape, expected=expected, found=found,
            )
        )  # fmt: skip


def _gunzip(data: bytes, where: str) -> Iterator[bytes]:
    """The content of a gzip file, a bounded piece at a time; zlib checks each member's CRC and length."""
    view, start, members = memoryview(data), 0, 0
    while start < len(view):
        if members and view[start] == 0 and not bytes(view[start:]).strip(b"\0"):
            return  # gzip allows zeros after the last member
        if (members := members + 1) > _MEMBERS:
            raise DataError(say("{where}: more than {most:,} gzip members", where=where, most=_MEMBERS))
        member = zlib.decompressobj(wbits=31)
        try:
            while start < len(view) and not member.eof:
                piece = member.decompress(view[start : start + _STEP])
                start = min(start + _STEP, len(view)) - len(member.unused_data)
                yield piece
        except zlib.error as error:
            raise DataError(say("{where}: the gzip file is damaged ({reason})", where=where, reason=error)) from None
        if not member.eof:
            raise DataError(
                say("{where}: the gzip file is cut short after {size:,} bytes", where=where, size=len(view))
            )
