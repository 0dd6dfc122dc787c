"""Signs of life among ranks: a rank that was killed is found within a second, one that is stopped within a limit.

An exchange of tensors cannot tell a partner that works from one that is frozen, and waits for both. So a thread of
every rank counts up a number in the common store, and another one watches the numbers of all: slow work moves them on,
a stopped process does not. A process of the same machine that has ended is seen in its process table at once.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netwright.language import say

BEAT_S = 1.0
LOOK_S = 0.25
HURRY_S = 5.0
"""The limit after an exchange has broken: somebody has gone, and the question is who."""
FAILED = 1
"""The exit code of a rank that lost its partners."""


@dataclass(frozen=True)
class Place:
    """Where a rank runs."""

    number: int
    host: str
    process: int
    machine: str
    """Names the machine since it was started; empty where the system does not tell."""
    local: int = 0
    """The number among the ranks of its machine."""


class Hearts:
    """Beats for this rank and watches the others. Where one is lost, the person hears it and this process ends."""

    def __init__(
        self, store: Any, place: Place, count: int, limit: float, patience: float,
        speak: Callable[[int, str], Any] | None = None,
    ) -> None:  # fmt: skip
        self.store, self.place, self.count, self.limit, self.patience = store, place, count, limit, patience
        self.speak = speak or _to_stderr
        self.peers: list[Place] = []
        self.run = ""
        """The run folder, once it is known: what a person continues with."""
        self.parent = os.getppid()
        self.ended = threading.Event()
        now = time.monotonic()
        self.turned = now
        """When the store last answered."""
        self.seen = [now] * count
        self.beats = [""] * count
        self.quiet: set[int] = set()
        """Ranks that have left as they should."""

    def start(self) -> None:
        """Begin to beat and to watch."""
        for work in (self._beat, self._watch):
            threading.Thread(target=work, name=f"hearts{work.__name__}", daemon=True).start()

    def leave(self) -> None:
        """Stop watching, and tell the others that this rank needs nobody any more."""
        self.ended.set()
        self.store.set(f"left/{self.place.number}", "yes")

    def hurry(self) -> None:
        """Something broke: whoever is silent now is given up sooner."""
        self.limit = min(self.limit, HURRY_S)

    def _beat(self) -> None:
        number = 0
        others = [rank for rank in range(self.count) if rank != self.place.number]
        while not self.ended.wait(BEAT_S if number else 0):
            number += 1
            try:
                self.store.set(f"beat/{self.place.number}", str(number))
                for rank in others:
                    if rank in self.quiet or not self.store.check([f"beat/{rank}"]):
                        continue
                    found = self.store.get(f"beat/{rank}").decode()
                    if found != self.beats[rank]:
                        self.beats[rank], self.seen[rank] = found, time.monotonic()
                    if self.store.check([f"left/{rank}"]):
                        self.quiet.add(rank)
                self.turned = time.monotonic()
            except RuntimeError:
                if not self.ended.is_set():
                    self._give_up(say("the launcher's store has gone, and the other ranks with it"))
                return

    def _watch(self) -> None:
        while not self.ended.wait(LOOK_S):
            now = time.monotonic()
            if os.getppid() != self.parent:
                self._give_up(say("the launcher of this rank has ended"))
            if now - self.turned > max(self.limit, 2 * BEAT_S):
                text = say("the launcher's store has not answered for {seconds:.0f} s", seconds=now - self.turned)
                self._give_up(text)
            for rank in range(self.count):
                if rank == self.place.number or rank in self.quiet:
                    continue
                gone = self._gone(rank)
                silent = now - self.seen[rank]
                if gone and not self._left(rank):
                    self._give_up(say("rank {rank} has gone{where}", rank=rank, where=self._where(rank)))
                if silent > (self.limit if self.beats[rank] else self.patience):
                    text = say("rank {rank} has not answered for {seconds:.0f} s{where}", rank=rank, seconds=silent,
                               where=self._where(rank))  # fmt: skip
                    self._give_up(text, rank)

    def _left(self, rank: int) -> bool:
        """Whether a rank said good-bye, or what went wrong, before it ended."""
        try:
            return bool(self.store.check([f"left/{rank}"])) or bool(self.store.check(["failed"]))
        except RuntimeError:
            return False

    def _where(self, rank: int) -> str:
        if not self.peers:
            return ""
        return say(" ({host}, process {process})", host=self.peers[rank].host, process=self.peers[rank].process)

    def _near(self, rank: int) -> bool:
        """Whether a rank runs on this machine, so that its process can be looked at."""
        return bool(self.peers) and self.place.machine != "" and self.peers[rank].machine == self.place.machine

    def _gone(self, rank: int) -> bool:
        """Whether a rank of this machine has ended: its process is no more, or waits to be buried."""
        if not self._near(rank):
            return False
        try:
            with open(f"/proc/{self.peers[rank].process}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
        except OSError:
            return True

    def _give_up(self, why: str, stopped: int | None = None) -> None:
        """End this process: its main thread may wait for ever inside an exchange that nobody answers."""
        message = why
        if self.run:
            message += "\n" + say("start the same ranks again with: netwright resume {run}", run=self.run)
        if self._first(message):
            self.speak(FAILED, message)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        if stopped is not None and self._near(stopped):
            self._end(stopped)
        os._exit(FAILED)

    def _first(self, message: str) -> bool:
        """Whether no other rank has spoken yet; where the store does not answer, one rank of each machine speaks."""
        found: list[bool] = []

        def claim() -> None:
            try:
                found.append(int(self.store.add("spoken", 1)) == 1)
                if found[0]:
                    self.store.set(
                        "failed", json.dumps({"code": FAILED, "message": message, "rank": self.place.number})
                    )
            except RuntimeError:
                return

        thread = threading.Thread(target=claim, daemon=True)
        thread.start()
        thread.join(1.0)
        return found[0] if found else self.place.local == 0

    def _end(self, rank: int) -> None:
        """A stopped process of this machine hears no polite signal: its launcher would wait half a minute for it."""
        try:
            with open(f"/proc/{self.peers[rank].process}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state in (b"T", b"t") and int(parent) == self.parent:
                os.kill(self.peers[rank].process, signal.SIGKILL)
        except OSError:
            return


def _to_stderr(code: int, message: str) -> None:
    print(say("error: {message}", message=message), file=sys.stderr)
