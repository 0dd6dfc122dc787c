"""Inception v3: its counts, its shapes, and the traps between the paper, the release and torchvision."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.blocks import Scores
from netwright.networks.inception_v3 import middle

NAME = "inception_v3"
FULL = (3, 299, 299)


@cache
def whole(aux=False):
    return weightless(NAME, FULL, aux=aux)


@cache
def arithmetic():
    return counted(NAME, FULL)


def test_counts_of_the_released_network():
    found = arithmetic()
    assert (found.parameters, found.macs) == (23_834_568, 5_713_216_096)
    assert len(whole().state_dict()) == 566


def test_counts_with_the_auxiliary_head():
    net = whole(aux=True)
    assert sum(p.numel() for p in net.parameters()) == 27_161_264
    assert sum(p.numel() for p in net.AuxLogits.parameters()) == 3_326_696
    assert len(net.state_dict()) == 580
    head = anatomy(net.AuxLogits, (768, 17, 17)).macs
    assert anatomy(net, FULL).macs + head == 5_718_899_296


def test_the_card_has_the_counted_figures():
    found, facts = arithmetic(), NETWORKS[NAME].facts
    assert (facts["params"], facts["macs"], facts["at"]) == (found.parameters, found.macs, FULL)


def test_shapes_of_the_papers_table():
    wanted = {
        "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
        "maxpool1": (64, 73, 73), "Conv2d_3b_1x1": (80, 73, 73), "Conv2d_4a_3x3": (192, 71, 71),
        "maxpool2": (192, 35, 35), "Mixed_5b": (256, 35, 35), "Mixed_5c": (288, 35, 35), "Mixed_5d": (288, 35, 35),
        "Mixed_6a": (768, 17, 17), "Mixed_6b": (768, 17, 17), "Mixed_6c": (768, 17, 17), "Mixed_6d": (768, 17, 17),
        "Mixed_6e": (768, 17, 17), "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8), "Mixed_7c": (2048, 8, 8),
        "fc": (1000,),
    }  # fmt: skip
    assert shapes(NAME, FULL, list(wanted)) == wanted


def test_a_unit_of_the_last_maps_sees_1311_pixels():
    # the size that the receptive-field tables of TensorFlow give for this network
    last = [layer for layer in arithmetic().layers if layer.name.startswith("Mixed_7c")][-1]
    assert last.receptive_field == {"size": [1311, 1311], "stride": [32, 32], "offset": [-618, -618]}


def test_weights_are_named_as_in_torchvision():
    state = whole(aux=True).state_dict()
    wanted = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5d.branch3x3dbl_3.bn.running_var": (96,), "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7), "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch_pool.bn.bias": (192,), "AuxLogits.conv1.conv.weight": (768, 128, 5, 5),
        "AuxLogits.fc.weight": (1000, 768), "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3), "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "fc.weight": (1000, 2048), "fc.bias": (1000,),
    }  # fmt: skip
    assert {key: tuple(state[key].shape) for key in wanted} == wanted
    assert not any(key.endswith("conv.bias") for key in state)


def test_small_and_flat_windows_save_what_the_paper_says():
    net = whole()
    flat = net.Mixed_6b.branch7x7dbl_2.conv.weight.numel() + net.Mixed_6b.branch7x7dbl_3.conv.weight.numel()
    assert flat / (128 * 128 * 49) == pytest.approx(1 - 35 / 49)
    square = net.Mixed_7b.branch3x3_2a.conv.weight.numel() + net.Mixed_7b.branch3x3_2b.conv.weight.numel()
    assert 1 - square / (384 * 384 * 9) == pytest.approx((9 - 6) / 9)
    three, five = nn.Conv2d(96, 96, 3, bias=False), nn.Conv2d(96, 96, 5, bias=False)
    assert 1 - 2 * three.weight.numel() / five.weight.numel() == pytest.approx(0.28)


def test_every_norm_has_the_small_constant_of_the_release():
    norms = [m for m in whole().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 94
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.1)}


@pytest.mark.parametrize("module", ["Mixed_5b", "Mixed_6b", "Mixed_7b"])
def test_means_count_the_padding(module):
    means = getattr(build(NAME, width=0.1), module).pool(torch.ones(1, 1, 4, 4))[0, 0]
    assert float(means[0, 0]) == pytest.approx(4 / 9)
    assert float(means[0, 1]) == pytest.approx(6 / 9)
    assert float(means[1, 1]) == 1


def test_a_module_equals_its_drawing():
    net = build(NAME, width=0.1).eval()
    block, x = net.Mixed_6b, pictures((net.Mixed_6a.channels, 5, 6))

    def conv(x, name):
        layer = getattr(block, name)
        high, wide = layer.conv.weight.shape[2:]
        y = F.conv2d(x, layer.conv.weight, padding=(high // 2, wide // 2))
        return F.relu(F.batch_norm(y, layer.bn.running_mean, layer.bn.running_var, eps=0.001))

    seven = conv(conv(conv(x, "branch7x7_1"), "branch7x7_2"), "branch7x7_3")
    double = x
    for step in range(1, 6):
        double = conv(double, f"branch7x7dbl_{step}")
    pooled = conv(F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1), "branch_pool")
    expected = torch.cat([conv(x, "branch1x1"), seven, double, pooled], 1)
    torch.testing.assert_close(block(x), expected)


def test_transform_input_takes_imagenets_scale_to_minus_one_to_one():
    plain = build(NAME, (3, 32, 32), width=0.1).eval()
    net = build(NAME, (3, 32, 32), width=0.1, transform_input=True).eval()
    assert list(net.state_dict()) == list(plain.state_dict())
    raw = pictures((3, 32, 32)).abs().clamp(max=1)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(net((raw - mean) / std), plain((raw - 0.5) / 0.5), rtol=1e-4, atol=1e-5)


def test_transform_input_wants_three_channels():
    with pytest.raises(UsageError, match=r"transform_input = true wants 3 channels; 1 came"):
        build(NAME, (1, 32, 32), transform_input=True)


def test_auxiliary_outputs_come_in_training_only():
    net, x = build(NAME, (3, 32, 32), width=0.1, aux=True, dropout=0), pictures((3, 32, 32))
    scores = net.train()(x)
    assert isinstance(scores, Scores)
    assert (scores.main.shape, [one.shape for one in scores.auxiliary]) == ((4, 10), [(4, 10)])
    assert net.auxiliary_weight == 0.4
    assert isinstance(net.eval()(x), torch.Tensor)
    assert isinstance(build(NAME, (3, 32, 32), width=0.1).train()(x), torch.Tensor)


@pytest.mark.parametrize("size", [75, 224, 282, 283, 299])
def test_the_auxiliary_head_fits_every_size(size):
    net, found = weightless(NAME, (3, size, size), width=0.1, aux=True), []
    net.Mixed_6e.register_forward_hook(lambda module, given, maps: found.append(tuple(maps.shape[2:])))
    assert net.train()(torch.zeros(2, 3, size, size, device="meta")).auxiliary[0].shape == (2, 1000)
    assert found == [middle((3, size, size), False)]
    assert isinstance(net.AuxLogits.shrink, nn.AvgPool2d if found[0][0] >= 17 else nn.AdaptiveAvgPool2d)


@pytest.mark.parametrize("size", [1, 28, 33, 74])
def test_maps_of_the_small_stem(size):
    found = shapes(NAME, (3, size, size), ["maxpool1", "maxpool2", "Mixed_6e", "Mixed_7c"], width=0.1)
    sides = [-(-size // step) for step in (2, 4, 8, 16)]
    assert [shape[1] for shape in found.values()] == sides
    assert middle((3, size, size), True) == (sides[2], sides[2])


def test_75_pixels_are_the_least_of_the_full_stem():
    assert weightless(NAME, (3, 75, 75)).Conv2d_1a_3x3.conv.stride == (2, 2)
    assert shapes(NAME, (3, 75, 75), ["Mixed_7c"], stem="full") == {"Mixed_7c": (2048, 1, 1)}
    assert weightless(NAME, (3, 74, 75)).Conv2d_1a_3x3.conv.stride == (1, 1)
    with pytest.raises(UsageError, match="image of 3x90x74 is too small; it takes 75x75 or more"):
        weightless(NAME, (3, 90, 74), stem="full")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (2, 9, 40), (5, 100, 75)])
def test_takes_pictures_of_any_size_and_depth(shape):
    assert build(NAME, shape, 3, width=0.1).eval()(pictures(shape, 2)).shape == (2, 3)


def test_numbers_are_answered():
    net = build(NAME, (3, 32, 32), 1, width=0.1).eval()
    assert net(pictures((3, 32, 32))).shape == (4, 1)


def test_settings_are_remedies():
    net = build(NAME, (3, 32, 32), width=0.5, activation="leaky_relu(slope=0.2)", dropout=0.3)
    assert (net.Mixed_5b.channels, net.Mixed_6a.channels, net.fc.in_features) == (128, 384, 1024)
    assert {m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert not any(isinstance(m, nn.ReLU) for m in net.modules())
    assert net.dropout.p == 0.3
    bare = build(NAME, (3, 32, 32), width=0.1, norm="none")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
    grouped = build(NAME, (3, 32, 32), width=0.1, norm="groupnorm(groups=1)").eval()
    assert sum(isinstance(m, nn.GroupNorm) for m in grouped.modules()) == 94
    assert bool(grouped(pictures((3, 32, 32))).isfinite().all())


def test_one_step_changes_every_weight_and_evaluation_repeats():
    net, x = build(NAME, (1, 32, 32), width=0.1, aux=True), pictures((1, 32, 32), 8)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    scores, target = net.train()(x), torch.arange(8)
    loss = F.cross_entropy(scores.main, target) + 0.4 * F.cross_entropy(scores.auxiliary[0], target)
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.slow
def test_exports():
    net, x = build(NAME, (3, 32, 32), width=0.1, aux=True, transform_input=True).eval(), pictures((3, 32, 32))
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
