"""Many processes that train one network: who takes part, and how they agree, each a rank with a number of its own.

`torchrun` tells every process its rank by environment variables. Without them there is one rank, everything here gives
back what it was given, and no group is made. Rank 0 alone writes and speaks. What the ranks tell each other is JSON
text (never pickle) in the launcher's key-value store, and tensors through gloo on CPUs and NCCL on CUDA devices.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from netwright.errors import NetwrightError, UsageError, first_line
from netwright.language import say
from netwright.training.hearts import Hearts, Place
from netwright.training.seats import Seat, choose_interface, place, timeout_s
from netwright.training.signals import Interrupted, Watch

JOINING_S = 60.0
"""A rank is waited for at least so long when the group is made: importing torch takes its time."""
PATIENCE_S = 8.0
"""So long a rank looks for the reason after an exchange has broken."""
PATIENT_S = 25.0
"""So long the others wait for rank 0's last save after a signal; torchrun kills everybody after 30 s."""
COLLECTIVE_S = 3600.0
"""The limit of a single exchange of tensors. Ranks that are gone or stopped are found long before, by their hearts."""


class PeerError(NetwrightError):
    """Another rank has failed, has gone, or does not answer. `said`: somebody has told the person already."""

    def __init__(self, message: str, code: int = 1, said: bool = False) -> None:
        self.code, self.said = code, said
        super().__init__(message)


@dataclass
class Ranks:
    """The ranks of this training. One rank alone needs no partner: every method gives back what it was given."""

    seat: Seat = field(default_factory=lambda: Seat(0, 1, 0, 1))
    hearts: Hearts | None = None
    store: Any = None
    """The key-value store that all ranks share."""
    signal: int = 0
    """The number of a signal that some rank has got: all know it after the same step."""
    watch: Watch | None = None
    """What this rank itself has heard of signals."""
    calls: int = 0
    unlike: bool = False
    """Whether processors differ between ranks, so that equal steps may round differently."""

    @property
    def number(self) -> int:
        """This process's rank: 0 writes and speaks."""
        return self.seat.number

    @property
    def count(self) -> int:
        """How many ranks there are."""
        return self.seat.count

    @property
    def many(self) -> bool:
        return self.seat.count > 1

    # words ------------------------------------------------------------------------------------------------------

    def share(self, value: Any = None, what: str = "share") -> Any:
        """Rank 0's value (JSON), on every rank; the others wait as long as rank 0 lives."""
        if not self.many:
            return value
        key = self._key(what)
        if self.number == 0:
            self.store.set(key, json.dumps(value))
            return value
        return json.loads(self._heard(key))

    def gather(self, value: Any, what: str = "gather") -> list[Any]:
        """The values (JSON) of all ranks, in their order, on every rank."""
        if not self.many:
            return [value]
        key = self._key(what)
        self.store.set(f"{key}/{self.number}", json.dumps(value))
        return [json.loads(self._heard(f"{key}/{number}")) for number in range(self.count)]

    def in_turn(self, call: Callable[[], Any]) -> Any:
        """What `call` gives, made on the first rank of each machine before the others: it may fill a cache."""
        if not self.many:
            return call()
        found = call() if self.seat.local == 0 else None
        self.gather(True, "turn")
        return found if self.seat.local == 0 else call()

    def _key(self, what: str) -> str:
        """A new name for an exchange: the same on every rank, as all make the same calls in the same order."""
        self.calls += 1
        return f"{what}/{self.calls}"

    def _heard(self, key: str) -> bytes:
        """A key's value as soon as it is there; PeerError where a rank has failed meanwhile."""
        pause = 0.001
        while True:
            try:
                if self.store.check([key]):
                    return bytes(self.store.get(key))
                failed = self.failure()
            except RuntimeError as error:  # the store has gone, and its owner with it
                raise self.lost(error) from None
            if failed is not None:
                raise failed
            time.sleep(pause)
            pause = min(0.1, 1.5 * pause)

    # tensors ----------------------------------------------------------------------------------------------------

    def total(self, values: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.many:
            with self.partners():
                torch.distributed.all_reduce(values)
        return values

    def copy(self, tensors: list[Tensor]) -> None:
        """Make tensors what they are on rank 0, in place."""
        if self.many:
            with self.partners(), torch.no_grad():
                for tensor in tensors:
                    plain = tensor.detach().contiguous()
                    torch.distributed.broadcast(plain, 0)
                    if plain.data_ptr() != tensor.data_ptr():
                        tensor.copy_(plain)

    def copy_bytes(self, data: bytes) -> bytes:
        """Rank 0's bytes, on every rank."""
        if not self.many:
            return data
        length = self.share(len(data))
        raw = bytearray(data) if self.number == 0 else bytearray(length)
        if length:
            self.copy([torch.frombuffer(raw, dtype=torch.uint8)])
        return bytes(raw)

    def rows(self, count: int) -> range:
        """This rank's part of `count` rows; at least one row where there are any, so that every rank takes part."""
        first, last = self._share_of(count)
        return range(first, last) if first < last or not count else range(count - 1, count)

    def _share_of(self, count: int) -> tuple[int, int]:
        return count * self.number // self.count, count * (self.number + 1) // self.count

    def together(self, found: Tensor, count: int) -> Tensor:
        """All `count` rows, on the CPU, of which every rank has made those of `rows`."""
        if not self.many or not count:
            return found
        whole = torch.zeros(count, *found.shape[1:], dtype=found.dtype)
        first, last = self._share_of(count)
        whole[first:last] = found[: last - first].cpu()
        return self.total(whole)

    @contextmanager
    def partners(self) -> Iterator[None]:
        """Exchange tensors; an error because a rank has gone says so."""
        try:
            yield
        except RuntimeError as error:
            raise self.lost(error) from None

    # ends -------------------------------------------------------------------------------------------------------

    def failure(self) -> PeerError | None:
        """What another rank has said before it left with an error, if one has."""
        if not self.store.check(["failed"]):
            return None
        found = json.loads(self.store.get("failed"))
        return PeerError(str(found["message"]), int(found["code"]), said=True)

    def lost(self, error: BaseException) -> NetwrightError:
        """The reason why an exchange broke: another rank's own words, or that one has gone (then this process ends)."""
        if self.hearts is not None:
            self.hearts.hurry()
        until = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < until:
                if (failed := self.failure()) is not None:
                    return failed
                time.sleep(0.1)
        except RuntimeError:  # the store has gone too
            pass
        return PeerError(say("an exchange with the other ranks broke: {why}", why=str(error).split("\n")[0]))

    def fail(self, code: int, message: str) -> bool:
        """Tell the others that this rank leaves with an error; whether this rank should say so to the person.

        Rank 0 speaks first: where all ranks fail alike, as over a mistake in the recipe, the others stay silent.
        """
        try:
            if self.number:
                self._wait(2.0)
            speaks = int(self.store.add("spoken", 1)) == 1
            if speaks:
                self.store.set("failed", json.dumps({"code": code, "message": message, "rank": self.number}))
        except RuntimeError:
            return self.number == 0
        return speaks

    def _wait(self, seconds: float) -> None:
        """Wait until rank 0 has left, or until a rank has failed, or for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.store.check(["left/0"]) and not self.store.check(["failed"]):
            time.sleep(0.02)

    def leave(self, patient: bool = False) -> None:
        """Say good-bye; `patient`: not before rank 0, which still writes. The one who holds the store leaves last."""
        if self.hearts is None:
            return
        try:
            if patient and self.number:
                self._wait(PATIENT_S)
            self.hearts.leave()
            if self.number == 0 and not _agent_store():
                until = time.monotonic() + PATIENCE_S
                names = [f"left/{number}" for number in range(1, self.count)]
                while time.monotonic() < until and not self.store.check(names):
                    time.sleep(0.02)
        except RuntimeError:
            return


_here = Ranks()
_groups = 0
"""How many groups this process has joined: each has names of its own in the store."""


def here() -> Ranks:
    """The ranks that this process is one of: itself alone unless `joined` made a group."""
    return _here


class Joined:
    """Join the group that the environment names, and leave it at the end; inside another one nothing happens.

    An error in one rank ends all of them, with its exit code. `speak(code, message)` says what ends the process at
    once, and `hush(code)` makes the exception by which ranks end that have nothing to say: the error was said already.
    Without `hush` every rank raises its own error.
    """

    def __init__(
        self, speak: Callable[[int, str], Any] | None = None, hush: Callable[[int], BaseException] | None = None
    ) -> None:
        self.speak, self.hush = speak, hush
        self.ranks: Ranks | None = None

    def __enter__(self) -> Ranks:
        global _here
        seat = Seat.read()
        if seat.count > 1 and not _here.many:
            try:
                self.ranks = _here = _join(seat, self.speak)
            except NetwrightError as error:
                if self.hush is not None and getattr(error, "said", False):
                    raise self.hush(error.code) from None
                raise
        return _here

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        global _here
        if self.ranks is None:
            return
        ranks, _here = self.ranks, Ranks()
        if error is None or getattr(error, "exit_code", 1) == 0:  # as --help ends
            ranks.leave()
            return
        if self.hush is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher ends all ranks when the first has left
        if isinstance(error, Interrupted):
            if not ranks.signal:  # it came outside the steps, and nobody else knows: nobody shall wait for this rank
                ranks.fail(128 + error.number, say("signal {number}", number=error.number))
            ranks.leave(patient=True)
            return
        if isinstance(error, RuntimeError) and _is_exchange(error):
            error = ranks.lost(error)
        code = error.code if isinstance(error, NetwrightError) else int(getattr(error, "exit_code", 1))
        silent = isinstance(error, PeerError) and error.said
        silent = silent or not ranks.fail(code, self._words(ranks, error))
        ranks.leave()
        if silent and self.hush is not None:
            raise self.hush(code) from None
        if isinstance(error, PeerError):
            raise error from None
        if not silent and ranks.number and isinstance(error, NetwrightError):
            error.args = (self._words(ranks, error),)

    @staticmethod
    def _words(ranks: Ranks, error: BaseException) -> str:
        """An error's message; of another rank than the first, with the place where it happened."""
        if not ranks.number or isinstance(error, PeerError):
            return str(error)
        return say("rank {rank} on {host}: {message}", rank=ranks.number, host=socket.gethostname(), message=error)


def _is_exchange(error: RuntimeError) -> bool:
    """Whether an error comes from an exchange between ranks."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def _join(seat: Seat, speak: Callable[[int, str], Any] | None) -> Ranks:
    """Reach the store, find the partners, and connect to them."""
    global _groups
    _groups += 1
    limit = timeout_s()
    patience = max(limit, JOINING_S)
    dist = torch.distributed
    if not (dist.is_available() and dist.is_gloo_available()):
        raise UsageError(say("{count} ranks were started, but this build of torch cannot connect processes",
                             count=seat.count))  # fmt: skip
    store = _store(seat, patience)
    hearts = Hearts(_store(seat, patience, second=True), place(seat), seat.count, limit, patience, speak)
    ranks = Ranks(seat, hearts, store)
    hearts.start()
    choose_interface(seat.address)
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
    if not dist.is_initialized():
        group = dist.PrefixStore("group", store)
        with ranks.partners():
            wait = timedelta(seconds=max(COLLECTIVE_S, limit))
            dist.init_process_group(backend, store=group, rank=seat.number, world_size=seat.count, timeout=wait)
    hearts.peers = [Place(**found) for found in ranks.gather(vars(hearts.place), "places")]
    return ranks


def _agent_store() -> bool:
    """Whether the launcher holds the store, rather than rank 0."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store(seat: Seat, patience: float, second: bool = False) -> Any:
    """A connection to the store of all ranks; `second`: another connection of the same process."""
    dist = torch.distributed
    master = seat.number == 0 and not _agent_store() and not second
    try:
        store = dist.TCPStore(seat.address, seat.port, is_master=master, timeout=timedelta(seconds=patience),
                              wait_for_workers=False)  # fmt: skip
    except RuntimeError as error:
        text = say("rank {rank} cannot reach the others at {address}:{port}: {why}", rank=seat.number,
                   address=seat.address, port=seat.port, why=first_line(error))  # fmt: skip
        raise PeerError(text) from None
    words = [os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")]
    return dist.PrefixStore("/".join(["netwright", *words, str(_groups)]), store)
