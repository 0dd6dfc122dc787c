"""Worked arithmetic against automatic differentiation, finite differences, the optimizers and numbers by hand."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.catalogue import LOSSES, NETWORKS, OPTIMIZERS
from netwright.measures.trace import example, trace

AXES = {1: ("vector", "features"), 2: ("sequence", "steps", "features"), 3: ("image", "channels", "height", "width")}


def made(name, shape, count=3, **settings):
    """A network of the catalogue with seeded weights, and its example."""
    kind, *axes = AXES[len(shape)]
    inputs = {"kind": kind, **dict(zip(axes, shape, strict=True))}
    outputs = {"kind": "class", "count": count} | ({"units": 1} if name in ("perceptron", "logistic") else {})
    torch.manual_seed(0)
    model = NETWORKS[name](inputs, outputs, **settings)
    return model, example(model, inputs, outputs)


KINDS = ("class index", "number")


CASES = {
    "mlp": ("mlp", (5,), {"hidden": [4, 3], "activation": "tanh"}),
    "dropout and layernorm": ("mlp", (5,), {"hidden": [4], "norm": "layernorm", "dropout": 0.3}),
    "batchnorm": ("mlp", (5,), {"hidden": [4], "norm": "batchnorm"}),
    "reference": ("softmax", (3,), {"form": "reference"}),
    "convnet": ("convnet", (3, 9, 9), {"width": 0.25, "norm": "groupnorm(groups=2)"}),
    "lenet5": ("lenet5", (1, 32, 32), {}),
    "lstm": ("lstm", (4, 3), {"hidden": 3, "layers": 2, "bidirectional": True}),
    "gru": ("gru", (4, 3), {"hidden": 3, "layers": 2, "bidirectional": True}),
    "rnn": ("rnn", (1, 5, 4), {"hidden": 3}),
    "groups": ("stack", (2, 7, 7), {"layers": "conv 4 3 groups=2 dilation=2, gelu, globalpool, linear out"}),
    "same": (
        "stack",
        (2, 7, 7),
        {"layers": "conv 4 3 pad=same stride=2, lrn 3, maxpool 3 stride=2 pad=same, linear out"},
    ),
    "borders": (
        "stack",
        (2, 7, 7),
        {
            "layers": "conv 4 3 pad=same pad_mode=replicate, elu, conv 4 3 pad=2 pad_mode=reflect, selu, "
            "conv 4 3 pad=2 pad_mode=circular, swish, globalpool kind=max, linear out"
        },
    ),
    "groups of layers": (
        "stack",
        (2, 7, 7),
        {
            "layers": "conv 4 3 pad=full, hard_swish, avgpool 3 stride=2 pad=same, residual(conv 6 3 stride=2 pad=1) "
            "project=true, parallel(conv 2 1 | conv 3 3 pad=same), avgpool 3 stride=2 pad=1 ceil=true count_pad=true, "
            "softplus, linear out"
        },
    ),
    "activations": (
        "stack",
        (2, 7, 7),
        {
            "layers": "avgpool 3 stride=2 ceil=true, maxpool 2 ceil=true, linear 4, sigmoid, leaky_relu, scaled_tanh, "
            "hard_sigmoid, relu6, linear out"
        },
    ),
    "readouts": ("stack", (5, 3), {"layers": "lstm 3, layernorm, rnn 3, mean, linear out"}),
    "largest step": ("stack", (5, 3), {"layers": "gru 3 bidirectional=true, max, linear out"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_error_and_gradient_is_worked_out_by_formula_and_equals_autograd(case):
    name, shape, settings = CASES[case]
    model, (inputs, target) = made(name, shape, **settings)
    found = trace(model, inputs, target, seed=3)
    assert [(step.layer, step.kind) for step in found.steps if step.by == "autograd"] == []
    assert found.difference < 1e-10
    copied = model.double().train()
    torch.manual_seed(3)
    loss = F.cross_entropy(copied(inputs), target)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    gradients = {key: weight.grad for key, weight in copied.named_parameters()}
    assert found.gradients.keys() == gradients.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(found.gradients[key], gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["mlp", "same", "lstm", "gru"])
def test_gradients_equal_finite_differences(case):
    name, shape, settings = CASES[case]
    model, (inputs, target) = made(name, shape, **settings)
    found, copied, small = trace(model, inputs, target), model.double(), 1e-5
    checked = 0
    for key, weight in copied.named_parameters():
        for place in range(0, weight.numel(), max(1, weight.numel() // 5)):
            flat = weight.data.view(-1)
            kept, sides = float(flat[place]), []
            for shift in (small, -small):
                flat[place] = kept + shift
                sides.append(F.cross_entropy(copied(inputs), target).item())
            flat[place] = kept
            slope = (sides[0] - sides[1]) / (2 * small)
            assert float(found.gradients[key].flatten()[place]) == pytest.approx(slope, abs=1e-6)
            checked += 1
    assert checked > 15


def two_two_one():
    """2 inputs, 2 sigmoid units, 1 sigmoid unit, with weights to follow by hand."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid()).double()
    values = ([[0.5, -0.5], [1.0, 2.0]], [0.0, -1.0], [[1.0, -2.0]], [0.5])
    with torch.no_grad():
        for weight, numbers in zip(net.parameters(), values, strict=True):
            weight.copy_(torch.tensor(numbers))
    return net


def test_a_two_two_one_network_by_hand():
    from math import exp

    def s(a):
        return 1 / (1 + exp(-a))

    found = trace(two_two_one(), [[2.0, 1.0]], [[1.0]], loss="half_squared_error", optimizer={"name": "sgd", "lr": 0.5})
    h1, h2 = s(0.5 * 2 - 0.5 * 1), s(1 * 2 + 2 * 1 - 1)
    y = s(1 * h1 - 2 * h2 + 0.5)
    d = (y - 1) * y * (1 - y)  # the delta rule: output error times slope
    d1, d2 = d * 1 * h1 * (1 - h1), d * -2 * h2 * (1 - h2)
    assert found.loss == pytest.approx((y - 1) ** 2 / 2, abs=1e-12)
    assert found.errors["2"].tolist() == [[pytest.approx(d)]]
    assert found.errors["0"].tolist() == [[pytest.approx(d1), pytest.approx(d2)]]
    assert found.after["2.weight"].tolist() == [[pytest.approx(1 - 0.5 * d * h1), pytest.approx(-2 - 0.5 * d * h2)]]
    assert found.after["0.weight"][0].tolist() == [pytest.approx(0.5 - 0.5 * d1 * 2), pytest.approx(-0.5 - 0.5 * d1)]
    assert found.after["0.bias"].tolist() == [pytest.approx(0 - 0.5 * d1), pytest.approx(-1 - 0.5 * d2)]


def test_all_gradients_use_the_weights_from_before_any_update():
    net = two_two_one()
    found = trace(net, [[2.0, 1.0]], [[1.0]], optimizer={"name": "sgd", "lr": 0.5})
    told = {step.layer: step.numbers for step in found.steps if step.phase == "forward"}
    for layer in ("0", "2"):
        assert torch.equal(told[layer]["weight"], net.get_parameter(f"{layer}.weight"))
        assert not torch.equal(found.after[f"{layer}.weight"], net.get_parameter(f"{layer}.weight"))
    assert [step.phase for step in found.steps] == sorted(
        (step.phase for step in found.steps), key=["forward", "loss", "backward", "update"].index
    )


def test_the_model_stays_as_it_is():
    model, (inputs, target) = made("mlp", (5,), hidden=[4], norm="batchnorm", dropout=0.2)
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    trace(model, inputs, target)
    example(model, (5,), 3)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert next(model.parameters()).dtype == torch.float32


def test_the_softmax_of_the_notes():
    net = nn.Identity()
    loss = next(step for step in trace(net, [[3.0, 1.0, -1.0]], [0]).steps if step.phase == "loss")
    row = {key: value[0] for key, value in loss.numbers.items() if isinstance(value, torch.Tensor)}
    assert row["exponentials"].tolist() == pytest.approx([20.0855, 2.7183, 0.3679], abs=1e-4)
    assert float(row["sum"]) == pytest.approx(23.1717, abs=1e-4)
    assert row["probabilities"].tolist() == pytest.approx([0.8668, 0.1173, 0.0159], abs=1e-4)
    assert "p[0] = 20.0855 / 23.1717 = 0.8668" in loss.worked
    assert row["one_hot"].tolist() == [1, 0, 0]
    assert int(row["predicted"]) == 0


def test_softmax_is_shift_invariant_and_its_error_is_p_minus_one_hot():
    z = [[1.0, 2.0, -3.0], [0.5, 0.0, 0.0]]
    found, moved = (trace(nn.Identity(), torch.tensor(z) + shift, [2, 0]) for shift in (0, 1000))
    assert moved.loss == pytest.approx(found.loss, abs=1e-12)
    error = next(step.numbers["error"] for step in found.steps if step.phase == "backward")
    wanted = (torch.tensor(z).double().softmax(1) - F.one_hot(torch.tensor([2, 0]), 3)) / 2
    torch.testing.assert_close(error, wanted)
    json.dumps(moved.to_json(), allow_nan=False)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS])
def test_the_update_is_the_optimizers_own(optimizer):
    model, (inputs, target) = made("mlp", (3,), hidden=[3])
    found = trace(model, inputs, target, optimizer=optimizer)
    copied = model.double()
    step = OPTIMIZERS[optimizer](list(copied.parameters()))
    F.cross_entropy(copied(inputs), target).backward()
    step.step()
    for key, weight in copied.named_parameters():
        torch.testing.assert_close(found.after[key], weight.data, rtol=1e-10, atol=1e-12)
    if optimizer in ("sgd", "momentum", "nesterov", "adam", "adamw"):
        assert {one.by for one in found.steps if one.phase == "update"} == {"formula"}


def test_adam_moves_by_the_rate_at_its_first_step():
    found = trace(two_two_one(), [[2.0, 1.0]], [[1.0]], optimizer={"name": "adam", "lr": 0.25, "eps": 0.0})
    for key, gradient in found.gradients.items():
        torch.testing.assert_close(found.after[key], found.before[key] - 0.25 * gradient.sign())


@pytest.mark.parametrize("loss", [name for name, part in LOSSES.items() if part.facts["target"] in KINDS])
def test_every_loss_gives_its_value_and_its_error(loss):
    torch.manual_seed(1)
    columns = 1 if loss in ("hinge", "squared_hinge", "logistic", "perceptron", "exponential") else 2
    net = nn.Linear(3, columns)
    if LOSSES[loss].facts.get("reads"):
        return check_reading(net, loss)
    number = LOSSES[loss].facts["target"] == "number"
    target = torch.tensor([[1.0, 2.0]]) if number else torch.tensor([1])
    found = trace(net, [[1.0, -2.0, 0.5]], target, loss=loss)
    outputs = net.double()(torch.tensor([[1.0, -2.0, 0.5]]).double())
    value = LOSSES[loss](outputs, target.double() if number else target).mean()
    assert found.loss == pytest.approx(float(value.detach()), rel=1e-12)
    (slope,) = torch.autograd.grad(value, outputs)
    error = next(step.numbers["error"] for step in found.steps if step.phase == "backward")
    torch.testing.assert_close(error, slope, rtol=1e-10, atol=1e-12)


def check_reading(net, loss):
    """Losses that read (log-)probabilities get them, as in training."""
    twin = {"nll": "cross_entropy", "bce": "bce_with_logits"}[loss]
    found, other = (trace(net, [[1.0, -2.0, 0.5]], [1], loss=name) for name in (loss, twin))
    assert found.loss == pytest.approx(other.loss, abs=1e-9)


def test_equal_weights_stay_equal_and_random_ones_do_not():
    for init, equal in (("constant(value=0.5)", True), ("glorot_uniform", False)):
        model, (inputs, target) = made("mlp", (3,), hidden=[4], activation="tanh", init=init)
        rows = trace(model, inputs, target).after["hidden1.0.weight"]
        assert bool((rows == rows[0]).all()) == equal


def test_a_line_is_fitted_step_by_step_with_w_and_b_shown():
    net, x = nn.Linear(1, 1), torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    for _ in range(150):
        found = trace(net, x, 3 * x - 2, optimizer={"name": "sgd", "lr": 0.2})
        net.load_state_dict(found.after)
    assert found.after["weight"].item() == pytest.approx(3, abs=1e-3)
    assert found.after["bias"].item() == pytest.approx(-2, abs=1e-3)


def test_the_perceptron_learns_by_rosenblatts_rule():
    model, _ = made("perceptron", (2,), 2)
    x, t = torch.tensor([[1.0, 2.0], [3.0, -1.0], [-2.0, 1.0]]), torch.tensor([1, 0, 1])
    found = trace(model, x, t, optimizer={"name": "sgd", "lr": 1.0})
    w, b, mistakes = torch.zeros(2).double(), 0.0, []
    for row, label in zip(x.double(), t.tolist(), strict=True):
        sign = 2 * label - 1
        mistakes.append(sign * float(w @ row + b) <= 0)
        if mistakes[-1]:
            w, b = w + sign * row, b + sign
    assert found.after["out.weight"].tolist() == [w.tolist()]
    assert found.after["out.bias"].tolist() == [b]
    assert [step.numbers["mistake"] for step in found.steps if step.phase == "loss"] == mistakes
    assert found.rule


def test_frozen_weights_get_no_gradient_and_do_not_move():
    model, (inputs, target) = made("mlp", (3,), hidden=[3])
    model.hidden1.requires_grad_(False)
    found = trace(model, inputs, target)
    assert set(found.gradients) == {"out.weight", "out.bias"}
    assert torch.equal(found.after["hidden1.0.weight"], found.before["hidden1.0.weight"])
    assert [step.layer for step in found.steps if step.phase == "update"] == ["out.weight", "out.bias"]


class Own(nn.Module):
    """What plain functions do between layers has no rule."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(3, 3), nn.Linear(3, 2), nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.b(torch.sin(self.a(x)) * self.scale)


def test_what_has_no_rule_is_taken_from_autograd_and_marked():
    torch.manual_seed(0)
    net, x = Own(), torch.tensor([[1.0, -1.0, 2.0]])
    found = trace(net, x, [1])
    by = {(step.phase, step.layer): step.by for step in found.steps}
    assert (by["backward", "b"], by["backward", "a"], by["update", "scale"]) == ("formula", "autograd", "autograd")
    copied = net.double()
    F.cross_entropy(copied(x.double()), torch.tensor([1])).backward()
    for key, weight in copied.named_parameters():
        torch.testing.assert_close(found.gradients[key], weight.grad, rtol=1e-10, atol=1e-12)
    assert "numbers by autograd" in str(found)


def test_a_layer_used_twice_adds_up_its_gradients():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    found = trace(nn.Sequential(shared, nn.Tanh(), shared), [[1.0, -1.0, 2.0]], [1])
    assert [step.layer for step in found.steps if step.phase == "forward"] == ["0", "1", "0 (2)"]
    assert {step.by for step in found.steps} == {"formula"}
    calls = [step.numbers["gradients"]["weight"] for step in found.steps if "gradients" in step.numbers]
    torch.testing.assert_close(sum(calls), found.gradients["0.weight"])
