"""Plots of activations: the points in the picture are the function's own (S-063, S-211), jumps are gaps."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from netwright.catalogue import ACTIVATIONS
from netwright.cli import _run
from netwright.errors import UsageError
from netwright.parts.activations.curves import curve
from netwright.report.functions import activation_plot

SVG = "{http://www.w3.org/2000/svg}"
KNOWN = {
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), lambda x: math.exp(-x) / (1 + math.exp(-x)) ** 2),
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "leaky_relu(slope=0.2)": (lambda x: x if x > 0 else 0.2 * x, lambda x: 1.0 if x > 0 else 0.2),
    "softplus": (lambda x: math.log1p(math.exp(x)), lambda x: 1 / (1 + math.exp(-x))),
}


def drawn(source: str) -> dict[str, list[list[tuple[float, float]]]]:
    """The points of all lines in a picture by kind: first the function's pieces, then the derivative's."""
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for line in ElementTree.fromstring(source).iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        found.setdefault(line.get("class", ""), []).append(points)
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_points_are_the_function_and_its_derivative(name):
    found = curve(name)
    for pieces, function in zip((found.values, found.slopes), KNOWN[name], strict=True):
        x, y = np.array([point for piece in pieces for point in piece]).T
        assert (np.diff(x) >= 0).all()
        assert (x[0], x[-1]) == (-7, 7)
        np.testing.assert_allclose(y, [function(at) for at in x], atol=1e-12)


def test_the_figure_of_alexnet_is_a_dashed_sigmoid_and_a_solid_relu():
    lines = drawn(activation_plot("relu", "sigmoid"))
    assert set(lines) == {"line solid", "line dashed"}
    relu, before, behind = lines["line solid"]
    assert relu[0] == (-7, 0)
    assert all(y == pytest.approx(max(x, 0)) for x, y in relu)
    assert {y for _, y in before} == {0}  # E-13: 0 below 0, and at 0
    assert {y for _, y in behind} == {1}
    assert before[-1][0] == pytest.approx(0, abs=1e-9)
    assert behind[0][0] == pytest.approx(0, abs=1e-9)
    values, slopes = lines["line dashed"]
    assert all(y == pytest.approx(KNOWN["sigmoid"][0](x), rel=1e-9) for x, y in values)
    assert max(y for _, y in slopes) == 0.25


def test_lines_lie_within_their_panels():
    root = ElementTree.fromstring(activation_plot("relu6", "elu"))
    for group in root.iter(f"{SVG}g"):
        moved = re.fullmatch(r"matrix\((.*)\)", group.get("transform", ""))
        if not moved:
            continue
        a, _, _, d, e, f = map(float, moved[1].split())
        for line in group:
            for point in line.get("points", "").split():
                x, y = map(float, point.split(","))
                assert 56 <= a * x + e <= 412
                assert 4 <= d * y + f <= 296


@pytest.mark.parametrize("name", [name for name, part in ACTIVATIONS.items() if "acts_on" not in part.facts])
def test_every_activation_of_one_number_is_drawn(name):
    source = activation_plot(name)
    assert "nan" not in source.split("<style>")[1].split("</style>")[1]
    assert len(drawn(source)["line solid"]) >= 2


@pytest.mark.parametrize(("name", "values", "slopes"), [("step", 2, 1), ("relu6", 1, 3), ("swish", 1, 1)])
def test_jumps_are_gaps_and_nothing_else_is(name, values, slopes):
    found = curve(name)
    assert (len(found.values), len(found.slopes)) == (values, slopes)


def test_what_is_no_curve_is_refused():
    for name, message in (("softmax", "acts on all classes"), ("maxout", "acts on"), ("rely", "Did you mean 'relu'")):
        with pytest.raises(UsageError, match=message):
            curve(name)
    for low, high in ((1, 1), (2, 1), (0, math.inf), (math.nan, 1)):
        with pytest.raises(UsageError, match="wants an interval"):
            curve("relu", low, high)


def test_show_writes_the_picture(tmp_path, capsys):
    path = tmp_path / "relu.svg"
    assert _run(["show", "activation", "relu", "--svg", str(path), "--with", "sigmoid"]) == 0
    assert path.read_text(encoding="utf-8") == activation_plot("relu", "sigmoid")
    assert "activations relu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss", "mse", "--svg", "x.svg"], "draw activations"),
        (["recipe", "--svg", "x.svg"], "draw activations"),
        (["activation", "relu", "--with", "tanh"], "wants a file to draw to: --svg relu.svg"),
        (["activation", "relu", "--svg", "x.svg", "--with", "sigmiod"], "Did you mean 'sigmoid'"),
        (["activation", "softmax", "--svg", "x.svg"], "no function of one number"),
    ],
)
def test_what_show_cannot_draw_is_refused_and_nothing_is_written(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _run(["show", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
