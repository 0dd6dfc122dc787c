"""Arrays from `.npz` and `.npy` files and from memory: kinds, targets, splits, and what is refused."""

import numpy as np
import pandas
import pytest
import torch

from netwright.data.files.opening import open_tree
from netwright.data.readers.arrays import arrays, from_arrays, recognises
from netwright.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
Y = np.array([0, 1, 2, 0, 1, 2])


def read(place, **settings):
    tree = open_tree(place)
    assert recognises(tree)
    return arrays(tree, **settings)


def saved(place, **named):
    np.savez(place / "set.npz", **named)
    return place / "set.npz"


# ---- files ----


def test_npz_with_x_and_y(tmp_path):
    source = read(saved(tmp_path, x=X, y=Y))
    assert (source.kind, source.name, source.given, source.problems) == ("vector", "set", {}, [])
    assert np.array_equal(source.examples.tensor.numpy(), X)
    assert source.targets.dtype == np.int64
    assert source.targets.tolist() == Y.tolist()
    assert (source.ids[0], source.ids[5]) == ("x[0]", "x[5]")


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_with_splits(tmp_path, compressed):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", X_train=X[:3], Y_train=Y[:3], x_test=X[4:], y_test=Y[4:], x_val=X[3:4], y_val=Y[3:4])
    source = read(tmp_path / "a.npz")
    assert {split: positions.tolist() for split, positions in source.given.items()} == {
        "train": [0, 1, 2], "validation": [3], "test": [4, 5],
    }  # fmt: skip
    assert np.array_equal(source.examples.tensor.numpy(), X)
    assert source.targets.tolist() == Y.tolist()
    assert [source.ids[0].lower(), source.ids[3], source.ids[5]] == ["x_train[0]", "x_val[0]", "x_test[1]"]


def test_npy_files_in_a_folder(tmp_path):
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
    source = read(tmp_path)
    assert np.array_equal(source.examples.tensor.numpy(), X)
    assert source.targets.tolist() == Y.tolist()


def test_npy_alone_has_no_targets(tmp_path):
    np.save(tmp_path / "measured.npy", X)
    source = read(tmp_path / "measured.npy")
    assert source.targets is None
    assert np.array_equal(source.examples.tensor.numpy(), X)
    assert source.ids[2] == "measured[2]"


def test_npz_opened_as_a_zip_archive_reads_alike(tmp_path):
    """The same bytes under another name: a tree of .npy files."""
    data = saved(tmp_path, x=X, y=Y).read_bytes()
    (tmp_path / "set.zip").write_bytes(data)
    assert np.array_equal(read(tmp_path / "set.zip").examples.tensor.numpy(), X)


def test_arrays_of_unknown_names_are_reported(tmp_path):
    source = read(saved(tmp_path, x=X, y=Y, feature_names=np.array(["a", "b", "c"])))
    assert [(problem.where, problem.action) for problem in source.problems] == [("feature_names", "not used")]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"arr_0": X, "arr_1": Y}, "holds arr_0, arr_1; expected x, y or x_train"),
        ({"y": Y}, "holds y; expected"),
        ({"x": X, "x_test": X, "y": Y, "y_test": Y}, "expected x, y or"),
        ({"x_test": X, "y_test": Y}, "expected x, y or"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "expected x, y or"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "x_test without y_test"),
        ({"x": X, "X": X, "y": Y}, "holds x and X"),
        ({"x": X, "y": Y[:5]}, "x holds 6 examples, its y 5 targets"),
        ({"x": X[:0], "y": Y[:0]}, r"shape \(0, 3\): no examples"),
        ({"x": X, "y": np.array(3)}, "its y 0 targets"),
        ({"x": np.array(3.0)}, r"shape \(\): no examples"),
        ({"x": np.array([["a"]] * 6), "y": Y}, "x holds <U1; examples are numbers"),
        ({"x": X.astype("c8"), "y": Y}, "set.npz:x holds complex numbers"),
        ({"x": X, "y": Y.astype("M8[s]")}, "set.npz:y holds dates"),
        ({"x": X, "y": Y.astype("m8[s]")}, "time spans"),
        ({"x": np.zeros(6, [("a", "f4")]), "y": Y}, "records"),
        ({"x": X, "y": np.array([{}] * 6)}, "Python objects"),
        ({"x": X, "y": np.zeros((6, 2))}, r"y has shape \(6, 2\); expected one target"),
        ({"x": X, "y": np.array([b"\xff"] * 6)}, "not valid Unicode"),
        ({"x": X, "y": np.full(6, 2**63, "u8")}, "below 2"),
        ({"x": np.zeros((2, 3, 4, 5, 6))}, "up to 3 axes"),
        ({"x": np.zeros((2, 5, 5, 4))}, "no set of pictures"),
        ({"x_train": X, "x_test": X[:, :2]}, r"x_test holds float32 examples of shape \(2,\)"),
        ({"x_train": X, "x_test": X.astype(int)}, "x_test holds int64 examples"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": np.array(["a"] * 6)}, "text in one split"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, named, reason):
    with pytest.raises(DataError, match=reason):
        read(saved(tmp_path, **named))


def test_two_sets_in_one_folder_are_refused(tmp_path):
    saved(tmp_path, x=X, y=Y)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match="several sets of arrays"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "weights/layer1.npy"])
def test_other_files_are_not_arrays(tmp_path, name):
    for part in (name, "other.npy"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).write_bytes(b"x")
    assert not recognises(open_tree(tmp_path))


@pytest.mark.shared_data
def test_real_files_with_pickles_are_refused(shared_data, tmp_path):
    import tarfile

    with pytest.raises(DataError, match="Python objects"):
        read(shared_data / "jsb-chorales" / "Jsb16thSeparated.npz")
    with tarfile.open(shared_data / "bad-inputs" / "unsafe-archives.tar.gz") as archive:
        for member in archive:
            if ".np" in member.name:
                place = tmp_path / member.name.split("/")[-1]
                place.write_bytes(archive.extractfile(member).read())
                with pytest.raises(DataError, match="Python objects"):
                    read(place)
    assert len(list(tmp_path.iterdir())) == 5


# ---- kinds and targets ----


@pytest.mark.parametrize(
    ("array", "kind", "shape", "dtype"),
    [
        (np.zeros((4, 8, 6), "u1"), "image", (4, 1, 8, 6), torch.uint8),
        (np.zeros((4, 8, 6), "f8"), "sequence", (4, 8, 6), torch.float64),
        (np.zeros((4, 8, 6), "i2"), "sequence", (4, 8, 6), torch.float32),
        (np.zeros((4, 8, 6, 3), "u1"), "image", (4, 3, 8, 6), torch.uint8),
        (np.zeros((4, 1, 8, 6), "f4"), "image", (4, 1, 8, 6), torch.float32),
        (np.zeros((4, 8, 6, 1), "i8"), "image", (4, 1, 8, 6), torch.uint8),
        (np.full((4, 8, 6, 1), 256), "image", (4, 1, 8, 6), torch.float32),
        (np.zeros((4, 3, 8, 3), "u1"), "image", (4, 3, 8, 3), torch.uint8),
        (np.zeros((4, 5), "?"), "vector", (4, 5), torch.float32),
        (np.zeros((4, 5), "f2"), "vector", (4, 5), torch.float32),
        (np.zeros(4, "i4"), "vector", (4, 1), torch.float64),
    ],
)
def test_the_shape_decides_the_kind(array, kind, shape, dtype):
    source = from_arrays(array)
    assert (source.kind, tuple(source.examples.tensor.shape), source.examples.tensor.dtype) == (kind, shape, dtype)


def test_the_kind_can_be_said():
    x = np.arange(24, dtype="u1").reshape(2, 3, 4)
    assert from_arrays(x, kind="sequence").examples.tensor.tolist() == x.tolist()
    assert from_arrays(x, kind="vector").examples.tensor.tolist() == x.reshape(2, 12).tolist()
    assert from_arrays(x.astype("f4"), kind="image").examples.tensor.tolist() == x[:, None].tolist()
    assert from_arrays(x[:, :, 0], kind="sequence").examples.tensor.shape == (2, 3, 1)
    with pytest.raises(DataError, match="no set of pictures"):
        from_arrays(x[0], kind="image")
    with pytest.raises(DataError, match="no sequence"):
        from_arrays(x[..., None], kind="sequence")
    with pytest.raises(UsageError, match="Did you mean 'image'"):
        from_arrays(x, kind="imgae")


def test_channels_last_are_moved_with_their_pixels():
    x = np.random.default_rng(1).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    tensor = from_arrays(x).examples.tensor
    assert all(tensor[n, c, h, w] == x[n, h, w, c] for n, h, w, c in np.ndindex(*x.shape))


@pytest.mark.parametrize(
    ("y", "expected", "dtype"),
    [
        (np.array([3, -1], "i1"), [3, -1], np.int64),
        (np.array([True, False]), [1, 0], np.int64),
        (np.array([1.0, 2.5], "f4"), [1.0, 2.5], np.float64),
        (np.array([1.0, 2.0]), [1.0, 2.0], np.float64),
        (np.array([[4], [5]]), [4, 5], np.int64),
        (np.array([[0, 1, 0], [0, 0, 1]]), [1, 2], np.int64),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), [1, 0], np.int64),
        (np.array(["über", "猫"]), ["über", "猫"], object),
        (np.array([b"a", b"b"]), ["a", "b"], object),
        (np.array([["a"], ["b"]]), ["a", "b"], object),
        (np.array(["a", "b"], dtype=object), ["a", "b"], object),
        (["a", "b"], ["a", "b"], object),
        ([1, 2], [1, 2], np.int64),
        (torch.tensor([1.5, 2.0], dtype=torch.bfloat16), [1.5, 2.0], np.float64),
        (pandas.Series([7, 8]), [7, 8], np.int64),
    ],
)
def test_targets(y, expected, dtype):
    targets = from_arrays(np.zeros((2, 1)), y).targets
    assert targets.dtype == dtype
    assert targets.tolist() == expected


def test_one_hot_needs_every_row():
    for y in ([[0, 1], [1, 1]], [[0, 0], [1, 0]], [[0, 2], [1, 0]]):
        with pytest.raises(DataError, match="one target an example or one-hot rows"):
            from_arrays(np.zeros((2, 1)), np.array(y))


def test_numbers_that_are_none_are_reported_and_kept():
    x = np.zeros((9, 2))
    x[[1, 3, 4, 5, 6, 8], 0] = np.nan
    x[3, 1] = -np.inf
    source = from_arrays(x, np.array([0.0, np.inf] + [0.0] * 7))
    assert [(problem.where, problem.what) for problem in source.problems] == [
        ("x", "7 values are NaN or infinite, in examples 1, 3, 4, 5, 6, ..."),
        ("y", "1 values are NaN or infinite, in examples 1"),
    ]
    assert torch.equal(source.examples.tensor, torch.from_numpy(x)) is False  # NaN is unequal to itself
    assert np.array_equal(source.examples.tensor.numpy(), x, equal_nan=True)


def test_seconds_since_1970_keep_their_last_digit():
    stamps = 1_700_000_000 + np.arange(4)
    assert from_arrays(stamps).examples.tensor[:, 0].tolist() == stamps.tolist()


def test_memory_takes_tensors_lists_and_a_test_set():
    x = torch.arange(6.0, requires_grad=True).reshape(3, 2)
    source = from_arrays(x, [1, 2, 3], x_test=[[9.0, 9.0]], y_test=[1], name="mine")
    assert source.examples.tensor.tolist() == [[0, 1], [2, 3], [4, 5], [9, 9]]
    assert {split: positions.tolist() for split, positions in source.given.items()} == {"train": [0, 1, 2], "test": [3]}
    assert (source.name, source.ids[3], source.targets.tolist()) == ("mine", "x_test[0]", [1, 2, 3, 1])
    assert from_arrays([torch.zeros(2), torch.ones(2)]).examples.tensor.tolist() == [[0, 0], [1, 1]]


def test_read_only_and_reversed_arrays_are_taken():
    x = np.arange(6.0).reshape(3, 2)[::-1, ::-1]
    x.flags.writeable = False
    assert from_arrays(x).examples.tensor.tolist() == [[5, 4], [3, 2], [1, 0]]


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (([[1, 2], [3]],), DataError, "no array of equal rows"),
        (([object()],), DataError, "Python objects"),
        ((None,), UsageError, "y_test exactly if x has y"),
        (([[1.0]], [1], [[2.0]]), UsageError, "y_test exactly if x has y"),
        (([[1.0]], [1], None, [1]), UsageError, "y_test exactly if x has y"),
        ((pandas.DataFrame({"a": [1]}),), UsageError, "data frame"),
        ((np.ma.masked_equal([[1, 2]], 2),), DataError, "masked"),
        ((torch.zeros(2, 2, dtype=torch.complex64),), DataError, "complex"),
        (([[1.0]], [1, 2]), DataError, "1 examples, its y 2 targets"),
        (([],), DataError, "no examples"),
        ((torch.zeros(0, 3),), DataError, "no examples"),
        ((torch.zeros(3, 0),), DataError, "no examples"),
    ],
)
def test_memory_that_does_not_fit_is_refused(arguments, error, reason):
    x, y, x_test, y_test = (*arguments, None, None, None)[:4]
    with pytest.raises(error, match=reason):
        from_arrays(x, y, x_test=x_test, y_test=y_test)
