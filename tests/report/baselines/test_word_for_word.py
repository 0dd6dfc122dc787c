"""Word-for-word translation against the textbook's loop over pairs."""

from collections import defaultdict

import numpy as np
import pytest

from netwright.errors import UsageError
from netwright.report.baselines import word_for_word as module
from netwright.report.baselines.word_for_word import Dictionary, word_for_word

PAIRS = [("the house", "das Haus"), ("the book", "das Buch"), ("a book", "ein Buch"), ("The house!", "Das Haus!")]


def plain(pairs, rounds):
    """IBM model 1 as the textbook writes it: expected counts pair by pair."""
    t = defaultdict(lambda: 1.0)
    for _ in range(rounds):
        count, total = defaultdict(float), defaultdict(float)
        for source, target in pairs:
            for f in target:
                norm = sum(t[f, e] for e in source)
                for e in source:
                    count[f, e] += t[f, e] / norm
                    total[e] += t[f, e] / norm
        t = defaultdict(float, {(f, e): value / total[e] for (f, e), value in count.items()})
    return t


def test_learns_the_dictionary_of_the_textbook():
    assert word_for_word(PAIRS, ["the book", "A HOUSE", "the Zug!"]) == ["das Buch", "ein Haus", "das Zug!"]


def test_equals_the_plain_loop():
    draw = np.random.default_rng(0)
    pairs = []
    for _ in range(60):
        source = draw.integers(0, 8, draw.integers(1, 6)).tolist()
        noise = draw.integers(0, 8, draw.integers(0, 2)).tolist()
        pairs.append((tuple(f"e{k}" for k in source), tuple(f"f{k}" for k in [*source[::-1], *noise])))
    t = plain([(("", *source), target) for source, target in pairs], 5)
    found = Dictionary.fit(pairs).words
    assert set(found) == {f"e{k}" for k in range(8)}
    for e, f in found.items():
        assert t[f, e] == pytest.approx(max(value for (_, other), value in t.items() if other == e), rel=1e-9)


def test_marks_translate_marks_only():
    pairs = [("a dog.", "ein Hund."), ("a cat.", "eine Katze."), ("a dog?", "der Hund?")]
    found = Dictionary.fit(pairs).words
    assert [found["."], found["?"]] == [".", "?"]
    assert found["a"] not in ".?"


def test_chinese_is_taken_by_character():
    pairs = [("I eat", "我吃"), ("I see", "我看"), ("you eat", "你吃"), ("you see", "你看")]
    assert word_for_word(pairs, ["you see", "I eat", ""]) == ["你看", "我吃", ""]


@pytest.mark.parametrize("pairs", [[("", "")], [("a", "")], [("", "b")], [(".", "b")]])
def test_pairs_that_teach_nothing_leave_words_as_they_are(pairs):
    assert word_for_word(pairs, ["Ab c?"]) == ["Ab c?"]


def test_no_pairs_are_refused():
    with pytest.raises(UsageError, match="no training pairs"):
        word_for_word([], ["a"])


def test_a_small_budget_learns_from_a_part_and_repeats(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 20)
    found = word_for_word(PAIRS * 20, ["the house"])
    assert found == word_for_word(PAIRS * 20, ["the house"])
