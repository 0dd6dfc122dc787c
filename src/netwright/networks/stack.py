"""A network written in one line: `conv 16 5 pad=same, relu, maxpool 2, linear out`.

The line is read, then built once without memory (torch's meta device) to find every shape and every mistake, and only
then built for use. Recurrent layers read an image as height steps of channels x width numbers.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import nn

from netwright.catalogue import (
    ACTIVATIONS,
    CELLS,
    NETWORKS,
    NORMS,
    POOLING,
    Setting,
    settings_of,
)
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.networks.convolutions import OUT, WEIGHTED
from netwright.networks.flow import Flow, by, check_end, entering, refuse, tokens_came
from netwright.networks.layers import LAYERS, EveryStep, Modules, Parallel, Residual, Row, Shape, Whole, projection
from netwright.networks.recurrent import RowsAsSteps
from netwright.networks.shapes import Ends, units
from netwright.parts.cells import width_of
from netwright.parts.initializers import drawn, initialise, read_init
from netwright.parts.notation import GROUPS, Item, read_items, settings_from

MOST_LAYERS = 5_000
MOST_PARAMETERS = 2**33
EXAMPLE = "conv 16 5 pad=same, relu, maxpool 2, linear out"
NUMBERS = {
    "conv": 2, "conv_transposed": 2, "separable": 2, "local": 2, "globalpool": 0, "batchnorm": 0, "layernorm": 0,
    "instancenorm": 0,
}  # fmt: skip
"""How many numbers may stand without a key, where it is not one."""
DROPOUTS = ("dropout", "dropout2d", "alpha_dropout", "gaussian_dropout", "droppath")
MEANT = {
    "dense": "linear", "fc": "linear", "fully_connected": "linear", "affine": "linear", "conv2d": "conv",
    "convolution": "conv", "pool": "maxpool", "maxpool2d": "maxpool", "max_pool": "maxpool", "avg_pool": "avgpool",
    "averagepool": "avgpool", "bn": "batchnorm", "batch_norm": "batchnorm", "ln": "layernorm", "gn": "groupnorm",
    "silu": "swish", "linear_layer": "linear", "gap": "globalpool", "global_pool": "globalpool",
    "deconv": "conv_transposed", "conv_transpose": "conv_transposed", "convtranspose2d": "conv_transposed",
    "locally_connected": "local", "separable_conv": "separable", "depthwise_conv": "depthwise",
    "stochastic_depth": "droppath", "drop_path": "droppath", "spatial_dropout": "dropout2d", "upsampling": "upsample",
    "channel_dropout": "dropout2d", "in": "instancenorm", "instance_norm": "instancenorm", "sub_sample": "subsample",
    "adaptive_avg_pool": "adaptivepool",
}  # fmt: skip
"""What people write for a layer; used in hints only."""


@NETWORKS.add(
    source="the notation of this product",
    tasks=("classify", "regress", "forecast", "tag"),
    inputs=("image", "vector", "sequence", "text"),
)
def stack(inputs: Ends, outputs: Ends, *, layers: str = "", init: str = "torch") -> nn.Module:
    """Any network that is a row of layers, written in one line.

    Formula: `layers = "conv 16 5 pad=same, relu, maxpool 2, linear out"`; `out` is the number of outputs

    `init` names an initializer for every layer without its own (`auto` suits the activation that follows). Texts begin
    with `embedding N`; `lstm 128, last, linear out` then answers once, and without `last` at every token. Errors:
    UsageError with the layer, the formula and the numbers, before any weight exists.
    """
    if not layers.strip():
        text = say("network 'stack' needs layers, such as {example!r}.", example=EXAMPLE)
        raise UsageError(text)
    items = read_items(layers, "network.layers")
    if _layers(items) > MOST_LAYERS:
        raise UsageError(say("network.layers: more than {most} layers.", most=MOST_LAYERS))
    start = entering(inputs)
    with torch.device("meta"):
        dry = _Builder(units(outputs), init)
        plan, end = dry.row(items, start, "")
    check_end(items[-1], len(items), end, outputs)
    size = sum(weight.numel() for weight in plan.parameters())
    if size > MOST_PARAMETERS:
        raise UsageError(say("network.layers: {size:,} parameters do not fit in memory.", size=size))
    _check_apart(items)
    built, _ = _Builder(units(outputs), init, iter(dry.shapes)).row(items, start, "")
    if len(end.shape) == 3:
        built.add_module("flatten_out", nn.Flatten())
    return Whole(OrderedDict(built.named_children()))


def conv_stack(
    channels: Sequence[int],
    *,
    convs: int | Sequence[int] = 1,
    kernel: int | Sequence[int] = 3,
    pad: int | str | Sequence[int | str] = "same",
    pool: str | Sequence[str] = "maxpool 2",
    activation: str = "relu",
    norm: str = "",
    linear: Sequence[int] = (),
    dropout: float = 0.0,
) -> str:
    """The notation of the usual convolutional network, for `stack`: blocks of convolutions and a pooling, then layers.

    Formula: [M x (conv, norm, activation), pooling] x N, K x (linear, activation, dropout), linear out; N is the
    number of `channels`, M that of `convs`, K the number of `linear` units

    `conv_stack([16, 32], kernel=5)` is the notes' CNN. `convs`, `kernel`, `pad` and `pool` are one for all blocks or
    one a block; a pooling of "" leaves it out. Errors: UsageError where the counts do not fit.
    """
    if not channels or min(channels) < 1:
        raise UsageError(say("conv_stack: channels = {channels}; each block has 1 or more.", channels=list(channels)))
    each = {"convs": convs, "kernel": kernel, "pad": pad, "pool": pool}
    columns = [_for_blocks(name, value, len(channels)) for name, value in each.items()]
    found: list[str] = []
    for width, times, side, border, pooling in zip(channels, *columns, strict=True):
        layer = ", ".join([f"conv {width} {side} pad={border}", *([norm] if norm else []), activation])
        found.append(layer if times == 1 else f"repeat {times} ({layer})")
        found += [pooling] if pooling else []
    for units_ in linear:
        found += [f"linear {units_}", activation, *([f"dropout {dropout}"] if dropout else [])]
    return ", ".join([*found, "linear out"])


def _for_blocks(name: str, value: Any, count: int) -> list[Any]:
    """One value for each block."""
    found = [value] * count if isinstance(value, (int, str)) else list(value)
    if len(found) != count or (name in ("convs", "kernel") and any(type(one) is not int or one < 1 for one in found)):
        text = say("conv_stack: {name} = {value}; it is one for all of {count} blocks, or one for each.",
                   name=name, value=value, count=count)  # fmt: skip
        raise UsageError(text)
    return found


def _check_apart(items: tuple[Item, ...]) -> None:
    """Refuse linear layers with nothing between them; `identity` between them says that it is meant (S-067)."""
    rounds = [(item.branches[0][-1], item.branches[0][0]) for item in items if item.name == "repeat"
              and item.values[0] > 1]  # fmt: skip
    for one, two in [*pairwise(items), *rounds]:
        if one.name == two.name == "linear":
            text = say("{one!r} and {two!r} with nothing between are one linear layer.", one=one.text, two=two.text)
            raise UsageError(text + " " + say("Put an activation between them; `identity` says that it is meant."))
    for branch in (branch for item in items for branch in item.branches):
        _check_apart(branch)


class _Builder:
    """Builds rows of layers. Without `known` it runs each layer on the meta device and notes the shape behind it in
    `shapes`; with `known` (those shapes) it builds for use and fills the weights."""

    def __init__(self, wanted: int, init: str, known: Iterator[Shape] | None = None) -> None:
        self.wanted, self.init, self.known = wanted, init, known
        self.shapes: list[Shape] = []
        if init not in ("torch", "auto"):
            read_init(init, "network.init")

    def row(self, items: tuple[Item, ...], flow: Flow, path: str) -> tuple[Row, Flow]:
        """The layers of one row as a sequence, and what flows out of it."""
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        used: Counter[str] = Counter()
        for place, item in enumerate(items, 1):
            where = say("layer {place} {text!r}", place=f"{path}{place}", text=_short(item.text))
            after = _activation_after(items[place:])
            for _ in range(_times(item, where)):
                made, flow = self.one(item, flow, where, f"{path}{place}.", after)
                used[item.name] += 1
                for suffix, module in made.items():
                    modules[f"{item.name}{used[item.name]}{suffix}"] = module
        return Row(modules), flow

    def one(self, item: Item, flow: Flow, where: str, path: str, after: str) -> tuple[Modules, Flow]:
        """The modules of one item: a layer, a group, or one round of a repetition."""
        if item.name == "repeat":
            row, flow = self.row(item.branches[0], flow, path)
            return {"": row}, flow
        if item.name in GROUPS:
            return self.group(item, flow, where, path)
        return self.single(item, flow, where, after)

    def group(self, item: Item, flow: Flow, where: str, path: str) -> tuple[Modules, Flow]:
        known = {"project": Setting("project", (bool,), False)} if item.name == "residual" else {}
        chosen = settings_from(item, known, where, numbers=0)
        if not item.branches or not all(item.branches):
            raise UsageError(say("{where}: {name} needs layers in brackets: {name}(...).", where=where, name=item.name))
        if item.name == "parallel":
            return self.parallel(item, flow, where, path)
        if len(item.branches) > 1:
            raise UsageError(say("{where}: residual has one branch; | belongs to parallel.", where=where))
        body, end = self.row(item.branches[0], flow, path)
        if flow.tokens:
            raise UsageError(f"{where}: {tokens_came(item.name, flow)}")
        if end.shape == flow.shape:
            return {"": Residual(body, None)}, end
        if not chosen.get("project"):
            shapes = {"before": by(flow.shape), "after": by(end.shape)}
            text = say("{where}: a sum of {before} and {after} is not possible", where=where, **shapes)
            raise UsageError(text + "; " + say("keep the shape, or write residual(...) project=true."))
        made = self.placed(where, projection, flow.shape, end.shape)
        return {"": Residual(body, made)}, end

    def parallel(self, item: Item, flow: Flow, where: str, path: str) -> tuple[Modules, Flow]:
        rows = [self.row(branch, flow, f"{path}{place}.") for place, branch in enumerate(item.branches, 1)]
        shapes = [end.shape for _, end in rows]
        axis = 2 if len(shapes[0]) == 2 else 1
        rest = {(len(shape), *shape[: axis - 1], *shape[axis:]) for shape in shapes}
        if len(rest) > 1:
            listed = ", ".join(map(by, shapes))
            text = say("{where}: its branches give {shapes}", where=where, shapes=listed)
            raise UsageError(text + "; " + say("joined on channels, they need equal height and width."))
        joined = list(shapes[0])
        joined[axis - 1] = sum(shape[axis - 1] for shape in shapes)
        return {"": Parallel([row for row, _ in rows], axis)}, Flow(tuple(joined), uneven=flow.uneven)

    def single(self, item: Item, flow: Flow, where: str, after: str) -> tuple[Modules, Flow]:
        build, known, numbers = _known(item.name, where)
        inits = {name: str(value) for name, value in item.settings.items() if name in ("init", "bias_init")}
        rest = {name: value for name, value in item.settings.items() if name not in inits}
        values = tuple(self.wanted if one == "out" and item.name in OUT else one for one in item.values)
        rest = {
            name: self.wanted if value == "out" and name in ("units", "channels") else value
            for name, value in rest.items()
        }
        given = settings_from(replace(item, values=values, settings=rest), known, where, numbers=numbers)
        refuse(item.name, flow, where)
        ready, flow = _arranged(item.name, flow)
        made = self.placed(where, build, flow, given)
        self.initialise(made, inits, where, after)
        module = made[""]
        two_way = flow.two_way and (item.name in NORMS or item.name in ACTIVATIONS or item.name in DROPOUTS)
        if isinstance(module, EveryStep):
            both, shape = bool(module.cell.bidirectional), (flow.shape[0], width_of(module.cell))
            return {**ready, **made}, Flow(shape, both, uneven=flow.uneven)
        shape = self.placed(where, self.passed, made, flow)
        return {**ready, **made}, Flow(shape, two_way, uneven=flow.uneven)

    def passed(self, made: Modules, flow: Flow) -> Shape:
        """The shape behind some modules: measured with tensors that hold no numbers, or known from that."""
        if self.known is not None:
            return next(self.known)
        row = nn.Sequential(*made.values()).eval()
        with torch.no_grad():
            example = torch.zeros(1, *flow.shape, dtype=torch.long if flow.tokens else torch.float32)
            self.shapes.append(tuple(row(example).shape[1:]))
        row.train()
        return self.shapes[-1]

    def initialise(self, made: Modules, inits: Mapping[str, str], where: str, after: str) -> None:
        module = made[""]
        weighty = any(map(drawn, module.modules()))
        if inits and not weighty:
            raise UsageError(
                say("{where}: it has no weights that {name} could fill.", where=where, name=next(iter(inits)))
            )
        for name, spec in inits.items():
            if spec not in ("torch", "auto"):
                self.placed(where, read_init, spec, name)
        chosen = inits.get("init", self.init)
        if weighty:
            self.placed(where, initialise, module, chosen, after or "identity", inits.get("bias_init", ""))

    @staticmethod
    def placed(where: str, build: Callable[..., Any], *given: Any) -> Any:
        """Call `build`; a refusal is repeated with the layer in front."""
        try:
            return build(*given)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None


def _layers(items: tuple[Item, ...]) -> int:
    """How many layers some items come to, repetitions counted out."""
    rounds = [item.values[0] if item.name == "repeat" and item.values[:1] != () else 1 for item in items]
    inner = [sum(map(_layers, item.branches)) if item.branches else 1 for item in items]
    return sum(n * count for n, count in zip(rounds, inner, strict=True) if type(n) is int)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _times(item: Item, where: str) -> int:
    if item.name != "repeat":
        return 1
    if len(item.values) != 1 or type(item.values[0]) is not int or not 1 <= item.values[0] <= 1000 or item.settings:
        raise UsageError(say("{where}: repeat takes a whole number from 1 to 1000: repeat 3 (...).", where=where))
    if len(item.branches) != 1 or not item.branches[0]:
        raise UsageError(say("{where}: {name} needs layers in brackets: {name}(...).", where=where, name="repeat 3 "))
    return int(item.values[0])


def _activation_after(items: tuple[Item, ...]) -> str:
    """The first activation behind a layer, up to the next layer with weights."""
    for item in items:
        if item.name in ACTIVATIONS:
            return item.name
        if item.name in WEIGHTED or item.name in CELLS or item.name in GROUPS:
            break
    return ""


def _known(name: str, where: str) -> tuple[Callable[..., Modules], Mapping[str, Setting], int]:
    """How to build a layer from (flow, settings), its settings, and how many numbers may stand without a key."""
    if name in LAYERS:
        known = settings_of(LAYERS[name])
        if name == "embedding":
            return _embedding, known, 1
        return (lambda flow, given: LAYERS[name](flow.shape, **given)), known, NUMBERS.get(name, min(1, len(known)))
    if name in ("softmax", "log_softmax"):
        text = say("{where}: networks end in plain numbers; the loss applies the softmax.", where=where)
        raise UsageError(text + " " + say("Leave it out."))
    part = next((family[name] for family in (ACTIVATIONS, POOLING, NORMS, CELLS) if name in family), None)
    if part:
        known, numbers = part.settings, NUMBERS.get(name, min(1, len(part.settings)))
        if name in CELLS:
            return (lambda flow, given: _cell(name, flow, given)), known, numbers
        shaped = name not in ACTIVATIONS
        return (lambda flow, given: {"": part.build(*([flow.shape] if shaped else []), **given)}), known, numbers
    names = [*LAYERS, *ACTIVATIONS, *POOLING, *NORMS, *CELLS, *GROUPS]
    meant = MEANT.get(name.lower(), "")
    near = say("Did you mean {best!r}?", best=meant) if meant else hint(name, names)
    raise UsageError(say("{where}: there is no layer {name!r}.", where=where, name=name) + " " + near)


def _cell(name: str, flow: Flow, given: dict[str, Any]) -> Modules:
    """A recurrent layer or a readout; both want steps."""
    if len(flow.shape) != 2:
        text = say("{name} wants steps of features, but the shape {shape} came.", name=name, shape=flow.shape)
        raise UsageError(text)
    part = CELLS[name]
    if part.facts["kind"] == "readout":
        return {"": part.build(flow.two_way, flow.shape[1], **given)}
    return {"": EveryStep(part.build(flow.shape[1], **given))}


def _embedding(flow: Flow, given: dict[str, Any]) -> Modules:
    """A vector for each token of the data's vocabulary, padding all zero."""
    if not flow.tokens:
        return LAYERS["embedding"](flow.shape, **given)
    return {"": nn.Embedding(flow.tokens, given["features"], padding_idx=0)}


def _arranged(name: str, flow: Flow) -> tuple[Modules, Flow]:
    """What is put in by itself before a layer: flatten before `linear`, rows as steps before recurrent layers."""
    if len(flow.shape) == 3 and name == "linear":
        return {"_flatten": nn.Flatten()}, Flow((prod(flow.shape),))
    if len(flow.shape) == 3 and name in CELLS and CELLS[name].facts["kind"] == "recurrent":
        channels, height, width = flow.shape
        return {"_rows": RowsAsSteps()}, Flow((height, channels * width))
    return {}, flow
