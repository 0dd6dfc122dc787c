"""Entities of every scheme as conlleval and seqeval read them, and their F1 by hand."""

import numpy as np
import pytest

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.parts import metrics


def spans(tags: str) -> list[tuple[str, int, int]]:
    return [tuple(entity) for entity in metrics.entities(tags.split())]


# The right-hand sides are those of seqeval 1.2.2 (get_entities), where it knows the prefixes.
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-A I-A O B-B", [("A", 0, 1), ("B", 3, 3)]),
        ("B-A B-A I-A", [("A", 0, 0), ("A", 1, 2)]),
        ("O I-A I-A O", [("A", 1, 2)]),  # an I without a B begins an entity
        ("B-A I-B", [("A", 0, 0), ("B", 1, 1)]),  # and so does another type
        ("I-A B-A I-B I-B", [("A", 0, 0), ("A", 1, 1), ("B", 2, 3)]),
        ("B-A E-A S-A", [("A", 0, 1), ("A", 2, 2)]),
        ("B-A I-A E-A I-A E-A", [("A", 0, 2), ("A", 3, 4)]),
        ("E-A E-A O E-B", [("A", 0, 0), ("A", 1, 1), ("B", 3, 3)]),
        ("S-A I-A S-A", [("A", 0, 0), ("A", 1, 1), ("A", 2, 2)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 1)]),
        ("O O O", []),
        ("", []),
        ("B-NAME M-NAME E-NAME O S-NAME", [("NAME", 0, 2), ("NAME", 4, 4)]),  # BMES, not seqeval's
        ("B-A I-A L-A U-A", [("A", 0, 2), ("A", 3, 3)]),  # BILOU, not seqeval's
        ("PER PER O LOC PER", [("PER", 0, 1), ("LOC", 3, 3), ("PER", 4, 4)]),  # bare types
        ("B M E S B E", [("", 0, 2), ("", 3, 3), ("", 4, 5)]),  # words
        ("B_人名 I_人名", [("人名", 0, 1)]),
    ],
)
def test_entities_of_every_scheme(tags, expected):
    assert spans(tags) == expected


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ("B-A I-A O", "BIO"),
        ("B-A O", "BIO"),
        ("B-A I-A E-A S-A O", "BIOES"),
        ("B-A M-A E-A S-A O", "BMES"),
        ("B-A I-A L-A U-A O", "BILOU"),
        ("I-A I-B O", "IO"),
        ("PER LOC O", "IO"),
        ("B M E S", "BMES"),
        ("B I O", "BIO"),
        ("NN VB DT", ""),
        ("O", ""),
        ("", ""),
    ],
)
def test_schemes(tags, name):
    assert metrics.scheme(iter(tags.split())) == name


def test_entity_f1_by_hand():
    truth = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"], ["O"]]
    said = [["B-A", "I-A", "O", "B-A"], ["B-A", "I-A"], ["O"]]
    # found (A, 0, 1); missed (B, 3, 3) and (A, 1, 1); invented (A, 3, 3) and (A, 0, 1)
    assert METRICS["entity_f1"](truth, said) == pytest.approx(2 / 6)
    assert METRICS["token_accuracy"](truth, said) == pytest.approx(4 / 7)
    table = metrics.entity_table(truth, said)
    assert table["A"] == {"precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5, "truth": 2, "predicted": 3}
    assert table["B"] == {"precision": None, "recall": 0.0, "f1": 0.0, "truth": 1, "predicted": 0}
    arrays = np.empty(3, dtype=object)
    arrays[:] = [tuple(tags) for tags in truth]
    assert METRICS["entity_f1"](arrays, said) == pytest.approx(2 / 6)


def test_half_an_entity_is_none():
    assert METRICS["entity_f1"]([["B-A", "M-A", "E-A"]], [["B-A", "M-A", "O"]]) == 0.0
    assert METRICS["entity_f1"]([["B-A", "M-A", "E-A"]], [["B-A", "M-A", "E-A"]]) == 1.0


def test_tags_that_are_all_o():
    outside = [["O", "O"], ["O"]]
    assert METRICS["entity_f1"](outside, outside) is None
    assert METRICS["token_accuracy"](outside, outside) == 1.0
    assert METRICS["entity_f1"](outside, [["O", "B-A"], ["O"]]) == 0.0
    assert METRICS["entity_f1"]([["O", "B-A"], ["O"]], outside) == 0.0
    assert metrics.entity_table(outside, outside) == {}


def test_tags_that_stand_for_themselves_have_no_entities():
    truth, said = [["DT", "NN", "VB"]], [["DT", "NN", "NN"]]
    assert metrics.measure("tag", truth, said) == {"entity_f1": None, "token_accuracy": pytest.approx(2 / 3)}
    assert metrics.entity_table(truth, said) == {}


def test_tags_that_cannot_be_measured():
    assert metrics.measure("tag", [], []) == {"entity_f1": None, "token_accuracy": None}
    assert metrics.measure("tag", [[]], [[]]) == {"entity_f1": None, "token_accuracy": None}
    for name in ("entity_f1", "token_accuracy"):
        with pytest.raises(UsageError, match="2 true values, but 1 predictions"):
            METRICS[name]([["O"], ["O"]], [["O"]])
        with pytest.raises(UsageError, match="example 1: 2 true tags, but 1 predicted"):
            METRICS[name]([["O"], ["O", "O"]], [["O"], ["O"]])
        with pytest.raises(UsageError, match="example 0: a list of tags"):
            METRICS[name](["O"], ["O"])
        with pytest.raises(UsageError, match="a tag is a text; got 3"):
            METRICS[name]([["O"]], [[3]])


@pytest.mark.shared_data
def test_real_tags_hold_their_entities(shared_data):
    text = (shared_data / "resume-ner" / "test.char.bmes").read_text(encoding="utf-8")
    truth = [[line.split()[1] for line in block.splitlines()] for block in text.split("\n\n") if block.strip()]
    assert metrics.scheme(tag for tags in truth for tag in tags) == "BMES"
    begun = sum(tag[0] in "BS" for tags in truth for tag in tags if tag != "O")
    assert sum(len(metrics.entities(tags)) for tags in truth) == begun
    assert METRICS["entity_f1"](truth, truth) == 1.0
