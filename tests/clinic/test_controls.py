"""Random changes, rates, defaults and searches: legal, repeatable, and leaving alone what is asked."""

import pytest

from netwright.clinic.controls import defaults, legal, random_change, rates, search_draw, searched
from netwright.clinic.trainings import Trainings, patched
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.recipe import Recipe

ODD = ["network=mlp", "network.hidden=[8]", "network.activation=sigmoid", "optimizer=sgd", "optimizer.lr=30.0",
       "epochs=2", "data.batch_size=16", "data.normalize=none"]  # fmt: skip


@pytest.fixture(scope="module")
def trainings():
    return Trainings(read("digits", limit=120))


@pytest.fixture(scope="module")
def recipe(trainings):
    return trainings.settled(Recipe().override(ODD))


def test_random_changes_are_legal_single_and_repeatable(trainings, recipe):
    data = trainings.dataset
    found = [random_change(recipe, data, seed) for seed in range(20)]
    assert found == [random_change(recipe, data, seed) for seed in range(20)]
    assert all(len(patch) == 1 and legal(recipe, data, patch) for patch in found)
    keys = {next(iter(patch)) for patch in found}
    assert len(keys) >= 8
    assert len({key.split(".")[0] for key in keys}) >= 4
    assert not keys & {"training.epochs", "data.path", "data.test", "data.limit", "data.split_seed", "network.name"}
    for patch in found:
        key, value = next(iter(patch.items()))
        table, name = key.split(".")
        assert recipe.table(table).get(name) != value
    avoided = {"optimizer.lr", "network.dropout"}
    assert not any(set(random_change(recipe, data, seed, avoid=avoided)) & avoided for seed in range(20))


def test_rates(recipe):
    assert rates(recipe, 3) == [{"optimizer.lr": 3.0}, {"optimizer.lr": 0.3}, {"optimizer.lr": 9.0}]  # 300 is too much
    assert {"optimizer.lr": 30.0} not in rates(recipe, 99)
    assert rates(patched(recipe, {"optimizer.lr": 0.0}), 2) == [{"optimizer.lr": 0.001}, {"optimizer.lr": 0.0001}]


def test_defaults_are_those_of_a_bare_recipe(trainings, recipe):
    patch = defaults(recipe, trainings.dataset)
    reset = trainings.settled(patched(recipe, patch))
    bare = trainings.settled(Recipe().override(["network=mlp", "epochs=2"]))
    assert reset.tables == bare.tables | {"data": reset.tables["data"], "training": reset.tables["training"]}
    assert reset.table("data")["normalize"] == "auto"
    assert reset.table("data")["limit"] == 120
    assert reset.table("training") | {"log_steps": 0} == bare.table("training") | {"log_steps": 0}
    assert defaults(reset, trainings.dataset) == {}


def test_search(trainings, recipe):
    data = trainings.dataset
    draws = [search_draw(recipe, data, seed) for seed in range(30)]
    assert draws[3] == search_draw(recipe, data, 3)
    assert len({patch["optimizer.name"] for patch in draws}) == 4
    assert all(legal(recipe, data, patch) for patch in draws[:6])
    found = searched(trainings, recipe, lambda number: search_draw(recipe, data, number), trials=6)
    assert len(found.tried) == 6
    assert found.tried[0][0] == {}
    assert found.score == max(score for _, score in found.tried) == dict_of(found)[str(found.patch)]
    assert found.score > found.tried[0][1]  # sgd at lr 30 is easily beaten
    with pytest.raises(UsageError, match="1 or more"):
        searched(trainings, recipe, lambda number: {}, trials=0)


def dict_of(found):
    return {str(patch): score for patch, score in found.tried}


def test_a_search_ends_at_the_deadline(trainings, recipe):
    late = Trainings(trainings.dataset, deadline=0.0)
    assert searched(late, recipe, lambda number: {"optimizer.lr": 0.1}).tried == []
