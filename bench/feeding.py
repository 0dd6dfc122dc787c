"""Training data as tutorials feed it to PyTorch: one example at a time; and evaluation in batches."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from bench.feeding_arrays import DEVIATION, MEAN
from bench.works import Order

COLOURS = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1), torch.tensor([0.247, 0.2435, 0.2616]).view(3, 1, 1)
"""CIFAR-10's, a channel each."""


def grey(image: np.ndarray) -> Tensor:
    """Grey levels 0 to 255 (28, 28) as floats (1, 28, 28) of mean 0 and deviation 1."""
    return (torch.from_numpy(image)[None].float().div(255) - MEAN) / DEVIATION


def augmented(image: np.ndarray) -> Tensor:
    """A picture (32, 32, 3) with 4 pixels of border, cut at a random place, mirrored or not, normalised (3, 32, 32)."""
    padded = nn.functional.pad(torch.from_numpy(image).permute(2, 0, 1), (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2,)).tolist()
    cut = padded[:, top : top + 32, left : left + 32]
    if torch.rand(1).item() < 0.5:
        cut = cut.flip(2)
    return (cut.float().div(255) - COLOURS[0]) / COLOURS[1]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures one at a time, each changed by `transform` when it is asked for."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable[[np.ndarray], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


class Pieces(Dataset[tuple[Tensor, Tensor]]):
    """Pieces of a text: 128 characters, and the same one place later."""

    def __init__(self, pieces: np.ndarray) -> None:
        self.pieces = torch.from_numpy(pieces).long()

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        piece = self.pieces[index]
        return piece[:-1], piece[1:]


def examples(order: Order) -> Dataset[tuple[Tensor, int]] | Dataset[tuple[Tensor, Tensor]]:
    """The training data of an order, an example at a time."""
    if order.work == "w4":
        return Pieces(order.array("pieces"))
    return Pictures(order.array("images"), order.array("labels"), augmented if order.work == "w3" else grey)


def vocabulary(order: Order) -> int:
    """How many characters there are; 0 where the work is about pictures."""
    return int(order.array("vocabulary")) if order.work == "w4" else 0


def criterion(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy; of texts over all places."""
    return nn.functional.cross_entropy(scores.flatten(0, -2), targets.flatten())


@torch.no_grad()
def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray, device: str = "cpu") -> float:
    """The share of MNIST pictures classified well, in batches of 1,000 in evaluation mode."""
    model.eval()
    hits = 0
    for first in range(0, len(images), 1000):
        part = torch.from_numpy(images[first : first + 1000])[:, None].float().div(255).sub(MEAN).div(DEVIATION)
        found = model(part.to(device)).argmax(1).cpu().numpy()
        hits += int((found == labels[first : first + 1000]).sum())
    model.train()
    return hits / len(images)
