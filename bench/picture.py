"""The results as a picture (SVG): one panel a work, one bar a side, its length the share of the bare limit's speed."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.works import WORKS

WIDTH, ROW, LABEL, VALUE, GAP = 960, 22, 128, 44, 28
HEAD = 34
COLOURS = {"netwright": "#1c5fb8", "limit": "#565f69", "limit-tuned": "#8a929b"}
PEER = "#c3c8ce"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2125}.t{font-weight:600;font-size:14px}.n{font-size:12px}"
    ".own{font-weight:600;fill:#1c5fb8}.g{stroke:#dfe2e5;stroke-width:1}.w{stroke:#1d2125;stroke-width:1.4}"
)


def picture(found: Mapping[str, Any], mode: str, title: str) -> str:
    """The SVG of one mode."""
    keys = [key for key in found if key in WORKS and WORKS[key].trains and isinstance(found[key], dict)]
    keys = [key for key in keys if mode in found[key]]
    panels, top = [], 58
    across = (WIDTH - 2 * 16 - GAP) / 2
    for first in range(0, len(keys), 2):
        pair = keys[first : first + 2]
        for place, key in enumerate(pair):
            panels.append(panel(key, found[key][mode]["table"], 16 + place * (across + GAP), top, across))
        top += HEAD + ROW * max(len(found[key][mode]["table"]) for key in pair) + GAP
    described = "; ".join(_described(key, found[key][mode]["table"]) for key in keys)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
        'role="img">'
        f"<title>{escape(title)}</title><desc>{escape(described)}</desc><style>{STYLE}</style>"
        f'<rect width="{WIDTH}" height="{top}" fill="#fff"/><text class="t" x="16" y="26">{escape(title)}</text>'
        '<text class="n" x="16" y="44">Bar: share of the bare limit\'s speed, median; line across its end: '
        "interval of the median</text>" + "".join(panels) + "</svg>\n"
    )


def panel(key: str, rows: Sequence[Mapping[str, Any]], left: float, top: float, width: float) -> str:
    """One work."""
    known = [row for row in rows if row["to_limit"]["n"]]
    start, room = left + LABEL, width - LABEL - VALUE
    longest = max([1.0, *(max(row["to_limit"]["median"], row["to_limit"]["high"]) for row in known)])
    scale = room / longest
    parts = [f'<text class="t" x="{left:.0f}" y="{top + 14:.0f}">{key.upper()} {escape(WORKS[key].title)}</text>']
    bottom = top + HEAD - 8 + ROW * len(known)
    for tick in (0.5, 1.0):
        x = start + tick * scale
        parts.append(f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 10:.1f}" y2="{bottom:.1f}"/>')
        parts.append(f'<text class="n" text-anchor="middle" x="{x:.1f}" y="{bottom + 13:.1f}">{tick:g}</text>')
    for number, row in enumerate(known):
        parts.append(bar(row, left, start, top + HEAD - 8 + number * ROW, scale))
    return "".join(parts)


def bar(row: Mapping[str, Any], left: float, start: float, y: float, scale: float) -> str:
    """One side: its name, its bar with the interval, its number."""
    ratio, colour = row["to_limit"], COLOURS.get(row["side"], PEER)
    end, low, high = (start + scale * ratio[name] for name in ("median", "low", "high"))
    own = ' class="own"' if row["side"] == "netwright" else ""
    return (
        f'<text{own} x="{left:.0f}" y="{y + 14:.1f}">{escape(row["side"])}</text>'
        f'<rect x="{start:.1f}" y="{y + 3:.1f}" width="{end - start:.1f}" height="{ROW - 7}" fill="{colour}"/>'
        f'<line class="w" x1="{low:.1f}" x2="{high:.1f}" y1="{y + ROW / 2 - 0.5:.1f}" y2="{y + ROW / 2 - 0.5:.1f}"/>'
        f'<text{own} x="{max(end, high) + 6:.1f}" y="{y + 14:.1f}">{ratio["median"]:.2f}</text>'
    )


def _described(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{key.upper()}: " + ", ".join(f"{row['side']} {row['to_limit']['median']:.2f}" for row in rows)
