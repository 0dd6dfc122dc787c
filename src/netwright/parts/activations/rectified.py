"""Activations that pass the positive side: ReLU and its relatives."""

from typing import Annotated, Literal

from torch import nn

from netwright.catalogue import ACTIVATIONS, Range
from netwright.parts.activations.measuring import card_facts


@ACTIVATIONS.add(source="Nair and Hinton 2010, ICML", init="he_normal", measured=card_facts)
def relu() -> nn.Module:
    """Passes positive numbers and blocks negative ones.

    Formula: max(x, 0); derivative 1 for x > 0, 0 for x < 0, taken as 0 at 0

    A unit that is negative on every example passes no gradient and stays so (a dead unit). Used in restricted Boltzmann
    machines in 2010; AlexNet (2012) was its first large success on ImageNet.
    """
    return nn.ReLU()


@ACTIVATIONS.add(source="Maas, Hannun, Ng 2013, ICML workshop", init="he_normal", measured=card_facts)
def leaky_relu(*, slope: Annotated[float, Range(0, 1)] = 0.01) -> nn.Module:
    """ReLU that lets a little of the negative side through, so that its gradient is never 0.

    Formula: x for x > 0, slope * x otherwise; derivative 1 and slope
    """
    return nn.LeakyReLU(slope)


@ACTIVATIONS.add(source="He et al. 2015, arXiv:1502.01852, eq. 1", init="he_normal", measured=card_facts)
def prelu(*, slope: Annotated[float, Range(-1, 1)] = 0.25) -> nn.Module:
    """Leaky ReLU whose slope is trained: one number for all channels (the paper's channel-shared form).

    Formula: x for x > 0, a * x otherwise; a starts at `slope` and has the derivative min(x, 0)

    The paper lets no weight decay act on a: it would pull towards ReLU.
    """
    return nn.PReLU(init=slope)


@ACTIVATIONS.add(
    source="Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289", init="he_normal", measured=card_facts
)
def elu(*, alpha: Annotated[float, Range(0, 100)] = 1.0) -> nn.Module:
    """ReLU with a smooth negative side that saturates at -alpha.

    Formula: x for x > 0, alpha * (exp(x) - 1) otherwise; derivative 1 and alpha * exp(x)
    """
    return nn.ELU(alpha)


@ACTIVATIONS.add(source="Barron 2017, arXiv:1704.07483", init="he_normal", measured=card_facts)
def celu(*, alpha: Annotated[float, Range(1e-3, 100)] = 1.0) -> nn.Module:
    """ELU whose slope has no kink at 0, whatever alpha.

    Formula: x for x > 0, alpha * (exp(x / alpha) - 1) otherwise; derivative 1 and exp(x / alpha)
    """
    return nn.CELU(alpha)


@ACTIVATIONS.add(source="Klambauer et al. 2017, arXiv:1706.02515", init="lecun_normal", measured=card_facts)
def selu() -> nn.Module:
    """ELU scaled so that deep layers keep mean 0 and variance 1 by themselves.

    Formula: 1.0507 * (x for x > 0, 1.6733 * (exp(x) - 1) otherwise)
    """
    return nn.SELU()


@ACTIVATIONS.add(source="Hendrycks and Gimpel 2016, arXiv:1606.08415", init="he_normal", measured=card_facts)
def gelu(*, approximate: Literal["none", "tanh"] = "none") -> nn.Module:
    """The input weighted by the normal distribution's probability of lying below it.

    Formula: x * Phi(x), Phi the standard normal distribution function; derivative Phi(x) + x * phi(x), phi its density

    `approximate = "tanh"` is 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), off by at most 5e-4.
    """
    return nn.GELU(approximate)


@ACTIVATIONS.add(source="Ramachandran, Zoph, Le 2017, arXiv:1710.05941", init="he_normal", measured=card_facts)
def swish() -> nn.Module:
    """The input weighted by its own sigmoid.

    Formula: x * sigmoid(x); derivative s + x s (1 - s), s = sigmoid(x): it falls below x = -1.28
    """
    return nn.SiLU()


@ACTIVATIONS.add(source="Misra 2019, arXiv:1908.08681", init="he_normal", measured=card_facts)
def mish() -> nn.Module:
    """Like swish, weighted by the tanh of the softplus.

    Formula: x * tanh(log(1 + exp(x)))
    """
    return nn.Mish()


@ACTIVATIONS.add(source="Howard et al. 2019, arXiv:1905.02244, section 5.2", init="he_normal", measured=card_facts)
def hard_swish() -> nn.Module:
    """Swish made of straight lines, for phones.

    Formula: x * min(max(x + 3, 0), 6) / 6
    """
    return nn.Hardswish()


@ACTIVATIONS.add(source="Howard et al. 2017, arXiv:1704.04861", init="he_normal", measured=card_facts)
def relu6() -> nn.Module:
    """ReLU cut off at 6.

    Formula: min(max(x, 0), 6); derivative 1 between 0 and 6, else 0
    """
    return nn.ReLU6()


@ACTIVATIONS.add(source="Dugas et al. 2001, NIPS 13", init="he_normal", measured=card_facts)
def softplus(*, beta: Annotated[float, Range(1e-3, 1e3)] = 1.0) -> nn.Module:
    """A smooth ReLU; its derivative is the sigmoid.

    Formula: log(1 + exp(beta * x)) / beta; derivative sigmoid(beta * x)
    """
    return nn.Softplus(beta)


@ACTIVATIONS.add(source="no activation", init="lecun_normal", measured=card_facts)
def identity() -> nn.Module:
    """Leaves every number as it is; layers with nothing else between them are one linear layer.

    Formula: x
    """
    return nn.Identity()
