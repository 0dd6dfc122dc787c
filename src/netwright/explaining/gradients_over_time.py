"""Gradients over time of a run, on some of its own training examples."""

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.data.batches import Batch
from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED
from netwright.data.read import read
from netwright.deploy.predict import Predictor
from netwright.errors import DataError, UsageError
from netwright.explaining.answering import main
from netwright.explaining.drawing import Canvas
from netwright.explaining.heatmaps import log_curves
from netwright.language import say
from netwright.measures.time_gradients import GradientOverTime, Loss, gradient_over_time
from netwright.parts.sequences import Sequences
from netwright.rundir import RunFolder
from netwright.training.job import stored_recipe, units_of
from netwright.training.objective import Draw, objective_of

EXAMPLES = 8
"""Training examples that are averaged over, evenly spread over the split."""
LONGEST = 1000
"""Steps of an example that are read, its beginning."""


def of_run(
    folder: RunFolder, predictor: Predictor, model: nn.Module, dataset: Dataset | None = None
) -> GradientOverTime:
    """The gradient over time of a run. Errors: DataError or UsageError where its data cannot be read again."""
    dataset = dataset or again(folder)
    count = dataset.examples["train"]
    places = np.unique(np.linspace(0, count - 1, min(count, EXAMPLES)).round().astype(int))
    batch, losses = [], []
    for place in places.tolist():
        inputs, targets = example(dataset, place)
        batch.append(inputs)
        losses.append(_loss(predictor, model, dataset, targets))
    return gradient_over_time(model, batch, losses)


def again(folder: RunFolder) -> Dataset:
    """The run's data, read again; data that changed since, or that came from Python, is refused."""
    if folder.read("run.json").get("in_memory"):
        raise UsageError(say("{run} was given its data in Python", run=folder.path))
    table = stored_recipe(folder).table("data")
    path = str(table.pop("path"))
    there = os.path.join(str(folder.read("run.json").get("cwd", "")), path)
    lost = path not in EMBEDDED and not os.path.exists(os.path.expanduser(path))
    dataset = read(there if lost and os.path.exists(there) else path, **table)
    if dataset.fingerprint != folder.read("data.json")["fingerprint"]:
        raise DataError(say("the data at {path} have changed since the training", path=path))
    return dataset


def example(dataset: Dataset, place: int) -> tuple[Any, Any]:
    """A training example as a batch of one, and its target."""
    positions = dataset.splits["train"][[place]]
    if not dataset.is_ragged:
        values = dataset.encode(positions).double()
        return values[:, :LONGEST] if values.dim() == 3 else values, _target(dataset, positions)
    if dataset.task == "generate":
        reads, says = dataset.sequences("train")
        return _one(reads[place][:LONGEST]), _one(says[place][:LONGEST])
    inputs = dataset.encode(positions)
    values = inputs.values[:, :LONGEST]
    values = values.double() if values.is_floating_point() else values
    target = _target(dataset, positions)
    if dataset.task == "tag":
        target = Sequences(target.values[:, :LONGEST], target.lengths.clamp(max=LONGEST))
    traits = inputs.traits[:, :LONGEST].long() if inputs.traits is not None else None
    return Sequences(values, inputs.lengths.clamp(max=LONGEST), traits), target


def _one(numbers: Tensor) -> Sequences:
    return Sequences(numbers[None], torch.tensor([len(numbers)]))


def _target(dataset: Dataset, positions: np.ndarray) -> Any:
    assert dataset.source.targets is not None
    found = dataset.targets.encode(dataset.source.targets[positions])
    if isinstance(found, Tensor):
        return found.double() if found.is_floating_point() else found
    return found.padded()


def _loss(predictor: Predictor, model: nn.Module, dataset: Dataset, targets: Any) -> Loss:
    """The loss of one example; of networks that answer at every step the loss of the last step."""
    if dataset.task in ("tag", "generate"):
        last = targets.values[:, -1]
        return lambda inputs: F.cross_entropy(main(model(inputs))[:, -1], last)
    forward = predictor.forward
    objective = objective_of(model, dataset.task, forward.loss, forward.loss_settings, units_of(dataset))

    def loss(inputs: Any) -> Tensor:
        return objective(model, Batch(inputs, targets, None, np.zeros(1, int), 0), Draw(0, 0)).loss

    return loss


def draw(found: GradientOverTime, title: str) -> list[tuple[str, str, Canvas]]:
    """(name, what it is, picture) of the states' curves and of what enters."""
    words = say("distance in steps")
    told = say(
        "the mean over {count} training examples; a straight line is a fixed factor a step", count=found.examples
    )
    curves = [(f"{one.name} (x {one.factor:.3g})", one.norms) for one in found.states]
    pictures = [
        ("gradient_over_time", say("how much of a change of the state is left, by distance in time"),
         log_curves(title, told, curves, words, "|dh(T) / ds(t)|"))
    ]  # fmt: skip
    if found.inputs is not None:
        title = say("Gradient of the loss at what entered, by distance from the end")
        curve = [(f"{say('inputs')} (x {found.inputs.factor:.3g})", found.inputs.norms)]
        pictures.append(
            ("input_gradient_over_time", say("the gradient at what entered, by distance from the end"),
             log_curves(title, told, curve, words, "|dL / dx(t)|"))
        )  # fmt: skip
    return pictures
