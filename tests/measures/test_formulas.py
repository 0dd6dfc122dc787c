"""The calculators of the notes, and a formula with its numbers for every kind of layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import netwright as nw
from netwright.measures.anatomy import anatomy


def only(net, shape):
    return anatomy(net, shape).layers[0]


@pytest.mark.parametrize(
    ("layer", "shape", "formula"),
    [
        (
            nn.Conv2d(3, 192, 3),
            (3, 10, 10),
            "out = floor((10 + 2*0 - 3)/1) + 1 = 8; parameters = 3*3*3*192 + 192 = 5,376; "
            "macs = 192*8*8*(3*3*3) = 331,776",
        ),
        (
            nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False),
            (8, 9, 9),
            "out = floor((9 + 2*1 - 3)/2) + 1 = 5; parameters = 3*3*(8/8)*8 = 72; macs = 8*5*5*(3*3*(8/8)) = 1,800",
        ),
        (
            nn.ConvTranspose2d(3, 5, 4, 2, 1, 1),
            (3, 7, 7),
            "out = (7 - 1)*2 - 2*1 + 4 + 1 = 15; parameters = 4*4*5*3 + 5 = 245; macs = 3*7*7*(4*4*5) = 11,760",
        ),
        (
            nn.Conv2d(1, 1, 3, padding=4, bias=False),
            (1, 4, 4),
            "out = floor((4 + 2*4 - 3)/1) + 1 = 10; parameters = 3*3*1*1 = 9; macs = 1*10*10*(3*3*1) = 900; "
            "2 pixels of padding too many: the outermost windows read nothing of the map",
        ),
        (nn.Linear(1568, 10), (1568,), "parameters = 1568*10 + 10 = 15,690; macs = 1568*10 = 15,680"),
        (nn.BatchNorm2d(6), (6, 4, 4), "parameters = 2*6 = 12"),
        (nn.BatchNorm2d(6, affine=False), (6, 4, 4), "parameters = 0"),
        (nn.LayerNorm([6, 4]), (6, 4), "parameters = 2*24 = 48"),
        (nn.GroupNorm(2, 6), (6, 4, 4), "parameters = 2*6 = 12"),
        (nn.InstanceNorm2d(6), (6, 4, 4), "parameters = 0"),
        (
            nn.MaxPool2d(3, 2, ceil_mode=True),
            (2, 6, 6),
            "out = ceil((6 + 2*0 - 3)/2) + 1 = 3; connections = 2*3*3*(3*3) = 162",
        ),
        (
            nn.MaxPool2d(1, 3, ceil_mode=True),
            (2, 6, 6),
            "out = ceil((6 + 2*0 - 1)/3) + 1 - 1 = 2; connections = 2*2*2*(1*1) = 8",
        ),
        (nn.AdaptiveAvgPool2d(2), (2, 5, 5), "connections = 2*2*2*(3*3) = 72"),
        (nn.GRUCell(5, 7), (5,), "parameters = 3*(5*7 + 7*7 + 2*7) = 294; macs = 3*(5*7 + 7*7) = 252"),
        (nn.RNNCell(5, 7, bias=False), (5,), "parameters = 1*(5*7 + 7*7) = 84; macs = 1*(5*7 + 7*7) = 84"),
        (nn.Embedding(50, 16), (6,), "parameters = 50*16 = 800; macs = 0: rows are looked up, nothing is multiplied"),
        (nn.PReLU(4), (4, 3, 3), "parameters = 4: 4 maps, a slope each"),
        (nn.PReLU(), (4, 3, 3), "parameters = 1: 1 slope for all maps"),
        (
            nn.LSTM(5, 8, proj_size=3, batch_first=True),
            (6, 5),
            "parameters = 4*(5*8 + 3*8 + 2*8) + 8*3 = 344; macs = 6 steps * 280 = 1,680",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_formulas_with_their_numbers(layer, shape, formula):
    found = only(layer, shape)
    assert found.formula == formula
    assert found.parameters == sum(p.numel() for p in layer.parameters())


def test_cells_count_their_units_once_and_their_work_each_step():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(5, 7)

        def forward(self, x):
            state = (x.new_zeros(len(x), 7), x.new_zeros(len(x), 7))
            for step in range(x.shape[1]):
                state = self.cell(x[:, step], state)
            return state[0]

    found = anatomy(Loop(), (3, 5))
    whole = anatomy(nn.LSTM(5, 7, batch_first=True), (3, 5))
    assert [layer.kind for layer in found.layers] == ["lstm_cell"] * 3
    for key in ("parameters", "macs", "neurons", "connections"):
        assert getattr(found, key) == getattr(whole, key)


def test_steps_of_a_layer_that_is_not_batch_first():
    first, second = (anatomy(nn.GRU(5, 8, batch_first=way), (6, 5)) for way in (True, False))
    assert first.macs == second.macs == 6 * 3 * 8 * (5 + 8)


class Gate(nn.Module):
    """Squeeze and excitation, written with functions."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.large(F.relu(self.small(F.adaptive_avg_pool2d(x, 1)))))


def test_functions_have_rows_of_their_own():
    found = anatomy(Gate(), (8, 6, 6))
    assert [layer.kind for layer in found.layers] == ["mean", "conv", "relu", "conv", "hard_sigmoid", "product"]
    assert found.layers[-1].formula == "8*6*6 = 288 of them; macs = 0, nothing is learned"
    assert found.macs == 16 + 16


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel, self.matrix = nn.Parameter(torch.rand(4, 3, 3, 3)), nn.Parameter(torch.rand(10, 36))
        self.shift = nn.Parameter(torch.rand(10))

    def forward(self, x):
        x = F.max_pool2d(F.relu(F.conv2d(x, self.kernel, stride=(1, 1))), 2)
        return F.linear(x.flatten(1), self.matrix, self.shift)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 3, 3, padding=1)
        self.two = nn.ConvTranspose2d(3, 3, 2, 2)

    def forward(self, x):
        return torch.cat([self.one(self.one(x)), x], 1).mean((2, 3)) @ torch.ones(6, 2), self.two(x)


@pytest.mark.parametrize("net", [Functional(), Tied(), Gate()])
def test_macs_of_functions_equal_torchs_counter(net):
    shape = (8 if isinstance(net, Gate) else 3, 8, 8)
    found = anatomy(net, shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, *shape))
    assert found.macs == counter.get_total_flops() // 2
    assert found.parameters == sum(layer.parameters for layer in found.layers)


def test_a_network_of_functions_alone_is_opened():
    found = anatomy(Functional(), (3, 8, 8))
    assert [(layer.kind, layer.output) for layer in found.layers[:4]] == [
        ("conv", [4, 6, 6]), ("relu", [4, 6, 6]), ("maxpool", [4, 3, 3]), ("linear", [10]),
    ]  # fmt: skip
    assert found.layers[0].formula == "out = floor((8 + 2*0 - 3)/1) + 1 = 6; macs = 4*6*6*(3*3*3) = 3,888"
    assert found.layers[2].receptive_field["size"] == [4, 4]
    assert (found.layers[-1].name, found.layers[-1].parameters) == ("weights", 108 + 370)


def test_whole_numbers_for_networks_that_look_words_up():
    net = nn.Sequential(nn.Embedding(50, 16), nn.LSTM(16, 4, batch_first=True))
    found = anatomy(net, (6,))
    assert found.output == [6, 4]
    assert found.layers[0].memory["inference"] == 6 * 8 + 6 * 16 * 4
    assert found.training_macs == found.macs


def test_no_weights_at_all():
    found = anatomy(nn.ReLU(), (4,))
    assert (found.parameters, found.macs, found.output) == (0, 0, [4])
    assert anatomy(nn.Identity(), (4,)).layers == []


def test_a_result_without_axes():
    class Total(nn.Module):
        def forward(self, x):
            return x.sum()

    assert anatomy(Total(), (4,)).to_json()["outputs"] == 1


def test_weights_without_a_size_are_refused():
    with pytest.raises(nw.UsageError, match="has weights without a size yet"):
        anatomy(nn.LazyLinear(3), (4,))


def test_a_decision_on_values_runs_with_numbers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 4)

        def forward(self, x):
            return self.line(x) if float(x.sum()) > 1 else self.line(self.line(x))

    found = anatomy(Twice(), (4,))
    assert (found.macs, found.training_macs, found.parameters) == (32, 32, 20)


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_networks_of_the_catalogue_cost_no_memory(name):
    found = nw.anatomy(name, inputs=(3, 224, 224), outputs=1000)
    wanted = {"resnet50": (25_557_032, 4_089_184_256), "vgg16": (138_357_544, 15_470_264_320)}
    assert (found.parameters, found.macs) == wanted[name]
    assert found.trainable == found.parameters
    assert found.training_macs == found.macs
