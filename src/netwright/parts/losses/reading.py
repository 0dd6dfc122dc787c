"""How losses read outputs and targets: shapes and labels checked, class indices one-hot, half precision widened."""

import threading
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from netwright.errors import UsageError
from netwright.language import say

Link = Literal["identity", "sigmoid", "softmax"]
Coded = Shaped[Tensor, "batch columns"] | Int[Tensor, "batch"]
"""Numbers of the outputs' own shape, or one class index an example."""
Classed = Shaped[Tensor, "batch classes"] | Int[Tensor, "batch"]
"""Shares of the classes (one-hot rows, for one), or one class index an example."""
Labels = Shaped[Tensor, "batch columns"] | Shaped[Tensor, "batch"]
"""Two labels, 0 and 1 or -1 and 1: one an example, or one for each column."""


def wide(outputs: Tensor) -> Tensor:
    """Half precision as float32; all else as it is."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def linked(outputs: Tensor, link: Link) -> Tensor:
    """Outputs behind their link."""
    if link == "softmax":
        return wide(outputs).softmax(1)
    return wide(outputs).sigmoid() if link == "sigmoid" else wide(outputs)


class Trusting:
    """A context in which numbers are not looked at: a training looks at its first batch, the others come from the same
    encoder. Looking takes as long as the loss itself where steps are small."""

    here = threading.local()
    """Of each thread: trainings side by side do not vouch for one another."""

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted

    def __enter__(self) -> None:
        Trusting.here.on = self.wanted

    def __exit__(self, *_: object) -> None:
        Trusting.here.on = False


def readable(tensor: Tensor) -> bool:
    """Whether its numbers are to be looked at: on the CPU, outside compiling and `vmap`, where nobody vouches."""
    if getattr(Trusting.here, "on", False):
        return False
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling() and not is_batchedtensor(tensor)


def whole(target: Tensor) -> bool:
    """Whether a target holds whole numbers (or true and false)."""
    return not (target.is_floating_point() or target.is_complex())


def class_index(name: str, outputs: Tensor, target: Tensor) -> Int[Tensor, "batch"]:
    """The target as int64 class indices; shapes, type and (on the CPU) the numbers are checked."""
    if outputs.ndim != 2 or target.shape != outputs.shape[:1]:
        raise misfit(name, outputs, target, "(batch, classes)", "(batch,)")
    if not whole(target):
        text = say("loss {name!r}: the target holds {kind}, but it names classes by whole numbers.",
                   name=name, kind=target.dtype)  # fmt: skip
        raise UsageError(text)
    index = target.long()
    check_index(name, index, outputs.shape[1])
    return index


def check_index(name: str, index: Tensor, classes: int) -> None:
    """Refuse class numbers that are none (CPU)."""
    if index.numel() and readable(index):
        low, high = (int(end) for end in index.aminmax())
        if low < 0 or high >= classes:
            text = say("loss {name!r}: the target holds class {found}; the outputs speak of classes 0 to {last}.",
                       name=name, found=low if low < 0 else high, last=classes - 1)  # fmt: skip
            raise UsageError(text)


def two_or_more(name: str, outputs: Tensor) -> None:
    """Refuse a softmax over a single output: it is 1 whatever the network says."""
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        text = say("loss {name!r}: the softmax of a single output is always 1.", name=name)
        raise UsageError(text + " " + say("Use {other!r} for one output and two classes.", other="bce_with_logits"))


def shares(outputs: Tensor, target: Tensor) -> Float[Tensor, "batch classes"] | None:
    """A target of the outputs' own shape as shares of the classes; None where it is class indices."""
    if outputs.ndim == 2 and target.shape == outputs.shape:
        return target.to(wide(outputs).dtype)
    return None


def margin(name: str, outputs: Tensor, target: Tensor) -> Float[Tensor, "batch columns"]:
    """t * z for labels t in {-1, 1} and scores z; labels 0 and 1 are mapped: above 0 is the positive class."""
    column = outputs.ndim == 2 and outputs.shape[1] == 1
    if outputs.ndim != 2 or target.shape not in (outputs.shape, outputs.shape[:1]):
        raise misfit(name, outputs, target, "(batch, 1)", "(batch,)")
    if target.ndim == 1 and not column:
        text = say(
            "loss {name!r} tells two classes apart by one output; {count} came.", name=name, count=outputs.shape[1]
        )
        raise UsageError(text + " " + say("Use {other!r} for more classes.", other="cross_entropy"))
    positive = two_labels(name, target if target.ndim == 2 else target[:, None])
    scores = wide(outputs)
    return torch.where(positive, scores, -scores)


def two_labels(name: str, target: Tensor) -> Tensor:
    """Whether each label is the positive one; anything but {0, 1} or {-1, 1} is refused (CPU)."""
    if target.dtype == torch.bool:
        return target
    if target.numel() and readable(target):
        low, high = target.aminmax()
        first, last = low.item(), high.item()
        fits = first in (-1, 0, 1) and last in (-1, 0, 1) and (first == last or last == 1)
        if not fits or not bool(((target == low) | (target == high)).all()):
            text = say("loss {name!r} takes the labels 0 and 1, or -1 and 1; the target holds {low} to {high}",
                       name=name, low=first, high=last)  # fmt: skip
            raise UsageError(text)
    return target > 0


def coded(name: str, outputs: Tensor, target: Tensor) -> Tensor:
    """Targets of the outputs' shape and dtype; class indices (batch,) become one column of 0 and 1, or one-hot rows."""
    dtype = wide(outputs).dtype
    if target.shape == outputs.shape and outputs.ndim >= 2:
        return target.to(dtype)
    if outputs.ndim == 2 and target.shape == outputs.shape[:1] and whole(target):
        column = target.long()[:, None]
        if outputs.shape[1] == 1:
            return column.to(dtype)
        check_index(name, column, outputs.shape[1])
        return torch.zeros_like(outputs, dtype=dtype).scatter(1, column, 1.0)
    raise misfit(name, outputs, target, "(batch, outputs)", "(batch, outputs)")


def chances(name: str, outputs: Tensor, target: Tensor) -> Tensor:
    """Targets as probabilities 0 to 1; whole labels of one column may be -1 and 1, too."""
    one = outputs.ndim == 2 and outputs.shape[1] == 1
    if one and whole(target) and target.shape in (outputs.shape[:1], outputs.shape):
        return two_labels(name, target.reshape(-1, 1)).to(wide(outputs).dtype)
    wanted = coded(name, outputs, target)
    check_between(name, wanted, say("the target"))
    return wanted


def check_between(name: str, values: Tensor, what: str) -> None:
    """Refuse probabilities below 0 or above 1 (CPU); NaN passes, so that training can report where it came from."""
    if values.numel() and readable(values):
        low, high = (end.item() for end in values.detach().aminmax())
        if low < 0 or high > 1:
            text = say("loss {name!r}: {what} holds {value:g}, but probabilities lie between 0 and 1.",
                       name=name, what=what, value=low if low < 0 else high)  # fmt: skip
            raise UsageError(text)


def misfit(name: str, outputs: Tensor, target: Tensor, wants: str, wants_target: str) -> UsageError:
    """The refusal of two shapes that do not go together."""
    came = say("loss {name!r}: outputs {outputs}, target {target}",
               name=name, outputs=tuple(outputs.shape), target=tuple(target.shape))  # fmt: skip
    return UsageError(came + "; " + say("it takes {wants} and {target}.", wants=wants, target=wants_target))
