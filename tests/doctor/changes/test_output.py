"""Changes between the last layer and the loss: applied, trained with, and undone bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_programs import BINARY, CLASSES, LABELS, NUMBERS, ONE_HOT, X, chart
from torch import Tensor, nn

from netwright.doctor.changes import output
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.subject import Change
from netwright.doctor.task import Task

Make = Callable[[Chart], Change | None]
CE = nn.CrossEntropyLoss()
pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")
CASES: list[tuple[str, list[nn.Module], Any, Tensor, int, Make]] = [
    ("plain head", [nn.Softmax(1)], CE, CLASSES, 3, output.plain_head),
    (
        "plain head, new loss",
        [nn.Softmax(1)],
        nn.MSELoss(),
        ONE_HOT,
        3,
        lambda c: output.plain_head(c, "cross_entropy"),
    ),
    ("right axis", [nn.LogSoftmax(0)], nn.NLLLoss(), CLASSES, 3, lambda c: output.right_axis(c, c.head)),
    ("log-softmax before", [], nn.NLLLoss(), CLASSES, 3, lambda c: output.activated_before(c, "log_softmax")),
    ("other loss", [], nn.MSELoss(), ONE_HOT, 3, lambda c: output.other_loss(c, "cross_entropy")),
    ("huber", [], nn.MSELoss(), NUMBERS, 1, lambda c: output.other_loss(c, "huber")),
    ("aligned", [], nn.MSELoss(), NUMBERS[:, 0], 1, output.aligned),
    ("averaged", [], nn.MSELoss(reduction="sum"), NUMBERS, 1, output.averaged),
    ("negated", [], lambda o, y: -F.cross_entropy(o, y), CLASSES, 3, output.negated),
    ("minimised", [], CE, CLASSES, 3, output.minimised),
    ("head", [], CE, CLASSES, 7, lambda c: output.head_of_units(c, 3)),
    ("recoded", [], nn.SoftMarginLoss(), BINARY, 1, lambda c: output.recoded(c, -1.0, 1.0)),
    ("undone", [nn.Sigmoid()], nn.BCEWithLogitsLoss(), BINARY, 1, lambda c: output.undone(c, "sigmoid")),
]


@pytest.mark.parametrize(("head", "loss", "y", "units", "make"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_applied_trains_and_is_undone(head: list[nn.Module], loss: Any, y: Tensor, units: int, make: Make) -> None:
    seen = chart(head, loss, y, units)
    change = make(seen)
    assert change is not None
    assert change.name
    assert change.why
    assert change.patch["code"]
    subject = seen.subject
    assert isinstance(subject, CodeSubject)
    net, search = subject.model, subject.optimizer
    modules = list(net.modules())
    values = {name: value.clone() for name, value in net.state_dict().items()}
    groups = [list(map(id, group["params"])) for group in search.param_groups]
    random = torch.get_rng_state()
    with subject.live([change]) as live:
        losses = live.run(30)
        assert sum(losses[-5:]) < sum(losses[:5])
    assert list(net.modules()) == modules
    assert not search.state
    assert net.state_dict().keys() == values.keys()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in values.items())
    assert [list(map(id, group["params"])) for group in search.param_groups] == groups
    assert torch.equal(random, torch.get_rng_state())
    with subject.live() as plain:
        first = plain.loss_on(plain.batch()).item()
    with subject.live([change]):
        pass
    with subject.live() as plain:
        assert plain.loss_on(plain.batch()).item() == first


def test_the_new_head_is_trained_by_its_own_group() -> None:
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    search = torch.optim.SGD([{"params": net[0].parameters(), "lr": 0.1}, {"params": net[2].parameters(), "lr": 0.7}])
    seen = Chart(CodeSubject(net, CE, search, [(X, CLASSES.clamp(max=1))]), Clock(9))
    change = output.head_of_units(seen, 4)
    assert change is not None
    with seen.subject.live([change]) as live:
        head = live.model.get_submodule("2")
        assert isinstance(head, nn.Linear)
        assert head.out_features == 4
        assert any(p is head.weight for p in live.optimizers[0].param_groups[1]["params"])
        old = head.weight.detach().clone()
        live.run(1)
        assert not torch.equal(old, head.weight)
    assert net[2].out_features == 2


def test_plain_outputs_are_those_before_the_activation() -> None:
    seen = chart([nn.Softmax(1)], CE, CLASSES)
    change = output.plain_head(seen)
    assert change is not None
    with seen.subject.live() as live:
        shares = live.outputs(live.batch())
    with seen.subject.live([change]) as live:
        torch.testing.assert_close(live.outputs(live.batch()).softmax(1), shares)


def test_an_activation_written_by_hand_is_not_cut_in_half() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return 1 / (1 + torch.exp(-self.head(x)))

    seen = chart(ByHand(), nn.BCEWithLogitsLoss(), BINARY)
    assert output.plain_head(seen) is None
    change = output.undone(seen, "sigmoid")
    assert change is not None
    with seen.subject.live([change]) as live:
        pair = live.batch()
        scores = live.model.get_submodule("head")(pair.inputs[0])
        wanted = F.binary_cross_entropy_with_logits(scores, pair.targets)
        torch.testing.assert_close(live.loss_on(pair), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("task", "name", "outputs", "targets", "wanted"),
    [
        (Task("classes", 3, "index"), "cross_entropy", torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), "cross_entropy"),
        (Task("classes", 2, "binary"), "bce_with_logits", torch.randn(4, 1), torch.ones(4), "binary"),
        (Task("numbers", 1, "numbers"), "mse", torch.randn(4, 1), torch.ones(4), "mse"),
        (Task("labels", 3, "numbers"), "bce_with_logits", torch.randn(4, 3), LABELS[:4], "binary"),
    ],
)
def test_textbook_losses(task: Task, name: str, outputs: Tensor, targets: Tensor, wanted: str) -> None:
    found = output.textbook_loss(task, name)(outputs, targets)
    if wanted == "cross_entropy":
        torch.testing.assert_close(found, F.cross_entropy(outputs, targets))
    elif wanted == "binary":
        torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(outputs, targets.reshape(outputs.shape)))
    else:
        torch.testing.assert_close(found, ((outputs[:, 0] - targets) ** 2).mean())


def test_changes_that_are_not_possible_are_none() -> None:
    seen = chart([], CE, CLASSES)
    assert output.plain_head(seen) is None
    assert output.right_axis(seen, []) is None

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    assert output.head_of_units(chart(Product(), CE, CLASSES), 4) is None


def test_the_row_of_layers_loses_its_last_activation() -> None:
    assert output._shortened(["linear 8", "relu", "linear out", "sigmoid"]) == ["linear 8", "relu", "linear out"]
    assert output._shortened(["linear out", "leaky_relu(slope=0.1)", "tanh"]) == ["linear out"]
    assert output._shortened(["relu", "linear out"]) == ["relu", "linear out"]
