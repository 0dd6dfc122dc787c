"""Checkpoints: every flipped byte and every truncation is found, two generations stay, a failed write is said."""

import os

import pytest
import torch

from netwright.errors import RunError
from netwright.rundir import open_sealed, sealed_json
from netwright.training import checkpoints
from netwright.training.checkpoints import Checkpoint, generations, newest, save_checkpoint

SOURCES = {"recipe.toml": "a" * 64, "data.json": "b" * 64}


def checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weights = {"w": torch.randn(5, 4, generator=generator), "b": torch.randn(5, generator=generator)}
    return Checkpoint(step, weights, {"moment": torch.zeros(4, dtype=torch.float64)}, {"step": step, "loss": 0.5})


def silent(line: str) -> None:
    pass


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, "run", checkpoint(step), SOURCES)
    return tmp_path


def test_newest_gives_back_what_was_saved(folder):
    found = newest(folder, "run", SOURCES, silent)
    assert found.step == 2
    assert torch.equal(found.weights["w"], checkpoint(2).weights["w"])
    assert found.facts["loss"] == 0.5


def test_two_generations_stay(folder):
    for step in (3, 4, 5):
        save_checkpoint(folder, "run", checkpoint(step), SOURCES)
    assert generations(folder) == [4, 5]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.safetensors", "state.json", "manifest.json"])
def test_every_flipped_byte_and_every_truncation_falls_back_to_the_generation_before(folder, name):
    path = folder / "checkpoints/2" / name
    whole = path.read_bytes()
    damaged = [whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole[:i] for i in range(len(whole))] + [whole + b" "]
    for data in damaged:
        path.write_bytes(data)
        said = []
        assert newest(folder, "run", SOURCES, said.append).step == 1
        assert len(said) == 1


def test_files_of_two_generations_mixed_are_found(folder):
    older = (folder / "checkpoints/1/weights.safetensors").read_bytes()
    (folder / "checkpoints/2/weights.safetensors").write_bytes(older)
    assert newest(folder, "run", SOURCES, silent).step == 1


def test_another_run_or_another_recipe_is_refused(folder):
    said = []
    assert newest(folder, "other", SOURCES, said.append) is None
    assert newest(folder, "run", {**SOURCES, "recipe.toml": "c" * 64}, said.append) is None
    assert any("recipe.toml" in line for line in said)


CALLS = ("write_bytes", "sync_folder", "replace")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("reason", [28, 5, 30])  # ENOSPC, EIO, EROFS
def test_a_failed_write_fsync_or_rename_is_said_and_the_older_generation_stays(folder, monkeypatch, call, reason):
    home = checkpoints if call != "replace" else os
    real = getattr(home, call)
    for point in range(1, 5 if call == "write_bytes" else 3 if call == "sync_folder" else 2):
        count = 0

        def failing(*arguments, point=point):
            nonlocal count
            count += 1
            if count == point:
                raise OSError(reason, os.strerror(reason))
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(home, call, failing)
            with pytest.raises(RunError, match=r"NOT saved"):
                save_checkpoint(folder, "run", checkpoint(3), SOURCES)
        found = newest(folder, "run", SOURCES, silent)
        assert found.step in (2, 3)  # after the rename the new one is whole, though its durability is not known
        assert torch.equal(found.weights["w"], checkpoint(found.step).weights["w"])
    save_checkpoint(folder, "run", checkpoint(3), SOURCES)
    assert newest(folder, "run", SOURCES, silent).step == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_file_operation_of_a_save_leaves_a_whole_generation(tmp_path, monkeypatch):
    """The process dies at the k-th open, fsync, rename, mkdir or removal of a save, for every k there is."""
    died, point = True, 0
    while died:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        for step in (1, 2):
            save_checkpoint(folder, "run", checkpoint(step), SOURCES)
        child = os.fork()
        if child == 0:
            _die_at(point)
            save_checkpoint(folder, "run", checkpoint(3), SOURCES)
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        found = newest(folder, "run", SOURCES, silent)
        assert found.step in (2, 3)
        assert torch.equal(found.weights["w"], checkpoint(found.step).weights["w"])
        save_checkpoint(folder, "run", checkpoint(4), SOURCES)
        assert newest(folder, "run", SOURCES, silent).step == 4
    assert point > 35


def _die_at(point: int) -> None:
    count = 0

    def counted(real):
        def call(*arguments, **named):
            nonlocal count
            count += 1
            if count == point:
                os._exit(9)
            return real(*arguments, **named)

        return call

    for name in ("open", "write", "fsync", "close", "replace", "mkdir", "rmdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


def test_sealed_json_notices_every_changed_byte():
    data = sealed_json({"a": [1, 2.5, None], "name": "数字"})
    assert open_sealed(data) == {"a": [1, 2.5, None], "name": "数字"}
    for place in range(len(data)):
        for bit in range(8):
            changed = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
            assert open_sealed(changed) is None
