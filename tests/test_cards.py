"""The cards of faults: each teaches its fault in half a page, with a program that shows it."""

import json
import re
import sys

import pytest

from netwright.cards import card_of, card_text
from netwright.catalogue import FAULTS
from netwright.cli import _run
from netwright.errors import UsageError


@pytest.fixture
def shown(monkeypatch, capsys):
    """What `netwright show fault ...` prints."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("NETWRIGHT_LANG", "en")

    def show(*words: str) -> str:
        code = _run(["show", "fault", *words])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return show


def test_every_fault_of_sections_a_to_f_is_there():
    found = sorted(FAULTS, key=lambda name: (name[0], int(name[1:])))
    last = {"A": 15, "B": 12, "C": 16, "D": 11, "E": 8, "F": 4}
    assert found == [f"{section}{place}" for section, count in last.items() for place in range(1, count + 1)]
    assert len(found) == 66


@pytest.mark.parametrize("name", FAULTS)
def test_every_card_has_title_text_source_and_demo(name: str):
    card = card_of("fault", name)
    assert card["name"] == name
    assert 1 <= len(card["title"].split()) <= 10
    assert card["title"][0] != " "
    assert not card["title"].endswith(".")
    words = f"{card['summary']} {' '.join(card['text'])}".split()
    assert 60 <= len(words) <= 220, len(words)
    assert len(card["text"]) >= 2
    assert card["source"]
    assert card["settings"] == FAULTS[name].card()["settings"]
    compile(card["demo"], name, "exec")  # it is a whole program, not a part of one
    assert "print(" in card["demo"]
    text = card_text(card)
    assert card["title"] in text
    assert max(map(len, text.splitlines())) <= 130
    assert json.loads(json.dumps(card, allow_nan=False)) is not None


def test_titles_and_texts_are_each_fault_s_own():
    cards = [card_of("fault", name) for name in FAULTS]
    assert len({card["title"] for card in cards}) == len(cards)
    assert len({card["summary"] for card in cards}) == len(cards)
    assert len({card["demo"] for card in cards}) == len(cards)


def test_the_card_of_dead_units_is_printed(shown):
    text = shown("C6")
    assert text.startswith("faults C6  dead ReLU units")
    for word in ("inactive", "share", "source", "import", "netwright show fault C6 --demo"):
        assert word in text, word


def test_the_card_as_json(shown):
    card = json.loads(shown("C6", "--json"))
    assert (card["name"], card["title"]) == ("C6", "dead ReLU units")
    assert isinstance(card["text"], list)
    assert "import" in card["demo"]


def test_the_demo_runs_and_prints_numbers(shown):
    assert re.search(r"\d", shown("C6", "--demo"))


def test_the_card_in_chinese(shown):
    text = shown("C6", "--lang", "zh")
    assert re.search("[\u4e00-\u9fff]{4}", text)
    assert "netwright show fault C6 --demo" in text


def test_only_a_fault_has_a_demo():
    with pytest.raises(UsageError, match="C67"):
        card_of("fault", "C67")
    assert "demo" not in card_of("losses", "mse")
