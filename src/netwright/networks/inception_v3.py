"""Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2016): large windows become small and flat ones, grids shrink
in two branches.

Maps of 3x299x299: 32x149, 32x147, 64x147, 64x73, 80x73, 192x71, 192x35 in the stem; 256, 288 and 288x35 (Mixed_5b to
5d); 768x17 (6a to 6e); 1280, 2048 and 2048x8 (7a to 7c); 2048; 1000. State-dict keys are torchvision's.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.language import say
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
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

LEAST = 75
"""The smallest side of the full stem: the maps are 37, 35, 17, 15, 7 wide there, and 3 and 1 behind the reductions."""

IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
"""Mean and standard deviation of red, green and blue, with which torchvision feeds its networks."""


@NETWORKS.add(
    source="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2016, CVPR, arXiv:1512.00567, table 1 and section 6.1",
    year=2015,
    inputs=("image",),
    stage="new structure",
    parents=("bn_inception",),
    at=(3, 299, 299),
    params=23_834_568,
    macs=5_713_216_096,
    error=21.2,
    error_on="ImageNet validation, top-1, one crop",
    layout="torchvision",
    recipe="RMSprop, decay 0.9, eps 1.0, 50 replicas of batch 32, 100 epochs, lr 0.045 times 0.94 every two epochs, "
    "gradients clipped at 2.0, label smoothing 0.1; a running mean of the weights is used.",
    traps=(
        "Batch norm has eps 0.001; with PyTorch's 0.00001 published weights give other numbers.",
        "The average pools count the padding, as torchvision does; TensorFlow's leave it out of the mean.",
        "torchvision's own weights were trained on pictures scaled to mean 0.5 and deviation 0.5: they need "
        "transform_input=true where the pictures are normalised as for its other networks.",
        "The released network keeps 5x5 windows in Mixed_5b to 5d, though v2 and v3 are described as free of them.",
        "The released weights have no gain in the batch norms; torchvision keeps gains of 1 in their place.",
    ),
)
def inception_v3(
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
    transform_input: bool = False,
) -> nn.Module:
    """Inception v3: 7x7 windows as 1x7 and 7x1, 5x5 as two 3x3, and grids that shrink without a bottleneck.

    Formula: two 3x3 for one 5x5: (3*3 + 3*3)/(5*5) = 0.72 of the weights, 28 % saved; 1x3 and 3x1 for one 3x3:
    (9 - 6)/(3*3) = 33.3 % saved; 1x7 and 7x1 for one 7x7: (49 - 14)/49 = 71.4 % saved

    `stem`: `full` divides the side by 8 before the first module; `small` by 4: its first window takes every pixel, and
    all windows are padded, so that any picture fits; `auto` is `small` below 75 pixels, where `full` does not fit.
    `aux` adds the auxiliary head behind Mixed_6e: means of 5x5 windows at every third place, 1x1, 5x5, a linear layer;
    its loss counts 0.4 times, as in the released code. `transform_input` takes a picture normalised with ImageNet's
    mean and deviation to the scale of the published weights: x_c * deviation_c / 0.5 + (mean_c - 0.5) / 0.5. It wants 3
    channels, UsageError otherwise.

    Differs: where maps are narrower than 17 the auxiliary head makes 5x5 of the whole map instead. Weights start by
    `he_normal`, biases at 0; the released code drops 0.2 before the output, torchvision 0.5.
    """
    shape = maps("inception_v3", inputs, 1, "")
    little = small(stem, shape, LEAST)
    if not little:
        maps("inception_v3", inputs, LEAST, say("its full stem and two reductions leave nothing below that"))
    rescale = rescaled("inception_v3", shape, transform_input)
    look = Choices(width, activation, norm)
    net = InceptionV3(shape, units(outputs), look, rescale, little=little, dropout=dropout, aux=aux)
    initialise(net, init, activation)
    return net


class InceptionV3(nn.Module):
    """Stem, three modules of the widest maps, a reduction, four, a reduction, two; the mean of each map and `fc`."""

    auxiliary_weight = 0.4

    def __init__(
        self, shape: Shape, count: int, look: Choices, rescale: nn.Module, *, little: bool, dropout: float, aux: bool
    ) -> None:
        super().__init__()
        self.rescale = rescale
        self.Conv2d_1a_3x3 = ConvNorm(shape[0], 32, 3, look, 1 if little else 2, same=little)
        self.Conv2d_2a_3x3 = ConvNorm(self.Conv2d_1a_3x3.channels, 32, 3, look, same=little)
        self.Conv2d_2b_3x3 = ConvNorm(self.Conv2d_2a_3x3.channels, 64, 3, look)
        self.maxpool1 = nn.MaxPool2d(3, 2, int(little))
        self.Conv2d_3b_1x1 = ConvNorm(self.Conv2d_2b_3x3.channels, 80, 1, look)
        self.Conv2d_4a_3x3 = ConvNorm(self.Conv2d_3b_1x1.channels, 192, 3, look, same=little)
        self.maxpool2 = nn.MaxPool2d(3, 2, int(little))
        self.Mixed_5b = Squares(self.Conv2d_4a_3x3.channels, 32, look)
        self.Mixed_5c = Squares(self.Mixed_5b.channels, 64, look)
        self.Mixed_5d = Squares(self.Mixed_5c.channels, 64, look)
        self.Mixed_6a = FirstReduction(self.Mixed_5d.channels, look, same=little)
        self.Mixed_6b = Crosses(self.Mixed_6a.channels, 128, look)
        self.Mixed_6c = Crosses(self.Mixed_6b.channels, 160, look)
        self.Mixed_6d = Crosses(self.Mixed_6c.channels, 160, look)
        self.Mixed_6e = Crosses(self.Mixed_6d.channels, 192, look)
        if aux:
            self.AuxLogits = Auxiliary(self.Mixed_6e.channels, count, look, fits=min(middle(shape, little)) >= 17)
        self.Mixed_7a = SecondReduction(self.Mixed_6e.channels, look, same=little)
        self.Mixed_7b = Expanded(self.Mixed_7a.channels, look)
        self.Mixed_7c = Expanded(self.Mixed_7b.channels, look)
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.fc = nn.Linear(self.Mixed_7c.channels, count)

    def forward(self, x: Maps) -> Tensor | Scores:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(self.rescale(x))))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        auxiliary = (self.AuxLogits(x),) if self.training and hasattr(self, "AuxLogits") else ()
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        out: Tensor = self.fc(self.dropout(self.pool(x)))
        return Scores(out, auxiliary) if auxiliary else out


def middle(shape: Shape, little: bool) -> tuple[int, int]:
    """Height and width of the maps of Mixed_6a to 6e."""
    if little:
        halves = (-(-size // 8) for size in shape[1:])
    else:
        stems = (((size - 1) // 2 - 3) // 2 for size in shape[1:])  # 1a, 2a, maxpool1
        halves = ((((size - 3) // 2) - 1) // 2 for size in stems)  # 4a and maxpool2, 6a
    high, wide = halves
    return high, wide


def rescaled(network: str, shape: Shape, wanted: bool) -> nn.Module:
    """What `transform_input` puts in front of a network; it wants 3 channels, UsageError otherwise."""
    if wanted and shape[0] != 3:
        text = say("network {name!r}: transform_input = true wants 3 channels; {count} came.",
                   name=network, count=shape[0])  # fmt: skip
        raise UsageError(text)
    return Rescaled() if wanted else nn.Identity()


class Rescaled(nn.Module):
    """Takes ImageNet's normalisation to (x - 0.5) / 0.5 of pictures between 0 and 1; nothing is learned."""

    def forward(self, x: Maps) -> Maps:
        colours = x.split(1, 1)
        scaled = (c * (std / 0.5) + (mean - 0.5) / 0.5 for c, (mean, std) in zip(colours, IMAGENET, strict=True))
        return torch.cat(list(scaled), 1)


class Squares(nn.Module):
    """1x1; 5x5; 3x3 twice; mean of 3x3: 64 + 64 + 96 + `pooled` channels."""

    def __init__(self, entering: int, pooled: int, look: Choices) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(entering, 64, 1, look)
        self.branch5x5_1 = ConvNorm(entering, 48, 1, look)
        self.branch5x5_2 = ConvNorm(self.branch5x5_1.channels, 64, 5, look)
        self.branch3x3dbl_1 = ConvNorm(entering, 64, 1, look)
        self.branch3x3dbl_2 = ConvNorm(self.branch3x3dbl_1.channels, 96, 3, look)
        self.branch3x3dbl_3 = ConvNorm(self.branch3x3dbl_2.channels, 96, 3, look)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNorm(entering, pooled, 1, look)
        self.channels = sum(map(look.channels, (64, 64, 96, pooled)))

    def forward(self, x: Maps) -> Float[Tensor, "batch out height width"]:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.pool(x))], 1)


class FirstReduction(nn.Module):
    """Halves the maps: 3x3/2; 3x3, 3x3/2; maximum of 3x3/2: 384 + 96 channels and those that enter."""

    def __init__(self, entering: int, look: Choices, *, same: bool) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(entering, 384, 3, look, 2, same=same)
        self.branch3x3dbl_1 = ConvNorm(entering, 64, 1, look)
        self.branch3x3dbl_2 = ConvNorm(self.branch3x3dbl_1.channels, 96, 3, look)
        self.branch3x3dbl_3 = ConvNorm(self.branch3x3dbl_2.channels, 96, 3, look, 2, same=same)
        self.pool = nn.MaxPool2d(3, 2, int(same))
        self.channels = sum(map(look.channels, (384, 96))) + entering

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.pool(x)], 1)


class Crosses(nn.Module):
    """1x1; 1x7, 7x1; 7x1, 1x7 twice; mean of 3x3: four times 192 channels, `inner` of them within."""

    def __init__(self, entering: int, inner: int, look: Choices) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(entering, 192, 1, look)
        self.branch7x7_1 = ConvNorm(entering, inner, 1, look)
        self.branch7x7_2 = ConvNorm(self.branch7x7_1.channels, inner, (1, 7), look)
        self.branch7x7_3 = ConvNorm(self.branch7x7_2.channels, 192, (7, 1), look)
        self.branch7x7dbl_1 = ConvNorm(entering, inner, 1, look)
        self.branch7x7dbl_2 = ConvNorm(self.branch7x7dbl_1.channels, inner, (7, 1), look)
        self.branch7x7dbl_3 = ConvNorm(self.branch7x7dbl_2.channels, inner, (1, 7), look)
        self.branch7x7dbl_4 = ConvNorm(self.branch7x7dbl_3.channels, inner, (7, 1), look)
        self.branch7x7dbl_5 = ConvNorm(self.branch7x7dbl_4.channels, 192, (1, 7), look)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNorm(entering, 192, 1, look)
        self.channels = 4 * look.channels(192)

    def forward(self, x: Maps) -> Float[Tensor, "batch out height width"]:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], 1)


class SecondReduction(nn.Module):
    """Halves the maps: 3x3/2; 1x7, 7x1, 3x3/2; maximum of 3x3/2: 320 + 192 channels and those that enter."""

    def __init__(self, entering: int, look: Choices, *, same: bool) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(entering, 192, 1, look)
        self.branch3x3_2 = ConvNorm(self.branch3x3_1.channels, 320, 3, look, 2, same=same)
        self.branch7x7x3_1 = ConvNorm(entering, 192, 1, look)
        self.branch7x7x3_2 = ConvNorm(self.branch7x7x3_1.channels, 192, (1, 7), look)
        self.branch7x7x3_3 = ConvNorm(self.branch7x7x3_2.channels, 192, (7, 1), look)
        self.branch7x7x3_4 = ConvNorm(self.branch7x7x3_3.channels, 192, 3, look, 2, same=same)
        self.pool = nn.MaxPool2d(3, 2, int(same))
        self.channels = sum(map(look.channels, (320, 192))) + entering

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, self.pool(x)], 1)


class Expanded(nn.Module):
    """1x1; 1x3 beside 3x1; 3x3, then 1x3 beside 3x1; mean of 3x3: 320 + 768 + 768 + 192 channels."""

    def __init__(self, entering: int, look: Choices) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(entering, 320, 1, look)
        self.branch3x3_1 = ConvNorm(entering, 384, 1, look)
        self.branch3x3_2a = ConvNorm(self.branch3x3_1.channels, 384, (1, 3), look)
        self.branch3x3_2b = ConvNorm(self.branch3x3_1.channels, 384, (3, 1), look)
        self.branch3x3dbl_1 = ConvNorm(entering, 448, 1, look)
        self.branch3x3dbl_2 = ConvNorm(self.branch3x3dbl_1.channels, 384, 3, look)
        self.branch3x3dbl_3a = ConvNorm(self.branch3x3dbl_2.channels, 384, (1, 3), look)
        self.branch3x3dbl_3b = ConvNorm(self.branch3x3dbl_2.channels, 384, (3, 1), look)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNorm(entering, 192, 1, look)
        self.channels = sum(map(look.channels, (320, 384, 384, 384, 384, 192)))

    def forward(self, x: Maps) -> Float[Tensor, "batch out height width"]:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        single = [self.branch3x3_2a(once), self.branch3x3_2b(once)]
        double = [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return torch.cat([self.branch1x1(x), *single, *double, self.branch_pool(self.pool(x))], 1)


class Auxiliary(nn.Module):
    """The second output, for training only: 17x17 to 5x5 by means, 128 channels by 1x1, 768 by 5x5, mean, linear."""

    def __init__(self, entering: int, count: int, look: Choices, *, fits: bool) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(5, 3) if fits else nn.AdaptiveAvgPool2d(5)
        self.conv0 = ConvNorm(entering, 128, 1, look)
        self.conv1 = ConvNorm(self.conv0.channels, 768, 5, look, same=False)
        self.pool = GlobalMean()
        self.fc = nn.Linear(self.conv1.channels, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        out: Tensor = self.fc(self.pool(self.conv1(self.conv0(self.shrink(x)))))
        return out
