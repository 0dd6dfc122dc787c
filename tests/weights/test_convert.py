"""convert-weights: every number type, layout and wrapper arrives to the bit, in both of torch's formats."""

import json
import os
import zipfile
from collections import OrderedDict

import pytest
import torch
from foreign_checkpoints import pickled, stored
from safetensors.torch import load_file

from netwright.errors import DataError, UsageError
from netwright.weights.convert import convert


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal number type, shape and bits."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    bits = [one.detach().contiguous().reshape(-1).view(torch.uint8) for one in (found, expected)]
    return bool(torch.equal(*bits))


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def test_every_number_type_and_layout_arrives_to_the_bit(save, tmp_path):
    base = torch.randn(2, 3, 4)
    floats = torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2
    wholes = torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64
    value = OrderedDict(model().state_dict())
    value |= {str(kind): torch.randn(5).to(kind) for kind in floats}
    value |= {str(kind): torch.arange(5).to(kind) for kind in wholes}
    value |= {
        "bool": torch.tensor([True, False, True]), "complex": torch.randn(3, dtype=torch.complex64),
        "scalar": torch.tensor(3.5), "empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.randn(2)),
        "turned": base.permute(2, 0, 1), "part": base[:, 1:, ::2], "repeated": torch.ones(1).expand(4, 4),
        "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), "overlap": base.reshape(-1)[3:9],
        "nan": torch.tensor([float("nan"), -0.0]),
    }  # fmt: skip
    found = convert(save(value), tmp_path / "out.safetensors")
    tensors = load_file(tmp_path / "out.safetensors")
    assert found.tensors == len(tensors) == len(value)
    assert [name for name in value if not same(tensors[name], value[name])] == []
    assert found.to_json()["file"] == str(tmp_path / "out.safetensors")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(protocol, tmp_path):
    value = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}
    torch.save(value, tmp_path / "m.pth", pickle_protocol=protocol)
    convert(tmp_path / "m.pth", tmp_path / "m.safetensors")
    assert same(load_file(tmp_path / "m.safetensors")["a.weight"], value["a.weight"])


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_wrappers_are_taken_off_and_the_rest_is_named(save, tmp_path, key):
    net = model()
    state = {"state": {0: {"momentum_buffer": torch.ones(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    weights = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    value = {"epoch": 3, key: weights, "optimizer": state, "best": torch.tensor(0.5), "arch": "x"}
    found = convert(save(value), tmp_path / "out.safetensors")
    assert load_file(tmp_path / "out.safetensors").keys() == net.state_dict().keys()
    assert any(key in note for note in found.notes)
    assert any("module." in note for note in found.notes)
    left = " ".join(found.left_out)
    assert "epoch (int)" in left
    assert "optimizer (state of the optimizer" in left
    assert "best (tensor)" in left
    assert "arch" in left


def test_weights_in_several_groups_keep_the_group_in_their_names(save, tmp_path):
    value = {"encoder": {"w": torch.ones(2)}, "decoder": {"w": torch.zeros(3)}, "optim": {"w": torch.ones(1)}}
    found = convert(save(value), tmp_path / "out.safetensors")
    assert set(load_file(tmp_path / "out.safetensors")) == {"encoder.w", "decoder.w"}
    assert "optim" in found.left_out[0]


def test_storages_of_another_device_load_here(archive, tmp_path):
    raw = pickled({"w": stored((2,), (1,), count=2)}).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    file = archive(raw, {"0": torch.tensor([1.0, 2.0]).numpy().tobytes()})
    convert(file, tmp_path / "out.safetensors")
    assert load_file(tmp_path / "out.safetensors")["w"].tolist() == [1.0, 2.0]


def test_tensors_that_share_a_storage_are_written_apart(save, tmp_path):
    tied = torch.randn(4, 2)
    convert(save({"in": tied, "out": tied, "half": tied[2:]}), tmp_path / "o.safetensors")
    found = load_file(tmp_path / "o.safetensors")
    assert same(found["in"], tied)
    assert same(found["out"], tied)
    assert same(found["half"], tied[2:])


def test_a_flipped_byte_in_a_zip_is_found_everywhere(tmp_path):
    torch.save({"w": torch.randn(64)}, tmp_path / "m.pth")
    with zipfile.ZipFile(tmp_path / "m.pth") as file:
        places = [entry.header_offset for entry in file.infolist() if entry.filename.endswith(("data/0", "data.pkl"))]
    data = bytearray((tmp_path / "m.pth").read_bytes())
    for place in places:
        broken = bytearray(data)
        broken[place + 200] ^= 1
        (tmp_path / "b.pth").write_bytes(broken)
        with pytest.raises(DataError, match=r"damaged|header"):
            convert(tmp_path / "b.pth", tmp_path / "o.safetensors")
    assert not (tmp_path / "o.safetensors").exists()


def test_a_file_without_checksums_says_so(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    found = convert(tmp_path / "m.pth", tmp_path / "o.safetensors")
    assert any("checksums" in note for note in found.notes)


@pytest.mark.parametrize("left", [0, 1, 3, 20, 400, -1, -9, -100])
def test_truncated_files_are_refused_and_leave_nothing(save, tmp_path, left):
    file = save(model().state_dict())
    data = file.read_bytes()
    file.write_bytes(data[:left])
    with pytest.raises(DataError, match=r"model.pth"):
        convert(file, tmp_path / "o.safetensors")
    assert os.listdir(tmp_path) == ["model.pth"]


def test_targets_that_exist_or_end_otherwise_are_refused(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "nowhere")
    for name in ("there.safetensors", "link.safetensors"):
        with pytest.raises(DataError, match="exists already"):
            convert(tmp_path / "m.pth", tmp_path / name)
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="does not end in"):
        convert(tmp_path / "m.pth", tmp_path / "out.pth")
    with pytest.raises(DataError, match="cannot be written"):
        convert(tmp_path / "m.pth", tmp_path / "no" / "such" / "out.safetensors")


def test_sources_that_are_no_checkpoint_are_named(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pth")
    target = tmp_path / "o.safetensors"
    with pytest.raises(DataError, match=r"Did you mean '.*m\.pth'"):
        convert(tmp_path / "n.pth", target)
    with pytest.raises(DataError, match="no regular file"):
        convert(tmp_path, target)
    for name, data, word in (("e.pth", b"", "empty"), ("t.pth", b"hello world, this is text", "no checkpoint"),
                             ("j.pth", b"{}", "safetensors or text")):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=word):
            convert(tmp_path / name, target)
    os.mkfifo(tmp_path / "f.pth")
    with pytest.raises(DataError, match="no regular file"):
        convert(tmp_path / "f.pth", target)
    assert not target.exists()


def test_the_result_is_a_strict_safetensors_file(tmp_path):
    torch.save({"b": torch.ones(1, dtype=torch.uint8), "a": torch.ones(3, dtype=torch.float64)}, tmp_path / "m.pth")
    convert(tmp_path / "m.pth", tmp_path / "o.safetensors")
    data = (tmp_path / "o.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["a"]["data_offsets"] == [0, 24]  # wide numbers first: all are aligned
    assert header["b"]["data_offsets"] == [24, 25]
    assert len(data) == 8 + length + 25
