"""The slope of an activation at every value it reads: what a gradient is multiplied by there."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ELEMENTWISE = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign",
     "sigmoid", "hardsigmoid", "hardswish", "hardtanh", "tanh", "tanhshrink", "logsigmoid", "exp", "sin", "threshold",
     "rrelu", "hardshrink", "softshrink")
)  # fmt: skip
"""Activations that map each value alone."""
LARGEST = {"sigmoid": 0.25, "hardsigmoid": 1 / 6}
"""The largest slope, where it is not about 1."""


def slopes(
    name: str, z: Tensor, func: Callable[..., Any], rest: tuple[Any, ...] = (), settings: dict[str, Any] | None = None
) -> Tensor | None:
    """|f'(z)| as a share of its largest; None where it cannot be had. `rest` and `settings` are the call's others.

    Formula: relu [z > 0], sigmoid 4 s (1 - s), tanh 1 - t^2; the others by automatic differentiation
    """
    z = z.detach()
    if name == "relu":
        return (z > 0).to(z.dtype)
    if name == "sigmoid":
        s = z.sigmoid()
        return 4 * s * (1 - s)
    if name == "tanh":
        return 1 - z.tanh().square()
    with torch.enable_grad():
        leaf = z.clone().requires_grad_()
        try:
            found = func(leaf.clone(), *rest, **(settings or {}))
            slope = torch.autograd.grad(found.sum(), leaf)[0]
        except (RuntimeError, TypeError, AttributeError):
            return None
    return slope.abs() / LARGEST.get(name, 1.0)
