"""NASNet-A: the counts of the three forms, their shapes, and the traps of their ports."""

import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.errors import UsageError
from netwright.networks.blocks import SameConv2d, SamePool, Scores

FIGURES = {
    "nasnet_mobile": ((3, 224, 224), 1000, 5_289_978, 7_701_218, 563_638_816),
    "nasnet_large": ((3, 331, 331), 1000, 88_753_150, 93_320_934, 23_783_414_658),
    "nasnet_cifar": ((3, 32, 32), 10, 3_346_538, 4_978_036, 544_333_312),
}
THIN = {"width": 0.1}


@pytest.mark.parametrize("name", FIGURES)
def test_counts_of_the_paper(name):
    shape, classes, params, with_head, macs = FIGURES[name]
    found = counted(name, shape, classes)
    assert (found.parameters, found.macs) == (params, macs)
    assert sum(p.numel() for p in weightless(name, shape, classes, aux=True).parameters()) == with_head


def test_maps_of_the_large_form():
    cells = ["conv0", "cell_stem_0", "cell_stem_1", "cell_0", "cell_5"]
    cells += ["reduction_cell_0", "cell_6", "reduction_cell_1", "cell_17"]
    assert list(shapes("nasnet_large", (3, 331, 331), cells).values()) == [
        (96, 165, 165), (168, 83, 83), (336, 42, 42), (1008, 42, 42), (1008, 42, 42), (1344, 21, 21), (2016, 21, 21),
        (2688, 11, 11), (4032, 11, 11),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "width"), [("nasnet_mobile", 1056), ("nasnet_large", 4032), ("nasnet_cifar", 768)])
def test_the_last_layer_reads_24_times_the_filters(name, width):
    shape, classes = FIGURES[name][:2]
    assert weightless(name, shape, classes).last_linear.in_features == width


def test_keys_are_those_of_public_weights():
    large = weightless("nasnet_large", (3, 331, 331)).state_dict()
    assert len(large) == 1810
    assert {
        "conv0.bn.weight",
        "cell_stem_0.comb_iter_0_right.separable_1.depthwise_conv2d.weight",
        "cell_0.path_2.conv.weight",
        "cell_0.final_path_bn.running_var",
        "cell_7.conv_prev_1x1.conv.weight",
        "reduction_cell_1.comb_iter_4_left.bn_sep_2.bias",
        "last_linear.weight",
    } <= set(large)
    assert len(weightless("nasnet_mobile", (3, 224, 224)).state_dict()) == 1318


@pytest.mark.parametrize(("name", "reads"), [("nasnet_large", "cell_4"), ("nasnet_mobile", "cell_3")])
def test_what_the_cell_behind_a_reduction_reads(name, reads):
    """Of cells 0 to 5 (0 to 3 in the mobile form) the large form goes back to the last but one."""
    shape = FIGURES[name][0]
    net = weightless(name, shape).eval()
    after = "cell_6" if name == "nasnet_large" else "cell_4"
    out, seen = {}, []
    for label in ("cell_3", "cell_4", "cell_5"):
        net.get_submodule(label).register_forward_hook(
            lambda m, given, made, label=label: out.update({id(made): label})
        )
    net.get_submodule(after).register_forward_pre_hook(lambda m, given: seen.append(out.get(id(given[1]))))
    kept = []  # a map that is freed could lend its identity to another
    for module in net.children():
        module.register_forward_hook(lambda m, given, made: kept.append(made))
    net(torch.zeros(1, *shape, device="meta"))
    assert seen == [reads]


def test_a_normal_cell_is_its_formula():
    net = build("nasnet_cifar", **THIN).eval()
    cell = net.cell_1
    now, before = (
        pictures((cell.conv_1x1.conv.in_channels, 6, 6)),
        pictures((cell.conv_prev_1x1.conv.in_channels, 6, 6)),
    )
    h0, h1 = cell.conv_1x1(now), cell.conv_prev_1x1(before)

    def mean(x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    b0 = cell.comb_iter_0_left(h0) + cell.comb_iter_0_right(h1)
    b1 = cell.comb_iter_1_left(h1) + cell.comb_iter_1_right(h1)
    wanted = torch.cat([h1, b0, b1, mean(h0) + h1, 2 * mean(h1), cell.comb_iter_4_left(h0) + h0], 1)
    torch.testing.assert_close(cell(now, before), wanted)


def test_a_reduction_cell_is_its_formula():
    net = build("nasnet_cifar", **THIN).eval()
    cell = net.reduction_cell_0
    now, before = (
        pictures((cell.conv_1x1.conv.in_channels, 6, 6)),
        pictures((cell.conv_prev_1x1.conv.in_channels, 6, 6)),
    )
    h0, h1 = cell.conv_1x1(now), cell.conv_prev_1x1(before)
    largest = F.max_pool2d(F.pad(h0, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    mean = F.avg_pool2d(F.pad(h0, (0, 1, 0, 1)), 3, 2) / F.avg_pool2d(F.pad(torch.ones_like(h0), (0, 1, 0, 1)), 3, 2)
    b0 = cell.comb_iter_0_left(h0) + cell.comb_iter_0_right(h1)
    b1, b2 = largest + cell.comb_iter_1_right(h1), mean + cell.comb_iter_2_right(h1)
    b3 = b1 + F.avg_pool2d(b0, 3, 1, 1, count_include_pad=False)
    wanted = torch.cat([b1, b2, b3, cell.comb_iter_4_left(b0) + largest], 1)
    torch.testing.assert_close(cell(now, before), wanted)


@pytest.mark.parametrize("size", [5, 6])
def test_same_windows_put_the_odd_pixel_last(size):
    conv = SameConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.arange(1.0, size * size + 1).reshape(1, 1, size, size)
    border = (1, 1, 1, 1) if size % 2 else (0, 1, 0, 1)
    torch.testing.assert_close(conv(x), F.conv2d(F.pad(x, border), conv.weight, stride=2))
    padded = F.avg_pool2d(F.pad(x, border), 3, 2)
    real = F.avg_pool2d(F.pad(torch.ones_like(x), border), 3, 2)
    torch.testing.assert_close(SamePool("avg", 3, 2)(x), padded / real)
    torch.testing.assert_close(SamePool("avg", 3, 2, count_pad=True)(x), padded)
    torch.testing.assert_close(SamePool("max", 3, 2)(-x), F.max_pool2d(F.pad(-x, border, value=-torch.inf), 3, 2))


def test_the_auxiliary_head_answers_while_training_only():
    net = build("nasnet_cifar", aux=True, **THIN)
    found = net(pictures((3, 32, 32)))
    assert isinstance(found, Scores)
    assert found.main.shape == found.auxiliary[0].shape == (4, 10)
    assert net.auxiliary_weight == 0.4
    assert net.eval()(pictures((3, 32, 32))).shape == (4, 10)


def test_an_auxiliary_head_on_maps_too_small_is_refused():
    with pytest.raises(UsageError, match="maps of 4x4 reach it"):
        build("nasnet_cifar", (3, 8, 8), aux=True)
    assert build("nasnet_cifar", (3, 9, 9), aux=True, **THIN)(pictures((3, 9, 9))).main.shape == (4, 10)


def test_drop_path_grows_with_depth_and_rests_in_use():
    net = build("nasnet_cifar", drop_path=0.4, **THIN)
    shares = [net.get_submodule(name).drop.p for name in net.order]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.4)
    x = pictures((3, 16, 16))
    assert torch.equal(net.eval()(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize("name", ["nasnet_mobile", "nasnet_large", "nasnet_cifar"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 17, 33), (3, 97, 99)])
def test_any_size_and_any_channels(name, shape):
    assert shapes(name, shape, [""], 7, width=0.25)[""] == (7,)


def test_the_full_stem_wants_3_pixels():
    with pytest.raises(UsageError, match="takes 3x3 or more"):
        build("nasnet_mobile", (3, 2, 2), stem="full")
    assert shapes("nasnet_mobile", (3, 3, 3), [""], 7, stem="full", width=0.25)[""] == (7,)


def test_settings_are_remedies():
    net = build("nasnet_mobile", width=0.1, activation="gelu", norm="groupnorm(groups=2)", dropout=0.2)
    kinds = {type(m).__name__ for m in net.modules()}
    assert {"GELU", "GroupNorm", "Dropout"} <= kinds
    assert not kinds & {"ReLU", "BatchNorm2d"}
    assert build("nasnet_mobile", width=0.1, norm="none")(pictures((3, 16, 16))).shape == (4, 10)
