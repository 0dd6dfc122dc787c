"""Changes of inputs and targets, and of which examples are trained on: what they do, and that nothing of them stays."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from netwright.doctor.changes.data import (
    VIEWS,
    advice,
    alike_validation,
    filled_inputs,
    laid_out,
    medians,
    read_as,
    rescaled_inputs,
    runs_with,
    standardised_inputs,
    standardised_targets,
    statistics,
    without_columns,
)
from netwright.doctor.changes.examples import (
    balanced_batches,
    no_augmentation,
    paired,
    random_examples_gone,
    repaired_targets,
    shuffled_batches,
    without_augment,
    without_examples,
    without_transform,
)
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeLive, CodeSubject
from netwright.doctor.subject import Change, Pair
from netwright.doctor.work import RecipeSubject


def rows(count: int = 60, columns: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, columns, generator=draw)
    return x, (x[:, 0] > 0).long()


def subject_of(
    x: Tensor, y: Tensor, *, outputs: int = 2, loss=F.cross_entropy, size: int = 16, step=False, validation=None
):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.ReLU(), nn.Linear(8, outputs))
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def own(inputs, targets):
        sgd.zero_grad()
        found = loss(net(inputs), targets)
        found.backward()
        sgd.step()
        return found

    batches = list(zip(x.split(size), y.split(size), strict=True))
    return CodeSubject(net, loss, sgd, batches, own if step else None, 4, validation)


def state(subject: CodeSubject):
    return (
        copy.deepcopy(subject.model.state_dict()),
        copy.deepcopy(subject.optimizer.state_dict()),
        torch.get_rng_state(),
    )


def is_same(one, other) -> bool:
    same = all(torch.equal(a, b) for a, b in zip(one[0].values(), other[0].values(), strict=True))
    return same and str(one[1]) == str(other[1]) and torch.equal(one[2], other[2])


def applied(subject: CodeSubject, change: Change | None, steps: int = 6) -> float:
    """The loss after training with a change; everything must be as before."""
    assert change is not None
    before, hooks = state(subject), len(subject.model._forward_pre_hooks)
    inputs = [pair.inputs[0].clone() for pair in subject.batches]
    with subject.live([change]) as live:
        losses = live.run(steps)
    assert is_same(before, state(subject))
    assert len(subject.model._forward_pre_hooks) == hooks
    assert all(
        torch.equal(a.nan_to_num(7), b.inputs[0].nan_to_num(7)) for a, b in zip(inputs, subject.batches, strict=True)
    )
    return losses[-1]


def what_is_read(subject: CodeSubject, change: Change, pairs) -> Tensor:
    seen: list[Tensor] = []
    with subject.live([change]) as live:
        hook = live.model[0].register_forward_hook(lambda _, __, out: seen.append(out.detach().clone()))
        for pair in pairs:
            live.outputs(pair)
        hook.remove()
    return torch.cat(seen)


@pytest.mark.parametrize("step", [False, True])
def test_standardised_inputs_have_training_statistics_in_training_and_in_use(step: bool) -> None:
    x, y = rows()
    x = x * torch.tensor([1.0, 100.0, 0.01, 5.0]) + torch.tensor([0.0, 1000.0, 3.0, -7.0])
    held = (x[:10] + 1, y[:10])
    subject = subject_of(x, y, step=step, validation=[held])
    change = standardised_inputs(subject)
    assert change is not None
    assert "train.mean" in change.patch["code"]
    expected = (x.double().numpy() - x.double().numpy().mean(0)) / x.double().numpy().std(0)
    np.testing.assert_allclose(what_is_read(subject, change, subject.batches).numpy(), expected, atol=2e-4)
    other = (held[0].double().numpy() - x.double().numpy().mean(0)) / x.double().numpy().std(0)
    np.testing.assert_allclose(what_is_read(subject, change, subject.validation).numpy(), other, atol=2e-4)
    assert applied(subject, change, 40) < 0.6


def test_a_step_of_the_persons_own_reads_the_standardised_inputs_too() -> None:
    x, y = rows()
    subject = subject_of(x * 1e4, y, step=True)
    change = standardised_inputs(subject)
    assert change is not None
    seen: list[float] = []
    with subject.live([change]) as live:
        hook = live.model[1].register_forward_pre_hook(lambda _, given: seen.append(given[0].abs().max().item()))
        live.step()
        hook.remove()
    assert seen
    assert max(seen) < 10


def test_statistics_pass_over_missing_values_and_leave_constants_alone() -> None:
    x = torch.tensor([[1.0, 5.0, float("nan")], [3.0, 5.0, 2.0], [5.0, 5.0, 4.0]])
    mean, std = statistics(x)
    np.testing.assert_allclose(mean.numpy(), [3.0, 5.0, 3.0])
    np.testing.assert_allclose(std.numpy(), [np.std([1, 3, 5]), 1.0, 1.0])


def test_statistics_of_pictures_are_by_channel() -> None:
    x = torch.randn(20, 3, 5, 6) * torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    mean, std = statistics(x)
    np.testing.assert_allclose(mean.numpy(), x.double().numpy().mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std.numpy(), x.double().numpy().std((0, 2, 3)), atol=1e-6)


def test_whole_numbers_are_not_standardised() -> None:
    embedding = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    sgd = torch.optim.SGD(embedding.parameters(), lr=0.1)
    batches = [(torch.randint(0, 9, (8, 3)), torch.randint(0, 2, (8,)))]
    subject = CodeSubject(embedding, F.cross_entropy, sgd, batches)
    assert standardised_inputs(subject) is None
    assert rescaled_inputs(subject) is None
    assert filled_inputs(subject) is None


def test_rescaled_inputs_keep_their_shape_and_have_unit_scale() -> None:
    x, y = rows()
    subject = subject_of(x / 400, y)
    change = rescaled_inputs(subject)
    assert change is not None
    read = what_is_read(subject, change, subject.batches)
    assert read.square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose((read / x).numpy(), float((read / x)[0, 0]), rtol=1e-3)
    applied(subject, change)


def test_filled_inputs_hold_the_median_of_what_is_known() -> None:
    x, y = rows()
    x[3, 1], x[7, 2] = float("nan"), float("inf")
    x[:9, 3] = -999.0
    subject = subject_of(x, y)
    change = filled_inputs(subject, [(3, -999.0)])
    assert change is not None
    read = what_is_read(subject, change, subject.batches)
    assert bool(read.isfinite().all())
    known = np.sort(x[9:, 3].numpy())
    assert read[0, 3].item() == pytest.approx(known[(len(known) - 1) // 2])
    assert read[3, 1].item() == pytest.approx(medians(x)[1].item())
    untouched = torch.ones_like(x, dtype=torch.bool)
    untouched[3, 1] = untouched[7, 2] = False
    untouched[:9, 3] = False
    assert torch.equal(read[untouched], x[untouched])
    assert np.isfinite(applied(subject, change))


def test_without_columns_a_column_says_nothing() -> None:
    x, y = rows()
    subject = subject_of(x, y)
    change = without_columns(subject, [0])
    assert change is not None
    read = what_is_read(subject, change, subject.batches)
    np.testing.assert_allclose(read[:, 0].numpy(), x[:, 0].mean().item(), atol=1e-6)
    assert torch.equal(read[:, 1:], x[:, 1:])
    applied(subject, change)


def test_validation_is_moved_to_the_training_scale_and_training_is_not() -> None:
    x, y = rows(200)
    subject = subject_of(x, y, validation=[(x[:100] * 16 + 3, y[:100])])
    change = alike_validation(subject)
    assert change is not None
    read = what_is_read(subject, change, subject.validation).double()
    np.testing.assert_allclose(read.mean(0).numpy(), x.double().mean(0).numpy(), atol=1e-4)
    np.testing.assert_allclose(read.std(0, correction=0).numpy(), x.double().std(0, correction=0).numpy(), rtol=1e-4)
    assert torch.equal(what_is_read(subject, change, subject.batches), x)
    assert alike_validation(subject_of(x, y)) is None


@pytest.mark.parametrize("flat", [False, True])
def test_standardised_targets_are_answered_in_their_own_units(flat: bool) -> None:
    x, _ = rows(400)
    y = 500 + 40 * x[:, :1]

    def mse(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.squeeze(-1) if flat else outputs, targets)

    subject = subject_of(x, y[:, 0] if flat else y, outputs=1, loss=mse)
    change = standardised_targets(subject)
    assert change is not None
    with subject.live([change]) as live:
        first = torch.cat([pair.targets.reshape(-1) for pair in live.pairs])  # type: ignore[attr-defined]
        assert abs(first.mean().item()) < 1e-4
        assert first.std(correction=0).item() == pytest.approx(1, abs=1e-4)
        live.run(300)
        assert live.skill(subject.batches) > 0.9
    applied(subject, change)
    assert standardised_targets(subject_of(*rows())) is None


def test_lags_and_reversal_pair_as_their_names_say() -> None:
    whole = Pair((torch.arange(6),), torch.arange(6) * 10)
    assert paired(whole, "lag 2").inputs[0].tolist() == [0, 1, 2, 3]
    assert paired(whole, "lag 2").targets.tolist() == [20, 30, 40, 50]
    assert paired(whole, "lag -1").inputs[0].tolist() == [1, 2, 3, 4, 5]
    assert paired(whole, "lag -1").targets.tolist() == [0, 10, 20, 30, 40]
    assert paired(whole, "reversed").targets.tolist() == [50, 40, 30, 20, 10, 0]


def test_repaired_targets_are_learnt_and_judged_on_examples_held_back() -> None:
    x, y = rows(400)
    subject = subject_of(x, y.roll(1))
    change = repaired_targets(subject, "lag 1")
    assert change is not None
    assert change.patch["code"] == "x, y = x[:-1], y[1:]"
    with subject.live([change]) as live:
        live.run(150)
        assert live.skill(subject.batches) > 0.7
        assert sum(len(pair) for pair in live.pairs) <= 0.81 * 400  # type: ignore[attr-defined]
    with subject.live() as live:
        live.run(150)
        assert live.skill(subject.batches) < 0.5
    applied(subject, change)


def test_examples_are_left_out_by_their_place_in_the_batches() -> None:
    x, y = rows(50)
    subject = subject_of(x, y)
    change = without_examples(subject, [0, 17, 49])
    assert change is not None
    with subject.live([change]) as live:
        left = torch.cat([pair.inputs[0] for pair in live.pairs])  # type: ignore[attr-defined]
        assert torch.equal(left, x[[place for place in range(50) if place not in (0, 17, 49)]])
    applied(subject, change)
    control = random_examples_gone(subject, 3)
    assert control is not None
    assert control.name != change.name
    with subject.live([control]) as live:
        assert sum(len(pair) for pair in live.pairs) == 47  # type: ignore[attr-defined]


def test_balanced_batches_hold_as_many_of_each_class() -> None:
    x, _ = rows(300)
    y = torch.zeros(300, dtype=torch.long)
    y[:9] = 1
    subject = subject_of(x, y)
    change = balanced_batches(subject)
    assert change is not None
    with subject.live([change]) as live:
        drawn = torch.cat([pair.targets for pair in live.pairs])  # type: ignore[attr-defined]
        assert drawn.bincount().tolist() == [150, 150]
        assert all(0.1 < pair.targets.float().mean() < 0.9 for pair in live.pairs)  # type: ignore[attr-defined]
    applied(subject, change)


def test_shuffled_batches_hold_the_same_examples_in_another_order() -> None:
    x, y = rows(200)
    order = y.argsort()
    subject = subject_of(x[order], y[order])
    change = shuffled_batches(subject)
    assert change is not None
    with subject.live([change]) as live:
        pairs = live.pairs  # type: ignore[attr-defined]
        found = torch.cat([pair.inputs[0] for pair in pairs])
        assert not torch.equal(found, x[order])
        assert torch.equal(found.sort(0).values, x.sort(0).values)
        assert sum(len(pair.targets.unique()) == 2 for pair in pairs) >= len(pairs) - 1
    applied(subject, change)


def test_two_changes_of_the_data_go_together() -> None:
    x, y = rows(200)
    order = y.argsort()
    subject = subject_of(x[order] * 1000, y[order])
    with subject.live([c for c in (standardised_inputs(subject), shuffled_batches(subject)) if c]) as live:
        assert isinstance(live, CodeLive)
        live.run(60)
        assert live.skill(subject.batches) > 0.8


def test_every_view_reads_the_same_numbers_as_torch_would() -> None:
    x = torch.randn(5, 4, 6, 3)
    assert torch.equal(VIEWS["N H W C"](x), x.movedim(3, 1))
    assert torch.equal(VIEWS["N H C W"](x), x.transpose(1, 2))
    pictures = torch.randn(5, 3, 8, 8)
    scrambled = pictures.permute(0, 2, 3, 1).reshape(5, 3, 8, 8)
    assert torch.equal(VIEWS["memory N H W C"](scrambled), pictures)


@pytest.mark.parametrize(("view", "channels"), [("memory N H W C", 3), ("N H W C", 8)])
def test_another_layout_reaches_the_first_convolution_and_trains(view: str, channels: int) -> None:
    shape = (3, 8, 8) if channels == 3 else (8, 8, 3)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    sgd = torch.optim.SGD(net.parameters(), lr=0.05)
    x, y = torch.randn(32, *shape), torch.randint(0, 2, (32,))
    subject = CodeSubject(net, F.cross_entropy, sgd, [(x, y)])
    change = laid_out(subject, Chart(subject, Clock()).ops[0], view)
    assert change is not None
    assert runs_with(subject, change)
    before, groups = state(subject), len(sgd.param_groups)
    with subject.live([change]) as live:
        losses = live.run(5)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert is_same(before, state(subject))
    assert len(sgd.param_groups) == groups


def test_a_layout_that_the_network_cannot_take_is_told() -> None:
    net = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 8 * 3, 2))
    subject = CodeSubject(
        net,
        F.cross_entropy,
        torch.optim.SGD(net.parameters(), lr=0.1),
        [(torch.randn(8, 8, 8, 3), torch.randint(0, 2, (8,)))],
    )
    change = laid_out(subject, Chart(subject, Clock()).ops[0], "N H W C")
    assert change is not None
    assert not runs_with(subject, change)


def test_advice_changes_nothing() -> None:
    subject = subject_of(*rows())
    with subject.live() as live:
        expected = live.run(4)
    with subject.live([advice("split by group", "why", "what to do")]) as live:
        assert live.run(4) == expected


def test_a_reading_passes_over_what_is_no_tensor() -> None:
    subject = subject_of(*rows())
    with subject.live() as live:
        read_as(live, lambda x: x + 1)
        assert live.reads[0](("text", 3)) == ("text", 3)  # type: ignore[attr-defined]


class Noisy(Dataset):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.transform = x, y, lambda one: one + 50 * torch.randn_like(one)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int):
        return (self.transform(self.x[place]) if self.transform else self.x[place]), self.y[place]


def test_a_data_sets_own_transform_is_left_out_and_put_back() -> None:
    x, y = rows(64)
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    data = Noisy(x, y)
    subject = CodeSubject(net, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.1), DataLoader(data, 16))
    own = data.transform
    before = torch.get_rng_state()
    change = without_transform(subject)
    assert change is not None
    assert data.transform is own
    assert torch.equal(before, torch.get_rng_state())
    with subject.live([change]) as live:
        assert torch.equal(torch.cat([pair.inputs[0] for pair in live.pairs]), x)  # type: ignore[attr-defined]
    plain = CodeSubject(
        net, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.1), DataLoader(TensorDataset(x, y), 16)
    )
    assert without_transform(plain) is None


@pytest.fixture(scope="module")
def recipe() -> RecipeSubject:
    from netwright.data.read import read
    from netwright.recipe import Recipe

    dataset = read("wine", normalize="none")
    return RecipeSubject(
        Recipe().override(["data.path=wine", "data.normalize=none", "network=mlp", "epochs=3"]), dataset
    )


def test_of_a_recipe_changes_are_patches(recipe: RecipeSubject) -> None:
    standard, even = standardised_inputs(recipe), balanced_batches(recipe)
    assert standard is not None
    assert standard.patch == {"data.normalize": "auto"}
    assert standard.apply is None
    assert even is not None
    assert even.patch == {"training.class_weights": "balanced"}
    assert shuffled_batches(recipe) is None
    assert standardised_targets(recipe) is None
    assert no_augmentation(recipe) is None
    assert without_augment(recipe, "flip") is None
