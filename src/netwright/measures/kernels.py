"""Kernels as detectors of features: their weights, and the patches of pictures that each answers most to."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.measures.anatomy import observed
from netwright.measures.anatomy.fields import Field
from netwright.measures.anatomy.passes import in_mode, number_type

Pictures = Float[Tensor, "pictures channels height width"]
CHUNK = 64  # pictures that run through the network at a time
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Patch:
    """One place at which a kernel answers: the window of the picture that this unit sees.

    `top` and `left` may lie in the padding (below 0), `bottom` and `right` (one behind the last pixel) beyond the
    picture.
    """

    kernel: int
    picture: int
    row: int
    column: int
    """The unit's place in the kernel's map."""
    top: int
    left: int
    bottom: int
    right: int
    value: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def cut(self, picture: Float[Tensor, "channels height width"]) -> Float[Tensor, "channels high wide"]:
        """The window's pixels; 0 outside the picture."""
        _, height, width = picture.shape
        high, wide = self.bottom - self.top, self.right - self.left
        found = picture.new_zeros(picture.shape[0], high, wide)
        rows = slice(max(self.top, 0), max(min(self.bottom, height), 0))
        columns = slice(max(self.left, 0), max(min(self.right, width), 0))
        inside = picture[:, rows, columns]
        first, second = max(-self.top, 0), max(-self.left, 0)
        found[:, first : first + inside.shape[1], second : second + inside.shape[2]] = inside
        return found


def first_convolution(model: nn.Module) -> str | None:
    """The name of the first convolution of pictures, in the order in which modules were added; None without one."""
    names = (
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and module.weight.ndim == 4
    )
    return next(names, None)


def kernels(model: nn.Module, layer: str = "") -> Float[Tensor, "kernels depth high wide"]:
    """The weights of a convolution, float64 on the processor; of the first one where `layer` is empty.

    Errors: UsageError where there is no such layer, or it is no convolution of pictures.
    """
    name = layer or first_convolution(model) or ""
    module = _named(model, name)
    if not isinstance(module, CONVOLUTIONS):
        found = [one for one, inner in model.named_modules() if isinstance(inner, CONVOLUTIONS)]
        text = say("layer {name!r} is no convolution of pictures.", name=name)
        raise UsageError(f"{text} {hint(name, found)}".rstrip())
    weight = module.weight.detach().double().cpu()
    return weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight


def strongest_patches(
    model: nn.Module, layer: str, pictures: Pictures, count: int = 1, *, one_each: bool = False
) -> list[list[Patch]]:
    """For each kernel (channel) of a layer the `count` patches of the pictures with the greatest outputs, best first.

    Formula: a unit at (i, j) sees rows offset + i * stride ... + size - 1, and columns alike, with the layer's
    receptive field

    Args: `pictures` as the network reads them (encoded); `one_each` takes at most one patch from each picture. Of equal
    outputs the first comes first: by picture, row, column. Errors: UsageError for an unknown layer, one whose output
    is no map, or pictures of another size than (pictures, channels, height, width).
    """
    if pictures.ndim != 4 or not len(pictures):
        raise UsageError(say("pictures are (count, channels, height, width), at least one; the shape {shape} came.",
                             shape=tuple(pictures.shape)))  # fmt: skip
    if count < 1:
        raise UsageError(say("count = {count}; at least 1 patch is asked for", count=count))
    module = _named(model, layer)
    field = _field(model, layer, tuple(pictures.shape[1:]))
    found: list[list[tuple[float, int, int, int]]] = []
    for start in range(0, len(pictures), CHUNK):
        maps = _maps(model, module, pictures[start : start + CHUNK])
        if maps is None:
            raise _no_map(layer)
        found = found or [[] for _ in range(maps.shape[1])]
        for kernel, best in enumerate(found):
            best += _best(maps[:, kernel], start, count, one_each)
            best.sort(key=lambda one: (-one[0], *one[1:]))
            del best[count:]
    return [[_patch(kernel, field, *one) for one in best] for kernel, best in enumerate(found)]


def _named(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if not name or name not in modules:
        known = [one for one, inner in modules.items() if one and not list(inner.children())]
        raise UsageError(f"{say('there is no layer {name!r}.', name=name)} {hint(name, known)}")
    return modules[name]


def _no_map(layer: str) -> UsageError:
    return UsageError(say("layer {name!r} gives no maps of a picture, or does not run on its own.", name=layer))


def _field(model: nn.Module, layer: str, shape: tuple[int, ...]) -> Field:
    """The receptive field of a layer's units: found in the layer's own row, or that of the last row inside it."""
    watch, _, _ = observed(model, shape, type(model).__name__)
    rows = [node for node in watch.nodes if node.name == layer or node.name.startswith(f"{layer}.")]
    if not rows or rows[-1].seen is None:
        raise _no_map(layer)
    return rows[-1].seen


def _maps(model: nn.Module, module: nn.Module, pictures: Pictures) -> Tensor | None:
    """A layer's output for some pictures, in evaluation mode; None where it gives no maps."""
    seen: list[Any] = []
    dtype, device = number_type(model)
    hook = module.register_forward_hook(lambda _module, _given, output: seen.append(output))
    try:
        with in_mode(model, False), torch.no_grad():
            model(pictures.to(device, dtype))
    finally:
        hook.remove()
    output = seen[-1] if seen else None
    return output.double().cpu() if isinstance(output, Tensor) and output.ndim == 4 else None


def _best(maps: Tensor, start: int, count: int, one_each: bool) -> list[tuple[float, int, int, int]]:
    """The greatest outputs of one kernel in some pictures: (value, picture, row, column)."""
    wide, area = maps.shape[2], maps.shape[1] * maps.shape[2]
    flat = torch.nan_to_num(maps.flatten(1), nan=-torch.inf)
    if one_each:
        values, places = flat.max(1)
        found = [
            (float(value), picture, int(place))
            for picture, (value, place) in enumerate(zip(values, places, strict=True))
        ]
    else:
        order = flat.flatten().sort(descending=True, stable=True)
        pairs = zip(order.values[:count].tolist(), order.indices[:count].tolist(), strict=True)
        found = [(value, place // area, place % area) for value, place in pairs]
    return [(value, start + picture, place // wide, place % wide) for value, picture, place in found]


def _patch(kernel: int, field: Field, value: float, picture: int, row: int, column: int) -> Patch:
    """The window of a unit; where an upsampling makes fractions of it, the pixels around."""
    starts = [o + place * s for o, place, s in zip(field.offset, (row, column), field.stride, strict=True)]
    top, left = (int(one // 1) for one in starts)
    bottom, right = (int(-(-(start + size) // 1)) for start, size in zip(starts, field.size, strict=True))
    return Patch(kernel, picture, row, column, top, left, bottom, right, value)
