"""Recurrent layers against textbook loops, and sequences of unequal length against each sequence alone."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from netwright.catalogue import CELLS
from netwright.errors import UsageError
from netwright.parts.cells import (
    AttentionOverSteps,
    Recurrence,
    last_of,
    outputs_of,
    recur,
    set_forget_bias,
    width_of,
)
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Ragged, Sequences

RECURRENT = [name for name, part in CELLS.items() if part.facts["kind"] == "recurrent"]
READOUTS = [name for name, part in CELLS.items() if part.facts["kind"] == "readout"]
LENGTHS = [3, 7, 1, 5, 7]


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uneven(features=4, longer=2, dtype=torch.float64):
    """Sequences of the lengths above, padded further than the longest needs."""
    found = Ragged.of(
        [numbers(length, features, seed=length + place, dtype=dtype) for place, length in enumerate(LENGTHS)]
    )
    values = nn.functional.pad(found.padded().values, (0, 0, 0, longer))
    return Sequences(values, torch.tensor(LENGTHS))


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def norm(x, gain, shift):
    return (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) * gain + shift


def textbook(name, p, x, **given):
    """One sequence through one layer and direction, one number type and no kernel: every state, step by step."""
    hidden = p["weight_hh"].shape[1]
    h = c = torch.zeros(hidden, dtype=x.dtype)
    found = []
    for x_t in x:
        if name == "rnn":
            h = torch.tanh(p["weight_ih"] @ x_t + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"])
        elif name == "jordan":
            inner = torch.tanh(p["weight_ih"] @ x_t + p["weight_hh"] @ h + p["bias_ih"])
            h = p["weight_ho"] @ inner + p["bias_ho"]
        elif name == "leaky":
            v = torch.tanh(p["weight_ih"] @ x_t + p["weight_hh"] @ h + p["bias_ih"])
            h = 0.9 * h + (1 - 0.9) * v
        elif name == "gru":
            (wr, wz, wn), (ur, uz, un) = p["weight_ih"].chunk(3), p["weight_hh"].chunk(3)
            (br, bz, bn), (dr, dz, dn) = p["bias_ih"].chunk(3), p["bias_hh"].chunk(3)
            r, z = sigmoid(wr @ x_t + br + ur @ h + dr), sigmoid(wz @ x_t + bz + uz @ h + dz)
            h = z * h + (1 - z) * torch.tanh(wn @ x_t + bn + r * (un @ h + dn))
        else:
            h, c = gated(name, p, x_t, h, c)
        found.append((h, c))
    return found


def gated(name, p, x_t, h, c):
    if name == "layer_norm_lstm":
        entering = norm(p["weight_ih"] @ x_t, p["gain_ih"], 0.0) + norm(p["weight_hh"] @ h, p["gain_hh"], 0.0)
        i, f, g, o = (entering + p["bias_ih"]).chunk(4)
    else:
        i, f, g, o = (p["weight_ih"] @ x_t + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]).chunk(4)
    look = p.get("peephole", torch.zeros(3, len(c), dtype=c.dtype))
    new = sigmoid(f + look[1] * c) * c + sigmoid(i + look[0] * c) * torch.tanh(g)
    shown = norm(new, p["gain_c"], p["shift_c"]) if name == "layer_norm_lstm" else new
    return sigmoid(o + look[2] * new) * torch.tanh(shown), new


def directions(core, place):
    suffix = "_reverse" if place % 2 and core.bidirectional else ""
    layer = place // (2 if core.bidirectional else 1)
    end = f"_l{layer}{suffix}"
    return {key.removesuffix(end): value.detach() for key, value in core.named_parameters() if key.endswith(end)}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("two_way", [False, True])
def test_layers_are_the_textbook_loops(name, two_way):
    core = CELLS[name](4, hidden=3, layers=2, bidirectional=two_way).double()
    with torch.no_grad():
        for place, weight in enumerate(core.parameters()):  # gains and shifts off their first values, too
            weight.add_(0.3 * numbers(*weight.shape, seed=place))
    x = numbers(6, 4)
    outputs, state = core(x[None])
    steps, ends, ways = x, [], 1 + two_way
    for layer in range(2):
        made = []
        for way in range(ways):
            found = textbook(name, directions(core, layer * ways + way), steps.flip(0) if way else steps)
            ends.append(found[-1])
            states = torch.stack([h for h, _ in found])
            made.append(states.flip(0) if way else states)
        steps = torch.cat(made, 1)
    torch.testing.assert_close(outputs[0], steps, rtol=0, atol=1e-10)
    for part, wanted in zip(parts(state), zip(*ends, strict=True), strict=False):
        torch.testing.assert_close(part[:, 0], torch.stack(wanted), rtol=0, atol=1e-10)
    assert len(parts(state)) == 1 + ("lstm" in name)


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("two_way", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_padding_never_changes_a_result(name, two_way, layers):
    core = CELLS[name](4, hidden=5, layers=layers, bidirectional=two_way).double()
    batch = uneven()
    first = tuple(numbers(layers * (1 + two_way), 5, 5, seed=n) for n in range(1 + ("lstm" in name)))
    first = first if len(first) > 1 else first[0]
    outputs, state = recur(core, batch, first)
    assert isinstance(outputs, Sequences)
    assert (outputs.values[~batch.mask] == 0).all()
    torch.testing.assert_close(outputs_of(core, batch, first).values, outputs.values, rtol=0, atol=1e-9)
    for row, length in enumerate(LENGTHS):
        own = tuple(part[:, [row]] for part in parts(first))
        alone, end = core(batch.values[[row], :length], own if len(own) > 1 else own[0])
        torch.testing.assert_close(outputs.values[row, :length], alone[0], rtol=0, atol=1e-9)
        for part, wanted in zip(parts(state), parts(end), strict=True):
            torch.testing.assert_close(part[:, row], wanted[:, 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("two_way", [False, True])
def test_gradients_are_those_of_the_sequences_alone(name, two_way):
    core = CELLS[name](4, hidden=3, layers=2, bidirectional=two_way).double()
    batch = uneven()
    outputs, state = recur(core, batch)
    (outputs.values.sin().sum() + sum(part.cos().sum() for part in parts(state))).backward()
    found = [weight.grad.clone() for weight in core.parameters()]
    core.zero_grad()
    for row, length in enumerate(LENGTHS):
        alone, end = core(batch.values[[row], :length])
        (alone.sin().sum() + sum(part.cos().sum() for part in parts(end))).backward()
    for gradient, weight in zip(found, core.parameters(), strict=True):
        torch.testing.assert_close(gradient, weight.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("two_way", [False, True])
def test_fused_kernels_equal_packed_sequences_in_float32(name, two_way):
    core = CELLS[name](4, hidden=8, layers=2, bidirectional=two_way)
    batch = uneven(dtype=torch.float32)
    packed = pack_padded_sequence(batch.values, batch.lengths, batch_first=True, enforce_sorted=False)
    wanted, end = core(packed)
    outputs, state = recur(core, batch)
    dense = pad_packed_sequence(wanted, batch_first=True, total_length=batch.values.shape[1])[0]
    torch.testing.assert_close(outputs.values, dense, rtol=0, atol=1e-6)
    for part, packed_part in zip(parts(state), parts(end), strict=True):
        torch.testing.assert_close(part, packed_part, rtol=0, atol=1e-6)
    slopes = []
    for values, last in ((outputs.values, state), (dense, end)):
        total = values.sin().sum() + sum(part.cos().sum() for part in parts(last))
        slopes.append(torch.autograd.grad(total, list(core.parameters())))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_plain_tensors_and_even_sequences_run_straight():
    core, x = CELLS["lstm"](4, hidden=3, bidirectional=True), numbers(2, 5, 4, dtype=torch.float32)
    wanted, (h, c) = core(x)
    outputs, state = recur(core, x)
    assert torch.equal(outputs, wanted)
    assert torch.equal(state[1], c)
    even, _ = recur(core, Sequences(x, torch.tensor([5, 5])))
    assert torch.equal(even.values, wanted)
    assert torch.equal(last_of(core, state), torch.cat([h[0], h[1]], 1))
    whole = Recurrence(core)
    assert list(whole.state_dict()) == [f"core.{name}" for name in core.state_dict()]
    assert torch.equal(whole(x)[0], wanted)
    assert whole.features == width_of(core) == 6


@pytest.mark.parametrize("name", RECURRENT)
def test_dropout_acts_between_layers_only(name):
    torch.manual_seed(0)
    core = CELLS[name](4, hidden=6, layers=2, dropout=0.5)
    x = uneven(dtype=torch.float32)
    first, second = (recur(core, x)[0].values for _ in range(2))
    assert not torch.equal(first, second)
    core.eval()
    assert torch.equal(recur(core, x)[0].values, recur(core, x)[0].values)
    single = CELLS[name](4, hidden=6, layers=1, dropout=0.5)
    assert single.dropout == 0
    assert torch.equal(recur(single, x)[0].values, recur(single, x)[0].values)


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("jordan", {"outputs": 5}, 64 * (28 + 5 + 1) + 65 * 5),
        ("jordan", {}, 64 * (28 + 64 + 1) + 65 * 64),
        ("leaky", {}, 64 * (28 + 64 + 1)),
        ("leaky", {"recurrent": False}, 64 * (28 + 1)),
        ("peephole_lstm", {}, 24_064 + 3 * 64),
        ("layer_norm_lstm", {}, 4 * 64 * (28 + 64) + 12 * 64 + 2 * 64),
    ],
)
@pytest.mark.parametrize("two_way", [False, True])
def test_parameters_by_formula(name, given, count, two_way):
    core = CELLS[name](28, hidden=64, bidirectional=two_way, **given)
    total = sum(weight.numel() for weight in core.parameters())
    assert total == count * (1 + two_way)
    terms = [math.prod(map(int, term.split("*"))) for term in core.arithmetic.split(" + ")]
    assert sum(terms) == total
    assert recur(core, torch.zeros(2, 3, 28))[0].shape == (2, 3, width_of(core))


def test_deep_jordan_layers_read_the_outputs_below():
    core = CELLS["jordan"](4, hidden=6, outputs=2, layers=2, bidirectional=True)
    assert core.weight_ih_l1.shape == (6, 4)
    outputs, state = core(torch.zeros(3, 5, 4))
    assert (outputs.shape, state.shape) == ((3, 5, 4), (4, 3, 2))


@pytest.mark.parametrize("name", RECURRENT)
def test_layers_move_cast_copy_and_begin_by_an_initializer(name):
    core = CELLS[name](4, hidden=3, layers=2, bidirectional=True)
    again = CELLS[name](4, hidden=3, layers=2, bidirectional=True)
    again.load_state_dict(core.state_dict())
    x = uneven(dtype=torch.float32)
    assert torch.equal(recur(again, x)[0].values, recur(core, x)[0].values)
    assert core.double()(x.values.double())[0].dtype == torch.float64
    assert core.to("meta")(x.values.double().to("meta"))[0].shape == (5, 9, 6)
    initialise(again, "orthogonal")
    for key, weight in again.named_parameters():
        if key.startswith("weight_hh"):
            for gate in weight.detach().chunk({"LSTM": 4, "GRU": 3}.get(again.mode, 1)):
                torch.testing.assert_close(gate @ gate.T, torch.eye(3), rtol=0, atol=1e-5)
        elif key.startswith("bias"):
            assert not weight.any()


@pytest.mark.parametrize("name", ["lstm", "peephole_lstm", "layer_norm_lstm"])
def test_the_forget_gates_biases_add_up_to_what_is_asked(name):
    core = CELLS[name](4, hidden=3, layers=2, bidirectional=True, forget_bias=1.0)
    for end in ("l0", "l1", "l0_reverse", "l1_reverse"):
        both = sum(bias for key, bias in core.named_parameters() if key in (f"bias_ih_{end}", f"bias_hh_{end}"))
        assert both[3:6].tolist() == [1, 1, 1]
        assert not (both[:3] == 1).any()
    set_forget_bias(core, -2.0)
    assert core.bias_ih_l0[3:6].tolist() == [-2, -2, -2]


def test_recurrent_weights_by_an_initializer():
    core = CELLS["gru"](4, hidden=3, recurrent_init="orthogonal")
    for gate in core.weight_hh_l0.detach().chunk(3):
        torch.testing.assert_close(gate @ gate.T, torch.eye(3), rtol=0, atol=1e-5)
    eye = CELLS["rnn"](4, hidden=3, nonlinearity="relu", recurrent_init="identity(gain=0.5)")
    assert torch.equal(eye.weight_hh_l0.detach(), 0.5 * torch.eye(3))
    with pytest.raises(UsageError, match="orthogonal"):
        CELLS["rnn"](4, hidden=3, recurrent_init="ortogonal")


@pytest.mark.parametrize("two_way", [False, True])
@pytest.mark.parametrize("name", READOUTS)
def test_readouts_leave_padding_out(name, two_way):
    readout, batch = CELLS[name](two_way, 4).double(), uneven()
    garbage = Sequences(batch.values.masked_fill(~batch.mask[:, :, None], 9.0), batch.lengths)
    found = readout(garbage)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row], readout(batch.values[[row], :length])[0])


def test_readouts_by_hand():
    steps = torch.tensor([[[1.0, 5.0], [4.0, -1.0], [0.0, 0.0]]])
    batch = Sequences(steps, torch.tensor([2]))
    wanted = {"last": [4, -1], "mean": [2.5, 2], "max": [4, 5]}
    assert {name: CELLS[name]()(batch)[0].tolist() for name in wanted} == wanted
    assert CELLS["last"](True)(batch)[0].tolist() == [4, 5]


def test_attention_pooling_by_its_formula():
    pool, batch = AttentionOverSteps(4, 6).double(), uneven()
    weights = pool.weights(batch)
    torch.testing.assert_close(weights.sum(1), torch.ones(5, dtype=torch.float64))
    assert (weights[~batch.mask] == 0).all()
    h = batch.values[0, :3]
    e = torch.exp(torch.tanh(h @ pool.inner.weight.T + pool.inner.bias) @ pool.score.weight[0])
    torch.testing.assert_close(pool(batch)[0], (e / e.sum()) @ h)
    with pytest.raises(UsageError, match="number of features"):
        CELLS["attention"]()


def test_what_stands_in_the_padding_does_not_matter():
    batch = uneven(dtype=torch.float32)
    for name in RECURRENT:
        for two_way in (False, True):
            core = CELLS[name](4, hidden=3, layers=2, bidirectional=two_way)
            wanted, end = recur(core, batch)
            for filling in (7.0, float("nan")):
                filled = batch.values.masked_fill(~batch.mask[:, :, None], filling)
                found, last = recur(core, Sequences(filled, batch.lengths))
                torch.testing.assert_close(found.values, wanted.values, rtol=0, atol=1e-6)
                for part, other in zip(parts(last), parts(end), strict=True):
                    torch.testing.assert_close(part, other, rtol=0, atol=1e-6)
