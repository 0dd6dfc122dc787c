"""What a change is given beside the batch: random numbers of its examples, and what the numbers in it mean."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from netwright import randomness
from netwright.errors import UsageError
from netwright.language import say

Images = Float[Tensor, "batch channels height width"]


@dataclass(frozen=True)
class Pixels:
    """What a batch's numbers mean as colours: x = (pixel - mean) * scale in each channel, pixels in low..high.

    Learnt from the training pictures. As they stand, pixels lie in 0..1 and nothing was subtracted.
    """

    mean: Float64[Tensor, "channels"] = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    scale: Float64[Tensor, "channels"] = field(default_factory=lambda: torch.ones(1, dtype=torch.float64))
    low: float = 0.0
    high: float = 1.0
    eigenvalues: Float64[Tensor, "three"] | None = None
    """Of the 3x3 covariance of red, green and blue over the training pixels as shares of low..high; largest first."""
    eigenvectors: Float64[Tensor, "three three"] | None = None
    """One in each column."""

    def shares(self, batch: Images) -> Images:
        """The batch as shares of the range: 0 is the darkest, 1 the brightest pixel."""
        mean, scale = (numbers.to(batch)[:, None, None] for numbers in (self.mean, self.scale))
        return (batch / scale + (mean - self.low)) / (self.high - self.low)

    def encoded(self, shares: Images) -> Images:
        """The inverse of `shares`, kept within 0 and 1."""
        mean, scale = (numbers.to(shares)[:, None, None] for numbers in (self.mean, self.scale))
        return (shares.clamp(0, 1) * (self.high - self.low) - (mean - self.low)) * scale


@dataclass(frozen=True)
class Draws:
    """Random numbers for the examples of a batch: rows belong to examples and depend on nothing else in the batch."""

    examples: np.ndarray
    seed: int
    epoch: int
    purpose: str
    pixels: Pixels = field(default_factory=Pixels)

    def uniform(self, count: int, of: str = "") -> Float64[Tensor, "batch count"]:
        """Numbers in [0, 1), float64; other words `of` give other numbers."""
        purpose = f"{self.purpose} {of}" if of else self.purpose
        return torch.from_numpy(randomness.uniform(self.examples, count, self.seed, self.epoch, purpose))

    def between(self, low: float, high: float, count: int, of: str = "") -> Float64[Tensor, "batch count"]:
        """Numbers in [low, high), float64."""
        return self.uniform(count, of) * (high - low) + low

    def normal(self, count: int) -> Float64[Tensor, "batch count"]:
        """Standard normal numbers, float64."""
        return torch.from_numpy(randomness.normal(self.examples, count, self.seed, self.epoch, self.purpose))

    def whole(self, low: int, high: int, count: int) -> Tensor:
        """Whole numbers low..high, both included, int64, shape (batch, count)."""
        return (self.uniform(count) * (high - low + 1)).floor().long() + low


def ordered(name: str, low: float, high: float) -> None:
    """Refuse a range whose ends are the wrong way round."""
    if low > high:
        raise UsageError(say("{name}: low = {low:g} lies above high = {high:g}", name=name, low=low, high=high))
