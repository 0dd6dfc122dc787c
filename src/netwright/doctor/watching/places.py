"""Where things are: tensors in nested values, tensors in attributes that torch does not register, parts that draw."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

REGISTERED = frozenset(("_parameters", "_buffers", "_modules"))


def tensors_in(value: Any, depth: int = 3) -> list[Tensor]:
    """The tensors of nested rows and tables, in order."""
    if isinstance(value, Tensor):
        return [value]
    if depth == 0:
        return []
    if isinstance(value, dict):
        return [t for one in value.values() for t in tensors_in(one, depth - 1)]
    if isinstance(value, (list, tuple)):
        return [t for one in value[:16] for t in tensors_in(one, depth - 1)]
    return []


def hidden_tensors(models: list[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Tensors that ask for gradients and stand in plain lists, tables or attributes: `parameters()` misses them."""
    registered = {id(p) for model in models for p in model.parameters()}
    seen: set[int] = set()
    for model in models:
        for path, module in model.named_modules():
            for name, value in vars(module).items():
                if name in REGISTERED or (name.startswith("_") and name.endswith("hooks")):
                    continue
                for place, tensor in _inside(value, f"{path}.{name}" if path else name, 3):
                    if id(tensor) not in registered and id(tensor) not in seen and tensor.is_leaf:
                        seen.add(id(tensor))
                        yield place, tensor


def _inside(value: Any, place: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.requires_grad:
            yield place, value
    elif isinstance(value, nn.Module):
        for name, p in value.named_parameters():
            if p.requires_grad:
                yield f"{place}.{name}", p
    elif depth and isinstance(value, dict):
        for key, one in value.items():
            yield from _inside(one, f"{place}[{key!r}]", depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _inside(one, f"{place}[{index}]", depth - 1)


NORMS = nn.modules.batchnorm._BatchNorm


def draws(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts for which the training mode matters: batch norms with running statistics, and dropouts that drop."""
    return [(path, module) for path, module in model.named_modules() if matters(module)]


def matters(module: nn.Module) -> bool:
    """Whether a module computes something else in train mode."""
    if isinstance(module, NORMS):
        return module.track_running_stats
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return False
    if "drop" in type(module).__name__.lower():
        return any(
            isinstance(value := getattr(module, name, 0), (int, float)) and value > 0
            for name in ("p", "drop_prob", "rate")
        )
    return False


def head_of(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The last module that holds weights of its own, norms apart, in the order of registration."""
    found = [
        (path, module)
        for path, module in model.named_modules()
        if any(p.dim() > 1 for p in module.parameters(recurse=False))
    ]
    return found[-1] if found else None


@torch.no_grad()
def is_fresh(module: nn.Module) -> bool:
    """Whether the weights look as drawn by an initializer: training keeps neither its exact range nor its spread.

    Formula: uniform with bound 1/sqrt(fan in) or sqrt(6 / (fan in + fan out)): 0.95 b < max |w| <= b, spread b/sqrt(3)
    within 4 standard errors; or normal with one of the usual spreads within 4 standard errors, mean 0 likewise
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2 or weight.numel() < 16 or weight.device.type == "meta":
        return False
    w = weight.detach().double()
    n, fan_in, fan_out = w.numel(), w[0].numel(), w.shape[0] * w[0][0].numel()
    largest, spread = w.abs().max().item(), w.std().item()
    if abs(w.mean().item()) > 4 * spread / math.sqrt(n):
        return False
    for bound in (
        1 / math.sqrt(fan_in),
        math.sqrt(6 / (fan_in + fan_out)),
        math.sqrt(6 / fan_in),
        math.sqrt(3 / fan_in),
    ):
        inside = (1 - 8 / n) * bound < largest <= bound * (1 + 1e-6)
        if inside and abs(spread * math.sqrt(3) / bound - 1) < 4 * 0.45 / math.sqrt(n):
            return True
    usual = (2 / fan_in, 2 / fan_out, 1 / fan_in, 2 / (fan_in + fan_out), 0.02**2, 0.01**2, 1.0)
    return any(abs(spread / math.sqrt(value) - 1) < 4 / math.sqrt(2 * n) for value in usual)
