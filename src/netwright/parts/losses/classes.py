"""Losses for one class of several, and for chances of several labels."""

from math import log
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from netwright.catalogue import LOSSES, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.losses.reading import (
    Classed,
    Coded,
    chances,
    check_between,
    class_index,
    misfit,
    readable,
    shares,
    two_or_more,
    wide,
)

NEVER = torch.iinfo(torch.int64).min
"""A class that no target names: torch's own -100 would silently cost nothing."""


@LOSSES.add(target="class index", link="softmax", source="Good 1952; Bridle 1990")
def cross_entropy(
    outputs: Float[Tensor, "batch classes"],
    target: Classed,
    *,
    label_smoothing: Annotated[float, Range(0, 1)] = 0.0,
    over: Literal["sum", "mean"] = "sum",
    eps: Annotated[float, Range(0, 1)] = 0.0,
) -> Float[Tensor, "batch"]:
    """Surprise at the right class under the softmax of the logits: the usual loss for one class of many.

    Formula: -sum_c q_c log(p_c + eps), p = softmax(z), q_c = (1 - s) [c = target] + s / classes, label smoothing s

    `over = "mean"` takes the mean over the classes, 1/classes of the sum, as code that averages y * log(p) over
    everything does. `eps = 1e-5` adds it to every probability: p = 0 then costs 11.5 and p = 1 a little below 0. The
    default 0 is exact for every logit. Targets of the outputs' own shape are the shares q (one-hot or soft).
    """
    two_or_more("cross_entropy", outputs)
    soft = shares(outputs, target)
    given = class_index("cross_entropy", outputs, target) if soft is None else soft
    classes = outputs.shape[1]
    z = wide(outputs)
    if eps == 0:
        found = F.cross_entropy(z, given, reduction="none", label_smoothing=label_smoothing, ignore_index=NEVER)
    else:
        rows = torch.zeros_like(z).scatter(1, given[:, None], 1.0) if soft is None else given
        q = (1 - label_smoothing) * rows + label_smoothing / classes
        logs = z.log_softmax(1)  # p itself may be rounded to 0
        found = -(q * torch.logaddexp(logs, torch.full_like(logs, log(eps)))).sum(1)
    return found / classes if over == "mean" else found


@LOSSES.add(
    target="class index",
    link="softmax",
    reads="log-probabilities",
    source="Fisher 1922, Phil. Trans. Royal Soc. A 222; Bishop 2006, section 4.3.4",
)
def nll(outputs: Float[Tensor, "batch classes"], target: Classed) -> Float[Tensor, "batch"]:
    """Negative log-likelihood: `cross_entropy` for outputs that are log-probabilities already.

    Formula: -l_target, l = log p of each class; for shares q of the classes -sum_c q_c l_c

    Any number of classes. Training puts log_softmax between a network's plain outputs and this loss, so that it equals
    cross_entropy. Errors: UsageError for an output above 0 (CPU), which is no logarithm of a probability.
    """
    two_or_more("nll", outputs)
    if outputs.numel() and readable(outputs) and (top := outputs.detach().max().item()) > 1e-3:
        text = say("loss {name!r}: an output is {value:g}, but log-probabilities are 0 at most.", name="nll", value=top)
        raise UsageError(text + " " + say("Use {other!r} for plain outputs.", other="cross_entropy"))
    soft = shares(outputs, target)
    if soft is None:
        index = class_index("nll", outputs, target)
        return F.nll_loss(wide(outputs), index, reduction="none", ignore_index=NEVER)
    logs = wide(outputs)
    return -(soft * logs.where(soft != 0, 0.0)).sum(1)  # a share of 0 costs nothing, log 0 included


@LOSSES.add(target="class index", link="sigmoid", source="Cox 1958, J. Royal Stat. Soc. B 20")
def bce_with_logits(outputs: Float[Tensor, "batch columns"], target: Coded) -> Float[Tensor, "batch"]:
    """Binary cross-entropy on logits: one column for two classes, or one column per class, each against the rest.

    Formula: sum over columns of max(z, 0) - z t + log(1 + exp(-abs(z))), t = 1 for the class of the column, else 0

    With one column the target 1 is the class that the column speaks for; whole labels may be -1 and 1, too. Targets of
    the outputs' own shape are taken as probabilities 0 to 1 (several labels at once).
    """
    wanted = chances("bce_with_logits", outputs, target)
    return F.binary_cross_entropy_with_logits(wide(outputs), wanted, reduction="none").sum(1)


@LOSSES.add(target="class index", link="sigmoid", reads="probabilities", source="Cox 1958; Bishop 2006, eq. 4.90")
def bce(
    outputs: Float[Tensor, "batch columns"], target: Coded, *, eps: Annotated[float, Range(0, 0.25)] = 1e-7
) -> Float[Tensor, "batch"]:
    """Binary cross-entropy on probabilities; `bce_with_logits` is the same, exact for every logit.

    Formula: -sum over columns of t log(a) + (1 - t) log(1 - a), a = min(max(p, eps), 1 - eps)

    Targets as in `bce_with_logits`. Training puts the sigmoid between a network's plain outputs and this loss. Beyond
    eps the value is constant and the gradient 0, so an example that is wrong by a logit of 16 pulls no more; with
    eps = 0 the logarithms end at -100, as in torch. Errors: UsageError for an output outside 0..1 (CPU).
    """
    wanted = chances("bce", outputs, target)
    check_between("bce", outputs, say("the output"))
    clamped = wide(outputs).clamp(eps, 1 - eps)
    return F.binary_cross_entropy(clamped, wanted, reduction="none").sum(1)


@LOSSES.add(target="class index", link="softmax", source="Lin et al. 2017, arXiv:1708.02002, eq. 4 and 5")
def focal(
    outputs: Float[Tensor, "batch classes"],
    target: Coded,
    *,
    gamma: Annotated[float, Range(0, 100)] = 2.0,
    alpha: Annotated[float, Range(0, 1)] = 1.0,
    link: Literal["softmax", "sigmoid"] = "softmax",
) -> Float[Tensor, "batch"]:
    """Cross-entropy that fades out the examples already classified well.

    Formula: -alpha (1 - p)^gamma log p, p the probability of the right class under the softmax of the logits

    gamma = 0 is cross_entropy (times alpha). `link = "sigmoid"`, or a single column, is the paper's binary form, summed
    over columns that each stand against the rest: p = sigmoid(z) for t = 1 and 1 - sigmoid(z) for t = 0, with alpha for
    t = 1 and 1 - alpha for t = 0; there targets may have the outputs' own shape, too.

    Differs: alpha = 1 (the default) weighs nothing in either form; the paper's choice for detection is 0.25.
    """
    if link == "sigmoid" or (outputs.ndim == 2 and outputs.shape[1] == 1):
        t, z = chances("focal", outputs, target), wide(outputs)
        up, down = (1.0, 1.0) if alpha == 1 else (alpha, 1 - alpha)
        yes, no = F.logsigmoid(z), F.logsigmoid(-z)
        return (up * t * _faded(yes, no, gamma) + down * (1 - t) * _faded(no, yes, gamma)).sum(1)
    index, z = class_index("focal", outputs, target)[:, None], wide(outputs)
    rest = z.scatter(1, index, -torch.inf).logsumexp(1) - z.logsumexp(1)
    return alpha * _faded(z.log_softmax(1).gather(1, index)[:, 0], rest, gamma)


def _faded(log_p: Tensor, log_rest: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p from log p and log(1 - p): nothing is rounded to 0, and no power has an endless slope."""
    return (gamma * log_rest).exp() * -log_p


@LOSSES.add(
    target="class index",
    link="identity",
    source="Weston and Watkins 1999, ESANN; Crammer and Singer 2001, JMLR 2",
)
def multiclass_hinge(
    outputs: Float[Tensor, "batch classes"],
    target: Int[Tensor, "batch"],
    *,
    over: Literal["mean", "sum", "max"] = "mean",
    margin: Annotated[float, Range(1e-6, 1e6)] = 1.0,
    power: Literal[1, 2] = 1,
) -> Float[Tensor, "batch"]:
    """Asks that the right class scores higher than every other one, by a margin.

    Formula: mean over classes c other than t of max(0, margin - z_t + z_c)^power, divided by all classes

    `over = "sum"` is the form of Weston and Watkins, `"max"` that of Crammer and Singer (scikit-learn's hinge_loss),
    where only the worst rival counts; `"mean"`, torch's, is the sum divided by the number of classes. A single column z
    is two classes with the scores 0 and z.
    """
    scores = wide(outputs)
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        scores = F.pad(scores, (1, 0))
    if outputs.ndim != 2 or target.shape != outputs.shape[:1]:
        raise misfit("multiclass_hinge", outputs, target, "(batch, classes)", "(batch,)")
    index = class_index("multiclass_hinge", scores, target)
    if over == "max":
        right = scores.gather(1, index[:, None])[:, 0]
        rival = scores.scatter(1, index[:, None], -torch.inf).amax(1)
        return (margin - right + rival).clamp(min=0) ** power
    found = F.multi_margin_loss(scores, index, p=power, margin=margin, reduction="none")
    return found * scores.shape[1] if over == "sum" else found
