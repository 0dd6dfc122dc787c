"""Pairs of recordings of one speaker and of two, on which verification is measured."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from netwright.errors import DataError
from netwright.language import say
from netwright.randomness import permutation

RECORDINGS = 2000
"""Recordings among which pairs are drawn; of more, so many are drawn first."""
PAIRS = 2000
"""So many pairs of recordings are verified."""


@dataclass(frozen=True)
class Pairs:
    """Positions of both recordings of each pair, and whether one speaker is heard on both."""

    first: Int[np.ndarray, "pairs"]
    second: Int[np.ndarray, "pairs"]
    same: Bool[np.ndarray, "pairs"]

    def __len__(self) -> int:
        return len(self.same)


def pairs_for_verification(speakers: Shaped[np.ndarray, "recordings"], seed: int, count: int = PAIRS) -> Pairs:
    """Half of `count` pairs of one speaker, half of two, drawn by `seed` without repetition.

    Where there are fewer of one sort, as many are taken of the other. Same seed, same pairs on every machine.
    Errors: DataError where no two recordings share a speaker, or all do.
    """
    chosen = np.arange(len(speakers))
    if len(speakers) > RECORDINGS:
        chosen = np.sort(permutation(len(speakers), seed, "verification")[:RECORDINGS])
    number = np.unique(speakers[chosen].astype(str), return_inverse=True)[1]
    first, second = np.triu_indices(len(chosen), k=1)
    same = number[first] == number[second]
    together, apart = np.flatnonzero(same), np.flatnonzero(~same)
    half = min(count // 2, len(together), len(apart))
    if half < 1:
        text = say("{count} recordings of {speakers} speakers make no pairs of one speaker and of two",
                   count=len(speakers), speakers=len(np.unique(number)))  # fmt: skip
        raise DataError(text)
    taken = [
        kind[permutation(len(kind), seed, "verification", word)[:half]]
        for kind, word in ((together, "same"), (apart, "different"))
    ]
    order = np.sort(np.concatenate(taken))
    return Pairs(chosen[first[order]], chosen[second[order]], same[order])
