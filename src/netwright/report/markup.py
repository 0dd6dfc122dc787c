"""Pieces of HTML: escaped text, numbers as people read them, tables."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from netwright.language import say

SHARES = ("accuracy", "balanced_accuracy", "top_5", "f1_micro", "token_accuracy", "exact_match", "word_error_rate",
          "character_error_rate", "eer")  # fmt: skip
NARROW = "\u202f"  # a narrow space that does not break, between number and unit
NONE = "\u2013"
DROPPED = {code: None for code in range(32) if code not in (9, 10)} | {127: None}


def text(value: object) -> str:
    """Any value as HTML text that can be nothing but text."""
    plain = str(value).translate(DROPPED).encode("utf-8", "replace").decode("utf-8")
    return escape(plain, quote=True)


def named(value: object, longest: int = 0) -> str:
    """A name from the data: isolated from the writing direction around it, and cut where space is short."""
    plain = str(value)
    if longest and len(plain) > longest:
        cut = plain[: longest - 1] + "\u2026"
        return f'<bdi title="{text(plain)}">{text(cut)}</bdi>'
    return f"<bdi>{text(plain)}</bdi>"


def finite(value: object) -> float | None:
    """`value` as a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def number(value: object, digits: int = 4) -> str:
    """Four significant digits, thousands set apart; a dash where there is no number."""
    found = finite(value)
    if found is None:
        return NONE
    if isinstance(value, int) or (found == int(found) and 1 <= abs(found) < 1e15):
        return f"{int(found):,}"
    if abs(found) >= 1000:
        return f"{found:,.0f}" if abs(found) < 1e9 else f"{found:.{digits - 1}e}"
    return f"{found:.{digits}g}"


def percent(share: object) -> str:
    """A share in percent: one decimal, more where it would read as 0 or 100 and is not."""
    found = finite(share)
    if found is None:
        return NONE
    if found in (0, 1):
        return f"{100 * found:.0f}{NARROW}%"
    shown = [f"{100 * found:.{decimals}f}" for decimals in (1, 2, 3, 4)]
    return next((one for one in shown if float(one) not in (0, 100)), shown[-1]) + f"{NARROW}%"


def score(metric: str, value: object) -> str:
    """A metric's value: percent for shares, four decimals below 1, else a number."""
    found = finite(value)
    if metric in SHARES or found is None:
        return percent(found)
    return f"{found:.4f}" if 0.001 <= abs(found) < 1 else number(value)


def seconds(value: object) -> str:
    """A duration: `48 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`."""
    found = finite(value)
    if found is None:
        return NONE
    if found < 1:
        return f"{1000 * found:.0f}{NARROW}ms"
    if found < 60:
        return f"{found:.1f}{NARROW}s"
    if found < 3600:
        return f"{int(found // 60)}{NARROW}min {int(found % 60):02d}{NARROW}s"
    return f"{int(found // 3600)}{NARROW}h {int(found % 3600 // 60):02d}{NARROW}min"


def words(value: Any) -> str:
    """A JSON value in words, not escaped: `lr 0.1, momentum 0.9`."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(words(item) for item in value)
    return str(value)


def table(
    caption: str, head: Iterable[str], rows: Iterable[Iterable[str]], numbers: Iterable[int] = (), quiet: bool = False
) -> str:
    """A table in a frame that scrolls sideways on narrow screens. Cells are HTML; the first of a row is its header.

    Args:
        numbers: columns to set to the right.
        quiet: the caption is for screen readers alone, where a heading says the same.
    """
    right = set(numbers)
    heads = "".join(f'<th scope="col"{_right(place, right)}>{cell}</th>' for place, cell in enumerate(head))
    body = []
    for row in rows:
        first, *rest = row
        cells = "".join(f"<td{_right(place + 1, right)}>{cell}</td>" for place, cell in enumerate(rest))
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    told = f"<caption{' class=unseen' if quiet else ''}>{caption}</caption>"
    inner = f"{told}<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table>{inner}</table></div>'


def _right(place: int, right: set[int]) -> str:
    return ' class="n"' if place in right else ""


def section(anchor: str, title: str, *blocks: str) -> str:
    """A titled section; nothing where all blocks are empty."""
    inner = "".join(blocks)
    if not inner:
        return ""
    return f'<section id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h">{title}</h2>{inner}</section>'


def more(summary: str, inner: str) -> str:
    """Something folded away."""
    return f"<details><summary>{summary}</summary>{inner}</details>"


def mapping(value: Any) -> dict[str, Any]:
    """`value` where it is a JSON object, else an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def listing(value: Any) -> list[Any]:
    """`value` where it is a JSON array, else an empty one."""
    return list(value) if isinstance(value, (list, tuple)) else []
