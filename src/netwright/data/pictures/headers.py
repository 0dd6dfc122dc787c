"""What a picture file says about itself before anything is decoded: format, size, colour, orientation (rule P6).

Five formats are known: PNG, JPEG, BMP, WebP and GIF. Each is walked here part by part, so that the pixel budget is
checked first and the decoder then gets nothing but the parts that make pixels: colour profiles, comments, compressed
texts, thumbnails and further frames, where most decompression bombs lie, never reach it.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from netwright.language import say

PIXEL_LIMIT = 25_000_000
"""Pixels of one picture (rule P6), checked before memory is taken for them."""
RUN_LENGTH_LIMIT = 4_000_000
"""Pixels of a run-length coded BMP: its decoder walks them one by one."""
SCAN_LIMIT, SCANNED_PIXELS = 100, 600_000_000
"""Scans of a JPEG, and scans times pixels: each scan passes over the whole picture (libjpeg's known time bomb)."""
CHUNK_LIMIT = 200_000
"""Parts of one file; encoders write a few hundred at most."""


class Broken(ValueError):
    """A picture that cannot be read; the text is the reason alone."""


@dataclass
class Header:
    """What is known of a picture before it is decoded."""

    format: str
    width: int
    height: int
    grey: bool = False
    """Every pixel is grey by the file's own word: grey levels, or a palette of greys."""
    orientation: int = 1
    """EXIF orientation, 1 (upright) to 8."""
    oddities: list[str] = field(default_factory=list)
    parts: list[tuple[int, int]] = field(default_factory=list)
    """(start, end) of what the decoder needs; empty: everything."""
    deep: bool = False
    """16 bits a sample."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) once the picture stands upright."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    def pixels_only(self, data: bytes) -> bytes:
        """`data` without all that makes no pixels."""
        return b"".join([data[start:end] for start, end in self.parts]) if self.parts else data


def examine(data: bytes) -> Header:
    """The header of a picture. Errors: Broken with the reason (empty, unknown, damaged, too many pixels)."""
    read = next((read for magic, read in _READERS.items() if data.startswith(magic)), None)
    if read is None or (data[:4] == b"RIFF" and data[8:12] != b"WEBP"):
        raise Broken(_stranger(data))
    try:
        header = read(data)
    except (struct.error, IndexError):
        raise Broken(say("it is cut off")) from None
    if header.width <= 0 or header.height <= 0:
        raise Broken(say("its header states a size of {width}x{height}", width=header.width, height=header.height))
    if header.width * header.height > PIXEL_LIMIT:
        text = say(
            "{width}x{height} pixels; at most {limit} million are read",
            width=header.width, height=header.height, limit=PIXEL_LIMIT // 10**6,
        )  # fmt: skip
        raise Broken(text)
    return header


def looks_like_picture(data: bytes) -> bool:
    """Whether a file begins as a picture of a kind that is read."""
    return any(data.startswith(magic) for magic in _READERS)


def _stranger(data: bytes) -> str:
    """Names what is not read: the kind where it is known."""
    if not data:
        return say("it is empty")
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"svg" in data[:4096].lower():
        kind = "SVG"
    elif data[4:8] == b"ftyp":
        kind = "AVIF" if data[8:11] == b"avi" else "HEIC" if data[8:11] in (b"hei", b"hev", b"mif") else "MP4"
    elif len(data) > 2 and data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        kind = "PNM"
    else:
        kind = next((kind for magic, kind in _STRANGERS.items() if data.startswith(magic)), "")
    if kind:
        return say("{kind} is not read; PNG, JPEG, BMP, WebP and GIF are", kind=kind)
    return say("it is no picture; PNG, JPEG, BMP, WebP and GIF are read")


_STRANGERS = {
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"8BPS": "PSD", b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS", b"%PDF": "PDF", b"\0\0\1\0": "ICO", b"\0\0\2\0": "CUR",
    b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL", b"PK\x03\x04": "ZIP", b"\x1f\x8b": "GZIP", b"gimp xcf": "XCF", b"DDS ": "DDS",
    b"SIMPLE  =": "FITS", b"qoif": "QOI", b"v/1\x01": "OpenEXR", b"#?RADIANCE": "HDR",
}  # fmt: skip


def _exif_orientation(tiff: bytes) -> int:
    """The orientation (tag 274 of the first directory) in an EXIF block; 1 where it is missing or broken."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        place = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", tiff, place)[0]):
            tag, kind, _ = struct.unpack_from(f"{order}HHI", tiff, place + 2 + 12 * entry)
            if tag == 274:
                value = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", tiff, place + 10 + 12 * entry)[0]
                return int(value) if 1 <= value <= 8 else 1
    except (struct.error, KeyError):
        pass  # a broken EXIF block says nothing about the pixels
    return 1


def _is_grey(palette: bytes, stride: int = 3) -> bool:
    return palette[0::stride] == palette[1::stride] == palette[2::stride]


def _png(data: bytes) -> Header:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR" or depth not in _PNG_DEPTHS.get(colour, ()):
        raise Broken(say("its PNG header is broken"))
    header = Header("PNG", width, height, grey=colour in (0, 4), parts=[(0, 8)], deep=depth == 16)
    place, chunks, frames, seen = 8, 0, 0, set()
    while True:
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise Broken(say("it is cut off"))
        chunks += 1
        if chunks > CHUNK_LIMIT or (kind == b"IHDR" and place > 8):
            raise Broken(say("its PNG chunks are broken"))
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Broken(say("the checksum of its {kind!r} chunk is wrong", kind=kind.decode("latin-1")))
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            header.parts.append((place, end))
            seen.add(kind)
        if kind == b"PLTE" and colour == 3:
            header.grey = _is_grey(data[place + 8 : end - 4])
        elif kind == b"eXIf":
            header.orientation = _exif_orientation(data[place + 8 : end - 4])
        elif kind == b"acTL" and length >= 4:
            frames = struct.unpack_from(">I", data, place + 8)[0]
        elif kind == b"IEND":
            break
        place = end
    if b"IDAT" not in seen or (colour == 3 and b"PLTE" not in seen):
        raise Broken(say("its PNG chunks are broken"))
    _note(header, frames > 1)
    return header


_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def _note(header: Header, animated: bool) -> None:
    if animated:
        header.oddities.append(say("animated; the first frame is taken"))
    if header.deep:
        header.oddities.append(say("16 bits a channel; scaled to 8"))


def _jpeg(data: bytes) -> Header:
    header, place = Header("JPEG", 0, 0, parts=[(0, 2)]), 2
    for _ in range(CHUNK_LIMIT):
        if data[place] != 0xFF:
            place = data.find(b"\xff", place) % (len(data) + 1)  # not found: behind the end
        marker = data[place + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + (data[place + 2] << 8) + data[place + 3]
        if marker == 0xD9 or end > len(data) or end < place + 4:
            raise IndexError
        if marker == 0xDA:
            break
        if marker in _JPEG_FRAMES:
            _jpeg_frame(header, data, place)
        elif marker == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0" and header.orientation == 1:
            header.orientation = _exif_orientation(data[place + 10 : end])
        # Of the application segments two say something about pixels: how their colours are coded.
        if marker < 0xE0 or data[place + 4 : place + 9] in (b"JFIF\0", b"Adobe"):
            header.parts.append((place, end))
        place = end
    else:
        raise Broken(say("it has too many parts"))
    header.parts.append((place, len(data)))
    scans = data.count(b"\xff\xda", place) + 1
    if scans > SCAN_LIMIT or scans * header.width * header.height > SCANNED_PIXELS:
        raise Broken(
            say("{count} scans of {width}x{height} pixels", count=scans, width=header.width, height=header.height)
        )
    return header


_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def _jpeg_frame(header: Header, data: bytes, place: int) -> None:
    bits, height, width, layers = struct.unpack_from(">BHHB", data, place + 4)
    if header.width or header.height:
        raise Broken(say("it has two JPEG frames"))
    if bits != 8:
        raise Broken(say("JPEG of {bits} bits a channel is not read", bits=bits))
    header.width, header.height, header.grey = width, height, layers == 1
    if layers == 4:
        header.oddities.append(say("CMYK; turned into RGB"))


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    palette = data[13:place]
    header = Header("GIF", width, height, parts=[(0, place)])
    control: tuple[int, int] | None = None
    blocks = 0
    while data[place] == 0x21:
        end, blocks = _gif_blocks(data, place + 2, blocks)
        if data[place + 1] == 0xF9:
            control = (place, end)
        place = end
    if data[place] != 0x2C:
        raise Broken(say("it holds no picture"))
    left, top, across, down, flags = struct.unpack_from("<4HB", data, place + 1)
    header.width, header.height = max(width, left + across), max(height, top + down)
    body = place + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    header.grey = _is_grey(data[place + 10 : body] or palette)
    end, blocks = _gif_blocks(data, body + 1, blocks)
    header.parts += [*([control] if control else []), (place, end)]
    while end < len(data) and data[end] == 0x21:
        try:
            end, blocks = _gif_blocks(data, end + 2, blocks)
        except IndexError:
            break  # cut off behind the first frame, which is whole
    _note(header, animated=data[end : end + 1] == b"\x2c")
    return header


def _gif_blocks(data: bytes, place: int, blocks: int) -> tuple[int, int]:
    """The end of a row of data blocks. Errors: IndexError where the file ends within."""
    while data[place]:
        place += 1 + data[place]
        blocks += 1
        if blocks > 4 * CHUNK_LIMIT:
            raise Broken(say("it has too many parts"))
    return place + 1, blocks


def _webp(data: bytes) -> Header:
    length, kind = struct.unpack_from("<I4x4s", data, 4)
    if length + 8 > len(data):
        raise Broken(say("it is cut off"))
    header = Header("WEBP", *_webp_size(data, kind))
    place, chunks, frames = 12, 0, 0
    while place + 8 <= length + 8:
        kind, size = struct.unpack_from("<4sI", data, place)
        chunks += 1
        if chunks > CHUNK_LIMIT:
            raise Broken(say("it has too many parts"))
        if kind == b"EXIF":
            header.orientation = _exif_orientation(data[place + 8 : place + 8 + size].removeprefix(b"Exif\0\0"))
        frames += kind == b"ANMF"
        place += 8 + size + size % 2
    _note(header, frames > 1)
    return header


def _webp_size(data: bytes, kind: bytes) -> tuple[int, int]:
    """(width, height) of the canvas, from the first of the three chunks that a WebP file may begin with."""
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16)
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise Broken(say("its WebP header is broken"))


def _bmp(data: bytes) -> Header:
    head = struct.unpack_from("<I", data, 14)[0]
    if head == 12:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
        packing = colours = 0
    else:
        # A negative height is a picture stored from the top row down.
        width, height, _, bits, packing, _, _, _, colours = struct.unpack_from("<2i2H5I", data, 18)
    header = Header("BMP", width, abs(height))
    if packing in (1, 2) and header.width * header.height > RUN_LENGTH_LIMIT:
        text = say(
            "{width}x{height} pixels, run-length coded; at most 4 million are read", width=width, height=abs(height)
        )
        raise Broken(text)
    if bits <= 8:
        stride = 3 if head == 12 else 4
        table = data[14 + head : 14 + head + stride * min(colours or 1 << bits, 256)]
        header.grey = bool(table) and _is_grey(table[: len(table) // stride * stride], stride)
    return header


_READERS: dict[bytes, Callable[[bytes], Header]] = {
    b"\x89PNG\r\n\x1a\n": _png, b"\xff\xd8\xff": _jpeg, b"GIF87a": _gif, b"GIF89a": _gif, b"RIFF": _webp, b"BM": _bmp,
}  # fmt: skip
