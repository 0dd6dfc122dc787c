"""Every change: made, trained with, and undone bit for bit."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from netwright.doctor.changes import loop, penalties, steps
from netwright.doctor.code import CodeLive, CodeSubject
from netwright.doctor.subject import Change


def subject(own: bool = False) -> CodeSubject:
    torch.manual_seed(0)
    x, y = torch.randn(96, 5), torch.randint(0, 3, (96,))
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    rule = torch.optim.SGD(
        [{"params": model[:2].parameters()}, {"params": model[4].parameters(), "lr": 0.02}],
        0.1,
        momentum=0.999,
        weight_decay=0.1,
    )
    loss = nn.CrossEntropyLoss(label_smoothing=0.4)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        rule.zero_grad()
        found = loss(model(inputs), targets)
        found.backward()
        rule.step()
        return found

    loader = list(zip(x.split(16), y.split(16), strict=True))
    return CodeSubject(model, loss, rule, loader, step if own else None, 4)


MAKERS: dict[str, Callable[[CodeSubject], Change | None]] = {
    "slower": lambda s: steps.rate_times(s, 0.1),
    "to": lambda s: steps.rate_to(s, 0.03),
    "adam": lambda s: steps.other_optimizer(s, "adam", 0.01),
    "momentum": lambda s: steps.other_optimizer(s, "momentum", 0.01),
    "probed": lambda s: steps.probed_optimizer(s, "adam"),
    "settings": lambda s: steps.default_settings(s, "momentum"),
    "clip": lambda s: steps.clip(s, 0.01),
    "small": lambda s: steps.batch_size(s, 8),
    "large": lambda s: steps.batch_size(s, 48),
    "longer": lambda s: steps.longer(s, 3),
    "stop": lambda s: steps.stop_at(s, 2),
    "warm": lambda s: steps.warm_up(s, 5),
    "no decay": penalties.no_decay,
    "no smoothing": penalties.smoothing,
    "no dropout": penalties.no_dropout,
    "no penalty": penalties.no_penalty,
    "train": loop.train_mode,
    "rebuild": loop.rebuild_optimizer,
    "missing": loop.add_missing,
    "attached": loop.attached,
}


def picture(given: CodeSubject) -> list[object]:
    groups = [{k: v for k, v in group.items() if k != "params"} for group in given.optimizer.param_groups]
    return copy.deepcopy([
        {name: value.tolist() for name, value in given.model.state_dict().items()}, groups,
        [[id(p) for p in group["params"]] for group in given.optimizer.param_groups], dict(given.optimizer.state),
        [module.training for module in given.model.modules()], torch.get_rng_state().tolist(), given.model[3].p,
        given.loss.label_smoothing, len(given.optimizer._optimizer_step_pre_hooks), len(given.model._forward_pre_hooks),
    ])  # fmt: skip


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_a_change_trains_and_leaves_nothing(name: str, own: bool) -> None:
    given = subject(own)
    before = picture(given)
    change = MAKERS[name](given)
    assert change is not None
    assert change.name
    assert change.why
    assert change.patch["code"]
    with given.live([change]) as live:
        assert len(live.run(4)) == 4
    assert picture(given) == before


def moved(given: CodeSubject, change: Change | None, count: int = 1) -> float:
    with given.live([] if change is None else [change]) as live:
        before = given.model[0].weight.detach().clone()
        live.run(count)
        return (given.model[0].weight - before).norm().item()


@pytest.mark.parametrize("own", [False, True])
def test_rates_scale_the_first_step_exactly(own: bool) -> None:
    given = subject(own)
    usual = moved(given, None)
    assert moved(given, steps.rate_times(given, 0.1)) == pytest.approx(0.1 * usual, rel=1e-4)
    assert moved(given, steps.rate_to(given, 0.3)) == pytest.approx(3 * usual, rel=1e-4)
    assert moved(given, steps.warm_up(given, 10)) == pytest.approx(0.1 * usual, rel=1e-3)


@pytest.mark.parametrize("own", [False, True])
def test_clipping_bounds_the_step(own: bool) -> None:
    given = subject(own)
    free = penalties.no_decay(given)
    assert free is not None
    with given.live([free, steps.clip(given, 1e-3)]) as live:
        before = [p.detach().clone() for p in given.model.parameters()]
        live.run(1)
        gone = sum((p - old).square().sum() for p, old in zip(given.model.parameters(), before, strict=True)) ** 0.5
    assert gone <= 0.1 * 1e-3 * 1.001


def test_smaller_batches_make_more_updates_of_the_same_examples() -> None:
    given = subject()
    change = steps.batch_size(given, 4)
    assert change is not None
    assert change.cost == 4
    with given.live([change]) as live:
        assert isinstance(live, CodeLive)
        live.run(3)
        assert live.steps == 12
        assert [len(pair) for pair in live.pairs] == [4] * 24
        whole = torch.cat([pair.inputs[0] for pair in live.pairs])
    assert torch.equal(whole, torch.cat([pair.inputs[0] for pair in given.batches]))


def test_stopping_early_keeps_the_weights_of_that_step() -> None:
    given = subject()
    assert moved(given, steps.stop_at(given, 3), 9) == pytest.approx(moved(given, None, 3), rel=1e-6)


def test_groups_keep_their_proportions() -> None:
    given = subject()
    with given.live([steps.rate_to(given, 0.5)]):  # type: ignore[list-item]
        assert [group["lr"] for group in given.optimizer.param_groups] == pytest.approx([0.5, 0.1])


def test_what_is_not_there_cannot_be_changed() -> None:
    model = nn.Linear(3, 1)
    given = CodeSubject(
        model, nn.MSELoss(), torch.optim.SGD(model.parameters(), 0.1), [(torch.randn(4, 3), torch.randn(4, 1))]
    )
    for maker in (penalties.no_decay, penalties.no_dropout, penalties.smoothing, loop.ordinary_step, loop.unfreeze,
                  steps.constant_schedule):  # fmt: skip
        assert maker(given) is None
    assert steps.batch_size(given, 4) is None
