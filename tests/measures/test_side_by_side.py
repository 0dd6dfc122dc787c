"""Two networks beside each other."""

import json

import netwright as nw
from netwright.measures.anatomy.side_by_side import side_by_side

MNIST = {"inputs": (1, 28, 28), "outputs": 10}


def test_totals_differences_and_pairs():
    a, b = nw.anatomy("convnet", **MNIST), nw.anatomy("convnet", width=2.0, **MNIST)
    both = side_by_side(a, b)
    found = json.loads(json.dumps(both.to_json()))
    assert list(found) == ["networks", "difference", "ratio", "layers"]
    assert found["networks"] == [json.loads(json.dumps(one.to_json())) for one in (a, b)]
    assert found["difference"]["parameters"] == b.parameters - a.parameters > 0
    assert found["ratio"]["macs"] == round(b.macs / a.macs, 6)
    names = [layer.name for layer in a.layers]
    assert found["layers"] == [[name, name] for name in names]
    text = str(both)
    assert f"{b.parameters - a.parameters:+,}" in text
    assert any(line.split()[:1] == ["conv1.0"] and "*" in line for line in text.split("\n"))


def test_layers_that_only_one_has_stand_alone():
    a = nw.anatomy("stack", layers="conv 4 3, relu, linear out", **MNIST)
    b = nw.anatomy("stack", layers="conv 4 3, batchnorm, relu, linear out", **MNIST)
    pairs = [(one and one.kind, two and two.kind) for one, two in side_by_side(a, b).layers()]
    assert pairs == [
        ("conv", "conv"), (None, "batchnorm"), ("relu", "relu"), ("flatten", "flatten"), ("linear", "linear"),
    ]  # fmt: skip


def test_a_network_beside_itself_does_not_differ():
    a = nw.anatomy("lstm", **MNIST)
    found = side_by_side(a, a)
    assert set(found.to_json()["difference"].values()) == {0}
    assert "*" not in "".join(str(found).split("\n")[:-1])
