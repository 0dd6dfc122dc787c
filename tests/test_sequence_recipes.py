"""The recipes of the five structures, long memory and char-RNN: each learns far above its baseline."""

import json

import pytest

from netwright.cli import _run
from netwright.recipes import shipped


def trained(capsys, *words):
    capsys.readouterr()
    assert _run(["train", *map(str, words), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_one_to_one_parts_circles_that_no_line_parts(capsys, tmp_path):
    found = trained(capsys, "@one-to-one", "--out", tmp_path / "run")
    assert found["test"]["accuracy"] > 0.95 > 0.7 > found["baseline"]["linear"]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["start", "each"])
def test_one_to_many_spells_numbers_it_never_saw(capsys, tmp_path, feed):
    found = trained(capsys, "@one-to-many", f"network.feed={feed}", "--out", tmp_path / "run")
    assert found["test"]["exact_match"] > 0.85
    assert max(row["exact_match"] for row in found["baseline"].values()) < 0.05


@pytest.mark.slow
def test_many_to_one_adds_numbers_that_lie_far_apart(capsys, tmp_path):
    found = trained(capsys, "@many-to-one", "--out", tmp_path / "run")
    assert found["test"]["mse"] < 0.02 < 0.15 < found["baseline"]["linear"]["mse"]


def test_many_to_many_remembers_letters(capsys, tmp_path):
    found = trained(capsys, "@many-to-many", "epochs=8", "--out", tmp_path / "run")
    assert found["test"]["token_accuracy"] > 0.9 > 0.7 > found["baseline"]["most_frequent_tag"]["token_accuracy"]


@pytest.mark.slow
def test_encoder_decoder_turns_words_round(capsys, tmp_path):
    found = trained(capsys, "@encoder-decoder", "--out", tmp_path / "run")
    assert found["test"]["exact_match"] > 0.97


@pytest.mark.slow
def test_the_lstm_adds_over_100_steps_and_the_simple_network_does_not(capsys, tmp_path):
    simple = ["network=rnn", "network.hidden=64", "network.recurrent_init=orthogonal"]
    lstm = trained(capsys, "@adding", "--out", tmp_path / "lstm")["test"]["mse"]
    rnn = trained(capsys, "@adding", *simple, "--out", tmp_path / "rnn")["test"]["mse"]
    assert lstm < 0.002
    assert 0.15 < rnn < 0.18


def test_char_rnn_has_the_settings_of_the_program(capsys, tmp_path):
    recipe = shipped("char-rnn")
    steps = recipe.table("schedule")["milestones"]
    assert (len(steps), steps[0], steps[-1]) == (40, 10 / 50, 49 / 50)
    assert recipe.table("training")["clip_value"] == 5
    (tmp_path / "text.txt").write_text("a rose is a rose is a rose. " * 200)
    found = trained(capsys, "@char-rnn", tmp_path / "text.txt", "epochs=2", "--out", tmp_path / "run")
    assert found["network"] == "char_lm"
    shares = json.loads((tmp_path / "run" / "data.json").read_text())
    assert shares["settings"]["window"] == 50


def test_each_states_its_formula_and_source(capsys):
    for name in ("one-to-one", "one-to-many", "many-to-one", "many-to-many", "encoder-decoder", "char-rnn", "adding"):
        assert shipped(name).check()
        assert _run(["show", "recipe", name]) == 0
        assert "formula" in capsys.readouterr().out
