"""VGG: the columns of the table, counts, keys, the thin end for small pictures."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.fully_convolutional import to_fully_convolutional

FIVE = {"kind": "class", "count": 5}
THOUSAND = {"kind": "class", "count": 1000}
THIN = 0.05
FIGURES = {
    "vgg11": (132_863_336, 7_609_090_048, 22), "vgg11_lrn": (132_863_336, 7_609_090_048, 22),
    "vgg13": (133_047_848, 11_308_466_176, 26), "vgg16": (138_357_544, 15_470_264_320, 32),
    "vgg16_c": (133_638_952, 11_770_888_192, 32), "vgg19": (143_667_240, 19_632_062_464, 38),
    "vgg11_bn": (132_868_840, 7_609_090_048, 62), "vgg13_bn": (133_053_736, 11_308_466_176, 76),
    "vgg16_bn": (138_365_992, 15_470_264_320, 97), "vgg19_bn": (143_678_248, 19_632_062_464, 118),
}  # fmt: skip
"""Parameters, multiply-adds, tensors in the state dict."""


def image(channels, height, width):
    return {"kind": "image", "channels": channels, "height": height, "width": width}


def weightless(name, shape=(3, 224, 224), outputs=THOUSAND, **given):
    with torch.device("meta"):
        return NETWORKS[name](image(*shape), outputs, **given)


@pytest.mark.parametrize("name", FIGURES)
def test_counts_of_the_paper(name):
    net = weightless(name)
    found = anatomy(net, (3, 224, 224))
    assert (found.parameters, found.macs, len(net.state_dict())) == FIGURES[name]
    assert FIGURES[name][:2] == tuple(NETWORKS[name].facts[key] for key in ("params", "macs"))
    poolings = [tuple(layer.output) for layer in found.layers if layer.kind == "maxpool"]
    assert poolings == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
    assert [layer.output for layer in found.layers if layer.kind == "linear"] == [[4096], [4096], [1000]]


@pytest.mark.parametrize("name", FIGURES)
def test_layers_have_the_number_in_the_name(name):
    weighty = [layer for layer in weightless(name).modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(weighty) == int(name[3:5])
    assert all(layer.bias is not None for layer in weighty)  # also before batch norm, as published


def test_keys_are_torchvisions():
    plain = [f"features.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    linear = [f"classifier.{n}" for n in (0, 3, 6)]
    keys = [f"{name}.{end}" for name in plain + linear for end in ("weight", "bias")]
    assert list(weightless("vgg16").state_dict()) == keys
    normed = {key.rpartition(".")[0] for key in weightless("vgg11_bn").state_dict() if key.endswith("running_var")}
    assert normed == {f"features.{n}" for n in (1, 5, 9, 12, 16, 19, 23, 26)}


def test_column_c_has_unpadded_1x1_convolutions_at_the_ends():
    layers = [layer for layer in weightless("vgg16_c").features if isinstance(layer, nn.Conv2d)]
    kernels = [layer.kernel_size[0] for layer in layers]
    assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]
    assert [layer.padding[0] for layer in layers] == [1 if kernel == 3 else 0 for kernel in kernels]


def test_local_response_norm_stands_behind_the_first_activation_alone():
    features = weightless("vgg11_lrn").features
    kinds = [type(layer).__name__ for layer in features[:4]]
    assert kinds == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert sum(isinstance(layer, nn.LocalResponseNorm) for layer in features) == 1
    assert (features[2].alpha, features[2].k, features[2].size) == (pytest.approx(5e-4), 2, 5)


def test_vgg11_step_by_step():
    torch.manual_seed(0)
    net = NETWORKS["vgg11"](image(3, 40, 64), FIVE, width=THIN, init="torch", stem="full").eval()
    x = y = torch.randn(2, 3, 40, 64)
    for places in ((0,), (3,), (6, 8), (11, 13), (16, 18)):
        for place in places:
            y = F.relu(F.conv2d(y, net.features[place].weight, net.features[place].bias, padding=1))
        y = F.max_pool2d(y, 2)
    y = F.adaptive_avg_pool2d(y, 7).flatten(1)
    expected = net.classifier[6](F.relu(net.classifier[3](F.relu(net.classifier[0](y)))))
    torch.testing.assert_close(net(x), expected)


def test_linear_layers_are_convolutions_on_their_maps():
    # the same weights as 7x7 and 1x1 convolutions give the same scores, and a row of them on a wider picture
    torch.manual_seed(0)
    net = NETWORKS["vgg16"](image(1, 224, 224), FIVE, width=0.02, stem="full").eval()
    first, second, third = (net.classifier[place] for place in (0, 3, 6))

    def dense(x):
        y = F.conv2d(net.features(x), first.weight.view(-1, 10, 7, 7), first.bias)
        y = F.conv2d(F.relu(y), second.weight[:, :, None, None], second.bias)
        return F.conv2d(F.relu(y), third.weight[:, :, None, None], third.bias)

    x = torch.randn(1, 1, 224, 288)
    torch.testing.assert_close(dense(x[..., :224])[..., 0, 0], net(x[..., :224]), rtol=1e-4, atol=1e-5)
    assert dense(x).shape == (1, 5, 1, 3)
    sliding = to_fully_convolutional(net, (1, 224, 224))
    torch.testing.assert_close(sliding(x), dense(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg11", "vgg16_c", "vgg19_bn"])
def test_the_smallest_full_picture_has_32_pixels(name):
    net = NETWORKS[name](image(1, 32, 32), FIVE, width=THIN, stem="full").eval()
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 5)
    with pytest.raises(UsageError, match=rf"'{name}'.*1x31x32 is too small; it takes 32x32 or more"):
        NETWORKS[name](image(1, 31, 32), FIVE, width=THIN, stem="full")
    with pytest.raises(RuntimeError):
        net(torch.randn(1, 1, 31, 32))


def test_dropout_stands_behind_the_two_hidden_layers():
    kinds = [type(layer).__name__ for layer in weightless("vgg16", dropout=0.3).classifier]
    assert kinds == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert list(weightless("vgg16", dropout=0.0).state_dict()) == list(weightless("vgg16").state_dict())


def test_the_full_form_has_the_papers_weights_at_32_too():
    assert sum(p.numel() for p in weightless("vgg16", (3, 32, 32), stem="full").parameters()) == 138_357_544
    assert sum(p.numel() for p in weightless("vgg16", (3, 64, 64)).parameters()) == 138_357_544


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((3, 32, 32), [16, 8, 4, 2]), ((1, 28, 28), [14, 7, 3]), ((1, 8, 8), [4, 2]), ((2, 3, 3), []), ((1, 1, 1), [])],
)
def test_small_pictures_get_a_thin_end(shape, sizes):
    net = NETWORKS["vgg16"](image(*shape), {"kind": "number", "count": 2}, width=THIN).eval()
    rows = anatomy(net, shape).layers
    assert [layer.output[1] for layer in rows if layer.kind == "maxpool"] == sizes
    assert net(torch.randn(2, *shape)).shape == (2, 2)
    assert [(layer.in_features, layer.out_features) for layer in net.modules() if isinstance(layer, nn.Linear)] == [
        (26, 2)
    ]
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13


@pytest.mark.parametrize("norm", ["none", "batchnorm", "groupnorm(groups=1)", "layernorm"])
@pytest.mark.parametrize("name", ["vgg11_lrn", "vgg13_bn"])
def test_any_norm_fits(name, norm):
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=THIN, norm=norm, activation="leaky_relu(slope=0.1)").train()
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert sum(isinstance(layer, nn.LeakyReLU) for layer in net.modules()) == int(name[3:5]) - 3


def test_batch_norm_makes_the_one_form_of_the_other():
    with_norm, without = weightless("vgg16", norm="batchnorm"), weightless("vgg16_bn", norm="none")
    assert list(with_norm.state_dict()) == list(weightless("vgg16_bn").state_dict())
    assert list(without.state_dict()) == list(weightless("vgg16").state_dict())


@pytest.mark.parametrize("name", ["vgg11", "vgg16_c", "vgg13_bn"])
def test_a_step_changes_every_weight_and_use_repeats(name):
    torch.manual_seed(0)
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=0.1).train()
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(torch.randn(8, 3, 32, 32)), torch.arange(8) % 5).backward()
    optimizer.step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    assert [layer.p for layer in net.classifier if isinstance(layer, nn.Dropout)] == [0.5]


def test_cards_name_their_own_column():
    assert "1x1" in NETWORKS["vgg16_c"].summary
    assert "batch norm" in NETWORKS["vgg16_bn"].summary
    assert NETWORKS["vgg19_bn"].formula == NETWORKS["vgg19"].formula != ""
    assert NETWORKS["vgg13_bn"].defaults()["norm"] == "batchnorm"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", "vgg11_lrn", "vgg19_bn"])
def test_exports(name):
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=THIN, stem="full").eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
