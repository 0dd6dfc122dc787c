"""Charts as inline SVG: curves, points, intervals. Colours and fonts come from the page's style by class.

Every chart has a `<title>` and a `<desc>` for screen readers; the numbers stand in a table beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netwright.language import columns
from netwright.report.markup import finite, number, text

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 76, 14, 12, 44
POINTS = 400  # a line keeps at most so many points; more cannot be seen


@dataclass(frozen=True)
class Line:
    """One curve: `kind` is its class in the style (`batch`, `train`, `validation`, `plain`)."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A row of an interval chart: a dot, with its interval where it has one."""

    name: str
    kind: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis between two ends of the picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        a, b, x = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (x - a) / (b - a) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, count)


def axis(values: Sequence[float], start: float, end: float, log: bool = False, pad: float = 0.05) -> Axis:
    """An axis that holds all values with a little room."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log and low > 0:
        low, high = (low, high) if high > low else (low / 2, high * 2)
        room = (high / low) ** pad
        return Axis(low / room, high * room, start, end, True)
    if not high > low + 1e-12 * max(abs(low), abs(high)):
        low, high = low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2
    return Axis(low - pad * (high - low), high + pad * (high - low), start, end)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2 or 5) between two ends, about `count` of them."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    found = [(first + i) * step for i in range(count + 2)]
    digits = max(0, -math.floor(math.log10(step)))
    return [round(tick, digits) + 0.0 for tick in found if tick <= high + 1e-9 * step]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two ends; with 2 and 5 where there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(tens) > 6:
        return tens[:: math.ceil(len(tens) / 6)]
    if len(tens) >= 3:
        return tens
    return [f * 10.0**p for p in powers for f in (1, 2, 5) if low <= f * 10.0**p <= high] or [low, high]


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about 400 points of a curve: the lowest and highest of each stretch, so that spikes stay."""
    if len(points) <= POINTS:
        return list(points)
    stretch = math.ceil(2 * len(points) / POINTS)
    found: list[tuple[float, float]] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        found += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return found if found[-1] == points[-1] else [*found, points[-1]]


def curves(
    title: str, lines: Sequence[Line], x_label: str, y_label: str, best: float | None = None, shares: bool = False
) -> str:
    """Curves over the training, with axes, grid and a mark at the best epoch; logarithmic where they span a lot."""
    kept = [Line(line.name, line.kind, _finite(line.points)) for line in lines]
    kept = [line for line in kept if line.points]
    if not kept:
        return ""
    ys = [y for line in kept for _, y in line.points]
    log = min(ys) > 0 and max(ys) / min(ys) > 50
    across = axis([x for line in kept for x, _ in line.points], LEFT, WIDTH - RIGHT, pad=0.02)
    up = axis(ys, HEIGHT - BOTTOM, TOP, log)
    parts = [grid_of(across, up, x_label, y_label, shares)]
    if best is not None and across.low <= best <= across.high:
        x = across.place(best)
        parts.append(f'<line class="best" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for line in kept:
        spots = [(across.place(x), up.place(y)) for x, y in thin(line.points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="line {line.kind}" points="{path}"/>')
        if len(spots) <= 40:
            parts += [f'<circle class="dot {line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in spots]
    ends = "; ".join(f"{line.name}: {number(line.points[0][1])} \u2192 {number(line.points[-1][1])}" for line in kept)
    return frame(title, ends, "".join(parts))


def scatter(title: str, pairs: Sequence[tuple[float, float]], x_label: str, y_label: str) -> str:
    """Prediction against truth, with the line where they are equal; both axes alike."""
    found = _finite(pairs)
    if not found:
        return ""
    both = [value for pair in found for value in pair]
    across, up = axis(both, LEFT, LEFT + HEIGHT - BOTTOM - TOP + 60), axis(both, HEIGHT + 60 - BOTTOM, TOP)
    a, b = across.place(across.low), across.place(across.high)
    equal = f'<line class="best" x1="{a:.1f}" y1="{up.place(up.low):.1f}" x2="{b:.1f}" y2="{up.place(up.high):.1f}"/>'
    spots = [f'<circle class="spot" cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="3"/>' for x, y in found]
    grid = grid_of(across, up, x_label, y_label)
    return frame(title, f"{len(found)}", grid + equal + "".join(spots), WIDTH - 120, HEIGHT + 60)


def intervals(title: str, marks: Sequence[Mark], label: str, shown: Sequence[str], shares: bool = False) -> str:
    """Rows of dots with intervals on one axis, in percent for shares; `shown` is the value of each in words."""
    ends = [value for mark in marks for value in (mark.value, mark.low, mark.high) if value is not None]
    if not marks or not all(finite(value) is not None for value in ends):
        return ""
    height = 40 * len(marks) + 46
    longest = max(columns(mark.name) for mark in marks)
    across = axis(ends, min(220, max(144, 8 * longest)), WIDTH - 84, pad=0.06)
    floor = height - 42
    parts = []
    for tick in across.ticks(6):
        x = across.place(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{floor}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{_tick(tick, shares)}</text>'
        )
    for row, (mark, words) in enumerate(zip(marks, shown, strict=True)):
        x, y = across.place(mark.value), 40 * row + 26
        parts.append(f'<text class="row {mark.kind}" x="0" y="{y + 5}">{text(mark.name)}</text>')
        if mark.low is not None and mark.high is not None:
            a, b = across.place(mark.low), across.place(mark.high)
            parts.append(f'<line class="span {mark.kind}" x1="{a:.1f}" x2="{b:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="mark {mark.kind}" cx="{x:.1f}" cy="{y}" r="6"/>')
        parts.append(f'<text class="row {mark.kind}" x="{WIDTH}" y="{y + 5}" text-anchor="end">{text(words)}</text>')
    middle = (across.start + across.end) / 2
    parts.append(f'<text class="tick" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{text(label)}</text>')
    told = "; ".join(f"{mark.name} {words}" for mark, words in zip(marks, shown, strict=True))
    return frame(title, told, "".join(parts), WIDTH, height)


def bars(title: str, rows: Sequence[tuple[str, int]]) -> str:
    """Counts as horizontal bars, names on the left."""
    top = max((count for _, count in rows), default=0)
    if top <= 0:
        return ""
    parts = []
    for place, (name, count) in enumerate(rows):
        y, width = 24 * place + 4, 260 * count / top
        shown = name if len(name) <= 18 else name[:17] + "\u2026"
        parts.append(f'<text class="row" x="132" y="{y + 13}" text-anchor="end">{text(shown)}</text>')
        parts.append(f'<rect class="bar" x="140" y="{y}" width="{max(width, 1):.1f}" height="16" rx="2"/>')
        parts.append(f'<text class="tick" x="{146 + width:.1f}" y="{y + 13}">{count:,}</text>')
    told = "; ".join(f"{name}: {count:,}" for name, count in rows)
    return frame(title, told, "".join(parts), WIDTH, 24 * len(rows) + 8)


def frame(title: str, told: str, inner: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """An SVG picture that scales to its place and says to screen readers what it shows."""
    head = f'<svg role="img" viewBox="0 0 {width} {height}">'
    return f"{head}<title>{text(title)}</title><desc>{text(told)}</desc>{inner}</svg>"


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that can be drawn; numbers beyond 1e300 cannot."""
    found = [(finite(x), finite(y)) for x, y in points]
    return [(x, y) for x, y in found if x is not None and y is not None and abs(x) < 1e300 and abs(y) < 1e300]


def grid_of(across: Axis, up: Axis, x_label: str, y_label: str, shares: bool = False) -> str:
    """Both axes with their ticks and names, and the lines of the grid."""
    parts = []
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(f'<line class="grid" x1="{across.start}" x2="{across.end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{across.start - 7}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick, shares)}</text>'
        )
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{up.start}" y2="{up.start + 5}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{up.start + 19}" text-anchor="middle">{_tick(tick)}</text>')
    parts.append(f'<line class="axis" x1="{across.start}" x2="{across.end}" y1="{up.start}" y2="{up.start}"/>')
    middle, height = (across.start + across.end) / 2, (up.start + up.end) / 2
    parts.append(f'<text class="tick" x="{middle:.0f}" y="{up.start + 38}" text-anchor="middle">{text(x_label)}</text>')
    turned = f'transform="translate(13 {height:.0f}) rotate(-90)"'
    parts.append(f'<text class="tick" {turned} text-anchor="middle">{text(y_label)}</text>')
    return "".join(parts)


def _tick(value: float, shares: bool = False) -> str:
    if shares:
        return f"{100 * value:.10g}\u202f%"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return f"{value:,.10g}"
