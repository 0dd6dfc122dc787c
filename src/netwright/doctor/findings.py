"""What the doctor says: findings with numbers, place, harm and remedies, and a diagnosis that holds them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from netwright.language import say


@dataclass(frozen=True)
class Remedy:
    """A patch to the recipe (or what to change in code), and why it should help."""

    patch: dict[str, Any]
    why: str

    def __str__(self) -> str:
        change = "  ".join(str(value) if key == "code" else f"{key}={value}" for key, value in self.patch.items())
        return f"{change}  ({self.why})" if self.why else change


@dataclass(frozen=True)
class Finding:
    """`fault` is the catalogue's id (`E2`), `evidence` the measured numbers. Notes have the same form, no harm."""

    fault: str
    name: str
    where: str
    evidence: dict[str, Any]
    harm: str
    remedies: list[Remedy] = field(default_factory=list)
    confidence: float | None = None
    """The share of the doctor's seeds in which this finding came out; None where it is exact."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "remedies": [vars(remedy) for remedy in self.remedies]}

    def __str__(self) -> str:
        lines = [f"{self.fault}  {self.name}: {self.where}" if self.where else f"{self.fault}  {self.name}"]
        shown = ", ".join(f"{name} {number(value)}" for name, value in self.evidence.items() if _short(value))
        lines += [f"    {shown}"] if shown else []
        lines += [f"    {self.harm}"] if self.harm else []
        if self.confidence is not None:
            lines.append("    " + say("confidence {share:.0%}", share=self.confidence))
        return "\n".join(lines + [f"    -> {remedy}" for remedy in self.remedies])


def number(value: Any) -> str:
    """A number of the evidence in four digits; everything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(number(item) for item in value) + "]"
    return str(value)


def _short(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, (list, tuple)) and len(value) <= 6)


@dataclass(frozen=True)
class Diagnosis:
    """A verdict with its evidence: what is wrong, what else was seen, what was excluded, how long it took."""

    verdict: str
    """`healthy`, `faulty` or `unsure`."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    """The figures behind the verdict: what the network reached, and what simple learners reach."""
    excluded: list[str] = field(default_factory=list)
    """Causes that were tried, or measured, and are not it."""
    proof: dict[str, Any] | None = None
    seconds: float = 0.0
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Points to draw: `loss`, `constant` (that of the best constant outputs), `skill`, `quotient` over steps; `spread`,
    `gradient`, `update` over layers."""
    layers: list[str] = field(default_factory=list)
    """The names of those layers."""
    repair: Callable[..., Any] | None = field(default=None, repr=False, compare=False)
    """Of an examination of code with findings: `repair(module, loss, optimizer, batches, step=None, epochs=None)` makes
    the changes in place and gives back all six, to be trained."""

    @property
    def changes(self) -> dict[str, Any]:
        """The smallest set of changes that is sufficient: the first remedy of each finding, together."""
        return {
            key: value
            for found in self.findings
            for remedy in found.remedies[:1]
            for key, value in remedy.patch.items()
        }

    def noted(self) -> "Diagnosis":
        """The same, with all findings as notes: symptoms without harm."""
        quiet = [replace(found, harm="") for found in self.findings]
        return replace(self, verdict="healthy", findings=[], notes=[*quiet, *self.notes])

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "findings": [found.to_json() for found in self.findings],
            "notes": [note.to_json() for note in self.notes], "evidence": self.evidence, "excluded": self.excluded,
            "proof": self.proof, "seconds": self.seconds, "curves": self.curves, "layers": self.layers,
        }  # fmt: skip

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __str__(self) -> str:
        lines = [say("verdict: {verdict}", verdict=say(self.verdict))]
        lines += ["  " + line for line in _figures(self.evidence)]
        lines += [line for found in self.findings for line in ("", str(found))]
        if self.notes:
            lines += ["", say("notes (no harm shown):")] + [
                f"  {note.fault}  {note.name}: {note.where}" for note in self.notes
            ]
        if self.excluded:
            lines += ["", say("excluded: {causes}", causes=", ".join(self.excluded))]
        if self.proof is not None:
            lines += ["", proof_text(self.proof)]
        return "\n".join([*lines, "", say("{seconds:.1f} s", seconds=self.seconds)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _figures(evidence: dict[str, Any]) -> list[str]:
    names = {
        "reached": say("skill reached (0 the best constant answer, 1 perfect)"), "finite": say("all numbers finite"),
        "simple_learners": say("skill of simple learners"), "standard_error": say("standard error of the difference"),
        "unstable_steps": say("share of steps that left their batch worse off"),
    }  # fmt: skip
    return [f"{names.get(name, name)}: {number(value)}" for name, value in evidence.items() if _short(value)]


def proof_text(proof: dict[str, Any]) -> str:
    """A proof in two lines."""
    text = say("proof: {verdict}", verdict=say(proof["verdict"]))
    patch = "  ".join(f"{key}={value}" for key, value in (proof.get("patch") or {}).items())
    if proof.get("difference") is None:
        return f"{text}  {patch}\n  {proof.get('reason', '')}".rstrip()
    numbers = say("{metric}: difference {difference:+.4g} ({low:+.4g} to {high:+.4g}), p = {p:.4g}, {n} seeds",
                  metric=proof["metric"], difference=proof["difference"], low=proof["low"], high=proof["high"],
                  p=proof["p_value"], n=len(proof["before"]))  # fmt: skip
    return f"{text}  {patch}\n  {numbers}"


def rounded(value: float, digits: int = 2) -> float:
    """A number in so many digits, as people write rates."""
    return float(f"{value:.{digits}g}")
