"""The arithmetic of losses: from the network's outputs to one number, and the error it sends back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.measures.trace.record import Told
from netwright.measures.trace.words import factor, number

Settings = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """What the loss compares: outputs and targets of a batch, and the loss's settings."""

    outputs: Tensor
    target: Tensor
    settings: Settings

    @property
    def whole(self) -> bool:
        """Whether the target names classes by whole numbers, one an example."""
        return not self.target.is_floating_point() and self.target.ndim == 1

    def coded(self) -> Tensor:
        """The target in the outputs' shape: numbers as they are, a class as 1 in its column (one-hot), else 0."""
        if not self.whole:
            return self.target.to(self.outputs.dtype).view_as(self.outputs)
        if self.outputs.shape[1] == 1:
            return self.target[:, None].to(self.outputs.dtype)
        if int(self.target.min()) < 0:
            return self.outputs.new_zeros(0)
        rows = torch.zeros_like(self.outputs)
        rows[torch.arange(len(rows)), self.target] = 1.0
        return rows

    @property
    def fits(self) -> bool:
        """Whether the target is one class an example, or has the outputs' shape."""
        return self.whole or self.target.shape == self.outputs.shape

    def signs(self) -> Tensor:
        """-1 for class 0 and 1 for class 1, as a column; targets that are -1 and 1 already stay."""
        target = self.target.to(self.outputs.dtype).view(len(self.outputs), -1)
        return target if bool((target < 0).any()) else 2 * target - 1


Error = Callable[[Goal], Tensor]
"""dl/dz of each example's own loss l."""


def _cross_entropy(goal: Goal) -> Tensor:
    share = float(goal.settings.get("label_smoothing", 0.0))
    wanted = (1 - share) * goal.coded() + share / goal.outputs.shape[1]
    return goal.outputs.softmax(1) - wanted


def _columns(goal: Goal) -> int:
    return goal.outputs[0].numel()


def _smooth(goal: Goal) -> Tensor:
    e, beta = goal.outputs - goal.coded(), float(goal.settings.get("beta", 1.0))
    return torch.where(e.abs() < beta, e / beta, e.sign()) / _columns(goal)


def _margin(goal: Goal) -> Tensor:
    return goal.outputs * goal.signs()


KNOWN: dict[str, tuple[str, str, Error]] = {
    "cross_entropy": ("l = -log p_target, p = softmax(z)", "dl/dz_k = p_k - (1 at the target, else 0)", _cross_entropy),
    "bce_with_logits": (
        "l = -t log s - (1 - t) log(1 - s), s = sigmoid(z)",
        "dl/dz = sigmoid(z) - t",
        lambda goal: goal.outputs.sigmoid() - goal.coded(),
    ),
    "logistic": (
        "l = log(1 + exp(-t z)), t = -1 or 1",
        "dl/dz = -t sigmoid(-t z)",
        lambda goal: -goal.signs() * (-_margin(goal)).sigmoid(),
    ),
    "hinge": (
        "l = max(0, 1 - t z), t = -1 or 1",
        "dl/dz = -t for t z <= 1, else 0",
        lambda goal: -goal.signs() * (_margin(goal) <= 1),
    ),
    "perceptron": (
        "l = max(0, -t z), t = -1 or 1",
        "dl/dz = -t for t z <= 0, else 0",
        lambda goal: -goal.signs() * (_margin(goal) <= 0),
    ),
    "squared_hinge": (
        "l = max(0, 1 - t z)^2, t = -1 or 1",
        "dl/dz = -2 t max(0, 1 - t z)",
        lambda goal: -2 * goal.signs() * (1 - _margin(goal)).clamp(min=0),
    ),
    "exponential": (
        "l = exp(-t z), t = -1 or 1",
        "dl/dz = -t exp(-t z)",
        lambda goal: -goal.signs() * (-_margin(goal)).exp(),
    ),
    "nll": (
        "l = -log p_target, log p = log softmax(z)",
        "dl/dz_k = p_k - (1 at the target, else 0)",
        _cross_entropy,
    ),
    "bce": (
        "l = -t log s - (1 - t) log(1 - s), s = sigmoid(z)",
        "dl/dz = sigmoid(z) - t",
        lambda goal: goal.outputs.sigmoid() - goal.coded(),
    ),
    "least_squares": (
        "l = sum (y - t)^2",
        "dl/dy = 2 (y - t)",
        lambda goal: 2 * (goal.outputs - goal.coded()),
    ),
    "mse": (
        "l = sum (y - t)^2 / outputs",
        "dl/dy = 2 (y - t) / outputs",
        lambda goal: 2 * (goal.outputs - goal.coded()) / _columns(goal),
    ),
    "half_squared_error": (
        "l = 1/2 sum (y - t)^2",
        "dl/dy = y - t",
        lambda goal: goal.outputs - goal.coded(),
    ),
    "mae": (
        "l = sum abs(y - t) / outputs",
        "dl/dy = sign(y - t) / outputs",
        lambda goal: (goal.outputs - goal.coded()).sign() / _columns(goal),
    ),
    "smooth_l1": (
        "l = sum of d^2/(2 beta) for d < beta, else d - beta/2, over outputs; d = abs(y - t)",
        "dl/dy = (y - t)/beta for d < beta, else sign(y - t); over outputs",
        _smooth,
    ),
}
"""The loss's formula, its error's formula, its error; compared with automatic differentiation at every trace."""


def loss_told(name: str, formula: str, goal: Goal, values: Tensor, digits: int) -> Told:
    """The loss as numbers: exponentials, sum and shares of the softmax; the difference of squared losses."""
    z, k = goal.outputs, min(goal.outputs.shape[-1], 6)
    numbers: dict[str, Any] = {"outputs": z, "target": goal.target}
    lines: list[str] = []
    linked = goal.settings.get("link", "identity") != "identity"
    if goal.whole and z.ndim == 2 and z.shape[1] > 1 and int(goal.target.min()) >= 0:
        numbers["one_hot"] = goal.coded()
    if name in ("cross_entropy", "nll") and goal.whole:
        numbers |= _softmax_numbers(z)
        if float(z[0].max()) < 700:
            terms = [
                f"e^{factor(one, digits)} = {number(float(torch.tensor(one).exp()), digits)}" for one in z[0].tolist()
            ]
            lines.append(", ".join(terms[:k]) + ", ..." * (len(terms) > k))
        lines += _share_lines(z[0], int(goal.target[0]), digits)
    elif name in ("bce_with_logits", "bce", "logistic") and z.ndim == 2:
        numbers["probabilities"] = z.sigmoid()
        first = float(z[0, 0])
        shown = number(float(z.sigmoid()[0, 0]), digits)
        lines.append(f"sigmoid({number(first, digits)}) = 1 / (1 + e^{factor(-first, digits)}) = {shown}")
    elif name in ("mse", "half_squared_error", "least_squares", "mae", "smooth_l1") and goal.fits and not linked:
        difference = z - goal.coded()
        numbers["difference"] = difference
        apart = [
            f"{number(a, digits)} - {factor(b, digits)} = {number(a - b, digits)}"
            for a, b in zip(z[0].flatten()[:k].tolist(), goal.coded()[0].flatten()[:k].tolist(), strict=True)
        ]
        lines.append("y - t: " + ", ".join(apart))
    if z.ndim == 2 and z.shape[1] > 1 and goal.whole:
        numbers["predicted"] = z.argmax(1)
    numbers |= {"per_example": values, "loss": float(values.mean())}
    if len(values) > 1:
        formula += "; L = mean of l over the examples"
    return Told(formula, numbers, lines)


def _softmax_numbers(z: Tensor) -> dict[str, Tensor]:
    """Exponentials, their sum, their shares; where exp would overflow, of z - max(z), which gives the same shares."""
    if float(z.max()) < 700:
        powers = z.exp()
        found = {"exponentials": powers}
    else:
        powers = (z - z.amax(1, keepdim=True)).exp()
        found = {"shifted": z - z.amax(1, keepdim=True), "exponentials": powers}
    return {**found, "sum": powers.sum(1), "probabilities": z.softmax(1)}


def _share_lines(z: Tensor, target: int, digits: int) -> list[str]:
    shares, total = z.softmax(0), z.exp().sum()
    p = float(shares[target])
    minus = number(float(-z.log_softmax(0)[target]), digits)
    lines = [f"l = -log p[{target}] = -log {number(p, digits)} = {minus}"]
    if float(z.max()) < 700:
        power = number(float(z[target].exp()), digits)
        lines.insert(0, f"p[{target}] = {power} / {number(float(total), digits)} = {number(p, digits)}")
    return lines
