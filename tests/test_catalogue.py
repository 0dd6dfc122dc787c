"""The registry: settings read from signatures, refusals with limit and place, and a user's own parts end to end."""

import inspect
import math
import runpy
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import netwright as nw
from netwright.catalogue import (
    FAMILIES,
    LOSSES,
    NETWORKS,
    SINGULAR,
    Family,
    Part,
    Range,
    Setting,
    check_settings,
    family,
    settings_of,
)
from netwright.errors import UsageError, hint, nearest


def example(
    inputs: Any,
    *,
    rate: Annotated[float, Range(0, 1)] = 0.5,
    count: Annotated[int | Literal["auto"], Range(1, 9)] = "auto",
    mode: Literal["slow", "fast"] = "slow",
    on: bool = False,
    sizes: list[int] = [8],  # noqa: B006  read only
    name: str = "",
    path: Annotated[float | str, Range(0, 0.9)] = 0.2,
) -> None:
    """Does nothing.

    Formula: y = x
      + 0

    More words.
    """


PART = Part("losses", "example", example, {"source": "Nobody 1900", "link": "identity"})


def test_settings_are_the_keyword_only_parameters_in_order():
    assert list(PART.settings) == ["rate", "count", "mode", "on", "sizes", "name", "path"]
    assert PART.defaults() == {
        "rate": 0.5, "count": "auto", "mode": "slow", "on": False, "sizes": [8], "name": "", "path": 0.2,
    }  # fmt: skip
    assert PART.settings["count"] == Setting("count", (int,), "auto", Range(1, 9), ("auto",))


GOOD = [
    ("rate", 1, 1.0), ("rate", 0.0, 0.0), ("count", 9, 9), ("count", "auto", "auto"), ("mode", "fast", "fast"),
    ("on", True, True), ("sizes", [1, 2], [1, 2]), ("sizes", (1, 2), [1, 2]), ("sizes", [], []), ("name", "π", "π"),
    ("path", 0.9, 0.9), ("path", "x.csv", "x.csv"), ("path", Path("a/b"), "a/b"), ("rate", np.float32(0.5), 0.5),
    ("count", np.int64(3), 3), ("on", np.bool_(True), True), ("rate", np.array(0.25), 0.25),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_a_good_value_comes_back_in_its_type(name, value, expected):
    found = PART.check({name: value})[name]
    assert found == expected
    assert type(found) is type(expected)


WRONG = [
    ("rate", -0.1, "it lies between 0 and 1"), ("rate", 1.0001, "it lies between 0 and 1"),
    ("rate", math.nan, "number"), ("rate", True, "number"), ("rate", "fast", "number"),
    ("rate", math.inf, "it lies between"), ("rate", 10**400, "it lies between"), ("rate", [0.5], "number"),
    ("rate", None, "number"), ("count", 0, "it lies between 1 and 9"), ("count", 2.0, "a whole number or 'auto'"),
    ("count", True, "a whole number"), ("count", "atuo", "Did you mean 'auto'?"), ("count", 10**30, "between 1 and 9"),
    ("mode", "fsat", "Did you mean 'fast'?"), ("mode", 1, "it is 'slow' or 'fast'"), ("on", 1, "it is true or false"),
    ("on", "true", "it is true or false"), ("sizes", 3, "it is a list"), ("sizes", "12", "it is a list"),
    ("name", 3, "it is a word"), ("path", 0.95, "it lies between 0 and 0.9"), ("path", True, "number or a word"),
    ("rate", np.array([0.5]), "number"), ("rate", np.float64("nan"), "number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_a_wrong_value_is_refused_with_value_limit_and_place(name, value, words):
    with pytest.raises(UsageError) as caught:
        PART.check({name: value})
    message = str(caught.value)
    assert message.startswith(f"loss 'example': {name} = ")
    assert words in message
    assert len(message) < 400
    assert caught.value.code == 2


@given(
    st.one_of(st.floats(), st.integers(), st.booleans(), st.text(), st.none(), st.lists(st.integers()), st.binary()),
    st.sampled_from(list(PART.settings)),
)
def test_whatever_comes_is_taken_or_refused(value, name):
    setting = PART.settings[name]
    try:
        found, message = setting.check(value, "here"), ""
    except UsageError as error:
        found, message = setting.default, str(error)
    assert not message or message.startswith(f"here: {name} = ")
    assert setting.check(found, "again") == found
    assert type(found) in {*setting.kinds, *map(type, setting.choices)}


def test_unknown_settings_get_the_nearest_name():
    with pytest.raises(UsageError, match=r"loss 'example' has no setting 'raet'\. Did you mean 'rate'\?"):
        PART.check({"raet": 1})
    with pytest.raises(UsageError, match=r"Known: rate, count, mode"):
        check_settings(PART.settings, {"zzz": 1}, "here")


def test_untyped_settings_take_the_type_of_their_default():
    def own(x, *, rate=0.5, mode="a", anything: Any = None):
        """Own."""

    found = settings_of(own)
    assert found["rate"].check(1, "here") == 1.0
    with pytest.raises(UsageError, match="number"):
        found["rate"].check("x", "here")
    assert found["mode"].kinds == (str,)
    assert found["anything"].check([1], "here") == [1]
    assert found["anything"].schema() == {"default": None}


def test_schema_of_a_setting():
    schemas = {name: setting.schema() for name, setting in PART.settings.items()}
    assert schemas["rate"] == {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5}
    assert schemas["count"] == {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"enum": ["auto"]}], "default": "auto",
    }  # fmt: skip
    assert schemas["mode"] == {"enum": ["slow", "fast"], "default": "slow"}
    assert "maximum" not in Setting("x", (float,), math.inf, Range(0)).schema()
    assert "default" not in Setting("x", (float,), math.inf, Range(0)).schema()


def test_a_card_holds_what_the_docstring_and_the_signature_say():
    card = PART.card()
    assert card["summary"] == "Does nothing."
    assert card["formula"] == "y = x + 0"
    assert (card["family"], card["name"], card["source"]) == ("losses", "example", "Nobody 1900")
    assert card["facts"] == {"link": "identity"}
    assert list(card["settings"]) == list(PART.settings)


@pytest.mark.parametrize(
    ("word", "known", "best"),
    [
        ("cros", ["cross_entropy", "mse"], "cross_entropy"),
        ("CROSS_ENTROPY", ["cross_entropy", "mse"], "cross_entropy"),
        ("resnet81", ["resnet18", "vgg16"], "resnet18"),
        ("entropy", ["cross_entropy", "mse"], "cross_entropy"),
        ("qqqq", ["cross_entropy", "mse"], ""),
        ("", ["cross_entropy", "mse"], ""),
        ("x", [], ""),
    ],
)
def test_nearest_names(word, known, best):
    assert nearest(word, known) == best
    assert hint(word, known) == (f"Did you mean {best!r}?" if best else "Known: cross_entropy, mse." if known else "")


def test_families_answer_to_singular_and_plural():
    for name in FAMILIES:
        assert family(name) is family(SINGULAR[name]) is FAMILIES[name]
    with pytest.raises(UsageError, match=r"'lossses' is not in the catalogue\. Did you mean 'losses'"):
        family("lossses")
    with pytest.raises(UsageError, match=r"network 'convnt' is not in the catalogue\. Did you mean 'convnet'"):
        NETWORKS["convnt"]
    assert "convnt" not in NETWORKS
    assert len(NETWORKS) == len(list(NETWORKS))


def test_every_default_of_the_catalogue_passes_its_own_check():
    checked = 0
    for parts in FAMILIES.values():
        for part in parts.values():
            for name, setting in part.settings.items():
                if setting.default is inspect.Parameter.empty:
                    assert parts.name == "cells", (parts.name, part.name, name)  # sizes that the network gives
                    continue
                assert setting.default is not None, f"{part.name}.{name}: TOML has no null"
                assert setting.check(setting.default, part.name) == setting.default
                checked += 1
            assert part.card()["name"] == part.name
    assert checked > 50


# a user's own parts -------------------------------------------------------------------------------------------


@pytest.fixture
def restored():
    """The families as they were, whatever a test adds."""
    before = {name: dict(parts) for name, parts in FAMILIES.items() if len(parts) or True}
    yield
    for name, parts in before.items():
        FAMILIES[name]._parts.clear()
        FAMILIES[name]._parts.update(parts)


def test_two_parts_of_one_name_are_refused(restored):
    with pytest.raises(ValueError, match="two parts of losses are called 'mse'"):

        @LOSSES.add(target="number", link="identity")
        def mse(outputs, target):
            """Mine."""

    assert LOSSES["mse"].build.__module__ == "netwright.parts.losses.numbers"


def test_a_name_of_the_catalogue_is_refused_even_before_the_family_was_asked(tmp_path):
    """Otherwise the family would break while it loads, on whichever line asks first."""
    script = tmp_path / "mine.py"
    script.write_text(
        "from netwright.catalogue import LOSSES\n"
        "try:\n"
        "    @LOSSES.add(target='number', link='identity')\n"
        "    def mse(outputs, target): 'Mine.'\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "print(len(LOSSES) > 5, LOSSES['mse'].build.__module__)\n"
    )
    import subprocess
    import sys

    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert found.stdout == "two parts of losses are called 'mse'\nTrue netwright.parts.losses.numbers\n"


def test_facts_that_the_code_relies_on_are_asked_for_at_once(restored):
    with pytest.raises(ValueError, match="'mine' of losses lacks link"):

        @LOSSES.add(target="number")
        def mine(outputs, target):
            """Mine."""

    assert "mine" not in LOSSES


OWN = '''"""My parts."""
import torch
from netwright.catalogue import LOSSES, NETWORKS


@LOSSES.add(target="class index", link="softmax", source="me")
def half_cross_entropy(outputs, target, *, share=0.5):
    """Cross-entropy, scaled."""
    return share * torch.nn.functional.cross_entropy(outputs, target, reduction="none")


@NETWORKS.add(source="me", inputs=("vector",))
def own_linear(inputs, outputs, *, bias: bool = True):
    """One linear layer."""
    return torch.nn.Linear(inputs["features"], outputs["units"], bias=bias)
'''


def test_parts_of_a_users_file_train_resume_and_predict(tmp_path, restored):
    (tmp_path / "my_parts.py").write_text(OWN)
    runpy.run_path(str(tmp_path / "my_parts.py"))
    x = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    data = nw.read(x, (x[:, 0] > 0).long())
    settings = {"optimizer": {"name": "adam", "lr": 0.1}, "epochs": 30, "quiet": True}
    run = nw.train(
        data, {"name": "own_linear", "bias": False}, loss={"name": "half_cross_entropy", "share": 1},
        out=tmp_path / "own", **settings,
    )  # fmt: skip
    assert run.recipe.table("loss") == {"name": "half_cross_entropy", "share": 1.0}
    assert run.test["accuracy"] >= 0.8
    with_default = nw.train(data, "own_linear", loss="half_cross_entropy", out=tmp_path / "two", **settings)
    assert with_default.recipe.table("loss") == {"name": "half_cross_entropy", "share": 0.5}
    assert nw.open(run.path).predict(x[:5])[0]["prediction"] in ("0", "1")
    assert nw.resume(run.path, quiet=True).test == run.test
    with pytest.raises(UsageError, match="share = 'x'; it is a finite number"):
        nw.train(data, "own_linear", loss={"name": "half_cross_entropy", "share": "x"}, quiet=True)


def test_a_family_may_be_made_and_asked_like_a_mapping():
    own = Family("things", "netwright.recipes")

    @own.add("class")
    def class_(x, *, a: int = 1):
        """A thing."""
        return x + a

    SINGULAR["things"] = "thing"
    try:
        assert dict(own) == {"class": own["class"]}
        assert own["class"](2, a=3) == 5
        with pytest.raises(UsageError, match="thing 'class': a = 'x'"):
            own["class"](2, a="x")
    finally:
        del SINGULAR["things"]
