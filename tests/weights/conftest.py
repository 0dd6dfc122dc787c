"""Checkpoints as other programs write them: torch.save of both formats, and pickles written byte by byte."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

FORMATS = (True, False)
"""torch's zip format, and the stream before 1.6."""


@pytest.fixture(params=FORMATS, ids=["zip", "stream"])
def save(request, tmp_path) -> Callable[[Any], Path]:
    """Writes any value with torch.save, in both formats in turn."""

    def write(value: Any, name: str = "model.pth") -> Path:
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=request.param)
        return tmp_path / name

    return write


@pytest.fixture
def archive(tmp_path) -> Callable[..., Path]:
    """Writes a zip checkpoint from raw parts: the pickle's bytes, storages by key, and further members."""

    def write(pickled: bytes, storages: dict[str, bytes], name: str = "raw.pth", **more: Any) -> Path:
        method = more.pop("method", zipfile.ZIP_STORED)
        with zipfile.ZipFile(tmp_path / name, "w", method) as file:
            file.writestr("archive/data.pkl", pickled)
            for key, data in storages.items():
                file.writestr(f"archive/data/{key}", data)
            for member, data in more.items():
                file.writestr(f"archive/{member}", data)
        return tmp_path / name

    return write


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
