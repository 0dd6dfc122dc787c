"""The checks after every training: each finding on a network made to have it, none on a healthy one."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.catalogue import FAULTS
from netwright.cli import _run
from netwright.doctor.symptoms import Trace, examine
from netwright.recipe import Recipe
from netwright.report.summary import constant_loss
from netwright.training.job import Job
from netwright.training.launch import launch
from netwright.training.plan import build, resolve
from netwright.training.progress import Progress

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X.sum(1) > 0).astype(int)
HEALTHY = {"optimizer": {"name": "adam", "lr": 1e-2}, "epochs": 15}


@pytest.fixture
def data():
    return nw.read(X, Y, batch_size=16)


def found(run, kind="findings"):
    return [finding["fault"] for finding in run.report[kind]]


def test_a_healthy_network_has_no_finding_and_no_note(data, tmp_path):
    run = nw.train(data, "mlp", **HEALTHY, out=tmp_path / "run", quiet=True)
    assert (found(run), found(run, "notes")) == ([], [])
    assert "no fault was found by the checks that follow every training" in str(run)
    assert run.folder.read("findings.json") == {"findings": [], "notes": []}


# D10 non-finite numbers -----------------------------------------------------------------------------------------


def test_a_rate_that_throws_the_weights_far_is_found_at_its_step(data, tmp_path):
    sgd = {"name": "sgd", "lr": 1000.0}
    run = nw.train(data, "mlp", optimizer=sgd, epochs=20, out=tmp_path / "run", quiet=True)
    [finding] = run.findings
    assert (finding["fault"], run.stopped) == ("D10", "non-finite")
    evidence = finding["evidence"]
    assert evidence["step"] == run.steps + 1 > 1
    assert evidence["epoch"] == (evidence["step"] - 1) // 9 + 1  # 144 examples in batches of 16
    assert {"optimizer.lr": 100.0} in [remedy["patch"] for remedy in finding["remedies"]]
    assert all(math.isfinite(row["loss"]) for row in run.folder.rows() if row.get("loss") is not None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_number_in_a_batch_is_named(data, tmp_path, value):
    x = X.copy()
    position = int(data.splits["train"][20])
    x[position, 2] = value
    run = nw.train(nw.read(x, Y, batch_size=16), "mlp", **HEALTHY, out=tmp_path / "run", quiet=True)
    [finding] = run.findings
    assert finding["fault"] == "D10"
    assert finding["evidence"]["examples"] == [f"arrays[{position}]"]
    assert finding["evidence"]["epoch"] == 1
    assert run.test["accuracy"] is not None  # what was kept can still be judged


def test_a_broken_number_among_the_validation_examples_is_a_finding_and_no_silence(data, tmp_path, capsys):
    """No epoch could be the best: without a word the first random weights would be handed out."""
    x = X.copy()
    position = int(data.splits["validation"][3])
    x[position, 0] = math.nan
    run = nw.train(nw.read(x, Y, batch_size=16), "mlp", **HEALTHY, out=tmp_path / "run")
    [finding] = run.findings
    assert finding["fault"] == "D10"
    assert finding["evidence"]["where"] == "validation loss"
    assert finding["evidence"]["examples"] == [f"arrays[{position}]"]
    assert (run.stopped, run.epochs, run.best_epoch) == ("non-finite", 1, 0)
    assert "the validation loss is not finite at step 9 (epoch 1)" in capsys.readouterr().err
    assert run.validation["loss"] is None
    assert nw.resume(run.path, quiet=True).findings == run.findings


def test_a_broken_number_among_the_test_examples_is_a_finding(data, tmp_path):
    x = X.copy()
    position = int(data.splits["test"][3])
    x[position, 0] = math.nan
    run = nw.train(nw.read(x, Y, batch_size=16), "mlp", **HEALTHY, out=tmp_path / "run", quiet=True)
    [finding] = run.findings
    assert (finding["fault"], finding["evidence"]["where"]) == ("D10", "test output")
    assert finding["evidence"]["examples"] == [f"arrays[{position}]"]
    assert finding["harm"] == "these examples have no prediction, and the metrics no value"
    assert (run.stopped, run.test["accuracy"], run.not_finite) == ("epochs", None, 1)


# E2, F2 ---------------------------------------------------------------------------------------------------------


class Dead(nn.Module):
    """A hidden layer that is never active."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out, self.spare = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(4, 1)
        with torch.no_grad():
            self.hidden.bias.fill_(-100.0)
        self.spare.weight.requires_grad_(False)

    def forward(self, x):
        return self.out(self.hidden(x).relu())


def test_a_dead_layer_is_named_by_its_tensors(data, tmp_path):
    run = nw.train(data, Dead(), **HEALTHY, out=tmp_path / "run", quiet=True)
    finding = next(finding for finding in run.findings if finding["fault"] == "E2")
    assert finding["evidence"]["tensors"] == ["hidden.weight", "hidden.bias", "out.weight", "spare.bias"]
    assert finding["evidence"]["count"] == 4  # out.bias moved, spare.weight is frozen on purpose
    assert finding["evidence"]["steps"] == run.steps
    assert "F2" in found(run)


def test_a_rate_near_0_moves_nothing(data, tmp_path):
    sgd = {"name": "sgd", "lr": 1e-12}
    run = nw.train(data, "mlp", optimizer=sgd, epochs=3, out=tmp_path / "run", quiet=True)
    assert found(run) == ["E2", "F2"]
    f2 = run.findings[1]
    assert f2["evidence"]["lowest_train_loss"] >= f2["evidence"]["constant_loss"]
    assert f2["evidence"]["constant_loss"] == pytest.approx(entropy(Y[data.splits["train"]]))
    assert {"optimizer.lr": 1e-11} in [remedy["patch"] for remedy in f2["remedies"]]
    assert "leaky_relu" in str(run.findings[0]["remedies"])


def test_a_loss_that_a_constant_brings_to_0_is_no_bar(tmp_path):
    """The perceptron's loss is 0 for a constant 0: nothing can be below it."""
    x = np.concatenate([X + 9 * (2 * Y[:, None] - 1)])
    data = nw.read(x, Y, batch_size=16)
    run = nw.train(data, "logistic", loss="perceptron", **HEALTHY, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] == 1.0
    assert found(run) == []


# notes ----------------------------------------------------------------------------------------------------------


def test_memorised_noise_is_a_note_on_the_gap(tmp_path):
    noise = np.random.default_rng(1).integers(0, 2, 200)
    adam = {"name": "adam", "lr": 0.05}
    run = nw.train(nw.read(X, noise), "mlp", optimizer=adam, epochs=60, out=tmp_path / "run", quiet=True)
    [note] = run.notes
    assert (note["fault"], note["where"]) == ("F1", "accuracy")
    evidence = note["evidence"]
    assert evidence["validation_accuracy"] == run.validation["accuracy"]
    assert evidence["gap"] == evidence["train_accuracy"] - evidence["validation_accuracy"] > 0.1
    assert "F1" not in found(run)


def test_uneven_classes_are_a_note_with_the_recall_of_each(tmp_path):
    y = np.r_[np.zeros(190, int), np.ones(10, int)]
    run = nw.train(nw.read(X, y), "mlp", **HEALTHY, out=tmp_path / "run", quiet=True)
    note = next(note for note in run.notes if note["fault"] == "A7")
    assert (note["evidence"]["most"], note["evidence"]["most_examples"]) == ("0", 137)
    assert (note["evidence"]["least"], note["evidence"]["least_examples"]) == ("1", 7)
    confusion = np.array(run.confusion)
    assert list(note["evidence"]["recall"].values()) == [row[i] / row.sum() for i, row in enumerate(confusion)]
    assert note["harm"] == ""
    assert "A7" not in found(run)


def healthy():
    return Trace(
        task="classify", loss="cross_entropy", loss_scale=0.69, lowest_train_loss=0.1, train={"accuracy": 0.95},
        validation={"accuracy": 0.9}, class_counts=[50, 50], class_names=["a", "b"], recalls=[0.9, 0.9], still=[],
        frozen=[], non_finite=None, steps=10, recipe={"optimizer": {"lr": 0.1}},
    )  # fmt: skip


BEHIND = {"metric": "accuracy", "reached": 0.7, "baseline": "linear", "value": 0.9}
EDGES = [
    ({}, [], []),
    ({"lowest_train_loss": 0.69}, ["F2"], []),
    ({"lowest_train_loss": 0.6899999}, [], []),
    ({"lowest_train_loss": math.inf}, [], []),
    ({"lowest_train_loss": math.nan}, [], []),
    ({"loss_scale": math.nan}, [], []),
    ({"loss_scale": 0.0, "lowest_train_loss": 0.0}, [], []),
    ({"still": ["a.weight"]}, ["E2"], []),
    ({"still": ["a.weight"], "steps": 0}, [], []),
    ({"train": {"accuracy": 0.9}, "validation": {"accuracy": 0.8}}, [], []),
    ({"train": {"accuracy": 0.95}, "validation": {"accuracy": 0.8}}, [], ["F1"]),
    ({"train": {"accuracy": None}, "validation": {}}, [], []),
    ({"task": "regress", "train": {"r2": 0.9}, "validation": {"r2": -3.0}}, [], ["F1"]),
    ({"class_counts": [100, 10]}, [], []),
    ({"class_counts": [101, 10]}, [], ["A7"]),
    ({"class_counts": [100, 0]}, [], []),
    ({"class_counts": []}, [], []),
    ({"recipe": {}, "lowest_train_loss": 0.7, "still": ["w"]}, ["E2", "F2"], []),
    ({"non_finite": {"where": "gradient", "step": 3, "epoch": 1, "examples": list("x" * 40)}}, ["D10"], []),
    ({"non_finite": {"where": "loss", "step": 3, "epoch": 1, "examples": []}, "lowest_train_loss": 9.0}, ["D10"], []),
    ({"quotients": [-3.0, -3.0, -3.0]}, [], []),
    ({"quotients": [-3.0, -3.0], "behind": BEHIND}, [], []),
    ({"quotients": [-3.0, -3.0, -3.0], "behind": BEHIND}, ["D1"], []),
    ({"quotients": [-0.5] * 9 + [-1.1], "behind": BEHIND}, [], []),
    ({"quotients": [0.5] * 8 + [-1.1] * 2, "behind": BEHIND}, ["D1"], []),
    ({"quotients": [-0.51] * 3, "behind": BEHIND, "lowest_train_loss": 0.7}, ["D1"], []),
    ({"quotients": [0.99] * 10}, [], []),
    ({"quotients": [0.99] * 9 + [0.9], "behind": BEHIND}, [], []),
    ({"quotients": [0.99] * 10, "behind": BEHIND}, ["D2"], []),
    ({"quotients": [0.99] * 10, "behind": BEHIND, "lowest_train_loss": 0.7}, ["D2"], []),
    ({"quotients": [0.5] * 10, "behind": BEHIND}, [], []),
]


@pytest.mark.parametrize(("change", "faults", "notes"), EDGES, ids=[str(list(c.items()))[:60] for c, _, _ in EDGES])
def test_edges_of_every_check(change, faults, notes):
    results = examine(dataclasses.replace(healthy(), **change))
    assert [finding.fault for finding in results[0]] == faults
    assert [note.fault for note in results[1]] == notes
    for finding in [*results[0], *results[1]]:
        assert finding.fault in FAULTS
        assert json.loads(json.dumps(finding.to_json(), allow_nan=False)) == finding.to_json()
        assert set(finding.to_json()) == {"fault", "name", "where", "evidence", "harm", "remedies", "confidence"}
        assert finding.confidence is None  # it is exact
        assert bool(finding.harm) == (finding.fault in faults)
        assert len(finding.evidence.get("examples", [])) <= 20


def test_remedies_are_patches_that_a_recipe_takes():
    change = {"still": ["w"], "lowest_train_loss": 9.0, "class_counts": [99, 1]}
    change |= {"train": {"accuracy": 1.0}, "validation": {"accuracy": 0.1}}
    change |= {"recipe": {"optimizer": {"lr": 0.1}, "network": {"activation": "relu"}}}
    broken = {"non_finite": {"where": "loss", "step": 1, "epoch": 1, "examples": []}}
    patches = [
        remedy.patch
        for one in (change, broken)
        for findings in examine(dataclasses.replace(healthy(), **one))
        for finding in findings
        for remedy in finding.remedies
    ]
    assert len(patches) >= 5
    base = Recipe().override(["network=mlp", "optimizer=adamw"])
    for patch in patches:
        recipe = base
        for key, value in patch.items():
            recipe = recipe.set(key, value)
        assert recipe.check() != base


# gates ----------------------------------------------------------------------------------------------------------


def test_notes_never_gate_and_findings_do(tmp_path, monkeypatch, capsys):
    """--fail-on looks at findings alone; exit code 4."""
    lines = ["a,b,target"] + [f"{x[0]},{x[1]},{'u' if n < 190 else 'v'}" for n, x in enumerate(X)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("NETWRIGHT_LANG", "en")

    def train(out, *words):
        code = _run(["train", str(tmp_path / "t.csv"), "--out", str(tmp_path / out), "--quiet", *words])
        return code, capsys.readouterr()

    words = ["optimizer=adam", "optimizer.lr=0.01", "epochs=30", "--fail-on", "A7", "--fail-on", "E2"]
    code, printed = train("noted", *words)
    assert code == 0, printed.err
    assert "note A7" in printed.out
    code, printed = train("failed", "optimizer=sgd", "optimizer.lr=1e-12", "epochs=1", "--fail-on", "E2")
    assert code == 4
    assert "fault E2 was found" in printed.err


# the loss of the best constant ----------------------------------------------------------------------------------


def entropy(labels):
    shares = np.bincount(labels) / len(labels)
    return float(-(shares * np.log(shares)).sum())


def job(x, y, *words, **read):
    data = nw.read(x, y, **read)
    recipe = resolve(Recipe().override(words), data)
    return Job(data, recipe, build(recipe, data.inputs, data.outputs), launch(recipe.table("training")), Progress(True))


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits", "logistic", "hinge", "perceptron"])
def test_constant_loss_of_two_classes_in_closed_form(share, loss):
    y = (np.arange(200) < share * 200).astype(int)
    found_job = job(X, y, "network=softmax" if loss == "cross_entropy" else "network=logistic", f"loss={loss}")
    labels = found_job.dataset.target_tensor("train").numpy()
    p = labels.mean()
    expected = {"hinge": 2 * min(p, 1 - p), "perceptron": 0.0}.get(loss, entropy(labels))
    assert constant_loss(found_job) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_constant_loss_of_many_classes_is_the_entropy_also_smoothed():
    y = RNG.choice(5, 200, p=[0.5, 0.25, 0.15, 0.05, 0.05])
    plain = job(X, y, "network=softmax")
    labels = plain.dataset.target_tensor("train").numpy()
    assert constant_loss(plain) == pytest.approx(entropy(labels), rel=1e-9)
    shares = np.bincount(labels) / len(labels)
    each = job(X, y, "network=softmax", "loss=bce_with_logits")
    expected = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares)).sum()
    assert constant_loss(each) == pytest.approx(expected, rel=1e-8)
    smooth = 0.9 * shares + 0.1 / 5
    smoothed = job(X, y, "network=softmax", "loss=cross_entropy", "loss.label_smoothing=0.1")
    assert constant_loss(smoothed) == pytest.approx(-(smooth * np.log(smooth)).sum(), rel=1e-8)


@pytest.mark.parametrize("heavy", [False, True])
def test_constant_loss_of_numbers_in_closed_form(heavy):
    y = RNG.standard_cauchy(200) if heavy else X[:, 0] * 5 + 100
    losses = {name: job(X, y, "network=mlp", f"loss={name}") for name in ("mse", "half_squared_error", "mae")}
    t = losses["mse"].dataset.target_tensor("train").double().numpy()
    assert constant_loss(losses["mse"]) == pytest.approx(t.var(), rel=1e-9)
    assert constant_loss(losses["mse"]) == pytest.approx(1, rel=1e-6)  # targets are standardised
    assert constant_loss(losses["half_squared_error"]) == pytest.approx(t.var() / 2, rel=1e-9)
    assert constant_loss(losses["mae"]) == pytest.approx(np.abs(t - np.median(t)).mean(), rel=1e-9)


def test_constant_loss_is_unknown_where_the_loss_is_not_the_plain_mean():
    y = (X[:, 0] > 0).astype(int)
    assert math.isnan(constant_loss(job(X, y, "network=softmax", "class_weights=balanced")))
    assert math.isnan(constant_loss(job(X, y, "network=perceptron")))  # its update is its own
    weighted = job(X, y, "network=softmax")
    weighted.weights = torch.ones(len(weighted.dataset.splits["train"]))
    assert math.isnan(constant_loss(weighted))
