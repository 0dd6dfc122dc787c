"""Schedules at every step against numpy curves, and their ends."""

import numpy as np
import pytest
from torch import nn, optim

from netwright.catalogue import SCHEDULES
from netwright.errors import UsageError
from netwright.parts.schedules import scheduled


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


@pytest.mark.parametrize("total", [7, 90, 1000])
def test_every_value_of_the_paper_schedules_equals_its_formula(total):
    t = np.arange(total)
    np.testing.assert_allclose(curve("step", total), 0.1 ** np.floor(3 * t / total + 1e-9))
    np.testing.assert_allclose(
        curve("multi_step", total), np.where(t < total / 2, 1, np.where(t < 0.75 * total, 0.1, 0.01))
    )
    np.testing.assert_allclose(curve("exponential", total), 0.01 ** (t / total))
    np.testing.assert_allclose(curve("poly", total, power=0.5), (1 - t / total) ** 0.5)
    np.testing.assert_allclose(curve("poly", total, final=0.1), 0.1 + 0.9 * (1 - t / total) ** 0.9)


def test_the_residual_networks_drop_at_32000_and_48000_of_64000():
    found = {t: SCHEDULES["multi_step"](t, 64_000) for t in (31_999, 32_000, 47_999, 48_000)}
    assert found == pytest.approx({31_999: 1, 32_000: 0.1, 47_999: 0.1, 48_000: 0.01})


def test_mobilenets_staircase_of_epochs():
    per_epoch, epochs = 25, 100  # 0.94 every two of 100 epochs
    values = curve("step", per_epoch * epochs, every=0.02, gamma=0.94)
    np.testing.assert_allclose(values, 0.94 ** (np.arange(per_epoch * epochs) // (2 * per_epoch)))


@pytest.mark.parametrize("name", ["step", "multi_step", "exponential", "poly", "plateau"])
def test_a_warm_up_multiplies_the_others(name):
    values, plain = curve(name, 60, warmup=0.1), curve(name, 60)
    np.testing.assert_allclose(values, plain * np.minimum(1, np.arange(1, 61) / 6))


@pytest.mark.parametrize("milestones", [[0.5, 2.0], [-0.1], ["half"], [True]])
def test_milestones_are_shares(milestones):
    with pytest.raises(UsageError, match="shares of the training, each 0 to 1"):
        SCHEDULES["multi_step"](0, 10, milestones=milestones)


@pytest.mark.parametrize(
    "given", [{}, {"patience": 0}, {"patience": 2, "cooldown": 3}, {"threshold": 0.1, "factor": 0.5}]
)
@pytest.mark.parametrize("seed", range(5))
def test_plateau_equals_torchs_after_every_epoch(given, seed):
    losses = np.random.default_rng(seed).normal(1, 0.2, 60) + np.linspace(1, 0, 60) ** 3
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    theirs = optim.lr_scheduler.ReduceLROnPlateau(optimizer, **{"factor": 0.1, "patience": 5, **given}, eps=0)
    for epoch, loss in enumerate(losses, 1):
        theirs.step(loss)
        found = SCHEDULES["plateau"](epoch, 60, losses[:epoch].tolist(), **given)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert found < 1


def test_plateau_never_falls_below_its_floor():
    flat = [1.0] * 100
    assert SCHEDULES["plateau"](0, 1, flat, patience=0, final=0.05) == 0.05
    assert SCHEDULES["plateau"](0, 1, flat[:6]) == 1
    assert SCHEDULES["plateau"](0, 1, flat[:7]) == pytest.approx(0.1)


def test_scheduled_hands_the_history_to_those_that_watch():
    history: list[float] = []
    watching, blind = scheduled("plateau", {"patience": 0}, history), scheduled("linear", {}, history)
    assert (watching(5, 10), blind(5, 10)) == (1, 0.5)
    history += [1.0, 1.0]
    assert (watching(5, 10), blind(5, 10)) == (pytest.approx(0.1), 0.5)
