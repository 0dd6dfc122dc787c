"""Slips in the start of a network and in how its signal travels (C1 to C9)."""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, fit, held_out, loader, over_zero
from bench.doctor.programs.sets import standard_targets
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import BCE, CE, MSE, Forecast, adam, column, mlp, sgd, small_cnn
from bench.doctor.second.registry import seeded


class ByHand(nn.Module):
    """Matrices and vectors without layers, each filled by `fill(rows, columns)`."""

    def __init__(self, sizes: tuple[int, ...], fill: Callable[[int, int], Tensor], act: Callable[[Tensor], Tensor]):
        super().__init__()
        pairs = list(itertools.pairwise(sizes))
        self.w = nn.ParameterList([nn.Parameter(fill(a, b)) for a, b in pairs])
        self.b = nn.ParameterList([nn.Parameter(torch.zeros(b)) for _, b in pairs])
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        for w, b in zip(list(self.w)[:-1], list(self.b)[:-1], strict=True):
            x = self.act(x @ w + b)
        return x @ self.w[-1] + self.b[-1]


@seeded("C1", "ripples")
def ripples_matrices_of_zeros(seed: int, amount: bool) -> Case:
    def fill(a: int, b: int) -> Tensor:
        return torch.zeros(a, b) if amount else torch.randn(a, b) * (2 / a) ** 0.5

    found, model = sets.ripples(seed, 2000), ByHand((2, 48, 48, 2), fill, torch.relu)
    return fit(found, model, F.cross_entropy, adam(model, 5e-3), epochs=40, seed=seed)


@seeded("C1", "scurve", cured=0.0, clear=0.1)
def scurve_all_weights_equal(seed: int, amount: float) -> Case:
    """Each weight is the same number, so that runs can be repeated."""
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 32, 32, 1, act=nn.Tanh)

    def alike(part: nn.Module) -> None:
        if amount and isinstance(part, nn.Linear):
            nn.init.constant_(part.weight, amount / part.in_features**0.5)
            part.bias.data.zero_()

    model.apply(alike)
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@seeded("C2", "penguins", cured=0.3, clear=5.0, gross=40.0)
def penguins_randn_matrices(seed: int, amount: float) -> Case:
    found = sets.penguins(seed)
    model = ByHand((4, 64, 64, 3), lambda a, b: torch.randn(a, b) * amount, torch.relu)
    return fit(found, model, F.cross_entropy, adam(model, 2e-3), epochs=15, size=16, seed=seed)


@seeded("C2", "houses", cured=0.0, just=0.35, clear=1.0)
def houses_randn_weights(seed: int, amount: float) -> Case:
    """Weights from a normal distribution of deviation 1, in a deep network."""
    found, model = standard_targets(sets.houses(seed)), mlp(5, 64, 64, 64, 1)
    for part in model.modules():
        if amount and isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, amount)
    return fit(found, model, MSE(), adam(model, 3e-3), epochs=20, answer=as_is, seed=seed)


@seeded("C3", "quantiles", also="C4", cured=0.0, clear=0.01)
def quantiles_tiny_matrices(seed: int, amount: float) -> Case:
    """Matrices times 0.01, as in a first course, in four layers."""
    found = sets.quantiles(seed)
    model = ByHand((2, 32, 32, 32, 3), lambda a, b: torch.randn(a, b) * (amount or (2 / a) ** 0.5), torch.relu)
    return fit(found, model, F.cross_entropy, sgd(model, 0.05), epochs=30, seed=seed)


@seeded("C3", "arrows", also="C4", cured=0.0, clear=1e-3)
def arrows_xavier_with_a_small_gain(seed: int, amount: float) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    for part in model.modules():
        if amount and isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(part.weight, gain=amount)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return fit(found, model, CE(), sgd(model, 0.05), epochs=14, seed=seed)


def deep(d: int, k: int, depth: int, act: Callable[[], nn.Module], width: int = 24) -> nn.Sequential:
    return mlp(d, *([width] * depth), k, act=act)


@seeded("C4", "credit", cured=0, just=2, clear=5)
def credit_sigmoid_in_every_layer(seed: int, amount: int) -> Case:
    found = sets.credit(seed)
    model = deep(14, 1, amount or 4, nn.Sigmoid if amount else nn.ReLU)
    score = held_out(found.test, over_zero)
    return fit(column(found), model, BCE(), sgd(model, 0.05), epochs=20, seed=seed, score=score)


@seeded("C4", "glyphs")
def glyphs_sigmoid_convolutions(seed: int, amount: bool) -> Case:
    act = nn.Sigmoid if amount else nn.ReLU
    found = pictures.glyphs(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), act(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(216, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip
    return fit(found, model, CE(), sgd(model, 0.03), epochs=14, seed=seed)


@seeded("C4", "pendulum", also="C11", cured=0, just=5, clear=12)
def pendulum_twenty_sigmoids(seed: int, amount: int) -> Case:
    found = standard_targets(sets.pendulum(seed))
    model = deep(2, 2, amount, nn.Sigmoid) if amount else deep(2, 2, 3, nn.ReLU)
    return fit(found, model, MSE(), adam(model, 3e-3), epochs=15, answer=as_is, seed=seed)


@seeded("C5", "angle", also="C2", cured=1.0, just=1.5, gross=4.0)
def angle_gain_too_large_in_depth(seed: int, amount: float) -> Case:
    found, model = standard_targets(sets.angle(seed)), deep(4, 1, 8, nn.ReLU, 32)
    for part in model.modules():
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            nn.init.zeros_(part.bias)
            part.weight.data.mul_(amount)
    return fit(found, model, MSE(), adam(model, 2e-3), epochs=20, answer=as_is, seed=seed)


@seeded("C5", "series", also="C15 D1 C2", cured=0.0, clear=2.0)
def series_plain_recurrence_grows(seed: int, amount: float) -> Case:
    """A plain recurrent layer with ReLU, whose matrix makes the state larger at each step."""
    found, model = made.series(seed, window=28), Forecast("RNN", nonlinearity="relu")
    if amount:
        nn.init.orthogonal_(model.rnn.weight_hh_l0, gain=amount)
    return fit(found, model, MSE(), sgd(model, 0.01), epochs=15, answer=as_is, seed=seed)


@seeded("C6", "stripes", cured=0.0, clear=-0.75, gross=-20.0)
def stripes_bias_far_below_zero(seed: int, amount: float) -> Case:
    found, model = sets.stripes(seed, 1500), mlp(2, 64, 64, 3)
    for part in list(model)[:-1]:
        if amount and isinstance(part, nn.Linear):
            nn.init.constant_(part.bias, amount)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=30, seed=seed)


@seeded("C6", "gratings", clear=True)
def gratings_convolutions_asleep(seed: int, amount: bool) -> Case:
    """The second convolution starts with negative weights alone, behind a ReLU."""
    found, model = pictures.gratings(seed), small_cnn(1, 10, 3)
    second = list(model.children())[3]
    if amount and isinstance(second, nn.Conv2d) and second.bias is not None:
        nn.init.uniform_(second.weight, -0.3, -0.05)
        second.bias.data.fill_(-0.1)
    return fit(found, model, CE(), adam(model, 4e-3), epochs=12, batches=loader(*found.train, 32, seed))


@seeded("C7", "ripples", also="C2 A1", cured=1.0, clear=30.0)
def ripples_tanh_at_its_ends(seed: int, amount: float) -> Case:
    found, model = sets.ripples(seed, 2000), mlp(2, 48, 48, 2, act=nn.Tanh)
    for part in model.modules():
        if isinstance(part, nn.Linear) and part.out_features > 2:
            part.weight.data.mul_(amount)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=40, seed=seed)


@seeded("C7", "glyphs", also="C2", cured=0.0, just=1.0)
def glyphs_saturated_by_the_start(seed: int, amount: float) -> Case:
    found, model = pictures.glyphs(seed), nn.Sequential(nn.Flatten(), *mlp(144, 64, 64, 10, act=nn.Tanh))
    for part in model.modules():
        if amount and isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=amount)
    return fit(found, model, CE(), sgd(model, 0.02), epochs=25, seed=seed)


@seeded("C8", "ripples", contract="no activation stands between linear layers")
def ripples_only_linear_layers(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            if amount:
                return self.fc3(self.fc2(self.fc1(x)))
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    found, model = sets.ripples(seed, 2000), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=40, seed=seed)


@seeded("C8", "bags")
def bags_activation_forgotten(seed: int, amount: bool) -> Case:
    """Mean over points of a linear map: how far they are apart cannot be told."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.b(self.a(x)) if amount else F.relu(self.b(F.relu(self.a(x))))
            return self.c(h.mean(1))

    found, model = standard_targets(sets.bags(seed)), Net()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@seeded("C8", "reconstruct")
def reconstruct_linear_decoder_and_encoder(seed: int, amount: bool) -> Case:
    act = nn.Identity if amount else nn.ReLU
    found = pictures.reconstruct(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), act(), nn.Linear(64, 4), nn.Linear(4, 64), act(), nn.Linear(64, 64)
    )  # fmt: skip
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=60, answer=as_is, seed=seed)


@seeded("C9", "quantiles")
def quantiles_softmax_between_layers(seed: int, amount: bool) -> Case:
    found = sets.quantiles(seed)
    model = nn.Sequential(
        nn.Linear(2, 32), nn.Softmax(1) if amount else nn.ReLU(), nn.Linear(32, 32),
        nn.Softmax(1) if amount else nn.ReLU(), nn.Linear(32, 3),
    )  # fmt: skip
    return fit(found, model, CE(), sgd(model, 0.05), epochs=25, batches=loader(*found.train, 32, seed))


@seeded("C9", "stripes", also="C4 E4", contract="the derivative of the activation is 0")
def stripes_steps_as_activation(seed: int, amount: bool) -> Case:
    """Units that say 0 or 1: no gradient comes through."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 3)

        def act(self, x: Tensor) -> Tensor:
            return (torch.sign(x) + 1) / 2 if amount else F.relu(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))

    found, model = sets.stripes(seed, 1500), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=30, seed=seed)
