"""Optimizers against torch's plain kernels and closed forms, at changing rates; both conventions; Muon; the kernels."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.catalogue import OPTIMIZERS
from netwright.errors import UsageError

RATES = [0.1, 0.1, 0.05, 0.02, 0.0, 0.08, 0.01, 0.01, 0.2, 0.1]
PLAIN = {"foreach": False, "fused": False}


def pushed(optimizer, weights, rates=RATES, seed=0):
    """Where `weights` end when each step brings the same random gradients and a rate of its own."""
    draw = torch.Generator().manual_seed(seed)
    start = [group["lr"] for group in optimizer.param_groups]
    for rate in rates:
        for group, first in zip(optimizer.param_groups, start, strict=True):
            group["lr"] = first * rate
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=draw, dtype=weight.dtype)
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def leaves(*shapes, dtype=torch.float64):
    draw = torch.Generator().manual_seed(9)
    return [torch.randn(shape, generator=draw, dtype=dtype).requires_grad_(True) for shape in shapes]


BETAS = {"betas": (0.9, 0.999), "eps": 1e-8}
THEIRS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1.0, weight_decay=0.01, **PLAIN),
    "momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=0.01, **PLAIN),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.01, **PLAIN),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1.0, eps=1e-10, weight_decay=0.01, **PLAIN),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.01, foreach=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1.0, alpha=0.99, eps=1e-8, weight_decay=0.01, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, lr=1.0, weight_decay=0.01, **BETAS, **PLAIN),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.01, **BETAS, **PLAIN),
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_ten_steps_equal_torchs_plain_kernel(name):
    ours, theirs = leaves((4, 3), (4,)), leaves((4, 3), (4,))
    found = pushed(OPTIMIZERS[name](ours, lr=1.0, weight_decay=0.01), ours)
    wanted = pushed(THEIRS[name](theirs), theirs)
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_dampening_equals_torchs():
    ours, theirs = leaves((3,)), leaves((3,))
    found = pushed(OPTIMIZERS["momentum"](ours, lr=1.0, dampening=0.4), ours)
    wanted = pushed(torch.optim.SGD(theirs, lr=1.0, momentum=0.9, dampening=0.4, **PLAIN), theirs)
    torch.testing.assert_close(found[0], wanted[0])
    with pytest.raises(UsageError, match=r"dampening = 0\.4 belongs to form = 'torch'"):
        OPTIMIZERS["momentum"](ours, dampening=0.4, form="caffe")


def caffe(start, slopes, mu, ahead):
    w, v = start.copy(), np.zeros_like(start)
    for g, lr in zip(slopes, RATES, strict=True):
        v = mu * v + lr * g
        w = w - (mu * v + lr * g if ahead else v)
    return w


@pytest.mark.parametrize(("name", "ahead"), [("momentum", False), ("nesterov", True)])
def test_the_caffe_form_keeps_the_old_rate_in_the_velocity(name, ahead):
    ours, theirs = leaves((5,)), leaves((5,))
    draw = torch.Generator().manual_seed(0)
    slopes = [torch.randn(5, generator=draw, dtype=torch.float64).numpy() for _ in RATES]
    expected = caffe(ours[0].detach().numpy().copy(), slopes, 0.9, ahead)
    found = pushed(OPTIMIZERS[name](ours, lr=1.0, form="caffe"), ours)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    other = pushed(OPTIMIZERS[name](theirs, lr=1.0), theirs)[0]
    assert float((found - other).abs().max()) > 1e-2


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_both_forms_agree_while_the_rate_stays(name):
    ours, theirs = leaves((5,)), leaves((5,))
    found = pushed(OPTIMIZERS[name](ours, lr=0.1, weight_decay=0.1, form="caffe"), ours, [1.0] * 8)
    wanted = pushed(OPTIMIZERS[name](theirs, lr=0.1, weight_decay=0.1), theirs, [1.0] * 8)
    torch.testing.assert_close(found, wanted)


def test_one_form_becomes_the_other_by_the_ratio_of_rates():
    """torch's velocity times its rate is Caffe's: scaled by old rate / new rate before each step, the paths agree."""
    ours, theirs = leaves((5,)), leaves((5,))
    rates = [0.1, 0.05, 0.2, 0.2, 0.01]
    found = pushed(OPTIMIZERS["momentum"](ours, lr=1.0, form="caffe"), ours, rates)
    optimizer, draw = OPTIMIZERS["momentum"](theirs, lr=1.0), torch.Generator().manual_seed(0)
    for before, rate in zip([rates[0], *rates], rates, strict=False):
        for kept in optimizer.state.values():
            kept["momentum_buffer"] *= before / rate
        optimizer.param_groups[0]["lr"] = rate
        theirs[0].grad = torch.randn(5, generator=draw, dtype=torch.float64)
        optimizer.step()
    torch.testing.assert_close(found[0], theirs[0].detach())


@pytest.mark.parametrize("initial", [0.0, 1.0])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("form", ["torch", "caffe"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_by_its_closed_form(initial, inside, centered, form, momentum):
    rates, slopes, eps = [0.1, 0.05, 0.2], [0.5, -1.5, 2.0], 1e-3
    weight = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS["rmsprop"](
        [weight], lr=0.1, decay=0.9, eps=eps, momentum=momentum,
        centered=centered, eps_inside=inside, initial=initial, form=form,
    )  # fmt: skip
    w, s, m, v = 2.0, initial, 0.0, 0.0
    for rate, g in zip(rates, slopes, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        s, m = 0.9 * s + 0.1 * g * g, 0.9 * m + 0.1 * g
        spread = s - m * m if centered else s
        d = g / (math.sqrt(spread + eps) if inside else math.sqrt(spread) + eps)
        v = momentum * v + (rate * d if form == "caffe" else d)
        w -= v if form == "caffe" else rate * v
        assert float(weight.detach()) == pytest.approx(w, rel=1e-12)


def test_adams_first_step_is_about_the_rate():
    for scale in (1e-3, 1.0, 1e3):
        weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = OPTIMIZERS["adam"]([weight], lr=0.01)
        weight.grad = torch.tensor([scale], dtype=torch.float64)
        optimizer.step()
        assert float(weight.detach()) == pytest.approx(-0.01, rel=1e-4)


def test_the_rate_diverges_on_a_bowl_exactly_above_two_over_its_curvature():
    curvature = 4.0
    for rate, grows in ((0.49, False), (0.51, True)):
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = OPTIMIZERS["sgd"]([weight], lr=rate)
        for _ in range(60):
            weight.grad = curvature * weight.detach()
            optimizer.step()
        assert (abs(float(weight.detach())) > 1) is grows


# Muon -----------------------------------------------------------------------------------------------------------


def test_muon_alone_equals_torchs_on_a_matrix():
    ours, theirs = leaves((6, 4), dtype=torch.float32), leaves((6, 4), dtype=torch.float32)
    found = pushed(OPTIMIZERS["muon"](ours, weight_decay=0.1), ours)
    wanted = pushed(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1), theirs)
    assert torch.equal(found[0], wanted[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_takes_hidden_matrices_and_leaves_the_rest_to_adamw(layout):
    shapes = [(6, 3, 2, 2), (6,), (5, 24), (5,), (3, 5), (3,)]
    ours = leaves(*shapes, dtype=torch.float32)
    ours[0] = ours[0].detach().to(memory_format=layout).requires_grad_(True)
    flat = [p.detach().clone() for p in leaves(*shapes, dtype=torch.float32)]
    optimizer = OPTIMIZERS["muon"](ours, weight_decay=0.02)
    draw = torch.Generator().manual_seed(3)
    matrices = [flat[0].flatten(1).requires_grad_(True), flat[2].requires_grad_(True)]
    rest = [flat[place].requires_grad_(True) for place in (1, 3, 4, 5)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.02)
    adamw = torch.optim.AdamW(rest, lr=3e-4, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.02, **PLAIN)
    for _ in range(4):
        for weight in ours:
            weight.grad = torch.randn(weight.shape, generator=draw)
        matrices[0].grad, matrices[1].grad = ours[0].grad.flatten(1), ours[2].grad
        for mine, place in zip(rest, (1, 3, 4, 5), strict=True):
            mine.grad = ours[place].grad.clone()
        optimizer.step()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours[0].flatten(1), matrices[0])
    assert ours[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(ours[2], matrices[1])
    for mine, place in zip(rest, (1, 3, 4, 5), strict=True):
        torch.testing.assert_close(ours[place], mine, rtol=1e-5, atol=1e-7)


def test_muon_can_take_the_output_layer_too_and_gains_never():
    weights = leaves((4, 3), (2, 4), (4, 1, 1), dtype=torch.float32)

    def matrices(**given):
        groups = OPTIMIZERS["muon"](weights, **given).param_groups
        return [tuple(p.shape) for group in groups if group["matrix"] for p in group["params"]]

    assert matrices() == [(4, 3)]
    assert matrices(output="muon") == [(4, 3), (2, 4)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normed_muon_brings_matrices_to_length_and_moves_the_rest_by_nesterov(layout):
    shapes = [(6, 3, 2, 2), (6,), (5, 24), (5,), (3, 5)]
    ours = leaves(*shapes, dtype=torch.float32)
    ours[0] = ours[0].detach().to(memory_format=layout).requires_grad_(True)
    flat = [p.detach().clone() for p in leaves(*shapes, dtype=torch.float32)]
    optimizer = OPTIMIZERS["normed_muon"](ours, lr=0.2, bias_lr=0.5, output_lr=0.05, rest_decay=0.01)
    draw = torch.Generator().manual_seed(3)
    matrices = [flat[0].flatten(1).requires_grad_(True), flat[2].requires_grad_(True)]
    muon = torch.optim.Muon(matrices, lr=0.2, momentum=0.6, ns_steps=3, weight_decay=0.0)
    plain = [flat[1], flat[3], flat[4]]
    speeds = [torch.zeros_like(one) for one in plain]
    for _ in range(4):
        for weight in ours:
            weight.grad = torch.randn(weight.shape, generator=draw)
        for matrix, place in zip(matrices, (0, 2), strict=True):
            matrix.grad = ours[place].grad.flatten(1)
            with torch.no_grad():
                matrix *= math.sqrt(len(matrix)) / matrix.norm()
        for number, (one, place, rate) in enumerate(zip(plain, (1, 3, 4), (0.5, 0.5, 0.05), strict=True)):
            g = ours[place].grad + 0.01 / rate * one
            speeds[number] = 0.85 * speeds[number] + g
            plain[number] = one - rate * (g + 0.85 * speeds[number])
        optimizer.step()
        muon.step()
    torch.testing.assert_close(ours[0].flatten(1), matrices[0])
    assert ours[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(ours[2], matrices[1])
    for one, place in zip(plain, (1, 3, 4), strict=True):
        torch.testing.assert_close(ours[place].detach(), one, rtol=1e-5, atol=1e-6)


def test_normed_muon_with_rates_of_zero_and_a_matrix_of_zeros():
    weights = leaves((4, 3), (4,), (2, 4), dtype=torch.float32)
    with torch.no_grad():
        weights[0].zero_()
    kept = [weight.detach().clone() for weight in weights]
    optimizer = OPTIMIZERS["normed_muon"](weights, lr=0.1, bias_lr=0.0, output_lr=0.0, rest_decay=0.5)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert all(bool(weight.isfinite().all()) for weight in weights)
    assert torch.equal(weights[1], kept[1])
    assert torch.equal(weights[2], kept[2])
    assert not torch.equal(weights[0], kept[0])


def test_muon_without_matrices_is_adamw():
    ours, theirs = leaves((4,), dtype=torch.float32), leaves((4,), dtype=torch.float32)
    found = pushed(OPTIMIZERS["muon"](ours, adamw_lr=0.1), ours)
    wanted = pushed(torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0), theirs)
    torch.testing.assert_close(found, wanted)


def test_muons_steps_have_singular_values_near_one():
    weight = leaves((30, 20), dtype=torch.float32)[0]
    before = weight.detach().clone()
    optimizer = OPTIMIZERS["muon"]([weight], lr=1.0)
    weight.grad = torch.randn(30, 20) * torch.logspace(0, -2, 20)
    optimizer.step()
    values = torch.linalg.svdvals((before - weight.detach()) / math.sqrt(30 / 20))
    assert float(values.min()) > 0.4
    assert float(values.max()) < 1.5


def test_muon_trains_a_network_better_than_it_starts():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))
    x = torch.randn(128, 8)
    y = (x[:, :3]).argmax(1)
    optimizer = OPTIMIZERS["muon"](net.parameters(), adamw_lr=1e-2)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 5


# kernels --------------------------------------------------------------------------------------------------------


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


FUSED = {
    "sgd": "aten::_fused_sgd_", "momentum": "aten::_fused_sgd_", "nesterov": "aten::_fused_sgd_",
    "adam": "aten::_fused_adam_", "adamw": "aten::_fused_adamw_", "adagrad": "aten::_fused_adagrad_",
    "muon": "aten::_fused_adamw_", "rmsprop": "aten::_foreach_addcmul_", "adadelta": "aten::_foreach_addcmul_",
    "normed_muon": "aten::_fused_sgd_",
}  # fmt: skip


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_fast_kernel_really_runs(name):
    weights = leaves((4, 3), (4,), (2, 4), dtype=torch.float32)
    optimizer = OPTIMIZERS[name](weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    with Seen() as seen:
        optimizer.step()
    assert any(found.startswith(FUSED[name]) for found in seen.names), sorted(seen.names)


OWN = [("momentum", {"form": "caffe"}), ("nesterov", {"form": "caffe"}), ("muon", {}), ("rmsprop", {"initial": 1.0})]
OWN += [("normed_muon", {})]


@pytest.mark.parametrize(("name", "given"), OWN)
def test_a_saved_state_continues_to_the_same_bits(name, given):
    first = leaves((4, 3), (4,), (2, 4), dtype=torch.float32)
    optimizer = OPTIMIZERS[name](first, **given)
    pushed(optimizer, first, [1.0] * 3)
    kept = copy.deepcopy(optimizer.state_dict())
    second = [weight.detach().clone().requires_grad_(True) for weight in first]
    other = OPTIMIZERS[name](second, **given)
    other.load_state_dict(kept)
    one, two = pushed(optimizer, first, [1.0] * 3, seed=5), pushed(other, second, [1.0] * 3, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(("name", "given"), OWN)
def test_frozen_weights_and_missing_gradients_stay(name, given):
    weights = leaves((4, 3), (4, 3), (2, 4), dtype=torch.float32)
    before = weights[1].detach().clone()
    optimizer = OPTIMIZERS[name](weights, **given)
    weights[0].grad = torch.ones_like(weights[0])
    optimizer.step()
    assert torch.equal(weights[1].detach(), before)
    assert not torch.equal(weights[0].detach(), leaves((4, 3), dtype=torch.float32)[0].detach())
