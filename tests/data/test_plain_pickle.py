"""The restricted pickle reader and what it refuses (rule P2). The real pickle writes the files here."""

import os
import pickle
import struct
import sys
import time
import tracemalloc

import numpy as np
import pytest

from netwright.data.files import plain_pickle
from netwright.errors import DataError

PYTHON2 = (
    b"\x80\x02}q\x00(U\x06labels](K\x04eU\x04datacnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02"
    b"K\x00\x85U\x01b\x87Rq\x03(K\x01K\x01K\x06\x86cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbu."
)
"""{"labels": [4], "data": array of shape (1, 6)} as Python 2 and NumPy 1 write it."""
SOUND = [PYTHON2] + [
    pickle.dumps({"labels": [4], "data": np.frombuffer(b"abcdef", np.uint8)[None]}, protocol) for protocol in range(5)
]


class Runs:
    """Unpickled, it would call what it is given."""

    def __init__(self, call, *arguments):
        self.parts = call, arguments

    def __reduce__(self):
        return self.parts


def itself():
    knot: list = []
    knot.append(knot)
    return knot


def nested(depth):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def billion_laughs() -> bytes:
    """Six lists, each holding the one before twenty times."""
    levels = [b"](" + bytes([ord("h"), level]) * 20 + b"eq" + bytes([level + 1]) for level in range(6)]
    return b"]q\x00" + b"".join(levels) + b"."


def encoded_again() -> bytes:
    """A text of 1,000 letters, turned into new bytes a hundred times by four bytes each."""
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"X\x06\0\0\0latin1\x86q\x01"
    return b"c_codecs\nencode\nq\x00" + text + b"h\x00h\x01R" * 99 + b"."


HOSTILE = {
    "os.system": (pickle.dumps(Runs(os.system, "true"), 2), "class '(posix|nt) system'"),
    "os.system, protocol 4": (pickle.dumps(Runs(os.system, "true"), 4), "class '(posix|nt) system'"),
    "eval": (pickle.dumps(Runs(eval, "1"), 0), "class '__builtin__ eval'"),
    "by another road": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "class 'os system'"),
    "a dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.", "class 'numpy ndarray.__new__'"),
    "frombuffer": (b"cnumpy\nfrombuffer\n.", "class 'numpy frombuffer'"),
    "objects in an array": (pickle.dumps(np.array([1, "a"], dtype=object), 2), "array of Python objects"),
    "a NumPy number": (pickle.dumps(np.int64(3), 2), "class 'numpy._core.multiarray scalar'"),
    "protocol 5": (pickle.dumps([1], 5), "protocol 5"),
    "a set": (pickle.dumps({1, 2}, 4), "EMPTY_SET"),
    "persistent id": (b"\x80\x02U\x01xQ.", "BINPERSID"),
    "persistent id, text": (b"Px\n.", "PERSID"),
    "extension code": (b"\x80\x02\x82\x01.", "EXT1"),
    "INST": (b"(S'true'\nios\nsystem\n.", "INST"),
    "OBJ": (b"(cos\nsystem\nS'true'\no.", "class 'os system'"),
    "NEWOBJ": (b"cnumpy\nndarray\n)\x81.", "NEWOBJ"),
    "call of text": (b"\x80\x02U\x01x)R.", "calls a bytes"),
    "call of an array": (b"cnumpy\nndarray\n)R.", "calls numpy ndarray with"),
    "call of a made array": (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(tS'b'\ntR)R.", "calls a _Made"),
    "state of a dictionary": (b"}}b.", "state of a dict"),
    "state of a name": (b"cnumpy\nndarray\n}(U\x05namesNub.", "state of a _Name"),
    "state twice": (b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\ntb(I3\nS'|'\ntb.", "state of a _Made"),
    "append to a name": (b"cnumpy\nndarray\nI1\na.", "fills a _Name as if it were a list"),
    "append to a tuple": (b")I1\na.", "fills a tuple"),
    "item of a list": (b"]I0\nI1\ns.", "fills a list as if it were a dict"),
    "a tuple as key": (b"}(I1\nI2\ntI1\ns.", "a key of type tuple"),
    "a name alone": (b"cnumpy\nndarray\n.", "holds numpy ndarray itself"),
    "a number type alone": (pickle.dumps(np.dtype("u1"), 2), "number type or an array without content"),
    "encode to another codec": (b"c_codecs\nencode\n(V1\nVhex\ntR.", "encodes something other"),
    "encode what is no text": (b"c_codecs\nencode\n(I1\nVlatin1\ntR.", "encodes something other"),
    "encode with too much": (b"c_codecs\nencode\n(V1\nVlatin1\nV1\ntR.", "broken"),
    "memo of 4 GB": (b"\x80\x02Nr\xff\xff\xff\x1f.", "memo index 536,870,911"),
    "memo, text": (b"Np99999999999\n.", "memo index 99,999,999,999"),
    "string of 2 GB": (b"\x80\x02T\xff\xff\xff\x7fabc.", "broken"),
    "string of less than nothing": (b"\x80\x02T\xff\xff\xff\xffabc.", "broken"),
    "bytes of 2**62": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", "broken"),
    "frame of 2**62": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.", "a frame of 4,611,"),
    "long integer": (b"\x80\x02\x8a\x09" + b"\x01" * 9 + b".", "more than 64 bits"),
    "LONG4": (b"\x80\x02\x8b" + struct.pack("<i", 4) + b"\x01\1\1\1.", "LONG4"),
    "long integer, text": (b"L" + b"9" * 4000 + b"L\n.", "more than 64 bits"),
    "longer integer, text": (b"I" + b"9" * 1_000_000 + b"\n.", "broken"),
    "deep marks": (b"(" * 100_000 + b".", "nests deeper"),
    "deep lists": (pickle.dumps(nested(100), 2), "nests deeper"),
    "deep tuples": (b")" + b"\x85" * 500_000 + b".", "nests deeper"),
    "contains itself": (pickle.dumps(itself(), 2), "contains itself"),
    "dictionary in itself": (b"}q\x00U\x01ah\x00s.", "contains itself"),
    "a billion laughs": (billion_laughs(), "unfolds to more than 1,000,000"),
    "wide": (b"](" + b"K\0" * 999 + b"eq\x00](" + b"h\0" * 1100 + b"e.", "unfolds to more than 1,000,000"),
    "text encoded again and again": (encoded_again(), "again and again"),
    "many opcodes": (b"](" + b"N" * 1_100_000 + b"e.", "more than 1,000,000 opcodes"),
    "duplicates": (b"N" + b"2" * 10 + b".", "DUP"),
    "nothing": (b"", "broken"),
    "no end": (b"\x80\x02}", "broken"),
    "more after the end": (b"N.N.", "2 bytes follow"),
    "an empty stack": (b"\x80\x02R.", "broken"),
    "an odd mark": (b"\x80\x02(K\x01u.", "broken"),
    "an unset memo": (b"h\x05.", "broken"),
    "an unknown opcode": (b"\x80\x02\xff.", "broken"),
    "half a text": (b"X\x02\0\0\0\xc3(.", "broken"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tripwire():
    """What the interpreter was asked to do in the meantime (the audit hook of goal S1); hooks cannot be removed."""
    seen: list[str] = []
    on = [True]
    forbidden = ("pickle.find_class", "exec", "compile", "import", "os.system", "subprocess", "open", "socket")
    sys.addaudithook(lambda event, _: seen.append(event) if on[0] and event.startswith(forbidden) else None)
    yield seen
    on[0] = False


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused_by_name(case, tripwire):
    data, reason = HOSTILE[case]
    tripwire.clear()
    begun = time.monotonic()
    with pytest.raises(DataError, match=reason) as caught:
        plain_pickle.read(data, "data_batch_1")
    assert tripwire == []
    assert time.monotonic() - begun < 5
    assert str(caught.value).startswith("data_batch_1: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "case", ["memo of 4 GB", "string of 2 GB", "frame of 2**62", "wide", "text encoded again and again"]
)
def test_bombs_take_no_memory(case):
    tracemalloc.start()
    with pytest.raises(DataError):
        plain_pickle.read(HOSTILE[case][0], "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize("data", SOUND)
def test_arrays_come_as_their_description(data):
    found = plain_pickle.read(data, "f")
    array = found.get("data") or found[b"data"]
    assert array == plain_pickle.PlainArray((1, 6), "u1", False, b"abcdef")


def test_byte_order_and_column_order_are_kept():
    array = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    assert plain_pickle.read(pickle.dumps(array, 2), "f") == plain_pickle.PlainArray(
        (2, 3), ">i4", True, array.tobytes("F")
    )


def test_files_beyond_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(plain_pickle, "LARGEST_FILE", 100)
    with pytest.raises(DataError, match="at most 100"):
        plain_pickle.read(PYTHON2, "f")


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_comes_as_the_real_unpickler_reads_it(protocol):
    value = {
        "a": [1, -2, 2**40, 0.5, None, True, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ()],
        "b": {"c": "ü\n\\", "d": b"\0\xff"},
    }
    data = pickle.dumps(value, protocol)
    assert plain_pickle.read(data, "f") == pickle.loads(data, encoding="bytes")


def test_shared_parts_stay_within_reason():
    shared = list(range(10))
    assert plain_pickle.read(pickle.dumps([shared] * 50, 2), "f") == [shared] * 50


def test_nothing_but_the_pure_python_unpickler_runs(monkeypatch):
    """Neither pickle.load(s) nor the C unpickler is called, whatever the file."""

    def forbidden(*_, **__):
        raise AssertionError("the C unpickler was called")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    assert plain_pickle.read(PYTHON2, "f")[b"labels"] == [4]


def test_mutated_batches_give_only_data_errors():
    """1,000 batches with bytes flipped, cut, doubled or exchanged for opcodes."""
    draw = np.random.default_rng(11)
    opcodes = bytes(plain_pickle._CODES)
    refused = 0
    for case in range(1000):
        data = bytearray(SOUND[case % len(SOUND)])
        for _ in range(draw.integers(1, 5)):
            place = int(draw.choice([draw.integers(min(len(data), 200)), draw.integers(len(data))]))
            match draw.integers(4):
                case 0:
                    data[place] ^= 1 << draw.integers(8)
                case 1:
                    del data[place : place + int(draw.integers(1, 20))]
                case 2:
                    data[place:place] = data[place : place + int(draw.integers(1, 20))]
                case _:
                    data[place] = opcodes[draw.integers(len(opcodes))]
        try:
            plain_pickle.read(bytes(data), "f")
        except DataError:
            refused += 1
    assert refused > 500
