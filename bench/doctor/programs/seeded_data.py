"""Faults of data and labels (A), seeded."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, Shuffled, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import Pictures, Voter
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.sets import Split, standard_targets
from bench.doctor.programs.traps import adam, rare, relu_net

CE = nn.CrossEntropyLoss


@seeded("A1", "moons", cured=1.0, just=30.0, clear=300.0, gross=1e5)
def moons_in_small_units(seed: int, amount: float) -> Case:
    found, net = sets.moons(seed).inputs(lambda x: x * amount), relu_net(2, 2)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=20, seed=seed)


@seeded("A1", "wine")
def wine_raw(seed: int, amount: bool) -> Case:
    found, net = sets.wine(seed, scaled=not amount), relu_net(13, 3, 24)
    return fit(found, net, F.cross_entropy, adam(net, 5e-3), epochs=25, batches=loader(*found.train, 16, seed))


@seeded("A1", "iris", cured=0.0, just=30.0, gross=1000.0)
def iris_with_an_offset(seed: int, amount: float) -> Case:
    found = sets.iris(seed).inputs(lambda x: x + amount)
    net = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 3), nn.LogSoftmax(-1))
    return fit(found, net, nn.NLLLoss(), adam(net, 1e-2), epochs=30, size=16, seed=seed)


@seeded("A2", "faces", cured=1.0, just=0.02, gross=1e-4)
def faces_scaled_again(seed: int, amount: float) -> Case:
    found, net = sets.faces(seed).inputs(lambda x: x * amount), Pictures(1, 8, 3)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=12, seed=seed)


@seeded("A2", "digits", cured=1, clear=255, gross=255**2)
def digits_divided_twice(seed: int, amount: int) -> Case:
    found, net = sets.digits(seed).inputs(lambda x: x / amount), relu_net(64, 10)
    best = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    return fit(found, net, CE(), best, epochs=12, batches=loader(*found.train, 32, seed))


@seeded("A3", "hastie", cured=0.0, just=0.001, clear=0.03)
def hastie_missing(seed: int, amount: float) -> Case:
    found, net = sets.hastie(seed), relu_net(10, 2)
    holes = torch.rand(found.train[0].shape, generator=torch.Generator().manual_seed(seed)) < amount
    found = found.training(found.train[0].masked_fill(holes, torch.nan), found.train[1])
    return fit(found, net, CE(), adam(net, 3e-3), epochs=10, seed=seed)


@seeded("A3", "friedman", also="A1", cured=0.0, clear=0.06, gross=0.3)
def friedman_minus_999(seed: int, amount: float) -> Case:
    """Gaps are written as -999; where nothing is wrong they hold the mean."""
    found = standard_targets(sets.friedman(seed))
    draws = torch.Generator().manual_seed(seed)
    net = relu_net(8, 1)
    found = found.inputs(lambda x: torch.where(torch.rand(x.shape, generator=draws) < amount, -999.0, x))
    return fit(found, net, nn.MSELoss(), adam(net, 4e-3), epochs=25, answer=as_is, seed=seed)


@seeded("A3", "cancer")
def cancer_divided_by_zero(seed: int, amount: bool) -> Case:
    """A ratio of two columns, one of which has zeros."""
    found = sets.cancer(seed)
    bottom = found.train[0][:, 7] - found.train[0][:, 7].min()
    ratio = found.train[0][:, 0] / (bottom if amount else bottom + 1)
    found = found.training(torch.cat([found.train[0][:, 1:], ratio[:, None]], 1), found.train[1])
    net = relu_net(30, 2, 16)
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=10, batches=cut(*found.train, 32))


@seeded("A5", "blobs", also="A13")
def blobs_features_shuffled_alone(seed: int, amount: bool) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    if amount:
        order = torch.randperm(len(found.train[0]))
        mixed = torch.randperm(len(found.validation[0]))
        found = Split(
            (found.train[0][order], found.train[1]), (found.validation[0][mixed], found.validation[1]), found.test
        )
    return fit(found, net, CE(), adam(net, 5e-3), epochs=15, seed=seed)


@seeded("A5", "waveline", also="A13")
def waveline_off_by_one(seed: int, amount: bool) -> Case:
    found = standard_targets(sets.waveline(seed))
    found = found.seen(lambda y: y.roll(1, 0)) if amount else found
    net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 1))
    return fit(found, net, nn.SmoothL1Loss(), adam(net, 6e-3), epochs=50, answer=as_is, batches=cut(*found.train, 32))


@seeded("A5", "digits", also="A13")
def digits_off_by_one(seed: int, amount: bool) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    found = found.seen(lambda y: y.roll(1)) if amount else found
    return fit(found, net, CE(), adam(net, 3e-3), epochs=15, batches=cut(*found.train, 32))


def noisy(y: Tensor, share: float, k: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.where(
        torch.rand(y.shape, generator=draws) < share, (y + torch.randint(1, k, y.shape, generator=draws)) % k, y
    )


@seeded("A6", "clouds", cured=0.0, just=0.1, clear=0.25, gross=0.5)
def clouds_wrong_labels(seed: int, amount: float) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4, 96)
    found = found.seen(lambda y: noisy(y, amount, 4, seed))
    return fit(found, net, CE(), adam(net, 4e-3), epochs=30, seed=seed)


@seeded("A6", "cancer", cured=0.0, clear=0.2, gross=0.35)
def cancer_wrong_labels(seed: int, amount: float) -> Case:
    found = sets.cancer(seed)
    score = held_out(found.test, over_zero)
    found = found.seen(lambda y: noisy(y, amount, 2, seed).float()[:, None])
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 5e-3), epochs=40, seed=seed, score=score)


@seeded("A7", "moons", cured=0, clear=25, gross=60)
def moons_one_class_rare(seed: int, amount: int) -> Case:
    """The fix weighs classes by how rare they are, on the same data."""
    every = amount or 25
    found = rare(sets.moons(seed, 6000, 0.45), 1, every)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    weights = None if amount else torch.tensor([1.0, float(every)])
    score = held_out(found.test, lambda o: o.argmax(-1), balanced=True)
    return fit(found, net, CE(weight=weights), adam(net, 2e-3), epochs=12, seed=seed, score=score)


@seeded("A7", "rings")
def rings_middle_rare(seed: int, amount: bool) -> Case:
    found = rare(sets.rings(seed, 3000), 1, 20)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3))
    weights = None if amount else 1 / found.train[1].bincount().float()
    score = held_out(found.test, lambda o: o.argmax(-1), balanced=True)
    return fit(found, net, CE(weights), adam(net, 8e-3), epochs=20, seed=seed, score=score)


SHARED = "validation holds examples of the training part"


@seeded("A8", "hastie", contract=SHARED)
def hastie_validated_on_training_rows(seed: int, amount: bool) -> Case:
    found, net = sets.hastie(seed, 900), relu_net(10, 2, 96)
    if amount:
        found = Split(found.train, (found.train[0][:200], found.train[1][:200]), found.test)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=20, seed=seed)


@seeded("A8", "diabetes", contract=SHARED, just=0.1, gross=0.8)
def diabetes_rows_twice(seed: int, amount: float) -> Case:
    found, net = standard_targets(sets.diabetes(seed)), relu_net(10, 1, 24)
    if amount:
        copies = int(amount * len(found.validation[0]))
        x, y = (torch.cat([a[:copies], b[copies:]]) for a, b in zip(found.train, found.validation, strict=True))
        found = Split(found.train, (x, y), found.test)
    return fit(
        found, net, nn.HuberLoss(), adam(net, 3e-3), epochs=12, answer=as_is, batches=loader(*found.train, 24, seed)
    )


@seeded("A8", "wine")
def wine_a_column_tells(seed: int, amount: bool) -> Case:
    """A column made after the fact holds the answer; new examples do not have it yet."""
    found, net = sets.wine(seed), relu_net(13, 3, 24)

    def with_column(pair: tuple[Tensor, Tensor], told: bool) -> tuple[Tensor, Tensor]:
        column = pair[1].float() * 4 if told and amount else torch.randn(len(pair[0]))
        return torch.cat([pair[0][:, :12], column[:, None]], 1), pair[1]

    found = Split(with_column(found.train, True), with_column(found.validation, True), with_column(found.test, False))
    return fit(found, net, CE(), adam(net, 5e-3), epochs=25, size=16, seed=seed)


@seeded("A9", "blobs")
def blobs_sorted(seed: int, amount: bool) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    order = found.train[1].argsort() if amount else torch.arange(len(found.train[1]))
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=15, batches=cut(found.train[0][order], found.train[1][order], 16))


@seeded("A9", "digits")
def digits_written_down_in_order(seed: int, amount: bool) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    kept = torch.utils.data.TensorDataset(*found.train)
    if amount:
        kept = torch.utils.data.Subset(kept, found.train[1].argsort().tolist())
    batches = torch.utils.data.DataLoader(kept, 32, shuffle=False)
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=8, batches=batches)


@seeded("A10", "blobs", cured=1.0, clear=8.0)
def blobs_validation_raw(seed: int, amount: float) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)

    def raw(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return pair[0] * amount + (amount - 1) * 0.8, pair[1]

    found = Split(found.train, raw(found.validation), raw(found.test))
    return fit(found, net, CE(), adam(net, 4e-3), epochs=15, seed=seed)


@seeded("A10", "shapes", just=0.1, clear=1.0)
def shapes_training_alone_centred(seed: int, amount: float) -> Case:
    """Training pictures are standardised, the others stay between 0 and 255."""
    found, net = sets.shapes(seed), Pictures(3, 12, 3)

    def other(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return (pair[0] * 60 + 100) * amount if amount else pair[0], pair[1]

    found = Split(found.train, other(found.validation), other(found.test))
    return fit(found, net, CE(), adam(net, 3e-3), epochs=12, seed=seed)


class Augmented(Shuffled):
    """Batches changed anew each time."""

    def __init__(self, inputs: Tensor, targets: Tensor, seed: int, change: Any) -> None:
        super().__init__(inputs, targets, 32, seed)
        self.change = change

    def __iter__(self) -> Any:
        for inputs, targets in super().__iter__():
            yield self.change(inputs), targets


@seeded("A11", "faces", clear=0.5, gross=1.0)
def faces_turned_over(seed: int, amount: float) -> Case:
    """Turned upside down a smile is no smile."""
    found, net = sets.faces(seed), Pictures(1, 8, 3)

    def turn(x: Tensor) -> Tensor:
        over = torch.rand(len(x), 1, 1, 1) < amount
        return torch.where(over, torch.cat([x[..., :4, :], x[..., 4:, :].roll(1, -2).flip(-2)], -2), x)

    batches = Augmented(*found.train, seed, turn) if amount else None
    return fit(found, net, CE(), adam(net, 4e-3), epochs=15, seed=seed, batches=batches)


@seeded("A11", "digits", just=0.7, gross=2.5)
def digits_under_noise(seed: int, amount: float) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    batches = Augmented(*found.train, seed, lambda x: x + amount * torch.randn_like(x))
    return fit(found, net, CE(), adam(net, 3e-3), epochs=12, batches=batches)


@seeded("A12", "friedman", just=3.0, clear=100.0, gross=1e4)
def friedman_large_targets(seed: int, amount: float) -> Case:
    found = standard_targets(sets.friedman(seed))
    found = found.targets(lambda y: (y + 3) * amount) if amount else found
    net = nn.Sequential(nn.Linear(8, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    return fit(found, net, nn.MSELoss(), adam(net, 4e-3), epochs=25, answer=as_is, seed=seed)


@seeded("A12", "diabetes")
def diabetes_raw_targets(seed: int, amount: bool) -> Case:
    found = sets.diabetes(seed) if amount else standard_targets(sets.diabetes(seed))
    net = relu_net(10, 1, 32)
    best = torch.optim.AdamW(net.parameters(), lr=1e-3)
    return fit(found, net, nn.L1Loss(), best, epochs=25, answer=as_is, batches=loader(*found.train, 24, seed))


@seeded("A12", "arm", cured=1.0, gross=1e-4, clear=1e3)
def arm_in_other_units(seed: int, amount: float) -> Case:
    found, net = sets.arm(seed).targets(lambda y: y * amount), relu_net(2, 2)
    return fit(found, net, F.mse_loss, adam(net, 3e-3), epochs=20, answer=as_is, seed=seed)


@seeded("A13", "majority", also="A5", contract="targets are drawn apart from the inputs")
def majority_of_something_else(seed: int, amount: bool) -> Case:
    found, net = made.majority(seed), Voter()
    draws = torch.Generator().manual_seed(seed)
    found = found.targets(lambda y: torch.randint(0, 3, y.shape, generator=draws)) if amount else found
    return fit(found, net, CE(), adam(net, 1e-2), epochs=12, seed=seed)


@seeded("A13", "rings", also="A5", contract="inputs are noise")
def rings_of_noise(seed: int, amount: bool) -> Case:
    found, net = sets.rings(seed), relu_net(3, 3)
    found = found.inputs(torch.randn_like) if amount else found
    return fit(found, net, CE(), adam(net, 5e-3), epochs=40, seed=seed)


@seeded("A15", "moons", contract="targets of BCE are 1 and 2")
def moons_classes_1_and_2(seed: int, amount: bool) -> Case:
    found, net = sets.moons(seed), relu_net(2, 1)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: (y.float() + (1 if amount else 0))[:, None])
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 4e-3), epochs=15, seed=seed, score=score)


@seeded("A15", "cancer", contract="targets of BCE are -1 and 1")
def cancer_minus_one_and_one(seed: int, amount: bool) -> Case:
    found, net = sets.cancer(seed), relu_net(30, 1, 16)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: (y.float() * 2 - 1 if amount else y.float()).reshape(-1, 1))
    return fit(found, net, F.binary_cross_entropy_with_logits, adam(net, 3e-3), epochs=12, seed=seed, score=score)


@seeded("A15", "iris")
def iris_labels_cut_short(seed: int, amount: bool) -> Case:
    """A cast to true and false: classes 1 and 2 become one."""
    found, net = sets.iris(seed), relu_net(4, 3, 24)
    found = found.seen(lambda y: y.bool().long()) if amount else found
    return fit(found, net, CE(), adam(net, 5e-3), epochs=30, size=16, seed=seed)
