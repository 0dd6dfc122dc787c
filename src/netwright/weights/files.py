"""Safetensors files from strangers: opened once, bounded by their own size, with a digest that says which file it was.

The format holds numbers and nothing that runs; the reading is the safetensors library's, which bounds the header
(100 MB) and refuses gaps, overlaps and lengths that lie. What is neither a sound file nor a safe one is refused here.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from netwright.data.files.tree import printable
from netwright.errors import DataError, beside
from netwright.language import say
from netwright.weights.convert import FOREIGN

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x80\x05")


class WeightsFile:
    """An open safetensors file: names, shapes, number types, and one tensor at a time."""

    def __init__(self, path: Path, found: Any, digest: str) -> None:
        self.path, self.digest = path, digest
        self._found = found
        slices = {name: found.get_slice(name) for name in found.keys()}  # noqa: SIM118
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(one.get_shape()) for name, one in slices.items()}

    def tensor(self, name: str) -> Tensor:
        """One tensor, on the CPU."""
        found: Tensor = self._found.get_tensor(name)
        return found


@contextmanager
def opened(path: Path | str) -> Iterator[WeightsFile]:
    """The weights in the safetensors file at `path`, open.

    Errors: DataError where it is missing, no regular file, no sound safetensors file; a pickle checkpoint is refused
    with the command that converts it.
    """
    place, where = Path(path).expanduser(), printable(str(path))
    _require(place, where)
    try:
        with open(place, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with safe_open(place, framework="pt", device="cpu") as found:
            yield WeightsFile(place, found, digest)
    except SafetensorError as error:
        raise DataError(
            say("weights {path}: this is no sound safetensors file: {why}", path=where, why=error)
        ) from None
    except OSError as error:
        raise DataError(say("weights {path} cannot be read: {why}", path=where, why=error.strerror or error)) from None


def _require(place: Path, where: str) -> None:
    try:
        mode = os.stat(place).st_mode
        regular = stat.S_ISREG(mode)
        head = b""
        if regular:
            with open(place, "rb") as file:
                head = file.read(4)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        text = say("weights {path} cannot be read: {why}", path=where, why=why)
        raise DataError(f"{text}. {beside(place)}".removesuffix(". ")) from None
    if not regular:
        raise DataError(say("weights {path}: this is no regular file", path=where))
    if head.startswith(_PICKLES) or (place.suffix.lower() in FOREIGN and place.suffix.lower() != ".safetensors"):
        better = f"{place.name.partition('.')[0] or 'weights'}.safetensors"
        raise DataError(say("{path} is a pickle checkpoint, which could run code; convert it first: "
                            "netwright convert-weights {path} {better}", path=where, better=better))  # fmt: skip
