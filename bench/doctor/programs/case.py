"""One training as a person hands it to `examine`, and how its answers on held-out examples are scored."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bench.doctor.programs.sets import Split

Answer = Callable[[Tensor], Tensor]
Score = Callable[[nn.Module], float]


@dataclass
class Case:
    """What is handed over, and `score`: the skill of a trained module on held-out examples the doctor never sees.

    A case with a `recipe` carries tables instead of objects: it is for `netwright.diagnose`.
    """

    module: Any = None
    loss: Any = None
    optimizer: Any = None
    batches: Any = None
    validation: Any = None
    epochs: int = 1
    score: Score | None = None
    step: Callable[..., Any] | None = None
    recipe: dict[str, Any] | None = None


def argmax(outputs: Tensor) -> Tensor:
    """One score a class in the last place."""
    return outputs.argmax(-1)


def over_zero(outputs: Tensor) -> Tensor:
    """One logit."""
    return (outputs.reshape(-1) > 0).long()


def over_half(outputs: Tensor) -> Tensor:
    """One probability."""
    return (outputs.reshape(-1) > 0.5).long()


def each_over_zero(outputs: Tensor) -> Tensor:
    """Several logits, each its own label."""
    return (outputs > 0).long()


def as_is(outputs: Tensor) -> Tensor:
    """Numbers."""
    return outputs.reshape(len(outputs), -1)


def skill(answers: Tensor, truth: Tensor, balanced: bool = False) -> float:
    """0 for the best constant answer, 1 for perfect ones.

    Formula: classes (a - c) / (1 - c), a the share answered rightly, c the largest share of one class (balanced:
    means over classes, c = 1 / K); numbers 1 - sum (y - o)^2 / sum (y - mean y)^2, not below -1
    """
    if truth.is_floating_point():
        truth = as_is(truth)
        if answers.shape != truth.shape or not torch.isfinite(answers).all():
            return -1.0
        spread = (truth - truth.mean(0)).square().sum().item()
        return max(-1.0, 1 - (answers - truth).square().sum().item() / spread)
    if answers.shape != truth.shape:
        return -1.0
    right = (answers == truth).double()
    if balanced:
        classes = truth.unique()
        return (torch.stack([right[truth == k].mean() for k in classes]).mean().item() - 1 / len(classes)) / (
            1 - 1 / len(classes)
        )
    constant = max((truth == k).double().mean().item() for k in truth.unique())
    return (right.mean().item() - constant) / (1 - constant)


def held_out(pair: tuple[Tensor, Tensor], answer: Answer, balanced: bool = False) -> Score:
    """Scores a module in evaluation mode on a pair of inputs and truth; NaN where its outputs are not finite."""
    inputs, truth = pair

    def score(module: nn.Module) -> float:
        was = [(part, part.training) for part in module.modules()]
        module.eval()
        with torch.no_grad():
            outputs = module(inputs)
        for part, mode in was:
            part.training = mode
        return skill(answer(outputs), truth, balanced) if torch.isfinite(outputs).all() else math.nan

    return score


def cut(inputs: Tensor, targets: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Batches in a list, in the order in which the examples stand."""
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def loader(inputs: Tensor, targets: Tensor, size: int, seed: int, drop_last: bool = False) -> DataLoader[Any]:
    """Torch's loader, shuffling."""
    order = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(inputs, targets), size, shuffle=True, generator=order, drop_last=drop_last)


class Shuffled:
    """Batches cut anew in each epoch, from an order of its own generator: a person's own little loader."""

    def __init__(self, inputs: Tensor, targets: Tensor, size: int, seed: int) -> None:
        self.inputs, self.targets, self.size = inputs, targets, size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Any:
        for rows in torch.randperm(len(self.inputs), generator=self.generator).split(self.size):
            yield self.inputs[rows], self.targets[rows]

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.size)


def fit(
    split: Split, module: nn.Module, loss: Any, optimizer: Any, *, epochs: int, answer: Answer = argmax,
    batches: Iterable[Any] | None = None, size: int = 32, seed: int = 0, step: Callable[..., Any] | None = None,
    score: Score | None = None,
) -> Case:  # fmt: skip
    """The usual case: batches of 32 shuffled anew in each epoch, one validation batch."""
    found = Shuffled(*split.train, size, seed) if batches is None else batches
    judged = held_out(split.test, answer) if score is None else score
    return Case(module, loss, optimizer, found, [split.validation], epochs, judged, step)
