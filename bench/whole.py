"""W5: a training from the start of its process to the end, one process at a time."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.conduct import ROOT, Say, environment
from bench.machine import watched
from bench.works import TARGET, Order


@dataclass
class Whole:
    """What was measured of one side."""

    side: str
    precision: str
    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    """Epochs, held-out accuracy, test accuracy."""
    error: str = ""


def command(order: Order, out: str) -> list[str]:
    """What netwright's side runs: the command itself, with the optimizer and schedule of all sides."""
    words = ["train", order.source, "network=convnet", "optimizer=adam", "optimizer.lr=0.001", "schedule=constant"]
    words += [f"device={order.device}"] + ([f"precision={order.precision}"] if order.precision != "default" else [])
    if order.work == "w5":
        words += ["epochs=10", "data.validation=0.1", f"until=accuracy>={TARGET}"]
    else:
        words += ["epochs=2", "data.validation=0"]
    return ["-m", "netwright", *words, "--out", out, "--quiet", "--json"]


def outcome(order: Order, printed: str) -> dict[str, Any]:
    """Epochs and accuracies from what a side printed."""
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1] if order.side != "netwright" else printed)
    if order.side != "netwright":
        return found
    held = found.get("best", {})
    return {"epochs": found["epochs"], "held_out": held.get("value"), "test": found["test"]["accuracy"]}


def measure(orders: Sequence[Order], rounds: int, python: Callable[[str], Path], note: Say) -> list[Whole]:
    """All sides one after the other, round by round."""
    records = [Whole(order.side, order.precision) for order in orders]
    for number in range(rounds):
        for order, record in zip(orders, records, strict=True):
            if not record.error:
                _once(order, record, python(order.side))
                note(record.error or f"{order.work}: {order.side} ({order.precision}) {record.seconds[-1]:.1f} s, "
                     f"round {number + 1} of {rounds}")  # fmt: skip
    return records


def _once(order: Order, record: Whole, python: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        own = order.side == "netwright"
        words = command(order, f"{place}/run") if own else ["-m", "bench.side", order.text(), "--whole"]
        with open(f"{place}/log", "w+") as log, open(f"{place}/answer", "w+") as answer:
            start = time.perf_counter()
            process = subprocess.Popen(
                [str(python), *words], stdout=answer, stderr=log, cwd=ROOT, start_new_session=True, env=environment()
            )
            with watched(process.pid) as share:
                status, peak = _waited(process)
            seconds = time.perf_counter() - start
            answer.seek(0), log.seek(0)
            if status:
                record.error = f"{order.side} on {order.work}: {' | '.join(log.read().splitlines()[-3:])}"
                return
            record.outcomes.append(outcome(order, answer.read()))
    record.seconds.append(seconds)
    record.peak_mb.append(peak)
    record.others.append(share.others)


def _waited(process: "subprocess.Popen[bytes]") -> tuple[int, float]:
    """Exit status and largest resident memory in MB."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
