"""Folders and single files: what is listed, what is never opened, and what a person is told."""

import gc
import os
import socket
import weakref

import pytest

from netwright.data.files import tree as trees
from netwright.data.files.opening import open_tree
from netwright.data.files.tree import SHOWN, Entry, FileTree, FolderTree, Tally, asked_once, hidden, printable
from netwright.data.source import Problem
from netwright.errors import DataError


def put(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_folder_lists_sorted_names_sizes_and_folders(tmp_path):
    put(tmp_path / "b/2.txt", b"22")
    put(tmp_path / "a/1.txt", b"1")
    put(tmp_path / "a/deep/3.txt", b"")
    (tmp_path / "void").mkdir()
    with open_tree(tmp_path) as tree:
        assert tree.entries == [Entry("a/1.txt", 1), Entry("a/deep/3.txt", 0), Entry("b/2.txt", 2)]
        assert tree.folders == ["a", "a/deep", "b", "void"]
        assert tree.read("b/2.txt") == b"22"
        assert dict(tree.walk(["b/2.txt", "a/1.txt"])) == {"b/2.txt": b"22", "a/1.txt": b"1"}
        assert tree.problems == []


def test_what_systems_leave_behind_is_passed_over(tmp_path):
    for name in (".DS_Store", "a/Thumbs.db", "__MACOSX/a/._1.png", ".git/config", "a/desktop.ini", "a/1.png"):
        put(tmp_path / name)
    with open_tree(tmp_path) as tree:
        assert [entry.name for entry in tree.entries] == ["a/1.png"]
        assert tree.problems == []
    assert hidden("THUMBS.DB")
    assert not hidden("thumbs.png")


def test_links_are_reported_and_never_followed(tmp_path):
    secret = put(tmp_path / "secret.txt", b"secret")
    root = tmp_path / "root"
    put(root / "real.txt")
    (root / "file").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    with open_tree(root) as tree:
        assert [entry.name for entry in tree.entries] == ["real.txt"]
        assert sorted(p.where for p in tree.problems) == ["dangling", "file", "folder", "loop"]
        assert {p.what for p in tree.problems} == {"a link"}
        with pytest.raises(DataError, match="holds no file 'file'"):
            tree.read("file")


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path):
    secret = put(tmp_path / "secret.txt", b"secret")
    root = tmp_path / "root"
    victim = put(root / "a/1.txt")
    with open_tree(root) as tree:
        victim.unlink()
        victim.symlink_to(secret)
        with pytest.raises(DataError, match=r"a/1\.txt cannot be read"):
            tree.read("a/1.txt")
        assert list(tree.walk(["a/1.txt"])) == []
        assert [p.where for p in tree.problems] == ["a/1.txt"]


def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path):
    put(tmp_path / "elsewhere/1.txt", b"secret")
    root = tmp_path / "root"
    put(root / "a/1.txt")
    with open_tree(root) as tree:
        (root / "a").rename(root / "b")
        (root / "a").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DataError):
            tree.read("a/1.txt")


@pytest.mark.parametrize("when", ["listed", "after"])
def test_fifo_and_socket_are_reported_and_do_not_block(tmp_path, when, monkeypatch):
    put(tmp_path / "a.txt")
    if when == "listed":
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes only
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
        with open_tree(tmp_path) as tree:
            assert [entry.name for entry in tree.entries] == ["a.txt"]
            assert {p.where: p.what for p in tree.problems} == {
                "pipe": "no regular file: a FIFO",
                "sock": "no regular file: a socket",
            }
    else:
        with open_tree(tmp_path) as tree:
            (tmp_path / "a.txt").unlink()
            os.mkfifo(tmp_path / "a.txt")
            with pytest.raises(DataError, match="a FIFO"):
                tree.read("a.txt")


def test_files_that_vanish_are_reported(tmp_path):
    for number in range(3):
        put(tmp_path / f"{number}.txt", str(number).encode())
    with open_tree(tmp_path) as tree:
        (tmp_path / "1.txt").unlink()
        assert dict(tree.walk(entry.name for entry in tree.entries)) == {"0.txt": b"0", "2.txt": b"2"}
        assert [(p.where, p.what) for p in tree.problems] == [
            ("1.txt", "vanished or cannot be read: No such file or directory")
        ]


def test_odd_names_survive(tmp_path):
    names = [
        b"\xff\xfe.txt",
        "\U0001f41c ant.txt".encode(),
        b"new\nline.txt",
        b"x" * 251 + b".txt",
        "\u202egnp.txt".encode(),
    ]
    for name in names:
        put(tmp_path / os.fsdecode(name), name[:4])
    with open_tree(tmp_path) as tree:
        assert sorted(os.fsencode(entry.name) for entry in tree.entries) == sorted(names)
        for entry in tree.entries:
            assert tree.read(entry.name) == os.fsencode(entry.name)[:4]
            shown = printable(entry.name)
            assert shown.encode("utf-8")
            assert "\n" not in shown
            assert "\u202e" not in shown
        with pytest.raises(DataError, match=r"udcff"):
            tree.read(os.fsdecode(b"\xff"))
    assert printable("\U0001f41c ant.txt") == "\U0001f41c ant.txt"


def test_limits_hold_against_the_file_as_it_is(tmp_path):
    path = put(tmp_path / "a.txt", b"12345")
    with open_tree(tmp_path) as tree:
        assert tree.read("a.txt", limit=5) == b"12345"
        with pytest.raises(DataError, match="larger than 4 bytes"):
            tree.read("a.txt", limit=4)
        path.write_bytes(b"123456789")
        assert tree.read("a.txt", limit=9) == b"123456789"


def test_folders_too_deep_and_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "DEPTH_LIMIT", 2)
    put(tmp_path / "1/2/3/far.txt")
    put(tmp_path / "1/2/near.txt")
    with open_tree(tmp_path) as tree:
        assert [entry.name for entry in tree.entries] == ["1/2/near.txt"]
        assert [(p.where, p.what) for p in tree.problems] == [("1/2/3", "folder lies too deep")]
    monkeypatch.setattr(trees, "ENTRY_LIMIT", 3)
    with pytest.raises(DataError, match="more than 3 files"):
        open_tree(tmp_path)


def test_the_typed_path_may_be_a_link_relative_or_home(tmp_path, monkeypatch):
    put(tmp_path / "data/a.txt", b"here")
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("alias", "~/data", "data/../data", tmp_path / "data"):
        with open_tree(path) as tree:
            assert isinstance(tree, FolderTree)
            assert tree.read("a.txt") == b"here"


def test_a_single_file_is_a_tree_of_one(tmp_path):
    path = put(tmp_path / "only.csv", b"a,b\n1,2\n")
    with open_tree(path) as tree:
        assert isinstance(tree, FileTree)
        assert tree.entries == [Entry("only.csv", 8)]
        assert tree.read("only.csv") == b"a,b\n1,2\n"
        assert list(tree.walk(["only.csv"])) == [("only.csv", b"a,b\n1,2\n")]
        with pytest.raises(DataError, match=r"Did you mean 'only.csv'"):
            tree.read("onyl.csv")
        with pytest.raises(DataError, match="larger than 3 bytes"):
            tree.read("only.csv", limit=3)


def test_a_missing_path_names_the_nearest_sibling(tmp_path):
    put(tmp_path / "hymenoptera/train/1.jpg")
    for typed in ("hymenoptra", "hymenoptra/train/1.jpg"):
        with pytest.raises(DataError, match=r"does not exist\. Did you mean '.*/hymenoptera'\?"):
            open_tree(tmp_path / typed)
    with pytest.raises(DataError, match=r"does not exist\.$"):
        open_tree(tmp_path / "zzzz")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="a link to a place that does not exist"):
        open_tree(tmp_path / "dangling")
    with pytest.raises(DataError, match=r"does not exist"):
        open_tree(put(tmp_path / "file.txt") / "below")


@pytest.mark.parametrize("path", ["", "a\0b", "~no_such_user_here/x"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DataError):
        open_tree(path)


def test_devices_and_fifos_as_the_path_itself(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a FIFO"):
        open_tree(tmp_path / "pipe")
    with pytest.raises(DataError, match="a device"):
        open_tree("/dev/null")


def test_what_may_not_be_read_is_reported(tmp_path, monkeypatch):
    put(tmp_path / "closed/a.txt")
    put(tmp_path / "open/b.txt", b"b")
    put(tmp_path / "open/locked.txt")
    real = os.open

    def denied(path, *arguments, **options):
        if path in ("closed", "locked.txt"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)  # permissions would not stop root
    with open_tree(tmp_path) as tree:
        assert dict(tree.walk(entry.name for entry in tree.entries)) == {"open/b.txt": b"b"}
        assert [(p.where, p.what) for p in tree.problems] == [
            ("closed", "folder cannot be read: Permission denied"),
            ("open/locked.txt", "vanished or cannot be read: Permission denied"),
        ]


def test_tally_counts_beyond_the_shown():
    tally = Tally()
    for number in range(1000):
        tally.add(f"{number}.png", "unreadable", "left out", detail=f"reason {number}")
    tally.add("x", "a link", "left out")
    problems = tally.problems()
    assert len(tally) == 1001
    assert len(problems) == SHOWN + 2
    assert problems[3].what == "unreadable: reason 3"
    assert (problems[-1].where, problems[-1].what) == ("980 more", "unreadable (1000 in all)")


def test_descriptors_are_handed_back(tmp_path):
    put(tmp_path / "a/1.txt")
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    for _ in range(5):
        with open_tree(tmp_path) as tree:
            list(tree.walk(["a/1.txt"]))
        open_tree(tmp_path / "a/1.txt")  # not closed: goes with the object, without a ResourceWarning
    after = set(os.listdir("/proc/self/fd")) if before else set()
    assert len(after) <= len(before)


def test_a_problem_is_told_in_one_line():
    assert str(Problem("a.txt line 3", "an empty text", "left out")) == "a.txt line 3: an empty text -> left out"


def test_a_question_is_asked_once_of_each_tree_and_forgotten_with_it(tmp_path):
    asked = []

    @asked_once
    def size(tree):
        """How many files there are."""
        asked.append(weakref.ref(tree))
        return len(tree.entries)

    put(tmp_path / "one/1.txt")
    (tmp_path / "none").mkdir()
    with open_tree(tmp_path / "one") as one, open_tree(tmp_path / "none") as none:
        assert [size(one), size(none), size(one), size(none)] == [1, 0, 1, 0]
    assert [kept() for kept in asked] == [one, none]
    assert size.__doc__ == "How many files there are."
    del one, none
    gc.collect()
    assert [kept() for kept in asked] == [None, None]
