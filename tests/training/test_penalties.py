"""Penalties, clipping by value, plateaus, batch sizes, and optimizers of our own through kills and resumes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.randomness import normal
from netwright.training import keeper
from netwright.training.objective import Terms
from netwright.training.penalties import Penalties, penalised

SGD = {"name": "sgd", "lr": 0.1}


def blobs(count=200, **settings):
    x = normal(np.arange(count), 2, 0, "blobs")
    y = np.arange(count) % 2
    x[y == 1] += 1.5
    return nw.read(x.astype(np.float32), y.astype(np.int64), task="classify", **settings)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(2, 2)


def trained(model, data=None, **given):
    """The weights after three full-batch steps."""
    for _ in nw.steps(data or blobs(), model, epochs=3, **{"optimizer": SGD, **given}):
        pass
    return model


# penalties ------------------------------------------------------------------------------------------------------


def test_gradients_and_values_of_both_penalties():
    weight = torch.tensor([[1.5, -2.0], [0.0, 0.25]], requires_grad=True)
    weight.grad = torch.ones(2, 2)
    terms = Terms(torch.zeros(1))
    Penalties(0.1, 0.4).add([weight], terms)
    expected = 1 + 0.1 * weight.detach().sign() + 0.4 * weight.detach()
    torch.testing.assert_close(weight.grad, expected)
    assert float(terms.parts["l1"]) == pytest.approx(0.1 * 3.75)
    assert float(terms.parts["l2"]) == pytest.approx(0.2 * (2.25 + 4 + 0.0625))
    copy = weight.detach().clone().requires_grad_(True)
    (copy.sum() + 0.1 * copy.abs().sum() + 0.2 * copy.square().sum()).backward()
    torch.testing.assert_close(weight.grad, copy.grad)


def test_only_weights_are_penalised():
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm([4, 5, 5]), nn.PReLU(4), nn.Flatten(), nn.Linear(100, 3)
    )
    net[0].weight.requires_grad_(False)
    assert [tuple(weight.shape) for weight in penalised(net)] == [(3, 100)]
    shared = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    shared[1].weight = shared[0].weight
    assert len(penalised(shared)) == 1
    assert [tuple(weight.shape) for weight in penalised(nn.LSTM(2, 3))] == [(12, 2), (12, 3)]


def test_l2_is_weight_decay_on_the_weights_alone():
    ours = trained(linear(), l2=0.3)
    theirs = linear()
    optimizer = torch.optim.SGD([{"params": [theirs.weight], "weight_decay": 0.3}, {"params": [theirs.bias]}], lr=0.1)
    data = blobs()
    x, y = data.input_tensor("train"), data.target_tensor("train")
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-6)


def test_l1_makes_weights_small_and_leaves_biases():
    free, bound = trained(linear()), trained(linear(), l1=0.5)
    start = linear()
    moved = bound.weight.detach() - free.weight.detach()
    assert (torch.sign(moved) == -torch.sign(start.weight.detach())).all()


def test_the_parts_stand_in_the_metrics_beside_the_loss(tmp_path):
    run = nw.train(
        blobs(), linear(), optimizer=SGD, l1=0.01, l2=0.02, epochs=2, log_steps=1, out=tmp_path / "run", quiet=True
    )
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    first = next(row for row in rows if "loss" in row)
    weight = linear().weight.detach()
    assert first["parts"]["l1"] == pytest.approx(0.01 * float(weight.abs().sum()))
    assert first["parts"]["l2"] == pytest.approx(0.01 * float(weight.square().sum()))
    data = blobs()
    plain = nn.functional.cross_entropy(linear()(data.input_tensor("train")), data.target_tensor("train"))
    assert first["loss"] == pytest.approx(float(plain.detach()), rel=1e-5)


def test_penalties_count_before_clipping():
    model = linear()
    next(nw.steps(blobs(), model, epochs=1, l2=1000.0, clip_norm=0.5, optimizer={"name": "sgd", "lr": 1e-9}))
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    assert float(norm) == pytest.approx(0.5, abs=1e-6)
    direction = nn.functional.cosine_similarity(model.weight.grad.flatten(), linear().weight.detach().flatten(), dim=0)
    assert float(direction) > 0.99


def test_a_rule_of_its_own_has_no_gradient_to_penalise():
    with pytest.raises(UsageError, match="update rule of its own"):
        next(nw.steps(blobs(), "perceptron", epochs=1, l1=0.1))


@pytest.mark.parametrize("name", ["l1", "l2", "clip_value"])
def test_negative_factors_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} = -0.1"):
        next(nw.steps(blobs(), linear(), epochs=1, **{name: -0.1}))


# clipping -------------------------------------------------------------------------------------------------------


def gradient(**clips):
    model = linear()
    next(nw.steps(blobs(), model, epochs=1, optimizer={"name": "sgd", "lr": 1e-9}, **clips))
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_clipping_by_value_cuts_each_number():
    free = gradient()
    limit = float(free.abs().median())
    torch.testing.assert_close(gradient(clip_value=limit), free.clamp(-limit, limit))
    assert torch.equal(gradient(clip_value=1e6), free)


def test_values_are_cut_before_the_norm():
    free = gradient()
    limit = float(free.abs().median())
    cut = free.clamp(-limit, limit)
    torch.testing.assert_close(
        gradient(clip_value=limit, clip_norm=0.01), cut * 0.01 / cut.norm(), rtol=1e-4, atol=1e-8
    )
    assert torch.equal(gradient(clip_value=limit, clip_norm=1e6), gradient(clip_value=limit))


# one example, a mini-batch, everything --------------------------------------------------------------------------


def test_one_example_a_mini_batch_and_the_whole_set_make_their_numbers_of_updates():
    for size, updates in ((1, 144), (16, 9), (10, 15), (10**6, 1)):
        data = blobs(200)
        data.settings["batch_size"] = size
        found = list(nw.steps(data, linear(), optimizer=SGD, epochs=2))
        assert len(found) == 2 * updates
        assert [step.number for step in found if step.epoch_done] == [updates, 2 * updates]
        assert sum(step.examples for step in found) == 2 * 144


def test_the_whole_set_in_one_batch_is_full_gradient_descent():
    data, model = blobs(), linear()
    data.settings["batch_size"] = 10**6
    theirs = linear()
    x, y = data.input_tensor("train"), data.target_tensor("train")
    order = next(iter(nw.training.job.Batches(data, size=10**6, seed=0, device=torch.device("cpu")).epoch(0))).examples
    places = torch.tensor([list(data.splits["train"]).index(one) for one in order])
    next(nw.steps(data, model, optimizer=SGD, epochs=1, threads=torch.get_num_threads()))
    nn.functional.cross_entropy(theirs(x[places]), y[places]).backward()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight -= 0.1 * weight.grad
    assert torch.equal(model.weight, theirs.weight)
    assert torch.equal(model.bias, theirs.bias)


def test_the_weighted_mean_of_the_batches_gradients_is_the_full_gradient():
    data, model = blobs(), linear()
    data.settings["batch_size"] = 50
    total = torch.zeros(6)
    for step in nw.steps(data, model, optimizer={"name": "sgd", "lr": 0.0}, epochs=1):
        total += step.examples / 144 * torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(total, gradient(), rtol=1e-4, atol=1e-6)


# kept through a kill --------------------------------------------------------------------------------------------


class Died(Exception):
    pass


SETUPS = {
    "muon": {"optimizer": "muon"},
    "caffe": {"optimizer": {"name": "momentum", "form": "caffe"}, "schedule": "step"},
    "tensorflow": {"optimizer": {"name": "rmsprop", "eps_inside": True, "initial": 1.0, "momentum": 0.9}},
    "plateau": {"optimizer": SGD, "schedule": {"name": "plateau", "patience": 0, "threshold": 0.5}},
    "elastic": {"optimizer": "adam", "l1": 1e-3, "l2": 1e-3, "clip_value": 0.01},
}


def record(run):
    """Rows without times, and the tensors of the last checkpoint and of the best weights."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("seconds"), row.pop("examples_per_second")
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = [last / "weights.safetensors", last / "state.safetensors", run / "best.safetensors"]
    return rows, [{name: tensor.tolist() for name, tensor in load_file(path).items()} for path in files]


@pytest.mark.parametrize("name", list(SETUPS))
def test_killed_and_resumed_they_give_the_same_bits(tmp_path, monkeypatch, name):
    settings = {"epochs": 4, "save_steps": 3, "quiet": True, "log_steps": 1, "threads": 1, **SETUPS[name]}
    data = nw.read("iris", batch_size=30)
    network = {"name": "mlp", "hidden": [8, 8], "dropout": 0.2}
    whole = nw.train(data, network, out=tmp_path / "whole", **settings)
    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number > 13:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train(data, network, out=tmp_path / "killed", **settings)
    nw.resume(tmp_path / "killed", quiet=True)
    assert record(tmp_path / "killed") == record(whole.path)
    rates = [row["lr"] for row in record(whole.path)[0]]
    assert (len(set(rates)) > 1) is (name in ("caffe", "plateau"))


def test_a_plateau_follows_the_validation_losses_of_the_run(tmp_path):
    plan = {"name": "plateau", "patience": 1, "threshold": 0.15, "factor": 0.5}
    run = nw.train(
        blobs(), linear(), optimizer=SGD, schedule=plan, epochs=12, log_steps=1, out=tmp_path / "run", quiet=True
    )
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["validation"]["loss"] for row in rows if "validation" in row]
    optimizer = torch.optim.SGD(linear().parameters(), lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.15)
    expected = []
    for loss in losses:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    assert [row["lr"] for row in rows if "validation" in row] == pytest.approx(expected)
    assert expected[-1] < 0.1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"schedule": {"name": "multi_step", "milestones": [0.5, 3]}}, "shares of the training"),
        ({"optimizer": {"name": "momentum", "dampening": 0.1, "form": "caffe"}}, "belongs to form"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_before_a_folder_is_made(tmp_path, given, words):
    with pytest.raises(UsageError, match=words):
        nw.train(blobs(), linear(), epochs=1, out=tmp_path / "run", quiet=True, **given)
    assert not (tmp_path / "run").exists()
