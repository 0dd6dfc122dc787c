"""Activations that go flat on one side or both: sigmoids, their straight-line forms, and the step."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import ACTIVATIONS
from netwright.parts.activations.measuring import card_facts


@ACTIVATIONS.add(source="Rumelhart, Hinton, Williams 1986, Nature 323", init="glorot_uniform", measured=card_facts)
def sigmoid() -> nn.Module:
    """Squashes into 0..1; saturates on both sides and is not centred on 0.

    Formula: s = 1 / (1 + exp(-x)); derivative s (1 - s), at most 0.25, at x = 0
    """
    return nn.Sigmoid()


@ACTIVATIONS.add(source="Howard et al. 2019, arXiv:1905.02244, section 5.2", init="glorot_uniform", measured=card_facts)
def hard_sigmoid() -> nn.Module:
    """Sigmoid made of straight lines, exactly 0 below -3 and 1 above 3.

    Formula: min(max(x + 3, 0), 6) / 6; derivative 1/6 between -3 and 3, else 0
    """
    return nn.Hardsigmoid()


@ACTIVATIONS.add(source="Good 1952; the logarithm of the sigmoid", init="he_normal", measured=card_facts)
def log_sigmoid() -> nn.Module:
    """The logarithm of a probability from its logit, exact where the probability itself is rounded to 0.

    Formula: -log(1 + exp(-x)); derivative sigmoid(-x)
    """
    return nn.LogSigmoid()


@ACTIVATIONS.add(
    source="LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp", init="glorot_uniform", measured=card_facts
)
def tanh() -> nn.Module:
    """Squashes into -1..1, centred on 0.

    Formula: (exp(x) - exp(-x)) / (exp(x) + exp(-x)); derivative 1 - tanh(x)^2
    """
    return nn.Tanh()


@ACTIVATIONS.add(source="LeCun, Bottou, Bengio, Haffner 1998, appendix A", init="lecun_normal", measured=card_facts)
def scaled_tanh() -> nn.Module:
    """The tanh of LeNet-5: it maps 1 to 1 and -1 to -1, and bends most there.

    Formula: 1.7159 * tanh(2x/3)
    """
    return ScaledTanh()


@ACTIVATIONS.add(source="Collobert 2004, PhD thesis, section 6.1", init="glorot_uniform", measured=card_facts)
def hard_tanh() -> nn.Module:
    """Tanh made of straight lines, exactly -1 below -1 and 1 above 1.

    Formula: min(max(x, -1), 1); derivative 1 between -1 and 1, else 0
    """
    return nn.Hardtanh()


@ACTIVATIONS.add(source="Glorot and Bengio 2010, AISTATS", init="glorot_uniform", measured=card_facts)
def softsign() -> nn.Module:
    """Squashes into -1..1 like tanh, but comes near to the ends far more slowly.

    Formula: x / (1 + abs(x)); derivative 1 / (1 + abs(x))^2
    """
    return nn.Softsign()


@ACTIVATIONS.add(
    source="McCulloch and Pitts 1943, Bull. Math. Biophysics 5", init="glorot_uniform", measured=card_facts
)
def step() -> nn.Module:
    """The threshold of the McCulloch-Pitts neuron: it fires or it does not.

    Formula: 1 for x >= 0, else 0; derivative 0 everywhere

    No gradient passes, so layers in front of it never learn by gradient descent.
    """
    return Step()


class ScaledTanh(nn.Module):
    """1.7159 * tanh(2x/3)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.7159 * torch.tanh(x * (2.0 / 3.0))


class Step(nn.Module):
    """1 for x >= 0, else 0."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        # floor keeps the graph with a slope of 0 (a comparison would cut it, torch.heaviside refuses backward) and NaN
        return (x.floor() + 1).clamp(0, 1)
