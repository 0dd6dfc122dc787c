"""Predictions of every accepted form, equal to each other and to what `evaluate` judged; refusals in words."""

import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from PIL import Image

import netwright as nw
from netwright.errors import DataError, UsageError
from netwright.rundir import to_json

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
PICTURES = RNG.integers(0, 256, (60, 6, 5)).astype(np.uint8)
COLOURS = RNG.integers(0, 256, (60, 6, 5, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def trained(home, name, data, network="softmax"):
    return nw.train(data, network, epochs=3, out=home / name, quiet=True)


@pytest.fixture(scope="module")
def vector(home):
    return trained(home, "vector", nw.read(X, np.array(["no", "yes"], object)[Y]))


@pytest.fixture(scope="module")
def grey(home):
    return trained(home, "grey", nw.read(PICTURES, np.arange(60) % 3))


@pytest.fixture(scope="module")
def colour(home):
    return trained(home, "colour", nw.read(COLOURS, np.arange(60) % 3))


@pytest.fixture(scope="module")
def table(home):
    return trained(home, "table", nw.read("iris"))


@pytest.fixture(scope="module")
def numbers(home):
    return trained(home, "numbers", nw.read(X, 1000 + 50 * X[:, 0].astype(float)), "mlp")


def chances(found):
    return np.array([list(one["probabilities"].values()) for one in found])


def same(found, expected):
    np.testing.assert_allclose(chances(found), chances(expected), rtol=1e-5, atol=1e-7)
    return len(found) == len(expected)


# arrays ---------------------------------------------------------------------------------------------------------

ROWS = {
    "lists": X[:5].tolist(),
    "tuples": tuple(map(tuple, X[:5].tolist())),
    "tensor": torch.from_numpy(X[:5]),
    "tensor with a gradient": torch.from_numpy(X[:5].copy()).requires_grad_(),
    "float64": X[:5].astype(np.float64),
    "big-endian": X[:5].astype(">f4"),
    "view": np.concatenate([X[4::-1]])[::-1],
    "fortran": np.asfortranarray(X[:5]),
    "read-only": X[:5],
    "three axes": X[:5].reshape(5, 2, 2),
    "pandas": pd.DataFrame(X[:5]),
    "pyarrow": pyarrow.table({str(n): X[:5, n] for n in range(4)}),
}


@pytest.mark.parametrize("form", ROWS)
def test_every_form_of_rows_gives_the_same_predictions(vector, form):
    item = ROWS[form]
    if form == "read-only":
        item = item.copy()
        item.flags.writeable = False
    expected = vector.predict(X[:5])
    assert same(vector.predict(item), expected)
    assert [one["input"] for one in expected] == [f"[{n}]" for n in range(5)]


def test_one_example_and_none(vector):
    expected = vector.predict(X[:1])
    assert same(vector.predict(X[0]), expected)
    assert same(vector.predict(X[0].tolist()), expected)
    assert vector.predict(X[:0]) == []
    assert same(vector.predict(X[:2], X[2], X[3:5]), vector.predict(X[:5]))


def test_probabilities_are_by_class_and_sum_to_1(vector):
    [found] = vector.predict(X[7])
    assert list(found["probabilities"]) == ["no", "yes"]
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    assert found["prediction"] == max(found["probabilities"], key=found["probabilities"].__getitem__)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.uint16, np.int8])
def test_every_shape_and_type_of_pictures(grey, dtype):
    few = (PICTURES[:4] % 100).astype(dtype)
    expected = grey.predict(few.astype(np.uint8))
    for shape in (few, few[:, None], few[..., None], torch.from_numpy(few), few.tolist(), few[:, ::1]):
        assert same(grey.predict(shape), expected)
    for one in (few[0], few[0][None], few[0][..., None], few[0][None, None]):
        assert same(grey.predict(one), expected[:1])


def test_colours_first_or_last(colour):
    expected = colour.predict(COLOURS[:4])
    assert same(colour.predict(np.moveaxis(COLOURS[:4], 3, 1)), expected)
    assert same(colour.predict(COLOURS[0]), expected[:1])
    assert same(colour.predict(torch.from_numpy(np.moveaxis(COLOURS[0], 2, 0).copy())), expected[:1])
    with pytest.raises(DataError, match=r"an example has shape \[6, 5\]; this network reads \[3, 6, 5\]"):
        colour.predict(PICTURES[:4])


def test_one_feature_and_sequences_of_one(home):
    single = trained(home, "single", nw.read(X[:, 0], Y))
    assert same(single.predict(X[:5, 0]), single.predict(X[:5, :1]))
    assert same(single.predict(X[0, :1]), single.predict(X[:1, :1]))
    steps = trained(home, "steps", nw.read(X, Y, kind="sequence"))
    assert same(steps.predict(X[:5]), steps.predict(X[:5, :, None]))
    assert same(steps.predict(X[0]), steps.predict(X[:1, :, None]))
    assert same(steps.predict(X[0][:, None]), steps.predict(X[:1, :, None]))


def test_numbers_come_in_their_own_units(numbers):
    found = numbers.predict(X)
    assert all(set(one) == {"input", "prediction", "value"} for one in found)
    values = np.array([one["value"] for one in found])
    assert [one["prediction"] for one in found] == values.tolist()
    assert 800 < values.min() < values.max() < 1200
    model, encoder = numbers.predictor().forward.model, numbers.predictor().encoder
    targets = numbers.folder.read("data.json")["targets"]
    with torch.no_grad():
        standard = model(encoder.encode(torch.from_numpy(X)))[:, 0].double().numpy()
    np.testing.assert_allclose(values, standard * targets["scale"] + targets["mean"], rtol=1e-7)


WRONG = [
    ([[1, 2, 3, 4], [1]], "lists of numbers of shape"), (["a", "b"], "lists of numbers of shape"),
    (None, "lists of numbers of shape"), (object(), "lists of numbers of shape"), ([{"a": 1}], "lists of numbers"),
    (pd.DataFrame({"a": ["x"]}), "lists of numbers"), (np.zeros((2, 5)), r"an example has shape \[5\]"),
    (np.zeros(5), "an example has shape"), ([], "an example has shape"), (3.0, "an example has shape"),
    (np.zeros(3, complex), "lists of numbers"), (np.array(["1", "2"]), "lists of numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "words"), WRONG, ids=[type(item).__name__ for item, _ in WRONG])
def test_wrong_rows_are_refused_in_words(vector, item, words):
    with pytest.raises(DataError, match=words):
        vector.predict(item)


def test_a_broken_number_is_predicted_as_nothing(vector, numbers):
    """The first class would be the first NaN: a guess that nobody made."""
    x = X[:3].copy()
    x[1, 2] = math.nan
    found = vector.predict(x)
    assert [one["prediction"] is None for one in found] == [False, True, False]
    assert same(found[::2], vector.predict(X[[0, 2]]))
    assert json.loads(to_json(found.to_json()))["predictions"][1]["probabilities"] == {"no": None, "yes": None}
    assert [one["value"] is None for one in numbers.predict(x)] == [False, True, False]
    assert "[1]: None" in str(numbers.predict(x))


# the same as evaluate -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vector", "grey", "colour", "table", "numbers"])
def test_predictions_are_those_that_evaluate_judged(request, name):
    run = request.getfixturevalue(name)
    stored = nw.open(run.path)
    dataset = run._dataset
    from safetensors.numpy import load_file

    saved = load_file(run.path / "predictions.safetensors")
    examples = dataset.source.examples.take(dataset.splits["test"])
    if name == "table":
        rows = [
            dict(zip(examples.columns, cells, strict=True)) for cells in zip(*examples.columns.values(), strict=True)
        ]
        found = stored.predict(rows)
    else:
        found = stored.predict(examples)
    if name == "numbers":
        np.testing.assert_allclose([one["value"] for one in found], saved["predictions"], rtol=1e-6)
        evaluated = run.evaluate()
        error = np.array([one["value"] for one in found]) - saved["truth"]
        assert evaluated["metrics"]["rmse"]["value"] == pytest.approx(math.sqrt((error**2).mean()), rel=1e-6)
    else:
        np.testing.assert_allclose(chances(found), saved["predictions"], rtol=1e-5, atol=1e-7)
        truth = [dataset.classes[n] for n in saved["truth"]]
        right = np.mean([one["prediction"] == label for one, label in zip(found, truth, strict=True)])
        assert run.evaluate()["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert run.evaluate()["metrics"] == run.metrics


# rows of tables, JSON Lines -------------------------------------------------------------------------------------

FLOWER = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}


def test_rows_of_a_table(table):
    expected = table.predict([FLOWER])
    assert expected[0]["input"] == "row 1"
    for form in (
        FLOWER, list(FLOWER.values()), [list(FLOWER.values())], [tuple(FLOWER.values())], np.array([*FLOWER.values()]),
        np.array([[*FLOWER.values()]]), torch.tensor([*FLOWER.values()], dtype=torch.float64), pd.DataFrame([FLOWER]),
        pyarrow.table({k: [v] for k, v in FLOWER.items()}), [{**FLOWER, "more": 1}], [dict(reversed(FLOWER.items()))],
        [{name: str(value) for name, value in FLOWER.items()}],
    ):  # fmt: skip
        assert same(table.predict(form), expected)
    missing = {name: value for name, value in FLOWER.items() if name != "petal width (cm)"}
    with pytest.raises(DataError, match=r"lack the column 'petal width \(cm\)'"):
        table.predict([missing])
    with pytest.raises(DataError, match="3 cells; there are 4 columns"):
        table.predict([[1, 2, 3]])
    with pytest.raises(DataError, match="no rows to predict"):
        table.predict([])
    assert len(table.predict([FLOWER, {**missing, "petal width (cm)": None}])) == 2


def test_a_table_of_one_column_takes_plain_numbers(home):
    run = trained(home, "column", nw.read(pd.DataFrame({"a": X[:, 0], "target": np.where(Y, "u", "v")})))
    expected = run.predict([{"a": 0.5}, {"a": -1.0}])
    for form in ([0.5, -1.0], np.array([0.5, -1.0]), [[0.5], [-1.0]]):
        assert same(run.predict(form), expected)


def test_json_lines(table, vector):
    lines = [json.dumps(FLOWER), "", json.dumps(list(FLOWER.values())), "  \n"]
    found = table.predictor().predict_lines(io.StringIO("\n".join(lines)))
    assert [one["input"] for one in found] == ["row 1", "row 2"]
    assert same(found, table.predict([FLOWER, FLOWER]))
    assert same(vector.predictor().predict_lines([json.dumps(row) for row in X[:3].tolist()]), vector.predict(X[:3]))


@pytest.mark.parametrize(
    ("line", "words"),
    [("[1, 2", "line 2 is no JSON row"), ("3", "line 2 is int; a row is an object or a list"), ("null", "is NoneType"),
     ("NaN", "line 2 is no JSON row"), ("[NaN, 1, 2, 3]", "line 2 is no JSON row"),
     ('{"a": 1, "a": 2}', "a key stands twice"),
     ("[" * 100_000, "line 2 is no JSON row"), ("x", "line 2 is no JSON row"), ("[1,2,3]", "there are 4 columns")],
)  # fmt: skip
def test_lines_that_are_no_rows_are_refused_with_their_number(table, line, words):
    with pytest.raises(DataError, match=words):
        table.predictor().predict_lines([json.dumps(FLOWER), line])


def test_no_lines_at_all_are_refused(table):
    with pytest.raises(DataError, match="stdin held no rows"):
        table.predictor().predict_lines(["", "  "])


# files and folders ----------------------------------------------------------------------------------------------


def test_files_of_arrays_and_tables(home, tmp_path, vector, table):
    np.save(tmp_path / "new.npy", X[:6])
    np.savez(tmp_path / "new.npz", x=X[:6], y=Y[:6])
    for name in ("new.npy", "new.npz"):
        assert same(vector.predict(tmp_path / name), vector.predict(X[:6]))
        assert same(vector.predict(str(tmp_path / name)), vector.predict(X[:6]))
    rows = pd.DataFrame([FLOWER] * 3)
    rows.to_csv(tmp_path / "new.csv", index=False)
    rows.assign(target="setosa").to_csv(tmp_path / "labelled.csv", index=False)
    rows.to_parquet(tmp_path / "new.parquet")
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps(FLOWER) for _ in range(3)))
    for name in ("new.csv", "labelled.csv", "new.parquet", "new.jsonl"):
        assert same(table.predict(tmp_path / name), table.predict([FLOWER] * 3))
    assert table.predict(tmp_path / "new.csv")[2]["input"] == "row 3"


@pytest.fixture(scope="module")
def folder(home):
    root = home / "pictures"
    for place, picture in enumerate(PICTURES[:40]):
        kind = root / ("ant" if place % 2 else "bee")
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(kind / f"{place:02}.png")
    return root


def test_pictures_folders_and_what_is_none(home, folder, tmp_path):
    run = trained(home, "folder", nw.read(folder))
    whole = run.predict(folder)
    assert len(whole) == 40
    assert same(run.predict(folder / "bee" / "00.png"), run.predict(PICTURES[:1]))
    assert same(run.predict(folder / "ant", folder / "bee"), whole)
    Image.fromarray(PICTURES[0]).resize((50, 60)).convert("RGB").save(tmp_path / "large.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    said = []
    found = run.predict(tmp_path, say_line=said.append)
    assert [one["input"].endswith("large.png") for one in found] == [True]
    assert any("broken.png" in line for line in said)
    assert any("large.png" in line for line in said)
    with pytest.raises(DataError, match="there is no file"):
        run.predict(tmp_path / "absent.png")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no picture could be read|none of the 1 files is a readable"):
        run.predict(tmp_path / "only")


def test_embedded_names_are_predicted_and_evaluated(home, table):
    assert len(table.predict("iris")) == 150
    assert table.evaluate("iris")["examples"] == 150
    moons = trained(home, "moons", nw.read("moons", examples=100, noise=0.3), "mlp")
    assert len(moons.predict("moons")) == 100  # the run's own settings
    assert moons.evaluate("circles")["examples"] == 1000
    with pytest.raises(DataError, match=r"holds vector data \(embedded\); this run was trained on image data"):
        trained(home, "digits", nw.read("digits", limit=50)).predict("moons")
    with pytest.raises(DataError, match="2 cells; there are 4 columns"):
        table.predict("moons")


# evaluation of new data -----------------------------------------------------------------------------------------


def test_new_data_of_every_form_is_evaluated_alike(home, tmp_path, vector, grey, table, folder):
    labels = np.array(["no", "yes"], object)[Y]
    expected = vector.evaluate(X, labels)
    assert expected["examples"] == 80
    frame = pd.DataFrame(X).assign(target=labels)
    np.savez(tmp_path / "all.npz", x=X, y=labels.astype(str))
    for form in ((frame,), (X.tolist(), labels.tolist()), (tmp_path / "all.npz",), (str(tmp_path / "all.npz"),)):
        for name, score in vector.evaluate(*form)["metrics"].items():
            assert score["value"] == pytest.approx(expected["metrics"][name]["value"], rel=1e-6), name
    given = nw.read(X, labels)
    assert vector.evaluate(given)["metrics"] == vector.metrics
    assert (
        grey.evaluate(PICTURES.astype(np.float32), np.arange(60) % 3)["metrics"]
        == (grey.evaluate(PICTURES, np.arange(60) % 3)["metrics"])
    )  # the kind of the run, whatever the type would say alone
    iris = nw.read("iris")
    cells = np.stack([column.astype(float) for column in iris.source.examples.columns.values()], 1)
    assert table.evaluate(cells, iris.source.targets)["metrics"] == table.evaluate("iris")["metrics"]
    run = trained(home, "size", nw.read(folder))
    other = tmp_path / "larger"
    for kind in ("ant", "bee"):
        (other / kind).mkdir(parents=True)
        Image.fromarray(PICTURES[0]).resize((30, 36)).save(other / kind / "1.png")
    assert run.evaluate(other)["examples"] == 2


def test_data_without_targets_or_of_unknown_classes_is_refused(vector, table, tmp_path):
    np.save(tmp_path / "bare.npy", X)
    with pytest.raises(DataError, match="holds no targets to evaluate against"):
        vector.evaluate(tmp_path / "bare.npy")
    with pytest.raises(DataError, match="class 'perhaps' is not one of the 2 known"):
        vector.evaluate(X[:2], ["yes", "perhaps"])
    with pytest.raises(DataError, match="examples, its y"):
        vector.evaluate(X[:2], ["yes"])
    with pytest.raises(DataError, match="this run was trained on table data"):
        table.evaluate("digits")


def test_a_module_of_ones_own_is_handed_over_again(home):
    torch.manual_seed(0)
    data = nw.read(X, Y)
    run = nw.train(data, torch.nn.Linear(4, 2), epochs=3, out=home / "own", quiet=True)
    with pytest.raises(UsageError, match=r"trained a module from Python; hand it over: open\(path, network=\.\.\.\)"):
        nw.open(run.path).predict(X[:2])
    again = nw.open(run.path, network=torch.nn.Linear(4, 2))
    assert same(again.predict(X[:5]), run.predict(X[:5]))
    with pytest.raises(nw.RunError, match="stored weights do not fit the network: weight, bias"):
        nw.open(run.path, network=torch.nn.Linear(4, 3)).predict(X[:2])
    resumed = nw.resume(run.path, data=data, network=torch.nn.Linear(4, 2), quiet=True)
    assert resumed.test == run.test


def test_predictions_show_themselves(vector, numbers):
    found = vector.predict(X[:2])
    lines = str(found).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"[0]: {found[0]['prediction']}  ")
    assert lines[0].endswith("%")
    assert found.to_json() == {"predictions": list(found)}
    assert str(numbers.predict(X[0])).startswith("[0]: 9")
    html = vector.predict(X[:1])
    html[0]["input"] = "<script>"
    assert "<script>" not in html._repr_html_()
    assert "&lt;script&gt;" in html._repr_html_()
