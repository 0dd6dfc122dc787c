"""Gates, memory cells and states of every recurrent layer over time, worked out by the textbook's equations.

Every picture is of numbers that were checked: the h that the equations give is compared with the network's own, and
what does not agree to 1e-6 is not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.errors import RunError, UsageError
from netwright.explaining.drawing import Canvas
from netwright.explaining.heatmaps import Panel, heat_maps
from netwright.explaining.reading import Given
from netwright.language import say
from netwright.measures.time_gradients import direction_name
from netwright.measures.unrolled import Call, Direction, agreement, calls_of, known, unrolled

TOLERANCE = 1e-6
"""The recomputed h and the network's own differ by less, or nothing is drawn."""
UNITS, STEPS = 48, 400
"""Units and steps of a picture; the data hold all of them."""
NAMES = {
    "i": "input gate i", "f": "forget gate f (1 keeps the cell, 0 clears it)", "g": "candidate g", "o": "output gate o",
    "r": "reset gate r (0 leaves the old state out)", "z": "update gate z (1 keeps the state, 0 replaces it)",
    "n": "new state n", "c": "memory cell c", "h": "state h", "s": "hidden layer s", "v": "fresh value v",
}  # fmt: skip
SIGNED = ("g", "n", "c", "h", "s", "v")
"""Parts that lie on both sides of 0; the others are gates between 0 and 1."""


@dataclass(frozen=True)
class Watched:
    """A recurrent layer and direction on one example: `parts` by name, (steps, units) in the order of the inputs."""

    name: str
    kind: str
    """`lstm`, `gru`, `rnn`, `peephole_lstm`, ..."""
    backward: bool
    parts: dict[str, Tensor]
    labels: list[str]
    axis: str
    apart: float
    """How far the recomputed h lies from the network's own, at worst."""

    def means(self) -> dict[str, float]:
        """The mean of each part over all steps and units."""
        return {name: float(part.mean()) for name, part in self.parts.items()}


def gates(model: nn.Module, given: Given, run: Any, labels: Sequence[str] = (), axis: str = "") -> list[Watched]:
    """All gates, cells and states while `run()` runs the network once on one example.

    `labels` are those of the decoder's steps where the network has one: they differ from those of what is read. Errors:
    UsageError where nothing recurrent ran; RunError where the equations do not give what the network gave.
    """
    with torch.no_grad(), calls_of(model) as calls:
        run()
    found = []
    for call in calls:
        if not known(call.core):
            kind = type(call.core).__name__
            raise UsageError(say("the equations of {kind} are not known here; its gates cannot be shown", kind=kind))
        found += _watched(model, call, given, labels, axis)
    if not found:
        raise UsageError(say("this network has no recurrent layer, so there are no gates to show"))
    return found


def _watched(model: nn.Module, call: Call, given: Given, labels: Sequence[str], axis: str) -> list[Watched]:
    with torch.no_grad():
        directions = unrolled(call)
        apart = agreement(call, directions)
    if not apart <= TOLERANCE:
        text = say("{layer}: the recomputed state differs from the network's own by {apart}; nothing is drawn of it",
                   layer=call.name, apart=f"{apart:.2g}")  # fmt: skip
        raise RunError(text)
    named, of = _labels(model, call, given, labels, axis)
    return [_of(call, one, named, of, apart) for one in directions]


def _labels(model: nn.Module, call: Call, given: Given, labels: Sequence[str], axis: str) -> tuple[list[str], str]:
    """The labels of the steps that a layer read: those of the input, of the decoder, or their numbers."""
    count, read = call.inputs.shape[1], list(given.labels)
    if call.name == "decoder" and len(labels) == count:
        return list(labels), axis
    stride = getattr(model, "stride", 1)
    if isinstance(stride, int) and stride > 1:
        read = read[::stride]
    if getattr(model, "reverse", False) and call.name == "encoder":  # the source was read back to front
        read.reverse()
    return (read, given.axis) if len(read) == count else (numbered(count), say("steps"))


def numbered(count: int) -> list[str]:
    """Steps by their numbers, from 1."""
    return [str(place + 1) for place in range(count)]


def _of(call: Call, one: Direction, labels: list[str], axis: str, apart: float) -> Watched:
    kind = {"PeepholeLSTM": "peephole_lstm", "LayerNormLSTM": "layer_norm_lstm"}.get(
        type(call.core).__name__, type(call.core).__name__.lower()
    )
    parts = {name: part[0].cpu() for name, part in one.parts.items()}
    return Watched(direction_name(call, one.layer, one.backward), kind, one.backward, parts, labels, axis, apart)


def draw(watched: Watched, title: str) -> tuple[Canvas, list[str]]:
    """A panel a part over the same steps, and notes on what the picture leaves out."""
    notes = []
    state = watched.parts["h"]
    units = liveliest(state)
    if len(units) < state.shape[1]:
        notes.append(
            say("{layer}: the picture shows the {shown} units of {count} whose state changes most",
                layer=watched.name, shown=len(units), count=state.shape[1])
        )  # fmt: skip
    if len(state) > STEPS:
        notes.append(
            say("{layer}: the picture shows the first {shown} steps of {count}",
                layer=watched.name, shown=STEPS, count=f"{len(state):,}")
        )  # fmt: skip
    panels = []
    for name, part in watched.parts.items():
        chosen = units if part.shape[1] == state.shape[1] else liveliest(part)
        numbers = part[:STEPS, chosen].T.numpy()
        signed = name in SIGNED
        most = max(float(np.abs(numbers).max()), 1e-12) if signed and name not in ("g", "n") else 1.0
        panels.append(Panel(say(NAMES[name]), numbers, signed, most, numbered=[one + 1 for one in chosen]))
    way = say(", read from the end to the beginning") if watched.backward else ""
    told = say("{kind}, {layer}{way}: a row is a unit, a column a step", kind=watched.kind, layer=watched.name, way=way)
    return heat_maps(title, panels, watched.labels[:STEPS], watched.axis, told), notes


def liveliest(part: Tensor) -> list[int]:
    """The units that change most over time, in their own order; all where they fit into a picture."""
    if part.shape[1] <= UNITS:
        return list(range(part.shape[1]))
    spread = part.std(0, correction=0)
    return sorted(spread.topk(UNITS).indices.tolist())


def tensors(found: Sequence[Watched]) -> dict[str, Tensor]:
    """Every part by the name `layer/part`, float32 (steps, units)."""
    return {
        f"{one.name.replace(' ', '_')}/{name}": part.float().contiguous()
        for one in found
        for name, part in one.parts.items()
    }
