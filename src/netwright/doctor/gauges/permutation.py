"""Whether the inputs say anything about the targets: true labels beside shuffled ones and beside blank inputs (P11)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any, cast

import torch
from torch import Tensor

from netwright.doctor.code import CodeLive
from netwright.doctor.gauges.contract import FAILS
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.language import say

HELD = 5
"""One example in so many is held out, where there are no validation examples."""
CLEAR = 2.0
"""A gap of so many standard errors is none by chance."""


@dataclass(frozen=True)
class Permutation:
    """Losses on held-out examples with their true labels, a value for each seed, after as many steps on each kind."""

    true: list[float]
    shuffled: list[float]
    blank: list[float]
    """Inputs replaced by zeros, in training and in judging."""
    steps: int
    held_out: bool
    """Whether examples were held out; with very few all are judged that were learnt."""

    @property
    def gap(self) -> float:
        """How much lower the loss is with true labels than with shuffled ones: the mean paired difference."""
        return mean(_differences(self.shuffled, self.true))

    @property
    def error(self) -> float:
        """The standard error of that mean."""
        found = _differences(self.shuffled, self.true)
        return stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.inf

    @property
    def reads_inputs(self) -> float:
        """How much lower the loss is with the inputs than without: the mean paired difference."""
        return mean(_differences(self.blank, self.true))

    @property
    def opens(self) -> bool:
        """Whether true labels help: what is learnt about them holds for examples that were not learnt."""
        return self.gap > CLEAR * self.error and self.gap > 0


def _differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def permutation(subject: Subject, steps: int = 100, seeds: int = 3, seed: int = 0) -> Permutation:
    """Train `steps` steps on true labels, on shuffled ones and on blank inputs, with the same seeds, from one state.

    Formula: gap = mean over seeds of (loss with shuffled labels - loss with true labels), both on the same held-out
    examples with their true labels

    Labels are shuffled over all examples that are learnt, so that their shares stay. A network that learns by heart
    reaches the same training loss on both; only the held-out loss tells.
    Errors: Unmeasured for recipes, and where targets are no tensors or the loss cannot be called by itself.
    """
    if subject.recipe is not None or seeds < 1 or steps < 1:
        raise Unmeasured
    pairs = [pair for pair in subject.batches if isinstance(pair.targets, Tensor) and len(pair) > 1]
    if not pairs or any(pair.targets.shape[1:] != pairs[0].targets.shape[1:] for pair in pairs):
        raise Unmeasured
    learnt, held = (pairs, list(subject.validation)) if subject.validation else _parted(pairs)
    found: dict[str, list[float]] = {"true": [], "shuffled": [], "blank": []}
    for place in range(seed, seed + seeds):
        arms = {"true": (learnt, held), "shuffled": (shuffled(learnt, place), held),
                "blank": ([blank(pair) for pair in learnt], [blank(pair) for pair in held])}  # fmt: skip
        for name, (train, judge) in arms.items():
            found[name].append(_trained(subject, train, judge, steps, place))
    if not all(math.isfinite(value) for values in found.values() for value in values):
        raise Unmeasured
    return Permutation(**found, steps=steps, held_out=held is not learnt)


def _parted(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Every fifth batch held out; of fewer batches every fifth example of each."""
    if len(pairs) >= HELD:
        return [p for i, p in enumerate(pairs) if i % HELD != HELD - 1], pairs[HELD - 1 :: HELD]
    if min(map(len, pairs)) < 2 * HELD:
        return pairs, pairs
    kept = [torch.arange(len(pair)) % HELD != HELD - 1 for pair in pairs]
    return [_some(p, k) for p, k in zip(pairs, kept, strict=True)], [
        _some(p, ~k) for p, k in zip(pairs, kept, strict=True)
    ]


def _some(pair: Pair, kept: Tensor) -> Pair:
    """Some examples of a batch. Errors: Unmeasured where an input is no tensor with one row an example."""

    def rows(part: Any) -> Any:
        if not isinstance(part, Tensor) or part.dim() == 0 or len(part) != len(kept):
            raise Unmeasured
        return part[kept.to(part.device)]

    return Pair(tuple(rows(part) for part in pair.inputs), rows(pair.targets))


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """The same batches with the targets of all examples in a drawn order."""
    joined = torch.cat([pair.targets for pair in pairs])
    order = torch.randperm(len(joined), generator=torch.Generator().manual_seed(seed))
    parts = joined[order.to(joined.device)].split([len(pair.targets) for pair in pairs])
    return [replace(pair, targets=part) for pair, part in zip(pairs, parts, strict=True)]


def blank(pair: Pair) -> Pair:
    """A batch with zeros for inputs."""
    return replace(pair, inputs=tuple(torch.zeros_like(x) if isinstance(x, Tensor) else x for x in pair.inputs))


def _trained(subject: Subject, train: list[Pair], judge: list[Pair], steps: int, seed: int) -> float:
    """The loss of `judge` after some steps on `train`, in evaluation mode."""

    def apply(live: Live) -> None:
        cast(CodeLive, live).pairs = list(train)

    change = Change(say("other examples"), "", {}, apply)
    with subject.live([change], seed + 1) as live:
        try:
            live.run(steps)
            with torch.no_grad(), _evaluating(live):
                losses = [(float(live.loss_on(pair)), len(pair)) for pair in judge]
        except FAILS:
            raise Unmeasured from None
    return sum(loss * count for loss, count in losses) / max(1, sum(count for _, count in losses))


@contextmanager
def _evaluating(live: Live) -> Iterator[None]:
    """Evaluation mode within; every module's own mode after."""
    modes = [(module, module.training) for module in live.model.modules()]
    live.model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
