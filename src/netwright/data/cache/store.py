"""The entries of the cache: found by key, listed, held below a size, removed when they are old or broken.

An entry is a folder named by its key. `entry.json` is written last and vouches for every other file in it, so a
folder without it is unfinished work: kept for the next start, never read as finished.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwright.data.cache.locks import NAME as LOCK
from netwright.data.cache.locks import Lock, lock
from netwright.data.telling import tell
from netwright.language import say
from netwright.places import cache_folder
from netwright.rundir import open_sealed, sealed_json
from netwright.storage import replace_bytes, sync_folder

FORMAT = 1
"""Goes into every key: entries of other formats are never read."""
CONTENT = "entry.json"
GIGABYTE = 10**9
DEFAULT_LIMIT = 20 * GIGABYTE
RESERVE = 2**28
"""Bytes of the disk that the cache leaves free."""


@dataclass(frozen=True)
class Entry:
    """One entry, whether it is there or not."""

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    def lock(self, *, alone: bool) -> Lock | None:
        """See `locks.lock`."""
        return lock(self.path, alone=alone)

    def content(self) -> dict[str, Any] | None:
        """What `entry.json` says where it is sound and every file has the length that it states, else None."""
        try:
            content = open_sealed((self.path / CONTENT).read_bytes())
        except OSError:
            return None
        if content is None or content.get("format") != FORMAT or content.get("key") != self.key:
            return None
        try:
            whole = all(os.stat(self.path / name).st_size == size for name, size in content["files"].items())
        except (OSError, KeyError, AttributeError, TypeError, ValueError):
            return None
        return content if whole else None

    def commit(self, content: dict[str, Any], files: dict[str, int]) -> None:
        """Write `entry.json`, durably: from here on the entry is finished."""
        sync_folder(self.path)
        sealed = sealed_json({"format": FORMAT, "key": self.key, **content, "files": files})
        replace_bytes(self.path / CONTENT, sealed)
        sync_folder(self.path.parent)

    def state(self) -> str:
        """`ready`, `unfinished` (its making was stopped), or `broken`."""
        if (self.path / CONTENT).exists():
            return "ready" if self.content() is not None else "broken"
        return "unfinished" if any(self.path.glob("*.part")) else "broken"

    def touch(self) -> None:
        """Note that the entry is used now."""
        with suppress(OSError):  # a cache that may only be read is used all the same
            os.utime(self.path / LOCK)

    @property
    def used(self) -> float:
        """When the entry was last used, in seconds since 1970."""
        for path in (self.path / LOCK, self.path):
            try:
                return path.stat().st_mtime
            except OSError:
                continue
        return 0.0

    @property
    def bytes(self) -> int:
        """Bytes of all its files."""
        total = 0
        for path in self.path.glob("*"):
            try:
                total += path.lstat().st_size
            except OSError:
                continue
        return total

    def clear(self) -> None:
        """Remove all files but the lock, `entry.json` first; the caller holds the lock alone."""
        names = sorted(self.path.iterdir(), key=lambda path: path.name != CONTENT)
        for path in names:
            if path.name == LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def remove(self) -> bool:
        """Remove the entry; False where it is in use or cannot be removed."""
        try:
            if not self.path.is_dir():
                self.path.unlink(missing_ok=True)  # a stray file among the entries
                return True
            held = self.lock(alone=True)
        except OSError:
            return False
        return held is not None and self.remove_held(held)

    def remove_held(self, held: Lock) -> bool:
        """Remove an entry whose lock the caller holds alone; False where that is impossible."""
        try:
            self.clear()
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        except OSError:
            return False
        finally:
            held.close()
        return True


@dataclass(frozen=True)
class Store:
    """All entries below one folder."""

    folder: Path

    def entry(self, key: str) -> Entry:
        return Entry(self.folder / key)

    def entries(self) -> list[Entry]:
        """All entries, the one used longest ago first."""
        try:
            found = [Entry(path) for path in self.folder.iterdir()]
        except OSError:
            return []
        return sorted(found, key=lambda entry: (entry.used, entry.key))

    def near(self, prefix: str) -> bool:
        """Whether any entry's key begins so."""
        return any(self.folder.glob(f"{prefix}*"))

    def limit(self) -> int:
        """Bytes that all entries may take: `NETWRIGHT_CACHE_GB`, else 20 GB or half of what is free."""
        given = os.environ.get("NETWRIGHT_CACHE_GB", "")
        if given:
            try:
                wanted = float(given)
            except ValueError:
                wanted = -1.0
            if 0 <= wanted < 10**9:
                return int(wanted * GIGABYTE)
            tell(say("NETWRIGHT_CACHE_GB={given!r} is no number of gigabytes; 20 is taken", given=given))
        return min(DEFAULT_LIMIT, (self._free() + sum(entry.bytes for entry in self.entries())) // 2)

    def _free(self) -> int:
        place = self.folder
        while not place.exists() and place.parent != place:
            place = place.parent
        try:
            return shutil.disk_usage(place).free
        except OSError:
            return 0

    def make_room(self, needed: int, keep: str) -> str:
        """Remove what was used longest ago until `needed` more bytes fit; says why not where they never will.

        The entry `keep` stays, and so does every entry that is in use.
        """
        limit = self.limit()
        held = self.entry(keep).bytes
        others = [entry for entry in self.entries() if entry.key != keep]
        total = sum(entry.bytes for entry in others)
        if max(needed, held) > limit:
            return say("it needs {needed}, the cache may take {limit}", needed=size(needed), limit=size(limit))
        for entry in others:
            if total + max(needed, held) <= limit and self._free() - RESERVE >= needed - held:
                return ""
            taken = entry.bytes
            if entry.remove():
                total -= taken
        if total + max(needed, held) > limit:
            return say("other entries are in use, and the cache may take {limit}", limit=size(limit))
        if self._free() - RESERVE < needed - held:
            return say("it needs {needed}, the disk has {free} left", needed=size(needed), free=size(self._free()))
        return ""


def store() -> Store | None:
    """The user's cache; None where it is switched off (`NETWRIGHT_CACHE_GB=0`)."""
    found = Store(cache_folder().absolute() / "data")
    return found if os.environ.get("NETWRIGHT_CACHE_GB", "").strip() not in ("0", "0.0") else None


def size(count: float) -> str:
    """Bytes in words: 3.2 GB."""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= worth:
            return f"{count / worth:.3g} {unit}" if count < 999.5 * worth else f"{count / worth:,.0f} {unit}"
    return say("{count} bytes", count=int(count))


def listed(found: Store, verify: bool = False) -> dict[str, Any]:
    """What `netwright cache list --json` prints; `verify`: every byte is hashed."""
    rows = [_row(entry, verify) for entry in reversed(found.entries())]
    return {"folder": str(found.folder), "entries": rows, "bytes": sum(row["bytes"] for row in rows)}


def _row(entry: Entry, verify: bool) -> dict[str, Any]:
    from netwright.data.cache.rows import sound

    state, content = entry.state(), entry.content() or {}
    if verify and state == "ready" and not sound(entry, content):
        state = "broken"
    return {
        "key": entry.key,
        "name": str(content.get("name", "")),
        "kind": str(content.get("kind", "")),
        "state": state,
        "bytes": entry.bytes,
        "examples": content.get("examples"),
        "used": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(entry.used)),
    }


def prune(
    found: Store, *, everything: bool = False, older_than: float | None = None, to: float | None = None,
    verify: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Remove broken entries and what is beyond the limit, or more: all, or those not used for `older_than` days, or
    those used longest ago until `to` gigabytes are left. Entries in use stay. Returns what was removed."""
    removed = []
    limit = found.limit() if to is None else int(to * GIGABYTE)
    for entry, row in _doomed(found, everything, older_than, verify):
        if entry.remove():
            removed.append(row)
    entries = found.entries()
    total = sum(entry.bytes for entry in entries)
    for entry in entries:
        if total <= limit:
            break
        row = _row(entry, False)
        if entry.remove():
            removed.append(row)
            total -= row["bytes"]
    return {"folder": str(found.folder), "removed": removed, "bytes": sum(row["bytes"] for row in removed)}


def _doomed(
    found: Store, everything: bool, older_than: float | None, verify: bool
) -> Iterator[tuple[Entry, dict[str, Any]]]:
    now = time.time()
    for entry in found.entries():
        row = _row(entry, verify)
        old = older_than is not None and now - entry.used > older_than * 86400
        if everything or old or row["state"] == "broken":
            yield entry, row
