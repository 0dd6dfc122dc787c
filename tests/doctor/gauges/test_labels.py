"""Estimates and rankings of wrong labels, on labels made wrong."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_moons

from netwright.doctor.gauges.labels import confident_joint, label_errors, levelling, margins


def flipped(y, share, seed=1):
    """`y` with a share of labels moved to another class, and where."""
    rng = np.random.default_rng(seed)
    count = y.max() + 1
    wrong = rng.choice(len(y), round(share * len(y)), replace=False)
    made = y.copy()
    made[wrong] = (made[wrong] + rng.integers(1, count, len(wrong))) % count
    return made, set(wrong.tolist())


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
def test_clean_sets_stay_below_three_per_cent(load):
    data = load()
    found = label_errors(data.data, data.target)
    assert found.share < 0.03
    assert found.low < 0.01


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_planted_wrong_labels_in_digits_are_counted_and_ranked(share):
    data = load_digits()
    y, wrong = flipped(data.target, share)
    found = label_errors(data.data, y)
    assert found.share == pytest.approx(share, abs=0.02)
    assert found.low <= share <= found.high
    top = found.suspects[: min(len(wrong), 300)]
    hits = [suspect.index in wrong for suspect in top]
    assert np.mean(hits) > 0.9
    assert np.mean(hits[: len(hits) // 2]) > 0.97
    right = [suspect.likelier == data.target[suspect.index] for suspect in top]
    assert np.mean(right) > 0.9
    assert all(suspect.given == y[suspect.index] for suspect in top)


def test_overlapping_classes_are_not_called_wrong_labels():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1500)
    x = rng.normal(size=(1500, 2)) + np.array([2.0, 0]) * y[:, None]
    found = label_errors(x, y)
    assert found.disagree > 0.12
    assert found.joint > 0.05
    assert found.share < 0.03
    wrong = label_errors(x, flipped(y, 0.15)[0])
    assert wrong.low > 0.03
    assert wrong.share == pytest.approx(0.15, abs=0.06)


def test_without_signal_nothing_is_claimed():
    rng = np.random.default_rng(0)
    found = label_errors(rng.normal(size=(600, 5)), rng.integers(0, 2, 600))
    assert found.low == 0


def test_labels_may_be_any_numbers_and_the_order_of_suspects_is_by_confidence():
    x, y = make_moons(400, noise=0.1, random_state=0)
    y, wrong = flipped(y, 0.1)
    found = label_errors(x, y * 7 - 3)
    assert {suspect.given for suspect in found.suspects} == {-3, 4}
    gaps = [suspect.confidence - suspect.other for suspect in found.suspects]
    assert gaps == sorted(gaps)
    assert sum(suspect.index in wrong for suspect in found.suspects[:30]) > 27


def test_confident_joint_by_hand():
    shares = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.05, 0.95]])
    given = np.array([0, 0, 0, 1, 1, 1])
    # mean own belief: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6, class 1 (0.9 + 0.6 + 0.95) / 3 = 0.8167
    # counted: rows 0 and 1 as 0; row 2 reaches neither bar (0.2, 0.8); rows 3 and 5 as 1; row 4 not
    assert confident_joint(shares, given) == pytest.approx(np.array([[0.5, 0], [0, 0.5]]))
    shares[2] = [0.1, 0.9]
    # now the bar of class 0 is 0.5667, and row 2 counts as 1: rows scaled to 3 of 6 examples each
    assert confident_joint(shares, given) == pytest.approx(np.array([[2, 1], [0, 3]]) / np.array([[6], [6]]))


def test_the_level_of_contradictions_is_found_from_its_own_model():
    rng = np.random.default_rng(0)
    margin = rng.exponential(2, 6000)
    for share in (0.0, 0.08):
        chance = share + (1 - 2 * share) / (1 + np.exp(0.2 + 1.5 * margin))
        low, middle, high = levelling(margin, rng.random(6000) < chance)
        assert low <= share <= high
        assert middle == pytest.approx(share, abs=0.015)


def test_margins_are_differences_of_logarithms():
    assert margins(np.array([[0.6, 0.3, 0.1]])) == pytest.approx([np.log(2)])


@pytest.mark.parametrize("x", [np.zeros((0, 2)), np.zeros((10, 2)), np.zeros((100, 2)), np.full((100, 2), np.nan)])
def test_too_little_to_judge(x):
    assert label_errors(x, np.zeros(len(x))) is None
    mixed = label_errors(x, np.arange(len(x)) % 2)
    assert mixed is None if len(x) < 40 else mixed.low == 0


def test_equal_seeds_agree():
    data = load_iris()
    first, second = (label_errors(data.data, data.target, seed=2) for _ in range(2))
    assert (first.share, first.suspects) == (second.share, second.suspects)
