"""The arithmetic of a network: shapes, parameters, multiply-adds, neurons, connections, receptive fields and memory.

Conventions. Parameters are all trainable and frozen weights, each counted once however often it is used. MACs are the
multiply-adds of convolutions, transposed convolutions, linear and recurrent layers and matrix products for one example,
biases left out; `training_macs` are those of a pass in training mode, auxiliary heads included. Neurons are the units
of convolution, pooling, linear and recurrent layers; a recurrent unit counts once, not each step. Connections are, per
output unit, the inputs it reads plus 1 with a bias; of recurrent layers the gates' inputs per step times the steps.
A receptive field is the window of input pixels that a unit of a map depends on: its size, how far the windows of
neighbouring units lie apart (stride), and where the first window begins (offset; negative inside padding). Memory is
in bytes, for one example and without weights: `inference` is the most that is alive at once in a pass without
gradients, of a layer while it runs; `training` is what the backward pass keeps of the input and the layers' results.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy.counting import facts
from netwright.measures.anatomy.failure import refusal
from netwright.measures.anatomy.layer import Layer, Seen, rows_of, titles
from netwright.measures.anatomy.passes import FAILURES, Shape, infer, number_type, rehearse
from netwright.measures.anatomy.tables import aligned, by, bytes_of
from netwright.measures.anatomy.watch import Watch, first
from netwright.networks.shapes import shape_of


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
    receptive_field: Seen | None
    layers: list[Layer] = field(default_factory=list)
    memory: dict[str, int | None] = field(default_factory=lambda: {"training": 0, "inference": 0})
    training_macs: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists under the contract's keys."""
        shape = self.output or [1]
        units = shape[0] if len(shape) in (1, 3) else shape[-1]  # channels, or features of a step
        found = {**asdict(self), "outputs": units}
        for layer in found["layers"]:
            del layer["sources"], layer["detail"]
        return found

    def total(self) -> Layer:
        """The last line of the table."""
        return Layer(
            say("total"),
            "",
            self.output,
            self.parameters,
            self.macs,
            self.neurons,
            self.connections,
            self.receptive_field,
            memory=self.memory,
        )

    def __str__(self) -> str:
        rows = [titles(), *(layer.cells() for layer in [*self.layers, self.total()])]
        title = say(
            "{network}: input {input}, {count} parameters",
            network=self.network,
            input=by(self.input),
            count=f"{self.parameters:,}",
        )
        return "\n".join([title, self._facts(), *aligned(rows, 3, foot=True)])

    def _facts(self) -> str:
        """The line above the table: what has no column."""
        kept, most = self.memory["training"], self.memory["inference"]
        text = say(
            "memory for one example: {inference} alive in use, {training} kept for the backward pass",
            inference=bytes_of(most or 0),
            training="-" if kept is None else bytes_of(kept),
        )
        lines = [text]
        if self.trainable != self.parameters:
            lines.append(say("trainable parameters: {count}", count=f"{self.trainable:,}"))
        if self.training_macs not in (None, self.macs):
            lines.append(say("MACs in training mode: {count}", count=f"{self.training_macs:,}"))
        return "; ".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(title)}</th>" for title in (*titles(), say("formula")))
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in (*layer.cells(), layer.formula)) + "</tr>"
            for layer in [*self.layers, self.total()]
        )
        text = str(self).split("\n")
        caption = "<br>".join(map(escape, text[:2]))
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"


def anatomy(model: nn.Module, inputs: Mapping[str, Any] | Shape, name: str = "") -> Anatomy:
    """Count a network by running one zero example through it, wherever its weights are (the meta device costs nothing).

    Formula: total = sum over the layers; each row's formula has its numbers in it

    Args: `inputs` as networks take them, or the shape of one example; `name` is shown. Networks that look words up get
    whole numbers. A second pass, in training mode, runs on the meta device. The model, its mode, its running statistics
    and all random generators are as before. Errors: WrongSize (a UsageError) where the model cannot take that input,
    with the layers so far, the formula that fails and the nearest input that works.
    """
    shape = shape_of(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    title = name or type(model).__name__
    if any(is_lazy(weight) for weight in model.parameters()):
        raise UsageError(say("network {name!r} has weights without a size yet; run it once on an example", name=title))
    watch, output, dtype = observed(model, shape, title)
    training = rehearse(model, shape, dtype)
    layers = rows_of(model, watch, training)
    spatial = [layer.receptive_field for layer in layers if layer.receptive_field]
    seen = watch.seen.plain() if watch.seen else spatial[-1] if spatial else None
    weights = list(model.parameters())
    macs = sum(layer.macs for layer in layers)
    kept = sum(training.kept.values()) if training else None
    return Anatomy(
        network=title,
        input=list(shape),
        output=output,
        parameters=sum(p.numel() for p in weights),
        trainable=sum(p.numel() for p in weights if p.requires_grad),
        macs=macs,
        neurons=sum(layer.neurons for layer in layers),
        connections=sum(layer.connections for layer in layers),
        receptive_field=seen,
        layers=layers,
        memory={"training": kept, "inference": watch.memory.most},
        training_macs=training.macs if training else None,
    )


WORD_NUMBERS = re.compile(r"indices|index tensor|Long, Int|scalar type", re.IGNORECASE)
"""What torch says where a network wants whole numbers, as for words."""


def observed(model: nn.Module, shape: Shape, title: str, fix: str = "") -> tuple[Watch, list[int], torch.dtype]:
    """One pass in evaluation mode: what was seen, the shape of the result, and the number type that was right.

    `fix` is what a refusal says would work; it is looked for where it is empty.
    """
    dtype, device = number_type(model)
    watch, result, error = _tried(model, torch.zeros(1, *shape, dtype=dtype, device=device))
    if error and WORD_NUMBERS.search(str(error)):
        dtype = torch.int64
        watch, result, error = _tried(model, torch.zeros(1, *shape, dtype=dtype, device=device))
    if error:
        raise refusal(model, shape, dtype, watch, error, title, fix) from error
    output = first(result)
    if output is None:
        raise UsageError(say("network {name!r} gives no tensor.", name=title))
    watch.seen = watch.fields.known(output)
    return watch, list(output.shape[1:]), dtype


def _tried(model: nn.Module, example: torch.Tensor) -> tuple[Watch, Any, Exception | None]:
    watch = Watch(model, facts)
    try:
        return watch, infer(model, example, watch), None
    except FAILURES as error:
        return watch, None, error
