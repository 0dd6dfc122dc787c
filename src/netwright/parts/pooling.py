"""Pooling: layers that shrink maps, built from the shape (channels, height, width). Only `subsample` learns weights."""

from math import prod
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import POOLING, Range
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


@POOLING.add(source="bins of equal share: He et al. 2014, arXiv:1406.4729, section 2.2")
def adaptivepool(shape: Shape, *, size: Size = 1, kind: Literal["avg", "max"] = "avg") -> nn.Module:
    """Makes maps of one given size of maps of any size.

    Formula: y_i = mean (or max) over the pixels floor(i n / m) to ceil((i + 1) n / m) - 1 of n, for m bins a side
    """
    _maps("adaptivepool", shape)
    bins = pair(size, "size", "adaptivepool")
    return nn.AdaptiveAvgPool2d(bins) if kind == "avg" else nn.AdaptiveMaxPool2d(bins)


@POOLING.add(source="Sermanet, Chintala, LeCun 2012, arXiv:1204.3968, section 2.1")
def lppool(
    shape: Shape, *, size: Size = 2, power: Annotated[float, Range(1, 8)] = 2.0, stride: Size = 0, ceil: bool = False
) -> nn.Module:
    """Takes the p-norm of each window, between the sum (p = 1) and the largest (p large).

    Formula: y = (sum over the window of |x|^p)^(1/p)

    stride 0 means equal to the size. Differs: where a window is 0 the gradient is 0, where torch gives NaN; `ceil` sums
    what a window at the edge holds, where torch scales it up.
    """
    kernel, step, _ = _windows("lppool", shape, size, stride, "valid", ceil)
    return LpPool(power, kernel, step, ceil)


@POOLING.add(source="LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86, section II.B")
def subsample(shape: Shape, *, size: Size = 2, stride: Size = 0) -> nn.Module:
    """LeNet's sub-sampling: the sum of each window, times a gain plus a bias that each map learns.

    Formula: y = gain_c * (sum over the window) + bias_c; 2 * channels parameters

    stride 0 means equal to the size. It starts as the mean: gain 1 / window, bias 0. LeNet-5's S2 has 12 parameters, S4
    has 32.
    """
    kernel, step, _ = _windows("subsample", shape, size, stride, "valid", False)
    return SubSample(shape[0], kernel, step)


class SubSample(nn.Module):
    """The sum of each window, times a gain plus a bias for each map."""

    def __init__(self, channels: int, kernel: Pair = (2, 2), stride: Pair = (2, 2)) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 1 / prod(kernel)))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.kernel_size, self.stride = kernel, stride

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels high wide"]:
        return self.gain * (prod(self.kernel_size) * F.avg_pool2d(maps, self.kernel_size, self.stride)) + self.bias

    def counted(self, shape: Shape, output: Shape) -> dict[str, Any]:
        """Numbers for the anatomy: each unit reads its window and a bias."""
        count, channels, (high, wide) = prod(output), output[0], self.kernel_size
        links = count * (high * wide + 1)
        formula = (
            f"parameters = {channels}*(1 + 1) = {2 * channels:,}; connections = {count}*({high}*{wide} + 1) = {links:,}"
        )
        return {"kind": "subsample", "neurons": count, "connections": links, "formula": formula}


class LpPool(nn.Module):
    """The p-norm of each window, with a gradient of 0 where the window is 0."""

    def __init__(self, power: float, kernel: Pair, stride: Pair, ceil: bool) -> None:
        super().__init__()
        self.power, self.kernel_size, self.stride, self.ceil_mode = power, kernel, stride, ceil

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels high wide"]:
        raised = maps.abs().pow(self.power)
        sums = F.avg_pool2d(raised, self.kernel_size, self.stride, ceil_mode=self.ceil_mode, divisor_override=1)
        full = sums > 0
        return torch.where(full, sums, 1.0).pow(1 / self.power) * full

    def counted(self, shape: Shape, output: Shape) -> dict[str, Any]:
        """Numbers for the anatomy: each unit reads its window."""
        count, window = prod(output), prod(self.kernel_size)
        formula = f"connections = {count}*{window} = {count * window:,}"
        return {"kind": "lppool", "neurons": count, "connections": count * window, "formula": formula}


class PaddedPool(nn.Module):
    """Pooling with unequal padding; the padding neither wins a maximum nor (in `avg`) enters a mean."""

    def __init__(self, kind: str, kernel: Pair, stride: Pair, sides: Sides, ceil: bool) -> None:
        super().__init__()
        self.kind, self.kernel_size, self.stride, self.ceil_mode = kind, kernel, stride, ceil
        self.sides = sides

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels high wide"]:
        return padded_pool(maps, self.kind, self.kernel_size, self.stride, self.sides, self.ceil_mode)


def padded_pool(
    maps: Float[Tensor, "batch channels height width"], kind: str, kernel: Pair, stride: Pair, sides: Sides,
    ceil: bool = False,
) -> Float[Tensor, "batch channels high wide"]:  # fmt: skip
    """`max`, `avg` or `avg_counted` (padding enters the mean) over windows of maps with that padding."""
    borders = (*sides[1], *sides[0])
    if kind == "max":
        return F.max_pool2d(F.pad(maps, borders, value=float("-inf")), kernel, stride, ceil_mode=ceil)
    sums = F.avg_pool2d(F.pad(maps, borders), kernel, stride, ceil_mode=ceil)
    if kind == "avg_counted":
        return sums
    real = F.pad(torch.ones_like(maps[:1, :1]), borders)
    return sums / F.avg_pool2d(real, kernel, stride, ceil_mode=ceil)


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
