"""Cross-validation: every example of the training part is held out once."""

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from netwright.data.read import fit_encoder
from netwright.data.splits import folds as divide
from netwright.data.targets import fit_targets
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics import metrics_of
from netwright.recipe import MODULE, Recipe
from netwright.training.answers import Answers, measured
from netwright.training.forward import Forward
from netwright.training.job import Job
from netwright.training.plan import build, settings
from netwright.training.published import again
from netwright.training.state import load_weights
from netwright.training.train import fit

if TYPE_CHECKING:
    from netwright.data.dataset import Dataset


def cross_validate(job: Job) -> dict[str, Any]:
    """Train one network a fold on the rest of the training and validation examples; the test set stays aside.

    Returns `{count, metrics: {name: {value, low, high, values}}}`: the mean over the folds with its 95 % interval
    (Student's t over folds).
    """
    count = job.training["folds"]
    rows: list[dict[str, float | None]] = []
    for number, (train, held) in enumerate(_parts(job.dataset, count), 1):
        job.progress.say(say("fold {number} of {count}", number=number, count=count))
        rows.append(_fold(job, train, held))
    return {"count": count, "metrics": {name: _mean([row[name] for row in rows]) for name in rows[0]}}


def check(recipe: Recipe, dataset: "Dataset") -> None:
    """Refuse folds that cannot be, before anything is trained."""
    if not recipe.table("training")["folds"]:
        return
    if recipe.table("network")["name"] == MODULE:
        text = say("training.folds trains a new network for each fold: name one of the catalogue instead of a module")
        raise UsageError(text)
    if dataset.task not in ("classify", "regress"):
        text = say("training.folds is for classes and numbers; this task is {task}", task=dataset.task)
        raise UsageError(text)
    _parts(dataset, recipe.table("training")["folds"])


def _parts(dataset: "Dataset", count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    pool = np.sort(np.concatenate([dataset.splits["train"], dataset.splits["validation"]]))
    assert dataset.source.targets is not None
    strata = None
    if dataset.classes:
        strata = np.full(len(dataset.source.targets), -1)
        strata[pool] = np.asarray(dataset.targets.encode(dataset.source.targets[pool]))
    held = divide(pool, count, strata, dataset.source.groups, dataset.settings["split_seed"])
    return [(np.setdiff1d(pool, part), part) for part in held]


def _fold(job: Job, train: np.ndarray, held: np.ndarray) -> dict[str, float | None]:
    """Metrics on the held-out part, of a network trained on the rest with statistics of that rest alone."""
    dataset = copy.copy(job.dataset)
    dataset._encoded, dataset._rows, dataset._sequences = {}, None, {}
    dataset.splits = {"train": train, "validation": held[:0], "test": held}
    dataset.encoder = fit_encoder(dataset.source, train, dataset.settings)
    if dataset.task == "regress":
        dataset.targets = fit_targets(dataset.source, dataset.task, train)
    model = build(job.recipe, dataset.inputs, dataset.outputs)
    again(job, model)
    recipe = job.recipe.updated(
        {"training": {"epochs": max(1, job.training["epochs"]), "until": "", "stop_after": 0}}, "folds"
    )
    outcome = fit(Job(dataset, recipe, model, job.launch, job.progress))
    load_weights(model, outcome.weights)
    forward = Forward(
        model,
        dataset.targets,
        job.recipe.table("loss")["name"],
        settings(job.recipe, "loss"),
        job.launch.device,
        job.launch.precision,
        job.launch.layout,
    )
    predictions = forward.predictions(forward.split_outputs(dataset, "test"))
    names = metrics_of(dataset.task)
    return measured(dataset, "test", Answers(math.nan, predictions), names)


def _mean(values: list[float | None]) -> dict[str, Any]:
    from scipy.stats import t

    known = np.array([value for value in values if value is not None])
    if len(known) < 2:
        return {"value": float(known[0]) if len(known) else None, "low": None, "high": None, "values": values}
    reach = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    mean = float(known.mean())
    return {"value": mean, "low": mean - reach, "high": mean + reach, "values": values}
