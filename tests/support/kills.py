"""Random kills: a run that dies at any moment ends, resumed, with the bits of the run that nobody killed.

    python tests/support/kills.py --count 5000        (or: make kills COUNT=5000)

The server imports torch once, on one thread, and forks a child for each training. Half of the kills are aimed at the
window around a save, some at validation, some at the start; the rest fall anywhere. Each kill is a pure function of
`--seed` and its number, up to the timing of the machine: `--first N --count 1` repeats number N.
"""

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

WORKS: dict[str, dict] = {
    "mlp": {
        "data": {"path": "moons", "limit": 120},
        "network": {"name": "mlp", "hidden": [12]},
        "optimizer": {"name": "adam"},
        "training": {"epochs": 8, "save_steps": 5, "log_steps": 2},
        "batch": 16,
    },
    "cnn": {
        "data": {"path": "digits", "limit": 160, "augment": "translate 1, noise 0.05"},
        "network": {"name": "stack", "layers": "conv 4 3, batchnorm, relu, maxpool 2, dropout 0.2, linear out"},
        "optimizer": {"name": "momentum", "lr": 0.05},
        "schedule": {"name": "one_cycle"},
        "training": {"epochs": 4, "save_steps": 3, "log_steps": 1},
        "batch": 32,
    },
    "lstm": {
        "data": {"path": "digits", "limit": 160},
        "network": {"name": "stack", "layers": "lstm 12, last, dropout 0.1, linear out"},
        "optimizer": {"name": "adamw"},
        "schedule": {"name": "plateau"},
        "training": {"epochs": 4, "save_steps": 4, "log_steps": 1, "stop_after": 3},
        "batch": 32,
    },
    "pictures": {
        "data": {"path": "pictures", "augment": "flip", "workers": 0},
        "network": {"name": "stack", "layers": "conv 3 3, relu, maxpool 2, linear out"},
        "training": {"epochs": 3, "save_steps": 2, "log_steps": 1},
        "batch": 8,
    },
}
"""Small kinds of network; between them: batch norm, dropout, augmentation, schedules with and without memory, and
pictures that are decoded from their files."""
SETTLED = {
    "threads": 1, "device": "cpu", "precision": "float32", "layout": "contiguous", "allocator": "default",
    "compile": False,
}  # fmt: skip
"""Nothing is left to be measured before the first step."""
USUAL = "mlp,cnn,lstm"
KINDS = (("save", 0.5), ("evaluation", 0.1), ("start", 0.1), ("anywhere", 0.3))
LONGEST_S = 120.0
"""A child that takes longer hangs."""

_pipe = -1
"""Where a child tells what it begins (in the child only)."""
_ids = ""
"""Where a child logs the examples of each step (in the child only)."""


def recipe_of(work: str):
    from netwright.recipe import Recipe

    tables = {name: WORKS[work][name] for name in ("data", "network", "optimizer", "schedule") if name in WORKS[work]}
    tables["data"] = {**tables["data"], "batch_size": WORKS[work]["batch"]}
    tables["training"] = {**WORKS[work]["training"], **SETTLED}
    return Recipe().updated(tables, "kills")


def pictures(root: Path) -> None:
    """Two classes of 20 small pictures each."""
    import numpy as np
    from PIL import Image

    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(20):
            noise = np.random.default_rng([number, name == "a"]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise // 2 + 64 * (name == "a")).save(root / name / f"{number}.png")


# the child ----------------------------------------------------------------------------------------------------------


def tell(letter: bytes) -> None:
    if _pipe >= 0:
        os.write(_pipe, letter)


def watch() -> None:
    """Let children tell when they make the folder (F), begin to save (S) and to validate (E), and log examples."""
    import netwright.rundir
    import netwright.training.keeper
    import netwright.training.train as train

    keeper, folder = netwright.training.keeper.Keeper, netwright.rundir.RunFolder
    for home, name, letter in ((keeper, "save", b"S"), (keeper, "validate", b"E")):
        setattr(home, name, _telling(getattr(home, name), letter))
    create = folder.create.__func__
    folder.create = classmethod(_telling(create, b"F"))
    steps = train.steps
    train.steps = lambda state, batches, epochs, probes=(): steps(state, batches, epochs, [*probes, log_examples])


def _telling(function: Callable, letter: bytes) -> Callable:
    def told(*values, **named):
        tell(letter)
        found = function(*values, **named)
        tell(letter.lower())
        return found

    return told


def log_examples(state, batch, terms) -> None:
    """One line a step: its number, the epoch, the examples; whole at any kill."""
    if _ids:
        with open(_ids, "ab") as file:
            file.write((json.dumps([state.step + 1, batch.epoch, batch.examples.tolist()]) + "\n").encode())


def fork(job: Callable[[], object], log: Path, ids: str = "") -> tuple[int, int]:
    """Start a child that does `job`; returns its process number and the pipe in which it tells what it begins."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:  # the child: it never returns into the server
        global _pipe, _ids
        os.close(reader)
        _pipe, _ids = writer, ids
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        job()
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


# the server ---------------------------------------------------------------------------------------------------------


def events(reader: int, wanted: bytes = b"", number: int = 0, limit: float = LONGEST_S) -> list[tuple[bytes, float]]:
    """What a child tells and when, up to the `number`-th letter `wanted`, its end, or `limit` seconds."""
    found: list[tuple[bytes, float]] = []
    started = time.monotonic()
    while (left := started + limit - time.monotonic()) > 0:
        if not select.select([reader], [], [], left)[0]:
            break
        data = os.read(reader, 1)
        if not data:
            break
        found.append((data, time.monotonic() - started))
        if data == wanted:
            number -= 1
            if number == 0:
                break
    return found


def ended(child: int) -> int:
    """Wait for a child: its exit code, or minus the signal; one that hangs is killed."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


class Whole:
    """The run of a work that nobody killed, and when it did what."""

    def __init__(self, work: str, home: Path) -> None:
        from exactness import entries

        self.work, self.home, self.path = work, home, home / f"whole-{work}"
        child, reader = fork(lambda: train(work, self.path), home / "log", str(home / f"whole-{work}.ids"))
        started = time.monotonic()
        self.events = events(reader)
        self.seconds = time.monotonic() - started
        os.close(reader)
        if code := ended(child):
            raise SystemExit(f"{work} did not train (code {code}):\n{(home / 'log').read_text()}")
        self.entries = entries(self.path)

    def window(self, letter: bytes) -> float:
        """How long what begins with `letter` takes, with the work in the background after it (median)."""
        begun = [when for name, when in self.events if name == letter]
        done = [when for name, when in self.events if name == letter.lower()]
        return 1.5 * sorted(b - a for a, b in zip(begun, done, strict=False))[len(begun) // 2] + 0.005

    def count(self, letter: bytes) -> int:
        return sum(name == letter for name, _ in self.events)

    def moment(self, chance: random.Random, kills: int, again: bool) -> tuple[str, bytes, int, float]:
        """A kill's kind, the event it waits for, and the delay after it, where `kills` shall fall on one run."""
        kind = chance.choices([name for name, _ in KINDS], [share for _, share in KINDS])[0]
        if kind == "start" and not again:
            first = next(when for name, when in self.events if name == b"s")
            made = next(when for name, when in self.events if name == b"F")
            return kind, b"F", 1, chance.uniform(0, first - made)
        if kind in ("start", "anywhere"):
            return "anywhere", b"", 0, chance.uniform(0, self.seconds / kills)
        letter = b"S" if kind == "save" else b"E"
        return (
            kind,
            letter,
            chance.randint(1, max(1, self.count(letter) // kills)),
            chance.uniform(0, self.window(letter)),
        )


def train(work: str, path: Path) -> None:
    import netwright as nw

    nw.train(recipe=recipe_of(work), out=path, quiet=True)


def go_on(path: Path, work: str, workers: int | None = None) -> None:
    """Resume a run; one that died before it had a recipe starts anew. `workers` reads its data with so many."""
    import netwright as nw

    if not (path / "recipe.toml").is_file():
        shutil.rmtree(path, ignore_errors=True)
        train(work, path)
        return
    data = None
    if workers is not None:
        settings = nw.open(path).recipe.table("data")
        data = nw.read(settings.pop("path"), **{**settings, "workers": workers})
    nw.resume(path, data=data, quiet=True)


def kill(job: Callable[[], object], moment: tuple[str, bytes, int, float], log: Path, ids: str) -> tuple[str, int]:
    """Start `job` and kill it at a moment: the kind of kill, and how the child ended."""
    kind, letter, number, delay = moment
    child, reader = fork(job, log, ids)
    if letter:
        events(reader, letter, number)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    code = ended(child)
    os.close(reader)
    return f"{kind} {letter.decode()}{number} +{1000 * delay:.1f} ms", code


def once(whole: Whole, chance: random.Random, kills: int, workers: list[int]) -> tuple[Counter[str], str]:
    """Kill one run `kills` times and resume it to its end: the kinds of kills that hit, and what differs."""
    from exactness import entries, first_difference

    run, log, ids = whole.home / "run", whole.home / "run.log", whole.home / "run.ids"
    shutil.rmtree(run, ignore_errors=True)
    for path in (log, ids):
        path.unlink(missing_ok=True)
    hit: Counter[str] = Counter()
    moments = []
    while not (run / "report.html").exists() and sum(hit.values()) < kills:
        job = (lambda: train(whole.work, run)) if not moments else (
            lambda: go_on(run, whole.work, chance.choice(workers) if workers else None)
        )  # fmt: skip
        when = whole.moment(chance, kills - sum(hit.values()), bool(moments))
        moment, code = kill(job, when, log, str(ids))
        moments.append(moment)
        if code == -signal.SIGKILL:
            hit[moment.split()[0]] += 1
        elif code:
            return hit, f"{moments}: ended with code {code}\n{log.read_text()[-700:]}"
    child, reader = fork(lambda: go_on(run, whole.work), log, str(ids))
    code = ended(child)
    os.close(reader)
    if code:
        return hit, f"{moments}: resume ended with code {code}\n{log.read_text()[-700:]}"
    found = first_difference(entries(run), whole.entries)
    if not found and kills > 1:
        found = epochs_differ(ids, whole.home / f"whole-{whole.work}.ids")
    return hit, f"{moments}: {found}" if found else ""


def epochs_differ(ids: Path, whole: Path) -> str:
    """What is wrong with the examples that the steps of a killed run consumed; the last attempt at a step counts."""
    steps = [
        {step: (epoch, examples) for step, epoch, examples in map(json.loads, path.read_text().splitlines())}
        for path in (ids, whole)
    ]
    seen: dict[int, list[int]] = {}
    for epoch, examples in steps[0].values():
        seen.setdefault(epoch, []).extend(examples)
    if any(len(set(examples)) != len(examples) for examples in seen.values()):
        return "an example came twice in one epoch"
    if len({len(examples) for examples in seen.values()}) != 1:
        return f"epochs of unequal length: { {epoch: len(examples) for epoch, examples in seen.items()} }"
    return "" if steps[0] == steps[1] else "the examples of a step differ"


def main() -> None:
    plans: list[list[str]] = [[]]
    for word in sys.argv[1:]:
        plans.append([]) if word == "--then" else plans[-1].append(word)
    parsed = [_parsed(words) for words in plans]
    os.environ |= {"NETWRIGHT_LANG": "en"}
    import torch

    torch.set_num_threads(1)
    watch()
    failed = False
    with tempfile.TemporaryDirectory(prefix="netwright-kills-") as place:
        os.environ["NETWRIGHT_CACHE"] = str(Path(place) / "cache")
        os.chdir(place)
        pictures(Path("pictures"))
        wholes: dict[str, Whole] = {}
        for given in parsed:
            for work in given.works.split(","):
                if work not in wholes:
                    train(work, Path(f"warm-{work}"))  # imports all that children need
                    wholes[work] = Whole(work, Path(place))
            failed |= _all(given, [wholes[work] for work in given.works.split(",")])
        os.chdir("/")
    sys.exit(failed)


def _parsed(words: list[str]) -> argparse.Namespace:
    epilog = "Several plans, apart by --then, share one server; each prints one line of JSON."
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=epilog)
    parser.add_argument("--count", type=int, default=200, help="kills (with --repeated: runs)")
    parser.add_argument("--first", type=int, default=0, help="number of the first kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--works", default=USUAL, help=f"of {','.join(WORKS)}")
    parser.add_argument("--repeated", type=int, default=1, help="kills on each run")
    parser.add_argument("--workers", default="", help="worker counts to change between at each resume, such as 0,1,2,4")
    return parser.parse_args(words)


def _all(given: argparse.Namespace, wholes: list[Whole]) -> bool:
    workers = [int(number) for number in given.workers.split(",") if number]
    hits: Counter[str] = Counter()
    failures, number, done, started = [], given.first, 0, time.monotonic()
    while done < given.count and number < given.first + 10 * given.count + 10:
        hit, wrong = once(
            wholes[number % len(wholes)], random.Random(f"{given.seed} {number}"), given.repeated, workers
        )
        hits += hit
        done += bool(hit)  # a run that had finished before its kill does not count
        if wrong:
            failures.append({"number": number, "work": wholes[number % len(wholes)].work, "what": wrong})
            print(f"number {number}: {wrong}", file=sys.stderr)
        number += 1
        if done % 100 == 0 and hit:
            print(f"{done} of {given.count}, {len(failures)} failures", file=sys.stderr, flush=True)
    found = {"runs": done, "kills": sum(hits.values()), "kinds": hits, "failures": failures, "seed": given.seed}
    print(json.dumps({**found, "seconds": time.monotonic() - started}), flush=True)
    return bool(failures) or done < given.count


if __name__ == "__main__":
    main()
