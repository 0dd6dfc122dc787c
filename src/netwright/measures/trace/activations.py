"""The arithmetic of activations: each works on one number at a time, so its error is e times its derivative."""

from collections.abc import Callable
from math import pi, sqrt

import torch
from torch import Tensor, nn

from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View
from netwright.measures.trace.words import factor, number
from netwright.parts.activations.joint import Maxout
from netwright.parts.activations.saturating import ScaledTanh, Step

Derivative = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(module, x, y) -> f'(x)."""


def _elu(slope: float, scale: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.where(x > 0, scale, scale * slope * x.exp())


SELU_SLOPE, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _gelu(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Phi(x) + x phi(x); with the tanh form the derivative of that form."""
    if getattr(module, "approximate", "none") == "tanh":
        inner = sqrt(2 / pi) * (x + 0.044715 * x**3)
        slope = sqrt(2 / pi) * (1 + 3 * 0.044715 * x.square())
        return 0.5 * (1 + inner.tanh()) + 0.5 * x * (1 - inner.tanh().square()) * slope
    return 0.5 * (1 + torch.erf(x / sqrt(2))) + x * (-x.square() / 2).exp() / sqrt(2 * pi)


def _swish(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    gate = x.sigmoid()
    return gate + x * gate * (1 - gate)


def _mish(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    t = nn.functional.softplus(x).tanh()
    return t + x * (1 - t.square()) * x.sigmoid()


def _hard_swish(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, 1.0, x / 3 + 0.5))


SIXTH = float(torch.tensor(1 / 6, dtype=torch.float32))
"""torch's kernel holds the slope of the hard sigmoid in 32 bits, 1/6 + 5e-9, even where it works on 64-bit numbers."""


def _inside(low: float, high: float, slope: float) -> Derivative:
    """A slope strictly between two bounds, 0 elsewhere."""
    return lambda module, x, y: slope * ((x > low) & (x < high)).to(x.dtype)


def _setting(module: nn.Module, name: str) -> float:
    return float(getattr(module, name))


KINDS: dict[type[nn.Module], tuple[str, str, Derivative]] = {
    nn.ReLU: ("y = max(x, 0)", "f' = 1 for x > 0, else 0", lambda m, x, y: (x > 0).to(x.dtype)),
    nn.LeakyReLU: (
        "y = x for x > 0, else slope x",
        "f' = 1 for x > 0, else slope",
        lambda m, x, y: torch.where(x > 0, 1.0, _setting(m, "negative_slope")).to(x.dtype),
    ),
    nn.ELU: (
        "y = x for x > 0, else alpha (exp(x) - 1)",
        "f' = 1 for x > 0, else alpha exp(x)",
        lambda m, x, y: _elu(_setting(m, "alpha"), 1.0)(x),
    ),
    nn.SELU: (
        "y = 1.0507 (x for x > 0, else 1.6733 (exp(x) - 1))",
        "f' = 1.0507 for x > 0, else 1.7581 exp(x)",
        lambda m, x, y: _elu(SELU_SLOPE, SELU_SCALE)(x),
    ),
    nn.GELU: ("y = x Phi(x)", "f' = Phi(x) + x phi(x)", _gelu),
    nn.SiLU: ("y = x sigmoid(x)", "f' = s + x s (1 - s), s = sigmoid(x)", _swish),
    nn.Hardswish: ("y = x min(max(x + 3, 0), 6) / 6", "f' = x/3 + 1/2 between -3 and 3", _hard_swish),
    nn.ReLU6: ("y = min(max(x, 0), 6)", "f' = 1 for 0 < x < 6, else 0", _inside(0, 6, 1)),
    nn.Hardtanh: (
        "y = min(max(x, low), high)",
        "f' = 1 between low and high, else 0",
        lambda m, x, y: _inside(_setting(m, "min_val"), _setting(m, "max_val"), 1)(m, x, y),
    ),
    nn.Sigmoid: ("y = 1 / (1 + exp(-x))", "f' = y (1 - y)", lambda m, x, y: y * (1 - y)),
    nn.Hardsigmoid: ("y = min(max(x + 3, 0), 6) / 6", "f' = 1/6 for -3 < x < 3, else 0", _inside(-3, 3, SIXTH)),
    nn.Tanh: ("y = tanh(x)", "f' = 1 - y^2", lambda m, x, y: 1 - y.square()),
    ScaledTanh: (
        "y = 1.7159 tanh(2x/3)",
        "f' = 1.7159 * 2/3 * (1 - (y/1.7159)^2)",
        lambda m, x, y: 1.7159 * 2 / 3 * (1 - (y / 1.7159).square()),
    ),
    nn.Softplus: (
        "y = log(1 + exp(beta x)) / beta",
        "f' = sigmoid(beta x)",
        lambda m, x, y: torch.where(
            x * _setting(m, "beta") > _setting(m, "threshold"), 1.0, (x * _setting(m, "beta")).sigmoid()
        ),
    ),
    nn.Softsign: ("y = x / (1 + abs(x))", "f' = 1 / (1 + abs(x))^2", lambda m, x, y: (1 + x.abs()) ** -2),
    nn.Mish: ("y = x tanh(softplus(x))", "f' = t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x))", _mish),
    nn.LogSigmoid: ("y = -log(1 + exp(-x))", "f' = 1 - sigmoid(x)", lambda m, x, y: (-x).sigmoid()),
    nn.Tanhshrink: ("y = x - tanh(x)", "f' = tanh(x)^2", lambda m, x, y: x.tanh().square()),
    nn.CELU: (
        "y = x for x > 0, else alpha (exp(x/alpha) - 1)",
        "f' = 1 for x > 0, else exp(x/alpha)",
        lambda m, x, y: torch.where(x > 0, 1.0, (x / _setting(m, "alpha")).exp()).to(x.dtype),
    ),
    Step: ("y = 1 for x >= 0, else 0", "f' = 0", lambda m, x, y: torch.zeros_like(x)),
    nn.Identity: ("y = x", "f' = 1", lambda m, x, y: torch.ones_like(x)),
}
"""The formula, the derivative's formula, the derivative."""


def _rule(formula: str, slope: str, derivative: Derivative) -> Rule:
    def forward(call: Call, view: View) -> Told:
        return Told(formula, {"input": call.given, "output": call.returned})

    def backward(call: Call, error: Tensor) -> Pulled:
        steep = derivative(call.module, call.given, call.returned)
        into = error * steep
        first = [float(one.flatten()[0]) for one in (error, steep, into)]
        line = f"dL/dx[0] = {factor(first[0])}*{factor(first[1])} = {number(first[2])}"
        told = Told(f"dL/dx = e f'(x); {slope}", {"derivative": steep}, [line])
        return Pulled([(call.entered, into)], {}, told)

    return Rule(forward, backward)


for kind, (formula, slope, derivative) in KINDS.items():
    RULES[kind] = _rule(formula, slope, derivative)


def prelu_backward(call: Call, error: Tensor) -> Pulled:
    """f' = 1 for x > 0, else the learned slope; the slope gathers e x over the negative side."""
    weight = call.must("weight")
    x = call.given
    slope = weight.view(1, -1, *[1] * (x.ndim - 2)) if len(weight) > 1 else weight
    below = torch.where(x > 0, 0.0, error * x)
    gathered = below.transpose(0, 1).flatten(1).sum(1) if len(weight) > 1 else below.sum().view(1)
    told = Told("dL/dx = e for x > 0, else e a; dL/da = sum of e x over x <= 0")
    return Pulled([(call.entered, torch.where(x > 0, error, error * slope))], {"weight": gathered}, told)


def prelu_forward(call: Call, view: View) -> Told:
    """y = x for x > 0, else a x with a learned a."""
    numbers = {"input": call.given, "weight": call.weight("weight"), "output": call.returned}
    return Told("y = x for x > 0, else a x", numbers)


RULES[nn.PReLU] = Rule(prelu_forward, prelu_backward)


def softmax_forward(call: Call, view: View) -> Told:
    """p_i = exp(x_i) / sum_c exp(x_c)."""
    return Told("y_i = exp(x_i) / sum_c exp(x_c)", {"input": call.given, "output": call.returned})


def softmax_backward(call: Call, error: Tensor) -> Pulled:
    """dL/dx_i = p_i (e_i - sum_c e_c p_c)."""
    p = call.returned
    axis = int(getattr(call.module, "dim", None) or -1)
    into = p * (error - (error * p).sum(axis, keepdim=True))
    return Pulled([(call.entered, into)], {}, Told("dL/dx_i = y_i (e_i - sum_c e_c y_c)"))


RULES[nn.Softmax] = Rule(softmax_forward, softmax_backward)


def maxout_forward(call: Call, view: View) -> Told:
    """The largest of each group of neighbouring units."""
    return Told("y_j = max over the group of x", {"input": call.given, "output": call.returned})


def maxout_backward(call: Call, error: Tensor) -> Pulled:
    """The error goes to the largest of its group; equal ones share it, as torch's `amax` does."""
    axis = 2 if call.given.ndim == 3 else 1
    grouped = call.given.unflatten(axis, (-1, int(call.module.pieces)))  # type: ignore[arg-type]
    winners = (grouped == call.returned.unsqueeze(axis + 1)).to(error.dtype)
    into = error.unsqueeze(axis + 1) * winners / winners.sum(axis + 1, keepdim=True)
    told = Told("dL/dx = e for the largest of its group, 0 for the others")
    return Pulled([(call.entered, into.flatten(axis, axis + 1))], {}, told)


RULES[Maxout] = Rule(maxout_forward, maxout_backward)
