"""The form of fastText: a text a line, its class marked by `__label__` before the name."""

import re
from collections.abc import Iterator

from netwright.data.files.tree import Tally, Tree, asked_once, printable
from netwright.data.texts.forms import data_files, text_files
from netwright.data.texts.places import SHEETS, Peek, Peeks, ending, lines_of, read_text, split_of
from netwright.errors import DataError
from netwright.language import say

PREFIX = "__label__"
MOST_FILES = 64
_MARK = re.compile(rf"(?<!\S){PREFIX}(\S*)")


@asked_once
def prefixed_files(tree: Tree) -> tuple[str, ...]:
    """The files of marked lines at a place, training first; none where the first file that is looked at has none.

    Files that state no split beside others that state training and one more would bring their examples twice, so they
    are not among them.
    """
    names = [name for name in text_files(data_files(tree)) if ending(name) not in SHEETS]
    if not names or len(names) > MOST_FILES:
        return ()
    order = sorted(names, key=lambda name: (split_of(name) != "train", name))
    peeks = Peeks(tree)
    if not _marked(peeks[order[0]]):
        return ()
    found = [name for name in order if _marked(peeks[name])]
    splits = {split_of(name) for name in found} - {""}
    if "train" in splits and len(splits) > 1:
        found = [name for name in found if split_of(name)]
    return tuple(found)


def _marked(peek: Peek) -> bool:
    """Whether most lines begin or end with the mark of a class."""
    lines = peek.filled if peek.reads else []
    bearing = sum(line.startswith(PREFIX) or line.split()[-1].startswith(PREFIX) for line in lines)
    return 2 * bearing > len(lines)


def marked_lines(tree: Tree, name: str, encoding: str, tally: Tally) -> Iterator[tuple[int, str, str]]:
    """Number, text and class of each line; one without a class or a text is reported and left out.

    Every word that begins with the mark names a class, wherever it stands, and is no part of the text. Errors:
    DataError for a line of several classes.
    """
    where = printable(name)
    text, problems = read_text(tree, name, encoding)
    for problem in problems:
        tally.add(problem.where, problem.what, problem.action)
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        labels = list(dict.fromkeys(label for label in _MARK.findall(line) if label))
        rest = " ".join(part for piece in _MARK.split(line)[::2] if (part := piece.strip()))
        if len(labels) > 1:
            raise DataError(_several(f"{where}:{number}", labels))
        if not labels or not rest:
            kind = say("a row without a text") if labels else say("a row without a label")
            tally.add(f"{where}:{number}", kind, say("left out"))
            continue
        yield number, rest, printable(labels[0])


def _several(where: str, labels: list[str]) -> str:
    shown = ", ".join(printable(label)[:40] for label in labels[:4]) + (", ..." if len(labels) > 4 else "")
    text = say("{where}: {count} classes on one line ({labels}); a text has one class here.", where=where,
               count=len(labels), labels=shown)  # fmt: skip
    return text + "\n" + say("Keep one __label__ a line, or make a file for each class and learn it yes or no.")
