"""A wrong size stops at the layer that fails: table so far, formula with numbers, what would work."""

import json

import pytest
import torch
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.measures.anatomy.failure import WrongSize


def refused(net, shape):
    with pytest.raises(WrongSize) as caught:
        anatomy(net, shape, "net")
    return caught.value


def lenet(features=400):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(features, 120), nn.ReLU(), nn.Linear(120, 10),
    )  # fmt: skip


def test_a_window_larger_than_its_maps():
    error = refused(lenet(), (1, 11, 11))
    lines = str(error).split("\n")
    assert lines[0] == "network 'net' cannot take an input of 1x11x11"
    assert lines[1] == "layer '3' (conv) fails: out = floor((3 + 2*0 - 5)/1) + 1 = -1"
    assert lines[2] == "The smallest square input that works is 1x32x32."
    assert [line.split()[:3] for line in lines[4:]] == [
        ["0", "conv", "6x7x7"], ["1", "relu", "6x7x7"], ["2", "maxpool", "6x3x3"],
    ]  # fmt: skip
    assert [(layer.name, layer.output) for layer in error.layers][-1] == ("2", [6, 3, 3])
    assert isinstance(error, UsageError)
    assert error.code == 2


def test_features_that_do_not_fit():
    error = refused(lenet(), (1, 28, 28))
    assert "layer '7' (linear) fails: it wants 400 features, got 256 = 16*4*4" in str(error)
    assert "The smallest square input that works is 1x32x32." in str(error)
    assert "... 1 layers before" in str(error)
    assert len(error.layers) == 7
    assert anatomy(lenet(), (1, 32, 32)).output == [10]
    assert refused(lenet(), (1, 31, 31))


def test_features_that_no_square_gives():
    error = refused(lenet(401), (1, 28, 28))
    assert "Build layer '7' for 256 instead of 401." in str(error)


@pytest.mark.parametrize(
    ("net", "shape", "reason", "fix"),
    [
        (nn.Conv2d(3, 8, 5), (1, 9, 9), "it wants 3 channels, got 1 (1x9x9)", "An input of 3x9x9 works."),
        (nn.Linear(4, 2), (5,), "it wants 4 features, got 5", "An input of 4 works."),
        (nn.LSTM(5, 8, batch_first=True), (6, 4), "it wants 5 features, got 4", "An input of 6x5 works."),
        (nn.MaxPool2d(5), (2, 3, 9), "floor((3 + 2*0 - 5)/5) + 1 = 0, floor((9", "works is 2x5x5."),
        (nn.Conv2d(1, 2, 3, 2, 1, 4), (1, 6, 6), "floor((6 + 2*1 - 9)/2) + 1 = 0", "works is 1x7x7."),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(5)),
            (1, 6, 6),
            "it wants 5 channels, got 4",
            "for 4 instead of 5",
        ),
        (nn.Conv2d(3, 8, 5), (12,), "it wants maps (channels, height, width), got 12", ""),
    ],
)
def test_reasons_and_fixes(net, shape, reason, fix):
    text = str(refused(net, shape))
    assert reason in text
    assert fix in text


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 2, 2)

    def forward(self, x):
        return x + self.up(self.down(x))


def test_functions_that_cannot_join_their_tensors():
    error = refused(Skip(), (1, 7, 7))
    assert "(sum) fails: 1x7x7, 1x8x8 do not go together" in str(error)
    assert "An input of 1x8x8 works." in str(error)


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 1))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    before = torch.get_rng_state()
    refused(net, (1, 9, 9))
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.device.type == "cpu" for p in net.parameters())


def test_a_network_of_the_catalogue_that_cannot_be_built():
    with pytest.raises(WrongSize) as caught:
        nw.anatomy("stack", layers="conv 8 5, relu, conv 8 9, linear out", inputs=(1, 8, 8), outputs=10)
    lines = str(caught.value).split("\n")
    assert lines[0].startswith("layer 3 'conv 8 9': height floor((4 + 2*0 - 9)/1) + 1 = -4")
    assert lines[1] == "layer 'conv2' (conv) fails: out = floor((4 + 2*0 - 9)/1) + 1 = -4"
    assert lines[2] == "The smallest square input that works is 1x13x13."
    assert [layer.name for layer in caught.value.layers] == ["conv1", "relu1"]
    assert nw.anatomy(
        "stack", layers="conv 8 5, relu, conv 8 9, linear out", inputs=(1, 13, 13), outputs=10
    ).output == [10]


def test_lenet_below_its_size_shows_where_it_ends():
    with pytest.raises(WrongSize, match="it takes 16x16 or more") as caught:
        nw.anatomy("lenet5", inputs=(1, 10, 10), outputs=10)
    assert "layer 'c3'" in str(caught.value)
    assert "floor((3 + 2*0 - 5)/1) + 1 = -1" in str(caught.value)


@pytest.mark.parametrize("given", [{"inputs": (1, 8, 8), "hiden": [3]}, {"inputs": (8,)}])
def test_other_mistakes_are_not_taken_for_sizes(given):
    with pytest.raises(UsageError) as caught:
        nw.anatomy("mlp" if "hiden" in given else "convnet", outputs=10, **given)
    assert not isinstance(caught.value, WrongSize)


def test_numbers_survive_json():
    error = refused(lenet(), (1, 28, 28))
    assert json.loads(json.dumps({"error": str(error)}))["error"] == str(error)
