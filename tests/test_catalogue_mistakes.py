"""Mistakes about the catalogue, each made once by somebody: what they ask for is done or refused, never left out."""

import json
import re

import pytest

import netwright as nw
from netwright.catalogue import NETWORKS, READERS
from netwright.cli import _run
from netwright.recipe import Recipe


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("anatomy mlp optimizer.lr=0.1", "settings of the network only"),
        ("anatomy mlp name=softmax", "settings of the network only"),
        ("anatomy mlp network.name=softmax", "settings of the network only"),
        ("anatomy mlp softmax lenet5", "'lenet5' is no override"),
        ("anatomy hidden=[3] mlp", "wants a network first"),
        ("anatomy mlp --svg no/such/folder/mlp.svg", "--svg no/such/folder/mlp.svg"),
    ],
)
def test_words_that_anatomy_cannot_use_are_refused(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _run(words.split()) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().split("\n")) <= 3
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_written_where_it_was_asked_for(capsys, tmp_path):
    assert _run(["anatomy", "mlp", "network.hidden=[3]", "--svg", str(tmp_path / "mlp.svg")]) == 0
    assert (tmp_path / "mlp.svg").read_text().startswith("<svg")
    assert "2,395" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(READERS))
def test_every_readers_card_is_json(name, capsys):
    assert _run(["show", "reader", name, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["name"], card["facts"]) == (name, {"given": READERS[name].facts["given"]})


IMAGES = [name for name, part in NETWORKS.items() if part.facts.get("inputs") == ("image",)]


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "stack"])
def test_a_refusal_names_the_network_that_was_asked_for(name):
    with pytest.raises(nw.UsageError, match=re.escape(f"network {name!r} takes images; a vector of 7 features came")):
        nw.network(name, inputs=7, outputs=2)


def test_own_steps_heed_the_data_settings_of_a_recipe():
    recipe = Recipe().override(["data.batch_size=7", "data.limit=21", "network=softmax", "epochs=1", "threads=1"])
    assert [step.examples for step in nw.steps("digits", recipe=recipe)] == [7, 7, 7]
    with pytest.raises(nw.UsageError, match="data settings belong to read"):
        nw.steps(nw.read("digits"), recipe=recipe)


def test_a_layer_that_fails_while_it_runs_is_named():
    with pytest.raises(nw.UsageError, match=r"layer 2\.1 'maxout': .*3 channels do not divide into groups of 2"):
        nw.network("stack", inputs=(3, 8, 8), outputs=2, layers="relu, residual(maxout), linear out")
