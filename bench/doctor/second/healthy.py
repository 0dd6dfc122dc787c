"""Programs that are well, first part: tables, numbers, pictures, in the styles people write them in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Case, as_is, each_over_zero, fit, held_out, loader, over_half, over_zero
from bench.doctor.second import picture_sets as pictures
from bench.doctor.second import sets
from bench.doctor.second.networks import BCE, CE, MSE, Factors, GraphNet, Sets, adam, column, mlp, sgd, small_cnn
from bench.doctor.second.registry import healthy


@healthy("quantiles", 0.85)
def quantiles_plain(seed: int) -> Case:
    found, model = sets.quantiles(seed), mlp(2, 32, 32, 3)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=25, seed=seed)


@healthy("quantiles", 0.85)
def quantiles_five_shells_apart(seed: int) -> Case:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 40), nn.Linear(40, 40), nn.Linear(40, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = F.elu(self.fc1(x))
            x = F.elu(self.fc2(x))
            return self.fc3(x)

    found, model = sets.quantiles(seed, 900, 2), Classifier()
    return fit(found, model, F.cross_entropy, sgd(model, 0.05), epochs=60, batches=loader(*found.train, 32, seed))


@healthy("ripples", 0.75)
def ripples_tanh(seed: int) -> Case:
    found, model = sets.ripples(seed, 2000), mlp(2, 48, 48, 2, act=nn.Tanh)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=60, seed=seed)


@healthy("stripes", 0.75)
def stripes_gelu(seed: int) -> Case:
    found, model = sets.stripes(seed, 2000), mlp(2, 64, 64, 3, act=nn.GELU)
    best = torch.optim.AdamW(model.parameters(), lr=8e-3, weight_decay=1e-4)
    return fit(found, model, CE(), best, epochs=60, seed=seed)


@healthy("credit", 0.75)
def credit_one_logit(seed: int) -> Case:
    found, model = sets.credit(seed), mlp(14, 48, 24, 1)
    score = held_out(found.test, over_zero)
    return fit(column(found), model, BCE(), adam(model, 2e-3), epochs=25, seed=seed, score=score)


@healthy("credit", 0.6)
def credit_four_kinds_batchnorm(seed: int) -> Case:
    found = sets.credit(seed, 1500, 4)
    model = nn.Sequential(
        nn.Linear(14, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 4),
    )  # fmt: skip
    return fit(found, model, CE(), adam(model, 3e-3), epochs=25, batches=loader(*found.train, 64, seed, True))


@healthy("penguins", 0.85)
def penguins_linear(seed: int) -> Case:
    found, model = sets.penguins(seed), nn.Linear(4, 3)
    return fit(found, model, CE(), adam(model, 3e-2), epochs=30, size=16, seed=seed)


@healthy("penguins", 0.85)
def penguins_written_by_hand(seed: int) -> Case:
    """No layers at all: two matrices and two vectors."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1 = nn.Parameter(torch.randn(4, 20) * 0.5)
            self.b1 = nn.Parameter(torch.zeros(20))
            self.w2 = nn.Parameter(torch.randn(20, 3) * 0.2)
            self.b2 = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x @ self.w1 + self.b1) @ self.w2 + self.b2

    found, model = sets.penguins(seed), Net()
    return fit(found, model, F.cross_entropy, sgd(model, 0.1, 0.0), epochs=40, size=16, seed=seed)


@healthy("loans", 0.6)
def loans_sigmoid_at_the_end(seed: int) -> Case:
    found = sets.loans(seed)
    model = nn.Sequential(*mlp(5, 32, 16, 1), nn.Sigmoid())
    score = held_out(found.test, over_half)
    return fit(column(found), model, nn.BCELoss(), adam(model, 5e-3), epochs=25, seed=seed, score=score)


@healthy("houses", 0.9)
def houses_smooth_loss(seed: int) -> Case:
    found, model = sets.standard_targets(sets.houses(seed)), mlp(5, 48, 48, 1)
    return fit(found, model, nn.SmoothL1Loss(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@healthy("houses", 0.85)
def houses_two_heads(seed: int) -> Case:
    """A shared trunk; one head for the price, one for being dear, both in one tensor."""

    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = mlp(5, 48, 32)
            self.price, self.dear = nn.Linear(32, 1), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.trunk(x))
            return torch.cat([self.price(h), self.dear(h)], 1)

    def both(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, :1], targets[:, :1]) + 0.3 * F.binary_cross_entropy_with_logits(
            outputs[:, 1:], targets[:, 1:]
        )

    found, model = sets.standard_targets(sets.houses(seed)), TwoHeads()
    score = held_out(found.test, lambda outputs: outputs[:, :1])
    found = found.targets(lambda y: torch.cat([y, (y > 0.5).float()], 1))
    return fit(found, model, both, adam(model, 5e-3), epochs=30, seed=seed, score=score)


@healthy("circuit", 0.9)
def circuit_scaled(seed: int) -> Case:
    found, model = sets.standard_targets(sets.circuit(seed)), mlp(4, 40, 40, 1)
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@healthy("angle", 0.7)
def angle_huber(seed: int) -> Case:
    found, model = sets.standard_targets(sets.angle(seed)), mlp(4, 48, 48, 1, act=nn.SiLU)
    return fit(found, model, nn.HuberLoss(), adam(model, 5e-3), epochs=30, answer=as_is, seed=seed)


@healthy("scurve", 0.9)
def scurve_momentum(seed: int) -> Case:
    found, model = sets.standard_targets(sets.scurve(seed)), mlp(3, 40, 40, 1)
    return fit(found, model, MSE(), sgd(model, 0.03), epochs=30, answer=as_is, seed=seed)


@healthy("pendulum", 0.95)
def pendulum_two_numbers(seed: int) -> Case:
    found, model = sets.pendulum(seed), mlp(2, 40, 40, 2, act=nn.Tanh)
    return fit(found, model, F.mse_loss, adam(model, 5e-3), epochs=35, answer=as_is, seed=seed)


@healthy("parity", 0.8)
def parity_cnn(seed: int) -> Case:
    found, model = pictures.parity(seed), small_cnn(1, 8, 2)
    return fit(found, model, CE(), adam(model, 6e-3), epochs=24, seed=seed)


@healthy("parity", 0.8)
def parity_flat_one_unit(seed: int) -> Case:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(64, 64), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.out(F.relu(self.hidden(x.view(-1, 64))))).squeeze(1)

    found, model = pictures.parity(seed), Flat()
    score = held_out(found.test, over_half)
    found = found.targets(lambda y: y.float())
    return fit(found, model, F.binary_cross_entropy, adam(model, 5e-3), epochs=40, seed=seed, score=score)


@healthy("dots", 0.85)
def dots_cnn(seed: int) -> Case:
    found, model = pictures.dots(seed, 1800), small_cnn(1, 12, 4, 12)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=16, seed=seed)


@healthy("arrows", 0.85)
def arrows_cnn(seed: int) -> Case:
    found, model = pictures.arrows(seed), small_cnn(1, 9, 4, 12)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=14, batches=loader(*found.train, 32, seed))


@healthy("gratings", 0.85)
def gratings_average_pool(seed: int) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 5, padding=2)
            self.head = mlp(16, 32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.conv(x)).mean((2, 3)))

    found, model = pictures.gratings(seed), Net()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=14, seed=seed)


@healthy("patches", 0.8)
def patches_permuted(seed: int) -> Case:
    found, model = pictures.patches(seed).inputs(lambda x: x.permute(0, 3, 1, 2).contiguous()), small_cnn(3, 10, 4)
    return fit(found, model, CE(), adam(model, 5e-3), epochs=20, seed=seed)


@healthy("glyphs", 0.75)
def glyphs_cnn(seed: int) -> Case:
    found, model = pictures.glyphs(seed), small_cnn(1, 12, 10, 12)
    return fit(found, model, CE(), adam(model, 4e-3), epochs=16, batches=loader(*found.train, 32, seed))


@healthy("reconstruct", 0.6)
def reconstruct_autoencoder(seed: int) -> Case:
    class AutoEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp(64, 48, 12), mlp(12, 48, 64)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.decoder(self.encoder(x)))

    found, model = pictures.reconstruct(seed), AutoEncoder()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=40, answer=as_is, seed=seed)


@healthy("chords", 0.7)
def chords_five_labels(seed: int) -> Case:
    found, model = sets.chords(seed), mlp(16, 48, 5)
    score = held_out(found.test, each_over_zero)
    return fit(found.targets(lambda y: y.float()), model, BCE(), adam(model, 5e-3), epochs=25, seed=seed, score=score)


@healthy("ratings", 0.6)
def ratings_factors(seed: int) -> Case:
    found, model = sets.ratings(seed), Factors(width=3)
    best = torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=1e-2)
    return fit(found, model, MSE(), best, epochs=20, size=64, answer=as_is, seed=seed)


@healthy("graphs", 0.6)
def graphs_of_neighbours(seed: int) -> Case:
    found, model = sets.graphs(seed), GraphNet()
    return fit(found, model, CE(), adam(model, 1e-2), epochs=30, seed=seed)


@healthy("bags", 0.85)
def bags_of_points(seed: int) -> Case:
    found, model = sets.standard_targets(sets.bags(seed)), Sets()
    return fit(found, model, MSE(), adam(model, 5e-3), epochs=25, answer=as_is, seed=seed)
