"""Small programs for the tests of what stands between a network and its loss."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.subject import Change
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.trial import branch

OUTPUT = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "A15")
_draw = torch.Generator().manual_seed(0)
X = torch.randn(160, 5, generator=_draw)
CLASSES = (X @ torch.randn(5, 3, generator=_draw)).argmax(1)
ONE_HOT = F.one_hot(CLASSES, 3).float()
BINARY = (X[:, :1] + X[:, 1:2] > 0).float()
LABELS = (X[:, :3] > 0).float()
NUMBERS = X.sum(1, keepdim=True)


def batches(x: Tensor, y: Tensor, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def chart(
    head: Sequence[nn.Module] | nn.Module,
    loss: Callable[[Any, Any], Tensor],
    y: Tensor,
    units: int = 3,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
    x: Tensor = X,
    step: Callable[[nn.Module, torch.optim.Optimizer], Callable[..., Any]] | None = None,
) -> Chart:
    """A small network with a head, or a module as it is, before a loss."""
    torch.manual_seed(1)
    layers = (nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, units))
    net = head if isinstance(head, nn.Module) else nn.Sequential(*layers, *head)
    search = optimizer(net) if optimizer else torch.optim.Adam(net.parameters(), 1e-2)
    own = step(net, search) if step else None
    return Chart(CodeSubject(net, loss, search, batches(x, y), epochs=3, step=own), Clock(60))


def found(seen: Chart, *faults: str) -> dict[str, Suspicion]:
    """What these faults suspect, by id."""
    made: dict[str, Suspicion] = {}
    for name in faults or OUTPUT:
        try:
            one = FAULTS[name].build(seen)
        except Unmeasured:
            continue
        if one is not None:
            made[name] = one
    return made


def skill(seen: Chart, changes: Sequence[Change] = (), steps: int = 60) -> float:
    """What a branch with these changes reaches."""
    return branch(seen.subject, changes, steps, 0, seen.sigmoid).skill
