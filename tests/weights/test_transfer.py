"""Weights from one network into another by the names of layers."""

import pytest
import torch
from paper import build
from safetensors.torch import save_file
from torch import nn

from netwright.errors import DataError, UsageError
from netwright.networks.vgg import same_places
from netwright.weights.transfer import transfer

FIRST = {
    "features.0": "features.0",
    "features.3": "features.5",
    "features.6": "features.10",
    "features.8": "features.12",
}
DENSE = ["classifier.0", "classifier.3", "classifier.6"]


def nets(deep="vgg16", **given):
    shape = (3, 32, 32)
    return build("vgg11", shape, width=0.1, stem="full", **given), build(deep, shape, width=0.1, stem="full", **given)


@pytest.mark.parametrize("deep", ["vgg13", "vgg16", "vgg16_c", "vgg19"])
def test_column_a_begins_the_deeper_ones(deep):
    """S-123: the first four convolutions, by stage and place, and the three linear layers."""
    shallow, net = nets(deep)
    before = {name: one.clone() for name, one in net.state_dict().items()}
    found = transfer(shallow, net, same_places(shallow, net))
    pairs = same_places(shallow, net)
    assert len(found.copied) == 2 * 7
    assert [name for name in pairs if name.startswith("classifier")] == DENSE
    if deep == "vgg16":
        assert pairs == FIRST | {name: name for name in DENSE}
    for mine, theirs in found.copied.items():
        assert torch.equal(net.state_dict()[mine], shallow.state_dict()[theirs])
    for name in found.fresh:
        assert torch.equal(net.state_dict()[name], before[name])
    assert sorted([*found.copied, *found.fresh]) == sorted(before)
    assert len(found.unused) == 2 * (8 - 4)
    assert str(found).startswith("14 tensors copied")


def test_without_pairs_names_and_shapes_decide():
    shallow, net = nets()
    found = transfer(shallow, net)
    agreeing = {
        name for name, one in net.state_dict().items()
        if name in shallow.state_dict() and shallow.state_dict()[name].shape == one.shape
    }  # fmt: skip
    assert set(found.copied) == agreeing >= {"features.0.weight", *(f"{name}.weight" for name in DENSE)}


def test_a_file_is_a_source_too(tmp_path):
    shallow, net = nets()
    path = tmp_path / "shallow.safetensors"
    save_file(shallow.state_dict(), path)
    transfer(path, net, {"features.3": "features.5"})
    assert torch.equal(net.features[5].weight, shallow.features[3].weight)
    save_file({"features.0.weight": torch.full((2, 2), float("nan"))}, path)
    with pytest.raises(DataError, match="not finite"):
        transfer(path, net)


def test_lrn_norms_and_small_stems_keep_their_places():
    lrn, normed = build("vgg11_lrn", (3, 32, 32), width=0.1), build("vgg16_bn", (3, 32, 32), width=0.1)
    pairs = same_places(lrn, normed)
    assert list(pairs.values()) == ["features.0", "features.7", "features.14", "features.17", "classifier.1"]
    assert len(transfer(lrn, normed, pairs).copied) == 10
    assert len(same_places(lrn, normed, first=8)) == 9


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"features.3": "features.2"}, r"features.3\.bias has the shape \[13\], features.2\.bias \[6\]"),
        ({"features.33": "features.2"}, "the source has no layer 'features.33'"),
        ({"features.3": "feature.5"}, "the target has no layer 'feature.5'. Did you mean 'features.5'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_copied(pairs, words):
    shallow, net = nets()
    before = [one.clone() for one in net.state_dict().values()]
    with pytest.raises(UsageError, match=words):
        transfer(shallow, net, {"features.0": "features.0", **pairs})
    assert all(map(torch.equal, before, net.state_dict().values()))


def test_strangers_have_nothing_in_common():
    with pytest.raises(UsageError, match="Pair them: layers="):
        transfer(nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2)))
