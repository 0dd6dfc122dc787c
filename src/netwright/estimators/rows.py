"""Rows of numbers on their way into the training loop: scaling, copies, batches, and the weighted loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.batches import Batch
from netwright.errors import DataError
from netwright.language import say
from netwright.randomness import permutation
from netwright.training.objective import Draw, Loss, Objective, Terms, supervised

MOST_COPIES = 10
"""Whole-number weights become copies while they add up to at most so many times the rows."""


@dataclass(frozen=True)
class Scaling:
    """Columns brought to mean 0 and standard deviation 1: (x - mean) / scale."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, weights: np.ndarray | None, runs: int = 0) -> "Scaling":
        """Weighted mean and standard deviation of each column, so that a weight counts like copies.

        With `runs`, the columns are that many runs of equal length (a picture's channels): one mean and scale a run.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.average(x, axis=0, weights=weights)
            variance = np.average(np.square(x - mean), axis=0, weights=weights)
        broken = np.flatnonzero(~np.isfinite(variance))
        if len(broken):
            raise DataError(
                say("column {column} holds numbers too large to square: its standard deviation is not finite; "
                    "divide the column first, or use standardize=False", column=int(broken[0]))
            )  # fmt: skip
        if runs:
            means, level = mean.reshape(runs, -1), mean.reshape(runs, -1).mean(1, keepdims=True)
            spread = (variance.reshape(runs, -1) + np.square(means - level)).mean(1, keepdims=True)
            mean, variance = (np.repeat(one.ravel(), means.shape[1]) for one in (level, spread))
        scale = np.sqrt(variance)
        tiny = scale <= 1e-7 * np.maximum(np.abs(mean), 1e-30)  # constant up to rounding: leave its scale alone
        return cls(mean, np.where(tiny, 1.0, scale))

    @classmethod
    def none(cls, columns: int) -> "Scaling":
        """Leaves every column as it is."""
        return cls(np.zeros(columns), np.ones(columns))

    def apply(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def undo(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale + self.mean


def copies(weights: np.ndarray | None) -> np.ndarray | None:
    """Row numbers, each as often as its weight says; None where the weights are not whole numbers of modest size."""
    if weights is None or (weights % 1).any() or weights.sum() > MOST_COPIES * len(weights):
        return None
    return np.repeat(np.arange(len(weights)), weights.astype(np.int64))


class Rows:
    """Batches of rows that lie in memory, in an order that is a pure function of (seed, epoch).

    `picks` are the rows of one epoch, copies included. A single batch keeps their order; a left-over of one row joins
    the batch before it, for batch normalisation cannot train on one.
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None, picks: np.ndarray, size: int, seed: int
    ) -> None:
        self.inputs, self.targets, self.weights, self.picks = inputs, targets, weights, picks
        self.size, self.seed = size, seed
        self._whole = torch.from_numpy(picks).to(inputs.device)

    def __len__(self) -> int:
        """The number of rows in an epoch."""
        return len(self.picks)

    @property
    def per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return len(self._edges()) - 1

    def _edges(self) -> list[int]:
        edges = [*range(0, len(self), self.size), len(self)]
        if len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the `start`-th row on."""
        edges = self._edges()
        order = permutation(len(self), self.seed, "order", epoch) if len(edges) > 2 else np.arange(len(self))
        for low, high in pairwise(edges):
            if low < start:
                continue
            index = self._whole[torch.from_numpy(order[low:high]).to(self._whole.device)]
            weights = None if self.weights is None else self.weights[index]
            yield Batch(self.inputs[index], self.targets[index], weights, self.picks[order[low:high]], epoch)


def weighted(loss: Loss) -> Objective:
    """The mean over a batch of weight * loss.

    It divides by the number of rows, not by the batch's own sum of weights: so a row pulls equally hard whichever
    batch it falls into. For weights of mean 1 in a full batch the two are the same.
    """

    single = supervised(loss)

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        values = single(model, batch, draw).minimised
        return Terms(values if batch.weights is None else values * batch.weights)

    return objective
