"""Kernels as detectors: a hand-made edge kernel answers on the edge and nowhere else; windows hold its pixels."""

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.kernels import Patch, first_convolution, kernels, strongest_patches

MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}
TEN = {"kind": "class", "count": 10}


def edges(padding: int = 0) -> nn.Sequential:
    """Two kernels of 3 x 3: dark to bright from left to right, and from top to bottom."""
    layer = nn.Conv2d(1, 2, 3, padding=padding, bias=False)
    upright = torch.tensor([[-1.0, 0, 1]] * 3)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([upright, upright.T])[:, None])
    return nn.Sequential(layer, nn.ReLU(), nn.MaxPool2d(2))


def test_an_edge_kernel_peaks_exactly_on_the_edge():
    picture = torch.zeros(1, 1, 12, 12)
    picture[..., 7:] = 1  # columns 6 | 7 are the edge
    upright, level = strongest_patches(edges(), "0", picture, count=20)
    assert [one.value for one in upright] == [3.0] * 20
    assert {one.column for one in upright} == {5, 6}
    assert all(one.left <= 6 and one.right > 7 and one.right - one.left == 3 for one in upright)
    assert all(one.bottom - one.top == 3 and one.top == one.row for one in upright)
    assert {one.value for one in level} == {0.0}


def test_a_short_edge_is_found_in_its_picture_and_place():
    pictures = torch.rand(70, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.1
    pictures[66, 0, 8:11, 5:] = 1.0
    pictures[66, 0, 8:11, :5] = 0.0
    (best,) = strongest_patches(edges(padding=1), "0", pictures)[0]
    assert (best.picture, best.top, best.left, best.bottom, best.right) == (66, 8, best.column - 1, 11, best.column + 2)
    assert best.left in (3, 4)
    assert best.value == pytest.approx(3)


def test_patches_equal_a_loop_over_all_places():
    torch.manual_seed(0)
    net = NETWORKS["convnet"](MNIST, TEN)
    pictures = torch.rand(5, 1, 28, 28)
    found = strongest_patches(net, "conv1.0", pictures, 4)
    maps = net.conv1[0](pictures).detach()
    for kernel in (0, 7, 15):
        every = [(-float(maps[p, kernel, i, j]), p, i, j) for p in range(5) for i in range(28) for j in range(28)]
        expected = sorted(every)[:4]
        assert [(one.picture, one.row, one.column) for one in found[kernel]] == [one[1:] for one in expected]
        for one in found[kernel]:
            assert (one.top, one.bottom) == (one.row - 2, one.row + 3)
            assert (one.left, one.right) == (one.column - 2, one.column + 3)
            window, weight = one.cut(pictures[one.picture]), net.conv1[0].weight[kernel].detach()
            assert float((window * weight).sum() + net.conv1[0].bias[kernel].detach()) == pytest.approx(
                one.value, rel=1e-4
            )


def test_deep_units_depend_on_their_window_and_nothing_else():
    torch.manual_seed(0)
    net = NETWORKS["convnet"](MNIST, TEN).eval()
    pictures = torch.rand(2, 1, 28, 28)
    one = strongest_patches(net, "conv2.0", pictures)[3][0]
    assert one.bottom - one.top == 5 + 1 + 4 * 2
    given = pictures[one.picture : one.picture + 1].clone().requires_grad_()
    net.conv2[0](net.conv1(given))[0, 3, one.row, one.column].backward()
    rows, columns = given.grad[0, 0].nonzero().T
    assert rows.min() >= one.top
    assert rows.max() < one.bottom
    assert columns.min() >= one.left
    assert columns.max() < one.right


def test_one_of_each_picture():
    pictures = torch.zeros(3, 1, 8, 8)
    pictures[0, ..., 4:], pictures[2, ..., 4:] = 1, 0.5
    every = strongest_patches(edges(), "0", pictures, 3)[0]
    each = strongest_patches(edges(), "0", pictures, 9, one_each=True)[0]
    assert [one.picture for one in every] == [0, 0, 0]
    assert [(one.picture, one.value) for one in each] == [(0, 3.0), (2, 1.5), (1, 0.0)]


def test_a_patch_across_the_border_is_filled_with_0():
    picture = torch.arange(1.0, 10).reshape(1, 3, 3)
    cut = Patch(0, 0, 0, 0, -1, 2, 1, 4, 0.0).cut(picture)
    assert cut.tolist() == [[[0, 0], [3, 0]]]
    assert Patch(0, 0, 0, 0, 5, 5, 7, 7, 0.0).cut(picture).tolist() == [[[0, 0], [0, 0]]]


def test_the_notes_cnn_has_sixteen_kernels():
    net = NETWORKS["convnet"](MNIST, TEN)
    assert first_convolution(net) == "conv1.0"
    assert torch.equal(kernels(net), net.conv1[0].weight.double())
    assert kernels(net, "conv2.0").shape == (32, 16, 5, 5)
    assert first_convolution(nn.Linear(2, 2)) is None
    up = nn.Sequential(nn.ConvTranspose2d(3, 5, 2))
    assert kernels(up, "0").shape == (5, 3, 2, 2)


def test_the_network_is_as_before():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = net[1].running_mean.clone()
    strongest_patches(net, "1", torch.rand(2, 1, 5, 5))
    assert net.training
    assert torch.equal(net[1].running_mean, before)
    assert not net[0]._forward_hooks


def test_what_cannot_be_is_refused():
    net, pictures = NETWORKS["convnet"](MNIST, TEN), torch.rand(1, 1, 28, 28)
    with pytest.raises(UsageError, match=r"no layer 'conv1\.9'\. Did you mean 'conv1"):
        strongest_patches(net, "conv1.9", pictures)
    with pytest.raises(UsageError, match="'out' gives no maps"):
        strongest_patches(net, "out", pictures)
    with pytest.raises(UsageError, match=r"the shape \(1, 28, 28\) came"):
        strongest_patches(net, "conv1.0", pictures[0])
    with pytest.raises(UsageError, match="count = 0"):
        strongest_patches(net, "conv1.0", pictures, 0)
    with pytest.raises(UsageError, match="'out' is no convolution of pictures"):
        kernels(net, "out")
    with pytest.raises(UsageError, match="there is no layer ''"):
        kernels(nn.Sequential(nn.Linear(2, 2)))
