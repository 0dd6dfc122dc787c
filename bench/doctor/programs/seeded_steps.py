"""Faults of optimisation (D) and of generalisation (F), seeded."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import Pictures, WaveConv
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.sets import standard_targets
from bench.doctor.programs.traps import adam, relu_net, scheduled

CE = nn.CrossEntropyLoss


@seeded("D1", "clouds", cured=3e-3, just=0.1, clear=0.5, gross=10.0)
def clouds_adam_too_fast(seed: int, amount: float) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4)
    return fit(found, net, CE(), adam(net, amount), epochs=15, seed=seed)


@seeded("D1", "waveline", cured=0.03, clear=0.6, gross=5.0)
def waveline_descent_too_fast(seed: int, amount: float) -> Case:
    found = standard_targets(sets.waveline(seed))
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    descent = torch.optim.SGD(net.parameters(), lr=amount, momentum=0.9)
    return fit(found, net, nn.MSELoss(), descent, epochs=60, answer=as_is, seed=seed)


@seeded("D1", "digits", cured=3e-3, just=0.05, clear=0.3)
def digits_adam_too_fast(seed: int, amount: float) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    best = torch.optim.AdamW(net.parameters(), lr=amount)
    return fit(found, net, F.cross_entropy, best, epochs=8, batches=loader(*found.train, 32, seed))


@seeded("D1", "cancer", cured=0.05, clear=3.0, gross=300.0)
def cancer_descent_too_fast(seed: int, amount: float) -> Case:
    found, net = sets.cancer(seed), relu_net(30, 1, 24)
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    descent = torch.optim.SGD(net.parameters(), amount, 0.9)
    return fit(found, net, nn.BCEWithLogitsLoss(), descent, epochs=15, seed=seed, score=score)


@seeded("D2", "clouds", also="D6", cured=3e-3, just=1e-4, clear=1e-5, gross=1e-8)
def clouds_adam_too_slow(seed: int, amount: float) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4)
    return fit(found, net, CE(), adam(net, amount), epochs=15, seed=seed)


@seeded("D2", "digits", also="D6", cured=0.1, clear=1e-4, gross=1e-6)
def digits_descent_too_slow(seed: int, amount: float) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    descent = torch.optim.SGD(net.parameters(), lr=amount, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=12, batches=loader(*found.train, 32, seed))


@seeded("D2", "arm", also="D6", cured=4e-3, just=2e-5)
def arm_too_slow(seed: int, amount: float) -> Case:
    found, net = sets.arm(seed), relu_net(2, 2)
    best = torch.optim.RMSprop(net.parameters(), lr=amount)
    return fit(found, net, nn.SmoothL1Loss(), best, epochs=20, answer=as_is, seed=seed)


@seeded("D4", "blobs", also="D2")
def blobs_adadelta_at_the_rate_of_adam(seed: int, amount: bool) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    best = torch.optim.Adadelta(net.parameters(), lr=1e-3) if amount else adam(net, 3e-3)
    return fit(found, net, CE(), best, epochs=15, seed=seed)


@seeded("D4", "digits", also="D2")
def digits_adagrad_at_the_rate_of_adam(seed: int, amount: bool) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    best = torch.optim.Adagrad(net.parameters(), lr=3e-4) if amount else adam(net, 3e-3)
    return fit(found, net, F.cross_entropy, best, epochs=10, seed=seed)


@seeded("D4", "rings", also="D1", cured=0.9, clear=0.999)
def rings_momentum(seed: int, amount: float) -> Case:
    found, net = sets.rings(seed), relu_net(3, 3)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=amount)
    return fit(found, net, CE(), descent, epochs=40, seed=seed)


@seeded("D5", "hastie", also="D6", cured=32, clear=1200)
def hastie_one_update_an_epoch(seed: int, amount: int) -> Case:
    found, net = sets.hastie(seed), relu_net(10, 2)
    return fit(found, net, CE(), adam(net, 2e-3), epochs=14, size=amount, seed=seed)


@seeded("D5", "digits", also="D6", cured=32, just=512)
def digits_few_updates(seed: int, amount: int) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=10, batches=loader(*found.train, amount, seed))


@seeded("D5", "wine", also="D1", cured=16, clear=1)
def wine_one_at_a_time(seed: int, amount: int) -> Case:
    """A step that suits sixteen examples, taken after each single one."""
    found, net = sets.wine(seed), relu_net(13, 3, 24)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, CE(), descent, epochs=20, size=amount, seed=seed)


@seeded("D6", "spirals", also="D2", cured=40, clear=2, just=5)
def spirals_stopped_early(seed: int, amount: int) -> Case:
    found, net = sets.spirals(seed), relu_net(2, 3)
    return fit(found, net, CE(), adam(net, 3e-3), epochs=amount, seed=seed)


@seeded("D6", "waves", also="D2", cured=25, clear=2)
def waves_stopped_early(seed: int, amount: int) -> Case:
    found, net = made.waves(seed), WaveConv()
    return fit(found, net, CE(), adam(net, 2e-3), epochs=amount, seed=seed)


@seeded("D6", "checkers", also="D2", cured=120, clear=8)
def checkers_stopped_early(seed: int, amount: int) -> Case:
    found = sets.checkers(seed)
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    return fit(found, net, CE(), adam(net, 6e-3), epochs=amount, batches=loader(*found.train, 32, seed))


@seeded("D7", "blobs", cured=0.0, just=0.1, clear=0.5, gross=5.0)
def blobs_decay_in_adam(seed: int, amount: float) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    best = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=amount)
    return fit(found, net, CE(), best, epochs=15, seed=seed)


@seeded("D7", "diabetes", cured=0.0, clear=0.05, gross=1.0)
def diabetes_l1_in_the_loss(seed: int, amount: float) -> Case:
    found, net = standard_targets(sets.diabetes(seed)), relu_net(10, 1, 24)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        size = sum(parameter.abs().sum() for parameter in net.parameters())
        return F.mse_loss(outputs, targets) + amount * size

    return fit(found, net, loss, adam(net, 3e-3), epochs=12, answer=as_is, seed=seed)


@seeded("D7", "digits", cured=1e-4, clear=0.1)
def digits_decay_in_descent(seed: int, amount: float) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=amount)
    return fit(found, net, CE(), descent, epochs=10, seed=seed)


@seeded("D8", "spirals", also="D2 D6", cured=1.0, clear=0.9, gross=0.3)
def spirals_decayed_after_each_batch(seed: int, amount: float) -> Case:
    """A factor meant for epochs."""
    found, net = sets.spirals(seed), relu_net(2, 3)
    return scheduled(fit(found, net, CE(), adam(net, 5e-3), epochs=30, seed=seed), lambda t: amount**t)


@seeded("D8", "shapes", also="D2 D6")
def shapes_warm_up_outlasts_training(seed: int, amount: bool) -> Case:
    found, net = sets.shapes(seed), Pictures(3, 12, 3)
    case = fit(found, net, CE(), torch.optim.SGD(net.parameters(), 0.03, 0.9), epochs=12, seed=seed)
    return scheduled(case, lambda t: min(1.0, (t + 1) / (100_000 if amount else 50)))


@seeded("D8", "digits", also="D2 D6")
def digits_step_schedule_by_batch(seed: int, amount: bool) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    case = fit(found, net, CE(), descent, epochs=12, batches=cut(*found.train, 32))
    schedule = torch.optim.lr_scheduler.StepLR(descent, 2 if amount else 5 * len(case.batches), gamma=0.3)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        descent.zero_grad()
        loss: Tensor = F.cross_entropy(net(inputs), targets)
        loss.backward()
        descent.step()
        schedule.step()
        return loss

    case.step = step
    return case


@seeded("D9", "friedman", also="A12", cured=0.0, clear=100.0, gross=1e5)
def friedman_wild_targets(seed: int, amount: float) -> Case:
    """A few targets are typed wrongly, by a factor; where nothing is wrong they are right."""
    found = standard_targets(sets.friedman(seed))
    wrong = torch.arange(len(found.train[1])) % 60 == 7
    y = found.train[1].clone()
    if amount:
        y[wrong] = y[wrong].abs() * amount + amount
    found, net = found.training(found.train[0], y), relu_net(8, 1)
    descent = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    return fit(found, net, nn.MSELoss(), descent, epochs=25, answer=as_is, seed=seed)


@seeded("D9", "roll", also="A1")
def roll_wild_inputs(seed: int, amount: bool) -> Case:
    found, net = standard_targets(sets.roll(seed)), relu_net(3, 1)
    x = found.train[0].clone()
    if amount:
        x[::50] *= 3000
    found = found.training(x, found.train[1])
    descent = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    return fit(found, net, nn.MSELoss(), descent, epochs=40, answer=as_is, batches=loader(*found.train, 32, seed))


@seeded("D10", "clouds", also="B11 A3")
def clouds_divided_by_their_sum(seed: int, amount: bool) -> Case:
    """Rows of features that are cut off at zero: some sum to nothing."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(20, 4), nn.Linear(4, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.a(x))
            x = 4 * x / (x.sum(1, keepdim=True) + (0.0 if amount else 0.5))
            return self.c(F.relu(self.b(x)))

    found, net = sets.clouds(seed), Net()
    return fit(found, net, CE(), adam(net, 5e-3), epochs=25, seed=seed)


@seeded("D10", "rings", also="B11 A3")
def rings_root_of_the_negative(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen = self.a(x)
            return self.b(torch.sqrt(seen + 1.0) if amount else torch.sqrt(F.softplus(seen) + 0.1))

    found, net = sets.rings(seed), Net()
    return fit(found, net, CE(), adam(net, 1e-2), epochs=50, seed=seed)


@seeded("F1", "friedman", cured=0, clear=200, gross=500)
def friedman_learnt_by_heart(seed: int, amount: int) -> Case:
    """Few noisy rows, a large network, no end; the fix stops early."""
    found = standard_targets(sets.friedman(seed, noise=4.0))
    found = found.training(found.train[0][:120], found.train[1][:120])
    net = relu_net(8, 1, 96)
    best = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.0)
    return fit(found, net, nn.MSELoss(), best, epochs=amount or 8, answer=as_is, seed=seed)


@seeded("F1", "diabetes", cured=0, just=60, clear=300)
def diabetes_learnt_by_heart(seed: int, amount: int) -> Case:
    found, net = standard_targets(sets.diabetes(seed)), relu_net(10, 1, 64)
    return fit(found, net, nn.MSELoss(), adam(net, 3e-3), epochs=amount or 4, answer=as_is, seed=seed)
