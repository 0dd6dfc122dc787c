"""Inception v4: its counts, its shapes, and that nothing in it is added up."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, pictures, shapes, weightless
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError

NAME = "inception_v4"
FULL = (3, 299, 299)


@cache
def whole():
    return weightless(NAME, FULL)


@cache
def arithmetic():
    return counted(NAME, FULL)


def test_counts_and_card():
    found, facts = arithmetic(), NETWORKS[NAME].facts
    assert (found.parameters, found.macs) == (42_679_816, 12_253_974_624)
    assert (facts["params"], facts["macs"], facts["at"]) == (found.parameters, found.macs, FULL)
    assert len(whole().state_dict()) == 896


def test_shapes_of_the_papers_figures():
    wanted = {
        "features.0": (32, 149, 149), "features.1": (32, 147, 147), "features.2": (64, 147, 147),
        "features.3": (160, 73, 73), "features.4": (192, 71, 71), "features.5": (384, 35, 35),
        "features.6": (384, 35, 35), "features.9": (384, 35, 35), "features.10": (1024, 17, 17),
        "features.11": (1024, 17, 17), "features.17": (1024, 17, 17), "features.18": (1536, 8, 8),
        "features.19": (1536, 8, 8), "features.21": (1536, 8, 8), "last_linear": (1000,),
    }  # fmt: skip
    assert shapes(NAME, FULL, list(wanted)) == wanted
    assert len(whole().features) == 22


def test_a_unit_of_the_last_maps_sees_2071_pixels():
    # the size that the receptive-field tables of TensorFlow give for this network
    last = [layer for layer in arithmetic().layers if layer.name.startswith("features.21")][-1]
    assert last.receptive_field == {"size": [2071, 2071], "stride": [32, 32], "offset": [-998, -998]}


def test_weights_are_named_as_in_timm():
    state = whole().state_dict()
    wanted = {
        "features.0.conv.weight": (32, 3, 3, 3), "features.3.conv.conv.weight": (96, 64, 3, 3),
        "features.4.branch1.1.conv.weight": (64, 64, 1, 7), "features.5.conv.bn.running_mean": (192,),
        "features.6.branch0.conv.weight": (96, 384, 1, 1), "features.9.branch3.1.conv.weight": (96, 384, 1, 1),
        "features.10.branch1.2.conv.weight": (256, 224, 3, 3), "features.17.branch2.1.conv.weight": (192, 192, 7, 1),
        "features.18.branch1.2.conv.weight": (320, 256, 7, 1), "features.19.branch2_1.conv.weight": (448, 384, 3, 1),
        "features.21.branch1_1b.conv.weight": (256, 384, 3, 1), "last_linear.weight": (1000, 1536),
    }  # fmt: skip
    assert {key: tuple(state[key].shape) for key in wanted} == wanted


class Additions(TorchDispatchMode):
    """Counts the sums of two maps in whatever runs."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.add, torch.ops.aten.add_)
        return func(*args, **(kwargs or {}))


def sums(net):
    with Additions() as seen, torch.no_grad():
        net.eval()(torch.zeros(1, *FULL, device="meta"))
    return seen.count


def test_nothing_is_added_up():
    assert sums(whole()) == 0
    # the same look at a network that does add finds the sum of each of its 10 + 20 + 10 blocks
    assert sums(weightless("inception_resnet_v2", FULL)) == 40


def test_every_norm_has_the_small_constant_of_the_release():
    norms = [m for m in whole().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 149
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.1)}


def test_means_leave_the_padding_out():
    pools = [m for m in build(NAME, width=0.1).modules() if isinstance(m, nn.AvgPool2d)]
    assert len(pools) == 14
    assert all(torch.equal(pool(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4)) for pool in pools)


def test_a_module_equals_its_drawing():
    net = build(NAME, width=0.1).eval()
    block, x = net.features[19], pictures((net.features[18].channels, 4, 5))

    def conv(x, layer):
        high, wide = layer.conv.weight.shape[2:]
        y = F.conv2d(x, layer.conv.weight, padding=(high // 2, wide // 2))
        return F.relu(F.batch_norm(y, layer.bn.running_mean, layer.bn.running_var, eps=0.001))

    once = conv(x, block.branch1_0)
    twice = conv(conv(conv(x, block.branch2_0), block.branch2_1), block.branch2_2)
    ones = F.avg_pool2d(F.pad(torch.ones_like(x), (1, 1, 1, 1)), 3, 1)
    mean = conv(F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1) / ones, block.branch3[1])
    parts = [conv(once, block.branch1_1a), conv(once, block.branch1_1b), conv(twice, block.branch2_3a)]
    expected = torch.cat([conv(x, block.branch0), *parts, conv(twice, block.branch2_3b), mean], 1)
    torch.testing.assert_close(block(x), expected)


def test_the_joins_of_the_stem_keep_their_order():
    # weights of the next layer meet other channels where pool and convolution change places
    net, x = build(NAME, (3, 80, 80), width=0.1).eval(), pictures((3, 80, 80), 1)
    third = net.features[:3](x)
    torch.testing.assert_close(net.features[3](third)[:, : third.shape[1]], F.max_pool2d(third, 3, 2))
    fifth = net.features[:5](x)
    torch.testing.assert_close(net.features[5](fifth)[:, -fifth.shape[1] :], F.max_pool2d(fifth, 3, 2))


@pytest.mark.parametrize("size", [1, 33, 74])
def test_maps_of_the_small_stem(size):
    wanted = ["features.2", "features.4", "features.5", "features.10", "features.21"]
    found = shapes(NAME, (3, size, size), wanted, width=0.1)
    assert [shape[1] for shape in found.values()] == [-(-size // step) for step in (1, 2, 4, 8, 16)]


def test_75_pixels_are_the_least_of_the_full_stem():
    assert weightless(NAME, (3, 75, 75)).features[0].conv.stride == (2, 2)
    assert shapes(NAME, (3, 75, 75), ["features.21"], stem="full") == {"features.21": (1536, 1, 1)}
    assert weightless(NAME, (3, 75, 74)).features[0].conv.stride == (1, 1)
    with pytest.raises(UsageError, match="image of 3x74x90 is too small; it takes 75x75 or more"):
        weightless(NAME, (3, 74, 90), stem="full")


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 40), (5, 100, 75)])
def test_takes_pictures_of_any_size_and_depth(shape):
    assert build(NAME, shape, 3, width=0.1).eval()(pictures(shape, 2)).shape == (2, 3)


def test_settings_are_remedies():
    net = build(NAME, (3, 32, 32), 1, width=0.5, activation="gelu", dropout=0)
    assert (net.features[6].channels, net.features[11].channels, net.last_linear.in_features) == (192, 512, 768)
    assert isinstance(net.features[7].branch0.act, nn.GELU)
    assert isinstance(net.dropout, nn.Identity)
    assert build(NAME, (3, 32, 32)).dropout.p == 0.2
    bare = build(NAME, (3, 32, 32), width=0.1, norm="none")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
    grouped = build(NAME, (3, 32, 32), width=0.1, norm="groupnorm(groups=1)").eval()
    assert sum(isinstance(m, nn.GroupNorm) for m in grouped.modules()) == 149
    assert bool(grouped(pictures((3, 32, 32))).isfinite().all())


def test_one_step_changes_every_weight_and_evaluation_repeats():
    net, x = build(NAME, (1, 32, 32), width=0.1), pictures((1, 32, 32), 8)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    F.cross_entropy(net.train()(x), torch.arange(8)).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.slow
def test_exports_without_a_sum():
    net, x = build(NAME, (3, 32, 32), width=0.1).eval(), pictures((3, 32, 32))
    program = torch.export.export(net, (x,))
    torch.testing.assert_close(program.module()(x), net(x))
    assert not [node for node in program.graph.nodes if "aten.add" in str(node.target)]
