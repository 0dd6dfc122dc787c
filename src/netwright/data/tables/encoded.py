"""Tables whose encoded rows are too many for memory: encoded once into the cache, read through a memory map."""

import hashlib
import json
import os

import numpy as np
import torch

from netwright.data.cache.rows import Damaged, Making, Mapped, block_edges
from netwright.data.cache.store import FORMAT, Store, store
from netwright.data.cache.turns import Turn, turn, unusable
from netwright.data.source import Table
from netwright.data.tables.encoder import TableEncoder
from netwright.data.telling import Counter, tell
from netwright.language import say


def encoded_rows(name: str, table: Table, encoder: TableEncoder, fingerprint: str) -> Mapped | None:
    """All rows of `table` as the network reads them, float32; None where there is no cache to hold them."""
    cache = store()
    if cache is None:
        return None
    facts = json.dumps([FORMAT, fingerprint, encoder.state()])
    mine = turn(cache, hashlib.sha256(f"encoded {facts}".encode()).hexdigest()[:48], name)
    shape = (len(encoder.names),)
    if mine is not None and mine.content is not None:
        try:
            return Mapped(mine.entry, mine.content, shape, torch.float32, 2, mine.lock)
        except (Damaged, OSError, KeyError, ValueError, TypeError):
            mine = mine.remake(name)
    return _made(cache, mine, name, table, encoder) if mine is not None else None


def _made(cache: Store, mine: Turn, name: str, table: Table, encoder: TableEncoder) -> Mapped | None:
    count, row_bytes = len(table), 4 * len(encoder.names)
    reason = cache.make_room(count * row_bytes, mine.entry.key)
    if reason:
        tell(say("cache: {name} is not kept ({reason})", name=name, reason=reason))
        mine.entry.remove_held(mine.lock)
        return None
    making, edges = None, block_edges(count, row_bytes, rows=2**16)
    try:
        making = Making(mine.entry, edges, row_bytes, {})
        with Counter() as counter:
            for block in range(len(edges) - 1):
                if block in making.done:
                    continue
                rows = encoder.encode(table.take(np.arange(edges[block], edges[block + 1])))
                making.note(block, making.write(block, rows.contiguous().numpy().reshape(-1).view(np.uint8).data), {})
                counter.show(say("encoding {name}: {done} of {total} rows", name=name, done=f"{edges[block + 1]:,}",
                                 total=f"{count:,}"))  # fmt: skip
        making.finish({"kind": "encoded", "name": name, "examples": count})
        content = mine.entry.content()
        if content is None:
            raise OSError(5, os.strerror(5))
        found = Mapped(mine.entry, content, (len(encoder.names),), torch.float32, 2, mine.lock)
        mine.lock.share()
        return found
    except (OSError, Damaged) as error:
        unusable(cache, error if isinstance(error, OSError) else OSError(5, os.strerror(5)))
        mine.entry.remove_held(mine.lock)
        return None
    finally:
        if making is not None:
            making.close()
