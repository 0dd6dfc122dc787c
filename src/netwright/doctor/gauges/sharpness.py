"""The largest curvature of the loss where the network stands, and the rate above which plain descent diverges (P9)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.doctor.subject import Live, Pair, untouched
from netwright.doctor.suspicion import Unmeasured


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue of the loss's Hessian on some examples."""

    curvature: float
    iterations: int

    def stable_rate(self, momentum: float = 0.0) -> float:
        """The largest stable rate of gradient descent, plain or with (heavy-ball) momentum.

        Formula: 2 (1 + momentum) / curvature
        """
        return 2 * (1 + momentum) / self.curvature if self.curvature > 0 else math.inf


def sharpness(live: Live, pair: Pair, iterations: int = 20, tolerance: float = 0.01) -> Sharpness:
    """Power iteration with products of the Hessian and a vector, each two backward passes.

    Formula: v <- H v / |H v|; curvature = v . H v

    Differs: the eigenvalue of largest size is found; where it is negative, the answer is that of H shifted by it, so
    that the largest curvature upwards comes out. Raises `Unmeasured` where the network cannot be differentiated twice.
    """
    own = list(live.parameters.values())
    with untouched(live.model):
        try:
            loss = live.loss_on(pair)
            gradients = torch.autograd.grad(loss, own, create_graph=True, allow_unused=True)
            used: list[tuple[Tensor, Tensor]] = [
                (p, g) for p, g in zip(own, gradients, strict=True) if g is not None and g.requires_grad
            ]
            if not used:
                raise Unmeasured
            value, count = _largest(used, 0.0, iterations, tolerance)
            if value < 0:
                value, more = _largest(used, -value, iterations, tolerance)
                count += more
        except RuntimeError:
            raise Unmeasured from None
    if not math.isfinite(value):
        raise Unmeasured
    return Sharpness(value, count)


def _largest(used: list[tuple[Tensor, Tensor]], shift: float, iterations: int, tolerance: float) -> tuple[float, int]:
    draw = torch.Generator().manual_seed(0)
    parameters, gradients = [p for p, _ in used], [g for _, g in used]
    vector = [torch.randn(p.shape, generator=draw).to(p) for p in parameters]
    value = math.nan
    for count in range(1, iterations + 1):
        norm = math.sqrt(sum(v.double().square().sum().item() for v in vector))
        if not norm > 0 or not math.isfinite(norm):
            return 0.0 if norm == 0 else math.nan, count
        vector = [v / norm for v in vector]
        products = torch.autograd.grad(gradients, parameters, vector, retain_graph=True, allow_unused=True)
        applied = [torch.zeros_like(v) if hv is None else hv.detach() for hv, v in zip(products, vector, strict=True)]
        old, value = value, sum((hv * v).double().sum().item() for hv, v in zip(applied, vector, strict=True))
        if abs(value - old) <= tolerance * abs(value):
            return value, count
        vector = [hv + shift * v for hv, v in zip(applied, vector, strict=True)]
    return value, iterations
