"""What saving costs a training, beside a plain save: python -m bench.saves [--mb 32] [--rounds 9] [--json].

For a state of `--mb` megabytes (weights and two moments of Adam: a third each), per round and interleaved:

- `plain`: safetensors of the whole state into one file, fsync; what a script would do, training stopped.
- `blocked`: how long the training stands still for one of our saves: the snapshot.
- `complete`: from the snapshot to a verified generation: written, hashed, fsynced, read back, the oldest removed.
- `load`: the newest generation read and verified.

Ratios are taken within a round. `share` is the blocked part of the default interval between saves.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save
from torch import Tensor

from netwright.rundir import RunFolder, sha256
from netwright.training.checkpoints import Checkpoint, copied, newest
from netwright.training.saver import Saver, Snapshot

RUN = "0" * 32
INTERVAL_S = 30.0
"""The default of training.save_seconds."""


def state(megabytes: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and moments of sixteen equal layers."""
    side = int((megabytes * 1e6 / 3 / 16 / 4) ** 0.5)
    weights = {f"layer.{number}.weight": torch.randn(side, side) for number in range(16)}
    moments = {
        f"optimizer.main.{number}.{name}": torch.randn(side, side)
        for number in range(16)
        for name in ("exp_avg", "exp_avg_sq")
    }
    return weights, moments


def plain(path: Path, tensors: dict[str, Tensor]) -> float:
    """Seconds of one plain save."""
    started = time.perf_counter()
    with open(path, "wb") as file:
        file.write(save(tensors))
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def measure(place: Path, megabytes: float, rounds: int) -> dict[str, list[float]]:
    """Seconds of every part in every round."""
    weights, moments = state(megabytes)
    (place / "recipe.toml").write_text("seed = 0\n")
    (place / "data.json").write_text("{}\n")
    folder = RunFolder(place)
    sources = {name: sha256(folder.read_bytes(name)) for name in ("recipe.toml", "data.json")}
    saver = Saver(folder, RUN, sources)
    found: dict[str, list[float]] = {"plain": [], "blocked": [], "complete": [], "load": []}
    for step in range(rounds + 2):  # the first two rounds fill the folder and warm up
        times = {"plain": plain(place / "plain.safetensors", weights | moments)}
        started = time.perf_counter()
        saver.start(Snapshot(Checkpoint(step, copied(weights), copied(moments), {"step": step}), None, {}))
        times["blocked"] = time.perf_counter() - started
        if (failure := saver.landed(wait=True)) is not None:
            raise failure.error
        times["complete"] = time.perf_counter() - started
        started = time.perf_counter()
        assert newest(place, RUN, sources, print) is not None
        times["load"] = time.perf_counter() - started
        for name in found:
            found[name] += [times[name]] if step >= 2 else []
    saver.close()
    return found


def spread(values: list[float]) -> list[float]:
    """Median, least and most."""
    return [round(value, 4) for value in (median(values), min(values), max(values))]


def main() -> None:
    reader = argparse.ArgumentParser(description="What saving costs a training, beside a plain save.")
    reader.add_argument("--mb", type=float, default=32)
    reader.add_argument("--rounds", type=int, default=9)
    reader.add_argument("--json", action="store_true")
    chosen = reader.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="netwright-saves-") as place:
        found = measure(Path(place), chosen.mb, chosen.rounds)
    interval = INTERVAL_S
    ratio = {
        name: spread([one / base for one, base in zip(found[name], found["plain"], strict=True)])
        for name in ("blocked", "complete")
    }
    answer = {
        "mb": chosen.mb, "n": chosen.rounds,
        "milliseconds": {name: spread([1e3 * one for one in times]) for name, times in found.items()},
        "ratio_to_plain": ratio, "load_ms_per_mb": spread([1e3 * one / chosen.mb for one in found["load"]]),
        "share": spread([one / interval for one in found["blocked"]]),
        "others": round(os.getloadavg()[0], 2), "cores": os.cpu_count(), "torch": torch.__version__,
    }  # fmt: skip
    if chosen.json:
        print(json.dumps(answer))
        return
    print(f"state of {chosen.mb:g} MB, n = {chosen.rounds}, median (least to most); machine load {answer['others']}")
    for name, (middle, least, most) in answer["milliseconds"].items():
        times = (
            f"  {ratio[name][0]:.2f} x plain ({ratio[name][1]:.2f} to {ratio[name][2]:.2f})" if name in ratio else ""
        )
        print(f"{name:9} {middle:8.1f} ms ({least:.1f} to {most:.1f}){times}")
    print(f"share of {interval:g} s between saves: {100 * answer['share'][0]:.3f} %")


if __name__ == "__main__":
    main()
