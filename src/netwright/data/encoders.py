"""From raw examples to what a network reads: fitted on the training split, stored in the run, repeated later."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from netwright.data.source import Examples
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.parts.augmentations import Pixels, Views, centre_crop, read_augment
from netwright.parts.augmentations.colors import color_axes

Normalize = Literal["auto", "standard", "unit", "none"]


class Encoder(Protocol):
    """Turns raw examples into network inputs, batch first: float32 numbers, or `Sequences`."""

    @property
    def inputs(self) -> dict[str, Any]: ...

    def encode(self, examples: Any, /) -> Any: ...

    def state(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Piecewise:
    """Some pictures that are never all in memory at once, as far as statistics need them."""

    examples: Examples
    positions: np.ndarray
    sizes: Sequence[int]
    """The shape of one picture."""

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self), *self.sizes])

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, part: slice) -> "Piecewise":
        return Piecewise(self.examples, self.positions[part], self.sizes)

    def split(self, step: int) -> Iterator[Tensor]:
        """Parts of at most `step` pictures, 64 or more of which are fetched at once."""
        many = step * -(-64 // step)
        for first in range(0, len(self), many):
            yield from self.examples.take(self.positions[first : first + many]).split(step)

    def whole(self) -> Tensor:
        """All of them, where nothing less will do."""
        return torch.cat(list(self.split(64)))


@dataclass(frozen=True)
class NumberEncoder:
    """Pictures, vectors and sequences: (x - mean) * scale, per channel or per feature."""

    inputs: dict[str, Any]
    mean: Tensor
    scale: Tensor
    pictures: list[int] = field(default_factory=list)
    """Height and width of a picture where the network reads a smaller crop of it; empty where it reads all."""
    crops: int = 1
    """How many crops of a picture are averaged at prediction: 1, the middle, or 10."""
    looks: str = "one"
    """The looks at what the network reads that are averaged at prediction, as in `Views`."""
    pixels: Pixels | None = None
    """What changes of colour want to know about the training pictures."""

    @classmethod
    def fit(cls, kind: str, examples: Tensor | Piecewise, normalize: Normalize) -> "NumberEncoder":
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
        """What the network reads: of larger pictures the middle."""
        found = self.encode_whole(examples)
        return centre_crop(found, self.inputs["height"]) if self.pictures else found

    def encode_whole(self, examples: Tensor) -> Tensor:
        """Whole pictures, where training cuts its own windows out of them, or ten crops are to come."""
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
        found = examples.to(wide, copy=True)
        return found.sub_(mean).mul_(scale).float()

    @property
    def shape(self) -> list[int]:
        """The shape of one example as the data hold it."""
        found = [size for name, size in self.inputs.items() if name != "kind"]
        return [*found[:1], *self.pictures] if self.pictures else found

    @property
    def views(self) -> Views:
        """The looks at a picture whose answers are averaged."""
        return Views("ten_crops", int(self.inputs["height"])) if self.crops == 10 else Views(self.looks)

    def state(self) -> dict[str, Any]:
        found = {**self.inputs, "mean": self.mean.flatten().tolist(), "scale": self.scale.flatten().tolist()}
        if self.pictures:
            found |= {"pictures": self.pictures, "crops": self.crops}
        if self.looks != "one":
            found["views"] = self.looks
        if self.pixels is not None:
            axes = {"eigenvalues": self.pixels.eigenvalues, "eigenvectors": self.pixels.eigenvectors}
            known = {name: numbers.tolist() for name, numbers in axes.items() if numbers is not None}
            found["pixels"] = {"low": self.pixels.low, "high": self.pixels.high, **known}
        return found


def number_encoder(state: dict[str, Any]) -> NumberEncoder:
    """The encoder that `state` describes (the inverse of `.state()`)."""
    extra = ("mean", "scale", "pictures", "crops", "views", "pixels")
    inputs = {name: value for name, value in state.items() if name not in extra}
    view = (-1, 1, 1) if inputs["kind"] == "image" else (-1,)
    mean, scale = (torch.tensor(state[name], dtype=torch.float64) for name in ("mean", "scale"))
    pixels = None
    if "pixels" in state:
        known = state["pixels"]
        axes = [torch.tensor(known[name], dtype=torch.float64) for name in known if name.startswith("eigen")]
        pixels = Pixels(mean, scale, known["low"], known["high"], *axes)
    pictures, crops, looks = state.get("pictures", []), state.get("crops", 1), state.get("views", "one")
    return NumberEncoder(inputs, mean.reshape(view), scale.reshape(view), pictures, crops, looks, pixels)


def for_augment(encoder: NumberEncoder, examples: Tensor | Piecewise, settings: Mapping[str, Any]) -> NumberEncoder:
    """The encoder with what `data.augment`, `data.test_crops` and `data.test_views` ask for: the size that the network
    reads, the looks at test pictures, and what changes of colour want to know, learnt from the training examples
    (N, C, H, W).

    Errors: UsageError where a crop is larger than the pictures, ten crops have no size, or looks cannot be.
    """
    spec, crops = settings.get("augment", ""), settings.get("test_crops", 1)
    picture = encoder.inputs["kind"] == "image"
    augment = read_augment(spec) if spec and picture else None
    size = augment.size if augment is not None else 0
    if crops == 10 and not size:
        raise UsageError(no_ten_crops(say('give a size: data.augment="crop size=..."') if picture else ""))
    sides = {"height": size, "width": size} if size else {}
    encoder = replace(encoder, looks=looks_at(settings, {**encoder.inputs, **sides} if picture else {}))
    if augment is None:
        return encoder
    channels, height, width = encoder.shape
    if size > min(height, width):
        text = say("data.augment: size = {size} is larger than the pictures, {height}x{width}",
                   size=size, height=height, width=width)  # fmt: skip
        raise UsageError(text)
    if size:
        encoder = replace(encoder, inputs={**encoder.inputs, **sides}, pictures=[height, width], crops=crops)
    if augment.needs:
        pixels = Pixels(encoder.mean.flatten(), encoder.scale.flatten(), *_range(examples))
        if "colour axes" in augment.needs and channels == 3:
            values, vectors = color_axes(examples.whole() if isinstance(examples, Piecewise) else examples, pixels)
            pixels = replace(pixels, eigenvalues=values, eigenvectors=vectors)
        encoder = replace(encoder, pixels=pixels)
    return encoder


def looks_at(settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """The name of the looks that `data.test_views` asks for; refused where `inputs` are no pictures that allow them."""
    name = str(settings.get("test_views", "one"))
    text = say("data.test_views = {name!r} averages looks at a picture", name=name)
    if name == "one":
        return name
    if settings.get("test_crops", 1) == 10:
        raise UsageError(f"{text}; {say('data.test_crops = 10 does so already, mirrored too')}")
    if not inputs:
        raise UsageError(f"{text}; {say('these data are no pictures')}")
    if name == "flip_shift" and min(inputs["height"], inputs["width"]) < 2:
        raise UsageError(f"{text}; {say('these are too small to shift')}")
    return name


def no_ten_crops(way: str = "") -> str:
    """Why ten crops cannot be: of what is no picture, or with a `way` out of that."""
    text = say("data.test_crops = {count} averages crops smaller than the pictures", count=10)
    return f"{text}; {way or say('these data are no pictures')}"


def _range(examples: Tensor | Piecewise) -> tuple[float, float]:
    """The least and the greatest value that a pixel may have: 0 and 255, or what the training pictures hold."""
    if isinstance(examples, Piecewise) or examples.dtype == torch.uint8:
        return 0.0, 255.0
    known = examples[examples.isfinite()].double()
    low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 1.0)
    return low, high if high > low else low + 1


def _statistics(examples: Tensor | Piecewise, axes: tuple[int, ...], normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Mean and 1/standard deviation (or offset and 1/range) over `axes`, in float64, a slice at a time.

    Sums are of distances from the first slice's mean, so that a mean far from 0 costs no digits. NaN and infinities do
    not count: they stay what they are and spoil no other example.
    """
    if isinstance(examples, Piecewise) or (examples.dtype == torch.uint8 and axes == (0, 2, 3)):
        return _pixel_statistics(examples, normalize)
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


def _pixel_statistics(pictures: Tensor | Piecewise, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """The same numbers to the bit for 8-bit pictures (N, C, H, W), from sums of whole numbers, which are exact."""
    channels, step = pictures.shape[1], max(1, 2**16 // max(1, pictures.shape[2] * pictures.shape[3]))
    total, square, first = ([0] * channels for _ in range(3))
    seen = 0
    for part in _split_at(pictures, step, 2048):
        for channel, levels in enumerate(part.unbind(1)):
            numbers = levels.flatten().double()
            total[channel] += int(numbers.sum())
            square[channel] += int(numbers.dot(numbers))
        seen += len(part)
        first = list(total) if seen <= 2048 else first
    pixels = pictures.shape[2] * pictures.shape[3]
    count = len(pictures) * pixels
    shift = (torch.tensor(first).double() / (min(len(pictures), 2048) * pixels)).round()
    exact = [int(each) for each in shift]
    apart_total = [t - s * count for t, s in zip(total, exact, strict=True)]
    apart_square = [q - 2 * s * t + s * s * count for q, t, s in zip(square, total, exact, strict=True)]
    apart = torch.tensor(apart_total, dtype=torch.float64) / count
    spread = torch.tensor(apart_square, dtype=torch.float64) / count
    mean, deviation = shift + apart, (spread - apart.square()).clamp(min=0).sqrt()
    if normalize == "none":
        return torch.zeros_like(mean), torch.ones_like(mean)
    if normalize == "unit":
        return torch.zeros_like(mean), torch.full_like(mean, 1 / 255)
    return mean, 1 / torch.where(deviation <= 0, 1.0, deviation)


def _split_at(pictures: Tensor | Piecewise, step: int, place: int) -> Iterator[Tensor]:
    """Parts of at most `step` pictures, one of which ends at `place`."""
    for part in (pictures[:place], pictures[place:]):
        if len(part):
            yield from part.split(step)


def _finite(examples: Tensor) -> Tensor:
    """As float64, with NaN in place of infinities."""
    numbers = examples.double()
    return numbers.nan_to_num(math.nan, math.nan, math.nan) if examples.is_floating_point() else numbers
