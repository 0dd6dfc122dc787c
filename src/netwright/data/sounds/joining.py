"""Recordings joined end to end, so that a recogniser has strings of words to read; no clip crosses a split."""

from collections.abc import Mapping, Sequence

import numpy as np

from netwright.data.sounds.rates import as_float
from netwright.randomness import permutation


def strings(splits: Mapping[str, np.ndarray], length: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """Which clips make each joined example: (examples, length) positions for each split.

    Every split hands out its own clips in seeded orders, one order after another, so that each clip is used once
    before any is used twice. `count` examples are made for the training split and in proportion for the others; 0
    makes as many as the split has clips.
    """
    train = max(1, len(splits["train"]))
    found = {}
    for name, clips in splits.items():
        if not len(clips):
            continue
        wanted = max(1, round(count * len(clips) / train)) if count else len(clips)
        rounds = -(-wanted * length // len(clips))
        order = [clips[permutation(len(clips), seed, "join", name, each)] for each in range(rounds)]
        found[name] = np.concatenate(order)[: wanted * length].reshape(wanted, length)
    return found


def end_to_end(waves: Sequence[np.ndarray]) -> np.ndarray:
    """One wave of several; int16 where all are."""
    same = all(wave.dtype == np.int16 for wave in waves)
    return np.concatenate(list(waves) if same else [as_float(wave) for wave in waves])
