"""Does each program do what its label says: healthy ones learn, faulty ones are harmed, their fixes help.

    python -m bench.doctor.verify [--names PART ...] [--seeds 3] [--jobs 1]

A faulty program stays where the fix gains more than 2 points of skill on average with the same sign on every seed,
or its training is not finite, or it breaks a contract exactly (then the contract is stated). A healthy one stays
where every seed reaches the reference, and neither twice the epochs nor a third or the threefold of its learning
rate would gain more than 4 points.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.doctor.programs import PROGRAMS, Program
from bench.doctor.programs.case import Case
from bench.doctor.training import train

HERE = Path(__file__).parent
LEAST, SLACK = 0.02, 0.04
"""Points of skill: the smallest harm of a fault, and what a healthy program may be short of."""


def verified(program: Program, seeds: int) -> dict[str, Any]:
    """One row: skills by seed, and whether the program may stay."""
    started = time.monotonic()
    row: dict[str, Any] = {
        "name": program.name, "half": program.half, "base": program.base, "truth": sorted(program.truth),
        "also": sorted(program.also), "strength": program.strength, "contract": program.contract,
        "deterministic": same(program.make(0), program.make(0)),
    }  # fmt: skip
    trained = [train(program.make(seed)) for seed in range(seeds)]
    row["seconds"] = (time.monotonic() - started) / seeds
    row["skill"] = [found.skill for found in trained]
    row["finite"] = all(found.finite for found in trained)
    row.update(_healthy(program, row) if program.healthy else _faulty(program, row, seeds))
    row["kept"] = not row["why_not"] and row["deterministic"]
    row["all_seconds"] = time.monotonic() - started
    return row


def _faulty(program: Program, row: dict[str, Any], seeds: int) -> dict[str, Any]:
    fixed = [train(program.fixed(seed)) for seed in range(seeds)]
    after = [found.skill for found in fixed]
    gains = [b - a if math.isfinite(a) else math.inf for a, b in zip(row["skill"], after, strict=True)]
    harm = sum(gains) / seeds
    shown = (harm > LEAST and min(gains) > 0) or not row["finite"]
    why = "" if shown or program.contract else f"no harm shown: {[round(gain, 3) for gain in gains]}"
    if not all(found.finite for found in fixed):
        why = "the fixed program is not finite"
    if not program.contract and min(after) < 0.25:
        why = f"the fixed program does not learn: {[round(value, 3) for value in after]}"
    return {"fixed": after, "harm": harm if math.isfinite(harm) else None, "harm_shown": shown, "why_not": why}


def _healthy(program: Program, row: dict[str, Any]) -> dict[str, Any]:
    why = "" if row["finite"] else "not finite"
    if not why and min(row["skill"]) < program.reference:
        why = f"below its reference {program.reference}: {[round(value, 3) for value in row['skill']]}"
    found = {}
    if not why and program.make(0).recipe is None:
        seeds = range(len(row["skill"]))
        found = {
            name: sum(train(varied(program, seed, **how)).skill - row["skill"][seed] for seed in seeds) / len(seeds)
            for name, how in VARIATIONS.items()
        }
        late = [name for name, gain in found.items() if gain > SLACK]
        why = f"{late[0]} gains {found[late[0]]:.3f}" if late else ""
    return {"variations": found, "why_not": why}


VARIATIONS = {"twice the epochs": {"longer": 2}, "lr x 3": {"lr": 3.0}, "lr / 3": {"lr": 1 / 3}}


def varied(program: Program, seed: int, longer: int = 1, lr: float = 1.0) -> Case:
    """The program with more epochs or another learning rate."""
    case = program.make(seed)
    case.epochs *= longer
    for group in case.optimizer.param_groups:
        group["lr"] *= lr
    return case


def same(first: Case, second: Case) -> bool:
    """Are two cases equal: weights and the first batch."""
    if first.recipe is not None:
        return first.recipe == second.recipe
    a, b = first.module.state_dict(), second.module.state_dict()
    one, two = drawn(first), drawn(second)
    return all(torch.equal(a[key], b[key]) for key in a) and all(
        torch.equal(x.nan_to_num(7.0), y.nan_to_num(7.0)) for x, y in zip(one, two, strict=True)
    )


def drawn(case: Case) -> tuple[torch.Tensor, ...]:
    """The first batch; batches may draw from torch's own generator."""
    torch.manual_seed(0)
    return tuple(next(iter(case.batches)))


def _one(job: tuple[str, int]) -> dict[str, Any]:
    torch.set_num_threads(1)
    try:
        return verified(PROGRAMS[job[0]], job[1])
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError, AttributeError) as error:
        return {"name": job[0], "kept": False, "why_not": f"{type(error).__name__}: {error}"[:300]}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.doctor.verify")
    parser.add_argument("--names", nargs="*", default=[], help="parts of names")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--missing", action="store_true", help="only those without a row that keeps them")
    parser.add_argument("--out", default=str(HERE / "verified.json"))
    given = parser.parse_args(words)
    out = Path(given.out)
    rows = {row["name"]: row for row in json.loads(out.read_text())} if out.exists() else {}
    names = [name for name in PROGRAMS if not given.names or any(part in name for part in given.names)]
    if given.missing:
        names = [name for name in names if not rows.get(name, {}).get("kept")]
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for row in pool.imap_unordered(_one, [(name, given.seeds) for name in names]):
            rows[row["name"]] = row
            print(line(row), flush=True)
            kept = [rows[name] for name in PROGRAMS if name in rows]
            out.write_text(json.dumps(kept, indent=1) + "\n")


def line(row: dict[str, Any]) -> str:
    """A row on a line of the terminal."""
    skills = " ".join(f"{value:.2f}" for value in row.get("skill", []))
    fixed = " ".join(f"{value:.2f}" for value in row.get("fixed", []))
    kept = "ok " if row["kept"] else "OUT"
    return f"{kept} {row['name']:42} {row.get('seconds', 0):5.1f}s [{skills}] [{fixed}] {row['why_not']}"


if __name__ == "__main__":
    main()
