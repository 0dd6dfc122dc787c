"""A subject from a person's own code: any module, loss callable, torch optimizer and iterable of batches."""

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.doctor.ops import Swap, judge_ops, tracing, JUDGES
from netwright.doctor.snapshot import Snapshot, kept
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.task import Task, first_tensor, flat_targets, task_of
from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import permutation

EXAMPLES = 20_000
"""At most so many examples are kept for the examination."""
NUMBERS = 2**26
"""At most so many numbers of inputs: 256 MB of float32."""

Step = Callable[..., Any]
Loss = Callable[[Any, Any], Tensor]


class CodeLive(Live):
    """A branch that trains the person's own objects; the snapshot puts them back."""

    def __init__(self, subject: "CodeSubject", seed: int) -> None:
        self.subject, self.task = subject, subject.task
        self.model, self.loss, self.optimizers = subject.model, subject.loss, [subject.optimizer]
        self.pairs: list[Pair] = list(subject.batches)
        self.own_step: Callable[[Pair], Any] | None = subject.own_step
        self.swaps: dict[tuple[str, int], Swap] = {}
        self.reads: list[Callable[[tuple[Any, ...]], tuple[Any, ...]]] = []
        """What happens to the inputs before the network reads them."""
        self.clip = 0.0
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
        if len(self.order) != len(self.pairs):
            self.order = list(range(len(self.pairs)))
        return self.pairs[self.order[self.steps % len(self.order)]]

    def forward(self, pair: Pair) -> Any:
        inputs = pair.inputs
        for read in self.reads:
            inputs = read(inputs)
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
            return self.judged(self.forward(pair))
        finally:
            for module, mode in modes:
                module.training = mode

    def step(self) -> float:
        pair = self.batch()
        self.steps += 1
        if self.own_step is not None:
            found = self.own_step(pair)
            self.own_loss = found is not None
            return number_of(found)
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

    def without_own_step(self) -> None:
        """Train by the ordinary step: a change of loss or optimizer cannot reach into a step of the person's own."""
        self.own_step = None


class CodeSubject(Subject):
    """See `netwright.examine`."""

    def __init__(
        self, model: nn.Module, loss: Loss, optimizer: Optimizer, batches: Iterable[Any],
        step: Step | None = None, epochs: int | None = None, validation: Iterable[Any] | None = None,
    ) -> None:  # fmt: skip
        _check(model, loss, optimizer)
        self.model, self.loss, self.optimizer, self.given = model, loss, optimizer, batches
        self.keeps = [other for other in (loss,) if isinstance(other, nn.Module)]
        self.generators = _generators(batches)
        with self.untouched():
            place = next((p.device for p in model.parameters()), torch.device("cpu"))
            self.batches, self.epoch = read_batches(batches, place)
            again, _ = read_batches(batches, place, most=min(len(self.batches), 4)) if _rereads(batches) else ([], 0)
            self.shuffles = bool(again) and not all(map(_same, again, self.batches))
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
            with kept([self.model, *self.keeps], [self.optimizer]) as snapshot:
                yield snapshot
        finally:
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

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
        with torch.no_grad():
            outputs = self.model(*pair.inputs)
        try:
            ops = judge_ops(self.loss, outputs, pair.targets)
        except (RuntimeError, ValueError, IndexError, TypeError):
            ops = []
        judge = next((op.name for op in ops if op.name in JUDGES), "")
        targets = torch.cat([flat_targets(other.targets).reshape(len(other), *flat_targets(other.targets).shape[1:])
                             for other in self.batches if _fits(other, pair)])  # fmt: skip
        return judge, task_of(judge, outputs, targets)


def _fits(one: Pair, other: Pair) -> bool:
    return flat_targets(one.targets).shape[1:] == flat_targets(other.targets).shape[1:]


def _check(model: Any, loss: Any, optimizer: Any) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(say("examine: the first argument is a torch.nn.Module, {kind} came", kind=type(model).__name__))
    if not callable(loss):
        raise UsageError(say("examine: the loss is called as loss(outputs, targets), {kind} came", kind=type(loss).__name__))
    if not isinstance(optimizer, Optimizer):
        text = say("examine: the optimizer is one of torch.optim, {kind} came", kind=type(optimizer).__name__)
        raise UsageError(text)


def read_batches(batches: Iterable[Any], place: torch.device, most: int = 0) -> tuple[list[Pair], int]:
    """The first batches on a device, within the limits, and how many an epoch has."""
    if isinstance(batches, (tuple, list)) and len(batches) == 2 and all(isinstance(part, Tensor) for part in batches):
        batches = [tuple(batches)]  # one pair of tensors is one batch
    found: list[Pair] = []
    examples = numbers = 0
    source = copy.copy(batches) if isinstance(batches, Iterator) and not inspect.isgenerator(batches) else batches
    for item in islice(source, most or None):
        pair = pair_of(item, place)
        examples, numbers = examples + len(pair), numbers + first_tensor(pair.inputs[0]).numel()
        if found and (examples > EXAMPLES or numbers > NUMBERS):
            break
        found.append(pair)
    if not found:
        raise UsageError(say("examine: there are no batches; (inputs, targets) pairs are wanted"))
    return found, len(batches) if hasattr(batches, "__len__") else len(found)


def pair_of(item: Any, place: torch.device) -> Pair:
    """A batch as people write it: (inputs, targets), (inputs, ..., targets), or a table with its targets named."""
    if isinstance(item, Mapping):
        names = [name for name in ("targets", "target", "labels", "label", "y") if name in item]
        if not names:
            text = say("examine: a batch is a table without targets; its names are {names}", names=", ".join(map(str, item)))
            raise UsageError(text)
        rest = tuple(_on(value, place) for name, value in item.items() if name != names[0])
        return Pair(rest, _on(item[names[0]], place))
    if isinstance(item, Tensor):
        return Pair((_on(item, place),), _on(item, place))  # an autoencoder's batches are inputs alone
    if not isinstance(item, Sequence) or len(item) < 2:
        raise UsageError(say("examine: a batch is (inputs, targets), {kind} came", kind=type(item).__name__))
    return Pair(tuple(_on(part, place) for part in item[:-1]), _on(item[-1], place))


def _on(value: Any, place: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(place)
    return torch.as_tensor(value).to(place) if type(value).__module__ == "numpy" or isinstance(value, (list, int, float)) else value


def _rereads(batches: Any) -> bool:
    return not isinstance(batches, Iterator)


def _same(one: Pair, other: Pair) -> bool:
    a, b = first_tensor(one.inputs[0]), first_tensor(other.inputs[0])
    return a.shape == b.shape and bool(torch.equal(a, b))


def _generators(batches: Any) -> list[torch.Generator]:
    """The generators that a loader draws from: reading it must leave them where they stood."""
    sampler = getattr(batches, "sampler", None)
    found = [getattr(owner, "generator", None) for owner in (batches, sampler, getattr(batches, "batch_sampler", None))]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


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
    wanted = [p for p in signature.parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(wanted) == 2:
        return lambda pair: step(pair.inputs[0] if len(pair.inputs) == 1 else pair.inputs, pair.targets)
    if len(wanted) == 3:
        return lambda pair: step(model, optimizer, (*pair.inputs, pair.targets))
    if len(wanted) == 4:
        return lambda pair: step(model, loss, optimizer, (*pair.inputs, pair.targets))
    if len(wanted) == 5:
        return lambda pair: step(model, loss, optimizer, pair.inputs[0], pair.targets)
    if len(wanted) > 5:
        text = say("examine: step takes (batch), (inputs, targets) or (model, loss, optimizer, batch); this one wants {count}",
                   count=len(wanted))  # fmt: skip
        raise UsageError(text)
    return lambda pair: step((*pair.inputs, pair.targets))
