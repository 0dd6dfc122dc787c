"""Gradient flow: norms against autograd and closed forms; what makes gradients vanish or explode, and six remedies."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.measures.gradients import gradient_flow

DEPTH = 30


def batch(features: int = 32, count: int = 64):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(count, features, generator=draw), torch.randint(10, (count,), generator=draw)


def deep(layer: str, init: str = "normal(std=0.01)", last: str = "linear out init=glorot_uniform") -> nn.Module:
    return nw.network("stack", inputs=32, outputs=10, layers=f"repeat {DEPTH} ({layer}), {last}", init=init).double()


def flow(net: nn.Module):
    x, y = batch()
    return gradient_flow(net, (x.to(next(net.parameters()).dtype), y), nn.CrossEntropyLoss())


def distance(ratio: float) -> float:
    """How many powers of ten lie between the first and the last layer."""
    return abs(math.log10(max(ratio, 1e-300)))


def test_norms_are_those_of_autograd():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 10))
    found = flow(net)
    running = net[1].running_mean.clone()
    assert all(weight.grad is None for weight in net.parameters())
    x, y = batch()
    F.cross_entropy(net(x), y).backward()
    norms = [math.sqrt(sum(float(p.grad.square().sum()) for p in net[i].parameters())) for i in (0, 1, 3)]
    assert [one.norm for one in found.layers] == pytest.approx(norms, rel=1e-4)
    assert found.norm == pytest.approx(math.hypot(*norms), rel=1e-4)
    assert found.ratio == pytest.approx(norms[0] / norms[2], rel=1e-4)
    assert [(one.name, one.kind, one.matrix) for one in found.layers] == [
        ("0", "linear", True), ("1", "batchnorm", False), ("3", "linear", True),
    ]  # fmt: skip
    assert running.abs().max() == 0, "running statistics are as before"


@pytest.mark.parametrize("w", [0.5, 1.0, 1.5])
def test_a_chain_of_one_number_gives_powers_of_it(w):
    net = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(11)))
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(w)
    found = gradient_flow(net, (torch.ones(1, 1), torch.zeros(1)), lambda outputs, _: outputs[:, 0])
    assert [one.norm for one in found.layers] == pytest.approx([w**10] * 11)  # each layer lacks one factor of its own
    through = torch.ones(1, 1, requires_grad=True)
    net(through).backward()
    assert float(through.grad) == pytest.approx(w**11)


def test_singular_values_decide_not_single_weights():
    """E-14: entries below 1 explode where the singular values are above 1."""
    layers = [nn.Linear(32, 32, bias=False) for _ in range(20)]
    with torch.no_grad():
        for layer in layers:
            nn.init.orthogonal_(layer.weight, gain=1.2)
    assert max(float(layer.weight.detach().abs().max()) for layer in layers) < 1
    given, _ = batch()
    given.requires_grad_()
    out = nn.Sequential(*layers)(given)
    sent = torch.ones_like(out)
    (back,) = torch.autograd.grad(out, given, sent)
    assert float(back.norm() / sent.norm()) == pytest.approx(1.2**20, rel=1e-3)


VANISHING = "linear 32, sigmoid"
REMEDIES = {
    "batch norm": ("linear 32, batchnorm, sigmoid", "normal(std=0.01)"),
    "residual": ("residual(linear 32, sigmoid)", "normal(std=0.01)"),
    "initializer": (VANISHING, "glorot_normal"),
    "activation": ("linear 32, relu", "he_normal"),
}


@pytest.mark.parametrize("remedy", REMEDIES)
def test_each_remedy_raises_the_ratio_of_a_vanishing_stack(remedy):
    torch.manual_seed(0)
    plain = flow(deep(VANISHING)).ratio
    torch.manual_seed(0)
    cured = flow(deep(*REMEDIES[remedy])).ratio
    assert plain < 1e-30
    assert cured > 1e6 * plain
    assert distance(cured) < distance(plain)
    if remedy in ("residual", "activation"):
        assert cured > 1e-3


def exploding() -> nn.Module:
    torch.manual_seed(0)
    return deep("linear 32, relu", "normal(std=0.6)", "linear out init=normal(std=0.6)")


def test_clipping_bounds_an_exploding_gradient_and_by_value_evens_it_out():
    net = exploding()
    found = flow(net)
    assert found.norm > 1e6
    x, y = batch()
    x = x.double()
    F.cross_entropy(net(x), y).backward()
    weights = list(net.parameters())
    nn.utils.clip_grad_norm_(weights, 1.0)
    assert math.sqrt(sum(float(p.grad.square().sum()) for p in weights)) == pytest.approx(1, rel=1e-5)
    first, last = (float(weights[place].grad.norm()) for place in (0, -2))
    unclipped = [float(g.norm()) for g in torch.autograd.grad(F.cross_entropy(net(x), y), [weights[0], weights[-2]])]
    assert first / last == pytest.approx(unclipped[0] / unclipped[1], rel=1e-3), "one factor for all layers"


def test_regularisation_shrinks_weights_and_with_them_an_exploding_gradient():
    """E-18: L2 works against explosion, not against vanishing."""
    net, vanishing = exploding(), deep(VANISHING)
    before, small = flow(net).norm, flow(vanishing).ratio
    with torch.no_grad():  # 50 steps of decay alone: w <- w (1 - 0.01)
        for weight in [*net.parameters(), *vanishing.parameters()]:
            weight.mul_(0.99**50)
    assert flow(net).norm < 1e-3 * before
    assert flow(vanishing).ratio < small


def test_one_value_an_example_counts_by_its_mean_and_dropout_leaves_the_generators_alone():
    net = nn.Sequential(nn.Linear(32, 8), nn.Dropout(0.5), nn.Linear(8, 10))
    each = nn.CrossEntropyLoss(reduction="none")
    torch.manual_seed(5)
    found = gradient_flow(net, batch(), each)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert found.examples == 64
    torch.manual_seed(5)
    assert gradient_flow(net, batch(), nn.CrossEntropyLoss()).norm == pytest.approx(found.norm)
    net.eval()
    with torch.inference_mode():
        assert gradient_flow(net, batch(), each, training=False).norm > 0
    assert not net.training


def test_frozen_layers_have_no_row_and_a_single_one_has_no_ratio():
    net = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 10))
    net[0].requires_grad_(False)
    found = flow(net)
    assert [one.name for one in found.layers] == ["1"]
    assert math.isnan(found.ratio)
    assert "first to last layer: nan" in str(found)
    net[1].requires_grad_(False)
    with pytest.raises(UsageError, match="no weight of the network is trained"):
        flow(net)
    with pytest.raises(UsageError, match="does not depend"):
        gradient_flow(nn.Linear(32, 1), batch(), lambda outputs, target: target.double())


def test_layers_come_in_the_order_of_their_run():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(8, 10), nn.Linear(32, 8)

        def forward(self, x):
            return self.last(self.first(x))

    found = flow(Backwards())
    assert [one.name for one in found.layers] == ["first", "last"]
    assert found.to_json()["ratio"] == found.layers[0].norm / found.layers[1].norm
