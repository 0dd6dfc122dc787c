"""What an archive may hold (rule P5): .tar, .tar.gz and .zip are read in place, never extracted.

One unsafe or damaged member refuses the archive whole: a link, device or sparse entry; a duplicate or
case-clashing name; a name that is absolute, climbs (`..`) or holds a backslash, drive or NUL; zip entries that
overlap, are encrypted or differ between directory and header. Sizes in headers are claims: what a stream
inflates to is counted while it is read, at most `RATIO` times what it was packed in.
"""

import re
import unicodedata
from pathlib import Path

from netwright.data.files.tree import ENTRY_LIMIT, Entry, hidden, printable
from netwright.errors import DataError
from netwright.language import say

MEMBER_LIMIT = 2**32
"""Bytes of one member."""
TOTAL_LIMIT = 2**36
"""Bytes of all members of a .zip together (a .tar is bounded by its own size)."""
SPOOL_LIMIT = 2**33
"""Bytes that a .tar.gz may inflate to: they are kept in a private temporary file while it is open."""
RATIO = 200
"""Times that packed bytes may grow. Copies of small JPEG files reach 3, text about 10, tar headers about 70."""
RATIO_FREE = 2**20
"""Bytes that are never held against `RATIO`: small archives of blank files are harmless."""
NAME_LIMIT, PART_LIMIT = 1024, 255
"""Characters of a member's name, and of each part of it between slashes."""


def damaged(path: Path, reason: str) -> DataError:
    """The refusal of an archive that cannot be read."""
    return DataError(say("{path} is no sound archive: {reason}", path=printable(str(path)), reason=reason))


def unsafe(path: Path, name: str, reason: str) -> DataError:
    """The refusal of an archive for one of its members."""
    shown = printable(name) if len(name) <= 120 else f"{printable(name[:50])}...{printable(name[-50:])}"
    where = printable(str(path))
    return DataError(say("{path} is refused for its member '{name}': {reason}", path=where, name=shown, reason=reason))


class Names:
    """The names of an archive's members: checked, made plain (`./a//b` is `a/b`), none twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, int] = {}
        self.folders: set[str] = set()
        self._folded: dict[str, str] = {}
        self.count = 0

    def add_file(self, raw: str, size: int) -> str:
        """Take in a file; returns its plain name. Errors: DataError naming the member."""
        name = self._plain(raw)
        if not name:
            raise unsafe(self.path, raw, say("a file without a name"))
        folded = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
        if folded in self._folded:
            twin = self._folded[folded]
            if twin == name:
                raise unsafe(self.path, raw, say("it stands there twice"))
            raise unsafe(self.path, raw, say("it differs from '{twin}' in case only", twin=printable(twin)))
        if name in self.folders:
            raise unsafe(self.path, raw, say("it is both a file and a folder"))
        if size > MEMBER_LIMIT:
            raise unsafe(self.path, raw, say("it is larger than {limit} bytes", limit=f"{MEMBER_LIMIT:,}"))
        self._folded[folded] = name
        self.files[name] = size
        self._above(name, raw)
        return name

    def add_folder(self, raw: str) -> None:
        """Take in a folder, which may stand there more than once."""
        name = self._plain(raw)
        if name:
            self._above(f"{name}/", raw)

    def _above(self, name: str, raw: str) -> None:
        folder = name.rpartition("/")[0]
        while folder and folder not in self.folders:
            if folder in self.files:
                raise unsafe(self.path, raw, say("it is both a file and a folder"))
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]

    def _plain(self, raw: str) -> str:
        self.count += 1
        if self.count > ENTRY_LIMIT:
            raise damaged(self.path, say("it holds more than {limit} members", limit=f"{ENTRY_LIMIT:,}"))
        reason = _name_fault(raw)
        if reason:
            raise unsafe(self.path, raw, reason)
        return "/".join(part for part in raw.split("/") if part not in ("", "."))

    def entries(self) -> list[Entry]:
        """The files in order of name, without what systems leave behind."""
        kept = (name for name in self.files if not any(map(hidden, name.split("/"))))
        return [Entry(name, self.files[name]) for name in sorted(kept)]

    def shown_folders(self) -> list[str]:
        """The folders in order of name, without what systems leave behind."""
        return sorted(name for name in self.folders if not any(map(hidden, name.split("/"))))


def _name_fault(raw: str) -> str:
    """Why a member's name is unsafe, or an empty string."""
    if "\0" in raw:
        return say("its name holds a NUL")
    if "\\" in raw:
        return say("its name holds a backslash")
    if raw.startswith("/") or re.match("[A-Za-z]:", raw):
        return say("its name is absolute")
    parts = raw.split("/")
    if ".." in parts:
        return say("its name climbs out with '..'")
    if len(raw) > NAME_LIMIT or any(len(part) > PART_LIMIT for part in parts):
        return say("its name is too long")
    return ""
