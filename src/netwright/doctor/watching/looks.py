"""The close looks of the watch: the first steps, then a pair now and then, never more than its share of time."""

import copy
import math
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from netwright.doctor.watching.course import Course
from netwright.doctor.watching.places import NORMS, tensors_in

if TYPE_CHECKING:
    from netwright.doctor.watching.diary import Diary

FIRST = 6
"""Every one of the first steps is looked at."""
EVERY = 50
"""Then two steps in a row, so often."""
SHARE = 0.01
"""Not while the looks have taken more than this share of the time."""
NODES = 20_000
"""A graph is walked so far."""
WALKS = 3
SAMPLE = 4096
"""Elements of a large tensor by which movement is judged."""
GROWN = 10.0
"""A loss that grew so much within 20 steps before it left the range of numbers was driven there by the updates."""
WHOLE = 4_000_000
"""Networks up to so many parameters are compared whole."""


class Looks:
    """What is measured closely: the graph, gradients, movement, random state, hidden state."""

    def __init__(self, diary: "Diary") -> None:
        self.diary = diary
        self.near, self.index, self.count = True, 0, 0
        self.began, self.spent = time.perf_counter(), 0.0
        self.parts = {id(part): name for model in diary.models for name, part in model.named_modules()
                      if isinstance(part, (nn.RNNBase, nn.RNNCellBase))}  # fmt: skip
        self.begin_parameters()
        self.graded: set[int] = set()
        """Tensors that had a gradient at a step."""
        self.nonzero: set[int] = set()
        self.walks = 0
        self.leaves: dict[int, Tensor] = {}
        self.fleeting = 0
        """Leaves of the graph that are parameters of layers which no longer existed a step later."""
        self.previous: list[weakref.ref[Tensor]] = []
        self.carried = 0
        self.executed: list[int] = []
        self.in_graph: set[int] = set()
        self.hook: Any = None
        self.random: tuple[int, Tensor] | None = None
        self.same_random = self.drawn = self.compared = 0
        self.wanted = self.same_first = 0
        """How many of the next batches are kept, to compare the beginnings of epochs."""
        self.firsts: list[Tensor] = []
        self.many_batches = False
        self.reached: set[int] = set()
        self.any_leaf = False
        self.changing: list[Tensor] = []
        self.batches: list[int] = []
        self.hidden: tuple[int, list[tuple[int, int]]] = (-1, [])
        self.carried_values = 0
        self.ratios: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.names: list[str] = []
        self.before: list[Tensor] = []
        self.quiet_parts: list[set[str]] = []

    def begin_parameters(self) -> None:
        """Note every parameter as it is before the first step."""
        self.held = list(self.diary.named.values())  # so that no id is used twice
        self.is_whole = sum(p.numel() for p in self.held) <= WHOLE
        self.start = {id(p): self.print_of(p) for p in self.held}

    def print_of(self, p: Tensor) -> Tensor:
        """The values by which movement is judged: all of a small tensor, every n-th of a large one."""
        flat = p.detach().reshape(-1) if p.layout == torch.strided else p.detach().to_dense().reshape(-1)
        if not self.is_whole and len(flat) > SAMPLE:
            flat = flat[:: len(flat) // SAMPLE]
        return flat.clone()

    def hears(self, module: nn.Module) -> bool:
        return self.near and id(module) in self.parts

    def next_step(self) -> None:
        """Decide whether the coming step is looked at closely."""
        self.index += 1
        due = self.index < FIRST or self.index % EVERY in (0, 1)
        self.near = due and (
            self.index < FIRST
            or self.spent < SHARE * (time.perf_counter() - self.began)
            or (self.index % EVERY == 1 and self.near)
        )

    # forward
    def forward_begins(self, module: nn.Module, training: bool) -> None:
        began = time.perf_counter()
        if training:
            step = self.diary.steps
            state = torch.get_rng_state() if not torch.cuda.is_initialized() else _states()
            if self.random is not None and self.random[0] < step:
                self.same_random += torch.equal(self.random[1], state)
                self.compared += 1
                self.random = (step, state)
            elif self.random is None:
                self.random = (step, state)
            self.current = state
            first = next((t for t in tensors_in(self.diary.given) if t.dim()), None)
            if first is not None:
                self.batches.append(first.shape[0])
            if self.walks < 2 and self.hook is None and not _is_compiled(module):
                self.executed = []
                self.hook = torch.nn.modules.module.register_module_forward_pre_hook(self._executes)
        self.spent += time.perf_counter() - began

    @torch.no_grad()
    def first_batches(self) -> None:
        """Keep a sample of an epoch's first batch: equal samples mean an equal order. The second must differ."""
        self.wanted -= 1
        first = next(iter(tensors_in(self.diary.given)), None)
        if first is None or first.numel() == 0:
            return
        flat = first.detach().reshape(-1)
        kept = flat[:: 1 + len(flat) // SAMPLE].clone()
        if self.wanted == 1:
            self.same_first += bool(self.firsts) and torch.equal(self.firsts[-1], kept)
            self.firsts = [kept]
        elif self.firsts:
            self.many_batches = not torch.equal(self.firsts[-1], kept)

    def _executes(self, module: nn.Module, args: Any) -> None:
        if any(True for _ in module.parameters(recurse=False)):
            self.executed.append(id(module))
            if torch.is_grad_enabled():
                self.in_graph.add(id(module))

    def forward_ends(self, module: nn.Module) -> None:
        self.unhook()
        if self.diary.last_grad and module.training and self.random is not None:
            state = torch.get_rng_state() if not torch.cuda.is_initialized() else _states()
            self.drawn += not torch.equal(state, self.current)

    def unhook(self) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None

    def part_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A recurrent part begins: was its state given out in an earlier step?"""
        given = tensors_in(args[1:]) + tensors_in(kwargs.get("hx"))
        step, known = self.hidden
        if given and step >= 0 and step < self.diary.steps and known:
            self.carried_values += any((t.data_ptr(), t.numel()) in known for t in given if t.grad_fn is None)

    def part_ends(self, module: nn.Module, output: Any) -> None:
        found = tensors_in(output[1] if isinstance(output, tuple) else output)
        self.hidden = (self.diary.steps, [(t.data_ptr(), t.numel()) for t in found])

    # backward
    def backward_begins(self, roots: Sequence[Tensor]) -> None:
        began = time.perf_counter()
        if self.walks < WALKS:
            self.walk(roots)
        self.spent += time.perf_counter() - began

    def walk(self, roots: Sequence[Tensor], last: bool = False) -> None:
        """Go through the graph of a loss: its leaves, and whether it reaches behind the last step.

        Formula: autograd numbers its nodes in the order they were made; a node older than the loss of the last step
        of every optimizer belongs to that step's graph.
        """
        self.walks += 1
        courses = self.diary.courses
        born = min(course.sequence for course in courses) if courses and all(one.steps for one in courses) else -1
        stack: list[Any] = [root.grad_fn for root in roots if root.grad_fn is not None]
        seen: set[Any] = set()
        old = 0
        leaves: list[Tensor] = []
        while stack and len(seen) < NODES:
            node = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)
            if variable is not None:
                leaves.append(variable)
                continue
            old += node._sequence_nr() <= born
            stack += [following for following, _ in node.next_functions]
        self.carried += old > 0
        if not last:
            self._note_leaves(leaves)

    def _note_leaves(self, leaves: list[Tensor]) -> None:
        known = self.diary.owned
        strange = [t for t in leaves if id(t) not in known and isinstance(t, nn.Parameter)]
        gone = [ref for ref in self.previous if ref() is None]
        if self.previous and strange:
            self.fleeting += len(gone)
        self.previous = [weakref.ref(t) for t in strange]
        self.leaves.update({id(t): t for t in leaves if id(t) in known})
        self.reached = {id(t) for t in leaves}
        self.any_leaf = bool(leaves)

    def backward_ends(self) -> None:
        """Gradients may be cleared before the step: they are noted here."""
        self.graded |= {key for key, p in self._owned() if p.grad is not None}

    def _owned(self) -> list[tuple[int, Tensor]]:
        return [(id(p), p) for p in self.diary.named.values()]

    # step
    def step_begins(self, course: Course) -> None:
        began = time.perf_counter()
        self.graded |= {id(p) for p in course.params if p.grad is not None}
        if course is self.diary.courses[0]:
            kept = [(name, p) for name, p in self.diary.named.items()
                    if id(p) in course.ids and p.grad is not None and p.dim() > 1
                    and p.grad.layout == torch.strided]  # fmt: skip
            self.names = [name for name, _ in kept]
            self.changing = [p for _, p in kept]
            self.before = [self.print_of(p) for p in self.changing]
            if kept:
                self.norms.append(torch.stack([p.grad.detach().norm().float() for p in self.changing]))  # type: ignore[union-attr]
        for model in self.diary.models:
            self.quiet_parts.append({path for path, part in self.diary.sensitive[id(model)] if not part.training})
        self.spent += time.perf_counter() - began

    def step_ends(self, course: Course) -> None:
        if course is not self.diary.courses[0] or not self.before:
            return
        began = time.perf_counter()
        moved = [((self.print_of(p) - old).norm() / old.norm().clamp(min=1e-12)).float()
                 for p, old in zip(self.changing, self.before, strict=True)]  # fmt: skip
        if len({one.device for one in moved}) == 1:
            self.ratios.append(torch.stack(moved))
        self.before = []
        self.spent += time.perf_counter() - began

    # the end
    def still(self) -> dict[str, bool]:
        """Which parameters are as they were: True for those that did not move."""
        found = {}
        for name, p in self.diary.named.items():
            old = self.start.get(id(p))
            if old is not None and not isinstance(p, UninitializedParameter):
                new = self.print_of(p)
                found[name] = new.shape == old.shape and new.dtype == old.dtype and bool(
                    ((new == old) | ((new != new) & (old != old))).all()
                )  # fmt: skip
        return found

    # non-finite numbers
    def locate(self, step: int, late: bool = False) -> dict[str, Any]:
        """Where a loss that is not finite comes from: input, weights, forward pass or loss."""
        losses = [value for value in self.diary.losses if math.isfinite(value)]
        found: dict[str, Any] = {
            "backward": step,
            "step": self.diary.steps + 1,
            "stage": "",
            "last losses": losses[-3:],
            "module": "",
        }
        bad = [name for name, p in self.diary.named.items() if not _finite(p)]
        if bad:
            found |= {"stage": "backward" if step > 1 else "weights", "tensors": len(bad), "module": bad[0]}
            return found
        if late:
            return found
        if len(losses) > 2 and abs(losses[-1]) > GROWN * min(abs(value) for value in losses[-20:]):
            found["stage"] = "backward"  # it grew step by step: the numbers ran out of range by the updates
            return found
        inputs, outputs = tensors_in(self.diary.given), tensors_in(self.diary.output)
        if any(not _finite(t) for t in inputs):
            found["stage"] = "input"
        elif outputs and all(_finite(t) for t in outputs):
            found["stage"] = "loss"
        elif outputs:
            found |= {"stage": "forward", "module": self._replay(inputs)}
        return found

    @torch.no_grad()
    def _replay(self, inputs: list[Tensor]) -> str:
        """The first part whose output is not finite, by the same batch through a copy of the network."""
        model = self.diary.models[0]
        first: list[str] = []
        try:
            twin = copy.deepcopy(model)
            for path, part in twin.named_modules():
                part.register_forward_hook(
                    lambda _, __, out, path=path: first.append(path) if not all(map(_finite, tensors_in(out))) else None
                )
            with torch.random.fork_rng(devices=[]):
                twin(*[t.detach() for t in inputs])
        except (RuntimeError, TypeError, ValueError, AttributeError):
            return ""
        return first[0] if first else ""


def _finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.device.type == "meta":
        return True
    return bool(torch.isfinite(tensor.detach()).all())


def _states() -> Tensor:
    return torch.cat([torch.get_rng_state(), *torch.cuda.get_rng_state_all()])


def _is_compiled(module: nn.Module) -> bool:
    return any(hasattr(part, "_orig_mod") for part in module.modules())


def batch_norms(model: nn.Module) -> list[str]:
    """Batch norms that use the numbers of the batch."""
    return [path for path, part in model.named_modules() if isinstance(part, NORMS) and part.training]
