"""Windows, splits without look-ahead, the naive error and the measured season, against plain loops."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from netwright.data.series.windows import (
    Windows,
    futures,
    measured_season,
    naive_error,
    walk_forward,
    whole_windows,
)


def test_windows_are_slices_of_the_series():
    values = torch.arange(40, dtype=torch.float32).reshape(20, 2)
    windows = Windows(values, np.array([0, 3, 9]), 5)
    assert len(windows) == 3
    taken = windows.take([2, 0])
    assert taken.shape == (2, 5, 2)
    assert torch.equal(taken[0], values[9:14])
    assert torch.equal(taken[1], values[0:5])
    assert torch.equal(windows.take(torch.tensor([1]))[0], values[3:8])
    assert windows.take([]).shape == (0, 5, 2)


def test_futures_follow_their_windows():
    assert futures(np.arange(10.0), np.array([0, 2]), 3, 2).tolist() == [[3, 4], [5, 6]]


def naive_whole(breaks, unusable, filled, window, horizon):
    good = []
    for start in range(len(breaks) - window - horizon + 1):
        span = slice(start, start + window + horizon)
        future = filled[start + window : start + window + horizon]
        if not breaks[span][1:].any() and not unusable[span].any() and future.sum() <= horizon // 4:
            good.append(start)
    return good


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("window", "horizon"), [(1, 1), (4, 1), (3, 5), (6, 8), (30, 31)])
def test_no_window_crosses_a_break_or_is_judged_by_filled_values(seed, window, horizon):
    draw = np.random.default_rng(seed)
    breaks, unusable, filled = (draw.uniform(size=60) < share for share in (0.03, 0.02, 0.2))
    starts, _ = whole_windows(breaks, unusable, filled, window, horizon)
    assert starts.tolist() == naive_whole(breaks, unusable, filled, window, horizon)


@pytest.mark.parametrize("length", [40, 61, 144, 500])
@pytest.mark.parametrize("horizon", [1, 3, 8])
@pytest.mark.parametrize(("test", "validation"), [(0.2, 0.1), (0.5, 0.3), (0.2, 0.0), (0.0, 0.1)])
def test_no_number_is_a_target_of_two_splits(length, horizon, test, validation):
    window = 4
    starts = np.delete(np.arange(length - window - horizon + 1), [2, 3])
    splits, border = walk_forward(starts, window, horizon, test, validation)
    targets = {name: {int(s) + window + h for s in starts[at] for h in range(horizon)} for name, at in splits.items()}
    order = [name for name in ("train", "validation", "test") if name in splits]
    assert set(order) == {"train"} | ({"test"} if test else set()) | ({"validation"} if validation else set())
    for before, after in pairwise(order):
        assert max(targets[before]) < min(targets[after])
    assert max(targets["train"]) < border
    assert border <= min((min(targets[name]) for name in order[1:]), default=length)
    used = sum(map(len, splits.values()))
    assert used >= len(starts) - 2 * (horizon - 1)
    if test:
        assert abs(len(splits["test"]) - test * used) <= 1 + 0.1 * horizon
    if validation:
        assert len(splits["validation"]) >= 1


def test_borders_stated_by_files_hold():
    starts = np.arange(80)
    splits, border = walk_forward(starts, 10, 3, 0.2, 0.1, {"test": 60, "validation": 50})
    assert (starts[splits["test"]] + 10).min() == 60
    assert (starts[splits["validation"]] + 10).tolist() == list(range(50, 58))
    assert (starts[splits["train"]] + 12).max() == 49
    assert border == 50


@pytest.mark.parametrize("season", [1, 3, 7])
def test_the_naive_error_is_the_mean_of_a_loop(season):
    draw = np.random.default_rng(season)
    values, known, breaks = draw.normal(size=50), draw.uniform(size=50) < 0.9, np.zeros(50, bool)
    breaks[20] = True
    errors = []
    for step in range(season, 40):
        crossed = breaks[step - season + 1 : step + 1].any()
        if known[step] and known[step - season] and not crossed:
            errors.append(abs(values[step] - values[step - season]))
    assert naive_error(values, breaks, known, 40, season) == pytest.approx(np.mean(errors), rel=1e-12)
    assert naive_error(values, breaks, known, 2, 5) == 0.0


@pytest.mark.parametrize("period", [4, 7, 12, 24])
def test_a_season_is_found_under_a_trend_and_noise(period):
    steps = np.arange(12 * period)
    values = (
        3 * np.sin(2 * np.pi * steps / period) + 0.05 * steps + np.random.default_rng(0).normal(size=len(steps)) / 3
    )
    assert measured_season(values) == period


@pytest.mark.parametrize("values", [np.zeros(100), np.full(100, 7.5), np.arange(100.0), np.ones(5), np.array([])])
def test_no_season_where_nothing_repeats(values):
    assert measured_season(values) == 1


def test_noise_has_no_season():
    found = [measured_season(np.random.default_rng(seed).normal(size=400)) for seed in range(20)]
    assert found == [1] * 20
