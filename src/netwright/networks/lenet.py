"""LeNet-5 as printed (LeCun, Bottou, Bengio, Haffner 1998) and as it is built today.

Shapes of the original: 1x32x32, C1 6x28x28, S2 6x14x14, C3 16x10x10, S4 16x5x5, C5 120, F6 84, 10. Images below
32x32 can get a border of their nearest pixels, and 28x28 do, as the paper centres its digits in 32x32.
"""

from math import prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, POOLING
from netwright.language import say
from netwright.networks.blocks import NONE, Choices, Ends, Share, Stem, Width, dropped, maps
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise
from netwright.parts.pooling import SubSample

C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5),
    (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""The maps of S2 that feed each map of C3 (table I of the paper): 60 kernels instead of 96."""

GLYPHS = (
    (0x00, 0x1C, 0x36, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x36, 0x1C, 0x00),
    (0x00, 0x0C, 0x1C, 0x3C, 0x6C, 0x0C, 0x0C, 0x0C, 0x0C, 0x0C, 0x7F, 0x00),
    (0x00, 0x3E, 0x63, 0x03, 0x03, 0x06, 0x0C, 0x18, 0x30, 0x60, 0x7F, 0x00),
    (0x00, 0x3E, 0x63, 0x03, 0x03, 0x1E, 0x03, 0x03, 0x03, 0x63, 0x3E, 0x00),
    (0x00, 0x06, 0x0E, 0x1E, 0x36, 0x66, 0x66, 0x7F, 0x06, 0x06, 0x06, 0x00),
    (0x00, 0x7F, 0x60, 0x60, 0x60, 0x7E, 0x03, 0x03, 0x03, 0x63, 0x3E, 0x00),
    (0x00, 0x1E, 0x30, 0x60, 0x60, 0x7E, 0x63, 0x63, 0x63, 0x63, 0x3E, 0x00),
    (0x00, 0x7F, 0x03, 0x03, 0x06, 0x06, 0x0C, 0x0C, 0x18, 0x18, 0x18, 0x00),
    (0x00, 0x3E, 0x63, 0x63, 0x63, 0x3E, 0x63, 0x63, 0x63, 0x63, 0x3E, 0x00),
    (0x00, 0x3E, 0x63, 0x63, 0x63, 0x63, 0x3F, 0x03, 0x03, 0x06, 0x3C, 0x00),
)
"""The digits 0 to 9 as 12 rows of 7 pixels (one byte a row): the output codes."""


@NETWORKS.add(
    source="LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86, section II.B",
    inputs=("image",), year=1998, stage="beginnings", at=(1, 32, 32), classes_at=10, params=60_000, macs=325_680,
    error=0.95, error_on="MNIST test",
    recipe="About 20 passes of stochastic diagonal Levenberg-Marquardt; global rates 5e-4, 2e-4, 1e-4, 5e-5, 1e-5.",
    traps=(
        "Sub-sampling layers have weights: a gain and a bias for each map.",
        "C3 is not fully connected: a table says which maps it reads.",
        "The output is a distance: the smallest wins. Here it is negated, so that the largest does.",
    ),
)  # fmt: skip
def lenet5(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "scaled_tanh",
    norm: str = "none",
    init: str = "paper",
    dropout: Share = 0.0,
    stem: Stem = "auto",
) -> nn.Module:
    """LeNet-5 of the paper: partial connections, sub-sampling with weights, outputs that are distances to codes.

    Formula: 156 + 12 + 1,516 + 32 + 48,120 + 10,164 = 60,000 parameters; 340,908 connections; y_k = -sum (x - code_k)^2

    `stem`: pictures of 28x28 get a border of their nearest pixels up to 32 (`auto`), all below 32 do (`small`), or none
    (`full`).
    `width` multiplies the maps and C5; the table of C3 is stretched with them, and F6 keeps the 84 units of the codes.
    `norm` stands behind the convolutions. `init = "paper"` is uniform in +-2.4 / fan_in; another one fills C1, C5, F6
    and a linear output.

    Differs: the codes are 7x12 drawings of the same kind, not the paper's own. With other outputs than ten classes a
    linear layer stands in place of the codes.
    """
    shape = _shape("lenet5", inputs, stem)
    net = LeNet5(shape, outputs, Choices(width, activation, norm), _border(shape, stem), dropout)
    if init != "paper":
        initialise(net, init, activation)
    return net


@NETWORKS.add(
    source="after LeCun et al. 1998; the usual rebuild with full connections",
    inputs=("image",), year=1998, stage="beginnings", parents=("lenet5",), at=(1, 32, 32), classes_at=10,
    params=61_706, macs=416_520,
    traps=("It has 61,706 parameters, the paper's network 60,000.",),
)  # fmt: skip
def lenet5_modern(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "none",
    pooling: Literal["maxpool", "avgpool"] = "maxpool",
    init: str = "torch",
    dropout: Share = 0.0,
    stem: Stem = "auto",
) -> nn.Module:
    """LeNet-5 as it is built today: full C3, plain pooling, a linear output.

    Formula: 156 + 2,416 + 48,120 + 10,164 + 850 = 61,706 parameters; 416,520 multiply-adds on 32x32

    `stem` as in `lenet5`; `dropout` stands before the last layer.
    """
    shape, look = _shape("lenet5_modern", inputs, stem), Choices(width, activation, norm)
    border = _border(shape, stem)
    high, wide = _left(shape, border)
    first, second, third, fourth = (look.channels(count) for count in (6, 16, 120, 84))
    net = nn.Sequential()
    if isinstance(border, nn.ReplicationPad2d):
        net.add_module("border", border)
    for number, (into, out) in enumerate(((shape[0], first), (first, second)), 1):
        layers = [nn.Conv2d(into, out, 5), *([] if norm == NONE else [look.normed(out)]), look.act()]
        net.add_module(f"conv{number}", nn.Sequential(*layers, POOLING[pooling]((out, 2, 2))))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Sequential(nn.Linear(second * high * wide, third), look.act()))
    net.add_module("fc2", nn.Sequential(nn.Linear(third, fourth), look.act()))
    net.add_module("dropout", dropped(dropout))
    net.add_module("out", nn.Linear(fourth, units(outputs)))
    initialise(net, init, activation)
    return net


SIDE = 32
"""What the paper centres its digits in."""


def _shape(name: str, inputs: Ends, stem: Stem) -> tuple[int, ...]:
    """(channels, height, width); without a border two convolutions and two halvings want 16 pixels."""
    least = 1 if stem == "small" else 16
    return maps(name, inputs, least, say("its two 5x5 convolutions and two halvings leave nothing below that"))


def _border(shape: tuple[int, ...], stem: Stem) -> nn.Module:
    """Nearest pixels around a picture, up to 32 a side, the odd one at the bottom or right."""
    high, wide = (max(0, SIDE - n) for n in shape[1:])
    wanted = stem == "small" or (stem == "auto" and shape[1:] == (28, 28))
    if not wanted or not (high or wide):
        return nn.Identity()
    return nn.ReplicationPad2d((wide // 2, wide - wide // 2, high // 2, high - high // 2))


def _left(shape: tuple[int, ...], border: nn.Module) -> tuple[int, int]:
    """Height and width of S4: ((n - 4)/2 - 4)/2, rounded down, for n with the border."""
    wide = border.padding if isinstance(border, nn.ReplicationPad2d) else (0, 0, 0, 0)
    sides = (shape[1] + wide[2] + wide[3], shape[2] + wide[0] + wide[1])
    return ((sides[0] - 4) // 2 - 4) // 2, ((sides[1] - 4) // 2 - 4) // 2


def stretched(maps_in: int, maps_out: int) -> tuple[tuple[int, ...], ...]:
    """C3's table for other numbers of maps: each map takes the place of the one at its share; 6 and 16 are the paper's.

    A map that would read nothing reads all.
    """
    rows = [C3_TABLE[number * len(C3_TABLE) // maps_out] for number in range(maps_out)]
    found = [tuple(into for into in range(maps_in) if into * 6 // maps_in in row) for row in rows]
    return tuple(row or tuple(range(maps_in)) for row in found)


class LeNet5(nn.Module):
    """The layers under the paper's names, each up to F6 followed by the activation, 1.7159 tanh(2x/3)."""

    def __init__(self, shape: tuple[int, ...], outputs: Ends, look: Choices, border: nn.Module, dropout: float) -> None:
        super().__init__()
        first, second, third = look.channels(6), look.channels(16), look.channels(120)
        self.border = border
        self.c1, self.c1_norm, self.c1_squash = nn.Conv2d(shape[0], first, 5), look.normed(first), look.act()
        self.s2, self.s2_squash = SubSample(first), look.act()
        self.c3, self.c3_norm = PartialConv(stretched(first, second), 5, first), look.normed(second)
        self.c3_squash = look.act()
        self.s4, self.s4_squash = SubSample(second), look.act()
        self.c5, self.c5_squash = nn.Conv2d(second, third, _left(shape, border)), look.act()
        self.flatten, self.dropout = nn.Flatten(), dropped(dropout)
        self.f6, self.f6_squash = nn.Linear(third, 84), look.act()
        ten = outputs.get("kind") == "class" and units(outputs) == 10
        self.out = DistanceToCodes() if ten else nn.Linear(84, units(outputs))
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear, SubSample, PartialConv)):
                fan_in = _fan_in(layer)
                for weight in layer.parameters(recurse=False):
                    nn.init.uniform_(weight, -2.4 / fan_in, 2.4 / fan_in)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch units"]:
        x = self.s2_squash(self.s2(self.c1_squash(self.c1_norm(self.c1(self.border(x))))))
        x = self.s4_squash(self.s4(self.c3_squash(self.c3_norm(self.c3(x)))))
        x = self.dropout(self.flatten(self.c5_squash(self.c5(x))))
        out: Tensor = self.out(self.f6_squash(self.f6(x)))
        return out


def _fan_in(layer: nn.Module) -> float:
    if isinstance(layer, SubSample):
        return 4.0
    if isinstance(layer, PartialConv):
        return 25 * len(layer.pairs) / layer.out_channels
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    return float(layer.weight[0].numel())


class PartialConv(nn.Module):
    """A convolution whose maps each read only some input maps; one kernel per connected pair is stored and trained."""

    def __init__(self, table: tuple[tuple[int, ...], ...], size: int, channels: int) -> None:
        super().__init__()
        self.pairs = [(out, into) for out, maps in enumerate(table) for into in maps]
        self.in_channels = channels
        self.out_channels, self.kernel_size, self.stride = len(table), (size, size), (1, 1)
        self.weight = nn.Parameter(torch.empty(len(self.pairs), size, size))
        self.bias = nn.Parameter(torch.empty(len(table)))
        places = torch.tensor([out * self.in_channels + into for out, into in self.pairs])
        self.places: Tensor
        self.register_buffer("places", places, persistent=False)

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps high wide"]:
        full = self.weight.new_zeros(self.out_channels * self.in_channels, *self.kernel_size)
        full = full.index_copy(0, self.places, self.weight)
        return F.conv2d(maps, full.view(self.out_channels, self.in_channels, *self.kernel_size), self.bias)

    def counted(self, shape: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
        """Numbers for the anatomy: only connected pairs are counted."""
        places, window, kernels = prod(output[1:]), prod(self.kernel_size), len(self.pairs)
        macs, neurons = places * window * kernels, prod(output)
        formula = (
            f"parameters = {window}*{kernels} + {self.out_channels} = {window * kernels + self.out_channels:,}; "
            f"macs = {places}*{window}*{kernels} = {macs:,}"
        )
        return {"kind": "conv", "macs": macs, "neurons": neurons, "connections": macs + neurons, "formula": formula}


class DistanceToCodes(nn.Module):
    """Minus the squared distance to each class's fixed code of +-1, so that the nearest code has the largest output."""

    def __init__(self) -> None:
        super().__init__()
        bits = [[1.0 if row >> (6 - column) & 1 else -1.0 for row in rows for column in range(7)] for rows in GLYPHS]
        self.codes: Tensor
        self.register_buffer("codes", torch.tensor(bits))

    def forward(self, x: Float[Tensor, "batch 84"]) -> Float[Tensor, "batch classes"]:
        return -(x[:, None, :] - self.codes).square().sum(2)

    def counted(self, shape: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
        """Numbers for the anatomy: 84 inputs each and no bias; nothing is trained."""
        reads = prod(shape) * prod(output)
        formula = f"connections = {prod(output)}*{prod(shape)} = {reads:,}"
        return {"kind": "distance", "neurons": prod(output), "connections": reads, "formula": formula}
