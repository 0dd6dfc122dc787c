"""`rerun` repeats a run and names the first number that differs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from exactness import environment, sha256
from safetensors.torch import load, save

import netwright as nw
from netwright import cli
from netwright.repeat import difference, tensor_difference
from netwright.rundir import sealed_json
from netwright.training import train as training

SETTLED = {"threads": 1, "precision": "float32", "layout": "contiguous", "allocator": "default", "compile": False}
SETTINGS = {"epochs": 3, "save_steps": 7, "log_steps": 2, "quiet": True, **SETTLED}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache and a folder for temporary files of this test's own."""
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert list((tmp_path / "temporary").iterdir()) == []  # nothing of a repetition is left


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run: augmentation, dropout, a schedule."""
    place = tmp_path_factory.mktemp("made")
    data = nw.read("digits", limit=120, augment="translate 1", batch_size=16)
    network = {"name": "stack", "layers": "conv 4 3, batchnorm, relu, maxpool 2, dropout 0.2, linear out"}
    optimizer, schedule = {"name": "momentum", "lr": 0.05}, "one_cycle"
    return nw.train(data, network, optimizer=optimizer, schedule=schedule, out=place / "run", **SETTINGS)


@pytest.fixture
def run(made, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(made.path, tmp_path / "run")
    return tmp_path / "run"


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def rewrite(run, found):
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))


def test_a_run_repeats_and_nothing_in_its_folder_changes(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = nw.rerun(run, quiet=True)
    assert found.identical is True
    assert found.first_difference is None
    steps = rows(run)[-1]["step"]
    assert found.compared == {"rows": len(rows(run)), "steps": steps, "checkpoint": steps, "report": True}
    assert found.environment == []
    assert "repeats to the bit" in str(found)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("place", "column", "change"),
    [(0, "loss", np.nextafter), (2, "lr", np.nextafter), (4, "gradient_norm", np.nextafter), (-1, "train_loss", None)],
)
def test_the_first_row_that_differs_is_named_and_training_stops_there(run, monkeypatch, place, column, change):
    found = rows(run)
    right = found[place][column]
    found[place][column] = wrong = float(change(right, np.inf)) if change else None
    rewrite(run, found)
    taken = []
    real = training.steps

    def counted(*words):
        for step in real(*words):
            taken.append(step.number)
            yield step

    monkeypatch.setattr(training, "steps", counted)
    told = nw.rerun(run, quiet=True)
    step = found[place]["step"]
    assert told.identical is False
    assert told.first_difference == {"step": step, "what": f"metrics.jsonl: {column}", "here": right, "there": wrong}
    assert max(taken) == step
    assert f"at step {step}, metrics.jsonl: {column} is {right!r} here" in str(told)
    assert "nothing else that the run recorded differs here" in str(told)


def test_times_may_differ(run):
    rewrite(run, [{**row, "seconds": 1e6, "examples_per_second": None} for row in rows(run)])
    assert nw.rerun(run, quiet=True).identical


def test_a_missing_and_a_surplus_row_differ(run):
    found = rows(run)
    lost = next(place for place in range(2, 9) if found[place]["step"] < found[place + 1]["step"])
    rewrite(run, found[:lost] + found[lost + 1 :])
    told = nw.rerun(run, quiet=True).first_difference
    assert (told["step"], told["what"]) == (found[lost]["step"], "metrics.jsonl: step")
    rewrite(run, found[:-1])
    told = nw.rerun(run, quiet=True).first_difference
    assert (told["step"], told["what"], told["there"]) == (found[-1]["step"], "metrics.jsonl", None)
    surplus = {**found[-1], "step": found[-1]["step"] + 5}
    rewrite(run, [*found, surplus])
    told = nw.rerun(run, quiet=True).first_difference
    assert (told["step"], told["what"], told["here"]) == (surplus["step"], "metrics.jsonl", None)


def test_other_best_weights_are_found(run):
    data = (run / "best.safetensors").read_bytes()
    tensors = load(data)
    name = sorted(tensors)[-1]
    right = tensors[name].reshape(-1)[1].item()
    tensors[name].view(-1)[1] = wrong = right + 1
    changed = save(tensors)
    (run / "best.safetensors").write_bytes(changed)
    seal = json.loads((run / "best.json").read_text())
    seal.pop("digest")
    seal["sha256"]["best.safetensors"] = sha256(changed)
    (run / "best.json").write_bytes(sealed_json(seal))
    told = nw.rerun(run, quiet=True)
    assert told.first_difference["what"].startswith(f"best.safetensors: {name}[")
    assert told.first_difference["here"] == right
    assert told.first_difference["there"] == pytest.approx(wrong)
    assert told.compared["report"] is False


def test_another_number_in_the_report_is_found(run):
    report = json.loads((run / "report.json").read_text())
    report["validation"]["accuracy"] += 0.25
    (run / "report.json").write_text(json.dumps(report))
    told = nw.rerun(run, quiet=True).first_difference
    assert told["what"] == "report.json: validation.accuracy"
    assert told["there"] - told["here"] == pytest.approx(0.25)


def test_what_the_run_recorded_of_its_surroundings_may_explain_it(run):
    facts = json.loads((run / "run.json").read_text())
    right = facts["environment"]["torch"]
    facts["environment"]["torch"] = "1.0"
    (run / "run.json").write_text(json.dumps(facts))
    told = nw.rerun(run, quiet=True)
    assert told.identical
    assert told.environment == [{"what": "torch", "here": right, "there": "1.0"}]
    found = rows(run)
    found[1]["loss"] = 7
    rewrite(run, found)
    assert f"what may explain it: torch is {right} here and was 1.0" in str(nw.rerun(run, quiet=True))


class Died(Exception):
    pass


def died(monkeypatch, tmp_path, step, **settings):
    """A run that died after a step, with all that was in memory."""
    from netwright.training import keeper

    real = keeper.Keeper.after_step

    def dying(self, taken):
        real(self, taken)
        if taken.number >= step:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train("iris", "mlp", out=tmp_path / "died", **{**SETTINGS, "log_steps": 1, **settings})
    return tmp_path / "died"


def test_an_unfinished_run_is_compared_as_far_as_it_came_and_a_resumed_one_to_its_end(monkeypatch, tmp_path):
    path = died(monkeypatch, tmp_path, 13, epochs=20, save_steps=5)
    told = nw.rerun(path, quiet=True)
    assert told.identical
    assert told.compared == {"rows": 25, "steps": 13, "checkpoint": 10, "report": False}  # a step is an epoch
    assert "as far as it came" in str(told)
    found = rows(path)
    rewrite(path, [{**found[0], "loss": 3.0}, *found[1:]])
    assert nw.rerun(path, quiet=True).first_difference["step"] == 1
    rewrite(path, found)
    nw.resume(path, quiet=True)
    told = nw.rerun(path, quiet=True)
    assert (told.identical, told.compared["steps"], told.compared["report"]) == (True, 20, True)


def test_a_run_that_recorded_nothing_yet_has_nothing_to_compare(monkeypatch, tmp_path):
    path = died(monkeypatch, tmp_path, 0, log_steps=100, save_steps=100)
    with pytest.raises(nw.RunError, match="nothing to compare"):
        nw.rerun(path, quiet=True)


@pytest.mark.parametrize("more", [{"members": 2}, {"folds": 2}, {"until": "accuracy>=0.5"}], ids=str)
def test_members_folds_and_an_early_stop_repeat(tmp_path, more):
    run = nw.train("iris", "mlp", out=tmp_path / "run", **{**SETTINGS, **more})
    assert nw.rerun(run, quiet=True).identical
    if "folds" in more:
        report = json.loads((run.path / "report.json").read_text())
        report["folds"]["metrics"]["accuracy"]["values"][1] = 0.5
        (run.path / "report.json").write_text(json.dumps(report))
        what = "report.json: folds.metrics.accuracy.values[1]"
        assert nw.rerun(run.path, quiet=True).first_difference["what"] == what


def test_what_cannot_be_repeated_is_refused_with_the_reason(tmp_path):
    table = tmp_path / "table.csv"
    lines = ["a,b,target"] + [f"{i % 7},{i % 5},{i % 2}" for i in range(60)]
    table.write_text("\n".join(lines))
    run = nw.train(str(table), "softmax", out=tmp_path / "run", **SETTINGS)
    table.write_text("\n".join(lines).replace("6,", "9,"))
    with pytest.raises(nw.DataError, match="changed since"):
        nw.rerun(run.path, quiet=True)
    module = nw.train("iris", torch.nn.Sequential(torch.nn.Linear(4, 3)), out=tmp_path / "module", **SETTINGS)
    with pytest.raises(nw.UsageError, match="first weights are not on record"):
        nw.rerun(module.path, quiet=True)
    x, y = np.arange(80.0).reshape(40, 2) % 7, np.arange(40) % 2
    arrays = nw.train(x, "softmax", targets=y, out=tmp_path / "arrays", **SETTINGS)
    with pytest.raises(nw.UsageError, match="hand it over again"):
        nw.rerun(arrays.path, quiet=True)
    assert nw.rerun(arrays, quiet=True).identical  # this handle still has them
    assert nw.rerun(arrays.path, data=nw.read(x, targets=y), quiet=True).identical
    with pytest.raises(nw.DataError, match="changed since"):
        nw.rerun(arrays.path, data=nw.read(x + 1, targets=y), quiet=True)
    (run.path / "recipe.toml").write_text((run.path / "recipe.toml").read_text().replace("seed = 0", "seed = 1"))
    with pytest.raises(nw.RunError, match=r"recipe\.toml is damaged"):
        nw.rerun(run.path, quiet=True)


def test_the_command_answers_with_one_object_and_exit_code_0_either_way(run, capsys):
    assert cli._run(["rerun", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["identical"], told["first_difference"], told["run"]) == (True, None, str(run))
    found = rows(run)
    rewrite(run, [{**found[0], "loss": 3.0}, *found[1:]])
    assert cli._run(["rerun", str(run), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["identical"] is False
    assert json.loads(out)["first_difference"]["step"] == found[0]["step"]
    assert "rows" in err  # what it is about to do
    assert cli._run(["rerun", str(run / "gone"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_behind(tmp_path, number):
    """The folder of temporary files is looked at by the fixture."""
    run = nw.train("digits", "mlp", out=tmp_path / "run", **{**SETTINGS, "epochs": 30})
    process = subprocess.Popen(
        [sys.executable, "-m", "netwright", "rerun", str(run.path)],
        stderr=subprocess.PIPE, text=True, env=environment(tmp_path / "cache", TMPDIR=os.environ["TMPDIR"]),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "temporary").rglob("metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "no difference up to step" in err
    assert "resume" not in err


def test_json_values_are_compared_exactly():
    assert difference({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, "") is None
    assert difference({"a": [1, {"b": 0.1}]}, {"a": [1, {"b": 0.1 + 2**-56}]}, "") == ("a[1].b", 0.1, 0.1 + 2**-56)
    assert difference({"a": 1}, {"a": 1.0}, "x") == ("x.a", 1, 1.0)
    assert difference({"a": 1}, {"a": 1, "b": None}, "") == ("b", None, None)
    assert difference([1, 2], [1], "rows") == ("rows", [1, 2], [1])


def test_tensors_are_compared_by_their_bits():
    one = {"w": torch.tensor([[0.0, 1.0], [float("nan"), 2.0]]), "n": torch.tensor(3)}
    assert tensor_difference(one, {name: tensor.clone() for name, tensor in one.items()}) is None
    other = one["w"].clone()
    other[1, 1] = 2.5
    assert tensor_difference(one, {**one, "w": other}) == ("w[1,1]", 2.0, 2.5)
    negative = one["w"].clone()
    negative[0, 0] = -0.0
    assert tensor_difference(one, {**one, "w": negative})[0] == "w[0,0]"  # equal as numbers, not as bits
    assert tensor_difference(one, {**one, "n": torch.tensor(4)}) == ("n", 3, 4)
    assert tensor_difference(one, {"w": one["w"]}) == ("n", "int64 []", None)
    assert tensor_difference(one, {**one, "n": torch.tensor(3.0)}) == ("n", "int64 []", "float32 []")
