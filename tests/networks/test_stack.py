"""The network in one line: shapes and numbers against torch, and every mistake answered before a weight exists."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError

TEN = {"kind": "class", "count": 10}
MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}
VECTOR = {"kind": "vector", "features": 6}
SERIES = {"kind": "sequence", "steps": 12, "features": 3}
NOTES = "conv 16 5 pad=same, relu, maxpool 2, conv 32 5 pad=same, relu, maxpool 2, linear out"


def stack(layers, inputs=MNIST, outputs=TEN, **given):
    return NETWORKS["stack"](inputs, outputs, layers=layers, **given)


def count(net):
    return sum(p.numel() for p in net.parameters())


def passed(layers, x, inputs=MNIST):
    """What the layers make of x, read before the last two (flatten, linear)."""
    net = stack(layers + ", linear out", inputs)
    return net, nn.Sequential(*list(net)[:-2])(x)


def test_the_notes_network_in_one_line():
    torch.manual_seed(0)
    net = stack(NOTES)
    torch.manual_seed(0)
    plain = NETWORKS["convnet"](MNIST, TEN)
    assert count(net) == 28_938
    x = torch.randn(3, 1, 28, 28)
    assert torch.equal(net(x), plain(x))


def test_new_lines_and_commas_part_alike():
    torch.manual_seed(0)
    first = stack(NOTES)
    torch.manual_seed(0)
    second = stack("\n" + NOTES.replace(", ", "\n") + "\n")
    x = torch.randn(1, 1, 28, 28)
    assert torch.equal(first(x), second(x))


def test_the_notes_lstm_in_one_line():
    assert count(stack("lstm 64, last, linear out")) == 24_714
    net, x = stack("lstm 8 layers=2 bidirectional=true, last, linear out"), torch.randn(2, 1, 28, 28)
    _, (state, _) = net.lstm1.cell(x.squeeze(1))
    torch.testing.assert_close(net(x), net.linear1(torch.cat([state[-2], state[-1]], 1)))


@pytest.mark.parametrize("pad", ["same", "full", "valid", 2, "[[0,0],[1,0],[0,2],[0,0]]", "[[0,0],[0,0],[1,0],[0,2]]"])
@pytest.mark.parametrize(("k", "s"), [(3, 1), (4, 1), (3, 2), (4, 3), (5, 2)])
def test_padding_equals_explicit_padding(pad, k, s):
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    net = stack(f"conv 2 {k} stride={s} pad={pad}, linear out").double()
    total = max((math.ceil(28 / s) - 1) * s + k - 28, 0)
    same = (total // 2, total - total // 2) * 2
    sides = {"same": same, "full": (k - 1,) * 4, "valid": (0,) * 4, 2: (2,) * 4}.get(pad, (0, 2, 1, 0))
    conv = net.conv1
    expected = F.conv2d(F.pad(x, sides), conv.weight, conv.bias, stride=s)
    torch.testing.assert_close(nn.Sequential(*list(net)[:-2])(x), expected)
    if pad == "same":
        assert expected.shape[2:] == (math.ceil(28 / s),) * 2


@pytest.mark.parametrize(
    ("mode", "theirs"), [("replicate", "replicate"), ("reflect", "reflect"), ("circular", "circular")]
)
def test_padding_modes_equal_torch(mode, theirs):
    x = torch.randn(2, 1, 28, 28)
    net, y = passed(f"conv 2 4 pad=same pad_mode={mode}", x)
    torch.testing.assert_close(y, F.conv2d(F.pad(x, (1, 2, 1, 2), mode=theirs), net.conv1.weight, net.conv1.bias))


def test_full_padding_equals_numpy_in_one_dimension():
    row = {"kind": "image", "channels": 1, "height": 1, "width": 9}
    x = torch.randn(1, 1, 1, 9, dtype=torch.float64)
    net = stack("conv 1 [1,4] pad=full bias=false, linear out", row).double()
    expected = np.convolve(x.flatten(), net.conv1.weight.detach().flatten().flip(0), mode="full")
    np.testing.assert_allclose(net.conv1(x).detach().flatten(), expected)


@pytest.mark.parametrize(
    ("layers", "parameters"),
    [
        ("linear out", 7_850),
        ("linear 256, relu, linear out", 203_530),
        ("conv 192 3, globalpool, linear out", 1 * 9 * 192 + 192 + 1930),
        ("conv 8 3, conv 8 3 groups=8, globalpool, linear out", 80 + 8 * 9 + 8 + 90),
        ("conv out 1, globalpool", 20),
        (
            "conv 4 3, batchnorm, relu, conv 4 3, groupnorm 2, lrn, globalpool kind=max, dropout 0.5, linear out",
            40 + 8 + 148 + 8 + 50,
        ),
        ("repeat 3 (residual(conv 1 3 pad=same, relu)), linear out", 30 + 7_850),
        ("residual(conv 4 3 pad=same stride=2) project=true, globalpool, linear out", 40 + 4 + 50),
        ("parallel(conv 2 1 | conv 3 3 pad=same | maxpool 3 stride=1 pad=same), globalpool, linear out", 4 + 30 + 70),
        ("gru 5, max, layernorm, linear out", 3 * 5 * (28 + 5 + 2) + 10 + 60),
        ("rnn hidden=5, linear 4, tanh, mean, linear out", 5 * 35 + 24 + 50),
        ("conv 10 28", 7_850),
        ("flatten, residual(linear 784 bias=false), linear out", 784 * 784 + 7_850),
    ],
)
def test_parameters_and_shape(layers, parameters):
    net = stack(layers)
    assert count(net) == parameters
    assert net.eval()(torch.randn(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    "layers", ["linear 4, sigmoid, linear out", "batchnorm, linear out", "parallel(linear 2 | linear 3), linear out"]
)
def test_vectors(layers):
    assert stack(layers, VECTOR).eval()(torch.randn(3, 6)).shape == (3, 10)


@pytest.mark.parametrize(
    "layers", ["lstm 4, gru 3, last, linear out", "linear 5, relu, max, linear out", "flatten, linear out"]
)
def test_sequences(layers):
    assert stack(layers, SERIES)(torch.randn(3, 12, 3)).shape == (3, 10)


def test_residual_is_a_plain_sum():
    net = stack("flatten, residual(linear 784), linear out")
    x = torch.randn(2, 784)
    torch.testing.assert_close(net.residual1(x), x + net.residual1.body(x))


def test_units_come_from_the_loss_where_it_says_so():
    assert stack("linear out", outputs={"kind": "class", "count": 2, "units": 1})(torch.randn(2, 1, 28, 28)).shape == (
        2,
        1,
    )


def test_activations_are_never_shared():
    net = stack("repeat 2 (linear 4, relu), relu, linear out", VECTOR)
    found = [module for module in net.modules() if isinstance(module, nn.ReLU)]
    assert len({id(module) for module in found}) == len(found) == 3


def test_initializers_of_layers_and_of_the_whole():
    net = stack(
        "linear 4 init=normal(mean=3, std=0) bias_init=constant(value=0.5), relu, linear out init=torch",
        VECTOR,
        init="constant(value=7)",
    )
    assert net.linear1.weight.unique().tolist() == [3.0]
    assert net.linear1.bias.unique().tolist() == [0.5]
    assert len(net.linear2.weight.unique()) == 40
    net = stack("linear 4, relu, linear out", VECTOR, init="constant(value=7)")
    assert net.linear2.weight.unique().tolist() == [7.0]
    assert net.linear2.bias.unique().tolist() == [0.0]


def test_auto_suits_the_activation_that_follows():
    net = stack("linear 400, relu, linear 400, tanh, linear out", {"kind": "vector", "features": 400}, init="auto")
    assert float(net.linear1.weight.detach().std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert float(net.linear2.weight.detach().std()) == pytest.approx(math.sqrt(1 / 400), rel=0.02)


def test_building_twice_draws_once():
    torch.manual_seed(0)
    first = stack("linear 4, relu, linear out", VECTOR).linear1.weight
    torch.manual_seed(0)
    assert torch.equal(first, nn.Linear(6, 4).weight)


MISTAKES = [
    ("", "needs layers, such as"),
    ("cov 16 5, linear out", "layer 1 'cov 16 5': there is no layer 'cov'. Did you mean 'conv'"),
    ("Conv 16 5, linear out", "Did you mean 'conv'"),
    ("dense 10", "Did you mean 'linear'"),
    ("relu, fc 10", "layer 2 'fc 10'.*Did you mean 'linear'"),
    ("linear out, softmax", "the loss applies the softmax"),
    ("conv 16", r"missing size; write `conv CHANNELS SIZE`"),
    ("conv", "missing channels, size"),
    ("linear", "missing units; write `linear UNITS`"),
    ("dropout, linear out", "missing probability"),
    ("lstm, last, linear out", "missing hidden"),
    ("conv 16 5 strides=2, linear out", "no setting 'strides'. Did you mean 'stride'"),
    ("conv 16 5 2, linear out", r"conv takes channels size, but 16 5 2 came. Write the others as stride="),
    ("batchnorm 16, linear out", "batchnorm takes no number, but 16 came"),
    ("relu 3, linear out", "relu takes no number"),
    ("conv 16 5 channels=3, linear out", "channels is given twice"),
    ("conv sixteen 5, linear out", "channels = 'sixteen'; it is a whole number"),
    ("conv 16.5 5, linear out", "channels = 16.5; it is a whole number"),
    ("conv 0 5, linear out", "channels = 0; it lies between 1"),
    ("conv 16 5 stride=0, linear out", "stride = 0"),
    ("conv 16 5 pad=smae, linear out", "pad = 'smae'; it is valid, same, full"),
    ("conv 16 5 pad=-1, linear out", "pad = -1"),
    ("conv 16 5 pad=[[1,1],[0,0],[0,0],[0,0]], linear out", "pads the batch or the channels"),
    ("conv 16 5 pad=[1,2], linear out", r"as a list it is \[\[0,0\],\[top,bottom\]"),
    ("conv 16 5 pad_mode=mirror, linear out", "pad_mode = 'mirror'; it is 'zeros' or 'replicate'"),
    ("conv 16 30 pad=29 pad_mode=reflect, linear out", "at most 27 pixels to 28; 29 came"),
    ("conv 16 29, linear out", r"layer 1 'conv 16 29': height floor\(\(28 \+ 2\*0 - 29\)/1\) \+ 1 = 0"),
    ("maxpool 2, conv 16 15, linear out", r"layer 2 'conv 16 15': height floor\(\(14 "),
    ("conv 16 5 dilation=8, linear out", r"floor\(\(28 \+ 2\*0 - 33\)/1\)"),
    ("repeat 5 (maxpool 2), linear out", r"layer 1.1 'maxpool 2': .*floor\(\(1 "),
    ("conv 16 5 groups=2, linear out", "1 input channels do not divide into 2 groups"),
    ("conv 16 5, conv 6 3 groups=4, linear out", "6 output channels do not divide into 4 groups"),
    ("conv 16 5, groupnorm 5, linear out", "16 channels do not divide into 5 groups; the nearest that fits is 4"),
    ("dropout 1.5, linear out", "probability = 1.5; it lies between 0 and 0.999"),
    ("linear 7", "layer 1 'linear 7' gives 7 numbers; the data needs 10. End with `linear out`"),
    ("linear out, relu, linear 3", "layer 3 'linear 3' gives 3 numbers"),
    ("conv out 5", "gives 10x24x24; the data needs 10 numbers. End with `globalpool` or `linear out`"),
    ("lstm 64, linear out", "gives 28x10.*`last`, `mean` or `max`"),
    ("linear 10, conv 16 3, linear out", r"layer 2 'conv 16 3': conv wants maps .* \(10,\) came"),
    ("linear 10, lstm 3, linear out", r"lstm wants steps of features, but the shape \(10,\)"),
    ("last, linear out", "last wants steps"),
    ("globalpool, maxpool 2, linear out", "maxpool wants maps"),
    ("lstm 3, batchnorm, last, linear out", "'layernorm'"),
    ("embedding 64, lstm 3, last, linear out", "embedding reads word numbers"),
    ("relu init=he_normal, linear out", "no weights that init could fill"),
    ("linear out init=he_norml", "layer 1.*Did you mean 'he_normal'"),
    ("linear out init=normal(men=0)", "no setting 'men'. Did you mean 'mean'"),
    ("linear out bias_init=he_normal", r"shape \(10,\); use constant"),
    ("residual(conv 4 3 pad=same), linear out", "a sum of 1x28x28 and 4x28x28 is not possible; .* project=true"),
    ("residual(relu | relu), linear out", "belongs to parallel"),
    ("residual, linear out", r"needs layers in brackets: residual\(...\)"),
    ("residual(conv 4 5 stride=3) project=true, linear out", "a 1x1 convolution of stride"),
    ("residual(relu) projekt=true, linear out", "Did you mean 'project'"),
    ("parallel(conv 8 1 | conv 8 3), linear out", "8x28x28, 8x26x26; joined on channels"),
    ("parallel(relu |), linear out", "needs layers in brackets"),
    ("repeat (relu), linear out", r"repeat takes a whole number .* repeat 3 \(...\)"),
    ("repeat 0 (relu), linear out", "repeat takes a whole number"),
    ("repeat 1000 (repeat 1000 (relu)), linear out", "more than 5000 layers"),
    ("residual(conv 16 3, linear out", "never closed"),
    ("conv 16 5), linear out", "does not fit there"),
    ("conv 16 5,, linear out", "empty between commas"),
    ("linear 8, linear out", "'linear 8' and 'linear out' with nothing between are one linear layer"),
    ("repeat 2 (linear 8), relu, linear out", "'linear 8' and 'linear 8' with nothing between"),
    ("parallel(linear 4, linear 3 | linear 4), relu, linear out", "'linear 4' and 'linear 3' with nothing between"),
    ("linear 1000000, linear 1000000, linear out", "1,000,796,000,010 parameters do not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "words"), MISTAKES)
def test_mistakes_are_answered_before_any_weight_exists(layers, words, monkeypatch):
    made = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(tensor := empty(*a, **k)) or tensor)
    with pytest.raises(UsageError, match=words) as caught:
        stack(layers)
    assert all(tensor.device.type == "meta" for tensor in made)
    assert 1 <= len(str(caught.value).splitlines()) <= 3


def test_a_wrong_initializer_of_the_whole_is_named():
    with pytest.raises(UsageError, match=r"network.init|Did you mean 'he_normal'"):
        stack("linear out", init="he_norml")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"kind": "graph"}, "kind 'graph' fit no network"),
        ({"kind": "image", "channels": 1, "height": 0, "width": 3}, "height = 0"),
        ({"kind": "vector"}, "features = None"),
    ],
)
def test_wrong_inputs_are_named(inputs, words):
    with pytest.raises(UsageError, match=words):
        stack("linear out", inputs)


def test_wrong_outputs_are_named():
    with pytest.raises(UsageError, match="outputs: 0 units"):
        stack("linear out", outputs={"kind": "class", "count": 0})
