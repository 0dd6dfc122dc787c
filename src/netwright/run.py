"""A `Run` is a handle on its folder; the verbs that read runs: open, evaluate, compare, write the report."""

import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED
from netwright.data.read import read
from netwright.deploy.generate import Manner, Samples, chat, generate
from netwright.deploy.predict import Predictor
from netwright.errors import DataError, RunError, UsageError, first_line
from netwright.language import say
from netwright.recipe import Recipe
from netwright.report import page as html
from netwright.report.compare_sequences import compare_stored, same_text
from netwright.report.pictures import pictures
from netwright.report.sources import sources
from netwright.report.stored import is_whole
from netwright.report.summary import baseline_scores, judge_split, judgement_json
from netwright.report.words import Comparison, Evaluation, report_text
from netwright.rundir import RunFolder
from netwright.storage import replace_bytes
from netwright.training.answers import answers
from netwright.training.checkpoints import from_bytes
from netwright.training.job import stored_recipe


class Run:
    """A run folder with its verbs. The fields of `netwright train --json` are attributes: `run.test["accuracy"]`."""

    def __init__(self, folder: RunFolder, network: nn.Module | None = None, dataset: Dataset | None = None) -> None:
        self.folder, self._network, self._dataset = folder, network, dataset
        self.path = folder.path
        self.proof: dict[str, Any] | None = None
        """The paired test behind it, where `prove` gave it back."""

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

    def generate(
        self, prompt: str = "", *, length: int = 0, temperature: float = 0.8, top_k: int = 0, top_p: float = 1.0,
        seed: int = 0, count: int = 1, form: str = "", out: Path | None = None,
    ) -> Samples:  # fmt: skip
        """`count` samples that go on from `prompt`, of a run that writes; see `netwright.deploy.generate`."""
        trained, manner = self.predictor(), Manner(temperature, top_k, top_p, seed)
        return generate(
            trained.forward, trained.targets, trained.encoder, prompt, length=length, manner=manner, count=count,
            form=form, out=out,
        )  # fmt: skip

    def chat(self, lines: Iterable[str], *, temperature: float = 0.0, seed: int = 0) -> list[dict[str, str]]:
        """A reply to every line: `{"prompt", "text"}`."""
        trained = self.predictor()
        return list(chat(trained.forward, trained.targets, trained.encoder, lines, Manner(temperature, seed=seed)))

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


def open_run(path: Path | str, network: nn.Module | None = None) -> Run:
    """A handle on an existing run folder."""
    return Run(RunFolder.open(path), network)


def read_again(folder: RunFolder, recipe: Recipe, data: Any = None) -> Dataset:
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


def evaluate(run: Run | Path | str, data: Any = None, targets: Any = None, say_line: Any = None) -> Evaluation:
    """Metrics with intervals, confusion and baselines on the run's test examples, or on all of `data`
    (its test set, where it states one), with the run's own preprocessing and classes. `say_line` hears what was odd."""
    run = run if isinstance(run, Run) else open_run(run)
    predictor = run.predictor()
    if data is None:
        dataset = run._dataset or read_again(run.folder, run.recipe)
        answered = answers(predictor.forward, dataset, "test")
        judged, loss = judge_split(dataset, "test", answered), answered.loss
        found, ids = baseline_scores(dataset), dataset.ids("test")
    else:
        judged, loss, ids, examples = predictor.judge_source(data, targets, say_line)
        found = _baselines_on(run, examples, say_line)
    return Evaluation(run=str(run.path), task=judged.task, loss=loss, baseline=found, **judgement_json(judged, ids))


def _baselines_on(
    run: Run, examples: tuple[np.ndarray, np.ndarray] | Dataset, say_line: Any = None
) -> dict[str, dict[str, Any]]:
    """Baselines on new examples, learnt from the run's training split; none where that cannot be read any more."""
    try:
        return baseline_scores(run._dataset or read_again(run.folder, run.recipe), examples)
    except (DataError, UsageError) as error:
        if say_line is not None:
            say_line(say("no baselines: {why}", why=first_line(error)))
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
    kept = [_stored(run) for run in (first, second)]
    same_pieces = records[0]["test_fingerprint"] == records[1]["test_fingerprint"]
    if records[0]["task"] != records[1]["task"] or not (same_pieces or same_text(*kept)):
        text = say("{first} and {second} were tested on different examples; a paired test needs the same",
                   first=first.path, second=second.path)  # fmt: skip
        raise RunError(text)
    task, classes = records[0]["task"], [[row["name"] for row in record["classes"]] for record in records]
    if task == "classify" and classes[0] != classes[1]:
        text = say("{first} tells {a} classes apart, {second} others ({b}); a paired test needs the same",
                   first=first.path, second=second.path, a=len(classes[0]), b=len(classes[1]))  # fmt: skip
        raise RunError(text)
    tokens = [record.get("targets", {}).get("text") for record in records]
    found = compare_stored(task, kept[0], kept[1], same_tokens=tokens[0] == tokens[1])
    return {"first": str(first.path), "second": str(second.path), **found, "recipe": first.recipe.diff(second.recipe)}


def _stored(run: Run) -> dict[str, np.ndarray]:
    """What a run kept of its test examples."""
    name = "predictions.safetensors"
    found = {
        key: tensor.numpy() for key, tensor in from_bytes(_predictions(run.folder, name), str(run.path / name)).items()
    }
    if not is_whole(run.folder.read("data.json")["task"], found):
        raise RunError(say("run folder {path}: {name} is damaged", path=run.path, name=name))
    return found


def _predictions(folder: RunFolder, name: str) -> bytes:
    """A run's stored predictions; older runs did not seal them."""
    sealed = name in folder.seal()["sha256"]
    return folder.verified((name,))[name] if sealed else folder.read_bytes(name)


def write_report(run: Run) -> Path:
    """Write the run's self-contained HTML page and return its path."""
    folder = run.folder
    report = folder.read("report.json")
    mistakes = [dict(mistake) for mistake in report["mistakes"]]
    dataset = run._dataset
    if dataset is None:
        try:
            dataset = read_again(folder, run.recipe)
        except (DataError, UsageError):  # the data has moved: the page says the rest
            dataset = None
    for mistake in mistakes:
        mistake["picture"] = _picture(dataset, mistake["position"]) if dataset is not None else None
    content = {
        "name": folder.path.name, "run": folder.read("run.json"),
        "recipe": folder.read_bytes("recipe.toml").decode("utf-8", "replace"),
        "report": {**report, "mistakes": mistakes}, "curves": folder.rows(),
        "anatomy": folder.read("anatomy.json"), "data": folder.read("data.json"),
        "beside": {} if dataset is None else sources(dataset, report), **_inside(run, dataset),
    }  # fmt: skip
    path = folder.path / "report.html"
    try:
        replace_bytes(path, html.page(content).encode())
    except OSError as error:
        text = say("run folder {path}: {name} cannot be written: {why}", path=folder.path, name=path.name,
                   why=error.strerror or error)  # fmt: skip
        raise RunError(text) from None
    return path


def _inside(run: Run, dataset: Dataset | None) -> dict[str, Any]:
    """Pictures of the network itself; none where its data or weights are gone, or the module came from Python."""
    if dataset is None:
        return {}
    try:
        return pictures(run.predictor(), dataset)
    except (DataError, RunError, UsageError):
        return {}


def _picture(dataset: Dataset, position: int) -> bytes | None:
    if dataset.kind != "image" or not 0 <= position < dataset.examples["test"]:
        return None
    example = dataset.source.examples.take(dataset.splits["test"][[position]])[0].numpy()
    if example.dtype != np.uint8:
        low, high = float(example.min()), float(example.max())
        example = np.uint8(255 * (example - low) / (high - low)) if high > low else np.zeros_like(example, np.uint8)
    return html.png(example, max(1, 96 // max(example.shape[1:])))
