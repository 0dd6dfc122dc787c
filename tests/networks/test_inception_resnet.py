"""Inception-ResNet: counts and shapes of its three forms, and the traps of its residual blocks."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError

FULL = (3, 299, 299)
V1, V2, PAPER = "inception_resnet_v1", "inception_resnet_v2", "inception_resnet_v2_paper"
FIGURES = {
    V1: (22_756_328, 6_206_361_696),
    V2: (55_843_464, 13_155_794_016),
    PAPER: (32_433_928, 9_257_953_632),
}


@cache
def whole(name):
    return weightless(name, FULL)


@cache
def arithmetic(name):
    return counted(name, FULL)


@pytest.mark.parametrize("name", FIGURES)
def test_counts_and_cards(name):
    found, facts = arithmetic(name), NETWORKS[name].facts
    assert (found.parameters, found.macs) == FIGURES[name]
    assert (facts["params"], facts["macs"], facts["at"]) == (*FIGURES[name], FULL)
    assert set(facts["parents"]) <= set(NETWORKS)


@pytest.mark.parametrize(("name", "stem", "widths"), [
    (V1, {"conv2d_1a": (32, 149, 149), "conv2d_2a": (32, 147, 147), "conv2d_2b": (64, 147, 147),
          "maxpool_3a": (64, 73, 73), "conv2d_3b": (80, 73, 73), "conv2d_4a": (192, 71, 71),
          "conv2d_4b": (256, 35, 35)}, (256, 896, 1792)),
    (V2, {"conv2d_1a": (32, 149, 149), "conv2d_2b": (64, 147, 147), "maxpool_3a": (64, 73, 73),
          "conv2d_4a": (192, 71, 71), "maxpool_5a": (192, 35, 35), "mixed_5b": (320, 35, 35),
          "block8": (2080, 8, 8), "conv2d_7b": (1536, 8, 8)}, (320, 1088, 2080)),
    (PAPER, {"stem_2": (64, 147, 147), "stem_3": (160, 73, 73), "stem_4": (192, 71, 71), "stem_5": (384, 35, 35)},
     (384, 1152, 2144)),
])  # fmt: skip
def test_shapes_of_the_papers_figures(name, stem, widths):
    a, b, c = widths
    grids = {
        "repeat": (a, 35, 35), "mixed_6a": (b, 17, 17), "repeat_1": (b, 17, 17), "mixed_7a": (c, 8, 8),
        "repeat_2": (c, 8, 8), "classif": (1000,),
    }  # fmt: skip
    assert shapes(name, FULL, [*stem, *grids]) == stem | grids


@pytest.mark.parametrize(("name", "counts"), [(V1, (5, 10, 5)), (V2, (10, 20, 9)), (PAPER, (5, 10, 5))])
def test_blocks_and_their_scales(name, counts):
    net = whole(name)
    rows = (net.repeat, net.repeat_1, net.repeat_2)
    assert tuple(map(len, rows)) == counts
    assert [{block.scale for block in row} for row in rows] == [{0.17}, {0.1}, {0.2}]
    assert all(isinstance(block.act, nn.ReLU) for row in rows for block in row)


def test_a_unit_of_the_last_maps_sees_3039_pixels():
    # the size that the receptive-field tables of TensorFlow give for this network
    last = next(layer for layer in arithmetic(V2).layers if layer.name == "conv2d_7b.conv")
    assert last.receptive_field == {"size": [3039, 3039], "stride": [32, 32], "offset": [-1482, -1482]}


def test_weights_are_named_as_in_timm():
    state = whole(V2).state_dict()
    assert len(state) == 1306
    wanted = {
        "conv2d_1a.conv.weight": (32, 3, 3, 3), "conv2d_4a.bn.running_var": (192,),
        "mixed_5b.branch1.1.conv.weight": (64, 48, 5, 5), "mixed_5b.branch3.1.conv.weight": (64, 192, 1, 1),
        "repeat.9.branch2.2.conv.weight": (64, 48, 3, 3), "repeat.0.conv2d.weight": (320, 128, 1, 1),
        "repeat.0.conv2d.bias": (320,), "mixed_6a.branch1.2.conv.weight": (384, 256, 3, 3),
        "repeat_1.19.branch1.1.conv.weight": (160, 128, 1, 7), "repeat_1.0.branch0.conv.weight": (192, 1088, 1, 1),
        "mixed_7a.branch2.2.conv.weight": (320, 288, 3, 3), "repeat_2.8.branch1.2.conv.weight": (256, 224, 3, 1),
        "block8.conv2d.weight": (2080, 448, 1, 1), "conv2d_7b.conv.weight": (1536, 2080, 1, 1),
        "classif.weight": (1000, 1536), "classif.bias": (1000,),
    }  # fmt: skip
    assert {key: tuple(state[key].shape) for key in wanted} == wanted


@pytest.mark.parametrize("name", FIGURES)
def test_the_linear_convolution_has_a_bias_and_no_norm(name):
    net = whole(name)
    convs = {label: m for label, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    assert {label.endswith("conv2d") for label, m in convs.items() if m.bias is not None} == {True}
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert norms == sum(m.bias is None for m in convs.values())


@pytest.mark.parametrize("name", FIGURES)
def test_every_norm_has_the_small_constant_of_the_release(name):
    norms = [m for m in whole(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.1)}


def block_by_hand(block, x, scale, active):
    def conv(x, layer):
        high, wide = layer.conv.weight.shape[2:]
        y = F.conv2d(x, layer.conv.weight, padding=(high // 2, wide // 2))
        return F.relu(F.batch_norm(y, layer.bn.running_mean, layer.bn.running_var, eps=0.001))

    flat = x
    for layer in block.branch1:
        flat = conv(flat, layer)
    joined = torch.cat([conv(x, block.branch0), flat], 1)
    total = x + scale * F.conv2d(joined, block.conv2d.weight, block.conv2d.bias)
    return F.relu(total) if active else total


def test_blocks_equal_their_drawing():
    net = build(V2, width=0.1).eval()
    for block, channels, scale, active in (
        (net.repeat_1[3], net.mixed_6a.channels, 0.1, True),
        (net.repeat_2[8], net.mixed_7a.channels, 0.2, True),
        (net.block8, net.mixed_7a.channels, 1.0, False),
    ):
        nn.init.normal_(block.conv2d.bias)
        x = pictures((channels, 3, 4))
        torch.testing.assert_close(block(x), block_by_hand(block, x, scale, active))
        assert bool((block(x) < 0).any()) is not active


def test_the_mean_of_the_first_module_leaves_the_padding_out():
    pools = [m for m in build(V2, width=0.1).modules() if isinstance(m, nn.AvgPool2d)]
    assert len(pools) == 1
    assert torch.equal(pools[0](torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("size", [1, 33, 74])
def test_maps_of_the_small_stem(name, size):
    found = shapes(name, (3, size, size), ["repeat", "repeat_1", "repeat_2"], width=0.1)
    assert [shape[1] for shape in found.values()] == [-(-size // step) for step in (4, 8, 16)]


@pytest.mark.parametrize("name", FIGURES)
def test_75_pixels_are_the_least_of_the_full_stem(name):
    found = shapes(name, (3, 75, 75), ["repeat", "repeat_2"])
    assert [shape[1] for shape in found.values()] == [7, 1]
    assert shapes(name, (3, 75, 74), ["repeat"])["repeat"][1:] == (19, 19)
    with pytest.raises(UsageError, match=f"network '{name}': an image of 3x74x90 is too small; it takes 75x75 or more"):
        weightless(name, (3, 74, 90), stem="full")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 40), (5, 100, 75)])
def test_takes_pictures_of_any_size_and_depth(name, shape):
    assert build(name, shape, 3, width=0.1).eval()(pictures(shape, 2)).shape == (2, 3)


@pytest.mark.parametrize("name", FIGURES)
def test_settings_are_remedies(name):
    net = build(name, (3, 32, 32), 1, width=0.25, activation="elu", dropout=0.4)
    assert net.classif.in_features == {V1: 448, V2: 384, PAPER: 536}[name]
    assert isinstance(net.repeat[0].act, nn.ELU)
    assert net.dropout.p == 0.4
    bare = build(name, (3, 32, 32), width=0.1, norm="none")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
    grouped = build(name, (3, 32, 32), width=0.1, norm="groupnorm(groups=1)").eval()
    assert bool(grouped(pictures((3, 32, 32))).isfinite().all())


@pytest.mark.parametrize("name", FIGURES)
def test_one_step_changes_every_weight_and_evaluation_repeats(name):
    net, x = build(name, (1, 32, 32), width=0.1), pictures((1, 32, 32), 8)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    F.cross_entropy(net.train()(x), torch.arange(8)).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_exports(name):
    net, x = build(name, (3, 32, 32), width=0.1).eval(), pictures((3, 32, 32))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
