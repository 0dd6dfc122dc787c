"""How much of a batch's gradient is noise: the gradient noise scale, and whether two halves agree (P8)."""

import math
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from netwright.doctor.subject import Live, Pair, Subject
from netwright.doctor.suspicion import Unmeasured

BATCHES = 8


@dataclass(frozen=True)
class Noise:
    """The noise of gradients where the network stands."""

    scale: float
    """tr(Sigma) / |G|^2, in examples: batches far below it are mostly noise, far above it waste examples."""
    cosine: float
    """The median cosine between the gradients of two batches."""
    batch: int


def gradient_noise(live: Live, pairs: list[Pair] | tuple[Pair, ...]) -> Noise:
    """The noise scale from the gradients of single batches and that of their mean.

    Formula: |G|^2 = (n |g_n|^2 - |g_1|^2) / (n - 1), tr(Sigma) = B (|g_1|^2 - |g_n|^2) / (1 - 1/n), g_1 the gradient of
    a batch of B examples (squares averaged), g_n that of n of them together; scale = tr(Sigma) / |G|^2 (McCandlish et
    al. 2018, arXiv:1812.06162, appendix A.1)

    Infinite where the true gradient cannot be told from 0.
    """
    size = len(pairs[0])
    used = [pair for pair in pairs if len(pair) == size][:BATCHES]
    if len(used) < 2:
        raise Unmeasured
    rows = [flat(live.gradient(pair)[1], live) for pair in used]
    found = torch.stack(rows)
    if not torch.isfinite(found).all():
        raise Unmeasured
    count = len(used)
    single, together = found.square().sum(1).mean().item(), found.mean(0).square().sum().item()
    true = (count * together - single) / (count - 1)
    spread = size * (single - together) / (1 - 1 / count)
    norms = found.norm(dim=1).clamp(min=1e-30)
    cosines = [(found[i] @ found[i + 1] / norms[i] / norms[i + 1]).item() for i in range(count - 1)]
    return Noise(spread / true if true > 0 else math.inf, median(cosines), size)


def noise(subject: Subject, steps: int = 50) -> Noise:
    """The noise after a short training: at the very first step gradients agree more than ever after."""
    with subject.live() as live:
        live.run(steps)
        return gradient_noise(live, list(subject.batches[: 2 * BATCHES]))


def flat(gradients: dict[str, Tensor], live: Live) -> Tensor:
    """The gradients as one row of float64; 0 where a parameter has none."""
    rows = [gradients[name].flatten() if name in gradients else torch.zeros(p.numel(), device=p.device)
            for name, p in live.parameters.items()]  # fmt: skip
    if not rows:
        raise Unmeasured
    return torch.cat([row.double() for row in rows])
