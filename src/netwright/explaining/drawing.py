"""A small canvas: the same shapes written as SVG, or painted as PNG.

SVG follows the reader's light or dark colours; PNG has a white ground. All words are escaped.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from netwright.language import columns
from netwright.report.markup import text

Anchor = Literal["start", "middle", "end"]
SCALE = 2
"""Pixels of the PNG for one of the SVG."""
STYLE = (
    ":root{color-scheme:light dark;color:#1f2937}@media(prefers-color-scheme:dark){:root{color:#e5e7eb}}"
    "text{font:12px ui-sans-serif,system-ui,'Segoe UI','Noto Sans','Noto Sans CJK SC','Noto Sans SC','PingFang SC',"
    "'Microsoft YaHei',sans-serif;fill:currentColor;white-space:pre}.weak{opacity:.7}.strong{font-weight:600}"
    ".edge{fill:none;stroke:currentColor;stroke-opacity:.4}.grid{stroke:currentColor;stroke-opacity:.16}"
    ".axis{stroke:currentColor;stroke-opacity:.6}.curve{fill:none;stroke-width:1.8}image{image-rendering:pixelated}"
)
FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "NotoSerifCJK-Regular.ttc",
    "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "msyh.ttc", "simsun.ttc", "PingFang.ttc",
    "STHeiti Light.ttc", "Arial Unicode.ttf",
)  # fmt: skip
"""Fonts with Chinese signs under which systems keep them; Pillow looks for them in the system's own folders."""
PLAIN = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc")
INK, WEAK, FAINT = (31, 41, 55), (98, 106, 118), (215, 218, 223)


@dataclass(frozen=True)
class Words:
    """A line of text at a place; `turned` runs it upwards."""

    x: float
    y: float
    words: str
    anchor: Anchor = "start"
    turned: bool = False
    size: int = 12
    kind: Literal["", "weak", "strong"] = ""


@dataclass(frozen=True)
class Cells:
    """A grid of colours (rows, columns, RGB), stretched over a box, with an edge round it."""

    x: float
    y: float
    wide: float
    high: float
    colours: UInt8[np.ndarray, "rows columns 3"]


@dataclass(frozen=True)
class Box:
    """A filled box."""

    x: float
    y: float
    wide: float
    high: float
    fill: tuple[int, int, int]
    told: str = ""
    """What shows when the pointer rests on it."""
    dark: bool = True
    """Whether words on it are dark, whatever the reader's colours."""


@dataclass(frozen=True)
class Inked:
    """A line of text on a box, in a colour of its own."""

    x: float
    y: float
    words: str
    ink: tuple[int, int, int]
    size: int = 15


@dataclass(frozen=True)
class Path:
    """Joined lines: a curve in a colour, or a line of the axes."""

    points: Sequence[tuple[float, float]]
    kind: Literal["curve", "grid", "axis"]
    colour: tuple[int, int, int] = INK


@dataclass
class Canvas:
    """A picture of some size; what is added later lies on top."""

    wide: float
    high: float
    title: str
    told: str = ""
    shapes: list[Any] = field(default_factory=list)

    def add(self, *shapes: Any) -> None:
        self.shapes += shapes

    def svg(self) -> str:
        """The picture as a file of its own."""
        size = f'width="{self.wide:.0f}" height="{self.high:.0f}" viewBox="0 0 {self.wide:.0f} {self.high:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}><style>{STYLE}</style>'
        inner = "\n".join(_svg(shape) for shape in self.shapes)
        return f"{head}<title>{_plain(self.title)}</title><desc>{_plain(self.told)}</desc>\n{inner}\n</svg>\n"

    def png(self) -> bytes:
        """The picture painted on white."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (round(self.wide * SCALE), round(self.high * SCALE)), "white")
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            _paint(image, pen, shape)
        target = io.BytesIO()
        image.save(target, format="PNG", optimize=True)
        return target.getvalue()


def _plain(words: str) -> str:
    """Text that XML takes: no control characters, no half characters."""
    return text(" ".join(words.splitlines()) if "\n" in words or "\r" in words else words).translate(
        dict.fromkeys((9, 11, 12, 133, 8232, 8233, 65534, 65535), " ")
    )


def _svg(shape: Any) -> str:
    if isinstance(shape, Words):
        place = (
            f'transform="translate({shape.x:.1f} {shape.y:.1f}) rotate(-90)"'
            if shape.turned
            else f'x="{shape.x:.1f}" y="{shape.y:.1f}"'
        )
        kind = f' class="{shape.kind}"' if shape.kind else ""
        anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
        size = f' style="font-size:{shape.size}px"' if shape.size != 12 else ""
        return f"<text{kind} {place}{anchor}{size}>{_plain(shape.words)}</text>"
    if isinstance(shape, Cells):
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.wide:.1f}" height="{shape.high:.1f}"'
        data = base64.b64encode(_small(shape.colours)).decode()
        picture = f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
        return f'{picture}<rect class="edge" {place}/>'
    if isinstance(shape, Box):
        place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.wide:.1f}" height="{shape.high:.1f}"'
        return f'<rect {place} rx="3" fill="{_hex(shape.fill)}"><title>{_plain(shape.told)}</title></rect>'
    if isinstance(shape, Inked):
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" style="font-size:{shape.size}px;fill:{_hex(shape.ink)};'
            f'pointer-events:none">{_plain(shape.words)}</text>'
        )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    colour = f' stroke="{_hex(shape.colour)}"' if shape.kind == "curve" else ""
    return f'<polyline class="{shape.kind}"{colour} points="{points}"/>'


def _small(colours: np.ndarray) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(target, format="PNG", optimize=True)
    return target.getvalue()


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{one:02x}" for one in colour)


# PNG ----------------------------------------------------------------------------------------------------------


def _paint(image: Any, pen: Any, shape: Any) -> None:
    from PIL import Image

    if isinstance(shape, Words):
        _write(image, shape)
    elif isinstance(shape, Inked):
        pen.text(
            (shape.x * SCALE, shape.y * SCALE), shape.words, shape.ink, font_for(shape.words, shape.size), anchor="ls"
        )
    elif isinstance(shape, Cells):
        box = [round(one * SCALE) for one in (shape.x, shape.y, shape.x + shape.wide, shape.y + shape.high)]
        cells = Image.fromarray(np.ascontiguousarray(shape.colours))
        fine = cells.width > box[2] - box[0] or cells.height > box[3] - box[1]
        how = Image.Resampling.BOX if fine else Image.Resampling.NEAREST
        image.paste(cells.resize((max(1, box[2] - box[0]), max(1, box[3] - box[1])), how), box[:2])
        pen.rectangle(box, outline=(165, 170, 178))
    elif isinstance(shape, Box):
        box = [round(one * SCALE) for one in (shape.x, shape.y, shape.x + shape.wide, shape.y + shape.high)]
        pen.rounded_rectangle(box, radius=6, fill=shape.fill)
    else:
        colour = {"grid": FAINT, "axis": WEAK}.get(shape.kind, shape.colour)
        points = [(x * SCALE, y * SCALE) for x, y in shape.points]
        pen.line(points, fill=colour, width=4 if shape.kind == "curve" else 2, joint="curve")


def _write(image: Any, shape: Words) -> None:
    from PIL import Image, ImageDraw

    font = font_for(shape.words, shape.size)
    colour = WEAK if shape.kind == "weak" else INK
    place = (shape.x * SCALE, shape.y * SCALE)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
    bold = 0.6 if shape.kind == "strong" else 0
    if not shape.turned:
        ImageDraw.Draw(image).text(place, shape.words, colour, font, anchor=anchor, stroke_width=bold)
        return
    wide = max(1, round(font.getlength(shape.words)))
    high = 2 * shape.size * SCALE
    strip = Image.new("L", (wide, high))
    ImageDraw.Draw(strip).text((0, round(0.75 * high)), shape.words, 255, font, anchor="ls")
    mask = strip.rotate(90, expand=True)
    along = {"start": wide, "middle": wide / 2, "end": 0}[shape.anchor]
    corner = (round(place[0] - 0.75 * high), round(place[1] - along))
    image.paste(Image.new("RGB", mask.size, colour), corner, mask)


def font_for(words: str, size: int) -> Any:
    """A font of this system that has the signs of some words; Pillow's own where there is none."""
    plain = all(ord(sign) < 0x2000 for sign in words)
    return _font(plain, size * SCALE)


@cache
def _font(plain: bool, pixels: int) -> Any:
    from PIL import ImageFont

    for name in (*PLAIN, *FONTS) if plain else (*FONTS, *PLAIN):
        try:
            return ImageFont.truetype(name, pixels)
        except OSError:  # not on this system
            continue
    return ImageFont.load_default(pixels)


def shows_chinese() -> bool:
    """Whether PNG pictures of this system can show Chinese signs."""
    found = _font(False, 24)
    return str(getattr(found, "path", "")).replace("\\", "/").rpartition("/")[2] in FONTS


def width_of(words: str, size: float = 12) -> float:
    """About how many pixels some words take."""
    return columns(words) * size * 0.56


def cut(words: str, most: int) -> str:
    """Words of at most so many columns, an ellipsis where they were longer."""
    if columns(words) <= most:
        return words
    kept = ""
    for sign in words:
        if columns(kept + sign) > most - 1:
            break
        kept += sign
    return kept + "\u2026"
