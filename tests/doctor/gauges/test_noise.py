"""The noise scale of gradients beside its closed form."""

import pytest
import torch
from torch import nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.noise import gradient_noise, noise
from netwright.doctor.subject import Pair
from netwright.doctor.suspicion import Unmeasured


class Point(nn.Module):
    """The gradient of (w - x)^2 / 2 is w - x: its mean and spread are those of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(200))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.w - x).square().sum(1) / 2


def subject(mean: float, size: int = 64, count: int = 4096) -> CodeSubject:
    draw = torch.Generator().manual_seed(0)
    x = mean + torch.randn(count, 200, generator=draw)
    model = Point()
    loader = list(zip(x.split(size), torch.zeros(count).split(size), strict=True))
    return CodeSubject(model, lambda o, t: o.mean(), torch.optim.SGD(model.parameters(), 1e-9), loader)


@pytest.mark.parametrize("mean", [1.0, 0.5])
def test_the_scale_is_the_spread_by_the_squared_mean(mean: float) -> None:
    given = subject(mean, size=256)
    with given.live() as live:
        found = gradient_noise(live, list(given.batches))
    assert found.scale == pytest.approx(1 / mean**2, rel=0.1)  # tr(I) / |mean|^2, 200 dimensions each
    assert found.batch == 256


def test_pure_noise_has_an_infinite_or_huge_scale_and_no_common_direction() -> None:
    given = subject(0.0)
    found = noise(given, steps=5)
    assert found.scale > 1000  # infinity among them
    assert abs(found.cosine) < 0.3


def test_equal_batches_have_no_noise() -> None:
    given = subject(1.0)
    same = [Pair(given.batches[0].inputs, given.batches[0].targets)] * 4
    with given.live() as live:
        found = gradient_noise(live, same)
    assert found.scale == pytest.approx(0.0, abs=1e-5)
    assert found.cosine == pytest.approx(1.0)


def test_one_batch_is_unmeasured() -> None:
    given = subject(1.0, size=4096)
    with given.live() as live, pytest.raises(Unmeasured):
        gradient_noise(live, list(given.batches))
