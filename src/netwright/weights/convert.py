"""`convert-weights`: a foreign pickle checkpoint becomes safetensors, through a bounded child that never runs code."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netwright.data.files.tree import printable
from netwright.errors import DataError, NetwrightError, UsageError, beside
from netwright.language import language, say
from netwright.storage import sync_folder
from netwright.weights.reader import seconds_for

FOREIGN = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl", ".pth.tar", ".t7")
"""Endings under which pickle checkpoints go about."""
SPARE = 30
"""Seconds beyond the child's processor time: the disk may be slow."""


@dataclass(frozen=True)
class Converted:
    """What `convert-weights` made, and what of the checkpoint is not in it."""

    file: str
    tensors: int
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [say("{file}: {count} tensors", file=printable(self.file), count=self.tensors), *self.notes]
        if self.left_out:
            lines.append(say("left out: {names}", names=printable(", ".join(self.left_out))))
        return "\n".join(lines)


def convert(source: Path | str, target: Path | str) -> Converted:
    """Write the tensors of the torch checkpoint `source` into the new safetensors file `target`.

    Both of torch's formats are read: zip archives (since 1.6) and the stream before. Tensors keep their names, number
    types and numbers to the bit; wrappers such as `state_dict` and `module.` are taken off, optimizer state and what is
    no tensor is left out and named. A child process with bounded memory, time and output reads the file; it knows the
    few names that tensors need and never calls or imports what the file names. Errors: UsageError for a target that is
    not .safetensors; DataError where the source is missing, damaged or hostile, or the target exists already. A
    failure leaves nothing behind.
    """
    origin, goal = Path(source), Path(target)
    _require_source(origin)
    if goal.suffix.lower() != ".safetensors":
        raise UsageError(say("{target} does not end in .safetensors", target=printable(str(target))))
    if os.path.lexists(goal):
        raise DataError(say("{target} exists already; choose another name or remove it", target=printable(str(target))))
    draft = goal.with_name(f".{goal.name[:200]}.{os.getpid()}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise DataError(say("{target} cannot be written: {why}", target=printable(str(target)),
                            why=error.strerror or error)) from None  # fmt: skip
    try:
        answer = _child(origin, draft)
        _place(draft, goal)
    finally:
        draft.unlink(missing_ok=True)
    left_out = answer["left_out"]
    if answer["left_out_count"] > len(left_out):
        left_out = [*left_out, say("{count} more", count=answer["left_out_count"] - len(left_out))]
    return Converted(str(target), answer["tensors"], left_out, answer["notes"])


def _require_source(origin: Path) -> None:
    try:
        mode = os.stat(origin).st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        text = say("{path} cannot be read: {why}", path=printable(str(origin)), why=why)
        raise DataError(f"{text}. {beside(origin)}".removesuffix(". ")) from None
    if not stat.S_ISREG(mode):
        raise DataError(say("{path} is no regular file", path=printable(str(origin))))
    if origin.suffix.lower() == ".safetensors":
        raise UsageError(say("{path} is a safetensors file already: network.weights={path} loads it",
                             path=printable(str(origin))))  # fmt: skip


def _child(origin: Path, draft: Path) -> dict[str, Any]:
    """Let the child read; its answer. Errors: DataError with the reason, whichever way it ended."""
    where, size = printable(str(origin)), os.stat(origin).st_size
    paths = [os.path.abspath(origin), os.path.abspath(draft)]
    command = [sys.executable, "-P", "-m", "netwright.weights.reader", *paths, language()]
    surroundings = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path and os.path.isabs(path))}
    surroundings |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}
    surroundings |= {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    limit = seconds_for(size) + SPARE
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, env=surroundings, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            say("{path} is refused: reading it took more than {limit} seconds", path=where, limit=limit)
        ) from None
    except OSError as error:
        raise NetwrightError(say("the reading process cannot be started: {why}", why=error.strerror or error)) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise DataError(
            say("{path} is refused: the process that read it was stopped (code {code}); nothing was written",
                path=where, code=done.returncode)
        ) from None  # fmt: skip
    if "refused" in answer:
        raise DataError(say("{path} is refused: {why}", path=where, why=answer["refused"]))
    if "failed" in answer:
        raise DataError(say("{path} could not be converted: {why}", path=where, why=answer["failed"]))
    return answer


def _place(draft: Path, goal: Path) -> None:
    """Give the finished file its name; one that has appeared meanwhile is not written over."""
    try:
        os.link(draft, goal)
    except FileExistsError:
        raise DataError(say("{target} exists already; choose another name or remove it", target=goal)) from None
    except OSError:  # a file system without hard links
        os.replace(draft, goal)
    sync_folder(goal.parent)
