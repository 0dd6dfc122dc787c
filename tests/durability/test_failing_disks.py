"""R5: whatever the disk answers, at whichever call: the older generation stays, nothing is called saved that is not."""

import errno
import os
import threading

import pytest
from fallible_disk import WRITING, Failing, Quick, Recorder, on
from small_saves import begin, check, load, save, saver

from netwright.errors import RunError

REASONS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE")
KINDS = {"periodic": (2, False, ""), "new best": (3, True, ""), "final": (4, True, "epochs")}


def prepared(path, kind):
    """A run with everything saved up to the save of this kind, and its saver."""
    folder = begin(path)
    found = saver(folder)
    for step in range(1, KINDS[kind][0]):
        assert save(folder, found, step) is None
    return folder, found


def writing_calls(path, kind):
    folder, found = prepared(path, kind)
    step, best, stopped = KINDS[kind]
    with on(Recorder()) as disk:
        assert save(folder, found, step, best=best, stopped=stopped) is None
    found.close()
    settled = max(place for place, call in enumerate(disk.calls) if call.name == "fsync")
    points = [place + 1 for place, call in enumerate(disk.calls) if call.name in WRITING and place <= settled]
    return [point for point in points if point > 3]  # the first three append the row, which is not of the save


def cases(path):
    """Every call that writes, in each kind of save, with three errors each (six in turn)."""
    found = []
    for kind in KINDS:
        for turn, point in enumerate(writing_calls(path / kind, kind)):
            found += [(kind, point, REASONS[(turn + shift) % len(REASONS)]) for shift in (0, 2, 4)]
    return found


@pytest.fixture(autouse=True)
def quick():
    with on(Quick()):
        yield


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_every_error_at_every_writing_call_of_a_save_is_said_and_harms_nothing(tmp_path, lasting):
    found = cases(tmp_path / "counted")
    assert len(found) >= 370
    for number, (kind, point, reason) in enumerate(found):
        if lasting and number % 3:
            continue  # the same points, one error each
        try:
            fails_and_recovers(tmp_path / str(number), kind, point, reason, lasting)
        except AssertionError as error:
            raise AssertionError(f"{kind} save, call {point}, {reason}, lasting={lasting}: {error}") from error


def fails_and_recovers(path, kind, point, reason, lasting):
    step, best, stopped = KINDS[kind]
    news = {1, 3} | ({step} if best else set())
    folder, found = prepared(path, kind)
    with on(Failing(point, getattr(errno, reason), lasting)) as disk:
        failure = save(folder, found, step, best=best, stopped=stopped)
        assert disk.calls[point - 1].name in WRITING
    assert failure is not None, "called saved, and is not"
    assert found.saved == step - 1
    assert os.strerror(getattr(errno, reason)) in str(failure.error)
    name = disk.calls[point - 1].path.name
    wanted = {name, name.strip(".").removesuffix(".new"), *(one.name for one in (disk.calls[point - 1].other,) if one)}
    wanted |= {"checkpoints", "best.json", "best.safetensors"} if "." not in name.strip(".") else set()
    assert any(one in str(failure.error) for one in wanted), f"{failure.error} names none of {wanted}"
    assert failure.error.code == 3
    assert len(str(failure.error).splitlines()) == 1
    check(path, [step - 1, step], new_best=news)  # the older one, or the new one whole where only its fsync failed
    folder.cut(step)
    assert save(folder, found, step + 1, best=True) is None  # there is room again
    found.close()
    assert check(path, [step + 1], new_best={*news, step + 1}) == step + 1
    left = [entry.name for entry in (path / "checkpoints").iterdir() if entry.name.startswith(".")]
    assert not left, left


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_write_anywhere_is_written_on(tmp_path, kind):
    points = writing_calls(tmp_path / "counted", kind)
    step, best, stopped = KINDS[kind]
    for point in points:
        folder, found = prepared(tmp_path / str(point), kind)
        with on(Failing(point, "short")):
            assert save(folder, found, step, best=best, stopped=stopped) is None
        found.close()
        check(tmp_path / str(point), [step], new_best={1, 3, *([step] if best else [])})


def test_rows_that_the_disk_refuses_wait_and_come_with_the_next(tmp_path):
    folder = begin(tmp_path)
    folder.append({"step": 1})
    for point, reason in ((1, errno.ENOSPC), (2, errno.EIO)):
        with (
            on(Failing(point, reason, lasting=True)),
            pytest.raises(Exception, match=r"metrics\.jsonl cannot be written"),
        ):
            folder.append({"step": point + 1})
    with on(Failing(2, "short")):
        folder.append({"step": 4})
    assert [row["step"] for row in folder.rows()] == [1, 2, 3, 4]
    assert folder.rows_bytes() == (tmp_path / "metrics.jsonl").stat().st_size


def test_a_half_written_row_is_completed_not_repeated(tmp_path):
    """The disk takes half of a row and then nothing: the other half goes first when there is room."""

    class Full(Failing):
        def write(self, handle, data):
            self.taken = getattr(self, "taken", 0) + 1
            if self.taken > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(handle, data[:5])

    folder = begin(tmp_path)
    with on(Full(10**9, "short")), pytest.raises(RunError, match="No space left"):
        folder.append({"step": 1, "text": "whole"})
    assert folder.rows() == []
    folder.append({"step": 2})
    assert folder.rows() == [{"step": 1, "text": "whole"}, {"step": 2}]


def test_a_folder_that_cannot_be_synced_is_no_error_on_file_systems_without_it(tmp_path):
    class NoFolderSync(Recorder):
        def fsync(self, handle):
            if self.paths[handle].is_dir():
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            super().fsync(handle)

    folder = begin(tmp_path)
    found = saver(folder)
    with on(NoFolderSync()):
        assert save(folder, found, 1) is None
    found.close()
    assert load(tmp_path).step == 1


def test_durable_calls_of_a_save_never_run_on_the_training_thread(tmp_path):
    """R7 without a clock: after the row, the thread that trains touches the disk no more; a save's cost is counted."""

    folder = begin(tmp_path)
    found = saver(folder)
    assert save(folder, found, 1) is None
    for step, fsyncs in ((2, 7), (3, 11)):
        with on(Recorder()) as disk:
            assert save(folder, found, step) is None
        own = [call for call in disk.calls if call.thread == threading.get_ident()]
        assert [(call.name, call.path.name) for call in own] == [
            (name, "metrics.jsonl") for name in ("open", "write", "close")
        ]
        assert sum(call.name == "fsync" for call in disk.calls) == fsyncs
        written = sum(len(call.data) for call in disk.calls if call not in own)
        tensors = 2 * 300 * 3 * 4 + (300 * 3 * 4 if step == 3 else 0)
        assert tensors < written < tensors + 3000  # every tensor once, and little beside
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("netwright-saver")]
