"""Tokens of a word tokeniser back to a text, with the spaces that people put."""

from collections.abc import Sequence

from netwright.data.texts.tokenizers.signs import is_unspaced

CLOSING = frozenset(".,!?;:%)]}»”’›…°‰")
OPENING = frozenset("([{«“‘‹„‚¿¡$£€¥#@")
BETWEEN = frozenset("-/_")
"""Signs that stand between two words without spaces."""
ENDINGS = frozenset(apostrophe + end for apostrophe in "'’" for end in ("s", "t", "d", "m", "ll", "re", "ve"))
WIDE = ((0x3000, 0x303F), (0xFE30, 0xFE4F), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65))
"""Code points of punctuation that brings its own space."""


def joined(tokens: Sequence[str]) -> str:
    """The text of these tokens.

    No space before what closes or after what opens, around Chinese, Japanese and Thai, or around a hyphen or slash
    between words; a plain quotation mark opens and closes in turn. What the text had may differ: a - b becomes a-b.
    """
    found: list[str] = []
    glue, open_quotes, left = True, set[str](), _counted(tokens)
    for place, token in enumerate(tokens):
        before, after = _sides(token, open_quotes, left, tokens[place - 1] if place else "")
        if token in BETWEEN:
            inside = 0 < place < len(tokens) - 1 and _wordy(tokens[place - 1][-1:]) and _wordy(tokens[place + 1][:1])
            before = after = inside
        if token in CLOSING and place and tokens[place - 1] == token:
            before = False  # two dots apart stay two
        if not (glue or before or _tight(token[:1])):
            found.append(" ")
        found.append(token)
        glue = after or _tight(token[-1:])
    return "".join(found)


def _sides(token: str, open_quotes: set[str], left: dict[str, int], last: str) -> tuple[bool, bool]:
    """Whether no space stands before and after a token that stands behind `last`."""
    if token in left:
        left[token] -= 1
        if token in open_quotes:
            open_quotes.remove(token)
            return True, False
        possessive = token == "'" and last[-1:] in "sS" and left[token] % 2 == 0  # dogs' leaves pairs behind it
        if left[token] and not possessive:
            open_quotes.add(token)
            return False, True
        return True, False
    if token == "„":
        open_quotes.add("“")
    elif token == "“" and token in open_quotes:
        open_quotes.remove(token)
        return True, False
    first = token[:1]
    if (first in CLOSING and set(token) <= CLOSING) or token.lower() in ENDINGS or token.lower() in ("n't", "n’t"):
        return True, False
    return False, token in OPENING or (len(token) > 1 and token[-1] in "'’" and token[0].isalpha())


def _counted(tokens: Sequence[str]) -> dict[str, int]:
    """How many of each mark that may open or close are there."""
    return {mark: tokens.count(mark) for mark in ('"', "'")}


def _wordy(sign: str) -> bool:
    return sign.isalnum()


def _tight(sign: str) -> bool:
    """Whether a character stands without spaces, by its script or its width."""
    return bool(sign) and (is_unspaced(sign) or any(low <= ord(sign) <= high for low, high in WIDE))
