"""What a checkpoint's pickle describes, read opcode by opcode: nothing in it is ever called or imported (rule P1).

`pickletools.genops` lists opcodes without executing one. The small machine below keeps a stack and a memo of plain
values; of all names in the world it knows those with which torch writes tensors, and answers them with records of
what they were given: a `StoredTensor` says where its numbers lie, and owns none.

Source: torch 1.6 to 2.13, `torch/serialization.py` and `torch/_utils.py`; opcodes as in CPython's Lib/pickletools.py.
"""

import pickletools
import struct
from _compat_pickle import IMPORT_MAPPING
from dataclasses import dataclass, replace
from typing import IO, Any

from netwright.errors import DataError
from netwright.language import say

MOST_OPCODES = 1_000_000
"""NASNet large with 1,810 tensors has about 110,000; an optimizer's state may triple that."""
LONGEST_TEXT = 2**20
MOST_AXES = 32

_KINDS = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64",
}  # fmt: skip
STORAGES = {f"{home} {kind}Storage": code for home in ("torch", "torch.cuda") for kind, code in _KINDS.items()}
STORAGES |= {"torch UntypedStorage": "", "torch.storage UntypedStorage": ""}
DTYPES = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16", "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16", "short": "I16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
"""Bytes of one number, by the names that safetensors gives the number types."""
_CALLED = {
    "collections OrderedDict", "torch Size", "torch device", "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_parameter",
}  # fmt: skip
_TEXT = frozenset(["UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"])
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = frozenset(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"])
_VALUES = _TEXT | _NUMBERS | frozenset(["BINBYTES", "SHORT_BINBYTES", "BINBYTES8"])
_BROKEN = (IndexError, KeyError, ValueError, TypeError, EOFError, OverflowError, struct.error, DeprecationWarning)
"""What a malformed stream makes genops or the machine raise; the last from a bad escape where warnings are errors."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file: its key there, number type (empty: bytes), and how many it is said to hold.

    `start` and `within` are the part of it that an old file's view of a storage sees.
    """

    key: str
    kind: str
    count: int
    start: int = 0
    within: int = -1


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the file describes it, in numbers of its own type: nothing of it is read yet."""

    storage: Storage
    kind: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it shows."""
        total = 1
        for side in self.size:
            total *= side
        return total

    @property
    def last(self) -> int:
        """The place of its furthest number, in its storage."""
        return self.offset + sum((side - 1) * step for side, step in zip(self.size, self.stride, strict=True))


class _Name:
    """One of the known names; it is never looked up anywhere."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Mark:
    """Where a group of values begins on the stack."""


class Refused(DataError):
    """A pickle that is no checkpoint of plain weights."""


def read(file: IO[bytes]) -> Any:
    """The plain value of the pickle that begins where `file` stands; afterwards `file` stands behind it.

    Errors: `Refused` for everything that is not weights: names and opcodes that weights do not need, and odd records.
    """
    machine = _Machine()
    try:
        for count, (opcode, value, position) in enumerate(pickletools.genops(file)):
            if count >= MOST_OPCODES:
                raise Refused(say("it has more than {limit:,} opcodes", limit=MOST_OPCODES))
            if isinstance(value, (str, bytes)) and len(value) > LONGEST_TEXT:
                raise Refused(say("a text of {size:,} bytes at byte {position}", size=len(value), position=position))
            if opcode.name == "STOP":
                return machine.finished()
            machine.step(opcode.name, value)
    except Refused:
        raise
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise Refused(say("its pickle is broken ({reason})", reason=reason)) from None
    raise Refused(say("its pickle has no end"))


class _Machine:
    """Stack and memo. Every opcode that touches an object checks the object's exact type first."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def finished(self) -> Any:
        value = self.stack.pop()
        if self.stack or value is _Mark or type(value) is _Name:
            raise Refused(say("its pickle is broken ({reason})", reason="STOP"))
        return value

    def step(self, name: str, value: Any) -> None:
        """Carry out one opcode."""
        if name in _VALUES:
            self.stack.append(value)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name == "MARK":
            self.stack.append(_Mark)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else value] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[value])
        elif name == "GLOBAL":
            self.stack.append(_known(value))
        elif name not in ("PROTO", "FRAME"):
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise Refused(say("opcode {name} is one that weights do not need; nothing was run", name=name))
            action()

    def _top(self) -> Any:
        if self.stack[-1] is _Mark:
            raise IndexError("MARK")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _group(self) -> list[Any]:
        """What stands above the last mark, taken off with it."""
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:
            place -= 1
            if place < 0:
                raise IndexError("MARK")
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise Refused(say("it names something by no words"))
        self.stack.append(_known(f"{module} {name}"))

    def _empty_tuple(self) -> None:
        self.stack.append(())

    def _tuple(self) -> None:
        self.stack.append(tuple(self._group()))

    def _few(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def _tuple1(self) -> None:
        self._few(1)

    def _tuple2(self) -> None:
        self._few(2)

    def _tuple3(self) -> None:
        self._few(3)

    def _empty_list(self) -> None:
        self.stack.append([])

    def _list(self) -> None:
        self.stack.append(self._group())

    def _append(self) -> None:
        value = self._pop()
        self._filled(list).append(value)

    def _appends(self) -> None:
        values = self._group()
        self._filled(list).extend(values)

    def _empty_dict(self) -> None:
        self.stack.append({})

    def _dict(self) -> None:
        cells = self._group()
        self.stack.append({})
        self._fill(cells)

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value])

    def _setitems(self) -> None:
        self._fill(self._group())

    def _filled(self, kind: type) -> Any:
        if type(self._top()) is not kind:
            raise Refused(say("it fills a {found} as if it were a {kind}",
                              found=type(self._top()).__name__, kind=kind.__name__))  # fmt: skip
        return self.stack[-1]

    def _fill(self, cells: list[Any]) -> None:
        target = self._filled(dict)
        for key, value in zip(cells[::2], cells[1::2], strict=True):
            if type(key) not in (str, int):  # hashing a tuple nested a million deep would end the process
                raise Refused(say("a key of type {kind}", kind=type(key).__name__))
            target[key] = value

    def _build(self) -> None:
        state = self._pop()
        if type(self._top()) is not dict or type(state) is not dict:
            raise Refused(say("it sets the state of a {kind}", kind=type(self._top()).__name__))

    def _binpersid(self) -> None:
        self.stack.append(_storage(self._pop()))

    def _reduce(self) -> None:
        arguments, called = self._pop(), self._pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise Refused(say("it calls a {kind}", kind=type(called).__name__))
        self.stack.append(_made(called.name, arguments))


def _known(name: str) -> Any:
    """The record for a known name; every other one is refused with its own words."""
    module, _, last = name.partition(" ")
    if name in STORAGES or name in _CALLED:
        return _Name(name)
    if module == "torch" and last in DTYPES:
        return _Name(name)
    shown = f"{IMPORT_MAPPING.get(module, module)}.{last}"[:120]  # pickles before protocol 3 use Python 2's names
    raise Refused(say("it names {name}, a function or class that weights do not need; nothing was run", name=shown))


def _made(name: str, given: tuple[Any, ...]) -> Any:
    """What calling a known name would describe."""
    if name == "collections OrderedDict":
        return _ordered(given)
    if name in ("torch Size", "torch device"):
        return given
    if name == "torch._utils _rebuild_parameter" and given and type(given[0]) is StoredTensor:
        return given[0]
    if name.startswith("torch._utils _rebuild_tensor") and len(given) >= 4 and type(given[0]) is Storage:
        return _tensor(name, given)
    raise Refused(say("it calls {name} with arguments of another kind", name=name.replace(" ", ".")))


def _ordered(given: tuple[Any, ...]) -> dict[str, Any]:
    """An ordered dictionary: empty, or (Python 2) with a list of pairs."""
    pairs = given[0] if given else []
    if len(given) > 1 or type(pairs) is not list:
        raise Refused(say("it calls {name} with arguments of another kind", name="collections.OrderedDict"))
    found = {}
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2 or type(pair[0]) is not str:
            raise Refused(say("it calls {name} with arguments of another kind", name="collections.OrderedDict"))
        found[pair[0]] = pair[1]
    return found


def _storage(given: Any) -> Storage:
    """The storage that a persistent id means: ("storage", type, key, device, count[, view])."""
    if type(given) is tuple and given and given[0] == "module":
        raise Refused(say("it holds a whole module, not its weights: save model.state_dict() instead"))
    right = type(given) is tuple and len(given) in (5, 6) and given[0] == "storage" and type(given[1]) is _Name
    right = right and given[1].name in STORAGES and type(given[2]) is str and _is_count(given[4])
    if not right:
        raise Refused(say("it refers to something outside itself that is no storage"))
    found = Storage(given[2], STORAGES[given[1].name], given[4])
    view = given[5] if len(given) == 6 else None
    if view is None:
        return found
    if type(view) is not tuple or len(view) != 3 or not all(_is_count(number) for number in view[1:]):
        raise Refused(say("it refers to something outside itself that is no storage"))
    return replace(found, start=view[1], within=view[2])


def _tensor(name: str, given: tuple[Any, ...]) -> StoredTensor:
    """A tensor from (storage, offset, size, stride, ...), its numbers checked for being numbers."""
    storage, offset, size, stride = given[:4]
    kind = storage.kind
    if name.endswith("_v3"):
        typed = given[6] if len(given) > 6 else None
        kind = DTYPES.get(typed.name.partition(" ")[2], "") if type(typed) is _Name else ""
    if metadata := given[6] if name.endswith("_v2") and len(given) > 6 else None:
        raise Refused(say("it holds a tensor that is conjugated or negated on the way ({what})",
                          what=type(metadata).__name__))  # fmt: skip
    if not kind:
        raise Refused(say("it holds a tensor without a number type"))
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride) or len(size) > MOST_AXES:
        raise Refused(say("it holds a tensor of an odd shape"))
    if not _is_count(offset) or not all(_is_count(number) for number in (*size, *stride)):
        raise Refused(say("it holds a tensor with a size, stride or offset that is no whole number from 0 up"))
    return StoredTensor(storage, kind, offset + storage.start, size, stride)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
