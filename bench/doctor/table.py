"""The tables of results, as Markdown."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from bench.doctor.wilson import share
from bench.intervals import quantile

Row = dict[str, Any]


def report(rows: Sequence[Row], title: str = "The doctor on its development set") -> str:
    """Totals, one row a fault, misses, false alarms, seconds, stability."""
    first = [row for row in rows if row["seed"] == min(r["seed"] for r in rows if r["name"] == row["name"])]
    parts = [f"## {title}", totals(first), by_fault(first), misses(first), alarms(first), stability(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def totals(rows: Sequence[Row]) -> str:
    """Shares with Wilson's 95 % intervals; programs are the units, each once."""
    faulty, healthy = [row for row in rows if not row["healthy"]], [row for row in rows if row["healthy"]]
    traps = [row for row in healthy if row["strength"] == "trap"]
    judged = [row for row in faulty if "repaired" in row]
    seconds = [row["seconds"] for row in rows if "seconds" in row]
    lines = [
        ("detection", share(_count(faulty, "detected"), len(faulty))),
        ("cause first", share(_count(faulty, "top1"), len(faulty))),
        ("cause within two", share(_count(faulty, "top2"), len(faulty))),
        ("false alarms on healthy programs", share(_count(healthy, "false_alarm"), len(healthy))),
        ("of these on the odd ones", share(_count(traps, "false_alarm"), len(traps))),
        ("verdict unsure", share(sum(row.get("verdict") == "unsure" for row in rows), len(rows))),
        ("repair within 2 points of the reference fix, of all faulty", share(_count(judged, "repaired"), len(faulty))),
        ("made worse by the repair", share(_count(judged, "worse"), len(judged))),
        ("errors", share(sum(bool(row.get("error")) for row in rows), len(rows))),
    ]
    if seconds:
        lines.append(("seconds, median and 90 %", f"{median(seconds):.1f}, {quantile(seconds, 0.9):.1f}"))
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines)])


def by_fault(rows: Iterable[Row]) -> str:
    """A program with two faults counts in both rows."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for fault in row["truth"]:
            groups[fault].append(row)
    lines = [
        "| fault | programs | detected | first | within two | repaired | named first instead |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault in sorted(groups, key=lambda name: (name[0], int(name[1:]))):
        group = groups[fault]
        instead = Counter((row.get("faults") or ["nothing"])[0] for row in group if not row["top1"])
        wrong = ", ".join(f"{name} x {count}" for name, count in instead.most_common())
        counts = " | ".join(str(_count(group, key)) for key in ("detected", "top1", "top2", "repaired"))
        lines.append(f"| {fault} | {len(group)} | {counts} | {wrong} |")
    return "\n".join(lines)


def misses(rows: Iterable[Row]) -> str:
    """Every faulty program whose cause is not first."""
    lines = [
        f"- {row['name']}: {row.get('error') or row.get('verdict')}, said {' '.join(row.get('faults', [])) or '-'}"
        for row in rows
        if not row["healthy"] and not row["top1"]
    ]
    return "\n".join(["Misses:", *lines]) if lines else ""


def alarms(rows: Iterable[Row]) -> str:
    """Every healthy program that was called faulty."""
    lines = [f"- {row['name']}: {', '.join(row['faults'])}" for row in rows if row["false_alarm"]]
    return "\n".join(["False alarms:", *lines]) if lines else ""


def stability(rows: Iterable[Row]) -> str:
    """The share of repeats with the verdict, and the first cause, of most repeats of their program."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["name"]].append(row)
    repeated = [group for group in groups.values() if len(group) > 1]
    if not repeated:
        return ""
    counts = {"verdict": 0, "cause": 0}
    for group in repeated:
        counts["verdict"] += Counter(row.get("verdict") for row in group).most_common(1)[0][1]
        counts["cause"] += Counter((row.get("faults") or [""])[0] for row in group).most_common(1)[0][1]
    whole = sum(len(group) for group in repeated)
    verdicts, causes = share(counts["verdict"], whole), share(counts["cause"], whole)
    return f"Same verdict on {verdicts} of repeats, same first cause on {causes}."


def _count(rows: Iterable[Row], key: str) -> int:
    return sum(bool(row.get(key)) for row in rows)
