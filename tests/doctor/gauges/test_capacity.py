"""Fits of growing sets, and what more examples bring."""

import pytest
import torch
from torch import nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.capacity import Point, capacity_curve, first_examples, gain_by_doubling, learning_curve
from netwright.doctor.suspicion import Unmeasured


def subject(width: int, held: bool = False) -> CodeSubject:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(640, 2, generator=draw) * 4 - 2
    y = (x[:, 0] * x[:, 1] > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))
    loader = list(zip(x[:512].split(32), y[:512].split(32), strict=True))
    rest = [(x[512:], y[512:])] if held else None
    return CodeSubject(
        model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 0.01), loader, validation=rest
    )


def test_a_small_network_holds_less_than_a_large_one() -> None:
    small, large = (capacity_curve(subject(width), (16, 512), steps=250) for width in (1, 32))
    assert [point.examples for point in small] == [16, 512]
    assert large[-1].skill > small[-1].skill + 0.2


def test_the_learning_curve_rises_and_leaves_nothing() -> None:
    given = subject(32, held=True)
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    found = learning_curve(given, (0.05, 1.0), seconds=20)
    assert found[1].held_out > found[0].held_out
    assert 0 < gain_by_doubling(found) < 1
    assert all(torch.equal(before[name], value) for name, value in given.model.state_dict().items())


def test_gain_by_doubling_by_hand() -> None:
    points = [Point(100, 0.5, 0.9, 0.6), Point(400, 0.4, 0.9, 0.9)]  # the error falls to a quarter in two doublings
    assert gain_by_doubling(points) == pytest.approx(0.5)
    assert gain_by_doubling([Point(100, 0, 1, 1.0), Point(200, 0, 1, 1.0)]) == 0.0


def test_examples_are_cut_to_the_number_asked_for() -> None:
    given = subject(8)
    assert [len(pair) for pair in first_examples(given, 80)] == [32, 32, 16]


def test_without_validation_examples_there_is_no_curve() -> None:
    with pytest.raises(Unmeasured):
        learning_curve(subject(8))
