"""What small sequence runs keep of their test, and that `compare`, `evaluate` and `rerun` stand on it."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import netwright as nw
from netwright.errors import DataError, RunError
from netwright.parts.metrics import Likelihoods, measure

WORDS = [
    "the", "small", "cat", "saw", "a", "red", "dog", "and", "old", "ran", "to", "sea", "while", "sat", "by", "door",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def corpus(home):
    rng = np.random.default_rng(0)
    path = home / "corpus.txt"
    path.write_text("\n".join(" ".join(rng.choice(WORDS, 9)) for _ in range(400)) + "\n", encoding="utf-8")
    return str(path)


def model(corpus: str, out, network: str = "char_lm", **settings):
    data = nw.read(corpus, **settings)
    return nw.train(data, {"name": network, "hidden": 24}, epochs=1, out=out, quiet=True)


@pytest.fixture(scope="module")
def letters(home, corpus):
    return model(corpus, home / "letters")


@pytest.fixture(scope="module")
def words(home, corpus):
    return model(corpus, home / "words", "word_lm", tokens="word")


@pytest.fixture(scope="module")
def tags(home):
    data = nw.read("copy", examples=150, steps=5, symbols=3)
    return nw.train(data, "tagger", epochs=1, out=home / "tags", quiet=True)


@pytest.fixture(scope="module")
def series(home):
    path = home / "series.csv"
    rows = [f"{2000 + n // 12}-{n % 12 + 1:02d},{100 + n + 10 * np.sin(n / 2):.3f}" for n in range(140)]
    path.write_text("month,sold\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return [
        nw.train(nw.read(str(path), horizon=3), "forecaster", epochs=epochs, out=home / f"series{epochs}", quiet=True)
        for epochs in (1, 2)
    ]


def test_a_language_model_keeps_what_its_metrics_come_from(letters):
    kept = load_file(letters.path / "predictions.safetensors")
    found = measure("generate", None, Likelihoods(kept["nats"], kept["tokens"], kept["characters"]))
    assert found["bits_per_character"] == pytest.approx(letters.test["bits_per_character"])
    assert found["perplexity"] == pytest.approx(letters.test["perplexity"])
    assert kept["begins"][0] == 0
    assert (np.diff(kept["begins"]) > 0).all()
    assert len(kept["begins"]) == len(kept["nats"]) + 1 == letters.examples + 1


def test_models_of_letters_and_of_words_compare_in_bits(letters, words):
    texts = [load_file(run.path / "predictions.safetensors") for run in (letters, words)]
    assert texts[0]["text"].tolist() == texts[1]["text"].tolist()
    assert texts[0]["begins"][-1] == texts[1]["begins"][-1]
    found = nw.compare(letters, words)
    assert found["metric"] == "bits_per_character"
    expected = [run.test["bits_per_character"] for run in (letters, words)]
    assert found["values"] == pytest.approx(expected, rel=0.02)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert str(found)


def test_three_samples_are_written_the_same_every_time(letters, home, corpus):
    assert [sample["temperature"] for sample in letters.samples] == [0.5, 0.8, 1.0]
    assert all(0 < len(sample["text"]) <= 160 for sample in letters.samples)
    again = model(corpus, home / "again")
    assert again.samples == letters.samples
    found = nw.compare(letters, again)
    assert (found["difference"], found["verdict"]) == (0, "no difference")
    assert "id=\"samples\"" in (letters.path / "report.html").read_text(encoding="utf-8")  # fmt: skip


def test_other_texts_are_not_compared(letters, home, corpus):
    other = home / "other.txt"
    other.write_text((home / "corpus.txt").read_text()[::-1], encoding="utf-8")
    run = model(str(other), home / "reversed")
    with pytest.raises(RunError, match="were tested on different examples"):
        nw.compare(letters, run)


def test_tags_keep_what_each_example_adds(tags):
    kept = load_file(tags.path / "predictions.safetensors")
    hits, counts = kept["token_accuracy"].sum(0)
    assert hits / counts == pytest.approx(tags.test["token_accuracy"])
    assert not kept["entity_f1"].any()
    found = nw.compare(tags, tags)
    assert (found["metric"], found["verdict"]) == ("token_accuracy", "no difference")


def test_forecasts_compare_in_scaled_errors(series):
    found = nw.compare(*series)
    assert found["metric"] == "mase"
    assert found["values"] == pytest.approx([run.test["mase"] for run in series])
    page = (series[0].path / "report.html").read_text(encoding="utf-8")
    assert 'id="forecasts"' in page


def test_runs_of_other_tasks_are_not_compared(series, tags):
    with pytest.raises(RunError, match="were tested on different examples"):
        nw.compare(series[0], tags)


@pytest.mark.parametrize("name", ["letters", "tags"])
def test_evaluate_repeats_the_report(request, name):
    run = request.getfixturevalue(name)
    found = nw.evaluate(run)
    assert found["metrics"] == run.metrics
    assert (found["confusion"], found["classes"], found["examples"]) == (None, [], run.examples)
    assert found["baseline"] == run.baseline
    assert found["task"] == run.task


def test_new_texts_are_held_against_baselines_on_the_same_texts(letters, home):
    new = home / "new.txt"
    new.write_text("the red cat ran to the small door\n" * 60, encoding="utf-8")
    found = nw.evaluate(letters, str(new))
    assert set(found["baseline"]) == set(letters.baseline) == {"unigram", "ngram_5"}
    assert all(found["baseline"][name] != letters.baseline[name] for name in letters.baseline)
    assert found["metrics"]["bits_per_character"]["value"] > 0


def test_damaged_numbers_are_refused(tags, home):
    import shutil

    copy = home / "damaged"
    shutil.copytree(tags.path, copy)
    kept = load_file(copy / "predictions.safetensors")
    save_file({"nats": kept["nats"]}, copy / "predictions.safetensors")
    with pytest.raises((DataError, RunError), match=r"predictions\.safetensors"):
        nw.compare(tags, nw.open(copy))
