"""Checkpoints that want something else than to be read: refused by name, within bounds, with nothing left behind."""

import io
import mmap
import os
import pickle
import pickletools
import struct
import subprocess
import time
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from foreign_checkpoints import pickled, stored

from netwright.errors import DataError
from netwright.weights import convert as converting
from netwright.weights import reader
from netwright.weights.convert import convert
from netwright.weights.pickled import Refused, read


def refused(file, target) -> str:
    """The words with which a file is refused; nothing may stand at the target or beside it."""
    before = set(os.listdir(file.parent))
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        convert(file, target)
    assert time.monotonic() - started < 30
    assert set(os.listdir(file.parent)) == before
    assert str(file) in str(caught.value)
    return str(caught.value)


def refused_here(file, target) -> str:
    """The words with which the reader refuses a file, without a child for each of many."""
    with (
        open(file, "rb") as source,
        open(target, "wb") as out,
        mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        pytest.raises(DataError) as caught,
    ):
        reader.convert(source, mapped, out)
    return str(caught.value)


class Calls:
    """Pickles itself as a call of any function."""

    def __init__(self, function: Any, *given: Any) -> None:
        self.function, self.given = function, given

    def __reduce__(self) -> Any:
        return self.function, self.given


@pytest.mark.parametrize("function", [eval, exec, os.system, subprocess.run, getattr, torch.load, open, print])
def test_functions_are_named_and_never_called(save, tmp_path, function):
    mark = tmp_path / "ran"
    value = {"w": torch.ones(2), "x": Calls(function, f"open({str(mark)!r}, 'w')")}
    words = refused(save(value), tmp_path / "o.safetensors")
    assert f"{function.__module__}.{function.__qualname__}" in words
    assert "weights do not need" in words
    assert not mark.exists()


def test_a_whole_module_is_refused_with_the_right_thing_to_do(save, tmp_path):
    words = refused(save(torch.nn.Linear(2, 3)), tmp_path / "o.safetensors")
    assert "torch.nn.modules.linear.Linear" in words or "state_dict()" in words


@pytest.mark.parametrize(
    ("stream", "word"),
    [
        (b"\x80\x02c__builtin__\neval\n.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "_load_from_bytes"),
        (b"\x80\x02(cos\nsystem\nX\x02\x00\x00\x00lso.", "os.system"),
        (b"\x80\x02(X\x02\x00\x00\x00lsios\nsystem\n.", "INST"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02]K\x01Rs.", "broken|calls"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01R.", "calls"),
        (b"\x80\x02ccollections\nOrderedDict\n.", "broken"),
        (b"\x80\x02ccollections\nOrderedDict\n]b.", "state of"),
        (b"\x80\x02K\x01Q.", "no storage"),
        (b"\x80\x02h\x05.", "broken"),
        (b"\x80\x02((.", "broken"),
        (b"\x80\x02}(K\x01u.", "broken"),
        (b"\x80\x02})K\x01s.", "key of type tuple"),
        (b"\x80\x02K\x01K\x01K\x02s.", "fills"),
        (b"\x80\x02t.", "broken"),
        (b"\x80\x02]", "end|broken"),
        (b"\x80\x02.", "broken"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "broken"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fabc.", "LONG4|broken"),
    ],
)
def test_streams_that_are_no_weights(stream, word):
    with pytest.raises(Refused, match=word):
        read(io.BytesIO(stream))


def test_a_huge_memo_index_costs_nothing():
    assert read(io.BytesIO(b"\x80\x02]r\xff\xff\xff\xff.")) == []


def test_every_prefix_and_every_flipped_byte_of_a_pickle_ends_in_a_value_or_a_refusal():
    whole = pickled(OrderedDict(w=stored((2, 2), (2, 1)), b=stored((2,), (1,), offset=1)))
    names = {opcode.name for opcode, _, _ in pickletools.genops(whole)}
    assert {"BINPERSID", "REDUCE", "GLOBAL"} <= names
    refusals = 0
    for place in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            data = bytearray(whole)
            data[place] ^= change
            for stream in (bytes(data), whole[:place]):
                try:
                    read(io.BytesIO(stream))
                except Refused:
                    refusals += 1
    assert refusals > len(whole)


FOUR = np.arange(4, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (stored((4,), (1,), offset=1), "beyond its storage"),
        (stored((2, 2), (3, 1)), "beyond its storage"),
        (stored((5,), (1,)), "beyond its storage"),
        (stored((4,), (-1,), offset=3), "whole number from 0"),
        (stored((-1,), (1,)), "whole number from 0"),
        (stored((4,), (1,), offset=-1), "whole number from 0"),
        (stored((4,), (1,), offset=2**70), "whole number from 0"),
        (stored((2.0,), (1,)), "whole number from 0"),
        (stored((True,), (1,)), "whole number from 0"),
        (stored((2, 2), (1,)), "odd shape"),
        (stored([2], (1,)), "odd shape"),
        (stored((1,) * 40, (1,) * 40), "odd shape"),
        (stored((2**40,), (0,)), "unfold"),
        (stored((10**5, 10**5), (0, 0)), "unfold"),
        (stored((2,), (1,), count=5), "is said to have"),
        (stored((2,), (1,), kind="DoubleStorage"), "is said to have"),
        (stored((2,), (1,), key="7"), "is missing"),
    ],
)
def test_tensors_that_lie_about_their_numbers(archive, tmp_path, record, word):
    file = archive(pickled({"w": record}), {"0": FOUR})
    assert word in refused_here(file, tmp_path / "o.safetensors")


def test_structures_that_hold_or_multiply_themselves(archive, tmp_path):
    loop: dict[str, Any] = {"w": stored((4,), (1,))}
    loop["again"] = loop
    deep: Any = {"w": stored((4,), (1,))}
    for _ in range(40):
        deep = {"in": deep}
    wide: Any = {"w": stored((4,), (1,))}
    for _ in range(11):
        wide = {f"{letter}": wide for letter in "abcdef"}
    doubled: Any = ()
    for _ in range(60):
        doubled = (doubled, doubled)
    for value, word in ((loop, "nests deeper"), (deep, "nests deeper"), (wide, "unfolds"), ([1], "not tensors by name"),
                        (doubled, "not tensors by name"), ({}, "no tensors"), ({"a": 1}, "no tensors")):  # fmt: skip
        assert word in refused_here(archive(pickled(value), {"0": FOUR}), tmp_path / "o.safetensors")


def test_a_million_opcodes_end_soon(archive, tmp_path):
    stream = b"\x80\x02]" + b"(" * 1_000_001 + b"."
    assert "opcodes" in refused(archive(stream, {}), tmp_path / "o.safetensors")
    nested = b"\x80\x02)" + b"\x85" * 100_000 + b"."
    assert "not tensors" in refused(archive(nested, {}), tmp_path / "o.safetensors")


def test_zip_bombs_and_crooked_archives(archive, tmp_path):
    target, good = tmp_path / "o.safetensors", pickled({"w": stored((4,), (1,))})
    bomb = archive(good, {"0": bytes(50_000_000)}, method=zipfile.ZIP_DEFLATED)
    assert "packed" in refused_here(bomb, target)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive(good, {"0": FOUR}), "a") as file:
        file.writestr("archive/data/0", FOUR)
    assert "twice" in refused_here(tmp_path / "raw.pth", target)
    with zipfile.ZipFile(tmp_path / "n.pth", "w") as file:
        file.writestr("readme", "no checkpoint")
    assert "without one data.pkl" in refused_here(tmp_path / "n.pth", target)
    script = archive(good, {"0": FOUR}, **{"constants.pkl": b"", "code/x.py": b"print(1)"})
    assert "TorchScript" in refused_here(script, target)
    assert "byte order" in refused_here(archive(good, {"0": FOUR}, byteorder=b"big"), target)
    assert "follow its pickle" in refused_here(archive(good + b"more", {"0": FOUR}), target)
    data = bytearray(archive(good, {"0": FOUR}).read_bytes())
    place = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, place + 42, 0)  # the storage is said to begin where the pickle does
    (tmp_path / "raw.pth").write_bytes(data)
    assert refused_here(tmp_path / "raw.pth", target)


def test_streams_before_torch_1_6_that_lie(tmp_path):
    target = tmp_path / "o.safetensors"
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}

    def stream(keys: Any, rest: bytes, **changes: Any):
        parts = [changes.get("magic", 0x1950A86A20F9469CFC6C), 1001, changes.get("machine", machine)]
        data = b"".join(pickle.dumps(part, 2) for part in parts)
        data += pickled({"w": stored((4,), (1,))}) + pickle.dumps(keys, 2) + rest
        (tmp_path / "s.pth").write_bytes(data)
        return tmp_path / "s.pth"

    assert "no checkpoint" in refused(stream(["0"], b"", magic=1), target)
    assert "no checkpoint" in refused_here(stream(["0"], b"", magic=1), target)
    assert "byte order" in refused_here(stream(["0"], b"", machine={**machine, "little_endian": False}), target)
    assert "cut off" in refused_here(stream(["0"], b""), target)
    assert "beyond the file" in refused_here(stream(["0"], struct.pack("<q", 2**60) + FOUR), target)
    assert "beyond the file" in refused_here(stream(["0"], struct.pack("<q", -4) + FOUR), target)
    assert "is said to have" in refused_here(stream(["0"], struct.pack("<q", 3) + FOUR[:12]), target)
    assert "follow its storages" in refused_here(stream(["0"], struct.pack("<q", 4) + FOUR + b"x"), target)
    assert "list of storages" in refused_here(stream(["0", "0"], b""), target)
    assert "belongs to no tensor" in refused_here(stream(["1"], struct.pack("<q", 4) + FOUR), target)
    target.unlink()
    convert(stream(["0"], struct.pack("<q", 4) + FOUR), target)
    assert target.exists()


def test_the_child_that_dies_is_one_clear_error(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    monkeypatch.setattr(converting.sys, "executable", "/bin/false")
    assert "was stopped (code 1)" in refused(tmp_path / "m.pth", tmp_path / "o.safetensors")
    monkeypatch.setattr(converting.sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(Exception, match="cannot be started"):
        convert(tmp_path / "m.pth", tmp_path / "o.safetensors")
    assert os.listdir(tmp_path) == ["m.pth"]


def test_the_child_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    monkeypatch.setattr(converting, "SPARE", 0)
    monkeypatch.setattr(converting, "seconds_for", lambda size: 0.01)
    assert "more than 0.01 seconds" in refused(tmp_path / "m.pth", tmp_path / "o.safetensors")


def test_the_child_bounds_its_memory_and_shuts_the_door(tmp_path):
    code = f"""
import json, resource, sys
from netwright.weights import reader
reader.bound(1000)
print(resource.getrlimit(resource.RLIMIT_AS)[0] < 2**31, resource.getrlimit(resource.RLIMIT_CPU)[0] < 60)
try:
    bytearray(2**32)
except MemoryError:
    print("no memory", flush=True)
reader.prepare()
sys.addaudithook(reader.shut)
open({str(tmp_path / "x")!r}, "w")
"""
    found = subprocess.run([reader.sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.startswith("True True\nno memory\n"), found.stderr
    assert "something other than reading (open)" in found.stdout
    assert found.returncode == 70
    assert not (tmp_path / "x").exists()


def test_the_child_sees_no_secrets_of_the_environment(tmp_path, monkeypatch):
    seen = {}

    def run(command: Any, **options: Any) -> Any:
        seen.update(options["env"])
        return subprocess.CompletedProcess(command, 1, b"", b"")

    torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setattr(converting.subprocess, "run", run)
    assert "stopped" in refused(tmp_path / "m.pth", tmp_path / "o.safetensors")
    assert "secret" not in str(seen)
    assert "PYTHONPATH" in seen
