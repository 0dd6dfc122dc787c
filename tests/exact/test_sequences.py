"""Trainings on sequences: stopped in the middle of an epoch, or read in another way, they end with the same bits."""

import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from exactness import same
from sequence_works import WORKS, recipe_of, write_data

import netwright as nw
from netwright.data.batches import Batches
from netwright.training import keeper
from netwright.training.signals import Interrupted

FAST = [pytest.param(work, marks=pytest.mark.slow) if work == "letters" else work for work in WORKS]
"""All but one, which differs from the next by its cell and its truncated gradients."""
SERVER = Path(__file__).parents[1] / "support" / "sequence_works.py"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """The folder with the data, which recipes name from here."""
    patch, place = pytest.MonkeyPatch(), write_data(tmp_path_factory.mktemp("works"))
    patch.chdir(place)
    yield place
    patch.undo()


def train(work, path, **training):
    return nw.train(recipe=recipe_of(work, **training), out=path, quiet=True)


@pytest.fixture(scope="module")
def whole(home):
    """The run of each work that nobody stopped, trained when it is first asked for."""
    known = {}

    def of(work):
        if work not in known:
            known[work] = train(work, home / f"whole {work}")
        return known[work]

    return of


class Died(Exception):
    pass


def stopping(monkeypatch, at, how):
    """Every training that reaches step `at` ends there, once; the steps that were taken and where in their epoch."""
    real, seen = keeper.Keeper.after_step, []

    def after_step(self, step):
        real(self, step)
        seen.append((step.number, self.state.seen))
        if step.number == at and sum(number == at for number, _ in seen) == 1:
            how()

    monkeypatch.setattr(keeper.Keeper, "after_step", after_step)
    return seen


def dies():
    raise Died


def gets_a_signal():
    os.kill(os.getpid(), signal.SIGTERM)


def middle(work, run):
    """A step in the second half of the second epoch, behind which nothing was saved yet."""
    per_epoch = run.steps // 2
    step = per_epoch + per_epoch // 2 + 1
    return step + (step % WORKS[work]["training"]["save_steps"] == 0)


@pytest.mark.parametrize("work", FAST)
def test_a_run_that_died_in_the_middle_of_an_epoch_goes_on_to_the_same_bits(work, whole, tmp_path, monkeypatch):
    """Weights, rows, report, predictions; it goes on from the last save and not from the epoch's beginning."""
    at = middle(work, whole(work))
    seen = stopping(monkeypatch, at, dies)
    with pytest.raises(Died):
        train(work, tmp_path / "run")
    before = len(seen)
    nw.resume(tmp_path / "run", quiet=True)
    first, within = seen[before]
    assert at - WORKS[work]["training"]["save_steps"] < first <= at
    assert within > WORKS[work]["batch"] + 1, "it began an epoch anew"
    assert same(tmp_path / "run", whole(work).path) == ""


@pytest.mark.parametrize("work", ["text", "pairs", "speech"])
def test_a_run_that_got_a_signal_goes_on_to_the_same_bits(work, whole, tmp_path, monkeypatch):
    at = middle(work, whole(work))
    seen = stopping(monkeypatch, at, gets_a_signal)
    with pytest.raises(Interrupted):
        train(work, tmp_path / "run")
    assert seen[-1][0] == at
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    nw.resume(tmp_path / "run", quiet=True)
    assert [number for number, _ in seen] == list(range(1, whole(work).steps + 1))
    assert same(tmp_path / "run", whole(work).path) == ""


@pytest.mark.parametrize("work", FAST)
def test_workers_prefetch_and_saves_change_no_bit(work, whole, tmp_path):
    recipe = recipe_of(work, prefetch=True, save_steps=1).set("data.workers", 2)
    run = nw.train(recipe=recipe, out=tmp_path / "run", quiet=True)
    assert same(run.path, whole(work).path) == ""


@pytest.mark.parametrize(
    "work", [work if work in ("tags", "pairs") else pytest.param(work, marks=pytest.mark.slow) for work in WORKS]
)
def test_a_repetition_is_identical(work, whole):
    found = nw.rerun(whole(work).path, quiet=True)
    assert found.identical, found.first_difference


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_other_threads_change_the_loss_by_rounding_alone(work, whole, tmp_path):
    other = train(work, tmp_path / "run", threads=2)
    assert other.test["loss"] == pytest.approx(whole(work).test["loss"], rel=1e-3)


@pytest.mark.parametrize("work", WORKS)
def test_the_middle_of_an_epoch_sees_the_remaining_batches_only(work):
    """By the documented order: batch k of an epoch is the same whether the epoch began or a resume did."""
    recipe = recipe_of(work)
    table = recipe.table("data")
    data = nw.read(table.pop("path"), **table)
    batches = Batches(data, size=table["batch_size"], seed=0, device="cpu")
    for epoch in (0, 1):
        taken = [batch.examples.tolist() for batch in batches.epoch(epoch)]
        assert len(taken) == batches.per_epoch
        assert sorted(chain.from_iterable(taken)) == data.splits["train"].tolist()
        start = 0
        for number, examples in enumerate(taken):
            assert [batch.examples.tolist() for batch in batches.epoch(epoch, start)] == taken[number:]
            start += len(examples)


def kills(folder, *words):
    found = subprocess.run(
        [sys.executable, str(SERVER), *words], capture_output=True, text=True, timeout=3000, cwd=folder, check=False
    )
    told = [json.loads(line) for line in found.stdout.splitlines()]
    assert told, found.stderr[-3000:]
    assert [one["failures"] for one in told] == [[]] * len(told), found.stderr[-3000:]
    return told


@pytest.mark.slow
def test_one_kill_each_of_pairs_and_speech(tmp_path):
    assert kills(tmp_path, "--count", "2", "--works", "pairs,speech")[0]["kills"] == 2


@pytest.mark.slow
def test_random_kills_change_no_bit_and_each_example_comes_once_an_epoch(tmp_path):
    """Forty kills over all works, then each work killed five times in one run, each resume with other workers."""
    again = ["--then", "--count", str(len(WORKS)), "--repeated", "5", "--workers", "0,1,2"]
    once, repeated = kills(tmp_path, "--count", "40", *again)
    assert once["kills"] == 40
    assert once["kinds"]["save"] >= 10
    assert repeated["kills"] >= 3 * len(WORKS)
