"""`examine`: the doctor for any module, loss, torch optimizer and batches. See `netwright.examine`."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.doctor.code import CodeSubject
from netwright.doctor.findings import Diagnosis
from netwright.doctor.procedure import diagnose


def examine(
    module: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Optimizer,
    batches: Iterable[Any],
    step: Callable[..., Any] | None = None,
    epochs: int | None = None,
    validation: Iterable[Any] | None = None,
    *,
    seed: int = 0,
    budget: float = 60.0,
) -> Diagnosis:
    """Say why a network of your own code does not learn, and what mends it; everything is left as it was, bit for bit.

    Args:
        module, loss, optimizer: the training as it stands; `loss(module(inputs), targets)` is minimised.
        batches: pairs (inputs, targets) of one epoch, such as a `DataLoader`; (inputs, ..., targets) calls the module
            with several inputs.
        step: your own step, where it is not the ordinary one: `step(batch)`, `step(inputs, targets)` or
            `step(model, loss, optimizer, batch)`; it may return the loss.
        epochs: how many your training has; without it a network is given the time to show what it can.
        validation: pairs that are not trained on.
        seed: draws what the doctor draws.
        budget: about so many seconds, at most.

    Weights, buffers, gradients, optimizer, modes and random numbers are restored. A generator can be read only once:
    give a list or a loader.
    """
    return diagnose(CodeSubject(module, loss, optimizer, batches, step, epochs, validation), budget, seed)
