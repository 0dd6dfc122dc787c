"""The verbs that make and continue runs: train and resume."""

import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.errors import RunError, UsageError
from netwright.language import say
from netwright.measures.anatomy import Anatomy, anatomy
from netwright.recipe import MODULE, Recipe
from netwright.report.summary import summarise
from netwright.run import Run, read_again, write_report
from netwright.rundir import SEALED, RunFolder, replace_bytes, sha256
from netwright.training import folds
from netwright.training.checkpoints import newest
from netwright.training.forward import Forward
from netwright.training.job import Job, check, check_model, stored_recipe
from netwright.training.keeper import truths
from netwright.training.launch import Launch, differences, environment, git_commit, launch
from netwright.training.plan import build, dataset_of, from_catalogue, resolve, settings
from netwright.training.progress import Progress
from netwright.training.signals import Interrupted
from netwright.training.state import load_weights
from netwright.training.stopping import Condition
from netwright.training.train import fit


def train(
    data: Any = None,
    network: str | dict[str, Any] | nn.Module | None = None,
    *,
    targets: Any = None,
    loss: str | dict[str, Any] | None = None,
    optimizer: str | dict[str, Any] | None = None,
    schedule: str | dict[str, Any] | None = None,
    seed: int | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    quiet: bool = False,
    require: Sequence[str] = (),
    **training: Any,
) -> Run:
    """Train, evaluate, examine; return the finished run.

    `data`: a `Dataset` of `read`, an embedded name, a path, or arrays with `targets`. `network`, `loss`, `optimizer`,
    `schedule`: a name, a table `{"name": "sgd", "lr": 0.1}`, or (network) any `torch.nn.Module`. `training` are the
    settings of the recipe's `[training]` table. `require` are conditions such as `accuracy>=0.98` whose form is checked
    before the first step. What is left out is chosen from the data.
    """
    recipe = recipe or Recipe()
    module = network if isinstance(network, nn.Module) else None
    chosen = {"network": None if module else network, "loss": loss, "optimizer": optimizer, "schedule": schedule}
    for name, part in chosen.items():
        if part is not None:
            table = {"name": part} if isinstance(part, str) else dict(part)  # type: ignore[arg-type]
            recipe = recipe.updated({name: table}, say("argument {name}", name=name))
    recipe = recipe.updated({"training": training}, say("arguments")) if training else recipe
    recipe = recipe if seed is None else recipe.set("seed", seed, say("arguments"))
    started = time.monotonic()
    recipe.check()
    dataset = dataset_of(data, targets, recipe)
    known = from_catalogue(module, recipe, dataset) if module is not None else None
    recipe = known or resolve(recipe, dataset, module)
    folds.check(recipe, dataset)
    check(recipe, dataset)
    for text in require:
        Condition.parse(text, dataset.task, "--require")
    module = None if known and recipe.table("training")["members"] > 1 else module
    model = check_model(recipe, module if module is not None else build(recipe, dataset.inputs, dataset.outputs))
    sizes = anatomy(model, dataset.inputs, recipe.table("network")["name"])
    where = launch(recipe.table("training"), sizes.macs * recipe.table("data")["batch_size"])
    recipe = recipe.updated({"training": where.settings()}, say("arguments"))
    folder = RunFolder.create(out, dataset.name, recipe.table("network")["name"])
    progress = Progress(quiet)
    with folder.writing():
        _finish(_new_job(folder, dataset, recipe, model, sizes, where, progress), None, started)
    return Run(folder, module, dataset)


def _new_job(
    folder: RunFolder, dataset: Dataset, recipe: Recipe, model: nn.Module, sizes: Anatomy, where: Launch,
    progress: Progress,
) -> Job:  # fmt: skip
    """Write the records that stand before the first step, run.json last: a folder without it starts again."""
    run_id = uuid.uuid4().hex
    replace_bytes(folder.path / "recipe.toml", recipe.text().encode())
    folder.write("data.json", dataset.record())
    folder.write("anatomy.json", sizes.to_json())
    facts: dict[str, Any] = {
        "id": run_id,
        "state": "running",
        "command": sys.argv,
        "cwd": str(Path.cwd()),
        "environment": environment(where),
        "why": str(where),
    }
    facts |= {"in_memory": dataset.in_memory, "git": git_commit(), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    folder.write("run.json", facts)
    progress.say(say("{run}: {where}", run=folder.path, where=where))
    progress.problems(dataset.problems)
    return Job(dataset, recipe, model, where, progress, folder, run_id, _sources(folder))


def _sources(folder: RunFolder) -> dict[str, str]:
    return {name: sha256(folder.read_bytes(name)) for name in ("recipe.toml", "data.json")}


def _finish(job: Job, checkpoint: Any, started: float) -> None:
    """Train to the end, judge the best weights, and write every record."""
    folder = job.folder
    assert folder is not None
    try:
        outcome = fit(job, checkpoint)
    except Interrupted as signal:
        folder.write("run.json", {**folder.read("run.json"), "state": "interrupted"})
        job.progress.say(say("saved; continue with: netwright resume {run}", run=folder.path))
        raise signal
    load_weights(job.model, outcome.weights)
    forward = Forward(
        job.model, job.dataset.targets, job.recipe.table("loss")["name"], settings(job.recipe, "loss"),
        job.launch.device, job.launch.precision,
    )  # fmt: skip
    report, predictions = summarise(job, forward, outcome)
    if job.training["folds"]:
        report["folds"] = folds.cross_validate(job)
    truth = truths(job.dataset, "test")
    tensors = {"predictions": torch.from_numpy(np.ascontiguousarray(predictions)), "truth": torch.from_numpy(truth)}
    (folder.path / "predictions.safetensors").write_bytes(save(tensors))
    report = {"run": str(folder.path), **report, "wall_seconds": time.monotonic() - started}
    folder.write("findings.json", {"findings": report["findings"], "notes": report["notes"]})
    folder.write("report.json", report)
    folder.write("run.json", {**folder.read("run.json"), "state": "finished"})
    write_report(Run(folder, job.model, job.dataset))


def resume(path: Path | str, *, data: Any = None, network: nn.Module | None = None, quiet: bool = False) -> Run:
    """Continue a run from its newest verified checkpoint, to the same bits on the same machine.

    A finished run changes nothing. A run killed before its first checkpoint starts again from its recipe. `data` and
    `network` are needed only where the run was given arrays or a module in Python.
    """
    started = time.monotonic()
    folder = RunFolder.open(path)
    progress = Progress(quiet)
    with folder.writing():
        if not folder.has("run.json") and not folder.has(
            "best.json"
        ):  # killed while its first records were written: nothing is lost yet
            return _again(folder, data, network, progress, started)
        facts = folder.read("run.json")
        finished = facts.get("state") == "finished" and folder.has("report.json")
        if finished or folder.has("best.json"):  # a run still going may stand between its weights and their seal
            folder.verified(SEALED if finished else SEALED[1:])
            if folder.seal().get("run") != facts.get("id"):
                raise RunError(say("run folder {path}: {name} is damaged", path=folder.path, name="run.json"))
        checkpoint = newest(folder.path, str(facts.get("id")), _sources(folder), progress.say)
        if finished:
            progress.say(say("{run} is finished; nothing to do", run=path))
            return Run(folder, network)
        recipe = stored_recipe(folder)
        dataset = read_again(folder, recipe, data)
        where = launch(
            recipe.table("training") | {"threads": facts["environment"]["threads"], "device": _device(facts)}
        )
        for line in [
            say("not bit-exact: {what}", what=what) for what in differences(facts["environment"], environment(where))
        ]:
            progress.say(line)
        if network is None and recipe.table("network")["name"] != MODULE:
            network = build(recipe, dataset.inputs, dataset.outputs)
        if network is None:
            raise UsageError(
                say("{run} trained a module from Python; resume it there: resume(path, network=...)", run=path)
            )
        folder.write("run.json", {**facts, "state": "running"})
        job = Job(dataset, recipe, network, where, progress, folder, str(facts["id"]), _sources(folder))
        if checkpoint is None:
            folder.cut(0)
        progress.say(
            say("{run}: from step {step}; {where}", run=path, step=checkpoint.step if checkpoint else 0, where=where)
        )
        _finish(job, checkpoint, started)
    return Run(folder, network, dataset)


def _again(folder: RunFolder, data: Any, network: nn.Module | None, progress: Progress, started: float) -> Run:
    """Start a run from its recipe alone."""
    recipe = stored_recipe(folder)
    table = recipe.table("data")
    path = table.pop("path")
    dataset = data if isinstance(data, Dataset) else read(path if data is None else data, **table)
    model = check_model(recipe, network if network is not None else build(recipe, dataset.inputs, dataset.outputs))
    sizes, where = anatomy(model, dataset.inputs, recipe.table("network")["name"]), launch(recipe.table("training"))
    _finish(_new_job(folder, dataset, recipe, model, sizes, where, progress), None, started)
    return Run(folder, network, dataset)


def _device(facts: dict[str, Any]) -> str:
    return "cpu" if facts["environment"]["device"] == "cpu" else "cuda"
