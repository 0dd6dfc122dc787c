"""Baselines against scikit-learn's own pipeline, and on data that breaks careless ones."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from netwright.errors import UsageError
from netwright.parts import metrics
from netwright.report.baselines import simple as module
from netwright.report.baselines.simple import baselines, run_baselines


def split(x: np.ndarray, y: np.ndarray, seed: int = 0):
    order = np.random.default_rng(seed).permutation(len(x))
    a, b = order[: 2 * len(x) // 3], order[2 * len(x) // 3 :]
    return x[a].astype(np.float32), y[a], x[b].astype(np.float32), y[b]


def test_classification_equals_scikit_learn():
    x, y, xt, yt = split(*load_iris(return_X_y=True))
    found = {result.name: result for result in run_baselines("classify", x, y, xt, yt, 3)}
    assert list(found) == ["constant", "linear", "nearest"]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000)).fit(x, y)
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(5)).fit(x, y)
    np.testing.assert_allclose(found["constant"].outputs, np.tile(np.bincount(y) / len(y), (len(xt), 1)))
    np.testing.assert_allclose(found["linear"].outputs, linear.predict_proba(xt), atol=2e-3)
    np.testing.assert_allclose(found["nearest"].outputs, nearest.predict_proba(xt), atol=1e-12)
    for result in found.values():
        assert result.metrics == metrics.measure("classify", yt, result.outputs)
        assert result.notes == []


def test_regression_equals_scikit_learn_also_for_two_outputs():
    data, target = load_diabetes(return_X_y=True)
    x, y, xt, yt = split(data, np.stack([target, -(target**1.5)], axis=1))
    linear, nearest = (make_pipeline(StandardScaler(), model) for model in (Ridge(alpha=1.0), KNeighborsRegressor(5)))
    for a, b in ((y, yt), (y[:, 0], yt[:, 0])):
        found = {result.name: result.outputs for result in run_baselines("regress", x, a, xt, b)}
        assert {outputs.shape for outputs in found.values()} == {b.shape}
        np.testing.assert_allclose(found["constant"], np.broadcast_to(a.mean(axis=0), b.shape))
        np.testing.assert_allclose(found["linear"], linear.fit(x, a).predict(xt), rtol=1e-4)
        np.testing.assert_allclose(found["nearest"], nearest.fit(x, a).predict(xt), rtol=1e-9)


def test_the_short_form_gives_numbers_by_name():
    x, y, xt, yt = split(*load_iris(return_X_y=True))
    found = baselines("classify", x, y, xt, yt, 3)
    assert found["linear"]["accuracy"] > 0.9 > found["constant"]["accuracy"]
    assert set(found["nearest"]) == set(metrics.names("classify", 3))


def test_a_column_that_does_not_vary_and_values_that_are_not_finite_change_nothing():
    x, y, xt, yt = split(*load_iris(return_X_y=True))
    plain = baselines("classify", x, y, xt, yt, 3)
    same = np.float32(1e6 + 0.1)
    wide, wide_test = (np.column_stack([part, np.full(len(part), same)]).astype(np.float32) for part in (x, xt))
    assert baselines("classify", wide, y, wide_test, yt, 3)["nearest"] == plain["nearest"]
    xt[0, 0], x[0, 0] = np.nan, np.inf
    for result in run_baselines("classify", x, y, xt, yt, 3):
        assert np.isfinite(result.outputs).all()


def test_one_class_in_training_and_classes_that_never_occur():
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    zeros, truth = np.full(12, 2), np.arange(12) % 4
    found = baselines("classify", x, zeros, x, truth, 4)
    assert {name: scores["accuracy"] for name, scores in found.items()} == dict.fromkeys(found, 0.25)
    two = run_baselines("classify", x, np.arange(12) % 2 * 3, x, truth, 4)
    assert all(result.outputs.shape == (12, 4) and (result.outputs[:, [1, 2]] == 0).all() for result in two)


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("task", ["classify", "regress"])
def test_fewer_rows_than_neighbours(task: str, rows: int):
    x, y = np.arange(rows, dtype=np.float32)[:, None], np.arange(rows) % 2
    found = {result.name: result for result in run_baselines(task, x, y, x, y, 2)}
    expected = np.eye(2)[y].mean(axis=0) if task == "classify" else y.mean()
    np.testing.assert_allclose(found["nearest"].outputs, np.broadcast_to(expected, found["nearest"].outputs.shape))


def test_nothing_to_learn_or_to_test():
    x, y = np.zeros((0, 3), np.float32), np.zeros(0, int)
    assert baselines("classify", x, y, np.zeros((2, 3), np.float32), np.zeros(2, int), 2) == {}
    learn = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    for task in ("classify", "regress"):
        found = baselines(task, learn, np.arange(6) % 2, x, y, 2)
        assert list(found) == ["constant", "linear", "nearest"]
        assert all(value is None for scores in found.values() for value in scores.values())
    none = np.zeros((6, 0), np.float32)
    assert baselines("classify", none, np.arange(6) % 2, none, np.arange(6) % 2, 2)["linear"]["accuracy"] == 0.5


def test_wild_test_values_stay_finite():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)).astype(np.float32), rng.integers(0, 2, 40)
    wild = np.array([[1e30, -1e30], [3e38, 0]], dtype=np.float32)
    for task in ("classify", "regress"):
        assert all(np.isfinite(r.outputs).all() for r in run_baselines(task, x, y, wild, np.array([0, 1]), 2))


def test_the_budget_cuts_rows_by_the_seed_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ROWS", 50)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)).astype(np.float32), rng.integers(0, 2, 200)
    first, again, other = (run_baselines("classify", x, y, x, y, 2, seed=seed) for seed in (0, 0, 1))
    assert first[2].notes == ["50 of 200 training examples, drawn by the seed"]
    assert first[0].notes == []
    np.testing.assert_array_equal(first[2].outputs, again[2].outputs)
    assert not np.array_equal(first[2].outputs, other[2].outputs)
    np.testing.assert_allclose(first[0].outputs[0], np.bincount(y) / 200)  # the constant looks at all of them


def test_the_budget_cuts_features_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CELLS", 1000)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 30)).astype(np.float32), rng.integers(0, 2, 100)
    assert run_baselines("classify", x, y, x, y, 2)[1].notes == ["10 of 30 features, evenly spaced"]


def test_shapes_that_do_not_fit_are_refused():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(UsageError, match="3 training features, but 2 test features"):
        baselines("classify", x, np.zeros(4, int), x[:, :2], np.zeros(4, int), 2)
    with pytest.raises(UsageError, match="as many rows"):
        baselines("classify", x, np.zeros(3, int), x, np.zeros(4, int), 2)
