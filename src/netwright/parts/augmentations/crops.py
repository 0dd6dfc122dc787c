"""Windows out of pictures, mirrors and shifts."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netwright.catalogue import AUGMENTATIONS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.augmentations.draws import Draws, Images, ordered

TRIES = 10
"""How many boxes are drawn for an example until one fits."""


@AUGMENTATIONS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 4.1; pad 4: Lee et al. 2015, arXiv:1409.5185")
def crop(
    batch: Images,
    draws: Draws,
    *,
    pad: Annotated[int | Literal["auto"], Range(0, 1024)] = "auto",
    fill: Literal["zeros", "reflect"] = "zeros",
    size: Annotated[int, Range(0, 65_536)] = 0,
) -> Images:
    """Pads each side and cuts a window of the old size, or of `size` x `size`, at a random place.

    Formula: y[i, j] = padded[i + a, j + b], a uniform in 0..height + 2 pad - size, b in 0..width + 2 pad - size

    `pad = auto` is 4 for the old size and 0 with a `size`: 224 out of 256 stands at 33 x 33 places. A `size` is what
    the network reads; outside of training it reads the middle of each picture (`data.test_crops = 10`: ten crops).
    """
    height, width = batch.shape[2:]
    pad = (0 if size else 4) if pad == "auto" else pad
    high, wide = (size, size) if size else (height, width)
    _fits("crop", size, height + 2 * pad, width + 2 * pad)
    free = torch.tensor([height + 2 * pad - high + 1, width + 2 * pad - wide + 1])
    places = (draws.uniform(2) * free).floor().long()
    return _moved(batch, places, pad, "constant" if fill == "zeros" else "reflect", high, wide)


@AUGMENTATIONS.add(source="Szegedy et al. 2014, arXiv:1409.4842, section 6; 10 tries and the way out: torchvision")
def resize_crop(
    batch: Images,
    draws: Draws,
    *,
    low: Annotated[float, Range(0.0001, 1)] = 0.08,
    high: Annotated[float, Range(0.0001, 1)] = 1.0,
    aspect: Annotated[float, Range(0.01, 1)] = 0.75,
    size: Annotated[int, Range(0, 65_536)] = 0,
) -> Images:
    """Cuts a box of random area, shape and place and brings it to the old size, or to `size` x `size`.

    Formula: area = u * height * width, u uniform in low..high; width/height = exp(v), v uniform in -r..r with
    r = log(1/aspect); y bilinear over the box

    A box that sticks out is drawn again, at most 10 times; then it is the largest one of the allowed shape, in the
    middle. Differs: bilinear sampling without antialiasing, where a box larger than the result is thinned out.
    """
    ordered("resize_crop", low, high)
    _fits("resize_crop", size, *batch.shape[2:])
    boxes = _boxes(draws, batch.shape[2], batch.shape[3], low, high, aspect)
    top, left, tall, broad = (numbers.to(batch.device) for numbers in boxes)
    lines, columns = (size, size) if size else batch.shape[2:]
    rows = top[:, None] + (torch.arange(lines, device=batch.device) + 0.5) * tall[:, None] / lines - 0.5
    across = left[:, None] + (torch.arange(columns, device=batch.device) + 0.5) * broad[:, None] / columns - 0.5
    rows = rows.clamp(top[:, None], (top + tall - 1)[:, None])  # nothing from outside of the box
    across = across.clamp(left[:, None], (left + broad - 1)[:, None])
    shape = (-1, lines, columns)
    return sampled(batch, rows[:, :, None].expand(shape), across[:, None, :].expand(shape), "replicate")


@AUGMENTATIONS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 4.1; alternate: Jordan 2024, arXiv:2404.00498")
def flip(
    batch: Images, draws: Draws, *, probability: Annotated[float, Range(0, 1)] = 0.5, alternate: bool = False
) -> Images:
    """Mirrors left and right; with `alternate` each example every other epoch.

    Formula: y[i, j] = x[i, width - 1 - j] with the given probability, drawn anew in each epoch; `alternate`: drawn for
    the first epoch alone, and mirrored where that draw and the epoch's number (0, 1, ...) are not both even or both odd

    So any two epochs in a row show both sides of each example, where free draws show one side twice half of the time.
    """
    if not alternate:
        return torch.where(chosen(batch, draws, probability), batch.flip(3), batch)
    mirrored = chosen(batch, replace(draws, epoch=0), probability)
    return torch.where(mirrored ^ bool(draws.epoch % 2), batch.flip(3), batch)


@AUGMENTATIONS.add(source="Simonyan and Zisserman name the horizontal one; for pictures without an up, such as cells")
def vertical_flip(batch: Images, draws: Draws, *, probability: Annotated[float, Range(0, 1)] = 0.5) -> Images:
    """Mirrors top and bottom.

    Formula: y[i, j] = x[height - 1 - i, j] with the given probability
    """
    return torch.where(chosen(batch, draws, probability), batch.flip(2), batch)


@AUGMENTATIONS.add(source="LeCun, Bottou, Bengio, Haffner 1998, section III.C")
def translate(batch: Images, draws: Draws, *, pixels: Annotated[int, Range(0, 1024)] = 2) -> Images:
    """Shifts by whole pixels, each direction for itself; the border it uncovers is filled with its nearest pixels.

    Formula: y[i, j] = x[i + a, j + b], a and b each uniform in -pixels..pixels, indices kept inside the picture
    """
    return _moved(batch, draws.whole(0, 2 * pixels, 2), pixels, "replicate", *batch.shape[2:])


def centre_crop(batch: Images, size: int) -> Images:
    """The middle `size` x `size` of each picture; an odd pixel too many stays below and on the right."""
    height, width = batch.shape[2:]
    _fits("centre_crop", size, height, width)
    top, left = (height - size) // 2, (width - size) // 2
    return batch[:, :, top : top + size, left : left + size]


def ten_crop(batch: Images, size: int) -> Float[Tensor, "batch ten channels size size"]:
    """The middle and the four corners of each picture, `size` x `size`, then the same five mirrored.

    Order: top left, top right, bottom left, bottom right, middle. A network's answer is the mean over the ten.
    """
    height, width = batch.shape[2:]
    _fits("ten_crop", size, height, width)
    bottom, right = height - size, width - size
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    five = [batch[:, :, top : top + size, left : left + size] for top, left in places]
    return torch.stack([*five, *(view.flip(3) for view in five)], 1)


def chosen(batch: Images, draws: Draws, probability: float) -> Tensor:
    """Which examples a change falls on, shape (batch, 1, 1, 1)."""
    return (draws.uniform(1) < probability).to(batch.device)[:, :, None, None]


def sampled(batch: Images, rows: Tensor, columns: Tensor, fill: str) -> Images:
    """The batch read at fractional places, bilinear; places count pixels from the middle of the first.

    `rows`, `columns`: (batch, height, width) of the result. `fill`: zeros, replicate or reflect, beyond the border.
    """
    height, width = batch.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 3).to(batch)
    mode = {"zeros": "zeros", "replicate": "border", "reflect": "reflection"}[fill]
    return F.grid_sample(batch, grid, padding_mode=mode, align_corners=False)


def _boxes(draws: Draws, height: int, width: int, low: float, high: float, aspect: float) -> tuple[Tensor, ...]:
    """Top, left, height and width of one box an example, float64, whole numbers."""
    area = draws.between(low, high, TRIES, "area") * (height * width)
    shape = draws.between(math.log(aspect), -math.log(aspect), TRIES, "shape").exp()
    broad, tall = (area * shape).sqrt().round().clamp(min=1), (area / shape).sqrt().round().clamp(min=1)
    fits = (broad <= width) & (tall <= height)
    first = fits.long().argmax(1, keepdim=True)
    broad, tall = broad.gather(1, first)[:, 0], tall.gather(1, first)[:, 0]
    top = (draws.uniform(1, "row")[:, 0] * (height - tall + 1)).floor()
    left = (draws.uniform(1, "column")[:, 0] * (width - broad + 1)).floor()
    most_broad = float(min(width, max(1, round(height / aspect))))
    most_tall = float(min(height, max(1, round(width / aspect))))
    found = fits.any(1)
    tall, broad = torch.where(found, tall, most_tall), torch.where(found, broad, most_broad)
    top = torch.where(found, top, (height - most_tall) // 2)
    return top, torch.where(found, left, (width - most_broad) // 2), tall, broad


def _fits(name: str, size: int, height: int, width: int) -> None:
    if size > min(height, width):
        text = say("{name}: size = {size} is larger than the pictures, {height}x{width}",
                   name=name, size=size, height=height, width=width)  # fmt: skip
        raise UsageError(text)


def _moved(batch: Images, offsets: Tensor, pad: int, fill: str, high: int, wide: int) -> Images:
    """Windows of `high` x `wide` out of the padded batch, one place (row, column) for each example."""
    height, width = batch.shape[2:]
    if fill == "reflect" and pad >= min(height, width):
        raise UsageError(
            say("crop: pad = {pad} cannot reflect pictures of {height}x{width}.", pad=pad, height=height, width=width)
        )
    padded = F.pad(batch, (pad, pad, pad, pad), mode=fill)
    rows, columns = offsets.to(batch.device).unbind(1)
    down = (rows[:, None] + torch.arange(high, device=batch.device)) * padded.shape[3]
    across = columns[:, None] + torch.arange(wide, device=batch.device)
    places = (down[:, :, None] + across[:, None, :]).flatten(1)[:, None].expand(-1, batch.shape[1], -1)
    return padded.flatten(2).gather(2, places).reshape(*batch.shape[:2], high, wide)
