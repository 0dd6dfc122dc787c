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
from netwright.parts.losses.reading import Trusting, wide
from netwright.parts.sequences import Sequences
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
    nats: Float[Tensor, "batch"] | None = None
    """Minus the log-likelihood of each example's true tokens, where the loss is another number than that."""
    heads: Float[Tensor, "batch"] | None = None
    """What auxiliary heads add for each example while training; it is minimised but not recorded as the loss."""

    @property
    def minimised(self) -> Float[Tensor, "batch"]:
        """One value an example, auxiliary heads included."""
        return self.per_example if self.heads is None else self.per_example + self.heads

    @cached_property
    def loss(self) -> Tensor:
        """What is minimised: the weighted mean over the batch, sum(w * l) / sum(w); of members the sum of theirs."""
        if self.members is not None:
            return self.members.sum()
        return self.value if self.heads is None else self.value + self._mean(self.heads)

    @cached_property
    def value(self) -> Tensor:
        """What is recorded: the loss without auxiliary heads, of members the mean of theirs."""
        return self._mean(self.per_example) if self.members is None else self.members.mean()

    def _mean(self, values: Tensor) -> Tensor:
        if self.weight is None:
            return values.mean()
        return (values * self.weight).sum() / self.weight.sum()


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


def supervised(loss: Loss) -> Objective:
    """The objective of ordinary training: a catalogue loss between the network's outputs and the targets.

    Formula: l(main) + a * sum of l(head) over auxiliary heads, where the network has them; a = its `auxiliary_weight`
    """
    trusting = Trusting(False)

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        outputs = model(batch.inputs)
        main, heads = outputs if isinstance(outputs, Scores) else (outputs, ())
        with trusting:
            values, weights = judged(loss, main, batch)
        trusting.wanted = True
        if not heads:
            return Terms(values, weight=weights)
        extra = float(model.auxiliary_weight) * torch.stack([judged(loss, head, batch)[0] for head in heads]).sum(0)  # type: ignore[arg-type]
        return Terms(values, {"auxiliary": extra.detach().mean()}, weights, heads=extra)

    return objective


def objective_of(model: nn.Module, task: str, name: str, settings: Mapping[str, Any], units: Any = None) -> Objective:
    """The network's own objective, else the one of its task: a catalogue loss on its outputs, or on those of a step."""
    own: Objective | None = getattr(model, "objective", None)
    if own is not None:
        return own
    loss = on_outputs(name, settings, units)
    if task == "tag" and hasattr(model, "chain"):
        return chained
    if task in ("tag", "generate", "translate"):
        return per_token(loss, forced=task == "translate")
    return supervised(loss)


def chained(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
    """The objective of a tagger that scores whole rows of tags: log Z - s(y) a step, by its module `chain`."""
    scores, tags = model(batch.inputs), batch.targets
    assert isinstance(tags, Sequences)
    chain: Any = getattr(model, "module", model).chain
    lengths = tags.lengths.to(scores.device, torch.float32)
    nats = chain(scores, tags.values, tags.lengths)
    weight = lengths if batch.weights is None else lengths * batch.weights
    return Terms(nats / lengths, weight=weight, nats=nats)


def per_token(loss: Loss, forced: bool = False) -> Objective:
    """The objective of a network that says something at every step: the mean loss over all real steps of a batch.

    Formula: l_i = sum_t l(o_it, y_it) / T_i, weighted by T_i; padding counts nowhere

    `forced`: the network is shown the targets too, and says each token after the true ones before it.
    """
    trusting = Trusting(False)

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        targets = batch.targets
        assert isinstance(targets, Sequences)
        outputs = model(batch.inputs, targets) if forced else model(batch.inputs)
        with trusting:
            terms = token_terms(loss, outputs, targets, batch.weights)
        trusting.wanted = True
        return terms

    return objective


def token_terms(loss: Loss, outputs: Tensor, targets: Sequences, weights: Tensor | None = None) -> Terms:
    """One mean loss an example over its real steps, weighted by their number. Outputs: (batch, steps, units)."""
    batch, steps = targets.values.shape
    lengths = targets.lengths.to(outputs.device, outputs.dtype)
    weight = lengths if weights is None else lengths * weights
    if targets.even:
        values = loss(outputs.reshape(batch * steps, -1), targets.values.reshape(-1)).view(batch, steps).mean(1)
        return Terms(values, weight=weight)
    mask = targets.mask
    found = loss(outputs[mask], targets.values[mask])
    values = torch.zeros(batch, steps, dtype=found.dtype, device=found.device)
    values = values.masked_scatter(mask, found).sum(1) / lengths
    return Terms(values, weight=weight)


def judged(loss: Loss, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """One loss value an example, mixed where its batch mixes examples, and one weight an example."""
    targets: Any = batch.targets
    values = loss(outputs, targets)
    if values.shape != (len(batch),):
        raise UsageError(
            say(
                "the loss gave shape {found} for a batch of {count}; it is one value per example",
                found=list(values.shape), count=len(batch),
            )
        )  # fmt: skip
    if batch.mixture is None:
        return values, batch.weights
    return batch.mixture.blend(values, loss(outputs, batch.mixture.targets), batch.weights)
