"""Sample and class weights of the estimators: a weight counts like copies, in the scaling, the loss and the batches."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler
from torch import nn

from netwright.estimators import NetClassifier, NetRegressor
from netwright.estimators.rows import Rows, Scaling, copies


def table(rows: int, **settings):
    X, y = make_classification(2 * rows, 20, flip_y=0.2, random_state=0, **settings)
    return X[:rows], y[:rows], X[rows:], y[rows:]


def test_2000_rows_with_whole_weights_equal_copied_rows():
    X, y, other, _ = table(2000)
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    weighted = NetClassifier(epochs=10).fit(X, y, weights).predict_proba(other)
    copied_X, copied_y = X.repeat(weights, 0), y.repeat(weights)
    copied = NetClassifier(epochs=10).fit(copied_X, copied_y).predict_proba(other)
    np.testing.assert_allclose(weighted, copied, atol=1e-12)
    order = np.random.default_rng(2).permutation(len(copied_y))  # copies that do not stand together
    shuffled = NetClassifier(epochs=10).fit(copied_X[order], copied_y[order]).predict_proba(other)
    assert abs(weighted - shuffled).mean() <= 0.02


def test_2000_rows_with_broken_weights_agree_with_their_copies_on_average():
    X, y, other, _ = table(2000)
    weights = np.random.default_rng(1).integers(1, 4, len(X))
    halved = NetClassifier(epochs=10).fit(X, y, weights / 2).predict_proba(other)
    copied = NetClassifier(epochs=10).fit(X.repeat(weights, 0), y.repeat(weights)).predict_proba(other)
    assert abs(halved.mean(0) - copied.mean(0)).max() <= 0.02
    assert abs(halved - copied).mean() > 0  # a half is no number of copies


def test_rows_of_weight_zero_and_rows_that_are_not_there_give_equal_bits():
    X, y, other, _ = table(400)
    weights = (np.arange(400) % 3 > 0).astype(float)
    zero = NetClassifier(epochs=3).fit(X, y, weights)
    gone = NetClassifier(epochs=3).fit(X[weights > 0], y[weights > 0])
    np.testing.assert_array_equal(zero.predict_proba(other), gone.predict_proba(other))


def test_one_weighted_step_is_the_closed_form():
    """W - lr * 2/n sum_i v_i (W x_i - t_i) x_i, with weights v of mean 1."""
    rng = np.random.default_rng(0)
    X, y, weights = rng.normal(size=(12, 3)), rng.normal(size=12), rng.uniform(0.1, 3, 12)
    line = nn.Linear(3, 1, bias=False).double()
    before = line.weight.detach().numpy().copy()
    model = NetRegressor(
        line, optimizer="sgd", lr=0.1, schedule="constant", epochs=1, standardize=False
    ).fit(X, y, weights)  # fmt: skip
    share = weights / weights.mean()
    wanted = before - 0.1 * 2 / 12 * (share * (X @ before[0] - y)) @ X
    np.testing.assert_allclose(model.network_.weight.detach().numpy(), wanted, rtol=1e-12)
    np.testing.assert_array_equal(line.weight.detach().numpy(), before)  # the module given stays as it was
    assert model.loss_curve_ == pytest.approx([(share * (X @ before[0] - y) ** 2).mean()])


def test_balanced_classes_are_weights_of_rows_over_classes_times_share():
    X, y, other, _ = table(120, weights=[0.8])
    counts = np.bincount(y)
    model = NetClassifier(epochs=20, standardize=False)  # a scaling knows sample weights, but not class weights
    by_hand = clone(model).fit(X, y, (len(y) / (2 * counts))[y]).predict_proba(other)
    for weight in ("balanced", {0: 1.0, 1: counts[0] / counts[1]}):
        found = clone(model).set_params(class_weight=weight).fit(X, y).predict_proba(other)
        np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    assert by_hand[:, 1].mean() > model.fit(X, y).predict_proba(other)[:, 1].mean() + 0.05


def test_balanced_counts_of_weighted_rows_are_those_of_their_copies():
    X, y, other, _ = table(100, weights=[0.8])
    weights = np.arange(100) % 3
    model = NetClassifier(epochs=10, class_weight="balanced")
    weighted = clone(model).fit(X, y, weights).predict_proba(other)
    copied = clone(model).fit(X.repeat(weights, 0), y.repeat(weights)).predict_proba(other)
    np.testing.assert_allclose(weighted, copied, rtol=1e-7)


def test_weighted_scaling_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X, weights = rng.normal(3, [1, 10, 0], (50, 3)), rng.uniform(0, 2, 50)
    ours, theirs = Scaling.fit(X, weights), StandardScaler().fit(X, sample_weight=weights)
    np.testing.assert_allclose(ours.apply(X), theirs.transform(X), atol=1e-12)
    np.testing.assert_allclose(ours.undo(ours.apply(X)), X)


def test_pictures_share_one_mean_and_deviation_for_each_channel():
    X = np.random.default_rng(0).normal([[1] * 6 + [50] * 6], [[1] * 6 + [9] * 6], (40, 12))
    scaled = Scaling.fit(X, None, runs=2).apply(X)
    for channel in (scaled[:, :6], scaled[:, 6:]):
        assert channel.mean() == pytest.approx(0, abs=1e-12)
        assert channel.std() == pytest.approx(1)
    np.testing.assert_allclose(scaled[:, :6], (X[:, :6] - X[:, :6].mean()) / X[:, :6].std())


@pytest.mark.parametrize(
    ("weights", "size", "sizes"),
    [([1] * 7, 3, [3, 4]), ([2, 3, 0, 3], 3, [3, 3, 2]), ([1] * 5, 5, [5]), ([1], 9, [1]), ([3, 1], 9, [4])],
)
def test_an_epoch_holds_every_row_as_often_as_its_weight_says(weights, size, sizes):
    places = torch.arange(len(weights))
    rows = Rows(places[:, None].float(), places, None, copies(np.array(weights, float)), size, seed=3)
    batches = list(rows.epoch(1))
    assert [len(batch) for batch in batches] == sizes
    assert rows.per_epoch == len(sizes)
    assert torch.cat([batch.targets for batch in batches]).bincount(minlength=len(weights)).tolist() == weights
    assert all((batch.targets.numpy() == batch.examples).all() for batch in batches)
    later = [batch.targets.tolist() for batch in rows.epoch(1, start=sizes[0])]
    assert later == [batch.targets.tolist() for batch in batches[1:]]


def test_copies_are_for_whole_weights_of_modest_size():
    assert copies(np.array([2.0, 0.0, 1.0])).tolist() == [0, 0, 2]
    assert copies(np.array([0.5, 1.0])) is None
    assert copies(np.array([1e6, 1.0])) is None
    assert copies(None) is None
