"""Whitening: its closed form on the patches it comes from, odd data, and the layer of the notation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import netwright as nw
from netwright.errors import UsageError
from netwright.networks.whitening import CHUNK, Whitening, patch_statistics

RNG = np.random.default_rng(0)


def maps(count=60, channels=3, size=9, seed=0):
    """Maps whose pixels go with their neighbours and whose channels go with each other, away from 0."""
    draw = torch.randn(count, channels, size + 2, size + 2, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(draw, 3, 1)
    return smooth + 0.7 * smooth.mean(1, keepdim=True) + torch.arange(channels)[:, None, None]


def outputs(layer, x):
    """The first half of a layer's outputs, one row a patch, in float64."""
    with torch.no_grad():
        found = layer.double()(x.double())
    half = found.shape[1] // 2
    torch.testing.assert_close(found[:, half:], -found[:, :half])
    return found[:, :half].movedim(1, 3).reshape(-1, half)


@pytest.mark.parametrize("size", [(2, 2), (3, 1)])
def test_without_eps_the_patches_leave_with_mean_0_and_the_identity_as_covariance(size):
    x, layer = maps(), Whitening(3, size, eps=0.0)
    layer.begin_from(x)
    rows = outputs(layer, x)
    width = 3 * size[0] * size[1]
    torch.testing.assert_close(rows.mean(0), torch.zeros(width).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.T.cov(correction=0), torch.eye(width).double(), atol=1e-4, rtol=0)
    assert (layer.ready, int(layer.examples)) == (True, 60)


def test_eps_holds_back_directions_of_little_variance():
    x, layer = maps(), Whitening(3, (2, 2), eps=0.1)
    layer.begin_from(x)
    patches = np.stack([x[n, :, i : i + 2, j : j + 2].numpy().ravel() for n in range(60) for i in range(8)
                        for j in range(8)]).astype(np.float64)  # fmt: skip
    values, vectors = np.linalg.eigh(np.cov(patches.T, ddof=0))
    values, vectors = values[::-1], vectors[:, ::-1]
    rows = outputs(layer, x)
    np.testing.assert_allclose(rows.T.cov(correction=0), np.diag(values / (values + 0.1)), atol=1e-4)
    kernels = layer.weight.detach()[:12].flatten(1).numpy()
    expected = (vectors / np.sqrt(values + 0.1)).T
    np.testing.assert_allclose(np.abs(kernels), np.abs(expected), atol=1e-4)
    assert (kernels[np.arange(12), np.abs(kernels).argmax(1)] > 0).all()


def test_statistics_do_not_depend_on_how_the_examples_are_cut():
    x = maps(2 * CHUNK + 17, 2, 5)
    mean, covariance = patch_statistics(x, 2, 2)
    flat = torch.cat([F.unfold(x.double(), 2)]).movedim(1, 2).reshape(-1, 8)
    torch.testing.assert_close(mean, flat.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(covariance, flat.T.cov(correction=0), rtol=1e-9, atol=1e-9)
    again = patch_statistics(x.to(memory_format=torch.channels_last), 2, 2)
    assert torch.equal(again[0], mean)
    assert torch.equal(again[1], covariance)


def test_directions_in_which_nothing_varies_are_left_out_where_eps_is_0():
    x = maps(channels=1).repeat(1, 3, 1, 1)  # grey pictures in three channels: 4 directions of 12
    layer = Whitening(3, (2, 2), eps=0.0)
    layer.begin_from(x)
    covariance = outputs(layer, x).T.cov(correction=0)
    torch.testing.assert_close(covariance.diag(), torch.tensor([1.0] * 4 + [0.0] * 8).double(), atol=1e-3, rtol=0)
    blank = Whitening(3, (2, 2), eps=0.0)
    blank.begin_from(torch.ones(4, 3, 5, 5))
    assert torch.equal(blank.weight, torch.zeros_like(blank.weight))


def test_examples_that_are_not_finite_do_not_count():
    x, layer, other = maps(), Whitening(3, (2, 2)), Whitening(3, (2, 2))
    broken = torch.cat([x, x[:2] * torch.nan, x[:1] * torch.inf])
    layer.begin_from(broken)
    other.begin_from(x)
    torch.testing.assert_close(layer.weight, other.weight)
    nothing = Whitening(3, (2, 2))
    nothing.begin_from(x * torch.nan)
    assert torch.equal(nothing.weight, Whitening(3, (2, 2)).weight)
    assert not nothing.ready


def test_a_layer_of_the_notation():
    net = nw.network("stack", inputs=(3, 9, 9), outputs=4, layers="whiten 3 eps=0.01, gelu, globalpool, linear out",
                     init="he_normal")  # fmt: skip
    layer = net.whiten1
    assert isinstance(layer, Whitening)
    assert (layer.eps, layer.weight.shape, layer.weight.requires_grad) == (0.01, (54, 3, 3, 3), False)
    assert torch.equal(layer.weight, Whitening(3, (3, 3)).weight)
    assert net(maps()).shape == (60, 4)
    for layers, words in (
        ("whiten 3 init=he_normal, globalpool, linear out", "it has no weights that init could fill"),
        ("whiten 12, globalpool, linear out", "the window is larger than the map"),
        ("flatten, whiten 2, linear out", "whiten wants maps"),
        ("whitten 2, globalpool, linear out", "Did you mean 'whiten'"),
    ):
        with pytest.raises(UsageError, match=words):
            nw.network("stack", inputs=(3, 9, 9), outputs=4, layers=layers)
