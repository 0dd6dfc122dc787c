"""Single trainings without a run folder, and what their scores are measured by."""

import math
import time

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

import netwright
from netwright.clinic.trainings import OutOfTime, Trainings, fitting, patched, trial
from netwright.clinic.yardstick import constant_score, counted, primary, smallest_effect
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.recipe import Recipe

TINY = Recipe().override(["network=mlp", "network.hidden=[8]", "epochs=2", "data.limit=120"])


@pytest.fixture(scope="module")
def digits():
    return read("digits", limit=120)


@pytest.fixture(scope="module")
def diabetes():
    return read("diabetes", limit=120)


def test_a_trial_is_the_training_of_a_run(digits, tmp_path):
    found = trial(TINY, digits, 7)
    run = netwright.train(digits, recipe=Recipe(7, {name: TINY.table(name) for name in ("network", "training")}),
                          out=tmp_path / "run", quiet=True)  # fmt: skip
    assert found.measured == {"validation": run.validation["accuracy"], "test": run.test["accuracy"]}
    assert (found.validation, found.test) == (run.validation["accuracy"], run.test["accuracy"])
    assert (found.finished, found.epochs, found.steps, found.seed) == (True, 2, run.steps, 7)


def test_equal_arguments_give_equal_bits_and_seeds_differ(digits):
    torch.manual_seed(5)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    weights = []

    def kept(job, outcome):
        weights.append([parameter.detach().clone() for parameter in job.model.parameters()])
        return {"size": weights[-1][0].norm()}

    first, again, other = (trial(TINY, digits, seed, mechanism=kept) for seed in (3, 3, 4))
    assert first.measured == again.measured
    assert first.mechanism == again.mechanism
    assert all(torch.equal(a, b) for a, b in zip(*weights[:2], strict=True))
    assert other.mechanism != first.mechanism
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_training_that_diverges_counts_as_the_constant_answer(diabetes):
    found = trial(TINY.override(["optimizer=sgd", "optimizer.lr=500", "epochs=6"]), diabetes, 1)
    assert not found.finished
    assert found.test == constant_score(diabetes, "test", "rmse")
    assert found.validation == constant_score(diabetes, "validation", "rmse")


def test_constant_answers_are_those_of_scikit_learn(digits, diabetes):
    train, test = (np.array([int(v) for v in digits.raw_targets(split)]) for split in ("train", "test"))
    dummy = DummyClassifier().fit(train, train).predict(test)
    assert constant_score(digits, "test", "accuracy") == pytest.approx(accuracy_score(test, dummy))
    assert constant_score(digits, "test", "balanced_accuracy") == pytest.approx(balanced_accuracy_score(test, dummy))
    train, test = (diabetes.raw_targets(split).astype(float) for split in ("train", "test"))
    for name, strategy, judge in (
        ("rmse", "mean", root_mean_squared_error), ("r2", "mean", r2_score), ("mae", "median", mean_absolute_error),
    ):  # fmt: skip
        said = DummyRegressor(strategy=strategy).fit(train, train).predict(test)
        assert constant_score(diabetes, "test", name) == pytest.approx(judge(test, said))


def test_metric_and_smallest_effect(digits, diabetes):
    assert primary(digits) == "accuracy"
    assert smallest_effect(digits, "accuracy") == 0.01
    assert primary(diabetes) == "rmse"
    assert smallest_effect(diabetes, "rmse") == pytest.approx(0.02 * constant_score(diabetes, "test", "rmse"))
    assert smallest_effect(diabetes, "r2") == 0.02
    assert primary(digits, "balanced_accuracy") == "balanced_accuracy"
    with pytest.raises(UsageError, match="Did you mean 'accuracy'"):
        primary(digits, "acuracy")
    with pytest.raises(UsageError, match="no metric 'rmse'"):
        primary(digits, "rmse")


def test_what_counts():
    assert counted("accuracy", 0.05, lambda: 0.1) == 0.05  # a share has an end
    assert counted("accuracy", 0.9, lambda: 0.1, finished=False) == 0.1
    assert counted("rmse", 1e30, lambda: 77.0) == 77.0
    assert counted("rmse", 60.0, lambda: 77.0) == 60.0
    assert counted("r2", -1e9, lambda: -0.01) == -0.01
    assert counted("r2", 0.4, lambda: -0.01) == 0.4
    assert counted("mae", None, lambda: 3.0) == 3.0


def test_the_deadline_holds_within_a_training(digits):
    long = TINY.override(["epochs=100000"])
    started = time.monotonic()
    with pytest.raises(OutOfTime):
        trial(long, digits, 0, deadline=started + 0.3)
    assert time.monotonic() - started < 2


def test_data_settings_of_a_patch(digits):
    trainings = Trainings(digits)
    whole = trainings.settled(TINY)
    assert whole.table("data")["batch_size"] == 64
    assert whole.table("training")["threads"] >= 1
    assert fitting(digits, whole).splits is digits.splits
    small = fitting(digits, patched(whole, {"data.batch_size": 8}))
    assert small.source is digits.source
    assert small.settings["batch_size"] == 8
    assert digits.settings["batch_size"] == "auto"
    fewer = fitting(digits, patched(whole, {"data.limit": 50}))
    assert fewer.examples == {**digits.examples, "train": 50}
    for key, value in (("data.split_seed", 1), ("data.test", 0.3), ("data.classes", 5)):
        with pytest.raises(UsageError, match=f"{key} changes what is tested"):
            fitting(digits, patched(whole, {key: value}))


def test_pictures_of_another_size_are_the_same_test(tmp_path):
    from PIL import Image

    draws = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for place in range(10):
            Image.fromarray(draws.integers(0, 255, (12, 12), dtype=np.uint8)).save(tmp_path / name / f"{place}.png")
    data = read(tmp_path)
    small = fitting(data, Recipe(0, {"data": {"size": [8, 8]}}))
    assert (small.inputs["height"], small.ids("test")) == (8, data.ids("test"))
    with pytest.raises(UsageError, match="changes what is tested"):
        fitting(data, Recipe(0, {"data": {"size": [8, 8], "split_seed": 4}}))


def test_data_from_python_are_fitted_anew():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(60, 3)) * [1000, 1, 1]
    data = read(x, (x[:, 1] > 0).astype(int), normalize="none")
    again = fitting(data, Recipe(0, {"data": {"normalize": "standard"}}))
    assert again.input_tensor("train").std(0).tolist() == pytest.approx([1, 1, 1], abs=0.05)
    assert float(data.input_tensor("train").abs().max()) > 100
    trainings = Trainings(data)
    patch = {"data.normalize": "standard", "data.batch_size": 7}
    recipe, fresh = trainings.settled_as(patched(trainings.settled(Recipe()), patch), Recipe(4))
    assert (recipe.seed, fresh.settings["batch_size"], fresh.settings["normalize"]) == (4, 7, "standard")
    with pytest.raises(UsageError, match="came from Python"):
        fitting(data, Recipe(0, {"data": {"target": "y"}}))


def test_patches():
    recipe = Recipe().override(["network=mlp", "optimizer=sgd", "optimizer.lr=3.0"])
    found = patched(recipe, {"optimizer.lr": 1, "optimizer.name": "adam"})  # the name clears what belonged to sgd
    assert found.table("optimizer") == {"name": "adam", "lr": 1.0}
    assert patched(recipe, {"optimizer": "sgd"}) == recipe
    with pytest.raises(UsageError, match="Did you mean 'optimizer'"):
        patched(recipe, {"optimiser.lr": 1.0})
    for key in ("seed", "code", "data.path"):
        with pytest.raises(UsageError, match=f"{key} is no change"):
            patched(recipe, {key: 1})


def test_equal_trainings_are_made_once(digits):
    trainings = Trainings(digits)
    whole = trainings.settled(TINY)
    first = trainings.run(whole, 5)
    assert trainings.run(patched(whole, {"training.epochs": 2}), 5) is first
    assert trainings.made == 1
    assert trainings.knows(whole, 5)
    assert not trainings.knows(whole, 6)
    assert trainings.left == math.inf
    assert trainings.seconds(whole, 99.0) == first.seconds


def test_a_module_from_python_has_no_other_seed(digits):
    with pytest.raises(UsageError, match="name a network of the catalogue"):
        trial(Recipe(0, {"network": {"name": "module", "class": "Net"}}), digits, 0)
