"""Moments in time: cells of a table as milliseconds since 1970, whatever way they are written."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.data.tables.cells import LONGEST, MONTHS, Column, date_form, dates, numbers

DAY = 86_400_000
"""Milliseconds of a day."""
TIME_NAME = re.compile(
    r"time|date|month|year|quarter|week|timestamp|period|epoch|(^|[^a-z])(ds|ts|t|yr|day|hour)([^a-z]|$)|日期|时间|年|月|日",
    re.IGNORECASE,
)
"""Names of columns that speak of time."""
COUNT_NAME = re.compile(r"t|time|time[ _-]?(step|stamp|index)|step|ds|ts", re.IGNORECASE)
"""Names under which plain numbers are moments."""
ID_NAME = re.compile(r"(^|[^a-z])(id|no|nr|index|key|code|number)([^a-z]|$)|编号|序号", re.IGNORECASE)

_MONTH = "(?P<name>" + "|".join(MONTHS) + r")[a-z]*\.?"
_YEAR = r"(?P<year>\d{4})"
_PERIODS: dict[str, Callable[[str], re.Match[str] | None]] = {
    name: re.compile(form, re.ASCII | re.IGNORECASE).fullmatch
    for name, form in {
        "year quarter": _YEAR + r"[-\s/.]?Q(?P<quarter>[1-4])",
        "quarter year": r"Q(?P<quarter>[1-4])[-\s/.]?" + _YEAR,
        "year week": _YEAR + r"-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?",
        "month name year": _MONTH + r"[-\s/.,]*(?:" + _YEAR + r"|(?P<short>\d{2}))",
        "year month name": _YEAR + r"[-\s/.,]*" + _MONTH,
        "month year": r"(?P<month>0?[1-9]|1[0-2])[-/.]" + _YEAR,
        "year m month": _YEAR + r"[-\s]?M(?P<month>0?[1-9]|1[0-2])",
    }.items()
}
_DATES = ("ymd", "d month y", "month d y", "dmy", "mdy")
_FRACTION = re.compile(r":\d{2}[.,](\d{1,9})", re.ASCII).search


@dataclass(frozen=True)
class Moments:
    """A column as moments: milliseconds since 1970-01-01 UTC, float64, NaN where a cell is none."""

    ticks: np.ndarray
    form: str
    """How most cells are written; `number` for plain numbers, whose ticks count units of one."""
    other: int = 0
    """How many cells are written in another form than most."""

    @property
    def share(self) -> float:
        """The share of cells that are moments."""
        return float(np.isfinite(self.ticks).mean()) if len(self.ticks) else 0.0


def moments(cells: Sequence[Any] | np.ndarray, name: str = "", first: bool = False) -> list[Moments]:
    """The ways in which a column can be read as moments, the likeliest first; none where it is no time at all.

    Two ways come back where day and month could be swapped. `name` and `first` (the first column of its table)
    decide for bare numbers, which can be years (1949), seconds or milliseconds since 1970, or counted steps.
    """
    column = Column.of(cells)
    if not column.present:
        return []
    if np.isfinite(numbers(column.values[:200])).mean() > 0.5:
        return _of_numbers(column, name, first)
    form, swapped = date_form(column.values, column.counts)
    sample = column.values[:200]
    period = max(_PERIODS, key=lambda way: int(np.isfinite(_by_period(sample, way)).sum()))
    periods = int(np.isfinite(_by_period(sample, period)).sum())
    if periods > (int(np.isfinite(dates(sample, form)).sum()) if form else 0):
        return [_spread(column, _by_period(column.values, period), period, _DATES)]
    if not form:
        return []
    ways = [form, "dmy" if form == "mdy" else "mdy"] if swapped else [form]
    return [_spread(column, _dated(column.values, way), way, [other for other in _DATES if other != way])
            for way in ways]  # fmt: skip


def _spread(column: Column, by_value: np.ndarray, form: str, others: Sequence[str]) -> Moments:
    """One tick a row; values that are not of the chosen form are tried in the others."""
    strange = ~np.isfinite(by_value)
    if strange.any() and not strange.all():
        left = [value for value, odd in zip(column.values, strange, strict=True) if odd]
        found = np.full(len(left), np.nan)
        for way in (*others, *_PERIODS):
            more = _by_period(left, way) if way in _PERIODS else _dated(left, way)
            found = np.where(np.isfinite(found), found, more)
        by_value[strange] = found
    return Moments(column.spread(by_value, np.nan), form, int(column.counts[strange & np.isfinite(by_value)].sum()))


def _dated(values: Sequence[str], form: str) -> np.ndarray:
    """Dates and times of day as milliseconds, fractions of a second included."""
    parts = (_FRACTION(value) if len(value) <= LONGEST and ":" in value else None for value in values)
    fraction = np.fromiter((float(f"0.{part[1]}") if part else 0.0 for part in parts), np.float64, len(values))
    return np.rint(dates(values, form) * DAY + 1000 * fraction)


def _by_period(values: Sequence[str], form: str) -> np.ndarray:
    """Months, quarters and weeks by their first day."""
    found = (_PERIODS[form](value) if len(value) <= LONGEST else None for value in values)
    return np.fromiter((_period(each) for each in found), np.float64, len(values))


def _period(found: re.Match[str] | None) -> float:
    if found is None:
        return np.nan
    parts = found.groupdict()
    short = int(parts.get("short") or 0)
    year = int(parts["year"]) if parts.get("year") else short + (1900 if short > 68 else 2000)
    if year < 1:
        return np.nan
    if parts.get("week"):
        return _week(year, int(parts["week"]), int(parts.get("weekday") or 1))
    if parts.get("quarter"):
        month = 3 * int(parts["quarter"]) - 2
    else:
        month = MONTHS[parts["name"][:3].lower()] if parts.get("name") else int(parts["month"])
    return float(np.datetime64(f"{year:04d}-{month:02d}-01", "ms").astype(np.int64))


def _week(year: int, week: int, weekday: int) -> float:
    """The given day of an ISO week; NaN where the year has no such week."""
    from datetime import date

    try:
        return float((date.fromisocalendar(year, week, weekday).toordinal() - date(1970, 1, 1).toordinal()) * DAY)
    except ValueError:
        return np.nan


def _of_numbers(column: Column, name: str, first: bool) -> list[Moments]:
    """Bare numbers: dates without marks (20160701, 201607), years, seconds since 1970, or counted steps."""
    values = numbers(column.values)
    finite = values[np.isfinite(values)]
    named = bool(TIME_NAME.search(name)) or (first and not ID_NAME.search(name))
    whole = bool((finite == np.rint(finite)).all())
    low, high = float(finite.min()), float(finite.max())
    found: np.ndarray | None = None
    form = ""
    if whole and low >= 15_000_101 and high <= 22_001_231:
        form, found = "compact", np.rint(dates([value.split(".")[0] for value in column.values], "compact") * DAY)
    elif whole and named and low >= 150_001 and high <= 220_012:
        form, found = "year month", _months(values)
    elif whole and named and low >= 1500 and high <= 2200:
        form, found = "year", _months(100 * values + 1)
    elif whole and named and low >= 100_000_000 and high < 100_000_000_000:
        form, found = "seconds", values * 1000
    elif whole and named and low >= 100_000_000_000 and high < 100_000_000_000_000:
        form, found = "milliseconds", values
    elif COUNT_NAME.fullmatch(name.strip()):
        form, found = "number", values
    if found is None or not np.isfinite(found).any():
        return []
    return [Moments(column.spread(found, np.nan), form)]


def _months(values: np.ndarray) -> np.ndarray:
    """Numbers such as 194901 as the first of that month; NaN for a month that is none."""
    good = np.isfinite(values) & (np.mod(values, 100) >= 1) & (np.mod(values, 100) <= 12)
    safe = np.where(good, values, 197_001).astype(np.int64)
    months = (safe // 100 - 1970) * 12 + safe % 100 - 1
    return np.where(good, months.astype("datetime64[M]").astype("datetime64[ms]").astype(np.float64), np.nan)
