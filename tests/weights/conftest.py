"""Checkpoints as other programs write them: torch.save of both formats, and archives put together by hand."""

import zipfile
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
