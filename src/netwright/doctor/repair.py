"""A person's training with the doctor's changes made: what `Diagnosis.repair` gives back, ready to be trained."""

from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.doctor.code import CodeLive, CodeSubject
from netwright.doctor.reading import pair_of
from netwright.doctor.subject import Change, Pair


class Repaired(nn.Module):
    """A person's module with changes around it: what it reads, what is swapped inside, what its answers mean."""

    def __init__(self, live: CodeLive) -> None:
        super().__init__()
        self.inner = live.model
        self._live, live.reorders = live, False  # the person's loop deals the batches

    def forward(self, *inputs: Any) -> Any:
        outputs = self._live.forward(Pair(inputs, None))
        return outputs if self.training else self._live.judged(outputs)


Training = tuple[nn.Module, Callable[[Any, Any], Tensor], Optimizer, Iterable[Any], Callable[..., Any], Any]


def repaired(
    changes: Sequence[Change], module: nn.Module, loss: Callable[[Any, Any], Tensor], optimizer: Optimizer,
    batches: Iterable[Any], step: Callable[..., Any] | None = None, epochs: int | None = None,
) -> Training:  # fmt: skip
    """Make the changes on these objects, in place: (module, loss, optimizer, batches, step, epochs).

    `step(batch)` takes one training step with everything changed that a loop would have to change; calling it once for
    every batch of every epoch is the repaired training. Where a change concerns the batches themselves, each call
    takes the changed ones in order.
    """
    subject = CodeSubject(module, loss, optimizer, batches, step, epochs)
    live = CodeLive(subject, 0)
    for change in changes:
        if change.apply is not None:
            change.apply(live)
    made = Repaired(live)
    made.train(module.training)
    same = len(live.pairs) == len(subject.batches) and all(map(is_, live.pairs, subject.batches))
    pairs = batches if same else [(*pair.inputs, pair.targets) for pair in subject.batches]
    place = next((p.device for p in module.parameters()), torch.device("cpu"))

    def taken(*given: Any) -> float:
        if same and given:
            live.given = pair_of(given[0] if len(given) == 1 else given, place)
        return live.step()

    return made, live.loss, live.optimizers[0] if live.optimizers else optimizer, pairs, taken, epochs
