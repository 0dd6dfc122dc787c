"""What pooling is blind to, measured: how much a layer's output changes when the picture is moved, turned or scaled.

Pooling gives some tolerance of small shifts, and little of rotation or scale (E-49); the price is the place, which is
known less exactly the larger the windows are.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import cos, radians, sin
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say

Ways = list[Callable[[Tensor], Tensor]]
AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1))
Pictures = Float[Tensor, "pictures channels height width"]


@dataclass(frozen=True)
class Consistency:
    """Relative changes |f(T x) - f(x)| / |f(x)|, the mean over the pictures; 0 is blind to the change T."""

    shift: dict[int, float]
    """By pixels; the mean over right, left, down and up."""
    rotation: dict[float, float]
    """By degrees about the centre."""
    scale: dict[float, float]
    """By factor about the centre."""
    raw: dict[str, dict[float, float]]
    """The same changes of the picture itself."""
    position_error: float
    """Pixels between a single bright pixel and the centre of the window that answers most, the mean over places."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and tables, keys as text."""
        found: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "raw":
                found[name] = {kind: {f"{key:g}": n for key, n in row.items()} for kind, row in value.items()}
            else:
                found[name] = {f"{key:g}": n for key, n in value.items()} if isinstance(value, dict) else value
        return found

    def __str__(self) -> str:
        rows = [say("change of the picture, of its own numbers, of the output:")]
        kinds = {
            "shift": lambda n: say("{n} pixels", n=n),
            "rotation": lambda n: say("{n} degrees", n=n),
            "scale": lambda n: say("size x {n}", n=n),
        }
        for kind, words in kinds.items():
            for key, value in getattr(self, kind).items():
                rows.append(f"  {words(f'{key:g}'):>16}  {self.raw[kind][key]:6.3f}  {value:6.3f}")
        rows.append(say("place of a single pixel known to {error} pixels", error=f"{self.position_error:.2f}"))
        return "\n".join(rows)


def shift_consistency(
    layer: nn.Module,
    pictures: Pictures,
    *,
    shifts: Sequence[int] = (1, 2, 4),
    angles: Sequence[float] = (5.0, 15.0, 45.0, 90.0),
    scales: Sequence[float] = (0.5, 0.8, 1.25),
) -> Consistency:
    """Measure how much `layer` (from maps to maps or vectors) answers to shifts, rotations and changes of size.

    Rotation and size are bilinear about the centre, with zeros from outside; a shift drops the pixels that leave.
    Errors: UsageError where the pictures are no maps, or all their outputs are 0.
    """
    if pictures.ndim != 4 or not len(pictures):
        text = say(
            "pictures have the shape (pictures, channels, height, width), not {shape}.", shape=tuple(pictures.shape)
        )
        raise UsageError(text)
    ways: dict[str, dict[float, Ways]] = {
        "shift": {n: [partial(shifted, right=n * i, down=n * j) for i, j in AROUND] for n in shifts},
        "rotation": {angle: [partial(turned, degrees=angle, scale=1.0)] for angle in angles},
        "scale": {size: [partial(turned, degrees=0.0, scale=size)] for size in scales},
    }
    mode = layer.training
    layer.eval()
    try:
        with torch.no_grad():
            found = {kind: _changes(layer, pictures, row) for kind, row in ways.items()}
            raw = {kind: _changes(nn.Identity(), pictures, row) for kind, row in ways.items()}
            error = _position_error(layer, pictures)
    finally:
        layer.train(mode)
    return Consistency({int(n): v for n, v in found["shift"].items()}, found["rotation"], found["scale"], raw, error)


def shifted(pictures: Pictures, right: int, down: int) -> Pictures:
    """The pictures moved by whole pixels (left and up where negative), zeros behind them."""
    return F.pad(pictures, (right, -right, down, -down))


def turned(pictures: Pictures, degrees: float, scale: float) -> Pictures:
    """The pictures turned about their centre and made `scale` times as large, bilinear, zeros from outside."""
    height, width = pictures.shape[2:]
    c, s = cos(radians(degrees)) / scale, sin(radians(degrees)) / scale
    matrix = [[c, -s * height / width, 0.0], [s * width / height, c, 0.0]]
    theta = torch.tensor(matrix, dtype=pictures.dtype, device=pictures.device).expand(len(pictures), 2, 3)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


def _changes(layer: nn.Module, pictures: Pictures, row: dict[float, Ways]) -> dict[float, float]:
    """The mean relative change of the output for each entry of `row`."""
    before = layer(pictures)
    sizes = before.flatten(1).norm(dim=1)
    seen = sizes > 0
    if not bool(seen.any()):
        raise UsageError(say("all outputs are 0, so no change of them can be measured."))

    def change(after: Tensor) -> float:
        return float(((after - before).flatten(1).norm(dim=1)[seen] / sizes[seen]).mean())

    return {key: sum(change(layer(way(pictures))) for way in made) / len(made) for key, made in row.items()}


def _position_error(layer: nn.Module, like: Pictures) -> float:
    """Put one bright pixel at each place in turn; where the output is a map, see which cell answers most."""
    channels, height, width = like.shape[1:]
    places = torch.arange(height * width, device=like.device)
    dots = torch.zeros(height * width, 1, height, width, dtype=like.dtype, device=like.device)
    dots.view(height * width, -1)[places, places] = 1
    answer = torch.cat([layer(part.expand(-1, channels, -1, -1)) for part in dots.split(256)])
    base = layer(torch.zeros_like(like[:1]))
    rows, columns = places // width + 0.5, places % width + 0.5
    high, wide = answer.shape[2:] if answer.ndim == 4 else (1, 1)
    strength = (answer - base).abs().flatten(2).sum(1) if answer.ndim == 4 else torch.zeros(len(dots), 1)
    best = strength.to(like.device).argmax(1)
    down, across = (best // wide + 0.5) * height / high, (best % wide + 0.5) * width / wide
    return float(((rows - down) ** 2 + (columns - across) ** 2).sqrt().mean())
