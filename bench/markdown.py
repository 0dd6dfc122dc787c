"""The results for reading: Markdown, and its place in RESULTS.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.works import WORKS

START, END = "<!-- measured: written by `make bench` -->", "<!-- end of what was measured -->"
MODE_TITLES = {
    "float32": "every side in float32",
    "default": "every side at its own defaults",
}


def document(results: Mapping[str, Any], found: Mapping[str, Any], picture: str = "") -> str:
    """Everything that was measured, with hardware, n, versions and date."""
    parts = [heading(results)]
    parts += [f"![Speed of each side as a share of the bare limit's]({picture})"] if picture else []
    when = results["measured"]
    parts += [overview(found, mode) for mode in results["modes"] if any(mode in found[key] for key in _trained(found))]
    for key in results["works"]:
        parts += [work(key, mode, found[key][mode], when[key]) for mode in results["modes"] if mode in found[key]]
    parts += [whole(key, found[key], when[key]) for key in results["wholes"]]
    parts += [failures(results)] if failures(results) else []
    return "\n\n".join(parts) + "\n"


def heading(results: Mapping[str, Any]) -> str:
    """When, where and how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items()))
    lines = [
        f"## {results['date']}, n = {results['rounds']} rounds",
        "",
        f"Hardware: {results['machine']['text']}.",
        f"Data: {results['data']}. Versions: {versions}.",
        "",
        "Each side runs in a process of its own; in a round all run one after the other for about the same time, and "
        "whoever is not measured stands still. Ratios are taken within a round. In brackets: the interval of the "
        "median by order statistics, which assumes nothing about the distribution; "
        f"{confidence(results['rounds'])}. \"Others\": the median share of the machine that other processes took.",
    ]  # fmt: skip
    return "\n".join(lines)


def confidence(rounds: int) -> str:
    """How sure the intervals are."""
    from bench.intervals import spread

    found = spread([0.0] * rounds)
    words = f"at n = {rounds} its confidence is {found.confidence:.1%}"
    return words if found.confidence >= 0.95 else f"{words}, the most that so few rounds can give"


def _trained(found: Mapping[str, Any]) -> list[str]:
    return [key for key in found if key in WORKS and WORKS[key].trains and isinstance(found[key], dict)]


def overview(found: Mapping[str, Any], mode: str) -> str:
    """One row a side, one column a work: the ratio to the limit."""
    keys = [key for key in _trained(found) if mode in found[key]]
    columns = {key: {row["side"]: row for row in found[key][mode]["table"]} for key in keys}
    sides = sorted({side for column in columns.values() for side in column}, key=lambda side: -_mean(columns, side))
    lines = [f"### Training speed as a share of the bare limit's, {MODE_TITLES[mode]}", ""]
    lines += [f"| | {' | '.join(key.upper() for key in keys)} | import s | MB in the loop, {keys[0].upper()} |"]
    lines += ["|---|" + "---:|" * (len(keys) + 2)]
    for side in sides:
        cells = [f"{column[side]['to_limit']['median']:.2f}" if side in column else "" for column in columns.values()]
        first = next(column[side] for column in columns.values() if side in column)
        lines.append(
            f"| {_strong(side)} | {' | '.join(cells)} | {first['import_seconds']:.1f} | {first['loop_mb']:,.0f} |"
        )
    return "\n".join([*lines, "", *_sentences(found, mode, keys)])


def _mean(columns: Mapping[str, Mapping[str, Any]], side: str) -> float:
    there = [column[side]["to_limit"]["median"] for column in columns.values() if side in column]
    return sum(there) / len(there)


def _strong(side: str) -> str:
    return f"**{side}**" if side == "netwright" else side


def _sentences(found: Mapping[str, Any], mode: str, keys: Sequence[str]) -> list[str]:
    """What the judgement of each work says."""
    lines = []
    for key in keys:
        judged = found[key][mode]["judged"]
        if not judged:
            continue
        chosen = ", ".join(f"{name} {value}" for name, value in judged["chosen"].items())
        words = [f"{key.upper()}: netwright ran with {chosen}"]
        if "to_limit_in_same_precision" in judged:
            words.append(f"{bracket(judged['to_limit_in_same_precision'])} of the limit in the same precision")
        if "to_tuned_limit" in judged:
            words.append(f"{bracket(judged['to_tuned_limit'])} of the tuned limit")
        if "best_torch_peer" in judged:
            best = judged["best_peer"]
            words.append(f"{bracket(best)} times the best peer ({best['side']})")
            of_torch = judged["best_torch_peer"]
            if of_torch["side"] != best["side"]:
                words.append(f"{bracket(of_torch)} times the best peer on PyTorch ({of_torch['side']})")
        if "median_peer" in judged:
            words.append(f"{judged['median_peer']:.2f} times the median peer")
        if "memory_to_plain" in judged:
            words.append(f"{judged['memory_to_plain']:.2f} times plain PyTorch's memory in the loop")
        lines.append("- " + "; ".join(words) + ".")
    return lines


def bracket(spread: Mapping[str, Any]) -> str:
    """A median with its interval and n."""
    return f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}] (n = {spread['n']})"


def work(key: str, mode: str, found: Mapping[str, Any], when: str) -> str:
    """The table of one work."""
    timed = any("p50_ms" in row for row in found["table"])
    lines = [f"### {key.upper()}, {WORKS[key].title}: {MODE_TITLES[mode]} ({when})", ""]
    heads = ["", f"{WORKS[key].unit} per second, median (lowest to highest)", *(["p50 / p99 ms"] if timed else [])]
    heads += ["to the limit", "netwright to it", "others", "MB, loop / peak", "import s"]
    lines += [f"| {' | '.join(heads)} |"]
    lines += ["|---|---:|" + ("---:|" if timed else "") + "---:|---:|---:|---:|---:|"]
    for row in found["table"]:
        rate, own = row["rate"], row["own_to_it"]
        cells = [_strong(row["side"]), f"{rate['median']:,.0f} ({rate['least']:,.0f} to {rate['most']:,.0f})"]
        cells += [f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}"] if timed else []
        cells += [_short(row["to_limit"]), _short(own) if row["side"] != "netwright" else "", f"{row['others']:.0%}"]
        cells += [f"{row['loop_mb']:,.0f} / {row['peak_mb']:,.0f}", f"{row['import_seconds']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(spread: Mapping[str, Any]) -> str:
    return f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]" if spread["n"] else ""


def whole(key: str, rows: Sequence[Mapping[str, Any]], when: str) -> str:
    """The table of a training from start to end."""
    lines = [f"### {WORKS[key].title[0].upper()}{WORKS[key].title[1:]} ({when})", ""]
    heads = ["", "seconds, median (lowest to highest)", "to the best peer", "epochs", "test accuracy", "others", "MB"]
    lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        name = row["side"] + (" in float32" if row["precision"] == "float32" else "")
        took = row["seconds"]
        cells = [_strong(row["side"]) if name == row["side"] else name]
        cells += [f"{took['median']:.1f} ({took['least']:.1f} to {took['most']:.1f})"]
        cells += [
            _short(row["to_best_peer"]) if "to_best_peer" in row else "",
            f"{row['epochs']:g}",
            f"{row['test']:.2%}",
        ]
        cells += [f"{row['others']:.0%}", f"{row['peak_mb']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def failures(results: Mapping[str, Any]) -> str:
    """Sides that could not be measured, and why."""
    rows = [row for groups in results["works"].values() for group in groups for row in group]
    rows += [row for records in results["wholes"].values() for row in records]
    lines = [f"- {row['error']}" for row in rows if row["error"]]
    return "\n".join(["### Not measured", "", *dict.fromkeys(lines)]) if lines else ""


def placed(text: str, measured: str) -> str:
    """`text` with what stands between the two marks replaced; without marks it comes after the first heading."""
    block = f"{START}\n\n{measured}\n{END}"
    if START in text and END in text:
        before, _, rest = text.partition(START)
        return before + block + rest.partition(END)[2]
    first, _, rest = text.partition("\n\n")
    return f"{first}\n\n{block}\n\n{rest}"


def rewrite(path: Path, measured: str) -> None:
    """Put the newest measurement into RESULTS.md; all else in it stays."""
    path.write_text(placed(path.read_text(encoding="utf-8"), measured), encoding="utf-8")
