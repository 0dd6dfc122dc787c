"""Which example goes where: given splits, or seeded and stratified ones, whole groups at a time."""

import numpy as np

from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.randomness import permutation

Splits = dict[str, np.ndarray]
"""Positions (int64, ascending) of `train`, `validation` and `test`; together every example at most once."""

SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
"""What files and folders call the splits."""


def split(
    length: int,
    given: Splits,
    *,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Divide `length` examples. A given test set stays; `train` with `validation` alone makes that the test set.

    Without a given test set: the share `test` of all, then the share `validation` of the rest, drawn by `seed`.
    `strata` (a class number an example) keeps the class shares; `groups` never part.
    """
    given = {name: positions for name, positions in given.items() if len(positions)}
    if "train" in given and "validation" in given and "test" not in given:
        given = {"train": given["train"], "test": given["validation"]}
    everything = np.arange(length)
    if "test" in given:
        held = given["test"]
        rest = given.get("train", np.setdiff1d(everything, np.concatenate(list(given.values()))))
    else:
        rest = given.get("train", np.setdiff1d(everything, given.get("validation", everything[:0])))
        held = _draw(rest, test, strata, groups, seed, "test")
        rest = np.setdiff1d(rest, held)
    if "validation" in given:
        watched = given["validation"]
    else:
        watched = _draw(rest, validation, strata, groups, seed, "validation")
        rest = np.setdiff1d(rest, watched)
    if len(rest) == 0:
        raise DataError(
            say("no example is left to train on: {count} in all, {test} to test", count=length, test=len(held))
        )
    return {"train": np.sort(rest), "validation": np.sort(watched), "test": np.sort(held)}


def _draw(
    pool: np.ndarray, share: float, strata: np.ndarray | None, groups: np.ndarray | None, seed: int, purpose: str
) -> np.ndarray:
    """A random part of `pool` of about `share`, by strata or by groups."""
    wanted = round(share * len(pool))
    if wanted == 0 or len(pool) < 2:
        return pool[:0]
    shuffled = pool[permutation(len(pool), seed, "split", purpose)]
    if groups is not None:
        return _whole_groups(shuffled, groups, wanted, purpose == "test")
    if strata is None:
        return shuffled[:wanted]
    return _stratified(shuffled, strata[shuffled], wanted)


def _stratified(shuffled: np.ndarray, strata: np.ndarray, wanted: int) -> np.ndarray:
    """Take from each class its share, the left-over places going to the largest remainders; a class keeps one."""
    classes, counts = np.unique(strata, return_counts=True)
    exact = counts * (wanted / len(shuffled))
    quota = np.minimum(np.floor(exact).astype(int), np.maximum(counts - 1, 0))
    for index in np.argsort(quota - exact, kind="stable"):
        if quota.sum() >= wanted:
            break
        quota[index] += int(quota[index] < counts[index] - 1)
    return np.concatenate([shuffled[strata == name][:take] for name, take in zip(classes, quota, strict=True)])


def _whole_groups(shuffled: np.ndarray, groups: np.ndarray, wanted: int, needed: bool) -> np.ndarray:
    """Take groups in shuffled order as long as they bring the count nearer to `wanted`; never the last group. Where
    all are too large for that and some are `needed`, the smallest is taken."""
    _, first, number = np.unique(groups[shuffled], return_index=True, return_inverse=True)
    members = np.split(shuffled[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number))[:-1])
    taken: list[np.ndarray] = []
    size = 0
    for index in np.argsort(first)[:-1]:
        group = members[index]
        if size >= wanted or abs(size + len(group) - wanted) > abs(size - wanted):
            continue
        taken.append(group)
        size += len(group)
    if needed and not taken and len(members) > 1:
        taken.append(min(members, key=len))
    return np.concatenate(taken) if taken else shuffled[:0]


def folds(
    positions: np.ndarray, count: int, strata: np.ndarray | None, groups: np.ndarray | None, seed: int
) -> list[np.ndarray]:
    """`count` disjoint parts of `positions` that cover them all, of nearly equal size, by strata or groups."""
    units = len(np.unique(groups[positions])) if groups is not None else len(positions)
    if count < 2 or count > units:
        raise UsageError(say("training.folds = {count}; it lies between 2 and {units} here", count=count, units=units))
    shuffled = positions[permutation(len(positions), seed, "folds")]
    if groups is not None:
        names, sizes = np.unique(groups[shuffled], return_counts=True)
        loads, fold_of = np.zeros(count, int), {}
        for index in np.argsort(-sizes, kind="stable"):
            fold_of[names[index]] = int(loads.argmin())
            loads[fold_of[names[index]]] += sizes[index]
        number = np.array([fold_of[name] for name in groups[shuffled]])
    else:
        order = np.argsort(strata[shuffled], kind="stable") if strata is not None else np.arange(len(shuffled))
        number = np.empty(len(shuffled), int)
        number[order] = np.arange(len(shuffled)) % count
    return [np.sort(shuffled[number == fold]) for fold in range(count)]
