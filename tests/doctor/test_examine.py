"""`examine` from end to end: the verdict on programs whose fault is known, and nothing changed behind it."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import netwright as nw
from netwright.doctor.findings import Diagnosis
from netwright.errors import NetwrightError

DATA = load_digits(return_X_y=True)
X, Y = torch.tensor(DATA[0] / 16, dtype=torch.float32), torch.tensor(DATA[1])
HELD = slice(1400, 1797)


def batches(count: int = 480, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    return [(X[start : start + size], Y[start : start + size]) for start in range(0, count, size)]


def mlp(*tail: nn.Module, units: int = 32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 10), *tail)


def accuracy(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return (model(X[HELD]).argmax(1) == Y[HELD]).double().mean().item()


def examined(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 5, **more: Any) -> Diagnosis:
    given = {"loss": cross_entropy, "batches": batches(), "validation": [(X[HELD], Y[HELD])], **more}
    return nw.examine(model, optimizer=optimizer, epochs=epochs, budget=20.0, **given)


# verdicts -----------------------------------------------------------------------------------------------------


def test_a_healthy_network_is_healthy():
    model = mlp()
    found = examined(model, torch.optim.Adam(model.parameters(), lr=1e-2), epochs=20)
    assert (found.verdict, found.findings, found.changes) == ("healthy", [], {})
    assert found.repair is None
    assert found.evidence["reached"] > 0.8
    assert found.evidence["finite"] is True
    assert "verdict: healthy" in str(found)


def dead(model: nn.Sequential) -> nn.Sequential:
    with torch.no_grad():
        model[0].bias.fill_(-20.0)
    return model


PROGRAMS = {
    "D1": lambda: (model := mlp(), torch.optim.SGD(model.parameters(), lr=30.0, momentum=0.9)),
    "B1": lambda: (model := mlp(nn.Softmax(1)), torch.optim.SGD(model.parameters(), lr=0.3)),
    "C6": lambda: (model := dead(mlp()), torch.optim.Adam(model.parameters(), lr=1e-2)),
}


@pytest.fixture(scope="module")
def diagnosed() -> dict[str, Diagnosis]:
    return {fault: examined(*make()) for fault, make in PROGRAMS.items()}


@pytest.mark.parametrize(("fault", "place"), [("D1", "lr"), ("B1", "3"), ("C6", "1")])
def test_a_fault_is_named_with_place_numbers_harm_and_remedy(diagnosed, fault, place):
    found = diagnosed[fault]
    assert (found.verdict, found.findings[0].fault) == ("faulty", fault)
    first = found.findings[0]
    assert place in first.where
    assert first.harm
    assert first.remedies
    assert "threshold" in first.evidence
    assert first.evidence["skill_after"] > first.evidence["skill_before"] + 0.3
    assert first.confidence is None or 0 < first.confidence <= 1
    assert 0 < found.seconds < 60
    assert found.excluded
    assert {"loss", "skill", "quotient"} <= set(found.curves)
    assert f"{fault}  {first.name}" in str(found)


@pytest.mark.parametrize("fault", PROGRAMS)
def test_the_repaired_training_learns_where_the_own_did_not(diagnosed, fault):
    model, optimizer = PROGRAMS[fault]()
    assert diagnosed[fault].repair is not None
    made, _, _, pairs, step, epochs = diagnosed[fault].repair(model, cross_entropy, optimizer, batches(), epochs=5)
    for _ in range(epochs):
        made.train()
        for pair in pairs:
            step(pair)
    assert accuracy(made) > 0.75
    own, optimizer = PROGRAMS[fault]()
    for inputs, targets in batches() * 5:
        optimizer.zero_grad()
        cross_entropy(own(inputs), targets).backward()
        optimizer.step()
    assert accuracy(own) < accuracy(made) - 0.1


def test_a_shape_mismatch_is_a_finding_and_no_traceback():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(31, 10))
    found = examined(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert (found.verdict, [one.fault for one in found.findings]) == ("faulty", ["C12"])
    assert found.findings[0].where.startswith("2")
    assert (found.findings[0].evidence["wanted"], found.findings[0].evidence["came"]) == (31, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module": "a network"}, "torch.nn.Module"),
        ({"loss": 3}, "loss(outputs, targets)"),
        ({"optimizer": "adam"}, "torch.optim"),
        ({"batches": []}, "no batches"),
        ({"batches": [(X,)]}, "(inputs, targets)"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_wanted(change, words):
    model = mlp()
    given = {"module": model, "loss": cross_entropy, "batches": batches()}
    with pytest.raises(NetwrightError) as caught:
        nw.examine(**{**given, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), **change})
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


# nothing is changed ---------------------------------------------------------------------------------------------


@dataclass
class Training:
    """A training with everything that a doctor could leave changed, a few steps after its start."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    loader: DataLoader
    schedule: torch.optim.lr_scheduler.LRScheduler

    def step(self, batch: Any) -> Tensor:
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss

    def state(self) -> dict[str, Any]:
        """Everything, as plain values that are equal only bit for bit."""
        moments = self.optimizer.state_dict()
        return {
            "weights and buffers": {name: value.tolist() for name, value in self.model.state_dict().items()},
            "gradients": [None if p.grad is None else p.grad.tolist() for p in self.model.parameters()],
            "asks": [p.requires_grad for p in self.model.parameters()],
            "modes": [part.training for part in self.model.modules()],
            "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in self.model.modules()],
            "attributes": [sorted(vars(part)) for part in self.model.modules()],
            "groups": moments["param_groups"],
            "moments": {
                place: {name: torch.as_tensor(value).tolist() for name, value in entry.items()}
                for place, entry in moments["state"].items()
            },
            "schedule": {name: str(value) for name, value in self.schedule.state_dict().items()},
            "torch": torch.get_rng_state().tolist(),
            "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
            "random": random.getstate(),
            "order": self.loader.generator.get_state().tolist(),
            "threads": torch.get_num_threads(),
        }


def begun() -> Training:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 10))
    model[0].bias.requires_grad_(False)
    optimizer = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[1:].parameters(), "lr": 5e-3}])
    loader = DataLoader(
        TensorDataset(X[:320], Y[:320]), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(8)
    )
    training = Training(model, optimizer, loader, torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.9))
    for batch, _ in zip(loader, range(3), strict=False):
        training.step(batch)
    model[3].eval()  # modes need not be all the same
    return training


def test_all_state_is_restored_bit_for_bit_and_the_training_goes_on_as_if_nothing_had_been():
    training, untouched = begun(), begun()
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    torch.manual_seed(7)
    before = training.state()
    first = nw.examine(
        training.model, cross_entropy, training.optimizer, training.loader, training.step, epochs=3, budget=15.0
    )
    after = training.state()
    for name, value in before.items():
        assert after[name] == value, name
    again = nw.examine(
        training.model, cross_entropy, training.optimizer, training.loader, training.step, epochs=3, budget=15.0
    )
    assert training.state() == before
    assert again.verdict == first.verdict
    assert [one.fault for one in again.findings] == [one.fault for one in first.findings]
    assert again.changes == first.changes

    went = []
    for one in (training, untouched):
        torch.manual_seed(7)
        one.loader.generator.manual_seed(1)
        went.append([one.step(batch).item() for batch in one.loader])
    assert went[0] == went[1]
    assert training.state()["weights and buffers"] == untouched.state()["weights and buffers"]


def test_a_failing_call_restores_all_state_too():
    training = begun()
    training.model[4] = nn.Linear(23, 10)
    before = training.state()
    found = nw.examine(training.model, cross_entropy, training.optimizer, training.loader, epochs=3)
    assert [one.fault for one in found.findings] == ["C12"]
    assert training.state() == before


class Endless(IterableDataset):
    """A data set whose length cannot be asked."""

    def __iter__(self):
        return iter(zip(X[:320], Y[:320], strict=True))


def test_every_kind_of_batches_is_read_alike():
    """A list, an iterator that can be copied, a generator, a loader without a length, tables: equal batches."""
    from netwright.doctor.code import CodeSubject

    def read(given: Any) -> CodeSubject:
        model = mlp()
        return CodeSubject(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), given, epochs=2)

    wanted, iterator = batches(320), iter(batches(320))
    kinds = [
        wanted, iterator, (pair for pair in wanted), zip(*zip(*wanted, strict=True), strict=True),
        DataLoader(Endless(), batch_size=32), iter(DataLoader(Endless(), batch_size=32)),
        [{"x": x, "labels": y} for x, y in wanted], [(x.numpy(), y.numpy()) for x, y in wanted],
    ]  # fmt: skip
    for given in kinds:
        subject = read(given)
        assert (subject.epoch, subject.total, len(subject.batches)) == (10, 20, 10)
        for pair, (x, y) in zip(subject.batches, wanted, strict=True):
            assert torch.equal(pair.inputs[0], x)
            assert torch.equal(pair.targets, y)
    assert len(list(iterator)) == 10  # the person's own stands where it stood
