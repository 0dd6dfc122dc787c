"""What pulls on the weights beside the data: weight decay and penalties, measured during a short training."""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from netwright.doctor.changes.penalties import detached
from netwright.doctor.code import CodeLive, scalar
from netwright.doctor.subject import Live, Pair, Subject, untouched

STEPS = 200
EVERY = 10


@dataclass(frozen=True)
class Pull:
    """Medians over the last half of the steps."""

    decay: float
    """|weight_decay * w| by |gradient|; for AdamW by the gradient as Adam scales it."""
    penalty: float
    """The gradient that reaches the weights past the outputs, by the one through the outputs."""
    shrunk: float
    """The weights' norm by that at the start."""
    largest: float
    """The largest weight decay of a group."""


def pull_on_weights(subject: Subject, steps: int = STEPS) -> Pull:
    """Train for a moment; biases and other vectors count as weights too."""
    decays, penalties = [], []
    with subject.live() as live:
        first = _norm(live)
        largest = max(
            (float(g.get("weight_decay", 0) or 0) for o in live.optimizers for g in o.param_groups), default=0.0
        )
        for step in range(steps):
            pair = live.batch()
            if step % EVERY == 0 and largest:
                decays.append(_decay(live, pair))
            if step % (5 * EVERY) == 0:
                penalties.append(_penalty(live, pair))
            loss = live.step()
            if not math.isfinite(loss) and live.own_loss:
                break
        last = _norm(live)
    return Pull(_late(decays), _late(penalties), last / first if first > 0 else 1.0, largest)


def _late(values: list[float]) -> float:
    kept = [value for value in values[len(values) // 2 :] if math.isfinite(value)]
    return median(kept) if kept else 0.0


def _norm(live: Live) -> float:
    """Of matrices and kernels alone: gains of norms begin at 1 and biases at 0."""
    return math.sqrt(sum(p.detach().double().square().sum().item() for p in live.parameters.values() if p.dim() > 1))


def _decay(live: Live, pair: Pair) -> float:
    """The pull of the decay beside that of the data, over all weights together."""
    _, gradients = live.gradient(pair)
    by_id = {id(p): gradients[name] for name, p in live.parameters.items() if name in gradients}
    pulled = data = 0.0
    for optimizer in live.optimizers:
        for group in optimizer.param_groups:
            decay = float(group.get("weight_decay", 0) or 0)
            for parameter in group["params"]:
                if id(parameter) in by_id:
                    pulled += (decay * parameter.detach().double()).square().sum().item()
                    data += _reach(optimizer, parameter, by_id[id(parameter)])
    return math.sqrt(pulled / data) if data > 0 else math.inf if pulled > 0 else 0.0


def _reach(optimizer: Any, parameter: torch.Tensor, gradient: torch.Tensor) -> float:
    """How hard the data pull, squared: the gradient; of a rule whose decay stands beside the rate, the gradient as the
    rule scales it."""
    seconds = optimizer.state.get(parameter, {}).get("exp_avg_sq")
    if "adamw" in type(optimizer).__name__.lower() and seconds is not None:
        return float((gradient / (seconds.sqrt() + 1e-12)).clamp(-10, 10).double().square().sum().item())
    return float(gradient.double().square().sum().item())


def _penalty(live: Live, pair: Pair) -> float:
    """The gradient of what the loss adds that does not come through the outputs, beside the rest of it."""
    if not isinstance(live, CodeLive):
        return 0.0
    own = list(live.parameters.values())
    with untouched(live.model):
        outputs = live.forward(pair)
        past = scalar(live.loss(detached(outputs), pair.targets))
        if not past.requires_grad or not own:
            return 0.0
        whole = scalar(live.loss(outputs, pair.targets))
        sides = torch.autograd.grad(past, own, allow_unused=True)
        alls = torch.autograd.grad(whole, own, allow_unused=True)
    side = sum(s.double().square().sum().item() for s in sides if s is not None)
    rest = sum(
        ((a if a is not None else 0) - (s if s is not None else 0)).double().square().sum().item()
        for a, s in zip(alls, sides, strict=True) if a is not None or s is not None
    )  # fmt: skip
    return math.sqrt(side / rest) if rest > 0 else math.inf
