"""Files below one place: a folder, an archive read in place, or a single file (rules P4 and P5).

Readers see the three alike: `entries` names every regular file with its size, `read` gives one file's
bytes under a limit, `walk` gives many in the order that is cheapest for the place.

What the owner typed (the path itself) may be absolute, relative, `~` or a link. What stands below it comes
from strangers: links are never followed, and nothing but regular files is ever opened.
"""

import os
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from netwright.data.source import Problem
from netwright.errors import DataError, hint
from netwright.language import say

ENTRY_LIMIT = 2_000_000
"""Files and folders that one place may hold."""
READ_LIMIT = 2**31
"""Bytes that one file may have to be read at once."""
DEPTH_LIMIT = 64
"""Folders within folders; deeper ones are reported and left out."""
SHOWN = 20
"""Problems of one kind that are told one by one; the rest are counted."""

_JUNK = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Entry:
    """A regular file in a tree: its posix path relative to the tree's root, and its size in bytes."""

    name: str
    size: int


def printable(name: str) -> str:
    """`name` as it can be shown anywhere: control characters and undecodable bytes as escapes."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    # The two joiners belong to ordinary emoji and to Persian words; other format characters can hide a name.
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else c.encode("unicode_escape").decode() for c in text)


def hidden(name: str) -> bool:
    """Whether a file or folder name is one that systems leave behind (.DS_Store, __MACOSX, Thumbs.db, .git ...)."""
    return name.startswith(".") or name.lower() in _JUNK


class Tally:
    """Problems in order of appearance; beyond `SHOWN` of one kind only their number is kept."""

    def __init__(self) -> None:
        self._shown: list[Problem] = []
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, where: str, kind: str, action: str, detail: str = "") -> None:
        """Note a problem; `kind` and `action` decide what is counted together, `detail` is told after the kind."""
        key = (kind, action)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] <= SHOWN:
            self._shown.append(Problem(where, f"{kind}: {detail}" if detail else kind, action))

    def __len__(self) -> int:
        """How many problems were noted, the counted ones included."""
        return sum(self._counts.values())

    def problems(self) -> list[Problem]:
        """The problems, and one line with the exact number for each kind that has more than `SHOWN`."""
        more = [
            Problem(say("{count} more", count=n - SHOWN), say("{kind} ({count} in all)", kind=kind, count=n), action)
            for (kind, action), n in self._counts.items()
            if n > SHOWN
        ]
        return [*self._shown, *more]


class Tree(ABC):
    """Files below one place. `close` (or `with`) hands its file descriptors back; else they go with the object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.folders: list[str] = []
        """Names of all folders, empty ones too."""
        self.tally = Tally()

    @property
    def problems(self) -> list[Problem]:
        """What was odd so far; grows when files turn out unreadable in `walk`."""
        return self.tally.problems()

    @abstractmethod
    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        """The bytes of the entry `name`. Errors: DataError where there is none, or it is larger than `limit`."""

    @abstractmethod
    def walk(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of each entry of `names`, in the order that is cheapest for the place."""

    @abstractmethod
    def close(self) -> None:
        """Hand the file descriptors back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _missing(self, name: str) -> DataError:
        text = say("{path} holds no file {name!r}.", path=printable(str(self.path)), name=printable(name))
        return DataError(f"{text} {hint(name, (printable(entry.name) for entry in self.entries[:5000]))}")

    def _too_large(self, name: str, limit: int) -> DataError:
        return DataError(
            say(
                "{path}: {name} is larger than {limit} bytes",
                path=printable(str(self.path)), name=printable(name), limit=f"{limit:,}",
            )
        )  # fmt: skip


def asked_once(question: Callable[[Tree], _Answer]) -> Callable[[Tree], _Answer]:
    """`question` with its answer kept for each tree, as long as that lives: every reader asks what kind of place it is.

    A tree's entries do not change once it is open. The answer is shared: nobody may change it.
    """
    known: weakref.WeakKeyDictionary[Tree, _Answer] = weakref.WeakKeyDictionary()

    @wraps(question)
    def answer(tree: Tree) -> _Answer:
        if tree not in known:
            known[tree] = question(tree)
        return known[tree]

    return answer


class RegularFile:
    """An open regular file, read at any place from any thread."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        # No open file object: those warn when they are collected, and a tree may live as long as its data.
        self.close = weakref.finalize(self, os.close, descriptor)
        self.close.atexit = False

    def at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer where the file ends."""
        try:
            found = os.pread(self.descriptor, count, offset)
            while 0 < len(found) < count:
                piece = os.pread(self.descriptor, count - len(found), offset + len(found))
                if not piece:
                    break
                found += piece
        except OSError as error:
            raise DataError(unreadable(self.path, error)) from None
        return found


class FolderTree(Tree):
    """The regular files below a folder, each opened component by component, links never followed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._root = os.open(path, _FOLDER)
        except OSError as error:
            raise DataError(unreadable(path, error)) from None
        self.close_root = weakref.finalize(self, os.close, self._root)
        self.close_root.atexit = False
        self._sizes: dict[str, int] = {}
        self._scan(self._root, "", 0)
        self.entries = [Entry(name, size) for name, size in sorted(self._sizes.items())]
        self.folders.sort()

    def _scan(self, folder: int, prefix: str, depth: int) -> None:
        below = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if not hidden(entry.name) and self._note(entry, prefix + entry.name):
                        below.append(entry.name)
        except OSError as error:
            self._closed(prefix or ".", error)
        for name in sorted(below):
            self._enter(folder, prefix, name, depth)

    def _enter(self, parent: int, prefix: str, name: str, depth: int) -> None:
        self.folders.append(prefix + name)
        self._count()
        if depth >= DEPTH_LIMIT:
            self.tally.add(printable(prefix + name), say("folder lies too deep"), say("left out"))
            return
        try:
            folder = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        except OSError as error:
            self._closed(prefix + name, error)
            return
        try:
            self._scan(folder, f"{prefix}{name}/", depth + 1)
        finally:
            os.close(folder)

    def _count(self) -> None:
        if len(self._sizes) + len(self.folders) > ENTRY_LIMIT:
            where = printable(str(self.path))
            raise DataError(say("{path} holds more than {limit} files", path=where, limit=f"{ENTRY_LIMIT:,}"))

    def _closed(self, name: str, error: OSError) -> None:
        self.tally.add(printable(name), say("folder cannot be read"), say("left out"), error.strerror or str(error))

    def _lost(self, name: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.tally.add(printable(name), say("vanished or cannot be read"), say("left out"), reason)

    def _note(self, entry: "os.DirEntry[str]", name: str) -> bool:
        """Take a regular file in, report what is none; True for a folder."""
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._lost(name, error)
            return False
        if stat.S_ISDIR(found.st_mode):
            return True
        if stat.S_ISREG(found.st_mode):
            self._sizes[name] = found.st_size
        elif stat.S_ISLNK(found.st_mode):
            self.tally.add(printable(name), say("a link"), say("not followed, left out"))
        else:
            self.tally.add(printable(name), say("no regular file"), say("not opened, left out"), kind_of(found.st_mode))
        self._count()
        return False

    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        if name not in self._sizes:
            raise self._missing(name)
        try:
            return self._bytes(name, limit)
        except OSError as error:
            raise DataError(unreadable(self.path / name, error)) from None

    def _bytes(self, name: str, limit: int) -> bytes:
        *folders, last = name.split("/")
        folder = self._root
        try:
            for part in folders:
                deeper = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                if folder != self._root:
                    os.close(folder)
                folder = deeper
            descriptor = os.open(last, OPEN_FILE | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            if folder != self._root:
                os.close(folder)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, kind_of(found.st_mode))
            return self._content(descriptor, name, found.st_size, limit)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, name: str, size: int, limit: int) -> bytes:
        """All bytes, whatever `fstat` said: the file may grow or shrink while it is read."""
        if size > limit:
            raise self._too_large(name, limit)
        found = os.read(descriptor, size + 1)
        while len(found) <= limit and (piece := os.read(descriptor, 2**20)):
            found += piece
        if len(found) > limit:
            raise self._too_large(name, limit)
        return found

    def walk(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """As given; a file that vanished or cannot be read is left out and added to `problems`."""
        for name in names:
            if name not in self._sizes:
                raise self._missing(name)
            try:
                content = self._bytes(name, READ_LIMIT)
            except OSError as error:
                self._lost(name, error)
                continue
            yield name, content

    def close(self) -> None:
        self.close_root()


class FileTree(Tree):
    """A single file: one entry, named as the file is."""

    def __init__(self, path: Path, file: RegularFile) -> None:
        super().__init__(path)
        self._file = file
        self.entries = [Entry(path.name, file.size)]

    def read(self, name: str, limit: int = READ_LIMIT) -> bytes:
        if name != self.entries[0].name:
            raise self._missing(name)
        if self._file.size > limit:
            raise self._too_large(name, limit)
        return self._file.at(0, self._file.size)

    def walk(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self.read(name)

    def close(self) -> None:
        self._file.close()


def unreadable(path: Path, error: OSError) -> str:
    """Why the operating system does not give a file."""
    return say("{path} cannot be read: {reason}", path=printable(str(path)), reason=error.strerror or str(error))


def kind_of(mode: int) -> str:
    """What a thing that is no regular file is."""
    kinds = {
        stat.S_IFIFO: say("a FIFO"), stat.S_IFSOCK: say("a socket"), stat.S_IFLNK: say("a link"),
        stat.S_IFCHR: say("a device"), stat.S_IFBLK: say("a device"), stat.S_IFDIR: say("a folder"),
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), say("of an unknown kind"))
