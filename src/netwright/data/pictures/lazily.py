"""Pictures that are too many for memory, where there is no cache to hold them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netwright.data.files.tree import Tree, printable
from netwright.data.pictures.decode import FILE_LIMIT, decode, fit_pixels


@dataclass(frozen=True)
class LazyPictures:
    """Pictures that are too many for memory, where there is no cache: decoded anew each time they are taken."""

    tree: Tree
    names: list[str]
    size: tuple[int, int]
    channels: int
    workers: int = 4

    def __len__(self) -> int:
        return len(self.names)

    def take(self, positions: Any) -> torch.Tensor:
        """The pictures at `positions`, in that order, decoded by a few threads. Errors: DataError where one is gone."""
        chosen = [self.names[int(position)] for position in np.asarray(positions)]
        found = torch.empty((len(chosen), self.channels, *self.size), dtype=torch.uint8)

        def put(place: int) -> None:
            name = chosen[place]
            picture = decode(self.tree.read(name, FILE_LIMIT), printable(name), least=self.size)
            found[place] = torch.from_numpy(fit_pixels(picture.pixels, self.size, self.channels))

        with ThreadPoolExecutor(min(self.workers, max(1, len(chosen))), thread_name_prefix="pictures") as pool:
            list(pool.map(put, range(len(chosen))))
        return found
