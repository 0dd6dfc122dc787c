"""Changes of the training loop: what is trained, by which optimizer, in which mode, by which step."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from netwright.doctor.changes.steps import live_of, setting
from netwright.doctor.code import CodeSubject
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.language import say


def unfreeze(subject: Subject) -> Change | None:
    """Every parameter asks for its gradient and belongs to the optimizer."""
    why = say("parameters that stand still cannot learn")
    if subject.recipe is not None:
        return Change("unfreeze", why, {"training.freeze": ""}) if setting(subject, "training", "freeze") else None
    model: nn.Module = getattr(subject, "model")  # noqa: B009  only code has one
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    if not frozen:
        return None

    def apply(live: Live) -> None:
        for parameter in live.model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        add_to_optimizer(live, missing(live.model, live.optimizers))

    return Change("unfreeze", why, {"code": "for p in model.parameters(): p.requires_grad_(True)"}, apply)


def add_missing(subject: Subject) -> Change | None:
    """The optimizer gets the parameters it lacks, with the settings of its first group."""
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        add_to_optimizer(live, missing(live.model, live.optimizers))

    why = say("parameters that no optimizer holds never move")
    return Change("all parameters", why, {"code": "optimizer.add_param_group({'params': missing})"}, apply)


def missing(model: nn.Module, optimizers: list[Optimizer]) -> list[nn.Parameter]:
    """The parameters that ask for gradients and belong to no optimizer."""
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in held]


def add_to_optimizer(live: Live, parameters: list[Any]) -> None:
    """Put parameters into the first optimizer; the snapshot takes them out again."""
    if parameters and live.optimizers:
        first = live.optimizers[0].param_groups[0]
        own = {name: value for name, value in first.items() if name not in ("params", "param_names", "initial_lr")}
        live.optimizers[0].add_param_group({**own, "params": parameters})


def rebuild_optimizer(subject: Subject) -> Change | None:
    """The same rule with the same settings, for the parameters that the model has now."""
    if not isinstance(subject, CodeSubject):
        return None
    kind = type(subject.optimizer).__name__

    def apply(live: Live) -> None:
        branch = live_of(live)
        held = branch.optimizers[0]
        trained = [p for p in branch.model.parameters() if p.requires_grad]
        if branch.own_step is None:
            fresh = copy.copy(held)  # the same class and defaults, whatever its constructor wants
            fresh.state, fresh.param_groups = defaultdict(dict), []
            settings = {
                name: value for name, value in held.param_groups[0].items() if name not in ("params", "param_names")
            }
            fresh.add_param_group({**settings, "params": trained})
            branch.optimizers = [fresh, *branch.optimizers[1:]]
            return
        held.param_groups[0]["params"] = trained  # the person's step holds this very object
        held.state.clear()
        for group in held.param_groups[1:]:
            group["params"] = []

    why = say("it then holds the tensors that the model uses")
    text = say("optimizer = torch.optim.{kind}(model.parameters(), ...) after the model is complete", kind=kind)
    return Change("new optimizer", why, {"code": text}, apply)


def train_mode(subject: Subject) -> Change | None:
    """Every step in training mode."""
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        live.model.train()
        if live_of(live).own_step is not None:
            one = live.step

            def step() -> float:
                live.model.train()
                return one()

            live.step = step  # type: ignore[method-assign]

    why = say("dropout and batch statistics work only in training mode")
    return Change("train mode", why, {"code": say("model.train() before the steps of each epoch")}, apply)


def ordinary_step(subject: Subject) -> Change | None:
    """The usual step in place of the person's own: zero_grad, forward, loss, backward, step."""
    if getattr(subject, "own_step", None) is None:
        return None

    def apply(live: Live) -> None:
        live.model.train()
        live_of(live).without_own_step()

    why = say("the ordinary order: clear the gradients, run the network, take the loss, go backward, step")
    text = "optimizer.zero_grad(); loss(model(x), y).backward(); optimizer.step()"
    return Change("ordinary step", why, {"code": text}, apply)


class Attached(TorchFunctionMode):
    """Within, `detach()`, `.data` and `no_grad` cut nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if func is torch.Tensor.detach or func is torch.detach or func is torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0]
        if name == "_set_grad_enabled" and args and not args[0]:
            return None
        return func(*args, **(kwargs or {}))


def attached(subject: Subject) -> Change | None:
    """The forward pass without `detach()`, `.data` and `no_grad`: the gradient reaches every layer."""
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.without_own_step()
        one = branch.forward

        def forward(pair: Pair) -> Any:
            if not torch.is_grad_enabled():
                return one(pair)
            with Attached():
                return one(pair)

        own = branch.loss

        def loss(outputs: Any, targets: Any) -> Tensor:
            if not torch.is_grad_enabled():
                return own(outputs, targets)
            with Attached():
                return own(outputs, targets)

        branch.forward = forward  # type: ignore[method-assign]
        branch.loss = loss

    why = say("what is cut off from the loss gets no gradient")
    text = say("leave detach(), .data, .item(), .numpy() and no_grad() out of the forward pass")
    return Change("keep the graph", why, {"code": text}, apply)


def hidden_parameters(subject: Subject) -> Change | None:
    """Train the tensors that the forward pass uses and the module does not list."""
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        loose = loose_leaves(live, live.batch())
        add_to_optimizer(live, loose)
        kept = [(leaf, leaf.detach().clone()) for leaf in loose]

        def undo() -> None:
            with torch.no_grad():
                for leaf, value in kept:
                    leaf.copy_(value)
                    leaf.grad = None

        live_of(live).extras.callback(undo)

    why = say("layers in a plain list are no part of the module; the optimizer never sees them")
    return Change("register layers", why, {"code": say("nn.ModuleList instead of a Python list")}, apply)


def loose_leaves(live: Live, pair: Pair) -> list[Tensor]:
    """The tensors that the loss depends on and asks gradients for, which no module lists and no optimizer holds."""
    known = {id(p) for p in live.model.parameters()}
    known |= {id(p) for optimizer in live.optimizers for group in optimizer.param_groups for p in group["params"]}
    with torch.random.fork_rng(devices=[]), buffers_kept(live.model):
        loss = live.loss_on(pair)
    return [leaf for leaf in leaves_of(loss) if id(leaf) not in known]


def leaves_of(loss: Tensor) -> list[Tensor]:
    """The leaves of a loss's graph, each once."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    waiting = [loss.grad_fn] if loss.grad_fn is not None else []
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            found[id(leaf)] = leaf
        waiting += [other for other, _ in node.next_functions if other is not None]
    return list(found.values())


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Within, running statistics may move."""
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in kept:
                buffer.copy_(old)


def fresh_state(subject: Subject, module: nn.Module, names: list[str]) -> Change | None:
    """What a module remembered from the batch before, forgotten before every pass."""
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        branch = live_of(live)
        first = {name: vars(module).get(name) for name in names}

        def forget(*_: Any) -> None:
            module.__dict__.update(first)

        branch.extras.callback(forget)
        branch.extras.callback(live.model.register_forward_pre_hook(forget).remove)

    why = say("a batch then starts without the memory of another one")
    return Change("fresh state", why, {"code": say("set {names} anew for each batch", names=", ".join(names))}, apply)
