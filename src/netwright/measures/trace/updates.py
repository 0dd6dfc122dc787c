"""The arithmetic of an optimizer's first step: old weight, gradient, what the rule remembers, new weight."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from netwright.measures.trace.record import Told
from netwright.measures.trace.words import factor, number

Settings = dict[str, Any]
Update = Callable[[Tensor, Tensor, Settings], tuple[Tensor, dict[str, Tensor]]]
"""(w, g, settings) -> the new weight, and what was computed on the way."""


def _plain(w: Tensor, g: Tensor, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    g = g + s.get("weight_decay", 0.0) * w
    return w - s["lr"] * g, {}


def _momentum(w: Tensor, g: Tensor, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    velocity = g + s.get("weight_decay", 0.0) * w
    return w - s["lr"] * velocity, {"v": velocity}


def _nesterov(w: Tensor, g: Tensor, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    velocity = g + s.get("weight_decay", 0.0) * w
    return w - s["lr"] * (velocity + s["momentum"] * velocity), {"v": velocity}


def _adam(w: Tensor, g: Tensor, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    g = g + s.get("weight_decay", 0.0) * w
    m, v = (1 - s["beta1"]) * g, (1 - s["beta2"]) * g.square()
    mean, size = m / (1 - s["beta1"]), v / (1 - s["beta2"])
    after = w - s["lr"] * mean / (size.sqrt() + s["eps"])
    return after, {"m": m, "s": v, "m_corrected": mean, "s_corrected": size}


def _adamw(w: Tensor, g: Tensor, s: Settings) -> tuple[Tensor, dict[str, Tensor]]:
    shrunk = w - s["lr"] * s["weight_decay"] * w
    return _adam(shrunk, g, {**s, "weight_decay": 0.0})


RULES: dict[str, tuple[str, Update]] = {
    "sgd": ("w <- w - lr g", _plain),
    "momentum": ("v <- momentum v + g, v = 0 before; w <- w - lr v", _momentum),
    "nesterov": ("v <- momentum v + g, v = 0 before; w <- w - lr (g + momentum v)", _nesterov),
    "adam": (
        "m <- beta1 m + (1 - beta1) g, s <- beta2 s + (1 - beta2) g^2, both 0 before; "
        "w <- w - lr (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps), t = 1",
        _adam,
    ),
    "adamw": ("w <- w - lr weight_decay w, then the step of adam", _adamw),
}


def update_told(
    name: str, formula: str, settings: Settings, change: tuple[Tensor, Tensor, Tensor], digits: int
) -> tuple[Told, bool]:
    """One weight's update as numbers, and whether the rule written out here made the optimizer's own new weight.

    `change` is the old weight, its gradient and the new weight.
    """
    w, g, after = change
    numbers: dict[str, Any] = {"before": w, "gradient": g}
    lines: list[str] = []
    known = False
    if name in RULES:
        formula, rule = RULES[name]
        expected, memory = rule(w, g, settings)
        known = torch.allclose(expected, after, rtol=1e-10, atol=1e-12)
        numbers |= memory if known else {}
    if known and name == "sgd" and w.numel() and not settings.get("weight_decay"):
        first = [float(one.flatten()[0]) for one in (w, g, after)]
        rate = number(settings["lr"], digits)
        place = "[" + ",".join("0" * w.ndim) + "]"
        lines.append(
            f"w{place} = {number(first[0], digits)} - {rate}*{factor(first[1], digits)} = {number(first[2], digits)}"
        )
    if settings.get("weight_decay") and name in ("sgd", "momentum", "nesterov", "adam"):
        formula = f"g <- g + {settings['weight_decay']:g} w; {formula}"
    return Told(formula, {**numbers, "after": after}, lines), known
