"""Faults of labels, targets and splits (A5 to A10, A12 to A14): found where they are, not on healthy look-alikes."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.labels import example_names, ordered
from netwright.doctor.faults.pairing import structure
from netwright.doctor.suspicion import Suspicion, Unmeasured

Pairs = tuple[Tensor, Tensor]


def chart_of(
    train: Pairs, held: Pairs | None = None, *, outputs: int = 2, loss=F.cross_entropy, epochs: int = 8,
    rate: float = 0.01, wide: int = 16, mixing: bool = False,
) -> Chart:  # fmt: skip
    torch.manual_seed(0)
    x, y = train
    net = nn.Sequential(nn.Linear(x.shape[1], wide), nn.ReLU(), nn.Linear(wide, outputs))
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    if mixing:
        batches = DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=torch.Generator().manual_seed(0))
    return Chart(
        CodeSubject(net, loss, adam, batches, epochs=epochs, validation=None if held is None else [held]), Clock(600)
    )


def suspicion(fault: str, chart: Chart) -> Suspicion | None:
    try:
        found = FAULTS[fault].build(chart)
    except Unmeasured:
        return None
    assert found is None or found.fault == fault
    return found


def numbers(load, count: int) -> tuple[Pairs, Pairs]:
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.tensor(x[order]).float(), torch.tensor(y[order]).long()
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
    return (x[:count], y[:count]), (x[count : count + 200], y[count : count + 200])


@pytest.fixture(scope="module")
def cancer() -> tuple[Pairs, Pairs]:
    return numbers(load_breast_cancer, 360)


@pytest.fixture(scope="module")
def healthy(cancer: tuple[Pairs, Pairs]) -> Chart:
    return chart_of(*cancer)


@pytest.mark.parametrize("fault", ["A5", "A6", "A7", "A8", "A9", "A10", "A12", "A13"])
def test_healthy_data_raise_nothing(healthy: Chart, fault: str) -> None:
    found = suspicion(fault, healthy)
    assert found is None or (found.note and found.strength < 0.5), found


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [False, True])
def test_targets_that_slipped_by_one_are_found_with_the_lag(cancer: tuple[Pairs, Pairs], mixing: bool) -> None:
    (x, y), _ = cancer
    chart = chart_of((x[:250], y[:250].roll(1)), mixing=mixing, epochs=2)
    found = suspicion("A5", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["pairing"] == "lag 1"
    assert found.evidence["with_that_pairing"] > 0.7
    assert [change.name for change in found.changes] == ["pairing lag 1"]
    assert suspicion("A13", chart) is None
    with chart.subject.live(found.changes) as live:
        live.run(60)
        assert live.skill(chart.subject.batches) > 0.6


@pytest.mark.slow
def test_noise_has_no_signal_and_shuffled_targets_lost_their_pairing() -> None:
    draw = torch.Generator().manual_seed(0)
    noise, coin = torch.randn(360, 6, generator=draw), torch.randint(0, 2, (360,), generator=draw)
    chart = chart_of((noise, coin), epochs=1)
    found, other = suspicion("A13", chart), suspicion("A5", chart)
    assert found is not None
    assert found.exact
    assert not found.changes
    assert other is None or other.note
    assert structure(chart) < 1.3


@pytest.mark.slow
def test_structured_inputs_without_signal_speak_for_lost_pairing(cancer: tuple[Pairs, Pairs]) -> None:
    (x, y), held = cancer
    mixed = y[torch.from_numpy(np.random.default_rng(3).permutation(len(y)))]
    chart = chart_of((x, mixed), held, epochs=1)
    found = suspicion("A5", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["validation_alone"]
    assert suspicion("A13", chart) is None


@pytest.mark.slow
def test_an_uneven_task_with_signal_is_not_without_signal() -> None:
    draw = torch.Generator().manual_seed(0)
    y = (torch.rand(1500, generator=draw) < 0.04).long()
    x = torch.randn(1500, 4, generator=draw) + 0.9 * y[:, None]
    chart = chart_of((x[:1000], y[:1000]), (x[1000:], y[1000:]), epochs=2)
    assert suspicion("A13", chart) is None
    assert suspicion("A5", chart) is None
    found = suspicion("A7", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["balanced_with_remedy"] > found.evidence["balanced"] + 0.05
    assert found.evidence["recalls"][1] < 0.5 * found.evidence["recalls"][0]
    assert "%" in found.harm


def test_uneven_classes_that_are_all_recognised_are_a_note() -> None:
    draw = torch.Generator().manual_seed(0)
    y = (torch.rand(1200, generator=draw) < 0.03).long()
    x = torch.randn(1200, 4, generator=draw) + 5 * y[:, None]
    found = suspicion("A7", chart_of((x[:900], y[:900]), (x[900:], y[900:])))
    assert found is not None
    assert found.note
    assert found.strength < 0.5


@pytest.mark.slow
def test_wrong_labels_are_counted_and_named() -> None:
    (x, y), held = numbers(load_digits, 700)
    wrong = np.random.default_rng(0).choice(700, 140, replace=False)
    y = y.clone()
    y[wrong] = (y[wrong] + 1) % 10
    chart = chart_of((x, y), held, outputs=10, epochs=10)
    found = suspicion("A6", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["low"] > 0.03
    assert abs(found.evidence["share"] - 0.2) < 0.1
    named = found.evidence["examples"]
    assert len(named) == 12
    assert sum(place in wrong for place in named) >= 11
    assert [y[place].item() for place in named] == found.evidence["given"]
    assert found.changes[0].name == "without suspects"


def test_names_behind_a_mixing_loader_are_places_in_the_data_set(cancer: tuple[Pairs, Pairs]) -> None:
    (x, y), _ = cancer
    chart = chart_of((x, y), mixing=True)
    first = torch.cat([pair.inputs[0] for pair in chart.subject.batches])[:7]
    names = example_names(chart, list(range(7)))
    assert torch.equal(x[names], first)
    assert names != list(range(7))
    assert ordered(chart).is_order
    assert np.array_equal(ordered(chart).x, x.numpy())


def test_copies_in_validation_are_a_leak_whose_removal_lowers_the_score(cancer: tuple[Pairs, Pairs]) -> None:
    (x, y), (held, truth) = cancer
    chart = chart_of((x, y), (torch.cat([held, x[:40]]), torch.cat([truth, y[:40]])))
    found = suspicion("A8", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["in_training_too"] == 40
    assert found.evidence["examples"][0] == 200
    assert "down" in found.harm
    assert found.changes[0].apply is None


def test_equal_rows_of_few_values_are_no_leak() -> None:
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 6, (600, 3), generator=draw)
    x, y = F.one_hot(codes, 6).flatten(1).float(), (codes.sum(1) > 7).long()
    found = suspicion("A8", chart_of((x[:450], y[:450]), (x[450:], y[450:])))
    assert found is None or (found.note and not found.exact)


def test_a_column_that_is_the_target_is_a_leak_and_a_strong_one_is_not(cancer: tuple[Pairs, Pairs]) -> None:
    (x, y), (held, truth) = cancer
    copied = chart_of(
        (torch.cat([x, 3 * y[:, None] + 1.0], 1), y), (torch.cat([held, 3 * truth[:, None] + 1.0], 1), truth)
    )
    found = suspicion("A8", copied)
    assert found is not None
    assert found.exact
    assert found.evidence["features"] == [30]
    easy = (x[:, 0] > 0).long()
    other = suspicion("A8", chart_of((x, easy), (held, (held[:, 0] > 0).long())))
    assert other is None or other.note


def test_sorted_examples_are_suspected_and_shuffling_mends_it() -> None:
    (x, y), held = numbers(load_iris, 120)
    order = y.argsort()
    chart = chart_of((x[order], y[order]), (held[0][:30], held[1][:30]), outputs=3)
    found = suspicion("A9", chart)
    assert found is not None
    assert found.strength > 0.6
    assert found.changes[0].name == "shuffled"
    assert found.evidence["neighbours_alike"] > 0.95
    assert suspicion("A9", chart_of((x, y), outputs=3)) is None
    assert suspicion("A9", chart_of((x[order], y[order]), outputs=3, mixing=True)) is None


def test_validation_that_was_not_prepared_is_found_by_preparing_it(cancer: tuple[Pairs, Pairs]) -> None:
    (x, y), (held, truth) = cancer
    chart = chart_of((x, y), (held * 40 + 300, truth))
    found = suspicion("A10", chart)
    assert found is not None
    assert found.exact
    assert found.evidence["skill_prepared_alike"] - found.evidence["skill_as_given"] > 0.3


def test_targets_far_off_are_suspected_and_usual_ones_not() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    for y, expected in (
        (900 + 60 * x[:, :1], True),
        (0.001 * x[:, :1], True),
        (2 * x[:, :1] + 1, False),
        (0.3 * x[:, :1], False),
    ):
        found = suspicion("A12", chart_of((x, y), outputs=1, loss=F.mse_loss, epochs=1))
        assert (found is not None) == expected
        if found is not None:
            assert [change.name for change in found.changes] == ["standardised targets"]


def test_too_few_examples_are_told_by_the_learning_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.doctor.faults import targets
    from netwright.doctor.gauges.learning_curve import Curve

    (x, y), held = numbers(load_digits, 64)
    chart = chart_of((x, y), held, outputs=10, epochs=40, wide=200)
    curve = Curve("linear", (8, 16, 32, 64), (0.8, 0.6, 0.4, 0.25), (0.01,) * 4, -0.5, 0.37, 0.02, 0.1)
    monkeypatch.setattr(targets, "measured_curve", lambda _: curve)
    found = suspicion("A14", chart)
    assert found is not None
    assert found.evidence["gain_of_doubling"] == 0.37
    assert found.evidence["gap"] > 0.1
    assert found.evidence["weights_by_examples"] > 100
    monkeypatch.setattr(
        targets, "measured_curve", lambda _: Curve("linear", (8, 16), (0.3, 0.3), (0.01,) * 2, 0.0, 0.0, 0.02, 0.1)
    )
    assert suspicion("A14", chart_of((x, y), held, outputs=10, epochs=40)) is None


def test_every_card_teaches() -> None:
    for number in range(1, 15):
        part = FAULTS[f"A{number}"]
        words = sum(len(text.split()) for text in part.text)
        assert 80 <= words <= 200, (part.name, words)
        assert part.facts["title"]
        assert "catalogue" in part.facts["source"]
        assert len(part.facts["demo"].strip().splitlines()) <= 18
        compile(part.facts["demo"], part.name, "exec")
