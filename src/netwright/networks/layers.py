"""The layers of a stack that belong to no family of parts, and the groups: residual and parallel.

A layer is a function of the shape before it; its keyword-only arguments are its settings. It returns the module, with
helpers before it where the notation implies them (padding). Shapes it cannot take are refused with formula and numbers.
"""

from collections.abc import Callable
from math import sqrt
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.recurrent import Steps, on_values
from netwright.parts.cells import AttentionOverSteps, Last, MaxOverSteps, MeanOverSteps, outputs_of
from netwright.parts.sequences import Sequences
from netwright.parts.windows import Pair, Sides, padded_size, pair, sides_of, size_formula

Shape = tuple[int, ...]
Count = Annotated[int, Range(1, 1_000_000)]
Probability = Annotated[float, Range(0, 0.999)]
Modules = dict[str, nn.Module]
"""Modules in order, by the suffix of their names; the layer itself has the empty suffix."""
LAYERS: dict[str, Callable[..., Modules]] = {}


def layer(build: Callable[..., Modules]) -> Callable[..., Modules]:
    """Decorator: make a function a layer of the notation under its own name."""
    LAYERS[build.__name__] = build
    return build


@layer
def conv(
    shape: Shape,
    *,
    channels: Count,
    size: int | list[Any],
    stride: int | list[Any] = 1,
    pad: str | int | list[Any] = "valid",
    pad_mode: Literal["zeros", "replicate", "reflect", "circular"] = "zeros",
    dilation: int | list[Any] = 1,
    groups: Count = 1,
    bias: bool = True,
    flip_kernel: bool = False,
) -> Modules:
    """Convolution of maps: `conv CHANNELS SIZE`.

    Formula: floor((n + 2p - k)/s) + 1 places a side; kh kw in/groups out weights and out biases

    Like every deep-learning library it slides the kernel unturned (cross-correlation); `flip_kernel` turns it by 180
    degrees first, the convolution of mathematics.
    """
    kernel, step, spread, sides = windows("conv", shape, size, stride, pad, dilation)
    divisible(shape[0], channels, groups)
    border = border_of(sides, pad_mode, shape)
    inside = (0, 0) if border else (sides[0][0], sides[1][0])
    kind = FlippedConv2d if flip_kernel else nn.Conv2d
    made = kind(shape[0], channels, kernel, step, inside, spread, groups, bias)
    return {"_pad": border, "": made} if border else {"": made}


class FlippedConv2d(nn.Conv2d):
    """Convolution as mathematics writes it: the kernel is turned by 180 degrees before it slides."""

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out high wide"]:
        return self._conv_forward(x, self.weight.flip(2, 3), self.bias)


def windows(
    name: str, shape: Shape, size: Any, stride: Any, pad: Any, dilation: Any = 1
) -> tuple[Pair, Pair, Pair, Sides]:
    """Kernel, stride, dilation and padding as pairs; a window that does not fit is refused with formula and numbers."""
    need_maps(name, shape)
    kernel, step, spread = pair(size, "size", name), pair(stride, "stride", name), pair(dilation, "dilation", name)
    sides = sides_of(pad, (shape[1], shape[2]), kernel, step, spread, name)
    axes = zip((say("height"), say("width")), shape[1:], kernel, step, sides, spread, strict=True)
    for axis, n, k, s, around, d in axes:
        if padded_size(n, k, s, around, d) < 1:
            formula = size_formula(n, k, s, around, d)
            raise UsageError(say("{axis} {formula}; the window is larger than the map.", axis=axis, formula=formula))
    return kernel, step, spread, sides


def need_maps(name: str, shape: Shape) -> None:
    """Refuse what is no stack of maps."""
    if len(shape) != 3:
        text = say("{name} wants maps (channels, height, width), but the shape {shape} came.", name=name, shape=shape)
        raise UsageError(text)


def divisible(entering: int, leaving: int, groups: int) -> None:
    """Refuse channels that do not divide into groups."""
    for name, count in ((say("input"), entering), (say("output"), leaving)):
        if count % groups:
            text = say(
                "{count} {name} channels do not divide into {groups} groups.", count=count, name=name, groups=groups
            )
            raise UsageError(text)


def border_of(sides: Sides, mode: str, shape: Shape) -> nn.Module | None:
    """A padding layer of its own where the convolution's cannot do it: unequal sides, or other values than zeros."""
    even = all(before == after for before, after in sides)
    if (even and mode == "zeros") or not any(map(sum, sides)):
        return None
    most = {"reflect": 1, "circular": 0}.get(mode)
    for n, around in zip(shape[1:], sides, strict=True):
        if most is not None and max(around) > n - most:
            text = say("pad_mode = {mode} can add at most {most} pixels to {n}", mode=mode, most=n - most, n=n)
            raise UsageError(text + "; " + say("{pad} came.", pad=max(around)))
    borders = (*sides[1], *sides[0])
    kinds = {"zeros": nn.ZeroPad2d, "replicate": nn.ReplicationPad2d, "reflect": nn.ReflectionPad2d}
    return kinds.get(mode, nn.CircularPad2d)(borders)


@layer
def linear(shape: Shape, *, units: Count, bias: bool = True) -> Modules:
    """Fully connected layer: `linear UNITS`; maps are flattened first, the steps of a sequence each taken alone.

    Formula: y = W x + b; in * units weights and units biases
    """
    return {"": nn.Linear(shape[-1], units, bias)}


@layer
def dropout(shape: Shape, *, probability: Probability) -> Modules:
    """Sets numbers to 0 at random while training and scales the rest up: `dropout PROBABILITY`.

    Formula: y = x m / (1 - p), m = 0 with probability p, else 1
    """
    return {"": nn.Dropout(probability)}


@layer
def dropout2d(shape: Shape, *, probability: Probability) -> Modules:
    """Drops whole maps, of sequences whole features, while training: `dropout2d PROBABILITY`.

    Formula: y_c = x_c m_c / (1 - p), m_c = 0 with probability p, else 1 (Tompson et al. 2015, arXiv:1411.4280)
    """
    if len(shape) == 1:
        text = say("dropout2d drops whole maps, but a vector of {count} numbers came.", count=shape[0])
        raise UsageError(text + " " + say("Did you mean {best!r}?", best="dropout"))
    return {"": nn.Dropout2d(probability) if len(shape) == 3 else FeatureDropout(probability)}


@layer
def alpha_dropout(shape: Shape, *, probability: Probability) -> Modules:
    """Dropout for SELU, keeping mean 0 and variance 1: `alpha_dropout PROBABILITY`.

    Formula: y = a (x m + alpha' (1 - m)) + b, alpha' = -1.7581, a = (q + alpha'^2 q p)^(-1/2), b = -a p alpha',
    q = 1 - p (Klambauer et al. 2017, arXiv:1706.02515)
    """
    return {"": nn.AlphaDropout(probability)}


@layer
def gaussian_dropout(shape: Shape, *, probability: Probability) -> Modules:
    """Multiplies by normal noise of mean 1 while training: `gaussian_dropout PROBABILITY`.

    Formula: y = x n, n ~ N(1, p / (1 - p)): the variance of dropout at that p (Srivastava et al. 2014, section 10)
    """
    return {"": GaussianDropout(probability)}


@layer
def droppath(shape: Shape, *, probability: Probability) -> Modules:
    """Stochastic depth, last in a residual branch: drops all of an example at once: `droppath PROBABILITY`.

    Formula: y = x m / (1 - p), one m for each example, 0 with probability p (Huang et al. 2016, arXiv:1603.09382)

    Differs: the paper scales in use by 1 - p instead; the mean is the same.
    """
    return {"": DropPath(probability)}


@layer
def upsample(
    shape: Shape, *, factor: Annotated[int, Range(1, 1000)], mode: Literal["nearest", "bilinear"] = "nearest"
) -> Modules:
    """Makes maps `factor` times as high and wide: `upsample FACTOR`; nothing is learned.

    Formula: nearest: y[i, j] = x[i // f, j // f]; bilinear: between the pixels' centres
    """
    need_maps("upsample", shape)
    return {"": nn.Upsample(scale_factor=factor, mode=mode)}


@layer
def flatten(shape: Shape) -> Modules:
    """Makes one vector of maps or steps; put in by itself where maps meet `linear`.

    Formula: channels * height * width features
    """
    return {"": nn.Flatten()}


@layer
def embedding(shape: Shape, *, features: Count) -> Modules:
    """Looks a vector up for each word number: `embedding FEATURES`; it reads text, not pictures or measurements."""
    text = say("embedding reads word numbers, but numbers of shape {shape} came.", shape=shape)
    raise UsageError(text + " " + say("Leave it out, or use {other!r}.", other="linear"))


class GaussianDropout(nn.Module):
    """Multiplies by N(1, p / (1 - p)) while training."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        if not self.training or self.probability == 0:
            return x
        return x * (1 + torch.randn_like(x) * sqrt(self.probability / (1 - self.probability)))


class FeatureDropout(nn.Dropout1d):
    """Drops whole features of a sequence, at all steps at once, while training."""

    def forward(self, x: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch steps features"]:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Residual(nn.Module):
    """x + body(x); `project` is a linear map of x where the shapes differ."""

    def __init__(self, body: nn.Module, project: nn.Module | None) -> None:
        super().__init__()
        self.body = body
        self.project = project or nn.Identity()

    def forward(self, x: Steps) -> Any:
        return joined([self.body(x), on_values(x, self.project)], lambda both: both[0] + both[1])


class Parallel(nn.Module):
    """The branches' results side by side: along channels of maps, features of vectors and steps."""

    def __init__(self, branches: list[nn.Module], axis: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.axis = axis

    def forward(self, x: Steps) -> Any:
        return joined([branch(x) for branch in self.branches], lambda parts: torch.cat(parts, dim=self.axis))


class DropPath(nn.Module):
    """Leaves a whole branch out for some examples while training, and scales it up for the others (stochastic depth).

    Formula: y = x m / (1 - p), one m an example: 0 with probability p, else 1 (Huang et al. 2016, arXiv:1603.09382)
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.p = probability

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        if not self.training or self.p == 0:
            return x
        kept = torch.empty(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


class EveryStep(nn.Module):
    """A recurrent layer that passes on its output at every step and drops the final state."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Steps) -> Any:
        return outputs_of(self.cell, x)


class Row(nn.Sequential):
    """Layers in order. Of padded sequences those that know of steps get them whole, all others their numbers alone."""

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input) if isinstance(module, WHOLE) else on_values(input, module)
        return input


class Whole(Row):
    """The outermost row of a network: what it says at every step is given out as plain numbers, padding included."""

    def forward(self, input: Any) -> Any:
        found = super().forward(input)
        return found.values if isinstance(found, Sequences) else found


WHOLE = (Row, EveryStep, Residual, Parallel, Last, MeanOverSteps, MaxOverSteps, AttentionOverSteps)
"""Modules that take padded sequences as they are."""


def joined(parts: list[Any], join: Callable[[list[Any]], Tensor]) -> Any:
    """Several results made one by `join`; of padded sequences their numbers, all of the same lengths."""
    if isinstance(parts[0], Sequences):
        return Sequences(join([part.values for part in parts]), parts[0].lengths)
    return join(parts)


def projection(before: Shape, after: Shape) -> nn.Module:
    """A linear map from one shape to another: a strided 1x1 convolution, or a linear layer.

    Errors: UsageError where no whole stride leads from one map size to the other.
    """
    if len(before) != len(after) or (len(before) == 2 and before[0] != after[0]):
        raise UsageError(say("no projection leads from {before} to {after}.", before=before, after=after))
    if len(before) < 3:
        return nn.Linear(before[-1], after[-1], bias=False)
    stride: Pair = (-(-before[1] // after[1]), -(-before[2] // after[2]))
    reached = tuple(padded_size(n, 1, s, (0, 0)) for n, s in zip(before[1:], stride, strict=True))
    if reached != after[1:]:
        text = say("no projection leads from {before} to {after}", before=before, after=after)
        raise UsageError(
            text + "; " + say("a 1x1 convolution of stride {stride} gives {reached}.", stride=stride, reached=reached)
        )
    return nn.Conv2d(before[0], after[0], 1, stride, bias=False)
