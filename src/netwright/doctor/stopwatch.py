"""The time the doctor's own work has taken: by it a gauge knows when to stop."""

import time


class Stopwatch:
    """Seconds of work since it was made.

    Formula: min(wall clock, processor time of the process)

    Other work on the machine makes the wall clock run ahead, and several threads the processor time: neither takes a
    branch away, so a verdict hangs less on what else the machine does. What a person granted (`Clock`) is wall clock.
    """

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return min(time.perf_counter() - self.wall, time.process_time() - self.processor)
