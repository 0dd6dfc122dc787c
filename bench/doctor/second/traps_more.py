"""Odd but healthy, second part: layers, freezing, data and evaluations that look wrong."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, cut, each_over_zero, fit, held_out, loader, over_zero
from bench.doctor.programs.sets import standard_targets
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
    Sets,
    adam,
    column,
    mlp,
    per_place,
    sgd,
    small_cnn,
)
from bench.doctor.second.registry import trap
from bench.doctor.second.sets import Split


@trap("penguins", 0.85)
def penguins_raw_into_batchnorm(seed: int) -> Case:
    found = sets.penguins(seed, scaled=False)
    model = nn.Sequential(nn.BatchNorm1d(4), *mlp(4, 24, 3))
    return fit(found, model, CE(), adam(model, 1e-2), epochs=30, batches=loader(*found.train, 20, seed, True))


@trap("houses", 0.85)
def houses_raw_scaled_inside(seed: int) -> Case:
    """Raw columns; the first lines of `forward` scale them."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mlp(5, 48, 48, 1)

        def forward(self, x: Tensor) -> Tensor:
            middle, width = torch.tensor([140.0, 5, 1960, 6, 2]), torch.tensor([65.0, 2.5, 35, 6, 1.5])
            return self.layers((x - middle) / width)

    found, model = standard_targets(sets.houses(seed, scaled=False)), Net()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@trap("parity", 0.75)
def parity_grey_levels_divided_inside(seed: int) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_cnn(1, 8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.float() / 255 - 0.5)

    found, model = pictures.parity(seed, raw=True), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=24, seed=seed)


@trap("loans", 0.4)
def loans_rare_and_weighed(seed: int) -> Case:
    """One class is rare, and weighed."""
    found = sets.loans(seed, 5000, limit=4.2)
    score = held_out(found.test, over_zero, balanced=True)
    share = found.train[1].float().mean()
    found, model = column(found), mlp(5, 16, 1)
    loss = nn.BCEWithLogitsLoss(pos_weight=(1 - share) / share)
    return fit(found, model, loss, adam(model, 5e-3), epochs=20, size=64, seed=seed, score=score)


@trap("glyphs", 0.6)
def glyphs_pretrained_and_frozen(seed: int) -> Case:
    """A body that learnt seven digits beforehand is frozen; a new head learns all."""
    found = pictures.glyphs(seed, 1797)
    body = nn.Sequential(*list(small_cnn(1, 12, 10, 16).children())[:-1])
    before = nn.Sequential(body, nn.Linear(288, 10))
    optimizer = adam(before, 4e-3)
    known = found.train[1] < 8
    for _ in range(8):
        for x, y in cut(found.train[0][known], found.train[1][known], 32):
            optimizer.zero_grad()
            F.cross_entropy(before(x), y).backward()
            optimizer.step()
    for parameter in body.parameters():
        parameter.requires_grad = False
        parameter.grad = None
    model = nn.Sequential(body, nn.Linear(288, 10))
    return fit(found, model, CE(), adam(model[1], 4e-3), epochs=20, seed=seed)


@trap("arrows", 0.85)
def arrows_feature_extractor_in_eval(seed: int) -> Case:
    """The frozen body with BatchNorm stays in evaluation during training, on purpose."""

    class Net(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body, self.head = body, nn.Linear(192, 4)
            self.body.requires_grad_(False)

        def train(self, mode: bool = True) -> "Net":
            super().train(mode)
            self.body.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))

    found = pictures.arrows(seed)
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1),
        nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    before = nn.Sequential(body, nn.Linear(192, 4))
    optimizer = adam(before, 5e-3)
    for _ in range(8):
        for x, y in cut(*found.train, 32):
            optimizer.zero_grad()
            F.cross_entropy(before(x), y).backward()
            optimizer.step()
    for parameter in body.parameters():
        parameter.grad = None
    model = Net(body)
    return fit(found, model, CE(), adam(model.head, 5e-3), epochs=15, seed=seed)


@trap("reconstruct", 0.55)
def reconstruct_tied_weights(seed: int) -> Case:
    """The decoder uses the encoder's matrix the other way round."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2 = nn.Parameter(torch.randn(48, 64) * 0.1), nn.Parameter(torch.randn(12, 48) * 0.15)
            self.b = nn.ParameterList([nn.Parameter(torch.zeros(n)) for n in (48, 12, 48, 64)])

        def forward(self, x: Tensor) -> Tensor:
            x = F.linear(F.relu(F.linear(x, self.w1, self.b[0])), self.w2, self.b[1])
            return F.linear(F.relu(F.linear(x, self.w2.t(), self.b[2])), self.w1.t(), self.b[3])

    found, model = pictures.reconstruct(seed), Tied()
    return fit(found, model, MSE(), adam(model, 4e-3), epochs=50, answer=as_is, seed=seed)


@trap("credit", 0.75)
def credit_sparse_by_threshold(seed: int) -> Case:
    """Most activations are zero; each unit is awake for some."""
    found, model = sets.credit(seed), mlp(14, 200, 2)
    for name, weight in model[0].named_parameters():
        nn.init.constant_(weight, -1.2) if name == "bias" else nn.init.normal_(weight, std=0.35)
    return fit(found, model, CE(), adam(model, 3e-3), epochs=20, seed=seed)


@trap("quantiles", 0.85)
def quantiles_with_inputs_from_3_to_9(seed: int) -> Case:
    """Inputs are all above zero, and it is no matter."""
    found, model = sets.quantiles(seed).inputs(lambda x: x + 2), mlp(2, 48, 48, 3)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=40, seed=seed)


@trap("stripes", 0.7)
def stripes_maxout(seed: int) -> Case:
    """No activation, but the largest of four linear pieces."""

    class Maxout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 128), nn.Linear(32, 128), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x).unflatten(1, (32, 4)).amax(-1)
            return self.c(self.b(x).unflatten(1, (32, 4)).amax(-1))

    found, model = sets.stripes(seed, 2000), Maxout()
    return fit(found, model, CE(), adam(model, 3e-3), epochs=50, seed=seed)


@trap("bags", 0.85)
def bags_narrow_in_the_middle(seed: int) -> Case:
    """Two linear layers on purpose, with four numbers between them."""

    class Narrow(Sets):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Linear(32, 4, bias=False), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))

    found, model = standard_targets(sets.bags(seed)), Narrow()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@trap("rhythm", 0.8)
def rhythm_louder_inputs(seed: int) -> Case:
    """New noise in training alone."""

    class Noisy(Beats):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0.1 * torch.randn_like(x) if self.training else x)

    found, model = made.rhythm(seed), Noisy()
    return fit(found, model, CE(), adam(model, 4e-3), epochs=16, seed=seed)


@trap("echo", 0.85)
def echo_hidden_places_do_not_count(seed: int) -> Case:
    """The first two places are left out of the loss by their number."""
    found, model = made.echo(seed), Places()
    hidden = found.targets(lambda y: torch.cat([torch.full_like(y[:, :2], -100), y[:, 2:]], 1))

    def judge(module: nn.Module) -> float:
        module.eval()
        with torch.no_grad():
            right = (module(found.test[0])[:, 2:].argmax(-1) == found.test[1][:, 2:]).double().mean().item()
        module.train()
        return (right - 1 / 6) / (1 - 1 / 6)

    return fit(hidden, model, per_place, adam(model, 4e-3), epochs=14, seed=seed, score=judge)


@trap("series", 0.8)
def series_not_shuffled(seed: int) -> Case:
    """Windows in a fixed order of chance, never shuffled again."""
    found, model = made.series(seed), Forecast("LSTM")
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, batches=cut(*found.train, 27))


@trap("topics", 0.75)
def topics_batches_of_other_sizes(seed: int) -> Case:
    """Batches of 7, 20 and 61 in turn."""
    found, model = made.topics(seed), BagOfWords(121, 6)
    sizes = [7, 20, 61] * 20
    while sum(sizes) > len(found.train[0]):
        sizes.pop()
    sizes.append(len(found.train[0]) - sum(sizes))
    rows = list(zip(found.train[0].split(sizes), found.train[1].split(sizes), strict=True))
    return fit(found, model, CE(), adam(model, 8e-3), epochs=8, batches=[pair for pair in rows if len(pair[0])])


@trap("chords", 0.7)
def chords_smoothed_targets(seed: int) -> Case:
    """Targets of 0.05 and 0.95: the loss has a floor far above zero."""
    found, model = sets.chords(seed), mlp(16, 48, 5)
    score = held_out(found.test, each_over_zero)
    found = found.targets(lambda y: y.float() * 0.9 + 0.05)
    return fit(found, model, nn.BCEWithLogitsLoss(), adam(model, 5e-3), epochs=25, seed=seed, score=score)


@trap("dots", 0.8)
def dots_learnt_as_a_number(seed: int) -> Case:
    """How many is a number here, scaled and judged as one."""
    found = standard_targets(pictures.dots(seed).targets(lambda y: y.float().reshape(-1, 1)))
    model = small_cnn(1, 12, 1)
    return fit(found, model, nn.SmoothL1Loss(), adam(model, 4e-3), epochs=20, answer=as_is, seed=seed)


@trap("circuit", 0.85)
def circuit_decoupled_decay(seed: int) -> Case:
    """A decay of 0.1 looks large; it is decoupled and multiplied by a small rate."""
    found, model = standard_targets(sets.circuit(seed)), mlp(4, 64, 64, 1)
    best = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.1)
    return fit(found, model, MSE(), best, epochs=30, answer=as_is, seed=seed)


@trap("angle", 0.65)
def angle_early_end_with_best_weights(seed: int) -> Case:
    """The loop keeps the best weights by validation and goes back to them at each epoch's end."""
    found, model = standard_targets(sets.angle(seed)), mlp(4, 64, 64, 1)
    optimizer, seen = adam(model, 3e-3), [0]
    best: list[Any] = [1e9, copy.deepcopy(model.state_dict())]
    case = fit(found, model, MSE(), optimizer, epochs=30, answer=as_is, seed=seed)
    rows = len(case.batches)

    def train_step(x: Tensor, y: Tensor) -> float:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        seen[0] += 1
        if seen[0] % rows == 0:
            with torch.no_grad():
                value = F.mse_loss(model(found.validation[0]), found.validation[1]).item()
            if value < best[0]:
                best[:] = [value, copy.deepcopy(model.state_dict())]
        return loss.item()

    case.step = train_step
    return case


@trap("gratings", 0.85)
def gratings_fixed_filters(seed: int) -> Case:
    """Filters of chance that are buffers, not parameters; only the head learns."""

    class Net(nn.Module):
        filters: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("filters", torch.randn(64, 1, 5, 5) / 5)
            self.head = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(F.conv2d(x, self.filters)).mean((2, 3)))

    found, model = pictures.gratings(seed), Net()
    return fit(found, model, CE(), adam(model, 3e-2), epochs=25, seed=seed)


@trap("pendulum", 0.9)
def pendulum_large_outputs_on_purpose(seed: int) -> Case:
    """Steep hard-tanh units with a gain; descent with Nesterov's momentum."""
    found, model = sets.pendulum(seed), mlp(2, 64, 64, 2, act=nn.Hardtanh)
    return fit(found, model, MSE(), sgd(model, 0.03, nesterov=True), epochs=40, answer=as_is, seed=seed)


@trap("patches", 0.75)
def patches_channels_last_inside(seed: int) -> Case:
    """Inputs come with the colour last; the network turns them itself."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_cnn(3, 10, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.movedim(-1, 1))

    found, model = pictures.patches(seed), Net()
    return fit(found, model, CE(), adam(model, 5e-3), epochs=20, seed=seed)


@trap("credit", 0.75)
def credit_few_rows_to_validate(seed: int) -> Case:
    found, model = sets.credit(seed), mlp(14, 48, 24, 2)
    found = Split(found.train, (found.validation[0][:14], found.validation[1][:14]), found.test)
    return fit(found, model, CE(), adam(model, 2e-3), epochs=25, batches=loader(*found.train, 25, seed))


@trap("scurve", 0.9)
def scurve_summed_for_adam(seed: int) -> Case:
    """A sum as loss, and a small rate of Adam."""
    found, model = standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1, act=nn.Mish)
    return fit(found, model, nn.MSELoss(reduction="sum"), adam(model, 4e-3), epochs=30, answer=as_is, seed=seed)
