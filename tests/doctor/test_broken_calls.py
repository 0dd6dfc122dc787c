"""torch's own errors at the first call, read: which fault, where, with which numbers, and a change that mends it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.doctor.broken_calls import broken_call
from netwright.doctor.code import CodeSubject
from netwright.doctor.subject import Pair
from netwright.doctor.suspicion import Suspicion

N = 16
X, Y = torch.randn(N, 5, generator=torch.Generator().manual_seed(0)), torch.arange(N) % 3
CE, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()
pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


def read(net: nn.Module, loss: Any, x: Tensor = X, y: Tensor = Y) -> Suspicion | None:
    """What a failing call says."""
    try:
        loss(net(x), y).backward()
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        state = {name: value.clone() for name, value in net.state_dict().items()}
        found = broken_call(net, loss, Pair((x,), y), error)
        assert all(torch.equal(value, net.state_dict()[name]) for name, value in state.items())
        return found
    raise AssertionError("the call went well")


class Squashed(nn.Sequential):
    def __init__(self, units: int) -> None:
        super().__init__(nn.Linear(5, units), nn.Sigmoid())


LOSSES: list[tuple[str, nn.Module, Any, Tensor, str, str]] = [
    ("float class numbers", nn.Linear(5, 3), CE, Y.float(), "A15", "targets.long()"),
    ("a column of them", nn.Linear(5, 3), CE, Y[:, None], "A15", "targets.squeeze(1)"),
    ("both", nn.Linear(5, 3), CE, Y[:, None].float(), "A15", "targets.long().squeeze(1)"),
    ("32-bit class numbers", nn.Linear(5, 3), CE, Y.int(), "A15", "targets.long()"),
    ("from one", nn.Linear(5, 3), CE, Y + 1, "A15", "targets - 1"),
    ("too few units", nn.Sequential(nn.Linear(5, 2)), CE, Y, "B7", "0 = nn.Linear(5, 3)"),
    ("whole one-hot", nn.Linear(5, 3), CE, F.one_hot(Y, 3), "A15", "targets.float()"),
    ("no probabilities", nn.Linear(5, 1), nn.BCELoss(), (Y[:, None] > 0).float(), "B2", "nn.BCEWithLogitsLoss()"),
    ("labels beyond one", Squashed(1), nn.BCELoss(), Y[:, None].float(), "A15", ""),
    ("class numbers for BCE", Squashed(3), nn.BCELoss(), Y, "A15", "F.one_hot(targets.long(), 3).float()"),
    ("shapes", nn.Linear(5, 1), BCE, (Y > 0).float(), "B8", "outputs.squeeze(1)"),
    ("other shapes", nn.Flatten(0), BCE, torch.ones(N, 5), "B8", "outputs.reshape(targets.shape)"),
    ("whole labels", nn.Linear(5, 1), BCE, (Y[:, None] > 0).long(), "A15", "targets.to(torch.float32)"),
    ("widths", nn.Linear(5, 2), nn.MSELoss(), torch.ones(N, 3), "B7", ""),
    (
        "by hand",
        nn.Sequential(nn.Linear(5, 2)),
        lambda o, y: -o[torch.arange(N), y].mean(),
        Y,
        "B7",
        "0 = nn.Linear(5, 3)",
    ),
    ("rows", nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Flatten(0, 1), nn.Linear(1, 3)), CE, Y, "A4", ""),
]


@pytest.mark.parametrize(("net", "loss", "y", "fault", "code"), [c[1:] for c in LOSSES], ids=[c[0] for c in LOSSES])
def test_what_the_loss_was_handed(net: nn.Module, loss: Any, y: Tensor, fault: str, code: str) -> None:
    one = read(net, loss, X, y)
    assert one is not None
    assert one.exact
    assert one.fault == fault
    assert one.harm
    assert one.evidence["targets"] == str(tuple(y.shape))
    assert [change.patch["code"] for change in one.changes] == ([code] if code else [])


@pytest.mark.parametrize(
    "case", [c for c in LOSSES if c[5] and c[0] not in ("by hand", "other shapes")], ids=lambda c: c[0]
)
def test_the_change_trains(case: tuple[str, nn.Module, Any, Tensor, str, str]) -> None:
    _, net, loss, y, _, _ = case
    one = read(net, loss, X, y)
    assert one is not None
    before = [p.detach().clone() for p in net.parameters()]
    examined = CodeSubject(net, loss, torch.optim.SGD(net.parameters(), 0.1), [(X, y)])
    with examined.live(one.changes[:1]) as live:
        losses = live.run(20)
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, q) for p, q in zip(before, net.parameters(), strict=True))


IMAGES = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))
FORWARD: list[tuple[str, nn.Module, Tensor, str, str, str]] = [
    ("width", nn.Sequential(nn.Linear(4, 3)), X, "A4", "0 (Linear)", "nn.Linear(5, 3)"),
    ("pictures", nn.Sequential(nn.Linear(64, 3)), IMAGES, "A4", "0 (Linear)", "inputs.flatten(1)"),
    ("channels last", nn.Sequential(nn.Conv2d(3, 2, 3)), IMAGES.expand(N, 3, 8, 8).movedim(1, -1), "A4", "0 (Conv2d)",
     "inputs.movedim(-1, 1)"),
    ("no channel", nn.Sequential(nn.Conv2d(1, 2, 3)), IMAGES[:, 0], "A4", "0 (Conv2d)", "inputs.unsqueeze(1)"),
    ("inside", nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(100, 3)), IMAGES, "C12", "2 (Linear)",
     "nn.Linear(144, 3)"),
    ("kernel", nn.Sequential(nn.MaxPool2d(8), nn.Conv2d(1, 4, 3)), IMAGES, "C12", "1 (Conv2d)", ""),
    ("double", nn.Sequential(nn.Linear(5, 3)), X.double(), "A1", "0 (Linear)", "inputs.to(torch.float32)"),
    ("tokens", nn.Sequential(nn.Embedding(5, 4)), Y[:, None] + 4, "A15", "0 (Embedding)", ""),
    ("float tokens", nn.Sequential(nn.Embedding(5, 4)), Y[:, None].float(), "A15", "0 (Embedding)", "inputs.long()"),
    ("batch norm", nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), X[:1], "C13", "1 (BatchNorm1d)", ""),
]  # fmt: skip


@pytest.mark.parametrize(("net", "x", "fault", "where", "code"), [c[1:] for c in FORWARD], ids=[c[0] for c in FORWARD])
def test_where_the_forward_pass_stops(net: nn.Module, x: Tensor, fault: str, where: str, code: str) -> None:
    one = read(net, CE, x, Y[: len(x)])
    assert one is not None
    assert one.exact
    assert (one.fault, one.where) == (fault, where)
    assert [change.patch["code"] for change in one.changes] == ([code] if code else [])


def test_a_product_in_a_forward_and_classes_on_the_last_axis() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    one = read(Product(), CE)
    assert one is not None
    assert (one.evidence["wanted"], one.evidence["came"]) == (4, 5)
    steps, tags = torch.randn(N, 7, 5), torch.zeros(N, 7, dtype=torch.long)
    one = read(nn.Linear(5, 4), CE, steps, tags)
    assert one is not None
    assert one.fault == "B9"
    assert one.changes[0].patch["code"] == "outputs.transpose(1, 2)"


def test_a_tensor_left_on_another_device() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.scale = nn.Linear(5, 3), torch.ones(3, device="meta")

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x) * self.scale

    one = read(Split(), CE)
    assert one is not None
    assert one.fault == "E2"
    assert "register_buffer" in one.harm


def test_what_is_not_known_is_left_alone() -> None:
    assert read(nn.Linear(5, 3), lambda o, y: 1 / 0) is None
    assert read(nn.Bilinear(5, 5, 3), CE) is None
