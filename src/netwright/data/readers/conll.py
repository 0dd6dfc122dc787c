"""Tagged tokens (CoNLL): a token and its tag a line, a blank line between sentences."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.label_prefixes import prefixed_files
from netwright.data.source import Source, Texts
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import data_files, form_of, tagged_files, text_files
from netwright.data.texts.places import Peeks, each_line, given_splits, read_text, short_name, split_of
from netwright.data.texts.tags import Columns, columns_of, is_aside, is_comment, odd_at, scheme_in
from netwright.errors import DataError
from netwright.language import say

LONGEST = 100_000
"""Tokens of a sentence at most: a file without blank lines is no list of sentences."""
HEAD_LINES = 20_000
"""Lines that decide how many columns there are."""


def recognises(tree: Tree) -> bool:
    """Whether a place holds tokens with tags."""
    return form_of(tree) == "tags" and not prefixed_files(tree)


@dataclass
class Sentences:
    """The sentences of one file: tokens, tags, and the line that each begins on."""

    name: str
    tokens: list[tuple[str, ...]] = field(default_factory=list)
    tags: list[tuple[str, ...]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


@READERS.add(
    recognises=recognises,
    given="token tags (CoNLL: a token and its tag a line, a blank line between sentences)",
    also=fit_texts,
)
def conll(tree: Tree, *, encoding: str = "auto") -> Source:
    """Sentences of tokens, each with a tag; columns apart by tabs or blanks, the last is the tag.

    In CoNLL-U (ten numbered columns) the token is the second column and the tag the fourth. Files called by a split
    (`train.char.bmes`, `emerging.dev.conll`, `eng.testa`) are that split. `encoding` names the text encoding. Lines
    that lack a token or a tag are reported and left out; tags that cannot follow one another (BIO, BMESO, BIOES) are
    reported and kept. Errors: DataError where no sentence can be read.
    """
    everything = text_files(data_files(tree))
    names = tagged_files(everything, Peeks(tree))
    if not names:
        raise DataError(say("{path} holds no tokens with tags", path=printable(str(tree.path))))
    tally = Tally()
    for name in everything:
        if name not in names:
            tally.add(printable(name), say("a file without tags"), say("left out"))
    known: dict[str, str] = {}  # one object for each distinct token and tag
    parts = [part for name in names if (part := _read(tree, name, encoding, tally, known)).tokens]
    if not parts:
        raise DataError(say("{path}: none of its lines holds a token and a tag", path=printable(str(tree.path))))
    ids = [f"{part.name}:{line}" for part in parts for line in part.lines]
    tags = [tag for part in parts for tag in part.tags]
    scheme = scheme_in(tags)
    _check(ids, tags, scheme, tally)
    targets = np.empty(len(tags), object)
    for place, each in enumerate(tags):  # assigned at once, tuples of one length would become a second axis
        targets[place] = each
    given = given_splits([(part.name, split_of(part.name), len(part.tokens)) for part in parts], tally)
    return Source(
        "text", short_name(tree), Texts([tokens for part in parts for tokens in part.tokens]), targets, ids, given,
        problems=tally.problems(), task="tag", facts={"scheme": scheme},
    )  # fmt: skip


def _read(tree: Tree, name: str, encoding: str, tally: Tally, known: dict[str, str]) -> Sentences:
    text, problems = read_text(tree, name, encoding)
    for problem in problems:
        tally.add(problem.where, problem.what, problem.action)
    found = Sentences(printable(name))
    columns = columns_of(list(islice(each_line(text), HEAD_LINES)))
    if columns is None:
        raise DataError(say("{name}: its lines do not share a number of columns, so they are no tokens with tags",
                            name=found.name))  # fmt: skip
    for first, pairs in _sentences(found.name, each_line(text), columns, tally):
        found.tokens.append(tuple(known.setdefault(token, token) for token, _ in pairs))
        found.tags.append(tuple(known.setdefault(tag, tag) for _, tag in pairs))
        found.lines.append(first)
    return found


def _sentences(
    where: str, lines: Iterable[str], columns: Columns, tally: Tally
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """(line of the first token, tokens with tags) of each sentence."""
    pairs: list[tuple[str, str]] = []
    first = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("-DOCSTART-") or (not pairs and is_comment(line)):
            if pairs:
                yield first, pairs
            pairs = []
            continue
        cells = columns.cells(line)
        if len(cells) != columns.count:
            if not is_aside(line) and not _spans(cells, columns):
                kind = say("a line without {count} columns", count=columns.count)
                tally.add(f"{where}:{number}", kind, say("left out"), _shown(line))
            continue
        token, tag = cells[columns.token], cells[columns.tag]
        if columns.token and not cells[0].isdigit():
            continue  # CoNLL-U: 3-4 spans the words 3 and 4, 5.1 is a word that was left out
        if not token or not tag:
            kind = say("a line without a token") if tag else say("a line without a tag")
            tally.add(f"{where}:{number}", kind, say("left out"), _shown(line))
            continue
        first = first if pairs else number
        pairs.append((token, tag))
        if len(pairs) > LONGEST:
            text = say("{name} line {line}: a sentence of more than {count} tokens; a blank line ends a sentence",
                       name=where, line=first, count=LONGEST)  # fmt: skip
            raise DataError(text)
    if pairs:
        yield first, pairs


def _spans(cells: list[str], columns: Columns) -> bool:
    return bool(columns.token) and cells[0].startswith("#")


def _shown(line: str) -> str:
    return repr(line if len(line) <= 40 else line[:37] + "...")


def _check(ids: list[str], tags: list[tuple[str, ...]], scheme: str, tally: Tally) -> None:
    """Report tags that cannot follow one another: how many, and where the first stand."""
    for where, each in zip(ids, tags, strict=True):
        for place in odd_at(each, scheme):
            before = each[place - 1] if place else say("the beginning")
            tag = each[place] if place < len(each) else say("the end")
            detail = say("{tag} after {before}, token {place}", tag=tag, before=before, place=place + 1)
            tally.add(where, say("a tag that {scheme} does not allow there", scheme=scheme), say("kept"), detail)
