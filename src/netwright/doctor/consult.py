"""`examine`: the doctor for any module, loss, torch optimizer and batches. See `netwright.examine`."""

import random
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.catalogue import FAULTS
from netwright.doctor.broken_calls import broken_call
from netwright.doctor.chart import BROKEN
from netwright.doctor.code import CodeSubject
from netwright.doctor.findings import Diagnosis
from netwright.doctor.procedure import diagnose
from netwright.doctor.subject import Change, Pair
from netwright.doctor.suspicion import Suspicion
from netwright.errors import UsageError, first_line
from netwright.language import say


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
    began, drawn = time.monotonic(), (random.getstate(), np.random.get_state())  # noqa: NPY002  the person's own
    try:
        subject = CodeSubject(module, loss, optimizer, batches, step, epochs, validation)
        found = first_call(subject)
        if found is None:
            try:
                return diagnose(subject, budget, seed)
            except BROKEN as error:
                found = later_call(subject, error)
        return Diagnosis("faulty", [found.finding()], seconds=time.monotonic() - began)
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002


def first_call(subject: CodeSubject) -> Suspicion | None:
    """What is wrong where the network cannot be called, judged or differentiated at all; None where it can."""
    pair = subject.batches[0]
    failed = tried(subject, pair)
    return None if failed is None else said(subject, pair, failed)


def later_call(subject: CodeSubject, error: BaseException) -> Suspicion:
    """What is wrong where a later batch cannot be trained on, or a later step."""
    for number, pair in enumerate(subject.batches):
        failed = tried(subject, pair)
        if failed is not None:
            found = said(subject, pair, failed)
            return replace(found, where=say("{where} (batch {number})", where=found.where, number=number))
    if "between 0 and 1" in str(error):
        title, harm = say(str(FAULTS["B2"].facts["title"])), say("training stops where an output leaves 0 to 1")
        fix = Change("bce_with_logits", say("it takes outputs of any size"), {"code": "nn.BCEWithLogitsLoss()"})
        return Suspicion("B2", title, "loss", {"error": first_line(error)}, 1.0, True, harm=harm, changes=[fix])
    if "second time" in str(error):
        title, harm = say(str(FAULTS["E8"].facts["title"])), say("training stops at the second step")
        return Suspicion("E8", title, "backward()", {"error": first_line(error)}, 1.0, exact=True, harm=harm)
    raise UsageError(say("examine: training stops: {why}", why=first_line(error))) from None


def tried(subject: CodeSubject, pair: Pair) -> BaseException | None:
    """The error of a forward and backward pass on a batch, where it raises one."""
    with subject.live() as live, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loss = live.loss_on(pair)
            if loss.requires_grad:
                loss.backward()
        except BROKEN as error:
            return error
    return None


def said(subject: CodeSubject, pair: Pair, failed: BaseException) -> Suspicion:
    """The fault behind an error of torch; one that is none of the known ones is told as it is."""
    found = broken_call(subject.model, subject.loss, pair, failed)
    if found is None:
        raise UsageError(say("examine: a batch cannot be trained on: {why}", why=first_line(failed)))
    return found
