"""AlexNet: the counts and shapes of 2012 and of one tower, where dropout and norms stand, other sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.fully_convolutional import to_fully_convolutional

NAMES = ("alexnet", "alexnet_footnote", "alexnet_2012")
THOUSAND = {"kind": "class", "count": 1000}
FIVE = {"kind": "class", "count": 5}
THIN = 0.05


def image(channels, height, width):
    return {"kind": "image", "channels": channels, "height": height, "width": width}


def weightless(name, shape, outputs=THOUSAND, **given):
    with torch.device("meta"):
        return NETWORKS[name](image(*shape), outputs, **given)


def outputs_of(net, shape):
    return {layer.name: tuple(layer.output) for layer in anatomy(net, shape).layers if layer.output}


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_the_papers(name):
    facts = NETWORKS[name].facts
    net = weightless(name, facts["at"])
    found = anatomy(net, facts["at"])
    assert (found.parameters, found.macs) == (facts["params"], facts["macs"])
    assert len(net.state_dict()) == 16


def test_the_figures_are_those_of_the_sheet():
    figures = {name: (NETWORKS[name].facts["params"], NETWORKS[name].facts["macs"]) for name in NAMES}
    assert figures == {
        "alexnet": (61_100_840, 714_188_480),
        "alexnet_footnote": (61_838_248, 838_788_800),
        "alexnet_2012": (60_965_224, 724_406_816),
    }


def test_layers_of_2012():
    net = weightless("alexnet_2012", (3, 227, 227))
    layers = {layer.name: layer for layer in anatomy(net, (3, 227, 227)).layers}
    params = [layers[name].parameters for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")]
    assert params == [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    macs = [layers[f"conv{n}"].macs for n in range(1, 6)]
    assert macs == [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192]
    sizes = {"conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27), "pool2": (256, 13, 13),
             "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6)}  # fmt: skip
    assert {name: tuple(layers[name].output) for name in sizes} == sizes
    assert layers["conv1"].neurons == 290_400


def test_at_224_two_pixels_of_padding_give_the_same_maps_and_weights():
    net, printed = weightless("alexnet_2012", (3, 224, 224)), weightless("alexnet_2012", (3, 227, 227))
    assert (net.conv1.padding, printed.conv1.padding) == ((2, 2), (0, 0))
    assert outputs_of(net, (3, 224, 224)) == outputs_of(printed, (3, 227, 227))
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in printed.state_dict().items()}


def test_shapes_of_one_tower():
    sizes = outputs_of(weightless("alexnet", (3, 224, 224)), (3, 224, 224))
    convolutions = [sizes[f"features.{place}"] for place in (0, 3, 6, 8, 10)]
    assert convolutions == [(64, 55, 55), (192, 27, 27), (384, 13, 13), (256, 13, 13), (256, 13, 13)]
    assert [sizes[f"features.{place}"] for place in (2, 5, 12)] == [(64, 27, 27), (192, 13, 13), (256, 6, 6)]
    net = weightless("alexnet_footnote", (3, 224, 224))
    widths = [layer.out_channels for layer in net.features if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 192, 384, 384, 256]


def test_keys_are_torchvisions():
    rows = [("features", (0, 3, 6, 8, 10)), ("classifier", (1, 4, 6))]
    keys = [f"{part}.{n}.{end}" for part, places in rows for n in places for end in ("weight", "bias")]
    assert list(weightless("alexnet", (3, 224, 224)).state_dict()) == keys


def test_dropout_stands_before_the_linear_layers_in_one_tower_and_behind_them_in_2012():
    kinds = [type(layer).__name__ for layer in weightless("alexnet", (3, 224, 224)).classifier]
    assert kinds == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    torch.manual_seed(0)
    net = NETWORKS["alexnet_2012"](image(1, 8, 8), FIVE, width=THIN).train()
    seen = []
    for layer in (net.fc6, net.fc7):
        layer.register_forward_hook(lambda module, given, left: seen.append(given[0]))
    x = torch.rand(50, 1, 8, 8)
    net(x)
    into6, into7 = ((given == 0).float().mean().item() for given in seen)
    eager = net.pool5.register_forward_hook(lambda module, given, left: seen.append(left))
    net.eval()(x)
    eager.remove()
    assert into6 == pytest.approx((seen[2] == 0).float().mean().item(), abs=0.02)  # what entered fc6 was not dropped
    assert into7 == pytest.approx(0.75, abs=0.08)  # ReLU stops half, dropout half of the rest


@pytest.mark.parametrize("place", ["lrn1", "lrn2"])
def test_local_response_norm_is_the_papers(place):
    net = NETWORKS["alexnet_2012"](image(3, 15, 15), FIVE, width=0.1)
    layer = getattr(net, place)
    x = torch.rand(2, 12, 3, 3) * 30
    expected = torch.empty_like(x)
    for c in range(12):
        around = x[:, max(0, c - 2) : c + 3].square().sum(1)
        expected[:, c] = x[:, c] / (2 + 1e-4 * around) ** 0.75
    torch.testing.assert_close(layer(x), expected)
    assert (layer.alpha, layer.size) == (pytest.approx(5e-4), 5)  # torch divides alpha by the size


def test_the_2012_network_step_by_step():
    torch.manual_seed(0)
    net = NETWORKS["alexnet_2012"](image(3, 67, 70), FIVE, width=THIN, init="torch").eval()

    def conv(x, layer, groups=1, **given):
        parts = zip(x.chunk(groups, 1), layer.weight.chunk(groups), layer.bias.chunk(groups), strict=True)
        return F.relu(torch.cat([F.conv2d(one, weight, bias, **given) for one, weight, bias in parts], 1))

    def lrn(x):
        return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2)

    x = torch.randn(2, 3, 67, 70)
    y = F.max_pool2d(lrn(conv(x, net.conv1, stride=4, padding=2)), 3, 2)
    y = F.max_pool2d(lrn(conv(y, net.conv2, 2, padding=2)), 3, 2)
    y = conv(conv(y, net.conv3, padding=1), net.conv4, 2, padding=1)
    y = F.max_pool2d(conv(y, net.conv5, 2, padding=1), 3, 2)
    y = F.adaptive_avg_pool2d(y, 6).flatten(1)
    expected = net.fc8(F.relu(net.fc7(F.relu(net.fc6(y)))))
    torch.testing.assert_close(net(x), expected)


def test_settings_of_2012():
    net = weightless("alexnet_2012", (3, 224, 224), lrn=False, norm="batchnorm", activation="elu", width=0.33)
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in net.modules())
    assert [net.conv1.out_channels, net.conv2.out_channels, net.conv4.out_channels] == [32, 84, 126]
    assert all(isinstance(getattr(net, f"norm{n}"), nn.BatchNorm2d) for n in range(1, 6))
    assert net.conv1.bias is None
    assert sum(isinstance(layer, nn.ELU) for layer in net.modules()) == 7
    narrow = weightless("alexnet_2012", (3, 224, 224), width=0.01)
    assert (narrow.conv1.out_channels, narrow.conv2.groups) == (2, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", ["none", "batchnorm", "groupnorm(groups=1)", "layernorm", "lrn"])
def test_any_norm_fits(name, norm):
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=THIN, norm=norm).train()
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_full_picture_has_63_pixels(name):
    net = NETWORKS[name](image(1, 63, 70), FIVE, width=THIN, stem="full").eval()
    assert net(torch.randn(1, 1, 63, 70)).shape == (1, 5)
    with pytest.raises(UsageError, match=rf"'{name}'.*1x62x70 is too small; it takes 63x63 or more"):
        NETWORKS[name](image(1, 62, 70), FIVE, width=THIN, stem="full")
    with pytest.raises(RuntimeError):  # the arithmetic itself ends there
        net(torch.randn(1, 1, 62, 70))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 1, 1), (1, 7, 40), (4, 63, 63)])
def test_small_pictures_get_the_small_stem(name, shape):
    net = NETWORKS[name](image(*shape), {"kind": "number", "count": 2}, width=THIN).eval()
    assert net(torch.randn(2, *shape)).shape == (2, 2)
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert (first.kernel_size, first.stride) == ((5, 5), (1, 1))


def test_the_small_stem_keeps_what_three_halvings_leave():
    sizes = outputs_of(weightless("alexnet", (3, 32, 32), FIVE), (3, 32, 32))
    assert [sizes[f"features.{place}"][1:] for place in (2, 5, 12)] == [(16, 16), (8, 8), (4, 4)]
    assert [sizes[name] for name in ("avgpool", "classifier.1", "classifier.6")] == [(256, 4, 4), (1024,), (5,)]
    assert weightless("alexnet", (3, 64, 64)).classifier[1].in_features == 9216
    assert weightless("alexnet", (3, 224, 224), stem="small").classifier[1].in_features == 256 * 4 * 4


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_every_weight_and_use_repeats(name):
    torch.manual_seed(0)
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=THIN).train()
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(torch.randn(8, 3, 32, 32)), torch.arange(8) % 5).backward()
    optimizer.step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    still = NETWORKS[name](image(3, 32, 32), FIVE, width=THIN, dropout=0.0).train()
    assert torch.equal(still(x), still(x))


@pytest.mark.parametrize("name", NAMES)
def test_linear_layers_are_convolutions_on_their_maps(name):
    torch.manual_seed(0)
    shape = NETWORKS[name].facts["at"]
    net = NETWORKS[name](image(*shape), FIVE, width=THIN).eval()
    x = torch.randn(1, 3, shape[1], shape[2] + 64)
    sliding = to_fully_convolutional(net, shape)
    assert sliding(x).shape == (1, 5, 1, 3)
    whole = x[..., : shape[2]]
    torch.testing.assert_close(sliding(whole)[:, :, 0, 0], net(whole), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exports(name):
    net = NETWORKS[name](image(3, 63, 63), FIVE, width=THIN, stem="full").eval()
    x = torch.randn(2, 3, 63, 63)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
