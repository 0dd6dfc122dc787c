"""Healthy programs of regression: seven ways of writing one, each on several sets of data."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader
from bench.doctor.programs.registry import healthy
from bench.doctor.programs.sets import Split, standard_targets


def ends(found: Split) -> tuple[int, int]:
    return found.train[0].shape[1], found.train[1].shape[1]


def plain(found: Split, seed: int, epochs: int) -> Case:
    found = standard_targets(found)
    d, m = ends(found)
    net = nn.Sequential(nn.Linear(d, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, m))
    best = torch.optim.Adam(net.parameters(), lr=4e-3)
    return fit(found, net, nn.MSELoss(), best, epochs=epochs, answer=as_is, seed=seed)


def huber(found: Split, seed: int, epochs: int) -> Case:
    found = standard_targets(found)
    d, m = ends(found)
    net = nn.Sequential(nn.Linear(d, 64), nn.Tanh(), nn.Linear(64, m))
    best = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-3)
    return fit(found, net, nn.HuberLoss(), best, epochs=epochs, answer=as_is, batches=loader(*found.train, 24, seed))


class Flat(nn.Module):
    """One number an example, of shape (N,)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(d, 40), nn.Linear(40, 40), nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.softplus(self.b(F.softplus(self.a(x))))).squeeze(1)


def flat(found: Split, seed: int, epochs: int) -> Case:
    found = standard_targets(found)
    net, score = Flat(ends(found)[0]), held_out(found.test, as_is)
    found = found.targets(lambda y: y.reshape(-1))
    best = torch.optim.Adam(net.parameters(), lr=4e-3)
    return fit(found, net, F.mse_loss, best, epochs=epochs, seed=seed, score=score)


def absolute(found: Split, seed: int, epochs: int) -> Case:
    found = standard_targets(found)
    d, m = ends(found)
    net = nn.Sequential(nn.Linear(d, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, m))
    best = torch.optim.Adam(net.parameters(), lr=3e-3)
    return fit(found, net, nn.L1Loss(), best, epochs=epochs, answer=as_is, batches=cut(*found.train, 32))


def descending(found: Split, seed: int, epochs: int) -> Case:
    found = standard_targets(found)
    d, m = ends(found)
    net = nn.Sequential(nn.Linear(d, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, m))
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, nn.SmoothL1Loss(), descent, epochs=epochs, answer=as_is, seed=seed)


def poisson(found: Split, seed: int, epochs: int) -> Case:
    """The logarithm of a rate, and the Poisson loss."""
    net = nn.Sequential(nn.Linear(ends(found)[0], 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    best = torch.optim.Adam(net.parameters(), lr=3e-3)
    return fit(found, net, nn.PoissonNLLLoss(), best, epochs=epochs, answer=lambda o: as_is(o).exp(), seed=seed)


class Gaussian(nn.Module):
    """A mean and a log-variance."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.mean, self.spread = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.body(x)
        return torch.cat([self.mean(seen), self.spread(seen)], 1)


def gaussian(found: Split, seed: int, epochs: int) -> Case:
    """A loss that may be below 0."""
    found = standard_targets(found)
    net = Gaussian(ends(found)[0])

    def unlikely(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.gaussian_nll_loss(outputs[:, :1], targets, outputs[:, 1:].exp())

    best = torch.optim.Adam(net.parameters(), lr=2e-3)
    return fit(found, net, unlikely, best, epochs=epochs, answer=lambda o: o[:, :1], seed=seed)


Style = Callable[[Split, int, int], Case]
PLAN: dict[str, tuple[float, int, tuple[Style, ...]]] = {
    "diabetes": (0.30, 10, (plain, huber, flat, descending)),
    "friedman": (0.70, 40, (plain, huber, absolute, descending, gaussian)),
    "roll": (0.90, 40, (plain, flat, absolute, gaussian)),
    "counts": (0.40, 12, (poisson, plain, huber)),
    "arm": (0.95, 25, (plain, huber, absolute, descending)),
    "waveline": (0.90, 60, (plain, descending, absolute, gaussian)),
}


def _put(base: str, style: Style, reference: float, epochs: int) -> None:
    @healthy(base, reference, f"{base}_{style.__name__}")
    def build(seed: int) -> Case:
        return style(getattr(sets, base)(seed), seed, epochs)


for _base, (_reference, _epochs, _styles) in PLAN.items():
    for _style in _styles:
        _put(_base, _style, _reference, _epochs)
