"""Arrays: `.npz` and `.npy` files (never unpickled), and arrays, tensors and lists in memory."""

import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from netwright.catalogue import READERS
from netwright.data.files.array_files import Npz, read_npy, refused_type
from netwright.data.files.tree import Tree, printable
from netwright.data.source import InMemory, Kind, Problem, Source
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

ArrayKind = Literal["auto", "image", "vector", "sequence"]

_SPLITS = {"": "", "_train": "train", "_val": "validation", "_test": "test"}
"""What may follow `x` and `y` in the name of an array, and the split that it states."""
_NAMES = {first + last: (first, split) for first in "xy" for last, split in _SPLITS.items()}
_GIVEN = "arrays: .npz with x, y or x_train, y_train, x_test, y_test, or .npy files of these names"


class Numbered(Sequence[str]):
    """Names such as `t10k-images[4]`, made when asked for: 60,000 of them cost nothing."""

    def __init__(self, parts: Sequence[tuple[str, int]], form: str = "{part}[{position}]", first: int = 0) -> None:
        self._parts, self._form, self._first = [(part, count) for part, count in parts if count], form, first

    def __len__(self) -> int:
        return sum(count for _, count in self._parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = operator.index(index)
        position += len(self) if position < 0 else 0
        if position >= 0:
            for part, count in self._parts:
                if position < count:
                    return self._form.format(part=part, position=position + self._first)
                position -= count
        raise IndexError(f"name {index} of {len(self)}")


def recognises(tree: Tree) -> bool:
    """A `.npz` file (also one opened as the zip archive it is), a `.npy` file alone, or files x.npy, y.npy ..."""
    from netwright.data.music.reading import looks_like_music  # which knows files of its own beside such archives

    npy, npz = _array_entries(tree)
    if (npy or npz) and looks_like_music(tree):
        return False
    alone = len(npy) == len(tree.entries) == 1 or (npy and tree.path.suffix.lower() == ".npz")
    return bool(npz or alone or any(_key(name) in _NAMES for name in npy))


def _array_entries(tree: Tree) -> tuple[list[str], list[str]]:
    names = sorted(entry.name for entry in tree.entries)
    return [name for name in names if name.lower().endswith(".npy")], [n for n in names if n.lower().endswith(".npz")]


def _key(name: str) -> str:
    return PurePosixPath(name).stem.lower()


@READERS.add(recognises=recognises, given=_GIVEN)
def arrays(tree: Tree, *, kind: ArrayKind = "auto") -> Source:
    """Arrays in `.npz` and `.npy` files, the first axis counting the examples.

    `kind` says what an example is where its shape leaves a choice. `auto`: (N, H, W) of 8-bit numbers and every
    (N, C, H, W) or (N, H, W, C) with C = 1 or 3 is an image; other (N, T, F) a sequence; (N, F) and (N,) a vector.
    """
    npy, npz = _array_entries(tree)
    if len(npz) + bool(npy) > 1:
        shown = printable(", ".join(sorted(npz + npy)[:4]))
        raise DataError(
            say("{path} holds several sets of arrays ({names}); give one", path=printable(str(tree.path)), names=shown)
        )
    if npz:
        archive = Npz(tree.read(npz[0]), printable(npz[0]))
        found: dict[str, str] = {name: name for name in archive.names}
        return _assemble(tree, found, printable(npz[0]), archive.read, kind)
    found = {name: name.rsplit(".", 1)[0] for name in npy}
    return _assemble(
        tree, found, printable(tree.path.name), lambda name: read_npy(tree.read(name), printable(name)), kind
    )


def _name(tree: Tree) -> str:
    return tree.path.name.split(".")[0] or "arrays"


def _assemble(
    tree: Tree, found: Mapping[str, str], where: str, read: Callable[[str], np.ndarray], kind: ArrayKind
) -> Source:
    """Sort arrays into splits by their names; `found` maps what `read` takes to the name a person gave."""
    named: dict[tuple[str, str], str] = {}
    problems = []
    if len(found) == 1 and _key(next(iter(found))) not in _NAMES:  # one array alone: examples without targets
        name = next(iter(found))
        return _source({"": (read(name), None)}, {"": _key(name)}, _name(tree), kind)
    for name in found:
        if (key := _key(found[name] + ".npy")) not in _NAMES:
            problems.append(Problem(printable(name), say("array of a name that says nothing"), say("not used")))
        elif _NAMES[key] in named:
            text = say(
                "{where} holds {first} and {second}; one of them", where=where, first=named[_NAMES[key]], second=name
            )
            raise DataError(text)
        else:
            named[_NAMES[key]] = name
    splits = [split for split in _SPLITS.values() if ("x", split) in named]
    alone = [name for (first, split), name in named.items() if first == "y" and split not in splits]
    labelled = {split for split in splits if ("y", split) in named}
    if not splits or alone or ("" in splits and len(splits) > 1) or (splits != [""] and "train" not in splits):
        shown = printable(", ".join(sorted(found.values())[:8])[:200])
        raise DataError(
            say("{where} holds {names}; expected x, y or x_train, y_train, x_test, y_test", where=where, names=shown)
            + _objects(found, read)
        )
    if labelled and labelled != set(splits):
        missing = next(split for split in splits if split not in labelled)
        raise DataError(say("{where} holds x_{split} without y_{split}", where=where, split=missing))
    pairs = {s: (read(named["x", s]), read(named["y", s]) if s in labelled else None) for s in splits}
    source = _source(pairs, {split: found[named["x", split]] for split in splits}, _name(tree), kind)
    source.problems[:0] = problems
    return source


def _objects(found: Mapping[str, str], read: Callable[[str], np.ndarray]) -> str:
    """The reason more, where one of the arrays could not be read anyway."""
    for name in list(found)[:8]:
        try:
            read(name)
        except DataError as error:
            return f".\n{error}"
    return ""


def from_arrays(
    x: Any, y: Any = None, *, x_test: Any = None, y_test: Any = None, name: str = "arrays", kind: ArrayKind = "auto"
) -> Source:
    """Examples `x` with targets `y` that are in memory: NumPy arrays, tensors or lists.

    Shapes and `kind` as in the reader `arrays`. With `x_test` these are the test set, else there is none given.
    Errors: DataError for arrays that do not fit, UsageError for a data frame or an unknown kind.
    """
    if kind not in (known := ("auto", "image", "vector", "sequence")):
        raise UsageError(f"{say('kind = {kind!r} is not known.', kind=kind)} {hint(str(kind), known)}")
    if x is None or (x_test is None and y_test is not None) or (x_test is not None and (y is None) != (y_test is None)):
        raise UsageError(say("x, and y or not; x_test needs y_test exactly if x has y"))
    first = (_array(x, "x"), None if y is None else _array(y, "y"))
    if x_test is None:
        return _source({"": first}, {"": name}, name, kind)
    second = (_array(x_test, "x_test"), None if y_test is None else _array(y_test, "y_test"))
    return _source({"train": first, "test": second}, {"train": "x", "test": "x_test"}, name, kind)


def _array(value: Any, where: str) -> np.ndarray:
    """A NumPy array from what a person may hold in memory; data frames have their own reader."""
    if hasattr(value, "columns"):
        raise UsageError(say("{where} is a data frame; give it whole, with target='its column'", where=where))
    if isinstance(value, np.ma.MaskedArray):
        raise DataError(say("{where} is a masked array; fill or drop its masked entries first", where=where))
    if isinstance(value, Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    elif isinstance(value, (list, tuple)) and value and all(isinstance(part, Tensor) for part in value):
        value = [_array(part, where) for part in value]
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).split(".")[0][:120]
        raise DataError(say("{where} is no array of equal rows ({reason})", where=where, reason=reason)) from None
    if array.dtype == object and array.size and all(isinstance(cell, str) for cell in array.flat):
        return array
    if (
        array.dtype.hasobject
        or array.dtype.kind not in "biufUS"
        or (array.dtype.kind == "f" and array.dtype.itemsize > 8)
    ):
        raise refused_type(array.dtype, where)
    return array


Pair = tuple[np.ndarray, np.ndarray | None]


def _source(pairs: Mapping[str, Pair], parts: Mapping[str, str], name: str, kind: ArrayKind) -> Source:
    """Put the splits behind one another: `pairs` and `parts` (names for people) by split, `""` for none given."""
    given: dict[str, np.ndarray] = {}
    problems: list[Problem] = []
    shape = next(iter(pairs.values()))[0].shape[1:]
    group = "f" if next(iter(pairs.values()))[0].dtype.kind == "f" else "biu"
    start = 0
    for split, (x, y) in pairs.items():
        where = f"x_{split}" if split else "x"
        _check(x, y, where)
        if x.shape[1:] != shape or x.dtype.kind not in group:
            first = next(iter(pairs.values()))[0]
            raise DataError(
                say(
                    "{where} holds {found} examples of shape {shape}, x_train {other} of {expected}",
                    where=where, found=x.dtype, shape=x.shape[1:], other=first.dtype, expected=shape,
                )
            )  # fmt: skip
        problems += not_finite(x, where)
        if split:
            given[split] = np.arange(start, start + len(x))
        start += len(x)
    joined = _join([x for x, _ in pairs.values()])
    decided, tensor = _tensor(joined, kind, name)
    columns = [_targets(y, f"y_{split}" if split else "y") for split, (_, y) in pairs.items() if y is not None]
    for column, (split, _) in zip(columns, pairs.items(), strict=False):
        problems += not_finite(column, f"y_{split}" if split else "y")
    ids = Numbered([(parts[split], len(x)) for split, (x, _) in pairs.items()])
    return Source(decided, name, InMemory(tensor), _join_targets(columns), ids, given, problems=problems)


def _join(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _check(x: np.ndarray, y: np.ndarray | None, where: str) -> None:
    if x.dtype.kind not in "biuf":
        raise DataError(say("{where} holds {dtype}; examples are numbers", where=where, dtype=x.dtype))
    if x.ndim == 0 or x.size == 0:
        raise DataError(say("{where} has shape {shape}: no examples", where=where, shape=x.shape))
    if y is not None and (y.ndim == 0 or len(y) != len(x)):
        count = len(y) if y.ndim else 0
        raise DataError(say("{where} holds {x:,} examples, its y {y:,} targets", where=where, x=len(x), y=count))


def not_finite(array: np.ndarray, where: str) -> list[Problem]:
    """Say how many numbers are NaN or infinite and where the first ones stand; the values stay."""
    if array.dtype.kind != "f":
        return []
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if not count:
        return []
    rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
    shown = ", ".join(map(str, rows[:5].tolist())) + (", ..." if len(rows) > 5 else "")
    what = say("{count:,} values are NaN or infinite, in examples {rows}", count=count, rows=shown)
    return [Problem(where, what, say("kept"))]


def _tensor(x: np.ndarray, kind: ArrayKind, name: str) -> tuple[Kind, Tensor]:
    """What an example is, and all examples in the axes of that kind."""
    if kind == "auto":
        image = x.ndim == 4 or (x.ndim == 3 and x.dtype == np.uint8)
        decided: Kind = "image" if image else "sequence" if x.ndim == 3 else "vector"
    else:
        decided = kind
    if x.ndim > 4 and kind != "vector":
        raise DataError(say("{name}: examples of shape {shape}; up to 3 axes are read", name=name, shape=x.shape[1:]))
    if decided == "image":
        return decided, pixels(channels_first(x, name))
    if decided == "vector":
        return decided, numbers(x.reshape(len(x), -1))
    if x.ndim not in (2, 3):
        raise DataError(
            say("{name}: shape {shape} is no sequence (N, steps) or (N, steps, features)", name=name, shape=x.shape)
        )
    return decided, numbers(x.reshape(len(x), x.shape[1], -1))


def channels_first(x: np.ndarray, where: str) -> np.ndarray:
    """Pictures as (N, C, H, W), from (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3 (C first wins)."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return np.moveaxis(x, 3, 1)
    raise DataError(
        say(
            "{where}: shape {shape} is no set of pictures: (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3",
            where=where, shape=x.shape,
        )
    )  # fmt: skip


def pixels(x: np.ndarray) -> Tensor:
    """uint8 where the numbers are whole and within 0 to 255, else float32."""
    if x.dtype.kind in "iu" and x.min() >= 0 and x.max() <= 255:
        return _shared(x, np.uint8)
    return _shared(x, np.float32)


def numbers(x: np.ndarray) -> Tensor:
    """float32 where it holds every value of the array's type, else float64 (dates in seconds need it)."""
    return _shared(x, np.float32 if np.can_cast(x.dtype, np.float32) else np.float64)


def _shared(x: np.ndarray, dtype: type) -> Tensor:
    with np.errstate(over="ignore", invalid="ignore"):  # 1e300 becomes infinite as a float32 pixel
        return torch.from_numpy(np.require(x, dtype, ["C", "W"]))


def targets_of(values: Any, where: str) -> np.ndarray:
    """Targets in memory, one an example, in the form of a `Source`."""
    return _targets(_array(values, where), where)


def _targets(y: np.ndarray, where: str) -> np.ndarray:
    """One target an example: int64, float64, or an object array of str. One-hot rows become their position."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "biuf" and bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all()):
        hot: np.ndarray = np.argmax(y, axis=1)
        return hot.astype(np.int64)
    if y.ndim != 1:
        raise DataError(
            say("{where} has shape {shape}; expected one target an example or one-hot rows", where=where, shape=y.shape)
        )
    if y.dtype.kind in "USO":
        return _words(y, where)
    if y.dtype.kind == "u" and int(y.max()) >= 2**63:
        raise DataError(
            say("{where} holds {value}; whole numbers below 2**63 are read", where=where, value=int(y.max()))
        )
    return y.astype(np.float64 if y.dtype.kind == "f" else np.int64)


def _words(y: np.ndarray, where: str) -> np.ndarray:
    """Class names as str, one object for each name."""
    try:
        if y.dtype.kind == "S":
            y = np.char.decode(y, "utf-8")
        unique, codes = np.unique(y, return_inverse=True)
        names = [sys.intern(str(name)) for name in unique.tolist()]
        "".join(names).encode()
    except ValueError:
        raise DataError(say("{where} holds text that is not valid Unicode", where=where)) from None
    return np.array(names, dtype=object)[codes.reshape(-1)]


def _join_targets(columns: list[np.ndarray]) -> np.ndarray | None:
    if not columns:
        return None
    if len({column.dtype == object for column in columns}) > 1:
        raise DataError(say("y holds text in one split and numbers in another"))
    return _join(columns)
