"""Steps of a training, each measured on its own batch before and after (P6, P7)."""

from dataclasses import dataclass, field
from statistics import median

from netwright.doctor.subject import StepMeasure

UNSTABLE = -1.0
"""Below this quotient a step left its batch worse off than it found it."""


@dataclass(frozen=True)
class Series:
    """Measured steps in order."""

    measures: list[StepMeasure] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    """Which steps these were, from 0."""

    @property
    def q(self) -> list[float]:
        """The line quotients that are numbers."""
        return [one.q for one in self.measures if one.q == one.q]

    @property
    def median_q(self) -> float:
        return median(self.q) if self.q else float("nan")

    @property
    def unstable(self) -> float:
        """The share of steps that left their batch worse off."""
        return sum(q < UNSTABLE for q in self.q) / len(self.q) if self.q else 0.0

    def median_updates(self) -> dict[str, float]:
        """By parameter: the median of |dw| / |w|."""
        names = {name for one in self.measures for name in one.updates}
        return {
            name: median(one.updates[name] for one in self.measures if name in one.updates) for name in sorted(names)
        }
