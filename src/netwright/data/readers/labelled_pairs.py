"""Two texts and a label a row: inference (premise, hypothesis), paraphrases, similarity; both texts are read as one."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, asked_once, printable
from netwright.data.readers.joined_texts import (
    SEPARATOR,
    Sheet,
    couple,
    head_sheet,
    joined,
    named_columns,
    read_sheet,
)
from netwright.data.source import Source, Texts
from netwright.data.tables.cells import is_phrase
from netwright.data.tables.columns import as_cells
from netwright.data.tables.text import is_header
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import data_files, form_of
from netwright.data.texts.labels import LABEL_NAMES, is_headed
from netwright.data.texts.pairing import column_sides
from netwright.data.texts.places import PROSE, SHEETS, Peeks, ending, given_splits, short_name, split_of
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

LABELS = (
    "gold_label", "label", "labels", "target", "class", "y", "is_duplicate", "duplicate", "quality", "is_paraphrase",
    "paraphrase", "entailment_judgment", "entailment", "judgment", "judgement", "relation", "stance", "标签", "类别",
    "similarity", "similarity_score", "relatedness_score", "relatedness", "score", "gold",
)  # fmt: skip
"""What the label is called; where several stand side by side, the first of these."""
FORMS = PROSE | SHEETS | {".jsonl", ".ndjson"}
MOST_FILES, SAMPLE = 16, 4000
LONGEST, MOST = 40, 50
"""Characters of a label, and different labels, where names do not tell."""
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?").fullmatch


@dataclass(frozen=True)
class Roles:
    """What the columns of a table of labelled pairs are."""

    columns: tuple[str, ...]
    headed: bool
    texts: tuple[str, ...]
    label: str


def recognises(tree: Tree) -> bool:
    """Whether a place holds tables of two texts and a label a row."""
    return roles_in(tree) is not None


@asked_once
def roles_in(tree: Tree) -> Roles | None:
    """What the columns of the tables at a place are; None where they are no labelled pairs."""
    names = _tables(tree)
    if not names or len(names) > MOST_FILES:
        return None
    objects = ending(names[0]) in (".jsonl", ".ndjson")  # a question, its answer and a label are no conversation
    if form_of(tree) not in ("", "pairs", *(["dialogue"] if objects else [])):
        return None
    return roles_of(head_sheet(Peeks(tree)[names[0]]))


def _tables(tree: Tree) -> list[str]:
    """The files that may hold rows, training first; none where others stand beside them."""
    names = data_files(tree)
    found = [name for name in names if ending(name) in FORMS]
    sheets = [name for name in found if ending(name) not in PROSE]
    if 2 * len(found) <= len(names):
        return []
    return sorted(sheets or found, key=lambda name: (split_of(name) != "train", name))


def roles_of(sheet: Sheet) -> Roles | None:
    """The two texts and the label among the columns of a table, by their names, else by what they hold."""
    width = sheet.width
    rows = [row for row in sheet.rows[: SAMPLE + 1] if len(row) == width]
    if width < 3 or len(rows) < 0.8 * len(sheet.rows[: SAMPLE + 1]):
        return None
    first = rows[0]
    if sheet.headed or is_header(first):
        texts = couple(first)
        if texts:
            label = _label(first, rows[1:], texts)
            return None if label < 0 else Roles(tuple(first), True, tuple(first[k] for k in texts), first[label])
    return _by_shape(first, rows, sheet.headed) if len(rows) > 1 else None


def _label(names: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int]) -> int:
    """The column of the label: by its name, else the only one of few short values; -1 where there is none."""
    lowered = [name.lower() for name in names]
    for known in LABELS:
        if known in lowered and lowered.index(known) not in texts:
            return lowered.index(known)
    few = [k for k in range(len(names)) if k not in texts and _are_labels([row[k] for row in rows])]
    return few[0] if len(few) == 1 else -1


def _by_shape(first: list[str], rows: list[list[str]], headed: bool) -> Roles | None:
    """Two columns of sentences, one of few short values, and nothing beside them but numbers of rows."""
    columns = [[row[k] for row in rows[1:]] for k in range(len(first))]
    texts = [k for k, cells in enumerate(columns) if _are_texts(cells)]
    lowered = [name.lower() for name in first]
    named = [k for k, name in enumerate(lowered) if name in LABELS or name in LABEL_NAMES]
    named = [k for k in named if lowered[k] not in {cell.lower() for cell in columns[k]}]  # a label may be a name, too
    labels = [k for k, cells in enumerate(columns) if k not in texts and (k in named or _are_labels(cells))]
    labels = [k for k in labels if k in named] or labels
    if len(texts) != 2 or len(labels) != 1:
        return None
    if not all(_counts(lowered[k], cells) for k, cells in enumerate(columns) if k not in (*texts, *labels)):
        return None
    label = labels[0]
    pairs = [[(row[label], row[k]) for row in rows] for k in texts]
    headed = headed or (is_header(first) and (bool(named) or all(is_headed(pair, 0) for pair in pairs)))
    sides = headed and len(column_sides(first)) == 2
    if sides or not ((headed and named) or _one_language(*(columns[k] for k in texts))):
        return None
    names = first if headed else [f"column{place}" for place in range(1, len(first) + 1)]
    return Roles(tuple(names), headed, tuple(names[k] for k in texts), names[label])


def _counts(name: str, cells: Sequence[str]) -> bool:
    """Whether a column only says which row it is: one after another, or another sign each and called so."""
    if len(set(cells)) < len(cells) or max(map(len, cells)) > LONGEST:
        return False
    numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit()]
    consecutive = len(numbers) == len(cells) and max(numbers) - min(numbers) < 2 * len(cells)
    return consecutive or bool({"id", "index", "idx", "key", "no", "nr"} & set(re.split(r"[\W_]+", name)))


def _are_labels(cells: Sequence[str]) -> bool:
    """Few different short values; of numbers whole ones."""
    filled = [cell for cell in cells if cell]
    kinds = set(filled)
    if 2 * len(filled) < len(cells) or not 2 <= len(kinds) <= max(2, min(MOST, len(filled) // 3)):
        return False
    if any(len(kind) > LONGEST or len(kind.split()) > 4 for kind in kinds):
        return False
    return all(kind.lstrip("+-").isdigit() for kind in kinds if _NUMBER(kind))


def _are_texts(cells: Sequence[str]) -> bool:
    """Sentences: several words in most cells, most of them different or many."""
    filled = [cell for cell in cells if cell]
    if not filled or 2 * len(filled) < len(cells):
        return False
    phrases = sum(is_phrase(cell) for cell in filled)
    words = sum(len(cell.split()) for cell in filled) / len(filled)
    letters = sum(sum(map(str.isalpha, cell)) for cell in filled)
    several = phrases >= 0.7 * len(filled) and (words >= 2.5 or letters > 4 * len(filled))
    distinct = len(set(filled))
    return several and letters >= 0.4 * sum(map(len, filled)) and (distinct > 20 or distinct >= 0.3 * len(filled))


def _one_language(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two columns share their words: a quarter of those on either side stand on the other one too."""
    split = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\d_\u3040-\u30ff\u4e00-\u9fff]+").findall
    first, second = (Counter(word for cell in side for word in split(cell.lower())) for side in (one, other))
    shares = [
        sum(count for word, count in here.items() if word in there) / max(1, sum(here.values()))
        for here, there in ((first, second), (second, first))
    ]
    return min(shares) >= 0.25


@dataclass
class Part:
    """The rows of one file."""

    name: str
    split: str
    texts: list[str] = field(default_factory=list)
    firsts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


@READERS.add(
    recognises=recognises, given="labelled pairs of texts (a table such as premise, hypothesis, label)",
    also=fit_texts,
)  # fmt: skip
def labelled_pairs(
    tree: Tree, *, target: str = "", source: str = "", header: bool | Literal["auto"] = "auto", encoding: str = "auto",
    task: str = "auto",
) -> Source:  # fmt: skip
    """Two texts and a label a row: what one says of the other. Both are read as one text, `===` between them.

    Args: `target` names the column of the label, `source` the columns of the texts, apart by commas (one alone is
    read alone). Left out, names such as premise and hypothesis, sentence1 and sentence2, label tell them, else what
    the columns hold. `header` says whether the first row holds names; `encoding` names the text encoding.
    With `task` translate the second text is what the first is to be turned into, and the label is not read.

    Labels of few kinds are classes, other numbers (a similarity) are numbers. Without given splits, rows of one first
    text stay in one split. Rows that lack a text or a label, and files without labels beside others, are reported and
    left out. Errors: DataError with file and line, UsageError for a column that is not there.
    """
    tally, names = Tally(), _tables(tree)
    if not names:
        raise DataError(say("{path} holds no table of two texts and a label", path=printable(str(tree.path))))
    sheets = [read_sheet(tree, name, encoding) for name in names]
    roles = _chosen(sheets[0], target, source, header, turned=task == "translate")
    parts = [_part(sheet, split_of(name), roles, tally) for sheet, name in zip(sheets, names, strict=True)]
    parts = [part for part in parts if part.texts]
    if not parts:
        problem = next((one for one in tally.problems() if one.action == say("left out")), None)
        text = say("{path}: none of its labelled texts can be read.", path=printable(str(tree.path)))
        raise DataError(f"{text}\n{problem.where}: {problem.what}" if problem else text)
    if len(names) == 1:
        parts[0].split = ""
    given = given_splits([(part.name, part.split, len(part.texts)) for part in parts], tally)
    ids = [f"{part.name} {name}" if len(names) > 1 else name for part in parts for name in part.ids]
    turned = task == "translate"
    alone = given or (len(roles.texts) < 2 and not turned)
    groups = None if alone else _groups([text for part in parts for text in part.firsts])
    texts = Texts([text for part in parts for text in part.texts])
    return Source(
        "text", re.sub(r"\.(jsonl|ndjson)$", "", short_name(tree)), texts,
        as_cells(label for part in parts for label in part.labels), ids, given,
        groups=groups, problems=tally.problems(), task="translate" if turned else "",
        facts={"source": roles.texts[0], "target": roles.label} if turned else {"columns": list(roles.texts)},
    )  # fmt: skip


def _chosen(sheet: Sheet, target: str, source: str, header: bool | Literal["auto"], turned: bool) -> Roles:
    """The columns as the settings name them, else as they were found; `turned`: the second text is the label."""
    found = roles_of(sheet) if header == "auto" else roles_of(_headed(sheet, header))
    if found is not None and header is False and not sheet.headed:
        found = replace(found, headed=False)
    if found is None:
        found = _bare(sheet, target, source, header)
    columns = list(found.columns)
    if target and target not in columns:
        text = say("data.{name}: {where} has no column {value!r}.", name="target", where=sheet.name, value=target)
        headed = "" if found.headed else " " + say("Its first row is data; data.header=true reads names.")
        raise UsageError(f"{text} {hint(target, columns)}{headed}")
    texts = named_columns(source, columns, sheet.name) if source else list(found.texts)
    if turned and not target and len(texts) == 2:
        texts, target = texts[:1], texts[1]
    elif turned and not source:
        texts = [name for name in texts if name != target][:1]
    label = target or found.label
    if not texts or not label:
        listed = ", ".join(columns[:12])
        text = say("{name}: which columns are the texts, which the label? They are: {names}.", name=sheet.name,
                   names=listed)  # fmt: skip
        raise DataError(text + "\n" + say("Name them: data.source=premise,hypothesis data.target=label"))
    if label in texts:
        raise UsageError(say("data.source and data.target both name the column {name!r}", name=label))
    return Roles(found.columns, found.headed, tuple(texts), label)


def _headed(sheet: Sheet, headed: bool) -> Sheet:
    """The sheet with names in its first row, or with numbered names above it."""
    if headed or sheet.headed:
        return Sheet(sheet.name, sheet.rows, sheet.lines, True)
    names = [f"column{place}" for place in range(1, sheet.width + 1)]
    return Sheet(sheet.name, [names, *sheet.rows], [0, *sheet.lines], True)


def _bare(sheet: Sheet, target: str, source: str, header: bool | Literal["auto"]) -> Roles:
    """The columns alone, for settings to choose among."""
    asked = {name for name in (target, *source.split(",")) if name}
    first = sheet.rows[0] if sheet.rows else []
    headed = sheet.headed or (header is True if header != "auto" else asked <= set(first) or is_header(first))
    columns = first if headed else [f"column{place}" for place in range(1, sheet.width + 1)]
    return Roles(tuple(columns), headed, (), "")


def _part(sheet: Sheet, split: str, roles: Roles, tally: Tally) -> Part:
    """The rows of a file that have both texts and a label."""
    for problem in sheet.problems:
        tally.add(problem.where, problem.what, problem.action)
    part, columns, start = Part(sheet.name, split), list(roles.columns), 0
    if roles.headed and sheet.rows:
        columns, start = sheet.rows[0], 1
    _told(sheet.name, columns, roles, tally)
    if roles.label not in columns:
        what = say("it has no column {name!r}", name=roles.label)
        tally.add(sheet.name, what, say("left out"))
        return part
    texts, label = [columns.index(name) for name in roles.texts], columns.index(roles.label)
    uneven = 0
    for number, row in enumerate(sheet.rows[start:], start=1):
        where = f"{sheet.name}:{sheet.lines[number + start - 1]}"
        if len(row) != len(columns):
            detail = say("{count} cells", count=len(row))
            tally.add(where, say("a row that has not {width} cells", width=len(columns)), say("left out"), detail)
            uneven += 1
        elif not row[label] or row[label] == "-" or not all(row[place] for place in texts):
            lost = not row[label] or row[label] == "-"
            tally.add(where, say("a row without a label") if lost else say("a row without a text"), say("left out"))
        else:
            part.texts.append(joined(row[place] for place in texts))
            part.firsts.append(row[texts[0]])
            part.labels.append(row[label])
            part.ids.append(f"row {number}")
    if 2 * uneven > len(sheet.rows):
        text = say("{name}: {count} of {rows} rows do not have {width} cells", name=sheet.name, count=uneven,
                   rows=len(sheet.rows), width=len(columns))  # fmt: skip
        raise DataError(text)
    return part


def _told(name: str, columns: Sequence[str], roles: Roles, tally: Tally) -> None:
    """Say which columns are read as what. Errors: DataError where a column of texts is missing."""
    for text in roles.texts:
        if text not in columns:
            raise DataError(say("{where}: there is no column {name!r}.", where=name, name=text) + " "
                            + hint(text, columns))  # fmt: skip
    if len(roles.texts) > 1:
        what = say("columns {names} belong together; the label is {label}", names=", ".join(roles.texts),
                   label=roles.label)  # fmt: skip
        tally.add(name, what, say("read as one text with {sign} between them", sign=SEPARATOR))
    unused = [column for column in columns if column not in (*roles.texts, roles.label)]
    if unused:
        what = say("columns beside the texts and the label: {names}", names=", ".join(unused[:8]))
        tally.add(name, what, say("not read"))


def _groups(firsts: Sequence[str]) -> np.ndarray | None:
    """One number a first text, where some repeat and they are enough to be divided."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(firsts))}
    if len(numbers) == len(firsts) or len(numbers) < 10:
        return None
    return np.array([numbers[text] for text in firsts], np.int64)
