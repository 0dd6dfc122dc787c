"""A number that is not finite at step k: found at step k, its examples named, the best weights untouched (R14)."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from exactness import last_checkpoint
from safetensors.torch import load
from torch import nn

import netwright as nw
from netwright.data.batches import Batches
from netwright.training.objective import Terms

EXAMPLES, BATCH = 60, 8
SETTINGS = {
    "threads": 1,
    "precision": "float32",
    "device": "cpu",
    "layout": "contiguous",
    "allocator": "default",
    "compile": False,
    "log_steps": 1,
    "save_steps": 3,
    "epochs": 4,
}


def data():
    chance = np.random.default_rng(0)
    y = np.arange(EXAMPLES) % 2
    return nw.read(chance.normal(size=(EXAMPLES, 3)) + y[:, None], targets=y, batch_size=BATCH)


class Spoilt(nn.Linear):
    """A linear layer in which something goes wrong at one training step."""

    def __init__(self, kind="", step=0, value=math.nan):
        super().__init__(3, 2)
        with torch.no_grad():
            self.weight.copy_(torch.arange(6.0).reshape(2, 3) / 10)
            self.bias.zero_()
        self.kind, self.at, self.value, self.step = kind, step, value, 0
        if kind == "gradient":
            self.weight.register_hook(self._spoil_gradient)

    def forward(self, inputs):
        if not (self.training and torch.is_grad_enabled()):
            outputs = super().forward(inputs)
            return outputs * self.value if self.kind == "metric" and self.step >= self.at else outputs
        self.step += len(inputs) > 2  # one example alone is what measuring the network takes
        if self.kind == "weights" and self.step == self.at:
            with torch.no_grad():
                self.weight[0, 0] = self.value
        return super().forward(inputs)

    def _spoil_gradient(self, gradient):
        return gradient * self.value if self.step == self.at else gradient


class SpoiltLoss(Spoilt):
    def objective(self, model, batch, draw):
        losses = nn.functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
        if self.step == self.at:
            losses = torch.cat([losses[:2], losses[2:3] * self.value, losses[3:]])
        return Terms(losses)


def spoil_data(monkeypatch, step, value):
    """Put `value` into the third example of the batch of one step."""
    real = Batches.epoch

    def spoilt(self, epoch, start=0, *more, **named):
        taken = epoch * self.per_epoch + start // BATCH
        for batch in real(self, epoch, start, *more, **named):
            taken += 1
            if taken == step:
                inputs = batch.inputs.clone()
                inputs[2, 1] = value
                batch = dataclasses.replace(batch, inputs=inputs)
            yield batch

    monkeypatch.setattr(Batches, "epoch", spoilt)


def consumed(dataset, step):
    """The examples of a step, by the documented order: a pure function of (seed, epoch)."""
    batches = Batches(dataset, size=BATCH, seed=0, device=torch.device("cpu"))
    epoch, place = divmod(step - 1, batches.per_epoch)
    return list(batches.epoch(epoch))[place].examples.tolist(), epoch, batches.per_epoch


@pytest.mark.parametrize("step", [1, 9])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["data", "loss", "gradient", "weights", "metric"])
def test_it_is_found_at_its_step_and_named_and_the_best_stays(tmp_path, monkeypatch, capsys, kind, value, step):
    dataset = data()
    examples, epoch, per_epoch = consumed(dataset, step)
    if kind == "data":
        spoil_data(monkeypatch, step, value)
    model = (SpoiltLoss if kind == "loss" else Spoilt)("" if kind == "data" else kind, step, value)
    run = nw.train(dataset, model, out=tmp_path / "run", **SETTINGS)
    told = json.loads((last_checkpoint(run.path) / "state.json").read_text())["non_finite"]
    ids = [dataset.source.ids[place] for place in examples]
    if kind == "metric":  # seen by the validation at the end of the epoch
        assert (told["where"], told["step"]) == ("validation loss", (epoch + 1) * per_epoch)
        assert told["examples"] == dataset.ids("validation")
    else:
        assert (told["where"], told["step"]) == ("gradient" if kind == "gradient" else "loss", step)
        wanted = ids[2:3] if kind in ("data", "loss") else ids
        # an infinite weight makes some losses infinite, and others 0
        assert told["examples"] == wanted or (kind == "weights" and 0 < len(told["examples"]) < len(wanted))
    assert told["epoch"] == epoch + 1
    assert f"is not finite at step {told['step']} (epoch {told['epoch']})" in capsys.readouterr().err
    assert run.stopped == "non-finite"
    assert any(told["examples"][0] in json.dumps(finding) for finding in run.findings)
    monkeypatch.undo()
    best = load((run.path / "best.safetensors").read_bytes())
    wanted = dict(Spoilt().state_dict())
    if epoch:
        whole = nw.train(data(), Spoilt(), out=tmp_path / "whole", quiet=True, **{**SETTINGS, "epochs": epoch})
        wanted = load((whole.path / "best.safetensors").read_bytes())
    assert best.keys() == wanted.keys()
    assert all(torch.equal(best[name], wanted[name]) for name in wanted)
    assert run.best_epoch == epoch
    for path in run.path.glob("*.json"):  # strict JSON: no NaN, no Infinity
        json.loads(path.read_text(), parse_constant=pytest.fail)
    nw.resume(run.path, network=Spoilt(), data=data(), quiet=True)  # finished: nothing to do


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_spoilt_by_the_last_update_are_never_the_best(tmp_path, value):
    """Nothing is held out, so that no validation sees them, and no later step does."""
    dataset = nw.read(np.random.default_rng(0).normal(size=(40, 3)), targets=np.arange(40) % 2, validation=0.0)

    class Late(Spoilt):
        def update(self, state, batch):
            loss = nn.functional.cross_entropy(self(batch.inputs), batch.targets, reduction="none")
            state.optimizer.zero_grad()
            loss.mean().backward()
            state.optimizer.step()
            if state.step == 2:
                with torch.no_grad():
                    self.weight[1, 1] = value
            return loss.detach()

    run = nw.train(dataset, Late(), out=tmp_path / "run", quiet=True, **{**SETTINGS, "epochs": 3})
    assert run.steps == 3
    stored = load((run.path / "best.safetensors").read_bytes())
    assert all(tensor.isfinite().all() for tensor in stored.values())
    assert run.stopped == "non-finite"
