"""Gradients over time against closed forms and automatic differentiation."""

import math

import pytest
import torch
from torch import nn

from netwright.catalogue import CELLS
from netwright.errors import UsageError
from netwright.measures.time_gradients import FARTHEST, gradient_over_time, state_norms
from netwright.measures.unrolled import calls_of, steps_of, unrolled


def doubled(core: nn.Module) -> nn.Module:
    return core.double().eval()


def scalar(w: float) -> nn.Module:
    """h_t = w h_(t-1) + x_t, as leaky units of alpha 0 without a bend."""
    core = doubled(CELLS["leaky"](1, hidden=1, alpha=0.0, nonlinearity="identity"))
    with torch.no_grad():
        core.weight_ih_l0.fill_(1.0)
        core.weight_hh_l0.fill_(w)
        core.bias_ih_l0.zero_()
    return core


@pytest.mark.parametrize("w", [0.5, -0.9, 1.0, 1.2, -2.0])
def test_S_225_of_the_scalar_linear_network_the_gradient_is_the_power_of_its_weight(w):
    core, steps = scalar(w), 40
    found = gradient_over_time(core, [torch.randn(1, steps, 1, dtype=torch.float64) for _ in range(3)])
    (curve,) = found.states
    assert curve.norms == pytest.approx([abs(w) ** distance for distance in range(steps)], rel=1e-12)
    assert curve.examples == [3] * steps
    assert curve.factor == pytest.approx(abs(w), rel=1e-12)


def test_S_225_the_loss_at_the_end_reaches_an_input_by_the_same_power():
    core = scalar(0.8)
    x = torch.randn(1, 12, 1, dtype=torch.float64)
    found = gradient_over_time(core, [x], [lambda inputs: core(inputs)[0][0, -1, 0]])
    assert found.inputs is not None
    assert found.inputs.norms == pytest.approx([0.8**distance for distance in range(12)], rel=1e-12)


def test_an_lstm_that_only_keeps_passes_the_gradient_by_its_forget_gate():
    core = doubled(nn.LSTM(1, 1, batch_first=True))
    with torch.no_grad():
        for weight in core.parameters():
            weight.zero_()
        core.bias_ih_l0[1] = 3.0  # all other gates stand at a half, and nothing is fed back
    f = 1 / (1 + math.exp(-3.0))
    (curve,) = gradient_over_time(core, [torch.zeros(1, 9, 1, dtype=torch.float64)]).states
    # h_T = o tanh(c_T), c = 0: dh_T / dc_t = f^(T-t) / 2; h_t reaches nothing
    assert curve.norms[0] == pytest.approx(1.0)
    assert curve.norms[1:] == pytest.approx([0.5 * f**distance for distance in range(1, 9)], rel=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "peephole_lstm", "jordan"])
def test_norms_equal_those_of_the_whole_jacobian(name):
    torch.manual_seed(0)
    core = doubled(CELLS[name](3, hidden=4))
    x = torch.randn(1, 6, 3, dtype=torch.float64)
    with calls_of(core) as calls:
        core(x)
    start = tuple(part[0] for part in calls[0].start)
    measured = state_norms(core, 0, x, start)
    states = [state for _, state in steps_of(core, 0, x, start)]
    for distance in range(1, 6):
        given = torch.cat(states[5 - distance], 1).detach()

        def ahead(flat, distance=distance):
            state = tuple(flat.split(4, 1))
            made = [state for _, state in steps_of(core, 0, x[:, 6 - distance :], state)]
            return made[-1][0]

        jacobian = torch.autograd.functional.jacobian(ahead, given).reshape(4, -1)
        assert float(measured[distance]) == pytest.approx(float(jacobian.norm()) / 2, rel=1e-10)


def test_every_layer_and_direction_has_its_curve():
    core = doubled(nn.GRU(2, 3, num_layers=2, batch_first=True, bidirectional=True))
    found = gradient_over_time(core, [torch.randn(1, 5, 2, dtype=torch.float64)])
    assert [one.name for one in found.states] == [
        "gru layer 1 forward", "gru layer 1 backward", "gru layer 2 forward", "gru layer 2 backward"
    ]  # fmt: skip
    assert all(one.norms[0] == pytest.approx(1.0) and len(one.norms) == 5 for one in found.states)


def test_a_long_sequence_is_looked_at_from_its_end_on():
    core = scalar(0.99)
    (curve,) = gradient_over_time(core, [torch.zeros(1, FARTHEST + 50, 1, dtype=torch.float64)]).states
    assert len(curve.norms) == FARTHEST + 1
    assert curve.norms[-1] == pytest.approx(0.99**FARTHEST)


def test_unequal_lengths_are_averaged_where_they_reach():
    batch = [torch.zeros(1, length, 1, dtype=torch.float64) for length in (3, 5)]
    (curve,) = gradient_over_time(scalar(0.5), batch).states
    assert curve.examples == [2, 2, 2, 1, 1]


def test_nothing_recurrent_and_nothing_given_are_refused():
    with pytest.raises(UsageError, match="no recurrent layer"):
        gradient_over_time(nn.Linear(2, 2), [torch.zeros(1, 3, 2)])
    with pytest.raises(UsageError, match="no examples"):
        gradient_over_time(scalar(1.0), [])


def test_nothing_of_the_network_changes():
    core = doubled(nn.LSTM(2, 3, batch_first=True)).train()
    before = [weight.clone() for weight in core.parameters()]
    gradient_over_time(core, [torch.randn(1, 4, 2, dtype=torch.float64)])
    assert core.training
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, core.parameters(), strict=True))
    assert not core._forward_hooks


def test_unrolled_gates_of_an_lstm_equal_a_loop_written_out():
    torch.manual_seed(1)
    core = doubled(nn.LSTM(2, 3, batch_first=True))
    x = torch.randn(1, 4, 2, dtype=torch.float64)
    with calls_of(core) as calls, torch.no_grad():
        core(x)
        (one,) = unrolled(calls[0])
    w, u, b = core.weight_ih_l0, core.weight_hh_l0, core.bias_ih_l0 + core.bias_hh_l0
    h = c = torch.zeros(3, dtype=torch.float64)
    for step in range(4):
        a = w @ x[0, step] + u @ h + b
        i, f, o = (1 / (1 + (-a[at : at + 3]).exp()) for at in (0, 3, 9))
        g = a[6:9].tanh()
        c = f * c + i * g
        h = o * c.tanh()
        for name, wanted in {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}.items():
            torch.testing.assert_close(one.parts[name][0, step], wanted, rtol=0, atol=1e-12)
