"""Networks of the programs that need more than a line."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.doctor.programs.sequence_sets import LETTERS


class Pictures(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self, channels: int, side: int, k: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * (side // 4) ** 2, 32)
        self.fc2 = nn.Linear(32, k)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = (
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.an, self.bn = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn(self.b(F.relu(self.an(self.a(x))))))


class ResidualPictures(nn.Module):
    """A small residual network."""

    def __init__(self, channels: int, k: int, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.body = nn.Sequential(Block(width), nn.MaxPool2d(2), Block(width))
        self.head = nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).amax((2, 3)))


class LastStep(nn.Module):
    """A recurrent layer, and a linear one on its last step; token numbers through an embedding."""

    def __init__(self, cell: nn.RNNBase, hidden: int, outputs: int, symbols: int = 0) -> None:
        super().__init__()
        self.table = nn.Embedding(symbols, cell.input_size) if symbols else None
        self.cell, self.head = cell, nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        seen, _ = self.cell(x if self.table is None else self.table(x))
        return self.head(seen[:, -1])


class Letters(nn.Module):
    def __init__(self, cell: nn.RNNBase, hidden: int) -> None:
        super().__init__()
        self.embed, self.cell, self.out = nn.Embedding(LETTERS, cell.input_size), cell, nn.Linear(hidden, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(self.embed(x))[0][:, -1])


class WaveConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv1d(1, 16, 5, padding=2), nn.Conv1d(16, 16, 5, padding=2), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.b(F.relu(self.a(x.transpose(1, 2)))))
        return self.out(torch.cat([x.mean(-1), x.amax(-1)], 1))


class Voter(nn.Module):
    """The mean of embeddings, then a small net."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 12)
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.table(x).mean(1))


class Backwards(nn.Module):
    """A transformer of one layer with learnt positions: one answer a position."""

    def __init__(self, symbols: int, steps: int, width: int = 32) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(symbols, width), nn.Parameter(torch.randn(steps, width) * 0.3)
        self.layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.table(x) + self.place))


def by_position(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all positions."""
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.cell = nn.Embedding(9, 12), nn.GRU(12, 24, batch_first=True, bidirectional=True)
        self.out = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(self.table(x))[0])


class Pairs(nn.Module):
    """One encoder for both of a pair; how near they are decides."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 8))
        self.scale, self.offset = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.encoder(x[:, 0]), self.encoder(x[:, 1])
        return self.offset - self.scale * (a - b).square().sum(-1)


class Density(nn.Module):
    """Two bumps whose centres and widths are learnt; gives each example's log density."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.tensor([[0.2, 0.0], [-0.2, 0.0]]))
        self.widths = nn.Parameter(torch.zeros(2) - 1)

    def forward(self, x: Tensor) -> Tensor:
        bumps = torch.distributions.Normal(self.centres[:, None], self.widths.exp()[:, None, None])
        return bumps.log_prob(x).sum(-1).logsumexp(0) - 0.6931


def negative_log(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the mean of log densities."""
    return -outputs.mean()
