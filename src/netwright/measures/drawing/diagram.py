"""A picture (SVG) of any network from its real flow of data: boxes in rows from top to bottom, lines between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from torch import nn

from netwright.language import columns, say
from netwright.measures.anatomy import Anatomy, anatomy
from netwright.measures.anatomy.passes import Shape
from netwright.measures.anatomy.tables import by
from netwright.measures.drawing.boxes import Box, Plan, boxes_of, folded

LINE, LETTER, GAP, ROOM, MARGIN, TOP = 17, 7.2, 26, 44, 24, 64
"""Pixels: height of a line, width of a letter; between boxes of a row, between rows; around the picture, above it."""
CALM = 0.85
"""The pull of a box's neighbours; the rest is the pull of the middle, so that long networks do not drift aside."""
TRACK = 10
"""The width of the place that a line takes between the boxes of a row that it passes."""
COLOURS = {
    "conv": "#3b82f6", "conv_transposed": "#3b82f6", "linear": "#8b5cf6", "matmul": "#8b5cf6", "attention": "#8b5cf6",
    "maxpool": "#f59e0b", "avgpool": "#f59e0b", "globalpool": "#f59e0b", "subsample": "#f59e0b",
    "adaptive_avg_pool": "#f59e0b", "sum": "#10b981", "product": "#10b981", "concat": "#10b981", "lstm": "#ec4899",
    "gru": "#ec4899", "rnn": "#ec4899", "lstm_cell": "#ec4899", "gru_cell": "#ec4899", "rnn_cell": "#ec4899",
    "embedding": "#ec4899", "end": "#6b7280",
}  # fmt: skip
STYLE = (
    ":root{color-scheme:light dark;color:#1f2937}@media(prefers-color-scheme:dark){:root{color:#e5e7eb}}"
    "text{font:13px ui-monospace,Menlo,Consolas,'Noto Sans Mono CJK SC',monospace;fill:currentColor}"
    ".small{font-size:11px;opacity:.75}.box{stroke-width:1.4;fill-opacity:.14}"
    ".line{fill:none;stroke:currentColor;stroke-opacity:.55;stroke-width:1.3}"
    ".tip{fill:currentColor;opacity:.6}"
    ".frame{fill:currentColor;fill-opacity:.04;stroke:currentColor;stroke-opacity:.5;stroke-dasharray:5 4}"
)


@dataclass
class Spot:
    """A place in a row: a box, or (`box` None) a line on its way past the row."""

    box: int | None
    wide: float
    high: float
    row: int
    x: float = 0.0
    y: float = 0.0
    before: list["Spot"] = field(default_factory=list)
    behind: list["Spot"] = field(default_factory=list)


def diagram(model: nn.Module, inputs: Mapping[str, Any] | Shape, name: str = "") -> str:
    """Draw a network as SVG text: a box for each layer with its norm and activation, the sizes beside the lines.

    Formula: row of a box = 1 + the lowest row of the boxes that it reads; blocks that repeat are drawn once, in a frame
    with how often

    Names, parameters and the layers within a box show when the pointer rests on it. Errors: as `anatomy`.
    """
    return drawn(anatomy(model, inputs, name))


def drawn(found: Anatomy) -> str:
    """The picture of an anatomy."""
    plan = folded(boxes_of(found.layers))
    spots, rows = laid_out(plan, by(found.input), by(found.output))
    framed, sizes = _frames(plan, spots, rows), _sizes(spots, plan, found)
    edges = [way for spot in spots.values() for way in _ways(spot)]
    shapes = [_drawn_box(spot, *_content(plan, number)) for number, spot in spots.items()]
    labels = [f'<text class="small" x="{x + 6:.1f}" y="{y:.1f}">{escape(text)}</text>' for x, y, text in sizes]
    title = say(
        "{network}: input {input}, {count} parameters",
        network=found.network,
        input=by(found.input),
        count=f"{found.parameters:,}",
    )
    note = say("a frame with x n: the block stands n times, one behind the other") if plan.repeats else ""
    left = min([s.x - s.wide / 2 for row in rows for s in row] + [frame[0] for frame in framed])
    right = max([s.x + s.wide / 2 for row in rows for s in row] + [frame[2] for frame in framed])
    right = max([right, *(x + 8 + columns(text) * 6.6 for x, _, text in sizes)])
    wide = max(right - left, columns(title) * LETTER * 1.1, columns(note) * 6.6) + 2 * MARGIN
    high = max(s.y + s.high for row in rows for s in row) + TOP + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
            f'height="{high:.0f}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f'<text x="{MARGIN}" y="28">{escape(title)}</text>',
            f'<text class="small" x="{MARGIN}" y="46">{escape(note)}</text>',
            f'<g transform="translate({MARGIN - left:.1f},{TOP})">',
            *(_frame(*one) for one in framed),
            *edges,
            *shapes,
            *labels,
            "</g></svg>",
        ]
    )


def laid_out(plan: Plan, enters: str, leaves: str) -> tuple[dict[int, Spot], list[list[Spot]]]:
    """A place for every box, the input (-1) and the output (their count), with lines' places between them."""
    count = len(plan.boxes)
    sources = {number: box.sources for number, box in enumerate(plan.boxes)}
    read = {source for given in sources.values() for source in given}
    sources[count] = tuple(number for number in range(count) if number not in read)[-1:] or (-1,)
    depth, spots = {-1: 0}, {-1: Spot(None, *_extent([enters]), 0)}
    for number in range(count + 1):
        given = sources[number]
        depth[number] = 1 + max((depth[source] for source in given), default=0)
        lines = _lines(plan.boxes[number]) if number < count else [leaves]
        spots[number] = Spot(number, *_extent(lines), depth[number])
    spots[-1].box = -1
    depth[count] = spots[count].row = (
        max(depth.values()) if max(depth.values()) == depth[count] else max(depth.values()) + 1
    )
    rows: list[list[Spot]] = [[] for _ in range(depth[count] + 1)]
    for number, spot in spots.items():
        rows[depth[number]].append(spot)
    for number, given in sources.items():
        for source in given:
            last = spots[source]
            for row in range(depth[source] + 1, depth[number]):
                passing = Spot(None, TRACK, 0, row)
                rows[row].append(passing)
                last = _tied(last, passing)
            _tied(last, spots[number])
    _ordered(rows)
    _placed(rows)
    return spots, rows


def _tied(upper: Spot, lower: Spot) -> Spot:
    upper.behind.append(lower)
    lower.before.append(upper)
    return lower


def _ordered(rows: list[list[Spot]]) -> None:
    """Order every row by the middle of its neighbours above, then below, a few times: few lines cross."""
    for sweep in range(6):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            at = {id(spot): place for upper in rows for place, spot in enumerate(upper)}
            near = {id(s): [at[id(n)] for n in (s.before if down else s.behind)] or [at[id(s)]] for s in row}
            row.sort(key=lambda spot: sum(near[id(spot)]) / len(near[id(spot)]))


def _placed(rows: list[list[Spot]]) -> None:
    """Horizontal places near those of the neighbours, no two of a row too near; then the rows' heights."""
    for row in rows:
        _packed(row, [0.0] * len(row))
    for sweep in range(8):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = []
            for spot in row:
                tied = (spot.before if sweep % 2 == 0 else spot.behind) or [spot]
                near = [one for one in tied if (one.box is None) == (spot.box is None)] or tied
                wanted.append(CALM * sum(one.x for one in near) / len(near))
            _packed(row, wanted)
    y = 0.0
    for row in rows:
        high = max(spot.high for spot in row)
        for spot in row:
            spot.y = y
            spot.high = spot.high if spot.box is not None else high
        y += high + ROOM


def _packed(row: list[Spot], wanted: list[float]) -> None:
    """Place a row as near to `wanted` as its order and the gaps allow: groups that touch share a shift, boxes lead."""
    groups: list[tuple[list[Spot], float, float, float]] = []  # spots, left edge of the first, width, weight
    for spot, x in zip(row, wanted, strict=True):
        group, left, wide, weight = [spot], x - spot.wide / 2, spot.wide, 0.02 if spot.box is None else 1.0
        while groups and sum(groups[-1][1:3]) + GAP > left:
            earlier, start, width, heavy = groups.pop()
            left = (start * heavy + (left - width - GAP) * weight) / (heavy + weight)
            group, wide, weight = [*earlier, *group], width + GAP + wide, heavy + weight
        groups.append((group, left, wide, weight))
    for group, left, _, _ in groups:
        for spot in group:
            spot.x = left + spot.wide / 2
            left += spot.wide + GAP


def _lines(box: Box) -> list[str]:
    shown = list(box.lines[:5]) + (["..."] if len(box.lines) > 5 else [])
    return [*shown, say("{count} parameters", count=f"{box.parameters:,}")] if box.parameters else shown


def _extent(lines: list[str]) -> tuple[float, float]:
    return max(60.0, max(map(columns, lines)) * LETTER + 22), len(lines) * LINE + 12.0


def _content(plan: Plan, number: int) -> tuple[list[str], Box | None]:
    """The lines of a box of the plan, of the input or of the output."""
    if 0 <= number < len(plan.boxes):
        return _lines(plan.boxes[number]), plan.boxes[number]
    return [say("input") if number < 0 else say("output")], None


def _drawn_box(spot: Spot, lines: list[str], box: Box | None) -> str:
    colour = COLOURS.get(box.kind if box else "end", "#94a3b8")
    left, middle = spot.x - spot.wide / 2, spot.x
    texts = "".join(
        f'<text x="{middle:.1f}" y="{spot.y + 19 + place * LINE:.1f}" text-anchor="middle"'
        f"{' class=' + chr(34) + 'small' + chr(34) if box and box.parameters and place == len(lines) - 1 else ''}>"
        f"{escape(line)}</text>"
        for place, line in enumerate(lines)
    )
    hover = f"<title>{escape(', '.join(box.names))}</title>" if box else ""
    return (
        f'<g>{hover}<rect class="box" x="{left:.1f}" y="{spot.y:.1f}" width="{spot.wide:.1f}" height="{spot.high:.1f}" '
        f'rx="6" fill="{colour}" stroke="{colour}"/>{texts}</g>'
    )


def _ways(spot: Spot) -> list[str]:
    """The lines from one box down to each box that reads it."""
    found = []
    for lower in spot.behind:
        x, y = spot.x, spot.y + spot.high
        path = [f"M{x:.1f} {y:.1f}"]
        while True:
            path.append(_bend(x, y, lower.x, lower.y))
            if lower.box is not None:
                break
            x, y = lower.x, lower.y + lower.high
            path.append(f"L{x:.1f} {y:.1f}")
            lower = lower.behind[0]
        found.append(f'<path class="line" d="{" ".join(path)}"/>{_head(lower.x, lower.y)}')
    return found


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (y + to_y) / 2
    return f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"


def _head(x: float, y: float) -> str:
    tip = f"M{x - 4:.1f} {y - 7:.1f}L{x + 4:.1f} {y - 7:.1f}L{x:.1f} {y:.1f}Z"
    return f'<path class="tip" d="{tip}"/>'


def _sizes(spots: dict[int, Spot], plan: Plan, found: Anatomy) -> list[tuple[float, float, str]]:
    """The size of each box's result, to the right of the line that leaves it."""
    sizes = {number: box.output for number, box in enumerate(plan.boxes)} | {-1: by(found.input)}
    return [
        (spots[number].x, spots[number].y + spots[number].high + 14, text)
        for number, text in sizes.items()
        if spots[number].behind
    ]


def _frames(plan: Plan, spots: dict[int, Spot], rows: list[list[Spot]]) -> list[tuple[float, ...]]:
    """(left, top, right, bottom, times) around each block that stands for several, with the lines past its boxes."""
    found: list[tuple[float, ...]] = []
    for first, last, times in plan.repeats:
        inside = [spots[number] for number in range(first, last + 1)]
        deep = range(min(spot.row for spot in inside), max(spot.row for spot in inside))
        wide = inside + [spot for row in deep for spot in rows[row] if spot.box is None]
        left = min(spot.x - spot.wide / 2 for spot in wide) - 12
        right = max(spot.x + spot.wide / 2 for spot in wide) + 12
        top, bottom = min(spot.y for spot in inside) - 10, max(spot.y + spot.high for spot in inside) + 10
        found.append((left, top, right + 44, bottom, times))
    return found


def _frame(left: float, top: float, right: float, bottom: float, times: float) -> str:
    wide, high = right - left, bottom - top
    return (
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="8"/>'
        f'<text x="{right - 8:.1f}" y="{top + 18:.1f}" text-anchor="end">&#215; {times:.0f}</text>'
    )
