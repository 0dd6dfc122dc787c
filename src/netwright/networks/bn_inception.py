"""BN-Inception (Ioffe and Szegedy 2015), also called Inception v2: GoogLeNet with batch norm and two 3x3 for each 5x5.

Maps of 3x224x224: 64x112, 64x56, 192x56, 192x28 in the stem; 256, 320x28 (3a, 3b), 576x14 (3c); 576, 576, 608, 608x14
(4a to 4d; 576 in the slim form), 1056x7 (4e; 1024 slim); 1024x7 (5a, 5b); 1024; 1000. State-dict keys are those of the
public port of the Caffe network: conv1_7x7_s2, conv1_7x7_s2_bn, inception_3a_1x1 ...
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.language import say
from netwright.networks.blocks import (
    Choices,
    Ends,
    GlobalMean,
    Maps,
    SameConv2d,
    Shape,
    Share,
    Stem,
    Width,
    dropped,
    maps,
    small,
)  # fmt: skip
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise
from netwright.parts.windows import Pair

SMALL = 64
"""Pictures with a side below this get the small stem: the full one would leave maps of 2x2 and less."""

LEAST = 7
"""The smallest side of Caffe's full stem: 4 behind the convolution, 2 and 1 behind its pools, which need 2 pixels."""


@dataclass(frozen=True)
class Row:
    """One module: channels of 1x1 (0: none), 3x3 (reduced, out), double 3x3 (reduced, out), and behind the pool.

    Without 1x1 the module halves the maps, and its maximum passes on as it is.
    """

    name: str
    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pooled: int
    pool: str = "mean"

    @property
    def halves(self) -> bool:
        return self.one == 0


CAFFE = (
    Row("3a", 64, (64, 64), (64, 96), 32),
    Row("3b", 64, (64, 96), (64, 96), 64),
    Row("3c", 0, (128, 160), (64, 96), 0, "max"),
    Row("4a", 224, (64, 96), (96, 128), 128),
    Row("4b", 192, (96, 128), (96, 128), 128),
    Row("4c", 160, (128, 160), (128, 160), 128),
    Row("4d", 96, (128, 192), (160, 192), 128),
    Row("4e", 0, (128, 192), (192, 256), 0, "max"),
    Row("5a", 352, (192, 320), (160, 224), 128),
    Row("5b", 352, (192, 320), (192, 224), 128, "max"),
)
SLIM = tuple(replace(row, pooled=96) if row.name in ("4c", "4d") else row for row in CAFFE)


@dataclass(frozen=True)
class Form:
    """What the two forms differ in, besides their rows."""

    name: str
    rows: tuple[Row, ...]
    caffe: bool
    """Caffe: biases under the norms, symmetric padding, means that count the padding; otherwise TensorFlow's ways."""


FORMS = {"bn_inception": Form("bn_inception", CAFFE, True), "bn_inception_slim": Form("bn_inception_slim", SLIM, False)}
PAPER: dict[str, Any] = {
    "year": 2015,
    "inputs": ("image",),
    "stage": "new structure",
    "parents": ("googlenet",),
    "at": (3, 224, 224),
    "layout": "the public port of the Caffe network",
}
TABLE = (
    "The paper's own table gives 576 channels behind 4c and 4d, while its widths add up to 608; TensorFlow's 96 behind "
    "their pools make it 576."
)
TOTAL = "The paper says 13.6 million parameters; its table gives 11.2 to 11.3 million without auxiliary heads."


@NETWORKS.add(
    source="Ioffe and Szegedy 2015, ICML, arXiv:1502.03167, figure 5, in the form published for Caffe",
    params=11_295_240,
    macs=2_032_600_064,
    error=25.2,
    error_on="ImageNet validation, top-1, one crop, trained at 30 times GoogLeNet's learning rate",
    recipe="As GoogLeNet, with the learning rate 5 to 30 times higher and falling 6 times faster, less weight decay, "
    "no local response norm, no dropout, fewer distortions of the pictures and thorough shuffling.",
    traps=(
        TABLE,
        TOTAL,
        "The convolutions keep their biases under the batch norms, where they have no effect; without them the network "
        "has 11,285,224 parameters.",
        "Pools round up and means count the padding, as in Caffe; the published weights want blue, green, red from 0 "
        "to 255 with 104, 117 and 128 taken off.",
    ),
    **PAPER,
)
def bn_inception(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.0,
    stem: Stem = "auto",
) -> nn.Module:
    """BN-Inception in its Caffe form: GoogLeNet with a batch norm behind each convolution and 5x5 as two 3x3.

    Formula: two 3x3 for one 5x5: 2 * 9 c^2 / (25 c^2) = 0.72 of the weights, 28 % saved; norm(W x + b) = norm(W x)

    `stem`: `full` divides the side by 8 before the first module (7 pixels at least), `small` by 2, with a 3x3 window in
    place of the 7x7, so that it takes any picture; `auto` is `small` below 64 pixels. Weights start by `he_normal`,
    biases at 0. The paper found that dropout does harm here.

    Differs: where a module halves maps of odd size, its maximum is padded so that all branches have equal sizes; Caffe
    refuses such pictures.
    """
    look = Choices(width, activation, norm)
    return built(FORMS["bn_inception"], inputs, units(outputs), look, init, dropout, stem)


@NETWORKS.add(
    source="Ioffe and Szegedy 2015, ICML, arXiv:1502.03167, with the widths of the TensorFlow-Slim release",
    params=11_194_984,
    macs=2_018_851_840,
    error=26.1,
    error_on="ImageNet validation, top-1, one crop, released weights",
    recipe="RMSprop, decay 0.9, eps 1.0, lr falling exponentially, as the release trained all its Inception networks.",
    traps=(
        TABLE,
        TOTAL,
        "TensorFlow pads strided windows at the bottom and right, and means leave the padding out.",
        "The release begins with a separable 7x7 convolution; here it is a plain one, as in the paper.",
        "Batch norm has eps 0.001 here and 0.00001 in the Caffe form.",
    ),
    **PAPER,
)
def bn_inception_slim(
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
    """BN-Inception with TensorFlow-Slim's widths: 96 channels behind the pools of 4c and 4d, no needless biases.

    Formula: channels of 4c: 160 + 160 + 160 + 96 = 576; of 4d: 96 + 192 + 192 + 96 = 576

    `stem`: `full` divides the side by 8 before the first module, `small` by 2, with a 3x3 window in place of the 7x7;
    `auto` is `small` below 64 pixels. Any picture fits. Weights start by `he_normal`, biases at 0.

    Differs: the first convolution is a plain 7x7, the release's a separable one.
    """
    look = Choices(width, activation, norm)
    return built(FORMS["bn_inception_slim"], inputs, units(outputs), look, init, dropout, stem)


def built(form: Form, inputs: Ends, count: int, look: Choices, init: str, dropout: float, stem: Stem) -> "BNInception":
    """The network of that form with its first weights; pictures that do not fit are refused."""
    shape = maps(form.name, inputs, 1, "")
    little = small(stem, shape, SMALL)
    if form.caffe and not little:
        maps(form.name, inputs, LEAST, say("the pools of its full stem leave nothing below that"))
    net = BNInception(shape, count, look, form, little=little, dropout=dropout)
    initialise(net, init, look.activation)
    return net


class BNInception(nn.Module):
    """Stem, ten modules, the mean of each map, and `last_linear`; every convolution stands here under its full name."""

    def __init__(self, shape: Shape, count: int, look: Choices, form: Form, *, little: bool, dropout: float) -> None:
        super().__init__()
        self.look, self.form = look, form
        size, rounds_up = (shape[1], shape[2]), form.caffe and not little
        channels = self.place("conv1_7x7_s2", shape[0], 64, 3 if little else 7, 1 if little else 2)
        size = size if little else half(size)
        self.pool1_3x3_s2 = nn.Identity() if little else halving(size, pad=not rounds_up)
        size = size if little else half(size, up=not rounds_up)
        channels = self.place("conv2_3x3_reduce", channels, 64, 1)
        channels = self.place("conv2_3x3", channels, 192, 3)
        self.pool2_3x3_s2 = halving(size, pad=not rounds_up)
        size = half(size, up=not rounds_up)
        for row in form.rows:
            channels = self.module(row, channels, size)
            size = half(size) if row.halves else size
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.last_linear = nn.Linear(channels, count)

    def place(self, name: str, entering: int, leaving: int, kernel: int, stride: int = 1) -> int:
        """Add a convolution, its norm and its activation under these names; return how many channels leave."""
        channels = self.look.channels(leaving)
        bias = self.form.caffe or self.look.bias
        if stride > 1 and not self.form.caffe:
            self.add_module(name, SameConv2d(entering, channels, kernel, stride, bias=bias))
        else:
            self.add_module(name, nn.Conv2d(entering, channels, kernel, stride, kernel // 2, bias=bias))
        self.add_module(f"{name}_bn", self.look.normed(channels))
        self.add_module(f"{name}_act", self.look.act())
        return channels

    def module(self, row: Row, entering: int, size: Pair) -> int:
        """Add the convolutions and the pool of one module; return how many channels leave."""
        name, stride, joined = f"inception_{row.name}_", 2 if row.halves else 1, 0
        if not row.halves:
            joined += self.place(name + "1x1", entering, row.one, 1)
        reduced = self.place(name + "3x3_reduce", entering, row.three[0], 1)
        joined += self.place(name + "3x3", reduced, row.three[1], 3, stride)
        reduced = self.place(name + "double_3x3_reduce", entering, row.double[0], 1)
        reduced = self.place(name + "double_3x3_1", reduced, row.double[1], 3)
        joined += self.place(name + "double_3x3_2", reduced, row.double[1], 3, stride)
        if row.halves:
            self.add_module(name + "pool", halving(size, pad=True))
            return joined + entering
        mean = nn.AvgPool2d(3, 1, 1, count_include_pad=self.form.caffe)
        self.add_module(name + "pool", nn.MaxPool2d(3, 1, 1) if row.pool == "max" else mean)
        return joined + self.place(name + "pool_proj", entering, row.pooled, 1)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.pool1_3x3_s2(self.through(x, "conv1_7x7_s2"))
        x = self.pool2_3x3_s2(self.through(x, "conv2_3x3_reduce", "conv2_3x3"))
        for row in self.form.rows:
            x = self.mixed(x, row)
        out: Tensor = self.last_linear(self.dropout(self.pool(x)))
        return out

    def mixed(self, x: Maps, row: Row) -> Float[Tensor, "batch out high wide"]:
        """One module: its branches side by side."""
        name = f"inception_{row.name}_"
        pooled = self.get_submodule(name + "pool")(x)
        three = self.through(x, name + "3x3_reduce", name + "3x3")
        double = self.through(x, name + "double_3x3_reduce", name + "double_3x3_1", name + "double_3x3_2")
        if row.halves:
            return torch.cat([three, double, pooled], 1)
        one = self.through(x, name + "1x1")
        return torch.cat([one, three, double, self.through(pooled, name + "pool_proj")], 1)

    def through(self, x: Maps, *names: str) -> Float[Tensor, "batch out high wide"]:
        """Convolution, norm and activation of each name in turn."""
        for name in names:
            for end in ("", "_bn", "_act"):
                x = self.get_submodule(name + end)(x)
        return x


def half(size: Pair, *, up: bool = True) -> Pair:
    """Half of height and width, rounded up or down."""
    high, wide = ((n + up) // 2 for n in size)
    return high, wide


def halving(size: Pair, *, pad: bool) -> nn.MaxPool2d:
    """The maximum of 3x3/2 for maps of that size: ceil(n/2) places with `pad`, else Caffe's ceil((n - 3)/2) + 1.

    On even sizes the two are one; odd ones are padded by 1 on both sides.
    """
    return nn.MaxPool2d(3, 2, (size[0] % 2, size[1] % 2) if pad else 0, ceil_mode=True)
