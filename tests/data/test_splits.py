"""Splits: given or drawn, stratified or grouped; disjoint, complete, and untouched by the training seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netwright as nw
from netwright.data.splits import folds, split
from netwright.errors import DataError, UsageError


def counts(found):
    return tuple(len(found[name]) for name in ("train", "validation", "test"))


def check(found, pool):
    """Disjoint, complete over `pool`, ascending, whole numbers."""
    together = np.concatenate([found[name] for name in ("train", "validation", "test")])
    assert sorted(together.tolist()) == sorted(pool)
    for positions in found.values():
        assert positions.dtype.kind == "i"
        assert (np.diff(positions) > 0).all()


def test_a_given_test_set_leaves_a_tenth_of_the_rest_to_validation():
    """The counts of MNIST: 54,000, 6,000 and 10,000."""
    given_ = {"train": np.arange(60_000), "test": np.arange(60_000, 70_000)}
    strata = np.arange(70_000) % 10
    found = split(70_000, given_, strata=strata)
    assert counts(found) == (54_000, 6_000, 10_000)
    assert (found["test"] == given_["test"]).all()
    assert (np.bincount(strata[found["validation"]]) == 600).all()
    check(found, range(70_000))


def test_without_a_test_set_a_fifth_and_then_a_tenth():
    found = split(1000, {})
    assert counts(found) == (720, 80, 200)
    check(found, range(1000))
    assert (split(1000, {})["test"] == found["test"]).all()
    assert (split(1000, {}, seed=1)["test"] != found["test"]).any()


def test_train_with_validation_alone_makes_that_the_test_set():
    found = split(100, {"train": np.arange(80), "validation": np.arange(80, 100)})
    assert counts(found) == (72, 8, 20)
    assert (found["test"] == np.arange(80, 100)).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "validation", "test"), (50, 20, 30)),
        (("train", "test"), (45, 5, 30)),
        (("train",), (36, 4, 10)),
        (("test",), (63, 7, 30)),
        (("validation", "test"), (50, 20, 30)),
        (("validation",), (64, 20, 16)),
        ((), (72, 8, 20)),
    ],
)
def test_every_set_of_given_splits(names, expected):
    whole = {"train": np.arange(50), "validation": np.arange(50, 70), "test": np.arange(70, 100)}
    given_ = {name: whole[name] for name in names}
    found = split(100, given_)
    assert counts(found) == expected
    if len(names) > 1 or names == ("validation",):
        for name in set(names) - {"train"}:
            assert (found[name] == whole[name]).all()
    left = (
        range(50)
        if names == ("train",)
        else [*range(50), *range(70, 100)]
        if names == ("train", "test")
        else range(100)
    )
    check(found, left)


def test_an_empty_given_split_counts_as_none():
    assert counts(split(100, {"train": np.arange(100), "test": np.arange(0)})) == (72, 8, 20)


def test_strata_keep_their_shares_and_a_class_of_one_example_stays_in_training():
    strata = np.repeat([0, 1, 2, 3], [600, 300, 99, 1])
    found = split(1000, {}, strata=strata)
    shares = {name: np.bincount(strata[found[name]], minlength=4) for name in found}
    assert shares["test"].tolist() == [120, 60, 20, 0]
    assert shares["train"][3] == 1
    assert abs(shares["validation"] - np.array([48, 24, 8, 0])).max() <= 1


def test_shares_of_zero_draw_nothing():
    assert counts(split(50, {}, test=0.0)) == (45, 5, 0)
    assert counts(split(50, {}, test=0.0, validation=0.0)) == (50, 0, 0)


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(DataError, match="no example is left to train on: 5 in all, 5 to test"):
        split(5, {"test": np.arange(5)})
    with pytest.raises(DataError, match="no example is left"):
        split(0, {})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_split_is_disjoint_complete_and_repeats(data):
    length = data.draw(st.integers(3, 120))
    strata = np.array(data.draw(st.lists(st.integers(0, 5), min_size=length, max_size=length)))
    test, validation = (data.draw(st.floats(0, 0.9)) for _ in range(2))
    seed = data.draw(st.integers(0, 2**62))
    grouped = data.draw(st.booleans())
    groups = np.array([f"g{value}" for value in strata], object) if grouped else None
    kind = None if data.draw(st.booleans()) else strata
    try:
        found = split(length, {}, strata=kind, groups=groups, test=test, validation=validation, seed=seed)
    except DataError:  # so few examples that all of them went to the test set
        assert round(test * length) + round(validation * (length - round(test * length))) >= length - 1
        return
    check(found, range(length))
    again = split(length, {}, strata=kind, groups=groups, test=test, validation=validation, seed=seed)
    assert all((again[name] == found[name]).all() for name in found)
    if groups is not None:
        for name, positions in found.items():
            others = np.concatenate([found[other] for other in found if other != name])
            assert not set(groups[positions]) & set(groups[others])
    elif kind is None:
        assert len(found["test"]) == round(test * length)
    else:
        assert set(strata[found["train"]]) == set(strata)  # every class keeps an example to train on
        assert len(found["test"]) <= round(test * length)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(2, 8), st.booleans(), st.integers(0, 99))
def test_folds_are_disjoint_cover_all_and_are_even(length, count, grouped, seed):
    positions = np.sort(np.random.default_rng(seed).choice(200, length, replace=False))
    labels = np.arange(200) % 3
    groups = np.array([f"g{value % 7}" for value in range(200)], object)
    units = len(set(groups[positions])) if grouped else length
    if count > units:
        with pytest.raises(UsageError, match=f"folds = {count}; it lies between 2 and {units} here"):
            folds(positions, count, labels, groups if grouped else None, seed)
        return
    parts = folds(positions, count, labels, groups if grouped else None, seed)
    assert len(parts) == count
    assert sorted(np.concatenate(parts).tolist()) == positions.tolist()
    assert all(len(part) for part in parts)
    if grouped:
        homes = [set(groups[part]) for part in parts]
        assert sum(map(len, homes)) == len(set.union(*homes))
    else:
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        for label in range(3):
            own = [int((labels[part] == label).sum()) for part in parts]
            assert max(own) - min(own) <= 1


# through read -------------------------------------------------------------------------------------------------


def numbers(count=200, classes=4):
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return x, np.arange(count) % classes


def test_splits_do_not_depend_on_the_training_seed(tmp_path):
    x, y = numbers()
    runs = [
        nw.train(nw.read(x, y), "softmax", epochs=1, seed=seed, out=tmp_path / str(seed), quiet=True) for seed in (1, 2)
    ]
    records = [run.folder.read("data.json") for run in runs]
    assert records[0]["test_fingerprint"] == records[1]["test_fingerprint"]
    assert (nw.read(x, y, split_seed=0).splits["test"] == nw.read(x, y).splits["test"]).all()
    assert (nw.read(x, y, split_seed=1).splits["test"] != nw.read(x, y).splits["test"]).any()


def test_limit_takes_the_first_examples_of_a_seeded_order_from_training_alone():
    x, y = numbers()
    whole, half, few = (nw.read(x, y, limit=limit).splits for limit in (0, 70, 7))
    for found in (half, few):
        assert (found["test"] == whole["test"]).all()
        assert (found["validation"] == whole["validation"]).all()
    assert len(half["train"]) == 70
    assert set(few["train"]) < set(half["train"]) < set(whole["train"])
    assert (nw.read(x, y, limit=10_000).splits["train"] == whole["train"]).all()


def test_groups_of_a_table_never_part(tmp_path):
    rows = ["person,a,target"] + [f"p{i // 7},{i % 13},{i % 2}" for i in range(140)]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(rows))
    data = nw.read(path, group="person", target="target")
    assert "person" not in data.source.examples.columns
    homes = {name: {int(p) // 7 for p in positions} for name, positions in data.splits.items()}
    assert not homes["train"] & homes["test"]
    assert not homes["train"] & homes["validation"]
    assert not homes["validation"] & homes["test"]
    assert set.union(*homes.values()) == set(range(20))


def test_groups_stay_together_beside_a_test_file(tmp_path):
    for name, first in (("visits.csv", 0), ("later.csv", 1000)):
        rows = ["person,a,target"] + [f"p{first + i // 7},{i % 13},{i % 2}" for i in range(140)]
        (tmp_path / name).write_text("\n".join(rows))
    data = nw.read(tmp_path / "visits.csv", group="person", target="target", test=str(tmp_path / "later.csv"))
    assert data.examples["test"] == 140
    homes = {name: {int(p) // 7 for p in data.splits[name]} for name in ("train", "validation")}
    assert not homes["train"] & homes["validation"]
    assert len(homes["validation"]) == 2


def test_dropped_duplicates_leave_the_test_set_whole():
    x, y = numbers(100)
    x[50:60] = x[:10]  # ten examples stand twice
    source = nw.read(x[:70], y[:70], x_test=np.concatenate([x[70:], x[:5]]), y_test=np.concatenate([y[70:], y[:5]]),
                     drop_duplicates=True)  # fmt: skip
    assert source.examples["test"] == 35
    kept = {source.source.examples.tensor[p].numpy().tobytes() for p in source.splits["train"]}
    tested = {source.source.examples.tensor[p].numpy().tobytes() for p in source.splits["test"]}
    assert not kept & tested
    assert sum(source.examples.values()) == 105 - 10 - 5
    assert [p.what for p in source.problems if "repeat another" in p.what] == ["15 examples repeat another"]
