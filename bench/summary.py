"""From records to the figures that are reported: medians, ratios within a round, memory, and who is the best peer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from bench.intervals import quantile, ratios, spread

OWN, LIMIT = "netwright", "limit"
NOT_PEERS = (OWN, LIMIT, "limit-tuned")
MODES = ("float32", "default")
Records = Sequence[Mapping[str, Any]]


def in_mode(group: Records, mode: str) -> list[Mapping[str, Any]]:
    """The records that belong into one table: peers are the same in both, as float32 is their default."""
    kept = [row for row in group if row["precision"] == mode or row["side"] not in NOT_PEERS]
    return [row for row in kept if row["rates"]]


def find(group: Records, side: str, mode: str) -> Mapping[str, Any] | None:
    """A side's record in one mode."""
    return next((row for row in in_mode(group, mode) if row["side"] == side), None)


def against(groups: Sequence[Records], mode: str, above: str, below: str, below_mode: str = "") -> dict[str, Any]:
    """Ratios of two sides within a round, over all groups that hold both."""
    found: list[float] = []
    for group in groups:
        first, second = find(group, above, mode), find(group, below, below_mode or mode)
        if first is not None and second is not None:
            found += ratios(first["rates"], second["rates"])
    return asdict(spread(found)) | {"values": found}


def table(groups: Sequence[Records], mode: str) -> list[dict[str, Any]]:
    """One row a side, fastest first: its rate, its ratio to the limit, netwright's ratio to it, memory, import."""
    names = dict.fromkeys(row["side"] for group in groups for row in in_mode(group, mode))
    rows = [_row(groups, mode, name) for name in names]
    return sorted(rows, key=lambda row: -row["to_limit"]["median"] if row["to_limit"]["n"] else -row["rate"]["median"])


def _row(groups: Sequence[Records], mode: str, side: str) -> dict[str, Any]:
    mine = [record for group in groups if (record := find(group, side, mode)) is not None]
    laps = [lap for record in mine for lap in record.get("laps", [])]
    return {
        "side": side,
        "facts": mine[0]["facts"],
        "rate": asdict(spread([rate for record in mine for rate in record["rates"]])),
        "to_limit": against(groups, mode, side, LIMIT),
        "own_to_it": against(groups, mode, OWN, side),
        "others": median([share for record in mine for share in record["others"]]),
        "loop_mb": median([record["loop_mb"] for record in mine]),
        "peak_mb": median([record["peak_mb"] for record in mine]),
        "import_seconds": median([record["import_seconds"] for record in mine]),
        **({"p50_ms": 1e3 * quantile(laps, 0.5), "p99_ms": 1e3 * quantile(laps, 0.99)} if laps else {}),
    }


def judged(groups: Sequence[Records], mode: str) -> dict[str, Any]:
    """Netwright against the limit in the same precision, the best peer, the median peer, and plain PyTorch's memory."""
    rows = {row["side"]: row for row in table(groups, mode)}
    own = rows.get(OWN)
    if own is None:
        return {}
    peers = {name: row for name, row in rows.items() if name not in NOT_PEERS}
    chosen = own["facts"].get("precision", "float32")
    same = "float32" if chosen == "float32" else mode
    found: dict[str, Any] = {"chosen": own["facts"]}
    if any(find(group, LIMIT, same) for group in groups):
        found["to_limit_in_same_precision"] = against(groups, mode, OWN, LIMIT, same)
    if any(find(group, "limit-tuned", same) for group in groups):
        found["to_tuned_limit"] = against(groups, mode, OWN, "limit-tuned", same)
    for name, kept in (("best_peer", peers), ("best_torch_peer", of_torch(peers))):
        if kept:
            best = max(kept, key=lambda name: kept[name]["rate"]["median"])
            found[name] = {"side": best, **kept[best]["own_to_it"]}
    if peers:
        found["median_peer"] = own["rate"]["median"] / median(row["rate"]["median"] for row in peers.values())
    if "plain" in rows:
        found["memory_to_plain"] = own["loop_mb"] / rows["plain"]["loop_mb"]
    return found


def of_torch(names: Mapping[str, Any]) -> dict[str, Any]:
    """The peers that PyTorch computes for."""
    return {name: row for name, row in names.items() if name not in ("keras-jax", "keras-tensorflow")}


def wholes(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """W5: one row a side, soonest first."""
    rows = []
    for record in records:
        if record["seconds"]:
            rows.append({
                "side": record["side"], "precision": record["precision"], "seconds": asdict(spread(record["seconds"])),
                "others": median(record["others"]), "peak_mb": median(record["peak_mb"]),
                "epochs": median(found["epochs"] for found in record["outcomes"]),
                "test": median(found["test"] for found in record["outcomes"]),
            })  # fmt: skip
    rows.sort(key=lambda row: row["seconds"]["median"])
    peers = [row for row in rows if row["side"] not in NOT_PEERS]
    by_name = {(record["side"], record["precision"]): record["seconds"] for record in records}
    for row in rows:
        if peers and row["side"] not in (peers[0]["side"],):
            best = by_name[peers[0]["side"], peers[0]["precision"]]
            row["to_best_peer"] = asdict(spread(ratios(by_name[row["side"], row["precision"]], best)))
    return rows


def summarised(results: Mapping[str, Any]) -> dict[str, Any]:
    """All tables and judgements of a measurement."""
    found: dict[str, Any] = {}
    for key, groups in results["works"].items():
        modes = [mode for mode in results["modes"] if any(find(group, OWN, mode) or find(group, LIMIT, mode)
                                                          for group in groups)]  # fmt: skip
        found[key] = {mode: {"table": table(groups, mode), "judged": judged(groups, mode)} for mode in modes}
    found |= {key: wholes(records) for key, records in results["wholes"].items()}
    return found
