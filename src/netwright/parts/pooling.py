"""Pooling: layers that shrink maps; none of them learns anything. Built from the shape (channels, height, width)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import POOLING
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.windows import Pair, Sides, padded_size, pair, sides_of, size_formula

Shape = tuple[int, ...]
Size = int | list[Any]
Pad = Literal["valid", "same"] | int


@POOLING.add(source="Riesenhuber and Poggio 1999; Scherer, Mueller, Behnke 2010")
def maxpool(shape: Shape, *, size: Size = 2, stride: Size = 0, pad: Pad = "valid", ceil: bool = False) -> nn.Module:
    """Keeps the largest number of each window; the gradient goes to that one alone.

    Formula: y = max over the window; floor((n + 2p - k)/s) + 1 places (`ceil` rounds up)

    stride 0 means equal to the size. `same` is TensorFlow's rule; padding never wins the maximum.
    """
    kernel, step, sides = _windows("maxpool", shape, size, stride, pad, ceil)
    if _even(sides):
        return nn.MaxPool2d(kernel, step, (sides[0][0], sides[1][0]), ceil_mode=ceil)
    return PaddedPool("max", kernel, step, sides, ceil)


@POOLING.add(source="LeCun et al. 1989, Neural Computation 1")
def avgpool(
    shape: Shape, *, size: Size = 2, stride: Size = 0, pad: Pad = "valid", ceil: bool = False, count_pad: bool = False
) -> nn.Module:
    """Takes the mean of each window.

    Formula: y = sum over the window / count; the count leaves padding out (`count_pad` counts it, as Caffe does)

    stride 0 means equal to the size. `same` is TensorFlow's rule.
    """
    kernel, step, sides = _windows("avgpool", shape, size, stride, pad, ceil)
    if _even(sides):
        padding = (sides[0][0], sides[1][0])
        return nn.AvgPool2d(kernel, step, padding, ceil_mode=ceil, count_include_pad=count_pad)
    return PaddedPool("avg_counted" if count_pad else "avg", kernel, step, sides, ceil)


@POOLING.add(source="Lin, Chen, Yan 2014, arXiv:1312.4400, section 3.2")
def globalpool(shape: Shape, *, kind: Literal["avg", "max"] = "avg") -> nn.Module:
    """Makes one number of each whole map: (channels, height, width) becomes (channels,).

    Formula: y_c = mean (or max) over height and width of x_c
    """
    _maps("globalpool", shape)
    whole = nn.AdaptiveAvgPool2d(1) if kind == "avg" else nn.AdaptiveMaxPool2d(1)
    return nn.Sequential(whole, nn.Flatten())


class PaddedPool(nn.Module):
    """Pooling with unequal padding; the padding neither wins a maximum nor (in `avg`) enters a mean."""

    def __init__(self, kind: str, kernel: Pair, stride: Pair, sides: Sides, ceil: bool) -> None:
        super().__init__()
        self.kind, self.kernel_size, self.stride, self.ceil_mode = kind, kernel, stride, ceil
        self.sides = sides
        self.borders = (*sides[1], *sides[0])

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels high wide"]:
        if self.kind == "max":
            padded = F.pad(maps, self.borders, value=float("-inf"))
            return F.max_pool2d(padded, self.kernel_size, self.stride, ceil_mode=self.ceil_mode)
        sums = F.avg_pool2d(F.pad(maps, self.borders), self.kernel_size, self.stride, ceil_mode=self.ceil_mode)
        if self.kind == "avg_counted":
            return sums
        real = F.pad(torch.ones_like(maps[:1, :1]), self.borders)
        return sums / F.avg_pool2d(real, self.kernel_size, self.stride, ceil_mode=self.ceil_mode)


def _maps(name: str, shape: Shape) -> None:
    if len(shape) != 3:
        text = say("{name} wants maps (channels, height, width), but the shape {shape} came.", name=name, shape=shape)
        raise UsageError(text)


def _even(sides: Sides) -> bool:
    return all(before == after for before, after in sides)


def _windows(name: str, shape: Shape, size: Size, stride: Size, pad: Pad, ceil: bool) -> tuple[Pair, Pair, Sides]:
    """Kernel, stride and padding as pairs; a window that does not fit is refused with the formula and the numbers."""
    _maps(name, shape)
    kernel = pair(size, "size", name)
    step = kernel if stride == 0 else pair(stride, "stride", name)
    sides = sides_of(pad, (shape[1], shape[2]), kernel, step, (1, 1), name)
    for axis, n, k, s, around in zip((say("height"), say("width")), shape[1:], kernel, step, sides, strict=True):
        if padded_size(n, k, s, around, up=ceil) < 1:
            raise UsageError(
                say(
                    "{name}: {axis} {formula}; the window is larger than the map.",
                    name=name,
                    axis=axis,
                    formula=size_formula(n, k, s, around),
                )
            )
        if pad != "same" and 2 * around[0] > k:
            raise UsageError(say("{name}: pad = {pad}; it is at most half of size {k}.", name=name, pad=around[0], k=k))
    return kernel, step, sides
