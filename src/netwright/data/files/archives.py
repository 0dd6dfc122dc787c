"""Archives read in place (rule P5): .tar, .tar.gz and .zip, never extracted; what an archive may hold.

One unsafe or damaged member refuses the archive whole: a link, device or sparse entry; a duplicate or
case-clashing name; a name that is absolute, climbs (`..`) or holds a backslash, drive or NUL; zip entries that
overlap, are encrypted or differ between directory and header. Sizes in headers are claims: what a stream
inflates to is counted while it is read, at most `RATIO` times what it was packed in.
"""

import re
import unicodedata
from pathlib import Path

from netwright.data.files.tree import ENTRY_LIMIT, Entry, RegularFile, Tree, hidden, printable
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

# Zip containers that are documents of their own kind.
_DOCUMENTS = {
    ".npz", ".xlsx", ".docx", ".pptx", ".ods", ".odt", ".odp", ".pt", ".pth", ".ckpt", ".bin", ".keras",
    ".jar", ".whl", ".apk", ".epub", ".mlmodel", ".ptl", ".pkl",
}  # fmt: skip
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
}  # fmt: skip


def open_archive(path: Path, file: RegularFile) -> Tree | None:
    """The archive in `file`, or None when it is none. Errors: DataError for a damaged or unsafe archive."""
    from netwright.data.files.tars import SpooledTarTree, TarTree, first_block, is_header
    from netwright.data.files.zips import ZipTree

    head, low = file.at(0, 512), path.name.lower()
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") and path.suffix.lower() not in _DOCUMENTS:
        return ZipTree(path, file)
    if is_header(head) or (low.endswith(".tar") and len(head) == 512 and not any(head)):
        return TarTree(path, file)
    gzipped = low.endswith((".tar.gz", ".tgz"))
    if head[:2] == b"\x1f\x8b" and (gzipped or is_header(first_block(path, file))):
        return SpooledTarTree(path, file)
    for magic, kind in _OTHERS.items():
        if head.startswith(magic) and (kind != "bzip2" or head[4:10] == b"1AY&SY"):
            raise DataError(
                say("{path} is a {kind} archive; .tar, .tar.gz and .zip are read", path=printable(str(path)), kind=kind)
            )
    if gzipped or low.endswith((".tar", ".zip")):
        raise damaged(path, say("its content is no tar, tar.gz or zip archive") if head else say("it is empty"))
    return None


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
