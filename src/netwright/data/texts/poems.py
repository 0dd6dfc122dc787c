"""Poems: JSON lists of objects with the lines of a poem, and the forms that poems are written in."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from netwright.data.files.tree import Tree
from netwright.data.texts.pairing import MOST_FILES, head_text, shown

LINES = ("paragraphs", "lines", "content")
"""What the lines of a poem are called in its object; the first is the name that chinese-poetry uses."""
MIXED = "mixed"
"""The form of a poem whose verses differ in length."""
_LISTED = re.compile(r'\s*\[\s*\{[^{}]*?"(?:paragraphs|lines|content)"\s*:\s*\[\s*(?:"|\])')
_VERSES = re.compile(r"[，。！？；：、．,.!?;:\s]+")
_HAN = re.compile(r"[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff□]+")


def looks_like_poems(tree: Tree) -> bool:
    """Whether a place holds JSON lists of poems: objects with a list of lines under `paragraphs` or `lines`."""
    names = shown(tree) if len(tree.entries) <= MOST_FILES else []
    if not names:
        return False
    if any(PurePosixPath(name).suffix.lower() != ".json" for name in names):
        return False
    return any(_LISTED.match(head_text(tree, name)) for name in names[:20])


def lines_in(value: Any) -> list[str] | None:
    """The lines of one poem's object; None where it is none."""
    if not isinstance(value, dict):
        return None
    for key in LINES:
        lines = value.get(key)
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            return lines
    return None


def form_of_poem(text: str) -> str:
    """The form of a Chinese poem as verses x characters: `4x7` is a seven-character quatrain, `8x5` a regulated verse.

    Verses end at punctuation and at line ends, which are not counted. `mixed` where they differ in length; empty where
    a verse is not of Chinese characters alone.
    """
    verses = [verse for verse in _VERSES.split(text) if verse]
    if not verses or any(_HAN.fullmatch(verse) is None for verse in verses):
        return ""
    lengths = {len(verse) for verse in verses}
    return f"{len(verses)}x{lengths.pop()}" if len(lengths) == 1 else MIXED


def forms(texts: Iterable[str]) -> dict[str, int]:
    """How many poems have which form, the most frequent first; poems without one are not counted."""
    counts = Counter(form for text in texts if (form := form_of_poem(text)))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
