"""The training of a case, as its author would write it: the loop that harm and repair are judged by."""

import math
import tempfile
from dataclasses import dataclass
from typing import Any

import torch

from bench.doctor.programs.case import Case


@dataclass(frozen=True)
class Trained:
    """`skill` on held-out examples; NaN where the outputs are not finite."""

    skill: float
    finite: bool


def train(case: Case) -> Trained:
    """Train for `epochs` epochs and score."""
    if case.recipe is not None:
        return trained_recipe(case.recipe)
    torch.manual_seed(12345)
    for _ in range(case.epochs):
        case.module.train()
        for batch in case.batches:
            one_step(case, batch)
    assert case.score is not None
    skill = case.score(case.module)
    return Trained(skill, math.isfinite(skill))


def one_step(case: Case, batch: Any) -> None:
    """The case's own step, or the usual one."""
    if case.step is not None:
        case.step(*batch)
        return
    case.optimizer.zero_grad()
    loss = case.loss(case.module(batch[0]), batch[1])
    loss.backward()
    case.optimizer.step()


def trained_recipe(tables: dict[str, Any]) -> Trained:
    """Train a recipe; its skill by accuracy or R2 of the test against the constant answer of the same run."""
    import netwright as nw
    from netwright.errors import RunError

    with tempfile.TemporaryDirectory(prefix="program-") as place:
        try:
            recipe = nw.Recipe().updated(tables, "program")
            report = nw.train(tables["data"]["path"], recipe=recipe, out=f"{place}/run", quiet=True).to_json()
        except RunError:
            return Trained(math.nan, False)
    test, constant = report["test"], report["baseline"]["constant"]
    if "accuracy" in test:
        name = "balanced_accuracy" if tables.get("scored") == "balanced" else "accuracy"
        skill = (test[name] - constant[name]) / (1 - constant[name])
    else:
        skill = test["r2"]
    return Trained(skill, math.isfinite(test["loss"]))
