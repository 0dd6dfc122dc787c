"""The bytes of `.npy` and `.npz` files: read as NumPy reads them, refused where they lie, bounded in memory."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from netwright.data.files.array_files import Npz, read_npy
from netwright.data.readers.arrays import from_arrays
from netwright.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
Y = np.array([0, 1, 2, 0, 1, 2])


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "dtype", ["<f2", ">f4", "<f8", "i1", ">i2", "<i4", ">i8", "u1", "<u8", "?", "<U3", ">U3", "S3"]
)
@pytest.mark.parametrize("order", "CF")
def test_every_number_type_is_read_as_numpy_reads_it(dtype, order):
    array = np.array((np.arange(24).reshape(2, 3, 4) % 7).astype(dtype), order=order)
    data = npy(array)
    read_back = read_npy(data, "f")
    assert read_back.dtype == array.dtype
    assert np.array_equal(read_back, np.load(io.BytesIO(data), allow_pickle=False))


def header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


BROKEN = {
    "empty": (b"", "no .npy file"),
    "magic only": (b"\x93NUMPY", "no .npy file"),
    "picture": (b"\x89PNG" + bytes(50), "no .npy file"),
    "version": (b"\x93NUMPY\x04\x00" + bytes(50), "version 4.0"),
    "header cut": (npy(X)[:40], "header is broken"),
    "body cut": (npy(X)[:-1], "needs 200 bytes; the file has 199"),
    "body long": (npy(X) + b"\0", "needs 200 bytes; the file has 201"),
    "huge": (
        header("{'descr':'<f8','fortran_order':False,'shape':(4000000000,4000000000)}\n"),
        "needs 128,000,000,000,000,",
    ),
    "negative": (header("{'descr':'<f8','fortran_order':False,'shape':(-1,-8)}\n", bytes(64)), "states shape"),
    "no dictionary": (header("[1]\n"), "header is broken"),
    "code": (
        header("{'descr':__import__('os').system('true'),'fortran_order':False,'shape':()}\n"),
        "header is broken",
    ),
    "nested": (header("(" * 1000), "header is broken"),
    "large header": (header("{'descr':'<f8','fortran_order':False,'shape':()}" + " " * 2_000), "header is broken"),
    "objects": (header("{'descr':'|O','fortran_order':False,'shape':(1,)}\n", b"cos\nsystem\n."), "Python objects"),
    "objects within": (header("{'descr':[('a','|O')],'fortran_order':False,'shape':(1,)}\n", b"."), "Python objects"),
    "void": (header("{'descr':'|V8','fortran_order':False,'shape':(1,)}\n", bytes(8)), "records"),
    "empty text": (header("{'descr':'<U0','fortran_order':False,'shape':(5,)}\n"), "states shape"),
    "unknown type": (header("{'descr':'<q9','fortran_order':False,'shape':(5,)}\n"), "header is broken"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_npy_files_are_refused(case):
    data, reason = BROKEN[case]
    with pytest.raises(DataError, match=reason):
        read_npy(data, "f.npy")


def zipped(method=zipfile.ZIP_STORED, **members: bytes) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return bytearray(stream.getvalue())


def doctored(data: bytearray, field: int, form: str, value: int) -> bytes:
    """`data` with one field of the first entry of its central directory changed."""
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + field, value)
    return bytes(data)


def test_damaged_npz_files_are_refused():
    sound = zipped(x=npy(X), y=npy(Y))
    flipped = bytearray(sound)
    flipped[flipped.index(X.tobytes()) + 5] ^= 1
    second = sound.index(b"PK\x03\x04", 10)
    cases = {
        "File is not a zip file": bytes(sound[:-30]),
        "is no .npz file": b"",
        "Bad CRC-32": bytes(flipped),
        "overlaps its neighbour": doctored(bytearray(sound), 42, "<I", second),
        "no plain .npy file, stored or deflated": doctored(bytearray(sound), 8, "<H", 1),
        "archive states 999": doctored(bytearray(sound), 24, "<I", 999),
    }
    for reason, data in cases.items():
        with pytest.raises(DataError, match=reason):
            Npz(data, "a.npz").read("x")


def test_npz_members_that_numpy_never_writes_are_refused():
    for members, reason in (({}, "0 members"), ({"../x": npy(X)}, "no plain .npy"), ({"a/x": npy(X)}, "no plain .npy")):
        with pytest.raises(DataError, match=reason):
            Npz(bytes(zipped(**members)), "a.npz")
    with pytest.raises(DataError, match="no plain"):
        Npz(bytes(zipped(zipfile.ZIP_LZMA, x=npy(X))), "a.npz")
    twice = bytes(zipped(x=npy(X), z=npy(X))).replace(b"z.npy", b"x.npy")
    with pytest.raises(DataError, match="two members called"):
        Npz(twice, "a.npz")


def test_a_bomb_is_refused_before_it_opens():
    """Two members of 40 MB of zeros each: the first passes, both together are over the budget."""
    zeros = npy(np.zeros(40_000_000, np.uint8))
    data = bytes(zipped(zipfile.ZIP_DEFLATED, x=zeros, y=zeros))
    assert len(data) < 100_000
    tracemalloc.start()
    archive = Npz(data, "a.npz")
    assert len(archive.read("x")) == 40_000_000
    with pytest.raises(DataError, match="over 200 to 1"):
        archive.read("y")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_mutated_files_give_only_data_errors():
    """600 .npz files with bytes flipped, cut, doubled or set; every array accepted is whole."""
    draw = np.random.default_rng(5)
    sound = [zipped(x=npy(X), y=npy(Y)), zipped(zipfile.ZIP_DEFLATED, x=npy(X), y=npy(np.array(["a", "b"] * 3)))]
    refused = 0
    for case in range(600):
        data = bytearray(sound[case % 2])
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(len(data)))
            match draw.integers(4):
                case 0:
                    data[place] ^= 1 << draw.integers(8)
                case 1:
                    del data[place : place + int(draw.integers(1, 30))]
                case 2:
                    data[place:place] = data[place : place + int(draw.integers(1, 30))]
                case _:
                    data[place] = draw.integers(256)
        try:
            archive = Npz(bytes(data), "a.npz")
            found = [archive.read(name) for name in archive.names]
            from_arrays(*found[:2])
        except DataError:
            refused += 1
    assert refused > 400
