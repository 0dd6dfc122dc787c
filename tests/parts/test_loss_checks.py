"""The check of a loss of one's own, and the judgement on pairs of output activation and loss."""

import math

import pytest
import torch

from netwright.catalogue import LOSSES
from netwright.errors import UsageError
from netwright.parts.losses import check_loss, pairing

OUTPUTS = torch.tensor([[0.3, -1.2], [2.0, 0.4], [-0.7, 0.9]])
TARGET = torch.tensor([[0.0, 1.0], [1.0, 0.5], [-1.0, 2.0]])


class WrongBackward(torch.autograd.Function):
    """y^2 with the derivative y."""

    @staticmethod
    def forward(context, y):
        context.save_for_backward(y)
        return y.square()

    @staticmethod
    def backward(context, slope):
        return slope * context.saved_tensors[0]


def fourth_power(outputs, target):
    return (outputs - target).pow(4).sum(1)


def test_a_sound_loss_passes_and_its_tensors_stay():
    outputs = OUTPUTS.clone().requires_grad_()
    check_loss(fourth_power, outputs, TARGET)
    check_loss(LOSSES["cross_entropy"], OUTPUTS, torch.tensor([0, 1, 1]))
    assert outputs.grad is None
    assert torch.equal(outputs, OUTPUTS)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda y, t: WrongBackward.apply(y - t).sum(1), "not its slope: a wrong backward, or a kink"),
        (lambda y, t: fourth_power(y, t).mean(), r"gives \[\] for 3 examples; it is one value per .* \(3,\)"),
        (lambda y, t: (y - t).abs(), r"gives \[3, 2\] for 3 examples"),
        (lambda y, t: 0.5, "gives float for 3 examples"),
        (lambda y, t: fourth_power(y, t).float(), r"makes torch\.float32 of torch\.float64"),
        (lambda y, t: fourth_power(y.detach(), t), "no gradient: somewhere its value leaves autograd"),
        (lambda y, t: fourth_power(y, t) / fourth_power(y, t).sum(), "example 0 depends on other examples"),
        (lambda y, t: (y - t).sum(1).log(), "the loss is nan at example 0"),
        (lambda y, t: (y - y.detach()).sum(1).sqrt(), "the gradient of the loss is (inf|nan) at example 0"),
        (lambda y, t: (y - OUTPUTS.double()).clamp(min=0).sum(1), "kink"),
    ],
)  # fmt: skip
def test_a_faulty_loss_is_refused_with_the_reason(loss, words):
    with pytest.raises(UsageError, match=words) as caught:
        check_loss(loss, OUTPUTS, TARGET)
    assert len(str(caught.value).splitlines()) <= 3


# pairs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "loss", "instead"),
    [
        ("sigmoid", "mse", "bce_with_logits"),
        ("softmax", "mse", "cross_entropy"),
        ("softmax", "half_squared_error", "cross_entropy"),
        ("sigmoid", "mae", "bce_with_logits"),
        ("softmax", "cross_entropy", "cross_entropy"),
        ("sigmoid", "bce_with_logits", "bce_with_logits"),
        ("sigmoid", "logistic", "logistic"),
        ("relu", "cross_entropy", "cross_entropy"),
        ("softmax", "nll", "cross_entropy"),
        ("identity", "nll", "cross_entropy"),
        ("identity", "bce", "bce_with_logits"),
        ("sigmoid", "hinge", "hinge"),
    ],
)
def test_bad_pairs_are_named_with_a_better_loss(activation, loss, instead):
    found = pairing(activation, loss)
    assert (found.fits, found.instead) == (False, instead)
    assert activation in found.why or "itself" in found.why


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("identity", "mse"), ("leaky_relu", "mse"), ("relu", "mse"), ("identity", "cross_entropy"), ("sigmoid", "bce"),
        ("log_softmax", "nll"), ("log_softmax", "cross_entropy"), ("identity", "hinge"), ("tanh", "hinge"),
        ("identity", "bce_with_logits"), ("identity", "logistic"),
    ],
)  # fmt: skip
def test_good_pairs_fit(activation, loss):
    found = pairing(activation, loss)
    assert (found.fits, found.instead) == (True, "")


def test_the_gradients_at_saturation_are_shown():
    p = 1 / (1 + math.exp(10))
    found = pairing("sigmoid", "mse")
    assert found.gradient == pytest.approx(2 * (p - 1) * p * (1 - p))  # about -9e-5
    assert found.needed == pytest.approx(p - 1)  # about -1: p - y
    both = pairing("softmax", "half_squared_error")
    # two outputs, each off by 1 - p, both moving with the right class's logit
    assert both.gradient == pytest.approx(2 * (p - 1) * p * (1 - p))
    assert both.needed == pytest.approx(p - 1)
    assert math.isnan(pairing("softmax", "cross_entropy").gradient)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="Did you mean 'sigmoid'"):
        pairing("sigmoyd", "mse")
    with pytest.raises(UsageError, match="loss 'mze' is not in the catalogue"):
        pairing("sigmoid", "mze")
