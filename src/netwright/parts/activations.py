"""Activations: functions of one number between linear layers. Each factory returns a module on torch's kernel.

The facts: `values` is the range of the output, `monotonic` whether it never falls (not required of an activation: swish
falls below x = -1.28), `init` the initializer that keeps the scale of signals through it.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import ACTIVATIONS, Range
from netwright.parts.notation import read_call, settings_from


def activation(spec: str, where: str = "activation") -> nn.Module:
    """A fresh module from a name with settings, such as `relu` or `leaky_relu(slope=0.1)`.

    Errors: UsageError for an unknown name or setting.
    """
    call = read_call(spec, where)
    part = ACTIVATIONS[call.name]
    module: nn.Module = part(**settings_from(call, part.settings, f"{where} {call.name!r}"))
    return module


@ACTIVATIONS.add(source="Nair and Hinton 2010, ICML", values="[0, inf)", monotonic=True, init="he_normal")
def relu() -> nn.Module:
    """Passes positive numbers and blocks negative ones.

    Formula: max(x, 0); derivative 1 for x > 0, 0 for x < 0, taken as 0 at 0
    """
    return nn.ReLU()


@ACTIVATIONS.add(source="Maas, Hannun, Ng 2013, ICML workshop", values="(-inf, inf)", monotonic=True, init="he_normal")
def leaky_relu(*, slope: Annotated[float, Range(0, 1)] = 0.01) -> nn.Module:
    """ReLU that lets a little of the negative side through, so that its gradient is never 0.

    Formula: x for x > 0, slope * x otherwise
    """
    return nn.LeakyReLU(slope)


@ACTIVATIONS.add(
    source="Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289",
    values="(-alpha, inf)",
    monotonic=True,
    init="he_normal",
)
def elu(*, alpha: Annotated[float, Range(0, 100)] = 1.0) -> nn.Module:
    """ReLU with a smooth negative side that saturates at -alpha.

    Formula: x for x > 0, alpha * (exp(x) - 1) otherwise
    """
    return nn.ELU(alpha)


@ACTIVATIONS.add(
    source="Klambauer et al. 2017, arXiv:1706.02515", values="(-1.7581, inf)", monotonic=True, init="lecun_normal"
)
def selu() -> nn.Module:
    """ELU scaled so that deep layers keep mean 0 and variance 1 by themselves.

    Formula: 1.0507 * (x for x > 0, 1.6733 * (exp(x) - 1) otherwise)
    """
    return nn.SELU()


@ACTIVATIONS.add(
    source="Hendrycks and Gimpel 2016, arXiv:1606.08415", values="[-0.17, inf)", monotonic=False, init="he_normal"
)
def gelu() -> nn.Module:
    """The input weighted by the normal distribution's probability of lying below it.

    Formula: x * Phi(x), Phi the standard normal distribution function (exact, not the tanh approximation)
    """
    return nn.GELU()


@ACTIVATIONS.add(
    source="Ramachandran, Zoph, Le 2017, arXiv:1710.05941", values="[-0.2785, inf)", monotonic=False, init="he_normal"
)
def swish() -> nn.Module:
    """The input weighted by its own sigmoid.

    Formula: x * sigmoid(x)
    """
    return nn.SiLU()


@ACTIVATIONS.add(
    source="Howard et al. 2019, arXiv:1905.02244, section 5.2",
    values="[-0.375, inf)",
    monotonic=False,
    init="he_normal",
)
def hard_swish() -> nn.Module:
    """Swish made of straight lines, for phones.

    Formula: x * min(max(x + 3, 0), 6) / 6
    """
    return nn.Hardswish()


@ACTIVATIONS.add(source="Howard et al. 2017, arXiv:1704.04861", values="[0, 6]", monotonic=True, init="he_normal")
def relu6() -> nn.Module:
    """ReLU cut off at 6.

    Formula: min(max(x, 0), 6)
    """
    return nn.ReLU6()


@ACTIVATIONS.add(
    source="Rumelhart, Hinton, Williams 1986, Nature 323", values="(0, 1)", monotonic=True, init="glorot_uniform"
)
def sigmoid() -> nn.Module:
    """Squashes into 0..1; saturates on both sides and is not centred on 0.

    Formula: 1 / (1 + exp(-x)); derivative at most 0.25, at x = 0
    """
    return nn.Sigmoid()


@ACTIVATIONS.add(
    source="Howard et al. 2019, arXiv:1905.02244, section 5.2", values="[0, 1]", monotonic=True, init="glorot_uniform"
)
def hard_sigmoid() -> nn.Module:
    """Sigmoid made of straight lines, exactly 0 below -3 and 1 above 3.

    Formula: min(max(x + 3, 0), 6) / 6
    """
    return nn.Hardsigmoid()


@ACTIVATIONS.add(
    source="LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp",
    values="(-1, 1)",
    monotonic=True,
    init="glorot_uniform",
)
def tanh() -> nn.Module:
    """Squashes into -1..1, centred on 0.

    Formula: (exp(x) - exp(-x)) / (exp(x) + exp(-x))
    """
    return nn.Tanh()


@ACTIVATIONS.add(
    source="LeCun, Bottou, Bengio, Haffner 1998, appendix A",
    values="(-1.7159, 1.7159)",
    monotonic=True,
    init="lecun_normal",
)
def scaled_tanh() -> nn.Module:
    """The tanh of LeNet-5: it maps 1 to 1 and -1 to -1, and bends most there.

    Formula: 1.7159 * tanh(2x/3)
    """
    return ScaledTanh()


@ACTIVATIONS.add(source="Dugas et al. 2001, NIPS 13", values="(0, inf)", monotonic=True, init="he_normal")
def softplus(*, beta: Annotated[float, Range(1e-3, 1e3)] = 1.0) -> nn.Module:
    """A smooth ReLU; its derivative is the sigmoid.

    Formula: log(1 + exp(beta * x)) / beta
    """
    return nn.Softplus(beta)


@ACTIVATIONS.add(source="no activation", values="(-inf, inf)", monotonic=True, init="lecun_normal")
def identity() -> nn.Module:
    """Leaves every number as it is; layers with nothing else between them are one linear layer.

    Formula: x
    """
    return nn.Identity()


class ScaledTanh(nn.Module):
    """1.7159 * tanh(2x/3)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.7159 * torch.tanh(x * (2.0 / 3.0))
