"""B1 to B4: an activation too many, too few, along the wrong axis, or with the wrong range."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_programs import BINARY, CLASSES, LABELS, NUMBERS, ONE_HOT, X, chart, found, skill
from torch import Tensor, nn

from netwright.doctor.suspicion import Suspicion

Loss = Callable[[Any, Any], Tensor]
CE, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()


class Functional(nn.Module):
    """A forward with its activation written in it."""

    def __init__(self, units: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.end = nn.Linear(5, 16), nn.Linear(16, units), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(F.relu(self.body(x))))


def by_hand(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def test_softmax_before_cross_entropy_with_its_closed_form() -> None:
    seen = chart([nn.Softmax(1)], CE, CLASSES)
    one = found(seen, "B1")["B1"]
    assert one.exact
    assert one.where == "3"
    assert one.evidence["floor"] == pytest.approx(math.log(1 + 2 / math.e))
    assert one.evidence["lowest_handed"] >= 0
    assert one.evidence["largest_row_error"] < one.evidence["threshold"]
    assert skill(seen, one.changes[:1]) > 0.8


@pytest.mark.parametrize(
    ("head", "loss", "y", "units"),
    [
        ([nn.Sigmoid()], CE, CLASSES, 3),
        ([nn.Sigmoid()], BCE, BINARY, 1),
        ([nn.Softmax(1)], BCE, ONE_HOT, 3),
        ([nn.Softmax(1), nn.LogSoftmax(1)], nn.NLLLoss(), CLASSES, 3),
        ([], lambda o, y: F.cross_entropy(o.softmax(1), y), CLASSES, 3),
        ([], lambda o, y: F.binary_cross_entropy_with_logits(by_hand(o), y), BINARY, 1),
        (Functional(3, lambda z: F.softmax(z, dim=1)), CE, CLASSES, 3),
        (Functional(1, by_hand), BCE, BINARY, 1),
        ([nn.Softmax(1)], lambda o, y: (o.logsumexp(1) - o.gather(1, y[:, None])[:, 0]).mean(), CLASSES, 3),
    ],
)
def test_twice_however_it_is_written(head: Any, loss: Loss, y: Tensor, units: int) -> None:
    seen = chart(head, loss, y, units)
    suspected = found(seen, "B1", "B4")
    assert set(suspected) == {"B1"}
    assert suspected["B1"].exact
    change = suspected["B1"].changes[0]
    assert skill(seen, [change]) > max(0.7, skill(seen) - 0.03)


def test_two_softmaxes_in_the_network_keep_the_last() -> None:
    seen = chart([nn.Softmax(1), nn.LogSoftmax(1)], nn.NLLLoss(), CLASSES)
    change = found(seen, "B1")["B1"].changes[0]
    with seen.subject.live([change]) as live:
        outputs = live.outputs(live.batch())
    torch.testing.assert_close(outputs.logsumexp(1), torch.zeros(len(outputs)), atol=1e-5, rtol=0)


def test_log_softmax_before_cross_entropy_is_only_a_note() -> None:
    one = found(chart([nn.LogSoftmax(1)], CE, CLASSES), "B1")["B1"]
    assert one.note
    assert not one.exact


@pytest.mark.parametrize(
    ("head", "loss", "y", "least"),
    [
        ([], nn.NLLLoss(), CLASSES, 0.8),
        ([nn.Softmax(1)], nn.NLLLoss(), CLASSES, 0.8),
        ([], lambda o, y: -(y * torch.log(o)).sum(1).mean(), ONE_HOT, 0.8),
    ],
)
def test_missing_activation(head: list[nn.Module], loss: Loss, y: Tensor, least: float) -> None:
    seen = chart(head, loss, y)
    suspected = found(seen, "B1", "B2", "B11")
    assert set(suspected) == {"B2"}
    assert suspected["B2"].exact
    assert all(skill(seen, [change]) > least for change in suspected["B2"].changes)


def test_a_probability_loss_fed_with_what_only_happens_to_lie_in_its_range() -> None:
    head = nn.Linear(5, 1)
    nn.init.constant_(head.weight, 1e-3)
    nn.init.constant_(head.bias, 0.5)
    one = found(chart(head, nn.BCELoss(), BINARY), "B2")["B2"]
    assert one.exact
    assert one.evidence["highest_handed"] < 1


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.MSELoss()])
def test_softmax_over_one_unit(loss: Loss) -> None:
    seen = chart([nn.Softmax(1)], loss, BINARY, 1)
    suspected = found(seen, "B1", "B2", "B3", "B4")
    assert set(suspected) == {"B3"}
    assert suspected["B3"].exact
    assert skill(seen) == pytest.approx(0, abs=1e-12)
    assert skill(seen, suspected["B3"].changes[:1]) > 0.7


def over_the_batch(o: Tensor, y: Tensor) -> Tensor:
    return F.nll_loss(torch.log(o + 1e-8), y)


@pytest.mark.parametrize(
    ("head", "loss"),
    [([nn.Softmax(0)], over_the_batch), ([], lambda o, y: F.nll_loss(F.log_softmax(o, 0), y))],
)
def test_softmax_over_the_batch(head: list[nn.Module], loss: Loss) -> None:
    seen = chart(head, loss, CLASSES)
    suspected = found(seen, "B1", "B2", "B3")
    assert set(suspected) == {"B3"}
    assert suspected["B3"].evidence["axis"] == 0
    assert skill(seen, suspected["B3"].changes[:1]) > 0.8


@pytest.mark.parametrize(
    ("head", "y", "reach"),
    [
        (nn.ReLU(), NUMBERS, (0.0, math.inf)),
        (nn.Tanh(), 3 * NUMBERS, (-1.0, 1.0)),
        (nn.Sigmoid(), NUMBERS, (0.0, 1.0)),
        (nn.Hardtanh(), NUMBERS, (-1.0, 1.0)),
        (nn.Softplus(), NUMBERS, (0.0, math.inf)),
    ],
)
def test_targets_out_of_reach(head: nn.Module, y: Tensor, reach: tuple[float, float]) -> None:
    seen = chart([head], nn.MSELoss(), y, 1)
    one = found(seen, "B4")["B4"]
    assert (one.evidence["lowest_output"], one.evidence["highest_output"]) == pytest.approx(reach, abs=1e-6)
    outside = ((y < reach[0]) | (y > reach[1])).double().mean().item()
    assert one.evidence["share_outside"] == pytest.approx(outside, abs=0.02)
    assert one.strength > 0.5
    assert skill(seen, one.changes[:1], 80) > max(0.5, skill(seen, steps=80) + 0.2)


@pytest.mark.parametrize(("head", "loss", "y", "units"), [(nn.ReLU(), CE, CLASSES, 3), (nn.ReLU(), BCE, BINARY, 1)])
def test_scores_of_one_sign(head: nn.Module, loss: Loss, y: Tensor, units: int) -> None:
    one = found(chart([head], loss, y, units), "B4")["B4"]
    assert not one.exact
    assert one.evidence["lowest_output"] == 0


def test_a_recurrent_layer_as_output() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(5, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x[:, None].expand(-1, 4, -1))[0][:, -1]

    one = found(chart(Last(), nn.MSELoss(), NUMBERS), "B4")["B4"]
    assert (one.evidence["lowest_output"], one.evidence["highest_output"]) == (-1, 1)


HEALTHY: list[tuple[str, Any, Loss, Tensor, int]] = [
    ("cross-entropy", [], CE, CLASSES, 3),
    ("label smoothing", [], nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES, 3),
    ("class weights", [], nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 2.0])), CLASSES, 3),
    ("log-softmax and NLL", [nn.LogSoftmax(1)], nn.NLLLoss(), CLASSES, 3),
    ("binary", [], BCE, BINARY, 1),
    ("sigmoid and BCE", [nn.Sigmoid()], nn.BCELoss(), BINARY, 1),
    ("several labels", [], BCE, LABELS, 3),
    ("one BCE a class", [], BCE, ONE_HOT, 3),
    ("numbers", [], nn.MSELoss(), NUMBERS, 1),
    ("squeezed", [], lambda o, y: ((o.squeeze(1) - y) ** 2).mean(), NUMBERS[:, 0], 1),
    ("counts behind softplus", [nn.Softplus()], nn.MSELoss(), X.abs().sum(1, keepdim=True), 1),
    ("shares behind softmax", [nn.Softmax(1)], lambda o, y: -(y * (o + 1e-8).log()).sum(1).mean(), ONE_HOT, 3),
    ("hinge", [], lambda o, y: (1 - y * o).clamp(min=0).mean(), 2 * BINARY - 1, 1),
    ("focal", [], lambda o, y: ((1 - o.softmax(1).gather(1, y[:, None])[:, 0]) ** 2
                                * F.cross_entropy(o, y, reduction="none")).mean(), CLASSES, 3),
    ("penalty", [], lambda o, y: F.cross_entropy(o, y) + 1e-3 * o.square().mean(), CLASSES, 3),
    ("quantile", [], lambda o, y: torch.maximum(0.9 * (y - o), 0.1 * (o - y)).mean(), NUMBERS, 1),
    ("correlation", [], lambda o, y: 1 - torch.corrcoef(torch.stack([o[:, 0], y[:, 0]]))[0, 1], NUMBERS, 1),
    ("cosine head", Functional(3, lambda z: 20 * F.normalize(z, dim=1)), CE, CLASSES, 3),
    ("norm at the end", nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), CE, CLASSES, 3),
    ("soft targets", [nn.LogSoftmax(1)], nn.KLDivLoss(reduction="batchmean"), X[:, :3].softmax(1), 3),
    ("density", Functional(1, lambda z: z[:, 0]), lambda o, y: -o.clamp(max=3).mean(), CLASSES, 1),
]  # fmt: skip


@pytest.mark.parametrize(("head", "loss", "y", "units"), [case[1:] for case in HEALTHY], ids=[c[0] for c in HEALTHY])
def test_healthy_programs(head: Any, loss: Loss, y: Tensor, units: int) -> None:
    suspected = found(chart(head, loss, y, units))
    loud: list[Suspicion] = [one for one in suspected.values() if one.exact or one.strength > 0.25]
    assert not loud, loud


def test_a_zero_head_and_outputs_in_a_table_are_healthy() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.head(x), "extra": x}

    assert not found(chart(Table(), lambda o, y: F.cross_entropy(o["logits"], y), CLASSES))
    twice = chart(Table(), lambda o, y: F.cross_entropy(o["logits"].softmax(1), y), CLASSES)
    assert found(twice, "B1")["B1"].exact
