"""Saves off the critical path: the training takes a snapshot, one background thread writes, verifies and rotates.

The thread does all durable calls of a save: rows fsynced, best weights drafted, generation written and read back, best
weights put in force, the oldest generation removed. At most one save is in flight. What fails is known to the training
at its next look; nothing is ever called saved that is not.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from netwright.errors import RunError
from netwright.language import say
from netwright.rundir import RunFolder
from netwright.training.checkpoints import Checkpoint, pieces, save_checkpoint


@dataclass(frozen=True)
class Snapshot:
    """What one save writes: a checkpoint of copies, and the best weights where they changed since the last."""

    checkpoint: Checkpoint
    best: dict[str, Tensor] | None
    best_facts: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A save that did not happen: why, and what of it has to come with the next."""

    snapshot: Snapshot
    error: RunError


class Saver:
    """Writes snapshots into one run folder, one at a time, in a thread of its own."""

    def __init__(self, folder: RunFolder, run_id: str, sources: dict[str, str]) -> None:
        self.folder, self.run_id, self.sources = folder, run_id, sources
        self.saved: int | None = None
        """The step of the newest generation known to be whole."""
        self.best = ""
        """The digest of the best weights in force."""
        self._pool: ThreadPoolExecutor | None = None
        self._flying: Future[str] | None = None
        self._snapshot: Snapshot | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is in flight."""
        return self._flying is not None and not self._flying.done()

    def start(self, snapshot: Snapshot) -> None:
        """Save `snapshot` in the background; the one before must have been taken by `landed`."""
        assert self._flying is None, "two saves at once"
        self._pool = self._pool or ThreadPoolExecutor(1, "netwright-saver")
        self._snapshot = snapshot
        self._flying = self._pool.submit(self._save, snapshot)

    def landed(self, *, wait: bool = False) -> Failure | None:
        """Take the save in flight where it has ended, or `wait` for that; what failed, or None."""
        if self._flying is None or (not wait and not self._flying.done()):
            return None
        flying, snapshot = self._flying, self._snapshot
        assert snapshot is not None
        try:
            self.best, self.saved = flying.result(), snapshot.checkpoint.step
        except RunError as error:
            return Failure(snapshot, error)
        finally:
            if flying.done():
                self._flying = self._snapshot = None
        return None

    def close(self) -> Failure | None:
        """Wait for the save in flight and end the thread."""
        try:
            return self.landed(wait=True)
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def _save(self, snapshot: Snapshot) -> str:
        """One save, on the background thread; the digest of the best weights that are in force after it."""
        best, step = self.best, snapshot.checkpoint.step
        try:
            self.folder.sync_rows()
            if snapshot.best is not None:
                best = self.folder.draft_best(pieces(snapshot.best, {"run": self.run_id}), snapshot.best_facts)
        except RunError as error:
            text = say("checkpoint of step {step} was NOT saved in {path}: {why}",
                       step=step, path=self.folder.path / "checkpoints", why=error)  # fmt: skip
            raise RunError(text) from None
        checkpoint = replace(snapshot.checkpoint, best=best)
        settle = self.folder.settle_best if snapshot.best is not None else None
        save_checkpoint(self.folder.path, self.run_id, checkpoint, self.sources, settle)
        return best

    def nothing_newer(self) -> str:
        """What is saved after all, as a sentence."""
        if self.saved is None:
            return say("nothing is saved")
        return say("nothing newer than step {step} is saved", step=self.saved)
