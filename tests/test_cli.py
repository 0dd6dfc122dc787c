"""The command line as a person and a script meet it: JSON keys, exit codes, streams, signals, terminals, pipes."""

import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from netwright import cli

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")


def pictures(folder, classes, count=8, size=(12, 12, 3)):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for place in range(count):
            Image.fromarray(random.integers(0, 255, size, dtype=np.uint8)).save(folder / name / f"{place}.png")
    return folder


def write_table(path, names, rows=40, **fixed):
    random = np.random.default_rng(1)
    lines = [",".join(names)]
    for row in range(rows):
        cells = {"kind": "ab"[row % 2], "colour": ("red", "blue", "green")[row % 3], **fixed}
        lines.append(",".join(str(cells.get(name, f"{random.normal():.3f}")) for name in names))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data and finished runs."""
    place = tmp_path_factory.mktemp("cli")
    pictures(place / "pets", ("cats", "dogs", "owls"))
    write_table(place / "table.csv", ("height", "width", "colour", "price", "kind"))
    write_table(place / "moved.csv", ("height", "width", "kind"))
    trainings = {
        "digits-run": "digits network=mlp epochs=2",
        "iris-run": "iris epochs=1",
        "iris-other": "iris epochs=1 seed=1",
        "diabetes-run": "diabetes epochs=1",
        "table-run": f"{place / 'table.csv'} data.target=kind epochs=1",
        "moved-run": f"{place / 'moved.csv'} data.target=kind epochs=1",
        "pets-run": f"{place / 'pets'} network=mlp epochs=1",
    }
    for name, words in trainings.items():
        assert cli._run(["train", *words.split(), "--out", str(place / name), "--quiet"]) == 0
    (place / "moved.csv").unlink()
    return place


@pytest.fixture
def typed(place, monkeypatch, capsys):
    """Type a command line in `place`; gives exit code, stdout and stderr."""
    monkeypatch.chdir(place)

    def typed(words, stdin=""):
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = cli._run(words.split() if isinstance(words, str) else words)
        return code, *capsys.readouterr()

    return typed


def process(place, words, **options):
    """The same in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en", **options.pop("env", {})}
    command = [sys.executable, "-m", "netwright", *words.split()]
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False, **options
    )


# what comes out -----------------------------------------------------------------------------------------------------

TRAINED = "run task network parameters epochs steps seconds best_epoch test validation baseline findings notes"
KEYS = {
    "look digits": "kind task examples inputs outputs classes problems fingerprint",
    "look table.csv data.target=price": "kind task examples inputs outputs classes problems fingerprint",
    "train digits network=mlp epochs=1 --out new-digits": TRAINED,
    "train diabetes epochs=1 --out new-diabetes": TRAINED,
    "resume digits-run": TRAINED,
    "evaluate digits-run": "metrics baseline confusion classes examples",
    "evaluate diabetes-run": "metrics baseline classes examples",
    "evaluate pets-run pets": "metrics baseline confusion classes examples",
    "predict pets-run pets/cats/0.png": "predictions",
    "predict table-run table.csv": "predictions",
    "compare iris-run iris-other": "metric values difference low high p_value verdict",
    "anatomy convnet --outputs 3": "network input outputs parameters trainable macs neurons connections receptive_field "
    "layers",
    "list": "parts",
    "list losses": "parts",
    "show loss cross_entropy": "family name summary formula settings source facts",
    "show recipe": "$schema properties",
    "report digits-run": "file",
}


@pytest.mark.parametrize(("words", "keys"), KEYS.items(), ids=KEYS)
def test_json_has_its_keys_and_stands_alone_on_stdout(typed, words, keys):
    code, out, err = typed(f"{words} --json")
    assert code == 0
    assert len(out.splitlines()) == 1
    found = json.loads(out, parse_constant=pytest.fail)  # NaN and infinities are no JSON
    missing = set(keys.split()) - set(found)
    assert not missing
    assert "{" not in err


def test_the_json_of_train_and_evaluate_goes_all_the_way_down(typed):
    found = json.loads(typed("resume iris-run --json")[1])
    assert {"loss", "accuracy"} <= set(found["test"]) <= {*found["test"]}
    assert "loss" in found["validation"]
    assert set(found["baseline"]) == {"constant", "linear", "nearest"}
    assert all("accuracy" in scores for scores in found["baseline"].values())
    for finding in [*found["findings"], *found["notes"]]:
        assert {"fault", "name", "where", "evidence", "harm", "remedies"} <= set(finding)
        assert all({"patch", "why"} <= set(remedy) for remedy in finding["remedies"])
    judged = json.loads(typed("evaluate iris-run --json")[1])
    assert set(judged["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert len(judged["confusion"]) == len(judged["classes"]) == 3
    assert sum(map(sum, judged["confusion"])) == judged["examples"] == 30
    looked = json.loads(typed("look iris --json")[1])
    assert set(looked["examples"]) == {"train", "validation", "test"}
    assert set(looked["classes"][0]) == {"name", "count"}
    layer = json.loads(typed("anatomy lenet5 --input 1,32,32 --json")[1])["layers"][0]
    wanted = {"name", "kind", "output", "parameters", "macs", "neurons", "connections", "receptive_field", "formula"}
    assert wanted <= set(layer)


def test_every_verb_that_takes_a_run_leaves_it_as_it_was(typed, place):
    def bytes_now():
        files = [file for file in (place / "iris-run").rglob("*") if file.is_file() and file.name != ".lock"]
        return {file: file.read_bytes() for file in files}

    before = bytes_now()
    for words in ("evaluate iris-run", "predict iris-run iris", "compare iris-run iris-other", "resume iris-run"):
        assert typed(words)[0] == 0
    assert bytes_now() == before


# exit codes ---------------------------------------------------------------------------------------------------------

GATES = [
    ("evaluate iris-run", 0),
    ("evaluate iris-run --require accuracy>=0", 0),
    ("evaluate iris-run --require accuracy>=1.01", 4),
    ("evaluate iris-run --require accuracy>=0 --require loss<=0", 4),
    ("evaluate diabetes-run --require rmse<=1e9", 0),
    ("evaluate diabetes-run --require rmse<=0", 4),
    ("evaluate iris-run --require f1>=0.5", 4),
    ("train iris epochs=1 --require accuracy>=0 --out gate-0", 0),
    ("train iris epochs=1 --require accuracy>=1.01 --out gate-1", 4),
    ("train iris epochs=1 optimizer.lr=1e-9 --fail-on F2 --out gate-2", 4),
    ("train iris epochs=1 optimizer.lr=1e-9 --fail-on E2 --out gate-3", 0),
    ("train iris epoch=1", 2),
    ("evaluate nowhere", 3),
]


@pytest.mark.parametrize(("words", "code"), GATES, ids=[words for words, _ in GATES])
def test_exit_codes_of_gates(typed, words, code):
    found, out, err = typed(words)
    assert found == code
    assert bool(out) == (code in (0, 4))  # a gate that is not met comes after the result
    assert ("error: " in err) == (code != 0)
    if "f1" in words:
        assert "not met: f1>=0.5 (it has no value here)" in err  # three classes have no single F1


def test_a_gate_with_json_gives_the_result_and_the_error(typed):
    code, out, err = typed("evaluate iris-run --require accuracy>=1.01 --json")
    first, second = out.splitlines()
    assert code == 4
    assert "metrics" in json.loads(first)
    assert json.loads(second)["error"]["code"] == 4
    assert "not met: accuracy>=1.01" in err


# words, quiet, languages --------------------------------------------------------------------------------------------


def test_stdout_holds_the_result_and_stderr_the_talk(typed):
    code, out, err = typed("train iris epochs=2 --out streams")
    assert code == 0
    assert "test (30 examples): accuracy" in out
    assert "epoch 2/2" not in out
    assert err.splitlines()[0].startswith("streams: device")
    assert "epoch 2/2" in err
    assert "accuracy 0." not in err.splitlines()[0]


def test_quiet_is_silent_on_stderr(typed):
    for words in (
        "train iris epochs=1 --out quiet --quiet",
        "resume quiet --quiet",
        "evaluate quiet --quiet",
        "predict table-run table.csv --quiet",
        "look digits --quiet",
    ):
        code, out, err = typed(words)
        assert (code, err) == (0, "")
        assert out


def shape(value):
    """The keys of a JSON value, all the way down."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value[:1]] if isinstance(value, list) else None


@pytest.mark.parametrize(
    "words",
    ["look digits", "evaluate iris-run", "resume iris-run", "compare iris-run iris-other", "anatomy convnet", "list"],
)
def test_chinese_changes_words_but_no_keys_and_no_numbers(typed, words):
    english, chinese = (typed(f"{words} --lang {language}") for language in ("en", "zh"))
    assert english[0] == chinese[0] == 0
    assert english[1] != chinese[1]
    assert re.search("[\u4e00-\u9fff]", chinese[1])
    assert not re.search("[\u4e00-\u9fff]", english[1])
    spoken = [json.loads(typed(f"{words} --json --lang {language}")[1]) for language in ("en", "zh")]
    assert shape(spoken[0]) == shape(spoken[1])
    if words.startswith("evaluate"):
        assert spoken[0] == spoken[1]


def test_a_pipe_gets_no_escape_codes(place):
    found = process(place, "train iris epochs=2 --out plain", env={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert found.returncode == 0
    assert "epoch 2/2" in found.stderr
    assert "\x1b" not in found.stdout + found.stderr
    assert "\r" not in found.stdout + found.stderr
    assert "\x1b" not in process(place, "train --help").stdout


# help, pipes --------------------------------------------------------------------------------------------------------

HELP = """
import contextlib, io, sys
from netwright import cli
verbs = ["look", "train", "resume", "evaluate", "predict", "compare", "anatomy", "list", "show", "report"]
for words in [["--help"], [], ["-h"], ["--lang", "zh", "--help"], *([verb, "--help"] for verb in verbs)]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli._run(words) == 0, words
    assert "Usage" in out.getvalue(), words
    for name in ("torch", "numpy", "pandas", "sklearn", "scipy", "PIL"):
        assert name not in sys.modules, (words, name)
"""


def test_help_of_every_verb_loads_nothing_heavy(place):
    found = subprocess.run([sys.executable, "-c", HELP], cwd=place, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("words", ["show recipe", "--help", "--json look nowhere"])
def test_a_reader_who_leaves_causes_no_traceback(place, words):
    command = [sys.executable, "-m", "netwright", *words.split()]
    child = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    err = child.stderr.read()
    assert child.wait(60) in (141, 3)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    child.stderr.close()


def test_streams_that_are_shut_or_full_or_ascii_are_no_defect(place):
    shell = f"{sys.executable} -m netwright"
    for command, code, said in (
        (f"{shell} look iris > /dev/full", 1, "No space left"),
        (f"{shell} list schedules >&-", 0, ""),
        (f"{shell} predict iris-run - <&-", 3, "stdin held no rows"),
        (f"printf '\\377\\376\\n' | LC_ALL=C.UTF-8 {shell} predict iris-run -", 3, "it is not UTF-8 text"),
        (f"PYTHONIOENCODING=ascii {shell} --lang zh look nowhere", 3, "\\u"),
    ):
        found = subprocess.run(["sh", "-c", command], cwd=place, capture_output=True, text=True, timeout=60)
        assert found.returncode == code, command
        assert said in found.stderr
        assert "Traceback" not in found.stderr
        assert "defect" not in found.stderr


def test_a_current_folder_that_is_gone_is_said(place):
    shell = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m netwright look iris"
    found = subprocess.run(["sh", "-c", shell], cwd=place, capture_output=True, text=True, timeout=60)
    assert found.returncode == 3
    assert "the current folder does not exist any more" in found.stderr


# predict ------------------------------------------------------------------------------------------------------------


def predicted(found):
    assert found[0] == 0, found
    return json.loads(found[1])["predictions"]


def test_rows_on_stdin_are_predicted_as_the_file_is(typed):
    lists = "[5.1, 3.5, 1.4, 0.2]\n\n[6.2, 2.9, 4.3, 1.3]\n"
    objects = [dict(zip(IRIS, row, strict=True)) for row in ([5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3])]
    backwards = "".join(json.dumps(dict(reversed(row.items()))) + "\n" for row in objects)
    first = predicted(typed("predict iris-run - --json", lists))
    assert [row["input"] for row in first] == ["row 1", "row 2"]
    assert predicted(typed("predict iris-run - --json", backwards)) == first
    for row in first:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    numbers = predicted(typed("predict diabetes-run - --json", "[" + ", ".join(["0.01"] * 10) + "]\n"))
    assert numbers[0]["prediction"] == numbers[0]["value"]


def test_cells_on_stdin_that_are_no_numbers_are_told(typed):
    code, out, err = typed("predict iris-run -", '[5.1, "wide", 1.4, null]\n')
    assert code == 0
    assert "row 1" in out
    assert "column sepal width (cm): 'wide' is no number" in err


def test_pictures_as_rows_on_stdin(typed):
    flat = predicted(typed("predict digits-run - --json", json.dumps([[0] * 8] * 8) + "\n"))
    deep = predicted(typed("predict digits-run - --json", json.dumps([[[0] * 8] * 8]) + "\n"))
    assert flat == deep


def test_columns_in_another_order_and_more_of_them_predict_alike(typed, place):
    names = ("height", "width", "colour", "price", "kind")
    lines = [line.split(",") for line in (place / "table.csv").read_text().splitlines()[1:9]]

    def table(name, chosen, more=()):
        rows = [[*chosen, *more]]
        rows += [[*(line[names.index(column)] for column in chosen), *("7" for _ in more)] for line in lines]
        (place / name).write_text("\n".join(map(",".join, rows)) + "\n")
        return [
            {**row, "input": ""} for row in predicted(typed(f"predict table-run {name} --json"))
        ]  # rows are numbered alike in all

    right = table("right.csv", names)
    assert len(right) == 8
    assert table("backwards.csv", names[::-1]) == right
    assert table("bare.csv", names[:-1]) == right
    assert table("more.csv", names, ("extra", "others")) == right
    code, _, err = typed("predict table-run narrow.csv") if write_table(place / "narrow.csv", names[:2], 3) else ()
    assert code == 3
    assert "lack the column 'colour'" in err


def test_a_folder_of_pictures_is_predicted_file_by_file(typed):
    one = predicted(typed("predict pets-run pets/dogs/3.png --json"))[0]
    folder = predicted(typed("predict pets-run pets --json"))
    assert len(folder) == 24
    same = next(row for row in folder if row["input"].endswith("dogs/3.png"))
    assert one["probabilities"] == pytest.approx(same["probabilities"], abs=1e-5)  # other batches, other rounding
    assert one["prediction"] == same["prediction"]
    assert set(one["probabilities"]) == {"cats", "dogs", "owls"}
    several = predicted(typed("predict pets-run pets/dogs/3.png pets/dogs pets/cats/1.png --json"))
    assert len(several) == 10
    assert several[0] == one


@pytest.mark.parametrize(
    ("size", "said"),
    [((12, 12), "grey made colour"), ((40, 30, 3), "another size"), ((12, 12, 4), "transparent"), ((12, 12, 3), "")],
)
def test_what_is_changed_about_a_picture_is_said(typed, place, size, said):
    Image.fromarray(np.full(size, 90, np.uint8)).save(place / "other.png")
    code, out, err = typed("predict pets-run other.png")
    assert code == 0
    assert out.startswith("other.png: ")
    assert (said in err) if said else err == ""


def test_a_broken_picture_in_a_folder_is_named_and_passed_over(typed, place):
    shutil.copytree(place / "pets" / "cats", place / "some", dirs_exist_ok=True)
    (place / "some" / "torn.png").write_bytes((place / "some" / "0.png").read_bytes()[:60])
    os.symlink("/etc/hostname", place / "some" / "link.png")
    found = typed("predict pets-run some --json")
    assert len(predicted(found)) == 8
    assert "some/torn.png: unreadable picture" in found[2]
    assert "link.png: a link -> not followed" in found[2]


def test_embedded_names_work_wherever_data_is_named(typed):
    assert len(predicted(typed("predict iris-run iris --json"))) == 150
    judged = json.loads(typed("evaluate iris-run iris --json")[1])
    assert judged["examples"] == 150


# evaluate, report, folders ------------------------------------------------------------------------------------------


def test_new_data_with_fewer_classes_and_other_pictures_is_evaluated(typed, place):
    pictures(place / "few", ("cats", "dogs"), 5, (20, 16))  # grey, another size, no owls
    judged = json.loads(typed("evaluate pets-run few --json")[1])
    assert judged["classes"] == ["cats", "dogs", "owls"]
    assert judged["examples"] == 10
    assert [sum(row) for row in judged["confusion"]] == [5, 5, 0]


def test_what_is_odd_about_new_data_is_said(typed, place):
    pictures(place / "torn", ("cats", "dogs"), 3)
    (place / "torn" / "cats" / "x.png").write_bytes(b"\x89PNG")
    code, out, err = typed("evaluate pets-run torn")
    assert (code, out.splitlines()[0]) == (0, "6 examples")
    assert "cats/x.png: unreadable picture" in err


def test_a_report_does_without_the_data_that_moved(typed, place):
    code, out, _ = typed("report moved-run")
    assert (code, out) == (0, "moved-run/report.html\n")
    assert "<html" in (place / "moved-run" / "report.html").read_text()
    code, _, err = typed("evaluate moved-run")
    assert code == 3
    assert "moved.csv does not exist" in err
    code, out, _ = typed("predict moved-run table.csv")
    assert (code, len(out.splitlines())) == (0, 40)


def test_verbs_work_from_another_current_folder(typed, place, monkeypatch, tmp_path):
    assert typed("train table.csv data.target=kind epochs=1 --out relative")[0] == 0  # a relative path to the data
    here = json.loads(typed("evaluate relative --json")[1])
    monkeypatch.chdir(tmp_path)
    assert typed_there(typed, f"evaluate {place}/relative --json") == {**here, "run": f"{place}/relative"}
    assert cli._run(["report", str(place / "relative")]) == 0
    assert cli._run(["train", "iris", "epochs=1", "--quiet"]) == 0
    assert [folder.name[11:] for folder in (tmp_path / "runs").iterdir()] == ["iris-mlp"]


def typed_there(typed, words):
    return json.loads(typed(words)[1])


def test_runs_of_one_day_are_numbered_and_none_is_overwritten(typed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert cli._run(["train", "iris", "epochs=1", "--quiet"]) == 0
    names = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert [name[10:] for name in names] == ["-iris-mlp", "-iris-mlp-2", "-iris-mlp-3"]


def test_a_training_tells_what_is_odd_about_its_data_first(typed, place):
    pictures(place / "odd", ("cats", "dogs"), 6)
    for number in range(8):
        (place / "odd" / "cats" / f"x{number}.png").write_bytes(b"nothing")
    code, _, err = typed("train odd network=mlp epochs=1 --out odd-run")
    told = [line for line in err.splitlines() if line.startswith("! ")]
    assert code == 0
    assert told[0].startswith("! cats/x0.png: unreadable picture: it is no picture; PNG, JPEG, BMP, WebP and GIF")
    assert told[0].endswith("-> left out")
    assert len(told) == 6
    assert told[5].endswith("more; `netwright look` shows all")


# signals and terminals ----------------------------------------------------------------------------------------------

LONG = "train digits network=mlp epochs=100000 data.batch_size=32"


def started(place, words, run):
    """A training in a process of its own, once it has written a row."""
    command = [sys.executable, "-m", "netwright", *words.split(), "--out", run]
    child = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not (place / run / "metrics.jsonl").exists():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.02)
    return child


def ended(child):
    out, err = child.communicate(timeout=30)
    assert "Traceback" not in err
    return child.returncode, out, err


def stopped(place, run, name, code, during=None):
    """Stop a training by a signal: it saves, says so, and leaves with the signal's number."""
    child = started(place, LONG, run)
    try:
        if during is not None:
            during()
    finally:
        child.send_signal(getattr(signal, name))
    found, out, err = ended(child)
    assert (found, out) == (code, "")
    assert f"saved; continue with: netwright resume {run}" in err
    steps = [int(folder.name) for folder in (place / run / "checkpoints").iterdir()]
    assert max(steps) > 0
    assert json.loads((place / run / "run.json").read_text())["state"] == "interrupted"
    assert json.loads((place / run / "checkpoints" / str(max(steps)) / "state.json").read_text())["step"] == max(steps)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_saves_and_leaves_with_its_number(place, name, code):
    stopped(place, f"stopped-{name}", name, code)


def test_a_second_writer_is_refused_and_sigterm_saves(typed, place):
    def second():
        code, _, err = typed("resume held")
        assert code == 3
        assert "is being written by" in err

    stopped(place, "held", "SIGTERM", 143, second)


def on_terminal(place, words, columns, press=None, limit_s=60.0, term="xterm"):
    """Run a command on a pseudo-terminal; `press(text so far, child)` may act. Returns the exit code and all text."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": term, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en"}
    environment.pop("COLUMNS", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "netwright", *words.split()],
        cwd=place, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    text, limit = b"", time.monotonic() + limit_s
    while time.monotonic() < limit:
        ready, _, _ = select.select([ours], [], [], 0.1)
        try:
            piece = os.read(ours, 65536) if ready else b""
        except OSError:  # the other end is shut
            break
        text += piece
        if press is not None and press(text, ours):
            press = None
    os.close(ours)
    assert child.wait(30) is not None
    return child.returncode, text.decode()


def width(text):
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in ESCAPE.sub("", text))


@pytest.mark.parametrize("columns", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_a_terminal_shows_a_live_line_that_fits_and_ends_clean(place, columns):
    code, text = on_terminal(place, f"train digits epochs=3 --out live-{columns}", columns)
    assert code == 0
    drawn = [piece.split("\r")[0].split("\n")[0] for piece in text.split("\r\x1b[K")[1:]]
    live = [piece for piece in drawn if re.match(r"epoch \d+/3 .*loss [\d.]", piece) and "train loss" not in piece]
    assert live
    assert all(width(piece) < columns for piece in live)
    assert ("━" in live[0] or "─" in live[0]) == (columns == 100)
    assert "accuracy" in text
    tail = text.rsplit("\r\x1b[K", 1)[1]
    assert tail.endswith("\r\n")
    assert f"run folder: live-{columns}" in tail  # nothing live is left behind the last erasure
    assert "\x1b[?25l" not in text or "\x1b[?25h" in text


def test_control_c_on_a_terminal_saves_and_resumes_to_the_same_bits(typed, place):
    words = "train digits network=mlp epochs=40 data.batch_size=16"

    def press(text, ours):
        if b"train loss" not in text:
            return False
        os.write(ours, b"\x03")
        return True

    code, text = on_terminal(place, f"{words} --out cut", 60, press)
    assert code == 130
    assert "Traceback" not in text
    assert text.endswith("saved; continue with: netwright resume cut\r\n")
    code, out, err = typed("resume cut --json")
    assert code == 0
    assert "from step" in err
    assert "not bit-exact" not in err
    assert json.loads(out)["epochs"] == 40
    assert typed(f"{words} --out whole --quiet")[0] == 0
    whole, cut = ((place / name / "best.safetensors").read_bytes() for name in ("whole", "cut"))
    start = [8 + int.from_bytes(data[:8], "little") for data in (whole, cut)]  # behind the headers, which name the runs
    assert whole[start[0] :] == cut[start[1] :]
    code, _, err = typed("resume cut")
    assert code == 0
    assert "cut is finished; nothing to do" in err


@pytest.mark.slow
def test_a_dumb_terminal_gets_plain_lines(place):
    code, text = on_terminal(place, "train iris epochs=2 --out dumb", 80, term="dumb")
    assert code == 0
    assert "\x1b" not in text
    assert "epoch 2/2" in text
