"""The series reader: recognition, odd tables, gaps, splits without look-ahead, and what comes after the end."""

import datetime as dt
import gzip
import json

import numpy as np
import pytest
import torch

from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.readers.series import ending_window, from_table, is_series, series
from netwright.data.readers.table import unlabelled
from netwright.data.source import Table
from netwright.data.tables.columns import as_cells
from netwright.errors import DataError, UsageError

START = dt.datetime(2020, 1, 1)


def value(step):
    return f"{20 + 5 * np.sin(2 * np.pi * step / 7) + 0.1 * step:.4f}"


def days(count=120, form="%Y-%m-%d", step=None):
    step = step or dt.timedelta(days=1)
    return [f"{(START + i * step).strftime(form)},{value(i)}" for i in range(count)]


def place(folder, rows, header="date,v", name="s.csv"):
    path = folder / name
    content = "\n".join([header, *rows] if header else rows) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return open_tree(path)


def told(source):
    return "\n".join(f"{problem.where}: {problem.what} -> {problem.action}" for problem in source.problems)


def test_daily_rows_become_windows_and_futures(tmp_path):
    source = series(place(tmp_path, days()))
    assert (source.kind, source.task, source.name) == ("sequence", "forecast", "s")
    facts = source.facts
    assert [facts[name] for name in ("season", "window", "horizon", "step")] == [7, 14, 7, "1 day"]
    numbers = np.array([float(value(i)) for i in range(120)])
    taken = source.examples.take(np.arange(len(source.examples)))
    assert taken.dtype == torch.float32
    for example, start in enumerate(source.examples.starts):
        assert taken[example, :, 0].numpy() == pytest.approx(numbers[start : start + 14], rel=1e-6)
        assert source.targets[example].tolist() == numbers[start + 14 : start + 21].tolist()
    assert source.ids[0] == "2020-01-15"
    assert source.problems == []


@pytest.mark.parametrize(
    "rows",
    [
        days(), days()[::-1], [days()[i] for i in np.random.default_rng(0).permutation(120)], days(form="%d/%m/%Y"),
        days(form="%b %d, %Y".replace(",", "")), days(step=dt.timedelta(hours=1), form="%Y-%m-%dT%H:%M:%SZ"),
        days(step=dt.timedelta(weeks=1)), [*days(), *days()[20:40], "never,1", ",2"],
        [row for i, row in enumerate(days()) if i not in (5, 40, 41)],
        [f"{1949 + i // 12}-{i % 12 + 1:02d},{value(i)}" for i in range(60)],
        [f"{1900 + i // 4}Q{i % 4 + 1},{value(i)}" for i in range(60)],
        [f"2020-01-{i:02d},{i}" for i in range(1, 32)],
    ],
)  # fmt: skip
def test_tables_over_time_are_recognised(tmp_path, rows):
    tree = place(tmp_path, rows)
    assert is_series(tree)
    assert READERS["series"].facts["recognises"](tree)
    assert len(series(tree).examples) > 10


DRAWN = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("signed,v", [f"{(START + dt.timedelta(days=int(DRAWN.integers(900)))).date()},{i}" for i in range(200)]),
        ("birthday,v", [f"{(START - dt.timedelta(days=int(DRAWN.integers(20_000)))).date()},{i}" for i in range(60)]),
        ("date,v", [row for row in days(40) for _ in range(3)]),
        ("date,word", [row.split(",")[0] + ",abc" for row in days()]),
        ("date,v,label", [f"{row},{'ab'[i % 2]}" for i, row in enumerate(days())]),
        ("date,v,label", [f"{row},{i % 2}" for i, row in enumerate(days())]),
        ("id,v", [f"{i},{value(i)}" for i in range(60)]), ("a,b,y", [f"{i % 7},{i % 5},{i}" for i in range(60)]),
        ("date,v", days(4)), ("date,v", []), ("date,v", [*days(5), "2020-01-09,1", "2020-01-12,3"]),
    ],
)  # fmt: skip
def test_tables_that_merely_hold_a_date_stay_tables(tmp_path, header, rows):
    assert not is_series(place(tmp_path, rows, header))


def test_a_long_file_in_no_order_is_recognised_as_a_whole(tmp_path):
    rows = days(6000, "%Y-%m-%d %H:%M", dt.timedelta(hours=1))
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(6000)]
    assert is_series(place(tmp_path, shuffled))
    customers = [f"{START + dt.timedelta(minutes=int(DRAWN.integers(10**7)))},{i}" for i in range(6000)]
    assert not is_series(place(tmp_path, customers, name="c.csv"))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"date,v\n\x00\x00", b'a,"b\n', b"\x1f\x8bnothing"])
def test_broken_tables_are_no_series_and_no_crash(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    assert not is_series(open_tree(tmp_path / "x.csv"))


def test_other_formats_read_alike(tmp_path):
    plain = series(place(tmp_path, days()))
    rows = [dict(zip(("date", "v"), row.split(","), strict=True)) for row in days()]
    lines = [json.dumps({"date": row["date"], "v": float(row["v"])}) for row in rows]
    for tree in (place(tmp_path, lines, "", "s.jsonl"), place(tmp_path, days(), name="s.csv.gz"),
                 place(tmp_path, [row.replace(",", "\t") for row in days()], "date\tv", "s.tsv"),
                 place(tmp_path, days(), "", "headless.csv")):  # fmt: skip
        assert is_series(tree)
        other = series(tree)
        assert np.array_equal(other.targets, plain.targets)
        assert torch.equal(other.examples.values, plain.examples.values)


def test_order_repeats_and_rows_without_a_moment_are_told(tmp_path):
    rows = days()
    odd = [*rows[60:], *rows[:60], rows[10].split(",")[0] + ",999", "oops,1", ",2"]
    source = series(place(tmp_path, odd))
    plain = series(place(tmp_path, rows))
    assert np.array_equal(source.targets, plain.targets)
    text = told(source)
    assert "row 121 2020-01-11" in text
    assert "first row of each moment is kept" in text
    assert "2 rows have no moment: row 122 'oops', row 123 None -> left out" in text
    assert "sorted" in text
    assert "newest row comes first" in told(series(place(tmp_path, rows[::-1])))


def test_small_gaps_are_filled_from_the_past_and_large_ones_never_crossed(tmp_path):
    rows = days()
    kept = rows[:30] + rows[32:70] + rows[85:]
    source = series(place(tmp_path, kept))
    text = told(source)
    assert "2 steps of 1 day have no row, in 1 gaps (after 2020-01-30) -> filled with the row before" in text
    assert "1 gaps of more than 3 steps: 15 steps after 2020-03-10 -> no window crosses them" in text
    values = source.examples.values[:, 0].numpy()
    assert values[30] == values[31] == values[29] == np.float32(value(29))
    breaks = 70  # the first step behind the large gap: 30 + 2 filled + 38 rows
    for start in source.examples.starts:
        assert not start < breaks < start + 21 + 1 or start + 21 <= breaks


def test_missing_cells_and_words_are_filled_from_the_past_and_told(tmp_path):
    rows = days()
    rows[50], rows[51], rows[80] = "2020-02-20,", "2020-02-21,NA", "2020-03-21,broken"
    source = series(place(tmp_path, rows))
    assert "3 numbers are missing (the first at 2020-02-20) -> filled with the value before" in told(source)
    assert "row 81 'broken'" in told(source)
    values = source.examples.values[:, 0].numpy()
    assert values[50] == values[51] == np.float32(value(49))
    assert np.isfinite(source.targets).all()


def test_a_long_run_of_missing_targets_is_in_no_window(tmp_path):
    rows = [row if not 40 <= i < 60 else row.split(",")[0] + "," for i, row in enumerate(days())]
    source = series(place(tmp_path, rows))
    for start in source.examples.starts:
        assert start + 21 <= 40 or start >= 60


def test_columns_without_numbers_or_mostly_missing_are_left_out(tmp_path):
    rows = [f"{row},word,{i if i > 90 else ''},,{i % 5}" for i, row in enumerate(days())]
    source = series(place(tmp_path, rows, "date,v,text,late,empty,w"), target="v")
    assert source.facts["features"] == ["v", "w"]
    assert source.facts["target_position"] == 0
    assert "2 columns hold no numbers: text, empty" in told(source)
    assert "column late: 76% of its numbers are missing, the first 91 in a row -> left out" in told(source)


def test_which_column_is_forecast(tmp_path):
    rows = [f"{row},{i}" for i, row in enumerate(days())]
    last = series(place(tmp_path, rows, "date,v,w"))
    assert (last.facts["target"], last.facts["target_position"]) == ("w", 1)
    assert "the last, 'w', is forecast; data.target=NAME names another" in told(last)
    named = series(place(tmp_path, rows, "date,y,w"))
    assert (named.facts["target"], named.problems) == ("y", [])
    assert series(place(tmp_path, rows, "date,v,w"), target="v").facts["target"] == "v"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"target": "vv"}, DataError, "there is no column 'vv'. Did you mean 'v'?"),
        ({"target": "date"}, DataError, "holds no numbers to forecast. Columns of numbers: v"),
        ({"time": "dat"}, DataError, "there is no column 'dat'. Did you mean 'date'?"),
        ({"time": "v"}, DataError, "holds no moments"),
        ({"window": 100, "horizon": 50}, UsageError, "window 100 + horizon 50 = 150 steps; at most 120 follow"),
        ({"horizon": 500}, UsageError, "at most 120 follow without a gap"),
        ({"window": 100, "horizon": 20}, UsageError, "leave none for the split validation"),
        ({"season": 100}, UsageError, "data.season = 100; twice as many steps must follow without a gap, and 120 do"),
    ],
)  # fmt: skip
def test_refusals_say_what_came_and_what_is_needed(tmp_path, settings, error, words):
    with pytest.raises(error, match=words.replace("+", r"\+").replace("?", r"\?")):
        series(place(tmp_path, days()), **settings)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row for row in days() for _ in range(3)], "120 moments stand in 360 rows: several series in one table"),
        ([f"{(START + dt.timedelta(days=i * i)).date()},{i}" for i in range(60)], "the moments lie unevenly"),
        (["a,1"] * 30, "no column holds moments in even steps"),
        (days(3), "2 windows of 1 . 1 steps leave none for the split train"),
    ],
)
def test_tables_that_are_no_series_are_refused_with_the_reason(tmp_path, rows, words):
    with pytest.raises((DataError, UsageError), match=words):
        series(place(tmp_path, rows))


def test_days_and_months_that_could_be_swapped_are_told(tmp_path):
    rows = [f"{month:02d}/01/2020,{month}" for month in range(1, 13)]
    assert "day and month could be swapped; read as mdy -> kept" in told(series(place(tmp_path, rows)))
    assert series(place(tmp_path, days(form="%d/%m/%Y"))).problems == []


def test_summer_time_leaves_one_gap_and_one_repeat(tmp_path):
    from zoneinfo import ZoneInfo

    begin = dt.datetime(2020, 3, 20, tzinfo=dt.UTC)
    local = [(begin + dt.timedelta(hours=i)).astimezone(ZoneInfo("Europe/Berlin")) for i in range(24 * 240)]
    wall = series(place(tmp_path, [f"{when:%Y-%m-%d %H:%M},{i % 24}.5" for i, when in enumerate(local)]))
    assert "1 rows repeat a moment: row 5258 2020-10-25 02:00" in told(wall)
    assert "1 steps of 1 hour have no row, in 1 gaps (after 2020-03-29 01:00)" in told(wall)
    zoned = series(place(tmp_path, [f"{when.isoformat()},{i % 24}.5" for i, when in enumerate(local)]))
    assert "gaps" not in told(zoned)
    assert (zoned.facts["season"], zoned.facts["steps"]) == (24, 24 * 240)


def test_a_constant_series_is_read_and_its_unit_said_to_be_missing(tmp_path):
    source = series(place(tmp_path, [row.split(",")[0] + ",3" for row in days()]))
    assert source.facts["naive_error"] == 0
    assert "MASE has no unit" in told(source)


def test_splits_stand_in_the_order_of_time_and_share_no_target(tmp_path):
    source = series(place(tmp_path, days(200)), test=0.25, validation=0.2)
    first = source.examples.starts + 14
    splits = source.given
    assert first[splits["train"]].max() + 7 <= first[splits["validation"]].min()
    assert first[splits["validation"]].max() + 7 <= first[splits["test"]].min()
    assert sum(map(len, splits.values())) == len(source.examples)
    assert len(splits["test"]) == round(0.25 * len(source.examples))
    assert set(series(place(tmp_path, days(200)), test="other.csv").given) == {"train", "validation"}


def test_the_future_changes_nothing_that_came_before(tmp_path):
    """S-009: other numbers after the training range leave its windows, targets, measured season and unit."""
    rows = [f"{i},{value(i)},{i % 3}" for i in range(200)]
    plain = series(place(tmp_path, rows, "t,v,w"), target="v")
    assert plain.facts["season"] == 7
    train = plain.given["train"]
    end = int(plain.examples.starts[train].max()) + plain.facts["window"] + plain.facts["horizon"]
    draw = np.random.default_rng(0)
    changed = [f"{i},{draw.normal() * 1e4:.3f},{draw.normal():.3f}" for i in range(end, 200)]
    other = series(place(tmp_path, rows[:end] + changed, "t,v,w"), target="v")
    assert other.facts == plain.facts
    assert torch.equal(other.examples.take(train), plain.examples.take(train))
    assert np.array_equal(other.targets[train], plain.targets[train])
    assert not np.array_equal(other.targets[plain.given["test"]], plain.targets[plain.given["test"]])


def test_tables_named_by_their_splits_follow_one_another(tmp_path):
    rows = days()
    (tmp_path / "both").mkdir()
    place(tmp_path / "both", rows[:90], name="train.csv")
    place(tmp_path / "both", rows[90:], name="test.csv")
    source = series(open_tree(tmp_path / "both"))
    assert is_series(open_tree(tmp_path / "both"))
    test = [source.ids[position] for position in source.given["test"]]
    assert test[0] == rows[90].split(",")[0]
    assert source.problems == []
    place(tmp_path / "both", rows[90:], name="train.csv")
    place(tmp_path / "both", rows[:90], name="test.csv")
    with pytest.raises(DataError, match="test begins at 2020-01-01, before train ends at 2020-04-29"):
        series(open_tree(tmp_path / "both"))
    place(tmp_path / "both", rows[:90], name="other.csv")
    with pytest.raises(DataError, match=r"train\.csv and test\.csv that follow it in time"):
        series(open_tree(tmp_path / "both"))


def test_the_window_at_the_end_of_another_table(tmp_path):
    source = series(place(tmp_path, days()))
    later = unlabelled(place(tmp_path, days(150)[130:], name="later.csv")).examples
    found = ending_window(later, source.facts, "later")
    assert found.ids == ["after 2020-05-29"]
    assert found.targets is None
    assert found.examples.take([0])[0, :, 0].numpy() == pytest.approx([float(value(i)) for i in range(136, 150)])
    weekly = days(40, step=dt.timedelta(weeks=1))
    for rows, header, words in (
        (days()[-10:], "date,v", "14 steps without a gap are needed up to its end, and there are 10"),
        (days(), "date,u", "there is no column 'v'"),
        (weekly, "date,v", "one row every 1 week, but the network was trained on one every 1 day"),
        (days()[:90] + days()[110:], "date,v", "and there are 10"),
    ):
        with pytest.raises(DataError, match=words):
            ending_window(unlabelled(place(tmp_path, rows, header, "x.csv")).examples, source.facts, "x")


def test_a_table_in_memory_reads_as_its_file(tmp_path):
    split = [row.split(",") for row in days()]
    table = Table({"date": as_cells(row[0] for row in split), "v": as_cells(float(row[1]) for row in split)})
    found, plain = from_table(table, "frame", horizon=3), series(place(tmp_path, days()), horizon=3)
    assert np.array_equal(found.targets, plain.targets)
    assert found.facts == plain.facts


@pytest.mark.shared_data
def test_airline_passengers_and_ett(shared_data):
    airline = series(open_tree(shared_data / "airline-passengers/airline-passengers.csv"))
    assert is_series(open_tree(shared_data / "airline-passengers/airline-passengers.csv"))
    assert [airline.facts[name] for name in ("step", "season", "window", "horizon")] == ["1 month", 12, 24, 12]
    assert airline.problems == []
    assert airline.examples.values[:4, 0].tolist() == [112, 118, 132, 129]
    ett = series(open_tree(shared_data / "ett/ETTh1.csv"))
    assert is_series(open_tree(shared_data / "ett/ETTh1.csv"))
    assert [ett.facts[name] for name in ("step", "season", "target", "steps")] == ["1 hour", 24, "OT", 17_420]
    assert ett.examples.take([0]).shape == (1, 48, 7)
