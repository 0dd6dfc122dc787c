"""Whose turn it is with an entry: one process makes it, the others wait for that one and then read."""

import time
from dataclasses import dataclass
from typing import Any

from netwright.data.cache.locks import Lock
from netwright.data.cache.store import CONTENT, Entry, Store
from netwright.data.telling import Counter, tell
from netwright.language import say

STALLED_S, POLL_S = 20.0, 0.05
"""Seconds without progress after which a process that makes an entry is no longer waited for; seconds between looks."""


@dataclass
class Turn:
    """An entry and its lock: shared with a finished content, or alone and without one, to make it."""

    entry: Entry
    lock: Lock
    content: dict[str, Any] | None

    def remake(self, name: str) -> "Turn | None":
        """Give up a finished entry that proved damaged, and make it anew; None where others use it."""
        tell(say("cache: the stored copy of {name} is damaged; it is made again", name=name))
        self.lock.close()
        try:
            held = self.entry.lock(alone=True)
            if held is not None:
                self.entry.clear()
        except OSError:  # a cache that may only be read: its other entries are used all the same
            return None
        return None if held is None else Turn(self.entry, held, None)


def turn(store: Store, key: str, name: str) -> Turn | None:
    """Wait for one's turn with the entry `key`; None where it cannot be used (the reason is told)."""
    entry = store.entry(key)
    try:
        return _turn(entry, name)
    except OSError as error:
        unusable(store, error)
        return None


def unusable(store: Store, error: OSError) -> None:
    """Tell that the cache cannot be written, and why."""
    text = say("cache: {folder} cannot be used ({reason}); going on without it",
               folder=store.folder, reason=error.strerror or error)  # fmt: skip
    tell(text)


def _turn(entry: Entry, name: str) -> Turn | None:
    seen, since = _progress(entry), time.monotonic()
    with Counter() as counter:
        while True:
            content = entry.content()
            held = entry.lock(alone=content is None)
            if held is not None:
                now = entry.content()
                if (now is None) == (content is None):
                    return _begun(entry, held, now, name)
                held.close()  # it was finished, or removed, in between
                continue
            counter.show(say("cache: another process is reading {name}; waiting for it", name=name))
            time.sleep(POLL_S)
            if (progress := _progress(entry)) != seen:
                seen, since = progress, time.monotonic()
            if time.monotonic() - since > STALLED_S:
                tell(say("cache: another process holds {name} and does not go on; going on without it", name=name))
                return None


def _begun(entry: Entry, held: Lock, content: dict[str, Any] | None, name: str) -> Turn:
    if content is None and (entry.path / CONTENT).exists():
        tell(say("cache: the stored copy of {name} is damaged; it is made again", name=name))
        entry.clear()
    entry.touch()
    return Turn(entry, held, content)


def _progress(entry: Entry) -> tuple[int, ...]:
    """Changes while an entry is being made."""
    return entry.bytes, entry.content() is not None
