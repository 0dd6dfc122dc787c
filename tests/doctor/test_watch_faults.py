"""Every fault of a training loop that the watch must name, each in a small loop of its own."""

import random
import warnings
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from netwright.doctor.watch import Watch, watch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)


def net(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Linear(8, 32)]
    parts += [nn.BatchNorm1d(32)] if norm else []
    parts += [nn.ReLU()]
    parts += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*parts, nn.Linear(32, 3))


def batches(count: int = 12, size: int = 16) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for _ in range(count):
        x = torch.randn(size, 8)
        yield x, x[:, :3].argmax(1)


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr)


def first(w: Watch) -> str:
    assert w.findings, str(w.diagnosis)
    found = w.findings[0]
    assert found.harm
    assert found.evidence
    assert found.remedies
    assert "code" in found.remedies[0].patch
    assert w.verdict == "faulty"
    return found.fault


def named(w: Watch) -> set[str]:
    return {found.fault for found in w.findings}


# E1
def test_missing_zero_grad() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer, F.cross_entropy) as w:
        for x, y in batches():
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert first(w) == "E1"
    assert w.findings[0].evidence["steps with gradients of earlier steps"] == 11


def test_cleared_only_once_an_epoch() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            optimizer.zero_grad()
            for x, y in batches(4):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
    assert first(w) == "E1"
    assert w.findings[0].evidence["steps with gradients of earlier steps"] == 9


@pytest.mark.parametrize("to_none", [True, False])
def test_cleared_between_backward_and_step(to_none: bool) -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.zero_grad(set_to_none=to_none)
            optimizer.step()
    assert first(w) == "E4"
    assert w.findings[0].evidence["steps without a gradient"] == 12
    assert named(w) == {"E4"}


def test_lbfgs_without_clearing() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    x, y = next(batches())

    def closure() -> torch.Tensor:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with watch(model, optimizer) as w:
        for _ in range(3):
            optimizer.step(closure)
    assert first(w) == "E1"


# E2
def test_layer_outside_the_optimizer() -> None:
    model = net()
    optimizer = torch.optim.Adam(model[2].parameters())
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert w.findings[0].where == "0"


def test_head_frozen() -> None:
    model = net()
    model[2].requires_grad_(False)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert w.findings[0].where == "2"


def test_head_not_in_the_optimizer() -> None:
    model = net()
    optimizer = sgd(model[0])
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert w.findings[0].where == "2"


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(8, 16), nn.Linear(16, 16)]
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = layer(x).relu()
        return self.head(x)


def test_layers_in_a_python_list() -> None:
    model = Listed()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert "hidden[0].weight" in w.findings[0].where
    assert w.findings[0].evidence["tensors"] == 4


class Anew(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(nn.Linear(8, 16)(x).relu())


def test_layer_made_in_forward() -> None:
    model = Anew()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert "anew" in w.findings[0].name


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.from_numpy(self.body(x).relu().detach().numpy()))


def test_numpy_in_the_middle() -> None:
    model = Cut()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E2"
    assert w.findings[0].where == "body"


def test_nothing_asks_for_gradients_but_a_scale() -> None:
    model = net()
    optimizer = sgd(model)
    model.requires_grad_(False)
    scale = nn.Parameter(torch.ones(()))
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x) * scale, y).backward()
            optimizer.step()
    assert w.verdict == "faulty"
    assert named(w) & {"E2", "E4"}


def test_zero_gradients_move_nothing() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) * 0).backward()
            optimizer.step()
    assert named(w) & {"E2", "E4"}


# E3
def test_model_made_again_after_the_optimizer() -> None:
    optimizer = sgd(net())
    model = net()
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E3"


def test_head_replaced_after_the_optimizer() -> None:
    model = net()
    optimizer = sgd(model)
    model[2] = nn.Linear(32, 3)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "E3"
    assert w.findings[0].where == "2"


def test_another_copy_is_trained() -> None:
    import copy

    model = net()
    other = copy.deepcopy(model)
    optimizer = sgd(other)
    with watch(model, optimizer) as w:
        train(other, optimizer)
    assert first(w) == "E3"


# E4
def test_no_step() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
    assert first(w) == "E4"


@pytest.mark.parametrize("deep", [True, False])
def test_step_before_backward_and_cleared_between(deep: bool) -> None:
    model = net() if deep else nn.Linear(8, 3)
    optimizer = sgd(model)
    w = watch(model, optimizer)
    with pytest.raises(RuntimeError, match="inplace") if deep else nullcontext(), w:
        for x, y in batches():
            loss = F.cross_entropy(model(x), y)
            optimizer.step()
            optimizer.zero_grad()
            loss.backward()
    assert first(w) == "E4"


def test_cleared_then_step_then_backward() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            optimizer.step()
            loss.backward()
    assert first(w) == "E4"


def test_scheduler_before_the_optimizer() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    with watch(model, optimizer, scheduler=scheduler) as w, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            scheduler.step()
            optimizer.step()
    assert first(w) == "E4"


def test_loss_as_a_number() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            torch.tensor(F.cross_entropy(model(x), y).item(), requires_grad=True).backward()
            optimizer.step()
    assert first(w) == "E4"
    assert "between the output and the loss" in w.findings[0].where


def test_loss_detached_raises_and_is_named() -> None:
    model = net()
    optimizer = sgd(model)
    w = watch(model, optimizer)
    with pytest.raises(RuntimeError, match="does not require grad"), w:  # noqa: PT012
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x).detach(), y).backward()
    assert first(w) == "E4"


def test_no_grad_in_training() -> None:
    model = net()
    optimizer = sgd(model)
    w = watch(model, optimizer)
    with pytest.raises(RuntimeError, match="does not require grad"), w:  # noqa: PT012
        for x, y in batches():
            optimizer.zero_grad()
            with torch.no_grad():
                loss = F.cross_entropy(model(x), y)
            loss.backward()
    assert first(w) == "E5"
    assert "disabled" in w.findings[0].name


def test_backward_on_another_loss() -> None:
    model, other = net(), net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y)
            F.cross_entropy(other(x), y).backward()
            optimizer.step()
    assert first(w) == "E4"
    assert any("another loss" in found.name for found in w.findings)


# E5
def test_eval_never_undone() -> None:
    model = net(dropout=0.3)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            train(model, optimizer, 5)
            model.eval()
            with torch.no_grad():
                model(next(batches())[0])
    assert first(w) == "E5"
    assert w.findings[0].evidence["first such step"] == 6
    assert w.findings[0].evidence["steps in eval mode"] == 10


def test_eval_never_undone_without_such_parts_is_a_note() -> None:
    model = net()
    model.eval()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert w.verdict == "healthy"
    assert [note.fault for note in w.notes] == ["E5"]


@pytest.mark.parametrize("graph", [True, False])
def test_evaluation_in_train_mode(graph: bool) -> None:
    model = net(norm=True)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            train(model, optimizer, 8)
            with torch.set_grad_enabled(graph):
                for x, _y in batches(3):
                    model(x)
    assert first(w) == "E5"
    assert "evaluation in train mode" in w.findings[0].name


def test_evaluation_builds_graphs_is_a_note() -> None:
    model = net(norm=True)
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            model.train()
            train(model, optimizer, 8)
            model.eval()
            for x, _y in batches(3):
                model(x)
    assert w.verdict == "healthy"
    assert any("graphs" in note.name for note in w.notes)


# E6
@pytest.mark.parametrize("clip", [lambda p: clip_grad_norm_(p, 1.0), lambda p: clip_grad_value_(p, 1.0)])
def test_clip_after_step(clip) -> None:  # type: ignore[no-untyped-def]
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            clip(model.parameters())
    assert first(w) == "E6"
    assert "after" in w.findings[0].name


def test_clip_before_backward() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            torch.nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
            loss.backward()
            optimizer.step()
    assert first(w) == "E6"
    assert "before" in w.findings[0].name


def test_clip_before_unscale() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu")
    with watch(model, optimizer) as w:
        for x, y in batches():
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    assert first(w) == "E6"
    assert "scaled" in w.findings[0].name


def test_accumulation_without_dividing_is_a_note() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        accumulate(model, optimizer, 32, 4, divide=False)
    assert w.verdict == "healthy"
    note = next(note for note in w.notes if note.fault == "E6")
    assert note.evidence["gradient is larger by"] == 4


def test_last_partial_accumulation_dropped() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(3):
            optimizer.zero_grad()
            accumulate(model, optimizer, 10, 4, divide=True)
    note = next(note for note in w.notes if "dropped" in note.name)
    assert note.evidence["backwards unused"] == 4


# E7
def test_seed_inside_the_loop() -> None:
    model = net(dropout=0.5)
    optimizer = sgd(model)
    data = list(batches(12))
    with watch(model, optimizer) as w:
        for x, y in data:
            torch.manual_seed(0)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert first(w) == "E7"


def test_same_order_each_epoch_is_a_note() -> None:
    model = net()
    optimizer = sgd(model)
    data = list(batches(4))
    with watch(model, optimizer) as w:
        for _ in range(4):
            w.epoch()
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
    assert w.verdict == "healthy"
    assert any(note.fault == "E7" for note in w.notes)


# E8
class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x, state=None):  # type: ignore[no-untyped-def]
        out, state = self.lstm(x, state)
        return self.head(out), state


@pytest.mark.parametrize("retain", [True, False])
def test_hidden_state_with_its_graph(retain: bool) -> None:
    model = Reader()
    optimizer = sgd(model, 0.0001)
    w = watch(model, optimizer)
    state = None
    try:
        with w:
            for _ in range(4):
                optimizer.zero_grad()
                out, state = model(torch.randn(3, 5, 4), state)
                out.square().mean().backward(retain_graph=retain)
                if not retain:
                    optimizer.step()
                else:
                    with torch.no_grad():
                        pass
    except RuntimeError as error:
        assert "second time" in str(error)  # noqa: PT017
    if not retain:
        assert first(w) == "E8"
        assert w.findings[0].where == "lstm"


# D8, D10, C13, D1
def test_scheduler_per_batch() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.1)
    loader = torch.utils.data.DataLoader(list(batches(1, 160)) and _set(), batch_size=16)
    with watch(model, optimizer) as w:
        for _ in range(4):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                scheduler.step()
    assert first(w) == "D8"


def test_cosine_over_epochs_stepped_per_batch() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    with watch(model, optimizer) as w:
        for x, y in batches(40):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
    assert first(w) == "D8"


def test_rate_zero() -> None:
    model = net()
    optimizer = sgd(model, 0.0)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert first(w) == "D8"
    assert named(w) == {"D8"}


def test_nan_in_the_input() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for index, (x, y) in enumerate(batches()):
            if index == 4:
                x[3, 2] = float("nan")
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert first(w) == "D10"
    assert w.findings[0].evidence["step"] == 5
    assert w.findings[0].evidence["stage"] == "input"


class Log(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x)


def test_nan_in_a_part() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), Log(), nn.Linear(8, 3))
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        train(model, optimizer)
    assert "D10" in named(w)
    found = next(found for found in w.findings if found.fault == "D10")
    assert found.evidence["stage"] == "forward"
    assert found.where.endswith("2")


def test_nan_in_the_loss() -> None:
    model = net()
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for x, _ in batches():
            optimizer.zero_grad()
            model(x).log().mean().backward()
            optimizer.step()
    found = next(found for found in w.findings if found.fault == "D10")
    assert found.evidence["stage"] == "loss"


def test_divergence_to_nan_is_the_update() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = sgd(model, 50.0)
    with watch(model, optimizer) as w:
        for x, _ in batches(40):
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().mean().backward()
            optimizer.step()
    found = next(found for found in w.findings if found.fault == "D10")
    assert found.evidence["stage"] == "backward"


def test_loss_that_rises() -> None:
    model = nn.Linear(8, 1)
    optimizer = sgd(model, 0.53)
    with watch(model, optimizer) as w:
        for x, _ in batches(60, 64):
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().sum(1).mean().mul(2).backward()
            optimizer.step()
    assert first(w) == "D1"


def test_batch_of_one() -> None:
    model = net(norm=True)
    optimizer = sgd(model)
    w = watch(model, optimizer)
    with pytest.raises(ValueError, match="more than 1 value"), w:  # noqa: PT012
        for size in (16, 16, 1):
            x, y = next(batches(1, size))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert first(w) == "C13"


def test_batches_of_one_image() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    optimizer = sgd(model)
    with watch(model, optimizer) as w:
        for _ in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(1, 1, 8, 8)), torch.tensor([1])).backward()
            optimizer.step()
    assert first(w) == "C13"


def _set() -> torch.utils.data.TensorDataset:
    x = torch.randn(160, 8)
    return torch.utils.data.TensorDataset(x, x[:, :3].argmax(1))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 12) -> None:
    for x, y in batches(count):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def accumulate(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, k: int, divide: bool) -> None:
    for index, (x, y) in enumerate(batches(count)):
        loss = F.cross_entropy(model(x), y)
        (loss / k if divide else loss).backward()
        if (index + 1) % k == 0:
            optimizer.step()
            optimizer.zero_grad()
