"""Conversations: each turn with the reply that follows it, from chatterbot YAML, the Cornell format, or JSON."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.labelled_pairs import roles_in
from netwright.data.readers.pairs import Part, kept, pair_source
from netwright.data.source import Problem, Source
from netwright.data.tables.files import strict_json
from netwright.data.texts.dialogues import (
    CORNELL_ENDINGS,
    YAML_ENDINGS,
    cornell_conversations,
    cornell_lines,
    ending,
    is_conversations,
    is_cornell,
    talk_in,
)
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import form_of
from netwright.data.texts.pairing import head_text, sentence_lines, shown
from netwright.data.texts.places import read_text, split_of
from netwright.data.texts.turns_yaml import Conversation, yaml_conversations
from netwright.errors import DataError, UsageError, hint
from netwright.language import say, translated

DEFAULT, ALL = "english", "all"


def recognises(tree: Tree) -> bool:
    """Chatterbot YAML, files with fields apart by ` +++$+++ `, or JSON of questions and answers or of turns."""
    return form_of(tree) == "dialogue" and roles_in(tree) is None


@READERS.add(
    recognises=recognises, given="conversations (chatterbot YAML, Cornell format, JSON of turns)",
    also=fit_texts,
)  # fmt: skip
def dialogue(tree: Tree, *, language: str = "", encoding: str = "auto") -> Source:
    """Conversations, each turn but the last paired with the reply that follows it.

    Args: `language` chooses one folder of a corpus with a folder for each language, or `all` of them; left out, english
    where it is there, which is told. `encoding` names the text encoding.

    All pairs of one conversation stay in one split, unless files called train and test (and val) state the splits. What
    is no list of turns is reported with file and line and left out. Errors: DataError where nothing can be read or
    half of a corpus is missing, UsageError for a language that is not there.
    """
    names, chosen, problems = _of_language(tree, shown(tree), language)
    tally = Tally()
    cornell = [name for name in names if ending(name) in CORNELL_ENDINGS and is_cornell(head_text(tree, name))]
    if cornell:
        parts = [_cornell(tree, cornell, encoding, tally, problems)]
    else:
        parts = _each(tree, names, encoding, tally, problems)
    talks, start = [], 0
    for _, of in parts:
        talks.append(of + start)
        start += int(of.max(initial=-1)) + 1
    groups = np.concatenate(talks) if talks else np.zeros(0, np.int64)
    problems += [problem for part, _ in parts for problem in part.problems] + tally.problems()
    source = pair_source(tree, [part for part, _ in parts], problems, ("turn", "reply"), groups)
    source.facts |= {"language": chosen} if chosen else {}
    return source


def _of_language(tree: Tree, names: list[str], language: str) -> tuple[list[str], str, list[Problem]]:
    """The files of the chosen language, where a corpus has a folder for each."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(PurePosixPath(name).parent.name, []).append(name)
    where = printable(str(tree.path))
    known = sorted(folder for folder in folders if folder) if len(folders) > 1 else []
    if language and language != ALL:
        found = next((folder for folder in folders if folder.lower() == language.lower()), "")
        if not found:
            text = say("data.language = {name!r} is not in {path}.", name=language, path=where)
            raise UsageError(f"{text} {hint(language, map(printable, [*known, ALL] if known else [ALL]))}")
        return folders[found], found, []
    states = any(map(split_of, folders))
    if language == ALL or len(folders) == 1 or states or not all(ending(name) in YAML_ENDINGS for name in names):
        return names, "", []
    if DEFAULT not in folders:
        text = say("{path} holds conversations in {count} folders: {names}.", path=where, count=len(folders),
                   names=", ".join(map(printable, known[:12])) + (", ..." if len(known) > 12 else ""))  # fmt: skip
        choose = say("Choose one: data.language={name}, or all of them: data.language=all", name=printable(known[0]))
        raise DataError(text + "\n" + choose)
    what = say("{count} languages: {names}", count=len(known), names=", ".join(map(printable, known)))
    action = say("read {name}; data.language=NAME chooses another, data.language=all takes all", name=DEFAULT)
    return folders[DEFAULT], DEFAULT, [Problem(where, what, action)]


Talk = tuple[Part, np.ndarray]
"""Pairs, and for each the number of its conversation, from 0."""


def _each(tree: Tree, names: Sequence[str], encoding: str, tally: Tally, problems: list[Problem]) -> list[Talk]:
    """One part a file of YAML or JSON; a file that cannot be read is reported and left out where others can."""
    parts, failure = [], None
    for name in names:
        where = printable(name)
        try:
            text, odd = read_text(tree, name, encoding)
            if ending(name) in YAML_ENDINGS:
                talks, word = yaml_conversations(text, where, tally), "line"
            else:
                talks, word = _json(text, where, ending(name) != ".json", tally)
        except DataError as error:
            failure = failure or error
            tally.add(where, say("a file that cannot be read"), say("left out"), str(error).split("\n")[0])
            continue
        problems += odd
        parts.append(_paired(where, split_of(name), talks, word))
    if failure is not None and not any(part.sources for part, _ in parts):
        raise failure
    return parts


def _paired(name: str, split: str, talks: Sequence[Conversation], word: str) -> Talk:
    """Each turn with the next one of its conversation."""
    first, second, places, of = [], [], [], []
    problems = []
    short = [talk for talk in talks if len(talk.turns) < 2]
    if short:
        what = say("{count:,} conversations of one turn (the first: {word} {place})", count=len(short),
                   word=translated(word), place=short[0].place)  # fmt: skip
        problems.append(Problem(name, what, say("left out")))
    for number, talk in enumerate(talks):
        first += talk.turns[:-1]
        second += talk.turns[1:]
        places += [talk.place] * (len(talk.turns) - 1)
        of += [number] * (len(talk.turns) - 1)
    part, keep = kept(name, split, first, second, np.array(places, np.int64), problems, word)
    return part, np.array(of, np.int64)[keep]


def _json(text: str, where: str, by_line: bool, tally: Tally) -> tuple[list[Conversation], str]:
    """The conversations of a JSON list, or of JSON Lines; each object or list of turns is one."""
    found: list[Conversation] = []
    if by_line:
        for place, line in enumerate(sentence_lines(text), start=1):
            if line.strip():
                here = say("{name} line {line}", name=where, line=place)
                try:
                    _take(strict_json(line, here), place, here, found, tally)
                except DataError as error:
                    tally.add(here, say("no JSON"), say("left out"), str(error).split("\n")[0])
        return found, "line"
    value = strict_json(text, where)
    if isinstance(value, dict):
        _take(value, 1, where, found, tally)
        return found, "entry"
    if not isinstance(value, list):
        raise DataError(say("{name}: no list of conversations, but {kind}", name=where, kind=type(value).__name__))
    for place, entry in enumerate(value, start=1):
        _take(entry, place, say("{name} entry {place}", name=where, place=place), found, tally)
    return found, "entry"


def _take(value: object, place: int, here: str, found: list[Conversation], tally: Tally) -> None:
    talks = talk_in(value)
    if not talks:
        tally.add(here, say("neither question and answer nor a list of turns"), say("left out"))
    found += [Conversation(place, turns) for turns in talks]


def _cornell(tree: Tree, names: Sequence[str], encoding: str, tally: Tally, problems: list[Problem]) -> Talk:
    """The pairs of a corpus in the Cornell format: one file of lines, one that says which lines follow each other."""
    said, listed = _roles(tree, names)
    lines: dict[str, str] = {}
    talks: list[tuple[str, str]] = []
    for name in [*said, *listed]:
        text, odd = read_text(tree, name, encoding)
        problems += odd
        if name in listed:
            talks.append((printable(name), text))
        else:
            lines |= cornell_lines(text, printable(name), tally)
    where = printable(str(tree.path))
    if not talks or not lines:
        missing = say("conversations") if not talks else say("lines")
        text = say("{path}: the file of {missing} is missing.", path=where, missing=missing)
        raise DataError(
            text + " " + say("A corpus in this format is a folder of two: ..._lines.txt, ..._conversations.txt")
        )
    found: list[Conversation] = []
    for name, text in talks:
        for place, keys in cornell_conversations(text, name, tally):
            found += _resolved(place, keys, lines, say("{name} line {line}", name=name, line=place), tally)
    return _paired(talks[0][0], "", found, "line")


def _roles(tree: Tree, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of lines and of conversations: by their names, or else by how their lines end.

    The movie corpus has more files of this format, about films and characters; they hold no turns.
    """
    said, listed = ([name for name in names if word in PurePosixPath(name).name.lower()] for word in ("line", "conv"))
    listed = listed or [name for name in names if name not in said and is_conversations(head_text(tree, name))]
    return said or [name for name in names if name not in listed], listed


def _resolved(place: int, keys: Sequence[str], lines: dict[str, str], here: str, tally: Tally) -> list[Conversation]:
    """The turns that `keys` name; where one is missing, what stands before and behind it are conversations apart."""
    runs: list[list[str]] = [[]]
    for key in keys:
        if key in lines:
            runs[-1].append(lines[key])
        else:
            tally.add(here, say("a line that is not there"), say("the conversation is divided"), key[:40])
            runs.append([])
    return [Conversation(place, run) for run in runs if run]
