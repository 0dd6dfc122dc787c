"""Recurrent layers unrolled: every gate, cell and state at every step, by the textbook equations.

Torch's kernels keep their gates to themselves. Here each direction of each layer is worked out again from the layer's
own weights, one step after another; `agreement` says how far the result is from what the layer gave out.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from netwright.parts.cells.simple import BENDS

State = tuple[Tensor, ...]
Weights = dict[str, Tensor]
Step = Callable[[nn.RNNBase, Tensor, State, Weights], tuple[dict[str, Tensor], State]]


def _affine(x: Tensor, h: Tensor, w: Weights) -> Tensor:
    bias = w["bias_ih"] + w["bias_hh"] if "bias_hh" in w else w.get("bias_ih")
    return F.linear(x, w["weight_ih"], bias) + F.linear(h, w["weight_hh"])


def _shown(h: Tensor, w: Weights) -> Tensor:
    """What leaves an LSTM whose output is projected."""
    return F.linear(h, w["weight_hr"]) if "weight_hr" in w else h


def _lstm(core: nn.RNNBase, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    h, c = state
    i, f, g, o = _affine(x, h, w).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c}, (_shown(o * c.tanh(), w), c)


def _peephole(core: nn.RNNBase, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    h, c = state
    i, f, g, o = _affine(x, h, w).chunk(4, 1)
    at_i, at_f, at_o = w["peephole"]
    i, f, g = (i + at_i * c).sigmoid(), (f + at_f * c).sigmoid(), g.tanh()
    c = f * c + i * g
    o = (o + at_o * c).sigmoid()
    return {"i": i, "f": f, "g": g, "o": o, "c": c}, (o * c.tanh(), c)


def _normed(numbers: Tensor, gain: Tensor, shift: Tensor | None = None) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5), times the gain, plus the shift."""
    spread = numbers.var(1, keepdim=True, correction=0)
    found = (numbers - numbers.mean(1, keepdim=True)) / (spread + 1e-5).sqrt() * gain
    return found if shift is None else found + shift


def _layer_norm(core: nn.RNNBase, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    h, c = state
    into = _normed(F.linear(x, w["weight_ih"]), w["gain_ih"], w["bias_ih"])
    i, f, g, o = (into + _normed(F.linear(h, w["weight_hh"]), w["gain_hh"])).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c}, (o * _normed(c, w["gain_c"], w["shift_c"]).tanh(), c)


def _gru(core: nn.RNNBase, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    (h,) = state
    a_r, a_z, a_n = F.linear(x, w["weight_ih"], w.get("bias_ih")).chunk(3, 1)
    b_r, b_z, b_n = F.linear(h, w["weight_hh"], w.get("bias_hh")).chunk(3, 1)
    r, z = (a_r + b_r).sigmoid(), (a_z + b_z).sigmoid()
    n = (a_n + r * b_n).tanh()
    return {"r": r, "z": z, "n": n}, ((1 - z) * n + z * h,)


def _simple(core: nn.RNNBase, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    a = _affine(x, state[0], w)
    return {}, (a.tanh() if core.mode == "RNN_TANH" else a.relu(),)


def _jordan(core: Any, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    s = BENDS[core.nonlinearity](_affine(x, state[0], w))
    return {"s": s}, (F.linear(s, w["weight_ho"], w["bias_ho"]),)


def _leaky(core: Any, x: Tensor, state: State, w: Weights) -> tuple[dict[str, Tensor], State]:
    (m,) = state
    a = F.linear(x, w["weight_ih"], w["bias_ih"])
    v = BENDS[core.nonlinearity](a + F.linear(m, w["weight_hh"]) if "weight_hh" in w else a)
    return {"v": v}, (core.alpha * m + (1 - core.alpha) * v,)


STEPS: dict[str, Step] = {
    "RNN": _simple, "LSTM": _lstm, "GRU": _gru, "PeepholeLSTM": _peephole, "LayerNormLSTM": _layer_norm,
    "Jordan": _jordan, "Leaky": _leaky,
}  # fmt: skip
"""One step of each recurrent layer, by the name of its class: parts that show what happened, and the next state."""


@dataclass(frozen=True)
class Call:
    """One call of a recurrent layer: what came in, the first state, what it gave out (batch first)."""

    name: str
    core: nn.RNNBase
    inputs: Float[Tensor, "batch steps features"]
    start: State
    """(layers x directions, batch, units) of each part of the state."""
    outputs: Float[Tensor, "batch steps features"]
    end: State


@dataclass(frozen=True)
class Direction:
    """One direction of one layer, step by step in the order of the inputs: gates, cell `c`, state `h`."""

    layer: int
    backward: bool
    parts: dict[str, Float[Tensor, "batch steps units"]]


def known(core: nn.Module) -> bool:
    """Whether this recurrent layer's equations are known here."""
    return isinstance(core, nn.RNNBase) and type(core).__name__ in STEPS


@contextmanager
def calls_of(model: nn.Module) -> Iterator[list[Call]]:
    """The calls of all recurrent layers that run within the block, in the order in which they end."""
    found: list[Call] = []

    def hook(name: str) -> Callable[..., None]:
        def keep(core: Any, given: tuple[Any, ...], named: dict[str, Any], came: Any) -> None:
            found.append(_call(name, core, given, named, came))

        return keep

    hooks = [
        core.register_forward_hook(hook(name), with_kwargs=True)
        for name, core in model.named_modules()
        if isinstance(core, nn.RNNBase)
    ]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()


def _call(name: str, core: nn.RNNBase, given: tuple[Any, ...], named: dict[str, Any], came: Any) -> Call:
    inputs = given[0] if given else named["input"]
    start = given[1] if len(given) > 1 else named.get("hx")
    outputs, end = came
    inputs, outputs = (_batched(one, core.batch_first) for one in (inputs, outputs))
    ends = end if isinstance(end, tuple) else (end,)
    ends = tuple(part[:, None] if part.dim() == 2 else part for part in ends)
    if start is None:
        start = tuple(torch.zeros_like(part) for part in ends)
    starts = start if isinstance(start, tuple) else (start,)
    starts = tuple(part[:, None] if part.dim() == 2 else part for part in starts)
    return Call(name, core, inputs, starts, outputs, ends)


def _batched(steps: Any, batch_first: bool) -> Tensor:
    """(batch, steps, features), whatever the layer took."""
    if isinstance(steps, PackedSequence):
        return pad_packed_sequence(steps, batch_first=True)[0]
    if steps.dim() == 2:
        return steps[None]
    return steps if batch_first else steps.transpose(0, 1)


def weights_at(core: nn.RNNBase, place: int) -> Weights:
    """The weights of one direction of one layer, by torch's names without layer and direction."""
    return {name.partition("_l")[0]: getattr(core, name) for name in core._all_weights[place]}


def steps_of(
    core: nn.RNNBase, place: int, inputs: Float[Tensor, "batch steps features"], start: State
) -> Generator[tuple[dict[str, Tensor], State], State | None, None]:
    """One direction of one layer step by step, over inputs in the order in which it reads them. What is sent back in
    becomes the state of the next step."""
    step, weights, state = STEPS[type(core).__name__], weights_at(core, place), start
    for x in inputs.unbind(1):
        parts, state = step(core, x, state, weights)
        changed = yield parts, state
        state = state if changed is None else changed


def unrolled(call: Call) -> list[Direction]:
    """Every layer and direction of a call, layer by layer; dropout between layers is off, as in evaluation."""
    core, inputs, found = call.core, call.inputs, []
    ways = 1 + core.bidirectional
    for layer in range(core.num_layers):
        for way in range(ways):
            place = layer * ways + way
            made = list(steps_of(core, place, inputs.flip(1) if way else inputs, tuple(s[place] for s in call.start)))
            names = [*made[0][0], "h"]
            rows = [[*parts.values(), state[0]] for parts, state in made]
            parts = {
                name: torch.stack(list(column), 1) for name, column in zip(names, zip(*rows, strict=True), strict=True)
            }
            found.append(Direction(layer, bool(way), {name: p.flip(1) if way else p for name, p in parts.items()}))
        inputs = torch.cat([one.parts["h"] for one in found[-ways:]], 2)
    return found


def entering_layers(call: Call, directions: list[Direction]) -> list[Float[Tensor, "batch steps features"]]:
    """What each direction reads, in the order of the inputs."""
    ways, inputs, found = 1 + call.core.bidirectional, call.inputs, []
    for layer in range(call.core.num_layers):
        found += [inputs] * ways
        inputs = torch.cat([one.parts["h"] for one in directions[layer * ways : (layer + 1) * ways]], 2)
    return found


def agreement(call: Call, directions: list[Direction]) -> float:
    """How far the textbook's h is from the layer's own, at worst: all steps of the last layer, the last of each.

    Formula: max |h - h'| / max(1, max |h|)
    """
    ways = 1 + call.core.bidirectional
    last = torch.cat([one.parts["h"] for one in directions[-ways:]], 2)
    pairs = [(last, call.outputs)]
    for place, one in enumerate(directions):
        at = 0 if one.backward else -1
        pairs.append((one.parts["h"][:, at], call.end[0][place]))
        if "c" in one.parts and len(call.end) > 1:
            pairs.append((one.parts["c"][:, at], call.end[1][place]))
    worst = 0.0
    for ours, theirs in pairs:
        apart = float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))
        worst = max(worst, apart) if apart == apart else float("inf")
    return worst
