"""What one training needs, and how its state and batches are made from the recipe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.catalogue import LOSSES, OPTIMIZERS, SCHEDULES
from netwright.data.batches import Augment, Batches
from netwright.data.dataset import Dataset
from netwright.errors import RunError, UsageError
from netwright.language import say
from netwright.parts.augmentations import read_augment
from netwright.recipe import Recipe
from netwright.rundir import RunFolder
from netwright.training.forward import channels_last
from netwright.training.launch import Launch
from netwright.training.loop import Probe
from netwright.training.objective import supervised
from netwright.training.plan import settings
from netwright.training.progress import Progress
from netwright.training.state import State
from netwright.training.stopping import Condition


@dataclass
class Job:
    """All that one training needs. Without a folder nothing is written (estimators)."""

    dataset: Dataset
    recipe: Recipe
    model: nn.Module
    launch: Launch
    progress: Progress
    folder: RunFolder | None = None
    run_id: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    weights: Tensor | None = None
    """One weight a training example, beside the class weights."""
    probes: Sequence[Probe] = ()

    @property
    def training(self) -> dict[str, Any]:
        return self.recipe.table("training")


def stored_recipe(folder: RunFolder) -> Recipe:
    """A run's recipe, checked; one that is none is damage to the run folder."""
    damage = say("run folder {path}: {name} is damaged", path=folder.path, name="recipe.toml")
    try:
        recipe = Recipe.parse(folder.read_bytes("recipe.toml").decode("utf-8", "replace"), "recipe.toml").check()
    except UsageError as error:
        raise RunError(f"{damage}: {error}") from None
    if "path" not in recipe.table("data") or "name" not in recipe.table("network"):
        raise RunError(damage)
    return recipe


def check(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse what cannot be with this data before a run folder is made."""
    training = recipe.table("training")
    until(training, dataset)
    _class_weights(training["class_weights"], dataset)
    augment = _augment(recipe.table("data")["augment"], recipe.seed)
    if augment:
        augment(dataset.encoder.encode(dataset.source.examples.take(dataset.splits["train"][:1])), np.zeros(1, int), 0)


def until(training: dict[str, Any], dataset: Dataset) -> Condition | None:
    """The target of `training.until`, where there is one."""
    text, watched = training["until"], dataset.examples["validation"]
    if training["stop_after"] and not watched:
        raise UsageError(say("training.stop_after looks at validation examples, and there are none"))
    if not text:
        return None
    found = Condition.parse(text, dataset.task, "training.until", ("train_loss",))
    if found.metric != "train_loss" and not watched:
        raise UsageError(say("training.until = {text!r} looks at validation examples, and there are none", text=text))
    return found


def new_state(job: Job) -> State:
    """The state before the first step."""
    model = job.model.to(job.launch.device)
    if channels_last(model):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss, chosen = job.recipe.table("loss")["name"], settings(job.recipe, "loss")
    objective = getattr(model, "objective", None) or supervised(_bound(LOSSES[loss].build, chosen))
    own = getattr(model, "optimizers", None)
    name = job.recipe.table("optimizer")["name"]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if own is not None:
        optimizers = own()
    else:
        optimizers = {"main": OPTIMIZERS[name](parameters, **settings(job.recipe, "optimizer"))} if parameters else {}
    schedule = job.recipe.table("schedule")["name"]
    factor = None if schedule == "constant" else _bound(SCHEDULES[schedule].build, settings(job.recipe, "schedule"))
    return State(
        model=model, optimizers=optimizers, objective=objective, seed=job.recipe.seed, device=job.launch.device,
        total_steps=0, schedule=factor, clip_norm=job.training["clip_norm"], precision=job.launch.precision,
    )  # fmt: skip


def new_batches(job: Job) -> Batches:
    """The training batches of a job."""
    data = job.recipe.table("data")
    return Batches(
        job.dataset, size=data["batch_size"], seed=job.recipe.seed, device=job.launch.device,
        weights=_weights(job), augment=_augment(data["augment"], job.recipe.seed),
        channels_last=channels_last(job.model),
    )  # fmt: skip


def _augment(spec: str, seed: int) -> Augment | None:
    if not spec:
        return None
    change = read_augment(spec)
    return lambda inputs, examples, epoch: change(inputs, examples, seed=seed, epoch=epoch)


def _bound(function: Any, chosen: dict[str, Any]) -> Any:
    return lambda first, second: function(first, second, **chosen)


def _weights(job: Job) -> Tensor | None:
    """One weight a training example: class weights times the job's own."""
    by_class = _class_weights(job.training["class_weights"], job.dataset)
    if by_class is None:
        return job.weights
    weights = by_class[job.dataset.target_tensor("train")].float()
    return weights if job.weights is None else weights * job.weights


def _class_weights(wanted: Any, dataset: Dataset) -> Tensor | None:
    """One weight a class, float64; None where all count alike."""
    if wanted == "none":
        return None
    if dataset.task != "classify":
        raise UsageError(say("training.class_weights: this task has no classes"))
    count = len(dataset.classes)
    if wanted == "balanced":
        targets = dataset.target_tensor("train")
        shares = torch.bincount(targets, minlength=count).double()
        return len(targets) / (count * shares.clamp(min=1))
    numbers = [value for value in wanted if isinstance(value, (int, float)) and 0 <= value < math.inf]
    if len(numbers) != len(wanted) or len(wanted) != count:
        raise UsageError(
            say("training.class_weights = {found}; it is {count} numbers, one a class", found=wanted, count=count)
        )
    return torch.tensor(numbers, dtype=torch.float64)
