"""What an activation does to numbers, measured: values, slopes and limits on a fine grid in float64."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf, isfinite, pi, sqrt
from typing import Any, Literal

import torch
from torch import Tensor

from netwright.catalogue import ACTIVATIONS, Part
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.notation import read_call, settings_from

REACH, STEP = 64, 2.0**-9
"""The grid goes from -64 to 64 in steps of 1/512: 0 and all whole numbers lie on it."""
FAR = (1e6, 1e12)
"""Where limits are read off: a value that grows from the first to the second has none."""
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ActivationProperties:
    """Measured properties of a function of one number. Infinite where it grows without limit."""

    low: float
    high: float
    """The range of the values: the least and the greatest, or the limits that they come near to."""
    monotonic: bool
    """It never falls."""
    continuous: bool
    smooth: bool
    """The slope makes no jumps."""
    zero_centred: bool
    """The mean output for standard normal inputs is 0."""
    mean: float
    """That mean."""
    least_slope: float
    largest_slope: float
    slope_at_0: float
    """As autograd takes it, where there is a kink at 0."""
    saturates: Literal["nowhere", "below", "above", "both sides"]
    """Where the slope goes to 0, so that no gradient passes."""


def properties(spec: str) -> ActivationProperties:
    """Measure an activation, such as `swish` or `leaky_relu(slope=0.1)`; a trained one as it starts.

    Formula: values and slopes f(x), f'(x) for x = -64 ... 64 in steps of 1/512, finer around the extremes; limits at
    x = -1e12 and 1e12; the mean is the integral of f(x) exp(-x^2/2) / sqrt(2 pi)

    Errors: UsageError for an unknown name or setting, and for one that is no function of one number.
    """
    call = read_call(spec, "activation")
    part = ACTIVATIONS[call.name]
    if "acts_on" in part.facts:
        text = say("activation {name!r} is no function of one number; it acts on {what}.",
                   name=call.name, what=say(part.facts["acts_on"]))  # fmt: skip
        raise UsageError(text)
    return _measured(part(**settings_from(call, part.settings, f"activation {call.name!r}")).double())


def properties_table() -> dict[str, ActivationProperties]:
    """The properties of every activation that is a function of one number, at its default settings."""
    return {name: properties(name) for name, part in ACTIVATIONS.items() if "acts_on" not in part.facts}


def card_facts(part: Part) -> dict[str, Any]:
    """The measured properties as facts of a card; None where there is no limit."""
    found = asdict(properties(part.name))
    ends = {name: value if isfinite(value) else None for name, value in found.items() if isinstance(value, float)}
    return {"values": say("{low:g} to {high:g}", low=found["low"], high=found["high"]), **found, **ends}


def _measured(function: Function) -> ActivationProperties:
    x = torch.arange(-REACH / STEP, REACH / STEP + 1, dtype=torch.float64) * STEP
    y, slope = _slopes(function, x)
    left, right = _limit(function, -1.0), _limit(function, 1.0)
    _, ends = _slopes(function, torch.tensor([-FAR[0], FAR[0]], dtype=torch.float64))
    flat = [abs(end) < 1e-9 for end in ends.tolist()]
    between = x + STEP / 2
    density = (-between.square() / 2).exp() / sqrt(2 * pi)
    with torch.no_grad():
        mean = float((function(between) * density).sum() * STEP)
    steps = y.diff()
    lowest, highest = _extreme(function, x, y, 0, -1), _extreme(function, x, y, 0, 1)
    continuous = _continuous(function, x, steps)
    return ActivationProperties(
        low=_tidy(min(lowest, left, right)),
        high=_tidy(max(highest, left, right)),
        monotonic=bool((steps >= -1e-12).all()),
        continuous=continuous,
        smooth=continuous and _continuous(lambda at: _slopes(function, at)[1], x, slope.diff()),
        zero_centred=abs(mean) < 1e-6,
        mean=_tidy(mean),
        least_slope=_tidy(min(_extreme(function, x, slope, 1, -1), *ends.tolist())),
        largest_slope=_tidy(max(_extreme(function, x, slope, 1, 1), *ends.tolist())),
        slope_at_0=_tidy(float(slope[len(x) // 2])),
        saturates="both sides" if all(flat) else "below" if flat[0] else "above" if flat[1] else "nowhere",
    )


def _slopes(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes; autograd also works here where a caller has switched gradients off."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        y = function(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), slope


def _limit(function: Function, side: float) -> float:
    """What the values come near to far out on one side."""
    with torch.no_grad():
        near, far = function(side * torch.tensor(FAR, dtype=torch.float64)).tolist()
    return inf * far if abs(far) > 1e3 * abs(near) and abs(far) > FAR[0] else far


def _extreme(function: Function, x: Tensor, y: Tensor, order: int, sign: int) -> float:
    """The least (sign -1) or greatest value or slope, looked for again between the grid's neighbours."""
    reach = STEP
    for _ in range(3):
        place = int((sign * y).argmax())
        best, middle = float(y[place]), float(x[place])
        x = torch.linspace(max(middle - reach, -REACH), min(middle + reach, REACH), 1025, dtype=torch.float64)
        y = _slopes(function, x)[order]
        reach /= 512
    return sign * max(sign * best, float((sign * y).max()))


def _continuous(function: Function, x: Tensor, steps: Tensor) -> bool:
    """Whether the widest and the oddest step between neighbours of the grid close as these come together."""
    odd = int(steps.diff().abs().argmax())
    return all(_closes(function, x, steps, place) for place in (int(steps.abs().argmax()), odd, odd + 1))


def _closes(function: Function, x: Tensor, steps: Tensor, place: int) -> bool:
    low, high = float(x[place]), float(x[place + 1])
    first = jump = abs(float(steps[place]))
    for _ in range(30):
        middle = (low + high) / 2
        a, b, c = function(torch.tensor([low, middle, high], dtype=torch.float64)).tolist()
        low, high, jump = (low, middle, abs(b - a)) if abs(b - a) > abs(c - b) else (middle, high, abs(c - b))
    return jump <= max(1e-3 * first, 1e-12)


def _tidy(value: float) -> float:
    """Six digits behind the point: what lies below is the grid's doing."""
    return round(value, 6) + 0.0
