"""Heat maps: numbers as colours, one panel above another over the same steps; and curves with a logarithmic axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from netwright.explaining.drawing import Canvas, Cells, Path, Words, cut, width_of
from netwright.report.drawing import axis
from netwright.report.markup import number

LEFT, RIGHT, TOP, BETWEEN = 64, 92, 56, 34
WIDEST = 960
"""Pixels that all steps together take."""
LETTERS = 16
"""Columns of a label of a step."""
BLUE, WHITE, RED = np.array([33, 102, 172]), np.array([247, 247, 247]), np.array([178, 24, 43])
LOW, MIDDLE, HIGH = np.array([247, 251, 255]), np.array([107, 174, 214]), np.array([8, 48, 107])
HUES = ((31, 119, 180), (214, 95, 14), (44, 140, 60), (190, 50, 60), (128, 90, 180), (140, 86, 75), (200, 80, 160),
        (110, 110, 110))  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """Numbers (rows, steps) with a name; `signed` ones have white at 0, others run from 0 to `most`."""

    name: str
    numbers: Float[np.ndarray, "rows steps"]
    signed: bool
    most: float
    rows: Sequence[str] = ()
    """Labels of the rows; none: only their numbers at the edges."""
    numbered: Sequence[int] = ()
    """The numbers of the rows that are shown, where labels are none."""


def colours(numbers: np.ndarray, signed: bool, most: float) -> UInt8[np.ndarray, "rows columns 3"]:
    """Blue below 0, white at 0, red above; or white to dark blue from 0 up. Numbers that are none are grey."""
    share = np.clip(np.nan_to_num(numbers / most if most > 0 else numbers * 0.0), -1 if signed else 0, 1)[..., None]
    if signed:
        found = np.where(share < 0, WHITE + (WHITE - BLUE) * share, WHITE + (RED - WHITE) * share)
    else:
        found = np.where(share < 0.5, LOW + (MIDDLE - LOW) * 2 * share, MIDDLE + (HIGH - MIDDLE) * (2 * share - 1))
    found = np.where(np.isfinite(numbers)[..., None], found, 128)
    return found.round().astype(np.uint8)


def heat_maps(title: str, panels: Sequence[Panel], steps: Sequence[str], label: str, told: str = "") -> Canvas:
    """Panels over the same steps, their labels once at the foot: as many of them as there is room for."""
    cell = min(30.0, max(WIDEST / max(1, len(steps)), 0.5))
    cell = max(cell, min(30.0, 200 / max(1, len(steps))))
    wide = cell * len(steps)
    heights = [_height(panel) for panel in panels]
    left = max([LEFT, *(16 + max(width_of(cut(row, LETTERS)) for row in panel.rows) for panel in panels if panel.rows)])
    foot = _foot(steps, cell)
    high = TOP + sum(heights) + BETWEEN * len(panels) + foot + 26
    total = max(left + wide + RIGHT, 40 + width_of(title, 14), 40 + width_of(told))
    canvas = Canvas(total, high, title, told)
    canvas.add(Words(16, 24, title, size=14, kind="strong"), Words(16, 42, told, kind="weak"))
    y = TOP + 10.0
    for panel, height in zip(panels, heights, strict=True):
        canvas.add(Words(left, y + 10, panel.name))
        y += 16
        canvas.add(Cells(left, y, wide, height, colours(panel.numbers, panel.signed, panel.most)))
        _rows(canvas, panel, left, y, height)
        _legend(canvas, panel, left + wide + 12, y, height)
        y += height + BETWEEN - 16
    _step_labels(canvas, steps, left, y - BETWEEN + 16, cell)
    canvas.add(Words(left + wide / 2, high - 8, label, "middle", kind="weak"))
    return canvas


def _height(panel: Panel) -> float:
    count = len(panel.numbers)
    return count * (22.0 if panel.rows else min(14.0, max(3.0, 150 / max(1, count))))


def _rows(canvas: Canvas, panel: Panel, left: float, y: float, height: float) -> None:
    """Labels of the rows, or the numbers of the first and the last."""
    each = height / max(1, len(panel.numbers))
    if panel.rows:
        for place, words in enumerate(panel.rows):
            canvas.add(Words(left - 6, y + each * (place + 0.5) + 4, cut(words, LETTERS), "end"))
        return
    numbered = list(panel.numbered) or list(range(1, len(panel.numbers) + 1))
    canvas.add(Words(left - 6, y + max(each / 2 + 4, 10), str(numbered[0]), "end", kind="weak"))
    if height > 26 and len(numbered) > 1:
        canvas.add(Words(left - 6, y + height - max(each / 2 - 4, 0), str(numbered[-1]), "end", kind="weak"))


def _legend(canvas: Canvas, panel: Panel, x: float, y: float, height: float) -> None:
    """The scale of colours from its top to its foot."""
    low = -panel.most if panel.signed else 0.0
    high = min(height, 110.0)
    scale = np.linspace(panel.most, low, 48)[:, None]
    canvas.add(Cells(x, y, 12, high, colours(scale, panel.signed, panel.most)))
    canvas.add(Words(x + 18, y + 9, number(panel.most), size=11, kind="weak"))
    if high >= 26:
        canvas.add(Words(x + 18, y + high, number(low), size=11, kind="weak"))


def _every(steps: Sequence[str], cell: float) -> int:
    """So many steps share one label, that labels do not overlap."""
    return max(1, math.ceil(15 / cell))


def _upright(steps: Sequence[str], cell: float) -> bool:
    return all(width_of(words) <= cell - 2 for words in steps)


def _foot(steps: Sequence[str], cell: float) -> float:
    if not steps or _upright(steps, cell):
        return 20.0
    return 14.0 + max(width_of(cut(words, LETTERS)) for words in steps[:: _every(steps, cell)])


def _step_labels(canvas: Canvas, steps: Sequence[str], left: float, y: float, cell: float) -> None:
    if _upright(steps, cell):
        canvas.add(*(Words(left + cell * (i + 0.5), y + 15, words, "middle") for i, words in enumerate(steps)))
        return
    every = _every(steps, cell)
    for place in range(0, len(steps), every):
        words = cut(steps[place], LETTERS)
        canvas.add(Words(left + cell * (place + 0.5) + 4, y + 7, words, "end", turned=True))


# curves -------------------------------------------------------------------------------------------------------

WIDE, HIGH_CURVES = 640, 340


def log_curves(
    title: str, told: str, curves: Sequence[tuple[str, Sequence[float]]], x_label: str, y_label: str
) -> Canvas:
    """Curves over 0, 1, 2 ... with a logarithmic axis; numbers of 0 or less leave a gap."""
    kept = [(name, [(x, y) for x, y in enumerate(ys) if y > 0 and math.isfinite(y)]) for name, ys in curves]
    names = max((width_of(name) for name, _ in kept), default=0)
    canvas = Canvas(
        max(WIDE + 40 + names, 32 + width_of(told), 32 + width_of(title, 14)), HIGH_CURVES + 60, title, told
    )
    canvas.add(Words(16, 24, title, size=14, kind="strong"), Words(16, 42, told, kind="weak"))
    values = [y for _, points in kept for _, y in points] or [1.0]
    floor, ceiling = HIGH_CURVES + 10.0, 62.0
    up = axis([max(min(values), max(values) * 1e-30), max(values)], floor, ceiling, log=True)
    across = axis([0, max((len(ys) for _, ys in curves), default=1) - 1], 78, WIDE - 20, pad=0.02)
    for tick in up.ticks():
        y = up.place(tick)
        canvas.add(Path([(78, y), (WIDE - 20, y)], "grid"), Words(70, y + 4, _power(tick), "end", kind="weak"))
    for tick in across.ticks(8):
        if tick >= 0 and tick == int(tick):
            canvas.add(Words(across.place(tick), floor + 18, f"{int(tick)}", "middle", kind="weak"))
    canvas.add(Path([(78, floor), (WIDE - 20, floor)], "axis"), Path([(78, floor), (78, ceiling)], "axis"))
    canvas.add(Words((78 + WIDE - 20) / 2, floor + 38, x_label, "middle"))
    canvas.add(Words(20, (floor + ceiling) / 2, y_label, "middle", turned=True))
    for place, (name, points) in enumerate(kept):
        hue = HUES[place % len(HUES)]
        spots = [(across.place(x), up.place(y)) for x, y in points if up.low <= y <= up.high]
        if spots:
            canvas.add(Path(spots if len(spots) > 1 else [spots[0], (spots[0][0] + 2, spots[0][1])], "curve", hue))
        y = ceiling + 8 + 18 * place
        canvas.add(Path([(WIDE - 6, y), (WIDE + 12, y)], "curve", hue), Words(WIDE + 18, y + 4, name))
    return canvas


def _power(tick: float) -> str:
    if 0.01 <= tick < 1000:
        return f"{tick:g}"
    return f"{tick:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
