"""Bagging: samples as pure functions, members that learn apart, one answer of many, out of bag by hand."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.recipe import Recipe
from netwright.report.bag import bag_scores
from netwright.training import job as jobs
from netwright.training.bagging import Bagged, bootstrap, samples
from netwright.training.plan import build, resolve

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (200, 3))
Y = (X.sum(1) + RNG.normal(0, 2, 200) > 6).astype(int)
SGD = {"name": "sgd", "lr": 0.1}


def train(path, data=None, network="mlp", **settings):
    settings = {"epochs": 3, "members": 3, **settings}
    return nw.train(nw.read(X, Y) if data is None else data, network, out=path, quiet=True, **settings)


def weights(model, member):
    return dict(model.members[member].state_dict())


# samples -------------------------------------------------------------------------------------------------------


def test_a_sample_is_drawn_with_replacement_and_depends_on_seed_and_member_alone():
    first = bootstrap(0, 1, 2000)
    assert first.sum() == 2000
    assert (first == bootstrap(0, 1, 2000)).all()
    assert (first != bootstrap(0, 2, 2000)).any()
    assert (first != bootstrap(1, 1, 2000)).any()
    shares = np.bincount(first, minlength=4)[:4] / 2000
    assert shares == pytest.approx([0.3679, 0.3679, 0.1839, 0.0613], abs=0.03)  # Poisson with mean 1


def test_samples_lie_at_the_training_positions():
    positions = np.array([1, 4, 5, 8])
    found = samples(3, 2, positions, 10)
    assert found.shape == (2, 10)
    assert (found[1, positions].numpy() == bootstrap(3, 1, 4)).all()
    assert found.sum() == 8


# members -------------------------------------------------------------------------------------------------------


def built(members, seed=0, network="mlp", data=None):
    data = data or nw.read(X, Y)
    recipe = Recipe(seed).updated({"network": {"name": network}, "training": {"members": members}}, "test")
    return build(resolve(recipe, data), data.inputs, data.outputs)


def test_members_start_apart_and_the_first_as_a_single_network():
    bag, single = built(3), built(0)
    assert isinstance(bag, Bagged)
    assert not isinstance(built(1), Bagged)
    for name, tensor in single.state_dict().items():
        assert torch.equal(tensor, weights(bag, 0)[name])
    assert not torch.equal(*(next(bag.members[m].parameters()) for m in (1, 2)))
    assert torch.equal(next(built(3).members[2].parameters()), next(bag.members[2].parameters()))
    count = sum(p.numel() for p in bag.parameters())
    assert count == 3 * sum(p.numel() for p in single.parameters())


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits"])
def test_with_all_counts_1_the_first_member_is_a_single_run_to_the_bit(tmp_path, monkeypatch, loss):
    """Dropout, momentum and schedule included: the other members touch nothing of it."""
    network = {"name": "mlp", "dropout": 0.3}
    optimizer = {"name": "momentum", "lr": 0.05}
    data = nw.read(X, Y, batch_size=32, validation=0.0)
    single = train(tmp_path / "single", data, network, optimizer=optimizer, loss=loss, members=0)
    monkeypatch.setattr(jobs, "samples", lambda seed, members, train, length: torch.ones(members, length))
    bag = train(tmp_path / "bag", data, network, optimizer=optimizer, loss=loss)
    expected = single.predictor().forward.model.state_dict()
    for name, tensor in weights(bag.predictor().forward.model, 0).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_member_learns_from_its_sample_alone(tmp_path):
    """Full batches of plain gradient descent: the same as training on the rows repeated as often as they were drawn."""
    data = nw.read(X, Y, batch_size=200, validation=0.0)
    bag = train(tmp_path / "bag", data, optimizer=SGD, epochs=5)
    fresh = built(3, data=data)
    rows = data.splits["train"]
    inputs, targets = data.input_tensor("train").double(), data.target_tensor("train")
    for member in range(3):
        model = fresh.members[member].double()
        drawn = np.repeat(np.arange(len(rows)), bootstrap(0, member, len(rows)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[drawn]), targets[drawn]).backward()
            optimizer.step()
        found = weights(bag.predictor().forward.model, member)
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(found[name].double(), tensor, rtol=1e-4, atol=1e-5)


def test_the_recorded_loss_is_the_mean_over_members(tmp_path):
    data = nw.read(X, Y, batch_size=200, validation=0.0)
    bag = train(tmp_path / "bag", data, optimizer=SGD, epochs=1)
    row = json.loads((bag.path / "metrics.jsonl").read_text().splitlines()[-1])
    fresh, rows = built(3, data=data), data.splits["train"]
    values = []
    for member in range(3):
        losses = nn.functional.cross_entropy(
            fresh.members[member](data.input_tensor("train")), data.target_tensor("train"), reduction="none"
        )
        values.append(float((losses.detach() * torch.from_numpy(bootstrap(0, member, len(rows)))).mean()))
    assert row["train_loss"] == pytest.approx(np.mean(values), rel=1e-6)


# the answer ----------------------------------------------------------------------------------------------------


def test_classes_answer_by_the_mean_probability(tmp_path):
    run = train(tmp_path / "run", members=4)
    predictor = run.predictor()
    inputs = predictor.encoder.encode(torch.from_numpy(X))
    with torch.no_grad():
        expected = torch.stack([member(inputs).softmax(1) for member in predictor.forward.model.members]).mean(0)
    found = [list(row["probabilities"].values()) for row in run.predict(X)]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_one_column_answers_by_the_mean_sigmoid_and_numbers_by_their_mean(tmp_path):
    run = train(tmp_path / "run", network="mlp", loss="bce_with_logits")
    predictor = run.predictor()
    inputs = predictor.encoder.encode(torch.from_numpy(X))
    with torch.no_grad():
        expected = torch.stack([torch.sigmoid(member(inputs)) for member in predictor.forward.model.members]).mean(0)
    found = [row["probabilities"]["1"] for row in run.predict(X)]
    np.testing.assert_allclose(found, expected[:, 0].numpy(), atol=1e-6)
    run = train(tmp_path / "numbers", nw.read(X, X.sum(1) * 10 + 3))
    predictor = run.predictor()
    inputs = predictor.encoder.encode(torch.from_numpy(X))
    with torch.no_grad():
        outputs = torch.stack([member(inputs) for member in predictor.forward.model.members]).mean(0)
    found = [row["value"] for row in run.predict(X)]
    np.testing.assert_allclose(found, predictor.targets.decode(outputs).numpy(), rtol=1e-5, atol=1e-4)
    assert set(run.out_of_bag["metrics"]) == {"mse", "mae", "rmse", "r2"}
    assert len(run.members) == 3


def test_out_of_bag_by_hand(tmp_path):
    data = nw.read(X, Y)
    run = train(tmp_path / "run", data, members=4)
    model, rows = run.predictor().forward.model, data.splits["train"]
    counts = np.stack([bootstrap(0, member, len(rows)) for member in range(4)])
    with torch.no_grad():
        chances = np.stack([member(data.input_tensor("train")).softmax(1).numpy() for member in model.members])
    right, surprise = [], []
    for place, truth in enumerate(Y[rows]):
        free = counts[:, place] == 0
        if free.any():
            answer = chances[free, place].mean(0)
            right.append(answer.argmax() == truth)
            surprise.append(-np.log(answer[truth]))
    found = run.out_of_bag
    assert found["examples"] == len(right) < len(rows)
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert found["metrics"]["accuracy"]["low"] < np.mean(right) < found["metrics"]["accuracy"]["high"]
    assert found["loss"] == pytest.approx(np.mean(surprise), rel=1e-5)


def test_each_members_own_score_stands_in_the_report(tmp_path):
    data = nw.read(X, Y)
    run = train(tmp_path / "run", data)
    model, test = run.predictor().forward.model, data.splits["test"]
    for member, found in zip(model.members, run.members, strict=True):
        with torch.no_grad():
            chosen = member(data.input_tensor("test")).argmax(1).numpy()
        assert found["accuracy"] == (chosen == Y[test]).mean()
        assert found["loss"] > 0
    values = [found["accuracy"] for found in run.members]
    text = str(run)
    assert f"3 members alone: accuracy {min(values):.4g} to {max(values):.4g}" in text
    assert f"out of bag ({run.out_of_bag['examples']} training examples): accuracy" in text
    assert run.parameters == 3 * train(tmp_path / "one", data, members=0).parameters
    assert "members" not in nw.open(tmp_path / "one").report
    page = (run.path / "report.html").read_text()
    assert all(f"member {number}" in page for number in (1, 2, 3))
    assert "out of bag" in page
    assert "member 1" not in (tmp_path / "one" / "report.html").read_text()
    record = json.loads((run.path / "anatomy.json").read_text())
    assert record["parameters"] == run.parameters
    assert bag_scores(data, nw.open(tmp_path / "one").predictor().forward, 0) == {}


@pytest.mark.slow
def test_variance_falls_as_members_grow(tmp_path):
    """E-46: over seeds, the answers of 8 members scatter less than those of one; the bias stays."""
    data = nw.read(X, X.sum(1) + RNG.normal(0, 5, 200), limit=60)
    answers = {1: [], 8: []}
    for seed in range(5):
        run = train(tmp_path / str(seed), data, {"name": "mlp", "hidden": [32]}, members=8, epochs=60, seed=seed)
        model = run.predictor().forward.model
        inputs = data.input_tensor("test")
        with torch.no_grad():
            answers[8].append(model(inputs)[:, 0].numpy())
            answers[1].append(model.members[0](inputs)[:, 0].numpy())
    one, eight = (np.stack(answers[count]).var(0).mean() for count in (1, 8))
    assert eight < 0.5 * one


# runs ----------------------------------------------------------------------------------------------------------


class Died(Exception):
    pass


@pytest.mark.parametrize("dies_at", [0, 9, 14])
def test_dying_at_any_step_changes_no_bit(tmp_path, monkeypatch, dies_at):
    from netwright.training import keeper

    data, settings = nw.read(X, Y, batch_size=32), {"epochs": 4, "save_steps": 4}
    whole = train(tmp_path / "whole", data, {"name": "mlp", "dropout": 0.2}, **settings)
    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number > dies_at:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(Died):
            train(tmp_path / "killed", data, {"name": "mlp", "dropout": 0.2}, **settings)
    same_end(whole, nw.resume(tmp_path / "killed", data=data, quiet=True))


def same_end(whole, resumed):
    for key in ("test", "validation", "members", "out_of_bag", "steps", "best_epoch", "confusion"):
        assert whole.report[key] == resumed.report[key], key
    first, second = (run.predictor().forward.model.state_dict() for run in (whole, resumed))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.slow
def test_killed_and_resumed_a_bag_ends_with_the_same_bits(tmp_path):
    words = ["digits", "training.members=2", "network.dropout=0.2", "epochs=6", "save_steps=7", "threads=1"]
    start = [sys.executable, "-m", "netwright", "train", *words, "--out"]
    subprocess.run([*start, str(tmp_path / "whole"), "--quiet"], check=True, capture_output=True)
    run = tmp_path / "killed"
    process = subprocess.Popen([*start, str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(run.glob("checkpoints/[1-9]*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run([sys.executable, "-m", "netwright", "resume", str(run), "--json"], capture_output=True)
    assert again.returncode == 0, again.stderr
    same_end(nw.open(tmp_path / "whole"), nw.open(run))


def test_bags_of_convolutions_with_norms_weights_and_folds(tmp_path):
    recipe = Recipe().override(["data.path=digits", "data.limit=200", "network=convnet", "network.norm=batchnorm"])
    recipe = recipe.override(["members=2", "epochs=1", "folds=2", "class_weights=balanced", "precision=bfloat16"])
    run = nw.train(recipe=recipe, out=tmp_path / "run", quiet=True)
    assert run.folds["count"] == 2
    assert len(run.members) == 2
    assert 0 <= run.out_of_bag["metrics"]["accuracy"]["value"] <= 1
    assert nw.evaluate(run)["metrics"]["accuracy"]["value"] == run.test["accuracy"]


def test_a_fresh_network_of_the_catalogue_may_be_handed_over(tmp_path):
    data = nw.read(X, Y)
    run = train(tmp_path / "run", data, nw.network("mlp", data))
    assert len(run.members) == 3
    assert run.predict(X[:1])[0]["prediction"] in ("0", "1")


@pytest.mark.parametrize(
    ("network", "settings", "words"),
    [
        (nn.Linear(3, 2), {}, "members trains several new networks: name one of the catalogue instead of a module"),
        ("perceptron", {}, "members = 3: this network brings its own"),
        ("mlp", {"clip_norm": 1.0}, "members = 3: training.clip_norm takes the gradients of all members together"),
        ("mlp", {"members": -1}, "members = -1"),
        ("mlp", {"members": 5000}, "it lies between 0 and 1000"),
    ],
)
def test_what_cannot_be_bagged_is_refused_before_anything_is_written(tmp_path, network, settings, words):
    with pytest.raises(UsageError, match=words):
        train(tmp_path / "run", None, network, **settings)
    assert not (tmp_path / "run").exists()


def test_mixing_would_show_members_what_lies_out_of_their_bag(tmp_path):
    with pytest.raises(UsageError, match="mixup would mix examples out of the bag into the training"):
        train(tmp_path / "run", nw.read("digits", augment="mixup"), "convnet")
