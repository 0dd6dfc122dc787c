"""Changes of what stands between layers: norms, skips; and a bound on gradients."""

import re
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.doctor.changes.signal import PLAIN, Inner, adopt, make, network, rewritten, takes, wrap
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.ops import Op
from netwright.doctor.subject import Change, Live
from netwright.language import say


def insert_norms(chart: Chart, kind: str = "batch_norm") -> Change | None:
    """Batch norm or layer norm behind every hidden weighted operation that has none."""
    layers = [layer for layer in chart.start.layers[:-1] if layer.name in PLAIN and not layer.normed]
    widths = {layer.key: layer.width for layer in layers}
    shapes = {op.key: op.tensor.shape for op in chart.ops if op.key in widths}
    if not shapes:
        return None
    small = min(len(pair) for pair in chart.subject.batches[:4])
    kind = "layer_norm" if kind == "batch_norm" and small < 8 else kind

    def apply(live: Live) -> None:
        place = next(p for p in live.parameters.values() if p.is_floating_point())
        made = {key: _norm(kind, shape, widths[key]).to(place) for key, shape in shapes.items()}
        for key, module in made.items():
            wrap(live, key, _normed(live.model, module))
        adopt(live, list(made.values()))

    patch: dict[str, Any] = {}
    word = {"batch_norm": "batchnorm", "layer_norm": "layernorm"}[kind]
    if takes(chart, "norm") and network(chart)["norm"] == "none":
        patch = {"network.norm": word}
    elif network(chart).get("name") == "stack":
        patch = rewritten(chart, lambda items: _with_norms(items, word))
    return make(
        chart,
        say("{norm} behind hidden layers", norm=kind),
        say("every layer then reads numbers of unit scale"),
        patch,
        say(
            "nn.{norm} behind {places}",
            norm={"batch_norm": "BatchNorm", "layer_norm": "LayerNorm"}[kind],
            places=named([layer.path or "forward" for layer in layers]),
        ),
        apply,
    )


def _norm(kind: str, shape: torch.Size, width: int) -> nn.Module:
    maps = len(shape) >= 3 and shape[1] == width and shape[-1] != width
    if kind == "batch_norm" and (len(shape) == 2 or maps):
        return {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)](width)
    return nn.GroupNorm(1, width) if maps else nn.LayerNorm(width)


def _normed(model: nn.Module, norm: nn.Module) -> Callable[[Op, Callable[..., Any], Inner], Any]:
    def outer(op: Op, func: Callable[..., Any], inner: Inner) -> Any:
        norm.train(model.training)
        return norm(inner(op, func))

    return outer


def _with_norms(items: list[str], word: str) -> list[str]:
    weighted = [place for place, item in enumerate(items) if re.match(r"(linear|conv)\b", item.strip())]
    norms = ("batchnorm", "layernorm", "groupnorm")
    made: list[str] = []
    for place, item in enumerate(items):
        made.append(item)
        if place in weighted[:-1] and not items[place + 1].strip().startswith(norms):
            made.append(word)
    return made


def group_norms(chart: Chart) -> Change | None:
    """Group norm in place of batch norm, with the same gains and biases: each example by itself."""
    ops = [op for op in chart.ops if op.name == "batch_norm"]
    if not ops:
        return None

    def apply(live: Live) -> None:
        for op in ops:
            cast(CodeLive, live).swaps[op.key] = grouped

    patch: dict[str, Any] = {}
    if takes(chart, "norm"):
        patch = {"network.norm": "groupnorm"}
    elif network(chart).get("name") == "stack":
        patch = rewritten(
            chart,
            lambda items: [re.sub(r"\bbatchnorm\b(\s*\([^()]*\)|\s+[\d.]+)?", "groupnorm 1", item) for item in items],
        )
    return make(
        chart,
        say("group norm in place of batch norm"),
        say("it needs no statistics of a batch"),
        patch,
        say("nn.GroupNorm in place of nn.BatchNorm: {places}", places=named([op.where for op in ops])),
        apply,
    )


def grouped(op: Op, _: Callable[..., Any]) -> Tensor:
    """A batch norm's input by group norm, with the batch norm's own gain and bias."""
    x = op.inputs[0]
    weight, bias = (
        op.settings.get(name, op.inputs[place] if len(op.inputs) > place else None)
        for name, place in (("weight", 3), ("bias", 4))
    )
    width = x.shape[1]
    groups = next(count for count in (32, 16, 8, 4, 2, 1) if width % count == 0 and (width // count >= 4 or count == 1))
    return F.group_norm(x, groups, weight, bias)


def skips(chart: Chart) -> Change | None:
    """A skip around every hidden layer whose input and output have one shape."""
    pairs = equal_shaped(chart)
    if not pairs:
        return None

    def apply(live: Live) -> None:
        for weighted, behind in pairs:
            held: list[Tensor] = []
            wrap(live, weighted, _held(held))
            wrap(live, behind, _added(held))

    return make(
        chart,
        say("residual skips"),
        say("a skip carries signals and gradients past a layer unchanged"),
        {},
        say("x = x + layer(x) around {places}", places=named([key[0] or "forward" for key, _ in pairs])),
        apply,
    )


def equal_shaped(chart: Chart) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Hidden layers whose input and output have one shape: the weighted operation, and the activation behind it."""
    known = {
        layer.key: layer.activation_key for layer in chart.start.layers[:-1] if layer.name in PLAIN and layer.activation
    }
    found = []
    for op in chart.ops:
        given = op.inputs[0] if op.inputs else op.settings.get("input")
        if op.key in known and isinstance(given, Tensor) and given.shape == op.tensor.shape:
            found.append((op.key, known[op.key]))
    return found


def _held(held: list[Tensor]) -> Callable[[Op, Callable[..., Any], Inner], Any]:
    def outer(op: Op, func: Callable[..., Any], inner: Inner) -> Any:
        held[:] = [op.inputs[0] if op.inputs else op.settings["input"]]
        return inner(op, func)

    return outer


def _added(held: list[Tensor]) -> Callable[[Op, Callable[..., Any], Inner], Any]:
    def outer(op: Op, func: Callable[..., Any], inner: Inner) -> Any:
        found = inner(op, func)
        skip = held.pop() if held else None
        return found + skip if skip is not None and skip.shape == found.shape else found

    return outer


# clipping -------------------------------------------------------------------------------------------------------


def clipped(chart: Chart, norm: float = 1.0) -> Change | None:
    """Gradients no longer than `norm`."""

    def apply(live: Live) -> None:
        cast(CodeLive, live).clip = norm

    patch = {"training.clip_norm": norm} if chart.recipe.get("training", {}).get("clip_norm", 0.0) == 0.0 else {}
    return make(
        chart,
        say("gradients clipped at {norm:g}", norm=norm),
        say("one steep step cannot throw the weights far"),
        patch,
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), {norm:g})",
        apply,
    )
