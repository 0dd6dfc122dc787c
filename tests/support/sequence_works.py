"""Seven small trainings on sequences, for the tests of exactness; as a script the server of kills over them.

    python tests/support/sequence_works.py --works text,speech --count 20

Their data are written by `write_data`: labelled text, tagged tokens, a corpus, a series, and recordings of made digits.
"""

import datetime as dt
import random
from pathlib import Path
from typing import Any

import kills
import numpy as np
from waves import tone, wav

WORKS: dict[str, dict[str, Any]] = {
    "text": {
        "data": {"path": "reviews"},
        "network": {"name": "lstm", "hidden": 6, "embedding": 5, "bidirectional": True, "dropout": 0.2},
        "schedule": {"name": "one_cycle"},
        "batch": 8,
    },
    "tags": {
        "data": {"path": "tags.conll"},
        "network": {"name": "tagger_crf", "hidden": 5, "embedding": 5, "dropout": 0.3},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "batch": 8,
    },
    "letters": {
        "data": {"path": "corpus.txt", "window": 24},
        "network": {"name": "char_lm", "hidden": 8, "embedding": 6, "dropout": 0.2},
        "batch": 4,
    },
    "letters cut": {
        "data": {"path": "corpus.txt", "window": 24},
        "network": {"name": "char_lm", "cell": "gru", "hidden": 8, "embedding": 6, "dropout": 0.2, "bptt": 7},
        "optimizer": {"name": "rmsprop", "lr": 0.01},
        "batch": 4,
    },
    "pairs": {
        "data": {"path": "reverse", "examples": 90, "most": 8, "alphabet": 5},
        "network": {"name": "seq2seq_attention", "hidden": 6, "embedding": 5, "dropout": 0.2, "sampling": 0.3,
                    "beam": 2},
        "batch": 8,
    },
    "speech": {
        "data": {"path": "sounds", "join": 2, "joined": 40, "mels": 8},
        "network": {"name": "ctc", "hidden": 5, "channels": 4, "dropout": 0.2},
        "optimizer": {"name": "adam", "lr": 0.005},
        "batch": 5,
    },
    "speakers": {
        "data": {"path": "sounds", "task": "verify", "mels": 8, "test": 0.3},
        "network": {"name": "speaker", "channels": 6, "embedding": 4, "dropout": 0.2},
        "batch": 6,
    },
    "series": {
        "data": {"path": "sales.csv", "window": 14, "horizon": 3, "season": 7},
        "network": {"name": "forecaster", "hidden": 5},
        "schedule": {"name": "plateau"},
        "optimizer": {"name": "adam", "lr": 0.005},
        "batch": 16,
    },
}  # fmt: skip
"""Between them: dropout, scheduled sampling, truncated gradients, buckets, schedules with and without memory."""
for _work in WORKS.values():
    _work["training"] = {"epochs": 2, "save_steps": 3, "log_steps": 1, "save_seconds": 0}
GOOD = ["fine", "good", "warm", "lovely", "great", "bright", "funny"]
BAD = ["dull", "bad", "cold", "awful", "weak", "grey", "boring"]
FILLING = ["the", "a", "film", "story", "plot", "scene", "and", "with", "of", "music", "actor", "line", "end", "start",
           "slow", "very", "quite"]  # fmt: skip
NAMES, PLACES = ["anna", "otto", "lena", "emil", "ida"], ["rome", "oslo", "bern", "kyoto", "lima"]


def write_data(root: Path) -> Path:
    """All data of the works, under `root`; the same bytes whenever they are written."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "reviews").mkdir(exist_ok=True)
    for seed, (name, words) in enumerate({"good": GOOD, "bad": BAD}.items()):
        lines = [" ".join(_words(random.Random(f"{seed} {row}"), words)) for row in range(45)]
        (root / "reviews" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "tags.conll").write_text("\n".join(_tagged(random.Random(row)) for row in range(70)))
    text = " ".join(" ".join(_words(random.Random(f"line {row}"), NAMES + PLACES)) for row in range(90))
    (root / "corpus.txt").write_text(text + "\n")
    first = dt.date(2020, 1, 1)
    rows = [f"{first + dt.timedelta(day)},{20 + 3 * np.sin(day * 2 * np.pi / 7) + _noise(day):.3f}"
            for day in range(336)]  # fmt: skip
    (root / "sales.csv").write_text("\n".join(["date,sold", *rows]) + "\n")
    sounds(root / "sounds")
    return root


def _noise(day: int) -> float:
    return random.Random(f"day {day}").gauss(0, 0.5)


def _words(chance: random.Random, own: list[str]) -> list[str]:
    count = chance.choice((2, 3, 3, 4, 5, 8, 13))
    return [chance.choice(own if chance.random() < 0.4 else FILLING) for _ in range(count)]


def _tagged(chance: random.Random) -> str:
    rows = []
    for _ in range(chance.choice((1, 2, 3, 4, 6, 9))):
        kind = chance.random()
        if kind < 0.25:
            rows.append(f"{chance.choice(NAMES)}\tB-PER")
        elif kind < 0.4:
            rows += ["new\tB-LOC", f"{chance.choice(PLACES)}\tI-LOC"]
        else:
            rows.append(f"{chance.choice(FILLING)}\tO")
    return "\n".join(rows) + "\n"


def sounds(root: Path, count: int = 8) -> Path:
    """Digits 0 to 2 as tones, said by three speakers of their own pitch, of unequal length."""
    root.mkdir(parents=True, exist_ok=True)
    for digit in range(3):
        for place, who in enumerate(("anna", "emil", "otto")):
            for take in range(count):
                chance = np.random.default_rng([digit, place, take])
                made = tone(300 + 250 * digit + 40 * place, 0.06 + 0.03 * (take % 4))
                noise = chance.normal(0, 500, len(made)).astype(np.int16)
                (root / f"{digit}_{who}_{take}.wav").write_bytes(wav(made + noise))
    return root


def recipe_of(work: str, **training: Any) -> Any:
    """The recipe of a work, nothing left to be measured."""
    from netwright.recipe import Recipe

    given = WORKS[work]
    tables = {name: given[name] for name in ("network", "optimizer", "schedule") if name in given}
    tables["data"] = {**given["data"], "batch_size": given["batch"]}
    tables["training"] = {**given["training"], **kills.SETTLED, **training}
    return Recipe().updated(tables, "works")


def main() -> None:
    """The server of kills, with these works beside its own."""
    pictures = kills.pictures

    def data(root: Path) -> None:
        pictures(root)
        write_data(root.parent)

    kills.WORKS.update(WORKS)
    kills.pictures, kills.USUAL = data, ",".join(WORKS)
    kills.main()


if __name__ == "__main__":
    main()
