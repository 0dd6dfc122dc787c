"""The second set checked by the first set's rule.

python -m bench.doctor.second.verify [--names PART ...] [--seeds 3] [--missing] [--out FILE]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.doctor.second import PROGRAMS
from bench.doctor.verify import line, verified

HERE = Path(__file__).parent


def checked(name: str, seeds: int) -> dict[str, Any]:
    """One row; a program that raises is left out, with what it said."""
    try:
        return verified(PROGRAMS[name], seeds)
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError, AttributeError) as error:
        return {"name": name, "half": "second", "kept": False, "why_not": f"{type(error).__name__}: {error}"[:300]}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.doctor.second.verify")
    parser.add_argument("--names", nargs="*", default=[], help="parts of names")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--missing", action="store_true", help="only those without a row that keeps them")
    parser.add_argument("--out", default=str(HERE / "verified.json"))
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    out = Path(given.out)
    rows = {row["name"]: row for row in json.loads(out.read_text())} if out.exists() else {}
    for name in PROGRAMS:
        if given.names and not any(part in name for part in given.names):
            continue
        if given.missing and rows.get(name, {}).get("kept"):
            continue
        rows[name] = checked(name, given.seeds)
        print(line(rows[name]), flush=True)
        out.write_text(json.dumps([rows[known] for known in PROGRAMS if known in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
