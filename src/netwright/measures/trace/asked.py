"""What a person asks a trace for, checked: the model, inputs, targets, places and parts."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.trace.words import by

MOST_PARAMETERS = 2_000_000
MOST_INPUTS = 1_000_000


def ready(model: nn.Module) -> nn.Module:
    """The model in 64 bits on the CPU, ready to train; too large or empty ones are refused."""
    if not isinstance(model, nn.Module):
        raise UsageError(say("a trace works on a torch.nn.Module, but {kind} came.", kind=type(model).__name__))
    weights = list(model.parameters())
    if any(is_lazy(one) for one in [*weights, *model.buffers()]):
        raise UsageError(say("the network has lazy layers without sizes: run it once before."))
    size = sum(weight.numel() for weight in weights)
    if size > MOST_PARAMETERS:
        text = say("{size:,} parameters are too many to show; at most {most:,}.", size=size, most=MOST_PARAMETERS)
        raise UsageError(text + " " + say("Use a smaller width, or fewer units."))
    if any(one.is_meta for one in [*weights, *model.buffers()]):
        raise UsageError(say("the network lies on the meta device: its weights hold no numbers."))
    try:
        copied = deepcopy(model).to("cpu", torch.float64).train()
    except (RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UsageError(say("the network cannot be copied: {reason}", reason=reason)) from error
    for module in copied.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
        if module._forward_hooks or module._backward_hooks:
            module._forward_hooks.clear()
            module._backward_hooks.clear()
    return copied


def inputs_of(model: nn.Module, inputs: Any) -> Tensor:
    """The inputs as 64-bit numbers, or as whole numbers where the model looks words up."""
    values = _tensor(inputs, "inputs")
    if values.ndim < 2 or not values.numel():
        shape = by(values.shape)
        raise UsageError(say("inputs of shape {shape}; the first axis counts the examples, at least one.", shape=shape))
    if values.numel() > MOST_INPUTS:
        text = say(
            "{size:,} input numbers are too many to show; at most {most:,}.", size=values.numel(), most=MOST_INPUTS
        )
        raise UsageError(text + " " + say("Use a smaller input."))
    words = any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in model.modules())
    values = values.long() if words and not values.is_floating_point() else values.double()
    if values.is_floating_point() and not values.isfinite().all():
        raise UsageError(say("the inputs hold numbers that are not finite."))
    return values.detach().cpu().clone()


def target_of(target: Any) -> Tensor:
    """The target as 64-bit numbers, or as whole numbers where it names classes."""
    values = _tensor(target, "target")
    values = values.double() if values.is_floating_point() else values.long()
    if values.ndim == 0:
        values = values[None]
    if values.is_floating_point() and not values.isfinite().all():
        raise UsageError(say("the target holds numbers that are not finite."))
    return values.detach().cpu()


def _tensor(values: Any, name: str) -> Tensor:
    try:
        read = torch.as_tensor(values)
        if read.is_floating_point() and isinstance(values, (list, tuple, float)):
            read = torch.as_tensor(values, dtype=torch.float64)  # torch reads Python's numbers in 32 bits
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(say("{name} cannot be read as numbers: {error}", name=name, error=error)) from error
    if read.is_complex() or read.is_sparse or read.is_meta:
        raise UsageError(say("{name} cannot be read as numbers: {error}", name=name, error=read.dtype))
    return read


def places_of(places: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """At most 16 places of maps as (row, column)."""
    wrong = [one for one in places if len(tuple(one)) != 2 or not all(type(n) is int and n >= 0 for n in one)]
    if wrong:
        raise UsageError(say("places has {place}; it is (row, column), each 0 or more", place=wrong[0]))
    return tuple((one[0], one[1]) for one in places[:16])


def named(part: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A part's name and settings from a name or a table."""
    if isinstance(part, str):
        return part, {}
    table = dict(part)
    if "name" not in table:
        raise UsageError(
            say("a table of settings needs a name, such as {example!r}", example={"name": "sgd", "lr": 0.1})
        )
    return str(table.pop("name")), table
