"""Save and restore all that a short training touches, bit for bit: weights, optimizer, modes, random numbers.

A branch of a trial trains the person's own objects, for their loss or step may be a closure over them; afterwards
nothing of it is left.
"""

import copy
import inspect
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Snapshot:
    """The state of modules, optimizers, schedulers and random number generators at one moment."""

    def __init__(
        self, modules: Sequence[nn.Module], optimizers: Sequence[Optimizer], others: Sequence[Any] = ()
    ) -> None:
        self.optimizers, self.others = list(optimizers), list(others)
        self.modules = [part for module in modules for part in module.modules()]
        self.tensors: list[tuple[Tensor, Tensor]] = []
        self.gradients: list[tuple[Tensor, Tensor | None]] = []
        seen: set[int] = set()
        loose = [p for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"]]
        own = [t for module in self.modules for t in (*module._parameters.values(), *module._buffers.values())]
        for tensor in (*own, *loose):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                self.tensors.append((tensor, tensor.detach().clone()))
                self.gradients.append((tensor, None if tensor.grad is None else tensor.grad.detach().clone()))
        self.plain = [(module, _plain(module)) for module in self.modules]
        self.held = [
            (module, dict(module._parameters), dict(module._buffers), dict(module._modules), module.training)
            for module in self.modules
        ]
        self.asks = [(tensor, tensor.requires_grad) for tensor, _ in self.tensors]
        self.states = [_optimizer_state(optimizer) for optimizer in self.optimizers]
        self.dicts = [_copied(vars(other)) for other in self.others]
        legacy = np.random.get_state()  # noqa: NPY002  a person's data may draw from it
        self.random = random.getstate(), legacy, torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back; may be called again and again."""
        for module, parameters, buffers, children, mode in self.held:
            if not isinstance(module, torch.jit.ScriptModule):  # its members cannot be exchanged
                _put(module._parameters, parameters)
                _put(module._buffers, buffers)
                _put(module._modules, children)
            module.training = mode
        for module, attributes in self.plain:
            for name in [name for name in _plain(module) if name not in attributes]:
                del module.__dict__[name]
            module.__dict__.update(_copied(attributes))
        for tensor, value in self.tensors:
            if tensor.data.shape != value.shape or tensor.dtype != value.dtype or tensor.device != value.device:
                tensor.data = value.clone()
            tensor.copy_(value)
        for tensor, gradient in self.gradients:
            tensor.grad = None if gradient is None else gradient.clone()
        for tensor, asks in self.asks:
            if tensor.requires_grad != asks:
                tensor.requires_grad_(asks)
        for optimizer, (groups, state) in zip(self.optimizers, self.states, strict=True):
            for live, kept in zip(optimizer.param_groups, groups, strict=False):
                live.clear()
                live.update(kept | {"params": list(kept["params"])})
            del optimizer.param_groups[len(groups) :]
            optimizer.state.clear()
            for parameter, entry in state.items():
                optimizer.state[parameter] = _copied(entry)
        for other, kept in zip(self.others, self.dicts, strict=True):
            vars(other).clear()
            vars(other).update(_copied(kept))
        self.restore_random()

    def restore_random(self) -> None:
        """Put back the random number generators alone."""
        random.setstate(self.random[0])
        np.random.set_state(self.random[1])  # noqa: NPY002
        torch.set_rng_state(self.random[2])
        for place, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, place)


def _plain(module: nn.Module) -> dict[str, Any]:
    """A module's own attributes that are values: a state it carries from batch to batch, a counter, a list."""
    kinds = (Tensor, bool, int, float, str, tuple, list, dict, set, type(None), np.ndarray)
    names = [name for name, value in vars(module).items() if name not in OWN and isinstance(value, kinds)]
    return {name: _copied(vars(module)[name]) for name in names}


OWN = frozenset(vars(nn.Module()))
"""The attributes that every module has."""


def carried(function: Any) -> list[Any]:
    """What a person's step carries along in its closure or its object, and a training changes: schedulers, scalers,
    other networks and optimizers, running averages."""
    try:
        found = inspect.getclosurevars(function)
        values = [*found.nonlocals.values(), *found.globals.values()]
    except TypeError:
        values = list(vars(function).values()) if hasattr(function, "__dict__") else []
    owner = getattr(function, "__self__", None)
    values += list(vars(owner).values()) if owner is not None and hasattr(owner, "__dict__") else []
    return [value for value in values if isinstance(value, (nn.Module, Optimizer, *CHANGING))]


CHANGING = (torch.optim.lr_scheduler.LRScheduler, torch.optim.lr_scheduler.ReduceLROnPlateau, torch.amp.GradScaler)


def _put(live: dict[str, Any], kept: dict[str, Any]) -> None:
    if live.keys() != kept.keys() or any(live[name] is not kept[name] for name in kept):
        live.clear()
        live.update(kept)


def _optimizer_state(optimizer: Optimizer) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
    return groups, {parameter: _copied(entry) for parameter, entry in optimizer.state.items()}


def _copied(value: Any) -> Any:
    """Tensors and containers copied; modules, optimizers and other objects kept as they are."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else value.detach().clone()
    if type(value) in (dict, list, tuple, set):
        return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else type(value)(
            _copied(item) for item in value
        )  # fmt: skip
    if isinstance(value, (np.ndarray, np.random.Generator, random.Random)):
        return copy.deepcopy(value)
    return value


@contextmanager
def kept(
    modules: Sequence[nn.Module], optimizers: Sequence[Optimizer], others: Sequence[Any] = ()
) -> Iterator[Snapshot]:
    """Within, anything may be done to them; afterwards all is as before, after an exception too."""
    snapshot = Snapshot(modules, optimizers, others)
    threads = torch.get_num_threads()
    try:
        yield snapshot
    finally:
        snapshot.restore()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
