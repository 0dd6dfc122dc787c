"""Anatomy against the notes' and the papers' numbers, torch's own counter, and fields measured by gradients."""

import json
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy

TEN = {"kind": "class", "count": 10}
MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}
CIFAR = {"kind": "image", "channels": 3, "height": 32, "width": 32}
MANY = (
    "conv 8 5 stride=2 pad=same, relu, maxpool 3 stride=2 pad=same, residual(conv 8 3 pad=same, batchnorm) , "
    "parallel(conv 3 1 | conv 4 5 pad=same), avgpool 2, linear out"
)


def of(name, inputs=MNIST, **given):
    return anatomy(NETWORKS[name](inputs, TEN, **given), inputs, name)


def row(found, name):
    return next(layer for layer in found.layers if layer.name == name)


def test_the_notes_convolutional_network():
    found = of("convnet")
    assert (found.parameters, found.macs) == (28_938, 2_838_080)
    assert found.trainable == 28_938
    spatial = [layer for layer in found.layers if layer.kind in ("conv", "maxpool", "flatten", "linear")]
    assert [layer.output for layer in spatial] == [[16, 28, 28], [16, 14, 14], [32, 14, 14], [32, 7, 7], [1568], [10]]
    assert [layer.parameters for layer in spatial] == [416, 0, 12_832, 0, 0, 15_690]
    assert [layer.macs for layer in spatial] == [313_600, 0, 2_508_800, 0, 0, 15_680]
    assert row(found, "conv1.0").formula == (
        "out = floor((28 + 2*2 - 5)/1) + 1 = 28; parameters = 5*5*1*16 + 16 = 416; macs = 16*28*28*(5*5*1) = 313,600"
    )
    assert found.receptive_field == {"size": [16, 16], "stride": [4, 4], "offset": [-6, -6]}


def test_the_notes_recurrent_network():
    found = of("lstm")
    assert (found.parameters, found.macs) == (24_714, 28 * 23_552 + 640)
    core = row(found, "rnn")
    assert (core.kind, core.parameters, core.neurons, core.output) == ("lstm", 24_064, 64, [28, 64])
    assert core.connections == 28 * 4 * 64 * (28 + 64 + 1)
    assert core.formula.startswith("parameters = 4*(28*64 + 64*64 + 2*64) = 24,064")
    assert found.receptive_field is None


def test_lenet5_of_the_paper():
    found = of("lenet5")
    assert (found.parameters, found.connections, found.macs) == (60_000, 340_908, 325_680)
    table = {
        layer.name: (layer.parameters, layer.neurons, layer.connections) for layer in found.layers if layer.neurons
    }
    assert table == {
        "c1": (156, 4_704, 122_304),
        "s2": (12, 1_176, 5_880),
        "c3": (1_516, 1_600, 151_600),
        "s4": (32, 400, 2_000),
        "c5": (48_120, 120, 48_120),
        "f6": (10_164, 84, 10_164),
        "out": (0, 10, 840),
    }


@pytest.mark.parametrize(
    ("name", "inputs", "given", "parameters", "macs"),
    [
        ("softmax", MNIST, {}, 7_850, 7_840),
        ("softmax", CIFAR, {}, 30_730, 30_720),
        ("mlp", MNIST, {}, 203_530, 203_264),
        ("mlp", MNIST, {"hidden": [500]}, 397_510, 397_000),
        ("lenet5_modern", MNIST, {}, 61_706, 416_520),
        ("rnn", MNIST, {}, 6_016 + 650, 28 * 64 * 92 + 640),
        ("gru", MNIST, {}, 18_048 + 650, 28 * 3 * 64 * 92 + 640),
    ],
)
def test_numbers_of_the_fact_sheet(name, inputs, given, parameters, macs):
    found = of(name, inputs, **given)
    assert (found.parameters, found.macs) == (parameters, macs)


def alexnet():
    def group(*conv, **given):
        return nn.Sequential(nn.Conv2d(*conv, **given), nn.ReLU())

    pool, norm = nn.MaxPool2d(3, 2), nn.LocalResponseNorm(5)
    return nn.Sequential(
        group(3, 96, 11, 4), norm, pool, group(96, 256, 5, 1, 2, groups=2), norm, pool, group(256, 384, 3, 1, 1),
        group(384, 384, 3, 1, 1, groups=2), group(384, 256, 3, 1, 1, groups=2), pool, nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
    )  # fmt: skip


def test_groups_and_a_network_without_memory():
    with torch.device("meta"):
        net = alexnet()
    found = anatomy(net, (3, 227, 227))
    assert found.parameters == 60_965_224
    assert row(found, "0.0").output == [96, 55, 55]
    assert row(found, "3.0").macs == 256 * 27 * 27 * 25 * 48
    assert found.receptive_field["size"] == [195, 195]


@pytest.mark.parametrize(
    ("layers", "inputs", "expected"),
    [
        ([nn.Conv2d(1, 1, 3)], (1, 5, 5), 10),
        ([nn.Conv2d(3, 1, 3)], (3, 5, 5), 28),
        ([nn.Conv2d(3, 192, 3)], (3, 8, 8), 5_376),
        ([nn.Conv2d(3, 192, 3, bias=False)], (3, 8, 8), 5_184),
    ],
)
def test_parameters_of_the_notes_kernels(layers, inputs, expected):
    assert anatomy(nn.Sequential(*layers), inputs).parameters == expected


def test_stacked_small_kernels_see_as_far_and_cost_less():
    def stacked(*kernels):
        return anatomy(nn.Sequential(*(nn.Conv2d(4, 4, k, bias=False) for k in kernels)), (4, 20, 20))

    assert stacked(3, 3).receptive_field["size"] == stacked(5).receptive_field["size"] == [5, 5]
    assert stacked(3, 3, 3).receptive_field["size"] == [7, 7]
    assert 1 - stacked(3, 3).parameters / stacked(5).parameters == pytest.approx(0.28)
    assert 1 - stacked((1, 3), (3, 1)).parameters / stacked(3).parameters == pytest.approx(1 / 3)


def test_naive_and_reduced_inception_branch():
    naive = anatomy(nn.Conv2d(192, 32, 5, padding=2, bias=False), (192, 28, 28))
    reduced = anatomy(nn.Sequential(nn.Conv2d(192, 16, 1), nn.ReLU(), nn.Conv2d(16, 32, 5, padding=2)), (192, 28, 28))
    assert (naive.macs, reduced.macs) == (120_422_400, 12_443_648)


@pytest.mark.parametrize("name", ["convnet", "lenet5_modern", "mlp", "softmax", "stack", "lenet5"])
def test_macs_equal_torchs_counter(name):
    given = {"layers": MANY} if name == "stack" else {}
    net = NETWORKS[name](MNIST, TEN, **given).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 1, 28, 28))
    whole = counter.get_total_flops() // 2
    # C3 of LeNet-5 runs as a full convolution with zeros in it: 36 of 96 kernels do not exist
    assert of(name, **given).macs == whole - (36 * 25 * 100 if name == "lenet5" else 0)


def measured(net, shape, place):
    """The input pixels that reach the middle unit of the last map, by the gradient of its sum."""
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    out = net.double()(x)
    out[0, :, place[0], place[1]].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    first, last = seen.min(0).values, seen.max(0).values
    return first.tolist(), (last - first + 1).tolist()


class Branches(nn.Module):
    """Everything as functions, so that no module tells its window."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, (5, 1), padding=(2, 0))

    def forward(self, x):
        y = F.avg_pool2d(self.a(x) + self.b(x), 2)
        y = torch.cat([y, F.avg_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1)], 1)
        return F.conv2d(y, torch.ones(2, 8, 2, 2, dtype=y.dtype), stride=(2, 1), dilation=2)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(2, 3, 5, padding=2), nn.AvgPool2d(2), nn.Conv2d(3, 3, 3), nn.AvgPool2d(3, 2, 1)),
        nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.Conv2d(3, 3, 3, dilation=2, padding=2), nn.Conv2d(3, 2, (1, 4))),
        nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(2, 3, 4), nn.CircularPad2d(0), nn.AvgPool2d((2, 3))),
        nn.Sequential(nn.Conv2d(2, 3, 3, padding="same"), nn.Conv2d(3, 3, 3, padding="same", dilation=2)),
        Branches(),
    ],
)
def test_receptive_fields_equal_measured_ones(net):
    found = anatomy(net.float(), (2, 40, 40)).receptive_field
    shape = tuple(net.double()(torch.zeros(1, 2, 40, 40, dtype=torch.float64)).shape[2:])
    place = (shape[0] // 2, shape[1] // 2)
    first, size = measured(net, (2, 40, 40), place)
    assert size == found["size"]
    assert first == [o + s * i for o, s, i in zip(found["offset"], found["stride"], place, strict=True)]


def test_a_global_mean_sees_everything():
    found = anatomy(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 8, 8))
    assert found.receptive_field == {"size": [10, 10], "stride": [8, 8], "offset": [-1, -1]}
    assert found.layers[1].kind == "globalpool"
    assert found.layers[1].connections == 2 * 64


def test_fields_end_where_maps_end():
    found = of("convnet")
    assert row(found, "out").receptive_field is None
    assert row(found, "flatten").receptive_field is None
    turned = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(2))
    assert anatomy(turned, (1, 5, 5)).layers[1].receptive_field is None


def test_shared_layers_are_counted_once_and_run_twice():
    shared = nn.Linear(4, 4)
    found = anatomy(nn.Sequential(shared, nn.ReLU(), shared), (4,))
    assert (found.parameters, found.macs) == (20, 32)
    assert [layer.parameters for layer in found.layers] == [20, 0, 0]


def test_tied_weights_are_counted_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    found = anatomy(nn.Sequential(first, second), (3,))
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 15


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.unused = nn.Linear(2, 2)
        self.out = nn.Linear(3, 2)
        self.out.bias.requires_grad_(False)

    def forward(self, x):
        return {"logits": self.out(x * self.scale)}


def test_any_module_and_weights_that_no_layer_holds():
    found = anatomy(Own(), (3,))
    assert (found.parameters, found.trainable, found.output) == (17, 15, [2])
    assert sum(layer.parameters for layer in found.layers) == 17
    assert row(found, "unused").output is None


def test_transposed_convolution_and_per_step_linear():
    up = anatomy(nn.ConvTranspose2d(3, 5, 4, 2, 1), (3, 7, 7))
    assert (up.macs, up.connections) == (3 * 7 * 7 * 16 * 5, 3 * 7 * 7 * 16 * 5 + 5 * 14 * 14)
    steps = anatomy(nn.Linear(3, 5), (7, 3))
    assert (steps.macs, steps.neurons, steps.connections) == (105, 35, 140)


@pytest.mark.parametrize(
    "given", [{"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)
def test_recurrent_layers_in_all_forms(given):
    ways, layers = 1 + given.get("bidirectional", False), given.get("num_layers", 1)
    sizes = [5] + [8 * ways] * (layers - 1)
    found = anatomy(nn.LSTM(5, 8, batch_first=True, **given), (6, 5)).layers[0]
    assert found.parameters == sum(ways * 32 * (d + 8 + 2) for d in sizes)
    assert found.macs == 6 * sum(ways * 32 * (d + 8) for d in sizes)
    assert found.connections == 6 * sum(ways * 32 * (d + 8 + 1) for d in sizes)
    assert found.neurons == 8 * ways * layers


def test_plain_pooling_reads_its_window_and_nothing_else_counts():
    found = anatomy(nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(3, 2)), (2, 9, 9))
    assert [(layer.kind, layer.neurons, layer.connections) for layer in found.layers] == [
        ("batchnorm", 0, 0), ("relu", 0, 0), ("dropout", 0, 0), ("maxpool", 32, 288),
    ]  # fmt: skip


def test_the_model_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    net[2].eval()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    anatomy(net, (1, 6, 6))
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in net.modules())


def test_an_input_that_does_not_fit_is_refused():
    net = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(UsageError, match="cannot take an input of 5"):
        anatomy(net, (5,), "mine")
    assert not net[0]._forward_hooks


def test_json_has_the_contracts_keys():
    found = json.loads(json.dumps(of("convnet").to_json()))
    assert list(found) == [
        "network", "input", "output", "parameters", "trainable", "macs", "neurons", "connections",
        "receptive_field", "layers", "memory", "training_macs", "outputs",
    ]  # fmt: skip
    assert found["outputs"] == 10
    assert list(found["layers"][0]) == [
        "name", "kind", "output", "parameters", "macs", "neurons", "connections", "receptive_field", "formula",
        "trainable", "memory",
    ]  # fmt: skip
    assert (found["network"], found["input"], found["output"]) == ("convnet", [1, 28, 28], [10])
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert prod(found["layers"][0]["output"]) == found["layers"][0]["neurons"]


def test_the_printed_table_is_aligned_and_the_notebooks_is_escaped():
    text = str(of("convnet"))
    lines = text.split("\n")
    assert lines[0] == "convnet: input 1x28x28, 28,938 parameters"
    assert len({len(line) for line in lines[2:]}) == 1
    assert "2,838,080" in lines[-1]
    page = anatomy(nn.Sequential(nn.Linear(2, 1)), (2,), "<b>")._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_a_single_layer_is_a_network_too():
    found = anatomy(nn.Linear(3, 2), (3,))
    assert [(layer.name, layer.macs) for layer in found.layers] == [("linear", 6)]
