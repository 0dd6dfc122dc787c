"""All recordings of a place: where they lie (splits, class folders), and their waves within a budget."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.sounds.rates import resampled
from netwright.data.sounds.wav import Broken, examine, unpacked
from netwright.data.splits import SPLIT_WORDS
from netwright.errors import DataError
from netwright.language import say

ENDINGS = (".wav", ".wave")
FILE_LIMIT = 2**30
"""Bytes of one file: the largest number of samples in their widest form fills half of that."""
OTHER_ENDINGS = (
    ".mp3",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".aac",
    ".wma",
    ".aif",
    ".aiff",
    ".au",
    ".caf",
    ".sph",
)


def is_recording(name: str) -> bool:
    """Whether a file is called as a WAVE file is."""
    return name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class Place:
    """Where a recording lies: its split and class folder (empty where there is none), and its path below both."""

    split: str
    folder: str
    path: str


def places(names: Sequence[str]) -> dict[str, Place]:
    """Each recording's place. Folders that hold everything say nothing; a first level of `train`, `test` ... is the
    split; a next level of two folders at least, which no recording lies beside, is the class."""
    parts = {name: name.split("/") for name in names}
    depth = 0
    first = next(iter(parts.values()), [""])
    while all(len(p) > depth + 1 and p[depth] == first[depth] for p in parts.values()):
        depth += 1
    inner = {name: p[depth:] for name, p in parts.items()}
    splits = {p[0] for p in inner.values() if len(p) > 1}
    told = splits and all(len(p) > 1 and p[0].lower() in SPLIT_WORDS for p in inner.values())
    level = 1 if told else 0
    folders = {p[level] for p in inner.values() if len(p) > level + 1}
    classed = len(folders) > 1 and all(len(p) > level + 1 for p in inner.values())
    return {
        name: Place(
            SPLIT_WORDS[p[0].lower()] if told else "", p[level] if classed else "",
            "/".join(p[level:]),
        )
        for name, p in inner.items()
    }  # fmt: skip


@dataclass
class Gathered:
    """Recordings that could be read, in the order of their names, each at its own rate."""

    names: list[str] = field(default_factory=list)
    waves: list[np.ndarray] = field(default_factory=list)
    rates: list[int] = field(default_factory=list)

    def kept(self, good: Sequence[bool] | np.ndarray) -> "Gathered":
        """Those for which `good` holds."""
        rows = [row for row, fine in enumerate(good) if fine]
        return Gathered(
            [self.names[row] for row in rows], [self.waves[row] for row in rows], [self.rates[row] for row in rows]
        )


def gather(tree: Tree, names: Sequence[str], memory: int, tally: Tally) -> Gathered:
    """The waves of all `names` that can be read; the others are reported and left out.

    Errors: DataError where none can be read, or where they take more than `memory` MiB.
    """
    found: dict[str, tuple[np.ndarray, int]] = {}
    used, several, silent, why = 0, 0, 0, ""
    sizes = {entry.name: entry.size for entry in tree.entries}
    for name in names:
        if sizes[name] > FILE_LIMIT:
            tally.add(printable(name), say("cannot be read"), say("left out"), say("it is larger than 1 GiB"))
    for name, data in tree.walk([name for name in names if sizes[name] <= FILE_LIMIT]):
        try:
            form = examine(data)
            held = form.frames * (2 if form.short else 4)
            if used + held > memory * 2**20:
                text = say("{path}: its recordings take more than {memory} MiB; data.memory=MiB allows more",
                           path=printable(str(tree.path)), memory=memory)  # fmt: skip
                raise DataError(text)
            wave = unpacked(data, form)
        except Broken as error:
            tally.add(printable(name), say("cannot be read"), say("left out"), str(error))
            why = why or f"{printable(name)}: {error}"
            continue
        used += wave.samples.nbytes
        several += form.channels > 1
        silent += not wave.samples.any()
        found[name] = wave.samples, wave.rate
    if not found:
        text = say("{path}: none of its recordings can be read.", path=printable(str(tree.path)))
        raise DataError(f"{text} {why}".strip())
    if several:
        tally.add(_name(tree), say("recordings of several channels"), say("averaged"), f"{several:,}")
    if silent:
        tally.add(_name(tree), say("recordings that are silent throughout"), say("kept"), f"{silent:,}")
    order = [name for name in names if name in found]
    return Gathered(order, [found[name][0] for name in order], [found[name][1] for name in order])


def strangers(tree: Tree, tally: Tally) -> None:
    """Report recordings of kinds that are not read."""
    for entry in tree.entries:
        if entry.name.lower().endswith(OTHER_ENDINGS):
            kind = PurePosixPath(entry.name).suffix
            tally.add(printable(entry.name), say("a recording that is no WAVE file"), say("left out"), kind)


def to_one_rate(
    gathered: Gathered, wanted: int, train: np.ndarray, memory: int, tally: Tally, where: str
) -> tuple[list[np.ndarray], int]:
    """All waves at one rate: `wanted`, or where that is 0 the commonest among the training recordings (of several as
    common, the lowest). What is resampled is told."""
    rate = wanted
    if not rate:
        counts = Counter(gathered.rates[row] for row in train.tolist())
        rate = min(counts, key=lambda each: (-counts[each], each))
    needed = sum(4 * -(-len(w) * rate // own) for w, own in zip(gathered.waves, gathered.rates, strict=True))
    other = Counter(own for own in gathered.rates if own != rate)
    if other and needed > memory * 2**21:
        text = say("{path}: at {rate} samples a second its recordings take more than {memory} MiB",
                   path=where, rate=rate, memory=2 * memory)  # fmt: skip
        raise DataError(text)
    for own, count in sorted(other.items()):
        what = say("{count} recordings have {rate} samples a second", count=f"{count:,}", rate=own)
        tally.add(where, what, say("resampled to {rate}", rate=rate))
    pairs = zip(gathered.waves, gathered.rates, strict=True)
    return [resampled(wave, own, rate) for wave, own in pairs], rate


def _name(tree: Tree) -> str:
    return printable(tree.path.name) or "recordings"
