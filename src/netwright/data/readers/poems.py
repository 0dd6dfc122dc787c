"""Poems: JSON lists of {author, title, paragraphs}, each poem a document to learn to write from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.pairs import LONGEST, ORDER, Places, short_name
from netwright.data.source import Problem, Source, Texts
from netwright.data.tables.files import strict_json
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import form_of
from netwright.data.texts.pairing import shown
from netwright.data.texts.places import read_text, split_of
from netwright.data.texts.poems import forms, lines_in
from netwright.errors import DataError
from netwright.language import say


def recognises(tree: Tree) -> bool:
    """JSON files that hold lists of objects with the lines of a poem."""
    return form_of(tree) == "poems"


@READERS.add(recognises=recognises, given="poems (JSON lists of author, title, paragraphs)", also=fit_texts)
def poems(tree: Tree, *, encoding: str = "auto") -> Source:
    """Poems from JSON lists of objects, each with a list of lines under `paragraphs` (or `lines`).

    A poem is one document, its lines apart by line feeds; `facts["forms"]` counts the forms of Chinese poems, verses
    x characters, such as 4x7. Files called train and test (and val) are the given splits. Entries without lines are
    reported and left out. Args: `encoding` names the text encoding. Errors: DataError where no file holds a poem.
    """
    tally, odd = Tally(), list[Problem]()
    parts: list[tuple[str, np.ndarray, list[str]]] = []
    failure: DataError | None = None
    for name in shown(tree):
        where = printable(name)
        try:
            text, problems = read_text(tree, name, encoding)
            found, places = _poems(strict_json(text, where), where, tally)
        except DataError as error:
            failure = failure or error
            tally.add(where, say("a file that cannot be read"), say("left out"), str(error).split("\n")[0])
            continue
        odd += problems
        parts.append((name, places, found))
    texts = [text for _, _, found in parts for text in found]
    if not texts:
        raise failure or DataError(_nothing(tree))
    ids = Places([(printable(name), places) for name, places, _ in parts], "{name} poem {line}")
    given = _given([(split_of(name), len(found)) for name, _, found in parts])
    facts = {"forms": forms(texts)}
    problems = [*odd, *tally.problems()]
    return Source(
        "text", short_name(tree), Texts(texts), None, ids, given, problems=problems, task="generate", facts=facts
    )


def _nothing(tree: Tree) -> str:
    text = say("{path} holds no poem.", path=printable(str(tree.path)))
    form = '[{"title": "...", "paragraphs": ["...", "..."]}]'
    return text + " " + say("Poems are a JSON list: {form}", form=form)


def _poems(value: Any, where: str, tally: Tally) -> tuple[list[str], np.ndarray]:
    """The poems of one file, and the place of each in its list, from 1."""
    if not isinstance(value, list):
        raise DataError(say("{name}: no list of poems, but {kind}", name=where, kind=type(value).__name__))
    texts, places = [], []
    for place, entry in enumerate(value, start=1):
        lines = lines_in(entry)
        here = say("{name} poem {place}", name=where, place=place)
        if lines is None:
            tally.add(here, say("no object with a list of lines"), say("left out"))
            continue
        text = "\n".join(stripped for line in lines if (stripped := line.strip()))
        if not text:
            tally.add(here, say("a poem without words"), say("left out"))
        elif len(text) > LONGEST:
            tally.add(here, say("a poem longer than {most:,} characters", most=LONGEST), say("left out"))
        elif "\0" in text:
            tally.add(here, say("a NUL character"), say("left out"))
        else:
            texts.append(text)
            places.append(place)
    return texts, np.array(places, np.int64)


def _given(parts: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
    """The splits that the names of files state; none unless one is for training and another not."""
    names = [split for split, _ in parts]
    if "train" not in names or len(set(names) - {""}) < 2 or "" in names:
        return {}
    of = np.concatenate([np.full(count, split, object) for split, count in parts])
    return {split: np.flatnonzero(of == split) for split in ORDER if split in names}
