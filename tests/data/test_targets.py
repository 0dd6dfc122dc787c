"""Targets: classes in their order, numbers on a scale and back, and what counts as which."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import netwright as nw
from netwright.data.source import InMemory, Source
from netwright.data.targets import (
    ClassTargets,
    NumberTargets,
    class_name,
    decide_task,
    fit_targets,
    number,
    targets_from,
    undotted,
    usable,
)
from netwright.errors import DataError


def source(targets, kind="vector", classes=None):
    targets = np.array(targets, dtype=object) if isinstance(targets, list) else targets
    ids = [f"row {n}" for n in range(len(targets))]
    return Source(kind, "some", InMemory(torch.zeros(len(targets), 1)), targets, ids, classes=classes)


def fitted(targets, task="classify", **more):
    return fit_targets(source(targets, **more), task, np.arange(len(targets)))


# classes ------------------------------------------------------------------------------------------------------


def test_numbers_are_ordered_as_numbers_and_words_as_words():
    assert fitted(["10", "9", "-1", "2.5"]).classes == ["-1", "2.5", "9", "10"]
    assert fitted([10, 9, 2]).classes == ["2", "9", "10"]
    assert fitted(["b", "a", "10", "9"]).classes == ["10", "9", "a", "b"]
    assert fitted(["b", "a"], classes=["b", "c", "a"]).classes == ["b", "a"]


def test_three_is_one_class_however_it_is_written():
    names = {class_name(value) for value in (3, 3.0, np.float32(3), np.int8(3), "3", np.str_("3"))}
    assert names == {"3"}
    assert class_name(3.5) == "3.5"
    assert class_name(True) == class_name(np.bool_(True)) == "true"
    assert class_name(2**63) == "9223372036854775808"
    targets = fitted([3, 4.0, "3", np.float64(4)])
    assert targets.classes == ["3", "4"]
    assert targets.encode([3.0, "4", np.int64(3)]).tolist() == [0, 1, 0]
    assert targets.encode([]).shape == (0,)


def test_names_of_one_number_have_one_order_in_every_process():
    """`1` and `01` are equal as numbers: a set's own order would change with the hash seed."""
    assert fitted(["1", "01", "1.0", "2", "+1", "1e0"] * 10).classes == ["+1", "01", "1", "1.0", "1e0", "2"]


def test_missing_targets_are_left_out_and_make_no_class():
    x = np.arange(40.0)[:, None]
    y = (np.arange(40) % 2).astype(float)
    y[[3, 7]] = math.nan
    data = nw.read(x, y)
    assert data.classes == ["0", "1"]
    assert sum(data.examples.values()) == 38
    assert not {3, 7} & {int(p) for positions in data.splits.values() for p in positions}
    [problem] = [problem for problem in data.problems if "missing" in problem.what]
    assert (problem.where, problem.what, problem.action) == (
        "arrays[3]",
        "2 targets are missing or no number",
        "left out",
    )
    for absent in (None, "", math.nan):
        positions, problems = usable(source(["a", absent, "b"]), "classify")
        assert positions.tolist() == [0, 2]
        assert len(problems) == 1
        assert fitted(["a", absent, "b"]).classes == ["a", "b"]


def test_a_label_and_a_full_stop_is_that_label():
    """As in the test file of the `adult` set."""
    assert undotted("<=50K.", ["<=50K", ">50K"]) == "<=50K"
    assert undotted("<=50K .", ["<=50K", ">50K"]) == "<=50K"
    assert undotted("a.", ["a.", "a"]) == "a."
    assert undotted("b.", ["a"]) == "b."
    assert undotted(".", ["a"]) == "."
    targets = fit_targets(source(["a", "b", "a.", "c."]), "classify", np.array([0, 1]))
    assert targets.classes == ["a", "b", "c."]
    assert targets.encode(["a.", "b", "c."]).tolist() == [0, 1, 2]


def test_unknown_and_lonely_classes_are_refused():
    with pytest.raises(DataError, match=r"class 'sertosa' is not one of the 2 known\. Did you mean 'setosa'\?"):
        ClassTargets(["setosa", "virginica"]).encode(["setosa", "sertosa"])
    with pytest.raises(DataError, match=r"some has one class only \(a\); two are needed"):
        fitted(["a", "a"])


# numbers ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40))
def test_numbers_come_back_from_the_scale(values):
    targets = fitted(np.array(values), "regress")
    encoded = targets.encode(np.array(values))
    assert encoded.dtype == torch.float32
    assert encoded.shape == (len(values), 1)
    spread = max(values) - min(values)
    apart = np.abs(targets.decode(encoded).numpy() - values).max()
    assert apart <= 1e-5 * max(spread, 1e-9 * max(map(abs, values)) + 1e-300)
    if spread > 1e-6 * max(map(abs, values)) and spread > 1e-100:
        standard = (np.array(values) - np.mean(values)) / np.std(values)
        np.testing.assert_allclose(encoded[:, 0].numpy(), standard, rtol=1e-4, atol=1e-4)


def test_a_constant_target_keeps_its_scale():
    """The deviation of ten times 0.1 is 1.4e-17 by rounding: no scale to divide by."""
    targets = fitted(np.full(10, 0.1), "regress")
    assert (targets.mean, targets.scale) == (0.1, 1.0)
    assert targets.encode([0.1, 1.1]).flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_tiny_and_huge_targets_have_a_scale(size):
    values = np.array([1.0, 2.0, 3.0]) * size
    targets = fitted(values, "regress")
    np.testing.assert_allclose(targets.encode(values)[:, 0].numpy(), [-1.2247449, 0, 1.2247449], atol=1e-6)
    np.testing.assert_allclose(targets.decode(targets.encode(values)).numpy(), values, rtol=1e-6)


def test_the_scale_is_of_the_training_split_alone():
    values = np.array([1.0, 3.0, 1e9])
    targets = fit_targets(source(values), "regress", np.array([0, 1]))
    assert (targets.mean, targets.scale) == (2.0, 1.0)


def test_numbers_far_from_0_keep_their_digits():
    values = 1.7e9 + np.arange(5.0)
    targets = fitted(values, "regress")
    np.testing.assert_allclose(targets.decode(targets.encode(values)).numpy(), values, atol=1e-4, rtol=0)


def test_what_is_no_number_is_left_out_of_training_and_refused_later():
    positions, [problem] = usable(source(["1.5", "n/a", "2", None]), "regress")
    assert positions.tolist() == [0, 2]
    assert problem.what == "2 targets are missing or no number"
    with pytest.raises(DataError, match=r"no target of some is a number \('x', \.\.\.\); data\.task=classify\?"):
        usable(source(["x", "y"]), "regress")
    targets = fitted(["1.5", "2"], "regress")
    with pytest.raises(DataError, match=r"target 'x' \(example 1\) is no number"):
        targets.encode(["1", "x"])
    with pytest.raises(DataError, match="is no number"):
        targets.encode(np.array([1.0, math.inf]))
    assert math.isnan(number("x"))
    assert math.isnan(number(None))
    assert number(" 2.5 ") == 2.5


@pytest.mark.parametrize("targets", [ClassTargets(["b", "a", "ü"]), NumberTargets(0.1 + 0.2, 1e-300)])
def test_state_and_back(targets):
    import json

    assert targets_from(json.loads(json.dumps(targets.state()))) == targets


# which of the two -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "kind", "task"),
    [
        (np.arange(20) % 20, "vector", "classify"),
        (np.arange(21), "vector", "regress"),
        (np.arange(20).astype(float), "table", "classify"),
        (np.array([0.5, 1.0, 2.0]), "vector", "regress"),
        (np.array(["1", "2", "1"], object), "table", "classify"),
        (np.array([str(n) for n in range(30)], object), "table", "regress"),
        (np.array(["a", "b"], object), "table", "classify"),
        (np.array([True, False]), "vector", "classify"),
        (np.arange(500) % 100, "image", "classify"),
        (np.arange(500) % 100, "vector", "regress"),
        (np.arange(499) % 100, "image", "regress"),
        (np.array([f"{n}.5" for n in range(95)] + ["?"] * 5, object), "table", "regress"),
        (np.array(["nan", "inf", "nan"], object), "table", "classify"),
        (np.array([-1, 1]), "vector", "classify"),
    ],
)
def test_classes_or_numbers(targets, kind, task):
    assert decide_task(source(targets, kind), "auto") == task


def test_numbers_and_words_half_and_half_are_no_guess():
    mixed = [f"{n}.5" for n in range(94)] + ["?"] * 6
    with pytest.raises(DataError, match=r"94 of 100 targets of some are numbers, others are not \('\?'"):
        decide_task(source(mixed, "table"), "auto")
    assert decide_task(source(mixed, "table"), "regress") == "regress"


def test_the_recipe_and_the_format_have_the_first_word():
    assert decide_task(source(np.array([0, 1])), "regress") == "regress"
    assert decide_task(source(np.arange(99) / 2), "classify") == "classify"
    assert decide_task(source(np.arange(99), classes=[str(n) for n in range(99)]), "auto") == "classify"
    unlabelled = source(np.array([0, 1]))
    unlabelled.targets = None
    with pytest.raises(DataError, match="some holds no targets to train on"):
        decide_task(unlabelled, "auto")


def test_the_default_loss_follows_the_target(tmp_path):
    """S-088: a class label gets cross-entropy, a real unbounded label the mean squared error."""
    from netwright.recipe import Recipe
    from netwright.training.plan import resolve

    x = np.random.default_rng(0).normal(size=(60, 2))
    assert resolve(Recipe(), nw.read(x, np.arange(60) % 3)).table("loss")["name"] == "cross_entropy"
    assert resolve(Recipe(), nw.read(x, x[:, 0])).table("loss")["name"] == "mse"
