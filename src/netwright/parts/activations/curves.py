"""An activation's curve: places, values and slopes for a plot, with the places where it jumps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netwright.catalogue import ACTIVATIONS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.activations.fresh import activation
from netwright.parts.notation import read_call

STEEP = 0.02  # a step of more than this share of the whole range is looked into for a jump
MOST_JUMPS = 50

Function = Callable[[np.ndarray], np.ndarray]
Piece = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """An activation and its derivative over an interval, each as pieces without jumps, of points (x, y)."""

    name: str
    values: list[Piece]
    slopes: list[Piece]


def curve(spec: str, low: float = -7.0, high: float = 7.0, count: int = 401) -> Curve:
    """Points of an activation, such as `relu` or `leaky_relu(slope=0.1)`, and of its derivative; float64.

    Formula: (x, f(x)) and (x, f'(x)) for `count` places x from `low` to `high`; where one jumps, a piece ends and the
    next begins. At a kink f' is what autograd takes: 0 for relu at 0 (E-13)

    Errors: UsageError for an unknown name or setting, for one that is no function of one number, and for an interval
    without length.
    """
    if not low < high or not np.isfinite([low, high]).all() or count < 2:
        raise UsageError(say("a curve wants an interval: low = {low:g}, high = {high:g}, {count} places.",
                             low=low, high=high, count=count))  # fmt: skip
    name = read_call(spec, "activation").name
    facts = ACTIVATIONS[name].facts
    if "acts_on" in facts:
        text = say("activation {name!r} is no function of one number; it acts on {what}.",
                   name=name, what=say(facts["acts_on"]))  # fmt: skip
        raise UsageError(text)
    module = activation(spec).double().eval()
    x = np.linspace(low, high, count)
    return Curve(spec, _pieces(lambda at: _taken(module, at)[0], x), _pieces(lambda at: _taken(module, at)[1], x))


def _taken(module: Callable[[Tensor], Tensor], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes, also where a caller has switched gradients off."""
    with torch.inference_mode(False), torch.enable_grad():
        at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        y = module(at)
        (slope,) = torch.autograd.grad(y.sum(), at)
    return y.detach().numpy(), slope.numpy()


def _pieces(function: Function, x: np.ndarray) -> list[Piece]:
    y = function(x)
    steps, span = np.abs(np.diff(y)), float(y.max() - y.min())
    steep = np.flatnonzero(steps > STEEP * span) if span > 0 else np.array([], int)
    pieces, start = [], 0
    first: Piece = []
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    for place in steep.tolist()[:MOST_JUMPS]:
        ends = _jump(function, float(x[place]), float(x[place + 1]), float(steps[place]))
        if ends is None:
            continue
        pieces.append([*first, *points[start : place + 1], ends[0]])
        first, start = [ends[1]], place + 1
    pieces.append([*first, *points[start:]])
    return pieces


def _jump(function: Function, low: float, high: float, step: float) -> Piece | None:
    """Both ends of a jump between two places, as near as numbers come; None where the step closes."""
    for _ in range(60):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        a, b, c = function(np.array([low, middle, high])).tolist()
        low, high = (low, middle) if abs(b - a) > abs(c - b) else (middle, high)
    a, b = function(np.array([low, high])).tolist()
    return [(low, a), (high, b)] if abs(b - a) > 0.1 * step else None
