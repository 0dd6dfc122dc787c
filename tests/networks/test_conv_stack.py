"""The notation of the usual convolutional network: M convolutions and a pooling, N times, then K layers (S-165)."""

import pytest
import torch

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.stack import conv_stack

MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}
TEN = {"kind": "class", "count": 10}


def built(layers, inputs=MNIST, outputs=TEN):
    return NETWORKS["stack"](inputs, outputs, layers=layers)


def test_the_notes_cnn():
    layers = conv_stack([16, 32], kernel=5)
    assert layers == "conv 16 5 pad=same, relu, maxpool 2, conv 32 5 pad=same, relu, maxpool 2, linear out"
    torch.manual_seed(0)
    net = built(layers)
    torch.manual_seed(0)
    plain = NETWORKS["convnet"](MNIST, TEN)
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(net(x), plain(x))
    assert sum(p.numel() for p in net.parameters()) == 28_938


def test_a_network_like_lenet():
    layers = conv_stack([6, 16], kernel=5, pad=[2, "valid"], pool="avgpool 2", activation="tanh", linear=[120, 84])
    found = anatomy(built(layers), MNIST)
    shapes = [row.output for row in found.layers if row.kind in ("conv", "avgpool", "linear")]
    assert shapes == [[6, 28, 28], [6, 14, 14], [16, 10, 10], [16, 5, 5], [120], [84], [10]]
    assert found.parameters == 156 + 2416 + 48_120 + 10_164 + 850 == 61_706


def test_vgg_16():
    layers = conv_stack([64, 128, 256, 512, 512], convs=[2, 2, 3, 3, 3], linear=[4096, 4096], dropout=0.5)
    assert layers.startswith("repeat 2 (conv 64 3 pad=same, relu), maxpool 2, repeat 2 (conv 128")
    photo = {"kind": "image", "channels": 3, "height": 32, "width": 32}
    found, vgg = built(layers, photo), NETWORKS["vgg16"](photo, TEN)
    kernels = [tuple(p.shape) for p in found.parameters() if p.ndim == 4]
    assert kernels == [tuple(p.shape) for p in vgg.parameters() if p.ndim == 4]
    assert len(kernels) == 13


@pytest.mark.slow
def test_vgg_16_at_full_size_has_the_parameters_of_the_paper():
    layers = conv_stack([64, 128, 256, 512, 512], convs=[2, 2, 3, 3, 3], linear=[4096, 4096], dropout=0.5)
    with torch.device("meta"):
        net = built(
            layers, {"kind": "image", "channels": 3, "height": 224, "width": 224}, {"kind": "class", "count": 1000}
        )
    assert sum(p.numel() for p in net.parameters()) == 138_357_544


def test_blocks_may_differ_in_everything():
    layers = conv_stack([4, 8], convs=[1, 2], kernel=[5, 3], pool=["", "maxpool 2"], norm="batchnorm", linear=[7])
    assert layers == (
        "conv 4 5 pad=same, batchnorm, relu, repeat 2 (conv 8 3 pad=same, batchnorm, relu), maxpool 2, "
        "linear 7, relu, linear out"
    )
    assert built(layers)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"convs = \[1, 2, 3\]; it is one for all of 2 blocks, or one for each"):
        conv_stack([4, 8], convs=[1, 2, 3])
    with pytest.raises(UsageError, match="kernel = 0"):
        conv_stack([4], kernel=0)
    for wrong in ([], [0], [-3, 4]):
        with pytest.raises(UsageError, match="channels"):
            conv_stack(wrong)
