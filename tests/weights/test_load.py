"""Loading: equal numbers, the adaptations that are allowed, and the exact list of what does not fit."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netwright.api import network
from netwright.errors import DataError
from netwright.weights.keymaps import fits, layout, timm_mobilenet
from netwright.weights.load import Loaded, Misfit, heads, load


@torch.no_grad()
def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics at random: at first values several networks put out almost 0 whatever they read."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=draw)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.2, generator=draw)
    return model.eval()


def small(channels: int = 3, classes: int = 10, **settings) -> nn.Module:
    settings = {"width": 0.1, **settings}
    return network("resnet18", inputs=(channels, 64, 64), outputs=classes, **settings)


@pytest.fixture
def file(tmp_path) -> Path:
    """A colour ResNet-18 for 10 classes at a tenth of its width."""
    save_file(randomised(small()).state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def same(first: nn.Module, second: nn.Module, inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(first.eval()(inputs), second.eval()(inputs))


def test_equal_weights_give_equal_logits(file):
    model, pictures = small(), torch.randn(2, 3, 64, 64)
    assert not same(model, randomised(small()), pictures)
    found = load(model, file)
    assert same(model, randomised(small()), pictures)
    assert isinstance(found, Loaded)
    assert found.tensors == len(model.state_dict())
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.notes == []
    assert len(found.lines()) == 1


def test_grey_pictures_take_the_sum_of_the_first_layer(file):
    colour, grey = randomised(small()).double(), small(1).double()
    found = load(grey, file)
    picture = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted, got = colour(picture.expand(2, 3, 64, 64)), grey.eval()(picture)
    assert torch.allclose(got, wanted, rtol=1e-5)
    assert "summed over red, green and blue" in found.lines()[1]


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_refused(file, channels):
    model = small(channels)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(Misfit, match=rf"reads 3 channels, this one {channels}") as caught:
        load(model, file)
    assert list(caught.value.wrong) == ["conv1.weight"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_another_number_of_classes_leaves_the_head_fresh(file):
    model, donor = small(classes=7), randomised(small())
    before = model.fc.weight.clone()
    found = load(model, file)
    assert torch.equal(model.fc.weight, before)
    assert torch.equal(model.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    assert found.notes == ["fc: left fresh (10 classes in the file, 7 here)"]
    assert found.tensors == len(model.state_dict()) - 2


def test_the_background_class_is_dropped(tmp_path):
    donor = randomised(small(classes=1001))
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    model = small(classes=1000)
    found = load(model, tmp_path / "w.safetensors")
    assert torch.equal(model.fc.weight, donor.fc.weight[1:])
    assert torch.equal(model.fc.bias, donor.fc.bias[1:])
    assert "background" in found.notes[0]
    whole = small(classes=1001)
    load(whole, tmp_path / "w.safetensors")
    assert torch.equal(whole.fc.weight, donor.fc.weight)


def test_counters_may_be_missing_and_number_types_are_converted(tmp_path):
    donor = randomised(small())
    kept = {name: tensor.double() for name, tensor in donor.state_dict().items() if "num_batches" not in name}
    save_file(kept, tmp_path / "w.safetensors")
    model = small()
    load(model, tmp_path / "w.safetensors")
    assert same(model, donor, torch.randn(1, 3, 64, 64))


def test_everything_that_does_not_fit_is_listed(tmp_path):
    state = randomised(small()).state_dict()
    del state["layer1.0.conv1.weight"]
    state["extra.weight"] = torch.ones(2)
    state["layer2.0.bn1.bias"] = torch.ones(99)
    save_file(state, tmp_path / "w.safetensors")
    model = small()
    with pytest.raises(Misfit) as caught:
        load(model, tmp_path / "w.safetensors", {"name": "resnet18"})
    assert caught.value.missing == ["layer1.0.conv1.weight"]
    assert caught.value.unexpected == ["extra.weight"]
    assert caught.value.wrong == {"layer2.0.bn1.bias": [[99], list(model.layer2[0].bn1.bias.shape)]}
    words = str(caught.value)
    for part in ("network 'resnet18'", "1 missing: layer1.0.conv1.weight", "1 unexpected: extra.weight", "[99]"):
        assert part in words
    assert len(words.splitlines()) <= 3


def test_long_lists_are_cut_and_counted(file):
    model = network("resnet34", inputs=(3, 64, 64), outputs=10, width=0.1)
    with pytest.raises(Misfit, match=r", 60 more") as caught:
        load(model, file)
    assert len(caught.value.missing) == 80


def test_a_head_whose_body_differs_too_is_no_other_number_of_classes(tmp_path):
    save_file({"weight": torch.ones(5, 9), "bias": torch.ones(5)}, tmp_path / "w.safetensors")
    with pytest.raises(Misfit) as caught:
        load(nn.Linear(4, 3), tmp_path / "w.safetensors")
    assert set(caught.value.wrong) == {"weight", "bias"}


def test_width_and_small_pictures_are_advised(file, tmp_path):
    with pytest.raises(Misfit, match=r"for width = 1; here network.width = 0.2"):
        network("resnet18", inputs=(3, 64, 64), outputs=10, width=0.2, weights=str(file))
    save_file(small(width=1.0).state_dict(), tmp_path / "full.safetensors")
    with pytest.raises(Misfit, match=r"network.stem=full"):
        network("resnet18", inputs=(3, 32, 32), outputs=10, weights=str(tmp_path / "full.safetensors"))


def test_forms_that_take_the_same_weights_and_give_other_numbers_are_said(tmp_path):
    wide = {"inputs": (3, 64, 64), "outputs": 10, "width": 0.05}
    file = str(tmp_path / "w.safetensors")
    save_file(network("resnet50", **wide).state_dict(), file)
    (note,) = network("resnet50", **wide, stride_in="1x1", weights=file).published.notes
    assert "network.stride_in = 1x1 instead of 3x3" in note
    save_file(network("mobilenet_v2", **wide).state_dict(), file)
    (note,) = network("mobilenet_v2", **{**wide, "inputs": (3, 32, 32)}, weights=file).published.notes
    assert "network.stem=full" in note
    assert network("mobilenet_v2", **wide, weights=file).published.notes == []
    wide |= {"aux": True, "stem": "full", "inputs": (3, 96, 96)}
    for name, words in (("inception_v3", "transform_input=true"), ("googlenet_bn", "")):
        save_file(network(name, **wide).state_dict(), file)
        (note,) = network(name, **wide, weights=file).published.notes
        assert "torchvision's own file" in note
        assert words in note


def test_auxiliary_heads_are_optional_on_either_side(tmp_path):
    wide = {"inputs": (3, 64, 64), "outputs": 10, "width": 0.1}
    bare, full = network("googlenet_bn", **wide), network("googlenet_bn", **wide, aux=True)
    save_file(full.state_dict(), tmp_path / "full.safetensors")
    save_file(bare.state_dict(), tmp_path / "bare.safetensors")
    assert load(bare, tmp_path / "full.safetensors").notes == [
        "aux1: not taken, the network has no auxiliary head", "aux2: not taken, the network has no auxiliary head"
    ]  # fmt: skip
    assert load(full, tmp_path / "bare.safetensors").notes == [
        "aux1: left fresh, the file has no auxiliary head", "aux2: left fresh, the file has no auxiliary head"
    ]  # fmt: skip
    assert set(heads(full)) == {"fc", "aux1.fc2", "aux2.fc2"}


def test_files_that_are_no_weights_are_refused(tmp_path):
    model = nn.Linear(2, 2)
    for name, data, word in (
        ("a.pth", b"anything", "convert-weights"), ("b.safetensors", b"PK\x03\x04 zip", "convert-weights"),
        ("c.safetensors", b"", "no sound safetensors"), ("d.safetensors", b"\xff" * 64, "no sound safetensors"),
        ("e.safetensors", (2).to_bytes(8, "little") + b"{}" + b"more", "no sound safetensors"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=word):
            load(model, tmp_path / name)
    save_file({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"Did you mean '.*w.safetensors'"):
        load(model, tmp_path / "w.safetensor")
    with pytest.raises(DataError, match="no regular file"):
        load(model, tmp_path)
    with pytest.raises(DataError, match="SHA-256 differs"):
        load(model, tmp_path / "w.safetensors", expect="0" * 64)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-1])
    with pytest.raises(DataError, match="no sound safetensors"):
        load(model, tmp_path / "cut.safetensors")
    save_file({"weight": torch.full((2, 2), torch.nan), "bias": torch.ones(2)}, tmp_path / "nan.safetensors")
    with pytest.raises(DataError, match="weight holds numbers that are not finite"):
        load(model, tmp_path / "nan.safetensors")
    assert bool(model.weight.isfinite().all())


# key maps -----------------------------------------------------------------------------------------------------


def timm_names(model: nn.Module) -> dict[str, str]:
    """Our MobileNet v2's layers under timm's names, written out by its rule: stem, blocks by stage, head."""
    stages = [1, 2, 3, 4, 3, 3, 1]
    found = {"features.0.0": "conv_stem", "features.0.1": "bn1"}
    number = 1
    for stage, count in enumerate(stages):
        for block in range(count):
            old, new = f"features.{number}.conv", f"blocks.{stage}.{block}"
            if number == 1:
                pairs = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
            else:
                pairs = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
            found |= {f"{old}.{key}": f"{new}.{value}" for key, value in pairs.items()}
            number += 1
    return found | {f"features.{number}.0": "conv_head", f"features.{number}.1": "bn2", "classifier.1": "classifier"}


def test_timm_mobilenets_load_whatever_the_order_of_the_file(tmp_path):
    donor = randomised(network("mobilenet_v2", inputs=(3, 64, 64), outputs=10, width=0.25))
    names = timm_names(donor)
    renamed = {
        f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": t for name, t in donor.state_dict().items()
    }
    assert "blocks.5.2.conv_pwl.weight" in renamed
    save_file(dict(sorted(renamed.items(), reverse=True)), tmp_path / "w.safetensors")
    model = network("mobilenet_v2", inputs=(3, 64, 64), outputs=10, width=0.25, weights=str(tmp_path / "w.safetensors"))
    assert same(model, donor, torch.randn(2, 3, 64, 64))


def test_timm_vgg_loads_its_convolutions_as_linear_layers(tmp_path):
    donor = randomised(network("vgg11", inputs=(3, 64, 64), outputs=10, width=0.05))
    renamed = {}
    for name, tensor in donor.state_dict().items():
        layer, _, kind = name.rpartition(".")
        new = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
        if layer == "classifier.0" and kind == "weight":
            tensor = tensor.reshape(tensor.shape[0], -1, 7, 7)
        elif layer == "classifier.3" and kind == "weight":
            tensor = tensor[:, :, None, None]
        renamed[f"{new.get(layer, layer)}.{kind}"] = tensor.contiguous()
    save_file(renamed, tmp_path / "w.safetensors")
    model = network("vgg11", inputs=(3, 64, 64), outputs=10, width=0.05, weights=str(tmp_path / "w.safetensors"))
    assert same(model, donor, torch.randn(2, 3, 64, 64))


def test_a_last_layer_under_another_usual_name_is_found(tmp_path):
    donor = randomised(small())
    renamed = {name.replace("fc.", "last_linear."): tensor for name, tensor in donor.state_dict().items()}
    save_file(renamed, tmp_path / "w.safetensors")
    model = small()
    load(model, tmp_path / "w.safetensors")
    assert same(model, donor, torch.randn(1, 3, 64, 64))


def test_layouts_and_shapes():
    assert fits((4, 6), (4, 6))
    assert fits((4, 18), (4, 2, 3, 3))
    assert fits((4, 2, 1, 1), (4, 2))
    assert not fits((4, 17), (4, 2, 3, 3))
    assert not fits((3, 18), (4, 2, 3, 3))
    assert not fits((18,), (2, 3, 3))
    own = {"features.0.0.weight": (8, 3, 3, 3), "classifier.1.weight": (2, 8)}
    theirs = {"classifier.weight": (2, 8), "conv_stem.weight": (8, 3, 3, 3)}
    assert layout(own, theirs) == ("timm MobileNet", timm_mobilenet(own, theirs))
    assert timm_mobilenet(own, theirs)["classifier.1.weight"] == "classifier.weight"
    assert layout(own, own)[0] == "same"
