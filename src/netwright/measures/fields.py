"""Receptive fields: which window of the input picture a unit depends on, followed through every operation of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Pair = tuple[int, int]


def two(value: int | Sequence[int]) -> Pair:
    """A number for both axes, or a pair; a single-element list counts as a number."""
    both = (value, value) if isinstance(value, int) else tuple(value) * (2 if len(value) == 1 else 1)
    return int(both[0]), int(both[1])


@dataclass(frozen=True)
class Field:
    """A receptive field in pixels, (height, width): the window, the step between windows, the first one's place."""

    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[int, int]

    def through(self, kernel: Pair, stride: Pair, before: Pair, dilation: Pair = (1, 1)) -> "Field":
        """The field behind a sliding window with `before` pixels of padding at the top and left.

        Formula: size + d(k - 1) * stride; stride * s; offset - p * stride
        """
        size = tuple(f + d * (k - 1) * j for f, k, j, d in zip(self.size, kernel, self.stride, dilation, strict=True))
        apart = tuple(j * s for j, s in zip(self.stride, stride, strict=True))
        first = tuple(o - p * j for o, p, j in zip(self.offset, before, self.stride, strict=True))
        return Field(two(size), two(apart), two(first))

    def joined(self, other: "Field") -> "Field":
        """The smallest window around two fields, as where branches are added or put side by side."""
        first = tuple(map(min, self.offset, other.offset))
        ends = [max(a + f, b + g) for a, f, b, g in zip(self.offset, self.size, other.offset, other.size, strict=True)]
        size = tuple(end - start for end, start in zip(ends, first, strict=True))
        return Field(two(size), two(tuple(map(max, self.stride, other.stride))), two(first))


class Fields(TorchDispatchMode):
    """Follows receptive fields through every operation of a run, written as a module or as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, tuple[Tensor, Field]] = {}

    def watching(self, example: Tensor) -> "Fields":
        """Start from an image, each pixel seeing itself; other inputs have no fields."""
        if example.ndim == 4:
            self.kept[id(example)] = (example, Field((1, 1), (1, 1), (0, 0)))
        return self

    def known(self, tensor: Tensor) -> Field | None:
        """The field of a tensor's units, where it is a map that comes from the image."""
        return self.kept[id(tensor)][1] if id(tensor) in self.kept else None

    def learn(self, tensor: Tensor, source: Tensor, kernel: Pair, stride: Pair, before: Pair) -> None:
        """State a window that torch's own operations do not show, such as circular padding."""
        seen = self.known(source)
        if seen:
            self.kept[id(tensor)] = (tensor, seen.through(kernel, stride, before))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        left = result[0] if isinstance(result, (tuple, list)) and result else result
        if isinstance(left, Tensor) and left.ndim == 4:
            listed = args[0] if args and isinstance(args[0], (list, tuple)) else args
            sources = [(t, self.kept[id(t)][1]) for t in listed if isinstance(t, Tensor) and id(t) in self.kept]
            found = self._after(str(func.overloadpacket).removeprefix("aten."), args, sources, left)
            if found:
                self.kept[id(left)] = (left, found)
        return result

    @staticmethod
    def _after(name: str, args: Any, sources: list[tuple[Tensor, Field]], left: Tensor) -> Field | None:
        if not sources:
            return None
        entered, seen = sources[0]
        rule = _SLIDING.get(name)
        if rule:
            return rule(seen, args)
        high, wide = left.shape[2:]
        fitting = all(t.shape[2:] in ((high, wide), (1, 1)) or (high, wide) == (1, 1) for t, _ in sources)
        if name in ("permute", "transpose") or not fitting:
            return None
        if (high, wide) == (1, 1) and entered.shape[2:] != (1, 1):
            return seen.through(two(entered.shape[2:]), two(entered.shape[2:]), (0, 0))
        for _, other in sources[1:]:
            seen = seen.joined(other)
        return seen


def _convolved(seen: Field, args: Any) -> Field | None:
    weight, stride, padding, dilation, transposed = args[1], args[3], args[4], args[5], args[6]
    if transposed:
        return None
    return seen.through(two(weight.shape[2:]), two(stride), two(padding), two(dilation))


def _max_pooled(seen: Field, args: Any) -> Field:
    kernel, stride, padding, dilation = _window(args)
    return seen.through(kernel, stride, padding, dilation)


def _mean_pooled(seen: Field, args: Any) -> Field:
    return seen.through(*_window(args)[:3])


def _window(args: Any) -> tuple[Pair, Pair, Pair, Pair]:
    """Kernel, stride, padding and dilation from a pooling's arguments; those left out have torch's defaults."""
    kernel = two(args[1])
    stride = two(args[2]) if len(args) > 2 and args[2] else kernel
    dilation = two(args[4]) if len(args) > 4 and not isinstance(args[4], bool) else (1, 1)
    return kernel, stride, two(args[3]) if len(args) > 3 else (0, 0), dilation


def _padded(seen: Field, args: Any) -> Field:
    left, _, top = (*args[1], 0, 0)[:3]
    return seen.through((1, 1), (1, 1), (top, left))


_SLIDING: dict[str, Callable[[Field, Any], Field | None]] = {
    "convolution": _convolved,
    "max_pool2d_with_indices": _max_pooled,
    "avg_pool2d": _mean_pooled,
    "constant_pad_nd": _padded,
    "replication_pad2d": _padded,
    "reflection_pad2d": _padded,
}
