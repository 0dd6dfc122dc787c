"""From raw examples to what a network reads: fitted on the training split, stored in the run, repeated later."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from netwright.errors import DataError
from netwright.language import say

Normalize = Literal["auto", "standard", "unit", "none"]


class Encoder(Protocol):
    """Turns raw examples into float32 network inputs, batch first."""

    @property
    def inputs(self) -> dict[str, Any]: ...

    def encode(self, examples: Any) -> Tensor: ...

    def state(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class NumberEncoder:
    """Pictures, vectors and sequences: (x - mean) * scale, per channel or per feature."""

    inputs: dict[str, Any]
    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, kind: str, examples: Tensor, normalize: Normalize) -> "NumberEncoder":
        """Learn mean and scale from training examples: (N, C, H, W), (N, F) or (N, T, F)."""
        shape = list(examples.shape[1:])
        axes: tuple[int, ...]
        view: tuple[int, ...]
        if kind == "image":
            inputs = {"kind": kind, "channels": shape[0], "height": shape[1], "width": shape[2]}
            axes, view = (0, 2, 3), (shape[0], 1, 1)
        elif kind == "sequence":
            inputs = {"kind": kind, "steps": shape[0], "features": shape[1]}
            axes, view = (0, 1), (shape[1],)
        else:
            inputs = {"kind": "vector", "features": shape[0]}
            axes, view = (0,), (shape[0],)
        mean, scale = _statistics(examples, axes, normalize)
        return cls(inputs, mean.reshape(view), scale.reshape(view))

    def encode(self, examples: Tensor) -> Tensor:
        if list(examples.shape[1:]) != self.shape:
            raise DataError(
                say(
                    "an example has shape {found}; this network reads {wanted}",
                    found=list(examples.shape[1:]),
                    wanted=self.shape,
                )
            )
        wide = torch.float64 if examples.dtype in (torch.float64, torch.int64, torch.int32) else torch.float32
        mean, scale = self.mean.to(examples.device, wide), self.scale.to(examples.device, wide)
        return ((examples.to(wide) - mean) * scale).float()

    @property
    def shape(self) -> list[int]:
        """The shape of one example."""
        return [size for name, size in self.inputs.items() if name != "kind"]

    def state(self) -> dict[str, Any]:
        return {**self.inputs, "mean": self.mean.flatten().tolist(), "scale": self.scale.flatten().tolist()}


def number_encoder(state: dict[str, Any]) -> NumberEncoder:
    """The encoder that `state` describes (the inverse of `.state()`)."""
    inputs = {name: value for name, value in state.items() if name not in ("mean", "scale")}
    view = (-1, 1, 1) if inputs["kind"] == "image" else (-1,)
    mean, scale = (torch.tensor(state[name], dtype=torch.float64).reshape(view) for name in ("mean", "scale"))
    return NumberEncoder(inputs, mean, scale)


def _statistics(examples: Tensor, axes: tuple[int, ...], normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Mean and 1/standard deviation (or offset and 1/range) over `axes`, in float64, a slice at a time.

    Sums are of distances from the first slice's mean, so that a mean far from 0 costs no digits. NaN and infinities do
    not count: they stay what they are and spoil no other example.
    """
    first = _finite(examples[:2048])
    shift = first.nanmean(axes, keepdim=True).nan_to_num(0.0)
    shift = shift if examples.is_floating_point() else shift.round()  # sums of whole numbers stay exact
    count, total, square = (torch.zeros_like(shift.squeeze(axes)) for _ in range(3))
    low, high = count + math.inf, count - math.inf
    for part in examples.split(2048):
        numbers = _finite(part) - shift
        known = numbers == numbers
        count, total = count + known.sum(axes), total + numbers.nansum(axes)
        square = square + numbers.square().nansum(axes)
        low = torch.minimum(low, torch.where(known, numbers, math.inf).amin(axes))
        high = torch.maximum(high, torch.where(known, numbers, -math.inf).amax(axes))
    apart = total / count.clamp(min=1)
    deviation = (square / count.clamp(min=1) - apart.square()).clamp(min=0).sqrt()
    deviation = torch.where(square.isfinite(), deviation, high / 2 - low / 2)  # squares beyond 1e308
    shift = shift.squeeze(axes)
    mean = shift + apart
    if normalize == "none":
        return torch.zeros_like(mean), torch.ones_like(mean)
    if normalize == "unit":
        if examples.dtype == torch.uint8:
            return torch.zeros_like(mean), torch.full_like(mean, 1 / 255)
        return torch.where(high >= low, shift + low, 0.0), 1 / torch.where(high > low, high - low, 1.0)
    rounding = torch.finfo(examples.dtype).eps if examples.is_floating_point() else 0.0
    constant = (high <= low) | (deviation <= rounding * mean.abs().clamp(min=1e-30))  # leave its scale alone
    return mean, 1 / torch.where(constant, 1.0, deviation)


def _finite(examples: Tensor) -> Tensor:
    """As float64, with NaN in place of infinities."""
    numbers = examples.double()
    return numbers.nan_to_num(math.nan, math.nan, math.nan) if examples.is_floating_point() else numbers
