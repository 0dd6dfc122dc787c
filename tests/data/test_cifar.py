"""CIFAR batches, binary and Python ones. The real pickle writes files here; it never reads them for the product."""

import pickle
import struct
import tarfile
import time

import numpy as np
import pytest
import torch

from netwright.data.files import plain_pickle
from netwright.data.files.opening import open_tree
from netwright.data.readers.cifar import cifar, recognises
from netwright.errors import DataError, UsageError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE = [f"fine {number}" for number in range(100)]
COARSE = [f"coarse {number}" for number in range(20)]


def read(place, **settings):
    tree = open_tree(place)
    assert recognises(tree)
    return cifar(tree, **settings)


def some_pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def python2(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    """A batch as Python 2 wrote the official files: protocol 2, byte strings, NumPy under its old name."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01"
    array += b"M" + struct.pack("<H", len(pixels)) + b"M\x00\x0c\x86"
    array += (
        b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    )
    array += text(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return (
        b"\x80\x02}q\x00(" + text(b"batch_label") + text(b"one") + text(key) + numbers + text(b"data") + array + b"u."
    )


def meta2(**lists: list[str]) -> bytes:
    """A list of class names as Python 2 wrote it."""
    content = b""
    for key, names in lists.items():
        content += b"U" + bytes([len(key)]) + key.encode() + b"]("
        content += b"".join(b"U" + bytes([len(name)]) + name.encode() for name in names) + b"e"
    return b"\x80\x02}(" + content + b"u."


@pytest.fixture
def binary(tmp_path):
    """CIFAR-10, two training batches of 3 and 2, a test batch of 2."""
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    pixels, labels = some_pixels(7), np.array([6, 9, 0, 4, 1, 9, 3], np.uint8)
    records = np.concatenate([labels[:, None], pixels], axis=1)
    for name, part in (("data_batch_1", records[:3]), ("data_batch_2", records[3:5]), ("test_batch", records[5:])):
        (place / f"{name}.bin").write_bytes(part.tobytes())
    (place / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return place


def test_binary_batches(binary):
    source = read(binary)
    pixels = some_pixels(7)
    assert (source.kind, source.name, source.classes, source.problems) == ("image", "cifar10", NAMES, [])
    assert torch.equal(source.examples.tensor.flatten(1), torch.from_numpy(pixels))
    assert source.targets.tolist() == ["frog", "truck", "airplane", "deer", "automobile", "truck", "cat"]
    assert source.given["train"].tolist() == [0, 1, 2, 3, 4]
    assert source.given["test"].tolist() == [5, 6]
    assert list(source.ids)[2:6] == [
        "data_batch_1.bin[2]",
        "data_batch_2.bin[0]",
        "data_batch_2.bin[1]",
        "test_batch.bin[0]",
    ]


def test_three_planes_red_green_blue(binary):
    """S-059: 3,072 = 3 planes of 1,024, R then G then B, rows of 32."""
    picture = np.zeros(3073, np.uint8)
    picture[1 : 1 + 1024], picture[1 + 1024 : 1 + 2048], picture[1 + 2048 :] = 200, 100, 50
    picture[1 + 1024 + 32 * 5 + 7] = 99
    (binary / "data_batch_1.bin").write_bytes(picture.tobytes())
    first = read(binary).examples.take([0])[0]
    assert first.shape == (3, 32, 32)
    assert first.flatten(1).double().mean(1).tolist() == [200, pytest.approx(100 - 1 / 1024), 50]
    assert first[1, 5, 7] == 99


def test_ten_batches_stand_in_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(bytes([number - 1]) + bytes(3072))
    source = read(tmp_path)
    assert source.targets.tolist() == ["0", "1", "9"]
    assert source.given == {}
    assert [problem.where for problem in source.problems] == [
        "batches.meta.txt",
        *(f"data_batch_{n}" for n in range(3, 10)),
    ]


@pytest.fixture
def hundred(tmp_path):
    """CIFAR-100, binary: 4 training and 2 test pictures, labels coarse then fine."""
    labels = np.array([[19, 99], [0, 5], [3, 50], [3, 7], [1, 1], [0, 99]], np.uint8)
    records = np.concatenate([labels, some_pixels(6)], axis=1)
    (tmp_path / "train.bin").write_bytes(records[:4].tobytes())
    (tmp_path / "test.bin").write_bytes(records[4:].tobytes())
    (tmp_path / "fine_label_names.txt").write_text("\n".join(FINE))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(COARSE))
    return tmp_path


def test_binary_hundred_has_two_sets_of_labels(hundred):
    fine, coarse = read(hundred), read(hundred, labels="coarse")
    assert fine.targets.tolist() == [FINE[label] for label in (99, 5, 50, 7, 1, 99)]
    assert coarse.targets.tolist() == [COARSE[label] for label in (19, 0, 3, 3, 1, 0)]
    assert (fine.classes, coarse.classes) == (FINE, COARSE)
    assert torch.equal(fine.examples.tensor, coarse.examples.tensor)
    assert torch.equal(fine.examples.tensor.flatten(1), torch.from_numpy(some_pixels(6)))


def test_ten_has_no_coarse_labels(binary):
    with pytest.raises(UsageError, match="fine labels only"):
        read(binary, labels="coarse")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("data_batch_1.bin", bytes(3073 * 2 - 1), "6,145 bytes, no whole number of 3,073-byte records"),
        ("data_batch_1.bin", bytes([10]) + bytes(3072), "label 10; there are 10 classes"),
        ("batches.meta.txt", b"cat\ndog\n", "names 2 different classes; expected 10"),
        ("batches.meta.txt", b"cat\n" * 10, "names 1 different classes; expected 10"),
        ("batches.meta.txt", b"\xff\n" * 10, "no class name"),
    ],
)
def test_broken_binary_files_are_refused(binary, name, content, reason):
    (binary / name).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read(binary)
    assert name in str(caught.value)


def test_no_pictures_and_two_sets_are_refused(binary, tmp_path):
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        (binary / name).write_bytes(b"")
    with pytest.raises(DataError, match="no pictures"):
        read(binary)
    (tmp_path / "data_batch_1").write_bytes(python2(some_pixels(1), [0]))
    with pytest.raises(DataError, match="several CIFAR sets"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["train.bin", "train", "test", "data_batch_one.bin", "test_batch.bin.txt"])
def test_everyday_names_are_not_cifar(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 3073)
    assert not recognises(open_tree(tmp_path))


# ---- Python batches ----


def ten_folder(place, write):
    place.mkdir(exist_ok=True)
    (place / "data_batch_1").write_bytes(write(some_pixels(5), [6, 9, 0, 255 % 10, 1]))
    (place / "test_batch").write_bytes(write(some_pixels(2, seed=1), [3, 4]))
    (place / "batches.meta").write_bytes(meta2(label_names=NAMES))
    return place


def python3(protocol, keys=bytes):
    def write(pixels, labels):
        named = {"data": pixels, "labels": labels, "batch_label": "one", "filenames": ["a.png"] * len(labels)}
        return pickle.dumps(
            {keys(key, "ascii") if keys is bytes else key: value for key, value in named.items()}, protocol
        )

    return write


WRITERS = {"python 2": python2} | {
    f"protocol {protocol}, {keys.__name__} keys": python3(protocol, keys)
    for protocol in range(5)
    for keys in (bytes, str)
}


@pytest.mark.parametrize("writer", WRITERS)
def test_python_batches_of_every_age(tmp_path, writer):
    source = read(ten_folder(tmp_path / "cifar-10-batches-py", WRITERS[writer]))
    expected = np.concatenate([some_pixels(5), some_pixels(2, seed=1)])
    assert torch.equal(source.examples.tensor.flatten(1), torch.from_numpy(expected))
    assert source.targets.tolist() == [NAMES[label] for label in (6, 9, 0, 5, 1, 3, 4)]
    assert source.classes == NAMES
    assert source.given["test"].tolist() == [5, 6]
    assert (source.ids[0], source.ids[-1]) == ("data_batch_1[0]", "test_batch[1]")


def test_the_hand_written_python_2_batch_is_what_python_reads_there():
    """The fixture itself: the real unpickler finds the same array in it."""
    found = pickle.loads(python2(some_pixels(300), [1] * 300), encoding="bytes")
    assert np.array_equal(found[b"data"], some_pixels(300))
    assert found[b"labels"] == [1] * 300


def test_python_batches_of_a_hundred(tmp_path):
    table = {b"data": some_pixels(3), b"fine_labels": [99, 0, 5], b"coarse_labels": [19, 0, 3]}
    (tmp_path / "train").write_bytes(pickle.dumps(table, 2))
    (tmp_path / "meta").write_bytes(meta2(fine_label_names=FINE, coarse_label_names=COARSE))
    assert read(tmp_path).targets.tolist() == [FINE[99], FINE[0], FINE[5]]
    assert read(tmp_path, labels="coarse").targets.tolist() == [COARSE[19], COARSE[0], COARSE[3]]


def test_labels_as_an_array_and_columns_first(tmp_path):
    table = {"data": np.asfortranarray(some_pixels(4)), "labels": np.array([1, 2, 3, 4], dtype=">i4")}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(table, 3))
    source = read(tmp_path)
    assert torch.equal(source.examples.tensor.flatten(1), torch.from_numpy(some_pixels(4)))
    assert source.targets.tolist() == ["1", "2", "3", "4"]


def test_batches_in_an_archive(tmp_path):
    folder = ten_folder(tmp_path / "cifar-10-batches-py", python2)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    direct, packed = read(folder), read(tmp_path / "cifar-10-python.tar.gz")
    assert torch.equal(direct.examples.tensor, packed.examples.tensor)
    assert list(direct.ids) == list(packed.ids)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"data": some_pixels(2)}, "expected an array data and labels"),
        ({"labels": [1, 2]}, "expected an array data and labels"),
        ({"data": [1, 2], "labels": [1, 2]}, "expected an array data"),
        ({"data": some_pixels(2), "labels": [1]}, "1 labels for 2 pictures"),
        ({"data": some_pixels(2), "labels": [1, 10]}, "label 10; there are 10"),
        ({"data": some_pixels(2), "labels": [1, -1]}, "label -1 is no class number"),
        ({"data": some_pixels(2), "labels": [1, True]}, "label True is no class"),
        ({"data": some_pixels(2), "labels": [1, "cat"]}, "label 'cat' is no class"),
        ({"data": some_pixels(2)[:, :3071], "labels": [1, 2]}, r"shape \(2, 3071\); expected uint8"),
        ({"data": some_pixels(2).astype("f4"), "labels": [1, 2]}, "data is float32"),
        ({"data": some_pixels(1)[:0], "labels": []}, "needs 0 bytes"),
        ([1, 2], "no dictionary"),
    ],
)
def test_batches_that_are_no_batches(tmp_path, table, reason):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(table, 3))
    with pytest.raises(DataError, match=reason):
        read(tmp_path)


def test_an_array_shorter_than_its_shape_is_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(python2(some_pixels(2), [1, 2]).replace(b"M\x02\x00M", b"M\x03\x00M"))
    with pytest.raises(DataError, match="needs 9,216 bytes; it has 6,144"):
        read(tmp_path)


def test_a_full_batch_is_read_within_seconds():
    """10,000 pictures, 30 MB: 0.2 s on the developers' machine; ten times that is a defect."""
    data = python2(some_pixels(10_000), [7] * 10_000)
    begun = time.monotonic()
    found = plain_pickle.read(data, "f")
    assert time.monotonic() - begun < 5
    assert found[b"data"].data == some_pixels(10_000).tobytes()
    assert len(data) > 30_000_000
