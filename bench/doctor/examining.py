"""The doctor on one program, in a process of its own: what it said, and whether what it changed helps."""

import json
import math
import multiprocessing
import os
import queue
import time
import traceback
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from bench.doctor.programs import PROGRAMS as FIRST
from bench.doctor.programs import Program
from bench.doctor.programs.case import Case
from bench.doctor.second import PROGRAMS as SECOND
from bench.doctor.training import train
from netwright.errors import NetwrightError

PROGRAMS: dict[str, Program] = {**FIRST, **SECOND}

LIMIT = 240.0
"""Seconds a program may take altogether; then the row says so."""


def row(name: str, seed: int = 0, budget: float = 60.0, repair: bool = True, limit: float = LIMIT) -> dict[str, Any]:
    """One program examined in a new process."""
    context = multiprocessing.get_context("spawn")
    answers: Queue[dict[str, Any]] = context.Queue()
    process = context.Process(target=_inside, args=(answers, name, seed, budget, repair))
    process.start()
    found = _waited(answers, process, limit)
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()
    return judged(PROGRAMS[name], {"name": name, "seed": seed, **found})


def _waited(answers: "Queue[dict[str, Any]]", process: Any, limit: float) -> dict[str, Any]:
    """The answer, or why there is none."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            if not process.is_alive() and answers.empty():
                return {"error": f"the process ended with {process.exitcode}"}
    return {"error": f"took longer than {limit:.0f} s"}


def _inside(answers: "Queue[dict[str, Any]]", name: str, seed: int, budget: float, repair: bool) -> None:
    torch.set_num_threads(1)
    try:
        answers.put(examined(PROGRAMS[name], seed, budget, repair))
    except BaseException as error:  # whatever a doctor may raise is a row of the table
        answers.put({"error": f"{type(error).__name__}: {error}"[:500], "traceback": traceback.format_exc()[-2000:]})
        raise


def examined(program: Program, seed: int, budget: float, repair: bool) -> dict[str, Any]:
    """Verdict, faults in order, seconds, what the reading of a diagnosis needs, and the skills around a repair."""
    case = program.make(seed)
    started = time.monotonic()
    diagnosis = diagnosed(case, budget)
    found: dict[str, Any] = {
        "verdict": diagnosis.verdict,
        "faults": [finding.fault for finding in diagnosis.findings],
        "where": [finding.where for finding in diagnosis.findings],
        "notes": [note.fault for note in diagnosis.notes],
        "remedies": [[str(remedy) for remedy in finding.remedies] for finding in diagnosis.findings],
        "evidence": plain(diagnosis.evidence),
        "seconds": time.monotonic() - started,
        "error": "",
    }
    return found | (repaired(program, seed, diagnosis) if repair else {})


def diagnosed(case: Case, budget: float) -> Any:
    """`examine` of a program, `diagnose` of a recipe."""
    import netwright as nw

    if case.recipe is None:
        return nw.examine(
            case.module, case.loss, case.optimizer, case.batches, step=case.step, epochs=case.epochs,
            validation=case.validation, budget=budget,
        )  # fmt: skip
    with TemporaryDirectory(prefix="recipe-") as place:
        file = Path(place) / "recipe.toml"
        file.write_text(nw.Recipe().updated(case.recipe, "program").text())
        return nw.diagnose(file)


def repaired(program: Program, seed: int, diagnosis: Any) -> dict[str, Any]:
    """Skill before, with the reference fix, and with what the doctor would change. Programs with findings only.

    `Diagnosis.repair(module, loss, optimizer, batches, step=, epochs=)` gives the changed six; of a recipe the
    first remedies' patches are written into it.
    """
    if not diagnosis.findings:
        return {}
    try:
        changed, error = mended(program.make(seed), diagnosis), ""
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError, NetwrightError) as fault:
        changed, error = None, f"{type(fault).__name__}: {fault}"[:300]
    found = {"before": train(program.make(seed)).skill, "fixed": train(program.fixed(seed)).skill}
    after = train(changed).skill if changed is not None else math.nan
    skills = {key: value if math.isfinite(value) else None for key, value in {**found, "after": after}.items()}
    return {**skills, "repair_error": error}


def mended(case: Case, diagnosis: Any) -> Case | None:
    """A fresh case with the doctor's changes; None where it offers none that can be applied."""
    if case.recipe is not None:
        if not diagnosis.changes:
            return None
        import netwright as nw

        recipe = nw.Recipe().updated(case.recipe, "program")
        for key, value in diagnosis.changes.items():
            recipe = recipe.set(key, value, "patch")
        return replace(case, recipe=recipe.document())
    apply = getattr(diagnosis, "repair", None)
    if apply is None:
        return None
    module, loss, optimizer, batches, step, epochs = apply(
        case.module, case.loss, case.optimizer, case.batches, step=case.step, epochs=case.epochs
    )
    return replace(case, module=module, loss=loss, optimizer=optimizer, batches=batches, step=step, epochs=epochs)


def judged(program: Program, found: dict[str, Any]) -> dict[str, Any]:
    """Was it detected, was the cause first, within two; a false alarm; did the repair reach the reference fix."""
    faults, right = found.get("faults", []), program.truth | program.also
    alarm = found.get("verdict") == "faulty"
    found |= {
        "half": program.half, "base": program.base, "truth": sorted(program.truth), "also": sorted(program.also),
        "strength": program.strength, "healthy": program.healthy,
        "detected": alarm and not program.healthy,
        "top1": alarm and bool(right & set(faults[:1])),
        "top2": alarm and bool(right & set(faults[:2])),
        "false_alarm": alarm and program.healthy,
    }  # fmt: skip
    if found.get("fixed") is not None:
        after, before = found["after"], found["before"]
        found["repaired"] = after is not None and after >= found["fixed"] - 0.02
        found["worse"] = after is not None and before is not None and after < before - 0.02
    return found


def plain(value: Any) -> Any:
    """As JSON can hold it."""
    return json.loads(json.dumps(value, default=str).replace("NaN", "null").replace("Infinity", "null"))


def quiet_threads() -> None:
    """One thread each: programs are small, and timings must not depend on the neighbours."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
