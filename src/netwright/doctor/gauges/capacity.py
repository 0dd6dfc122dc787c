"""What a network can hold and what more examples would bring: losses over growing sets, and a learning curve (P14)."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.doctor.changes.steps import probed_optimizer, slice_of
from netwright.doctor.gauges.overfit import penalties_off, train_on
from netwright.doctor.subject import Change, Pair, Subject
from netwright.doctor.suspicion import Unmeasured

SIZES = (64, 512, 4096)


@dataclass(frozen=True)
class Point:
    """What a training on some of the examples came to."""

    examples: int
    loss: float
    skill: float
    """On the examples it was trained on."""
    held_out: float
    """On validation examples; NaN without."""


def capacity_curve(
    subject: Subject, sizes: Sequence[int] = SIZES, steps: int = 300, seconds: float = 10.0
) -> list[Point]:
    """Fit growing shares of the examples by Adam at the rate of a range test, without penalties, in as many steps each.

    A network that fits the smallest and fails on the larger ones has too little room for them; one that fails on the
    smallest lacks something else.
    """
    off = penalties_off(subject)
    fast = probed_optimizer(subject, "adam", before=tuple(off))
    return _points(subject, sizes, [*off, fast] if fast is not None else off, steps, seconds)


def learning_curve(subject: Subject, shares: Sequence[float] = (0.25, 0.5, 1.0), seconds: float = 10.0) -> list[Point]:
    """Train on growing shares of the examples as the person does, for as many steps each, and judge on validation."""
    if not subject.validation:
        raise Unmeasured
    steps = min(1000, subject.total or 20 * subject.epoch)
    return _points(subject, [max(1, round(share * subject.examples)) for share in shares], [], steps, seconds)


def gain_by_doubling(points: Sequence[Point]) -> float:
    """The share of the validation error that twice the examples took away at the end of a learning curve.

    Formula: 1 - (1 - s_n) / (1 - s_n/2), s the skills of the last two points, brought to one doubling
    """
    if len(points) < 2 or not points[-1].examples > points[-2].examples:
        return math.nan
    before, after = 1 - points[-2].held_out, 1 - points[-1].held_out
    if not before > 0:
        return 0.0
    doublings = math.log2(points[-1].examples / points[-2].examples)
    return float(1 - max(0.0, after / before) ** (1 / doublings))


def _points(subject: Subject, sizes: Sequence[int], changes: list[Change], steps: int, seconds: float) -> list[Point]:
    found: list[Point] = []
    began = time.monotonic()
    wanted = sorted({min(size, subject.examples) for size in sizes})
    for place, size in enumerate(wanted):
        share = (seconds - (time.monotonic() - began)) / (len(wanted) - place)
        found.append(_fit(subject, first_examples(subject, size), changes, steps, share))
    return found


def _fit(subject: Subject, pairs: list[Pair], changes: list[Change], steps: int, seconds: float) -> Point:
    losses: list[float] = []
    with subject.live(changes) as live:
        train_on(live, pairs)
        began = time.monotonic()
        while len(losses) < steps and time.monotonic() - began < max(0.2, seconds):
            losses.append(live.step())
            if not math.isfinite(losses[-1]) and live.own_loss:
                break
        finite = bool(losses) and math.isfinite(losses[-1])
        skill = live.skill(pairs) if finite or not live.own_loss else -1.0
        held = live.skill(subject.validation) if subject.validation else math.nan
    tail = losses[-max(1, len(pairs)) :]
    return Point(sum(map(len, pairs)), sum(tail) / max(1, len(tail)), skill, held)


def first_examples(subject: Subject, count: int) -> list[Pair]:
    """The first examples in the batches they came in, the last one cut."""
    found: list[Pair] = []
    left = count
    for pair in subject.batches:
        if left <= 0:
            break
        found.append(slice_of(pair, 0, left) if len(pair) > left and subject.recipe is None else pair)
        left -= len(found[-1])
    return found
