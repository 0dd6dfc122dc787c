"""Losses against closed forms, torch, scikit-learn and the notes' own examples."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import hinge_loss, log_loss, mean_absolute_percentage_error, mean_squared_log_error

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


# both conventions ---------------------------------------------------------------------------------------------------


def test_cross_entropy_as_the_notes_code_it():
    # -mean(y * log(p + 10e-6)) over examples and classes: 1/C of the sum, but for eps (E-39, E-40)
    literal = -np.mean(np.eye(3)[CLASSES] * np.log(LOGITS.softmax(1).numpy() + 10e-6))
    found = LOSSES["cross_entropy"](LOGITS, CLASSES, over="mean", eps=1e-5).mean()
    assert float(found) == pytest.approx(literal, rel=1e-12)
    plain = LOSSES["cross_entropy"](LOGITS, CLASSES)
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, CLASSES, over="mean"), plain / 3)
    sure = LOSSES["cross_entropy"](torch.tensor([[100.0, 0.0]], dtype=torch.float64), torch.tensor([0]), eps=1e-5)
    assert float(sure) == pytest.approx(-math.log(1 + 1e-5), rel=1e-9)
    wrong = LOSSES["cross_entropy"](torch.tensor([[-2000.0, 0.0]]), torch.tensor([0]), eps=1e-5)
    assert float(wrong) == pytest.approx(-math.log(1e-5), rel=1e-6)


def test_label_smoothing_goes_with_the_eps():
    q = 0.9 * F.one_hot(CLASSES, 3) + 0.1 / 3
    expected = -(q * (LOGITS.softmax(1) + 1e-3).log()).sum(1)
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, CLASSES, label_smoothing=0.1, eps=1e-3), expected)


def test_one_hot_and_soft_targets_of_cross_entropy():
    rows = F.one_hot(CLASSES, 3)
    for settings in ({}, {"eps": 1e-5}, {"over": "mean", "label_smoothing": 0.1}):
        expected = LOSSES["cross_entropy"](LOGITS, CLASSES, **settings)
        torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, rows, **settings), expected)
    q = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(LOSSES["cross_entropy"](LOGITS, q), -(q * LOGITS.log_softmax(1)).sum(1))
    torch.testing.assert_close(LOSSES["nll"](LOGITS.log_softmax(1), q), -(q * LOGITS.log_softmax(1)).sum(1))


def test_a_share_of_zero_costs_nothing_even_at_log_zero():
    logs = torch.tensor([[0.0, -math.inf]])
    assert LOSSES["nll"](logs, torch.tensor([[1.0, 0.0]])).tolist() == [0.0]


def test_nll_of_log_softmax_is_cross_entropy_for_any_number_of_classes():
    for classes in (2, 3, 7):
        z = torch.linspace(-3, 4, 5 * classes).reshape(5, classes)
        target = torch.arange(5) % classes
        expected = F.nll_loss(z.log_softmax(1), target, reduction="none")
        assert torch.equal(LOSSES["nll"](z.log_softmax(1), target), expected)
        torch.testing.assert_close(expected, LOSSES["cross_entropy"](z, target))


def test_absolute_error_of_the_notes_many_classes():
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log()
    found = LOSSES["mae"](logits, torch.tensor([1]), link="softmax", over="sum")
    assert float(found) == pytest.approx(0.2 + 0.5 + 0.3)
    assert float(LOSSES["mae"](logits, torch.tensor([1]), link="softmax")) == pytest.approx(1 / 3)


def test_the_three_squared_errors():
    total = (NUMBERS - WANTED).square().sum(1)
    torch.testing.assert_close(LOSSES["least_squares"](NUMBERS, WANTED), total)
    torch.testing.assert_close(LOSSES["half_squared_error"](NUMBERS, WANTED), total / 2)
    torch.testing.assert_close(LOSSES["mse"](NUMBERS, WANTED), total / 2)  # two outputs
    # as coded in the notes: reduce_mean over batch and classes (E-27)
    one_hot = (LOGITS - F.one_hot(CLASSES, 3)).square()
    assert float(LOSSES["mse"](LOGITS, CLASSES).mean()) == pytest.approx(float(one_hot.mean()))


def test_the_normal_equations_minimise_least_squares():
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.randn(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    w = torch.linalg.solve(x.T @ x, x.T @ y).requires_grad_()
    LOSSES["least_squares"](x @ w, y).sum().backward()
    torch.testing.assert_close(w.grad, torch.zeros_like(w), atol=1e-12, rtol=0)


def test_msle_equals_scikit_learn_and_clips_below_eps():
    y, t = torch.tensor([[0.0], [3.0], [0.5]], dtype=torch.float64), torch.tensor([[2.0], [0.0], [0.25]]).double()
    mean = LOSSES["msle"](y, t, eps=0.0).mean()
    assert float(mean) == pytest.approx(mean_squared_log_error(t, y), rel=1e-12)
    assert float(LOSSES["msle"](y, t).mean()) == pytest.approx(float(mean), rel=1e-5)
    below = LOSSES["msle"](torch.tensor([[-5.0]]), torch.tensor([[1.0]]), eps=1e-2)
    assert float(below) == pytest.approx((math.log(1.01) - math.log(2)) ** 2, rel=1e-6)


def test_mape_in_percent():
    found = LOSSES["mape"](torch.tensor([[90.0], [110.0]]), torch.tensor([[100.0], [-100.0]]))
    assert found.tolist() == pytest.approx([10.0, 210.0])
    y, t = NUMBERS.abs() + 1, WANTED + 2
    assert float(LOSSES["mape"](y, t).mean()) == pytest.approx(100 * mean_absolute_percentage_error(t, y))
    assert float(LOSSES["mape"](torch.tensor([[3.0]]), torch.tensor([[0.0]]), eps=0.5)) == pytest.approx(600.0)


# probabilities ------------------------------------------------------------------------------------------------------


def test_bce_of_probabilities_equals_torch_and_the_logit_form():
    p, t = LOGITS.sigmoid(), torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.3], [1.0, 1.0, 0.0]]).double()
    expected = F.binary_cross_entropy(p, t, reduction="none").sum(1)
    torch.testing.assert_close(LOSSES["bce"](p, t), expected)
    torch.testing.assert_close(LOSSES["bce"](p, t), LOSSES["bce_with_logits"](LOGITS, t))


def test_bce_is_clamped_at_zero_and_one():
    p, t = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64), torch.tensor([1, 0, 1])
    assert LOSSES["bce"](p, t, eps=1e-3).tolist() == pytest.approx([-math.log(1e-3)] * 2 + [-math.log(0.999)])
    assert LOSSES["bce"](p, t, eps=0.0).tolist() == [100.0, 100.0, 0.0]
    assert LOSSES["bce"](p, t)[0] == pytest.approx(-math.log(1e-7))


# margins ------------------------------------------------------------------------------------------------------------

SCORES = torch.tensor([[0.3], [-2.0], [0.7], [5.0]], dtype=torch.float64)
MARGINS = torch.tensor([-0.3, 2.0, 0.7, 5.0], dtype=torch.float64)
BY_MARGIN = {
    "logistic": lambda m: math.log1p(math.exp(-m)),
    "hinge": lambda m: max(0.0, 1 - m),
    "squared_hinge": lambda m: max(0.0, 1 - m) ** 2,
    "perceptron": lambda m: max(0.0, -m),
    "exponential": lambda m: math.exp(-m),
}
LABELS = [torch.tensor([0, 0, 1, 1]), torch.tensor([-1, -1, 1, 1])]
LABELS += [labels.to(kind) for labels in LABELS for kind in (torch.float32, torch.float64, torch.int8)]
LABELS += [LABELS[0].bool(), LABELS[0][:, None], LABELS[1][:, None].double()]


@pytest.mark.parametrize("name", BY_MARGIN)
@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: f"{labels.dtype}{list(labels.shape)}")
def test_labels_zero_or_minus_one_cost_the_same(name, labels):
    expected = [BY_MARGIN[name](m) for m in MARGINS.tolist()]
    assert LOSSES[name](SCORES, labels).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", BY_MARGIN)
def test_labels_of_several_columns_are_averaged(name):
    scores, labels = SCORES.reshape(2, 2), torch.tensor([[-1, -1], [1, 1]])
    expected = torch.tensor([BY_MARGIN[name](m) for m in MARGINS.tolist()]).double().reshape(2, 2).mean(1)
    torch.testing.assert_close(LOSSES[name](scores, labels), expected)


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [-1, 0, 1, 1], [0.5, 1, 1, 0], [0, -1, 0, 0], [3, 3, 3, 3],
                                    [math.nan, 1, 1, 0], [math.inf, 0, 0, 0]])  # fmt: skip
@pytest.mark.parametrize("name", BY_MARGIN)
def test_labels_that_cannot_be_are_refused(name, labels):
    with pytest.raises(UsageError, match="takes the labels 0 and 1, or -1 and 1"):
        LOSSES[name](SCORES, torch.tensor(labels))


def test_bce_reads_labels_of_minus_one_too():
    for name, outputs in (("bce_with_logits", SCORES), ("bce", SCORES.sigmoid()), ("focal", SCORES)):
        torch.testing.assert_close(LOSSES[name](outputs, LABELS[0]), LOSSES[name](outputs, LABELS[1]))


def test_the_exponential_loss_and_adaboosts_weights():
    losses = LOSSES["exponential"](SCORES, LABELS[0])
    assert float(losses.sum()) == pytest.approx(sum(math.exp(-m) for m in MARGINS.tolist()))
    weights = losses / losses.sum()
    assert int(weights.argmax()) == 0  # the one mistake weighs most


def test_the_exponential_loss_goes_on_as_its_tangent():
    z = torch.tensor([[29.0], [30.0], [31.0], [1000.0]], dtype=torch.float64, requires_grad=True)
    loss = LOSSES["exponential"](z, torch.zeros(4, dtype=torch.long))
    loss.sum().backward()
    e = math.exp(30)
    assert loss.tolist() == pytest.approx([math.exp(29), e, 2 * e, 971 * e])
    assert z.grad[:, 0].tolist() == pytest.approx([math.exp(29), e, e, e])


# many classes -------------------------------------------------------------------------------------------------------


def test_multiclass_hinge_in_three_forms():
    right = LOGITS.gather(1, CLASSES[:, None])
    away = (1 - right + LOGITS).clamp(min=0) * (1 - F.one_hot(CLASSES, 3))
    torch.testing.assert_close(LOSSES["multiclass_hinge"](LOGITS, CLASSES), away.sum(1) / 3)
    torch.testing.assert_close(LOSSES["multiclass_hinge"](LOGITS, CLASSES, over="sum"), away.sum(1))
    torch.testing.assert_close(LOSSES["multiclass_hinge"](LOGITS, CLASSES, power=2), away.square().sum(1) / 3)
    worst = LOSSES["multiclass_hinge"](LOGITS, CLASSES, over="max")
    assert float(worst.mean()) == pytest.approx(hinge_loss(CLASSES, LOGITS, labels=[0, 1, 2]))


def test_multiclass_hinge_of_one_column_is_the_hinge():
    for over in ("sum", "max"):
        found = LOSSES["multiclass_hinge"](SCORES, LABELS[0], over=over)
        torch.testing.assert_close(found, LOSSES["hinge"](SCORES, LABELS[0]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_by_its_formula(gamma):
    p = LOGITS.softmax(1).gather(1, CLASSES[:, None])[:, 0]
    found = LOSSES["focal"](LOGITS, CLASSES, gamma=gamma, alpha=0.25)
    torch.testing.assert_close(found, -0.25 * (1 - p) ** gamma * p.log())
    # the binary form as its paper gives it: alpha for t = 1, 1 - alpha for t = 0
    s = SCORES[:, 0].sigmoid()
    t = LABELS[0].double()
    expected = torch.where(t == 1, -0.25 * (1 - s) ** gamma * s.log(), -0.75 * s**gamma * (1 - s).log())
    torch.testing.assert_close(LOSSES["focal"](SCORES, LABELS[0], gamma=gamma, alpha=0.25), expected)
    columns = LOSSES["focal"](LOGITS, CLASSES, gamma=gamma, alpha=0.25, link="sigmoid")
    each = [LOSSES["focal"](LOGITS[:, c : c + 1], (c == CLASSES).long(), gamma=gamma, alpha=0.25) for c in range(3)]
    torch.testing.assert_close(columns, torch.stack(each).sum(0))


def test_focal_without_gamma_is_cross_entropy():
    torch.testing.assert_close(LOSSES["focal"](LOGITS, CLASSES, gamma=0.0), LOSSES["cross_entropy"](LOGITS, CLASSES))
    bce = LOSSES["bce_with_logits"](LOGITS, CLASSES)
    torch.testing.assert_close(LOSSES["focal"](LOGITS, CLASSES, gamma=0.0, link="sigmoid"), bce)


# what is refused ----------------------------------------------------------------------------------------------------


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
        ("bce_with_logits", torch.zeros(2, 1), torch.tensor([[-1.0], [1.0]]), "target holds -1, but probabilities"),
        ("bce_with_logits", torch.zeros(2, 1), torch.tensor([0, 2]), "labels 0 and 1, or -1 and 1"),
        ("bce", torch.tensor([[0.5], [1.5]]), torch.tensor([0, 1]), "output holds 1.5, but probabilities"),
        ("nll", torch.tensor([[0.7, 0.3]]), torch.tensor([0]), r"output is 0\.7.*'cross_entropy' for plain outputs"),
        ("nll", torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), "single output is always 1"),
        ("cross_entropy", torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), "'bce_with_logits' for one output"),
        (
            "cross_entropy",
            torch.zeros(2, 3),
            torch.tensor([0, 3]),
            "class 3; the outputs speak of classes 0 to 2",
        ),
        ("cross_entropy", torch.zeros(2, 3), torch.tensor([0, -100]), "class -100"),
        ("mse", torch.zeros(2, 3), torch.tensor([0, 5]), "class 5"),
        ("focal", torch.zeros(2, 3), torch.tensor([-1, 1]), "class -1"),
        ("multiclass_hinge", torch.zeros(2, 3), torch.tensor([0, 3]), "class 3"),
        ("multiclass_hinge", torch.zeros(2, 1), torch.tensor([0, 2]), "classes 0 to 1"),
        ("multiclass_hinge", torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.long), r"target \(2, 3\)"),
        ("hinge", torch.zeros(8), torch.zeros(8), r"outputs \(8,\)"),
        ("exponential", torch.zeros(8, 1), torch.zeros(7), r"target \(7,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_both(name, outputs, target, words):
    with pytest.raises(UsageError, match=words):
        LOSSES[name](outputs, target)


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(UsageError, match="beta = -1"):
        LOSSES["smooth_l1"](NUMBERS, WANTED, beta=-1)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits", "hinge", "focal", "exponential"])
def test_losses_run_inside_vmap(name):
    outputs = torch.randn(4, 5, 1 if name in ("hinge", "exponential") else 3)
    target = torch.arange(20).reshape(4, 5) % 2
    found = torch.func.vmap(LOSSES[name].build)(outputs, target)
    torch.testing.assert_close(found, torch.stack([LOSSES[name](outputs[i], target[i]) for i in range(4)]))
