"""The six remedies for vanishing and exploding gradients, alone and together, on a network of 50 layers (S-269).

    python -m bench.doctor.depth [--seeds 5] [--steps 300]

Two networks fail by construction: `vanishing` has 50 sigmoid layers with small normal weights, `exploding` 50 ReLU
layers with weights 1.5 times as large as He's. Each remedy is one switch. The ratio is that of the gradient by the
first layer's outputs to that by the last hidden layer's, before the first step; the skill (0 the best constant answer,
1 perfect) is that on held-out digits after training. Writes `DEPTH.md` beside this file.
"""

import argparse
import copy
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

DEPTH, WIDTH, BATCH, RATE = 50, 64, 64, 0.01
REMEDIES = ("batch norm", "residual connections", "gradient clipping", "initialization", "activation", "regularisation")
"""In the order of the notes."""
KINDS = {"vanishing": ("sigmoid", 0.1), "exploding": ("relu", 1.5 * math.sqrt(2 / WIDTH))}
"""By failing network: its activation, and the standard deviation of its weights."""


class Deep(nn.Module):
    """A network of `DEPTH` weight matrices with one switch a remedy."""

    def __init__(self, kind: str, remedies: frozenset[str], inputs: int, classes: int) -> None:
        super().__init__()
        name, deviation = KINDS[kind]
        own = nn.LeakyReLU(0.1) if kind == "exploding" else nn.ReLU()
        self.act: nn.Module = own if "activation" in remedies else {"sigmoid": nn.Sigmoid(), "relu": nn.ReLU()}[name]
        self.residual = "residual connections" in remedies
        sizes = [inputs, *[WIDTH] * (DEPTH - 1), classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        normed = "batch norm" in remedies
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) if normed else nn.Identity() for _ in range(DEPTH - 1))
        for layer in self.layers:
            gain = math.sqrt(2) if not isinstance(self.act, nn.Sigmoid) else 1.0
            std = gain / math.sqrt(layer.in_features) if "initialization" in remedies else deviation
            nn.init.normal_(layer.weight, 0.0, std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for place, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=False)):
            h = self.act(norm(layer(x)))
            x = x + h if self.residual and place else h
        return self.layers[-1](x)


@dataclass(frozen=True)
class Result:
    """One network, one set of remedies: medians and ranges over seeds."""

    kind: str
    remedies: tuple[str, ...]
    ratios: list[float]
    skills: list[float]
    broken: int
    """How many trainings ended in numbers that are not finite."""


def ratio_of(model: Deep, x: Tensor, y: Tensor) -> float:
    """The gradient by the first layer's outputs over that by the last hidden layer's, norms, in double precision: 50
    small factors are too small a number for single precision."""
    wide = copy.deepcopy(model).double()
    seen: list[Tensor] = []
    for layer in (wide.layers[0], wide.layers[-2]):
        layer.register_forward_hook(lambda _module, _given, output: seen.append(output))
    loss = nn.functional.cross_entropy(wide(x.double()), y)
    first, last = torch.autograd.grad(loss, seen)
    return (first.norm() / last.norm()).item()


def trained(
    kind: str, remedies: frozenset[str], seed: int, steps: int, data: list[Tensor]
) -> tuple[float, float, bool]:
    """Ratio before the first step, skill after the last, and whether the loss stayed finite."""
    x, y, held_x, held_y = data
    torch.manual_seed(seed)
    model = Deep(kind, remedies, x.shape[1], 10)
    ratio = ratio_of(model, x[:512], y[:512])
    decay = 1e-3 if "regularisation" in remedies else 0.0
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=decay)
    for _ in range(steps):
        rows = torch.randperm(len(x))[:BATCH]
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        if not torch.isfinite(loss):
            return ratio, 0.0, False
        optimizer.zero_grad()
        loss.backward()
        if "gradient clipping" in remedies:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(held_x).argmax(1) == held_y).float().mean().item()
    share = held_y.bincount().max().item() / len(held_y)
    return ratio, (right - share) / (1 - share), True


def digits() -> list[Tensor]:
    """Standardised digits in a seeded order: inputs and classes of 1,400 examples, and of those held out."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    inputs, classes = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
    mean, deviation = inputs[:1400].mean(0), inputs[:1400].std(0).clamp(min=1e-3)
    inputs = ((inputs - mean) / deviation).clamp(-5, 5)
    return [inputs[:1400], classes[:1400], inputs[1400:], classes[1400:]]


def measured(seeds: int, steps: int) -> list[Result]:
    """Every remedy alone, none, and all together, on both networks."""
    data, found = digits(), []
    sets = [(), *((name,) for name in REMEDIES), REMEDIES]
    for kind in KINDS:
        for remedies in sets:
            runs = [trained(kind, frozenset(remedies), seed, steps, data) for seed in range(seeds)]
            ratios, skills = [run[0] for run in runs], [run[1] for run in runs]
            found.append(Result(kind, remedies, ratios, skills, sum(not run[2] for run in runs)))
    return found


def page(found: list[Result], seeds: int, steps: int, seconds: float) -> str:
    """The table as Markdown."""
    lines = [
        "# Six remedies for vanishing and exploding gradients", "",
        f"A network of {DEPTH} layers of {WIDTH} units on digits (1,400 examples, 397 held out), SGD with momentum "
        f"0.9, rate {RATE}, batch {BATCH}, {steps} steps; {seeds} seeds. Made by `python -m bench.doctor.depth` with "
        f"torch {torch.__version__} on the CPU in {seconds:.0f} s.", "",
        "The ratio is that of the gradient norm by the first layer's outputs to that by the last hidden layer's, "
        "before the first step; the skill is that on held-out examples (0 the best constant answer, 1 perfect). "
        "Medians, lowest and highest of the seeds.", "",
        "| network | remedy | first-to-last gradient ratio | skill | not finite |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found:
        name = "none" if not one.remedies else "all six together" if len(one.remedies) > 1 else one.remedies[0]
        ratio = f"{statistics.median(one.ratios):.2g} ({min(one.ratios):.2g} to {max(one.ratios):.2g})"
        skill = f"{statistics.median(one.skills):.3f} ({min(one.skills):.3f} to {max(one.skills):.3f})"
        lines.append(f"| {one.kind} | {name} | {ratio} | {skill} | {one.broken} of {seeds} |")
    return "\n".join([*lines, "", *REMARKS]) + "\n"


REMARKS = [
    "`activation` puts ReLU in place of sigmoid, and a leaky ReLU in place of ReLU. `initialization` is He's",
    "(Glorot's scale where the activation stays a sigmoid); clipping is at a norm of 1; regularisation is a weight",
    "decay of 1e-3. Clipping and regularisation change nothing before the first step, so their ratio is that of the",
    "network without them.",
]


def main() -> None:
    """Measure and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--steps", type=int, default=300)
    given = asked.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    found = measured(given.seeds, given.steps)
    text = page(found, given.seeds, given.steps, time.monotonic() - began)
    Path(__file__).with_name("DEPTH.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
