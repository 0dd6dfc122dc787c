"""Time series: a table with a column of moments, as windows of the past and the numbers that follow them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import torch

from netwright.catalogue import READERS, Range
from netwright.data.files.tree import Tree
from netwright.data.readers.table import TARGET_NAMES, mostly_tables, tables_in, unlabelled
from netwright.data.series.even import Dated, Even, dated, evened, features
from netwright.data.series.recognise import looks_like_series, number_columns
from netwright.data.series.windows import Windows, futures, measured_season, naive_error, walk_forward, whole_windows
from netwright.data.source import Problem, Source, Table
from netwright.data.splits import SPLIT_WORDS
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

KNOWN_TARGETS = (*TARGET_NAMES, "value", "values")
ORDER = ("train", "validation", "test")
LONGEST_HORIZON = 24
"""The horizon is the season, and at most this where none is asked for."""
Share = Annotated[float | str, Range(0, 0.9)]
Steps = Annotated[int, Range(0, 1_000_000)]


def is_series(tree: Tree) -> bool:
    """Whether the place holds a table over time, and not pictures or recordings with one beside them."""
    return mostly_tables(tree) and looks_like_series(tree)


@READERS.add(recognises=is_series, given="a time series (a table with a time column)")
def series(
    tree: Tree,
    *,
    target: str = "",
    time: str = "",
    window: Steps = 0,
    horizon: Steps = 0,
    season: Steps = 0,
    header: bool | Literal["auto"] = "auto",
    encoding: str = "auto",
    test: Share = 0.2,
    validation: Annotated[float, Range(0, 0.9)] = 0.1,
) -> Source:
    """Windows of a table over time, the future of one column as their targets, split in the order of time.

    Formula: example i holds the `window` steps before step t_i of all number columns (window, features), float32;
    its target is y_(t_i) ... y_(t_i + horizon - 1) of the column `target`, float64.

    Args: `target` names the column to forecast (default: the only one with numbers, else target, label, class, y or
    value, else the last one, which is said); `time` the column of moments; `season` counts steps (0: a year of
    months, a week of days, a day of hours ..., else by autocorrelation); `horizon` 0: the season, at most 24;
    `window` 0: twice the longer of both; `test` and `validation` are the shares of windows at the end. Gaps of up to
    max(3, season / 4) steps are filled with the row before, longer ones are never crossed; a moment that repeats
    keeps its first row. Tables named train, validation and test follow one another in time; then the first moment of
    `test` begins the test targets. Errors: DataError with column and rows; UsageError for a window that is too long.
    """
    found = unlabelled(tree, header=header, encoding=encoding)
    shares = (test if isinstance(test, float) else 0.0, validation)
    files = _split_files(tree)
    return _source(_in_turn(found) if files else found, target, time, (window, horizon, season), shares, files)


def from_table(
    table: Table,
    name: str,
    *,
    target: str = "",
    time: str = "",
    window: Steps = 0,
    horizon: Steps = 0,
    season: Steps = 0,
    test: Share = 0.2,
    validation: Annotated[float, Range(0, 0.9)] = 0.1,
) -> Source:
    """The same of a table in memory, such as a data frame's."""
    found = Source("table", name, table, None, [f"row {row}" for row in range(1, len(table) + 1)])
    shares = (test if isinstance(test, float) else 0.0, validation)
    return _source(found, target, time, (window, horizon, season), shares, False)


def _split_files(tree: Tree) -> bool:
    """Whether several tables name their splits. Errors: DataError where several tables name none."""
    names = tables_in(tree)
    if len(names) < 2:
        return False
    splits = [_split_of(name) for name in names]
    if "train" not in splits or "" in splits or len(set(splits)) < len(splits):
        text = say("{path} holds {count} tables: {names}.", path=tree.path, count=len(names),
                   names=", ".join(sorted(names)[:8]))  # fmt: skip
        raise DataError(text + "\n" + say("A series is one table, or train.csv and test.csv that follow it in time."))
    return True


@dataclass(frozen=True)
class _Lengths:
    window: int
    horizon: int
    season: int


def _source(
    found: Source, target: str, time: str, asked: tuple[int, int, int], shares: tuple[float, float], files: bool
) -> Source:
    """Sort, even out, cut and split; `found` holds the rows as they stand."""
    assert isinstance(found.examples, Table)
    columns, problems = dict(found.examples.columns), list(found.problems)
    rows = dated(columns, found.ids, time, found.name, problems)
    target = _target(columns, rows.time, target, found.name, problems)
    names = features(columns, rows, target, problems)
    even = evened(columns, found.ids, rows, names, target, asked[2], problems)
    place = even.names.index(target)
    lengths = _lengths(even, place, asked, shares)
    filled = ~even.known[:, place]
    starts, lost = whole_windows(even.breaks, even.unusable, filled, lengths.window, lengths.horizon)
    if not len(starts):
        raise _too_short(found.name, even, lengths, lost)
    if lost:
        what = say("{count} windows have filled values in more than a quarter of their targets", count=lost)
        problems.append(Problem(say("column {name}", name=target), what, say("left out")))
    borders = _borders(found, rows, even) if files else {}
    splits, border = walk_forward(starts, lengths.window, lengths.horizon, *shares, borders)
    without = next((name for name in ("test", "validation", "train") if name in splits and not len(splits[name])), "")
    if without:
        text = say("{name}: {windows} windows of {window} + {horizon} steps leave none for the split {split}.",
                   name=found.name, windows=len(starts), window=lengths.window, horizon=lengths.horizon,
                   split=without)  # fmt: skip
        raise UsageError(text + " " + say("Choose a smaller data.window or data.horizon, or give more rows."))
    kept, splits = _kept(splits)
    source = _cut(even, place, lengths, starts[kept], border, problems)
    return replace(source, name=found.name, given=splits)


def _cut(even: Even, place: int, lengths: _Lengths, starts: np.ndarray, border: int, problems: list[Problem]) -> Source:
    """The windows from `starts` on, their futures, and the facts of the series."""
    values, target = even.values[:, place], even.names[place]
    lag = lengths.season if border > lengths.season else 1
    error = naive_error(values, even.breaks, even.known[:, place], border, lag)
    if error == 0:
        what = say("it repeats itself exactly over the training range (season {season})", season=lag)
        problems.append(Problem(say("column {name}", name=target), what, say("kept; MASE has no unit then")))
    facts = {
        "time": even.time, "target": target, "target_position": place, "features": list(even.names),
        "step": even.grid.name, "unit": even.grid.unit, "count": even.grid.count, "season": lengths.season,
        "window": lengths.window, "horizon": lengths.horizon, "naive_error": error,
        "steps": len(even), "train_until": str(even.labels[border - 1]),
    }  # fmt: skip
    windows = Windows(torch.from_numpy(even.values.astype(np.float32)), starts, lengths.window)
    ids = [str(label) for label in even.labels[starts + lengths.window]]
    targets = futures(values, starts, lengths.window, lengths.horizon)
    return Source("sequence", "", windows, targets, ids, problems=problems, task="forecast", facts=facts)


def _kept(splits: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The windows that belong to a split, and the splits as positions among those."""
    kept = np.sort(np.concatenate(list(splits.values())))
    order = {name: np.searchsorted(kept, splits[name]) for name in ORDER if name in splits}
    return kept, order


def _target(columns: Mapping[str, np.ndarray], time: str, target: str, name: str, problems: list[Problem]) -> str:
    """The column to forecast: as named, the only one with numbers, one of the known names, or the last."""
    if target and target not in columns:
        raise DataError(say("data.target: there is no column {name!r}.", name=target) + " " + hint(target, columns))
    chosen = number_columns(columns, time)
    shown = ", ".join(chosen[:20]) + (", ..." if len(chosen) > 20 else "")
    if target:
        if target == time or target not in chosen:
            text = say("data.target: column {name!r} holds no numbers to forecast.", name=target)
            raise DataError(text + " " + say("Columns of numbers: {names}.", names=shown or say("none")))
        return target
    if not chosen:
        raise DataError(say("{name}: no column beside {time!r} holds numbers to forecast", name=name, time=time))
    if len(chosen) == 1:
        return chosen[0]
    for known in KNOWN_TARGETS:
        matching = [column for column in chosen if column.lower() == known]
        if len(matching) == 1:
            return matching[0]
    what = say("{count} columns of numbers ({names}), none named as the target", count=len(chosen), names=shown)
    action = say("the last, {name!r}, is forecast; data.target=NAME names another", name=chosen[-1])
    problems.append(Problem(name, what, action))
    return chosen[-1]


def _lengths(even: Even, place: int, asked: tuple[int, int, int], shares: tuple[float, float]) -> _Lengths:
    """Season, horizon and window as asked for, or chosen to fit the longest stretch without a gap."""
    window, horizon, season = asked
    edges = np.flatnonzero(even.breaks | even.unusable)
    longest = int(np.diff(np.concatenate([[0], edges, [len(even)]])).max())
    if season > max(1, longest // 2):
        text = say("data.season = {season}; twice as many steps must follow without a gap, and {longest} do",
                   season=season, longest=longest)  # fmt: skip
        raise UsageError(text)
    if not season:
        # Half of the training range: what comes later must not choose what is learnt before.
        early = int(len(even) * (1 - shares[0]) * (1 - shares[1]) / 2)
        season = even.season or measured_season(even.values[~even.unusable, place][:early])
        if 4 * season > longest:
            season = 1
    if not horizon:
        horizon = season if 1 < season <= LONGEST_HORIZON else min(LONGEST_HORIZON, max(1, longest // 20))
        horizon = min(horizon, max(1, longest // 8), max(1, (longest - window) // 4))
    if not window:
        window = max(1, min(max(2 * season, 2 * horizon, 8), max(longest // 3, 1)))
        if season > 1:
            window = max(window, min(season, max(1, longest - 4 * horizon)))
    return _Lengths(window, horizon, season)


def _too_short(name: str, even: Even, lengths: _Lengths, lost: int) -> UsageError:
    edges = np.flatnonzero(even.breaks)
    longest = int(np.diff(np.concatenate([[0], edges, [len(even)]])).max())
    window, horizon = lengths.window, lengths.horizon
    if lost or longest >= window + horizon:
        text = say("{name}: every window of {window} + {horizon} steps lacks numbers, or its future does.",
                   name=name, window=window, horizon=horizon)  # fmt: skip
    else:
        text = say("{name}: window {window} + horizon {horizon} = {sum} steps; at most {longest} follow without a gap.",
                   name=name, window=window, horizon=horizon, sum=window + horizon, longest=longest)  # fmt: skip
    return UsageError(text + " " + say("Choose a smaller data.window or data.horizon, or give more rows."))


def _in_turn(found: Source) -> Source:
    """The rows of the tables named train, validation and test in that order."""
    order = np.argsort([list(ORDER).index(_split_of_row(name)) for name in found.ids], kind="stable")
    return replace(found, examples=found.examples.take(order), ids=[found.ids[row] for row in order.tolist()])


def _borders(found: Source, rows: Dated, even: Even) -> dict[str, int]:
    """The first step of each table named test or validation. Errors: DataError where the tables overlap in time."""
    split = np.array([_split_of_row(name) for name in found.ids], object)[rows.rows]
    named = [name for name in ORDER if (split == name).any()]
    for before, after in pairwise(named):
        last, first = int(np.flatnonzero(split == before)[-1]), int(np.flatnonzero(split == after)[0])
        if last > first:
            begin, end = even.labels[even.places[first]], even.labels[even.places[last]]
            raise DataError(say("{name}: {after} begins at {begin}, before {before} ends at {end}",
                                name=found.name, after=after, before=before, begin=begin, end=end))  # fmt: skip
    borders = {name: int(even.places[np.flatnonzero(split == name)[0]]) for name in named[1:]}
    if "validation" in borders and "test" not in borders:
        borders["test"] = borders.pop("validation")  # train with validation alone: that is the test set
    return borders


def _split_of(name: str) -> str:
    return SPLIT_WORDS.get(PurePosixPath(name.lower().removesuffix(".gz")).stem, "")


def _split_of_row(name: str) -> str:
    return _split_of(name.rsplit(" row ", 1)[0])


def ending_window(table: Table, facts: Mapping[str, Any], name: str) -> Source:
    """The last window of a table over time, to forecast what comes after its end.

    `facts` are those of the source that was trained on. Errors: DataError for missing columns, another step, or too
    few rows.
    """
    columns = dict(table.columns)
    lacking = [column for column in (facts["time"], *facts["features"]) if column not in columns]
    if lacking:
        text = say("{name}: there is no column {column!r}.", name=name, column=lacking[0])
        raise DataError(text + " " + hint(lacking[0], columns))
    problems: list[Problem] = []
    ids = [f"row {row}" for row in range(1, len(table) + 1)]
    rows = dated(columns, ids, facts["time"], name, problems)
    if rows.grid.name != facts["step"]:
        raise DataError(say("{name}: one row every {found}, but the network was trained on one every {step}",
                            name=name, found=rows.grid.name, step=facts["step"]))  # fmt: skip
    even = evened(columns, ids, rows, facts["features"], facts["target"], facts["season"], problems)
    window = int(facts["window"])
    start = len(even) - window
    if start < 0 or even.breaks[start + 1 :].any() or even.unusable[start:].any():
        edges = np.flatnonzero(even.breaks | even.unusable)
        usable = len(even) - (int(edges[-1]) if len(edges) else 0)
        raise DataError(say("{name}: {window} steps without a gap are needed up to its end, and there are {found}",
                            name=name, window=window, found=max(0, usable)))  # fmt: skip
    values = torch.from_numpy(even.values.astype(np.float32))
    return Source("sequence", name, Windows(values, np.array([start]), window), None, [f"after {even.labels[-1]}"],
                  problems=problems, task="forecast", facts=dict(facts))  # fmt: skip
