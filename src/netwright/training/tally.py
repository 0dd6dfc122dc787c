"""Running sums of the loss. Where reading a number would stop the device, losses wait there until asked for."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

MOST_WAITING = 512
"""Steps after which waiting losses are read even where nobody asked."""


@dataclass(frozen=True)
class Waiting:
    """One step whose numbers are still on the device: the loss, its weight, and the gradient norm."""

    step: int
    epoch: int
    examples: np.ndarray
    loss: Tensor
    weight: Tensor | float
    norm: Tensor | float


@dataclass
class Tally:
    """Weighted losses since the epoch began and since the last log point."""

    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Weighted loss and weight since the epoch began, and the same two since the last log point."""
    waiting: list[Waiting] = field(default_factory=list)

    def add(self, loss: float, weight: float) -> None:
        """Count a step whose numbers are known."""
        for first in (0, 2):
            self.sums[first] += loss * weight
            self.sums[first + 1] += weight

    def settle(self) -> tuple[Waiting, str] | None:
        """Read what waits, in one go; the first step that is not finite, and whether its loss or its gradient is."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return None
        numbers = torch.stack([torch.stack(_tensors(one)) for one in waiting]).tolist()
        for one, (loss, weight, norm) in zip(waiting, numbers, strict=True):
            if loss - loss != 0 or norm - norm != 0:  # 0 for finite numbers alone
                return one, "loss" if loss - loss != 0 else "gradient"
            self.add(loss, weight)
        return None

    def mean(self, since: str) -> float:
        """The mean loss `since` "epoch" or "log"; those sums start again from zero."""
        first = 0 if since == "epoch" else 2
        total, weight = self.sums[first : first + 2]
        self.sums[first : first + 2] = [0.0, 0.0]
        return total / weight if weight else float("nan")


def _tensors(one: Waiting) -> list[Tensor]:
    like = one.loss.double()
    return [like, *(value.double() if isinstance(value, Tensor) else torch.full_like(like, value)
                    for value in (one.weight, one.norm))]  # fmt: skip
