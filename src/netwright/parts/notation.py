"""The one-line notation: `conv 16 5 pad=same, relu, residual(conv 16 3 pad=same), linear out`, read without `eval`.

Grammar, with blanks free between tokens:

    items  = item {("," | newline) item}
    item   = name {value | key "=" value} ["(" body ")"] {key "=" value}
    body   = items {"|" items}            for the groups residual, parallel, repeat
           | arguments                    for every other name: leaky_relu(slope=0.1)
    value  = number | true | false | word | word "(" ... ")" | "text" | "[" values "]"

Stacks of layers, augmentations and initializers share it, so it stands below all of them.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

from netwright.catalogue import Setting
from netwright.errors import UsageError, hint
from netwright.language import say

GROUPS = ("residual", "parallel", "repeat")
LONGEST = 100_000
DEEPEST = 20
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r]+)|(?P<newline>\n)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<word>[A-Za-z_][\w.]*)|(?P<text>"[^"\n]*"|'[^'\n]*')|(?P<mark>[,=|()\[\]])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Item:
    """One thing of a list: its name, its values in order, its settings, and the branches of a group."""

    name: str
    values: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    branches: tuple[tuple["Item", ...], ...] = ()
    text: str = ""


def read_items(text: str, where: str) -> tuple[Item, ...]:
    """Read a list of items; a mistake is refused with `where`, what is wrong and the place.

    Errors: UsageError for unknown signs, unbalanced brackets, empty items, or text beyond 100,000 signs.
    """
    reader = _Reader(text, where)
    items = reader.items(())
    if not items:
        raise UsageError(say("{where}: nothing is written there.", where=where))
    return items


def read_call(text: str, where: str) -> Item:
    """Read exactly one item such as `normal(mean=0, std=0.01)`, `he_normal` or `leaky_relu 0.1`."""
    items = read_items(text, where)
    if len(items) > 1:
        raise UsageError(
            say("{where}: {text!r} names {count} things; it names one.", where=where, text=text, count=len(items))
        )
    return items[0]


def settings_from(
    item: Item, known: Mapping[str, Setting], where: str, *, numbers: int | None = None
) -> dict[str, Any]:
    """The settings an item asks for: values in the order of `known`, then its own `key=value`, all checked.

    `numbers` is how many values may stand without a key (default: as many as there are settings).
    Errors: UsageError for too many values, a setting given twice, unknown, missing or out of range.
    """
    names = list(known)[: len(known) if numbers is None else numbers]
    if len(item.values) > len(names):
        raise UsageError(_too_many(item, names, list(known), where))
    given = dict(zip(names, item.values, strict=False))
    for name, value in item.settings.items():
        if name in given:
            raise UsageError(say("{where}: {name} is given twice.", where=where, name=name))
        if name not in known:
            raise UsageError(
                say("{where}: it has no setting {name!r}.", where=where, name=name) + " " + hint(name, known)
            )
        given[name] = value
    checked = {name: known[name].check(value, where) for name, value in given.items()}
    missing = [name for name, setting in known.items() if setting.default is Parameter.empty and name not in given]
    if missing:
        form = " ".join([item.name, *(name.upper() for name in names)])
        text = say("{where}: missing {missing}; write `{form}`.", where=where, missing=", ".join(missing), form=form)
        raise UsageError(text)
    return checked


def _too_many(item: Item, names: list[str], known: list[str], where: str) -> str:
    shown = " ".join(map(str, item.values))
    if not names:
        return say("{where}: {name} takes no number, but {values} came.", where=where, name=item.name, values=shown)
    text = say(
        "{where}: {name} takes {names}, but {values} came.",
        where=where,
        name=item.name,
        names=" ".join(names),
        values=shown,
    )
    rest = known[len(names) :]
    return text + (" " + say("Write the others as {key}=...", key=rest[0]) if rest else "")


class _Reader:
    """Recursive descent over the tokens; keeps the text to quote it in errors."""

    def __init__(self, text: str, where: str) -> None:
        if len(text) > LONGEST:
            raise UsageError(say("{where}: {count} signs; at most {most}.", where=where, count=len(text), most=LONGEST))
        self.text, self.where, self.at, self.depth = text, where, 0, 0
        self.tokens = list(self._cut())

    def _cut(self) -> Iterator[Token]:
        position = 0
        while position < len(self.text):
            found = _TOKEN.match(self.text, position)
            if not found:
                raise self.wrong(say("{sign!r} is not understood", sign=self._excerpt(position)), position)
            if found.lastgroup != "blank":
                yield Token(str(found.lastgroup), found.group(), found.start(), found.end())
            position = found.end()

    def _excerpt(self, position: int) -> str:
        word = re.match(r"\S{1,12}", self.text[position:])
        return word.group() if word else self.text[position : position + 1]

    def wrong(self, what: str, position: int | None = None) -> UsageError:
        start = len(self.text) if position is None else position
        near = " ".join(self.text[max(0, start - 30) : start + 20].split())
        return UsageError(say("{where}: {what}, near {near!r}.", where=self.where, what=what, near=near))

    def peek(self, *marks: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at].text in marks

    def next(self, what: str) -> Token:
        if self.at >= len(self.tokens):
            raise self.wrong(say("the text ends where {what} was expected", what=what))
        self.at += 1
        return self.tokens[self.at - 1]

    def items(self, ends: Collection[str]) -> tuple[Item, ...]:
        """Items up to one of the marks `ends`, which stays unread."""
        found: list[Item] = []
        parted = True
        while self.at < len(self.tokens) and not self.peek(*ends):
            token = self.tokens[self.at]
            if token.kind == "newline":
                self.at, parted = self.at + 1, True
            elif token.text == ",":
                if not found or (parted and self.tokens[self.at - 1].text == ","):
                    raise self.wrong(say("an item is empty between commas"), token.start)
                self.at, parted = self.at + 1, True
            elif not parted:
                raise self.wrong(
                    say("{text!r} does not fit there; items stand apart by commas", text=token.text), token.start
                )
            else:
                found.append(self.item())
                parted = False
        return tuple(found)

    def item(self) -> Item:
        head = self.next(say("a name"))
        if head.kind != "word":
            raise self.wrong(say("{text!r} came where a name was expected", text=head.text), head.start)
        values: list[Any] = []
        settings: dict[str, Any] = {}
        branches: tuple[tuple[Item, ...], ...] = ()
        called = False
        while self.at < len(self.tokens) and not self.peek(",", "|", ")", "\n"):
            if self.peek("("):
                if called:
                    raise self.wrong(say("a second bracket follows {name}", name=head.text), self.tokens[self.at].start)
                called, self.at = True, self.at + 1
                if head.text in GROUPS:
                    branches = self.nested(self.branches)
                else:
                    self.arguments(values, settings)
            else:
                self.argument(values, settings)
        text = " ".join(self.text[head.start : self.tokens[self.at - 1].end].split())
        return Item(head.text, tuple(values), settings, branches, text)

    def nested(self, read: Callable[[], Any]) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.wrong(say("brackets lie deeper than {most}", most=DEEPEST), self.tokens[self.at - 1].start)
        found = read()
        self.depth -= 1
        return found

    def branches(self) -> tuple[tuple[Item, ...], ...]:
        opened = self.tokens[self.at - 1].start
        found = [self.items("|)")]
        while self.peek("|"):
            self.at += 1
            found.append(self.items("|)"))
        if not self.peek(")"):
            raise self.wrong(say("a bracket opens and is never closed"), opened)
        self.at += 1
        return tuple(found)

    def arguments(self, values: list[Any], settings: dict[str, Any]) -> None:
        opened = self.tokens[self.at - 1].start
        while not self.peek(")"):
            if self.at >= len(self.tokens):
                raise self.wrong(say("a bracket opens and is never closed"), opened)
            if self.peek(",", "\n"):
                self.at += 1
            else:
                self.argument(values, settings)
        self.at += 1

    def argument(self, values: list[Any], settings: dict[str, Any]) -> None:
        token = self.tokens[self.at]
        keyed = token.kind == "word" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text == "="
        if keyed:
            self.at += 2
            if token.text in settings:
                raise self.wrong(say("{name} is given twice", name=token.text), token.start)
            settings[token.text] = self.value(token.text)
        elif settings:
            raise self.wrong(say("{text!r} stands after key=value; numbers come first", text=token.text), token.start)
        else:
            values.append(self.value(say("a value")))

    def value(self, what: str) -> Any:
        token = self.next(say("a value for {name}", name=what))
        if token.kind == "number":
            return self.number(token)
        if token.kind == "text":
            return token.text[1:-1]
        if token.kind == "word":
            return self.word(token)
        if token.text == "[":
            return self.nested(lambda: self.list(token))
        raise self.wrong(say("{text!r} came where a value was expected", text=token.text), token.start)

    def number(self, token: Token) -> int | float:
        if len(token.text) > 40:
            raise self.wrong(say("a number has {count} digits", count=len(token.text)), token.start)
        return int(token.text) if re.fullmatch(r"[+-]?\d+", token.text) else float(token.text)

    def word(self, token: Token) -> Any:
        """A word; with a bracket behind it the whole call as text, for whoever reads it next."""
        if token.text in ("true", "false"):
            return token.text == "true"
        if not self.peek("("):
            return token.text
        opened, depth = self.tokens[self.at].start, 0
        while self.at < len(self.tokens):
            self.at += 1
            depth += {"(": 1, ")": -1}.get(self.tokens[self.at - 1].text, 0)
            if depth == 0:
                return self.text[token.start : self.tokens[self.at - 1].end]
        raise self.wrong(say("a bracket opens and is never closed"), opened)

    def list(self, opened: Token) -> list[Any]:
        found: list[Any] = []
        while not self.peek("]"):
            if self.at >= len(self.tokens):
                raise self.wrong(say("a bracket opens and is never closed"), opened.start)
            if self.peek(",", "\n"):
                self.at += 1
            else:
                found.append(self.value(say("the list")))
        self.at += 1
        return found
