"""IDX files: every number type, every naming, gzip or not, and what is refused."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
import torch

from netwright.data.files.opening import open_tree
from netwright.data.readers.idx import idx, parse, recognises
from netwright.errors import DataError, UsageError


def squeezed(data, level=9):
    """The same bytes whenever it is asked: no time of day among them, which would be in the names of tests."""
    return gzip.compress(data, level, mtime=0)


CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def packed(array: np.ndarray) -> bytes:
    """An IDX file, written from its definition."""
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([3, 10, 2, 3, 10, 2, 3, 3, 2, 2, 10, 10], dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, pictures, labels):
    """Eight training pictures, gzip; four for testing, plain."""
    place = tmp_path / "small"
    place.mkdir()
    (place / "train-images-idx3-ubyte.gz").write_bytes(squeezed(packed(pictures[:8])))
    (place / "train-labels-idx1-ubyte.gz").write_bytes(squeezed(packed(labels[:8])))
    (place / "t10k-images-idx3-ubyte").write_bytes(packed(pictures[8:]))
    (place / "t10k-labels-idx1-ubyte").write_bytes(packed(labels[8:]))
    return place


def read(place, **settings):
    tree = open_tree(place)
    assert recognises(tree)
    return idx(tree, **settings)


def test_folder_with_both_splits(folder, pictures, labels):
    source = read(folder)
    assert (source.kind, source.name, source.problems) == ("image", "small", [])
    assert torch.equal(source.examples.take(range(12)), torch.from_numpy(pictures)[:, None])
    assert source.classes == ["2", "3", "10"]
    assert source.targets.tolist() == [str(label) for label in labels]
    assert source.given["train"].tolist() == list(range(8))
    assert source.given["test"].tolist() == [8, 9, 10, 11]
    assert [source.ids[0], source.ids[9], source.ids[-1]] == [
        "train-images-idx3-ubyte[0]", "t10k-images-idx3-ubyte[1]", "t10k-images-idx3-ubyte[3]",
    ]  # fmt: skip


def test_a_picture_as_rows_is_the_picture_squeezed(folder, pictures):
    """S-060: (1, H, W) read as H rows of W numbers."""
    assert np.array_equal(read(folder).examples.take([5])[0, 0].numpy(), pictures[5])


def test_ids_are_a_sequence_of_text(folder):
    ids = read(folder).ids
    assert len(ids) == 12
    assert list(ids)[7:9] == ids[7:9] == ["train-images-idx3-ubyte[7]", "t10k-images-idx3-ubyte[0]"]
    assert ids[np.int64(-12)] == ids[0]
    with pytest.raises(IndexError):
        ids[12]
    with pytest.raises(IndexError):
        ids[-13]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("TRAIN-IMAGES-IDX3-UBYTE.GZ", "TRAIN-LABELS-IDX1-UBYTE.GZ"),
        ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
        ("mine-images-idx3-ubyte", "mine-labels-idx1-ubyte"),
        ("images-idx3-ubyte", "labels-idx1-ubyte"),
        ("train-images", "train-labels.gz"),
        ("pixels.idx3-ubyte", "digits.idx1-ubyte"),
        ("train-images-idx3-ubyte/train-images-idx3-ubyte", "train-labels-idx1-ubyte/train-labels-idx1-ubyte"),
    ],
)
def test_one_pair_has_no_given_split(tmp_path, pictures, labels, first, second):
    for name, array in ((first, pictures), (second, labels)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(packed(array))
    source = read(tmp_path)
    assert np.array_equal(source.examples.tensor[:, 0].numpy(), pictures)
    assert source.targets.tolist() == [str(label) for label in labels]
    assert source.given == {}


@pytest.mark.parametrize("name", ["notes.txt", "train-labels.txt", "images.png", "labels.csv", "train.idx"])
def test_other_files_are_not_idx(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert not recognises(open_tree(tmp_path))


def test_pictures_alone_have_no_targets(tmp_path, pictures):
    place = tmp_path / "train-images-idx3-ubyte.gz"
    place.write_bytes(squeezed(packed(pictures)))
    source = read(place)
    assert source.targets is None
    assert source.classes is None
    assert len(source.examples) == 12


@pytest.mark.parametrize("code", CODES)
def test_every_number_type_in_big_endian(code):
    array = (np.random.default_rng(1).normal(0, 50, (6, 3)) % 100).astype(code)
    assert np.array_equal(parse(packed(array), "f"), array)
    assert np.array_equal(parse(squeezed(packed(array)), "f"), array)


def test_two_axes_are_vectors_and_float_labels_are_numbers(tmp_path):
    x = np.random.default_rng(2).normal(size=(7, 3))
    y = np.linspace(-1, 1, 7).astype("f4")
    (tmp_path / "images-idx2-double").write_bytes(packed(x))
    (tmp_path / "labels-idx1-float").write_bytes(packed(y))
    source = read(tmp_path)
    assert source.kind == "vector"
    assert source.examples.tensor.dtype == torch.float64
    assert np.array_equal(source.examples.tensor.numpy(), x)
    assert np.array_equal(source.targets, y.astype(float))
    assert source.classes is None


@pytest.mark.parametrize("shape", [(6, 3, 5, 4), (6, 5, 4, 3)])
def test_four_axes_are_channels(tmp_path, shape):
    array = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "images-idx4-ubyte").write_bytes(packed(array))
    expected = array if shape[1] == 3 else array.transpose(0, 3, 1, 2)
    assert np.array_equal(read(tmp_path).examples.tensor.numpy(), expected)


def test_transpose_turns_pictures(folder, pictures):
    assert np.array_equal(read(folder, transpose=True).examples.tensor[:, 0].numpy(), pictures.transpose(0, 2, 1))


def test_several_sets_need_a_choice(folder, pictures, labels):
    (folder / "kmnist-train-images-idx3-ubyte").write_bytes(packed(pictures))
    (folder / "kmnist-train-labels-idx1-ubyte").write_bytes(packed(labels))
    with pytest.raises(DataError, match=r"several sets .*'kmnist'"):
        read(folder)
    assert len(read(folder, subset="kmnist").examples) == 12
    with pytest.raises(UsageError, match="Did you mean 'kmnist'"):
        read(folder, subset="knist")


def test_the_same_file_twice_is_read_once(folder, pictures):
    (folder / "train-images-idx3-ubyte").write_bytes(packed(pictures[:8]))
    source = read(folder)
    assert len(source.examples) == 12
    assert [problem.where for problem in source.problems] == ["train-images-idx3-ubyte.gz"]


REFUSED = [
    ("t10k-labels-idx1-ubyte", packed(np.zeros(3, "u1")), "3 labels, t10k-images-idx3-ubyte 4 pictures"),
    ("t10k-labels-idx1-ubyte", packed(np.zeros((4, 1), "u1")), "labels have one axis"),
    ("t10k-labels-idx1-ubyte", packed(np.full(4, np.nan)), "NaN"),
    ("t10k-labels-idx1-ubyte", None, "t10k-images-idx3-ubyte is here without its labels"),
    ("t10k-images-idx3-ubyte", None, "t10k-labels-idx1-ubyte is here without its images"),
    ("t10k-images-idx3-ubyte", packed(np.zeros((4, 5, 5), "u1")), r"pictures of \(5, 5\) uint8"),
    ("t10k-images-idx3-ubyte", packed(np.zeros((4, 5, 4), "f4")), "pictures of"),
    ("t10k-images-idx3-ubyte", packed(np.zeros(4, "u1")), "pictures have 3 or 4 axes"),
    ("t10k-images-idx3-ubyte", packed(np.zeros((0, 5, 4), "u1")), "holds nothing"),
    ("t10k-images-idx3-ubyte", packed(np.zeros((4, 5, 4), "u1"))[:-1], "needs 96 bytes; the file has 95"),
    ("t10k-images-idx3-ubyte", packed(np.zeros((4, 5, 4), "u1")) + b"\0", "needs 96 bytes; the file has 97"),
    ("t10k-images-idx3-ubyte", b"", "begins with nothing"),
    ("t10k-images-idx3-ubyte", b"\0\0\x08", "begins with 00 00 08;"),
    ("t10k-images-idx3-ubyte", b"\0\0\x08\3\0\0", "ends within its header"),
    ("t10k-images-idx3-ubyte", b"\0\0\x0a\3" + bytes(12), "begins with 00 00 0a 03"),
    ("t10k-images-idx3-ubyte", b"\x89PNG", "begins with 89 50 4e 47"),
    (
        "t10k-images-idx3-ubyte",
        b"\0\0\x08\3" + b"\xff" * 12,
        "needs 79,228,162,458,924,105,385,300,197,391 bytes; the file has 16",
    ),
    ("t10k-images-idx3-ubyte", squeezed(packed(np.zeros((4, 5, 4), "u1")))[:-3], "cut short"),
    ("t10k-images-idx3-ubyte", squeezed(packed(np.zeros((4, 5, 4), "u1"))) + b"tail", "damaged"),
    ("t10k-images-idx3-ubyte", squeezed(packed(np.zeros((4, 5, 4), "u1")) + b"\0"), "more than the 96 bytes"),
    (
        "t10k-images-idx3-ubyte",
        squeezed(packed(np.zeros((4, 5, 4), "u1"))[:-1]),
        "needs 96 bytes; the file has 95",
    ),
    ("t10k-images-idx3-ubyte", squeezed(b""), "begins with nothing"),
    ("t10k-images-idx3-ubyte", squeezed(b"text " * 500), "begins with 74 65"),
]


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED)
def test_refused_in_one_line_with_the_name(folder, name, content, reason):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert "t10k" in str(caught.value)


def test_flipped_crc_is_found(folder, pictures):
    damaged = bytearray(squeezed(packed(pictures[:8])))
    damaged[-6] ^= 1
    (folder / "train-images-idx3-ubyte.gz").write_bytes(damaged)
    with pytest.raises(DataError, match="incorrect data check"):
        read(folder)


def test_gzip_in_several_members_and_zero_padding(pictures):
    content = packed(pictures)
    parts = [content[start : start + 50] for start in range(0, len(content), 50)]
    assert np.array_equal(parse(b"".join(map(gzip.compress, parts)) + bytes(512), "f"), pictures)


def test_black_pictures_may_be_packed_a_thousandfold():
    black = np.zeros((60_000, 28, 28), np.uint8)
    data = squeezed(packed(black), 9)
    assert len(black.tobytes()) / len(data) > 900
    assert parse(data, "f").shape == black.shape


@pytest.mark.parametrize("honest", [True, False])
def test_a_bomb_is_refused_before_it_opens(honest):
    """150 MB of zeros in 150 kB, once as the header says, once under a header of 16 bytes."""
    size = 150_000_000 if honest else 16
    bomb = squeezed(bytes([0, 0, 8, 2]) + struct.pack(">2I", 1, size) + bytes(150_000_000), 1)
    tracemalloc.start()
    with pytest.raises(DataError, match="over 200 times" if honest else "more than the 28 bytes"):
        parse(bomb, "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def test_mutated_files_give_only_data_errors(pictures):
    """400 files with bytes flipped, cut, doubled or put in; whatever is accepted has the size its header states."""
    draw = np.random.default_rng(7)
    whole = [packed(pictures), squeezed(packed(pictures))]
    refused = 0
    for case in range(400):
        data = bytearray(whole[case % 2])
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(len(data)))
            match draw.integers(4):
                case 0:
                    data[place] ^= 1 << draw.integers(8)
                case 1:
                    del data[place : place + int(draw.integers(1, 40))]
                case 2:
                    data[place:place] = data[place : place + int(draw.integers(1, 40))]
                case _:
                    data[min(place, 15)] = draw.integers(256)
            data = data or bytearray(b"\0")
        try:
            assert parse(bytes(data), "f").size > 0
        except DataError:
            refused += 1
    assert refused > 200


@pytest.mark.shared_data
def test_mnist_and_its_cousin(shared_data):
    for name, first in (("mnist", ["5", "0", "4"]), ("fashion-mnist", ["9", "0", "0"])):
        source = read(shared_data / name)
        assert source.examples.tensor.shape == (70_000, 1, 28, 28)
        assert source.targets[:3].tolist() == first
        assert [len(source.given[split]) for split in ("train", "test")] == [60_000, 10_000]
        assert source.classes == [str(digit) for digit in range(10)]
        if name == "mnist":  # the figure everyone normalises MNIST by
            assert source.examples.tensor[:60_000].float().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)
