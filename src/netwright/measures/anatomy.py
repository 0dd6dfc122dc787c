"""The arithmetic of a network: shapes, parameters, multiply-adds, neurons, connections and receptive fields.

Conventions. Parameters are all trainable and frozen weights, each counted once however often it is used. MACs are the
multiply-adds of convolutions, transposed convolutions, linear and recurrent layers for one example, biases left out.
Neurons are the units of convolution, pooling, linear and recurrent layers; a recurrent unit counts once, not each step.
Connections are, per output unit, the inputs it reads plus 1 with a bias; of recurrent layers the gates' inputs per step
times the steps. A receptive field is the window of input pixels that a unit of a map depends on: its size, how far the
windows of neighbouring units lie apart (stride), and where the first window begins (offset; negative inside padding).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import columns, padded, say
from netwright.measures.counting import facts, kind_of
from netwright.measures.fields import Fields
from netwright.networks.shapes import shape_of

Shape = tuple[int, ...]


def _titles() -> list[str]:
    seen = say("receptive field")
    return [
        say("name"),
        say("kind"),
        say("output"),
        say("parameters"),
        "MACs",
        say("neurons"),
        say("connections"),
        seen,
    ]


@dataclass(frozen=True)
class Layer:
    """One layer's row."""

    name: str
    kind: str
    output: list[int] | None
    parameters: int = 0
    macs: int = 0
    neurons: int = 0
    connections: int = 0
    receptive_field: dict[str, list[int]] | None = None
    formula: str = ""


@dataclass(frozen=True)
class Anatomy:
    """What `anatomy` found; prints as a table."""

    network: str
    input: list[int]
    output: list[int]
    parameters: int
    trainable: int
    macs: int
    neurons: int
    connections: int
    receptive_field: dict[str, list[int]] | None
    layers: list[Layer] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists under the contract's keys."""
        units = self.output[0] if len(self.output) in (1, 3) else self.output[-1]  # channels, or features of a step
        return {**asdict(self), "outputs": units}

    def __str__(self) -> str:
        rows = [_titles(), *(self._cells(layer) for layer in self.layers)]
        total = Layer(
            say("total"),
            "",
            self.output,
            self.parameters,
            self.macs,
            self.neurons,
            self.connections,
            self.receptive_field,
        )
        rows.append(self._cells(total))
        widths = [max(columns(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                padded(cell, width, right=place >= 3)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        title = say(
            "{network}: input {input}, {count} parameters",
            network=self.network,
            input=_by(self.input),
            count=f"{self.parameters:,}",
        )
        return "\n".join([title, "", lines[0], *lines[1:-1], "-" * max(map(columns, lines)), lines[-1]])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(title)}</th>" for title in (*_titles(), say("formula")))
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in (*self._cells(layer), layer.formula)) + "</tr>"
            for layer in self.layers
        )
        return f"<table><caption>{escape(str(self).split(chr(10))[0])}</caption><tr>{head}</tr>{body}</table>"

    @staticmethod
    def _cells(layer: Layer) -> list[str]:
        seen = layer.receptive_field
        numbers = [layer.parameters, layer.macs, layer.neurons, layer.connections]
        return [
            layer.name,
            layer.kind,
            _by(layer.output),
            *(f"{n:,}" for n in numbers),
            _by(seen["size"]) if seen else "-",
        ]


def anatomy(model: nn.Module, inputs: Mapping[str, Any] | Shape, name: str = "") -> Anatomy:
    """Count a network by running it once on one zero example, wherever its weights are (the meta device costs nothing).

    Args: `inputs` as networks take them, or the shape of one example; `name` is shown. The model, its mode, its running
    statistics and all random generators are as before. Errors: UsageError where the model cannot take that input.
    """
    shape = shape_of(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    title = name or type(model).__name__
    first = next((p for p in model.parameters()), torch.zeros(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    example = torch.zeros(1, *shape, dtype=dtype, device=first.device)
    rows = _Rows(model)
    output = _run(model, example, rows, title)
    layers = rows.layers + rows.silent()
    spatial = [layer.receptive_field for layer in layers if layer.receptive_field]
    weights = list(model.parameters())
    return Anatomy(
        network=title,
        input=list(shape),
        output=list(output.shape[1:]),
        parameters=sum(p.numel() for p in weights),
        trainable=sum(p.numel() for p in weights if p.requires_grad),
        macs=sum(layer.macs for layer in layers),
        neurons=sum(layer.neurons for layer in layers),
        connections=sum(layer.connections for layer in layers),
        receptive_field=spatial[-1] if spatial else None,
        layers=layers,
    )


def _run(model: nn.Module, example: Tensor, rows: "_Rows", title: str) -> Tensor:
    """One pass in evaluation mode under the hooks, everything put back behind it."""
    modes = [(module, module.training) for module in model.modules()]
    hooks = [module.register_forward_hook(rows.note) for module in model.modules() if _is_layer(module)]
    try:
        model.eval()
        with torch.no_grad(), rows.fields.watching(example):
            output = _tensor(model(example))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        text = say("network {name!r} cannot take an input of {shape}", name=title, shape=_by(list(example.shape[1:])))
        raise UsageError(f"{text}: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    if output is None:
        raise UsageError(say("network {name!r} gives no tensor.", name=title))
    return output


def _is_layer(module: nn.Module) -> bool:
    alone = not any(True for _ in module.children()) and not isinstance(module, nn.Identity)
    return alone or hasattr(module, "counted")


def _tensor(value: Any) -> Tensor | None:
    """The first tensor in whatever a module returns."""
    if isinstance(value, Tensor):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for part in parts if (found := _tensor(part)) is not None), None)


class _Rows:
    """Gathers a row each time a layer runs; its weights are counted in the first row only."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.owners = [(name, module) for name, module in model.named_modules()]
        self.layers: list[Layer] = []
        self.fields = Fields()
        self.counted: set[int] = set()

    def note(self, module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        entered, left = _tensor(given), _tensor(returned)
        if entered is None or left is None:
            return
        if isinstance(module, nn.CircularPad2d):
            self.fields.learn(left, entered, (1, 1), (1, 1), (module.padding[2], module.padding[0]))
        found, seen = facts(module, entered, left), self.fields.known(left)
        self.layers.append(
            Layer(
                self.names[module] or found["kind"],
                output=list(left.shape[1:]),
                parameters=self.fresh(module),
                receptive_field={key: list(value) for key, value in asdict(seen).items()} if seen else None,
                **found,
            )
        )

    def fresh(self, module: nn.Module, *, recurse: bool = True) -> int:
        """How many weights of a module no row has counted yet."""
        new = {id(p): p.numel() for p in module.parameters(recurse) if id(p) not in self.counted}
        self.counted.update(new)
        return sum(new.values())

    def silent(self) -> list[Layer]:
        """Rows for weights that no layer's row holds: used by their owner directly, or not in this pass."""
        rows = [(name, module, self.fresh(module, recurse=False)) for name, module in self.owners]
        return [Layer(name or "weights", kind_of(module), None, count) for name, module, count in rows if count]


def _by(sizes: list[int] | None) -> str:
    return "x".join(map(str, sizes)) if sizes else "-"
