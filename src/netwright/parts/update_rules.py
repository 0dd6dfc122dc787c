"""Update rules that torch lacks, as its own kind of optimizer: their state is saved and restored as any other's."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import Muon as MatrixMuon


class Velocity(Optimizer):
    """Momentum with the rate inside the velocity, as Caffe and TensorFlow write it.

    Formula: v <- mu v + lr * g; w <- w - v, or with a look ahead w <- w - (mu v + lr * g)

    While the rate stays the same, torch's form takes the same steps; where it changes, the steps before keep the rate
    that they were taken with.
    """

    def __init__(self, params: Any, lr: float, momentum: float, weight_decay: float, *, nesterov: bool) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = _evaluated(closure)
        for group, weights, slopes in _moving(self):
            velocities = _kept(self, weights, "velocity", 0.0)
            _push(weights, slopes, velocities, group["momentum"], group["lr"], group["nesterov"])
        return loss


class MeanSquare(Optimizer):
    """RMSprop with a choice: eps inside the root or outside, the mean square's start, the rate inside the velocity.

    Formula: s <- decay s + (1 - decay) g^2; d = g / sqrt(s - m^2 + eps), m the running mean of g where centred
    """

    def __init__(
        self, params: Any, lr: float, decay: float, momentum: float, eps: float, weight_decay: float, *,
        eps_inside: bool, initial: float, centered: bool, rate_inside: bool,
    ) -> None:  # fmt: skip
        rule = {"eps_inside": eps_inside, "initial": initial, "centered": centered, "rate_inside": rate_inside}
        kept = {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**kept, **rule})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = _evaluated(closure)
        for group, weights, slopes in _moving(self):
            decay, lr = group["decay"], group["lr"]
            squares = _kept(self, weights, "square", group["initial"])
            torch._foreach_mul_(squares, decay)
            torch._foreach_addcmul_(squares, slopes, slopes, 1 - decay)
            spread: Any = squares
            if group["centered"]:
                means = _kept(self, weights, "mean", 0.0)
                torch._foreach_lerp_(means, slopes, 1 - decay)
                spread = torch._foreach_addcmul(squares, means, means, -1.0)
            if group["eps_inside"]:
                roots = torch._foreach_sqrt(torch._foreach_add(spread, group["eps"]))
            else:
                roots = torch._foreach_add(torch._foreach_sqrt(spread), group["eps"])
            moves = torch._foreach_div(slopes, roots)
            if not group["momentum"]:
                torch._foreach_add_(weights, moves, alpha=-lr)
                continue
            velocities = _kept(self, weights, "velocity", 0.0)
            inner = lr if group["rate_inside"] else 1.0
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, moves, alpha=inner)
            torch._foreach_add_(weights, velocities, alpha=-1.0 if group["rate_inside"] else -lr)
        return loss


class Muon(Optimizer):
    """Muon for the groups marked `matrix`, torch's rule `other` for the rest; one optimizer to the loop and to
    checkpoints.

    Weights of convolutions are taken as matrices (out, in * window), as in the method's own source. A group marked
    `normed` has each matrix brought to the length sqrt(out) before its step.
    """

    def __init__(self, groups: list[dict[str, Any]], other: type[AdamW] | type[SGD] = AdamW) -> None:
        super().__init__(groups, {})
        held = torch.zeros(1, 1)
        self._matrix, self._other = MatrixMuon([held]), other([held])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step of both rules."""
        loss = _evaluated(closure)
        others = [group for group in self.param_groups if not group["matrix"]]
        if others:
            self._other.param_groups, self._other.state = others, self.state
            self._other.step()
        for group in self.param_groups:
            moving = [weight for weight in group["params"] if weight.grad is not None]
            if not group["matrix"] or not moving:
                continue
            if group.get("normed"):
                _to_length(moving)
            flat = [weight.detach().flatten(1) for weight in moving]
            for one, weight in zip(flat, moving, strict=True):
                one.grad = weight.grad.flatten(1)
                self._matrix.state[one] = self.state[weight]
            self._matrix.param_groups = [{**group, "params": flat}]
            self._matrix.step()
            self._matrix.state.clear()
            for one, weight in zip(flat, moving, strict=True):
                if one.data_ptr() != weight.data_ptr():  # channels-last memory: the matrix was a copy
                    weight.copy_(one.view_as(weight))
        return loss


def _to_length(weights: list[Tensor]) -> None:
    """Bring each matrix to the length sqrt(rows): rows of length 1 on average. One of zeros stays."""
    lengths = torch._foreach_norm(weights)
    torch._foreach_clamp_min_(lengths, torch.finfo(torch.float32).tiny)
    for weight, length in zip(weights, lengths, strict=True):
        weight.mul_(len(weight) ** 0.5 / length)


def _evaluated(closure: Callable[[], float] | None) -> float | None:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _moving(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], list[Tensor], list[Tensor]]]:
    """Each group with its weights that have gradients, and those gradients with the decay added."""
    for group in optimizer.param_groups:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        slopes = [weight.grad for weight in weights]
        if weights and group["weight_decay"]:
            slopes = list(torch._foreach_add(slopes, weights, alpha=group["weight_decay"]))
        if weights:
            yield group, weights, slopes


def _kept(optimizer: Optimizer, weights: list[Tensor], key: str, start: float) -> list[Tensor]:
    """What the optimizer remembers of each weight under `key`; `start` everywhere at first."""
    for weight in weights:
        if key not in optimizer.state[weight]:
            optimizer.state[weight][key] = torch.full_like(weight, start, memory_format=torch.preserve_format)
    return [optimizer.state[weight][key] for weight in weights]


def _push(
    weights: list[Tensor], slopes: list[Tensor], velocities: list[Tensor], momentum: float, lr: float, ahead: bool
) -> None:
    torch._foreach_mul_(velocities, momentum)
    torch._foreach_add_(velocities, slopes, alpha=lr)
    if ahead:
        torch._foreach_add_(weights, velocities, alpha=-momentum)
        torch._foreach_add_(weights, slopes, alpha=-lr)
    else:
        torch._foreach_add_(weights, velocities, alpha=-1.0)
