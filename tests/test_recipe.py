"""Recipes: TOML there and back, every short form of an override, refusals, the schema, and a run's own recipe."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netwright as nw
from netwright import catalogue
from netwright.catalogue import settings_of
from netwright.errors import UsageError
from netwright.recipe import DATA, PARTS, TABLES, TRAINING, Recipe, data_settings, schema
from netwright.rundir import sha256
from netwright.training.plan import resolve

SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")),
)  # fmt: skip
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=4), st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2)
)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**62),
    st.dictionaries(st.sampled_from(TABLES), st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)),
)
def test_text_and_back_gives_the_same_recipe(seed, tables):
    recipe = Recipe(seed).updated(tables, "here")
    again = Recipe.parse(recipe.text())
    assert again == recipe
    for name in tables:
        assert repr(again.table(name)) == repr(recipe.table(name))  # 1 stays 1, 1.0 stays 1.0, -0.0 stays -0.0
    assert again.text() == recipe.text()


def test_a_written_recipe_reads_as_a_person_wrote_it(tmp_path):
    recipe = Recipe(3).override(
        [
            "data.path=数据/零件 1.csv",
            'data.target="Größe"',
            "network.layers=conv 16 5, relu, linear out",
            "network=stack",
        ]
    )
    assert recipe.table("network") == {"layers": "conv 16 5, relu, linear out", "name": "stack"}
    path = tmp_path / "rezept.toml"
    path.write_text(recipe.text(), encoding="utf-8")
    assert "数据/零件 1.csv" in path.read_text(encoding="utf-8")
    assert Recipe.read(path) == recipe


OVERRIDES = [
    ("network=mlp", ("network", "name", "mlp")),
    ("loss=mse", ("loss", "name", "mse")),
    ("optimizer=sgd", ("optimizer", "name", "sgd")),
    ("schedule=cosine", ("schedule", "name", "cosine")),
    ("epochs=3", ("training", "epochs", 3)),
    ("precision=float32", ("training", "precision", "float32")),
    ("until=accuracy>=0.98", ("training", "until", "accuracy>=0.98")),
    ("until=train_loss<=0.01", ("training", "until", "train_loss<=0.01")),
    ("stop_after=auto", ("training", "stop_after", "auto")),
    ("class_weights=[1, 2.5]", ("training", "class_weights", [1, 2.5])),
    ("training.epochs=3", ("training", "epochs", 3)),
    ("optimizer.lr=3e-4", ("optimizer", "lr", 3e-4)),
    ("optimizer.lr=.5", ("optimizer", "lr", 0.5)),
    ("optimizer.lr=5.", ("optimizer", "lr", 5.0)),
    ("optimizer.lr=+1E-3", ("optimizer", "lr", 1e-3)),
    ("optimizer.lr = 1e-3", ("optimizer", "lr", 1e-3)),
    ("data.path=my file.csv", ("data", "path", "my file.csv")),
    ("data.path=a=b.csv", ("data", "path", "a=b.csv")),
    ("data.path=a#b", ("data", "path", "a#b")),
    ('data.path="a#b"', ("data", "path", "a#b")),
    ("data.path='C:\\new'", ("data", "path", "C:\\new")),
    ('data.path="a\\tb"', ("data", "path", "a\tb")),
    ('data.path=say "hi"', ("data", "path", 'say "hi"')),
    ("data.path=2024-01-02", ("data", "path", "2024-01-02")),
    ("data.path=true", ("data", "path", "true")),
    ("data.path=", ("data", "path", "")),
    ("data.target=5", ("data", "target", "5")),
    ("data.target=0x10", ("data", "target", "0x10")),
    ("data.target=1_000", ("data", "target", "1_000")),
    ("data.target=nan", ("data", "target", "nan")),
    ("data.target=[a]", ("data", "target", "[a]")),
    ("data.test=0.3", ("data", "test", 0.3)),
    ("data.test=test.csv", ("data", "test", "test.csv")),
    ("data.validation=0", ("data", "validation", 0)),
    ("data.drop_duplicates=true", ("data", "drop_duplicates", True)),
    ("data.header=false", ("data", "header", False)),
    ("network.hidden=[64, 32]", ("network", "hidden", [64, 32])),
    ("network.hidden=[]", ("network", "hidden", [])),
    ("network.bias=true", ("network", "bias", True)),
    ("network.activation=relu", ("network", "activation", "relu")),
    ("network.layers=conv 6 5\nrelu", ("network", "layers", "conv 6 5\nrelu")),
    ("network.x=1\ny=2", ("network", "x", "1\ny=2")),
]  # fmt: skip


@pytest.mark.parametrize(("word", "found"), OVERRIDES, ids=[word for word, _ in OVERRIDES])
def test_overrides(word, found):
    table, name, value = found
    recipe = Recipe().override([word])
    assert recipe.tables == {table: {name: value}}
    assert type(recipe.table(table)[name]) is type(value)


def test_seed_is_an_override_too_and_bounded():
    assert Recipe().override(["seed=7"]).seed == 7
    for word in ("seed=-1", "seed=1.0", "seed=true", "seed=x", f"seed={2**63}"):
        with pytest.raises(UsageError, match="seed = "):
            Recipe().override([word])


def test_a_later_override_wins_and_a_new_name_clears_the_settings_of_the_old_part():
    recipe = Recipe().override(["optimizer=sgd", "optimizer.lr=0.1", "optimizer.momentum=0.9"])
    assert recipe.override(["optimizer.lr=0.2"]).table("optimizer") == {"name": "sgd", "lr": 0.2, "momentum": 0.9}
    assert recipe.override(["optimizer=adam"]).table("optimizer") == {"name": "adam"}
    assert recipe.override(["optimizer=sgd"]) == recipe
    assert Recipe().override(["optimizer.lr=0.1", "optimizer=adam"]).table("optimizer") == {"lr": 0.1, "name": "adam"}
    file = {"optimizer": {"lr": 0.5, "name": "adam"}}  # in a file the order of name and settings does not matter
    assert recipe.updated(file, "file").table("optimizer") == {"name": "adam", "lr": 0.5}
    assert recipe.table("optimizer") == {"name": "sgd", "lr": 0.1, "momentum": 0.9}  # nothing above changed it


REFUSED = [
    (["epoch=3"], "there is no setting 'epoch'. Did you mean 'epochs'?"),
    (["netwrok=mlp"], "there is no setting 'netwrok'. Did you mean 'network'?"),
    (["trainig.epochs=3"], "there is no table 'trainig'. Did you mean 'training'?"),
    (["batch_size=3"], "Did you mean 'data.batch_size'?"),
    (["epochs"], "'epochs' is no override"),
    (["=3"], "is no override"),
    (["optimizer=adm"], "optimizer 'adm' is not in the catalogue. Did you mean 'adam'?"),
    (["optimizer=sgd", "optimizer.rl=1"], "optimizer 'sgd' has no setting 'rl'"),
    (["network.name=3"], "network.name = 3; it is a word"),
    (["training.epcohs=3"], "training has no setting 'epcohs'. Did you mean 'epochs'?"),
    (["data.pth=x"], "data has no setting 'pth'. Did you mean 'path'?"),
    (["epochs=0"], "epochs = 0; it lies between 1 and"),
    (["epochs=3.5"], "epochs = 3.5; it is a whole number or 'auto'"),
    (["precision=float23"], "Did you mean 'float32'?"),
    (["optimizer.=3", "optimizer=sgd"], "optimizer 'sgd' has no setting ''"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_unknown_and_wrong_things_are_refused(words, message):
    with pytest.raises(UsageError) as caught:
        Recipe().override(words).check()
    assert message in str(caught.value)


def test_wrong_files_are_refused_with_their_place(tmp_path):
    path = tmp_path / "r.toml"
    for text, words in [
        ("epochs = 3", "there is no table 'epochs'"),
        ("[netwrok]\nname = 'mlp'", "there is no table 'netwrok'. Did you mean 'network'?"),
        ("network = 'mlp'", "network = 'mlp'; it is a table of settings"),
        ("seed = 'x'", "seed = 'x'"),
        ("[network\n", "is not TOML"),
        ("[network]\na = 1\na = 2", "is not TOML"),
        ("x = " + "[" * 3000, "is not TOML"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            Recipe.read(path)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 500
    path.write_bytes(b"[data]\npath = '\xff'")
    with pytest.raises(UsageError, match=r"not UTF-8 text \(byte 15\)"):
        Recipe.read(path)
    with pytest.raises(nw.DataError, match="cannot be read"):
        Recipe.read(tmp_path / "absent.toml")
    with pytest.raises(nw.DataError, match=r"regular file|cannot be read"):
        Recipe.read(tmp_path)


def test_dates_become_text_and_python_values_become_plain():
    parsed = Recipe.parse("[data]\ntarget = 2024-01-02\n[network]\nx = [2024-01-02T03:04:05Z, 07:32:00]")
    assert parsed.table("data") == {"target": "2024-01-02"}
    assert parsed.table("network")["x"] == ["2024-01-02 03:04:05+00:00", "07:32:00"]
    given_ = {"training": {"epochs": np.int64(3)}, "network": {"hidden": (64, np.int32(8))}, "loss": {"a": np.ones(2)}}
    recipe = Recipe().updated(given_, "arguments")
    assert recipe.tables == {"training": {"epochs": 3}, "network": {"hidden": [64, 8]}, "loss": {"a": [1.0, 1.0]}}
    assert Recipe.parse(recipe.text()) == recipe


def test_diff_names_what_differs_and_only_that():
    a = Recipe(1).override(["optimizer=adam", "optimizer.lr=0.1", "epochs=3"])
    b = Recipe(2).override(["optimizer=adam", "optimizer.lr=0.2", "data.target=y"])
    assert a.diff(b) == {
        "seed": [1, 2], "optimizer.lr": [0.1, 0.2], "training.epochs": [3, None], "data.target": [None, "y"],
    }  # fmt: skip
    assert a.diff(a) == {}
    assert {name: pair[::-1] for name, pair in b.diff(a).items()} == a.diff(b)


def test_embedded_sets_settings_belong_to_their_path_alone():
    assert Recipe().override(["data.path=moons", "data.noise=0.3"]).check().table("data")["noise"] == 0.3
    with pytest.raises(UsageError, match="data has no setting 'noise'"):
        Recipe().override(["data.path=iris", "data.noise=0.3"]).check()
    with pytest.raises(UsageError, match="noise"):
        nw.train(recipe=Recipe().override(["data.path=digits", "data.noise=0.3"]), quiet=True)


# the schema ---------------------------------------------------------------------------------------------------

TYPES: dict[str, Any] = {
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}
WORDS = {
    "type", "enum", "const", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required",
    "default", "title", "$schema",
}  # fmt: skip


def valid(value: Any, rule: dict[str, Any]) -> bool:
    """Whether `value` keeps a JSON Schema of the few words that ours uses; an unknown word fails the test."""
    assert rule.keys() <= WORDS, rule.keys() - WORDS
    own = rule.get("properties", {})
    return (
        ("type" not in rule or TYPES[rule["type"]](value))
        and ("enum" not in rule or any(value == one and type(value) is type(one) for one in rule["enum"]))
        and ("const" not in rule or value == rule["const"])
        and ("minimum" not in rule or value >= rule["minimum"])
        and ("maximum" not in rule or value <= rule["maximum"])
        and ("anyOf" not in rule or any(valid(value, one) for one in rule["anyOf"]))
        and ("oneOf" not in rule or sum(valid(value, one) for one in rule["oneOf"]) == 1)
        and all(name in value for name in rule.get("required", ()))
        and all(valid(value[name], own[name]) for name in own if isinstance(value, dict) and name in value)
        and (rule.get("additionalProperties", True) or value.keys() <= own.keys())
    )


@pytest.fixture(scope="module")
def rule() -> dict[str, Any]:
    return schema()


def test_the_schema_is_strict_json(rule):
    assert json.loads(json.dumps(rule, allow_nan=False)) == rule
    assert rule["additionalProperties"] is False
    assert set(rule["properties"]) == {"seed", *TABLES}


def _finite(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if not (isinstance(value, float) and math.isinf(value))}


def test_the_schema_accepts_every_default(rule):
    assert valid({}, rule)
    assert valid({"seed": 0, "data": {n: s.default for n, s in DATA.items()}}, rule)
    assert valid({"training": {n: s.default for n, s in TRAINING.items()}}, rule)
    for table, name in PARTS.items():
        for part in catalogue.family(name).values():
            assert valid({table: {"name": part.name, **_finite(part.defaults())}}, rule), (table, part.name)
            assert valid({table: {"name": part.name}}, rule)
            assert valid({table: _finite(part.defaults())}, rule), part.name  # the part is chosen from the data
    for sets in (catalogue.READERS.values(),):
        for part in sets:
            assert valid({"data": part.defaults()}, rule), part.name
    for name, build in catalogue.embedded().items():
        found = {key: setting.default for key, setting in settings_of(build).items()}
        assert valid({"data": {"path": name, **found}}, rule), name
    assert {*DATA} <= {*data_settings()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"sed": 1}, {"seed": -1}, {"seed": "1"}, {"data": {"pth": "x"}}, {"network": {"name": "convnt"}},
        {"network": {"name": "mlp", "hiden": [3]}}, {"optimizer": {"name": "sgd", "lr": -1.0}},
        {"optimizer": {"name": "sgd", "lr": "fast"}}, {"training": {"epochs": 0}}, {"training": {"epochs": "atuo"}},
        {"training": {"epochs": True}}, {"data": {"test": 0.95}}, {"data": []}, {"optimizer": {"rl": 1}}, [],
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_typing_mistakes(rule, wrong):
    assert not valid(wrong, rule)


def test_schema_and_check_agree_on_resolved_recipes(rule):
    for path, words in [("digits", []), ("iris", []), ("diabetes", ["loss=smooth_l1"]), ("moons", ["optimizer=adam"])]:
        recipe = Recipe().override(["epochs=1", *words])
        found = resolve(recipe, nw.read(path))
        plain = {"seed": found.seed, **{name: _finite(found.table(name)) for name in TABLES}}
        assert valid(plain, rule), path
        assert Recipe.parse(found.text()).check() == found


# a run's own recipe -------------------------------------------------------------------------------------------


def bits(run: nw.Run) -> tuple[Any, ...]:
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in run.folder.rows()]
    weights = (run.path / "best.safetensors").read_bytes()
    start = 8 + int.from_bytes(weights[:8], "little")  # the header names the run
    return rows, sha256(weights[start:]), sha256((run.path / "predictions.safetensors").read_bytes()), run.test


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("digits", ["network=convnet", "network.dropout=0.3", "data.augment=noise 0.1", "data.limit=300"]),
        ("moons", ["data.examples=150", "data.noise=0.2", "optimizer=sgd", "optimizer.lr=0.05"]),
        ("iris", ["class_weights=[1, 2, 0.5]", "schedule=cosine"]),
        ("diabetes", ["loss=smooth_l1", "seed=12"]),
    ],
)
def test_a_runs_own_recipe_trains_again_to_the_same_bits(tmp_path, path, words):
    first = nw.train(
        recipe=Recipe().override([f"data.path={path}", "epochs=2", *words]), out=tmp_path / "a", quiet=True
    )
    own = Recipe.read(first.path / "recipe.toml")
    assert "auto" not in [own.table("training")[name] for name in ("epochs", "threads", "stop_after", "log_steps")]
    second = nw.train(recipe=own, out=tmp_path / "b", quiet=True)
    assert (second.path / "recipe.toml").read_bytes() == (first.path / "recipe.toml").read_bytes()
    assert bits(second) == bits(first)
    third = nw.train(recipe=own.set("seed", own.seed + 1), out=tmp_path / "c", quiet=True)
    assert bits(third)[1] != bits(first)[1]
    assert first.recipe.diff(third.recipe) == {"seed": [own.seed, own.seed + 1]}


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1))
def test_any_text_quoted_comes_back(text):
    quoted = json.dumps(text, ensure_ascii=True)
    if "\\ud" not in quoted:
        assert Recipe().override([f"network.x={quoted}"]).table("network")["x"] == text
