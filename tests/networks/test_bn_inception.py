"""BN-Inception: the Caffe form and TensorFlow-Slim's widths, against their tables and a second build by hand."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.networks.blocks import SameConv2d

FULL = (3, 224, 224)
CAFFE, SLIM = "bn_inception", "bn_inception_slim"
FIGURES = {CAFFE: (11_295_240, 2_032_600_064, 485), SLIM: (11_194_984, 2_018_851_840, 416)}


@cache
def whole(name):
    return weightless(name, FULL)


@cache
def arithmetic(name):
    return counted(name, FULL)


@pytest.mark.parametrize("name", FIGURES)
def test_counts_and_cards(name):
    found, facts = arithmetic(name), NETWORKS[name].facts
    assert (found.parameters, found.macs, len(whole(name).state_dict())) == FIGURES[name]
    assert (facts["params"], facts["macs"], facts["at"]) == (found.parameters, found.macs, FULL)


def test_the_biases_under_the_norms_make_the_difference():
    convs = [m for m in whole(CAFFE).modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 69
    assert 11_295_240 - sum(conv.bias.numel() for conv in convs) == 11_285_224
    assert all(m.bias is None for m in whole(SLIM).modules() if isinstance(m, nn.Conv2d))


OUTPUTS = {
    CAFFE: {"3a": (256, 28), "3b": (320, 28), "3c": (576, 14), "4a": (576, 14), "4b": (576, 14), "4c": (608, 14),
            "4d": (608, 14), "4e": (1056, 7), "5a": (1024, 7), "5b": (1024, 7)},
    SLIM: {"3a": (256, 28), "3b": (320, 28), "3c": (576, 14), "4a": (576, 14), "4b": (576, 14), "4c": (576, 14),
           "4d": (576, 14), "4e": (1024, 7), "5a": (1024, 7), "5b": (1024, 7)},
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_shapes_of_the_papers_table(name):
    stem = {"conv1_7x7_s2": (64, 112, 112), "pool1_3x3_s2": (64, 56, 56), "conv2_3x3": (192, 56, 56),
            "pool2_3x3_s2": (192, 28, 28)}  # fmt: skip
    assert shapes(name, FULL, list(stem)) == stem
    net, found = weightless(name, FULL), {}
    mixed = net.mixed
    net.mixed = lambda x, row: found.setdefault(row.name, mixed(x, row))
    net.eval()(torch.zeros(1, *FULL, device="meta"))
    assert {row: (maps.shape[1], *set(maps.shape[2:])) for row, maps in found.items()} == OUTPUTS[name]


def test_a_unit_of_the_last_maps_sees_699_pixels():
    # the size that the receptive-field tables of TensorFlow give for this network
    last = next(layer for layer in arithmetic(CAFFE).layers if layer.name == "inception_5b_double_3x3_2")
    assert last.receptive_field["size"] == [699, 699]
    assert last.receptive_field["stride"] == [32, 32]


def test_weights_are_named_as_in_the_public_port():
    state = whole(CAFFE).state_dict()
    wanted = {
        "conv1_7x7_s2.weight": (64, 3, 7, 7), "conv1_7x7_s2.bias": (64,), "conv1_7x7_s2_bn.running_mean": (64,),
        "conv2_3x3_reduce.weight": (64, 64, 1, 1), "conv2_3x3.weight": (192, 64, 3, 3),
        "inception_3a_1x1.weight": (64, 192, 1, 1), "inception_3a_double_3x3_2.weight": (96, 96, 3, 3),
        "inception_3c_3x3.weight": (160, 128, 3, 3), "inception_4d_pool_proj.weight": (128, 608, 1, 1),
        "inception_4e_double_3x3_1.weight": (256, 192, 3, 3), "inception_5a_3x3_reduce_bn.bias": (192,),
        "inception_5b_double_3x3_reduce.weight": (192, 1024, 1, 1), "last_linear.weight": (1000, 1024),
    }  # fmt: skip
    assert {key: tuple(state[key].shape) for key in wanted} == wanted
    assert not any(f"inception_{row}_{end}.weight" in state for row in ("3c", "4e") for end in ("1x1", "pool_proj"))


def by_hand(net, x, *, caffe):
    """The network once more: functions only, TensorFlow's padding written out for even sizes."""
    state, eps = net.state_dict(), 1e-5 if caffe else 1e-3

    def conv(x, name, stride=1):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        k = weight.shape[2]
        if stride == 1 or caffe:
            y = F.conv2d(x, weight, bias, stride, k // 2)
        else:
            before, after = (k - 2) // 2, k - 2 - (k - 2) // 2
            y = F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride)
        norm = [state[f"{name}_bn.{end}"] for end in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(y, *norm, eps=eps))

    def halve(x):
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2)

    x = halve(conv(x, "conv1_7x7_s2", 2))
    x = halve(conv(conv(x, "conv2_3x3_reduce"), "conv2_3x3"))
    for row in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        name, stride = f"inception_{row}_", 2 if row in ("3c", "4e") else 1
        three = conv(conv(x, name + "3x3_reduce"), name + "3x3", stride)
        double = conv(conv(x, name + "double_3x3_reduce"), name + "double_3x3_1")
        double = conv(double, name + "double_3x3_2", stride)
        if stride == 2:
            x = torch.cat([three, double, halve(x)], 1)
            continue
        sums, ones = (F.avg_pool2d(F.pad(maps, (1, 1, 1, 1)), 3, 1) for maps in (x, torch.ones_like(x)))
        pooled = sums if caffe else sums / ones
        pooled = F.max_pool2d(x, 3, 1, 1) if row == "5b" else pooled
        x = torch.cat([conv(x, name + "1x1"), three, double, conv(pooled, name + "pool_proj")], 1)
    return F.linear(x.mean((2, 3)), state["last_linear.weight"], state["last_linear.bias"])


@pytest.mark.parametrize("name", FIGURES)
def test_the_network_equals_its_table(name):
    net = build(name, (3, 96, 64), 10, width=0.2, stem="full").eval()
    draw = torch.Generator().manual_seed(2)
    for key, value in net.state_dict().items():
        if key.endswith(("bias", "running_mean")):
            value.normal_(0, 0.3, generator=draw)
        elif key.endswith("_bn.weight") or key.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=draw)
    x = pictures((3, 96, 64), 2)
    torch.testing.assert_close(net(x), by_hand(net, x, caffe=name == CAFFE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "eps"), [(CAFFE, 1e-5), (SLIM, 1e-3)])
def test_the_constant_of_the_norms(name, eps):
    norms = [m for m in whole(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 69
    assert {(norm.eps, norm.momentum) for norm in norms} == {(eps, 0.1)}


def test_only_the_last_mean_is_a_maximum():
    net = whole(CAFFE)
    kinds = {row: type(net.get_submodule(f"inception_{row}_pool")).__name__ for row in OUTPUTS[CAFFE]}
    assert [row for row, kind in kinds.items() if kind == "MaxPool2d"] == ["3c", "4e", "5b"]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("shape", [(3, 7, 7), (3, 9, 30), (1, 64, 225)])
def test_branches_meet_at_every_size_of_the_full_stem(name, shape):
    net = weightless(name, shape, 5, width=0.1, stem="full").eval()
    assert net(torch.zeros(2, *shape, device="meta")).shape == (2, 5)


def test_7_pixels_are_the_least_of_caffes_full_stem():
    with pytest.raises(UsageError, match="image of 3x6x40 is too small; it takes 7x7 or more"):
        weightless(CAFFE, (3, 6, 40), stem="full")
    assert weightless(SLIM, (3, 1, 1), 5, stem="full").eval()(torch.zeros(1, 3, 1, 1, device="meta")).shape == (1, 5)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("size", "sides"), [(1, (1, 1, 1)), (31, (16, 8, 4)), (32, (16, 8, 4)), (63, (32, 16, 8))])
def test_maps_of_the_small_stem(name, size, sides):
    wanted = ["pool2_3x3_s2", "inception_4a_3x3", "inception_5b_3x3"]
    found = shapes(name, (3, size, size), wanted, width=0.1)
    assert tuple(shape[1] for shape in found.values()) == sides
    net = weightless(name, (3, 64, 63))
    assert net.conv1_7x7_s2.kernel_size == (3, 3)
    assert weightless(name, (3, 64, 64)).conv1_7x7_s2.kernel_size == (7, 7)


def test_strided_windows_are_padded_in_two_ways():
    slim = [label for label, m in whole(SLIM).named_modules() if isinstance(m, SameConv2d)]
    ends = [f"inception_{row}_{end}" for row in ("3c", "4e") for end in ("3x3", "double_3x3_2")]
    assert slim == ["conv1_7x7_s2", *ends]
    assert not any(isinstance(m, SameConv2d) for m in whole(CAFFE).modules())


@pytest.mark.parametrize("name", FIGURES)
def test_settings_are_remedies(name):
    net = build(name, (3, 32, 32), 1, width=0.5, activation="elu", dropout=0.4)
    assert net.last_linear.in_features == 512
    assert isinstance(net.inception_3a_1x1_act, nn.ELU)
    assert net.dropout.p == 0.4
    bare = build(name, (3, 32, 32), width=0.1, norm="none")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
    grouped = build(name, (3, 32, 32), width=0.1, norm="groupnorm(groups=1)").eval()
    assert bool(grouped(pictures((3, 32, 32))).isfinite().all())


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 40), (5, 70, 75)])
def test_takes_pictures_of_any_size_and_depth(name, shape):
    assert build(name, shape, 3, width=0.1).eval()(pictures(shape, 2)).shape == (2, 3)


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
