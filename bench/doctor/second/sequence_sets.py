"""Series and small texts of the second set; token number 0 is padding."""

import numpy as np
import torch

from bench.doctor.programs.sets import Split, split

GOOD = ["good", "great", "lovely", "fine", "bright", "warm", "clever"]
BAD = ["bad", "awful", "dull", "poor", "cold", "slow", "stale"]
PLAIN = ["the", "film", "a", "plot", "was", "and", "its", "cast", "scenes", "ending", "music", "it", "story", "very"]
WORDS = ["<pad>", "not", *GOOD, *BAD, *PLAIN]


def reviews(seed: int, n: int = 1400, steps: int = 14) -> Split:
    """Short texts as word numbers, padded behind: praise or blame, and `not` turns the next word over."""
    random = np.random.default_rng(seed)
    known = {word: number for number, word in enumerate(WORDS)}
    x, y = np.zeros((n, steps), dtype=int), np.zeros(n, dtype=int)
    for i in range(n):
        length, tone = random.integers(5, steps - 2), 0
        row: list[str] = []
        y[i] = random.integers(0, 2)
        while len(row) < length or (tone > 0) != bool(y[i]) or tone == 0:
            if random.random() < 0.5 and len(row) < length:
                row.append(random.choice(PLAIN))
            else:
                good, turned = random.random() < 0.5, random.random() < 0.3
                row += ["not"] * turned + [random.choice(GOOD if good else BAD)]
                tone += 1 if good != turned else -1
            if len(row) > steps:
                row, tone = [], 0
        row = row[:steps]
        x[i, : len(row)] = [known[word] for word in row]
    return split(torch.as_tensor(x), torch.as_tensor(y), seed, scaled=False)


def topics(seed: int, n: int = 1200, steps: int = 12, words: int = 120, k: int = 6) -> Split:
    """Which of six subjects a text is about: each has words it likes."""
    likes, random = np.random.default_rng(31), np.random.default_rng(seed)
    tables = likes.dirichlet(np.full(words, 0.12), k)
    y = random.integers(0, k, n)
    mixed = 0.7 * tables + 0.3 / words
    x = np.stack([random.choice(words, steps, p=mixed[kind]) for kind in y]) + 1
    return split(torch.as_tensor(x), torch.as_tensor(y), seed, scaled=False)


def series(seed: int, n: int = 900, window: int = 12, scaled: bool = True) -> Split:
    """The next value of a daily series with a week, a drift and noise: windows cut out, shuffled into the parts."""
    random = np.random.default_rng(seed)
    t = np.arange(n + window)
    line = 20 + 6 * np.sin(2 * np.pi * t / 7) + 3 * np.sin(2 * np.pi * t / 30.4) + random.normal(0, 0.8, len(t))
    if scaled:
        line = (line - line[: n // 2].mean()) / line[: n // 2].std()
    rows = np.lib.stride_tricks.sliding_window_view(line, window + 1)[:n]
    return split(rows[:, :-1, None].copy(), rows[:, -1:].copy(), seed, scaled=False)


def rhythm(seed: int, n: int = 1000, steps: int = 32) -> Split:
    """Two channels of pulses every 3, 4, 5 or 6 steps, with noise: (N, 32, 2)."""
    random = np.random.default_rng(seed)
    y, start = random.integers(0, 4, n), random.integers(0, 6, n)
    beat = (np.arange(steps) + start[:, None]) % (y[:, None] + 3) == 0
    x = np.stack([beat * random.uniform(0.8, 1.2, (n, 1)), 0.3 * np.roll(beat, 1, 1)], -1)
    return split(x + random.normal(0, 0.15, (n, steps, 2)), y, seed, scaled=False)


def echo(seed: int, n: int = 1200, steps: int = 8, back: int = 2, symbols: int = 7) -> Split:
    """At each place the symbol of two places before, 0 at the first: token numbers in, token numbers out."""
    said = torch.randint(1, symbols, (n, steps), generator=torch.Generator().manual_seed(300 + seed))
    heard = torch.cat([torch.zeros(n, back, dtype=torch.long), said[:, :-back]], 1)
    return split(said, heard, seed, scaled=False)


def rabbits(seed: int, n: int = 1800, steps: int = 9, symbols: int = 6) -> Split:
    """After five tokens each is the sum of the last and the fifth last, modulo 6: all but the last in, all but the
    first out. No row stands there twice.
    """
    starts = torch.cartesian_prod(*[torch.arange(symbols)] * 5)
    rows = starts[torch.randperm(len(starts), generator=torch.Generator().manual_seed(900 + seed))[:n]]
    while rows.shape[1] <= steps:
        rows = torch.cat([rows, (rows[:, -1:] + rows[:, -5:-4]) % symbols], 1)
    return split(rows[:, :-1] + 1, rows[:, 1:] + 1, seed, scaled=False)


def largest(seed: int, n: int = 1200, steps: int = 10, places: int = 0) -> Split:
    """The largest number of a sequence (N, 10, 1); `places`: of the first so many alone."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, steps, 1))
    return split(x, x[:, : places or steps].max(1), seed, scaled=False)
