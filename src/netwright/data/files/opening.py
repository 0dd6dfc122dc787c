"""`open_tree`: what stands at a path the owner typed: a folder, an archive by its content, or one file."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from netwright.data.files.archives import damaged
from netwright.data.files.tars import SpooledTarTree, TarTree, first_block, is_header
from netwright.data.files.tree import (
    OPEN_FILE,
    FileTree,
    FolderTree,
    RegularFile,
    Tree,
    hidden,
    kind_of,
    printable,
    unreadable,
)
from netwright.data.files.zips import ZipTree
from netwright.errors import DataError, nearest
from netwright.language import say

# Zip containers that are documents of their own kind.
_DOCUMENTS = {
    ".npz", ".xlsx", ".docx", ".pptx", ".ods", ".odt", ".odp", ".pt", ".pth", ".ckpt", ".bin", ".keras",
    ".jar", ".whl", ".apk", ".epub", ".mlmodel", ".ptl", ".pkl",
}  # fmt: skip
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
}  # fmt: skip


def open_tree(path: Path | str, also: Iterable[str] = ()) -> Tree:
    """The files at `path`: a folder, an archive (.tar .tar.gz .tgz .zip, recognised by its content), or one file.

    Errors: DataError where there is nothing (with the nearest name that exists or is `also` known), where it is
    neither folder nor regular file, and where an archive is damaged or unsafe.
    """
    place = typed(path)
    try:
        mode = os.stat(place).st_mode
        if stat.S_ISDIR(mode):
            return FolderTree(place)
        if not stat.S_ISREG(mode):
            where = printable(str(path))
            raise DataError(
                say("{path} is neither a folder nor a regular file: {kind}", path=where, kind=kind_of(mode))
            )
        descriptor = os.open(place, OPEN_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(_nothing_at(place, also)) from None
    except OSError as error:
        raise DataError(unreadable(place, error)) from None
    file = RegularFile(place, descriptor)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise DataError(say("{path} changed while it was opened", path=printable(str(path))))
    return _archive(place, file) or FileTree(place, file)


def typed(path: str | os.PathLike[str]) -> Path:
    """A path as a person typed it, `~` filled in. Errors: DataError where no path can be so called."""
    if not str(path) or "\0" in str(path):
        raise DataError(say("{path!r} is no path to data", path=printable(str(path))))
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{printable(str(path))}: {error}") from None


def _nothing_at(place: Path, also: Iterable[str]) -> str:
    """What is missing, and what stands beside it under a similar name."""
    missing = place
    while missing.parent != missing and not os.path.lexists(missing.parent):
        missing = missing.parent
    text = say("{path} does not exist.", path=printable(str(place)))
    if os.path.islink(missing):
        return say("{path} is a link to a place that does not exist.", path=printable(str(missing)))
    try:
        with os.scandir(missing.parent) as found:
            beside = sorted(printable(entry.name) for entry, _ in zip(found, range(10_000), strict=False))
    except OSError:
        return text
    best = nearest(printable(missing.name), [*(name for name in beside if not hidden(name)), *also])
    near = say("Did you mean {best!r}?", best=best if best in also else str(missing.parent / best)) if best else ""
    return f"{text} {near}".strip()


def _archive(path: Path, file: RegularFile) -> Tree | None:
    """The archive in `file`, or None when it is none. Errors: DataError for a damaged or unsafe archive."""
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
