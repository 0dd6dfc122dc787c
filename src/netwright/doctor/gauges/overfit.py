"""Whether a few examples can be learnt by heart: by the training as it is, without penalties, and by Adam (P4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch

from netwright.doctor.changes.penalties import no_decay, no_dropout, no_penalty, smoothing
from netwright.doctor.changes.steps import constant_schedule, join, probed_optimizer, slice_of
from netwright.doctor.code import CodeLive
from netwright.doctor.stopwatch import Stopwatch
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import flat_targets, skill_of

FEW = 32
STEPS = 300
EVERY = 20
"""So many steps between two looks at the answers."""
RIGHT = 0.95
LEFT = 0.1
"""Numbers are learnt by heart where the squared error is below this share of their variance."""


@dataclass(frozen=True)
class Learnt:
    """One attempt at learning a few examples by heart."""

    passed: bool
    ratio: float
    """Its last loss by its first."""
    right: float
    """The share answered right; for numbers R2."""
    steps: int


@dataclass(frozen=True)
class Overfit:
    """Three attempts: what separates them is what is wrong."""

    own: Learnt
    """As the training is: its optimizer with its penalties."""
    plain: Learnt
    """The same without weight decay, penalties, smoothing and dropout."""
    adam: Learnt
    """Without them, by Adam at the rate of a range test."""
    examples: int


def overfit(subject: Subject, steps: int = STEPS, seconds: float = 15.0) -> Overfit:
    """Learn about 32 examples by heart in at most 300 steps, three times from the same state."""
    pairs = few(subject)
    off = penalties_off(subject)
    own = _learn(subject, pairs, [], steps, seconds / 3)
    plain = own if not off else _learn(subject, pairs, off, steps, seconds / 3)
    if own.passed and plain.passed:
        return Overfit(own, plain, plain, sum(map(len, pairs)))  # what the own optimizer can, Adam need not show
    fast = probed_optimizer(subject, "adam", before=tuple(off))
    adam = plain if fast is None else _learn(subject, pairs, [*off, fast], steps, seconds / 3)
    return Overfit(own, plain, adam, sum(map(len, pairs)))


def penalties_off(subject: Subject) -> list[Change]:
    """Weight decay, smoothing and dropout off, where there are any; of a recipe the schedule, too."""
    found = [no_decay(subject), smoothing(subject), no_dropout(subject)]
    found += [no_penalty(subject), constant_schedule(subject)] if subject.recipe is not None else []
    return [change for change in found if change is not None]


def few(subject: Subject, count: int = FEW) -> list[Pair]:
    """About `count` examples from all over the batches: the first ones may all be of one class."""
    places = sorted({round(place * (len(subject.batches) - 1) / 7) for place in range(8)})
    chosen = [subject.batches[place] for place in places]
    if subject.recipe is not None:
        return [_short(chosen[0], count)]
    each = max(1, -(-count // len(chosen)))
    cut = [slice_of(pair, 0, each) for pair in chosen]
    while len(cut) < count and sum(map(len, cut)) < count and len(cut) < len(subject.batches):
        cut.append(slice_of(subject.batches[len(cut)], 0, each))  # batches of single examples
    joined = join(cut) if max(map(len, chosen)) > 1 else None
    return [joined] if joined is not None else cut


def _short(pair: Pair, count: int) -> Pair:
    """The first examples of a recipe's batch, where it is one of plain tensors."""
    batch = pair.source
    if (
        not isinstance(batch.inputs, torch.Tensor)
        or not isinstance(batch.targets, torch.Tensor)
        or batch.mixture is not None
    ):
        return pair
    weights = None if batch.weights is None else batch.weights[:count]
    short = replace(batch, inputs=batch.inputs[:count], targets=batch.targets[:count], weights=weights,
                    examples=batch.examples[:count])  # fmt: skip
    return Pair((short.inputs,), short.targets, short)


def train_on(live: Live, pairs: Sequence[Pair]) -> None:
    """From here the branch takes these batches only, in turn."""
    given: Any = live
    if isinstance(live, CodeLive):
        live.pairs, live.order = list(pairs), list(range(len(pairs)))
    elif hasattr(live, "rows"):
        given.rows, given.ahead = cycle([pair.source for pair in pairs]), None
    else:
        raise Unmeasured


def _learn(subject: Subject, pairs: list[Pair], changes: list[Change], steps: int, seconds: float) -> Learnt:
    watch, losses = Stopwatch(), [math.nan]
    with subject.live(changes) as live:
        train_on(live, pairs)
        right = math.nan
        while len(losses) <= steps:
            losses.append(live.step())
            broken = not math.isfinite(losses[-1]) and live.own_loss
            done = len(losses) - 1
            if broken or done % EVERY == 0 or done == steps:
                right = -1.0 if broken else share_right(live, pairs)
                if broken or right >= _wanted(live) or watch.seconds > seconds:
                    break
        passed = right >= _wanted(live) or (not math.isfinite(right) and losses[-1] < LEFT * losses[1])
    first = losses[1] if len(losses) > 1 else math.nan
    return Learnt(passed, losses[-1] / first if first else math.nan, right, len(losses) - 1)


def _wanted(live: Live) -> float:
    return RIGHT if live.task.kind in ("classes", "labels") else 1 - LEFT


@torch.no_grad()
def share_right(live: Live, pairs: Sequence[Pair]) -> float:
    """The share of answers that are right, in the mode of training, so that running statistics play no part; for
    numbers R2."""
    if not live.task.is_judged:
        return math.nan
    truth = torch.cat([live.task.truth(pair.targets) for pair in pairs])
    modes = [(module, module.training) for module in live.model.modules()]
    answers = []
    try:
        with torch.random.fork_rng(devices=[]):
            for pair in pairs:
                outputs = live.outputs(pair) if len(flat_targets(pair.targets)) == 1 else _training_outputs(live, pair)
                answers.append(live.task.answers(outputs))
    finally:
        for module, mode in modes:
            module.training = mode
    found = torch.cat(answers)
    if live.task.kind == "numbers":
        return skill_of("numbers", truth.cpu(), found.cpu())
    return (found.cpu() == truth.cpu()).double().mean().item() if found.shape == truth.shape else 0.0


def _training_outputs(live: Live, pair: Pair) -> Any:
    """Outputs with batch statistics, without dropout; buffers stay."""
    buffers = [(buffer, buffer.clone()) for buffer in live.model.buffers()]
    for module in live.model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.training = False
    found = live.forward(pair)
    for buffer, old in buffers:
        buffer.copy_(old)
    return found
