"""Pictures: well-formed whatever the tokens say, labels apart, numbers as colours."""

import io
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from netwright.explaining.drawing import SCALE, Canvas, Path, Words, cut, width_of
from netwright.explaining.heatmaps import Panel, colours, heat_maps, log_curves
from netwright.explaining.reading import label
from netwright.explaining.tokens import coloured_tokens
from netwright.language import columns

HOSTILE = [
    "<script>alert(1)</script>", "]]>", "&amp;", '"', "'", "\x00\x08\x1b", "\ud800", "\u202e", "\uffff", "好", "a\nb",
    "\U0001f600", "]]><!--", "é", "",
]  # fmt: skip


def svg(canvas: Canvas) -> ET.Element:
    return ET.fromstring(canvas.svg().encode("utf-8", "replace"))


def texts(canvas: Canvas) -> list[str]:
    return ["".join(one.itertext()) for one in svg(canvas).iter("{http://www.w3.org/2000/svg}text")]


def test_hostile_tokens_stay_text():
    labels = [label(token) for token in HOSTILE]
    for canvas in (
        coloured_tokens(HOSTILE[0], [("one", np.linspace(-1, 1, len(labels)))], labels, HOSTILE[1]),
        heat_maps(HOSTILE[0], [Panel("p", np.zeros((2, len(labels))), True, 1.0)], labels, "tokens"),
        coloured_tokens("raw", [("one", np.zeros(len(HOSTILE)))], HOSTILE, ""),
    ):
        tags = {one.tag.partition("}")[2] for one in svg(canvas).iter()}
        assert tags <= {"svg", "style", "title", "desc", "text", "rect", "image", "polyline"}
        Image.open(io.BytesIO(canvas.png())).verify()
    assert "<script>alert(1)</script>" in texts(coloured_tokens("t", [("o", np.zeros(1))], HOSTILE[:1], ""))


def test_chinese_labels_are_written_as_they_are():
    canvas = heat_maps("张三", [Panel("门", np.ones((3, 4)), False, 1.0)], list("北京大学"), "字")
    assert {"张三", "门", "北", "京", "大", "学", "字"} <= set(texts(canvas))


@pytest.mark.parametrize("count", [1, 7, 60, 333, 2000])
@pytest.mark.parametrize("words", ["a", "internationalisation", "国际化"])
def test_labels_of_steps_never_overlap(count, words):
    canvas = heat_maps("t", [Panel("p", np.zeros((3, count)), True, 1.0)], [words] * count, "tokens")
    shown = [one for one in canvas.shapes if isinstance(one, Words) and one.words == cut(words, 16)]
    assert shown
    places = sorted(one.x for one in shown)
    room = 12 if any(one.turned for one in shown) else width_of(words)
    assert all(b - a >= room for a, b in pairwise(places))
    longest = max(width_of(one.words) for one in shown)
    floor = max(one.y for one in shown) + (longest if shown[0].turned else 0)
    assert floor <= canvas.high - 8  # the name of the axis lies below


def test_the_picture_in_pixels_is_as_large_as_it_says():
    canvas = heat_maps("t", [Panel("p", np.eye(3), False, 1.0)], list("abc"), "x")
    image = Image.open(io.BytesIO(canvas.png()))
    assert image.size == (round(canvas.wide * SCALE), round(canvas.high * SCALE))
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_colours_say_sign_and_size():
    found = colours(np.array([[-1.0, 0.0, 1.0, np.nan]]), True, 1.0)[0].tolist()
    assert found == [[33, 102, 172], [247, 247, 247], [178, 24, 43], [128, 128, 128]]
    dark = colours(np.array([[0.0, 0.5, 1.0]]), False, 1.0)[0].sum(1)
    assert dark[0] > dark[1] > dark[2]
    assert colours(np.zeros((1, 1)), False, 0.0).tolist() == [[[247, 251, 255]]]


def test_a_fixed_factor_is_a_straight_line_on_the_logarithmic_axis():
    canvas = log_curves("t", "", [("half", [0.5**d for d in range(20)])], "distance", "norm")
    (curve,) = [one for one in canvas.shapes if isinstance(one, Path) and one.kind == "curve" and len(one.points) > 2]
    slopes = np.diff([y for _, y in curve.points])
    assert np.allclose(slopes, slopes[0])
    assert slopes[0] > 0


@pytest.mark.parametrize("norms", [[0.0, 0.0], [1.0], [1.0, 1e-310], [1e300, 1.0], [float("nan"), float("inf")], []])
def test_curves_of_odd_numbers_are_drawn(norms):
    assert svg(log_curves("t", "", [("odd", norms)], "distance", "norm")).tag.endswith("svg")


@pytest.mark.parametrize(("token", "shown"), [(" ", "\u2423"), ("\n", "\u21b5"), ("", "\u2205"), (" the", "the"),
                                              ("a\tb", "a\u21e5b"), ("a\x00", "a\ufffd")])  # fmt: skip
def test_white_space_is_made_visible(token, shown):
    assert label(token) == shown


def test_long_words_are_cut_to_their_columns():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde\u2026"
    assert columns(cut("北京大学教授", 6)) <= 6


def test_words_follow_the_readers_light_or_dark():
    assert re.search(r"prefers-color-scheme:dark", heat_maps("t", [], [], "x").svg())
