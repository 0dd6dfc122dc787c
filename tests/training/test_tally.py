"""Losses that wait on a device give the records that losses read at once give; a bad step is named all the same."""

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.recipe import Recipe
from netwright.training import loop
from netwright.training.job import Job, new_batches, new_state
from netwright.training.launch import launch
from netwright.training.loop import NonFinite, steps
from netwright.training.plan import build, resolve
from netwright.training.progress import Progress
from netwright.training.tally import Tally, Waiting


def examples():
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


X, Y = examples()
BROKEN = int(nw.read(X, Y, validation=0.0, test=0.1).splits["train"][17])


def started(broken=None, epochs=3, norm="none", **training):
    x, y = examples()
    if broken is not None:
        x[broken] = np.nan
    data = nw.read(x, y, batch_size=8, validation=0.0, test=0.1)
    tables = {"training": {"epochs": epochs, "clip_norm": 0.5, **training}, "network": {"name": "mlp", "norm": norm}}
    recipe = resolve(Recipe().updated(tables, "test"), data)
    job = Job(data, recipe, build(recipe, data.inputs, data.outputs), launch(recipe.table("training")), Progress(True))
    state, batches = new_state(job), new_batches(job)
    state.total_steps = batches.per_epoch * epochs
    return state, batches


def trained(state, batches, epochs=3):
    means = [state.tally.mean("epoch") for step in steps(state, batches, epochs) if step.epoch_done]
    return means, state.gradient_norm


def test_waiting_losses_give_the_same_means_and_weights(monkeypatch):
    monkeypatch.setattr(loop, "MOST_WAITING", 3)
    at_once, ahead = started(), started()
    ahead[0].works_ahead = True
    (means, norm), (later, waited) = trained(*at_once), trained(*ahead)
    assert later == pytest.approx(means, rel=1e-6)
    assert waited == pytest.approx(norm, rel=1e-6)
    for one, two in zip(at_once[0].parameters, ahead[0].parameters, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-7)  # the factor of a clip is float32 there


def test_a_bad_step_is_named_alike_where_losses_wait():
    named = []
    for ahead in (False, True):
        state, batches = started(broken=BROKEN)
        state.works_ahead = ahead
        with pytest.raises(NonFinite) as error:
            trained(state, batches)
        named.append((error.value.where, error.value.step, error.value.epoch))
        assert BROKEN in error.value.examples
    assert named[0] == named[1]


def test_a_bad_gradient_is_found_where_norms_wait():
    tally, one = Tally(), torch.ones(())
    tally.waiting = [Waiting(1, 1, np.arange(2), one, 2.0, one), Waiting(2, 1, np.arange(2), one, 2.0, one / 0)]
    waiting, where = tally.settle()
    assert (waiting.step, where) == (2, "gradient")
    assert tally.sums == [2.0, 2.0, 2.0, 2.0]
    assert tally.settle() is None


def test_skipped_steps_are_counted_and_leave_no_trace():
    state, batches = started(broken=BROKEN, non_finite="skip", norm="batchnorm")
    means, _ = trained(state, batches)
    assert (state.skipped, state.step) == (3, 3 * batches.per_epoch)
    assert np.isfinite(means).all()
    buffers = list(state.model.buffers())
    assert buffers
    assert all(bool(tensor.isfinite().all()) for tensor in [*state.parameters, *buffers])


def test_an_epoch_of_skipped_steps_ends_the_training():
    state, batches = started(broken=slice(None), non_finite="skip")
    with pytest.raises(NonFinite) as error:
        trained(state, batches)
    assert error.value.step == batches.per_epoch


def test_a_run_that_skips_says_how_often(tmp_path):
    x, y = examples()
    x[BROKEN] = np.inf
    data = nw.read(x, y, batch_size=16, validation=0.0, test=0.1)
    run = nw.train(data, non_finite="skip", epochs=4, log_steps=1, out=tmp_path / "r", quiet=True)
    rows = [row for row in run.folder.rows() if "skipped" in row]
    assert rows[-1]["skipped"] == 4
    assert run.folder.read("run.json")["state"] == "finished"
