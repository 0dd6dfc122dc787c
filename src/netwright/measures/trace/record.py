"""What one forward pass did: every layer's call with the numbers that went in and came out, and rules to work on them.

A rule knows one kind of layer: `forward` tells how its output arises, `backward` turns the error of the output into the
errors of the inputs and the gradients of the weights, by written-out formulas and without automatic differentiation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy.counting import kind_of

MOST_KEPT = 30_000_000
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """A piece of arithmetic: the formula, its numbers by name, and single results worked out as lines of text."""

    formula: str
    numbers: Numbers = field(default_factory=dict)
    worked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One call of a layer. `entered` and `left` are the tensors of the pass, `given` and `returned` their numbers."""

    name: str
    kind: str
    module: nn.Module
    entered: Tensor
    left: Tensor
    given: Tensor
    returned: Tensor
    inner: dict[str, Tensor]
    """The last output of each child, by name: what a group adds up or puts side by side."""
    random: Tensor | None = None
    """The state of the random generator before a dropout."""

    def weight(self, name: str) -> Tensor | None:
        """A weight's or a buffer's numbers, None where the layer has none of that name."""
        found = getattr(self.module, name, None)
        return found.detach() if isinstance(found, Tensor) else None

    def must(self, name: str) -> Tensor:
        """The numbers of a weight that every layer of this kind has."""
        found = self.weight(name)
        assert found is not None, name
        return found


@dataclass(frozen=True)
class Pulled:
    """What a rule makes of an output's error: errors of tensors of the pass, gradients of weights, how it is told."""

    into: list[tuple[Tensor, Tensor]]
    weights: dict[str, Tensor]
    told: Told


@dataclass(frozen=True)
class View:
    """What is written out: which places of maps, how many units."""

    places: tuple[tuple[int, int], ...] = ((0, 0),)
    units: int = 3
    digits: int = 4


@dataclass(frozen=True)
class Rule:
    """The arithmetic of one kind of layer."""

    forward: Callable[[Call, View], Told]
    backward: Callable[[Call, Tensor], Pulled]


RULES: dict[type[nn.Module], Rule] = {}


def rule_of(module: nn.Module) -> Rule | None:
    """The rule for a module: its class's, or the one of a class whose `forward` it inherits unchanged."""
    for parent in type(module).__mro__:
        if parent in RULES:
            return RULES[parent] if type(module).forward is parent.forward else None
    return None


class Recorder:
    """Notes the calls of one pass. A module counts as a layer when it has a rule or no children."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.calls: list[Call] = []
        self.tensors: list[Tensor] = []
        self.last: dict[nn.Module, Tensor] = {}
        self.states: dict[nn.Module, Tensor] = {}
        self.kept = 0

    def run(self, inputs: Tensor) -> Any:
        """The model's output for `inputs`, every call noted."""
        hooks = [module.register_forward_hook(self.note) for module in self.model.modules()]
        hooks += [
            module.register_forward_pre_hook(self.before)
            for module in self.model.modules()
            if isinstance(module, nn.modules.dropout._DropoutNd)
        ]
        try:
            return self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def before(self, module: nn.Module, given: Any) -> None:
        """Keep the random state that a dropout starts from."""
        self.states[module] = torch.get_rng_state()

    def note(self, module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        """Keep a call's numbers; the error of its output is asked for where it is computed at all."""
        left = first_tensor(returned)
        entered = first_tensor(given)
        if left is None or entered is None:
            return
        self.last[module] = left
        layer = rule_of(module) is not None or not any(True for _ in module.children())
        if not layer or left is entered:
            return
        self.kept += left.numel()
        if self.kept > MOST_KEPT:
            text = say("this network makes more than {most:,} numbers in one pass.", most=MOST_KEPT)
            raise UsageError(text + " " + say("Use a smaller input or a smaller width."))
        if left.requires_grad and not left.is_leaf:
            left.retain_grad()
        inner = {name: self.last[child] for name, child in _inside(module) if child in self.last}
        name = self.names[module] or kind_of(module)
        earlier = sum(call.module is module for call in self.calls)
        self.calls.append(
            Call(
                f"{name} ({earlier + 1})" if earlier else name,
                kind_of(module),
                module,
                entered,
                left,
                entered.detach().clone(),
                left.detach().clone(),
                inner,
                self.states.get(module),
            )
        )


def _inside(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Children by name; those of a list of branches by `branches.0`, `branches.1` ..."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        deeper = child.named_children() if isinstance(child, nn.ModuleList) else []
        found += [(name, child), *((f"{name}.{inner}", one) for inner, one in deeper)]
    return found


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in whatever a module takes or returns."""
    if isinstance(value, Tensor):
        return value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for part in parts if (found := first_tensor(part)) is not None), None)
