"""Baselines of a forecast against plain loops, scikit-learn and a process whose best forecast is known."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from netwright.data.embedded import load_embedded
from netwright.errors import UsageError
from netwright.report.baselines.forecasting import (
    forecast_baselines,
    last_value,
    linear_autoregression,
    seasonal_naive,
)

DRAW = np.random.default_rng(0)


def test_the_last_value_stays():
    x = DRAW.normal(size=(5, 7, 3)).astype(np.float32)
    found = last_value(x, 4, 1)
    assert found.shape == (5, 4)
    assert np.array_equal(found, np.stack([x[:, -1, 1]] * 4, axis=1))


@pytest.mark.parametrize(("season", "horizon"), [(1, 3), (3, 2), (3, 3), (3, 8), (7, 20)])
def test_the_last_season_comes_again(season, horizon):
    x = DRAW.normal(size=(4, 7, 2)).astype(np.float32)
    found = seasonal_naive(x, horizon, season, 0)
    for example in range(4):
        longer = x[example, :, 0].tolist()
        for step in range(horizon):
            longer.append(longer[-season])
            assert found[example, step] == longer[-1]


@pytest.mark.parametrize("season", [0, 8])
def test_a_season_longer_than_the_window_is_refused(season):
    with pytest.raises(UsageError, match=f"season {season} does not fit a window of 7 steps"):
        seasonal_naive(DRAW.normal(size=(4, 7, 2)), 3, season, 0)


def test_the_linear_model_is_ridge_on_the_standardised_window():
    x, y, more = DRAW.normal(3, 9, size=(60, 5, 2)), DRAW.normal(size=(60, 3)), DRAW.normal(size=(9, 5, 2))
    reference = make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(x.reshape(60, -1), y)
    assert linear_autoregression(x, y, more) == pytest.approx(reference.predict(more.reshape(9, -1)), rel=1e-8)


def test_columns_that_do_not_vary_count_nothing():
    x, y = DRAW.normal(size=(60, 5, 2)), DRAW.normal(size=(60, 3))
    still = np.concatenate([x, np.full((60, 5, 1), 1e9)], axis=2)
    moved = np.concatenate([x, np.full((60, 5, 1), -3.0)], axis=2)
    assert linear_autoregression(still, y, moved) == pytest.approx(linear_autoregression(x, y, x), rel=1e-8)
    flat = linear_autoregression(np.ones((6, 2, 1)), np.arange(12.0).reshape(6, 2), np.ones((3, 2, 1)))
    assert np.array_equal(flat, [[5, 6]] * 3)


def test_all_by_name_and_the_season_only_where_it_fits():
    x, y, more = DRAW.normal(size=(60, 5, 2)), DRAW.normal(size=(60, 3)), DRAW.normal(size=(9, 5, 2))
    for season, names in (
        (3, ["last_value", "seasonal_naive", "linear_autoregression"]),
        (1, ["last_value", "linear_autoregression"]),
        (6, ["last_value", "linear_autoregression"]),
    ):
        found = forecast_baselines(x, y, more, season, 1)
        assert list(found) == names
        assert {each.shape for each in found.values()} == {(9, 3)}
    assert list(forecast_baselines(x[:0], y[:0], more, 1, 0)) == ["last_value"]
    assert {each.shape for each in forecast_baselines(x, y, more[:0], 3, 0).values()} == {(0, 3)}


def test_on_a_known_process_the_linear_model_comes_near_the_best_forecast():
    source = load_embedded("ar", steps=6000)
    train, test = source.given["train"], source.given["test"]
    take = source.examples.take
    found = forecast_baselines(take(train).numpy(), source.targets[train], take(test).numpy(), 12, 0)
    errors = {name: np.abs(each - source.targets[test]).mean() for name, each in found.items()}
    past = take(test)[:, :, 0].double().numpy()
    best = np.abs(1.5 * past[:, -1] - 0.75 * past[:, -2] - source.targets[test][:, 0]).mean()
    assert best == pytest.approx(np.sqrt(2 / np.pi), rel=0.05)
    assert best <= errors["linear_autoregression"] < 1.02 * best
    assert errors["last_value"] > 1.4 * best
    assert errors["seasonal_naive"] > errors["last_value"]


def test_later_windows_change_no_earlier_prediction():
    """S-009: what is tested last does not reach what is tested first."""
    x, y, more = DRAW.normal(size=(60, 5, 2)), DRAW.normal(size=(60, 3)), DRAW.normal(size=(9, 5, 2))
    changed = np.concatenate([more[:4], 1e6 * more[4:]])
    for name, found in forecast_baselines(x, y, more, 3, 0).items():
        assert np.array_equal(found[:4], forecast_baselines(x, y, changed, 3, 0)[name][:4]), name
