"""Healthy programs on tables: eleven ways of writing one, each on several sets of data."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, cut, fit, held_out, loader, over_half, over_zero
from bench.doctor.programs.registry import healthy
from bench.doctor.programs.sets import Split


def sizes(found: Split) -> tuple[int, int]:
    return found.train[0].shape[1], int(found.train[1].max()) + 1


def sequential(found: Split, seed: int, epochs: int) -> Case:
    d, k = sizes(found)
    net = nn.Sequential(nn.Linear(d, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, k))
    return fit(found, net, nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=5e-3), epochs=epochs, seed=seed)


class Functional(nn.Module):
    """Activations called in `forward`."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(d, 40), nn.Linear(40, 40), nn.Linear(40, k)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.out(F.relu(self.second(x)))


def functional(found: Split, seed: int, epochs: int) -> Case:
    net = Functional(*sizes(found))
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=epochs, batches=loader(*found.train, 32, seed))


def log_probabilities(found: Split, seed: int, epochs: int) -> Case:
    d, k = sizes(found)
    net = nn.Sequential(nn.Linear(d, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, k), nn.LogSoftmax(1))
    return fit(found, net, nn.NLLLoss(), torch.optim.AdamW(net.parameters(), lr=8e-3), epochs=epochs, seed=seed)


def probability(found: Split, seed: int, epochs: int) -> Case:
    """One unit with a sigmoid, and BCELoss: two classes only."""
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    net = nn.Sequential(
        nn.Linear(sizes(found)[0], 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid()
    )
    score = held_out((found.test[0], found.test[1].reshape(-1).long()), over_half)
    best = torch.optim.RMSprop(net.parameters(), lr=3e-3)
    return fit(found, net, nn.BCELoss(), best, epochs=epochs, seed=seed, score=score)


class OneLogit(nn.Module):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, 48), nn.SiLU(), nn.Linear(48, 24), nn.SiLU())
        self.head = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(-1)


def one_logit(found: Split, seed: int, epochs: int) -> Case:
    """One logit of shape (N,) and BCEWithLogitsLoss: two classes only."""
    found = found.targets(lambda y: y.float())
    net = OneLogit(sizes(found)[0])
    score = held_out((found.test[0], found.test[1].long()), over_zero)
    batches = cut(*found.train, 24)
    best = torch.optim.Adam(net.parameters(), lr=5e-3)
    return fit(found, net, nn.BCEWithLogitsLoss(), best, epochs=epochs, batches=batches, score=score)


def normalised(found: Split, seed: int, epochs: int) -> Case:
    d, k = sizes(found)
    net = nn.Sequential(
        nn.Linear(d, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, k),
    )
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.05)
    batches = loader(*found.train, 32, seed, drop_last=True)
    return fit(found, net, smoothed, descent, epochs=epochs, batches=batches)


def dropped(found: Split, seed: int, epochs: int) -> Case:
    d, k = sizes(found)
    net = nn.Sequential(
        nn.Linear(d, 96), nn.LayerNorm(96), nn.GELU(), nn.Dropout(0.1), nn.Linear(96, 48), nn.GELU(), nn.Linear(48, k)
    )
    best = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=1e-2)
    return fit(found, net, nn.CrossEntropyLoss(), best, epochs=epochs, seed=seed)


class Skipping(nn.Module):
    def __init__(self, d: int, k: int, width: int = 40) -> None:
        super().__init__()
        self.stem = nn.Linear(d, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(3)
        )
        self.head = nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(x)


def skipping(found: Split, seed: int, epochs: int) -> Case:
    net = Skipping(*sizes(found))
    return fit(found, net, nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=2e-3), epochs=epochs, seed=seed)


def scheduled(found: Split, seed: int, epochs: int) -> Case:
    """He initialisation, leaky ReLU, Nesterov, and a step of its own that follows a cosine."""
    d, k = sizes(found)
    net = nn.Sequential(nn.Linear(d, 48), nn.LeakyReLU(0.1), nn.Linear(48, 48), nn.LeakyReLU(0.1), nn.Linear(48, k))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
    descent = torch.optim.SGD(net.parameters(), lr=0.08, momentum=0.9, nesterov=True)
    case = fit(found, net, nn.CrossEntropyLoss(), descent, epochs=epochs, seed=seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, epochs * len(case.batches), eta_min=1e-3)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        descent.zero_grad()
        loss: Tensor = case.loss(net(inputs), targets)
        loss.backward()
        descent.step()
        schedule.step()
        return loss

    case.step = step
    return case


def squared(found: Split, seed: int, epochs: int) -> Case:
    """Squared error on one-hot targets in -1 and 1."""
    d, k = sizes(found)
    score = held_out(found.test, lambda o: o.argmax(-1))
    found = found.targets(lambda y: F.one_hot(y, k).float() * 2 - 1)
    net = nn.Sequential(nn.Linear(d, 64), nn.ELU(), nn.Linear(64, 32), nn.ELU(), nn.Linear(32, k))
    best = torch.optim.Adam(net.parameters(), lr=5e-3)
    return fit(found, net, nn.MSELoss(), best, epochs=epochs, seed=seed, score=score)


def margins(found: Split, seed: int, epochs: int) -> Case:
    d, k = sizes(found)
    net = nn.Sequential(nn.Linear(d, 64), nn.SELU(), nn.Linear(64, k))
    best = torch.optim.NAdam(net.parameters(), lr=1e-2)
    return fit(found, net, nn.MultiMarginLoss(), best, epochs=epochs, seed=seed)


Style = Callable[[Split, int, int], Case]
PLAN: dict[str, tuple[float, int, tuple[Style, ...]]] = {
    "moons": (0.90, 20, (sequential, probability, log_probabilities, scheduled)),
    "circles": (0.90, 25, (functional, one_logit, dropped, skipping)),
    "blobs": (0.68, 20, (normalised, squared, sequential, margins)),
    "hastie": (0.65, 14, (sequential, one_logit, functional, normalised)),
    "clouds": (0.75, 20, (functional, squared, dropped, scheduled)),
    "spirals": (0.85, 40, (sequential, log_probabilities, skipping, scheduled)),
    "xor": (0.8, 45, (sequential, probability, dropped, scheduled)),
    "wine": (0.78, 30, (functional, squared, margins, log_probabilities)),
    "iris": (0.80, 40, (sequential, margins, log_probabilities, squared)),
    "cancer": (0.80, 20, (one_logit, normalised, dropped, functional)),
    "rings": (0.80, 50, (functional, log_probabilities, scheduled, skipping)),
    "checkers": (0.75, 110, (sequential, functional, one_logit, skipping)),
}
"""Family: the skill each reaches, epochs, the ways it is written here."""


def _put(base: str, style: Style, reference: float, epochs: int) -> None:
    @healthy(base, reference, f"{base}_{style.__name__}")
    def build(seed: int) -> Case:
        return style(getattr(sets, base)(seed), seed, epochs)


for _base, (_reference, _epochs, _styles) in PLAN.items():
    for _style in _styles:
        _put(_base, _style, _reference, _epochs)
