"""The network of the CIFAR-10 speed record (Jordan 2024): whitened patches, then three blocks of two convolutions."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, Range
from netwright.language import say
from netwright.networks.blocks import Choices, Ends, Maps, Share, Width, dropped, maps
from netwright.networks.shapes import units
from netwright.networks.whitening import Whitening
from netwright.parts.initializers import initialise

WIDTHS = (64, 256, 256)
WINDOW = (2, 2)


@NETWORKS.add(
    source="Jordan 2024, arXiv:2404.00498, and its cifar10-airbench (airbench94)",
    year=2024,
    inputs=("image",),
    stage="practical",
    parents=("vgg13_bn",),
    at=(3, 32, 32),
    classes_at=10,
    params=1_971_640,
    macs=118_147_360,
    error=5.99,
    error_on="CIFAR-10 test, six views, mean of runs",
    recipe="As the recipe @cifar-fast: 8 epochs of batches of 2000, Muon at 0.24 (momentum 0.6, 3 rounds) on the "
    "convolutions, Nesterov (0.85) on the rest, rates to 0 in a straight line; label smoothing 0.2, alternating "
    "mirrors, shifts by 2 pixels (airbench94_muon: 2.59 s on an A100). The paper: SGD, 9.9 epochs of 1024, 3.29 s.",
    traps=(
        "Batch norm has no gain, eps 1e-12, and gives the newest batch a share of 0.4 of its running statistics.",
        "The scores are divided by 9; airbench94_muon divides by 256 and starts the last weights at deviation 1: "
        "its rate of 0.67 for the sum over 2000 examples is 1.66 here, for their mean.",
        "Sides shrink to 31, 15, 7 and 3: the 2x2 window has no padding, and poolings round down.",
    ),
)
def cifar_fast(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "gelu",
    norm: str = "batchnorm(eps=1e-12, momentum=0.4, scale=false)",
    init: str = "partial_identity",
    dropout: Share = 0.0,
    whitening: bool = True,
    eps: Annotated[float, Range(0, 1000)] = 5e-4,
    scale: Annotated[float, Range(1e-6, 1e6)] = 1 / 9,
) -> nn.Module:
    """A small network for pictures of 32x32 that learns in a few epochs: whitened patches and six convolutions.

    Formula: whiten 2x2 (24 maps of 31x31), three blocks of conv 3x3, max 2, norm, GELU, conv 3x3, norm, GELU with 64,
    256 and 256 maps (15x15, 7x7, 3x3), the largest of each map, linear 10 without bias, times `scale`

    `whitening = false` learns the first convolution instead. `eps` is added to the variances that it divides by. Where
    a map is one pixel, its pooling is left out. `init` fills the six convolutions.
    """
    shape = maps("cifar_fast", inputs, 2, say("its first window is {window}x{window}", window=2))
    look = Choices(width, activation, norm)
    net = CifarFast(shape, units(outputs), look, dropout, eps if whitening else -1.0, scale)
    initialise(net.blocks, init, activation)
    return net


class CifarFast(nn.Module):
    """`whiten`, `blocks` and `head`; an `eps` below 0 makes the first convolution an ordinary one."""

    def __init__(
        self, shape: tuple[int, ...], count: int, look: Choices, dropout: float, eps: float, scale: float
    ) -> None:
        super().__init__()
        entering, high, wide = shape[0], shape[1] - 1, shape[2] - 1
        first = 2 * entering * WINDOW[0] * WINDOW[1]
        plain = eps < 0
        self.whiten = nn.Conv2d(entering, first, WINDOW) if plain else Whitening(entering, WINDOW, eps=eps)
        self.act = look.act()
        blocks, entering = [], first
        for leaving in map(look.channels, WIDTHS):
            blocks.append(Block(entering, leaving, look, pooled=min(high, wide) > 1))
            high, wide, entering = *((high // 2, wide // 2) if min(high, wide) > 1 else (high, wide)), leaving
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.MaxPool2d((high, wide))
        self.dropout = dropped(dropout)
        self.head = nn.Linear(entering, count, bias=False)
        self.scale = scale

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.pool(self.blocks(self.act(self.whiten(x))))
        scores: Tensor = self.head(self.dropout(x.flatten(1)))
        return scores * self.scale


class Block(nn.Module):
    """Two 3x3 convolutions, the first one pooled, each with its norm and activation."""

    def __init__(self, entering: int, leaving: int, look: Choices, *, pooled: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, leaving, 3, padding=1, bias=look.bias)
        self.pool = nn.MaxPool2d(2) if pooled else nn.Identity()
        self.bn1, self.act1 = look.normed(leaving), look.act()
        self.conv2 = nn.Conv2d(leaving, leaving, 3, padding=1, bias=look.bias)
        self.bn2, self.act2 = look.normed(leaving), look.act()

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        x = self.act1(self.bn1(self.pool(self.conv1(x))))
        out: Tensor = self.act2(self.bn2(self.conv2(x)))
        return out
