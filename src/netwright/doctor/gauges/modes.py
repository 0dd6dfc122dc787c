"""Training mode beside evaluation mode: the same weights, the same examples (P13)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.doctor.ops import DROPOUTS, NORMS, Op, Swap, tracing
from netwright.doctor.stopwatch import Stopwatch
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.doctor.task import first_tensor

STEPS = 150
"""Running statistics with a momentum of 0.1 have forgotten their start after so many steps. At a high learning rate
those of a healthy network lag behind: a loss in use of 0.64 beside 0.12 in training was measured before settling."""


@dataclass(frozen=True)
class Modes:
    """After a short training, on training examples; dropout is off in both."""

    loss_train: float
    loss_eval: float
    similarity: float
    """The mean cosine of an example's outputs in the two modes, around the mean output."""
    random: bool
    """Whether two passes in evaluation mode differ."""
    depends: bool
    """Whether an example's output in evaluation mode depends on the other examples of its batch."""
    steps: int
    norms: tuple[str, ...] = ()
    """The modules that normalise over the batch."""

    @property
    def ratio(self) -> float:
        """The loss in evaluation by that in training; NaN where neither is a positive number."""
        return (
            self.loss_eval / self.loss_train if self.loss_train > 1e-9 and math.isfinite(self.loss_eval) else math.nan
        )


def compare_modes(subject: Subject, steps: int = STEPS, seconds: float = 4.0) -> Modes:
    """Train for a moment, so that running statistics are in, then read the same examples in both modes."""
    with subject.live() as live:
        with untouched(live.model), tracing(live.model) as trace, torch.no_grad():
            live.forward(subject.batches[0])
        batched = [op for op in trace.ops if op.name == "batch_norm"]
        if any(op.name in NORMS | DROPOUTS for op in trace.ops):
            _warm(live, subject, steps, seconds, settle=40 if batched else 0)
        pairs = subject.sample(512)
        swaps: dict[tuple[str, int], Swap] = {op.key: _kept for op in trace.ops if op.name in DROPOUTS}
        here = [_read(live, pair, True, swaps) for pair in pairs]
        there = [_read(live, pair, False, swaps) for pair in pairs]
        size = sum(map(len, pairs))
        losses = [
            sum(loss * len(pair) for (loss, _), pair in zip(mode, pairs, strict=True)) / size for mode in (here, there)
        ]
        similar = _similarity([o for _, o in here], [o for _, o in there])
        changes = _read(live, pairs[0], False, {})[1], _read(live, pairs[0], False, {}, 1)[1]
        return Modes(
            losses[0],
            losses[1],
            similar,
            not torch.equal(*changes),
            _depends(live, pairs[0], swaps),
            live.steps,
            tuple(op.where for op in batched),
        )


def _warm(live: Live, subject: Subject, steps: int, seconds: float, settle: int) -> None:
    """Train, then read batches with the weights at rest: running statistics that only lag behind come up."""
    watch = Stopwatch()
    for _ in range(min(steps, subject.total or steps)):
        live.step()
        if watch.seconds > seconds:
            break
    with torch.no_grad():
        for place in range(settle):
            live.forward(subject.batches[place % len(subject.batches)])


def _kept(op: Op, func: object) -> Tensor:
    """Dropout that drops nothing."""
    return op.inputs[0] if op.inputs else op.settings["input"]


@torch.no_grad()
def _read(
    live: Live, pair: Pair, training: bool, swaps: dict[tuple[str, int], Swap], draw: int = 0
) -> tuple[float, Tensor]:
    """Loss and outputs of a batch in one mode. Modules that the person keeps in evaluation mode stay there."""
    modes = [(module, module.training) for module in live.model.modules()]
    found: list[Tensor] = []
    hook = live.model.register_forward_hook(lambda _, __, out: found.append(first_tensor(out).detach().float()))
    try:
        if not training:
            live.model.eval()
        with untouched(live.model), tracing(live.model, swaps=swaps, keep=False):
            torch.manual_seed(draw)
            loss = live.loss_on(pair).item()
    finally:
        hook.remove()
        for module, mode in modes:
            module.training = mode
    return loss, found[-1] if found else torch.zeros(1)


def _similarity(here: list[Tensor], there: list[Tensor]) -> float:
    if not all(
        a.shape == b.shape and a.dim() and a.shape[1:] == here[0].shape[1:] for a, b in zip(here, there, strict=True)
    ):
        return math.nan
    one, other = (torch.cat([o.reshape(len(o), -1) for o in mode]) for mode in (here, there))
    middle = one.mean(0)
    if one.shape[1] == 1:
        a, b = (one - middle).reshape(1, -1), (other - middle).reshape(1, -1)
        return F.cosine_similarity(a, b).item() if a.norm() > 0 else math.nan
    return F.cosine_similarity(one - middle, other - middle).mean().item()


@torch.no_grad()
def _depends(live: Live, pair: Pair, swaps: dict[tuple[str, int], Swap]) -> bool:
    """Change every example but one: does its answer move? The first is asked, and the last, which may have read it."""
    size = len(pair)
    tensors = [isinstance(part, Tensor) and part.dim() > 0 and len(part) == size for part in pair.inputs]
    if size < 3 or not all(tensors):
        return False
    moved = [0.0]
    try:
        one = _read(live, pair, False, swaps)[1]
        for kept in (0, size - 1):
            order = torch.full((size,), 1, device=pair.inputs[0].device)
            order[kept] = kept
            other = Pair(tuple(part[order] for part in pair.inputs), pair.targets, pair.source)
            two = _read(live, other, False, swaps)[1]
            if one.shape != two.shape or len(one) != size:
                return False
            moved.append((one[kept] - two[kept]).abs().max().item())
    except RuntimeError:
        return False
    return max(moved) > 1e-3 * max(one.abs().max().item(), 1e-6)
