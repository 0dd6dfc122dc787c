"""The doctor on its development set.

python -m bench.doctor run --half tuning|reporting|second [--seeds 1] [--jobs 1] [--names PART ...] [--out FILE]
python -m bench.doctor table FILE
python -m bench.doctor freeze          after `python -m bench.doctor.verify`
python -m bench.doctor freeze --second after `python -m bench.doctor.second.verify`
python -m bench.doctor check           are the sources as they were frozen
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from bench.doctor.examining import LIMIT, PROGRAMS, quiet_threads, row
from bench.doctor.freeze import FROZEN, freeze, frozen_names, moved
from bench.doctor.second import freeze as second
from bench.doctor.table import report


def main(words: Sequence[str] | None = None) -> None:
    given = arguments(words)
    {"run": run, "table": table, "freeze": frozen, "check": check}[given.verb](given)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.doctor")
    verbs = parser.add_subparsers(dest="verb", required=True)
    asked = verbs.add_parser("run")
    asked.add_argument("--half", choices=("tuning", "reporting", "second"), required=True)
    asked.add_argument("--seeds", type=int, default=1, help="repeats of each program; seeds are not programs")
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument("--names", nargs="*", default=[], help="parts of names")
    asked.add_argument("--limit", type=float, default=LIMIT, help="seconds a program may take")
    asked.add_argument("--budget", type=float, default=60.0)
    asked.add_argument("--no-repair", action="store_true")
    asked.add_argument("--out", default="")
    verbs.add_parser("table").add_argument("file")
    verbs.add_parser("freeze").add_argument("--second", action="store_true", help="the second set")
    verbs.add_parser("check")
    return parser.parse_args(words)


def run(given: argparse.Namespace) -> None:
    """Examine the frozen programs of a half, a process each, and write the rows as they come."""
    quiet_threads()
    if changed := [*moved(), *second.moved()]:
        print(f"not as frozen: {', '.join(changed)}", file=sys.stderr)
    kept = second.frozen_names() if given.half == "second" else frozen_names(given.half)
    names = [name for name in kept if not given.names or any(part in name for part in given.names)]
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        jobs = [
            pool.submit(row, name, seed, given.budget, not given.no_repair, given.limit)
            for name in names if name in PROGRAMS for seed in range(given.seeds)
        ]  # fmt: skip
        for job in as_completed(jobs):
            rows.append(job.result())
            print(line(rows[-1]), flush=True)
            if given.out:
                Path(given.out).write_text(
                    json.dumps(sorted(rows, key=lambda r: (r["name"], r["seed"])), indent=1) + "\n"
                )
    print(report(rows, f"The doctor on the {given.half} half"))


def line(found: dict[str, Any]) -> str:
    """A row on a line of the terminal."""
    good = not found["false_alarm"] and not found.get("error") if found["healthy"] else found["top1"]
    said = found.get("error") or f"{found['verdict']} {' '.join(found['faults'])}"
    truth = " ".join(found["truth"]) or "healthy"
    return f"{'ok  ' if good else 'MISS'} {found['name']:44} {truth:8} {found.get('seconds', 0):6.1f}s  {said}"


def table(given: argparse.Namespace) -> None:
    print(report(json.loads(Path(given.file).read_text())))


def frozen(given: argparse.Namespace) -> None:
    found = second.freeze() if given.second else freeze()
    print(
        f"{FROZEN.name}: {found['sha256']}, " + ", ".join(f"{len(n)} {half}" for half, n in found["programs"].items())
    )


def check(given: argparse.Namespace) -> None:
    if changed := [*moved(), *second.moved()]:
        raise SystemExit(f"not as frozen: {', '.join(changed)}")
    print("as frozen")


if __name__ == "__main__":
    main()
