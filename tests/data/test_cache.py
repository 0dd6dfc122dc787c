"""The cache of decoded pictures: the same data with and without it, durable, verified, bounded, shared, resumed."""

import errno
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image

import netwright as nw
from netwright.cli import _run
from netwright.data.batches import Batches
from netwright.data.cache import rows, turns
from netwright.data.cache.rows import Mapped
from netwright.data.cache.store import Store, listed, prune, store
from netwright.data.pictures.lazily import LazyPictures
from netwright.data.source import InMemory


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


def picture(seed: int, size: int = 24, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, form)
    return file.getvalue()


def folder(path, count: int = 40, size: int = 24):
    for number in range(count):
        file = path / "ab"[number % 2] / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number, size))
    return path


def odd_folder(path):
    folder(path)
    (path / "a/0000.png").write_bytes(b"broken")
    (path / "a/0002.png").write_bytes(picture(2)[:-30])
    (path / "b/0001.png").write_bytes(picture(1, form="JPEG"))
    (path / "b/notes.txt").write_text("no picture")
    (path / "stray.png").write_bytes(picture(3))
    return path


def seen(data) -> tuple:
    """Everything that a reading tells, as plain values."""
    everything = data.source.examples.take(np.arange(len(data.source.examples)))
    return json.dumps(data.to_json()), data.ids("train"), data.splits["test"].tolist(), everything.numpy().tobytes()


@pytest.mark.parametrize("memory", [2048, 1])
def test_with_and_without_the_cache_everything_is_the_same(tmp_path, place, monkeypatch, memory):
    where = odd_folder(tmp_path / "set")
    for number in range(12 if memory == 1 else 0):
        (where / f"a/large{number}.png").write_bytes(picture(100 + number, 400))
    settings = {"memory": memory, "size": 320 if memory == 1 else "auto"}
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0")
    without = nw.read(where, **settings)
    assert not place.exists()
    assert isinstance(without.source.examples, InMemory if memory == 2048 else LazyPictures)
    monkeypatch.delenv("NETWRIGHT_CACHE_GB")
    cold, warm = nw.read(where, **settings), nw.read(where, **settings)
    assert seen(cold) == seen(without)
    assert seen(warm) == seen(without)
    assert len(without.problems) >= 4
    assert isinstance(warm.source.examples, InMemory if memory == 2048 else Mapped)
    (entry,) = listed(Store(place))["entries"]
    assert (entry["kind"], entry["state"], entry["examples"]) == ("pictures", "ready", len(warm.source.examples))


def test_a_set_in_the_cache_is_not_decoded_again_wherever_it_lies(tmp_path, place, monkeypatch):
    first = nw.read(folder(tmp_path / "set"))
    shutil.move(tmp_path / "set", tmp_path / "moved")
    with tarfile.open(tmp_path / "packed.tar", "w") as out:
        out.add(tmp_path / "moved", "packed")
    monkeypatch.setattr("netwright.data.pictures.survey.decode", None)
    for where in ("moved", "packed.tar"):
        assert nw.read(tmp_path / where).fingerprint == first.fingerprint


def test_a_changed_file_is_seen_whatever_its_time_says(tmp_path, place):
    where = folder(tmp_path / "set")
    first, file = nw.read(where), where / "a/0000.png"
    before, held = file.stat(), bytearray(file.read_bytes())
    replaced = bytearray(picture(999))
    replaced += bytes(max(0, len(held) - len(replaced)))
    file.write_bytes(bytes(replaced))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert nw.read(where).fingerprint != first.fingerprint


@pytest.mark.parametrize("memory", [2048, 1])
def test_every_damage_to_an_entry_is_found_and_mended(tmp_path, place, capfd, memory):
    where = folder(tmp_path / "set", 24, 140)
    first = seen(nw.read(where, memory=memory))
    (entry,) = place.iterdir()
    kept = {path.name: path.read_bytes() for path in entry.iterdir()}
    assert set(kept) == {"lock", "rows.bin", "entry.json"}
    for name in ("rows.bin", "entry.json"):
        for change in ("flip first", "flip last", "flip middle", "truncate", "empty", "longer", "gone"):
            damaged = bytearray(kept[name])
            if change.startswith("flip"):
                damaged[{"first": 0, "last": -1, "middle": len(damaged) // 2}[change.split()[1]]] ^= 1
            damaged = {"truncate": damaged[:-1], "empty": b"", "longer": damaged + b"x"}.get(change, damaged)
            (entry / name).write_bytes(damaged)
            if change == "gone":
                (entry / name).unlink()
            capfd.readouterr()
            gc.collect()  # what an earlier reading mapped is in use until it goes
            assert seen(nw.read(where, memory=memory)) == first, (name, change)
            said = capfd.readouterr().err
            if (name, change) != ("entry.json", "gone"):
                assert said.count("is damaged; it is made again") == 1, (name, change, said)
            assert (entry / "rows.bin").read_bytes() == kept["rows.bin"]


@pytest.mark.parametrize("kind", ["a file", "no folder"])
def test_without_a_usable_cache_folder_reading_goes_on(tmp_path, monkeypatch, capfd, kind):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file" / ("x" if kind == "no folder" else "")))
    data = nw.read(folder(tmp_path / "set"))
    assert len(data.source.examples) == 40
    assert capfd.readouterr().err.count("going on without it") == 1


@pytest.mark.parametrize("call", ["pwrite", "fsync", "append"])
def test_a_full_disk_ends_the_caching_and_not_the_reading(tmp_path, place, monkeypatch, capfd, call):
    where = folder(tmp_path / "set")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        target = {"pwrite": (rows.os, "pwrite"), "fsync": (rows.os, "fsync"), "append": (rows.storage, "append_bytes")}
        patch.setattr(*target[call], full)
        data = nw.read(where)
    told = capfd.readouterr().err
    assert told.count("No space left on device") == 1, told
    assert listed(Store(place))["entries"] == []
    assert seen(nw.read(where)) == seen(data)


def test_a_killed_caching_goes_on_where_it_was(tmp_path, place, capfd):
    where = folder(tmp_path / "set", 60, 300)  # 15 pictures a block
    code = """
import os, sys
from netwright.data.cache import rows
real = rows.Making.note
def note(self, block, *rest):
    real(self, block, *rest)
    if len(self.done) == 2:
        os.kill(os.getpid(), 9)
rows.Making.note = note
import netwright as nw
nw.read(sys.argv[1])
"""
    found = subprocess.run([sys.executable, "-c", code, str(where)], check=False)
    assert found.returncode == -signal.SIGKILL
    (entry,) = listed(Store(place))["entries"]
    assert entry["state"] == "unfinished"
    journal = next(place.iterdir()) / "journal.part"
    journal.write_bytes(journal.read_bytes() + b"torn li")
    data = nw.read(where)
    assert "of 60 pictures of set were decoded before; going on from there" in capfd.readouterr().err
    shutil.rmtree(place)
    assert seen(nw.read(where)) == seen(data)


def test_two_processes_fill_one_entry(tmp_path, place):
    where = folder(tmp_path / "set", 60, 100)
    code = "import sys, netwright as nw; print(nw.read(sys.argv[1]).fingerprint)"
    both = [subprocess.Popen([sys.executable, "-c", code, str(where)], stdout=subprocess.PIPE) for _ in range(2)]
    prints = {process.communicate()[0] for process in both}
    assert prints == {nw.read(where).fingerprint.encode() + b"\n"}
    (entry,) = listed(Store(place), verify=True)["entries"]
    assert entry["state"] == "ready"


def test_a_process_that_does_not_go_on_is_not_waited_for(tmp_path, place, monkeypatch, capfd):
    where = folder(tmp_path / "set")
    expected = seen(nw.read(where))
    (path,) = place.iterdir()
    entry = Store(place).entry(path.name)
    held = entry.lock(alone=True)
    (path / "entry.json").unlink()
    monkeypatch.setattr(turns, "STALLED_S", 0.2)
    assert seen(nw.read(where)) == expected
    assert "does not go on; going on without it" in capfd.readouterr().err
    held.close()


def test_the_size_limit_removes_what_was_used_longest_ago_and_nothing_in_use(tmp_path, place, monkeypatch, capfd):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.003")  # 3 MB; an entry takes 1.3
    held = nw.read(folder(tmp_path / "one", 12, 190), memory=1)
    assert isinstance(held.source.examples, Mapped)
    for number, name in enumerate(("two", "three"), start=1):
        for path in place.iterdir():
            os.utime(path / "lock", (number, number + (path.name != next(iter(sorted(os.listdir(place)))))))
        where = folder(tmp_path / name, 12, 190)
        (where / "a/0000.png").write_bytes(picture(7000 + number, 190))
        nw.read(where)
    entries = listed(Store(place))
    assert {entry["name"] for entry in entries["entries"]} == {"one", "three"}
    assert entries["bytes"] <= 3_000_000
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.001")
    capfd.readouterr()
    where = folder(tmp_path / "four", 12, 200)
    nw.read(where)
    assert "four is not kept (it needs 1.44 MB, the cache may take 1 MB)" in capfd.readouterr().err
    assert held.source.examples.take([0]).shape == (1, 3, 190, 190)


def test_listing_and_pruning(tmp_path, place, capsys):
    assert _run(["cache", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(place), "entries": [], "bytes": 0}
    for name in ("one", "two", "three"):
        where = folder(tmp_path / name, 12)
        (where / "a/0000.png").write_bytes(picture(ord(name[1]), 24))
        nw.read(where)
    by_name = {row["name"]: row for row in listed(Store(place))["entries"]}
    (place / by_name["one"]["key"] / "entry.json").write_bytes(b"{}")
    rows_file = place / by_name["two"]["key"] / "rows.bin"
    rows_file.write_bytes(bytes(rows_file.stat().st_size))
    os.utime(place / by_name["three"]["key"] / "lock", (1, time.time() - 40 * 86400))
    states = {row["key"]: row["state"] for row in listed(Store(place))["entries"]}
    assert sorted(states.values()) == ["broken", "ready", "ready"]
    assert sorted(row["state"] for row in listed(Store(place), verify=True)["entries"]) == ["broken", "broken", "ready"]
    removed = prune(Store(place))
    assert [row["key"] for row in removed["removed"]] == [by_name["one"]["key"]]
    assert _run(["cache", "prune", "--older-than", "30", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["removed"]] == ["three"]
    assert _run(["cache", "prune", "--all"]) == 0
    assert "1 entries removed" in capsys.readouterr().out
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lst"], "Did you mean 'list'"),
        (["list", "--all"], "--all belongs to cache prune"),
        (["prune", "--to=-1"], "--to -1.0; it lies between 0"),
    ],
)
def test_mistakes_with_the_verb(capsys, place, words, message):
    assert _run(["cache", *words]) == 2
    assert message in capsys.readouterr().err


def test_workers_never_change_a_bit(tmp_path, place):
    where, found = odd_folder(tmp_path / "set"), []
    for workers in (0, 1, 5):
        shutil.rmtree(place, ignore_errors=True)
        data = nw.read(where, workers=workers)
        found.append((*seen(data)[1:], data.fingerprint))
    assert found[0] == found[1] == found[2]


def test_a_mapped_set_gives_rows_in_the_order_asked_and_holds_no_memory(tmp_path, place):
    where = folder(tmp_path / "set", 24, 300)  # 6.5 MB
    whole, mapped = nw.read(where), nw.read(where, memory=1)
    for chosen in ([3, 0, 3, 23], np.array([7]), torch.tensor([1, 2]), []):
        assert torch.equal(mapped.source.examples.take(chosen), whole.source.examples.tensor[np.asarray(chosen, int)])
    assert mapped.encoder.state() == whole.encoder.state()
    one, two = (Batches(data, size=7, seed=3, device=torch.device("cpu")) for data in (whole, mapped))
    for first, second in zip(one.epoch(2), two.epoch(2), strict=True):
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)


def test_switched_off_there_is_no_store(place, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0")
    assert store() is None
