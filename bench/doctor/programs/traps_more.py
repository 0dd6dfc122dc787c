"""Odd but healthy, second part: data, layers, schedules and evaluations that look wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, each_over_zero, fit, held_out, loader, over_half
from bench.doctor.programs.networks import Pictures, Tagger, WaveConv, by_position
from bench.doctor.programs.registry import trap
from bench.doctor.programs.sets import Split, standard_targets
from bench.doctor.programs.traps import adam, relu_net, scheduled


@trap("blobs", 0.7)
def blobs_log_softmax_twice(seed: int) -> Case:
    """Log-softmax before cross-entropy: twice is once."""
    found = sets.blobs(seed)
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 5), nn.LogSoftmax(dim=1))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=15, seed=seed)


@trap("digits", 0.88)
def digits_log_softmax_twice(seed: int) -> Case:
    class Net(Pictures):
        def forward(self, x: Tensor) -> Tensor:
            return F.log_softmax(super().forward(x), -1)

    found, net = sets.as_pictures(sets.digits(seed)), Net(1, 8, 10)
    return fit(found, net, F.cross_entropy, adam(net, 3e-3), epochs=10, batches=loader(*found.train, 32, seed))


@trap("spirals", 0.85)
def spirals_smoothed(seed: int) -> Case:
    """The loss cannot fall below the floor of the smoothing."""
    found, net = sets.spirals(seed), relu_net(2, 3)
    return fit(found, net, nn.CrossEntropyLoss(label_smoothing=0.2), adam(net, 6e-3), epochs=40, seed=seed)


@trap("digits", 0.88)
def digits_smoothed(seed: int) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    best = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, nn.CrossEntropyLoss(label_smoothing=0.25), best, epochs=15, seed=seed)


@trap("faces", 0.85)
def faces_one_cycle(seed: int) -> Case:
    """Up from almost nothing, and down again."""
    found, net = sets.faces(seed), Pictures(1, 8, 3)
    case = fit(found, net, nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=6e-3), epochs=15, seed=seed)
    steps = case.epochs * len(case.batches)
    return scheduled(case, lambda t: max(0.004, min(t / (0.3 * steps), (steps - t) / (0.7 * steps))))


@trap("shapes", 0.85)
def shapes_one_cycle(seed: int) -> Case:
    found, net = sets.shapes(seed), Pictures(3, 12, 3)
    descent = torch.optim.SGD(net.parameters(), lr=0.12, momentum=0.9)
    case = fit(found, net, nn.CrossEntropyLoss(), descent, epochs=20, seed=seed)
    steps = case.epochs * len(case.batches)
    return scheduled(case, lambda t: max(0.01, min(t / (0.4 * steps), (steps - t) / (0.6 * steps))))


@trap("hastie", 0.6)
def hastie_late_drop(seed: int) -> Case:
    """A plateau at the start, then it falls."""
    found = sets.hastie(seed)
    net = nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 2))
    with torch.no_grad():
        net[0].weight.mul_(0.1)
        net[2].weight.mul_(0.1)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=25, seed=seed)


@trap("xor", 0.85)
def xor_late_drop(seed: int) -> Case:
    found = sets.xor(seed, 1000, 2)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    descent = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.8)
    return fit(found, net, nn.CrossEntropyLoss(), descent, epochs=40, seed=seed)


@trap("circles", 0.9)
def circles_few_to_validate(seed: int) -> Case:
    found, net = sets.circles(seed), relu_net(2, 2)
    found = Split(found.train, (found.validation[0][:12], found.validation[1][:12]), found.test)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=20, seed=seed)


@trap("rings", 0.8)
def rings_few_to_validate(seed: int) -> Case:
    found, net = sets.rings(seed), relu_net(3, 3)
    found = Split(found.train, (found.validation[0][:15], found.validation[1][:15]), found.test)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=40, seed=seed)


def grown(found: Split, net: nn.Module, epochs: int, classes: Tensor) -> None:
    """Train a body beforehand, on some of the classes."""
    keep = torch.isin(found.train[1], classes)
    best = adam(net, 3e-3)
    for _ in range(epochs):
        for x, y in cut(found.train[0][keep], found.train[1][keep], 32):
            best.zero_grad()
            F.cross_entropy(net(x), y).backward()
            best.step()


@trap("bars", 0.6)
def bars_frozen_body(seed: int) -> Case:
    """A body trained before and frozen, and a new head."""
    found, net = sets.bars(seed), Pictures(1, 10, 4)
    grown(found, net, 6, torch.arange(3))
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.fc2 = nn.Linear(32, 4)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net.fc2, 1e-2), epochs=12, seed=seed)


class Adapted(nn.Module):
    """A frozen linear layer and a small trained difference of rank 4, which starts at zero."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down, self.up = nn.Linear(layer.in_features, 4, bias=False), nn.Linear(4, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


@trap("digits", 0.8)
def digits_low_rank(seed: int) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)
    grown(found, net, 4, torch.arange(6))
    net[0].requires_grad_(False)
    net[2] = Adapted(net[2])
    wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return fit(found, net, nn.CrossEntropyLoss(), torch.optim.AdamW(wanted, lr=5e-3), epochs=12, seed=seed)


@trap("friedman", 0.75)
def friedman_normalises_itself(seed: int) -> Case:
    """Raw columns of very different size go into BatchNorm first."""
    found = standard_targets(sets.friedman(seed)).inputs(lambda x: x * 10 ** torch.linspace(-2, 4, 8) + 50)
    net = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1))
    best, batches = adam(net, 4e-3), loader(*found.train, 32, seed, True)
    return fit(found, net, nn.MSELoss(), best, epochs=30, answer=as_is, batches=batches)


class Scaling(nn.Module):
    """Standardises inside, by buffers."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("deviation", x.std(0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


@trap("wine", 0.85)
def wine_normalises_itself(seed: int) -> Case:
    found = sets.wine(seed, scaled=False)
    net = nn.Sequential(Scaling(found.train[0]), nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=25, size=16, seed=seed)


@trap("cancer", 0.8)
def cancer_raw_batchnorm(seed: int) -> Case:
    found = sets.cancer(seed, scaled=False)
    net = nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 2))
    return fit(
        found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=15, batches=loader(*found.train, 32, seed, True)
    )


@trap("counts", 0.4)
def counts_between_0_and_5(seed: int) -> Case:
    found, net = standard_targets(sets.counts(seed)).inputs(lambda x: x + 2), relu_net(5, 1)
    return fit(found, net, nn.HuberLoss(), adam(net, 3e-3), epochs=15, answer=as_is, seed=seed)


@trap("diabetes", 0.3)
def diabetes_two_rates(seed: int) -> Case:
    """Two groups: decay for weights only, a smaller rate for the head."""
    found = standard_targets(sets.diabetes(seed))
    net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    groups = [
        {"params": [net[0].weight], "weight_decay": 0.05},
        {"params": [net[0].bias]},
        {"params": net[2].parameters(), "lr": 2e-3},
    ]
    best = torch.optim.AdamW(groups, lr=4e-3, weight_decay=0.0)
    return fit(found, net, nn.MSELoss(), best, epochs=15, answer=as_is, seed=seed)


@trap("friedman", 0.75)
def friedman_factorised(seed: int) -> Case:
    """Two linear layers in a row on purpose: a bottleneck of rank 6."""
    found = standard_targets(sets.friedman(seed))
    net = nn.Sequential(
        nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 6, bias=False), nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 1)
    )
    return fit(found, net, nn.MSELoss(), adam(net, 5e-3), epochs=35, answer=as_is, seed=seed)


@trap("arm", 0.9)
def arm_factorised(seed: int) -> Case:
    found = sets.arm(seed)
    net = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 48), nn.Tanh(), nn.Linear(48, 8), nn.Linear(8, 2))
    return fit(found, net, nn.MSELoss(), adam(net, 4e-3), epochs=30, answer=as_is, seed=seed)


@trap("waveline", 0.85)
def waveline_summed(seed: int) -> Case:
    """The loss is a sum, and Adam does not mind."""
    found = standard_targets(sets.waveline(seed))
    net = nn.Sequential(nn.Linear(1, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    return fit(found, net, nn.MSELoss(reduction="sum"), adam(net, 6e-3), epochs=40, answer=as_is, seed=seed)


@trap("roll", 0.9)
def roll_summed(seed: int) -> Case:
    found, net = standard_targets(sets.roll(seed)), relu_net(3, 1)

    def summed(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum()

    descent = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    return fit(found, net, summed, descent, epochs=40, answer=as_is, seed=seed)


@trap("moons", 0.88)
def moons_sparse_features(seed: int) -> Case:
    """Nine in ten activations are zero, and each unit is awake somewhere."""
    found = sets.moons(seed)
    net = nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 2))
    with torch.no_grad():
        net[0].weight.normal_(0, 1)
        net[0].bias.fill_(-1.6)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=20, seed=seed)


@trap("digits", 0.88)
def digits_sparse_features(seed: int) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight * 3)
        net[0].bias.copy_(-net[0](found.train[0]).quantile(0.85, dim=0))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=15, seed=seed)


@trap("tags", 0.9)
def tags_unused_rows(seed: int) -> Case:
    """A table of which most rows are never looked up."""
    found, net = made.tags(seed), Tagger()
    net.table = nn.Embedding(500, 12)
    return fit(found, net, by_position, adam(net, 1e-2), epochs=12, seed=seed)


@trap("majority", 0.75)
def majority_unused_rows(seed: int) -> Case:
    found = made.majority(seed)

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.out = nn.EmbeddingBag(300, 24, mode="mean"), nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.bag(x))

    net = Bag()
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=30, seed=seed)


@trap("multilabel", 0.5)
def multilabel_weighted(seed: int) -> Case:
    """Weights for the rarer answers."""
    found = made.multilabel(seed)
    score, net = held_out(found.test, each_over_zero), relu_net(10, 4)
    found = found.targets(lambda y: y.float())
    share = found.train[1].mean(0)
    loss = nn.BCEWithLogitsLoss(pos_weight=(1 - share) / share)
    return fit(found, net, loss, adam(net, 5e-3), epochs=20, seed=seed, score=score)


@trap("waves", 0.85)
def waves_noisy_inputs(seed: int) -> Case:
    """New noise in each epoch: training looks worse than validation."""

    class Noisy(WaveConv):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + 0.3 * torch.randn_like(x) if self.training else x)

    found, net = made.waves(seed), Noisy()
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=20, seed=seed)


@trap("circles", 0.9)
def circles_two_heads_one_used(seed: int) -> Case:
    """A part that is there for later and not used in this loss."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.later = relu_net(2, 24), nn.Linear(24, 1), nn.Linear(24, 7)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.head(torch.relu(self.body(x))))

    found, net = sets.circles(seed), Two()
    score = held_out(found.test, over_half)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    return fit(found, net, nn.BCELoss(), adam(net, 5e-3), epochs=20, seed=seed, score=score)


@trap("checkers", 0.75)
def checkers_big_first_weights(seed: int) -> Case:
    """Random Fourier features: a large start of the first layer, on purpose."""
    found = sets.checkers(seed)

    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("waves", torch.randn(2, 48) * 1.5)
            self.net = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 2))

        def forward(self, x: Tensor) -> Tensor:
            seen = x @ self.waves
            return self.net(torch.cat([seen.sin(), seen.cos()], 1))

    net = Fourier()
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=20, seed=seed)
