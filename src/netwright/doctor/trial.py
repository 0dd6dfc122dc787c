"""Branches from one state that differ in one thing: how much each is worth (P15)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from netwright.doctor.stopwatch import Stopwatch
from netwright.doctor.subject import Change, Live, Subject


@dataclass(frozen=True)
class Outcome:
    """Where a branch came to."""

    skill: float
    """On validation examples where there are some, else on the training examples; a branch that diverged has its
    constant answer's 0 or less."""
    train: float
    loss: float
    """The mean loss of its last steps."""
    finite: bool
    steps: int
    seconds: float
    losses: list[float] = field(default_factory=list, repr=False)
    shares: Float[Tensor, "examples"] | None = field(default=None, repr=False, compare=False)
    """What each example by which it is judged adds to the skill, where it is one answer an example."""


def branch(subject: Subject, changes: Sequence[Change], steps: int, seed: int = 0, sigmoid: bool = False) -> Outcome:
    """Train one branch for `steps` steps from the subject's own state and judge it."""
    watch = Stopwatch()
    with subject.live(changes, seed) as live:
        losses = live.run(steps)
        return judged(live, subject, losses, watch.seconds, sigmoid)


def judged(live: Live, subject: Subject, losses: list[float], seconds: float, sigmoid: bool = False) -> Outcome:
    """What a branch that has trained is worth."""
    finite = bool(losses) and all(math.isfinite(loss) for loss in losses[-3:])
    tail = [loss for loss in losses[-max(1, len(losses) // 10) :] if math.isfinite(loss)]
    loss = sum(tail) / len(tail) if finite and tail else math.inf
    sigmoid = sigmoid and not getattr(live, "gives_scores", False)
    train = live.skill(subject.sample(1024), sigmoid) if finite else -1.0
    held, shares = live.scored(subject.validation, sigmoid) if finite and subject.validation else (train, None)
    train, held = (value if math.isfinite(value) else -1.0 for value in (train, held))
    return Outcome(held, train, loss, finite, live.steps, seconds, losses, shares)
