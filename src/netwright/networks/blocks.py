"""What the convolutional networks of the catalogue are built from: one record of choices, and the blocks it makes.

Every network of the line takes `width`, `activation`, `norm`, `init`, `dropout` and `stem`, so that a remedy is one
override. A paper's own choice is the default, written out: `norm = "batchnorm(eps=0.001)"`.
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import Range
from netwright.networks.settings import Share
from netwright.networks.shapes import Ends, Shape, maps
from netwright.parts.activations import activation as fresh_activation
from netwright.parts.norms import norm as fresh_norm
from netwright.parts.pooling import padded_pool
from netwright.parts.windows import same_sides

Width = Annotated[float, Range(0.01, 64)]
Stem = Literal["auto", "full", "small"]
Maps = Float[Tensor, "batch channels height width"]
NONE = "none"


class Scores(NamedTuple):
    """What a network with auxiliary heads gives while it trains; in use it gives `main` alone.

    The network's `auxiliary_weight` is the factor of each auxiliary loss.
    """

    main: Tensor
    auxiliary: tuple[Tensor, ...]


@dataclass(frozen=True)
class Choices:
    """What a person may change in any network of the line."""

    width: float
    activation: str
    norm: str
    divisor: int = 1
    """Channels are rounded to multiples of it, never more than 10 % down (MobileNet: 8)."""

    def channels(self, count: float) -> int:
        """`count` channels at this width, at least 1."""
        wanted = count * self.width
        if self.divisor == 1:
            return max(1, round(wanted))
        rounded = max(self.divisor, int(wanted + self.divisor / 2) // self.divisor * self.divisor)
        return rounded if rounded >= 0.9 * wanted else rounded + self.divisor

    @property
    def bias(self) -> bool:
        """Whether convolutions have biases: where no norm behind them adds one."""
        return self.norm == NONE

    def act(self) -> nn.Module:
        """A fresh activation."""
        return fresh_activation(self.activation, "network.activation")

    def normed(self, channels: int) -> nn.Module:
        """A fresh norm for maps of `channels` channels; nothing where the network has none."""
        return nn.Identity() if self.norm == NONE else fresh_norm(self.norm, (channels, 1, 1), "network.norm")


class ConvNorm(nn.Module):
    """Convolution, norm and activation; `channels` leave it. `same` pads so that stride 1 keeps the size."""

    def __init__(
        self, entering: int, leaving: float, kernel: int | tuple[int, int], look: Choices, stride: int = 1, *,
        same: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.channels = look.channels(leaving)
        padding = (high // 2, wide // 2) if same else 0
        self.conv = nn.Conv2d(entering, self.channels, (high, wide), stride, padding, bias=look.bias)
        self.bn, self.act = look.normed(self.channels), look.act()

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's `same` padding: ceil(n / stride) places, the odd pixel at the bottom or right."""

    def sides(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """((top, bottom), (left, right)) for maps of that size."""
        places = zip((height, width), self.kernel_size, self.stride, self.dilation, strict=True)
        down, across = (same_sides(*axis) for axis in places)
        return down, across

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        down, across = self.sides(x.shape[2], x.shape[3])
        return super().forward(F.pad(x, (*across, *down)))


def same_conv(into: int, out: int, kernel: int, stride: int, look: Choices, groups: int = 1) -> nn.Conv2d:
    """A convolution with TensorFlow's `same` padding; at stride 1 and odd kernels torch's own does it."""
    if stride == 1 and kernel % 2:
        return nn.Conv2d(into, out, kernel, 1, kernel // 2, groups=groups, bias=look.bias)
    return SameConv2d(into, out, kernel, stride, groups=groups, bias=look.bias)


class SamePool(nn.Module):
    """Pooling with TensorFlow's `same` padding, which never wins a maximum nor (without `count_pad`) enters a mean."""

    def __init__(self, kind: Literal["max", "avg"], kernel: int, stride: int, count_pad: bool = False) -> None:
        super().__init__()
        self.kind, self.kernel_size, self.stride = kind, (kernel, kernel), (stride, stride)
        self.count_pad = count_pad

    def forward(self, x: Maps) -> Float[Tensor, "batch channels high wide"]:
        places = zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        down, across = (same_sides(*axis) for axis in places)
        kind = "avg_counted" if self.kind == "avg" and self.count_pad else self.kind
        return padded_pool(x, kind, self.kernel_size, self.stride, (down, across))

    def counted(self, shape: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
        """Numbers for the anatomy: each unit reads its window."""
        units, window = prod(output), prod(self.kernel_size)
        size = f"out = ceil({shape[1]}/{self.stride[0]}) = {output[1]}"
        formula = f"{size}; connections = {units}*{window} = {units * window:,}"
        return {"kind": f"{self.kind}pool", "neurons": units, "connections": units * window, "formula": formula}


class GlobalMean(nn.Module):
    """The mean of each map: (channels, height, width) becomes (channels,)."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Maps) -> Float[Tensor, "batch channels"]:
        out: Tensor = self.pool(x).flatten(1)
        return out


def dropped(share: float) -> nn.Module:
    """Dropout of that share; nothing where it is 0."""
    return nn.Dropout(share) if share else nn.Identity()


def small(stem: Stem, shape: Shape, below: int) -> bool:
    """Whether the stem for small pictures is meant: as asked, or (`auto`) where a side is below `below` pixels."""
    return stem == "small" or (stem == "auto" and min(shape[1:]) < below)


__all__ = [
    "NONE", "Choices", "ConvNorm", "Ends", "GlobalMean", "Maps", "SameConv2d", "SamePool", "Scores", "Shape", "Share",
    "Stem", "Width", "dropped", "maps", "same_conv", "small",
]  # fmt: skip
