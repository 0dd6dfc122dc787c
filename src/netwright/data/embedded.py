"""Data sets that need no file: five small real ones that come with scikit-learn, and made ones.

A set is one function; its keyword-only parameters are its settings. Real sets are read from scikit-learn's own
copies (no download). Made sets are pure functions of (`made_seed`, example): asking for more examples leaves the
first ones as they were; those that are sequences stand in `made.py`.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch

from netwright.catalogue import Range, check_settings, settings_of
from netwright.data.made import Count, Noise, Seed, adding, ar, copy, repeats, reverse, spelling
from netwright.data.readers.arrays import Numbered
from netwright.data.source import InMemory, Source, Table
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.randomness import normal, uniform

EMBEDDED: dict[str, Callable[..., Source]] = {}
"""Every embedded set by name."""


def load_embedded(name: str, **settings: Any) -> Source:
    """The embedded set called `name`; unknown names and settings are refused with the nearest right ones."""
    if name not in EMBEDDED:
        raise UsageError(f"{say('{name!r} is no embedded data set.', name=name)} {hint(name, EMBEDDED)}")
    build = EMBEDDED[name]
    return build(**check_settings(settings_of(build), settings, say("data {name!r}", name=name)))


def _embedded(build: Callable[..., Source]) -> Callable[..., Source]:
    EMBEDDED[build.__name__] = build
    return build


@_embedded
def digits() -> Source:
    """Handwritten digits: 1,797 grey pictures of 8 x 8 in 10 classes of 174 to 183.

    Grey levels 0 to 16 become round(255 g / 16). Source: the test part of the UCI "Optical Recognition of
    Handwritten Digits" set (Alpaydin and Kaynak 1998), as `sklearn.datasets.load_digits` holds it.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[:, None]
    names = np.array([str(number) for number in range(10)], dtype=object)
    examples = InMemory(torch.from_numpy(pixels))
    return Source(
        "image", "digits", examples, names[found.target], Numbered([("digits", len(pixels))]), classes=list(names)
    )


@_embedded
def iris() -> Source:
    """Iris flowers: 150 rows, 4 lengths in cm, 3 species of 50 each.

    Source: Fisher 1936, as `sklearn.datasets.load_iris` holds it.
    """
    from sklearn.datasets import load_iris

    return _table("iris", load_iris())


@_embedded
def wine() -> Source:
    """Italian wines: 178 rows, 13 chemical measurements, 3 growers (59, 71, 48).

    Source: UCI "Wine" (Forina and others 1991), as `sklearn.datasets.load_wine` holds it.
    """
    from sklearn.datasets import load_wine

    return _table("wine", load_wine())


@_embedded
def breast_cancer() -> Source:
    """Breast tumours: 569 rows, 30 measurements of cell nuclei, 212 malignant and 357 benign.

    Source: UCI "Breast Cancer Wisconsin (Diagnostic)" (Wolberg, Street and Mangasarian 1995), as
    `sklearn.datasets.load_breast_cancer` holds it.
    """
    from sklearn.datasets import load_breast_cancer

    return _table("breast_cancer", load_breast_cancer())


@_embedded
def diabetes() -> Source:
    """Diabetes: 442 patients, 10 measurements, a number for the progress of the disease after a year (25 to 346).

    The columns are as scikit-learn hands them out: centred, and scaled so that the squares of each sum to 1.
    Source: Efron, Hastie, Johnstone and Tibshirani 2004, as `sklearn.datasets.load_diabetes` holds it.
    """
    from sklearn.datasets import load_diabetes

    return _table("diabetes", load_diabetes())


def _table(name: str, found: Any) -> Source:
    """A set of scikit-learn as rows of named cells; class numbers become their names."""
    columns = {str(title): cells.astype(object) for title, cells in zip(found.feature_names, found.data.T, strict=True)}
    ids = Numbered([("row", len(found.data))], "{part} {position}", first=1)
    if "target_names" not in found:
        return Source("table", name, Table(columns), found.target.astype(np.float64), ids)
    classes = [str(title) for title in found.target_names]
    return Source("table", name, Table(columns), np.array(classes, dtype=object)[found.target], ids, classes=classes)


def _points(name: str, points: np.ndarray, classes: np.ndarray) -> Source:
    """A made set: float32 vectors and classes called by their numbers."""
    titles = [str(number) for number in range(int(classes.max()) + 1)]
    examples = InMemory(torch.from_numpy(points.astype(np.float32)))
    targets = np.array(titles, dtype=object)[classes]
    return Source("vector", name, examples, targets, Numbered([(name, len(points))]), classes=titles)


def _noise(order: np.ndarray, width: int, noise: float, *words: int | str) -> np.ndarray:
    return noise * normal(order, width, *words, "noise")


@_embedded
def moons(*, examples: Count = 1000, noise: Noise = 0.1, made_seed: Seed = 0) -> Source:
    """Two half circles that reach into each other: 2 numbers, 2 classes in turn.

    Formula: t uniform in [0, pi]; class 0 (cos t, sin t); class 1 (1 - cos t, 1/2 - sin t); plus normal noise of
    deviation `noise`.
    """
    order = np.arange(examples)
    t = np.pi * uniform(order, 1, "moons", made_seed)[:, 0]
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    lower = np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    points = np.where((order % 2 == 0)[:, None], upper, lower)
    return _points("moons", points + _noise(order, 2, noise, "moons", made_seed), order % 2)


@_embedded
def circles(*, examples: Count = 1000, noise: Noise = 0.1, made_seed: Seed = 0) -> Source:
    """One circle within another: 2 numbers, 2 classes in turn, radius 1 and 1/2.

    Formula: r (cos t, sin t), t uniform in [0, 2 pi], r = 1 for class 0 and 1/2 for class 1; plus normal noise.
    """
    order = np.arange(examples)
    t = 2 * np.pi * uniform(order, 1, "circles", made_seed)
    radius = np.where(order % 2 == 0, 1.0, 0.5)[:, None]
    points = radius * np.concatenate([np.cos(t), np.sin(t)], axis=1)
    return _points("circles", points + _noise(order, 2, noise, "circles", made_seed), order % 2)


@_embedded
def spirals(
    *,
    examples: Count = 1000,
    noise: Noise = 0.02,
    arms: Annotated[int, Range(2, 20)] = 2,
    turns: Annotated[float, Range(0.1, 10)] = 1.5,
    made_seed: Seed = 0,
) -> Source:
    """Spirals wound into one another: 2 numbers, as many classes as `arms`, in turn.

    Formula: r (cos a, sin a), r uniform in [0.05, 1], a = 2 pi (turns r + class / arms); plus normal noise.
    """
    order = np.arange(examples)
    radius = 0.05 + 0.95 * uniform(order, 1, "spirals", made_seed)
    angle = 2 * np.pi * (turns * radius + (order % arms)[:, None] / arms)
    points = radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return _points("spirals", points + _noise(order, 2, noise, "spirals", made_seed), order % arms)


@_embedded
def xor(*, examples: Count = 1000, noise: Noise = 0.1, made_seed: Seed = 0) -> Source:
    """Four squares, opposite ones of one class: 2 numbers, 2 classes; no line parts them.

    Formula: x, y uniform in [-1, 1], class 1 where their signs differ; plus normal noise after the class is set.
    The four squares take turns.
    """
    order = np.arange(examples)
    signs = np.stack([1 - 2 * (order % 2), 1 - 2 * (order // 2 % 2)], axis=1)
    points = signs * uniform(order, 2, "xor", made_seed)
    classes = (signs[:, 0] != signs[:, 1]).astype(np.int64)
    return _points("xor", points + _noise(order, 2, noise, "xor", made_seed), classes)


@_embedded
def blobs(
    *,
    examples: Count = 1000,
    noise: Noise = 1.0,
    centres: Annotated[int, Range(2, 1000)] = 3,
    features: Annotated[int, Range(1, 1000)] = 2,
    made_seed: Seed = 0,
) -> Source:
    """Round clouds: `features` numbers, as many classes as `centres`, in turn.

    Formula: centre + normal noise of deviation `noise`; the centres are uniform in [-10, 10] for each feature.
    """
    order = np.arange(examples)
    middles = 20 * uniform(np.arange(centres), features, "blobs", made_seed, "centres") - 10
    points = middles[order % centres] + _noise(order, features, noise, "blobs", made_seed)
    return _points("blobs", points, order % centres)


for _made in (adding, copy, reverse, spelling, repeats, ar):
    _embedded(_made)
