"""The networks of the notes and LeNet-5: keys, shapes and numbers as printed."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.networks.lenet import C3_TABLE, GLYPHS, stretched

TEN = {"kind": "class", "count": 10}
MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}


def image(channels, height, width):
    return {"kind": "image", "channels": channels, "height": height, "width": width}


def count(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def test_convnet_is_the_notes_network():
    net = NETWORKS["convnet"](MNIST, TEN)
    keys = [f"{name}.{end}" for name in ("conv1.0", "conv2.0", "out") for end in ("weight", "bias")]
    assert list(net.state_dict()) == keys
    assert count(net) == 28_938
    x = torch.randn(5, 1, 28, 28)
    first = F.max_pool2d(F.relu(F.conv2d(x, net.conv1[0].weight, net.conv1[0].bias, padding=2)), 2)
    second = F.max_pool2d(F.relu(F.conv2d(first, net.conv2[0].weight, net.conv2[0].bias, padding=2)), 2)
    assert first.shape == (5, 16, 14, 14)
    assert second.shape == (5, 32, 7, 7)
    torch.testing.assert_close(net(x), F.linear(second.reshape(5, 1568), net.out.weight, net.out.bias))


def test_convnet_starts_like_plain_pytorch():
    torch.manual_seed(3)
    net = NETWORKS["convnet"](MNIST, TEN)
    torch.manual_seed(3)
    plain = [nn.Conv2d(1, 16, 5), nn.Conv2d(16, 32, 5), nn.Linear(1568, 10)]
    for ours, theirs in zip((net.conv1[0], net.conv2[0], net.out), plain, strict=True):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 8, 8), (1, 4, 5), (2, 31, 17)])
def test_convnet_takes_any_image_from_4x4_on(channels, height, width):
    assert NETWORKS["convnet"](image(channels, height, width), TEN)(torch.randn(2, channels, height, width)).shape == (
        2,
        10,
    )


def test_the_settings_of_convnet_are_remedies():
    net = NETWORKS["convnet"](
        MNIST, TEN, width=0.5, norm="batchnorm", activation="leaky_relu(slope=0.2)", dropout=0.3, init="auto"
    )
    kinds = [type(m).__name__ for m in net.conv1]
    assert kinds == ["Conv2d", "BatchNorm2d", "LeakyReLU", "MaxPool2d"]
    assert (net.conv1[0].out_channels, net.conv2[0].out_channels, net.dropout.p) == (8, 16, 0.3)
    assert float(net.conv2[0].bias.detach().abs().max()) == 0
    assert float(net.conv2[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 200), rel=0.1)


def test_norms_take_their_settings_in_brackets():
    assert NETWORKS["convnet"](MNIST, TEN, norm="groupnorm(groups=4)").conv2[1].num_groups == 4
    with pytest.raises(UsageError, match="16 channels do not divide into 32 groups"):
        NETWORKS["convnet"](MNIST, TEN, norm="groupnorm")


@pytest.mark.parametrize("name", ["convnet", "lenet5", "lenet5_modern"])
def test_image_networks_refuse_other_inputs(name):
    with pytest.raises(UsageError, match="a vector of 64 features came"):
        NETWORKS[name]({"kind": "vector", "features": 64}, TEN)
    with pytest.raises(UsageError, match="image of 1x3x28 is too small"):
        NETWORKS[name](image(1, 3, 28), TEN)


@pytest.mark.parametrize("given", [{}, {"layers": 2}, {"bidirectional": True}, {"layers": 2, "bidirectional": True}])
def test_lstm_reads_rows_and_answers_from_the_last_states(given):
    net, x = NETWORKS["lstm"](MNIST, TEN, **given), torch.randn(4, 1, 28, 28)
    _, (state, _) = net.rnn(x.squeeze(1))
    last = torch.cat(list(state[-(1 + net.rnn.bidirectional) :]), 1)
    torch.testing.assert_close(net(x), net.out(last))


def test_lstm_is_the_notes_network():
    net = NETWORKS["lstm"](MNIST, TEN)
    assert list(net.state_dict()) == [*(f"rnn.{name}" for name in nn.LSTM(1, 1).state_dict()), "out.weight", "out.bias"]
    assert count(net.rnn) == 24_064
    assert count(net) == 24_714
    assert [count(NETWORKS[name](MNIST, TEN).rnn) for name in ("rnn", "gru")] == [6_016, 18_048]


def test_colour_rows_and_sequences():
    net, x = NETWORKS["lstm"](image(3, 32, 20), TEN), torch.randn(2, 3, 32, 20)
    assert net.rnn.input_size == 60
    assert torch.equal(net.steps(x)[0, 5], x[0, :, 5].flatten())
    assert NETWORKS["gru"]({"kind": "sequence", "steps": 9, "features": 4}, TEN)(torch.randn(3, 9, 4)).shape == (3, 10)


def test_recurrent_networks_refuse_vectors():
    with pytest.raises(UsageError, match=r"takes sequences and images; a vector of 5 features came.*'mlp'"):
        NETWORKS["lstm"]({"kind": "vector", "features": 5}, TEN)


def test_dropout_acts_in_training_only():
    net, x = NETWORKS["lstm"](MNIST, TEN, dropout=0.5), torch.randn(2, 1, 28, 28)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_lenet5_has_sixty_thousand_parameters():
    net = NETWORKS["lenet5"](MNIST, TEN)
    each = [count(layer) for layer in (net.c1, net.s2, net.c3, net.s4, net.c5, net.f6, net.out)]
    assert each == [156, 12, 1_516, 32, 48_120, 10_164, 0]
    assert count(net) == 60_000
    assert count(NETWORKS["lenet5_modern"](MNIST, TEN)) == 61_706
    assert count(NETWORKS["lenet5"](image(1, 32, 32), TEN)) == 60_000


def test_c3_reads_only_the_maps_of_its_table():
    assert sum(map(len, C3_TABLE)) == 60
    net, x = NETWORKS["lenet5"](MNIST, TEN), torch.randn(1, 6, 14, 14, requires_grad=True)
    for out, table in enumerate(C3_TABLE):
        (seen,) = torch.autograd.grad(net.c3(x)[0, out].sum(), x)
        assert {into for into in range(6) if float(seen[0, into].abs().max()) > 0} == set(table)


def test_c3_equals_separate_convolutions():
    net, x = NETWORKS["lenet5"](MNIST, TEN), torch.randn(2, 6, 14, 14)
    for out, table in enumerate(C3_TABLE):
        start = sum(len(one) for one in C3_TABLE[:out])
        kernels = net.c3.weight[start : start + len(table)][None]
        expected = F.conv2d(x[:, list(table)], kernels, net.c3.bias[out : out + 1])
        torch.testing.assert_close(net.c3(x)[:, out : out + 1], expected)


def test_sub_sampling_sums_scales_and_shifts():
    net = NETWORKS["lenet5"](MNIST, TEN)
    x = torch.arange(6.0)[None, :, None, None].expand(1, 6, 2, 2)
    expected = net.s2.gain * 4 * torch.arange(6.0)[:, None, None] + net.s2.bias
    torch.testing.assert_close(net.s2(x)[0], expected)


def test_the_nearest_code_has_the_largest_output():
    net = NETWORKS["lenet5"](MNIST, TEN)
    codes = net.out.codes
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {-1.0, 1.0}
    assert net.out(codes).argmax(1).tolist() == list(range(10))
    torch.testing.assert_close(net.out(codes), -torch.cdist(codes, codes).square(), atol=1e-3, rtol=1e-4)
    apart = net.out(codes) - torch.eye(10) * 1e9
    assert float(apart.max()) <= -4 * 4
    assert all(0 <= row < 128 for rows in GLYPHS for row in rows)


def test_pictures_of_28_get_a_border_of_their_own_background():
    net = NETWORKS["lenet5"](MNIST, TEN)
    assert torch.equal(net.border(torch.full((1, 1, 28, 28), -0.4)), torch.full((1, 1, 32, 32), -0.4))


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 16, 16), (1, 20, 41)])
def test_lenet_takes_other_sizes(name, channels, height, width):
    net = NETWORKS[name](image(channels, height, width), TEN)
    assert net(torch.randn(2, channels, height, width)).shape == (2, 10)


@pytest.mark.parametrize("outputs", [{"kind": "class", "count": 3}, {"kind": "number", "count": 10}])
def test_other_outputs_get_a_linear_layer(outputs):
    assert isinstance(NETWORKS["lenet5"](MNIST, outputs).out, nn.Linear)


def test_weights_of_lenet5_start_within_the_papers_limits():
    net = NETWORKS["lenet5"](MNIST, TEN)
    for layer, fan_in in ((net.c1, 25), (net.s2, 4), (net.c5, 400), (net.f6, 120)):
        largest = max(float(p.detach().abs().max()) for p in layer.parameters())
        assert 0.5 * 2.4 / fan_in < largest <= 2.4 / fan_in


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
def test_the_settings_of_lenet_are_remedies(name):
    chosen = {"width": 2.0, "activation": "elu", "norm": "groupnorm(groups=2)", "init": "he_normal", "dropout": 0.25}
    net = NETWORKS[name](image(3, 32, 32), {"kind": "class", "count": 4}, **chosen)
    kinds = {type(module).__name__ for module in net.modules()}
    assert {"ELU", "GroupNorm", "Dropout"} <= kinds
    assert not kinds & {"ScaledTanh", "ReLU"}
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    assert first.out_channels == 12
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 1), (28, 28), (31, 40)])
def test_a_border_brings_small_pictures_to_32(name, height, width):
    net = NETWORKS[name](image(1, height, width), TEN, stem="small")
    assert net.border(torch.randn(1, 1, height, width)).shape[2:] == (32, max(32, width))
    assert net(torch.randn(2, 1, height, width)).shape == (2, 10)
    with pytest.raises(UsageError, match="takes 16x16 or more"):
        NETWORKS[name](image(1, 15, 28), TEN)


def test_the_table_of_c3_stretches_with_the_maps():
    assert stretched(6, 16) == C3_TABLE
    double = stretched(12, 32)
    assert [tuple(into // 2 for into in row[::2]) for row in double[::2]] == list(C3_TABLE)
    assert stretched(1, 2) == ((0,), (0,))
    assert count(NETWORKS["lenet5"](image(1, 32, 32), TEN, width=0.5)) < 60_000 / 2
