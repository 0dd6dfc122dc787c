"""Losses between a network's plain outputs and the encoded targets: links, the data's own units, doctor's note."""

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.catalogue import LOSSES
from netwright.errors import UsageError
from netwright.estimators import NetClassifier, NetRegressor
from netwright.training.objective import on_outputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
QUICK = {"optimizer": {"name": "adam", "lr": 0.02}, "epochs": 4, "quiet": True}
Z = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 1.0]])
CLASSES = torch.tensor([2, 1])


def test_log_probabilities_are_made_for_nll():
    torch.testing.assert_close(on_outputs("nll", {})(Z, CLASSES), LOSSES["cross_entropy"](Z, CLASSES))
    half = on_outputs("nll", {})(Z.half(), CLASSES)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, LOSSES["cross_entropy"](Z.half(), CLASSES))


def test_probabilities_are_made_for_bce():
    torch.testing.assert_close(on_outputs("bce", {})(Z, CLASSES), LOSSES["bce_with_logits"](Z, CLASSES))
    assert on_outputs("bce", {"eps": 0.25})(Z[:1], CLASSES[:1]).shape == (1,)


def test_settings_are_checked_once():
    with pytest.raises(UsageError, match="Did you mean 'eps'"):
        on_outputs("bce", {"epz": 1e-3})
    with pytest.raises(UsageError, match="eps = 2"):
        on_outputs("bce", {"eps": 2})


def run(tmp_path, data, loss, **more):
    return nw.train(data, "mlp", loss=loss, out=tmp_path / str(len(list(tmp_path.iterdir()))), **{**QUICK, **more})


@pytest.mark.parametrize(("loss", "same"), [("nll", "cross_entropy"), ("bce", "bce_with_logits")])
def test_training_with_probabilities_equals_training_with_logits(tmp_path, loss, same):
    data = nw.read(X, (X[:, 0] > 0).astype(int), batch_size=32)
    first, second = run(tmp_path, data, loss), run(tmp_path, data, same)
    assert first.test["loss"] == pytest.approx(second.test["loss"], rel=1e-4)
    assert first.test["accuracy"] == second.test["accuracy"]
    assert first.report["findings"] == second.report["findings"] == []
    assert first.test["log_loss"] == pytest.approx(first.test["loss"], rel=1e-4)


@pytest.mark.parametrize("loss", ["focal", "multiclass_hinge", "exponential", "squared_hinge", "logistic"])
def test_every_new_loss_for_classes_learns(tmp_path, loss):
    data = nw.read(X, (X[:, 0] > 0).astype(int), batch_size=16)
    found = nw.train(data, "mlp", loss=loss, optimizer={"name": "adam", "lr": 0.02}, epochs=20,
                     out=tmp_path / "run", quiet=True)  # fmt: skip
    assert found.test["accuracy"] > 0.8
    assert found.findings == []
    assert found.report["notes"] == [] or [note["fault"] for note in found.report["notes"]] == ["F1"]


def test_relative_losses_count_in_the_datas_own_units(tmp_path):
    y = 100 * np.exp(0.3 * X[:, 0])
    data = nw.read(X, y, batch_size=16)
    for loss, measure in (
        ("mape", lambda p, t: 100 * np.abs((p - t) / t).mean()),
        ("msle", lambda p, t: np.square(np.log1p(p) - np.log1p(t)).mean()),
    ):
        found = run(tmp_path, data, loss, epochs=30)
        predicted = found.predictor().forward.predictions(
            found.predictor().forward.outputs(data.input_tensor("test"))
        )  # fmt: skip
        truth = np.array(data.raw_targets("test"), float)
        assert found.test["loss"] == pytest.approx(measure(predicted, truth), rel=1e-4)
        assert found.report["baseline"]["constant"]["r2"] < found.test["r2"]


def test_estimators_read_every_kind_of_loss():
    y = (X[:, 0] > 0).astype(int)
    common = {"epochs": 5, "random_state": 0}
    for loss, same in (("nll", "cross_entropy"), ("bce", "bce_with_logits")):
        first, second = (NetClassifier(loss=name, **common).fit(X, y).predict_proba(X) for name in (loss, same))
        np.testing.assert_allclose(first, second, atol=1e-6)
    columns = NetClassifier(loss={"name": "focal", "link": "sigmoid"}, **common).fit(X, y)
    assert columns.predict_proba(X).sum(1) == pytest.approx(1.0)
    numbers = 100 * np.exp(0.3 * X[:, 0])
    model = NetRegressor(loss="mape", epochs=200, random_state=0).fit(X, numbers)
    error = 100 * np.abs(model.predict(X) / numbers - 1).mean()
    assert error < 5
    assert model.loss_curve_[-1] == pytest.approx(error, rel=0.5)  # in percent, not in deviations


def test_the_doctor_notes_a_loss_made_for_numbers(tmp_path):
    data = nw.read(X, (X[:, 0] > 0).astype(int), batch_size=32)
    found = run(tmp_path, data, {"name": "mse", "link": "sigmoid"})
    note = next(note for note in found.report["notes"] if note["fault"] == "B5")
    assert note["harm"] == ""
    assert note["remedies"][0]["patch"] == {"loss": "bce_with_logits"}
    assert abs(note["evidence"]["gradient"]) < 1e-3 < 0.99 < abs(note["evidence"]["needed"])
    numbers = run(tmp_path, nw.read(X, X[:, 0] * 2.5, batch_size=32), "mse")
    assert "B5" not in [note["fault"] for note in numbers.report["notes"]]
