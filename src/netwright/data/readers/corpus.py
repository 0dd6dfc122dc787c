"""Corpus: running text in one file or several, each of them a document."""

from typing import Any

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.readers.label_prefixes import prefixed_files
from netwright.data.source import Source, Texts
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.forms import corpus_files, data_files, form_of, text_files
from netwright.data.texts.places import Peeks, given_splits, read_text, read_texts, short_name, split_of
from netwright.errors import DataError
from netwright.language import say


def recognises(tree: Tree) -> bool:
    """Whether a place holds running text."""
    return form_of(tree) == "corpus" and not prefixed_files(tree)


@READERS.add(recognises=recognises, given="a corpus: running text in one .txt file or several", also=fit_texts)
def corpus(tree: Tree, *, encoding: str = "auto") -> Source:
    """Running text to learn to continue: each file is one document, in order of their names.

    Lines end in one line feed each, whatever the file wrote. Files called by a split (`train.txt`, `wiki.valid.tokens`)
    or lying in such a folder are that split. `encoding` names the text encoding. A document that cannot be read is
    reported and left out. Errors: DataError where none can be read.
    """
    names = corpus_files(text_files(data_files(tree)), Peeks(tree))
    where = printable(str(tree.path))
    if not names:
        raise DataError(say("{path} holds no running text", path=where))
    tally = Tally()
    texts: dict[str, str] = {}
    if len(names) == 1:
        text, problems = read_text(tree, names[0], encoding)
        for problem in problems:
            tally.add(problem.where, problem.what, problem.action)
        texts[names[0]] = text if "\r" not in text else text.replace("\r\n", "\n").replace("\r", "\n")
    else:
        texts = read_texts(tree, names, encoding, tally)
    kept: dict[str, str] = {}
    for name, text in texts.items():
        if text.strip():
            kept[name] = text
        else:
            tally.add(printable(name), say("a document without text"), say("left out"))
    if not kept:
        raise DataError(_nothing(where, tally))
    given = given_splits([(printable(name), split_of(name), 1) for name in kept], tally)
    return Source(
        "text", short_name(tree), Texts(list(kept.values())), None, [printable(name) for name in kept], given,
        problems=tally.problems(), task="generate",
    )  # fmt: skip


def _nothing(where: str, tally: Tally) -> str:
    first: Any = next(iter(tally.problems()), None)
    text = say("{path}: none of its texts can be read.", path=where)
    return f"{text}\n{first.where}: {first.what}" if first else text
