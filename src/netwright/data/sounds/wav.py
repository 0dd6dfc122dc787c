"""WAVE files from bytes to one channel of numbers; every length is held against the real size first (rule P6).

RIFF, RIFX (big-endian) and RF64 (64-bit sizes) are read; PCM of 1 to 64 bits, float of 32 and 64 bits, u-law and
A-law. Everything else is refused by its name, and so is a header that does not agree with the file.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Num

from netwright.errors import DataError
from netwright.language import say

SAMPLE_LIMIT = 2**26
"""Numbers of one file, all channels together: 25 minutes of one channel at 44,100 a second."""
LOWEST_RATE, HIGHEST_RATE = 100, 384_000
"""Samples a second; beyond them a header is taken for damaged."""
LOUDEST = 2.0**31
"""The largest float sample: files that hold 32-bit numbers as floats reach it, damage goes far beyond."""
CHUNK_LIMIT = 10_000
"""Chunks of one file; writers make a handful."""
UNKNOWN_SIZE = 2**32 - 1
"""What an RF64 file states in the 32-bit fields that its `ds64` chunk replaces."""

PCM, FLOAT, A_LAW, U_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_OTHER_TAGS = {
    0x0002: "Microsoft ADPCM", 0x0011: "IMA ADPCM", 0x0016: "G.723 ADPCM", 0x0031: "GSM 6.10", 0x0040: "G.721 ADPCM",
    0x0050: "MPEG", 0x0055: "MP3", 0x0092: "AC-3", 0x00FF: "AAC", 0x0161: "WMA", 0x0162: "WMA", 0x0163: "WMA",
    0x2000: "AC-3", 0x674F: "Ogg Vorbis", 0xF1AC: "FLAC",
}  # fmt: skip
_OTHER_FILES = {
    b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF",
    b"caff": "CAF", b".snd": "AU", b"MThd": "MIDI", b"\x1aE\xdf\xa3": "Matroska",
}  # fmt: skip
# The rest of the GUID that follows a format tag in WAVE_FORMAT_EXTENSIBLE; it is written in the file's byte order.
_GUID_REST = {
    "<": b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71",
    ">": b"\x00\x00\x00\x00\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71",
}


class Broken(ValueError):
    """A recording that cannot be read; the text is the reason alone."""


@dataclass(frozen=True)
class Format:
    """What the header of a WAVE file says, checked against the file."""

    tag: int
    """PCM, FLOAT, A_LAW or U_LAW."""
    channels: int
    rate: int
    bits: int
    width: int
    """Bytes of one sample of one channel."""
    order: str
    """`<` or `>`: the order of bytes."""
    start: int
    """Where the samples begin in the file."""
    frames: int
    """Samples of each channel."""

    @property
    def short(self) -> bool:
        """Whether the samples come out as int16."""
        return self.channels == 1 and (self.width == 2 or self.tag in (A_LAW, U_LAW))


@dataclass(frozen=True)
class Wave:
    """One channel: int16 where the file held up to 16 bits in two bytes a sample, u-law or A-law, else float32."""

    samples: Num[np.ndarray, "samples"]
    rate: int


def decode(data: bytes, where: str) -> Wave:
    """The samples of the WAVE file `data`, its channels averaged.

    Formula: a sample of b bytes is a whole number divided by 2^(8b - 1), so that full scale is 1; samples of one byte
    count from 128. int16 stays as it is, full scale being 32768. Errors: DataError naming `where` and the reason.
    """
    try:
        return unpacked(data, examine(data))
    except Broken as error:
        raise DataError(say("{where}: {reason}", where=where, reason=error)) from None


def examine(data: bytes) -> Format:
    """The header of a WAVE file. Errors: Broken with the reason; nothing is allocated before it is checked."""
    order = ">" if data[:4] == b"RIFX" else "<"
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or data[8:12] != b"WAVE":
        raise Broken(_stranger(data))
    chunks = _chunks(data, order, data[:4] in (b"RF64", b"BW64"))
    known: dict[bytes, tuple[int, int]] = {}
    for name, start, size in chunks:
        if name in (b"fmt ", b"data") and name in known:
            raise Broken(say("it holds two {name!r} chunks", name=_shown(name)))
        known[name] = (start, size)
    for name in (b"fmt ", b"data"):
        if name not in known:
            raise Broken(say("it holds no {name!r} chunk", name=_shown(name)))
    start, size = known[b"fmt "]
    return _checked(data[start : start + min(size, 64)], order, *known[b"data"])


def _stranger(data: bytes) -> str:
    if not data:
        return say("it is empty")
    if len(data) < 12 and (data[:4] in (b"RIFF", b"RIFX", b"RF64") or b"RIFF".startswith(data)):
        return say("it ends after {count} bytes; a WAVE header takes 12", count=len(data))
    kind = next((kind for magic, kind in _OTHER_FILES.items() if data.startswith(magic)), "")
    if kind:
        return say("it is a file of the kind {kind}; recordings are read from WAVE files", kind=kind)
    return say("it does not begin as a WAVE file (RIFF ... WAVE)")


def _chunks(data: bytes, order: str, wide: bool) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, size) of each chunk. The size of the whole may be stated too small, as some writers do; a size
    beyond the end of the file means that something is missing."""
    (stated,) = struct.unpack_from(order + "I", data, 4)
    body, data_size, position = int(stated), UNKNOWN_SIZE, 12
    if wide:
        body, data_size, position = _ds64(data)
    if body + 8 > len(data) + 1:  # one byte: the filler behind an odd last chunk is often left out
        raise Broken(say("its header states {stated} bytes, the file has {found}", stated=body + 8, found=len(data)))
    seen = False
    for _ in range(CHUNK_LIMIT):
        if position >= len(data) or (seen and position >= body + 8):
            return
        if position + 8 > len(data):
            raise Broken(say("it ends within the header of a chunk, at byte {place}", place=position))
        name = data[position : position + 4]
        size = int(struct.unpack_from(order + "I", data, position + 4)[0])
        if wide and name == b"data" and size == UNKNOWN_SIZE:
            size = data_size
        left = len(data) - position - 8
        if size > left:
            text = say("its {name!r} chunk states {stated} bytes, {left} are left in the file",
                       name=_shown(name), stated=size, left=left)  # fmt: skip
            raise Broken(text)
        yield name, position + 8, size
        seen = seen or name == b"data"
        position += 8 + size + size % 2
    raise Broken(say("it holds more than {count} chunks", count=CHUNK_LIMIT))


def _ds64(data: bytes) -> tuple[int, int, int]:
    """Size of the whole, size of the samples, and where the next chunk begins, of an RF64 file."""
    if data[12:16] != b"ds64" or len(data) < 48:
        raise Broken(say("it is an RF64 file without its 'ds64' chunk"))
    (size,) = struct.unpack_from("<I", data, 16)
    if size < 28 or size > len(data) - 20:
        text = say("its {name!r} chunk states {stated} bytes, {left} are left in the file",
                   name="ds64", stated=size, left=len(data) - 20)  # fmt: skip
        raise Broken(text)
    body, samples = struct.unpack_from("<QQ", data, 20)
    return int(body), int(samples), 20 + size + size % 2


def _checked(fmt: bytes, order: str, start: int, size: int) -> Format:
    """The format and the samples' place, once all their numbers agree."""
    if len(fmt) < 16:
        raise Broken(say("its 'fmt ' chunk has {count} bytes; at least 16 are needed", count=len(fmt)))
    tag, channels, rate, per_second, frame, bits = struct.unpack_from(order + "HHIIHH", fmt)
    if tag == EXTENSIBLE:
        tag = _subformat(fmt, order)
    if tag not in (PCM, FLOAT, A_LAW, U_LAW):
        name = _OTHER_TAGS.get(tag, say("unknown"))
        text = say("its coding 0x{tag:04X} ({name}) is not read; PCM, float, u-law and A-law are", tag=tag, name=name)
        raise Broken(text)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        text = say("its header states {rate} samples a second; {low} to {high} are read",
                   rate=rate, low=LOWEST_RATE, high=HIGHEST_RATE)  # fmt: skip
        raise Broken(text)
    allowed = {PCM: range(1, 65), FLOAT: (32, 64), A_LAW: (8,), U_LAW: (8,)}[tag]
    if bits not in allowed:
        text = say("its header states {bits} bits a sample; {allowed} are read", bits=bits,
                   allowed="1-64" if tag == PCM else " / ".join(map(str, allowed)))  # fmt: skip
        raise Broken(text)
    width = -(-bits // 8)
    if channels == 0 or frame != channels * width:
        text = say("its header states {frame} bytes for {channels} channels of {bits} bits; {wanted} are needed",
                   frame=frame, channels=channels, bits=bits, wanted=channels * width)  # fmt: skip
        raise Broken(text)
    if per_second != rate * frame:
        text = say("its header states {found} bytes a second; {rate} samples of {frame} bytes make {wanted}",
                   found=per_second, rate=rate, frame=frame, wanted=rate * frame)  # fmt: skip
        raise Broken(text)
    _fits(size, frame, width)
    return Format(tag, channels, rate, bits, width, order, start, size // frame)


def _fits(size: int, frame: int, width: int) -> None:
    if size == 0:
        raise Broken(say("it holds no samples"))
    if size % frame:
        raise Broken(say("its {size} bytes of samples are no whole number of {frame} bytes", size=size, frame=frame))
    if size // width > SAMPLE_LIMIT:
        text = say("it holds {count} samples; at most {limit} are read", count=f"{size // width:,}",
                   limit=f"{SAMPLE_LIMIT:,}")  # fmt: skip
        raise Broken(text)


def _subformat(fmt: bytes, order: str) -> int:
    """The format tag that stands at the beginning of the GUID of WAVE_FORMAT_EXTENSIBLE."""
    if len(fmt) < 40:
        raise Broken(say("its 'fmt ' chunk has {count} bytes; at least {least} are needed", count=len(fmt), least=40))
    extra, valid = struct.unpack_from(order + "HH", fmt, 16)
    (bits,) = struct.unpack_from(order + "H", fmt, 14)
    tag = int(struct.unpack_from(order + "I", fmt, 24)[0])
    if extra < 22 or valid > bits:
        text = say("its 'fmt ' chunk contradicts itself: {extra} bytes of extension, {valid} of {bits} bits used",
                   extra=extra, valid=valid, bits=bits)  # fmt: skip
        raise Broken(text)
    if _GUID_REST[order][2:] != fmt[28:40] or tag > 0xFFFF:
        raise Broken(say("its coding is given by a GUID that is not known: {guid}", guid=fmt[24:40].hex()))
    return tag


def _shown(name: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in name)


def unpacked(data: bytes, form: Format) -> Wave:
    """The samples that `form`, made by `examine` from the same bytes, describes."""
    count = form.frames * form.channels
    raw = np.frombuffer(data, np.uint8, count * form.width, form.start)
    if form.tag in (A_LAW, U_LAW):
        values: np.ndarray = (_a_law() if form.tag == A_LAW else _u_law())[raw]
    elif form.tag == FLOAT:
        values = raw.view(f"{form.order}f{form.width}")
        if not np.isfinite(values).all() or np.abs(values).max() > LOUDEST:
            place = int(np.argmin(np.isfinite(values) & (np.abs(values) <= LOUDEST))) // form.channels
            raise Broken(say("sample {place} is not finite, or beyond 2^31", place=place))
    elif form.width == 1:
        values = (raw.astype(np.float32) - 128) / 128
    elif form.width == 2:
        values = raw.view(f"{form.order}i2").astype(np.int16, copy=False)
    else:
        values = _whole_numbers(raw, form)
    if form.channels > 1:
        scale = 2.0**-15 if values.dtype == np.int16 else 1.0
        values = values.reshape(-1, form.channels).mean(axis=1, dtype=np.float64) * scale
    values = values if values.dtype == np.int16 else values.astype(np.float32)
    return Wave(np.array(values, order="C"), form.rate)  # a copy of its own: the file's bytes can go


def _whole_numbers(raw: np.ndarray, form: Format) -> np.ndarray:
    """PCM of 3 to 8 bytes a sample as fractions of full scale: its bytes are the upper ones of a wider number."""
    wide = 4 if form.width <= 4 else 8
    held = np.zeros((len(raw) // form.width, wide), np.uint8)
    held[:, wide - form.width :] = raw.reshape(-1, form.width)[:, :: 1 if form.order == "<" else -1]
    return held.view(f"<i{wide}")[:, 0] * 2.0 ** (1 - 8 * wide)


def _u_law() -> Int[np.ndarray, "codes"]:
    """The 256 codes of u-law as 16-bit numbers (ITU-T G.711): all bits are stored inverted."""
    code = ~np.arange(256, dtype=np.uint8) & 0xFF
    size = (((code & 0x0F).astype(np.int32) << 3) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _a_law() -> Int[np.ndarray, "codes"]:
    """The 256 codes of A-law as 16-bit numbers (ITU-T G.711): every second bit is stored inverted."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    part, step = (code & 0x0F).astype(np.int32) << 4, ((code >> 4) & 7).astype(np.int32)
    size = np.where(step == 0, part + 8, (part + 264) << np.maximum(step - 1, 0))
    return np.where(code & 0x80, size, -size).astype(np.int16)
