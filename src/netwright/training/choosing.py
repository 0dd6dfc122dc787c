"""How a training takes its steps is chosen by measuring, before the first one: threads, number type, memory layout,
compiling, allocator, batches ahead of need.

What was chosen is kept for this machine, network and shapes and written into the run's recipe with the times; resume
imposes it again. Threads, number type and layout decide about bits, so they never change inside a run. A training too
short to gain from measuring keeps the settled rule (`launch`), and so does a machine where a choice cannot be kept.
"""

import gc
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from netwright import storage
from netwright.catalogue import NETWORKS
from netwright.language import say
from netwright.places import cache_folder
from netwright.recipe import MODULE
from netwright.rundir import open_sealed, sealed_json
from netwright.training.allocator import adjustable, keep
from netwright.training.forward import channels_last
from netwright.training.job import Job
from netwright.training.launch import Launch, bfloat16_units, usable_threads
from netwright.training.loop import NonFinite
from netwright.training.racing import Runner, Way, race, winner

FORMAT = 1
SHORTEST = 2e11
"""Multiply-adds of all steps below which nothing is measured: some seconds, in which measuring would not pay. No clock
decides this, so that equal commands decide alike."""
SHARE, LONGEST = 0.05, 20.0
"""Measuring takes about this share of the training's estimated time at the most, and about so many seconds."""
LARGE = 50_000_000
"""Weights from which on no second copy of the network is made to try another layout."""
GAIN = 1.03
"""By this factor another way has to be faster than the rule's to take its place: noise alone should not decide."""
MEMORY_GAIN = 1.1
"""By this factor keeping freed memory has to be faster: the process grows by what lies idle."""
WORTH_NAMING = 1.1
COMPILES = 6e14
"""Multiply-adds of all steps from which on compiling is tried on a CUDA device: about ten minutes at 1e12 a second."""
ASKED = ("precision", "layout", "threads", "compile", "allocator", "prefetch", "device")


@dataclass(frozen=True)
class Choice:
    """What was chosen, and the times behind it."""

    precision: str
    layout: str
    threads: int
    compile: bool
    allocator: str
    prefetch: bool
    times: list[dict[str, Any]]
    """One for each way that was tried: its settings, the median milliseconds of a step, and the number of turns."""
    bfloat16: dict[str, Any]
    """How far a step in bfloat16 is from one in float32, and whether that may decide; empty where it was not tried."""
    measured: str
    """The day."""

    def onto(self, where: Launch) -> Launch:
        """`where` with this choice in place."""
        return replace(
            where, precision=self.precision, layout=self.layout, threads=self.threads, compile=self.compile,
            allocator=self.allocator, prefetch=self.prefetch, why=f"{where.device}, {self}",
        )  # fmt: skip

    def __str__(self) -> str:
        best = self.times[0]
        text = say("{threads} threads, {precision}, {layout}: {time:.3g} ms a step, measured beside {count} other ways",
                   threads=self.threads, precision=self.precision, layout=self.layout, time=best["milliseconds"],
                   count=sum("allocator" not in row for row in self.times) - 1)  # fmt: skip
        if self.bfloat16.get("named"):
            more = say("precision=bfloat16 would be {factor:.1f} times as fast; its accuracy is not proven for this "
                       "network", factor=self.bfloat16["named"])  # fmt: skip
            text = f"{text} ({more})"
        return text

    def comments(self) -> str:
        """The times as comments of a recipe."""
        lines = [f"measured {self.measured}, before the first step; what was chosen stands first"]
        for row in self.times:
            settings = (
                f"{row['precision']} {row['layout']} threads={row['threads']} compile={str(row['compile']).lower()}"
            )
            extra = "".join(f" {name}={row[name]}" for name in ("allocator", "prefetch") if name in row)
            lines.append(f"{row['milliseconds']:9.3f} ms a step (median of {row['turns']}): {settings}{extra}")
        return "".join(f"# {line}\n" for line in lines)


def choose(job: Job, macs: int) -> Choice | None:
    """The choice for a job: the kept one of this machine, network and shapes, else a measured one, which is kept.

    `macs` are the multiply-adds of the network for one example. None where every setting is asked for, the training is
    short, or nothing can be kept or measured.
    """
    work = 3 * macs * job.dataset.examples["train"] * job.training["epochs"]  # backward takes twice the forward pass
    if work < SHORTEST or not any(job.training.get(name, "auto") == "auto" for name in ASKED[:5]):
        return None
    long = work >= COMPILES and job.launch.device.type == "cuda"
    path = cache_folder() / "choices" / f"{_digest(_key(job, long))}.json"
    return _kept(path, job) or _measure(job, path, long)


def _key(job: Job, long: bool) -> dict[str, Any]:
    """What a choice depends on: machine, versions, network, shapes, and what was asked for."""
    recipe, data = job.recipe, job.recipe.table("data")
    device = torch.cuda.get_device_name(job.launch.device) if job.launch.device.type == "cuda" else _processor()
    return {
        "format": FORMAT, "device": device, "threads": usable_threads(), "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(), "network": recipe.table("network"),
        "inputs": job.dataset.inputs, "outputs": job.dataset.outputs, "batch_size": data["batch_size"],
        "augment": data["augment"], "loss": recipe.table("loss"), "optimizer": recipe.table("optimizer")["name"],
        "members": job.training["members"], "asked": {name: job.training.get(name, "auto") for name in ASKED},
        "modules": _digest({"text": repr(job.model)}), "freeze": job.training["freeze"], "long": long,
    }  # fmt: skip


def _processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _kept(path: Path, job: Job) -> Choice | None:
    """A choice made before, where it is whole and still possible here."""
    try:
        found = open_sealed(storage.read_bytes(path)) or {}
        choice = Choice(**found["choice"])
        good = choice.precision in ("float32", "bfloat16", "float16") and choice.layout in (
            "contiguous",
            "channels_last",
        )
        whole = good and 1 <= choice.threads <= max(usable_threads(), _number(job.training["threads"])) and choice.times
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return choice if whole else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _measure(job: Job, path: Path, long: bool) -> Choice | None:
    """Time the ways to take a step on a copy, and keep the answer; None where that would not pay or cannot be."""
    before = torch.get_num_threads()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            return None
        with _aside(job):
            choice = _raced(job, long)
        storage.replace_bytes(path, sealed_json({"key": _key(job, long), "choice": asdict(choice)}))
    except (OSError, NonFinite, RuntimeError, TypeError):
        # A full disk, data that are not finite, a module that cannot be copied: the training itself will say so. Where
        # another process was quicker to keep its choice, that one holds.
        return _kept(path, job)
    finally:
        torch.set_num_threads(before)
        gc.collect()
    return choice


@contextmanager
def _aside(job: Job) -> Iterator[None]:
    """Random numbers of the caller stay where they are."""
    devices = [job.launch.device] if job.launch.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def ways(job: Job, long: bool) -> list[Way]:
    """The ways to take a step that are open here, the rule's first, then the likely ones."""
    asked, where = job.training, job.launch
    most, cpu, maps = usable_threads(), where.device.type == "cpu", channels_last(job.model)
    threads = [where.threads]
    if asked["threads"] == "auto" and cpu:
        threads += sorted({1, most} - {where.threads})
    layouts = [where.layout if maps else "contiguous"]
    if asked.get("layout", "auto") == "auto" and maps and sum(p.numel() for p in job.model.parameters()) < LARGE:
        layouts.append("contiguous")
    kinds = [where.precision]
    learns = not hasattr(job.model, "update")  # an update rule of its own knows no number type
    if asked["precision"] == "auto" and learns and (not cpu or bfloat16_units()):
        kinds.append("bfloat16")
    compiled = [where.compile]
    if asked.get("compile", "auto") == "auto" and long and not cpu:  # on CPUs compiling never paid
        compiled.append(True)
    return [
        Way(kind, layout, count, compile)
        for compile in compiled for layout in layouts for count in threads for kind in kinds
    ]  # fmt: skip


def _raced(job: Job, long: bool) -> Choice:
    options = ways(job, long)
    first = options[0]
    runners = {(first.layout, first.compile): Runner.of(job, first)}
    halves = any(way.precision == "bfloat16" for way in options) and first.precision == "float32"
    # With the first weights: after some steps at full rate a deep network is far from calm.
    near = runners[first.layout, first.compile].faithful(first) if halves else (False, {})
    step = runners[first.layout, first.compile].turn(first, 1)
    batches = -(-job.dataset.examples["train"] // job.recipe.table("data")["batch_size"])
    budget = min(SHARE * step * batches * job.training["epochs"], LONGEST)
    steps = max(1, min(8, round(0.04 / step)))

    def turn(way: Way) -> float:
        key = way.layout, way.compile
        if key not in runners:
            runners[key] = Runner.of(job, way)
        return runners[key].turn(way, steps)

    found = race(options, turn, 0.7 * budget)
    best, tested = _allowed(job, found, first, near)
    for key in [key for key in runners if key != (best.layout, best.compile)]:
        del runners[key]
    allocator, prefetch, more = _surroundings(job, runners[best.layout, best.compile], best, 2 * steps, 0.3 * budget)
    order = sorted(found, key=lambda way: (way != best, median(found[way])))
    rows = [{**way._asdict(), "milliseconds": 1e3 * median(found[way]), "turns": len(found[way])} for way in order]
    return Choice(
        **best._asdict(), allocator=allocator, prefetch=prefetch, times=rows + more, bfloat16=tested,
        measured=date.today().isoformat(),
    )  # fmt: skip


def _allowed(
    job: Job, found: dict[Way, list[float]], first: Way, near: tuple[bool, dict[str, float]]
) -> tuple[Way, dict[str, Any]]:
    """The fastest way that may be taken: bfloat16 only where its accuracy is proven for the network, and a step of it
    here is one of float32 within the bounds (`near`)."""
    best = winner(found, first, GAIN)
    if best.precision == first.precision:
        return best, {}
    plain = winner({way: taken for way, taken in found.items() if way.precision == first.precision}, first, GAIN)
    evidence = proven(job)
    good, numbers = near
    factor = median(found[plain]) / median(found[best])
    tested: dict[str, Any] = {**numbers, "evidence": evidence, "factor": factor}
    if evidence and good:
        return best, tested
    return plain, {**tested, "named": factor if factor >= WORTH_NAMING else 0}


def proven(job: Job) -> str:
    """What shows that bfloat16 costs this network no accuracy (three seeds, at most 0.1 point); empty where nothing
    does, as for numbers: all that was shown is of classes."""
    name = job.recipe.table("network")["name"]
    if name == MODULE or job.dataset.task != "classify" or job.dataset.is_ragged:
        return ""
    return str(NETWORKS[name].facts.get("bfloat16", ""))


def _surroundings(
    job: Job, runner: Runner, best: Way, steps: int, seconds: float
) -> tuple[str, bool, list[dict[str, Any]]]:
    """Allocator and batches ahead of need, which leave the bits alone, timed with the making of batches included."""
    asked = job.training.get("allocator", "auto")
    memory = [asked] if asked != "auto" else ["default", "keep"] if adjustable() else ["default"]
    early = job.training.get("prefetch", "auto")
    options = [(kind, made) for made in ([early] if early != "auto" else [False, True]) for kind in memory]

    def turn(option: tuple[str, bool]) -> float:
        keep(option[0] == "keep")
        return runner.epoch(best, steps, option[1])

    found = race(options, turn, seconds)
    chosen = winner(found, options[0], MEMORY_GAIN)[0]
    alike = {option: taken for option, taken in found.items() if option[0] == chosen}
    prefetch = winner(alike, next(iter(alike)), 1.0)[1]
    keep(False)
    rows = [
        {
            **best._asdict(),
            "allocator": kind,
            "prefetch": ahead,
            "milliseconds": 1e3 * median(taken),
            "turns": len(taken),
        }
        for (kind, ahead), taken in found.items()
    ]
    return chosen, prefetch, sorted(rows, key=lambda row: row["milliseconds"])
