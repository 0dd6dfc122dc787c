"""Layers that begin from data: which examples they see, that it repeats, travels with the weights and resumes."""

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.networks.whitening import Whitening, patch_statistics
from netwright.training import keeper, preparing
from netwright.training.preparing import prepare, reaching, sample

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 3, 150)
X = RNG.integers(0, 200, (150, 3, 10, 10), dtype=np.uint8)
X[np.arange(150), Y, 2:8, 2:8] = 250
TABLE = {"name": "cifar_fast", "width": 0.05}


@pytest.fixture(scope="module")
def data():
    return nw.read(X, Y, batch_size=16, augment="flip alternate=true, crop pad=1", test_views="flip")


def test_the_first_layer_sees_the_training_split_alone(data, tmp_path, capsys):
    run = nw.train(data, TABLE, epochs=1, out=tmp_path / "run", optimizer={"name": "sgd", "lr": 0.0})
    assert f"layer whiten begins from {len(data.splits['train'])} training examples" in capsys.readouterr().err
    layer = run.predictor().forward.model.whiten
    covariance = patch_statistics(data.input_tensor("train"), 2, 2)[1]
    values, vectors = np.linalg.eigh(covariance.numpy())
    expected = (vectors / np.sqrt(values + 5e-4)).T[::-1]
    np.testing.assert_allclose(
        layer.weight.detach()[:12].flatten(1).abs().numpy(), np.abs(expected), rtol=1e-3, atol=1e-4
    )
    assert int(layer.examples) == len(data.splits["train"])


def test_the_sample_is_a_pure_function_of_the_seed(data, monkeypatch):
    monkeypatch.setattr(preparing, "SAMPLE", 20)
    first = sample(data, 4)
    assert first.shape == (20, 3, 10, 10)
    assert torch.equal(sample(data, 4), first)
    assert not torch.equal(sample(data, 5), first)
    rows = {row.numpy().tobytes() for row in data.input_tensor("train")}
    assert all(row.numpy().tobytes() in rows for row in first)
    monkeypatch.setattr(preparing, "NUMBERS", 1000)
    assert len(sample(data, 4)) == 3
    monkeypatch.setattr(preparing, "NUMBERS", 1)
    assert len(sample(data, 4)) == 1


def test_inner_layers_see_what_reaches_them_and_modes_stay(data):
    layers = "whiten 2, gelu, batchnorm, dropout 0.5, avgpool 2, whiten 2 eps=0, globalpool, linear out"
    net = nw.network("stack", data, layers=layers)
    net.batchnorm1.eval()
    before = [module.training for module in net.modules()]
    seen = prepare(net, data, 0)
    assert list(seen) == ["whiten1", "whiten2"]
    assert [module.training for module in net.modules()] == before
    assert int(net.batchnorm1.num_batches_tracked) == 0
    x = data.encode(np.sort(data.splits["train"]))
    with torch.no_grad():
        maps = net.eval()[:6](x)
    half = maps.shape[1] // 2
    rows = maps[:, :half].double().movedim(1, 3).reshape(-1, half)
    kept = rows.T.cov(correction=0).diag()
    assert float((kept - 1).abs().min()) < 1e-2
    assert prepare(net, data, 0) == {}


def test_what_does_not_run_and_what_has_no_weights_is_left_alone(data):
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.out = Whitening(3, (2, 2)), nn.Linear(300, 3)

        def forward(self, x):
            return self.out(x.flatten(1))

    net = Unused()
    assert reaching(net, net.spare, sample(data, 0)) is None
    assert prepare(net, data, 0) == {}
    assert prepare(nn.Linear(3, 3), data, 0) == {}
    with torch.device("meta"):
        assert prepare(nw.network("cifar_fast", inputs=(3, 10, 10), outputs=3), data, 0) == {}


def test_weights_that_have_seen_data_keep_it(data, tmp_path):
    net = nw.network("cifar_fast", data, width=0.05)
    nw.train(data, net, epochs=1, out=tmp_path / "first", quiet=True)
    kernels = net.whiten.weight.detach().clone()
    other = nw.read(255 - X[:, ::-1].copy(), Y, batch_size=16)
    run = nw.train(other, net, epochs=1, out=tmp_path / "second", quiet=True)
    assert torch.equal(run.predictor().forward.model.whiten.weight, kernels)
    weights = str(tmp_path / "first" / "best.safetensors")
    third = nw.train(other, {**TABLE, "weights": weights}, epochs=1, out=tmp_path / "third", quiet=True)
    assert torch.equal(third.predictor().forward.model.whiten.weight, kernels)


def test_members_folds_and_own_loops_begin_from_data_too(data, tmp_path):
    run = nw.train(data, TABLE, epochs=1, members=2, out=tmp_path / "bag", quiet=True)
    members = run.predictor().forward.model.members
    assert torch.equal(members[0].whiten.weight, members[1].whiten.weight)
    assert all(member.whiten.ready for member in members)
    net = nw.network(TABLE["name"], data, width=0.05)
    next(nw.steps(data, net))
    assert torch.equal(net.whiten.weight, members[0].whiten.weight)
    folded = nw.train(data, TABLE, epochs=1, folds=2, out=tmp_path / "folds", quiet=True)
    assert folded.predictor().forward.model.whiten.ready


def test_a_killed_run_resumes_to_the_same_bits(data, tmp_path, monkeypatch):
    chosen = {"epochs": 4, "save_steps": 3, "quiet": True, "optimizer": "normed_muon", "schedule": "linear"}
    whole = nw.train(data, TABLE, out=tmp_path / "whole", **chosen)
    real = keeper.Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number == 11:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "after_step", dying)
        with pytest.raises(InterruptedError):
            nw.train(data, TABLE, out=tmp_path / "killed", **chosen)
    monkeypatch.setattr(preparing, "sample", lambda *given: pytest.fail("a resumed run works nothing out again"))
    nw.resume(tmp_path / "killed", data=data, quiet=True)
    weights = [nw.open(tmp_path / name).predictor().forward.model.state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert nw.open(tmp_path / "killed").test == whole.test
