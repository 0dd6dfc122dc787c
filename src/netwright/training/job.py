"""What one training needs, and how its state and batches are made from the recipe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.catalogue import LOSSES, OPTIMIZERS
from netwright.data.batches import Batches, Part
from netwright.data.dataset import Dataset
from netwright.data.source import Problem
from netwright.errors import DataError, RunError, UsageError
from netwright.language import say
from netwright.parts.augmentations import Augment, read_augment
from netwright.parts.losses import check_slope
from netwright.parts.losses.paths import needed_steps
from netwright.parts.schedules import scheduled
from netwright.parts.sequences import Ragged
from netwright.recipe import MODULE, Recipe
from netwright.rundir import RunFolder
from netwright.training.bagging import Bagged, bagged, samples
from netwright.training.forward import channels_last
from netwright.training.launch import Launch
from netwright.training.loop import Probe
from netwright.training.objective import Objective, objective_of, on_outputs
from netwright.training.penalties import Penalties
from netwright.training.plan import head, settings
from netwright.training.progress import Progress
from netwright.training.published import frozen, with_weights
from netwright.training.ranks import Ranks
from netwright.training.spread import least, spread
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
    ranks: Ranks = field(default_factory=Ranks)
    spent: float = 0.0
    """Seconds already used for this training: choosing how to take a step."""

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
    if training.get("members", 0) > 1 and recipe.table("network")["name"] == MODULE:
        text = say("training.members trains several new networks: name one of the catalogue instead of a module")
        raise UsageError(text)
    until(training, dataset)
    if dataset.task == "verify":
        dataset.pairs("test")  # they make pairs of one speaker and of two
    _check_own_loss(recipe, dataset)
    _class_weights(training["class_weights"], dataset)
    scheduled(recipe.table("schedule")["name"], settings(recipe, "schedule"), [])(0, 1)
    OPTIMIZERS[recipe.table("optimizer")["name"]]([torch.zeros(1)], **settings(recipe, "optimizer"))
    augment = _augment(recipe, dataset)
    if augment is not None:
        first = dataset.splits["train"][:1]
        changed = augment(dataset.encode(first, whole=True), first, seed=recipe.seed, epoch=0)
        if augment.mixing is not None:
            augment.mix(changed, changed, first, seed=recipe.seed, epoch=0)


NAMED = 3
"""So many examples are named."""


def check_paths(recipe: Recipe, model: nn.Module, dataset: Dataset) -> list[Problem]:
    """Transcripts that no path can spell, as they have more letters than the network has steps: they are left out of
    the loss. Errors: DataError where the recipe forbids that (`loss.zero_infinity=false`), or no transcript is left."""
    if dataset.task != "transcribe" or not hasattr(model, "steps_left"):
        return []
    steps_left: Any = model.steps_left
    found = []
    for split in ("train", "validation", "test"):
        targets = dataset.encoded_targets(split)
        if not len(targets):
            continue
        steps = steps_left(torch.from_numpy(dataset.sequences(split)[0].lengths))
        assert isinstance(targets, Ragged)
        short = (needed_steps(targets.padded()) > steps).nonzero().flatten().tolist()
        if not short:
            continue
        ids = dataset.ids(split)
        what = say("{count} transcripts have more letters than the network has steps: {names}",
                   count=len(short), names=", ".join(ids[place] for place in short[:NAMED]))  # fmt: skip
        if not recipe.table("loss").get("zero_infinity") or len(short) == len(targets):
            way = say("network.stride=1 keeps more steps; loss.zero_infinity=true leaves such examples out of the loss")
            raise DataError(f"{what}\n{way}")
        found.append(Problem(dataset.name, what, say("left out of the loss")))
    return found


def _check_own_loss(recipe: Recipe, dataset: Dataset) -> None:
    """A loss that is not of this package has to have the gradient of its values (S-087); the package's own have."""
    name, chosen = recipe.table("loss")["name"], settings(recipe, "loss")
    if LOSSES[name].build.__module__.startswith("netwright."):
        return
    target = dataset.target_tensor("train")[:4]
    shape = (len(target), head(dataset.outputs, name, chosen)["units"])
    outputs = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(recipe.seed % 2**63))
    target = target.double() if target.is_floating_point() else target
    check_slope(on_outputs(name, chosen, units_of(dataset)), outputs, target)


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
    if channels_last(model, job.launch.layout):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    resting = frozen(model, job.recipe)
    objective = _objective(job)
    own = getattr(model, "optimizers", None)
    name = job.recipe.table("optimizer")["name"]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if own is not None:
        optimizers = own()
    else:
        optimizers = {"main": OPTIMIZERS[name](parameters, **settings(job.recipe, "optimizer"))} if parameters else {}
    history: list[float] = []
    schedule = job.recipe.table("schedule")["name"]
    factor = None if schedule == "constant" else scheduled(schedule, settings(job.recipe, "schedule"), history)
    known = job.recipe.table("network")["name"] != MODULE
    penalties = Penalties(job.training.get("l1", 0.0), job.training.get("l2", 0.0))  # older runs lack them
    if hasattr(model, "update") and any(penalties):
        raise UsageError(say("training.l1 and l2 change a gradient; this network has an update rule of its own"))
    return State(
        model=model, optimizers=optimizers, objective=objective, seed=job.recipe.seed, device=job.launch.device,
        total_steps=0, schedule=factor, clip_norm=job.training["clip_norm"], precision=job.launch.precision,
        clip_value=job.training.get("clip_value", 0.0), penalties=penalties, history=history,
        ranks=job.ranks, resting=resting, skips=job.training.get("non_finite") == "skip",
        run=spread(job.ranks, torch.compile(model) if job.launch.compile else model, job.launch.device, known),  # type: ignore[arg-type]
    )  # fmt: skip


def units_of(dataset: Dataset) -> Any:
    """What standardised the targets, for losses of the data's own units; None for classes."""
    return dataset.targets if dataset.task in ("regress", "forecast") else None


def _objective(job: Job) -> Objective:
    loss, chosen = job.recipe.table("loss")["name"], settings(job.recipe, "loss")
    if not isinstance(job.model, Bagged):
        return objective_of(job.model, job.dataset.task, loss, chosen, units_of(job.dataset))
    train, count = job.dataset.splits["train"], len(job.model.members)
    assert job.dataset.source.targets is not None
    counts = samples(job.recipe.seed, count, train, len(job.dataset.source.targets))
    return bagged(on_outputs(loss, chosen, units_of(job.dataset)), counts.to(job.launch.device))


def new_batches(job: Job) -> Batches:
    """The training batches of a job."""
    data = job.recipe.table("data")
    return Batches(
        job.dataset, size=data["batch_size"], seed=job.recipe.seed, device=job.launch.device,
        weights=_weights(job), augment=_augment(job.recipe, job.dataset),
        channels_last=channels_last(job.model, job.launch.layout), prefetch=job.launch.prefetch,
        part=Part(job.ranks.number, job.ranks.count, least(job.model)),
    )  # fmt: skip


def _augment(recipe: Recipe, dataset: Dataset) -> Augment | None:
    spec = recipe.table("data")["augment"]
    return read_augment(spec, getattr(dataset.encoder, "pixels", None)) if spec else None


def check_model(recipe: Recipe, model: nn.Module) -> nn.Module:
    """The network itself, its published weights loaded and what is frozen frozen; what cannot be with it is refused
    before a run folder is made."""
    if not hasattr(model, "published"):
        with_weights(model, recipe)
    frozen(model, recipe)
    cells = any(isinstance(module, nn.LSTM) for module in model.modules())
    if recipe.table("training")["precision"] == "float16" and cells and not torch.cuda.is_available():
        text = say("training.precision = float16: this CPU's LSTM has no such numbers; bfloat16 or float32 does")
        raise UsageError(text)
    spec = recipe.table("data")["augment"]
    mixing = read_augment(spec).mixing if spec else None
    if mixing is not None and (hasattr(model, "objective") or hasattr(model, "update")):
        text = say("data.augment: {name} mixes two targets in the loss, and this network learns by a rule of its own",
                   name=mixing[0].split()[-1])  # fmt: skip
        raise UsageError(text)
    if isinstance(model, Bagged):
        _check_members(recipe, mixing[0].split()[-1] if mixing is not None else "")
    return model


def _check_members(recipe: Recipe, mixing: str) -> None:
    """Refuse what would bind the members of a bag together, or show them what lies out of it."""
    training = recipe.table("training")
    text = say("training.members = {count}", count=training["members"])
    if mixing:
        why = say("{name} would mix examples out of the bag into the training", name=mixing)
        raise UsageError(f"{text}: {why}")
    if training["clip_norm"]:
        why = say("training.clip_norm takes the gradients of all members together; clip_value takes each number alone")
        raise UsageError(f"{text}: {why}")


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
