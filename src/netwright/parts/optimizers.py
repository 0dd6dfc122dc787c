"""Optimizers: rules that turn gradients into new weights. Each builds torch's own class with its fastest kernel.

In the formulas g is the gradient of a weight w; `weight_decay` adds weight_decay * w to g (an L2 penalty of
weight_decay/2 times the sum of squares) unless a part says otherwise.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

from netwright.catalogue import OPTIMIZERS, Range
from netwright.errors import UsageError
from netwright.language import say

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
Rate = Annotated[float, Range(0, 1000)]
Decay = Annotated[float, Range(0, 100)]
Share = Annotated[float, Range(0, 0.9999999)]
Tiny = Annotated[float, Range(0, 1)]


@OPTIMIZERS.add(source="Robbins and Monro 1951, Ann. Math. Stat. 22")
def sgd(params: Params, *, lr: Rate = 0.1, weight_decay: Decay = 0.0) -> Optimizer:
    """Steps against the gradient of each batch; nothing is remembered.

    Formula: w <- w - lr * g
    """
    return SGD(**_given(params, fused=True), lr=lr, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Polyak 1964; Sutskever et al. 2013, ICML")
def momentum(params: Params, *, lr: Rate = 0.01, momentum: Share = 0.9, weight_decay: Decay = 0.0) -> Optimizer:
    """SGD with a velocity that gathers past gradients.

    Formula: v <- momentum * v + g; w <- w - lr * v (the rate stands outside the velocity, as in PyTorch)
    """
    return SGD(**_given(params, fused=True), lr=lr, momentum=momentum, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Nesterov 1983; Sutskever et al. 2013, ICML")
def nesterov(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Annotated[float, Range(1e-6, 0.9999999)] = 0.9,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Momentum that looks ahead along its velocity.

    Formula: v <- momentum * v + g; w <- w - lr * (g + momentum * v)
    """
    return SGD(**_given(params, fused=True), lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Kingma and Ba 2015, arXiv:1412.6980, algorithm 1")
def adam(
    params: Params,
    *,
    lr: Rate = 1e-3,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    eps: Tiny = 1e-8,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Momentum divided by the running size of the gradient, each weight for itself.

    Formula: m <- beta1 m + (1 - beta1) g; s <- beta2 s + (1 - beta2) g^2;
    w <- w - lr * (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)
    """
    return Adam(**_given(params, fused=True), lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2")
def adamw(
    params: Params,
    *,
    lr: Rate = 1e-3,
    beta1: Share = 0.9,
    beta2: Share = 0.999,
    eps: Tiny = 1e-8,
    weight_decay: Decay = 0.01,
) -> Optimizer:
    """Adam whose weight decay acts on the weights directly, not through the gradient.

    Formula: w <- w - lr * weight_decay * w, then the step of `adam` without decay
    """
    return AdamW(**_given(params, fused=True), lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Tieleman and Hinton 2012, Coursera lecture 6.5")
def rmsprop(
    params: Params,
    *,
    lr: Rate = 1e-3,
    decay: Share = 0.99,
    momentum: Share = 0.0,
    eps: Tiny = 1e-8,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Divides the gradient by its running size.

    Formula: s <- decay s + (1 - decay) g^2; w <- w - lr * g / (sqrt(s) + eps)

    Differs: TensorFlow adds eps inside the root and starts s at 1; this one adds it outside and starts at 0.
    """
    return RMSprop(**_given(params), lr=lr, alpha=decay, momentum=momentum, eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Duchi, Hazan, Singer 2011, JMLR 12")
def adagrad(params: Params, *, lr: Rate = 0.01, eps: Tiny = 1e-10, weight_decay: Decay = 0.0) -> Optimizer:
    """Gives rarely moved weights larger steps; steps only shrink.

    Formula: s <- s + g^2; w <- w - lr * g / (sqrt(s) + eps)
    """
    return Adagrad(**_given(params, fused=True), lr=lr, eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Zeiler 2012, arXiv:1212.5701, algorithm 1")
def adadelta(
    params: Params,
    *,
    lr: Rate = 1.0,
    decay: Share = 0.9,
    eps: Annotated[float, Range(1e-30, 1)] = 1e-6,
    weight_decay: Decay = 0.0,
) -> Optimizer:
    """Measures its steps by the size of earlier steps, so the rate needs no unit.

    Formula: s <- decay s + (1 - decay) g^2; d = sqrt(u + eps) / sqrt(s + eps) * g;
    u <- decay u + (1 - decay) d^2; w <- w - lr * d
    """
    return Adadelta(**_given(params), lr=lr, rho=decay, eps=eps, weight_decay=weight_decay)


def _given(params: Params, *, fused: bool = False) -> dict[str, Any]:
    """The parameters as a list, and the fastest kernel that takes all of them: fused, else foreach."""
    listed = [{**one, "params": _tensors(one["params"])} if isinstance(one, dict) else one for one in params]
    tensors = [p for one in listed for p in (one["params"] if isinstance(one, dict) else [one])]
    if not tensors:
        raise UsageError(say("the network has no weights to train: every parameter is frozen, or there is none."))
    quick = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in tensors)
    return {"params": listed, "fused" if fused and quick else "foreach": quick}


def _tensors(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)
