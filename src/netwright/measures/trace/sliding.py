"""The arithmetic of sliding windows in a trace, place by place, forward and back.

Convolution here is what networks call so: the kernel is not turned over (cross-correlation). Its definition in plain
loops is `netwright.measures.convolution.convolve`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View
from netwright.measures.trace.words import factor, number, products
from netwright.networks.blocks import GlobalMean, SameConv2d
from netwright.networks.layers import FlippedConv2d
from netwright.networks.lenet import PartialConv
from netwright.parts.pooling import SubSample
from netwright.parts.windows import Pair

Sides = tuple[tuple[int, int], tuple[int, int]]
Plan = tuple[Pair, Pair, Pair, Sides]
"""Kernel, stride, dilation and ((top, bottom), (left, right)) of zeros."""


def _two(value: Any) -> Pair:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _plan(call: Call) -> Plan:
    module: Any = call.module
    kernel, stride, spread = _two(module.kernel_size), _two(module.stride), _two(getattr(module, "dilation", 1))
    if isinstance(module, SameConv2d):
        return kernel, stride, spread, module.sides(call.given.shape[2], call.given.shape[3])
    pad = getattr(module, "padding", 0)
    if pad == "same":
        down, across = (d * (k - 1) for d, k in zip(spread, kernel, strict=True))
        return kernel, stride, spread, ((down // 2, down - down // 2), (across // 2, across - across // 2))
    high, wide = (0, 0) if pad == "valid" else _two(pad)
    return kernel, stride, spread, ((high, high), (wide, wide))


def _padded(call: Call, sides: Sides) -> Tensor:
    mode = str(getattr(call.module, "padding_mode", "zeros"))
    return F.pad(call.given, (*sides[1], *sides[0]), mode="constant" if mode == "zeros" else mode)


def _uncovered(wide: Tensor, sides: Sides) -> Tensor:
    """The part of a padded map that is not padding."""
    (top, bottom), (left, right) = sides
    return wide[:, :, top : wide.shape[2] - bottom, left : wide.shape[3] - right]


def _offset(wide: Tensor, u: int, v: int, plan: Plan, shape: Any) -> Tensor:
    """What the window's place (u, v) sees at all positions: a view with the shape of the output."""
    _, stride, spread, _ = plan
    rows = slice(u * spread[0], u * spread[0] + (shape[2] - 1) * stride[0] + 1, stride[0])
    columns = slice(v * spread[1], v * spread[1] + (shape[3] - 1) * stride[1] + 1, stride[1])
    return wide[:, :, rows, columns]


def _full_kernels(call: Call) -> Tensor:
    """Kernels as (out, depth, high, wide); where a map reads only some others, zeros for the rest."""
    module = call.module
    if isinstance(module, FlippedConv2d):
        return call.must("weight").flip(2, 3)
    if not isinstance(module, PartialConv):
        return call.must("weight")
    full = module.weight.new_zeros(module.out_channels * module.in_channels, *module.kernel_size)
    full = full.index_copy(0, module.places, module.weight.detach())
    return full.view(module.out_channels, module.in_channels, *module.kernel_size)


def conv_forward(call: Call, view: View) -> Told:
    """The numbers of a convolution, and single windows worked out: products, sum, bias."""
    weight, bias, plan = _full_kernels(call), call.weight("bias"), _plan(call)
    wide = _padded(call, plan[3])
    groups = int(getattr(call.module, "groups", 1))
    windows, lines = [], []
    for row, column in inside(view.places, call.returned.shape):
        for k in range(min(len(weight), view.units)):
            window = _window(wide, row, column, plan, k // (len(weight) // groups) * weight.shape[1], weight.shape[1])
            made = window * weight[k]
            found: dict[str, Any] = {"row": row, "column": column, "kernel": k, "window": window, "weights": weight[k]}
            found |= {"products": made, "sum": float(made.sum())}
            rest = []
            if bias is not None:
                found["bias"] = float(bias[k])
                rest = [("b", float(bias[k]))]
            found["output"] = float(call.returned[0, k, row, column])
            windows.append(found)
            sum_ = products(window, weight[k], rest, view.digits)
            lines.append(f"y[{k},{row},{column}] = {sum_} = {number(found['output'], view.digits)}")
    numbers = {"input": call.given, "weight": call.weight("weight"), "bias": bias, "windows": windows}
    numbers = {key: value for key, value in numbers.items() if value is not None}
    formula = "y[k,r,c] = " + "b[k] + " * (bias is not None) + _window_formula(plan)
    return Told(formula, {**numbers, "output": call.returned}, lines)


def _window_formula(plan: Plan) -> str:
    _, stride, spread, sides = plan
    index = []
    for name, small, s, d, around in zip("rc", "uv", stride, spread, sides, strict=True):
        index.append(f"{name}{f'*{s}' * (s > 1)} + {small}{f'*{d}' * (d > 1)}{f' - {around[0]}' * (around[0] > 0)}")
    return f"sum over i,u,v of w[k,i,u,v] x[i, {index[0]}, {index[1]}]"


def _window(wide: Tensor, row: int, column: int, plan: Plan, first: int, depth: int) -> Tensor:
    """What the window at an output place sees of the first example: (channels, high, wide)."""
    kernel, stride, spread, _ = plan
    rows = torch.arange(kernel[0]) * spread[0] + row * stride[0]
    columns = torch.arange(kernel[1]) * spread[1] + column * stride[1]
    return wide[0, first : first + depth][:, rows][:, :, columns]


def inside(places: tuple[tuple[int, int], ...], shape: Any) -> list[tuple[int, int]]:
    """The asked places that a map has; its first place where it has none of them."""
    found = [place for place in places if 0 <= place[0] < shape[2] and 0 <= place[1] < shape[3]]
    return found or [(0, 0)]


def conv_backward(call: Call, error: Tensor) -> Pulled:
    """Each weight gathers error times the number it was multiplied with; each input gathers error times weight."""
    weight, plan = _full_kernels(call), _plan(call)
    groups = int(getattr(call.module, "groups", 1))
    wide = _padded(call, plan[3])
    gradient, into = torch.zeros_like(weight), torch.zeros_like(wide)
    each, depth = len(weight) // groups, weight.shape[1]
    for group in range(groups):
        outs, ins = slice(group * each, (group + 1) * each), slice(group * depth, (group + 1) * depth)
        for u in range(plan[0][0]):
            for v in range(plan[0][1]):
                seen = _offset(wide[:, ins], u, v, plan, error.shape)
                gradient[outs, :, u, v] = torch.einsum("norc,nirc->oi", error[:, outs], seen)
                spread = torch.einsum("norc,oi->nirc", error[:, outs], weight[outs, :, u, v])
                _offset(into[:, ins], u, v, plan, error.shape).add_(spread)
    if isinstance(call.module, PartialConv):
        gradient = gradient.flatten(0, 1)[call.module.places]
    gradients = {"weight": gradient.flip(2, 3) if isinstance(call.module, FlippedConv2d) else gradient}
    if call.weight("bias") is not None:
        gradients["bias"] = error.sum((0, 2, 3))
    formula = "dL/dw[k,i,u,v] = sum over r,c of e[k,r,c] x at its window's (u,v); "
    formula += "dL/db[k] = sum over r,c of e[k,r,c]; " * ("bias" in gradients)
    told = Told(formula + "dL/dx = sum of e w over the windows that read x")
    if getattr(call.module, "padding_mode", "zeros") != "zeros":
        return Pulled([], gradients, told)  # what the border repeats gets errors from there, too: left to autograd
    return Pulled([(call.entered, _uncovered(into, plan[3]))], gradients, told)


for conv in (nn.Conv2d, SameConv2d, FlippedConv2d, PartialConv):
    RULES[conv] = Rule(conv_forward, conv_backward)


def subsample_forward(call: Call, view: View) -> Told:
    """LeNet's sub-sampling: the sum of a window times a gain plus a bias."""
    gain, bias, plan, out = call.must("gain"), call.must("bias"), _plan(call), call.returned
    lines = []
    for row, column in inside(view.places, out.shape):
        window = _window(call.given, row, column, plan, 0, 1).flatten()
        total = " + ".join(factor(one, view.digits) for one in window[:9].tolist()) + " + ..." * (len(window) > 9)
        shown = [factor(float(one), view.digits) for one in (gain[0], bias[0])]
        made = number(float(out[0, 0, row, column]), view.digits)
        lines.append(f"y[0,{row},{column}] = {shown[0]}*({total}) + {shown[1]} = {made}")
    numbers = {"input": call.given, "gain": gain.flatten(), "bias": bias.flatten(), "output": out}
    return Told("y[k,r,c] = gain[k] * sum of the window + bias[k]", numbers, lines)


def subsample_backward(call: Call, error: Tensor) -> Pulled:
    """dL/dgain = sum of e times the window's sum; each input of the window gets gain * e."""
    gain, plan = call.must("gain"), _plan(call)
    sums, into = torch.zeros_like(error), torch.zeros_like(call.given)
    for u in range(plan[0][0]):
        for v in range(plan[0][1]):
            sums += _offset(call.given, u, v, plan, error.shape)
            _offset(into, u, v, plan, error.shape).add_(gain * error)
    gradients = {"gain": (error * sums).sum((0, 2, 3))[:, None, None], "bias": error.sum((0, 2, 3))[:, None, None]}
    formula = "dL/dgain[k] = sum of e * (sum of the window); dL/dbias[k] = sum of e; dL/dx = gain[k] e"
    return Pulled([(call.entered, into)], gradients, Told(formula))


RULES[SubSample] = Rule(subsample_forward, subsample_backward)


def global_mean_backward(call: Call, error: Tensor) -> Pulled:
    """The error of the pooled maps, as maps of one pixel."""
    return Pulled([(call.inner["pool"], error[:, :, None, None])], {}, Told("dL/dx = the same numbers as 1x1 maps"))


def global_mean_forward(call: Call, view: View) -> Told:
    """One number of each map, as a vector."""
    return Told("the pooled maps as one vector", {"input": call.given, "output": call.returned})


RULES[GlobalMean] = Rule(global_mean_forward, global_mean_backward)
