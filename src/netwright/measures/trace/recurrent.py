"""The arithmetic of recurrent layers: gates, cell and state at every step, and the errors back through time.

Gates stand in torch's order: i, f, g, o of the LSTM; r, z, n of the GRU. The forget gate f = 1 keeps the cell, 0 clears
it. Both directions and all layers of torch's RNN, LSTM and GRU are worked out here without automatic differentiation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.trace.record import RULES, Call, Pulled, Rule, Told, View

FORMULAS = {
    "RNN_TANH": "h_t = tanh(W x_t + b + U h_(t-1) + b')",
    "RNN_RELU": "h_t = max(W x_t + b + U h_(t-1) + b', 0)",
    "LSTM": "i, f, o = sigmoid(W x_t + b + U h_(t-1) + b'), g = tanh(same form); c_t = f c_(t-1) + i g; "
    "h_t = o tanh(c_t)",
    "GRU": "r, z = sigmoid(W x_t + b + U h_(t-1) + b'); n = tanh(W x_t + b + r (U h_(t-1) + b')); "
    "h_t = (1 - z) n + z h_(t-1)",
}
BACKWARD = {
    "RNN_TANH": "a_t = e_t (1 - h_t^2)",
    "RNN_RELU": "a_t = e_t for h_t > 0, else 0",
    "LSTM": "dc_t = e_t o (1 - tanh(c_t)^2) + f_(t+1) dc_(t+1); a_i = dc g i(1-i), a_f = dc c_(t-1) f(1-f), "
    "a_g = dc i (1-g^2), a_o = e tanh(c) o(1-o)",
    "GRU": "a_n = e (1-z)(1-n^2), a_z = e (h_(t-1) - n) z(1-z), a_r = a_n (U h + b')_n r(1-r)",
}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda a: a,
    "tanh": torch.tanh,
    "relu": lambda a: a.clamp(min=0),
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Unrolled:
    """A recurrent network step by step: states S_t and outputs O_t, one row a step."""

    states: Float[Tensor, "steps hidden"]
    outputs: Float[Tensor, "steps units"]


def recurrent_steps(
    inputs: Float[Tensor, "steps features"],
    into: Float[Tensor, "hidden features"],
    back: Float[Tensor, "hidden hidden"],
    out: Float[Tensor, "units hidden"],
    *,
    activation: Literal["identity", "tanh", "relu", "sigmoid"] = "identity",
    link: Literal["identity", "tanh", "relu", "sigmoid"] = "identity",
) -> Unrolled:
    """A simple recurrent network without biases, from a zero state.

    Formula: S_t = f(U x_t + W S_(t-1)); O_t = g(V S_t), with U = `into`, W = `back`, V = `out`

    Errors: UsageError where the shapes do not fit.
    """
    hidden = len(into)
    if inputs.shape[1] != into.shape[1] or back.shape != (hidden, hidden) or out.shape[1] != hidden:
        shapes = {"u": tuple(into.shape), "w": tuple(back.shape), "v": tuple(out.shape), "x": tuple(inputs.shape)}
        raise UsageError(say("U {u}, W {w} and V {v} do not fit together, or not with the inputs {x}.", **shapes))
    state, states = inputs.new_zeros(hidden), []
    for x in inputs:
        state = ACTIVATIONS[activation](into @ x + back @ state)
        states.append(state)
    return Unrolled(torch.stack(states), ACTIVATIONS[link](torch.stack(states) @ out.T))


Step = dict[str, Tensor]
"""The numbers of one step of one direction: x, h, before and what its gates were, (batch, hidden) each."""


@dataclass
class Pass:
    """One direction of one layer: its weights, its steps in the order they are taken."""

    layer: int
    suffix: str
    steps: list[Step]
    times: list[int]

    def name(self, kind: str) -> str:
        return f"{kind}_l{self.layer}{self.suffix}"


def _weights(core: nn.RNNBase, one: Pass) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W, U, b, b'; zeros where the layer has no biases."""
    found = {name: value.detach() for name, value in core.named_parameters()}
    w, u = found[one.name("weight_ih")], found[one.name("weight_hh")]
    none = w.new_zeros(len(w))
    return w, u, found.get(one.name("bias_ih"), none), found.get(one.name("bias_hh"), none)


def _one_step(mode: str, x: Tensor, h: Tensor, c: Tensor, weights: tuple[Tensor, ...]) -> Step:
    w, u, b, back = weights
    into, past = x @ w.T + b, h @ u.T + back
    if mode == "LSTM":
        i, f, g, o = (into + past).chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cell = f * c + i * g
        return {"x": x, "before": h, "cell": c, "i": i, "f": f, "g": g, "o": o, "c": cell, "h": o * cell.tanh()}
    if mode == "GRU":
        (ir, iz, inner), (pr, pz, hidden) = into.chunk(3, 1), past.chunk(3, 1)
        r, z = (ir + pr).sigmoid(), (iz + pz).sigmoid()
        n = (inner + r * hidden).tanh()
        return {"x": x, "before": h, "past": hidden, "r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}
    total = into + past
    return {"x": x, "before": h, "h": total.tanh() if mode == "RNN_TANH" else total.clamp(min=0)}


def passes(core: nn.RNNBase, inputs: Float[Tensor, "batch steps features"]) -> list[Pass]:
    """Every layer and direction of a recurrent layer, step by step from a zero state."""
    found, values = [], inputs
    ways = ("", "_reverse") if core.bidirectional else ("",)
    for layer in range(core.num_layers):
        made = []
        for suffix in ways:
            one = Pass(layer, suffix, [], list(range(values.shape[1])))
            if suffix:
                one.times.reverse()
            weights = _weights(core, one)
            h = c = values.new_zeros(len(values), core.hidden_size)
            for t in one.times:
                step = _one_step(core.mode, values[:, t], h, c, weights)
                one.steps.append(step)
                h, c = step["h"], step.get("c", c)
            states = torch.stack([step["h"] for step in one.steps], 1)
            made.append(states.flip(1) if suffix else states)
            found.append(one)
        values = torch.cat(made, 2)
    return found


def _sequence(call: Call, values: Tensor) -> Tensor:
    """(batch, steps, ...) whichever order the layer takes."""
    core: Any = call.module
    if values.ndim == 2:
        return values[None]
    return values if core.batch_first else values.transpose(0, 1)


def rnn_forward(call: Call, view: View) -> Told:
    """Every step's gates, cell and state of the first example."""
    core: Any = call.module
    numbers: dict[str, Any] = {"input": call.given}
    numbers |= {name: weight.detach() for name, weight in core.named_parameters()}
    rows = []
    if _worked(core):
        for one in passes(core, _sequence(call, call.given)):
            for t, step in zip(one.times, one.steps, strict=True):
                told = {name: value[0] for name, value in step.items() if name not in ("before", "cell", "past")}
                place = {"layer": one.layer} if core.num_layers > 1 else {}
                way = {"direction": "backward" if one.suffix else "forward"} if core.bidirectional else {}
                rows.append({"t": t + 1, **place, **way, **told})
    numbers["steps"] = rows
    return Told(FORMULAS[core.mode], {**numbers, "output": call.returned})


def _worked(core: nn.RNNBase) -> bool:
    """Whether this file's formulas hold: no projection, no dropout between layers at work."""
    return not core.proj_size and not (core.dropout and core.training and core.num_layers > 1)


def _gate_errors(mode: str, step: Step, e: Tensor, dc: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Errors before the gates' functions as (from the input side, from the state side), what goes on to h and c."""
    none = torch.zeros_like(e)
    if mode == "LSTM":
        i, f, g, o, tanh = step["i"], step["f"], step["g"], step["o"], step["c"].tanh()
        dc = dc + e * o * (1 - tanh.square())
        before = [dc * g * i * (1 - i), dc * step["cell"] * f * (1 - f), dc * i * (1 - g.square())]
        joined = torch.cat([*before, e * tanh * o * (1 - o)], 1)
        return joined, joined, none, dc * f
    if mode == "GRU":
        r, z, n = step["r"], step["z"], step["n"]
        at_n = e * (1 - z) * (1 - n.square())
        at_z, at_r = e * (step["before"] - n) * z * (1 - z), at_n * step["past"] * r * (1 - r)
        return torch.cat([at_r, at_z, at_n], 1), torch.cat([at_r, at_z, at_n * r], 1), e * z, none
    h = step["h"]
    a = e * ((1 - h.square()) if mode == "RNN_TANH" else (h > 0).to(h.dtype))
    return a, a, none, none


@dataclass
class Errors:
    """What one direction's way back through time gives."""

    into: Tensor
    gradients: dict[str, Tensor]
    states: list[Tensor]
    """dL/dh_t of each step, in the order of the pass."""


def through_time(core: nn.RNNBase, one: Pass, error: Tensor) -> Errors:
    """Back-propagation through time of one direction: from the last step taken to the first, gradients added up.

    Formula: e_t = dL/dy_t + U^T a_(t+1) (+ z_(t+1) e_(t+1) in the GRU); dL/dW = sum_t a_t x_t^T;
    dL/dU = sum_t a_t h_(t-1)^T; dL/db = dL/db' = sum_t a_t
    """
    w, u, _, _ = _weights(core, one)
    gradients = {"weight_ih": torch.zeros_like(w), "weight_hh": torch.zeros_like(u)}
    gradients |= {"bias_ih": w.new_zeros(len(w)), "bias_hh": w.new_zeros(len(w))}
    into = error.new_zeros(*error.shape[:2], w.shape[1])
    carried = cell = torch.zeros_like(one.steps[0]["h"])
    states: list[Tensor] = []
    for t, step in zip(reversed(one.times), reversed(one.steps), strict=True):
        e = error[:, t] + carried
        states.insert(0, e)
        outer, inner, onward, cell = _gate_errors(core.mode, step, e, cell)
        gradients["weight_ih"] += outer.T @ step["x"]
        gradients["weight_hh"] += inner.T @ step["before"]
        gradients["bias_ih"] += outer.sum(0)
        gradients["bias_hh"] += inner.sum(0)
        into[:, t] = outer @ w
        carried = inner @ u + onward
    kept = {one.name(kind): value for kind, value in gradients.items() if core.bias or kind.startswith("weight")}
    return Errors(into, kept, states)


def rnn_backward(call: Call, error: Tensor) -> Pulled:
    """All layers from the last to the first, both directions, and the size of the error at every step."""
    core: Any = call.module
    if not _worked(core):
        return Pulled([], {}, Told(BACKWARD[core.mode]))
    made, e = passes(core, _sequence(call, call.given)), _sequence(call, error)
    gradients: dict[str, Tensor] = {}
    ways = 2 if core.bidirectional else 1
    rows: list[dict[str, Any]] = []
    for layer in reversed(range(core.num_layers)):
        both = made[layer * ways : (layer + 1) * ways]
        found = [through_time(core, one, piece) for one, piece in zip(both, e.chunk(ways, 2), strict=True)]
        for errors in found:
            gradients |= errors.gradients
        if layer == 0:
            for one, errors in zip(both, found, strict=True):
                way = {"direction": "backward" if one.suffix else "forward"} if ways > 1 else {}
                for t, state in zip(one.times, errors.states, strict=True):
                    rows.append({"t": t + 1, **way, "error": state[0], "norm": float(state[0].norm())})
        e = torch.stack([errors.into for errors in found]).sum(0)
    into = e[0] if error.ndim == 2 else e if core.batch_first else e.transpose(0, 1)
    formula = BACKWARD[core.mode] + "; e_(t-1) = dL/dy_(t-1) + U^T a_t" + " + z e_t" * (core.mode == "GRU")
    formula += "; dL/dW = sum_t a_t x_t; dL/dU = sum_t a_t h_(t-1); dL/db = sum_t a_t"
    return Pulled([(call.entered, into)], gradients, Told(formula, {"steps": rows}))


for recurrent in (nn.RNN, nn.LSTM, nn.GRU):
    RULES[recurrent] = Rule(rnn_forward, rnn_backward)
