"""What a fault's detector answers: a suspicion with its numbers and the changes that would cure it."""

from dataclasses import dataclass, field
from typing import Any

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.subject import Change

STAGES = "EABCDF"
"""The order of trust: what is upstream makes the symptoms of what is downstream."""


class Unmeasured(Exception):
    """A gauge cannot be read here: a recorded run without its weights, tokens where numbers are asked for, no time."""


@dataclass(frozen=True)
class Suspicion:
    """A fault that may be there; no finding before its harm is shown, unless it is exact and breaks a contract."""

    fault: str
    name: str
    where: str
    """A module path, recipe key, call, or example ids."""
    evidence: dict[str, Any]
    """The measured numbers beside their thresholds."""
    strength: float = 0.5
    """How clear the symptom is: 1 certain, 0.5 at its threshold's usual meaning, 0.1 only possible."""
    exact: bool = False
    """An exact breach of a contract (sections E, A, B): a fault whatever else is measured."""
    note: bool = False
    """It does no harm by itself and is only said."""
    advice: bool = False
    """Its remedies are told, not tried: closing a leak lowers the score, and balanced classes may cost accuracy."""
    harm: str = ""
    """What it does, in a sentence."""
    changes: list[Change] = field(default_factory=list)
    """Minimal remedies, the first one the one to try first."""

    def finding(self, harm: str = "", confidence: float | None = None, changes: list[Change] | None = None) -> Finding:
        """The finding it becomes."""
        remedies = [Remedy(change.patch, change.why) for change in (self.changes if changes is None else changes)]
        return Finding(self.fault, self.name, self.where, self.evidence, harm or self.harm, remedies, confidence)
