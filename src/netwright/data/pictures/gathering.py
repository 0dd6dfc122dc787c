"""All pictures of a set, decoded once: into memory, into the cache, or both; broken ones are found on the way.

The cache knows a set by the content of its files, in order, and by all else that decides its pixels. Files are always
read and hashed: a changed file is seen whatever its time says, and a set that moved is known again.
"""

import base64
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import torch
from PIL import features

from netwright.data.cache.rows import BLOCK, Damaged, Making, Mapped, in_memory
from netwright.data.cache.store import FORMAT, Store, store
from netwright.data.cache.turns import Turn, turn, unusable
from netwright.data.files.tree import Tree, printable
from netwright.data.pictures.decode import FILE_LIMIT, suffix, too_large
from netwright.data.pictures.lazily import LazyPictures
from netwright.data.pictures.survey import Event, Survey, fitted_picture, unreadable
from netwright.data.source import Examples, InMemory
from netwright.data.telling import Counter, tell
from netwright.language import language, say

PIXELS = 1
"""Goes into every key, and grows when pictures are decoded to other pixels than before."""
MARK = 16
"""Bytes of an example's digest, as `audit.digests` makes it."""


@dataclass
class Plan:
    """What is to be made of a set: which files become rows, of which size and colours, in which blocks."""

    tree: Tree
    names: list[str]
    rows: list[int]
    """Row -> position of its file in `names`."""
    size: tuple[int, int]
    channels: int
    edges: list[int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, *self.size

    @property
    def row_bytes(self) -> int:
        return self.channels * self.size[0] * self.size[1]


@dataclass
class Block:
    """Decoded rows, and what was found on the way."""

    number: int
    pixels: np.ndarray | None
    bad: list[int]
    """Rows that could not be decoded."""
    marks: bytes
    events: list[Event]
    digest: str = ""
    """SHA-256 of the rows as they were stored; empty: they were not."""
    error: OSError | None = None
    """Why they were not."""


@dataclass
class Gathered:
    """The pictures that could be read, where their files stand in the list, and what was odd."""

    examples: Examples
    kept: list[int]
    events: list[Event]


class Gathering:
    """One reading of a set of pictures: `names` are its files, `lengths` their bytes."""

    def __init__(
        self, tree: Tree, names: list[str], lengths: list[int], asked: list[Any], memory: int, workers: int
    ) -> None:
        self.tree, self.names, self.lengths = tree, names, lengths
        self.memory, self.workers = memory, workers
        self.title = printable(tree.path.name) or printable(str(tree.path))
        versions = [FORMAT, PIXELS, PIL.__version__, features.version("libjpeg_turbo"), features.version("webp")]
        facts = [versions, asked, [[suffix(name), length] for name, length in zip(names, lengths, strict=True)]]
        self.prefix = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self.survey = Survey()
        self.digests: dict[int, bytes] = {}

    def run(self, settle: Callable[[Survey], tuple[tuple[int, int], int]]) -> Gathered:
        """The set, from the cache where it holds it; `settle` decides size and channels from the headers."""
        cache, mine = store(), None
        self._walk(hashing=cache is not None, looking=cache is None or not cache.near(self.prefix))
        if cache is not None and self.names:
            mine = turn(cache, self._key(), self.title)
        if mine is not None and mine.content is not None:
            try:
                return self._recalled(mine, mine.content)
            except (Damaged, OSError, KeyError, ValueError, TypeError):
                mine = mine.remake(self.title)
        if not self.survey.done:
            self._walk(hashing=False, looking=True)
        size, channels = settle(self.survey)
        plan = self._plan(size, channels)
        return Decoding(self, plan, cache, mine).run()

    def _walk(self, hashing: bool, looking: bool) -> None:
        """Read all files once: their digests, their headers, or both."""
        if looking:
            large = [at for at, length in enumerate(self.lengths) if length > FILE_LIMIT]
            self.survey.events += [unreadable(at, self.names[at], too_large(self.names[at])) for at in large]
        place = {name: at for at, name in enumerate(self.names) if self.lengths[at] <= FILE_LIMIT}
        if self.digests:  # files that were lost the first time are not told twice
            place = {name: at for name, at in place.items() if at in self.digests}
        with Counter() as counter:
            for count, (name, data) in enumerate(self.tree.walk(place)):
                at = place[name]
                if hashing:
                    self.digests[at] = hashlib.sha256(data).digest()
                if looking:
                    self.survey.look(at, name, data)
                if counter.due():
                    text = say("reading {name}: {done} of {total} files", name=self.title, done=f"{count:,}",
                               total=f"{len(place):,}")  # fmt: skip
                    counter.show(text)
        self.survey.events.sort(key=lambda event: event[0])
        self.survey.done = self.survey.done or looking

    def _key(self) -> str:
        whole = hashlib.sha256(self.prefix.encode())
        for at in range(len(self.names)):
            whole.update(self.digests.get(at, b"\0" * 32))
        return f"{self.prefix}-{whole.hexdigest()[:32]}"

    def _plan(self, size: tuple[int, int], channels: int) -> Plan:
        """Blocks of at most 256 pictures, 4 MiB of pixels and 4 MiB of files."""
        rows, edges = sorted(self.survey.sizes), [0]
        row_bytes, packed = channels * size[0] * size[1], 0
        for row, at in enumerate(rows):
            count = row - edges[-1]
            if count and (count == 256 or (count + 1) * row_bytes > BLOCK or packed + self.lengths[at] > BLOCK):
                edges.append(row)
                packed = 0
            packed += self.lengths[at]
        return Plan(self.tree, self.names, rows, size, channels, [*edges, len(rows)] if rows else edges)

    def _recalled(self, mine: Turn, content: dict[str, Any]) -> Gathered:
        """The set as the cache holds it. Errors: Damaged, OSError."""
        shape = [int(side) for side in content["shape"]]
        positions = np.frombuffer(base64.b64decode(content["positions"]), np.uint32)
        good = np.setdiff1d(np.arange(len(positions)), np.array(content["bad"], np.int64))
        marks = _marks(base64.b64decode(content["marks"]), good)
        kept = positions[good].tolist()
        events = content["events"] if content["language"] == language() else self._again(content, shape)
        if len(kept) * int(np.prod(shape)) > self.memory * 2**20:
            mapped = Mapped(mine.entry, content, shape, torch.uint8, self.workers, mine.lock, good)
            mapped.marks = marks
            return Gathered(mapped, kept, events)
        pixels = in_memory(mine.entry, content, shape, self.workers)
        mine.lock.close()
        return Gathered(InMemory(moved_up(pixels, good), marks), kept, events)

    def _again(self, content: dict[str, Any], shape: list[int]) -> list[Event]:
        """What is odd, in the words of the current language: the odd files are decoded once more."""
        odd = sorted({event[0] for event in content["events"]})
        survey = Survey()
        said: list[Event] = []
        survey.events = [unreadable(at, self.names[at], too_large(self.names[at])) for at in odd
                         if self.lengths[at] > FILE_LIMIT]  # fmt: skip
        place = {self.names[at]: at for at in odd if self.lengths[at] <= FILE_LIMIT}
        for name, data in self.tree.walk(place):
            survey.look(place[name], name, data)
            if place[name] in survey.sizes:
                said += fitted_picture(place[name], name, data, (shape[1], shape[2]), shape[0])[1]
        by_position: Callable[[Event], int] = lambda event: event[0]  # noqa: E731
        return [*sorted(survey.events, key=by_position), *sorted(said, key=by_position)]


class Decoding:
    """All pictures of a plan, block by block, a few threads at a time."""

    def __init__(self, reading: Gathering, plan: Plan, cache: Store | None, mine: Turn | None) -> None:
        self.reading, self.plan, self.cache, self.mine = reading, plan, cache, mine
        count = len(plan.rows)
        self.ready = count * plan.row_bytes <= reading.memory * 2**20
        self.pixels = torch.empty((count if self.ready else 0, *plan.shape), dtype=torch.uint8)
        self.making = self._making() if mine is not None else None
        self._opened = self.making  # closed at the end only: threads may be writing
        self.stale = False
        """A file changed between two readings: its pixels do not belong to its key."""

    def _making(self) -> Making | None:
        assert self.mine is not None
        assert self.cache is not None
        needed, name = self.plan.edges[-1] * self.plan.row_bytes, self.reading.title
        reason = self.cache.make_room(needed, self.mine.entry.key) if needed else ""
        if reason:
            tell(say("cache: {name} is not kept ({reason})", name=name, reason=reason))
        if reason or not needed:
            self._failed(None)
            return None
        about = {"shape": list(self.plan.shape), "language": language()}
        try:
            making = Making(self.mine.entry, self.plan.edges, self.plan.row_bytes, about)
        except OSError as error:
            unusable(self.cache, error)
            self._failed(None)
            return None
        if making.done:
            rows = sum(making.edges[block + 1] - making.edges[block] for block in making.done)
            tell(say("cache: {done} of {total} pictures of {name} were decoded before; going on from there",
                     done=f"{rows:,}", total=f"{len(self.plan.rows):,}", name=name))  # fmt: skip
        return making

    def run(self) -> Gathered:
        """Decode what is not done yet."""
        found: dict[int, Block] = {}
        total, done, whole = len(self.plan.rows), 0, False
        try:
            with Counter() as counter:
                for block in self._blocks():
                    self._take(block)
                    block.pixels = None
                    found[block.number] = block
                    done += self.plan.edges[block.number + 1] - self.plan.edges[block.number]
                    if counter.due():
                        text = say("decoding {name}: {done} of {total} pictures", name=self.reading.title,
                                   done=f"{done:,}", total=f"{total:,}")  # fmt: skip
                        counter.show(text)
            gathered = self._gathered([found[number] for number in sorted(found)])
            whole = True
            return gathered
        finally:
            if self.mine is not None and not whole:
                self.mine.lock.close()  # what is done stays for the next start
            if self._opened is not None:
                self._opened.close()

    def _blocks(self) -> Iterator[Block]:
        """Blocks of an earlier start first, then the others as they come."""
        todo = []
        for number in range(len(self.plan.edges) - 1):
            line = self.making.done.get(number) if self.making is not None else None
            if line is None or self.making is None:
                todo.append(number)
                continue
            pixels = np.frombuffer(self.making.read(number), np.uint8) if self.ready else None
            yield Block(number, pixels, line["bad"], base64.b64decode(line["marks"]), line["events"])
        threads = self.reading.workers
        with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
            waiting: deque[Future[Block]] = deque()
            try:
                for number in todo:
                    low, high = self.plan.edges[number], self.plan.edges[number + 1]
                    names = [self.plan.names[at] for at in self.plan.rows[low:high]]
                    waiting.append(pool.submit(self._work, number, list(self.plan.tree.walk(names))))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _work(self, number: int, files: list[tuple[str, bytes]]) -> Block:
        """Decode one block and store it, in a thread."""
        plan, low, high = self.plan, self.plan.edges[number], self.plan.edges[number + 1]
        row_of = {plan.names[plan.rows[row]]: row for row in range(low, high)}
        pixels = np.zeros((high - low, *plan.shape), np.uint8)
        bad, events = set(range(low, high)), []
        for name, data in files:
            row = row_of[name]
            at = plan.rows[row]
            if self.making is not None and hashlib.sha256(data).digest() != self.reading.digests.get(at):
                self.stale = True
            fitted, said = fitted_picture(at, name, data, plan.size, plan.channels)
            events += said
            if fitted is not None:
                pixels[row - low] = fitted
                bad.discard(row)
        events.sort(key=lambda event: event[0])
        marks = b"".join(hashlib.blake2b(row.data, digest_size=MARK).digest() for row in pixels)
        block = Block(number, pixels, sorted(bad), marks, events)
        making = self.making
        if making is not None:
            try:
                block.digest = making.write(number, pixels.reshape(-1).data)
            except OSError as error:
                block.error = error
        return block

    def _take(self, block: Block) -> None:
        """Put a block where it belongs, and say in the journal that it is done."""
        low, high = self.plan.edges[block.number], self.plan.edges[block.number + 1]
        if block.pixels is not None and self.ready:
            self.pixels[low:high] = torch.from_numpy(block.pixels.reshape(-1, *self.plan.shape).copy())
        if self.making is None or not (block.digest or block.error):
            return
        if self.stale or block.error:
            self._failed(block.error)
            return
        facts = {"bad": block.bad, "marks": base64.b64encode(block.marks).decode(), "events": block.events}
        try:
            self.making.note(block.number, block.digest, facts)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError | None) -> None:
        """Go on without the cache; what was begun there is removed."""
        if error is not None and self.cache is not None:
            unusable(self.cache, error)
        self.making, mine, self.mine = None, self.mine, None
        if mine is not None:
            mine.entry.remove_held(mine.lock)

    def _gathered(self, blocks: list[Block]) -> Gathered:
        plan = self.plan
        bad = [row for block in blocks for row in block.bad]
        good = np.setdiff1d(np.arange(len(plan.rows)), np.array(bad, np.int64))
        marks = b"".join(block.marks for block in blocks)
        events = [*self.reading.survey.events, *(event for block in blocks for event in block.events)]
        kept = [plan.rows[row] for row in good.tolist()]
        if not len(good):
            self._failed(None)
        mapped = self._finished(blocks, bad, marks, events, good)
        examples: Examples
        if self.ready:
            examples = InMemory(moved_up(self.pixels, good), _marks(marks, good))
        elif mapped is not None:
            examples = mapped
        else:
            names = [plan.names[at] for at in kept]
            examples = LazyPictures(plan.tree, names, plan.size, plan.channels, self.reading.workers)
        return Gathered(examples, kept, events)

    def _finished(
        self, blocks: list[Block], bad: list[int], marks: bytes, events: list[Event], good: np.ndarray
    ) -> Mapped | None:
        """Finish the entry; the rows as a memory map where they are too many for memory."""
        if self.making is None or self.mine is None or self.stale:
            return None
        content = {
            "kind": "pictures", "name": self.reading.title, "examples": len(good), "shape": list(self.plan.shape),
            "positions": base64.b64encode(np.array(self.plan.rows, np.uint32).tobytes()).decode(), "bad": bad,
            "marks": base64.b64encode(marks).decode(), "events": events, "language": language(),
        }  # fmt: skip
        mine = self.mine
        try:
            self.making.finish(content)
            if self.ready:
                mine.lock.close()
                return None
            stored = mine.entry.content()
            if stored is None:
                raise Damaged
            mapped = Mapped(mine.entry, stored, self.plan.shape, torch.uint8, self.reading.workers, mine.lock, good)
            mine.lock.share()
        except (OSError, Damaged) as error:
            self._failed(error if isinstance(error, OSError) else OSError(5, os.strerror(5)))
            return None
        mapped.marks = _marks(marks, good)
        return mapped


def moved_up(pixels: torch.Tensor, good: np.ndarray) -> torch.Tensor:
    """The good rows alone, moved up in place: a second copy could be gigabytes."""
    for target, origin in enumerate(good.tolist()):
        if target != origin:
            pixels[target] = pixels[origin]
    return pixels[: len(good)]


def _marks(marks: bytes, good: np.ndarray) -> list[bytes]:
    return [marks[MARK * row : MARK * (row + 1)] for row in good.tolist()]
