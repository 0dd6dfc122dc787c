"""Changes of initialisation, activations, norms, skips and dropout: what carries signals forward and gradients back."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import INITIALIZERS, NETWORKS
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.gauges.slopes import ELEMENTWISE
from netwright.doctor.ops import Op
from netwright.doctor.subject import Change, Live
from netwright.language import say
from netwright.parts.initializers import drawn

CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "gelu": F.gelu, "tanh": torch.tanh, "elu": F.elu, "silu": F.silu,
}  # fmt: skip
CLASSES = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "gelu": "GELU", "tanh": "Tanh", "elu": "ELU", "silu": "SiLU"}
SUITED = {
    "tanh": "glorot_uniform",
    "sigmoid": "glorot_uniform",
    "softmax": "glorot_uniform",
    "hardtanh": "glorot_uniform",
    "softsign": "glorot_uniform",
    "hardsigmoid": "glorot_uniform",
    "selu": "lecun_normal",
    "": "lecun_normal",
}
"""The initializer for the activation behind a layer; every other one is of ReLU's family and takes He's."""
WRITTEN = (
    "relu|relu6|leaky_relu|prelu|elu|celu|selu|gelu|swish|mish|softplus|sigmoid|hard_sigmoid|log_sigmoid|tanh|"
    "hard_tanh|scaled_tanh|softsign|softmax|step|identity"
)
"""Activations in the notation of `stack`."""
PLAIN = ("linear", "conv1d", "conv2d", "conv3d", "addmm", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""Weighted operations without a non-linearity of their own."""

Inner = Callable[[Op, Callable[..., Any]], Any]


def plain(op: Op, func: Callable[..., Any]) -> Any:
    """The operation itself."""
    return func(*op.inputs, **op.settings)


def wrap(live: Live, key: tuple[str, int], outer: Callable[[Op, Callable[..., Any], Inner], Any]) -> None:
    """Put something around an operation of a branch, outside what other changes have put there."""
    swaps = cast(CodeLive, live).swaps
    inner = swaps.get(key, plain)
    swaps[key] = lambda op, func: outer(op, func, inner)


def adopt(live: Live, modules: Sequence[nn.Module]) -> None:
    """Train new modules with the person's own settings of the first optimizer's first group."""
    fresh = [p for module in modules for p in module.parameters()]
    if fresh and live.optimizers:
        group = {
            key: value
            for key, value in live.optimizers[0].param_groups[0].items()
            if key not in ("params", "param_names")
        }
        live.optimizers[0].add_param_group({**group, "params": fresh})
        cast(CodeLive, live).extra_parameters.extend(fresh)


def network(chart: Chart) -> dict[str, Any]:
    """The recipe's network table; empty for code."""
    return chart.recipe.get("network", {})


def takes(chart: Chart, setting: str) -> bool:
    """Whether the recipe's network has a setting."""
    table = network(chart)
    return bool(table) and setting in NETWORKS[table["name"]].settings


def make(
    chart: Chart, name: str, why: str, patch: dict[str, Any], code: str, apply: Callable[[Live], None]
) -> Change | None:  # fmt: skip
    """The change for a recipe (None where no setting makes it) or for code."""
    if chart.subject.recipe is not None:
        return Change(name, why, patch) if patch else None
    return Change(name, why, {"code": code}, apply)


# initialisation -------------------------------------------------------------------------------------------------


def reinitialise(chart: Chart, paths: Sequence[str] = (), activation: str = "") -> Change | None:
    """Draw the weights again: He's for ReLU and its kind, Glorot's for tanh and sigmoid; biases 0.

    `paths`: only these modules (all where empty). `activation`: what will stand behind the hidden layers. Weights that
    are zero and part within a few steps, as the ends of residual branches and heads may be, stay zero.
    """
    behind = {layer.weight: layer.activation or "" for layer in chart.start.layers}
    head = next((layer.weight for layer in reversed(chart.start.layers) if layer.weight), "")
    start = chart.start
    kept = {name for name in start.zero if start.gradients.get(name, 0.0) > 0 or start.twins.get(name, 0.0) == 0}

    def apply(live: Live) -> None:
        begin_anew(live.model, behind, kept, head, paths, activation)

    shown = named(list(paths)) if paths else say("every layer")
    patch: dict[str, Any] = {}
    if takes(chart, "init"):
        own = str(network(chart)["init"])
        patch = {"network.init": "auto"} if own != "auto" and network(chart)["name"] in ("mlp", "stack") else {}
        patch = patch or ({"network.init": "he_normal"} if own not in ("auto", "he_normal", "torch") else {})
        default = NETWORKS[network(chart)["name"]].settings["init"].default
        if not patch and own not in (default, "auto"):
            patch = {"network.init": default}
    return make(
        chart,
        say("weights drawn anew"),
        say("weights of the right scale keep signals and gradients alive at every depth"),
        patch,
        say(
            "nn.init.kaiming_normal_ (ReLU) or xavier_uniform_ (tanh, sigmoid) for weights, 0 for biases: {places}",
            places=shown,
        ),
        apply,
    )


def begin_anew(
    model: nn.Module, behind: dict[str, str], kept: set[str], head: str, paths: Sequence[str] = (), activation: str = ""
) -> None:  # fmt: skip
    """Draw the weights of a network in place; torch's random numbers go on from where they are."""
    recurrent = {id(p) for module in model.modules() if isinstance(module, nn.RNNBase) for p in module.parameters()}
    embedded = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    biases = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if drawn(module)
        for name, _ in module.named_parameters(recurse=False)
        if "bias" in name
    }
    with torch.no_grad():
        for name, p in model.named_parameters():
            path = name.rpartition(".")[0]
            if not p.requires_grad or name in kept or (paths and path not in paths and name not in paths):
                continue
            if id(p) in recurrent:
                _recurrent(name, p)
            elif id(p) in embedded:
                p.normal_()
            elif name in biases or (p.dim() == 1 and name.removeprefix(".") in biases):
                p.zero_()
            elif p.dim() > 1 and min(p.shape) > 0:
                follows = "" if name == head else activation or behind.get(name, "relu")
                INITIALIZERS["glorot_uniform" if name == head else SUITED.get(follows, "he_normal")].build(p)


def _recurrent(name: str, p: Tensor) -> None:
    width = 1 / math.sqrt(max(1, p.shape[-1] if p.dim() > 1 else len(p) // 4))
    p.uniform_(-width, width) if p.dim() > 1 else p.zero_()


def smaller_head(chart: Chart, factor: float = 0.1) -> Change | None:
    """Scale the last layer's weights, so that the network begins by saying little."""
    layer = next((layer for layer in reversed(chart.start.layers) if layer.weight), None)
    if layer is None:
        return None
    name = layer.weight

    def apply(live: Live) -> None:
        with torch.no_grad():
            live.parameters[name].mul_(factor)

    return make(
        chart,
        say("last layer x {factor:g}", factor=factor),
        say("outputs of the first step are then small"),
        {},
        say("multiply the weights of {place} by {factor:g} before training", place=layer.path or name, factor=factor),
        apply,
    )


# activations ----------------------------------------------------------------------------------------------------


def swap_activations(chart: Chart, to: str = "relu", ops: Sequence[Op] = (), anew: bool = True) -> Change | None:
    """Another hidden activation, with weights drawn for it where `anew` is true."""
    chosen = list(ops) or [
        op for op in chart.hidden if op.name in ELEMENTWISE or op.name in ("softmax", "log_softmax", "softmin")
    ]
    keys = list(dict.fromkeys(op.key for op in chosen if op.name != to))
    if not keys:
        return None
    behind = {layer.weight: layer.activation or "" for layer in chart.start.layers}
    changed = {layer.weight for layer in chart.start.layers if layer.activation_key in keys}
    head = next((layer.weight for layer in reversed(chart.start.layers) if layer.weight), "")

    def apply(live: Live) -> None:
        for key in keys:
            cast(CodeLive, live).swaps[key] = lambda op, _: CALLS[to](
                op.inputs[0] if op.inputs else op.settings["input"]
            )
        if anew:
            paths = [name for name in changed if name]
            begin_anew(live.model, behind | dict.fromkeys(changed, to), set(), head, paths)

    patch: dict[str, Any] = {}
    written = {"silu": "swish"}.get(to, to)
    if takes(chart, "activation") and network(chart)["activation"] != written:
        patch = {"network.activation": written} | (
            {"network.init": "auto"} if anew and network(chart)["name"] == "mlp" else {}
        )
    elif network(chart).get("name") == "stack":
        patch = rewritten(chart, _other_activation(written)) | ({"network.init": "auto"} if anew else {})
    places = named([op.where for op in chosen])
    start = say(", with He initialisation") if anew and to in ("relu", "leaky_relu", "gelu", "silu") else ""
    return make(
        chart,
        say("{activation} in place of {old}", activation=to, old=named(list(dict.fromkeys(op.name for op in chosen)))),
        say("its slope does not vanish on half of its inputs")
        if to != "leaky_relu"
        else say("every unit then passes a gradient"),
        patch,
        f"nn.{CLASSES[to]}()" + start + ": " + places,
        apply,
    )


def _other_activation(to: str) -> Callable[[list[str]], list[str]]:
    def rewrite(items: list[str]) -> list[str]:
        return [re.sub(rf"(?<![\w=])({WRITTEN})\b(\s*\([^()]*\)|\s+[\d.]+)?", to, item) for item in items]

    return rewrite


def rewritten(chart: Chart, rewrite: Callable[[list[str]], list[str]]) -> dict[str, Any]:
    """The patch of a row of layers whose items are rewritten; empty where nothing changes."""
    from netwright.parts.notation import read_items

    text = str(network(chart)["layers"])
    items = [item.text for item in read_items(text, "network.layers")]
    made = rewrite(items)
    return {"network.layers": ", ".join(made)} if made != items else {}


def insert_activation(
    chart: Chart, keys: Sequence[tuple[str, int]], places: Sequence[str], to: str = "relu"
) -> Change | None:
    """A non-linearity before the weighted operations `keys`; what feeds them is drawn anew for it."""

    def apply(live: Live) -> None:
        for key in keys:
            wrap(live, key, lambda op, func, inner: inner(first_changed(op, CALLS[to]), func))

    patch: dict[str, Any] = {}
    if takes(chart, "activation") and network(chart)["activation"] != to:
        patch = {"network.activation": to}
    elif network(chart).get("name") == "stack":
        patch = rewritten(chart, lambda items: _activated(items, to))
    return make(
        chart,
        say("{activation} between linear layers", activation=to),
        say("two linear layers in a row compute no more than one"),
        patch,
        say("nn.{activation}() behind {places}", activation=CLASSES[to], places=named(list(places))),
        apply,
    )


def first_changed(op: Op, change: Callable[[Tensor], Tensor]) -> Op:
    """The operation with its first input changed."""
    inputs, settings = op.inputs, op.settings
    if inputs:
        inputs = (change(inputs[0]), *inputs[1:])
    else:
        settings = {**settings, "input": change(settings["input"])}
    return Op(op.index, op.name, op.path, op.call, inputs, settings)


def _activated(items: list[str], to: str) -> list[str]:
    """A row of layers with an activation behind every weighted one but the last (behind its norm, where it has one)."""
    items = [to if re.fullmatch(r"\s*identity\s*", item) else item for item in items]  # the notation's word for none
    weighted = [place for place, item in enumerate(items) if re.match(r"(linear|conv)\b", item.strip())]
    made: list[str] = []
    due = False
    for place, item in enumerate(items):
        if due and not re.match(r"(batchnorm|layernorm|groupnorm|instancenorm)\b", item.strip()):
            if not re.match(rf"({WRITTEN})\b|maxpool|avgpool|dropout|flatten", item.strip()):
                made.append(to)
            due = bool(re.match(r"maxpool|avgpool|dropout|flatten", item.strip()))
        made.append(item)
        if place in weighted[:-1]:
            due = True
    return made
