"""The whole path in seconds, in one process: look, train, die, resume, evaluate, predict, report, compare."""

import json

import numpy as np
import pytest

import netwright as nw
from netwright.errors import RunError
from netwright.training import keeper


class Died(Exception):
    """The process is gone, with all that was only in memory."""


def write_table(path):
    """A hundred generated fruit: two numbers, a word, and a kind that follows from them."""
    rng = np.random.default_rng(0)
    weight, length = rng.normal(150, 40, 120), rng.normal(10, 3, 120)
    kind = np.where(length > 0.07 * weight, "banana", "apple")
    colour = np.where(rng.random(120) < 0.9, np.where(kind == "apple", "red", "yellow"), "green")
    rows = [f"{w:.1f},{h:.1f},{c},{k}" for w, h, c, k in zip(weight, length, colour, kind, strict=True)]
    path.write_text("\n".join(["weight,length,colour,kind", *rows]))


def rows_of(run):
    times = ("seconds", "examples_per_second")
    return [{key: value for key, value in row.items() if key not in times} for row in run.folder.rows()]


def test_the_whole_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "fruit.csv")

    data = nw.read("fruit.csv", target="kind", batch_size=16)
    assert (data.kind, data.task, data.classes) == ("table", "classify", ["apple", "banana"])
    assert data.examples == {"train": 86, "validation": 10, "test": 24}
    assert data.inputs == {"kind": "vector", "features": 2 + 3}  # two numbers; green, red, yellow

    settings = {"epochs": 8, "save_steps": 5, "seed": 1}
    whole = nw.train(data, "mlp", out="whole", quiet=True, **settings)
    assert whole.test["accuracy"] > 0.7
    assert whole.findings == []

    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number == 23:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train(data, "mlp", out="killed", **settings)
    assert json.loads((tmp_path / "killed/run.json").read_text())["state"] == "running"
    with pytest.raises(RunError, match=r"report\.json cannot be read"):
        _ = nw.open("killed").test
    capsys.readouterr()

    run = nw.resume("killed")
    assert "from step 20" in capsys.readouterr().err
    assert rows_of(run) == rows_of(whole)
    assert run.test == whole.test
    for name in ("best.safetensors", "predictions.safetensors"):
        first, second = ((tmp_path / place / name).read_bytes() for place in ("whole", "killed"))
        start = [8 + int.from_bytes(found[:8], "little") for found in (first, second)]
        assert first[start[0] :] == second[start[1] :]

    found = nw.open("killed").evaluate()
    assert found["metrics"] == whole.metrics
    assert sum(map(sum, found["confusion"])) == found["examples"] == 24

    [apple, banana] = run.predict([{"weight": 200, "length": 4, "colour": "red"}, [90, 15, "yellow"]])
    assert (apple["prediction"], banana["prediction"]) == ("apple", "banana")
    assert len(run.predict("fruit.csv")) == 120

    page = run.write_report().read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "banana" in page
    assert "http://" not in page.replace("http://www.w3.org", "")

    assert nw.compare(run, whole)["verdict"] == "no difference"
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "recipe.toml", "run.json", "data.json", "anatomy.json", "metrics.jsonl", "findings.json", "report.json",
        "report.html", "best.safetensors", "best.json", "checkpoints",
    }  # fmt: skip
    steps = sorted(int(path.name) for path in (run.path / "checkpoints").iterdir())
    assert len(steps) == 2
    assert steps[-1] == run.steps


def test_a_run_killed_before_its_first_records_starts_again(tmp_path, monkeypatch):
    """All that is left is the recipe: the run begins anew, to the same bits."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "fruit.csv")
    from netwright.recipe import Recipe

    recipe = Recipe().override(["data.path=fruit.csv", "data.target=kind", "epochs=2"])
    whole = nw.train(recipe=recipe, out="whole", quiet=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/recipe.toml").write_bytes((tmp_path / "whole/recipe.toml").read_bytes())
    run = nw.resume("cut", quiet=True)
    assert run.test == whole.test
    assert rows_of(run) == rows_of(whole)
    assert json.loads((tmp_path / "cut/run.json").read_text())["state"] == "finished"
