"""Initializers: fill a weight in place, from torch's global generator or a given one.

fan_in is the number of inputs of one unit and fan_out the number of units that one input reaches, by torch's rule: for
a weight (out, in, *window) fan_in = in * window and fan_out = out * window.
"""

from math import ceil, sqrt
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from netwright.catalogue import ACTIVATIONS, INITIALIZERS, Part, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.notation import read_call, settings_from

Gain = Annotated[float, Range(0, 1e6)]
Finite = Annotated[float, Range(-1e6, 1e6)]
Weight = Float[Tensor, "*shape"]
WEIGHTY = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase)
"""The modules whose weights and biases `initialise` fills; norms keep their 1 and 0."""


def read_init(spec: str, where: str = "init") -> tuple[Part, dict[str, Any]]:
    """The initializer and the settings that a text such as `normal(mean=0, std=0.01)` names; UsageError if none."""
    call = read_call(spec, where)
    part = INITIALIZERS[call.name]
    return part, settings_from(call, part.settings, f"{where} {call.name!r}")


def drawn(layer: nn.Module) -> bool:
    """Whether a layer has weights that an initializer fills; those that begin from data are worked out instead."""
    return (isinstance(layer, WEIGHTY) or getattr(layer, "placewise", False)) and not getattr(layer, "from_data", False)


def apply_init(
    module: nn.Module, spec: str, generator: Generator | None = None, *, which: Literal["weight", "bias"] = "weight"
) -> None:
    """Fill the weights (or biases) of every linear, convolution, embedding and recurrent layer in `module`.

    Recurrent weights are filled gate by gate, so that fans and orthogonality hold for each gate; weights of locally
    connected layers place by place.
    """
    part, settings = read_init(spec)
    for layer in module.modules():
        if drawn(layer):
            gates = {"LSTM": 4, "GRU": 3}.get(getattr(layer, "mode", ""), 1)
            for name, weight in layer.named_parameters(recurse=False):
                if name.startswith(which):
                    for gate in weight.detach() if getattr(layer, "placewise", False) else weight.detach().chunk(gates):
                        part.build(gate, generator, **settings)


def initialise(
    module: nn.Module, init: str, activation: str = "relu", bias: str = "", generator: Generator | None = None
) -> None:
    """Give a network its first weights: `torch` (PyTorch's own), `auto` (suits the activation), or an initializer's.

    With anything but `torch` the biases start at 0, as in the papers of Glorot and He, unless `bias` names another.
    """
    if init != "torch":
        named = str(ACTIVATIONS[read_call(activation, "activation").name].facts["init"]) if init == "auto" else init
        apply_init(module, named, generator)
    if bias or init != "torch":
        apply_init(module, bias or "constant", generator, which="bias")


@INITIALIZERS.add(source="constant; 0 is usual for biases")
def constant(weight: Weight, generator: Generator | None = None, *, value: Finite = 0.0) -> None:
    """The same number everywhere; as a weight it keeps all units of a layer alike for ever.

    Formula: w = value
    """
    nn.init.constant_(weight, value)


@INITIALIZERS.add(source="normal distribution")
def normal(weight: Weight, generator: Generator | None = None, *, mean: Finite = 0.0, std: Gain = 1.0) -> None:
    """Normal numbers of a scale that you choose; 1 saturates wide layers, so see `lecun_normal`.

    Formula: w ~ N(mean, std^2)
    """
    nn.init.normal_(weight, mean, std, generator=generator)


@INITIALIZERS.add(source="uniform distribution")
def uniform(weight: Weight, generator: Generator | None = None, *, low: Finite = -0.05, high: Finite = 0.05) -> None:
    """Uniform numbers between two limits.

    Formula: w ~ U(low, high)
    """
    if low > high:
        raise UsageError(say("initializer 'uniform': low = {low} lies above high = {high}", low=low, high=high))
    nn.init.uniform_(weight, low, high, generator=generator)


@INITIALIZERS.add(source="Krizhevsky, Sutskever, Hinton 2012, section 5")
def small_normal(weight: Weight, generator: Generator | None = None, *, std: Gain = 0.01) -> None:
    """Small normal numbers whatever the layer's width: signals die out in deep networks.

    Formula: w ~ N(0, std^2)
    """
    nn.init.normal_(weight, 0.0, std, generator=generator)


@INITIALIZERS.add(source="LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, eq. 16")
def lecun_normal(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """Keeps the variance of signals through linear or tanh-like units.

    Formula: w ~ N(0, gain^2 / fan_in)
    """
    nn.init.normal_(weight, 0.0, gain / sqrt(fans(weight)[0]), generator=generator)


@INITIALIZERS.add(source="Glorot and Bengio 2010, AISTATS, eq. 16")
def glorot_uniform(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """A compromise between keeping signals and keeping gradients, uniform.

    Formula: w ~ U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out))
    """
    limit = gain * sqrt(6 / sum(fans(weight)))
    nn.init.uniform_(weight, -limit, limit, generator=generator)


@INITIALIZERS.add(source="Glorot and Bengio 2010, AISTATS, eq. 12")
def glorot_normal(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """A compromise between keeping signals and keeping gradients, normal.

    Formula: w ~ N(0, gain^2 * 2 / (fan_in + fan_out))
    """
    nn.init.normal_(weight, 0.0, gain * sqrt(2 / sum(fans(weight))), generator=generator)


@INITIALIZERS.add(source="He, Zhang, Ren, Sun 2015, arXiv:1502.01852, eq. 10")
def he_normal(
    weight: Weight, generator: Generator | None = None, *, slope: Annotated[float, Range(0, 1)] = 0.0
) -> None:
    """Keeps the variance of signals through ReLU units; `slope` is that of a leaky ReLU.

    Formula: w ~ N(0, 2 / ((1 + slope^2) fan_in))
    """
    nn.init.normal_(weight, 0.0, sqrt(2 / ((1 + slope**2) * fans(weight)[0])), generator=generator)


@INITIALIZERS.add(source="He, Zhang, Ren, Sun 2015, arXiv:1502.01852, eq. 10")
def he_uniform(
    weight: Weight, generator: Generator | None = None, *, slope: Annotated[float, Range(0, 1)] = 0.0
) -> None:
    """`he_normal` with a uniform distribution of the same variance.

    Formula: w ~ U(-a, a), a = sqrt(6 / ((1 + slope^2) fan_in))
    """
    limit = sqrt(6 / ((1 + slope**2) * fans(weight)[0]))
    nn.init.uniform_(weight, -limit, limit, generator=generator)


@INITIALIZERS.add(source="Saxe, McClelland, Ganguli 2014, arXiv:1312.6120")
def orthogonal(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """Rows (or columns, whichever are fewer) at right angles and of equal length: lengths of signals are kept exactly.

    Formula: w w^T = gain^2 * I, with w flattened to (out, fan_in)
    """
    fans(weight)
    nn.init.orthogonal_(weight, gain, generator=generator)


@INITIALIZERS.add(source="Martens 2010, ICML, section 5; as torch.nn.init.sparse_")
def sparse(
    weight: Weight,
    generator: Generator | None = None,
    *,
    sparsity: Annotated[float, Range(0, 0.9999)] = 0.9,
    std: Gain = 0.01,
) -> None:
    """Sets most connections to 0 and draws the rest from a normal distribution.

    Formula: w ~ N(0, std^2); of each input's weights ceil(sparsity * out) at random places are 0

    Differs: at least one weight of each input stays, where torch may leave none in a small layer; windows of
    convolutions count as inputs.
    """
    fans(weight)
    with torch.no_grad():
        weight.normal_(0.0, std, generator=generator)
        out = len(weight)
        zeros = min(ceil(sparsity * out), out - 1)
        order = torch.rand(weight.flatten(1).shape, generator=generator, device=weight.device).argsort(0)
        weight.masked_fill_((order.argsort(0) < zeros).view(weight.shape), 0.0)


@INITIALIZERS.add(source="Long, Shelhamer, Darrell 2015, arXiv:1411.4038, section 3.3")
def bilinear(weight: Weight, generator: Generator | None = None) -> None:
    """Makes a transposed convolution enlarge each map by bilinear interpolation.

    Formula: w[c, c, i, j] = (1 - |i - m|/f)(1 - |j - m|/f), f = floor((k + 1)/2), m = (k - 1)/2; 0 between other maps

    With stride f and windows of k = 2f - (f mod 2) maps become f times as large; the weight is (in, out, kh, kw).
    """
    if weight.ndim != 4:
        text = say("initializer 'bilinear' fills windows of maps, not the shape {shape}.", shape=tuple(weight.shape))
        raise UsageError(text)
    sides = []
    for size in weight.shape[2:]:
        factor = (size + 1) // 2
        places = torch.arange(size, dtype=weight.dtype, device=weight.device)
        sides.append(1 - (places - (size - 1) / 2).abs() / factor)
    with torch.no_grad():
        weight.zero_()
        weight.diagonal().copy_(torch.outer(*sides).unsqueeze(-1))


@INITIALIZERS.add(source="Szegedy et al. 2016, arXiv:1512.00567, as released: N(0, 0.1^2) cut at two deviations")
def truncated_normal(
    weight: Weight,
    generator: Generator | None = None,
    *,
    std: Gain = 0.1,
    limit: Annotated[float, Range(0.1, 10)] = 2.0,
) -> None:
    """Normal numbers without the tails: none lies further out than `limit` deviations.

    Formula: w ~ N(0, std^2) given |w| <= limit * std; with limit 2 the measured deviation is 0.880 std
    """
    nn.init.trunc_normal_(weight, 0.0, std, -limit * std, limit * std, generator=generator)


@INITIALIZERS.add(source="Le, Jaitly, Hinton 2015, arXiv:1504.00941")
def identity(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """Passes the input on: ones on the diagonal, in the middle of the window for convolutions.

    Formula: w[i, i, centre] = gain, 0 elsewhere
    """
    fans(weight)
    with torch.no_grad():
        weight.zero_()
        middle = weight
        for size in weight.shape[2:]:
            middle = middle.select(2, (size - 1) // 2)
        middle.diagonal().fill_(gain)


@INITIALIZERS.add(source="Jordan 2024, arXiv:2404.00498 (identity initialisation); further rows: torch's default")
def partial_identity(weight: Weight, generator: Generator | None = None, *, gain: Gain = 1.0) -> None:
    """Passes the input on through the first units, as `identity`, and draws the weights of further ones.

    Formula: w[i, i, centre] = gain and 0 elsewhere for i < in; w[i] ~ U(-a, a), a = gain / sqrt(fan_in), for i >= in

    Where a layer has more units than inputs, `identity` would leave the others at 0.
    """
    limit = gain / sqrt(fans(weight)[0])
    with torch.no_grad():
        first, rest = weight[: weight.shape[1]], weight[weight.shape[1] :]
        identity(first, generator, gain=gain)
        rest.uniform_(-limit, limit, generator=generator)


def fans(weight: Weight) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight with at least two axes; UsageError for a bias, which has none."""
    if weight.ndim < 2:
        text = say(
            "an initializer with fans needs a weight (out, in, ...), not the shape {shape}", shape=tuple(weight.shape)
        )
        raise UsageError(text + "; " + say("use constant, normal or uniform."))
    window = weight[0, 0].numel() if weight.ndim > 2 else 1
    return weight.shape[1] * window, weight.shape[0] * window
