"""Checkpoints that survive a kill at any instant and a flipped byte anywhere (rule P10).

A generation is written into a temporary folder, every file fsynced, a manifest with lengths and SHA-256 added, the
folder renamed and its parent fsynced. Loading walks the generations downward and takes the first that verifies
completely. An old generation goes only after the new one was read back; two stay. Tensors are written as they lie in
memory, piece by piece: a save needs no second copy of them.
"""

import errno
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from netwright.errors import RunError
from netwright.language import say
from netwright.rundir import open_sealed, sealed_json, sha256, to_json
from netwright.storage import digest_of, make_folder, read_bytes, remove, rename, sync_folder, write_bytes

KEPT = 2
FORMAT = 1
FILES = ("weights.safetensors", "state.safetensors", "state.json")
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL",
    torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
"""The number types of safetensors."""


@dataclass(frozen=True)
class Checkpoint:
    """One verified generation, in memory."""

    step: int
    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    best: str = ""
    """The SHA-256 of the best weights that it stands on; empty in generations of older versions."""


def pieces(tensors: dict[str, Tensor], facts: dict[str, str]) -> list[bytes | memoryview]:
    """Tensors as the pieces of a safetensors file: a header, then each tensor's own memory.

    Wide number types first, so that all are aligned. Memory layouts are flattened (a copy only where they are not flat
    already), tensors that share memory are written twice. Errors: RunError for a number type that the format lacks.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    order = sorted(plain, key=lambda name: (-plain[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": facts} if facts else {}
    total = 0
    for name in order:
        tensor = plain[name]
        if tensor.dtype not in DTYPES:
            raise RunError(say("{name} cannot be stored: its number type is {kind}", name=name, kind=tensor.dtype))
        end = total + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [total, end]}
        total = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    found: list[bytes | memoryview] = [len(text).to_bytes(8, "little") + text]
    return found + [_memory(plain[name]) for name in order if plain[name].numel()]


def _memory(tensor: Tensor) -> memoryview:
    """A flat tensor's own bytes."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def to_bytes(tensors: dict[str, Tensor], facts: dict[str, str]) -> bytes:
    """Tensors as safetensors bytes."""
    return b"".join(pieces(tensors, facts))


def from_bytes(data: bytes, name: str = "safetensors") -> dict[str, Tensor]:
    """The tensors in safetensors bytes (verified before: the format notices no flipped bit); `name` says whose."""
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise RunError(say("{name} cannot be read: {why}", name=name, why=error)) from None


def save_checkpoint(
    folder: Path, run_id: str, checkpoint: Checkpoint, sources: dict[str, str], settle: Callable[[], None] | None = None
) -> None:
    """Write the next generation into `folder`/checkpoints; `sources` are hashes of recipe.toml and data.json.

    `settle` is called once it can be seen and was read back, before an older one goes.
    A failed write or fsync kills the new generation (it is never retried on the same files) and raises RunError.
    """
    home = folder / "checkpoints"
    try:
        older = [step for step in generations(folder) if step != checkpoint.step]
        if not home.is_dir():
            make_folder(home)
            sync_folder(folder)
        _write(home, run_id, checkpoint, sources, max(older, default=None))
    except OSError as error:
        raise RunError(
            say(
                "checkpoint of step {step} was NOT saved in {path}: {why}",
                step=checkpoint.step,
                path=error.filename or home,
                why=error.strerror or error,
            )
        ) from None
    if settle is not None:
        settle()
    good = [step for step in older if step < checkpoint.step]
    for step in older:
        if step > checkpoint.step or step in good[: len(good) - (KEPT - 1)]:
            _discard(home / str(step))
    for left in home.glob(".*.*"):  # what kills left behind
        _discard(left)


def _write(home: Path, run_id: str, checkpoint: Checkpoint, sources: dict[str, str], parent: int | None) -> None:
    """Draft, manifest, name, and a look at what stands there; an OSError leaves what was there before."""
    final, draft, aside = (
        home / str(checkpoint.step),
        home / f".{checkpoint.step}.new",
        home / f".{checkpoint.step}.old",
    )
    mark = {"run": run_id, "step": str(checkpoint.step)}
    named = False
    try:
        remove(draft)
        make_folder(draft)
        files = {}
        contents: dict[str, list[bytes | memoryview]] = {
            "weights.safetensors": pieces(checkpoint.weights, mark),
            "state.safetensors": pieces(checkpoint.tensors, mark),
            "state.json": [to_json({**mark, **checkpoint.facts}, indent=1).encode()],
        }
        for name, content in contents.items():
            write_bytes(draft / name, content)
            files[name] = _facts_of(content)
        facts = {"format": FORMAT, "run": run_id, "step": checkpoint.step, "parent": parent, "files": files}
        best = {"best": checkpoint.best} if checkpoint.best else {}
        write_bytes(draft / "manifest.json", sealed_json({**facts, "sources": sources, **best}))
        sync_folder(draft)
        if final.exists():  # a damaged generation of this step, or the same one again after a fall-back
            remove(aside)
            rename(final, aside)
        rename(draft, final)
        named = True
        sync_folder(home)
        _look(final, files)
    except OSError:
        _undo(draft, final, aside, named)
        raise


def _facts_of(content: list[bytes | memoryview]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return {"bytes": sum(len(piece) for piece in content), "sha256": digest.hexdigest()}


def _look(path: Path, files: dict[str, dict[str, Any]]) -> None:
    """Read a generation back from where it lies; a difference is an OSError."""
    for name, facts in files.items():
        if digest_of(path / name) != (facts["bytes"], facts["sha256"]):
            raise OSError(errno.EIO, say("it was read back differently"), str(path / name))
    if open_sealed(read_bytes(path / "manifest.json")) is None:
        raise OSError(errno.EIO, say("it was read back differently"), str(path / "manifest.json"))


def _undo(draft: Path, final: Path, aside: Path, named: bool) -> None:
    """Kill a generation whose writing failed, and bring back the one that it was to replace."""
    for path in (draft, final) if named else (draft,):
        _discard(path)
    if aside.exists() and not final.exists():
        with suppress(OSError):
            rename(aside, final)


def _discard(path: Path) -> None:
    """Remove a folder as far as it goes: what stays is no generation any more, or goes next time."""
    gone = path.with_name(f".{path.name.strip('.')}.gone")
    with suppress(OSError):
        if path.exists() and not path.name.startswith("."):
            remove(gone)
            rename(path, gone)
            path = gone
        remove(path)


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
            contents, manifest = _verify(path, run_id)
            for name, digest in manifest["sources"].items():
                if sources.get(name) != digest:
                    raise RunError(
                        say("run folder {path}: {name} is not the one this run started with", path=folder, name=name)
                    )
            facts = json.loads(contents["state.json"])
            if int(facts["step"]) != step:
                raise RunError(say("{path} holds another step's state", path=path))
            return Checkpoint(
                step, from_bytes(contents["weights.safetensors"]), from_bytes(contents["state.safetensors"]), facts,
                str(manifest.get("best", "")),
            )  # fmt: skip
        except OSError as error:
            why = say(
                "{name} cannot be read: {why}", name=Path(error.filename or path).name, why=error.strerror or error
            )
            report(say("checkpoint {step} is not used: {why}", step=step, why=why))
        except RunError as error:
            report(say("checkpoint {step} is not used: {why}", step=step, why=error))
        except (KeyError, TypeError, ValueError, AttributeError):  # sealed, but not by this program
            why = say("{name} is damaged", name="manifest.json")
            report(say("checkpoint {step} is not used: {why}", step=step, why=why))
    return None


def _verify(path: Path, run_id: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The bytes of every file of a generation and its manifest; any difference is a RunError."""
    manifest = open_sealed(read_bytes(path / "manifest.json"))
    if manifest is None:
        raise RunError(say("{name} is damaged", name="manifest.json"))
    if manifest["format"] > FORMAT:
        raise RunError(say("it was written by a newer version (format {format})", format=manifest["format"]))
    if manifest["run"] != run_id or str(manifest["step"]) != path.name:
        raise RunError(say("it belongs to another run or step"))
    contents = {}
    for name in FILES:
        data = read_bytes(path / name)
        if len(data) != manifest["files"][name]["bytes"] or sha256(data) != manifest["files"][name]["sha256"]:
            raise RunError(say("{name} is damaged", name=name))
        contents[name] = data
    return contents, manifest


def digests(model: torch.nn.Module) -> dict[str, str]:
    """The SHA-256 of every trainable weight, by name: whether it moved can be told without keeping a copy."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            flat = parameter.detach().cpu().contiguous().flatten().view(torch.uint8)
            found[name] = sha256(memoryview(flat.numpy()))  # type: ignore[arg-type]
    return found


def model_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights and buffers on the CPU."""
    return copied(model.state_dict())


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Flat copies on the CPU: what a save works on while the training goes on."""
    return {
        name: torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach()) for name, tensor in tensors.items()
    }
