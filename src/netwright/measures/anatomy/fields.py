"""Receptive fields: which window of the input picture a unit depends on, followed through every operation of a run.

Behind an upsampling the windows of neighbouring units need not all be equally large and far apart: the size is the
largest, the stride the mean distance (a fraction where it is one), the offset that of the first unit. Where a number
of a whole map is spread over all places, as in squeeze-and-excitation, every unit sees that window: the stride is 0.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

from torch import Tensor

Pair = tuple[int, int]
Step = int | Fraction


def two(value: int | Sequence[int]) -> Pair:
    """A number for both axes, or a pair; a single-element list counts as a number."""
    both = (value, value) if isinstance(value, int) else tuple(value) * (2 if len(value) == 1 else 1)
    return int(both[0]), int(both[1])


@dataclass(frozen=True)
class Field:
    """A receptive field in pixels, (height, width): the window, the step between windows, the first one's place."""

    size: tuple[Step, Step]
    stride: tuple[Step, Step]
    offset: tuple[Step, Step]

    def through(
        self, kernel: Sequence[Step], stride: Sequence[Step], before: Sequence[Step], dilation: Sequence[int] = (1, 1)
    ) -> "Field":
        """The field behind a sliding window with `before` pixels of padding at the top and left.

        Formula: size + d(k - 1) * stride; stride * s; offset - p * stride
        """
        size = [f + d * (k - 1) * j for f, k, j, d in zip(self.size, kernel, self.stride, dilation, strict=True)]
        apart = [j * s for j, s in zip(self.stride, stride, strict=True)]
        first = [o - p * j for o, p, j in zip(self.offset, before, self.stride, strict=True)]
        return Field((size[0], size[1]), (apart[0], apart[1]), (first[0], first[1]))

    def fixed(self) -> "Field":
        """The field where one number of a whole map is spread over many places: the window moves no more."""
        return Field(self.size, (0, 0), self.offset)

    def joined(self, other: "Field") -> "Field":
        """The smallest window around two fields, as where branches are added or put side by side; a fixed one wins."""
        first = [min(a, b) for a, b in zip(self.offset, other.offset, strict=True)]
        ends = [max(a + f, b + g) for a, f, b, g in zip(self.offset, self.size, other.offset, other.size, strict=True)]
        size = [end - start for end, start in zip(ends, first, strict=True)]
        apart = [max(a, b) if a and b else 0 for a, b in zip(self.stride, other.stride, strict=True)]
        return Field((size[0], size[1]), (apart[0], apart[1]), (first[0], first[1]))

    def plain(self) -> dict[str, list[int | float]]:
        """Numbers for JSON: whole ones as they are, fractions rounded to four places."""
        named = {"size": self.size, "stride": self.stride, "offset": self.offset}
        return {key: [_plain(one) for one in pair] for key, pair in named.items()}


def _plain(one: Step) -> int | float:
    return int(one) if one == int(one) else round(float(one), 4)


class Fields:
    """The fields of all maps of a run, told operation by operation."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[weakref.ref[Tensor], Field]] = {}

    def start(self, example: Tensor) -> None:
        """Start from an image, each pixel seeing itself; other inputs have no fields."""
        if example.ndim == 4:
            self.set(example, Field((1, 1), (1, 1), (0, 0)))

    def known(self, tensor: Tensor) -> Field | None:
        """The field of a tensor's units, where it is a map that comes from the image."""
        reference, found = self.kept.get(id(tensor), (None, None))
        return found if reference is not None and reference() is tensor else None

    def set(self, tensor: Tensor, field: Field) -> None:
        """State the field of a tensor's units."""
        self.kept[id(tensor)] = (weakref.ref(tensor), field)

    def learn(self, tensor: Tensor, source: Tensor, before: Pair) -> None:
        """State a padding that torch's own operations do not show, such as the circular one."""
        seen = self.known(source)
        if seen:
            self.set(tensor, seen.through((1, 1), (1, 1), before))

    def follow(self, name: str, args: Sequence[Any], left: Any) -> None:
        """Find the field of an operation's result."""
        if not isinstance(left, Tensor) or left.ndim != 4:
            return
        listed = args[0] if args and isinstance(args[0], (list, tuple)) else args
        tensors = [one for one in listed if isinstance(one, Tensor)]
        sources = [(one, seen) for one in tensors if (seen := self.known(one))]
        found = _after(name, args, sources, left) if sources else None
        if found:
            self.set(left, found)
        elif self.known(left):
            del self.kept[id(left)]


def _after(name: str, args: Sequence[Any], sources: list[tuple[Tensor, Field]], left: Tensor) -> Field | None:
    entered, seen = sources[0]
    if name in _SLIDING:
        return _SLIDING[name](seen, args)
    resized = _RESIZED.get(name)
    if resized:
        axes = [resized(n, m, args) for n, m in zip(entered.shape[2:], left.shape[2:], strict=True)]
        kernel, stride, before = zip(*axes, strict=True)
        return seen.through(kernel, stride, before)
    high, wide = left.shape[2:]
    fitting = all(t.shape[2:] in ((high, wide), (1, 1)) or (high, wide) == (1, 1) for t, _ in sources)
    if name in ("permute", "transpose") or not fitting:
        return None
    if (high, wide) == (1, 1) and entered.shape[2:] != (1, 1):
        return seen.through(two(entered.shape[2:]), two(entered.shape[2:]), (0, 0))
    fields = [one.fixed() if t.shape[2:] == (1, 1) and (high, wide) != (1, 1) else one for t, one in sources]
    for other in fields[1:]:
        fields[0] = fields[0].joined(other)
    return fields[0]


def _convolved(seen: Field, args: Any) -> Field | None:
    weight, stride, padding, dilation, transposed = args[1], args[3], args[4], args[5], args[6]
    if not transposed:
        return seen.through(two(weight.shape[2:]), two(stride), two(padding), two(dilation))
    axes = zip(two(weight.shape[2:]), two(stride), two(padding), two(dilation), strict=True)
    each = [_spread(d * (k - 1) + 1, s, p) for k, s, p, d in axes]
    kernel, step, before = zip(*each, strict=True)
    return seen.through(kernel, step, before)


def _spread(width: int, stride: int, padding: int) -> tuple[int, Fraction, int]:
    """A transposed convolution: output i reads the inputs from ceil((i + p - k + 1)/s) to floor((i + p)/s)."""
    return (width - 1) // stride + 1, Fraction(1, stride), -ceil(Fraction(padding - width + 1, stride))


def _nearest(n: int, m: int, args: Any) -> tuple[int, Fraction, int]:
    return 1, Fraction(n, m) if n > 1 else Fraction(0), 0


def _bilinear(n: int, m: int, args: Any) -> tuple[int, Fraction, int]:
    """Output i reads the two inputs around (i + 1/2) n/m - 1/2, or around i (n - 1)/(m - 1) with aligned corners."""
    if n in (1, m):
        return 1, Fraction(n == m), 0
    if args[2]:
        return (2, Fraction(n - 1, m - 1), 0) if m > 1 else (1, Fraction(n), 0)
    return 2, Fraction(n, m), -floor(Fraction(n, 2 * m) - Fraction(1, 2))


def _adapted(n: int, m: int, args: Any) -> tuple[int, Fraction, int]:
    """Adaptive pooling: output i reads the inputs from floor(i n/m) to ceil((i + 1) n/m)."""
    widest = max(-(-(place + 1) * n // m) - place * n // m for place in range(m))
    return widest, Fraction(n, m), 0


def _sliced(seen: Field, args: Any) -> Field | None:
    given: tuple[Any, ...] = (*args[1:], *(0, 0, None, 1)[len(args) - 1 :])
    axis, start, _, step = given
    if axis in (0, 1, -4, -3):
        return seen
    place = axis % 4 - 2
    if start is None or start < 0:
        return None if start else seen
    moves, steps = [0, 0], [1, 1]
    moves[place], steps[place] = -start, step
    return seen.through((1, 1), steps, moves)


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
    "slice": _sliced,
}
_RESIZED: dict[str, Callable[[int, int, Any], tuple[int, Fraction, int]]] = {
    "upsample_nearest2d": _nearest,
    "upsample_bilinear2d": _bilinear,
    "_adaptive_avg_pool2d": _adapted,
    "adaptive_max_pool2d": _adapted,
}
