"""Programs that are well, second part: series, texts as word numbers, other loops and schedules."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, argmax, as_is, cut, fit, loader
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sequence_sets as made
from bench.doctor.second import sets
from bench.doctor.second.networks import (
    CE,
    MSE,
    BagOfWords,
    Beats,
    Forecast,
    Places,
    Reader,
    adam,
    mlp,
    per_place,
    scored,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import healthy


@healthy("series", 0.8)
def series_gru(seed: int) -> Case:
    found, model = made.series(seed), Forecast()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


@healthy("series", 0.8)
def series_windows_flat(seed: int) -> Case:
    found, model = made.series(seed), nn.Sequential(nn.Flatten(), *mlp(12, 32, 1))
    return fit(found, model, nn.L1Loss(), adam(model, 3e-3), epochs=30, answer=as_is, seed=seed)


@healthy("rhythm", 0.85)
def rhythm_conv(seed: int) -> Case:
    found, model = made.rhythm(seed), Beats()
    return fit(found, model, CE(), adam(model, 4e-3), epochs=12, seed=seed)


@healthy("rhythm", 0.8)
def rhythm_gru(seed: int) -> Case:
    found, model = made.rhythm(seed), Forecast("GRU", 2, 24, 4)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=15, seed=seed)


@healthy("echo", 0.85)
def echo_transformer(seed: int) -> Case:
    found, model = made.echo(seed), Places()
    return fit(found, model, per_place, adam(model, 4e-3), epochs=14, seed=seed)


@healthy("echo", 0.9)
def echo_gru_each_place(seed: int) -> Case:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(7, 12)
            self.gru = nn.GRU(12, 32, batch_first=True)
            self.fc = nn.Linear(32, 7)

        def forward(self, tokens: Tensor) -> Tensor:
            states, _ = self.gru(self.emb(tokens))
            return self.fc(states).transpose(1, 2)

    found, model = made.echo(seed), Tagger()
    score = scored(found.test, lambda out: out.transpose(1, 2), argmax)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=12, seed=seed, score=score)


@healthy("reviews", 0.75)
def reviews_lstm(seed: int) -> Case:
    found, model = made.reviews(seed), Reader()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=15, seed=seed)


@healthy("reviews", 0.75)
def reviews_conv(seed: int) -> Case:
    class TextCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(len(made.WORDS), 16, padding_idx=0)
            self.conv, self.fc = nn.Conv1d(16, 32, 2), nn.Linear(32, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.fc(F.relu(self.conv(self.emb(tokens).transpose(1, 2))).sum(-1))

    found, model = made.reviews(seed), TextCNN()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=25, seed=seed)


@healthy("topics", 0.75)
def topics_bag(seed: int) -> Case:
    found, model = made.topics(seed), BagOfWords(121, 6)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=8, seed=seed)


@healthy("topics", 0.75)
def topics_embedding_bag(seed: int) -> Case:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(121, 24, mode="mean", padding_idx=0)
            self.fc = nn.Linear(24, 6)

        def forward(self, tokens: Tensor) -> Tensor:
            return F.log_softmax(self.fc(self.bag(tokens)), dim=1)

    found, model = made.topics(seed), Bag()
    return fit(found, model, F.nll_loss, adam(model, 2e-2), epochs=10, batches=loader(*found.train, 32, seed))


@healthy("largest", 0.85)
def largest_lstm(seed: int) -> Case:
    found, model = sets.standard_targets(made.largest(seed)), Forecast("LSTM")
    return fit(found, model, MSE(), adam(model, 1e-2), epochs=20, answer=as_is, seed=seed)


@healthy("credit", 0.75)
def credit_own_step_clipped(seed: int) -> Case:
    found, model = sets.credit(seed), mlp(14, 48, 48, 2)
    optimizer, criterion = adam(model, 3e-3), CE()

    def train_step(x: Tensor, y: Tensor) -> float:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.item())

    return fit(found, model, criterion, optimizer, epochs=20, seed=seed, step=train_step)


@healthy("circuit", 0.9)
def circuit_cosine_schedule(seed: int) -> Case:
    found, model = sets.standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    optimizer, criterion, epochs = adam(model, 1e-2), MSE(), 30
    case = fit(found, model, criterion, optimizer, epochs=epochs, answer=as_is, seed=seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(case.batches))

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    case.step = train_step
    return case


@healthy("glyphs", 0.6)
def glyphs_residual(seed: int) -> Case:
    class Res(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.body(x))

    found = pictures.glyphs(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Res(12), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(12 * 9, 10),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 4e-3), epochs=18, batches=loader(*found.train, 32, seed, True))


@healthy("reconstruct", 0.6)
def reconstruct_conv(seed: int) -> Case:
    class ConvAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
            self.code = nn.Linear(12 * 16, 12)
            self.up = mlp(12, 64, 64)

        def forward(self, x: Tensor) -> Tensor:
            return self.up(self.code(self.down(x.view(-1, 1, 8, 8))))

    found, model = pictures.reconstruct(seed), ConvAE()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)


@healthy("stripes", 0.7)
def stripes_layernorm(seed: int) -> Case:
    found = sets.stripes(seed)
    model = nn.Sequential(
        nn.Linear(2, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 3)
    )
    return fit(found, model, CE(), adam(model, 5e-3), epochs=40, batches=loader(*found.train, 32, seed))


@healthy("houses", 0.85)
def houses_dict_of_outputs(seed: int) -> Case:
    """Outputs come as a dictionary, the loss takes what it needs."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.mean = mlp(5, 48, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            features = F.relu(self.body(x))
            return {"price": self.mean(features), "features": features}

    def loss(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return F.mse_loss(outputs["price"], targets) + 1e-4 * outputs["features"].square().mean()

    found, model = sets.standard_targets(sets.houses(seed)), Model()
    score = scored(found.test, lambda out: out["price"], as_is)
    return fit(found, model, loss, adam(model, 5e-3), epochs=30, seed=seed, score=score)


@healthy("penguins", 0.85)
def penguins_batches_in_a_list(seed: int) -> Case:
    found, model = sets.penguins(seed), mlp(4, 16, 3, act=nn.LeakyReLU)
    rows: list[Any] = cut(*found.train, 20)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=25, batches=rows)


@healthy("pendulum", 0.9)
def pendulum_difference_learnt(seed: int) -> Case:
    """The network says by how much the state changes."""

    class Change(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(2, 32, 32, 2, act=nn.Softplus)

        def forward(self, state: Tensor) -> Tensor:
            return state + self.net(state)

    found, model = sets.pendulum(seed), Change()
    return fit(found, model, MSE(), adam(model, 1e-2), epochs=30, answer=as_is, seed=seed)


@healthy("gratings", 0.85)
def gratings_small_rows(seed: int) -> Case:
    found, model = pictures.gratings(seed), small_cnn(1, 10, 3)
    return fit(found, model, CE(), sgd(model, 0.03), epochs=14, size=20, seed=seed)
