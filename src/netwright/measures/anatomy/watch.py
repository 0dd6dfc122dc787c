"""One run of a network, seen: which layers and functions ran, on what, what they cost, who reads whose result."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.measures.anatomy.fields import Field, Fields
from netwright.measures.anatomy.memory import Memory
from netwright.measures.anatomy.operations import operation_facts, operation_macs
from netwright.measures.anatomy.shortcuts import shortcut

INPUT = -1
"""The number of the node that stands for the network's input."""
VIEWS = frozenset([
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze",
    "expand", "split", "split_with_sizes", "unbind", "alias", "detach", "clone", "contiguous", "_to_copy",
    "as_strided", "narrow", "lift_fresh", "diagonal", "unfold", "view_as", "copy_",
])  # fmt: skip
"""Operations that only look at numbers in another way; they are no nodes of their own."""


Measure = Callable[[nn.Module, Tensor, Tensor, int], dict[str, Any]]
"""kind, macs, neurons, connections and formula of a layer that read one tensor and returned another, running so many
multiply-adds."""


@dataclass
class Node:
    """One run of a layer, or of a function outside every layer."""

    name: str
    module: nn.Module | None
    kind: str
    sources: list[int]
    output: list[int]
    element: int
    facts: dict[str, Any] = field(default_factory=dict)
    seen: Field | None = None
    peak: int = 0
    key: str = ""


class Watch(TorchDispatchMode):
    """Sees every operation between `watching` and its end; gathers `nodes` in the order in which they ended."""

    def __init__(self, model: nn.Module, measure: Measure, outside: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.measure = measure
        self.memory = Memory([*model.parameters(), *model.buffers()] if outside is None else outside)
        self.fields = Fields()
        self.nodes: list[Node] = []
        self.stack: list[nn.Module] = []
        self.layer: nn.Module | None = None
        self.entered: tuple[Any, ...] = ()
        self.last: tuple[str, Sequence[Any]] = ("", ())
        self.makers: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self.runs: Counter[str] = Counter()
        self.macs = 0
        self.owner = ""
        self.seen: Field | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; True would import torch's compiler at the first operation."""
        return False

    def start(self, example: Tensor) -> None:
        """Begin at the network's input."""
        self.memory.made(example, "")
        self.fields.start(example)
        self._by(example, INPUT)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks on every module, and this mode, for a while."""
        hooks = []
        for module in self.names:
            hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def maker(self, tensor: Tensor) -> int | None:
        """The node that made a tensor; None where it does not come from the input."""
        reference, node = self.makers.get(id(tensor), (None, 0))
        return node if reference is not None and reference() is tensor else None

    def sources(self, value: Any) -> list[int]:
        """The nodes that made the tensors in `value`, each once."""
        found = [node for tensor in tensors(value) if (node := self.maker(tensor)) is not None]
        return list(dict.fromkeys(found))

    def _by(self, tensor: Tensor, node: int) -> None:
        self.makers[id(tensor)] = (weakref.ref(tensor), node)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.stack.append(module)
        if self.layer is None and is_layer(module) and not self._opened(module):
            self.layer, self.entered = module, (*args, *kwargs.values())
            self.macs, self.memory.peak = 0, self.memory.alive
            self.owner = self._key(self.names[module] or type(module).__name__)

    def _opened(self, module: nn.Module) -> bool:
        """Whether a module is the network itself, written as functions alone: these are the rows then."""
        ready = any(kind.__module__.startswith("torch.") for kind in type(module).__mro__ if kind is not nn.Module)
        return not self.names[module] and not ready and not hasattr(module, "counted")

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> None:
        self.stack.pop()
        if module is not self.layer or module in self.stack:
            return
        self.layer = None
        entered, left = first(self.entered), first(returned)
        if entered is None or left is None:
            return
        if isinstance(module, nn.CircularPad2d):
            self.fields.learn(left, entered, (module.padding[2], module.padding[0]))
        facts = self.measure(module, entered, left, self.macs)
        self._node(self.names[module] or facts["kind"], module, self.sources(self.entered), left, facts)
        for tensor in tensors(returned):
            self._by(tensor, len(self.nodes) - 1)
        self.entered = ()

    def _node(
        self,
        name: str,
        module: nn.Module | None,
        sources: list[int],
        left: Tensor,
        facts: dict[str, Any],
    ) -> None:
        node = Node(name, module, facts["kind"], sources, list(left.shape), left.element_size(), facts)
        node.seen, node.peak, node.key = self.fields.known(left), self.memory.peak, self.owner
        self.nodes.append(node)

    def _key(self, name: str) -> str:
        self.runs[name] += 1
        return f"{name}#{self.runs[name]}"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = name_of(func)
        self.last = (name, args)
        if self.layer is None and name not in VIEWS:
            self.memory.peak = self.memory.alive
            self.owner = self._key(f"{self._where()}{name}")
        result = shortcut(name, args, kwargs or {})
        if result is None:
            result = func(*args, **(kwargs or {}))
        self.last = ("", ())  # what succeeded is of no interest, and must not be kept alive
        for tensor in (result,) if isinstance(result, Tensor) else tensors(result):
            self.memory.made(tensor, self.owner)
        left = result if isinstance(result, Tensor) else first(result)
        if left is not None:
            self.macs += operation_macs(name, args, left)
            self.fields.follow(name, args, left)
            if self.layer is None:
                self._function(name, args, result, left)
        return result

    def _function(self, name: str, args: Sequence[Any], result: Any, left: Tensor) -> None:
        """An operation outside every layer: a node of its own unless it only looks at numbers in another way."""
        sources = self.sources(args)
        if not sources or name.startswith("new_") or name.endswith("_like"):
            return
        if name not in VIEWS:
            facts = operation_facts(name, args, left)
            self._node(f"{self._where()}{facts['kind']}", None, sources, left, facts)
            sources = [len(self.nodes) - 1]
        for tensor in tensors(result):
            self._by(tensor, sources[0])

    def _where(self) -> str:
        """The name of the module that runs now, with a dot; empty for the network itself."""
        name = self.names[self.stack[-1]] if self.stack else ""
        return f"{name}." if name else ""


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a row of its own: it has no modules inside, or it states its own numbers."""
    alone = not any(True for _ in module.children()) and not isinstance(module, nn.Identity)
    return alone or hasattr(module, "counted")


def tensors(value: Any) -> Iterable[Tensor]:
    """The tensors in whatever a module takes or returns."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            if isinstance(part, Tensor):
                yield part
            elif isinstance(part, (Mapping, tuple, list)):
                yield from tensors(part)


def first(value: Any) -> Tensor | None:
    """The first tensor in whatever a module takes or returns."""
    return next(iter(tensors(value)), None)


_NAMES: dict[Any, str] = {}


def name_of(func: Any) -> str:
    """The name of an operation without its namespace and overload."""
    name = _NAMES.get(func)
    if name is None:
        name = _NAMES[func] = str(func.overloadpacket).removeprefix("aten.")
    return name
