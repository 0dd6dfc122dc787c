"""Moments and steps: every way of writing a time, against the standard library's dates."""

import datetime as dt

import numpy as np
import pytest

from netwright.data.series.recognise import best_reading, find_time
from netwright.data.series.steps import distinct, find_grid, usual_season
from netwright.data.series.times import moments
from netwright.data.tables.columns import as_cells

UTC = dt.UTC


def ticks(*cells, name="when", first=True):
    """Milliseconds of the likeliest reading."""
    return moments(as_cells(cells), name, first)[0].ticks.tolist()


def at(*parts):
    return dt.datetime(*parts, tzinfo=UTC).timestamp() * 1000


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("1949-01", (1949, 1, 1)), ("2020-02-29", (2020, 2, 29)), ("2020-02-29 13:05:07", (2020, 2, 29, 13, 5, 7)),
        ("2020-02-29T13:05:07.250Z", (2020, 2, 29, 13, 5, 7, 250_000)),
        ("2020-01-01T00:30+01:00", (2019, 12, 31, 23, 30)),
        ("31.12.2020", (2020, 12, 31)), ("12/31/2020", (2020, 12, 31)), ("3 Mar 2021", (2021, 3, 3)),
        ("Mar 3, 2021", (2021, 3, 3)), ("2021年3月", (2021, 3, 1)), ("2021Q3", (2021, 7, 1)), ("2021-Q3", (2021, 7, 1)),
        ("Q4 2021", (2021, 10, 1)), ("2020-W53", (2020, 12, 28)), ("2021-W01-3", (2021, 1, 6)),
        ("Jan 1999", (1999, 1, 1)),
        ("Feb-70", (1970, 2, 1)), ("Feb-05", (2005, 2, 1)), ("2004 September", (2004, 9, 1)), ("7/2004", (2004, 7, 1)),
        ("1949M11", (1949, 11, 1)), ("20200229", (2020, 2, 29)), ("194911", (1949, 11, 1)), ("1949", (1949, 1, 1)),
        ("1600000000", (2020, 9, 13, 12, 26, 40)), ("1600000000000", (2020, 9, 13, 12, 26, 40)),
    ],
)  # fmt: skip
def test_a_moment_is_read_however_it_is_written(cell, moment):
    assert ticks(cell) == [at(*moment)]


@pytest.mark.parametrize("cell", ["soon", "12:30", "2021-W60", "2020-02-30", "x" * 1000, "", "3.5 m"])
def test_other_cells_are_no_moments(cell):
    found = moments(as_cells([cell]), "when", True)
    assert all(np.isnan(way.ticks).all() for way in found)


def test_typed_moments_and_missing_ones():
    cells = [dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 1, 0, 0, 0, 500_000), dt.date(2020, 1, 2)]
    first, none, half, day = ticks(*cells)
    assert (first, half - first, day - first) == (at(2020, 1, 1), 500, 86_400_000)
    assert np.isnan(none)


def test_day_and_month_are_told_apart_by_the_evener_reading():
    european = [f"01/{month:02d}/{year}" for year in (2019, 2020) for month in range(1, 13)]
    american = [f"{month:02d}/01/{year}" for year in (2019, 2020) for month in range(1, 13)]
    for cells in (european, american):
        way, grid = best_reading(moments(as_cells(cells), "when", True))
        assert grid.name == "1 month"
        assert way.ticks.tolist() == [at(year, month, 1) for year in (2019, 2020) for month in range(1, 13)]


def test_cells_in_another_form_than_most_are_read_and_counted():
    found = moments(as_cells(["2020-01-01", "2020-01-02", "3 Jan 2020", "2020-01-04"]), "when", True)[0]
    assert found.other == 1
    assert np.diff(found.ticks).tolist() == [86_400_000] * 3


@pytest.mark.parametrize(
    ("start", "step", "count", "name", "season"),
    [
        ("2020-01-01", "D", 40, "1 day", 7), ("2020-01-01T00:00", "h", 40, "1 hour", 24),
        ("2020-01-01T00:00", "m", 40, "1 minute", 60), ("2020-01-01T00:00:00", "s", 40, "1 second", 60),
        ("2020-01", "M", 40, "1 month", 12), ("2020", "Y", 40, "1 year", 0),
    ],
)  # fmt: skip
def test_the_step_and_its_season(start, step, count, name, season):
    when = (np.datetime64(start) + np.arange(count).astype(f"timedelta64[{step}]")).astype("datetime64[ms]")
    grid = find_grid(when.astype(np.float64), "ymd")
    assert (grid.name, grid.even, usual_season(grid)) == (name, 1.0, season)
    assert grid.index.tolist() == list(range(count))


@pytest.mark.parametrize(("minutes", "season"), [(5, 288), (10, 144), (15, 96), (30, 48), (2, 30), (7, 0)])
def test_the_season_of_several_minutes(minutes, season):
    grid = find_grid(np.arange(50) * minutes * 60_000.0, "ymd")
    assert (grid.name, usual_season(grid)) == (f"{minutes} minute", season)


def test_quarters_month_ends_and_weeks():
    quarters = np.array([at(2000 + i // 4, 3 * (i % 4) + 1, 1) for i in range(20)])
    ends = np.array([at(2020, month + 1, 1) - 86_400_000 for month in range(1, 12)])
    weeks = np.arange(30) * 7 * 86_400_000.0
    assert [find_grid(each, "ymd").name for each in (quarters, ends, weeks)] == ["1 quarter", "1 month", "1 week"]


def test_a_gap_is_a_jump_on_the_grid_and_jitter_is_none():
    hours = np.array([0, 1, 2, 3, 7, 8, 9, 10, 11.0]) * 3_600_000
    grid = find_grid(hours, "ymd")
    assert grid.index.tolist() == [0, 1, 2, 3, 7, 8, 9, 10, 11]
    wobble = np.random.default_rng(0).uniform(-2000, 2000, 500).round()
    grid = find_grid(np.arange(500) * 60_000.0 + wobble, "ymd")
    assert grid.index.tolist() == list(range(500))


def test_trading_days_follow_one_another_over_weekends_and_holidays():
    days = np.array([day for day in np.arange("2021-01-01", "2021-04-01", dtype="datetime64[D]") if np.is_busday(day)])
    days = np.delete(days, [10, 11])
    grid = find_grid(days.astype("datetime64[ms]").astype(np.float64), "ymd")
    assert (grid.name, usual_season(grid)) == ("1 business day", 5)
    assert grid.index.tolist() == list(range(len(days)))


def test_rows_in_the_order_of_time_each_moment_once():
    found = moments(as_cells(["2020-01-03", "2020-01-01", "never", "2020-01-03", "2020-01-02"]), "when", True)[0]
    rows, repeated = distinct(found)
    assert (rows.tolist(), repeated.tolist()) == ([1, 4, 0], [3])


def test_bare_numbers_are_moments_only_under_a_name_or_in_a_form_that_says_so():
    numbers = [str(1900 + i) for i in range(30)]
    assert find_time({"year": as_cells(numbers)})[2].name == "1 year"
    assert find_time({"id": as_cells(numbers)}) is None
    assert find_time({"x": as_cells(["a"] * 30), "size": as_cells(numbers)}) is None
    assert find_time({"x": as_cells(["a"] * 30), "t": as_cells(list(map(str, range(30))))})[2].name == "1 step"
    assert find_time({"x": as_cells(["a"] * 30), "price": as_cells(list(map(str, range(30))))}) is None
