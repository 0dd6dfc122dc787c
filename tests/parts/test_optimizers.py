"""Optimizers against their formulas worked step by step on float64 numbers, and the choice of kernels."""

import math

import pytest
import torch

from netwright.catalogue import OPTIMIZERS
from netwright.errors import UsageError

START, RATE, STEPS = [1.0, -2.0, 0.5], 0.05, 12


def gradient(w, t):
    return [3 * w[0] + t, w[1] ** 3, math.sin(w[2])]


def sgd(g, s, t):
    return RATE * g


def momentum(g, s, t):
    s["v"] = 0.9 * s.get("v", 0.0) + g
    return RATE * s["v"]


def nesterov(g, s, t):
    s["v"] = 0.9 * s.get("v", 0.0) + g
    return RATE * (g + 0.9 * s["v"])


def adam(g, s, t):
    s["m"], s["s"] = 0.9 * s.get("m", 0.0) + 0.1 * g, 0.999 * s.get("s", 0.0) + 0.001 * g * g
    return RATE * (s["m"] / (1 - 0.9**t)) / (math.sqrt(s["s"] / (1 - 0.999**t)) + 1e-8)


def rmsprop(g, s, t):
    s["s"] = 0.99 * s.get("s", 0.0) + 0.01 * g * g
    return RATE * g / (math.sqrt(s["s"]) + 1e-8)


def adagrad(g, s, t):
    s["s"] = s.get("s", 0.0) + g * g
    return RATE * g / (math.sqrt(s["s"]) + 1e-10)


def adadelta(g, s, t):
    s["s"] = 0.9 * s.get("s", 0.0) + 0.1 * g * g
    d = math.sqrt(s.get("u", 0.0) + 1e-6) / math.sqrt(s["s"] + 1e-6) * g
    s["u"] = 0.9 * s.get("u", 0.0) + 0.1 * d * d
    return RATE * d


RULES = {
    "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "adamw": adam, "rmsprop": rmsprop,
    "adagrad": adagrad, "adadelta": adadelta,
}  # fmt: skip


def test_every_optimizer_has_a_rule_here():
    assert set(RULES) == set(OPTIMIZERS) - {"muon", "normed_muon"}  # in a file of their own: test_update_rules.py


@pytest.mark.parametrize("name", list(RULES))
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_follows_its_formula(name, decay):
    weight = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS[name]([weight], lr=RATE, weight_decay=decay)
    w, states = list(START), [{} for _ in START]
    for t in range(1, STEPS + 1):
        g = gradient(w, t)
        weight.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        coupled = 0.0 if name == "adamw" else decay
        direct = RATE * decay if name == "adamw" else 0.0
        moves = [RULES[name](g[i] + coupled * w[i], states[i], t) for i in range(len(w))]
        w = [w[i] * (1 - direct) - moves[i] for i in range(len(w))]
        assert weight.tolist() == pytest.approx(w, rel=1e-9)


def test_gradient_descent_contracts_a_bowl_by_its_factor():
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS["sgd"]([weight], lr=0.3)
    for step in range(1, 6):
        weight.grad = 2.0 * weight.detach()
        optimizer.step()
        assert float(weight.detach()) == pytest.approx((1 - 0.3 * 2.0) ** step)


def test_fused_kernels_where_torch_has_them():
    weights = [torch.zeros(3, requires_grad=True)]
    fused = {name for name in OPTIMIZERS if OPTIMIZERS[name](weights).defaults.get("fused")}
    assert fused == {"sgd", "momentum", "nesterov", "adam", "adamw", "adagrad"}


def test_no_weights_is_refused():
    with pytest.raises(UsageError, match="no weights to train"):
        OPTIMIZERS["adam"]([])


def test_groups_keep_their_own_rates():
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = OPTIMIZERS["sgd"]([{"params": [first], "lr": 1.0}, {"params": [second]}], lr=0.5)
    first.grad, second.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (float(first.detach()), float(second.detach())) == (-1.0, -0.5)


@pytest.mark.parametrize(
    ("given", "words"), [({"lr": -1.0}, "lr = -1"), ({"beta1": 1.0}, "beta1"), ({"lrr": 1}, "'lr'")]
)
def test_settings_are_checked(given, words):
    with pytest.raises(UsageError, match=words):
        OPTIMIZERS["adam"]([torch.zeros(1, requires_grad=True)], **given)
