"""Initializers: moments and limits by their formulas, fans by torch's rule, and whom a spec reaches."""

from math import ceil, sqrt

import pytest
import torch
from torch import nn

from netwright.catalogue import ACTIVATIONS, INITIALIZERS
from netwright.errors import UsageError
from netwright.parts.initializers import apply_init, fans, initialise

STD = {
    "normal": 1.0,
    "small_normal": 0.01,
    "lecun_normal": sqrt(1 / 600),
    "glorot_uniform": sqrt(2 / 1000),
    "glorot_normal": sqrt(2 / 1000),
    "he_normal": sqrt(2 / 600),
    "he_uniform": sqrt(2 / 600),
    "uniform": 0.1 / sqrt(12),
    "truncated_normal": 0.0879626,
}


def filled(name, shape=(400, 600), seed=0, **settings):
    weight = torch.empty(shape)
    INITIALIZERS[name](weight, torch.Generator().manual_seed(seed), **settings)
    return weight


@pytest.mark.parametrize("name", STD)
def test_standard_deviation_within_one_percent(name):
    weight = filled(name)
    assert float(weight.std()) == pytest.approx(STD[name], rel=0.01)
    assert abs(float(weight.mean())) < 5 * STD[name] / sqrt(weight.numel())


@pytest.mark.parametrize(("name", "limit"), [("glorot_uniform", sqrt(6 / 1000)), ("he_uniform", sqrt(6 / 600))])
def test_uniform_limits(name, limit):
    assert float(filled(name).abs().max()) == pytest.approx(limit, rel=1e-3)
    assert float(filled(name).abs().max()) <= limit


def test_slope_enters_he():
    assert float(filled("he_normal", slope=1.0).std()) == pytest.approx(sqrt(1 / 600), rel=0.01)


@pytest.mark.parametrize("layer", [nn.Linear(7, 5), nn.Conv2d(6, 4, (3, 5)), nn.Conv2d(6, 4, 3, groups=2)])
def test_fans_are_torchs(layer):
    assert fans(layer.weight) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 3, 3, 3)])
def test_orthogonal(shape):
    flat = filled("orthogonal", shape, gain=2.0).flatten(1).double()
    small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    torch.testing.assert_close(small, 4 * torch.eye(len(small), dtype=torch.float64), atol=1e-5, rtol=0)


def test_identity_passes_the_input_on():
    layer, x = nn.Conv2d(3, 3, 3, padding=1, bias=False), torch.randn(2, 3, 5, 5)
    INITIALIZERS["identity"](layer.weight.detach())
    torch.testing.assert_close(layer(x), x)
    assert torch.equal(filled("identity", (3, 4)), torch.eye(3, 4))


def test_a_partial_identity_passes_the_input_on_and_draws_the_other_units():
    weight = filled("partial_identity", (500, 3, 3, 3), gain=2.0)
    layer, x = nn.Conv2d(3, 500, 3, padding=1, bias=False), torch.randn(2, 3, 5, 5)
    layer.weight.detach().copy_(weight)
    torch.testing.assert_close(layer(x)[:, :3], 2 * x)
    rest, limit = weight[3:], 2 / sqrt(27)
    assert float(rest.abs().max()) <= limit
    assert float(rest.std()) == pytest.approx(limit / sqrt(3), rel=0.02)
    for shape in ((3, 3), (2, 4)):
        assert torch.equal(filled("partial_identity", shape), torch.eye(*shape))


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name not in ("constant", "identity", "bilinear")])
def test_the_seed_alone_decides(name):
    shape = (600, 400)  # more units than inputs: `partial_identity` draws the rows beyond them
    assert torch.equal(filled(name, shape, seed=3), filled(name, shape, seed=3))
    assert not torch.equal(filled(name, shape, seed=3), filled(name, shape, seed=4))


def test_without_a_generator_torchs_own_is_used():
    torch.manual_seed(5)
    first = torch.empty(4, 4)
    INITIALIZERS["he_normal"](first)
    torch.manual_seed(5)
    second = torch.empty(4, 4)
    INITIALIZERS["he_normal"](second)
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["he_normal", "glorot_uniform", "orthogonal", "identity", "lecun_normal"])
def test_a_bias_has_no_fans(name):
    with pytest.raises(UsageError, match=r"shape \(10,\)"):
        INITIALIZERS[name](torch.empty(10))


def test_a_spec_reaches_weights_and_leaves_norms_and_biases():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    bias = net[3].bias.clone()
    apply_init(net, "normal(mean=3, std=0)")
    assert {float(w.detach()) for w in (net[0].weight.min(), net[3].weight.max())} == {3.0}
    assert net[1].weight.tolist() == [1.0, 1.0]
    assert torch.equal(net[3].bias, bias)


def test_recurrent_weights_are_filled_gate_by_gate():
    cell = nn.LSTM(6, 6)
    apply_init(cell, "orthogonal")
    for gate in cell.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6), atol=1e-5, rtol=0)


def test_a_named_initializer_starts_biases_at_zero_and_torch_changes_nothing():
    torch.manual_seed(0)
    plain = nn.Linear(4, 4)
    torch.manual_seed(0)
    kept = nn.Linear(4, 4)
    initialise(kept, "torch")
    assert torch.equal(plain.weight, kept.weight)
    assert torch.equal(plain.bias, kept.bias)
    initialise(kept, "he_normal")
    assert kept.bias.tolist() == [0.0] * 4
    initialise(kept, "torch", bias="constant(value=0.1)")
    assert kept.bias.tolist() == pytest.approx([0.1] * 4)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_auto_suits_every_activation(name):
    layer = nn.Linear(300, 300)
    initialise(layer, "auto", name)
    expected = STD[ACTIVATIONS[name].facts["init"]] * {"he_normal": sqrt(2), "lecun_normal": sqrt(2)}.get(
        ACTIVATIONS[name].facts["init"], sqrt(1000 / 600)
    )
    assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.02)


def test_small_weights_fade_on_a_deep_tanh_net_and_scaled_ones_do_not():
    def last_signal(name):
        x, generator = (
            torch.randn(200, 128, generator=torch.Generator().manual_seed(1)),
            torch.Generator().manual_seed(2),
        )
        for _ in range(20):
            weight = torch.empty(128, 128)
            INITIALIZERS[name](weight, generator)
            x = torch.tanh(x @ weight.T)
        return float(x.std())

    assert last_signal("small_normal") < 1e-6
    assert last_signal("lecun_normal") > 0.1


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(UsageError, match=r"low = 1.0 lies above high = 0.0"):
        INITIALIZERS["uniform"](torch.empty(3, 3), low=1.0, high=0.0)


@pytest.mark.parametrize("shape", [(40, 30), (1, 7), (10, 4, 3, 3)])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9])
def test_sparse_leaves_as_many_weights_of_each_input_as_torch(shape, sparsity):
    zeros = (filled("sparse", shape, sparsity=sparsity) == 0).flatten(1).sum(0)
    expected = min(ceil(sparsity * shape[0]), shape[0] - 1)
    assert set(zeros.tolist()) == {expected}
    if shape == (40, 30):
        theirs = nn.init.sparse_(torch.empty(shape), sparsity)
        assert set((theirs == 0).sum(0).tolist()) == {expected}


def test_sparse_draws_the_rest_from_a_normal_distribution():
    weight = filled("sparse", (500, 400), sparsity=0.5, std=0.3)
    assert float(weight[weight != 0].std()) == pytest.approx(0.3, rel=0.01)
    rows = (weight == 0).sum(1).float()
    assert 150 < float(rows.min()) < float(rows.max()) < 250  # spread over the outputs at random


def test_a_truncated_normal_has_no_tails():
    assert float(filled("truncated_normal", std=0.2).abs().max()) <= 0.4


@pytest.mark.parametrize(("factor", "size"), [(2, 4), (3, 5), (4, 8)])
def test_bilinear_enlarges_as_interpolation_does(factor, size):
    up = nn.ConvTranspose2d(2, 2, size, factor, padding=(size - factor) // 2, bias=False)
    INITIALIZERS["bilinear"](up.weight.detach())
    x = torch.randn(1, 2, 6, 7)
    expected = nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(up(x)[inner], expected[inner])


def test_bilinear_wants_windows():
    with pytest.raises(UsageError, match=r"windows of maps, not the shape \(3, 4\)"):
        INITIALIZERS["bilinear"](torch.empty(3, 4))


@pytest.mark.parametrize("init", ["constant(value=0.1)", "identity"])
def test_equal_units_stay_equal_for_ever_and_different_ones_do_not(init):
    """S-112: hidden units that begin alike get the same gradient at every step."""
    net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
    initialise(net, init)
    if init == "identity":
        apply_init(net, "small_normal", torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
    units = net[0].weight.detach()
    spread, moved = float((units - units[0]).abs().max()), float((units - 0.1).abs().max())
    assert (spread < 1e-5) is init.startswith("constant")
    assert (spread > 0.1) is (init == "identity")
    assert moved > 0.05
