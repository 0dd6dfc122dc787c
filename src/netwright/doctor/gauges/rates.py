"""Which learning rates a network stands: where its loss falls fastest, and where it diverges (P5)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from netwright.doctor.findings import rounded
from netwright.doctor.stopwatch import Stopwatch
from netwright.doctor.subject import Change, Live, Pair, Subject, untouched
from netwright.doctor.suspicion import Unmeasured

LOW, HIGH = 1e-7, 10.0
STEPS = 48
SEEDS = 3
JUDGED = 256
"""Examples that the loss is judged on after every step, the same ones all along: the noise of batches stays out."""


@dataclass(frozen=True)
class Rates:
    """Learning rates of an optimizer on a network, each the median over several orders of the batches."""

    steep: float
    """The rate at which half of the fall of the loss had happened; NaN where it never fell."""
    diverging: float
    """The rate at which the loss left what it had reached; infinite where none up to `HIGH` did."""
    current: float
    """The rate the training uses."""
    steeps: list[float] = field(default_factory=list)
    divergings: list[float] = field(default_factory=list)

    @property
    def advised(self) -> float:
        """A rate to train with: between a third of the steep one and a tenth of the diverging one, in the middle of the
        two on the scale of logarithms."""
        if not math.isfinite(self.steep):
            return rounded(self.diverging / 10) if math.isfinite(self.diverging) else math.nan
        low, high = self.steep / 3, min(self.diverging / 10, 3 * self.steep)
        return rounded(math.sqrt(low * high))


def rate_range(
    subject: Subject, seed: int = 0, changes: Sequence[Change] = (), seeds: int = SEEDS, seconds: float = 20.0
) -> Rates:
    """Raise the rate from 1e-7 to 10 step by step, by the subject's own optimizer and groups, over several seeds.

    Formula: the steep rate is where the loss has gone half the way from its first to its best value; the diverging one
    where it has come back up by max(first - best, |best|), or is no number

    Differs: the loss is that of the same examples after every step, and half of the fall, not the steepest place of the
    curve, is looked for: both are the same for other batches within a factor of 2, which the steepest place is not.
    """
    watch = Stopwatch()
    found: list[tuple[float, float]] = []
    current = math.nan
    for place in range(seeds):
        with subject.live(changes, seed * seeds + place) as live:
            current = rate_of(live.optimizers)
            found.append(_one(live, subject, current))
        if watch.seconds * (place + 2) / (place + 1) > seconds:
            break  # another seed would take longer than there is
    steeps, divergings = [one[0] for one in found], [one[1] for one in found]
    finite = [rate for rate in steeps if math.isfinite(rate)]
    return Rates(median(finite) if finite else math.nan, median(divergings), current, steeps, divergings)


def _one(live: Live, subject: Subject, current: float) -> tuple[float, float]:
    """The steep and the diverging rate of one order of batches."""
    if not live.optimizers or not current > 0:
        raise Unmeasured
    judges = subject.sample(JUDGED)
    rates = [LOW * (HIGH / LOW) ** (place / (STEPS - 1)) for place in range(STEPS)]
    losses = [_judged(live, judges)]
    if not math.isfinite(losses[0]):
        raise Unmeasured
    with forced_rate(live.optimizers) as force:
        for rate in rates:
            force(rate / current)
            live.step()
            losses.append(_judged(live, judges))
            if not math.isfinite(losses[-1]) or losses[-1] > _ceiling(losses):
                break
    return steep_rate(rates, losses), rates[len(losses) - 2] if _left(losses) else math.inf


def _left(losses: list[float]) -> bool:
    return not math.isfinite(losses[-1]) or losses[-1] > _ceiling(losses)


def _ceiling(losses: list[float]) -> float:
    """Above this the loss has diverged. A best loss that is negative, or near 0, is no scale by itself."""
    best = min(loss for loss in losses if math.isfinite(loss))
    return max(losses[0], best) + max(losses[0] - best, 0.5 * abs(losses[0]))


def steep_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Where half of the way from the first to the best loss was gone, between two rates on the scale of logarithms.

    `losses` has one more entry than there are steps: the loss before the first.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    first, best = finite[0], min(finite)
    if not first - best > 1e-3 * max(abs(first), 1e-12):
        return math.nan
    half = (first + best) / 2
    place = next(index for index, loss in enumerate(finite) if loss <= half)
    before, after = finite[place - 1], finite[place]
    share = (before - half) / (before - after)
    low = rates[place - 2] if place >= 2 else rates[0] / (rates[1] / rates[0])
    return float(low * (rates[place - 1] / low) ** share)


def _judged(live: Live, pairs: Sequence[Pair]) -> float:
    """The loss of these examples in the present mode, with the same dropout masks every time."""
    with untouched(live.model), torch.no_grad():
        torch.manual_seed(0)
        found = [(live.loss_on(pair).item(), len(pair)) for pair in pairs]
    return sum(loss * count for loss, count in found) / max(1, sum(count for _, count in found))


def rate_of(optimizers: Sequence[Optimizer]) -> float:
    """The rate of the first group that has one above 0; NaN without."""
    rates = [_number(group.get("lr")) for optimizer in optimizers for group in optimizer.param_groups]
    return next((rate for rate in rates if rate > 0), math.nan)


@contextmanager
def forced_rate(optimizers: Sequence[Optimizer]) -> Iterator[Any]:
    """Within, every step takes the rates of the groups as they are now times the factor last given to the function
    that this yields: whatever a schedule or a step of the person's own sets before."""
    factor = [1.0]
    own = [[group.get("lr") for group in optimizer.param_groups] for optimizer in optimizers]
    kept = [[_number(lr) for lr in rates] for rates in own]
    hooks = []
    for optimizer, rates in zip(optimizers, kept, strict=True):

        def before(stepping: Any, *_: Any, rates: list[float] = rates) -> None:
            for group, rate in zip(stepping.param_groups, rates, strict=False):
                set_rate(group, rate * factor[0])

        hooks.append(optimizer.register_step_pre_hook(before))

    def force(value: float) -> None:
        factor[0] = value

    try:
        yield force
    finally:
        for hook in hooks:
            hook.remove()
        for optimizer, rates in zip(optimizers, kept, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=False):
                set_rate(group, rate)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Give a group its rate; one that is a tensor stays that tensor."""
    if isinstance(group.get("lr"), Tensor):
        group["lr"].fill_(rate)
    elif "lr" in group and math.isfinite(rate):
        group["lr"] = rate


def _number(rate: Any) -> float:
    if isinstance(rate, Tensor):
        return float(rate.item())
    return float(rate) if isinstance(rate, (int, float)) else math.nan
