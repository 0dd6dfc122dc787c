"""Kernels as pictures: a grid of the weights of a convolution, and the patches that its kernels answer most to."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from netwright.errors import UsageError
from netwright.language import say
from netwright.report import drawing
from netwright.report.markup import number, text

MOST = 64  # kernels in a grid
SLICES = 8  # slices of a kernel's depth beside each other, where depth is neither 1 nor 3 (colours)
TILE, GAP, LABEL = 56, 10, 15  # pixels
LOW, ZERO, HIGH = np.array([33, 102, 172]), np.array([247, 247, 247]), np.array([178, 24, 43])


def kernel_grid(weights: Float[Tensor, "kernels depth high wide"], most: int = MOST, columns: int = 8) -> str:
    """The kernels of a layer as SVG, a tile each: blue below 0, white at 0, red above, on one scale for all.

    Formula: colour(w / max |w|); three channels are red, green and blue, 1/2 + w / (2 max |w|); a deeper kernel shows
    its first 8 slices beside each other

    At most `most` kernels. Errors: UsageError where the weights are not (kernels, depth, height, width).
    """
    if weights.ndim != 4 or not weights.numel():
        text_ = say("kernels are (count, depth, height, width); the shape {shape} came.", shape=tuple(weights.shape))
        raise UsageError(text_)
    shown = weights[:most].double().cpu().numpy()
    finite = np.abs(shown[np.isfinite(shown)])
    scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    strips = 1 if shown.shape[1] in (1, 3) else min(shown.shape[1], SLICES)
    columns = max(1, min(columns // strips, len(shown)))
    across, down = strips * (TILE + 3) - 3 + GAP, TILE * shown.shape[2] / shown.shape[3] + LABEL + GAP
    parts = [
        f'<g transform="translate({place % columns * across} {place // columns * down:.1f})">'
        f"{_tile(one, scale, place)}</g>"
        for place, one in enumerate(shown)
    ]
    title = say("{count} kernels of {high} x {wide}, depth {depth}", count=len(shown), high=shown.shape[2],
                wide=shown.shape[3], depth=shown.shape[1])  # fmt: skip
    told = say("weights from {low} to {high}", low=number(float(shown.min())), high=number(float(shown.max())))
    rows = -(-len(shown) // columns)
    return drawing.frame(title, told, "".join(parts), columns * across - GAP, round(rows * down - GAP))


def _tile(kernel: np.ndarray, scale: float, place: int) -> str:
    """One kernel: cells of 1 x 1, scaled to the tile, with its number below."""
    _, high, wide = kernel.shape
    colours = [_rgb(kernel, scale)] if len(kernel) == 3 else [_signed(one, scale) for one in kernel[:SLICES]]
    ratio = TILE / wide
    found = []
    for strip, cells in enumerate(colours):
        squares = "".join(
            f'<rect x="{column}" y="{row}" width="1" height="1" fill="#{"".join(f"{one:02x}" for one in cell)}"/>'
            for row, line in enumerate(cells.tolist())
            for column, cell in enumerate(line)
        )
        frame = f'<rect class="tile" width="{wide}" height="{high}"/>'
        found.append(f'<g transform="translate({strip * (TILE + 3)} 0) scale({ratio:.3f})">{squares}{frame}</g>')
    ends = f"{number(float(kernel.min()))} \u2026 {number(float(kernel.max()))}"
    below = f'<text class="tick small" x="0" y="{ratio * high + LABEL - 3:.1f}">{place}</text>'
    return f"<title>{text(say('kernel {number}', number=place))}: {ends}</title>{''.join(found)}{below}"


def _signed(weights: np.ndarray, scale: float) -> np.ndarray:
    share = np.clip(np.nan_to_num(weights / scale), -1, 1)[..., None]
    return np.where(share < 0, ZERO + (ZERO - LOW) * share, ZERO + (HIGH - ZERO) * share).round().astype(int)


def _rgb(kernel: np.ndarray, scale: float) -> np.ndarray:
    share = np.clip(np.nan_to_num(kernel / scale), -1, 1)
    return (127.5 + 127.5 * share).round().astype(int).transpose(1, 2, 0)


def patch_rows(rows: Sequence[tuple[int, Sequence[tuple[bytes, str]]]]) -> str:
    """A row of patches for each kernel: its number, then pictures (PNG) with their captions as alternative text."""
    items = []
    for kernel, pictures in rows:
        shown = "".join(
            f'<img alt="{text(told)}" title="{text(told)}" '
            f'src="data:image/png;base64,{base64.b64encode(one).decode()}">'
            for one, told in pictures
        )
        items.append(f"<li><span>{kernel}</span>{shown}</li>")
    return f'<ul class="patches">{"".join(items)}</ul>' if items else ""
