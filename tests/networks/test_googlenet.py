"""GoogLeNet: the printed form and torchvision's, their auxiliary heads, and the traps between them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.blocks import Scores

NAMES = ("googlenet", "googlenet_bn")
FIVE = {"kind": "class", "count": 5}
THOUSAND = {"kind": "class", "count": 1000}
THIN = 0.1
OUTPUTS = {
    "3a": (256, 28), "3b": (480, 28), "4a": (512, 14), "4b": (512, 14), "4c": (512, 14), "4d": (528, 14),
    "4e": (832, 14), "5a": (832, 7), "5b": (1024, 7),
}  # fmt: skip


def image(channels, height, width):
    return {"kind": "image", "channels": channels, "height": height, "width": width}


def weightless(name, shape=(3, 224, 224), outputs=THOUSAND, **given):
    with torch.device("meta"):
        return NETWORKS[name](image(*shape), outputs, **given)


@pytest.mark.parametrize(
    ("name", "params", "params_aux", "macs", "macs_aux"),
    [
        ("googlenet", 6_998_552, 13_378_280, 1_582_671_872, 1_591_044_096),
        ("googlenet_bn", 6_624_904, 13_004_888, 1_498_376_192, 1_506_748_416),
    ],
)
def test_counts_with_and_without_heads(name, params, params_aux, macs, macs_aux):
    found = anatomy(weightless(name), (3, 224, 224))
    assert (found.parameters, found.macs) == (params, macs)
    net = weightless(name, aux=True)
    whole = anatomy(net, (3, 224, 224))
    assert (whole.parameters, whole.macs) == (params_aux, macs)
    heads = anatomy(net.aux1, (512, 14, 14)).macs + anatomy(net.aux2, (528, 14, 14)).macs
    assert macs + heads == macs_aux
    facts = NETWORKS[name].facts
    assert [facts[key] for key in ("params", "params_aux", "macs", "macs_aux")] == [params, params_aux, macs, macs_aux]


def test_the_heads_of_the_paper():
    net = weightless("googlenet", aux=True)
    assert [sum(p.numel() for p in head.parameters()) for head in (net.aux1, net.aux2)] == [3_188_840, 3_190_888]
    assert (net.aux1.pool.kernel_size, net.aux1.pool.stride, net.aux1.fc1.in_features) == (5, 3, 2048)
    assert (net.aux1.dropout.p, net.dropout.p, net.auxiliary_weight) == (0.7, 0.4, 0.3)
    assert weightless("googlenet_bn").dropout.p == 0.2


@pytest.mark.parametrize("name", NAMES)
def test_shapes_of_the_table(name):
    rows = {layer.name: tuple(layer.output) for layer in anatomy(weightless(name), (3, 224, 224)).layers}
    stem = [rows[key] for key in ("conv1.conv", "maxpool1", "conv2.conv", "conv3.conv", "maxpool2")]
    assert stem == [(64, 112, 112), (64, 56, 56), (64, 56, 56), (192, 56, 56), (192, 28, 28)]
    assert [rows[f"maxpool{n}"][1:] for n in (3, 4)] == [(14, 14), (7, 7)]
    net = weightless(name)
    seen = {}
    for key in OUTPUTS:
        module = getattr(net, f"inception{key}")
        module.register_forward_hook(lambda m, given, left, key=key: seen.update({key: tuple(left.shape[1:])}))
    net.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    assert seen == {key: (channels, side, side) for key, (channels, side) in OUTPUTS.items()}


def test_reducing_first_makes_the_wide_branch_ten_times_cheaper():
    rows = {layer.name: layer.macs for layer in anatomy(weightless("googlenet"), (3, 224, 224)).layers}
    assert sum(macs for name, macs in rows.items() if name.startswith("inception3a.branch3")) == 12_443_648
    naive = nn.Conv2d(192, 32, 5, padding=2, device="meta")
    assert anatomy(naive, (192, 28, 28)).macs == 120_422_400


def test_keys_are_torchvisions():
    for name, ends, count in (("googlenet", ("conv.weight", "conv.bias"), 128), ("googlenet_bn", None, 364)):
        keys = list(weightless(name, aux=True).state_dict())
        ends = ends or ("conv.weight", *(f"bn.{end}" for end in nn.BatchNorm2d(1).state_dict()))
        units = [*(f"conv{n}" for n in (1, 2, 3))]
        for module in OUTPUTS:
            branches = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
            units += [f"inception{module}.{branch}" for branch in branches]
        linear = [f"{layer}.{end}" for layer in ("aux1.fc1", "aux1.fc2", "aux2.fc1", "aux2.fc2", "fc")
                  for end in ("weight", "bias")]  # fmt: skip
        units += ["aux1.conv", "aux2.conv"]
        assert set(keys) == {f"{unit}.{end}" for unit in units for end in ends} | set(linear)
        assert len(keys) == count
    assert len(weightless("googlenet_bn").state_dict()) == 344


def test_torchvisions_form_has_3x3_and_2x2_where_the_paper_has_5x5_and_3x3():
    paper, theirs = weightless("googlenet"), weightless("googlenet_bn")
    wide = [net.inception4b.branch3[1].conv.kernel_size for net in (paper, theirs)]
    assert wide == [(5, 5), (3, 3)]
    assert [[getattr(net, f"maxpool{n}").kernel_size for n in (1, 2, 3, 4)] for net in (paper, theirs)] == [
        [3, 3, 3, 3],
        [3, 3, 3, 2],
    ]
    for net in (paper, theirs):
        assert all(pool.ceil_mode for pool in net.modules() if isinstance(pool, nn.MaxPool2d))
    assert {norm.eps for norm in theirs.modules() if isinstance(norm, nn.BatchNorm2d)} == {1e-3}
    assert not any(isinstance(norm, nn.BatchNorm2d) for norm in paper.modules())
    assert all(conv.bias is not None for conv in paper.modules() if isinstance(conv, nn.Conv2d))
    assert all(conv.bias is None for conv in theirs.modules() if isinstance(conv, nn.Conv2d))


def test_local_response_norm_is_the_papers_and_can_go():
    layers = [layer for layer in weightless("googlenet").modules() if isinstance(layer, nn.LocalResponseNorm)]
    assert [(layer.size, layer.k, layer.beta) for layer in layers] == [(5, 2, 0.75)] * 2
    assert [layer.alpha for layer in layers] == pytest.approx([5e-4, 5e-4])  # torch divides it by the size
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in weightless("googlenet", lrn=False).modules())


def test_a_module_is_four_branches_side_by_side():
    torch.manual_seed(0)
    module = NETWORKS["googlenet"](image(3, 32, 32), FIVE, width=THIN, init="torch").inception3a
    x = torch.randn(2, 19, 9, 9)

    def conv(x, unit, **given):
        return F.relu(F.conv2d(x, unit.conv.weight, unit.conv.bias, **given))

    expected = torch.cat(
        [
            conv(x, module.branch1),
            conv(conv(x, module.branch2[0]), module.branch2[1], padding=1),
            conv(conv(x, module.branch3[0]), module.branch3[1], padding=2),
            conv(F.max_pool2d(x, 3, 1, 1), module.branch4[1]),
        ],
        1,
    )
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 224, 200)])
def test_heads_speak_while_it_trains_only(name, shape):
    torch.manual_seed(0)
    net = NETWORKS[name](image(*shape), FIVE, width=0.05, aux=True, dropout=0.0, aux_dropout=0.0)
    x = torch.randn(2, *shape)
    found = net.train()(x)
    assert isinstance(found, Scores)
    assert [tuple(scores.shape) for scores in (found.main, *found.auxiliary)] == [(2, 5)] * 3
    again = net(x)
    assert torch.equal(found.main, again.main)
    assert torch.equal(found.auxiliary[1], again.auxiliary[1])
    assert not torch.allclose(found.auxiliary[0], found.auxiliary[1])
    assert net.eval()(x).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_every_weight_of_the_heads_too(name):
    torch.manual_seed(0)
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=0.25, aux=True).train()
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    found, target = net(torch.randn(8, 3, 32, 32)), torch.arange(8) % 5
    losses = [F.cross_entropy(scores, target) for scores in (found.main, *found.auxiliary)]
    (losses[0] + net.auxiliary_weight * (losses[1] + losses[2])).backward()
    optimizer.step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize(
    ("name", "stem", "least"),
    [("googlenet", "full", 31), ("googlenet", "small", 8), ("googlenet_bn", "full", 15), ("googlenet_bn", "small", 4)],
)
def test_the_smallest_picture(name, stem, least):
    net = NETWORKS[name](image(1, least, least + 9), FIVE, width=0.05, stem=stem).eval()
    assert net(torch.randn(1, 1, least, least + 9)).shape == (1, 5)
    with pytest.raises(UsageError, match=rf"1x{least - 1}x99 is too small; it takes {least}x{least} or more"):
        NETWORKS[name](image(1, least - 1, 99), FIVE, stem=stem)
    with pytest.raises(RuntimeError):  # the arithmetic itself ends there
        net(torch.randn(1, 1, least - 1, 99))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("side", "leaves"), [(32, [16, 8, 4]), (28, [14, 7, 4]), (8, [4, 2, 1])])
def test_small_pictures_get_the_small_stem(name, side, leaves):
    net = NETWORKS[name](image(1, side, side), {"kind": "number", "count": 1}, width=THIN).eval()
    rows = anatomy(net, (1, side, side)).layers
    sides = [layer.output[1] for layer in rows if layer.name in ("maxpool1", "maxpool2", "maxpool3", "maxpool4")]
    assert sides[:2] == leaves[:2]
    assert sides[2] in (leaves[2], leaves[2] - 1)  # 3x3/2 and 2x2/2 round up alike on even maps only
    assert (net.conv1.conv.kernel_size, net.conv1.conv.stride) == ((3, 3), (1, 1))
    assert net(torch.randn(3, 1, side, side)).shape == (3, 1)


def test_heads_of_the_paper_refuse_maps_below_their_window():
    least = 113  # gives 57, 28, 14, 7: the heads read 7x7; 65 gives 33, 16, 8, 4
    assert weightless("googlenet", (3, least, least), aux=True).aux1.fc1.in_features == 128
    text = "aux = true reads windows of 5x5, but its maps are 4x4 there; give larger pictures, or aux = false"
    with pytest.raises(UsageError, match=text):
        NETWORKS["googlenet"](image(3, 65, 65), FIVE, aux=True)
    assert weightless("googlenet_bn", (3, 65, 65), aux=True).aux1.fc1.in_features == 2048


@pytest.mark.parametrize(("shape", "stem"), [((3, 97, 130), "full"), ((3, 71, 83), "small"), ((1, 28, 33), "auto")])
def test_heads_fit_the_maps_they_read(shape, stem):
    net = NETWORKS["googlenet"](image(*shape), FIVE, width=0.05, aux=True, stem=stem).train()
    assert net(torch.randn(2, *shape)).auxiliary[1].shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["none", "batchnorm", "groupnorm(groups=1)", "layernorm"])
def test_any_norm_fits(name, norm):
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=0.05, norm=norm, activation="swish", aux=True).train()
    assert net(torch.randn(2, 3, 32, 32)).main.shape == (2, 5)
    assert (net.conv1.conv.bias is None) == (norm != "none")
    assert sum(isinstance(layer, nn.SiLU) for layer in net.modules()) == 3 + 9 * 6 + 2 * 2


def test_input_normalised_for_imagenet_can_be_mapped_to_plus_minus_one():
    torch.manual_seed(0)
    net = NETWORKS["googlenet_bn"](image(3, 32, 32), FIVE, width=0.05, transform_input=True).eval()
    plain = NETWORKS["googlenet_bn"](image(3, 32, 32), FIVE, width=0.05).eval()
    plain.load_state_dict(net.state_dict())
    picture = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(net((picture - mean) / std), plain((picture - 0.5) / 0.5), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="transform_input = true wants 3 channels; 1 came"):
        NETWORKS["googlenet_bn"](image(1, 32, 32), FIVE, transform_input=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exports(name):
    net = NETWORKS[name](image(3, 64, 64), FIVE, width=0.05).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
