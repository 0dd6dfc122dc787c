"""A subject from a recipe: every branch is built anew from the recipe with its changes laid over it.

It is trained by the same updates as every training of the package."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from netwright.data.batches import Batch, Inputs
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.doctor.subject import Change, Live, Pair, Scored, Subject
from netwright.doctor.task import Task
from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy import anatomy
from netwright.networks.blocks import Scores
from netwright.parts.sequences import Ragged, Sequences
from netwright.recipe import MODULE, PARTS, Recipe
from netwright.training.forward import evaluating
from netwright.training.job import Job, check_model, new_batches, new_state, units_of
from netwright.training.launch import launch
from netwright.training.loop import NonFinite, update
from netwright.training.objective import Draw, on_outputs
from netwright.training.plan import build, resolve, settings
from netwright.training.preparing import prepare
from netwright.training.progress import Progress

EXAMPLES = 20_000
NUMBERS = 2**26
CHUNK = 256
JUDGES = {
    "cross_entropy": "cross_entropy", "nll": "cross_entropy", "bce": "binary_cross_entropy_with_logits",
    "bce_with_logits": "binary_cross_entropy_with_logits", "logistic": "binary_cross_entropy_with_logits",
    "mse": "mse_loss", "half_squared_error": "mse_loss", "mae": "l1_loss", "smooth_l1": "smooth_l1_loss",
}  # fmt: skip
"""What torch calls the losses of the catalogue, for the network's plain outputs: links stand inside the loss."""


class RecipeLive(Live):
    """A branch built from a recipe."""

    def __init__(self, subject: "RecipeSubject", recipe: Recipe, dataset: Dataset) -> None:
        self.subject, self.recipe, self.dataset, self.task = subject, recipe, dataset, subject.task
        network = check_model(recipe, build(recipe, dataset.inputs, dataset.outputs))
        prepare(network, dataset, recipe.seed)
        where = launch({**recipe.table("training"), "precision": "float32", "compile": False}, subject.work)
        where.impose()
        job = Job(dataset, recipe, network, where, Progress(quiet=True))
        self.state, self.made = new_state(job), new_batches(job)
        self.state.total_steps = self.made.per_epoch * recipe.table("training")["epochs"]
        self.model, self.optimizers = network, list(self.state.optimizers.values())
        self.rows = self._rows()
        self.ahead: Batch | None = None
        if self.task.is_judged and not hasattr(network, "objective"):
            loss = on_outputs(recipe.table("loss")["name"], settings(recipe, "loss"), units_of(dataset))
            self.loss = lambda outputs, targets: loss(outputs, targets).mean()

    def _rows(self) -> Iterator[Batch]:
        while True:
            self.state.learn()
            yield from self.made.epoch(self.state.epoch)
            self.state.epoch += 1

    def batch(self) -> Pair:
        if self.ahead is None:
            self.ahead = next(self.rows)
        return pair_of(self.ahead)

    def step(self) -> float:
        taken = self.batch().source
        self.ahead = None
        self.steps += 1
        try:
            terms = update(self.state, taken)
        except NonFinite:
            return math.nan
        self.state.step += 1
        if isinstance(terms, NonFinite):
            return math.nan
        value = terms.value.item()
        return value if math.isfinite(value) else math.nan

    def forward(self, pair: Pair) -> Any:
        outputs = self.model(*pair.inputs)
        return outputs.main if isinstance(outputs, Scores) else outputs

    def loss_on(self, pair: Pair) -> Tensor:
        batch = pair.source
        return self.state.objective(self.state.run, batch, Draw(self.state.seed, self.state.step)).loss

    def outputs(self, pair: Pair) -> Any:
        with evaluating(self.model):
            return self.forward(pair).float()

    def scored(self, pairs: Sequence[Pair], sigmoid: bool = False) -> Scored:
        if self.dataset is not self.subject.dataset:
            pairs = self._read_again(pairs)
        if self.task.is_judged:
            return super().scored(pairs, False)  # networks of recipes end in scores
        base = constant_tokens(self.dataset)
        if not pairs or not math.isfinite(base):
            return math.nan, None
        with evaluating(self.model):
            losses = [(self.loss_on(pair).item(), len(pair)) for pair in pairs]
        mean = sum(loss * count for loss, count in losses) / max(1, sum(count for _, count in losses))
        return 1 - mean / base, None

    def _read_again(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The same examples as this branch's data set encodes them, where it reads them in another way."""
        found = []
        for pair in pairs:
            positions = pair.source.examples
            inputs, targets = self.dataset.encode(positions), self.dataset.source.targets
            if targets is None or isinstance(pair.targets, Sequences):
                found.append(pair)
                continue
            wanted = self.dataset.targets.encode(targets[positions])
            assert isinstance(wanted, Tensor)
            found.append(pair_of(Batch(inputs, wanted, None, positions, 0)))
        return found


class RecipeSubject(Subject):
    """A recipe and its data."""

    keeps_best = True

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self.recipe = recipe if is_resolved(recipe) else resolve(recipe, dataset)
        if self.recipe.table("network")["name"] == MODULE:
            raise UsageError(
                say("a module from Python is examined in Python: examine(module, loss, optimizer, batches)")
            )
        self.dataset = dataset
        self.datasets: dict[str, Dataset] = {}
        name = self.recipe.table("loss")["name"]
        self.judge = (
            JUDGES.get(name, "")
            if settings(self.recipe, "loss").get("link", "identity") in ("identity", "softmax", "sigmoid")
            else ""
        )
        self.task = task_of(dataset)
        network = build(self.recipe, dataset.inputs, dataset.outputs)
        self.work = anatomy(network, dataset.inputs).macs * self.recipe.table("data")["batch_size"]
        with self.live() as live:
            assert isinstance(live, RecipeLive)
            self.epoch, self.total = live.made.per_epoch, live.state.total_steps
            self.batches = _first(live)
        self.validation = split_pairs(dataset, "validation")

    @contextmanager
    def live(self, changes: Sequence[Change] = (), seed: int = 0) -> Iterator[Live]:
        recipe = self.patched(changes)
        if seed:
            recipe = recipe.set("seed", (recipe.seed + 1000 * seed) % 2**62)
        threads = torch.get_num_threads()
        with torch.random.fork_rng(devices=[]):
            try:
                branch = RecipeLive(self, recipe, self.data_of(recipe))
                for change in changes:
                    if change.apply is not None and change.cost != 1:  # a step of it stands for several
                        change.apply(branch)
                yield branch
            finally:
                if torch.get_num_threads() != threads:
                    torch.set_num_threads(threads)

    def patched(self, changes: Sequence[Change]) -> Recipe:
        """The recipe with the patches of these changes; a part named anew gets the defaults of its settings."""
        assert self.recipe is not None
        recipe = with_patch(self.recipe, {key: value for change in changes for key, value in change.patch.items()})
        return resolve(recipe, self.data_of(recipe))

    def data_of(self, recipe: Recipe) -> Dataset:
        """The data as this recipe reads them: read again where a change concerns the reading."""
        asked, own = recipe.table("data"), self.recipe.table("data") if self.recipe is not None else {}
        free = ("batch_size", "workers", "augment")
        if self.dataset.in_memory or all(asked.get(key) == own.get(key) for key in {**asked, **own} if key not in free):
            return self.dataset
        key = repr(sorted((name, value) for name, value in asked.items() if name not in free))
        if key not in self.datasets:
            self.datasets[key] = read(asked["path"], **{name: value for name, value in asked.items() if name != "path"})
        return self.datasets[key]


def is_resolved(recipe: Recipe) -> bool:
    """Whether every choice that the data would decide is written in the recipe."""
    named = all("name" in recipe.table(table) for table in ("network", "loss", "optimizer", "schedule"))
    return named and "batch_size" in recipe.table("data") and "log_steps" in recipe.table("training")


def with_patch(recipe: Recipe, patch: Mapping[str, Any], where: str = "") -> Recipe:
    """The recipe with dotted settings changed; names of parts first, for a new name clears the old one's settings.

    `where` names the patch in errors.
    """
    for key in sorted(patch, key=lambda key: not (key in PARTS or key.endswith(".name"))):
        recipe = recipe.set(key, patch[key], where or say("remedy"))
    return recipe


def pair_of(batch: Batch) -> Pair:
    return Pair((batch.inputs,), batch.targets, batch)


def task_of(dataset: Dataset) -> Task:
    """What a data set asks of a network, as the doctor judges it."""
    if dataset.task == "classify":
        return Task("classes", len(dataset.classes), "index")
    if dataset.task in ("regress", "forecast"):
        return Task("numbers", int(dataset.outputs.get("count", dataset.outputs.get("horizon", 1))), "numbers")
    return Task("other", 0, "numbers")


def constant_tokens(dataset: Dataset) -> float:
    """The loss of a network that says every token by its share, in nats a token; NaN where targets are no tokens."""
    targets = dataset.encoded_targets("train")
    numbers = targets.flat if isinstance(targets, Ragged) else targets
    if numbers.is_floating_point() or numbers.numel() == 0:
        return math.nan
    counts = numbers.reshape(-1).long().bincount().double()
    shares = counts[counts > 0] / counts.sum()
    return -(shares * shares.log()).sum().item()


def _first(live: RecipeLive) -> list[Pair]:
    """The batches of the first epoch, as many as are kept."""
    found: list[Pair] = []
    examples = numbers = 0
    for batch in live.made.epoch(0):
        values = batch.inputs.values if isinstance(batch.inputs, Sequences) else batch.inputs
        examples, numbers = examples + len(batch), numbers + values.numel()
        if found and (examples > EXAMPLES or numbers > NUMBERS):
            break
        found.append(pair_of(batch))
    return found


def split_pairs(dataset: Dataset, split: str, most: int = 2000) -> list[Pair]:
    """A split in chunks, at most `most` examples of it."""
    count = min(most, dataset.examples[split])
    if not count:
        return []
    inputs = Inputs(dataset, split, torch.device("cpu"))
    targets = dataset.encoded_targets(split)
    found = []
    for first in range(0, count, CHUNK):
        places = torch.arange(first, min(first + CHUNK, count))
        given = inputs.take(places.numpy())
        wanted = targets.padded(places.numpy()) if isinstance(targets, Ragged) else targets.index_select(0, places)
        if isinstance(wanted, Sequences):
            wanted = wanted.to(torch.device("cpu"), torch.int64)
        batch = Batch(given, wanted, None, dataset.splits[split][places.numpy()], 0)
        found.append(pair_of(batch))
    return found
