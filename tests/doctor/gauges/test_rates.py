"""The range test: exact on a bowl, the same for other orders of the batches, and nothing of it is left."""

import math

import pytest
import torch
from torch import nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.rates import forced_rate, rate_range, set_rate, steep_rate
from netwright.doctor.suspicion import Unmeasured


def blobs(count: int = 240, size: int = 24) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (count,), generator=draw)
    x = torch.randn(count, 6, generator=draw) + 2 * nn.functional.one_hot(y, 6).float()
    return list(zip(x.split(size), y.split(size), strict=True))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))


class Bowl(nn.Module):
    """5 w^2: curvature 10, so plain descent diverges above 0.2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x


def test_a_bowl_diverges_above_two_by_its_curvature() -> None:
    bowl = Bowl()
    batches = [(torch.ones(4, 1), torch.zeros(4, 1))]
    subject = CodeSubject(
        bowl, lambda o, t: 5 * (o - t).square().mean(), torch.optim.SGD(bowl.parameters(), 0.01), batches
    )
    found = rate_range(subject)
    assert 0.2 < found.diverging < 2.0  # it has to climb all the way back up first
    assert 0.002 < found.steep < 0.2
    assert found.current == 0.01


@pytest.mark.parametrize("rule", [torch.optim.Adam, torch.optim.SGD])
def test_other_orders_give_the_same_rates_within_a_factor_of_two(rule: type) -> None:
    model = network()
    subject = CodeSubject(model, nn.CrossEntropyLoss(), rule(model.parameters(), 1e-3), blobs())
    first, second = rate_range(subject, seed=1), rate_range(subject, seed=2)
    assert 0.5 < first.steep / second.steep < 2
    assert first.advised < first.steep


def test_the_rate_of_the_person_does_not_matter_and_all_is_restored() -> None:
    steeps = []
    for rate in (1e-6, 1e-3, 0.3):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), rate)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        steeps.append(rate_range(CodeSubject(model, nn.CrossEntropyLoss(), optimizer, blobs()), seeds=1).steep)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert optimizer.param_groups[0]["lr"] == rate
        assert not optimizer.state
        assert not optimizer._optimizer_step_pre_hooks
        assert torch.equal(state, torch.get_rng_state())
    assert max(steeps) / min(steeps) < 1.01


def test_groups_keep_their_proportion_and_a_step_of_ones_own_is_reached() -> None:
    model = network()
    optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.5}], 0.1)
    seen = []

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        seen.append([group["lr"] for group in optimizer.param_groups])
        return loss

    rate_range(CodeSubject(model, nn.CrossEntropyLoss(), optimizer, blobs(), step), seeds=1)
    assert seen[0][0] == pytest.approx(1e-7)
    assert all(high == pytest.approx(5 * low) for low, high in seen)


def test_steep_rate_is_where_half_of_the_fall_happened() -> None:
    rates = [10.0**place for place in range(-4, 1)]
    assert steep_rate(rates, [2.0, 2.0, 1.5, 1.0, 1.0, 9.0]) == pytest.approx(1e-3)
    assert steep_rate(rates, [2.0, 2.0, 2.0, 1.0, 1.0, 9.0]) == pytest.approx(10**-2.5)
    assert math.isnan(steep_rate(rates, [2.0, 2.0, 2.0, 2.0]))


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    group = {"lr": torch.tensor(0.1)}
    kept = group["lr"]
    set_rate(group, 0.25)
    assert group["lr"] is kept
    assert kept.item() == 0.25
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), torch.tensor(0.1), foreach=False, capturable=False)
    with forced_rate([optimizer]) as force:
        force(3.0)
        optimizer.step()
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.3)
    assert optimizer.param_groups[0]["lr"].item() == pytest.approx(0.1)


def test_a_loss_that_is_no_number_at_the_start_is_unmeasured() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(Unmeasured):
        rate_range(CodeSubject(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1), blobs()))
