"""A race of ways to take the same training step: timed by turns, on a copy of the network and real batches."""

import copy
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, cycle, islice
from statistics import median
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from netwright.data.batches import Batch, Batches, ahead
from netwright.training.job import Job, new_batches, new_state
from netwright.training.loop import gradient_step, seed_step
from netwright.training.number_type import keep_outputs_exact
from netwright.training.state import State

FALLEN = 1.15
"""Who takes so many times as long as the fastest after three turns leaves the race."""
LOSS_APART, DIRECTION, LENGTH_APART = 0.01, 0.9, 0.05
"""How far bfloat16 may be from float32 on the same batch and weights: relative difference of the loss, cosine between
the gradients, relative difference of their lengths. The notes' CNN has a cosine above 0.99; ResNet-18, whose accuracy
three seeds found as good, 0.92 to 0.98: far closer than the gradients of two batches are."""

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

    state: State
    source: Batches
    batches: list[Batch]

    @classmethod
    def of(cls, job: Job, way: Way, batches: int = 3) -> "Runner":
        """A copy set up for `way`, with the first `batches` batches of the first epoch."""
        launch = replace(job.launch, layout=way.layout, compile=way.compile, precision=way.precision, prefetch=False)
        own = replace(job, model=copy.deepcopy(job.model), launch=launch, folder=None, probes=())
        state = new_state(own)
        state.total_steps = 10**6
        keep_outputs_exact(own.model)
        source = new_batches(own)
        return cls(state, source, list(islice(source.epoch(0), batches)))

    def turn(self, way: Way, steps: int) -> float:
        """Seconds of a step: the median of `steps` of them, after one that is not counted."""
        self._set(way)
        return median(self._timed(cycle(self.batches), steps + 1)[1:])

    def epoch(self, way: Way, steps: int, prefetch: bool) -> float:
        """Seconds of a step, the making of batches included."""
        self._set(way)
        made = chain.from_iterable(self.source.epoch(number) for number in count())
        taken = self._timed(ahead(made) if prefetch else made, steps + 1)
        return sum(taken[1:]) / steps

    def _set(self, way: Way) -> None:
        torch.set_num_threads(way.threads)
        self.state.precision = way.precision
        self.state.learn()

    def _timed(self, source: Iterator[Batch], steps: int) -> list[float]:
        update = getattr(self.state.model, "update", gradient_step)
        found, before = [], time.perf_counter()
        for batch in islice(source, steps):
            seed_step(self.state)
            self.state.set_rates()
            update(self.state, batch)
            if self.state.device.type == "cuda":
                torch.cuda.synchronize(self.state.device)
            now = time.perf_counter()
            found.append(now - before)
            before = now
        return found

    def faithful(self, way: Way) -> tuple[bool, dict[str, float]]:
        """Whether a step in bfloat16 is a step of float32 within the stated bounds, and the three numbers behind it."""
        (exact, wanted), (loss, found) = (self._slope(way._replace(precision=kind)) for kind in ("float32", "bfloat16"))
        length = wanted.norm()
        numbers = {
            "loss": abs(loss - exact) / max(abs(exact), 1e-6),
            "cosine": float(torch.dot(wanted, found) / (length * found.norm()).clamp(min=1e-30)),
            "length": float((found.norm() / length.clamp(min=1e-30) - 1).abs()),
        }
        good = numbers["loss"] <= LOSS_APART and numbers["cosine"] >= DIRECTION and numbers["length"] <= LENGTH_APART
        return good, numbers

    def _slope(self, way: Way) -> tuple[float, Tensor]:
        """The loss of the first batch and its gradient, in one row."""
        self._set(way)
        for module in self.state.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()  # its draws differ between number types
        seed_step(self.state)
        with self.state.autocast():
            terms = self.state.objective(self.state.run, self.batches[0], self.state.draw())
        for parameter in self.state.parameters:
            parameter.grad = None
        terms.loss.backward()
        return terms.value.item(), torch.cat([p.grad.flatten() for p in self.state.parameters if p.grad is not None])


def race(
    options: Sequence[Option], turn: Callable[[Option], float], seconds: float, most: int = 15
) -> dict[Option, list[float]]:
    """Seconds of each option's turns, taken one after the other until time is up or everyone had `most` of them.

    Slow ones leave after three turns; the first option, which the others have to beat, stays. Options whose turn did
    not come have no place in the answer.
    """
    found: dict[Option, list[float]] = {}
    running, end = list(options), time.perf_counter() + seconds
    while not found or (len(running) > 1 and len(found[options[0]]) < most):
        for option in running:
            found.setdefault(option, []).append(turn(option))
            if time.perf_counter() > end:
                return found
        if len(found[options[0]]) >= 3:
            best = min(median(found[option]) for option in running)
            running = [option for option in running if option == options[0] or median(found[option]) <= FALLEN * best]
    return found


def winner(found: dict[Option, list[float]], first: Option, gain: float) -> Option:
    """The fastest by its median; `first` where nobody beats it by the factor `gain`."""
    best = min(found, key=lambda option: median(found[option]))
    return best if median(found[best]) * gain < median(found[first]) else first
