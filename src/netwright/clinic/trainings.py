"""One training without a run folder, judged on validation and test: what proofs and searches are made of."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from netwright.clinic.yardstick import constant_score, counted, primary
from netwright.data.dataset import Dataset
from netwright.data.read import prepare, read
from netwright.doctor.work import with_patch
from netwright.errors import NetwrightError, UsageError
from netwright.language import say
from netwright.measures.anatomy import anatomy
from netwright.recipe import DATA, MODULE, Recipe
from netwright.training.answers import answers, needs_decoding, truths
from netwright.training.forward import Forward
from netwright.training.job import Job, check, check_model, check_paths
from netwright.training.keeper import Outcome
from netwright.training.launch import launch
from netwright.training.plan import build, resolve, settings
from netwright.training.progress import Progress
from netwright.training.state import load_weights
from netwright.training.train import fit

Mechanism = Callable[[Job, Outcome], Mapping[str, float]]
"""Measures the diagnosed quantity once a training is over; `job.model` holds the best weights by then."""
BATCHING = ("batch_size", "workers")
"""Data settings that change no example: nothing has to be read again."""
TRAIN_SAMPLE = 5000
"""At most so many training examples are judged where there are none of validation."""
ALONE = {"folds": 0, "compile": False, "allocator": "default", "save_steps": 0, "save_seconds": 0.0}
"""What serves a run, and no single training: compiling takes longer than many a training does."""


class OutOfTime(NetwrightError):
    """The time for a proof ended within a training."""


@dataclass(frozen=True)
class Trial:
    """What one training came to. Scores are those that count: a training that diverged has the constant answer's."""

    seed: int
    validation: float
    """On training examples where there are none of validation."""
    test: float
    measured: dict[str, float | None]
    """The plain metric on `validation` and `test`; None where it has no value."""
    finished: bool
    """Whether all numbers stayed finite to the end."""
    epochs: int
    steps: int
    seconds: float
    mechanism: dict[str, float] = field(default_factory=dict)


def patched(recipe: Recipe, patch: Mapping[str, Any]) -> Recipe:
    """`recipe` with the dotted settings of a patch laid over it, where all of them can be tried."""
    where = say("patch")
    for key in patch:
        if key in ("seed", "data.path", "code"):
            raise UsageError(say("{where}: {key} is no change of the recipe that can be tried", where=where, key=key))
    return with_patch(recipe, patch, where).check()


def trial(
    recipe: Recipe, dataset: Dataset, seed: int, *, metric: str = "auto", mechanism: Mechanism | None = None,
    deadline: float = math.inf,
) -> Trial:  # fmt: skip
    """Train `recipe` on `dataset` with that seed, write nothing, and judge the best weights.

    Equal arguments give equal bits; the split does not depend on the seed. `deadline` is a time of `time.monotonic()`.
    Errors: OutOfTime beyond it; UsageError and DataError as in training.
    """
    started = time.monotonic()
    job = prepared(recipe, dataset, seed, deadline)
    dataset, name = job.dataset, primary(job.dataset, metric)
    with _as_before():
        outcome = fit(job)
        load_weights(job.model, outcome.weights)
        found, broken = _judged(job, name)
        moved = {key: float(value) for key, value in mechanism(job, outcome).items()} if mechanism is not None else {}
    finished = outcome.stopped != "non-finite" and not broken
    counts = {
        split: counted(name, value, partial(constant_score, dataset, split, name), finished)
        for split, value in found.items()
    }
    selecting = "validation" if "validation" in found else "train"
    return Trial(
        seed, counts[selecting], counts.get("test", math.nan), found, finished, outcome.epochs, outcome.steps,
        time.monotonic() - started, moved,
    )  # fmt: skip


def prepared(recipe: Recipe, dataset: Dataset, seed: int, deadline: float = math.inf) -> Job:
    """All that the training needs; what cannot be trained is refused."""
    if recipe.table("network").get("name") == MODULE:
        text = say("a module from Python cannot be trained anew for each seed; name a network of the catalogue")
        raise UsageError(text)
    dataset = fitting(dataset, recipe)
    resolved = resolve(recipe.set("seed", seed), dataset).updated({"training": ALONE}, say("proof"))
    check(resolved, dataset)
    model = check_model(resolved, build(resolved, dataset.inputs, dataset.outputs))
    check_paths(resolved, model, dataset)
    training, work = resolved.table("training"), 0
    if training["threads"] == "auto":
        work = anatomy(model, dataset.inputs).macs * resolved.table("data")["batch_size"]

    def late(*_: Any) -> None:
        if time.monotonic() > deadline:
            raise OutOfTime(say("the time for the proof is over"))

    late()
    probes = [late] if math.isfinite(deadline) else []
    return Job(dataset, resolved, model, launch(training, work), Progress(quiet=True), probes=probes)


def _judged(job: Job, metric: str) -> tuple[dict[str, float | None], bool]:
    """The metric on each split that has examples, and whether any answer was not finite."""
    dataset = job.dataset
    forward = Forward(
        job.model, dataset.targets, job.recipe.table("loss")["name"], settings(job.recipe, "loss"),
        job.launch.device, job.launch.precision, job.launch.layout,
    )  # fmt: skip
    found: dict[str, float | None] = {}
    broken, decode = False, needs_decoding([metric])
    for split in ("validation" if dataset.examples["validation"] else "train", "test"):
        count = dataset.examples[split]
        if not count:
            continue
        places = (
            np.linspace(0, count - 1, min(TRAIN_SAMPLE, count)).astype(int) if split == "train" else np.arange(count)
        )
        told = answers(forward, dataset, split, places if split == "train" else None, decode=decode)
        truth = told.truth if told.truth is not None else truths(dataset, split)
        if told.truth is None and split == "train":
            truth = [truth[place] for place in places] if isinstance(truth, list) else truth[places]
        found[split] = told.of(metric, truth)
        broken = broken or bool(told.broken)
    return found, broken


def fitting(dataset: Dataset, recipe: Recipe) -> Dataset:
    """`dataset` with the data settings of `recipe`: read again where they decide what an example or the training is.

    Errors: UsageError where the test examples would not be the same ones, so that scores could not be paired.
    """
    asked = {name: value for name, value in recipe.table("data").items() if name != "path"}
    if asked.get("task") == "auto":
        del asked["task"]  # the data have settled it
    changes = {name: value for name, value in asked.items() if dataset.settings.get(name) != value}
    if not changes:
        return dataset
    table = {**dataset.settings, **changes}
    if all(name in BATCHING for name in changes):
        return replace(dataset, settings=table)
    again = _again(dataset, table, changes)
    if (again.task, again.classes) != (dataset.task, dataset.classes) or not _same_test(dataset, again):
        names = ", ".join(f"data.{name}" for name in changes if name not in BATCHING)
        text = say("{names} changes what is tested: the scores would not be of the same examples", names=names)
        raise UsageError(text)
    return again


def _same_test(dataset: Dataset, again: Dataset) -> bool:
    """Whether both test the same examples: the same bytes, or the same files or rows of files in another size."""
    if again.test_fingerprint == dataset.test_fingerprint:
        return True
    if dataset.in_memory or dataset.reader == "embedded":  # numbered: other examples may have the same names
        return False
    if again.ids("test") != dataset.ids("test"):
        return False
    if again.source.targets is None or dataset.source.targets is None:
        return again.source.targets is dataset.source.targets
    return bool(np.array_equal(again.raw_targets("test"), dataset.raw_targets("test")))


def _again(dataset: Dataset, table: dict[str, Any], changes: Mapping[str, Any]) -> Dataset:
    """The data read anew; what was handed over in Python is divided and fitted anew."""
    if not dataset.in_memory:
        return read(str(table["path"]), **{name: value for name, value in table.items() if name != "path"})
    special = [name for name in changes if name not in DATA or name in ("target", "group", "window", "task")]
    if special or dataset.task == "generate":
        name = special[0] if special else next(iter(changes))
        raise UsageError(say("data.{name} was settled when the data came from Python; read them again", name=name))
    return prepare(dataset.source, dataset.reader, table, in_memory=True)


@contextmanager
def _as_before() -> Iterator[None]:
    """The number of threads and the choice of kernels are as before, whatever a training imposed."""
    threads, kernels = torch.get_num_threads(), torch.backends.cudnn
    before = kernels.deterministic, kernels.benchmark
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        kernels.deterministic, kernels.benchmark = before


class Trainings:
    """Trainings on one data set, each made once: recipe and seed decide its result."""

    def __init__(
        self, dataset: Dataset, *, metric: str = "auto", mechanism: Mechanism | None = None, deadline: float = math.inf
    ) -> None:
        self.dataset, self.metric, self.mechanism = dataset, primary(dataset, metric), mechanism
        self.deadline = deadline
        self.made = 0
        self._kept: dict[str, Trial] = {}
        self._read: dict[str, Dataset] = {}
        self._seconds: dict[str, list[float]] = {}

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def settled(self, recipe: Recipe) -> Recipe:
        """The recipe with all that it leaves out, and the number of threads of every training after it.

        Errors: what makes it no recipe for these data.
        """
        dataset = self._fitting(recipe)
        job = prepared(recipe, dataset, recipe.seed)
        return resolve(recipe, dataset).set("training.threads", job.launch.threads)

    def settled_as(self, recipe: Recipe, original: Recipe) -> tuple[Recipe, Dataset]:
        """A patched recipe with all that it leaves out and the seed of the original, and the data as it reads them."""
        dataset = self._fitting(recipe)
        recipe = resolve(recipe.set("seed", original.seed), dataset)
        return recipe, fitting(dataset, recipe)

    def run(self, recipe: Recipe, seed: int) -> Trial:
        """Train with that seed, or give what the same training gave before."""
        key = recipe.set("seed", seed).text()
        if key not in self._kept:
            found = trial(
                recipe,
                self._fitting(recipe),
                seed,
                metric=self.metric,
                mechanism=self.mechanism,
                deadline=self.deadline,
            )
            self._kept[key] = found
            self._seconds.setdefault(recipe.set("seed", 0).text(), []).append(found.seconds)
            self.made += 1
        return self._kept[key]

    def knows(self, recipe: Recipe, seed: int) -> bool:
        """Whether that training was made already, and so costs nothing."""
        return recipe.set("seed", seed).text() in self._kept

    def seconds(self, recipe: Recipe, otherwise: float) -> float:
        """What a training of this recipe takes: the median so far, the lower of two, as a first one also warms up."""
        found = sorted(self._seconds.get(recipe.set("seed", 0).text(), [otherwise]))
        return found[(len(found) - 1) // 2]

    def usual(self, least: float) -> float:
        """What a training of a recipe not tried yet may take: the median of those tried, and no less than `least`.

        A training that diverges ends at once; a remedy's does not.
        """
        known = [min(found) for found in self._seconds.values()]
        return max(least, float(np.median(known))) if known else least

    def _fitting(self, recipe: Recipe) -> Dataset:
        """The data as the recipe reads them, each way of reading once."""
        table = {name: value for name, value in recipe.table("data").items() if name not in ("path", *BATCHING)}
        key = repr(sorted(table.items()))
        if key not in self._read:
            self._read[key] = fitting(self.dataset, Recipe(0, {"data": table}))
        return fitting(self._read[key], recipe)
