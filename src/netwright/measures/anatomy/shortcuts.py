"""Results of the commonest operations on tensors that hold no numbers (torch's meta device), by their shapes alone.

torch knows these shapes too, but its first convolution or ReLU on the meta device imports its compiler: about a second.
A rule answers only where it is sure; everything else, mistakes included, goes to torch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from netwright.parts.windows import padded_size

ALIKE = frozenset([
    "relu", "sigmoid", "tanh", "silu", "gelu", "hardtanh", "hardswish", "hardsigmoid", "elu", "leaky_relu",
    "softplus", "neg", "exp", "log", "sqrt", "rsqrt", "square", "pow", "abs", "clone", "_softmax", "_log_softmax",
    "empty_like", "zeros_like", "ones_like", "rand_like", "randn_like", "erf", "clamp", "clamp_min", "clamp_max",
])  # fmt: skip
"""Operations whose result looks like their first argument."""
WRITING = frozenset([
    "relu_", "sigmoid_", "tanh_", "silu_", "hardtanh_", "hardswish_", "hardsigmoid_", "elu_", "leaky_relu_",
    "normal_", "uniform_", "fill_", "zero_", "copy_", "mul_", "add_", "sub_", "div_", "clamp_", "clamp_min_",
    "clamp_max_", "erfinv_", "bernoulli_", "sqrt_", "trunc_normal_", "random_",
])  # fmt: skip
"""Operations that write into their first argument and return it."""
HARMLESS = frozenset(["alpha", "approximate", "memory_format", "pin_memory", "dtype", "layout", "device"])
"""Settings that change no shape."""
PAIRS = frozenset([
    "add", "sub", "mul", "div", "maximum", "minimum",
])  # fmt: skip


def shortcut(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of an operation on meta tensors, or None where torch is to be asked."""
    if name in WRITING:
        return _written(args)
    if not args or set(kwargs) - HARMLESS or any(kwargs.get(key) for key in ("dtype", "device")):
        return None
    first = args[0][0] if isinstance(args[0], (list, tuple)) and args[0] else args[0]
    if not isinstance(first, Tensor) or first.device.type != "meta" or not first.is_floating_point():
        return None
    if name in ALIKE:
        return None if any(isinstance(one, Tensor) for one in args[1:]) else first.new_empty(first.shape)
    if name in PAIRS:
        return _pair(first, args[1])
    rule = RULES.get(name)
    return rule(first, *args[1:]) if rule and name != "cat" else _joined(*args) if rule else None


def _written(args: Sequence[Any]) -> Tensor | None:
    """The first argument itself, where nothing but its numbers would change."""
    target = args[0]
    others = [one for one in args[1:] if isinstance(one, Tensor)]
    same = isinstance(target, Tensor) and target.device.type == "meta"
    return target if same and all(one.shape == target.shape or not one.ndim for one in others) else None


def _pair(first: Tensor, second: Any) -> Tensor | None:
    """Sums and products of two tensors of one number type, or of a tensor and a number."""
    if isinstance(second, (int, float)):
        return first.new_empty(first.shape)
    if not isinstance(second, Tensor) or second.dtype != first.dtype or second.device != first.device:
        return None
    if first.shape == second.shape:
        return first.new_empty(first.shape)
    axes = max(first.ndim, second.ndim)
    one, two = ((1,) * (axes - t.ndim) + tuple(t.shape) for t in (first, second))
    if any(a != b and 1 not in (a, b) for a, b in zip(one, two, strict=True)):
        return None
    return first.new_empty([b if a == 1 else a for a, b in zip(one, two, strict=True)])


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    out: Any,
    groups: int,
) -> Tensor | None:
    axes = weight.ndim - 2
    depth = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.ndim != axes + 2 or x.shape[1] != depth or weight.dtype != x.dtype or weight.device != x.device:
        return None
    given = (_axes(one, axes) for one in (stride, padding, dilation, out))
    sizes = []
    for n, k, s, p, d, extra in zip(x.shape[2:], weight.shape[2:], *given, strict=True):
        if transposed:
            sizes.append((n - 1) * s - 2 * p + d * (k - 1) + extra + 1)
        else:
            sizes.append(padded_size(n, k, s, (p, p), d))
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return x.new_empty([x.shape[0], channels, *sizes]) if min(sizes, default=0) >= 1 else None


def _pooled(x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Tensor | None:
    if x.ndim != 4:
        return None
    wide, step = _axes(kernel, 2), _axes(stride or kernel, 2)
    around, apart = _axes(padding, 2), _axes(dilation, 2)
    given = zip(x.shape[2:], wide, step, around, apart, strict=True)
    sizes = [padded_size(n, k, s, (p, p), d, up=ceil) for n, k, s, p, d in given]
    fits = min(sizes) >= 1 and all(2 * p <= k for p, k in zip(around, wide, strict=True))
    return x.new_empty([*x.shape[:2], *sizes]) if fits else None


def _max_pool(x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: bool = False) -> Any:
    left = _pooled(x, kernel, stride, padding, dilation, ceil)
    return None if left is None else (left, left.new_empty(left.shape, dtype=torch.int64))


def _avg_pool(x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, ceil: bool = False, *rest: Any) -> Any:
    return _pooled(x, kernel, stride, padding, 1, ceil)


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Any:
    given = [one for one in (weight, bias, mean, var) if isinstance(one, Tensor)]
    if x.ndim < 2 or any(one.shape != x.shape[1:2] or one.dtype != x.dtype for one in given):
        return None
    if any(one.device != x.device for one in given):
        return None
    kept = x.shape[1] if training else 0
    return x.new_empty(x.shape), x.new_empty(kept), x.new_empty(kept)


def _layer_norm(x: Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    if tuple(x.shape[x.ndim - len(shape) :]) != tuple(shape):
        return None
    kept = [*x.shape[: x.ndim - len(shape)], *(1 for _ in shape)]
    return x.new_empty(x.shape), x.new_empty(kept), x.new_empty(kept)


def _dropout(x: Tensor, share: float, training: bool) -> Any:
    return x.new_empty(x.shape), x.new_empty(x.shape, dtype=torch.bool)


def _mean(x: Tensor, axes: Any = None, keep: bool = False, *rest: Any) -> Tensor | None:
    if rest or isinstance(axes, (bool, type(None))):
        return None
    gone = {axis % x.ndim for axis in ([axes] if isinstance(axes, int) else axes)} or set(range(x.ndim))
    sizes = [1 if axis in gone else n for axis, n in enumerate(x.shape) if keep or axis not in gone]
    return x.new_empty(sizes)


def _adaptive(x: Tensor, sizes: Any) -> Tensor | None:
    return x.new_empty([*x.shape[:2], *_axes(sizes, 2)]) if x.ndim == 4 else None


def _resized(x: Tensor, sizes: Any, *rest: Any) -> Tensor | None:
    known = x.ndim == 4 and isinstance(sizes, (list, tuple)) and len(sizes) == 2 and min(sizes) >= 1
    return x.new_empty([*x.shape[:2], *sizes]) if known else None


def _addmm(bias: Tensor, one: Tensor, two: Tensor) -> Tensor | None:
    left = _mm(one, two)
    return left if left is not None and bias.shape in (left.shape[1:], left.shape) else None


def _mm(one: Tensor, two: Tensor) -> Tensor | None:
    fits = one.ndim == two.ndim == 2 and one.shape[1] == two.shape[0] and one.dtype == two.dtype
    return one.new_empty(one.shape[0], two.shape[1]) if fits and one.device == two.device else None


def _joined(parts: Sequence[Tensor], axis: int = 0) -> Tensor | None:
    first = parts[0]
    axis %= first.ndim
    for part in parts:
        sizes = (*part.shape[:axis], first.shape[axis], *part.shape[axis + 1 :]) if part.ndim == first.ndim else ()
        if sizes != tuple(first.shape) or part.dtype != first.dtype or part.device != first.device:
            return None
    total = sum(part.shape[axis] for part in parts)
    return first.new_empty([*first.shape[:axis], total, *first.shape[axis + 1 :]])


def _padded(x: Tensor, pads: Sequence[int], *value: Any) -> Tensor | None:
    sizes = list(x.shape)
    for place in range(len(pads) // 2):
        sizes[-1 - place] += pads[2 * place] + pads[2 * place + 1]
    return x.new_empty(sizes) if min(sizes) >= 1 else None


def _axes(value: Any, axes: int) -> tuple[int, ...]:
    """A setting for each axis; one number counts for all."""
    listed = (value,) if isinstance(value, int) else tuple(value)
    return listed * axes if len(listed) == 1 else listed


RULES: dict[str, Callable[..., Any]] = {
    "convolution": _convolution, "max_pool2d_with_indices": _max_pool, "avg_pool2d": _avg_pool,
    "native_batch_norm": _batch_norm, "native_layer_norm": _layer_norm, "native_dropout": _dropout, "mean": _mean,
    "sum": _mean, "_adaptive_avg_pool2d": _adaptive, "addmm": _addmm, "mm": _mm, "cat": _joined,
    "constant_pad_nd": _padded, "upsample_bilinear2d": _resized, "upsample_nearest2d": _resized,
}  # fmt: skip
