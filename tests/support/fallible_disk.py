"""Disks for tests of durability: one that records every call, one that fails or dies at a given call."""

import os
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netwright import storage

WRITING = ("open", "write", "fsync", "close", "rename", "mkdir")
"""Calls whose failure fails a save; `unlink` and `rmdir` only tidy up."""


@dataclass(frozen=True)
class Call:
    """One call on the disk: its name, its file, and what it carried."""

    name: str
    path: Path
    other: Path | None
    data: bytes
    flags: int
    thread: int


class Quick(storage.Disk):
    """A disk that says it is done before it is: for tests of which nothing has to outlive the machine."""

    def fsync(self, handle):
        pass


class Recorder(Quick):
    """A disk that writes down every call."""

    def __init__(self):
        self.calls: list[Call] = []
        self.paths: dict[int, Path] = {}

    def note(self, name, path, other=None, data=b"", flags=0):
        self.calls.append(Call(name, path, other, data, flags, threading.get_ident()))

    def open(self, path, flags):
        self.note("open", path, flags=flags)
        handle = super().open(path, flags)
        self.paths[handle] = path
        return handle

    def write(self, handle, data):
        self.note("write", self.paths[handle], data=bytes(data))
        return super().write(handle, data)

    def fsync(self, handle):
        self.note("fsync", self.paths[handle])
        super().fsync(handle)

    def close(self, handle):
        self.note("close", self.paths[handle])
        super().close(handle)

    def rename(self, old, new):
        self.note("rename", old, new)
        super().rename(old, new)

    def unlink(self, path):
        self.note("unlink", path)
        super().unlink(path)

    def mkdir(self, path):
        self.note("mkdir", path)
        super().mkdir(path)

    def rmdir(self, path):
        self.note("rmdir", path)
        super().rmdir(path)


class Failing(Recorder):
    """A disk whose call number `point` (from 1) goes wrong; with `lasting` every one after it as well.

    `reason` is an error number, "short" for writes that take only half of their bytes, or "kill": half of a write
    happens, and the process ends as if it had been killed.
    """

    def __init__(self, point, reason, lasting=False):
        super().__init__()
        self.point, self.reason, self.lasting = point, reason, lasting

    def note(self, name, path, other=None, data=b"", flags=0):
        super().note(name, path, other, data, flags)
        count = len(self.calls)
        if count < self.point or (count > self.point and not self.lasting):
            return
        if self.reason == "kill" and name != "write":
            os._exit(9)
        if isinstance(self.reason, int) and name not in ("unlink", "rmdir"):
            raise OSError(self.reason, os.strerror(self.reason))

    def write(self, handle, data):
        turn = len(self.calls) + 1 == self.point
        if turn and self.reason in ("short", "kill"):
            self.note("write", self.paths[handle], data=bytes(data))
            done = os.write(handle, data[: max(1, len(data) // 2)])
            if self.reason == "kill":
                os._exit(9)
            return done
        return super().write(handle, data)

    def close(self, handle):
        try:
            super().close(handle)
        except OSError:
            os.close(handle)  # a failed close frees the handle all the same
            raise


@contextmanager
def on(disk):
    """Let `disk` make every durable call."""
    before, storage.disk = storage.disk, disk
    try:
        yield disk
    finally:
        storage.disk = before


def in_a_child(work):
    """Do `work` in a forked process; its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside torch's threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
