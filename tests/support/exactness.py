"""Two runs compared to the bit: every tensor, every metric row without its times, every number of the report.

`entries` lists all of it by name, `golden` is one SHA-256 over the list, and `first_difference` names the first entry
that differs. Read with safetensors and json alone, so that a defect in the package's own reading hides nothing.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load

TIMES = ("seconds", "examples_per_second")
OWN = ("run", "wall_seconds", "digest", "sha256", "id", "rows_bytes", *TIMES)
"""What may differ between two runs: times (and how many bytes their digits take), and the name of the run."""
ROOT = Path(__file__).parents[2]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tensors(path: Path) -> dict[str, str]:
    """Number type, shape and a hash of the bytes of each tensor in a safetensors file."""
    found = load(path.read_bytes())
    return {
        f"{path.name}: {name}": f"{tensor.dtype} {list(tensor.shape)} "
        + sha256(tensor.contiguous().flatten().numpy().tobytes())
        for name, tensor in found.items()
    }


def facts(path: Path) -> dict[str, str]:
    """The entries of a JSON object but for what may differ."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {f"{path.name}: {name}": json.dumps(value) for name, value in found.items() if name not in OWN}


def rows(run: Path) -> list[dict]:
    """The rows of metrics.jsonl without their times; every line has to be whole."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def last_checkpoint(run: Path) -> Path:
    return max((path for path in (run / "checkpoints").iterdir() if path.name.isdecimal()), key=lambda p: int(p.name))


def entries(run: Path | str) -> dict[str, str]:
    """All that has to repeat to the bit, of a finished run."""
    run = Path(run)
    last = last_checkpoint(run)
    found = {"step": last.name}
    for name in ("weights.safetensors", "state.safetensors"):
        found |= tensors(last / name)
    found |= facts(last / "state.json")
    for name in ("best.safetensors", "predictions.safetensors"):
        found |= tensors(run / name)
    found |= facts(run / "best.json") | facts(run / "report.json")
    found |= {f"metrics.jsonl: row {place:06}": json.dumps(row) for place, row in enumerate(rows(run))}
    return found


def golden(found: dict[str, str]) -> str:
    """One hash over all entries, in the order of their names."""
    return sha256("\n".join(f"{name} = {found[name]}" for name in sorted(found)).encode())


def first_difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    """The first entry in which two runs differ, or nothing."""
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            return f"{name}: {found.get(name)} instead of {wanted.get(name)}"
    return ""


def same(run: Path | str, other: Path | str) -> str:
    """The first difference between two finished runs, or nothing."""
    return first_difference(entries(run), entries(other))


def environment(cache: Path | str, **more: str) -> dict[str, str]:
    """The environment of a process under test: one thread, English, a cache of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en", "NETWRIGHT_CACHE": str(cache), **more}


def netwright(*words: object, cwd: Path | None = None, cache: Path | str = "cache", **options) -> subprocess.Popen:
    """A process of its own that runs one command; its words in both streams are kept as text."""
    return subprocess.Popen(
        [sys.executable, "-m", "netwright", *map(str, words)], cwd=cwd, text=True, start_new_session=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
        env=options.get("env") or environment(Path(cwd or ".").resolve() / cache),
    )  # fmt: skip
