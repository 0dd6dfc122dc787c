"""The decision procedure: is anything wrong at all, what makes it so, and the smallest set of changes that mends it.

1. The training is run as the person meant it, and simple learners get the same examples. A network that keeps up with
them, breaks no contract and is stable is healthy: symptoms without harm are notes.
2. Every fault of the catalogue looks at the chart; what it finds is a suspicion with the change that would cure it.
3. Each change is made alone in a branch from the same state with the same batches. What brings the network to where
the best branch comes, upstream causes first, is the cause; where nothing alone does, changes are added one by one and
every one that is not needed is taken out again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.findings import Diagnosis, Finding
from netwright.doctor.subject import Change, Subject
from netwright.doctor.suspicion import STAGES, Suspicion, Unmeasured
from netwright.doctor.trial import Outcome, branch
from netwright.doctor.usual import usual
from netwright.language import say

KEEPS_UP = 0.9
"""A network that reaches this share of what simple learners reach is healthy."""
LEAST_GAP = 0.05
"""Of skill: less than this below the learners harms nobody."""
PART = 0.25
"""A change is a cause where it closes at least this share of the gap."""
MOST = 3
"""At most so many changes together."""
BONUS = {"E": 0.5, "A": 0.2, "B": 0.35, "C": 0.1, "D": 0.05, "F": -0.2}
"""What is upstream is believed before what is downstream, where both explain the harm."""
BROKEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What an odd module may throw at a gauge: then that gauge is not read, and it is said."""


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

    @property
    def gap(self) -> float:
        return max(0.0, self.target - self.reached)

    @property
    def harmed(self) -> bool:
        if not self.finite:
            return True
        if not math.isfinite(self.target):
            return self.reached < LEAST_GAP
        return self.reached < KEEPS_UP * self.target and self.gap > max(LEAST_GAP, 2 * self.error)

    def figures(self) -> dict[str, Any]:
        """The evidence behind the verdict."""
        return {"reached": self.reached, "simple_learners": self.target, "standard_error": self.error,
                "unstable_steps": self.unstable, "finite": self.finite}  # fmt: skip


def diagnose(subject: Subject, budget: float = 60.0, seed: int = 0, seeds: int = 3) -> Diagnosis:
    """The whole procedure for a subject within about `budget` seconds; `seeds` give the confidence."""
    chart = Chart(subject, Clock(budget), seed)
    return Procedure(chart, seeds).run()


@dataclass
class Procedure:
    """One diagnosis on its way."""

    chart: Chart
    seeds: int
    excluded: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, ...], Outcome] = field(default_factory=dict)
    steps: int = 0

    def run(self) -> Diagnosis:
        gate = self.gate()
        suspicions = list(self.suspicions())
        certain = [one for one in suspicions if one.exact and not one.note]
        if not gate.harmed and not certain:
            return self.diagnosis("healthy", [], [one for one in suspicions if one.strength >= 0.5], gate)
        findings, kept = self.findings(gate, suspicions, certain)
        notes = [one for one in suspicions if one.note and one.fault not in {found.fault for found in findings}]
        return self.diagnosis("faulty" if findings else kept, findings, notes, gate)

    def gate(self) -> Gate:
        """Whether the network keeps up with simple learners on the same examples."""
        whole = self.chart.whole
        try:
            control = self.chart.control
            scores = {name: score.skill for name, score in control.scores.items()}
            close = [scores[name] for name in ("linear", "reference", "mlp") if name in scores]
            others = [KEEPS_UP * skill for name, skill in scores.items() if name in ("nearest", "trees")]
            target, error, signal = max([0.0, *close, *others]), control.error, control.signal
        except (Unmeasured, *BROKEN):
            target, error, signal = math.nan, 0.0, True
        target = 0.0 if not signal and math.isfinite(target) else target
        known = math.isfinite(self.chart.subject.recorded)
        reached = self.chart.subject.recorded if known else whole.skill
        if not math.isfinite(reached):  # no scale of answers: the fall of the loss below that of constant outputs
            reached = 1 - whole.last / whole.base if whole.base > 0 else 1.0 if whole.last < whole.first else 0.0
        return Gate(reached, target, error, whole.series.unstable, whole.finite or known, signal, whole.complete or known)

    def suspicions(self) -> Iterator[Suspicion]:
        """What every fault of the catalogue sees in the chart."""
        for name, part in FAULTS.items():
            try:
                found = part.build(self.chart)
            except Unmeasured:
                continue
            except BROKEN as error:
                self.excluded.append(say("{fault} could not be measured ({why})", fault=name, why=_first_line(error)))
                continue
            if found is not None:
                yield found

    # branches ---------------------------------------------------------------------------------------------------

    def trial(self, changes: Sequence[Change], seed: int = 0) -> Outcome:
        """A branch with these changes, trained once."""
        key = (*(change.name for change in changes), f"seed {seed}")
        if key not in self.outcomes:
            try:
                found = branch(self.chart.subject, changes, self.steps, seed, self.chart.sigmoid)
            except BROKEN as error:
                self.excluded.append(say("{change} cannot be tried ({why})", change=key[0], why=_first_line(error)))
                found = Outcome(-1.0, -1.0, math.inf, False, 0, 0.0)
            self.outcomes[key] = found
        return self.outcomes[key]

    def findings(self, gate: Gate, suspicions: list[Suspicion], certain: list[Suspicion]) -> tuple[list[Finding], str]:
        """The findings, and the verdict where there are none."""
        open_ = [one for one in suspicions if not one.exact and not one.note and one.changes]
        candidates = sorted(open_, key=trust, reverse=True) + usual(self.chart, {one.fault for one in open_})
        self.steps = self.length(len(candidates) + 2)
        chosen = [(one, one.changes[0]) for one in sorted(certain, key=trust, reverse=True) if one.changes]
        start = self.trial([])
        now = self.trial([change for _, change in chosen]) if chosen else start
        goal = max(gate.target if math.isfinite(gate.target) else 1.0, now.skill)
        while len(chosen) < MOST + len(certain) and self.chart.clock.left > 0 and self.lags(now, goal, gate):
            best = self.best(chosen, now, candidates, goal)
            if best is None:
                break
            chosen.append(best)
            candidates = [one for one in candidates if one.fault != best[0].fault]
            now = self.trial([change for _, change in chosen])
        chosen = self.needed(chosen, certain, start, now)
        found = [self.finding(one, change, start, chosen) for one, change in chosen]
        found += [one.finding() for one in certain if not one.changes]
        self.excluded += [f"{one.fault} {one.name}" for one in candidates if one.fault not in {f.fault for f in found}]
        verdict = "healthy" if not gate.harmed else "unsure"
        return found, verdict

    def lags(self, now: Outcome, goal: float, gate: Gate) -> bool:
        """Whether something is left to explain."""
        return not now.finite or now.skill < KEEPS_UP * goal and goal - now.skill > max(LEAST_GAP, 2 * gate.error)

    def best(
        self, chosen: list[tuple[Suspicion, Change]], now: Outcome, candidates: list[Suspicion], goal: float
    ) -> tuple[Suspicion, Change] | None:
        """The change that explains most of what is left, the more trusted one where several explain it."""
        before = [change for _, change in chosen]
        tried: list[tuple[Suspicion, Change, Outcome]] = []
        for one in candidates:
            for change in one.changes[:2]:
                if self.chart.clock.left < 0.05 * self.chart.clock.seconds and tried:
                    break
                found = self.trial([*before, change])
                tried.append((one, change, found))
                if gain(found, now) >= 0.9 * max(1e-9, goal - now.skill):
                    break
        if not tried:
            return None
        top = max(gain(found, now) for _, _, found in tried)
        enough = max(PART * max(goal - now.skill, 0.0), 0.04, self.noise())
        good = [item for item in tried if gain(item[2], now) >= enough]
        if not good or top <= 0:
            return None
        one, change, _ = max(good, key=lambda item: trust(item[0]) - 1.5 * (top - gain(item[2], now)) / top)
        return one, change

    def noise(self) -> float:
        """How far another order of the examples, or another seed, alone moves the skill (the placebo)."""
        here, there = self.trial([]), self.trial([], seed=1)
        return 1.5 * abs(here.skill - there.skill) if here.finite and there.finite else 0.0

    def needed(
        self, chosen: list[tuple[Suspicion, Change]], certain: list[Suspicion], start: Outcome, now: Outcome
    ) -> list[tuple[Suspicion, Change]]:
        """Without what is not needed: what costs less than a quarter of the gain when it is taken out again."""
        for item in [item for item in chosen if item[0] not in certain]:
            if len(chosen) < 2 or self.chart.clock.left <= 0:
                break
            rest = [other for other in chosen if other is not item]
            if gain(now, self.trial([change for _, change in rest])) < PART * max(1e-9, gain(now, start)):
                chosen = rest
        return chosen

    def finding(
        self, one: Suspicion, change: Change, start: Outcome, chosen: list[tuple[Suspicion, Change]]
    ) -> Finding:
        """A suspicion that became a finding, with what its remedy did and in how many seeds."""
        changes = [other for _, other in chosen]
        after = self.trial(changes)
        confidence = None if one.exact else self.confidence(changes, gain(after, start))
        evidence = {**one.evidence, "skill_before": start.skill, "skill_after": after.skill, "steps": self.steps}
        ordered = [change, *(other for other in one.changes if other.name != change.name)]
        harm = one.harm or say("the network reaches a skill of {before:.2f}; with the change {after:.2f} after {steps} steps",
                               before=start.skill, after=after.skill, steps=self.steps)  # fmt: skip
        return replace(one.finding(harm, confidence, ordered), evidence=evidence)

    def confidence(self, changes: list[Change], first: float) -> float:
        """The share of the doctor's seeds in which the same changes help by at least half as much."""
        helped = [True]
        for seed in range(1, self.seeds):
            if self.chart.clock.left < 0:
                break
            helped.append(gain(self.trial(changes, seed), self.trial([], seed)) >= 0.5 * first)
        return sum(helped) / len(helped)

    def length(self, count: int) -> int:
        """So many steps a branch takes: the person's own training where the time allows."""
        whole = self.chart.whole
        affordable = int(0.6 * max(2.0, self.chart.clock.left) / max(1e-6, whole.per_step) / max(1, count))
        return max(30, min(whole.total or whole.steps, affordable))

    def diagnosis(self, verdict: str, findings: list[Finding], notes: list[Suspicion], gate: Gate) -> Diagnosis:
        quiet = [one.finding() for one in notes if one.fault not in {found.fault for found in findings}]
        return Diagnosis(verdict, findings, quiet, gate.figures(), self.excluded, None, self.chart.clock.spent)


def gain(after: Outcome, before: Outcome) -> float:
    """What a branch gained over another one, in skill."""
    return max(after.skill, -1.0) - max(before.skill, -1.0)


def trust(one: Suspicion) -> float:
    """How much a suspicion is believed before it is tried."""
    return one.strength + BONUS.get(one.fault[0], 0.0)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]



