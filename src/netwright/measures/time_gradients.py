"""Gradients over time: how much of a change at one step is left many steps later.

In a simple recurrent layer the factor of every step is the same matrix times a slope, so that the product vanishes or
explodes; an LSTM's cell is passed on by a factor of its forget gate alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy.passes import in_mode
from netwright.measures.anatomy.tables import aligned
from netwright.measures.entering import as_steps, entered_by, run_on
from netwright.measures.unrolled import Call, calls_of, entering_layers, known, steps_of, unrolled

FARTHEST = 200
"""Steps back from the end that are looked at."""
PROBES = 64
"""Units of the last state whose gradients are taken, evenly spread; all of them where there are no more."""
Loss = Callable[[Any], Tensor]


@dataclass(frozen=True)
class TimeCurve:
    """One curve: at distance 0, 1, 2 ... the mean norm over the examples that are long enough."""

    name: str
    norms: list[float]
    examples: list[int]
    """How many examples each mean is over."""

    @property
    def factor(self) -> float:
        """The mean factor of one step back, of the norms above 0; NaN for fewer than two of them."""
        found = [(place, norm) for place, norm in enumerate(self.norms) if norm > 0 and math.isfinite(norm)]
        if len(found) < 2:
            return math.nan
        (first, high), (last, low) = found[0], found[-1]
        return math.exp((math.log(low) - math.log(high)) / (last - first))


@dataclass(frozen=True)
class GradientOverTime:
    """Curves of the states of each recurrent layer, and of what enters the network."""

    states: list[TimeCurve]
    inputs: TimeCurve | None
    examples: int
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        rows = [{**asdict(one), "factor": one.factor} for one in self.states]
        entering = None if self.inputs is None else {**asdict(self.inputs), "factor": self.inputs.factor}
        return {"states": rows, "inputs": entering, "examples": self.examples, "notes": self.notes}

    def __str__(self) -> str:
        """A table of the first and last distances."""
        head = [say("name"), say("distance"), say("gradient norm"), say("factor a step")]
        curves = [*self.states, *([self.inputs] if self.inputs is not None else [])]
        rows = [[one.name, str(len(one.norms) - 1), f"{one.norms[-1]:.4g}", f"{one.factor:.4g}"] for one in curves]
        return "\n".join(aligned([head, *rows], 1))


def gradient_over_time(
    model: nn.Module, batch: Sequence[Any], losses: Sequence[Loss] | None = None
) -> GradientOverTime:
    """How the gradient changes with the distance in time, for every recurrent layer and direction.

    Formula: at distance d = T - t the root mean square over the units k of h_T of |d h_Tk / d s_t|, s_t = h_t, of an
    LSTM (h_t, c_t); 1 at d = 0. The scalar linear layer h_t = w h_(t-1) + u x_t gives |w|^d. Entering: |d loss / d x_t|

    Args: `batch` holds one example each, a batch of one (`Sequences`, or a tensor (1, steps, features)); `losses` is
    one function an example that runs the model on the inputs it is given and returns one number. Of a backward
    direction the distance counts from its own end, the first step. The last 200 steps and 64 units at most. Works in
    the numbers of the model's weights; float64 keeps small gradients apart from 0. Errors: UsageError without a
    recurrent layer, or without examples.
    """
    if not any(known(core) for core in model.modules()):
        raise UsageError(say("the network has no recurrent layer, so nothing passes from step to step."))
    if not batch:
        raise UsageError(say("there are no examples to take gradients on."))
    sums: dict[str, list[Tensor]] = {}
    entering: list[Tensor] = []
    with in_mode(model, False), torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        for place, inputs in enumerate(batch):
            for name, norms in _states(model, inputs, losses[place] if losses is not None else None).items():
                sums.setdefault(name, []).append(norms)
            if losses is not None:
                entering.append(_entering(model, inputs, losses[place]))
    states = [_curve(name, found) for name, found in sums.items()]
    return GradientOverTime(states, _curve("inputs", entering) if entering else None, len(batch))


def _states(model: nn.Module, inputs: Any, loss: Loss | None) -> dict[str, Tensor]:
    """The norms of each direction of each layer on one example, by distance."""
    with torch.no_grad(), calls_of(model) as calls:
        model(inputs) if loss is None else loss(inputs)
    found: dict[str, Tensor] = {}
    for call in calls:
        if not known(call.core) or call.name in found:
            continue
        directions = _no_grad_unrolled(call)
        for place, (read, one) in enumerate(zip(entering_layers(call, directions), directions, strict=True)):
            found[direction_name(call, one.layer, one.backward)] = state_norms(
                call.core, place, read.flip(1) if one.backward else read, tuple(part[place] for part in call.start)
            )
    return found


def _no_grad_unrolled(call: Call) -> Any:
    with torch.no_grad():
        return unrolled(call)


def direction_name(call: Call, layer: int, backward: bool) -> str:
    """The name of one direction of one layer: `rnn`, `rnn layer 2`, `rnn layer 2 backward`."""
    words = [call.name or type(call.core).__name__.lower()]
    if call.core.num_layers > 1:
        words.append(f"layer {layer + 1}")
    if call.core.bidirectional:
        words.append("backward" if backward else "forward")
    return " ".join(words)


def state_norms(
    core: nn.RNNBase, place: int, inputs: Float[Tensor, "1 steps features"], start: tuple[Tensor, ...]
) -> Float[Tensor, "distances"]:
    """The root mean square of d h_T / d s_t over units of h_T, at distances 0, 1 ... from the last step."""
    far = max(0, inputs.shape[1] - FARTHEST - 1)
    state = start
    with torch.no_grad():
        for _, made in steps_of(core, place, inputs[:, :far], start):
            state = made
    count = state[0].shape[1]
    units = torch.linspace(0, count - 1, min(count, PROBES)).round().long()
    state = tuple(part.detach().expand(len(units), -1) for part in state)
    kept: list[tuple[Tensor, ...]] = []
    with torch.enable_grad():
        walk = steps_of(core, place, inputs[:, far:].detach().expand(len(units), -1, -1), state)
        sent: tuple[Tensor, ...] | None = None
        for _ in range(inputs.shape[1] - far):
            _, made = walk.send(sent)
            sent = tuple(part.clone().requires_grad_() for part in made)  # parts of a state count as independent
            kept.append(sent)
        last = kept[-1][0].gather(1, units[:, None].to(inputs.device)).sum()
        flat = [part for parts in kept for part in parts]
        found = torch.autograd.grad(last, flat, allow_unused=True)
    squares = [torch.zeros(()) if one is None else one.double().square().sum().cpu() / len(units) for one in found]
    wide = len(kept[0])
    rows = torch.stack([sum(squares[at : at + wide], torch.zeros(())) for at in range(0, len(squares), wide)])
    return rows.double().sqrt().flip(0)


def _entering(model: nn.Module, inputs: Any, loss: Loss) -> Float[Tensor, "distances"]:
    """|d loss / d x_t| by the distance from the last step."""
    with torch.no_grad():
        entered = entered_by(model, inputs, loss)
    with torch.enable_grad():
        leaf = entered.requires_grad_()
        (found,) = torch.autograd.grad(run_on(model, inputs, leaf, loss), leaf)
    return as_steps(found)[0].double().norm(dim=1).flip(0)[: FARTHEST + 1].cpu()


def _curve(name: str, found: list[Tensor]) -> TimeCurve:
    longest = max(len(one) for one in found)
    means, counts = [], []
    for distance in range(longest):
        there = [float(one[distance]) for one in found if len(one) > distance]
        means.append(sum(there) / len(there))
        counts.append(len(there))
    return TimeCurve(name, means, counts)
