"""Where a training first met a number that is not finite: input, forward pass, loss, backward pass or update (D10)."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.ops import tracing
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.doctor.task import first_tensor, flat_targets

STAGES = ("input", "forward", "loss", "backward", "optimizer")


@dataclass(frozen=True)
class Failing:
    """The first number that was not finite."""

    stage: str
    where: str
    """The module, the parameter, or the stage itself."""
    step: int
    before: list[float] = field(default_factory=list)
    """The last losses before, up to 5."""
    largest: float = math.nan
    """The largest output of the network in the step before."""


def first_failure(subject: Subject, steps: int, sigmoid: bool = False) -> Failing | None:
    """Train again from the same state to the step that fails, and look into it; None where none fails."""
    losses: list[float] = []
    with subject.live() as live:
        for step in range(steps + 1):
            pair = live.batch()
            look = step >= steps - 2 or step < 2
            found = _before(live, pair, step, losses) if look else None
            if found is not None:
                return found
            loss = live.step()
            if look or not math.isfinite(loss):
                broken = [name for name, p in live.parameters.items() if not bool(torch.isfinite(p).all())]
                if broken:
                    return Failing("optimizer", broken[0], step, losses[-5:])
            if not math.isfinite(loss) and live.own_loss:
                return Failing("loss", "loss", step, losses[-5:])
            losses.append(loss)
    return None


def _before(live: Live, pair: Pair, step: int, losses: list[float]) -> Failing | None:
    """The stage of a step that fails before the weights move."""
    for value in (*pair.inputs, pair.targets):
        if not _finite(value):
            return Failing("input", "targets" if value is pair.targets else "inputs", step, losses[-5:])
    with untouched(live.model):
        with torch.no_grad(), tracing(live.model) as trace:
            outputs = live.forward(pair)
        bad = next((op for op in trace.ops if not _finite(op.output)), None)
        if bad is not None:
            return Failing("forward", bad.path or bad.name, step, losses[-5:])
        if not _finite(outputs):
            return Failing("forward", "forward", step, losses[-5:])
        loss = live.loss_on(pair)
        largest = first_tensor(outputs).detach().abs().max().item() if _plain(outputs) else math.nan
        if not bool(torch.isfinite(loss).all()):
            return Failing("loss", "loss", step, losses[-5:], largest)
    _, gradients = live.gradient(pair)
    broken = [name for name, g in gradients.items() if not bool(torch.isfinite(g).all())]
    return Failing("backward", broken[-1], step, losses[-5:], largest) if broken else None


def _plain(outputs: Any) -> bool:
    try:
        return first_tensor(outputs).numel() > 0
    except (TypeError, IndexError, KeyError, StopIteration):
        return False


def _finite(value: Any) -> bool:
    """Whether all numbers in it are finite; what holds no numbers is."""
    try:
        found = flat_targets(value)
    except (TypeError, IndexError, KeyError, StopIteration):
        return True
    return not isinstance(found, Tensor) or not found.is_floating_point() or bool(torch.isfinite(found).all())
