"""Activations against closed forms on a grid, and the facts of their cards."""

import math

import pytest
import torch

from netwright.catalogue import ACTIVATIONS
from netwright.errors import UsageError
from netwright.parts.activations import activation

GRID = torch.linspace(-8, 8, 321, dtype=torch.float64)
SELU = (1.0507009873554805, 1.6732632423543772)
FORMULAS = {
    "relu": lambda x: max(x, 0),
    "leaky_relu(slope=0.1)": lambda x: x if x > 0 else 0.1 * x,
    "elu(alpha=0.5)": lambda x: x if x > 0 else 0.5 * math.expm1(x),
    "selu": lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "relu6": lambda x: min(max(x, 0), 6),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "tanh": math.tanh,
    "scaled_tanh": lambda x: 1.7159 * math.tanh(2 * x / 3),
    "softplus(beta=2)": lambda x: math.log1p(math.exp(2 * x)) / 2,
    "identity": lambda x: x,
}


def test_every_activation_has_a_formula_here():
    assert {spec.split("(")[0] for spec in FORMULAS} == set(ACTIVATIONS)


@pytest.mark.parametrize("spec", FORMULAS)
def test_equals_its_closed_form(spec):
    expected = torch.tensor([FORMULAS[spec](x) for x in GRID.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(spec)(GRID), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_the_card_says_rightly_whether_it_is_monotonic(name):
    steps = ACTIVATIONS[name]()(GRID).diff()
    assert bool((steps >= -1e-12).all()) == ACTIVATIONS[name].facts["monotonic"]


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_the_card_bounds_the_values(name):
    low, high = (float(end.replace("alpha", "1")) for end in ACTIVATIONS[name].facts["values"][1:-1].split(","))
    y = ACTIVATIONS[name]()(torch.linspace(-60, 60, 20001, dtype=torch.float64))
    assert low - 1e-3 <= float(y.min())
    assert float(y.max()) <= high


def test_sigmoid_stays_finite_far_out_and_is_steepest_at_zero():
    x = torch.tensor([-100.0, 0.0, 100.0], requires_grad=True)
    y = activation("sigmoid")(x)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-30)
    assert x.grad.tolist() == pytest.approx([0.0, 0.25, 0.0], abs=1e-30)


def test_derivative_of_relu():
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    activation("relu")(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]


def test_two_calls_give_two_modules():
    assert activation("relu") is not activation("relu")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("rleu", "Did you mean 'relu'"),
        ("leaky_relu(slop=0.1)", "Did you mean 'slope'"),
        ("leaky_relu(slope=7)", "between 0 and 1"),
        ("relu, tanh", "names 2 things"),
        ("relu 3", "takes no number"),
    ],
)
def test_mistakes_are_answered(spec, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        activation(spec)
