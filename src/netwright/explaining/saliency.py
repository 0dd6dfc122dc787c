"""Saliency: which tokens, frames or numbers of an input an answer hangs on.

Two measures: the gradient times what entered, and integrated gradients, whose values sum up to the whole difference
between the answer on the input and on a blank one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.measures.entering import as_steps, entered_by, run_on
from netwright.parts.sequences import Sequences

FIRST_NODES, MOST_NODES, AT_ONCE = 32, 512, 16
LONG = 200
"""Steps from which the most nodes become fewer, so that a long input costs about as much as one of this length."""
ENOUGH = 1e-3
"""The share of the difference by which integrated gradients may miss it before more nodes are taken."""
Score = Callable[[Any], Tensor]
"""(inputs) -> one number an example."""


@dataclass(frozen=True)
class Saliency:
    """(steps, features) of both measures; with tokens `features` are the numbers of an embedding."""

    gradient: Float[Tensor, "steps features"]
    integrated: Float[Tensor, "steps features"]
    score: float
    blank: float
    """The score where all that enters is 0: the embedding of padding, the mean of the training data."""
    nodes: int

    @property
    def gap(self) -> float:
        """By how much the integrated gradients miss the difference of the two scores."""
        return float(self.integrated.sum()) - (self.score - self.blank)


def saliency(model: nn.Module, inputs: Any, score: Score) -> Saliency:
    """What each step, and each number of it, adds to a score.

    Formula: gradient: x dF/dx; integrated: x * integral over a from 0 to 1 of dF/dx at a x (Sundararajan, Taly, Yan
    2017, arXiv:1703.01365), baseline 0; sum = F(x) - F(0). The integral by Gauss and Legendre, 32 nodes, doubled until
    the sum is met to a thousandth, 512 at most and fewer where the input is long.

    Args: `inputs` is a batch of one; `score` gives one number an example of a batch.
    """
    with torch.no_grad():
        entered = entered_by(model, inputs, score)
        whole = float(_score(model, inputs, entered, score))
        blank = float(_score(model, inputs, torch.zeros_like(entered), score))
    gradient = entered * _gradients(model, inputs, entered, score)
    nodes, most = FIRST_NODES, max(FIRST_NODES, MOST_NODES * LONG // max(LONG, as_steps(entered).shape[1]))
    while True:
        integrated = entered * _integral(model, inputs, entered, score, nodes)
        missed = abs(float(integrated.sum()) - (whole - blank))
        if missed <= ENOUGH * abs(whole - blank) + 1e-9 or 2 * nodes > most:
            break
        nodes *= 2
    return Saliency(as_steps(gradient)[0], as_steps(integrated)[0], whole, blank, nodes)


def _score(model: nn.Module, inputs: Any, entered: Tensor, score: Score) -> Tensor:
    found: Tensor = run_on(model, _repeated(inputs, len(entered)), entered, score)
    return found.reshape(-1)


def _gradients(model: nn.Module, inputs: Any, entered: Tensor, score: Score) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = entered.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(_score(model, inputs, leaf, score).sum(), leaf)
    return found


def _integral(model: nn.Module, inputs: Any, entered: Tensor, score: Score, nodes: int) -> Tensor:
    """The mean gradient on the straight way from 0 to the input."""
    import numpy as np

    places, weights = np.polynomial.legendre.leggauss(nodes)
    shares = torch.from_numpy((places + 1) / 2).to(entered)
    share_weights = torch.from_numpy(weights / 2).to(entered)
    room = max(1, AT_ONCE * 4096 // max(4096, entered.numel()))
    total = torch.zeros_like(entered)
    extra = (1,) * (entered.dim() - 1)
    for first in range(0, nodes, room):
        part = shares[first : first + room].view(-1, *extra)
        found = _gradients(model, inputs, part * entered, score)
        total += (share_weights[first : first + room].view(-1, *extra) * found).sum(0, keepdim=True)
    return total


def _repeated(inputs: Any, count: int) -> Any:
    if isinstance(inputs, Sequences):
        more = inputs.values.expand(count, *inputs.values.shape[1:])
        traits = inputs.traits.expand(count, -1, -1) if inputs.traits is not None else None
        return Sequences(more, inputs.lengths.expand(count).clone(), traits)
    return inputs.expand(count, *inputs.shape[1:])
