"""Pictures from strangers: decoded within limits, stood upright, laid on white, fitted to one size (rule P6)."""

import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from netwright.data.files.opening import open_tree
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.pictures.headers import Broken, Header, examine
from netwright.data.source import Problem
from netwright.errors import DataError
from netwright.language import say

FILE_LIMIT = 2**28
"""Bytes of one picture file: 25 million pixels of 16-bit RGBA, not compressed, take 200 million."""
LARGE = 8_000_000
"""Pixels from which on only two pictures are decoded at a time, so that memory stays below 1 GiB."""
SUFFIXES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".bmp": "BMP", ".dib": "BMP",
    ".webp": "WEBP", ".gif": "GIF",
}  # fmt: skip
"""What a picture's name promises. The content decides."""

# Everything that Pillow and its plugins are known to raise for files that are broken.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, AssertionError,
    struct.error, zlib.error, MemoryError, OverflowError, ZeroDivisionError, RuntimeError,
    Image.DecompressionBombError,
)  # fmt: skip
# round(v / 257): 65535 becomes 255, and 0 stays 0.
_TO_8_BITS = np.round(np.arange(65536) / 257).astype(np.uint8)
_large_ones = threading.BoundedSemaphore(2)

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """One decoded picture."""

    pixels: NDArray[np.uint8]
    """(height, width, 1 or 3), upright."""
    oddities: list[str] = field(default_factory=list)
    """What the file had that the pixels have not: further frames, transparency, 16 bits, CMYK, a wrong ending."""


def decode(data: bytes, where: str, least: tuple[int, int] | None = None) -> Picture:
    """The picture in `data`, a PNG, JPEG, BMP, WebP or GIF file (its first frame), whatever its name says.

    One channel where the file holds grey levels or a palette of greys, else RGB. 16 bits are scaled to 8
    (grey: round(v / 257); RGB: the upper byte), transparency is laid on white, CMYK turned into RGB, EXIF
    orientation applied; colour profiles are ignored. `least` (height, width): a JPEG may come smaller, by a
    whole factor, but not below this.
    Errors: DataError naming `where` for files that are empty, broken, of another format or above 25 million pixels.
    """
    try:
        header = examine(data)
        if header.width * header.height < LARGE:
            picture = _decode(data, header, least)
        else:
            with _large_ones:
                picture = _decode(data, header, least)
    except Broken as error:
        raise DataError(f"{where}: {error}") from None
    promised = SUFFIXES.get(suffix(where), "")
    if promised and promised != header.format:
        text = say("named like {promised}, but it is {format}", promised=promised, format=header.format)
        picture.oddities.append(text)
    return picture


def suffix(name: str) -> str:
    """The ending of a file's name, in lower case, with its dot."""
    return os.path.splitext(name)[1].lower()


def _decode(data: bytes, header: Header, least: tuple[int, int] | None) -> Picture:
    try:
        # The header's own limit is below Pillow's, and what makes Pillow warn is not in `pixels_only`.
        with Image.open(BytesIO(header.pixels_only(data)), formats=[header.format]) as image:
            if image.size != (header.width, header.height):
                raise Broken(say("its size is stated in two ways"))
            if least and header.format == "JPEG":
                _shrink(image, header, least)
            image.load()
            pixels, laid_on_white = _channels(image, header)
    except _BROKEN as error:
        if isinstance(error, Broken):
            raise
        raise Broken(_reason(error)) from None
    oddities = [*header.oddities, *([say("transparent; laid on white")] if laid_on_white else [])]
    return Picture(np.ascontiguousarray(_upright(pixels, header.orientation)), oddities)


def _reason(error: BaseException) -> str:
    """Pillow's words, in one line, without the addresses of its objects."""
    if isinstance(error, MemoryError):
        return say("it needs too much memory")
    text = " ".join(str(error).split())
    if not text or "cannot identify image file" in text or " at 0x" in text:
        return say("its content is broken")
    return say("its content is broken ({reason})", reason=printable(text[:120]))


def _shrink(image: Image.Image, header: Header, least: tuple[int, int]) -> None:
    """Let libjpeg decode at a half, quarter or eighth, twice as large as needed so that the filter has its say."""
    height, width = least if header.orientation < 5 else least[::-1]
    scale = max(height / header.height, width / header.width)
    wanted = (max(1, int(2 * scale * header.width)), max(1, int(2 * scale * header.height)))
    if wanted[0] < header.width:
        image.draft(None, wanted)


def _channels(image: Image.Image, header: Header) -> tuple[NDArray[np.uint8], bool]:
    """(height, width, channels) of a loaded image, and whether transparency was laid on white."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.uint16)
        pixels = _TO_8_BITS[levels]
        if isinstance(clear, int):
            pixels[levels == clear] = 255
        return pixels[:, :, None], isinstance(clear, int)
    if header.deep and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    white = False
    if clear is not None or image.mode in ("RGBA", "LA", "PA"):
        image, white = _on_white(image, header)
    mode = "L" if header.grey else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), white


def _on_white(image: Image.Image, header: Header) -> tuple[Image.Image, bool]:
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    extrema = alpha.getextrema()
    # Many BMP writers leave the fourth byte at zero: all clear means that it is no transparency.
    if extrema == (255, 255) or (header.format == "BMP" and extrema == (0, 0)):
        return image, False
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image.convert("RGB"), mask=alpha)
    return flat, True


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo what EXIF says: 2 mirrored, 3 upside down, 4 both, 5 to 8 the same lying on a side."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def fit(picture: Picture, size: tuple[int, int], channels: int) -> UInt8[Tensor, "channels height width"]:
    """The centre of a picture at `size` (height, width): the shorter side resized with antialiasing, the rest cut.

    The largest centred box of the wanted proportions is resized (triangle filter over the whole footprint of an
    output pixel). Grey is L = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); grey becomes RGB by repeating.
    """
    return torch.from_numpy(fit_pixels(picture.pixels, size, channels))


def fit_pixels(pixels: NDArray[np.uint8], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """`fit` for (height, width, channels) arrays; returns (channels, height, width)."""
    height, width, found = pixels.shape
    if (height, width) != size or (found == 3 and channels == 1):
        image = Image.fromarray(pixels if found == 3 else pixels[:, :, 0])
        if found == 3 and channels == 1:
            image = image.convert("L")
        if (height, width) != size:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR, box=_centre(height, width, size))
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] != channels:
        pixels = np.repeat(pixels, channels, axis=2)
    return np.array(pixels.transpose(2, 0, 1), order="C")


def _centre(height: int, width: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) of the largest centred box with the proportions of `size`."""
    scale = min(height / size[0], width / size[1])
    across, down = min(width, size[1] * scale), min(height, size[0] * scale)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, min(width, left + across), min(height, upper + down)


def in_threads(
    files: Iterable[tuple[str, bytes]], work: Callable[[str, bytes], T]
) -> Iterator[tuple[str, T | DataError]]:
    """(name, `work(name, bytes)`) for each file, in order, a few threads at a time; a DataError comes as a value.

    Files are read here and worked on there: Pillow lets go of the interpreter's lock while it decodes. A bounded
    window of files is in memory.
    """

    def each(chunk: list[tuple[str, bytes]]) -> list[tuple[str, T | DataError]]:
        return [(name, _outcome(work, name, data)) for name, data in chunk]

    threads = min(4, os.cpu_count() or 1)
    chunks = _chunks(iter(files))
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        waiting: deque[Future[list[tuple[str, T | DataError]]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(each, chunk))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _outcome(work: Callable[[str, bytes], T], name: str, data: bytes) -> T | DataError:
    try:
        return work(name, data)
    except DataError as error:
        return error


def _chunks(files: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Up to 64 files or 4 MB at a time: small files share the cost of a hand-over, large ones do not pile up."""
    chunk: list[tuple[str, bytes]] = []
    held = 0
    for name, data in files:
        chunk.append((name, data))
        held += len(data)
        if len(chunk) == 64 or held > 2**22:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def decode_files(
    paths: Sequence[str | Path], size: tuple[int, int], channels: int
) -> tuple[UInt8[Tensor, "batch channels height width"], list[str], list[Problem]]:
    """Pictures to predict on: each path is a picture, or a folder or archive of pictures (other files are passed over).

    Returns the fitted pictures, what to call each, and the problems: what could not be read, and where size or
    colour was changed. Errors: DataError where a path is missing or nothing can be read at all.
    """
    found: list[Tensor] = []
    ids: list[str] = []
    tally, problems = Tally(), []
    for path in paths:
        with open_tree(path) as tree:
            for name, outcome in _fitted(tree, size, channels):
                alone = len(tree.entries) == 1 and tree.path.name == name
                where = printable(str(path) if alone else f"{path}/{name}")
                if isinstance(outcome, DataError):
                    tally.add(where, say("unreadable picture"), say("left out"), reason_of(outcome, name))
                    continue
                tensor, changes = outcome
                found.append(tensor)
                ids.append(where)
                for change in changes:
                    tally.add(where, change, say("changed as for the training pictures"))
            problems += tree.problems
    problems += tally.problems()
    if not found:
        reason = f"{problems[0].where}: {problems[0].what}" if problems else ", ".join(map(str, islice(paths, 5)))
        raise DataError(say("no picture could be read: {reason}", reason=printable(reason)))
    return torch.stack(found), ids, problems


def reason_of(error: DataError, name: str) -> str:
    """The reason alone of an error that `decode` raised for `name`."""
    return str(error).removeprefix(f"{printable(name)}: ")


def _fitted(
    tree: Tree, size: tuple[int, int], channels: int
) -> Iterator[tuple[str, tuple[Tensor, list[str]] | DataError]]:
    def work(name: str, data: bytes) -> tuple[Tensor, list[str]]:
        picture = decode(data, printable(name), least=size)
        changes = list(picture.oddities)
        if examine(data).size != size:
            changes.append(say("another size"))
        if picture.pixels.shape[2] != channels:
            changes.append(say("colour made grey") if channels == 1 else say("grey made colour"))
        return fit(picture, size, channels), changes

    single = len(tree.entries) == 1
    files = [entry for entry in tree.entries if single or suffix(entry.name) in SUFFIXES]
    for entry in files:
        if entry.size > FILE_LIMIT:
            yield entry.name, too_large(entry.name)
    yield from in_threads(tree.walk(entry.name for entry in files if entry.size <= FILE_LIMIT), work)


def too_large(name: str) -> DataError:
    """The refusal of a picture file for its length alone."""
    return DataError(say("{where}: it is larger than {limit} bytes", where=printable(name), limit=f"{FILE_LIMIT:,}"))
