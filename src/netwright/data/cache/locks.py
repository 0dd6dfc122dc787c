"""Locks of cache entries: many readers or one writer, of the operating system, so that they die with their process."""

import os
import weakref
from pathlib import Path

NAME = "lock"


class Lock:
    """A lock that is held until `close`, or until the object goes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)
        self.close.atexit = False

    def share(self) -> None:
        """Let other readers in."""
        import fcntl

        fcntl.flock(self.descriptor, fcntl.LOCK_SH)


def lock(folder: Path, *, alone: bool) -> Lock | None:
    """The lock of an entry's folder, which is made where it is missing; None where others hold it.

    Errors: OSError where the folder cannot be made or written.
    """
    import fcntl

    path, kind = folder / NAME, fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    while True:
        if alone or not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = _opened(path, alone)
        except FileNotFoundError:  # the folder was removed in between
            continue
        held = Lock(descriptor)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return None
        if _stands(path, descriptor):
            return held
        held.close()  # whoever held it before has removed it


def _opened(path: Path, alone: bool) -> int:
    if not alone:  # readers get along with a folder that they may not write
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _stands(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
