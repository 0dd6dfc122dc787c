"""Runs on sequences and data they never saw: baselines stand beside the metrics; a document is one prediction."""

import json

import numpy as np
import pytest
from waves import wav

import netwright as nw
from netwright.parts.metrics import measure
from netwright.report.baselines.by_task import sequence_baselines

SMALL = {"hidden": 8, "embedding": 8, "dropout": 0.0}


def conll(count):
    words = [("Ada", "B-PER"), ("works", "O"), ("in", "O"), ("Ulm", "B-LOC")]
    odd = [("Ada", "B-LOC"), ("works", "O"), ("in", "O"), ("Bern", "B-LOC")]
    rows = [words if place % 4 else odd for place in range(count)]
    return "\n\n".join("\n".join(map("\t".join, row)) for row in rows) + "\n"


def song(low, high):
    return "".join(f"{n} bottles on the wall.\nIf one falls there are {n - 1} bottles.\n" for n in range(high, low, -1))


def poems(count):
    signs = list("\u5c71\u6c34\u6708\u98a8\u82b1\u96ea\u591c\u4eba\u5929\u6625")
    draw = np.random.default_rng(count)
    verses = ["".join(draw.choice(signs, 5)) + "\u3002" for _ in range(count)]
    return json.dumps([{"title": str(k), "paragraphs": [verse]} for k, verse in enumerate(verses)], ensure_ascii=False)


def series(count):
    rows = [f"{1990 + m // 12}-{m % 12 + 1:02d},{200 + m + 60 * np.sin(m / 6 * np.pi):.1f}\n" for m in range(count)]
    return "month,visitors\n" + "".join(rows)


def chords(count):
    steps = [[[60 + (k + step) % 5, 64 + step % 3, 67] for step in range(8 + k % 4)] for k in range(count)]
    return json.dumps({"train": steps, "valid": steps[:3], "test": steps[3:7]})


def pairs(low, high):
    return "".join(f"the red ship {k}\tdas rote Schiff {k}\n" for k in range(low, high))


CASES = {
    "tag": ({"old.conll": conll(40)}, {"new.conll": conll(12)}, "tagger", {"most_frequent_tag"}),
    "generate": ({"old.txt": song(0, 60)}, {"new.txt": song(60, 99)}, "char_lm", {"unigram", "ngram_5"}),
    "poems": ({"old.json": poems(60)}, {"new.json": poems(25)}, "char_lm", {"unigram", "ngram_5"}),
    "music": ({"old.json": chords(20)}, {"new.json": chords(12)}, "char_lm",
              {"unigram", "ngram_5", "independent_pitches", "independent_voices"}),
    "translate": ({"old.tsv": pairs(0, 60)}, {"new.tsv": pairs(60, 80)}, "seq2seq",
                  {"word_for_word", "retrieval", "lead"}),
    "forecast": ({"old.csv": series(144)}, {"new.csv": series(96)}, "",
                 {"last_value", "seasonal_naive", "linear_autoregression"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_new_data_are_judged_beside_baselines_of_the_training_split(tmp_path, case):
    old, new, network, wanted = CASES[case]
    for name, text in {**old, **new}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    settings = {"target": "visitors"} if case == "forecast" else {}
    data = nw.read(tmp_path / next(iter(old)), **settings)
    run = nw.train(data, {"name": network, **SMALL} if network else None, epochs=1, out=tmp_path / "run", quiet=True)
    found = nw.open(tmp_path / "run").evaluate(tmp_path / next(iter(new)))
    assert set(found["baseline"]) == wanted == set(run.baseline)
    values = [value for scores in found["baseline"].values() for value in scores.values() if value is not None]
    assert np.isfinite(values).all()
    assert len(values) >= len(wanted)
    assert found["baseline"] != run.baseline  # other examples, other figures


def test_the_figures_are_those_of_the_new_examples(tmp_path):
    (tmp_path / "old.conll").write_text(conll(40), encoding="utf-8")
    (tmp_path / "new.conll").write_text(conll(12), encoding="utf-8")
    run = nw.train(tmp_path / "old.conll", {"name": "tagger", **SMALL}, epochs=1, out=tmp_path / "run", quiet=True)
    # Ada is a person three times of four, and Bern and Ulm are places: by hand
    truth = [["B-LOC" if place % 4 == 0 else "B-PER", "O", "O", "B-LOC"] for place in range(12)]
    said = [["B-PER", "O", "O", "B-LOC"]] * 12
    found = run.evaluate(tmp_path / "new.conll")["baseline"]["most_frequent_tag"]
    assert found == pytest.approx(measure("tag", truth, said))
    own = run.evaluate(run._dataset)["baseline"]
    assert own == run.baseline == sequence_baselines(run._dataset)


def test_without_the_training_data_there_are_none_and_that_is_said(tmp_path):
    (tmp_path / "old.conll").write_text(conll(40), encoding="utf-8")
    (tmp_path / "new.conll").write_text(conll(12), encoding="utf-8")
    nw.train(tmp_path / "old.conll", {"name": "tagger", **SMALL}, epochs=1, out=tmp_path / "run", quiet=True)
    (tmp_path / "old.conll").unlink()
    said: list[str] = []
    found = nw.evaluate(tmp_path / "run", tmp_path / "new.conll", say_line=said.append)
    assert found["examples"] == 12
    assert found["baseline"] == {}
    assert said[-1].startswith("no baselines: ")
    assert "old.conll" in said[-1]


@pytest.mark.parametrize(
    ("task", "network", "wanted"),
    [
        ("classify", "lstm", {"constant", "nearest_spectrum"}),
        ("verify", "speaker", {"spectrum_similarity"}),
        ("transcribe", "ctc", {"most_frequent_text", "nearest_spectrum"}),
    ],
)
def test_new_recordings_too(tmp_path, task, network, wanted):
    draw, moments = np.random.default_rng(0), np.arange(1600) / 8000
    for folder, count in (("old", 32), ("new", 8)):
        (tmp_path / folder).mkdir()
        for place in range(count):
            word, pitch = [("low", 300), ("high", 1200)][place % 2]
            sound = np.sin(2 * np.pi * pitch * (1 + 0.05 * draw.normal()) * moments)
            name = f"{word}_{['ann', 'bob'][place // 2 % 2]}_{place // 4}.wav"
            (tmp_path / folder / name).write_bytes(wav(np.int16(9000 * sound).tolist(), rate=8000))
    data = nw.read(tmp_path / "old", task=task)
    small = {"channels": 8, "embedding": 8} if task == "verify" else {"hidden": 8}
    run = nw.train(data, {"name": network, **small}, epochs=1, out=tmp_path / "run", quiet=True)
    assert set(run.evaluate(tmp_path / "new")["baseline"]) == wanted
    assert run.evaluate(data)["baseline"] == run.baseline


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    home = tmp_path_factory.mktemp("documents")
    for place in range(30):
        for kind, word in (("pos", "good"), ("neg", "bad")):
            (home / "reviews" / kind).mkdir(parents=True, exist_ok=True)
            text = f"A {word} film, the {place}th.\n\nIt was {word}.\nThe end {place}.\n"
            (home / "reviews" / kind / f"{place}.txt").write_text(text, encoding="utf-8")
    small = {"name": "lstm", "hidden": 8, "embedding": 8}
    return nw.train(home / "reviews", small, epochs=1, out=home / "run", quiet=True)


def test_a_document_is_one_prediction_where_training_had_documents(documents, tmp_path):
    (tmp_path / "one.txt").write_bytes(b"\xef\xbb\xbfA good film.\r\n\r\nIt was good.\r\n")
    (tmp_path / "two.txt").write_text("bad\nbad\n", encoding="utf-8")
    said: list[str] = []
    run = nw.open(documents.path)
    alone = run.predict(tmp_path / "one.txt", say_line=said.append)
    assert [row["input"] for row in alone] == ["one.txt"]
    whole = run.predict(["A good film.\n\nIt was good."])
    assert alone[0]["probabilities"] == pytest.approx(whole[0]["probabilities"])
    (tmp_path / "blank.txt").write_text(" \n", encoding="utf-8")
    folder = run.predict(tmp_path, say_line=said.append)
    assert [row["input"] for row in folder] == ["one.txt", "two.txt"]
    assert said == ["blank.txt: a file without text -> left out"]
    inner = run.predict(documents.path.parent / "reviews")
    assert len(inner) == 60
    assert run.evaluate(documents.path.parent / "reviews")["examples"] == 60


def test_lines_stay_lines_where_training_had_lines(tmp_path):
    for kind, word in (("pos", "good"), ("neg", "bad")):
        lines = "".join(f"A {word} film, the {place}th.\n" for place in range(40))
        (tmp_path / f"reviews.{kind}").write_text(lines, encoding="utf-8")
    small = {"name": "lstm", "hidden": 8, "embedding": 8}
    (tmp_path / "new.txt").write_text("good\nbad\n\n", encoding="utf-8")
    (tmp_path / "in").mkdir()
    for kind in ("pos", "neg"):
        (tmp_path / f"reviews.{kind}").rename(tmp_path / "in" / f"reviews.{kind}")
    run = nw.train(tmp_path / "in", small, epochs=1, out=tmp_path / "run", quiet=True)
    assert len(run.predict(tmp_path / "new.txt")) == 2
