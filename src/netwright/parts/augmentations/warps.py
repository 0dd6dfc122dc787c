"""Turned, zoomed, slanted and bent pictures: every pixel is read from another place, bilinear.

Formula: y[p] = x[A (p - c) + c + d], p = (row, column), c the middle; A and d are the inverse of what the picture does.
"""

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from netwright.catalogue import AUGMENTATIONS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.augmentations.crops import sampled
from netwright.parts.augmentations.draws import Draws, Images, ordered

Fill = Literal["replicate", "zeros", "reflect"]
"""What lies beyond the border: its nearest pixels, zeros (the training mean of a standardised input), or a mirror."""
Degrees = Annotated[float, Range(0, 180)]
Slant = Annotated[float, Range(0, 80)]
Factor = Annotated[float, Range(0.01, 100)]
Matrices = Float64[Tensor, "batch 2 2"]


@AUGMENTATIONS.add(source="Simard, Steinkraus, Platt 2003, ICDAR")
def rotate(batch: Images, draws: Draws, *, degrees: Degrees = 15.0, fill: Fill = "replicate") -> Images:
    """Turns about the middle by a random angle.

    Formula: angle uniform in -degrees..degrees, positive against the clock
    """
    return _warped(batch, _turned(draws.between(-degrees, degrees, 1)[:, 0]), fill=fill)


@AUGMENTATIONS.add(source="Simonyan and Zisserman 2014, arXiv:1409.1556, section 3.1 (scale jittering)")
def scale(batch: Images, draws: Draws, *, low: Factor = 0.8, high: Factor = 1.25, fill: Fill = "replicate") -> Images:
    """Zooms about the middle by a random factor; above 1 the picture grows and its border is lost.

    Formula: y[p] = x[(p - c) / s + c], s = exp(u), u uniform in log(low)..log(high)

    `scale 1 2, crop size=224` on 256 pixels is VGG's jitter of the shorter side, 256 to 512. Differs: the factor is
    even in its logarithm, and the crop lies within the middle 256 pixels of the enlarged picture.
    """
    ordered("scale", low, high)
    factor = draws.between(math.log(low), math.log(high), 1)[:, 0].exp()
    return _warped(batch, torch.diag_embed((1 / factor)[:, None].expand(-1, 2)), fill=fill)


@AUGMENTATIONS.add(source="LeCun, Bottou, Bengio, Haffner 1998, section III.C")
def shear(batch: Images, draws: Draws, *, degrees: Slant = 10.0, fill: Fill = "replicate") -> Images:
    """Slants left or right by a random angle; the middle row stays.

    Formula: y[i, j] = x[i, j + tan(angle) (i - c)], angle uniform in -degrees..degrees
    """
    return _warped(batch, _slanted(draws.between(-degrees, degrees, 1)[:, 0]), fill=fill)


@AUGMENTATIONS.add(source="Simard, Steinkraus, Platt 2003, ICDAR; LeCun, Bottou, Bengio, Haffner 1998, section III.C")
def affine(
    batch: Images,
    draws: Draws,
    *,
    degrees: Degrees = 10.0,
    translate: Annotated[float, Range(0, 1)] = 0.1,
    low: Factor = 0.9,
    high: Factor = 1.1,
    slant: Slant = 5.0,
    fill: Fill = "replicate",
) -> Images:
    """Turns, shifts, zooms and slants at once, each by a random amount of its own.

    Formula: A = rotation(angle) shear(slant) / s; d uniform within +- translate of height and width

    One interpolation instead of the four that `rotate, translate, scale, shear` in a row would cost.
    """
    ordered("affine", low, high)
    factor = draws.between(math.log(low), math.log(high), 1, "factor")[:, 0].exp()
    turned = _turned(draws.between(-degrees, degrees, 1, "angle")[:, 0])
    slanted = _slanted(draws.between(-slant, slant, 1, "slant")[:, 0])
    matrices = (turned[:, :, :, None] * slanted[:, None]).sum(2) / factor[:, None, None]
    size = torch.tensor(batch.shape[2:], dtype=torch.float64)
    return _warped(batch, matrices, draws.between(-translate, translate, 2, "shift") * size, fill=fill)


@AUGMENTATIONS.add(source="Simard, Steinkraus, Platt 2003, ICDAR")
def elastic(
    batch: Images,
    draws: Draws,
    *,
    alpha: Annotated[float, Range(0, 10_000)] = 34.0,
    sigma: Annotated[float, Range(0.1, 100)] = 4.0,
    fill: Fill = "replicate",
) -> Images:
    """Bends the picture as if it were drawn on rubber: for handwriting.

    Formula: y[p] = x[p + alpha g(p)], g a field of uniform numbers -1..1 in each direction, blurred by a Gaussian of
    `sigma` pixels

    The defaults are the paper's for 28x28 digits; alpha and sigma grow with the picture.
    """
    height, width = batch.shape[2:]
    field = draws.between(-1, 1, 2 * height * width).reshape(-1, 2, height, width).to(batch.device, torch.float32)
    reach = max(1, round(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma).square())
    moved = alpha * smoothed(field, (taps / taps.sum()).expand(len(field), -1), "zeros")
    lines = torch.arange(height, dtype=torch.float64, device=batch.device)[None, :, None]
    columns = torch.arange(width, dtype=torch.float64, device=batch.device)[None, None]
    return sampled(batch, lines + moved[:, 0], columns + moved[:, 1], fill)


@AUGMENTATIONS.add(source="Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709, appendix A")
def blur(
    batch: Images,
    draws: Draws,
    *,
    low: Annotated[float, Range(0.05, 50)] = 0.1,
    high: Annotated[float, Range(0.05, 50)] = 2.0,
    probability: Annotated[float, Range(0, 1)] = 0.5,
) -> Images:
    """Blurs by a Gaussian of random width.

    Formula: y = x * g, g[k] ~ exp(-k^2 / (2 s^2)) along rows and columns, s uniform in low..high pixels
    """
    ordered("blur", low, high)
    width = draws.between(low, high, 1, "sigma")
    reach = torch.arange(-max(1, round(3 * high)), max(1, round(3 * high)) + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (reach / width).square())
    changed = smoothed(batch, taps / taps.sum(1, keepdim=True), "replicate")
    return torch.where((draws.uniform(1, "chosen") < probability).to(batch.device)[:, :, None, None], changed, batch)


def smoothed(batch: Tensor, taps: Float64[Tensor, "batch taps"], border: Literal["zeros", "replicate"]) -> Tensor:
    """Each example convolved with its own taps along rows and columns, shape kept.

    One sum over shifted copies: unlike a convolution kernel it gives an example the same bits in every batch.
    """
    weights, reach = taps.to(batch)[:, :, None, None, None], taps.shape[1] // 2
    for axis in (2, 3):
        length = batch.shape[axis]
        places = torch.arange(-reach, length + reach, device=batch.device)
        padded = batch.index_select(axis, places.clamp(0, length - 1))
        if border == "zeros":
            inside = ((places >= 0) & (places < length)).to(batch.dtype)
            padded.mul_(inside[:, None] if axis == 2 else inside)
        total, product = torch.zeros_like(batch), torch.empty_like(batch)
        for tap in range(taps.shape[1]):
            torch.mul(padded.narrow(axis, tap, length), weights[:, tap], out=product)
            total.add_(product)
        batch = total
    return batch


def _turned(degrees: Float64[Tensor, "batch"]) -> Matrices:
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)


def _slanted(degrees: Float64[Tensor, "batch"]) -> Matrices:
    one, zero = torch.ones_like(degrees), torch.zeros_like(degrees)
    tangent = (degrees * (math.pi / 180)).tan()
    return torch.stack([torch.stack([one, zero], 1), torch.stack([tangent, one], 1)], 1)


def _warped(batch: Images, matrices: Matrices, shift: Tensor | None = None, *, fill: str) -> Images:
    """Every pixel read at A (p - c) + c + d."""
    height, width = batch.shape[2:]
    a = matrices.to(batch.device)[:, :, :, None, None]
    down = (torch.arange(height, dtype=torch.float64, device=batch.device) - (height - 1) / 2)[:, None]
    across = (torch.arange(width, dtype=torch.float64, device=batch.device) - (width - 1) / 2)[None]
    rows = a[:, 0, 0] * down + a[:, 0, 1] * across + (height - 1) / 2
    columns = a[:, 1, 0] * down + a[:, 1, 1] * across + (width - 1) / 2
    if shift is not None:
        moved = shift.to(batch.device)[:, :, None, None]
        rows, columns = rows + moved[:, 0], columns + moved[:, 1]
    if fill == "reflect" and min(height, width) < 2:
        raise UsageError(say("fill = reflect cannot mirror pictures of {height}x{width}", height=height, width=width))
    return sampled(batch, rows, columns, fill)
