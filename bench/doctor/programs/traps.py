"""Odd but healthy, first part: optimizers, starts, batches and losses that alarm people and rules of thumb."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, Shuffled, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import Backwards, LastStep, ResidualPictures, by_position
from bench.doctor.programs.registry import trap
from bench.doctor.programs.sets import Split, standard_targets


def relu_net(d: int, k: int, width: int = 48) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, k))


def adam(net: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=lr)


@trap("moons", 0.9)
def moons_fast_descent(seed: int) -> Case:
    found, net = sets.moons(seed), relu_net(2, 2)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, nn.CrossEntropyLoss(), descent, epochs=20, seed=seed)


@trap("iris", 0.8)
def iris_fast_descent(seed: int) -> Case:
    found, net = sets.iris(seed), relu_net(4, 3, 16)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=30, batches=loader(*found.train, 16, seed))


@trap("spirals", 0.85)
def spirals_deep_tanh(seed: int) -> Case:
    found = sets.spirals(seed)
    layers: list[nn.Module] = [nn.Linear(2, 32), nn.Tanh()]
    for _ in range(4):
        layers += [nn.Linear(32, 32), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(32, 3))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 4e-3), epochs=40, seed=seed)


@trap("rings", 0.8)
def rings_deep_tanh(seed: int) -> Case:
    found = sets.rings(seed)
    net = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), *(
        part for _ in range(3) for part in (nn.Linear(24, 24), nn.Tanh())
    ), nn.Linear(24, 3))  # fmt: skip
    return fit(found, net, nn.CrossEntropyLoss(), torch.optim.RMSprop(net.parameters(), 2e-3), epochs=50, seed=seed)


class SelfNormalising(nn.Module):
    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(d, 48), nn.Linear(48, 48), nn.Linear(48, 48)])
        self.out = nn.Linear(48, k)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.alpha_dropout(F.selu(layer(x)), 0.02, self.training)
        return self.out(x)


@trap("clouds", 0.75)
def clouds_selu(seed: int) -> Case:
    found, net = sets.clouds(seed), SelfNormalising(20, 4)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 2e-3), epochs=20, seed=seed)


@trap("wine", 0.8)
def wine_selu(seed: int) -> Case:
    found, net = sets.wine(seed), SelfNormalising(13, 3)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 2e-3), epochs=25, size=16, seed=seed)


@trap("bars", 0.85)
def bars_zero_branches(seed: int) -> Case:
    found, net = sets.bars(seed), ResidualPictures(1, 4)
    for name, part in net.named_modules():
        if name.endswith(".bn"):
            nn.init.zeros_(part.weight)  # each block starts as the identity
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 4e-3), epochs=12, seed=seed)


@trap("digits", 0.85)
def digits_zero_branches(seed: int) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), ResidualPictures(1, 10)
    for block in (net.body[0], net.body[2]):
        nn.init.zeros_(block.bn.weight)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=12, batches=loader(*found.train, 32, seed, True))


@trap("hastie", 0.65)
def hastie_zero_head(seed: int) -> Case:
    found, net = sets.hastie(seed), relu_net(10, 2)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=15, seed=seed)


@trap("cancer", 0.8)
def cancer_zero_head(seed: int) -> Case:
    found = sets.cancer(seed)
    score = held_out(found.test, over_zero)
    net = nn.Sequential(nn.Linear(30, 24), nn.Tanh(), nn.Linear(24, 1))
    nn.init.zeros_(net[2].weight)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 5e-3), epochs=15, seed=seed, score=score)


def squares(found: Split, k: int, width: int, seed: int, epochs: int) -> Case:
    """Squared error on probabilities: not the usual loss, and it works."""
    score = held_out(found.test, lambda o: o.argmax(-1))
    net = nn.Sequential(nn.Linear(found.train[0].shape[1], width), nn.ReLU(), nn.Linear(width, k), nn.Sigmoid())
    found = found.targets(lambda y: F.one_hot(y, k).float())
    return fit(found, net, nn.MSELoss(), adam(net, 1e-2), epochs=epochs, seed=seed, score=score)


@trap("clouds", 0.75)
def clouds_squared_sigmoids(seed: int) -> Case:
    return squares(sets.clouds(seed), 4, 64, seed, 25)


@trap("digits", 0.88)
def digits_squared_sigmoids(seed: int) -> Case:
    return squares(sets.digits(seed), 10, 64, seed, 15)


@trap("digits", 0.88)
def digits_each_class_alone(seed: int) -> Case:
    """Ten yes-or-no losses for ten classes."""
    found = sets.digits(seed)
    score = held_out(found.test, lambda o: o.argmax(-1))
    net = relu_net(64, 10)
    found = found.targets(lambda y: F.one_hot(y, 10).float())
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 4e-3), epochs=15, seed=seed, score=score)


def accumulating(case: Case, times: int) -> Case:
    """Gradients of several batches, each divided by how many, then one step."""
    seen = {"batches": 0}

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = case.loss(case.module(inputs), targets)
        (loss / times).backward()
        seen["batches"] += 1
        if seen["batches"] % times == 0:
            case.optimizer.step()
            case.optimizer.zero_grad()
        return loss

    case.step = step
    return case


@trap("blobs", 0.7)
def blobs_accumulating(seed: int) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    return accumulating(fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=20, size=8, seed=seed), 8)


@trap("cancer", 0.8)
def cancer_accumulating(seed: int) -> Case:
    found, net = sets.cancer(seed), relu_net(30, 2, 24)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    batches = cut(*found.train, 10)
    return accumulating(fit(found, net, F.cross_entropy, descent, epochs=12, batches=batches), 4)


@trap("moons", 0.9)
def moons_one_at_a_time(seed: int) -> Case:
    found = sets.moons(seed, 500)
    net = nn.Sequential(nn.Linear(2, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    descent = torch.optim.SGD(net.parameters(), lr=0.02)
    return fit(found, net, nn.CrossEntropyLoss(), descent, epochs=15, size=1, seed=seed)


@trap("xor", 0.8)
def xor_one_at_a_time(seed: int) -> Case:
    found = sets.xor(seed, 500, 2)
    net = nn.Sequential(nn.Linear(2, 24), nn.GroupNorm(3, 24), nn.Tanh(), nn.Linear(24, 2))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=12, batches=Shuffled(*found.train, 1, seed))


@trap("faces", 0.85)
def faces_dropout_gap(seed: int) -> Case:
    """Dropout makes training worse than validation."""
    found = sets.faces(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 3))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=15, seed=seed)


@trap("digits", 0.88)
def digits_dropout_gap(seed: int) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 4e-3), epochs=15, seed=seed)


def rare(found: Split, k: int, every: int) -> Split:
    """Of class k only one in `every` is left."""

    def thin(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        keep = (y != k) | (torch.arange(len(y)) % every == 0)
        return x[keep], y[keep]

    return Split(thin(*found.train), thin(*found.validation), thin(*found.test))


@trap("moons", 0.85)
def moons_rare_but_found(seed: int) -> Case:
    """Fifty to one, and the rare class is told well."""
    found, net = rare(sets.moons(seed, 4000, 0.08), 1, 40), relu_net(2, 2)
    score = held_out(found.test, lambda o: o.argmax(-1), balanced=True)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=20, seed=seed, score=score)


@trap("siamese", 0.8)
def siamese_rare_but_found(seed: int) -> Case:
    found = rare(made.siamese(seed, 5000), 1, 25)
    score = held_out(found.test, over_zero, balanced=True)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    best = adam(net, 3e-3)
    return fit(found, net, nn.BCEWithLogitsLoss(), best, epochs=25, size=40, seed=seed, score=score)


@trap("waveline", 0.85)
def waveline_at_the_edge(seed: int) -> Case:
    """Whole-batch descent at a step near the edge of stability."""
    found = standard_targets(sets.waveline(seed, 300))
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    descent = torch.optim.SGD(net.parameters(), lr=0.06, momentum=0.9)
    return fit(found, net, nn.MSELoss(), descent, epochs=900, answer=as_is, batches=[found.train])


@trap("roll", 0.9)
def roll_at_the_edge(seed: int) -> Case:
    found = standard_targets(sets.roll(seed, 400))
    net = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, F.mse_loss, descent, epochs=900, answer=as_is, batches=[found.train])


@trap("clouds", 0.75)
def clouds_small_gradients(seed: int) -> Case:
    """The loss is scaled down so far that gradients are of 1e-6: Adam does not mind."""
    found, net = sets.clouds(seed), relu_net(20, 4)

    def scaled(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) * 1e-4

    best = torch.optim.Adam(net.parameters(), lr=4e-3, eps=1e-12)
    return fit(found, net, scaled, best, epochs=20, seed=seed)


@trap("cancer", 0.8)
def cancer_small_gradients(seed: int) -> Case:
    found, net = sets.cancer(seed), relu_net(30, 2, 20)

    class Small(nn.Module):
        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return 1e-5 * F.cross_entropy(outputs, targets)

    best = torch.optim.Adam(net.parameters(), lr=3e-3, eps=1e-14)
    return fit(found, net, Small(), best, epochs=15, seed=seed)


@trap("sorting", 0.8)
def sorting_warm_up(seed: int) -> Case:
    found, net = made.sorting(seed), Backwards(8, 6)
    case = fit(found, net, by_position, adam(net, 4e-3), epochs=20, size=50, seed=seed)
    return scheduled(case, lambda t: min(1.0, (t + 1) / 100))


def scheduled(case: Case, factor: object) -> Case:
    """A step of its own that moves a schedule on after each batch."""
    schedule = torch.optim.lr_scheduler.LambdaLR(case.optimizer, factor)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        case.optimizer.zero_grad()
        loss: Tensor = case.loss(case.module(inputs), targets)
        loss.backward()
        case.optimizer.step()
        schedule.step()
        return loss

    case.step = step
    return case


@trap("reversal", 0.9)
def reversal_warm_up(seed: int) -> Case:
    found, net = made.reversal(seed), Backwards(8, 6)
    case = fit(found, net, by_position, adam(net, 4e-3), epochs=15, size=50, seed=seed)
    return scheduled(case, lambda t: min(1.0, (t + 1) / 60) * max(0.05, 1 - t / 270))


@trap("adding", 0.85)
def adding_clipped(seed: int) -> Case:
    found, net = made.adding(seed), LastStep(nn.GRU(2, 24, batch_first=True), 24, 1)
    return clipped(fit(found, net, nn.MSELoss(), adam(net, 1e-2), epochs=15, size=50, answer=as_is, seed=seed), 0.5)


@trap("recall", 0.9)
def recall_clipped(seed: int) -> Case:
    found, net = made.recall(seed, steps=8), LastStep(nn.LSTM(6, 32, batch_first=True), 32, 6)
    return clipped(fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=25, seed=seed), 1.0)


def clipped(case: Case, norm: float) -> Case:
    def step(inputs: Tensor, targets: Tensor) -> float:
        case.optimizer.zero_grad()
        loss = case.loss(case.module(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(case.module.parameters(), norm)
        case.optimizer.step()
        return loss.item()

    case.step = step
    return case
