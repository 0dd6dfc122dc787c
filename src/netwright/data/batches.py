"""Batches of a split in an order that is a pure function of (seed, epoch); small data lies in one tensor."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.dataset import Dataset
from netwright.data.encoders import NumberEncoder
from netwright.data.source import InMemory
from netwright.parts.augmentations import Augment, centre_crop
from netwright.parts.sequences import Ragged, Sequences
from netwright.randomness import permutation

TOKENS = 8192
"""About so many steps of sequences, padding included, are answered at a time."""
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

    inputs: Tensor | Sequences
    targets: Tensor | Sequences
    weights: Tensor | None
    """One weight an example, or None for all 1."""
    examples: np.ndarray
    """Positions in the data set's source, so that a person can be told which examples these are."""
    epoch: int
    mixture: Mixture | None = None
    whole: np.ndarray | None = None
    """The examples of all ranks, where this is one rank's part of a batch."""
    spare: int = 0
    """So many examples at the end count in another rank's part: they weigh nothing here."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def consumed(self) -> int:
        """The examples that all ranks take together."""
        return len(self.examples) if self.whole is None else len(self.whole)


class Inputs:
    """The inputs of one split: pictures of bytes as they are, encoded a batch at a time; other small data encoded once
    and kept ready; the rest taken and encoded on demand.

    Four times the memory of the bytes would be a float32 copy of them, and making it takes longer than an epoch gains.
    `whole`: pictures as they are before training, or ten crops, cut the size out of them that the network reads.
    """

    def __init__(
        self, dataset: Dataset, split: str, device: torch.device, channels_last: bool = False, whole: bool = False
    ) -> None:
        self.whole = whole
        self.dataset, self.positions, self.device = dataset, dataset.splits[split], device
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.ready: Tensor | None = None
        self.cut = 0
        """The side that the network reads, where it is smaller than the pictures and nothing else cuts it."""
        examples, encoder = dataset.source.examples, dataset.encoder
        here = isinstance(examples, InMemory)
        size = len(self.positions) * math.prod(dataset.shape)
        self.bytes = dataset.bytes_on(device) if isinstance(encoder, NumberEncoder) else None
        self.ragged = dataset.sequences(split)[0] if dataset.is_ragged else None
        if self.ragged is not None:
            return
        if self.bytes is not None and isinstance(encoder, NumberEncoder):
            self.mean, self.scale = (numbers.to(device, torch.float32) for numbers in (encoder.mean, encoder.scale))
            self.cut = int(encoder.inputs["height"]) if encoder.pictures and not whole else 0
        elif 4 * size <= ENCODED_BUDGET and (here or dataset.kind == "table"):
            self.ready = dataset.input_tensor(split, whole).to(device)
        else:
            dataset.map_rows()

    def take(self, places: np.ndarray) -> Any:
        """The inputs at `places` (positions within the split), in that order."""
        if self.ragged is not None:
            return padded(self.ragged, places, self.device)
        if self.bytes is not None:
            index = torch.from_numpy(self.positions[places]).to(self.device)
            found = self.bytes.index_select(0, index).contiguous(memory_format=self.layout)
            found = (found - self.mean).mul_(self.scale)  # as the encoder does: bytes less a float32 are float32
            return centre_crop(found, self.cut).contiguous(memory_format=self.layout) if self.cut else found
        if self.ready is not None:
            found = self.ready.index_select(0, torch.from_numpy(places).to(self.device))
        else:
            found = self.dataset.encode(self.positions[places], self.whole).to(self.device)
        return found.contiguous(memory_format=self.layout) if found.dim() == 4 else found


def padded(sequences: Ragged, places: np.ndarray, device: torch.device) -> Sequences:
    """A batch of sequences on a device; token numbers as int64, however narrow they are kept."""
    found = sequences.padded(places)
    return found.to(device) if found.values.is_floating_point() else found.to(device, torch.int64)


def by_length(lengths: np.ndarray, most: int = TOKENS) -> Iterator[np.ndarray]:
    """All places, those of nearly equal length together, at most about `most` steps at a time."""
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (last + 1 - first) * lengths[order[last]] <= most and last - first < 512:
            last += 1
        yield order[first:last]
        first = last


def ahead(batches: Iterator[Batch], count: int = 2) -> Iterator[Batch]:
    """The same batches in the same order, `count` of them made ahead of need by one thread in the background."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting = deque(pool.submit(next, batches, None) for _ in range(count))
        try:
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, batches, None))
                yield batch
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True)
class Part:
    """Which part of every batch one rank of several takes; `least` examples at least, of which some may weigh nothing.

    Formula: of n examples rank r of R takes those from n r / R up to n (r + 1) / R, rounded down.
    """

    rank: int = 0
    ranks: int = 1
    least: int = 1

    def of(self, places: np.ndarray) -> tuple[np.ndarray, int]:
        """This rank's places of a batch, and how many at their end count elsewhere."""
        if self.ranks == 1:
            return places, 0
        low, high = (len(places) * number // self.ranks for number in (self.rank, self.rank + 1))
        spare = max(0, self.least - (high - low))
        others = np.concatenate([places[high:], places[:low]])
        return np.concatenate([places[low:high], np.resize(others, spare) if spare else others[:0]]), spare


def _spared(batch: Batch, whole: np.ndarray, spare: int) -> Batch:
    """A part of a batch, in which the last `spare` examples weigh nothing."""
    if not spare:
        return replace(batch, whole=whole)
    counts = torch.ones(len(batch), device=batch.targets.device)
    counts[-spare:] = 0
    weights = counts if batch.weights is None else batch.weights * counts
    mixture = batch.mixture
    if mixture is not None:
        mixture = replace(mixture, weights=counts if mixture.weights is None else mixture.weights * counts)
    return replace(batch, weights=weights, mixture=mixture, whole=whole, spare=spare)


BUCKET = 50
"""So many batches are sorted by length together: little padding is left, and the batches stay mixed."""


def bucketed(order: np.ndarray, lengths: np.ndarray, edges: list[int], seed: int, epoch: int) -> np.ndarray:
    """The same examples in batches of nearly equal length, the batches in a random order of their own.

    `edges` cut the order into batches; the last of them, which may be short, keeps its place and its examples.
    """
    last = edges[-2]
    size = edges[1] if len(edges) > 2 else last
    if not last:
        return order
    parts = []
    for first in range(0, last, BUCKET * size):
        some = order[first : min(first + BUCKET * size, last)]
        parts.append(some[np.argsort(lengths[some], kind="stable")])
    batches = np.concatenate(parts).reshape(-1, size)
    turns = permutation(len(batches), seed, "buckets", epoch)
    return np.concatenate([batches[turns].reshape(-1), order[last:]])


class Batches:
    """All batches of a training split, epoch by epoch; sequences of unequal length in batches of nearly equal length.

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
        prefetch: bool = False,
        part: Part | None = None,
    ) -> None:
        self.prefetch, self.part = prefetch, part or Part()
        self.positions = dataset.splits["train"]
        self.inputs = Inputs(dataset, "train", device, channels_last, whole=augment is not None)
        targets = dataset.encoded_targets("train")
        self.targets = targets if isinstance(targets, Ragged) else targets.to(device)
        self.lengths = self.inputs.ragged.lengths if self.inputs.ragged is not None else None
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
        made = self._made(epoch, start)
        return ahead(made) if self.prefetch else made

    def _made(self, epoch: int, start: int) -> Iterator[Batch]:
        order = permutation(len(self), self.seed, "order", epoch)
        edges = self._edges()
        if self.lengths is not None:
            order = bucketed(order, self.lengths, edges, self.seed, epoch)
        for low, high in pairwise(edges):
            if low < start:
                continue
            whole = order[low:high]
            places, spare = self.part.of(whole)
            index = torch.from_numpy(places).to(self.device)
            inputs, examples, mixture = self.inputs.take(places), self.positions[places], None
            if self.augment is not None:
                inputs, mixture = self._augmented(self.augment, inputs, examples, epoch)
            weights = self.weights.index_select(0, index) if self.weights is not None else None
            batch = Batch(inputs, self._targets(places, index), weights, examples, epoch, mixture)
            yield batch if self.part.ranks == 1 else _spared(batch, self.positions[whole], spare)

    def _targets(self, places: np.ndarray, index: Tensor) -> Any:
        if isinstance(self.targets, Ragged):
            return padded(self.targets, places, self.device)
        return self.targets.index_select(0, index)

    def _augmented(
        self, augment: Augment, inputs: Any, examples: np.ndarray, epoch: int
    ) -> tuple[Tensor, Mixture | None]:
        """Changed inputs; where two examples are mixed, the other one is changed by its own random numbers first."""
        when: dict[str, Any] = {"seed": self.seed, "epoch": epoch}
        inputs = augment(inputs, examples, **when)
        if augment.mixing is None:
            return inputs, None
        others = augment.partners(examples, len(self), **when)
        index = torch.from_numpy(others).to(self.device)
        partners = augment(self.inputs.take(others), self.positions[others], **when)
        mixed, share = augment.mix(inputs, partners, examples, **when)
        weights = self.weights.index_select(0, index) if self.weights is not None else None
        return mixed, Mixture(share, self._targets(others, index), weights)
