"""Schedules at every step against numpy curves, and their ends."""

import numpy as np
import pytest
from torch import nn, optim

from netwright.catalogue import SCHEDULES


def curve(name, total, **settings):
    return np.array([SCHEDULES[name](t, total, **settings) for t in range(total)])


@pytest.mark.parametrize("total", [1, 2, 7, 100, 999])
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_stays_between_zero_and_one_for_any_length(name, total):
    values = curve(name, total)
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    assert values.max() > 0


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_answers_beyond_both_ends(name):
    assert 0 <= SCHEDULES[name](0, 0) <= 1
    assert 0 <= SCHEDULES[name](500, 100) <= 1


def test_step_drops_at_each_third():
    assert curve("step", 9).tolist() == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert curve("step", 10, every=0.5, gamma=0.5).tolist() == [1] * 5 + [0.5] * 5


def test_exponential_has_one_ratio():
    values = curve("exponential", 50, final=0.01)
    np.testing.assert_allclose(values[1:] / values[:-1], 0.01 ** (1 / 50))
    assert values[0] == 1


def test_cosine_equals_torch_without_warmup():
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.1)
    expected = []
    for _ in range(40):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(curve("cosine", 40, final=0.1), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_warmup_rises_in_a_straight_line_to_the_peak(name):
    values = curve(name, 100, warmup=0.1)
    np.testing.assert_allclose(values[:10], np.arange(1, 11) / 10)
    assert values[10] == 1
    assert (np.diff(values[10:]) < 0).all()


def test_linear_by_its_formula():
    np.testing.assert_allclose(curve("linear", 20, final=0.2), 1 - 0.8 * np.arange(20) / 20)


def test_warmup_alone_then_constant():
    np.testing.assert_allclose(curve("warmup", 40, share=0.1), np.minimum(1, np.arange(1, 41) / 4))


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_one_cycle_peaks_once_and_ends_low(shape):
    values = curve("one_cycle", 100, shape=shape)
    assert values[0] == pytest.approx(0.04)
    assert values[20] == 1
    assert (np.diff(values[:21]) > 0).all()
    assert (np.diff(values[20:]) < 0).all()
    assert SCHEDULES["one_cycle"](100, 100, shape=shape) == pytest.approx(0)


def test_one_cycle_is_made_of_two_straight_lines():
    expected = np.interp(np.arange(50), [0, 10, 50], [0.04, 1, 0.02])
    np.testing.assert_allclose(curve("one_cycle", 50, final=0.02), expected)
