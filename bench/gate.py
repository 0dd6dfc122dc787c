"""Where every side's loop passes after each step: it is timed here, and waits here between rounds.

The conductor writes one line, `run LEAD STEPS`; the next LEAD steps are not timed, the STEPS after them are, and the
answer is one line of JSON. `end` ends the process. A side's own output never mixes with the answers.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


def nothing() -> None:
    """On the CPU a step is over when it returns."""


class Gate:
    """Call it once after every step."""

    def __init__(self, warmup: int, answers: TextIO, orders: TextIO) -> None:
        self.warmup, self.answers, self.orders = max(2, warmup), answers, orders
        self.synchronise: Callable[[], None] = nothing
        self.facts: dict[str, Any] = {}
        """What the side tells about itself, such as the precision it chose."""
        self.laps = False
        """Whether the duration of every single step is wanted."""
        self.paused = 0.0
        """Seconds spent waiting, for loops that look at the clock."""
        self.done = self.begin = self.stop = 0
        self.started = self.last = 0.0
        self.durations: list[float] = []
        self.peak = 0.0

    def __call__(self, *_: object) -> None:
        self.done += 1
        if self.stop:
            if self.laps and self.done > self.begin:
                self._lap()
            if self.done == self.begin:
                self._start()
            elif self.done == self.stop:
                self._answer()
        elif self.done <= self.warmup:
            self._lap()
            if self.done == self.warmup:
                self._ready()

    def _lap(self) -> None:
        self.synchronise()
        now = time.perf_counter()
        self.durations.append(now - self.last)
        self.last = now

    def _start(self) -> None:
        self.synchronise()
        self.durations = []
        self.started = self.last = time.perf_counter()

    def _ready(self) -> None:
        """The warm-up is over: say how long its last steps took, and count memory anew."""
        later = sorted(self.durations[(len(self.durations) + 1) // 2 :])
        self.tell(event="ready", step_seconds=later[len(later) // 2], facts=self.facts)
        self._wait()

    def _answer(self) -> None:
        self.synchronise()
        seconds = time.perf_counter() - self.started
        extra = {"laps": self.durations} if self.laps else {}
        self.tell(event="round", steps=self.stop - self.begin, seconds=seconds, facts=self.facts, **extra)
        self._wait()

    def _wait(self) -> None:
        before = time.monotonic()
        words = self.orders.readline().split()
        if not words or words[0] == "end":
            self.end()
        if words[0] == "peak":  # from here on the highest memory is that of the loop
            self.peak = reset_peak()
            return self._wait()
        lead, steps = int(words[1]), int(words[2])
        self.begin, self.stop = self.done + lead, self.done + lead + steps
        self.paused += time.monotonic() - before
        if lead == 0:
            self._start()

    def end(self) -> None:
        """Say how much memory was used and leave, without the goodbyes of a framework."""
        loop = peak()
        self.tell(event="end", loop_mb=loop, peak_mb=max(loop, self.peak), facts=self.facts)
        sys.stderr.flush()
        os._exit(0)

    def tell(self, **message: Any) -> None:
        """One line of JSON to the conductor."""
        self.answers.write(json.dumps(message) + "\n")
        self.answers.flush()


def peak() -> float:
    """The largest resident memory of this process so far, or since `reset_peak`, in MB; 0 where it is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
    found = [line for line in lines if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


def reset_peak() -> float:
    """Count the highest memory from now on, where the system can; the peak so far."""
    found = peak()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return found
