"""Checkpoint pickles written by hand: tensors with any storage, offset, size and stride."""

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch


class _Storage:
    """What a persistent id names."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Tensor:
    """Pickles itself as torch writes a tensor, with any numbers at all."""

    def __init__(self, storage: _Storage, offset: Any, size: Any, stride: Any) -> None:
        self.given = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.given


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, _Storage):
            return "storage", getattr(torch, value.kind), value.key, "cpu", value.count
        return None


def stored(size: Any, stride: Any, *, offset: Any = 0, count: int = 4, key: str = "0", kind: str = "FloatStorage"):
    """A record of a tensor over storage `key` of `count` numbers."""
    return _Tensor(_Storage(kind, key, count), offset, size, stride)


def pickled(value: Any, protocol: int = 2) -> bytes:
    """The pickle of a value that may hold `stored` records."""
    out = io.BytesIO()
    _Pickler(out, protocol).dump(value)
    return out.getvalue()
