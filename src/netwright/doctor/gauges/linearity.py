"""Pairs of weighted operations with nothing but linear maps between: together they compute no more than one (C8)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.ops import HIDDEN, Op, Swap, tracing
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.randomness import seed_of

PLAIN = ("linear", "conv1d", "conv2d", "conv3d", "addmm")
EXACT = 1e-4
"""Relative: rounding leaves about 1e-6, a tanh at these inputs more than 0.1."""


@dataclass(frozen=True)
class LinearPair:
    """Two weighted operations in a row; `first` may be a factor on purpose."""

    first: Op
    second: Op
    residue: float
    """max |f(a + b) - f(a) - f(b) + f(0)| by max |f(a) - f(0)|."""
    narrow: bool
    """Whether the width between them is below both ends' (a factorisation), or either is a grouped convolution."""


def linear_pairs(subject: Subject, ops: list[Op], most: int = 12) -> list[LinearPair]:
    """Every weighted operation whose input is an affine function of the one before it."""
    candidates = list(_neighbours(ops))[:most]
    found: list[LinearPair] = []
    with subject.live() as live:
        live.model.eval()
        pair = _few(subject.batches[0])
        for first, second in candidates:
            residue = _residue(live, pair, ops, first, second)
            if residue is not None and residue < EXACT:
                found.append(LinearPair(first, second, residue, _narrow(first, second)))
    return found


def _neighbours(ops: list[Op]) -> list[tuple[Op, Op]]:
    """Plain weighted operations without an activation between them in the row of operations."""
    found: list[tuple[Op, Op]] = []
    before: Op | None = None
    for op in ops:
        if op.name in HIDDEN:
            before = None
        elif op.name in PLAIN:
            if before is not None and before.key != op.key:
                found.append((before, op))
            before = op
    return found


def _few(pair: Pair, most: int = 8) -> Pair:
    size = len(pair)
    if (
        size > most
        and pair.source is None
        and all(isinstance(p, Tensor) and p.dim() and len(p) == size for p in pair.inputs)
    ):
        return Pair(tuple(part[:most] for part in pair.inputs), pair.targets)
    return pair


def given(op: Op) -> Any:
    """What an operation reads."""
    return op.inputs[0] if op.inputs else op.settings.get("input")


def with_input(op: Op, func: Callable[..., Any], value: Tensor) -> Any:
    """The operation on another input."""
    return func(value, *op.inputs[1:], **op.settings) if op.inputs else func(**{**op.settings, "input": value})


def _residue(live: Live, pair: Pair, ops: list[Op], first: Op, second: Op) -> float | None:
    """How far the second's input is from an affine function of the first's; None where it does not depend on it,
    or on something else as well."""
    source = given(first)
    if not isinstance(source, Tensor) or not source.is_floating_point():
        return None
    twins = [op for op in ops if op.name in PLAIN and given(op) is source]  # queries, keys and values read one tensor
    draw = torch.Generator().manual_seed(seed_of(0, "linearity"))
    read: list[Tensor] = []

    def look(op: Op, func: Callable[..., Any]) -> Any:
        read.append(given(op).detach().double())
        return func(*op.inputs, **op.settings)

    def run(place: int) -> Tensor:
        def put(op: Op, func: Callable[..., Any]) -> Any:
            x = given(op)
            return with_input(op, func, points(x.shape)[place].to(x))

        swaps: dict[tuple[str, int], Swap] = {op.key: put for op in twins}
        swaps[second.key] = look
        read.clear()
        with untouched(live.model), tracing(live.model, swaps=swaps, keep=False), torch.no_grad():
            live.forward(pair)
        return read[0]

    held: dict[torch.Size, list[Tensor]] = {}

    def points(shape: torch.Size) -> list[Tensor]:
        if shape not in held:
            a, b = (3 * torch.randn(shape, generator=draw) for _ in range(2))
            held[shape] = [torch.zeros(shape), a, b, a + b]
        return held[shape]

    nothing, a, b, both = (run(place) for place in range(4))
    moved = (a - nothing).abs().max().item()
    other = (nothing - nothing[:1]).abs().max().item()  # what joins on another way, as a skip does
    if moved < 1e-9 or other > 1e-4 * moved:
        return None
    return (both - a - b + nothing).abs().max().item() / moved


def _narrow(first: Op, second: Op) -> bool:
    one, two = given(first), second.tensor
    axis = 1 if first.name.startswith("conv") else -1
    between = first.tensor.shape[axis]
    grouped = any(_groups(op) > 1 for op in (first, second))
    return grouped or between < min(one.shape[axis], two.shape[1 if second.name.startswith("conv") else -1])


def _groups(op: Op) -> int:
    found = op.settings.get("groups", op.inputs[6] if op.name.startswith("conv") and len(op.inputs) > 6 else 1)
    return int(found) if isinstance(found, int) else 1
