"""What is minimised: one loss value per example, weighted and averaged in this one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import LOSSES
from netwright.data.batches import Batch
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.blocks import Scores
from netwright.parts.losses.reading import wide
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
    members: Float[Tensor, "members"] | None = None
    """The losses of networks that are trained side by side."""

    @cached_property
    def loss(self) -> Tensor:
        """What is minimised: the weighted mean over the batch, sum(w * l) / sum(w); of members the sum of theirs."""
        if self.members is not None:
            return self.members.sum()
        if self.weight is None:
            return self.per_example.mean()
        return (self.per_example * self.weight).sum() / self.weight.sum()

    @property
    def value(self) -> Tensor:
        """What is recorded: the loss, of members the mean of theirs."""
        return self.loss if self.members is None else self.members.mean()


Objective = Callable[[nn.Module, Batch, Draw], Terms]
Loss = Callable[[Tensor, Tensor], Tensor]


def on_outputs(name: str, settings: Mapping[str, Any], units: Any = None) -> Loss:
    """A catalogue loss as a function of a network's plain outputs and the encoded targets.

    Networks end in logits: a loss that reads log-probabilities or probabilities gets the log_softmax or the sigmoid of
    them. Numbers are standardised: a loss of the data's own units gets them back, by `units.mean` and `units.scale`.
    """
    part = LOSSES[name]
    loss: Loss = partial(part.build, **part.check(settings))
    reads = part.facts.get("reads")
    if reads == "log-probabilities":
        return lambda outputs, target: loss(wide(outputs).log_softmax(1), target)
    if reads == "probabilities":
        return lambda outputs, target: loss(wide(outputs).sigmoid(), target)
    if part.facts.get("units") == "data" and units is not None:
        return lambda outputs, target: loss(_undone(wide(outputs), units), _undone(wide(target), units))
    return loss


def _undone(numbers: Tensor, units: Any) -> Tensor:
    """Standardised numbers in their own units."""
    if isinstance(units.scale, float):
        return numbers * units.scale + units.mean
    kind: dict[str, Any] = {"dtype": numbers.dtype, "device": numbers.device}  # one mean and scale a column
    return numbers * torch.as_tensor(units.scale, **kind) + torch.as_tensor(units.mean, **kind)


def with_heads(loss: Loss, model: nn.Module) -> Callable[[Tensor | Scores, Tensor], Tensor]:
    """`loss` that also judges auxiliary heads, where `model` has them and trains.

    Formula: l(main) + a * sum of l(head) over the heads, a = the network's `auxiliary_weight`
    """

    def judged(outputs: Tensor | Scores, target: Tensor) -> Tensor:
        if not isinstance(outputs, Scores):
            return loss(outputs, target)
        heads = torch.stack([loss(head, target) for head in outputs.auxiliary])
        return loss(outputs.main, target) + float(model.auxiliary_weight) * heads.sum(0)  # type: ignore[arg-type]

    return judged


def supervised(loss: Loss) -> Objective:
    """The objective of ordinary training: a catalogue loss between the network's outputs and the targets."""

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        outputs, judged = model(batch.inputs), with_heads(loss, model)
        values = judged(outputs, batch.targets)
        if values.shape != (len(batch),):
            raise UsageError(
                say(
                    "the loss gave shape {found} for a batch of {count}; it is one value per example",
                    found=list(values.shape), count=len(batch),
                )
            )  # fmt: skip
        if batch.mixture is not None:
            other = judged(outputs, batch.mixture.targets)
            values, weights = batch.mixture.blend(values, other, batch.weights)
            return Terms(values, weight=weights)
        return Terms(values, weight=batch.weights)

    return objective
