"""The stack's further layers: kinds of convolution and of dropout; every padding tried exhaustively."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.networks.layers import LAYERS, DropPath
from netwright.networks.layers import conv as conv_layer

TEN = {"kind": "class", "count": 10}
RGB = {"kind": "image", "channels": 3, "height": 9, "width": 8}


def stack(layers, inputs=RGB, outputs=TEN, **given):
    return NETWORKS["stack"](inputs, outputs, layers=layers, **given)


def count(net):
    return sum(p.numel() for p in net.parameters())


def first(layers, inputs=RGB):
    """The modules before the last linear layer, as one."""
    net = stack(layers + ", linear out", inputs)
    return net, nn.Sequential(*list(net)[:-2])


# kinds of convolution -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "s", "p", "o", "d"), [(3, 1, 0, 0, 1), (4, 2, 1, 0, 1), (3, 2, 1, 1, 1), (2, 3, 0, 2, 2)]
)
def test_transposed_convolution_has_its_size_and_turns_the_convolution_round(k, s, p, o, d):
    net, row = first(f"conv_transposed 4 {k} stride={s} pad={p} output_pad={o} dilation={d} bias=false")
    x = torch.randn(2, 3, 9, 8)
    y = row(x)
    assert y.shape == (2, 4, *((n - 1) * s - 2 * p + d * (k - 1) + 1 + o for n in (9, 8)))
    back = F.conv2d(z := torch.randn_like(y), net.conv_transposed1.weight, stride=s, padding=p, dilation=d)
    torch.testing.assert_close((x * back[:, :, :9, :8]).sum(), (y * z).sum(), rtol=1e-4, atol=1e-4)


def test_depthwise_and_separable_have_the_weights_of_their_formulas():
    assert count(first("depthwise 3 pad=same")[1]) == 3 * 9 + 3
    assert count(first("depthwise 3 multiplier=2")[1]) == 6 * 9 + 6
    assert count(first("separable 8 3 pad=same stride=2")[1]) == 3 * 9 + 3 * 8 + 8
    net, row = first("separable 8 3 pad=same stride=2")
    x = torch.randn(2, 3, 9, 8)
    deep, point = net.separable1.depthwise.weight, net.separable1.pointwise
    padded = F.pad(x, (0, 1, 1, 1))
    expected = F.conv2d(F.conv2d(padded, deep, stride=2, groups=3), point.weight, point.bias)
    torch.testing.assert_close(row(x), expected)


def test_separable_is_initialised_as_a_whole():
    net, _ = first("separable 8 3 init=constant(value=2)")
    assert set(net.separable1.depthwise.weight.flatten().tolist()) == {2.0}
    assert set(net.separable1.pointwise.weight.flatten().tolist()) == {2.0}
    assert set(net.separable1.pointwise.bias.tolist()) == {0.0}


@pytest.mark.parametrize(
    "options", ["", "stride=2", "pad=1", "pad=same", "pad=full stride=3", "pad=1 pad_mode=replicate"]
)
def test_locally_connected_with_equal_kernels_is_a_convolution(options):
    net, row = first(f"local 4 3 {options}")
    conv, plain = first(f"conv 4 3 {options}")
    with torch.no_grad():
        net.local1.weight.copy_(conv.conv1.weight.expand_as(net.local1.weight))
        net.local1.bias.copy_(conv.conv1.bias.view(4, 1, 1).expand_as(net.local1.bias))
    x = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(row(x), plain(x), rtol=1e-4, atol=1e-5)


def test_locally_connected_has_kernels_of_its_own_at_each_place():
    net, row = first("local 4 [3,2]")
    assert count(row) == 7 * 7 * 4 * (3 * 2 * 3 + 1)
    x = torch.randn(1, 3, 9, 8)
    w, b = net.local1.weight.unflatten(0, (7, 7)), net.local1.bias
    for i, j, c in ((0, 0, 0), (3, 5, 2), (6, 6, 3)):
        expected = (w[i, j, c] * x[0, :, i : i + 3, j : j + 2]).sum() + b[c, i, j]
        torch.testing.assert_close(row(x)[0, c, i, j], expected)


def test_locally_connected_starts_place_by_place():
    net, _ = first("local 4 3 init=he_normal")
    assert float(net.local1.weight.detach().std()) == pytest.approx(math.sqrt(2 / 27), rel=0.05)
    net, _ = first("local 4 3 init=orthogonal")
    for place in net.local1.weight.detach().flatten(2):
        torch.testing.assert_close(place @ place.T, torch.eye(4), atol=1e-5, rtol=0)


def test_a_million_neurons_with_windows_of_their_own_have_the_notes_counts():
    """E-05: full connection 10^12, local 10^8, shared 100."""
    picture = {"kind": "image", "channels": 1, "height": 1000, "width": 1000}

    def weights(layers):
        with torch.device("meta"):
            net = stack(layers, picture, {"kind": "number", "count": 1})
            return next(layer for layer in anatomy(net, picture).layers if layer.kind in ("local", "conv"))

    local = weights("local 1 10 pad=same bias=false, globalpool")
    assert (local.parameters, local.macs, local.neurons) == (10**8, 10**8, 10**6)
    assert weights("conv 1 10 pad=same bias=false, globalpool").parameters == 100
    assert 1000 * 1000 * 10**6 == 10**12


def test_a_flipped_kernel_is_the_convolution_of_mathematics():
    x = torch.randn(1, 3, 9, 8)
    net, row = first("conv 2 3 flip_kernel=true bias=false pad=full")
    expected = F.conv2d(x, net.conv1.weight.flip(2, 3), padding=2)
    torch.testing.assert_close(row(x), expected)
    line = {"kind": "image", "channels": 1, "height": 1, "width": 8}
    net, row = first("conv 1 [1,4] pad=full bias=false flip_kernel=true", line)
    y = torch.randn(1, 1, 1, 8)
    expected = np.convolve(y.flatten(), net.conv1.weight.detach().flatten(), mode="full")
    np.testing.assert_allclose(row(y).detach().flatten(), expected, atol=1e-6)


def test_upsampling_equals_torchs():
    x = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(first("upsample 2")[1](x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    expected = F.interpolate(x, scale_factor=3, mode="bilinear", align_corners=False)
    torch.testing.assert_close(first("upsample 3 mode=bilinear")[1](x), expected)


@pytest.mark.parametrize(
    ("layers", "parameters", "shape"),
    [
        ("subsample 2", 6, (3, 4, 4)),
        ("instancenorm", 0, (3, 9, 8)),
        ("instancenorm affine=true", 6, (3, 9, 8)),
        ("adaptivepool 4", 0, (3, 4, 4)),
        ("adaptivepool [2,3] kind=max", 0, (3, 2, 3)),
        ("lppool 3 stride=1", 0, (3, 7, 6)),
        ("conv_transposed 5 2 stride=2", 3 * 5 * 4 + 5, (5, 18, 16)),
        ("droppath 0.2, dropout2d 0.2, alpha_dropout 0.1, gaussian_dropout 0.3", 0, (3, 9, 8)),
    ],
)
def test_parameters_and_shapes(layers, parameters, shape):
    _, row = first(layers)
    assert count(row) == parameters
    assert row(torch.randn(2, 3, 9, 8)).shape == (2, *shape)


@pytest.mark.parametrize(
    "layers", ["conv_transposed out 1, globalpool", "separable out 3, globalpool", "local out [9,8]"]
)
def test_out_counts_the_outputs(layers):
    assert stack(layers)(torch.randn(2, 3, 9, 8)).shape == (2, 10)


def test_every_layer_of_the_notation_is_tried_in_a_test():
    elsewhere = {"conv", "linear", "dropout", "flatten", "embedding", "whiten"}  # test_stack.py, test_whitening.py
    here = {"conv_transposed", "depthwise", "separable", "local", "upsample", "droppath", "dropout2d"}
    assert set(LAYERS) == elsewhere | here | {"alpha_dropout", "gaussian_dropout"}


# dropouts -------------------------------------------------------------------------------------------------------

ONES = torch.ones(400, 8, 5, 5)


@pytest.mark.parametrize("name", ["dropout", "dropout2d", "droppath"])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_share_that_is_dropped_is_exact_and_the_mean_stays(name, p):
    torch.manual_seed(0)
    layer = LAYERS[name]((8, 5, 5), probability=p)[""]
    y = layer(ONES)
    assert sorted(y.unique().tolist()) == pytest.approx([0.0, 1 / (1 - p)])
    units = {"dropout": y, "dropout2d": y[:, :, 0, 0], "droppath": y[:, 0, 0, 0]}[name]
    deviation = math.sqrt(p * (1 - p) / units.numel())
    assert abs(float((units == 0).float().mean()) - p) < 3 * deviation
    assert abs(float(units.mean()) - 1) < 4 * deviation / (1 - p)
    assert torch.equal(layer.eval()(ONES), ONES)


def test_what_is_dropped_goes_together():
    torch.manual_seed(0)
    maps = LAYERS["dropout2d"]((8, 5, 5), probability=0.5)[""](ONES).flatten(2)
    assert (maps == maps[:, :, :1]).all()
    whole = LAYERS["droppath"]((8, 5, 5), probability=0.5)[""](ONES).flatten(1)
    assert (whole == whole[:, :1]).all()
    steps = LAYERS["dropout2d"]((6, 4), probability=0.5)[""](torch.ones(50, 6, 4))
    assert (steps == steps[:, :1]).all()
    assert 0 < float((steps == 0).float().mean()) < 1


def test_alpha_and_gaussian_dropout_keep_mean_and_variance_as_their_papers_say():
    torch.manual_seed(0)
    x = torch.randn(200_000)
    y = LAYERS["alpha_dropout"]((8,), probability=0.3)[""](x)
    assert (float(y.mean()), float(y.var())) == (pytest.approx(0, abs=0.02), pytest.approx(1, rel=0.02))
    noise = LAYERS["gaussian_dropout"]((8,), probability=0.2)[""](torch.ones(200_000))
    assert (float(noise.mean()), float(noise.var())) == (pytest.approx(1, abs=0.01), pytest.approx(0.25, rel=0.02))
    still = LAYERS["gaussian_dropout"]((8,), probability=0.2)[""].eval()
    assert torch.equal(still(x), x)


def test_the_mean_of_dropouts_sub_networks_is_the_whole_of_a_linear_layer():
    """S-135: over all 2^4 masks, each with its probability, the output equals that in use."""
    torch.manual_seed(0)
    linear, x, p = nn.Linear(4, 3), torch.randn(4), 0.3
    total = torch.zeros(3)
    for mask in itertools.product((0, 1), repeat=4):
        kept = sum(mask)
        total += (1 - p) ** kept * p ** (4 - kept) * linear(x * torch.tensor(mask) / (1 - p)).detach()
    torch.testing.assert_close(total, linear(x).detach())


def test_stochastic_depth_in_a_residual_branch_leaves_the_input_where_it_drops():
    torch.manual_seed(0)
    net = stack("residual(conv 3 3 pad=same, droppath 0.5), linear out").train()
    x = torch.randn(64, 3, 9, 8)
    y = net.residual1(x)
    branch = net.residual1.body.conv1(x)
    dropped = (y == x).flatten(1).all(1)
    assert 10 < int(dropped.sum()) < 54
    torch.testing.assert_close(y[~dropped], (x + 2 * branch)[~dropped])
    net.eval()
    torch.testing.assert_close(net.residual1(x), x + branch)
    assert any(isinstance(module, DropPath) for module in net.modules())


# padding, exhaustively ------------------------------------------------------------------------------------------

TWELVE = range(1, 13)


def tensorflow_same(n, k, s):
    total = max(k - s, 0) if n % s == 0 else max(k - n % s, 0)  # as TensorFlow's documents word it
    return total // 2, total - total // 2


def test_same_equals_tensorflows_rule_for_every_size_up_to_twelve():
    for n, k, s in itertools.product(TWELVE, TWELVE, TWELVE):
        made = conv_layer((1, n, 3), channels=1, size=[k, 1], stride=[s, 1], pad="same", bias=False)
        row, x = nn.Sequential(*made.values()), torch.arange(3.0 * n).view(1, 1, n, 3)
        expected = F.conv2d(F.pad(x, (0, 0, *tensorflow_same(n, k, s))), made[""].weight, stride=(s, 1))
        assert expected.shape[2] == math.ceil(n / s)
        torch.testing.assert_close(row(x), expected)


def test_full_and_valid_equal_numpy_for_every_size_up_to_twelve():
    draw = np.random.default_rng(0)
    for n, k in itertools.product(TWELVE, TWELVE):
        x = draw.normal(size=n)
        for mode in ("full", "valid"):
            if mode == "valid" and k > n:
                continue
            row = nn.Sequential(*conv_layer((1, 1, n), channels=1, size=[1, k], pad=mode, bias=False).values()).double()
            kernel = row[-1].weight.detach().flatten().numpy()
            found = row(torch.from_numpy(x).view(1, 1, 1, n)).detach().flatten()
            assert len(found) == (n + k - 1 if mode == "full" else n - k + 1)
            np.testing.assert_allclose(found, np.convolve(x, kernel[::-1], mode), atol=1e-12)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect", "circular"])
def test_every_mode_equals_torchs_for_every_window(mode):
    x = torch.randn(1, 2, 7, 6)
    for k, s, p in itertools.product((1, 2, 3, 4, 5), (1, 2, 3), (0, 1, 2, 3, 4)):
        if p >= k:
            continue
        made = conv_layer((2, 7, 6), channels=3, size=k, stride=s, pad=p, pad_mode=mode)
        theirs = nn.Conv2d(2, 3, k, s, p, padding_mode=mode)
        theirs.load_state_dict(made[""].state_dict())
        torch.testing.assert_close(nn.Sequential(*made.values())(x), theirs(x))


@pytest.mark.parametrize("form", ["[[0,0],[{},{}],[{},{}],[0,0]]", "[[0,0],[0,0],[{},{}],[{},{}]]"])
def test_the_list_in_both_orders_equals_explicit_padding(form):
    """Where a list could be either, as [[0,0],[0,0],[1,2],[0,0]], the order of the notes is meant: the width."""
    x = torch.randn(1, 3, 9, 8)
    for top, bottom, left, right in itertools.product((0, 1, 2), repeat=4):
        sides = (left, right, top, bottom)
        if form.startswith("[[0,0],[0,0]") and left == right == 0:
            sides = (top, bottom, 0, 0)
        net, row = first(f"conv 2 3 pad={form.format(top, bottom, left, right)}")
        torch.testing.assert_close(row(x), F.conv2d(F.pad(x, sides), net.conv1.weight, net.conv1.bias))


def test_the_list_of_the_notes_is_a_padding_of_one():
    """E-48: [[0,0],[1,1],[1,1],[0,0]]."""
    x = torch.randn(1, 3, 9, 8)
    net, row = first("conv 2 3 pad=[[0,0],[1,1],[1,1],[0,0]]")
    torch.testing.assert_close(row(x), F.conv2d(x, net.conv1.weight, net.conv1.bias, padding=1))


MISTAKES = [
    ("conv_transposed 4", "missing size; write `conv_transposed CHANNELS SIZE`"),
    ("conv_transposed 4 3 output_pad=1", "output_pad = 1; it is at most 0, one less than"),
    ("conv_transposed 4 1 pad=5", r"height \(9 - 1\)\*1 - 2\*5 \+ 1 \+ 0 = -1; pad cuts everything off"),
    ("conv_transposed 4 3 groups=2", "3 input channels do not divide into 2 groups"),
    ("conv_transposed 4 3 pad=same", "pad = 'same'; it is a whole number"),
    ("depthwise 10", r"width floor\(\(8 \+ 2\*0 - 10\)/1\) \+ 1 = -1|height floor\(\(9 \+ 2\*0 - 10\)/1\) \+ 1 = 0"),
    ("depthwise 8 3", "depthwise takes size, but 8 3 came"),
    ("separable 3", "missing size; write `separable CHANNELS SIZE`"),
    ("linear 4, local 3 3", r"local wants maps .* \(4,\)"),
    ("linear 4, upsample 2", "upsample wants maps"),
    ("upsample 1.5", "factor = 1.5; it is a whole number"),
    ("linear 4, dropout2d 0.5", "a vector of 4 numbers came. Did you mean 'dropout'"),
    ("droppath 1.0", r"probability = 1.0; it lies between 0 and 0.999"),
    ("droppath", "missing probability"),
    ("droppath 0.1 init=he_normal", "no weights that init could fill"),
    ("drop_path 0.1", "Did you mean 'droppath'"),
    ("deconv 4 3", "Did you mean 'conv_transposed'"),
    ("subsample 20", r"floor\(\(9 \+ 2\*0 - 20\)/20\) \+ 1 = 0"),
    ("instancenorm 3", "instancenorm takes no number"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "words"), MISTAKES)
def test_mistakes_name_the_layer_and_the_numbers(layers, words):
    with pytest.raises(UsageError, match=words) as caught:
        stack(layers + ", linear out")
    assert str(caught.value).startswith("layer ")
    assert len(str(caught.value).splitlines()) <= 3
