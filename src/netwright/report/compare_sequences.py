"""Compares two runs of a sequence task on the same test examples, from what each has stored of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from netwright.catalogue import METRICS
from netwright.errors import RunError
from netwright.language import say
from netwright.parts import metrics
from netwright.randomness import permutation, seed_of
from netwright.report.compare import RESAMPLES, UNITS, Outcome, chunks, compare_outputs, mcnemar, result
from netwright.report.intervals import Z, resampled
from netwright.report.words import LEADING

Stored = Mapping[str, np.ndarray]
Parts = Float[np.ndarray, "examples parts"]
OF_NATS = {
    "bits_per_character": ("nats", "characters"),
    "perplexity": ("nats", "tokens"),
    "nll": ("nats", "tokens"),
}
TOO_HARD = ("bleu", "exact_match")
"""Metrics that are 0 for all runs on texts of single words, or on texts that nobody gets whole."""
SINGLE = ("exact_match",)
"""Metrics that are the mean of one number an example."""


def compare_stored(task: str, first: Stored, second: Stored, *, same_tokens: bool = True) -> dict[str, Any]:
    """Whether the second run is better or worse than the first, on the metric that the task leads with.

    Tags, texts, transcripts and language models: the metric is a function of sums over the examples; every example is
    swapped between the runs or not (Noreen 1989, approximate randomization) and redrawn in pairs (bootstrap).
    Forecasts: absolute errors, swapped in blocks of neighbouring windows, which share most of their steps.
    Verification: which pairs each run tells right at its own equal error rate, by the exact McNemar test or, where
    that is larger, by the variance that knows of pairs with a recording in common (Aronow et al. 2015).

    Args:
        first, second: what `stored` kept; language models of the same text may have cut it differently.
        same_tokens: whether both have the same vocabulary; without it perplexities do not compare.

    Returns: as `compare_outputs`.
    """
    if task in ("classify", "regress"):
        return compare_outputs(task, first["truth"], first["predictions"], second["predictions"])
    _refuse_broken(first, second)
    if task == "forecast":
        return _forecasts(first, second)
    if task == "verify":
        return _verified(first, second)
    if task == "generate" and not _same_pieces(first, second):
        first, second = _cut_alike(first, second)
    name = _leading(task, first, second, same_tokens)
    if not name:
        text = say("the two runs have no metric in common that compares: their vocabularies differ")
        raise RunError(text)
    a, b = (_parts(name, run) for run in (first, second))
    outcome = paired_sums(a, b, lambda sums: _value(name, sums, len(a)))
    found = result(name, *outcome, len(a), higher=METRICS[name].facts["better"] == "higher")
    if all("unknown" in run for run in (first, second)) and not same_tokens:
        found["unknown"] = [_share(run["unknown"].sum(), run["tokens"].sum()) for run in (first, second)]
    return found


def same_text(first: Stored, second: Stored) -> bool:
    """Whether two language models were tested on the same text, however each cuts it into pieces and tokens."""
    return "text" in first and "text" in second and np.array_equal(first["text"], second["text"])


def _refuse_broken(first: Stored, second: Stored) -> None:
    for run, which in ((first, say("first")), (second, say("second"))):
        told = run["predictions"] if "predictions" in run else run["nats"]
        rows = int((~np.isfinite(told)).reshape(len(told), -1).any(axis=1).sum()) if len(told) else 0
        if rows:
            text = say("the {which} run gives NaN or infinity for {rows} examples", which=which, rows=rows)
            raise RunError(f"{text}: {say('nothing can be compared')}")


def _leading(task: str, first: Stored, second: Stored, same_tokens: bool) -> str:
    """The task's first metric that has a value in both runs, and in one of them a hit where all may be missed."""
    for name in (*LEADING[task], "chrf"):
        if name == "perplexity" and not same_tokens:
            continue
        if not all(set(OF_NATS.get(name, (name,))) <= run.keys() for run in (first, second)):
            continue
        values = [_value(name, (parts := _parts(name, run)).sum(axis=0), len(parts)) for run in (first, second)]
        if np.isfinite(values).all() and (name not in TOO_HARD or any(values)):
            return name
    return ""


def _parts(name: str, run: Stored) -> Parts:
    """What each example adds to that metric."""
    if name in OF_NATS:
        return np.stack([run[key].astype(np.float64) for key in OF_NATS[name]], axis=1)
    return run[name].astype(np.float64)


def _value(name: str, sums: np.ndarray, count: int) -> np.ndarray:
    """The metric of sums of parts (last axis) over `count` examples."""
    if name in SINGLE:
        return np.asarray(sums[..., 0] / max(count, 1))
    return metrics.SUMS[name].value(sums)


def paired_sums(first: Parts, second: Parts, value: Any) -> Outcome:
    """Values of both, the paired bootstrap interval of their difference, and the p of swapping examples.

    Args:
        value: the metric of sums of parts (last axis); NaN where it does not exist.

    All swaps are looked at where there are at most 13 examples, else 9,999 drawn ones; of more than 2,000 examples
    random groups are swapped.
    """
    values = [float(value(parts.sum(axis=0))) if len(parts) else float("nan") for parts in (first, second)]
    if not np.isfinite(values).all():
        return [each if np.isfinite(each) else None for each in values], None, None, None
    told: list[float | None] = list(values)
    if np.array_equal(first, second):
        return told, 0.0, 0.0, 1.0
    a, b = _grouped(first), _grouped(second)
    p = _swapped(a, b, value, np.random.Generator(np.random.PCG64(seed_of("compare", len(first)))))
    width = first.shape[1]
    limits = resampled(np.concatenate([a, b], axis=1), lambda sums: value(sums[..., width:]) - value(sums[..., :width]))
    return (told, *limits, p) if limits is not None else (told, None, None, p)


def _grouped(parts: Parts) -> Parts:
    """Sums over at most 2,000 random groups of examples, the same groups for every run."""
    count = len(parts)
    if count <= UNITS:
        return parts
    group = permutation(count, "compare groups", count) % UNITS
    return np.stack([np.bincount(group, column, UNITS) for column in parts.T], axis=1)


def _swapped(first: Parts, second: Parts, value: Any, draws: np.random.Generator) -> float:
    """The share of swaps of the two runs, example by example, whose values differ at least as much."""
    count, apart = len(first), second - first
    a, b = first.sum(axis=0), second.sum(axis=0)
    seen = abs(float(value(b) - value(a))) * (1 - 1e-9)

    def extreme(swaps: np.ndarray) -> int:
        moved = swaps.astype(np.float64) @ apart
        differences = np.abs(value(b - moved) - value(a + moved))
        return int(np.sum(~(differences < seen)))  # one that does not exist counts against the finding

    if count <= 13:
        return extreme((np.arange(2**count)[:, None] >> np.arange(count)) & 1) / 2**count
    found = sum(extreme(draws.integers(0, 2, size=(size, count), dtype=np.int8)) for size in chunks(RESAMPLES, count))
    return (1 + found) / (1 + RESAMPLES)


def _forecasts(first: Stored, second: Stored) -> dict[str, Any]:
    """Mean absolute errors, scaled where both are measured by the same seasonal naive error."""
    truth = first["truth"]
    if truth.shape != first["predictions"].shape or truth.shape != second["predictions"].shape:
        raise RunError(say("the two runs forecast {a} and {b} steps; a paired test needs the same",
                           a=first["predictions"].shape[-1], b=second["predictions"].shape[-1]))  # fmt: skip
    naive = [float(run["naive_error"][0]) if "naive_error" in run else 0.0 for run in (first, second)]
    name, unit = ("mase", naive[0]) if naive[0] == naive[1] and np.isfinite(naive[0]) and naive[0] > 0 else ("mae", 1.0)
    errors = [np.abs(run["predictions"] - truth).mean(axis=1) / unit for run in (first, second)]
    edges = _blocks(len(truth), truth.shape[1] if truth.ndim > 1 else 1)
    sizes = np.diff([*edges, len(truth)]).astype(np.float64)
    parts = [
        np.stack([np.add.reduceat(error, edges), sizes], axis=1) if len(edges) else np.zeros((0, 2)) for error in errors
    ]
    outcome = paired_sums(parts[0], parts[1], lambda sums: sums[..., 0] / sums[..., 1])
    return {**result(name, *outcome, len(truth), higher=False), "blocks": len(edges)}


def _blocks(count: int, horizon: int) -> np.ndarray:
    """Where blocks of at least `horizon` neighbouring windows begin, two blocks at least; the last takes the rest."""
    size = max(1, min(horizon, count // 2))
    return np.arange(max(1, count // size)) * size if count else np.zeros(0, dtype=int)


def _verified(first: Stored, second: Stored) -> dict[str, Any]:
    truth = first["truth"]
    right = [_told_right(truth, run["predictions"]) for run in (first, second)]
    values, low, high, p = mcnemar(right[0], right[1])
    error = _standard_error(right[1] - right[0], first) if len(truth) else None
    if error is not None and low is not None and high is not None and p is not None:
        from scipy.stats import norm

        difference = float((right[1] - right[0]).mean())
        low, high = min(low, difference - Z * error), max(high, difference + Z * error)
        p = max(p, float(2 * norm.sf(abs(difference) / error)) if error > 0 else p)
    return result("accuracy", values, low, high, p, len(truth), higher=True)


def _told_right(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which pairs are told right by the threshold at which misses and false alarms are most nearly as frequent."""
    tried = np.unique(scores)
    same, others = np.sort(scores[truth == 1]), np.sort(scores[truth == 0])
    missed = np.searchsorted(same, tried) / max(len(same), 1)
    alarms = 1 - np.searchsorted(others, tried) / max(len(others), 1)
    threshold = tried[np.argmin(np.abs(missed - alarms))] if len(tried) else 0.0
    return ((scores >= threshold) == (truth == 1)).astype(np.float64)


def _standard_error(difference: np.ndarray, run: Stored) -> float | None:
    """Of a mean over pairs of recordings: pairs with a recording in common vary together.

    Formula: sqrt(sum over recordings of (sum of their pairs' deviations)^2 - sum of squared deviations) / pairs
    """
    if not {"first", "second"} <= run.keys():
        return None
    left = difference - difference.mean()
    most = int(max(run["first"].max(), run["second"].max())) + 1
    of_recording = np.bincount(run["first"], left, most) + np.bincount(run["second"], left, most)
    variance = float((of_recording**2).sum() - (left**2).sum())
    return float(np.sqrt(max(variance, float((left**2).sum())))) / len(left)


def _same_pieces(first: Stored, second: Stored) -> bool:
    keys = ("begins", "characters")
    return all(np.array_equal(first.get(key, 0), second.get(key, 0)) for key in keys)


def _cut_alike(first: Stored, second: Stored) -> tuple[Stored, Stored]:
    """Nats and characters of both runs in blocks of the text that are no shorter than any piece: what a piece costs
    is spread evenly over it."""
    longest = max(int(np.diff(run["begins"]).max(initial=1)) for run in (first, second))
    end = int(first["begins"][-1])
    edges = np.linspace(0, end, max(2, min(UNITS, end // max(longest, 1)) + 1))
    cut = []
    for run in (first, second):
        found: dict[str, np.ndarray] = {"tokens": run["tokens"]}
        for key in ("nats", "characters"):
            upto = np.concatenate([[0.0], np.cumsum(run[key], dtype=np.float64)])
            found[key] = np.diff(np.interp(edges, run["begins"], upto))
        cut.append(found | {key: run[key] for key in ("unknown",) if key in run})
    return cut[0], cut[1]


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
