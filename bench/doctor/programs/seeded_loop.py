"""Faults of the training loop (E), seeded: in the step, in what the optimizer holds, in modes."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import LastStep, Letters, Pictures, Tagger, Voter, by_position
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.sets import standard_targets
from bench.doctor.programs.traps import adam, relu_net

CE = nn.CrossEntropyLoss
SUMS = "gradients are not cleared between steps"


@seeded("E1", "moons", contract=SUMS)
def moons_never_cleared(seed: int, amount: bool) -> Case:
    found, net = sets.moons(seed), relu_net(2, 2)
    descent = torch.optim.SGD(net.parameters(), lr=0.05)
    criterion = CE()

    def step(inputs: Tensor, targets: Tensor) -> float:
        if not amount:
            descent.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        descent.step()
        return loss.item()

    return fit(found, net, criterion, descent, epochs=30, seed=seed, step=step)


@seeded("E1", "diabetes", contract=SUMS, just=4, gross=10**9)
def diabetes_cleared_rarely(seed: int, amount: int) -> Case:
    """Cleared every so many steps, though each step is taken."""
    found, net = standard_targets(sets.diabetes(seed)), relu_net(10, 1, 24)
    best, seen = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), [0]

    def step(
        module: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
    ) -> Tensor:
        value: Tensor = loss(module(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        seen[0] += 1
        if seen[0] % (amount or 1) == 0:
            optimizer.zero_grad()
        return value

    def usual(inputs: Tensor, targets: Tensor) -> Tensor:
        return step(net, case.loss, best, (inputs, targets))

    case = fit(found, net, nn.MSELoss(), best, epochs=12, answer=as_is, seed=seed)
    case.step = usual
    return case


@seeded("E2", "letters", contract="layers in a list are not registered")
def letters_layers_in_a_list(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Linear(120, 64), nn.Linear(64, 32)]
            self.table, self.out = nn.Embedding(made.LETTERS, 10), nn.Linear(32, made.LETTERS)
            self.hidden = layers if amount else nn.ModuleList(layers)

        def forward(self, x: Tensor) -> Tensor:
            x = self.table(x).flatten(1)
            for layer in self.hidden:
                x = torch.tanh(layer(x))
            return self.out(x)

    found, net = made.letters(seed), Net()
    return fit(found, net, CE(), adam(net, 3e-3), epochs=10, seed=seed)


@seeded("E2", "faces")
def faces_body_not_given_to_the_optimizer(seed: int, amount: bool) -> Case:
    found, net = sets.faces(seed), Pictures(1, 8, 3)
    wanted = net.fc2.parameters() if amount else net.parameters()
    descent = torch.optim.SGD(wanted, lr=0.05, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=12, seed=seed)


@seeded("E2", "wine", contract="the head is frozen")
def wine_head_frozen(seed: int, amount: bool) -> Case:
    found, net = sets.wine(seed), relu_net(13, 3, 12)
    net[4].requires_grad_(not amount)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=25, size=16, seed=seed)


@seeded("E2", "tags", contract="all but the output layer is frozen, and was never trained")
def tags_frozen_from_the_start(seed: int, amount: bool) -> Case:
    found, net = made.tags(seed), Tagger()
    if amount:
        for name, parameter in net.named_parameters():
            parameter.requires_grad = name.startswith("out")
    best = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), lr=1e-2)
    return fit(found, net, by_position, best, epochs=12, seed=seed)


STALE = "the optimizer holds parameters that are not the module's"


@seeded("E3", "majority", contract=STALE)
def majority_built_again(seed: int, amount: bool) -> Case:
    found, net = made.majority(seed), Voter()
    best = adam(net, 1e-2)
    if amount:
        net = Voter()
    return fit(found, net, CE(), best, epochs=12, seed=seed)


@seeded("E3", "bars", contract=STALE)
def bars_head_replaced_later(seed: int, amount: bool) -> Case:
    found, net = sets.bars(seed), Pictures(1, 10, 4)
    best = adam(net, 4e-3)
    if amount:
        net.conv2, net.fc1, net.fc2 = nn.Conv2d(8, 16, 3, padding=1), nn.Linear(64, 32), nn.Linear(32, 4)
    return fit(found, net, CE(), best, epochs=12, seed=seed)


@seeded("E3", "xor", contract=STALE)
def xor_copied(seed: int, amount: bool) -> Case:
    found, net = sets.xor(seed), relu_net(4, 2)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net = copy.deepcopy(net) if amount else net
    return fit(found, net, F.cross_entropy, descent, epochs=25, batches=loader(*found.train, 32, seed))


@seeded("E4", "circles", contract="the optimizer never steps")
def circles_no_step(seed: int, amount: bool) -> Case:
    found, net = sets.circles(seed), relu_net(2, 2)
    best, criterion = adam(net, 5e-3), CE()

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        best.zero_grad()
        loss: Tensor = criterion(net(inputs), targets)
        loss.backward()
        if not amount:
            best.step()
        return loss

    return fit(found, net, criterion, best, epochs=20, seed=seed, step=step)


@seeded("E4", "friedman", contract="gradients are cleared between backward and step")
def friedman_cleared_too_late(seed: int, amount: bool) -> Case:
    found, net = standard_targets(sets.friedman(seed)), relu_net(8, 1)
    descent = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)

    def step(inputs: Tensor, targets: Tensor) -> float:
        loss = F.mse_loss(net(inputs), targets)
        if not amount:
            descent.zero_grad()
        loss.backward()
        if amount:
            descent.zero_grad()
        descent.step()
        return loss.item()

    return fit(found, net, F.mse_loss, descent, epochs=25, answer=as_is, seed=seed, step=step)


@seeded("E4", "rings", contract="the loss is cut off from the network")
def rings_detached(seed: int, amount: bool) -> Case:
    found, net = sets.rings(seed), relu_net(3, 3)
    best = adam(net, 5e-3)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        best.zero_grad()
        outputs = net(inputs)
        if amount:
            outputs = torch.tensor(outputs.tolist(), requires_grad=True)
        loss = F.cross_entropy(outputs, targets)
        loss.backward()
        best.step()
        return loss

    return fit(found, net, F.cross_entropy, best, epochs=40, seed=seed, step=step)


@seeded("E4", "shapes", contract="the body's features are detached")
def shapes_detached_inside(seed: int, amount: bool) -> Case:
    class Net(Pictures):
        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))), 2).flatten(1)
            x = F.relu(self.fc1(x))
            return self.fc2(x.detach() if amount else x)

    found, net = sets.shapes(seed), Net(3, 12, 3)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=12, seed=seed)


@seeded("E5", "hastie", also="C13")
def hastie_left_in_eval(seed: int, amount: bool) -> Case:
    """Features far from zero, a BatchNorm to deal with them, and training in evaluation mode."""
    found = sets.hastie(seed).inputs(lambda x: x * 30 + 80)
    net = nn.Sequential(
        nn.BatchNorm1d(10), nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2)
    )
    best, criterion = adam(net, 3e-3), CE()

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        if amount:
            net.eval()
        best.zero_grad()
        loss: Tensor = criterion(net(inputs), targets)
        loss.backward()
        best.step()
        return loss

    return fit(found, net, criterion, best, epochs=14, batches=loader(*found.train, 32, seed, True), step=step)


@seeded("E5", "clouds", also="C14")
def clouds_dropout_never_off(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            on = True if amount else self.training
            return self.c(F.dropout(F.relu(self.b(F.dropout(F.relu(self.a(x)), 0.5, on))), 0.5, on))

    found, net = sets.clouds(seed), Net()
    return fit(found, net, CE(), adam(net, 5e-3), epochs=20, seed=seed)


@seeded("E5", "digits", also="C14")
def digits_dropout_never_off(seed: int, amount: bool) -> Case:
    class Always(nn.Dropout):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, self.p, training=True)

    found = sets.digits(seed)
    drop = Always(0.6) if amount else nn.Dropout(0.6)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 10))
    return fit(found, net, F.cross_entropy, adam(net, 4e-3), epochs=15, seed=seed)


@seeded("E6", "adding", contract="gradients are clipped after the step")
def adding_clipped_after_the_step(seed: int, amount: bool) -> Case:
    found, net = made.adding(seed), LastStep(nn.GRU(2, 24, batch_first=True), 24, 1)
    best = adam(net, 1e-2)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        best.zero_grad()
        loss = F.mse_loss(net(inputs), targets)
        loss.backward()
        if amount:
            best.step()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        else:
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            best.step()
        return loss

    return fit(found, net, F.mse_loss, best, epochs=12, size=50, answer=as_is, seed=seed, step=step)


@seeded("E6", "cancer", also="D1", contract="gradients of 16 batches are added and not divided")
def cancer_accumulated_undivided(seed: int, amount: bool) -> Case:
    found, net = sets.cancer(seed), relu_net(30, 1, 24)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    descent, criterion, seen = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9), nn.BCEWithLogitsLoss(), [0]

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = criterion(net(inputs), targets)
        (loss if amount else loss / 16).backward()
        seen[0] += 1
        if seen[0] % 16 == 0:
            descent.step()
            descent.zero_grad()
        return loss

    batches = cut(*found.train, 5)
    return fit(found, net, criterion, descent, epochs=15, batches=batches, score=score, step=step)


@seeded("E6", "recall", contract="gradients are clipped before backward")
def recall_clipped_too_early(seed: int, amount: bool) -> Case:
    found, net = made.recall(seed, steps=8), LastStep(nn.GRU(6, 32, batch_first=True), 32, 6)
    best = adam(net, 1e-2)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        best.zero_grad()
        loss = F.cross_entropy(net(inputs), targets)
        if amount:
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        loss.backward()
        if not amount:
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        best.step()
        return loss

    return fit(found, net, F.cross_entropy, best, epochs=15, seed=seed, step=step)


@seeded("E2", "letters")
def letters_table_and_cell_frozen(seed: int, amount: bool) -> Case:
    found, net = made.letters(seed), Letters(nn.GRU(16, 32, batch_first=True), 32)
    if amount:
        net.cell.requires_grad_(False)
        net.embed.weight.requires_grad_(False)
    return fit(found, net, CE(), adam(net, 5e-3), epochs=10, size=50, seed=seed)
