"""Background saves in a real training: never two at once, never called saved when not, never a changed bit."""

import errno
import threading

import pytest
import torch
from fallible_disk import Failing, Quick, Recorder, on
from safetensors.torch import load as read_safetensors
from small_saves import begin, moments, save, saver, weights

import netwright as nw
from netwright.errors import RunError
from netwright.training.checkpoints import copied, generations, to_bytes
from netwright.training.keeper import Keeper
from netwright.training.saver import Saver

SETTINGS = {"epochs": 3, "save_steps": 1, "quiet": False}


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("netwright-saver")]


@pytest.fixture(scope="module")
def data():
    return nw.read("iris")


def trained(data, path, **settings):
    return nw.train(data, "softmax", out=path, **(SETTINGS | settings))


class Full(Quick):
    """A disk that is full from the draft of checkpoint number `first` on, for so many `writes`."""

    def __init__(self, first, writes):
        self.first, self.writes, self.drafts = first, writes, 0

    def mkdir(self, path):
        super().mkdir(path)
        self.drafts += path.name.endswith(".new")

    def write(self, handle, data):
        if self.drafts >= self.first and self.writes:
            self.writes -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(handle, data)


def test_a_full_disk_is_said_and_the_training_goes_on_and_saves_when_there_is_room(data, tmp_path, capsys):
    with on(Quick()):
        whole = trained(data, tmp_path / "whole", quiet=True)
    with on(Full(2, 3)):
        run = trained(data, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("was NOT saved in") >= 1
    assert "No space left on device; nothing newer than step 0 is saved, the training goes on" in said
    assert generations(run.path)[-1] == run.steps
    for name in ("best.safetensors", "predictions.safetensors"):
        mine, other = (read_safetensors((one.path / name).read_bytes()) for one in (run, whole))
        assert all(torch.equal(mine[key], other[key]) for key in other)


def test_a_last_save_that_fails_is_an_error_and_says_what_is_saved(data, tmp_path):
    with on(Full(3, 10**9)), pytest.raises(RunError) as caught:
        trained(data, tmp_path / "run", quiet=True)
    assert caught.value.code == 3
    assert "No space left on device" in str(caught.value)
    assert "nothing newer than step 1 is saved" in str(caught.value)
    with on(Quick()):
        assert nw.resume(tmp_path / "run", data=data, quiet=True).steps == 3  # there is room again


def test_a_first_save_that_fails_ends_the_training(data, tmp_path):
    with on(Full(1, 10**9)), pytest.raises(RunError, match="nothing is saved"):
        trained(data, tmp_path / "run", quiet=True)


def test_an_error_in_the_training_waits_for_the_save_in_flight(data, tmp_path, monkeypatch):
    """What unwinds the training is what is raised; the save that was under way stands on the disk."""

    class Died(Exception):
        pass

    def dying(self, step):
        raise Died

    monkeypatch.setattr(Keeper, "after_step", dying)
    with on(Quick()), pytest.raises(Died):
        trained(data, tmp_path / "run", quiet=True)
    assert generations(tmp_path / "run") == [0]


def test_no_durable_call_of_a_save_runs_on_the_training_thread(data, tmp_path, monkeypatch):
    disk, started = Recorder(), []
    real = Saver.start
    monkeypatch.setattr(Saver, "start", lambda self, snapshot: (started.append(1), real(self, snapshot))[1])
    with on(disk):
        run = trained(data, tmp_path / "run", quiet=True)
    assert len(started) == run.steps + 2  # before the first step, after every one, and the last
    own = {call.path.parent.name for call in disk.calls if call.thread == threading.get_ident()}
    assert "checkpoints" not in own
    assert not {name for name in own if name.strip(".").split(".")[0].isdecimal()}


def test_two_saves_at_once_cannot_be(tmp_path):
    folder = begin(tmp_path)
    found = saver(folder)
    gate = threading.Event()

    class Slow(Quick):
        def mkdir(self, path):
            gate.wait(20)
            super().mkdir(path)

    with on(Slow()):
        waiting = threading.Thread(target=save, args=(folder, found, 1))
        waiting.start()
        while not found.busy:
            gate.wait(0.005)
        assert found.landed() is None
        with pytest.raises(AssertionError, match="two saves at once"):
            save(folder, found, 2)
        gate.set()
        waiting.join()
        assert found.close() is None
    assert generations(tmp_path) == [1]


def test_a_failure_of_the_program_itself_is_raised_not_swallowed(tmp_path):
    class Wrong(Quick):
        def fsync(self, handle):
            raise ZeroDivisionError

    folder = begin(tmp_path)
    found = saver(folder)
    with on(Wrong()), pytest.raises(ZeroDivisionError):
        save(folder, found, 1)
    found.close()
    assert found.saved is None


@pytest.mark.parametrize(
    "kind", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64]
)
def test_tensors_are_written_as_safetensors_reads_them(kind):
    plain = torch.arange(24).reshape(2, 3, 4).to(kind)
    found = {"t": plain.transpose(0, 2), "same": plain, "also": plain, "one": plain[0, 0, 1], "none": plain[:0]}
    again = read_safetensors(to_bytes(found, {"run": "x"}))
    assert again.keys() == found.keys()
    assert all(torch.equal(again[name], found[name]) and again[name].dtype == kind for name in found)


def test_a_number_type_that_the_format_lacks_is_refused():
    with pytest.raises(RunError, match=r"w cannot be stored: its number type is torch\.complex128"):
        to_bytes({"w": torch.zeros(2, dtype=torch.complex128)}, {})


def test_copies_are_flat_and_do_not_follow_the_training():
    picture = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    found = copied({"w": picture})["w"]
    assert found.is_contiguous()
    before = found.clone()
    picture.zero_()
    assert torch.equal(found, before)


def test_failing_then_working_disks_give_the_same_tensors(tmp_path):
    folder = begin(tmp_path)
    found = saver(folder)
    with on(Failing(12, errno.EIO)):
        failure = save(folder, found, 1)
    assert failure is not None
    assert failure.snapshot.best.keys() == weights(1).keys()
    assert save(folder, found, 2, best=True) is None
    found.close()
    stored = read_safetensors((tmp_path / "checkpoints/2/state.safetensors").read_bytes())
    assert all(torch.equal(stored[name], one) for name, one in moments(2).items())
