"""The network of the CIFAR-10 speed record: shapes, counts, its beginning, and other sizes of pictures."""

import pytest
import torch
from paper import build, counted, pictures, shapes, weightless
from torch import nn

from netwright.errors import UsageError


def test_counts_by_hand():
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    found = counted("cifar_fast", (3, 32, 32), 10)
    assert found.parameters == 24 * 12 + 24 + convolutions + 2 * 64 + 4 * 256 + 2560 == 1_971_640
    assert found.trainable == found.parameters - 288
    macs = 31 * 31 * (24 * 12 + 9 * 24 * 64) + 15 * 15 * 9 * (64 * 64 + 64 * 256) + 49 * 9 * 2 * 256**2
    assert found.macs == macs + 9 * 9 * 256**2 + 2560 == 118_147_360


def test_shapes_of_the_blocks():
    wanted = ["whiten", "blocks.0", "blocks.1", "blocks.2", "pool", "head"]
    found = list(shapes("cifar_fast", (3, 32, 32), wanted, 10).values())
    assert found == [(24, 31, 31), (64, 15, 15), (256, 7, 7), (256, 3, 3), (256, 1, 1), (10,)]


def test_norms_have_no_gain_and_the_source_s_numbers():
    net = weightless("cifar_fast", (3, 32, 32), 10)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(one.eps, one.momentum, [name for name, _ in one.named_parameters()]) for one in norms] == [
        (1e-12, 0.4, ["bias"])
    ] * 6
    assert all(one.bias is None for one in net.modules() if isinstance(one, nn.Conv2d) and one is not net.whiten)
    assert not net.whiten.weight.requires_grad
    assert net.whiten.bias.requires_grad


def test_every_block_begins_by_passing_its_maps_on():
    net, x = build("cifar_fast"), torch.rand(2, 24, 9, 9)
    torch.testing.assert_close(net.blocks[0].conv1(x)[:, :24], x)
    assert float(net.blocks[0].conv1.weight[24:].detach().abs().mean()) > 0.01
    maps = torch.rand(2, 64, 5, 5)
    torch.testing.assert_close(net.blocks[0].conv2(maps), maps)


def test_scores_are_the_head_s_times_the_scale():
    net, x = build("cifar_fast").eval(), pictures((3, 32, 32))
    features = net.pool(net.blocks(net.act(net.whiten(x)))).flatten(1)
    torch.testing.assert_close(net(x), features @ net.head.weight.T / 9)
    torch.testing.assert_close(build("cifar_fast", scale=2.0).eval()(x), net(x) * 18)


def test_until_data_come_the_first_kernels_pick_single_pixels():
    net, x = build("cifar_fast"), pictures((3, 32, 32))
    maps = net.whiten(x)
    torch.testing.assert_close(maps[:, 0], x[:, 0, :-1, :-1])
    torch.testing.assert_close(maps[:, 11], x[:, 2, 1:, 1:])
    torch.testing.assert_close(maps[:, 12:], -maps[:, :12])
    assert not net.whiten.ready


@pytest.mark.parametrize("init", ["he_normal", "torch", "constant(value=0.5)"])
def test_initializers_leave_the_first_kernels_alone(init):
    assert torch.equal(build("cifar_fast", init=init).whiten.weight, build("cifar_fast").whiten.weight)


def test_without_whitening_the_first_convolution_learns():
    net = build("cifar_fast", whitening=False)
    assert type(net.whiten) is nn.Conv2d
    assert net.whiten.weight.requires_grad
    assert net.whiten.weight.shape == (24, 3, 2, 2)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 8, 8), (3, 9, 40), (4, 33, 21), (3, 64, 64)])
def test_other_sizes_of_pictures(shape):
    net = build("cifar_fast", shape, width=0.05, dropout=0.2).eval()
    assert net(pictures(shape)).shape == (4, 10)
    assert net.whiten.weight.shape == (8 * shape[0], shape[0], 2, 2)


def test_a_single_pixel_is_refused():
    with pytest.raises(UsageError, match="'cifar_fast': an image of 3x1x1 is too small; it takes 2x2 or more"):
        build("cifar_fast", (3, 1, 1))
