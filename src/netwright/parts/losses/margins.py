"""Losses of a margin t * z: a score z and two labels, 0 and 1 or -1 and 1 (above 0 is the positive class).

With labels of the outputs' own shape, one for each column, the value is the mean over the columns.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netwright.catalogue import LOSSES
from netwright.parts.losses.reading import Labels, margin

TANGENT = 30.0
"""The exponential loss is a straight line beyond this margin on the wrong side: exp(30) = 1e13, whose square (Adam
keeps it) is still far inside float32."""


@LOSSES.add(target="class index", link="sigmoid", source="Cox 1958; Friedman, Hastie, Tibshirani 2000")
def logistic(outputs: Float[Tensor, "batch columns"], target: Labels) -> Float[Tensor, "batch"]:
    """The logistic loss of a margin: equal to `bce_with_logits` with one column, written with labels -1 and 1.

    Formula: log(1 + exp(-t z)), t = -1 for class 0 (or -1) and 1 for class 1
    """
    return F.softplus(-margin("logistic", outputs, target)).mean(1)


@LOSSES.add(target="class index", link="identity", source="Cortes and Vapnik 1995, Machine Learning 20")
def hinge(outputs: Float[Tensor, "batch columns"], target: Labels) -> Float[Tensor, "batch"]:
    """Asks for a margin of 1 on the right side of the boundary (support vector machine).

    Formula: max(0, 1 - t z), t = -1 for class 0 (or -1) and 1 for class 1

    The formula itself needs -1 and 1: a label 0 left as it is would cost 1 whatever the score.
    """
    return (1 - margin("hinge", outputs, target)).clamp(min=0).mean(1)


@LOSSES.add(target="class index", link="identity", source="Chang, Hsieh, Chang, Ringgaard, Lin 2010, JMLR 11, eq. 3")
def squared_hinge(outputs: Float[Tensor, "batch columns"], target: Labels) -> Float[Tensor, "batch"]:
    """The hinge loss squared: smooth at the margin, and harder on examples far on the wrong side.

    Formula: max(0, 1 - t z)^2, t = -1 for class 0 (or -1) and 1 for class 1
    """
    return (1 - margin("squared_hinge", outputs, target)).clamp(min=0).square().mean(1)


@LOSSES.add(target="class index", link="identity", source="Rosenblatt 1958, Psychological Review 65")
def perceptron(outputs: Float[Tensor, "batch columns"], target: Labels) -> Float[Tensor, "batch"]:
    """How far an example lies on the wrong side of the boundary; its gradient is Rosenblatt's rule.

    Formula: max(0, -t z), t = -1 for class 0 (or -1) and 1 for class 1; the gradient at z = 0 is -t (0 counts as wrong)
    """
    return (-margin("perceptron", outputs, target)).clamp(min=0).mean(1)


@LOSSES.add(target="class index", link="identity", source="Freund and Schapire 1997, J. Computer System Sciences 55")
def exponential(outputs: Float[Tensor, "batch columns"], target: Labels) -> Float[Tensor, "batch"]:
    """The loss that AdaBoost minimises: a mistake costs exponentially more the surer it is.

    Formula: exp(-t z), t = -1 for class 0 (or -1) and 1 for class 1

    One value per example; AdaBoost's sum over the examples is a matter of reduction (`.sum()`), and the values divided
    by their sum are its example weights.

    Differs: below a margin t z = -30 it goes on as its tangent, exp(30) (1 - 30 - t z), so that value and gradient stay
    finite in float32.
    """
    m = margin("exponential", outputs, target)
    return ((-m.clamp(min=-TANGENT)).exp() * (1 + F.relu(-TANGENT - m))).mean(1)
