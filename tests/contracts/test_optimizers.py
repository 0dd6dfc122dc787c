"""What every optimizer in the catalogue keeps to."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Muon, RMSprop

from netwright.catalogue import OPTIMIZERS

TORCHS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.01, momentum=0.9),
    "nesterov": lambda p: SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "adagrad": lambda p: Adagrad(p, lr=0.01),
    "adadelta": lambda p: Adadelta(p, lr=1.0),
    "rmsprop": lambda p: RMSprop(p, lr=1e-3),
    "adam": lambda p: Adam(p, lr=1e-3),
    "adamw": lambda p: AdamW(p, lr=1e-3, weight_decay=0.01),
}
"""Torch's own, one weight after the other; `muon` is held to torch on a single matrix below."""


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def trained(net, optimizer, steps=10):
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1)).double()
    y, losses = torch.arange(20) % 3, []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_every_optimizer_has_its_counterpart():
    assert set(TORCHS) | {"muon", "normed_muon"} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", TORCHS)
def test_ten_steps_equal_torchs_plain_ones(name):
    ours, theirs = network(), network()
    plain = TORCHS[name](theirs.parameters())
    for group in plain.param_groups:
        group |= {key: False for key in ("foreach", "fused") if key in group}
    trained(ours, OPTIMIZERS[name](ours.parameters(), **{"lr": plain.param_groups[0]["lr"]}))
    trained(theirs, plain)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_muon_on_a_single_matrix_is_torchs():
    torch.manual_seed(0)
    first = nn.Linear(6, 3, bias=False)
    second, settings = copy.deepcopy(first), OPTIMIZERS["muon"].defaults()
    muon = OPTIMIZERS["muon"](first.parameters(), output="muon")
    other = Muon(second.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"],
                 momentum=settings["momentum"])  # fmt: skip
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    for net, optimizer in ((first, muon), (second, other)):
        for _ in range(10):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(first.weight, second.weight)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_loss_falls_and_the_state_travels(name):
    net = network()
    optimizer = OPTIMIZERS[name](net.parameters())
    losses = trained(net, optimizer, 30)
    assert losses[-1] < losses[0]
    again = copy.deepcopy(net)
    other = OPTIMIZERS[name](again.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert trained(net, optimizer, 3) == trained(again, other, 3)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_card_is_complete(name):
    part = OPTIMIZERS[name]
    assert part.summary.endswith(".")
    assert part.formula
    assert len(part.facts["source"]) > 8
    assert part.check(part.defaults()) == part.defaults()
    assert "lr" in part.settings
