"""Attention maps: which steps a network looked at, for every token that it wrote, or for its whole answer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.explaining.drawing import Canvas
from netwright.explaining.heatmaps import Panel, heat_maps
from netwright.explaining.reading import Given
from netwright.language import say
from netwright.parts.attention import Attention
from netwright.parts.cells import AttentionOverSteps

STEPS, ROWS = 200, 80
"""Steps and rows of a picture; the data hold all of them."""
KEPT = 400
"""Steps of a map of steps by steps that are kept."""


@dataclass(frozen=True)
class AttentionMap:
    """Weights (rows, steps) with labels for both axes; each row sums to 1."""

    name: str
    weights: Float[Tensor, "rows steps"]
    rows: list[str]
    labels: list[str]
    axis: str
    own: bool = False
    """Whether the steps look at one another."""
    whole: int = 0
    """How many steps there were, where only the first are kept; 0: all are."""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "rows": self.rows, "columns": self.labels, "weights": self.weights.tolist()}


def attention_maps(model: nn.Module, given: Given, run: Callable[[], Any], said: Sequence[str]) -> list[AttentionMap]:
    """The attention of each part that has one, while `run()` runs the network once; `said` are the tokens it wrote.

    Of a Transformer each head of each layer is a map of its own, steps by steps.
    """
    found: list[tuple[str, str, Tensor]] = []
    with torch.no_grad(), _watching(model, found):
        run()
    maps = []
    for name, kind, weights in found:
        of = list(given.labels) if weights.shape[-1] == given.steps else _numbered(weights.shape[-1])
        if kind == "readout":
            maps.append(AttentionMap(name, weights, [say("weight")], of, given.axis))
        elif kind == "heads":
            for head, one in enumerate(weights):
                kept = of[:KEPT]
                whole = len(of) if len(of) > KEPT else 0
                maps.append(
                    AttentionMap(f"{name} head {head + 1}", one[:KEPT, :KEPT], kept, kept, given.axis, True, whole)
                )
        else:
            rows = list(said) if len(said) == len(weights) else _numbered(len(weights))
            maps.append(AttentionMap(name, weights, rows, of, given.axis))
    return maps


def _numbered(count: int) -> list[str]:
    return [str(place + 1) for place in range(count)]


@contextmanager
def _watching(model: nn.Module, found: list[tuple[str, str, Tensor]]) -> Iterator[None]:
    """Collects (name, kind, weights of the first example) of every attention that runs within the block."""
    undo: list[Callable[[], None]] = []
    for name, module in model.named_modules():
        if isinstance(module, AttentionOverSteps):
            undo.append(module.register_forward_pre_hook(_readout(name, found)).remove)
        elif isinstance(module, Attention):
            undo.append(_scores(name, module, found))
        elif isinstance(module, nn.MultiheadAttention):
            undo.append(module.register_forward_pre_hook(_heads(name, found), with_kwargs=True).remove)
    try:
        yield
    finally:
        for back in undo:
            back()


def _readout(name: str, found: list[Any]) -> Callable[..., None]:
    def keep(module: AttentionOverSteps, given: tuple[Any, ...]) -> None:
        found.append((name, "readout", module.weights(given[0])[:1].cpu()))

    return keep


def _scores(name: str, module: Attention, found: list[Any]) -> Callable[[], None]:
    """A decoder asks for the context alone, by `context`; the weights are those of the same query."""
    plain = module.context

    def context(query: Tensor, memory: Tensor, mask: Any = None, keys: Any = None) -> Tensor:
        weights = module(query, memory, mask, keys)[1]
        found.append((name, "scores", weights[0].reshape(-1, weights.shape[-1]).cpu()))
        return plain(query, memory, mask, keys)

    module.context = context  # type: ignore[method-assign]

    def undo() -> None:
        del module.context

    return undo


def _heads(name: str, found: list[Any]) -> Callable[..., None]:
    def keep(module: nn.MultiheadAttention, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        more = {**named, "need_weights": True, "average_attn_weights": False}
        weights = nn.MultiheadAttention.forward(module, *given[:3], **more)[1]
        assert weights is not None
        found.append((name, "heads", weights[0].cpu()))

    return keep


def draw(found: AttentionMap, title: str) -> tuple[Canvas, list[str]]:
    """The map as colours, and notes on what the picture leaves out."""
    notes = []
    rows, steps = found.weights.shape
    if rows > ROWS or steps > STEPS:
        notes.append(
            say("{name}: the picture shows {rows} x {steps} of {all_rows} x {all_steps}", name=found.name,
                rows=min(rows, ROWS), steps=min(steps, STEPS), all_rows=rows, all_steps=steps)
        )  # fmt: skip
    numbers = found.weights[:ROWS, :STEPS].numpy()
    most = max(float(numbers.max()), 1e-12)
    panel = Panel(say("weights: {name}", name=found.name), numbers, False, most, rows=found.rows[:ROWS])
    told = say("each row sums to 1; a row is what was written, a column what was read")
    if found.own:
        told = say("each row sums to 1; a row is a step that looks, a column what it looks at")
    if found.whole:
        notes.append(say("{name}: the first {kept} steps of {count} are kept", name=found.name, kept=KEPT,
                         count=f"{found.whole:,}"))  # fmt: skip
    if rows == 1:
        told = say("how much each step counts in the answer; together 1")
    return heat_maps(title, [panel], found.labels[:STEPS], found.axis, told), notes
