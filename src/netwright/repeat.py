"""The verb that repeats a run: `rerun` trains its recipe again and compares it with what the run recorded.

It compares while it trains, and stops at the first number that differs. Nothing is written into the run's folder.
"""

import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netwright.data.batches import Batch
from netwright.data.dataset import Dataset
from netwright.errors import RunError, UsageError
from netwright.language import say
from netwright.recipe import MODULE
from netwright.run import Run, open_run, read_again
from netwright.rundir import SEALED, RunFolder, to_json
from netwright.start import judged
from netwright.storage import replace_bytes
from netwright.training.checkpoints import Checkpoint, from_bytes, newest
from netwright.training.job import Job, stored_recipe
from netwright.training.keeper import Outcome
from netwright.training.launch import environment, imposed
from netwright.training.objective import Terms
from netwright.training.plan import build
from netwright.training.progress import Progress
from netwright.training.signals import WATCHED, Interrupted, leave
from netwright.training.state import State
from netwright.training.train import fit

TIMES = ("seconds", "examples_per_second")
"""The columns of metrics.jsonl that a repetition may change."""
OWN = (*TIMES, "run", "wall_seconds", "findings", "notes")
"""What of report.json is not compared: times, the folder's name, and sentences in the language of their day."""


class Repetition(dict[str, Any]):
    """Whether a run repeats: `identical first_difference compared environment seconds`, also as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a repetition has no field {name!r}; it has: {', '.join(self)}") from None

    def to_json(self) -> dict[str, Any]:
        return dict(self)

    def __str__(self) -> str:
        compared = self["compared"]
        if self["identical"]:
            text = "{run} repeats to the bit: {rows} rows, to step {step}" if compared["report"] else (
                "{run} repeats to the bit as far as it came: {rows} rows, to step {step}"
            )  # fmt: skip
            return say(text, run=self["run"], rows=compared["rows"], step=compared["steps"])
        found = self["first_difference"]
        lines = [
            say("{run} does not repeat: at step {step}, {what} is {here} here and {there} in the run",
                run=self["run"], step=found["step"], what=found["what"],
                here=_shown(found["here"]), there=_shown(found["there"]))
        ]  # fmt: skip
        for one in self["environment"]:
            text = say("what may explain it: {what} is {here} here and was {there}", **one)
            lines.append(text)
        if not self["environment"]:
            lines.append(say("nothing else that the run recorded differs here: versions, threads, device, precision"))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


class Different(Exception):
    """The first number that differs."""

    def __init__(self, step: int, what: str, here: Any, there: Any) -> None:
        self.found = {"step": step, "what": what, "here": _plain(here), "there": _plain(there)}
        super().__init__(what)


class Reached(Exception):
    """Everything that an unfinished run recorded has been compared."""


class Compared(RunFolder):
    """A folder whose rows, as they are appended, are held against those of another run."""

    def __init__(self, path: Path, rows: list[dict[str, Any]], checkpoint: Checkpoint | None, finished: bool) -> None:
        super().__init__(path)
        self.wanted, self.checkpoint, self.finished = rows, checkpoint, finished
        self.seen = self.step = 0
        self.matched: int | None = None
        """The step whose checkpoint was found equal."""
        self.last = max([row["step"] for row in rows[-1:]] + [checkpoint.step if checkpoint else 0])

    def append(self, row: Mapping[str, Any]) -> None:
        """Take a row of the repetition: the next one of the run has to be equal."""
        super().append(row)
        here, step = json.loads(to_json(dict(row))), int(row["step"])
        if self.seen == len(self.wanted):
            if self.finished:
                raise Different(step, "metrics.jsonl", here, None)
            return
        there = self.wanted[self.seen]
        if there["step"] != step:
            raise Different(min(step, there["step"]), "metrics.jsonl: step", step, there["step"])
        for name in there:
            if name not in TIMES and (found := difference(here.get(name), there[name], name)):
                raise Different(step, f"metrics.jsonl: {found[0]}", *found[1:])
        self.seen, self.step = self.seen + 1, step

    def probe(self, state: State, batch: Batch, terms: Terms) -> None:
        """After a step: weights and optimizer state against the run's newest checkpoint, where it stands there."""
        step = state.step + 1
        if not self.finished and step > self.last:
            raise Reached
        if self.checkpoint is None or self.checkpoint.step != step:
            return
        weights = state.model.state_dict()
        for kind, here, there in (
            ("weights", weights, self.checkpoint.weights), ("state", state.tensors(), self.checkpoint.tensors),
        ):  # fmt: skip
            if found := tensor_difference(here, there):
                raise Different(step, f"checkpoints/{step}/{kind}: {found[0]}", *found[1:])
        self.matched = self.step = step

    def end(self, steps: int) -> None:
        """The training is over: no row may be left."""
        if self.seen < len(self.wanted):
            there = self.wanted[self.seen]
            raise Different(there["step"], "metrics.jsonl", None, there)
        self.step = max(self.step, steps)


def rerun(run: Run | Path | str, *, data: Any = None, quiet: bool = False) -> Repetition:
    """Train a run again from its own recipe on the same data, and report the first step that differs.

    All rows of metrics.jsonl but their times, weights and optimizer state of the newest checkpoint, the best weights,
    and the numbers of report.json are compared; of an unfinished run as far as it came. The repetition stands in a
    temporary folder that is removed. `data` is needed only where the run was given arrays. Errors: data that changed
    since (`DataError`), a damaged run folder (`RunError`), a network that came from Python (`UsageError`): its first
    weights are not on record.
    """
    started = time.monotonic()
    run = run if isinstance(run, Run) else open_run(run)
    progress = Progress(quiet)
    with _leaving():
        job, wanted = _prepared(run, data, progress)
        with tempfile.TemporaryDirectory(prefix="netwright-rerun-", ignore_cleanup_errors=True) as place:
            folder = _again(run.folder, Path(place) / run.path.resolve().name, wanted, progress)
            job.folder, job.probes = folder, [folder.probe]
            here, there = environment(job.launch), run.folder.read("run.json")["environment"]
            names = [name for name in there if here.get(name) != there[name]]
            found = _compare(run, job, folder)
    compared = {
        "rows": folder.seen, "steps": folder.step, "checkpoint": folder.matched,
        "report": found is None and folder.finished,
    }  # fmt: skip
    return Repetition(
        run=str(run.path), identical=found is None, first_difference=found, compared=compared,
        environment=[{"what": name, "here": here.get(name), "there": there[name]} for name in names],
        seconds=time.monotonic() - started,
    )  # fmt: skip


def _prepared(run: Run, data: Any, progress: Progress) -> tuple[Job, bool]:
    """All that the training needs but its folder, and whether the run is finished; what cannot be is refused."""
    folder = run.folder
    facts = folder.read("run.json")
    finished = facts["state"] == "finished" and folder.has("report.json")
    if finished or folder.has("best.json"):
        folder.verified(SEALED if finished else SEALED[1:])
    recipe = stored_recipe(folder)
    if recipe.table("network")["name"] == MODULE:
        text = say("{run} trained a module from Python, whose first weights are not on record; it cannot be repeated",
                   run=run.path)  # fmt: skip
        raise UsageError(text)
    kept: Dataset | None = run._dataset
    dataset = read_again(folder, recipe, kept if data is None and facts.get("in_memory") else data)
    where = imposed(recipe.table("training"), facts["environment"])
    model = build(recipe, dataset.inputs, dataset.outputs)
    return Job(dataset, recipe, model, where, progress, run_id=facts["id"], sources=folder.sources()), finished


def _again(folder: RunFolder, place: Path, finished: bool, progress: Progress) -> Compared:
    """The temporary folder of the repetition, with the records that stand before the first step."""
    run_id = str(folder.read("run.json")["id"])
    rows = [row for row in folder.rows() if isinstance(row.get("step"), int)]
    checkpoint = newest(folder.path, run_id, folder.sources(), progress.say)
    found = Compared(place, rows, checkpoint, finished)
    if not found.last:
        raise RunError(say("{run} has nothing to compare: it was stopped before its first record", run=folder.path))
    place.mkdir()
    for name in ("recipe.toml", "data.json", "run.json"):
        replace_bytes(place / name, folder.read_bytes(name))
    text = say("repeating {run} in a temporary folder: {rows} rows, {steps} steps to compare",
               run=folder.path, rows=len(rows), steps=found.last)  # fmt: skip
    progress.say(text)
    return found


def _compare(run: Run, job: Job, folder: Compared) -> dict[str, Any] | None:
    """Train and compare: the first difference, or None."""
    try:
        outcome = fit(job)
        folder.end(outcome.steps)
        if folder.finished:
            _compare_end(run, job, outcome)
    except Different as different:
        job.progress.done()
        return different.found
    except Reached:
        job.progress.done()
    except (Interrupted, KeyboardInterrupt):
        job.progress.done()
        job.progress.say(say("stopped; no difference up to step {step}", step=folder.step))
        raise
    return None


def _compare_end(run: Run, job: Job, outcome: Outcome) -> None:
    """Best weights, report and predictions."""
    best = from_bytes(run.folder.verified()["best.safetensors"], "best.safetensors")
    if found := tensor_difference(outcome.weights, best):
        raise Different(outcome.steps, f"best.safetensors: {found[0]}", *found[1:])
    report, tensors = judged(job, outcome)
    there = {name: value for name, value in run.report.items() if name not in OWN}
    here = json.loads(to_json(report))
    if found := difference({name: here.get(name) for name in there}, there, ""):
        raise Different(outcome.steps, f"report.json: {found[0]}", *found[1:])
    name = "predictions.safetensors"
    stored = from_bytes(run.folder.read_bytes(name), name)
    if found := tensor_difference(tensors, stored, tuple(tensors)):
        raise Different(outcome.steps, f"{name}: {found[0]}", *found[1:])


def difference(here: Any, there: Any, name: str) -> tuple[str, Any, Any] | None:
    """The first place where two JSON values differ: its dotted name and what stands there in each."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            inner = difference(here.get(key), there.get(key), f"{name}.{key}" if name else str(key))
            if inner or (key in here) != (key in there):
                return inner or (f"{name}.{key}" if name else str(key), here.get(key), there.get(key))
        return None
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = enumerate(zip(here, there, strict=True))
        return next((found for place, pair in pairs if (found := difference(*pair, f"{name}[{place}]"))), None)
    return None if type(here) is type(there) and here == there else (name, here, there)


def tensor_difference(
    here: Mapping[str, Tensor], there: Mapping[str, Tensor], names: tuple[str, ...] = ()
) -> tuple[str, Any, Any] | None:
    """The first number in which two groups of tensors differ in its bits: its place and both values."""
    for name in names or (*there, *(name for name in here if name not in there)):
        if name not in here or name not in there:
            return name, _kind(here.get(name)), _kind(there.get(name))
        one, other = here[name].detach().cpu().contiguous(), there[name].contiguous()
        if one.shape != other.shape or one.dtype != other.dtype:
            return name, _kind(one), _kind(other)
        bits = [tensor.reshape(-1).view(torch.uint8).reshape(tensor.numel(), -1) for tensor in (one, other)]
        apart = (bits[0] != bits[1]).any(1).nonzero().flatten()
        if len(apart):
            flat = int(apart[0])
            index = ",".join(str(int(place)) for place in torch.unravel_index(torch.tensor(flat), one.shape))
            return f"{name}[{index}]" if index else name, one.reshape(-1)[flat].item(), other.reshape(-1)[flat].item()
    return None


def _kind(tensor: Tensor | None) -> str | None:
    """What a tensor is, where its numbers cannot be compared."""
    return None if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: what is not finite by its name."""
    return str(value) if isinstance(value, float) and value - value != 0 else value


def _shown(value: Any) -> str:
    """A value in a sentence: every digit of a number, of anything long its beginning."""
    if value is None:
        return say("missing")
    text = repr(value) if isinstance(value, (int, float)) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@contextmanager
def _leaving() -> Iterator[None]:
    """Make a signal an exception, so that the temporary folder goes with it (main thread only)."""

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in WATCHED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
