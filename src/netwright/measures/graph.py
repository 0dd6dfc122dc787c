"""The computational graph of a network: every operation on tensors, each listed after those that it reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import torch
from torch import nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy import observed
from netwright.measures.anatomy.passes import FAILURES, Shape, in_mode, number_type
from netwright.measures.anatomy.tables import aligned, by
from netwright.networks.shapes import shape_of


@dataclass(frozen=True)
class GraphNode:
    """One node: `op` is input, weight, buffer, constant, output or the operation; shapes hold a batch of one."""

    name: str
    op: str
    inputs: list[str]
    shape: list[int] | None


@dataclass(frozen=True)
class Graph:
    """A graph's nodes in topological order; prints as a table."""

    network: str
    input: list[int]
    nodes: list[GraphNode]

    def in_order(self) -> bool:
        """Whether every node stands after all that it reads."""
        seen: set[str] = set()
        for node in self.nodes:
            if not seen.issuperset(node.inputs) or node.name in seen:
                return False
            seen.add(node.name)
        return True

    def to_json(self) -> dict[str, Any]:
        """The nodes as plain strings, numbers and lists."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [["", say("name"), say("operation"), say("reads"), say("output")]]
        for place, node in enumerate(self.nodes, 1):
            rows.append([str(place), node.name, node.op, ", ".join(node.inputs) or "-", by(node.shape)])
        title = say(
            "{network}: {count} nodes, each after those that it reads", network=self.network, count=len(rows) - 1
        )
        return "\n".join([title, "", *(line.rstrip() for line in aligned(rows, 5))])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def graph(model: nn.Module, inputs: Mapping[str, Any] | Shape, name: str = "") -> Graph:
    """Trace a network in evaluation mode through torch.export and list the operations that remain.

    Formula: node k reads only nodes before k; running the nodes in this order gives the network's output

    The model is as before. Errors: WrongSize where it cannot take the input; UsageError where it cannot be traced
    (decisions on values, such as `if x.sum() > 0`), with torch's reason.
    """
    shape = shape_of(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    title = name or type(model).__name__
    program = exported(model, shape, title)
    found = Graph(title, list(shape), _nodes(program))
    if not found.in_order():
        raise UsageError(say("network {name!r} has a graph in no order: {reason}", name=title, reason="torch.export"))
    return found


def exported(model: nn.Module, shape: Shape, title: str) -> Any:
    """The network as torch's exported program for one example; its outputs are those of the network itself."""
    dtype = observed(model, shape, title)[2]
    example = torch.zeros(1, *shape, dtype=dtype, device=number_type(model)[1])
    from torch.export import export  # two seconds, so not before it is needed

    try:
        with in_mode(model, False), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return export(model, (example,), strict=False)
    except FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(say("network {name!r} cannot be traced: {reason}", name=title, reason=reason)) from error


def _nodes(program: Any) -> list[GraphNode]:
    """The program's nodes; weights and buffers stand just before the first operation that reads them."""
    signature = program.graph_signature
    weights, buffers = signature.inputs_to_parameters, signature.inputs_to_buffers
    constants = signature.inputs_to_lifted_tensor_constants
    waiting: dict[Any, GraphNode] = {}
    names: dict[Any, str] = {}
    nodes: list[GraphNode] = []
    for node in program.graph.nodes:
        kinds = ((weights, "weight"), (buffers, "buffer"), (constants, "constant"))
        held = next(((table[node.name], kind) for table, kind in kinds if node.name in table), None)
        names[node] = held[0] if held else node.name
        reads = list(dict.fromkeys(names[one] for one in node.all_input_nodes))
        made = GraphNode(names[node], held[1] if held else _op(node), reads, _shape(node.meta.get("val")))
        if held:
            waiting[names[node]] = made
            continue
        nodes.extend(waiting.pop(one) for one in reads if one in waiting)
        nodes.append(made)
    return nodes


def _op(node: Any) -> str:
    if node.op == "placeholder":
        return "input"
    if node.op == "output":
        return "output"
    return str(node.target).removeprefix("aten.").removesuffix(".default")


def _shape(value: Any) -> list[int] | None:
    """The shape of a node's first tensor."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    parts = value if isinstance(value, (tuple, list)) else ()
    return next((found for part in parts if (found := _shape(part)) is not None), None)
