"""Activations against closed forms on a grid, torch, and hand numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from netwright.catalogue import ACTIVATIONS
from netwright.errors import UsageError
from netwright.parts.activations import activation

GRID = torch.linspace(-8, 8, 321, dtype=torch.float64)
SELU = (1.0507009873554805, 1.6732632423543772)
FORMULAS = {
    "relu": lambda x: max(x, 0),
    "leaky_relu(slope=0.1)": lambda x: x if x > 0 else 0.1 * x,
    "prelu(slope=0.3)": lambda x: x if x > 0 else 0.3 * x,
    "elu(alpha=0.5)": lambda x: x if x > 0 else 0.5 * math.expm1(x),
    "celu(alpha=0.5)": lambda x: x if x > 0 else 0.5 * math.expm1(x / 0.5),
    "selu": lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu(approximate=tanh)": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "relu6": lambda x: min(max(x, 0), 6),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
    "tanh": math.tanh,
    "scaled_tanh": lambda x: 1.7159 * math.tanh(2 * x / 3),
    "hard_tanh": lambda x: min(max(x, -1), 1),
    "softsign": lambda x: x / (1 + abs(x)),
    "softplus(beta=2)": lambda x: math.log1p(math.exp(2 * x)) / 2,
    "step": lambda x: float(x >= 0),
    "identity": lambda x: x,
}
TOGETHER = {"maxout", "softmax"}


def test_every_activation_has_a_formula_here():
    assert {spec.split("(")[0] for spec in FORMULAS} | TOGETHER == set(ACTIVATIONS)
    assert {name for name, part in ACTIVATIONS.items() if "acts_on" in part.facts} == TOGETHER


@pytest.mark.parametrize("spec", FORMULAS)
def test_equals_its_closed_form(spec):
    expected = torch.tensor([FORMULAS[spec](x) for x in GRID.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(spec).double()(GRID), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("spec", FORMULAS)
def test_slopes_equal_finite_differences_of_the_closed_form(spec):
    x = torch.tensor([-5.3, -2.1, -0.6, -0.07, 0.03, 0.4, 0.9, 2.2, 4.9, 7.3], dtype=torch.float64, requires_grad=True)
    activation(spec).double()(x).sum().backward()
    f, h = FORMULAS[spec], 1e-5
    expected = [(f(value + h) - f(value - h)) / (2 * h) for value in x.tolist()]
    assert x.grad.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("spec", [*FORMULAS, "softmax"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_number_type_stay_and_far_numbers_are_finite(spec, dtype):
    module = activation(spec).to(dtype)
    x = torch.tensor([-1000.0, -100.0, -1.0, 0.0, 1.0, 100.0, 1000.0]).to(dtype).repeat(2, 3, 1).requires_grad_()
    y = module(x)
    y.sum().backward()
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert bool(torch.isfinite(y).all())
    assert bool(torch.isfinite(x.grad).all())
    assert module(x[:0]).shape == x[:0].shape
    meta = module.to("meta")(x.detach().to("meta"))
    assert (meta.shape, meta.device.type) == (x.shape, "meta")


@pytest.mark.parametrize("spec", [*FORMULAS, "softmax"])
def test_what_is_no_number_is_not_hidden(spec):
    assert bool(activation(spec)(torch.tensor([[1.0, math.nan]])).isnan().any())


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


def test_scaled_tanh_maps_one_to_one():
    assert activation("scaled_tanh")(torch.tensor([-1.0, 1.0])).tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)


def test_the_slope_of_prelu_is_trained():
    module = activation("prelu")
    module(torch.tensor([[-2.0, 3.0], [-1.0, -4.0]])).sum().backward()
    assert module.weight.tolist() == [0.25]
    assert module.weight.grad.tolist() == [-7.0]  # the sum of the negative inputs


def test_step_passes_no_gradient_but_keeps_the_graph():
    front, x = torch.nn.Linear(3, 2), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    activation("step")(front(x)).sum().backward()
    assert torch.equal(front.weight.grad, torch.zeros(2, 3))
    tiny = torch.tensor([-1e-30, 0.0, 1e-30, math.inf, -math.inf])
    assert activation("step")(tiny).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_two_linear_layers_with_nothing_between_are_one():
    first, second = torch.nn.Linear(4, 7, bias=False).double(), torch.nn.Linear(7, 3, bias=False).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    stacked = second(activation("identity")(first(x)))
    torch.testing.assert_close(stacked, x @ (second.weight @ first.weight).T)
    assert not torch.allclose(second(activation("relu")(first(x))), stacked)


# several numbers together -------------------------------------------------------------------------------------------


def test_softmax_sums_to_one_and_is_stable():
    z = torch.tensor([[3.0, 1.0, -1.0], [1000.0, -1000.0, 1000.0], [-1e30, 0.0, 1.0]])
    p = ACTIVATIONS["softmax"]()(z)
    assert p.sum(1).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert p[0].tolist() == pytest.approx([0.866813, 0.117310, 0.015876], abs=1e-6)  # the notes' example
    assert p[1].tolist() == [0.5, 0.0, 0.5]
    torch.testing.assert_close(activation("softmax(dim=0)")(z.T), p.T)
    torch.testing.assert_close(p, F.softmax(z, 1))


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3, 4), (2, 6, 1, 1)])
@pytest.mark.parametrize("pieces", [1, 2, 3, 6])
def test_maxout_takes_the_greatest_of_neighbouring_channels(shape, pieces):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = [x[:, i : i + pieces].max(1).values for i in range(0, 6, pieces)]
    assert torch.equal(ACTIVATIONS["maxout"](pieces=pieces)(x), torch.stack(expected, 1))


def test_maxout_over_steps_of_features():
    x = torch.arange(12.0).reshape(1, 2, 6)
    assert ACTIVATIONS["maxout"](pieces=3)(x).tolist() == [[[2.0, 5.0], [8.0, 11.0]]]


def test_maxout_of_a_number_and_its_negative_is_the_absolute_value():
    x = GRID[:, None]
    assert torch.equal(ACTIVATIONS["maxout"]()(torch.cat([x, -x], 1)), x.abs())


def test_maxout_refuses_what_does_not_divide():
    for shape in ((2, 5), (2, 5, 4, 4), (2, 4, 5)):
        with pytest.raises(UsageError, match="5 channels do not divide into groups of 2"):
            ACTIVATIONS["maxout"]()(torch.zeros(shape))
    with pytest.raises(UsageError, match=r"pieces = 0"):
        ACTIVATIONS["maxout"](pieces=0)


# names and settings -------------------------------------------------------------------------------------------------


def test_two_calls_give_two_modules():
    assert activation("relu") is not activation("relu")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("rleu", "Did you mean 'relu'"),
        ("leaky_relu(slop=0.1)", "Did you mean 'slope'"),
        ("leaky_relu(slope=7)", "between 0 and 1"),
        ("gelu(approximate=tan)", "Did you mean 'tanh'"),
        ("relu, tanh", "names 2 things"),
        ("relu 3", "takes no number"),
        ("maxout(pieces=2)", "gives fewer channels than it gets"),
    ],
)
def test_mistakes_are_answered(spec, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        activation(spec)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_settings_make_a_round_trip_through_the_notation(name):
    part = ACTIVATIONS[name]
    written = ", ".join(f"{key}={value}" for key, value in part.defaults().items())
    if name != "maxout":
        assert repr(activation(f"{name}({written})")) == repr(part())
    assert part.check(part.defaults()) == part.defaults()
    assert part.facts["init"] in ("he_normal", "lecun_normal", "glorot_uniform")
