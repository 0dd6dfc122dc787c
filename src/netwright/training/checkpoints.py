"""Checkpoints that survive a kill at any instant and a flipped byte anywhere (rule P10).

A generation is written into a temporary folder, every file fsynced, a manifest with lengths and SHA-256 added, the
folder renamed and its parent fsynced. Loading walks the generations downward and takes the first that verifies
completely. An old generation goes only after the new one was read back; two stay.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from netwright.errors import RunError
from netwright.language import say
from netwright.rundir import open_sealed, sealed_json, sha256, sync_folder, to_json, write_bytes

KEPT = 2
FORMAT = 1
FILES = ("weights.safetensors", "state.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """One verified generation, in memory."""

    step: int
    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def to_bytes(tensors: dict[str, Tensor], facts: dict[str, str]) -> bytes:
    """Tensors as safetensors bytes; memory layouts are flattened, tensors that share memory are written twice."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    seen: set[int] = set()
    for name, tensor in plain.items():
        if tensor.data_ptr() in seen:
            plain[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    return save(plain, facts)


def from_bytes(data: bytes, name: str = "safetensors") -> dict[str, Tensor]:
    """The tensors in safetensors bytes (verified before: the format notices no flipped bit); `name` says whose."""
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise RunError(say("{name} cannot be read: {why}", name=name, why=error)) from None


def save_checkpoint(folder: Path, run_id: str, checkpoint: Checkpoint, sources: dict[str, str]) -> None:
    """Write the next generation into `folder`/checkpoints; `sources` are hashes of recipe.toml and data.json.

    A failed write or fsync kills the new generation (it is never retried on the same files) and raises RunError.
    """
    home = folder / "checkpoints"
    final, draft = home / str(checkpoint.step), home / f".{checkpoint.step}.new"
    mark = {"run": run_id, "step": str(checkpoint.step)}
    contents = {
        "weights.safetensors": to_bytes(checkpoint.weights, mark),
        "state.safetensors": to_bytes(checkpoint.tensors, mark),
        "state.json": to_json({**mark, **checkpoint.facts}, indent=1).encode(),
    }
    files = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in contents.items()}
    older = [step for step in generations(folder) if step != checkpoint.step]
    facts = {"format": FORMAT, "run": run_id, "step": checkpoint.step, "parent": max(older, default=None)}
    try:
        home.mkdir(exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for name, data in contents.items():
            write_bytes(draft / name, data)
        write_bytes(draft / "manifest.json", sealed_json({**facts, "files": files, "sources": sources}))
        sync_folder(draft)
        if final.exists():  # a damaged generation of this step, or the same one again after a fall-back
            shutil.rmtree(final)
        os.replace(draft, final)
        sync_folder(home)
        _verify(final, run_id)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise RunError(
            say(
                "checkpoint of step {step} was NOT saved in {path}: {why}",
                step=checkpoint.step,
                path=home,
                why=error.strerror or error,
            )
        ) from None
    good = [step for step in older if step < checkpoint.step]
    for step in older:
        if step > checkpoint.step or step in good[: len(good) - (KEPT - 1)]:
            shutil.rmtree(home / str(step), ignore_errors=True)


def generations(folder: Path) -> list[int]:
    """The steps of all generations, ascending; drafts that a kill left behind do not count."""
    home = folder / "checkpoints"
    if not home.is_dir():
        return []
    return sorted(int(entry.name) for entry in home.iterdir() if entry.name.isdecimal() and entry.is_dir())


def newest(folder: Path, run_id: str, sources: dict[str, str], report: Callable[[str], None]) -> Checkpoint | None:
    """The newest generation that verifies completely, or None; `report` hears which ones were skipped and why."""
    for step in reversed(generations(folder)):
        path = folder / "checkpoints" / str(step)
        try:
            contents, recorded = _verify(path, run_id)
            for name, digest in recorded.items():
                if sources.get(name) != digest:
                    raise RunError(
                        say("run folder {path}: {name} is not the one this run started with", path=folder, name=name)
                    )
            facts = json.loads(contents["state.json"])
            if int(facts["step"]) != step:
                raise RunError(say("{path} holds another step's state", path=path))
            return Checkpoint(
                step, from_bytes(contents["weights.safetensors"]), from_bytes(contents["state.safetensors"]), facts
            )
        except (RunError, OSError) as error:
            report(say("checkpoint {step} is not used: {why}", step=step, why=error))
    return None


def _verify(path: Path, run_id: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """The bytes of every file of a generation and the recorded source hashes; any difference is a RunError."""
    manifest = open_sealed(_bytes(path / "manifest.json"))
    if manifest is None:
        raise RunError(say("{name} is damaged", name="manifest.json"))
    if manifest["format"] > FORMAT:
        raise RunError(say("it was written by a newer version (format {format})", format=manifest["format"]))
    if manifest["run"] != run_id or str(manifest["step"]) != path.name:
        raise RunError(say("it belongs to another run or step"))
    contents = {}
    for name in FILES:
        data = _bytes(path / name)
        if len(data) != manifest["files"][name]["bytes"] or sha256(data) != manifest["files"][name]["sha256"]:
            raise RunError(say("{name} is damaged", name=name))
        contents[name] = data
    return contents, manifest["sources"]


def _bytes(path: Path) -> bytes:
    """A regular file's bytes: opening a FIFO would wait for ever."""
    if path.exists() and not path.is_file():
        raise RunError(say("{name} is damaged", name=path.name))
    return path.read_bytes()


def model_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights and buffers on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
