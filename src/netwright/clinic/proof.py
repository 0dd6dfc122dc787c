"""The proof of a remedy: screened on validation, confirmed once on fresh paired seeds, reported on test."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from netwright.clinic.controls import random_change, rates
from netwright.clinic.evidence import Patch, Proof, beats, moved, outdone, text_of, why
from netwright.clinic.paired import (
    HELPED,
    UNPROVEN,
    Effect,
    bootstrap_interval,
    effect_of,
    fewest,
    holm,
    mcnemar,
    sign_flip,
)
from netwright.clinic.trainings import Mechanism, OutOfTime, Trainings, Trial, patched
from netwright.clinic.yardstick import constant_score, higher, smallest_effect
from netwright.data.dataset import Dataset
from netwright.errors import NetwrightError, UsageError
from netwright.language import say
from netwright.randomness import seed_of
from netwright.recipe import Recipe
from netwright.training.progress import Progress

SEEDS, QUICK_SEEDS, QUICK = 8, 10, 10.0
"""Eight seeds confirm, ten where a training takes less than ten seconds."""
SCREENING_FROM, FRESH_FROM = 101, 1001
"""Seeds count from the recipe's own plus these, so that screening, confirming and diagnosing share none."""
SAFETY = 1.1
"""What is planned may take so many times longer than what was measured."""


def prove(
    recipe: Recipe, patches: Sequence[Mapping[str, Any]], dataset: Dataset, *, seeds: int | Literal["auto"] = "auto",
    screening: int = 3, confirm: int = 1, metric: str = "auto", budget: float = math.inf, control: bool = True,
    mechanism: Mechanism | None = None, progress: Progress | None = None,
) -> Proof:  # fmt: skip
    """Show whether one of `patches` helps `recipe` on `dataset`, by paired trainings.

    Every patch is screened on `screening` seeds by its validation score. The best one is confirmed on fresh seeds that
    original and patch share (8; 10 where a training takes less than 10 s; `seeds` for another number), reported on
    test, with one exact sign-flip test; `confirm` may take more than the best one, with Holm's correction. Controls on
    the same seeds: nothing, a random legal change, and the learning rate alone retuned with as many trainings as the
    patches had. `budget` are seconds: fewer patches are screened, then seeds are left out down to the fewest that can
    tell, then controls; a confirmation that would not be finished is not begun, or counts for nothing.

    Errors: UsageError for fewer than 6 seeds, data without test examples, a network that came from Python.
    """
    started = time.monotonic()
    _check(dataset, seeds, screening, confirm, budget)
    trainings = Trainings(dataset, metric=metric, mechanism=mechanism, deadline=started + budget)
    original = trainings.settled(recipe)
    course = Course(
        trainings, original, seeds, screening, confirm, budget, control, progress or Progress(quiet=True), started
    )
    return course.proof([dict(patch) for patch in patches])


def _check(dataset: Dataset, seeds: int | str, screening: int, confirm: int, budget: float) -> None:
    least = fewest()
    if seeds != "auto" and (type(seeds) is not int or seeds < least):
        text = say("--seeds {seeds}: a proof takes {least} seeds or more, for no exact test of fewer can reach 0.05",
                   seeds=seeds, least=least)  # fmt: skip
        raise UsageError(text)
    if screening < 1 or confirm < 1:
        raise UsageError(say("screening takes 1 seed or more, and 1 remedy or more is confirmed"))
    if not budget > 0:
        raise UsageError(say("--budget {budget}: it is a time above 0, such as 60s, 2m or 1h", budget=budget))
    if not dataset.examples["test"]:
        raise UsageError(
            say("a proof is reported on test examples, and {name} has none (data.test=0.2)", name=dataset.name)
        )


@dataclass
class Course:
    """One proof on its way: the trainings, the plan, and the time that is left."""

    trainings: Trainings
    original: Recipe
    seeds: int | Literal["auto"]
    screening: int
    confirm: int
    budget: float
    control: bool
    progress: Progress
    started: float
    screened: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[tuple[Patch, Recipe]] = field(default_factory=list)
    pace: float = 0.0
    """Seconds of a training of the original."""
    leading: Patch = field(default_factory=dict)
    """The remedy that is told of where nothing was tested."""

    def proof(self, patches: list[Patch]) -> Proof:
        """Screen, confirm, compare with controls."""
        try:
            return self._proof(patches)
        except OutOfTime:
            text = say("the budget of {budget:g} s ended before the confirmation was finished", budget=self.budget)
            return self.unproven(text)

    def _proof(self, patches: list[Patch]) -> Proof:
        self.find_candidates(patches)
        if not self.candidates:
            return self.unproven(say("there is no remedy that can be tried on the recipe"))
        self.leading, self.confirm = self.candidates[0][0], min(self.confirm, len(self.candidates))
        lowest = fewest(self.confirm)
        if self.seeds != "auto" and self.seeds < lowest:
            text = say("{seeds} seeds cannot tell {count} remedies apart from chance together: it takes {least}",
                       seeds=self.seeds, count=self.confirm, least=lowest)  # fmt: skip
            return self.unproven(text)
        lowest = lowest if self.seeds == "auto" else self.seeds
        self.take_pace(lowest)
        if (reason := self.too_short(lowest, self.candidates[:1])) is not None:
            return self.unproven(reason)
        chosen = self.chosen(self.screen(lowest))
        self.leading = chosen[0][0]
        if (reason := self.too_short(lowest, chosen)) is not None:
            return self.unproven(reason)
        slowest = max(self.trainings.seconds(recipe, self.pace) for _, recipe in [({}, self.original), *chosen])
        wanted = self.seeds if self.seeds != "auto" else max(lowest, QUICK_SEEDS if slowest < QUICK else SEEDS)
        return self.confirmed(chosen, self.fresh_seeds(min(wanted, self.room(chosen))))

    def take_pace(self, lowest: int) -> None:
        """Time the original; twice where the first time would end the proof, as it holds what only happens once."""
        for seed in (self.screening_seeds[0], (self.original.seed + SCREENING_FROM + self.screening) % 2**62):
            seconds = self.run(self.original, seed, say("the original")).seconds
            self.pace = min(self.pace or seconds, seconds)
            if self.too_short(lowest, self.candidates[:1]) is None or self.trainings.left < seconds:
                return

    # the plan ------------------------------------------------------------------------------------------------

    @property
    def screening_seeds(self) -> list[int]:
        return [(self.original.seed + SCREENING_FROM + place) % 2**62 for place in range(self.screening)]

    def fresh_seeds(self, count: int) -> list[int]:
        """Seeds that neither the original's run nor screening used."""
        first = FRESH_FROM + max(0, self.screening - (FRESH_FROM - SCREENING_FROM))
        return [(self.original.seed + first + place) % 2**62 for place in range(count)]

    def find_candidates(self, patches: list[Patch]) -> None:
        """Patches that give a recipe of their own; the others are put down with the reason."""
        for patch in patches:
            if not patch or any(patch == known for known, _ in self.candidates):
                continue
            try:
                recipe = patched(self.original, patch)
                self.trainings.settled(recipe)
            except (NetwrightError, ValueError) as error:
                self.refused.append({"patch": patch, "why": str(error)})
            else:
                self.candidates.append((patch, recipe))

    def cost(self, chosen: Sequence[tuple[Patch, Recipe]]) -> float:
        """Seconds that one seed takes: the original and each of the chosen."""
        recipes = [self.original, *(recipe for _, recipe in chosen)]
        return sum(self.trainings.seconds(recipe, self.trainings.usual(self.pace)) for recipe in recipes)

    def room(self, chosen: Sequence[tuple[Patch, Recipe]]) -> int:
        """How many seeds the time that is left allows."""
        left = self.trainings.left
        return int(min(10**6, left / (SAFETY * self.cost(chosen)))) if left < math.inf else 10**6

    def too_short(self, lowest: int, chosen: Sequence[tuple[Patch, Recipe]]) -> str | None:
        """Why the time that is left cannot hold a confirmation; None where it can."""
        if self.room(chosen) >= lowest:
            return None
        text = "the budget of {budget:g} s leaves {left:.1f} s; to confirm on {seeds} seeds takes about {cost:.1f} s"
        return say(text, budget=self.budget, left=max(0.0, self.trainings.left), seeds=lowest,
                   cost=lowest * self.cost(chosen))  # fmt: skip

    # trainings -----------------------------------------------------------------------------------------------

    def run(self, recipe: Recipe, seed: int, what: str) -> Trial:
        if not self.trainings.knows(recipe, seed):
            self.progress.say(say("proof: {what}, seed {seed}", what=what, seed=seed))
        return self.trainings.run(recipe, seed)

    def screen(self, lowest: int) -> list[tuple[float, int]]:
        """Train the patches on the screening seeds, as many as leave time to confirm: (mean score, place) of each."""
        found: list[tuple[float, int]] = []
        count = len(self.candidates)
        for place, (patch, recipe) in enumerate(self.candidates):
            each = self.trainings.usual(self.pace)
            spare = self.trainings.left - SAFETY * (lowest * self.cost([(patch, recipe)]) + self.screening * each)
            if spare < 0:
                self.progress.say(say("proof: no time to screen {count} more remedies", count=count - place))
                break
            what = say("screening {place} of {count}: {patch}", place=place + 1, count=count, patch=text_of(patch))
            trials = [self.run(recipe, seed, what) for seed in self.screening_seeds]
            self._note(patch, trials)
            found.append((float(np.mean([one.validation for one in trials])), place))
        spare = self.trainings.left - SAFETY * (lowest * self.cost(self.candidates[:1]) + self.screening * self.pace)
        if found and spare > 0:
            self._note({}, [self.run(self.original, seed, say("the original")) for seed in self.screening_seeds])
        return found

    def _note(self, patch: Patch, trials: list[Trial]) -> None:
        scores = [one.validation for one in trials]
        self.screened.append({"patch": patch, "scores": scores, "mean": float(np.mean(scores)),
                              "finished": sum(one.finished for one in trials)})  # fmt: skip

    def chosen(self, found: list[tuple[float, int]]) -> list[tuple[Patch, Recipe]]:
        """The best by validation, ties in the order given; without time to screen, the first."""
        sign = -1.0 if higher(self.trainings.metric) else 1.0
        order = [place for _, place in sorted(found, key=lambda one: (sign * one[0], one[1]))]
        order += [place for place in range(len(self.candidates)) if place not in order]
        return [self.candidates[place] for place in order[: self.confirm]]

    def confirmed(self, chosen: list[tuple[Patch, Recipe]], seeds: list[int]) -> Proof:
        """Train original and chosen on fresh seeds, pair by pair, and judge on test."""
        pairs: list[list[Trial]] = [[] for _ in range(1 + len(chosen))]
        names = [say("the original"), *(text_of(patch) for patch, _ in chosen)]
        for done, seed in enumerate(seeds, 1):
            for place, recipe in enumerate([self.original, *(one[1] for one in chosen)]):
                what = say("confirming {place} of {count}: {patch}", place=done, count=len(seeds), patch=names[place])
                pairs[place].append(self.run(recipe, seed, what))
        metric = self.trainings.metric
        before = [one.test for one in pairs[0]]
        smallest = smallest_effect(self.trainings.dataset, metric)
        p = holm([sign_flip(np.subtract([one.test for one in after], before)) for after in pairs[1:]])
        effects = [
            effect_of(before, [one.test for one in after], higher=higher(metric), smallest=smallest, p_value=value)
            for after, value in zip(pairs[1:], p, strict=True)
        ]
        best = next((place for place, one in enumerate(effects) if one.verdict == HELPED), 0)
        patch, recipe = chosen[best]
        return self.result(patch, recipe, effects[best], pairs[0], pairs[1 + best], smallest)

    # controls ------------------------------------------------------------------------------------------------

    def controls(self, patch: Patch, before: list[Trial], after: list[Trial]) -> list[dict[str, Any]]:
        """Nothing, the learning rate alone, a random change: on the seeds that confirmed."""
        found = [self._held("nothing", {}, before, after)]
        if not self.control:
            return found
        makers = {"learning rate only": self._retuned, "random change": self._random}
        for name, maker in makers.items():
            try:
                other = maker(patch, len(after))
                if not other:
                    continue
                recipe = patched(self.original, other)
                what = say("control {name}: {patch}", name=say(name), patch=text_of(other))
                trials = [self.run(recipe, one.seed, what) for one in after]
            except OutOfTime:
                break
            found.append(self._held(name, other, trials, after))
        return found

    def _held(self, name: str, patch: Patch, trials: list[Trial], after: list[Trial]) -> dict[str, Any]:
        scores, remedied = [one.test for one in trials], [one.test for one in after]
        apart = np.subtract(remedied, scores)
        return {
            "name": name, "patch": patch, "score": float(np.mean(scores)), "scores": scores,
            "difference": float(apart.mean()), "p_value": sign_flip(apart),
        }  # fmt: skip

    def _affords(self, trainings: int) -> bool:
        if self.trainings.left > SAFETY * trainings * self.trainings.usual(self.pace):
            return True
        self.progress.say(say("proof: no time for more controls"))
        return False

    def _retuned(self, patch: Patch, seeds: int) -> Patch:
        """The best learning rate by validation, of as many trainings as the patches were screened with."""
        given = self.screening * max(1, sum(bool(one["patch"]) for one in self.screened))
        grid = rates(self.original, min(given, max(3, given // self.screening)))
        if not grid or not self._affords(given + seeds):
            return {}
        each = min(self.screening, max(1, given // len(grid)))
        sign = 1.0 if higher(self.trainings.metric) else -1.0
        scores = []
        for rate in grid:
            recipe, what = patched(self.original, rate), say("control {name}: {patch}", name=say("learning rate only"),
                                                             patch=text_of(rate))  # fmt: skip
            trials = [self.run(recipe, seed, what) for seed in self.screening_seeds[:each]]
            scores.append(sign * float(np.mean([one.validation for one in trials])))
        return grid[int(np.argmax(scores))]

    def _random(self, patch: Patch, seeds: int) -> Patch:
        """A legal change of a setting that the remedy leaves alone, drawn by what the recipe says."""
        if not self._affords(seeds):
            return {}
        draw = seed_of("control", self.original.text())
        return random_change(self.original, self.trainings.dataset, draw, avoid=set(patch))

    # the result ----------------------------------------------------------------------------------------------

    def result(
        self, patch: Patch, recipe: Recipe, effect: Effect, before: list[Trial], after: list[Trial], smallest: float
    ) -> Proof:
        scores = [[one.test for one in trials] for trials in (before, after)]
        metric, dataset = self.trainings.metric, self.trainings.dataset
        done = [[one.finished for one in trials] for trials in (before, after)]
        mechanism = moved(before, after)
        controls = self.controls(patch, before, after)
        facts = {
            "improved": effect.improved, "worst": effect.worst, "noise_band": effect.noise_band,
            "smallest_effect": smallest, "constant": constant_score(dataset, "test", metric),
            "bootstrap": list(bootstrap_interval(np.subtract(scores[1], scores[0]))),
            "finished": {"before": sum(done[0]), "after": sum(done[1]), "p_value": mcnemar(done[0], done[1])},
            "measured": [[one.measured.get("test") for one in trials] for trials in (before, after)],
            "mechanism": mechanism, "trainings": self.trainings.made, "confirmed": self.confirm,
            "seconds_a_training": [float(np.median([one.seconds for one in trials])) for trials in (before, after)],
            "beats_controls": beats(controls, higher(metric)),
        }  # fmt: skip
        reason = why(effect, smallest, metric, mechanism) or outdone(effect, controls, higher(metric))
        return Proof(
            patch, metric, scores[0], scores[1], effect.difference, effect.low, effect.high, effect.p_value,
            effect.verdict, reason, [one.seed for one in after], self.screened, self.refused, controls, facts,
            time.monotonic() - self.started, *self.trainings.settled_as(recipe, self.original),
        )  # fmt: skip

    def unproven(self, reason: str) -> Proof:
        """`no proven benefit`, before any test."""
        if not self.candidates and self.refused:
            reason = f"{reason}: {self.refused[0]['why']}"
        return Proof(
            self.leading, self.trainings.metric, [], [], None, None, None, None, UNPROVEN, reason, [], self.screened,
            self.refused, seconds=time.monotonic() - self.started,
        )  # fmt: skip


_TIME = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(s|m|h|)\s*")


def parse_budget(text: str | float) -> float:
    """Seconds of `60s`, `2m`, `1.5h` or a plain number of seconds; `inf` or an empty text for no limit."""
    if text == "" or text == "inf":
        return math.inf
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    seconds = math.nan
    if found is not None:
        seconds = float(found[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[found[2]]
    elif isinstance(text, (int, float)) and not isinstance(text, bool):
        seconds = float(text)
    if not seconds > 0:
        raise UsageError(say("--budget {budget}: it is a time above 0, such as 60s, 2m or 1h", budget=text))
    return seconds
