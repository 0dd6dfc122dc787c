"""The baseline of recordings: how loud each band of pitch is on average, and whose average is nearest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from netwright.data.sounds.pairs import Pairs
from netwright.parts.sequences import Ragged

_SHARPNESS = 2.0 ** np.arange(-4, 8.5, 0.5)


@dataclass(frozen=True)
class NearestSpectrum:
    """Probabilities (recordings, classes), and the position of the nearest class."""

    probabilities: Float[np.ndarray, "recordings classes"]
    labels: Int[np.ndarray, "recordings"]


def mean_spectra(features: Ragged) -> Float[np.ndarray, "recordings statistics"]:
    """Mean and deviation over time of every feature: (N, 2 F), float64.

    Formula: m = sum_t y_t / T, s = sqrt(sum_t (y_t - m)^2 / T).
    """
    flat = features.flat.detach().cpu().double()
    lengths = torch.from_numpy(features.lengths)
    place = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    blank = torch.zeros(len(lengths), flat.shape[1], dtype=torch.float64)
    divisor = lengths.clamp(min=1)[:, None].double()
    mean = blank.index_add(0, place, flat) / divisor
    spread = blank.index_add(0, place, (flat - mean[place]).square()) / divisor
    return torch.cat([mean, spread.sqrt()], 1).numpy()


def nearest_mean_spectrum(
    train: Ragged, classes: Shaped[np.ndarray, "recordings"], test: Ragged, count: int
) -> NearestSpectrum:
    """The class whose training recordings have, on average, the most similar mean spectrum.

    Formula: d_c = |z - mean of z over class c|^2 with z = `mean_spectra` standardised by the training recordings;
    p_c proportional to exp(-b d_c / D), D the mean distance of training recordings from their own class's mean, b the
    one of 2^-4, 2^-3.5 ... 2^8 under which the training recordings' own classes are likeliest.

    Args:
        classes: class numbers of the training recordings, 0 to count - 1; a class without any is never answered.
    """
    known = mean_spectra(train)
    centre, scale = _standard(known)
    known, asked = (known - centre) / scale, (mean_spectra(test) - centre) / scale
    numbers = np.asarray(classes).astype(np.int64)
    sums, members = np.zeros((count, known.shape[1])), np.bincount(numbers, minlength=count)
    np.add.at(sums, numbers, known)
    means = sums / np.maximum(members, 1)[:, None]
    own = float(((known - means[numbers]) ** 2).sum(axis=1).mean()) or 1.0
    trained, distance = _distances(known, means, members, own), _distances(asked, means, members, own)
    likely = [_shares(trained, b)[np.arange(len(numbers)), numbers] for b in _SHARPNESS]
    best = int(np.argmin([-np.log(np.maximum(shares, 1e-30)).mean() for shares in likely]))
    return NearestSpectrum(_shares(distance, float(_SHARPNESS[best])), distance.argmin(axis=1))


def _distances(z: np.ndarray, means: np.ndarray, members: np.ndarray, unit: float) -> np.ndarray:
    """Squared distances from each class's mean; infinite for a class without members."""
    return np.stack(
        [((z - mean) ** 2).sum(axis=1) / unit if count else np.full(len(z), np.inf)
         for mean, count in zip(means, members, strict=True)], axis=1,
    )  # fmt: skip


def _shares(distance: np.ndarray, sharpness: float) -> np.ndarray:
    weight = np.exp((distance.min(axis=1, keepdims=True) - distance) * sharpness)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def nearest_mean_words(train: Ragged, texts: Sequence[str], test: Ragged) -> list[str]:
    """What a listener would write who cuts every recording into equal parts and takes each for its nearest mean.

    Formula: a training recording of k words is cut into k equal parts, the i-th of the i-th word; a test recording into
    as many as training texts have most often (the fewer of two); each part is answered as by `nearest_mean_spectrum`.
    """
    said = [text.split() for text in texts]
    words = sorted({word for row in said for word in row})
    usual = Counter(len(row) for row in said if row)
    if not words:
        return [""] * len(test)
    count = min(usual, key=lambda each: (-usual[each], each))
    number = {word: place for place, word in enumerate(words)}
    spoken = np.flatnonzero([bool(row) for row in said])
    parts = _cut(train.take(spoken), [len(said[place]) for place in spoken])
    classes = np.array([number[word] for row in said for word in row])
    found = nearest_mean_spectrum(parts, classes, _cut(test, [count] * len(test)), len(words)).labels
    return [" ".join(words[label] for label in row) for row in found.reshape(-1, count).tolist()]


def _cut(features: Ragged, parts: Sequence[int]) -> Ragged:
    """Every sequence as so many of nearly equal length, in a row."""
    starts = [
        begin + np.arange(count) * length // count
        for begin, length, count in zip(features.starts[:-1], features.lengths, parts, strict=True)
    ]
    return Ragged(features.flat, np.concatenate([*starts, features.starts[-1:]]).astype(np.int64))


def spectrum_similarity(train: Ragged, test: Ragged, pairs: Pairs) -> Float[np.ndarray, "pairs"]:
    """How alike the mean spectra of both recordings of each pair are, -1 to 1.

    Formula: cosine of the two `mean_spectra` of `test`, standardised by those of `train`.
    """
    centre, scale = _standard(mean_spectra(train))
    z = (mean_spectra(test) - centre) / scale
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    return np.asarray((z[pairs.first] * z[pairs.second]).sum(axis=1))


def _standard(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column; 1 for a column that does not vary."""
    deviation = known.std(axis=0)
    return known.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0)
