"""Residual networks: the counts, shapes and traps of the three papers."""

import pytest
import torch
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.errors import UsageError

FIGURES = {
    "resnet18": (11_689_512, 1_814_073_344, 122),
    "resnet34": (21_797_672, 3_663_761_408, 218),
    "resnet50": (25_557_032, 4_089_184_256, 320),
    "resnet101": (44_549_160, 7_801_405_440, 626),
    "resnet152": (60_192_808, 11_513_626_624, 932),
    "preact_resnet18": (11_687_720, 1_814_073_344, 107),
    "preact_resnet34": (21_795_880, 3_663_761_408, 203),
    "preact_resnet50": (25_549_352, 4_089_184_256, 300),
    "preact_resnet101": (44_541_480, 7_801_405_440, 606),
    "preact_resnet152": (60_185_128, 11_513_626_624, 912),
}
CIFAR = {
    "cifar_resnet20": (269_722, 40_551_040),
    "cifar_resnet32": (464_154, 68_862_592),
    "cifar_resnet44": (658_586, 97_174_144),
    "cifar_resnet56": (853_018, 125_485_696),
    "cifar_resnet110": (1_727_962, 252_887_680),
    "cifar_resnet1202": (19_421_274, 2_829_238_912),
    "cifar_preact_resnet110": (1_727_962, 252_887_680),
    "cifar_preact_resnet164": (1_703_258, 247_646_720),
    "cifar_preact_resnet1001": (10_327_706, 1_490_995_712),
}


@pytest.mark.parametrize("name", FIGURES)
def test_imagenet_forms_have_the_counts_of_the_papers(name):
    found = counted(name, (3, 224, 224))
    assert (found.parameters, found.macs) == FIGURES[name][:2]
    assert len(weightless(name, (3, 224, 224)).state_dict()) == FIGURES[name][2]


def test_200_layers():
    found = counted("resnet200", (3, 224, 224))
    assert (found.parameters, found.macs) == (64_673_832, 15_007_481_856)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_forms_have_the_counts_of_the_papers(name):
    found = counted(name, (3, 32, 32), 10)
    assert (found.parameters, found.macs) == CIFAR[name]


@pytest.mark.parametrize(("depth", "params", "macs"), [(20, 272_474, 40_813_184), (56, 855_770, 125_747_840),
                                                       (110, 1_730_714, 253_149_824)])  # fmt: skip
def test_projections_in_the_cifar_form(depth, params, macs):
    found = counted(f"cifar_resnet{depth}", (3, 32, 32), 10, shortcut="b")
    assert (found.parameters, found.macs) == (params, macs)


@pytest.mark.parametrize(("depth", "macs"), [(50, 3_857_973_248), (101, 7_570_194_432), (152, 11_282_415_616)])
def test_the_original_halves_in_the_first_1x1(depth, macs):
    name = f"resnet{depth}"
    found = counted(name, (3, 224, 224), stride_in="1x1")
    assert found.macs == macs
    assert found.parameters == FIGURES[name][0]


def test_shapes_of_the_stages():
    stages = ["maxpool", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert list(shapes("resnet50", (3, 224, 224), stages).values()) == [
        (64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7), (1000,),
    ]  # fmt: skip
    stages = ["conv1", "layer1", "layer2", "layer3"]
    found = shapes("cifar_resnet20", (3, 32, 32), stages, 10)
    assert list(found.values()) == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(("name", "layers"), [("resnet34", 34), ("resnet50", 50), ("resnet152", 152),
                                              ("cifar_resnet110", 110), ("cifar_preact_resnet164", 164),
                                              ("preact_resnet101", 101)])  # fmt: skip
def test_the_name_counts_the_layers_with_weights(name, layers):
    shape = (3, 32, 32) if name.startswith("cifar") else (3, 224, 224)
    weighty = [label for label, module in weightless(name, shape).named_modules()
               if isinstance(module, (nn.Conv2d, nn.Linear)) and "downsample" not in label]  # fmt: skip
    assert len(weighty) == layers


def test_keys_are_those_of_public_weights():
    keys = list(weightless("resnet50", (3, 224, 224)).state_dict())
    assert keys[:2] == ["conv1.weight", "bn1.weight"]
    assert {"layer1.0.downsample.0.weight", "layer1.0.downsample.1.running_var", "layer3.5.conv3.weight"} <= set(keys)
    assert keys[-2:] == ["fc.weight", "fc.bias"]
    keys = list(weightless("preact_resnet50", (3, 224, 224)).state_dict())
    assert {"stem.conv.weight", "stages.0.blocks.0.norm1.weight", "stages.0.blocks.0.downsample.conv.weight",
            "norm.weight", "head.fc.weight"} <= set(keys)  # fmt: skip


@pytest.mark.parametrize("shortcut", ["a", "b", "c"])
def test_the_three_shortcuts(shortcut):
    net = build("resnet18", width=0.125, shortcut=shortcut)
    projections = [m for label, m in net.named_modules() if label.endswith("downsample.0")]
    assert len(projections) == {"a": 0, "b": 3, "c": 8}[shortcut]
    assert net(pictures((3, 32, 32))).shape == (4, 10)


def test_shortcut_a_takes_every_second_pixel_and_adds_zeros():
    net = build("cifar_resnet20")
    x = pictures((16, 8, 8))
    found = net.layer2[0].downsample(x)
    assert torch.equal(found[:, :16], x[:, :, ::2, ::2])
    assert float(found[:, 16:].abs().max()) == 0
    assert found.shape == (4, 32, 4, 4)


def test_blocks_that_start_silent_are_the_identity():
    net = build("resnet18", width=0.125, zero_init=True).eval()
    x = pictures((8, 8, 8)).relu()
    torch.testing.assert_close(net.layer1(x), x)
    other = build("resnet18", width=0.125).eval()
    assert not torch.allclose(other.layer1(x), x)


@pytest.mark.parametrize("name", ["preact_resnet18", "preact_resnet50"])
def test_pre_activation_blocks_that_start_silent_are_the_identity(name):
    net, other = build(name, width=0.125, zero_init=True).eval(), build(name, width=0.125).eval()
    block, x = net.stages[0].blocks[1], pictures((8 if name.endswith("18") else 32, 8, 8))
    assert torch.equal(block(x), x)
    assert not torch.equal(other.stages[0].blocks[1](x), x)


def test_the_plain_network_has_the_same_weights_and_no_shortcuts():
    plain, residual = build("cifar_resnet20", residual=False), build("cifar_resnet20")
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in residual.parameters())
    block, x = plain.layer1[0].eval(), pictures((16, 8, 8))
    wanted = block.bn2(block.conv2(block.act1(block.bn1(block.conv1(x))))).relu()
    torch.testing.assert_close(block(x), wanted)


def test_a_residual_block_is_its_formula():
    block, x = build("resnet50", width=0.125).layer2[0].eval(), pictures((32, 8, 8))
    y = block.bn1(block.conv1(x)).relu()
    y = block.bn2(block.conv2(y)).relu()
    torch.testing.assert_close(block(x), (block.bn3(block.conv3(y)) + block.downsample(x)).relu())


def test_a_pre_activation_block_is_its_formula():
    net = build("preact_resnet50", width=0.125).eval()
    first, second, x = net.stages[1].blocks[0], net.stages[1].blocks[1], pictures((32, 8, 8))

    def branch(block, active):
        y = block.conv2(block.norm2(block.conv1(active)).relu())
        return block.conv3(block.norm3(y).relu())

    active = first.norm1(x).relu()
    y = branch(first, active) + first.downsample(active)
    torch.testing.assert_close(first(x), y)
    torch.testing.assert_close(second(y), branch(second, second.norm1(y).relu()) + y)


def test_gradients_reach_the_first_layer_of_a_deep_network_only_with_shortcuts():
    """S-120: 56 layers with equal weights, without norm."""

    def first(residual):
        net = build("cifar_resnet56", residual=residual, norm="none", init="small_normal(std=0.05)")
        net(pictures((3, 16, 16))).logsumexp(1).sum().backward()
        return float(net.conv1.weight.grad.norm())

    assert first(True) > 1e3 * first(False)


def test_small_pictures_keep_their_maps():
    assert shapes("resnet18", (3, 32, 32), ["layer1", "layer4"], 10)["layer4"] == (512, 4, 4)
    assert shapes("resnet18", (3, 32, 32), ["layer4"], 10, stem="full")["layer4"] == (512, 1, 1)
    assert shapes("resnet18", (3, 64, 64), ["maxpool"], 10)["maxpool"] == (64, 16, 16)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "preact_resnet18", "preact_resnet50", "cifar_resnet20",
                                  "cifar_preact_resnet164"])  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 9, 17), (3, 65, 64)])
def test_any_size_and_any_channels(name, shape):
    assert shapes(name, shape, [""], 7)[""] == (7,)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "preact_resnet18", "preact_resnet50", "cifar_resnet20"])
def test_settings_are_remedies(name):
    net = build(name, width=0.25, activation="swish", norm="groupnorm(groups=2)", dropout=0.3, init="glorot_uniform")
    kinds = {type(m).__name__ for m in net.modules()}
    assert {"SiLU", "GroupNorm", "Dropout"} <= kinds
    assert not kinds & {"ReLU", "BatchNorm2d"}
    bare = build(name, width=0.25, norm="none")
    assert all(conv.bias is not None for conv in bare.modules() if isinstance(conv, nn.Conv2d))
    assert net(pictures((3, 16, 16))).shape == bare(pictures((3, 16, 16))).shape == (4, 10)


def test_other_data_are_refused():
    from netwright.catalogue import NETWORKS

    with pytest.raises(UsageError, match="takes images"):
        NETWORKS["resnet18"]({"kind": "vector", "features": 3072}, {"kind": "class", "count": 10})
    with pytest.raises(UsageError, match="stride_in"):
        build("resnet50", stride_in="5x5")
