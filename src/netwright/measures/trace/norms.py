"""The arithmetic of norms: (x - mean) / sqrt(variance + eps) over some axes, then a gain and a bias."""

import torch
from torch import Tensor, nn

from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View

Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm


def _grouped(call: Call, values: Tensor) -> Tensor:
    """The numbers as rows: those of one row share a mean and a variance."""
    module = call.module
    if isinstance(module, nn.GroupNorm):
        return values.reshape(len(values) * module.num_groups, -1)
    if isinstance(module, nn.LayerNorm):
        wide = len(module.normalized_shape)
        return values.reshape(values.shape[: values.ndim - wide].numel(), -1)
    return values.transpose(0, 1).flatten(1)


def _back(call: Call, rows: Tensor) -> Tensor:
    """Rows in the shape of the numbers again."""
    shape = call.given.shape
    if isinstance(call.module, (nn.GroupNorm, nn.LayerNorm)):
        return rows.reshape(shape)
    return rows.reshape(shape[1], shape[0], *shape[2:]).transpose(0, 1)


def _gain(call: Call, name: str) -> Tensor | None:
    """Gain or bias, shaped so that it multiplies the numbers."""
    value = call.weight(name)
    if value is None or isinstance(call.module, nn.LayerNorm):
        return value
    return value.view(-1, *[1] * (call.given.ndim - 2))


def _statistics(call: Call) -> tuple[Tensor, Tensor]:
    """Mean and variance of each row: of the batch, or the running ones where the norm uses them."""
    module, rows = call.module, _grouped(call, call.given)
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and not _of_batch(module):
        return module.running_mean[:, None], module.running_var[:, None]  # type: ignore[index]
    return rows.mean(1, keepdim=True), rows.var(1, unbiased=False, keepdim=True)


def _of_batch(module: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    return module.training or module.running_mean is None


def _normal(call: Call) -> tuple[Tensor, Tensor]:
    """The normalised rows, and the root that each was divided by."""
    mean, variance = _statistics(call)
    root = (variance + float(call.module.eps)).sqrt()  # type: ignore[arg-type]
    return (_grouped(call, call.given) - mean) / root, root


def norm_forward(call: Call, view: View) -> Told:
    """Mean, variance, gain, bias and the result."""
    mean, variance = _statistics(call)
    numbers = {"input": call.given, "mean": mean.flatten().clone(), "variance": variance.flatten().clone()}
    for name in ("weight", "bias"):
        value = call.weight(name)
        if value is not None:
            numbers[name] = value
    eps = float(call.module.eps)  # type: ignore[arg-type]
    return Told(f"y = gamma (x - mean) / sqrt(variance + {eps:g}) + beta", {**numbers, "output": call.returned})


def norm_backward(call: Call, error: Tensor) -> Pulled:
    """With n = (x - mean) / root and d = e gamma: dL/dx = (d - mean(d) - n mean(d n)) / root.

    Where running statistics are used they are constants, so dL/dx = d / root.
    """
    normal, root = _normal(call)
    gain = _gain(call, "weight")
    scaled = _grouped(call, error if gain is None else error * gain)
    module = call.module
    own = not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) or _of_batch(module)
    if own:
        pulled = scaled - scaled.mean(1, keepdim=True) - normal * (scaled * normal).mean(1, keepdim=True)
    else:
        pulled = scaled
    gradients = {}
    axes = _shared(call)
    if call.weight("weight") is not None:
        gradients["weight"] = (error * _back(call, normal)).sum(axes)
    if call.weight("bias") is not None:
        gradients["bias"] = error.sum(axes)
    formula = "d = e gamma; dL/dx = (d - mean(d) - n mean(d n)) / sqrt(variance + eps); " * own
    formula = formula or "dL/dx = e gamma / sqrt(variance + eps); "
    told = Told(formula + "dL/dgamma = sum e n; dL/dbeta = sum e")
    return Pulled([(call.entered, _back(call, pulled / root))], gradients, told)


def _shared(call: Call) -> list[int]:
    """The axes along which one gain serves all numbers."""
    if isinstance(call.module, nn.LayerNorm):
        return list(range(call.given.ndim - len(call.module.normalized_shape)))
    return [axis for axis in range(call.given.ndim) if axis != 1]


for kind in (nn.GroupNorm, nn.LayerNorm):
    RULES[kind] = Rule(norm_forward, norm_backward)
RULES[nn.modules.batchnorm._BatchNorm] = Rule(norm_forward, norm_backward)


def lrn_forward(call: Call, view: View) -> Told:
    """x / d^beta with d = k + alpha / size * the sum of x^2 over neighbouring channels."""
    module = call.module
    assert isinstance(module, nn.LocalResponseNorm)
    formula = f"d = {module.k:g} + {module.alpha:g}/{module.size} * sum over {module.size} channels of x^2; "
    return Told(formula + f"y = x / d^{module.beta:g}", {"input": call.given, "output": call.returned})


def _around(values: Tensor, before: int, after: int) -> Tensor:
    """For each channel the sum over its neighbours, `before` below and `after` above."""
    total = torch.zeros_like(values)
    count = values.shape[1]
    for shift in range(-before, after + 1):
        low, high = max(0, -shift), min(count, count - shift)
        if low < high:
            total[:, low:high] += values[:, low + shift : high + shift]
    return total


def lrn_backward(call: Call, error: Tensor) -> Pulled:
    """dL/dx_c = e_c / d_c^beta - 2 alpha beta / size * x_c * sum over the channels that read c of e x / d^(beta+1)."""
    module = call.module
    assert isinstance(module, nn.LocalResponseNorm)
    before, after = module.size // 2, (module.size - 1) // 2
    x = call.given
    d = module.k + module.alpha / module.size * _around(x.square(), before, after)
    shared = _around(error * x * d ** (-module.beta - 1), after, before)
    into = error * d**-module.beta - 2 * module.alpha * module.beta / module.size * x * shared
    told = Told("dL/dx = e / d^beta - 2 alpha beta / size * x * sum over neighbours of e x / d^(beta+1)")
    return Pulled([(call.entered, into)], {}, told)


RULES[nn.LocalResponseNorm] = Rule(lrn_forward, lrn_backward)
