"""Learning a few examples by heart: what separates the three attempts."""

import torch
from torch import nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.overfit import few, overfit


def batches(size: int = 16, sort: bool = False) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (256,), generator=draw)
    x = torch.randn(256, 8, generator=draw)
    if sort:
        order = y.argsort()
        x, y = x[order], y[order]
    return list(zip(x.split(size), y.split(size), strict=True))


def subject(rule: object = None, size: int = 16, dropout: float = 0.0, sort: bool = False) -> CodeSubject:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 4))
    optimizer = (rule or (lambda p: torch.optim.Adam(p, 1e-2)))(model.parameters())  # type: ignore[operator]
    return CodeSubject(model, nn.CrossEntropyLoss(), optimizer, batches(size, sort))


def test_a_sound_training_learns_random_labels_by_heart() -> None:
    given = subject()
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    found = overfit(given)
    assert found.own.passed
    assert found.own.right >= 0.95
    assert found.own.ratio < 0.5
    assert found.examples == 32
    assert all(torch.equal(before[name], value) for name, value in given.model.state_dict().items())


def test_only_adam_passes_where_the_rate_is_far_too_low() -> None:
    found = overfit(subject(lambda p: torch.optim.SGD(p, 1e-6)))
    assert not found.own.passed
    assert not found.plain.passed
    assert found.adam.passed


def test_only_the_plain_one_passes_where_a_penalty_is_too_strong() -> None:
    found = overfit(subject(lambda p: torch.optim.Adam(p, 1e-2, weight_decay=3.0)))
    assert not found.own.passed
    assert found.plain.passed


def test_none_passes_without_room() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 1), nn.Linear(1, 4))
    given = CodeSubject(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 1e-2), batches())
    found = overfit(given)
    assert not found.own.passed
    assert not found.adam.passed


def test_dropout_is_off_only_in_the_plain_one_and_on_again_after() -> None:
    given = subject(dropout=0.95)
    found = overfit(given, steps=60)
    assert found.plain.ratio < found.own.ratio
    assert given.model[2].p == 0.95


def test_sorted_labels_and_single_examples_give_several_classes() -> None:
    for size in (16, 1):
        pairs = few(subject(size=size, sort=True))
        labels = torch.cat([pair.targets for pair in pairs])
        assert len(labels.unique()) == 4
        assert 16 <= len(labels) <= 40


def test_numbers_are_judged_by_r2() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = (x[:, :1] * x[:, 1:2]).sin()
    model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
    found = overfit(CodeSubject(model, nn.MSELoss(), torch.optim.Adam(model.parameters(), 1e-2), [(x, y)]))
    assert found.own.passed
    assert found.own.right > 0.9
