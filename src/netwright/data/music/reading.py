"""Music at a place: whether there is any, ABC files divided into tunes, and piano rolls as JSON."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from netwright.data.files.tree import Tally, Tree, asked_once, printable
from netwright.data.music.abc import parse
from netwright.data.music.chords import kind_of, piece
from netwright.data.tables.files import strict_json
from netwright.data.texts.forms import data_files
from netwright.data.texts.places import SPLITS, Peeks, ending, lines_of, stem
from netwright.errors import DataError
from netwright.language import say

MOST_TUNES = 500_000
MOST_STEPS = 20_000_000
_ROLL = re.compile(r'\s*(?:\{\s*"(\w{1,20})"\s*:\s*)?\[\s*\[\s*\[\s*(?:-?\d|\])')
_KEPT = frozenset("XTMLQKPVUI")
"""Fields that stay in a tune; others speak about it."""
_SHARED = frozenset("MLQU")
"""Fields that may stand before the first tune of a file and hold for all of them."""
_FIELD = re.compile(r"([A-Za-z+]):(?![|:])")
_LENGTHS = {"quarter": 4, "4th": 4, "8th": 8, "eighth": 8, "16th": 16, "sixteenth": 16, "32th": 32, "32nd": 32}


@dataclass(frozen=True)
class TuneText:
    """One tune as text, and where it stands."""

    where: str
    text: str
    body: str
    """Its music without the header: equal for the same tune under two names."""


def looks_like_music(tree: Tree) -> bool:
    """Whether a place holds ABC files, or JSON files of chords over time; arrays beside such files are left aside."""
    return bool(music_files(tree)[0])


@asked_once
def music_files(tree: Tree) -> tuple[list[str], str]:
    """The files of music at a place, and what they are: `abc` or `chords`; none where others outnumber them."""
    names = [name for name in data_files(tree) if ending(name) not in (".npz", ".npy", ".mid", ".midi")]
    tunes = [name for name in names if ending(name) == ".abc"]
    if tunes and 2 * len(tunes) > len(names):
        return tunes, "abc"
    rolls = [name for name in names if ending(name) == ".json"]
    if not rolls or len(rolls) < len(names) or len(rolls) > 64:
        return [], ""
    peeks = Peeks(tree)
    found = [_ROLL.match(peeks[name].text) for name in rolls]
    sure = all(match and (match[1] is None or match[1].lower() in SPLITS) for match in found)
    return (rolls, "chords") if sure else ([], "")


def step_length(name: str) -> Fraction:
    """The length of a step that a file's name states (`quarter`, `16th`), in whole notes; else a quarter."""
    low = stem(name).lower()
    return next((Fraction(1, parts) for word, parts in _LENGTHS.items() if word in low), Fraction(1, 4))


def tunes_of(name: str, text: str, tally: Tally) -> Iterator[TuneText]:
    """The tunes of an ABC file, each from its X: to the next empty line or X:, without comments and mere remarks.

    A tune that cannot be read is reported with line and column and left out. Fields before the first tune (M, L, Q)
    hold for all; other text between tunes is reported.
    """
    shared: list[str] = []
    tune: list[str] = []
    begun, lines, stray = 0, lines_of(text), 0
    for number, line in enumerate([*lines, ""], 1):
        line = line.rstrip()
        field = _FIELD.match(line)
        if tune and (not line or (field and field[1] == "X")):
            yield from _tune(f"{name} line {begun}", begun, tune, shared, tally)
            tune = []
        if field and field[1] == "X":
            tune, begun = [line], number
        elif tune:
            tune.append(line)
        elif field and field[1] in _SHARED:
            shared.append(line)
        elif line and not field and not line.startswith("%"):
            stray = stray or number
    if stray:
        tally.add(f"{name} line {stray}", say("text outside of tunes"), say("left out"))


def _tune(where: str, begun: int, lines: list[str], shared: list[str], tally: Tally) -> Iterator[TuneText]:
    text = "\n".join(lines) if not shared else "\n".join([lines[0], *shared, *lines[1:]])
    try:
        parse(text)
    except DataError as error:
        tally.add(where, say("a tune that cannot be read"), say("left out"), str(error))
        return
    kept: list[str] = []
    body: list[str] = []
    for line in text.split("\n"):
        field = _FIELD.match(line)
        if not line.startswith("%") and (not field or field[1] in _KEPT):
            kept.append(line)
            if not field or (body and field[1] not in "XT"):
                body.append(line)
    yield TuneText(where, "\n".join(kept) + "\n", "\n".join(body))


def chords_of(name: str, text: str, tally: Tally) -> Iterator[tuple[str, str, list[tuple[int, ...]]]]:
    """(where, split, steps) of each piece of a JSON file: `{"train": [piece, ...], ...}` or a list of pieces.

    A piece is a list of steps, a step a list of MIDI pitches (-1 for a voice that rests). A piece that is not so, or
    that has no note, is reported and left out. Errors: DataError where the file is no such JSON.
    """
    value = strict_json(text, printable(name))
    parts = value if isinstance(value, dict) else {"": value}
    steps = 0
    for key, pieces in parts.items():
        where = f"{name}: {printable(key)[:40]}" if key else name
        split = SPLITS.get(key.lower(), "")
        if key and not split:
            tally.add(where, say("a key that names no split (train, valid, test)"), say("left out"))
            continue
        if not isinstance(pieces, list):
            raise DataError(
                say("{where}: a split is a list of pieces; here is {kind}", where=where, kind=kind_of(pieces))
            )
        for number, given in enumerate(pieces):
            place = f"{where}[{number}]"
            try:
                found = piece(given, place)
            except DataError as error:
                tally.add(place, say("a piece that cannot be read"), say("left out"), str(error))
                continue
            steps += len(found)
            if steps > MOST_STEPS:
                raise DataError(say("{where}: more than {most} steps", where=name, most=f"{MOST_STEPS:,}"))
            if any(found):
                yield place, split, found
            else:
                tally.add(place, say("a piece without a note"), say("left out"))
