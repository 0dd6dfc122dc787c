"""What happens in a training loop, call by call: the cheap part of the watch, on every step."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer, lr_scheduler

from netwright.doctor.watching.course import Course
from netwright.doctor.watching.looks import FIRST, Looks
from netwright.doctor.watching.places import NORMS, draws, tensors_in

KEPT = 50
"""Losses on an accelerator are read together, so many steps at a time."""
SHARED = ("Div", "Mul")
"""Names of autograd's nodes that end a divided loss."""
MEANS = ("Mean", "NllLoss", "MseLoss", "BinaryCrossEntropy", "SmoothL1", "HuberLoss")


class Diary:
    """Hears every call that matters and writes down what it means; `Looks` looks closer now and then."""

    def __init__(self, models: list[nn.Module], optimizers: list[Optimizer], schedulers: list[Any], loss: Any) -> None:
        self.models, self.schedulers, self.loss = models, schedulers, loss
        self.ids = {id(model) for model in models}
        self.courses = [Course(optimizer) for optimizer in optimizers]
        self.named = dict(named_parameters(models))
        self.owned = {id(p) for p in self.named.values()}
        self.sensitive = {id(model): draws(model) for model in models}
        self.other_params: set[int] = set()
        self.depth = 0
        self.forwards = self.backwards = self.steps = 0
        self.since_backward = self.since_step = 0
        """Forward passes that build graphs since the last backward; of any kind since the last step."""
        self.ever_stepped = False
        self.last_output: bool | None = None
        """Whether the last output of the network has a graph."""
        self.last_grad = True
        self.last_training: dict[int, bool] = {}
        self.given: Any = None
        self.output: Any = None
        self.by_call = False
        self.before: list[tuple[Tensor, int] | None] = []
        self.quiet = {True: 0, False: 0}
        """Forward passes without gradients, by training mode."""
        self.quiet_runs = 0
        """Those in train mode that followed another one with no backward between."""
        self.quiet_in_row = 0
        self.quiet_steps: set[int] = set()
        self.runs: list[tuple[int, int]] = []
        """(forward passes that build graphs before a backward, step)."""
        self.eval_extra = 0
        """Forward passes in eval mode that build graphs no backward uses."""
        self.eval_since_backward = 0
        self.train_mode = True
        self.modes: list[bool] = []
        """Per step: whether the network was in train mode."""
        self.seen: dict[str, int] = {}
        self.losses: list[float] = []
        self.pending: list[Tensor] = []
        self.unscaled: tuple[int, Tensor] | None = None
        self.scalers = 0
        self.first_bad: dict[str, Any] | None = None
        self.sequence = -1
        self.epochs: list[int] = []
        self.epochs_from = ""
        self.iterating: Any = None
        self.batches_per_epoch = 0
        self.divided: bool | None = None
        self.looks = Looks(self)
        self.is_lazy = any(isinstance(p, UninitializedParameter) for model in models for p in model.parameters())

    def refresh(self) -> None:
        """Lazy parameters have their sizes now."""
        self.named = dict(named_parameters(self.models))
        self.owned = {id(p) for p in self.named.values()}
        self.looks.begin_parameters()

    def count(self, what: str, by: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + by

    def times(self, what: str) -> int:
        return self.seen.get(what, 0)

    # forward
    def hears(self, module: nn.Module) -> bool:
        return id(module) in self.ids or self.looks.hears(module)

    def forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.looks.near and id(module) in self.looks.parts:
            self.looks.part_begins(module, args, kwargs)
        if id(module) not in self.ids:
            return
        self.depth += 1
        if self.depth > 1:
            return
        training, grad = module.training, torch.is_grad_enabled()
        # held until backward begins, as the graph holds them: only then can a non-finite loss be traced
        self.given, self.output = (args, kwargs) if grad and training else None, None
        self.last_training[id(module)], self.last_grad = training, grad
        self.since_step += 1
        if grad:
            self.forwards += 1
            self.since_backward += 1
            self.eval_since_backward += not training
        elif not (training and self._counts_anew(module)):
            self.quiet[training] += 1
            if training:
                self.quiet_runs += self.quiet_in_row > 0
                self.quiet_in_row += 1
                self.quiet_steps.add(self.steps)
        if training and grad and self.looks.wanted:
            self.looks.first_batches()
        if self.looks.near:
            self.looks.forward_begins(module, training and grad)

    def _counts_anew(self, module: nn.Module) -> bool:
        """Whether batch norms are computing their statistics anew, as `update_bn` does: then train mode is right."""
        return any(isinstance(part, NORMS) and part.momentum is None for _, part in self.sensitive[id(module)])

    def forward_ends(self, module: nn.Module, output: Any) -> None:
        if self.looks.near and id(module) in self.looks.parts:
            self.looks.part_ends(module, output)
        if id(module) not in self.ids:
            return
        self.depth -= 1
        if self.depth == 0:
            if self.is_lazy:
                self.is_lazy = False
                self.refresh()
            self.output = output if self.last_grad and module.training else None
            if self.looks.near:
                self.looks.forward_ends(module)

    # backward
    def backward_begins(self, roots: Sequence[Tensor]) -> None:
        near = self.looks.near
        for course in self.courses:
            course.backward_begins(near)
        if len(self.courses) == 1 and self.forwards and self.ever_stepped and not self.since_step:
            self.count("backward after step")
        if not roots:
            return
        self._note_mode()
        root = roots[0]
        node = root.grad_fn
        if node is None and root.is_leaf and not any(root is p for p in self.named.values()):
            self.count("loss without graph")
            found = tensors_in(self.output)
            self.last_output = bool(found) and found[0].requires_grad
        self._note_loss(root, node)
        self.given = self.output = None
        if node is not None:
            if near:
                self.looks.backward_begins(roots)
            self.sequence = max(self.sequence, node._sequence_nr())

    def _note_mode(self) -> None:
        """How many forward passes led to this backward, and in which mode."""
        self.train_mode = any(self.last_training.get(id(model), model.training) for model in self.models)
        if self.train_mode:
            self.since_backward -= self.eval_since_backward
            self.eval_extra += self.eval_since_backward
        self.runs.append((self.since_backward, self.steps))
        self.since_backward = self.eval_since_backward = self.quiet_in_row = 0

    def _note_loss(self, root: Tensor, node: Any) -> None:
        if self.unscaled is not None:
            if self.unscaled[0] == id(root):
                root = self.unscaled[1]
                node = root.grad_fn
            self.unscaled = None
        if self.looks.near and node is not None:
            kind = node.name()
            self.divided = True if kind.startswith(SHARED) else False if kind.startswith(MEANS) else self.divided
        if root.is_cpu:
            if root.numel() != 1:
                return
            number = root.item()
            self.losses.append(number)
            if self.first_bad is None and not isfinite(number):
                self.first_bad = self.looks.locate(len(self.losses))
        elif root.numel() == 1 and not root.is_complex() and not root.is_meta:
            self.pending.append(root.detach().reshape(()).float())
            if len(self.pending) >= KEPT:
                self.flush()

    def flush(self) -> None:
        """Read the losses that wait on an accelerator: one wait for all."""
        if not self.pending:
            return
        for number in torch.stack([one.to(self.pending[0].device) for one in self.pending]).tolist():
            self.losses.append(number)
            if self.first_bad is None and not isfinite(number):
                self.first_bad = self.looks.locate(len(self.losses), late=True)
        self.pending = []

    def backward_fails(self, roots: Sequence[Tensor], error: RuntimeError) -> None:
        text = str(error)
        if "does not require grad" in text:
            self.count("loss without graph")
        if "modified by an inplace operation" in text:
            self.count("weights changed before backward")
        if "second time" in text:
            self.count("second backward")
            self.looks.walk(roots, last=True)

    def backward_ends(self) -> None:
        self.backwards += 1
        near = self.looks.near
        for course in self.courses:
            course.backward_ends(near)
        if self.iterating is not None:
            self.epochs.append(self.steps)
            self.batches_per_epoch = max(self.batches_per_epoch, size_of(self.iterating))
            self.iterating, self.epochs_from = None, "loader"
        if self.looks.near:
            self.looks.backward_ends()

    # gradients
    def zero_begins(self) -> None:
        if self.looks.near or not self.by_call:
            self.before = [course.state() for course in self.courses]

    def zero_ends(self, owner: Any) -> None:
        for index, course in enumerate(self.courses):
            lost = course.fresh
            if self.looks.near or not self.by_call:
                course.zero_ends(self.before[index] if index < len(self.before) else None, owner)
            elif owner is course.optimizer or not isinstance(owner, Optimizer):
                course.clear()
            if lost and not course.fresh:
                course.count("dropped", lost)
                course.count("drops")

    def clips(self, parameters: Sequence[Tensor]) -> None:
        first = next((p for p in parameters if isinstance(p, Tensor)), None)
        for course in self.courses:
            if first is None or id(first) not in course.ids:
                continue
            course.count("clips")
            if course.scaled and self.scalers:
                course.count("clip before unscale")
            elif course.fresh == 0 and course.probe is not None and course.steps:
                course.count("clip without new gradient")
                course.count("clip after step" if course.stale and not self.since_step else "clip before backward")
            elif course.probe is None:
                course.count("clip before backward")

    def scales(self, scaler: Any, outputs: Any, result: Any) -> None:
        if not scaler.is_enabled():
            return
        if isinstance(outputs, Tensor):
            self.unscaled = (id(result), outputs)
        self.scalers += 1
        for course in self.courses:
            course.scaled = True

    def unscales(self, scaler: Any) -> None:
        for course in self.courses:
            course.scaled = False
        self.count("scaler steps")

    # steps
    def step_begins(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        course = self.course(optimizer)
        if course is None:
            self.other_params |= {id(p) for group in optimizer.param_groups for p in group["params"]}
            return None
        if self.looks.near:
            self.looks.step_begins(course)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            course.step_begins(self.backwards, self.since_backward, self.looks.near)
            return None
        wrapped = course.closure(closure)
        return ((args[0], wrapped, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": wrapped})

    def step_ends(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        course = self.course(optimizer)
        if course is None:
            return
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is not None:
            course.step_begins(self.backwards, self.since_backward) if not course.stale else None
        course.step_ends(self.backwards, self.sequence, self.looks.near)
        if course is self.courses[0]:
            self.steps += 1
            self.modes.append(self.train_mode)
        self.ever_stepped, self.since_step = True, 0
        if self.looks.near:
            self.looks.step_ends(course)
        if course is self.courses[0]:
            self.looks.next_step()
            if self.looks.index <= FIRST or self.looks.near:
                self.by_call = all(one.by_call for one in self.courses)

    def course(self, optimizer: Optimizer) -> Course | None:
        """The course of an optimizer; one made inside the block joins if it holds tensors of the network."""
        for course in self.courses:
            if course.optimizer is optimizer:
                if len(course.ids) != sum(len(group["params"]) for group in optimizer.param_groups):
                    course.refresh()
                return course
        own = self.owned | {id(p) for _, p in named_parameters(self.models)}
        if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            return None
        course = Course(optimizer, given=False)
        course.backward_ends(True)
        self.by_call = False
        replaces = not self.courses or bool(course.ids & self.courses[0].ids)
        self.courses.insert(0 if replaces else len(self.courses), course)
        return course

    def schedules(self, scheduler: Any) -> None:
        if getattr(scheduler, "_is_initial", False):
            return
        if isinstance(scheduler, (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler)):
            return  # its parts are heard
        optimizer = getattr(scheduler, "optimizer", None)
        for course in self.courses:
            if course.optimizer is not optimizer:
                continue
            course.scheduled += 1
            course.scheduler = scheduler
            first = getattr(scheduler, "_step_count", 1) <= 1 and not getattr(optimizer, "_opt_called", False)
            if course.steps == 0 and first and not self.times("scaler steps") and course.scheduled == 1:
                course.count("scheduled before step")

    def iterates(self, loader: Any) -> None:
        if self.epochs_from in ("", "loader"):
            self.iterating = loader
            self.looks.wanted = 2

    def epoch(self) -> None:
        """A new epoch begins, says the person."""
        if self.epochs_from != "person":
            self.epochs, self.epochs_from = [], "person"
        self.epochs.append(self.steps)
        self.looks.wanted = 2


def named_parameters(models: list[nn.Module]) -> list[tuple[str, Tensor]]:
    """Every parameter once, by its path; the number of the network stands in front where there are several."""
    found = [
        (name if len(models) == 1 else f"{index}.{name}", p)
        for index, model in enumerate(models)
        for name, p in model.named_parameters()
        if not isinstance(p, UninitializedParameter)
    ]
    seen: set[int] = set()
    return [(name, p) for name, p in found if not (id(p) in seen or seen.add(id(p)))]  # type: ignore[func-returns-value]


def size_of(loader: Any) -> int:
    """Batches per epoch, 0 where the loader does not know."""
    try:
        return len(loader)
    except TypeError:
        return 0
