"""AlexNet: the network of 2012 on two groups (Krizhevsky, Sutskever, Hinton), and the single towers of 2014.

Maps behind the three poolings: 27x27, 13x13, 6x6 at 227 (two groups) and 224 (one tower). State-dict keys are, for one
tower, torchvision's (features.0 ... classifier.6), for two groups Caffe's (conv1 ... fc8).
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.language import say
from netwright.networks.blocks import NONE, Choices, Ends, Maps, Shape, Share, Stem, Width, dropped, maps, small
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise
from netwright.parts.norms import norm as fresh_norm

SMALL = 64
"""Pictures with a side below this get the small stem: at 62 the third pooling has nothing left."""
LEAST = 63
SIDE, SMALL_SIDE = 6, 4
"""Height and width of the maps that the classifier reads: 6x6, with the small stem at most 4x4."""
HIDDEN, SMALL_HIDDEN = 4096, 1024


def _tower(
    name: str,
    widths: tuple[int, int, int, int, int],
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "none",
    init: str = "he_normal",
    dropout: Share = 0.5,
    stem: Stem = "auto",
) -> nn.Module:
    """AlexNet in one tower.

    Formula: conv 11/4 pad 2, max 3/2, conv 5 pad 2, max 3/2, three conv 3 pad 1, max 3/2; 6x6 maps, 4096, 4096, outputs

    `stem="small"` (`auto` takes it below 64 pixels): conv1 is 5/1 pad 2, poolings have a pixel of padding and so leave
    ceil(n/2), and the classifier reads at most 4x4 maps with 1024, 1024 units. `norm` stands before each activation of
    a convolution, whose biases then go. Weights start as He's; the paper's N(0, 0.01) is `init="small_normal"`.
    """
    look, shape, little = Choices(width, activation, norm), *_ends(name, inputs, stem)
    net = Tower(shape, units(outputs), look, widths, little=little, dropout=dropout)
    initialise(net, init, activation)
    return net


def _ends(name: str, inputs: Ends, stem: Stem) -> tuple[Shape, bool]:
    """The picture's shape, and whether the small stem is meant; a picture that is too small is refused."""
    little = small(stem, maps(name, inputs, 1, ""), SMALL)
    why = say("the convolution of stride 4 and three poolings leave nothing below that; stem = small takes any size")
    return maps(name, inputs, 1 if little else LEAST, why), little


def _side(n: int, little: bool) -> int:
    """Height or width of the maps that the classifier reads: small pictures keep what three halvings leave."""
    return min(SMALL_SIDE, -(-n // 8)) if little else SIDE


class Tower(nn.Module):
    """Convolutions and poolings in `features`, three linear layers in `classifier`; dropout stands before the first."""

    def __init__(
        self, shape: Shape, count: int, look: Choices, widths: tuple[int, ...], *, little: bool, dropout: float
    ) -> None:
        super().__init__()
        first = (5, 1, 2) if little else (11, 4, 2)
        windows, poolings = [first, (5, 1, 2), *[(3, 1, 1)] * 3], (0, 1, 4)
        layers: list[nn.Module] = []
        entering = shape[0]
        for place, (wide, (kernel, stride, pad)) in enumerate(zip(widths, windows, strict=True)):
            leaving = look.channels(wide)
            layers.append(nn.Conv2d(entering, leaving, kernel, stride, pad, bias=look.bias))
            layers += [look.normed(leaving), look.act()] if look.norm != NONE else [look.act()]
            layers += [nn.MaxPool2d(3, 2, int(little))] * (place in poolings)
            entering = leaving
        high, wide = (_side(n, little) for n in shape[1:])
        hidden = look.channels(SMALL_HIDDEN if little else HIDDEN)
        self.features = nn.Sequential(*layers)
        self.avgpool, self.flatten = nn.AdaptiveAvgPool2d((high, wide)), nn.Flatten()
        self.classifier = nn.Sequential(
            dropped(dropout), nn.Linear(entering * high * wide, hidden), look.act(),
            dropped(dropout), nn.Linear(hidden, hidden), look.act(),
            nn.Linear(hidden, count),
        )  # fmt: skip

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.flatten(self.avgpool(self.features(x)))
        out: Tensor = self.classifier(x)
        return out


COMMON: dict[str, Any] = {
    "year": 2012,
    "inputs": ("image",),
    "peak_lr": 1e-3,
    "stage": "deeper and wider",
    "recipe": "SGD, batch 128, momentum 0.9, weight decay 5e-4 (needed for the training error too), lr 0.01 divided by "
    "10 three times, about 90 epochs, weights N(0, 0.01), biases 1 in conv 2, 4, 5 and the hidden linear layers. Data: "
    "shorter side to 256, crops of 224, mirrors, colour noise along principal components; the mean image subtracted.",
}
ONE_TOWER: dict[str, Any] = {
    **COMMON,
    "source": "Krizhevsky 2014, One weird trick, arXiv:1404.5997, section 5",
    "year": 2014,
    "parents": ("alexnet_2012",),
    "at": (3, 224, 224),
    "layout": "torchvision",
}
STANDS = "Dropout stands before the two hidden linear layers, not behind them as in 2012."
POOLED = "An adaptive pooling to 6x6 before the classifier lets other sizes in; at 224 it changes nothing."
NO_LRN = "There is no local response norm in one tower."
NETWORKS.add(
    "alexnet",
    **ONE_TOWER,
    params=61_100_840,
    macs=714_188_480,
    error=43.478,
    error_on="ImageNet validation, top-1, one crop, torchvision's weights",
    traps=(
        "The widths 64, 192, 384, 256, 256 are those of the author's one-GPU file and of torchvision; the paper's "
        "footnote prints 64, 192, 384, 384, 256 (see alexnet_footnote).",
        STANDS,
        POOLED,
        NO_LRN,
    ),
)(variant(_tower, "alexnet", (64, 192, 384, 256, 256), summary="AlexNet in one tower, as most libraries ship it."))
NETWORKS.add(
    "alexnet_footnote",
    **ONE_TOWER,
    params=61_838_248,
    macs=838_788_800,
    traps=(
        "These are the widths that the paper's footnote prints; published weights have alexnet's.",
        STANDS,
        POOLED,
        NO_LRN,
    ),
)(
    variant(
        _tower,
        "alexnet_footnote",
        (64, 192, 384, 384, 256),
        summary="AlexNet in one tower with the widths of the paper's footnote.",
    )
)


@NETWORKS.add(
    **COMMON,
    source="Krizhevsky, Sutskever, Hinton 2012, NIPS 25, figure 2 and section 3",
    parents=("lenet5",),
    at=(3, 227, 227),
    params=60_965_224,
    macs=724_406_816,
    error=40.7,
    error_on="ImageNet 2012 validation, top-1, one network, ten crops",
    layout="Caffe names: conv1 ... conv5, fc6, fc7, fc8",
    traps=(
        "The paper says 224 pixels, its arithmetic needs 227: (227 - 11)/4 + 1 = 55. At 224 two pixels of padding "
        "give the same 55.",
        "Figure 2 prints 253,440 neurons behind the input; 96*55*55 = 290,400 follow from the layer.",
        "Local response norm divides alpha by nothing; torch and Caffe divide it by 5, so that 1e-4 is 5e-4 there.",
        "The norm stands before the pooling; CaffeNet has it behind.",
        "Convolutions 2, 4 and 5 see only their own half of the maps, convolution 3 sees all.",
    ),
)
def alexnet_2012(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "none",
    init: str = "he_normal",
    dropout: Share = 0.5,
    stem: Stem = "auto",
    lrn: bool = True,
) -> nn.Module:
    """AlexNet as printed in 2012: two groups for two GPUs, local response norm, dropout behind the linear layers.

    Formula: out = (n + 2p - k)/s + 1: (227 - 11)/4 + 1 = 55; LRN y = x / (2 + 1e-4 * sum over 5 channels of x^2)^0.75

    Sides of 227 pixels get no padding in conv1, all others 2 pixels (224 then gives 55 too). Channels are kept even, so
    that both groups have the same. `lrn=false` leaves local response norm out; `norm` is a further one before each
    activation of a convolution. Other sizes reach the linear layers through an average to 6x6.
    `stem="small"` (`auto` takes it below 64 pixels): conv1 is 5/1 pad 2, poolings have a pixel of padding and so leave
    ceil(n/2), and the linear layers read at most 4x4 maps with 1024 units. Weights start as He's, biases at 0; the
    paper's N(0, 0.01) is `init="small_normal"`.
    """
    look, shape, little = Choices(width, activation, norm, divisor=2), *_ends("alexnet_2012", inputs, stem)
    net = TwoGroups(shape, units(outputs), look, lrn=lrn, little=little, dropout=dropout)
    initialise(net, init, activation)
    return net


class TwoGroups(nn.Module):
    """The layers under Caffe's names: conv1 ... conv5, fc6, fc7, fc8."""

    def __init__(self, shape: Shape, count: int, look: Choices, *, lrn: bool, little: bool, dropout: float) -> None:
        super().__init__()
        c1, c2, c3, c5 = (look.channels(wide) for wide in (96, 256, 384, 256))
        around = [0 if n == 227 else 2 for n in shape[1:]]
        window: dict[str, Any] = {"kernel_size": 11, "stride": 4, "padding": (around[0], around[1])}
        if little:
            window = {"kernel_size": 5, "padding": 2}
        self.conv1 = nn.Conv2d(shape[0], c1, **window, bias=look.bias)
        self.norm1, self.act1 = look.normed(c1), look.act()
        self.lrn1, self.pool1 = neighbours(c1, lrn), nn.MaxPool2d(3, 2, int(little))
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=2, bias=look.bias)
        self.norm2, self.act2 = look.normed(c2), look.act()
        self.lrn2, self.pool2 = neighbours(c2, lrn), nn.MaxPool2d(3, 2, int(little))
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1, bias=look.bias)
        self.norm3, self.act3 = look.normed(c3), look.act()
        self.conv4 = nn.Conv2d(c3, c3, 3, padding=1, groups=2, bias=look.bias)
        self.norm4, self.act4 = look.normed(c3), look.act()
        self.conv5 = nn.Conv2d(c3, c5, 3, padding=1, groups=2, bias=look.bias)
        self.norm5, self.act5 = look.normed(c5), look.act()
        self.pool5 = nn.MaxPool2d(3, 2, int(little))
        high, wide = (_side(n, little) for n in shape[1:])
        printed = set(shape[1:]) <= {224, 227}
        self.fitted = nn.Identity() if printed and not little else nn.AdaptiveAvgPool2d((high, wide))
        self.flatten = nn.Flatten()
        hidden = look.channels(SMALL_HIDDEN if little else HIDDEN)
        self.fc6, self.act6, self.dropout6 = nn.Linear(c5 * high * wide, hidden), look.act(), dropped(dropout)
        self.fc7, self.act7, self.dropout7 = nn.Linear(hidden, hidden), look.act(), dropped(dropout)
        self.fc8 = nn.Linear(hidden, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.pool1(self.lrn1(self.act1(self.norm1(self.conv1(x)))))
        x = self.pool2(self.lrn2(self.act2(self.norm2(self.conv2(x)))))
        x = self.act3(self.norm3(self.conv3(x)))
        x = self.act4(self.norm4(self.conv4(x)))
        x = self.pool5(self.act5(self.norm5(self.conv5(x))))
        x = self.flatten(self.fitted(x))
        x = self.dropout6(self.act6(self.fc6(x)))
        x = self.dropout7(self.act7(self.fc7(x)))
        out: Tensor = self.fc8(x)
        return out


def neighbours(channels: int, wanted: bool = True) -> nn.Module:
    """Local response norm with the paper's k = 2, n = 5, alpha = 1e-4, beta = 0.75; nothing where it is not wanted."""
    return fresh_norm("lrn(size=5, alpha=0.0001, beta=0.75, k=2.0)", (channels, 1, 1)) if wanted else nn.Identity()
