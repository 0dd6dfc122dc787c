"""A wrong size, explained: the layers so far, the one that fails, its formula with the numbers, and what works."""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy.counting import facts, kind_of, sides_of, sizes
from netwright.measures.anatomy.layer import Layer, rows_of, titles
from netwright.measures.anatomy.operations import word_of
from netwright.measures.anatomy.passes import FAILURES, Shape, infer, shadows
from netwright.measures.anatomy.tables import aligned, by
from netwright.measures.anatomy.watch import Watch, first, tensors

SHOWN = 6
"""How many of the layers before the failing one a message shows."""
LARGEST = 2048
"""Pixels a side up to which an input that works is looked for."""


class WrongSize(UsageError):
    """A network cannot take an input; `layers` are the rows up to the layer that fails."""

    layers: list[Layer]


def refusal(
    model: nn.Module, shape: Shape, dtype: torch.dtype, watch: Watch, error: Exception, title: str, fix: str = ""
) -> WrongSize:
    """The error to raise where a pass stopped: what failed, why in numbers, what works, and the table so far."""
    rows = rows_of(model, watch, None, silent=False)
    name, kind = _place(watch)
    text = say("network {name!r} cannot take an input of {shape}", name=title, shape=by(shape))
    where = say("layer {name!r} ({kind}) fails", name=name, kind=kind) if kind else ""
    reason = _formula(watch) or (str(error).splitlines() or [type(error).__name__])[0][:200]
    lines = [text, f"{where}: {reason}" if where else reason, fix or _fix(model, shape, dtype, watch, name)]
    found = WrongSize("\n".join([*(line for line in lines if line), *_table(rows)]))
    found.layers = rows
    return found


def _table(rows: list[Layer]) -> list[str]:
    """The last rows of the table so far."""
    if not rows:
        return []
    wanted = [0, 1, 2, 3, 4]
    cells = [[row[place] for place in wanted] for row in (titles(), *(row.cells() for row in rows[-SHOWN:]))]
    hidden = len(rows) - SHOWN
    more = [say("... {count} layers before", count=hidden)] if hidden > 0 else []
    head, *body = aligned(cells, 3)
    return [head, *more, *body]


def _place(watch: Watch) -> tuple[str, str]:
    """Name and kind of the layer, or of the function and the module that calls it, at which a pass stopped."""
    if watch.layer is not None:
        return watch.names[watch.layer] or kind_of(watch.layer), kind_of(watch.layer)
    if not watch.last[0]:
        return "", ""
    module = watch.stack[-1] if watch.stack else None
    name = watch.names.get(module, "") if module is not None else ""
    return name or (kind_of(module) if module is not None else ""), word_of(watch.last[0])


def _formula(watch: Watch) -> str:
    """Why a layer fails, with the numbers in it; empty where only torch can tell."""
    entered = first(watch.entered) if watch.layer is not None else None
    if entered is None:
        return _unlike(*watch.last)
    window = watch.layer.weight.ndim if isinstance(watch.layer, nn.modules.conv._ConvNd) else entered.ndim
    if entered.ndim != window:
        return say("it wants maps (channels, height, width), got {shape}", shape=by(entered.shape[1:]))
    wanted, axis = _wanted(watch.layer)
    if wanted and entered.ndim > abs(axis) - (axis > 0) and entered.shape[axis] != wanted:
        return _mismatch(watch, entered, wanted, axis)
    return _too_small(watch.layer, entered)


def _wanted(layer: Any) -> tuple[int, int]:
    """How many channels or features a layer wants, and on which axis; 0 where any number is right."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        return layer.in_channels, 1
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        return layer.num_features, 1
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels, 1
    if isinstance(layer, nn.LayerNorm):
        return int(layer.normalized_shape[-1]), -1
    if isinstance(layer, nn.Linear):
        return layer.in_features, -1
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        return layer.input_size, -1
    return 0, 1


def _mismatch(watch: Watch, entered: Tensor, wanted: int, axis: int) -> str:
    """Channels or features that do not fit: how many are wanted, how many came, and what these are made of."""
    came = int(entered.shape[axis])
    if axis == 1:
        return say(
            "it wants {wanted} channels, got {came} ({shape})", wanted=wanted, came=came, shape=by(entered.shape[1:])
        )
    last = watch.nodes[-1].output[1:] if watch.nodes else []
    maps = next((node.output[1:] for node in reversed(watch.nodes) if len(node.output) > 2), last)
    made = f" = {'*'.join(map(str, maps))}" if len(maps) > 1 and prod(maps) == came else ""
    return say("it wants {wanted} features, got {came}{made}", wanted=wanted, came=came, made=made)


def _too_small(layer: Any, entered: Tensor) -> str:
    """The size formula of a window that is larger than its maps."""
    window = getattr(layer, "kernel_size", None)
    if window is None or isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return ""
    axes = len(window) if isinstance(window, tuple) else entered.ndim - 2
    if entered.ndim != axes + 2 or axes < 1:
        return ""
    given = [layer.kernel_size, layer.stride or layer.kernel_size, getattr(layer, "dilation", 1)]
    kernel, stride, spread = ((one,) * axes if isinstance(one, int) else tuple(one) for one in given)
    if isinstance(layer, nn.modules.conv._ConvNd) or hasattr(layer, "sides"):
        around = layer.sides if isinstance(getattr(layer, "sides", None), tuple) else sides_of(layer, entered.shape[2:])
    else:
        padding = getattr(layer, "padding", 0)
        around = [(p, p) for p in ((padding,) * axes if isinstance(padding, int) else padding)]
    spans = zip(entered.shape[2:], kernel, spread, around, strict=True)
    if all(n + sum(p) >= d * (k - 1) + 1 for n, k, d, p in spans):
        return ""
    return sizes(entered.shape[2:], kernel, stride, around, spread, up=getattr(layer, "ceil_mode", False))


def _unlike(name: str, args: Any) -> str:
    """Tensors that a function cannot join."""
    shapes = [by(tensor.shape[1:]) for tensor in tensors(args)][:4]
    if name in ("add", "add_", "mul", "cat", "sub", "addmm", "mm", "bmm") and len(shapes) > 1:
        return say("{shapes} do not go together", shapes=", ".join(shapes))
    return ""


def _fix(model: nn.Module, shape: Shape, dtype: torch.dtype, watch: Watch, name: str) -> str:
    """The nearest input that works, found by trying on the meta device; else what the layer would have to be."""
    trial, computed = Trial(model, dtype), any(node.facts.get("macs") for node in watch.nodes)
    wanted, axis = _wanted(watch.layer) if watch.layer is not None else (0, 1)
    entered = first(watch.entered)
    for candidate in _candidates(shape, wanted, axis, entered, computed, watch.layer is None):
        if trial.verdict(candidate) == 0:
            return say("An input of {shape} works.", shape=by(candidate))
    if len(shape) == 3:
        depths = dict.fromkeys([shape[0], trial.depth()])
        for depth in depths:
            side = trial.smallest(depth) if depth else 0
            if side:
                return say("The smallest square input that works is {shape}.", shape=by((depth, side, side)))
    if wanted and entered is not None and entered.ndim > 1 and (axis < 0 or entered.ndim > 2):
        came = int(entered.shape[axis])
        return say("Build layer {name!r} for {came} instead of {wanted}.", name=name, came=came, wanted=wanted)
    return ""


def _candidates(
    shape: Shape, wanted: int, axis: int, entered: Tensor | None, computed: bool, joins: bool
) -> Iterator[Shape]:
    """Inputs that might work: the right number of channels or features, then sides that halve more often."""
    if wanted and not computed:
        if axis == 1:
            yield (wanted, *shape[1:])
        elif entered is not None and entered.ndim == len(shape) + 1:
            yield (*shape[:-1], wanted)
        yield (wanted,)
    if len(shape) == 3 and joins:
        for times in (2, 4, 8, 16, 32, 64):
            rounded = tuple(-(-side // times) * times for side in shape[1:])
            if rounded != tuple(shape[1:]):
                yield (shape[0], *rounded)


class Trial:
    """Tries inputs without numbers."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.model, self.dtype, self.weights = model, dtype, shadows(model)

    def verdict(self, shape: Shape) -> int | None:
        """0 where an input works, -1 where it is too small, 1 where it is too large, None where it is neither."""
        watch = Watch(self.model, facts, [] if self.weights is None else list(self.weights.values()))
        try:
            infer(self.model, torch.zeros(1, *shape, dtype=self.dtype, device="meta"), watch, self.weights)
        except FAILURES:
            layer, entered = watch.layer, first(watch.entered)
            if layer is None or entered is None:
                return None
            wanted, _ = _wanted(layer)
            if isinstance(layer, nn.Linear) and entered.shape[-1] != wanted:
                return -1 if entered.shape[-1] < wanted else 1
            return -1 if _too_small(layer, entered) and entered.shape[1] == (wanted or entered.shape[1]) else None
        return 0

    def depth(self) -> int:
        """How many channels the first convolution reads."""
        first_one = next((m for m in self.model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
        return first_one.in_channels if first_one is not None else 0

    def smallest(self, depth: int) -> int:
        """The smallest side of a square input that works; 0 where none up to LARGEST does."""
        below, above, best = 0, LARGEST + 1, 0
        while above - below > 1:
            side = (below + above) // 2
            found = self.verdict((depth, side, side))
            if found is None:
                return best
            if found < 0:
                below = side
            else:
                above, best = side, side if found == 0 else best
        return best
