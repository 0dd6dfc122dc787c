"""What the machine is, and how much of it others took during a measurement."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def ticks_of(text: str) -> tuple[int, int]:
    """Busy and all clock ticks of the machine since its start, from the text of /proc/stat.

    The first line: user, nice, system, idle, iowait, irq, softirq, steal; idle and iowait are not busy.
    """
    numbers = [int(word) for word in text.split("\n", 1)[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def process_of(text: str) -> tuple[int, int]:
    """Session and clock ticks spent, children that ended included, from the text of /proc/PID/stat.

    The name in brackets may hold anything; behind it field 6 is the session, 14 to 17 are the ticks.
    """
    words = text[text.rindex(")") + 2 :].split()
    return int(words[3]), sum(int(word) for word in words[11:15])


def sessions() -> dict[int, list[tuple[int, int]]]:
    """Processes by session, each with its clock ticks; empty where there is no /proc."""
    found: dict[int, list[tuple[int, int]]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            session, ticks = process_of(path.read_text())
        except (OSError, ValueError):
            continue
        found.setdefault(session, []).append((int(path.parent.name), ticks))
    return found


@dataclass
class Share:
    """Parts of the machine during a measurement, from 0 to 1."""

    own: float = float("nan")
    others: float = float("nan")
    seconds: float = 0.0


@dataclass
class _Reading:
    busy: int
    total: int
    own: int


def _read(session: int) -> _Reading | None:
    try:
        busy, total = ticks_of((PROC / "stat").read_text())
    except OSError:
        return None
    mine = [ticks for _, ticks in sessions().get(session, [])]
    here = os.times()  # with the children that ended and were waited for
    seconds = here.user + here.system + here.children_user + here.children_system
    return _Reading(busy, total, sum(mine) + round(seconds * os.sysconf("SC_CLK_TCK")))


@contextmanager
def watched(session: int) -> Iterator[Share]:
    """The share that the processes of `session` (and this one) took, and what all others took."""
    share, before, start = Share(), _read(session), time.perf_counter()
    yield share
    after = _read(session)
    share.seconds = time.perf_counter() - start
    if before is None or after is None or after.total <= before.total:
        return
    total = after.total - before.total
    share.own = min(1.0, (after.own - before.own) / total)
    share.others = max(0.0, (after.busy - before.busy - (after.own - before.own)) / total)


def children_mb(session: int, main: int) -> float:
    """Memory of its own that the other processes of a session hold (workers), in MB."""
    kilobytes = 0
    for pid, _ in sessions().get(session, []):
        try:
            lines = (PROC / str(pid) / "status").read_text().splitlines() if pid != main else []
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return kilobytes / 1024


def available_mb() -> float:
    """Memory that processes could still take, in MB; endless where it is not told."""
    try:
        lines = (PROC / "meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable")), float("inf"))


@dataclass
class Machine:
    """The hardware of a measurement."""

    processor: str
    cores: int
    memory_gib: float
    capability: str
    bfloat16: bool
    system: str
    device: str = ""
    load: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        units = "with bfloat16 units" if self.bfloat16 else "without bfloat16 units"
        words = [self.processor, f"{self.cores} cores usable", f"{self.capability} {units}"]
        return ", ".join([*words, f"{self.memory_gib:.0f} GiB", self.system, *([self.device] if self.device else [])])


def machine(device: str = "cpu") -> Machine:
    """This machine."""
    import torch

    model, info = platform.processor() or platform.machine(), PROC / "cpuinfo"
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30 if known else float("nan")
    return Machine(
        processor=model, cores=cores(), memory_gib=memory, capability=torch.backends.cpu.get_cpu_capability(),
        bfloat16=bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()),
        system=f"{platform.system()} {platform.machine()}",
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else "",
        load=list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    )  # fmt: skip


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts(found: Machine) -> dict[str, Any]:
    """For JSON."""
    return {**found.__dict__, "text": str(found)}
