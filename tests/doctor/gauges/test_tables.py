"""The scan of examples, targets, order, layout and splits, on planted and on clean numbers."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from netwright.doctor.gauges.layouts import layout
from netwright.doctor.gauges.shifts import shift
from netwright.doctor.gauges.tables import scan
from netwright.doctor.gauges.target_scan import entropy, order_of, scan_targets

RNG = np.random.default_rng(0)


def test_statistics_by_hand():
    x = np.array([[1.0, 10, 5], [3, 30, 5], [np.nan, 20, 5], [2, np.inf, 5]])
    found = scan(x)
    assert found.non_finite == 2
    assert found.non_finite_rows == (2, 3)
    assert found.non_finite_features == (0, 1)
    assert found.mean.tolist() == [2, 20, 5]
    assert found.std == pytest.approx([np.sqrt(2 / 3), np.sqrt(200 / 3), 0])
    assert (found.low.tolist(), found.high.tolist()) == ([1, 10, 5], [3, 30, 5])
    assert found.constants == (2,)
    assert found.scale_ratio == pytest.approx(10)
    assert found.range_ratio == pytest.approx(10)
    assert found.offset == pytest.approx(2 / np.sqrt(2 / 3))
    assert found.rms == pytest.approx(np.sqrt((14 + 1400 + 100) / 10))
    assert found.largest == 30
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits, load_diabetes])
def test_clean_sets_show_nothing(load):
    data = load()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = data.data[order], data.target[order]
    cut = len(x) * 3 // 4
    found = scan(x[:cut], y[:cut], x_validation=x[cut:], y_validation=y[cut:])
    assert found.non_finite == 0
    assert not found.sentinels
    assert found.shift.features == ()
    assert found.shift.target_mean == 0
    assert abs(found.order.agreement - found.order.chance) < 4 * found.order.error
    assert found.order.batch_entropy > 0.9 * found.order.random_entropy


def test_a_sentinel_is_found_raw_and_standardised():
    x = RNG.normal(50, 10, (1000, 3))
    x[RNG.random(1000) < 0.1, 1] = -999
    for values in (x, (x - x.mean(0)) / x.std(0)):
        (spike,) = scan(values).sentinels
        assert spike.feature == 1
        assert spike.share == pytest.approx(0.1, abs=0.03)
    money = RNG.uniform(0, 50_000, (500, 1))
    money[:50] = -999
    assert scan(money).sentinels[0].value == -999
    grades = RNG.integers(0, 4, (500, 1)).astype(float)
    grades[:50] = 99
    assert scan(grades).sentinels[0].value == 99


@pytest.mark.parametrize(
    "x",
    [
        np.eye(8)[RNG.integers(0, 8, 400)],
        RNG.integers(0, 5, (400, 2)).astype(float),
        np.clip(RNG.normal(size=(400, 2)), -1, 1),
        np.where(RNG.random((400, 2)) < 0.4, 0, np.exp(3 * RNG.normal(size=(400, 2)))),
        np.where(RNG.random((400, 64)) < 0.5, 0, RNG.integers(0, 256, (400, 64))).astype(float),
        RNG.choice([0.0, 1000.0], (400, 1), p=[0.9, 0.1]),
    ],
    ids=["one-hot", "ordinal", "clipped", "zero-inflated", "pixels", "two values"],
)
def test_natural_ends_are_no_sentinels(x):
    assert scan(x).sentinels == ()


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.arange(30) % 3, "classes"),
        (np.arange(30) % 3 * 1.0, "classes"),
        ((np.arange(30) % 2)[:, None], "classes"),
        (np.eye(3)[np.arange(30) % 3], "one-hot"),
        (np.array([[0, 1], [1, 1], [0, 0]] * 10), "labels"),
        (RNG.normal(size=30), "numbers"),
        (RNG.normal(size=(30, 2)), "numbers"),
        (np.arange(30) * 1.0, "numbers"),
        (np.arange(5000), "numbers"),
    ],
)
def test_kinds_of_targets(y, kind):
    assert scan_targets(y).kind == kind


def test_targets_by_hand():
    found = scan_targets(np.array([1, 1, 1, 1, 2, 2, 4]))
    assert found.counts == {1.0: 4, 2.0: 2, 4.0: 1}
    assert found.ratio == 4
    assert not found.from_zero
    assert scan_targets(np.array([0, 1, 2, 1])).from_zero
    numbers = scan_targets(np.array([100.5, 101.5, 102.5]))
    assert numbers.offset == pytest.approx(101.5 / np.sqrt(2 / 3))
    assert scan_targets(np.eye(3)[[0, 0, 1, 2]]).counts == {0.0: 2, 1.0: 1, 2.0: 1}


def test_sorted_classes_are_seen_and_shuffled_ones_are_not():
    y = np.repeat(np.arange(4), 100)
    found = order_of(y, "classes", batch=20)
    assert found.agreement == pytest.approx(396 / 399)
    assert found.chance == pytest.approx(0.25)
    assert found.batch_entropy == 0
    assert found.tail == pytest.approx(1 - 20 / 320)
    mixed = order_of(RNG.permutation(y), "classes", batch=20)
    assert mixed.agreement == pytest.approx(0.25, abs=4 * mixed.error)
    assert mixed.batch_entropy > 0.85
    numbers = order_of(np.sort(RNG.normal(size=400)), "numbers", batch=20)
    assert numbers.agreement > 0.95
    assert numbers.batch_entropy < 0.2
    assert order_of(RNG.normal(size=400), "numbers").batch_entropy > 0.9


def test_entropy_in_nats():
    assert entropy(np.array([[1.0, 1], [4, 0]])) == pytest.approx([np.log(2), 0])


def pictures():
    """Smooth pictures of three unlike channels."""
    grey = np.repeat(np.repeat(load_digits().images[:100], 2, 1), 2, 2)
    return np.stack([grey, 0.5 * grey, 16 - grey], 1)


def test_pictures_in_their_layout_are_smoothest():
    found = layout(pictures())
    assert found.best_layout == "given"
    assert found.ratio == 1
    assert not found.last_axis_is_channels
    assert layout(load_digits().images[:, None]).best_layout == "given"


@pytest.mark.parametrize(
    ("made", "best"),
    [
        (pictures().transpose(0, 2, 3, 1), "N H W C"),
        (pictures().transpose(0, 2, 3, 1).reshape(-1, 3, 16, 16), "memory N H W C"),
        (pictures().reshape(-1, 16, 16, 3), "memory N C H W"),
        (pictures()[:, :, :12].reshape(-1, 3, 16, 12), "memory N C W H"),
    ],
)
def test_mixed_axes_are_rougher_by_half_and_the_right_layout_is_named(made, best):
    found = layout(made)
    assert found.best_layout == best
    assert found.ratio > 2
    assert found.last_axis_is_channels == (made.shape[3] == 3)


def test_pixels_in_random_order_have_a_roughness_of_one():
    x = pictures().reshape(100, 3, -1)[:, :, RNG.permutation(256)].reshape(100, 3, 16, 16)
    assert layout(x).given == pytest.approx(1, abs=0.05)


def test_shifts_between_splits():
    x = RNG.normal(size=(800, 4))
    same = shift(x[:400], x[400:])
    assert same.features == ()
    assert same.mean == 0
    assert same.scale == 1
    moved = x[400:] * [1, 1, 3, 1] + [0, 1.5, 0, 0]
    found = shift(x[:400], moved)
    assert found.features == (1, 2)
    assert found.mean == pytest.approx(1.5, abs=0.25)
    assert found.scale == pytest.approx(3, rel=0.2)
    bytes_ = shift(x[:400], x[400:] * 255)
    assert bytes_.share == 1
    assert bytes_.usual_scale == pytest.approx(255, rel=0.1)
    assert shift(x, x[:1]) is None
    assert shift(x, x[:, :2]) is None


def test_few_validation_rows_are_given_their_chance():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert shift(rng.normal(size=(500, 50)), rng.normal(size=(8, 50))).features == ()


@pytest.mark.parametrize(
    "shape", [(0, 3), (1, 3), (5, 0), (0,), (1,), (2, 1, 1, 1), (0, 1, 8, 8), (3, 4, 5), (4, 3, 1, 9), (2, 2, 2, 2, 2)]
)
def test_odd_shapes_are_survived(shape):
    for x in (np.zeros(shape), np.full(shape, np.nan), np.full(shape, 1e300), np.ones(shape, dtype=np.uint8)):
        found = scan(x, np.zeros(shape[0]), x_validation=x, y_validation=np.zeros(shape[0]))
        assert found.examples == shape[0]
        json.dumps(found.to_json(), allow_nan=False)
    assert scan(np.zeros(3), np.full(3, np.nan)).targets.non_finite == 3
    assert scan(np.zeros(3), np.array(["a", "b", "c"])).targets is None


def test_only_a_sample_is_measured_but_every_row_is_checked():
    x = np.zeros((50_000, 20), dtype=np.float32)
    x[49_999, 3] = np.nan
    found = scan(x)
    assert (found.non_finite, found.non_finite_rows, found.non_finite_features) == (1, (49_999,), (3,))
