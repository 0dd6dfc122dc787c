"""A race of ways to take the same training step: timed by turns, on a copy of the network and real batches."""

import copy
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from netwright.data.batches import Batch, ahead
from netwright.training.job import Job, new_batches, new_state
from netwright.training.loop import gradient_step, seed_step
from netwright.training.number_type import keep_outputs_exact
from netwright.training.state import State

FALLEN = 1.15
"""Who takes so many times as long as the fastest after three turns leaves the race."""
LOSS_APART, DIRECTION, LENGTH_APART = 0.01, 0.99, 0.05
"""How far bfloat16 may be from float32 on the same batch and weights: relative difference of the loss, cosine between
the gradients, relative difference of their lengths."""

Option = TypeVar("Option", bound=Hashable)


class Way(NamedTuple):
    """One way to take a step; all but the threads and the number type leave the arithmetic as it is written."""

    precision: str
    layout: str
    threads: int
    compile: bool


@dataclass
class Runner:
    """A copy of a job's network that takes steps in one memory layout, for timing; the job itself stays untouched."""

    job: Job
    state: State
    batches: list[Batch]

    @classmethod
    def of(cls, job: Job, way: Way, count: int = 3) -> "Runner":
        """A copy set up for `way`, with the first `count` batches of the first epoch."""
        launch = replace(job.launch, layout=way.layout, compile=way.compile, precision=way.precision)
        own = replace(job, model=copy.deepcopy(job.model), launch=launch, folder=None, probes=())
        state = new_state(own)
        keep_outputs_exact(own.model)
        state.total_steps = 10**6
        source = new_batches(own).epoch(0)
        return cls(own, state, [batch for _, batch in zip(range(count), source, strict=False)])

    def turn(self, way: Way, steps: int) -> float:
        """Seconds of a step: the median of `steps` of them, after one that is not counted."""
        torch.set_num_threads(way.threads)
        self.state.precision = way.precision
        self.state.learn()
        taken = self._timed(iter(cycle(self.batches)), steps + 1)
        return median(taken[1:])

    def epoch(self, way: Way, steps: int, prefetch: bool) -> float:
        """Seconds of a step, the making of batches included."""
        torch.set_num_threads(way.threads)
        self.state.precision = way.precision
        source = replace_prefetch(self.job, prefetch)
        taken = self._timed(source, steps + 1)
        return sum(taken[1:]) / max(1, len(taken) - 1)

    def _timed(self, source: Iterator[Batch], steps: int) -> list[float]:
        update = getattr(self.state.model, "update", gradient_step)
        found, before = [], time.perf_counter()
        for batch, _ in zip(source, range(steps), strict=False):
            seed_step(self.state)
            self.state.set_rates()
            update(self.state, batch)
            if self.state.device.type == "cuda":
                torch.cuda.synchronize(self.state.device)
            now = time.perf_counter()
            found.append(now - before)
            before = now
        return found or [float("inf")]


def replace_prefetch(job: Job, prefetch: bool) -> Iterator[Batch]:
    """The first epoch's batches, made ahead of need or when they are asked for."""
    made = new_batches(job).epoch(0)
    return ahead(made) if prefetch else made


def race(
    options: Sequence[Option], turn: Callable[[Option], float], seconds: float, most: int = 15
) -> dict[Option, list[float]]:
    """Seconds of each option's turns, taken one after the other until time is up or everyone had `most` of them.

    Slow ones leave after three turns; the first option, which the others have to beat, stays.
    """
    found: dict[Option, list[float]] = {option: [] for option in options}
    running, end = list(options), time.perf_counter() + seconds
    while len(running) > 1 and len(found[running[0]]) < most:
        for option in running:
            found[option].append(turn(option))
            if time.perf_counter() > end and all(found.values()):
                return found
        if len(found[running[0]]) >= 3:
            best = min(median(found[option]) for option in running)
            running = [option for option in running if option == options[0] or median(found[option]) <= FALLEN * best]
    return found


def winner(found: dict[Option, list[float]], first: Option, gain: float) -> Option:
    """The fastest by its median; `first` where nobody beats it by the factor `gain`."""
    best = min(found, key=lambda option: median(found[option]))
    return best if median(found[best]) * gain < median(found[first]) else first


def faithful(job: Job, way: Way) -> tuple[bool, dict[str, float]]:
    """Whether a step in bfloat16 is a step of float32 within the stated bounds, and the three numbers behind it."""
    results = []
    for precision in ("float32", "bfloat16"):
        runner = Runner.of(job, way._replace(precision=precision, compile=False), 1)
        state, batch = runner.state, runner.batches[0]
        state.learn()
        for module in state.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()  # its draws differ between number types
        seed_step(state)
        with state.autocast():
            terms = state.objective(state.run, batch, state.draw())
        terms.loss.backward()
        results.append((terms.value.item(), _flat(state.parameters)))
    (exact, wanted), (loss, found) = results
    length = wanted.norm()
    numbers = {
        "loss": abs(loss - exact) / max(abs(exact), 1e-6),
        "cosine": float(torch.dot(wanted, found) / (length * found.norm()).clamp(min=1e-30)),
        "length": float((found.norm() / length.clamp(min=1e-30) - 1).abs()),
    }
    good = numbers["loss"] <= LOSS_APART and numbers["cosine"] >= DIRECTION and numbers["length"] <= LENGTH_APART
    return good, numbers


def _flat(parameters: Sequence[Tensor]) -> Tensor:
    return torch.cat([p.grad.flatten().double() for p in parameters if p.grad is not None])
