"""Losses for numbers; class indices (whole numbers, shape (batch,)) are one-hot encoded first where a link is."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netwright.catalogue import LOSSES, Range
from netwright.parts.losses.reading import Coded, Link, coded, linked, wide


@LOSSES.add(target="number", link="identity", source="Legendre 1805; Gauss 1809")
def mse(outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity") -> Float[Tensor, "batch"]:
    """Mean squared error: the usual loss for numbers.

    Formula: mean over outputs of (link(y) - t)^2

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first; the link makes probabilities of logits.
    """
    return (linked(outputs, link) - coded("mse", outputs, target)).square().flatten(1).mean(1)


@LOSSES.add(target="number", link="identity", source="Rumelhart, Hinton, Williams 1986, Nature 323")
def half_squared_error(
    outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity"
) -> Float[Tensor, "batch"]:
    """Squared error with the half that makes its gradient the plain difference.

    Formula: 1/2 sum over outputs of (link(y) - t)^2; it is outputs/2 times `mse`

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first.
    """
    wanted = coded("half_squared_error", outputs, target)
    return 0.5 * (linked(outputs, link) - wanted).square().flatten(1).sum(1)


@LOSSES.add(target="number", link="identity", source="Legendre 1805; Gauss 1809")
def least_squares(
    outputs: Float[Tensor, "batch columns"], target: Coded, *, link: Link = "identity"
) -> Float[Tensor, "batch"]:
    """The sum of squared errors; on a linear network its minimiser solves the normal equations.

    Formula: sum over outputs of (link(y) - t)^2; it is outputs times `mse`

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first.
    """
    return (linked(outputs, link) - coded("least_squares", outputs, target)).square().flatten(1).sum(1)


@LOSSES.add(target="number", link="identity", source="Laplace 1774; Boscovich 1757")
def mae(
    outputs: Float[Tensor, "batch columns"],
    target: Coded,
    *,
    link: Link = "identity",
    over: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, "batch"]:
    """Mean absolute error: every unit of error costs the same, so outliers pull less.

    Formula: mean over outputs of abs(link(y) - t)

    Class indices (whole numbers, shape (batch,)) are one-hot encoded first. `over = "sum"` adds the outputs up instead:
    the absolute differences of one-hot targets and predictions, summed.
    """
    away = (linked(outputs, link) - coded("mae", outputs, target)).abs().flatten(1)
    return away.sum(1) if over == "sum" else away.mean(1)


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
    wanted = coded("smooth_l1", outputs, target)
    return F.smooth_l1_loss(wide(outputs), wanted, reduction="none", beta=beta).flatten(1).mean(1)


@LOSSES.add(target="number", link="identity", units="data", source="Keras, MeanSquaredLogarithmicError")
def msle(
    outputs: Float[Tensor, "batch columns"],
    target: Coded,
    *,
    eps: Annotated[float, Range(0, 1)] = 1e-7,
) -> Float[Tensor, "batch"]:
    """Mean squared error of logarithms: a factor of two costs alike for small and large numbers.

    Formula: mean over outputs of (log(1 + max(y, eps)) - log(1 + max(t, eps)))^2

    For numbers of at least 0. Below eps, outputs and targets count as eps, and the gradient there is 0; eps = 0 is
    scikit-learn's value, and some notes write 10e-6, which is 1e-5. It is computed in the data's own units.
    """
    wanted = coded("msle", outputs, target)
    apart = torch.log1p(wide(outputs).clamp(min=eps)) - torch.log1p(wanted.clamp(min=eps))
    return apart.square().flatten(1).mean(1)


@LOSSES.add(target="number", link="identity", units="data", source="Makridakis 1993, Int. J. Forecasting 9")
def mape(
    outputs: Float[Tensor, "batch columns"],
    target: Coded,
    *,
    eps: Annotated[float, Range(1e-12, 1e12)] = 1e-7,
) -> Float[Tensor, "batch"]:
    """Mean absolute error in percent of the target.

    Formula: 100 * mean over outputs of abs(y - t) / max(abs(t), eps)

    Percent: 90 for 100 costs 10. A target of 0 is divided by eps and so weighs more than all others: choose eps in the
    target's unit. It is computed in the data's own units.
    """
    wanted = coded("mape", outputs, target)
    return 100 * ((wide(outputs) - wanted).abs() / wanted.abs().clamp(min=eps)).flatten(1).mean(1)
