"""`read`: every form of data in memory, names and folders, test sets of their own place, and refusals."""

import json
import tarfile

import narwhals
import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from PIL import Image

import netwright as nw
from netwright.data import held_out
from netwright.errors import DataError, UsageError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3


def pictures(root, counts, size=(6, 5), colour=False, first=0):
    """Class folders of pictures, each of one level of its own."""
    level = first
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for place in range(count):
            shade = RNG.integers(0, 255, (*size, 3) if colour else size).astype(np.uint8)
            shade.flat[0] = level % 256
            Image.fromarray(shade).save(root / name / f"{place}.png")
            level += 1
    return root


# in memory ----------------------------------------------------------------------------------------------------

FORMS = {
    "numpy": (X, Y),
    "tensors": (torch.from_numpy(X), torch.from_numpy(Y)),
    "lists": (X.tolist(), Y.tolist()),
    "tuples": (tuple(map(tuple, X.tolist())), tuple(Y.tolist())),
    "list of tensors": ([torch.from_numpy(row) for row in X], Y),
    "list of arrays": (list(X), list(Y)),
    "one-hot targets": (X, np.eye(3)[Y]),
    "column of targets": (X, Y[:, None]),
    "words": (X, np.array(["0", "1", "2"])[Y]),
    "float targets": (X, Y.astype(float)),
    "float64 views": (X.astype(np.float64)[::-1][::-1], Y[::-1][::-1]),
    "fortran order": (np.asfortranarray(X), Y),
    "big-endian": (X.astype(">f4"), Y.astype(">i2")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_memory_is_the_same_data(form):
    data = nw.read(*FORMS[form])
    assert (data.kind, data.task, data.classes) == ("vector", "classify", ["0", "1", "2"])
    assert data.inputs == {"kind": "vector", "features": 4}
    assert data.outputs == {"kind": "class", "count": 3}
    assert data.examples == {"train": 43, "validation": 5, "test": 12}
    assert data.in_memory
    whole = data.encoder.encode(data.source.examples.take(np.arange(60)))
    expected = nw.read(X, Y)
    torch.testing.assert_close(whole, expected.encoder.encode(torch.from_numpy(X)), rtol=1e-5, atol=1e-6)
    assert data.target_tensor("test").tolist() == expected.target_tensor("test").tolist()


def test_shapes_decide_the_kind_and_a_word_overrules():
    bytes_ = RNG.integers(0, 255, (30, 8, 8)).astype(np.uint8)
    labels = np.arange(30) % 2
    kinds = {
        "grey": nw.read(bytes_, labels), "colour last": nw.read(np.stack([bytes_] * 3, -1), labels),
        "sequence": nw.read(bytes_.astype(np.float32), labels), "numbers": nw.read(X[:30, 0], labels),
        "asked": nw.read(bytes_.astype(np.float32), labels, kind="image"),
        "flat": nw.read(bytes_, labels, kind="vector"),
    }  # fmt: skip
    assert {name: data.inputs for name, data in kinds.items()} == {
        "grey": {"kind": "image", "channels": 1, "height": 8, "width": 8},
        "colour last": {"kind": "image", "channels": 3, "height": 8, "width": 8},
        "sequence": {"kind": "sequence", "steps": 8, "features": 8},
        "numbers": {"kind": "vector", "features": 1},
        "asked": {"kind": "image", "channels": 1, "height": 8, "width": 8},
        "flat": {"kind": "vector", "features": 64},
    }


def test_a_test_set_of_arrays_is_given_and_the_run_remembers_no_arrays(tmp_path):
    data = nw.read(X[:40], Y[:40], x_test=X[40:], y_test=Y[40:], name="mine")
    assert data.examples == {"train": 36, "validation": 4, "test": 20}
    assert data.splits["test"].tolist() == list(range(40, 60))
    assert "x_test" not in data.settings
    json.dumps(data.record(), allow_nan=False)
    run = nw.train(data, "softmax", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.examples == 20
    assert run.evaluate()["metrics"] == run.metrics
    with pytest.raises(UsageError, match="x_test needs y_test exactly if x has y"):
        nw.read(X, Y, x_test=X)


def frame(library):
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["u", "v", "w"])[Y])
    wrapped = {"pandas": lambda: table, "pyarrow": lambda: pyarrow.Table.from_pandas(table)}
    return wrapped.get(library, lambda: narwhals.from_native(table))()


@pytest.mark.parametrize("library", ["pandas", "pyarrow", "narwhals"])
def test_data_frames_name_their_target(library):
    data = nw.read(frame(library), target="kind")
    assert (data.kind, data.task, data.classes) == ("table", "classify", ["u", "v", "w"])
    assert data.in_memory
    with pytest.raises(DataError, match=r"there is no column 'knd'\. Did you mean 'kind'"):
        nw.read(frame(library), target="knd")
    with pytest.raises(DataError, match=r"which column is the target\? Say data\.target=NAME.*a, b, c, d, kind"):
        nw.read(frame(library))
    with pytest.raises(UsageError, match="a data frame names its target column"):
        nw.read(frame(library), Y)
    with pytest.raises(UsageError, match="data has no setting 'x_test'"):
        nw.read(frame(library), target="kind", x_test=X)


def test_a_frame_with_a_column_called_target_needs_no_word():
    data = nw.read(pd.DataFrame({"a": X[:, 0], "target": X[:, 1]}))
    assert data.task == "regress"
    assert data.name == "frame"


WRONG = [
    ((X,), {}, DataError, "holds no targets to train on"),
    ((X, Y[:5]), {}, DataError, "x holds 60 examples, its y 5 targets"),
    ((X[:0], Y[:0]), {}, DataError, "no examples"),
    ((["a", 3], [0, 1]), {}, DataError, r"x\[1\] is int; a text is a string"),
    (([[1, 2], [3]], [0, 1]), {}, DataError, "no array of equal rows"),
    ((object(), Y), {}, DataError, "x holds"),
    ((None, Y), {}, UsageError, "x, and y or not"),
    (({"a": 1}, Y), {}, DataError, "x holds"),
    ((X, Y), {"target": "a"}, UsageError, "names a column"),
    ((X, Y), {"group": "a"}, UsageError, "names a column"),
    ((X, Y), {"tset": 0.1}, UsageError, "has no setting 'tset'"),
    ((X, Y), {"kind": "imgae"}, UsageError, "Did you mean 'image'"),
    ((X, Y), {"test": 0.95}, UsageError, "it lies between 0 and 0.9"),
    ((X, Y), {"test": -1}, UsageError, "it lies between 0 and 0.9"),
    ((X[:1], Y[:1]), {}, DataError, "has one class only"),
    (("iris", Y), {}, UsageError, "targets go with arrays; iris holds its own"),
]


@pytest.mark.parametrize(("given", "more", "error", "words"), WRONG, ids=[w[3] for w in WRONG])
def test_wrong_data_is_refused_in_words(given, more, error, words):
    with pytest.raises(error, match=words) as caught:
        nw.read(*given, **more)
    assert len(str(caught.value).splitlines()) <= 3


def test_numpy_settings_and_paths_are_taken(tmp_path):
    data = nw.read(X, Y, test=np.float64(0.5), limit=np.int64(10), split_seed=np.uint8(3))
    assert data.examples == {"train": 10, "validation": 3, "test": 30}
    assert [type(data.settings[name]) for name in ("test", "limit", "split_seed")] == [float, int, int]


# names and folders ----------------------------------------------------------------------------------------------


def test_an_embedded_name_wins_over_a_folder_and_a_dot_means_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "digits", {"ant": 12, "bee": 12})
    assert len(nw.read("digits").classes) == 10
    here = nw.read("./digits")
    assert here.classes == ["ant", "bee"]
    assert here.settings["path"] == "./digits"
    assert nw.read(tmp_path / "digits").classes == ["ant", "bee"]
    run = nw.train("./digits", "softmax", epochs=1, out="run", quiet=True)
    assert nw.open("run").evaluate()["metrics"] == run.metrics
    assert len(run.predict("./digits")) == 24


def test_what_is_not_there_gets_the_nearest_embedded_name(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        nw.read("digts")
    with pytest.raises(DataError, match="Embedded sets: digits, iris"):
        nw.read("qqqqqq")
    with pytest.raises(UsageError, match=r"has no setting 'nosie'\. Did you mean 'noise'"):
        nw.read("moons", nosie=1)
    with pytest.raises(DataError, match="holds no files"):
        nw.read(tmp_path)
    with pytest.raises(DataError, match="no path"):
        nw.read("")


def test_nothing_and_several_kinds_are_refused_with_the_reason(tmp_path):
    (tmp_path / "one.xyz").write_text("?")
    with pytest.raises(DataError, match=r"1 files \(\.xyz\) are none of the data this version reads"):
        nw.read(tmp_path)
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("1.png", "2.png"):
        Image.new("L", (4, 4)).save(flat / name)
    with pytest.raises(DataError, match="holds 2 pictures but no class folders"):
        nw.read(flat)
    mixed = tmp_path / "mixed"
    pictures(mixed, {"ant": 2, "bee": 2})
    np.savez(mixed / "set.npz", x=X, y=Y)
    with pytest.raises(DataError, match="fits several kinds of data") as caught:
        nw.read(mixed)
    assert "arrays" in str(caught.value)
    assert "class folders" in str(caught.value)


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_a_folder_around_one_archive_means_the_archive(tmp_path, ending):
    inside = pictures(tmp_path / "inside", {"ant": 12, "bee": 12})
    box = tmp_path / "box"
    box.mkdir()
    if ending == "zip":
        import shutil

        shutil.make_archive(str(box / "set"), "zip", inside)
    else:
        with tarfile.open(box / "set.tar.gz", "w:gz") as archive:
            archive.add(inside, "set")
    found = nw.read(box)
    assert found.classes == ["ant", "bee"]
    assert found.fingerprint == nw.read(inside).fingerprint


def test_settings_are_written_in_one_order_with_every_default():
    first = nw.read("moons", noise=0.3, test=0.1)
    again = nw.read(first.settings["path"], **{k: first.settings[k] for k in reversed(first.settings) if k != "path"})
    assert list(again.settings.items()) == list(first.settings.items())
    assert again.fingerprint == first.fingerprint
    assert {"examples", "noise", "made_seed", "normalize", "split_seed"} <= first.settings.keys()


# data.test ----------------------------------------------------------------------------------------------------


def test_a_test_file_of_arrays(tmp_path):
    np.savez(tmp_path / "train.npz", x=X[:40], y=Y[:40])
    np.savez(tmp_path / "later.npz", x=X[40:], y=Y[40:])
    data = nw.read(tmp_path / "train.npz", test=str(tmp_path / "later.npz"))
    assert data.examples == {"train": 36, "validation": 4, "test": 20}
    assert torch.equal(data.source.examples.take(data.splits["test"]), torch.from_numpy(X[40:]))
    assert data.encoder.mean.allclose(torch.from_numpy(X[data.splits["train"]]).double().mean(0))
    assert nw.read(tmp_path / "train.npz", test=tmp_path / "later.npz").fingerprint == data.fingerprint
    memory = nw.read(X[:40], Y[:40], test=str(tmp_path / "later.npz"))
    assert (memory.examples, memory.test_fingerprint) == (data.examples, data.test_fingerprint)
    np.savez(tmp_path / "wide.npz", x=np.ones((5, 7)), y=np.arange(5))
    with pytest.raises(DataError, match=r"examples have shape \[7\], in data\.path \[4\]"):
        nw.read(tmp_path / "train.npz", test=str(tmp_path / "wide.npz"))
    np.savez(tmp_path / "bare.npz", x=X[:4])
    with pytest.raises(DataError, match="both need targets"):
        nw.read(tmp_path / "train.npz", test=str(tmp_path / "bare.npz"))
    with pytest.raises(DataError, match=r"absent\.npz"):
        nw.read(X, Y, test="absent.npz")
    assert nw.read(X[:40], X[:40, 0], test=str(tmp_path / "later.npz"), task="regress").task == "regress"


def test_a_test_file_of_a_table(tmp_path):
    for name, first in (("a.csv", 0), ("b.csv", 40)):
        lines = ["p,q,target"] + [
            f"{X[i, 0]},{X[i, 1]},{'uvw'[Y[i]]}" for i in range(first, first + (40 if not first else 20))
        ]
        (tmp_path / name).write_text("\n".join(lines))
    data = nw.read(tmp_path / "a.csv", test=str(tmp_path / "b.csv"))
    assert data.examples == {"train": 36, "validation": 4, "test": 20}
    assert data.classes == ["u", "v", "w"]
    (tmp_path / "c.csv").write_text("p,target\n1,u\n2,v\n")
    with pytest.raises(DataError, match=r"data\.test: columns differ: q"):
        nw.read(tmp_path / "a.csv", test=str(tmp_path / "c.csv"))
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    with pytest.raises(DataError, match=r"data\.test holds vector examples, data\.path table"):
        nw.read(tmp_path / "a.csv", test=str(tmp_path / "d.npz"))


def test_a_test_folder_of_pictures_gets_their_size_and_colour(tmp_path):
    train = pictures(tmp_path / "train_set", {"ant": 12, "bee": 12})
    later = pictures(tmp_path / "later", {"ant": 3, "bee": 4}, size=(9, 12), colour=True, first=100)
    data = nw.read(train, test=str(later))
    assert data.inputs == {"kind": "image", "channels": 1, "height": 6, "width": 5}
    assert data.examples["test"] == 7
    assert data.ids("test")[0].startswith("ant")
    run = nw.train(data, "softmax", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.examples == 7
    assert nw.open(run.path).evaluate()["metrics"] == run.metrics


def test_a_test_folder_joins_pictures_that_are_decoded_on_demand(tmp_path):
    train = pictures(tmp_path / "many", {"ant": 12, "bee": 12}, size=(220, 220))
    later = pictures(tmp_path / "later", {"ant": 3, "bee": 3}, size=(220, 220), first=100)
    ready = nw.read(train, test=str(later))
    data = nw.read(train, test=str(later), memory=1)
    assert isinstance(data.source.examples, held_out.Joined)
    assert not isinstance(ready.source.examples, held_out.Joined)
    assert data.fingerprint == ready.fingerprint
    mixed = np.array([25, 0, 29, 24, 23, 0])
    assert torch.equal(data.source.examples.take(mixed), ready.source.examples.take(mixed))
    assert len(data.source.examples) == 30


def test_joined_examples_keep_the_order_that_was_asked_for():
    class Counted:
        def __init__(self, first, count):
            self.first, self.count = first, count

        def __len__(self):
            return self.count

        def take(self, positions):
            return torch.as_tensor(np.asarray(positions) + self.first)[:, None]

    joined = held_out.Joined(Counted(0, 5), Counted(5, 4))
    order = [8, 0, 5, 4, 4, 7, 1]
    assert len(joined) == 9
    assert joined.take(order)[:, 0].tolist() == order
    assert joined.take(torch.tensor(order))[:, 0].tolist() == order
    assert joined.take([]).shape == (0, 1)


# what a data set says of itself ---------------------------------------------------------------------------------


def test_a_data_set_shows_itself_as_text_json_and_html():
    labels = np.array(["<b>", "a&b", "c"], object)[Y]
    data = nw.read(X, labels)
    found = data.to_json()
    keys = {"kind", "task", "examples", "inputs", "outputs", "classes", "problems", "fingerprint"}
    assert keys <= found.keys()
    assert found["classes"] == [{"name": name, "count": 20} for name in ("<b>", "a&b", "c")]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "<b> 20" in str(data)
    html = data._repr_html_()
    assert "&lt;b&gt; 20" in html
    assert "<b>" not in html


def test_reading_twice_is_reading_once():
    for path in ("digits", "iris", "diabetes", "spirals"):
        first, second = nw.read(path), nw.read(path)
        assert first.record() == second.record()
        assert first.ids("test") == second.ids("test")


def test_a_frame_over_time_is_continued(tmp_path):
    months = pd.date_range("2000-01-01", periods=150, freq="MS")
    frame = pd.DataFrame({"month": months, "sales": np.arange(150) + 10 * np.sin(np.arange(150) / 2)})
    data = nw.read(frame, task="forecast", target="sales", horizon=3, window=24)
    assert (data.task, data.outputs["count"], data.inputs["steps"]) == ("forecast", 3, 24)
    run = nw.train(data, {"name": "forecaster", "hidden": 4}, epochs=1, out=tmp_path / "run", quiet=True)
    (row,) = run.predict(frame)
    assert len(row["prediction"]) == 3
    with pytest.raises(UsageError, match="no setting 'horizn'"):
        nw.read(frame, task="forecast", horizn=3)
