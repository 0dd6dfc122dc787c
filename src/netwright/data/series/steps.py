"""The step of a series: which even grid its moments lie on, and the season that such a step suggests."""

from dataclasses import dataclass

import numpy as np

from netwright.data.series.times import DAY, Moments

JITTER = 0.1
"""A difference within this share of a whole number of steps lies on the grid."""
_CLOCK = {"week": 7 * DAY, "day": DAY, "hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1}
_ROUND = {"month": 12, "quarter": 4, "week": 52, "business day": 5, "day": 7, "hour": 24, "minute": 1440, "second": 60}
"""How many of each unit make the usual season: a year, a week of days, a day of hours or minutes."""
LONGEST_SEASON = 288
"""A day of five-minute steps; finer steps take the hour or the minute."""
CLOSED = 5
"""Business days without a row (holidays) in a row at most, that are no gap: the next row is the next step."""


@dataclass(frozen=True)
class Grid:
    """Distinct moments in order on an even grid."""

    unit: str
    count: float
    """Units in a step: 15 minutes are ("minute", 15)."""
    index: np.ndarray
    """The step of each moment, int64, from 0, strictly rising; a jump is a gap."""
    even: float
    """The share of differences that are one step."""

    @property
    def name(self) -> str:
        """`1 month`, `15 minute`."""
        return f"{self.count:g} {self.unit}"


def find_grid(ticks: np.ndarray, form: str) -> Grid | None:
    """The grid of moments (finite, rising, distinct; milliseconds); None for fewer than two or no common step."""
    if len(ticks) < 2:
        return None
    if form == "number":
        return _clock(ticks, "step")
    return _months(ticks) or _business(ticks) or _clock(ticks, "")


def _months(ticks: np.ndarray) -> Grid | None:
    """Moments on one day of the month, or each on its month's last day."""
    if np.abs(ticks).max() > 60_000 * 366 * DAY:
        return None
    day = np.floor(ticks / DAY).astype("datetime64[D]")
    if len(np.unique(ticks - DAY * day.astype(np.int64))) > 1:
        return None
    month = day.astype("datetime64[M]")
    within = (day - month.astype("datetime64[D]")).astype(np.int64)
    last = (day + 1).astype("datetime64[M]") > month
    index = month.astype(np.int64)
    if (within != within[0]).any() and not last.all():
        return None
    apart = np.diff(index)
    if (apart < 1).any():
        return None
    step = _usual(apart)
    on_grid = apart % step == 0
    if not on_grid.all():
        step = int(np.gcd.reduce(apart))
    unit, months = next(each for each in (("year", 12), ("quarter", 3), ("month", 1)) if step % each[1] == 0)
    rising = (index - index[0]) // step
    return Grid(unit, step / months, rising, float((np.diff(rising) == 1).mean()))


def _business(ticks: np.ndarray) -> Grid | None:
    """One moment a day, never on Saturday or Sunday: the next row is the next step, holidays or not."""
    if np.abs(ticks).max() > 60_000 * 366 * DAY or len(ticks) < 10:
        return None
    day = np.floor(ticks / DAY).astype("datetime64[D]")
    weekday = (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    apart = np.diff(day).astype(np.int64)
    if (weekday > 4).any() or (apart < 1).any() or _usual(apart) != 1 or len(np.unique(ticks % DAY)) > 1:
        return None
    between = np.busday_count(day[:-1], day[1:])
    steps = np.where(between <= CLOSED + 1, 1, between)
    return Grid("business day", 1, np.concatenate([[0], np.cumsum(steps)]), float((between == 1).mean()))


def _clock(ticks: np.ndarray, unit: str) -> Grid | None:
    """Moments a fixed time apart, up to a little jitter."""
    apart = np.diff(ticks)
    step = float(np.median(apart))
    exact = np.rint(step) if step >= 1 else step
    if (np.abs(apart - exact) <= JITTER * exact).mean() >= 0.5:
        values, counts = np.unique(apart[np.abs(apart - exact) <= JITTER * exact], return_counts=True)
        step = float(values[counts.argmax()]) if counts.max() > 1 else step
    if step <= 0:
        return None
    steps = np.maximum(np.rint(apart / step), 1)
    if steps.sum() > 1e12:
        return None
    even = float((np.abs(apart / step - 1) <= JITTER).mean())
    count = step
    if not unit:
        unit = next(name for name, length in _CLOCK.items() if step % length == 0 or name == "millisecond")
        count = step / _CLOCK[unit]
    return Grid(unit, count, np.concatenate([[0], np.cumsum(steps)]).astype(np.int64), even)


def _usual(apart: np.ndarray) -> int:
    values, counts = np.unique(apart, return_counts=True)
    return int(values[counts.argmax()])


def usual_season(grid: Grid) -> int:
    """The season that the unit of time suggests, in steps; 0 where it suggests none.

    A year of months or quarters or weeks, a week of days, five business days, a day of hours or minutes.
    """
    around = _ROUND.get(grid.unit, 0)
    season = around / grid.count
    if grid.unit == "minute" and season > LONGEST_SEASON:
        season = 60 / grid.count
    return int(season) if season == int(season) and season >= 2 else 0


def distinct(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The rows with a moment in the order of time, the first row of each moment, and all rows that repeat one."""
    rows = np.flatnonzero(np.isfinite(moments.ticks))
    order = rows[np.argsort(moments.ticks[rows], kind="stable")]
    ticks = moments.ticks[order]
    first = np.concatenate([[True], np.diff(ticks) > 0]) if len(order) else np.zeros(0, bool)
    return order[first], order[~first]
