"""Keeps the record of a training: rows, validation, best weights, checkpoints, and the reason to stop."""

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor, nn

from netwright.catalogue import METRICS
from netwright.data.batches import Batches
from netwright.errors import RunError
from netwright.language import say
from netwright.training.answers import answers, deciding, measured, needs_decoding
from netwright.training.checkpoints import Checkpoint, copied, digests, model_tensors
from netwright.training.forward import Forward
from netwright.training.job import Job, until
from netwright.training.loop import Step, settle
from netwright.training.plan import settings
from netwright.training.procedure import Procedure
from netwright.training.progress import number
from netwright.training.quotients import Quotients
from netwright.training.saver import Failure, Saver, Snapshot
from netwright.training.spread import align
from netwright.training.state import State
from netwright.training.stopping import Best


@dataclass
class Outcome:
    """How a training went."""

    best: Best
    epochs: int
    steps: int
    seconds: float
    examples_per_second: float | None
    train_loss: float
    lowest_train_loss: float
    stopped: str
    """`epochs`, `until`, `patience` or `non-finite`."""
    non_finite: dict[str, Any] | None
    still: list[str]
    """Trainable tensors that ended exactly as they began."""
    weights: dict[str, Tensor]
    """The best weights."""


class Keeper:
    """Keeps the record of a training: rows, best weights, checkpoints, and the reason to stop."""

    def __init__(self, job: Job, state: State, batches: Batches) -> None:
        self.job, self.state, self.batches = job, state, batches
        state.total_steps = batches.per_epoch * job.training["epochs"]
        self.best = Best(deciding(job.dataset))
        self.best_weights: dict[str, Tensor] | None = None
        """The best weights where they are not yet on disk, or where there is no disk."""
        self.saver = Saver(job.folder, job.run_id, job.sources) if job.folder is not None else None
        self.best_step = 0
        """The step whose weights the best ones are."""
        self.lowest_train_loss, self.train_loss = math.inf, math.nan
        self.validation: dict[str, Any] = {}
        self.stopped = ""
        self.non_finite: dict[str, Any] | None = None
        self.seconds_before, self.started = job.spent, time.monotonic()
        self.rows_waiting = False
        self.saved_at = self.logged_at = self.epoch_at = self.started
        self.logged = self.epoch_examples = 0
        self.speeds: list[float] = []
        self.until = until(job.training, job.dataset)
        self.procedure = Procedure(job, self.until)
        self.quotients = Quotients(state, job.training["log_steps"])
        self.forward = Forward(
            state.model, job.dataset.targets, job.recipe.table("loss")["name"], settings(job.recipe, "loss"),
            job.launch.device, job.launch.precision, job.launch.layout, job.ranks,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Training time so far, over all resumes."""
        return self.seconds_before + time.monotonic() - self.started

    def after_step(self, step: Step) -> None:
        """Count, log at log points, and redraw the live line."""
        self.logged += step.examples
        self.epoch_examples += step.examples
        if step.number % self.job.training["log_steps"] == 0:
            self._log(step)
        if self.job.progress.due():
            share = (self.state.seen or len(self.batches)) / len(self.batches)
            speed = self._speed()
            total = len(self.batches) * self.job.training["epochs"]
            left = (total - step.epoch * len(self.batches) - share * len(self.batches)) / speed if speed else math.inf
            self.job.progress.step(
                step.epoch + 1,
                self.job.training["epochs"],
                share,
                _shown(step),
                self._last_metric(),
                speed,
                left,
            )

    def _speed(self) -> float:
        return self.speeds[-1] if self.speeds else self.logged / max(1e-9, time.monotonic() - self.logged_at)

    def _last_metric(self) -> str:
        name = self.best.metric
        return f"{say(name)} {number(self.validation.get(name))}" if self.validation else ""

    def _log(self, step: Step) -> None:
        now = time.monotonic()
        speed = self.logged / max(1e-9, now - self.logged_at)
        self.speeds.append(speed)
        self.logged_at, self.logged = now, 0
        settle(self.state)
        found: dict[str, Any] = {"loss": self.state.tally.mean("log")}
        if step.terms is not None and step.terms.parts:
            found["parts"] = {name: float(value) for name, value in step.terms.parts.items()}
        if self.state.skipped:
            found["skipped"] = self.state.skipped
        self._append(step, found | self.quotients.row(), speed)

    def _append(self, step: Step, found: dict[str, Any], speed: float | None) -> None:
        row = {"step": step.number, "epoch": step.epoch + 1, **found, "lr": self.state.lr}
        row |= {"gradient_norm": self.state.gradient_norm, "seconds": self.seconds, "examples_per_second": speed}
        if self.job.folder is not None:
            self._keep(row)

    def _keep(self, row: dict[str, Any]) -> None:
        """Append a row; one that the disk does not take now goes with the next, or fails the next save."""
        try:
            self.job.folder.append(row)  # type: ignore[union-attr]
        except RunError as error:
            if not self.rows_waiting:
                self.job.progress.say(say("! {error}; the rows wait in memory", error=error))
            self.rows_waiting = True
        else:
            self.rows_waiting = False

    def after_epoch(self, step: Step) -> bool:
        """Validate, keep the best, write the epoch's row; True when the training should stop."""
        now = time.monotonic()
        speed = self.epoch_examples / max(1e-9, now - self.epoch_at)
        self.train_loss = self.state.tally.mean("epoch")
        self.lowest_train_loss = min(self.lowest_train_loss, self.train_loss)
        self.validation = self.validate()
        self.state.history.append(self.validation.get("loss", self.train_loss))
        spoilt = not self.validation and not _finite(self.state.model)  # else the validation loss tells
        is_best = not spoilt and self.best.update(step.epoch + 1, self.validation)
        if is_best:
            self.best_weights, self.best_step = model_tensors(self.state.model), self.state.step
        found = {"train_loss": self.train_loss, "validation": self.validation}
        self._append(step, found, speed)
        row = {"epoch": step.epoch + 1, **found, "examples_per_second": speed}
        self.job.progress.epoch(row, self.job.training["epochs"], is_best)
        self.epoch_at = self.logged_at = time.monotonic()
        self.epoch_examples = self.logged = 0
        if not math.isfinite(self.validation.get("loss", 0.0)):
            self._not_finite(step, say("validation loss"), self._broken())
        elif spoilt:
            self._not_finite(step, say("weight"), [])
        elif self.until and self.until.met({**self.validation, "train_loss": self.train_loss}):
            self.stopped = "until"
        elif 0 < self.job.training["stop_after"] <= self.best.stale:
            self.stopped = "patience"
        self.procedure.epoch(step.epoch + 1, {**self.validation, "train_loss": self.train_loss}, self.stopped)
        return bool(self.stopped)

    def _not_finite(self, step: Step, where: str, examples: list[str]) -> None:
        """Stop where validation or weights are no longer finite (rule P15): no epoch after it could be the best."""
        self.stopped = "non-finite"
        self.non_finite = {"where": where, "step": step.number, "epoch": step.epoch + 1, "examples": examples}
        text = say("the {where} is not finite at step {step} (epoch {epoch})",
                   where=where, step=step.number, epoch=step.epoch + 1)  # fmt: skip
        self.job.progress.say(text)

    def _broken(self) -> list[str]:
        """The validation examples without a finite answer, by name."""
        dataset = self.job.dataset
        broken = answers(self.forward, dataset, "validation", decode=False).broken
        ids = dataset.ids("validation")
        return [ids[place] for place in broken] or ids

    def validate(self) -> dict[str, Any]:
        """Loss and first metrics on the validation split; empty where there is none."""
        dataset, ranks = self.job.dataset, self.job.ranks
        align(ranks, self.state.model)
        if not dataset.examples["validation"]:
            return {}
        wanted = list(dataset.targets.watched)
        if self.until and self.until.metric in METRICS and self.until.metric not in wanted:
            wanted.append(self.until.metric)
        answered = answers(self.forward, dataset, "validation", decode=needs_decoding(wanted))
        if ranks.number:
            return dict(ranks.share())  # all decide by rank 0's numbers
        found: dict[str, Any] = {"loss": answered.loss, **measured(dataset, "validation", answered, wanted)}
        return dict(ranks.share(found))

    # saving -------------------------------------------------------------------------------------------------

    def save_due(self) -> bool:
        """Whether a save is due; one by time waits until the one before has landed."""
        training = self.job.training
        if training["save_steps"] and self.state.step % training["save_steps"] == 0:
            return True
        if self.saver is not None:
            self._heed(self.saver.landed())
            if self.saver.busy:
                return False
        return time.monotonic() - self.saved_at >= training["save_seconds"] > 0

    def save(self, *, last: bool = False) -> None:
        """Snapshot the training and save it in the background: the best weights where they changed, and a checkpoint.

        The `last` save of a process is waited for. A save that fails is said and the training goes on: the next one
        takes its best weights along. Errors: RunError where the last save fails, or where nothing was ever saved.
        """
        if self.saver is None:
            return
        settle(self.state)
        self._heed(self.saver.landed(wait=True))
        self.saved_at = time.monotonic()
        self.saver.start(self._snapshot())
        if last and (failure := self.saver.landed(wait=True)) is not None:
            raise self._lost(failure)

    def _snapshot(self) -> Snapshot:
        best, self.best_weights = self.best_weights, None
        assert self.job.folder is not None
        same = best is not None and self.best_step == self.state.step  # nothing learnt since: one copy serves both
        weights = best if same and best is not None else model_tensors(self.state.model)
        facts = {**self.facts(), "rows_bytes": self.job.folder.rows_bytes()}
        checkpoint = Checkpoint(self.state.step, weights, copied(self.state.tensors()), facts)
        told = {"epoch": self.best.epoch, "metric": self.best.metric, "value": self.best.value, "run": self.job.run_id}
        return Snapshot(checkpoint, best, told)

    def _heed(self, failure: Failure | None) -> None:
        """Say that a save failed and keep what it held; without any checkpoint the training ends here."""
        if failure is None or self.saver is None:
            return
        if self.saver.saved is None:
            raise self._lost(failure)
        if self.best_weights is None:
            self.best_weights, self.best_step = failure.snapshot.best, -1
        text = say("! {error}; {newest}, the training goes on", error=failure.error, newest=self.saver.nothing_newer())
        self.job.progress.say(text)

    def _lost(self, failure: Failure) -> RunError:
        assert self.saver is not None
        return RunError(f"{failure.error}\n{self.saver.nothing_newer()}")

    def close(self, *, failed: bool) -> None:
        """Wait for the save in flight and end its thread; a failure is said, or raised where nothing else `failed`."""
        failure = self.saver.close() if self.saver is not None else None
        if failure is not None and not failed:
            raise self._lost(failure)
        if failure is not None:
            self.job.progress.say(f"! {failure.error}")

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors."""
        return {
            **self.state.facts(), "best": self.best.facts(), "seconds": self.seconds, "validation": self.validation,
            "train_loss": self.train_loss, "lowest_train_loss": self.lowest_train_loss,
            "gradient_norm": self.state.gradient_norm, "stopped": self.stopped, "non_finite": self.non_finite,
        }  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        """Stand where `checkpoint` stood, and cut the rows that will be written again."""
        facts = checkpoint.facts
        self.state.restore(checkpoint.weights, checkpoint.tensors, facts)
        self.best, self.validation = Best.of(facts["best"]), facts["validation"]
        self.train_loss = _nan(facts["train_loss"])
        self.lowest_train_loss = math.inf if facts["lowest_train_loss"] is None else facts["lowest_train_loss"]
        self.state.norm = _nan(facts["gradient_norm"])
        self.stopped, self.non_finite = facts["stopped"], facts["non_finite"]
        self.seconds_before = facts["seconds"]
        self.quotients.remember(self.state)
        if self.job.folder is not None and self.saver is not None:
            there = self.job.folder.rows_bytes()
            if there < facts.get("rows_bytes", 0):
                text = say("! metrics.jsonl has lost rows: {there} bytes of {wanted} up to step {step}",
                           there=there, wanted=facts["rows_bytes"], step=checkpoint.step)  # fmt: skip
                self.job.progress.say(text)
            self.job.folder.cut(checkpoint.step)
            self.saver.saved = checkpoint.step
            if checkpoint.best:
                self.saver.best = self.job.folder.recover_best(checkpoint.best)

    def outcome(self, initial: dict[str, str]) -> Outcome:
        """The result, with the best weights read back from where they are kept; `initial` are the digests of the
        trainable weights before the first step."""
        from netwright.training.checkpoints import from_bytes

        final = digests(self.state.model) if self.state.step else {}
        still = [name for name, digest in final.items() if digest == initial[name]]
        weights = self.best_weights
        if self.job.folder is not None:
            weights = from_bytes(self.job.folder.verified()["best.safetensors"])
        elif weights is None:
            weights = model_tensors(self.state.model)
        speed = median(self.speeds[1:] or self.speeds) if self.speeds else None
        return Outcome(
            self.best, self.state.epoch, self.state.step, self.seconds, speed, self.train_loss,
            self.lowest_train_loss, self.stopped, self.non_finite, still, weights,
        )  # fmt: skip


def _shown(step: Step) -> float:
    """The loss of one step, for the live line."""
    return step.terms.value.item() if step.terms is not None else math.nan


def _finite(model: nn.Module) -> bool:
    """Whether every number that a network has learnt is finite."""
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
