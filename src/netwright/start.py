"""The verbs that make and continue runs: train and resume."""

import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.deploy.samples import samples
from netwright.errors import RunError, UsageError
from netwright.language import say
from netwright.measures.anatomy import Anatomy, anatomy
from netwright.recipe import MODULE, Recipe
from netwright.report.summary import summarise
from netwright.run import Run, read_again, write_report
from netwright.rundir import SEALED, RunFolder
from netwright.storage import replace_bytes
from netwright.training import folds
from netwright.training.checkpoints import newest
from netwright.training.choosing import choose
from netwright.training.forward import Forward
from netwright.training.job import Job, check, check_model, check_paths, stored_recipe
from netwright.training.keeper import Outcome
from netwright.training.launch import differences, environment, git_commit, imposed, launch
from netwright.training.plan import build, dataset_of, from_catalogue, resolve, settings
from netwright.training.progress import Progress
from netwright.training.ranks import Ranks, here
from netwright.training.signals import Interrupted
from netwright.training.spread import agree, notes, refuse, send, show, together
from netwright.training.state import load_weights
from netwright.training.stopping import Condition
from netwright.training.train import fit


@together
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
    module = network if isinstance(network, nn.Module) else None
    recipe = asked_recipe(None if module else network, loss, optimizer, schedule, seed, recipe, training)  # type: ignore[arg-type]
    started = time.monotonic()
    recipe.check()
    ranks = here()
    asked = recipe
    dataset = ranks.in_turn(lambda: dataset_of(data, targets, asked))
    known = from_catalogue(module, recipe, dataset) if module is not None else None
    recipe = known or resolve(recipe, dataset, module)
    folds.check(recipe, dataset)
    check(recipe, dataset)
    for text in require:
        Condition.parse(text, dataset.task, "--require")
    module = None if known and recipe.table("training")["members"] > 1 else module
    model = check_model(recipe, module if module is not None else build(recipe, dataset.inputs, dataset.outputs))
    dataset.problems += check_paths(recipe, model, dataset)
    sizes = anatomy(model, dataset.inputs, recipe.table("network")["name"])
    refuse(ranks, recipe, model)
    agree(ranks, dataset, recipe)
    if ranks.number:
        return _beside(ranks, dataset, model)
    where = launch(recipe.table("training"), sizes.macs * recipe.table("data")["batch_size"] // ranks.count)
    folder = RunFolder.create(out, dataset.name, recipe.table("network")["name"])
    with folder.writing():
        _finish(_new_job(folder, Job(dataset, recipe, model, where, Progress(quiet)), sizes), None, started)
    return Run(folder, module, dataset)


def asked_recipe(
    network: str | dict[str, Any] | None,
    loss: str | dict[str, Any] | None,
    optimizer: str | dict[str, Any] | None,
    schedule: str | dict[str, Any] | None,
    seed: int | None,
    recipe: Recipe | None,
    training: dict[str, Any],
) -> Recipe:
    """The recipe that a verb's arguments mean: parts by name or table, settings of training, laid over `recipe`."""
    recipe = recipe or Recipe()
    for name, part in {"network": network, "loss": loss, "optimizer": optimizer, "schedule": schedule}.items():
        if part is not None:
            table = {"name": part} if isinstance(part, str) else dict(part)
            recipe = recipe.updated({name: table}, say("argument {name}", name=name))
    recipe = recipe.updated({"training": training}, say("arguments")) if training else recipe
    return recipe if seed is None else recipe.set("seed", seed, say("arguments"))


def _new_job(folder: RunFolder, asked: Job, sizes: Anatomy) -> Job:
    """Write the records that stand before the first step, settle how steps are taken, and write what was settled.

    A run that ends meanwhile is `choosing`: it starts again from its recipe.
    """
    dataset, progress, began = asked.dataset, asked.progress, time.monotonic()
    facts: dict[str, Any] = {
        "id": uuid.uuid4().hex, "state": "choosing", "command": sys.argv, "cwd": str(Path.cwd()),
        "environment": environment(asked.launch), "in_memory": dataset.in_memory, "git": git_commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }  # fmt: skip
    replace_bytes(folder.path / "recipe.toml", asked.recipe.text().encode())
    folder.write("data.json", dataset.record())
    folder.write("anatomy.json", sizes.to_json())
    folder.write("run.json", facts)
    choice = choose(asked, sizes.macs)
    where = choice.onto(asked.launch) if choice is not None else asked.launch
    recipe = asked.recipe.updated({"training": where.settings()}, say("arguments"))
    text = recipe.text() + (f"\n{choice.comments()}" if choice is not None else "")
    replace_bytes(folder.path / "recipe.toml", text.encode())
    facts |= {"state": "running", "environment": environment(where), "why": str(where)}
    folder.write("run.json", {**facts, "choice": None if choice is None else asdict(choice)})
    progress.say(say("{run}: {where}", run=folder.path, where=where))
    progress.problems(dataset.problems)
    return Job(
        dataset, recipe, asked.model, where, progress, folder, facts["id"], folder.sources(), ranks=here(),
        spent=time.monotonic() - began,
    )  # fmt: skip


def _finish(job: Job, checkpoint: Any, started: float) -> None:
    """Train to the end, judge the best weights, and write every record."""
    folder = job.folder
    assert folder is not None
    show(job.ranks, folder)
    checkpoint = send(job.ranks, checkpoint)
    for line in notes(job.ranks, job.model, job.dataset, job.recipe.table("data")["batch_size"]):
        job.progress.say(line)
    try:
        outcome = fit(job, checkpoint)
    except Interrupted as signal:
        folder.write("run.json", {**folder.read("run.json"), "state": "interrupted"})
        job.progress.say(say("saved; continue with: netwright resume {run}", run=folder.path))
        raise signal
    report, tensors = judged(job, outcome)
    folder.seal_also("predictions.safetensors", save(tensors))
    report = {"run": str(folder.path), **report, "wall_seconds": time.monotonic() - started}
    folder.write("findings.json", {"findings": report["findings"], "notes": report["notes"]})
    folder.write("report.json", report)
    folder.write("run.json", {**folder.read("run.json"), "state": "finished"})
    write_report(Run(folder, job.model, job.dataset))
    show(job.ranks, folder)


def _beside(ranks: Ranks, dataset: Dataset, network: nn.Module, begun: RunFolder | None = None) -> Run:
    """What every other rank does: it trains along with rank 0, which writes and judges."""
    folder = begun or show(ranks, None)
    recipe, facts = stored_recipe(folder), folder.read("run.json")
    where = imposed(recipe.table("training"), facts["environment"])
    job = Job(dataset, recipe, network, where, Progress(quiet=True), ranks=ranks)
    fit(job, send(ranks, None))
    return Run(show(ranks, None), network, dataset)


def _resume_beside(ranks: Ranks, data: Any, network: nn.Module | None) -> Run:
    """Continue a run that rank 0 has opened."""
    folder = show(ranks, None)
    if folder.has("report.json") and folder.read("run.json").get("state") == "finished":
        return Run(folder, network)
    recipe = stored_recipe(folder)
    dataset = ranks.in_turn(lambda: read_again(folder, recipe, data) if folder.has("run.json") else _read(recipe, data))
    if network is None and recipe.table("network")["name"] != MODULE:
        network = build(recipe, dataset.inputs, dataset.outputs)
    if network is None:
        raise UsageError(_elsewhere(folder.path))
    refuse(ranks, recipe, network)
    agree(ranks, dataset, recipe)
    return _beside(ranks, dataset, network)


def judged(job: Job, outcome: Outcome) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The report of a training that is over, and what is kept of its test predictions: the best weights, judged."""
    load_weights(job.model, outcome.weights)
    forward = Forward(
        job.model, job.dataset.targets, job.recipe.table("loss")["name"], settings(job.recipe, "loss"),
        job.launch.device, job.launch.precision, job.launch.layout,
    )  # fmt: skip
    report, predictions = summarise(job, forward, outcome)
    if written := samples(forward, job.dataset.targets):
        report["samples"] = written
    if job.training["folds"]:
        report["folds"] = folds.cross_validate(job)
    return report, predictions


@together
def resume(path: Path | str, *, data: Any = None, network: nn.Module | None = None, quiet: bool = False) -> Run:
    """Continue a run from its newest verified checkpoint, to the same bits on the same machine.

    A finished run changes nothing. A run killed before its first checkpoint starts again from its recipe. `data` and
    `network` are needed only where the run was given arrays or a module in Python.
    """
    started = time.monotonic()
    ranks = here()
    if ranks.number:
        return _resume_beside(ranks, data, network)
    folder = RunFolder.open(path)
    progress = Progress(quiet)
    with folder.writing():
        begun = folder.has("run.json") and folder.read("run.json")["state"] != "choosing"
        if not begun and not folder.has("best.json"):  # killed before its first step: nothing is lost yet
            return _again(folder, data, network, progress, started)
        facts = folder.read("run.json")
        finished = facts.get("state") == "finished" and folder.has("report.json")
        if finished or folder.has("best.json"):  # a run still going may stand between its weights and their seal
            folder.verified(SEALED if finished else SEALED[1:])
            if folder.seal().get("run") != facts.get("id"):
                raise RunError(say("run folder {path}: {name} is damaged", path=folder.path, name="run.json"))
        checkpoint = newest(folder.path, str(facts.get("id")), folder.sources(), progress.say)
        if finished:
            progress.say(say("{run} is finished; nothing to do", run=path))
            show(ranks, folder)
            return Run(folder, network)
        recipe = stored_recipe(folder)
        show(ranks, folder)
        dataset = ranks.in_turn(lambda: read_again(folder, recipe, data))
        where = imposed(recipe.table("training"), facts["environment"])
        for line in [
            say("not bit-exact: {what}", what=what) for what in differences(facts["environment"], environment(where))
        ]:
            progress.say(line)
        if network is None and recipe.table("network")["name"] != MODULE:
            network = build(recipe, dataset.inputs, dataset.outputs)
        if network is None:
            raise UsageError(_elsewhere(path))
        refuse(ranks, recipe, network)
        agree(ranks, dataset, recipe)
        folder.write("run.json", {**facts, "state": "running"})
        job = Job(dataset, recipe, network, where, progress, folder, str(facts["id"]), folder.sources(), ranks=ranks)
        if checkpoint is None:
            folder.cut(0)
        progress.say(
            say("{run}: from step {step}; {where}", run=path, step=checkpoint.step if checkpoint else 0, where=where)
        )
        _finish(job, checkpoint, started)
    return Run(folder, network, dataset)


def _again(folder: RunFolder, data: Any, network: nn.Module | None, progress: Progress, started: float) -> Run:
    """Start a run from its recipe, as nothing of it was trained yet."""
    ranks = here()
    show(ranks, folder)
    recipe = stored_recipe(folder)
    dataset = ranks.in_turn(lambda: read_again(folder, recipe, data) if folder.has("run.json") else _read(recipe, data))
    if network is None and recipe.table("network")["name"] == MODULE:
        raise UsageError(_elsewhere(folder.path))
    model = check_model(recipe, network if network is not None else build(recipe, dataset.inputs, dataset.outputs))
    refuse(ranks, recipe, model)
    agree(ranks, dataset, recipe)
    sizes = anatomy(model, dataset.inputs, recipe.table("network")["name"])
    where = launch(recipe.table("training"), sizes.macs * recipe.table("data")["batch_size"] // ranks.count)
    _finish(_new_job(folder, Job(dataset, recipe, model, where, progress), sizes), None, started)
    return Run(folder, network, dataset)


def _read(recipe: Recipe, data: Any) -> Dataset:
    """The data of a run that has no record of them yet."""
    table = recipe.table("data")
    path = table.pop("path")
    return data if isinstance(data, Dataset) else read(path if data is None else data, **table)


def _elsewhere(path: Path | str) -> str:
    return say("{run} trained a module from Python; resume it there: resume(path, network=...)", run=path)
