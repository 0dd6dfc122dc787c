"""Pictures with captions: a folder of pictures and a file of their names and texts."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from torch import Tensor

from netwright.catalogue import READERS, Range
from netwright.data.files.tree import Tally, Tree, asked_once, printable
from netwright.data.pictures.decode import SUFFIXES, suffix
from netwright.data.pictures.gathering import Gathering
from netwright.data.readers.image_folder import cores, nothing_readable, settled, short_name, wanted_size
from netwright.data.readers.image_folder import recognises as has_class_folders
from netwright.data.source import Examples, Source
from netwright.data.tables.columns import as_cells
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.places import Peeks, ending, lines_of, read_text
from netwright.errors import DataError
from netwright.language import say

FORMS = frozenset({"", ".txt", ".csv", ".tsv", ".tab", ".token"})
SAMPLE = 50


@dataclass(frozen=True)
class Again:
    """Examples of which some stand several times: a picture for each of its captions."""

    examples: Examples
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Any:
        return self.examples.take(self.places[np.asarray(positions)])


def recognises(tree: Tree) -> bool:
    """Pictures without class folders, and one file whose lines name them."""
    return caption_file(tree) != ""


@asked_once
def caption_file(tree: Tree) -> str:
    """The file that names the pictures of a place and says what is on them; empty where there is none."""
    names = [entry.name for entry in tree.entries if entry.size]
    pictures = {PurePosixPath(name).name for name in names if suffix(name) in SUFFIXES}
    texts = [name for name in names if ending(name) in FORMS and suffix(name) not in SUFFIXES]
    if not pictures or not 0 < len(texts) <= 8 or has_class_folders(tree):
        return ""
    peeks = Peeks(tree)
    found = [name for name in texts if _names_pictures(peeks[name].text if peeks[name].reads else "", pictures)]
    called = [name for name in found if "caption" in name.lower()]
    chosen = called or found
    return chosen[0] if len(chosen) == 1 else ""


def _names_pictures(text: str, pictures: set[str]) -> bool:
    """Whether most lines begin with the name of a picture."""
    rows = _rows(text[: 1 << 16])[1 : SAMPLE + 1] or _rows(text[: 1 << 16])
    return bool(rows) and 2 * sum(name in pictures for _, name, _ in rows) > len(rows)


def _rows(text: str) -> list[tuple[int, str, str]]:
    """Line, name of the picture and caption: apart by a tab, a bar or the first comma, a number behind # left out."""
    lines = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    head = [line for _, line in lines[:SAMPLE]]
    mark = next((mark for mark in "\t|" if 2 * sum(mark in line for line in head) > len(head)), ",")
    found = []
    for number, line in lines:
        if mark == ",":
            cells = next(csv.reader(io.StringIO(line), skipinitialspace=True), [])
            name, caption = (cells[0], ", ".join(cells[1:])) if cells else ("", "")
        else:
            cells = line.split(mark)
            name, caption = cells[0], cells[-1] if len(cells) > 1 else ""
        name = re.sub(r"#\d+$", "", name.strip())
        found.append((number, PurePosixPath(name.replace("\\", "/")).name, caption.strip()))
    return found


@READERS.add(
    recognises=recognises, given="pictures with captions (a folder of pictures and captions.txt: name, caption)",
    also=fit_texts,
)  # fmt: skip
def captions(
    tree: Tree, *, size: int | str | list = "auto", channels: Literal["auto", 1, 3] = "auto",
    memory: Annotated[int, Range(1, 2**20)] = 2048, encoding: str = "auto",
) -> Source:  # fmt: skip
    """Pictures and what is on them: each caption is an example, and all captions of a picture stay in one split.

    Args: `size`, `channels` and `memory` are those of `image_folder`; `encoding` names that of the file of captions.
    A line is the name of a picture and its caption, apart by a tab, a comma or a bar; the first may hold names.
    Captions without their picture, and pictures without one or that cannot be read, are reported and left out.
    """
    where, wanted, tally = caption_file(tree), wanted_size(size), Tally()
    if not where:
        raise DataError(say("{path} holds no pictures with a file of captions", path=printable(str(tree.path))))
    paths = {PurePosixPath(entry.name).name: entry for entry in tree.entries if suffix(entry.name) in SUFFIXES}
    text, problems = read_text(tree, where, encoding)
    for problem in problems:
        tally.add(problem.where, problem.what, problem.action)
    told: dict[str, list[tuple[int, str]]] = {}
    for number, name, caption in _rows(text):
        if name not in paths:
            if number > 1 or suffix(name) in SUFFIXES:  # else the names of the columns
                tally.add(f"{printable(where)}:{number}", say("a caption without its picture"), say("left out"))
        elif not caption:
            tally.add(f"{printable(where)}:{number}", say("a picture without a caption"), say("left out"))
        else:
            told.setdefault(name, []).append((number, caption))
    for name in paths.keys() - told.keys():
        tally.add(printable(paths[name].name), say("a picture without a caption"), say("left out"))
    entries = [paths[name] for name in told]
    names = [entry.name for entry in entries]
    asked = [list(wanted) if wanted else size, channels]
    reading = Gathering(tree, names, [entry.size for entry in entries], asked, memory, cores())
    found = reading.run(lambda survey: settled(tree, names, survey, wanted, channels))
    for position, kind, action, detail in found.events:
        tally.add(printable(names[position]), kind, action, detail)
    if not len(found.kept):
        raise DataError(nothing_readable(tree, tally))
    rows = [
        (row, f"{printable(names[position])}#{number}", caption)
        for row, position in enumerate(found.kept)
        for number, (_, caption) in enumerate(told[PurePosixPath(names[position]).name], start=1)
    ]
    places = np.array([row for row, _, _ in rows])
    return Source(
        "image", short_name(tree), Again(found.examples, places), as_cells(caption for _, _, caption in rows),
        [name for _, name, _ in rows], groups=places, problems=tally.problems(), task="translate",
        facts={"source": "picture", "target": "caption"},
    )  # fmt: skip
