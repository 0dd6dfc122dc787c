"""Is anything wrong at all: the network beside simple learners on the same examples, within the errors of both."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.chart import BROKEN, Chart
from netwright.doctor.gauges.control import Control
from netwright.doctor.subject import Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import paired_error
from netwright.doctor.watching.places import is_fresh

KEEPS_UP = 0.9
"""A network that reaches this share of what simple learners reach is healthy."""
LEAST_GAP = 0.05
"""Of skill: less than this below the learners harms nobody."""


@dataclass(frozen=True)
class Gate:
    """How far the network is from what simple learners reach."""

    reached: float
    target: float
    error: float
    unstable: float
    finite: bool
    signal: bool
    complete: bool
    blind: bool = False
    """Whether simple learners could not know: nothing tells a table of tokens or steps what order means."""
    train: float = math.nan
    train_error: float = 0.0
    """The skill on training examples, and the standard error of its difference from the learners' held-out skill."""

    @property
    def gap(self) -> float:
        return max(0.0, self.target - self.reached)

    @property
    def harmed(self) -> bool:
        if not self.finite:
            return True
        if not math.isfinite(self.target) or self.blind:
            return self.reached < LEAST_GAP
        if self.reached < KEEPS_UP * self.target and self.gap > max(LEAST_GAP, 2 * self.error):
            return True
        behind = self.target - self.train  # few validation examples tell little; what it was shown it should know
        return (
            self.reached < self.target
            and self.train < KEEPS_UP * self.target
            and behind > max(LEAST_GAP, 2 * self.train_error)
        )

    def figures(self) -> dict[str, Any]:
        """The evidence behind the verdict."""
        return {"reached": self.reached, "simple_learners": self.target, "standard_error": self.error,
                "unstable_steps": self.unstable, "finite": self.finite}  # fmt: skip


def measured_gate(chart: Chart) -> Gate:
    """Whether the network keeps up with simple learners on the same examples."""
    whole = chart.whole
    try:
        control = chart.control
        scores = {name: score.skill for name, score in control.scores.items()}
        close = [scores[name] for name in ("linear", "reference", "mlp") if name in scores]
        others = [KEEPS_UP * skill for name, skill in scores.items() if name in ("nearest", "trees")]
        target, signal = max([0.0, *close, *others]), control.signal
        error, train_error = standard_error(chart, control, held=True), standard_error(chart, control, held=False)
        if frozen_on_purpose(chart.subject):  # a trained head on what was learnt elsewhere is a linear learner
            target = min(target, max(0.0, control.linear))
        blind = not signal and control.form in ("tokens", "sequences")
    except (Unmeasured, *BROKEN):
        target, error, train_error, signal, blind = math.nan, 0.0, 0.0, True, False
    target = 0.0 if not signal and math.isfinite(target) else target
    known = math.isfinite(chart.subject.recorded)
    reached = chart.subject.recorded if known else whole.skill
    if not math.isfinite(reached):  # no scale of answers: the fall of the loss below that of constant outputs
        reached = 1 - whole.last / whole.base if whole.base > 0 else 1.0 if whole.last < whole.first else 0.0
    train = math.nan if known else whole.skill_train
    finite, complete = whole.finite or known, whole.complete or known
    return Gate(reached, target, error, whole.series.unstable, finite, signal, complete, blind, train, train_error)


def frozen_on_purpose(subject: Subject) -> bool:
    """Whether most of a network rests, and what rests has been trained before."""
    model = getattr(subject, "model", None)
    if model is None:
        return False
    resting = [module for module in model.modules() if (w := getattr(module, "weight", None)) is not None
               and isinstance(w, Tensor) and not w.requires_grad and w.dim() > 1]  # fmt: skip
    share = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    whole = sum(p.numel() for p in model.parameters())
    untrained = sum(module.weight.numel() for module in resting if is_fresh(module))
    return share >= 0.5 * whole and untrained < 0.5 * sum(module.weight.numel() for module in resting)


def standard_error(chart: Chart, control: Control, held: bool) -> float:
    """The standard error of the difference between the network's skill, on held-out or on training examples, and
    the learners'.

    Formula: where both answered the same examples, of the mean difference, example by example, never below what one
    more right answer is worth; else of shares p over n examples sqrt(p (1 - p) / n) with p = (right + 2) / (n + 4)
    (Agresti, Coull 1998), by 1 - the largest share of one class; the two added in squares
    """
    subject, count = chart.subject, control.scored
    learnt = control.scores[control.best].shares
    judged = held and chart.whole.shares and chart.whole.skill_validation > -1  # wild answers tell nothing of the error
    shares = chart.whole.shares[chart.whole.kept] if judged else None
    if shares is not None and len(control.asked) == len(learnt) > 1 and control.asked.max() < len(shares):
        return paired_error(torch.from_numpy(learnt), shares[control.asked], chart.task.kind)
    if chart.task.kind != "classes" or not count:
        return math.sqrt(2) * control.error
    pairs = (subject.validation if held else ()) or subject.sample(1024)
    truth = torch.cat([chart.task.truth(pair.targets) for pair in pairs])
    room = max(0.05, 1 - truth[truth >= 0].bincount().max().item() / max(1, len(truth)))
    own = chart.whole.skill if held else chart.whole.skill_train
    total = 0.0
    for skill, size in ((control.skill, count), (own, len(truth))):
        share = ((1 - room + room * max(0.0, skill)) * size + 2) / (size + 4)
        total += share * (1 - share) / (size + 4) / room**2
    return math.sqrt(total)
