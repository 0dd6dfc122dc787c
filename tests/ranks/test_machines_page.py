"""The page about many machines does what it says, on one machine and on two that are made of network namespaces."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

PAGE = Path(__file__).parents[2] / "docs" / "machines.md"


def blocks(info):
    """The contents of the page's code blocks of one kind, in order."""
    return re.findall(rf"^```{info}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def said(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


@pytest.mark.slow
def test_the_commands_for_one_machine_run(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "set -e\n" + "".join(blocks("sh") + blocks("sh ranks"))
    found = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "runs/two is finished; nothing to do" in found.stderr
    assert "runs/one" in found.stdout


@pytest.mark.slow
def test_the_commands_for_two_machines_run(machines, forks, tmp_path):
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
        (folder / "recipe.toml").write_text(blocks("toml")[0])
    lines = list(zip(blocks("sh machine 1"), blocks("sh machine 2"), strict=True))
    assert [["train" in line for line in pair] for pair in lines] == [[True, True], [False, False]]
    for pair in lines:
        started = [machines.start(number, line, folders[number]) for number, line in enumerate(pair)]
        ended = [(*process.communicate(timeout=180), process.returncode) for process in started]
        assert [code for _, _, code in ended] == [0, 0], ended
        assert ended[1][0] == ""
        assert "run folder: runs/machines" in ended[0][0]
    assert "nothing to do" in ended[0][1]
    assert not (folders[1] / "runs").exists()
    run = folders[0] / "runs" / "machines"
    assert json.loads((run / "run.json").read_text())["environment"]["ranks"] == 2
    one = forks(1, ["train", "1/recipe.toml", "--out", "one"], tmp_path)
    assert one["codes"] == [0]
    for key, tensor in load_file(tmp_path / "one" / "best.safetensors").items():
        assert load_file(run / "best.safetensors")[key] == pytest.approx(tensor, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_a_pulled_cable_is_found_on_both_machines_and_nothing_is_lost(machines, tmp_path):
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
        (folder / "recipe.toml").write_text(blocks("toml")[0] + "save_steps = 20\nlog_steps = 1\n")
    train, go_on = zip(blocks("sh machine 1"), blocks("sh machine 2"), strict=True)
    train = [line.replace("recipe.toml", "recipe.toml epochs=300 data.batch_size=16") for line in train]
    limit = {"NETWRIGHT_RANK_TIMEOUT": "6"}
    started = [machines.start(number, line, folders[number], **limit) for number, line in enumerate(train)]
    rows = folders[0] / "runs" / "machines" / "metrics.jsonl"
    _wait(rows, 60, started)
    machines.pull()
    began = time.monotonic()
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert time.monotonic() - began < 30
    assert [code for _, _, code in ended] == [1, 1]
    assert "has not answered for" in said(ended[0][1])[0]
    assert "has not answered for" in said(ended[1][1])[0]
    assert [len(said(error)) for _, error, _ in ended] == [1, 1]
    machines.plug()
    before = rows.read_bytes().count(b"\n")
    started = [machines.start(number, line, folders[number], **limit) for number, line in enumerate(go_on)]
    _wait(rows, before + 40, started)


def _wait(path, rows, started):
    until = time.monotonic() + 120
    while not path.is_file() or path.read_bytes().count(b"\n") < rows:
        assert time.monotonic() < until, f"{path} has too few lines"
        assert all(process.poll() is None for process in started), [process.communicate() for process in started]
        time.sleep(0.05)
