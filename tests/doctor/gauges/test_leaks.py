"""Duplicates, near duplicates, telling features and slipped pairings, planted and in clean sets."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.metrics import roc_auc_score

from netwright.doctor.gauges.leaks import alignment, auc, duplicates, leaks, marks, near_duplicates, telling_columns

RNG = np.random.default_rng(0)
SETS = [load_iris, load_wine, load_breast_cancer, load_digits, load_diabetes]


def parts(load, seed=0):
    data = load()
    order = np.random.default_rng(seed).permutation(len(data.data))
    cut = len(order) * 3 // 4
    x, y = data.data[order], data.target[order]
    return x[:cut], y[:cut], x[cut:], y[cut:], "numbers" if load is load_diabetes else "classes"


@pytest.mark.parametrize("load", SETS)
def test_clean_sets_leak_nothing(load):
    *rest, kind = parts(load)
    found = leaks(*rest, kind=kind)
    assert found.duplicates.across == 0
    assert not found.near.has_excess
    assert found.telling == ()
    json.dumps(found.to_json(), allow_nan=False)


def test_planted_copies_are_found_with_their_places():
    x, y, other, y_other, _ = parts(load_digits)
    other[:20], y_other[:20] = x[100:120], y[100:120]
    y_other[0] = (y_other[0] + 1) % 10
    found = duplicates(x, y, other, y_other)
    assert found.across == 20
    assert found.has_excess
    assert found.pairs == tuple((i, i + 100) for i in range(20))
    assert found.torn == 1
    assert found.by_chance == 0
    again = duplicates(np.concatenate([x, x[:7]]), np.concatenate([y, y[:7]]), other.astype(np.float32), None)
    assert again.within == 7
    assert again.across == 20


def test_coincidences_of_few_values_are_expected():
    x = RNG.integers(0, 2, (400, 3)).astype(float)
    found = duplicates(x[:300], None, x[300:], None)
    assert found.across_share == 1
    assert found.by_chance == 1
    assert not found.has_excess


def test_zeros_and_missing_values_have_one_mark():
    assert len(set(marks(np.array([[0.0, np.nan], [-0.0, -np.nan]])))) == 1
    assert len(set(marks(np.array([[0.0, 1], [1, 0]])))) == 2


def test_nearly_equal_examples_are_found():
    x, _, other, _, _ = parts(load_digits)
    other[:40] = x[100:140] + 0.05 * x.std(0) * RNG.normal(size=(40, 64))
    found = near_duplicates(x, other)
    assert found.has_excess
    assert found.expected < 0.01
    assert all(b == a + 100 for a, b in found.pairs)
    assert found.share == 40 / len(other)


@pytest.mark.parametrize("load", SETS)
def test_a_planted_leak_is_the_only_telling_feature(load):
    x, y, _, _, kind = parts(load)
    scrambled = (y * 7 + 3) % 10 if kind == "classes" else y
    leak = scrambled + 0.02 * y.std() * RNG.normal(size=len(y))
    found = leaks(np.insert(x, 2, leak, axis=1), y, kind=kind)
    assert [column.feature for column in found.telling] == [2]


def test_a_constant_feature_before_it_does_not_move_its_number():
    y = RNG.integers(0, 2, 200)
    x = np.c_[np.ones(200), RNG.normal(size=200), np.full(200, np.nan), y]
    best = telling_columns(x, y, kind="classes")[0]
    assert (best.feature, best.auc, best.skill) == (3, 1, 1)


def test_groups_and_times():
    x = RNG.normal(size=(60, 2))
    found = leaks(
        x[:40], np.zeros(40), x[40:], np.zeros(20), kind="classes",
        groups=np.arange(40), groups_validation=np.arange(35, 55),
        times=np.arange(40), times_validation=np.arange(30, 50),
    )  # fmt: skip
    assert found.group_share == 5 / 20
    assert found.early_share == 10 / 20


def test_auc_is_that_of_scikit_learn():
    truth, scores = RNG.integers(0, 2, 200), RNG.integers(0, 9, 200) / 9
    assert auc(scores, truth == 1) == pytest.approx(roc_auc_score(truth, scores))
    assert auc(scores, np.zeros(200, dtype=bool)) is None


LONG = [pytest.param(load, marks=pytest.mark.slow) for load in SETS if load not in (load_digits, load_diabetes)]


@pytest.mark.parametrize("load", [load_digits, load_diabetes, *LONG])
def test_slipped_pairings_are_named(load):
    x, y, _, _, kind = parts(load)
    assert alignment(x, y, kind=kind).found == "given"
    assert alignment(x[1:], y[:-1], kind=kind).found == "lag 1"
    assert alignment(x[:-3], y[3:], kind=kind).found == "lag -3"
    assert alignment(x, y[::-1], kind=kind).found == "reversed"
    found = alignment(x, np.random.default_rng(1).permutation(y), kind=kind)
    assert found.found == "none"
    assert not found.has_signal


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (3, 2), (30, 3), (50, 0), (12,)])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_odd_shapes_are_survived(shape, kind):
    for x in (np.zeros(shape), np.full(shape, np.nan), np.full(shape, np.inf)):
        for y in (np.zeros(shape[0]), np.arange(shape[0])):
            found = leaks(x, y, x, y, kind=kind)
            assert found.telling == ()
            assert alignment(x, y, kind=kind).found == "none"
