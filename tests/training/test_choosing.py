"""How steps are taken is chosen by measuring, kept for the machine, written into the recipe and imposed again."""

import json
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

import netwright as nw
from netwright.cards import card_of
from netwright.recipe import Recipe
from netwright.rundir import open_sealed, sealed_json
from netwright.training import choosing
from netwright.training.choosing import choose, ways
from netwright.training.job import Job
from netwright.training.launch import launch, usable_threads
from netwright.training.plan import build, resolve
from netwright.training.progress import Progress
from netwright.training.racing import Runner, Way, race, winner


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choosing, "SHORTEST", 0.0)
    return tmp_path / "cache" / "choices"


def job_of(network="convnet", **training) -> Job:
    data = nw.read("digits")
    recipe = Recipe().updated({"network": {"name": network}, "training": training}, "test")
    recipe = resolve(recipe, data)
    model = build(recipe, data.inputs, data.outputs)
    return Job(data, recipe, model, launch(recipe.table("training")), Progress(quiet=True))


def test_a_choice_is_measured_once_kept_and_taken_again(cache, monkeypatch):
    job = job_of()
    first = choose(job, 10**6)
    assert first is not None
    assert len(list(cache.glob("*.json"))) == 1
    assert first.times[0]["milliseconds"] > 0
    assert first.times[0]["turns"] >= 1
    monkeypatch.setattr(choosing, "_measure", lambda *_: pytest.fail("it was measured again"))
    assert choose(job_of(), 10**6) == first


def test_measuring_leaves_network_random_numbers_and_threads_alone(cache):
    job = job_of(network="mlp")
    weights = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert choose(job, 10**6) is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(tensor, weights[name]) for name, tensor in job.model.state_dict().items())
    assert all(parameter.grad is None for parameter in job.model.parameters())


def test_the_runs_recipe_holds_the_choice_and_repeats_to_the_bit(cache, tmp_path):
    run = nw.train("digits", "convnet", epochs=2, out=tmp_path / "a", quiet=True)
    text = (run.folder.path / "recipe.toml").read_text()
    settled = Recipe.read(run.folder.path / "recipe.toml").table("training")
    assert "ms a step" in text
    assert all(settled[name] != "auto" for name in choosing.ASKED)
    facts = run.folder.read("run.json")
    assert facts["choice"]["times"]
    assert facts["choice"]["threads"] == settled["threads"]
    for file in cache.glob("*.json"):
        file.unlink()
    again = nw.train(recipe=Recipe.read(run.folder.path / "recipe.toml"), out=tmp_path / "b", quiet=True)
    assert again.folder.read("run.json")["choice"] is None
    assert not list(cache.glob("*.json"))
    one, two = (folder.folder.verified()["best.safetensors"] for folder in (run, again))
    assert _tensors(one) == _tensors(two)


def _tensors(data: bytes) -> bytes:
    return data[8 + int.from_bytes(data[:8], "little") :]  # behind the header, which names the run


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"choice": {}}', b'{"choice": 3}', b"\xff\xfe"])
def test_a_damaged_choice_is_measured_anew(cache, content):
    choose(job_of(), 10**6)
    (file,) = cache.glob("*.json")
    file.write_bytes(content)
    assert choose(job_of(), 10**6) is not None
    assert json.loads(file.read_text())["choice"]["times"]


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 10**6), ("precision", "int8"), ("layout", "rows"), ("times", [])]
)
def test_an_impossible_choice_is_measured_anew(cache, name, value):
    job = job_of()
    choose(job, 10**6)
    (file,) = cache.glob("*.json")
    found = open_sealed(file.read_bytes())
    assert choosing._kept(file, job) is not None
    found["choice"][name] = value
    file.write_bytes(sealed_json(found))
    assert choosing._kept(file, job) is None


def test_where_nothing_can_be_kept_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "SHORTEST", 0.0)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path / "file"))
    assert choose(job_of(), 10**6) is None


def test_a_short_training_keeps_the_rule(cache, monkeypatch):
    monkeypatch.setattr(choosing, "SHORTEST", 1e19)
    assert choose(job_of(), 10**6) is None
    assert not list(cache.glob("*.json"))


def test_what_was_asked_for_is_no_question(cache):
    settled = {"precision": "float32", "layout": "contiguous", "threads": 1, "allocator": "default", "compile": False}
    assert choose(job_of(**settled), 10**6) is None
    assert {way.layout for way in ways(job_of(layout="contiguous"), False)} == {"contiguous"}
    assert {way.threads for way in ways(job_of(threads=3), False)} == {3}
    assert {way.precision for way in ways(job_of(precision="bfloat16"), False)} == {"bfloat16"}


def test_the_ways_that_are_open(monkeypatch):
    monkeypatch.setattr(choosing, "usable_threads", lambda: 4)
    monkeypatch.setattr(choosing, "bfloat16_units", lambda: True)
    job = job_of()
    job = replace(job, launch=replace(job.launch, threads=4))
    found = ways(job, True)
    assert found[0] == Way("float32", "channels_last", 4, False)
    assert len(found) == len(set(found)) == 2 * 2 * 2
    assert not any(way.compile for way in found)
    monkeypatch.setattr(choosing, "bfloat16_units", lambda: False)
    assert {way.precision for way in ways(job, True)} == {"float32"}  # a CPU without the units
    assert {way.layout for way in ways(job_of("mlp"), True)} == {"contiguous"}


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert usable_threads() == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    monkeypatch.setenv("OMP_NUM_THREADS", "words")
    assert usable_threads() >= 1


def test_a_race_drops_the_slow_and_keeps_the_first():
    times, asked = {"first": 2.0, "quick": 1.0, "slow": 9.0}, []

    def turn(option):
        asked.append(option)
        return times[option]

    found = race(["first", "quick", "slow"], turn, 60, most=6)
    assert [len(found[name]) for name in times] == [6, 6, 3]
    assert asked[:3] == ["first", "quick", "slow"]  # one after the other
    assert winner(found, "first", 1.03) == "quick"


def test_a_race_ends_in_time_and_a_narrow_win_is_none():
    found = race(["first", "second"], {"first": 1.02, "second": 1.0}.get, 0.0)
    assert found == {"first": [1.02]}  # the second's turn did not come
    found = {"first": [1.02], "second": [1.0]}
    assert winner(found, "first", 1.03) == "first"


def test_bfloat16_needs_proof_for_the_network(monkeypatch):
    times = {"float32": [2.0], "bfloat16": [1.0]}
    first = Way("float32", "channels_last", 1, False)
    found = {first._replace(precision=name): taken for name, taken in times.items()}
    for network, best, named in (("convnet", "bfloat16", None), ("mlp", "float32", 2.0)):
        job = job_of(network)
        way, tested = choosing._allowed(job, found, first, (True, {}))
        assert (way.precision, tested.get("named")) == (best, named)
        assert choosing._allowed(job, found, first, (False, {}))[0].precision == "float32"  # too far from it


def test_what_was_shown_for_classes_holds_for_classes():
    assert choosing.proven(job_of("convnet"))
    data = nw.read("diabetes")
    recipe = resolve(Recipe().updated({"network": {"name": "mlp"}}, "test"), data)
    job = Job(data, recipe, nn.Linear(10, 1), launch(recipe.table("training")), Progress(quiet=True))
    job.recipe = recipe.set("network.name", "convnet")
    assert not choosing.proven(job)


class Steep(nn.Module):
    """Differences of large numbers, which bfloat16 cannot tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 256), nn.Linear(256, 10)

    def forward(self, x):
        wide = self.first(x.flatten(1)) + 1000
        return self.second(wide - self.first.bias.sum() - 1000 if wide.dtype == torch.float32 else wide - 1000)


def test_bfloat16_has_to_be_faithful():
    way = Way("bfloat16", "channels_last", 1, False)
    good, numbers = Runner.of(job_of(), way).faithful(way)
    assert good
    assert 0 < numbers["loss"] < 0.01
    assert numbers["cosine"] > 0.99
    job = job_of("mlp")
    torch.manual_seed(0)
    good, numbers = Runner.of(replace(job, model=Steep()), way).faithful(way)
    assert not good


def test_a_card_says_what_is_proven():
    assert "99.21" in card_of("network", "convnet")["facts"]["bfloat16"]
