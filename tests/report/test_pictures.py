"""What a report shows of the network itself: kernels, patches, gradient flow; and when it does not."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.measures.gradients import GradientFlow, LayerGradient
from netwright.report.inside import FirstKernels, gradients, kernels
from netwright.report.pictures import pictures
from netwright.report.tiles import kernel_grid


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return nw.train("digits", "convnet", epochs=1, out=tmp_path_factory.mktemp("runs") / "digits", quiet=True)


def fills(picture: str) -> list[list[str]]:
    """The colours of each tile's cells, row by row."""
    root = ElementTree.fromstring(picture)
    strips = [group for group in root.iter("g") if "scale" in group.get("transform", "")]
    return [[cell.get("fill") for cell in strip if cell.get("fill")] for strip in strips]


def test_the_grid_shows_sixteen_kernels_of_the_notes_cnn_in_their_colours():
    weights = nw.network("convnet", inputs=(1, 28, 28), outputs=10).conv1[0].weight.detach()
    found = fills(kernel_grid(weights))
    assert [len(cells) for cells in found] == [25] * 16
    flat = weights.flatten(1)
    for cells, kernel in zip(found, flat, strict=True):
        for colour, weight in zip(cells, kernel.tolist(), strict=True):
            red, blue = int(colour[1:3], 16), int(colour[5:7], 16)
            assert (red > blue) == (weight > 0) or abs(weight) < 0.01 * flat.abs().max()
    extreme = int(flat.abs().flatten().argmax())
    expected = "#b2182b" if flat.flatten()[extreme] > 0 else "#2166ac"
    assert found[extreme // 25][extreme % 25] == expected


def test_three_channels_are_colours_and_depth_is_slices():
    weights = torch.zeros(2, 3, 2, 2)
    weights[0, 0, 0, 0], weights[1, 2, 1, 1] = 1, -1
    first, second = fills(kernel_grid(weights))
    assert first == ["#ff8080", "#808080", "#808080", "#808080"]
    assert second[-1] == "#808000"
    assert len(fills(kernel_grid(torch.ones(5, 16, 3, 3)))) == 5 * 8
    assert len(fills(kernel_grid(torch.ones(100, 1, 1, 1)))) == 64
    assert set(fills(kernel_grid(torch.zeros(1, 1, 2, 2)))[0]) == {"#f7f7f7"}
    assert len(fills(kernel_grid(torch.full((1, 1, 2, 2), torch.nan)))) == 1
    for wrong in (torch.ones(3, 3), torch.ones(0, 1, 3, 3)):
        with pytest.raises(UsageError, match="kernels are"):
            kernel_grid(wrong)


def test_the_report_holds_kernels_patches_and_gradients(digits):
    source = digits.write_report().read_text(encoding="utf-8")
    anchors = re.findall(r'<section id="([a-z]+)"', source)
    assert "boundary" not in anchors
    assert anchors.index("mistakes") < anchors.index("kernels") < anchors.index("gradients") < anchors.index("data")
    inside = source.split('<section id="kernels"')[1].split("</section>")[0]
    assert inside.count('<g transform="translate(0 0) scale') == 16
    assert len(re.findall(r"<li><span>\d+</span>", inside)) == 16
    patches = re.findall(
        r'alt="(digits\[\d+\]): rows (-?\d+) to (-?\d+), columns[^"]*" title[^>]*base64,([^"]+)"', inside
    )
    assert len(patches) == 16 * 8
    for _, top, bottom, _ in patches:
        assert int(bottom) - int(top) == 4
    picture = Image.open(io.BytesIO(base64.b64decode(patches[0][3])))
    assert picture.size == (40, 40)
    assert "conv2.0" in source.split('<section id="gradients"')[1].split("</section>")[0]


def test_patches_show_the_pixels_of_their_picture(digits):
    data = nw.read("digits")
    found = pictures(digits.predictor(), data)["kernels"]
    bytes_, told = found.patches[5][1][0]
    row = int(re.match(r"digits\[(\d+)\]", told)[1])
    top, bottom, left, right = map(
        int, re.findall(r"(-?\d+) to (-?\d+)", told)[0] + re.findall(r"(-?\d+) to (-?\d+)", told)[1]
    )
    whole = np.pad(data.source.examples.take(np.array([row]))[0, 0].numpy(), 4)
    expected = whole[top + 4 : bottom + 5, left + 4 : right + 5]
    shown = np.asarray(Image.open(io.BytesIO(bytes_)))[4::8, 4::8]
    np.testing.assert_array_equal(shown, expected)


def test_number_targets_and_networks_of_their_own_rule(tmp_path):
    run = nw.train("diabetes", "mlp", epochs=1, out=tmp_path / "a", quiet=True)
    found = pictures(run.predictor(), nw.read("diabetes"))
    assert set(found) == {"gradients"}
    assert [one.name for one in found["gradients"].layers] == ["hidden1.0", "out"]
    own = nw.train("moons", "perceptron", epochs=1, out=tmp_path / "b", quiet=True)
    assert set(pictures(own.predictor(), nw.read("moons"))) == {"boundary"}


def test_a_module_from_python_and_lost_weights_leave_the_rest_of_the_page(tmp_path):
    data = nw.read("moons")
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    run = nw.train(data, net, epochs=1, out=tmp_path / "run", quiet=True)
    assert 'id="boundary"' in run.write_report().read_text(encoding="utf-8")
    assert 'id="boundary"' not in nw.open(tmp_path / "run").write_report().read_text(encoding="utf-8")
    (tmp_path / "run" / "best.safetensors").unlink()
    source = run.write_report().read_text(encoding="utf-8")
    assert 'id="scores"' in source
    assert 'id="boundary"' not in source


def test_sections_of_nothing_are_empty_and_names_are_text():
    assert kernels(None) == kernels({}) == gradients(None) == gradients([1]) == ""
    name = "<script>alert(1)</script>"
    flow = GradientFlow([LayerGradient(name, "linear", norm, 1.0, 3, True) for norm in (1e-9, 1.0)] * 50, 1.0, 1.0, 4)
    source = gradients(flow) + kernels(FirstKernels(name, torch.ones(1, 1, 2, 2), [(0, [(b"x", '"><b>')])]))
    assert "<script>" not in source
    assert "<b>" not in source
    assert source.count("<tr>") == 61
    broken = GradientFlow([LayerGradient("a", "linear", float("nan"), 1.0, 3, True)] * 2, 1.0, 1.0, 4)
    assert "times" not in gradients(broken)
