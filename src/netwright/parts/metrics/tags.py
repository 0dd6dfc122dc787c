"""Metrics of tags: one tag a token, and the entities that tags begin, continue and end."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics.checking import Sums, paired, ratio

Tags: TypeAlias = Sequence[Sequence[str]] | np.ndarray
"""One list of tags an example."""

OUTSIDE = "O"
_PREFIXED = re.compile(r"([BIMESLU])[-_](.+)", re.DOTALL)
_PLACES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""What a prefix says, in the letters of BIOES: M is a middle (BMES), L the last and U the only one (BILOU)."""


class Entity(NamedTuple):
    """Tokens `first` to `last` (counted from 0, both included) that are one thing of a type."""

    kind: str
    first: int
    last: int


def scheme(tags: Iterable[str]) -> str:
    """How tags mark entities: `BIO`, `BIOES`, `BMES`, `BILOU`, `IO`, or "" where each tag stands for itself.

    `IO` has no beginnings: either `I-type`, or bare types beside the tag O. Prefixes stand before `-` or `_`. Tags may
    also be bare prefixes (B, I, E, S ...), as for words.
    """
    every = set(tags)
    used = every - {OUTSIDE}
    found = [_PREFIXED.fullmatch(tag) for tag in used]
    if used and all(found):
        letters = {match[1] for match in found if match}
    elif used and used <= set(_PLACES) and used & {"B", "S", "U", "I"}:
        letters = used
    else:
        return "IO" if used and OUTSIDE in every else ""
    if letters == {"I"}:
        return "IO"
    if letters & {"L", "U"}:
        return "BILOU"
    return "BMES" if "M" in letters else "BIOES" if letters & {"E", "S"} else "BIO"


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one example's tags, in order; whatever the scheme, and lenient as conlleval is.

    An entity begins at B and S, at I or E after O, E, S or another type, and at the first tag of a bare type; it ends
    where the next begins, at O, behind E and S, and where the type changes. So an I without a B begins one, and no
    tag is lost.
    """
    found: list[Entity] = []
    kind, first, before = "", 0, OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, own = _letter(tag)
        begins = letter in ("B", "S") or before in (OUTSIDE, "E", "S") or own != kind
        if before != OUTSIDE and (letter == OUTSIDE or begins):
            found.append(Entity(kind, first, place - 1))
        if letter != OUTSIDE and begins:
            kind, first = own, place
        before = letter
    return found


def _letter(tag: str) -> tuple[str, str]:
    """A tag's place in an entity (B, I, E, S or O) and the entity's type; a bare type is an I of that type."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if tag in _PLACES:
        return _PLACES[tag], ""
    match = _PREFIXED.fullmatch(tag)
    return (_PLACES[match[1]], match[2]) if match else ("I", tag)


def paired_tags(truth: Tags, predictions: Tags) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Each example's true tags with the predicted ones; unequal counts are refused with both."""
    paired(truth, predictions)
    pairs = list(zip(truth, predictions, strict=True))
    for place, (true, said) in enumerate(pairs):
        if isinstance(true, str) or isinstance(said, str):
            raise UsageError(say("example {place}: a list of tags is expected, one a token; got a text", place=place))
        if len(true) != len(said):
            text = say("example {place}: {a} true tags, but {b} predicted", place=place, a=len(true), b=len(said))
            raise UsageError(text)
        odd = [tag for tag in (*true, *said) if not isinstance(tag, str)]
        if odd:
            raise UsageError(say("example {place}: a tag is a text; got {value!r}", place=place, value=odd[0]))
    return pairs


def _marks_entities(pairs: list[tuple[Sequence[str], Sequence[str]]]) -> bool:
    """Whether the true tags mark entities; where they are all O, the predicted ones tell."""
    used = {tag for true, _ in pairs for tag in true}
    return bool(scheme(used) or (used <= {OUTSIDE} and scheme({OUTSIDE}.union(*(said for _, said in pairs)))))


def _entity_counts(truth: Tags, predictions: Tags) -> Float[np.ndarray, "examples 3"]:
    """Each example's entities found, missed and invented; nothing at all where tags mark none."""
    pairs = paired_tags(truth, predictions)
    counts = np.zeros((len(pairs), 3))
    if _marks_entities(pairs):
        for row, (true, said) in zip(counts, pairs, strict=True):
            wanted, got = set(entities(true)), set(entities(said))
            hits = len(wanted & got)
            row[:] = hits, len(wanted) - hits, len(got) - hits
    return counts


def _f1(sums: Float[np.ndarray, "*sets 3"]) -> Float[np.ndarray, "*sets"]:
    return ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def _right(truth: Tags, predictions: Tags) -> Float[np.ndarray, "examples 2"]:
    """Each example's tokens with the right tag, and its tokens."""
    pairs = paired_tags(truth, predictions)
    found = [(sum(a == b for a, b in zip(true, said, strict=True)), len(true)) for true, said in pairs]
    return np.asarray(found, dtype=np.float64).reshape(len(found), 2)


def _share(sums: Float[np.ndarray, "*sets 2"]) -> Float[np.ndarray, "*sets"]:
    return ratio(sums[..., 0], sums[..., 1])


ENTITY_F1 = Sums(_entity_counts, _f1)
TOKEN_ACCURACY = Sums(_right, _share)


@METRICS.add(
    task="tag",
    better="higher",
    interval="Wilson score of tp / (tp + fp + fn), transformed, its count by the spread over examples",
    source="Tjong Kim Sang and De Meulder 2003, CoNLL (conlleval), section 4",
)
def entity_f1(truth: Tags, predictions: Tags) -> float | None:
    """The harmonic mean of precision and recall of whole entities: first token, last token and type must all agree.

    Formula: 2 tp / (2 tp + fp + fn), the counts summed over all types and examples

    Args:
        truth: one list of tags an example, in any scheme: BIO, BIOES, BMES, BILOU, IO (`scheme` tells which).
        predictions: the same, with as many tags.

    Wrong transitions are read as conlleval and seqeval's default mode do: an I or E without a beginning begins an
    entity. None where neither truth nor predictions hold an entity, and where tags stand for themselves, as parts of
    speech do.

    Differs: conlleval and seqeval know the prefixes B, I, E, S; here M (BMES) is read as I, L as E and U as S (BILOU).
    """
    return ENTITY_F1.measure(truth, predictions)


@METRICS.add(
    task="tag",
    better="higher",
    interval="Wilson score, its count by the spread over examples",
    source="Fleiss 1981, Statistical Methods for Rates and Proportions",
)
def token_accuracy(truth: Tags, predictions: Tags) -> float | None:
    """The share of tokens with the right tag; O counts as any other.

    Formula: sum(prediction = truth) / tokens
    """
    return TOKEN_ACCURACY.measure(truth, predictions)


def entity_table(truth: Tags, predictions: Tags) -> dict[str, dict[str, float | int | None]]:
    """Every type of entity that occurs or is predicted, by name: `precision`, `recall`, `f1`, `truth` and `predicted`.

    The last two count entities. A share without anything to count is None. Empty where tags mark no entities.
    """
    pairs = paired_tags(truth, predictions)
    if not _marks_entities(pairs):
        return {}
    wanted, got, hits = Counter[str](), Counter[str](), Counter[str]()
    for true, said in pairs:
        here, there = set(entities(true)), set(entities(said))
        wanted.update(entity.kind for entity in here)
        got.update(entity.kind for entity in there)
        hits.update(entity.kind for entity in here & there)
    return {
        kind: {
            "precision": hits[kind] / got[kind] if got[kind] else None,
            "recall": hits[kind] / wanted[kind] if wanted[kind] else None,
            "f1": 2 * hits[kind] / (got[kind] + wanted[kind]),
            "truth": wanted[kind],
            "predicted": got[kind],
        }
        for kind in sorted(wanted | got)
    }
