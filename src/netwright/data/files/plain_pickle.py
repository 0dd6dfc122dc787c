"""Plain data out of a pickle file, without giving the file a chance to run anything (rule P2).

CIFAR's Python batches are pickles, and unpickling runs what the file says. So `read` works in two stages.
First it walks the opcodes without executing one: only opcodes of plain data pass, under limits on count, nesting,
memo indices and integers. Then the pure-Python unpickler (its memo is a dictionary; in the C one, nine bytes ask
for 4 GB) rebuilds dictionaries, lists, tuples, strings and numbers; of all classes it knows the five names in
which NumPy writes an array, and answers them with placeholders that only record what they were given.

Source: rule P2; opcodes as in CPython's Lib/pickletools.py.
"""

# The one module that may import these two: `genops` lists opcodes and executes none; `_Unpickler` is used below with
# its own table of opcodes cut down and `find_class` replaced. Neither pickle.load nor the C unpickler is ever called.
import io
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from netwright.errors import DataError
from netwright.language import say

LARGEST_FILE = 512 * 2**20
"""Bytes. CIFAR-100's training file has 155 million; written as text (protocol 0) it may double."""
MOST_OPCODES = 1_000_000
"""CIFAR-100's training file has about 250,000 (two labels and a file name for each of 50,000 images)."""
MOST_CELLS = 1_000_000
"""Values in the finished structure, shared ones counted each time they appear."""
DEEPEST = 16
"""Levels of containers within containers. CIFAR's batches have five."""

_NAMES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "GLOBAL STACK_GLOBAL REDUCE BUILD"
)
_PLAIN = frozenset(_NAMES.split())
_NUMPY = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_CLASSES = {*_NUMPY, "numpy ndarray", "numpy dtype", "_codecs encode"}
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    RecursionError, struct.error, DeprecationWarning,
)  # fmt: skip
"""What a malformed stream makes genops or the unpickler raise; the last from a bad escape where warnings are errors."""


@dataclass(frozen=True)
class PlainArray:
    """An array as a pickle described it: nothing of it is checked against its bytes yet."""

    shape: tuple[int, ...]
    dtype: str
    fortran: bool
    data: bytes


def read(data: bytes, where: str) -> Any:
    """The plain data in pickle `data`; arrays come as `PlainArray`, Python-2 strings as bytes.

    Errors: `DataError` naming `where` for everything that is not plain data within the limits.
    """
    if len(data) > LARGEST_FILE:
        raise _refuse(where, say("it has {size:,} bytes; at most {limit:,}", size=len(data), limit=LARGEST_FILE))
    try:
        _walk(data, where)
        found = _PlainUnpickler(data, where).load()
    except DataError:
        raise
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _refuse(where, say("it is broken ({reason})", reason=reason)) from None
    return _finish(found, where)


def _refuse(where: str, what: str) -> DataError:
    return DataError(say("{where}: this pickle file is not read: {what}.", where=where, what=what))


def _walk(data: bytes, where: str) -> None:
    """Stage one: look at every opcode and its argument, execute none."""
    depth, end = 0, -1
    for count, (opcode, value, position) in enumerate(pickletools.genops(io.BytesIO(data))):
        end = position or 0
        if count >= MOST_OPCODES:
            raise _refuse(where, say("it has more than {limit:,} opcodes", limit=MOST_OPCODES))
        if opcode.name not in _PLAIN:
            what = say("opcode {name} at byte {position} is no plain data", name=opcode.name, position=end)
            raise _refuse(where, what)
        if problem := _too_much(opcode.name, value, len(data) - end):
            raise _refuse(where, say("{problem} at byte {position}", problem=problem, position=end))
        depth += (opcode.name == "MARK") - (pickletools.markobject in opcode.stack_before)
        if depth > DEEPEST:
            raise _refuse(where, say("it nests deeper than {limit} levels", limit=DEEPEST))
    if end + 1 != len(data):
        raise _refuse(where, say("{count:,} bytes follow its end", count=len(data) - end - 1))


def _too_much(name: str, value: Any, left: int) -> str:
    """What is wrong with the argument of a plain opcode with `left` bytes to come, or an empty string.

    Text and bytes need no look here: genops itself refuses a length beyond the file.
    """
    if name == "FRAME" and value > left:
        return say("a frame of {size:,} bytes", size=value)
    if name == "PROTO" and value > 4:
        return say("protocol {protocol} (0 to 4 are read; write it again with protocol=4)", protocol=value)
    if name == "GLOBAL" and value not in _CLASSES:
        return say("class {name}", name=repr(value[:80]))
    if "PUT" in name and not 0 <= value <= MOST_OPCODES:
        return say("memo index {index:,}", index=value)
    if name in ("INT", "LONG", "LONG1") and not -(2**63) <= value < 2**63:
        return say("an integer of more than 64 bits")
    return ""


class _Name:
    """Stands for one of the five known names; calling it records the arguments."""

    __slots__ = ("name", "reader")

    def __init__(self, name: str, reader: "_PlainUnpickler") -> None:
        self.name, self.reader = name, reader

    def record(self, arguments: tuple[Any, ...]) -> Any:
        if self.name == "_codecs encode":
            return self.reader.encoded(*arguments)
        if self.name in _NUMPY and len(arguments) == 3 and _is_name(arguments[0], "numpy ndarray"):
            return _Made("ndarray", "")
        if self.name == "numpy dtype" and arguments and (kind := _text(arguments[0])):
            return _Made("dtype", kind)
        raise _refuse(self.reader.where, say("it calls {name} with arguments of another kind", name=self.name))


class _Made:
    """An array or a number type in the making: its state is recorded by BUILD, once."""

    __slots__ = ("dtype", "kind", "state")

    def __init__(self, kind: str, dtype: str) -> None:
        self.kind, self.dtype = kind, dtype
        self.state: tuple[Any, ...] | None = None


def _is_name(value: Any, name: str) -> bool:
    return type(value) is _Name and value.name == name


def _text(value: Any) -> str:
    """A short ASCII string, written as str (Python 3) or bytes (Python 2); else an empty string."""
    if type(value) is bytes:
        value = value.decode("latin-1")
    return value if type(value) is str and len(value) <= 16 and value.isascii() else ""


class _PlainUnpickler(pickle._Unpickler):
    """Stage two. Every opcode that touches an object checks the object's exact type first.

    Keys are strings alone: hashing a tuple nested a million deep ends the process, and one that holds
    itself twice, forty times over, never ends.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[..., None]]]

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding="bytes")
        self.where, self._room = where, len(data)

    def find_class(self, module: str, name: str) -> _Name:
        if f"{module} {name}" not in _CLASSES:
            raise _refuse(self.where, say("class {name}", name=repr(f"{module} {name}"[:80])))
        return _Name(f"{module} {name}", self)

    def persistent_load(self, pid: Any) -> Any:
        raise _refuse(self.where, say("it refers to an object outside itself"))

    def encoded(self, text: Any, codec: Any) -> bytes:
        """Bytes as Python 3 writes them in protocols 0 to 2. Together never more than the file holds."""
        if type(text) is not str or codec not in ("latin1", b"latin1"):
            raise _refuse(self.where, say("it encodes something other than text to latin1"))
        self._room -= len(text)
        if self._room < 0:
            raise _refuse(self.where, say("it encodes one text again and again"))
        return text.encode("latin-1")

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            what = say(
                "it fills a {found} as if it were a {kind}", found=type(self.stack[-1]).__name__, kind=kind.__name__
            )
            raise _refuse(self.where, what)
        return self.stack[-1]

    def _fill(self, target: dict[Any, Any], cells: list[Any]) -> None:
        for key in cells[::2]:
            if type(key) not in (str, bytes):
                raise _refuse(self.where, say("a key of type {kind}", kind=type(key).__name__))
        target.update(zip(cells[::2], cells[1::2], strict=True))

    def load_append(self) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._top(list).extend(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(self._top(dict), [key, value])

    def load_setitems(self) -> None:
        cells = self.pop_mark()
        self._fill(self._top(dict), cells)

    def load_dict(self) -> None:
        cells = self.pop_mark()
        self.append({})
        self._fill(self.stack[-1], cells)

    def load_reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise _refuse(self.where, say("it calls a {kind}", kind=type(called).__name__))
        self.append(called.record(arguments))

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is not _Made or type(state) is not tuple or made.state is not None:
            raise _refuse(self.where, say("it sets the state of a {kind}", kind=type(made).__name__))
        made.state = state


_CODES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_OWN = ("append", "appends", "setitem", "setitems", "dict", "reduce", "build")
_PlainUnpickler.dispatch = {
    code: getattr(_PlainUnpickler, f"load_{_CODES[code].lower()}") if _CODES[code].lower() in _OWN else load
    for code, load in pickle._Unpickler.dispatch.items()
    if _CODES[code] in _PLAIN
}


def _finish(found: Any, where: str) -> Any:
    """Turn recorded arrays into `PlainArray`; refuse structures that hold themselves, go deep or multiply."""
    sizes: dict[int, int] = {}
    done: dict[int, Any] = {}

    def visit(value: Any, depth: int) -> Any:
        if type(value) is _Made:
            return done.setdefault(id(value), _array(value, where))
        if type(value) is _Name:
            raise _refuse(where, say("it holds {name} itself", name=value.name))
        if type(value) not in (dict, list, tuple):
            return value
        if id(value) in done:
            if id(value) not in sizes:
                raise _refuse(where, say("it holds a structure that contains itself"))
            return done[id(value)]
        if depth > DEEPEST:
            raise _refuse(where, say("it nests deeper than {limit} levels", limit=DEEPEST))
        done[id(value)] = None
        parts = [visit(part, depth + 1) for part in _parts(value)]
        sizes[id(value)] = 1 + sum(sizes.get(id(part), 1) for part in _parts(value))
        if sizes[id(value)] > MOST_CELLS:
            raise _refuse(where, say("it unfolds to more than {limit:,} values", limit=MOST_CELLS))
        done[id(value)] = dict(zip(value, parts, strict=True)) if type(value) is dict else type(value)(parts)
        return done[id(value)]

    return visit(found, 0)


def _parts(value: Any) -> Iterator[Any]:
    return iter(value.values()) if type(value) is dict else iter(value)


def _array(made: _Made, where: str) -> PlainArray:
    """The array that NumPy's `__reduce__` described: (version, shape, dtype, fortran, bytes)."""
    if made.kind != "ndarray" or made.state is None or len(made.state) != 5:
        raise _refuse(where, say("it holds a number type or an array without content"))
    _, shape, dtype, fortran, data = made.state
    if type(dtype) is not _Made or dtype.kind != "dtype" or type(dtype.state) is not tuple or len(dtype.state) < 2:
        raise _refuse(where, say("it holds an array without a number type"))
    if dtype.dtype.startswith("O") or type(data) is not bytes:
        raise _refuse(where, say("it holds an array of Python objects"))
    whole = type(shape) is tuple and len(shape) <= 32 and all(type(size) is int and size >= 0 for size in shape)
    order = _text(dtype.state[1])
    if not whole or type(fortran) not in (bool, int) or order not in ("|", "<", ">", "="):
        raise _refuse(where, say("it holds an array of an odd shape or byte order"))
    return PlainArray(shape, order.strip("|=") + dtype.dtype, bool(fortran), data)
