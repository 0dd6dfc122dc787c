"""What a network is asked, and how well it answers, on one scale: 0 is the best constant answer, 1 is perfect."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.parts.sequences import Sequences

FEW = 20
"""Whole numbers of at most so many values, as targets of a loss for classes."""


@dataclass(frozen=True)
class Task:
    """`classes` (one of K), `labels` (several of K), `numbers`, or `other`: then only the loss can tell."""

    kind: str
    count: int
    """Classes, labels or numbers an example."""
    form: str
    """How targets stand: `index`, `one-hot`, `binary` (0 and 1, or -1 and 1, one column), `rounded` (class numbers
    that one output is to hit), `numbers`."""
    low: float = 0.0
    high: float = 1.0
    """The two values of binary targets."""
    axis: int = -1
    """Of outputs with more than two axes: where the classes lie."""

    def truth(self, targets: Any) -> Tensor:
        """Class numbers (N,), labels 0 and 1 (N, K), or numbers (N, M)."""
        found = flat_targets(targets)
        if self.kind == "classes":
            if self.form == "index":
                return found.reshape(-1).long()
            if self.form == "rounded":
                return (found.reshape(-1) - self.low).round().long()
            if self.form == "one-hot":
                return found.reshape(-1, found.shape[-1]).argmax(-1)
            return (found.reshape(-1) > (self.low + self.high) / 2).long()
        return found.reshape(len(found), -1).float()

    def answers(self, outputs: Any, sigmoid: bool = False) -> Tensor:
        """What the outputs say, in the form of `truth`. `sigmoid`: one output a class is a probability, no score."""
        found = first_tensor(outputs).detach()
        if self.kind == "classes":
            if self.form == "rounded" and (found.dim() == 1 or found.shape[-1] == 1):
                return (found.reshape(-1).nan_to_num(-1e9) - self.low).round().clamp(-1, self.count).long()
            if self.form == "binary" or found.dim() == 1 or found.shape[-1] == 1:
                middle = (
                    (self.low + self.high) / 2 if self.form == "binary" and self.low < 0 else 0.5 if sigmoid else 0.0
                )
                return (found.reshape(-1) > middle).long()
            if self.form == "index" and found.dim() > 2:
                found = found.movedim(self.axis, -1)
            return found.reshape(-1, found.shape[-1]).argmax(-1)
        found = found.reshape(len(found), -1).float()
        return (found > (0.5 if sigmoid else 0.0)).float() if self.kind == "labels" else found

    def skill(self, outputs: Any, targets: Any, sigmoid: bool = False) -> float:
        """0 for the best constant answer, 1 for perfect ones; accuracy or R2 on that scale. NaN where it has none.

        Formula: classes (accuracy - largest share) / (1 - largest share); numbers 1 - sum (y - o)^2 / sum (y - mean)^2,
        not below -1; labels as classes, mean over columns
        """
        truth, answers = self.truth(targets), self.answers(outputs, sigmoid).to(flat_targets(targets).device)
        return skill_of(self.kind, truth, answers)

    @property
    def is_judged(self) -> bool:
        return self.kind in ("classes", "labels", "numbers")


def skill_of(kind: str, truth: Tensor, answers: Tensor) -> float:
    """The skill of answers in the form of `Task.truth`; see `Task.skill`."""
    if kind == "other" or not len(truth):
        return float("nan")
    if kind == "classes":
        if len(answers) != len(truth):
            return 0.0  # one answer for several examples, or several for one: nothing can be told by them
        asked = truth >= 0  # a negative class number says that the place is to be left out
        truth, answers = truth[asked], answers[asked]
        if not len(truth):
            return float("nan")
    elif answers.numel() != truth.numel():
        return 0.0
    elif kind == "numbers" and not torch.isfinite(answers).all():
        return -1.0
    found = shares_of(kind, truth, answers).mean().item()
    return found if kind == "classes" else max(-1.0, found)


def shares_of(kind: str, truth: Tensor, answers: Tensor) -> Float[Tensor, "examples"]:
    """What each example adds to the skill: the mean is the skill. Truth and answers are of one size."""
    answers = answers.reshape(truth.shape)
    right = (answers == truth).double()
    if kind == "classes":
        common = truth.bincount().max().item() / len(truth)
        return right if common == 1 and bool(right.all()) else (right - common) / max(1e-12, 1 - common)
    if kind == "labels":
        ones = truth.double().mean(0)
        shares = torch.maximum(ones, 1 - ones)
        told = shares < 1
        if not told.any():
            return torch.ones(len(truth)).double()
        return ((right[:, told] - shares[told]) / (1 - shares[told])).mean(1)
    wrong = (truth.double() - answers.double()).square().sum(1)
    spread = (truth.double() - truth.double().mean(0)).square().sum(1).mean().item()
    return torch.ones_like(wrong) if spread == 0 and not wrong.any() else 1 - wrong / max(spread, 1e-300)


def paired_error(first: Float[Tensor, "examples"], second: Float[Tensor, "examples"], kind: str) -> float:
    """The standard error of the difference of two skills on the same examples, from what each adds to them.

    Formula: sqrt(s^2 / n + u^2), s the deviation of the differences, u what one more right answer is worth (0 for
    numbers): two that never differ on few examples are not known to be equal
    """
    both, count = torch.cat([first, second]), len(first)
    one_more = 0.0 if kind == "numbers" else (both.max() - both.min()).item() / count
    return math.hypot((first - second).std().item() / math.sqrt(count), one_more)


def first_tensor(found: Any) -> Tensor:
    """The tensor itself, or the first of a row or table of outputs (`logits` where it is named so)."""
    if isinstance(found, Sequences):
        return found.values
    if isinstance(found, Tensor):
        return found
    if isinstance(found, dict):
        return first_tensor(found["logits"] if "logits" in found else next(iter(found.values())))
    if hasattr(found, "logits"):
        return first_tensor(found.logits)
    return first_tensor(found[0])


def flat_targets(targets: Any) -> Tensor:
    """Targets as one tensor."""
    return first_tensor(targets)


def task_of(judge: str, outputs: Any, targets: Any) -> Task:
    """What is asked, from the loss's name (`""`: not known), outputs and targets."""
    y = flat_targets(targets)
    o = first_tensor(outputs)
    if judge == "ctc_loss" or y.numel() == 0 or y.is_complex() or o.is_complex():
        return Task("other", 0, "numbers")
    whole = not y.is_floating_point()
    values = y.unique() if y.numel() <= 1_000_000 else y.reshape(-1)[:100_000].unique()
    column = y.dim() == 1 or (y.dim() == 2 and y.shape[1] == 1)
    single = o.dim() == 1 or o[0].numel() == 1
    if (
        column
        and single
        and len(values) == 2
        and _two(values)
        and (judge not in ("cross_entropy", "nll_loss") or not whole)
    ):
        return Task("classes", 2, "binary", values[0].item(), values[1].item())
    if judge in ("cross_entropy", "nll_loss", "multi_margin_loss") or (whole and (column or o.dim() == y.dim() + 1)):
        if whole or (column and _whole(values) and len(values) <= FEW and o.dim() == 2 and o.shape[1] > 1):
            axis = 1 if o.dim() > 2 and o.shape[2:] == y.shape[1:] else -1  # torch's layout of positions
            count = o.shape[axis] if o.dim() > 1 else 1
            most = int(values.max()) + 1 if len(values) else 0
            if not judge and o.dim() > 1 and 1 < count < most:  # a loss by hand that reads something else: distances
                return Task("other", 0, "numbers")
            return Task("classes", max(most, count), "index", axis=axis)
        if y.dim() >= 2 and y.shape[-1] > 1 and bool((y.sum(-1) - 1).abs().max() < 1e-4):
            return Task("classes", y.shape[-1], "one-hot")
    if y.dim() >= 2 and y[0].numel() > 1 and len(values) <= 2 and _two(values):
        if y.dim() == 2 and bool((y.double().sum(1) == 1).all()):
            return Task("classes", y.shape[1], "one-hot")
        return Task("labels", y[0].numel(), "numbers")
    if whole and y.dim() > 1 and len(values) > 2:
        return Task("other", 0, "numbers")
    if column and o[0].numel() == 1 and judge in SQUARED and is_class_number(y, values):
        return Task("classes", len(values), "rounded", values.min().item(), values.max().item())
    return Task("numbers", 1 if column else y[0].numel(), "numbers")


SQUARED = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
EVEN = 0.3
"""The rarest class has at least this share of the examples of the commonest: counts and ratings thin out."""


def is_class_number(y: Tensor, values: Tensor) -> bool:
    """Whether numbers look like the numbers of classes: 0..K-1 or 1..K, each about as often."""
    if not 3 <= len(values) <= FEW or not _whole(values) or values.min().item() not in (0, 1):
        return False
    if values.max() - values.min() + 1 != len(values):
        return False
    counts = (y.reshape(-1) - values.min()).long().bincount().tolist()
    return min(counts) >= max(3.0, EVEN * max(counts))


def _two(values: Tensor) -> bool:
    return values.tolist() in ([0, 1], [-1, 1], [False, True], [0], [1])


def _whole(values: Tensor) -> bool:
    return bool((values.double() == values.double().round()).all())
