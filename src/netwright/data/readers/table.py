"""Tables: CSV, TSV, Parquet and JSON Lines files, or data frames, with one column as the target."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tree, asked_once
from netwright.data.readers.labelled_pairs import roles_in
from netwright.data.series.recognise import looks_like_series
from netwright.data.source import Problem, Source, Table
from netwright.data.splits import SPLIT_WORDS
from netwright.data.tables.cells import MISSING_WORDS, typed_text
from netwright.data.tables.columns import MAX_BYTES, FileTable, as_cells
from netwright.data.tables.files import ENDINGS, ending, read_table
from netwright.data.tables.files import rows_table as rows_table
from netwright.data.tables.stored import read_stored
from netwright.data.texts.forms import form_of
from netwright.errors import DataError, hint
from netwright.language import say

TARGET_NAMES = ("target", "label", "class", "y")
OTHER_KINDS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".wav", ".flac", ".npz", ".npy"})


def tables_in(tree: Tree) -> list[str]:
    """The names of the table files below `tree`, hidden ones apart."""
    names = [entry.name for entry in tree.entries if ending(entry.name)]
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]


@asked_once
def mostly_tables(tree: Tree) -> bool:
    """Whether the place holds table files, and fewer pictures, recordings and arrays beside them."""
    return len(tables_in(tree)) > sum(os.path.splitext(entry.name)[1].lower() in OTHER_KINDS for entry in tree.entries)


def is_table(tree: Tree) -> bool:
    """Whether the place holds tables that are no texts beside one another and no series, and few pictures."""
    return mostly_tables(tree) and not form_of(tree) and not looks_like_series(tree) and roles_in(tree) is None


@READERS.add(recognises=is_table, given="a table (CSV, TSV, Parquet, JSON Lines)")
def table(
    tree: Tree, *, target: str = "", header: bool | Literal["auto"] = "auto", group: str = "", encoding: str = "auto"
) -> Source:
    """Rows of named cells: one table, or `train` and `test` (and `validation`) tables in one folder.

    Args: `target` names the column to predict (default: target, label, class or y); `header` says whether the first
    row holds the names; `group` names a column whose equal cells stay in one split (it is no feature then);
    `encoding` names the text encoding. Errors: DataError with file, line and column.
    """
    named = _splits(tree)
    parts = [(split, read_stored(name, tree.read(name, MAX_BYTES), header, encoding)) for split, name in named]
    return _source(Path(tree.path).absolute().name, parts, target, group)


def from_frame(frame: Any, target: str = "", group: str = "", name: str = "frame") -> Source:
    """A data frame of any library that narwhals knows (pandas, polars, pyarrow, ...) as a source."""
    from netwright.data.tables.typed import frame_table

    return _source(name, [("", frame_table(frame))], target, group)


def unlabelled(tree: Tree, *, header: bool | Literal["auto"] = "auto", encoding: str = "auto") -> Source:
    """All rows of the tables at a place, for prediction: a target column, if any, stays among the others.

    No row is left out for an empty target, no split is asked for; files follow in the order of their names.
    """
    names = sorted(tables_in(tree))
    if not names:
        raise DataError(say("{path} holds no table ({endings})", path=tree.path, endings=" ".join(ENDINGS)))
    parts = [("", read_table(name, tree.read(name, MAX_BYTES), header, encoding)) for name in names]
    _agree(parts, "")
    problems = [problem for _, part in parts for problem in part.problems]
    name = _short(Path(tree.path).absolute().name)
    return Source("table", name, Table(_joined(parts)), None, _ids(parts), problems=problems)


def _splits(tree: Tree) -> list[tuple[str, str]]:
    """(split, file) for every table to read; ("", file) for a single one."""
    names = sorted(tables_in(tree))
    if not names:
        raise DataError(say("{path} holds no table ({endings})", path=tree.path, endings=" ".join(ENDINGS)))
    if len(names) == 1:
        return [("", names[0])]
    found = {name: _split_of(name) for name in names}
    splits = list(found.values())
    if "" in splits or "train" not in splits or len(set(splits)) != len(splits):
        text = say("{path} holds {count} tables: {names}.", path=tree.path, count=len(names),
                   names=", ".join(names[:8]) + (", ..." if len(names) > 8 else ""))  # fmt: skip
        raise DataError(
            text + "\n" + say("Name one file, or name the splits: train.csv and test.csv (and validation.csv).")
        )
    order = ("train", "validation", "test")
    return sorted(((split, name) for name, split in found.items()), key=lambda pair: order.index(pair[0]))


def _split_of(name: str) -> str:
    """The split that a file's name states: its first or last word, or the whole name of its folder."""
    path = PurePosixPath(name.lower().removesuffix(".gz"))
    stem = path.stem
    for mark in "-. ":
        stem = stem.replace(mark, "_")
    said = {SPLIT_WORDS[word] for word in (stem.split("_")[0], stem.split("_")[-1]) if word in SPLIT_WORDS}
    if len(said) != 1:
        return SPLIT_WORDS.get(path.parent.name, "") if not said else ""
    return said.pop()


def _source(name: str, parts: Sequence[tuple[str, FileTable]], target: str, group: str) -> Source:
    """Join the parts, take the target out, and say what was odd."""
    chosen = _column([part for _, part in parts], target)
    _agree(parts, chosen)
    columns = _joined(parts)
    problems = [problem for _, part in parts for problem in part.problems]
    split_of = np.concatenate([np.full(len(part.rows), split, object) for split, part in parts])
    typed = all(part.typed for _, part in parts)
    targets = _targets(columns.pop(chosen), typed)
    groups = _groups(columns, group) if group else None
    if not columns:
        raise DataError(say("{name}: no column is left beside the target {target!r}", name=name, target=chosen))
    problems += _blank_missing_words(name, columns)
    keep = np.array([value is not None for value in targets], bool)
    if not keep.any():
        raise DataError(say("{name}: every cell of the target column {target!r} is empty", name=name, target=chosen))
    ids = _ids(parts)
    if not keep.all():
        first = ids[int(np.argmin(keep))]
        what = say("{count} rows have no target (the first: {row})", count=int((~keep).sum()), row=first)
        problems.append(Problem(say("column {name}", name=chosen), what, say("left out")))
    splits = split_of[keep]
    given = {split: np.flatnonzero(splits == split) for split, _ in parts if split}
    targets = _undotted(targets[keep], given, problems) if given else targets[keep]
    kept = Table({column: cells[keep] for column, cells in columns.items()})
    return Source(
        "table", _short(name), kept, _as_numbers(targets), [row for row, good in zip(ids, keep, strict=True) if good],
        given, groups=None if groups is None else groups[keep], problems=problems,
    )  # fmt: skip


def _short(name: str) -> str:
    lowered = name.lower()
    for last in (".gz", ".tar", ".zip", *ENDINGS):
        if lowered.endswith(last) and len(name) > len(last):
            name, lowered = name[: -len(last)], lowered[: -len(last)]
    return name


def _column(parts: Sequence[FileTable], target: str) -> str:
    """The target column: as named, else the one called target, label, class or y."""
    names = list(parts[0].columns)
    listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    headed = " " + say("The first row looks like names: data.header=true.") if parts[0].looks_headed else ""
    if target:
        if target in names:
            return target
        text = say("data.target: there is no column {name!r}.", name=target)
        raise DataError(f"{text} {hint(target, names)}{headed}")
    for known in TARGET_NAMES:
        matching = [column for column in names if column.lower() == known]
        if len(matching) == 1:
            return matching[0]
    text = say("{name}: which column is the target? Say data.target=NAME; the columns are: {names}.",
               name=parts[0].name, names=listed)  # fmt: skip
    raise DataError(text + headed)


def _agree(parts: Sequence[tuple[str, FileTable]], target: str) -> None:
    """Refuse splits with different columns, and name the difference."""
    first = parts[0][1]
    for _, other in parts[1:]:
        missing = [column for column in first.columns if column not in other.columns]
        extra = [column for column in other.columns if column not in first.columns]
        if missing == [target] and not extra:
            text = say(
                "{name} has no target column {target!r}, so it cannot test anything.", name=other.name, target=target
            )
            raise DataError(
                text + "\n" + say("Give {first} alone; `predict` reads {other}.", first=first.name, other=other.name)
            )
        if missing or extra:
            text = say("{first} has {count} columns, {other} has {found}.", first=first.name, count=len(first.columns),
                       other=other.name, found=len(other.columns))  # fmt: skip
            only = [say("Only in {name}: {columns}.", name=one.name, columns=", ".join(names[:8]))
                    for one, names in ((first, missing), (other, extra)) if names]  # fmt: skip
            raise DataError(text + "\n" + " ".join(only))


def _joined(parts: Sequence[tuple[str, FileTable]]) -> dict[str, np.ndarray]:
    """The columns of all parts, one below the other (None where a part lacks one)."""
    names = dict.fromkeys(column for _, part in parts for column in part.columns)
    return {
        column: np.concatenate([part.columns.get(column, as_cells([None] * len(part.rows))) for _, part in parts])
        for column in names
    }


def _ids(parts: Sequence[tuple[str, FileTable]]) -> list[str]:
    if len(parts) == 1:
        return [f"row {row}" for row in parts[0][1].rows.tolist()]
    return [f"{part.name} row {row}" for _, part in parts for row in part.rows.tolist()]


def _targets(cells: np.ndarray, typed: bool) -> np.ndarray:
    """Target cells as they stood (text), or numbers where the format is typed and all are; None where empty."""
    if not typed:
        return as_cells(cell if cell is None or isinstance(cell, str) else typed_text(cell) for cell in cells)
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float}:
        return as_cells(None if cell is None else float(cell) for cell in cells)
    return as_cells(cell if cell is None or isinstance(cell, str) else typed_text(cell) for cell in cells)


def _as_numbers(targets: np.ndarray) -> np.ndarray:
    return targets.astype(np.float64) if all(type(value) is float for value in targets) else targets


def _groups(columns: dict[str, np.ndarray], group: str) -> np.ndarray:
    """The group column as text, taken out of the features; a row without a group is one of its own."""
    if group not in columns:
        raise DataError(say("data.group: there is no column {name!r}.", name=group) + " " + hint(group, columns))
    cells = columns.pop(group)
    return as_cells(f"(row {row})" if cell is None else typed_text(cell) for row, cell in enumerate(cells, start=1))


def _blank_missing_words(name: str, columns: dict[str, np.ndarray]) -> Iterable[Problem]:
    """Replace words such as `?` and `NA` by None in feature columns; say which, where and how often."""
    found: dict[str, dict[str, int]] = {}
    for column, cells in columns.items():
        listed = cells.tolist()
        words = MISSING_WORDS.intersection(value for value in set(listed) if isinstance(value, str))
        for word in sorted(words):
            found.setdefault(word, {})[column] = listed.count(word)
        if words:
            columns[column] = as_cells(None if cell in words else cell for cell in listed)
    for word, counts in found.items():
        shown = ", ".join(f"{column} {count}" for column, count in list(counts.items())[:6])
        what = say("{count} cells say {word!r} ({columns})", count=sum(counts.values()), word=word,
                   columns=shown + (", ..." if len(counts) > 6 else ""))  # fmt: skip
        yield Problem(name, what, say("taken as missing"))


def _undotted(targets: np.ndarray, given: dict[str, np.ndarray], problems: list[Problem]) -> np.ndarray:
    """Labels of other splits that are a training label and a full stop (`<=50K.`) are read as that label."""
    trained = {value for value in targets[given["train"]] if isinstance(value, str)} if "train" in given else set()
    fixed = targets.copy()
    for split, positions in given.items():
        if split == "train":
            continue
        dotted = [
            p for p in positions if isinstance(targets[p], str) and targets[p] not in trained and targets[p][-1:] == "."
        ]
        dotted = [p for p in dotted if targets[p][:-1].rstrip() in trained and not _is_number(targets[p])]
        for position in dotted:
            fixed[position] = targets[position][:-1].rstrip()
        if dotted:
            what = say("{count} labels end in a full stop that the training labels do not have ({label!r})",
                       count=len(dotted), label=targets[dotted[0]])  # fmt: skip
            problems.append(Problem(split, what, say("read without it")))
    return fixed


def _is_number(text: str) -> bool:
    from netwright.data.tables.cells import numbers

    return bool(np.isfinite(numbers([text]))[0])
