"""Training speed on MNIST beside plain PyTorch and the bare limit: examples per second, rounds interleaved.

    python -m bench.mnist PATH [--rounds 5] [--steps 400] [--precision float32|bfloat16] [--threads N] [--json]

Three ways to train the same network (`convnet`, 28,938 parameters on MNIST) with batches of 64 on the CPU:

- `netwright`: what `netwright train` runs, bookkeeping included: the real `fit` with a real run folder, logging at the
  default interval, the finite checks, signals, saves every 30 s. Progress off, as in a script.
- `plain`: PyTorch as tutorials write it: Dataset with a transform for each item, DataLoader(batch_size=64,
  shuffle=True), Adam, and `running_loss += loss.item()`.
- `limit`: the same model with all data in one tensor, batches by index, channels-last memory, fused Adam, nothing else.

Each round trains all three from the same first weights; the first `--warmup` steps of each are not timed. Ratios are
taken within a round, so that a machine that slows down for a while slows all three.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import netwright
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.recipe import Recipe
from netwright.rundir import RunFolder
from netwright.training.launch import cores, launch
from netwright.training.plan import build, resolve
from netwright.training.progress import Progress
from netwright.training.train import Job, fit

BATCH = 64
MEAN, DEVIATION = 0.1307, 0.3081
"""MNIST's mean and standard deviation of grey levels from 0 to 1, as tutorials write them."""


@dataclass(frozen=True)
class Work:
    """What each of the three trains on, and how long."""

    dataset: Dataset
    recipe: Recipe
    warmup: int
    steps: int
    precision: str
    threads: int

    def model(self) -> nn.Module:
        """The network with the first weights of the recipe's seed."""
        return build(self.recipe, self.dataset.inputs, self.dataset.outputs)

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Raw pictures, uint8 (N, 1, 28, 28), and class numbers."""
        positions = self.dataset.splits["train"]
        return self.dataset.source.examples.take(positions), self.dataset.target_tensor("train")

    def autocast(self) -> AbstractContextManager[Any]:
        """The same number type for all three."""
        return torch.autocast("cpu", torch.bfloat16) if self.precision == "bfloat16" else nullcontext()


class Clock:
    """Times the steps after the warm-up: call it once after every step."""

    def __init__(self, work: Work) -> None:
        self.work, self.done, self.started, self.seconds = work, 0, 0.0, 0.0

    def __call__(self, *_: object) -> None:
        self.done += 1
        if self.done == self.work.warmup:
            self.started = time.perf_counter()
        elif self.done == self.work.warmup + self.work.steps:
            self.seconds = time.perf_counter() - self.started

    @property
    def examples_per_second(self) -> float:
        return self.work.steps * BATCH / self.seconds


def netwright_loop(work: Work) -> float:
    """Netwright's own training; the clock is a probe, which the loop calls after each step."""
    clock = Clock(work)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place) / "run", "mnist", "convnet")
        (folder.path / "recipe.toml").write_text(work.recipe.text(), encoding="utf-8")
        folder.write("data.json", work.dataset.record())
        where = launch(work.recipe.table("training"))
        fit(Job(work.dataset, work.recipe, work.model(), where, Progress(quiet=True), folder, "bench", probes=[clock]))
    return clock.examples_per_second


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Pictures one at a time, each scaled and normalised when it is asked for."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable[[np.ndarray], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def normalised(image: np.ndarray) -> Tensor:
    """Grey levels 0 to 255 as floats of mean 0 and deviation 1."""
    return (torch.from_numpy(image).float().div(255) - MEAN) / DEVIATION


def plain_loop(work: Work) -> float:
    """PyTorch as tutorials write it."""
    images, labels = work.pictures()
    loader = DataLoader(Pictures(images.numpy(), labels.numpy(), normalised), batch_size=BATCH, shuffle=True)
    model = work.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    clock, running_loss = Clock(work), 0.0
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with work.autocast():
            loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        clock()
    return clock.examples_per_second


def limit_loop(work: Work) -> float:
    """The same model and data with nothing around it."""
    images, targets = work.pictures()
    inputs = normalised(images.numpy()).contiguous(memory_format=torch.channels_last)
    model: nn.Module = work.model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    clock = Clock(work)
    model.train()
    for chosen in torch.randperm(len(inputs)).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        with work.autocast():
            loss = functional.cross_entropy(model(inputs[chosen]), targets[chosen])
        loss.backward()
        optimizer.step()
        clock()
    return clock.examples_per_second


LOOPS = {"netwright": netwright_loop, "plain": plain_loop, "limit": limit_loop}


def work_for(path: str, steps: int, warmup: int, precision: str, threads: int) -> Work:
    """MNIST at `path`, cut to one epoch of `warmup + steps` batches; a made set of that shape where there is none."""
    wanted = (warmup + steps) * BATCH
    settings: dict[str, Any] = {"validation": 0.0, "limit": wanted, "batch_size": BATCH}
    if path:
        dataset = read(path, **settings)
    else:
        images = np.random.default_rng(0).integers(0, 256, (wanted + 10, 28, 28), dtype=np.uint8)
        dataset = read(images, np.arange(len(images)) % 10, test=10 / len(images), **settings)
    found = len(dataset.splits["train"]) // BATCH - warmup
    if found < 1:
        raise SystemExit(f"{path}: {len(dataset.splits['train'])} training examples; {(warmup + 1) * BATCH} are needed")
    training = {"precision": precision, "device": "cpu", "threads": threads}
    recipe = Recipe().updated({"network": {"name": "convnet"}, "training": training}, "bench")
    recipe = resolve(recipe, dataset)  # log_steps as a training of default length has it
    recipe = recipe.set("training.epochs", 1)
    return Work(dataset, recipe, warmup, min(steps, found), precision, threads)


def rounds(work: Work, count: int) -> Iterator[dict[str, float]]:
    """Examples per second of each loop, one round after the other, within a round one loop after the other."""
    for _ in range(count):
        yield {name: loop(work) for name, loop in LOOPS.items()}


def spread(values: list[float]) -> dict[str, Any]:
    """Median, lowest and highest."""
    return {"median": median(values), "low": min(values), "high": max(values), "values": values}


def measure(path: str, count: int, steps: int, warmup: int, precision: str, threads: int) -> dict[str, Any]:
    """All rounds and what they were measured on."""
    torch.set_num_threads(threads)
    work = work_for(path, steps, warmup, precision, threads)
    found = list(rounds(work, count))
    speeds = {name: spread([row[name] for row in found]) for name in LOOPS}
    ratios = {
        f"netwright/{other}": spread([row["netwright"] / row[other] for row in found]) for other in ("plain", "limit")
    }
    return {
        "work": "convnet on MNIST" if path else "convnet on a made set of MNIST's shape",
        "n": count, "steps": work.steps, "warmup": warmup, "batch_size": BATCH, "precision": precision,
        "threads": torch.get_num_threads(), "hardware": hardware(), "versions": versions(),
        "examples_per_second": speeds, "ratios": ratios,
    }  # fmt: skip


def hardware() -> str:
    """Processor, usable cores, capability, memory and load."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    words = [model, f"{cores()} cores usable", torch.backends.cpu.get_cpu_capability()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        words.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    if hasattr(os, "getloadavg"):
        words.append(f"load average {os.getloadavg()[0]:.1f} at the end")
    return ", ".join(words)


def versions() -> dict[str, str]:
    """Versions that speed depends on."""
    return {
        "netwright": netwright.__version__, "torch": torch.__version__,
        "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def text(found: dict[str, Any]) -> str:
    """A report for reading, in Markdown."""
    lines = [
        f"{found['work']}, batches of {found['batch_size']}, {found['precision']}, {found['threads']} threads; "
        f"n = {found['n']} interleaved rounds of {found['steps']} steps after {found['warmup']} of warm-up.",
        f"Hardware: {found['hardware']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()) + ".",
        "",
        "| | examples per second, median | lowest to highest |",
        "|---|---:|---:|",
    ]
    for name, values in found["examples_per_second"].items():
        lines.append(f"| {name} | {values['median']:,.0f} | {values['low']:,.0f} to {values['high']:,.0f} |")
    lines += ["", "| ratio within a round | median | lowest to highest |", "|---|---:|---:|"]
    for name, values in found["ratios"].items():
        lines.append(f"| {name} | {values['median']:.2f} | {values['low']:.2f} to {values['high']:.2f} |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.mnist", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", nargs="?", default="", help="the folder of MNIST's IDX files; a made set without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="timed steps of each loop in each round")
    parser.add_argument("--warmup", type=int, default=20, help="steps before the clock starts")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args(words)
    for name in ("rounds", "steps", "warmup", "threads"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} is at least 1")
    path = given.path
    if not path or not Path(path).exists():
        why = f"{path} does not exist" if path else "no path was given"
        print(f"{why}: measuring on a made set of MNIST's shape, whose speed is the same", file=sys.stderr)
        path = ""
    found = measure(path, given.rounds, given.steps, given.warmup, given.precision, given.threads)
    print(json.dumps(found, indent=1) if given.json else text(found))


if __name__ == "__main__":
    main()
