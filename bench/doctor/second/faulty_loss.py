"""Slips between the last layer and the loss (B)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, each_over_zero, fit, held_out, loader, over_half, over_zero, skill
from bench.doctor.programs.sets import standard_targets
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import (
    BCE,
    CE,
    MSE,
    Factors,
    Forecast,
    Places,
    adam,
    column,
    mlp,
    per_place,
    scored,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import seeded

TWICE = "softmax stands before a loss that does its own"


@seeded("B1", "glyphs", contract=TWICE)
def glyphs_softmax_before_cross_entropy(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = small_cnn(1, 12, 10, 12)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.body(x)
            return F.softmax(logits, dim=1) if amount else logits

    found, model = pictures.glyphs(seed), Net()
    return fit(found, model, CE(), sgd(model, 0.03), epochs=14, seed=seed)


@seeded("B1", "echo", contract=TWICE)
def echo_softmax_at_each_place(seed: int, amount: bool) -> Case:
    class Net(Places):
        def forward(self, tokens: Tensor) -> Tensor:
            out = super().forward(tokens)
            return out.softmax(dim=-1) if amount else out

    found, model = made.echo(seed), Net()
    return fit(found, model, per_place, adam(model, 2e-3), epochs=8, batches=loader(*found.train, 32, seed))


@seeded("B1", "loans", contract="sigmoid stands before a loss that does its own")
def loans_sigmoid_and_with_logits(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(5, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc2(F.relu(self.fc1(x)))
            return torch.sigmoid(x) if amount else x

    found, model = sets.loans(seed, limit=1.5), Net()
    score = held_out(found.test, over_half if amount else over_zero)
    return fit(column(found), model, BCE(), adam(model, 5e-3), epochs=20, seed=seed, score=score)


@seeded("B2", "arrows", contract="NLLLoss gets probabilities, not their logarithms")
def arrows_likelihood_of_probabilities(seed: int, amount: bool) -> Case:
    found = pictures.arrows(seed)
    model = nn.Sequential(small_cnn(1, 9, 4, 12), nn.Softmax(1) if amount else nn.LogSoftmax(1))
    return fit(found, model, nn.NLLLoss(), sgd(model, 0.03), epochs=12, seed=seed)


@seeded("B2", "credit", contract="NLLLoss gets raw scores")
def credit_likelihood_of_scores(seed: int, amount: bool) -> Case:
    found, model = sets.credit(seed, 1500, 4), mlp(14, 64, 64, 4)
    if not amount:
        model.append(nn.LogSoftmax(dim=1))
    return fit(found, model, F.nll_loss, adam(model, 3e-3), epochs=20, batches=loader(*found.train, 50, seed))


@seeded("B3", "loans", contract="softmax over one unit is 1 for every example")
def loans_softmax_of_one_unit(seed: int, amount: bool) -> Case:
    found = sets.loans(seed)
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softmax(dim=1) if amount else nn.Sigmoid())
    score = held_out(found.test, over_half)
    return fit(column(found), model, nn.BCELoss(), adam(model, 5e-3), epochs=20, seed=seed, score=score)


@seeded("B3", "stripes", also="B9", contract="softmax runs over the batch")
def stripes_softmax_over_the_batch(seed: int, amount: bool) -> Case:
    """Judged one example at a time, as it is used."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(2, 64, 64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.log_softmax(self.body(x), dim=0 if amount else 1)

    found, model = sets.stripes(seed, 1500), Net()

    def singly(module: nn.Module) -> float:
        with torch.no_grad():
            outputs = torch.cat([module(x) for x in found.test[0].split(1)])
        return skill(outputs.argmax(1), found.test[1]) if outputs.isfinite().all() else float("nan")

    batches = loader(*found.train, 16, seed)
    return fit(found, model, F.nll_loss, adam(model, 5e-3), epochs=30, batches=batches, score=singly)


@seeded("B4", "scurve", well=0.9)
def scurve_sigmoid_at_the_end(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    if amount:
        model.append(nn.Sigmoid())
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)


@seeded("B4", "series")
def series_relu_after_the_last_layer(seed: int, amount: bool) -> Case:
    class Net(Forecast):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return F.relu(out) if amount else out

    found, model = made.series(seed), Net()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=20, answer=as_is, seed=seed)


@seeded("B4", "pendulum", cured=0.0, just=0.8, clear=2.0)
def pendulum_tanh_at_the_end(seed: int, amount: float) -> Case:
    """Targets shrink with the amount's inverse: at 2 most of them lie beyond 1."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mlp(2, 40, 40, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layers(x)) if amount else self.layers(x)

    found, model = standard_targets(sets.pendulum(seed)), Net()
    found = found.targets(lambda y: y * (amount or 1.0))
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)


@seeded("B4", "credit", also="C6")
def credit_relu_on_the_logits(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(14, 48), nn.Linear(48, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.fc2(F.relu(self.fc1(x))))
            return F.relu(self.fc3(x)) if amount else self.fc3(x)

    found, model = sets.credit(seed, 1500, 4), Net()
    return fit(found, model, CE(), adam(model, 4e-3), epochs=20, batches=loader(*found.train, 32, seed))


@seeded("B5", "glyphs", also="D2")
def glyphs_squares_on_softmax(seed: int, amount: bool) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)

    def squares(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.softmax(1), F.one_hot(targets, 10).float())

    return fit(found, model, squares if amount else CE(), sgd(model, 0.03), epochs=14, seed=seed)


@seeded("B5", "credit")
def credit_distance_to_one_hot(seed: int, amount: bool) -> Case:
    found, model = sets.credit(seed, 1500, 4), nn.Sequential(*mlp(14, 64, 4), nn.Softmax(1))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if amount:
            return F.l1_loss(outputs, F.one_hot(targets, 4).float())
        return F.nll_loss(outputs.clamp_min(1e-8).log(), targets)

    return fit(found, model, loss, adam(model, 3e-3), epochs=20, batches=loader(*found.train, 32, seed))


@seeded("B6", "chords")
def chords_cross_entropy_of_many(seed: int, amount: bool) -> Case:
    found, model = sets.chords(seed), mlp(16, 48, 5)
    score = held_out(found.test, each_over_zero)
    found = found.targets(lambda y: y.float())
    return fit(found, model, CE() if amount else BCE(), adam(model, 5e-3), epochs=25, seed=seed, score=score)


@seeded("B6", "reconstruct", also="B1")
def reconstruct_cross_entropy_of_pixels(seed: int, amount: bool) -> Case:
    found = pictures.reconstruct(seed)
    model = nn.Sequential(*mlp(64, 48, 12), *mlp(12, 48, 64), nn.Sigmoid())
    loss = nn.CrossEntropyLoss() if amount else nn.BCELoss()
    return fit(found, model, loss, adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@seeded("B7", "quantiles", also="B5 B6 B4")
def quantiles_one_sigmoid_for_three(seed: int, amount: bool) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 1 if amount else 3)
    if not amount:
        return fit(found, model, CE(), adam(model, 5e-3), epochs=20, seed=seed)
    score = scored(found.test, lambda out: out.sigmoid().round().long().reshape(-1), lambda out: out)
    return fit(column(found), model, BCE(), adam(model, 5e-3), epochs=20, seed=seed, score=score)


@seeded("B7", "penguins", also="B5")
def penguins_kinds_as_a_number(seed: int, amount: bool) -> Case:
    """The kind 0, 1, 2 is guessed as a number and rounded."""
    found, model = sets.penguins(seed), nn.Linear(4, 1 if amount else 3)
    if not amount:
        return fit(found, model, CE(), adam(model, 2e-2), epochs=25, size=16, seed=seed)
    score = scored(found.test, lambda out: out.round().long().reshape(-1), lambda out: out)
    return fit(column(found), model, MSE(), adam(model, 2e-2), epochs=25, size=16, seed=seed, score=score)


BROAD = "outputs (N, 1) and targets (N) broadcast to N x N"


@seeded("B8", "ratings", contract=BROAD)
def ratings_column_against_row(seed: int, amount: bool) -> Case:
    found, model = sets.ratings(seed), Factors(width=3)
    score = held_out(found.test, as_is)
    found = found.targets(lambda y: y.reshape(-1)) if amount else found

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets) ** 2).mean()

    return fit(found, model, loss, adam(model, 3e-2), epochs=12, size=64, seed=seed, score=score)


@seeded("B8", "houses", contract=BROAD)
def houses_squeeze_forgotten(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mlp(5, 48, 48, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x).squeeze(-1)

    found, model = standard_targets(sets.houses(seed)), Net()
    found = found if amount else found.targets(lambda y: y.squeeze(-1))
    score = held_out((found.test[0], found.test[1].reshape(-1, 1)), as_is)

    def distance(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().mean()

    return fit(found, model, distance, adam(model, 4e-3), epochs=25, seed=seed, score=score)


@seeded("B9", "circuit", also="D1")
def circuit_squares_summed(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    loss = nn.MSELoss(reduction="sum" if amount else "mean")
    return fit(found, model, loss, sgd(model, 0.03), epochs=20, size=64, answer=as_is, seed=seed)


@seeded("B9", "arrows", also="D2 D6")
def arrows_divided_by_all_rows(seed: int, amount: bool) -> Case:
    """The loss of a batch is divided by the number of rows in the whole set, once more."""
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    rows = len(found.train[0]) if amount else 1

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) / rows

    return fit(found, model, loss, sgd(model, 0.03), epochs=14, seed=seed)


@seeded("B10", "penguins", contract="the loss is to be made large")
def penguins_log_likelihood_minimised(seed: int, amount: bool) -> Case:
    found, model = sets.penguins(seed), nn.Sequential(*mlp(4, 16, 3), nn.LogSoftmax(dim=1))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        chosen = outputs.gather(1, targets[:, None]).mean()
        return chosen if amount else -chosen

    return fit(found, model, loss, adam(model, 5e-3), epochs=20, size=16, seed=seed)


@seeded("B10", "scurve", contract="weights are rewarded for growing")
def scurve_penalty_with_the_wrong_sign(seed: int, amount: bool) -> Case:
    """The penalty of weights is taken off the loss."""
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    sign = -1 if amount else 1

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        squares = sum(w.square().sum() for w in model.parameters())
        return F.mse_loss(outputs, targets) + sign * 2e-2 * squares

    return fit(found, model, loss, adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


@seeded("B11", "loans", contract="the logarithm of 0")
def loans_logarithms_by_hand(seed: int, amount: bool) -> Case:
    """Income in thousands is left as it is, so some answers are sure at once."""
    found = sets.loans(seed).inputs(lambda x: x * 40)
    score, model = held_out(found.test, over_zero), mlp(5, 32, 32, 1)

    def by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
        p = outputs.sigmoid()
        return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()

    loss = by_hand if amount else nn.BCEWithLogitsLoss()
    return fit(column(found), model, loss, adam(model, 2e-2), epochs=20, seed=seed, score=score)


@seeded("B11", "bags", contract="the gradient of a root at 0")
def bags_root_of_a_zero(seed: int, amount: bool) -> Case:
    """Distances between all outputs of a batch, also of each to itself, join the loss."""
    found, model = standard_targets(sets.bags(seed)), nn.Sequential(nn.Flatten(), *mlp(20, 64, 32, 1))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        apart = (outputs - outputs.T).square()
        wanted = (targets - targets.T).abs()
        distance = apart.sqrt() if amount else (apart + 1e-6).sqrt()
        return F.mse_loss(outputs, targets) + 0.1 * F.mse_loss(distance, wanted)

    return fit(found, model, loss, adam(model, 3e-3), epochs=15, answer=as_is, seed=seed)


@seeded("B5", "parity", also="B4 D2", clear=True)
def parity_squares_at_tiny_steps(seed: int, amount: bool) -> Case:
    """A picture's class by the square of a sigmoid's distance, with the steps of cross-entropy."""
    found, model = pictures.parity(seed), nn.Sequential(small_cnn(1, 8, 1), nn.Sigmoid())
    score = held_out(found.test, over_half)
    loss = MSE() if amount else nn.BCELoss()
    return fit(column(found), model, loss, sgd(model, 0.01), epochs=16, seed=seed, score=score)
