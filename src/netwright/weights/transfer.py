"""Weights from one network into another by the names of layers: a shallow network begins a deeper one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.weights.files import opened
from netwright.weights.load import read_finite


@dataclass(frozen=True)
class Transferred:
    """What was copied: the target's tensors with the source's names, and what both had besides."""

    copied: dict[str, str]
    fresh: list[str]
    """The target's tensors that stayed as they were."""
    unused: list[str]
    """The source's tensors that went nowhere."""

    def to_json(self) -> dict[str, Any]:
        return {"copied": self.copied, "fresh": self.fresh, "unused": self.unused}

    def __str__(self) -> str:
        return say("{copied} tensors copied, {fresh} left fresh, {unused} of the source not used",
                   copied=len(self.copied), fresh=len(self.fresh), unused=len(self.unused))  # fmt: skip


def transfer(source: nn.Module | Path | str, target: nn.Module, layers: Mapping[str, str] | None = None) -> Transferred:
    """Copy weights of `source` into `target`: those whose names and shapes agree, or the layers that you pair.

    Formula: target[b] <- source[a] for a = b of equal shape, or for each a: b in `layers` with all that stands below

    Args: `source` a network or a safetensors file; `layers` source's layer to target's, for VGG as
    `netwright.networks.vgg.same_places(shallow, deep)` gives them. Everything else of the target stays as it is.
    Number types are converted. Errors: UsageError where nothing agrees, a layer is not there, or paired layers
    differ in shape; nothing is copied then.
    """
    theirs, own = _tensors(source), target.state_dict()
    pairs = _agreeing(theirs, own) if layers is None else _paired(theirs, own, layers)
    with torch.no_grad():
        for mine, name in pairs.items():
            own[mine].copy_(theirs[name])
    used = set(pairs.values())
    return Transferred(
        pairs, [name for name in own if name not in pairs], [name for name in theirs if name not in used]
    )


def _tensors(source: nn.Module | Path | str) -> dict[str, Tensor]:
    if isinstance(source, nn.Module):
        return dict(source.state_dict())
    with opened(source) as file:
        return {name: read_finite(file, name) for name in file.shapes}


def _agreeing(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, str]:
    found = {name: name for name in own if name in theirs and theirs[name].shape == own[name].shape}
    if not found:
        text = say("transfer: no name and shape of the source's {theirs} tensors is one of the target's {own}.",
                   theirs=len(theirs), own=len(own))  # fmt: skip
        raise UsageError(text + " " + say("Pair them: layers={{source's layer: target's layer}}."))
    return found


def _paired(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], layers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, mine in layers.items():
        below, here = _below(theirs, name, say("source")), _below(own, mine, say("target"))
        for end in sorted(set(below) | set(here)):
            shapes = [list(table[end].shape) if end in table else None for table in (below, here)]
            if shapes[0] != shapes[1]:
                text = say("transfer: {name} has the shape {theirs}, {mine} {own}",
                           name=f"{name}{end}", theirs=shapes[0], mine=f"{mine}{end}", own=shapes[1])  # fmt: skip
                raise UsageError(text)
            found[f"{mine}{end}"] = f"{name}{end}"
    return found


def _below(tensors: Mapping[str, Tensor], layer: str, whose: str) -> dict[str, Tensor]:
    """A layer's tensors by what follows its name: `.weight`, `.bias`, or nothing where it is a tensor itself."""
    found = {
        name.removeprefix(layer): one for name, one in tensors.items() if name == layer or name.startswith(f"{layer}.")
    }
    if not found:
        text = say("transfer: the {whose} has no layer {layer!r}.", whose=whose, layer=layer)
        raise UsageError(text + " " + hint(layer, dict.fromkeys(name.rpartition(".")[0] for name in tensors)))
    return found
