"""Under autocast the last linear layer works in float32, and nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from netwright.training.number_type import keep_outputs_exact, number_type

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def test_the_last_layer_works_in_float32_the_others_in_bfloat16():
    model, x = network(), torch.randn(4, 8)
    keep_outputs_exact(model)
    with number_type(CPU, "bfloat16"):
        hidden = model[0](x)
        outputs = model(x)
        after = model[0](x)  # autocast goes on behind it
    assert (hidden.dtype, outputs.dtype, after.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    exact = torch.nn.functional.linear(hidden.relu().float(), model[2].weight, model[2].bias)
    assert torch.equal(outputs, exact)


def test_without_autocast_nothing_changes_and_twice_is_once():
    model, x = network(), torch.randn(4, 8)
    plain = model(x)
    keep_outputs_exact(model)
    keep_outputs_exact(model)
    assert torch.equal(model(x), plain)
    assert len(model[2]._forward_pre_hooks) == 1
    assert not model[0]._forward_pre_hooks
    keep_outputs_exact(nn.Conv2d(1, 1, 1))  # no linear layer: nothing to do


def test_a_failing_layer_leaves_autocast_on():
    model = network()
    keep_outputs_exact(model)
    with number_type(CPU, "bfloat16"):
        with pytest.raises(RuntimeError):
            model[2](torch.randn(4, 5))
        assert torch.is_autocast_enabled("cpu")
        assert model(torch.randn(4, 8)).dtype == torch.float32


def test_a_copy_does_the_same():
    model = network()
    keep_outputs_exact(model)
    other = copy.deepcopy(model)
    with number_type(CPU, "bfloat16"):
        assert other(torch.randn(4, 8)).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_gradients_reach_both_layers():
    model = network()
    keep_outputs_exact(model)
    with number_type(CPU, "bfloat16"):
        loss = model(torch.randn(4, 8)).square().mean()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in model.parameters())
