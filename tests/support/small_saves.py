"""A run folder of a few kilobytes and the saves of a short training, without the training."""

import hashlib
import json
from functools import cache

import torch

from netwright.rundir import RunFolder, sha256
from netwright.training.checkpoints import Checkpoint, from_bytes, newest, to_bytes
from netwright.training.saver import Saver, Snapshot

RUN = "0123456789abcdef"
KINDS = ("periodic", "new best", "final")
NEW_BEST = {1, 3}
"""Steps whose save brings new best weights; the first always does."""


def begin(path) -> RunFolder:
    """A folder with the records that stand before the first step."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "recipe.toml").write_text("seed = 0\n")
    (path / "data.json").write_text('{"task": "classify"}\n')
    return RunFolder(path)


def sources(folder):
    return {name: sha256(folder.read_bytes(name)) for name in ("recipe.toml", "data.json")}


def saver(folder) -> Saver:
    return Saver(folder, RUN, sources(folder))


@cache
def weights(step, size=300):
    generator = torch.Generator().manual_seed(1000 + step)
    return {"w": torch.randn(size, 3, generator=generator), "b": torch.randn(7, generator=generator)}


@cache
def moments(step, size=300):
    generator = torch.Generator().manual_seed(2000 + step)
    return {"optimizer.main.0.exp_avg": torch.randn(size, 3, generator=generator), "step": torch.tensor(float(step))}


@cache
def best_digest(step, size):
    return hashlib.sha256(to_bytes(weights(step, size), {"run": RUN})).hexdigest()


def best_step(step, new_best=NEW_BEST):
    return max(one for one in new_best if one <= step)


def save(folder, found, step, *, best=None, size=300, stopped="", row=True):
    """Append the rows of a step and save it as the training does: in the background, waited for; what failed."""
    if row:
        folder.append({"step": step, "loss": step / 3, "text": "x" * 40})
    best = step in NEW_BEST if best is None else best
    facts = {"step": step, "rows_bytes": folder.rows_bytes(), "stopped": stopped, "best_step": step if best else None}
    checkpoint = Checkpoint(step, weights(step, size), moments(step, size), facts)
    found.start(Snapshot(checkpoint, weights(step, size) if best else None, {"epoch": step, "run": RUN}))
    return found.landed(wait=True)


def load(path, said=None):
    """What resume does first: the newest whole generation, and the best weights that it stands on."""
    folder = RunFolder(path)
    found = newest(path, RUN, sources(folder), (said if said is not None else []).append)
    if found is not None and found.best:
        folder.recover_best(found.best)
    return found


def check(path, allowed, new_best=NEW_BEST, size=300, said=None):
    """Load, and require one of the `allowed` steps with exactly its own tensors, rows and best weights."""
    found = load(path, said)
    step = found.step if found is not None else None
    assert step in allowed, f"step {step} instead of one of {allowed}"
    if found is None:
        return None
    for here, there in ((found.weights, weights(step, size)), (found.tensors, moments(step, size))):
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], there[name]) for name in there)
    wanted = best_step(step, new_best)
    folder = RunFolder(path)
    best = folder.verified()["best.safetensors"]
    assert found.best == best_digest(wanted, size) == sha256(best), "best weights of another time"
    assert torch.equal(from_bytes(best)["w"], weights(wanted, size)["w"])
    assert folder.seal()["epoch"] == wanted
    rows = (path / "metrics.jsonl").read_bytes()[: found.facts["rows_bytes"]]
    assert len(rows) == found.facts["rows_bytes"], "rows are missing"
    steps = [json.loads(line)["step"] for line in rows.splitlines()]
    assert steps[-1] == step
    assert steps == sorted(set(steps))
    return step
