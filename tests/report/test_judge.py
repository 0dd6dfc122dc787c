"""Judging outputs: values, intervals, confusion and mistakes, on ordinary and on odd inputs."""

import json
import math
import time

import numpy as np
import pytest

from netwright.errors import UsageError
from netwright.parts import metrics
from netwright.report.judge import better, judge


def made(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    p = rng.random((n, classes))
    p[np.arange(n), truth] += 0.6
    return truth, (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def test_values_are_the_metrics_and_lie_in_their_intervals():
    truth, p = made(120, 7)
    found = judge("classify", truth, p, list("abcdefg"))
    assert {name: entry["value"] for name, entry in found.metrics.items()} == metrics.measure("classify", truth, p)
    for name, entry in found.metrics.items():
        assert entry["low"] <= entry["value"] <= entry["high"], name
    assert found.examples == 120
    assert found.classes == list("abcdefg")
    assert json.loads(json.dumps(found.json(), allow_nan=False))["metrics"] == found.metrics


def test_truth_stands_in_the_rows_of_the_confusion_matrix():
    p = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.2, 0.8, 0]])
    found = judge("classify", np.array([0, 0, 2]), p, ["ant", "bee", "cow"])
    assert found.confusion == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_mistakes_are_the_surest_wrong_ones_by_position():
    p = np.array([[0.1, 0.9], [0.4, 0.6], [0.7, 0.3], [0.0, 1.0], [0.3, 0.7]])
    found = judge("classify", np.array([0, 0, 1, 1, 0]), p, ["no", "yes"], mistakes=3)
    assert [m["position"] for m in found.mistakes] == [0, 2, 4]
    assert found.mistakes[0] == {"position": 0, "truth": "no", "prediction": "yes", "probability": 0.9}


def test_regression_gives_largest_errors_residuals_and_pairs():
    truth, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.5, 1.0, 4.1])
    found = judge("regress", truth, predicted)
    assert [m["position"] for m in found.mistakes] == [2, 1, 3]  # the exact one is no mistake
    assert found.mistakes[0] == {"position": 2, "truth": 3.0, "prediction": 1.0, "error": -2.0}
    assert found.residuals["mean"] == pytest.approx((predicted - truth).mean())
    assert found.residuals["quantiles"]["50"] == pytest.approx(np.median(predicted - truth))
    assert found.scatter == [[1.0, 1.0], [2.0, 2.5], [3.0, 1.0], [4.0, 4.1]]
    assert found.json()["confusion"] is None
    assert set(found.metrics) == {"mse", "mae", "rmse", "r2"}


def test_a_column_of_predictions_judges_a_vector_of_truth():
    truth = np.arange(5.0)
    assert judge("regress", truth, truth[:, None] + 1).metrics["mae"]["value"] == 1


def test_several_outputs_and_many_examples():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3000, 2))
    found = judge("regress", truth, truth + rng.normal(size=(3000, 2)))
    assert len(found.scatter) == 400
    assert len(found.mistakes) == 24
    assert len(found.mistakes[0]["error"]) == 2
    assert found.metrics["mse"]["value"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("classes", [1, 2, 6])
def test_tiny_classification_sets(n: int, classes: int):
    truth, p = made(n, classes)
    found = judge("classify", truth, p)
    json.dumps(found.json(), allow_nan=False)
    assert found.examples == n
    assert len(found.confusion) == classes
    if n == 0:
        assert found.metrics["accuracy"] == {"value": None, "low": None, "high": None}
    else:
        assert found.metrics["accuracy"]["low"] < found.metrics["accuracy"]["high"]
    if n == 1:
        assert found.metrics["log_loss"]["low"] is None


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_tiny_regression_sets(n: int, shape: tuple[int, ...]):
    truth = np.arange(n * (shape[0] if shape else 1), dtype=float).reshape(n, *shape)
    found = judge("regress", truth, truth + 1)
    json.dumps(found.json(), allow_nan=False)
    assert found.metrics["mae"]["value"] == (1 if n else None)
    assert (found.residuals is None) == (n == 0)


def test_one_class_only_and_perfect_predictions():
    truth = np.zeros(10, dtype=int)
    found = judge("classify", truth, np.tile([1.0, 0.0], (10, 1)))
    assert found.metrics["auc"] == {"value": None, "low": None, "high": None}
    assert found.metrics["accuracy"]["value"] == 1
    assert 0.6 < found.metrics["accuracy"]["low"] < 0.8
    assert found.mistakes == []
    assert found.confusion == [[10, 0], [0, 0]]
    truth = np.arange(60) % 6
    perfect = judge("classify", truth, np.eye(6)[truth])
    for name, entry in perfect.metrics.items():
        best = 0 if name in ("log_loss", "calibration_error") else 1
        assert entry["value"] == pytest.approx(best, abs=1e-12), name


def test_outputs_that_are_not_finite_are_counted_and_not_scored():
    truth, p = made(20, 3)
    p[4] = math.nan
    found = judge("classify", truth, p)
    assert found.not_finite == found.json()["not_finite"] == 1
    assert all(entry["value"] is None for entry in found.metrics.values())
    assert sum(map(sum, found.confusion)) == 19
    numbers = judge("regress", np.arange(3.0), np.array([0, math.inf, 2.5]))
    assert numbers.not_finite == 1
    assert [m["position"] for m in numbers.mistakes] == [2]
    json.dumps(numbers.json(), allow_nan=False)


def test_ten_thousand_examples_of_ten_classes_take_less_than_two_seconds():
    truth, p = made(10_000, 10)
    judge("classify", truth[:50], p[:50])
    start = time.process_time()
    judge("classify", truth, p)
    assert time.process_time() - start < 2


def test_wrong_inputs_are_refused():
    truth, p = made(4, 3)
    with pytest.raises(UsageError, match="2 names of classes, but 3 columns"):
        judge("classify", truth, p, ["a", "b"])
    with pytest.raises(UsageError, match=r"Did you mean 'classify'\?"):
        judge("clasify", truth, p)
    with pytest.raises(UsageError, match=r"shape \(4,\)"):
        judge("classify", truth, truth)


def test_which_of_two_values_is_better():
    assert better("accuracy", 0.9, 0.8)
    assert not better("accuracy", 0.8, 0.8)
    assert better("rmse", 1.0, 2.0)
    assert not better("log_loss", 2.0, 1.0)
