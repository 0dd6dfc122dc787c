"""Memory of a run, by following every block of memory from its making to its end.

Rules. `inference` is the largest number of bytes alive at once in a pass without gradients: the input and all results,
views counted with what they look into, weights left out. `training` is the number of bytes that the backward pass keeps
of the input and of the layers' results (outputs, masks, indices, statistics), each block once, weights left out. Both
are for one example and eager PyTorch; the workspace inside an operation is not seen.
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Memory:
    """Counts the bytes alive, the most there ever were and since `peak` was set back, and what is kept for later."""

    def __init__(self, outside: Iterable[Tensor] = ()) -> None:
        self.outside = {key for tensor in outside if (key := _block(tensor)) is not None}
        self.alive = 0
        self.peak = 0
        self.most = 0
        self.owners: dict[int, tuple[str, int]] = {}
        self.refs: dict[int, Any] = {}
        self.kept: dict[int, tuple[str, int]] = {}

    def made(self, tensor: Tensor, owner: str) -> None:
        """A result of `owner` (a layer's name); views of known blocks add nothing."""
        key = _block(tensor)
        if key is None or key in self.outside or key in self.refs:
            return
        block = tensor.untyped_storage()
        size = block.nbytes()
        self.alive += size
        self.peak, self.most = max(self.peak, self.alive), max(self.most, self.alive)
        self.owners[key] = (owner, size)
        self.refs[key] = weakref.ref(block, lambda _: self._freed(key))

    def _freed(self, key: int) -> None:
        self.alive -= self.owners.pop(key)[1]
        self.refs.pop(key, None)
        self.kept.pop(key, None)

    def keep(self, tensor: Tensor) -> Tensor:
        """The hook of autograd: a tensor is saved for the backward pass."""
        key = _block(tensor)
        if key is not None and key in self.owners:
            self.kept[key] = self.owners[key]
        return tensor

    def kept_by(self) -> Counter[str]:
        """Bytes kept for the backward pass by the layer that made them."""
        total: Counter[str] = Counter()
        for owner, size in self.kept.values():
            total[owner] += size
        return total


def _block(tensor: Tensor) -> int | None:
    """What identifies the memory of a tensor while it lives; None where it has none of the plain kind."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else None
