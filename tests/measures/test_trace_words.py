"""A trace as text, JSON and a notebook page, the default examples, and what is refused."""

import json

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.measures.trace import example, sizes, trace
from netwright.measures.trace.words import number, products

PICTURE = {"kind": "image", "channels": 1, "height": 28, "width": 28}
TEN = {"kind": "class", "count": 10}


def convnet():
    torch.manual_seed(0)
    model = NETWORKS["convnet"](PICTURE, TEN)
    return trace(model, *example(model, PICTURE, TEN), name="convnet")


def small(**given):
    torch.manual_seed(0)
    return trace(nn.Linear(2, 3), [[1.0, -2.0]], [1], **given)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (20.08553692, "20.0855"), (-0.00001, "-1.000e-05"), (0.0, "0"), (-0.0, "0"), (3.0, "3"),
     (1e9, "1.000e+09"), (float("nan"), "nan"), (0.99999, "1"), (100.0, "100")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_a_long_sum_leaves_its_middle_out():
    one = torch.arange(1.0, 21.0)
    assert products(one[:2], one[:2], [("b", -0.5)]) == "1*1 + 2*2 + (-0.5)"
    assert products(one, one, []).endswith("7*7 + ... + 20*20")


def test_text_stays_within_a_hundred_columns_and_shows_all_phases():
    text = str(convnet())
    assert max(map(len, text.splitlines())) <= 100
    heads = [line.split(":")[0] for line in text.splitlines() if line[:4].isupper()]
    assert heads == ["FORWARD", "LOSS", "BACKWARD", "UPDATE"]
    assert "convnet: one training step as numbers; input 1x28x28, examples: 1" in text
    assert "(16x28x28, first 6x6)" in text


def test_json_is_finite_bounded_and_says_what_it_shortens():
    found = json.loads(json.dumps(convnet().to_json(), allow_nan=False))
    assert found["network"] == "convnet"
    assert {step["phase"] for step in found["steps"]} == {"forward", "loss", "backward", "update"}
    assert all({"phase", "layer", "formula", "numbers"} <= step.keys() for step in found["steps"])
    first = found["steps"][0]["numbers"]
    assert first["output"]["shape"] == [1, 16, 28, 28]
    assert first["output"]["truncated"] is True
    assert len(first["output"]["values"]) == 6

    def longest(value):
        if isinstance(value, dict):
            return max([0, *map(longest, value.values())])
        return max([len(value), *map(longest, value)]) if isinstance(value, list) else 0

    assert max(longest(step["numbers"]) for step in found["steps"]) <= 64
    shown = small().to_json()["steps"][0]["numbers"]
    assert shown["input"] == [[1.0, -2.0]]
    assert len(shown["weight"]) == 3


def test_what_is_not_finite_becomes_null():
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, 1e30)
    found = trace(net, [[1e300]], [[0.0]], optimizer={"name": "sgd", "lr": 1000})
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["loss"]["before"] is None
    assert "inf" in str(found)


def test_long_sequences_are_shortened():
    torch.manual_seed(0)
    inputs = {"kind": "sequence", "steps": 28, "features": 3}
    model = NETWORKS["lstm"](inputs, TEN, hidden=2)
    found = trace(model, *example(model, inputs, TEN))
    steps = found.to_json()["steps"][0]["numbers"]["steps"]
    assert (steps["shape"], steps["truncated"], len(steps["values"])) == ([28], True, 12)
    assert "    ... (28)" in str(found)


def test_the_notebook_page_holds_every_step():
    found = small(name="a<b")
    page = found._repr_html_()
    assert page.count("<tr>") == len(found.steps)
    assert "a&lt;b" in page
    assert "a<b" not in page


def test_digits_places_and_units_choose_what_is_written_out():
    assert len(small(units=1).steps[0].worked) == 1
    assert len(small(units=9).steps[0].worked) == 3
    assert len(small(digits=2).steps[0].worked[0].split()[-1].partition(".")[2]) <= 2
    assert small(most=2).to_json()["steps"][0]["numbers"]["weight"]["shape"] == [3, 2]


def test_examples_are_small_whole_numbers_and_repeat():
    torch.manual_seed(0)
    model = NETWORKS["convnet"](PICTURE, TEN)
    one, two, other = (example(model, PICTURE, TEN, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.target, two.target)
    assert not torch.equal(one.inputs, other.inputs)
    assert one.inputs.shape == (1, 1, 28, 28)
    assert set(one.inputs.flatten().tolist()) == {0, 1, 2, 3}
    assert example(nn.Linear(3, 2), (3,), {"kind": "number", "count": 2}).target.is_floating_point()
    neuron = NETWORKS["perceptron"]({"kind": "vector", "features": 2}, {"kind": "class", "count": 2, "units": 1})
    assert example(neuron, (2,), 2).target.tolist() == [0, 1, 0, 1]
    assert len(example(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), (3,), 2).inputs) == 2


@pytest.mark.parametrize("name", ["perceptron", "logistic", "softmax", "mlp", "convnet", "lstm", "gru", "lenet5"])
def test_small_sizes_make_an_example_of_each_network_of_the_notes(name):
    shape, count = sizes(name)
    axes = {1: ["features"], 2: ["steps", "features"], 3: ["channels", "height", "width"]}[len(shape)]
    kind = {1: "vector", 2: "sequence", 3: "image"}[len(shape)]
    inputs = {"kind": kind, **dict(zip(axes, shape, strict=True))}
    outputs = {"kind": "class", "count": count} | ({"units": 1} if name in ("perceptron", "logistic") else {})
    torch.manual_seed(0)
    model = NETWORKS[name](inputs, outputs)
    found = trace(model, *example(model, inputs, outputs), name=name)
    assert found.network == name
    assert {step.phase for step in found.steps} >= {"forward", "loss", "update"}
    assert not any(step.by == "autograd" for step in found.steps)
    assert max(map(len, str(found).splitlines())) <= 100


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": [[1.0, 2.0, 3.0]]}, "network 'Linear' cannot take examples of shape 3"),
        ({"inputs": [1.0, 2.0]}, "inputs of shape 2; the first axis counts the examples"),
        ({"inputs": [[float("nan"), 1.0]]}, "the inputs hold numbers that are not finite"),
        ({"inputs": "words"}, "inputs cannot be read as numbers"),
        ({"inputs": torch.ones(1, 2, dtype=torch.complex64)}, "inputs cannot be read as numbers"),
        ({"inputs": torch.ones(1, 1_000_001)}, "1,000,001 input numbers are too many"),
        ({"target": [3]}, "target 3: the classes of this network are 0 to 2"),
        ({"target": [-1]}, "target -1: the classes of this network are 0 to 2"),
        ({"target": [0, 1]}, "2 targets for 1 examples"),
        ({"target": None}, "target cannot be read as numbers"),
        ({"target": [[float("inf"), 0.0, 0.0]]}, "the target holds numbers that are not finite"),
        ({"target": [[0.5]]}, r"loss 'mse': outputs \(1, 3\), target \(1, 1\)"),
        ({"loss": "cros_entropy"}, "Did you mean 'cross_entropy'"),
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"optimizer": {"lr": 0.1}}, "a table of settings needs a name"),
        ({"optimizer": {"name": "sgd", "lr": "fast"}}, "lr = 'fast'"),
        ({"places": [(1,)]}, r"places has \(1,\)"),
        ({"model": nn.Linear(2, 3, device="meta")}, "its weights hold no numbers"),
        ({"model": nn.Linear(2000, 2000)}, "4,002,000 parameters are too many to show; at most 2,000,000"),
        ({"model": nn.LazyLinear(3)}, "lazy layers without sizes"),
        ({"model": nn.Sequential(*(nn.Tanh() for _ in range(301)))}, "301 layers are too many to show; at most 300"),
        ({"model": "mlp"}, "works on a torch.nn.Module, but str came"),
        ({"model": nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))}, "Expected more than 1 value per channel"),
        ({"model": nn.LSTM(2, 3)}, "gives no tensor with one row per example"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given, says):
    asked = {"model": nn.Linear(2, 3), "inputs": [[1.0, 2.0]], "target": [0], **given}
    with pytest.raises(UsageError, match=says) as caught:
        trace(asked.pop("model"), asked.pop("inputs"), asked.pop("target"), **asked)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits", "mse"])
def test_targets_may_be_shares_of_the_classes(loss):
    torch.manual_seed(0)
    found = trace(nn.Linear(2, 3), [[1.0, 2.0]], [[0.25, 0.5, 0.25]], loss=loss)
    assert {step.by for step in found.steps} == {"formula"}
    assert found.loss_after < found.loss


def test_a_network_without_weights_is_traced_without_update():
    found = trace(nn.Softplus(), [[1.0, 2.0]], [0])
    assert {step.phase for step in found.steps} == {"forward", "loss", "backward"}
    assert found.loss == found.loss_after
