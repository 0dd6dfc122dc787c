"""The table reader: files, splits, headers, targets, JSON Lines, Parquet, data frames, rows."""

import datetime
import gzip
import io
import json

import numpy as np
import pytest

from netwright.data.files.opening import open_tree
from netwright.data.readers.table import from_frame, is_table, rows_table, table, unlabelled
from netwright.data.tables.files import read_table
from netwright.errors import DataError, UsageError


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(path, **settings):
    return table(open_tree(path), **settings)


def test_one_file_with_a_header(tmp_path):
    write(tmp_path, t__csv='id,"n, m",label\n1, x ,a\n2,?,NA\n3,y,\n\n4,NA,b\n')
    source = read(tmp_path / "t.csv")
    assert source.kind == "table"
    assert source.name == "t"
    assert list(source.examples.columns) == ["id", "n, m"]
    assert source.examples.columns["n, m"].tolist() == ["x", None, None]
    assert source.targets.tolist() == ["a", "NA", "b"]  # a class may be called NA
    assert source.ids == ["row 1", "row 2", "row 4"]
    assert source.given == {}
    told = " ".join(problem.what for problem in source.problems)
    assert "'?'" in told
    assert "'NA'" in told
    assert "1 rows have no target (the first: row 3)" in told


def test_without_a_header(tmp_path):
    write(tmp_path, t__csv="5.1,a\n4.9,b\n")
    source = read(tmp_path / "t.csv", target="column2")
    assert source.examples.columns["column1"].tolist() == ["5.1", "4.9"]
    with pytest.raises(DataError, match=r"data.target=NAME; the columns are: column1, column2"):
        read(tmp_path / "t.csv")
    with pytest.raises(DataError, match="Did you mean 'column2'"):
        read(tmp_path / "t.csv", target="colum2")


def test_header_setting_and_twins(tmp_path):
    write(tmp_path, a__csv="x,x\n1,2\n", b__csv=",y\n1,2\n3,4\n")
    with pytest.raises(DataError, match="names columns twice: x"):
        read(tmp_path / "a.csv", header=True)
    assert list(read(tmp_path / "b.csv", header=True).examples.columns) == ["column1"]
    as_data = read(tmp_path / "b.csv", target="column2")
    assert as_data.targets.tolist() == ["y", "2", "4"]
    assert "data.header=true" in as_data.problems[0].action
    with pytest.raises(DataError, match=r"data\.header=true"):
        read(tmp_path / "b.csv", target="y")


@pytest.mark.parametrize("named", ["Target", "LABEL", "class", "y"])
def test_default_targets(tmp_path, named):
    write(tmp_path, t__csv=f"a,{named},b\n1,2,3\n")
    assert read(tmp_path / "t.csv").targets.tolist() == ["2"]


def test_ragged_rows_are_left_out_and_named(tmp_path):
    write(tmp_path, t__csv="a,y\n1,2\n3\n4,5,6\n7,8\n9,10\n")
    source = read(tmp_path / "t.csv")
    assert source.ids == ["row 1", "row 4", "row 5"]
    assert "2 rows do not have 2 cells: row 2 (line 3) has 1; row 3 (line 4) has 3" in source.problems[0].what
    write(tmp_path, t__csv="a,y\n1\n3\n4,5,6\n7,8\n")
    with pytest.raises(DataError, match=r"3 of 4 rows do not have 2 cells"):
        read(tmp_path / "t.csv")


def test_rows_one_cell_longer_than_the_header(tmp_path):
    write(tmp_path, a__csv="a,y\n1,2,\n3,4,\n", b__csv="a,y\nr1,1,2\nr2,3,4\n")
    assert read(tmp_path / "a.csv").examples.columns["a"].tolist() == ["1", "3"]
    assert list(read(tmp_path / "b.csv").examples.columns) == ["column1", "a"]


def test_splits_by_name_and_full_stops(tmp_path):
    write(
        tmp_path,
        **{"set-train__csv": "a,y\n1,<=5\n2,>5\n", "set-test__csv": "y,a\n<=5.,3\n>5.,4\n"},
        notes__txt="hello",
    )
    source = read(tmp_path)
    assert source.targets.tolist() == ["<=5", ">5", "<=5", ">5"]
    assert source.examples.columns["a"].tolist() == ["1", "2", "3", "4"]
    assert {name: positions.tolist() for name, positions in source.given.items()} == {"train": [0, 1], "test": [2, 3]}
    assert source.ids[2] == "set-test.csv row 1"
    assert "full stop" in source.problems[-1].what


def test_tables_that_are_no_splits_or_differ(tmp_path):
    write(tmp_path, a__csv="a,y\n1,2\n", b__csv="a,y\n1,2\n")
    with pytest.raises(DataError, match=r"2 tables: a.csv, b.csv"):
        read(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write(other, train__csv="a,b,y\n1,2,3\n", test__csv="a,c,y\n1,2,3\n")
    with pytest.raises(DataError, match=r"Only in train.csv: b. Only in test.csv: c."):
        read(other)
    write(other, test__csv="a,b\n1,2\n")
    with pytest.raises(DataError, match=r"test.csv has no target column 'y'"):
        read(other)
    assert unlabelled(open_tree(other / "test.csv")).examples.columns["b"].tolist() == ["2"]


def test_a_picture_folder_with_a_table_is_no_table(tmp_path):
    write(tmp_path, labels__csv="a,y\n1,2\n", a__png=b"x", b__png=b"x")
    assert not is_table(open_tree(tmp_path))
    assert is_table(open_tree(tmp_path / "labels.csv"))


def test_groups(tmp_path):
    write(tmp_path, t__csv="who,a,y\np,1,0\np,2,1\n,3,0\n")
    source = read(tmp_path / "t.csv", group="who")
    assert source.groups.tolist() == ["p", "p", "(row 3)"]
    assert list(source.examples.columns) == ["a"]
    with pytest.raises(DataError, match="Did you mean 'who'"):
        read(tmp_path / "t.csv", group="whom")


def test_gzip_in_place_and_its_bombs():
    raw = gzip.compress(b"a,y\n1,2\n") + gzip.compress(b"3,4\n")
    assert read_table("t.csv.gz", raw).columns["a"].tolist() == ["1", "3"]
    with pytest.raises(DataError, match="ends early"):
        read_table("t.csv.gz", raw[:-4])
    with pytest.raises(DataError, match="unpacks to more than"):
        read_table("t.csv.gz", gzip.compress(b"0,1\n" * 3_000_000))
    with pytest.raises(DataError, match="damaged gzip"):
        read_table("t.csv.gz", b"\x1f\x8b" + b"\xff" * 40)


def test_json_lines_keep_their_types(tmp_path):
    lines = [{"a": 1, "b": "x", "y": 1.5}, {"b": None, "a": 2.5, "y": 2}, {"c": True, "y": 3}]
    write(tmp_path, t__jsonl="\n\n".join(map(json.dumps, lines)))
    source = read(tmp_path / "t.jsonl")
    assert source.examples.columns["a"].tolist() == [1, 2.5, None]
    assert source.examples.columns["c"].tolist() == [None, None, True]
    assert source.targets.dtype == np.float64
    assert source.targets.tolist() == [1.5, 2, 3]
    refused = {
        '{"a": NaN}': "line 2: NaN",
        '{"a": [1]}': "'a' is a list",
        "[1]": "one object",
        '{"a": 1, "a": 2}': "'a' stands twice",
        '{"": 1}': "key is empty",
        "{": "no JSON",
    }
    for line, message in refused.items():
        with pytest.raises(DataError, match=message):
            read_table("t.jsonl", b'{"a": 1}\n' + line.encode())


def parquet(columns):
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def test_parquet():
    import pyarrow

    day = datetime.date(2024, 2, 29)
    columns = {"n": [1, None], "t": ["u", "u"], "d": [day, None], "f": [float("nan"), 2.0], "b": [True, False]}
    found = read_table("t.parquet", parquet(columns)).columns
    assert {name: cells.tolist() for name, cells in found.items()} == {
        "n": [1, None],
        "t": ["u", "u"],
        "d": [datetime.datetime(2024, 2, 29), None],
        "f": [None, 2.0],
        "b": [True, False],
    }
    for cells in ([[1]], [b"x"], [{"q": 1}], pyarrow.array([b"0" * 16], pyarrow.binary(16))):
        with pytest.raises(DataError, match="column 'odd' is of type"):
            read_table("t.parquet", parquet({"odd": cells}))
    good = parquet(columns)
    for damaged in (good[:-9], b"", b"PAR1" * 4, good[:100] + b"\0" * 40 + good[140:]):
        with pytest.raises(DataError, match=r"t\.parquet"):
            read_table("t.parquet", damaged)
    with pytest.raises(DataError, match="30000000 rows"):
        read_table("t.parquet", parquet({"a": np.zeros(30_000_000, np.int8)}))


def test_frames():
    import pandas
    import pyarrow

    frame = pandas.DataFrame({"a": pandas.array([1, None], "Int64"), "s": ["x", None], "y": [0.5, 1.5]})
    for given in (frame, pyarrow.Table.from_pandas(frame)):
        source = from_frame(given)
        assert source.examples.columns["a"].tolist() == [1, None]
        assert source.examples.columns["s"].tolist() == ["x", None]
        assert source.targets.tolist() == [0.5, 1.5]
    with pytest.raises(DataError, match="column 'a' holds list"):
        from_frame(pandas.DataFrame({"a": [[1]], "y": [1]}))
    with pytest.raises(UsageError, match="data frame was expected"):
        from_frame([1, 2])
    with pytest.raises(DataError, match="empty"):
        from_frame(pandas.DataFrame({"y": []}))


def test_rows_for_prediction():
    assert {n: c.tolist() for n, c in rows_table([{"b": 1}, {"a": " x ", "b": 2}], ["a", "b"]).columns.items()} == {
        "a": [None, "x"], "b": [1, 2],
    }  # fmt: skip
    assert rows_table([[1, "x"]], ["a", "b"]).columns["b"].tolist() == ["x"]
    for rows, message in [([], "no rows"), ([[1]], "row 1: 1 cells; there are 2 columns"), ([3], "an object or a list"),
                          ([{"c": 1}], "none of the columns"), ([{"a": [1]}], "'a' is a list")]:  # fmt: skip
        with pytest.raises(DataError, match=message):
            rows_table(rows, ["a", "b"])


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n", " "])
def test_nothing_to_read(tmp_path, content):
    write(tmp_path, t__csv=content)
    with pytest.raises(DataError, match=r"t.csv: "):
        read(tmp_path / "t.csv")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("path", "target", "rows", "columns", "missing"),
    [("adult", "column15", 48_842, 14, 6_465), ("titanic/titanic.csv", "Survived", 891, 11, 866),
     ("california-housing", "median_house_value", 20_640, 9, 207), ("winequality", "column12", 1_599, 11, 0),
     ("iris/iris.csv", "column5", 150, 4, 0)],
)  # fmt: skip
def test_real_tables(shared_data, path, target, rows, columns, missing):
    source = read(shared_data / path, target=target)
    assert len(source.examples) == len(source.targets) == len(source.ids) == rows
    assert len(source.examples.columns) == columns
    assert sum(cell is None for cells in source.examples.columns.values() for cell in cells) == missing
    if path == "adult":
        assert set(source.targets) == {"<=50K", ">50K"}
        assert len(source.given["train"]) == 32_561
