"""The benchmark's figures: intervals, shares of the machine, summaries, reports, pictures, held to numbers by hand."""

import json
from math import isnan
from xml.etree import ElementTree

import numpy as np
import pytest
from bench.__main__ import merged
from bench.intervals import coverage, quantile, ratios, spread
from bench.markdown import END, START, document, placed
from bench.picture import picture
from bench.summary import against, judged, summarised, table, wholes

from bench import machine


def record(side, mode, rates, precision="float32"):
    return {
        "side": side, "precision": mode, "rates": rates, "others": [0.01] * len(rates), "steps": [2] * len(rates),
        "laps": [], "import_seconds": 1.0, "loop_mb": 400.0, "peak_mb": 500.0, "versions": {"torch": "2"}, "error": "",
        "facts": {"precision": precision},
    }  # fmt: skip


def group():
    return [
        record("limit", "float32", [100.0, 200.0, 100.0]),
        record("limit", "default", [200.0, 400.0, 200.0], precision="bfloat16"),
        record("netwright", "float32", [90.0, 190.0, 99.0]) | {"loop_mb": 440.0},
        record("netwright", "default", [190.0, 392.0, 200.0], precision="bfloat16"),
        record("plain", "default", [50.0, 120.0, 40.0]),
        record("keras-jax", "default", [80.0, 130.0, 70.0]),
    ]


def results(**more):
    hardware = {"text": "a processor"}
    return {
        "date": "2026-11-21", "rounds": 3, "modes": ["float32", "default"], "works": {"w1": [group()]}, "wholes": {},
        "data": "made", "measured": {"w1": "today", "w5-2": "today"}, "machine": hardware, "versions": {"torch": "2"},
    } | more  # fmt: skip


def test_coverage_of_order_statistics_is_that_of_fair_coins():
    assert coverage(5, 1) == 1 - 2 / 32  # the median lies outside only where all five fall on one side
    assert coverage(6, 1) == 1 - 2 / 64
    assert coverage(9, 2) == 1 - 2 * (1 + 9) / 512


def test_intervals_take_the_narrowest_pair_that_is_sure_enough():
    few = spread([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (few.median, few.low, few.high, few.confidence) == (3.0, 1.0, 5.0, 0.9375)
    nine = spread([9.0, 8, 7, 6, 5, 4, 3, 2, 1])
    assert (nine.low, nine.high) == (2.0, 8.0)
    assert nine.confidence == pytest.approx(0.9609375)
    assert (nine.least, nine.most, nine.n) == (1.0, 9.0, 9)
    assert spread([2.0]).confidence == 0.0  # one value says nothing about where the median lies
    assert isnan(spread([]).median)
    random = np.random.default_rng(0)
    held = [(lambda s: s.low <= 0 <= s.high)(spread(random.standard_cauchy(12).tolist())) for _ in range(2000)]
    assert np.mean(held) == pytest.approx(coverage(12, 3), abs=0.012)


def test_ratios_pair_rounds_and_quantiles_are_values_that_occurred():
    assert ratios([2.0, 9.0], [1.0, 3.0, 5.0]) == [2.0, 3.0]
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.99) == 4.0
    assert quantile(list(range(1, 101)), 0.99) == 99


def test_clock_ticks_are_read_from_proc():
    assert machine.ticks_of("cpu  10 20 30 400 50 1 2 3 7 7\ncpu0 1\n") == (66, 516)
    line = "7 (a name) with) brackets) S 1 7 42 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 0 0"
    assert machine.process_of(line) == (42, 127)


def test_the_share_of_others_leaves_out_what_was_measured(tmp_path, monkeypatch):
    def write(busy, idle, mine, other):
        (tmp_path / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")
        for pid, session, ticks in ((5, 42, mine), (6, 9, other)):
            (tmp_path / str(pid)).mkdir(exist_ok=True)
            (tmp_path / str(pid) / "stat").write_text(f"{pid} (x) S 1 1 {session} 0 0 0 0 0 0 0 {ticks} 0 0 0 0 0")

    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(machine.os, "times", lambda: machine.os.times_result((0.0, 0.0, 0.0, 0.0, 0.0)))
    write(100, 900, 10, 90)
    with machine.watched(42) as share:
        write(250, 950, 110, 140)  # of 200 ticks 150 were busy, 100 of them ours
    assert (share.own, share.others) == (0.5, 0.25)


def test_ratios_are_taken_within_a_round():
    found = against([group()], "float32", "netwright", "limit")
    assert found["values"] == [0.9, 0.95, 0.99]
    assert found["median"] == 0.95
    twice = against([group(), group()], "default", "netwright", "limit")
    assert twice["n"] == 6
    assert (twice["low"], twice["high"]) == (0.95, 1.0)


def test_peers_stand_in_both_tables_and_the_fastest_comes_first():
    rows = table([group()], "float32")
    assert [row["side"] for row in rows] == ["limit", "netwright", "keras-jax", "plain"]
    assert rows[0]["rate"]["median"] == 100
    assert [row["side"] for row in table([group()], "default")] == ["limit", "netwright", "keras-jax", "plain"]
    assert rows[3]["own_to_it"]["values"] == [90 / 50, 190 / 120, 99 / 40]


def test_the_judgement_names_the_best_peer_and_compares_like_with_like():
    found = judged([group()], "float32")
    assert found["best_peer"]["side"] == "keras-jax"
    assert found["best_torch_peer"]["side"] == "plain"
    assert found["best_peer"]["median"] == 99 / 70  # of 1.125, 1.414, 1.46
    assert found["median_peer"] == 99 / ((80 + 50) / 2)
    assert found["memory_to_plain"] == 1.1
    assert found["to_limit_in_same_precision"]["median"] == 0.95
    exact = [row | {"facts": {"precision": "float32"}} if row["precision"] == "default" else row for row in group()]
    assert judged([exact], "default")["to_limit_in_same_precision"]["values"] == [1.9, 1.96, 2.0]  # the float32 limit


def test_whole_trainings_are_compared_with_the_best_peer():
    rows = [
        {"side": side, "precision": "default", "seconds": seconds, "others": [0.0], "peak_mb": [900.0],
         "outcomes": [{"epochs": 2, "held_out": 0.0, "test": 0.987}], "error": ""}
        for side, seconds in (("plain", [30.0, 40.0]), ("skorch", [20.0, 25.0]), ("netwright", [13.0, 15.0]))
    ]  # fmt: skip
    found = wholes(rows)
    assert [row["side"] for row in found] == ["netwright", "skorch", "plain"]
    assert found[0]["to_best_peer"]["median"] == (13 / 20 + 15 / 25) / 2
    assert "to_best_peer" not in found[1]
    text = document(results(wholes={"w5-2": rows}), {"w5-2": found} | summarised(results()))
    assert "| **netwright** | 14.0 (13.0 to 15.0) |" in text


def test_the_document_holds_every_figure_with_n_hardware_and_date():
    text = document(results(), summarised(results()), "speed.svg")
    assert "## 2026-11-21, n = 3 rounds" in text
    assert "Hardware: a processor." in text
    assert "at n = 3 its confidence is 75.0%, the most that so few rounds can give" in text
    assert "![Speed of each side as a share of the bare limit's](speed.svg)" in text
    assert "| **netwright** | 0.95 | 1.0 | 440 |" in text
    assert "0.98 [0.95, 1.00] (n = 3) of the limit in the same precision" in text
    assert "1.10 times plain PyTorch's memory" in text
    assert "| plain | 50 (40 to 120) | 0.50 [0.40, 0.60] | 1.80 [1.58, 2.48] | 1% | 400 / 500 | 1.0 |" in text


def test_a_side_that_failed_is_named():
    broken = record("skorch", "default", []) | {"error": "skorch on w1 ended: no such module"}
    found = results(works={"w1": [[*group(), broken]]})
    text = document(found, summarised(found))
    assert "### Not measured\n\n- skorch on w1 ended: no such module" in text
    assert "| skorch |" not in text


def test_publishing_replaces_only_what_was_measured():
    first = placed("# Results\n\nIntroduction.\n", "one\n")
    assert first == f"# Results\n\n{START}\n\none\n\n{END}\n\nIntroduction.\n"
    assert placed(first, "two\n") == first.replace("one", "two")


def test_the_picture_has_a_bar_of_the_right_length_for_every_side():
    drawn = ElementTree.fromstring(picture(summarised(results()), "float32", "Speed & more"))
    space = "{http://www.w3.org/2000/svg}"
    assert drawn.find(f"{space}title").text == "Speed & more"
    bars = [float(bar.get("width")) for bar in drawn.iter(f"{space}rect")][1:]
    assert len(bars) == 4
    assert [round(bar / bars[0], 2) for bar in bars] == [1.0, 0.95, 0.7, 0.5]
    words = [text.text for text in drawn.iter(f"{space}text")]
    assert {"netwright", "limit", "plain", "keras-jax", "0.95", "0.50"} <= set(words)
    assert "w1" in json.dumps(words).lower()


def test_works_measured_before_stay_on_the_same_machine_alone():
    before = results(works={"w2": [group()], "w1": []}, wholes={"w5": []}, measured={"w1": "a", "w2": "a", "w5": "a"})
    now = results(modes=["default"], measured={"w1": "b"})
    found = merged(before, now)
    assert list(found["works"]) == ["w1", "w2"]
    assert found["works"]["w1"] == [group()]
    assert found["measured"] == {"w1": "b", "w2": "a", "w5": "a"}
    assert found["modes"] == ["float32", "default"]
    assert merged(before | {"machine": {"text": "another"}}, now) == now
