"""WAVE files: every width and order by hand and against scipy, lies refused by name, hostile bytes survived."""

import struct
import tarfile
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from waves import chunk, extensible, fmt, riff, tone, wav

from netwright.data.sounds import wav as module
from netwright.data.sounds.wav import decode
from netwright.errors import DataError


def test_16_bits_stay_as_they_are():
    found = decode(wav([0, 1, -1, 32767, -32768], 16000), "a.wav")
    assert found.rate == 16000
    assert found.samples.dtype == np.int16
    assert found.samples.tolist() == [0, 1, -1, 32767, -32768]
    found.samples[0] = 5  # its own memory, not the file's bytes


BYTES = [
    (8, "<", bytes([128, 0, 255, 64]), [0, -1, 127 / 128, -0.5]),
    (5, "<", bytes([128, 0, 248]), [0, -1, 15 / 16]),
    (16, ">", b"\x01\x00\xff\xff\x80\x00", [256 / 32768, -1 / 32768, -1]),
    (12, "<", b"\x10\x00\xf0\x7f", [16 / 32768, 32752 / 32768]),
    (24, "<", b"\x01\x00\x00\x00\x00\x80\xff\xff\x7f\x00\x00\x40", [2**-23, -1, 1 - 2**-23, 0.5]),
    (24, ">", b"\x00\x00\x01\x80\x00\x00\x40\x00\x00", [2**-23, -1, 0.5]),
    (20, "<", b"\x10\x00\x00\x00\x00\xc0", [2**-19, -0.5]),
    (32, "<", b"\x00\x00\x00\x40\x00\x00\x00\x80\x00\x01\x00\x00", [0.5, -1, 2**-23]),
    (32, ">", b"\x40\x00\x00\x00\x80\x00\x00\x00", [0.5, -1]),
    (40, "<", b"\x00\x00\x00\x00\x40\x00\x00\x00\x00\x80", [0.5, -1]),
    (56, ">", b"\x40\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00", [0.5, -0.5]),
    (64, "<", b"\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x80", [0.5, -1]),
]


@pytest.mark.parametrize(("bits", "order", "data", "wanted"), BYTES, ids=[f"{b}{o}" for b, o, _, _ in BYTES])
@pytest.mark.parametrize("wide", [False, True], ids=["plain", "extensible"])
def test_whole_numbers_of_every_width(bits, order, data, wanted, wide):
    body = fmt(0xFFFE if wide else 1, bits=bits, order=order, extra=extensible(1, bits, order) if wide else b"")
    raw = riff(chunk(b"fmt ", body, order), chunk(b"data", data, order), magic=b"RIFX" if order == ">" else b"RIFF")
    found = decode(raw, "a.wav").samples
    numbers = found / 32768 if found.dtype == np.int16 else found
    assert (found.dtype == np.int16) == (8 < bits <= 16)
    assert numbers.tolist() == wanted


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", "<>")
def test_floats(bits, order):
    numbers = np.array([0.0, 0.25, -1.0, 1.5], f"{order}f{bits // 8}")
    parts = chunk(b"fmt ", fmt(3, bits=bits, order=order), order), chunk(b"data", numbers.tobytes(), order)
    found = decode(riff(*parts, magic=b"RIFX" if order == ">" else b"RIFF"), "a.wav").samples
    assert found.dtype == np.float32
    assert found.tolist() == [0.0, 0.25, -1.0, 1.5]


def test_channels_are_averaged():
    two = wav([[100, 300], [-1, -2], [32767, 32767]], channels=2)
    found = decode(two, "a.wav").samples
    assert found.dtype == np.float32
    assert (found * 32768).tolist() == [200, -1.5, 32767]
    three = decode(wav([[1.0, 0.0, 0.5]], bits=32, channels=3), "a.wav").samples
    assert three.tolist() == [0.5]


def by_g711(code, a_law):
    """One code of G.711 after the tables of the standard: chords of 16 steps, each chord twice as steep."""
    code ^= 0x55 if a_law else 0xFF
    chord, step = code >> 4 & 7, code & 15
    if a_law:
        size = 16 * step + 8 if chord == 0 else 2 ** (chord - 1) * (16 * step + 8 + 256)
        return size if code & 0x80 else -size
    size = 2**chord * (8 * step + 132) - 132
    return -size if code & 0x80 else size


@pytest.mark.parametrize(
    ("tag", "ends"), [(7, {0x00: -32124, 0x80: 32124, 0xFF: 0}), (6, {0xD5: 8, 0x55: -8, 0xAA: 32256})]
)
def test_u_law_and_a_law(tag, ends):
    raw = riff(chunk(b"fmt ", fmt(tag, bits=8, extra=b"\0\0")), chunk(b"data", bytes(range(256))))
    found = decode(raw, "a.wav").samples.tolist()
    assert found == [by_g711(code, tag == 6) for code in range(256)]
    assert {code: found[code] for code in ends} == ends


def test_odd_chunks_unknown_chunks_and_a_lacking_filler():
    strange = chunk(b"LIST", b"INFOabc"), chunk(b"\x00\xff~~", b"x" * 5), chunk(b"bext", b"")
    head = chunk(b"fmt ", fmt(bits=8))
    data = chunk(b"data", bytes([0, 128, 255]))
    for raw in (
        riff(strange[0], head, *strange[1:], data, chunk(b"id3 ", b"abc")),
        riff(head, chunk(b"data", bytes([0, 128, 255]), filler=False)),
        riff(head, data, size=20),  # stated too small, as some writers do
        riff(head, data) + b"junk behind the end",
    ):
        assert decode(raw, "a.wav").samples.tolist() == [-1, 0, 127 / 128]


def rf64(samples, stated=None, whole=None):
    data = np.asarray(samples, "<i2").tobytes()
    rest = chunk(b"fmt ", fmt()) + chunk(b"data", data, size=0xFFFFFFFF)
    size = 4 + 36 + len(rest) if whole is None else whole
    ds64 = struct.pack("<QQQI", size, len(data) if stated is None else stated, len(samples), 0)
    return riff(chunk(b"ds64", ds64), rest, magic=b"RF64", size=0xFFFFFFFF)


def test_rf64_takes_its_sizes_from_ds64():
    assert decode(rf64([1, 2, 3]), "a.wav").samples.tolist() == [1, 2, 3]
    for raw in (rf64([1, 2, 3], stated=2**40), rf64([1, 2, 3], whole=2**63), rf64([1, 2, 3]).replace(b"ds64", b"ds65")):
        with pytest.raises(DataError, match=r"a\.wav: its|a\.wav: it is an RF64 file without"):
            decode(raw, "a.wav")


def file(form=None, data=b"\0\0\0\0", **how):
    return riff(chunk(b"fmt ", form or fmt(**how)), chunk(b"data", data))


HEAD = chunk(b"fmt ", fmt())
LIES = {
    "it is empty": b"",
    "it ends after 5 bytes": b"RIFF\0",
    "it does not begin as a WAVE file": b"hello, this is no sound at all",
    "of the kind FLAC": b"fLaC" + bytes(40),
    "of the kind MP3": b"ID3" + bytes(40),
    "of the kind AIFF": b"FORM\0\0\0\x10AIFF",
    "no 'fmt ' chunk": riff(chunk(b"data", b"\0\0")),
    "no 'data' chunk": riff(chunk(b"fmt ", fmt())),
    "two 'fmt ' chunks": riff(chunk(b"fmt ", fmt()), chunk(b"fmt ", fmt()), chunk(b"data", b"\0\0")),
    "two 'data' chunks": riff(chunk(b"fmt ", fmt()), chunk(b"data", b"\0\0"), chunk(b"data", b"\0\0")),
    "'data' chunk states 4294967295 bytes, 2 are left": riff(HEAD, chunk(b"data", b"\0\0", size=2**32 - 1)),
    "'data' chunk states 3 bytes, 2 are left": riff(chunk(b"fmt ", fmt()), chunk(b"data", b"\0\0", size=3)),
    "'fmt ' chunk states 4294967280 bytes": riff(chunk(b"fmt ", fmt(), size=2**32 - 16)),
    "header states 1000008 bytes, the file has 46": riff(chunk(b"fmt ", fmt()), chunk(b"data", b"\0\0"), size=10**6),
    "within the header of a chunk": riff(chunk(b"fmt ", fmt()), b"dat"),
    "'fmt ' chunk has 4 bytes": file(b"\1\0\1\0"),
    "states 0 samples a second": file(rate=0),
    "states 4294967295 samples a second": file(rate=2**32 - 1, per_second=0),
    "states 4 bytes for 1 channels of 16 bits; 2 are needed": file(frame=4),
    "states 0 bytes for 0 channels": file(channels=0),
    "states 5 bytes a second; 8000 samples of 2 bytes make 16000": file(per_second=5),
    "states 0 bits": file(bits=0, frame=2),
    "states 65 bits": file(bits=65),
    "states 16 bits a sample; 32 / 64": file(tag=3),
    "0x0055 (MP3)": file(tag=0x55),
    "0x0011 (IMA ADPCM)": file(tag=0x11, bits=4, frame=256),
    "0x1234 (unknown)": file(tag=0x1234),
    "it holds no samples": file(data=b""),
    "3 bytes of samples are no whole number of 2": file(data=b"\0\0\0"),
    "at least 40 are needed": file(fmt(0xFFFE, extra=b"\0\0")),
    "contradicts itself": file(fmt(0xFFFE, extra=extensible(1, 16, valid=17))),
    "GUID that is not known": file(fmt(0xFFFE, extra=extensible(1, 16)[:-1] + b"!")),
    "sample 1 is not finite": wav([0.0, np.nan], bits=32),
    "sample 0 is not finite": wav([[0.0, np.inf]], bits=64, channels=2),
    "sample 2 is not finite, or beyond": wav([0.0, 1.0, 1e30], bits=32),
}  # fmt: skip


@pytest.mark.parametrize("reason", LIES)
def test_lies_are_refused_by_name(reason):
    with pytest.raises(DataError) as caught:
        decode(LIES[reason], "clips/a.wav")
    assert str(caught.value).startswith("clips/a.wav: ")
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_too_many_samples_are_refused_before_memory_is_taken(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_LIMIT", 1000)
    raw = file(data=bytes(2002))
    with pytest.raises(DataError, match="holds 1,001 samples; at most 1,000"):
        decode(raw, "a.wav")
    assert len(decode(file(data=bytes(2000)), "a.wav").samples) == 1000


def test_chunks_without_end_are_refused():
    raw = riff(chunk(b"fmt ", fmt()), *[chunk(b"junk", b"")] * (module.CHUNK_LIMIT + 1))
    with pytest.raises(DataError, match="more than 10000 chunks"):
        decode(raw, "a.wav")


STEREO = chunk(b"fmt ", fmt(0xFFFE, 2, bits=24, extra=extensible(1, 24)))
SMALL = {
    "pcm": wav(tone(seconds=0.003)),
    "float": wav([0.1, -0.2, 0.3], bits=64),
    "wide": riff(STEREO, chunk(b"LIST", b"abc"), chunk(b"data", bytes(range(24)))),
    "rf64": rf64([1, 2, 3]),
}


def survives(raw):
    try:
        found = decode(raw, "a.wav").samples
    except DataError as error:
        return str(error)
    assert np.isfinite(found).all()
    assert 0 < len(found) <= len(raw)
    return ""


@pytest.mark.parametrize("name", SMALL)
def test_every_cut_is_a_wave_or_a_refusal(name):
    raw = SMALL[name]
    assert survives(raw) == ""
    refused = sum(bool(survives(raw[:end])) for end in range(len(raw)))
    assert refused >= len(raw) - 1  # one may lack the filler behind its last chunk


@pytest.mark.parametrize("name", SMALL)
def test_random_bytes_are_a_wave_or_a_refusal_in_bounded_time_and_memory(name):
    draw = np.random.default_rng(0)
    start = time.perf_counter()
    tracemalloc.start()
    outcomes = set()
    for _ in range(2000):
        raw = bytearray(SMALL[name])
        for _ in range(draw.integers(1, 4)):
            raw[draw.integers(min(len(raw), 100))] = draw.integers(256)
        outcomes.add(survives(bytes(raw))[:30])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(outcomes) > 5
    assert time.perf_counter() - start < 20
    assert peak < 2**22


@pytest.fixture(scope="session")
def cases(shared_data):
    with tarfile.open(shared_data / "bad-inputs" / "wav-cases.tar.gz") as archive:
        return {
            member.name.rpartition("/")[2]: archive.extractfile(member).read() for member in archive if member.isfile()
        }


REFUSED = {"early-eof-no-data": "17708 bytes", "early-eof": "17708 bytes", "incomplete-chunk": "17708 bytes",
           "24bit-inconsistent": "4 bytes for 3 channels"}  # fmt: skip


@pytest.mark.shared_data
def test_the_corpus_equals_scipy_or_is_refused(cases, tmp_path):
    from scipy.io import wavfile

    assert len(cases) == 22
    compared = 0
    for name, raw in cases.items():
        reason = next((REFUSED[end] for end in REFUSED if name.endswith(f"{end}.wav")), None)
        if reason:
            with pytest.raises(DataError, match=reason):
                decode(raw, name)
            continue
        found = decode(raw, name)
        if "ulaw" in name:  # which scipy does not read
            assert found.samples.tolist() == [by_g711(code, False) for code in raw[-10:-1]]
            continue
        (tmp_path / "a.wav").write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rate, wanted = wavfile.read(tmp_path / "a.wav")
        scale = {"u": 128.0, "i": 2.0 ** (8 * wanted.itemsize - 1), "f": 1.0}[wanted.dtype.kind]
        wanted = (wanted.astype(np.float64) - (128 if wanted.dtype.kind == "u" else 0)) / scale
        wanted = wanted.mean(axis=1) if wanted.ndim > 1 else wanted
        mine = found.samples / 32768 if found.samples.dtype == np.int16 else found.samples
        assert found.rate == rate
        np.testing.assert_allclose(mine, wanted, atol=1e-7, err_msg=name)
        compared += 1
    assert compared == 17
