"""A subject from a person's own code: any module, loss callable, torch optimizer and iterable of batches."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.utils.data import Dataset, IterableDataset

from netwright.doctor.ops import JUDGES, Swap, judge_ops, tracing
from netwright.doctor.reading import generators, read_batches, rereads, same
from netwright.doctor.snapshot import CHANGING, Snapshot, carried, kept
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.task import Task, first_tensor, flat_targets, task_of
from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import permutation
from netwright.training.launch import SMALL_STEP

Step = Callable[..., Any]
Loss = Callable[[Any, Any], Tensor]


class CodeLive(Live):
    """A branch that trains the person's own objects; the snapshot puts them back."""

    def __init__(self, subject: "CodeSubject", seed: int) -> None:
        self.subject, self.task, self.seed = subject, subject.task, seed
        self.model, self.loss, self.optimizers = subject.model, subject.loss, [subject.optimizer]
        self.pairs: list[Pair] = list(subject.batches)
        self.own_step: Callable[[Pair], Any] | None = subject.own_step
        self.swaps: dict[tuple[str, int], Swap] = {}
        self.reads: list[Callable[[tuple[Any, ...]], tuple[Any, ...]]] = []
        """What happens to the inputs before the network reads them."""
        self.clip = 0.0
        self.reorders = subject.shuffles
        """Whether every epoch has an order of its own."""
        self.given: Pair | None = None
        """The batch to take next, where somebody else deals them."""
        self.extras = ExitStack()
        self.extra_parameters: list[nn.Parameter] = []
        self.judged: Callable[[Any], Any] = lambda outputs: outputs
        """What turns outputs into answers of the task, where a change rescaled the targets."""
        order = permutation(len(self.pairs), "doctor", seed).tolist() if seed and subject.shuffles else None
        self.order = order or list(range(len(self.pairs)))
        if seed and not order and len(self.pairs) > 1:
            start = seed % len(self.pairs)
            self.order = self.order[start:] + self.order[:start]

    def batch(self) -> Pair:
        if self.given is not None:
            return self.given
        if len(self.order) != len(self.pairs):
            self.order = list(range(len(self.pairs)))
        epoch, place = divmod(self.steps, len(self.order))
        if place == 0 and epoch and self.reorders:
            self.order = permutation(len(self.pairs), "doctor", self.seed, epoch).tolist()
        return self.pairs[self.order[place]]

    def forward(self, pair: Pair) -> Any:
        inputs = self._read(pair.inputs)
        if not self.swaps:
            return self.model(*inputs)
        with tracing(self.model, swaps=self.swaps, keep=False):
            return self.model(*inputs)

    def loss_on(self, pair: Pair) -> Tensor:
        return scalar(self.loss(self.forward(pair), pair.targets))

    @torch.no_grad()
    def outputs(self, pair: Pair) -> Any:
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            return self.judged(self.subject.chosen(self.forward(pair)))
        finally:
            for module, mode in modes:
                module.training = mode

    def step(self) -> float:
        pair = self.batch()
        self.steps += 1
        if self.own_step is not None:
            found = self._by_own_step(pair)
            self.own_loss = found is not None
            return number_of(found)
        if any(isinstance(optimizer, LBFGS) for optimizer in self.optimizers):
            return self._by_closure(pair)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.loss_on(pair)
        if loss.requires_grad:
            loss.backward()
        if self.clip:
            nn.utils.clip_grad_norm_(list(self.parameters.values()), self.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        value = loss.item()
        return value if math.isfinite(value) else math.nan

    def _by_closure(self, pair: Pair) -> float:
        """A step of an optimizer that asks for the loss again and again."""
        losses: list[float] = []

        def closure() -> Tensor:
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss = self.loss_on(pair)
            losses.append(loss.item())
            loss.backward()
            return loss

        for optimizer in self.optimizers:
            optimizer.step(closure)  # type: ignore[arg-type]
        return losses[0] if math.isfinite(losses[0]) else math.nan

    def _by_own_step(self, pair: Pair) -> Any:
        """The person's own step, with what is changed about the network's inputs and operations."""
        assert self.own_step is not None
        with ExitStack() as inside:
            if self.reads:
                hook = self.model.register_forward_pre_hook(lambda _, given: self._read(given))
                inside.callback(hook.remove)
            if self.swaps:
                inside.enter_context(tracing(self.model, swaps=self.swaps, keep=False))
            return self.own_step(pair)

    def _read(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        for read in self.reads:
            inputs = read(inputs)
        return inputs

    def without_own_step(self) -> None:
        """Train by the ordinary step: a change of loss or optimizer cannot reach into a step of the person's own."""
        self.own_step = None


class CodeSubject(Subject):
    """See `netwright.examine`."""

    def __init__(
        self, model: nn.Module, loss: Loss, optimizer: Optimizer, batches: Iterable[Any],
        step: Step | None = None, epochs: int | None = None, validation: Iterable[Any] | None = None,
    ) -> None:  # fmt: skip
        _check(model, loss, optimizer, batches, epochs)
        self.model, self.loss, self.optimizer, self.given = model, loss, optimizer, batches
        self.entry: Any = None
        """Of a network with several outputs: the one that the loss reads."""
        others = [other for other in (loss, *(carried(step) if step is not None else ())) if other is not optimizer]
        self.keeps = [other for other in others if isinstance(other, nn.Module) and other is not model]
        self.steppers = [other for other in others if isinstance(other, Optimizer)]
        self.turning = [other for other in others if isinstance(other, CHANGING)]
        self.generators = generators(batches)
        with self.untouched():
            place = next((p.device for p in model.parameters()), torch.device("cpu"))
            self.batches, self.epoch = read_batches(batches, place)
            again, _ = read_batches(batches, place, most=min(len(self.batches), 4)) if rereads(batches) else ([], 0)
            self.shuffles = bool(again) and not all(map(same, again, self.batches))
            self.again: Sequence[Pair] = again
            self.validation = read_batches(validation, place)[0] if validation is not None else []
            self.own_step = _step(step, model, loss, optimizer) if step is not None else None
            self.total = (epochs or 0) * self.epoch
            self.judge, self.task = self._asked()

    @contextmanager
    def untouched(self) -> Iterator[Snapshot]:
        """Within, anything may be done to the person's objects."""
        states = [generator.get_state() for generator in self.generators]
        try:
            with kept([self.model, *self.keeps], [self.optimizer, *self.steppers], self.turning) as snapshot:
                if self.is_small:
                    torch.set_num_threads(1)
                yield snapshot
        finally:
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

    @cached_property
    def is_small(self) -> bool:
        """Whether a step is so small that several threads would wait for each other more than they bring."""
        weights = sum(p.numel() for p in self.model.parameters())
        pictures = any(isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for module in self.model.modules())
        examples = len(self.batches[0]) if getattr(self, "batches", None) else 64
        return weights * examples * (20 if pictures else 1) < SMALL_STEP

    @contextmanager
    def live(self, changes: Sequence[Change] = (), seed: int = 0) -> Iterator[Live]:
        with self.untouched():
            if seed:
                torch.manual_seed(seed)
            branch = CodeLive(self, seed)
            with branch.extras:
                for change in changes:
                    if change.apply is not None:
                        change.apply(branch)
                yield branch

    def _asked(self) -> tuple[str, Task]:
        """The loss's name and the task, from one batch; the person's mistake here is said with its shapes."""
        pair = self.batches[0]
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outputs = self.model(*pair.inputs)
        except (RuntimeError, ValueError, IndexError, TypeError):  # said by the first step: see `first_call`
            return "", Task("other", 0, "numbers")
        try:
            ops = judge_ops(self.loss, outputs, pair.targets)
        except (RuntimeError, ValueError, IndexError, TypeError):
            ops = []
        heard = next((op for op in ops if op.name in JUDGES), None)
        judge = heard.name if heard is not None else ""
        if heard is not None and isinstance(outputs, (dict, tuple, list)):
            self.entry = _entry(outputs, heard.inputs[0])
        outputs = self.chosen(outputs)
        targets = torch.cat([flat_targets(other.targets).reshape(len(other), *flat_targets(other.targets).shape[1:])
                             for other in self.batches if _fits(other, pair)])  # fmt: skip
        task = task_of(judge, outputs, targets)
        if task.form == "binary" and not judge and not self._agrees(task, outputs, pair.targets):
            return judge, Task("other", 0, "numbers")
        if task.kind == "numbers" and not self._hits(judge, outputs, pair.targets):
            return judge, Task("other", 0, "numbers")
        return judge, task

    def chosen(self, outputs: Any) -> Any:
        """Of several outputs the one that the loss reads."""
        return outputs if self.entry is None else outputs[self.entry]

    def _agrees(self, task: Task, outputs: Any, targets: Any) -> bool:
        """Whether a loss by hand wants large outputs for the upper class: distances want the opposite."""
        o, up = first_tensor(outputs), task.truth(targets)
        if o.numel() != up.numel():
            return False
        good = (2 * up - 1).reshape(o.shape).to(o.dtype)
        try:
            with torch.no_grad():
                right, wrong = (scalar(self.loss(sign * good, targets)) for sign in (1, -1))
                return not bool(0 <= wrong <= right)  # below zero: a likelihood with its sign flipped
        except (RuntimeError, ValueError, IndexError, TypeError, UsageError):
            return True

    def _hits(self, judge: str, outputs: Any, targets: Any) -> bool:
        """Whether outputs are meant to equal the targets: those of a rate's logarithm, or of a mean beside a variance,
        are not. A loss that falls the farther they are has its sign flipped, and means them all the same."""
        o, y = first_tensor(outputs), flat_targets(targets)
        if judge:
            return judge not in ("poisson_nll_loss", "gaussian_nll_loss", "kl_div")
        if o.numel() != y.numel() or not y.is_floating_point() or len(y) < 2:
            return o.numel() == y.numel()
        mean, spread = y.mean(0, keepdim=True).expand_as(y), y.std() + 1e-6
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = (y, mean, mean + 10 * spread)
                best, middle, far = (scalar(self.loss(one.to(o.dtype), targets)) for one in given)
        except (RuntimeError, ValueError, IndexError, TypeError, UsageError):
            return True
        return not bool(best > middle) or bool(far < middle)  # a loss that is no number there tells nothing


def _entry(outputs: Any, read: Any) -> Any:
    """The name or place of the output that is this tensor."""
    named = outputs.items() if isinstance(outputs, dict) else enumerate(outputs)
    return next((name for name, value in named if value is read), None)


def _fits(one: Pair, other: Pair) -> bool:
    return flat_targets(one.targets).shape[1:] == flat_targets(other.targets).shape[1:]


def _check(model: Any, loss: Any, optimizer: Any, batches: Any, epochs: Any) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(
            say("examine: the first argument is a torch.nn.Module, {kind} came", kind=type(model).__name__)
        )
    if not callable(loss):
        raise UsageError(
            say("examine: the loss is called as loss(outputs, targets), {kind} came", kind=type(loss).__name__)
        )
    if not isinstance(optimizer, Optimizer):
        text = say("examine: the optimizer is one of torch.optim, {kind} came", kind=type(optimizer).__name__)
        raise UsageError(text)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise UsageError(say("examine: the network has lazy layers without a size; call it once on a batch first"))
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise UsageError(say("examine: epochs = {epochs!r}; it is a whole number from 1 on", epochs=epochs))
    if isinstance(batches, Dataset) and not isinstance(batches, IterableDataset):
        text = "examine: {kind} gives single examples; a loader makes batches of them: DataLoader(data, batch_size=32)"
        raise UsageError(say(text, kind=type(batches).__name__))


def scalar(value: Any) -> Tensor:
    """A loss as one number: a person's loss may give one value an example."""
    if not isinstance(value, Tensor):
        raise UsageError(say("examine: the loss gave {kind}, not a tensor", kind=type(value).__name__))
    return value if value.dim() == 0 else value.mean()


def number_of(value: Any) -> float:
    """A step's own loss as a float; NaN where it is not finite or the step gave none."""
    found = value[0] if isinstance(value, (tuple, list)) and value else value
    if isinstance(found, Tensor):
        found = found.detach().float().mean().item()
    return float(found) if isinstance(found, (int, float)) and math.isfinite(found) else math.nan


def _step(step: Step, model: nn.Module, loss: Loss, optimizer: Optimizer) -> Callable[[Pair], Any]:
    """A person's step, by how many arguments it wants: (batch), (inputs, targets), (model, optimizer, batch) or
    (model, loss, optimizer, batch)."""
    try:
        signature = inspect.signature(step)
    except (TypeError, ValueError):
        return lambda pair: step((*pair.inputs, pair.targets))
    wanted = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(wanted) == 2:
        return lambda pair: step(pair.inputs[0] if len(pair.inputs) == 1 else pair.inputs, pair.targets)
    if len(wanted) == 3:
        return lambda pair: step(model, optimizer, (*pair.inputs, pair.targets))
    if len(wanted) == 4:
        return lambda pair: step(model, loss, optimizer, (*pair.inputs, pair.targets))
    if len(wanted) == 5:
        return lambda pair: step(model, loss, optimizer, pair.inputs[0], pair.targets)
    if len(wanted) > 5:
        forms = "(batch), (inputs, targets), (model, optimizer, batch), (model, loss, optimizer, batch)"
        raise UsageError(say("examine: step takes {forms}; this one wants {count}", forms=forms, count=len(wanted)))
    return lambda pair: step((*pair.inputs, pair.targets))
