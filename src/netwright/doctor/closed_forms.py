"""Numbers that identify a fault by themselves: what a loss must be if the fault is there, derived and exact.

Each is a function of the task's own figures (classes, shares, targets). Losses are in nats, means over examples.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def uniform_cross_entropy(classes: int) -> float:
    """The cross-entropy of outputs that say nothing: every class equally likely.

    Formula: -log(1/K) = log K; 0.693, 2.303 and 4.605 for 2, 10 and 100 classes
    """
    return math.log(classes)


def fresh_cross_entropy(classes: int, spread: float) -> float:
    """The cross-entropy of a network before its first step, whose logits have the standard deviation `spread`.

    Formula: log K + (1 - 1/K) s^2 / 2

    With independent logits z of mean 0 and variance s^2, log sum exp z = log K + mean z + v/2 + O(s^3), where v is the
    variance of the K logits of one example about their own mean; its expectation is s^2 (1 - 1/K). The mean of z and
    the right class's logit have the expectation 0. Good to a few percent for s below 1.
    Differs: the form with s^2 / 2 is its limit for many classes.
    """
    return math.log(classes) + (1 - 1 / classes) * spread**2 / 2


def bounded_cross_entropy(classes: int, low: float, high: float) -> tuple[float, float]:
    """The least and the greatest cross-entropy where every logit is kept within low..high by an activation.

    Formula: log(1 + (K-1) exp(-(high-low))), log(1 + (K-1) exp(high-low))

    The loss -z_y + log sum exp z falls with z_y and rises with every other logit, so the best has high for the right
    class and low for all others, and the worst is the reverse.
    """
    apart = high - low
    return math.log1p((classes - 1) * math.exp(-apart)), math.log1p((classes - 1) * math.exp(apart))


def softmax_twice(classes: int) -> tuple[float, float]:
    """The least and the greatest cross-entropy where its logits are already a softmax's probabilities.

    Formula: log(1 + (K-1)/e), log(e + K - 1); 0.313..1.313 for 2 classes, 1.461..2.461 for 10

    Probabilities p lie in [0, 1] and sum to 1. The loss -p_y + log sum exp p is convex in p, so its maximum lies at a
    corner: a wrong class has 1 and gives log(e + K - 1). Its minimum has p_y = 1, where the other classes share 0.
    """
    return math.log1p((classes - 1) / math.e), math.log(math.e + classes - 1)


def sigmoid_twice_floor(positives: float) -> float:
    """The least binary cross-entropy with logits where the logits are already a sigmoid's values, for a share of ones.

    Formula: s log(1 + 1/e) + (1 - s) log 2; 0.313 for ones alone, 0.693 for zeros alone, 0.503 half and half

    For a one the best logit in [0, 1] is 1, for a zero it is 0. The probability used never falls below one half.
    """
    return bounded_binary_cross_entropy(positives, 0.0, 1.0)


def bounded_binary_cross_entropy(positives: float, low: float, high: float) -> float:
    """The least binary cross-entropy with logits kept within low..high, for a share of ones.

    Formula: s log(1 + exp(-high)) + (1 - s) log(1 + exp(low))

    log(1 + exp(-z)) falls with z and log(1 + exp(z)) rises, so ones want the upper end and zeros the lower one.
    """
    return positives * math.log1p(math.exp(-high)) + (1 - positives) * math.log1p(math.exp(low))


def softmax_of_one_unit(positives: float) -> dict[str, float]:
    """What a softmax over a single unit comes to: its output, its slope, the accuracy and the mean squared error.

    Formula: exp(z) / exp(z) = 1 for every z, so the slope is 0; every example is called positive: accuracy = s,
    mean (1 - t)^2 = 1 - s
    """
    return {"output": 1.0, "slope": 0.0, "accuracy": positives, "squared_error": 1 - positives}


def nll_of_probabilities() -> tuple[float, float]:
    """The least and the greatest value of NLLLoss where it gets probabilities instead of their logarithms.

    Formula: -p_y lies in [-1, 0]

    It tends to -1, never to infinity at a surely wrong example: the slope in p_y is -1 wherever p_y stands, so that
    through a saturated softmax almost nothing comes back.
    """
    return -1.0, 0.0


def broadcast_floor(targets: Float[Tensor, "batch ..."]) -> float:
    """The least mean squared error where outputs (N, 1) meet targets (N,): every output is compared with every target.

    Formula: mean over i, j of (o_i - y_j)^2 = Var(y) + mean over i of (o_i - mean y)^2 >= Var(y)

    The cross term vanishes, so the best outputs are all mean y: the floor is the loss of the best constant.
    """
    return constant_squared_error(targets)


def sum_over_mean(batch: int) -> float:
    """How many times as large gradients are where the loss is summed over the batch instead of averaged.

    Formula: d(sum l)/dw = B d(mean l)/dw; doubling the batch doubles it
    """
    return float(batch)


def uncleared_gradient(backwards: int) -> float:
    """How many times the gradient a step uses after so many backward passes at fixed weights without zero_grad.

    Formula: g_1 + ... + g_k = k g; twice is 2.0 exactly, for a number and its double are both floats
    """
    return float(backwards)


def constant_cross_entropy(shares: Sequence[float]) -> float:
    """The least cross-entropy of outputs that are alike for every example: the entropy of the classes' shares.

    Formula: H(p) = -sum p log p, reached by predicting p (Gibbs: -sum p log q >= H(p))
    """
    return -math.fsum(share * math.log(share) for share in shares if share > 0)


def constant_accuracy(shares: Sequence[float]) -> float:
    """The accuracy of the best answer that is alike for every example.

    Formula: max p
    """
    return max(shares)


def constant_squared_error(targets: Float[Tensor, "batch ..."]) -> float:
    """The least mean squared error of outputs that are alike for every example.

    Formula: Var(y) (divided by N), mean over columns, reached by the mean
    """
    return float(targets.double().reshape(len(targets), -1).var(0, correction=0).mean())


def constant_absolute_error(targets: Float[Tensor, "batch ..."]) -> float:
    """The least mean absolute error of outputs that are alike for every example.

    Formula: mean abs(y - median), mean over columns: the slope of sum abs(y - c) counts the examples on either side
    """
    columns = targets.double().reshape(len(targets), -1)
    return float((columns - columns.median(0).values).abs().mean())


def unreachable_squared_error(targets: Float[Tensor, "batch ..."], low: float, high: float) -> float:
    """The least mean squared error of outputs that an activation keeps within low..high.

    Formula: mean of max(low - y, y - high, 0)^2: each output stands at the end nearest to its target
    """
    wanted = targets.double()
    return float((wanted - wanted.clamp(low, high)).square().mean())


def squared_error_slope(logit: float) -> float:
    """The gradient of the squared error behind a sigmoid at the logit of an example of class 1.

    Formula: 2 (p - 1) p (1 - p), p = 1 / (1 + exp(-z)); at z = -10 it is -9.1e-5

    Cross-entropy has p - 1 there, near -1: the factor p (1 - p) is what saturation takes away.
    """
    p = 1 / (1 + math.exp(-logit))
    return 2 * (p - 1) * p * (1 - p)


def collapsed(
    layers: Sequence[tuple[Float[Tensor, "after before"], Float[Tensor, "after"]]],
) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"]]:
    """The one linear layer that a row of linear layers with nothing between them is.

    Formula: W = W_n ... W_1, b = W_n (... (W_2 b_1 + b_2) ...) + b_n

    Its rank is at most the narrowest layer's width. A network whose hidden part is this can learn no more than a
    linear model.
    """
    weight, bias = layers[0]
    for after, shift in layers[1:]:
        weight, bias = after @ weight, after @ bias + shift
    return weight, bias


def beyond_rank_one(gradient: Float[Tensor, "units inputs"]) -> float:
    """How much of a gradient is not of rank 1: 0 where all units of a layer are updated in one and the same direction.

    Formula: 1 - s_1^2 / sum s^2 over its singular values

    Units with equal incoming weights give equal activations h(x), and unit i has the gradient
    sum_n (v_i . d_n) h'(x_n) x_n with outgoing weights v_i and output errors d_n. Where the outgoing weights are equal
    too, all rows are equal; where there is one output, they differ by the factor v_i: rank 1 either way, and the units
    stay copies of one direction. With K outputs and outgoing weights that differ the rank is up to K: the copies part.
    """
    values = torch.linalg.svdvals(gradient.double()).square()
    total = float(values.sum())
    return 1 - float(values[0]) / total if total > 0 else 0.0
