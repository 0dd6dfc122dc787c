"""Music: ABC tunes as text, or chords over time (a piano roll in JSON) as tokens."""

import hashlib

import numpy as np

from netwright.catalogue import READERS
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.music.chords import STEP, tokens_of
from netwright.data.music.reading import (
    MOST_TUNES,
    TuneText,
    chords_of,
    looks_like_music,
    music_files,
    step_length,
    tunes_of,
)
from netwright.data.source import Source, Texts
from netwright.data.texts.encoder import fit_texts
from netwright.data.texts.places import given_splits, read_text, short_name, split_of
from netwright.errors import DataError
from netwright.language import say


@READERS.add(recognises=looks_like_music, given="music: ABC tunes, or chords over time in JSON", also=fit_texts)
def music(tree: Tree, *, encoding: str = "auto") -> Source:
    """Music to learn to continue: each tune or piece is a document; broken ones are reported and left out.

    ABC: a tune's text with the header fields X T M L Q K P V, read by character; one step of it is a character. Tunes
    of one body stay in one split, whatever they are called.
    JSON: of each step its pitches from the highest to the lowest and the step mark `|`, as tokens. The NLL of a step
    is then the sum over its tokens, the mark included: -ln of the probability of the whole chord, all voices jointly,
    given all before. Voices in unison are one pitch. Nothing is transposed. The splits that the file states are kept.

    `encoding` names the text encoding. `facts`: `music` is `abc` or `chords`; for chords also `step_mark` and `step`,
    the length of a step in whole notes as a fraction (`1/4`), as the file's name states it.
    Errors: DataError where nothing can be read.
    """
    names, form = music_files(tree)
    tally = Tally()
    source = _tunes(tree, names, encoding, tally) if form == "abc" else _chords(tree, names, encoding, tally)
    source.problems = tally.problems()
    return source


def _text(tree: Tree, name: str, encoding: str, tally: Tally) -> str:
    text, problems = read_text(tree, name, encoding)
    for problem in problems:
        tally.add(problem.where, problem.what, problem.action)
    return text


def _tunes(tree: Tree, names: list[str], encoding: str, tally: Tally) -> Source:
    found: list[TuneText] = []
    parts: list[tuple[str, str, int]] = []
    for name in names:
        before = len(found)
        try:
            found += tunes_of(printable(name), _text(tree, name, encoding, tally), tally)
        except DataError as error:
            tally.add(printable(name), say("a file that cannot be read"), say("left out"), str(error).split("\n")[0])
        if len(found) > MOST_TUNES:
            raise DataError(say("{path} holds more than {most} tunes", path=tree.path, most=f"{MOST_TUNES:,}"))
        parts.append((printable(name), split_of(name), len(found) - before))
    if not found:
        raise DataError(_nothing(tree, tally))
    groups = _groups(found, tally)
    texts = Texts([tune.text for tune in found])
    return Source(
        "text", short_name(tree), texts, None, [tune.where for tune in found], given_splits(parts, tally),
        groups=groups, task="generate", facts={"music": "abc"},
    )  # fmt: skip


def _groups(tunes: list[TuneText], tally: Tally) -> np.ndarray:
    """One number for all tunes of the same music; tunes that repeat another under its own header are reported."""
    first: dict[bytes, int] = {}
    groups = np.empty(len(tunes), np.int64)
    for place, tune in enumerate(tunes):
        mark = hashlib.blake2b("".join(tune.body.split()).encode(), digest_size=16).digest()
        groups[place] = first.setdefault(mark, place)
        if groups[place] != place and tune.text != tunes[groups[place]].text:
            where = tunes[groups[place]].where
            tally.add(tune.where, say("the same music as another tune"), say("kept in its split"), where)
    return groups


def _chords(tree: Tree, names: list[str], encoding: str, tally: Tally) -> Source:
    places: list[str] = []
    texts: list[tuple[str, ...]] = []
    parts: list[tuple[str, str, int]] = []
    steps = 0
    for name in names:
        for place, split, chords in chords_of(printable(name), _text(tree, name, encoding, tally), tally):
            places.append(place)
            texts.append(tokens_of(chords))
            parts.append((printable(name), split or split_of(name), 1))
            steps += len(chords)
    if not texts:
        raise DataError(_nothing(tree, tally))
    facts = {"music": "chords", "step_mark": STEP, "step": str(step_length(names[0])), "steps": steps}
    return Source(
        "text", short_name(tree).removesuffix(".json"), Texts(list(texts)), None, places, given_splits(parts, tally),
        task="generate", facts=facts,
    )  # fmt: skip


def _nothing(tree: Tree, tally: Tally) -> str:
    text = say("{path} holds no music that can be read.", path=printable(str(tree.path)))
    first = next(iter(tally.problems()), None)
    return f"{text}\n{first.where}: {first.what}" if first else text
