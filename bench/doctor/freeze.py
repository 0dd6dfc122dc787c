"""The programs are frozen before any doctor sees them: their sources' SHA-256, and what was left out and why."""

import hashlib
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FROZEN, VERIFIED, EXCLUDED = HERE / "FROZEN.json", HERE / "verified.json", HERE / "excluded.json"

REMOVED = {
    "A1 recipe_blobs, raw": "no harm shown on any seed",
    "A7 hastie, one class rare": "class weights did not help enough: the reference fix does not learn",
    "A9 clouds, sorted": "harm below 2 points",
    "B5 blobs and spirals, absolute error": "no harm shown",
    "B11 digits, exponentials overflow": "did not overflow",
    "C10 spirals, 5 units": "no harm shown",
    "C14 spirals p = 0.4, arm p = 0.2": "harm below 2 points",
    "E2 recipe_xor, frozen": "no harm shown",
    "E5 spirals, dropout never off": "harm below 2 points",
    "F1 hastie, learnt by heart": "the reference fix does not learn",
    "friedman_flat, waveline_flat, hastie_skipping": "more epochs would gain",
    "wine_normalised, cancer_normalised, cancer_skipping": "more epochs or another step would gain",
}
"""Programs taken out, and replaced by others, while the set was written: before any doctor had seen them."""


def digests() -> dict[str, str]:
    """SHA-256 of each source of the programs, and of the rule by which they were checked."""
    files = [*sorted((HERE / "programs").glob("*.py")), HERE / "training.py", HERE / "verify.py"]
    return {str(file.relative_to(HERE)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def freeze() -> dict[str, Any]:
    """Write FROZEN.json: sources, the names that count in each half, and one hash over all."""
    rows = json.loads(VERIFIED.read_text())
    left_out = [{"name": row["name"], "reason": row["why_not"]} for row in rows if not row["kept"]]
    left_out += [{"name": name, "reason": reason} for name, reason in REMOVED.items()]
    EXCLUDED.write_text(json.dumps(left_out, indent=1) + "\n")
    sources = digests()
    names = {
        half: sorted(row["name"] for row in rows if row["kept"] and row["half"] == half)
        for half in ("tuning", "reporting")
    }
    whole = hashlib.sha256(json.dumps([sources, names], sort_keys=True).encode()).hexdigest()
    found = {"sha256": whole, "sources": sources, "programs": names}
    FROZEN.write_text(json.dumps(found, indent=1) + "\n")
    return found


def frozen_names(half: str) -> list[str]:
    """The programs of a half that were frozen."""
    return list(json.loads(FROZEN.read_text())["programs"][half])


def moved() -> list[str]:
    """Sources that are not as they were frozen."""
    known, now = json.loads(FROZEN.read_text())["sources"], digests()
    return sorted(file for file in known.keys() | now.keys() if known.get(file) != now.get(file))
