"""Slips in the loop a person wrote (E), and what was learnt by heart (F)."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_half, over_zero
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
    GraphNet,
    adam,
    column,
    mlp,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import seeded

SUMS = "gradients are not cleared between steps"


@seeded("E1", "scurve", contract=SUMS)
def scurve_zero_grad_forgotten(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    optimizer, criterion = sgd(model, 0.02, 0.0), MSE()

    def train_step(x: Tensor, y: Tensor) -> float:
        loss = criterion(model(x), y)
        if not amount:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return fit(found, model, criterion, optimizer, epochs=60, answer=as_is, seed=seed, step=train_step)


@seeded("E1", "rhythm", contract=SUMS)
def rhythm_only_the_head_is_cleared(seed: int, amount: bool) -> Case:
    """Only the last layer's gradients are cleared."""
    found, model = made.rhythm(seed), Forecast("GRU", 2, 24, 4)
    optimizer = adam(model, 1e-2)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        (model.out if amount else model).zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return fit(found, model, F.cross_entropy, optimizer, epochs=12, seed=seed, step=train_step)


@seeded("E2", "topics", contract="layers in a dictionary are not registered")
def topics_layers_in_a_plain_dictionary(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = {"first": nn.Embedding(121, 16), "second": nn.Linear(16, 24)}
            self.parts = layers if amount else nn.ModuleDict(layers)
            self.out = nn.Linear(24, 6)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(torch.tanh(self.parts["second"](self.parts["first"](tokens).mean(1))))

    found, model = made.topics(seed), Net()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=12, seed=seed)


@seeded("E2", "glyphs")
def glyphs_frozen_and_never_trained(seed: int, amount: bool) -> Case:
    """As in a lesson on transfer, but nothing has been learnt beforehand."""
    found = pictures.glyphs(seed)
    backbone = nn.Sequential(*list(small_cnn(1, 12, 10, 12).children())[:-1])
    for parameter in backbone.parameters():
        parameter.requires_grad = not amount
    model = nn.Sequential(backbone, nn.Linear(216, 10))
    best = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=4e-3)
    return fit(found, model, CE(), best, epochs=12, seed=seed)


@seeded("E2", "ratings", contract="one of two tables is not given to the optimizer")
def ratings_films_not_in_the_optimizer(seed: int, amount: bool) -> Case:
    found, model = sets.ratings(seed), Factors(width=3, std=0.1)
    wanted = [*model.user.parameters(), model.mean] if amount else list(model.parameters())
    return fit(found, model, MSE(), torch.optim.Adam(wanted, lr=2e-2), epochs=15, size=64, answer=as_is, seed=seed)


@seeded("E2", "graphs", contract="the weights are made anew in each forward pass")
def graphs_layer_made_in_forward(seed: int, amount: bool) -> Case:
    class Net(GraphNet):
        def forward(self, x: Tensor) -> Tensor:
            edges, value = x[..., :-1], x[..., -1:]
            mix = nn.Linear(24, 24) if amount else self.mix
            h = F.relu(self.own(value) + self.near(edges @ value))
            return self.out(F.relu(mix(h)).mean(1))

    found, model = sets.graphs(seed), Net()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=20, seed=seed)


STALE = "the optimizer holds parameters that are not the module's"


@seeded("E3", "penguins", contract=STALE)
def penguins_optimizer_of_the_old_model(seed: int, amount: bool) -> Case:
    found, model = sets.penguins(seed), mlp(4, 24, 3)
    optimizer = sgd(model, 0.05)
    if amount:
        model = mlp(4, 24, 3)
    return fit(found, model, CE(), optimizer, epochs=20, size=16, seed=seed)


@seeded("E3", "series", contract=STALE)
def series_weights_loaded_into_a_copy(seed: int, amount: bool) -> Case:
    found, model = made.series(seed), Forecast()
    optimizer = adam(model, 5e-3)
    if amount:
        copied = copy.deepcopy(model)
        copied.load_state_dict(model.state_dict())
        model = copied
    return fit(found, model, nn.L1Loss(), optimizer, epochs=15, answer=as_is, seed=seed)


@seeded("E3", "reconstruct", contract=STALE)
def reconstruct_decoder_replaced(seed: int, amount: bool) -> Case:
    found, model = pictures.reconstruct(seed), nn.Sequential(mlp(64, 48, 12), mlp(12, 48, 64))
    optimizer = adam(model, 5e-3)
    if amount:
        model[1] = mlp(12, 64, 64)
    return fit(found, model, MSE(), optimizer, epochs=20, answer=as_is, seed=seed)


@seeded("E4", "quantiles", contract="the optimizer steps before backward, on gradients just cleared")
def quantiles_step_before_backward(seed: int, amount: bool) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    optimizer = adam(model, 5e-3)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if amount:
            optimizer.step()
            loss.backward()
        else:
            loss.backward()
            optimizer.step()
        return loss

    return fit(found, model, F.cross_entropy, optimizer, epochs=20, seed=seed, step=train_step)


@seeded("E4", "houses", contract="the loss is cut off from the network")
def houses_loss_made_anew(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.houses(seed)), mlp(5, 48, 1)
    optimizer, criterion = adam(model, 5e-3), MSE()

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if amount:
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()
        return loss

    return fit(found, model, criterion, optimizer, epochs=20, answer=as_is, seed=seed, step=train_step)


@seeded("E4", "topics", also="E2", contract="word vectors are looked up without a gradient")
def topics_features_under_no_grad(seed: int, amount: bool) -> Case:
    class Net(BagOfWords):
        def forward(self, tokens: Tensor) -> Tensor:
            with torch.set_grad_enabled(not amount and torch.is_grad_enabled()):
                seen = F.relu(self.fc1(self.emb(tokens).mean(1)))
            return self.fc2(seen)

    found, model = made.topics(seed), Net(121, 6, 4)
    return fit(found, model, CE(), adam(model, 1e-2), epochs=10, seed=seed)


@seeded("E4", "circuit", contract="the optimizer never steps")
def circuit_schedule_steps_and_optimizer_does_not(seed: int, amount: bool) -> Case:
    found, model = standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    def train_step(x: Tensor, y: Tensor) -> float:
        model.train()
        optimizer.zero_grad()
        loss = F.smooth_l1_loss(model(x), y)
        loss.backward()
        if not amount:
            optimizer.step()
        return loss.item()

    return fit(found, model, F.smooth_l1_loss, optimizer, epochs=20, answer=as_is, seed=seed, step=train_step)


@seeded("E5", "parity", also="C14")
def parity_functional_dropout_always_on(seed: int, amount: bool) -> Case:
    """`F.dropout(x, 0.6)` is on also when the network is used."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(64, 48), nn.Linear(48, 24), nn.Linear(24, 2)

        def forward(self, x: Tensor) -> Tensor:
            on = self.training or amount
            x = F.dropout(F.relu(self.a(x.flatten(1))), 0.5, on)
            return self.c(F.dropout(F.relu(self.b(x)), 0.5, on))

    found, model = pictures.parity(seed), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=30, batches=loader(*found.train, 32, seed))


@seeded("E5", "loans", also="C13")
def loans_eval_never_left(seed: int, amount: bool) -> Case:
    """After a first look at validation the network stays in evaluation: raw columns are not normalised."""
    found = sets.loans(seed, scaled=False)
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    score, optimizer, criterion = held_out(found.test, over_zero), adam(model, 5e-3), BCE()
    found = column(found)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        model.train(not amount)
        optimizer.zero_grad()
        loss: Tensor = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    batches = loader(*found.train, 32, seed, True)
    return fit(found, model, criterion, optimizer, epochs=20, batches=batches, step=train_step, score=score)


@seeded("E6", "arrows", also="D1", contract="gradients of 12 batches are added and not divided")
def arrows_accumulated_without_dividing(seed: int, amount: bool) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    optimizer, seen = sgd(model, 0.1), [0]

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(model(x), y)
        (loss / (1 if amount else 12)).backward()
        seen[0] += 1
        if seen[0] % 12 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    batches = cut(*found.train, 5)
    return fit(found, model, F.cross_entropy, optimizer, epochs=25, batches=batches, step=train_step)


@seeded("E6", "largest", contract="gradients are clipped after the step")
def largest_clipped_after_the_step(seed: int, amount: bool) -> Case:
    found, model = standard_targets(made.largest(seed)), Forecast("GRU")
    optimizer = adam(model, 1e-2)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        if not amount:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        if amount:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        return loss

    return fit(found, model, F.mse_loss, optimizer, epochs=12, answer=as_is, seed=seed, step=train_step)


@seeded("E7", "credit", also="C14", contract="each step begins with the same seed: one and the same mask")
def credit_seed_inside_the_loop(seed: int, amount: bool) -> Case:
    """One mask a batch, and always the same: at use units answer that were never trained."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(14, 96), nn.Linear(96, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x)) * F.dropout(torch.ones(96), 0.6, self.training))

    found, model = sets.credit(seed, 1500, 4).inputs(lambda x: x * 2), Masked()
    nn.init.normal_(model.b.weight, std=0.4)
    optimizer = adam(model, 3e-3)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        if amount:
            torch.manual_seed(0)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    batches = loader(*found.train, 30, seed, True)
    return fit(found, model, F.cross_entropy, optimizer, epochs=20, batches=batches, step=train_step)


@seeded("E8", "largest", also="C15", contract="the state of one batch begins the next, of other examples")
def largest_state_carried_on(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc = nn.GRU(1, 20, batch_first=True), nn.Linear(20, 1)
            self.state: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            fits = self.state is not None and self.state.shape[1] == len(x)
            states, last = self.rnn(x, self.state if amount and fits else None)
            self.state = last.detach()
            return self.fc(states[:, -1])

    found, model = standard_targets(made.largest(seed)), Net()
    batches = loader(*found.train, 30, seed, True)
    return fit(found, model, MSE(), adam(model, 1e-2), epochs=15, answer=as_is, batches=batches)


@seeded("F1", "angle", also="A14", cured=0, clear=60)
def angle_learnt_by_heart(seed: int, amount: int) -> Case:
    """A large network on sixty rows with loud noise, trained far too long; the fix stops early."""
    found, model = sets.only(standard_targets(sets.angle(seed)), 60), mlp(4, 256, 256, 1)
    draws = torch.Generator().manual_seed(seed)
    noisy = found.train[1] + 0.7 * torch.randn(found.train[1].shape, generator=draws)
    found = found.training(found.train[0], noisy)
    return fit(found, model, MSE(), adam(model, 1e-3), epochs=400 if amount else 12, size=20, answer=as_is, seed=seed)


@seeded("F1", "houses", also="A14 A6")
def houses_wide_and_long(seed: int, amount: bool) -> Case:
    """Ninety rows with noise; the fix is decay and a stop."""
    found = sets.only(standard_targets(sets.houses(seed)), 90)
    draws = torch.Generator().manual_seed(seed)
    found = found.training(found.train[0], found.train[1] + 0.8 * torch.randn(found.train[1].shape, generator=draws))
    model = mlp(5, 200, 200, 1)
    best = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0 if amount else 0.3)
    return fit(found, model, MSE(), best, epochs=300 if amount else 12, size=16, answer=as_is, seed=seed)


@seeded("E5", "dots", also="C14", contract="answers at use differ from call to call")
def dots_noise_never_off(seed: int, amount: bool) -> Case:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = small_cnn(1, 12, 24), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            if self.training or amount:
                x = x + 0.5 * torch.randn_like(x)
            return torch.sigmoid(self.head(F.relu(self.body(x))))

    found, model = pictures.dots(seed).targets(lambda y: (y > 1).long()), Noisy()
    score = held_out(found.test, over_half)
    return fit(column(found), model, nn.BCELoss(), adam(model, 4e-3), epochs=14, seed=seed, score=score)
