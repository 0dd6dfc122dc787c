"""Six works beside other frameworks and the bare limit: training speed, time to an accuracy, inference.

    python -m bench [WORKS] [--data FOLDER] [--sides ...] [--rounds 6] [--precision both|float32|default] [--json]

WORKS are w1 w2 w3 w4 w5 w5-2 w6-1 w6-32 (without any: w1 to w4). FOLDER holds `mnist/`, `cifar10/` and
`tinyshakespeare/`; without it data of the same shapes are made, whose steps take as long. Peers live in
`.venv-peers` (`make bench-peers`); a side that is not installed is left out and named.

Each side of each work runs in its own process and stands still while another is measured. The report comes as
Markdown; `--json` prints all records, `--out FOLDER` writes results.json, results.md and a picture a table, and
`--publish` puts the report into bench/RESULTS.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import conduct, machine, whole
from bench.markdown import MODE_TITLES, document, rewrite
from bench.picture import picture
from bench.side import SIDES
from bench.summary import NOT_PEERS, summarised
from bench.works import WORKS, Order, prepare

ROOT = Path(__file__).parent.parent
HERE = ("limit", "limit-tuned", "netwright", "plain", "plain-2", "compiled")
"""Sides that need nothing beside what netwright needs."""
PEERS = ROOT / ".venv-peers/bin/python"
MODES = ("float32", "default")
ANCHORS = ("limit", "netwright")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and report."""
    given = arguments(words)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as place, own_cache(f"{place}/cache"):
        results = measured(given, Path(place))
    results["minutes"] = (time.monotonic() - started) / 60
    found = summarised(results)
    if given.out:
        write(Path(given.out), results, found)
    if given.publish:
        publish(ROOT / "bench", results, found)
    print(json.dumps({**results, "summary": found}) if given.json else document(results, found))


@contextmanager
def own_cache(folder: str) -> Iterator[None]:
    """A new cache for netwright: what it chooses by measuring is chosen today, beside the sides that stand still."""
    before = os.environ.get("NETWRIGHT_CACHE")
    os.environ["NETWRIGHT_CACHE"] = folder
    try:
        yield
    finally:
        os.environ.pop("NETWRIGHT_CACHE")
        os.environ |= {} if before is None else {"NETWRIGHT_CACHE": before}


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=" ".join(WORKS))
    parser.add_argument("--data", default="", help="the folder of data sets; made data without it")
    parser.add_argument("--sides", default="", help=f"with commas between, of {','.join(SIDES)}; all installed without")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--precision", choices=("both", *MODES), default="both")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="multiplies the time of a round")
    parser.add_argument("--examples", type=int, default=0, help="at most so many examples of each set: a trial")
    parser.add_argument("--peers", default=str(PEERS), help="the Python that has the peers")
    parser.add_argument("--out", default="", help="a folder for results.json, results.md and pictures")
    parser.add_argument("--publish", action="store_true", help="put the report into bench/RESULTS.md")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    given = parser.parse_args(words)
    given.works = given.works or ["w1", "w2", "w3", "w4"]
    given.sides = [word for word in given.sides.split(",") if word]
    for word, known in [(word, WORKS) for word in given.works] + [(word, SIDES) for word in given.sides]:
        if word not in known:
            parser.error(f"{word!r} is none of: {' '.join(known)}")
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    if given.data and not Path(given.data).is_dir():
        parser.error(f"--data {given.data} is no folder")
    return given


def measured(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """All records of all works that were asked for."""
    modes = MODES if given.precision == "both" else (given.precision,)
    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "rounds": given.rounds, "modes": list(modes), "works": {}, "wholes": {},
        "data": "real data sets" if given.data else "made data of the same shapes",
        "machine": machine.facts(machine.machine(given.device)), "versions": {}, "measured": {},
    }  # fmt: skip
    for key in dict.fromkeys(given.works):
        orders = orders_for(key, given, modes, place)
        results["measured"][key] = f"{results['date']}, n = {given.rounds} rounds"
        if key.startswith("w5"):
            if not given.data:
                raise SystemExit(f"{key} trains to an accuracy: it needs --data")
            found = whole.measure(orders, given.rounds, python(given), conduct.say_to_stderr)
            results["wholes"][key] = [asdict(record) for record in found]
        else:
            groups = conduct.measure(orders, given.rounds, python(given), ANCHORS, conduct.say_to_stderr, given.seconds)
            results["works"][key] = [[asdict(record) for record in group] for group in groups]
    for record in (record for groups in results["works"].values() for group in groups for record in group):
        results["versions"] |= record["versions"]
    return results


def python(given: argparse.Namespace) -> Any:
    """Which Python runs a side."""
    return lambda side: Path(sys.executable if side in HERE else given.peers)


def orders_for(key: str, given: argparse.Namespace, modes: Sequence[str], place: Path) -> list[Order]:
    """One order a side and mode, the data prepared; peers do in both modes what they do by default."""
    work = WORKS[key]
    source = Path(given.data) / work.data if given.data and work.data != "random" else None
    if source is not None and not source.is_dir():
        conduct.say_to_stderr(f"{source} does not exist: {key} runs on made data")
        source = None
    prepare(work.data, source, place / work.data, given.examples)
    found = []
    for side in sides_for(key, given):
        for mode in modes if side in NOT_PEERS else modes[-1:]:
            if side != "limit-tuned" or mode == modes[-1] or "default" not in modes:
                folder, files = str(place / work.data), str(source or "") if not given.examples else ""
                short = {"epochs": 100, "warmup": 4} if given.examples else {}
                found.append(Order(key, side, folder, files, mode, given.device, **short))
    return found


def sides_for(key: str, given: argparse.Namespace) -> list[str]:
    """The sides of a work: those asked for, else all that are installed."""
    if given.sides:
        return list(given.sides)
    missing = [] if Path(given.peers).exists() else [side for side in SIDES if side not in HERE]
    if missing:
        conduct.say_to_stderr(f"without peers ({given.peers} does not exist; make bench-peers): {' '.join(missing)}")
    kept = [side for side in SIDES if side not in missing]
    if not WORKS[key].trains:
        return [side for side in kept if (side in HERE and side != "plain-2") or side.startswith("keras-")]
    without = ("compiled", "limit-tuned") if key.startswith("w5") else ("compiled",)
    return [side for side in kept if side not in without]


def pictures(results: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """A picture a mode, by file name."""
    made = {}
    for mode in results["modes"]:
        if any(isinstance(table, dict) and mode in table for table in found.values()):
            title = f"Training speed, {MODE_TITLES[mode]} ({results['date']}, n = {results['rounds']})"
            made[f"speed-{mode}.svg"] = picture(found, mode, title)
    return made


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The newest measurement of each work, in the order of the works; another machine's are not mixed in."""
    if before["machine"]["text"] != now["machine"]["text"]:
        return now
    found = {**now, "modes": [mode for mode in MODES if mode in (*before["modes"], *now["modes"])]}
    for name in ("works", "wholes", "measured"):
        both = {**before[name], **now[name]}
        found[name] = {key: both[key] for key in WORKS if key in both}
    return {**found, "versions": {**before["versions"], **now["versions"]}}


def write(folder: Path, results: dict[str, Any], found: dict[str, Any]) -> None:
    """results.json, results.md and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = pictures(results, found)
    for name, text in drawn.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps({**results, "summary": found}, indent=1), encoding="utf-8")
    (folder / "results.md").write_text(document(results, found, next(reversed(drawn), "")), encoding="utf-8")


def publish(folder: Path, results: dict[str, Any], found: dict[str, Any]) -> None:
    """RESULTS.md, its pictures, and all records beside it; works that were not measured now stay as they were."""
    if (folder / "results.json").exists():
        results = merged(json.loads((folder / "results.json").read_text(encoding="utf-8")), results)
        found = summarised(results)
    drawn = pictures(results, found)
    for name, text in drawn.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(results) + "\n", encoding="utf-8")
    rewrite(folder / "RESULTS.md", document(results, found, next(reversed(drawn), "")))


if __name__ == "__main__":
    main()
