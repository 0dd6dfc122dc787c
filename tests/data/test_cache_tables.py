"""Large text tables from the cache: every cell, kind, problem and fingerprint as without it."""

import json

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.data import batches
from netwright.data.batches import Batches
from netwright.data.cache.store import Store, listed
from netwright.data.tables import files, stored


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "LEAST", 100)
    return tmp_path / "cache" / "data"


CSV = "city,size,note,target\n" + "".join(
    f'{["Ulm", " Bern", ""][n % 3]},{n * 0.5},"a, {n % 7}\n x",{["x", "y"][n % 2]}\n' for n in range(80)
)
CELLS = [1, 1.0, True, False, 0, 0.0, -0.0, None, "1", "", "\u0000é", 10**30, 1e-7, "x"]
JSONL = "\n".join(json.dumps({"a": CELLS[n % len(CELLS)], "b": n, "target": "xy"[n % 2]}) for n in range(90))


@pytest.mark.parametrize(
    ("name", "text"), [("t.csv", CSV + "1,2\n"), ("t.tsv", CSV.replace(",", "\t")), ("t.jsonl", JSONL)]
)
def test_every_cell_is_the_same_with_its_type(place, name, text):
    raw = text.encode()
    plain = files.read_table(name, raw)
    for _ in range(2):
        found = stored.read_stored(name, raw, "auto", "auto")
        assert list(found.columns) == list(plain.columns)
        for column, cells in plain.columns.items():
            assert [(type(cell), repr(cell)) for cell in found.columns[column].tolist()] == [
                (type(cell), repr(cell)) for cell in cells.tolist()
            ]
        assert np.array_equal(found.rows, plain.rows)
        assert (found.problems, found.typed, found.looks_headed) == (plain.problems, plain.typed, plain.looks_headed)
    (entry,) = listed(Store(place), verify=True)["entries"]
    assert (entry["kind"], entry["state"], entry["examples"]) == ("table", "ready", len(plain.rows))


def test_the_second_reading_parses_nothing_and_a_change_is_seen(tmp_path, place, monkeypatch, capfd):
    file = tmp_path / "t.csv"
    file.write_text(CSV)
    first = nw.read(file)
    with monkeypatch.context() as patch:
        patch.setattr(stored, "read_table", None)
        assert nw.read(file).to_json() == first.to_json()
    rows = next(place.iterdir()) / "rows.bin"
    rows.write_bytes(rows.read_bytes()[:-1] + b"?")
    assert nw.read(file).fingerprint == first.fingerprint
    assert "is damaged; it is made again" in capfd.readouterr().err
    file.write_text(CSV.replace("Ulm", "Aix"))
    assert nw.read(file).fingerprint != first.fingerprint


def test_a_table_that_cannot_be_kept_is_read_all_the_same(tmp_path, place, monkeypatch, capfd):
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0.0000001")
    file = tmp_path / "t.csv"
    file.write_text(CSV)
    assert len(nw.read(file).source.examples) == 80
    assert "t.csv is not kept" in capfd.readouterr().err
    assert listed(Store(place))["entries"] == []


def test_a_table_above_the_budget_trains_from_its_encoded_rows(tmp_path, place, monkeypatch):
    file = tmp_path / "t.csv"
    file.write_text(CSV)
    data = nw.read(file)
    ready = list(Batches(data, size=9, seed=1, device=torch.device("cpu")).epoch(3))
    monkeypatch.setattr(batches, "ENCODED_BUDGET", 10)
    for _ in range(2):  # made, and found again
        mapped = nw.read(file)
        made = Batches(mapped, size=9, seed=1, device=torch.device("cpu"))
        assert made.inputs.ready is None
        monkeypatch.setattr(type(mapped.encoder), "encode", None)
        for first, second in zip(ready, made.epoch(3), strict=True):
            assert torch.equal(first.inputs, second.inputs)
            assert torch.equal(first.targets, second.targets)
        monkeypatch.undo()
        monkeypatch.setenv("NETWRIGHT_CACHE", str(place.parent))
        monkeypatch.setattr(stored, "LEAST", 100)
        monkeypatch.setattr(batches, "ENCODED_BUDGET", 10)
    assert {entry["kind"] for entry in listed(Store(place), verify=True)["entries"]} == {"table", "encoded"}
    monkeypatch.setenv("NETWRIGHT_CACHE_GB", "0")
    without = Batches(nw.read(file), size=9, seed=1, device=torch.device("cpu"))
    for first, second in zip(ready, without.epoch(3), strict=True):
        assert torch.equal(first.inputs, second.inputs)
