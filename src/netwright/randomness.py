"""Random numbers as pure functions of (seed, epoch, example, purpose).

Nothing here keeps a state, so sample order, augmentation and dropout do not depend on batch size, worker
count, evaluation interval, resume or on which library drew before (rule P12).
"""

import hashlib

import numpy as np


def seed_of(*words: int | str) -> int:
    """A 63-bit seed from any words: equal words give equal seeds on every machine."""
    text = "\x1f".join(map(str, words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def mixed(seed: int, number: int) -> int:
    """A 63-bit seed from another one and a number, in a microsecond: what every step of a training can afford.

    Formula: the upper 63 bits of splitmix64(seed + golden * (number + 1)).
    """
    x = (seed + 0x9E3779B97F4A7C15 * (number + 1)) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) >> 1


def permutation(length: int, *words: int | str) -> np.ndarray:
    """A random order of `range(length)` (int64) that depends on the words alone."""
    return np.random.Generator(np.random.PCG64(seed_of(*words))).permutation(length)


def uniform(examples: np.ndarray, count: int, *words: int | str) -> np.ndarray:
    """`count` uniform numbers in [0, 1) for each example, shape (len(examples), count), float64.

    Formula: the upper 53 bits of splitmix64(key(words) + golden * (example * count + draw)).
    """
    golden, key = np.uint64(0x9E3779B97F4A7C15), np.uint64(seed_of(*words))
    draws = np.asarray(examples).astype(np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
    x = np.asarray(key + golden * (draws + np.uint64(1)), dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(examples: np.ndarray, count: int, *words: int | str) -> np.ndarray:
    """`count` standard normal numbers for each example, shape (len(examples), count), float64 (Box-Muller)."""
    u = 1.0 - uniform(examples, 2 * count, *words)
    return np.sqrt(-2.0 * np.log(u[:, :count])) * np.cos(2.0 * np.pi * u[:, count:])
