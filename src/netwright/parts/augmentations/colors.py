"""Changes of colour and noise. Pixels are meant as they stood in the data, whatever `data.normalize` made of them."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from netwright.catalogue import AUGMENTATIONS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.augmentations.draws import Draws, Images, Pixels

Strength = Annotated[float, Range(0, 1)]
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


@AUGMENTATIONS.add(needs="pixel range", source="Howard 2013, arXiv:1312.5402; Szegedy et al. 2014, section 6")
def color_jitter(
    batch: Images,
    draws: Draws,
    *,
    brightness: Strength = 0.4,
    contrast: Strength = 0.4,
    saturation: Strength = 0.4,
    hue: Annotated[float, Range(0, 0.5)] = 0.0,
) -> Images:
    """Changes brightness, contrast, saturation and hue of each picture, in this order.

    Formula: x b; m + c (x - m), m the mean brightness; g + s (x - g), g each pixel's brightness; hue + h of a turn;
    b, c, s uniform in 1 -+ their setting, h in -+ `hue`, pixels as shares 0..1 of their range and kept in it

    Grey pictures have no saturation and no hue: set both to 0.
    """
    colored = batch.shape[1] == 3
    if not colored and (saturation or hue):
        _wants_colours("color_jitter", batch, say("; saturation=0 hue=0 leaves brightness and contrast"))
    u = (2 * draws.uniform(4) - 1).to(batch)[:, :, None, None, None]
    x = draws.pixels.shares(batch)
    x = (x * (1 + brightness * u[:, 0])).clamp(0, 1)
    middle = _brightness(x).mean((1, 2, 3), keepdim=True) if colored else x.mean((1, 2, 3), keepdim=True)
    x = (middle + (1 + contrast * u[:, 1]) * (x - middle)).clamp(0, 1)
    if saturation:
        grey = _brightness(x)
        x = (grey + (1 + saturation * u[:, 2]) * (x - grey)).clamp(0, 1)
    if hue:
        x = _turned(x, hue * u[:, 3, 0])
    return draws.pixels.encoded(x)


@AUGMENTATIONS.add(needs="pixel range, colour axes", source="Krizhevsky, Sutskever, Hinton 2012, section 4.1")
def pca_lighting(
    batch: Images,
    draws: Draws,
    *,
    std: Annotated[float, Range(0, 1000)] = 0.1,
    by: Literal["eigenvalue", "deviation"] = "eigenvalue",
) -> Images:
    """AlexNet's colour noise: adds to all pixels of a picture one colour along the axes in which colours vary.

    Formula: x + sum_k a_k l_k p_k, a_k ~ N(0, std), p_k and l_k eigenvectors and eigenvalues of the 3x3 covariance of
    red, green and blue over the training pixels as shares 0..1 of their range; `by = deviation`: sqrt(l_k)

    Pixels are not kept within their range. The paper's formula has l_k, which is small for shares (about 0.15 in all);
    its square root has the unit of a pixel.
    """
    if batch.shape[1] != 3:
        _wants_colours("pca_lighting", batch, "")
    pixels = draws.pixels
    if pixels.eigenvalues is None or pixels.eigenvectors is None:
        raise UsageError(say("pca_lighting wants the colours of training pictures, which a data set brings along"))
    reach = pixels.eigenvalues if by == "eigenvalue" else pixels.eigenvalues.clamp(min=0).sqrt()
    moved = ((std * draws.normal(3) * reach)[:, None] * pixels.eigenvectors).sum(2)
    change = moved * (pixels.high - pixels.low) * pixels.scale
    return batch + change.to(batch)[:, :, None, None]


@AUGMENTATIONS.add(source="Sietsma and Dow 1991, Neural Networks 4; Bishop 1995")
def noise(batch: Images, draws: Draws, *, std: Annotated[float, Range(0, 1e6)] = 0.1) -> Images:
    """Adds normal noise to every pixel; `std` has the unit of the network's input.

    Formula: y = x + std * n, n ~ N(0, 1)
    """
    count = batch[0].numel() if len(batch) else 1
    return batch + std * draws.normal(count).reshape(batch.shape).to(batch)


def color_axes(pictures: Tensor, pixels: Pixels) -> tuple[Float64[Tensor, "three"], Float64[Tensor, "three three"]]:
    """Eigenvalues, largest first, and eigenvectors (columns) of the covariance of red, green and blue.

    Over all pixels of raw `pictures` (N, 3, H, W) as shares of the range; each axis points where its first number that
    is largest in size is positive, so that equal data give equal axes.
    """
    total, product, count = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64), 0
    for part in pictures.split(256):
        colours = (part.double() - pixels.low).movedim(1, 0).flatten(1) / (pixels.high - pixels.low)
        total, product, count = total + colours.sum(1), product + colours @ colours.T, count + colours.shape[1]
    mean = total / max(1, count)
    values, vectors = torch.linalg.eigh(product / max(1, count) - torch.outer(mean, mean))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return values, vectors * torch.where(largest < 0, -1.0, 1.0)


def _wants_colours(name: str, batch: Images, way: str) -> None:
    text = say("{name} changes colours, but these pictures have {count} channels and not 3",
               name=name, count=batch.shape[1])  # fmt: skip
    raise UsageError(text + way)


def _brightness(x: Images) -> Images:
    return (x * torch.tensor(GREY, dtype=x.dtype, device=x.device)[:, None, None]).sum(1, keepdim=True)


def _turned(x: Images, turn: Tensor) -> Images:
    """The hue moved by a share of a turn, shape (batch, 1, 1), saturation and value kept (the HSV colour model)."""
    value, place = x.max(1)
    spread = value - x.min(1).values
    safe = torch.where(spread > 0, spread, 1.0)
    red, green, blue = x.unbind(1)
    thirds = torch.stack([(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe], 1)
    hue = thirds.gather(1, place[:, None])[:, 0] / 6 + turn
    steps = torch.tensor([5.0, 3.0, 1.0], dtype=x.dtype, device=x.device)[:, None, None]
    k = (steps + 6 * hue[:, None]) % 6
    return value[:, None] - spread[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)
