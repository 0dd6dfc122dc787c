"""One example through a network, watched: as in use, and as in training; everything is put back behind it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from netwright.measures.anatomy.counting import facts
from netwright.measures.anatomy.watch import Watch

FAILURES = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, KeyError, AssertionError)
"""What a network's own code raises where it cannot take an input."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """What a pass in training mode costs: multiply-adds, and the bytes kept for the backward pass, by layer."""

    macs: int
    kept: Counter[str] = field(default_factory=Counter)


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """All modules in training or evaluation mode, attention in its plain form; both as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        model.train(training)
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes:
            module.training = mode


def number_type(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The number type and the device of a network's inputs: those of its first weight."""
    first = next((p for p in (*model.parameters(), *model.buffers())), torch.zeros(0))
    floats = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return floats, first.device


def infer(model: nn.Module, example: Tensor, watch: Watch, weights: Mapping[str, Tensor] | None = None) -> Any:
    """The network's result for one example in evaluation mode; with `weights` in place of its own."""
    with in_mode(model, False), torch.no_grad(), torch.random.fork_rng(devices=[]), watch.watching():
        watch.start(example)
        return _called(model, example, weights)


def _called(model: nn.Module, example: Tensor, weights: Mapping[str, Tensor] | None) -> Any:
    return model(example) if weights is None else torch.func.functional_call(model, dict(weights), (example,))


def shadows(model: nn.Module) -> dict[str, Tensor] | None:
    """Weights and buffers of the same shapes that hold no numbers; None where the network's own hold none."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if named and all(tensor.is_meta for tensor in named.values()):
        return None
    return {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)
        for name, tensor in named.items()
    }


def rehearse(model: nn.Module, shape: Shape, dtype: torch.dtype) -> Training | None:
    """A pass in training mode with numbers nowhere; None where the network cannot run so.

    Two examples instead of one where batch norm would see a single number. A network that asks for values on the way
    runs once as a copy with its own weights.
    """
    weights = shadows(model)
    for batch in (1, 2):
        found = _rehearsed(model, torch.zeros(batch, *shape, dtype=dtype, device="meta"), weights)
        if found is not None:
            return found
    if weights is None:
        return None
    with torch.random.fork_rng(devices=[]):
        copied, device = deepcopy(model), number_type(model)[1]
        return _rehearsed(copied, torch.zeros(2, *shape, dtype=dtype, device=device), None)


def _rehearsed(model: nn.Module, examples: Tensor, weights: Mapping[str, Tensor] | None) -> Training | None:
    outside = None if weights is None else list(weights.values())
    watch, batch = Watch(model, facts, outside), len(examples)
    try:
        with in_mode(model, True), torch.enable_grad(), torch.random.fork_rng(devices=[]), watch.watching():
            watch.start(examples)
            with saved_tensors_hooks(watch.memory.keep, lambda saved: saved):
                result = _called(model, examples, weights)
    except FAILURES:
        return None
    kept = Counter({name: size // batch for name, size in watch.memory.kept_by().items()})
    del result
    return Training(sum(node.facts.get("macs", 0) for node in watch.nodes) // batch, kept)
