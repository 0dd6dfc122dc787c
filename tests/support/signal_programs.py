"""Little programs for the tests of section C: what they have, or healthy look-alikes."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.suspicion import Suspicion, Unmeasured

CE = nn.CrossEntropyLoss()
Made = tuple[nn.Module, Callable[[Any, Any], Tensor], torch.optim.Optimizer, list[tuple[Tensor, Tensor]]]


def blobs(count: int = 384, width: int = 16, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Classes around random centres."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (count,), generator=draw)
    centres = 1.2 * torch.randn(classes, width, generator=draw)
    return centres[y] + torch.randn(count, width, generator=draw), y


def xor(count: int = 384) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def cut(x: Tensor, y: Tensor, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b), act()]
    return nn.Sequential(*parts[:-1])


def adam(net: nn.Module, lr: float = 1e-2) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr)


def sgd(net: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr, momentum=0.9)


def scaled(net: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1:
                p.mul_(factor)
    return net


def filled(net: nn.Module, value: float) -> nn.Module:
    for p in net.parameters():
        nn.init.constant_(p, value)
    return net


class Residual(nn.Module):
    """Residual branches and a head that begin at zero."""

    def __init__(self, width: int = 24, count: int = 6) -> None:
        super().__init__()
        self.enter = nn.Linear(16, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(count)
        )
        self.out = nn.Linear(width, 4)
        for layer in [*(block[3] for block in self.blocks), self.out]:  # type: ignore[index]
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


class Reader(nn.Module):
    """A recurrent layer over tokens and a linear one on its last step."""

    def __init__(self, cell: type[nn.RNNBase], width: int = 16) -> None:
        super().__init__()
        self.tokens = nn.Embedding(4, width)
        self.cells = cell(width, width, batch_first=True)
        self.out = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(self.tokens(x))[0][:, -1])


class Writer(nn.Module):
    """Attention by hand that gives a score for every token at every place, as (batch, tokens, steps)."""

    def __init__(self, places: bool = True, mask: bool = True, sharp: float = 1.0) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(12, 16), nn.Parameter(torch.randn(10, 16))
        self.ask, self.key, self.value, self.out = (nn.Linear(16, size) for size in (16, 16, 16, 12))
        self.has_places, self.mask, self.sharp = places, mask, sharp

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x)
        h = h + self.places[: x.shape[1]] if self.has_places else h
        scores = self.sharp * self.ask(h) @ self.key(h).transpose(1, 2) / 4
        if self.mask:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
        return self.out(F.relu(h + scores.softmax(-1) @ self.value(h))).transpose(1, 2)


def text(shift: bool = True) -> list[tuple[Tensor, Tensor]]:
    """Counting rows: each place is asked for the next token, or (`shift` false) for the row backwards."""
    steps = torch.randint(1, 3, (96, 11), generator=torch.Generator().manual_seed(0))
    rows = steps.cumsum(1) % 12
    return cut(rows[:, :-1], rows[:, 1:] if shift else rows[:, :-1].flip(1))


def chart(make: Callable[[], Made], epochs: int = 4) -> Chart:
    torch.manual_seed(0)
    net, loss, optimizer, batches = make()
    return Chart(CodeSubject(net, loss, optimizer, batches, epochs=epochs), Clock(10))


def seen(of: Chart, *only: str) -> dict[str, Suspicion]:
    """The suspicions of section C."""
    found: dict[str, Suspicion] = {}
    for name in only or [name for name in FAULTS if name.startswith("C")]:
        try:
            one = FAULTS[name].build(of)
        except Unmeasured:
            continue
        if one is not None:
            found[name] = one
    return found
