"""Charts: ticks, axes, thinning, and what screen readers get."""

import itertools
import math
import re

import pytest

from netwright.report.drawing import Line, Mark, axis, bars, curves, intervals, log_ticks, scatter, thin, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 12, [0, 5, 10]), (0.97, 0.99, [0.97, 0.975, 0.98, 0.985, 0.99])],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(1e-9, 2e-9), (-1e12, 3e15), (5, 5.0001), (-1e-3, 1e3), (0.1, 0.30000001)])
def test_there_are_always_some_ticks_and_never_many(low: float, high: float):
    for found in (ticks(low, high), log_ticks(abs(low), abs(high) * 9)):
        assert 1 <= len(found) <= 9
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-6 * abs(high) for tick in ticks(low, high))


def test_an_axis_maps_its_ends_and_survives_a_single_value():
    line = axis([0.0, 10.0], 100, 200, pad=0)
    assert (line.place(0), line.place(10), line.place(5)) == (100, 200, 150)
    log = axis([1.0, 100.0], 0, 100, log=True, pad=0)
    assert log.place(10) == pytest.approx(50)
    for value in (0.0, 5.0, -2e9, 1e-30):
        single = axis([value, value], 0, 100)
        assert single.low < value < single.high
        assert single.place(value) == pytest.approx(50, abs=1)
    assert axis([3.0], 0, 1, log=True).low < 3 < axis([3.0], 0, 1, log=True).high


def test_thinning_keeps_spikes_and_the_end():
    points = [(float(i), 0.0) for i in range(10_000)]
    points[7777] = (7777.0, 9.0)
    found = thin(points)
    assert len(found) <= 402
    assert (7777.0, 9.0) in found
    assert found[-1] == points[-1]
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert thin(points[:100]) == points[:100]


def test_curves_stay_in_the_picture_and_leave_out_what_cannot_be_drawn():
    line = Line("training <b>", "train", [(1, 2.0), (2, math.nan), (3, 1.0), (4, math.inf)])
    picture = curves("Loss & more", [line, Line("none", "validation", [])], "epoch", "loss", best=3)
    assert "<title>Loss &amp; more</title>" in picture
    assert "training &lt;b&gt;: 2" in picture
    (path,) = re.findall(r'<polyline class="line train" points="([^"]*)"', picture)
    spots = [tuple(map(float, spot.split(","))) for spot in path.split()]
    assert len(spots) == 2
    assert all(0 <= x <= 480 and 0 <= y <= 280 for x, y in spots)
    assert spots[0][1] < spots[1][1]  # the larger loss stands higher
    assert 'class="best"' in picture
    assert "validation" not in picture
    assert curves("Loss", [Line("a", "train", [(1, math.nan)])], "epoch", "loss") == ""


def test_wide_spans_are_drawn_logarithmically():
    line = Line("loss", "train", [(i, 10.0**-i) for i in range(5)])
    path = re.findall(r'points="([^"]*)"', curves("Loss", [line], "epoch", "loss"))[0]
    heights = [float(spot.split(",")[1]) for spot in path.split()]
    steps = [b - a for a, b in itertools.pairwise(heights)]
    assert steps == pytest.approx([steps[0]] * 4, abs=0.2)


def test_shares_have_percent_on_their_axis():
    assert ">60\u202f%<" in curves("a", [Line("a", "train", [(1, 0.5), (2, 0.7)])], "epoch", "a", shares=True)
    marks = [Mark("net", "network", 0.9, 0.8, 0.95), Mark("linear", "baseline", 0.6)]
    picture = intervals("Accuracy", marks, "accuracy", ["90 %", "60 %"], shares=True)
    assert ">80\u202f%<" in picture
    assert picture.count('class="span network"') == 1
    assert "<desc>net 90 %; linear 60 %</desc>" in picture


def test_empty_charts_are_empty():
    assert scatter("t", [], "a", "b") == bars("t", []) == bars("t", [("a", 0)]) == intervals("t", [], "x", []) == ""


def test_scatter_and_bars_draw_every_entry():
    assert scatter("t", [(1, 2), (3, 4), (math.nan, 1)], "a", "b").count('class="spot"') == 2
    picture = bars("t", [("a" * 40, 5), ("<i>", 0)])
    assert picture.count('class="bar"') == 2
    assert "&lt;i&gt;" in picture
    assert "a" * 17 + "\u2026" in picture
