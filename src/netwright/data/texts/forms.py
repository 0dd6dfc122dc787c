"""Which text form a place holds, told from the names of its files and the shape of their lines.

One function decides for all text readers, so that no two of them know the same place.
"""

from collections.abc import Iterable

from netwright.catalogue import READERS
from netwright.data.files.tree import Tree, asked_once, hidden
from netwright.data.texts.labels import layout, looks_labelled, rows_of
from netwright.data.texts.places import OTHER, PROSE, SHEETS, Peeks, ending, is_note
from netwright.data.texts.tags import looks_tagged

FORMS = ("corpus", "labelled", "tags", "pairs", "dialogue", "poems", "music")
_ELSE = ("image_folder", "idx", "cifar", "arrays", "recordings")
"""Readers that know their files by name or by their pictures or sounds: what they read is no text."""
_TYPED = frozenset({".parquet", ".jsonl", ".ndjson"})
MOST_PEEKED = 64


@asked_once
def form_of(tree: Tree) -> str:
    """The text form of a place: one of `FORMS`, or an empty string for none.

    At most 64 KiB of at most 64 files are looked at (of each form); a tree is asked once. Never an error: what cannot
    be read, is binary or empty has no form.
    """
    names = data_files(tree)
    if names and _looks(tree, "music"):
        return "music"
    if not names or any(READERS[name].facts["recognises"](tree) for name in _ELSE if name in READERS):
        return ""
    for form in ("poems", "dialogue"):
        if _looks(tree, form):
            return form
    texts = text_files(names)
    if len(texts) <= len(names) - len(texts):
        return ""
    peeks = Peeks(tree)
    if tagged_files(texts, peeks):
        return "tags"
    sheets = labelled_sheets(texts, peeks)
    classes = None if sheets else layout(texts, peeks)
    if sheets or (classes is not None and classes.sure):
        return "labelled"
    tables = [name for name in texts if ending(name) in SHEETS]
    empty = bool(tables) and not any(rows_of(peeks[name]) for name in tables[:MOST_PEEKED])
    if not empty and _looks(tree, "pairs"):
        return "pairs"
    if tables:
        return ""
    if classes is not None:
        return "labelled"
    return "corpus" if corpus_files(texts, peeks) else ""


def _looks(tree: Tree, form: str) -> bool:
    """What the module of a form says; imported late, because those modules may ask for the form themselves."""
    if form == "music":
        from netwright.data.music.reading import looks_like_music

        return looks_like_music(tree)
    if form == "poems":
        from netwright.data.texts.poems import looks_like_poems

        return looks_like_poems(tree)
    if form == "dialogue":
        from netwright.data.texts.dialogues import looks_like_dialogue

        return looks_like_dialogue(tree)
    from netwright.data.texts.pairing import looks_like_pairs

    return looks_like_pairs(tree)


@asked_once
def data_files(tree: Tree) -> tuple[str, ...]:
    """The names of the files that may hold data, in order: no hidden and empty ones, no README beside others."""
    names = [entry.name for entry in tree.entries if entry.size and not any(map(hidden, entry.name.split("/")))]
    kept = [name for name in names if not is_note(name)]
    return tuple(sorted(kept or (names if len(names) == 1 else [])))


def text_files(names: Iterable[str]) -> list[str]:
    """Those that may be text: all but the endings of other formats."""
    return [name for name in names if ending(name) not in OTHER]


def tagged_files(names: list[str], peeks: Peeks) -> list[str]:
    """The files of tokens and tags, where at least half of the files are such; else none."""
    if len(names) > MOST_PEEKED:
        first = [peeks[name] for name in names[:8]]
        return names if all(map(looks_tagged, first)) else []
    found = [name for name in names if looks_tagged(peeks[name])]
    return found if 2 * len(found) >= len(names) else []


def labelled_sheets(names: list[str], peeks: Peeks) -> list[str]:
    """The files of a label and a text a row: all tables at a place, or all texts where there are no tables."""
    sheets = [name for name in names if ending(name) in SHEETS]
    chosen = sheets or [name for name in names if ending(name) in PROSE]
    if not chosen or len(chosen) > MOST_PEEKED:
        return []
    return chosen if all(looks_labelled(peeks[name]) for name in chosen) else []


def corpus_files(names: list[str], peeks: Peeks) -> list[str]:
    """The files of running text, where all that are looked at are such; else none."""
    chosen = [name for name in names if ending(name) in PROSE]
    if not chosen or 2 * len(chosen) <= len(names):
        return []
    return chosen if all(peeks[name].prose for name in chosen[:MOST_PEEKED]) else []
