"""WAVE files made by hand, field by field, so that each of them can lie."""

import struct

import numpy as np

GUID = b"\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
GUID_BIG = b"\x00\x00\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"


def chunk(name, body, order="<", size=None, filler=True):
    """One chunk; `size` is what it states where that is not the truth."""
    stated = len(body) if size is None else size
    return name + struct.pack(order + "I", stated) + body + (b"\0" if len(body) % 2 and filler else b"")


def fmt(tag=1, channels=1, rate=8000, bits=16, order="<", frame=None, per_second=None, extra=b""):
    """The body of a `fmt ` chunk; `frame` and `per_second` are computed where they are not given."""
    frame = channels * -(-bits // 8) if frame is None else frame
    per_second = rate * frame if per_second is None else per_second
    return struct.pack(order + "HHIIHH", tag, channels, rate, per_second & 0xFFFFFFFF, frame & 0xFFFF, bits) + extra


def extensible(tag, bits, order="<", valid=None):
    """What follows in a `fmt ` chunk of WAVE_FORMAT_EXTENSIBLE."""
    guid = GUID if order == "<" else GUID_BIG
    return struct.pack(order + "HHII", 22, bits if valid is None else valid, 0, tag) + guid


def riff(*chunks, magic=b"RIFF", size=None):
    """A whole file of chunks."""
    body = b"WAVE" + b"".join(chunks)
    order = ">" if magic == b"RIFX" else "<"
    return magic + struct.pack(order + "I", len(body) if size is None else size) + body


def wav(samples, rate=8000, bits=16, channels=1):
    """A plain PCM file of 16 bits, or of floats where `bits` is 32 or 64."""
    tag, kind = (1, "<i2") if bits == 16 else (3, f"<f{bits // 8}")
    data = np.asarray(samples).astype(kind).tobytes()
    return riff(chunk(b"fmt ", fmt(tag, channels, rate, bits)), chunk(b"data", data))


def tone(hz=440.0, seconds=0.1, rate=8000, loud=0.5):
    """A sine as int16."""
    t = np.arange(round(seconds * rate)) / rate
    return np.round(loud * 32767 * np.sin(2 * np.pi * hz * t)).astype(np.int16)
