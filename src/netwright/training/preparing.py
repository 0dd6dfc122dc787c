"""Layers that begin from data: before the first step they see a sample of the training examples.

A layer asks for it by `from_data = True`. It has `ready`, true once it has seen data (its weights say so, wherever they
come from), and `begin_from(inputs)`, which gets what reaches this layer.
"""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.dataset import Dataset
from netwright.randomness import permutation

SAMPLE = 5000
"""At most so many examples are seen; Jordan 2024 whitens by as many (airbench94)."""
NUMBERS = 2**25
"""At most so many numbers are held at once: 128 MB."""
CHUNK = 128
"""Examples that run through the layers before at once."""


def prepare(model: nn.Module, dataset: Dataset, seed: int) -> dict[str, int]:
    """Let the layers of `model` that begin from data do so, first ones first: {name: number of examples seen}.

    The examples are a pure function of (seed, training split), as the network reads them, without augmentation. Layers
    that are ready, and those without weights (meta device), are left alone; nothing is read where none is waiting.
    """
    waiting: list[tuple[str, Any]] = [
        (name, layer) for name, layer in model.named_modules() if getattr(layer, "from_data", False) and not layer.ready
    ]
    if not waiting:
        return {}
    inputs, seen = sample(dataset, seed), {}
    for name, layer in waiting:
        reached = reaching(model, layer, inputs)
        if reached is not None:
            layer.begin_from(reached)
            seen[name] = len(reached)
    return seen


def sample(dataset: Dataset, seed: int) -> Tensor:
    """Encoded training examples, at most `SAMPLE` and `NUMBERS`, in the order of the data."""
    train = dataset.splits["train"]
    sizes = [size for size in dataset.inputs.values() if isinstance(size, int)]
    count = min(len(train), SAMPLE, max(1, NUMBERS // max(1, prod(sizes))))
    return dataset.encode(train[np.sort(permutation(len(train), seed, "prepare")[:count])])


class _Reached(Exception):
    """The layer has been reached: nothing behind it needs to run."""


@torch.no_grad()
def reaching(model: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor | None:
    """What `layer` is given (the first time) when `model` reads `inputs` in evaluation mode; None: it does not run."""
    found: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append(given[0].detach())
        raise _Reached

    place = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), inputs.device)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    watched = layer.register_forward_pre_hook(note)
    try:
        for part in inputs.split(CHUNK):
            try:
                model(part.to(place))
            except _Reached:
                continue
            return None
    finally:
        watched.remove()
        for module, mode in modes:
            module.training = mode
    return torch.cat(found) if found else None
