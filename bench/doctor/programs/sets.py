"""The data of the programs: embedded sets of scikit-learn and made ones, split into train, validation and test."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Inputs and targets of three parts. Classes are whole numbers, targets of regression (N, 1) unless said."""

    train: Pair
    validation: Pair
    test: Pair

    def inputs(self, change: Callable[[Tensor], Tensor]) -> "Split":
        """The same with other inputs, in all three parts."""
        return Split(*((change(x), y) for x, y in (self.train, self.validation, self.test)))

    def targets(self, change: Callable[[Tensor], Tensor]) -> "Split":
        """The same with other targets, in all three parts."""
        return Split(*((x, change(y)) for x, y in (self.train, self.validation, self.test)))

    def training(self, inputs: Tensor, targets: Tensor) -> "Split":
        """The same with another training part."""
        return replace(self, train=(inputs, targets))

    def seen(self, change: Callable[[Tensor], Tensor]) -> "Split":
        """The same with other targets where the doctor sees them: training and validation, not the test."""
        return Split(
            (self.train[0], change(self.train[1])), (self.validation[0], change(self.validation[1])), self.test
        )


def split(inputs: Any, targets: Any, seed: int, scaled: bool = True) -> Split:
    """60, 20, 20 %, shuffled; inputs standardised by the training part."""
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32) if not torch.is_tensor(inputs) else inputs
    y = torch.as_tensor(np.asarray(targets)) if not torch.is_tensor(targets) else targets
    if y.is_floating_point():
        y = y.float().reshape(len(y), -1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1000 + seed))
    a, b = int(0.6 * len(x)), int(0.8 * len(x))
    x, y = x[order], y[order]
    if scaled:
        x = (x - x[:a].mean(0)) / x[:a].std(0).clamp_min(1e-6)
    return Split((x[:a], y[:a]), (x[a:b], y[a:b]), (x[b:], y[b:]))


def standard_targets(found: Split) -> Split:
    """Targets standardised by the training part."""
    mean, deviation = found.train[1].mean(0), found.train[1].std(0)
    return found.targets(lambda y: (y - mean) / deviation)


def moons(seed: int, n: int = 800, noise: float = 0.15) -> Split:
    from sklearn.datasets import make_moons

    return split(*make_moons(n, noise=noise, random_state=seed), seed)


def circles(seed: int, n: int = 800, noise: float = 0.08) -> Split:
    from sklearn.datasets import make_circles

    return split(*make_circles(n, noise=noise, factor=0.5, random_state=seed), seed)


def blobs(seed: int, n: int = 900, k: int = 5, d: int = 6, spread: float = 2.0) -> Split:
    from sklearn.datasets import make_blobs

    centers = np.random.default_rng(3).uniform(-4, 4, (k, d))
    return split(*make_blobs(n, centers=centers, cluster_std=spread, random_state=seed)[:2], seed)


def hastie(seed: int, n: int = 2000) -> Split:
    from sklearn.datasets import make_hastie_10_2

    x, y = make_hastie_10_2(n, random_state=seed)
    return split(x, (y > 0).astype(int), seed)


def clouds(seed: int, n: int = 1200, k: int = 4) -> Split:
    from sklearn.datasets import make_classification

    return split(*make_classification(
        n, 20, n_informative=8, n_redundant=4, n_classes=k, n_clusters_per_class=1, class_sep=1.5, flip_y=0,
        random_state=seed,
    ), seed)  # fmt: skip


def spirals(seed: int, n: int = 900, arms: int = 3, noise: float = 0.1) -> Split:
    random = np.random.default_rng(seed)
    arm, t = np.arange(n) % arms, random.uniform(0.3, 1, n)
    angle = 4.5 * t + 2 * np.pi * arm / arms + random.normal(0, noise, n)
    return split(np.stack([t * np.cos(angle), t * np.sin(angle)], 1), arm, seed)


def xor(seed: int, n: int = 800, d: int = 4) -> Split:
    x = np.random.default_rng(seed).uniform(-1, 1, (n, d))
    return split(x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int), seed)


def checkers(seed: int, n: int = 1500) -> Split:
    x = np.random.default_rng(seed).uniform(0, 3, (n, 2))
    return split(x, (np.floor(x).sum(1) % 2).astype(int), seed)


def rings(seed: int, n: int = 1000) -> Split:
    from sklearn.datasets import make_gaussian_quantiles

    return split(*make_gaussian_quantiles(n_samples=n, n_features=3, n_classes=3, random_state=seed), seed)


@cache
def _scikit(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    found: tuple[np.ndarray, np.ndarray] = getattr(datasets, f"load_{name}")(return_X_y=True)
    return found


def iris(seed: int, scaled: bool = True) -> Split:
    return split(*_scikit("iris"), seed, scaled)


def wine(seed: int, scaled: bool = True) -> Split:
    return split(*_scikit("wine"), seed, scaled)


def cancer(seed: int, scaled: bool = True) -> Split:
    return split(*_scikit("breast_cancer"), seed, scaled)


def digits(seed: int, n: int = 1797, unit: bool = True) -> Split:
    x, y = _scikit("digits")
    keep = np.random.default_rng(seed).permutation(len(x))[:n]
    return split(x[keep] / 16 if unit else x[keep], y[keep], seed, scaled=False)


def as_pictures(found: Split) -> Split:
    side = int(found.train[0].shape[1] ** 0.5)
    return found.inputs(lambda x: x.reshape(-1, 1, side, side))


def bars(seed: int, n: int = 1000, noise: float = 0.35) -> Split:
    """Pictures of 10 x 10 with one bar: lying, standing, rising, falling."""
    random = np.random.default_rng(seed)
    y, x = random.integers(0, 4, n), random.normal(0, noise, (n, 10, 10))
    for i, kind in enumerate(y):
        at, t = random.integers(2, 8), np.arange(10)
        row, column = {0: (t * 0 + at, t), 1: (t, t * 0 + at), 2: (t, t), 3: (t, 9 - t)}[int(kind)]
        x[i, row, (column + (at - 5 if kind > 1 else 0)) % 10] += 1
    return split(x[:, None], y, seed, scaled=False)


def shapes(seed: int, n: int = 1000, noise: float = 0.3) -> Split:
    """Colour pictures of 12 x 12 with a square, a ring or a cross somewhere."""
    random = np.random.default_rng(seed)
    stamps = np.zeros((3, 6, 6))
    stamps[0] = 1
    stamps[1], stamps[1, 1:5, 1:5] = 1, 0
    stamps[2, 2:4, :] = stamps[2, :, 2:4] = 1
    y, x = random.integers(0, 3, n), random.normal(0, noise, (n, 3, 12, 12))
    for i, kind in enumerate(y):
        r, c = random.integers(0, 7, 2)
        x[i, :, r : r + 6, c : c + 6] += stamps[kind] * random.uniform(0.5, 1, 3)[:, None, None]
    return split(x, y, seed, scaled=False)


def faces(seed: int, n: int = 900, noise: float = 0.2) -> Split:
    """Drawn faces of 8 x 8: the mouth bends up, down, or is straight."""
    random = np.random.default_rng(seed)
    y, x = random.integers(0, 3, n), random.normal(0, noise, (n, 8, 8))
    for i, kind in enumerate(y):
        x[i, 2, [2, 5]] += 1
        mouth = {0: [5, 6, 6, 5], 1: [6, 5, 5, 6], 2: [6, 6, 6, 6]}[int(kind)]
        x[i, np.array(mouth) - random.integers(0, 2), [2, 3, 4, 5]] += 1
    return split(x[:, None], y, seed, scaled=False)


def diabetes(seed: int) -> Split:
    x, y = _scikit("diabetes")
    return split(x, y.astype(np.float32), seed)


def friedman(seed: int, n: int = 900, noise: float = 1.0) -> Split:
    from sklearn.datasets import make_friedman1

    return split(*make_friedman1(n, 8, noise=noise, random_state=seed), seed)


def roll(seed: int, n: int = 1000) -> Split:
    from sklearn.datasets import make_swiss_roll

    return split(*make_swiss_roll(n, noise=0.3, random_state=seed), seed)


def counts(seed: int, n: int = 1000) -> Split:
    """Counts of rate exp(linear + a bend)."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (n, 5))
    rate = np.exp(1.0 + 0.6 * x[:, 0] - 0.5 * x[:, 1] + 0.5 * np.abs(x[:, 2]))
    return split(x, random.poisson(rate).astype(np.float32), seed)


def arm(seed: int, n: int = 1000) -> Split:
    """Where the hand of an arm of two links is, by its two angles: two numbers an example."""
    angles = np.random.default_rng(seed).uniform(-np.pi / 2, np.pi / 2, (n, 2))
    a, b = angles[:, 0], angles.sum(1)
    return split(angles, np.stack([np.cos(a) + 0.7 * np.cos(b), np.sin(a) + 0.7 * np.sin(b)], 1), seed)


def waveline(seed: int, n: int = 800) -> Split:
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 2, (n, 1))
    return split(x, (np.sin(3 * x) + 0.3 * x + random.normal(0, 0.1, (n, 1))), seed)
