"""Ranks that torchrun starts: killed, stopped, signalled ones end all of them in time, and nothing is lost (R11)."""

import json
import os
import signal
import time
from contextlib import contextmanager

import pytest
from ranking import Torchrun
from safetensors.numpy import load_file

LONG = "digits network=mlp network.hidden=[32] epochs=400 data.batch_size=16 log_steps=1 save_steps=20 save_seconds=0"


@contextmanager
def torchrun(ranks, words, folder, **environment):
    run = Torchrun(ranks, words, folder, **environment)
    try:
        yield run
    finally:
        run.close()


def said(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


def gone(processes):
    """Whether no process of these is left, but for those that wait to be buried."""
    for process in processes:
        try:
            with open(f"/proc/{process}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] not in "ZX":
                    return False
        except OSError:
            continue
    return True


def test_two_ranks_of_torchrun_train_as_one_process(tmp_path, forks):
    words = ["train", "digits", "network=mlp", "network.hidden=[8]", "data.limit=60", "epochs=1"]
    with torchrun(2, [*words, "--out", "two", "--json"], tmp_path) as run:
        code, out, error = run.end()
    assert code == 0, error
    assert json.loads(out)["run"] == "two"
    assert said(error) == []
    one = forks(1, [*words, "--out", "one"], tmp_path)
    assert one["codes"] == [0]
    for key, tensor in load_file(tmp_path / "one" / "best.safetensors").items():
        assert load_file(tmp_path / "two" / "best.safetensors")[key] == pytest.approx(tensor, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_a_mistake_is_said_once_and_ends_all(tmp_path):
    with torchrun(2, ["train", "digits", "network=mlpp"], tmp_path) as run:
        code, out, error = run.end()
    assert code == 1  # torchrun's own; its table shows ours
    assert len(said(error)) == 1
    assert "exitcode  : 2" in error
    assert out == ""


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_takes_all_with_it_within_10_s(victim, tmp_path):
    with torchrun(2, ["train", *LONG.split(), "--out", "run"], tmp_path) as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 50)
        processes = run.ranks()
        os.kill(processes[victim], signal.SIGKILL)
        began = time.monotonic()
        code, _, error = run.end(60)
        took = time.monotonic() - began
    assert took <= 10, error
    assert gone(processes)
    assert code == 1
    assert len(said(error)) == 1, error
    assert f"rank {victim} has gone" in said(error)[0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_stopped_rank_is_found(victim, tmp_path):
    with torchrun(2, ["train", *LONG.split(), "--out", "run"], tmp_path, NETWRIGHT_RANK_TIMEOUT="10") as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 50)
        processes = run.ranks()
        os.kill(processes[victim], signal.SIGSTOP)
        began = time.monotonic()
        code, _, error = run.end(90)
        took = time.monotonic() - began
    assert 8 <= took <= 20, error
    assert gone(processes)
    assert code == 1
    assert len(said(error)) == 1, error
    assert f"rank {victim} has not answered for 10 s" in said(error)[0]
    assert "netwright resume run" in error


@pytest.mark.slow
def test_a_rank_that_pauses_is_waited_for(tmp_path):
    words = ["train", *LONG.replace("epochs=400", "epochs=3").split(), "--out", "run"]
    with torchrun(2, words, tmp_path, NETWRIGHT_RANK_TIMEOUT="30") as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 50)
        process = run.ranks()[1]
        os.kill(process, signal.SIGSTOP)
        time.sleep(6)
        os.kill(process, signal.SIGCONT)
        code, _, error = run.end()
    assert code == 0, error


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torchrun", "rank 0", "rank 1"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_all_at_one_step(to, number, tmp_path):
    with torchrun(2, ["train", *LONG.split(), "--out", "run"], tmp_path) as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 50)
        processes = run.ranks()
        os.kill(run.process.pid if to == "torchrun" else processes[int(to[-1])], number)
        began = time.monotonic()
        code, _, error = run.end(60)
        took = time.monotonic() - began
    assert took <= 30, error  # torchrun ends whoever is left then
    assert gone(processes)
    assert code != 0
    assert said(error) == []
    assert "saved; continue with" in error
    if to != "torchrun":
        assert f"exitcode  : {128 + number}" in error
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(map(int, os.listdir(tmp_path / "run" / "checkpoints"))) == rows[-1]["step"]


@pytest.mark.slow
def test_a_killed_launcher_leaves_nobody_behind(tmp_path):
    with torchrun(2, ["train", *LONG.split(), "--out", "run"], tmp_path) as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 50)
        processes = run.ranks()
        os.kill(run.process.pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while not gone(processes) and time.monotonic() < until:
            time.sleep(0.1)
        assert gone(processes)


@pytest.mark.slow
def test_killed_three_times_and_started_again_gives_the_same_bits(tmp_path):
    words = ["train", *LONG.replace("epochs=400", "epochs=6").split()]
    with torchrun(2, [*words, "--out", "whole"], tmp_path) as run:
        assert run.end()[0] == 0
    with torchrun(2, [*words, "--out", "run"], tmp_path) as run:
        run.wait_for(tmp_path / "run" / "metrics.jsonl", 70)
        os.kill(run.ranks()[1], signal.SIGKILL)
        assert run.end(60)[0] == 1
    for rows, victim in ((170, 0), (300, 1)):
        with torchrun(2, ["resume", "run"], tmp_path) as run:
            run.wait_for(tmp_path / "run" / "metrics.jsonl", rows)
            os.kill(run.ranks()[victim], signal.SIGKILL)
            assert run.end(60)[0] == 1
    with torchrun(2, ["resume", "run"], tmp_path) as run:
        code, _, error = run.end()
    assert code == 0, error
    assert "not bit-exact" not in error
    for key, tensor in load_file(tmp_path / "whole" / "best.safetensors").items():
        assert load_file(tmp_path / "run" / "best.safetensors")[key].tobytes() == tensor.tobytes(), key
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")


def untimed(run):
    times = {"seconds", "examples_per_second"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in times} for row in rows]
