"""The watch of a training: now and then a step is measured on its own batch, before and after.

The line quotient q of a step dw is <g(w + dw), dw> / <g(w), dw>: about 1 says that the step is far too short to matter,
0 that it ends in the minimum along its line, below -1 that it left its batch worse off than it found it (for a
quadratic q = 1 - rate x curvature). g is the gradient of what is minimised, penalties with it and before any clipping.
It needs one more forward and backward pass; the training's bits stay as they are.
"""

import math
from typing import Any

import torch
from torch import Tensor

from netwright.data.batches import Batch
from netwright.training.loop import seed_step
from netwright.training.objective import Terms
from netwright.training.state import State

EVERY = 128
"""At most one step in so many is measured: about 1 % of the time."""
LARGEST = 30_000_000
"""Networks with more trainable numbers are not watched: a copy of the weights would cost too much memory."""


class Quotients:
    """Measures steps that have a row in the log, for networks that learn by their gradient in one process."""

    def __init__(self, state: State, log_steps: int) -> None:
        self.every = log_steps * max(1, -(-EVERY // log_steps))
        size = sum(parameter.numel() for parameter in state.parameters)
        plain = not hasattr(state.model, "update") and state.scaler is None and not state.ranks.many
        self.watches = plain and bool(state.parameters) and size <= LARGEST
        self.old: list[Tensor] | None = None
        self.found: dict[str, float] = {}

    def remember(self, state: State) -> None:
        """Keep the weights where the next step is one to measure."""
        if self.watches and (state.step + 1) % self.every == 0:
            self.old = [parameter.detach().clone() for parameter in state.parameters]

    def after(self, state: State, batch: Batch, terms: Terms) -> None:
        """A probe of the loop: measure the step just taken, or get ready for the next one."""
        old, self.old = self.old, None
        if old is not None and (state.step + 1) % self.every == 0:
            self.found = self._measured(state, batch, old)
        if self.watches and (state.step + 2) % self.every == 0:
            self.old = [parameter.detach().clone() for parameter in state.parameters]

    def row(self) -> dict[str, Any]:
        """What the last row of the log adds; each measurement is told once."""
        found, self.found = self.found, {}
        return {"watch": found} if found else {}

    def _measured(self, state: State, batch: Batch, old: list[Tensor]) -> dict[str, float]:
        whole = _unclipped(state)
        first = [parameter.grad for parameter in state.parameters]
        moved = [parameter.detach() - before for parameter, before in zip(state.parameters, old, strict=True)]
        buffers = [buffer.clone() for buffer in state.model.buffers()]
        seed_step(state)
        with state.autocast():
            loss = state.objective(state.run, batch, state.draw()).loss
        second = torch.autograd.grad(loss, state.parameters, allow_unused=True)
        with torch.no_grad():
            for buffer, kept in zip(state.model.buffers(), buffers, strict=True):
                buffer.copy_(kept)
            slopes = _penalties(state)
            both = [(a, b, dw, p) for a, b, dw, p in zip(first, second, moved, state.parameters, strict=True)
                    if a is not None and b is not None]  # fmt: skip
            start = sum(float((a * dw).sum()) for a, _, dw, _ in both) * whole
            end = sum(float(((b + slopes.get(id(p), 0)) * dw).sum()) for _, b, dw, p in both)
        shares = [float(dw.norm() / before.norm().clamp(min=1e-12)) for dw, before in zip(moved, old, strict=True)
                  if before.dim() > 1]  # fmt: skip
        found = {"after": float(loss.detach())}
        if start and math.isfinite(start) and math.isfinite(end):
            found["q"] = end / start
        return found | ({"first": shares[0], "last": shares[-1]} if shares else {})


def _unclipped(state: State) -> float:
    """By how much the last gradient was longer before its norm was clipped; NaN where its numbers were."""
    norm, most = state.gradient_norm, state.clip_norm
    if state.clip_value and not norm <= state.clip_value:
        return math.nan  # no number is larger than the norm; here some may have been cut
    return norm / most if 0 < most < norm else 1.0


def _penalties(state: State) -> dict[int, Tensor]:
    """The gradients of the penalties at the present weights, by the weight's id."""
    l1, l2 = state.penalties
    return {id(w): l1 * w.sign() + l2 * w for w in state.penalised} if l1 or l2 else {}


def watched(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured steps of a run's log: q, the loss after the step, and |dw| / |w| of its first and last matrix."""
    return [{**row["watch"], "step": row["step"], "loss": row.get("loss")} for row in rows if "watch" in row]
