"""What the watch costs: an MLP, a CNN and an LSTM trained with and without it, in turn.

    python -m bench.doctor.overhead [--rounds 11] [--seconds 1.5] [--clock wall|cpu]

Each round trains the same network the same number of steps once plainly and once watched, in an order that changes
with the round; the overhead of a round is the ratio of the two times less one. `cpu` counts the time of this process
alone, for machines on which others work too.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from netwright.doctor.watch import watch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Reader(nn.Module):
    """An LSTM over 32 steps with a head on the last."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def mlp() -> nn.Module:
    """784-256-256-10 with dropout."""
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def cnn() -> nn.Module:
    """Three convolutions with batch norm on 28 x 28."""
    parts: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        parts += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(576, 10))


SUBJECTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], type[torch.optim.Optimizer]]] = {
    "MLP 784-256-256-10, batch 128, Adam": (mlp, (128, 784), torch.optim.Adam),
    "MLP 784-256-256-10, batch 32, SGD": (mlp, (32, 784), torch.optim.SGD),
    "CNN 16-32-64 on 28 x 28, batch 64, Adam": (cnn, (64, 1, 28, 28), torch.optim.Adam),
    "LSTM 128 over 32 steps, batch 64, Adam": (Reader, (64, 32, 32), torch.optim.Adam),
}


def trained(name: str, steps: int, watched: bool, clock: Callable[[], float]) -> float:
    """Seconds of `steps` steps from one seed; entering and judging count."""
    make, shape, kind = SUBJECTS[name]
    torch.manual_seed(0)
    model = make()
    optimizer = kind(model.parameters(), lr=1e-3)  # type: ignore[call-arg]
    data = [(torch.randn(shape), torch.randint(0, 10, (shape[0],))) for _ in range(8)]
    began = clock()
    with watch(model, optimizer, F.cross_entropy) if watched else nullcontext():
        for step in range(steps):
            x, y = data[step % 8]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return clock() - began


def measured(name: str, rounds: int, seconds: float, clock: Callable[[], float]) -> dict[str, object]:
    """The overhead of one network: median, quartiles and extremes over rounds."""
    trained(name, 10, True, clock)
    steps = max(100, int(seconds / (trained(name, 40, False, clock) / 40)))
    ratios, plain = [], []
    for index in range(rounds):
        order = (True, False) if index % 2 else (False, True)
        times = {watched: trained(name, steps, watched, clock) for watched in order}
        ratios.append(times[True] / times[False] - 1)
        plain.append(times[False] / steps)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"network": name, "rounds": rounds, "steps": steps, "step_ms": 1e3 * statistics.median(plain),
            "median": middle, "quartiles": [low, high], "lowest": min(ratios), "highest": max(ratios)}  # fmt: skip


def main() -> None:
    """Print the table, then the same as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    given = parser.parse_args()
    if given.rounds < 7:
        parser.error("--rounds: at least 7")
    rows = [measured(name, given.rounds, given.seconds, CLOCKS[given.clock]) for name in SUBJECTS]
    print(f"{'network':42} {'step':>9} {'median':>8} {'quartiles':>17} {'extremes':>17}")
    for row in rows:
        low, high = row["quartiles"]  # type: ignore[misc]
        print(f"{row['network']:42} {row['step_ms']:6.2f} ms {row['median']:+7.2%} {low:+8.2%} {high:+8.2%} "
              f"{row['lowest']:+8.2%} {row['highest']:+8.2%}")  # fmt: skip
    print(
        json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "clock": given.clock, "rows": rows})
    )


if __name__ == "__main__":
    main()
