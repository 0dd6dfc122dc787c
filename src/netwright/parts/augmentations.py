"""Augmentations: changes of pictures that keep their label, whole batches at once.

Every change is a pure function of (seed, epoch, example): an example gets the same one whatever batch it is in, in
whatever order, before and after a resume.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netwright import randomness
from netwright.catalogue import AUGMENTATIONS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.notation import read_items, settings_from

Images = Float[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class Draws:
    """Random numbers for the examples of a batch: rows belong to examples and depend on nothing else in the batch."""

    examples: np.ndarray
    seed: int
    epoch: int
    purpose: str

    def uniform(self, count: int) -> Float[Tensor, "batch count"]:
        """Numbers in [0, 1), float64."""
        return torch.from_numpy(randomness.uniform(self.examples, count, self.seed, self.epoch, self.purpose))

    def normal(self, count: int) -> Float[Tensor, "batch count"]:
        """Standard normal numbers, float64."""
        return torch.from_numpy(randomness.normal(self.examples, count, self.seed, self.epoch, self.purpose))

    def whole(self, low: int, high: int, count: int) -> Tensor:
        """Whole numbers low..high, both included, int64, shape (batch, count)."""
        return (self.uniform(count) * (high - low + 1)).floor().long() + low


@dataclass(frozen=True)
class Augment:
    """A row of augmentations, read from a recipe's `data.augment`."""

    spec: str
    steps: tuple[tuple[str, Callable[..., Tensor]], ...]

    def __call__(self, batch: Images, examples: np.ndarray, *, seed: int, epoch: int) -> Images:
        """Change a batch; `examples` are the positions of its examples in the training data."""
        if batch.ndim != 4:
            shape = tuple(batch.shape[1:])
            raise UsageError(
                say("data.augment changes pictures (channels, height, width), but the shape {shape} came.", shape=shape)
            )
        for purpose, change in self.steps:
            batch = change(batch, Draws(np.asarray(examples), seed, epoch, purpose))
        return batch


def read_augment(spec: str) -> Augment:
    """Read `crop pad=4, flip`: the notation of stack layers; UsageError for a mistake."""
    steps = []
    for place, item in enumerate(read_items(spec, "data.augment"), 1):
        part = AUGMENTATIONS[item.name]
        settings = settings_from(item, part.settings, f"data.augment {item.name!r}")
        steps.append((f"augment {place} {item.name}", partial(part.build, **settings)))
    return Augment(spec, tuple(steps))


@AUGMENTATIONS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 4.1; pad 4: Lee et al. 2015, arXiv:1409.5185")
def crop(
    batch: Images, draws: Draws, *, pad: Annotated[int, Range(0, 1024)] = 4, fill: Literal["zeros", "reflect"] = "zeros"
) -> Images:
    """Pads each side and cuts a window of the old size at a random place.

    Formula: y[i, j] = padded[i + a, j + b], a and b each uniform in 0..2 pad
    """
    return _moved(batch, draws.whole(0, 2 * pad, 2), pad, "constant" if fill == "zeros" else "reflect")


@AUGMENTATIONS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 4.1")
def flip(batch: Images, draws: Draws, *, probability: Annotated[float, Range(0, 1)] = 0.5) -> Images:
    """Mirrors left and right.

    Formula: y[i, j] = x[i, width - 1 - j] with the given probability
    """
    chosen = (draws.uniform(1) < probability).to(batch.device)[:, :, None, None]
    return torch.where(chosen, batch.flip(3), batch)


@AUGMENTATIONS.add(source="LeCun, Bottou, Bengio, Haffner 1998, section III.C")
def translate(batch: Images, draws: Draws, *, pixels: Annotated[int, Range(0, 1024)] = 2) -> Images:
    """Shifts by whole pixels, each direction for itself; the border it uncovers is filled with its nearest pixels.

    Formula: y[i, j] = x[i + a, j + b], a and b each uniform in -pixels..pixels, indices kept inside the picture
    """
    return _moved(batch, draws.whole(0, 2 * pixels, 2), pixels, "replicate")


@AUGMENTATIONS.add(source="Sietsma and Dow 1991, Neural Networks 4; Bishop 1995")
def noise(batch: Images, draws: Draws, *, std: Annotated[float, Range(0, 1e6)] = 0.1) -> Images:
    """Adds normal noise to every pixel; `std` has the unit of the network's input.

    Formula: y = x + std * n, n ~ N(0, 1)
    """
    count = batch[0].numel() if len(batch) else 1
    return batch + std * draws.normal(count).reshape(batch.shape).to(batch)


def _moved(batch: Images, offsets: Tensor, pad: int, fill: str) -> Images:
    """Windows of the old size out of the padded batch, one place (row, column) for each example."""
    height, width = batch.shape[2:]
    if fill == "reflect" and pad >= min(height, width):
        raise UsageError(
            say("crop: pad = {pad} cannot reflect pictures of {height}x{width}.", pad=pad, height=height, width=width)
        )
    padded = F.pad(batch, (pad, pad, pad, pad), mode=fill)
    rows, columns = offsets.to(batch.device).unbind(1)
    down = (rows[:, None] + torch.arange(height, device=batch.device)) * padded.shape[3]
    across = columns[:, None] + torch.arange(width, device=batch.device)
    places = (down[:, :, None] + across[:, None, :]).flatten(1)[:, None].expand(-1, batch.shape[1], -1)
    return padded.flatten(2).gather(2, places).reshape(batch.shape)
