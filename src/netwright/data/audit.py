"""What `look` finds odd in the examples: duplicates, the same example in two splits, constants, imbalance."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from netwright.data.source import InMemory, Problem, Recordings, Source, Table, Texts
from netwright.data.splits import Splits
from netwright.language import say

SHOWN = 10
"""At most this many single cases of one kind are named; the rest is counted."""


def digests(source: Source) -> list[bytes]:
    """One 16-byte digest an example; equal examples have equal digests."""
    examples = source.examples
    known: list[bytes] | None = getattr(examples, "marks", None)
    if known is not None:
        return known
    if isinstance(examples, InMemory):
        rows = examples.tensor.contiguous().numpy()
        return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    if isinstance(examples, Table):
        cells = zip(*examples.columns.values(), strict=True) if examples.columns else ()
        return [hashlib.blake2b(repr(row).encode("utf-8", "replace"), digest_size=16).digest() for row in cells]
    if isinstance(examples, Texts):
        return [
            hashlib.blake2b(repr(text).encode("utf-8", "replace"), digest_size=16).digest() for text in examples.texts
        ]
    if isinstance(examples, Recordings):
        return [hashlib.blake2b(wave.tobytes(), digest_size=16).digest() for wave in examples.waves]
    found: list[bytes] = []
    for first in range(0, len(examples), 256):  # decoded on demand: never more than a batch in memory
        part = examples.take(np.arange(first, min(first + 256, len(examples))))
        found.extend(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in part.contiguous().numpy())
    return found


def fingerprint(source: Source, marks: list[bytes], positions: np.ndarray | None = None) -> str:
    """SHA-256 over the examples and their targets, in order (of all, or of those at `positions`)."""
    whole = hashlib.sha256(source.kind.encode())
    for position in range(len(marks)) if positions is None else positions:
        whole.update(marks[position])
        if source.targets is not None:
            whole.update(repr(_plain(source.targets[position])).encode("utf-8", "replace"))
    return whole.hexdigest()


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def duplicates_of(marks: list[bytes], order: np.ndarray) -> dict[int, int]:
    """Position -> the earlier position (in `order`) that holds the same example."""
    first: dict[bytes, int] = {}
    found = {}
    for position in order.tolist():
        original = first.setdefault(marks[position], position)
        if original != position:
            found[position] = original
    return found


def audit(source: Source, splits: Splits, marks: list[bytes], task: str = "classify") -> list[Problem]:
    """Problems that hold for every kind of data, each with its place and what was done."""
    return [
        *_duplicates(source, splits, marks),
        *_constants(source),
        *(_imbalance(source) if task in ("classify", "verify") else []),
    ]


def _duplicates(source: Source, splits: Splits, marks: list[bytes]) -> Iterator[Problem]:
    split_of = {int(position): name for name, positions in splits.items() for position in positions}
    order = np.sort(np.fromiter(split_of, int, len(split_of)))
    repeats = duplicates_of(marks, order)
    targets = source.targets
    kept = say("kept (data.drop_duplicates=true drops them)")
    across = {p: o for p, o in repeats.items() if split_of[p] != split_of[o]}
    within = len(repeats) - len(across)
    ids = source.ids
    if within:
        example = next(p for p in repeats if p not in across)
        what = say("{count} examples repeat an earlier one of their split", count=within)
        yield Problem(say("{place}, ...", place=ids[example]) if within > 1 else ids[example], what, kept)
    for position, original in list(across.items())[:SHOWN]:
        what = say(
            "the same example as {other} ({there}) stands in {here}",
            other=ids[original], there=split_of[original], here=split_of[position],
        )  # fmt: skip
        yield Problem(ids[position], what, kept)
    if len(across) > SHOWN:
        what = say("{count} examples stand in two splits in all", count=len(across))
        yield Problem(source.name, what, kept)
    if targets is not None:
        torn = [p for p, o in repeats.items() if _plain(targets[p]) != _plain(targets[o])]
        if torn:
            p, o = torn[0], repeats[torn[0]]
            what = say(
                "{count} examples repeat another with a different target ({first} here, {second} at {other})",
                count=len(torn), first=_plain(targets[p]), second=_plain(targets[o]), other=ids[o],
            )  # fmt: skip
            yield Problem(ids[p], what, say("kept"))


def _constants(source: Source) -> Iterator[Problem]:
    if not isinstance(source.examples, InMemory) or source.kind == "table":
        return
    tensor = source.examples.tensor
    flat = tensor.reshape(len(tensor), -1)
    if flat.shape[1] > 1:
        blank = torch.nonzero((flat == flat[:, :1]).all(1)).flatten().tolist()
        for position in blank[:SHOWN]:
            what = say("every number of this example is {value:g}", value=float(flat[position, 0]))
            yield Problem(source.ids[position], what, say("kept"))
        if len(blank) > SHOWN:
            yield Problem(source.name, say("{count} examples are constant in all", count=len(blank)), say("kept"))
    if source.kind == "vector" and len(flat) > 1:
        for feature in torch.nonzero((flat == flat[:1]).all(0)).flatten().tolist()[:SHOWN]:
            what = say("the same value ({value:g}) in every example", value=float(flat[0, feature]))
            yield Problem(say("feature {number}", number=feature + 1), what, say("kept; it tells nothing"))


def _imbalance(source: Source) -> Iterator[Problem]:
    if source.targets is None or source.targets.dtype.kind == "f":
        return
    names, counts = np.unique(source.targets.astype(str), return_counts=True)
    if 2 <= len(names) <= 1000 and counts.max() > 10 * counts.min():
        what = say(
            "classes are uneven: {most} has {high} examples, {least} has {low}",
            most=names[counts.argmax()], high=counts.max(), least=names[counts.argmin()], low=counts.min(),
        )  # fmt: skip
        yield Problem(source.name, what, say("kept (training.class_weights=balanced evens them out)"))
