"""Device, threads and number type of a run: chosen, said in one line, recorded, and re-imposed on resume."""

import os
import platform
import subprocess
from dataclasses import dataclass
from typing import Any

import torch

from netwright.errors import MissingError, UsageError
from netwright.language import say
from netwright.training.allocator import keep
from netwright.training.ranks import here


@dataclass(frozen=True)
class Launch:
    """What a training runs on, and why."""

    device: torch.device
    threads: int
    precision: str
    why: str
    layout: str = "channels_last"
    """How pictures lie in memory for networks with 2-D convolutions; others have no choice."""
    compile: bool = False
    allocator: str = "default"
    """`keep`: freed memory stays with the process. Equal bits either way."""
    prefetch: bool = False
    """Whether batches are made ahead of need by a thread of their own. Equal bits either way."""

    def impose(self) -> None:
        """Set the thread count, for equal bits need equal threads, and the allocator."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        keep(self.allocator == "keep")
        if self.device.type == "cuda":  # kernels that add in one order, and random numbers of the device in use
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            torch.cuda.set_device(self.device)

    def settings(self) -> dict[str, Any]:
        """What was settled, as `[training]` settings: the run's own recipe repeats it."""
        return {
            "device": str(self.device), "threads": self.threads, "precision": self.precision, "layout": self.layout,
            "compile": self.compile, "allocator": self.allocator, "prefetch": self.prefetch,
        }  # fmt: skip

    def __str__(self) -> str:
        return self.why


SMALL_STEP = 100_000_000
"""Below so many multiply-adds a step, several threads cost more in waiting for each other than they bring."""


def launch(training: dict[str, Any], work: float = float("inf")) -> Launch:
    """Settle device, threads and precision; a device that is asked for never falls back to another.

    `work` is the number of multiply-adds of a forward step. Measured on two cores: 182 million (the notes' CNN on
    MNIST, batch 64) ran 1.70 times as fast on two threads as on one, 42 million (the notes' LSTM) 0.91 times.
    """
    device, why_device = _device(training["device"])
    if training["threads"] == "auto" and work < SMALL_STEP:
        threads, why_threads = 1, say("steps are small")
    elif training["threads"] == "auto":
        threads, why_threads = usable_threads(), say("one for each core this process may use")
    else:
        threads, why_threads = int(training["threads"]), say("as asked")
    precision, why_precision = _precision(training["precision"], device)
    why = say(
        "device {device} ({why_device}), threads {threads} ({why_threads}), {precision} ({why_precision})",
        device=device, why_device=why_device, threads=threads, why_threads=why_threads,
        precision=precision, why_precision=why_precision,
    )  # fmt: skip
    given = {
        name: training.get(name, "auto") for name in ("layout", "compile", "allocator", "prefetch")
    }  # older runs lack them
    return Launch(
        device, threads, precision, why,
        layout="channels_last" if given["layout"] == "auto" else given["layout"],
        compile=given["compile"] is True,
        allocator="default" if given["allocator"] == "auto" else given["allocator"],
        prefetch=device.type == "cuda" if given["prefetch"] == "auto" else given["prefetch"],
    )  # fmt: skip


def imposed(training: dict[str, Any], then: dict[str, Any]) -> Launch:
    """What a run was trained on, for going on or repeating: its threads and its kind of device, as its environment
    `then` names them, and all that its recipe settled."""
    device = "cpu" if then["device"] == "cpu" else "cuda"
    own = {"threads": then.get("threads", training["threads"])}
    return launch(training | own | ({} if training["device"].startswith(device) else {"device": device}))


def usable_threads() -> int:
    """One thread a core that this process may use, or fewer where OMP_NUM_THREADS says so.

    Ranks of one machine share its cores; their launcher sets OMP_NUM_THREADS to 1 where nobody has.
    """
    if here().many:
        return max(1, cores() // here().seat.beside)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(cores(), int(asked))) if asked.isdecimal() and int(asked) else cores()


def cores() -> int:
    """The number of cores this process may use (its affinity, not the machine's count)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(name: str) -> tuple[torch.device, str]:
    if name == "auto":
        if torch.cuda.is_available():
            return _local_cuda(torch.device("cuda")), say("a CUDA device is here")
        return torch.device("cpu"), say("no CUDA device is here")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(say("training: device = {name!r}; it is auto, cpu, cuda or cuda:0", name=name)) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            say("device {name} was asked for, but this machine or this build of torch has no CUDA", name=name)
        )
    if device.type not in ("cpu", "cuda"):
        raise MissingError(say("device {name} is not supported; it is cpu or cuda", name=name))
    return _local_cuda(device), say("as asked")


def _local_cuda(device: torch.device) -> torch.device:
    """Of several ranks on a machine, each has a CUDA device of its own."""
    if device.type != "cuda" or not here().many:
        return device
    local, found = here().seat.local, torch.cuda.device_count()
    if local >= found:
        text = say("{count} ranks of this machine want a CUDA device each, and it has {found}; device=cpu needs none",
                   count=here().seat.beside, found=found)  # fmt: skip
        raise MissingError(text)
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _precision(name: str, device: torch.device) -> tuple[str, str]:
    if name != "auto":
        return name, say("as asked")
    if device.type == "cpu" and bfloat16_units():
        return "float32", say("the exact default; this CPU has bfloat16 units, precision=bfloat16 may be faster")
    return "float32", say("the exact default")


def bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def environment(where: Launch) -> dict[str, Any]:
    """What equal bits depend on: versions, CPU capability, threads, device and precision."""
    import numpy
    import safetensors

    return {
        "python": platform.python_version(),
        "netwright": _own_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(),
        "device": str(where.device) if where.device.type == "cpu" else torch.cuda.get_device_name(where.device),
        "threads": where.threads,
        "precision": where.precision,
        "ranks": here().count,
    }


def _own_version() -> str:
    """This package's version; its front page may not be imported from here."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("netwright")
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return ""


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, worded for the line that says a resume is not bit-exact."""
    watched = ("netwright", "torch", "platform", "cpu", "device", "threads", "precision")
    found = [f"{name} {then.get(name)} -> {now.get(name)}" for name in watched if then.get(name) != now.get(name)]
    ranks = [environment.get("ranks", 1) for environment in (then, now)]  # older runs know of one
    if ranks[0] != ranks[1]:
        found.append(say("{then} -> {now} ranks", then=ranks[0], now=ranks[1]))
    return found


def git_commit() -> str:
    """The commit of the current folder, where there is one."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
