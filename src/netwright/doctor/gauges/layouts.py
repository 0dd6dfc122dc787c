"""The layout of pictures (A4): neighbouring pixels are alike, unless the axes were mixed up on the way."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

PICTURES = 64
"""So many pictures are looked at."""
PIXELS = 4_000_000
"""At most so many numbers in all."""
CHANNELS = (1, 2, 3, 4)
"""Usual numbers of channels."""


@dataclass(frozen=True)
class Layout:
    """How rough pictures are in the layout they have, and in the others their numbers could have."""

    given: float
    """Roughness as they stand: 1 is what pixels in random order show."""
    best: float
    best_layout: str
    """`given`, or how to read the same numbers: `N H W C`, `N H C W` (axes), `memory ...` (the order in memory)."""
    ratio: float
    """given / best: 1 where no other layout is smoother."""
    others: dict[str, float]
    last_axis_is_channels: bool
    """Whether the last axis has a usual number of channels and the second has not."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def layout(x: Float[np.ndarray, "examples channels height width"], *, seed: int = 0) -> Layout | None:
    """Roughness of pictures (N, C, H, W) as they stand and in other layouts; None where too little is there to tell.

    Formula: mean |difference of neighbours along height and width| / mean |difference of two random pixels of the same
        picture and channel|
    """
    x = np.asarray(x)
    if x.ndim != 4 or min(x.shape) < 1 or x[0].size < 9:
        return None
    rng = np.random.default_rng(seed)
    most = max(1, min(PICTURES, PIXELS // x[0].size))
    rows = np.sort(rng.choice(len(x), most, replace=False)) if len(x) > most else np.arange(len(x))
    with np.errstate(over="ignore", invalid="ignore"):
        some = np.nan_to_num(x[rows].astype(np.float64), posinf=0.0, neginf=0.0)
    given = roughness(some, rng)
    if given is None:
        return None
    others = {name: found for name, view in _views(some) if (found := roughness(view, rng)) is not None}
    name = min(others, key=lambda other: others[other]) if others else "given"
    best, name = (others[name], name) if others and others[name] < given else (given, "given")
    odd = x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS
    return Layout(given, best, name, given / max(best, 1e-12), others, odd)


def roughness(x: Float[np.ndarray, "examples channels height width"], rng: np.random.Generator) -> float | None:
    """Differences of neighbours over those of random pixels; None for pictures of one colour or under 2 x 2."""
    if min(x.shape[2:]) < 2:
        return None
    flat = x.reshape(len(x), x.shape[1], -1)
    first, second = rng.integers(0, flat.shape[2], (2, 2000))
    usual = float(np.abs(flat[:, :, first] - flat[:, :, second])[:, :, first != second].mean())
    down, across = np.abs(np.diff(x, axis=2)).mean(), np.abs(np.diff(x, axis=3)).mean()
    return float((down + across) / 2 / usual) if usual > 0 else None


def _views(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same numbers read otherwise: axes put in another order, or the row in memory cut otherwise."""
    count, a, b, c = x.shape
    if c in CHANNELS and (a not in CHANNELS or c != a):
        yield "N H W C", x.transpose(0, 3, 1, 2)
        yield "memory N C H W", x.reshape(count, c, a, b)
    if b in CHANNELS and a not in CHANNELS:
        yield "N H C W", x.transpose(0, 2, 1, 3)
    if a > 1:
        yield "memory N H W C", x.reshape(count, b, c, a).transpose(0, 3, 1, 2)
    if b != c:
        yield "memory N C W H", x.reshape(count, a, c, b)
