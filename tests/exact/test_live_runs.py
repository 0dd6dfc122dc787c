"""Signals at any moment: saved and gone in time, with the right code, nothing left, nothing lost (R8).

Two processes on one run folder: exactly one writes, the other says so; readers are never in the way (R9).
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from exactness import netwright

from netwright.training.signals import watching

TRIALS = Path(__file__).parents[1] / "support" / "trials.py"
SLOWEST_S = 5.0
SECOND_S = 1.0


def trials(folder, *words):
    found = subprocess.run(
        [sys.executable, str(TRIALS), *words], capture_output=True, text=True, timeout=3000, cwd=folder, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout)


def judge_signals(found, count):
    assert len(found) == count
    for one in found:
        assert one["code"] == 128 + one["signal"], one
        assert one["seconds"] < (SECOND_S if one["twice"] else SLOWEST_S), one
        assert not one["left"], one  # no process of its group
        assert one["memory"] == [], one
        assert one["different"] == "", one  # resumed, it ends with the bits of a run that heard no signal
        if one["moment"] in ("step", "evaluation") and not one["twice"]:
            assert one["state"] == "interrupted", one
            assert "continue with: netwright resume" in one["said"], one
        assert "Traceback" not in one["said"], one
        assert "defect" not in one["said"], one
    assert {one["moment"] for one in found} == {"reading", "start", "step", "save", "evaluation", "end"}
    assert sum(one["twice"] for one in found) >= count // 4


def judge_writers(found, count):
    assert len(found) == count
    for one in found:
        assert sorted(one["codes"]) == [0, 3], one
        loser = one["said"][one["codes"].index(3)]
        assert "is being written by" in loser, one
        assert 1 <= len(loser.splitlines()) <= 3, one
        assert one["holder"], one  # the killed process had held the lock, which was free at once
        assert one["different"] == "", one
        assert one["reader"] == "", one


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return trials(tmp_path_factory.mktemp("trials"), "--signals", "12", "--writers", "10")


def test_signals_at_every_moment(told):
    judge_signals(told["signals"], 12)


def test_of_two_writers_exactly_one_writes(told):
    judge_writers(told["writers"], 10)


@pytest.mark.slow
def test_ninety_signals_and_fifty_pairs(tmp_path):
    told = trials(tmp_path, "--signals", "90", "--writers", "50", "--seed", "1")
    judge_signals(told["signals"], 90)
    judge_writers(told["writers"], 50)


def test_an_ignored_signal_stays_ignored():
    """As under `nohup`: closing the terminal does not end the training."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watching() as watch:
            os.kill(os.getpid(), signal.SIGHUP)
            assert watch.number == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert watch.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", ["recipe.toml", "metrics.jsonl"])
def test_a_process_of_its_own_answers_alike(tmp_path, number, after):
    run = tmp_path / "run"
    process = netwright("train", "digits", "network=mlp", "epochs=400", "--out", run, cwd=tmp_path)
    while not (run / after).exists() and process.poll() is None:
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in out + err
