"""Slips in what a network is made of: size, pooling, normalising, dropout, memory, attention (C10 to C16)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, fit, held_out, loader, over_zero
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


@seeded("C10", "ripples", cured=48, clear=2, just=6)
def ripples_very_few_units(seed: int, amount: int) -> Case:
    found, model = sets.ripples(seed, 2000), mlp(2, amount, amount, 2, act=nn.Tanh)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=40, seed=seed)


@seeded("C10", "topics", cured=16, clear=1)
def topics_vectors_of_one_number(seed: int, amount: int) -> Case:
    found, model = made.topics(seed), BagOfWords(121, 6, amount)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=12, seed=seed)


@seeded("C10", "ratings", cured=False)
def ratings_without_vectors(seed: int, amount: bool) -> Case:
    """A number a user and one a film are added: who likes what cannot be said."""

    class Biases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.film = nn.Embedding(sets.USERS, 1), nn.Embedding(sets.FILMS, 1)

        def forward(self, pair: Tensor) -> Tensor:
            return 3 + self.user(pair[:, 0]) + self.film(pair[:, 1])

    found, model = sets.ratings(seed), Biases() if amount else Factors(width=3)
    return fit(found, model, MSE(), adam(model, 2e-2), epochs=15, size=64, answer=as_is, seed=seed)


@seeded("C11", "ripples", also="C4 C3", cured=3, clear=16, gross=30)
def ripples_thirty_layers(seed: int, amount: int) -> Case:
    found, model = sets.ripples(seed, 1500), mlp(2, *([24] * amount), 2)
    return fit(found, model, CE(), adam(model, 3e-3), epochs=20 if amount > 20 else 40, seed=seed)


@seeded("C11", "houses", also="C4 C3", cured=2, clear=18)
def houses_eighteen_layers(seed: int, amount: int) -> Case:
    found, model = standard_targets(sets.houses(seed)), mlp(5, *([32] * amount), 1)
    return fit(found, model, MSE(), sgd(model, 0.02), epochs=20, answer=as_is, seed=seed)


@seeded("C12", "arrows", also="C10")
def arrows_pooled_to_a_point(seed: int, amount: bool) -> Case:
    """Pooling after each layer until one place is left, and only then the larger convolution."""
    found = pictures.arrows(seed)
    if amount:
        model: nn.Module = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(9), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24, 4),
        )  # fmt: skip
    else:
        model = small_cnn(1, 9, 4, 12)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=14, seed=seed)


@seeded("C12", "dots", also="C10")
def dots_large_strides(seed: int, amount: bool) -> Case:
    found, pace = pictures.dots(seed), 4 if amount else 1
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=pace, padding=1), nn.ReLU(), nn.MaxPool2d(3 if amount else 2), nn.Flatten(),
        nn.LazyLinear(32), nn.ReLU(), nn.Linear(32, 4),
    )  # fmt: skip
    with torch.no_grad():
        model(found.train[0][:2])
    return fit(found, model, CE(), adam(model, 4e-3), epochs=14, seed=seed)


@seeded("C13", "glyphs", cured=32, clear=2)
def glyphs_batchnorm_of_two(seed: int, amount: int) -> Case:
    """The fix is the larger batch at the same number of epochs."""
    found = pictures.glyphs(seed, 900)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(144, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48), nn.BatchNorm1d(48),
        nn.ReLU(), nn.Linear(48, 10),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 3e-3), epochs=12, batches=loader(*found.train, amount, seed, True))


@seeded("C13", "houses", cured=0.1, clear=1e-4)
def houses_batchnorm_momentum_the_other_way(seed: int, amount: float) -> Case:
    """A momentum written as other libraries mean it: running statistics hardly follow."""
    found = standard_targets(sets.houses(seed, scaled=False))
    model = nn.Sequential(
        nn.BatchNorm1d(5, momentum=amount), nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    batches = loader(*found.train, 32, seed, True)
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, batches=batches)


@seeded("C13", "credit", cured=0.1, clear=0.99)
def credit_batchnorm_momentum_of_another_library(seed: int, amount: float) -> Case:
    """0.99 is how much is kept elsewhere, here how much is taken: the last eight rows decide."""
    found = sets.credit(seed, 1500, 4)
    model = nn.Sequential(
        nn.Linear(14, 64), nn.BatchNorm1d(64, momentum=amount), nn.ReLU(), nn.Linear(64, 64),
        nn.BatchNorm1d(64, momentum=amount), nn.ReLU(), nn.Linear(64, 4),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 2e-3), epochs=12, batches=loader(*found.train, 8, seed, True))


@seeded("C14", "parity", cured=0.0, clear=0.9, gross=0.97)
def parity_dropout(seed: int, amount: float) -> Case:
    found = pictures.parity(seed)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Dropout(amount), nn.Linear(48, 48), nn.ReLU(),
        nn.Dropout(amount), nn.Linear(48, 2),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 3e-3), epochs=25, seed=seed)


@seeded("C14", "circuit", cured=0.0, just=0.3, clear=0.6)
def circuit_dropout_in_regression(seed: int, amount: float) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 1)
            self.drop = nn.Dropout(amount)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.drop(F.relu(self.b(self.drop(F.relu(self.a(self.drop(x))))))))

    found, model = standard_targets(sets.circuit(seed)), Net()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


@seeded("C14", "reviews", cured=0.0, just=0.7)
def reviews_dropout_of_words(seed: int, amount: float) -> Case:
    class Net(Reader):
        def forward(self, tokens: Tensor) -> Tensor:
            out, _ = self.rnn(F.dropout(self.emb(tokens), amount, self.training))
            ends = (tokens != 0).sum(1) - 1
            return self.fc(F.dropout(out[torch.arange(len(out)), ends], amount, self.training))

    found, model = made.reviews(seed), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=12, seed=seed)


@seeded("C15", "largest", also="C4")
def largest_plain_memory(seed: int, amount: bool) -> Case:
    """What counts lies in the first five of sixty steps."""
    found = standard_targets(made.largest(seed, 700, 60, 5))
    model = Forecast("RNN") if amount else Forecast("GRU")
    if not amount:
        found = found.inputs(lambda x: x[:, :5])
    return fit(found, model, MSE(), adam(model, 1e-2), epochs=12, answer=as_is, seed=seed)


@seeded("C15", "reviews", also="A4 C16")
def reviews_reads_the_padding(seed: int, amount: bool) -> Case:
    """The state after the padding decides, in place of that at the last word; texts are padded to 60."""
    found = made.reviews(seed)
    found = found.inputs(lambda x: torch.cat([x, x.new_zeros(len(x), 46)], 1))
    model = Reader(last_real=not amount)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=6, seed=seed)


@seeded("C16", "echo", contract="the order of tokens cannot be seen")
def echo_without_positions(seed: int, amount: bool) -> Case:
    found, model = made.echo(seed), Places(placed=not amount)
    return fit(found, model, per_place, adam(model, 4e-3), epochs=12, seed=seed)


@seeded("C16", "echo", also="C2 C7", cured=0.25, clear=100.0)
def echo_attention_without_scale(seed: int, amount: float) -> Case:
    """Attention written by hand; products are not divided by the root of the width but far too large."""

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.pos = nn.Embedding(7, 16), nn.Parameter(torch.randn(8, 16))
            self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
            self.out = mlp(16, 32, 7)

        def forward(self, tokens: Tensor) -> Tensor:
            h = self.emb(tokens) + self.pos
            weights = (self.q(h) @ self.k(h).transpose(1, 2) * amount).softmax(-1)
            return self.out(weights @ self.v(h))

    found, model = made.echo(seed), Attend()
    return fit(found, model, per_place, adam(model, 5e-3), epochs=15, seed=seed)


@seeded("C16", "echo", also="A8", contract="a place sees the places to its right, which it is to foretell")
def echo_mask_of_the_future_forgotten(seed: int, amount: bool) -> Case:
    """Each place says the next token; judged as it is used: the future is not there yet."""

    class Next(Places):
        def forward(self, tokens: Tensor) -> Tensor:
            steps = tokens.shape[1]
            mask = None if amount else torch.ones(steps, steps, dtype=torch.bool).triu(1)
            return self.fc(self.block(self.emb(tokens) + self.pos[:steps], src_mask=mask))

    found, model = made.rabbits(seed), Next(7, 9)

    def one_after_another(module: nn.Module) -> float:
        """At the places whose next token can be known, each from what stands before it."""
        module.eval()
        tokens, truth = found.test
        with torch.no_grad():
            said = torch.stack([module(tokens[:, : place + 1])[:, -1].argmax(-1) for place in range(4, 9)], 1)
        module.train()
        return ((said == truth[:, 4:]).double().mean().item() - 1 / 6) / (1 - 1 / 6)

    return fit(found, model, per_place, adam(model, 5e-3), epochs=20, seed=seed, score=one_after_another)


@seeded("C12", "rhythm", also="C10")
def rhythm_averaged_in_time_first(seed: int, amount: bool) -> Case:
    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(2, 32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.mean(1))

    found, model = made.rhythm(seed), Early() if amount else Beats()
    return fit(found, model, CE(), adam(model, 4e-3), epochs=12, seed=seed)


@seeded("C13", "loans", also="E5")
def loans_batchnorm_never_in_training(seed: int, amount: bool) -> Case:
    """Statistics of BatchNorm are not tracked, and single examples are normalised by whoever stands beside."""
    found = sets.loans(seed, scaled=False)
    model = nn.Sequential(nn.BatchNorm1d(5, track_running_stats=not amount), *mlp(5, 32, 1))
    score = held_out(found.test, over_zero)
    if amount:
        # answers are asked for sorted by risk, ten at a time: how it is used
        def in_tens(module: nn.Module) -> float:
            module.eval()
            order = found.test[1].argsort()
            with torch.no_grad():
                outputs = torch.cat([module(x) for x in found.test[0][order].split(10)])
            module.train()
            right = (over_zero(outputs) == found.test[1][order]).double().mean().item()
            most = max(found.test[1].double().mean().item(), 1 - found.test[1].double().mean().item())
            return (right - most) / (1 - most)

        score = in_tens
    batches = loader(found.train[0], found.train[1].float()[:, None], 32, seed, True)
    return fit(column(found), model, BCE(), adam(model, 5e-3), epochs=20, batches=batches, score=score)
