"""Changes of attention: positions, a mask for what is still to come, scores of unit scale."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from netwright.doctor.changes.signal import make, wrap
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.ops import Op
from netwright.doctor.subject import Change, Live
from netwright.language import say


def with_positions(chart: Chart, op: Op, steps_axis: int = 1) -> Change | None:
    """Sines and cosines of the place added to what a token becomes."""

    def apply(live: Live) -> None:
        wrap(live, op.key, lambda one, func, inner: _placed(inner(one, func), steps_axis))

    return make(
        chart,
        say("positions added to tokens"),
        say("attention alone does not see the order of its inputs"),
        {},
        say("x = x + positions behind {place}: sines and cosines, or nn.Embedding(length, width)", place=op.where),
        apply,
    )


def _placed(x: Tensor, axis: int) -> Tensor:
    if x.dim() != 3:
        return x
    length, width = x.shape[axis], x.shape[-1]
    places = torch.arange(length, device=x.device, dtype=x.dtype)[:, None]
    rates = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2, device=x.device, dtype=x.dtype) / width)
    table = torch.zeros(length, width, device=x.device, dtype=x.dtype)
    table[:, 0::2], table[:, 1::2] = (places * rates).sin(), (places * rates).cos()[:, : width // 2]
    return x + (table if axis == 1 else table[:, None])


def causal(chart: Chart, ops: list[Op]) -> Change | None:
    """Every place sees itself and what came before it."""

    def apply(live: Live) -> None:
        for op in ops:
            cast(CodeLive, live).swaps[op.key] = masked

    return make(
        chart,
        say("causal mask"),
        say("a place must not see the token that it is asked for"),
        {},
        say(
            "attn_mask = nn.Transformer.generate_square_subsequent_mask(length) (or is_causal=True) in {places}",
            places=named([op.where for op in ops]),
        ),
        apply,
    )


def masked(op: Op, func: Callable[..., Any]) -> Any:
    """An attention, or the softmax of its scores, that sees nothing ahead."""
    if op.name == "scaled_dot_product_attention":
        return func(
            *op.inputs[:3],
            **{key: value for key, value in op.settings.items() if key != "attn_mask"} | {"is_causal": True},
        )
    if op.name == "multi_head_attention_forward":
        length = op.inputs[0].shape[0]
        ahead = torch.ones(length, length, dtype=torch.bool, device=op.inputs[0].device).triu(1)
        return func(*op.inputs, **{**op.settings, "attn_mask": ahead, "is_causal": False})
    scores = op.inputs[0] if op.inputs else op.settings["input"]
    ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    shut = scores.masked_fill(ahead, -math.inf)
    return func(shut, *op.inputs[1:], **op.settings) if op.inputs else func(**{**op.settings, "input": shut})


def scaled_scores(chart: Chart, op: Op, size: float) -> Change | None:
    """Attention scores divided by their own deviation at step 0."""

    def outer(one: Op, func: Callable[..., Any], inner: Callable[[Op, Callable[..., Any]], Any]) -> Any:
        inputs, settings = one.inputs, one.settings
        if inputs:
            inputs = (inputs[0] / size, *inputs[1:])
        else:
            settings = {**settings, "input": settings["input"] / size}
        return inner(Op(one.index, one.name, one.path, one.call, inputs, settings), func)

    return make(
        chart,
        say("scores / {size:.3g}", size=size),
        say("scores of unit scale spread attention over all places"),
        {},
        say("divide the scores in {place} by sqrt(width of a head)", place=op.where),
        lambda live: wrap(live, op.key, outer),
    )
