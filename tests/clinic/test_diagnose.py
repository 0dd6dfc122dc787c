"""`netwright diagnose` from end to end: data, a recipe file and a run; its JSON, its page, its gates and its proof."""

import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import netwright as nw
from netwright.cli import _run

KEYS = {"verdict", "findings", "notes", "evidence", "excluded", "proof", "seconds", "curves", "layers"}
FINDING = {"fault", "name", "where", "evidence", "harm", "remedies", "confidence"}
SLOW = ["network=mlp", "optimizer=sgd", "optimizer.lr=1e-6", "epochs=4"]
"""Steps that are a thousand times too short."""
FINE = ["network=mlp", "optimizer=adam", "optimizer.lr=1e-2", "epochs=10"]


@pytest.fixture
def netwright(monkeypatch, capsys):
    """One call of the program: its exit code, what it printed, what it said."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("NETWRIGHT_LANG", "en")

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _run([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    recipe = nw.Recipe().override(SLOW)
    return nw.train("iris", recipe=recipe, out=tmp_path_factory.mktemp("runs") / "slow", quiet=True).path


def plain(value: Any) -> bool:
    """Whether every number is finite: the JSON of the program knows no others."""
    if isinstance(value, dict):
        return all(map(plain, value.values()))
    if isinstance(value, list):
        return all(map(plain, value))
    return not isinstance(value, float) or math.isfinite(value)


def too_slow(found: dict[str, Any]) -> dict[str, Any]:
    """The finding of a diagnosis of steps that are too short, checked in every part."""
    assert set(found) == KEYS
    assert found["verdict"] == "faulty"
    assert plain(found)
    assert found["seconds"] > 0
    first = found["findings"][0]
    assert set(first) == FINDING
    assert (first["fault"], first["where"]) == ("D2", "optimizer.lr")
    assert first["harm"]
    assert "threshold" in first["evidence"]
    for remedy in first["remedies"]:
        assert set(remedy) == {"patch", "why"}
        assert remedy["why"]
        assert nw.Recipe().override(SLOW).override([f"{k}={v}" for k, v in remedy["patch"].items()]).check()
    assert first["remedies"][0]["patch"]["optimizer.lr"] > 1e-5
    return first


def test_data_with_a_recipe_chosen_is_diagnosed_paged_and_gated(netwright, tmp_path):
    page = tmp_path / "page.html"
    code, printed, said = netwright(
        "diagnose", "iris", *SLOW, "--json", "--page", page, "--fail-on", "C6", "--fail-on", "D2"
    )
    assert code == 4
    assert "fault D2 was found" in said
    first = too_slow(json.loads(printed))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") or text.startswith("<!DOCTYPE html>")
    assert first["name"] in text
    assert "<svg" in text
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", text), "the page needs another file"
    assert not re.search(r"@import|url\((?!['\"]?data:)", text)
    assert not list(tmp_path.glob("**/run.json")), "an examination leaves no run behind"


def test_a_healthy_training_passes_every_gate(netwright):
    code, printed, said = netwright("diagnose", "wine", *FINE, "--json", "--quiet", "--fail-on", "D2")
    found = json.loads(printed)
    assert (code, said) == (0, "")
    assert set(found) == KEYS
    assert (found["verdict"], found["findings"], found["proof"]) == ("healthy", [], None)
    assert plain(found)
    for note in found["notes"]:
        assert set(note) == FINDING
        assert note["harm"] == ""


def test_a_run_is_diagnosed_by_its_record_and_stays_as_it_was(netwright, trained):
    before = {path: path.read_bytes() for path in sorted(trained.rglob("*")) if path.is_file()}
    code, printed, _ = netwright("diagnose", trained, "--json", "--quiet")
    assert code == 0
    too_slow(json.loads(printed))
    assert {path: path.read_bytes() for path in sorted(trained.rglob("*")) if path.is_file()} == before
    better = ["optimizer=adam", "optimizer.lr=0.01", "epochs=40"]
    code, printed, _ = netwright("diagnose", trained, *better, "--json", "--quiet")
    assert (code, json.loads(printed)["verdict"]) == (0, "healthy")


def test_a_recipe_file_is_diagnosed_with_its_changes(netwright, trained, tmp_path):
    file = tmp_path / "recipe.toml"
    shutil.copy(trained / "recipe.toml", file)
    code, printed, _ = netwright("diagnose", file, "--json", "--quiet")
    assert code == 0
    first = too_slow(json.loads(printed))
    words = [f"{key}={value}" for key, value in first["remedies"][0]["patch"].items()]
    code, printed, _ = netwright("diagnose", file, *words, "epochs=20", "--json", "--quiet")
    assert code == 0
    assert "D2" not in [finding["fault"] for finding in json.loads(printed)["findings"]]


def test_the_same_in_python(trained):
    found = nw.diagnose(trained, quiet=True)
    assert (found.verdict, found.findings[0].fault) == ("faulty", "D2")
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["verdict"] == "faulty"
    same = nw.diagnose("iris", "mlp", optimizer={"name": "sgd", "lr": 1e-6}, epochs=4, quiet=True)
    assert [one.fault for one in same.findings] == [one.fault for one in found.findings]


def test_a_proof_keeps_what_helped_and_trains_it(netwright, tmp_path):
    out = tmp_path / "best"
    code, printed, _ = netwright("diagnose", "iris", *SLOW, "--prove", "--seeds", 6, "--out", out, "--json", "--quiet")
    assert code == 0
    found = json.loads(printed)
    too_slow(found)
    proof = found["proof"]
    wanted = {"patch", "metric", "before", "after", "difference", "low", "high", "p_value", "verdict"}
    assert wanted <= set(proof)
    assert (proof["verdict"], len(proof["before"]), len(proof["after"])) == ("helped", 6, 6)
    assert proof["p_value"] == pytest.approx(2 / 2**6)  # all six seeds got better: the least an exact test can give
    assert proof["difference"] == pytest.approx(
        sum(b - a for a, b in zip(proof["before"], proof["after"], strict=True)) / 6
    )
    assert proof["low"] <= proof["difference"] <= proof["high"]
    best = nw.open(proof["run"])
    assert best.path == out
    for key, value in proof["patch"].items():
        table, name = key.split(".")
        assert best.recipe.table(table)[name] == value
    assert Path(proof["recipe"]).is_file()


def test_prove_in_python_gives_back_the_run_that_is_better_or_the_same_one(trained, tmp_path):
    best = nw.prove(trained, seeds=6, out=tmp_path / "best", quiet=True)
    assert best.path == tmp_path / "best"
    assert best.proof is not None
    assert best.proof["verdict"] == "helped"
    recipe = nw.Recipe().override(FINE)
    healthy = nw.train("wine", recipe=recipe, out=tmp_path / "fine", quiet=True)
    same = nw.prove(healthy, seeds=6, out=tmp_path / "other", quiet=True)
    assert (same.path, same.proof) == (healthy.path, None)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["iris", "--prove", "--seeds", "5"], 2, "6 seeds or more"),
        (["iris", "--fail-on", "C66"], 2, "C66"),
        (["iris", "--budget", "soon"], 2, "soon"),
        (["no-such-data"], 3, "no-such-data"),
        (["iris", "network=mlpp"], 2, "mlp"),
        (["no-such.toml"], 3, "no-such.toml"),
    ],
    ids=["seeds", "fault", "budget", "data", "network", "recipe"],
)
def test_a_mistake_is_said_in_a_few_lines(netwright, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    found, printed, told = netwright("diagnose", *words, "--quiet")
    assert (found, printed) == (code, "")
    assert said in told
    assert len(told.strip().splitlines()) <= 3


def test_it_speaks_chinese(netwright, tmp_path):
    page = tmp_path / "page.html"
    code, printed, _ = netwright("diagnose", "iris", *SLOW, "--quiet", "--lang", "zh", "--page", page)
    assert code == 0
    assert "verdict" not in printed
    text = page.read_text(encoding="utf-8")
    for found in (printed, text):
        assert re.search("[\u4e00-\u9fff]{2}", found)
        assert "learning rate too low" not in found
