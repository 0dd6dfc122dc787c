"""Killed and resumed, a run ends with the same bits; damage in sealed files is found before use."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import netwright as nw
from netwright.errors import RunError
from netwright.rundir import sha256

TIMES = ("seconds", "examples_per_second")
ARGUMENTS = ["digits", "network.dropout=0.2", "data.augment=translate 1", "epochs=12", "save_steps=7", "threads=1"]


def record(run):
    """All that must repeat to the bit: weights, rows without times, scores, predictions."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
    report = json.loads((run / "report.json").read_text())
    kept = ("test", "validation", "metrics", "confusion", "best_epoch", "steps", "notes")
    scores = {key: report[key] for key in kept}
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = {
        "best": (run / "best.safetensors").read_bytes(),
        "predictions": (run / "predictions.safetensors").read_bytes(),
    }
    tensors = {name: _without_run((last / name).read_bytes()) for name in ("weights.safetensors", "state.safetensors")}
    return rows, scores, {name: sha256(_without_run(data)) for name, data in files.items()}, tensors


def _without_run(data):
    """Tensor bytes alone: the header names the run."""
    return sha256(data[8 + int.from_bytes(data[:8], "little") :]).encode()


def command(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "netwright", *words], capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody killed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    found = command("train", *ARGUMENTS, "--out", str(run), "--json")
    assert found.returncode == 0, found.stderr
    return run, time.monotonic() - started


def kill_and_resume(run, delay, number=signal.SIGKILL):
    """Kill a training after `delay` seconds, and resume until it is finished."""
    process = subprocess.Popen(
        [sys.executable, "-m", "netwright", "train", *ARGUMENTS, "--out", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (run / "run.json").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    os.killpg(process.pid, number)
    code = process.wait()
    found = command("resume", str(run), "--json")
    assert found.returncode == 0, found.stderr
    return code


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment_a_run_resumes_to_the_same_bits(whole, tmp_path, seed):
    kill_and_resume(tmp_path / "run", random.Random(seed).uniform(0, 1.5))
    assert record(tmp_path / "run") == record(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_twenty_kills_resume_to_the_same_bits(whole, tmp_path, seed):
    kill_and_resume(tmp_path / "run", random.Random(100 + seed).uniform(0, 2.5))
    assert record(tmp_path / "run") == record(whole[0])


def test_a_signal_saves_and_exits_with_its_code(whole, tmp_path):
    code = kill_and_resume(tmp_path / "run", 0.4, signal.SIGTERM)
    assert code in (143, 0)  # 0: it was already finished
    assert record(tmp_path / "run") == record(whole[0])


class Died(Exception):
    pass


@pytest.mark.parametrize("dies_at", [0, 1, 20, 21, 22, 100, 251])
def test_dying_at_any_step_changes_no_bit(tmp_path, monkeypatch, dies_at):
    """The same in one process: the training dies after a given step, with everything in memory lost."""
    settings = {"epochs": 12, "save_steps": 7, "quiet": True}
    data = nw.read("digits", augment="noise 0.1")
    expected = nw.train(data, {"name": "convnet", "dropout": 0.2}, out=tmp_path / "whole", **settings)
    from netwright.training import keeper

    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number > dies_at:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train(data, {"name": "convnet", "dropout": 0.2}, out=tmp_path / "killed", **settings)
    nw.resume(tmp_path / "killed", quiet=True)
    assert record(tmp_path / "killed") == record(expected.path)


def test_a_finished_run_changes_nothing_and_exits_0(whole):
    run = whole[0]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = command("resume", str(run), "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["test"] == json.loads((run / "report.json").read_text())["test"]
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == {path: data for path, data in before.items() if path.name != ".lock"}


def test_a_run_killed_before_its_first_checkpoint_starts_again(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    shutil.rmtree(run / "checkpoints")
    for name in ("report.json", "best.json", "best.safetensors", "findings.json", "report.html"):
        (run / name).unlink()
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    found = command("resume", str(run))
    assert found.returncode == 0, found.stderr
    assert record(run) == record(whole[0])


def test_a_damaged_checkpoint_is_said_and_the_generation_before_is_used(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    (run / "report.json").unlink()
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    data = bytearray((newest / "weights.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "weights.safetensors").write_bytes(data)
    found = command("resume", str(run))
    assert found.returncode == 0, found.stderr
    assert newest.name in found.stderr
    assert "weights.safetensors is damaged" in found.stderr
    assert record(run) == record(whole[0])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of a few kilobytes."""
    torch.manual_seed(0)
    data = nw.read("iris")
    return nw.train(data, "softmax", epochs=2, out=tmp_path_factory.mktemp("small") / "run", quiet=True)


@pytest.mark.parametrize("name", ["best.safetensors", "data.json", "recipe.toml", "best.json"])
def test_every_flipped_byte_of_a_sealed_file_is_found_before_use(small, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(small.path, run)
    folder = nw.open(run).folder
    path, whole = run / name, (run / name).read_bytes()
    assert folder.verified()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        with pytest.raises(RunError):
            folder.verified()


@pytest.mark.parametrize("verb", ["predict", "evaluate", "resume"])
def test_verbs_refuse_a_damaged_best_with_exit_code_3(small, tmp_path, verb):
    run = tmp_path / "run"
    shutil.copytree(small.path, run)
    data = bytearray((run / "best.safetensors").read_bytes())
    data[-1] ^= 128
    (run / "best.safetensors").write_bytes(data)
    words = [verb, str(run), "-"] if verb == "predict" else [verb, str(run)]
    found = command(*words, "--json", input="[1, 2, 3, 4]\n")
    assert found.returncode == 3
    assert json.loads(found.stdout)["error"]["code"] == 3
    assert "best.safetensors" in found.stderr
    assert "Traceback" not in found.stderr


def test_two_writers_one_wins(small):
    folder = nw.open(small.path).folder
    script = f"import netwright as nw; nw.resume({str(small.path)!r})"
    with folder.writing():
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
        assert "is being written by" in found.stderr
        with pytest.raises(RunError, match="is being written by"), folder.writing():
            pass
    with folder.writing():
        pass


def test_changed_data_is_refused(tmp_path):
    table = tmp_path / "table.csv"
    rows = ["a,b,target"] + [f"{i % 7},{i % 5},{i % 2}" for i in range(60)]
    table.write_text("\n".join(rows))
    run = nw.train(str(table), "softmax", epochs=1, out=tmp_path / "run", quiet=True)
    table.write_text("\n".join(rows).replace("6,", "9,"))
    with pytest.raises(nw.DataError, match="changed since"):
        nw.open(run.path).evaluate()


def test_an_occupied_out_folder_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    found = command("train", "iris", "epochs=1", "--out", str(tmp_path), "--json")
    assert found.returncode == 3
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["recipe.toml", "data.json", "run.json"])
def test_an_unfinished_run_with_a_changed_record_is_refused_not_started_again(whole, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    (run / "report.json").unlink()
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    text = (run / name).read_text()
    changed = text.replace(facts["id"], facts["id"][::-1]) if name == "run.json" else text.replace("1", "2", 1)
    assert changed != text
    (run / name).write_text(changed)
    found = command("resume", str(run))
    assert found.returncode == 3
    assert f"{name} is damaged" in found.stderr
