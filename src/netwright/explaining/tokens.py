"""Coloured tokens: a text whose every token has the colour of what it adds to an answer."""

from collections.abc import Sequence

import numpy as np

from netwright.explaining.drawing import Box, Canvas, Cells, Inked, Words, cut, width_of
from netwright.explaining.heatmaps import colours
from netwright.language import say
from netwright.report.markup import number

LINE, SIZE, WIDE, MARGIN = 34, 16, 860, 20
MOST = 1200
"""Tokens of a picture."""


def coloured_tokens(
    title: str, blocks: Sequence[tuple[str, np.ndarray]], labels: Sequence[str], told: str, marked: int = 0
) -> Canvas:
    """The same text once a block, coloured by its numbers: red adds to the answer, blue takes from it.

    `marked`: the token whose output is explained, from 1; it is underlined.
    """
    canvas = Canvas(max(WIDE, width_of(title, 15) + 40, width_of(told) + 40), 0, title, told)
    canvas.add(Words(MARGIN, 26, title, size=14, kind="strong"), Words(MARGIN, 46, told, kind="weak"))
    y = 78.0
    close = all(len(one) <= 1 for one in labels)  # characters stand side by side
    for name, numbers in blocks:
        shown = numbers[:MOST]
        most = max(float(np.abs(shown).max()), 1e-300) if len(shown) else 1.0
        canvas.add(Words(MARGIN, y, name))
        _scale(canvas, most, y - 11)
        y = _lines(canvas, labels[:MOST], shown, colours(shown[None], True, most)[0], y + 10, close, marked) + 28
    canvas.high = y - 6
    return canvas


def _scale(canvas: Canvas, most: float, y: float) -> None:
    """The scale of colours at the right, from the least to the greatest."""
    scale = np.linspace(-most, most, 64)[None]
    x = canvas.wide - 250
    canvas.add(Cells(x, y, 130, 12, colours(scale, True, most)))
    canvas.add(Words(x - 6, y + 10, number(-most, 2), "end", size=11, kind="weak"))
    canvas.add(Words(x + 136, y + 10, f"+{number(most, 2)}", size=11, kind="weak"))


def _lines(
    canvas: Canvas, labels: Sequence[str], numbers: np.ndarray, fills: np.ndarray, y: float, close: bool, marked: int
) -> float:
    """Tokens one behind another, line by line; returns where the last line ends."""
    x, pad, gap = float(MARGIN), 2 if close else 5, 1 if close else 4
    for place, (words, value, fill) in enumerate(zip(labels, numbers.tolist(), fills.tolist(), strict=True)):
        words = cut(words, 60)
        wide = max(width_of(words, SIZE) + 2 * pad, 15)
        if x + wide > WIDE - MARGIN and x > MARGIN:
            x, y = float(MARGIN), y + LINE
        ink = (255, 255, 255) if sum(fill[k] * w for k, w in enumerate((0.3, 0.59, 0.11))) < 120 else (17, 24, 39)
        told = say("{place}: {words}, {value}", place=place + 1, words=words, value=number(value))
        canvas.add(Box(x, y, wide, LINE - 8, (fill[0], fill[1], fill[2]), told))
        canvas.add(Inked(x + pad, y + 18, words, ink, SIZE))
        if place + 1 == marked:
            canvas.add(Box(x, y + LINE - 7, wide, 3, (217, 119, 6), say("the explained output stands here")))
        x += wide + gap
    return y + LINE
