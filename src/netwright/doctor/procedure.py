"""The decision procedure: is anything wrong at all, what makes it so, and the smallest set of changes that mends it.

1. The training is run as the person meant it, and simple learners get the same examples. A network that keeps up with
them, breaks no contract and is stable is healthy: symptoms without harm are notes.
2. Every fault of the catalogue looks at the chart; what it finds is a suspicion with the change that would cure it.
3. Each change is made alone in a branch from the same state with the same batches. What brings the network to where
the best branch comes, upstream causes first, is the cause; where nothing alone does, changes are added one by one and
every one that is not needed is taken out again.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from netwright.catalogue import FAULTS
from netwright.doctor.chart import BROKEN, Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.pairing import uneven
from netwright.doctor.findings import Diagnosis, Finding
from netwright.doctor.gate import KEEPS_UP, LEAST_GAP, Gate, measured_gate
from netwright.doctor.repair import repaired
from netwright.doctor.subject import Change, Subject
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.task import paired_error
from netwright.doctor.trial import Outcome, branch
from netwright.doctor.usual import FAINT, usual
from netwright.errors import first_line
from netwright.language import say

PART = 0.25
"""A change is a cause where it closes at least this share of the gap."""
SYMPTOMLESS, PLENTY = 0.6, 0.15
"""Beside another cause, one without a symptom explains this share of what is left, and that is so much skill."""
LEAST = 0.04
"""Of skill: a change that gains less explains nothing."""
REMEDIES = 4
"""So many remedies of the fault that was found are compared."""
CLEARLY = 0.01
"""A remedy that reaches this much more skill is the better one."""
ANYTHING = 0.3
"""A network that reaches this skill where simple learners see nothing has found what there is to learn."""
CLEAR = 0.5
"""From this strength on a symptom is clear."""
SYMPTOM, QUIET, BLANK = 0.04, 0.06, 0.09
"""So much skill the cure of a clear symptom, of a faint one, and a change without any symptom must gain in the mean of
the seeds for harm that simple learners do not show; half as much with each seed."""
SURE = 2.0
"""And so many standard errors of what the validation examples can tell."""
MOST = 3
"""At most so many changes together."""
BONUS = {"E": 0.5, "A": 0.2, "B": 0.35, "C": 0.1, "D": 0.05, "F": -0.2}
"""What is upstream is believed before what is downstream, where both explain the harm."""


def diagnose(subject: Subject, budget: float = 60.0, seed: int = 0, seeds: int = 3) -> Diagnosis:
    """The whole procedure for a subject within about `budget` seconds; `seeds` give the confidence."""
    from threadpoolctl import threadpool_limits

    procedure = Procedure(Chart(subject, Clock(budget), seed), seeds)
    with threadpool_limits(limits=1, user_api="openmp"), warnings.catch_warnings():
        # The simple learners are small: threads would only wait. What torch warns of in a branch, it has said before.
        warnings.simplefilter("ignore")
        found = procedure.run()
    if procedure.chosen and isinstance(subject, CodeSubject):
        return replace(found, repair=partial(repaired, procedure.chosen))
    return found


@dataclass
class Procedure:
    """One diagnosis on its way."""

    chart: Chart
    seeds: int
    excluded: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, ...], Outcome] = field(default_factory=dict)
    steps: int = 0
    chosen: list[Change] = field(default_factory=list)
    """The smallest set of changes that is sufficient."""

    def run(self) -> Diagnosis:
        gate = measured_gate(self.chart)
        suspicions = list(self.suspicions())
        certain = [one for one in suspicions if one.exact and not one.note]
        idle = not gate.harmed and gate.reached >= LEAST_GAP
        if idle and not certain and not self.clear(suspicions) and not self.improvable(gate):
            kept_notes = [one for one in suspicions if one.note or one.strength >= CLEAR]
            return self.diagnosis("healthy", [], kept_notes, gate)
        findings, kept = self.findings(gate, suspicions, certain)
        if not findings:  # nothing helps: what was measured about the data is what there is to say
            told = ("A13", "A5") if not gate.signal else ("A6", "F1") if gate.harmed else ()
            unknown = [one for one in suspicions if one.fault in told]
            findings = [max(unknown, key=trust).finding()] if unknown else []
        notes = [one for one in suspicions if one.note and one.fault not in {found.fault for found in findings}]
        return self.diagnosis("faulty" if findings else kept, findings, notes, gate)

    def suspicions(self) -> Iterator[Suspicion]:
        """What every fault of the catalogue sees in the chart."""
        for name, part in FAULTS.items():
            try:
                found = part.build(self.chart)
            except Unmeasured:
                continue
            except BROKEN as error:
                self.excluded.append(
                    say("{fault} could not be measured ({why})", fault=name, why=first_line(error)[:120])
                )
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
                names = ", ".join(change.name for change in changes)
                self.excluded.append(say("{change} cannot be tried ({why})", change=names, why=first_line(error)[:120]))
                found = Outcome(-1.0, -1.0, math.inf, False, 0, 0.0)
            self.outcomes[key] = found
        return self.outcomes[key]

    def findings(self, gate: Gate, suspicions: list[Suspicion], certain: list[Suspicion]) -> tuple[list[Finding], str]:
        """The findings, and the verdict where there are none."""
        open_ = [one for one in suspicions if not one.exact and not one.note and self.possible(one)]
        candidates = sorted(open_, key=trust, reverse=True)
        if (
            not self.chart.whole.finite or not gate.train >= KEEPS_UP * gate.target
        ):  # else it has learnt what it was shown
            candidates += usual(self.chart, {one.fault for one in open_})
        self.steps = self.length(len(candidates) + 2)
        first = sorted(certain, key=trust, reverse=True)
        chosen = [(one, self.possible(one)[0]) for one in first if self.possible(one)]
        start = self.trial([])
        now = self.trial([change for _, change in chosen]) if chosen else start
        goal = max(gate.target if math.isfinite(gate.target) and not gate.blind else 1.0, now.skill)
        while len(chosen) < MOST + len(certain) and self.chart.clock.left > 0 and self.lags(now, goal, gate):
            best = self.best(chosen, now, candidates, goal)
            if best is None:
                break
            chosen.append(best)
            candidates = [one for one in candidates if one.fault != best[0].fault]
            now = self.trial([change for _, change in chosen])
        if not gate.harmed:
            shown = self.shown(chosen, suspicions) or (
                self.quiet(chosen, suspicions) if self.improvable(gate) else None
            )
            chosen += [shown] if shown is not None else []
            now = self.trial([change for _, change in chosen])
        chosen = self.by_weight(self.needed(chosen, certain, start, now), now)
        self.chosen = [change for _, change in chosen]
        found = [self.finding(one, change, start, chosen) for one, change in chosen]
        told = [one.finding() for one in first if not self.possible(one)]
        found = [*found, *told] if gate.harmed and chosen and trust(chosen[0][0]) > 0.9 else [*told, *found]
        self.excluded += [f"{one.fault} {one.name}" for one in candidates if one.fault not in {f.fault for f in found}]
        nothing = not gate.signal and gate.reached < LEAST_GAP  # neither the network nor simple learners know anything
        verdict = "unsure" if gate.harmed or nothing else "healthy"
        return found, verdict

    def clear(self, suspicions: list[Suspicion]) -> list[Suspicion]:
        """The clearest symptoms that a branch can try: simple learners may be no better, and the harm be there."""
        found = [one for one in suspicions if one.strength >= CLEAR and not one.exact and not one.note]
        return sorted((one for one in found if self.possible(one)), key=trust, reverse=True)[:MOST]

    def shown(
        self, chosen: list[tuple[Suspicion, Change]], suspicions: list[Suspicion]
    ) -> tuple[Suspicion, Change] | None:
        """A clear symptom whose cure helps by much, whatever simple learners reach; with every seed of the doctor."""
        before = [change for _, change in chosen]
        for one in self.clear(suspicions):
            if self.chart.clock.left < 0.2 * self.chart.clock.seconds:
                break
            change = self.possible(one)[0]
            if self.helps(before, change, range(self.seeds), SYMPTOM):
                return one, self.remedy(before, one, change)
        return None

    def helps(self, before: list[Change], change: Change, seeds: range, least: float) -> bool:
        """Whether a change gains `least` in the mean of these seeds, half of it with each, and more than chance."""
        pairs: list[tuple[Outcome, Outcome]] = []
        for seed in seeds:
            pairs.append((self.trial([*before, change], seed), self.trial(before, seed)))
            if gain(*pairs[-1]) < 0.5 * least:
                return False
        mean = sum(gain(*pair) for pair in pairs) / len(pairs)
        errors = [paired_error(after.shares, ahead.shares, self.chart.task.kind) for after, ahead in pairs
                  if after.shares is not None and ahead.shares is not None]  # fmt: skip
        unknown = 2 * least / SURE  # examples that were trained on, or answers that cannot be paired
        return mean >= max(least, SURE * (sum(errors) / len(errors) if errors else unknown))

    def improvable(self, gate: Gate) -> bool:
        """Whether a network that keeps up with simple learners could reach much more, and examples can show it.

        Not where there are no such learners (an autoencoder is narrow on purpose), nor where classes are so uneven that
        accuracy rises when the rare ones are given up.
        """
        shown = bool(self.chart.subject.validation) and gate.signal and gate.finite and math.isfinite(gate.target)
        return shown and gate.reached < 1 - QUIET and not uneven(self.chart)

    def quiet(
        self, chosen: list[tuple[Suspicion, Change]], suspicions: list[Suspicion]
    ) -> tuple[Suspicion, Change] | None:
        """What helps by much though nothing clear points at it: the best of all changes, tried again with other seeds.

        The seed that chose it does not count: the best of many is too good. Validation examples are drawn once, so the
        gain must stand out of what they tell, too.
        """
        before = [change for _, change in chosen]
        open_ = [one for one in suspicions if one.strength < CLEAR and not one.exact and not one.note]
        tries = [one for one in sorted(open_, key=trust, reverse=True) if self.possible(one)]
        tries += usual(self.chart, {one.fault for one in tries})
        found: list[tuple[float, Suspicion, Change]] = []
        for one in tries:
            change = self.possible(one)[0]
            if self.chart.clock.left - self.seconds(change) < 0.4 * self.chart.clock.seconds:
                continue
            gained = gain(self.trial([*before, change]), self.trial(before))
            if gained >= (QUIET if one.strength > FAINT else BLANK):
                found.append((gained, one, change))
        for _, one, change in sorted(found, key=lambda item: -item[0])[:2]:
            if self.helps(before, change, range(1, max(3, self.seeds)), QUIET if one.strength > FAINT else BLANK):
                return one, change
        return None

    def possible(self, one: Suspicion) -> list[Change]:
        """The changes of a suspicion that a branch can make; some remedies of code can only be told."""
        if one.advice:
            return []
        return [change for change in one.changes if change.apply is not None or self.chart.subject.recipe is not None]

    def lags(self, now: Outcome, goal: float, gate: Gate) -> bool:
        """Whether something is left to explain."""
        if not gate.signal:
            return not now.finite or (gate.blind and now.skill < ANYTHING)
        return not now.finite or (now.skill < KEEPS_UP * goal and goal - now.skill > max(LEAST_GAP, 2 * gate.error))

    def best(
        self, chosen: list[tuple[Suspicion, Change]], now: Outcome, candidates: list[Suspicion], goal: float
    ) -> tuple[Suspicion, Change] | None:
        """The change that explains most of what is left, the more trusted one where several explain it."""
        before = [change for _, change in chosen]
        tried: list[tuple[Suspicion, Change, Outcome]] = []
        for one in candidates:
            for change in self.possible(one)[:2]:
                if tried and self.seconds(change) > max(2.0, 0.4 * self.chart.clock.left):
                    continue
                if self.chart.clock.left < 0.05 * self.chart.clock.seconds and tried:
                    break
                found = self.trial([*before, change])
                tried.append((one, change, found))
                if gain(found, now) >= 0.9 * max(1e-9, goal - now.skill):
                    break
        if not tried:
            return None
        top = max(gain(found, now) for _, _, found in tried)
        enough, noise = max(PART * max(goal - now.skill, 0.0), LEAST), self.noise()
        rest = goal - now.skill  # what has no symptom must explain most of it, and that must be much
        faint = enough if not chosen else SYMPTOMLESS * rest if rest >= PLENTY else math.inf
        least = {True: max(enough, faint), False: enough}
        large = [item for item in tried if gain(item[2], now) >= least[item[0].strength <= FAINT]]
        good = [item for item in large if gain(item[2], now) >= noise or self.repeats(before, item[1])]
        if not good or top <= 0:
            return None
        one, change, _ = max(good, key=lambda item: believed(item, (top - gain(item[2], now)) / top))
        return one, self.remedy(before, one, change)

    def remedy(self, before: list[Change], one: Suspicion, change: Change) -> Change:
        """The best of a fault's remedies, the first one where others are not clearly better."""
        best = change
        for other in self.possible(one)[:REMEDIES]:
            if other.name == best.name or self.chart.clock.left < 0.1 * self.chart.clock.seconds:
                continue
            if gain(self.trial([*before, other]), self.trial([*before, best])) > CLEARLY:
                best = other
        return best

    def repeats(self, before: list[Change], change: Change) -> bool:
        """Whether a change helps with the other seeds too, pair by pair."""
        if self.chart.clock.left < 0.2 * self.chart.clock.seconds:
            return False
        return all(gain(self.trial([*before, change], s), self.trial(before, s)) >= LEAST for s in range(1, self.seeds))

    def seconds(self, change: Change) -> float:
        """How long a branch with it takes, about."""
        return self.steps * change.cost * self.chart.whole.per_step

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
            without = self.trial([change for _, change in rest])
            trails = without.skill < KEEPS_UP * now.skill and gain(now, without) > LEAST_GAP
            if gain(now, without) < PART * max(1e-9, gain(now, start)) and not trails:
                chosen = rest
        return chosen

    def by_weight(self, chosen: list[tuple[Suspicion, Change]], now: Outcome) -> list[tuple[Suspicion, Change]]:
        """First what matters most: what costs most skill when it alone is left as it was."""
        if len(chosen) < 2 or self.chart.clock.left <= 0:
            return chosen
        lost = {}
        for item in chosen:
            lost[item[0].fault] = gain(now, self.trial([change for other, change in chosen if other is not item[0]]))
        breaches = [one for one, _ in chosen if one.exact]
        certain = {one.fault for one in breaches if one.fault[0] == "E" or lost[one.fault] >= LEAST}
        weight = {fault: round(max(0.0, skill), 1) for fault, skill in lost.items()}
        return sorted(chosen, key=lambda i: (i[0].fault not in certain, -weight[i[0].fault], -trust(i[0])))

    def finding(
        self, one: Suspicion, change: Change, start: Outcome, chosen: list[tuple[Suspicion, Change]]
    ) -> Finding:
        """A suspicion that became a finding, with what its remedy did and in how many seeds."""
        changes = [other for _, other in chosen]
        after = self.trial(changes)
        confidence = None if one.exact else self.confidence(changes, gain(after, start))
        evidence = {**one.evidence, "skill_before": start.skill, "skill_after": after.skill, "steps": self.steps}
        ordered = [change, *(other for other in one.changes if other.name != change.name)]
        text = "the network reaches a skill of {before:.2f}; with the change {after:.2f} after {steps} steps"
        harm = one.harm or say(text, before=start.skill, after=after.skill, steps=self.steps)
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
        curves, layers = self.curves()
        spent = self.chart.clock.spent
        return Diagnosis(verdict, findings, quiet, gate.figures(), self.excluded, None, spent, curves, layers)

    def curves(self) -> tuple[dict[str, list[tuple[float, float]]], list[str]]:
        """What the training and the network before its first step look like, as points."""
        whole = self.chart.whole
        found = {"loss": [(float(step), loss) for step, loss, _, _ in whole.curve]}
        found["skill"] = [(float(step), held if math.isfinite(held) else train) for step, _, train, held in whole.curve]
        found["quotient"] = [
            (float(s), one.q) for s, one in zip(whole.series.steps, whole.series.measures, strict=True)
        ]
        if math.isfinite(whole.base):
            found["constant"] = [(1.0, whole.base), (float(whole.steps), whole.base)]
        try:
            layers = self.chart.start.layers
        except (Unmeasured, *BROKEN):
            layers = []
        updates = whole.series.median_updates()
        for place, layer in enumerate(layers):
            numbers = {
                "spread": layer.spread,
                "gradient": layer.gradient_rms,
                "update": updates.get(layer.weight, math.nan),
            }
            for name, value in numbers.items():
                found.setdefault(name, []).append((float(place + 1), value))
        kept = {name: [point for point in points if math.isfinite(point[1])] for name, points in found.items()}
        return {name: points for name, points in kept.items() if points}, [layer.path for layer in layers]


def gain(after: Outcome, before: Outcome) -> float:
    """What a branch gained over another one, in skill."""
    return max(after.skill, -1.0) - max(before.skill, -1.0)


def believed(item: tuple[Suspicion, Change, Outcome], short: float) -> float:
    """How much a cause is believed that falls `short` of the best one; dearer cures, as longer training, less."""
    return trust(item[0]) - 1.5 * short - (0.25 if item[1].cost > 1 else 0.0)


def trust(one: Suspicion) -> float:
    """How much a suspicion is believed before it is tried."""
    return one.strength + BONUS.get(one.fault[0], 0.0)
