"""MobileNets v1 and v2: convolutions split into one window per channel and 1x1 mixing, for phones.

State-dict keys: v1 as timm (conv_stem, bn1, blocks.0.0.conv_dw, ..., classifier), v2 as torchvision (features.0.0,
features.1.conv.0.0, ..., classifier.1).
"""

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.networks.blocks import Choices, Ends, GlobalMean, Maps, Share, Stem, Width, dropped, maps, small
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

SMALL = 64
"""Pictures with a side below this get the small stem: two of the five halvings are left out."""
V1 = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    ((1024, 2), (1024, 1)),
)
"""(channels, stride) of the 13 blocks, in five stages."""
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, blocks, stride of the first) of the seven stages (table 2 of the paper)."""


@NETWORKS.add(
    source="Howard et al. 2017, arXiv:1704.04861, table 1",
    year=2017, inputs=("image",), stage="practical", parents=("inception_v3",), at=(3, 224, 224), layout="timm",
    params=4_231_976, macs=568_740_352, error=29.4, error_on="ImageNet validation, top-1, one crop",
    recipe="RMSprop, little augmentation, little or no weight decay on the depthwise windows.",
    traps=(
        "The paper's table prints stride 2 for the last depthwise convolution; it must be 1.",
        "The paper writes ReLU, its code ReLU6.",
    ),
)  # fmt: skip
def mobilenet_v1(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu6",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.0,
    stem: Stem = "auto",
) -> nn.Module:
    """MobileNet: 13 blocks of a 3x3 window per channel and a 1x1 convolution.

    Formula: a separable block costs 1/out + 1/9 of a full 3x3 convolution; 28 layers with weights, 1/32 of the side

    Channels are rounded to multiples of 8. `stem = "small"` leaves out the first two halvings (`auto`: below 64
    pixels).
    """
    shape = maps("mobilenet_v1", inputs, 1, "")
    look = Choices(width, activation, norm, divisor=8)
    net = MobileNetV1(shape[0], units(outputs), look, small(stem, shape, SMALL), dropout)
    initialise(net, init, activation)
    return net


class MobileNetV1(nn.Module):
    """Stem, five stages of separable blocks, the mean of each map, and `classifier`."""

    def __init__(self, depth: int, count: int, look: Choices, little: bool, dropout: float) -> None:
        super().__init__()
        entering = look.channels(32)
        self.conv_stem = nn.Conv2d(depth, entering, 3, 1 if little else 2, 1, bias=look.bias)
        self.bn1, self.act1 = look.normed(entering), look.act()
        self.blocks = nn.Sequential()
        for number, stage in enumerate(V1):
            row = nn.Sequential()
            for channels, stride in stage:
                leaving = look.channels(channels)
                row.append(Separable(entering, leaving, 1 if little and number == 1 else stride, look))
                entering = leaving
            self.blocks.append(row)
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.classifier = nn.Linear(entering, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        out: Tensor = self.classifier(self.dropout(self.pool(x)))
        return out


class Separable(nn.Module):
    """A 3x3 window for each channel, then 1x1 across channels, each with norm and activation."""

    def __init__(self, entering: int, leaving: int, stride: int, look: Choices) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(entering, entering, 3, stride, 1, groups=entering, bias=look.bias)
        self.bn1, self.act1 = look.normed(entering), look.act()
        self.conv_pw = nn.Conv2d(entering, leaving, 1, bias=look.bias)
        self.bn2, self.act2 = look.normed(leaving), look.act()

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        x = self.act1(self.bn1(self.conv_dw(x)))
        out: Tensor = self.act2(self.bn2(self.conv_pw(x)))
        return out


@NETWORKS.add(
    source="Sandler, Howard, Zhu, Zhmoginov, Chen 2018, CVPR, arXiv:1801.04381, table 2",
    year=2018, inputs=("image",), stage="practical", parents=("mobilenet_v1", "resnet50"), at=(3, 224, 224),
    layout="torchvision", params=3_504_872, macs=300_774_272, error=28.0,
    error_on="ImageNet validation, top-1, one crop",
    recipe="RMSprop, decay and momentum 0.9, weight decay 4e-5, lr 0.045 times 0.98 per epoch, batch 96 on each of 16 "
    "workers.",
    traps=(
        "Channels are rounded to multiples of 8 and never more than 10 % down.",
        "No activation follows the projection at the end of a block.",
        "Below width 1 the last 1280 channels stay; above it they grow.",
        "The paper prints 6.9 M parameters for width 1.4; its table adds up to 6,108,776, as released.",
    ),
)  # fmt: skip
def mobilenet_v2(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu6",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.2,
    stem: Stem = "auto",
) -> nn.Module:
    """MobileNet v2: inverted residual blocks with a linear bottleneck.

    Formula: 1x1 to t times the channels, 3x3 per channel, linear 1x1; plus x where stride is 1 and channels are equal

    Channels are rounded to multiples of 8. `stem = "small"` leaves out the first two halvings (`auto`: below 64
    pixels).
    """
    shape = maps("mobilenet_v2", inputs, 1, "")
    look = Choices(width, activation, norm, divisor=8)
    net = MobileNetV2(shape[0], units(outputs), look, small(stem, shape, SMALL), dropout)
    initialise(net, init, activation)
    return net


def unit(into: int, out: int, look: Choices, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, norm and activation; the padding keeps the size."""
    conv = nn.Conv2d(into, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=look.bias)
    return nn.Sequential(conv, look.normed(out), look.act())


class MobileNetV2(nn.Module):
    """`features`: stem, 17 blocks, 1x1 to 1280; the mean of each map; `classifier`."""

    def __init__(self, depth: int, count: int, look: Choices, little: bool, dropout: float) -> None:
        super().__init__()
        entering = look.channels(32)
        last = Choices(max(1.0, look.width), look.activation, look.norm, look.divisor).channels(1280)
        self.features = nn.Sequential(unit(depth, entering, look, stride=1 if little else 2))
        for number, (expansion, channels, blocks, first) in enumerate(V2):
            leaving = look.channels(channels)
            for place in range(blocks):
                stride = first if place == 0 and not (little and number == 1) else 1
                self.features.append(Inverted(entering, leaving, expansion, stride, look))
                entering = leaving
        self.features.append(unit(entering, last, look, kernel=1))
        self.pool = GlobalMean()
        self.classifier = nn.Sequential(dropped(dropout), nn.Linear(last, count))

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        out: Tensor = self.classifier(self.pool(self.features(x)))
        return out


class Inverted(nn.Module):
    """Expand, filter each channel, project linearly; x is added where the shapes agree."""

    def __init__(self, entering: int, leaving: int, expansion: int, stride: int, look: Choices) -> None:
        super().__init__()
        wide = entering * expansion
        self.conv = nn.Sequential()
        if expansion > 1:
            self.conv.append(unit(entering, wide, look, kernel=1))
        self.conv.append(unit(wide, wide, look, stride=stride, groups=wide))
        self.conv.append(nn.Conv2d(wide, leaving, 1, bias=look.bias))
        self.conv.append(look.normed(leaving))
        self.adds = stride == 1 and entering == leaving

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y
