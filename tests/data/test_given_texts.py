"""Texts handed over in Python: what their targets make of them, what is left out, what is refused, data frames."""

import random
from importlib import import_module

import numpy as np
import pytest

import netwright as nw
from netwright.errors import DataError, NetwrightError, UsageError
from netwright.repeat import rerun

WORDS = {"pos": ["good", "great", "fine", "nice"], "neg": ["bad", "awful", "poor", "sad"]}
PLAIN = ["the", "film", "was", "long", "and", "he", "saw", "it", "at", "noon"]
drawn = random.Random(0)
LABELS = [("neg", "pos")[place % 2] for place in range(120)]
TEXTS = [" ".join([*drawn.sample(PLAIN, 4), *drawn.sample(WORDS[label], 2)]) for label in LABELS]
TOKENS = [text.split() for text in TEXTS]
TAGS = [["W" if token in WORDS["pos"] + WORDS["neg"] else "O" for token in row] for row in TOKENS]
BACKWARDS = [text[::-1] for text in TEXTS]


@pytest.mark.parametrize(
    ("given", "settings", "task", "kind"),
    [
        ((TEXTS, LABELS), {}, "classify", "class"),
        ((tuple(TEXTS), np.array(LABELS)), {}, "classify", "class"),
        ((np.array(TEXTS), [1, 0] * 60), {}, "classify", "class"),
        ((TEXTS, np.arange(120) * 1.5), {}, "regress", "number"),
        ((TOKENS, TAGS), {}, "tag", "tags"),
        ((TEXTS, BACKWARDS), {}, "translate", "text"),
        ((TEXTS, BACKWARDS), {"task": "classify"}, "classify", "class"),
        ((TEXTS, LABELS), {"task": "translate"}, "translate", "text"),
        ((["hello you", "good day to all"] * 1, ["hallo du da", "guten Tag euch"]), {"test": 0.0}, "translate", "text"),
        ((TEXTS,), {}, "generate", "text"),
        ((["one long text " * 60],), {"task": "generate"}, "generate", "text"),
        ((TOKENS, LABELS), {}, "classify", "class"),
    ],
)
def test_targets_tell_the_task(given, settings, task, kind):
    found = nw.read(*given, **settings)
    assert (found.kind, found.task, found.outputs["kind"]) == ("text", task, kind)
    assert found.in_memory


def test_what_is_missing_is_left_out_and_said():
    found = nw.read([None, *TEXTS, float("nan"), "a good film"], ["pos", *LABELS, "neg", None])
    assert sum(found.examples.values()) == 120
    assert found.problems[0].where == "x[0]"
    assert "3 texts" in found.problems[0].what


def test_a_test_set_and_the_settings_of_texts():
    found = nw.read(TEXTS[:80], LABELS[:80], x_test=TEXTS[80:], y_test=LABELS[80:], tokens="character")
    assert found.examples["test"] == 40
    assert found.inputs["tokens"] == found.settings["tokens"] == "character"
    assert found.settings["lowercase"] == "auto"


@pytest.mark.parametrize(
    ("given", "settings", "error", "words"),
    [
        ((TEXTS, LABELS[1:]), {}, DataError, "x holds 120 examples, its y 119 targets"),
        (([*TEXTS[:3], 5], LABELS[:4]), {}, DataError, r"x\[3\] is int; a text is a string or a list of tokens"),
        ((TOKENS, [TAGS[0], *[row[1:] for row in TAGS[1:]]]), {}, DataError, r"x\[1\] holds 6 tokens, its y 5 tags"),
        ((TEXTS, TAGS), {}, DataError, r"x\[0\] is one string beside 6 tags"),
        ((TOKENS, [*TAGS[:2], "O", *TAGS[3:]]), {}, DataError, r"y\[2\] is str; the others are lists"),
        ((TEXTS, "pos"), {}, DataError, "targets are str"),
        ((["a\ud800", *TEXTS], ["pos", *LABELS]), {}, DataError, r"x\[0\] holds text that is not valid Unicode"),
        ((TEXTS,), {"task": "classify"}, DataError, "needs targets beside the texts"),
        ((TEXTS, LABELS), {"tokns": "word"}, UsageError, r"Did you mean 'tokens'"),
        ((TEXTS, LABELS), {"target": "x"}, UsageError, r"names a column"),
        ((TEXTS, LABELS), {"x_test": TEXTS}, UsageError, "x_test needs y_test"),
        ((TEXTS, LABELS), {"task": "tag"}, UsageError, "holds data for"),
    ],
)
def test_what_fits_not_is_refused_with_its_place(given, settings, error, words):
    with pytest.raises(error, match=words):
        nw.read(*given, **settings)


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_frame_of_labels_and_texts_is_one_of_texts(library):
    module = import_module(library)
    build = module.table if library == "pyarrow" else module.DataFrame
    columns = {"review": TEXTS, "opinion": LABELS}
    for settings in ({}, {"target": "opinion"}, {"source": "review", "target": "opinion", "tokens": "character"}):
        found = nw.read(build(columns), **settings)
        assert (found.kind, found.task, len(found.classes)) == ("text", "classify", 2)
    wider = build({**columns, "stars": list(range(120))})
    assert nw.read(wider, target="opinion").kind == "table"
    assert nw.read(wider, target="stars", source="review", task="regress").kind == "text"
    assert nw.read(build({"review": TEXTS, "n": list(range(120))}), target="n").kind == "table"
    with pytest.raises(DataError, match=r"no column 'reviw'\. Did you mean 'review'"):
        nw.read(wider, source="reviw", target="opinion")
    with pytest.raises(UsageError, match="both name the column 'review'"):
        nw.read(wider, source="review", target="review")
    with pytest.raises(UsageError, match="no setting 'kind'"):
        nw.read(build(columns), kind="image")


def test_a_run_learns_them_predicts_and_asks_for_them_again(tmp_path):
    data = nw.read(TEXTS, LABELS)
    settings = {"optimizer": {"name": "adam", "lr": 2e-2}, "epochs": 15, "quiet": True, "out": tmp_path / "run"}
    run = nw.train(data, {"name": "lstm", "hidden": 16, "embedding": 16}, **settings)
    assert run.report["test"]["accuracy"] > 0.9
    said = run.predict(["it was good and great", "the sad bad film"])
    assert [row["prediction"] for row in said] == ["pos", "neg"]
    with pytest.raises(NetwrightError, match="hand it over again"):
        rerun(run.path)
    assert nw.evaluate(run, TEXTS, LABELS)["examples"] == 120
