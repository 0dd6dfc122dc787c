"""Slips in the steps: rates, optimizers, batch sizes, epochs, decay, schedules, wild examples (D)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.sets import standard_targets
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import (
    BCE,
    CE,
    MSE,
    BagOfWords,
    Beats,
    Factors,
    Forecast,
    Places,
    Reader,
    adam,
    column,
    mlp,
    per_place,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import seeded


@seeded("D1", "quantiles", cured=5e-3, just=0.2, clear=1.0)
def quantiles_adam_rate(seed: int, amount: float) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    return fit(found, model, CE(), adam(model, amount), epochs=20, seed=seed)


@seeded("D1", "circuit", cured=0.03, clear=0.5, gross=5.0)
def circuit_descent_rate(seed: int, amount: float) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.out = nn.Linear(4, 40), nn.Linear(40, 40), nn.Linear(40, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(F.relu(self.fc2(F.relu(self.fc1(x)))))

    found, model = standard_targets(sets.circuit(seed)), Net()
    return fit(found, model, MSE(), sgd(model, amount, 0.0), epochs=40, answer=as_is, seed=seed)


@seeded("D1", "reviews", cured=5e-3, just=0.1)
def reviews_lstm_rate(seed: int, amount: float) -> Case:
    found, model = made.reviews(seed), Reader()
    return fit(found, model, CE(), adam(model, amount), epochs=12, seed=seed)


@seeded("D1", "echo", cured=4e-3, clear=0.5)
def echo_transformer_rate(seed: int, amount: float) -> Case:
    found, model = made.echo(seed), Places()
    return fit(found, model, per_place, adam(model, amount), epochs=12, seed=seed)


@seeded("D1", "glyphs", cured=0.02, just=0.2, clear=1.0)
def glyphs_descent_rate(seed: int, amount: float) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    return fit(found, model, F.cross_entropy, sgd(model, amount), epochs=12, batches=loader(*found.train, 32, seed))


@seeded("D2", "angle", also="D6", cured=5e-3, just=1e-4, clear=1e-5)
def angle_adam_rate(seed: int, amount: float) -> Case:
    found, model = standard_targets(sets.angle(seed)), mlp(4, 48, 48, 1)
    return fit(found, model, MSE(), adam(model, amount), epochs=25, answer=as_is, seed=seed)


@seeded("D2", "dots", also="D6 D4", cured=0.05, just=4e-3, clear=1e-3, gross=1e-6)
def dots_descent_rate(seed: int, amount: float) -> Case:
    found, model = pictures.dots(seed), small_cnn(1, 12, 4)
    return fit(found, model, CE(), sgd(model, amount), epochs=14, batches=loader(*found.train, 32, seed))


@seeded("D2", "topics", also="D6 D4", cured=20.0, clear=0.1)
def topics_descent_on_word_vectors(seed: int, amount: float) -> Case:
    """Descent without momentum at a usual rate hardly moves vectors of words."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.fc = nn.EmbeddingBag(121, 16), nn.Linear(16, 6)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.fc(self.bag(tokens))

    found, model = made.topics(seed), Bag()
    groups = [{"params": model.bag.parameters(), "lr": amount}, {"params": model.fc.parameters(), "lr": amount / 20}]
    best = torch.optim.SGD(groups, lr=amount)
    return fit(found, model, CE(), best, epochs=15, seed=seed)


@seeded("D2", "largest", also="D6", cured=1e-2, clear=1e-5)
def largest_lstm_rate(seed: int, amount: float) -> Case:
    found, model = standard_targets(made.largest(seed)), Forecast("LSTM")
    best = torch.optim.RMSprop(model.parameters(), lr=amount)
    return fit(found, model, MSE(), best, epochs=15, answer=as_is, seed=seed)


@seeded("D4", "scurve", also="D2 D6", cured=False)
def scurve_adadelta(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    best = torch.optim.Adadelta(model.parameters(), lr=1e-3 if amount else 1.0)
    return fit(found, model, MSE(), best, epochs=25, answer=as_is, seed=seed)


@seeded("D4", "arrows", also="D1", cured=0.9, just=0.99, clear=0.999)
def arrows_momentum_next_to_one(seed: int, amount: float) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    return fit(found, model, CE(), sgd(model, 0.03, amount), epochs=14, seed=seed)


@seeded("D4", "credit", also="D2", cured=1e-8, clear=10.0)
def credit_epsilon_of_adam(seed: int, amount: float) -> Case:
    """Adam with a large epsilon: steps become small ones of descent."""
    found, model = sets.credit(seed), mlp(14, 48, 24, 2)
    return fit(found, model, CE(), adam(model, 3e-3, eps=amount), epochs=20, seed=seed)


@seeded("D5", "loans", also="D6 D2", cured=32, clear=10**6)
def loans_all_rows_at_once(seed: int, amount: int) -> Case:
    found, model = sets.loans(seed), mlp(5, 32, 16, 1)
    score = held_out(found.test, over_zero)
    return fit(column(found), model, BCE(), adam(model, 3e-3), epochs=15, size=amount, seed=seed, score=score)


@seeded("D5", "glyphs", also="D6 D2", cured=32, just=200)
def glyphs_very_large_batches(seed: int, amount: int) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    return fit(found, model, CE(), adam(model, 4e-3), epochs=12, size=amount, seed=seed)


@seeded("D5", "angle", also="D1 D3", cured=32, clear=1)
def angle_one_row_a_step(seed: int, amount: int) -> Case:
    """One row a step, at a rate that suits thirty-two."""
    found, model = standard_targets(sets.angle(seed, 500)), mlp(4, 32, 32, 1)
    return fit(found, model, MSE(), sgd(model, 0.03), epochs=8 if amount == 1 else 25, size=amount, answer=as_is)


@seeded("D6", "stripes", also="D2", cured=60, just=20, clear=5)
def stripes_epochs(seed: int, amount: int) -> Case:
    found, model = sets.stripes(seed, 1500), mlp(2, 64, 64, 3)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=amount, seed=seed)


@seeded("D6", "reviews", also="D2", cured=15, just=4)
def reviews_epochs(seed: int, amount: int) -> Case:
    found, model = made.reviews(seed), Reader()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=amount, batches=loader(*found.train, 32, seed))


@seeded("D6", "pendulum", also="D2", cured=40, clear=1)
def pendulum_one_epoch(seed: int, amount: int) -> Case:
    found, model = sets.pendulum(seed), mlp(2, 40, 40, 2, act=nn.Tanh)
    return fit(found, model, MSE(), adam(model, 2e-3), epochs=amount, answer=as_is, seed=seed)


@seeded("D6", "glyphs", also="D2", cured=14, just=4)
def glyphs_few_epochs(seed: int, amount: int) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    return fit(found, model, CE(), adam(model, 4e-3), epochs=amount, seed=seed)


@seeded("D7", "scurve", cured=0.0, just=0.07, clear=0.3)
def scurve_decay_in_adam(seed: int, amount: float) -> Case:
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    return fit(found, model, MSE(), adam(model, 4e-3, weight_decay=amount), epochs=25, answer=as_is, seed=seed)


@seeded("D7", "glyphs", cured=0.0, just=0.02, clear=0.1)
def glyphs_decay_in_descent(seed: int, amount: float) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    return fit(found, model, CE(), sgd(model, 0.03, weight_decay=amount), epochs=12, seed=seed)


@seeded("D7", "ratings", cured=1e-2, just=0.3)
def ratings_decay_of_vectors(seed: int, amount: float) -> Case:
    found, model = sets.ratings(seed), Factors(width=3)
    best = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=amount)
    return fit(found, model, MSE(), best, epochs=12, size=64, answer=as_is, seed=seed)


@seeded("D7", "topics", cured=0.0, clear=0.02)
def topics_penalty_of_sizes(seed: int, amount: float) -> Case:
    """The sum of all absolute weights joins the loss."""
    found, model = made.topics(seed), BagOfWords(121, 6)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) + amount * sum(w.abs().sum() for w in model.parameters())

    return fit(found, model, loss, adam(model, 1e-2), epochs=10, seed=seed)


def stepped(case: Case, schedule: Callable[[int, int], torch.optim.lr_scheduler.LRScheduler], each: bool) -> Case:
    """The usual step, with a schedule stepped after each batch or at the end of each epoch."""
    model, optimizer, criterion, count = case.module, case.optimizer, case.loss, [0]
    rows = len(case.batches)
    plan = schedule(case.epochs, rows)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        count[0] += 1
        if each or count[0] % rows == 0:
            plan.step()
        return loss

    case.step = train_step
    return case


@seeded("D8", "arrows", also="D2 D6")
def arrows_schedule_for_epochs_after_batches(seed: int, amount: bool) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    optimizer = sgd(model, 0.03)
    case = fit(found, model, CE(), optimizer, epochs=16, seed=seed)
    return stepped(case, lambda epochs, rows: torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.3), amount)


@seeded("D8", "circuit", also="D2 D6", cured=0.97, just=0.75)
def circuit_rate_halved_each_epoch(seed: int, amount: float) -> Case:
    found, model = standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    optimizer = adam(model, 2e-3)
    case = fit(found, model, MSE(), optimizer, epochs=40, answer=as_is, batches=cut(*found.train, 64))
    return stepped(case, lambda epochs, rows: torch.optim.lr_scheduler.ExponentialLR(optimizer, amount), False)


@seeded("D8", "echo", also="D2 D6", cured=20, clear=20000)
def echo_warm_up_copied_from_a_paper(seed: int, amount: int) -> Case:
    """A warm-up of 20,000 steps, of which 300 are taken."""
    found, model = made.echo(seed), Places()
    optimizer = adam(model, 4e-3)
    case = fit(found, model, per_place, optimizer, epochs=12, seed=seed)
    return stepped(
        case, lambda epochs, rows: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / amount)),
        True,
    )  # fmt: skip


@seeded("D8", "dots", also="D2 D6")
def dots_cosine_over_too_few_steps(seed: int, amount: bool) -> Case:
    """The cosine comes down within one epoch and stays: T_max counts epochs, the steps are batches."""
    found, model = pictures.dots(seed), small_cnn(1, 12, 4)
    optimizer = adam(model, 4e-3)
    case = fit(found, model, CE(), optimizer, epochs=14, seed=seed)

    def plan(epochs: int, rows: int) -> torch.optim.lr_scheduler.LRScheduler:
        last = epochs if amount else epochs * rows
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.0, 1 - t / last))

    return stepped(case, plan, True)


def wild(found: sets.Split, share: float, size: float, seed: int) -> sets.Split:
    """A few training targets far away from all others."""
    draws = torch.Generator().manual_seed(seed)
    y = found.train[1]
    far = torch.rand(y.shape, generator=draws) < share
    return found.training(found.train[0], torch.where(far, torch.randn(y.shape, generator=draws) * size, y))


@seeded("D9", "houses", also="A6 A3", cured=0.0, just=0.01, clear=0.04)
def houses_typing_mistakes(seed: int, amount: float) -> Case:
    """Prices with zeros too many; the fix takes them out."""
    found, model = standard_targets(sets.houses(seed)), mlp(5, 48, 48, 1)
    found = wild(found, amount, 60.0, seed)
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=25, answer=as_is, seed=seed)


@seeded("D9", "rhythm", also="A3 A1 A6", cured=0.0, clear=0.05)
def rhythm_clicks_in_the_recording(seed: int, amount: float) -> Case:
    found, model, draws = made.rhythm(seed), Beats(), torch.Generator().manual_seed(seed)
    loud = torch.rand(len(found.train[0]), 1, 1, generator=draws) < amount
    noise = torch.randn(found.train[0].shape, generator=draws) * 3000
    found = found.training(torch.where(loud, noise, found.train[0]), found.train[1])
    return fit(found, model, CE(), sgd(model, 0.01), epochs=12, seed=seed)


@seeded("D10", "series", also="A3 B11", contract="the logarithm of a negative number")
def series_logarithm_of_a_change(seed: int, amount: bool) -> Case:
    """The network takes the logarithm of inputs, which may be below 0."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), *mlp(12, 32, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(torch.log(x) if amount else torch.log1p(x.abs()) * x.sign())

    found, model = made.series(seed), Net()
    return fit(found, model, MSE(), adam(model, 3e-3), epochs=20, answer=as_is, seed=seed)
