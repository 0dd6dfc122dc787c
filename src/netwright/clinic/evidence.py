"""What a proof says: scores before and after, the test, the controls, and what stands between them and `helped`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.clinic.paired import HELPED, LEVEL, UNPROVEN, Effect, sign_flip
from netwright.clinic.trainings import Trial
from netwright.clinic.yardstick import higher
from netwright.data.dataset import Dataset
from netwright.doctor.findings import proof_text
from netwright.language import say
from netwright.recipe import Recipe
from netwright.training.progress import number

Patch = dict[str, Any]


@dataclass(frozen=True)
class Proof:
    """What became of a remedy. Scores are those that count: a training that diverged has the constant answer's."""

    patch: Patch
    metric: str
    before: list[float]
    """Test scores of the original, one a seed; none where nothing was confirmed."""
    after: list[float]
    difference: float | None
    """The mean of after - before in the metric's own units; `low` and `high` are its 95 % interval."""
    low: float | None
    high: float | None
    p_value: float | None
    verdict: str
    """`helped`, `no proven benefit` or `harmed`."""
    reason: str
    """Why the benefit is not proven, or what else is to be said; empty where nothing is."""
    seeds: list[int] = field(default_factory=list)
    screening: list[dict[str, Any]] = field(default_factory=list)
    """`patch scores mean finished` of every patch that was screened on validation; the original has an empty patch."""
    refused: list[dict[str, Any]] = field(default_factory=list)
    """`patch why` of those that could not be tried."""
    controls: list[dict[str, Any]] = field(default_factory=list)
    """`name patch score scores difference p_value` on the same seeds; `difference` is remedy - control."""
    facts: dict[str, Any] = field(default_factory=dict)
    """`improved worst noise_band smallest_effect constant bootstrap finished mechanism ...`: what else was measured.

    `measured`: the plain scores before and after, None where there was none, of trainings that count as the constant.
    """
    seconds: float = 0.0
    recipe: Recipe | None = None
    """The recipe with the patch, settled, with the seed of the original: what a new run is trained from."""
    dataset: Dataset | None = None
    """The data as that recipe reads them."""

    def to_json(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self).items() if name not in ("facts", "recipe", "dataset")}
        return {**found, **self.facts}

    @property
    def beside_data(self) -> Recipe | None:
        """The recipe without data settings: `train(proof.dataset, recipe=proof.beside_data)` reads nothing again."""
        if self.recipe is None:
            return None
        return Recipe(self.recipe.seed, {name: table for name, table in self.recipe.tables.items() if name != "data"})

    def __str__(self) -> str:
        lines = [proof_text(self.to_json())]
        lines += [f"  {self.reason}"] if self.reason and self.difference is not None else []
        for control in self.controls:
            change = "  ".join(f"{key}={value}" for key, value in control["patch"].items())
            text = say("control {name}: {metric} {score}, the remedy is at {difference:+.4g} from it",
                       name=say(control["name"]), metric=self.metric, score=number(control["score"]),
                       difference=control["difference"])  # fmt: skip
            lines.append(f"  {text}  {change}".rstrip())
        return "\n".join(lines)


def why(effect: Effect, smallest: float, metric: str, mechanism: Mapping[str, Any]) -> str:
    """What stands between the numbers and `helped`, or what is to be said beside it."""
    better = higher(metric)
    gain = effect.difference if better else -effect.difference
    lost = -effect.worst if better else effect.worst
    if effect.verdict == UNPROVEN:
        if not effect.difference and effect.low == effect.high == 0:
            return say("no score changed")
        if effect.p_value > LEVEL:
            return say("the differences may be chance (p = {p:.3g})", p=effect.p_value)
        if effect.low <= 0 <= effect.high:
            return say("the interval of the difference holds 0")
        if abs(gain) < smallest:
            return say("the difference of {difference:.4g} is below the smallest effect of interest, {smallest:.4g}",
                       difference=abs(gain), smallest=smallest)  # fmt: skip
        if gain > 0:
            return say("one seed got worse by {lost:.4g}, more than the noise band of {band:.4g}",
                       lost=lost, band=effect.noise_band)  # fmt: skip
        return say(
            "some seeds got better, others worse, by more than the noise band of {band:.4g}", band=effect.noise_band
        )
    if effect.verdict == HELPED and mechanism and not any(found["moved"] for found in mechanism.values()):
        text = "the score improved, but {names} did not move: the remedy helps, the cause is not shown"
        return say(text, names=", ".join(mechanism))
    return ""


def moved(before: list[Trial], after: list[Trial]) -> dict[str, dict[str, Any]]:
    """Whether each diagnosed quantity moved with the remedy: `before after difference p_value moved`, p <= 0.05."""
    found = {}
    for name in before[0].mechanism:
        pairs = [
            (a.mechanism.get(name, math.nan), b.mechanism.get(name, math.nan))
            for a, b in zip(before, after, strict=True)
        ]
        known = [pair for pair in pairs if all(math.isfinite(value) for value in pair)]
        apart = [b - a for a, b in known]
        p = sign_flip(apart)
        found[name] = {
            "before": [a if math.isfinite(a) else None for a, _ in pairs],
            "after": [b if math.isfinite(b) else None for _, b in pairs],
            "difference": float(np.mean(apart)) if apart else None, "p_value": p, "moved": p <= LEVEL,
        }  # fmt: skip
    return found


def beats(controls: Sequence[Mapping[str, Any]], better: bool) -> bool:
    """Whether the remedy's mean is at least that of every control."""
    return all((one["difference"] if better else -one["difference"]) >= 0 for one in controls)


def outdone(effect: Effect, controls: Sequence[Mapping[str, Any]], better: bool) -> str:
    """Which control did better than a remedy that helped, on the same seeds and beyond chance; empty where none did."""
    sign = 1.0 if better else -1.0
    ahead = [one for one in controls if sign * one["difference"] < 0 and one["p_value"] <= LEVEL]
    if effect.verdict != HELPED or not ahead:
        return ""
    best = min(ahead, key=lambda one: sign * one["difference"])
    return say("{patch} helps more: the control {name} is ahead by {difference:.4g} (p = {p:.3g})",
               patch=text_of(best["patch"]), name=say(best["name"]), difference=abs(best["difference"]),
               p=best["p_value"])  # fmt: skip


def text_of(patch: Mapping[str, Any]) -> str:
    """A patch as it is written on a command line."""
    return " ".join(f"{key}={value}" for key, value in patch.items())
