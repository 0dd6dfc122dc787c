"""Recomputed gates and states against the layers' own, of every cell there is."""

import pytest
import torch
from torch import nn

from netwright.catalogue import CELLS
from netwright.errors import RunError, UsageError
from netwright.explaining.gates import STEPS, UNITS, draw, gates, liveliest, tensors
from netwright.explaining.reading import Given
from netwright.measures import unrolled as equations
from netwright.measures.unrolled import agreement, calls_of, unrolled

RECURRENT = [name for name in CELLS if CELLS[name].facts["kind"] == "recurrent"]


def given(inputs: torch.Tensor) -> Given:
    labels = [str(step) for step in range(inputs.shape[1])]
    return Given("some", inputs, labels, "steps", "0" * 8)


@pytest.mark.parametrize("two_way", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", RECURRENT)
def test_the_recomputed_state_is_the_networks_own(name, layers, two_way):
    torch.manual_seed(0)
    core = CELLS[name](5, hidden=7, layers=layers, bidirectional=two_way).eval().double()
    x = torch.randn(2, 11, 5, dtype=torch.float64)
    with torch.no_grad(), calls_of(core) as calls:
        outputs = core(x)[0]
        found = unrolled(calls[0])
    assert len(found) == layers * (1 + two_way)
    last = torch.cat([one.parts["h"] for one in found[-(1 + two_way) :]], 2)
    torch.testing.assert_close(last, outputs, rtol=0, atol=1e-6)
    assert agreement(calls[0], found) < 1e-6


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_the_fused_kernels_in_float32_give_the_same_to_a_millionth(name):
    torch.manual_seed(0)
    core = CELLS[name](5, hidden=32, layers=2, bidirectional=True).eval()
    x = torch.randn(1, 60, 5)
    with torch.no_grad(), calls_of(core) as calls:
        core(x)
        assert agreement(calls[0], unrolled(calls[0])) < 1e-6


@pytest.mark.parametrize("batch_first", [True, False])
def test_torch_layers_in_every_dress(batch_first):
    torch.manual_seed(0)
    for core in (
        nn.LSTM(3, 6, proj_size=2, num_layers=2, bidirectional=True, batch_first=batch_first),
        nn.GRU(3, 6, bias=False, batch_first=batch_first),
        nn.RNN(3, 6, nonlinearity="relu", batch_first=batch_first),
    ):
        core.double()
        x = torch.randn((1, 9, 3) if batch_first else (9, 1, 3), dtype=torch.float64)
        start = torch.randn(1, 1, 6, dtype=torch.float64)
        with torch.no_grad(), calls_of(core) as calls:
            core(x) if isinstance(core, nn.LSTM) else core(x, start)
            assert agreement(calls[0], unrolled(calls[0])) < 1e-12


def test_gates_lie_between_0_and_1_and_make_the_cell():
    core = nn.LSTM(2, 3, batch_first=True).double()
    x = 4 * torch.randn(1, 8, 2, dtype=torch.float64)
    (one,) = gates(core, given(x), lambda: core(x))
    assert list(one.parts) == ["i", "f", "g", "o", "c", "h"]
    for name in "ifo":
        assert 0 <= float(one.parts[name].min()) <= float(one.parts[name].max()) <= 1
    cell = one.parts["f"][1:] * one.parts["c"][:-1] + (one.parts["i"] * one.parts["g"])[1:]
    torch.testing.assert_close(cell, one.parts["c"][1:])
    torch.testing.assert_close(one.parts["h"], one.parts["o"] * one.parts["c"].tanh())


def test_a_direction_that_reads_backward_is_told_in_the_order_of_the_inputs():
    torch.manual_seed(0)
    core = nn.GRU(2, 3, batch_first=True, bidirectional=True).double()
    x = torch.randn(1, 6, 2, dtype=torch.float64)
    forward, backward = gates(core, given(x), lambda: core(x))
    assert (forward.backward, backward.backward) == (False, True)
    torch.testing.assert_close(backward.parts["h"], core(x)[0][0, :, 3:].detach())


def test_what_does_not_agree_is_not_drawn(monkeypatch):
    def wrong(core, x, state, weights):
        parts, (h, c) = equations._lstm(core, x, state, weights)
        return parts, (h * 1.0001, c)

    core = nn.LSTM(2, 3, batch_first=True).double()
    x = torch.randn(1, 6, 2, dtype=torch.float64)
    monkeypatch.setitem(equations.STEPS, "LSTM", wrong)
    with pytest.raises(RunError, match="nothing is drawn"):
        gates(core, given(x), lambda: core(x))


def test_numbers_that_are_none_are_not_drawn():
    core = nn.LSTM(2, 3, batch_first=True).double()
    x = torch.full((1, 4, 2), float("nan"), dtype=torch.float64)
    with pytest.raises(RunError, match="differs"):
        gates(core, given(x), lambda: core(x))


def test_a_network_without_recurrent_layers_is_refused():
    layer, x = nn.Linear(2, 2), torch.zeros(1, 3, 2)
    with pytest.raises(UsageError, match="no recurrent layer"):
        gates(layer, given(x), lambda: layer(x))


def test_many_units_and_steps_are_bounded_in_the_picture_alone_and_said():
    core = nn.GRU(1, UNITS + 9, batch_first=True).double()
    x = torch.randn(1, STEPS + 5, 1, dtype=torch.float64)
    (one,) = gates(core, given(x), lambda: core(x))
    canvas, notes = draw(one, "title")
    assert len(notes) == 2
    assert f"{UNITS} units of {UNITS + 9}" in notes[0]
    assert f"first {STEPS} steps" in notes[1]
    assert tensors([one])["gru/z"].shape == (STEPS + 5, UNITS + 9)
    assert canvas.svg().count("<image") == 8  # four parts, each with its scale


def test_the_liveliest_units_are_those_that_change():
    part = torch.zeros(10, UNITS + 2)
    part[::2, 3:] = 1.0
    assert set(range(3, UNITS + 2)) <= set(liveliest(part))
    assert len(liveliest(part)) == UNITS
