"""Norms: layers that rescale signals, built from one example's shape: (C, H, W), (features,) or (steps, features)."""

from typing import Annotated, Any

from torch import nn

from netwright.catalogue import NORMS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.notation import read_call, settings_from

Shape = tuple[int, ...]
Tiny = Annotated[float, Range(1e-12, 1)]


def norm(spec: str, shape: Shape, where: str = "norm") -> nn.Module:
    """A fresh norm for one example's shape from a name with settings, such as `batchnorm` or `groupnorm(groups=4)`."""
    call = read_call(spec, where)
    part = NORMS[call.name]
    module: nn.Module = part(shape, **settings_from(call, part.settings, f"{where} {call.name!r}"))
    return module


@NORMS.add(source="Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1")
def batchnorm(
    shape: Shape,
    *,
    eps: Tiny = 1e-5,
    momentum: Annotated[float, Range(0, 1)] = 0.1,
    affine: bool = True,
    scale: bool = True,
) -> nn.Module:
    """Rescales each channel by the mean and variance of the batch, then by a learned gain and bias.

    Formula: gamma * (x - mean) / sqrt(variance + eps) + beta;
    in use the running ones, r <- (1 - momentum) r + momentum * batch

    TensorFlow's `decay` is 1 - momentum. `scale = false` keeps gamma at 1 and learns beta alone, `affine = false`
    learns neither.
    """
    if len(shape) == 2:
        text = say("batchnorm wants maps or a vector, but a sequence of {steps} steps came.", steps=shape[0])
        raise UsageError(text + " " + say("Did you mean {best!r}?", best="layernorm"))
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    made = kind(shape[0], eps=eps, momentum=momentum, affine=affine)
    if affine and not scale:
        ones = made.weight.detach()
        del made.weight
        made.register_buffer("weight", ones, persistent=False)  # CUDA's fast kernels want a gain, and 1 is one
    return made


@NORMS.add(source="Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 3")
def layernorm(shape: Shape, *, eps: Tiny = 1e-5) -> nn.Module:
    """Rescales each example by its own mean and variance, so batches do not matter.

    Formula: gamma * (x - mean) / sqrt(variance + eps) + beta, over the features (each step of a sequence for itself)

    Maps are taken over channels, height and width together, with one gain and bias per channel.
    """
    return nn.GroupNorm(1, shape[0], eps=eps) if len(shape) == 3 else nn.LayerNorm(shape[-1], eps=eps)


@NORMS.add(source="Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022")
def instancenorm(shape: Shape, *, eps: Tiny = 1e-5, affine: bool = False) -> nn.Module:
    """Rescales each channel of each example by its own mean and variance over height and width.

    Formula: (x - mean) / sqrt(variance + eps), with `affine` gamma * that + beta; the same in training and in use

    A map of 1x1 pixels becomes 0, since it is its own mean.
    """
    if len(shape) != 3:
        text = say("instancenorm wants maps (channels, height, width), but the shape {shape} came.", shape=shape)
        raise UsageError(text + " " + say("Did you mean {best!r}?", best="layernorm"))
    return InstanceNorm(shape[0], eps, affine)


@NORMS.add(source="Wu and He 2018, arXiv:1803.08494, eq. 7")
def groupnorm(shape: Shape, *, groups: Annotated[int, Range(1, 65536)] = 32, eps: Tiny = 1e-5) -> nn.Module:
    """Rescales groups of channels of one example; the channels must divide evenly into the groups.

    Formula: gamma * (x - mean) / sqrt(variance + eps) + beta, over each group of channels / groups channels
    """
    if len(shape) == 2:
        text = say("groupnorm wants maps or a vector, but a sequence of {steps} steps came.", steps=shape[0])
        raise UsageError(text + " " + say("Did you mean {best!r}?", best="layernorm"))
    if shape[0] % groups:
        fitting = next(n for n in range(groups, 0, -1) if shape[0] % n == 0)
        text = say(
            "groupnorm: {channels} channels do not divide into {groups} groups", channels=shape[0], groups=groups
        )
        raise UsageError(text + "; " + say("the nearest that fits is {fitting}.", fitting=fitting))
    return nn.GroupNorm(groups, shape[0], eps=eps)


@NORMS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 3.3")
def lrn(
    shape: Shape,
    *,
    size: Annotated[int, Range(1, 1000)] = 5,
    alpha: Annotated[float, Range(0, 100)] = 1e-4,
    beta: Annotated[float, Range(0, 100)] = 0.75,
    k: Annotated[float, Range(1e-6, 1000)] = 2.0,
) -> nn.Module:
    """Divides each channel by the strength of its neighbours at the same place.

    Formula: x / (k + alpha * sum over `size` neighbouring channels of x^2)^beta

    Differs: torch and Caffe divide alpha by `size`; here alpha is the paper's, undivided. Nothing is learned.
    """
    if len(shape) != 3:
        raise UsageError(say("lrn wants maps (channels, height, width), but the shape {shape} came.", shape=shape))
    return nn.LocalResponseNorm(size, alpha=alpha * size, beta=beta, k=k)


class InstanceNorm(nn.GroupNorm):
    """Groups of one channel each: torch's own instance norm refuses to train on maps of one pixel."""

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        super().__init__(channels, channels, eps=eps, affine=affine)

    def counted(self, shape: Shape, output: Shape) -> dict[str, Any]:
        """Numbers for the anatomy: a norm has neither neurons nor connections."""
        count = sum(p.numel() for p in self.parameters())
        return {"kind": "instancenorm", "formula": f"parameters = {count:,}" if count else ""}
