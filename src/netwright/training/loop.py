"""THE loop: a generator, probes, and no callbacks.

It yields after every step; logging, validation, saving, early stopping and live plots are `for` loops over it, and
`break` stops it. Two seams: `state.objective(model, batch, draw) -> Terms`, and the network's own method
`update(state, batch) -> Terms` with any number of optimizers. Order, counting, probes and records stay here.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.batches import Batch, Batches
from netwright.errors import NetwrightError
from netwright.language import say
from netwright.parts.sequences import Sequences
from netwright.randomness import mixed
from netwright.training.objective import Terms
from netwright.training.spread import broken_examples, shared_terms
from netwright.training.state import State
from netwright.training.tally import MOST_WAITING

MANY = 64
"""Weights from which on one call for all is faster than one call for each."""
Probe = Callable[[State, Batch, Terms], None]
"""Called after a step with the gradients still in place."""


@dataclass(frozen=True)
class Step:
    """One finished step. `epoch_done` marks an epoch's last, when the state already points at the next."""

    number: int
    epoch: int
    examples: int
    epoch_done: bool
    terms: Terms | None
    """None where the step was skipped because its numbers were not finite."""


class NonFinite(NetwrightError):
    """A loss or gradient that is no finite number: where it first appeared, and with which examples."""

    def __init__(self, where: str, step: int, epoch: int, examples: np.ndarray) -> None:
        self.where, self.step, self.epoch, self.examples = where, step, epoch, examples
        super().__init__(
            say("the {where} is not finite at step {step} (epoch {epoch})", where=say(where), step=step, epoch=epoch)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.step, self.epoch, self.examples)  # so that it crosses processes


def steps(state: State, batches: Batches, epochs: int, probes: Sequence[Probe] = ()) -> Iterator[Step]:
    """Train from where `state` stands to the end of the last epoch, one step at a time."""
    while state.epoch < epochs:
        state.learn()
        for batch in batches.epoch(state.epoch, start=state.seen):
            terms = update(state, batch)
            if isinstance(terms, Terms):
                state.count(terms, batch)
                for probe in probes:
                    probe(state, batch, terms)
            state.step += 1
            state.seen += batch.consumed
            done = state.seen >= len(batches)
            if done or len(state.tally.waiting) >= MOST_WAITING:
                settle(state)
            if done and isinstance(terms, NonFinite) and not state.tally.sums[1]:
                raise terms  # a whole epoch was skipped
            if done:
                state.epoch, state.seen = state.epoch + 1, 0
            yield Step(state.step, batch.epoch, batch.consumed, done, terms if isinstance(terms, Terms) else None)


def update(state: State, batch: Batch) -> Terms | NonFinite:
    """One update of the weights, by the network's own rule or by its gradient. One whose numbers are not finite ends
    the training, or is skipped: then running statistics stand as before, and the answer says what was wrong."""
    rule: Callable[[State, Batch], Terms | Tensor] = getattr(state.model, "update", gradient_step)
    seed_step(state)
    state.set_rates()
    before = [buffer.clone() for buffer in state.model.buffers()] if state.skips else []
    try:
        terms = rule(state, batch)
    except NonFinite as error:
        if not state.skips:
            raise
        state.skipped += 1
        with torch.no_grad():
            for buffer, old in zip(state.model.buffers(), before, strict=True):
                buffer.copy_(old)
        return error
    if isinstance(terms, Tensor):  # an update of a network's own may give the losses alone
        return Terms(terms, weight=batch.weights)
    return terms


def settle(state: State) -> None:
    """Read the losses that wait on the device; stop at the first that is not finite, naming the step's examples."""
    found = state.tally.settle()
    if found is not None:
        raise NonFinite(found[1], found[0].step, found[0].epoch, found[0].examples)


def gradient_step(state: State, batch: Batch) -> Terms:
    """One step of gradient descent: forward, loss, backward, penalties, clip, update (S-102)."""
    with state.autocast():
        terms = shared_terms(state.ranks, state.objective(state.run, batch, state.draw()), batch)
    require_finite(state, batch, "loss", terms.loss, terms.per_example)
    for parameter in state.parameters:
        parameter.grad = None  # what `zero_grad` does, without the profiler's mark around it
    if state.scaler is None:
        terms.loss.backward()
        state.penalties.add(state.penalised, terms)
        state.norm = clip(state)
        require_finite(state, batch, "gradient", state.norm, terms.per_example)
        state.optimizer.step()
    else:  # float16: an overflowing gradient is expected now and then, the scaler skips that step
        state.scaler.scale(terms.loss).backward()
        state.scaler.unscale_(state.optimizer)
        state.penalties.add(state.penalised, terms)
        state.norm = clip(state)
        state.scaler.step(state.optimizer)
        state.scaler.update()
    return terms


def clip(state: State) -> Tensor | float:
    """The global gradient norm |g| before clipping; each number is brought into +-`clip_value`, and where the norm then
    exceeds `clip_norm` v, gradients become g v / |g| (S-117). A device that works ahead is not waited for."""
    gradients = [p.grad for p in state.parameters if p.grad is not None]
    if not gradients:
        return 0.0
    norm = left = _norm(gradients, state)
    if state.clip_value and (isinstance(norm, Tensor) or state.clip_value < norm < float("inf")):
        torch._foreach_clamp_min_(gradients, -state.clip_value)  # no number is larger than the norm
        torch._foreach_clamp_max_(gradients, state.clip_value)
        left = _norm(gradients, state) if state.clip_norm else 0.0
    if isinstance(left, Tensor) and state.clip_norm:
        torch._foreach_mul_(gradients, (state.clip_norm / left).clamp(max=1))
    elif not isinstance(left, Tensor) and 0 < state.clip_norm < left < float("inf"):
        torch._foreach_mul_(gradients, state.clip_norm / left)
    return norm


def _norm(gradients: list[Tensor], state: State) -> Tensor | float:
    if state.device.type == "cuda" or len(gradients) > MANY:
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        return norm if state.works_ahead else norm.item()
    # One after the other takes half the time of one call for all, where there are few: measured with 6 and 8 weights.
    return math.hypot(*(torch.linalg.vector_norm(gradient).item() for gradient in gradients))


def require_finite(state: State, batch: Batch, where: str, value: Tensor | float, per_example: Tensor) -> None:
    """Stop at the very step where a number is no longer finite, naming the examples behind it (rule P15).

    A device that works ahead is asked later, by `settle`, which names the same step.
    """
    if state.works_ahead:
        return
    number = value if isinstance(value, float) else value.item()
    if number - number == 0:  # false for infinities and NaN
        return
    broken = (~per_example.detach().isfinite()).cpu().numpy()
    given = batch.inputs.values if isinstance(batch.inputs, Sequences) else batch.inputs
    inputs = given.flatten(1)
    if inputs.is_floating_point():
        broken |= (~inputs.isfinite().all(1)).cpu().numpy()
    examples = broken_examples(state.ranks, batch, batch.examples[broken])
    raise NonFinite(where, state.step + 1, batch.epoch + 1, examples)


def seed_step(state: State) -> None:
    """Random numbers inside the network (dropout) become a pure function of (seed, step, rank)."""
    seed = mixed(state.step_seed, state.step)
    torch.default_generator.manual_seed(seed)
    if state.device.type == "cuda":
        torch.cuda.manual_seed(seed)
