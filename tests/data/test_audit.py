"""What `look` finds odd: repeats, leaks, torn labels, constants, imbalance; many cases in one line with true counts."""

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.data import audit
from netwright.data.source import InMemory, Source, Table

RNG = np.random.default_rng(0)


def made(x, y=None, kind="vector", **splits):
    """A source and its audit; what no split names is in the training split."""
    x = torch.as_tensor(x)
    targets = None if y is None else np.asarray(y)
    source = Source(kind, "made", InMemory(x), targets, [f"#{n}" for n in range(len(x))])
    rest = set(range(len(x))) - {p for positions in splits.values() for p in positions}
    named = {"train": np.array(sorted(rest), int), **{name: np.array(p, int) for name, p in splits.items()}}
    return audit.audit(source, named, audit.digests(source))


def whats(problems):
    return [problem.what for problem in problems]


def unlike(count, features=3):
    return RNG.normal(size=(count, features))


def test_nothing_odd_says_nothing():
    assert made(unlike(50), np.arange(50) % 2, test=range(10)) == []


def test_repeats_within_a_split_are_one_line_with_the_count():
    x = unlike(20)
    x[5], x[9], x[10] = x[0], x[0], x[1]
    [problem] = made(x, np.zeros(20, int))
    assert problem.what == "3 examples repeat an earlier one of their split"
    assert problem.where == "#5, ..."
    assert problem.action == "kept (data.drop_duplicates=true drops them)"
    x = unlike(20)
    x[5] = x[0]
    assert made(x, np.zeros(20, int))[0].where == "#5"


def test_the_same_example_in_two_splits_is_named_with_both_places():
    x = unlike(20)
    x[15] = x[3]
    [problem] = made(x, np.zeros(20, int), test=[15], validation=[4])
    assert (problem.where, problem.what) == ("#15", "the same example as #3 (train) stands in test")


def test_many_leaks_are_named_up_to_ten_and_counted_truly():
    x = unlike(100)
    x[60:85] = x[:25]
    problems = made(x, np.zeros(100, int), test=range(60, 100))
    named = [problem for problem in problems if "stands in test" in problem.what]
    assert [problem.where for problem in named] == [f"#{n}" for n in range(60, 70)]
    assert whats(problems)[10:] == ["25 examples stand in two splits in all"]


def test_labels_that_disagree_are_counted_over_all_splits():
    x = unlike(30)
    x[10], x[20], x[21] = x[0], x[1], x[2]
    y = np.zeros(30, int)
    y[20] = y[21] = 1
    problems = made(x, y, test=range(20, 30))
    [torn] = [problem for problem in problems if "different target" in problem.what]
    assert torn.what == "2 examples repeat another with a different target (1 here, 0 at #1)"
    assert torn.where == "#20"
    words = whats(made(x, np.where(y, "b", "a"), test=range(20, 30)))
    assert "2 examples repeat another with a different target (b here, a at #1)" in words


def test_duplicates_do_not_depend_on_the_numbers_of_the_order():
    marks = [b"a", b"b", b"a", b"c", b"b", b"a"]
    assert audit.duplicates_of(marks, np.arange(6)) == {2: 0, 4: 1, 5: 0}
    assert audit.duplicates_of(marks, np.array([5, 1, 0, 2])) == {0: 5, 2: 5}
    assert audit.duplicates_of(marks, np.array([2, 2, 2])) == {}


def test_blank_examples_are_named_up_to_ten_and_counted():
    x = RNG.integers(0, 255, (40, 1, 4, 4)).astype(np.uint8)
    x[7], x[8] = 0, 255
    problems = made(x, np.zeros(40, int), kind="image")
    assert [(problem.where, problem.what) for problem in problems] == [
        ("#7", "every number of this example is 0"), ("#8", "every number of this example is 255"),
    ]  # fmt: skip
    x[10:35] = np.arange(25)[:, None, None, None]
    problems = made(x, np.zeros(40, int), kind="image")
    assert whats(problems)[-1] == "27 examples are constant in all"
    assert sum("every number" in what for what in whats(problems)) == 10


def test_features_that_tell_nothing_are_named_from_1():
    x = unlike(10, 4)
    x[:, 2] = 7.5
    [problem] = made(x, np.zeros(10, int))
    assert (problem.where, problem.what) == ("feature 3", "the same value (7.5) in every example")
    x = RNG.integers(0, 255, (10, 1, 4, 4)).astype(np.uint8)
    x[:, :, 0] = 0  # a dark edge is no feature of its own
    assert made(x, np.zeros(10, int), kind="image") == []
    assert made(np.ones((5, 1)) * np.arange(5)[:, None], np.zeros(5, int)) == []  # one number each: not "constant"


def test_imbalance_is_said_beyond_ten_to_one_and_for_classes_alone():
    y = np.array(["rare"] * 3 + ["common"] * 31)
    [problem] = made(unlike(34), y)
    assert problem.what == "classes are uneven: common has 31 examples, rare has 3"
    assert "class_weights=balanced" in problem.action
    assert made(unlike(33), y[:33]) == []
    assert made(unlike(33), np.zeros(33, int)) == []
    assert made(unlike(40), np.r_[np.full(39, 0.5), 1.5]) == []


def test_number_targets_of_a_text_table_are_not_called_classes(tmp_path):
    """Their cells are text, and some values stand more often than others."""
    rows = ["a,target"] + [f"{i},{i % 80 if i % 2 else 7}" for i in range(200)]
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(rows))
    data = nw.read(path)
    assert data.task == "regress"
    assert not [problem for problem in data.problems if "uneven" in problem.what]
    again = nw.read(path, task="classify")
    assert [problem for problem in again.problems if "uneven" in problem.what]


def test_a_class_without_a_training_example_is_said():
    data = nw.read(unlike(90), np.r_[np.arange(80) % 2, np.full(10, 2)], x_test=unlike(9), y_test=np.arange(9) % 3)
    assert "no training example" not in whats(data.problems)
    x, y = unlike(60), np.arange(60) % 2
    data = nw.read(x, y, x_test=unlike(6), y_test=np.arange(6) % 3)
    [problem] = [problem for problem in data.problems if problem.what == "no training example"]
    assert problem.where == "class 2"
    assert data.classes == ["0", "1", "2"]


def test_digests_tell_examples_apart_and_find_equals_in_every_kind():
    x = unlike(6)
    x[4] = x[1]
    tensors = audit.digests(Source("vector", "x", InMemory(torch.from_numpy(x)), None, []))
    columns = {"a": np.array(["1", "1", "1.0", None], object), "b": np.array([1.0, 1.0, 1.0, 1.0], object)}
    cells = audit.digests(Source("table", "t", Table(columns), None, []))
    assert tensors[4] == tensors[1]
    assert len(set(tensors)) == 5
    assert cells[0] == cells[1]
    assert len(set(cells)) == 3

    class Lazy:
        def __len__(self):
            return 600

        def take(self, positions):
            assert len(positions) <= 256
            return torch.from_numpy(np.asarray(positions) % 500)[:, None]

    lazy = audit.digests(Source("image", "l", Lazy(), None, []))
    assert len(lazy) == 600
    assert lazy[:100] == lazy[500:]
    assert len(set(lazy)) == 500


def test_the_fingerprint_sees_examples_targets_and_order():
    x, y = unlike(20), np.arange(20)

    def of(x, y, positions=None):
        source = Source("vector", "x", InMemory(torch.from_numpy(x)), y, [])
        return audit.fingerprint(source, audit.digests(source), positions)

    first = of(x, y)
    assert first == of(x.copy(), y.copy())
    assert len(first) == 64
    changed = x.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    labels = y.copy()
    labels[7] = 0
    assert len({first, of(changed, y), of(x, labels), of(x[::-1].copy(), y[::-1].copy()), of(x, y, np.arange(19))}) == 5
    assert of(x, y, np.arange(20)) == first


@pytest.mark.parametrize("drop", [False, True])
def test_problems_reach_look(drop):
    x, y = unlike(100), np.arange(100) % 2
    x[90:] = x[:10]
    data = nw.read(x, y, drop_duplicates=drop)
    text = str(data)
    assert ("10 examples repeat another -> left out" in text) == drop
    assert sum(data.examples.values()) == (90 if drop else 100)
    assert data.to_json()["problems"][0].keys() == {"where", "what", "action"}
    assert not drop or "stands in" not in text
