"""The notation's syntax: what is read, and every mistake answered with its place."""

from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.catalogue import Range, settings_of
from netwright.errors import UsageError
from netwright.parts.notation import Item, read_call, read_items, settings_from


def read(text):
    return read_items(text, "network.layers")


def test_names_numbers_and_settings():
    (item,) = read("conv 16 5 pad=same rate=-1e-3 bias=false name='a b' list=[[0,0],[1,2]]")
    settings = {"pad": "same", "rate": -0.001, "bias": False, "name": "a b", "list": [[0, 0], [1, 2]]}
    assert item == Item("conv", (16, 5), settings, (), item.text)


def test_commas_newlines_and_blanks_part_alike():
    assert read("a 1, b,c") == read(" a 1\n\n b\n,\n c\n") == read("a 1,b,c,")


def test_groups_nest():
    (item,) = read("repeat 3 (\n residual(conv 4 3, relu | tanh) project=true\n)")
    assert item.values == (3,)
    inner = item.branches[0][0]
    assert (inner.name, inner.settings, [len(branch) for branch in inner.branches]) == (
        "residual",
        {"project": True},
        [2, 1],
    )


def test_calls_are_read_like_settings():
    assert read("leaky_relu(slope=0.1)")[0].settings == {"slope": 0.1}
    assert read("leaky_relu(0.1)")[0].values == (0.1,)
    assert read("linear 3 init=normal(mean=0, std=0.01), relu")[0].settings == {"init": "normal(mean=0, std=0.01)"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing is written"),
        (" ,", "empty between commas"),
        ("a,,b", "empty between commas"),
        ("3 a", "'3' came where a name"),
        ("a (b", "never closed"),
        ("residual(a, b", "never closed"),
        ("a)", r"'\)' does not fit"),
        ("a=3", "'=' came where a value"),
        ("a b=", "the text ends where a value for b"),
        ("a b=,", "',' came where a value"),
        ("a x=1 2", "'2' stands after key=value"),
        ("a x=1 x=2", "x is given twice"),
        ("a [1", "never closed"),
        ("a x=f(1", "never closed"),
        ("a ; b", "';' is not understood"),
        ("a 1.2.3", "'1.2.3' is not understood"),
        ("a 16x", "'16x' is not understood"),
        ("a __import__('os').system('x')", "does not fit|not understood|second bracket"),
        ("a " + "9" * 41, "41 digits"),
        ("residual(" * 25 + "a" + ")" * 25, "deeper than 20"),
        ("a x=" + "[" * 25 + "]" * 25, "deeper than 20"),
        ("a," * 60_000, "at most 100000"),
        ("residual(a)(b)", "a second bracket"),
        ('a "b', "not understood"),
    ],
)
def test_mistakes_name_their_place(text, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(text)
    assert str(caught.value).startswith("network.layers:")
    assert len(str(caught.value)) < 400


@given(st.text(alphabet="conv relu residual(|)[],=\n 0123456789.e-'\"x_", max_size=80))
def test_any_text_is_read_or_refused(text):
    try:
        items = read(text)
    except UsageError:
        return
    assert all(item.name for item in items)


@given(st.text(max_size=40))
def test_any_signs_are_read_or_refused(text):
    with suppress(UsageError):
        assert read(text)


def part(*, size: Annotated[int, Range(1, 9)], rate: float = 0.5):
    return None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("part", "missing size; write `part SIZE`"),
        ("part 3 4", r"takes size, but 3 4 came\. Write the others as rate="),
        ("part 3 size=4", "size is given twice"),
        ("part 3 rat=4", "Did you mean 'rate'"),
        ("part 30", "size = 30; it lies between 1 and 9"),
        ("part big", "size = 'big'; it is a whole number"),
    ],
)
def test_settings_are_checked_against_a_signature(text, words):
    with pytest.raises(UsageError, match=words):
        settings_from(read_call(text, "x"), settings_of(part), "here", numbers=1)


def test_settings_by_place_and_by_key():
    assert settings_from(read_call("part 3 rate=1", "x"), settings_of(part), "here", numbers=1) == {
        "size": 3,
        "rate": 1.0,
    }
