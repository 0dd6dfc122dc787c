"""The networks of the works in plain PyTorch, as a person without netwright writes them; tests hold them equal."""

import torch
from torch import Tensor, nn

CHANNELS = (64, 128, 256, 512)


class ConvNet(nn.Module):
    """The notes' CNN: 28,938 parameters on 28 x 28."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, 16, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(16, 32, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2))
        self.out = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv2(self.conv1(x)).flatten(1))


class RowLSTM(nn.Module):
    """The notes' LSTM over the rows of a picture: 24,714 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(28, 64, batch_first=True)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x.squeeze(1))
        return self.out(states[:, -1])


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 with one 3 x 3 convolution as its stem (`small`), or with the 7 x 7 of ImageNet."""

    def __init__(self, small: bool = True, classes: int = 10) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False) if small else nn.Conv2d(3, 64, 7, 2, 3, bias=False)]
        stem += [nn.BatchNorm2d(64), nn.ReLU(inplace=True)]  # type: ignore[list-item]
        self.stem = nn.Sequential(*stem, *([] if small else [nn.MaxPool2d(3, 2, 1)]))
        before = (64, *CHANNELS[:-1])
        pairs = [
            nn.Sequential(Block(old, new, 1 if index == 0 else 2), Block(new, new, 1))
            for index, (old, new) in enumerate(zip(before, CHANNELS, strict=True))
        ]
        self.stages = nn.Sequential(*pairs)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.stem(x)).mean((2, 3)))


class CharLSTM(nn.Module):
    """Characters in, scores of the next character out, at every place: (batch, steps) to (batch, steps, vocabulary)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 64)
        self.rnn = nn.LSTM(64, 256, 2, batch_first=True)
        self.out = nn.Linear(256, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.embedding(x))[0])


def network(work: str, vocabulary: int = 65) -> nn.Module:
    """The network of a work, its first weights always the same."""
    torch.manual_seed(0)
    if work == "w4":
        return CharLSTM(vocabulary)
    if work.startswith("w6"):
        return ResNet18(small=False, classes=1000)
    return {"w1": ConvNet, "w5": ConvNet, "w5-2": ConvNet, "w2": RowLSTM, "w3": ResNet18}[work]()
