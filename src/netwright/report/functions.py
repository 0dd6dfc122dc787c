"""Activations as a picture (SVG): the function on the left, its derivative on the right, another one dashed."""

from collections.abc import Sequence
from html import escape

from netwright.language import say
from netwright.parts.activations.curves import Curve, Piece, curve
from netwright.report.drawing import Axis, axis, grid_of

WIDE, HIGH, TOP, APART = 420, 340, 62, 30
STYLE = (
    ":root{color-scheme:light dark;--ink:#1d2125;--soft:#565f69;--line:#dfe2e5;--net:#1c5fb8;--second:#a8480a}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e7eaed;--soft:#a5afba;--line:#343a41;--net:#7fb3ff;--second:#ffae66}}"
    "text{font:13px system-ui,sans-serif;fill:var(--ink)}.tick{fill:var(--soft)}.grid{stroke:var(--line)}"
    ".axis{stroke:var(--soft)}.zero{stroke:var(--soft);stroke-opacity:.6}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}"
    ".solid{stroke:var(--net)}.dashed{stroke:var(--second);stroke-dasharray:7 5}"
)


def activation_plot(name: str, beside: str = "", low: float = -7.0, high: float = 7.0) -> str:
    """An activation and its derivative as SVG text, solid; `beside` is another one for comparison, dashed.

    Formula: the points of each line are (x, f(x)) and (x, f'(x)) themselves; a transformation puts them in their place

    AlexNet's figure is `activation_plot("relu", "sigmoid")`. Errors: as `curve`.
    """
    found = [curve(one, low, high) for one in (name, beside) if one]
    wide = 2 * WIDE + APART
    panels = [("f(x)", [one.values for one in found], 0), ("f'(x)", [one.slopes for one in found], WIDE + APART)]
    title = say("{name} and its derivative", name=name)
    if beside:
        title = say("{name} (solid), {other} (dashed), and their derivatives", name=name, other=beside)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HIGH + TOP}" width="{wide}" '
            f'height="{HIGH + TOP}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            *_legend(found),
            *(
                f'<g transform="translate({left} {TOP})">{_panel(label, lines, low, high)}</g>'
                for label, lines, left in panels
            ),
            "</svg>",
        ]
    )


def _legend(found: Sequence[Curve]) -> list[str]:
    parts, left = [], 76
    for one, kind in zip(found, ("solid", "dashed"), strict=False):
        parts.append(f'<line class="line {kind}" x1="{left}" x2="{left + 34}" y1="26" y2="26"/>')
        parts.append(f'<text x="{left + 42}" y="31">{escape(one.name)}</text>')
        left += 70 + 8 * len(one.name)
    return parts


def _panel(label: str, lines: Sequence[list[Piece]], low: float, high: float) -> str:
    across = axis([low, high], 56, WIDE - 8, pad=0.02)
    up = axis([y for pieces in lines for piece in pieces for _, y in piece], HIGH - 44, 4)
    parts = [grid_of(across, up, "x", label), _zero(across, up)]
    x_scale, y_scale = (_slope(one) for one in (across, up))
    place = f"matrix({x_scale!r} 0 0 {y_scale!r} {across.place(0.0)!r} {up.place(0.0)!r})"
    for pieces, kind in reversed(list(zip(lines, ("solid", "dashed"), strict=False))):
        drawn = "".join(
            f'<polyline class="line {kind}" points="{" ".join(f"{x:.12g},{y:.12g}" for x, y in piece)}"/>'
            for piece in pieces
        )
        parts.append(f'<g transform="{place}">{drawn}</g>')
    return "".join(parts)


def _zero(across: Axis, up: Axis) -> str:
    """The line x = 0, where it lies in the picture."""
    if not across.low < 0 < across.high:
        return ""
    x = across.place(0.0)
    return f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{up.start}" y2="{up.end}"/>'


def _slope(one: Axis) -> float:
    """Pixels for a unit."""
    return (one.end - one.start) / (one.high - one.low)
