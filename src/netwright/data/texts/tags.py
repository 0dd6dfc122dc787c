"""Tagged text: tokens and tags in columns, one token a line, a blank line between sentences; and schemes of tags."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netwright.data.texts.places import TAGGED, Peek, ending

MOST_TAGS = 500
_SHAPED = re.compile(r"O|[BIESMLUW][-_].{1,60}").fullmatch
_PREFIXED = re.compile(r"([BIESMLUW])[-_](.+)").fullmatch
_BLANKS = re.compile(r"[ \t]+").split
_COMMENT = re.compile(r"# ?(text|sent_id|id|newdoc|newpar|global)\b.*[ =]").match
_REMARK = re.compile(r"# ?\S+.* \S+").match
_ORDINARY = {"M": "I", "L": "E", "U": "S", "W": "S"}
"""Prefixes by other names: M(iddle), L(ast), U(nit), W(hole)."""
_TAG = re.compile(r"[^\s\d][^\s]{0,59}|[^\s\w]").fullmatch


@dataclass(frozen=True)
class Columns:
    """How a line divides: at tabs or at any blanks, into how many cells, and which are token and tag."""

    tabs: bool
    count: int
    token: int = 0
    tag: int = -1

    def cells(self, line: str) -> list[str]:
        """The cells of a line."""
        return divided(line, self.tabs)


def divided(line: str, tabs: bool) -> list[str]:
    """The cells of a line; a no-break space or any other character that is neither blank nor tab may be a token."""
    return [cell.strip(" ") for cell in line.split("\t")] if tabs else _BLANKS(line.strip(" \t\ufeff"))


def columns_of(lines: Sequence[str]) -> Columns | None:
    """The columns that nearly all filled lines share, two at least; None where they do not."""
    lines = [line for line in lines if line.strip()]
    for tabs in (True, False):
        cells = [divided(line, tabs) for line in lines if not is_aside(line)]
        if not cells:
            return None
        count, lots = Counter(map(len, cells)).most_common(1)[0]
        if count >= 2 and lots >= 0.8 * len(cells):
            if count == 10 and all(re.fullmatch(r"\d+([-.]\d+)?", row[0]) for row in cells):
                return Columns(tabs, count, 1, 3)
            return Columns(tabs, count)
    return None


def is_aside(line: str) -> bool:
    """Whether a line may hold no token but speak of a document or sentence: `-DOCSTART-`, `# text = ...`."""
    return line.startswith("-DOCSTART-") or is_comment(line) or _REMARK(line) is not None


def is_comment(line: str) -> bool:
    """Whether a line is one of the comments that CoNLL files have before a sentence."""
    return _COMMENT(line) is not None


def looks_tagged(peek: Peek) -> bool:
    """Whether a file holds a token and its tag a line, few different tags, and sentences apart by blank lines."""
    if not peek.reads:
        return False
    columns = columns_of(peek.lines)
    if columns is None or (columns.count > 12 and ending(peek.name) not in TAGGED):
        return False
    rows = [columns.cells(line) for line in peek.lines if line.strip() and not is_aside(line)]
    whole = [row for row in rows if len(row) == columns.count and row[columns.token] and row[columns.tag]]
    if len(whole) < 0.8 * len(rows):
        return False
    rows = whole
    tokens, tags = [row[columns.token] for row in rows], [row[columns.tag] for row in rows]
    counts = Counter(tags)
    spaced = sum(" " in token for token in tokens)
    if spaced > 0.02 * len(tokens) or any(" " in tag or len(tag) > 60 for tag in counts):
        return False
    shaped = sum(count for tag, count in counts.items() if _SHAPED(tag)) >= 0.95 * len(tags)
    if shaped and any("-" in tag or "_" in tag for tag in counts):
        return _apart(peek) or ending(peek.name) in TAGGED or set(counts) > {"O"}
    if ending(peek.name) in TAGGED:
        return len(rows) > 1 and len(counts) <= MOST_TAGS
    if len(counts) > min(MOST_TAGS, max(3, len(tags) // 2)):
        return False
    worded = sum(count for tag, count in counts.items() if _TAG(tag)) >= 0.95 * len(tags)
    return worded and _apart(peek)


def _apart(peek: Peek) -> bool:
    """Whether blank lines divide the file into sentences of several lines."""
    lengths, run = [], 0
    for line in peek.lines:
        if line.strip():
            run += 1
        elif run:
            lengths.append(run)
            run = 0
    lengths += [run] if run else []
    return len(lengths) >= 2 and sum(lengths) >= 2 * len(lengths)


def parts_of(tag: str) -> tuple[str, str]:
    """(prefix, kind) of a tag, the prefix by its usual name (B I E S); ("O", "") and ("", tag) for tags without."""
    if tag == "O":
        return "O", ""
    found = _PREFIXED(tag)
    return (_ORDINARY.get(found[1], found[1]), found[2]) if found else ("", tag)


def scheme_of(tags: Iterable[str]) -> str:
    """Which scheme a set of tags follows: `BIOES` (also written BMESO, BILUO), `BIO`, `IO`, or empty for none."""
    prefixes = {parts_of(tag)[0] for tag in tags}
    if not prefixes or "" in prefixes or prefixes <= {"O"}:
        return ""
    if prefixes & {"E", "S"}:
        return "BIOES"
    return "BIO" if "B" in prefixes else "IO"


def scheme_in(sentences: Iterable[Sequence[str]]) -> str:
    """The scheme of tagged sentences: as `scheme_of`, or `IOB1` where B- only parts an entity from one before it."""
    listed = list(sentences)
    scheme = scheme_of({tag for tags in listed for tag in tags})
    if scheme != "BIO":
        return scheme
    parting = opening = 0
    for tags in listed:
        before, kind = "O", ""
        for tag in tags:
            prefix, own = parts_of(tag)
            joined = before != "O" and own == kind
            if prefix == "B" and not joined:
                return scheme
            parting += prefix == "B"
            opening += prefix == "I" and not joined
            before, kind = prefix, own
    return "IOB1" if parting and opening else scheme


def odd_at(tags: Sequence[str], scheme: str) -> list[int]:
    """Where a tag cannot follow the one before it, such as I-LOC after O, or an entity that is never ended.

    BIO: I-X follows B-X or I-X. BIOES: I-X and E-X follow B-X or I-X, and after these nothing else does. In IO, IOB1
    and without a scheme everything may follow everything. A sentence's end counts as O; its place is the last token.
    """
    if scheme not in ("BIO", "BIOES"):
        return []
    found = []
    before, kind = "O", ""
    for place, tag in enumerate(tags):
        prefix, own = parts_of(tag)
        inside, opened = prefix in ("I", "E"), before in ("B", "I")
        unled = inside and not (opened and own == kind)
        if unled or (scheme == "BIOES" and opened and not inside):
            found.append(place)
        before, kind = prefix, own
    if scheme == "BIOES" and before in ("B", "I"):
        found.append(len(tags))
    return found
