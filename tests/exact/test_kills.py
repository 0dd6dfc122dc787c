"""Killed at any moment and resumed, a run ends with the same bits (R1), also killed again and again (R3)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "support" / "kills.py"


def kills(folder, *words):
    """What the server of kills says of each plan: it forks a child for each training."""
    found = subprocess.run(
        [sys.executable, str(KILLS), *words], capture_output=True, text=True, timeout=3000, cwd=folder, check=False
    )
    told = [json.loads(line) for line in found.stdout.splitlines()]
    assert told, found.stderr[-3000:]
    assert [one["failures"] for one in told] == [[]] * len(told), found.stderr[-3000:]
    assert found.returncode == 0, found.stderr[-3000:]
    return told


def test_random_kills_change_no_bit_and_each_example_comes_once_an_epoch(tmp_path):
    """Forty runs killed once, one killed again and again, one that changes its worker count at each resume."""
    again = ["--then", "--count", "1", "--repeated", "6", "--works", "cnn"]
    workers = ["--then", "--count", "1", "--repeated", "4", "--works", "pictures", "--workers", "0,1,2,4"]
    once, repeated, working = kills(tmp_path, "--count", "40", *again, *workers)
    assert once["kills"] == once["runs"] == 40
    assert once["kinds"]["save"] >= 15
    assert once["kinds"]["evaluation"] > 0
    assert once["kinds"]["start"] > 0
    assert repeated["kills"] >= 4
    assert working["kills"] >= 2


@pytest.mark.slow
def test_two_hundred_random_kills_change_no_bit(tmp_path):
    assert kills(tmp_path, "--count", "200", "--seed", "1")[0]["kills"] == 200


@pytest.mark.slow
@pytest.mark.parametrize("work", ["mlp", "cnn", "lstm"])
def test_eight_kills_on_each_run(tmp_path, work):
    found = kills(tmp_path, "--count", "3", "--repeated", "8", "--works", work, "--seed", "2")
    assert found[0]["kills"] >= 15


@pytest.mark.slow
def test_eight_kills_on_each_run_with_other_workers_each_time(tmp_path):
    words = ["--works", "pictures", "--workers", "0,1,2,4", "--seed", "3"]
    assert kills(tmp_path, "--count", "3", "--repeated", "8", *words)[0]["kills"] >= 15


def test_the_server_sees_a_run_that_differs(tmp_path, monkeypatch):
    """The harness itself: a resume that draws one row twice, or another order, is found."""
    from exactness import first_difference, golden
    from kills import epochs_differ

    found = {"weights: a": "float32 [1] 00", "row 1": '{"loss": 1.0}'}
    other = {**found, "row 1": '{"loss": 1.0000000000000002}'}
    assert golden(found) == golden(dict(reversed(found.items())))
    assert golden(found) != golden(other)
    assert first_difference(found, found) == ""
    assert first_difference(other, found).startswith("row 1: ")
    assert "extra: 1 instead of None" in first_difference({**found, "extra": "1"}, found)
    whole = tmp_path / "whole"
    whole.write_text("[1, 0, [5, 6]]\n[2, 0, [7]]\n")
    cases = {
        '[1, 0, [5, 6]]\n[2, 0, [7]]\n[2, 0, [7]]\n': "",  # done again after a kill: the last attempt counts
        '[1, 0, [5, 6]]\n[2, 0, [6]]\n': "an example came twice in one epoch",
        '[1, 0, [6, 5]]\n[2, 0, [7]]\n': "the examples of a step differ",
        '[1, 0, [5, 6]]\n[2, 1, [7]]\n': "epochs of unequal length: {0: 2, 1: 1}",
    }  # fmt: skip
    for text, expected in cases.items():
        (tmp_path / "ids").write_text(text)
        assert epochs_differ(tmp_path / "ids", whole) == expected
