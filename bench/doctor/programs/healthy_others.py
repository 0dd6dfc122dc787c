"""Healthy programs on pictures, sequences and other tasks."""

import torch
import torch.nn.functional as F
from torch import nn

from bench.doctor.programs import sequence_sets as made
from bench.doctor.programs import sets
from bench.doctor.programs.case import Case, as_is, each_over_zero, fit, held_out, loader, over_zero
from bench.doctor.programs.networks import (
    Backwards,
    Density,
    LastStep,
    Letters,
    Pairs,
    Pictures,
    ResidualPictures,
    Tagger,
    Voter,
    WaveConv,
    by_position,
    negative_log,
)  # fmt: skip
from bench.doctor.programs.registry import healthy


def adam(net: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=lr)


@healthy("digits", 0.9)
def digits_lenet(seed: int) -> Case:
    found, net = sets.as_pictures(sets.digits(seed)), Pictures(1, 8, 10)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=10, seed=seed)


@healthy("digits", 0.9)
def digits_perceptron(seed: int) -> Case:
    found = sets.digits(seed)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    descent = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    return fit(found, net, F.cross_entropy, descent, epochs=12, batches=loader(*found.train, 64, seed))


@healthy("digits", 0.85)
def digits_logistic(seed: int) -> Case:
    found, net = sets.digits(seed), nn.Linear(64, 10)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 2e-2), epochs=15, seed=seed)


@healthy("digits", 0.7)
def digits_autoencoder(seed: int) -> Case:
    found = sets.digits(seed)
    found = sets.Split(*((x, x) for x, _ in (found.train, found.validation, found.test)))
    net = nn.Sequential(
        nn.Linear(64, 48),
        nn.ReLU(),
        nn.Linear(48, 16),
        nn.ReLU(),
        nn.Linear(16, 48),
        nn.ReLU(),
        nn.Linear(48, 64),
        nn.Sigmoid(),
    )
    return fit(found, net, nn.MSELoss(), adam(net, 5e-3), epochs=40, answer=as_is, seed=seed)


@healthy("bars", 0.85)
def bars_lenet(seed: int) -> Case:
    found, net = sets.bars(seed), Pictures(1, 10, 4)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 4e-3), epochs=18, seed=seed)


@healthy("bars", 0.85)
def bars_residual(seed: int) -> Case:
    found, net = sets.bars(seed), ResidualPictures(1, 4)
    descent = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return fit(found, net, nn.CrossEntropyLoss(), descent, epochs=12, batches=loader(*found.train, 32, seed, True))


@healthy("shapes", 0.85)
def shapes_lenet(seed: int) -> Case:
    found, net = sets.shapes(seed), Pictures(3, 12, 3)
    best = torch.optim.AdamW(net.parameters(), lr=3e-3)
    return fit(found, net, nn.CrossEntropyLoss(label_smoothing=0.1), best, epochs=15, seed=seed)


@healthy("shapes", 0.85)
def shapes_residual(seed: int) -> Case:
    found, net = sets.shapes(seed), ResidualPictures(3, 3)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=10, seed=seed)


@healthy("faces", 0.85)
def faces_flat(seed: int) -> Case:
    found = sets.faces(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 3e-3), epochs=12, seed=seed)


@healthy("faces", 0.85)
def faces_conv(seed: int) -> Case:
    found, net = sets.faces(seed), Pictures(1, 8, 3)
    return fit(found, net, F.cross_entropy, torch.optim.RMSprop(net.parameters(), 2e-3), epochs=12, seed=seed)


@healthy("adding", 0.85)
def adding_gru(seed: int) -> Case:
    found, net = made.adding(seed), LastStep(nn.GRU(2, 24, batch_first=True), 24, 1)
    return fit(found, net, nn.MSELoss(), adam(net, 1e-2), epochs=12, size=50, answer=as_is, seed=seed)


@healthy("adding", 0.85)
def adding_lstm(seed: int) -> Case:
    found, net = made.adding(seed), LastStep(nn.LSTM(2, 24, batch_first=True), 24, 1)
    return fit(found, net, nn.SmoothL1Loss(beta=0.5), adam(net, 2e-2), epochs=18, size=50, answer=as_is, seed=seed)


@healthy("recall", 0.9)
def recall_lstm(seed: int) -> Case:
    found, net = made.recall(seed, steps=6), LastStep(nn.LSTM(6, 32, batch_first=True), 32, 6)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=25, seed=seed)


@healthy("recall", 0.9)
def recall_gru(seed: int) -> Case:
    found, net = made.recall(seed, steps=8), LastStep(nn.GRU(6, 32, batch_first=True), 32, 6)
    return fit(found, net, F.cross_entropy, adam(net, 1e-2), epochs=15, batches=loader(*found.train, 40, seed))


@healthy("waves", 0.85)
def waves_conv(seed: int) -> Case:
    found, net = made.waves(seed), WaveConv()
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 5e-3), epochs=20, seed=seed)


@healthy("waves", 0.85)
def waves_flat(seed: int) -> Case:
    found = made.waves(seed)
    net = nn.Sequential(
        nn.Unflatten(2, (1, 1)), nn.Flatten(1), nn.Unflatten(1, (1, 24)), nn.Conv1d(1, 16, 5), nn.GELU(),
        nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(64, 3), nn.LogSoftmax(-1),
    )  # fmt: skip
    return fit(found, net, nn.NLLLoss(), adam(net, 1e-2), epochs=20, seed=seed)


@healthy("majority", 0.75)
def majority_embedding(seed: int) -> Case:
    found, net = made.majority(seed), Voter()
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=20, seed=seed)


@healthy("majority", 0.7)
def majority_gru(seed: int) -> Case:
    found, net = made.majority(seed), LastStep(nn.GRU(8, 16, batch_first=True), 16, 3, symbols=3)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=35, seed=seed)


@healthy("brackets", 0.8)
def brackets_lstm(seed: int) -> Case:
    found = made.brackets(seed)
    score = held_out(found.test, over_zero)
    net = LastStep(nn.LSTM(8, 24, batch_first=True), 24, 1, symbols=2)
    found = found.targets(lambda y: y.float().reshape(-1, 1))
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 1e-2), epochs=15, seed=seed, score=score)


@healthy("letters", 0.55)
def letters_lstm(seed: int) -> Case:
    found, net = made.letters(seed), Letters(nn.LSTM(16, 48, batch_first=True), 48)
    return fit(found, net, nn.CrossEntropyLoss(), adam(net, 1e-2), epochs=15, size=50, seed=seed)


@healthy("letters", 0.4)
def letters_window(seed: int) -> Case:
    found = made.letters(seed, window=6)
    net = nn.Sequential(
        nn.Embedding(made.LETTERS, 12), nn.Flatten(), nn.Linear(72, 64), nn.Tanh(), nn.Linear(64, made.LETTERS)
    )
    best = torch.optim.AdamW(net.parameters(), lr=5e-3)
    return fit(found, net, nn.CrossEntropyLoss(), best, epochs=15, seed=seed)


@healthy("reversal", 0.9)
def reversal_transformer(seed: int) -> Case:
    found, net = made.reversal(seed), Backwards(8, 6)
    return fit(found, net, by_position, adam(net, 3e-3), epochs=15, size=50, seed=seed)


@healthy("sorting", 0.8)
def sorting_transformer(seed: int) -> Case:
    found, net = made.sorting(seed), Backwards(8, 6)
    return fit(found, net, by_position, adam(net, 3e-3), epochs=20, size=50, seed=seed)


@healthy("tags", 0.9)
def tags_both_ways(seed: int) -> Case:
    found, net = made.tags(seed), Tagger()
    return fit(found, net, by_position, adam(net, 1e-2), epochs=12, seed=seed)


@healthy("multilabel", 0.65)
def multilabel_logits(seed: int) -> Case:
    found = made.multilabel(seed)
    score = held_out(found.test, each_over_zero)
    net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 4))
    found = found.targets(lambda y: y.float())
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 5e-3), epochs=20, seed=seed, score=score)


@healthy("siamese", 0.85)
def siamese_distance(seed: int) -> Case:
    found = made.siamese(seed)
    score = held_out(found.test, over_zero)
    net = Pairs()
    found = found.targets(lambda y: y.float())
    return fit(found, net, nn.BCEWithLogitsLoss(), adam(net, 1e-2), epochs=12, size=40, seed=seed, score=score)


@healthy("density", 0.5)
def density_mixture(seed: int) -> Case:
    found, net = made.density(seed), Density()
    x = found.test[0]

    def score(module: nn.Module) -> float:
        """Of what two known bumps gain over one wide one, how much is gained."""
        with torch.no_grad():
            wide = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(1).mean().item()
            best = torch.tensor([[0.5, 0.0], [-0.5, 0.3]])
            known = (
                torch.distributions.Normal(best[:, None], 0.05).log_prob(x).sum(-1).logsumexp(0).mean().item() - 0.693
            )
            return (-negative_log(module(x), x).item() - wide) / (known - wide)

    return fit(found, net, negative_log, adam(net, 2e-2), epochs=15, seed=seed, score=score)
