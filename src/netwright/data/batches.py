"""Batches of a split in an order that is a pure function of (seed, epoch); small data lies in one tensor."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from netwright.data.dataset import Dataset
from netwright.data.source import InMemory
from netwright.parts.augmentations import Augment
from netwright.randomness import permutation

ENCODED_BUDGET = 2**30
"""Bytes of float32 inputs that are kept ready; above it raw examples are encoded a batch at a time."""


@dataclass(frozen=True)
class Mixture:
    """The other half of examples that were mixed of two (`mixup`, `cutmix`)."""

    share: Tensor
    """Each example's share of its own target; the rest belongs to the other one."""
    targets: Tensor
    weights: Tensor | None

    def blend(self, own: Tensor, other: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One loss value and one weight an example, from the losses against both targets: their weighted mean."""
        if weights is None or self.weights is None:
            return self.share * own + (1 - self.share) * other, None
        first, second = self.share * weights, (1 - self.share) * self.weights
        return (first * own + second * other) / (first + second).clamp(min=1e-30), first + second


@dataclass(frozen=True)
class Batch:
    """One batch on its device: what a network reads, what it should say, and which examples these are."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    """One weight an example, or None for all 1."""
    examples: np.ndarray
    """Positions in the data set's source, so that a person can be told which examples these are."""
    epoch: int
    mixture: Mixture | None = None

    def __len__(self) -> int:
        return len(self.examples)


class Inputs:
    """The encoded inputs of one split: kept ready while they fit, else encoded on demand.

    `whole`: pictures as they are before training, or ten crops, cut the size out of them that the network reads.
    """

    def __init__(
        self, dataset: Dataset, split: str, device: torch.device, channels_last: bool = False, whole: bool = False
    ) -> None:
        self.whole = whole
        self.dataset, self.positions, self.device = dataset, dataset.splits[split], device
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        size = 4 * len(self.positions) * int(np.prod(dataset.shape))
        ready = size <= ENCODED_BUDGET and (isinstance(dataset.source.examples, InMemory) or dataset.kind == "table")
        self.ready = dataset.input_tensor(split, whole).to(device) if ready else None

    def take(self, places: np.ndarray) -> Tensor:
        """The inputs at `places` (positions within the split), in that order."""
        if self.ready is not None:
            found = self.ready.index_select(0, torch.from_numpy(places).to(self.device))
        else:
            found = self.dataset.encode(self.positions[places], self.whole).to(self.device)
        return found.contiguous(memory_format=self.layout) if found.dim() == 4 else found


class Batches:
    """All batches of a training split, epoch by epoch.

    A left-over of one example joins the batch before it: batch normalisation cannot train on one.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        size: int,
        seed: int,
        device: torch.device,
        weights: Tensor | None = None,
        augment: Augment | None = None,
        channels_last: bool = False,
    ) -> None:
        self.positions = dataset.splits["train"]
        self.inputs = Inputs(dataset, "train", device, channels_last, whole=augment is not None)
        self.targets = dataset.target_tensor("train").to(device)
        self.weights = weights.to(device) if weights is not None else None
        self.size, self.seed, self.augment, self.device = size, seed, augment, device

    def __len__(self) -> int:
        """The number of examples in an epoch."""
        return len(self.positions)

    @property
    def per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return len(self._edges()) - 1

    def _edges(self) -> list[int]:
        edges = [*range(0, len(self), self.size), len(self)]
        if self.size > 1 and len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the `start`-th example on (where a checkpoint stopped)."""
        order = permutation(len(self), self.seed, "order", epoch)
        edges = self._edges()
        for low, high in pairwise(edges):
            if low < start:
                continue
            places = order[low:high]
            index = torch.from_numpy(places).to(self.device)
            inputs, examples, mixture = self.inputs.take(places), self.positions[places], None
            if self.augment is not None:
                inputs, mixture = self._augmented(self.augment, inputs, examples, epoch)
            weights = self.weights.index_select(0, index) if self.weights is not None else None
            yield Batch(inputs, self.targets.index_select(0, index), weights, examples, epoch, mixture)

    def _augmented(
        self, augment: Augment, inputs: Tensor, examples: np.ndarray, epoch: int
    ) -> tuple[Tensor, Mixture | None]:
        """Changed inputs; where two examples are mixed, the other one is changed by its own random numbers first."""
        when = {"seed": self.seed, "epoch": epoch}
        inputs = augment(inputs, examples, **when)
        if augment.mixing is None:
            return inputs, None
        others = augment.partners(examples, len(self), **when)
        index = torch.from_numpy(others).to(self.device)
        partners = augment(self.inputs.take(others), self.positions[others], **when)
        mixed, share = augment.mix(inputs, partners, examples, **when)
        weights = self.weights.index_select(0, index) if self.weights is not None else None
        return mixed, Mixture(share, self.targets.index_select(0, index), weights)
