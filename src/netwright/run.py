"""Verbs on whole runs: train, resume, open, evaluate, compare. A `Run` is a handle on its folder."""

import os
import sys
import time
import uuid
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED
from netwright.data.read import read
from netwright.deploy.predict import Predictor
from netwright.errors import DataError, RunError, UsageError
from netwright.language import say
from netwright.measures.anatomy import anatomy
from netwright.recipe import MODULE, Recipe
from netwright.report import page as html
from netwright.report.compare import compare_outputs
from netwright.report.summary import baseline_scores, judgement_json, summarise
from netwright.report.words import Comparison, Evaluation, report_text
from netwright.rundir import SEALED, RunFolder, replace_bytes, sha256
from netwright.training import folds
from netwright.training.checkpoints import from_bytes, newest
from netwright.training.forward import Forward
from netwright.training.job import Job, check, check_model, stored_recipe
from netwright.training.keeper import truths
from netwright.training.launch import Launch, differences, environment, git_commit, launch
from netwright.training.plan import build, from_catalogue, resolve, settings
from netwright.training.progress import Progress
from netwright.training.signals import Interrupted
from netwright.training.state import load_weights
from netwright.training.stopping import Condition
from netwright.training.train import fit


class Run:
    """A run folder with its verbs. The fields of `netwright train --json` are attributes: `run.test["accuracy"]`."""

    def __init__(self, folder: RunFolder, network: nn.Module | None = None, dataset: Dataset | None = None) -> None:
        self.folder, self._network, self._dataset = folder, network, dataset
        self.path = folder.path

    @property
    def report(self) -> dict[str, Any]:
        """report.json: scores, baselines, findings, notes."""
        return self.folder.read("report.json")

    @property
    def recipe(self) -> Recipe:
        return stored_recipe(self.folder)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        report = self.report
        if name not in report:
            raise AttributeError(f"a run has no field {name!r}; it has: {', '.join(report)}")
        return report[name]

    def predictor(self) -> Predictor:
        """The network with its own preprocessing, every file verified before use."""
        return Predictor.open(self.folder, self._network)

    def predict(self, *inputs: Any, say_line: Any = None) -> Any:
        """Predictions for files, folders, arrays, rows or data frames; see `netwright.deploy.predict`."""
        return self.predictor().predict(inputs, say_line)

    def evaluate(self, data: Any = None, targets: Any = None) -> "Evaluation":
        """Metrics with 95 % intervals on the run's own test examples, or on new data."""
        return evaluate(self, data, targets)

    def write_report(self) -> Path:
        """Write report.html: one self-contained page."""
        return write_report(self)

    def to_json(self) -> dict[str, Any]:
        return self.report

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __str__(self) -> str:
        return report_text(self.report)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


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
    dataset = _dataset(data, targets, recipe)
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
        _finish(_new_job(folder, dataset, recipe, model, where, progress), None, started)
    return Run(folder, module, dataset)


def _dataset(data: Any, targets: Any, recipe: Recipe) -> Dataset:
    if isinstance(data, Dataset):
        if targets is not None:
            raise UsageError(say("targets go with arrays; {path} holds its own", path=data.name))
        if recipe.table("data"):
            raise UsageError(say("data settings belong to read(), which has made this data set already"))
        return data
    table = recipe.table("data")
    path = table.pop("path", "digits")
    return read(path if data is None else data, targets, **table)


def _new_job(
    folder: RunFolder, dataset: Dataset, recipe: Recipe, model: nn.Module, where: Launch, progress: Progress
) -> Job:
    """Write the records that stand before the first step, run.json last: a folder without it starts again."""
    run_id = uuid.uuid4().hex
    replace_bytes(folder.path / "recipe.toml", recipe.text().encode())
    folder.write("data.json", dataset.record())
    folder.write("anatomy.json", anatomy(model, dataset.inputs, recipe.table("network")["name"]).to_json())
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
        dataset = _read_again(folder, recipe, data)
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
    _finish(_new_job(folder, dataset, recipe, model, launch(recipe.table("training")), progress), None, started)
    return Run(folder, network, dataset)


def _device(facts: dict[str, Any]) -> str:
    return "cpu" if facts["environment"]["device"] == "cpu" else "cuda"


def _read_again(folder: RunFolder, recipe: Recipe, data: Any = None) -> Dataset:
    """The run's data, read again; data that changed since is refused."""
    record = folder.read("data.json")
    if data is None and folder.read("run.json").get("in_memory"):
        raise UsageError(say("{run} was given its data in Python; hand it over again: data=...", run=folder.path))
    table = recipe.table("data")
    path = _found_again(table.pop("path"), folder)
    dataset = data if isinstance(data, Dataset) else read(path if data is None else data, **table)
    if dataset.fingerprint != record["fingerprint"]:
        raise DataError(
            say(
                "the data at {path} is not what {run} was trained on (it has changed since)", path=path, run=folder.path
            )
        )
    if names := dataset.differs(record["settings"]):
        raise DataError(say("{run} read its data with other settings of {names}", run=folder.path, names=names))
    return dataset


def _found_again(path: str, folder: RunFolder) -> str:
    """A relative path counts from the current folder, or else from where the run was started."""
    there = os.path.join(str(folder.read("run.json").get("cwd", "")), path)
    lost = path not in EMBEDDED and not os.path.exists(os.path.expanduser(path))
    return there if lost and os.path.exists(there) else path


def open_run(path: Path | str, network: nn.Module | None = None) -> Run:
    """A handle on an existing run folder."""
    return Run(RunFolder.open(path), network)


def evaluate(run: Run | Path | str, data: Any = None, targets: Any = None, say_line: Any = None) -> Evaluation:
    """Metrics with intervals, confusion and baselines on the run's test examples, or on all of `data`
    (its test set, where it states one), with the run's own preprocessing and classes. `say_line` hears what was odd."""
    run = run if isinstance(run, Run) else open_run(run)
    predictor = run.predictor()
    if data is None:
        dataset = run._dataset or _read_again(run.folder, run.recipe)
        outputs = predictor.forward.split_outputs(dataset, "test")
        judged = predictor.judge(truths(dataset, "test"), outputs)
        loss = predictor.forward.mean_loss(outputs, dataset.target_tensor("test"))
        found, ids = baseline_scores(dataset), dataset.ids("test")
    else:
        judged, loss, ids, examples = predictor.judge_source(data, targets, say_line)
        found = _baselines_on(run, examples)
    return Evaluation(run=str(run.path), loss=loss, baseline=found, **judgement_json(judged, ids))


def _baselines_on(run: Run, examples: tuple[np.ndarray, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Baselines on new examples; none where the training data cannot be read any more."""
    try:
        return baseline_scores(run._dataset or _read_again(run.folder, run.recipe), examples)
    except (DataError, UsageError):
        return {}


def compare(*runs: Run | Path | str) -> Comparison:
    """Paired tests of every run against the first on the same test examples, and how the recipes differ."""
    if len(runs) < 2:
        raise UsageError(say("compare wants two runs or more, {count} came", count=len(runs)))
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    pairs = [_pair(opened[0], other) for other in opened[1:]]
    names = [str(run.path) for run in opened]
    return Comparison({"runs": names, **pairs[0], **({"pairs": pairs} if len(pairs) > 1 else {})})


def _pair(first: Run, second: Run) -> dict[str, Any]:
    records = [run.folder.read("data.json") for run in (first, second)]
    if any(records[0][key] != records[1][key] for key in ("test_fingerprint", "task")):
        text = say("{first} and {second} were tested on different examples; a paired test needs the same",
                   first=first.path, second=second.path)  # fmt: skip
        raise RunError(text)
    classes = [[row["name"] for row in record["classes"]] for record in records]
    if classes[0] != classes[1]:
        text = say("{first} tells {a} classes apart, {second} others ({b}); a paired test needs the same",
                   first=first.path, second=second.path, a=len(classes[0]), b=len(classes[1]))  # fmt: skip
        raise RunError(text)
    name = "predictions.safetensors"
    stored = [from_bytes(run.folder.read_bytes(name), str(run.path / name)) for run in (first, second)]
    for run, found in zip((first, second), stored, strict=True):
        if not {"truth", "predictions"} <= found.keys():
            raise RunError(say("run folder {path}: {name} is damaged", path=run.path, name=name))
    truth = stored[0]["truth"].numpy()
    outputs = [found["predictions"].numpy() for found in stored]
    found = dict(compare_outputs(records[0]["task"], truth, outputs[0], outputs[1]))
    return {"first": str(first.path), "second": str(second.path), **found, "recipe": first.recipe.diff(second.recipe)}


def write_report(run: Run) -> Path:
    """Write the run's self-contained HTML page and return its path."""
    folder = run.folder
    report = folder.read("report.json")
    mistakes = [dict(mistake) for mistake in report["mistakes"]]
    dataset = run._dataset
    if dataset is None:
        try:
            dataset = _read_again(folder, run.recipe)
        except (DataError, UsageError):  # the data has moved: the page says the rest
            dataset = None
    for mistake in mistakes:
        mistake["picture"] = _picture(dataset, mistake["position"]) if dataset is not None else None
    content = {
        "name": folder.path.name, "run": folder.read("run.json"),
        "recipe": folder.read_bytes("recipe.toml").decode("utf-8", "replace"),
        "report": {**report, "mistakes": mistakes}, "curves": folder.rows(),
        "anatomy": folder.read("anatomy.json"), "data": folder.read("data.json"),
    }  # fmt: skip
    path = folder.path / "report.html"
    replace_bytes(path, html.page(content).encode())
    return path


def _picture(dataset: Dataset, position: int) -> bytes | None:
    if dataset.kind != "image" or not 0 <= position < dataset.examples["test"]:
        return None
    example = dataset.source.examples.take(dataset.splits["test"][[position]])[0].numpy()
    if example.dtype != np.uint8:
        low, high = float(example.min()), float(example.max())
        example = np.uint8(255 * (example - low) / (high - low)) if high > low else np.zeros_like(example, np.uint8)
    return html.png(example, max(1, 96 // max(example.shape[1:])))
