"""Texts in memory: lists of strings or of tokens with classes, numbers, tags or other texts, and data frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netwright.data.readers.arrays import Numbered, targets_of
from netwright.data.source import Problem, Source, Texts
from netwright.data.texts.labels import columns_of
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

FEW = 20
"""Up to so many different targets are classes, if none of them is a text of several words."""
SAMPLE = 1000
"""So many rows of a data frame tell whether a column holds texts."""


def are_texts(data: Any) -> bool:
    """Whether what was handed over is a row of texts: strings, or lists of strings (tokens), one of them at least."""
    cells = _cells(data)
    return cells is not None and any(isinstance(cell, str) or _tokens(cell) for cell in cells)


def from_texts(
    texts: Any,
    targets: Any = None,
    *,
    task: str = "auto",
    x_test: Any = None,
    y_test: Any = None,
    name: str = "texts",
) -> Source:
    """Texts with their targets: one class, number, row of tags or text each; without targets texts to continue.

    Targets that are lists are tags, one a token. Strings are classes, unless most of them are different: then they are
    what the texts are to be turned into; `task` decides otherwise. Missing texts are left out and reported. Errors:
    DataError where counts do not fit, with the place of the first that does not.
    """
    if (x_test is None and y_test is not None) or (x_test is not None and (targets is None) != (y_test is None)):
        raise UsageError(say("x, and y or not; x_test needs y_test exactly if x has y"))
    pairs = {"": (texts, targets)} if x_test is None else {"train": (texts, targets), "test": (x_test, y_test)}
    kept: list[Any] = []
    said: list[Any] = []
    ids: list[tuple[str, int]] = []
    given: dict[str, np.ndarray] = {}
    problems: list[Problem] = []
    for split, (inputs, goals) in pairs.items():
        where = f"x_{split}" if split else "x"
        first = len(kept)
        both = _checked(inputs, goals, where, problems)
        kept += [text for text, _ in both]
        said += [goal for _, goal in both]
        ids.append((name if not split else where, len(both)))
        if split:
            given[split] = np.arange(first, len(kept))
    found, decided = (None, "generate") if targets is None else _targets(said, kept, task)
    if targets is None and task not in ("auto", "generate"):
        raise DataError(say("data.task = {task!r} needs targets beside the texts", task=task))
    return Source("text", name, Texts(kept), found, Numbered(ids), given, problems=problems, task=decided)


def from_text_frame(frame: Any, target: str, source: str, grouped: bool = False) -> Source | None:
    """A data frame's texts with the column `target` beside them; None where the frame is a table.

    It is one of texts where `source` names their column, or where it has two columns, one of few short values and one
    of texts. Errors: DataError for a column that is not there.
    """
    from narwhals import from_native

    frame = from_native(frame, eager_only=True, pass_through=True)
    if not hasattr(frame, "to_native") or (grouped and not source):
        return None  # no data frame after all, which the table's reader refuses
    columns = [str(column) for column in frame.columns]
    if grouped:
        raise UsageError(say("data.group goes with tables; data.source = {name!r} names texts", name=source))
    for column in (source, target) if source else ():
        if column and column not in columns:
            text = say("{where}: there is no column {name!r}.", where="data frame", name=column)
            raise DataError(f"{text} {hint(column, columns)}")
    if not source:
        source, target = _roles(frame, columns, target)
        if not source:
            return None
    target = target or next((column for column in ("target", "label", "class", "y") if column in columns), "")
    if target == source:
        raise UsageError(say("data.source and data.target both name the column {name!r}", name=source))
    return from_texts(_column(frame, source), _column(frame, target) if target else None, name="frame")


def _roles(frame: Any, columns: list[str], target: str) -> tuple[str, str]:
    """The columns of texts and labels of a frame of two; empty where it is another kind of table."""
    if len(columns) != 2:
        return "", ""
    cells = [_column(frame, column)[:SAMPLE] for column in columns]
    rows = [pair for pair in zip(*cells, strict=True) if not any(map(_missing, pair))]
    if not rows or not all(isinstance(cell, (str, int, bool)) for pair in rows for cell in pair):
        return "", ""
    found = columns_of([[str(cell) for cell in pair] for pair in rows])
    if found is None or (target and columns[found.label] != target):
        return "", ""
    if not all(isinstance(pair[1 - found.label], str) for pair in rows):
        return "", ""
    return columns[1 - found.label], columns[found.label]


def _column(frame: Any, name: str) -> list[Any]:
    place = [str(column) for column in frame.columns].index(name)
    return list(frame[:, place].to_list())


def _cells(data: Any) -> list[Any] | None:
    """The entries of a list, tuple, array or column of a data frame; None for anything else."""
    if isinstance(data, (list, tuple)):
        return list(data)
    if isinstance(data, np.ndarray):
        return data.tolist() if data.ndim == 1 and data.dtype.kind in "OU" else None
    if hasattr(data, "to_list") and not hasattr(data, "columns"):
        return list(data.to_list())
    return None


def _tokens(cell: Any) -> bool:
    """Whether an entry is a list of tokens."""
    return isinstance(cell, (list, tuple)) and len(cell) > 0 and all(isinstance(token, str) for token in cell)


def _missing(cell: Any) -> bool:
    """Whether an entry is none at all: None, NaN, or a text of no tokens."""
    if isinstance(cell, (list, tuple)):
        return len(cell) == 0
    return cell is None or (isinstance(cell, float) and cell != cell) or type(cell).__name__ in ("NAType", "NaTType")


def _checked(texts: Any, targets: Any, where: str, problems: list[Problem]) -> list[tuple[Any, Any]]:
    """Pairs of text and target, the missing ones left out; what cannot be read is refused with its place."""
    cells = _cells(texts)
    if cells is None or not cells:
        raise DataError(say("{where} holds no texts; a list of strings was expected", where=where))
    goals: list[Any] = [0] * len(cells) if targets is None else _goals(targets, len(cells), where)
    found: list[tuple[Any, Any]] = []
    lost: list[int] = []
    for place, (cell, goal) in enumerate(zip(cells, goals, strict=True)):
        if _missing(cell) or _missing(goal):
            lost.append(place)
            continue
        text = tuple(cell) if _tokens(cell) else cell
        if not isinstance(text, (str, tuple)):
            raise DataError(say("{where}[{place}] is {kind}; a text is a string or a list of tokens",
                                where=where, place=place, kind=type(cell).__name__))  # fmt: skip
        _readable(text, where, place)
        if _tokens(goal):
            _fits(text, goal, where, place)
        elif isinstance(goal, str):
            _readable(goal, "y", place)
        found.append((text, goal))
    if lost:
        what = say("{count} texts or targets are missing", count=len(lost))
        problems.append(Problem(f"{where}[{lost[0]}]", what, say("left out")))
    if not found:
        raise DataError(say("{where} holds no texts; a list of strings was expected", where=where))
    return found


def _goals(targets: Any, count: int, where: str) -> list[Any]:
    """One target an example."""
    cells = _cells(targets)
    if cells is None and hasattr(targets, "tolist"):
        cells = targets.tolist()  # numbers: an array or a tensor
    if not isinstance(cells, list):
        raise DataError(
            say("targets are {kind}; a list of one target a text was expected", kind=type(targets).__name__)
        )
    if len(cells) != count:
        raise DataError(say("{where} holds {x:,} examples, its y {y:,} targets", where=where, x=count, y=len(cells)))
    return cells


def _readable(text: Any, where: str, place: int) -> None:
    try:
        ("".join(text) if isinstance(text, tuple) else text).encode()
    except UnicodeEncodeError:
        raise DataError(
            say("{where}[{place}] holds text that is not valid Unicode", where=where, place=place)
        ) from None


def _fits(text: Any, tags: Sequence[str], where: str, place: int) -> None:
    """One tag a token."""
    if isinstance(text, str):
        way = say("give its tokens as a list")
        raise DataError(say("{where}[{place}] is one string beside {count} tags; {way}",
                            where=where, place=place, count=len(tags), way=way))  # fmt: skip
    if len(text) != len(tags):
        raise DataError(say("{where}[{place}] holds {count} tokens, its y {tags} tags",
                            where=where, place=place, count=len(text), tags=len(tags)))  # fmt: skip


def _targets(said: list[Any], texts: list[Any], task: str) -> tuple[np.ndarray, str]:
    """The targets in the form of their task, and the task where it is not for the targets to tell."""
    if any(map(_tokens, said)):
        if not all(map(_tokens, said)):
            place = next(place for place, goal in enumerate(said) if not _tokens(goal))
            raise DataError(say("y[{place}] is {kind}; the others are lists of tags",
                                place=place, kind=type(said[place]).__name__))  # fmt: skip
        return _objects([tuple(goal) for goal in said]), "tag"
    if not all(isinstance(goal, str) for goal in said):
        return targets_of(said, "y"), ""
    wanted = task == "translate" or (task == "auto" and are_written(said))
    return _objects(said), "translate" if wanted else ""


def are_written(targets: Sequence[str]) -> bool:
    """Whether strings are texts to write rather than names of classes: most of them stand once, and they are many, or
    sentences."""
    distinct = len(set(targets))
    phrases = sum(len(target.split()) > 1 for target in targets)
    return distinct > max(FEW, len(targets) / 2) or (distinct == len(targets) and 2 * phrases > len(targets))


def _objects(values: list[Any]) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found
