"""Sub-sampling, adaptive, p-norm and overlapping pools, instance norm, and the alpha of local response norm."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NORMS, POOLING
from netwright.errors import UsageError
from netwright.measures.anatomy.counting import facts


def test_subsample_is_gain_times_sum_plus_bias():
    pool, x = POOLING["subsample"]((3, 6, 7), size=[2, 3], stride=[2, 1]), torch.randn(2, 3, 6, 7, dtype=torch.float64)
    pool = pool.double()
    torch.testing.assert_close(pool(x), F.avg_pool2d(x, (2, 3), (2, 1)))  # it starts as the mean
    with torch.no_grad():
        pool.gain.copy_(torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1))
        pool.bias.copy_(torch.tensor([0.0, 1.0, -1.0]).view(3, 1, 1))
    sums = F.avg_pool2d(x, (2, 3), (2, 1), divisor_override=1)
    expected = torch.stack([sums[:, 0], -2 * sums[:, 1] + 1, 0.5 * sums[:, 2] - 1], 1)
    torch.testing.assert_close(pool(x), expected)


@pytest.mark.parametrize(("shape", "parameters", "connections"), [((6, 28, 28), 12, 5_880), ((16, 10, 10), 32, 2_000)])
def test_lenets_sub_sampling_has_the_papers_numbers(shape, parameters, connections):
    pool = POOLING["subsample"](shape)
    assert sum(p.numel() for p in pool.parameters()) == parameters
    x = torch.randn(1, *shape)
    found = facts(pool, x, pool(x).detach())
    assert (found["kind"], found["connections"], found["neurons"]) == ("subsample", connections, connections // 5)


def test_adaptive_pools_give_any_size():
    x = torch.randn(2, 3, 7, 10)
    torch.testing.assert_close(POOLING["adaptivepool"]((3, 7, 10), size=[3, 4])(x), F.adaptive_avg_pool2d(x, (3, 4)))
    largest = POOLING["adaptivepool"]((3, 7, 10), size=2, kind="max")
    torch.testing.assert_close(largest(x), F.adaptive_max_pool2d(x, 2))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_p_norm_pools_equal_torchs_on_positive_numbers(power):
    x = torch.rand(2, 3, 7, 8, dtype=torch.float64) + 0.1
    pool = POOLING["lppool"]((3, 7, 8), size=3, stride=2, power=power)
    torch.testing.assert_close(pool(x), F.lp_pool2d(x, power, 3, 2))
    torch.testing.assert_close(pool(-x), pool(x))


def test_p_norm_pools_sum_only_what_a_window_at_the_edge_holds():
    x = torch.tensor([[[[3.0, 4.0, 5.0]]]])
    pool = POOLING["lppool"]((1, 1, 3), size=[1, 2], ceil=True)
    assert pool(x).flatten().tolist() == [5.0, 5.0]


def test_p_norm_pools_have_a_finite_gradient_at_zero():
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    with torch.no_grad():
        x[0, 0, 0, 0] = 2.0
    POOLING["lppool"]((1, 4, 4))(x).sum().backward()
    assert x.grad.flatten().tolist() == [1.0] + [0.0] * 15


def test_overlapping_pools_of_the_notes():
    pool = POOLING["maxpool"]((1, 55, 55), size=3, stride=2)
    assert pool(torch.randn(1, 1, 55, 55)).shape[2:] == (27, 27)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(("n", "k", "s", "p"), [(7, 3, 2, 1), (8, 3, 3, 1), (5, 2, 1, 1), (9, 5, 2, 2)])
def test_means_equal_torchs_with_and_without_the_padding(counted, n, k, s, p):
    x = torch.randn(2, 2, n, n)
    pool = POOLING["avgpool"]((2, n, n), size=k, stride=s, pad=p, count_pad=counted)
    torch.testing.assert_close(pool(x), F.avg_pool2d(x, k, s, p, count_include_pad=counted))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("subsample", {"size": 9}, r"floor\(\(8 \+ 2\*0 - 9\)/9\) \+ 1 = 0"),
        ("adaptivepool", {"size": 0}, "size = 0"),
        ("adaptivepool", {"size": [1, 2, 3]}, r"size = \[1, 2, 3\]"),
        ("lppool", {"power": 0.5}, "power = 0.5; it lies between 1 and 8"),
    ],
)
def test_new_pools_refuse_with_numbers(name, given, words):
    with pytest.raises(UsageError, match=words):
        POOLING[name]((2, 8, 8), **given)
    with pytest.raises(UsageError, match="wants maps"):
        POOLING[name]((8,), **{"size": 2})


# norms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_instance_norm_equals_torchs(affine, training):
    x = torch.randn(4, 3, 5, 6) * 3 + 2
    ours, theirs = NORMS["instancenorm"]((3, 5, 6), affine=affine), nn.InstanceNorm2d(3, affine=affine)
    ours.train(training)
    if affine:
        state = {"weight": torch.randn(3), "bias": torch.randn(3)}
        ours.load_state_dict(state)
        theirs.load_state_dict(state)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_instance_norm_of_single_pixels_is_zero_and_trains():
    norm = NORMS["instancenorm"]((3, 1, 1)).train()
    assert float(norm(torch.randn(4, 3, 1, 1)).abs().max()) == 0


@pytest.mark.parametrize("shape", [(8,), (5, 8)])
def test_instance_norm_wants_maps(shape):
    with pytest.raises(UsageError, match=r"wants maps.*Did you mean 'layernorm'"):
        NORMS["instancenorm"](shape)


@pytest.mark.parametrize("size", [3, 5, 4])
def test_lrns_alpha_is_the_papers_and_torchs_is_that_times_its_size(size):
    x = torch.randn(2, 9, 4, 4, dtype=torch.float64)
    ours = NORMS["lrn"]((9, 4, 4), size=size, alpha=1e-1, beta=0.75, k=2.0)
    torch.testing.assert_close(ours(x), F.local_response_norm(x, size, alpha=1e-1 * size, beta=0.75, k=2.0))
    undivided = F.local_response_norm(x, size, alpha=1e-1, beta=0.75, k=2.0)
    assert float((ours(x) - undivided).abs().max()) > 1e-2


def test_lrns_k_alone():
    x = torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(NORMS["lrn"]((4, 2, 2), alpha=0.0, k=4.0, beta=0.5)(x), x / 2)


def test_batchnorm_without_a_gain_learns_the_bias_alone():
    plain, shifted = NORMS["batchnorm"]((2, 3, 3)), NORMS["batchnorm"]((2, 3, 3), scale=False)
    assert [name for name, _ in shifted.named_parameters()] == ["bias"]
    assert sorted(shifted.state_dict()) == ["bias", "num_batches_tracked", "running_mean", "running_var"]
    x = torch.randn(5, 2, 3, 3)
    for _ in range(2):
        assert torch.equal(shifted(x), plain(x))
    shifted.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(shifted.eval()(x), plain.eval()(x))
    assert not list(NORMS["batchnorm"]((2, 3, 3), affine=False, scale=False).parameters())
    assert [name for name, _ in NORMS["batchnorm"]((4,), scale=False).named_parameters()] == ["bias"]


def test_batchnorm_learns_a_gain_and_a_bias_after_mean_0_and_variance_1():
    """E-18: the output has the learned mean and deviation, not 0 and 1."""
    norm = NORMS["batchnorm"]((2, 3, 3), eps=1e-3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0]))
    y = norm(torch.randn(64, 2, 3, 3) * 5 + 4).detach()
    np.testing.assert_allclose(y.mean((0, 2, 3)), [1, -1], atol=1e-5)
    np.testing.assert_allclose(y.std((0, 2, 3), correction=0), [2, 3], rtol=1e-3)
