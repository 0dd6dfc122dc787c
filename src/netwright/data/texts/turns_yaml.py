"""The part of YAML that chatterbot's corpora are written in: lists of lists of texts.

No YAML library is needed, and nothing but texts can come out: no tags, anchors or aliases are followed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netwright.data.files.tree import Tally
from netwright.data.texts.pairing import sentence_lines
from netwright.errors import DataError
from netwright.language import say

KEY = re.compile(r"^conversations[ \t]*:", re.MULTILINE)
_NEXT = re.compile(r"(?:[^\s#:|>'\"-][^\s:]*|\"[^\s\"]*\"|'[^\s']*'):(?:\s|$)|---(?:\s|$)|\.\.\.(?:\s|$)")
"""What ends the list: another key at the beginning of a line, or the end of the document."""
_DASH = re.compile(r"-(?:[ ]+|$)")
_COMMENT = re.compile(r"(?:^|[ \t])#.*$")
_BLOCK = re.compile(r"([|>])([+-]?[1-9]?|[1-9][+-])[ \t]*(?:#.*)?$")
_ESCAPES = {
    "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.?))", re.DOTALL)


@dataclass(frozen=True)
class Conversation:
    """The turns of one conversation, and where it begins: a line, or its place in a JSON list, from 1."""

    place: int
    turns: list[str]


class _Odd(ValueError):
    """What is not a list of turns: the line (from 0), and why."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def yaml_conversations(text: str, where: str, tally: Tally) -> list[Conversation]:
    """The conversations of a chatterbot file: under `conversations:` a list of lists of texts, and nothing else.

    Of YAML this reads block lists with plain, quoted and block (`|`, `>`) texts over any number of lines. Whatever
    else stands there (mappings, anchors, flow lists, deeper lists) is reported with its line, and the conversation is
    left out. Errors: DataError where the file has no `conversations:`.
    """
    lines = sentence_lines(text)
    start = next((place for place, line in enumerate(lines) if KEY.match(line)), None)
    if start is None:
        raise DataError(say("{name}: no `conversations:` at the beginning of a line", name=where))
    rest = _COMMENT.sub("", lines[start].partition(":")[2]).strip()
    if rest:
        raise DataError(say("{name} line {line}: a list of conversations is expected below, not {found!r}",
                            name=where, line=start + 1, found=rest[:40]))  # fmt: skip
    stop = next((k for k in range(start + 1, len(lines)) if _NEXT.match(lines[k])), len(lines))
    return list(_items(_Yaml(lines[:stop]), start + 1, where, tally))


def _items(yaml: "_Yaml", place: int, where: str, tally: Tally) -> Iterator[Conversation]:
    """Each conversation of the list; after one that is odd, go on with the next."""
    place = yaml.filled(place)
    outer = yaml.indent(place) if place < len(yaml.lines) else 0
    while place < len(yaml.lines):
        begin = place
        try:
            turns, place = yaml.conversation(place, outer)
            yield Conversation(begin + 1, turns)
        except _Odd as odd:
            here = say("{name} line {line}", name=where, line=odd.line + 1)
            tally.add(here, say("no list of turns"), say("the conversation is left out"), str(odd))
            place = max(place, begin) + 1
            while place < len(yaml.lines) and not (
                yaml.indent(place) <= outer and _DASH.match(yaml.lines[place].strip())
            ):
                place += 1
        place = yaml.filled(place)


class _Yaml:
    """Lines of a file, read from a place on; each method returns what it read and the place behind it."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines

    def indent(self, place: int) -> int:
        line = self.lines[place]
        return len(line) - len(line.lstrip(" "))

    def blank(self, place: int) -> bool:
        return not self.lines[place].strip()

    def filled(self, place: int) -> int:
        """The next line that is neither blank nor a comment."""
        while place < len(self.lines) and (self.blank(place) or self.lines[place].lstrip().startswith("#")):
            place += 1
        return place

    def conversation(self, place: int, outer: int) -> tuple[list[str], int]:
        """One item of the outer list: `- - turn`, and the turns below it."""
        dash = _DASH.match(self.lines[place], outer) if self.indent(place) == outer else None
        if dash is None:
            raise _Odd(place, say("a dash is expected at column {column}", column=outer + 1))
        column = dash.end()
        if not self.lines[place][column:].strip():
            place = self.filled(place + 1)
            column = self.indent(place) if place < len(self.lines) else 0
            if column <= outer:
                raise _Odd(place - 1, say("it is empty"))
        turns = []
        while True:
            dash = _DASH.match(self.lines[place], column)
            if dash is None:
                raise _Odd(place, say("one text, or another thing than a list: {text!r}",
                                      text=self.lines[place].strip().lstrip("- ")[:40]))  # fmt: skip
            turn, place = self.text(place, dash.end(), column)
            turns.append(turn)
            place = self.filled(place)
            if place >= len(self.lines) or (self.indent(place) == outer and _DASH.match(self.lines[place], outer)):
                return turns, place
            if self.indent(place) != column:
                raise _Odd(place, say("a turn is expected at column {column}", column=column + 1))

    def text(self, place: int, column: int, parent: int) -> tuple[str, int]:
        """One text that begins at `column` and goes on in lines that are indented deeper than `parent`."""
        first = self.lines[place][column:]
        if not first.strip() or first.startswith("#"):
            after = self.filled(place + 1)
            if after >= len(self.lines) or self.indent(after) <= parent:
                return "", place + 1
            place, column = after, self.indent(after)
            first = self.lines[place][column:]
        if "\t" in self.lines[place][: column + 1]:
            raise _Odd(place, say("a tab in the indentation"))
        if first[0] in "'\"":
            return self.quoted(place, column, parent)
        block = _BLOCK.match(first)
        if block:
            return self.block(place, parent, block[1], block[2])
        return self.plain(place, column, parent)

    def plain(self, place: int, column: int, parent: int) -> tuple[str, int]:
        """A text without quotes: lines joined by blanks, blank lines as line ends."""
        first = self.lines[place][column:]
        if first[0] in "[]{}&*!%@`|>,#" or re.match(r"[-?:](?:\s|$)", first):
            raise _Odd(place, say("a text does not begin with {sign!r}; quote it", sign=first[0]))
        found: list[str] = []
        while True:
            line = self.lines[place][column:].strip(" \t")
            bare = _COMMENT.sub("", line).rstrip()
            if re.search(r":(?:\s|$)", bare):
                raise _Odd(place, say("a colon and a blank make a mapping; quote the text"))
            found.append(bare)
            place += 1
            if bare != line:
                break
            after = place
            while after < len(self.lines) and self.blank(after):
                after += 1
            if after >= len(self.lines) or self.indent(after) <= parent or self.lines[after].lstrip().startswith("#"):
                break
            found += [""] * (after - place)
            place, column = after, 0
        return _folded(found), place

    def quoted(self, place: int, column: int, parent: int) -> tuple[str, int]:
        """A text in quotes, folded like a plain one."""
        begin, sign = place, self.lines[place][column]
        pattern = _SINGLE if sign == "'" else _DOUBLE
        line, found = self.lines[place][column + 1 :], []
        while True:
            match = pattern.match(line)
            assert match is not None  # the pattern matches the empty text
            if match.end() < len(line):
                break
            found.append(match[0])
            place += 1
            if place >= len(self.lines):
                raise _Odd(begin, say("a quote that never closes"))
            line = self.lines[place].strip(" \t")
            if line and self.indent(place) <= parent:
                raise _Odd(begin, say("a quote that never closes"))
        found.append(match[0])
        behind = line[match.end() + 1 :]
        if _COMMENT.sub("", behind).strip():
            raise _Odd(place, say("text behind the closing quote: {text!r}", text=behind.strip()[:40]))
        if sign == "'":
            return _folded(found).replace("''", "'"), place + 1
        return _unescaped(_folded(found, escapes=True), begin), place + 1

    def block(self, place: int, parent: int, style: str, marks: str) -> tuple[str, int]:
        """A text kept line by line (`|`), or with its lines joined (`>`)."""
        place += 1
        begin = place
        while place < len(self.lines) and (self.blank(place) or self.indent(place) > parent):
            place += 1
        body = self.lines[begin:place]
        digits = re.sub(r"[+-]", "", marks)
        filled = [len(line) - len(line.lstrip(" ")) for line in body if line.strip()]
        width = parent + int(digits) if digits else (filled[0] if filled else 0)
        kept = [line[width:] for line in body]
        return ("\n".join(kept) if style == "|" else _folded(kept)).strip("\n"), place


_SINGLE, _DOUBLE = re.compile(r"(?:[^']|'')*"), re.compile(r'(?:[^"\\]|\\.)*\\?')


def _folded(lines: Sequence[str], escapes: bool = False) -> str:
    """Lines as YAML folds them: a line end is a blank, each blank line between two is a line end.

    `escapes`: a backslash at the end of a line joins it to the next without a blank.
    """
    pieces, ends, last = [lines[0]], 0, len(lines) - 1
    for number, line in enumerate(lines[1:], start=1):
        bare = line.strip(" \t") if number < last else line.lstrip(" \t")
        if not bare and number < last:
            ends += 1
            continue
        before = pieces[-1]
        joined = escapes and (len(before) - len(before.rstrip("\\"))) % 2
        pieces[-1] = before[:-1] if joined else before.rstrip(" \t")
        pieces += ["\n" * ends or ("" if joined else " "), bare]
        ends = 0
    return "".join(pieces)


def _unescaped(text: str, begin: int) -> str:
    """The text that stands in double quotes as `text`; `begin` is the line that an unknown escape is told with."""

    def sign(found: re.Match[str]) -> str:
        digits = found[1] or found[2] or found[3]
        if digits:
            number = int(digits, 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF or number == 0:
                raise _Odd(begin, say("no character: {escape}", escape=found[0]))
            return chr(number)
        if found[4] not in _ESCAPES:
            raise _Odd(begin, say("no escape of YAML: {escape}", escape=found[0]))
        return _ESCAPES[found[4]]

    return _ESCAPE.sub(sign, text)
