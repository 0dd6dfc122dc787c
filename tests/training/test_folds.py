"""Cross-validation: disjoint parts that cover the pool, statistics of the rest alone, mean and interval by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.recipe import Recipe
from netwright.training import folds as folding

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (90, 3))
Y = (X.sum(1) > 6).astype(int)


@pytest.fixture
def watched(monkeypatch):
    """What each fold trained on, beside the run itself."""
    seen = []
    real = folding.fit

    def fit(job, checkpoint=None):
        seen.append(job)
        return real(job, checkpoint)

    monkeypatch.setattr(folding, "fit", fit)
    return seen


def test_folds_hold_out_every_example_of_the_pool_once_and_never_a_test_example(tmp_path, watched):
    data = nw.read(X, Y)
    nw.train(data, "softmax", epochs=2, folds=5, out=tmp_path / "run", quiet=True)
    assert len(watched) == 5
    pool = np.sort(np.concatenate([data.splits["train"], data.splits["validation"]]))
    held = np.concatenate([job.dataset.splits["test"] for job in watched])
    assert sorted(held) == pool.tolist()
    for job in watched:
        splits = job.dataset.splits
        assert sorted([*splits["train"], *splits["test"]]) == pool.tolist()
        assert len(splits["validation"]) == 0
        assert not set(splits["train"]) & set(data.splits["test"])
        expected = torch.from_numpy(X[splits["train"]]).mean(0)
        torch.testing.assert_close(job.dataset.encoder.mean, expected)
        assert job.folder is None
        rates = np.bincount(Y[splits["test"]], minlength=2) / len(splits["test"])
        assert abs(rates - np.bincount(Y[pool]) / len(pool)).max() < 0.1


def test_number_targets_are_scaled_by_the_rest_alone(tmp_path, watched):
    y = X @ [1.0, -2.0, 0.5] + 100
    data = nw.read(X, y)
    run = nw.train(data, "mlp", epochs=1, folds=3, out=tmp_path / "run", quiet=True)
    for job in watched:
        rest = y[job.dataset.splits["train"]]
        assert job.dataset.targets.mean == pytest.approx(rest.mean(), rel=1e-12)
        assert job.dataset.targets.scale == pytest.approx(rest.std(), rel=1e-12)
    assert set(run.folds["metrics"]) == {"mse", "mae", "rmse", "r2"}
    assert run.folds["metrics"]["rmse"]["value"] > 1  # in the units of the data, not standardised
    assert data.targets.mean == pytest.approx(y[data.splits["train"]].mean())  # the run's own stayed


def test_mean_and_interval_are_students_over_the_folds():
    found = folding._mean([0.8, 0.9, 0.7])
    assert found["value"] == pytest.approx(0.8)
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)  # t of 0.975 with 2 degrees of freedom; deviation 0.1
    assert (found["low"], found["high"]) == (pytest.approx(0.8 - reach), pytest.approx(0.8 + reach))
    assert found["values"] == [0.8, 0.9, 0.7]
    two = folding._mean([0.5, None, 0.7])
    reach = 12.706204736174698 * math.sqrt(0.02) / math.sqrt(2)
    assert (two["value"], two["low"]) == (pytest.approx(0.6), pytest.approx(0.6 - reach))
    assert two["values"] == [0.5, None, 0.7]
    assert folding._mean([0.5, None]) == {"value": 0.5, "low": None, "high": None, "values": [0.5, None]}
    assert folding._mean([None])["value"] is None


def test_a_folds_score_is_that_of_a_training_on_the_rest(tmp_path, watched):
    """Each fold is repeated by hand with a plain run on the same examples."""
    data = nw.read(X, Y, batch_size=16)
    sgd = {"name": "sgd", "lr": 0.1}
    run = nw.train(data, "softmax", optimizer=sgd, epochs=4, folds=3, out=tmp_path / "run", quiet=True)
    values = run.folds["metrics"]["accuracy"]["values"]
    for number, job in enumerate(watched):
        train, held = (job.dataset.splits[name] for name in ("train", "test"))
        own = nw.read(X[train], Y[train], x_test=X[held], y_test=Y[held], validation=0.0, batch_size=16)
        own.splits["train"] = np.arange(len(train))
        same = nw.train(own, "softmax", optimizer=sgd, epochs=4, out=tmp_path / str(number), quiet=True)
        assert same.test["accuracy"] == values[number]


def test_the_report_tells_the_folds(tmp_path):
    run = nw.train(nw.read(X, Y), "softmax", epochs=1, folds=2, out=tmp_path / "run", quiet=True)
    assert run.folds["count"] == 2
    assert "cross-validation (2 folds): accuracy" in str(run)
    assert nw.open(run.path).folds == run.folds


@pytest.mark.parametrize(("count", "words"), [(1, "folds = 1; it lies between 2 and"), (999, "between 2 and 72 here")])
def test_impossible_folds_are_refused_before_anything_is_trained(tmp_path, count, words):
    with pytest.raises(nw.NetwrightError, match=words):
        nw.train(nw.read(X, Y), "softmax", epochs=1, folds=count, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_module_of_ones_own_cannot_be_trained_anew_for_each_fold(tmp_path):
    with pytest.raises(UsageError, match="name one of the catalogue"):
        nw.train(nw.read(X, Y), nn.Linear(3, 2), epochs=1, folds=3, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_folds_keep_groups_together(tmp_path, watched):
    rows = ["person,a,b,target"] + [f"p{i // 6},{X[i, 0]},{X[i, 1]},{'uv'[Y[i]]}" for i in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    recipe = Recipe().override([f"data.path={tmp_path / 't.csv'}", "data.group=person", "folds=3", "epochs=1"])
    nw.train(recipe=recipe, out=tmp_path / "run", quiet=True)
    homes = [{int(p) // 6 for p in job.dataset.splits["test"]} for job in watched]
    assert len(homes) == 3
    assert not homes[0] & homes[1]
    assert not homes[0] & homes[2]
    assert not homes[1] & homes[2]
