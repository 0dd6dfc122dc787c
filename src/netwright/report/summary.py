"""report.json: how good the finished network is, beside honest baselines, and what was found."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from netwright.data.dataset import Dataset
from netwright.doctor.symptoms import Trace, examine
from netwright.language import say
from netwright.parts.metrics import metrics_of
from netwright.randomness import permutation
from netwright.report.bag import bag_scores
from netwright.report.baselines.by_task import sequence_baselines
from netwright.report.baselines.simple import CELLS, baselines
from netwright.report.judge import Judgement, judge
from netwright.report.judge_sequences import judge_answers
from netwright.report.stored import stored
from netwright.training.answers import Answers, answers, measured, truths
from netwright.training.forward import Forward
from netwright.training.job import Job, units_of
from netwright.training.keeper import Outcome
from netwright.training.objective import on_outputs
from netwright.training.plan import settings
from netwright.training.quotients import watched

BASELINE_ROWS = 10_000
"""Baselines learn from at most so many training examples, drawn by a fixed seed."""
TRAIN_SAMPLE = 5000
"""At most so many training examples tell the gap to validation."""


def summarise(job: Job, forward: Forward, outcome: Outcome) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The run's report, and what is kept of its test predictions."""
    dataset = job.dataset
    answered = {name: answers(forward, dataset, name) for name in ("validation", "test")}
    judged = judge_split(dataset, "test", answered["test"])
    scores = {name: _scores(dataset, name, found) for name, found in answered.items()}
    scores["test"] |= {name: found["value"] for name, found in judged.metrics.items()}
    found_baselines = baseline_scores(dataset)
    trace = _trace(job, forward, outcome, scores["validation"], judged)
    trace = replace(trace, behind=behind(judged, found_baselines), quotients=_quotients(job))
    if trace.non_finite is None and judged.not_finite:
        trace = replace(trace, non_finite=_untestable(dataset, answered["test"], outcome))
    findings, notes = examine(trace)
    report = {
        "task": dataset.task,
        "network": job.recipe.table("network")["name"],
        "parameters": sum(parameter.numel() for parameter in forward.model.parameters()),
        "epochs": outcome.epochs,
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "examples_per_second": outcome.examples_per_second,
        "best_epoch": outcome.best.epoch,
        "stopped": outcome.stopped,
        "test": scores["test"],
        "validation": scores["validation"],
        "baseline": found_baselines,
        "findings": [finding.to_json() for finding in findings],
        "notes": [note.to_json() for note in notes],
        **judgement_json(judged, dataset.ids("test")),
        **bag_scores(dataset, forward, job.recipe.seed),
    }
    return report, stored(dataset, answered["test"])


def behind(judged: Judgement, found: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The best baseline where it is better than the network beyond the interval of the network's score, and by 5
    points; None elsewhere."""
    name = {"classify": "accuracy", "regress": "r2"}.get(judged.task, "")
    own = judged.metrics.get(name)
    best = max(((scores.get(name) or -math.inf, label) for label, scores in found.items()), default=(-math.inf, ""))
    if (
        own is None
        or own["value"] is None
        or best[0] - own["value"] < 0.05
        or best[0] <= (own.get("high") or own["value"])
    ):
        return None
    return {"metric": name, "reached": own["value"], "baseline": best[1], "value": best[0]}


def _quotients(job: Job) -> list[float]:
    """The line quotients in the run's log; none without a folder."""
    rows = watched(job.folder.rows()) if job.folder is not None else []
    return [row["q"] for row in rows if "q" in row]


def judge_split(dataset: Dataset, split: str, found: Answers) -> Judgement:
    """What the network's answers to a split are worth."""
    truth = truths(dataset, split) if found.truth is None else found.truth
    if dataset.task in ("classify", "regress"):
        return judge(dataset.task, truth, found.predictions, dataset.classes)
    return judge_answers(dataset.task, truth, found)


def _untestable(dataset: Dataset, found: Answers, outcome: Outcome) -> dict[str, Any]:
    """Test examples for which the finished network gives no finite answer."""
    ids = dataset.ids("test")
    examples = [ids[place] for place in found.broken]
    return {"where": say("test output"), "step": outcome.steps, "epoch": outcome.best.epoch, "examples": examples}


def judgement_json(judged: Judgement, ids: list[str]) -> dict[str, Any]:
    """Metrics with intervals, confusion (or residuals) and the most confident mistakes, named by file or row."""
    found = judged.json()
    found["mistakes"] = [{**mistake, "input": ids[int(mistake["position"])]} for mistake in found["mistakes"]]
    return found


def baseline_scores(
    dataset: Dataset, other: tuple[np.ndarray, np.ndarray] | Dataset | None = None
) -> dict[str, dict[str, Any]]:
    """What a constant, a linear model and the nearest neighbours, or the simple methods of a sequence task, reach on
    the same test examples, or on `other`: encoded inputs, one flat row an example, and their truth; of sequences a
    data set, its test split."""
    if isinstance(other, Dataset):
        return sequence_baselines(dataset, other) if other.examples["test"] else {}
    if not (dataset.examples["test"] if other is None else len(other[1])):
        return {}
    if dataset.is_ragged or dataset.task in ("forecast", "translate"):
        return sequence_baselines(dataset) if other is None else {}
    cells = int(np.prod(dataset.shape)) if dataset.kind != "table" else 1
    most = min(BASELINE_ROWS, max(1000, CELLS // max(cells, 1)))
    chosen = np.sort(permutation(dataset.examples["train"], "baseline")[:most])
    train = _features(dataset, dataset.splits["train"][chosen])
    test, truth = other or (_features(dataset, dataset.splits["test"]), truths(dataset, "test"))
    return baselines(dataset.task, train, truths(dataset, "train")[chosen], test, truth, len(dataset.classes))


def _features(dataset: Dataset, positions: np.ndarray) -> np.ndarray:
    """What the network reads, one flat row an example."""
    return dataset.encoder.encode(dataset.source.examples.take(positions)).flatten(1).numpy()


def _scores(dataset: Dataset, split: str, found: Answers) -> dict[str, Any]:
    """Loss and every metric of the task on a split, as plain numbers; those of the test come from its judgement."""
    if not dataset.examples[split]:
        return {}
    values = measured(dataset, split, found, metrics_of(dataset.task) if split != "test" else [])
    return {"loss": found.loss, **{name: value for name, value in values.items() if value is not None}}


def _trace(job: Job, forward: Forward, outcome: Outcome, validation: dict[str, Any], judged: Judgement) -> Trace:
    dataset = job.dataset
    name = {"classify": "accuracy", "regress": "r2"}.get(dataset.task, "")
    seen = None
    if name:
        sample = np.linspace(0, dataset.examples["train"] - 1, min(TRAIN_SAMPLE, dataset.examples["train"])).astype(int)
        seen = answers(forward, dataset, "train", sample).of(name, truths(dataset, "train")[sample])
    counts = (
        np.bincount(truths(dataset, "train"), minlength=len(dataset.classes)) if dataset.classes else np.zeros(0, int)
    )
    confusion = np.array(judged.confusion) if judged.confusion is not None else np.zeros((0, 0))
    recalls = [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(confusion)]
    model = forward.model
    return Trace(
        dataset.task, job.recipe.table("loss")["name"], constant_loss(job), outcome.lowest_train_loss,
        {name: seen} if name else {}, validation, counts.tolist(), dataset.classes, recalls, outcome.still,
        [label for label, parameter in model.named_parameters() if not parameter.requires_grad],
        outcome.non_finite, outcome.steps, {table: job.recipe.table(table) for table in job.recipe.tables},
        outcome.stopped,
    )  # fmt: skip


def constant_loss(job: Job) -> float:
    """The training loss of the best constant outputs: found by minimising it, exactly for every convex loss.

    For cross-entropy that is the entropy of the class shares, for squared errors the variance.
    """
    dataset = job.dataset
    if (
        dataset.task not in ("classify", "regress", "forecast")
        or hasattr(job.model, "objective")
        or hasattr(job.model, "update")
        or job.weights is not None
    ):
        return math.nan
    if job.training["class_weights"] != "none" or dataset.examples["train"] == 0:
        return math.nan
    from netwright.training.plan import head

    name = job.recipe.table("loss")["name"]
    units = head(dataset.outputs, name, settings(job.recipe, "loss"))["units"]
    targets = dataset.target_tensor("train")
    outputs = torch.zeros(1, units, dtype=torch.float64, requires_grad=True)
    targets = targets.double() if targets.is_floating_point() else targets
    loss = on_outputs(name, settings(job.recipe, "loss"), units_of(dataset))
    search = torch.optim.LBFGS(
        [outputs], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        search.zero_grad()
        value = loss(outputs.expand(len(targets), units), targets).mean()
        value.backward()
        return value

    search.step(closure)
    return closure().item()
