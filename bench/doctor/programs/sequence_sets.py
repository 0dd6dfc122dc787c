"""Made sequences and the other tasks: several labels, points to be described, pairs, tags."""

import numpy as np
import torch

from bench.doctor.programs.sets import Split, split


def adding(seed: int, n: int = 2000, steps: int = 12) -> Split:
    """Two marked numbers of a sequence, to be added: inputs (N, T, 2)."""
    random = np.random.default_rng(seed)
    values, marks = random.uniform(-1, 1, (n, steps)), np.zeros((n, steps))
    for row in range(n):
        marks[row, random.choice(steps, 2, replace=False)] = 1
    return split(np.stack([values, marks], -1), (values * marks).sum(1, keepdims=True), seed, scaled=False)


def recall(seed: int, n: int = 1200, steps: int = 12, symbols: int = 6) -> Split:
    """Which symbol came first: inputs (N, T, symbols), one-hot."""
    random = np.random.default_rng(seed)
    said = random.integers(0, symbols, (n, steps))
    return split(np.eye(symbols)[said], said[:, 0], seed, scaled=False)


def waves(seed: int, n: int = 1000, steps: int = 24) -> Split:
    """Sine, square or saw-tooth with noise: inputs (N, T, 1)."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    t = np.arange(steps) / steps * random.uniform(2, 3, (n, 1)) + random.uniform(0, 1, (n, 1))
    sine = np.sin(2 * np.pi * t)
    all_three = np.stack([sine, np.sign(sine), 2 * (t % 1) - 1], 1)
    return split(all_three[np.arange(n), y][:, :, None] + random.normal(0, 0.2, (n, steps, 1)), y, seed, scaled=False)


def majority(seed: int, n: int = 1500, steps: int = 11) -> Split:
    """Which of three symbols comes most often: token numbers (N, T)."""
    random = np.random.default_rng(seed)
    bias = random.dirichlet(np.ones(3) * 1.5, n)
    said = _unique(torch.as_tensor(np.stack([random.choice(3, steps, p=p) for p in bias]))).numpy()
    return split(
        torch.as_tensor(said), (np.eye(3)[said].sum(1) + np.array([0.2, 0.1, 0])).argmax(1), seed, scaled=False
    )


def brackets(seed: int, n: int = 1500, steps: int = 20) -> Split:
    """Does a row of brackets close: token numbers (N, T), half of them do."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        depth, row = 0, []
        for place in range(steps):
            opens = depth == 0 or (depth < steps - place and random.random() < 0.5)
            row.append(0 if opens else 1)
            depth += 1 if opens else -1
        if i % 2:
            at = random.integers(0, steps)
            row[at] = 1 - row[at]
        rows.append([*row, 1 - i % 2])
    found = _unique(torch.tensor(rows))
    return split(found[:, :-1].clone(), found[:, -1].clone(), seed, scaled=False)


def reversal(seed: int, n: int = 1500, steps: int = 6, symbols: int = 8) -> Split:
    """A sequence to be said backwards: token numbers in, token numbers out."""
    said = torch.randint(0, symbols, (n, steps), generator=torch.Generator().manual_seed(seed))
    return split(said, said.flip(1), seed, scaled=False)


def sorting(seed: int, n: int = 2000, steps: int = 6, symbols: int = 8) -> Split:
    """A sequence to be sorted."""
    said = torch.randint(0, symbols, (n, steps), generator=torch.Generator().manual_seed(50 + seed))
    return split(said, said.sort(1).values, seed, scaled=False)


WORDS = "the rain lane mill man met hen stone ran over sat on moon mist tale told old inn late home ate nine trees all"


def letters(seed: int, window: int = 12, length: int = 6000) -> Split:
    """The next letter of a made text: letter numbers (N, T), one class an example; no window stands there twice."""
    random = np.random.default_rng(seed)
    known = {letter: number for number, letter in enumerate(sorted(set(WORDS)))}
    text = torch.tensor([known[letter] for letter in " ".join(random.choice(WORDS.split(), length // 4))])
    rows = _unique(text.unfold(0, window + 1, 1))[:2000]
    return split(rows[:, :-1].clone(), rows[:, -1].clone(), seed, scaled=False)


LETTERS = len(set(WORDS))


def _unique(rows: torch.Tensor) -> torch.Tensor:
    """Rows without those that stood there before, in their order."""
    return torch.tensor(list(dict.fromkeys(tuple(row) for row in rows.tolist())))


def multilabel(seed: int, n: int = 1200) -> Split:
    """Four labels an example, each a linear rule with a bend."""
    random = np.random.default_rng(seed)
    x, rules = random.normal(0, 1, (n, 10)), np.random.default_rng(9).normal(0, 1, (10, 4))
    return split(x, ((x @ rules + 0.5 * np.abs(x[:, :4]) - 0.4) > 0.3).astype(int), seed)


def density(seed: int, n: int = 900) -> Split:
    """Points whose density is wanted: targets are the points."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 0.05, (n, 2)) + np.array([[0.5, 0], [-0.5, 0.3]])[random.integers(0, 2, n)]
    return split(x, x.copy(), seed, scaled=False)


def siamese(seed: int, n: int = 2000) -> Split:
    """Two points of the same of four clusters or not: inputs (N, 2, 5)."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(4).normal(0, 2, (4, 5))
    a, same = random.integers(0, 4, n), random.integers(0, 2, n)
    b = np.where(same == 1, a, (a + random.integers(1, 4, n)) % 4)
    x = np.stack([centers[a], centers[b]], 1) + random.normal(0, 0.5, (n, 2, 5))
    return split(x, same, seed, scaled=False)


def tags(seed: int, n: int = 1200, steps: int = 8) -> Split:
    """A tag for each token: is it larger than the one before: token numbers (N, T), classes (N, T)."""
    said = torch.randint(0, 9, (n, steps), generator=torch.Generator().manual_seed(70 + seed))
    before = torch.cat([said[:, :1], said[:, :-1]], 1)
    return split(said, (said > before).long() + (said < before).long() * 2, seed, scaled=False)
