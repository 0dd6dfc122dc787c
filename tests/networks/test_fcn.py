"""FCN: counts, the trace at 500, crops, fixed bilinear kernels, masks of any size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.measures.anatomy import anatomy
from netwright.networks.fcn import bilinear_kernel

NAMES = ("fcn32s", "fcn16s", "fcn8s")
VOC = {"kind": "mask", "count": 21}
MASKS = {"kind": "mask", "count": 3}
FIVE = {"kind": "class", "count": 5}
THIN = 0.02


def image(channels, height, width):
    return {"kind": "image", "channels": channels, "height": height, "width": width}


def weightless(name, shape=(3, 500, 500), outputs=VOC, **given):
    with torch.device("meta"):
        return NETWORKS[name](image(*shape), outputs, **given)


@pytest.mark.parametrize(
    ("name", "params", "macs", "fixed"),
    [
        ("fcn32s", 134_346_581, 180_903_432_960, 1_806_336),
        ("fcn16s", 134_357_354, 180_924_248_832, 458_640),
        ("fcn8s", 134_362_751, 180_965_880_576, 127_008),
    ],
)
def test_counts_at_500(name, params, macs, fixed):
    net = weightless(name)
    found = anatomy(net, (3, 500, 500))
    assert (found.parameters, found.macs, found.output) == (params, macs, [21, 500, 500])
    assert (NETWORKS[name].facts["params"], NETWORKS[name].facts["macs"]) == (params, macs)
    assert sum(kernel.numel() * 21 * 21 for kernel in net.buffers()) == fixed  # as the authors store them
    rows = [layer for layer in found.layers if layer.kind == "upsample"]
    assert len(rows) == {"fcn32s": 1, "fcn16s": 2, "fcn8s": 3}[name]
    assert all((layer.macs, layer.parameters) == (0, 0) for layer in rows)


def test_trace_at_500():
    found = anatomy(weightless("fcn8s"), (3, 500, 500))
    rows = {layer.name: layer for layer in found.layers}
    assert rows["features.0"].output == [64, 698, 698]
    poolings = [layer.output[1] for layer in found.layers if layer.kind == "maxpool"]
    assert poolings == [349, 175, 88, 44, 22]
    sizes = [rows[name].output for name in ("fc6", "fc7", "score_fr", "upscore2", "score_pool4", "upscore_pool4")]
    assert sizes == [[4096, 16, 16], [4096, 16, 16], [21, 16, 16], [21, 34, 34], [21, 44, 44], [21, 70, 70]]
    assert rows["upscore"].output == [21, 568, 568]
    assert rows["upscore"].formula == "out = (70 - 1)*8 + 16 = 568"
    last = anatomy(weightless("fcn32s"), (3, 500, 500)).layers[-1]
    assert (last.kind, last.formula) == ("upsample", "out = (16 - 1)*32 + 64 = 544")


@pytest.mark.parametrize("name", NAMES)
def test_the_convolutions_are_vgg16s(name):
    net = weightless(name)
    with torch.device("meta"):
        vgg = NETWORKS["vgg16"](image(3, 224, 224), {"kind": "class", "count": 1000})
    trunk = {key: value.shape for key, value in vgg.state_dict().items() if key.startswith("features")}
    assert {k: v.shape for k, v in net.state_dict().items() if k.startswith("features")} == trunk
    assert net.features[0].padding == (100, 100)
    assert {layer.padding for layer in net.features[1:] if isinstance(layer, nn.Conv2d)} == {(1, 1)}
    assert net.fc6.weight.numel() == vgg.classifier[0].weight.numel()
    own = {key for key in net.state_dict() if not key.startswith("features")}
    scores = {"fcn32s": [], "fcn16s": ["score_pool4"], "fcn8s": ["score_pool4", "score_pool3"]}[name]
    enlarged = {"fcn32s": [], "fcn16s": ["upscore2"], "fcn8s": ["upscore2", "upscore_pool4"]}[name]
    learned = {f"{layer}.{end}" for layer in ("fc6", "fc7", "score_fr", *scores) for end in ("weight", "bias")}
    assert own == learned | {f"{layer}.kernel" for layer in ("upscore", *enlarged)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (64, 65), (97, 130), (31, 200)])
def test_masks_are_as_large_as_the_picture(name, size):
    torch.manual_seed(0)
    net = NETWORKS[name](image(2, *size), MASKS, width=THIN, stem="full").eval()
    found = net(torch.randn(1, 2, *size))
    assert found.shape == (1, 3, *size)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_size_from_1_on_gives_masks(name):
    for stem in ("full", "small"):
        net = weightless(name, (1, 40, 40), MASKS, width=THIN, stem=stem).eval()
        for side in range(1, 101, 3):
            found = net(torch.empty(1, 1, side, 101 - side, device="meta"))
            assert found.shape == (1, 3, side, 101 - side)


def middle(layer):
    """Where the first score's copy lies in the enlarged map: the centre of its kernel."""
    lit = torch.zeros(1, 1, 9, 9)
    lit[0, 0, 4, 4] = 1
    row = layer(lit)[0, 0].sum(1)
    return float((row * torch.arange(len(row))).sum() / row.sum()) - 4 * layer.factor


@pytest.mark.parametrize("stem", ["full", "small"])
@pytest.mark.parametrize("name", NAMES)
def test_the_crops_put_every_pixel_where_it_was(name, stem):
    net = NETWORKS[name](image(1, 64, 64), MASKS, width=THIN, stem=stem)
    shift = net.features[0].padding[0] - 1  # unit i behind p halvings looks at pixel 2^p i + (2^p - 1)/2 - shift
    rest = 3 if stem == "full" else 0
    scale, at = 32, 32 * rest + 15.5 - shift  # score j of fc7 looks at pixel 32 j + at
    steps = [("upscore2", 7.5), ("upscore_pool4", 3.5)][: {"fcn32s": 0, "fcn16s": 1, "fcn8s": 2}[name]]
    for crop, (step, half) in zip(net.crops, steps, strict=False):
        scale, at = scale // 2, at - scale // 2 * middle(getattr(net, step))
        assert scale * crop + half - shift == pytest.approx(at, abs=1e-3)
    assert middle(net.upscore) - at == pytest.approx(net.crops[2], abs=1e-3)
    assert net.crops == ((0, 0, 0) if stem == "small" else (5, 9, {"fcn32s": 19, "fcn16s": 27, "fcn8s": 31}[name]))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_bilinear_kernels_draw_straight_lines(factor):
    size = 2 * factor - factor % 2
    torch.manual_seed(0)
    x = torch.randn(1, 1, 7, 6)
    kernel = bilinear_kernel(size)
    assert kernel.shape == (size, size)
    found = F.conv_transpose2d(x, kernel[None, None], stride=factor, padding=(size - factor + 1) // 2)
    found = found[..., : 7 * factor, : 6 * factor]
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = slice(factor, -factor)
    torch.testing.assert_close(found[..., inside, inside], expected[..., inside, inside])


def test_the_kernels_by_hand():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(4), line[:, None] * line)
    odd = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0]) / 3
    torch.testing.assert_close(bilinear_kernel(5), odd[:, None] * odd)
    assert bilinear_kernel(64).sum().item() == pytest.approx(32 * 32)


def test_fcn8s_step_by_step():
    torch.manual_seed(0)
    net = NETWORKS["fcn8s"](image(3, 70, 90), MASKS, width=THIN, stem="full", init="torch").eval()

    def enlarged(x, factor):
        dense = torch.zeros(3, 3, 2 * factor, 2 * factor)
        dense[range(3), range(3)] = bilinear_kernel(2 * factor)  # one kernel for each pair of classes, as stored once
        return F.conv_transpose2d(x, dense, stride=factor)

    x = y = torch.randn(1, 3, 70, 90)
    pooled = []
    for place, layer in enumerate(net.features):
        if isinstance(layer, nn.Conv2d):
            y = F.relu(F.conv2d(y, layer.weight, layer.bias, padding=1 if place else 100))
        elif isinstance(layer, nn.MaxPool2d):
            y = F.max_pool2d(y, 2, ceil_mode=True)
            pooled.append(y)
    y = net.score_fr(F.relu(net.fc7(F.relu(net.fc6(y)))))
    y = enlarged(y, 2)
    y = y + net.score_pool4(pooled[3])[:, :, 5 : 5 + y.shape[2], 5 : 5 + y.shape[3]]
    y = enlarged(y, 2)
    y = y + net.score_pool3(pooled[2])[:, :, 9 : 9 + y.shape[2], 9 : 9 + y.shape[3]]
    expected = enlarged(y, 8)[:, :, 31 : 31 + 70, 31 : 31 + 90]
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["class", "number"])
def test_classes_get_the_mean_of_their_map(name, kind):
    torch.manual_seed(0)
    net = NETWORKS[name](image(1, 28, 30), {"kind": kind, "count": 3}, width=THIN).eval()
    masks = NETWORKS[name](image(1, 28, 30), MASKS, width=THIN).eval()
    masks.load_state_dict(net.state_dict())
    x = torch.randn(2, 1, 28, 30)
    assert net(x).shape == (2, 3)
    torch.testing.assert_close(net(x), masks(x).mean((2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_small_pictures_get_the_small_form(name):
    net = weightless(name, (3, 32, 32), MASKS)
    rows = {layer.name: tuple(layer.output) for layer in anatomy(net, (3, 32, 32)).layers}
    assert rows["features.0"] == (64, 32, 32)
    assert (rows["fc6"], rows["fc7"], rows["upscore"]) == ((512, 1, 1), (512, 1, 1), (3, 32, 32))
    assert weightless(name, (3, 64, 64)).features[0].padding == (100, 100)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_form_keeps_places(name):
    # with weights that only copy, a bright spot stays where it is
    net = NETWORKS[name](image(1, 60, 60), {"kind": "mask", "count": 1}, width=0.01, stem="small", dropout=0.0).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                high, wide = layer.kernel_size
                layer.weight[0, 0, high // 2, wide // 2] = 1
        x = torch.zeros(1, 1, 60, 60)
        x[..., 32:48, 40:56] = 1
        found = net(x)[0, 0]
    peak = divmod(int(found.argmax()), 60)
    assert 32 - 8 <= peak[0] <= 48 + 8
    assert 40 - 8 <= peak[1] <= 56 + 8


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_every_weight_but_no_kernel(name):
    torch.manual_seed(0)
    net = NETWORKS[name](image(3, 32, 32), FIVE, width=0.1).train()
    before = {key: value.detach().clone() for key, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(torch.randn(8, 3, 32, 32)), torch.arange(8) % 5).backward()
    optimizer.step()
    same = {key for key, value in net.state_dict().items() if torch.equal(value, before[key])}
    assert same == {key for key in before if key.endswith("kernel")} != set()
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("norm", ["none", "batchnorm", "groupnorm(groups=1)", "layernorm"])
def test_any_norm_fits(norm):
    net = NETWORKS["fcn8s"](image(1, 40, 40), FIVE, width=THIN, norm=norm, activation="elu", dropout=0.1).train()
    assert net(torch.randn(2, 1, 40, 40)).shape == (2, 5)
    assert sum(isinstance(layer, nn.ELU) for layer in net.modules()) == 15
    assert (net.dropout6.p, net.dropout7.p) == (0.1, 0.1)


def test_nothing_fully_connected_is_left():
    for name in NAMES:
        assert not any(isinstance(layer, nn.Linear) for layer in weightless(name).modules())
        assert NETWORKS[name].facts["outputs"] == "mask"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exports(name):
    net = NETWORKS[name](image(3, 40, 40), MASKS, width=THIN).eval()
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
