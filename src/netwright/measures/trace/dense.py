"""The arithmetic of layers without windows and without time: linear, reshaping, readouts, groups, dropout."""

from typing import Any

import torch
from torch import Tensor, nn

from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View
from netwright.measures.trace.words import factor, number, products
from netwright.networks.layers import Parallel, Residual
from netwright.networks.lenet import DistanceToCodes
from netwright.networks.perceptrons import ReferenceClass
from netwright.networks.recurrent import RowsAsSteps
from netwright.parts.cells import Last, MaxOverSteps, MeanOverSteps


def linear_forward(call: Call, view: View) -> Told:
    """y = W x + b, the first units written out."""
    weight, bias = call.must("weight"), call.weight("bias")
    x = call.given.flatten(0, -2)[0]
    y = call.returned.flatten(0, -2)[0]
    lines = []
    for unit in range(min(view.units, len(y))):
        rest = [] if bias is None else [("b", float(bias[unit]))]
        sum_ = products(weight[unit], x, rest, view.digits)
        lines.append(f"y[{unit}] = {sum_} = {number(float(y[unit]), view.digits)}")
    formula = "y_j = sum_i W_ji x_i" + (" + b_j" if bias is not None else "")
    return Told(formula, _numbers(call, weight=weight, bias=bias), lines)


def linear_backward(call: Call, error: Tensor) -> Pulled:
    """The delta rule: dL/dW_ji = sum_n e_nj x_ni, dL/db_j = sum_n e_nj, dL/dx_i = sum_j W_ji e_j."""
    weight = call.must("weight")
    e, x = error.flatten(0, -2), call.given.flatten(0, -2)
    gradients = {"weight": torch.einsum("nj,ni->ji", e, x)}
    if call.weight("bias") is not None:
        gradients["bias"] = e.sum(0)
    into = torch.einsum("...j,ji->...i", error, weight)
    first = f"{factor(float(e[0, 0]))}*{factor(float(x[0, 0]))}" if len(e) == 1 else f"sum of {len(e)} products"
    lines = [f"dL/dW[0,0] = {first} = {number(float(gradients['weight'][0, 0]))}"]
    formula = "dL/dW_ji = sum_n e_j x_i; " + "dL/db_j = sum_n e_j; " * ("bias" in gradients)
    return Pulled([(call.entered, into)], gradients, Told(formula + "dL/dx_i = sum_j W_ji e_j", worked=lines))


def _numbers(call: Call, **weights: Any) -> dict[str, Any]:
    named = {name: value for name, value in weights.items() if value is not None}
    return {"input": call.given, **named, "output": call.returned}


def _moved(formula: str, backward: str, pull: Any) -> Rule:
    """A layer without weights: its numbers, and `pull(call, error)` for the error of its input."""

    def forward(call: Call, view: View) -> Told:
        return Told(formula, _numbers(call))

    def pulled(call: Call, error: Tensor) -> Pulled:
        return Pulled([(call.entered, pull(call, error))], {}, Told(backward))

    return Rule(forward, pulled)


def _reshaped(call: Call, error: Tensor) -> Tensor:
    return error.reshape(call.given.shape)


def _rows(call: Call, error: Tensor) -> Tensor:
    """An image's rows were steps: (batch, height, channels * width) back to (batch, channels, height, width)."""
    count, channels, height, width = call.given.shape
    return error.reshape(count, height, channels, width).transpose(1, 2)


def _last(call: Call, error: Tensor) -> Tensor:
    into = torch.zeros_like(call.given)
    if not getattr(call.module, "two_way", False):
        into[:, -1] = error
        return into
    half = call.given.shape[2] // 2
    into[:, -1, :half], into[:, 0, half:] = error[:, :half], error[:, half:]
    return into


def _mean(call: Call, error: Tensor) -> Tensor:
    return error[:, None].expand_as(call.given) / call.given.shape[1]


def _largest(call: Call, error: Tensor) -> Tensor:
    """Equal largest steps share the error, as torch's `amax` does."""
    winners = (call.given == call.returned[:, None]).to(error.dtype)
    return error[:, None] * winners / winners.sum(1, keepdim=True)


def _codes(call: Call, error: Tensor) -> Tensor:
    """y_k = -sum_i (x_i - c_ki)^2, so dL/dx_i = sum_k e_k (-2)(x_i - c_ki)."""
    codes = call.must("codes")
    return -2 * (error[:, :, None] * (call.given[:, None, :] - codes)).sum(1)


RULES[nn.Linear] = Rule(linear_forward, linear_backward)
RULES[nn.Flatten] = _moved("x as one vector", "dL/dx = the same numbers in the input's shape", _reshaped)
RULES[nn.Unflatten] = RULES[nn.Flatten]
RULES[RowsAsSteps] = _moved("each row of the image is a step", "dL/dx = the same numbers as an image", _rows)
RULES[Last] = _moved("y = h_T, the last step", "dL/dh_T = e; dL/dh_t = 0 before", _last)
RULES[MeanOverSteps] = _moved("y = sum_t h_t / T", "dL/dh_t = e / T", _mean)
RULES[MaxOverSteps] = _moved("y_j = max_t h_tj", "dL/dh_tj = e_j at the largest step, else 0", _largest)
RULES[ReferenceClass] = _moved("y = (x, 0)", "dL/dx = e without its last number", lambda call, e: e[..., :-1])
RULES[DistanceToCodes] = _moved("y_k = -sum_i (x_i - c_ki)^2", "dL/dx_i = sum_k e_k (-2)(x_i - c_ki)", _codes)


def embedding_forward(call: Call, view: View) -> Told:
    """y = the row of the table that the word's number names."""
    return Told("y = row x of the table", _numbers(call, weight=call.must("weight")))


def embedding_backward(call: Call, error: Tensor) -> Pulled:
    """Each row gathers the errors of the places where its word stood."""
    weight = call.must("weight")
    gathered = torch.zeros_like(weight).index_add(0, call.given.flatten().long(), error.flatten(0, -2))
    told = Told("dL/dW_row = sum of e where the row was read; 0 elsewhere")
    return Pulled([], {"weight": gathered}, told)


RULES[nn.Embedding] = Rule(embedding_forward, embedding_backward)


def dropout_forward(call: Call, view: View) -> Told:
    """y = x m / (1 - p), with the mask that was drawn in this pass."""
    share = float(call.module.p)  # type: ignore[arg-type]
    if not call.module.training:
        return Told("y = x (not training)", _numbers(call))
    return Told(f"y = x m / (1 - {number(share)})", {"input": call.given, "mask": _mask(call), "output": call.returned})


def dropout_backward(call: Call, error: Tensor) -> Pulled:
    """The error passes where the number passed, scaled alike."""
    told = Told("dL/dx = e m / (1 - p)" if call.module.training else "dL/dx = e")
    share = float(call.module.p)  # type: ignore[arg-type]
    kept = error * _mask(call) / (1 - share) if call.module.training and share < 1 else error
    return Pulled([(call.entered, kept)], {}, told)


def _mask(call: Call) -> Tensor:
    """The mask again, from the state that the random generator had: 1 keeps, 0 drops."""
    if call.random is None:
        return torch.ones_like(call.given)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(call.random)
        again = type(call.module)(call.module.p)
        return (again(torch.ones_like(call.given)) != 0).to(call.given.dtype)


for kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
    RULES[kind] = Rule(dropout_forward, dropout_backward)


def residual_forward(call: Call, view: View) -> Told:
    """y = body(x) + x: the sum of two paths."""
    return Told("y = body(x) + project(x)", {**_branches(call, ("body", "project")), "output": call.returned})


def residual_backward(call: Call, error: Tensor) -> Pulled:
    """Both paths get the whole error; at x their errors add up."""
    into = [(call.inner[name], error) for name in ("body", "project")]
    return Pulled(into, {}, Told("both paths get e; their errors at x are added"))


def parallel_forward(call: Call, view: View) -> Told:
    """The branches' results side by side."""
    names = [name for name in call.inner if "." in name]
    return Told("y = (branch 1, branch 2, ...)", {**_branches(call, tuple(names)), "output": call.returned})


def parallel_backward(call: Call, error: Tensor) -> Pulled:
    """Each branch gets its own piece of the error; at x their errors add up."""
    axis = int(call.module.axis)  # type: ignore[arg-type]
    found = [tensor for name, tensor in call.inner.items() if "." in name]
    pieces = error.split([tensor.shape[axis] for tensor in found], axis)
    return Pulled(list(zip(found, pieces, strict=True)), {}, Told("each branch gets its piece of e"))


def _branches(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: call.inner[name].detach().clone() for name in names if name in call.inner}


RULES[Residual] = Rule(residual_forward, residual_backward)
RULES[Parallel] = Rule(parallel_forward, parallel_backward)
