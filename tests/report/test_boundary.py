"""Decision boundaries: exact lines of linear networks in the data's own units, contours and regions of others."""

import copy
import csv
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.data.tables.plans import NumberPlan
from netwright.errors import UsageError
from netwright.report.boundary import SIDE, _plan_axis, borders, boundary, contours, plane
from netwright.report.plane import boundary as section
from netwright.report.plane import regions


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Three clouds in units far from standard ones, as a table."""
    path = tmp_path_factory.mktemp("data") / "flowers.csv"
    rng = np.random.default_rng(0)
    middles = np.array([[1e5, 0.02], [1.03e5, 0.05], [1.06e5, 0.01]])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["weight", "width", "kind"])
        for place in range(240):
            x, y = middles[place % 3] + rng.normal(size=2) * (700, 0.004)
            writer.writerow([f"{x:.2f}", f"{y:.5f}", "abc"[place % 3]])
    return nw.read(str(path), target="kind")


def trained(data, network, folder, epochs=3, lr=0.01, **settings):
    parts = {} if network == "perceptron" else {"optimizer": {"name": "adamw", "lr": lr}}
    return nw.train(data, {"name": network, **settings}, epochs=epochs, out=folder, quiet=True, **parts).predictor()


def scores_at(predictor, spots):
    """Scores of the network in float64 for points in the data's own units, standardised here by hand."""
    encoder = predictor.encoder
    if hasattr(encoder, "plans"):
        z = np.stack([(spots[:, i] - plan.mean) / plan.scale for i, plan in enumerate(encoder.plans)], 1)
    else:
        z = (spots - encoder.mean.double().numpy()) * encoder.scale.double().numpy()
    with torch.no_grad():
        found = copy.deepcopy(predictor.forward.model).double().eval()(torch.from_numpy(z)).numpy()
    return np.concatenate([np.zeros_like(found), found], 1) if found.shape[1] == 1 else found


@pytest.mark.parametrize("network", ["perceptron", "logistic", "softmax", "mlp"])
def test_the_line_of_a_linear_network_lies_where_its_scores_are_equal(network, tmp_path):
    data = nw.read("blobs", centres=2, made_seed=3)
    predictor = trained(data, network, tmp_path / "run", **({"hidden": []} if network == "mlp" else {}))
    found = boundary(predictor, data, ((-30.0, 30.0), (-30.0, 30.0)))
    assert found.linear
    (line,) = found.borders
    for x, y in line.ends:
        assert abs(line.weights[0] * x + line.weights[1] * y + line.bias) < 1e-6
        assert max(abs(x), abs(y)) == pytest.approx(30)
    scores = scores_at(predictor, np.array(line.ends))
    assert np.abs(scores[:, 1] - scores[:, 0]).max() < 1e-6
    middle, normal = np.mean(line.ends, axis=0), np.array(line.weights)
    step = 0.05 * normal / np.linalg.norm(normal)
    sides = predictor.predict([np.stack([middle - step, middle + step]).astype(np.float32)])
    assert [one["prediction"] for one in sides] == list(line.classes)


def test_a_table_in_odd_units_has_its_lines_in_those_units(flowers, tmp_path):
    predictor = trained(flowers, "softmax", tmp_path / "run", epochs=10, lr=0.3, form="reference")
    found = boundary(predictor, flowers)
    assert (found.names, found.linear) == (("weight", "width"), True)
    assert len(found.borders) >= 2
    for line in found.borders:
        scores = scores_at(predictor, np.array(line.ends))
        one, other = (found.classes.index(name) for name in line.classes)
        assert np.abs(scores[:, one] - scores[:, other]).max() < 1e-6
        assert (scores.max(1) - scores[:, one] < 1e-6).all(), "no third class wins on the line"
        for x, y in line.ends:
            assert abs(line.weights[0] * x + line.weights[1] * y + line.bias) < 1e-6


def test_three_lines_meet_in_a_point_and_end_there():
    weights = np.array([[1.0, 0], [-1, 1], [-1, -1]])
    found = borders(weights, np.zeros(3), ((-2.0, 2.0), (-2.0, 2.0)), ["a", "b", "c"])
    assert [one.classes for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    ends = [{(round(x, 9) + 0.0, round(y, 9) + 0.0) for x, y in one.ends} for one in found]
    assert ends == [{(0, 0), (1, 2)}, {(0, 0), (1, -2)}, {(0, 0), (-2, 0)}]


def test_what_is_no_line_is_left_out():
    window = ((0.0, 1.0), (0.0, 1.0))
    assert borders(np.array([[0.0, 0.0]]), np.ones(1), window, ["a", "b"]) == []
    assert borders(np.array([[1.0, 1.0]]), np.array([-5.0]), window, ["a", "b"]) == []
    assert borders(np.array([[np.nan, 1.0]]), np.zeros(1), window, ["a", "b"]) == []
    assert borders(np.array([[1.0, 0], [1, 0], [3, 0]]), np.array([0.0, 0, 5]), window, ["a", "b", "c"]) == []


@pytest.mark.parametrize("data", ["moons", "spirals"])
def test_regions_and_contours_are_what_the_network_predicts(data, tmp_path):
    read = nw.read(data, arms=3) if data == "spirals" else nw.read(data)
    predictor = trained(read, "mlp", tmp_path / "run", epochs=15)
    found = boundary(predictor, read)
    assert not found.linear
    assert found.borders == []
    rows, columns = np.array([0, 5, 64, 127]), np.array([0, 99, 31, 127])
    spots = np.stack([found.grid[0][columns], found.grid[1][rows]], 1)
    expected = [list(one["probabilities"].values()) for one in predictor.predict([spots])]
    np.testing.assert_allclose(found.probabilities[rows, columns], expected, atol=1e-5)
    pieces = np.array(contours(found))
    assert len(pieces) > 50
    chances = np.array([list(p["probabilities"].values()) for p in predictor.predict([pieces.reshape(-1, 2)])])
    best = np.sort(chances, 1)
    assert np.median(best[:, -1] - best[:, -2]) < 0.01
    cell = (found.window[0][1] - found.window[0][0]) / SIDE
    assert np.abs(pieces[:, 0] - pieces[:, 1]).max() < 1.01 * max(cell, np.diff(found.window[1])[0] / SIDE)


def test_the_points_are_the_examples_in_their_own_units(flowers, tmp_path):
    found = boundary(trained(flowers, "softmax", tmp_path / "run", epochs=1), flowers)
    points, classes = found.points["test"]
    assert len(points) == flowers.examples["test"]
    cells = flowers.source.examples.take(flowers.splits["test"]).columns
    truth = {(float(x), float(y)) for x, y in zip(cells["weight"], cells["width"], strict=True)}
    assert {(x, y) for x, y in points.tolist()} == truth
    assert np.bincount(classes).tolist() == np.bincount(flowers.target_tensor("test")).tolist()


def test_a_column_on_a_curved_scale_has_no_line():
    heavy = NumberPlan("x", ".", 2.0, 0.0, 1.0, 10.0, 0.0, False)
    assert _plan_axis(heavy).linear is None
    np.testing.assert_allclose(_plan_axis(heavy).read(np.array([6.0])), np.arcsinh(3.0))


def test_only_two_numbers_and_classes_have_a_plane(tmp_path):
    for name in ("iris", "digits"):
        data = nw.read(name)
        assert plane(data.encoder) is None
        with pytest.raises(UsageError, match="two numbers and classes; " + name):
            boundary(SimpleNamespace(encoder=data.encoder, forward=None), data)


def test_the_picture_holds_regions_points_and_the_ends_of_the_line(tmp_path):
    data = nw.read("blobs", centres=2, made_seed=3)
    run = nw.train(data, "logistic", epochs=3, out=tmp_path / "run", quiet=True)
    found = boundary(run, data)
    picture = regions(found)
    for split in ("train", "test"):
        shown = len(found.points[split][0])
        assert picture.count(f'<circle class="{split} k') == shown == min(300, data.examples[split])
    ends = [float(word) for word in re.findall(r'data-ends="([^"]+)"', picture)[0].split()]
    assert ends == [value for end in found.borders[0].ends for value in end]
    kinds = set(re.findall(r'class="region (k\d)"', picture))
    assert kinds <= {"k0", "k1"}
    source = run.write_report().read_text(encoding="utf-8")
    assert '<section id="boundary"' in source
    assert picture.split("<desc>")[1] in source
    assert "data&#x27;s own units" in source
    assert section(None) == section({"names": []}) == ""


def test_a_network_of_nan_is_drawn_without_lines(tmp_path):
    data = nw.read("moons")
    predictor = trained(data, "logistic", tmp_path / "run", epochs=1)
    with torch.no_grad():
        predictor.forward.model.out.weight.fill_(torch.nan)
    found = boundary(predictor, data)
    assert found.borders == []
    assert contours(found) == []
    assert "nan" not in regions(found)
