"""The picture of a network: well-formed, no boxes over one another, every line between boxes, nothing outside."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from torch import nn

import netwright as nw
from netwright.api import diagram
from netwright.language import speak
from netwright.measures.anatomy import anatomy
from netwright.measures.drawing.boxes import boxes_of, folded
from netwright.measures.drawing.diagram import drawn, laid_out

MNIST = {"inputs": (1, 28, 28), "outputs": 10}
BRANCHES = (
    "conv 8 3 pad=same, relu, repeat 5 (residual(conv 8 3 pad=same, batchnorm, relu, conv 8 3 pad=same)), "
    "parallel(conv 3 1 | conv 4 5 pad=same, relu, conv 4 3 pad=same | maxpool 3 stride=1 pad=same), "
    "globalpool, linear out"
)
NETWORKS = {
    "convnet": MNIST,
    "lenet5": MNIST,
    "lstm": MNIST,
    "stack": {**MNIST, "layers": BRANCHES},
    "resnet50": {"inputs": (3, 224, 224), "outputs": 1000},
    "googlenet": {"inputs": (3, 224, 224), "outputs": 1000},
}


def frames_of(tree, kind):
    spaces = "{http://www.w3.org/2000/svg}"
    found = [rect for rect in tree.iter(f"{spaces}rect") if rect.get("class") == kind]
    return [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in found]


@pytest.mark.parametrize("name", NETWORKS)
def test_geometry(name):
    tree = ElementTree.fromstring(diagram(name, **NETWORKS[name]))
    boxes = frames_of(tree, "box")
    for place, (x, y, wide, high) in enumerate(boxes):
        for a, b, c, d in boxes[:place]:
            assert x >= a + c or a >= x + wide or y >= b + d or b >= y + high
    shift = re.search(r"translate\(([-\d.]+),([-\d.]+)\)", ElementTree.tostring(tree, "unicode"))
    right, bottom = (float(size) for size in tree.get("viewBox").split()[2:])
    for x, y, wide, high in boxes + frames_of(tree, "frame"):
        assert 0 <= x + float(shift[1]) <= right - wide
        assert 0 <= y + float(shift[2]) <= bottom - high
    ends = [(x + wide / 2, y + high) for x, y, wide, high in boxes]
    starts = [(x + wide / 2, y) for x, y, wide, high in boxes]
    lines = [node.get("d") for node in tree.iter("{http://www.w3.org/2000/svg}path") if node.get("class") == "line"]
    assert len(lines) >= len(boxes) - 1
    for line in lines:
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", line)]
        assert any(abs(numbers[0] - x) + abs(numbers[1] - y) < 0.5 for x, y in ends)
        assert any(abs(numbers[-2] - x) + abs(numbers[-1] - y) < 0.5 for x, y in starts)


def test_lines_pass_between_boxes():
    found = nw.anatomy("stack", **NETWORKS["stack"])
    _, rows = laid_out(folded(boxes_of(found.layers)), "in", "out")
    for row in rows:
        for one, two in pairwise(row):
            assert one.x + one.wide / 2 < two.x - two.wide / 2


def test_repetitions_are_folded_and_counted():
    found = nw.anatomy("resnet152", inputs=(3, 224, 224), outputs=1000)
    boxes = boxes_of(found.layers)
    plan = folded(boxes)
    assert sum(box.parameters for box in boxes) == found.parameters
    assert [times for _, _, times in plan.repeats] == [2, 7, 35, 2]
    assert len(plan.boxes) < 50 < 150 < len(boxes)
    folded_weights = sum(box.parameters for box in plan.boxes) + sum(
        (times - 1) * sum(box.parameters for box in plan.boxes[first : last + 1]) for first, last, times in plan.repeats
    )
    assert folded_weights == found.parameters
    text = drawn(found)
    assert text.count('class="frame"') == 4
    assert "&#215; 35" in text


def test_a_hundred_layers_that_do_not_repeat():
    net = nn.Sequential(*(nn.Linear(place, place + 1) for place in range(1, 301)))
    tree = ElementTree.fromstring(drawn(anatomy(net, (1,))))
    assert len(frames_of(tree, "box")) == 302


def test_blocks_that_others_look_into_are_not_folded():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

        def forward(self, x):
            kept = []
            for step in self.steps:
                x = step(x)
                kept.append(x)
            return sum(kept)

    plan = folded(boxes_of(anatomy(Dense(), (4,)).layers))
    assert plan.repeats == []


def test_names_are_escaped_and_words_translated():
    text = drawn(anatomy(nn.Sequential(nn.Linear(2, 1)), (2,), "<b>&"))
    assert "<b>" not in text
    ElementTree.fromstring(text)
    speak("zh")
    try:
        ElementTree.fromstring(diagram("convnet", **MNIST))
    finally:
        speak(None)


def test_sizes_parameters_and_layers_are_written():
    text = diagram("convnet", **MNIST)
    for word in ("16x28x28", "conv 5x5", "12,832 parameters", "maxpool 2x2 /2", "conv1.0, conv1.1", "1568"):
        assert word in text
