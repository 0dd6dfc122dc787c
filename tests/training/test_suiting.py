"""Texts that are judged get settings of their own; every choice of the person stays, and nothing else changes."""

import pytest

import netwright as nw
from netwright.recipe import Recipe
from netwright.training.plan import resolve
from netwright.training.suiting import SHORT, SUITING, manner, suited

WORDS = {"good.txt": "a fine film with a heart\n" * 20, "bad.txt": "a dull film without one\n" * 20}
NAMES = {"it.txt": "Rossi\nBianchi\nVerdi\nRusso\n" * 10, "de.txt": "Schmidt\nMeyer\nWagner\nVogel\n" * 10}


def read(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return nw.read(folder)


def network_of(data, **tables):
    return resolve(Recipe(0, tables), data).table("network")


@pytest.mark.parametrize(("files", "kind"), [(WORDS, "words"), (NAMES, "names")])
def test_a_text_gets_what_suits_it(tmp_path, files, kind):
    data = read(tmp_path, files)
    assert manner(data.kind, data.inputs, data.task) == kind
    found = network_of(data)
    assert found["name"] == "lstm"
    assert {name: found[name] for name in SUITING[kind]} == SUITING[kind]


def test_what_was_chosen_stays(tmp_path):
    data = read(tmp_path, WORDS)
    found = network_of(data, network={"name": "gru", "dropout": 0.1, "readout": "last"})
    assert (found["dropout"], found["readout"], found["bidirectional"]) == (0.1, "last", True)
    assert network_of(data, network={"name": "text_cnn"})["dropout"] == 0.5


def test_long_texts_of_characters_are_no_names():
    inputs = {"kind": "text", "tokens": "character", "steps": SHORT}
    assert [manner("text", {**inputs, "steps": steps}, "classify") for steps in (SHORT, SHORT + 1)] == [
        "names",
        "characters",
    ]
    assert [manner("text", inputs, task) for task in ("tag", "generate", "translate")] == ["", "", ""]


def test_pictures_and_networks_without_readout_change_nothing():
    assert suited(["readout", "dropout"], "image", {"kind": "image"}, "classify") == {}
    assert suited(["channels", "dropout"], "text", {"kind": "text", "tokens": "word", "steps": 9}, "classify") == {}
    wanted = suited(["readout", "hidden"], "recording", {"kind": "sequence"}, "classify")
    assert wanted == {"hidden": 128, "readout": "max"}
    found = network_of(nw.read("digits"), network={"name": "lstm"})
    assert (found["hidden"], found["bidirectional"], found["dropout"], found["readout"]) == (64, False, 0.0, "auto")
