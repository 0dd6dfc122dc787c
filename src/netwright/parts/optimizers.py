"""Optimizers: rules that turn gradients into new weights. Each builds torch's own class with its fastest kernel, or one
of `update_rules` where torch has no such rule.

In the formulas g is the gradient of a weight w; `weight_decay` adds weight_decay * w to g (an L2 penalty of
weight_decay/2 times the sum of squares) unless a part says otherwise.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop
from torch.optim import Muon as MatrixMuon

from netwright.catalogue import OPTIMIZERS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.update_rules import MeanSquare, Muon, Velocity

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
Rate = Annotated[float, Range(0, 1000)]
Decay = Annotated[float, Range(0, 100)]
Share = Annotated[float, Range(0, 0.9999999)]
Tiny = Annotated[float, Range(0, 1)]
Form = Literal["torch", "caffe"]
"""Where the rate stands: outside the velocity, as in PyTorch, or inside, as in Caffe and TensorFlow."""


@OPTIMIZERS.add(source="Robbins and Monro 1951, Ann. Math. Stat. 22")
def sgd(params: Params, *, lr: Rate = 0.1, weight_decay: Decay = 0.0) -> Optimizer:
    """Steps against the gradient of each batch; nothing is remembered.

    Formula: w <- w - lr * g

    The rate is the factor on the gradient, no amount by which the loss falls. On a quadratic of curvature c it diverges
    exactly where lr > 2/c; below that, the whole set as one batch reaches the minimum of a convex surface.
    """
    return SGD(**_given(params, fused=True), lr=lr, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Polyak 1964; Sutskever et al. 2013, ICML")
def momentum(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Share = 0.9,
    dampening: Share = 0.0,
    weight_decay: Decay = 0.0,
    form: Form = "torch",
) -> Optimizer:
    """SGD with a velocity that gathers past gradients.

    Formula: torch: v <- momentum * v + (1 - dampening) g; w <- w - lr * v (the first v is g);
    caffe: v <- momentum * v + lr * g; w <- w - v

    Both forms take the same steps while the rate stays the same; when it changes, the caffe form keeps the old rate in
    the steps already gathered. The dampening belongs to torch's form.
    """
    if form == "caffe":
        if dampening:
            text = say("optimizer 'momentum': dampening = {dampening} belongs to form = 'torch'", dampening=dampening)
            raise UsageError(text + "; " + say("leave it at 0."))
        return Velocity(_listed(params), lr, momentum, weight_decay, nesterov=False)
    given = _given(params, fused=True)
    return SGD(**given, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)


@OPTIMIZERS.add(source="Nesterov 1983; Sutskever et al. 2013, ICML")
def nesterov(
    params: Params,
    *,
    lr: Rate = 0.01,
    momentum: Annotated[float, Range(1e-6, 0.9999999)] = 0.9,
    weight_decay: Decay = 0.0,
    form: Form = "torch",
) -> Optimizer:
    """Momentum that looks ahead along its velocity.

    Formula: torch: v <- momentum * v + g; w <- w - lr * (g + momentum * v);
    caffe: v <- momentum * v + lr * g; w <- w - (lr * g + momentum * v)

    The caffe form is that of Sutskever et al. with the weights taken at the point ahead.
    """
    if form == "caffe":
        return Velocity(_listed(params), lr, momentum, weight_decay, nesterov=True)
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

    m and s follow the gradient's first and second moments, its mean and mean square; no second derivative is taken.
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


@OPTIMIZERS.add(source="Tieleman and Hinton 2012, Coursera lecture 6.5; centered: Graves 2013, arXiv:1308.0850")
def rmsprop(
    params: Params,
    *,
    lr: Rate = 1e-3,
    decay: Share = 0.99,
    momentum: Share = 0.0,
    eps: Tiny = 1e-8,
    weight_decay: Decay = 0.0,
    centered: bool = False,
    eps_inside: bool = False,
    initial: Annotated[float, Range(0, 1e6)] = 0.0,
    form: Form = "torch",
) -> Optimizer:
    """Divides the gradient by its running size.

    Formula: s <- decay s + (1 - decay) g^2, s_0 = initial; w <- w - lr * g / (sqrt(s) + eps), or with `eps_inside`
    g / sqrt(s + eps); `centered` takes s - m^2 in place of s, m <- decay m + (1 - decay) g; `momentum` gathers these
    steps as in `momentum`, in that `form`

    TensorFlow's rule, as in Inception, NASNet and MobileNet: eps_inside = true, initial = 1, form = "caffe".
    """
    if eps_inside or initial or form == "caffe":
        return MeanSquare(
            _listed(params), lr, decay, momentum, eps, weight_decay,
            eps_inside=eps_inside, initial=initial, centered=centered, rate_inside=form == "caffe",
        )  # fmt: skip
    return RMSprop(
        **_given(params), lr=lr, alpha=decay, momentum=momentum, eps=eps, weight_decay=weight_decay, centered=centered
    )


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


@OPTIMIZERS.add(source="Jordan et al. 2024, Muon: an optimizer for hidden layers; match_rms: arXiv:2502.16982, eq. 4")
def muon(
    params: Params,
    *,
    lr: Rate = 0.02,
    momentum: Share = 0.95,
    nesterov: bool = True,
    iterations: Annotated[int, Range(1, 99)] = 5,
    adjust: Literal["original", "match_rms_adamw"] = "original",
    weight_decay: Decay = 0.0,
    output: Literal["adamw", "muon"] = "adamw",
    adamw_lr: Rate = 3e-4,
    beta1: Share = 0.9,
    beta2: Share = 0.95,
    eps: Tiny = 1e-10,
) -> Optimizer:
    """Moves the matrices of hidden layers by momentum made orthogonal; everything else moves by AdamW.

    Formula: m <- momentum * m + (1 - momentum) g; u = (1 - momentum) g + momentum * m; w <- w - lr * weight_decay * w;
    w <- w - lr * c * orthogonal(u), c = sqrt(max(1, rows/columns)) (match_rms_adamw: 0.2 sqrt(max(rows, columns)))

    `orthogonal` is `iterations` rounds of Newton and Schulz in bfloat16, so singular values end near 1, not at it.
    Weights of convolutions are matrices (out, in * window). Biases, norms and the output layer (the last weight, where
    there are several; `output = "muon"` takes it in) move by AdamW with `adamw_lr`.
    """
    rule = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "ns_steps": iterations, "adjust_lr_fn": adjust,
            "weight_decay": weight_decay, "matrix": True}  # fmt: skip
    rest = {"lr": adamw_lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay, "matrix": False}
    template = MatrixMuon([torch.zeros(1, 1)]).defaults, AdamW([torch.zeros(1, 1)]).defaults
    groups = _grouped(_listed(params))
    wide = [weight for group in groups for weight in group["params"] if _is_matrix(weight)]
    last = wide[-1] if len(wide) > 1 and output == "adamw" else None
    made = []
    for group in groups:
        own = {key: value for key, value in group.items() if key != "params"}
        inner = [weight for weight in group["params"] if _is_matrix(weight) and weight is not last]
        outer = [weight for weight in group["params"] if not _is_matrix(weight) or weight is last]
        if inner:
            made.append({**template[0], **rule, **own, "params": inner})
        if outer:
            kernel = {"fused" if _quick(outer) else "foreach": _quick(outer)}
            made.append({**template[1], **rest, **kernel, **own, "params": outer})
    return Muon(made)


@OPTIMIZERS.add(source="Jordan 2024, cifar10-airbench, airbench94_muon.py: its rule and its rates")
def normed_muon(
    params: Params,
    *,
    lr: Rate = 0.24,
    momentum: Share = 0.6,
    iterations: Annotated[int, Range(1, 99)] = 3,
    bias_lr: Rate = 0.1,
    output_lr: Rate = 0.1,
    rest_momentum: Annotated[float, Range(1e-6, 0.9999999)] = 0.85,
    rest_decay: Annotated[float, Range(0, 1)] = 0.0,
) -> Optimizer:
    """Muon on matrices of a fixed length, for short trainings; biases and the output layer move by Nesterov momentum.

    Formula: w <- sqrt(out) w / |w|; w <- w - lr * c * orthogonal(u), u, c and `orthogonal` as in `muon`; the rest:
    v <- rest_momentum * v + g + (rest_decay/r) w; w <- w - r (g + (rest_decay/r) w + rest_momentum * v), r = `bias_lr`
    or `output_lr`

    The fixed length makes `lr` the angle of a step, whatever the scale of the weights; it suits layers with a norm
    behind them, which undoes any scale. `bias_lr` belongs to biases and gains, `output_lr` to the last matrix, where
    there are several. `rest_decay` is the share that one step at the full rate takes off (before momentum).
    """
    rule = {"lr": lr, "momentum": momentum, "nesterov": True, "ns_steps": iterations, "weight_decay": 0.0}
    matrix, plain = MatrixMuon([torch.zeros(1, 1)]).defaults, SGD([torch.zeros(1, 1)]).defaults
    groups = _grouped(_listed(params))
    wide = [weight for group in groups for weight in group["params"] if _is_matrix(weight)]
    last = wide[-1] if len(wide) > 1 else None
    made = []
    for group in groups:
        own = {key: value for key, value in group.items() if key != "params"}
        inner = [weight for weight in group["params"] if _is_matrix(weight) and weight is not last]
        if inner:
            made.append({**matrix, **rule, "matrix": True, "normed": True, **own, "params": inner})
        vectors = [weight for weight in group["params"] if not _is_matrix(weight)]
        output = [last] if last is not None and any(weight is last for weight in group["params"]) else []
        for rate, weights in ((bias_lr, vectors), (output_lr, output)):
            kernel = {"fused" if _quick(weights) else "foreach": _quick(weights)}
            rest = {"lr": rate, "momentum": rest_momentum, "nesterov": True, "matrix": False}
            decay = {"weight_decay": rest_decay / rate if rate else 0.0}
            if weights:
                made.append({**plain, **rest, **decay, **kernel, **own, "params": weights})
    return Muon(made, SGD)


def _is_matrix(weight: Tensor) -> bool:
    """Whether a weight is a matrix, or more axes that make one; gains of shape (channels, 1, 1) are a vector."""
    return weight.ndim == 2 or (weight.ndim > 2 and weight[0].numel() > 1)


def _given(params: Params, *, fused: bool = False) -> dict[str, Any]:
    """The parameters as a list, and the fastest kernel that takes all of them: fused, else foreach."""
    listed = _listed(params)
    quick = _quick([weight for group in _grouped(listed) for weight in group["params"]])
    return {"params": listed, "fused" if fused and quick else "foreach": quick}


def _listed(params: Params) -> list[Any]:
    """The parameters, or groups of them, as a list; UsageError where there is none."""
    listed = [{**one, "params": _tensors(one["params"])} if isinstance(one, dict) else one for one in params]
    if not any(group["params"] for group in _grouped(listed)):
        raise UsageError(say("the network has no weights to train: every parameter is frozen, or there is none."))
    return listed


def _grouped(listed: list[Any]) -> list[dict[str, Any]]:
    """Groups as they are; parameters on their own as one group."""
    if listed and isinstance(listed[0], dict):
        return listed
    return [{"params": listed}]


def _quick(tensors: list[Tensor]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in tensors)


def _tensors(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)
