"""One neuron and its kin: the learning rule step by step, Novikoff's bound, forms of softmax regression, the MLP."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from netwright.catalogue import LOSSES, NETWORKS, OPTIMIZERS
from netwright.errors import UsageError
from netwright.networks.perceptrons import decision

PLANE = {"kind": "vector", "features": 2}
TWO = {"kind": "class", "count": 2}
TEN = {"kind": "class", "count": 10}
MNIST = {"kind": "image", "channels": 1, "height": 28, "width": 28}
CIFAR = {"kind": "image", "channels": 3, "height": 32, "width": 32}


def count(net):
    return sum(p.numel() for p in net.parameters())


def taught(x, y, *, batch, epochs=100, rate=1.0, name="sgd"):
    """Train a perceptron; returns the network and how many mistakes it made."""
    net = NETWORKS["perceptron"](PLANE, TWO)
    state = SimpleNamespace(model=net, optimizers={"main": OPTIMIZERS[name](net.parameters(), lr=rate)}, step=0, seed=0)
    mistakes = 0
    for _ in range(epochs):
        for some in torch.arange(len(x)).split(batch):
            with torch.no_grad():
                before = net.out.weight.clone()
            one = SimpleNamespace(inputs=x[some], targets=y[some], examples=some.numpy(), weights=None)
            losses = net.update(state, one)
            assert losses.shape == (len(some),)
            if batch == 1:
                mistakes += int(not torch.equal(before, net.out.weight) or float(losses) > 0)
    return net, mistakes


CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("name", "truth", "learnt"), [("and", [0, 0, 0, 1], 4), ("or", [0, 1, 1, 1], 4), ("xor", [0, 1, 1, 0], 3)]
)
def test_and_or_are_learnt_and_xor_is_not(name, truth, learnt):
    net, _ = taught(CORNERS, torch.tensor(truth), batch=4)
    right = int((decision(net(CORNERS)) == torch.tensor(truth)).sum())
    assert right == learnt if name != "xor" else right <= learnt


def test_mistakes_stay_within_novikoffs_bound():
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, (200, 2))
    side = x @ np.array([0.6, 0.8]) + 0.1
    x, side = x[abs(side) > 0.15], side[abs(side) > 0.15]
    radius, margin = np.sqrt(1 + (x**2).sum(1)).max(), (abs(side) / np.sqrt(1 + 0.1**2)).min()
    _, mistakes = taught(torch.tensor(x).float(), torch.tensor(side > 0).long(), batch=1, epochs=20)
    assert 0 < mistakes <= (radius / margin) ** 2


def test_the_rule_by_hand():
    net, _ = taught(torch.tensor([[2.0, -1.0], [1.0, 1.0]]), torch.tensor([1, 0]), batch=2, epochs=1, rate=0.5)
    # first: score 0 is wrong, w = 0.5 (2,-1), b = 0.5; second: score 1 - 0.5 + 0.5 = 1 > 0 is wrong, minus 0.5 (1,1,1)
    assert net.out.weight.tolist() == [[0.5, -1.0]]
    assert net.out.bias.tolist() == [0.0]


def test_the_batch_size_changes_nothing():
    x, y = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    one, _ = taught(x, y, batch=1, epochs=3)
    many, _ = taught(x, y, batch=16, epochs=3)
    assert torch.equal(one.out.weight, many.out.weight)


def test_an_optimizer_that_the_rule_would_ignore_is_refused():
    with pytest.raises(UsageError, match="optimizer 'sgd'"):
        taught(CORNERS, torch.tensor([0, 0, 0, 1]), batch=4, name="adam")


@pytest.mark.parametrize("name", ["perceptron", "logistic"])
@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (TEN, "the data has 10"),
        ({"kind": "number", "count": 1}, "asks for numbers"),
        ({"kind": "class", "count": 2, "units": 2}, "the loss wants 2"),
    ],
)
def test_single_neurons_take_two_classes(name, outputs, words):
    with pytest.raises(UsageError, match=f"{words}.*'softmax'"):
        NETWORKS[name](PLANE, outputs)


def test_parameter_counts_of_the_notes():
    assert count(NETWORKS["logistic"](CIFAR, TWO)) == 3_073
    assert count(NETWORKS["softmax"](CIFAR, TEN)) == 30_730
    assert count(NETWORKS["softmax"](MNIST, TEN)) == 7_850
    assert count(NETWORKS["mlp"](MNIST, TEN)) == 203_530
    assert count(NETWORKS["mlp"](MNIST, TEN, hidden=[500])) == 397_510


def fitted(net, x, y, loss):
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2000, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = LOSSES[loss](net(x), y).mean()
        value.backward()
        return value

    optimizer.step(closure)
    return net


def test_logistic_equals_scikit_learn():
    iris = load_iris()
    keep = iris.target > 0
    x, y = iris.data[keep][:, :2] - iris.data[keep][:, :2].mean(0), iris.target[keep] - 1
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    net = NETWORKS["logistic"](PLANE, TWO).double()
    fitted(net, torch.tensor(x), torch.tensor(y), "bce_with_logits")
    assert net.out.weight[0].tolist() == pytest.approx(theirs.coef_[0].tolist(), rel=1e-3)
    assert net.out.bias.tolist() == pytest.approx(theirs.intercept_.tolist(), rel=1e-2, abs=1e-4)


def test_the_reference_form_is_the_k_form_with_the_last_score_at_zero():
    net, x = NETWORKS["softmax"](MNIST, TEN, form="reference"), torch.randn(3, 1, 28, 28)
    full = NETWORKS["softmax"](MNIST, TEN)
    with torch.no_grad():
        full.out.weight.zero_()[:9] = net.out.weight
        full.out.bias.zero_()[:9] = net.out.bias
    assert count(net) == 9 * 785
    torch.testing.assert_close(net(x), full(x))
    assert net(x)[:, 9].tolist() == [0.0] * 3
    two = NETWORKS["softmax"](MNIST, TWO, form="reference")
    torch.testing.assert_close(two(x).softmax(1)[:, 0], two(x)[:, 0].sigmoid())


def test_softmax_refuses_numbers_and_a_reference_alone():
    with pytest.raises(UsageError, match="'mlp'"):
        NETWORKS["softmax"](PLANE, {"kind": "number", "count": 3})
    with pytest.raises(UsageError, match="needs 2 output units"):
        NETWORKS["softmax"](PLANE, {**TWO, "units": 1}, form="reference")


def test_the_mlp_is_its_formula():
    net, x = NETWORKS["mlp"](PLANE, TWO, hidden=[5, 3], activation="tanh"), torch.randn(4, 2)
    h = torch.tanh(x @ net.hidden1[0].weight.T + net.hidden1[0].bias)
    h = torch.tanh(h @ net.hidden2[0].weight.T + net.hidden2[0].bias)
    torch.testing.assert_close(net(x), h @ net.out.weight.T + net.out.bias)


def test_two_linear_layers_are_one():
    net, x = NETWORKS["mlp"](PLANE, TWO, hidden=[5], activation="identity"), torch.randn(4, 2)
    product = net.out.weight @ net.hidden1[0].weight
    torch.testing.assert_close(net(x), x @ product.T + net.out.bias + net.out.weight @ net.hidden1[0].bias)


def test_the_settings_of_the_mlp_reach_it():
    names = [
        type(m).__name__ for m in NETWORKS["mlp"](PLANE, TEN, norm="batchnorm", activation="gelu", dropout=0.5).hidden1
    ]
    assert names == ["Linear", "BatchNorm1d", "GELU", "Dropout"]
    assert float(NETWORKS["mlp"](PLANE, TEN, init="constant(value=2)").out.weight.detach().min()) == 2
    assert list(NETWORKS["mlp"](PLANE, TEN, hidden=[]).state_dict()) == ["out.weight", "out.bias"]


def test_signals_pass_a_deep_mlp_at_its_start():
    torch.manual_seed(0)
    net, x = NETWORKS["mlp"]({"kind": "vector", "features": 200}, TEN, hidden=[200] * 20), torch.randn(64, 200)
    assert 0.1 < float(net(x).detach().std()) < 10
    faded = NETWORKS["mlp"]({"kind": "vector", "features": 200}, TEN, hidden=[200] * 20, init="small_normal")
    assert float(faded(x).detach().std()) < 1e-6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hidden": [0]}, "hidden has 0"),
        ({"hidden": [10, "a"]}, "hidden has a"),
        ({"hidden": 5}, "it is a list"),
        ({"activation": "rleu"}, "'relu'"),
        ({"norm": "bachnorm"}, "'batchnorm'"),
        ({"init": "he_norm"}, "Did you mean 'he_normal'"),
        ({"dropout": 1.0}, "dropout = 1"),
    ],
)
def test_wrong_settings_are_answered(given, words):
    with pytest.raises(UsageError, match=words):
        NETWORKS["mlp"](PLANE, TEN, **given)
