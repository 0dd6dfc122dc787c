"""Convolution in plain loops, by Fourier transform, and how often each pixel is visited: references to learn from.

They compute what the layers compute, slowly and in the open. Deep learning's convolution slides the kernel unturned
(cross-correlation); `flip=True` turns it by 180 degrees, as mathematics does.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.windows import Pair, output_size, padded_size, pair, sides_of, size_formula

Maps = Float[np.ndarray, "channels height width"]
Kernels = Float[np.ndarray, "out depth high wide"]


def convolve(
    x: Maps,
    kernel: Kernels,
    bias: Sequence[float] | np.ndarray | None = None,
    stride: int | Pair = 1,
    pad: Any = "valid",
    dilation: int | Pair = 1,
    groups: int = 1,
    *,
    flip: bool = False,
) -> Float[np.ndarray, "out high wide"]:
    """Slide each kernel over the maps: at each place the products are summed over its window and depth, plus its bias.

    Formula: y[o, i, j] = b[o] + sum over c, a, b of w[o, c, a, b] * x[c, i s + a d - p, j s + b d - p]; outside the
    maps x is 0

    Args: `x` one example in maps; `kernel` as a layer's weight (out, in / groups, high, wide); `pad` as in a stack:
    valid, same, full, a number or [[0,0],[top,bottom],[left,right],[0,0]]. Float64 throughout.
    Errors: UsageError where channels, groups or sizes do not fit, with the numbers.
    """
    maps, weights = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    step, spread, sides = _checked(maps, weights, stride, pad, dilation, groups)
    weights = weights[:, :, ::-1, ::-1] if flip else weights
    out, depth, high, wide = weights.shape
    padded = np.pad(maps, ((0, 0), *sides))
    places = [
        padded_size(n, k, s, around, d)
        for n, k, s, around, d in zip(maps.shape[1:], (high, wide), step, sides, spread, strict=True)
    ]
    result = np.zeros((out, *places))
    for o, i, j in product(range(out), *map(range, places)):
        first = o // (out // groups) * depth  # the first map of this kernel's group
        total = 0.0 if bias is None else float(bias[o])
        for c, a, b in product(range(depth), range(high), range(wide)):
            total += weights[o, c, a, b] * padded[first + c, i * step[0] + a * spread[0], j * step[1] + b * spread[1]]
        result[o, i, j] = total
    return result


def convolve_fft(
    x: Float[np.ndarray, "height width"], kernel: Float[np.ndarray, "high wide"]
) -> Float[np.ndarray, "rows columns"]:
    """The full convolution of one map with one kernel as a product of Fourier transforms.

    Formula: y = F^-1(F(x) F(k)), both padded with zeros to n + k - 1 a side; the kernel is turned, as in mathematics
    """
    maps, weights = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    if maps.ndim != 2 or weights.ndim != 2 or not maps.size or not weights.size:
        text = say("convolve_fft takes one map and one kernel, both (height, width); the shapes {x} and {kernel} came.",
                   x=maps.shape, kernel=weights.shape)  # fmt: skip
        raise UsageError(text)
    size = [n + k - 1 for n, k in zip(maps.shape, weights.shape, strict=True)]
    both = np.fft.rfft2(maps, size) * np.fft.rfft2(weights, size)
    found: np.ndarray = np.fft.irfft2(both, size)
    return found


def positions(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> list[int]:
    """Where a window of `k` begins on `n` pixels: stride s skips s - 1 pixels; -1 is one pixel inside the padding.

    Formula: i*s - p for i = 0 ... floor((n + 2p - (d(k-1)+1))/s)
    """
    return [i * s - p for i in range(max(0, output_size(n, k, s, p, d)))]


def visits(n: int | Pair, k: int | Pair, s: int | Pair = 1, pad: Any = "valid", dilation: int | Pair = 1) -> np.ndarray:
    """How many windows read each pixel: (height, width) counts.

    With `full` padding and stride 1 every pixel is read kh * kw times (E-54: at a larger stride it is not); with `same`
    or `valid` those at the border less often than those inside.
    """
    size, kernel = pair(n, "n", "visits"), pair(k, "k", "visits")
    maps, ones = np.zeros((1, *size)), np.ones((1, 1, *kernel))
    step, spread, sides = _checked(maps, ones, s, pad, dilation, 1)
    axes = []
    for pixels, window, apart, around, wide in zip(size, kernel, step, sides, spread, strict=True):
        counts = np.zeros(pixels + sum(around), int)
        for place in range(padded_size(pixels, window, apart, around, wide)):
            counts[place * apart : place * apart + wide * (window - 1) + 1 : wide] += 1
        axes.append(counts[around[0] : around[0] + pixels])
    return np.outer(*axes)


def _checked(
    maps: np.ndarray, weights: np.ndarray, stride: Any, pad: Any, dilation: Any, groups: int
) -> tuple[Pair, Pair, tuple[Pair, Pair]]:
    """Stride, dilation and padding as pairs, once shapes, channels and sizes fit together."""
    if maps.ndim != 3 or weights.ndim != 4:
        text = say("convolution takes maps (channels, height, width) and kernels (out, in, height, width)")
        raise UsageError(text + "; " + say("the shapes {x} and {kernel} came.", x=maps.shape, kernel=weights.shape))
    if groups < 1 or maps.shape[0] % groups or weights.shape[0] % groups:
        text = say("{channels} input and {kernels} output channels do not divide into {groups} groups.",
                   channels=maps.shape[0], kernels=weights.shape[0], groups=groups)  # fmt: skip
        raise UsageError(text)
    if weights.shape[1] != maps.shape[0] // groups:
        text = say("the kernels are {depth} deep, but {channels} channels in {groups} groups need {wanted}.",
                   depth=weights.shape[1], channels=maps.shape[0], groups=groups,
                   wanted=maps.shape[0] // groups)  # fmt: skip
        raise UsageError(text)
    step, spread = pair(stride, "stride", "convolution"), pair(dilation, "dilation", "convolution")
    size, kernel = (maps.shape[1], maps.shape[2]), (weights.shape[2], weights.shape[3])
    sides = sides_of(pad, size, kernel, step, spread, "convolution")
    for n, k, s, around, d in zip(size, kernel, step, sides, spread, strict=True):
        if padded_size(n, k, s, around, d) < 1:
            formula = size_formula(n, k, s, around, d)
            raise UsageError(say("{formula}; the window is larger than the map.", formula=formula))
    return step, spread, sides
