"""A short training under a watch: what the loop does with gradients, modes, parameters and order (P3)."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netwright.doctor.changes.loop import loose_leaves
from netwright.doctor.chart import Chart
from netwright.doctor.findings import Finding
from netwright.doctor.subject import Live, untouched
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import first_tensor
from netwright.doctor.watch import watch

STEPS = 24


@dataclass(frozen=True)
class Audit:
    """What a few steps of the loop showed."""

    findings: list[Finding]
    """Of the watch: exact breaches with harm."""
    notes: list[Finding]
    moved: dict[str, bool]
    """By parameter: whether it changed in these steps."""
    reached: dict[str, bool]
    """By parameter: whether the loss sends it a gradient (0 counts, none does not)."""
    asks: dict[str, bool]
    """By parameter: whether it asks for a gradient."""
    held: dict[str, bool]
    """By parameter: whether an optimizer holds it."""
    sizes: dict[str, int]
    foreign: int
    """Tensors in the optimizer that belong neither to the model nor to the loss."""
    loose: list[tuple[int, ...]]
    """Shapes of tensors that the loss depends on and nobody lists."""
    graph: bool
    """Whether the loss has one."""
    head: list[str]
    """The parameters of the module that ran last."""
    ran: list[str]
    """The modules with parameters that ran, in order."""
    remembers: dict[str, list[str]] = field(default_factory=dict)
    """By module: attributes that outlive a pass, where they change its next answers."""

    def share_moved(self) -> float:
        """The share of all numbers in parameters that moved."""
        whole = sum(self.sizes.values())
        return sum(size for name, size in self.sizes.items() if self.moved.get(name)) / whole if whole else 1.0


def audit(chart: Chart) -> Audit:
    """The audit of a chart's subject, made once."""
    kept = vars(chart)
    if "_audit" not in kept:
        try:
            kept["_audit"] = _audit(chart)
        except Unmeasured:
            kept["_audit"] = None
    if kept["_audit"] is None:
        raise Unmeasured
    found: Audit = kept["_audit"]
    return found


def _audit(chart: Chart) -> Audit:
    subject = chart.subject
    if subject.recipe is not None:
        raise Unmeasured  # the package's own loop keeps its contracts
    with subject.live() as live:
        remembers = memory(live)
    with subject.live() as live:
        pair = live.batch()
        ran = _ran(live)
        loose = [tuple(leaf.shape) for leaf in loose_leaves(live, pair)]
        graph, reached = _reached(live)
        before = {name: p.detach().clone() for name, p in live.model.named_parameters()}
        held = {id(p) for one in live.optimizers for group in one.param_groups for p in group["params"]}
        known = {id(p) for p in live.model.parameters()}
        loss: Any = getattr(subject, "loss", None)
        known |= {id(p) for p in loss.parameters()} if isinstance(loss, nn.Module) else set()
        foreign = len(held - known)
        asks = {name: p.requires_grad for name, p in live.model.named_parameters()}
        holds = {name: id(p) in held for name, p in live.model.named_parameters()}
        with watch(live.model, live.optimizers, loss) as seen:
            seen.is_whole = False
            for _ in range(STEPS):
                value = live.step()
                if not math.isfinite(value) and live.own_loss:
                    break
        moved = {
            name: not torch.equal(p.detach(), before[name])
            for name, p in live.model.named_parameters()
            if name in before
        }
    names = [name for name in before if ran and name.rpartition(".")[0] == ran[-1]]
    sizes = {name: value.numel() for name, value in before.items()}
    return Audit(
        seen.findings, seen.notes, moved, reached, asks, holds, sizes, foreign, loose, graph, names, ran, remembers
    )


def _ran(live: Live) -> list[str]:
    """The paths of the modules with parameters of their own, in the order in which they last ran."""
    order: list[str] = []
    hooks = []
    for path, module in live.model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):

            def note(*_: Any, path: str = path) -> None:
                if path in order:
                    order.remove(path)
                order.append(path)

            hooks.append(module.register_forward_hook(note))
    try:
        with untouched(live.model), torch.no_grad():
            live.forward(live.batch())
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _reached(live: Live) -> tuple[bool, dict[str, bool]]:
    """Whether the loss has a graph, and which parameters it reaches."""
    every = dict(live.model.named_parameters())
    asking = [p for p in every.values() if p.requires_grad]
    with untouched(live.model):  # undone only after the backward pass: buffers moved back in between break its graph
        loss = live.loss_on(live.batch())
        if not loss.requires_grad or not asking:
            return loss.requires_grad, dict.fromkeys(every, False)
        found = torch.autograd.grad(loss, asking, allow_unused=True)
    by_id = {id(p): g is not None for p, g in zip(asking, found, strict=True)}
    return True, {name: by_id.get(id(p), False) for name, p in every.items()}


def memory(live: Live) -> dict[str, list[str]]:
    """Modules that keep a tensor from one pass to the next, where the next answers depend on it.

    The same examples are answered in evaluation mode, with the same random numbers, before and after others.
    """
    modules = dict(live.model.named_modules())
    first = {path: _attributes(module) for path, module in modules.items()}
    state = torch.get_rng_state()
    try:
        pairs = two_batches(live)
        answers = []
        for pair in (pairs[0], pairs[-1], pairs[0]):
            torch.manual_seed(0)
            answers.append(first_tensor(live.outputs(pair)).detach().clone())
        last = {path: _attributes(module) for path, module in modules.items()}
    finally:
        torch.set_rng_state(state)
        for path, module in modules.items():
            module.__dict__.update(first[path])
    if answers[0].shape == answers[2].shape and torch.equal(answers[0], answers[2]):
        return {}
    changed = {
        path: [name for name in last[path] if not _equal(first[path].get(name), last[path][name])] for path in modules
    }
    return {path: names for path, names in changed.items() if names}


def two_batches(live: Live) -> list[Any]:
    """Two batches of equal length, where there are some."""
    pairs = getattr(live, "pairs", None) or [live.batch()]
    alike = [pair for pair in pairs[:8] if len(pair) == len(pairs[0])]
    return [pairs[0], alike[-1]]


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What a module keeps beside its parameters and buffers: tensors, rows of tensors, and None where one may come."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and _holds(value)}


def _holds(value: Any) -> bool:
    if value is None or isinstance(value, Tensor):
        return True
    return isinstance(value, (tuple, list)) and bool(value) and all(isinstance(item, Tensor) for item in value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one is other
