"""A row of the anatomy: one layer, or one function that a network calls itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from netwright.language import say
from netwright.measures.anatomy.counting import kind_of
from netwright.measures.anatomy.passes import Training
from netwright.measures.anatomy.tables import by, bytes_of
from netwright.measures.anatomy.watch import Watch

Seen = dict[str, list[int | float]]


@dataclass(frozen=True)
class Layer:
    """One layer's numbers; `sources` are the rows that it reads (-1 is the network's input), `detail` its windows."""

    name: str
    kind: str
    output: list[int] | None
    parameters: int = 0
    macs: int = 0
    neurons: int = 0
    connections: int = 0
    receptive_field: Seen | None = None
    formula: str = ""
    trainable: int = 0
    memory: dict[str, int | None] = field(default_factory=lambda: {"training": 0, "inference": 0})
    sources: tuple[int, ...] = ()
    detail: str = ""

    def cells(self) -> list[str]:
        """The row in words, in the order of `titles`."""
        seen = self.receptive_field
        numbers = [self.parameters, self.macs, self.neurons, self.connections]
        sizes = [by(seen["size"]) if seen else "-", *(_short(self.memory[use]) for use in ("training", "inference"))]
        return [self.name, self.kind, by(self.output), *(f"{n:,}" for n in numbers), *sizes]


def titles() -> list[str]:
    """The columns of the table."""
    words = [say("name"), say("kind"), say("output"), say("parameters"), "MACs", say("neurons"), say("connections")]
    return [*words, say("receptive field"), say("kept"), say("alive")]


def _short(count: int | None) -> str:
    return bytes_of(count) if count else "-"


class Weights:
    """Counts each weight once, in the first row that holds it."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = list(model.named_modules())
        self.counted: set[int] = set()

    def fresh(self, module: nn.Module | None, *, recurse: bool = True) -> tuple[int, int]:
        """How many weights of a module no row has counted yet, and how many of these are trained."""
        if module is None:
            return 0, 0
        new = [p for p in module.parameters(recurse) if id(p) not in self.counted]
        self.counted.update(map(id, new))
        return sum(p.numel() for p in new), sum(p.numel() for p in new if p.requires_grad)

    def silent(self) -> Iterable[Layer]:
        """Rows for weights that no layer's row holds: used by their owner directly, or not in this pass."""
        for name, module in self.modules:
            count, trained = self.fresh(module, recurse=False)
            if count:
                yield Layer(name or "weights", kind_of(module), None, count, trainable=trained)


def rows_of(model: nn.Module, watch: Watch, training: Training | None, *, silent: bool = True) -> list[Layer]:
    """A row for every layer and function that ran, in order, then one for each module with weights left over."""
    weights, cells = Weights(model), set()
    rows = []
    for node in watch.nodes:
        found: dict[str, Any] = dict(node.facts)
        if isinstance(node.module, nn.RNNCellBase):
            found["neurons"] = 0 if node.module in cells else found["neurons"]  # a unit counts once, not each step
            cells.add(node.module)
        count, trained = weights.fresh(node.module)
        memory = {"training": training.kept[node.key] if training else None, "inference": node.peak}
        rows.append(
            Layer(
                node.name,
                found.pop("kind"),
                node.output[1:],
                count,
                trainable=trained,
                receptive_field=node.seen.plain() if node.seen else None,
                memory=memory,
                sources=tuple(node.sources),
                detail=_detail(node.module),
                **found,
            )
        )
    return [*rows, *weights.silent()] if silent else rows


def _detail(module: nn.Module | None) -> str:
    """Window and stride in short: `3x3 /2`."""
    window, stride = getattr(module, "kernel_size", None), getattr(module, "stride", 1)
    if window is None:
        return ""
    sides, steps = ((one, one) if isinstance(one, int) else tuple(one) for one in (window, stride or window))
    text = by(sides)
    if set(steps) != {1}:
        text += f" /{steps[0]}" if len(set(steps)) == 1 else f" /{by(steps)}"
    groups = getattr(module, "groups", 1)
    return f"{text} g{groups}" if groups > 1 else text
