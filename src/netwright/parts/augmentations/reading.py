"""`data.augment` read into the changes of a batch, and into what they ask of the data set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from netwright import randomness
from netwright.catalogue import AUGMENTATIONS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.augmentations.draws import Draws, Images, Pixels
from netwright.parts.notation import read_items, settings_from

Step = tuple[str, Callable[..., Tensor]]
SIZING = ("crop", "resize_crop")
"""The parts whose setting `size` is the size that the network reads."""


@dataclass(frozen=True)
class Augment:
    """A row of augmentations, read from a recipe's `data.augment`."""

    spec: str
    steps: tuple[Step, ...]
    mixing: tuple[str, Callable[..., tuple[Tensor, Tensor]]] | None = None
    """The last one, where it mixes two examples."""
    size: int = 0
    """The height and width that the network reads; 0: those of the pictures."""
    needs: frozenset[str] = frozenset()
    """What it wants to know about the training pictures: `pixel range`, `colour axes`."""
    pixels: Pixels = field(default_factory=Pixels)

    def __call__(self, batch: Images, examples: np.ndarray, *, seed: int, epoch: int) -> Images:
        """Change a batch; `examples` are the positions of its examples in the training data."""
        if batch.ndim != 4:
            shape = tuple(batch.shape[1:])
            raise UsageError(
                say("data.augment changes pictures (channels, height, width), but the shape {shape} came.", shape=shape)
            )
        for purpose, change in self.steps:
            batch = change(batch, Draws(np.asarray(examples), seed, epoch, purpose, self.pixels))
        return batch

    def partners(self, examples: np.ndarray, count: int, *, seed: int, epoch: int) -> np.ndarray:
        """Which of `count` training examples (0 ..) each example is mixed with: any of them, itself too."""
        drawn = randomness.uniform(np.asarray(examples), 1, seed, epoch, "partner")[:, 0]
        return np.minimum((drawn * count).astype(np.int64), count - 1)

    def mix(
        self, batch: Images, partners: Images, examples: np.ndarray, *, seed: int, epoch: int
    ) -> tuple[Images, Float[Tensor, "batch"]]:
        """Mix changed pictures with their changed partners: the mixtures, and each one's share of its own target."""
        assert self.mixing is not None
        purpose, change = self.mixing
        return change(batch, partners, Draws(np.asarray(examples), seed, epoch, purpose, self.pixels))


def read_augment(spec: str, pixels: Pixels | None = None) -> Augment:
    """Read `crop pad=4, flip`: the notation of stack layers; UsageError for a mistake.

    `pixels` is what a data set knows about its training pictures; changes of colour ask for it.
    """
    steps: list[Step] = []
    mixing, size = None, 0
    needs: frozenset[str] = frozenset()
    for place, item in enumerate(read_items(spec, "data.augment"), 1):
        part = AUGMENTATIONS[item.name]
        settings = settings_from(item, part.settings, f"data.augment {item.name!r}")
        if mixing is not None:
            text = say("data.augment: {name!r} stands behind {mixing!r}; what mixes examples stands last, once",
                       name=item.name, mixing=mixing[0].split()[-1])  # fmt: skip
            raise UsageError(text)
        change = (f"augment {place} {item.name}", partial(part.build, **settings))
        if part.facts.get("mixes"):
            mixing = change
        else:
            steps.append(change)
        size = (item.name in SIZING and settings.get("size")) or size
        needs |= frozenset(filter(None, part.facts.get("needs", "").split(", ")))
    return Augment(spec, tuple(steps), mixing, size, needs, pixels or Pixels())
