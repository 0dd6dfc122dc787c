"""Published weights in a run: loaded when it starts, recorded, and not looked for afterwards."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import netwright as nw
from netwright.cli import _run
from netwright.errors import DataError, RunError
from netwright.training import train as training
from netwright.weights.load import Misfit

TABLE = {"name": "convnet", "norm": "batchnorm", "weights": "w.safetensors"}
QUICK = {"epochs": 1, "out": "run", "quiet": True}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with a donor's weights in it, and a small part of the digits."""
    monkeypatch.chdir(tmp_path)
    data = nw.read("digits", limit=128)
    torch.manual_seed(3)
    donor = nw.network("convnet", data, norm="batchnorm", seed=9)
    for name, tensor in donor.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_()
    save_file(donor.state_dict(), "w.safetensors")
    return data


def first_weights(run: str) -> dict[str, torch.Tensor]:
    """A run's weights before its first step, where that checkpoint is kept."""
    return load_file(Path(run) / "checkpoints" / "0" / "weights.safetensors")


def test_a_run_starts_from_the_file_and_records_it(data, capsys):
    run = nw.train(data, TABLE, **{**QUICK, "quiet": False})
    said = capsys.readouterr().err
    assert said.count("weights: ") == 1
    assert "w.safetensors" in said
    facts = json.loads(Path("run/run.json").read_text())["weights"]
    assert facts["sha256"] == hashlib.sha256(Path("w.safetensors").read_bytes()).hexdigest()
    assert facts["tensors"] == len(load_file("w.safetensors"))
    assert 'weights = "w.safetensors"' in Path("run/recipe.toml").read_text()
    donor = load_file("w.safetensors")
    assert all(torch.equal(tensor, donor[name]) for name, tensor in first_weights("run").items())
    Path("w.safetensors").unlink()
    assert len(nw.open("run").predict(torch.zeros(2, 1, 8, 8).numpy())) == 2
    assert nw.open("run").evaluate().to_json()["loss"] == pytest.approx(run.test["loss"])
    assert nw.resume("run", data=data, quiet=True).epochs == 1


def test_the_same_weights_from_python(data):
    net = nw.network("convnet", data, norm="batchnorm", weights="w.safetensors")
    donor = load_file("w.safetensors")
    assert all(torch.equal(tensor, donor[name]) for name, tensor in net.state_dict().items())
    nw.train(data, net, **QUICK)
    assert json.loads(Path("run/run.json").read_text())["weights"]["file"] == "w.safetensors"
    (step, *_) = nw.steps(data, TABLE, epochs=1)
    assert step.number == 1


def test_frozen_tensors_are_equal_to_the_bit_through_a_run(data):
    nw.train(data, TABLE, freeze="features", **QUICK)
    donor, best = load_file("w.safetensors"), load_file("run/best.safetensors")
    assert {name for name in donor if not torch.equal(donor[name], best[name])} == {"out.weight", "out.bias"}
    assert json.loads(Path("run/anatomy.json").read_text())["trainable"] == donor["out.weight"].numel() + 10


def test_members_and_folds_start_from_the_file_too(data):
    nw.train(data, TABLE, members=2, freeze=["conv1"], folds=2, **QUICK)
    donor, best = load_file("w.safetensors"), load_file("run/best.safetensors")
    for member in (0, 1):
        for name in ("conv1.0.weight", "conv1.1.running_mean"):
            assert torch.equal(best[f"members.{member}.{name}"], donor[name])
    assert not torch.equal(best["members.0.conv2.0.weight"], best["members.1.conv2.0.weight"])


def test_what_does_not_fit_leaves_no_run_folder(data):
    save_file({"conv1.0.weight": torch.ones(3)}, "bad.safetensors")
    with pytest.raises(Misfit, match="missing"):
        nw.train(data, {**TABLE, "weights": "bad.safetensors"}, **QUICK)
    with pytest.raises(DataError, match=r"Did you mean 'w.safetensors'"):
        nw.train(data, {**TABLE, "weights": "v.safetensors"}, **QUICK)
    for words, code in ((["freeze=conv9"], 2), (["network.weights=bad.safetensors"], 3), (["network.weights=3"], 2)):
        assert _run(["train", "digits", "network=convnet", "epochs=1", "--out", "run", *words]) == code
    assert not Path("run").exists()


def killed_at_once(monkeypatch) -> None:
    """The next training dies before its first checkpoint."""

    def die(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "Keeper", die)


def test_killed_before_the_first_checkpoint_it_loads_again_and_refuses_another_file(data, monkeypatch):
    nw.train(data, TABLE, **{**QUICK, "out": "whole"})
    with monkeypatch.context() as patch:
        killed_at_once(patch)
        with pytest.raises(KeyboardInterrupt):
            nw.train(data, TABLE, **QUICK)
    assert not Path("run/checkpoints").exists()
    good = Path("w.safetensors").read_bytes()
    other = load_file("w.safetensors")
    save_file({name: tensor * 2 for name, tensor in other.items()}, "w.safetensors")
    with pytest.raises(DataError, match="not those this run started with"):
        nw.resume("run", data=data, quiet=True)
    Path("w.safetensors").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        nw.resume("run", data=data, quiet=True)
    Path("w.safetensors").write_bytes(good)
    nw.resume("run", data=data, quiet=True)
    assert Path("run/best.safetensors").exists()
    whole, again = load_file("whole/best.safetensors"), load_file("run/best.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.slow
def test_a_run_continued_elsewhere_finds_its_file_and_keeps_what_is_frozen(data, tmp_path, monkeypatch):
    words = ["digits", "network=convnet", "network.norm=batchnorm", "network.weights=w.safetensors", "freeze=features",
             "epochs=8", "save_steps=5", "data.limit=400"]  # fmt: skip
    command = [sys.executable, "-m", "netwright", "train", *words, "--out", "run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or []:
        if "epoch 2/8" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    donor = load_file("w.safetensors")
    Path("w.safetensors").unlink()  # a checkpoint is there: the file is needed no more
    monkeypatch.chdir("/")
    assert _run(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    best = load_file(tmp_path / "run" / "best.safetensors")
    assert {name for name in donor if not torch.equal(donor[name], best[name])} == {"out.weight", "out.bias"}


def test_a_damaged_record_is_refused(data):
    nw.train(data, TABLE, **QUICK)
    facts = json.loads(Path("run/run.json").read_text())
    Path("run/run.json").write_text(json.dumps({**facts, "id": "other"}))
    with pytest.raises(RunError, match="damaged"):
        nw.resume("run", data=data, quiet=True)
