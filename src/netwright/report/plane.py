"""The report's picture of a decision boundary: regions in the colour of their class, points, the line between them."""

from typing import Any

import numpy as np

from netwright.language import say
from netwright.report import drawing, markup
from netwright.report.boundary import SIDE, Boundary, contours
from netwright.report.drawing import Axis
from netwright.report.markup import named, number, section, text

WIDE, HIGH = 520, 420
LEVELS = 6  # shades between a region's least and greatest probability
HUES = 8  # colours of the style; more classes take them in turn
NAMED = 12  # classes in the legend


def boundary(found: Any) -> str:
    """The section of a network with two inputs; nothing for another kind."""
    if not isinstance(found, Boundary):
        return ""
    title = say("Decision boundary")
    told = say("The shade is the probability of the class that wins there. Filled points were trained on, rings are "
               "test examples.")  # fmt: skip
    picture = f"{_legend(found)}{regions(found)}"
    figure = f'<figure class="chart plane">{picture}<figcaption class="small">{text(told)}</figcaption></figure>'
    return section("boundary", text(title), figure, _lines(found))


def regions(found: Boundary) -> str:
    """The plane as SVG. Exact lines carry their ends in the data's own units (`data-ends`: x1 y1 x2 y2)."""
    across = Axis(*found.window[0], drawing.LEFT, WIDE - drawing.RIGHT)
    up = Axis(*found.window[1], HIGH - drawing.BOTTOM, drawing.TOP)
    parts = [_shades(found, across, up), drawing.grid_of(across, up, found.names[0], found.names[1])]
    parts += [_exact(one.ends, across, up) for one in found.borders]
    if not found.linear:
        pieces = "".join(
            f"M{across.place(a[0]):.1f} {up.place(a[1]):.1f}L{across.place(b[0]):.1f} {up.place(b[1]):.1f}"
            for a, b in contours(found)
        )
        parts.append(f'<path class="border" d="{pieces}"/>' if pieces else "")
    for split, (points, classes) in found.points.items():
        parts += [
            f'<circle class="{split} k{one % HUES}" cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="3"/>'
            for (x, y), one in zip(points.tolist(), classes.tolist(), strict=True)
            if across.low <= x <= across.high and up.low <= y <= up.high
        ]
    title = say("What the network answers over {first} and {second}", first=found.names[0], second=found.names[1])
    return drawing.frame(title, ", ".join(found.classes[:NAMED]), "".join(parts), WIDE, HIGH)


def _exact(ends: Any, across: Axis, up: Axis) -> str:
    (x1, y1), (x2, y2) = ends
    places = f'x1="{across.place(x1):.1f}" y1="{up.place(y1):.1f}" x2="{across.place(x2):.1f}" y2="{up.place(y2):.1f}"'
    return f'<line class="border" {places} data-ends="{x1!r} {y1!r} {x2!r} {y2!r}"/>'


def _shades(found: Boundary, across: Axis, up: Axis) -> str:
    """One path for each class and shade, of cells joined along their row."""
    chances = np.nan_to_num(found.probabilities)
    best, sure = chances.argmax(2), chances.max(2)
    least = 1 / max(2, chances.shape[2])
    level = np.clip(((sure - least) / (1 - least) * LEVELS).astype(int), 0, LEVELS - 1)
    kind = best * LEVELS + level
    xs = np.linspace(across.start, across.end, SIDE + 1).round(1).tolist()
    ys = np.linspace(up.start, up.end, SIDE + 1).round(1).tolist()
    paths: dict[int, list[str]] = {}
    for row in range(SIDE):
        cells = kind[row]
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        stops = np.append(starts[1:], SIDE)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            piece = f"M{xs[start]} {ys[row]}H{xs[stop]}V{ys[row + 1]}H{xs[start]}z"
            paths.setdefault(int(cells[start]), []).append(piece)
    return "".join(
        f'<path class="region k{one // LEVELS % HUES}" fill-opacity="{0.1 + 0.3 * (one % LEVELS) / (LEVELS - 1):.2f}" '
        f'd="{"".join(pieces)}"/>'
        for one, pieces in sorted(paths.items())
    )


def _legend(found: Boundary) -> str:
    items = [
        f'<li><b class="k{place % HUES}">\u25cf</b> {named(name, 30)}</li>'
        for place, name in enumerate(found.classes[:NAMED])
    ]
    rest = len(found.classes) - NAMED
    items += [f"<li>{text(say('and {count} more', count=rest))}</li>"] if rest > 0 else []
    return f'<ul class="legend">{"".join(items)}</ul>'


def _lines(found: Boundary) -> str:
    """The equations of a linear network's lines, and where they leave the picture or meet."""
    if not found.borders:
        return ""
    rows = []
    for one in found.borders[:20]:
        equation = f"{number(one.weights[0])} x + {number(one.weights[1])} y + {number(one.bias)} = 0"
        ends = [f"({number(x)}, {number(y)})" for x, y in one.ends]
        rows.append([f"{named(one.classes[0], 30)} | {named(one.classes[1], 30)}", text(equation), *map(text, ends)])
    caption = say("Lines w . x + b = 0 between two classes, in the data's own units: x is {first}, y is {second}",
                  first=found.names[0], second=found.names[1])  # fmt: skip
    head = [say("classes"), say("straight line"), say("from"), say("to")]
    return markup.table(text(caption), map(text, head), rows)
