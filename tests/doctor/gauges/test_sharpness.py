"""The largest curvature beside eigenvalues that are known."""

import pytest
import torch
from torch import nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.sharpness import sharpness
from netwright.doctor.suspicion import Unmeasured


def linear(rate: float = 0.1) -> CodeSubject:
    torch.manual_seed(0)
    x = torch.randn(200, 4) * torch.tensor([5.0, 1.0, 1.0, 0.1])
    model = nn.Linear(4, 1, bias=False)
    return CodeSubject(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), rate), [(x, torch.randn(200, 1))])


def test_least_squares_have_the_curvature_of_their_data() -> None:
    given = linear()
    x = given.batches[0].inputs[0]
    truth = torch.linalg.eigvalsh(2 * x.T @ x / len(x)).max().item()
    with given.live() as live:
        found = sharpness(live, given.batches[0], iterations=50, tolerance=1e-5)
    assert found.curvature == pytest.approx(truth, rel=1e-3)
    assert found.stable_rate() == pytest.approx(2 / truth, rel=1e-3)
    assert found.stable_rate(0.9) == pytest.approx(3.8 / truth, rel=1e-3)


@pytest.mark.parametrize(("factor", "stable"), [(0.9, True), (1.1, False)])
def test_plain_descent_is_stable_exactly_below_two_by_it(factor: float, stable: bool) -> None:
    given = linear()
    with given.live() as live:
        rate = sharpness(live, given.batches[0], iterations=50, tolerance=1e-6).stable_rate()
    with linear(factor * rate).live() as live:
        losses = live.run(150)
    assert (losses[-1] < losses[0]) is stable


def test_the_largest_upward_curvature_where_the_steepest_is_downward() -> None:
    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (1.5 * self.w[0] ** 2 - 4 * self.w[1] ** 2).expand(len(x), 1)

    model = Saddle()
    loader = [(torch.ones(2, 1), torch.zeros(2, 1))]
    given = CodeSubject(model, lambda o, t: o.mean(), torch.optim.SGD(model.parameters(), 0.1), loader)
    with given.live() as live:
        assert sharpness(live, given.batches[0], 100, 1e-6).curvature == pytest.approx(3.0, rel=1e-2)


def test_buffers_stay_and_frozen_networks_are_unmeasured() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    batch = (torch.randn(32, 4), torch.randn(32, 1))
    given = CodeSubject(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.1), [batch])
    kept = model[1].running_mean.clone()
    with given.live() as live:
        assert sharpness(live, given.batches[0]).curvature > 0
        assert torch.equal(model[1].running_mean, kept)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with given.live() as live, pytest.raises(Unmeasured):
        sharpness(live, given.batches[0])
