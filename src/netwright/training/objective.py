"""What is minimised: one loss value per example, weighted and averaged in this one place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.data.batches import Batch
from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import seed_of


@dataclass(frozen=True)
class Draw:
    """Random numbers for an objective: pure functions of (seed, step)."""

    seed: int
    step: int

    def generator(self, purpose: str) -> torch.Generator:
        """A generator that starts at the same place whenever (seed, step, purpose) are the same."""
        return torch.Generator().manual_seed(seed_of(self.seed, self.step, purpose))


@dataclass
class Terms:
    """An objective's answer for one batch."""

    per_example: Float[Tensor, "batch"]
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Named scalars for the record, such as the two terms of a variational bound."""
    weight: Float[Tensor, "batch"] | None = None

    @cached_property
    def loss(self) -> Tensor:
        """The weighted mean over the batch: sum(w * l) / sum(w)."""
        if self.weight is None:
            return self.per_example.mean()
        return (self.per_example * self.weight).sum() / self.weight.sum()


Objective = Callable[[nn.Module, Batch, Draw], Terms]


def supervised(loss: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """The objective of ordinary training: a catalogue loss between the network's outputs and the targets."""

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        outputs = model(batch.inputs)
        values = loss(outputs, batch.targets)
        if values.shape != (len(batch),):
            raise UsageError(
                say(
                    "the loss gave shape {found} for a batch of {count}; it is one value per example",
                    found=list(values.shape), count=len(batch),
                )
            )  # fmt: skip
        return Terms(values, weight=batch.weights)

    return objective
