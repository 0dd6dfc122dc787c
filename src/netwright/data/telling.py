"""What reading data says while it works: one calm live line on a terminal, few plain lines elsewhere, all on stderr.

Readers know nothing of trainings or commands: those hush them with `hushed` or `hush`.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from netwright.language import columns

EVERY_S = 0.25
FIRST_S, PLAIN_S = 3.0, 15.0
"""Seconds before the first plain line, and between two of them, where there is no terminal."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def hush(quiet: bool) -> None:
    """From now on say nothing (or something again), in this context."""
    _quiet.set(quiet)


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Say nothing within, where `quiet`; what was hushed before stays so."""
    token = _quiet.set(quiet or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


def tell(text: str) -> None:
    """One line that stays."""
    if not _quiet.get():
        print(text, file=sys.stderr, flush=True)


class Counter:
    """Shows how far a long piece of work is; as a context manager it leaves the terminal as it was."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = not _quiet.get() and self.stream is not None and self.stream.isatty()
        self.plain = not _quiet.get() and self.stream is not None and not self.live
        self._next = time.monotonic() + (EVERY_S if self.live else FIRST_S)
        self._drawn = False

    def due(self) -> bool:
        """Whether `show` would show anything now: words are made only then."""
        return (self.live or self.plain) and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Redraw the live line, or write a plain one, when it is time."""
        if not self.due():
            return
        self._next = time.monotonic() + (EVERY_S if self.live else PLAIN_S)
        if self.plain:
            print(text, file=self.stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        while text and columns(text) > width:
            text = text[:-1]
        self.stream.write("\r\x1b[K" + text)
        self.stream.flush()
        self._drawn = True

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._drawn = False
