"""The command line from outside: JSON keys, exit codes, streams, signals, a narrow terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

NETWRIGHT = [sys.executable, "-m", "netwright"]
TRAIN = {"run", "task", "network", "parameters", "epochs", "steps", "seconds", "best_epoch", "test", "validation"}
KEYS = {
    "look": {"kind", "task", "examples", "inputs", "outputs", "classes", "problems", "fingerprint"},
    "train": TRAIN | {"baseline", "findings", "notes", "wall_seconds", "examples_per_second"},
    "evaluate": {"metrics", "baseline", "confusion", "classes", "examples"},
    "compare": {"metric", "values", "difference", "low", "high", "p_value", "verdict"},
    "anatomy": {"network", "input", "outputs", "parameters", "trainable", "macs", "neurons", "connections", "layers"},
    "show": {"family", "name", "summary", "formula", "settings", "source", "facts"},
}


def netwright(*words, **options):
    return subprocess.run([*NETWRIGHT, *map(str, words)], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "run"
    found = netwright("train", "iris", "epochs=3", "--out", path, "--json")
    assert found.returncode == 0, found.stderr
    return path, found


def test_train_prints_one_object_on_stdout_and_talks_on_stderr(run):
    path, found = run
    report = json.loads(found.stdout)
    assert report.keys() >= KEYS["train"]
    assert report["run"] == str(path)
    assert {"loss", "accuracy"} <= report["test"].keys() & report["validation"].keys()
    assert set(report["baseline"]) == {"constant", "linear", "nearest"}
    assert re.match(r".*: device cpu \(.*\), threads \d+ \(.*\), float32 \(", found.stderr.split("\n")[0])
    assert "epoch 3/3" in found.stderr
    assert "\x1b" not in found.stderr + found.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["look", "digits"],
        ["evaluate", "RUN"],
        ["compare", "RUN", "RUN"],
        ["anatomy", "lenet5"],
        ["show", "loss", "mse"],
    ],
)
def test_each_verb_has_the_keys_of_its_contract(run, words):
    found = netwright(*[str(run[0]) if word == "RUN" else word for word in words], "--json")
    assert found.returncode == 0, found.stderr
    wanted = KEYS[words[0]] - ({"outputs"} if words[0] == "anatomy" else set())
    assert json.loads(found.stdout).keys() >= wanted


def test_predict_reads_rows_from_stdin_and_names_a_bad_line(run):
    found = netwright("predict", run[0], "-", "--json", input="[5.1, 3.5, 1.4, 0.2]\n[6.7, 3.0, 5.2, 2.3]\n")
    rows = json.loads(found.stdout)["predictions"]
    assert len(rows) == 2
    for row in rows:
        assert row.keys() >= {"input", "prediction", "probabilities"}
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    bad = netwright("predict", run[0], "-", "--json", input="[1, 2, 3, 4]\n[1, NaN, 3, 4]\n")
    assert bad.returncode == 3
    assert "line 2" in json.loads(bad.stdout)["error"]["message"]


def test_gates_fail_with_4_after_the_answer(run):
    found = netwright("evaluate", run[0], "--require", "accuracy>=1.1", "--json")
    assert found.returncode == 4
    assert "accuracy>=1.1" in found.stderr
    assert netwright("evaluate", run[0], "--require", "accuracy>=0").returncode == 0


def test_a_fault_asked_for_fails_with_4(tmp_path):
    words = ["train", "iris", "epochs=2", "optimizer=sgd", "optimizer.lr=1e-9", "--out", tmp_path / "run", "--json"]
    found = netwright(*words, "--fail-on", "F2")
    findings = json.loads(found.stdout.split("\n")[0])["findings"]
    assert "F2" in [finding["fault"] for finding in findings]
    assert found.returncode == 4


def test_quiet_says_nothing_and_chinese_keeps_the_keys(run, tmp_path):
    found = netwright("train", "iris", "epochs=2", "--quiet", "--json", "--lang", "zh", "--out", tmp_path / "run")
    assert found.returncode == 0
    assert found.stderr == ""
    assert json.loads(found.stdout).keys() == json.loads(run[1].stdout).keys()
    text = netwright("evaluate", run[0], "--lang=zh").stdout
    assert "个样本" in text


def test_a_closed_pipe_is_no_defect(run):
    words = " ".join([*NETWRIGHT, "list"])
    found = subprocess.run(["bash", "-c", f"{words} | head -1"], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in found.stderr
    assert "defect" not in found.stderr
    assert found.stdout == "losses\n"


def hears():
    """A child hears the signals that whoever started these tests may have told it to ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_says_how_to_go_on_and_exits_with_its_code(tmp_path, number):
    run = tmp_path / "run"
    process = subprocess.Popen(
        [*NETWRIGHT, "train", "digits", "epochs=2000", "--out", str(run)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=hears,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    talk = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert f"netwright resume {run}" in talk
    assert max(int(path.name) for path in (run / "checkpoints").iterdir()) > 0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_the_live_line_fits_a_narrow_terminal_and_leaves_it_clean(tmp_path):
    control, terminal = os.openpty()
    surroundings = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        [*NETWRIGHT, "train", "digits", "epochs=60", "--out", str(tmp_path / "run")],
        stderr=terminal, stdout=subprocess.DEVNULL, env=surroundings,
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(control, 65536):
            seen += part
    except OSError:  # the other side is closed
        pass
    assert process.wait(timeout=60) == 0
    live = [line for line in seen.decode().split("\r\x1b[K") if line.startswith("epoch") and "\n" not in line]
    assert live
    assert all(len(line) < 40 for line in live)
    assert "\x1b" not in seen.decode().rsplit("\n", 2)[-2].replace("\x1b[K", "")
