"""`Traits`: forms and numbers by hand, training words alone, states, and what an encoder and batches make of it."""

import json

import numpy as np
import pytest
import torch

from netwright.data.batches import padded
from netwright.data.source import Texts
from netwright.data.texts.encoder import TextEncoder, fit_texts
from netwright.data.texts.traits import LETTER_TRAITS, LONGEST, WORD_TRAITS, Traits, form, learn_traits, pairs, triples
from netwright.errors import DataError
from netwright.parts.sequences import Sequences

SENTENCES = Texts([("Ulm", "is", "near", "Bern"), ("Bern", "is", "far")])
NAMES = list(WORD_TRAITS)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("Netwright", "Xxx"), ("USA", "XX"), ("B-52s", "X-ddx"), ("@paulwalk", "@xx"), ("12:30", "dd:dd"),
        ("", ""), ("...", ".."), ("\u5317\u4eac\u5e02", "cc"), ("\u01c5ep", "Xxx"), ("\u00c9t\u00e9", "Xxx"),
        ("x\u00b2", "xd"), ("#Fun4U", "#XxxdX"), ("a" * 50, "xx"), ("-" * LONGEST + "A", "--"),
    ],
)  # fmt: skip
def test_forms_by_hand(word, wanted):
    assert form(word) == wanted


def test_numbers_by_hand():
    traits = Traits({"last two": ["rn", "lm"], "form": ["xx", "Xxx", "d"]})
    # 0 padding; 1 an unknown ending, 2 rn, 3 lm; 4 an unknown form, 5 xx, 6 Xxx, 7 d
    assert traits.encode([["Bern", "ULM"], [], ["Ulm", "7", "", "Bern"]]).tolist() == [
        [2, 6], [3, 4], [3, 6], [1, 7], [1, 4], [2, 6],
    ]  # fmt: skip
    assert len(traits) == 8
    assert traits.inputs == {"count": 8, "each": 2}
    assert traits.encode([]).shape == (0, 2)


def test_what_is_learnt_by_hand():
    texts = [["Ann", "ann", "Bo"], ["Ann", "Cy"]]
    traits = learn_traits(texts, WORD_TRAITS, least=2, most=10)
    assert traits.known == {
        "lower case": ["ann"], "first letter": ["A"], "first three": ["ann"], "last three": ["ann"],
        "last two": ["nn"], "form": ["Xx", "Xxx"],
    }  # fmt: skip
    assert learn_traits(texts, WORD_TRAITS, least=1, most=1).known["form"] == ["Xx"]


def test_half_a_character_gets_no_number_that_no_file_can_hold():
    traits = learn_traits([["a\ud800", "b"]], WORD_TRAITS, least=1, most=10)
    json.dumps(traits.state(), ensure_ascii=False).encode("utf-8")
    assert traits.encode([["a\ud800"]]).tolist()[0][0] == 1


def test_two_unseen_words_are_told_apart_and_known_ones_keep_their_number():
    encoder = fit_texts(SENTENCES, "tag")
    found = encoder.ragged(Texts([("Born", "is", "Turn"), ("LEARN",)]))
    assert found.flat.tolist() == encoder.tokenizer.encode(("Born", "is", "Turn", "LEARN"))
    assert found.flat.tolist()[0] == found.flat.tolist()[2] == found.flat.tolist()[3] == 1
    rows = {name: found.traits[:, place].tolist() for place, name in enumerate(NAMES)}
    assert rows["last two"][0] == rows["last two"][2] == rows["last two"][3]
    assert rows["form"][0] == rows["form"][2] != rows["form"][3]
    assert rows["first letter"][0] != rows["first letter"][2]
    assert encoder.inputs["traits"] == {"count": len(encoder.traits), "each": 6}


def test_each_row_stands_beside_its_token_in_any_batch():
    encoder = fit_texts(SENTENCES, "tag")
    texts = Texts([("Ulm",), ("is", "far", "near"), (), ("Bern", "x")])
    ragged = encoder.ragged(texts)
    assert ragged.traits.shape == (len(ragged.flat), 6)
    batch = padded(ragged.take([3, 1, 2]), np.array([1, 0, 2]), torch.device("cpu"))
    assert batch.values.dtype == batch.traits.dtype == torch.int64
    for row, words in enumerate((("is", "far", "near"), ("Bern", "x"), ("\ufffd",))):
        alone = torch.from_numpy(encoder.traits.encode([words]))
        assert batch.traits[row, : len(words)].tolist() == alone.tolist()
        assert not batch.traits[row, len(words) :].any()
    part = batch[1:2]
    assert part.traits.tolist() == batch.traits[1:2].tolist()
    assert isinstance(part, Sequences)


def test_prose_has_them_as_its_tokens_have():
    encoder = fit_texts(SENTENCES, "tag")
    divided = encoder.ragged(Texts([("Ulm", "is", "far", ".")]))
    assert torch.equal(encoder.ragged(Texts(["Ulm is far."])).traits, divided.traits)


def test_runs_of_letters_by_hand():
    assert pairs("Ann") == ["<A", "An", "nn"]
    assert triples("Ann") == ["<An", "Ann", "nn>"]
    assert (pairs(""), triples(""), triples("A")) == ([], [], ["<A>"])


@pytest.mark.parametrize("task", ["classify", "regress", "auto"])
def test_letters_of_names_have_their_neighbours(task):
    names = Texts(["Anna", "Ann", "Otto"])
    encoder = fit_texts(names, task)
    assert list(encoder.traits.known) == list(LETTER_TRAITS)
    found, alone = encoder.ragged(Texts(["Nan", "Anna"])), encoder.ragged(Texts(["Anna"]))
    assert found.traits[3:].tolist() == alone.traits.tolist()  # no run goes on into the next name
    known = [1 + encoder.traits.known["pair"].index(run) + 1 for run in ("<A", "An", "nn", "na")]
    assert alone.traits[:, 0].tolist() == known
    assert found.traits[0, 0] == 1  # no name begins with N
    short = fit_texts(names, "classify", length=2)
    assert short.ragged(names).traits.shape == (6, 2)


@pytest.mark.parametrize(
    ("texts", "task"),
    [
        (Texts([("\u5317", "\u4eac")]), "tag"), (SENTENCES, "classify"), (Texts(["Anna", "Ann"]), "translate"),
        (Texts(["\u5317\u4eac" * 21]), "classify"), (Texts(["Anna", "Ann"]), "generate"),
    ],
)  # fmt: skip
def test_other_tokens_and_tasks_have_none(texts, task):
    encoder = fit_texts(texts, task)
    assert "traits" not in encoder.inputs
    assert "traits" not in encoder.state()
    assert encoder.ragged(texts).traits is None
    assert encoder.encode(texts).traits is None


def test_the_state_comes_back_and_damage_is_refused():
    encoder = fit_texts(SENTENCES, "tag")
    state = json.loads(json.dumps(encoder.state(), ensure_ascii=False))
    again = TextEncoder.from_state(state)
    assert again == encoder
    assert torch.equal(again.ragged(SENTENCES).traits, encoder.ragged(SENTENCES).traits)
    for damaged in (None, [], {}, "form", {"form": "xx"}, {"form": ["x", "x"]}, {"other": ["x"]}, {"form": [1]}):
        with pytest.raises(DataError, match="damaged"):
            TextEncoder.from_state({**state, "traits": damaged})


def test_rare_words_are_unknown_where_there_are_enough_words():
    few, many = Texts([("often", "often", "once")]), Texts([("often",)] * 1000 + [("once", "Twice"), ("Twice",)])
    assert fit_texts(few, "tag").ragged(Texts([("once",)])).flat.tolist() != [1]
    encoder = fit_texts(many, "tag")
    assert encoder.ragged(Texts([("once",)])).flat.tolist() == [1]
    assert encoder.traits.known["last two"] == ["en", "ce"]
    assert fit_texts(many, "tag", least=1).ragged(Texts([("once",)])).flat.tolist() != [1]


def test_words_that_all_occur_once_are_kept():
    words = Texts([(f"w{number}",) for number in range(1200)])
    encoder = fit_texts(words, "tag")
    assert not (encoder.ragged(words).flat == 1).any()
    assert encoder.traits.known["form"] == ["xdd", "xd"]
    with pytest.raises(DataError, match="occurs 2 times"):
        fit_texts(words, "tag", least=2)
