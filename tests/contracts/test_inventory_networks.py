"""The seed inventory, sections G to J: convolution, padding, pooling, counting formulas, the named networks."""

import json
import subprocess
import sys
from itertools import product
from math import ceil, prod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paper import build, counted, shapes, weightless
from torch import nn

import netwright as nw
from netwright.cards import STAGES, family_tree, listing
from netwright.catalogue import ACTIVATIONS, NETWORKS, POOLING
from netwright.errors import UsageError
from netwright.measures.consistency import shift_consistency
from netwright.measures.convolution import convolve, convolve_fft, positions, visits
from netwright.measures.kernels import kernels, strongest_patches
from netwright.networks.convolutions import LocallyConnected2d
from netwright.networks.fully_convolutional import to_fully_convolutional
from netwright.networks.stack import conv_stack
from netwright.parts.activations.curves import curve
from netwright.parts.windows import output_size, padded_size, same_sides

ROOT = Path(__file__).parents[2]
DRAW = np.random.default_rng(0)


def stack(layers, shape=(1, 28, 28), outputs=10):
    torch.manual_seed(0)
    return nw.network("stack", inputs=shape, outputs=outputs, layers=layers)


def first(layers, shape):
    """The layers of a stack without its last linear one."""
    return nn.Sequential(*list(stack(f"{layers}, linear out", shape))[:-2])


def only(layer, shape):
    return nw.anatomy(layer, inputs=shape).layers[0]


def pixels(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# G. convolution ---------------------------------------------------------------------------------------------------


def test_s137_loops_equal_torch():
    for k, s, p, d, groups in [(3, 1, 0, 1, 1), (2, 2, 1, 1, 2), (3, 2, 2, 2, 1), (1, 3, 0, 1, 2), (4, 1, 3, 1, 2)]:
        x, w, b = DRAW.normal(size=(4, 9, 8)), DRAW.normal(size=(6, 4 // groups, k, k)), DRAW.normal(size=6)
        theirs = F.conv2d(*map(torch.from_numpy, (x[None], w, b)), s, p, d, groups)[0]
        np.testing.assert_allclose(convolve(x, w, b, s, p, d, groups), theirs, atol=1e-12)


def test_s138_s139_fourier_transforms_and_the_turned_kernel():
    x, k = DRAW.normal(size=(7, 6)), DRAW.normal(size=(3, 4))
    direct = convolve(x[None], k[None, None], pad="full", flip=True)[0]
    np.testing.assert_allclose(convolve_fft(x, k), direct, atol=1e-5)
    turned = convolve(x[None], k[None, None, ::-1, ::-1], pad="full")[0]
    np.testing.assert_allclose(turned, direct)
    plain, flipped = first("conv 2 3", (1, 6, 6)), first("conv 2 3 flip_kernel=true", (1, 6, 6))
    with torch.no_grad():
        flipped[0].weight.copy_(plain[0].weight.flip(2, 3))
        flipped[0].bias.copy_(plain[0].bias)
    torch.testing.assert_close(flipped(pixels(2, 1, 6, 6)), plain(pixels(2, 1, 6, 6)))


def test_s140_s141_s142_the_three_cases():
    assert only(nn.Conv2d(1, 1, 3), (1, 5, 5)).parameters == 10  # E-47: the third number is the depth
    assert convolve(np.ones((1, 5, 5)), np.ones((1, 1, 3, 3)), [0]).shape == (1, 3, 3)
    assert only(nn.Conv2d(3, 1, 3), (3, 5, 5)).parameters == 28
    x, deep, many = DRAW.normal(size=(3, 5, 5)), DRAW.normal(size=(1, 3, 3, 3)), DRAW.normal(size=(4, 3, 3, 3))
    alone = sum(convolve(x[c : c + 1], deep[:, c : c + 1]) for c in range(3)) + 0.5
    np.testing.assert_allclose(convolve(x, deep, [0.5]), alone)
    stacked = np.concatenate([convolve(x, many[o : o + 1], [o]) for o in range(4)])
    np.testing.assert_allclose(convolve(x, many, range(4)), stacked)
    assert len(nn.Conv2d(3, 4, 3).bias) == 4


def test_s143_kernels_are_as_deep_as_the_input():
    with pytest.raises(UsageError, match="kernels are 3 deep, but 4 channels in 1 groups need 4"):
        convolve(np.ones((4, 5, 5)), np.ones((2, 3, 3, 3)))
    with pytest.raises(UsageError, match=r"(?s)3.*4|4.*3"):
        nw.anatomy(nn.Conv2d(3, 2, 3), inputs=(4, 5, 5))


def test_s144_s145_channels_are_kernels():
    layer = first("conv 192 3", (3, 8, 8))[0]
    assert layer.out_channels == len(layer.weight) == 192
    assert only(layer, (3, 8, 8)).formula.split("; ")[1] == "parameters = 3*3*3*192 + 192 = 5,376"
    assert only(nn.Conv2d(3, 192, 3, bias=False), (3, 8, 8)).parameters == 5_184  # E-21: weights, not kernels


def test_s146_s147_s148_output_sizes():
    assert all(output_size(n, k) == n - k + 1 for n in range(1, 9) for k in range(1, n + 1))
    assert (output_size(5, 3), output_size(5, 3, 2)) == (3, 2)
    tried = 0
    while tried < 10_000:
        k, s, p, d, n = (int(DRAW.integers(low, high)) for low, high in ((1, 6), (1, 5), (0, 5), (1, 4), (1, 40)))
        if n + 2 * p < d * (k - 1) + 1:
            continue
        tried += 1
        x, w = torch.empty(1, 1, n, device="meta"), torch.empty(1, 1, k, device="meta")
        theirs = F.conv1d(x, w, stride=s, padding=p, dilation=d).shape[2]
        assert output_size(n, k, s, p, d) == theirs


def test_s149_strides_skip_pixels():
    assert positions(7, 3) == [0, 1, 2, 3, 4]
    assert positions(7, 3, 2) == [0, 2, 4]
    assert positions(7, 3, 3, 1) == [-1, 2, 5]
    assert first("conv 2 3", (1, 6, 6))[0].stride == (1, 1)


def test_s150_s151_s152_same_and_valid():
    assert output_size(28, 5, 1, 2) == 28
    for n, k, s in product(range(1, 13), repeat=3):
        before, after = same_sides(n, k, s)
        total = max((ceil(n / s) - 1) * s + k - n, 0)
        assert (before + after, after - before) == (total, total % 2)  # the extra pixel at the bottom or right
        assert padded_size(n, k, s, (before, after)) == ceil(n / s)
    for k, s in [(3, 1), (4, 1), (3, 2), (2, 2)]:
        assert first(f"conv 4 {k} stride={s} pad=same", (1, 28, 28))(pixels(1, 1, 28, 28)).shape[2:] == (28 // s,) * 2
    assert first("conv 48 3", (1, 28, 28))(pixels(1, 1, 28, 28)).shape == (1, 48, 26, 26)


def test_s153_padding_as_the_notes_list():
    x = pixels(2, 3, 6, 7)
    net = first("conv 4 3 pad=[[0,0],[1,1],[1,1],[0,0]]", (3, 6, 7))
    torch.testing.assert_close(net(x), F.conv2d(x, net[-1].weight, net[-1].bias, padding=1))
    for pad in ("[[0,0],[1,2],[0,3],[0,0]]", "[[0,0],[0,0],[1,2],[0,3]]"):  # the second is batch, channels first
        net = first(f"conv 4 3 pad={pad}", (3, 6, 7))
        padded = F.pad(x, (0, 3, 1, 2))
        torch.testing.assert_close(net(x), F.conv2d(padded, net[-1].weight, net[-1].bias))
    with pytest.raises(UsageError, match="pads the batch or the channels"):
        stack("conv 4 3 pad=[[1,1],[1,1],[1,1],[0,0]], linear out")


def test_s154_s155_full_and_half_padding():
    x, k = DRAW.normal(size=9), DRAW.normal(size=4)
    found = convolve(x[None, None], k[None, None, None], pad="full", flip=True)
    np.testing.assert_allclose(found[0, 1 * (len(k) - 1) // (len(k) - 1) - 1], np.convolve(x, k))
    assert convolve(np.ones((1, 5, 6)), np.ones((1, 1, 3, 3)), pad="full").shape == (1, 7, 8)
    assert (visits(6, 3, 1, "full") == 9).all()
    assert not (visits(6, 3, 2, "full") == visits(6, 3, 2, "full")[0, 0]).all()  # E-54: stride 1 only
    half = visits(6, 3, 1, "same")
    assert half[0, 0] < half[0, 3] < half[3, 3] == 9


def test_s156_padding_between_valid_and_full_and_beyond():
    for p in range(5):
        assert first(f"conv 2 3 pad={p}", (1, 8, 8))(pixels(1, 1, 8, 8)).shape[2] == 8 + 2 * p - 2
        warned = "read nothing of the map" in only(nn.Conv2d(1, 2, 3, padding=p), (1, 8, 8)).formula
        assert warned is (p > 2)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect", "circular"])
def test_s157_values_of_the_padding(mode):
    x, net = pixels(2, 1, 6, 7), first(f"conv 4 3 pad=1 pad_mode={mode}", (1, 6, 7))
    theirs = nn.Conv2d(1, 4, 3, padding=1, padding_mode=mode)
    theirs.load_state_dict(net[-1].state_dict())
    torch.testing.assert_close(net(x), theirs(x))


def test_s158_receptive_fields_of_stacked_kernels():
    def field(*kernels):
        return nw.anatomy(nn.Sequential(*(nn.Conv2d(1, 1, k) for k in kernels)), inputs=(1, 12, 12)).receptive_field

    assert field(3, 3)["size"] == field(5)["size"] == [5, 5]
    assert field(3, 3, 3)["size"] == [7, 7]


def test_s159_an_edge_kernel_answers_at_the_edge():
    net = nn.Conv2d(1, 1, (1, 2), bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[[[-1.0, 1.0]]]]))
    pictures = torch.zeros(2, 1, 8, 8)
    pictures[1, :, 3, 5:] = 1
    assert (net(pictures)[1, 0] > 0).nonzero().tolist() == [[3, 4]]
    ((best,),) = strongest_patches(nn.Sequential(net), "0", pictures)
    assert (best.picture, best.row, best.column, best.value) == (1, 3, 4, 1.0)
    assert best.cut(pictures[1]).flatten().tolist() == [0, 1]


def test_s160_a_map_is_an_array_of_neurons_with_one_kernel():
    assert only(nn.Conv2d(1, 6, 5), (1, 32, 32)).neurons == 6 * 28 * 28


def test_s161_the_notes_cnn_has_16_kernels_to_look_at():
    net, x = nw.network("convnet", inputs=(1, 28, 28), outputs=10), pixels(1, 1, 28, 28)
    found = kernels(net)
    assert found.shape == (16, 1, 5, 5)
    patch = x[0, 0, 10:15, 10:15].double()  # a filter's answer is the sum of filter times patch, plus a bias
    answer = net.conv1[0](x)[0, :, 12, 12].double() - net.conv1[0].bias
    torch.testing.assert_close((found[:, 0] * patch).sum((1, 2)), answer, rtol=1e-4, atol=1e-5)


def test_s162_s163_s164_full_and_local_connection_and_sharing():
    whole = nw.anatomy(nn.Linear(10**6, 10**6, bias=False, device="meta"), inputs=10**6)
    assert f"{whole.parameters:,}" == "1,000,000,000,000"
    layers = "local 1 10 pad=same bias=false, globalpool, linear out"
    local = nw.anatomy("stack", inputs=(1, 1000, 1000), outputs=10, layers=layers).layers
    count = next(layer.parameters for layer in local if layer.parameters == 10**8)
    assert count * 10**4 == whole.parameters  # E-05: one ten-thousandth
    assert only(nn.Conv2d(1, 1, 10, bias=False), (1, 100, 100)).parameters == 100
    conv, tied = nn.Conv2d(2, 3, 3), LocallyConnected2d(2, 3, (4, 5), (3, 3), (1, 1), (0, 0), True)
    with torch.no_grad():
        tied.weight.copy_(conv.weight.expand(20, -1, -1, -1, -1))
        tied.bias.copy_(conv.bias[:, None, None].expand(3, 4, 5))
    torch.testing.assert_close(tied(pixels(2, 2, 6, 7)), conv(pixels(2, 2, 6, 7)))


def test_s165_blocks_of_convolution_and_pooling_then_linear_layers():
    """M convolutions and a pooling, N times, then K linear layers: the notes' CNN, a LeNet's and VGG's form."""
    notes = stack(conv_stack([16, 32], kernel=5))
    assert sum(p.numel() for p in notes.parameters()) == 28_938
    assert notes(pixels(1, 1, 28, 28)).shape == (1, 10)
    lenet = stack(conv_stack([6, 16], kernel=5, pad="valid", linear=[120, 84]), (1, 32, 32))
    assert sum(p.numel() for p in lenet.parameters()) == 61_706
    vgg = conv_stack([64, 128, 256, 512, 512], convs=[1, 1, 2, 2, 2], linear=[4096, 4096])
    found = nw.anatomy("stack", inputs=(3, 224, 224), outputs=1000, layers=vgg)
    assert found.parameters == NETWORKS["vgg11"].facts["params"]
    assert [layer.output for layer in found.layers if layer.kind == "maxpool"][-1] == [512, 7, 7]


# G. pooling, linear layers ----------------------------------------------------------------------------------------


def test_s166_s167_max_and_mean():
    x = pixels(2, 3, 7, 8).requires_grad_()
    y = POOLING["maxpool"]((3, 7, 8), size=2)(x)
    torch.testing.assert_close(y, F.max_pool2d(x, 2))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert int(slope.count_nonzero()) == y.numel()  # the largest of each window alone
    assert (x[slope == 1].sort().values == y.flatten().sort().values).all()
    for counts in (True, False):
        ours = POOLING["avgpool"]((3, 7, 8), size=3, stride=2, pad=1, count_pad=counts)
        torch.testing.assert_close(ours(x), F.avg_pool2d(x, 3, 2, 1, count_include_pad=counts))


def test_s168_s169_what_is_left_over_and_no_weights():
    for up, side in ((False, 2), (True, 3)):
        pool = POOLING["maxpool"]((1, 5, 5), size=2, ceil=up)
        assert pool(pixels(1, 1, 5, 5)).shape == (1, 1, side, side)
    for name in ("maxpool", "avgpool", "lppool", "globalpool", "adaptivepool"):
        assert sum(p.numel() for p in POOLING[name]((2, 6, 6)).parameters()) == 0


def test_s170_s182_lenets_pooling_has_weights():
    for channels, wanted in ((6, 12), (16, 32)):
        layer = POOLING["subsample"]((channels, 8, 8))
        assert sum(p.numel() for p in layer.parameters()) == wanted
        assert f"parameters = {channels}*(1 + 1) = {wanted}" in only(layer, (channels, 8, 8)).formula


def test_s171_s172_what_pooling_is_blind_to():
    x = torch.zeros(4, 1, 32, 32)
    for row in range(4):
        x[row, 0, 8 + row : 20, 10 : 14 + 2 * row] = 1
    x = F.avg_pool2d(x, 3, 1, 1)
    found = shift_consistency(nn.MaxPool2d(8), x)
    assert found.shift[1] < found.raw["shift"][1]
    assert min(found.rotation[45.0], found.scale[0.5]) > found.shift[1]  # E-49: small shifts only
    errors = [shift_consistency(nn.MaxPool2d(k), x[:1]).position_error for k in (1, 2, 4, 8)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


def test_s173_overlapping_pooling():
    assert POOLING["maxpool"]((1, 55, 55), size=3, stride=2)(pixels(1, 1, 55, 55)).shape[2] == 27


@pytest.mark.parametrize(("family", "name", "shape"), [("CNN", "convnet", (1, 8, 8)), ("RNN", "lstm", (4, 3))])
def test_s174_families_of_algorithms_train(family, name, shape):
    """The families that this catalogue holds so far; autoencoders, Boltzmann machines and the rest come with theirs."""
    net, x = nw.network(name, inputs=shape, outputs=2), pixels(6, *shape)
    before = [p.detach().clone() for p in net.parameters()]
    for _ in nw.steps(nw.read(x, torch.arange(6) % 2, test=0.0, validation=0.0, normalize="none"), net, epochs=1):
        assert not all(map(torch.equal, before, net.parameters()))


def test_s175_s187_flatten_and_classify():
    found = nw.anatomy("convnet", inputs=(1, 28, 28), outputs=10)
    ends = [(layer.kind, layer.output) for layer in found.layers if layer.kind in ("flatten", "linear")]
    assert ends == [("flatten", [1568]), ("linear", [10])]
    assert found.layers[-1].formula.startswith("parameters = 1568*10 + 10 = 15,690")


def test_s176_linear_layers_as_convolutions():
    net = nw.network("convnet", inputs=(1, 12, 12), outputs=3).eval()
    made = to_fully_convolutional(net, (1, 12, 12))
    x = pixels(2, 1, 12, 12)
    torch.testing.assert_close(made(x).flatten(1), net(x), rtol=1e-4, atol=1e-5)
    assert made(pixels(1, 1, 40, 28)).shape == (1, 3, 8, 5)
    kernel = [one for one in made.modules() if isinstance(one, nn.Conv2d)][-1]
    assert (kernel.kernel_size, kernel.out_channels) == ((3, 3), 3)  # E-10: the number of kernels is free


def test_s177_s178_the_softmax_layer_and_local_averaging():
    p = ACTIVATIONS["softmax"]()(torch.tensor([[3.0, 1.0, -1.0]]))
    assert p[0].tolist() == pytest.approx([0.8668, 0.1173, 0.0159], abs=1e-4)
    mean = POOLING["avgpool"]((1, 2, 2))(torch.tensor([[[[1.0, 2.0], [5.0, 8.0]]]]))
    assert mean.item() == 4


# H. counting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg11", "mobilenet_v2", "alexnet_2012", "googlenet"])
def test_s179_s180_s186_parameters_and_multiply_adds_of_every_convolution(name):
    shape = NETWORKS[name].facts["at"]
    net = weightless(name, shape)
    rows = {layer.name: layer for layer in counted(name, shape).layers}
    for label, conv in net.named_modules():
        if isinstance(conv, nn.Conv2d):
            window, depth, row = prod(conv.kernel_size), conv.in_channels // conv.groups, rows[label]
            biases = conv.out_channels * (conv.bias is not None)
            assert (
                row.parameters
                == window * depth * conv.out_channels + biases
                == sum(p.numel() for p in conv.parameters())
            )
            assert row.macs == prod(row.output) * window * depth  # E-51: the output's size holds its channels


def test_s181_s183_s184_s185_lenets_numbers():
    found = {layer.name: layer for layer in nw.anatomy("lenet5", inputs=(1, 32, 32), outputs=10).layers}
    assert (found["c1"].parameters, found["c1"].neurons, found["c1"].connections) == (156, 4_704, 122_304)
    assert found["c3"].parameters == 1_516 != 16 * (5 * 5 + 1)  # E-50: a table, not one input map
    assert (found["c5"].connections, found["c5"].output) == (120 * (16 * 25 + 1), [120, 1, 1])
    assert sum(layer.connections for layer in found.values()) == 340_908


def test_s188_s189_s190_savings_of_smaller_kernels():
    def weights(*kernels):
        return sum(only(nn.Conv2d(5, 5, k, bias=False), (5, 9, 9)).parameters for k in kernels)

    assert 1 - weights(3, 3) / weights(5) == pytest.approx(0.28)
    assert 1 - weights((1, 3), (3, 1)) / weights(3) == pytest.approx(1 / 3)  # E-25
    assert 1 - weights((1, 7), (7, 1)) / weights(7) == pytest.approx(35 / 49)
    sizes = [only(nn.Conv2d(5, 5, 3), (5, n, n)).parameters for n in (8, 64)]
    assert sizes[0] == sizes[1]  # E-22: the kernel's size, not the input's


def test_s191_an_inception_module_with_and_without_its_reductions():
    x = (192, 28, 28)
    naive = nn.Conv2d(192, 32, 5, padding=2)
    reduced = nn.Sequential(nn.Conv2d(192, 16, 1), nn.ReLU(), nn.Conv2d(16, 32, 5, padding=2))
    counts = [nw.anatomy(one, inputs=x).macs for one in (naive, reduced)]
    assert counts == [120_422_400, 12_443_648]
    module = [
        layer for layer in counted("googlenet", (3, 224, 224)).layers if layer.name.startswith("inception3a.branch3")
    ]
    assert sum(layer.macs for layer in module) == 12_443_648


# I. the notes' networks -------------------------------------------------------------------------------------------


def test_s192_the_notes_cnn():
    net = nw.network("convnet", inputs=(1, 28, 28), outputs=10)
    assert {name.rpartition(".")[0] for name in net.state_dict()} == {"conv1.0", "conv2.0", "out"}
    found = nw.anatomy(net, inputs=(1, 28, 28))
    assert (found.parameters, found.macs) == (28_938, 2_838_080)
    outputs = [layer.output for layer in found.layers if layer.kind in ("conv", "relu", "maxpool", "flatten", "linear")]
    assert outputs == [[16, 28, 28]] * 2 + [[16, 14, 14]] + [[32, 14, 14]] * 2 + [[32, 7, 7], [1568], [10]]


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "least"), [("convnet", 0.98), ("lstm", 0.95)])
def test_s192_s193_on_mnist(shared_data, tmp_path, name, least):
    run = nw.train(nw.read(shared_data / "mnist"), name, epochs=1, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] >= least


def test_s193_the_notes_lstm():
    net = nw.network("lstm", inputs=(28, 28), outputs=10)
    assert {name.partition(".")[0] for name in net.state_dict()} == {"rnn", "out"}
    assert sum(p.numel() for p in net.rnn.parameters()) == 24_064
    assert sum(p.numel() for p in net.parameters()) == 24_714
    states, (last, _) = net.rnn(pixels(3, 28, 28), None)
    torch.testing.assert_close(states[:, -1], last[0])


def test_s194_networks_give_plain_scores():
    for name, shape in (("convnet", (1, 8, 8)), ("lstm", (4, 3)), ("mlp", (6,)), ("softmax", (6,))):
        net = nw.network(name, inputs=shape if len(shape) > 1 else shape[0], outputs=3).eval()
        assert net(10 * pixels(8, *shape)).min().item() < 0  # neither probabilities nor a loss
        assert not [one for one in net.modules() if isinstance(one, (nn.Softmax, nn.LogSoftmax, nn.Sigmoid))]


@pytest.mark.parametrize(("layers", "ways"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_s195_shapes_of_the_recurrent_outputs(layers, ways):
    net = nw.network("lstm", inputs=(9, 5), outputs=2, hidden=7, layers=layers, bidirectional=ways == 2)
    out, (h, c) = net.rnn(pixels(4, 9, 5))
    assert (out.shape, h.shape, c.shape) == ((4, 9, 7 * ways), (layers * ways, 4, 7), (layers * ways, 4, 7))
    torch.testing.assert_close(out[:, -1, :7], h[-ways])  # E-03: the top layer, forward direction


# J. named networks ------------------------------------------------------------------------------------------------

COUNTS = {
    "s196": {"lenet5": 60_000}, "s197": {"alexnet_2012": 60_965_224, "alexnet": 61_100_840},
    "s198": {"vgg11": 132_863_336, "vgg16_c": 133_638_952, "vgg16": 138_357_544, "vgg19": 143_667_240},
    "s199": {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet152": 60_192_808},
    "s201": {"googlenet": 6_998_552}, "s202": {"bn_inception": 11_295_240}, "s203": {"inception_v3": 23_834_568},
    "s204": {"inception_v4": 42_679_816}, "s205": {"inception_resnet_v2": 55_843_464},
    "s206": {"nasnet_mobile": 5_289_978, "nasnet_large": 88_753_150, "nasnet_cifar": 3_346_538},
    "s207": {"mobilenet_v1": 4_231_976, "mobilenet_v2": 3_504_872, "mobilenet_v3_large": 5_483_032,
             "mobilenet_v3_small": 2_542_856},
}  # fmt: skip


@pytest.mark.parametrize(("name", "wanted"), [pair for row in COUNTS.values() for pair in row.items()])
def test_s196_s197_s198_s199_s201_s202_s203_s204_s205_s206_s207_parameters(name, wanted):
    facts = NETWORKS[name].facts
    net = weightless(name, facts["at"], facts.get("classes_at", 1000))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == wanted == facts["params"]


def test_s196_connections_of_lenet():
    assert nw.anatomy("lenet5", inputs=(1, 32, 32), outputs=10).connections == 340_908


def test_s197_two_groups_and_crops():
    net = weightless("alexnet_2012", (3, 227, 227))
    assert [one.groups for one in net.modules() if isinstance(one, nn.Conv2d)] == [1, 2, 1, 2, 2]
    assert shapes("alexnet_2012", (3, 227, 227), ["conv1"])["conv1"] == (96, 55, 55)
    assert NETWORKS["alexnet_2012"].settings["activation"].default == "relu"
    card = str(ACTIVATIONS["relu"].build.__doc__)  # E-31: not the first, the first large success on ImageNet
    assert "in 2010; AlexNet (2012) was its first large success on ImageNet" in " ".join(card.split())


def test_s198_vgg_with_local_response_norm():
    assert sum(p.numel() for p in weightless("vgg11_lrn", (3, 224, 224)).parameters()) == 132_863_336
    assert [one for one in weightless("vgg11_lrn", (3, 224, 224)).modules() if "ResponseNorm" in type(one).__name__]


def test_s199_a_residual_branch_of_zeros_is_the_identity():
    net = build("resnet18", (3, 16, 16), width=0.1).eval()
    block, x = net.layer1[1], pixels(2, 6, 8, 8).relu()
    nn.init.zeros_(block.bn2.weight)
    torch.testing.assert_close(block(x), x)
    convs = [one for label, one in weightless("resnet34", (3, 224, 224)).named_modules()
             if isinstance(one, (nn.Conv2d, nn.Linear)) and "downsample" not in label]  # fmt: skip
    assert len(convs) == 34


def test_s200_dense_and_sparse_products_are_timed():
    line = [sys.executable, "-m", "bench.sparse", "--size", "128", "--columns", "16", "--blocks", "4", "--rounds", "2"]
    found = subprocess.run([*line, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    (row,) = json.loads(found.stdout)["rows"]
    assert row["ways"]["blocks"]["macs"] * 4 == row["ways"]["dense"]["macs"] == 128 * 128 * 16
    for way in row["ways"].values():
        assert way["right"]
        assert 0 < way["low"] <= way["seconds"] <= way["high"]


def test_s201_auxiliary_heads():
    with torch.device("meta"):
        net = nw.network("googlenet", inputs=(3, 224, 224), outputs=1000, aux=True)
    assert sum(p.numel() for p in net.parameters()) == NETWORKS["googlenet"].facts["params_aux"] == 13_378_280


def test_s204_no_sums_in_inception_v4():
    def sums(name):
        return [layer for layer in counted(name, NETWORKS[name].facts["at"]).layers if layer.kind == "sum"]

    assert (len(sums("inception_v4")), len(sums("inception_resnet_v2")) > 30) == (0, True)  # E-23
    first = counted("inception_resnet_v1", NETWORKS["inception_resnet_v1"].facts["at"]).parameters
    assert first == NETWORKS["inception_resnet_v1"].facts["params"]
    assert first / 1e6 == pytest.approx(22.76, abs=0.3)


def test_s206_the_error_of_nasnet_names_its_metric():
    facts = NETWORKS["nasnet_large"].facts
    assert facts["error"] == pytest.approx(17.3, abs=0.3)  # E-30: top-1 on ImageNet
    assert "top-1" in facts["error_on"]


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize("shape", [(3, 33, 47), (3, 64, 80)])
def test_s208_scores_as_large_as_the_picture(name, shape):
    with torch.device("meta"):
        inputs = {"kind": "image", "channels": 3, "height": shape[1], "width": shape[2]}
        net = NETWORKS[name](inputs, {"kind": "mask", "count": 5}, width=0.05)
    assert net.eval()(torch.zeros(1, *shape, device="meta")).shape == (1, 5, *shape[1:])
    assert any("ransposed" in line or "bilinear" in line for line in NETWORKS[name].build.__doc__.splitlines())  # E-26


def test_s209_the_family_tree():
    tree = {row["stage"]: [one["name"] for one in row["members"]] for row in family_tree().to_json()["stages"]}
    for stage, name in {"deeper and wider": "vgg16", "new structure": "resnet50", "combination": "inception_resnet_v2",
                        "self-learned": "nasnet_large", "practical": "mobilenet_v1"}.items():  # fmt: skip
        assert name in tree[stage]
    assert list(tree) == list(STAGES)
    assert "alexnet_2012" in tree["deeper and wider"]


def test_s210_models_side_by_side():
    rows = {row["name"]: row for row in listing("networks", "params").parts}
    for name, wanted in (("vgg16", 138_357_544), ("resnet50", 25_557_032), ("mobilenet_v2", 3_504_872)):
        row = rows[name]
        assert (row["params"], row["macs"]) == (wanted, NETWORKS[name].facts["macs"])
        assert 0 < row["error"] < 50


def test_s211_the_two_curves_of_the_activation_plot():
    for name, formula in (("relu", lambda x: max(x, 0)), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))):
        found = curve(name, -6, 6, 25)
        assert found.name == name
        points = [point for piece in found.values for point in piece]
        assert len(points) == 25
        for x, y in points:
            assert y == pytest.approx(formula(x))
