"""Signals: the first asks the training to save and leave, the second leaves at once (rule P13)."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WATCHED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(BaseException):
    """A signal ended the training after its checkpoint was written; the exit code is 128 + number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def leave(number: int, frame: FrameType | None) -> None:
    """A handler for all that stands around a training: leave at once, in order, with the signal's exit code."""
    raise Interrupted(number)


class Watch:
    """Remembers the first signal; the handler does nothing else."""

    def __init__(self) -> None:
        self.number = 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            os._exit(128 + number)  # every file on disk is whole at any instant: nothing is damaged
        self.number = number


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch for signals while a training runs (main thread only: elsewhere Python allows no handlers)."""
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    heard = [number for number in WATCHED if signal.getsignal(number) is not signal.SIG_IGN]  # `nohup` stays in force
    before = {number: signal.signal(number, watch._handle) for number in heard}
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
