"""What a person sees while a network trains: one calm live line on a terminal, plain lines elsewhere."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from netwright.data.source import Problem
from netwright.language import columns, say

EVERY_S = 0.25
LINES = 20
PROBLEMS = 5


class Progress:
    """Writes to stderr; quiet where asked. A live line is redrawn at most four times a second."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = not quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn_at = -1.0
        self._drawn = False

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.quiet:
            return
        self._clear()
        print(text, file=self.stream, flush=True)

    def problems(self, found: Sequence[Problem]) -> None:
        """What is odd about the data, the first few of it."""
        for problem in found[:PROBLEMS]:
            self.say(f"! {problem}")
        if len(found) > PROBLEMS:
            self.say(say("! {count} more; `netwright look` shows all", count=len(found) - PROBLEMS))

    def step(
        self, epoch: int, epochs: int, share: float, loss: float | None, metric: str, speed: float, left: float
    ) -> None:
        """Redraw the live line: epoch, share of it, loss, last metric, speed, time left."""
        now = time.monotonic()
        if not self.live or now - self._drawn_at < EVERY_S:
            return
        self._drawn_at = now
        filled = round(20 * share)
        parts = [
            say("epoch {epoch}/{epochs}", epoch=epoch, epochs=epochs),
            "━" * filled + "─" * (20 - filled),
            say("loss {loss}", loss=number(loss)),
            metric,
            say("{speed:,.0f}/s", speed=speed),
            say("{time} left", time=duration(left)),
        ]
        width = shutil.get_terminal_size().columns - 1
        while columns("  ".join(part for part in parts if part)) > width and len(parts) > 2:
            del parts[1 if parts[1].startswith(("━", "─")) else -2]  # a narrow window loses the bar first
        line = "  ".join(part for part in parts if part)
        while line and columns(line) > width:
            line = line[:-1]
        self.stream.write("\r\x1b[K" + line)
        self.stream.flush()
        self._drawn = True

    def due(self) -> bool:
        """Whether `step` would draw now: asking is free, drawing needs numbers from the device."""
        return self.live and time.monotonic() - self._drawn_at >= EVERY_S

    def epoch(self, row: dict[str, Any], epochs: int, best: bool) -> None:
        """A finished epoch, in a line that stays; of many epochs about every twentieth of them."""
        if row["epoch"] % max(1, epochs // LINES) and row["epoch"] != epochs:
            return
        validation = row.get("validation") or {}
        watched = "  ".join(f"{name} {number(value)}" for name, value in validation.items())
        mark = "  *" if best and watched else ""
        text = say("epoch {epoch}/{epochs}", epoch=row["epoch"], epochs=epochs) + "  "
        text += say("train loss {loss}", loss=number(row["train_loss"]))
        text += "  " + say("validation: {metrics}", metrics=watched) + mark if watched else ""
        self.say(f"{text}  {say('{speed:,.0f}/s', speed=row['examples_per_second'] or 0)}")

    def done(self) -> None:
        """Leave the terminal as it was."""
        self._clear()

    def _clear(self) -> None:
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._drawn = False


def number(value: float | None) -> str:
    """A number in four digits."""
    return "-" if value is None or value != value else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as 5 s, 3:20 or 1:02:03."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
