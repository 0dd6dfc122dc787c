"""R2 on whole trainings: killed inside a save, by ourselves or by the kernel, a run resumes to the same bits."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from fallible_disk import Failing, Quick, Recorder, in_a_child, on
from safetensors.torch import load as read_safetensors

import netwright as nw

TIMES = ("seconds", "examples_per_second")
SETTINGS = {"epochs": 3, "save_steps": 1, "log_steps": 1, "quiet": True}
STRACE = shutil.which("strace")
SCRIPT = """
import sys, netwright as nw
nw.train(nw.read("iris"), "softmax", out=sys.argv[1], epochs=3, save_steps=1, log_steps=1, quiet=True)
"""
CALLS = ("fsync", "rename")
"""What `strace` counts; torch and Python make none of their own while they start."""


def record(run):
    """All that must repeat to the bit."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = [run / "best.safetensors", run / "predictions.safetensors"]
    files += [last / "weights.safetensors", last / "state.safetensors"]
    tensors = {path.name: read_safetensors(path.read_bytes()) for path in files}
    plain = {f"{file}.{name}": one.numpy().tobytes() for file, found in tensors.items() for name, one in found.items()}
    return rows, last.name, plain, json.loads((run / "report.json").read_text())["test"]


def train(path):
    return nw.train(nw.read("iris"), "softmax", out=path, **SETTINGS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody killed, and how many durable calls it made."""
    with on(Recorder()) as disk:
        run = train(tmp_path_factory.mktemp("whole") / "run")
    return record(run.path), len(disk.calls)


def killed_and_resumed(path, point):
    def work():
        with on(Failing(point, "kill")):
            train(path)

    code = in_a_child(work)
    if (path / "recipe.toml").exists():
        with on(Quick()):
            nw.resume(path, quiet=True)
    return code


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("share", [0.3, 0.45, 0.6, 0.75])
def test_a_training_killed_at_a_durable_call_resumes_to_the_same_bits(whole, tmp_path, share):
    point = int(share * whole[1])
    assert killed_and_resumed(tmp_path / "run", point) == 9
    assert record(tmp_path / "run") == whole[0], f"call {point} of {whole[1]}"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_killed_at_every_durable_call_resumes_to_the_same_bits(whole, tmp_path):
    assert whole[1] > 250
    for point in range(1, whole[1] + 1):
        path = tmp_path / str(point)
        assert killed_and_resumed(path, point) == 9
        if (path / "recipe.toml").exists():
            assert record(path) == whole[0], f"call {point} of {whole[1]}"


def traced(path, call, number):
    """A training in a process of its own, killed by the kernel at the `number`th call of that name."""
    kinds = "rename,renameat,renameat2" if call == "rename" else call
    words = [STRACE, "-f", "-qq", "-o", os.devnull, "-e", f"trace={kinds}", "-e",
             f"inject={kinds}:signal=KILL:when={number}", sys.executable, "-c", SCRIPT, str(path)]  # fmt: skip
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment).returncode


def kernel_kills(whole, tmp_path, numbers):
    for call, number in numbers:
        path = tmp_path / f"{call}-{number}"
        assert traced(path, call, number) != 0, f"{call} {number} was never reached"
        with on(Quick()):
            nw.resume(path, quiet=True)
        assert record(path) == whole[0], f"killed at {call} {number}"


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="strace is not installed: apt-get install strace")
def test_ten_kernel_kills_at_fsyncs_and_renames_resume_to_the_same_bits(whole, tmp_path):
    numbers = [("fsync", number) for number in (14, 18, 21, 24, 29, 33)] + [
        ("rename", number) for number in (6, 7, 9, 11)
    ]
    kernel_kills(whole, tmp_path, numbers)
