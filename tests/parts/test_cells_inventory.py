"""The seed inventory's rows on recurrent layers and attention, one direct check for each, named by its number."""

import pytest
import torch
from torch import nn

from netwright.catalogue import ATTENTION, CELLS
from netwright.parts.cells import recur
from netwright.parts.sequences import Sequences

F64 = {"dtype": torch.float64}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64)


def ones(core):
    """All weights 1, no bias."""
    with torch.no_grad():
        for name, weight in core.named_parameters():
            weight.fill_(float(name.startswith("weight")))
    return core


def shut(core, **gates):
    """All weights 0 and the biases of the gates i, f, g, o as given: what an LSTM does with them is theirs alone."""
    with torch.no_grad():
        for weight in core.parameters():
            weight.zero_()
        core.bias_ih_l0.copy_(
            torch.tensor([gates.get(gate, 0.0) for gate in "ifgo"]).repeat_interleave(core.hidden_size)
        )
    return core


def test_s212_the_state_is_carried_and_one_weight_serves_any_length():
    core = CELLS["rnn"](3, hidden=4).double()
    reference = nn.RNN(3, 4, batch_first=True).double()
    reference.load_state_dict(core.state_dict())
    for steps in (1, 5, 50):
        x = draw(2, steps, 3)
        assert torch.equal(core(x)[0], reference(x)[0])
    x = draw(2, 6, 3)
    state = None
    for t in range(6):  # one step at a time, the state handed on
        output, state = core(x[:, t : t + 1], state)
    torch.testing.assert_close(output[:, 0], core(x)[0][:, -1])


def test_s213_two_steps_by_hand():
    core = CELLS["jordan"](1, hidden=1, outputs=1)
    for name, value in {"weight_ih": 0.5, "weight_hh": -1.0, "bias_ih": 0.1, "weight_ho": 2.0, "bias_ho": 0.3}.items():
        nn.init.constant_(getattr(core, f"{name}_l0"), value)
    outputs, _ = core(torch.tensor([[[1.0], [2.0]]]))
    # y1 = 2 tanh(0.6) + 0.3 = 1.374099; y2 = 2 tanh(1.0 - 1.374099 + 0.1) + 0.3 = -0.234870
    assert outputs[0, :, 0].tolist() == pytest.approx([1.374099, -0.234870], abs=1e-6)


def test_s214_the_worked_example():
    x = torch.tensor([[[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]])
    core = ones(CELLS["leaky"](2, hidden=2, alpha=0.0, nonlinearity="identity"))
    states = core(x)[0]
    assert (states @ torch.ones(2, 2)).tolist() == [[[4.0, 4.0], [12.0, 12.0], [32.0, 32.0]]]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "jordan", "leaky", "peephole_lstm", "layer_norm_lstm"])
def test_s215_memory_two_inputs_shared_parameters(name):
    core = CELLS[name](3, hidden=4).double()
    x = draw(1, 11, 3)
    other = x.clone()
    other[:, 0] += 1
    assert not torch.equal(core(x)[0][:, 2], core(other)[0][:, 2])
    assert not any(11 in weight.shape for weight in core.parameters())  # none knows how many steps there are


def test_s215_without_the_feedback_the_past_is_gone():
    core = CELLS["rnn"](3, hidden=4).double()
    nn.init.zeros_(core.weight_hh_l0)
    x = draw(1, 3, 3)
    other = x.clone()
    other[:, 0] += 1
    assert torch.equal(core(x)[0][:, 2], core(other)[0][:, 2])


def test_s216_jordan_feeds_the_output_back_and_elman_the_state():
    jordan = CELLS["jordan"](2, hidden=3, outputs=3).double()
    elman = CELLS["rnn"](2, hidden=3).double()
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            getattr(elman, f"{name}_l0").copy_(getattr(jordan, f"{name}_l0"))
        elman.bias_hh_l0.zero_()
        x = draw(2, 5, 2)
        assert not torch.allclose(jordan(x)[0], elman(x)[0])
        jordan.weight_ho_l0.copy_(torch.eye(3))  # once the output is the state, both forms are one
        jordan.bias_ho_l0.zero_()
        torch.testing.assert_close(jordan(x)[0], elman(x)[0])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_s223_truncated_as_long_as_the_sequence_is_full_backpropagation(name):
    core, x = CELLS[name](2, hidden=3).double(), draw(2, 12, 2)

    def gradient(window):
        core.zero_grad()
        state, found = None, []
        for begin in range(0, 12, window):
            outputs, state = recur(core, x[:, begin : begin + window], state)
            outputs.square().sum().backward()
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
            found.append(outputs.detach())
        return torch.cat(found, 1), core.weight_hh_l0.grad.clone()

    outputs, full = gradient(12)
    core.zero_grad()
    core(x)[0].square().sum().backward()
    torch.testing.assert_close(full, core.weight_hh_l0.grad)
    shorter, cut = gradient(4)
    torch.testing.assert_close(shorter, outputs)
    assert not torch.allclose(cut, full)


def test_s226_a_two_way_layer_is_two_layers_the_second_on_the_reversed_sequence():
    core = CELLS["rnn"](2, hidden=3, bidirectional=True).double()
    forward, backward = (nn.RNN(2, 3, batch_first=True).double() for _ in range(2))
    forward.load_state_dict({k: v for k, v in core.state_dict().items() if "reverse" not in k})
    backward.load_state_dict({k.removesuffix("_reverse"): v for k, v in core.state_dict().items() if "reverse" in k})
    lengths, x = [4, 2], draw(2, 4, 2)
    x[1, 2:] = 0
    found = recur(core, Sequences(x, torch.tensor(lengths)))[0].values
    for row, length in enumerate(lengths):
        own = x[row : row + 1, :length]
        torch.testing.assert_close(found[row, :length, :3], forward(own)[0][0])
        torch.testing.assert_close(found[row, :length, 3:], backward(own.flip(1))[0][0].flip(0))


def test_s227_the_gates_stand_as_i_f_g_o_and_peepholes_of_zero_change_nothing():
    core, x = CELLS["lstm"](3, hidden=4, layers=2), draw(2, 6, 3).float()
    reference = nn.LSTM(3, 4, 2, batch_first=True)
    reference.load_state_dict(core.state_dict())
    torch.testing.assert_close(core(x)[0], reference(x)[0], rtol=0, atol=1e-6)
    looking = CELLS["peephole_lstm"](3, hidden=4, layers=2)
    looking.load_state_dict({**looking.state_dict(), **core.state_dict()})
    with torch.no_grad():
        for layer in range(2):
            getattr(looking, f"peephole_l{layer}").zero_()
    torch.testing.assert_close(looking(x)[0], core(x)[0], rtol=0, atol=1e-6)
    other = torch.arange(16).reshape(4, 4)[[0, 2, 1, 3]].flatten()  # TensorFlow's order of gates: i, g, f, o
    rows = torch.argsort(other)
    ours = core.weight_ih_l0.detach()
    assert torch.equal(ours[other][rows], ours)
    assert torch.equal(ours[other][4:8], ours[8:12])


@pytest.mark.parametrize("name", ["lstm", "peephole_lstm"])
def test_s228_a_forget_gate_of_one_keeps_the_cell_for_1000_steps(name):
    core = shut(CELLS[name](2, hidden=3), i=-1e3, f=1e3)
    memory = torch.tensor([[[0.5, -2.0, 7.0]]])
    kept = core(torch.ones(1, 1000, 2), (torch.zeros(1, 1, 3), memory))[1][1]
    assert torch.equal(kept, memory)
    dropped = shut(core, i=-1e3, f=-1e3)(torch.ones(1, 1, 2), (torch.zeros(1, 1, 3), memory))[1][1]
    assert not dropped.any()


def test_s229_a_shut_input_gate_lets_nothing_in():
    for bias, wanted in ((-1e3, 0.0), (1e3, 0.25)):  # c = 0 * f + i * tanh(g)
        core = shut(CELLS["lstm"](2, hidden=3), i=bias, g=0.2554128)
        cell = core(torch.ones(1, 1, 2))[1][1]
        assert cell.flatten().tolist() == pytest.approx([wanted] * 3, abs=1e-6)


def test_s230_a_shut_output_gate_shows_nothing():
    core = shut(CELLS["lstm"](2, hidden=3), i=1e3, g=1.0, f=1e3, o=-1e3)
    outputs, (_, cell) = core(torch.ones(1, 4, 2))
    assert not outputs.any()
    assert float(cell[0, 0, 0].detach()) == pytest.approx(4 * 0.7615942, abs=1e-5)
    shown = shut(core, i=1e3, g=1.0, f=1e3, o=1e3)(torch.ones(1, 1, 2))[0]
    assert float(shown[0, 0, 0].detach()) == pytest.approx(0.6420149, abs=1e-5)  # tanh(tanh(1))


@pytest.mark.parametrize("name", ["lstm", "peephole_lstm", "layer_norm_lstm"])
def test_s231_the_state_is_a_pair_hidden_first(name):
    outputs, state = CELLS[name](3, hidden=4, layers=2, bidirectional=True)(torch.ones(5, 6, 3))
    h, c = state
    assert h.shape == c.shape == (4, 5, 4)
    assert torch.equal(h[2], outputs[:, -1, :4])  # the last layer's forward direction ends at the last step
    assert torch.equal(h[3], outputs[:, 0, 4:])
    assert not torch.equal(h, c)


def test_s232_leaky_units_are_the_exponential_average():
    core = CELLS["leaky"](3, hidden=3, alpha=0.8, nonlinearity="identity", recurrent=False).double()
    with torch.no_grad():
        core.weight_ih_l0.copy_(torch.eye(3))
        core.bias_ih_l0.zero_()
    v = draw(1, 9, 3)
    found = core(v)[0][0]
    for t in range(9):
        weights = 0.2 * 0.8 ** torch.arange(t, -1, -1, **F64)
        torch.testing.assert_close(found[t], weights @ v[0, : t + 1])


def test_s232_alpha_of_zero_is_the_simple_layer_and_the_gru_is_torchs():
    core, elman, x = CELLS["leaky"](3, hidden=4, alpha=0.0), CELLS["rnn"](3, hidden=4), draw(2, 5, 3).float()
    with torch.no_grad():
        elman.bias_hh_l0.zero_()
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
            getattr(elman, name).copy_(getattr(core, name))
    torch.testing.assert_close(core(x)[0], elman(x)[0], rtol=0, atol=1e-6)
    gru, reference = CELLS["gru"](3, hidden=4), nn.GRU(3, 4, batch_first=True)
    reference.load_state_dict(gru.state_dict())
    torch.testing.assert_close(gru(x)[0], reference(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_s236_weights_sum_to_one_and_masked_positions_weigh_nothing(name):
    attend = ATTENTION[name](4, 4).double()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    context, weights = attend(draw(2, 4), draw(2, 3, 4, seed=1), mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, **F64))
    assert weights[0, 2] == 0
    assert (weights[mask] > 0).all()
    torch.testing.assert_close(context, torch.einsum("bt,btd->bd", weights, draw(2, 3, 4, seed=1)))
