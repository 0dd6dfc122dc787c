"""Two faults at once, seeded; the fix takes both away. Harm is shown for the two together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_half, over_zero
from bench.doctor.programs.networks import LastStep, Pictures
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.seeded_data import noisy
from bench.doctor.programs.sets import standard_targets
from bench.doctor.programs.traps import adam, relu_net

CE = nn.CrossEntropyLoss


@seeded("A1 D1", "moons")
def moons_raw_and_fast(seed: int, amount: bool) -> Case:
    found, net = sets.moons(seed).inputs(lambda x: x * (200 if amount else 1)), relu_net(2, 2)
    return fit(found, net, CE(), adam(net, 0.5 if amount else 4e-3), epochs=20, seed=seed)


@seeded("B1 C8", "spirals")
def spirals_softmax_and_linear(seed: int, amount: bool) -> Case:
    found, net = sets.spirals(seed), relu_net(2, 3)
    if amount:
        net[1], net[3] = nn.Identity(), nn.Identity()
        net.append(nn.Softmax(1))
    return fit(found, net, CE(), adam(net, 5e-3), epochs=30, seed=seed)


@seeded("A12 D2", "friedman", also="D6")
def friedman_large_targets_small_steps(seed: int, amount: bool) -> Case:
    found = standard_targets(sets.friedman(seed))
    found = found.targets(lambda y: y * 50 + 200) if amount else found
    net = relu_net(8, 1)
    return fit(found, net, nn.MSELoss(), adam(net, 1e-5 if amount else 4e-3), epochs=20, answer=as_is, seed=seed)


@seeded("E1 B9", "clouds", also="D1")
def clouds_summed_and_never_cleared(seed: int, amount: bool) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4)
    descent, criterion = torch.optim.SGD(net.parameters(), lr=0.02), CE(reduction="sum" if amount else "mean")

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        if not amount:
            descent.zero_grad()
        loss: Tensor = criterion(net(inputs), targets)
        loss.backward()
        descent.step()
        return loss

    return fit(found, net, criterion, descent, epochs=30, seed=seed, step=step)


@seeded("C6 A9", "bars")
def bars_asleep_and_sorted(seed: int, amount: bool) -> Case:
    found, net = sets.bars(seed), Pictures(1, 10, 4)
    order = found.train[1].argsort() if amount else torch.arange(len(found.train[1]))
    if amount:
        nn.init.constant_(net.fc1.bias, -6.0)
    batches = cut(found.train[0][order], found.train[1][order], 32)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=15, batches=batches)


@seeded("C14 D6", "faces", also="D2")
def faces_dropout_and_stopped(seed: int, amount: bool) -> Case:
    found = sets.faces(seed)
    drop = nn.Dropout(0.9 if amount else 0.0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), drop, nn.Linear(48, 3))
    return fit(found, net, CE(), adam(net, 3e-3), epochs=2 if amount else 15, seed=seed)


@seeded("B3 C8", "xor")
def xor_softmax_of_one_and_linear(seed: int, amount: bool) -> Case:
    found = sets.xor(seed)
    between = nn.Identity() if amount else nn.Tanh()
    last = nn.Softmax(1) if amount else nn.Sigmoid()
    net = nn.Sequential(nn.Linear(4, 32), between, nn.Linear(32, 1), last)
    score = held_out(found.test, over_half)
    found = found.targets(lambda y: y.float()[:, None])
    return fit(found, net, nn.BCELoss(), adam(net, 1e-2), epochs=40, seed=seed, score=score)


@seeded("A1 C2", "cancer")
def cancer_raw_and_large(seed: int, amount: bool) -> Case:
    found, net = sets.cancer(seed, scaled=not amount), relu_net(30, 2, 24)
    if amount:
        for part in net:
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=1.5)
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=15, batches=loader(*found.train, 32, seed))


@seeded("B8 D2", "roll", also="D6")
def roll_broadcast_and_slow(seed: int, amount: bool) -> Case:
    found, net = standard_targets(sets.roll(seed)), relu_net(3, 1)
    score = held_out(found.test, as_is)
    found = found.targets(lambda y: y.squeeze(1)) if amount else found

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).pow(2).mean()

    return fit(found, net, loss, adam(net, 2e-5 if amount else 4e-3), epochs=30, seed=seed, score=score)


@seeded("E2 D1", "digits")
def digits_frozen_and_fast(seed: int, amount: bool) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    if amount:
        net.conv1.requires_grad_(False)
        net.conv2.requires_grad_(False)
        net.fc1.requires_grad_(False)
    wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return fit(found, net, CE(), torch.optim.Adam(wanted, lr=3.0 if amount else 3e-3), epochs=8, seed=seed)


@seeded("A6 D7", "rings")
def rings_noise_and_decay(seed: int, amount: bool) -> Case:
    found, net = sets.rings(seed), relu_net(3, 3)
    found = found.seen(lambda y: noisy(y, 0.3, 3, seed)) if amount else found
    best = torch.optim.Adam(net.parameters(), lr=4e-3, weight_decay=0.1 if amount else 0.0)
    return fit(found, net, CE(), best, epochs=40, seed=seed)


@seeded("C15 B4", "adding", also="C4")
def adding_forgets_behind_a_relu(seed: int, amount: bool) -> Case:
    found = made.adding(seed, 2000, 25)
    cell = nn.RNN(2, 24, batch_first=True) if amount else nn.GRU(2, 24, batch_first=True)
    net = nn.Sequential(LastStep(cell, 24, 1), nn.ReLU() if amount else nn.Identity())
    return fit(found, net, nn.MSELoss(), adam(net, 1e-2), epochs=20, size=50, answer=as_is, seed=seed)


@seeded("E5 D2", "wine", also="C13 D6")
def wine_in_eval_and_slow(seed: int, amount: bool) -> Case:
    found = sets.wine(seed, scaled=False)
    net = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    best = adam(net, 1e-5 if amount else 8e-3)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        if amount:
            net.eval()
        best.zero_grad()
        loss = F.cross_entropy(net(inputs), targets)
        loss.backward()
        best.step()
        return loss

    batches = loader(*found.train, 16, seed, drop_last=True)
    return fit(found, net, F.cross_entropy, best, epochs=30, batches=batches, step=step)


@seeded("B10 A1", "iris")
def iris_climbing_on_raw_data(seed: int, amount: bool) -> Case:
    found, net = sets.iris(seed).inputs(lambda x: x * 500 if amount else x), relu_net(4, 3, 20)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        right = outputs.log_softmax(1)[range(len(targets)), targets].mean()
        return right if amount else -right

    return fit(found, net, loss, adam(net, 4e-3), epochs=30, size=16, seed=seed)


@seeded("A15 D1", "circles")
def circles_classes_1_and_2_and_fast(seed: int, amount: bool) -> Case:
    found, net = sets.circles(seed), relu_net(2, 1)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: (y.float() + (1 if amount else 0)).reshape(-1, 1))
    best = adam(net, 1.0 if amount else 4e-3)
    return fit(found, net, nn.BCEWithLogitsLoss(), best, epochs=20, seed=seed, score=score)
