"""A corpus as examples of a language model: pieces of its documents, divided before they are cut."""

from typing import Any

import numpy as np
import torch

from netwright.data.source import Problem, Source, Texts
from netwright.data.splits import split
from netwright.errors import DataError
from netwright.language import say
from netwright.parts.sequences import END, START, Ragged

FEW = 20
"""Fewer documents than these are divided from front to back, each into all three splits; more of them stay whole."""
WINDOW = 128
"""Characters of a training piece of running text."""
LONGEST = 2048
"""Documents up to so many characters are read whole by default."""
HELD_OUT = 16
"""Pieces of held-out running text are so many times longer: their first steps, which know little, weigh less."""
LETTERS = 6
"""Characters of a word with its space, about: a window counts tokens."""


def pieces(source: Source, settings: dict[str, Any], *, all_held_out: bool = False) -> Source:
    """The source with its documents cut into pieces, and every piece's split stated.

    Running text of a few documents is divided from front to back: training, validation, test, so that no piece of the
    test lies between training pieces (`all_held_out`: everything is the test). Many documents are divided as other
    examples are. `data.window` is the length of a training piece in tokens; 0: documents whole where they are short,
    else 128. Errors: DataError for too short a text.
    """
    assert isinstance(source.examples, Texts)
    texts = source.examples.texts
    divided = isinstance(texts[0], tuple)  # by the data: it may be cut between any two of its tokens
    lengths = np.array([len(text) for text in texts])
    words = not divided and settings.get("tokens") in ("word", "bpe")
    whole = len(texts) >= FEW and np.quantile(lengths, 0.99) <= LONGEST
    window = settings["window"] * (LETTERS if words else 1)
    window = window or (min(int(lengths.max()), LONGEST) if whole else WINDOW * (LETTERS if words else 1))
    everything = [(place, 0, int(length)) for place, length in enumerate(lengths)]
    spans = {"train": [], "test": everything} if all_held_out else _spans(source, lengths, settings)
    found: list[tuple[int, int, int]] = []
    given: dict[str, Any] = {}
    for name, parts in spans.items():
        size = window if whole or name == "train" else HELD_OUT * window
        first = len(found)
        for document, begin, end in parts:
            found += [(document, *cut) for cut in _cuts(texts[document], begin, end, size, words)]
        given[name] = np.arange(first, len(found))
    if not len(given["test"]) or not (all_held_out or len(given["train"])):
        text = say("{name} holds {count} characters: too few to train on and to test",
                   name=source.name, count=int(lengths.sum()))  # fmt: skip
        raise DataError(text)
    marked = whole or len(texts) >= FEW
    begins = np.array([marked and begin == 0 for _, begin, _ in found])
    ends = np.array([marked and end >= lengths[document] for document, _, end in found])
    problems = list(source.problems)
    if whole and (cut := int((lengths > window).sum())):
        what = say("{count} documents are longer than {most} characters", count=cut, most=window)
        problems.append(Problem(source.name, what, say("read in pieces (data.window)")))
    return Source(
        "text", source.name, Texts([texts[document][begin:end] for document, begin, end in found]), None,
        [_id(source.ids[document], begin, begin == 0 and end >= lengths[document]) for document, begin, end in found],
        given, problems=problems, task="generate",
        facts={**source.facts, "begins": begins, "ends": ends, "window": int(window), "marked": bool(marked)},
    )  # fmt: skip


def _id(name: str, begin: int, whole: bool) -> str:
    return name if whole else f"{name}@{begin}"


def _spans(source: Source, lengths: np.ndarray, settings: dict[str, Any]) -> dict[str, list[tuple[int, int, int]]]:
    """For each split the documents, or parts of them, that belong to it: (document, first, behind the last)."""
    count = len(lengths)
    share = settings["test"] if isinstance(settings["test"], float) else 0.2
    if count >= FEW:
        drawn = split(count, source.given, test=share, validation=settings["validation"], seed=settings["split_seed"])
        return {name: [(int(place), 0, int(lengths[place])) for place in places] for name, places in drawn.items()}
    found: dict[str, list[tuple[int, int, int]]] = {"train": [], "validation": [], "test": []}
    for document, length in enumerate(lengths.tolist()):
        stated = next((name for name, places in source.given.items() if document in places), "")
        last = length if stated or "test" in source.given else round(length * (1 - share))
        middle = last if "validation" in source.given else round(last * (1 - settings["validation"]))
        if stated in ("validation", "test"):
            found[stated].append((document, 0, length))
            continue
        for name, begin, end in (("train", 0, middle), ("validation", middle, last), ("test", last, length)):
            if end - begin > 1:
                found[name].append((document, begin, end))
    return found


def _cuts(text: Any, begin: int, end: int, size: int, words: bool) -> list[tuple[int, int]]:
    """(first, behind the last) of the pieces of a part of a text. A piece of characters ends with the first of the
    next one, which its last step foretells; pieces of words are cut at white space."""
    found: list[tuple[int, int]] = []
    while begin < end:
        stop = min(begin + size, end)
        if words and stop < end:
            stop = next((place for place in range(stop, min(stop + 100, end)) if text[place].isspace()), stop)
        upto = stop if words else min(stop + 1, end)
        if upto - begin > 1 or not found:
            found.append((begin, upto))
        begin = stop
    return found


def shifted(ids: Ragged, begins: np.ndarray, ends: np.ndarray) -> tuple[Ragged, Ragged]:
    """What a language model reads and what it should say: every token and its next one.

    A text that begins a document is led by the start token, one that ends it followed by the end token. A text of one
    token without either foretells nothing; it gets the end token, so that no sequence is empty.
    """
    ends = ends | (ids.lengths + begins + ends < 2)
    steps = ids.lengths + begins + ends
    starts = np.concatenate([[0], np.cumsum(steps)])
    flat = torch.empty(int(starts[-1]), dtype=ids.flat.dtype)
    inside = np.ones(len(flat), bool)
    inside[starts[:-1][begins]] = False
    inside[starts[1:][ends] - 1] = False
    flat[torch.from_numpy(inside)] = ids.flat
    flat[torch.from_numpy(starts[:-1][begins])] = START
    flat[torch.from_numpy(starts[1:][ends] - 1)] = END
    reads, says = np.ones(len(flat), bool), np.ones(len(flat), bool)
    reads[starts[1:] - 1] = False
    says[starts[:-1]] = False
    apart = starts - np.arange(len(starts))
    return Ragged(flat[torch.from_numpy(reads)], apart), Ragged(flat[torch.from_numpy(says)], apart)
