"""The doctor against three rivals at equal compute: random change, reset to defaults, random hyperparameter search.

python -m bench.doctor.contest --half tuning|reporting [--names PART ...] [--jobs 1] [--limit 600] --out FILE.json
python -m bench.doctor.contest table FILE.json

All start from `program.make(seed)`. The compute is the CPU time of the doctor: examination, repair, and training of
the repaired program. `random` and `search` try for as long, judge on validation examples, and train the best in full
on top of that; `defaults` tries nothing. A full training has the program's epochs; the doctor and `random` may take
more of them where their change says so.
"""

import argparse
import json
import math
import multiprocessing
import queue
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch.optim import SGD, Adam, Optimizer, RMSprop

from bench.doctor.examining import diagnosed, mended, plain, quiet_threads
from bench.doctor.freeze import frozen_names, moved
from bench.doctor.programs import PROGRAMS, Program
from bench.doctor.programs.case import Case
from bench.doctor.training import train
from bench.doctor.wilson import share
from netwright.doctor.changes.penalties import no_decay, weight_decay
from netwright.doctor.changes.steps import cut, other_optimizer, rate_times
from netwright.doctor.changes.structure import widen, wider
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeLive, CodeSubject, read_batches
from netwright.doctor.findings import rounded
from netwright.doctor.repair import Repaired
from netwright.doctor.subject import Change, Live
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.usual import TRIES
from netwright.errors import NetwrightError

RIVALS = {"random": "random change", "defaults": "reset to defaults", "search": "20-trial search"}
TOLD = {"before": "as given", "fixed": "reference fix", "doctor": "doctor"}
NEAR = 0.02
"""Skills this near count as equal."""
TRIALS = 20
"""A trial may take a twentieth of the compute, and no longer than a full training; the search ends after so many."""
LIMIT = 600.0
OPTIMIZERS: dict[str, Any] = {"sgd": SGD, "momentum": partial(SGD, momentum=0.9), "adam": Adam, "rmsprop": RMSprop}
FAILURES = (Unmeasured, NetwrightError, RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""What a change that does not fit a program may raise: the trial is then worth nothing."""
Row = dict[str, Any]


def drawn_anew(live: Live, seed: int) -> None:
    """Torch's own initial weights in every module that has some."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in live.model.modules():
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()


def become(live: Live, build: Callable[..., Optimizer], **settings: float) -> None:
    """The person's optimizer becomes another one in place, for all the module's parameters: a step of their own uses
    it, and keeps its faults."""
    branch = cast(CodeLive, live)
    optimizer: Any = branch.optimizers[0]
    made = build([p for p in live.model.parameters() if p.requires_grad], **settings)
    old, state = type(optimizer), optimizer.__dict__

    def back() -> None:
        optimizer.__class__, optimizer.__dict__ = old, state

    branch.extras.callback(back)
    optimizer.__class__, optimizer.__dict__ = type(made), dict(made.__dict__)
    for other in branch.subject.turning:
        if isinstance(other, torch.optim.lr_scheduler.LRScheduler):
            other.base_lrs = [settings["lr"]] * len(other.base_lrs)


def reset(name: str, build: Callable[..., Optimizer], seed: int, width: int = 1, **settings: float) -> Change:
    """Another optimizer, torch's initial weights, and hidden layers `width` times as wide; everything else as given."""

    def apply(live: Live) -> None:
        if width > 1:
            widen(live, width)
        drawn_anew(live, seed)
        become(live, build, **settings)

    return Change(name, "", {}, apply)


def batches_of(size: int) -> Change:
    """The same examples in batches of another size; an epoch stays an epoch."""

    def apply(live: Live) -> None:
        branch = cast(CodeLive, live)
        branch.pairs = list(cut(branch.pairs, size))

    return Change(f"batches of {size}", "", {}, apply)


def searched(draw: random.Random, widths: Sequence[int], examples: int) -> list[Change]:
    """One draw of the search: optimizer, rate, batch size, decay, width, and initial weights."""
    name, rate = draw.choice(list(OPTIMIZERS)), rounded(10 ** draw.uniform(-4, -1))
    decay = rounded(10 ** draw.uniform(-6, -2)) if draw.random() < 0.5 else 0.0
    size = min(draw.choice((8, 16, 32, 64, 128)), examples)
    width, seed = draw.choice(list(widths)), draw.randrange(2**31)
    shown = f"{name} at {rate:g}, decay {decay:g}, width x {width}"
    return [reset(shown, OPTIMIZERS[name], seed, width, lr=rate, weight_decay=decay), batches_of(size)]


def random_changes(draw: random.Random, menu: Sequence[Change], subject: CodeSubject) -> list[Change]:
    """One change, or two: of the doctor's usual ones, of the rate, the optimizer, the batch size, the decay."""
    ways: list[Callable[[], Change | None]] = [
        *[lambda: draw.choice(menu) if menu else None] * 3,
        lambda: rate_times(subject, 10 ** draw.uniform(-2, 2)),
        lambda: other_optimizer(subject, draw.choice(("adam", "momentum")), rounded(10 ** draw.uniform(-4, -1))),
        lambda: batches_of(draw.choice((8, 16, 32, 64, 128, 256))),
        lambda: no_decay(subject, draw.choice((0.0, 0.1))) or weight_decay(subject, 10 ** draw.uniform(-5, -1)),
    ]
    found = [change for _ in range(draw.choice((1, 2))) if (change := draw.choice(ways)()) is not None]
    return found if len({change.name for change in found}) == len(found) else found[:1]


def made_here(make: Callable[[Chart], Change | None], chart: Chart) -> Change | None:
    """The change, or None where it cannot be made here."""
    try:
        return make(chart)
    except FAILURES:
        return None


def subject_of(case: Case) -> CodeSubject:
    return CodeSubject(case.module, case.loss, case.optimizer, case.batches, case.step, case.epochs, case.validation)


def tried(subject: CodeSubject, changes: Sequence[Change], share_of: float, sigmoid: bool) -> tuple[float, float]:
    """A short training: the skill on validation examples, and minus the last loss where skills are equal."""
    with subject.live(changes) as live:
        epochs = max(1, subject.total // max(1, subject.epoch))
        steps = max(1, round(share_of * epochs * len(cast(CodeLive, live).pairs)))
        loss = math.nan
        for _ in range(steps):
            loss = live.step()
            if not math.isfinite(loss) and live.own_loss:
                return -math.inf, -math.inf
        skill = live.skill(subject.validation or subject.batches, sigmoid and not hasattr(live, "gives_scores"))
    return (skill if math.isfinite(skill) else -math.inf), (-loss if math.isfinite(loss) else -math.inf)


def search(chart: Chart, draw: Callable[[], list[Change]], compute: float, most: int) -> tuple[list[Change], Row]:
    """Draw and try until the compute is spent, or `most` draws (0: no such bound): the best changes, and the numbers.

    The first candidate is the program as it stands; 20 steps of it show what a full training takes.
    """
    began, subject = time.process_time(), cast(CodeSubject, chart.subject)
    short = min(1.0, 20 / max(1, subject.total))
    tried(subject, [], short, chart.sigmoid)
    part = min(1.0, compute / TRIALS * short / max(1e-6, time.process_time() - began))
    best: list[Change] = []
    score, trials, failed = tried(subject, [], part, chart.sigmoid), 0, 0
    while (not most or trials < most) and time.process_time() - began < compute:
        changes, trials = draw(), trials + 1
        try:
            found = tried(subject, changes, part, chart.sigmoid)
        except FAILURES:
            failed += 1
            continue
        if found > score:
            best, score = changes, found
    spent = time.process_time() - began
    return best, {"trials": trials, "failed": failed, "share": part, "validation": score[0], "cpu": spent}


class Renewed:
    """A program's batches, read anew in each epoch as its own loop would, in the batch size of a change."""

    def __init__(self, live: CodeLive, batches: Any) -> None:
        self.live, self.batches = live, batches
        given, now = live.subject.batches, live.pairs
        self.size = 0 if [len(pair) for pair in given] == [len(pair) for pair in now] else max(map(len, now))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        pairs = read_batches(self.batches, torch.device("cpu"))[0]
        self.live.pairs = list(cut(pairs, self.size)) if self.size else pairs
        yield from [(None,)] * len(self.live.pairs)


def with_changes(case: Case, changes: Sequence[Change]) -> Case:
    """The case with changes made, ready for its full training."""
    live = CodeLive(subject_of(case), 0)
    for change in changes:
        if change.apply is not None:
            change.apply(live)
    made = Repaired(live)
    made.train(case.module.training)
    return replace(case, module=made, batches=Renewed(live, case.batches), step=lambda *_: live.step())


def doctor(program: Program, seed: int, budget: float) -> Row:
    """Examine, repair a fresh copy, train it: its skill, and the CPU seconds of all of it."""
    case, fresh = program.make(seed), program.make(seed)
    began = time.process_time()
    diagnosis = diagnosed(case, budget)
    examined = time.process_time() - began
    found: Row = {"verdict": diagnosis.verdict, "faults": [finding.fault for finding in diagnosis.findings]}
    try:
        changed = (mended(fresh, diagnosis) if diagnosis.findings else None) or fresh
    except FAILURES as error:
        changed, found["repair_error"] = program.make(seed), f"{type(error).__name__}: {error}"[:300]
    skill = train(changed).skill
    return {**found, "skill": skill, "examination": examined, "cpu": time.process_time() - began}


def full(program: Program, seed: int, changes: Sequence[Change]) -> Row:
    """The full training with these changes; as the program stands where they cannot be made."""
    began = time.process_time()
    try:
        skill, error = train(with_changes(program.make(seed), changes) if changes else program.make(seed)).skill, ""
    except FAILURES as fault:
        skill, error = train(program.make(seed)).skill, f"{type(fault).__name__}: {fault}"[:300]
    chosen = " + ".join(change.name for change in changes) or "nothing"
    return {"skill": skill, "chosen": chosen, "training": time.process_time() - began, "error": error}


def rival(program: Program, seed: int, kind: str, compute: float) -> Row:
    """What a rival reaches with that compute."""
    draw = random.Random(f"{kind} {program.name} {seed}")
    if kind == "defaults":
        usual = reset("Adam at 0.001", Adam, draw.randrange(2**31), lr=1e-3)
        return {**full(program, seed, [usual]), "trials": 0, "cpu": 0.0}
    subject = subject_of(program.make(seed))
    chart = Chart(subject, Clock(60.0))
    if kind == "random":
        menu = [change for _, make in TRIES if (change := made_here(make, chart)) is not None]
        best, facts = search(chart, lambda: random_changes(draw, menu, subject), compute, 0)
    else:
        widths = (1, 2, 4) if made_here(wider, chart) is not None else (1,)
        best, facts = search(chart, lambda: searched(draw, widths, subject.examples), compute, TRIALS)
    return {**full(program, seed, best), **facts}


def contested(program: Program, seed: int, budget: float, tell: Callable[[Row], None]) -> None:
    """All contestants on one program, each told as soon as it is known."""
    ours = doctor(program, seed, budget)
    tell({"doctor": ours})
    tell({"before": train(program.make(seed)).skill, "fixed": train(program.fixed(seed)).skill})
    for kind in RIVALS:
        tell({kind: rival(program, seed, kind, ours["cpu"])})


def _inside(answers: "Queue[Row]", name: str, seed: int, budget: float) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        contested(PROGRAMS[name], seed, budget, lambda found: answers.put(plain(found)))
    except BaseException as error:  # whatever is raised is a row of the table
        answers.put({"error": f"{type(error).__name__}: {error}"[:500]})
        raise
    answers.put({"done": True})


def row(name: str, seed: int = 0, budget: float = 60.0, limit: float = LIMIT) -> Row:
    """One program in a process of its own; what is known when the time is up."""
    program, context = PROGRAMS[name], multiprocessing.get_context("spawn")
    answers: Queue[Row] = context.Queue()
    process = context.Process(target=_inside, args=(answers, name, seed, budget))
    process.start()
    found: Row = {"name": name, "seed": seed, "truth": sorted(program.truth), "strength": program.strength}
    until = time.monotonic() + limit
    while not found.keys() & {"done", "error"}:
        try:
            found |= answers.get(timeout=0.5)
        except queue.Empty:
            if not process.is_alive() and answers.empty():
                found["error"] = f"the process ended with {process.exitcode}"
            elif time.monotonic() > until:
                found["error"] = f"took longer than {limit:.0f} s"
    process.join(5)
    process.kill()
    process.join()
    return found


def skill_in(found: Row, kind: str) -> float | None:
    """A contestant's skill; -1 where its outputs are not finite, None where it has not come to an end."""
    if kind not in found:
        return None
    value = found[kind]["skill"] if isinstance(found[kind], dict) else found[kind]
    return float(value) if value is not None and math.isfinite(value) else -1.0


def outcome(found: Row, kind: str) -> str:
    """`win`, `tie`, `loss` of the doctor against a rival; `none` where the rival has no skill to compare.

    Formula: d the doctor's skill less the rival's: win d > 0.02, loss d < -0.02, else tie. A doctor that has come to no
    end has lost.
    """
    ours, theirs = skill_in(found, "doctor"), skill_in(found, kind)
    if ours is None:
        return "loss"
    if theirs is None:
        return "none"
    apart = round(ours - theirs, 9)
    return "win" if apart > NEAR else "loss" if apart < -NEAR else "tie"


def report(rows: Sequence[Row], title: str = "The doctor against its rivals at equal compute") -> str:
    """Markdown: shares with Wilson's 95 % intervals, skills, seconds, and every loss by name."""
    lines = ["| rival | doctor at least as good (within 0.02) | wins | ties | losses | not compared | "
             "median skill | mean trials |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    results = {kind: [outcome(found, kind) for found in rows] for kind in RIVALS}
    for kind, found in results.items():
        wins, ties, losses, none = (found.count(word) for word in ("win", "tie", "loss", "none"))
        trials = [one[kind]["trials"] for one in rows if kind in one]
        mean = f"{sum(trials) / len(trials):.1f}" if trials else "-"
        won = share(wins + ties, wins + ties + losses)
        counts = f"{wins} | {ties} | {losses} | {none}"
        lines.append(f"| {RIVALS[kind]} | {won} | {counts} | {middle(rows, kind)} | {mean} |")
    compute = median([one["doctor"]["cpu"] for one in rows if "doctor" in one] or [0.0])
    skills = ", ".join(f"{said} {middle(rows, kind)}" for kind, said in TOLD.items())
    told = f"Programs: {len(rows)}. Median skill on held-out examples: {skills}. Median compute: {compute:.1f} CPU "
    told += "seconds (examination, repair, training)."
    return "\n\n".join([f"## {title}", told, "\n".join(lines), *missed(rows, results)]) + "\n"


def middle(rows: Sequence[Row], kind: str) -> str:
    values = [value for found in rows if (value := skill_in(found, kind)) is not None]
    return f"{median(values):.3f}" if values else "-"


def missed(rows: Sequence[Row], results: dict[str, list[str]]) -> list[str]:
    """Every loss with both skills, and every program that came to no end."""
    lost = [
        f"- {found['name']} against {RIVALS[kind]}: {shown(found, 'doctor')} to {shown(found, kind)}"
        + (f" ({found[kind]['chosen']})" if kind in found else "")
        for place, found in enumerate(rows) for kind in RIVALS if results[kind][place] == "loss"
    ]  # fmt: skip
    failed = [f"- {found['name']}: {found['error']}" for found in rows if found.get("error")]
    return [*(["\n".join(["Losses:", *lost])] if lost else []), *(["\n".join(["Errors:", *failed])] if failed else [])]


def shown(found: Row, kind: str) -> str:
    value = skill_in(found, kind)
    return "nothing" if value is None else f"{value:.3f}"


def contestable(half: str, parts: Sequence[str] = ()) -> list[str]:
    """The faulty frozen programs of a half that are modules."""
    names = [name for name in frozen_names(half) if not parts or any(part in name for part in parts)]
    return [name for name in names if not PROGRAMS[name].healthy and PROGRAMS[name].make(0).recipe is None]


def main(words: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if words is None else words)
    parser = argparse.ArgumentParser(prog="python -m bench.doctor.contest")
    if given[:1] == ["table"]:
        parser.add_argument("file")
        print(report(json.loads(Path(parser.parse_args(given[1:]).file).read_text())))
        return
    parser.add_argument("--half", choices=("tuning", "reporting"), required=True)
    parser.add_argument("--names", nargs="*", default=[], help="parts of names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds an examination may take")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds a program may take altogether")
    parser.add_argument("--out", required=True)
    run(parser.parse_args(given))


def run(given: argparse.Namespace) -> None:
    """Every program in a process of its own; the file is written anew after each."""
    quiet_threads()
    if changed := moved():
        print(f"not as frozen: {', '.join(changed)}", file=sys.stderr)
    rows: list[Row] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        names = contestable(given.half, given.names)
        for job in as_completed([pool.submit(row, name, given.seed, given.budget, given.limit) for name in names]):
            rows.append(job.result())
            Path(given.out).write_text(json.dumps(sorted(rows, key=lambda one: one["name"]), indent=1) + "\n")
            skills = "  ".join(f"{kind} {shown(rows[-1], kind)}" for kind in ("before", "fixed", "doctor", *RIVALS))
            print(f"{rows[-1]['name']:44} {skills}  {rows[-1].get('error', '')}", flush=True)
    print(report(rows, f"The doctor against its rivals on the {given.half} half"))


if __name__ == "__main__":
    main()
