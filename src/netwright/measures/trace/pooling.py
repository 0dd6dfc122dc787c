"""The arithmetic of pooling and padding: which number a window keeps, and where its error goes."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View
from netwright.measures.trace.sliding import inside
from netwright.measures.trace.words import factor, number
from netwright.networks.blocks import SamePool
from netwright.parts.pooling import PaddedPool
from netwright.parts.windows import same_sides

Spans = list[tuple[int, int]]
"""Where the windows of one axis begin and end, padding cut off; end is exclusive."""


def _two(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _spans(call: Call) -> tuple[Spans, Spans]:
    """The windows along height and width, inside the map."""
    module: Any = call.module
    kernel = _two(module.kernel_size)
    stride = _two(module.stride)
    spread = _two(getattr(module, "dilation", 1))
    before = [side[0] for side in _edges(call)]
    found = []
    for n, count, k, s, p, d in zip(
        call.given.shape[2:], call.returned.shape[2:], kernel, stride, before, spread, strict=True
    ):
        reach = d * (k - 1) + 1
        found.append([(max(0, i * s - p), min(n, i * s - p + reach)) for i in range(count)])
    return found[0], found[1]


def max_forward(call: Call, view: View) -> Told:
    """The largest number of each window, and where it stood."""
    rows, columns = _spans(call)
    windows: list[dict[str, Any]] = []
    lines: list[str] = []
    touching = _two(getattr(call.module, "dilation", 1)) == (1, 1)
    for row, column in inside(view.places, call.returned.shape) if touching else []:
        for channel in range(min(view.units, call.returned.shape[1])):
            (top, bottom), (left, right) = rows[row], columns[column]
            window = call.given[0, channel, top:bottom, left:right]
            at = int(window.argmax())
            chosen = [top + at // window.shape[1], left + at % window.shape[1]]
            value = float(call.returned[0, channel, row, column])
            windows.append(
                {"row": row, "column": column, "channel": channel, "window": window, "chosen": chosen, "output": value}
            )
            listed = ", ".join(number(one, view.digits) for one in window.flatten()[:9].tolist())
            dots = ", ..." * (window.numel() > 9)
            lines.append(
                f"y[{channel},{row},{column}] = max({listed}{dots}) = {number(value, view.digits)}, "
                f"x[{channel},{chosen[0]},{chosen[1]}]"
            )
    numbers = {"input": call.given, "windows": windows, "output": call.returned}
    return Told("y[k,r,c] = max over the window", numbers, lines)


def max_backward(call: Call, error: Tensor) -> Pulled:
    """The whole error of a window goes to the number it kept, the first of equal ones."""
    return _to_largest(call, error, *_spans(call))


def _to_largest(call: Call, error: Tensor, rows: Spans, columns: Spans) -> Pulled:
    into = torch.zeros_like(call.given)
    flat = into.flatten(2)
    for r, (top, bottom) in enumerate(rows):
        for c, (left, right) in enumerate(columns):
            at = call.given[:, :, top:bottom, left:right].flatten(2).argmax(2)
            wide = right - left
            places = (top + at // wide) * call.given.shape[3] + left + at % wide
            flat.scatter_add_(2, places[:, :, None], error[:, :, r, c, None])
    told = Told("dL/dx = e at the chosen place of each window, 0 elsewhere")
    return Pulled([(call.entered, flat.view_as(into))], {}, told)


def _counts(call: Call, rows: Spans, columns: Spans) -> Tensor:
    """By how many each window's sum is divided: a fixed number, or the pixels without padding."""
    module: Any = call.module
    kernel = _two(module.kernel_size)
    divisor = getattr(module, "divisor_override", None)
    if isinstance(module, PaddedPool):
        padded = module.kind == "avg_counted"
    else:
        padded = module.count_pad if isinstance(module, SamePool) else module.count_include_pad
    if divisor or (padded and not getattr(module, "ceil_mode", False)):
        return call.given.new_full((len(rows), len(columns)), float(divisor or prod(kernel)))
    counted = [rows, columns]
    if padded:
        stride, pad = _two(module.stride), _edges(call)
        counted = [
            [(i * s - p[0], min(i * s - p[0] + k, n + p[1])) for i in range(len(axis))]
            for axis, s, p, k, n in zip(counted, stride, pad, kernel, call.given.shape[2:], strict=True)
        ]
    high, wide = ([end - start for start, end in axis] for axis in counted)
    return torch.outer(call.given.new_tensor(high), call.given.new_tensor(wide))


def _edges(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
    module: Any = call.module
    if isinstance(module, PaddedPool):
        return module.sides
    if isinstance(module, SamePool):
        places = zip(call.given.shape[2:], module.kernel_size, module.stride, strict=True)
        down, across = (same_sides(*axis) for axis in places)
        return down, across
    high, wide = _two(module.padding)
    return (high, high), (wide, wide)


def avg_forward(call: Call, view: View) -> Told:
    """The mean of each window."""
    rows, columns = _spans(call)
    counts = _counts(call, rows, columns)
    windows, lines = [], []
    for row, column in inside(view.places, call.returned.shape):
        (top, bottom), (left, right) = rows[row], columns[column]
        window = call.given[0, 0, top:bottom, left:right]
        count, value = float(counts[row, column]), float(call.returned[0, 0, row, column])
        found = {"row": row, "column": column, "channel": 0, "window": window, "sum": float(window.sum())}
        windows.append({**found, "count": count, "output": value})
        terms = " + ".join(factor(one, view.digits) for one in window.flatten()[:9].tolist())
        dots = " + ..." * (window.numel() > 9)
        lines.append(f"y[0,{row},{column}] = ({terms}{dots}) / {number(count)} = {number(value, view.digits)}")
    numbers = {"input": call.given, "windows": windows, "output": call.returned}
    return Told("y[k,r,c] = sum over the window / count", numbers, lines)


def avg_backward(call: Call, error: Tensor) -> Pulled:
    """Every number of a window gets the same share of its error."""
    rows, columns = _spans(call)
    shares = error / _counts(call, rows, columns)
    into = torch.zeros_like(call.given)
    for r, (top, bottom) in enumerate(rows):
        for c, (left, right) in enumerate(columns):
            into[:, :, top:bottom, left:right] += shares[:, :, r, c, None, None]
    return Pulled([(call.entered, into)], {}, Told("dL/dx = e / count for every number of the window"))


RULES[nn.MaxPool2d] = Rule(max_forward, max_backward)
RULES[nn.AvgPool2d] = Rule(avg_forward, avg_backward)


def padded_forward(call: Call, view: View) -> Told:
    """A pool with unequal padding: as its kind says."""
    largest = getattr(call.module, "kind", "") == "max"
    return max_forward(call, view) if largest else avg_forward(call, view)


def padded_backward(call: Call, error: Tensor) -> Pulled:
    """A pool with unequal padding: as its kind says."""
    largest = getattr(call.module, "kind", "") == "max"
    return max_backward(call, error) if largest else avg_backward(call, error)


RULES[PaddedPool] = RULES[SamePool] = Rule(padded_forward, padded_backward)


def _shares(call: Call) -> tuple[Spans, Spans]:
    """The windows of adaptive pooling: place i of k on n pixels reads floor(i n/k) to ceil((i + 1) n/k)."""
    found = []
    for n, k in zip(call.given.shape[2:], call.returned.shape[2:], strict=True):
        found.append([(i * n // k, -(-(i + 1) * n // k)) for i in range(k)])
    return found[0], found[1]


def whole_forward(call: Call, view: View) -> Told:
    """One number of each whole map, or of equal shares of it."""
    maps = call.given.flatten(2)
    numbers: dict[str, Any] = {"input": call.given}
    if call.returned.shape[2:].numel() == 1:
        numbers |= {"sum": maps.sum(2), "count": maps.shape[2]}
    return Told("y[k,r,c] = sum over its share of map k / count", {**numbers, "output": call.returned})


def whole_backward(call: Call, error: Tensor) -> Pulled:
    """Every pixel of a share gets error / pixels of the share."""
    into = torch.zeros_like(call.given)
    rows, columns = _shares(call)
    for r, (top, bottom) in enumerate(rows):
        for c, (left, right) in enumerate(columns):
            each = error[:, :, r, c, None, None] / ((bottom - top) * (right - left))
            into[:, :, top:bottom, left:right] += each
    return Pulled([(call.entered, into)], {}, Told("dL/dx = e / count for every pixel of the share"))


def whole_max_forward(call: Call, view: View) -> Told:
    """The largest number of each whole map, or of equal shares of it."""
    return Told("y[k,r,c] = max over its share of map k", {"input": call.given, "output": call.returned})


def whole_max_backward(call: Call, error: Tensor) -> Pulled:
    """The whole error goes to the largest pixel of its share."""
    return _to_largest(call, error, *_shares(call))


RULES[nn.AdaptiveAvgPool2d] = Rule(whole_forward, whole_backward)
RULES[nn.AdaptiveMaxPool2d] = Rule(whole_max_forward, whole_max_backward)


def border_forward(call: Call, view: View) -> Told:
    """The map with a border around it."""
    return Told("a border around each map", {"input": call.given, "output": call.returned})


def border_backward(call: Call, error: Tensor) -> Pulled:
    """Each pixel gets the errors of all places that show it, in the map and in the border."""
    places = torch.arange(call.given.shape[2:].numel(), dtype=error.dtype).view(1, 1, *call.given.shape[2:])
    seen = call.module(places + 1).long().flatten()  # 0 is a border of zeros, else 1 + the pixel shown
    into = error.new_zeros(*error.shape[:2], places.numel() + 1)
    into.index_add_(2, seen, error.flatten(2))
    told = Told("dL/dx = the sum of e over the places that show x")
    return Pulled([(call.entered, into[:, :, 1:].view_as(call.given))], {}, told)


for border in (nn.ZeroPad2d, nn.ReplicationPad2d, nn.ReflectionPad2d, nn.CircularPad2d):
    RULES[border] = Rule(border_forward, border_backward)
