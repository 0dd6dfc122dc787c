"""The loop and its two seams: an objective of the network's own, and an update of its own."""

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.randomness import normal, permutation, uniform
from netwright.training.loop import NonFinite
from netwright.training.objective import Terms


def blobs(count: int = 200, gap: float = 3.0):
    x = normal(np.arange(count), 2, 0, "blobs")
    y = np.arange(count) % 2
    x[y == 1] += gap
    return nw.read(x.astype(np.float32), y.astype(np.int64), task="classify")


def test_steps_yield_once_a_batch_and_mark_the_end_of_each_epoch():
    data = blobs(150)  # 108 to train on: one full batch; batch_size=50 gives 50, 50, 8
    data.settings["batch_size"] = 50
    found = [(s.number, s.epoch, s.examples, s.epoch_done) for s in nw.steps(data, "mlp", epochs=2)]
    assert found == [
        (1, 0, 50, False), (2, 0, 50, False), (3, 0, 8, True), (4, 1, 50, False), (5, 1, 50, False), (6, 1, 8, True),
    ]  # fmt: skip


def test_every_example_is_seen_once_an_epoch_in_an_order_that_only_seed_and_epoch_decide():
    from netwright.data.batches import Batches

    data = blobs(151)
    epochs = {}
    for size in (16, 50):
        batches = Batches(data, size=size, seed=3, device=torch.device("cpu"))
        epochs[size] = np.concatenate([batch.examples for batch in batches.epoch(4)])
        assert sorted(epochs[size]) == sorted(data.splits["train"])
    assert (epochs[16] == epochs[50]).all()
    other = np.concatenate([b.examples for b in Batches(data, size=16, seed=3, device=torch.device("cpu")).epoch(5)])
    assert (other != epochs[16]).any()


def test_a_leftover_of_one_example_joins_the_batch_before():
    from netwright.data.batches import Batches

    data = blobs(150)
    data.splits["train"] = data.splits["train"][:33]
    batches = Batches(data, size=16, seed=0, device=torch.device("cpu"))
    assert [len(batch) for batch in batches.epoch(0)] == [16, 17]
    assert batches.per_epoch == 2


def test_one_step_equals_the_update_by_hand():
    data = blobs()
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, -0.2], [0.3, 0.4]]))
        model.bias.zero_()
    x, y = data.input_tensor("train").double(), data.target_tensor("train")
    w = model.weight.detach().double().clone()
    p = (x @ w.T).softmax(1) - torch.nn.functional.one_hot(y, 2)
    expected = w - 0.5 * p.T @ x / len(x)
    next(iter(nw.steps(data, model, optimizer={"name": "sgd", "lr": 0.5}, epochs=1)))
    torch.testing.assert_close(model.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_perceptron_rule_as_update_separates_and_respects_the_novikoff_bound():
    data = blobs(gap=8.0)
    model = nw.network("perceptron", data)
    x = torch.cat([data.input_tensor("train"), torch.ones(len(data.splits["train"]), 1)], 1)
    t = data.target_tensor("train") * 2 - 1
    data.settings["batch_size"] = 1
    mistakes, before = 0, torch.cat([p.detach().flatten() for p in model.parameters()])
    for _ in nw.steps(data, model, epochs=20, optimizer={"name": "sgd", "lr": 1.0}):
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        mistakes += int(not torch.equal(before, after))
        before = after
    with torch.no_grad():
        scores = model(data.input_tensor("train")).flatten()
    assert ((scores > 0) == (t > 0)).all()
    from sklearn.svm import LinearSVC

    best = LinearSVC(C=1e6, dual=False, fit_intercept=False, max_iter=100_000).fit(x.numpy(), t.numpy())
    direction = best.coef_[0] / np.linalg.norm(best.coef_)
    margin = (x.numpy() @ direction * t.numpy()).min()
    radius = np.linalg.norm(x.numpy(), axis=1).max()
    assert 0 < mistakes <= (radius / margin) ** 2


class TwoOptimizers(nn.Module):
    """A toy with two players: `up` is trained on even steps, `down` on odd ones, each by its own optimizer."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(2, 2), nn.Linear(2, 2)

    def optimizers(self):
        return {
            "up": torch.optim.SGD(self.up.parameters(), lr=0.1, momentum=0.9),
            "down": torch.optim.Adam(self.down.parameters(), lr=0.01),
        }

    def forward(self, x):
        return self.up(x) + self.down(x)

    def update(self, state, batch):
        losses = nn.functional.cross_entropy(self(batch.inputs), batch.targets, reduction="none")
        optimizer = state.optimizers["up" if state.step % 2 == 0 else "down"]
        for found in state.optimizers.values():
            found.zero_grad()
        losses.mean().backward()
        optimizer.step()
        return Terms(losses.detach())


def test_an_update_of_its_own_with_two_optimizers(tmp_path):
    data = blobs()
    torch.manual_seed(0)
    model = TwoOptimizers()
    before = [p.detach().clone() for p in model.parameters()]
    steps = nw.steps(data, model, epochs=2)
    next(steps)
    up, down = list(model.up.parameters()), list(model.down.parameters())
    assert not torch.equal(up[0], before[0])
    assert torch.equal(down[0], before[2])
    next(steps)
    assert not torch.equal(down[0], before[2])
    run = nw.train(data, TwoOptimizers(), epochs=200, out=tmp_path / "toy", quiet=True)
    assert run.test["accuracy"] >= 0.9
    saved = (tmp_path / "toy/checkpoints/200/state.safetensors").read_bytes()
    assert b"optimizer.up.0.momentum_buffer" in saved
    assert b"optimizer.down.0.exp_avg" in saved


def test_a_network_may_bring_its_own_objective():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)

        def forward(self, x):
            return self.net(x)

        def objective(self, model, batch, draw):
            noise = torch.rand(1, generator=draw.generator("noise")).item()
            losses = nn.functional.cross_entropy(self(batch.inputs), batch.targets, reduction="none")
            return Terms(losses + noise, parts={"noise": torch.tensor(noise)})

    found = [
        [(s.terms.loss.item(), s.terms.parts["noise"].item()) for s in nw.steps(blobs(), _seeded(Own), epochs=3)]
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len({noise for _, noise in found[0]}) == 3


def _seeded(build):
    torch.manual_seed(1)
    return build()


def test_the_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    nw.train(blobs(), {"name": "mlp", "dropout": 0.5}, epochs=2, out=tmp_path / "run", quiet=True)
    assert (torch.rand(1).item(), np.random.rand()) == expected  # noqa: NPY002


def test_non_finite_loss_is_found_at_its_step_and_names_the_examples():
    data = blobs()
    x = data.source.examples.tensor
    position = int(data.splits["train"][7])
    x[position] = float("inf")
    data.settings["batch_size"] = 20
    with pytest.raises(NonFinite) as caught:
        for _ in nw.steps(data, "mlp", epochs=1):
            pass
    order = data.splits["train"][permutation(len(data.splits["train"]), 0, "order", 0)]
    expected_step = int(np.flatnonzero(order == position)[0]) // 20 + 1
    assert caught.value.step == expected_step
    assert caught.value.examples.tolist() == [position]


def test_gradients_are_clipped_to_the_norm_and_left_alone_below_it():
    data = blobs()
    norms = []

    def gradient(clip):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        next(nw.steps(data, model, epochs=1, clip_norm=clip, optimizer={"name": "sgd", "lr": 1e-9}))
        found = torch.cat([p.grad.flatten() for p in model.parameters()])
        norms.append(found.norm().item())
        return found

    free, clipped, loose = gradient(0.0), gradient(0.01), gradient(1e6)
    assert norms[0] > 0.01
    assert abs(norms[1] - 0.01) < 1e-6
    torch.testing.assert_close(clipped / 0.01, free / free.norm(), rtol=1e-4, atol=1e-5)
    assert torch.equal(free, loose)


def test_class_weights_weigh_the_loss_as_torch_does():
    data = blobs()
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(
            model(data.input_tensor("train")), data.target_tensor("train"), weight=torch.tensor([1.0, 3.0])
        ).item()
    step = next(nw.steps(data, model, epochs=1, class_weights=[1.0, 3.0]))
    assert step.terms.loss.item() == pytest.approx(expected, rel=1e-5)


def test_uniform_and_normal_numbers_are_pure_and_well_spread():
    examples = np.arange(20_000)
    u = uniform(examples, 3, 1, 2, "x")
    assert (u[[17, 4]] == uniform(np.array([17, 4]), 3, 1, 2, "x")).all()
    assert abs(u.mean() - 0.5) < 0.005
    assert abs(u.var() - 1 / 12) < 0.002
    z = normal(examples, 3, 1, 2, "x")
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 0.03
    assert (u != uniform(examples, 3, 1, 3, "x")).mean() > 0.99
