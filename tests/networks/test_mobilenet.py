"""MobileNets: the counts of all widths, the tables of the papers, and their traps."""

import pytest
import torch
from paper import build, counted, pictures, shapes, weightless
from torch import nn

V1 = {1.0: (4_231_976, 568_740_352), 0.75: (2_585_560, 325_400_448), 0.5: (1_331_592, 149_497_088),
      0.25: (470_072, 41_030_272)}  # fmt: skip
V2 = {1.0: (3_504_872, 300_774_272), 0.5: (1_968_680, 97_131_840), 0.75: (2_636_424, 209_069_792),
      1.4: (6_108_776, 582_195_824)}  # fmt: skip
CASES = [("mobilenet_v1", width, found) for width, found in V1.items()]
CASES += [("mobilenet_v2", width, found) for width, found in V2.items()]
CASES += [("mobilenet_v3_large", 1.0, (5_483_032, 216_589_760)), ("mobilenet_v3_small", 1.0, (2_542_856, 56_510_400))]
NAMES = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]


@pytest.mark.parametrize(("name", "width", "wanted"), CASES)
def test_counts_of_the_papers(name, width, wanted):
    found = counted(name, (3, 224, 224), width=width)
    assert (found.parameters, found.macs) == wanted


@pytest.mark.parametrize(("size", "millions"), [(192, 418), (160, 291), (128, 186)])
def test_smaller_pictures_cost_what_the_authors_list(size, millions):
    assert round(counted("mobilenet_v1", (3, size, size)).macs / 1e6) == millions


@pytest.mark.parametrize(("name", "keys"), list(zip(NAMES, (164, 314, 312, 244), strict=True)))
def test_state_dicts_have_the_public_layout(name, keys):
    found = weightless(name, (3, 224, 224)).state_dict()
    assert len(found) == keys
    wanted = {
        "mobilenet_v1": ("conv_stem.weight", "blocks.3.5.conv_pw.weight", "classifier.bias"),
        "mobilenet_v2": ("features.0.0.weight", "features.1.conv.0.0.weight", "features.17.conv.3.bias"),
        "mobilenet_v3_large": ("features.4.block.2.fc1.weight", "features.16.0.weight", "classifier.3.bias"),
        "mobilenet_v3_small": ("features.1.block.1.fc1.bias", "features.12.1.weight", "classifier.0.weight"),
    }  # fmt: skip
    assert set(wanted[name]) <= set(found)


def test_shapes_of_version_1():
    rows = [f"blocks.{stage}" for stage in range(5)]
    found = list(shapes("mobilenet_v1", (3, 224, 224), rows).values())
    assert found == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7)]
    weighty = [m for m in weightless("mobilenet_v1", (3, 224, 224)).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighty) == 28


def test_the_last_depthwise_window_of_version_1_keeps_the_size():
    assert weightless("mobilenet_v1", (3, 224, 224)).blocks[4][1].conv_dw.stride == (1, 1)


def test_a_separable_block_costs_the_share_the_paper_states():
    net = counted("mobilenet_v1", (3, 224, 224))
    rows = {layer.name: layer.macs for layer in net.layers}
    full = 112 * 112 * 64 * 32 * 9
    assert (rows["blocks.0.0.conv_dw"] + rows["blocks.0.0.conv_pw"]) / full == pytest.approx(1 / 64 + 1 / 9)


def test_version_2_adds_where_shapes_agree_and_projects_linearly():
    net = build("mobilenet_v2").eval()
    adds = [place for place, block in enumerate(net.features[1:-1], 1) if block.adds]
    assert adds == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    block, x = net.features[3], pictures((24, 6, 6))
    assert isinstance(block.conv[-1], nn.BatchNorm2d)
    torch.testing.assert_close(block(x), x + block.conv(x))


@pytest.mark.parametrize(("width", "last"), [(0.5, 1280), (1.0, 1280), (1.4, 1792)])
def test_the_last_layer_of_version_2_only_grows(width, last):
    assert weightless("mobilenet_v2", (3, 224, 224), width=width).classifier[1].in_features == last


@pytest.mark.parametrize(("width", "channels"), [(1.0, 32), (0.75, 24), (0.35, 16), (0.1, 8)])
def test_channels_are_multiples_of_8_and_at_most_10_percent_down(width, channels):
    assert weightless("mobilenet_v2", (3, 224, 224), width=width).features[0][0].out_channels == channels


def test_version_3_uses_the_activations_of_its_table():
    net = weightless("mobilenet_v3_large", (3, 224, 224))
    kinds = [type(block.block[0][2]).__name__ for block in net.features[1:-1]]
    assert kinds == ["ReLU"] * 6 + ["Hardswish"] * 9
    squeezed = [any(type(m).__name__ == "SqueezeExcite" for m in block.block) for block in net.features[1:-1]]
    assert squeezed == [False] * 3 + [True] * 3 + [False] * 4 + [True] * 5
    assert len(net.features[1].block) == 2  # no expansion
    assert net.features[0][1].eps == 1e-3
    assert net.features[0][1].momentum == 0.01


def test_squeeze_and_excitation_is_its_formula():
    block = build("mobilenet_v3_small").features[1].block[1]
    x = pictures((16, 5, 5))
    hidden = torch.relu(block.fc1(x.mean((2, 3), keepdim=True)))
    torch.testing.assert_close(block(x), x * ((block.fc2(hidden) + 3).clamp(0, 6) / 6))


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_remedies(name):
    net = build(name, width=0.25, activation="elu", norm="layernorm", dropout=0.1, init="orthogonal")
    kinds = {type(m).__name__ for m in net.modules()}
    assert {"ELU", "GroupNorm", "Dropout"} <= kinds
    assert not kinds & {"ReLU6", "Hardswish", "BatchNorm2d"}
    bare = build(name, width=0.25, norm="none")
    assert all(conv.bias is not None for conv in bare.modules() if isinstance(conv, nn.Conv2d))
    assert bare(pictures((3, 16, 16))).shape == (4, 10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 33, 10), (3, 64, 200)])
def test_any_size_and_any_channels(name, shape):
    assert shapes(name, shape, [""], 7)[""] == (7,)


@pytest.mark.parametrize("name", NAMES)
def test_small_pictures_keep_their_maps(name):
    with torch.device("meta"):
        net = build(name, (3, 32, 32))
    seen = []
    net.pool.register_forward_hook(lambda module, given, returned: seen.append(given[0].shape[2:]))
    net.eval()(torch.zeros(1, 3, 32, 32, device="meta"))
    assert seen == [(4, 4)]
