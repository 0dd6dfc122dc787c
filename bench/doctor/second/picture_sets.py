"""Pictures of the second set: variations of the embedded digits, and drawn ones."""

from functools import cache

import numpy as np

from bench.doctor.programs.sets import Split, split


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images, found.target


def parity(seed: int, n: int = 1300, raw: bool = False) -> Split:
    """Digits, dark on light: odd or even. Raw: grey levels 0 to 255."""
    images, target = _digits()
    keep = np.random.default_rng(seed).permutation(len(images))[:n]
    return split((255 if raw else 1) * (1 - images[keep, None] / 16), target[keep] % 2, seed, scaled=False)


def glyphs(seed: int, n: int = 1500) -> Split:
    """Digits somewhere in a frame of 12 x 12, each with its own contrast: ten classes."""
    images, target = _digits()
    random = np.random.default_rng(seed)
    keep = random.permutation(len(images))[:n]
    x = random.normal(0, 0.05, (n, 1, 12, 12))
    for i, number in enumerate(keep):
        r, c = random.integers(0, 5, 2)
        x[i, 0, r : r + 8, c : c + 8] += images[number] / 16 * random.uniform(0.6, 1)
    return split(x * 2 - 0.4, target[keep], seed, scaled=False)


def reconstruct(seed: int, n: int = 1200) -> Split:
    """Digits to be said again: targets are the 64 grey levels."""
    images, _ = _digits()
    keep = np.random.default_rng(seed).permutation(len(images))[:n]
    x = images[keep].reshape(n, 64) / 16
    return split(x, x.copy(), seed, scaled=False)


def arrows(seed: int, n: int = 1000, noise: float = 0.25) -> Split:
    """Arrows on 9 x 9: left, right, up, down."""
    random = np.random.default_rng(seed)
    stamp = np.zeros((5, 5))
    stamp[2, :] = stamp[1, 1] = stamp[3, 1] = stamp[0, 2] = stamp[4, 2] = 1
    stamps = [stamp, stamp[:, ::-1], stamp.T, stamp.T[::-1]]
    y, x = random.integers(0, 4, n), random.normal(0, noise, (n, 1, 9, 9))
    for i, kind in enumerate(y):
        r, c = random.integers(0, 5, 2)
        x[i, 0, r : r + 5, c : c + 5] += stamps[int(kind)]
    return split(x, y, seed, scaled=False)


def dots(seed: int, n: int = 1200) -> Split:
    """One to four dots of 2 x 2 that do not touch, on 12 x 12: how many."""
    random = np.random.default_rng(seed)
    y, x = random.integers(0, 4, n), random.normal(0, 0.1, (n, 1, 12, 12))
    for i, count in enumerate(y):
        for place in random.choice(16, int(count) + 1, replace=False):
            r, c = 3 * (place // 4), 3 * (place % 4)
            x[i, 0, r : r + 2, c : c + 2] += random.uniform(0.8, 1.2)
    return split(x, y, seed, scaled=False)


def gratings(seed: int, n: int = 1000, noise: float = 0.5) -> Split:
    """Waves on 10 x 10 that run in one of three directions."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:10, :10]
    y, phase, pace = random.integers(0, 3, n), random.uniform(0, 2 * np.pi, n), random.uniform(1.0, 1.6, n)
    turn = y * np.pi / 3
    along = np.cos(turn)[:, None, None] * rows + np.sin(turn)[:, None, None] * columns
    x = np.sin(along * pace[:, None, None] + phase[:, None, None]) + random.normal(0, noise, (n, 10, 10))
    return split(x[:, None], y, seed, scaled=False)


def patches(seed: int, n: int = 900) -> Split:
    """Colour pictures (N, 10, 10, 3), channels last: a red square left of, right of, above or below a blue one."""
    random = np.random.default_rng(seed)
    y, x = random.integers(0, 4, n), random.uniform(0, 0.4, (n, 10, 10, 3))
    for i, kind in enumerate(y):
        a, near, far = random.integers(0, 8), random.integers(0, 3), random.integers(5, 8)
        red, blue = (near, far) if kind % 2 == 0 else (far, near)
        one, two = ((a, red), (a, blue)) if kind < 2 else ((red, a), (blue, a))
        x[i, one[0] : one[0] + 3, one[1] : one[1] + 3, 0] += 0.6
        x[i, two[0] : two[0] + 3, two[1] : two[1] + 3, 2] += 0.6
    return split(x, y, seed, scaled=False)
