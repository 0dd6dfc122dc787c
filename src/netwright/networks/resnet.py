"""Residual networks for ImageNet sizes (He, Zhang, Ren, Sun 2016): 18 to 200 layers, identity around every block.

Stages at 1/4, 1/8, 1/16 and 1/32 of the input's side. State-dict keys are torchvision's: conv1, bn1, layer1.0.conv1 ...
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.networks.blocks import Choices, Ends, GlobalMean, Maps, Share, Stem, Width, dropped, maps, small
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

SMALL = 64
"""Pictures with a side below this get the small stem: the full one would leave maps of 2x2 and less."""


def _resnet(
    name: str,
    block: "type[Basic | Bottleneck]",
    counts: tuple[int, ...],
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.0,
    stem: Stem = "auto",
    stride_in: Literal["3x3", "1x1"] = "3x3",
    shortcut: Literal["a", "b", "c"] = "b",
    residual: bool = True,
    zero_init: bool = False,
) -> nn.Module:
    """A residual network.

    Formula: y = f(F(x) + x) in every block; basic F = 3x3, 3x3; bottleneck F = 1x1 w, 3x3 w, 1x1 4w; w = 64, 128, 256,
    512

    `stem`: 7x7/2 and a 3x3/2 pool (`full`), or one 3x3 convolution (`small`; `auto` takes it below 64 pixels).
    `shortcut` where shapes change: a sub-samples and adds channels of zeros, b projects by 1x1, c projects everywhere.
    `stride_in`: the convolution of a bottleneck that halves the maps. `residual=false` is the plain network without
    shortcuts. `zero_init` starts the last gamma of each block at 0, so that every block begins as the identity.
    """
    shape = maps(name, inputs, 1, "")
    look, way = Choices(width, activation, norm), Way(shortcut if residual else "none", stride_in)
    little = small(stem, shape, SMALL)
    net = ResNet(shape[0], units(outputs), look, block, counts, way, small_stem=little, dropout=dropout)
    initialise(net, init, activation)
    if zero_init:
        silence(net)
    return net


class ResNet(nn.Module):
    """Stem, four stages of blocks, the mean of each map, and `fc`."""

    def __init__(
        self, depth: int, count: int, look: Choices, block: "type[Basic | Bottleneck]", counts: tuple[int, ...],
        way: "Way", *, small_stem: bool, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        first = look.channels(64)
        kernel, stride = (3, 1) if small_stem else (7, 2)
        self.conv1 = nn.Conv2d(depth, first, kernel, stride, kernel // 2, bias=look.bias)
        self.bn1, self.act1 = look.normed(first), look.act()
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        self.layer1, entering = row(block, counts[0], first, look.channels(64), 1, look, way)
        self.layer2, entering = row(block, counts[1], entering, look.channels(128), 2, look, way)
        self.layer3, entering = row(block, counts[2], entering, look.channels(256), 2, look, way)
        self.layer4, entering = row(block, counts[3], entering, look.channels(512), 2, look, way)
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.fc = nn.Linear(entering, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.fc(self.dropout(self.pool(x)))
        return out


@dataclass(frozen=True)
class Way:
    """How blocks are passed by: the kind of shortcut (`none` for a plain network), and where a bottleneck halves."""

    shortcut: str = "b"
    stride_in: str = "3x3"

    def around(self, entering: int, leaving: int, stride: int, look: Choices) -> nn.Module:
        """The shortcut of one block."""
        changes = stride > 1 or entering != leaving
        if self.shortcut == "none":
            return Nothing()
        if self.shortcut == "c" or (changes and self.shortcut == "b"):
            return nn.Sequential(nn.Conv2d(entering, leaving, 1, stride, bias=look.bias), look.normed(leaving))
        return ZeroPadded(leaving - entering, stride) if changes else nn.Identity()


def row(
    block: "type[Basic | Bottleneck]", count: int, entering: int, channels: int, stride: int, look: Choices, way: Way
) -> tuple[nn.Sequential, int]:
    """`count` blocks, the first with the stride, and the number of channels that leave."""
    leaving = channels * block.expansion
    rest = (block(leaving, channels, 1, look, way) for _ in range(count - 1))
    return nn.Sequential(block(entering, channels, stride, look, way), *rest), leaving


class Basic(nn.Module):
    """Two 3x3 convolutions and the shortcut around them."""

    expansion = 1

    def __init__(self, entering: int, channels: int, stride: int, look: Choices, way: Way) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, channels, 3, stride, 1, bias=look.bias)
        self.bn1, self.act1 = look.normed(channels), look.act()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=look.bias)
        self.bn2, self.act2 = look.normed(channels), look.act()
        self.downsample = way.around(entering, channels, stride, look)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.act2(y + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, and the shortcut around them."""

    expansion = 4

    def __init__(self, entering: int, channels: int, stride: int, look: Choices, way: Way) -> None:
        super().__init__()
        first, second = (1, stride) if way.stride_in == "3x3" else (stride, 1)
        self.conv1 = nn.Conv2d(entering, channels, 1, first, bias=look.bias)
        self.bn1, self.act1 = look.normed(channels), look.act()
        self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=look.bias)
        self.bn2, self.act2 = look.normed(channels), look.act()
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=look.bias)
        self.bn3, self.act3 = look.normed(4 * channels), look.act()
        self.downsample = way.around(entering, 4 * channels, stride, look)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.act2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: Tensor = self.act3(y + self.downsample(x))
        return out


class Nothing(nn.Module):
    """The shortcut of a plain network: it adds 0."""

    def forward(self, x: Maps) -> Float[Tensor, ""]:
        return x.new_zeros(())


def silence(net: nn.Module) -> None:
    """Set the last gain of every block to 0, so that each block begins as the identity."""
    for block in net.modules():
        if isinstance(block, (Basic, Bottleneck)):
            last = block.bn2 if isinstance(block, Basic) else block.bn3
            if isinstance(getattr(last, "weight", None), Tensor):
                nn.init.zeros_(last.weight)  # type: ignore[arg-type]


class ZeroPadded(nn.Module):
    """Shortcut A: every `stride`-th pixel, and channels of zeros behind; nothing is learned."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.channels))


HE: dict[str, Any] = {
    "source": "He, Zhang, Ren, Sun 2016, CVPR, arXiv:1512.03385, table 1",
    "year": 2015,
    "inputs": ("image",),
    "stage": "new structure",
    "parents": ("vgg19",),
    "at": (3, 224, 224),
    "layout": "torchvision",
    "recipe": "SGD, batch 256, momentum 0.9, weight decay 1e-4, lr 0.1 divided by 10 on plateaus, 600,000 steps, no "
    "dropout; scale 256 to 480, crops of 224, mirrors, colour noise.",
    "traps": (
        "The original halves the maps in the first 1x1 of a bottleneck, torchvision in the 3x3: the same weights load "
        "into both and give other numbers.",
        "Batch norm stands before every ReLU; gammas that start at 0 are a later practice.",
    ),
}
HALF = (
    "width 0.25, means of 3 seeds: MNIST, 1 epoch, 99.23 % in bfloat16, 99.16 % in float32; CIFAR-10, 2 epochs, "
    "68.97 % and 68.20 %"
)
TEN = "ImageNet validation, top-1, ten crops"
ONE = "ImageNet validation, top-1, one crop"
SIZES: dict[int, tuple[type[Basic | Bottleneck], tuple[int, ...], dict[str, Any]]] = {
    18: (Basic, (2, 2, 2, 2), {"params": 11_689_512, "macs": 1_814_073_344, "error": 27.88, "error_on": TEN,
                               "bfloat16": HALF}),
    34: (Basic, (3, 4, 6, 3), {"params": 21_797_672, "macs": 3_663_761_408, "error": 24.52, "error_on": TEN}),
    50: (Bottleneck, (3, 4, 6, 3), {"params": 25_557_032, "macs": 4_089_184_256, "error": 24.7, "error_on": ONE}),
    101: (Bottleneck, (3, 4, 23, 3), {"params": 44_549_160, "macs": 7_801_405_440, "error": 23.6, "error_on": ONE}),
    152: (Bottleneck, (3, 8, 36, 3), {"params": 60_192_808, "macs": 11_513_626_624, "error": 23.0, "error_on": ONE}),
    200: (Bottleneck, (3, 24, 36, 3), {"params": 64_673_832, "macs": 15_007_481_856, "error": 21.8,
                                       "error_on": "ImageNet validation, top-1, one crop of 320"}),
}  # fmt: skip
for _depth, (_block, _counts, _facts) in SIZES.items():
    _summary = f"Residual network of {_depth} layers for pictures of ImageNet's size."
    NETWORKS.add(f"resnet{_depth}", **HE, **_facts)(
        variant(_resnet, f"resnet{_depth}", _block, _counts, summary=_summary)
    )
