"""The live line: at most four times a second, never wider than the window, gone when something stays."""

import io
import re
from itertools import pairwise

import pytest

from netwright import language
from netwright.training import progress as showing
from netwright.training.progress import LINES, Progress, duration, number


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(showing.time, "monotonic", lambda: now[0])
    monkeypatch.delenv("TERM", raising=False)
    return now


def width(monkeypatch, columns):
    import os

    monkeypatch.setattr(showing.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))


def draw(progress, **more):
    values = {"epoch": 3, "epochs": 20, "share": 0.5, "loss": 0.12345678, "metric": "accuracy 0.9", "speed": 12345.6,
              "left": 75.0, **more}  # fmt: skip
    progress.step(**values)


def screen(text):
    """What a terminal shows: the lines, after carriage returns and erasures."""
    lines = [""]
    for part in re.split(r"(\r\x1b\[K|\n)", text):
        if part == "\n":
            lines.append("")
        elif part == "\r\x1b[K":
            lines[-1] = ""
        else:
            lines[-1] += part
    return lines


def row(epoch, **more):
    return {"epoch": epoch, "train_loss": 1 / epoch, "validation": {}, "examples_per_second": 1000.0, **more}


def test_a_wide_line_holds_everything(monkeypatch, clock):
    width(monkeypatch, 120)
    stream = Terminal()
    draw(Progress(stream=stream))
    assert screen(stream.getvalue()) == [
        "epoch 3/20  ━━━━━━━━━━──────────  loss 0.1235  accuracy 0.9  12,346/s  1:15 left"
    ]  # fmt: skip


@pytest.mark.parametrize("metric", ["", "accuracy 0.9123"])
def test_the_line_fits_every_window_and_keeps_epoch_and_time_longest(monkeypatch, clock, metric):
    for columns in range(1, 130):
        width(monkeypatch, columns)
        stream = Terminal()
        draw(Progress(stream=stream), metric=metric)
        [shown] = screen(stream.getvalue())
        assert len(shown) <= max(0, columns - 1)
        if columns > 24:
            assert shown.startswith("epoch 3/20")
            assert shown.endswith("1:15 left")
        if columns < 60:
            assert "━" not in shown


def test_chinese_takes_two_columns_a_character(monkeypatch, clock):
    language.speak("zh")
    try:
        for size in range(0, 90):
            width(monkeypatch, size)
            stream = Terminal()
            draw(Progress(stream=stream))
            [shown] = screen(stream.getvalue())
            assert language.columns(shown) <= max(0, size - 1)
        assert language.columns(shown) > len(shown)
    finally:
        language.speak(None)


def test_it_is_redrawn_at_most_four_times_a_second(monkeypatch, clock):
    width(monkeypatch, 100)
    stream = Terminal()
    progress = Progress(stream=stream)
    drawn = 0
    for _ in range(100):
        clock[0] += 0.0125
        before = stream.tell()
        assert isinstance(progress.due(), bool)
        due = progress.due()
        draw(progress)
        assert (stream.tell() > before) == due
        drawn += due
    assert drawn in (5, 6)


def test_a_line_that_stays_clears_the_live_one_first(monkeypatch, clock):
    width(monkeypatch, 100)
    stream = Terminal()
    progress = Progress(stream=stream)
    draw(progress)
    progress.say("saved")
    assert screen(stream.getvalue()) == ["saved", ""]
    clock[0] += 1
    draw(progress)
    progress.done()
    assert screen(stream.getvalue()) == ["saved", ""]
    length = stream.tell()
    progress.done()  # nothing is drawn: nothing to clear
    assert stream.tell() == length


@pytest.mark.parametrize("kind", ["file", "dumb", "quiet"])
def test_no_control_characters_where_nobody_can_see_them(monkeypatch, clock, kind):
    if kind == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    stream = io.StringIO() if kind == "file" else Terminal()
    progress = Progress(quiet=kind == "quiet", stream=stream)
    clock[0] += 10
    draw(progress)
    assert not progress.due()
    progress.epoch(row(1), 1, True)
    progress.say("said")
    progress.done()
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert (stream.getvalue() == "") == (kind == "quiet")


@pytest.mark.parametrize("epochs", [1, 2, 19, 20, 39, 40, 41, 100, 999, 10_000])
def test_of_many_epochs_about_twenty_lines_stay_and_the_last_is_one(epochs):
    stream = io.StringIO()
    progress = Progress(stream=stream)
    for epoch in range(1, epochs + 1):
        progress.epoch(row(epoch), epochs, False)
    shown = [int(found) for found in re.findall(r"^epoch (\d+)/", stream.getvalue(), re.MULTILINE)]
    assert shown[-1] == epochs
    assert len(shown) == epochs if epochs < 2 * LINES else LINES <= len(shown) <= LINES * 1.5 + 1
    steps = {b - a for a, b in pairwise(shown[:-1])}
    assert len(steps) <= 1


def test_an_epochs_line_tells_losses_metrics_and_the_best():
    stream = io.StringIO()
    progress = Progress(stream=stream)
    validation = {"loss": 0.25, "accuracy": 0.912345}
    progress.epoch(row(4, validation=validation), 4, True)
    progress.epoch(row(4, validation=validation), 4, False)
    progress.epoch(row(4, train_loss=float("nan"), examples_per_second=None), 4, True)
    assert stream.getvalue().splitlines() == [
        "epoch 4/4  train loss 0.25  validation: loss 0.25  accuracy 0.9123  *  1,000/s",
        "epoch 4/4  train loss 0.25  validation: loss 0.25  accuracy 0.9123  1,000/s",
        "epoch 4/4  train loss -  0/s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (61, "1:01"), (3599.6, "1:00:00"), (3661, "1:01:01"),
     (90_000, "25:00:00"), (float("inf"), "?"), (float("nan"), "?")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0.98765432, "0.9877"), (12345.678, "1.235e+04"), (0, "0"), (1e-9, "1e-09")],
)
def test_numbers(value, text):
    assert number(value) == text
