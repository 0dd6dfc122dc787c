"""The training as the person meant it, to its end or as far as the time allows, measured on the way."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.doctor.gauges.series import Series
from netwright.doctor.ops import HIDDEN, Op, activations, tracing
from netwright.doctor.stopwatch import Stopwatch
from netwright.doctor.subject import Change, Live, Pair, StepMeasure, Subject
from netwright.doctor.task import flat_targets

USUAL = 600
"""So many steps at least, where nobody said how many a training has."""
LONGEST = 6000
POINTS = 12
"""So many times skill is judged on the way."""
MEASURED = 40
"""So many steps are measured before and after."""


@dataclass(frozen=True)
class Whole:
    """A training that was watched."""

    losses: list[float] = field(repr=False)
    total: int
    """The steps the person meant; 0 where nobody said."""
    skill_train: float
    skill_validation: float
    """NaN without validation examples."""
    finite: bool
    series: Series = field(repr=False)
    curve: list[tuple[int, float, float, float]]
    """(step, mean loss since the point before, skill on training examples, skill on validation examples)."""
    seconds: float
    per_step: float
    """Seconds of a step."""
    base: float
    """The loss of the best constant outputs; NaN where it is not known."""
    dead: dict[tuple[str, int], float]
    """By hidden activation (path, call) at the end: the share of its units that no example activates."""
    shares: list[Float[Tensor, "validation"] | None] = field(default_factory=list, repr=False, compare=False)
    """By point of the curve: what each validation example adds to the skill, where it is one answer an example."""
    kept: int = -1
    """The point of the curve whose weights are judged."""

    @property
    def steps(self) -> int:
        return len(self.losses)

    @property
    def complete(self) -> bool:
        """Whether it came to the end the person meant, or ended because a loss was no number."""
        return not self.finite or not self.total or self.steps >= self.total

    @property
    def skill(self) -> float:
        """On validation examples where there are some, else on the training examples."""
        return self.skill_validation if math.isfinite(self.skill_validation) else self.skill_train

    @property
    def first(self) -> float:
        """The loss of the first batches."""
        return mean(self.losses[: max(1, len(self.losses) // 50)])

    @property
    def last(self) -> float:
        """The loss of the last tenth of the steps."""
        return mean(self.losses[-max(1, len(self.losses) // 10) :]) if self.finite else math.nan


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def train_whole(
    subject: Subject, seconds: float, sigmoid: bool = False, changes: tuple[Change, ...] = (), seed: int = 0
) -> Whole:
    """Train a branch as far as `seconds` allow, with a measured step now and then."""
    watch = Stopwatch()
    losses: list[float] = []
    measures: list[StepMeasure] = []
    places: list[int] = []
    curve: list[tuple[int, float, float, float]] = []
    shares: list[Tensor | None] = []
    with subject.live(changes, seed) as live:
        base = constant_loss(live, subject)
        goal = subject.total or min(LONGEST, max(USUAL, 20 * subject.epoch))
        marks = _marks(goal)
        points = {max(1, round(goal * (place + 1) / POINTS)) for place in range(POINTS)}
        since, finite = 0, True

        def judge() -> None:
            train = live.skill(subject.sample(1024), sigmoid)
            held, each = live.scored(subject.validation, sigmoid)
            curve.append((len(losses), mean(losses[since:]), train, held))
            shares.append(each)

        while len(losses) < goal and watch.seconds < seconds:
            if len(losses) in marks:
                measures.append(live.measured_step())
                places.append(len(losses))
                losses.append(measures[-1].loss)
            else:
                losses.append(live.step())
            if not math.isfinite(losses[-1]) and live.own_loss:
                finite = all(bool(torch.isfinite(p).all()) for p in live.parameters.values()) and len(losses) < 3
                if not finite:
                    break
            if len(losses) in points:
                judge()
                since = len(losses)
        spent = watch.seconds
        if not curve or curve[-1][0] != len(losses):
            judge()
        dead = dead_shares(live, subject) if finite else {}
    kept = (
        max(curve, key=lambda point: point[3] if point[3] == point[3] else -math.inf)
        if subject.keeps_best
        else curve[-1]
    )
    broken = not finite and not (subject.keeps_best and len(curve) > 1)
    train, held = (-1.0, -1.0 if subject.validation else math.nan) if broken else (kept[2], kept[3])
    return Whole(losses, subject.total, train, held, finite, Series(measures, places), curve, spent,
                 spent / max(1, len(losses)), base, dead, [] if broken else shares, curve.index(kept))  # fmt: skip


def _marks(goal: int) -> set[int]:
    """The steps that are measured: more of them early, none at the very first (its optimizer has no state yet)."""
    count = min(MEASURED, max(4, goal // 3))
    return {min(goal - 1, round((goal - 1) * (place / max(1, count - 1)) ** 1.5)) for place in range(count)}


def dead_shares(live: Live, subject: Subject) -> dict[tuple[str, int], float]:
    """By hidden ReLU-like activation: the share of its units that are zero on every example."""
    alive: dict[tuple[str, int], Tensor] = {}
    with torch.no_grad(), tracing(live.model, kinds=HIDDEN | frozenset(WEIGHTS)) as trace:
        for pair in subject.sample(1024):
            start = len(trace.ops)
            live.outputs(pair)
            for op in activations(_renumbered(trace.ops[start:])):
                if op.name in ("relu", "relu6", "threshold") and isinstance(op.output, Tensor) and op.output.dim() > 1:
                    units = units_of(op.output)
                    found = (units != 0).any(0)
                    alive[op.key] = (
                        alive[op.key] | found if op.key in alive and alive[op.key].shape == found.shape else found
                    )
            for op in trace.ops[start:]:
                op.output, op.inputs = None, ()
    return {key: 1 - found.float().mean().item() for key, found in alive.items()}


WEIGHTS = ("linear", "conv1d", "conv2d", "conv3d", "lstm", "gru", "rnn_tanh", "rnn_relu", "embedding", "addmm")


def _renumbered(ops: list[Op]) -> list[Op]:
    for place, op in enumerate(ops):
        op.index = place
    return ops


def units_of(output: Tensor) -> Tensor:
    """One row for each value of each example, one column for each unit: channels of maps, features of steps."""
    if output.dim() == 2:
        return output
    return output.movedim(1, -1).flatten(0, -2) if output.dim() >= 4 else output.flatten(0, -2)


def constant_loss(live: Live, subject: Subject) -> float:
    """The person's loss of the best constant outputs, found by minimising it; NaN where that cannot be done.

    Losses that read probabilities or log-probabilities get the class shares.
    """
    loss: Callable[[Any, Any], Tensor] | None = getattr(live, "loss", None)
    judge = str(getattr(subject, "judge", ""))
    if loss is None:
        return float(getattr(subject, "base", math.nan))
    pair = subject.batches[0]
    with torch.no_grad():
        sample = live.outputs(pair)
    if not isinstance(sample, Tensor) or sample.dim() < 1 or not sample.is_floating_point():
        return math.nan
    pairs = [other for other in subject.sample(4096) if _alike(other, pair)]
    targets = torch.cat([flat_targets(other.targets) for other in pairs])
    shape = sample.shape[1:]
    if sample.dim() == 1:
        shape = torch.Size(())
    return _minimised(loss, shape, targets, judge, sample)


def _alike(other: Pair, pair: Pair) -> bool:
    return flat_targets(other.targets).shape[1:] == flat_targets(pair.targets).shape[1:]


def _minimised(
    loss: Callable[[Any, Any], Tensor], shape: torch.Size, targets: Tensor, judge: str, sample: Tensor
) -> float:
    constant = torch.zeros(shape, dtype=sample.dtype, device=sample.device, requires_grad=True)
    search = torch.optim.Adam([constant], lr=0.05)
    units = shape[0] if shape else 1

    def value() -> Tensor:
        given = constant.expand(len(targets), *shape)
        if judge == "nll_loss":
            given = given.log_softmax(1)
        elif judge == "binary_cross_entropy":
            given = given.sigmoid()
        found = loss(given, targets)
        return found if found.dim() == 0 else found.mean()

    try:
        with torch.no_grad():
            if judge in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss") and targets.is_floating_point():
                mean_target = targets.float().mean(0)
                if mean_target.numel() == constant.numel():
                    constant.copy_(mean_target.reshape(shape))
            elif (
                judge in ("cross_entropy", "nll_loss")
                and not targets.is_floating_point()
                and units > 1
                and len(shape) == 1
            ):
                counts = targets.reshape(-1).clamp(0, units - 1).bincount(minlength=units).float()
                constant.copy_((counts.clamp(min=1e-3) / counts.sum()).log())
        best = math.inf
        for _ in range(150):
            search.zero_grad()
            found = value()
            best = min(best, found.item()) if math.isfinite(found.item()) else best
            found.backward()
            search.step()
    except (RuntimeError, ValueError, IndexError, TypeError):
        return math.nan
    return best if math.isfinite(best) else math.nan
