"""What one optimizer does, in order: gradients made, cleared, clipped, used."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Course:
    """The state of one optimizer between two of its steps, and what was seen of all of them.

    Formula: a gradient is stale if its tensor and that tensor's version are those left by the last step; nobody has
    cleared it. Only one small gradient (the probe) is looked at, without reading its numbers.
    """

    def __init__(self, optimizer: Optimizer, given: bool = True) -> None:
        self.optimizer, self.given = optimizer, given
        self.params: list[Tensor] = []
        self.ids: set[int] = set()
        self.refresh()
        self.probe: Tensor | None = None
        self.mark: tuple[Tensor, int] | None = None
        self.stale = False
        self.cleared = True
        """Whether the gradients were cleared since the last step."""
        self.fresh = 0
        """Backwards that reached the probe since it was cleared or used."""
        self.lost = 0
        """Backwards whose gradients were cleared before a step."""
        self.by_call: bool | None = None
        """Whether zero_grad() is what clears; then gradients need not be looked at in every step."""
        self.scaled = False
        self.steps = self.whole_steps = 0
        self.backwards_at_step = 0
        self.seen: dict[str, int] = {}
        self.backwards_per_step: list[int] = []
        self.rates: list[tuple[int, float]] = []
        """(step, rate) whenever the rate of the first group changed."""
        self.highest: float = 0.0
        self.zero_rates = 0
        self.scheduled = 0
        self.scheduler: Any = None
        self.sequence = -1
        """The place in autograd's order of the newest loss when the last step was made."""

    def refresh(self) -> None:
        """Groups may be added while it runs."""
        self.params = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.ids = {id(p) for p in self.params}

    def count(self, what: str, by: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + by

    def times(self, what: str) -> int:
        return self.seen.get(what, 0)

    def choose_probe(self) -> None:
        """The smallest dense gradient there is."""
        kept = [p for p in self.params if p.grad is not None and p.grad.layout == torch.strided]
        if kept:
            self.probe = min(kept, key=Tensor.numel)

    def state(self) -> tuple[Tensor, int] | None:
        grad = None if self.probe is None else self.probe.grad
        return None if grad is None else (grad, grad._version)

    def is_marked(self, now: tuple[Tensor, int] | None) -> bool:
        return now is not None and self.mark is not None and now[0] is self.mark[0] and now[1] == self.mark[1]

    def clear(self) -> None:
        """The gradients were cleared."""
        if self.fresh:
            self.lost += self.fresh
        self.fresh, self.stale, self.cleared, self.mark = 0, False, True, None

    def backward_begins(self, near: bool) -> None:
        if self.probe is None or not (near or not self.by_call):
            return
        now = self.state()
        if now is None:
            self.by_call = self.by_call and self.cleared
            self.clear()
        elif self.stale and not self.is_marked(now):
            if is_zero(now[0]):
                self.by_call = False
                self.clear()
            self.mark = now

    def backward_ends(self, near: bool) -> None:
        if not near and self.by_call:
            self.fresh += 1
            return
        if self.probe is None:
            self.choose_probe()
        now = self.state()
        if now is not None and not self.is_marked(now):
            self.fresh += 1
            self.mark = now

    def zero_ends(self, before: tuple[Tensor, int] | None, owner: Any) -> None:
        """A zero_grad() of `owner` has run; `before` is the probe's gradient before it."""
        now = self.state()
        kept = before is None or self.mark is None or self.is_marked(before)
        if self.stale and self.fresh == 0 and not kept:
            self.count("touched after step")
        if now is None or (before is not None and (now[0] is not before[0] or now[1] != before[1])):
            known = owner is self.optimizer or not isinstance(owner, Optimizer)
            self.by_call = known and self.by_call is not False if before is not None else self.by_call
            self.clear()

    def has_gradient(self) -> bool:
        """Whether a step has anything to use; on an accelerator a gradient that exists counts."""
        return any(p.grad is not None and (p.grad.device.type != "cpu" or not is_zero(p.grad)) for p in self.params)

    def step_begins(self, backwards: int, forwards: int, near: bool = True) -> None:
        """Judge what the step is about to use."""
        made = backwards - self.backwards_at_step
        now = None if self.fresh and not near and self.by_call else self.state()
        if self.stale and now is not None and self.mark is not None and now[0] is not self.mark[0]:
            self.stale = False  # another gradient was put there by hand
        if self.fresh == 0 and ((made == 0 and self.stale and self.is_marked(now)) or not self.has_gradient()):
            if self.lost and not forwards:
                self.count("cleared before step")
            else:
                self.count("no gradient")
            return
        self.whole_steps += 1
        if self.fresh and self.stale:
            self.count("uncleared")
        if self.scaled:
            self.count("scaled step")
        self.backwards_per_step.append(max(1, self.fresh))

    def step_ends(self, backwards: int, sequence: int, near: bool = True) -> None:
        self.steps += 1
        self.stale, self.cleared, self.fresh, self.lost = self.probe is not None, False, 0, 0
        self.mark = self.state() if near or not self.by_call else None
        self.backwards_at_step, self.sequence = backwards, sequence
        self.rate_ends()

    def rate_ends(self) -> None:
        rate = self.optimizer.param_groups[0].get("lr")
        if not isinstance(rate, (int, float)):
            return
        if not self.rates or self.rates[-1][1] != rate:
            self.rates.append((self.steps, float(rate)))
            self.highest = max(self.highest, float(rate))
        if rate == 0 and all(group.get("lr") == 0 for group in self.optimizer.param_groups):
            self.zero_rates += 1

    def rate_at(self, step: int) -> float:
        """The learning rate that step `step` used (from 1)."""
        rate = float("nan")
        for first, value in self.rates:
            if first > step:
                break
            rate = value
        return rate

    def closure(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """The same closure; each evaluation is judged as a step of its own."""

        def evaluated(*args: Any, **kwargs: Any) -> Any:
            if self.fresh:
                self.stale, self.fresh, self.mark = True, 0, self.state()
            result = inner(*args, **kwargs)
            if self.stale and self.fresh:
                self.count("uncleared")
            return result

        return evaluated


def is_zero(tensor: Tensor) -> bool:
    """Whether all is zero. On an accelerator the answer would cost a wait: there a changed tensor counts as cleared."""
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        return tensor.layout == torch.strided
    return not bool(tensor.detach().any())
