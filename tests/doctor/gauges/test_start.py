"""The network at step 0, held against hand numbers and automatic differentiation."""

import math

import pytest
import torch
import torch.nn.functional as F
from signal_programs import CE, adam, blobs, chart, cut, mlp
from torch import nn

from netwright.doctor.gauges.linearity import linear_pairs
from netwright.doctor.gauges.slopes import ELEMENTWISE, slopes
from netwright.doctor.gauges.start import twins
from netwright.doctor.gauges.time import memories


def test_signals_and_gradients_are_those_of_a_plain_pass() -> None:
    x, y = blobs(96)
    of = chart(lambda: (net := mlp(16, 20, 4), CE, adam(net), cut(x, y)))
    start = of.start
    net = of.subject.model  # type: ignore[attr-defined]
    z = net[0](x)
    outputs = net[2](torch.relu(z))
    z.retain_grad()
    loss = F.cross_entropy(outputs, y)
    loss.backward()
    first, last = start.layers
    assert start.loss0 == pytest.approx(loss.item(), rel=1e-5)
    assert start.logit_std == pytest.approx(outputs.std(unbiased=False).item(), rel=1e-5)
    assert start.spread == pytest.approx(outputs.std(0, unbiased=False).mean().item(), rel=1e-5)
    assert first.pre_std == pytest.approx(z.std(unbiased=False).item(), rel=1e-4)
    assert first.pre_mean == pytest.approx(z.mean().item(), rel=1e-4, abs=1e-6)
    assert first.activation == "relu"
    assert last.activation == ""
    assert first.zeros == pytest.approx((z <= 0).float().mean().item())
    assert first.dead == pytest.approx((z <= 0).all(0).float().mean().item())
    assert z.grad is not None
    # a batch's mean loss divides by its 32 examples, the plain pass by all 96
    assert first.gradient_rms == pytest.approx(3 * z.grad.square().mean().sqrt().item(), rel=1e-4)
    grad = net[0].weight.grad
    assert first.weight_gradient["0.weight"] == pytest.approx(grad.square().mean().sqrt().item(), rel=1e-4)
    assert first.weight_scale == pytest.approx(
        net[0].weight.square().mean().sqrt().item() / math.sqrt(2 / 16), rel=1e-5
    )


def test_torch_default_has_forty_percent_of_he() -> None:
    of = chart(lambda: (net := mlp(400, 300, 4), CE, adam(net), cut(*blobs(64, 400))))
    assert of.start.layers[0].weight_scale == pytest.approx(math.sqrt(1 / 6), rel=0.02)


def test_an_undecided_classifier_costs_the_logarithm() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(1024, 16, generator=draw), torch.randint(0, 10, (1024,), generator=draw)
    start = chart(lambda: (net := mlp(16, 64, 10), CE, adam(net), cut(x, y))).start
    inside = start.logit_std**2 / 2
    assert start.loss0 == pytest.approx(math.log(10) + inside, abs=0.03)


def test_dead_saturated_and_inplace() -> None:
    def made() -> object:
        net = nn.Sequential(nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
        with torch.no_grad():
            net[0].bias[:2] = -100.0  # type: ignore[index]
            net[2].bias[:4] = 100.0  # type: ignore[index]
        return net, CE, adam(net), cut(*blobs(512))

    first, second, _ = chart(made).start.layers  # type: ignore[arg-type]
    assert first.dead >= 0.25
    assert first.pre_mean < -20  # read before it was overwritten
    assert second.saturated >= 0.5
    assert second.dead >= 0.5


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "gelu", "silu", "elu", "softplus", "leaky_relu"])
def test_slopes_are_differences(name: str) -> None:
    z = torch.linspace(-3, 3, 25, dtype=torch.float64) + 0.01
    func = getattr(F, name)
    found = slopes(name, z, func)
    difference = (func(z + 1e-6) - func(z - 1e-6)) / 2e-6
    assert found is not None
    assert name in ELEMENTWISE
    torch.testing.assert_close(found, difference.abs() * (4 if name == "sigmoid" else 1), rtol=1e-5, atol=1e-7)


def test_twins_need_equal_gradients() -> None:
    weight, gradient = torch.ones(6, 5), torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    assert twins(weight, torch.ones(6, 5)) == (1.0, 1.0)
    assert twins(weight, gradient) == (0.0, 1.0)
    assert twins(torch.randn(6, 5), torch.zeros(6, 5)) == (0.0, 0.0)
    weight[:3] = gradient[:3]
    assert twins(weight, torch.zeros(6, 5)) == (0.5, 0.5)
    assert twins(torch.full((4, 3), math.nan), None) == (0.0, 0.0)


def test_everything_is_left_as_it_was() -> None:
    of = chart(
        lambda: (
            net := nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4)),
            CE,
            adam(net),
            cut(*blobs(96)),
        )
    )
    net = of.subject.model  # type: ignore[attr-defined]
    before, state = [t.clone() for t in net.state_dict().values()], torch.get_rng_state()
    assert of.start.finite
    assert of.modes.steps > 0
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert all(not module._forward_hooks for module in net.modules())


def test_a_recurrent_gradient_is_the_product_of_slopes() -> None:
    class Ring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.RNN(1, 1, batch_first=True)
            nn.init.constant_(self.cells.weight_hh_l0, 0.5)
            for p in (self.cells.bias_hh_l0, self.cells.bias_ih_l0):
                nn.init.zeros_(p)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cells(x)[0][:, -1]

    x = torch.zeros(8, 11, 1)  # slopes of tanh at 0 are 1
    of = chart(lambda: (net := Ring(), nn.MSELoss(), adam(net), [(x, torch.ones(8, 1))]))
    (found,) = memories(of.subject, of.ops)
    assert found.steps == 11
    assert found.ratio == pytest.approx(0.5**10, rel=1e-5)


def test_linear_pairs_see_through_a_norm_in_use() -> None:
    inside = nn.BatchNorm1d(16), nn.Dropout(0.5)
    net = nn.Sequential(nn.Linear(16, 16), *inside, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    of = chart(lambda: (net, CE, adam(net), cut(*blobs(96))))
    (pair,) = linear_pairs(of.subject, of.ops)
    assert (pair.first.path, pair.second.path) == ("0", "3")
    assert pair.residue < 1e-5
    assert not pair.narrow
