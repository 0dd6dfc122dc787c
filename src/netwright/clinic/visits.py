"""`diagnose`: the doctor for a run, a recipe, or data with a recipe chosen for it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.clinic.mechanisms import mechanism_of
from netwright.clinic.paired import fewest
from netwright.clinic.proof import parse_budget
from netwright.clinic.proof import prove as prove_patches
from netwright.data.dataset import Dataset
from netwright.doctor.findings import Diagnosis
from netwright.doctor.procedure import diagnose as examine_subject
from netwright.doctor.work import RecipeSubject
from netwright.errors import RunError, UsageError
from netwright.language import say
from netwright.recipe import MODULE, Recipe
from netwright.report.diagnosis import page
from netwright.run import Run, open_run, read_again
from netwright.start import asked_recipe, train
from netwright.storage import replace_bytes
from netwright.training.job import check, check_model
from netwright.training.plan import build, dataset_of, resolve
from netwright.training.progress import Progress

BUDGET = 60.0
"""Seconds of an examination, proof apart."""


def diagnose(
    what: Any = None,
    network: str | dict[str, Any] | None = None,
    *,
    targets: Any = None,
    loss: str | dict[str, Any] | None = None,
    optimizer: str | dict[str, Any] | None = None,
    schedule: str | dict[str, Any] | None = None,
    seed: int | None = None,
    recipe: Recipe | None = None,
    prove: bool = False,
    seeds: int | str = "auto",
    budget: float | str = BUDGET,
    out: Path | str | None = None,
    quiet: bool = False,
    **training: Any,
) -> Diagnosis:
    """Say why a network does not learn: a run, a recipe file, or data with a recipe as `train` chooses it.

    Args:
        what: a `Run` or run folder; a recipe file; a `Dataset`, embedded name, path or arrays with `targets`.
        network, loss, optimizer, schedule, seed, recipe, training: as in `train`; for a run they change its recipe.
        prove: screen the remedies and confirm the best on `seeds` fresh paired seeds (8; 10 where a training takes
            less than 10 s; fewer than 6 are refused). A remedy that helped is trained as a new run, `proof["run"]`.
        budget: about so many seconds (or `60s`, `2m`), for the examination and again for the proof where it is given.
        out: the folder of the new run.
    """
    seconds = parse_budget(budget)
    if prove and isinstance(seeds, int) and seeds < fewest():
        text = say("--seeds {seeds}: a proof takes {least} seeds or more, for no exact test of fewer can reach 0.05",
                   seeds=seeds, least=fewest())  # fmt: skip
        raise UsageError(text)
    asked = asked_recipe(network, loss, optimizer, schedule, seed, recipe, training)
    run = _run_of(what)
    if isinstance(what, (str, Path)) and run is None and str(what).endswith(".toml"):
        asked, what = Recipe.read(what).updated(asked.document() if asked.tables else {}, say("arguments")), None
    if run is None:
        asked.check()
        dataset = dataset_of(what, targets, asked)
        whole = resolve(asked, dataset)
    else:
        dataset, whole = of_run(run, asked)
    if whole.table("network")["name"] == MODULE:
        raise UsageError(say("a module from Python is examined in Python: examine(module, loss, optimizer, batches)"))
    check(whole, dataset)
    check_model(whole, build(whole, dataset.inputs, dataset.outputs))
    progress = Progress(quiet)
    subject = RecipeSubject(whole, dataset)
    if run is not None and not asked.tables:
        subject.recorded = recorded(run, dataset)
    found = examine_subject(subject, seconds, whole.seed % 2**31)
    if not prove:
        return found
    return proven(found, whole, dataset, seeds, seconds if budget != BUDGET else float("inf"), out, progress)


def proven(
    found: Diagnosis, recipe: Recipe, dataset: Dataset, seeds: Any, budget: float, out: Path | str | None,
    progress: Progress,
) -> Diagnosis:  # fmt: skip
    """The diagnosis with a proof of its remedies; one that helped is trained as a new run."""
    patches = remedies_of(found)
    if not patches:
        return found
    metric = "balanced_accuracy" if any(one.fault == "A7" for one in found.findings) else "auto"
    proof = prove_patches(
        recipe, patches, dataset, seeds=seeds, budget=budget, metric=metric, progress=progress,
        mechanism=mechanism_of(found.findings[0].fault),
    )  # fmt: skip
    record = proof.to_json()
    if proof.verdict == "helped":
        best = train(proof.dataset, recipe=proof.beside_data, out=out, quiet=progress.quiet)
        record |= {"run": str(best.path), "recipe": str(best.path / "recipe.toml")}
    return replace(found, proof=record, seconds=found.seconds + proof.seconds)


def remedies_of(found: Diagnosis) -> list[dict[str, Any]]:
    """The patches worth a proof: all first remedies together, then each alone, then the second ones."""
    singles = [remedy.patch for one in found.findings for remedy in one.remedies]
    together = found.changes
    ordered = [together, *singles] if together else singles
    kept: list[dict[str, Any]] = []
    for patch in ordered:
        if patch and "code" not in patch and patch not in kept:
            kept.append(patch)
    return kept


def prove(
    what: Any,
    *,
    seeds: int | str = "auto",
    budget: float | str = float("inf"),
    out: Path | str | None = None,
    quiet: bool = False,
) -> Run:
    """Diagnose a run and prove its remedies on fresh paired seeds; the new run where one helped, else the run itself.

    `run.proof` of what comes back holds the test.
    """
    run = _run_of(what)
    if run is None:
        raise RunError(say("prove wants a run or its folder; {kind} came", kind=type(what).__name__))
    found = diagnose(
        run, prove=True, seeds=seeds, budget=budget if budget != float("inf") else BUDGET, out=out, quiet=quiet
    )
    best = open_run(found.proof["run"]) if found.proof and "run" in found.proof else run
    best.proof = found.proof
    return best


def write_page(found: Diagnosis, file: Path | str, name: str) -> Path:
    """Write a diagnosis as one self-contained HTML page."""
    path = Path(file)
    try:
        replace_bytes(path, page(found.to_json(), name).encode())
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(say("--page {file}: it cannot be written: {why}", file=path, why=why)) from None
    return path


def _run_of(what: Any) -> Run | None:
    if isinstance(what, Run):
        return what
    if isinstance(what, (str, Path)) and os.path.isfile(os.path.join(what, "run.json")):
        return open_run(what)
    return None


def of_run(run: Run, changes: Recipe) -> tuple[Dataset, Recipe]:
    """The data and the recipe of a run, changed by what was asked."""
    recipe = run.recipe
    dataset = run._dataset or read_again(run.folder, recipe)
    for table, found in changes.tables.items():
        recipe = recipe.updated({table: found}, say("arguments"))
    return dataset, resolve(recipe, dataset)


def recorded(run: Run, dataset: Dataset) -> float:
    """The skill that a finished run recorded on its validation examples; NaN where it has none."""
    if not run.folder.has("report.json"):
        return float("nan")
    scores = run.report.get("validation", {})
    if dataset.task in ("regress", "forecast") and scores.get("r2") is not None:
        return float(scores["r2"])
    if dataset.task == "classify" and scores.get("accuracy") is not None:
        share = (
            np.unique(dataset.raw_targets("validation").astype(str), return_counts=True)[1].max()
            / dataset.examples["validation"]
        )
        return float((scores["accuracy"] - share) / max(1e-12, 1 - share))
    return float("nan")
