"""All durable input and output of the project: what these few functions wrote survives a kill and a power loss.

Every call that changes a disk goes through `disk`, one object with one method a system call: tests put a recorder or a
disk that fails in its place. Errors are OSErrors that name their file. A failed fsync or close means that the file's
content is unknown: it is never retried on the same file (the kernel may have dropped the page and would say yes).
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from netwright.language import say

Data = bytes | Sequence[bytes | memoryview]
"""A file's content: bytes, or its pieces in order."""

PIECE = 1 << 20
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""What file systems answer that cannot sync a folder: there is nothing to do then."""
NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.glusterfs",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs",
    }
)  # fmt: skip
"""Types of file systems that several machines may hold at once."""
MOUNTS = Path("/proc/self/mounts")


class Disk:
    """The system calls that change a disk, one method each."""

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)

    def write(self, handle: int, data: bytes | memoryview) -> int:
        return os.write(handle, data)

    def fsync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)


disk = Disk()
"""The one seam: what stands here makes every durable call."""


def write_bytes(path: Path, data: Data) -> None:
    """Write and fsync a new file; an error here means that the file is not there."""
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as handle:
        for piece in [data] if isinstance(data, bytes) else data:
            left = memoryview(piece)
            while len(left):
                left = left[_write(handle, left) :]
        disk.fsync(handle)


def append_bytes(path: Path, data: bytes) -> int:
    """Append to a file as much as goes, and return how much that was; readers see it at once, `sync_file` keeps it."""
    done = 0
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as handle:
        while done < len(data):
            try:
                done += _write(handle, memoryview(data)[done:])
            except OSError:
                if not done:
                    raise
                return done
    return done


def sync_file(path: Path) -> None:
    """Make what was appended to a file durable."""
    with _opened(path, os.O_WRONLY) as handle:
        disk.fsync(handle)


def replace_bytes(path: Path, data: Data) -> None:
    """Replace a file atomically and durably: temporary neighbour, fsync, rename, fsync of the folder."""
    draft = draft_of(path)
    try:
        write_bytes(draft, data)
        rename(draft, path)
    except OSError:
        with suppress(OSError):
            remove(draft)
        raise
    sync_folder(path.parent)


def draft_of(path: Path) -> Path:
    """The name under which a file is written before it gets its own."""
    return path.with_name(f".{path.name}.new")


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name, in place of what had it; `sync_folder` makes it durable."""
    with _naming(new):
        disk.rename(old, new)


def make_folder(path: Path) -> None:
    """Make one folder; one that is there stays."""
    try:
        with _naming(path):
            disk.mkdir(path)
    except FileExistsError:
        if not path.is_dir():
            raise


def remove(path: Path) -> None:
    """Remove a file, or a folder of files with all that is in it; what is not there is no error."""
    with _naming(path), suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            for entry in sorted(path.iterdir()):
                remove(entry)
            disk.rmdir(path)
        else:
            disk.unlink(path)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    with _opened(path, os.O_RDONLY) as handle:
        try:
            disk.fsync(handle)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC:
                raise


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes; anything else is an OSError (opening a FIFO would wait for ever)."""
    return b"".join(read_pieces(path))


def digest_of(path: Path) -> tuple[int, str]:
    """Length and SHA-256 of a regular file, read piece by piece."""
    found, length = hashlib.sha256(), 0
    for piece in read_pieces(path):
        found.update(piece)
        length += len(piece)
    return length, found.hexdigest()


def read_pieces(path: Path) -> Iterator[bytes]:
    """A regular file's bytes, piece by piece."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with _naming(path), open(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, say("it is no regular file"), str(path))
        while piece := file.read(PIECE):
            yield piece


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds `path`, by the table of mounts; empty where there is no such table."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    place, found, longest = os.path.realpath(path), "", -1
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two on one point the later lies on top
            found, longest = fields[2], len(point)
    return found


def shared(kind: str) -> bool:
    """Whether a type of file system may be held by several machines, so that a lock of one may not bind another."""
    return kind in NETWORK


def _unescaped(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text


def _write(handle: int, data: memoryview) -> int:
    done = disk.write(handle, data)
    if done <= 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return done


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A handle, closed at the end; an error of the closing counts unless there was one before."""
    with _naming(path):
        handle, whole = disk.open(path, flags), False
        try:
            yield handle
            whole = True
        finally:
            with nullcontext() if whole else suppress(OSError):
                disk.close(handle)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name their file: those of calls on handles do not by themselves."""
    try:
        yield
    except OSError as error:
        error.filename = str(path) if isinstance(error.filename, int) else error.filename or str(path)
        raise
