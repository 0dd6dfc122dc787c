"""Where the watch listens: a few calls of torch, replaced while a watch is open and put back when the last one closes.

Nothing is hung on a person's own model or optimizer, so a copy or a saved file made inside the block is the same as
without a watch. Each replaced call does what it did; listeners hear of it before and after.
"""

from collections.abc import Callable, Sequence
from types import CellType, GeneratorType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import DataLoader


class Listener(Protocol):
    """What hears of the calls."""

    def hears(self, module: nn.Module) -> bool: ...
    def forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None: ...
    def forward_ends(self, module: nn.Module, output: Any) -> None: ...
    def backward_begins(self, roots: Sequence[Tensor]) -> None: ...
    def backward_fails(self, roots: Sequence[Tensor], error: RuntimeError) -> None: ...
    def backward_ends(self) -> None: ...
    def zero_begins(self) -> None: ...
    def zero_ends(self, owner: Any) -> None: ...
    def clips(self, parameters: Sequence[Tensor]) -> None: ...
    def schedules(self, scheduler: Any) -> None: ...
    def scales(self, scaler: Any, outputs: Any, result: Any) -> None: ...
    def unscales(self, scaler: Any) -> None: ...
    def iterates(self, loader: Any) -> None: ...


Function = Callable[..., Any]
Make = Callable[[Function, list[Listener]], Function]


class Tap:
    """One replaced attribute, shared by all open watches; the order in which they close does not matter."""

    def __init__(self, owner: Any, name: str, make: Make) -> None:
        self.owner, self.name = owner, name
        self.own = isinstance(owner, CellType) or name in vars(owner)
        self.original = vars(owner)[name] if name in getattr(owner, "__dict__", ()) else getattr(owner, name)
        self.listeners: list[Listener] = []
        setattr(owner, name, make(self.original, self.listeners))

    def restore(self) -> None:
        if self.own:
            setattr(self.owner, self.name, self.original)
        else:
            delattr(self.owner, self.name)


_OPEN: dict[tuple[int, str], Tap] = {}


def listen(
    listener: Listener, modules: Sequence[nn.Module], optimizers: Sequence[Any], schedulers: Sequence[Any]
) -> None:
    """Let `listener` hear of every call from now on."""
    places = _places(modules, optimizers, schedulers)
    for owner, name, make in places:
        key = id(owner), name
        if key not in _OPEN:
            _OPEN[key] = Tap(owner, name, make)
        _OPEN[key].listeners.append(listener)


def leave(listener: Listener) -> None:
    """No longer; what nobody listens to is put back as it was."""
    for key, tap in list(_OPEN.items()):
        while listener in tap.listeners:
            tap.listeners.remove(listener)
        if not tap.listeners:
            tap.restore()
            del _OPEN[key]


def _places(
    modules: Sequence[nn.Module], optimizers: Sequence[Any], schedulers: Sequence[Any]
) -> list[tuple[Any, str, Make]]:
    found: list[tuple[Any, str, Make]] = [(torch.autograd, "backward", _backward)]
    kinds = {owner_of(type(module), "__call__") for module in modules}
    found += [(kind, "__call__", _call) for kind in kinds]
    kinds = {owner_of(type(optimizer), "zero_grad") for optimizer in optimizers} | {Optimizer, nn.Module}
    kinds |= {owner_of(type(module), "zero_grad") for module in modules}
    found += [(kind, "zero_grad", _zero_grad) for kind in kinds]
    found += [_clip(name) for name in ("clip_grad_norm_", "clip_grad_value_")]
    scheduler_kinds = {lr_scheduler.LRScheduler, *_below(lr_scheduler.LRScheduler), *(type(one) for one in schedulers)}
    found += [(kind, "step", _schedule) for kind in scheduler_kinds if "step" in vars(kind)]
    scaler = torch.amp.GradScaler
    found += [(scaler, "scale", _scale), (scaler, "unscale_", _unscale), (scaler, "step", _unscale)]
    return [*found, (DataLoader, "__iter__", _iterate)]


def owner_of(kind: type, name: str) -> type:
    """The class of the family of `kind` that defines `name`; below nn.Module the class itself, which is called less."""
    owner = next(one for one in kind.__mro__ if name in vars(one))
    return kind if owner is nn.Module and name == "__call__" else owner


def _below(kind: type) -> set[type]:
    children: list[type] = kind.__subclasses__()
    return {deeper for child in children for deeper in (child, *_below(child))}


def _clip(name: str) -> tuple[Any, str, Make]:
    """The cell that holds the clipping function, heard however it was imported; else torch.nn.utils' attribute."""
    function = getattr(torch.nn.utils, name)
    cells = function.__closure__ or ()
    held = [cell for cell in cells if getattr(cell.cell_contents, "__name__", "") == name]
    return (held[0], "cell_contents", _clips) if held else (torch.nn.utils, name, _clips)


def _call(original: Function, listeners: list[Listener]) -> Function:
    def __call__(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return original(self, *args, **kwargs)
        hearing = [listener for listener in listeners if listener.hears(self)]
        if not hearing:
            return original(self, *args, **kwargs)
        for listener in hearing:
            listener.forward_begins(self, args, kwargs)
        output = None
        try:
            output = original(self, *args, **kwargs)
        finally:
            for listener in hearing:
                listener.forward_ends(self, output)
        return output

    return __call__


def _backward(original: Function, listeners: list[Listener]) -> Function:
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        roots = (tensors,) if isinstance(tensors, Tensor) else tuple(t for t in tensors if isinstance(t, Tensor))
        for listener in listeners:
            listener.backward_begins(roots)
        try:
            result = original(tensors, *args, **kwargs)
        except RuntimeError as error:
            for listener in listeners:
                listener.backward_fails(roots, error)
            raise
        for listener in listeners:
            listener.backward_ends()
        return result

    return backward


def _zero_grad(original: Function, listeners: list[Listener]) -> Function:
    def zero_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in listeners:
            listener.zero_begins()
        result = original(self, *args, **kwargs)
        for listener in listeners:
            listener.zero_ends(self)
        return result

    return zero_grad


def _clips(original: Function, listeners: list[Listener]) -> Function:
    def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        kept = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        for listener in listeners:
            listener.clips(kept)
        if isinstance(parameters, GeneratorType):  # it is used up now; torch warns of an empty one
            parameters = (one for one in kept)
        return original(parameters, *args, **kwargs)

    return clip


def _schedule(original: Function, listeners: list[Listener]) -> Function:
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in listeners:
            listener.schedules(self)
        return original(self, *args, **kwargs)

    return step


def _scale(original: Function, listeners: list[Listener]) -> Function:
    def scale(self: Any, outputs: Any) -> Any:
        result = original(self, outputs)
        for listener in listeners:
            listener.scales(self, outputs, result)
        return result

    return scale


def _unscale(original: Function, listeners: list[Listener]) -> Function:
    def unscale(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in listeners:
            listener.unscales(self)
        return original(self, *args, **kwargs)

    return unscale


def _iterate(original: Function, listeners: list[Listener]) -> Function:
    def __iter__(self: Any) -> Any:
        for listener in listeners:
            listener.iterates(self)
        return original(self)

    return __iter__
