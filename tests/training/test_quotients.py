"""The watch of a training: its numbers in closed form, and a training that is the same with it and without."""

import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exactness import rows, same
from torch import nn

import netwright as nw
from netwright.data.batches import Batch
from netwright.training import quotients as watch
from netwright.training.keeper import Keeper
from netwright.training.loop import steps
from netwright.training.objective import Terms
from netwright.training.penalties import Penalties
from netwright.training.quotients import Quotients, watched
from netwright.training.state import State

X = torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
CURVATURE = 2 * X.square().mean().item()
"""Of the mean squared error of one weight: d2/dw2 mean (w x - y)^2."""


class Rows(list):
    """An epoch of the same batch again and again."""

    def epoch(self, number, start=0):
        return (self.batch(number) for _ in range(len(self) // len(X)))

    def batch(self, number):
        return Batch(X, 3 * X + torch.tensor([[0.1], [-0.2], [0.3], [0.0]]), None, np.arange(len(X)), number)


def state_of(rate, model=None, **more) -> State:
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False) if model is None else model
    settings = {"seed": 0, "device": torch.device("cpu"), "total_steps": 8, **more}

    def objective(network, batch, draw):
        return Terms((network(batch.inputs) - batch.targets).square().mean(1))

    return State(model, {"main": torch.optim.SGD(model.parameters(), lr=rate)}, objective, **settings)


def measured(state, every, monkeypatch, count=8):
    """What the watch tells after each of `count` steps."""
    monkeypatch.setattr(watch, "EVERY", every)
    quotients, found = Quotients(state, 1), []
    for _ in steps(state, Rows(range(count * len(X))), 1, (quotients.after,)):
        found.append(quotients.row())
    return found


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.9 / CURVATURE, 0.2, 0.5])
def test_the_quotient_of_a_quadratic_is_one_minus_rate_times_curvature(rate, monkeypatch):
    found = measured(state_of(rate), 2, monkeypatch, 4)
    assert [bool(row) for row in found] == [False, True, False, True]
    assert found[1]["watch"]["q"] == pytest.approx(1 - rate * CURVATURE, abs=2e-4)


def test_loss_after_the_step_and_its_size_are_those_of_the_weights_it_left(monkeypatch):
    torch.manual_seed(0)
    state = state_of(0.05, nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)))
    before = [layer.weight.detach().clone() for layer in (state.model[0], state.model[2])]
    monkeypatch.setattr(watch, "EVERY", 2)
    quotients, batches = Quotients(state, 1), Rows(range(8))
    for step in steps(state, batches, 1, (quotients.after,)):
        if step.number == 1:
            before = [layer.weight.detach().clone() for layer in (state.model[0], state.model[2])]
    found = quotients.row()["watch"]
    batch = batches.batch(0)
    after = (state.model(batch.inputs) - batch.targets).square().mean().item()
    assert found["after"] == pytest.approx(after, rel=1e-6)
    for name, layer, old in zip(("first", "last"), (state.model[0], state.model[2]), before, strict=True):
        share = (layer.weight - old).norm() / old.norm()
        assert found[name] == pytest.approx(share.item(), rel=1e-5)
        assert share > 0


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_clipping_shortens_the_step_and_not_the_gradient_it_is_compared_with(clip, monkeypatch):
    state = state_of(0.05, clip_norm=clip)
    start = state.model.weight.item()
    found = measured(state, 2, monkeypatch, 2)[1]["watch"]
    if clip == 1e6:
        assert found["q"] == pytest.approx(1 - 0.05 * CURVATURE, abs=1e-4)
        return
    # The step is rate x clip long: from w to w - s the slope 2 mean x (w x - y) falls by s x curvature.
    batch = Rows().batch(0)
    w, s = start + 0.05 * clip, 0.05 * clip  # both steps have this length, and lead upwards here
    slope = (2 * batch.inputs * (w * batch.inputs - batch.targets)).mean().item()
    assert slope < 0
    assert found["q"] == pytest.approx((slope + s * CURVATURE) / slope, abs=1e-4)


def test_dropout_draws_the_same_mask_before_and_after(monkeypatch):
    """A step of no length ends where it began: another mask would have another gradient."""
    torch.manual_seed(0)
    state = state_of(1e-6, nn.Sequential(nn.Linear(1, 16), nn.Dropout(0.5), nn.Linear(16, 1)))
    found = measured(state, 2, monkeypatch, 4)
    assert [row["watch"]["q"] for row in found[1::2]] == pytest.approx([1, 1], abs=1e-2)


def test_clipped_numbers_leave_no_quotient(monkeypatch):
    assert "q" not in measured(state_of(0.05, clip_value=0.01), 2, monkeypatch, 2)[1]["watch"]
    assert "q" in measured(state_of(0.05, clip_value=1e6), 2, monkeypatch, 2)[1]["watch"]


def test_penalties_count_on_both_sides(monkeypatch):
    state = state_of(0.05, penalties=Penalties(0.0, 4.0))
    assert measured(state, 2, monkeypatch, 2)[1]["watch"]["q"] == pytest.approx(1 - 0.05 * (CURVATURE + 4), abs=1e-4)


def test_a_network_with_its_own_update_has_no_quotient(monkeypatch):
    class Own(nn.Linear):
        def update(self, state, batch):
            with torch.no_grad():
                self.weight.mul_(0.9)
            return (self(batch.inputs) - batch.targets).square().mean(1).detach()

    assert measured(state_of(0.1, Own(1, 1, bias=False)), 2, monkeypatch, 4) == [{}] * 4


def test_large_networks_and_many_processes_are_not_watched(monkeypatch):
    monkeypatch.setattr(watch, "LARGEST", 0)
    assert measured(state_of(0.05), 2, monkeypatch, 4) == [{}] * 4
    monkeypatch.setattr(watch, "LARGEST", 100)
    state = state_of(0.05)
    state.ranks = SimpleNamespace(many=True)
    assert not Quotients(state, 1).watches
    state = state_of(0.05)
    state.parameters = []
    assert not Quotients(state, 1).watches


def test_measured_steps_are_those_that_the_log_writes_down():
    state = state_of(0.1)
    assert [Quotients(state, log).every for log in (1, 10, 50, 100, 128, 500)] == [128, 130, 150, 200, 128, 500]


def test_a_step_left_out_is_not_measured_with_the_next_one(monkeypatch):
    monkeypatch.setattr(watch, "EVERY", 2)
    state = state_of(0.05)
    quotients, batch = Quotients(state, 1), Rows().batch(0)
    terms = Terms(torch.ones(len(X)))
    quotients.after(state, batch, terms)  # step 1: the weights are kept for step 2, which is then left out
    assert quotients.old is not None
    state.step += 2
    quotients.after(state, batch, terms)  # step 3
    assert quotients.row() == {}


# whole trainings ----------------------------------------------------------------------------------------------

RECIPE = nw.Recipe().override(
    [
        *("network=mlp", "network.hidden=[12]", "network.dropout=0.2", "network.norm=batchnorm", "data.batch_size=16"),
        *("optimizer=sgd", "optimizer.lr=0.05", "l2=1e-3", "clip_norm=0.5"),
        *("epochs=3", "log_steps=3", "save_steps=5", "threads=1"),
    ]
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same training with a watch of every sixth step and without one."""
    folder, found = tmp_path_factory.mktemp("watched"), {}
    with pytest.MonkeyPatch.context() as patch:
        for name, every in (("with", 4), ("without", 10**9)):
            patch.setattr(watch, "EVERY", every)
            found[name] = nw.train("iris", recipe=RECIPE, out=folder / name, quiet=True).path
    return found


def test_the_training_is_the_same_with_the_watch_and_without(trained, tmp_path):
    told = [row for row in rows(trained["with"]) if "watch" in row]
    assert [row["step"] % 6 for row in told] == [0] * len(told)
    assert len(told) >= 2
    assert not any("watch" in row for row in rows(trained["without"]))
    bare = tmp_path / "bare"
    shutil.copytree(trained["with"], bare)
    lines = [json.loads(line) for line in (bare / "metrics.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "watch"}) + "\n" for line in lines)
    (bare / "metrics.jsonl").write_text(text)
    assert same(bare, trained["without"]) == ""


def test_watched_steps_carry_step_and_loss(trained):
    found = watched([json.loads(line) for line in (trained["with"] / "metrics.jsonl").read_text().splitlines()])
    assert [one["step"] for one in found] == list(range(6, found[-1]["step"] + 1, 6))
    assert all(math.isfinite(one["q"]) and one["loss"] > 0 and one["after"] > 0 for one in found)
    assert all(0 < one["first"] < 1 and 0 < one["last"] < 1 for one in found)


def test_resumed_right_before_a_measured_step_the_rows_are_equal(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "EVERY", 4)
    cut = tmp_path / "cut"
    stop_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        nw.train("iris", recipe=RECIPE, out=cut, quiet=True)
    assert max(int(path.name) for path in (cut / "checkpoints").iterdir() if path.name.isdecimal()) == 5
    monkeypatch.undo()
    monkeypatch.setattr(watch, "EVERY", 4)
    nw.resume(cut, quiet=True)
    assert rows(cut) == rows(trained["with"])
    assert same(cut, trained["with"]) == ""


def stop_at(monkeypatch, number):
    """End the training behind the save of this step; `close` waits for what is being saved."""
    whole = Keeper.save

    def save(keeper, *given, **more):
        whole(keeper, *given, **more)
        if keeper.state.step == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "save", save)
