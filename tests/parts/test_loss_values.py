"""Losses against closed forms, torch, scikit-learn and the notes' own examples."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import hinge_loss, log_loss

from netwright.catalogue import LOSSES
from netwright.errors import UsageError

LOGITS = torch.tensor([[3.0, 1.0, -1.0], [0.5, -2.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
CLASSES = torch.tensor([0, 2, 1])
NUMBERS = torch.tensor([[1.0, 2.0], [3.0, -4.0]], dtype=torch.float64)
WANTED = torch.tensor([[0.5, 2.0], [0.0, 0.0]], dtype=torch.float64)


def test_softmax_of_the_notes_example():
    assert LOGITS[0].softmax(0).tolist() == pytest.approx([0.866813, 0.117310, 0.015876], abs=1e-6)
    loss = LOSSES["cross_entropy"](LOGITS[:1], torch.tensor([0]))
    assert float(loss[0]) == pytest.approx(-math.log(0.8668134), abs=1e-6)


def test_cross_entropy_equals_scikit_learn():
    mean = LOSSES["cross_entropy"](LOGITS, CLASSES).mean()
    assert float(mean) == pytest.approx(log_loss(CLASSES, LOGITS.softmax(1), labels=[0, 1, 2]), rel=1e-12)


def test_cross_entropy_is_the_three_steps_of_the_notes_with_the_minus():
    rows = F.one_hot(CLASSES, 3) * LOGITS.softmax(1).log()
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, CLASSES), -rows.sum(1))
    literal = -rows.mean()
    assert float(literal) == pytest.approx(float(LOSSES["cross_entropy"](LOGITS, CLASSES).mean()) / 3)


def test_label_smoothing_by_its_formula():
    q = 0.9 * F.one_hot(CLASSES, 3) + 0.1 / 3
    expected = -(q * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, CLASSES, label_smoothing=0.1), expected)


def test_gradient_of_cross_entropy_is_p_minus_one_hot():
    z = LOGITS.clone().requires_grad_()
    LOSSES["cross_entropy"](z, CLASSES).sum().backward()
    torch.testing.assert_close(z.grad, LOGITS.softmax(1) - F.one_hot(CLASSES, 3))


def test_one_column_of_bce_is_the_logistic_loss():
    z, target = torch.tensor([[2.0], [-3.0], [1000.0], [-1000.0]]), torch.tensor([1, 1, 0, 0])
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(3)), 1000.0, 0.0]
    assert LOSSES["bce_with_logits"](z, target).tolist() == pytest.approx(expected)
    assert LOSSES["logistic"](z, target).tolist() == pytest.approx(expected)


def test_many_columns_of_bce_are_one_against_the_rest():
    loss = LOSSES["bce_with_logits"](LOGITS, CLASSES)
    expected = F.binary_cross_entropy_with_logits(LOGITS, F.one_hot(CLASSES, 3).double(), reduction="none").sum(1)
    torch.testing.assert_close(loss, expected)


def test_bce_takes_probabilities_of_the_outputs_shape():
    wanted = torch.full_like(LOGITS, 0.25)
    expected = F.binary_cross_entropy_with_logits(LOGITS, wanted, reduction="none").sum(1)
    torch.testing.assert_close(LOSSES["bce_with_logits"](LOGITS, wanted), expected)


def test_hinge_equals_scikit_learn_for_labels_zero_and_one():
    z, target = torch.tensor([[0.3], [-2.0], [0.7], [5.0]]), torch.tensor([0, 0, 1, 1])
    assert float(LOSSES["hinge"](z, target).mean()) == pytest.approx(hinge_loss([-1, -1, 1, 1], z[:, 0]))


def test_perceptron_counts_zero_as_wrong():
    z = torch.tensor([[0.0], [2.0], [-2.0]], requires_grad=True)
    loss = LOSSES["perceptron"](z, torch.tensor([1, 1, 1]))
    assert loss.tolist() == [0.0, 0.0, 2.0]
    loss.sum().backward()
    assert z.grad[:, 0].tolist() == [-1.0, 0.0, -1.0]


def test_squared_and_absolute_errors_by_hand():
    assert LOSSES["mse"](NUMBERS, WANTED).tolist() == [0.125, 12.5]
    assert LOSSES["half_squared_error"](NUMBERS, WANTED).tolist() == [0.125, 12.5]
    assert LOSSES["mae"](NUMBERS, WANTED).tolist() == [0.25, 3.5]


def test_half_squared_error_is_outputs_over_two_times_mse():
    ten, zeros = torch.arange(20.0).reshape(2, 10), torch.zeros(2, 10)
    torch.testing.assert_close(LOSSES["half_squared_error"](ten, zeros), 5 * LOSSES["mse"](ten, zeros))


def test_gradient_of_half_squared_error_is_the_difference():
    y = NUMBERS.clone().requires_grad_()
    LOSSES["half_squared_error"](y, WANTED).sum().backward()
    torch.testing.assert_close(y.grad, NUMBERS - WANTED)


def test_absolute_error_of_the_notes_probability():
    logit = torch.tensor([[math.log(4.0)]])
    assert float(LOSSES["mae"](logit, torch.tensor([1]), link="sigmoid")) == pytest.approx(0.2)


def test_classes_are_one_hot_for_squared_error():
    expected = (LOGITS.softmax(1) - F.one_hot(CLASSES, 3)).square().mean(1)
    torch.testing.assert_close(LOSSES["mse"](LOGITS, CLASSES, link="softmax"), expected)


@pytest.mark.parametrize("beta", [0.1, 1.0, 7.0])
def test_smooth_l1_equals_its_two_branches(beta):
    e = (NUMBERS - WANTED).abs()
    expected = torch.where(e < beta, e.square() / (2 * beta), e - beta / 2).mean(1)
    torch.testing.assert_close(LOSSES["smooth_l1"](NUMBERS, WANTED, beta=beta), expected)


@pytest.mark.parametrize(
    ("name", "outputs", "target", "words"),
    [
        ("mse", torch.zeros(4, 1), torch.zeros(4), r"\(4, 1\), target \(4,\)"),
        ("mse", torch.zeros(4, 2), torch.zeros(4, 3), r"\(4, 2\), target \(4, 3\)"),
        ("mae", torch.zeros(1, 3), torch.zeros(4, 3), r"\(1, 3\), target \(4, 3\)"),
        ("smooth_l1", torch.zeros(4), torch.zeros(4), r"\(4,\), target \(4,\)"),
        ("cross_entropy", torch.zeros(8, 3), torch.zeros(7, dtype=torch.long), r"\(8, 3\), target \(7,\)"),
        ("cross_entropy", torch.zeros(8, 3), torch.zeros(8), "whole numbers"),
        ("cross_entropy", torch.zeros(8), torch.zeros(8, dtype=torch.long), r"\(8,\)"),
        ("hinge", torch.zeros(8, 3), torch.zeros(8, dtype=torch.long), "'cross_entropy' for more classes"),
        ("bce_with_logits", torch.zeros(8, 1), torch.zeros(8), r"\(8, 1\), target \(8,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_both(name, outputs, target, words):
    with pytest.raises(UsageError, match=words):
        LOSSES[name](outputs, target)


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(UsageError, match="beta = -1"):
        LOSSES["smooth_l1"](NUMBERS, WANTED, beta=-1)
