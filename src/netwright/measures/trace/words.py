"""Numbers as text and as JSON: small arrays whole, large ones as their first corner with the shape."""

from math import isfinite
from textwrap import wrap
from typing import Any

from torch import Tensor

from netwright.language import columns

WIDE = 100
CORNER = 6
MOST_ITEMS = 64


def number(value: float, digits: int = 4) -> str:
    """A number with up to `digits` decimals, without trailing zeros; very small and large ones with a power of ten."""
    if not isfinite(value):
        return str(value)
    size = abs(value)
    if size and (size < 10.0**-digits or size >= 1e7):
        return f"{value:.{max(digits - 1, 0)}e}"
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def factor(value: float, digits: int = 4) -> str:
    """A number inside a product or sum: negative ones in brackets."""
    text = number(value, digits)
    return f"({text})" if text.startswith("-") else text


def products(left: Tensor, right: Tensor, rest: list[tuple[str, float]], digits: int = 4, most: int = 9) -> str:
    """`2*0.5 + 1*(-0.25) + 0.1`: the products of two vectors written out, the middle of a long row left out."""
    pairs = list(zip(left.flatten().tolist(), right.flatten().tolist(), strict=True))
    terms = [f"{factor(a, digits)}*{factor(b, digits)}" for a, b in pairs[:most]]
    if len(pairs) > most:
        terms = [*terms[:-2], "...", "*".join(factor(one, digits) for one in pairs[-1])]
    return " + ".join(terms + [factor(value, digits) for _, value in rest])


def by(shape: Any) -> str:
    """A shape as 3x32x32."""
    return "x".join(map(str, shape)) or "1"


def corner(values: Tensor) -> Tensor:
    """The first map's first rows and columns; of a vector its first numbers."""
    while values.ndim > 2:
        values = values[0]
    return values[:CORNER, :CORNER] if values.ndim == 2 else values[: CORNER * CORNER]


def plain(value: Any, most: int) -> Any:
    """A value for JSON: finite numbers or null; arrays above `most` numbers as {shape, truncated, values}."""
    if isinstance(value, Tensor):
        if value.numel() <= most:
            return plain(value.tolist(), most)
        values = plain(corner(value).tolist(), MOST_ITEMS)
        return {"shape": list(value.shape), "truncated": True, "values": values}
    if isinstance(value, dict):
        return {key: plain(one, most) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, most) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value


def block(label: str, value: Any, indent: int, digits: int, most: int) -> list[str]:
    """A labelled value as lines no wider than 100 columns."""
    head = " " * indent + label
    if isinstance(value, Tensor):
        cut = value.numel() > most
        note = f" ({by(value.shape)}, first {by(corner(value).shape)})" if cut else ""
        return _rows(f"{head}{note} = ", corner(value) if cut else value, digits)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [line for one in value for line in _record(label, one, indent, digits, most)]
    if isinstance(value, dict):
        return _record(label, value, indent, digits, most)
    shown = number(float(value), digits) if isinstance(value, float) else str(value)
    return folded(f"{head} = {shown}", indent + 4)


def _record(label: str, values: dict[str, Any], indent: int, digits: int, most: int) -> list[str]:
    """Named values under one label: short ones on one line."""
    pairs = []
    for key, value in values.items():
        short = not isinstance(value, Tensor) or value.ndim < 2
        text = _inline(value, digits) if short else ""
        pairs.append((key, value, text))
    if all(text for _, _, text in pairs):
        return folded(" " * indent + f"{label}: " + ", ".join(f"{key} = {text}" for key, _, text in pairs), indent + 4)
    lines = [" " * indent + f"{label}: " + ", ".join(f"{key} = {text}" for key, _, text in pairs if text)]
    for key, value, text in pairs:
        if not text:
            lines += block(key, value, indent + 4, digits, most)
    return lines


def _inline(value: Any, digits: int) -> str:
    if isinstance(value, Tensor):
        listed = value.tolist() if value.ndim else [value.item()]
        cut = listed[:12]
        dots = ", ..." if len(listed) > 12 else ""
        return f"({', '.join(number(float(one), digits) for one in cut)}{dots})"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_inline(one, digits) for one in value)})"
    return number(value, digits) if isinstance(value, float) else str(value)


def _rows(head: str, value: Tensor, digits: int) -> list[str]:
    """An array in rows under its label, columns aligned."""
    if value.ndim == 0:
        return [head + number(float(value), digits)]
    if value.ndim == 1:
        return folded(head + "[" + ", ".join(number(one, digits) for one in value.tolist()) + "]", columns(head) + 1)
    if value.ndim == 2:
        cells = [[number(one, digits) for one in row] for row in value.tolist()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if columns(head) + sum(widths) + 2 * len(widths) + 3 > WIDE:
            lines = [head.rstrip()]
            for row in cells:
                lines += folded("      [" + ", ".join(row) + "]", 7)
            return lines
        rows = ["[" + ", ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) + "]" for row in cells]
        return [head + rows[0], *(" " * columns(head) + row for row in rows[1:])]
    lines = []
    for place, part in enumerate(value):
        mark = head.rstrip(" =") + f"[{place}] = "
        lines += _rows(mark, part, digits)
    return lines


def folded(text: str, indent: int) -> list[str]:
    """A long line in pieces of at most 100 columns, the later ones indented."""
    indent = min(indent, 30)
    found = wrap(
        text, WIDE, subsequent_indent=" " * indent, break_long_words=True, break_on_hyphens=False, drop_whitespace=True
    )
    start = len(text) - len(text.lstrip(" "))
    return [(" " * start + found[0].lstrip(" ")), *found[1:]] if found else [""]


def columns_beside(parts: list[tuple[Tensor, str]], indent: int, digits: int) -> list[str]:
    """Matrices side by side with a sign between them, row by row."""
    lines = [" " * indent for _ in range(len(parts[0][0]))]
    for matrix, sign in parts:
        cells = [[number(one, digits) for one in row] for row in matrix.tolist()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for place, row in enumerate(cells):
            between = f"  {sign}  " if sign else ""
            lines[place] += "[" + ", ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) + "]" + between
    return lines
