"""Text tables: encodings, delimiters, quoting, and the refusals with their lines."""

import csv
import io
import json
import tarfile

import pytest

from netwright.data.tables.files import read_table, strict_json
from netwright.data.tables.text import decode, is_header, parse, sniff
from netwright.errors import DataError, UsageError

CHINESE = "姓名,城市,分数\n张三,北京,12\n李四,上海,15\n王小明,广州,11\n赵六,成都,9\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "gb18030"), (CHINESE, "utf-16"), (CHINESE, "utf-8-sig"), (CHINESE, "utf-32"),
        ("prénom,ville\nJosé,Besançon\n", "cp1252"), ("nação,ções\nmissão,acções\n", "latin-1"),
    ],
)  # fmt: skip
def test_encodings_are_found_and_reported(text, encoding):
    found, problems = decode(text.encode(encoding), "t.csv")
    assert found == text
    assert [problem.where for problem in problems] == ([] if encoding == "utf-8-sig" else ["t.csv"])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("имя,город\nОльга,Москва\nПётр,Казань\n", "cp1251"), ("имя,город\nОльга,Москва\n", "koi8-r"),
     ("名前,都市\nひろし,とうきょう\n", "shift_jis"), ("名前,都市\nひろし,とうきょう\n", "euc-jp"),
     ("이름,도시\n김철수,서울특별시\n박영희,부산광역시\n", "euc-kr"), ("ひろし", "iso-2022-jp")],
)  # fmt: skip
def test_undecided_encodings_are_refused_and_can_be_named(text, encoding):
    with pytest.raises(DataError, match=r"data\.encoding=NAME"):
        decode(text.encode(encoding), "t.csv")
    assert decode(text.encode(encoding), "t.csv", encoding)[0] == text


def test_encoding_errors_say_where_and_what():
    with pytest.raises(DataError, match=r"t.csv line 3: a NUL"):
        decode(b"a,b\n1,2\n3,\0\n", "t.csv")
    with pytest.raises(DataError, match=r"data\.encoding=utf-16-le"):
        decode(CHINESE.replace("分", "abcdefgh").encode("utf-16-le") * 3, "t.csv")
    with pytest.raises(UsageError, match="Did you mean 'utf-8'"):
        decode(b"a", "t.csv", "utf9")
    with pytest.raises(DataError, match=r"t\.csv line 2: this is no utf-8 text"):
        decode(b"a\n\xff\n", "t.csv", "utf-8")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_equal_those_of_the_csv_writer(delimiter, end):
    rows = [["a", "b", "c"], ['say "hi"', "x,y;z|w", f"two{end}lines"], ["1.5", "", "é"], [" in ", "2", "3"]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    found = parse(out.getvalue(), "t.csv")
    assert found.delimiter == delimiter
    assert [[cell.strip() for cell in row] for row in found.cells] == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [("a,b\n1,2\n", ","), ("1,5;2,5\n3,5;4,5\n", ";"), ("name;note\nx;a, b\ny;c\n", ";"), ("word\nother\n", ","),
     ("a|b\n1,2|3\n", "|"), ('"a,b"\t1\n"c,d"\t2\n', "\t"), ("", ",")],
)  # fmt: skip
def test_sniff(text, delimiter):
    assert sniff(text) == delimiter


def test_spreadsheet_line_backslashes_and_blanks_after_quotes():
    assert parse("sep=;\na;b\n1;2\n", "t").cells == [["a", "b"], ["1", "2"]]
    assert parse("sep=;\na;b\n1;2\n", "t").lines == [2, 3]
    escaped = parse("a,b\none\\, two,3\nx,4\n", "t")
    assert escaped.cells[1] == ["one, two", "3"]
    assert escaped.problems
    assert parse('a,b\n"x" ,1\n"y","2"\n', "t").cells[1:] == [["x", "1"], ["y", "2"]]


def test_quotes_are_plain_characters_in_even_tab_lines():
    found = parse('a\tb\n"open\t2\n5" disk\t"w ""x"""\n', "t.tsv", "\t")
    assert found.cells == [["a", "b"], ['"open', "2"], ['5" disk', 'w "x"']]
    assert "2 cells" in found.problems[0].what


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n3,"open\n5,6\n', "line 3: a quote opens here"),
        ('a,b\n"one\ntwo","three\nfour\n', "line 3: a quote opens here"),
        ('a,b\n"x"y,2\n', "line 2: text follows a closing quote"),
        ("a,b\n1," + "x" * 200_000 + "\n", "line 2: a cell longer than"),
    ],
)
def test_broken_rows_name_their_line(text, message):
    with pytest.raises(DataError, match=message):
        parse(text, "t.csv")


def test_header_rule():
    assert is_header(["a", "b"])
    assert not is_header(["a", "a"])
    assert not is_header(["a", ""])
    assert not is_header(["a", "1.5"])
    assert not is_header(["a", "-3e5"])


def test_strict_json_agrees_with_json_and_refuses_the_rest():
    assert strict_json('{"a": [1, 2.5, "\\ud83d\\ude00"]}', "x") == json.loads('{"a": [1, 2.5, "\\ud83d\\ude00"]}')
    for text in ("NaN", "-Infinity", '{"a":1,"a":2}', '"\\ud800"', "1e999", "9" * 400, "[" * 5000, "{", "", '{"a":01}'):
        with pytest.raises(DataError, match="x"):
            strict_json(text, "x")


@pytest.mark.shared_data
def test_json_suite_lines(shared_data):
    accepted = set()
    with tarfile.open(shared_data / "bad-inputs" / "json-cases.tar.gz") as archive:
        members = [member for member in archive if member.isfile()]
        for member in members:
            name = member.name.split("/")[-1]
            try:
                read_table("case.jsonl", archive.extractfile(member).read())
                accepted.add(name)
            except DataError:
                pass
    assert len(members) == 318
    assert {"y_object.json", "y_object_basic.json", "y_object_string_unicode.json"} <= accepted
    assert not [name for name in accepted if not name.startswith("y_")]


@pytest.mark.shared_data
def test_spectrum_equals_its_json(shared_data):
    with tarfile.open(shared_data / "bad-inputs" / "csv-cases.tar.gz") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    compared = 0
    for name, raw in files.items():
        if "/csvs/" not in name:
            continue
        wanted = json.loads(files[name.replace("/csvs/", "/json/").replace(".csv", ".json")])
        wanted = wanted if isinstance(wanted, list) else [wanted]
        columns = read_table("t.csv", raw, header=True).columns
        rows = [
            {key: (cell or "").replace("\r\n", "\n") for key, cell in zip(columns, row, strict=True)}
            for row in zip(*columns.values(), strict=True)
        ]
        tidy = [{key: value.strip().replace("\r\n", "\n") for key, value in row.items()} for row in wanted]
        for row in rows + tidy:
            row.pop("Contact Phone Number", None)  # the corpus itself differs there
        assert rows == tidy, name
        compared += 1
    assert compared == 12


@pytest.mark.shared_data
def test_encodings_of_the_corpus_are_read_or_refused(shared_data):
    readable = {
        "ascii",
        "utf-8",
        "utf-8-sig",
        "UTF-16",
        "UTF-32",
        "GB2312",
        "iso-8859-1",
        "windows-1252",
        "naughty-strings",
    }
    with tarfile.open(shared_data / "bad-inputs" / "text-encodings.tar.gz") as archive:
        for member in archive:
            if not member.isfile() or "bug638318" in member.name:  # ASCII with a NUL in it
                continue
            folder, raw = member.name.split("/")[-2], archive.extractfile(member).read()
            if folder in readable:
                assert decode(raw, member.name)[0]
            else:
                with pytest.raises(DataError, match="encoding"):
                    decode(raw, member.name)
