"""Texts and fields that stand beside recordings: a table of names, or a `.txt` file for each recording."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.tables.text import decode, parse
from netwright.errors import DataError
from netwright.language import say

TABLE_STEMS = ("transcripts", "transcript", "transcriptions", "trans", "text", "metadata", "labels", "label")
TABLE_ENDINGS = (".txt", ".tsv", ".csv")
BYTES_LIMIT = 2**26
"""Bytes of a table of names; a `.txt` of one recording has at most a thousandth."""
_NAMES = {"file", "filename", "file_name", "path", "wav", "audio", "name", "id", "recording"}
_KNOWN = {
    "text": "text", "transcript": "text", "transcription": "text", "sentence": "text",
    "label": "label", "class": "label", "target": "label", "word": "label",
}  # fmt: skip


def fields_beside(tree: Tree, names: Sequence[str], tally: Tally) -> dict[str, dict[str, str]]:
    """Recording -> its fields, among them `text` or `label`; empty where nothing of that kind stands there.

    A table is called `transcripts`, `trans`, `metadata` or `labels`, with .txt, .tsv or .csv; its first column (or the
    one called file, path, name ...) holds the recordings' names, with their ending or without. Without a row of names
    for its columns, the second is the label in `labels`, else the text. Columns stand apart by tabs, bars, commas, or
    the first blank. Errors: DataError where two tables stand there, or one cannot be read.
    """
    tables = [
        entry.name for entry in tree.entries
        if PurePosixPath(entry.name).stem.lower() in TABLE_STEMS
        and PurePosixPath(entry.name).suffix.lower() in TABLE_ENDINGS
    ]  # fmt: skip
    known = _by_name(names)
    found: dict[str, dict[str, str]] = {}
    for table in tables:
        for name, fields in _table(tree, table, known, tally).items():
            if name in found:
                text = say("{path}: several rows are about {name} (one in {table}); one of them",
                           path=printable(str(tree.path)), name=printable(name), table=printable(table))  # fmt: skip
                raise DataError(text)
            found[name] = fields
    return found if tables else _single_texts(tree, names, tally)


def _by_name(names: Sequence[str]) -> dict[str, str]:
    """What a table may call a recording -> its name: path, name and stem, as far as they tell it from the others."""
    called: dict[str, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        for word in {name, name.removesuffix(path.suffix), path.name, path.stem}:
            called.setdefault(word, []).append(name)
    return {word: ones[0] for word, ones in called.items() if len(ones) == 1}


def _table(tree: Tree, table: str, known: dict[str, str], tally: Tally) -> dict[str, dict[str, str]]:
    text, problems = decode(tree.read(table, BYTES_LIMIT), printable(table))
    for problem in problems:
        tally.add(problem.where, problem.what, problem.action)
    rows = [row for row in _rows(text, table, known) if any(cell.strip() for cell in row)]
    if not rows:
        return {}
    stem = PurePosixPath(table).stem.lower()
    second = "label" if stem in ("labels", "label") else "text"
    columns, key = [second if place == 1 else f"field{place + 1}" for place in range(len(rows[0]))], 0
    if _recording(rows[0], known) is None and len(rows) > 1 and not _looks_like_name(rows[0]):
        columns, key = _header(rows[0], second)
        rows = rows[1:]
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        cell = row[key].strip() if key < len(row) else ""
        name = known.get(cell.removeprefix("./"))
        if name is None:
            tally.add(printable(table), say("a row about no recording that is here"), say("left out"), cell[:60])
        elif name in found:
            tally.add(printable(table), say("a second row about one recording"), say("left out"), printable(name))
        else:
            found[name] = {
                c: row[place].strip() for place, c in enumerate(columns) if place != key and place < len(row)
            }
    return found


def _rows(text: str, table: str, known: dict[str, str]) -> list[list[str]]:
    """Cells of each line: by tab, bar or comma, else the first blank (as in `84-1-0 AND SO ON`)."""
    first = text.split("\n", 1)[0]
    for delimiter in "\t|":
        if delimiter in first:
            return [line.rstrip("\r").split(delimiter) for line in text.split("\n")]
    if "," in first and (table.lower().endswith(".csv") or known.get(first.split(",")[0].strip())):
        return parse(text, printable(table), ",").cells
    return [line.strip().split(None, 1) for line in text.split("\n")]


def _recording(row: Sequence[str], known: dict[str, str]) -> str | None:
    return next((known[cell.strip()] for cell in row if cell.strip() in known), None)


def _looks_like_name(row: Sequence[str]) -> bool:
    return row[0].strip().lower().endswith((".wav", ".wave"))


def _header(row: Sequence[str], second: str) -> tuple[list[str], int]:
    """Names of the columns, and the place of the one that holds the recordings' names."""
    words = [cell.strip().lower() for cell in row]
    key = next((place for place, word in enumerate(words) if word in _NAMES), 0)
    columns = [_KNOWN.get(word, word) or f"field{place + 1}" for place, word in enumerate(words)]
    if len(columns) == 2 and not {"text", "label"} & set(columns):
        columns[1 - key] = second
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(say("a table beside the recordings has two columns {name!r}", name=twice[0]))
    return columns, key


def _single_texts(tree: Tree, names: Sequence[str], tally: Tally) -> dict[str, dict[str, str]]:
    """The text of each recording from the `.txt` file of its name."""
    sizes = {entry.name: entry.size for entry in tree.entries}
    pairs = {name: name.rpartition(".")[0] + ".txt" for name in names}
    found = {}
    for name, beside in pairs.items():
        if beside in sizes:
            text, problems = decode(tree.read(beside, BYTES_LIMIT // 1000), printable(beside))
            for problem in problems:
                tally.add(problem.where, problem.what, problem.action)
            found[name] = {"text": " ".join(text.split())}
    return found
