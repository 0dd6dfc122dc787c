"""The table encoder: what each kind of column becomes, against plain numpy; training rows only; JSON state."""

import datetime
import json

import numpy as np
import pytest
import torch

from netwright.data.source import Table
from netwright.data.tables.cells import Column, dates, decimal_mark, numbers
from netwright.data.tables.encoder import TableEncoder
from netwright.errors import DataError


def column(values):
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


def made(**columns):
    return Table({name: column(list(values)) for name, values in columns.items()})


def fitted(**columns):
    return TableEncoder.fit(made(**columns))


X = ["1.5", "2.5", "4", "8", "9.5"]


def test_numbers_are_standardised_with_median_and_mark_for_missing():
    encoder = fitted(x=[*X, None])
    x = np.array([float(value) for value in X])
    z = (x - x.mean()) / x.std()
    assert encoder.names == ["x", "x is missing"]
    assert encoder.inputs == {"kind": "vector", "features": 2}
    found = encoder.encode(made(x=["4", None, "abc", 8, 8.0]))
    np.testing.assert_allclose(found[:, 0], [z[2], np.median(z), np.median(z), z[3], z[3]], rtol=1e-6)
    assert found[:, 1].tolist() == [0, 1, 1, 0, 0]
    assert found.dtype == torch.float32


def test_cells_that_cannot_be_read_are_remarked():
    remarks = fitted(x=[*X, None]).remarks(made(x=["4", "abc", "abc", None]))
    assert [(remark.where, remark.what) for remark in remarks] == [("column x", "'abc' is no number (2 cells)")]


def test_heavy_tails_are_squashed_and_outliers_held():
    gain = [0.0] * 900 + list(np.geomspace(100, 99999, 30))
    encoder = fitted(gain=gain, other=list(range(5)) * 186)
    unit = np.median(gain[900:])
    f = np.arcsinh(np.array(gain) / unit)
    found = encoder.encode(made(gain=gain, other=[0] * 930))[:, 0]
    np.testing.assert_allclose(found, (f - f.mean()) / f.std(), rtol=1e-5)
    far = encoder.encode(made(gain=["1e300", "-1e300"], other=["1e300", 0]))
    assert far.isfinite().all()
    assert float(far.abs().max()) <= max(10, float(found.abs().max()))


@pytest.mark.parametrize(
    "values", [[1e300, -1e300, 2e299], [1e-300, 2e-300, 3e-300], [5, 5, 6], [1e15, 1e15 + 1, 1e15 + 2]]
)
def test_extreme_numbers_stay_finite(values):
    found = fitted(x=values, y=[1, 2, 3]).encode(made(x=values, y=[1, 2, 3]))
    assert found.isfinite().all()
    assert float(found[:, 0].abs().max()) > 0.1


@pytest.mark.parametrize("normalize", ["standard", "unit", "none"])
def test_normalize(normalize):
    x = np.array([1.0, 3.0, 11.0])
    wanted = {"standard": (x - x.mean()) / x.std(), "unit": (x - 1) / 10, "none": x}[normalize]
    found = TableEncoder.fit(made(x=x), normalize).encode(made(x=x))[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_categories_rare_unseen_and_missing():
    values = ["red"] * 500 + ["blue"] * 400 + ["odd"] * 2 + [None] * 98
    encoder = fitted(c=values)
    assert encoder.names == ["c = blue", "c = red", "c is another", "c is missing"]
    found = encoder.encode(made(c=["red", "blue", "odd", "new", None]))
    assert found.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    small = fitted(c=["a", "b"] * 5)
    assert small.encode(made(c=["a", "new", None])).tolist() == [[1, 0], [0, 0], [0, 0]]
    assert "'new'" in small.remarks(made(c=["a", "new"]))[0].what


def test_typed_and_written_cells_are_one_value():
    encoder = fitted(c=["1", "x", "2.0", "z"] * 5, b=["yes", "no"] * 10, n=X * 4)
    text = encoder.encode(made(c=["1", "2.0"], b=["yes", "No"], n=["3", "4"]))
    assert torch.equal(text, encoder.encode(made(c=[1, 2], b=[True, False], n=[3, 4.0])))
    assert encoder.encode(made(c=[1.0], b=[None], n=[None]))[0, encoder.names.index("b")] == 0.5


def test_dates_in_one_form_a_column():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(d) for d in range(0, 400, 7)]
    iso = fitted(d=[day.isoformat() for day in days])
    found = iso.encode(made(d=["2024-03-05", None, datetime.datetime(2024, 3, 5)]))
    names = [name.removeprefix("d ") for name in iso.names]
    number = np.array([day.toordinal() for day in days], float)
    at = datetime.date(2024, 3, 5)
    np.testing.assert_allclose(found[0, 0], (at.toordinal() - number.mean()) / number.std(), rtol=1e-5)
    assert found[0, names.index(at.strftime("%A"))] == 1
    np.testing.assert_allclose(found[0, 1], np.sin(2 * np.pi * 2 / 12), atol=1e-6)
    assert torch.equal(found[0], found[2])
    assert found[1, 1:].abs().sum() == 0
    european = fitted(d=[day.strftime("%d/%m/%Y") for day in days])
    assert torch.equal(european.encode(made(d=["05/03/2024"]))[0], found[0])
    assert "year, month, day" in iso.problems[0].action
    unclear = fitted(d=["01/02/2024", "03/04/2024", "05/06/2024"])
    assert "no cell tells day from month" in unclear.problems[0].what


@pytest.mark.parametrize(
    ("text", "form", "wanted"),
    [
        ("2024-02-29", "ymd", 19782), ("2023-02-29", "ymd", None), ("29.02.2024", "dmy", 19782),
        ("02/29/24", "mdy", 19782), ("29 Feb 2024", "d month y", 19782), ("February 29, 2024", "month d y", 19782),
        ("2024年2月29日", "ymd", 19782), ("20240229", "compact", 19782), ("2024-02-29T12:00:00Z", "ymd", 19782.5),
        ("2024-02-29 06:00 PM", "ymd", 19782.75), ("2024-02-29T12:00:00+06:00", "ymd", 19782.25),
        ("2024-02-29 25:00", "ymd", None), ("2024-02-29" + " " * 100_000 + "x", "ymd", None),
    ],
)  # fmt: skip
def test_date_forms(text, form, wanted):
    found = dates([text], form)[0]
    assert np.isnan(found) if wanted is None else found == wanted


def test_number_forms():
    read = {"1,234.5": 1234.5, "$ 12": 12, "-3e2": -300, ".5": 0.5, "12 %": 12, "1_000": None, "inf": None, "１": None,
            "nan": None, "1e999": None, "1,23": None, "+" + " " * 100_000 + "x": None, "−4": -4}  # fmt: skip
    found = numbers(list(read))
    assert [None if np.isnan(x) else x for x in found] == list(read.values())
    assert decimal_mark(["3,14", "2,5"]) == ","
    assert decimal_mark(["1,234", "2,500,000"]) == "."
    assert numbers(["1.234,5", "3,14"], ",").tolist() == [1234.5, 3.14]


def test_texts_become_words():
    names = [f"Smith{n}, {('Mr', 'Mrs', 'Miss')[n % 3]}. Ann{n}" for n in range(99)]
    encoder = fitted(name=names)
    assert encoder.names == ["name has miss", "name has mr", "name has mrs"]
    assert encoder.encode(made(name=["Doe, Mrs. Jane", None])).tolist() == [[0, 0, 1], [0, 0, 0]]
    chinese = fitted(t=[("很好吃" if n % 2 else "不好吃") + f"第{chr(0x4E00 + n)}次" for n in range(40)])
    assert {"t has 很", "t has 不"} <= set(chinese.names)
    many = fitted(t=[" ".join(f"w{(n * k) % 200}" for k in range(20)) for n in range(300)])
    assert len(many.names) == 64


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([f"id-{n}" for n in range(50)], "identifier"),
        (["same"] * 50, "the same value"),
        ([None] * 50, "every cell is missing"),
        (list(range(1, 51)), "identifier"),
        ([str(n) for n in range(50)], "identifier"),
        (["7"] * 50, "the same value"),
    ],
)
def test_columns_that_tell_nothing_are_left_out(cells, why):
    good = np.arange(50) % 7
    encoder = fitted(key=cells, a=good, b=good * 1.5)
    assert encoder.names == ["a", "b"]
    assert why in encoder.problems[0].what
    assert encoder.columns == ["key", "a", "b"]
    assert encoder.encode(made(a=[1], b=[2])).shape == (1, 2)  # what was left out need not be there


def test_identifiers_are_told_on_a_part_of_the_rows():
    rng = np.random.default_rng(0)
    part = rng.permutation(891)[:600] + 1
    assert fitted(PassengerId=part, a=part % 5, b=part % 3).names == ["a", "b"]
    assert fitted(x=range(100)).names == ["x"]  # the only column is kept
    assert "year" in fitted(year=range(1900, 2000), a=part[:100] % 5, b=part[:100] % 3).names


def test_mixed_columns_by_share():
    mostly = fitted(x=[str(n % 37) for n in range(95)] + ["?x"] * 5)
    assert mostly.names == ["x", "x is missing"]
    assert "5 of 100 cells are no number: '?x' (first in training row 96)" in mostly.problems[0].what
    assert fitted(x=[str(n % 37) for n in range(60)] + ["unknown"] * 40).names == ["x", "x is missing"]
    assert fitted(g=["1", "2", "A", "B"] * 10).names == ["g = 1", "g = 2", "g = A", "g = B"]


def test_many_values_are_capped_and_reported():
    encoder = fitted(c=[f"v{n % 150}" for n in range(3000)])
    assert len(encoder.names) == 65
    assert "150 different values" in encoder.problems[0].what


def test_missing_columns_are_named_others_ignored_order_free():
    encoder = fitted(Age=X, Sex=["m", "f", "m", "f", "f"])
    found = encoder.encode(made(Age=["3"], Sex=["m"]))
    assert torch.equal(found, encoder.encode(made(extra=[1], Sex=["m"], Age=["3"], Survived=["0"])))
    with pytest.raises(DataError, match=r"column 'Age' .* Did you mean 'age'"):
        encoder.encode(made(age=["3"], Sex=["m"]))
    with pytest.raises(DataError, match=r"2 columns are missing: Age, Sex"):
        encoder.encode(made(q=["3"]))


def test_columns_without_names_go_by_place():
    encoder = fitted(column2=X, column3=["m", "f", "m", "f", "f"])  # column1 was the target
    assert torch.equal(
        encoder.encode(made(column1=["3"], column2=["m"])), encoder.encode(made(column2=["3"], column3=["m"]))
    )


def everything(rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return made(
        x=[None if n % 11 == 0 else repr(v) for n, v in enumerate(x.tolist())],
        c=rng.choice(["a", "b", "c c", None], rows),
        d=[f"2024-{1 + n % 12:02}-{1 + n % 28:02} {n % 24:02}:00" for n in range(rows)],
        b=rng.choice([True, False], rows),
        t=[f"word{n % 5} and {n} more" for n in range(rows)],
        k=np.exp(4 * x),
    )


def test_state_is_json_and_repeats_to_the_bit():
    table = everything(400, 0)
    encoder = TableEncoder.fit(table)
    again = TableEncoder.from_state(json.loads(json.dumps(encoder.state(), allow_nan=False)))
    assert again == encoder
    assert {plan.kind for plan in encoder.plans} == {"number", "category", "date", "boolean", "text"}
    other = everything(300, 1)
    whole = encoder.encode(other)
    assert torch.equal(whole, again.encode(other))
    assert whole.shape == (300, len(set(encoder.names)))
    assert torch.equal(whole, torch.cat([encoder.encode(other.take([row])) for row in range(300)]))  # row by row
    for damaged in (
        {},
        {"columns": ["a"], "plans": [{"kind": "x"}]},
        {"columns": ["a"], "plans": [{"kind": "number"}]},
    ):
        with pytest.raises(DataError, match="damaged"):
            TableEncoder.from_state(damaged)


def test_no_rows_and_no_columns():
    with pytest.raises(DataError, match="no training rows"):
        fitted(x=[])
    with pytest.raises(DataError, match="no column is left to learn from"):
        fitted(x=["same"] * 3)
    assert fitted(x=X).encode(made(x=[])).shape == (0, 1)


def test_column_does_not_confuse_true_with_one():
    found = Column.of([1, True, 1.0, "1", None, float("nan"), "?", False, 0])
    assert found.values == ["1", "true", "false", "0"]
    assert found.codes.tolist() == [0, 1, 0, 0, -1, -1, -1, 2, 3]
    assert found.counts.tolist() == [3, 1, 1, 1]


@pytest.mark.shared_data
def test_adult_and_titanic(shared_data):
    from netwright.data.files.opening import open_tree
    from netwright.data.readers.table import table

    adult = table(open_tree(shared_data / "adult"), target="column15")
    encoder = TableEncoder.fit(adult.examples.take(adult.given["train"]))
    x = encoder.encode(adult.examples)
    age = adult.examples.columns["column1"].astype(float)
    train = age[adult.given["train"]]
    np.testing.assert_allclose(x[:, 0], (age - train.mean()) / train.std(), rtol=1e-4, atol=1e-5)
    assert x.isfinite().all()
    assert float(x.abs().max()) < 11
    one_hot = [place for place, name in enumerate(encoder.names) if name.startswith(("column2 =", "column2 is"))]
    assert x[:, one_hot].sum(1).eq(1).all()
    titanic = TableEncoder.fit(table(open_tree(shared_data / "titanic"), target="Survived").examples)
    assert {"Name has mr", "Name has mrs", "Name has miss", "Age is missing", "Sex = male"} <= set(titanic.names)
    assert "PassengerId" not in titanic.used
