"""How much of the gradient reaches the first steps of a sequence, and whether attention minds the order (C15, C16)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.ops import Op, Swap, tracing
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.doctor.task import first_tensor, flat_targets

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "linear", "addmm")
ATTENTIONS = ("multi_head_attention_forward", "scaled_dot_product_attention")


@dataclass(frozen=True)
class Memory:
    """One recurrent layer, or a cell that is called step by step."""

    path: str
    name: str
    steps: int
    first: float
    """The root of the mean squared gradient at the first step's input."""
    last: float

    @property
    def ratio(self) -> float:
        return self.first / self.last if self.last > 0 else math.nan


def memories(subject: Subject, ops: list[Op]) -> list[Memory]:
    """The gradients at the first and the last step of every recurrent layer, at step 0."""
    layers = [
        op
        for op in ops
        if op.name in LAYERS and op.inputs and isinstance(op.inputs[0], Tensor) and op.inputs[0].dim() == 3
    ]
    counts: dict[tuple[str, str], list[Op]] = {}
    for op in ops:
        if op.name in CELLS:
            counts.setdefault((op.path, op.name), []).append(op)
    loops = [calls for calls in counts.values() if len(calls) >= 10]
    if not layers and not loops:
        return []
    with subject.live() as live:
        return _measured(live, subject.batches[0], layers, loops)


def _measured(live: Live, pair: Pair, layers: list[Op], loops: list[list[Op]]) -> list[Memory]:
    leaves: dict[tuple[str, int], Tensor] = {}

    def listen(op: Op, func: Callable[..., Any]) -> Any:
        x = op.inputs[0]
        leaves[op.key] = torch.zeros_like(x, requires_grad=True)
        return func(x + leaves[op.key], *op.inputs[1:], **op.settings)

    ends = [op for calls in loops for op in (calls[0], calls[-1]) if op.inputs]
    with untouched(live.model):
        with tracing(live.model, swaps={op.key: listen for op in (*layers, *ends)}, keep=False):
            loss = live.loss_on(pair)
        if not loss.requires_grad or not leaves:
            return []
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    gradients = {key: g for key, g in zip(leaves, found, strict=True) if g is not None}
    made: list[Memory] = []
    for op in layers:
        if op.key in gradients:
            g = gradients[op.key]
            axis = 1 if op.inputs[-1] is True else 0
            made.append(Memory(op.where, op.name, g.shape[axis], _rms(g.select(axis, 0)), _rms(g.select(axis, -1))))
    for calls in loops:
        if calls[0].key in gradients and calls[-1].key in gradients:
            one, other = gradients[calls[0].key], gradients[calls[-1].key]
            made.append(Memory(calls[0].where, calls[0].name, len(calls), _rms(one), _rms(other)))
    return made


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


@dataclass(frozen=True)
class Order:
    """What attention makes of the order of its inputs, in evaluation mode at step 0."""

    attentions: list[Op]
    moves: float
    """How much answers move, relative, when steps are shuffled and shuffled back: 0 means that order is not seen."""
    leaks: float
    """How much earlier answers move, relative, when the last token changes; NaN where no next token is asked for."""
    entropy: float
    """Of attention by hand: its mean entropy as a share of the largest; NaN where scores are not seen."""
    scores: float
    """The deviation of those scores."""


def order_of(subject: Subject, ops: list[Op]) -> Order | None:
    """Shuffle steps, change the last token, look at scores; None without attention."""
    with subject.live() as live:
        pair = subject.batches[0]
        x = pair.inputs[0]
        if not isinstance(x, Tensor) or x.dim() < 2 or len(x) != len(pair):
            return None
        made = [op for op in ops if op.name in ATTENTIONS]
        if not made:  # seen where it is not among the operations that a branch can swap
            with untouched(live.model), tracing(live.model, kinds=frozenset(ATTENTIONS)) as trace:
                live.outputs(pair)
            made = trace.ops
        by_hand = [op for op in ops if op.name == "softmax" and _is_attention(op)]
        if not made and not by_hand:
            return None
        moves = _moves(live, pair, x, ops)
        entropy, scores = _entropy(by_hand)
        return Order([*made, *by_hand], moves, _leaks(live, pair, x), entropy, scores)


def _is_attention(op: Op) -> bool:
    x = op.tensor
    return x.dim() in (3, 4) and x.shape[-1] == x.shape[-2] and x.shape[-1] > 1


def _answers(live: Live, pair: Pair, x: Tensor) -> Tensor:
    with untouched(live.model):
        return first_tensor(live.outputs(Pair((x, *pair.inputs[1:]), pair.targets, pair.source))).detach().float()


def _apart(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return math.inf
    return (one - other).abs().max().item() / max(one.std().item(), 1e-12)


def tokens_of(ops: list[Op]) -> Op | None:
    """The operation that makes tokens: the first one that gives (batch, steps, width)."""
    return next((op for op in ops if op.name in ("embedding", "linear") and op.tensor.dim() == 3), None)


def _moves(live: Live, pair: Pair, x: Tensor, ops: list[Op]) -> float:
    """How far answers move when the tokens are shuffled (and their answers, one a token, shuffled back)."""
    made = tokens_of(ops)
    shape = made.tensor.shape if made is not None else x.shape
    axis = 1 if shape[0] == len(pair) else 0
    length = shape[axis]
    order = torch.randperm(length, generator=torch.Generator().manual_seed(1)).to(x.device)
    plain = _answers(live, pair, x)
    if made is None:
        shuffled = _answers(live, pair, x.index_select(axis, order))
    else:
        swaps: dict[tuple[str, int], Swap] = {
            made.key: lambda op, func: func(*op.inputs, **op.settings).index_select(axis, order)
        }
        with tracing(live.model, swaps=swaps, keep=False):
            shuffled = _answers(live, pair, x)
    moves = _apart(plain, shuffled)
    for side in range(1, plain.dim()):
        if plain.shape[side] == length:
            moves = min(moves, _apart(plain.index_select(side, order), shuffled))
    return moves


def _leaks(live: Live, pair: Pair, x: Tensor) -> float:
    """Whether answers before the last place read it, where each place is asked for the next token."""
    plain, y = _answers(live, pair, x), flat_targets(pair.targets)
    if x.is_floating_point() or y.shape != x.shape or x.dim() != 2 or x.shape[1] < 4:
        return math.nan
    if (y[:, :-1] == x[:, 1:]).float().mean().item() < 0.9 or plain.dim() != 3:
        return math.nan
    axis = 1 if plain.shape[1] == x.shape[1] else 2
    other = x.clone()
    other[:, -1] = torch.where(x[:, -1] == x.min(), x.max(), x.min())
    moved = _answers(live, pair, other)
    before = x.shape[1] - 1
    return _apart(plain.narrow(axis, 0, before), moved.narrow(axis, 0, before))


def _entropy(ops: list[Op]) -> tuple[float, float]:
    if not ops:
        return math.nan, math.nan
    shares, sizes = [], []
    for op in ops:
        p = op.tensor.detach().double().clamp(min=1e-12)
        shares.append((-(p * p.log()).sum(-1).mean() / math.log(p.shape[-1])).item())
        given = op.inputs[0] if op.inputs else op.settings["input"]
        kept = given[torch.isfinite(given)]
        sizes.append(kept.double().std().item() if kept.numel() > 1 else math.nan)
    return min(shares), max(sizes)
