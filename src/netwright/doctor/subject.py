"""What the doctor examines, and one branch of it that trains: the same whether it came as a recipe or as code."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.doctor.task import Task, first_tensor, flat_targets, shares_of, skill_of
from netwright.recipe import Recipe


@dataclass(frozen=True)
class Pair:
    """Some examples: what the network is called with, and their targets."""

    inputs: tuple[Any, ...]
    targets: Any
    source: Any = None
    """The recipe's own batch, where it came from one."""

    def __len__(self) -> int:
        found = flat_targets(self.targets)
        return len(found) if found.dim() else 1


@dataclass(frozen=True)
class Change:
    """One thing changed in a branch. A recipe takes `patch`; code is changed in place by `apply` and undone after."""

    name: str
    """A short name, such as `rate x 0.1`."""
    why: str
    """Why it should help, in a sentence for people."""
    patch: dict[str, Any]
    """Recipe keys and values; for code `{"code": "what to write"}`."""
    apply: "Callable[[Live], None] | None" = field(default=None, compare=False)
    cost: float = 1.0
    """Time of a step with it, as a multiple."""


def possible(*found: Change | None) -> list[Change]:
    """The changes that can be made here, one of each name."""
    return list({change.name: change for change in reversed(found) if change is not None}.values())[::-1]


@dataclass(frozen=True)
class StepMeasure:
    """One step, measured on its own batch before and after."""

    loss: float
    after: float
    """The loss of the same batch after the step."""
    q: float
    """The line quotient <g(w + dw), dw> / <g(w), dw>: 1 the step is far too short, 0 it ends in the minimum along its
    line, below -1 it left the batch worse off than before (for a quadratic). NaN where nothing moved."""
    norm: float
    """The norm of the gradient."""
    updates: dict[str, float]
    """By parameter: |dw| / |w|."""
    gradients: dict[str, float]
    """By parameter: the root of the mean squared gradient."""


Scored = tuple[float, Float[Tensor, "examples"] | None]
"""A skill, and what each example adds to it."""


class Live(ABC):
    """One branch: a network that trains step by step from the subject's own state."""

    model: nn.Module
    optimizers: list[Optimizer]
    task: Task
    steps: int = 0
    own_loss: bool = True
    """Whether `step` tells the loss: a step of the person's own may keep it to itself."""

    @abstractmethod
    def batch(self) -> Pair:
        """The batch that the next step will take."""

    @abstractmethod
    def step(self) -> float:
        """One training step on the next batch; its loss before the step (NaN where it is not finite)."""

    @abstractmethod
    def forward(self, pair: Pair) -> Any:
        """The network's outputs in the present mode, as the loss gets them."""

    @abstractmethod
    def loss_on(self, pair: Pair) -> Tensor:
        """The loss of a batch, differentiable, in the present mode."""

    @abstractmethod
    def outputs(self, pair: Pair) -> Any:
        """The network's outputs in use: evaluation mode, no gradients."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The network's parameters that ask for gradients, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def run(self, steps: int) -> list[float]:
        """Train; the loss of each step. It ends early where the loss is no number."""
        losses: list[float] = []
        for _ in range(steps):
            losses.append(self.step())
            if losses[-1] != losses[-1]:
                break
        return losses

    def skill(self, pairs: Sequence[Pair], sigmoid: bool = False) -> float:
        """How well it answers these examples, from 0 (the best constant answer) to 1; see `Task.skill`."""
        return self.scored(pairs, sigmoid)[0]

    def scored(self, pairs: Sequence[Pair], sigmoid: bool = False) -> Scored:
        """The skill on these examples, and what each adds to it; None where that is not one answer an example."""
        if not pairs or not self.task.is_judged:
            return float("nan"), None
        truth = torch.cat([self.task.truth(pair.targets) for pair in pairs]).cpu()
        answers = torch.cat([self.task.answers(self.outputs(pair), sigmoid) for pair in pairs]).cpu()
        single = answers.numel() == truth.numel() and not (self.task.kind == "classes" and bool((truth < 0).any()))
        shares = shares_of(self.task.kind, truth, answers) if single else None
        return skill_of(self.task.kind, truth, answers), shares

    def gradient(self, pair: Pair) -> tuple[float, dict[str, Tensor]]:
        """Loss and gradients of a batch; nothing that a step would see is touched (buffers, random numbers, `grad`)."""
        with untouched(self.model):
            loss = self.loss_on(pair)
            own = self.parameters
            if not loss.requires_grad:
                return loss.item(), {}
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        wide = [g.to_dense() if g is not None and g.is_sparse else g for g in found]
        kept = {name: g.detach() for name, g in zip(own, wide, strict=True) if g is not None}
        return loss.item(), kept

    def measured_step(self) -> StepMeasure:
        """One training step, measured on the same batch before and after: the line quotient and every update."""
        pair = self.batch()
        before, first = self.gradient(pair)
        rewind = torch.get_rng_state()
        old = {name: p.detach().clone() for name, p in self.parameters.items()}
        loss = self.step()
        own, ahead = self.parameters, torch.get_rng_state()
        moved = {name: own[name].detach() - old[name] for name in old if name in own}
        torch.set_rng_state(rewind)
        after, second = self.gradient(pair)
        torch.set_rng_state(ahead)
        shared = [name for name in moved if name in first and name in second]
        d0 = sum((first[name] * moved[name]).sum().item() for name in shared)
        d1 = sum((second[name] * moved[name]).sum().item() for name in shared)
        norm = sum(g.square().sum().item() for g in first.values()) ** 0.5
        updates = {name: (dw.norm() / old[name].norm().clamp(min=1e-12)).item() for name, dw in moved.items()}
        sizes = {name: g.square().mean().sqrt().item() for name, g in first.items()}
        q = d1 / d0 if d0 else float("nan")
        return StepMeasure(loss if loss == loss else before, after, q, norm, updates, sizes)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Within, forward passes leave running statistics and torch's random numbers as they were."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
        with torch.no_grad():
            for buffer, old in buffers:
                buffer.copy_(old)


class Subject(ABC):
    """What is examined. Every `live` starts from the same state; after it all is as before, bit for bit."""

    task: Task
    recipe: Recipe | None = None
    """The recipe, where it is one: changes are patches then."""
    batches: Sequence[Pair]
    """The batches of an epoch, in order; many are cut to what a short examination reads."""
    validation: Sequence[Pair] = ()
    total: int
    """The steps of the whole training; 0 where nobody said."""
    epoch: int
    """The steps of a whole epoch."""
    recorded: float = float("nan")
    """The skill of a training of it that is over, where there is a record."""
    keeps_best: bool = False
    """Whether the training ends with the weights of its best epoch on validation examples."""
    shuffles: bool = True
    """Whether the order of examples changes from epoch to epoch."""

    @abstractmethod
    def live(self, changes: Sequence[Change] = (), seed: int = 0) -> AbstractContextManager[Live]:
        """A branch with these changes made. `seed` 0 is the person's own order; others draw another one."""

    @property
    def examples(self) -> int:
        return sum(len(pair) for pair in self.batches)

    def sample(self, most: int = 512) -> list[Pair]:
        """The first batches, up to about `most` examples."""
        found: list[Pair] = []
        for pair in self.batches:
            if found and sum(map(len, found)) >= most:
                break
            found.append(pair)
        return found

    def numbers(self, most: int = 20_000) -> Tensor | None:
        """The first input as one tensor of floats (examples, ...); None for tokens and unequal shapes."""
        found = [first_tensor(pair.inputs[0]) for pair in self.sample(most)]
        if not found or not found[0].is_floating_point() or len({tuple(x.shape[1:]) for x in found}) > 1:
            return None
        return torch.cat(found).detach()

    def targets(self, most: int = 20_000) -> Tensor:
        """The targets of the same examples, as they came."""
        return torch.cat([flat_targets(pair.targets) for pair in self.sample(most)]).detach()
