"""Changes of what a network is made of: dropout, width, depth, pooling, norms' running statistics."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.doctor.changes.between import equal_shaped
from netwright.doctor.changes.signal import adopt, first_changed, make, network, rewritten, takes, wrap
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.ops import DROPOUTS, POOLS, Op
from netwright.doctor.subject import Change, Live
from netwright.language import say

# dropout --------------------------------------------------------------------------------------------------------


def less_dropout(chart: Chart, factor: float = 0.0, ops: Sequence[Op] = ()) -> Change | None:
    """Dropout scaled down by `factor` (0: none), and off in evaluation mode."""
    chosen = list(ops) or [op for op in chart.ops if op.name in DROPOUTS]
    inner = [name for name, module in modules_of(chart) if isinstance(module, nn.RNNBase) and module.dropout > 0]
    if not chosen and not inner:
        return None

    def apply(live: Live) -> None:
        for op in chosen:
            cast(CodeLive, live).swaps[op.key] = _dropout(live.model, factor)
        for name in inner:
            module: Any = live.model.get_submodule(name)
            old = module.dropout
            cast(CodeLive, live).extras.callback(setattr, module, "dropout", old)
            module.dropout = old * factor

    patch: dict[str, Any] = {}
    own = network(chart).get("dropout", 0.0)
    if takes(chart, "dropout") and isinstance(own, float) and own > 0:
        patch = {"network.dropout": own * factor}
    elif network(chart).get("name") == "stack":
        patch = rewritten(chart, lambda items: _less(items, factor))
    places = named([*(op.where for op in chosen), *inner])
    name = (
        say("no dropout")
        if factor == 0
        else say("dropout x {factor:g}", factor=factor)
        if factor != 1
        else say("dropout off in use")
    )
    return make(
        chart,
        name,
        say("dropout takes away what a small or slow network needs"),
        patch,
        say("p = {p:g} in {places}", p=factor * max([rate_of(op) for op in chosen], default=0.5), places=places),
        apply,
    )


def rate_of(op: Op) -> float:
    """The share that a dropout drops."""
    found = op.settings.get("p", op.inputs[1] if len(op.inputs) > 1 else 0.5)
    return float(found) if isinstance(found, (int, float)) else 0.5


def _dropout(model: nn.Module, factor: float) -> Callable[[Op, Callable[..., Any]], Any]:
    def swap(op: Op, func: Callable[..., Any]) -> Any:
        given = op.inputs[0] if op.inputs else op.settings["input"]
        asked = op.settings.get("training", op.inputs[2] if len(op.inputs) > 2 else True)
        if factor == 0 or not (asked and model.training):
            return given
        return func(given, rate_of(op) * factor, True)

    return swap


def _less(items: list[str], factor: float) -> list[str]:
    if factor == 0:
        return [item for item in items if not re.match(r"(alpha_|gaussian_)?dropout(2d)?\b", item.strip())]
    return [
        re.sub(r"(dropout(?:2d)?)\s+([\d.]+)", lambda m: f"{m[1]} {float(m[2]) * factor:g}", item) for item in items
    ]


def modules_of(chart: Chart) -> list[tuple[str, nn.Module]]:
    with chart.subject.live() as live:
        return list(live.model.named_modules())


# width and depth ------------------------------------------------------------------------------------------------


def wider(chart: Chart, factor: int = 4) -> Change | None:
    """Every hidden layer `factor` times as wide, where the network is a row of ordinary layers."""
    patch: dict[str, Any] = {}
    table = network(chart)
    if takes(chart, "hidden"):
        own = table["hidden"]
        patch = {"network.hidden": [size * factor for size in own] if isinstance(own, list) else own * factor}
        patch = patch if own else {"network.hidden": [64, 64]}
    elif takes(chart, "width"):
        patch = {"network.width": table["width"] * factor}
    elif table.get("name") == "stack":
        patch = rewritten(chart, lambda items: [_scaled(item, factor) for item in items])
    elif table.get("name") in ("perceptron", "logistic", "softmax"):
        patch = {"network": "mlp"}
    if chart.subject.recipe is None:
        with chart.subject.live() as live:
            try:
                widen(live, factor)
                with torch.no_grad():
                    live.forward(live.batch())
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, ZeroDivisionError, AssertionError):
                return None
    return make(
        chart,
        say("layers {factor} times as wide", factor=factor),
        say("more units hold what few cannot"),
        patch,
        say("{factor} times the units in every hidden layer", factor=factor),
        lambda live: widen(live, factor),
    )


def _scaled(item: str, factor: int) -> str:
    return re.sub(
        r"^(\s*(?:linear|conv|lstm|gru|rnn|separable|local)\s+)(\d+)", lambda m: m[1] + str(int(m[2]) * factor), item
    )


def widen(live: Live, factor: int) -> None:
    """Rebuild a row of layers with more units, in place. ValueError where there is nothing to widen."""
    rows = [
        (name, module)
        for name, module in live.model.named_modules()
        if not list(module.children()) and list(module.parameters())
    ]
    weighted = [name for name, module in rows if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase))]
    if len(weighted) < 2 and len(rows) != len(weighted) + 1:
        raise ValueError
    fresh: dict[int, nn.Parameter] = {}
    first = True
    for name, module in rows:
        made = _wide(module, 1 if first else factor, 1 if weighted and name == weighted[-1] else factor)
        first = False if name in weighted or isinstance(module, nn.Embedding) else first
        made.to(next(module.parameters())).train(module.training)
        as_loud(made, module)
        fresh.update({id(old): new for old, new in zip(module.parameters(), made.parameters(), strict=True)})
        replace(live.model, name, made)
    renew(live, fresh)


@torch.no_grad()
def as_loud(made: nn.Module, module: nn.Module) -> None:
    """Scale new weights so that a layer passes on a signal as loud as the old one's: width alone is to differ.

    Formula: std(w) sqrt(fan in) stays
    """
    for new, old in zip(made.parameters(), module.parameters(), strict=True):
        if new.dim() > 1 and old.numel() > 1:
            loud, own = (w.std().item() * (w.numel() / len(w)) ** 0.5 for w in (new, old))
            new.mul_(own / loud if loud > 0 and math.isfinite(own) else 1.0)


def _wide(module: nn.Module, into: int, out: int) -> nn.Module:
    """The module with its inputs and outputs multiplied."""
    if isinstance(module, nn.Linear):
        return nn.Linear(module.in_features * into, module.out_features * out, module.bias is not None)
    if (
        type(module) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        and isinstance(module, nn.modules.conv._ConvNd)
        and module.groups == 1
    ):
        kind: Any = type(module)
        return kind(
            module.in_channels * into,
            module.out_channels * out,
            module.kernel_size,
            module.stride,
            module.padding,
            module.dilation,
            1,
            module.bias is not None,
            module.padding_mode,
        )
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        kind = type(module)
        return kind(module.num_features * into, module.eps, module.momentum, module.affine, module.track_running_stats)
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return nn.LayerNorm(module.normalized_shape[0] * into, module.eps)
    if isinstance(module, nn.RNNBase):
        kind = type(module)
        more = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
        return kind(
            module.input_size * into,
            module.hidden_size * out,
            module.num_layers,
            bias=module.bias,
            batch_first=module.batch_first,
            dropout=module.dropout,
            bidirectional=module.bidirectional,
            **more,
        )
    if isinstance(module, nn.Embedding):
        return nn.Embedding(module.num_embeddings, module.embedding_dim * out, module.padding_idx)
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return nn.PReLU()
    raise ValueError


def replace(model: nn.Module, name: str, made: nn.Module) -> None:
    """Put a module in another one's place; the snapshot puts the old one back."""
    owner, _, leaf = name.rpartition(".")
    model.get_submodule(owner)._modules[leaf] = made


def renew(live: Live, fresh: dict[int, nn.Parameter]) -> None:
    """Give optimizers the new parameters in the old ones' places, with the same settings."""
    for optimizer in live.optimizers:
        for group in optimizer.param_groups:
            for old in group["params"]:
                if id(old) in fresh:
                    optimizer.state.pop(old, None)
            group["params"] = [fresh.get(id(old), old) for old in group["params"]]


def hidden_layer(chart: Chart, width: int = 64) -> Change | None:
    """A hidden layer before the only layer, with a skip around it: x + V relu(W x)."""
    ops = [op for op in chart.ops if op.name in ("linear", "addmm")]
    given = (ops[0].inputs[0] if ops[0].inputs else ops[0].settings["input"]) if len(ops) == 1 else None
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return wider(chart) if chart.subject.recipe is not None else None
    size = given.shape[-1]

    def apply(live: Live) -> None:
        made = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, size)).to(given)
        wrap(live, ops[0].key, lambda op, func, inner: inner(first_changed(op, lambda x: x + made(x)), func))
        adopt(live, [made])

    patch: dict[str, Any] = (
        {"network": "mlp"} if network(chart).get("name") in ("perceptron", "logistic", "softmax") else {}
    )
    patch = patch or ({"network.hidden": [width]} if network(chart).get("hidden") == [] else {})
    return make(
        chart,
        say("a hidden layer"),
        say("a network without one draws straight lines only"),
        patch,
        say("nn.Linear({size}, {width}), nn.ReLU() before {place}", size=size, width=width, place=ops[0].where),
        apply,
    )


def half_depth(chart: Chart) -> Change | None:
    """Every other one of the hidden layers whose input and output have one shape left out."""
    pairs = equal_shaped(chart)[1::2]

    def apply(live: Live) -> None:
        for weighted, behind in pairs:
            cast(CodeLive, live).swaps[weighted] = lambda op, _: op.inputs[0] if op.inputs else op.settings["input"]
            cast(CodeLive, live).swaps[behind] = lambda op, _: op.inputs[0] if op.inputs else op.settings["input"]

    patch: dict[str, Any] = {}
    own = network(chart).get("hidden", [])
    if isinstance(own, list) and len(own) > 3:
        patch = {"network.hidden": own[::2]}
    elif takes(chart, "layers") and isinstance(network(chart)["layers"], int) and network(chart)["layers"] > 1:
        patch = {"network.layers": network(chart)["layers"] // 2}
    if chart.subject.recipe is None and not pairs:
        return None
    return make(
        chart,
        say("half the depth"),
        say("fewer layers are easier to reach through"),
        patch,
        say("without {places}", places=named([key[0] or "forward" for key, _ in pairs])),
        apply,
    )


def later_pooling(chart: Chart, op: Op) -> Change | None:
    """A pooling left out; the maps come to their old size before the first linear layer."""
    after = [
        other
        for other in chart.ops
        if other.index >= op.index and (other.name in POOLS or other.name.startswith("conv"))
    ]
    size, last = tuple(after[-1].tensor.shape[2:]), after[-1]
    if not size or last.tensor.dim() < 3:
        return None
    adapt: Any = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}[len(size)]

    def apply(live: Live) -> None:
        cast(CodeLive, live).swaps[op.key] = _unstrided(op)
        wrap(live, last.key, lambda one, func, inner: adapt(inner(one, func), size))

    return make(
        chart,
        say("{place} later", place=op.where),
        say("maps keep their places for the convolutions that follow"),
        {},
        say(
            "without the pooling of {place}; nn.AdaptiveMaxPool2d({size}) before the linear layers",
            place=op.where,
            size=size,
        ),
        apply,
    )


def _unstrided(op: Op) -> Callable[[Op, Callable[..., Any]], Any]:
    return lambda one, func: one.inputs[0] if one.inputs else one.settings["input"]


# norms' statistics ----------------------------------------------------------------------------------------------


def usual_statistics(chart: Chart) -> Change | None:
    """Batch norms with torch's own momentum 0.1."""
    names = [
        name
        for name, module in modules_of(chart)
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.momentum != 0.1
    ]
    if not names or chart.subject.recipe is not None:
        return None

    def apply(live: Live) -> None:
        for name in names:
            module: Any = live.model.get_submodule(name)
            cast(CodeLive, live).extras.callback(setattr, module, "momentum", module.momentum)
            module.momentum = 0.1

    return make(
        chart,
        say("momentum 0.1"),
        say("running statistics then follow the batches and are not one batch's"),
        {},
        say("momentum=0.1 in {places}", places=named(names)),
        apply,
    )


def without(chart: Chart, ops: Sequence[Op], name: str, why: str) -> Change | None:
    """Operations left out."""
    if not ops:
        return None

    def apply(live: Live) -> None:
        for op in ops:
            cast(CodeLive, live).swaps[op.key] = lambda one, _: one.inputs[0] if one.inputs else one.settings["input"]

    return make(chart, name, why, {}, say("remove {places}", places=named([op.where for op in ops])), apply)
