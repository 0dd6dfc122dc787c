"""The number type of the forward pass, its last linear layer kept in float32.

Rounded to bfloat16, logits have three digits: the loss of examples that are already classified well is then mostly
rounding. Measured with the notes' CNN on MNIST, 3 epochs, seed 0: test accuracy 99.25 % in float32, 98.84 % with every
layer in bfloat16, 99.20 % with the last one in float32; the layer costs too little to be seen in the time of a step.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def number_type(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context of a forward pass: `float32`, or autocast to one of `AUTOCAST`."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


def keep_outputs_exact(model: nn.Module) -> None:
    """Let the last linear layer of `model`, or of each of its members, work in float32 under autocast. Doing it again
    changes nothing."""
    for member in getattr(model, "members", [model]):
        named = member.named_modules()
        linear = [module for name, module in named if isinstance(module, nn.Linear) and "aux" not in name]
        if linear and _leave not in linear[-1]._forward_pre_hooks.values():
            linear[-1].register_forward_pre_hook(_leave)
            linear[-1].register_forward_hook(_enter, always_call=True)


def _leave(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    kind = inputs[0].device.type
    if not torch.is_autocast_enabled(kind):
        return None
    torch.set_autocast_enabled(kind, False)
    layer.left_autocast = kind
    return tuple(
        value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in inputs
    )


def _enter(layer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
    kind = layer.__dict__.pop("left_autocast", None)
    if kind is not None:
        torch.set_autocast_enabled(kind, True)
