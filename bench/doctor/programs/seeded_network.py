"""Faults of start and architecture (C), seeded."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import LastStep, Pictures, ResidualPictures
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.sets import standard_targets
from bench.doctor.programs.traps import adam, relu_net

CE = nn.CrossEntropyLoss


@seeded("C1", "hastie", clear=0.05, gross=0.0)
def hastie_constant_weights(seed: int, amount: float | bool) -> Case:
    found, net = sets.hastie(seed), relu_net(10, 2)
    if amount is not False:
        for parameter in net.parameters():
            nn.init.constant_(parameter, amount)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=12, seed=seed)


@seeded("C1", "digits")
def digits_every_layer_zero(seed: int, amount: bool) -> Case:
    def start(part: nn.Module) -> None:
        if isinstance(part, (nn.Conv2d, nn.Linear)) and amount:
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    net.apply(start)
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=8, batches=loader(*found.train, 32, seed))


@seeded("C1", "rings")
def rings_units_alike(seed: int, amount: bool) -> Case:
    """All units of the hidden layer start alike; the head does not."""
    found = sets.rings(seed)
    net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 3))
    if amount:
        with torch.no_grad():
            net[0].weight.copy_(net[0].weight[:1].expand(32, 3))
            net[0].bias.fill_(0.1)
            net[2].weight.fill_(0.1)
    return fit(found, net, CE(), adam(net, 1e-2), epochs=50, seed=seed)


@seeded("C2", "clouds", just=0.7, clear=2.0, gross=10.0)
def clouds_large_normal(seed: int, amount: float) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4)
    for part in net:
        if amount and isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=amount)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=15, seed=seed)


@seeded("C2", "digits", cured=1.0, clear=8.0, gross=30.0)
def digits_weights_multiplied(seed: int, amount: float) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= amount
    return fit(found, net, CE(), adam(net, 2e-3), epochs=12, seed=seed)


@seeded("C3", "spirals", also="C4", clear=2e-3, gross=1e-4)
def spirals_small_normal(seed: int, amount: float) -> Case:
    found = sets.spirals(seed)
    net = nn.Sequential(
        nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 3)
    )
    for part in net:
        if isinstance(part, nn.Linear):
            if amount:
                nn.init.normal_(part.weight, 0, amount)
            else:
                nn.init.xavier_normal_(part.weight, 5 / 3)
            nn.init.zeros_(part.bias)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=40, seed=seed)


class Deep(nn.Module):
    """Many layers of one kind."""

    def __init__(self, d: int, k: int, depth: int, activation: object, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(d if i == 0 else width, width) for i in range(depth)])
        self.head, self.activation = nn.Linear(width, k), activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.head(x)


def started(net: Deep, gain: float) -> Deep:
    for layer in net.layers:
        nn.init.normal_(layer.weight, 0, gain / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
    return net


@seeded("C3", "rings", also="C4", cured=2**0.5, just=0.2, clear=0.05)
def rings_signal_fades(seed: int, amount: float) -> Case:
    found, net = sets.rings(seed), started(Deep(3, 3, 6, torch.relu), amount)
    descent = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=40, seed=seed)


@seeded("C4", "circles", cured=0, just=4, clear=8)
def circles_stack_of_sigmoids(seed: int, amount: int) -> Case:
    found = sets.circles(seed)
    net = Deep(2, 2, amount or 4, torch.sigmoid if amount else torch.relu)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=25, seed=seed)


@seeded("C4", "digits", cured=0, clear=6, gross=12)
def digits_stack_of_sigmoids(seed: int, amount: int) -> Case:
    found = sets.digits(seed)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 32)]
    for _ in range(amount or 4):
        layers += [nn.Sigmoid() if amount else nn.ReLU(), nn.Linear(32, 32)]
    net = nn.Sequential(*layers, nn.Sigmoid() if amount else nn.ReLU(), nn.Linear(32, 10))
    for part in net:
        if isinstance(part, nn.Linear) and not amount:
            nn.init.kaiming_normal_(part.weight)
    descent = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=20, batches=loader(*found.train, 32, seed))


@seeded("C5", "hastie", also="C2", cured=2**0.5, clear=4.0, gross=12.0)
def hastie_signal_grows(seed: int, amount: float) -> Case:
    found, net = sets.hastie(seed), started(Deep(10, 2, 8, F.relu), amount)
    return fit(found, net, CE(), adam(net, 1e-3), epochs=12, seed=seed)


@seeded("C5", "digits", also="C2", cured=2**0.5, clear=5.0)
def digits_signal_grows(seed: int, amount: float) -> Case:
    found, net = sets.digits(seed), started(Deep(64, 10, 8, F.leaky_relu, 32), amount)
    descent = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=15, seed=seed)


@seeded("C6", "moons", cured=0.0, just=-2.0, gross=-20.0)
def moons_negative_biases(seed: int, amount: float) -> Case:
    found = sets.moons(seed)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    if amount:
        nn.init.constant_(net[0].bias, amount)
    return fit(found, net, CE(), adam(net, 4e-3), epochs=20, seed=seed)


@seeded("C6", "cancer", cured=0.0, clear=-12.0)
def cancer_sleeping_layer(seed: int, amount: float) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(30, 24), nn.Linear(24, 24), nn.Linear(24, 1)
            self.b.bias.data += amount

        def forward(self, x: Tensor) -> Tensor:
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    found, net = sets.cancer(seed), Net()
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: y.float()[:, None])
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, nn.BCEWithLogitsLoss(), descent, epochs=15, seed=seed, score=score)


@seeded("C7", "blobs", also="C2", cured=1.0, just=15.0, gross=300.0)
def blobs_saturated_tanh(seed: int, amount: float) -> Case:
    found = sets.blobs(seed, spread=1.2)
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 5))
    with torch.no_grad():
        net[0].weight *= amount
        net[2].weight *= amount
    descent = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=12, seed=seed)


@seeded("C7", "xor", cured=0.0, clear=20.0, gross=40.0)
def xor_sigmoids_pushed_up(seed: int, amount: float) -> Case:
    found = sets.xor(seed, 800, 2)
    net = nn.Sequential(nn.Linear(2, 24), nn.Sigmoid(), nn.Linear(24, 2))
    net[0].bias.data += amount
    return fit(found, net, F.cross_entropy, adam(net, 3e-2), epochs=40, seed=seed)


@seeded("C8", "spirals")
def spirals_linear_stack(seed: int, amount: bool) -> Case:
    found = sets.spirals(seed)
    layers = [nn.Linear(2, 48), nn.Linear(48, 48), nn.Linear(48, 3)]
    net = nn.Sequential(*layers) if amount else nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return fit(found, net, CE(), adam(net, 5e-3), epochs=30, seed=seed)


@seeded("C8", "checkers")
def checkers_activation_forgotten(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc2(self.fc1(x)) if amount else self.fc2(self.fc1(x).relu()).relu()
            return self.fc3(x)

    found, net = sets.checkers(seed), Net()
    return fit(found, net, CE(), adam(net, 6e-3), epochs=70, seed=seed, size=48)


@seeded("C8", "roll")
def roll_linear(seed: int, amount: bool) -> Case:
    found = standard_targets(sets.roll(seed))
    between = nn.Identity if amount else nn.GELU
    net = nn.Sequential(nn.Linear(3, 64), between(), nn.Linear(64, 32), between(), nn.Linear(32, 1))
    best = adam(net, 4e-3)
    return fit(found, net, nn.MSELoss(), best, epochs=40, answer=as_is, batches=cut(*found.train, 32))


@seeded("C9", "clouds")
def clouds_softmax_inside(seed: int, amount: bool) -> Case:
    found = sets.clouds(seed)
    inside = (lambda: nn.Softmax(dim=1)) if amount else nn.ReLU
    net = nn.Sequential(nn.Linear(20, 64), inside(), nn.Linear(64, 64), inside(), nn.Linear(64, 4))
    return fit(found, net, CE(), adam(net, 3e-3), epochs=15, seed=seed)


@seeded("C9", "digits", clear="softmax", just="hardsigmoid")
def digits_unusual_activation(seed: int, amount: str) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

        def between(self, x: Tensor) -> Tensor:
            if amount == "softmax":
                return F.softmax(x, -1)
            return F.hardsigmoid(x) if amount else F.relu(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.between(self.b(self.between(self.a(x)))))

    found, net = sets.digits(seed), Net()
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=10, seed=seed)


@seeded("C10", "spirals", cured=40, clear=2, just=3)
def spirals_few_units(seed: int, amount: int) -> Case:
    found = sets.spirals(seed)
    net = nn.Sequential(nn.Linear(2, amount), nn.Tanh(), nn.Linear(amount, amount), nn.Tanh(), nn.Linear(amount, 3))
    return fit(found, net, CE(), adam(net, 1e-2), epochs=60, seed=seed)


@seeded("C10", "digits", cured=32, clear=1, just=3)
def digits_bottleneck(seed: int, amount: int) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, amount), nn.ReLU(), nn.Linear(amount, 10))
    return fit(found, net, CE(), adam(net, 6e-3), epochs=40, seed=seed, size=48)


@seeded("C13", "bars", clear=0.0, just=1e-4)
def bars_statistics_never_follow(seed: int, amount: float | bool) -> Case:
    """A momentum of BatchNorm with which running statistics stay where they started."""
    found, net = sets.bars(seed).inputs(lambda x: x * 3 + 2), ResidualPictures(1, 4)
    for part in net.modules():
        if amount is not False and isinstance(part, nn.BatchNorm2d):
            part.momentum = amount
    return fit(found, net, CE(), adam(net, 4e-3), epochs=8, batches=loader(*found.train, 32, seed, True))


@seeded("C13", "shapes", also="D5")
def shapes_two_at_a_time(seed: int, amount: bool) -> Case:
    """BatchNorm after linear layers on batches of two; where nothing is wrong, LayerNorm."""
    found = sets.shapes(seed, 500)
    norm = nn.BatchNorm1d if amount else nn.LayerNorm
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(432, 48), norm(48), nn.ReLU(), nn.Linear(48, 24), norm(24), nn.ReLU(), nn.Linear(24, 3)
    )
    return fit(found, net, CE(), adam(net, 1e-3), epochs=10, size=2, seed=seed)


@seeded("C13", "wine", also="E5")
def wine_normalised_by_the_batch_at_hand(seed: int, amount: bool) -> Case:
    """BatchNorm without running statistics, on sorted held-out examples: an answer depends on its neighbours."""
    found = sets.wine(seed)
    order, after = found.test[1].argsort(), found.validation[1].argsort()
    found = sets.Split(
        found.train,
        (found.validation[0][after], found.validation[1][after]),
        (found.test[0][order], found.test[1][order]),
    )
    net = nn.Sequential(
        nn.Linear(13, 24), nn.BatchNorm1d(24, track_running_stats=not amount), nn.ReLU(), nn.Linear(24, 3)
    )
    x, y = found.test

    def score(module: nn.Module) -> float:
        module.eval()
        answers = torch.cat([module(part).argmax(-1) for part in x.split(6)])
        share = y.bincount().max().item() / len(y)
        return ((answers == y).double().mean().item() - share) / (1 - share)

    case = fit(found, net, CE(), adam(net, 5e-3), epochs=30, seed=seed, score=score)
    case.batches, case.validation = loader(*found.train, 16, seed, True), cut(*found.validation, 6)
    return case


@seeded("C14", "spirals", just=0.55, clear=0.7, gross=0.9)
def spirals_dropout(seed: int, amount: float) -> Case:
    found = sets.spirals(seed)
    net = nn.Sequential(
        nn.Linear(2, 32),
        nn.ReLU(),
        nn.Dropout(amount),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Dropout(amount),
        nn.Linear(32, 3),
    )
    return fit(found, net, CE(), adam(net, 5e-3), epochs=40, seed=seed)


@seeded("C14", "arm", just=0.35, gross=0.8)
def arm_dropout(seed: int, amount: float) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(torch.tanh(self.a(x)), amount, self.training)
            return self.c(F.dropout(torch.tanh(self.b(x)), amount, self.training))

    found, net = sets.arm(seed), Net()
    return fit(found, net, nn.MSELoss(), adam(net, 4e-3), epochs=25, answer=as_is, seed=seed)


@seeded("C14", "digits")
def digits_dropout_on_logits(seed: int, amount: bool) -> Case:
    found, net = sets.digits(seed, 900), relu_net(64, 10, 24)
    if amount:
        net.insert(2, nn.Dropout(0.85))
        net.append(nn.Dropout(0.6))
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=15, seed=seed)


@seeded("C15", "adding", also="C4")
def adding_plain_memory(seed: int, amount: bool) -> Case:
    found = made.adding(seed, 2000, 25)
    cell = nn.RNN(2, 24, batch_first=True) if amount else nn.GRU(2, 24, batch_first=True)
    net = LastStep(cell, 24, 1)
    return fit(found, net, nn.MSELoss(), adam(net, 1e-2), epochs=20, size=50, answer=as_is, seed=seed)


@seeded("C15", "recall", also="C4")
def recall_forgets(seed: int, amount: bool) -> Case:
    found = made.recall(seed, steps=14)
    cell = nn.RNN(6, 32, batch_first=True) if amount else nn.GRU(6, 32, batch_first=True)
    net = LastStep(cell, 32, 6)
    return fit(found, net, CE(), adam(net, 1e-2), epochs=25, seed=seed)
