"""`nw.watch`: a look over the shoulder of a training loop that somebody else wrote, without changing one bit of it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from netwright.doctor.findings import Diagnosis, Finding
from netwright.doctor.watching.diary import Diary
from netwright.doctor.watching.loop_faults import read_loop
from netwright.doctor.watching.mode_faults import read_modes
from netwright.doctor.watching.parameter_faults import read_parameters
from netwright.doctor.watching.rate_faults import read_rates
from netwright.doctor.watching.state_faults import read_state
from netwright.doctor.watching.taps import leave, listen
from netwright.errors import UsageError
from netwright.language import say

ORDER = ("E4", "E3", "E1", "E2", "E5", "E8", "E6", "E7", "D10", "C13", "D8", "B10", "D1", "D2")
"""Causes before what they cause."""


class Watch:
    """Watches a training loop between `with` and the end of the block; `diagnosis` then says what was seen."""

    def __init__(
        self, models: list[nn.Module], optimizers: list[Optimizer], loss: Any, schedulers: list[Any], whole: bool = True
    ) -> None:
        self.models, self.optimizers, self.loss, self.schedulers = models, optimizers, loss, schedulers
        self.is_whole = whole
        self.diary: Diary | None = None
        self._diagnosis: Diagnosis | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        if self._hooks:
            raise UsageError(say("this watch is open already; make another with watch(...)"))
        self._began, self._diagnosis = time.perf_counter(), None
        self.diary = diary = Diary(self.models, self.optimizers, self.schedulers, self.loss)
        parts = [part for model in self.models for part in model.modules() if id(part) in diary.looks.parts]
        listen(diary, [*self.models, *parts], self.optimizers, self.schedulers)
        self._hooks = [
            register_optimizer_step_pre_hook(diary.step_begins), register_optimizer_step_post_hook(diary.step_ends)
        ]  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.diary is not None
        leave(self.diary)
        self.diary.looks.unhook()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.diary.flush()
        self._diagnosis = judge(self.diary, error, self.is_whole, time.perf_counter() - self._began)

    def epoch(self) -> None:
        """Say that an epoch begins. Not needed with a DataLoader, whose beginnings are heard."""
        if self.diary is not None:
            self.diary.epoch()

    @property
    def diagnosis(self) -> Diagnosis:
        """What was seen: verdict, findings with harm, notes without."""
        if self._diagnosis is None:
            raise UsageError(say("the watch has no diagnosis yet: it is made when the `with` block ends"))
        return self._diagnosis

    @property
    def findings(self) -> list[Finding]:
        """The faults that do harm, causes first."""
        return self.diagnosis.findings

    @property
    def notes(self) -> list[Finding]:
        """What is unusual, and harms nothing that could be seen."""
        return self.diagnosis.notes

    @property
    def verdict(self) -> str:
        """`healthy`, `faulty`, or `unsure` where nothing was trained inside the block."""
        return self.diagnosis.verdict

    def __str__(self) -> str:
        return say("watching") if self._diagnosis is None else str(self._diagnosis)


def watch(
    model: nn.Module | Sequence[nn.Module],
    optimizer: Optimizer | Sequence[Optimizer],
    loss: Callable[..., Any] | None = None,
    *,
    scheduler: Any = None,
) -> Watch:
    """Watch your own training loop: `with watch(model, optimizer, loss) as w: ...`, then read `w.diagnosis`.

    Formula: exact checks of the loop's calls (catalogue section E); nothing of the training is changed by a bit.
    Several networks or optimizers are given as lists. The loop's own exceptions pass through.
    """
    models = [model] if isinstance(model, nn.Module) else list(model)
    optimizers = _several(optimizer)
    for one in models:
        if not isinstance(one, nn.Module):
            raise UsageError(
                say("watch(model, ...): {what} came, a torch.nn.Module was expected", what=type(one).__name__)
            )
    for one in optimizers:
        if not isinstance(one, Optimizer):
            raise UsageError(
                say("watch(..., optimizer): {what} came, a torch optimizer was expected", what=type(one).__name__)
            )
    if loss is not None and not callable(loss):
        raise UsageError(
            say("watch(..., loss): {what} came, a function or None was expected", what=type(loss).__name__)
        )
    return Watch(models, optimizers, loss, [] if scheduler is None else _several(scheduler))


def watch_steps(
    step: Callable[..., Any], batches: Iterable[Any], *, model: nn.Module, optimizer: Any, loss: Any = None
) -> Watch:
    """Run a person's own `step(batch)` over a few batches under a watch that knows it is no whole training."""
    seen = watch(model, optimizer, loss)
    seen.is_whole = False
    with seen:
        for batch in batches:
            step(batch)
    return seen


def _several(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


@torch.no_grad()
def judge(diary: Diary, error: BaseException | None, whole: bool, seconds: float) -> Diagnosis:
    """Everything that was written down, as findings with harm and notes without."""
    found = list(_read(diary, error, whole))
    faults = sorted((one for one in found if one.harm), key=lambda one: _rank(one.fault))
    notes = [one for one in found if not one.harm]
    verdict = "faulty" if faults else "healthy" if diary.steps else "unsure"
    return Diagnosis(verdict=verdict, findings=faults, notes=notes, seconds=seconds)


def _read(diary: Diary, error: BaseException | None, whole: bool) -> Iterator[Finding]:
    yield from read_loop(diary, whole and error is None)
    yield from read_parameters(diary)
    yield from read_modes(diary, error)
    yield from read_state(diary)
    yield from read_rates(diary)


def _rank(fault: str) -> int:
    return ORDER.index(fault) if fault in ORDER else len(ORDER)
