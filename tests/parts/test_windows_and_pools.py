"""Window arithmetic, pooling, norms and cells against torch, numpy loops and TensorFlow's written rule."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.catalogue import CELLS, NORMS, POOLING
from netwright.errors import UsageError
from netwright.parts.cells import Last
from netwright.parts.windows import output_size, padded_size, same_sides, sides_of, size_formula


def test_output_size_equals_torch_on_random_cases():
    draw = np.random.default_rng(0)
    for _ in range(300):
        n, k, s, p, d = (int(draw.integers(low, high)) for low, high in ((1, 40), (1, 8), (1, 5), (0, 6), (1, 4)))
        if output_size(n, k, s, p, d) < 1:
            continue
        shape = F.conv1d(torch.zeros(1, 1, n), torch.zeros(1, 1, k), stride=s, padding=p, dilation=d).shape
        assert output_size(n, k, s, p, d) == shape[2]


def test_output_sizes_of_the_notes():
    assert output_size(5, 3) == 3
    assert output_size(5, 3, 2) == 2
    assert output_size(28, 5, 1, 2) == 28
    assert output_size(55, 3, 2) == 27
    assert padded_size(5, 2, 2, (0, 0)) == 2
    assert padded_size(5, 2, 2, (0, 0), up=True) == 3
    assert size_formula(28, 5, 1, (2, 2)) == "floor((28 + 2*2 - 5)/1) + 1 = 28"


@pytest.mark.parametrize(
    ("n", "k", "s", "p"), [(n, k, s, p) for n in (5, 8, 13) for k in (2, 3) for s in (1, 2, 3) for p in (0, 1)]
)
def test_rounding_up_equals_torch(n, k, s, p):
    shape = F.max_pool1d(torch.zeros(1, 1, n), k, s, p, ceil_mode=True).shape
    assert padded_size(n, k, s, (p, p), up=True) == shape[2]


def test_same_is_tensorflows_rule():
    for n, k, s in itertools.product(range(1, 13), range(1, 13), range(1, 13)):
        before, after = same_sides(n, k, s)
        assert padded_size(n, k, s, (before, after)) == math.ceil(n / s)
        assert after - before in (0, 1)
        assert before + after == max((math.ceil(n / s) - 1) * s + k - n, 0)


def test_the_list_form_in_both_orders():
    def read(pad):
        return sides_of(pad, (9, 9), (3, 3), (1, 1), (1, 1), "conv")

    assert read([[0, 0], [1, 2], [3, 4], [0, 0]]) == ((1, 2), (3, 4))
    assert read([[0, 0], [0, 0], [1, 2], [3, 4]]) == ((1, 2), (3, 4))
    assert read("full") == ((2, 2), (2, 2))


def padded_reference(x, k, s, kind):
    """TensorFlow's same pooling by loops."""
    n, (before, _) = len(x), same_sides(len(x), k, s)
    rows = []
    for i, j in itertools.product(range(math.ceil(n / s)), repeat=2):
        a, b = i * s - before, j * s - before
        window = x[max(a, 0) : a + k, max(b, 0) : b + k]
        rows.append(window.max() if kind == "maxpool" else window.mean())
    return np.array(rows).reshape(math.ceil(n / s), -1)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize(("n", "k", "s"), [(6, 3, 2), (7, 2, 1), (5, 4, 3), (7, 3, 2), (8, 2, 2)])
def test_same_pooling_leaves_padding_out(kind, n, k, s):
    x = torch.randn(1, 1, n, n, dtype=torch.float64) - 5
    pooled = POOLING[kind]((1, n, n), size=k, stride=s, pad="same")(x)
    np.testing.assert_allclose(pooled[0, 0], padded_reference(x[0, 0].numpy(), k, s, kind))


def test_counting_the_padding_is_a_choice():
    ones = torch.ones(1, 1, 4, 4)
    assert float(POOLING["avgpool"]((1, 4, 4), size=3, stride=1, pad=1)(ones)[0, 0, 0, 0]) == 1
    counted = POOLING["avgpool"]((1, 4, 4), size=3, stride=1, pad=1, count_pad=True)(ones)
    assert float(counted[0, 0, 0, 0]) == pytest.approx(4 / 9)
    uneven = POOLING["avgpool"]((1, 4, 4), size=2, stride=1, pad="same", count_pad=True)(ones)
    assert float(uneven[0, 0, 3, 3]) == pytest.approx(1 / 4)


def test_pooling_rounds_down_unless_asked():
    x = torch.randn(1, 1, 5, 5)
    assert POOLING["maxpool"]((1, 5, 5))(x).shape[2:] == (2, 2)
    assert POOLING["maxpool"]((1, 5, 5), ceil=True)(x).shape[2:] == (3, 3)


def test_the_gradient_of_max_pooling_goes_to_the_largest_only():
    x = torch.tensor([[[[1.0, 4.0], [2.0, 3.0]]]], requires_grad=True)
    POOLING["maxpool"]((1, 2, 2))(x).sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 0, 0]


def test_global_pooling():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(POOLING["globalpool"]((3, 4, 5))(x), x.mean((2, 3)))
    torch.testing.assert_close(POOLING["globalpool"]((3, 4, 5), kind="max")(x), x.amax((2, 3)))


@pytest.mark.parametrize("name", [name for name in POOLING if name != "subsample"])
def test_pools_learn_nothing(name):
    given = {"size": 2} if name == "adaptivepool" else {}
    assert list(POOLING[name]((2, 8, 8), **given).parameters()) == []


@pytest.mark.parametrize(
    ("name", "shape", "given", "words"),
    [
        ("maxpool", (1, 4, 4), {"size": 5}, r"floor\(\(4 \+ 2\*0 - 5\)/5\) \+ 1 = 0"),
        ("maxpool", (1, 4, 4), {"size": 2, "pad": 2}, "at most half of size 2"),
        ("avgpool", (4, 4), {}, r"wants maps .* \(4, 4\)"),
        ("globalpool", (7,), {}, "wants maps"),
        ("maxpool", (1, 4, 4), {"size": [2, 2, 2]}, r"size = \[2, 2, 2\]"),
        ("maxpool", (1, 4, 4), {"pad": "full"}, "pad = 'full'"),
    ],
)
def test_pools_refuse_with_numbers(name, shape, given, words):
    with pytest.raises(UsageError, match=words):
        POOLING[name](shape, **given)


def test_lrn_equals_the_papers_formula():
    x = torch.randn(2, 7, 3, 3, dtype=torch.float64)
    norm = NORMS["lrn"]((7, 3, 3), size=5, alpha=0.3, beta=0.75, k=2.0)
    expected = torch.empty_like(x)
    for c in range(7):
        near = x[:, max(0, c - 2) : c + 3].square().sum(1)
        expected[:, c] = x[:, c] / (2 + 0.3 * near) ** 0.75
    torch.testing.assert_close(norm(x), expected)


def test_batchnorm_standardises_in_training_and_uses_running_numbers_afterwards():
    norm, x = NORMS["batchnorm"]((3, 4, 4)), torch.randn(16, 3, 4, 4) * 3 + 1
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 2, 3)))
    norm.eval()
    expected = (x - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(("shape", "axes"), [((6,), (1,)), ((5, 6), (2,)), ((4, 3, 3), (1, 2, 3))])
def test_layernorm_standardises_each_example(shape, axes):
    y = NORMS["layernorm"](shape)(torch.randn(8, *shape) * 4 + 2)
    assert float(y.detach().mean(axes).abs().max()) < 1e-5
    torch.testing.assert_close(y.var(axes, correction=0), torch.ones(y.var(axes).shape), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "shape", "given", "words"),
    [
        ("groupnorm", (16, 2, 2), {"groups": 5}, "16 channels do not divide into 5 groups; the nearest that fits is 4"),
        ("batchnorm", (28, 5), {}, "28 steps.*'layernorm'"),
        ("groupnorm", (28, 5), {"groups": 1}, "28 steps.*'layernorm'"),
        ("lrn", (28,), {}, "wants maps"),
    ],
)
def test_norms_refuse_with_numbers(name, shape, given, words):
    with pytest.raises(UsageError, match=words):
        NORMS[name](shape, **given)


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("two_way", [False, True])
def test_parameters_of_cells(name, gates, two_way):
    cell = CELLS[name](28, hidden=64, bidirectional=two_way)
    assert sum(p.numel() for p in cell.parameters()) == gates * 64 * (28 + 64 + 2) * (1 + two_way)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("two_way", [False, True])
def test_shapes_and_last_states(layers, two_way):
    ways, hidden = 1 + two_way, 6
    cell = CELLS["lstm"](5, hidden=hidden, layers=layers, bidirectional=two_way, dropout=0.3).eval()
    out, (state, memory) = cell(torch.randn(3, 7, 5))
    assert out.shape == (3, 7, hidden * ways)
    assert state.shape == memory.shape == (layers * ways, 3, hidden)
    expected = torch.cat(list(state[-ways:]), 1)
    torch.testing.assert_close(Last(two_way)(out), expected)


def test_a_forget_gate_of_one_keeps_the_cell_and_of_zero_clears_it():
    cell = CELLS["lstm"](1, hidden=1)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.zero_()
        cell.bias_ih_l0.copy_(torch.tensor([-100.0, 100.0, 0.0, 0.0]))
        start = (torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.7))
        assert float(cell(torch.randn(1, 1000, 1), start)[1][1]) == pytest.approx(0.7)
        cell.bias_ih_l0[1] = -100.0
        assert float(cell(torch.randn(1, 1, 1), start)[1][1]) == pytest.approx(0.0)


def test_the_linear_recurrence_worked_by_hand():
    """All weights 1, no bias, linear, zero start, inputs (1,1) (1,1) (2,2): outputs (4,4) (12,12) (32,32)."""
    cell = CELLS["rnn"](2, hidden=2, nonlinearity="relu")
    with torch.no_grad():
        for name, weight in cell.named_parameters():
            weight.fill_(0.0 if name.startswith("bias") else 1.0)
        hidden, _ = cell(torch.tensor([[[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]]))
    assert (hidden @ torch.ones(2, 2)).tolist() == [[[4.0, 4.0], [12.0, 12.0], [32.0, 32.0]]]


def test_readouts():
    steps = torch.randn(2, 4, 3)
    assert torch.equal(CELLS["last"]()(steps), steps[:, 3])
    assert torch.equal(CELLS["max"]()(steps), steps.amax(1))
    torch.testing.assert_close(CELLS["mean"]()(steps), steps.sum(1) / 4)
