"""What is found out of one picture file at a time: its header, its pixels, and what is said of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.data.files.tree import printable
from netwright.data.pictures.decode import decode, fit_pixels, reason_of
from netwright.data.pictures.headers import Broken, examine
from netwright.errors import DataError
from netwright.language import say

Event = list[Any]
"""[position, kind, action, detail]: what is said of one file, for a `Tally`."""


@dataclass
class Survey:
    """What headers say of each file: nothing is decoded for it."""

    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Upright (height, width) of each file that is a picture by its header."""
    greys: dict[int, bool] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    done: bool = False

    def look(self, position: int, name: str, data: bytes) -> None:
        try:
            header = examine(data)
        except Broken as error:
            self.events.append(unreadable(position, name, DataError(f"{printable(name)}: {error}")))
            return
        self.sizes[position], self.greys[position] = header.size, header.grey


def unreadable(position: int, name: str, error: DataError) -> Event:
    return [position, say("unreadable picture"), say("left out"), reason_of(error, name)]


def fitted_picture(
    position: int, name: str, data: bytes, size: tuple[int, int], channels: int
) -> tuple[np.ndarray | None, list[Event]]:
    """A fitted picture, or None, and what is said of it."""
    try:
        picture = decode(data, printable(name), least=size)
    except DataError as error:
        return None, [unreadable(position, name, error)]
    said = [[position, oddity, say("kept"), ""] for oddity in picture.oddities]
    return fit_pixels(picture.pixels, size, channels), said
