"""Everything measured about a subject, each gauge read once, when a fault first asks for it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from netwright.doctor import ops as operations
from netwright.doctor.ops import Op, tracing
from netwright.doctor.subject import Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import Task

if TYPE_CHECKING:
    from netwright.doctor.gauges.control import Control
    from netwright.doctor.gauges.modes import Modes
    from netwright.doctor.gauges.overfit import Overfit
    from netwright.doctor.gauges.rates import Rates
    from netwright.doctor.gauges.series import Series
    from netwright.doctor.gauges.start import Start
    from netwright.doctor.gauges.tables import Scan
    from netwright.doctor.gauges.whole import Whole

BROKEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What an odd module may throw at a gauge: then that gauge is not read, and it is said."""


class Clock:
    """A budget of seconds."""

    def __init__(self, seconds: float = float("inf")) -> None:
        self.began, self.seconds = time.monotonic(), seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        return self.seconds - self.spent


@dataclass
class Chart:
    """A subject's gauges. `seed` draws what the doctor draws; a gauge that cannot be read raises `Unmeasured`."""

    subject: Subject
    clock: Clock
    seed: int = 0

    @property
    def task(self) -> Task:
        return self.subject.task

    @property
    def recipe(self) -> dict[str, dict[str, Any]]:
        """The recipe's tables; empty for code."""
        found = self.subject.recipe
        return {table: found.table(table) for table in found.tables} if found is not None else {}

    @cached_property
    def ops(self) -> list[Op]:
        """The operations of one forward pass in training mode, with their tensors."""
        with self.subject.live() as live, tracing(live.model) as trace, torch.no_grad():
            live.forward(live.batch())
        return trace.ops

    @property
    def hidden(self) -> list[Op]:
        """The activations between two weighted operations."""
        return operations.activations(self.ops)

    @property
    def head(self) -> list[Op]:
        """The activations behind the last weighted operation."""
        return operations.last(self.ops)

    @cached_property
    def judge(self) -> str:
        """The loss's name among torch's own (`cross_entropy`, `mse_loss` ...); empty where it is written by hand."""
        return str(getattr(self.subject, "judge", ""))

    @cached_property
    def scan(self) -> "Scan":
        """The numbers of the training examples (P1)."""
        from netwright.doctor.gauges.tables import scan

        numbers = self.subject.numbers()
        if numbers is None:
            raise Unmeasured
        return scan(numbers.cpu().numpy(), self.subject.targets().cpu().numpy())

    @cached_property
    def start(self) -> "Start":
        """The network before its first step (P2)."""
        from netwright.doctor.gauges.start import measure_start

        return measure_start(self.subject)

    @cached_property
    def whole(self) -> "Whole":
        """The training as it was meant, to its end or as far as the time allows, measured on the way (P6, P7)."""
        from netwright.doctor.gauges.whole import train_whole

        return train_whole(self.subject, seconds=max(1.0, 0.35 * self.clock.seconds), sigmoid=self.sigmoid)

    @property
    def series(self) -> "Series":
        """Steps of that training measured before and after: quotients, updates, gradients."""
        return self.whole.series

    @cached_property
    def control(self) -> "Control":
        """What simple learners reach with the same examples (P10)."""
        from netwright.doctor.gauges.reference import reference

        return reference(self.subject, seconds=min(10.0, 0.15 * self.clock.seconds), seed=self.seed)

    @cached_property
    def overfit(self) -> "Overfit":
        """Whether a few examples can be learnt by heart, by the own optimizer and by Adam (P4)."""
        from netwright.doctor.gauges.overfit import overfit

        return overfit(self.subject)

    @cached_property
    def rates(self) -> "Rates":
        """The learning rates at which the loss falls fastest and at which it diverges (P5)."""
        from netwright.doctor.gauges.rates import rate_range

        return rate_range(self.subject, seed=self.seed)

    @cached_property
    def modes(self) -> "Modes":
        """Training mode beside evaluation mode on the same examples (P13)."""
        from netwright.doctor.gauges.modes import compare_modes

        return compare_modes(self.subject)

    @cached_property
    def sigmoid(self) -> bool:
        """Whether a single output is a probability (a sigmoid stands at the end) rather than a score."""
        squared = self.judge in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
        ends = any(op.name in ("sigmoid", "hardsigmoid", "softmax") for op in self.head[-1:])
        return ends or squared or self.judge == "binary_cross_entropy"


def named(found: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")
