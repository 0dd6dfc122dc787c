"""THE loop: a generator, probes, and no callbacks.

It yields after every step; logging, validation, saving, early stopping and live plots are `for` loops over it, and
`break` stops it. Two seams: `state.objective(model, batch, draw) -> Terms`, and the network's own method
`update(state, batch) -> Terms` with any number of optimizers. Order, counting, probes and records stay here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.batches import Batch, Batches
from netwright.errors import NetwrightError
from netwright.language import say
from netwright.randomness import seed_of
from netwright.training.objective import Terms
from netwright.training.state import State

Probe = Callable[[State, Batch, Terms], None]
"""Called after a step with the gradients still in place."""


@dataclass(frozen=True)
class Step:
    """One finished step. `epoch_done` marks an epoch's last, when the state already points at the next."""

    number: int
    epoch: int
    examples: int
    epoch_done: bool
    terms: Terms


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
    update: Callable[[State, Batch], Terms | Tensor] = getattr(state.model, "update", gradient_step)
    while state.epoch < epochs:
        state.learn()
        for batch in batches.epoch(state.epoch, start=state.seen):
            seed_step(state)
            state.set_rates()
            terms = update(state, batch)
            if isinstance(terms, Tensor):  # an update of a network's own may give the losses alone
                terms = Terms(terms, weight=batch.weights)
            state.count(terms, len(batch))
            for probe in probes:
                probe(state, batch, terms)
            state.step += 1
            state.seen += len(batch)
            done = state.seen >= len(batches)
            if done:
                state.epoch, state.seen = state.epoch + 1, 0
            yield Step(state.step, batch.epoch, len(batch), done, terms)


def gradient_step(state: State, batch: Batch) -> Terms:
    """One step of gradient descent: forward, loss, backward, penalties, clip, update (S-102)."""
    with state.autocast():
        terms = state.objective(state.model, batch, state.draw())
    require_finite(state, batch, "loss", terms.loss, terms.per_example)
    state.optimizer.zero_grad(set_to_none=True)
    if state.scaler is None:
        terms.loss.backward()
        state.penalties.add(state.penalised, terms)
        state.gradient_norm = clip(state)
        require_finite(state, batch, "gradient", state.gradient_norm, terms.per_example)
        state.optimizer.step()
    else:  # float16: an overflowing gradient is expected now and then, the scaler skips that step
        state.scaler.scale(terms.loss).backward()
        state.scaler.unscale_(state.optimizer)
        state.penalties.add(state.penalised, terms)
        state.gradient_norm = clip(state)
        state.scaler.step(state.optimizer)
        state.scaler.update()
    return terms


def clip(state: State) -> float:
    """The global gradient norm |g| before clipping; each number is brought into +-`clip_value`, and where the norm then
    exceeds `clip_norm` v, gradients become g v / |g| (S-117)."""
    gradients = [p.grad for p in state.parameters if p.grad is not None]
    if not gradients:
        return 0.0
    norm = left = torch.stack(torch._foreach_norm(gradients)).norm().item()
    if 0 < state.clip_value < norm < float("inf"):  # no number is larger than the norm
        torch._foreach_clamp_min_(gradients, -state.clip_value)
        torch._foreach_clamp_max_(gradients, state.clip_value)
        left = torch.stack(torch._foreach_norm(gradients)).norm().item() if state.clip_norm else 0.0
    if 0 < state.clip_norm < left < float("inf"):
        torch._foreach_mul_(gradients, state.clip_norm / left)
    return norm


def require_finite(state: State, batch: Batch, where: str, value: Tensor | float, per_example: Tensor) -> None:
    """Stop at the very step where a number is no longer finite, naming the examples behind it (rule P15)."""
    number = value if isinstance(value, float) else value.item()
    if number - number == 0:  # false for infinities and NaN
        return
    broken = (~per_example.detach().isfinite()).cpu().numpy()
    inputs = batch.inputs.flatten(1)
    if inputs.is_floating_point():
        broken |= (~inputs.isfinite().all(1)).cpu().numpy()
    examples = batch.examples[broken] if broken.any() else batch.examples
    raise NonFinite(where, state.step + 1, batch.epoch + 1, examples)


def seed_step(state: State) -> None:
    """Random numbers inside the network (dropout) become a pure function of (seed, step)."""
    seed = seed_of(state.seed, "step", state.step)
    torch.default_generator.manual_seed(seed)
    if state.device.type == "cuda":
        torch.cuda.manual_seed(seed)
