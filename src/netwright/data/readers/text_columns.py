"""Columns of a table as texts, and another as what belongs to each."""

from typing import Literal

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tree
from netwright.data.readers.joined_texts import joined
from netwright.data.readers.table import table
from netwright.data.source import Problem, Source, Table, Texts
from netwright.data.tables.cells import text_of
from netwright.data.texts.encoder import fit_texts
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

MANY = 0.5
"""Where more than this share of the targets are different texts, they are what the texts are to be turned into."""


def named(tree: Tree) -> bool:
    """Never by itself: `data.source` asks for it."""
    return False


@READERS.add(recognises=named, given="a table with a column of texts (data.source=NAME)", also=fit_texts)
def text_columns(
    tree: Tree, *, source: str = "", target: str = "", header: bool | Literal["auto"] = "auto", encoding: str = "auto"
) -> Source:
    """Texts out of a table of any width: `data.source` names their column, `data.target` what belongs to each.

    Several columns, apart by commas (`title,body`), are read as one text with `===` between them. Every table file is
    read, with the splits that its names state. Targets are classes or numbers; where most of them are different texts
    they are what the texts are to be turned into. Rows without a text are left out and reported.
    Errors: DataError for a column that is not there, UsageError where both names are one.
    """
    found = table(tree, target=target, header=header, encoding=encoding)
    assert isinstance(found.examples, Table)
    columns = found.examples.columns
    if source == target:
        raise UsageError(say("data.source and data.target both name the column {name!r}", name=source))
    chosen = [source] if source in columns else [part.strip() for part in source.split(",")]
    for name in chosen:
        if name not in columns:
            text = say("{where}: there is no column {name!r}.", where=found.name, name=name)
            raise DataError(f"{text} {hint(name, list(columns))}")
    cells = zip(*(map(text_of, columns[name]) for name in chosen), strict=True)
    texts = [joined(cell or "" for cell in row) if any(row) else None for row in cells]
    kept = np.array([place for place, text in enumerate(texts) if text], dtype=np.int64)
    problems = list(found.problems)
    if not len(kept):
        raise DataError(say("{where}: column {name!r} holds no text", where=found.name, name=source))
    if len(kept) < len(texts):
        lost = next(place for place, text in enumerate(texts) if not text)
        what = say("{count} rows hold no text", count=len(texts) - len(kept))
        problems.append(Problem(found.ids[lost], what, say("left out")))
    assert found.targets is not None
    targets = found.targets[kept]
    place_of = {int(place): new for new, place in enumerate(kept)}
    given = {
        name: np.array([place_of[int(place)] for place in places if int(place) in place_of], dtype=np.int64)
        for name, places in found.given.items()
    }
    written = targets.dtype == object and len({str(value) for value in targets}) > MANY * len(targets)
    return Source(
        "text", found.name, Texts([texts[place] for place in kept]), targets, [found.ids[place] for place in kept],
        given, found.classes, problems=problems, task="translate" if written else "",
        facts={"columns": chosen, **({"source": source, "target": target} if target else {})},
    )  # fmt: skip
