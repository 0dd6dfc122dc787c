"""Losses: one value per example, from a network's outputs (logits or numbers) and the targets.

Averaging, weights and masks are applied once, by the training objective. Facts: `target` is what the target holds
(`class index` or `number`), `link` turns outputs into probabilities or numbers at prediction time. Where a loss has a
setting `link`, the setting wins over the fact. Half precision is computed in float32.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from netwright.catalogue import LOSSES, Range
from netwright.errors import UsageError
from netwright.language import say

Link = Literal["identity", "sigmoid", "softmax"]
Coded = Shaped[Tensor, "batch columns"] | Int[Tensor, "batch"]
"""Numbers of the outputs' own shape, or one class index an example."""


@LOSSES.add(target="class index", link="softmax", source="Good 1952; Bridle 1990")
def cross_entropy(
    outputs: Float[Tensor, "batch classes"],
    target: Int[Tensor, "batch"],
    *,
    label_smoothing: Annotated[float, Range(0, 1)] = 0.0,
) -> Float[Tensor, "batch"]:
    """Surprise at the right class under the softmax of the logits: the usual loss for one class of many.

    Formula: -sum_c q_c log softmax(z)_c, with q_c = (1 - s) [c = target] + s / classes and label smoothing s

    The sum runs over the classes; a mean over them (as some notes write) would be 1/classes of it.
    """
    _check_classes("cross_entropy", outputs, target)
    return F.cross_entropy(_wide(outputs), target.long(), reduction="none", label_smoothing=label_smoothing)


@LOSSES.add(target="class index", link="sigmoid", source="Cox 1958, J. Royal Stat. Soc. B 20")
def bce_with_logits(outputs: Float[Tensor, "batch columns"], target: Coded) -> Float[Tensor, "batch"]:
    """Binary cross-entropy on logits: one column for two classes, or one column per class, each against the rest.

    Formula: sum over columns of max(z, 0) - z t + log(1 + exp(-abs(z))), t = 1 for the class of the column, else 0

    With one column the target 1 is the class that the column speaks for. Targets of the outputs' own shape are taken
    as probabilities 0 to 1 (several labels at once).
    """
    wanted = _coded("bce_with_logits", outputs, target)
    return F.binary_cross_entropy_with_logits(_wide(outputs), wanted, reduction="none").sum(1)


@LOSSES.add(target="class index", link="sigmoid", source="Cox 1958; Friedman, Hastie, Tibshirani 2000")
def logistic(outputs: Float[Tensor, "batch one"], target: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """The logistic loss of a margin: equal to `bce_with_logits` with one column, written with labels -1 and 1.

    Formula: log(1 + exp(-t z)), t = -1 for class 0 and 1 for class 1
    """
    return F.softplus(-_margin("logistic", outputs, target))


@LOSSES.add(target="class index", link="identity", source="Cortes and Vapnik 1995, Machine Learning 20")
def hinge(outputs: Float[Tensor, "batch one"], target: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Asks for a margin of 1 on the right side of the boundary (support vector machine).

    Formula: max(0, 1 - t z), t = -1 for class 0 and 1 for class 1
    """
    return (1 - _margin("hinge", outputs, target)).clamp(min=0)


@LOSSES.add(target="class index", link="identity", source="Rosenblatt 1958, Psychological Review 65")
def perceptron(outputs: Float[Tensor, "batch one"], target: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """How far an example lies on the wrong side of the boundary; its gradient is Rosenblatt's rule.

    Formula: max(0, -t z), t = -1 for class 0 and 1 for class 1; the gradient at z = 0 is -t (0 counts as wrong)
    """
    return (-_margin("perceptron", outputs, target)).clamp(min=0)


@LOSSES.add(target="number", link="identity", source="Legendre 1805; Gauss 1809")
def mse(outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity") -> Float[Tensor, "batch"]:
    """Mean squared error: the usual loss for numbers.

    Formula: mean over outputs of (link(y) - t)^2

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first; the link makes probabilities of logits.
    """
    return (_linked(outputs, link) - _coded("mse", outputs, target)).square().flatten(1).mean(1)


@LOSSES.add(target="number", link="identity", source="Rumelhart, Hinton, Williams 1986, Nature 323")
def half_squared_error(
    outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity"
) -> Float[Tensor, "batch"]:
    """Squared error with the half that makes its gradient the plain difference.

    Formula: 1/2 sum over outputs of (link(y) - t)^2; it is outputs/2 times `mse`

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first.
    """
    coded = _coded("half_squared_error", outputs, target)
    return 0.5 * (_linked(outputs, link) - coded).square().flatten(1).sum(1)


@LOSSES.add(target="number", link="identity", source="Laplace 1774; Boscovich 1757")
def mae(outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity") -> Float[Tensor, "batch"]:
    """Mean absolute error: every unit of error costs the same, so outliers pull less.

    Formula: mean over outputs of abs(link(y) - t)

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first.
    """
    return (_linked(outputs, link) - _coded("mae", outputs, target)).abs().flatten(1).mean(1)


@LOSSES.add(target="number", link="identity", source="Huber 1964; Girshick 2015, arXiv:1504.08083, eq. 3")
def smooth_l1(
    outputs: Float[Tensor, "batch columns"],
    target: Coded,
    *,
    beta: Annotated[float, Range(1e-6, 1e6)] = 1.0,
) -> Float[Tensor, "batch"]:
    """Squared near the target, absolute far from it.

    Formula: mean over outputs of e^2 / (2 beta) for e < beta, e - beta/2 otherwise, e = abs(y - t)

    Beta has the unit of the target. The Huber loss is beta times it.
    """
    coded = _coded("smooth_l1", outputs, target)
    return F.smooth_l1_loss(_wide(outputs), coded, reduction="none", beta=beta).flatten(1).mean(1)


def _wide(outputs: Tensor) -> Tensor:
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs


def _linked(outputs: Tensor, link: Link) -> Tensor:
    wide = _wide(outputs)
    if link == "softmax":
        return wide.softmax(1)
    return wide.sigmoid() if link == "sigmoid" else wide


def _whole(target: Tensor) -> bool:
    return not (target.is_floating_point() or target.is_complex())


def _check_classes(name: str, outputs: Tensor, target: Tensor) -> None:
    if outputs.ndim != 2 or target.shape != outputs.shape[:1]:
        raise _misfit(name, outputs, target, "(batch, classes)", "(batch,)")
    if not _whole(target):
        text = say(
            "loss {name!r}: the target holds {kind}, but it names classes by whole numbers.",
            name=name,
            kind=target.dtype,
        )
        raise UsageError(text)


def _margin(name: str, outputs: Tensor, target: Tensor) -> Tensor:
    """t * z with t in {-1, 1}, shape (batch,): one output column, two classes."""
    _check_classes(name, outputs, target)
    if outputs.shape[1] != 1:
        text = say(
            "loss {name!r} tells two classes apart by one output; {count} came.", name=name, count=outputs.shape[1]
        )
        raise UsageError(text + " " + say("Use {other!r} for more classes.", other="cross_entropy"))
    wide = _wide(outputs)[:, 0]
    return wide * (2 * target.to(wide.dtype) - 1)


def _coded(name: str, outputs: Tensor, target: Tensor) -> Tensor:
    """Targets of the outputs' shape and dtype; class indices (batch,) become one column of 0 and 1, or one-hot rows."""
    dtype = _wide(outputs).dtype
    if target.shape == outputs.shape and outputs.ndim >= 2:
        return target.to(dtype)
    if outputs.ndim == 2 and target.shape == outputs.shape[:1] and _whole(target):
        column = target.long()[:, None]
        if outputs.shape[1] == 1:
            return column.to(dtype)
        return torch.zeros_like(outputs, dtype=dtype).scatter(1, column, 1.0)
    raise _misfit(name, outputs, target, "(batch, outputs)", "(batch, outputs)")


def _misfit(name: str, outputs: Tensor, target: Tensor, wants: str, wants_target: str) -> UsageError:
    came = say(
        "loss {name!r}: outputs {outputs}, target {target}",
        name=name,
        outputs=tuple(outputs.shape),
        target=tuple(target.shape),
    )
    return UsageError(came + "; " + say("it takes {wants} and {target}.", wants=wants, target=wants_target))
