"""B5 to B12 and A15: losses made for something else, heads of the wrong width, shapes, sums, signs, labels."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_programs import BINARY, CLASSES, LABELS, NUMBERS, ONE_HOT, X, chart, found, skill
from torch import Tensor, nn

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.closed_forms import squared_error_slope
from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.contract import contract_of

Loss = Callable[[Any, Any], Tensor]
CE, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()
pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


@pytest.mark.parametrize(
    ("head", "loss", "strength"),
    [([nn.Softmax(1)], nn.MSELoss(), 0.4), ([nn.Softmax(1)], nn.L1Loss(), 0.6), ([], nn.MSELoss(), 0.25),
     ([nn.Softmax(1)], lambda o, y: (o - y).abs().sum(1).mean(), 0.6)],
)  # fmt: skip
def test_a_loss_for_numbers_judges_classes(head: list[nn.Module], loss: Loss, strength: float) -> None:
    seen = chart(head, loss, ONE_HOT)
    one = found(seen, "B5")["B5"]
    assert one.strength == strength
    assert not one.exact
    if head:
        assert one.evidence["gradient_when_surely_wrong"] == pytest.approx(abs(squared_error_slope(-10)))
    assert skill(seen, one.changes[:1]) > 0.8


def test_class_numbers_from_one_unit() -> None:
    seen = chart([], nn.MSELoss(), CLASSES.float()[:, None], 1)
    one = found(seen, "B5", "B7")["B5"]
    assert one.evidence["classes"] == 3
    assert skill(seen, one.changes[:1]) > skill(seen) + 0.1
    grades = NUMBERS.round().clamp(-2, 3)
    assert "B5" not in found(chart([], nn.MSELoss(), grades, 1), "B5")  # numbers from -2 are no class numbers


def test_cross_entropy_for_several_labels() -> None:
    seen = chart([], CE, LABELS)
    one = found(seen, "B6")["B6"]
    away = (LABELS.sum(1) != 1).double().mean().item()
    assert one.evidence["share_of_rows_not_summing_to_one"] == pytest.approx(away)
    assert skill(seen, one.changes[:1]) > skill(seen) + 0.1
    assert not found(chart([], CE, X[:, :3].softmax(1)), "B6")


@pytest.mark.parametrize("loss", [BCE, lambda o, y: F.binary_cross_entropy_with_logits(o, y)])
def test_one_unit_for_three_classes(loss: Loss) -> None:
    seen = chart([], loss, CLASSES.float()[:, None], 1)
    suspected = found(seen, "B7", "A15")
    assert set(suspected) == {"B7"}
    assert suspected["B7"].exact
    assert skill(seen, suspected["B7"].changes[:1]) > 0.7


def test_more_units_than_classes_is_a_note() -> None:
    one = found(chart([], CE, CLASSES, 10), "B7")["B7"]
    assert one.note
    assert (one.evidence["units"], one.evidence["classes"]) == (10, 3)
    assert not found(chart([], CE, CLASSES, 3), "B7")
    assert not found(chart([], CE, BINARY[:, 0].long(), 2), "B7")


def test_three_outputs_for_one_number() -> None:
    seen = chart([], nn.MSELoss(), NUMBERS, 3)
    one = found(seen, "B7")["B7"]
    assert skill(seen, one.changes[:1], 80) > 0.8


@pytest.mark.parametrize(
    ("y", "loss"),
    [
        (NUMBERS[:, 0], nn.MSELoss()),
        (NUMBERS[:, 0], lambda o, y: ((o - y) ** 2).mean()),
        (NUMBERS[:, 0], nn.L1Loss()),
        (BINARY[:, 0], lambda o, y: F.softplus(-o * (2 * y - 1)).mean()),
    ],
)
def test_broadcasting(y: Tensor, loss: Loss) -> None:
    seen = chart([], loss, y, 1)
    one = found(seen, "B8")["B8"]
    assert one.exact
    assert one.evidence["compared"] == "(160, 160)"
    assert one.evidence["floor"] == pytest.approx(y.var(correction=0).item(), rel=1e-5)
    assert skill(seen) < 0.35
    assert skill(seen, one.changes) > 0.75


def test_shapes_that_a_loss_settles_itself_are_healthy() -> None:
    assert not found(chart([], lambda o, y: F.mse_loss(o.squeeze(1), y), NUMBERS[:, 0], 1), "B8")
    assert not found(chart([], lambda o, y: F.mse_loss(o, y[:, None]), NUMBERS[:, 0], 1), "B8")


@pytest.mark.parametrize(
    ("loss", "y", "units"),
    [(nn.MSELoss(reduction="sum"), NUMBERS, 1), (nn.CrossEntropyLoss(reduction="sum"), CLASSES, 3),
     (lambda o, y: ((o - y) ** 2).sum(), NUMBERS, 1)],
)  # fmt: skip
def test_a_sum_in_place_of_the_mean(loss: Loss, y: Tensor, units: int) -> None:
    seen = chart([], loss, y, units, optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.05))
    one = found(seen, "B9")["B9"]
    assert one.evidence["loss_of_a_doubled_batch_over_the_loss"] == pytest.approx(2.0)
    assert not one.exact
    with seen.subject.live() as plain:
        summed = plain.loss_on(plain.batch()).item()
    with seen.subject.live(one.changes) as live:
        assert live.loss_on(live.batch()).item() == pytest.approx(summed / 32)


def test_sums_over_other_axes_and_rows_mixed_on_purpose() -> None:
    per_example: Loss = lambda o, y: ((o - y) ** 2).sum(1).mean()  # noqa: E731
    assert not found(chart([], per_example, X[:, :3], 3), "B9")
    assert not found(chart([], lambda o, y: ((o - y) ** 2).mean().sqrt(), NUMBERS, 1), "B9")
    assert not found(chart([], lambda o, y: F.cross_entropy(o, y, reduction="sum") / len(y), CLASSES), "B9")


def test_rows_mixed_by_mistake() -> None:
    mixed: Loss = lambda o, y: (o.logsumexp(0) - o).gather(1, y[:, None]).mean()  # noqa: E731
    seen = chart([], mixed, CLASSES)
    one = found(seen, "B9")["B9"]
    assert one.evidence["change_of_two_rows_together"] != pytest.approx(one.evidence["sum_of_their_changes"], rel=0.01)
    assert not one.exact
    assert skill(seen, one.changes[:1]) > skill(seen)


@pytest.mark.parametrize(
    ("head", "loss", "y", "units"),
    [
        ([], lambda o, y: -F.cross_entropy(o, y), CLASSES, 3),
        ([], lambda o, y: -F.mse_loss(o, y), NUMBERS, 1),
        ([nn.LogSoftmax(1)], lambda o, y: o.gather(1, y[:, None]).mean(), CLASSES, 3),
        ([], lambda o, y: 1 - ((o - y) ** 2).mean() / y.var(), NUMBERS, 1),
        ([nn.Sigmoid()], lambda o, y: (y * o.log() + (1 - y) * (1 - o).log()).mean(), BINARY, 1),
    ],
)
def test_a_loss_of_the_wrong_sign(head: list[nn.Module], loss: Loss, y: Tensor, units: int) -> None:
    seen = chart(head, loss, y, units)
    one = found(seen, "B10")["B10"]
    assert one.exact
    assert one.evidence["loss_of_good_answers"] > one.evidence["loss_of_shuffled_answers"]
    assert skill(seen) < 0.05
    assert skill(seen, one.changes[:1]) > 0.7


def backwards(net: nn.Module, search: torch.optim.Optimizer) -> Callable[..., Any]:
    def step(x: Tensor, y: Tensor) -> float:
        search.zero_grad()
        loss = F.cross_entropy(net(x), y)
        (-loss).backward()
        search.step()
        return loss.item()

    return step


@pytest.mark.parametrize("maximize", [True, False])
def test_steps_uphill(maximize: bool) -> None:
    seen = chart([], CE, CLASSES, optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.02, maximize=maximize),
                 step=None if maximize else backwards)  # fmt: skip
    one = found(seen, "B10")["B10"]
    back, before, after = (one.evidence[f"loss_{k}"] for k in ("after_a_step_backwards", "before", "after_a_step"))
    assert one.exact
    assert back < before < after
    assert one.evidence["share_of_steps_uphill"] == 1
    assert skill(seen, one.changes) > 0 > skill(seen)


@pytest.mark.parametrize("rate", [1e-4, 0.1, 30.0])
def test_a_rate_that_is_too_high_is_no_wrong_sign(rate: float) -> None:
    seen = chart([], CE, CLASSES, optimizer=lambda net: torch.optim.SGD(net.parameters(), rate, momentum=0.9))
    assert not found(seen, "B10")


@pytest.mark.parametrize(
    ("head", "loss", "y", "units"),
    [
        ([nn.Softmax(1)], lambda o, y: -(y * torch.log(o)).sum(1).mean(), ONE_HOT, 3),
        ([], lambda o, y: -torch.log(o.exp() / o.exp().sum(1, keepdim=True)).gather(1, y[:, None]).mean(), CLASSES, 3),
        ([nn.Sigmoid()], lambda o, y: -(y * o.log() + (1 - y) * (1 - o).log()).mean(), BINARY, 1),
    ],
)
def test_unsafe_losses_are_notes_while_they_hold(head: list[nn.Module], loss: Loss, y: Tensor, units: int) -> None:
    one = found(chart(head, loss, y, units), "B11")["B11"]
    assert one.note
    assert one.evidence["finite_in_training"] is True


def test_an_unsafe_loss_that_ends_the_training() -> None:
    def loss(o: Tensor, y: Tensor) -> Tensor:
        return -torch.log(o.exp() / o.exp().sum(1, keepdim=True)).gather(1, y[:, None]).mean()

    seen = chart([], loss, CLASSES, x=200 * X)
    one = found(seen, "B11")["B11"]
    assert not one.note
    assert one.strength == 0.9
    assert skill(seen, one.changes[:1]) > skill(seen)


def test_a_loss_with_a_pole_at_zero() -> None:
    one = found(chart([], lambda o, y: ((o - y) ** 2 / o.abs()).mean(), NUMBERS, 1), "B11")["B11"]
    assert one.evidence["outputs"] == "zero"
    assert not one.note


@pytest.mark.parametrize("loss", [CE, BCE, nn.MSELoss()])
def test_torchs_own_losses_are_safe(loss: Loss) -> None:
    y = {CE: CLASSES, BCE: LABELS}.get(loss, X[:, :3])
    assert not found(chart([], loss, y), "B11")


@pytest.mark.parametrize(
    ("loss", "y", "change"),
    [
        (BCE, 2 * BINARY - 1, "targets as 0 and 1"),
        (nn.SoftMarginLoss(), BINARY, "targets as -1 and 1"),
        (lambda o, y: (1 - y * o).clamp(min=0).mean(), BINARY, "targets as -1 and 1"),
    ],
)
def test_labels_of_another_form(loss: Loss, y: Tensor, change: str) -> None:
    seen = chart([], loss, y, 1)
    one = found(seen, "A15")["A15"]
    assert one.exact
    assert one.changes[0].name == change
    assert skill(seen, one.changes[:1]) > max(0.7, skill(seen))


def test_labels_that_are_all_equal_and_labels_from_one() -> None:
    assert found(chart([], CE, 0 * CLASSES), "A15")["A15"].evidence["distinct"] == 1
    one = found(chart([], CE, CLASSES + 1, 4), "A15")["A15"]
    assert one.note
    assert one.evidence["lowest"] == 1


def test_a_metric_that_stands_still_while_the_loss_falls() -> None:
    seen = chart([], nn.MSELoss(), BINARY, 1)
    whole = seen.whole
    curve = [(place, loss, 0.0, math.nan) for place, loss in enumerate((0.3, 0.1, 0.05, 0.02))]
    object.__setattr__(whole, "curve", curve)
    assert found(seen, "B12")["B12"].note
    object.__setattr__(whole, "curve", [(a, b, a / 4, d) for a, b, _, d in curve])
    assert not found(seen, "B12")


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda o, y: ((o - y) ** 2).sum(1).mean(), "mse_loss"),
        (lambda o, y: 3 * (o - y).abs().mean(), "l1_loss"),
        (lambda o, y: -(y * o.log_softmax(1)).sum(1).mean(), "cross_entropy"),
        (lambda o, y: -(y * o).sum(1).mean(), "nll_loss"),
        (lambda o, y: -(y * (o + 1e-12).log()).sum(), "log_of_outputs"),
        (lambda o, y: -(y * o.log() + (1 - y) * (1 - o).log()).mean(), "binary_cross_entropy"),
        (lambda o, y: (F.softplus(o) - y * o).mean(), "binary_cross_entropy_with_logits"),
        (lambda o, y: 1 - 2 * (o * y).sum() / (o.sum() + y.sum()), ""),
    ],
)
def test_losses_written_by_hand_are_known_by_what_they_do(loss: Loss, kind: str) -> None:
    assert contract_of(chart([nn.Softmax(1)], loss, ONE_HOT)).kind == kind


def test_cards_are_half_a_page() -> None:
    for name in ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "B12", "A15"):
        card = FAULTS[name].build.__doc__ or ""
        assert 90 <= len(card.split()) <= 190, (name, len(card.split()))
        assert len(str(FAULTS[name].facts["demo"]).strip().splitlines()) <= 18


class Reading(nn.Module):
    """A recurrent layer over (examples, steps, features)."""

    def __init__(self, first: bool, turned: bool = False) -> None:
        super().__init__()
        self.read, self.say, self.turned = nn.GRU(4, 8, batch_first=first), nn.Linear(8, 3), turned

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.read(x.transpose(0, 1))[0][-1] if self.turned else self.read(x)[0][:, -1])


@pytest.mark.parametrize(("first", "turned"), [(False, False), (True, False), (False, True)])
def test_a_recurrent_layer_that_reads_the_batch_as_time(first: bool, turned: bool) -> None:
    x = torch.randn(96, 6, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, :, 0].sum(1) > 0).long()
    net = Reading(first, turned)
    subject = CodeSubject(net, CE, torch.optim.Adam(net.parameters(), 1e-2), [(x[:40], y[:40]), (x[40:], y[40:])])
    one = FAULTS["B9"].build(Chart(subject, Clock(30)))
    if first or turned:
        assert one is None
        return
    assert one is not None
    assert one.exact
    assert one.where == "read"
    with subject.live(one.changes[:1]) as live:
        assert net.read.batch_first
        assert live.loss_on(live.batch()).isfinite()
    assert not net.read.batch_first
