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
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from netwright import storage
from netwright.errors import RunError, beside
from netwright.language import say
from netwright.storage import Data, draft_of, rename, replace_bytes, sync_folder, write_bytes

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
        self._unwritten = bytearray()
        """Rows that could not be written yet."""
        self._rows_lock = threading.Lock()
        self._rows_named = False

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
            _keep_name(path)
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
            _keep_name(path)
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
            return storage.read_bytes(self.path / name)
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
        """Append one line to metrics.jsonl; readers see whole lines only, but for one that a full disk cut short.

        What cannot be written now stays in memory and goes before the next line, so that no row is ever lost or torn
        while the process lives. Errors: RunError.
        """
        self._unwritten += (to_json(row) + "\n").encode()
        self._write_rows()

    def sync_rows(self) -> None:
        """Make every row so far durable: before a checkpoint that stands on them can be seen. Errors: RunError."""
        self._write_rows()
        if self.has("metrics.jsonl"):
            with _written(self.path / "metrics.jsonl"):
                storage.sync_file(self.path / "metrics.jsonl")
                if not self._rows_named:  # a file synced in a folder that is not may be gone with its name
                    sync_folder(self.path)
                    self._rows_named = True

    def _write_rows(self) -> None:
        with _written(self.path / "metrics.jsonl"), self._rows_lock:
            while self._unwritten:
                done = storage.append_bytes(self.path / "metrics.jsonl", bytes(self._unwritten))
                del self._unwritten[:done]

    def rows_bytes(self) -> int:
        """How many bytes of rows there are, written or still in memory."""
        with self._rows_lock:
            there = self.path / "metrics.jsonl"
            return len(self._unwritten) + (there.stat().st_size if there.exists() else 0)

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

    def seal_best(self, weights: Data, facts: Mapping[str, Any]) -> None:
        """Write best.safetensors and the best.json that vouches for it, data.json and recipe.toml."""
        self.draft_best(weights, facts)
        self.settle_best()

    def draft_best(self, weights: Data, facts: Mapping[str, Any]) -> str:
        """Write the next best.safetensors and best.json beside the ones in force; the digest of the weights.

        They take force by `settle_best`, once the checkpoint that names this digest can be seen: so a kill between
        never leaves a checkpoint beside weights of another time.
        """
        digest = hashlib.sha256()
        for piece in [weights] if isinstance(weights, bytes) else weights:
            digest.update(piece)
        hashes = {"best.safetensors": digest.hexdigest()}
        hashes |= {name: sha256(self.read_bytes(name)) for name in SEALED[1:]}
        with _written(self.path / "best.safetensors"):
            write_bytes(draft_of(self.path / "best.safetensors"), weights)
        with _written(self.path / "best.json"):
            write_bytes(draft_of(self.path / "best.json"), sealed_json({**facts, "sha256": hashes}))
        with _written(self.path / "best.json"):
            sync_folder(self.path)
        return digest.hexdigest()

    def settle_best(self) -> None:
        """Put the drafts of the best weights and of their seal in force, durably."""
        for name in ("best.safetensors", "best.json"):
            with _written(self.path / name):
                rename(draft_of(self.path / name), self.path / name)
        with _written(self.path / "best.json"):
            sync_folder(self.path)

    def recover_best(self, digest: str) -> str:
        """Finish what a kill cut short: put drafts in force that a checkpoint names by the `digest` of their weights.

        The digest of what is in force then. Errors: RunError where that is damaged.
        """
        if self._digest("best.safetensors") != digest:
            if self._digest(draft_of(self.path / "best.safetensors").name) != digest:
                return sha256(self.verified()["best.safetensors"])
            with _written(self.path / "best.safetensors"):
                rename(draft_of(self.path / "best.safetensors"), self.path / "best.safetensors")
        draft = draft_of(self.path / "best.json")
        seal = open_sealed(storage.read_bytes(draft)) if draft.is_file() else None
        hashes = seal.get("sha256") if seal is not None else None
        if isinstance(hashes, dict) and hashes.get("best.safetensors") == digest:
            with _written(self.path / "best.json"):
                rename(draft, self.path / "best.json")
                sync_folder(self.path)
        self.verified()
        return digest

    def _digest(self, name: str) -> str:
        try:
            return storage.digest_of(self.path / name)[1]
        except OSError:
            return ""

    def seal_also(self, name: str, data: bytes) -> None:
        """Write one more file that best.json vouches for."""
        with _written(self.path / name):
            replace_bytes(self.path / name, data)
        seal = self.seal()
        seal["sha256"][name] = sha256(data)
        with _written(self.path / "best.json"):
            replace_bytes(self.path / "best.json", sealed_json(seal))

    def sources(self) -> dict[str, str]:
        """The SHA-256 of the records that every checkpoint stands on: data.json and recipe.toml."""
        return {name: sha256(self.read_bytes(name)) for name in SEALED[1:]}

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
        warn_of_sharing(self.path)
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


def _keep_name(path: Path) -> None:
    """Make a new folder's name durable where the folder around it may be opened."""
    with suppress(OSError):
        sync_folder(path.parent)


def warn_of_sharing(path: Path) -> None:
    """Say on stderr where a folder lies on a file system of the network: its locks may not bind other machines."""
    kind = storage.file_system(path)
    if storage.shared(kind):
        text = say("! run folder {path} lies on a network file system ({kind}): its lock may not hold there; let one "
                   "machine at a time write into it", path=path, kind=kind)  # fmt: skip
        print(text, file=sys.stderr, flush=True)


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
