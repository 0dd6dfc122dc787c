"""Pre-activation residual networks (He, Zhang, Ren, Sun 2016, ECCV): norm and activation before each convolution.

The identity then runs from the first block to the last with nothing on it. State-dict keys are timm's: stem.conv,
stages.0.blocks.0.norm1, ..., norm, head.fc (a 1x1 convolution).
"""

from collections import OrderedDict
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.networks.blocks import Choices, Ends, Maps, Share, Stem, Width, dropped, maps, small
from netwright.networks.resnet import SMALL, Way
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise


def _preact_resnet(
    name: str,
    block: "type[PreBasic | PreBottleneck]",
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
    zero_init: bool = False,
) -> nn.Module:
    """A pre-activation residual network.

    Formula: y = F(f(norm(x))) + x; where the shape changes y = F(a) + P(a), a = f(norm(x)); F as in `resnet50`

    `stem`, `stride_in` and `shortcut` as in `resnet50`; projections have no norm. The stem has none either: the first
    block's own takes its place. A norm and an activation stand before the last pool. `zero_init` starts the last
    convolution of each block at 0, so that every block begins as the identity.
    """
    shape = maps(name, inputs, 1, "")
    look, way = Choices(width, activation, norm), Way(shortcut, stride_in)
    widths = [look.channels(64 * 2**stage) for stage in range(4)]
    kernel, stride = (3, 1) if small(stem, shape, SMALL) else (7, 2)
    first = nn.Conv2d(shape[0], widths[0], kernel, stride, kernel // 2, bias=look.bias)
    pool = nn.Identity() if kernel == 3 else nn.MaxPool2d(3, 2, 1)
    net = PreActResNet(first, pool, block, counts, widths, look, way, units(outputs), dropout)
    initialise(net, init, activation)
    if zero_init:
        silence(net)
    return net


class PreActResNet(nn.Module):
    """Stem, stages of blocks, norm and activation, the mean of each map, and the head."""

    def __init__(
        self, first: nn.Conv2d, pool: nn.Module, block: "type[PreBasic | PreBottleneck]", counts: tuple[int, ...],
        widths: list[int], look: Choices, way: Way, count: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stem = nn.Sequential(OrderedDict(conv=first, pool=pool))
        self.stages = nn.Sequential()
        entering = first.out_channels
        for number, (blocks, channels) in enumerate(zip(counts, widths, strict=True)):
            stride = 2 if number else 1
            leaving = channels * block.expansion
            row = [block(entering, channels, stride, look, way)]
            row += [block(leaving, channels, 1, look, way) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*row))))
            entering = leaving
        self.norm, self.act = look.normed(entering), look.act()
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), dropped(dropout)
        self.head = nn.Sequential(OrderedDict(fc=nn.Conv2d(entering, count, 1)))
        self.flatten = nn.Flatten()

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.stages(self.stem(x))
        x = self.dropout(self.pool(self.act(self.norm(x))))
        out: Tensor = self.flatten(self.head(x))
        return out


class PreBasic(nn.Module):
    """Norm, activation and a 3x3 convolution, twice, and the shortcut around them."""

    expansion = 1

    def __init__(self, entering: int, channels: int, stride: int, look: Choices, way: Way) -> None:
        super().__init__()
        self.norm1, self.act1 = look.normed(entering), look.act()
        self.conv1 = nn.Conv2d(entering, channels, 3, stride, 1, bias=look.bias)
        self.norm2, self.act2 = look.normed(channels), look.act()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=look.bias)
        self.downsample = past(entering, channels, stride, look, way)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        active = self.act1(self.norm1(x))
        way = x if isinstance(self.downsample, nn.Identity) else self.downsample(active)
        y = self.conv1(active)
        y = self.conv2(self.act2(self.norm2(y)))
        total: Tensor = y + way
        return total


class PreBottleneck(nn.Module):
    """Norm, activation and convolution three times: 1x1, 3x3, 1x1 to four times as many, and the shortcut."""

    expansion = 4

    def __init__(self, entering: int, channels: int, stride: int, look: Choices, way: Way) -> None:
        super().__init__()
        first, second = (1, stride) if way.stride_in == "3x3" else (stride, 1)
        self.norm1, self.act1 = look.normed(entering), look.act()
        self.conv1 = nn.Conv2d(entering, channels, 1, first, bias=look.bias)
        self.norm2, self.act2 = look.normed(channels), look.act()
        self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=look.bias)
        self.norm3, self.act3 = look.normed(channels), look.act()
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=look.bias)
        self.downsample = past(entering, 4 * channels, stride, look, way)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        active = self.act1(self.norm1(x))
        way = x if isinstance(self.downsample, nn.Identity) else self.downsample(active)
        y = self.conv1(active)
        y = self.conv2(self.act2(self.norm2(y)))
        y = self.conv3(self.act3(self.norm3(y)))
        total: Tensor = y + way
        return total


def silence(net: nn.Module) -> None:
    """Set the last convolution of every block to 0, so that each block begins as the identity."""
    for block in net.modules():
        if isinstance(block, (PreBasic, PreBottleneck)):
            nn.init.zeros_((block.conv2 if isinstance(block, PreBasic) else block.conv3).weight)


def past(entering: int, leaving: int, stride: int, look: Choices, way: Way) -> nn.Module:
    """The shortcut of a pre-activation block: identity, zeros (A), or a projection without a norm."""
    found = way.around(entering, leaving, stride, look)
    return nn.Sequential(OrderedDict(conv=found[0])) if isinstance(found, nn.Sequential) else found


HE: dict[str, Any] = {
    "source": "He, Zhang, Ren, Sun 2016, ECCV, arXiv:1603.05027, section 4",
    "year": 2016,
    "inputs": ("image",),
    "stage": "new structure",
    "at": (3, 224, 224),
    "layout": "timm",
    "recipe": "As `resnet50`; the gain over it shows from 100 layers on and grows with depth.",
    "traps": (
        "The first norm and activation of a stage feed the branch and the projection; inside a stage the identity "
        "carries x itself.",
        "The paper's ImageNet form keeps a norm in the stem and none in the first block; here it stands in the block, "
        "with equal counts.",
        "The last norm and activation before the pool are easily forgotten.",
    ),
}
SIZES: dict[int, tuple[type[PreBasic | PreBottleneck], tuple[int, ...], dict[str, Any]]] = {
    18: (PreBasic, (2, 2, 2, 2), {"params": 11_687_720, "macs": 1_814_073_344, "parents": ("resnet18",)}),
    34: (PreBasic, (3, 4, 6, 3), {"params": 21_795_880, "macs": 3_663_761_408, "parents": ("resnet34",)}),
    50: (PreBottleneck, (3, 4, 6, 3), {"params": 25_549_352, "macs": 4_089_184_256, "parents": ("resnet50",)}),
    101: (PreBottleneck, (3, 4, 23, 3), {"params": 44_541_480, "macs": 7_801_405_440, "parents": ("resnet101",)}),
    152: (PreBottleneck, (3, 8, 36, 3), {"params": 60_185_128, "macs": 11_513_626_624, "parents": ("resnet152",)}),
}
for _depth, (_block, _counts, _facts) in SIZES.items():
    _summary = f"Pre-activation residual network of {_depth} layers."
    NETWORKS.add(f"preact_resnet{_depth}", **HE, **_facts)(
        variant(_preact_resnet, f"preact_resnet{_depth}", _block, _counts, summary=_summary)
    )
