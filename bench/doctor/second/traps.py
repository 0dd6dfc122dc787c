"""Odd but healthy, first part: rates, optimizers, starts, losses, batches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, Shuffled, argmax, as_is, cut, fit, held_out, loader, over_half, over_zero
from bench.doctor.programs.sets import standard_targets
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import (
    BCE,
    CE,
    MSE,
    BagOfWords,
    Factors,
    Forecast,
    Places,
    Reader,
    adam,
    column,
    mlp,
    per_place,
    scored,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import trap


@trap("quantiles", 0.85)
def quantiles_rate_of_a_half(seed: int) -> Case:
    """Descent without momentum at 0.5: high, and right."""
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    return fit(found, model, CE(), sgd(model, 0.5, 0.0), epochs=40, seed=seed)


@trap("topics", 0.75)
def topics_rate_of_twenty(seed: int) -> Case:
    """Vectors of words want a large rate of plain descent."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.fc = nn.EmbeddingBag(121, 16), nn.Linear(16, 6)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.fc(self.bag(tokens))

    found, model = made.topics(seed), Bag()
    groups = [{"params": model.bag.parameters(), "lr": 20.0}, {"params": model.fc.parameters(), "lr": 1.0}]
    return fit(found, model, CE(), torch.optim.SGD(groups), epochs=15, seed=seed)


@trap("credit", 0.75)
def credit_adagrad(seed: int) -> Case:
    found, model = sets.credit(seed), mlp(14, 48, 48, 2)
    return fit(found, model, CE(), torch.optim.Adagrad(model.parameters(), lr=0.05), epochs=25, seed=seed)


@trap("circuit", 0.9)
def circuit_adadelta(seed: int) -> Case:
    found, model = standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    return fit(found, model, MSE(), torch.optim.Adadelta(model.parameters(), lr=1.0), epochs=30, answer=as_is)


@trap("penguins", 0.85)
def penguins_sigmoid_hidden_layer(seed: int) -> Case:
    """One hidden layer of sigmoids is no deep stack."""
    found, model = sets.penguins(seed), mlp(4, 24, 3, act=nn.Sigmoid)
    return fit(found, model, CE(), adam(model, 2e-2), epochs=30, size=16, seed=seed)


@trap("ripples", 0.75)
def ripples_sine_units(seed: int) -> Case:
    """Sines as activation, with large weights at the start."""

    class Siren(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 48), nn.Linear(48, 48), nn.Linear(48, 2)
            nn.init.uniform_(self.a.weight, -3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(torch.sin(self.b(torch.sin(self.a(x)))))

    found, model = sets.ripples(seed, 2000), Siren()
    return fit(found, model, CE(), adam(model, 2e-3), epochs=40, seed=seed)


@trap("scurve", 0.9)
def scurve_zero_head(seed: int) -> Case:
    """The last layer starts at zero."""
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    for weight in model[-1].parameters():
        nn.init.zeros_(weight)
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)


@trap("glyphs", 0.7)
def glyphs_zero_residual_branches(seed: int) -> Case:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
            nn.init.zeros_(self.two.weight)
            nn.init.zeros_(self.two.bias)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.two(F.relu(self.one(x)))

    found = pictures.glyphs(seed)
    stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3), nn.ReLU())
    model = nn.Sequential(stem, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 64), Branch(), Branch(), nn.Linear(64, 10))
    return fit(found, model, CE(), adam(model, 4e-3), epochs=20, seed=seed)


@trap("credit", 0.75)
def credit_squares_that_work(seed: int) -> Case:
    """Squares to +1 and -1 as loss of a classifier."""
    found, model = sets.credit(seed), mlp(14, 48, 48, 1)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: (2 * y - 1).float().reshape(-1, 1))
    return fit(found, model, MSE(), adam(model, 3e-3), epochs=20, seed=seed, score=score)


@trap("penguins", 0.85)
def penguins_hinge(seed: int) -> Case:
    found, model = sets.penguins(seed), mlp(4, 24, 3)
    return fit(found, model, nn.MultiMarginLoss(), adam(model, 1e-2), epochs=30, size=16, seed=seed)


@trap("loans", 0.6)
def loans_focal(seed: int) -> Case:
    """A loss that fades sure answers; its numbers are small."""
    found, model = sets.loans(seed), mlp(5, 32, 16, 1)
    score = held_out(found.test, over_zero)

    def focal(outputs: Tensor, targets: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return fit(column(found), model, focal, adam(model, 5e-3), epochs=30, seed=seed, score=score)


@trap("angle", 0.65)
def angle_with_its_own_width(seed: int) -> Case:
    """A mean and a width are learnt; the loss goes below zero."""
    found, model = standard_targets(sets.angle(seed)), mlp(4, 48, 48, 2)

    def likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
        mean, log = outputs[:, :1], outputs[:, 1:].clamp(-5, 3)
        return (log + 0.5 * ((targets - mean) / log.exp()) ** 2).mean()

    score = held_out(found.test, lambda out: out[:, :1])
    return fit(found, model, likelihood, adam(model, 3e-3), epochs=40, seed=seed, score=score)


@trap("reconstruct", 0.6)
def reconstruct_variational(seed: int) -> Case:
    """A variational autoencoder: noise inside in training, a loss of two parts, outputs in a dictionary."""

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp(64, 64, 24), mlp(12, 64, 64)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            mean, log = self.encoder(x).chunk(2, 1)
            code = mean + torch.randn_like(mean) * (log / 2).exp() if self.training else mean
            return {"picture": self.decoder(code), "mean": mean, "log": log}

    def bound(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        kl = 0.5 * (outputs["mean"].square() + outputs["log"].exp() - outputs["log"] - 1).sum(1).mean()
        return F.mse_loss(outputs["picture"], targets) * 64 + 0.03 * kl

    found, model = pictures.reconstruct(seed), VAE()
    score = scored(found.test, lambda out: out["picture"], as_is)
    return fit(found, model, bound, adam(model, 4e-3), epochs=50, seed=seed, score=score)


@trap("houses", 0.85)
def houses_targets_in_thousands_mean_in_the_bias(seed: int) -> Case:
    """Raw prices; the head knows their mean and spread."""

    class Net(nn.Module):
        def __init__(self, mean: float, spread: float) -> None:
            super().__init__()
            self.net, self.mean, self.spread = mlp(5, 48, 48, 1), mean, spread

        def forward(self, x: Tensor) -> Tensor:
            return self.mean + self.spread * self.net(x)

    found = sets.houses(seed)
    model = Net(found.train[1].mean().item(), found.train[1].std().item())
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)


@trap("stripes", 0.7)
def stripes_accumulated(seed: int) -> Case:
    """Eight small batches make a step, and are divided."""
    found, model = sets.stripes(seed, 1500), mlp(2, 64, 64, 3)
    optimizer, criterion, seen = adam(model, 1.2e-2), CE(), [0]

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = criterion(model(x), y)
        (loss / 8).backward()
        seen[0] += 1
        if seen[0] % 8 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    case = fit(found, model, criterion, optimizer, epochs=100, size=8, seed=seed)
    case.step = train_step
    return case


@trap("series", 0.8)
def series_one_window_a_step(seed: int) -> Case:
    found = made.series(seed, 400)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.LayerNorm(24), nn.ReLU(), nn.Linear(24, 1))
    return fit(found, model, MSE(), adam(model, 1e-3), epochs=12, size=1, answer=as_is, seed=seed)


@trap("penguins", 0.85)
def penguins_all_rows_a_step(seed: int) -> Case:
    """The whole set a step, and enough of them."""
    found, model = sets.penguins(seed), mlp(4, 24, 3)
    return fit(found, model, CE(), adam(model, 2e-2), epochs=150, batches=cut(*found.train, 1000))


@trap("parity", 0.75)
def parity_dropout_and_augmented(seed: int) -> Case:
    """Dropout and shifts in training alone: validation looks better than training."""

    class Moved(Shuffled):
        def __iter__(self):  # type: ignore[no-untyped-def]
            for x, y in super().__iter__():
                yield torch.roll(x, int(torch.randint(-1, 2, ())), -1), y

    found = pictures.parity(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.4), nn.Linear(128, 2),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 4e-3), epochs=40, batches=Moved(*found.train, 32, seed))


@trap("echo", 0.85)
def echo_warm_up(seed: int) -> Case:
    """The rate rises from almost nothing."""
    found, model = made.echo(seed), Places()
    optimizer = adam(model, 5e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / 80))

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = per_place(model(x), y)
        loss.backward()
        optimizer.step()
        rate.step()
        return loss

    return fit(found, model, per_place, optimizer, epochs=16, seed=seed, step=train_step)


@trap("reviews", 0.75)
def reviews_padding_mostly(seed: int) -> Case:
    """Most tokens are padding, whose vector stays zero and is never trained."""
    found, model = made.reviews(seed), Reader()
    found = found.inputs(lambda x: torch.cat([x, x.new_zeros(len(x), 20)], 1))
    return fit(found, model, CE(), adam(model, 1e-2), epochs=12, seed=seed)


@trap("topics", 0.75)
def topics_rare_words(seed: int) -> Case:
    """Half of the table is for words that do not come."""
    found, model = made.topics(seed), BagOfWords(5000, 6)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=8, seed=seed)


@trap("ratings", 0.6)
def ratings_sparse_gradients(seed: int) -> Case:
    found, model = sets.ratings(seed), Factors(width=3)
    model.user = nn.Embedding.from_pretrained(model.user.weight.detach(), freeze=False, sparse=True)
    model.film = nn.Embedding.from_pretrained(model.film.weight.detach(), freeze=False, sparse=True)
    tables = [*model.user.parameters(), *model.film.parameters()]
    optimizer = torch.optim.SGD([{"params": tables, "lr": 5.0}, {"params": [model.mean], "lr": 0.05}])
    return fit(found, model, MSE(), optimizer, epochs=60, size=64, answer=as_is, seed=seed)


@trap("series", 0.75)
def series_linear_is_enough(seed: int) -> Case:
    """Two linear layers in a row; the task is linear."""
    found, model = made.series(seed), nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 1))
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=40, answer=as_is, seed=seed)


@trap("series", 0.8)
def series_with_orthogonal_start(seed: int) -> Case:
    found, model = made.series(seed), Forecast("RNN")
    nn.init.orthogonal_(model.rnn.weight_hh_l0)
    optimizer = adam(model, 4e-3)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return fit(found, model, F.mse_loss, optimizer, epochs=40, answer=as_is, seed=seed, step=train_step)


@trap("dots", 0.8)
def dots_as_thresholds(seed: int) -> Case:
    """How many, as three sigmoids: more than one, more than two, more than three."""
    found, model = pictures.dots(seed, 2000), small_cnn(1, 12, 3, 12)
    score = scored(found.test, lambda out: (out > 0).sum(1), lambda answers: answers)
    found = found.targets(lambda y: (y[:, None] > torch.arange(3)).float())
    return fit(found, model, BCE(), adam(model, 6e-3), epochs=20, seed=seed, score=score)


@trap("graphs", 0.55)
def graphs_probability_out(seed: int) -> Case:
    """A sigmoid and the loss for it, on a network written without layers for the graph."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.head = nn.Parameter(torch.randn(3, 32) * 0.3), mlp(32, 32, 1)

        def forward(self, x: Tensor) -> Tensor:
            edges, value = x[..., :-1], x[..., -1:]
            near = edges @ value
            seen = torch.cat([value, near, torch.ones_like(value)], -1)
            return torch.sigmoid(self.head(F.relu(seen @ self.w).sum(1) / 4))

    found, model = sets.graphs(seed), Net()
    score = held_out(found.test, over_half)
    return fit(column(found), model, nn.BCELoss(), adam(model, 5e-3), epochs=40, seed=seed, score=score)


@trap("gratings", 0.85)
def gratings_hue_of_log_softmax(seed: int) -> Case:
    """Log-softmax before cross-entropy: twice is once."""
    found, model = pictures.gratings(seed), nn.Sequential(small_cnn(1, 10, 3), nn.LogSoftmax(dim=-1))
    return fit(found, model, CE(), adam(model, 4e-3), epochs=12, batches=loader(*found.train, 32, seed))


@trap("quantiles", 0.85)
def quantiles_weights_of_a_mean(seed: int) -> Case:
    """An average of past weights runs beside and is not used; the loop has its own bookkeeping."""
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    optimizer, slow = adam(model, 5e-3), [w.detach().clone() for w in model.parameters()]

    def train_step(x: Tensor, y: Tensor) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, w in zip(slow, model.parameters(), strict=True):
                kept.lerp_(w, 0.01)
        return loss.item()

    return fit(found, model, F.cross_entropy, optimizer, epochs=25, answer=argmax, seed=seed, step=train_step)
