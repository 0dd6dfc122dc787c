"""CIFAR-10 and CIFAR-100 as their makers hand them out: the binary version and the Python batches.

A picture is 3,072 bytes: three planes of 32 x 32 = 1,024, red, then green, then blue, each row by row. A binary
record has one label byte before them (CIFAR-10, 3,073 in all) or two, coarse and fine (CIFAR-100, 3,074). Python
batches are pickles of an (n, 3072) array and a list of labels; they are read without unpickling (rule P2).
Source: www.cs.toronto.edu/~kriz/cifar.html.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import torch

from netwright.catalogue import READERS
from netwright.data.files.plain_pickle import PlainArray
from netwright.data.files.plain_pickle import read as read_pickle
from netwright.data.files.tree import Tree, printable
from netwright.data.readers.arrays import Numbered
from netwright.data.source import InMemory, Problem, Source
from netwright.errors import DataError, UsageError
from netwright.language import say

Labels = Literal["fine", "coarse"]

PIXELS = 3 * 32 * 32
_COUNTS = {("cifar10", "fine"): 10, ("cifar100", "fine"): 100, ("cifar100", "coarse"): 20}


@dataclass(frozen=True)
class _Form:
    """One of the four ways in which the sets are handed out."""

    set: str
    binary: bool
    train: str
    test: str
    meta: tuple[str, ...]

    def is_batch(self, name: str) -> bool:
        return re.fullmatch(f"{self.train}|{self.test}", name) is not None


_FORMS = (
    _Form("cifar10", True, r"data_batch_\d+\.bin", r"test_batch\.bin", ("batches.meta.txt",)),
    _Form("cifar10", False, r"data_batch_\d+", r"test_batch", ("batches.meta",)),
    _Form("cifar100", True, r"train\.bin", r"test\.bin", ("fine_label_names.txt", "coarse_label_names.txt")),
    _Form("cifar100", False, r"train", r"test", ("meta",)),
)
_ANY_BATCH = re.compile("|".join(f"{form.train}|{form.test}" for form in _FORMS)).fullmatch


def _batches(tree: Tree) -> dict[tuple[str, _Form], list[str]]:
    """The batches in the tree, by folder and form.

    `train.bin` and `train` are everyday names: they count as CIFAR-100 beside its list of class names, or where
    a `.bin` file is a whole number of its records.
    """
    entries = {entry.name: entry.size for entry in tree.entries}
    found: dict[tuple[str, _Form], list[str]] = {}
    likely = [(name, size) for name, size in entries.items() if _ANY_BATCH(name.rpartition("/")[2])]
    for name, size in sorted(likely, key=lambda item: (len(item[0]), item[0])):
        path = PurePosixPath(name)
        folder = str(path.parent)
        for form in _FORMS:
            beside = any(str(path.parent / meta) in entries for meta in form.meta)
            told = form.set == "cifar10" or beside or (form.binary and size > 0 and size % (PIXELS + 2) == 0)
            if form.is_batch(path.name) and told:
                found.setdefault((folder, form), []).append(name)
    return found


def recognises(tree: Tree) -> bool:
    """Files named as CIFAR's are: `data_batch_1.bin`, `test_batch`, `train.bin` beside `fine_label_names.txt` ..."""
    return bool(_batches(tree))


@READERS.add(recognises=recognises, given="CIFAR-10 and CIFAR-100, binary or Python batches")
def cifar(tree: Tree, *, labels: Labels = "fine") -> Source:
    """CIFAR-10 or CIFAR-100 pictures, uint8 (N, 3, 32, 32), from the binary version or the Python batches.

    `labels` chooses CIFAR-100's 100 fine or 20 coarse classes. Training batches come first, in order of their
    numbers, then the test batch; both are the given splits where both are there. Python batches are never
    unpickled. Errors: DataError naming the file and the numbers.
    """
    found = _batches(tree)
    if len(found) != 1:
        shown = printable(", ".join(sorted(names[0] for names in found.values())))
        raise DataError(
            say(
                "{path} holds several CIFAR sets ({names}); give one of them",
                path=printable(str(tree.path)),
                names=shown,
            )
        )
    (folder, form), names = found.popitem()
    if (form.set, labels) not in _COUNTS:
        raise UsageError(say("data.labels = {labels!r}: CIFAR-10 has fine labels only", labels=labels))
    tests = [name for name in names if re.fullmatch(form.test, PurePosixPath(name).name)]
    names = [name for name in names if name not in tests] + tests
    classes, problems = _classes(tree, folder, form, labels)
    read = _records if form.binary else _pickled
    parts = {}
    for name, data in tree.walk(names):
        parts[name] = read(data, printable(name), form, labels)
        if len(parts[name][1]) and parts[name][1].max() >= len(classes):
            top = int(parts[name][1].max())
            raise DataError(
                say(
                    "{where}: label {label}; there are {count} classes",
                    where=printable(name),
                    label=top,
                    count=len(classes),
                )
            )
    if lost := next((name for name in names if name not in parts), ""):
        raise DataError(say("{where} vanished or cannot be read", where=printable(lost)))
    counts = [len(parts[name][1]) for name in names]
    if not sum(counts):
        raise DataError(say("{path}: the batches hold no pictures", path=printable(str(tree.path))))
    pixels = np.concatenate([parts[name][0] for name in names]).reshape(-1, 3, 32, 32)
    targets = np.array(classes, dtype=object)[np.concatenate([parts[name][1] for name in names])]
    ids = Numbered([(PurePosixPath(name).name, count) for name, count in zip(names, counts, strict=True)])
    first = sum(counts[: len(names) - len(tests)])
    given = {"train": np.arange(first), "test": np.arange(first, len(targets))} if 0 < first < len(targets) else {}
    problems += _missing(names, tests, form)
    return Source(
        "image", form.set, InMemory(torch.from_numpy(pixels)), targets, ids, given, classes, problems=problems
    )


def _missing(names: list[str], tests: list[str], form: _Form) -> list[Problem]:
    """Batches that are not there although later ones are."""
    if form.set != "cifar10":
        return []
    numbers = {int("".join(filter(str.isdigit, PurePosixPath(name).name))) for name in names if name not in tests}
    lost = [f"data_batch_{number}" for number in range(1, min(max(numbers, default=0), 100)) if number not in numbers]
    return [Problem(name, say("this batch is missing"), say("went on without it")) for name in lost]


def _classes(tree: Tree, folder: str, form: _Form, labels: Labels) -> tuple[list[str], list[Problem]]:
    """The class names in their order, from the file that lists them; numbers where there is none."""
    count = _COUNTS[form.set, labels]
    listed = form.meta[1 if labels == "coarse" and form.binary else 0]
    where = str(PurePosixPath(folder) / listed)
    if where not in {entry.name for entry in tree.entries}:
        problem = Problem(where, say("the list of class names is missing"), say("classes are called by their numbers"))
        return [str(number) for number in range(count)], [problem]
    data = tree.read(where, 2**20)
    where = printable(where)
    if form.binary:
        names = [line.strip() for line in _utf8(data, where).splitlines() if line.strip()]
    else:
        key = "label_names" if form.set == "cifar10" else f"{labels}_label_names"
        found = _table(data, where).get(key)
        names = [_utf8(name, where) for name in found] if isinstance(found, list) else []
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            say(
                "{where} names {found} different classes; expected {count}",
                where=where,
                found=len(set(names)),
                count=count,
            )
        )
    return names, []


def _utf8(text: Any, where: str) -> str:
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        if isinstance(text, str) and text.encode():
            return text
    except UnicodeError:
        pass
    raise DataError(say("{where} lists something that is no class name", where=where))


Batch = tuple[np.ndarray, np.ndarray]
"""Pixels, uint8 (n, 3072), and labels, int64 (n,)."""


def _records(data: bytes, where: str, form: _Form, labels: Labels) -> Batch:
    """One file of the binary version."""
    before = 1 if form.set == "cifar10" else 2
    if len(data) % (PIXELS + before):
        raise DataError(
            say("{where} has {size:,} bytes, no whole number of {record:,}-byte records",
                where=where, size=len(data), record=PIXELS + before)
        )  # fmt: skip
    records = np.frombuffer(data, np.uint8).reshape(-1, PIXELS + before)
    column = 0 if labels == "coarse" or before == 1 else 1
    return records[:, before:], records[:, column].astype(np.int64)


def _pickled(data: bytes, where: str, form: _Form, labels: Labels) -> Batch:
    """One Python batch."""
    table = _table(data, where)
    key = "labels" if form.set == "cifar10" else f"{labels}_labels"
    pixels, codes = table.get("data"), table.get(key)
    if not isinstance(pixels, PlainArray) or codes is None:
        shown = ", ".join(map(repr, list(table)[:8]))
        raise DataError(
            say("{where} holds {keys}; expected an array data and {labels}", where=where, keys=shown, labels=key)
        )
    rows = _numpy(pixels, where)
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != PIXELS:
        raise DataError(
            say("{where}: data is {type} of shape {shape}; expected uint8 (n, 3072)",
                where=where, type=rows.dtype, shape=rows.shape)
        )  # fmt: skip
    if isinstance(codes, PlainArray):
        codes = _numpy(codes, where).reshape(-1).tolist()
    if not isinstance(codes, list) or len(codes) != len(rows):
        count = len(codes) if isinstance(codes, list) else 0
        raise DataError(
            say("{where}: {count:,} labels for {rows:,} pictures", where=where, count=count, rows=len(rows))
        )
    wrong = next((code for code in codes if type(code) is not int or not 0 <= code < 256), None)
    if wrong is not None:
        raise DataError(say("{where}: label {label} is no class number", where=where, label=repr(wrong)[:40]))
    return rows, np.array(codes, dtype=np.int64)


def _table(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a Python batch; keys as text, whichever Python wrote them."""
    found = read_pickle(data, where)
    if not isinstance(found, dict):
        raise DataError(say("{where} holds no dictionary", where=where))
    return {key.decode("latin-1") if isinstance(key, bytes) else key: value for key, value in found.items()}


def _numpy(array: PlainArray, where: str) -> np.ndarray:
    """The array made from its bytes, their number checked before."""
    if array.dtype.lstrip("<>") not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        raise DataError(say("{where}: an array of type {type!r}", where=where, type=array.dtype))
    dtype = np.dtype(array.dtype)
    expected = dtype.itemsize
    for size in array.shape:
        expected *= size
    if expected != len(array.data) or not array.data:
        raise DataError(
            say("{where}: an array of shape {shape} needs {expected:,} bytes; it has {found:,}",
                where=where, shape=array.shape, expected=expected, found=len(array.data))
        )  # fmt: skip
    return np.frombuffer(array.data, dtype).reshape(array.shape, order="F" if array.fortran else "C")
