"""Inception v4 (Szegedy, Ioffe, Vanhoucke, Alemi 2017): a deeper stem and more modules of one plan, without sums.

Maps of 3x299x299: 32x149, 32x147, 64x147, 160x73, 192x71, 384x35 in the stem (features.0 to 5); 384x35 (6 to 9);
1024x17 (10 to 17); 1536x8 (18 to 21); 1536; 1000. State-dict keys are timm's.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.language import say
from netwright.networks.blocks import (
    Choices,
    ConvNorm,
    Ends,
    GlobalMean,
    Maps,
    Share,
    Stem,
    Width,
    dropped,
    maps,
    small,
)
from netwright.networks.inception_v3 import LEAST
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

Kernel = int | tuple[int, int]


@NETWORKS.add(
    source="Szegedy, Ioffe, Vanhoucke, Alemi 2017, AAAI, arXiv:1602.07261, figures 3 to 9",
    year=2016,
    inputs=("image",),
    stage="new structure",
    parents=("inception_v3",),
    at=(3, 299, 299),
    params=42_679_816,
    macs=12_253_974_624,
    error=20.0,
    error_on="ImageNet validation, top-1, one crop",
    layout="timm",
    recipe="RMSprop, decay 0.9, eps 1.0, 20 replicas, lr 0.045 times 0.94 every two epochs; a running mean of the "
    "weights is used.",
    traps=(
        "It has no residual connections, though notes often say so: those belong to Inception-ResNet v1 and v2, which "
        "the same paper introduces.",
        "Batch norm has eps 0.001; with PyTorch's 0.00001 published weights give other numbers.",
        "The average pools leave the padding out of the mean.",
        "TensorFlow checkpoints have 1001 classes, the background first.",
    ),
)
def inception_v4(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm(eps=0.001)",
    init: str = "he_normal",
    dropout: Share = 0.2,
    stem: Stem = "auto",
) -> nn.Module:
    """Inception v4: four, seven and three modules of one plan each, two reductions, and no sums anywhere.

    Formula: channels of a module = sum over its branches; A 96 + 96 + 96 + 96 = 384; B 384 + 256 + 256 + 128 = 1024;
    C 256 + (256 + 256) + (256 + 256) + 256 = 1536

    `stem`: `full` divides the side by 8 before the first module; `small` by 4: its first window takes every pixel, and
    all windows are padded, so that any picture fits; `auto` is `small` below 75 pixels, where `full` does not fit.
    Weights start by `he_normal`, biases at 0. `dropout` is 1 minus the paper's share that is kept, 0.8.
    """
    shape = maps("inception_v4", inputs, 1, "")
    little = small(stem, shape, LEAST)
    if not little:
        maps("inception_v4", inputs, LEAST, say("its full stem and two reductions leave nothing below that"))
    net = InceptionV4(shape[0], units(outputs), Choices(width, activation, norm), little=little, dropout=dropout)
    initialise(net, init, activation)
    return net


class InceptionV4(nn.Module):
    """Stem and modules in a row under `features`, the mean of each map, and `last_linear`."""

    def __init__(self, depth: int, count: int, look: Choices, *, little: bool, dropout: float) -> None:
        super().__init__()
        row: list[ConvNorm | Branches | InceptionC] = [*stem_v4(depth, look, little=little)]
        for _ in range(4):
            row.append(inception_a(row[-1].channels, look))
        row.append(reduction_a(row[-1].channels, look, (192, 224, 256, 384), same=little))
        for _ in range(7):
            row.append(inception_b(row[-1].channels, look))
        row.append(reduction_b(row[-1].channels, look, same=little))
        for _ in range(3):
            row.append(InceptionC(row[-1].channels, look))
        self.features = nn.Sequential(*row)
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.last_linear = nn.Linear(row[-1].channels, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        out: Tensor = self.last_linear(self.dropout(self.pool(self.features(x))))
        return out


class Branches(nn.Module):
    """Branches that read the same maps, joined on channels in their order; `channels` leave them."""

    def __init__(self, entering: int, **branches: nn.Module) -> None:
        super().__init__()
        self.names = tuple(branches)
        for name, branch in branches.items():
            self.add_module(name, branch)
        self.channels = sum(leaving(branch, entering) for branch in branches.values())

    def join(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        """What the branches give, side by side."""
        return torch.cat([self.get_submodule(name)(x) for name in self.names], 1)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        return self.join(x)


def leaving(branch: nn.Module, entering: int) -> int:
    """How many channels a branch gives: those of its last convolution, or those that enter where it only pools."""
    counts = [module.channels for module in branch.modules() if isinstance(module, ConvNorm)]
    return counts[-1] if counts else entering


def convs(
    entering: int, look: Choices, *steps: tuple[int, Kernel], stride: int = 1, same: bool = True
) -> nn.Sequential:
    """Convolutions in a row, each (channels, window); `stride` and `same` hold for the last."""
    row: list[ConvNorm] = []
    for channels, kernel in steps[:-1]:
        row.append(ConvNorm(row[-1].channels if row else entering, channels, kernel, look))
    channels, kernel = steps[-1]
    row.append(ConvNorm(row[-1].channels if row else entering, channels, kernel, look, stride, same=same))
    return nn.Sequential(*row)


def averaged(entering: int, leaving: int, look: Choices) -> nn.Sequential:
    """The mean of 3x3 windows, padding left out, and a 1x1 convolution."""
    return nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), ConvNorm(entering, leaving, 1, look))


def stem_v4(depth: int, look: Choices, *, little: bool) -> list[ConvNorm | Branches]:
    """Three convolutions and three joins (figure 3): 384 channels at 1/8 of the side, or 1/4 where `little`."""
    first = ConvNorm(depth, 32, 3, look, 1 if little else 2, same=little)
    second = ConvNorm(first.channels, 32, 3, look, same=little)
    third = ConvNorm(second.channels, 64, 3, look)
    into = third.channels
    fourth = Branches(into, maxpool=nn.MaxPool2d(3, 2, int(little)), conv=ConvNorm(into, 96, 3, look, 2, same=little))
    into = fourth.channels
    fifth = Branches(
        into,
        branch0=convs(into, look, (64, 1), (96, 3), same=little),
        branch1=convs(into, look, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3), same=little),
    )
    into = fifth.channels
    sixth = Branches(into, conv=ConvNorm(into, 192, 3, look, 2, same=little), maxpool=nn.MaxPool2d(3, 2, int(little)))
    return [first, second, third, fourth, fifth, sixth]


def inception_a(entering: int, look: Choices) -> Branches:
    """1x1; 3x3; 3x3 twice; mean: four times 96 channels (figure 4)."""
    return Branches(
        entering,
        branch0=ConvNorm(entering, 96, 1, look),
        branch1=convs(entering, look, (64, 1), (96, 3)),
        branch2=convs(entering, look, (64, 1), (96, 3), (96, 3)),
        branch3=averaged(entering, 96, look),
    )


def reduction_a(entering: int, look: Choices, klmn: tuple[int, int, int, int], *, same: bool) -> Branches:
    """Halves the maps: n of 3x3/2; k of 1x1, l of 3x3, m of 3x3/2; maximum of 3x3/2 (figure 7 and table 1)."""
    k, l, m, n = klmn  # noqa: E741 - the letters of the paper
    return Branches(
        entering,
        branch0=ConvNorm(entering, n, 3, look, 2, same=same),
        branch1=convs(entering, look, (k, 1), (l, 3), (m, 3), stride=2, same=same),
        branch2=nn.MaxPool2d(3, 2, int(same)),
    )


def inception_b(entering: int, look: Choices) -> Branches:
    """1x1; 1x7, 7x1; 7x1, 1x7 twice; mean: 384 + 256 + 256 + 128 channels (figure 5)."""
    across, down = (1, 7), (7, 1)
    return Branches(
        entering,
        branch0=ConvNorm(entering, 384, 1, look),
        branch1=convs(entering, look, (192, 1), (224, across), (256, down)),
        branch2=convs(entering, look, (192, 1), (192, down), (224, across), (224, down), (256, across)),
        branch3=averaged(entering, 128, look),
    )


def reduction_b(entering: int, look: Choices, *, same: bool) -> Branches:
    """Halves the maps: 3x3/2; 1x7, 7x1, 3x3/2; maximum of 3x3/2: 192 + 320 channels and those that enter (figure 8)."""
    return Branches(
        entering,
        branch0=convs(entering, look, (192, 1), (192, 3), stride=2, same=same),
        branch1=convs(entering, look, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3), stride=2, same=same),
        branch2=nn.MaxPool2d(3, 2, int(same)),
    )


class InceptionC(nn.Module):
    """1x1; 1x3 beside 3x1; 3x1, 1x3, then 1x3 beside 3x1; mean: six times 256 channels (figure 6)."""

    def __init__(self, entering: int, look: Choices) -> None:
        super().__init__()
        self.branch0 = ConvNorm(entering, 256, 1, look)
        self.branch1_0 = ConvNorm(entering, 384, 1, look)
        self.branch1_1a = ConvNorm(self.branch1_0.channels, 256, (1, 3), look)
        self.branch1_1b = ConvNorm(self.branch1_0.channels, 256, (3, 1), look)
        self.branch2_0 = ConvNorm(entering, 384, 1, look)
        self.branch2_1 = ConvNorm(self.branch2_0.channels, 448, (3, 1), look)
        self.branch2_2 = ConvNorm(self.branch2_1.channels, 512, (1, 3), look)
        self.branch2_3a = ConvNorm(self.branch2_2.channels, 256, (1, 3), look)
        self.branch2_3b = ConvNorm(self.branch2_2.channels, 256, (3, 1), look)
        self.branch3 = averaged(entering, 256, look)
        self.channels = 6 * look.channels(256)

    def forward(self, x: Maps) -> Float[Tensor, "batch out height width"]:
        once = self.branch1_0(x)
        twice = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        single = [self.branch1_1a(once), self.branch1_1b(once)]
        double = [self.branch2_3a(twice), self.branch2_3b(twice)]
        return torch.cat([self.branch0(x), *single, *double, self.branch3(x)], 1)
