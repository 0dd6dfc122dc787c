"""Tables and numbers of the second set: scikit-learn's makers with other settings, and own ones in raw units."""

import numpy as np
import torch
from torch import Tensor

from bench.doctor.programs.sets import Split, split, standard_targets

__all__ = ["Split", "split", "standard_targets"]


def quantiles(seed: int, n: int = 900, k: int = 3) -> Split:
    """Shells around a centre, in two dimensions."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=n, n_features=2, n_classes=k, random_state=seed)
    return split(x, y, seed)


def ripples(seed: int, n: int = 1200) -> Split:
    """On a crest or in a trough of round waves."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return split(x, (np.sin(7 * np.hypot(x[:, 0], x[:, 1])) > 0).astype(int), seed)


def stripes(seed: int, n: int = 1000) -> Split:
    """Slanted stripes, three kinds in turn."""
    x = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return split(x, np.floor(2.5 * (x[:, 0] + 0.6 * x[:, 1]) + 6).astype(int) % 3, seed)


def credit(seed: int, n: int = 1000, k: int = 2) -> Split:
    from sklearn.datasets import make_classification

    x, y = make_classification(
        n, 14, n_informative=6, n_redundant=3, n_repeated=1, n_classes=k, n_clusters_per_class=2, class_sep=1.3,
        flip_y=0.01, random_state=40 + seed,
    )  # fmt: skip
    return split(x, y, seed)


def penguins(seed: int, n: int = 600, scaled: bool = True) -> Split:
    """Beak length and depth, flipper length in mm, weight in g, of three kinds."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 3, n)
    means = np.array([[39, 18.3, 190, 3700], [49, 18.4, 196, 3750], [47, 15.0, 217, 5050]])
    spread = np.array([3.0, 1.2, 7, 450])
    return split(means[kind] + random.normal(0, 1, (n, 4)) * spread, kind, seed, scaled)


def loans(seed: int, n: int = 1200, scaled: bool = True, limit: float = 0.0) -> Split:
    """Income, debt, age, years in the job, earlier loans: is it paid back. `limit` higher: fewer are not."""
    random = np.random.default_rng(seed)
    income, debt = random.lognormal(10.3, 0.5, n), random.lognormal(9.2, 0.8, n)
    age, years, earlier = random.uniform(20, 70, n), random.exponential(6, n), random.poisson(1.2, n)
    risk = 2.2 * np.log(debt / income) + 0.08 * np.abs(age - 45) - 0.12 * years + 0.3 * earlier
    x = np.stack([income, debt, age, years, earlier], 1)
    return split(x, (risk + random.normal(0, 0.3, n) > -1.6 + limit).astype(int), seed, scaled)


def houses(seed: int, n: int = 800, scaled: bool = True) -> Split:
    """Area, rooms, year, distance, storey; the price in thousands."""
    random = np.random.default_rng(seed)
    area, year = random.uniform(30, 250, n), random.integers(1900, 2022, n)
    rooms, away, storey = np.round(area / 28 + random.normal(0, 0.7, n)), random.exponential(6, n), random.poisson(2, n)
    price = area * (2.2 + 2.5 * np.exp(-away / 5)) * (0.75 + 0.5 * ((year - 1950) / 70) ** 2) + 6 * storey
    x = np.stack([area, rooms, year, away, storey], 1)
    return split(x, (price * random.normal(1, 0.05, n)).astype(np.float32), seed, scaled)


def circuit(seed: int, n: int = 900, scaled: bool = True) -> Split:
    """Friedman's second: the impedance of a circuit, in raw units."""
    from sklearn.datasets import make_friedman2

    x, y = make_friedman2(n, noise=20.0, random_state=seed)
    return split(x, y, seed, scaled)


def angle(seed: int, n: int = 1000, scaled: bool = True) -> Split:
    """Friedman's third: the phase of a circuit."""
    from sklearn.datasets import make_friedman3

    x, y = make_friedman3(n, noise=0.05, random_state=seed)
    return split(x, y, seed, scaled)


def scurve(seed: int, n: int = 1000) -> Split:
    from sklearn.datasets import make_s_curve

    x, y = make_s_curve(n, noise=0.1, random_state=seed)
    return split(x, y, seed)


def pendulum(seed: int, n: int = 1000) -> Split:
    """Angle and speed of a pendulum; both after one second, by small steps."""
    random = np.random.default_rng(seed)
    start = np.stack([random.uniform(-2.5, 2.5, n), random.uniform(-2, 2, n)], 1)
    a, v = start[:, 0].copy(), start[:, 1].copy()
    for _ in range(100):
        v -= 0.03 * np.sin(a) + 0.002 * v
        a += 0.01 * v
    return split(start, np.stack([a, v], 1), seed)


def chords(seed: int, n: int = 1200) -> Split:
    """Which of five notes sound in a spectrum of 16 bands: five labels."""
    random, notes = np.random.default_rng(seed), np.random.default_rng(12).uniform(0, 1, (5, 16)) ** 3
    y = (random.random((n, 5)) < 0.35).astype(int)
    return split(np.sqrt(y @ notes + random.uniform(0, 0.2, (n, 16))), y, seed)


USERS, FILMS = 80, 60


def ratings(seed: int, n: int = 3000) -> Split:
    """Numbers of user and film, no pair twice; the rating from 1 to 5."""
    taste = np.random.default_rng(77)
    a, b = taste.normal(0, 1, (USERS, 3)), taste.normal(0, 1, (FILMS, 3))
    random = np.random.default_rng(seed)
    pairs = random.permutation(USERS * FILMS)[:n]
    who, what = pairs // FILMS, pairs % FILMS
    stars = np.clip(3 + 0.7 * (a[who] * b[what]).sum(1) + random.normal(0, 0.15, n), 1, 5)
    return split(torch.as_tensor(np.stack([who, what], 1)), stars.astype(np.float32), seed, scaled=False)


def graphs(seed: int, n: int = 1500, nodes: int = 8) -> Split:
    """A graph of 8 nodes: the adjacency (8, 8) and a number a node beside it (8, 9); do neighbours agree mostly."""
    random = np.random.default_rng(seed)
    upper = np.triu(random.random((n, nodes, nodes)) < 0.35, 1)
    edges, value = upper | upper.transpose(0, 2, 1), random.choice([-1.0, 1.0], (n, nodes))
    agree = np.einsum("nij,ni,nj->n", edges, value, value)
    return split(np.concatenate([edges, value[..., None]], -1), (agree > 0).astype(int), seed, scaled=False)


def bags(seed: int, n: int = 1000, size: int = 10) -> Split:
    """A set of 10 points of two coordinates: how wide is it (the largest distance to the middle)."""
    x = np.random.default_rng(seed).normal(0, 1, (n, size, 2))
    x *= np.random.default_rng(seed + 500).uniform(0.3, 1.5, (n, 1, 1))
    wide = np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1)).max(1)
    return split(x, wide.astype(np.float32), seed, scaled=False)


def only(found: Split, rows: int) -> Split:
    """The first rows of the training part alone."""
    return found.training(found.train[0][:rows], found.train[1][:rows]) if rows else found


def ordered(found: Split, by: Tensor) -> Split:
    """The training part in the order of `by`."""
    order = by.argsort(stable=True)
    return found.training(found.train[0][order], found.train[1][order])
