"""A table on the even grid of its moments: numbers a step, gaps filled from the past alone or kept as breaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.data.series.recognise import EVEN, MOMENTS, best_reading, find_time, number_columns
from netwright.data.series.steps import Grid, distinct, find_grid, usual_season
from netwright.data.series.times import Moments, moments
from netwright.data.source import Problem
from netwright.data.tables.cells import Column, decimal_mark, numbers, typed_text
from netwright.errors import DataError, hint
from netwright.language import say

LEAST_EVEN = 0.5
"""A named time column is refused where fewer differences than this are one step."""
MOST_MISSING = 0.5
"""A column with a larger share of missing cells is no feature."""
MOST_LATE = 0.25
"""A column whose first number comes after this share of the steps is no feature."""
SHOWN = 5
LARGEST = 1e38
"""Numbers beyond this do not fit float32 and count as missing."""


@dataclass(frozen=True)
class Even:
    """A series on its grid: one row of numbers a step."""

    time: str
    names: list[str]
    """The columns of numbers, in the order of the table."""
    values: np.ndarray
    """float64 (steps, columns); filled from the past."""
    known: np.ndarray
    """Which numbers stood in the table, (steps, columns)."""
    breaks: np.ndarray
    """Steps before which a large gap lies."""
    unusable: np.ndarray
    """Steps at which a number is missing that nothing fills."""
    labels: np.ndarray
    """Each step's moment as the table writes it; `2020-01-05 (+1)` for the first filled step after it."""
    grid: Grid
    season: int
    """As asked for, or as the unit of time suggests; 0 where neither says."""
    places: np.ndarray
    """The step of each row that has a moment, in the order of time."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Dated:
    """The rows of a table in the order of time, each moment once."""

    time: str
    rows: np.ndarray
    ticks: np.ndarray
    grid: Grid


def dated(
    columns: Mapping[str, np.ndarray], ids: Sequence[str], time: str, name: str, problems: list[Problem]
) -> Dated:
    """The rows that have a moment, in order; what was odd about them goes to `problems`."""
    found: Moments | None
    grid: Grid | None
    chosen = find_time(columns) if not time else None
    if chosen is not None:
        time, found, grid = chosen
    else:
        time = _time(columns, time, name)
        found, grid = best_reading(moments(columns[time], time, True))
    cells = columns[time]
    if found is None:
        shown = next((str(cell) for cell in cells if cell is not None), "")
        raise DataError(say("data.time: column {name!r} of {table} holds no moments ({cell!r}, ...)",
                            name=time, table=name, cell=shown[:40]))  # fmt: skip
    rows, repeated = distinct(found)
    if grid is None or grid.even < LEAST_EVEN or len(repeated) > len(rows):
        raise DataError(_uneven(time, name, found, grid, len(rows), len(repeated)))
    problems += _odd_rows(cells, ids, time, found, rows, repeated)
    return Dated(time, rows, found.ticks[rows], grid)


def _time(columns: Mapping[str, np.ndarray], time: str, name: str) -> str:
    """The column that is named, or, uneven as it is, the first that holds moments at all."""
    if time and time not in columns:
        raise DataError(say("data.time: there is no column {name!r}.", name=time) + " " + hint(time, columns))
    if time:
        return time
    for place, (column, cells) in enumerate(columns.items()):
        if any(way.share >= 0.5 for way in moments(cells, column, place == 0)):
            return column
    text = say("{name}: no column holds moments in even steps, so it is no series; the columns are: {columns}.",
               name=name, columns=", ".join(list(columns)[:20]))  # fmt: skip
    raise DataError(text + " " + say("data.time=NAME names one."))


def _uneven(time: str, name: str, found: Moments, grid: Grid | None, rows: int, repeated: int) -> str:
    where = say("{name}, column {time!r}", name=name, time=time)
    if repeated > rows:
        text = say("{where}: {rows} moments stand in {all} rows: several series in one table.",
                   where=where, rows=rows, all=rows + repeated)  # fmt: skip
        return text + " " + say("Give each its own table.")
    if grid is None:
        return say("{where}: {rows} rows with a moment are no series", where=where, rows=rows)
    text = say("{where}: the moments lie unevenly: {share:.0%} of them are one step ({step}) apart.",
               where=where, share=grid.even, step=grid.name)  # fmt: skip
    return text + " " + say("A series needs even steps: average the rows of each day or hour first.")


def _odd_rows(
    cells: np.ndarray, ids: Sequence[str], time: str, found: Moments, rows: np.ndarray, repeated: np.ndarray
) -> list[Problem]:
    """Rows without a moment, moments twice, another order, several ways of writing."""
    where = say("column {name}", name=time)
    problems = []
    without = np.flatnonzero(~np.isfinite(found.ticks))
    if len(without):
        shown = ", ".join(f"{ids[row]} {typed_text(cells[row])!r}" for row in without[:SHOWN].tolist())
        what = say("{count} rows have no moment: {rows}", count=len(without), rows=_more(shown, len(without)))
        problems.append(Problem(where, what, say("left out")))
    if len(repeated):
        shown = ", ".join(f"{ids[row]} {typed_text(cells[row])}" for row in np.sort(repeated)[:SHOWN].tolist())
        what = say("{count} rows repeat a moment: {rows}", count=len(repeated), rows=_more(shown, len(repeated)))
        problems.append(Problem(where, what, say("the first row of each moment is kept")))
    if len(rows) > 1 and not (np.diff(rows) > 0).all():
        backwards = bool((np.diff(rows) < 0).all())
        what = say("the newest row comes first") if backwards else say("the rows do not stand in the order of time")
        problems.append(Problem(where, what, say("sorted")))
    if found.other:
        what = say("{count} moments are written in another form than most ({form})", count=found.other, form=found.form)
        problems.append(Problem(where, what, say("read all the same")))
    if found.form in ("dmy", "mdy"):
        grids = [
            find_grid(way.ticks[distinct(way)[0]], way.form) for way in moments(cells, time) if way.share >= MOMENTS
        ]
        if sum(grid is not None and grid.even >= EVEN for grid in grids) > 1:
            what = say("day and month could be swapped; read as {form}", form=found.form)
            problems.append(Problem(where, what, say("kept")))
    return problems


def _more(shown: str, count: int) -> str:
    return shown + (", ..." if count > SHOWN else "")


def evened(
    columns: Mapping[str, np.ndarray], ids: Sequence[str], found: Dated, names: Sequence[str], target: str,
    season: int, problems: list[Problem],
) -> Even:  # fmt: skip
    """Numbers a step for the columns `names`; gaps and missing cells are filled with the value before, and reported.

    Up to max(3, season / 4) steps in a row are filled; a longer gap is a break that no window crosses.
    """
    season = season or usual_season(found.grid)
    most = max(3, season // 4)
    apart = np.diff(found.grid.index)
    large = apart > most + 1
    place = np.concatenate([[0], np.cumsum(np.where(large, 1, apart))])
    steps = int(place[-1]) + 1
    raw = np.full((steps, len(names)), np.nan)
    for number, column in enumerate(names):
        raw[place, number] = _numbers(columns[column], column, ids, problems)[found.rows]
    breaks = np.zeros(steps, bool)
    breaks[place[1:][large]] = True
    known = np.isfinite(raw)
    last = np.maximum.accumulate(np.where(known, np.arange(steps)[:, None], -1), axis=0)
    values = np.where(last >= 0, np.take_along_axis(raw, np.maximum(last, 0), axis=0), 0.0)
    labels = _labels(columns[found.time][found.rows], place, steps)
    unusable = (last < 0).any(axis=1) | _long_runs(~known[:, list(names).index(target)], most)
    problems += _gaps(found, labels, place, apart, most, _without_row(steps, place))
    problems += _missing(names, known, target, most, labels, _without_row(steps, place))
    return Even(found.time, list(names), values, known, breaks, unusable, labels, found.grid, season, place)


def _without_row(steps: int, place: np.ndarray) -> np.ndarray:
    empty = np.ones(steps, bool)
    empty[place] = False
    return empty


def _numbers(cells: Any, name: str, ids: Sequence[str], problems: list[Problem]) -> np.ndarray:
    """A column as numbers, NaN where a cell is missing or none; other words are reported."""
    column = Column.of(cells)
    by_value = numbers(column.values, decimal_mark(column.values))
    by_value[np.abs(by_value) > LARGEST] = np.nan
    found = column.spread(by_value, np.nan)
    strange = np.flatnonzero((column.codes >= 0) & ~np.isfinite(found))
    if len(strange):
        shown = ", ".join(f"{ids[row]} {str(cells[row])[:40]!r}" for row in strange[:SHOWN].tolist())
        what = say("{count} cells hold no number: {rows}", count=len(strange), rows=_more(shown, len(strange)))
        problems.append(Problem(say("column {name}", name=name), what, say("taken as missing")))
    return found


def _labels(cells: np.ndarray, place: np.ndarray, steps: int) -> np.ndarray:
    """Each step's moment as it is written; steps without a row count on from the one before."""
    written = [typed_text(cell) or "" for cell in cells.tolist()]
    before = np.searchsorted(place, np.arange(steps), side="right") - 1
    beyond = np.arange(steps) - place[before]
    labels = np.empty(steps, object)
    labels[:] = [written[row] if not more else f"{written[row]} (+{more})"
                 for row, more in zip(before.tolist(), beyond.tolist(), strict=True)]  # fmt: skip
    return labels


def _long_runs(missing: np.ndarray, most: int) -> np.ndarray:
    """The steps of runs of more than `most` missing ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    found = np.zeros(len(missing), bool)
    for begin, end in edges.reshape(-1, 2)[np.diff(edges.reshape(-1, 2), axis=1)[:, 0] > most].tolist():
        found[begin:end] = True
    return found


def _gaps(
    found: Dated, labels: np.ndarray, place: np.ndarray, apart: np.ndarray, most: int, empty: np.ndarray
) -> list[Problem]:
    where = say("column {name}", name=found.time)
    problems = []
    small = np.flatnonzero((apart > 1) & (apart <= most + 1))
    large = np.flatnonzero(apart > most + 1)
    if len(small):
        shown = ", ".join(str(labels[place[row]]) for row in small[:SHOWN].tolist())
        what = say("{count} steps of {step} have no row, in {gaps} gaps (after {moments})", count=int(empty.sum()),
                   step=found.grid.name, gaps=len(small), moments=_more(shown, len(small)))  # fmt: skip
        problems.append(Problem(where, what, say("filled with the row before")))
    if len(large):
        shown = ", ".join(
            say("{steps} steps after {moment}", steps=int(apart[row]) - 1, moment=labels[place[row]])
            for row in large[:SHOWN].tolist()
        )
        what = say("{count} gaps of more than {most} steps: {gaps}", count=len(large), most=most,
                   gaps=_more(shown, len(large)))  # fmt: skip
        problems.append(Problem(where, what, say("no window crosses them")))
    return problems


def _missing(
    names: Sequence[str], known: np.ndarray, target: str, most: int, labels: np.ndarray, empty: np.ndarray
) -> list[Problem]:
    problems = []
    for number, name in enumerate(names):
        missing = ~known[:, number] & ~empty
        if missing.any():
            first = labels[int(np.argmax(missing))]
            what = say("{count} numbers are missing (the first at {moment})", count=int(missing.sum()), moment=first)
            action = say("filled with the value before")
            if name == target and _long_runs(~known[:, number], most).any():
                action = say("filled with the value before; no window holds more than {most} in a row", most=most)
            problems.append(Problem(say("column {name}", name=name), what, action))
    return problems


def features(columns: Mapping[str, np.ndarray], found: Dated, target: str, problems: list[Problem]) -> list[str]:
    """The columns that a window holds: numbers, mostly there, and from early on; the others are told."""
    chosen = number_columns(columns, found.time)
    words = [name for name in columns if name not in (*chosen, found.time, target)]
    if words:
        shown = _more(", ".join(words[:SHOWN]), len(words))
        what = say("{count} columns hold no numbers: {names}", count=len(words), names=shown)
        problems.append(Problem(found.time, what, say("left out")))
    kept = []
    for name in columns:
        if name == target or name not in chosen:
            kept += [name] if name == target else []
            continue
        there = np.isfinite(_numbers(columns[name], name, [""] * len(columns[name]), []))[found.rows]
        late = int(np.argmax(there)) if there.any() else len(there)
        if there.mean() >= 1 - MOST_MISSING and late <= MOST_LATE * len(there):
            kept.append(name)
            continue
        what = say(
            "{share:.0%} of its numbers are missing, the first {late} in a row", share=1 - there.mean(), late=late
        )
        problems.append(Problem(say("column {name}", name=name), what, say("left out")))
    return kept
