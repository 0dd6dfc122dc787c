"""E1 to E8: exact breaches in small loops, and loops that only look odd."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.suspicion import Suspicion

Batch = tuple[Tensor, Tensor]
LOSS = nn.CrossEntropyLoss()


def batches() -> list[Batch]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (256,), generator=draw)
    x = torch.randn(256, 6, generator=draw) + 3 * nn.functional.one_hot(y, 6).float()
    return list(zip(x.split(16), y.split(16), strict=True))


def network(*extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), *extra, nn.ReLU(), nn.Linear(16, 3))


def chart_of(model: nn.Module, rule: Any = None, step: Any = None, loss: Any = LOSS) -> Chart:
    rule = rule or torch.optim.SGD(model.parameters(), 0.1)
    return Chart(CodeSubject(model, loss, rule, batches(), step, epochs=4), Clock(60))


def seen(chart: Chart) -> dict[str, Suspicion]:
    """All suspicions of section E that are no notes."""
    found = {f"E{n}": FAULTS[f"E{n}"].build(chart) for n in range(1, 9)}
    return {name: one for name, one in found.items() if one is not None and not one.note}


def steps(order: str, model: nn.Module, rule: Any) -> Callable[[Batch], Tensor]:
    """A step that makes these calls: z(ero), f(orward), b(ackward), s(tep), c(lip)."""

    def step(batch: Batch) -> Tensor:
        loss = torch.tensor(0.0)
        for call in order:
            if call == "z":
                rule.zero_grad()
            elif call == "f":
                loss = LOSS(model(batch[0]), batch[1])
            elif call == "b":
                loss.backward()
            elif call == "c":
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            else:
                rule.step()
        return loss

    return step


@pytest.mark.parametrize(
    ("order", "fault"), [("fbs", "E1"), ("zfb", "E4"), ("zfbsc", "E6"), ("zfbs", ""), ("fbsz", ""), ("zfbcs", "")]
)
def test_the_order_of_the_calls(order: str, fault: str) -> None:
    model = network()
    rule = torch.optim.SGD(model.parameters(), 0.1)
    found = seen(chart_of(model, rule, steps(order, model, rule)))
    assert list(found) == ([fault] if fault else [])
    if fault:
        assert found[fault].exact
        assert found[fault].changes[0].name == "ordinary step"


def test_accumulation_on_purpose_is_no_fault() -> None:
    model, count = network(), [0]
    rule = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: Batch) -> Tensor:
        loss = LOSS(model(batch[0]), batch[1])
        (loss / 4).backward()
        count[0] += 1
        if count[0] % 4 == 0:
            rule.step()
            rule.zero_grad()
        return loss

    assert not seen(chart_of(model, rule, step))


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = [nn.Linear(6, 16), nn.Linear(16, 16)]
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.head(x)


def test_layers_in_a_plain_list_are_found_trained_by_the_remedy_and_put_back() -> None:
    model = Listed()
    chart = chart_of(model)
    found = seen(chart)["E2"]
    assert found.exact
    assert found.evidence["tensors"] == 4
    before = [layer.weight.detach().clone() for layer in model.layers]
    with chart.subject.live(found.changes[:1]) as live:
        live.run(5)
        assert all(not torch.equal(layer.weight, old) for layer, old in zip(model.layers, before, strict=True))
    assert all(torch.equal(layer.weight, old) for layer, old in zip(model.layers, before, strict=True))
    assert len(chart.subject.optimizer.param_groups) == 1


def test_a_frozen_head_and_a_forgotten_one_are_exact() -> None:
    frozen = network()
    for parameter in frozen[2].parameters():
        parameter.requires_grad_(False)
    found = seen(chart_of(frozen, torch.optim.SGD(frozen[0].parameters(), 0.1)))["E2"]
    assert found.exact
    assert found.changes[0].name == "unfreeze"
    assert "2.weight" in found.where
    model = network()
    forgotten = seen(chart_of(model, torch.optim.SGD(model[0].parameters(), 0.1)))["E2"]
    assert forgotten.exact
    assert forgotten.changes[0].name == "all parameters"


def test_a_frozen_body_with_a_trained_head_is_not_certain() -> None:
    model = network()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    found = seen(chart_of(model, torch.optim.SGD(model[2].parameters(), 0.1)))
    assert list(found) == ["E2"]
    assert not found["E2"].exact
    assert found["E2"].strength <= 0.5


@pytest.mark.parametrize("whole", [True, False])
def test_an_optimizer_made_for_other_tensors(whole: bool) -> None:
    model = network()
    rule = torch.optim.Adam(model.parameters(), 0.01)
    if whole:
        model = network()
    else:
        model[2] = nn.Linear(16, 3)
    chart = chart_of(model, rule)
    found = seen(chart)
    assert list(found) == ["E3"]
    assert found["E3"].exact
    before = model[2].weight.detach().clone()
    with chart.subject.live(found["E3"].changes[:1]) as live:
        losses = live.run(60)
        assert losses[-1] < 0.5 * losses[0]
        assert not torch.equal(model[2].weight, before)
    assert torch.equal(model[2].weight, before)
    assert not rule.state


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.spare = nn.Linear(6, 16), nn.Linear(16, 3), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu().detach())


def test_a_cut_in_the_graph_names_what_lies_before_it_and_the_remedy_joins_it() -> None:
    model = Cut()
    chart = chart_of(model)
    found = seen(chart)
    assert list(found) == ["E4"]
    assert found["E4"].where == "body"
    before = model.body.weight.detach().clone()
    with chart.subject.live(found["E4"].changes[:1]) as live:
        live.run(3)
        assert not torch.equal(model.body.weight, before)
    assert torch.equal(model.body.weight, before)


def test_a_loss_without_a_graph() -> None:
    model = network()
    chart = chart_of(model, loss=lambda o, t: LOSS(o.detach(), t))
    found = seen(chart)
    assert list(found) == ["E4"]
    assert found["E4"].exact
    with chart.subject.live(found["E4"].changes[:1]) as live:
        losses = live.run(40)
        assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("part", [nn.BatchNorm1d(16), nn.Dropout(0.5)])
def test_a_network_handed_over_in_evaluation_mode(part: nn.Module) -> None:
    model = network(part).eval()
    chart = chart_of(model)
    found = seen(chart)
    assert list(found) == ["E5"]
    assert found["E5"].exact
    with chart.subject.live(found["E5"].changes[:1]) as live:
        live.run(2)
        assert model[1].training
    assert not model[1].training
    assert not seen(chart_of(network().eval()))  # without such parts there is no mode to mix up


def test_a_seed_inside_the_step() -> None:
    model = network(nn.Dropout(0.5))
    rule = torch.optim.SGD(model.parameters(), 0.1)
    plain = steps("zfbs", model, rule)

    def step(batch: Batch) -> Tensor:
        torch.manual_seed(0)
        return plain(batch)

    assert "E7" in seen(chart_of(model, rule, step))
    assert not seen(chart_of(model, rule, plain))


class Reader(nn.Module):
    def __init__(self, keep: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head, self.keep = nn.GRU(2, 8, batch_first=True), nn.Linear(8, 3), keep
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.cell(x.reshape(len(x), 3, 2), self.state)
        self.state = state.detach() if self.keep else None
        return self.head(out[:, -1])


def test_a_state_that_outlives_its_batch() -> None:
    model = Reader(keep=True)
    chart = chart_of(model)
    found = seen(chart)["E8"]
    assert "state" in found.where or "state" in str(found.evidence)
    assert not seen(chart_of(Reader(keep=False)))


def test_a_network_that_is_frozen_whole_is_one_fault() -> None:
    model = network()
    rule = torch.optim.SGD(model.parameters(), 0.1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = seen(chart_of(model, rule))
    assert list(found) == ["E2"]
    assert found["E2"].exact
