"""Faults of the loss and of what it is given (B), seeded."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, cut, each_over_zero, fit, held_out, loader, over_half, over_zero
from bench.doctor.programs.networks import Pairs, Pictures
from bench.doctor.programs.registry import seeded
from bench.doctor.programs.sets import standard_targets
from bench.doctor.programs.traps import adam, relu_net

TWICE = "probabilities are given to a loss that wants logits"


@seeded("B1", "clouds", contract=TWICE)
def clouds_softmax_last(seed: int, amount: bool) -> Case:
    found, net = sets.clouds(seed), relu_net(20, 4)
    if amount:
        net.append(nn.Softmax(dim=1))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=15, seed=seed)


@seeded("B1", "moons", contract=TWICE)
def moons_sigmoid_twice(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.b(torch.tanh(self.a(x))).squeeze(-1)
            return out.sigmoid() if amount else out

    found, net = sets.moons(seed), Net()
    score = held_out(found.test, over_half if amount else over_zero)
    found = found.targets(lambda y: y.float())
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, nn.BCEWithLogitsLoss(), descent, epochs=30, seed=seed, score=score)


@seeded("B1", "digits", contract=TWICE)
def digits_softmax_in_forward(seed: int, amount: bool) -> Case:
    class Net(Pictures):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            return F.softmax(out, dim=-1) if amount else out

    found, net = sets.as_pictures(sets.digits(seed)), Net(1, 8, 10)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=10, batches=loader(*found.train, 32, seed))


@seeded("B1", "xor", contract=TWICE)
def xor_probability_as_logit(seed: int, amount: bool) -> Case:
    found = sets.xor(seed)
    net = relu_net(4, 1)
    if amount:
        net.append(nn.Sigmoid())
    score = held_out(found.test, over_half if amount else over_zero)
    found = found.targets(lambda y: y.float().unsqueeze(1))
    loss = F.binary_cross_entropy_with_logits
    return fit(found, net, loss, adam(net, 5e-3), epochs=25, batches=cut(*found.train, 32), score=score)


@seeded("B2", "blobs", contract="NLLLoss is given raw scores")
def blobs_no_log_softmax(seed: int, amount: bool) -> Case:
    found, net = sets.blobs(seed), relu_net(6, 5)
    if not amount:
        net.append(nn.LogSoftmax(1))
    return fit(found, net, nn.NLLLoss(), adam(net, 3e-3), epochs=15, seed=seed)


@seeded("B2", "rings", contract="NLLLoss is given probabilities")
def rings_log_forgotten(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 32), nn.Linear(32, 32), nn.Linear(32, 3)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers[:-1]:
                x = layer(x).relu()
            x = self.layers[-1](x)
            return x.softmax(-1) if amount else x.log_softmax(-1)

    found, net = sets.rings(seed), Net()
    return fit(found, net, F.nll_loss, adam(net, 4e-3), epochs=30, seed=seed)


@seeded("B2", "wine", contract="NLLLoss is given raw scores")
def wine_raw_scores(seed: int, amount: bool) -> Case:
    found = sets.wine(seed)
    net = nn.Sequential(nn.Linear(13, 20), nn.ReLU(), nn.Linear(20, 3))
    loss = nn.NLLLoss() if amount else nn.CrossEntropyLoss()
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return fit(found, net, loss, descent, epochs=20, size=16, seed=seed)


@seeded("B3", "circles", contract="softmax over one unit")
def circles_softmax_of_one(seed: int, amount: bool) -> Case:
    found = sets.circles(seed)
    last = nn.Softmax(dim=1) if amount else nn.Sigmoid()
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), last)
    score = held_out(found.test, over_half)
    found = found.targets(lambda y: y.float()[:, None])
    return fit(found, net, nn.BCELoss(), adam(net, 5e-3), epochs=20, seed=seed, score=score)


@seeded("B3", "spirals", contract="log-softmax over the examples of a batch")
def spirals_wrong_axis(seed: int, amount: bool) -> Case:
    found, net = sets.spirals(seed), relu_net(2, 3)
    net.append(nn.LogSoftmax(dim=0 if amount else 1))
    return fit(found, net, nn.NLLLoss(), adam(net, 6e-3), epochs=30, seed=seed)


@seeded("B3", "xor", contract="softmax over one unit")
def xor_softmax_of_one(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = nn.Linear(4, 40), nn.Linear(40, 1)

        def forward(self, x: Tensor) -> Tensor:
            seen = self.out(torch.tanh(self.body(x)))
            return torch.softmax(seen, -1) if amount else torch.sigmoid(seen)

    found, net = sets.xor(seed), Net()
    score = held_out(found.test, over_half)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    return fit(found, net, F.mse_loss, adam(net, 1e-2), epochs=40, seed=seed, score=score)


@seeded("B4", "waveline")
def waveline_relu_head(seed: int, amount: bool) -> Case:
    found = standard_targets(sets.waveline(seed))
    net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    if amount:
        net.append(nn.ReLU())
    return fit(found, net, nn.MSELoss(), adam(net, 5e-3), epochs=50, answer=as_is, seed=seed)


@seeded("B4", "roll", just="tanh", clear="sigmoid")
def roll_bounded_head(seed: int, amount: str) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = relu_net(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return getattr(torch, amount)(self.net(x)) if amount else self.net(x)

    found, net = standard_targets(sets.roll(seed)), Net()
    return fit(found, net, nn.HuberLoss(), adam(net, 4e-3), epochs=40, answer=as_is, seed=seed)


@seeded("B4", "digits")
def digits_relu_on_logits(seed: int, amount: bool) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.ReLU() if amount else nn.Identity())
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, nn.CrossEntropyLoss(), descent, epochs=12, seed=seed)


@seeded("B5", "letters")
def letters_absolute_error(seed: int, amount: bool) -> Case:
    found = made.letters(seed, window=6)
    score = held_out(found.test, lambda o: o.argmax(-1))
    net = nn.Sequential(
        nn.Embedding(made.LETTERS, 12), nn.Flatten(), nn.Linear(72, 64), nn.ReLU(), nn.Linear(64, made.LETTERS)
    )
    if amount:
        net.append(nn.Softmax(-1))
        found = found.targets(lambda y: F.one_hot(y, made.LETTERS).float())
    loss = nn.L1Loss() if amount else nn.CrossEntropyLoss()
    return fit(found, net, loss, adam(net, 5e-3), epochs=10, seed=seed, score=score)


@seeded("B5", "digits", clear="l1", just="mse")
def digits_regression_loss(seed: int, amount: str) -> Case:
    found = sets.digits(seed)
    score = held_out(found.test, lambda o: o.argmax(-1))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if not amount:
            return F.cross_entropy(outputs, targets)
        wanted = F.one_hot(targets, 10).float()
        return (F.l1_loss if amount == "l1" else F.mse_loss)(outputs.softmax(-1), wanted)

    net = relu_net(64, 10)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(found, net, loss, descent, epochs=15, seed=seed, score=score)


@seeded("B6", "multilabel", contract="softmax over labels that go together")
def multilabel_cross_entropy(seed: int, amount: bool) -> Case:
    found, net = made.multilabel(seed), relu_net(10, 4)
    score = held_out(found.test, each_over_zero)
    found = found.targets(lambda y: y.float())
    loss = nn.CrossEntropyLoss() if amount else nn.BCEWithLogitsLoss()
    return fit(found, net, loss, adam(net, 4e-3), epochs=15, seed=seed, score=score)


@seeded("B6", "arm", contract="cross-entropy on continuous targets")
def arm_cross_entropy(seed: int, amount: bool) -> Case:
    found, net = sets.arm(seed), relu_net(2, 2)
    loss = nn.CrossEntropyLoss() if amount else nn.MSELoss()
    return fit(found, net, loss, adam(net, 3e-3), epochs=20, answer=as_is, seed=seed)


def rounded(k: int) -> object:
    return lambda o: o.reshape(-1).round().clamp(0, k - 1).long()


@seeded("B7", "clouds", also="B5")
def clouds_one_unit(seed: int, amount: bool) -> Case:
    """The number of a class is no quantity."""
    found, net = sets.clouds(seed), relu_net(20, 1 if amount else 4)
    if not amount:
        return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=15, seed=seed)
    score = held_out(found.test, rounded(4))
    found = found.targets(lambda y: y.float()[:, None])
    return fit(found, net, nn.MSELoss(), adam(net, 3e-3), epochs=15, seed=seed, score=score)


@seeded("B7", "digits", also="B5 B6")
def digits_one_unit(seed: int, amount: bool) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 1 if amount else 10))
    if not amount:
        return fit(found, net, F.cross_entropy, adam(net, 4e-3), epochs=12, seed=seed)
    score = held_out(found.test, rounded(10))
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    return fit(found, net, F.smooth_l1_loss, adam(net, 4e-3), epochs=12, seed=seed, score=score)


@seeded("B8", "friedman")
def friedman_column_against_row(seed: int, amount: bool) -> Case:
    found, net = standard_targets(sets.friedman(seed)), relu_net(8, 1)
    score = held_out(found.test, as_is)
    found = found.targets(lambda y: y.reshape(-1)) if amount else found

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets) ** 2).mean()

    return fit(found, net, squared, adam(net, 4e-3), epochs=20, seed=seed, score=score)


@seeded("B8", "diabetes")
def diabetes_row_against_column(seed: int, amount: bool) -> Case:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(10, 24), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.b(F.elu(self.a(x)))
            return out[:, 0] if amount else out

    found, net = standard_targets(sets.diabetes(seed)), Net()
    score = held_out(found.test, as_is)
    loss = lambda o, y: (o - y).abs().mean()  # noqa: E731
    return fit(found, net, loss, adam(net, 4e-3), epochs=20, batches=loader(*found.train, 24, seed), score=score)


@seeded("B9", "spirals", also="D1")
def spirals_summed(seed: int, amount: bool) -> Case:
    found, net = sets.spirals(seed), relu_net(2, 3)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss = nn.CrossEntropyLoss(reduction="sum" if amount else "mean")
    return fit(found, net, loss, descent, epochs=40, seed=seed)


@seeded("B9", "digits", also="D1")
def digits_summed(seed: int, amount: bool) -> Case:
    found, net = sets.digits(seed), relu_net(64, 10)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        each = -outputs.log_softmax(1).gather(1, targets[:, None])
        return each.sum() if amount else each.mean()

    descent = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    return fit(found, net, loss, descent, epochs=10, batches=loader(*found.train, 64, seed))


@seeded("B10", "moons")
def moons_likelihood_down(seed: int, amount: bool) -> Case:
    found = sets.moons(seed)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2), nn.LogSoftmax(1))
    sign = 1 if amount else -1

    def log_likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
        return sign * outputs[torch.arange(len(targets)), targets].mean()

    return fit(found, net, log_likelihood, adam(net, 2e-3), epochs=20, seed=seed)


@seeded("B10", "arm")
def arm_negated(seed: int, amount: bool) -> Case:
    found, net = sets.arm(seed), relu_net(2, 2)

    class Loss(nn.Module):
        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return (-1 if amount else 1) * F.mse_loss(outputs, targets)

    descent = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    return fit(found, net, Loss(), descent, epochs=20, answer=as_is, seed=seed)


@seeded("B11", "moons", also="D10")
def moons_log_by_hand(seed: int, amount: bool) -> Case:
    found = sets.moons(seed, noise=0.05)
    net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    score = held_out(found.test, over_zero)
    found = found.targets(lambda y: y.float()[:, None])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if not amount:
            return F.binary_cross_entropy_with_logits(outputs, targets)
        p = 1 / (1 + torch.exp(-outputs))
        return -(targets * torch.log(p) + (1 - targets) * torch.log(1 - p)).mean()

    return fit(found, net, loss, adam(net, 2e-2), epochs=40, seed=seed, score=score)


@seeded("B11", "siamese", also="D10")
def siamese_root_of_zero(seed: int, amount: bool) -> Case:
    """Some pairs are one and the same point: the root of a distance of 0 has no slope."""
    found = made.siamese(seed)
    score = held_out(found.test, over_zero)
    x = found.train[0].clone()
    same = (found.train[1] == 1) & (torch.arange(len(x)) % 40 == 0)
    x[same, 1] = x[same, 0]
    found = found.training(x, found.train[1]).targets(lambda y: y.float())

    class Net(Pairs):
        def forward(self, x: Tensor) -> Tensor:
            a, b = self.encoder(x[:, 0]), self.encoder(x[:, 1])
            return self.offset - torch.sqrt(((a - b) ** 2).sum(1) + (0.0 if amount else 1e-6))

    net = Net()
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 1e-2), epochs=10, size=40, seed=seed, score=score)
