"""Sequences of unequal length: many of them end to end, and a batch of them padded, lengths always explicit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

PADDING, UNKNOWN, END, START, FIRST = 0, 1, 2, 3, 4
"""The numbers of the marks among tokens; a vocabulary begins at `FIRST`."""


@dataclass(frozen=True)
class Sequences:
    """A batch of sequences in one tensor, padded with zeros behind each one's end."""

    values: Tensor
    """Token numbers (batch, steps), or numbers (batch, steps, features)."""
    lengths: Int[Tensor, "batch"]
    """How many steps of each are real, on the CPU; at least 1."""
    traits: Int[Tensor, "batch steps traits"] | None = None
    """What stands beside the number of each token, such as what the letters of a word tell; 0 behind each one's end."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def device(self) -> torch.device:
        return self.values.device

    @cached_property
    def even(self) -> bool:
        """Whether nothing is padding."""
        return bool((self.lengths == self.values.shape[1]).all())

    @cached_property
    def mask(self) -> Bool[Tensor, "batch steps"]:
        """Which steps are real, on the device of the values."""
        return step_mask(self.lengths, self.values.shape[1], self.device)

    def to(self, *where: Any, **how: Any) -> "Sequences":
        """The same with the values elsewhere or of another type; lengths stay on the CPU."""
        values = self.values.to(*where, **how)
        traits = self.traits.to(values.device, torch.int64) if self.traits is not None else None
        return Sequences(values, self.lengths, traits)

    def __getitem__(self, part: slice) -> "Sequences":
        return Sequences(self.values[part], self.lengths[part], self.traits[part] if self.traits is not None else None)


@dataclass(frozen=True)
class Ragged:
    """Many sequences end to end in one tensor, so that no memory is spent on padding."""

    flat: Tensor
    """(total steps,) token numbers, or (total steps, features) numbers."""
    starts: Int[np.ndarray, "sequences_and_one"]
    """Where each sequence begins in `flat`, and behind them where the last one ends."""
    traits: Int[Tensor, "steps traits"] | None = None
    """What stands beside the number of each token."""

    @classmethod
    def of(cls, sequences: Sequence[Any], dtype: torch.dtype | None = None) -> "Ragged":
        """From one array, tensor or list of numbers a sequence."""
        parts = [torch.as_tensor(sequence, dtype=dtype) for sequence in sequences]
        starts = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=starts[1:])
        return cls(torch.cat(parts) if parts else torch.zeros(0, dtype=dtype), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Int[np.ndarray, "sequences"]:
        """The number of steps of each sequence."""
        return np.diff(self.starts)

    def __getitem__(self, place: int) -> Tensor:
        return self.flat[int(self.starts[place]) : int(self.starts[place + 1])]

    def take(self, places: Sequence[int] | np.ndarray) -> "Ragged":
        """The sequences at `places`, in that order."""
        places = np.asarray(places, dtype=np.int64)
        starts = np.zeros(len(places) + 1, np.int64)
        np.cumsum(self.lengths[places], out=starts[1:])
        rows = torch.from_numpy(self._rows(places, starts))
        return Ragged(self.flat[rows], starts, self.traits[rows] if self.traits is not None else None)

    def padded(self, places: Sequence[int] | np.ndarray | None = None) -> Sequences:
        """A batch of the sequences at `places` (all where none are given), as long as the longest of them."""
        places = np.arange(len(self)) if places is None else np.asarray(places, dtype=np.int64)
        lengths = torch.from_numpy(self.lengths[places])
        longest = int(lengths.max()) if len(places) else 0
        steps = torch.arange(longest)
        index = (torch.from_numpy(self.starts[:-1][places])[:, None] + steps).clamp(max=max(0, len(self.flat) - 1))
        blank = steps >= lengths[:, None]

        def gathered(flat: Tensor) -> Tensor:
            values = flat[index.to(flat.device)] if len(flat) else flat.reshape(len(places), 0, *flat.shape[1:])
            return values.masked_fill_(blank.to(flat.device)[(...,) + (None,) * (values.dim() - 2)], 0)

        return Sequences(gathered(self.flat), lengths, gathered(self.traits) if self.traits is not None else None)

    def to(self, device: torch.device | str) -> "Ragged":
        return Ragged(self.flat.to(device), self.starts, self.traits.to(device) if self.traits is not None else None)

    def _rows(self, places: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """The rows of `flat` that the sequences at `places` take, in a row."""
        shift = np.repeat(self.starts[:-1][places] - starts[:-1], self.lengths[places])
        return np.arange(starts[-1]) + shift


def step_mask(lengths: Tensor, steps: int, device: torch.device | str = "cpu") -> Bool[Tensor, "batch steps"]:
    """True for the first `lengths` of `steps` steps of each sequence."""
    return (torch.arange(steps) < lengths[:, None]).to(device)
