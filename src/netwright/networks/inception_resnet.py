"""Inception-ResNet (Szegedy, Ioffe, Vanhoucke, Alemi 2017): Inception modules whose result is added to what entered.

Maps of 3x299x299 at 35, 17 and 8: 256, 896, 1792 (v1); 320, 1088, 2080 and 1536 (v2 as released); 384, 1152, 2144 (v2
with the paper's figures). State-dict keys are timm's for v2: conv2d_1a, mixed_5b, repeat, mixed_6a, repeat_1, mixed_7a,
repeat_2, block8, conv2d_7b, classif; the other two forms use the same names as far as they have the layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
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
from netwright.networks.inception_v4 import Branches, Kernel, averaged, convs, reduction_a, stem_v4
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

Row = tuple[tuple[int, Kernel], ...]
Rows = tuple[Row, ...]
"""The branches of a residual block, each (channels, window) by convolution."""

ACROSS7, DOWN7, ACROSS3, DOWN3 = (1, 7), (7, 1), (1, 3), (3, 1)


@dataclass(frozen=True)
class Form:
    """One form of the network: how often each block comes, and what is in it."""

    name: str
    stem: Literal["v1", "v3", "v4"]
    counts: tuple[int, int, int]
    a: Rows
    b: Rows
    c: Rows
    shrink_a: tuple[int, int, int, int]
    """k, l, m and n of the first reduction."""
    shrink_b: tuple[int, int, int, int]
    """Channels of the second reduction: 3x3/2; 3x3/2; 3x3 and 3x3/2."""
    last: bool = False
    """Whether a block without activation, unscaled, and a 1x1 convolution to 1536 channels come last."""


V2_A: Rows = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
V2_B: Rows = (((192, 1),), ((128, 1), (160, ACROSS7), (192, DOWN7)))
V2_C: Rows = (((192, 1),), ((192, 1), (224, ACROSS3), (256, DOWN3)))
V1 = Form(
    "inception_resnet_v1", "v1", (5, 10, 5),
    (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3))),
    (((128, 1),), ((128, 1), (128, ACROSS7), (128, DOWN7))),
    (((192, 1),), ((192, 1), (192, ACROSS3), (192, DOWN3))),
    (192, 192, 256, 384), (384, 256, 256, 256),
)  # fmt: skip
V2 = Form(
    "inception_resnet_v2", "v3", (10, 20, 9), V2_A, V2_B, V2_C, (256, 256, 384, 384), (384, 288, 288, 320), last=True
)
V2_PAPER = Form(
    "inception_resnet_v2_paper", "v4", (5, 10, 5), V2_A, V2_B, V2_C, (256, 256, 384, 384), (384, 288, 288, 320)
)
SCALES = (0.17, 0.1, 0.2)


def _inception_resnet(
    form: Form,
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
    """An Inception-ResNet.

    Formula: y = f(x + s (W concat(branches of x) + b)); s = 0.17, 0.10 and 0.20 in the blocks of the three grids

    W is a 1x1 convolution with bias and without norm or activation: it brings the branches to the channels of x. There
    is no norm behind the sum. `stem`: `full` divides the side by 8 before the first block; `small` by 4: its first
    window takes every pixel, and all windows are padded, so that any picture fits; `auto` is `small` below 75 pixels,
    where `full` does not fit.

    Differs: the paper gives 0.1 to 0.3 for s, needed above about 1000 channels; all forms here take the released
    code's. Weights start by `he_normal`, biases at 0; `dropout` is 1 minus the paper's share that is kept, 0.8.
    """
    shape = maps(form.name, inputs, 1, "")
    little = small(stem, shape, LEAST)
    if not little:
        maps(form.name, inputs, LEAST, say("its full stem and two reductions leave nothing below that"))
    look = Choices(width, activation, norm)
    net = InceptionResNet(shape[0], units(outputs), look, form, little=little, dropout=dropout)
    initialise(net, init, activation)
    return net


class InceptionResNet(nn.Module):
    """Stem, three rows of residual blocks with a reduction between, the mean of each map, and `classif`."""

    def __init__(self, depth: int, count: int, look: Choices, form: Form, *, little: bool, dropout: float) -> None:
        super().__init__()
        stem = STEMS[form.stem](depth, look, little)
        for name, module in stem.items():
            self.add_module(name, module)
        self.stem = tuple(stem)
        channels = [module.channels for module in stem.values() if isinstance(module, (ConvNorm, Branches))][-1]
        self.repeat = blocks(form.counts[0], channels, look, SCALES[0], form.a)
        self.mixed_6a = reduction_a(channels, look, form.shrink_a, same=little)
        channels = self.mixed_6a.channels
        self.repeat_1 = blocks(form.counts[1], channels, look, SCALES[1], form.b)
        self.mixed_7a = second_reduction(channels, look, form.shrink_b, same=little)
        channels = self.mixed_7a.channels
        self.repeat_2 = blocks(form.counts[2], channels, look, SCALES[2], form.c)
        self.block8 = Block(channels, look, 1.0, form.c, active=False) if form.last else nn.Identity()
        self.conv2d_7b = ConvNorm(channels, 1536, 1, look) if form.last else nn.Identity()
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.classif = nn.Linear(look.channels(1536) if form.last else channels, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        for name in self.stem:
            x = self.get_submodule(name)(x)
        x = self.mixed_6a(self.repeat(x))
        x = self.mixed_7a(self.repeat_1(x))
        x = self.conv2d_7b(self.block8(self.repeat_2(x)))
        out: Tensor = self.classif(self.dropout(self.pool(x)))
        return out


class Block(Branches):
    """Branches, a 1x1 convolution with bias and without norm, scaled and added to what entered; then the activation."""

    def __init__(self, entering: int, look: Choices, scale: float, rows: Rows, *, active: bool = True) -> None:
        first, *rest = rows
        branches: dict[str, nn.Module] = {"branch0": ConvNorm(entering, *first[0], look)}
        branches |= {f"branch{place}": convs(entering, look, *row) for place, row in enumerate(rest, 1)}
        super().__init__(entering, **branches)
        self.conv2d = nn.Conv2d(self.channels, entering, 1)
        self.act = look.act() if active else nn.Identity()
        self.scale, self.channels = scale, entering

    def forward(self, x: Maps) -> Maps:
        out: Tensor = self.act(x + self.scale * self.conv2d(self.join(x)))
        return out


def blocks(count: int, channels: int, look: Choices, scale: float, rows: Rows) -> nn.Sequential:
    """`count` residual blocks alike."""
    return nn.Sequential(*(Block(channels, look, scale, rows) for _ in range(count)))


def second_reduction(entering: int, look: Choices, counts: tuple[int, int, int, int], *, same: bool) -> Branches:
    """Halves the maps: 3x3/2; 3x3/2; 3x3, 3x3/2, each behind 1x1 to 256; maximum of 3x3/2."""
    first, second, third, fourth = counts
    return Branches(
        entering,
        branch0=convs(entering, look, (256, 1), (first, 3), stride=2, same=same),
        branch1=convs(entering, look, (256, 1), (second, 3), stride=2, same=same),
        branch2=convs(entering, look, (256, 1), (third, 3), (fourth, 3), stride=2, same=same),
        branch3=nn.MaxPool2d(3, 2, int(same)),
    )


def stem_v1(depth: int, look: Choices, little: bool) -> dict[str, nn.Module]:
    """Six convolutions and a pool (figure 14): 256 channels."""
    found = begun(depth, look, little)
    found["conv2d_4b"] = ConvNorm(look.channels(192), 256, 3, look, 2, same=little)
    return found


def stem_v3(depth: int, look: Choices, little: bool) -> dict[str, nn.Module]:
    """Five convolutions, two pools and one module (as released): 320 channels."""
    found = begun(depth, look, little)
    found["maxpool_5a"] = nn.MaxPool2d(3, 2, int(little))
    entering = look.channels(192)
    found["mixed_5b"] = Branches(
        entering,
        branch0=ConvNorm(entering, 96, 1, look),
        branch1=convs(entering, look, (48, 1), (64, 5)),
        branch2=convs(entering, look, (64, 1), (96, 3), (96, 3)),
        branch3=averaged(entering, 64, look),
    )
    return found


def begun(depth: int, look: Choices, little: bool) -> dict[str, nn.Module]:
    """The layers that the stems of v1 and released v2 share: 192 channels at 1/4 of the side, or 1/2 where `little`."""
    first = ConvNorm(depth, 32, 3, look, 1 if little else 2, same=little)
    second = ConvNorm(first.channels, 32, 3, look, same=little)
    third = ConvNorm(second.channels, 64, 3, look)
    fourth = ConvNorm(third.channels, 80, 1, look)
    fifth = ConvNorm(fourth.channels, 192, 3, look, same=little)
    pool = nn.MaxPool2d(3, 2, int(little))
    names = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a")
    return dict(zip(names, (first, second, third, pool, fourth, fifth), strict=True))


def stem_of_v4(depth: int, look: Choices, little: bool) -> dict[str, nn.Module]:
    """The stem of Inception v4: 384 channels."""
    return {f"stem_{place}": module for place, module in enumerate(stem_v4(depth, look, little=little))}


STEMS: dict[str, Callable[[int, Choices, bool], dict[str, nn.Module]]] = {
    "v1": stem_v1, "v3": stem_v3, "v4": stem_of_v4,
}  # fmt: skip

PAPER: dict[str, Any] = {
    "year": 2016,
    "inputs": ("image",),
    "stage": "combination",
    "at": (3, 299, 299),
    "recipe": "RMSprop, decay 0.9, eps 1.0, 20 replicas, lr 0.045 times 0.94 every two epochs; a running mean of the "
    "weights is used.",
}
SOURCE = "Szegedy, Ioffe, Vanhoucke, Alemi 2017, AAAI, arXiv:1602.07261, "
ONE = "ImageNet validation, top-1, one crop"
SCALED = (
    "Above about 1000 channels unscaled residuals let the network die early in training, after which it gives zeros "
    "only; a lower learning rate does not help."
)
EPS = "Batch norm has eps 0.001; with PyTorch's 0.00001 published weights give other numbers."
LINEAR = "The last 1x1 convolution of a block has a bias, no norm and no activation; no norm follows the sum."

NETWORKS.add(
    "inception_resnet_v1",
    source=SOURCE + "figures 10 to 14",
    parents=("inception_v3", "resnet50"),
    params=22_756_328,
    macs=6_206_361_696,
    error=21.3,
    error_on=ONE,
    layout="timm's names for inception_resnet_v2",
    traps=(
        LINEAR,
        "Public ports differ from the paper in widths and scales; none of their weights is meant here.",
        EPS,
    ),
    **PAPER,
)(variant(_inception_resnet, V1, summary="Inception-ResNet v1: residual modules at about the cost of Inception v3."))

NETWORKS.add(
    "inception_resnet_v2",
    source=SOURCE + "in the form of the authors' released code",
    parents=("inception_v4", "resnet50"),
    params=55_843_464,
    macs=13_155_794_016,
    error=19.6,
    error_on="ImageNet validation, top-1, one crop, released weights",
    layout="timm",
    traps=(
        "The released network has 10, 20 and 10 blocks and the stem of v3; the paper's figures show 5, 10 and 5 and "
        "the stem of v4.",
        "The last of its blocks is neither scaled nor followed by an activation.",
        "The average pool of mixed_5b leaves the padding out of the mean.",
        SCALED,
        EPS,
        LINEAR,
        "TensorFlow checkpoints have 1001 classes, the background first.",
    ),
    **PAPER,
)(variant(_inception_resnet, V2, summary="Inception-ResNet v2 as released: 10, 20 and 10 residual modules."))

NETWORKS.add(
    "inception_resnet_v2_paper",
    source=SOURCE + "figures 3 and 15 to 18",
    parents=("inception_v4", "resnet50"),
    params=32_433_928,
    macs=9_257_953_632,
    error=19.9,
    error_on=ONE,
    layout="timm's names for inception_resnet_v2",
    traps=(
        "The figures print 1154 and 2048 channels behind the reductions; the branches add up to 1152 and 2144.",
        SCALED,
        EPS,
        LINEAR,
    ),
    **PAPER,
)(variant(_inception_resnet, V2_PAPER, summary="Inception-ResNet v2 as its paper draws it: 5, 10 and 5 modules."))
