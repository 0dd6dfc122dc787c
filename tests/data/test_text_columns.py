"""A column of texts out of a wide table, when `data.source` names it."""

import pytest

import netwright as nw
from netwright.errors import DataError, UsageError


@pytest.fixture
def tweets(tmp_path):
    rows = [
        f'{n},u{n % 9},"this is {"good" if n % 2 else "bad"}, number {n}",{n % 7},{["neg", "pos"][n % 2]},{n} and more'
        for n in range(120)
    ]
    rows[4] = "4,u4,,4,neg,4 and more"
    (tmp_path / "tweets.csv").write_text("\n".join(["id,user,text,likes,label,title", *rows]) + "\n", encoding="utf-8")
    return tmp_path / "tweets.csv"


def test_classes_numbers_and_texts_beside_the_named_column(tweets):
    data = nw.read(tweets, source="text", target="label")
    assert (data.kind, data.task, data.classes) == ("text", "classify", ["neg", "pos"])
    assert sum(data.examples.values()) == 119
    assert any("hold no text" in problem.what for problem in data.problems)
    place = data.source.ids.index("row 6")
    assert data.source.examples.texts[place] == "this is good, number 5"
    assert data.source.targets[place] == "pos"
    assert nw.read(tweets, source="text", target="likes", task="regress").task == "regress"
    titles = nw.read(tweets, source="text", target="title")
    assert titles.task == "translate"


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tweets):
    with pytest.raises(DataError, match=r"no column 'txt'.*'text'"):
        nw.read(tweets, source="txt", target="label")
    with pytest.raises(UsageError, match="both name the column 'text'"):
        nw.read(tweets, source="text", target="text")


def test_without_a_name_it_stays_a_table(tweets):
    assert nw.read(tweets, target="label").kind == "table"


def test_new_rows_without_the_target_are_predicted_by_their_column(tweets, tmp_path):
    data = nw.read(tweets, source="text", target="label")
    small = {"name": "lstm", "hidden": 8, "embedding": 8}
    run = nw.train(data, small, epochs=1, out=tmp_path / "run", quiet=True)
    (tmp_path / "new.csv").write_text("id,text\n7,so sunny\n8,\n9,rain again\n", encoding="utf-8")
    said: list[str] = []
    found = nw.open(tmp_path / "run").predict(tmp_path / "new.csv", say_line=said.append)
    assert [row["input"] for row in found] == ["row 1", "row 3"]
    alone = run.predict(["so sunny", "rain again"])
    assert [row["probabilities"] for row in found] == [pytest.approx(row["probabilities"]) for row in alone]
    assert said == ["new.csv: 1 rows hold no text -> left out"]
