"""Embedded sets: scikit-learn's own values, and made sets against their formulas."""

import inspect

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from netwright.data.embedded import EMBEDDED, load_embedded
from netwright.data.source import Table
from netwright.errors import UsageError

MADE = {"moons": 2, "circles": 2, "spirals": 2, "xor": 2, "blobs": 3}


def points(name, **settings):
    """Points, float64 (N, F), and class numbers."""
    source = load_embedded(name, **settings)
    return source.examples.tensor.double().numpy(), source.targets.astype(int)


def test_the_names_of_the_contract_are_there():
    assert {"digits", "iris", "wine", "breast_cancer", "diabetes", *MADE} <= EMBEDDED.keys()


def test_digits_keep_their_grey_levels():
    source, found = load_embedded("digits"), datasets.load_digits()
    assert (source.kind, source.examples.tensor.shape, source.examples.tensor.dtype) == (
        "image",
        (1797, 1, 8, 8),
        torch.uint8,
    )
    assert np.array_equal(np.round(source.examples.tensor[:, 0].double().numpy() * 16 / 255), found.images)
    assert source.examples.tensor.unique().tolist() == [round(grey * 255 / 16) for grey in range(17)]
    assert source.targets.tolist() == [str(digit) for digit in found.target]
    assert source.classes == [str(digit) for digit in range(10)]
    assert (source.ids[17], len(source.ids)) == ("digits[17]", 1797)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_tables_hold_what_scikit_learn_holds(name):
    source, found = load_embedded(name), getattr(datasets, f"load_{name}")()
    assert isinstance(source.examples, Table)
    assert list(source.examples.columns) == list(found.feature_names)
    cells = np.stack([source.examples.columns[column] for column in found.feature_names], axis=1)
    assert {type(cell) for cell in cells.flat} == {float}
    assert np.array_equal(cells.astype(float), found.data)
    if name == "diabetes":
        assert source.classes is None
        assert np.array_equal(source.targets, found.target)
    else:
        assert source.classes == list(found.target_names)
        assert source.targets.tolist() == [found.target_names[number] for number in found.target]
    assert (source.ids[0], source.ids[-1]) == ("row 1", f"row {len(found.target)}")


@pytest.mark.parametrize("name", MADE)
def test_made_sets_repeat_and_grow_without_changing(name):
    few, many = load_embedded(name, examples=100), load_embedded(name, examples=301)
    assert (few.kind, few.examples.tensor.dtype) == ("vector", torch.float32)
    assert torch.equal(few.examples.tensor, many.examples.tensor[:100])
    assert few.targets.tolist() == many.targets[:100].tolist()
    assert not torch.equal(few.examples.tensor, load_embedded(name, examples=100, made_seed=1).examples.tensor)
    assert few.classes == [str(number) for number in range(MADE[name])]
    counts = np.bincount(many.targets.astype(int))
    assert counts.max() - counts.min() <= 2
    assert len(few.ids) == 100
    assert few.ids[17] == f"{name}[17]"


def test_moons_lie_on_two_half_circles():
    x, y = points("moons", noise=0.0)
    upper, lower = x[y == 0], x[y == 1]
    assert np.allclose(np.hypot(*upper.T), 1, atol=1e-6)
    assert upper[:, 1].min() >= -1e-6
    assert np.allclose(np.hypot(lower[:, 0] - 1, lower[:, 1] - 0.5), 1, atol=1e-6)
    assert lower[:, 1].max() <= 0.5 + 1e-6
    assert np.arccos(upper[:, 0]).mean() == pytest.approx(np.pi / 2, abs=0.15)  # uniform angle, 500 draws


def test_circles_have_their_radii():
    x, y = points("circles", noise=0.0)
    assert np.allclose(np.hypot(*x.T), np.where(y == 0, 1, 0.5), atol=1e-6)
    assert np.abs(x.mean(0)).max() < 0.1


@pytest.mark.parametrize("arms", [2, 5])
def test_spirals_turn_with_their_radius(arms):
    x, y = points("spirals", noise=0.0, arms=arms, turns=2.0)
    radius = np.hypot(*x.T)
    angle = 2 * np.pi * (2.0 * radius + y / arms)
    assert np.allclose(x, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-5)
    assert y.max() == arms - 1
    assert 0.05 <= radius.min() < 0.1 < 0.95 < radius.max() <= 1


def test_xor_is_the_sign_of_the_product():
    x, y = points("xor", noise=0.0)
    assert np.array_equal(y, (x.prod(1) < 0).astype(int))
    quadrants = np.bincount((x[:, 0] > 0) * 2 + (x[:, 1] > 0))
    assert quadrants.tolist() == [250] * 4
    assert np.abs(x).mean() == pytest.approx(0.5, abs=0.03)


def test_blobs_are_round_about_their_centres():
    x, y = points("blobs", examples=30_000, noise=2.0, centres=4, features=3)
    middles = np.stack([x[y == number].mean(0) for number in range(4)])
    spread = np.stack([x[y == number].std(0) for number in range(4)])
    exact, _ = points("blobs", examples=4, noise=0.0, centres=4, features=3)
    assert np.allclose(middles, exact, atol=0.1)
    assert np.allclose(spread, 2.0, rtol=0.05)
    assert np.abs(exact).max() <= 10


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "xor"])
def test_noise_has_its_deviation_and_is_not_a_copy_of_the_points(name):
    clean, y = points(name, noise=0.0, examples=4000)
    noisy, same = points(name, noise=0.5, examples=4000)
    assert np.array_equal(y, same)
    noise = noisy - clean
    assert noise.std(0) == pytest.approx([0.5, 0.5], rel=0.05)
    assert np.abs(np.corrcoef(np.hstack([noise, clean]).T)[:2, 2:]).max() < 0.06
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.06


@pytest.mark.parametrize("name", ["circles", "spirals", "xor"])
def test_made_sets_need_more_than_a_line(name):
    """The reason they exist: a linear model guesses, neighbours do not."""
    x, y = points(name)
    assert LogisticRegression().fit(x[:800], y[:800]).score(x[800:], y[800:]) < 0.7
    assert KNeighborsClassifier().fit(x[:800], y[:800]).score(x[800:], y[800:]) > 0.85


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("iriss", {}, "Did you mean 'iris'"),
        ("moons", {"example": 5}, "no setting 'example'. Did you mean 'examples'"),
        ("moons", {"examples": 1}, "examples = 1; it lies between 2 and"),
        ("moons", {"examples": 10.5}, "a whole number"),
        ("moons", {"noise": -0.1}, "noise = -0.1; it lies between 0 and 10"),
        ("moons", {"noise": float("nan")}, "noise = nan"),
        ("moons", {"made_seed": -1}, "made_seed = -1"),
        ("spirals", {"arms": 1}, "arms = 1"),
        ("digits", {"examples": 10}, "no setting 'examples'"),
    ],
)
def test_wrong_names_and_settings_are_refused(name, settings, reason):
    with pytest.raises(UsageError, match=reason):
        load_embedded(name, **settings)


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_set_says_what_it_is(name):
    text = inspect.getdoc(EMBEDDED[name])
    assert "Source:" in text or "Formula:" in text
    assert len(text.splitlines()[0]) > 40
