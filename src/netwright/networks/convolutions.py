"""The layers of a stack that are kinds of convolution: transposed, depthwise, separable, locally connected."""

from collections import OrderedDict
from math import prod, sqrt
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.layers import Count, Modules, Shape, border_of, divisible, layer, need_maps, windows
from netwright.networks.whitening import Whitening
from netwright.parts.windows import Pair, padded_size, pair, size_formula

Size = int | list[Any]
Pad = str | int | list[Any]
PadMode = Literal["zeros", "replicate", "reflect", "circular"]
WEIGHTED = ("linear", "conv", "whiten", "conv_transposed", "depthwise", "separable", "local")
"""Layers with weights of their own: an activation behind one suits its initializer."""
OUT = ("linear", "conv", "conv_transposed", "separable", "local")
"""Layers that may give `out` channels or units."""


@layer
def conv_transposed(
    shape: Shape,
    *,
    channels: Count,
    size: Size,
    stride: Size = 1,
    pad: Annotated[int, Range(0, 10_000)] = 0,
    output_pad: Annotated[int, Range(0, 10_000)] = 0,
    dilation: Size = 1,
    groups: Count = 1,
    bias: bool = True,
) -> Modules:
    """Convolution backwards, which enlarges maps: `conv_transposed CHANNELS SIZE`.

    Formula: (n - 1) s - 2 pad + d(k - 1) + 1 + output_pad places a side; in out/groups kh kw weights and out biases

    `pad` cuts so many pixels off each side; `output_pad` adds some below and at the right, fewer than the stride (or
    the dilation), where several input sizes lead to one output size of the convolution that is turned round.
    """
    need_maps("conv_transposed", shape)
    name = "conv_transposed"
    kernel, step, spread = pair(size, "size", name), pair(stride, "stride", name), pair(dilation, "dilation", name)
    divisible(shape[0], channels, groups)
    for axis, n, k, s, d in zip((say("height"), say("width")), shape[1:], kernel, step, spread, strict=True):
        if output_pad >= max(s, d):
            most = max(s, d) - 1
            text = say("output_pad = {found}; it is at most {most}", found=output_pad, most=most)
            raise UsageError(text + say(", one less than the larger of stride and dilation."))
        places = (n - 1) * s - 2 * pad + d * (k - 1) + 1 + output_pad
        if places < 1:
            numbers = f"({n} - 1)*{s} - 2*{pad} + {d * (k - 1) + 1} + {output_pad} = {places}"
            raise UsageError(say("{axis} {formula}; pad cuts everything off.", axis=axis, formula=numbers))
    made = nn.ConvTranspose2d(shape[0], channels, kernel, step, pad, output_pad, groups, bias, spread)
    return {"": made}


@layer
def whiten(shape: Shape, *, size: Size, eps: Annotated[float, Range(0, 1000)] = 5e-4, bias: bool = True) -> Modules:
    """A convolution that is worked out from training examples, not learnt: `whiten SIZE`; only its biases learn.

    Formula: e_i . x / sqrt(l_i + eps), l_i and e_i the eigenvalues and eigenvectors of the covariance of patches, each
    with both signs: 2 in kh kw outputs, n - k + 1 places a side (Jordan 2024, arXiv:2404.00498)
    """
    kernel = windows("whiten", shape, size, 1, "valid")[0]
    return {"": Whitening(shape[0], kernel, eps=eps, bias=bias)}


@layer
def depthwise(
    shape: Shape,
    *,
    size: Size,
    multiplier: Annotated[int, Range(1, 10_000)] = 1,
    stride: Size = 1,
    pad: Pad = "valid",
    pad_mode: PadMode = "zeros",
    dilation: Size = 1,
    bias: bool = True,
) -> Modules:
    """One kernel for each map alone: `depthwise SIZE`.

    Formula: y_c = w_c * x_c + b_c; kh kw channels weights, `multiplier` times as many maps where it is above 1
    """
    kernel, step, spread, sides = windows("depthwise", shape, size, stride, pad, dilation)
    border = border_of(sides, pad_mode, shape)
    inside = (0, 0) if border else (sides[0][0], sides[1][0])
    made = nn.Conv2d(shape[0], shape[0] * multiplier, kernel, step, inside, spread, shape[0], bias)
    return {"_pad": border, "": made} if border else {"": made}


@layer
def separable(
    shape: Shape,
    *,
    channels: Count,
    size: Size,
    multiplier: Annotated[int, Range(1, 10_000)] = 1,
    stride: Size = 1,
    pad: Pad = "valid",
    pad_mode: PadMode = "zeros",
    dilation: Size = 1,
    bias: bool = True,
) -> Modules:
    """Depthwise convolution, then a 1x1 convolution over the channels, nothing between: `separable CHANNELS SIZE`.

    Formula: kh kw in + in channels weights and `channels` biases, beside kh kw in channels of a full convolution
    """
    own = depthwise(
        shape,
        size=size,
        multiplier=multiplier,
        stride=stride,
        pad=pad,
        pad_mode=pad_mode,
        dilation=dilation,
        bias=False,
    )
    pointwise = nn.Conv2d(shape[0] * multiplier, channels, 1, bias=bias)
    row = nn.Sequential(OrderedDict(depthwise=own[""], pointwise=pointwise))
    return {"_pad": own["_pad"], "": row} if "_pad" in own else {"": row}


@layer
def local(
    shape: Shape,
    *,
    channels: Count,
    size: Size,
    stride: Size = 1,
    pad: Pad = "valid",
    pad_mode: PadMode = "zeros",
    bias: bool = True,
) -> Modules:
    """Locally connected: windows like a convolution's, but each place has kernels of its own: `local CHANNELS SIZE`.

    Formula: y[c, i, j] = w[i, j, c] . window(i, j) + b[i, j, c]; high wide channels (kh kw in + 1) parameters
    """
    kernel, step, _, sides = windows("local", shape, size, stride, pad)
    border = border_of(sides, pad_mode, shape) if any(map(sum, sides)) else None
    inside = (0, 0) if border else (sides[0][0], sides[1][0])
    high, wide = (padded_size(n, k, s, p) for n, k, s, p in zip(shape[1:], kernel, step, sides, strict=True))
    made = LocallyConnected2d(shape[0], channels, (high, wide), kernel, step, inside, bias)
    return {"_pad": border, "": made} if border else {"": made}


class LocallyConnected2d(nn.Module):
    """A convolution without weight sharing; with equal kernels at all places it is one.

    The weight has the shape (places, out, in, kh, kw), the bias (out, high, wide).
    """

    placewise = True
    """Initializers fill it place by place: each place is a layer of its own."""

    def __init__(
        self, entering: int, leaving: int, places: Pair, kernel: Pair, stride: Pair, padding: Pair, bias: bool
    ) -> None:
        super().__init__()
        self.places, self.kernel_size, self.stride, self.padding = places, kernel, stride, padding
        reach = 1 / sqrt(entering * prod(kernel))  # PyTorch's own limits for a convolution
        self.weight = nn.Parameter(torch.empty(prod(places), leaving, entering, *kernel).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(leaving, *places).uniform_(-reach, reach)) if bias else None

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out high wide"]:
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)  # (batch, in kh kw, places)
        sums = torch.einsum("npl,lop->nol", patches, self.weight.flatten(2)).unflatten(2, self.places)
        return sums if self.bias is None else sums + self.bias

    def counted(self, shape: Shape, output: Shape) -> dict[str, Any]:
        """Numbers for the anatomy: each unit reads a window through weights of its own."""
        units, reads, bias = prod(output), self.weight[0, 0].numel(), self.bias is not None
        macs = units * reads
        sides = [size_formula(*axis) for axis in zip(
            shape[1:], self.kernel_size, self.stride, ((p, p) for p in self.padding), strict=True)]  # fmt: skip
        window = "*".join(map(str, (*self.kernel_size, shape[0])))
        formula = (
            f"out = {sides[0] if sides[0] == sides[1] else ', '.join(sides)}; "
            f"parameters = {units}*({window}{' + 1' * bias}) = {macs + units * bias:,}; "
            f"macs = {units}*({window}) = {macs:,}"
        )
        connections = macs + units * bias
        return {"kind": "local", "macs": macs, "neurons": units, "connections": connections, "formula": formula}
