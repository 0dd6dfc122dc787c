"""Learning curves of sets that want more examples and of sets that do not, and the figures of imbalance."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from netwright.doctor.gauges.learning_curve import imbalance, learning_curve

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits, load_diabetes])
def test_clean_sets_need_no_more_examples(load):
    data = load()
    found = learning_curve(data.data, data.target, kind="numbers" if load is load_diabetes else "classes")
    assert not found.still_gains
    assert found.errors[-1] < found.errors[0]
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_many_features_and_few_examples_want_more(kind):
    x = RNG.normal(size=(900, 150))
    y = x @ RNG.normal(size=150)
    found = learning_curve(x, (y > 0).astype(int) if kind == "classes" else y + 8 * RNG.normal(size=900), kind=kind)
    assert found.still_gains
    assert found.learner in ("linear", "reference")
    assert found.slope < -0.2
    assert found.examples == (75, 150, 300, 600)


def test_noise_does_not_gain():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        found = learning_curve(rng.normal(size=(400, 4)), rng.integers(0, 2, 400), kind="classes", seed=seed)
        assert not found.still_gains
        assert found.errors[-1] > 0.8


def test_equal_seeds_agree():
    x, y = load_iris(return_X_y=True)
    first, second = (learning_curve(x, y, kind="classes", seed=1) for _ in range(2))
    assert first.errors == second.errors


def test_too_few_examples_and_odd_values():
    assert learning_curve(np.zeros((59, 2)), np.zeros(59), kind="classes") is None
    assert learning_curve(np.zeros((0, 2)), np.zeros(0), kind="numbers") is None
    for x in (np.zeros((80, 2)), np.full((80, 2), np.nan)):
        assert not learning_curve(x, np.arange(80) % 2, kind="classes").still_gains
        assert not learning_curve(x, np.zeros(80), kind="numbers").still_gains


def test_imbalance_against_scikit_learn():
    y = np.repeat([0, 1, 2], [80, 15, 5])
    outputs = RNG.normal(size=(100, 3)) + 2 * np.eye(3)[y] + [2, 0, 0]
    found = imbalance(y, outputs)
    said = outputs.argmax(1)
    assert found.counts == (80, 15, 5)
    assert found.ratio == 16
    assert found.recalls == pytest.approx(recall_score(y, said, average=None))
    assert found.balanced == pytest.approx(balanced_accuracy_score(y, said))
    assert found.aucs == pytest.approx([roc_auc_score(y == k, outputs[:, k]) for k in range(3)])
    assert found.accuracy == pytest.approx((said == y).mean())
    assert found.is_harmed
    assert not imbalance(y, np.eye(3)[y]).is_harmed


def test_a_majority_answer_is_harm_and_a_constant_one_is_told_apart():
    y = np.repeat([0, 1], [90, 10])
    scores = np.c_[np.full(100, 3.0), y + 0.1 * RNG.normal(size=100)]
    found = imbalance(y, scores)
    assert found.answered == (100, 0)
    assert found.is_harmed
    assert found.aucs[1] == 1
    assert not found.is_constant
    flat = imbalance(y, np.zeros((100, 2)))
    assert flat.is_constant
    assert flat.mean_auc == 0.5


def test_one_score_an_example():
    assert imbalance(np.array([0, 1, 1]), np.array([-2.0, 1, -1])).recalls == (1, 0.5)
    assert imbalance(np.array([0, 1, 1]), np.array([[0.2], [0.9], [0.4]])).recalls == (1, 0.5)


def test_classes_without_examples_and_missing_scores():
    found = imbalance(np.array([0, 0, 2]), np.array([[1, 0, 0], [np.nan, 1, 0], [0, 0, 5.0]]))
    assert found.recalls == (0.5, None, 1)
    assert found.aucs[1] is None
    assert imbalance(np.zeros(0), np.zeros((0, 3))).accuracy == 0
    assert imbalance(np.array([0, 3]), np.array([[1.0, 0], [0, 1]])).counts == (1, 0, 0, 1)
