"""What bagging brought: the estimate from examples out of the bag, and each member by itself."""

import math
from dataclasses import replace
from typing import Any

import torch

from netwright.data.dataset import Dataset
from netwright.parts.metrics import metrics_of
from netwright.report.judge import judge
from netwright.training.answers import Answers, measured, truths
from netwright.training.bagging import Bagged, samples
from netwright.training.forward import Forward, combined


def bag_scores(dataset: Dataset, forward: Forward, seed: int) -> dict[str, Any]:
    """`out_of_bag`: loss and metrics with intervals on the training examples, each answered by those members alone that
    did not draw it; `members`: each one's own scores on the test examples. Nothing for a single network."""
    if not isinstance(forward.model, Bagged):
        return {}
    alone = [replace(forward, model=member) for member in forward.model.members]
    return {"out_of_bag": _out_of_bag(dataset, forward, alone, seed), "members": [_test(dataset, one) for one in alone]}


def _out_of_bag(dataset: Dataset, forward: Forward, alone: list[Forward], seed: int) -> dict[str, Any]:
    train = dataset.splits["train"]
    assert dataset.source.targets is not None
    counts = samples(seed, len(alone), train, len(dataset.source.targets))[:, torch.from_numpy(train)]
    free = counts == 0
    seen = free.any(0)
    places = seen.nonzero()[:, 0]
    if not len(places):
        return {"examples": 0, "loss": None, "metrics": {}}
    answers = torch.stack([one.split_outputs(dataset, "train").cpu()[places] for one in alone])
    outputs = combined(answers, forward.link, free[:, places])
    found = judge(dataset.task, truths(dataset, "train")[places.numpy()], forward.predictions(outputs), dataset.classes)
    loss = forward.mean_loss(outputs, dataset.target_tensor("train")[places])
    return {"examples": len(places), "loss": loss, "metrics": found.metrics}


def _test(dataset: Dataset, forward: Forward) -> dict[str, Any]:
    if not dataset.examples["test"]:
        return {}
    outputs = forward.split_outputs(dataset, "test")
    names = metrics_of(dataset.task)
    found = measured(dataset, "test", Answers(math.nan, forward.predictions(outputs)), names)
    known = {name: value for name, value in found.items() if value is not None}
    return {"loss": forward.mean_loss(outputs, dataset.target_tensor("test")), **known}


def spread(report: dict[str, Any], metric: str) -> tuple[float, float, float] | None:
    """Least, mean and greatest score of the members in a metric; None without members."""
    values = [found[metric] for found in report.get("members", []) if found.get(metric) is not None]
    return (min(values), sum(values) / len(values), max(values)) if values else None
