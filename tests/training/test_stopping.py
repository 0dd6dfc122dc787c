"""When training stops and which weights stay: targets, patience on scripted curves, and the nine-step procedure."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import netwright as nw
from netwright.errors import UsageError
from netwright.training import keeper as keeping
from netwright.training.stopping import Best, Condition

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


@pytest.fixture(scope="module")
def data():
    return nw.read(X, Y, batch_size=16)


# conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("accuracy>=0.98", ("accuracy", ">=", 0.98)),
        (" accuracy >= 0.98 ", ("accuracy", ">=", 0.98)),
        ("loss<=1e-3", ("loss", "<=", 1e-3)),
        ("train_loss<=.01", ("train_loss", "<=", 0.01)),
        ("f1_macro>=1", ("f1_macro", ">=", 1.0)),
        ("top_5>=0", ("top_5", ">=", 0.0)),
        ("accuracy>=0.9876543", ("accuracy", ">=", 0.9876543)),
    ],
)
def test_conditions_are_read(text, found):
    condition = Condition.parse(text, "classify", "training.until", ("train_loss",))
    assert (condition.metric, condition.sign, condition.limit) == found
    assert Condition.parse(str(condition), "classify", "again", ("train_loss",)) == condition


@pytest.mark.parametrize(
    "text",
    ["accuracy", "accuracy>0.9", "accuracy=0.9", "0.9<=accuracy", "accuracy>=", ">=0.9", "accuracy>=x", "accuracy>=nan",
     "accuracy>=0.9 0.8", "accuracy>=0.9,loss<=1", "ACCURACY>=0.9", ""],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError) as caught:
        Condition.parse(text, "classify", "--require")
    assert str(caught.value).startswith("--require = ")
    assert "accuracy>=0.98" in str(caught.value)


def test_metrics_of_another_task_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"training\.until: there is no metric 'rmse' here"):
        Condition.parse("rmse<=1", "classify", "training.until")
    with pytest.raises(UsageError, match="Did you mean 'accuracy'"):
        Condition.parse("acuracy>=1", "classify", "training.until")
    with pytest.raises(UsageError, match="there is no metric 'train_loss' here"):
        Condition.parse("train_loss<=1", "classify", "--require")
    assert Condition.parse("rmse<=1", "regress", "x").met({"rmse": 1.0})


def test_a_condition_is_met_at_its_limit_and_never_by_a_missing_value():
    high, low = Condition("a", ">=", 0.5), Condition("a", "<=", 0.5)
    assert [high.met({"a": v}) for v in (0.4, 0.5, 0.6)] == [False, True, True]
    assert [low.met({"a": v}) for v in (0.4, 0.5, 0.6)] == [True, True, False]
    for condition in (high, low):
        assert not any(condition.met(values) for values in ({}, {"a": None}, {"a": math.nan}, {"a": math.inf}))


# the best epoch -----------------------------------------------------------------------------------------------

SCORES = st.lists(
    st.fixed_dictionaries({
        "value": st.sampled_from([0.0, 0.25, 0.5, 1.0, None, math.nan]),
        "loss": st.sampled_from([0.1, 0.2, 0.3, None, math.inf]),
    }),
    max_size=12,
)  # fmt: skip


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("rmse", -1), ("perplexity", -1), ("entity_f1", 1)])
@given(scores=SCORES)
def test_the_best_epoch_is_the_first_of_the_best_values_with_the_lowest_loss(metric, sign, scores):
    best = Best(metric)
    for epoch, found in enumerate(scores, 1):
        best.update(epoch, {best.metric: found["value"], "loss": found["loss"]})
        best = Best.of(json.loads(json.dumps({k: None if v != v else v for k, v in best.facts().items()})))
    known = [
        (sign * found["value"], -found["loss"], -epoch)
        for epoch, found in enumerate(scores, 1)
        if all(isinstance(v, float) and math.isfinite(v) for v in found.values())
    ]
    assert best.epoch == (-max(known)[2] if known else 0)
    assert best.stale == len(scores) - best.epoch


def test_without_validation_the_last_epoch_is_the_best():
    best = Best("accuracy")
    assert [best.update(epoch, {}) for epoch in (1, 2, 3)] == [True] * 3
    assert (best.epoch, best.stale) == (3, 0)


# scripted curves (S-133) ----------------------------------------------------------------------------------------

CURVES = [
    # validation accuracy by epoch, patience, epochs, then: stop epoch, best epoch, why
    ([0.5, 0.6, 0.7, 0.65, 0.6, 0.5, 0.9], 3, 7, 6, 3, "patience"),
    ([0.5, 0.6, 0.7, 0.65, 0.6, 0.8, 0.7], 3, 7, 7, 6, "epochs"),
    ([0.9, 0.8, 0.7], 1, 3, 2, 1, "patience"),
    ([0.9, 0.9, 0.9], 2, 3, 3, 1, "patience"),
    ([0.9, 0.8, 0.7, 0.6], 0, 4, 4, 1, "epochs"),
    ([0.1, 0.2, 0.3], 1, 3, 3, 3, "epochs"),
]


@pytest.mark.parametrize(("curve", "patience", "epochs", "stop", "best", "why"), CURVES)
def test_patience_stops_at_the_right_epoch_and_the_best_weights_come_back(
    data, tmp_path, monkeypatch, curve, patience, epochs, stop, best, why
):
    weights = []

    def scripted(self):
        weights.append({name: tensor.clone() for name, tensor in self.state.model.state_dict().items()})
        return {"loss": 0.5, "accuracy": curve[len(weights) - 1]}

    monkeypatch.setattr(keeping.Keeper, "validate", scripted)
    run = nw.train(data, "softmax", epochs=epochs, stop_after=patience, out=tmp_path / "run", quiet=True)
    assert (len(weights), run.epochs, run.best_epoch, run.stopped) == (stop, stop, best, why)
    kept = load_file(run.path / "best.safetensors")
    for name, tensor in weights[best - 1].items():
        assert torch.equal(kept[name], tensor)
    assert stop == best or any(not torch.equal(kept[name], tensor) for name, tensor in weights[-1].items())
    predictor = run.predictor()
    assert all(torch.equal(predictor.forward.model.state_dict()[name], t) for name, t in weights[best - 1].items())
    assert json.loads((run.path / "best.json").read_text())["epoch"] == best


def test_equal_accuracy_is_decided_by_the_loss(data, tmp_path, monkeypatch):
    losses = iter([0.5, 0.4, 0.45, 0.4, 0.6])
    monkeypatch.setattr(keeping.Keeper, "validate", lambda self: {"loss": next(losses), "accuracy": 0.8})
    run = nw.train(data, "softmax", epochs=5, out=tmp_path / "run", quiet=True)
    assert run.best_epoch == 2


def test_stopping_looks_at_validation_and_says_so_where_there_is_none(tmp_path):
    alone = nw.read(X, Y, validation=0.0)
    with pytest.raises(UsageError, match=r"stop_after looks at validation examples"):
        nw.train(alone, "softmax", epochs=3, stop_after=1, out=tmp_path / "a", quiet=True)
    with pytest.raises(UsageError, match=r"'accuracy>=0.9' looks at validation examples, and there are none"):
        nw.train(alone, "softmax", epochs=3, until="accuracy>=0.9", out=tmp_path / "b", quiet=True)
    run = nw.train(alone, "softmax", epochs=3, until="train_loss<=100", out=tmp_path / "c", quiet=True)
    assert (run.epochs, run.best_epoch, run.stopped, run.validation) == (1, 1, "until", {})


# until ----------------------------------------------------------------------------------------------------------


def epoch_rows(run):
    return [row for row in run.folder.rows() if "validation" in row]


@pytest.mark.parametrize("until", ["train_loss<=0.25", "accuracy>=0.9", "loss<=0.2", "f1_macro>=0.9"])
def test_until_stops_after_the_first_epoch_that_meets_it(data, tmp_path, until):
    adam = {"name": "adam", "lr": 0.05}
    run = nw.train(data, "softmax", optimizer=adam, epochs=40, until=until, out=tmp_path / "run", quiet=True)
    condition = Condition.parse(until, "classify", "x", ("train_loss",))
    met = [condition.met({**row["validation"], "train_loss": row["train_loss"]}) for row in epoch_rows(run)]
    assert met == [False] * (run.epochs - 1) + [True]
    assert run.stopped == "until"
    assert 1 < run.epochs < 40


def test_a_target_that_is_never_met_trains_to_the_end(data, tmp_path):
    run = nw.train(data, "softmax", epochs=3, until="train_loss<=0", out=tmp_path / "run", quiet=True)
    assert (run.epochs, run.stopped) == (3, "epochs")


# the nine steps (S-111) -----------------------------------------------------------------------------------------


def numbers(text):
    return [int(found) for found in re.findall(r"^\[(\d)\] ", text, re.MULTILINE)]


NINE = {"optimizer": {"name": "adam", "lr": 0.05}, "until": "train_loss<=0.25", "epochs": 40, "save_steps": 3}


def test_the_log_shows_steps_1_to_9_in_order_with_3_to_8_as_the_loop(data, tmp_path, capsys):
    run = nw.train(data, "softmax", out=tmp_path / "run", **NINE)
    said = capsys.readouterr().err
    assert numbers(said) == [1, 2, *[3, 4, 5, 6, 7, 8] * run.epochs, 9]
    eighth = re.findall(r"^\[8\] (.*)$", said, re.MULTILINE)
    assert all(line.endswith("not met, back to 3") for line in eighth[:-1])
    assert re.fullmatch(r"train_loss = 0\.2\d+, target train_loss<=0\.25: met", eighth[-1])
    assert f"[1] {data.examples['train']} training examples" in said


def test_without_a_target_the_procedure_is_silent(data, tmp_path, capsys):
    nw.train(data, "softmax", epochs=2, out=tmp_path / "run")
    assert numbers(capsys.readouterr().err) == []


def test_a_target_that_stays_out_of_reach_ends_without_going_back(data, tmp_path, capsys):
    nw.train(data, "softmax", until="train_loss<=0", epochs=2, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert numbers(said) == [1, 2, *[3, 4, 5, 6, 7, 8] * 2, 9]
    assert said.count("not met, back to 3") == 1
    assert said.count("not met\n") == 1


class Died(Exception):
    pass


def test_training_restarted_from_the_file_continues_with_the_same_loss(data, tmp_path, capsys, monkeypatch):
    whole = nw.train(data, "softmax", out=tmp_path / "whole", **NINE)
    capsys.readouterr()
    real = keeping.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number > 11:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeping.Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train(data, "softmax", out=tmp_path / "killed", **NINE)
    before = numbers(capsys.readouterr().err)
    run = nw.resume(tmp_path / "killed", data=data)
    after = numbers(capsys.readouterr().err)
    assert before == [1, 2, 3, 4, 5, 6, 7, 8]
    assert after == [*[3, 4, 5, 6, 7, 8] * (whole.epochs - 1), 9]

    def losses(one):
        return [(row["step"], row.get("loss"), row.get("train_loss")) for row in one.folder.rows()]

    assert losses(run) == losses(whole)
    assert run.test == whole.test


def test_conditions_are_plain_values():
    assert dataclasses.asdict(Condition("a", ">=", 1.0)) == {"metric": "a", "sign": ">=", "limit": 1.0}
    assert str(Condition("accuracy", ">=", 0.98)) == "accuracy>=0.98"
