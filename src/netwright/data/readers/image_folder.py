"""Folders of pictures, one folder a class: `train/ants/1.jpg`, or `ants/1.jpg` alone; also within an archive."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from netwright.catalogue import READERS, Range
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.pictures.decode import (
    FILE_LIMIT,
    SUFFIXES,
    Picture,
    decode,
    fit,
    in_threads,
    reason_of,
    suffix,
    too_large,
)
from netwright.data.pictures.headers import Broken, examine
from netwright.data.source import Examples, InMemory, Source
from netwright.errors import DataError, UsageError
from netwright.language import say

SIZE_WHERE_SIZES_DIFFER = (96, 96)
_SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
# Folders that name the role of a picture (segmentation, detection, captions), not what is on it.
_ROLES = {
    "image", "images", "img", "imgs", "jpegimages", "picture", "pictures", "photo", "photos", "label", "labels", "mask",
    "masks", "annotation", "annotations", "annot", "gt", "groundtruth", "segmentationclass", "input", "inputs",
    "target", "targets", "trainannot", "valannot", "testannot",
}  # fmt: skip


@dataclass
class _Layout:
    """Where the pictures of a tree lie."""

    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name of each file in a class folder -> (split or an empty string, class folder)."""
    strays: list[str] = field(default_factory=list)
    """Pictures that are in no class folder."""
    empty: list[str] = field(default_factory=list)
    """Class folders that hold no file at all."""


def _is_picture(name: str) -> bool:
    return suffix(name) in SUFFIXES


def _layout(tree: Tree) -> _Layout | None:
    """The class folders of a tree, or None where it has none (two at least without splits, one in a split)."""
    pictures = [entry.name.split("/") for entry in tree.entries if _is_picture(entry.name)]
    depth = 0
    # A folder that alone holds everything says nothing, be it a wrapper or a lone `train`.
    while pictures and all(len(p) > depth + 2 and p[depth] == pictures[0][depth] for p in pictures):
        depth += 1
    prefix = pictures[0][:depth] if pictures else []
    inner = [p[depth:] for p in pictures]
    splits = {p[0] for p in inner if len(p) > 2 and p[0].lower() in _SPLITS}
    if {_SPLITS[name.lower()] for name in splits} <= {"validation"}:
        splits = set()
    level = 1 if splits else 0
    classes = {p[level].lower() for p in inner if len(p) > level + 1 and (not splits or p[0] in splits)}
    roles = classes <= _ROLES or bool(classes & set(_SPLITS) and classes & _ROLES)
    if not classes or roles or (not splits and (len(classes) < 2 or len(classes & set(_SPLITS)) > 1)):
        return None
    found = _Layout()
    for entry in tree.entries:
        parts = entry.name.split("/")
        own = parts[depth:] if parts[:depth] == prefix else []
        if len(own) > level + 1 and (not splits or own[0] in splits):
            found.files[entry.name] = (_SPLITS[own[0].lower()] if splits else "", own[level])
        elif _is_picture(entry.name):
            found.strays.append(entry.name)
    filled = {"/".join(name.split("/")[: depth + level + 1]) for name in found.files}
    for folder in tree.folders:
        parts = folder.split("/")
        inside = len(parts) == depth + level + 1 and parts[:depth] == prefix and (not splits or parts[depth] in splits)
        if inside and folder not in filled:
            found.empty.append(folder)
    return found


def recognises(tree: Tree) -> bool:
    """Whether the tree holds class folders with pictures, below split folders or not."""
    return _layout(tree) is not None


def flat_pictures(tree: Tree) -> int:
    """How many pictures a tree holds that has no class folders, so that the refusal can say what is missing."""
    return 0 if recognises(tree) else sum(_is_picture(entry.name) for entry in tree.entries)


@dataclass(frozen=True)
class LazyPictures:
    """Pictures that are too many for memory: decoded anew each time they are taken."""

    tree: Tree
    names: list[str]
    size: tuple[int, int]
    channels: int

    def __len__(self) -> int:
        return len(self.names)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> UInt8[Tensor, "batch channels height width"]:
        """The pictures at `positions`, in that order, decoded by a few threads. Errors: DataError where one is gone."""
        chosen = [self.names[int(position)] for position in np.asarray(positions)]
        found = torch.empty((len(chosen), self.channels, *self.size), dtype=torch.uint8)

        def put(place: int) -> None:
            name = chosen[place]
            picture = decode(self.tree.read(name, FILE_LIMIT), printable(name), least=self.size)
            found[place] = fit(picture, self.size, self.channels)

        with ThreadPoolExecutor(min(4, max(1, len(chosen))), thread_name_prefix="pictures") as pool:
            list(pool.map(put, range(len(chosen))))
        return found


@READERS.add(
    recognises=recognises,
    given="class folders of pictures (train/ val/ test/ of class folders, or class folders alone; "
    "PNG JPEG BMP WebP GIF; a folder, .tar, .tar.gz or .zip)",
)
def image_folder(
    tree: Tree,
    *,
    size: int | str | list = "auto",
    channels: Literal["auto", 1, 3] = "auto",
    memory: Annotated[int, Range(1, 2**20)] = 2048,
) -> Source:
    """Pictures in one folder a class, as uint8 (channels, height, width).

    Args:
        size: `auto` (the common size; 96x96 where sizes differ), 96, "96x96" or [height, width]: the shorter side
            is resized with antialiasing, the centre cut out.
        channels: `auto` (1 where all pictures are grey, else 3), 1 or 3.
        memory: MiB that the decoded pictures may take; above, they are decoded again for each batch.

    A `val` folder without a `test` folder is the test set. Pictures that cannot be read are reported and left out.
    Errors: DataError where nothing can be read.
    """
    layout, wanted = _layout(tree), _size(size)
    if layout is None:
        raise DataError(say("{path} holds no class folders of pictures", path=printable(str(tree.path))))
    tally = Tally()
    for name in layout.strays:
        tally.add(printable(name), say("a picture in no class folder"), say("left out"))
    sizes, greys = _survey(tree, layout, tally)
    if wanted is None:
        wanted = _common_size(tree, sizes)
    if channels == "auto":
        colours = [name for name, grey in greys.items() if not grey]
        channels = 3 if any(_readable(tree, name) for name in colours) else 1
    names = [name for name in layout.files if name in sizes]
    examples, names = _decoded(tree, names, wanted, channels, memory, tally)
    if not names:
        raise DataError(_nothing(tree, tally))
    _missing_classes(layout, names, tally)
    return _source(tree, layout, names, examples, tally)


def _size(size: int | str | list) -> tuple[int, int] | None:
    """(height, width), or None for `auto`. Errors: UsageError."""
    if size == "auto":
        return None
    parts = size.lower().split("x") if isinstance(size, str) else size if isinstance(size, (list, tuple)) else [size]
    try:
        numbers = [int(part) for part in parts if isinstance(part, str) or type(part) is int]
    except ValueError:
        numbers = []
    numbers = numbers * 2 if len(parts) == 1 else numbers
    if len(parts) > 2 or len(numbers) != 2 or not all(1 <= n <= 4096 for n in numbers):
        raise UsageError(
            say('data.size = {size!r}; it is "auto", 96, "96x96" or [96, 96], each side 1 to 4096 pixels', size=size)
        )
    return numbers[0], numbers[1]


def _survey(tree: Tree, layout: _Layout, tally: Tally) -> tuple[dict[str, tuple[int, int]], dict[str, bool]]:
    """Upright (height, width) and greyness of each picture whose header can be read; nothing is decoded."""
    sizes: dict[str, tuple[int, int]] = {}
    greys: dict[str, bool] = {}
    lengths = {entry.name: entry.size for entry in tree.entries}
    for name in layout.files:
        if lengths[name] > FILE_LIMIT:
            _leave_out(tally, name, too_large(name))
    for name, data in tree.walk(name for name in layout.files if lengths[name] <= FILE_LIMIT):
        try:
            header = examine(data)
        except Broken as error:
            _leave_out(tally, name, DataError(f"{printable(name)}: {error}"))
            continue
        sizes[name], greys[name] = header.size, header.grey
    return sizes, greys


def _leave_out(tally: Tally, name: str, error: DataError) -> None:
    tally.add(printable(name), say("unreadable picture"), say("left out"), reason_of(error, name))


def _readable(tree: Tree, name: str) -> bool:
    """Whether a picture decodes: one that does not must not decide the size or colour of the others."""
    try:
        decode(tree.read(name, FILE_LIMIT), printable(name))
    except DataError:
        return False
    return True


def _common_size(tree: Tree, sizes: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """The size that all readable pictures share, else 96x96."""
    standing: list[tuple[int, int]] = []
    for size, _ in Counter(sizes.values()).most_common():
        if any(_readable(tree, name) for name, own in sizes.items() if own == size):
            standing.append(size)
        if len(standing) > 1:
            break
    return standing[0] if len(standing) == 1 else SIZE_WHERE_SIZES_DIFFER


def _decoded(
    tree: Tree, names: list[str], size: tuple[int, int], channels: int, memory: int, tally: Tally
) -> tuple[Examples, list[str]]:
    """The fitted pictures and the names of those that could be read, in the order of `names`."""

    def work(name: str, data: bytes) -> tuple[Tensor | None, list[str]]:
        picture: Picture = decode(data, printable(name), least=size)
        return (fit(picture, size, channels) if ready else None), picture.oddities

    ready = len(names) * channels * size[0] * size[1] <= memory * 2**20
    place = {name: index for index, name in enumerate(names)}
    tensor = torch.empty((len(names) if ready else 0, channels, *size), dtype=torch.uint8)
    good = np.zeros(len(names), bool)
    for name, outcome in in_threads(tree.walk(names), work):
        if isinstance(outcome, DataError):
            _leave_out(tally, name, outcome)
            continue
        pixels, oddities = outcome
        good[place[name]] = True
        if pixels is not None:
            tensor[place[name]] = pixels
        for oddity in oddities:
            tally.add(printable(name), oddity, say("kept"))
    kept = [name for name, fine in zip(names, good, strict=True) if fine]
    if not ready:
        return LazyPictures(tree, kept, size, channels), kept
    for target, origin in enumerate(np.flatnonzero(good)):
        if target != origin:  # rows move up in place: a second copy could be gigabytes
            tensor[target] = tensor[origin]
    return InMemory(tensor[: len(kept)]), kept


def _missing_classes(layout: _Layout, names: list[str], tally: Tally) -> None:
    """Report class folders without a readable picture, and classes that some splits lack."""
    for folder in layout.empty:
        tally.add(printable(folder), say("a class folder with no readable picture"), say("left out"))
    filled = {layout.files[name] for name in names}
    for split, folder in sorted(set(layout.files.values()) - filled):
        where = f"{split}/{folder}" if split else folder
        tally.add(printable(where), say("a class folder with no readable picture"), say("left out"))
    splits = {split for split, _ in filled}
    for folder in sorted({folder for _, folder in filled}):
        lacking = sorted(split for split in splits if (split, folder) not in filled)
        if lacking:
            kind = say("a class without pictures in {splits}", splits=", ".join(lacking))
            tally.add(printable(folder), kind, say("kept"))


def _nothing(tree: Tree, tally: Tally) -> str:
    first = next((p for p in [*tally.problems(), *tree.problems]), None)
    text = say("{path}: none of its pictures can be read.", path=printable(str(tree.path)))
    return f"{text} {first.where}: {first.what}" if first else text


def _source(tree: Tree, layout: _Layout, names: list[str], examples: Examples, tally: Tally) -> Source:
    splits = np.array([layout.files[name][0] for name in names])
    given = {split: np.flatnonzero(splits == split) for split in ("train", "validation", "test") if split in splits}
    if "validation" in given and "test" not in given:
        given["test"] = given.pop("validation")
    folders = [printable(layout.files[name][1]) for name in names]
    short = tree.path.resolve().name
    for ending in (".tar.gz", ".tgz", ".tar", ".zip"):
        short = short[: -len(ending)] if short.lower().endswith(ending) else short
    return Source(
        "image",
        printable(short) or "pictures",
        examples,
        np.array(folders, dtype=object),
        [printable(name) for name in names],
        given,
        sorted(set(folders)),
        None,
        tally.problems(),
    )
