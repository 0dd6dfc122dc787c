"""Trials of whole processes that share one import of torch: signals at chosen moments, two writers at one instant.

    python tests/support/trials.py --signals 15 --writers 10

Prints one JSON object. Children are forked, each in a process group of its own, and type a command line.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kills
from exactness import entries, first_difference

WORK = "lstm"
ORPHANS_S = 10.0
"""After so long no process of a training may be left: a question to git may still be on its way out."""
MOMENTS = {"reading": b"R", "start": b"F", "step": b"T", "save": b"S", "evaluation": b"E", "end": b"J"}
"""What a child begins just before it gets a signal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def typed(words: list[str]) -> Callable[[], None]:
    """What a process does that was started as `netwright WORDS`."""

    def job() -> None:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["netwright", *words]
        from netwright.cli import main

        main()

    return job


def watch() -> None:
    """Let children also tell when they read data (R), step (T) and judge the finished network (J)."""
    import netwright.run
    import netwright.start
    import netwright.training.keeper
    import netwright.training.plan

    kills.watch()
    keeper = netwright.training.keeper.Keeper
    places = [(netwright.training.plan, "read", b"R"), (netwright.run, "read", b"R"), (keeper, "after_step", b"T")]
    for home, name, letter in [*places, (netwright.start, "summarise", b"J")]:
        setattr(home, name, kills._telling(getattr(home, name), letter))


def children_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def shared_memory() -> set[str]:
    place = Path("/dev/shm")
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def signals(whole: kills.Whole, count: int, seed: int) -> list[dict]:
    """Each moment with each signal in turn, every fourth time twice."""
    found = []
    for turn in range(count):
        moment = list(MOMENTS)[(turn + turn // len(MOMENTS)) % len(MOMENTS)]
        number = SIGNALS[turn % len(SIGNALS)]
        found.append(_signalled(whole, moment, number, turn % 4 == 3, random.Random(f"{seed} {turn}")))
    return found


def _signalled(whole: kills.Whole, moment: str, number: int, twice: bool, chance: random.Random) -> dict:
    """One training that gets a signal: its code and seconds, what it left, what differs after a resume."""
    run, log, before = whole.home / "run", whole.home / "run.log", shared_memory()
    shutil.rmtree(run, ignore_errors=True)
    log.unlink(missing_ok=True)
    child, reader = kills.fork(typed(["train", str(whole.home / "recipe.toml"), "--out", str(run)]), log)
    kills.events(reader, MOMENTS[moment], chance.randint(1, 3 if moment in ("step", "save", "evaluation") else 1))
    time.sleep(chance.uniform(0, 0.004))
    os.kill(child, number)
    started = time.monotonic()
    if twice:
        time.sleep(chance.uniform(0, 0.01))
        if not _gone(child):
            os.kill(child, number)
    code = kills.ended(child)
    one = {"moment": moment, "signal": int(number), "twice": twice, "code": code, "seconds": time.monotonic() - started}
    os.close(reader)
    until = time.monotonic() + ORPHANS_S
    while children_left(child) and time.monotonic() < until:
        time.sleep(0.02)
    one |= {"left": children_left(child), "memory": sorted(shared_memory() - before), "said": log.read_text()[-500:]}
    one["state"] = json.loads((run / "run.json").read_text())["state"] if (run / "run.json").exists() else ""
    return {**one, "different": _resumed(whole, run, log)}


def _gone(child: int) -> bool:
    """Whether a child has ended; it is not waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _resumed(whole: kills.Whole, run: Path, log: Path) -> str:
    child, reader = kills.fork(lambda: kills.go_on(run, whole.work), log)
    code = kills.ended(child)
    os.close(reader)
    return (
        f"resume ended with {code}: {log.read_text()[-500:]}" if code else first_difference(entries(run), whole.entries)
    )


def writers(whole: kills.Whole, count: int, seed: int) -> list[dict]:
    """Pairs of processes that resume a killed run at one instant, while a reader looks on."""
    return [_pair(whole, random.Random(f"{seed} {turn}")) for turn in range(count)]


def _pair(whole: kills.Whole, chance: random.Random) -> dict:
    """Kill a run, and let two processes take it over at once: their codes and words, what the reader met."""
    run, log = whole.home / "run", whole.home / "run.log"
    shutil.rmtree(run, ignore_errors=True)
    logs = [whole.home / name for name in ("one.log", "other.log", "reader.log")]
    for path in [log, *logs]:
        path.unlink(missing_ok=True)
    child, told = kills.fork(lambda: kills.train(whole.work, run), log)
    kills.events(told, b"S", chance.randint(2, 4))
    holder = (run / ".lock").read_text()
    os.kill(child, signal.SIGKILL)
    kills.ended(child)
    gate, opened = os.pipe()
    resume = _at_once(gate, opened, typed(["resume", str(run)]))
    pairs = [kills.fork(job, path) for job, path in zip([resume, resume, lambda: _look(run)], logs, strict=True)]
    os.close(gate)
    os.close(opened)
    codes = [kills.ended(pid) for pid, _ in pairs]
    for pipe in [told, *(pipe for _, pipe in pairs)]:
        os.close(pipe)
    said = [path.read_text()[-600:] for path in logs]
    found = {
        "codes": codes[:2],
        "holder": str(child) in holder,
        "said": said[:2],
        "reader": said[2] if codes[2] else "",
    }
    return {**found, "different": first_difference(entries(run), whole.entries)}


TRIALS = {"signals": signals, "writers": writers}


def _at_once(gate: int, opened: int, job: Callable[[], None]) -> Callable[[], None]:
    """`job`, begun when the server closes the gate."""

    def wait() -> None:
        os.close(opened)
        os.read(gate, 1)
        job()

    return wait


def _look(run: Path) -> None:
    """What a person does beside a training: evaluate, compare, report; never a word of damage."""
    import netwright as nw

    for _ in range(4):
        for verb in (nw.evaluate, lambda path: nw.compare(path, path), lambda path: nw.open(path).write_report()):
            try:
                verb(run)
            except nw.RunError as error:
                if "cannot be read" not in str(error):  # a record that is not there yet: that alone may be said
                    raise
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--signals", type=int, default=0, help="how many trainings get a signal")
    parser.add_argument("--writers", type=int, default=0, help="how many pairs of writers meet")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ |= {"NETWRIGHT_LANG": "en"}
    import torch

    torch.set_num_threads(1)
    watch()
    with tempfile.TemporaryDirectory(prefix="netwright-trials-") as place:
        os.chdir(place)
        os.environ["NETWRIGHT_CACHE"] = str(Path(place) / "cache")
        Path("recipe.toml").write_text(kills.recipe_of(WORK).text())
        kills.train(WORK, Path("warm"))
        import netwright as nw

        nw.evaluate("warm"), nw.compare("warm", "warm")
        whole = kills.Whole(WORK, Path(place))
        found = {name: trial(whole, getattr(given, name), given.seed) for name, trial in TRIALS.items()}
        print(json.dumps(found))
        os.chdir("/")


if __name__ == "__main__":
    main()
