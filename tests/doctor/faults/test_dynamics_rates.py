"""D1 to D3, and their look-alikes that are healthy."""

from typing import Any

import pytest
import torch
from torch import nn

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.numbers import spikes
from netwright.doctor.faults.rates import grew, oscillating_loss, rate_too_high, rate_too_low, rise
from netwright.doctor.gauges.control import Control, Score
from netwright.doctor.gauges.lag import further_gain, line
from netwright.doctor.gauges.series import Series
from netwright.doctor.gauges.whole import Whole
from netwright.doctor.trial import branch


def blobs(count: int = 320, size: int = 32) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (count,), generator=draw)
    x = torch.randn(count, 8, generator=draw) + 2.5 * nn.functional.one_hot(y, 8).float()
    return list(zip(x.split(size), y.split(size), strict=True))


def chart_of(rule: Any, epochs: int = 12, **given: Any) -> Chart:
    """A chart with a control of known skill: what simple learners reach is not what is tested here."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    chart = Chart(
        CodeSubject(model, nn.CrossEntropyLoss(), rule(model.parameters()), blobs(**given), epochs=epochs), Clock(60)
    )
    chart.__dict__["control"] = known(0.95)
    return chart


def known(skill: float) -> Control:
    return Control("classes", "rows", {"linear": Score(skill, 0.02)}, "linear", True, True, 100, 100, 0.0)


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda p: torch.optim.SGD(p, rate, momentum=momentum)


def adam(rate: float) -> Any:
    return lambda p: torch.optim.Adam(p, rate)


@pytest.mark.parametrize("rule", [sgd(8.0), adam(0.8)])
def test_steps_that_are_too_long_are_found_and_their_remedy_mends_them(rule: Any) -> None:
    chart = chart_of(rule)
    found = rate_too_high(chart)
    assert found is not None
    assert found.fault == "D1"
    assert found.strength >= 0.6
    assert found.evidence["rate"] > 0.5 * found.evidence["diverging_rate"]
    assert branch(chart.subject, found.changes[:1], 120).skill > max(0.85, chart.whole.skill + 0.02)
    assert rate_too_low(chart) is None


@pytest.mark.parametrize("rule", [sgd(0.1, 0.9), adam(1e-3), adam(1e-2), sgd(0.3)])
def test_usual_rates_are_neither_too_high_nor_too_low(rule: Any) -> None:
    chart = chart_of(rule, epochs=30)
    found = rate_too_high(chart)
    assert found is None or found.strength < 0.5
    assert rate_too_low(chart) is None


@pytest.mark.parametrize("rule", [sgd(1e-5), adam(1e-7)])
def test_steps_that_are_too_short_are_found_and_their_remedy_mends_them(rule: Any) -> None:
    chart = chart_of(rule)
    found = rate_too_low(chart)
    assert found is not None
    assert found.strength >= 0.9
    assert found.evidence["rate"] < found.evidence["steep_rate"] / 100
    assert branch(chart.subject, found.changes[:1], 120).skill > 0.8
    high = rate_too_high(chart)
    assert high is None or high.strength < 0.3


def test_full_batch_descent_at_the_edge_of_stability_is_normal() -> None:
    found = rate_too_high(chart_of(sgd(1.0), epochs=60, size=320))
    assert found is None or found.strength < 0.5


def whole_of(losses: list[float], base: float = 1.0) -> Whole:
    finite = losses[-1] == losses[-1]
    return Whole(losses, len(losses), 0.5, float("nan"), finite, Series(), [], 1.0, 0.01, base, {})


def test_rise_is_the_highest_mean_by_the_first_loss() -> None:
    assert rise(whole_of([1.0, 2.0, 4.0, 6.0, 1.0, 0.5]), batch=256) == pytest.approx(4.0)
    assert rise(whole_of([1.0] * 10), batch=256) == pytest.approx(1.0)
    assert rise(whole_of([-1.0] * 10), batch=256) != rise(whole_of([-1.0] * 10), batch=256)  # no scale below 0


def test_growth_before_a_loss_that_is_no_number() -> None:
    assert grew(whole_of([1.0, 3.0, 20.0, float("nan")]))
    assert not grew(whole_of([1.0, 1.1, 0.9, float("nan")]))


def test_a_power_law_says_what_more_steps_bring() -> None:
    steps = [2.0 * (place + 1) ** -0.5 for place in range(400)]
    truth = steps[-1] * (1 - 2**-0.5)
    assert further_gain(whole_of(steps)) == pytest.approx(truth, rel=0.02)
    assert further_gain(whole_of([0.5] * 100)) == pytest.approx(0.0, abs=1e-9)
    assert line([(0, 1.0), (1, 3.0), (2, 5.0)], 4) == (pytest.approx(2.0), pytest.approx(9.0))


def test_swinging_epochs_are_found_and_falling_ones_are_not() -> None:
    chart = chart_of(adam(1e-3))
    size = chart.subject.epoch
    swing = [1.0 + 0.3 * (-1) ** epoch for epoch in range(12) for _ in range(size)]
    fall = [2.0 * 0.9**epoch for epoch in range(12) for _ in range(size)]
    for losses, sick in ((swing, True), (fall, False)):
        chart.__dict__["whole"] = whole_of(losses)
        assert (oscillating_loss(chart) is not None) is sick


def test_spikes_stand_far_above_their_neighbours_and_the_constant_answer() -> None:
    losses = [0.1] * 100
    losses[60] = 9.0
    assert spikes(losses, 1.0) == [60]
    assert spikes([0.1] * 60 + [0.4] + [0.1] * 40, 1.0) == []


def test_every_card_is_a_card_with_a_demo() -> None:
    ids = [*(f"D{n}" for n in range(1, 12)), *(f"E{n}" for n in range(1, 9)), *(f"F{n}" for n in range(1, 5))]
    for name in ids:
        part = FAULTS[name]
        text = " ".join((part.build.__doc__ or "").split())
        assert 85 <= len(text.split()) <= 190, (name, len(text.split()))
        assert "print(" in part.facts["demo"]
        assert part.facts["title"]
        assert part.facts["source"]
