"""Several looks at one picture: against slices by hand, in evaluate, predict and the record, and refused where odd."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import netwright as nw
from netwright.data.encoders import number_encoder
from netwright.errors import UsageError
from netwright.parts.augmentations import Views, ten_crop
from netwright.parts.augmentations.views import SHARES

RNG = np.random.default_rng(1)
Y = RNG.integers(0, 3, 120)
X = RNG.integers(0, 200, (120, 3, 9, 8), dtype=np.uint8)
X[np.arange(120), Y, 2:7, 4:8] = 250
TINY = {"name": "stack", "layers": "conv 4 3, relu, conv 5 3, relu, linear out"}


def shifted(x, down, right):
    """The picture one pixel up and left, or down and right; the border is mirrored in without its last pixel."""

    def places(size, by):
        return [abs(i + by) if i + by < size else 2 * (size - 1) - i - by for i in range(size)]

    return x[:, :, places(x.shape[2], down)][:, :, :, places(x.shape[3], right)]


def looks(x):
    """All six looks by hand, and their weights."""
    three = [x, shifted(x, -1, -1), shifted(x, 1, 1)]
    pairs = zip(three, (0.25, 0.125, 0.125), strict=True)
    return [(look, share) for one, share in pairs for look in (one, one.flip(3))]


def trained(path, views="one", **settings):
    data = nw.read(X, Y, test_views=views, **settings)
    return nw.train(data, TINY, epochs=1, out=path, quiet=True), data


def test_views_are_the_stated_ones():
    x = torch.rand(4, 3, 5, 6)
    assert all(abs(sum(shares) - 1) < 1e-12 for shares in SHARES.values())
    assert torch.equal(Views()(x), x[:, None])
    assert torch.equal(Views("flip")(x), torch.stack([x, x.flip(3)], 1))
    expected = looks(x)
    assert torch.equal(Views("flip_shift")(x), torch.stack([look for look, _ in expected], 1))
    assert Views("flip_shift").shares == tuple(share for _, share in expected)
    assert torch.equal(Views("ten_crops", 4)(x), ten_crop(x, 4))


@pytest.mark.parametrize("views", ["flip", "flip_shift"])
def test_answers_are_the_weighted_mean_of_probabilities(tmp_path, views):
    run, data = trained(tmp_path / "run", views)
    record = json.loads((run.path / "data.json").read_text())
    assert (record["encoder"]["views"], record["settings"]["test_views"]) == (views, views)
    assert number_encoder(record["encoder"]).views == Views(views)
    model = run.predictor().forward.model.eval()
    x = data.encode(np.arange(120))
    given = looks(x) if views == "flip_shift" else [(x, 0.5), (x.flip(3), 0.5)]
    with torch.no_grad():
        expected = sum(share * model(look).softmax(1) for look, share in given)
    found = np.array([list(row["probabilities"].values()) for row in run.predict(X)])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    test = expected[torch.from_numpy(data.splits["test"])]
    truth = torch.from_numpy(Y[data.splits["test"]])
    accuracy = float((test.argmax(1) == truth).double().mean())
    assert run.test["accuracy"] == run.evaluate()["metrics"]["accuracy"]["value"] == accuracy
    again = run.evaluate(X[data.splits["test"]], Y[data.splits["test"]])
    assert again["metrics"]["accuracy"]["value"] == accuracy
    assert run.test["loss"] == pytest.approx(float(F.nll_loss(test.log(), truth)), abs=1e-5)


def test_numbers_are_averaged_and_crops_come_first(tmp_path):
    data = nw.read(X, X[:, 0].mean((1, 2)), test_views="flip", task="regress", augment="crop size=7")
    run = nw.train(data, TINY, epochs=1, out=tmp_path / "run", quiet=True)
    assert data.encoder.views == Views("flip")
    predictor = run.predictor()
    x = predictor.encoder.encode(torch.from_numpy(X))
    assert x.shape == (120, 3, 7, 7)
    model = predictor.forward.model.eval()
    with torch.no_grad():
        mean = (model(x) + model(x.flip(3))) / 2
    found = [row["value"] for row in run.predict(X)]
    np.testing.assert_allclose(found, predictor.targets.decode(mean).numpy(), rtol=1e-5)


def test_a_mirrored_picture_gets_the_same_answer(tmp_path):
    run, _ = trained(tmp_path / "run", "flip")
    plain, mirrored = (
        np.array([list(row["probabilities"].values()) for row in run.predict(x)]) for x in (X, X[:, :, :, ::-1].copy())
    )
    np.testing.assert_allclose(plain, mirrored, atol=1e-6)


def test_one_look_writes_nothing_new_and_another_choice_is_not_resumed(tmp_path):
    run, data = trained(tmp_path / "run")
    assert "views" not in data.encoder.state()
    assert number_encoder(data.encoder.state()).views == Views()
    recorded = json.loads((run.path / "data.json").read_text())["settings"]
    assert nw.read(X, Y, test_views="flip").differs(recorded) == "data.test_views"
    assert data.differs(recorded) == ""


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        ((X, Y), {"test_views": "flop"}, "it is 'one' or 'flip' or 'flip_shift'. Did you mean 'flip'"),
        ((X, Y), {"test_views": "flip", "test_crops": 10, "augment": "crop size=5"}, "does so already"),
        ((X[:, :, :1, :1], Y), {"test_views": "flip_shift"}, "too small to shift"),
        ((X, Y), {"test_views": "flip_shift", "augment": "crop size=1"}, "too small to shift"),
        ((X.reshape(120, -1), Y), {"test_views": "flip"}, "these data are no pictures"),
        (("iris",), {"test_views": "flip"}, "'flip' averages looks at a picture; these data are no pictures"),
    ],
)
def test_looks_that_cannot_be_are_refused(given, settings, words):
    with pytest.raises(UsageError, match=words):
        nw.read(*given, **settings)
