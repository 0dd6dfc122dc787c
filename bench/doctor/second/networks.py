"""Networks and small parts that several programs of the second set share."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.case import Answer, Score, skill
from bench.doctor.programs.sets import Split
from bench.doctor.second.sequence_sets import WORDS
from bench.doctor.second.sets import FILMS, USERS

CE, MSE, BCE = nn.CrossEntropyLoss, nn.MSELoss, nn.BCEWithLogitsLoss


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def adam(net: nn.Module, lr: float = 3e-3, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=lr, **more)


def sgd(net: nn.Module, lr: float = 0.05, momentum: float = 0.9, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, **more)


def column(found: Split) -> Split:
    """Classes 0 and 1 as numbers (N, 1), as a loss on one logit wants them."""
    return found.targets(lambda y: y.float().reshape(-1, 1))


def scored(pair: tuple[Tensor, Tensor], pick: Callable[[Any], Tensor], answer: Answer) -> Score:
    """The skill of a module whose outputs are a dictionary or several: `pick` takes the tensor that answers."""

    def score(module: nn.Module) -> float:
        module.eval()
        with torch.no_grad():
            outputs = pick(module(pair[0]))
        module.train()
        return skill(answer(outputs), pair[1]) if torch.isfinite(outputs).all() else float("nan")

    return score


def small_cnn(channels: int, side: int, k: int, width: int = 8, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Two convolutions with pooling, one linear layer."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), act(), nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1),
        act(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * width * (side // 4) ** 2, k),
    )  # fmt: skip


class BagOfWords(nn.Module):
    """The mean of word vectors without the padding, then two layers."""

    def __init__(self, words: int, k: int, width: int = 16) -> None:
        super().__init__()
        self.emb = nn.Embedding(words, width, padding_idx=0)
        self.fc1, self.fc2 = nn.Linear(width, 32), nn.Linear(32, k)

    def forward(self, tokens: Tensor) -> Tensor:
        seen = (tokens != 0).unsqueeze(-1).float()
        mean = (self.emb(tokens) * seen).sum(1) / seen.sum(1).clamp(min=1)
        return self.fc2(F.relu(self.fc1(mean)))


class Reader(nn.Module):
    """A recurrent layer over words; the state at the last real word decides."""

    def __init__(self, k: int = 2, width: int = 24, last_real: bool = True, words: int = len(WORDS)) -> None:
        super().__init__()
        self.emb = nn.Embedding(words, 12, padding_idx=0)
        self.rnn, self.fc, self.last_real = nn.LSTM(12, width, batch_first=True), nn.Linear(width, k), last_real

    def forward(self, tokens: Tensor) -> Tensor:
        out, _ = self.rnn(self.emb(tokens))
        if not self.last_real:
            return self.fc(out[:, -1])
        ends = (tokens != 0).sum(1) - 1
        return self.fc(out[torch.arange(len(out)), ends])


class Forecast(nn.Module):
    def __init__(self, cell: str = "GRU", features: int = 1, width: int = 20, outputs: int = 1, **more: Any) -> None:
        super().__init__()
        kinds = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}
        self.rnn = kinds[cell](features, width, batch_first=True, **more)
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.out(states[:, -1])


class Beats(nn.Module):
    """Convolutions in time over (N, T, C)."""

    def __init__(self, turn: bool = True, k: int = 4) -> None:
        super().__init__()
        self.c1, self.c2, self.turn = nn.Conv1d(2, 16, 7, padding=3), nn.Conv1d(16, 24, 7, padding=3), turn
        self.fc = nn.Linear(24, k)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2) if self.turn else x.reshape(len(x), 2, -1)
        return self.fc(F.relu(self.c2(F.relu(self.c1(x)))).amax(-1))


class Factors(nn.Module):
    """Ratings by the product of a user's and a film's vector."""

    def __init__(self, width: int = 6, std: float = 0.3) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, width), nn.Embedding(FILMS, width)
        self.mean = nn.Parameter(torch.tensor(3.0))
        for table in (self.user, self.film):
            nn.init.normal_(table.weight, std=std)

    def forward(self, pair: Tensor) -> Tensor:
        return self.mean + (self.user(pair[:, 0]) * self.film(pair[:, 1])).sum(-1, keepdim=True)


class GraphNet(nn.Module):
    """Each node sees the sum of its neighbours; nodes are then summed."""

    def __init__(self, k: int = 2, width: int = 24) -> None:
        super().__init__()
        self.own, self.near, self.mix = nn.Linear(1, width), nn.Linear(1, width), nn.Linear(width, width)
        self.out = nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor:
        edges, value = x[..., :-1], x[..., -1:]
        h = F.relu(self.own(value) + self.near(edges @ value))
        return self.out(F.relu(self.mix(h)).mean(1))


class Sets(nn.Module):
    """The same layers on each point, the largest over points, and a head."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.each, self.head = mlp(2, width, width), mlp(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.each(x).amax(1))


class Places(nn.Module):
    """A transformer layer over tokens with an answer at each place."""

    def __init__(self, symbols: int = 7, steps: int = 8, width: int = 24, placed: bool = True) -> None:
        super().__init__()
        self.emb, self.placed = nn.Embedding(symbols, width), placed
        self.pos = nn.Parameter(torch.randn(steps, width) * 0.3)
        self.block = nn.TransformerEncoderLayer(width, 4, 48, dropout=0.0, batch_first=True, norm_first=True)
        self.fc = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.emb(tokens)
        return self.fc(self.block(h + self.pos if self.placed else h))


def per_place(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all places."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
