"""Made sequences: their formulas, their constant answers, and that more of them leaves the first as they were."""

import math

import numpy as np
import pytest
import torch

from netwright.data.embedded import EMBEDDED, load_embedded
from netwright.errors import UsageError


def contents(source):
    """Inputs and targets as plain lists."""
    inputs = source.examples.texts if source.kind == "text" else source.examples.tensor.tolist()
    return inputs, list(source.targets)


@pytest.mark.parametrize("name", ["adding", "copy", "reverse"])
def test_more_examples_leave_the_first_as_they_were(name):
    few, many = contents(load_embedded(name, examples=30)), contents(load_embedded(name, examples=100))
    assert (few[0], few[1]) == (many[0][:30], many[1][:30])
    other = contents(load_embedded(name, examples=30, made_seed=1))
    assert other[0] != few[0]
    assert len(load_embedded(name).examples) == 10_000


def test_adding_marks_one_number_in_each_half_and_adds_them():
    source = load_embedded("adding", examples=4000)
    assert (source.kind, source.task, source.examples.tensor.shape) == ("sequence", "regress", (4000, 100, 2))
    numbers, marks = source.examples.tensor.double().unbind(2)
    assert set(marks.unique().tolist()) == {0.0, 1.0}
    assert marks[:, :50].sum(1).tolist() == marks[:, 50:].sum(1).tolist() == [1.0] * 4000
    assert (numbers * marks).sum(1).tolist() == source.targets.tolist()
    assert 0 <= float(numbers.min()) <= float(numbers.max()) < 1
    assert marks.any(0).all()
    assert np.mean((source.targets - 1) ** 2) == pytest.approx(1 / 6, abs=0.01)
    assert load_embedded("adding", examples=10, steps=3).examples.tensor.shape == (10, 3, 2)


def test_copy_repeats_its_letters_after_the_pause():
    source = load_embedded("copy", examples=500, steps=5, symbols=3)
    assert (source.kind, source.task) == ("text", "tag")
    for text, tags in zip(source.examples.texts, source.targets, strict=True):
        letters = text[:3]
        assert text == (*letters, "_", "_", "_", "_", ":", "_", "_", "_")
        assert tags == ("_",) * 8 + letters
    assert {letter for text in source.examples.texts for letter in text[:3]} == set("abcdefgh")
    whole = load_embedded("copy", examples=2)
    assert len(whole.examples.texts[0]) == len(whole.targets[0]) == 120
    assert "0.1733" in EMBEDDED["copy"].__doc__
    assert 10 * math.log(8) / (100 + 2 * 10) == pytest.approx(0.1733, abs=5e-5)


def test_spelling_names_every_number_once():
    source = load_embedded("spelling")
    named = dict(zip(source.examples.texts, source.targets, strict=True))
    assert (source.kind, source.task, len(named)) == ("text", "translate", 1000)
    assert [named[number] for number in ("0", "13", "40", "99", "100", "347", "810")] == [
        "zero", "thirteen", "forty", "ninety-nine", "one hundred", "three hundred forty-seven", "eight hundred ten",
    ]  # fmt: skip
    assert len(set(named.values())) == 1000
    assert load_embedded("spelling", examples=20_018).targets[20_017] == "twenty thousand seventeen"


def test_repeats_tells_letters_that_stood_before():
    source = load_embedded("repeats", examples=300, steps=9)
    assert (source.kind, source.task) == ("text", "tag")
    for text, tags in zip(source.examples.texts, source.targets, strict=True):
        assert [tag == "again" for tag in tags] == [text.index(letter) < place for place, letter in enumerate(text)]
    assert {len(text) for text in source.examples.texts} == set(range(2, 10))
    few = load_embedded("repeats", examples=30, steps=9)
    assert (few.examples.texts, list(few.targets)) == (source.examples.texts[:30], list(source.targets[:30]))


def test_reverse_turns_words_round():
    source = load_embedded("reverse")
    assert (source.kind, source.task) == ("text", "translate")
    assert all(target == text[::-1] for text, target in zip(source.examples.texts, source.targets, strict=True))
    assert sorted({len(text) for text in source.examples.texts}) == [5, 6, 7, 8, 9, 10]
    assert len(set(source.examples.texts)) >= 9_990
    short = load_embedded("reverse", examples=50, least=4, most=2, alphabet=2)
    assert {len(text) for text in short.examples.texts} == {4}
    assert set("".join(short.examples.texts)) == {"a", "b"}


def test_ar_is_its_process():
    source = load_embedded("ar", steps=4000, noise=2.0)
    y = source.examples.values[:, 0].double().numpy()
    shocks = (y[2:] - 1.5 * y[1:-1] + 0.75 * y[:-2]) / 2
    assert (shocks.mean(), shocks.std()) == (pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.03))
    assert abs(np.corrcoef(shocks[1:], shocks[:-1])[0, 1]) < 0.05
    assert y.var() / 4 == pytest.approx(8.615, rel=0.1)  # of this process by the Yule-Walker equations
    assert np.abs(np.diff(y)).mean() / 2 == pytest.approx(1.252, rel=0.05)
    shorter = load_embedded("ar", steps=400, noise=2.0)
    assert torch.equal(shorter.examples.values, source.examples.values[:400])
    first = source.examples.starts[source.given["test"]][0]
    assert source.targets[source.given["test"]][0, 0] == pytest.approx(y[first + 24], rel=1e-6)
    assert source.facts["naive_error"] > 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [("adding", {"steps": 1}), ("copy", {"alphabet": 27}), ("reverse", {"letters": 3}), ("ar", {"steps": 3})],
)
def test_settings_out_of_range_are_refused(name, settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        load_embedded(name, **settings)
