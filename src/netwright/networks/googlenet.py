"""GoogLeNet, the first Inception network (Szegedy et al. 2015), as printed and as torchvision ships it.

Maps at 224: 64x112x112, 64x56x56, 192x56x56, 192x28x28, modules 3 at 28x28, 4 at 14x14, 5 at 7x7. State-dict keys are
torchvision's: conv1.conv, conv1.bn, inception3a.branch1.conv ... branch4.1.conv, aux1, aux2, fc.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.alexnet import neighbours
from netwright.networks.blocks import (
    Choices,
    ConvNorm,
    Ends,
    GlobalMean,
    Maps,
    Scores,
    Shape,
    Share,
    Stem,
    Width,
    dropped,
    maps,
    small,
)  # fmt: skip
from netwright.networks.inception_v3 import rescaled
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

SMALL = 64
"""Pictures with a side below this get the small stem: the full one would leave modules 5 maps of 1x1."""
AUXILIARY_WEIGHT = 0.3

MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper: 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, projection behind the pooling."""


@dataclass(frozen=True)
class Form:
    """Where torchvision's form differs from the printed one."""

    wide: int
    """The kernel of the third branch: 5 as printed, 3 in torchvision."""
    last: int
    """The kernel of the fourth pooling: 3 as printed, 2 in torchvision."""
    lrn: bool
    adaptive: bool
    """Whether the auxiliary heads read an average to 4x4, whatever the size (torchvision), or a window 5/3."""


@NETWORKS.add(
    source="Szegedy et al. 2015, CVPR, arXiv:1409.4842, table 1",
    year=2014,
    inputs=("image",),
    stage="new structure",
    parents=("vgg16",),
    at=(3, 224, 224),
    params=6_998_552,
    params_aux=13_378_280,
    macs=1_582_671_872,
    macs_aux=1_591_044_096,
    peak_lr=1e-3,
    error=30.2,
    error_on="ImageNet validation, top-1, one crop, TF-slim's retraining; the paper prints 10.07 % top-5",
    layout="torchvision's names, biases in place of batch norm",
    recipe="SGD, momentum 0.9, lr 4 % less every 8 epochs, averaged weights; crops of 8 to 100 % of the area with "
    "aspect 3/4 to 4/3, photometric distortion; both auxiliary losses times 0.3.",
    traps=(
        "Poolings round up: without it 112 gives 55 and 28x28 becomes 27x27.",
        "The branch of 5x5 is 5x5 here; torchvision has 3x3 there, and its fourth pooling is 2x2.",
        "The auxiliary heads are 6,379,728 of 13,378,280 parameters and are gone after training.",
        "Local response norm divides alpha by nothing; torch divides it by 5, so that 1e-4 is 5e-4 there.",
        "The paper's table says 6.8 million parameters and 1.5 billion operations; its layers add up to 6,998,552 and "
        "1,582,671,872.",
    ),
)
def googlenet(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "none",
    init: str = "he_normal",
    dropout: Share = 0.4,
    stem: Stem = "auto",
    aux: bool = False,
    aux_dropout: Share = 0.7,
    lrn: bool = True,
) -> nn.Module:
    """GoogLeNet as printed: nine modules of four branches, biases, local response norm, no batch norm.

    Formula: module = [1x1, 1x1 then 3x3, 1x1 then 5x5, max 3/1 then 1x1] side by side; at 3a the reduced 5x5 branch
    costs 28*28*(192*16 + 25*16*32) = 12,443,648 multiply-adds, the naive one 28*28*25*192*32 = 120,422,400

    `aux=true` adds two heads behind 4a and 4d (mean 5/3, 1x1 to 128, 1024 units, outputs); while it trains the network
    then gives all three scores, each auxiliary loss counting 0.3. `stem="small"` (`auto` takes it below 64 pixels):
    conv1 is 3x3/1 and the second pooling is left out. `lrn=false` leaves local response norm out; `norm` is a further
    one in each convolution, which then has no bias. Weights start as He's.
    """
    look, little = Choices(width, activation, norm), _little("googlenet", inputs, stem, 8, 31)
    form = Form(wide=5, last=3, lrn=lrn, adaptive=False)
    shape = maps("googlenet", inputs, 1, "")
    net = GoogLeNet(shape, units(outputs), look, form, little=little, dropout=dropout, heads=(aux, aux_dropout))
    initialise(net, init, activation)
    return net


@NETWORKS.add(
    source="Szegedy et al. 2015, CVPR, arXiv:1409.4842; the form of torchvision's weights",
    year=2015,
    inputs=("image",),
    stage="new structure",
    parents=("googlenet",),
    at=(3, 224, 224),
    params=6_624_904,
    params_aux=13_004_888,
    macs=1_498_376_192,
    macs_aux=1_506_748_416,
    error=30.222,
    error_on="ImageNet validation, top-1, one crop, torchvision's weights",
    layout="torchvision",
    recipe="As googlenet; the published weights were carried over from TensorFlow.",
    traps=(
        "The branch called 5x5 has 3x3 kernels: a slip that published weights made lasting.",
        "Batch norm's eps is 1e-3, not torch's 1e-5.",
        "The fourth pooling is 2x2, the other three 3x3; all round up.",
        "torchvision's weights were trained on (x - 0.5)/0.5: transform_input = true takes pictures there that were "
        "normalised by ImageNet's means and deviations.",
        "Dropout is 0.2, the paper's 0.4.",
    ),
)
def googlenet_bn(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm(eps=0.001)",
    init: str = "he_normal",
    dropout: Share = 0.2,
    stem: Stem = "auto",
    aux: bool = False,
    aux_dropout: Share = 0.7,
    transform_input: bool = False,
) -> nn.Module:
    """GoogLeNet as torchvision ships it: batch norm in each convolution, 3x3 where the paper has 5x5.

    Formula: module = [1x1, 1x1 then 3x3, 1x1 then 3x3, max 3/1 then 1x1] side by side, each convolution without bias

    Differs from `googlenet` also in the fourth pooling (2x2) and in the auxiliary heads, which average to 4x4 and so
    take any size. `aux=true` adds them behind 4a and 4d; while it trains the network then gives all three scores, each
    auxiliary loss counting 0.3. `stem="small"` (`auto` takes it below 64 pixels): conv1 is 3x3/1 and the second pooling
    is left out. With `norm="none"` the convolutions have biases. `transform_input` takes pictures with three channels
    from ImageNet's normalisation to (x - 0.5)/0.5. Weights start as He's.
    """
    look, little = Choices(width, activation, norm), _little("googlenet_bn", inputs, stem, 4, 15)
    shape = maps("googlenet_bn", inputs, 1, "")
    rescale = rescaled("googlenet_bn", shape, transform_input)
    form = Form(wide=3, last=2, lrn=False, adaptive=True)
    net = GoogLeNet(shape, units(outputs), look, form, little=little, dropout=dropout, heads=(aux, aux_dropout))
    net.rescale = rescale
    initialise(net, init, activation)
    return net


def _little(name: str, inputs: Ends, stem: Stem, least_small: int, least: int) -> bool:
    """Whether the small stem is meant; a picture that is too small for its stem is refused."""
    little = small(stem, maps(name, inputs, 1, ""), SMALL)
    if little:
        maps(name, inputs, least_small, say("three poolings leave nothing below that"))
    else:
        why = say("a convolution of stride 2 and four poolings leave nothing below that; see stem = small")
        maps(name, inputs, least, why)
    return little


class GoogLeNet(nn.Module):
    """Stem, nine modules, the mean of each map, dropout and `fc`; with heads, `aux1` and `aux2` while it trains."""

    auxiliary_weight = AUXILIARY_WEIGHT

    def __init__(
        self, shape: Shape, count: int, look: Choices, form: Form, *,
        little: bool, dropout: float, heads: tuple[bool, float],
    ) -> None:  # fmt: skip
        super().__init__()
        c64, c192 = look.channels(64), look.channels(192)
        kernel, stride = (3, 1) if little else (7, 2)
        self.rescale: nn.Module = nn.Identity()
        self.conv1 = ConvNorm(shape[0], 64, kernel, look, stride)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.lrn1 = neighbours(c64, form.lrn)
        self.conv2, self.conv3 = ConvNorm(c64, 64, 1, look), ConvNorm(c64, 192, 3, look)
        self.lrn2 = neighbours(c192, form.lrn)
        self.maxpool2 = nn.Identity() if little else nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Module("3a", c192, look, form)
        self.inception3b = Module("3b", self.inception3a.leaving, look, form)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Module("4a", self.inception3b.leaving, look, form)
        self.inception4b = Module("4b", self.inception4a.leaving, look, form)
        self.inception4c = Module("4c", self.inception4b.leaving, look, form)
        self.inception4d = Module("4d", self.inception4c.leaving, look, form)
        self.inception4e = Module("4e", self.inception4d.leaving, look, form)
        self.maxpool4 = nn.MaxPool2d(form.last, 2, ceil_mode=True)
        self.inception5a = Module("5a", self.inception4e.leaving, look, form)
        self.inception5b = Module("5b", self.inception5a.leaving, look, form)
        self.avgpool, self.dropout = GlobalMean(), dropped(dropout)
        self.fc = nn.Linear(self.inception5b.leaving, count)
        self.aux1: Head | None = None
        self.aux2: Head | None = None
        if heads[0]:
            sides = [_fourths(n, little) for n in shape[1:]]
            self.aux1 = Head(self.inception4a.leaving, sides, count, look, form, heads[1])
            self.aux2 = Head(self.inception4d.leaving, sides, count, look, form, heads[1])

    def forward(self, x: Maps) -> Float[Tensor, "batch units"] | Scores:
        x = self.lrn1(self.maxpool1(self.conv1(self.rescale(x))))
        x = self.maxpool2(self.lrn2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        at_4a = self.inception4a(x)
        at_4d = self.inception4d(self.inception4c(self.inception4b(at_4a)))
        x = self.maxpool4(self.inception4e(at_4d))
        x = self.inception5b(self.inception5a(x))
        out: Tensor = self.fc(self.dropout(self.avgpool(x)))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return Scores(out, (self.aux1(at_4a), self.aux2(at_4d)))
        return out


class Module(nn.Module):
    """Four views of the same maps side by side: 1x1, 3x3 and 5x5 (each behind a narrow 1x1), and a pooling with 1x1."""

    def __init__(self, name: str, entering: int, look: Choices, form: Form) -> None:
        super().__init__()
        one, reduced, three, narrow, five, pooled = MODULES[name]
        self.branch1 = ConvNorm(entering, one, 1, look)
        behind = ConvNorm(entering, reduced, 1, look)
        self.branch2 = nn.Sequential(behind, ConvNorm(behind.channels, three, 3, look))
        behind = ConvNorm(entering, narrow, 1, look)
        self.branch3 = nn.Sequential(behind, ConvNorm(behind.channels, five, form.wide, look))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), ConvNorm(entering, pooled, 1, look))
        self.leaving = sum(map(look.channels, (one, three, five, pooled)))

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Head(nn.Module):
    """An auxiliary classifier: mean of windows, 1x1 to 128 channels, a hidden layer of 1024, dropout, the outputs."""

    def __init__(self, entering: int, sides: list[int], count: int, look: Choices, form: Form, dropout: float) -> None:
        super().__init__()
        if not form.adaptive and min(sides) < 5:
            text = say("network 'googlenet': aux = true reads windows of 5x5, but its maps are {high}x{wide} there",
                       high=sides[0], wide=sides[1])  # fmt: skip
            raise UsageError(text + "; " + say("give larger pictures, or aux = false."))
        high, wide = (4, 4) if form.adaptive else ((n - 5) // 3 + 1 for n in sides)
        self.pool = nn.AdaptiveAvgPool2d((4, 4)) if form.adaptive else nn.AvgPool2d(5, 3)
        c128, hidden = look.channels(128), look.channels(1024)
        self.conv = ConvNorm(entering, 128, 1, look)
        self.flatten = nn.Flatten()
        self.fc1, self.act, self.dropout = nn.Linear(c128 * high * wide, hidden), look.act(), dropped(dropout)
        self.fc2 = nn.Linear(hidden, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.flatten(self.conv(self.pool(x)))
        out: Tensor = self.fc2(self.dropout(self.act(self.fc1(x))))
        return out


def _fourths(n: int, little: bool) -> int:
    """Height or width of the maps of modules 4 behind `n` pixels; poolings round up: ceil((n - 3)/2) + 1."""
    halved = n if little else -(-n // 2)
    for _ in range(2 if little else 3):
        halved = (halved - 2) // 2 + 1
    return halved
