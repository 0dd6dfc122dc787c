"""Augmentations in runs: the size the network reads, crops at prediction, colours in the record, mixed targets."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import netwright as nw
from netwright.data.batches import Batches, Mixture
from netwright.data.encoders import number_encoder
from netwright.errors import UsageError
from netwright.parts.augmentations import read_augment, ten_crop
from netwright.training.forward import combined
from netwright.training.objective import Draw, supervised

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 120)
X = RNG.integers(0, 200, (120, 3, 14, 16), dtype=np.uint8)
X[np.arange(120), Y, 4:10, 4:12] = 250
TINY = {"name": "stack", "layers": "conv 4 3, relu, globalpool, linear out"}


def trained(path, augment, network=TINY, x=X, **settings):
    data = nw.read(x, Y, augment=augment, **settings)
    return nw.train(data, network, epochs=1, out=path, quiet=True), data


def test_the_network_reads_the_crop_from_training_to_prediction(tmp_path):
    run, data = trained(tmp_path / "run", "crop size=10, flip", "convnet")
    assert data.inputs == {"kind": "image", "channels": 3, "height": 10, "width": 10}
    assert data.shape == [3, 14, 16]
    record = json.loads((run.path / "data.json").read_text())
    assert record["inputs"]["height"] == 10
    assert record["encoder"]["pictures"] == [14, 16]
    batch = next(
        Batches(data, size=8, seed=0, device=torch.device("cpu"), augment=read_augment("crop size=10")).epoch(0)
    )
    assert batch.inputs.shape == (8, 3, 10, 10)
    middle = data.encoder.encode_whole(torch.from_numpy(X[:5]))[:, :, 2:12, 3:13]
    assert torch.equal(data.encoder.encode(torch.from_numpy(X[:5])), middle)
    predictor = nw.open(run.path).predictor()
    expected = predictor.forward.predictions(predictor.forward.outputs(middle))
    found = [list(row["probabilities"].values()) for row in run.predict(X[:5])]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = nw.evaluate(run)
    assert again["metrics"]["accuracy"]["value"] == run.test["accuracy"]
    assert run.evaluate(X, Y)["examples"] == 120
    with pytest.raises(nw.DataError, match="shape"):
        run.predict(X[:2, :, :10, :10])


def test_ten_crops_are_averaged_as_by_hand(tmp_path):
    run, data = trained(tmp_path / "run", "crop size=10", test_crops=10)
    predictor = nw.open(run.path).predictor()
    assert predictor.encoder.views.size == 10
    model = predictor.forward.model.eval()
    with torch.no_grad():
        crops = ten_crop(data.encoder.encode_whole(torch.from_numpy(X)), 10)
        expected = torch.stack([model(crops[:, view]).softmax(1) for view in range(10)]).mean(0)
    found = np.array([list(row["probabilities"].values()) for row in run.predict(X)])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    test = expected[torch.from_numpy(data.splits["test"])]
    accuracy = float((test.argmax(1).numpy() == Y[data.splits["test"]]).mean())
    assert run.test["accuracy"] == run.evaluate()["metrics"]["accuracy"]["value"] == accuracy
    assert run.evaluate(X[data.splits["test"]], Y[data.splits["test"]])["metrics"]["accuracy"]["value"] == accuracy
    truth = torch.from_numpy(Y[data.splits["test"]])
    assert run.test["loss"] == pytest.approx(float(F.nll_loss(test.log(), truth)), abs=1e-5)


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_one_answer_of_several(link):
    outputs = torch.randn(4, 5, 3, dtype=torch.float64) * 3
    used = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 0, 1, 0], [1, 0, 0, 1, 1], [1, 1, 1, 0, 0]])
    last = {"softmax": lambda x: x.softmax(-1), "sigmoid": torch.sigmoid, "identity": lambda x: x}[link]
    torch.testing.assert_close(last(combined(outputs, link)), last(outputs).mean(0))
    found = last(combined(outputs, link, used))
    for example in range(5):
        rows = outputs[used[:, example].bool(), example]
        torch.testing.assert_close(found[example], last(rows).mean(0))
    if link != "identity":
        assert combined(outputs * 1000, link).isfinite().all()


def test_colour_axes_come_from_the_training_split_and_travel_in_the_run(tmp_path):
    run, data = trained(tmp_path / "run", "pca_lighting std=0.1, color_jitter")
    state = json.loads((run.path / "data.json").read_text())["encoder"]
    colours = X[data.splits["train"]].transpose(1, 0, 2, 3).reshape(3, -1) / 255
    expected = np.linalg.eigvalsh(np.cov(colours, ddof=0))[::-1]
    np.testing.assert_allclose(state["pixels"]["eigenvalues"], expected, rtol=1e-9)
    assert (state["pixels"]["low"], state["pixels"]["high"]) == (0, 255)
    pixels = number_encoder(state).pixels
    np.testing.assert_array_equal(pixels.eigenvectors, data.encoder.pixels.eigenvectors)
    assert number_encoder(state).state() == data.encoder.state() == state


def test_other_numbers_than_bytes_have_the_range_of_the_training_pictures():
    data = nw.read(X / 51.0 - 2, Y, augment="color_jitter")
    train = X[data.splits["train"]] / 51.0 - 2
    assert (data.encoder.pixels.low, data.encoder.pixels.high) == pytest.approx((train.min(), train.max()), rel=1e-6)
    assert "pixels" not in nw.read(X, Y, augment="crop, flip").encoder.state()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": "crop size=15"}, "size = 15 is larger than the pictures, 14x16"),
        ({"test_crops": 10}, "test_crops = 10 averages crops smaller than the pictures; give a size"),
        ({"augment": "crop, flip", "test_crops": 10}, "give a size"),
        ({"test_crops": 5}, "test_crops = 5; it is 1 or 10"),
        ({"augment": "crop sise=3"}, "no setting 'sise'"),
    ],
)
def test_sizes_that_cannot_be_are_refused_when_the_data_are_read(settings, words):
    with pytest.raises(UsageError, match=words):
        nw.read(X, Y, **settings)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(UsageError, match="these data are no pictures"):
        nw.read("iris", test_crops=10)
    with pytest.raises(UsageError, match="these data are no pictures"):
        nw.read(RNG.normal(size=(60, 5)), RNG.integers(0, 2, 60), test_crops=10)
    for spec in ("flip", "mixup", "crop size=3"):
        with pytest.raises(UsageError, match=r"changes pictures .* shape \(4,\) came"):
            nw.train(nw.read("iris", augment=spec), epochs=1, out=tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="have 1 channels and not 3"):
        nw.train(nw.read("digits", augment="pca_lighting"), epochs=1, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_mixing_and_networks_with_a_rule_of_their_own_are_refused(tmp_path):
    with pytest.raises(UsageError, match="mixup mixes two targets in the loss"):
        nw.train(nw.read(X[Y < 2], Y[Y < 2], augment="mixup"), "perceptron", epochs=1, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spec", ["mixup 1", "crop size=12, flip, cutmix"])
def test_the_loss_counts_both_targets_by_their_shares(spec):
    """The whole path of a batch by hand: partner, its own changes, mixture, weighted loss."""
    data = nw.read(X, Y, augment=spec)
    weights = torch.rand(len(data.splits["train"]))
    augment = read_augment(spec)
    batch = next(Batches(data, size=16, seed=4, device=torch.device("cpu"), weights=weights, augment=augment).epoch(3))
    train, when = data.splits["train"], {"seed": 4, "epoch": 3}
    partners = augment.partners(batch.examples, len(train), **when)
    whole = data.encoder.encode_whole(torch.from_numpy(X))
    own = augment(whole[torch.from_numpy(batch.examples)], batch.examples, **when)
    other = augment(whole[torch.from_numpy(train[partners])], train[partners], **when)
    mixed, share = augment.mix(own, other, batch.examples, **when)
    assert torch.equal(batch.inputs, mixed)
    assert batch.mixture.targets.tolist() == Y[train[partners]].tolist()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))
    outputs = model(mixed)
    terms = supervised(lambda x, y: F.cross_entropy(x, y, reduction="none"))(model, batch, Draw(0, 0))
    log = outputs.detach().log_softmax(1)
    total = count = 0.0
    for row in range(16):
        first = float(share[row]) * float(batch.weights[row])
        second = (1 - float(share[row])) * float(weights[partners[row]])
        total -= first * float(log[row, Y[batch.examples[row]]]) + second * float(log[row, Y[train[partners[row]]]])
        count += first + second
    assert terms.loss.item() == pytest.approx(total / count, rel=1e-5)


def test_without_weights_shares_alone_count():
    share = torch.tensor([1.0, 0.25])
    mixture = Mixture(share, torch.tensor([0, 1]), None)
    values, weights = mixture.blend(torch.tensor([2.0, 4.0]), torch.tensor([9.0, 8.0]), None)
    assert values.tolist() == [2.0, 7.0]
    assert weights is None


def test_a_killed_run_with_crops_and_mixtures_resumes_to_the_same_bits(tmp_path, monkeypatch):
    from netwright.training import keeper

    data = nw.read(X, Y, augment="resize_crop size=10, color_jitter, elastic, mixup", batch_size=16)
    whole = nw.train(data, TINY, epochs=3, save_steps=3, out=tmp_path / "whole", quiet=True)
    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number == 11:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(InterruptedError):
            nw.train(data, TINY, epochs=3, save_steps=3, out=tmp_path / "killed", quiet=True)
    for other in ("crop size=9, color_jitter", "", "resize_crop size=10"):
        with pytest.raises(nw.DataError, match=r"other settings of data\.augment"):
            nw.resume(tmp_path / "killed", data=nw.read(X, Y, augment=other, batch_size=16), quiet=True)
    nw.resume(tmp_path / "killed", data=data, quiet=True)
    weights = [path.joinpath("best.safetensors").read_bytes()[-400:] for path in (whole.path, tmp_path / "killed")]
    assert weights[0] == weights[1]
    assert nw.open(tmp_path / "killed").test == whole.test


@pytest.mark.slow
def test_augmented_training_helps_on_a_small_subset(tmp_path):
    """S-131: handwritten digits at random places of a larger field, 150 to learn from; shifts lower the test error."""
    small = nw.read("digits").source
    x = np.zeros((1797, 1, 12, 12), np.uint8)
    for row, (down, across) in enumerate(np.random.default_rng(1).integers(0, 5, (1797, 2))):
        x[row, :, down : down + 8, across : across + 8] = small.examples.take([row])[0].numpy() * 15
    scores = []
    for spec in ("", "translate 3"):
        data = nw.read(x, small.targets, augment=spec, limit=150)
        run = nw.train(data, "convnet", epochs=40, out=tmp_path / f"run{len(scores)}", quiet=True)
        scores.append(run.test["accuracy"])
    assert scores[1] > scores[0] + 0.05
