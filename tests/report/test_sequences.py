"""The page's sections for sequences: what stands in them, and nothing that is not escaped or bounded."""

import re

import numpy as np
import pytest

from netwright.language import speak
from netwright.parts.metrics import Likelihoods
from netwright.report import facts, sequences
from netwright.report.judge_sequences import aligned, confusions, judge_answers
from netwright.report.page import main_metric, page
from netwright.report.words import BESIDE, report_text, verdict
from netwright.report.words import main_metric as leading
from netwright.training.answers import Answers

HOSTILE = "<script>alert('x')</script>\u202e\x00"


@pytest.fixture(autouse=True)
def english():
    speak("en")
    yield
    speak(None)


def plain(source: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", source).split())


def likelihoods(count: int) -> Likelihoods:
    return Likelihoods(np.ones(count), np.full(count, 3), np.full(count, 3))


def test_words_are_aligned_with_the_fewest_edits():
    assert aligned(["a", "b", "c"], ["a", "x", "c", "d"]) == [("a", "a"), ("b", "x"), ("c", "c"), (None, "d")]
    assert aligned(["a", "b"], []) == [("a", None), ("b", None)]
    assert aligned([], []) == []


def test_confusions_of_words_are_counted():
    found = confusions(["one two", "one two", "five"], ["one", "six two", "six five"])
    assert found == [
        {"truth": None, "said": "six", "count": 1},
        {"truth": "one", "said": "six", "count": 1},
        {"truth": "two", "said": None, "count": 1},
    ]
    shown = plain(sequences.confusions({"confusions": found}))
    assert "(none: added) six 1" in shown
    assert "two (left out) 1" in shown


def test_the_judgement_of_tags_holds_every_type():
    truth, said = [["B-X", "I-X", "O"], ["B-Y", "O", "O"]], [["B-X", "I-X", "O"], ["O", "O", "O"]]
    found = judge_answers("tag", truth, Answers(0.5, said, likelihoods(2))).json()
    assert found["entities"]["X"] == {"precision": 1, "recall": 1, "f1": 1, "truth": 1, "predicted": 1}
    assert found["entities"]["Y"]["precision"] is None
    shown = plain(sequences.entities(found))
    assert "X 1 1 1 1 1" in shown
    assert "Y \u2013 0 0 1 0" in shown


def test_the_judgement_of_forecasts_holds_a_typical_window():
    truth = np.zeros((5, 2))
    said = np.repeat(np.array([[9.0], [1], [3], [2], [0]]), 2, axis=1)
    found = judge_answers("forecast", truth, Answers(0.1, said, naive_error=2.0, outputs=_rows(5))).json()
    assert (found["typical"]["position"], found["typical"]["error"]) == (3, 2.0)
    assert found["mistakes"][0]["position"] == 0


def _rows(count: int):
    import torch

    return torch.zeros(count, 2)


def test_texts_without_spaces_are_told_apart_by_character():
    found = judge_answers("translate", ["abcd", "efgh"], Answers(0.1, ["abxx", "efgx"], likelihoods(2)))
    assert [mistake["error"] for mistake in found.mistakes] == [2, 1]
    found = judge_answers("translate", ["ab cd", "ef"], Answers(0.1, ["ab xx", "xx"], likelihoods(2)))
    assert [mistake["error"] for mistake in found.mistakes] == [1, 1]


def test_wrong_tags_stand_under_their_tokens():
    row = {"position": 4, "truth": ["O", "B-X", "O"], "prediction": ["O", "O", "O"], "input": "file:7"}
    source = sequences.mistakes({"task": "tag", "mistakes": [row]}, {"sources": {4: ["in", "Rome", "now"]}})
    assert "in <span><b><bdi>Rome</bdi></b>" in re.sub(r"<bdi>in</bdi>", "in", source)
    assert plain(source).endswith("file:7 \u00b7 1 of 3 tags are wrong in Rome B-X O now")


def test_long_sentences_are_cut_around_what_is_wrong():
    truth = ["O"] * 400
    said = ["O"] * 200 + ["B-X"] * 100 + ["O"] * 100
    row = {"position": 0, "truth": truth, "prediction": said}
    tokens = [f"t{place}." for place in range(400)]
    shown = plain(sequences.mistakes({"task": "tag", "mistakes": [row]}, {"sources": {0: tokens}}))
    assert "t10." not in shown
    assert "t195." in shown
    assert "t201." in shown
    assert "t390." not in shown
    assert shown.count("B-X") == sequences.WRONG
    assert "100 of 400 tags are wrong" in shown


def test_tags_whose_data_is_gone_are_shown_without_tokens():
    row = {"position": 0, "truth": ["O", "B-X"], "prediction": ["O", "O"]}
    assert "\u25a1" in sequences.mistakes({"task": "tag", "mistakes": [row]}, {})


def test_texts_show_source_truth_and_what_was_said():
    row = {"position": 1, "truth": "\u6211\u5403", "prediction": "", "error": 2.0, "input": "line 3"}
    shown = plain(sequences.mistakes({"task": "translate", "mistakes": [row]}, {"sources": {1: "I eat"}}))
    assert "line 3 I eat \u6211\u5403 (nothing) 2" in shown
    assert "source" not in plain(sequences.mistakes({"task": "transcribe", "mistakes": [row]}, {}))


def test_misjudged_texts_are_shown():
    row = {"position": 2, "truth": "neg", "prediction": "pos", "probability": 0.75, "input": "line 9"}
    shown = plain(sequences.mistakes({"task": "classify", "mistakes": [row]}, {"sources": {2: HOSTILE}}))
    assert shown.startswith("Most confident mistakes")
    assert "line 9 &lt;script&gt;" in shown
    assert shown.endswith("neg pos 75.0 %")
    assert sequences.mistakes({"task": "classify", "mistakes": [row]}, {}) == ""  # pictures and tables have their own
    number = {"position": 2, "truth": 3.0, "prediction": 1.5, "error": -1.5}
    shown = plain(sequences.mistakes({"task": "regress", "mistakes": [number]}, {"sources": {2: "a"}}))
    assert shown.endswith("example 2 a 3 1.5 -1.5")


def test_the_hardest_pieces_are_shown_on_one_line():
    row = {"position": 0, "truth": None, "prediction": None, "error": 5.25, "input": "a.txt@3"}
    shown = sequences.mistakes({"task": "generate", "mistakes": [row]}, {"sources": {0: "ab\ncd" + "e" * 900}})
    assert "ab \u21b5 cde" in shown
    assert "5.25" in shown
    assert len(plain(shown)) < 400


def test_forecasts_are_drawn():
    window = {"name": "1959-08", "kind": "worst", "past": [1.0, 2.0, 3.0], "truth": [4.0, 5.0],
              "prediction": [4.5, None], "naive": [2.0, 3.0], "error": 0.5}  # fmt: skip
    source = sequences.forecasts({"forecasts": [window, {"kind": "typical"}]})
    assert source.count("<svg") == 1
    for name in ("past", "truth", "this network", "seasonal naive", "1959-08: off by 0.5 on average"):
        assert name in plain(source)


def test_samples_are_shown_by_temperature():
    shown = plain(sequences.samples({"samples": [{"temperature": 0.5, "text": HOSTILE}]}))
    assert "temperature 0.5" in shown
    assert sequences.samples({}) == ""


@pytest.mark.parametrize(
    "task", ["tag", "translate", "transcribe", "generate", "forecast", "verify", "classify", "regress"]
)
def test_hostile_records_never_break_a_page(task):
    row = {"position": 0, "truth": [HOSTILE] if task == "tag" else HOSTILE, "prediction": ["O"], "input": HOSTILE,
           "error": float("nan")}  # fmt: skip
    report = {"task": task, "mistakes": [row, None, 7], "entities": {HOSTILE: {"f1": "x"}, "b": None},
              "confusions": [{"truth": HOSTILE}, 3], "samples": [{"text": HOSTILE}, "x"], "typical": 4,
              "metrics": {"eer": None, HOSTILE: {"value": 1}}}  # fmt: skip
    beside = {"sources": {0: [HOSTILE] if task == "tag" else HOSTILE}, "forecasts": [{"past": [HOSTILE]}, None],
              "unknown": "x", "longest": None}  # fmt: skip
    source = page({"report": report, "beside": beside})
    assert "<script" not in source
    assert "\x00" not in source


HEADLINES = {
    "tag": ("entity_f1", 0.5, "Entities are found with an F1 of 0.5000"),
    "generate": ("bits_per_character", 1.9, "A character costs 1.9 bits"),
    "translate": ("bleu", 21.5, "reach a BLEU of 21.5"),
    "forecast": ("mase", 0.8, "Forecasts are off by 12.5 on average, 0.8000 times the seasonal naive error"),
    "transcribe": ("word_error_rate", 0.08, "The word error rate is 8.0 %"),
    "verify": ("eer", 0.074, "The equal error rate is 7.4 %"),
}


@pytest.mark.parametrize("task", list(HEADLINES))
def test_every_task_has_its_headline_and_its_verdict(task):
    metric, value, words = HEADLINES[task]
    other = {name: {"value": 12.5, "low": 12, "high": 13} for name in BESIDE.get(task, ()) if name != metric}
    metrics = {metric: {"value": value, "low": value * 0.99, "high": value * 1.01}, **other}
    rises = task in ("tag", "translate")
    worse, better = (value / 2, value * 2) if rises else (value * 2, value / 2)
    for score, kind in ((worse, "ahead"), (better, "behind")):
        report = {"task": task, "examples": 40, "metrics": metrics, "baseline": {"last_value": {metric: score}}}
        assert main_metric(report) == metric
        source = page({"report": report})
        assert words in plain(source.split("</style>")[1])
        assert f'<span class="pill {kind}">' in source
        assert ("A BASELINE WINS" in verdict(task, metrics, report["baseline"])) == (kind == "behind")
        assert "last value" in verdict(task, metrics, report["baseline"])


def test_texts_too_short_for_bleu_lead_with_exact_answers():
    metrics = {"bleu": {"value": 0.0}, "exact_match": {"value": 0.8}, "perplexity": {"value": 1.1}}
    assert leading("translate", metrics) == "exact_match"
    assert leading("translate", {**metrics, "exact_match": {"value": 0.0}}) == "bleu"
    assert leading("generate", {"bits_per_character": {"value": None}, "nll": {"value": 8.0}}) == "nll"


def test_the_terminal_shows_the_metrics_that_belong_together():
    metrics = {name: {"value": number, "low": None, "high": None} for name, number in
               (("perplexity", 5.0), ("exact_match", 0.1), ("bleu", 20.5), ("chrf", 50.5))}  # fmt: skip
    report = {"network": "seq2seq", "parameters": 10, "steps": 3, "seconds": 1, "best_epoch": 1, "epochs": 1,
              "task": "translate", "examples": 1000, "metrics": metrics, "baseline": {"lead": {"bleu": 3.5}},
              "findings": [], "notes": [], "run": "runs/x"}  # fmt: skip
    lines = report_text(report).split("\n")
    assert lines[1] == "test (1,000 examples): bleu 20.5, chrf 50.5, perplexity 5"
    assert lines[2] == "  the best baseline, first words, reaches 3.5"
    verify = {**report, "task": "verify", "metrics": {"eer": {"value": 0.05}}, "baseline": {}}
    assert report_text(verify).split("\n")[1] == "test (1,000 pairs): eer 0.05"


def test_shapes_of_sequences_are_told_in_words():
    text = {"kind": "text", "tokens": "character", "vocabulary": 1413, "steps": 178}
    assert facts.shape(text) == "text of 1,413 characters"
    assert facts.shape({"kind": "number", "count": 12, "season": 12, "column": 0}) == "number 12"
    sound = {"kind": "sequence", "steps": 229, "features": 40, "variable": True}
    assert facts.shape(sound) == "sequence of up to 229 steps of 40 features"
    shown = plain(facts.data({"name": "a", "inputs": text}, {"unknown": 0.0125, "longest": 99}))
    assert "longest test text 99 tokens" in shown
    assert "1.2 %" in shown
