"""Runs the sides of a work side by side: each in a process of its own that stands still while another is measured.

In each round every side runs for about the same time, one after the other, so that a machine that slows down for a
while slows all of them; ratios are taken within a round.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.machine import available_mb, children_mb, watched
from bench.works import Order, Work

ROOT = Path(__file__).parent.parent
START_TIMEOUT, ROUND_TIMEOUT = 600.0, 600.0
ROOM = 0.85
"""The part of the free memory that sides may fill together."""
NEEDED_MB = {"w3": 1650.0, "w4": 900.0}
"""What one side of a work may take before it is known; others: 700 MB."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
Say = Callable[[str], None]


class SideError(Exception):
    """A side's process failed; its last lines say why."""


@dataclass
class Record:
    """All that was measured of one side of one work."""

    side: str
    precision: str
    rates: list[float] = field(default_factory=list)
    """Images or characters per second, one a round."""
    others: list[float] = field(default_factory=list)
    """The share of the machine that other processes took, one a round."""
    steps: list[int] = field(default_factory=list)
    laps: list[float] = field(default_factory=list)
    """Seconds of single steps, where latency matters."""
    import_seconds: float = float("nan")
    loop_mb: float = float("nan")
    peak_mb: float = float("nan")
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ""


class Side:
    """One side's process."""

    def __init__(self, order: Order, python: Path, log: Path) -> None:
        self.order, self.log = order, log
        self.record = Record(order.side, order.precision)
        self.step_seconds, self.ended = 0.0, False
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [str(python), "-m", "bench.side", order.text()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stream, text=True, cwd=ROOT, start_new_session=True, env=environment(),
            )  # fmt: skip
        self.text = b""

    def start(self) -> None:
        """Wait until it is imported, built and warm; then stop it."""
        found = self._answer("imported", START_TIMEOUT)
        self.record.import_seconds, self.record.versions = found["seconds"], found["versions"]
        found = self._answer("ready", START_TIMEOUT)
        self.step_seconds, self.record.facts = found["step_seconds"], found["facts"]
        self._tell("peak")
        self.halt()

    def round(self, work: Work) -> None:
        """Measure it once; then stop it."""
        steps = steps_for(work, self.step_seconds)
        self._signal(signal.SIGCONT)
        with watched(self.process.pid) as share:
            self._tell(f"run {work.lead} {steps}")
            found = self._answer("round", ROUND_TIMEOUT)
            self.halt()
        self.record.rates.append(found["steps"] * work.per_step / found["seconds"])
        self.record.steps.append(found["steps"])
        self.record.laps += found.get("laps", [])
        self.record.others.append(share.others)
        self.record.facts |= found["facts"]
        self.step_seconds = found["seconds"] / found["steps"]

    def end(self) -> None:
        """Ask for its memory and end it."""
        self._signal(signal.SIGCONT)
        extra = children_mb(self.process.pid, self.process.pid)
        self._tell("end")
        found = self._answer("end", 60.0)
        self.record.loop_mb, self.record.peak_mb = found["loop_mb"] + extra, found["peak_mb"] + extra
        self.kill()

    def halt(self) -> None:
        """Nothing of it runs while another side is measured."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it and what it started, once."""
        if self.ended:
            return
        self.ended = True
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            raise SideError(self._why("ended")) from None

    def _answer(self, event: str, timeout: float) -> dict[str, Any]:
        """The next line of JSON, which has to be of this kind."""
        assert self.process.stdout is not None
        pipe, end = self.process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self.text:
            ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(pipe, 2**16) if ready else b""
            if not chunk:
                raise SideError(self._why("ended" if ready else f"said nothing for {timeout:.0f} s"))
            self.text += chunk
        line, _, self.text = self.text.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if found["event"] != event:
            raise SideError(f"{self.order.side}: {found['event']} came instead of {event}")
        return found

    def _why(self, what: str) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"{self.order.side} on {self.order.work} {what}: {' | '.join(lines[-3:])}"


def steps_for(work: Work, step_seconds: float) -> int:
    """So many steps that a round lasts about as long as the work says; at least two."""
    return max(2, round(work.seconds / max(1e-9, step_seconds)))


def environment() -> dict[str, str]:
    """This process's environment without what would choose threads for a side; `BENCH_THREADS` chooses them for all."""
    kept = {name: value for name, value in os.environ.items() if name not in (*THREADS, "OMP_WAIT_POLICY")}
    threads = os.environ.get("BENCH_THREADS", "")
    forced = dict.fromkeys(THREADS, threads) if threads else {}
    return {**kept, **forced, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def measure(
    orders: Sequence[Order], rounds: int, python: Callable[[str], Path], anchors: Iterable[str], note: Say,
    longer: float = 1.0,
) -> list[list[Record]]:  # fmt: skip
    """Records of all sides, in groups that fit into memory together; every group holds the anchors.

    `longer` multiplies the time of a round.
    """
    groups = grouped(orders, set(anchors), ROOM * available_mb())
    work = replace(orders[0].what, seconds=longer * orders[0].what.seconds)
    found = []
    for group in groups:
        with tempfile.TemporaryDirectory() as place:
            found.append(_measure_group(group, work, rounds, python, Path(place), note))
    return found


def _measure_group(
    group: Sequence[Order], work: Work, rounds: int, python: Callable[[str], Path], place: Path, note: Say
) -> list[Record]:
    started: list[Side] = []
    sides: list[Side] = []
    try:
        for number, order in enumerate(group):
            side = Side(order, python(order.side), place / f"{number}.log")
            started.append(side)
            if _tried(side, side.start, note):
                sides.append(side)
                note(f"{work.key}: {order.side} ({order.precision}) ready, {side.step_seconds * 1e3:.1f} ms a step")
        for number in range(rounds if sides else 0):
            sides = [side for side in sides if _tried(side, partial(side.round, work), note)]
            sides.reverse()  # whoever came last in one round comes first in the next
            note(f"{work.key}: round {number + 1} of {rounds}")
        for side in sides:
            _tried(side, side.end, note)
    finally:
        for side in started:
            side.kill()
    return [side.record for side in started]


def _tried(side: Side, act: Callable[[], None], note: Say) -> bool:
    """Whether it went well; a side that failed is ended and its record says why."""
    try:
        act()
    except SideError as error:
        side.record.error = str(error)
        note(str(error))
        side.kill()
        return False
    return True


def needed_mb(order: Order) -> float:
    """What a side may take; jax and Keras on torch keep twice as much as the others."""
    return NEEDED_MB.get(order.work, 700.0) * (2 if order.side in ("keras-jax", "keras-torch") else 1)


def grouped(orders: Sequence[Order], anchors: set[str], room: float) -> list[list[Order]]:
    """Groups that fit into `room` MB; the anchors stand in each, so that all peers are compared with them at once.

    The largest sides are placed first, each into the group that is emptiest so far.
    """
    fixed = [order for order in orders if order.side in anchors]
    rest = sorted((order for order in orders if order.side not in anchors), key=needed_mb, reverse=True)
    space = room - sum(map(needed_mb, fixed))
    for count in range(1, len(rest) + 1):
        groups: list[list[Order]] = [[] for _ in range(count)]
        for order in rest:
            min(groups, key=lambda group: sum(map(needed_mb, group))).append(order)
        if count == len(rest) or max(sum(map(needed_mb, group)) for group in groups) <= space:
            break
    else:
        groups = [[]]
    return [fixed + [order for order in orders if order in group] for group in groups]


def say_to_stderr(text: str) -> None:
    """Progress for a person; results go to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
