"""One vector in, a text out: rows of numbers, JSON Lines and arrays, each with a text (structure 1-N)."""

import json

import numpy as np
import pytest

import netwright as nw
from netwright.errors import UsageError

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ROWS = [(a, b, f"{WORDS[a]} and {WORDS[b]} make {WORDS[(a + b) % 10]}") for a in range(10) for b in range(10)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    found = tmp_path_factory.mktemp("vectors")
    (found / "t.csv").write_text("a,b,text\n" + "".join(f"{a},{b},{text}\n" for a, b, text in ROWS), encoding="utf-8")
    lines = [json.dumps({"a": a, "b": b, "text": text}) + "\n" for a, b, text in ROWS]
    (found / "t.jsonl").write_text("".join(lines), encoding="utf-8")
    np.savez(found / "t.npz", x=np.float32([row[:2] for row in ROWS]), y=np.array([row[2] for row in ROWS]))
    return found


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.npz"])
def test_a_target_of_sentences_is_written(home, tmp_path, name):
    settings = {} if name == "t.npz" else {"target": "text"}
    data = nw.read(home / name, **settings)
    assert data.task == "translate"
    small = {"name": "one_to_many", "hidden": 16, "embedding": 8}
    run = nw.train(data, small, epochs=2, out=tmp_path / "run", quiet=True)
    assert set(run.baseline) == {"nearest", "most_frequent_text"}
    opened = nw.open(tmp_path / "run")
    assert opened.evaluate()["metrics"]["bleu"]["value"] == pytest.approx(run.test["bleu"])
    of_file = opened.predict(home / name)
    assert len(of_file) == 100
    assert all(isinstance(row["prediction"], str) and row["prediction"] for row in of_file)
    rows = opened.predictor().predict_lines(["[0, 0]", "[0, 1]"])
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in of_file[:2]]
    judged = opened.evaluate(home / name)
    assert (judged["examples"], set(judged["baseline"])) == (100, {"nearest", "most_frequent_text"})
    with pytest.raises(UsageError, match="reads vector data and no prompt"):
        opened.generate("one")
    with pytest.raises(UsageError, match="reads vector data and no prompt"):
        opened.chat(["one"])


def test_the_network_by_itself_and_what_the_nearest_says(home):
    data = nw.read(home / "t.csv", target="text")
    recipe = nw.train(data, epochs=1, quiet=True, out=home / "default").recipe
    assert recipe.table("network")["name"] == "one_to_many"
    known, asked = (np.array([ROWS[k][:2] for k in data.splits[name]], float) for name in ("train", "test"))
    spread = known.std(0)
    nearest = [ROWS[data.splits["train"][(((known - row) / spread) ** 2).sum(1).argmin()]][2] for row in asked]
    exact = np.mean([said == ROWS[k][2] for said, k in zip(nearest, data.splits["test"], strict=True)])
    assert nw.open(home / "default").report["baseline"]["nearest"]["exact_match"] == pytest.approx(exact)


def test_names_of_classes_stay_classes(tmp_path):
    rows = "".join(f"{k},{k % 7},{['a big cat', 'a small dog'][k % 2]}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("x,z,label\n" + rows, encoding="utf-8")
    assert nw.read(tmp_path / "t.csv").task == "classify"
    assert nw.read(tmp_path / "t.csv", task="translate").task == "translate"
