"""The run folder: the only record of a training. One process writes, many read; no torch here.

Files: recipe.toml run.json data.json anatomy.json metrics.jsonl findings.json report.json report.html
best.safetensors best.json checkpoints/<step>/. Rules P10 (durable writes), P11 (lock) and P14 (names) hold.
"""

import hashlib
import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from netwright.errors import RunError, beside
from netwright.language import say

SEALED = ("best.safetensors", "data.json", "recipe.toml")
"""What best.json vouches for; predict, evaluate and resume verify them before use."""

RECORDS: dict[str, dict[str, type]] = {
    "run.json": {"id": str, "state": str, "environment": dict},
    "data.json": {"task": str, "fingerprint": str, "test_fingerprint": str, "settings": dict},
    "report.json": {"task": str, "network": str, "test": dict, "validation": dict, "baseline": dict, "findings": list,
                    "notes": list, "mistakes": list, "metrics": dict},
}  # fmt: skip
"""What a record must hold to be one."""


def finite(value: Any) -> Any:
    """`value` ready for strict JSON: NaN and infinities become null, all the way down."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON text: finite numbers or null, UTF-8, keys in their own order."""
    return json.dumps(finite(value), ensure_ascii=False, indent=indent, allow_nan=False)


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sealed_json(content: dict[str, Any]) -> bytes:
    """JSON bytes that vouch for themselves: the content and a digest of it, in one canonical spelling."""
    digest = sha256(to_json(content).encode())
    return to_json({**content, "digest": digest}, indent=1).encode()


def open_sealed(data: bytes) -> dict[str, Any] | None:
    """The content of `sealed_json` bytes, or None when a single byte of them is not as it was written."""
    try:
        content = json.loads(data.decode("utf-8"))  # strictly: bytes would let lone surrogates through
        content.pop("digest")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return content if _seal_again(content) == data else None


def _seal_again(content: dict[str, Any]) -> bytes | None:
    try:
        return sealed_json(content)
    except UnicodeEncodeError:  # an escaped lone surrogate: no content of ours
        return None


def write_bytes(path: Path, data: bytes) -> None:
    """Write and fsync a new file; an error here means that the file is not there."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably: temporary neighbour, fsync, rename, fsync of the folder."""
    draft = path.with_name(f".{path.name}.new")
    write_bytes(draft, data)
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say in one line what could not be written, and why (a full disk, no permission)."""
    try:
        yield
    except OSError as error:
        text = say("run folder {path}: {name} cannot be written: {why}", path=path.parent, name=path.name,
                   why=error.strerror or error)  # fmt: skip
        raise RunError(text) from None


class RunFolder:
    """One run folder: read its records, append to them, replace them atomically."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, out: Path | str | None, data: str, network: str) -> "RunFolder":
        """Make a new folder: `out` (refused when it already holds anything) or runs/<date>-<data>-<network>[-2]."""
        if out is not None:
            path = Path(out)
            try:
                str(path).encode()  # the records name it
            except UnicodeEncodeError:
                raise RunError(say("run folder {path!r}: its name is no UTF-8 text", path=str(path))) from None
            try:
                path.mkdir(parents=True, exist_ok=True)
                if any(path.iterdir()):
                    raise RunError(
                        say("run folder {path} already holds something; give another --out or remove it", path=path)
                    )
            except OSError as error:
                raise RunError(
                    say("run folder {path} cannot be made: {why}", path=path, why=error.strerror or error)
                ) from None
            return cls(path)
        stem = f"{date.today().isoformat()}-{_slug(data)}-{_slug(network)}"
        for number in range(1, 100_000):
            path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(
                    say("run folder {path} cannot be made: {why}", path=path, why=error.strerror or error)
                ) from None
            return cls(path)
        raise RunError(say("run folder {path}: too many runs of that name today", path=stem))

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """An existing run folder; what is not one is refused with the nearest name."""
        folder = Path(path)
        if not os.path.isdir(folder):
            if os.path.exists(folder):
                raise RunError(say("{path} is a file; a run folder is the folder that `train` made", path=path))
            text = say("there is no run folder {path}", path=path)
            raise RunError(f"{text}. {beside(path)}".removesuffix(". "))
        if not (folder / "recipe.toml").is_file():
            raise RunError(say("{path} is no run folder: recipe.toml is missing", path=path))
        return cls(folder)

    def write(self, name: str, content: Any) -> None:
        """Replace a JSON record, indented for readers."""
        with _written(self.path / name):
            replace_bytes(self.path / name, (to_json(content, indent=1) + "\n").encode())

    def read_bytes(self, name: str) -> bytes:
        """The bytes of a record; a missing one is refused by name."""
        try:
            if os.path.exists(self.path / name) and not os.path.isfile(self.path / name):
                raise OSError(0, say("it is no regular file"))  # opening a FIFO would wait for ever
            return (self.path / name).read_bytes()
        except OSError as error:
            raise RunError(
                say("run folder {path}: {name} cannot be read: {why}", path=self.path, name=name, why=error.strerror)
            ) from None

    def read(self, name: str) -> Any:
        """A JSON record; a missing or damaged one is refused by name."""
        try:
            found = json.loads(self.read_bytes(name))
        except (ValueError, RecursionError):
            found = None
        wanted = RECORDS.get(name, {})
        if not isinstance(found, dict) or not all(isinstance(found.get(key), kind) for key, kind in wanted.items()):
            raise RunError(say("run folder {path}: {name} is damaged", path=self.path, name=name))
        return found

    def has(self, name: str) -> bool:
        """Whether a record is there."""
        return (self.path / name).is_file()

    # metrics.jsonl ------------------------------------------------------------------------------------------

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl; readers see whole lines only."""
        with _written(self.path / "metrics.jsonl"), open(self.path / "metrics.jsonl", "ab") as file:
            file.write((to_json(row) + "\n").encode())

    def rows(self) -> list[dict[str, Any]]:
        """All whole lines of metrics.jsonl; a torn last one is left out."""
        if not self.has("metrics.jsonl"):
            return []
        rows = []
        for line in self.read_bytes("metrics.jsonl").split(b"\n"):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows

    def cut(self, step: int) -> None:
        """Keep the rows up to `step`: what comes after will be written again by the resumed run."""
        rows = [row for row in self.rows() if isinstance(row.get("step"), int) and row["step"] <= step]
        with _written(self.path / "metrics.jsonl"):
            replace_bytes(self.path / "metrics.jsonl", "".join(to_json(row) + "\n" for row in rows).encode())

    # best ---------------------------------------------------------------------------------------------------

    def seal_best(self, weights: bytes, facts: Mapping[str, Any]) -> None:
        """Write best.safetensors and the best.json that vouches for it, data.json and recipe.toml."""
        with _written(self.path / "best.safetensors"):
            replace_bytes(self.path / "best.safetensors", weights)
        hashes = {"best.safetensors": sha256(weights)}
        hashes |= {name: sha256(self.read_bytes(name)) for name in SEALED[1:]}
        with _written(self.path / "best.json"):
            replace_bytes(self.path / "best.json", sealed_json({**facts, "sha256": hashes}))

    def seal(self) -> dict[str, Any]:
        """The content of best.json; a changed byte in it is refused."""
        seal = open_sealed(self.read_bytes("best.json"))
        if seal is None or not isinstance(seal.get("sha256"), dict):
            raise RunError(say("run folder {path}: {name} is damaged", path=self.path, name="best.json"))
        return seal

    def verified(self, names: Sequence[str] = SEALED) -> dict[str, bytes]:
        """The bytes of sealed files, verified against best.json; any changed byte is refused."""
        seal, found = self.seal(), {}
        for name in names:
            found[name] = self.read_bytes(name)
            if seal["sha256"].get(name) != sha256(found[name]):
                raise RunError(
                    say(
                        "run folder {path}: {name} is damaged (its SHA-256 differs from best.json); nothing was used",
                        path=self.path,
                        name=name,
                    )
                )
        return found

    # lock ---------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer: an advisory lock of the operating system, which dies with the process."""
        path = self.path / ".lock"
        with _written(path):
            file = open(path, "a+")  # noqa: SIM115  closed below
        with file:
            if not _lock(file):
                file.seek(0)
                who = file.read(500).strip() or say("another process")
                raise RunError(say("run folder {path} is being written by {who}", path=self.path, who=who))
            file.truncate(0)
            file.write(f"{socket.gethostname()} process {os.getpid()}")
            file.flush()
            yield


def _slug(text: str) -> str:
    """A name for folders: letters and digits of any language, the rest as single hyphens."""
    return re.sub(r"[^\w]+", "-", text, flags=re.UNICODE).strip("-_").lower()[:40] or "data"


def _lock(file: Any) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
