"""The run folder: names, strict JSON, torn lines, sealed bests, the lock, and full disks."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright import rundir
from netwright.errors import RunError
from netwright.rundir import RunFolder, finite, open_sealed, replace_bytes, sealed_json, to_json

TODAY = date.today().isoformat()


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    (tmp_path / "recipe.toml").write_text("seed = 0\n")
    (tmp_path / "data.json").write_text("{}")
    return RunFolder.open(tmp_path)


# names --------------------------------------------------------------------------------------------------------


def test_names_are_dated_sortable_and_counted_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create(None, "Digits", "resnet18").path for _ in range(3)]
    assert [path.as_posix() for path in made] == [
        f"runs/{TODAY}-digits-resnet18{last}" for last in ("", "-2", "-3")
    ]  # fmt: skip
    assert all(path.is_dir() for path in made)
    made[1].rmdir()
    assert RunFolder.create(None, "digits", "resnet18").path == made[1]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("数据 集", "数据-集"), ("Größe/Höhe", "größe-höhe"), ("a:b\\c*d?e", "a-b-c-d-e"), ("..", "data"), ("", "data"),
        ("///", "data"), ("x" * 300, "x" * 40), ("-rf", "rf"), ("a\nb\x00c", "a-b-c"), ("__init__", "init"),
    ],
)  # fmt: skip
def test_names_of_any_language_make_safe_folders(tmp_path, monkeypatch, data, name):
    monkeypatch.chdir(tmp_path)
    path = RunFolder.create(None, data, "mlp").path
    assert path.name == f"{TODAY}-{name}-mlp"
    assert path.parent == Path("runs")


@given(st.text(max_size=60))
def test_a_slug_is_one_plain_name(text):
    slug = rundir._slug(text)
    assert 0 < len(slug) <= 40
    assert not set(slug) & set('/\\:*?"<>|\n\x00. ')
    assert not slug.startswith(("-", "_"))


def test_many_makers_at_once_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made: list[Path] = []
    makers = [threading.Thread(target=lambda: made.append(RunFolder.create(None, "d", "n").path)) for _ in range(12)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(set(made)) == 12


def test_out_is_taken_as_it_is_and_refused_when_occupied(tmp_path):
    path = RunFolder.create(tmp_path / "deep" / "er run", "d", "n").path
    assert path == tmp_path / "deep" / "er run"
    assert RunFolder.create(path, "d", "n").path == path  # empty: still free
    (path / ".hidden").touch()
    with pytest.raises(RunError, match="already holds something") as caught:
        RunFolder.create(path, "d", "n")
    assert caught.value.code == 3
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(path / ".hidden", "d", "n")
    with pytest.raises(RunError, match="cannot be made"):
        RunFolder.create(path / ".hidden" / "below", "d", "n")


def test_what_is_no_run_folder_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "run-one").mkdir()
    with pytest.raises(RunError, match=r"there is no run folder .*run-oen\. Did you mean '.*run-one'\?"):
        RunFolder.open(tmp_path / "run-oen")
    with pytest.raises(RunError, match=r"is no run folder: recipe\.toml is missing"):
        RunFolder.open(tmp_path / "run-one")
    with pytest.raises(RunError, match="there is no run folder"):
        RunFolder.open(tmp_path / "not" / "even" / "near")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file; a run folder is"):
        RunFolder.open(tmp_path / "file")


# records ------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@given(JSON)
def test_json_is_strict_and_keeps_every_finite_number(value):
    text = to_json(value)
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == finite(value)
    if isinstance(value, float) and math.isfinite(value):
        assert json.loads(text).hex() == value.hex()


def test_non_finite_numbers_become_null_all_the_way_down():
    assert to_json({"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], 3: {"c": 1e308 * 10}}) == (
        '{"a": null, "b": [null, [null, 1.5]], "3": {"c": null}}'
    )


def test_records_are_written_and_read(folder):
    folder.write("findings.json", {"größe": 1.5, "nan": math.nan})
    assert folder.read("findings.json") == {"größe": 1.5, "nan": None}
    assert "größe" in (folder.path / "findings.json").read_text(encoding="utf-8")
    assert [p.name for p in folder.path.iterdir() if p.name.startswith(".")] == []  # no draft stays
    with pytest.raises(RunError, match=r"other\.json cannot be read"):
        folder.read("other.json")
    for wrong in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        (folder.path / "findings.json").write_bytes(wrong)
        with pytest.raises(RunError, match=r"findings\.json is damaged"):
            folder.read("findings.json")


def test_a_record_is_replaced_whole_or_not_at_all(folder, monkeypatch):
    folder.write("findings.json", {"old": 1})

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for write in (
            lambda: folder.write("findings.json", {"new": 2}),
            lambda: folder.seal_best(b"weights", {}),
            lambda: folder.cut(1),
        ):
            with pytest.raises(RunError, match=r"cannot be written: No space left on device") as caught:
                write()
            assert caught.value.code == 3
    assert folder.read("findings.json") == {"old": 1}


def test_replacing_survives_a_reader_and_a_left_over_draft(tmp_path):
    path = tmp_path / "x.json"
    (tmp_path / ".x.json.new").write_text("left by a kill")
    path.write_text("old")
    with open(path) as reader:
        replace_bytes(path, b"new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


# metrics.jsonl ------------------------------------------------------------------------------------------------


def test_rows_are_appended_and_a_torn_last_line_is_left_out(folder):
    assert folder.rows() == []
    for step in range(4):
        folder.append({"step": step, "loss": math.nan if step == 2 else step / 3})
    expected = [{"step": step, "loss": None if step == 2 else step / 3} for step in range(4)]
    assert folder.rows() == expected
    whole = (folder.path / "metrics.jsonl").read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        (folder.path / "metrics.jsonl").write_bytes(whole[:end])
        assert folder.rows() in (expected[:3], expected)  # without its line break the last row may be whole
        folder.cut(2)
        assert folder.rows() == expected[:3]
        assert (folder.path / "metrics.jsonl").read_bytes() == whole[:last]


def test_cut_keeps_the_rows_up_to_a_step_and_drops_what_is_no_row(folder):
    lines = ['{"step": 1}', "[1]", '{"step": "2"}', '{"no": 1}', '{"step": 2, "x": 0.1}', '{"step": 3}', "junk", ""]
    (folder.path / "metrics.jsonl").write_text("\n".join(lines))
    folder.cut(2)
    assert folder.rows() == [{"step": 1}, {"step": 2, "x": 0.1}]
    folder.cut(0)
    assert (folder.path / "metrics.jsonl").read_bytes() == b""
    folder.append({"step": 1})
    assert folder.rows() == [{"step": 1}]


def test_a_reader_never_sees_half_a_row_while_another_writes(folder):
    stop = threading.Event()

    def write():
        step = 0
        while not stop.is_set():
            folder.append({"step": step, "text": "x" * 500})
            step += 1

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    try:
        for _ in range(60):
            rows = folder.rows()
            assert [row["step"] for row in rows] == list(range(len(rows)))
            assert len(rows) >= seen
            seen = len(rows)
    finally:
        stop.set()
        writer.join()
    assert folder.rows()


# sealed files -------------------------------------------------------------------------------------------------


def test_a_seal_opens_to_what_was_closed_and_to_nothing_else():
    content = {"a": [1, 2.5, "ü"], "nested": {"b": None}}
    sealed = sealed_json(content)
    assert open_sealed(sealed) == content
    for wrong in (b"", b"[]", b"{}", b"null", sealed[:-1], sealed + b"\n", sealed.replace(b"2.5", b"2.6"),
                  sealed.replace(b"\\u", b""), json.dumps(json.loads(sealed)).encode(), b"[" * 100_000):  # fmt: skip
        assert open_sealed(wrong) is None or wrong == sealed
    escaped = b'{\n "a": "\\ud800",\n "digest": "0"\n}'
    assert open_sealed(escaped) is None


def test_the_best_is_verified_against_its_seal(folder):
    folder.seal_best(b"weights", {"epoch": 3, "value": math.nan})
    assert folder.verified() == {"best.safetensors": b"weights", "data.json": b"{}", "recipe.toml": b"seed = 0\n"}
    assert open_sealed(folder.read_bytes("best.json"))["epoch"] == 3
    for name in rundir.SEALED:
        whole = folder.read_bytes(name)
        for wrong in (whole[:-1], whole + b" ", bytes([whole[0] ^ 1]) + whole[1:]):
            (folder.path / name).write_bytes(wrong)
            with pytest.raises(RunError, match="is damaged"):
                folder.verified()
        (folder.path / name).unlink()
        with pytest.raises(RunError, match="cannot be read"):
            folder.verified()
        (folder.path / name).write_bytes(whole)
    (folder.path / "best.json").write_bytes(sealed_json({"sha256": "x"}))
    with pytest.raises(RunError, match=r"best\.json is damaged"):
        folder.verified()


# lock ---------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from netwright.rundir import RunFolder
with RunFolder(sys.argv[1]).writing():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_and_told_who_writes(folder):
    other, who = RunFolder(folder.path), f"is being written by .*process {os.getpid()}"
    with folder.writing(), pytest.raises(RunError, match=who), other.writing():
        pytest.fail("two writers")
    with folder.writing():  # free again
        assert (folder.path / ".lock").read_text().endswith(str(os.getpid()))


def test_an_error_inside_frees_the_lock(folder):
    with pytest.raises(KeyError), folder.writing():
        raise KeyError
    with folder.writing():
        assert folder.rows() == []


def test_the_lock_dies_with_a_killed_holder(folder):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid}"), folder.writing():
            pytest.fail("two writers")
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    with folder.writing():
        assert (folder.path / ".lock").read_text().endswith(f"process {os.getpid()}")


def test_a_folder_that_went_away_is_said_in_one_line(tmp_path):
    with pytest.raises(RunError, match=r"\.lock cannot be written"), RunFolder(tmp_path / "gone").writing():
        pytest.fail("no folder")
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
        RunFolder(tmp_path / "gone").append({"step": 1})
