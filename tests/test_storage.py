"""Durable input and output: whole or not at all, errors with names, network file systems known by their mounts."""

import errno
import os

import pytest
from fallible_disk import Failing, Recorder, on

from netwright import rundir, storage
from netwright.rundir import RunFolder

MOUNTS = """/dev/vda / ext4 rw,relatime 0 0
server:/export /mnt/nfs nfs4 rw,vers=4.2 0 0
//host/share /mnt/my\\040share cifs rw 0 0
/dev/vdb /mnt/nfs/local xfs rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
host /mnt/nine 9p rw,trans=virtio 0 0
tmpfs /mnt/twice tmpfs rw 0 0
server:/x /mnt/twice nfs rw 0 0
broken
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "shared"),
    [
        ("/mnt/nfs/runs/a", "nfs4", True), ("/mnt/nfs", "nfs4", True), ("/mnt/nfsx/a", "ext4", False),
        ("/mnt/nfs/local/run", "xfs", False), ("/mnt/my share/run", "cifs", True), ("/mnt/ssh/a", "fuse.sshfs", True),
        ("/mnt/nine/a", "9p", True), ("/mnt/twice/a", "nfs", True), ("/homes/me", "ext4", False),
    ],
)  # fmt: skip
def test_the_file_system_is_the_innermost_latest_mount(mounts, path, kind, shared):
    assert storage.file_system(path, mounts) == kind
    assert storage.shared(kind) is shared


def test_without_a_table_of_mounts_nothing_is_said(tmp_path):
    assert storage.file_system(tmp_path, tmp_path / "none") == ""
    assert not storage.shared("")


def test_the_lock_on_a_network_file_system_says_that_it_may_not_hold(tmp_path, monkeypatch, capsys):
    table = tmp_path / "mounts"
    table.write_text(f"server:/x {os.path.realpath(tmp_path)} nfs4 rw 0 0\n")
    real = storage.file_system
    monkeypatch.setattr(storage, "file_system", lambda path: real(path, table))
    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run").writing():
        pass
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "network file system (nfs4): its lock may not hold there" in said[0]
    table.write_text("/dev/vda / ext4 rw 0 0\n")
    with RunFolder(tmp_path / "run").writing():
        pass
    assert capsys.readouterr().err == ""


def test_pieces_are_written_one_after_the_other_and_synced(tmp_path):
    with on(Recorder()) as disk:
        storage.write_bytes(tmp_path / "a", [b"one", memoryview(b"two"), b""])
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert [call.name for call in disk.calls] == ["open", "write", "write", "fsync", "close"]
    assert storage.digest_of(tmp_path / "a") == (6, rundir.sha256(b"onetwo"))


@pytest.mark.parametrize("point", range(1, 6))
def test_a_failed_replacement_leaves_the_old_file_and_no_draft(tmp_path, point):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with on(Failing(point, errno.ENOSPC)), pytest.raises(OSError, match="No space") as caught:
        storage.replace_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert caught.value.filename
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_call_that_writes_nothing_is_an_error_not_an_endless_loop(tmp_path):
    class Stuck(Recorder):
        def write(self, handle, data):
            return 0

    with on(Stuck()), pytest.raises(OSError, match="Input/output error"):
        storage.write_bytes(tmp_path / "a", b"x")


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        storage.read_bytes(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"directory|regular"):
        storage.read_bytes(tmp_path)


def test_removing_takes_folders_of_files_and_what_is_not_there(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("x")
    os.symlink(tmp_path, tmp_path / "a/link")
    storage.remove(tmp_path / "a")
    storage.remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_making_a_folder_twice_is_fine_but_not_over_a_file(tmp_path):
    storage.make_folder(tmp_path / "a")
    storage.make_folder(tmp_path / "a")
    (tmp_path / "b").touch()
    with pytest.raises(FileExistsError):
        storage.make_folder(tmp_path / "b")
