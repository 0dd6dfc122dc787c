"""Changes of the type of the numbers."""

from typing import Any

import torch
from torch import Tensor

from netwright.doctor.changes.steps import live_of, setting
from netwright.doctor.code import CodeSubject
from netwright.doctor.subject import Change, Live, Subject
from netwright.language import say


def single_precision(subject: Subject) -> Change | None:
    """Everything in float32."""
    why = say("float32 holds gradients down to 1e-38")
    if subject.recipe is not None:
        given = setting(subject, "training", "precision")
        return Change("float32", why, {"training.precision": "float32"}) if given == "float16" else None
    if not isinstance(subject, CodeSubject):
        return None

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.without_own_step()
        halves = [t for t in (*live.model.parameters(), *live.model.buffers()) if t.dtype == torch.float16]
        for tensor in halves:
            tensor.data = tensor.data.float()
            tensor.grad = None
        for optimizer in live.optimizers:
            for entry in optimizer.state.values():
                entry.update({name: value.float() for name, value in entry.items() if _half(value)})
        branch.reads.append(lambda inputs: tuple(item.float() if _half(item) else item for item in inputs))
        own = branch.loss
        branch.loss = lambda outputs, targets: own(outputs, targets.float() if _half(targets) else targets)

    text = say("model.float(), or torch.bfloat16 in place of torch.float16")
    return Change("float32", why, {"code": text}, apply)


def _half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float16
