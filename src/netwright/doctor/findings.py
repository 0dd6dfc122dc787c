"""A finding: a named fault, where it is, the numbers that show it, the harm, and what to do."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Remedy:
    """A patch to the recipe, and why it should help."""

    patch: dict[str, Any]
    why: str


@dataclass(frozen=True)
class Finding:
    """`fault` is the catalogue's id (`E2`), `evidence` the measured numbers. Notes have the same form, no harm."""

    fault: str
    name: str
    where: str
    evidence: dict[str, Any]
    harm: str
    remedies: list[Remedy] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "remedies": [vars(remedy) for remedy in self.remedies]}
