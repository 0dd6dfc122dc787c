"""Folders of pictures, one folder a class: `train/ants/1.jpg`, or `ants/1.jpg` alone; also within an archive."""

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from netwright.catalogue import READERS, Range
from netwright.data.files.tree import Tally, Tree, asked_once, printable
from netwright.data.pictures.decode import FILE_LIMIT, SUFFIXES, decode, suffix
from netwright.data.pictures.gathering import Gathering
from netwright.data.pictures.survey import Survey
from netwright.data.source import Examples, Source
from netwright.data.splits import SPLIT_WORDS
from netwright.errors import DataError, UsageError
from netwright.language import say

SIZE_WHERE_SIZES_DIFFER = (96, 96)
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


@asked_once
def _levels(tree: Tree) -> tuple[list[str], set[str]] | None:
    """The folders around everything and the split folders in them; None where no class folders lie there (two at
    least without splits, one in a split)."""
    pictures = [entry.name.split("/") for entry in tree.entries if _is_picture(entry.name)]
    depth = 0
    # A folder that alone holds everything says nothing, be it a wrapper or a lone `train`.
    while pictures and all(len(p) > depth + 2 and p[depth] == pictures[0][depth] for p in pictures):
        depth += 1
    prefix = pictures[0][:depth] if pictures else []
    inner = [p[depth:] for p in pictures]
    splits = {p[0] for p in inner if len(p) > 2 and p[0].lower() in SPLIT_WORDS}
    if {SPLIT_WORDS[name.lower()] for name in splits} <= {"validation"}:
        splits = set()
    level = 1 if splits else 0
    classes = {p[level].lower() for p in inner if len(p) > level + 1 and (not splits or p[0] in splits)}
    roles = classes <= _ROLES or bool(classes & set(SPLIT_WORDS) and classes & _ROLES)
    if not classes or roles or (not splits and (len(classes) < 2 or len(classes & set(SPLIT_WORDS)) > 1)):
        return None
    return prefix, splits


def _layout(tree: Tree) -> _Layout | None:
    """The class folders of a tree, or None where it has none."""
    levels = _levels(tree)
    if levels is None:
        return None
    prefix, splits = levels
    depth, level = len(prefix), 1 if splits else 0
    found = _Layout()
    for entry in tree.entries:
        parts = entry.name.split("/")
        own = parts[depth:] if parts[:depth] == prefix else []
        if len(own) > level + 1 and (not splits or own[0] in splits):
            found.files[entry.name] = (SPLIT_WORDS[own[0].lower()] if splits else "", own[level])
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
    return _levels(tree) is not None


def flat_pictures(tree: Tree) -> int:
    """How many pictures a tree holds that has no class folders, so that the refusal can say what is missing."""
    return 0 if recognises(tree) else sum(_is_picture(entry.name) for entry in tree.entries)


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
    workers: Annotated[int | Literal["auto"], Range(0, 1024)] = "auto",
) -> Source:
    """Pictures in one folder a class, as uint8 (channels, height, width).

    Args:
        size: `auto` (the common size; 96x96 where sizes differ), 96, "96x96" or [height, width]: the shorter side
            is resized with antialiasing, the centre cut out.
        channels: `auto` (1 where all pictures are grey, else 3), 1 or 3.
        memory: MiB that the decoded pictures may take; above, they stay in the cache and are read from there.
        workers: threads that decode; `auto`: one for each core. They never change a pixel.

    A `val` folder without a `test` folder is the test set. Pictures that cannot be read are reported and left out.
    Errors: DataError where nothing can be read.
    """
    layout, wanted = _layout(tree), wanted_size(size)
    if layout is None:
        raise DataError(say("{path} holds no class folders of pictures", path=printable(str(tree.path))))
    tally = Tally()
    for name in layout.strays:
        tally.add(printable(name), say("a picture in no class folder"), say("left out"))
    names = list(layout.files)
    lengths = {entry.name: entry.size for entry in tree.entries}
    threads = cores() if workers == "auto" else max(1, workers)
    asked = [list(wanted) if wanted else size, channels]
    reading = Gathering(tree, names, [lengths[name] for name in names], asked, memory, threads)
    found = reading.run(lambda survey: settled(tree, names, survey, wanted, channels))
    for position, kind, action, detail in found.events:
        tally.add(printable(names[position]), kind, action, detail)
    names = [names[position] for position in found.kept]
    if not names:
        raise DataError(nothing_readable(tree, tally))
    _missing_classes(layout, names, tally)
    return _source(tree, layout, names, found.examples, tally)


def settled(
    tree: Tree, names: list[str], survey: Survey, size: tuple[int, int] | None, channels: Literal["auto", 1, 3]
) -> tuple[tuple[int, int], int]:
    """Size and channels of the pictures: as asked, or what the headers of all pictures say."""
    if size is None:
        size = _common_size(tree, {names[at]: own for at, own in survey.sizes.items()})
    if channels == "auto":
        colours = [names[at] for at, grey in survey.greys.items() if not grey]
        channels = 3 if any(_readable(tree, name) for name in colours) else 1
    return size, channels


def cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wanted_size(size: int | str | list) -> tuple[int, int] | None:
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


def short_name(tree: Tree) -> str:
    """The name of a place without the ending of an archive."""
    short = tree.path.resolve().name
    for ending in (".tar.gz", ".tgz", ".tar", ".zip"):
        short = short[: -len(ending)] if short.lower().endswith(ending) else short
    return printable(short) or "pictures"


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


def nothing_readable(tree: Tree, tally: Tally) -> str:
    """Why a place holds no picture: the first thing that was odd."""
    first = next((p for p in [*tally.problems(), *tree.problems]), None)
    text = say("{path}: none of its pictures can be read.", path=printable(str(tree.path)))
    return f"{text} {first.where}: {first.what}" if first else text


def _source(tree: Tree, layout: _Layout, names: list[str], examples: Examples, tally: Tally) -> Source:
    splits = np.array([layout.files[name][0] for name in names])
    given = {split: np.flatnonzero(splits == split) for split in ("train", "validation", "test") if split in splits}
    if "validation" in given and "test" not in given:
        given["test"] = given.pop("validation")
    folders = [printable(layout.files[name][1]) for name in names]
    return Source(
        "image",
        short_name(tree),
        examples,
        np.array(folders, dtype=object),
        [printable(name) for name in names],
        given,
        sorted(set(folders)),
        None,
        tally.problems(),
    )
